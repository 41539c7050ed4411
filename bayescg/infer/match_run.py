"""Methods with a Dirac map as runs: a system and data, or target distributions, in; a :class:`Fit` out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
import time
from typing import Any, Literal

from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import program_of
from bayescg.infer.fit import Fit, Table
from bayescg.infer.histograms import (
    Histograms,
    Target,
    from_frames,
    histograms_of,
    histograms_over,
)
from bayescg.infer.inversion import beyond, projected, seen
from bayescg.infer.matching import Effort, Matched, Statistics, match
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress
from bayescg.infer.starting import starting_potentials
from bayescg.infer.targets import target_of
from bayescg.infer.updates import Measured, Update
from bayescg.observables.known import known_of
from bayescg.options import option
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.pair import FixedPair
from bayescg.system import Batch, System

__all__ = ["MatchOptions", "Matching", "Prepared", "TargetOptions", "prepare"]


@dataclass(frozen=True)
class TargetOptions:
    """What distributions are wanted."""

    target: str = option(
        "auto",
        "distributions to match: `stored`, those that the data file holds; `frames`, those of its frames; "
        "`auto`, the first there is; or another file with distributions",
    )


@dataclass(frozen=True)
class MatchOptions(Effort, TargetOptions):
    """Options of methods that match distributions by simulations."""

    start: str = option(
        "auto",
        "potentials to start from: `stored`, those that the data hold; `hnc`, the hypernetted chain (one type of "
        "beads, no bonds); `dbi`, direct Boltzmann inversion; `auto`, the first there is; or a result or targets",
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a method finds before its first step."""

    program: Program
    potential: MolecularPotential  # at the origin
    histograms: Histograms
    target: Target  # of the histograms
    beta: float
    x: np.ndarray  # (frame, site, axis)
    from_frames: bool  # whether targets are those of the frames

    def natural(self, u: np.ndarray) -> np.ndarray:
        """Natural parameters at u, ``(term,)``."""
        return np.asarray(self.program.natural(jnp.asarray(u), jnp.asarray(self.x[:1]), {}))


@dataclass(frozen=True)
class Matching:
    """A method on a system and data; ``run(key)`` does it.

    :param update: makes the update from what was prepared; None: the start is the answer (DBI).
    :param on: what is matched: ``bins`` of tables, or the ``statistics`` of any basis.
    """

    system: System
    data: xr.Dataset
    options: TargetOptions
    method: str
    update: Callable[[Prepared], Update] | None
    on: Literal["bins", "statistics"] = "bins"

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Start (:func:`~bayescg.infer.starting.starting_potentials`), then step until what is matched does.

        :raises ValueError: if a potential is no table that has to be one, or a distribution is missing.
        """
        began = time.monotonic()
        batch = self.system.batch(self.data)
        ready = prepare(
            self.system, self.data, self.method, on=self.on, target=self.options.target, batch=batch
        )
        u, origin = self._start(ready)
        if self.update is None:
            matched = _unsimulated(u)
        else:
            assert isinstance(self.options, MatchOptions)
            on_bins = self.on == "bins"
            matched = match(
                ready.program,
                self.system.sampler,
                _bins(ready) if on_bins else _statistics(ready),
                self.update(ready),
                key,
                u,
                x=ready.x,
                effort=self.options,
                finish=partial(_filled, ready) if on_bins else (lambda u: u),
                jacobian=(lambda u: -np.eye(ready.histograms.size)) if on_bins else None,
                progress=progress,
            )
        fit = as_fit(self.system, self.method, self.options, batch, ready, matched, key, began)
        return replace(fit, attrs={**fit.attrs, "started_from": origin})

    def _start(self, ready: Prepared) -> tuple[np.ndarray, str]:
        """First parameters, ``(u,)``, and where they come from.

        On tables they are the potentials in bins, else those brought to the potential's basis.
        """
        h, target, kt = ready.histograms, ready.target, 1.0 / ready.beta
        choice = self.options.start if isinstance(self.options, MatchOptions) else "dbi"
        bins, origin = starting_potentials(h, target, kt, self.data, choice)
        if self.on == "bins":
            return start_of(ready.program, self.system, {"theta_c": bins}), origin
        found = projected(ready.potential, h, target, kt, bins)
        values = {k: v for k, v in found.items() if k in ready.program.shapes}
        return start_of(ready.program, self.system, values), origin


def prepare(
    system: System,
    data: xr.Dataset,
    method: str,
    *,
    on: Literal["bins", "statistics"],
    target: str = "auto",
    batch: Batch | None = None,
) -> Prepared:
    """Program, potential and target distributions.

    :raises ValueError: if the system's potential is no sum over types, a potential is no table that has
        to be one, or a distribution is missing.
    """
    if system.options.get("prior", "flat") != "flat":
        raise ValueError(
            f"{method} has no prior; allowed is -s prior=flat, or a method that has one."
        )
    batch = system.batch(data) if batch is None else batch
    fixed = {"X": batch.x, **system.held(1, method)}
    program = program_of(system, batch, fixed)
    example = jnp.asarray(batch.x[0][:1], float)
    boltzmann = program.boltzmann(jnp.zeros(program.size), example, {})
    potential = boltzmann.potential
    if not isinstance(potential, MolecularPotential):
        raise ValueError(
            f"{system.name} has no potentials by type, which {method} needs; allowed is the model molecular."
        )
    if on == "bins":
        histograms = histograms_of(potential, method)
    else:
        histograms = histograms_over(potential, known_of(data))
    x = batch.x[0]
    wanted, framed = target_of(histograms, data, x, target)
    beta = float(jnp.asarray(boltzmann.beta))
    return Prepared(program, potential, histograms, wanted, beta, x, framed)


def start_of(program: Program, system: System, values: Mapping[str, Any]) -> np.ndarray:
    """Unconstrained parameters from named values, the system's start for the others."""
    given = {**system.start, **values}
    at = program.constrain(jnp.zeros(program.size))
    at |= {
        k: jnp.broadcast_to(jnp.asarray(given[k], float), program.shapes[k])
        for k in program.shapes
        if k in given
    }
    return np.asarray(program.unconstrain(at))


def _bins(ready: Prepared) -> Statistics:
    """Histograms beside their targets, and what is shown of an iteration."""
    h, target = ready.histograms, ready.target
    counts = np.concatenate([seen(p, target) for p in h.parts])

    def summary(mean: np.ndarray) -> dict[str, float]:
        return {f"rms {p.variable}": misfit(h, p, mean, target.mean) for p in h.parts}

    return Statistics(h, target, counts, summary)


def _statistics(ready: Prepared) -> Statistics:
    """Sufficient statistics beside their targets; histograms are measured too, only to be shown."""
    h, potential = ready.histograms, ready.potential
    terms = len(potential.names)
    if ready.from_frames:
        wanted = from_frames(potential.statistics, ready.x)
    else:
        wanted = h.statistics(potential, ready.target)
    bins = h.size

    def measure(x: Array) -> Array:
        return jnp.concatenate([potential.statistics(x), h(x)])

    def summary(mean: np.ndarray) -> dict[str, float]:
        return {f"rms {p.variable}": misfit(h, p, mean[terms:], ready.target.mean) for p in h.parts}

    fixed = [
        isinstance(t, FixedPair)
        for i in potential.interactions
        for t in i.terms
        for _ in t.basis.names
    ]
    free = ~np.array(fixed, bool)
    target = Target(
        np.concatenate([wanted.mean, ready.target.mean]),
        np.concatenate([wanted.error, ready.target.error]),
    )
    counts = np.concatenate([free, np.zeros(bins, bool)])
    return Statistics(measure, target, counts, summary, terms)


def misfit(h: Histograms, part: Any, mean: np.ndarray, target: np.ndarray) -> float:
    """Rms difference of a distribution from its target: of g(r), or of a density over its largest value."""
    have, want = h.distribution(part, mean), h.distribution(part, target)
    size = 1.0 if part.kind == "pair" else max(float(want.max()), 1e-300)
    at = (want > 0.0) | (have > 0.0)
    return float(np.sqrt(np.mean(((have - want)[at] / size) ** 2)))


def _filled(ready: Prepared, u: np.ndarray) -> np.ndarray:
    """Potentials with bins that the data do not know filled in, pairs ending at zero."""
    kt, out = 1.0 / ready.beta, u.copy()
    for p in ready.histograms.parts:
        values = beyond(ready.histograms, p, ready.target, u[p.at], kt)
        out[p.at] = values - (values[-1] if p.kind == "pair" else values.min())
    return out


def _unsimulated(u: np.ndarray) -> Matched:
    none = Measured(*(np.zeros(0),) * 2, *(np.zeros((0, 0)),) * 2, np.inf)
    return Matched(u, np.nan, none, "converged", 0, 0.0, {"u": u[None]}, 0)


def as_fit(
    system: System,
    method: str,
    options: Any,
    batch: Batch,
    ready: Prepared,
    matched: Matched,
    key: Array,
    began: float,
) -> Fit:
    """A point estimate as every method returns it."""
    messages = list(batch.notices)
    converged = matched.ended == "converged"
    if not converged:
        messages.append(
            f"{method} ended: {matched.ended}, {matched.distance:.2g} standard errors from the targets "
            f"(rms) after {matched.iterations} iterations; what is stored is iteration {matched.best + 1}."
        )
    failed = float(np.sum(matched.trace.get("failed", 0.0)))
    if failed:
        messages.append(f"{failed:.0f} moves blew up and were taken back.")
    trace = {
        name: Table(
            ("iteration", "member", "parameter") if name == "u" else ("iteration", "member"),
            values[:, None],
            _MEANING.get(name, f"{name}: of g(r), or of a density over its largest value"),
        )
        for name, values in matched.trace.items()
    }
    attrs: dict[str, object] = {"iterations": matched.iterations, **batch.attrs}
    if matched.iterations:
        attrs["distance"] = matched.distance
        attrs |= {
            k: float(v[matched.best]) for k, v in matched.trace.items() if k.startswith("rms ")
        }
    return Fit(
        method=method,
        system=system,
        batch=batch,
        program=ready.program,
        draws=matched.u[None, None, None],
        mode=matched.u[None],
        approximation="one draw: the point estimate",
        converged=np.array([converged]),
        ended=matched.ended,
        messages=tuple(messages),
        seconds=time.monotonic() - began,
        exact=False,
        fixed=system.held(1, method),
        groups={"em_trace": trace},
        attrs=attrs,
        options=options,
        key=key,
    )


_MEANING = {
    "u": "parameters, unconstrained",
    "distance": "rms difference of the statistics from their targets, in standard errors",
    "failed": "moves that blew up and were taken back",
}
