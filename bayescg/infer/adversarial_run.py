"""ARCG as a run: a system and data in, a :class:`Fit` out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.critics import Critic
from bayescg.divergences import DIVERGENCES, Divergence, Judge
from bayescg.infer.adversarial import Searched, search
from bayescg.infer.begin import origin, program_of
from bayescg.infer.checkpoint import interrupted
from bayescg.infer.fit import Fit, Table
from bayescg.infer.histograms import over_frames
from bayescg.infer.options import check_without_prior
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress
from bayescg.infer.steps import Steps
from bayescg.observables.base import Observable
from bayescg.system import Batch, System

__all__ = ["Adversarial", "features_of", "judge_of"]

LAST = (
    40  # iterations, over which the divergence and the accuracy that a search ended with are taken
)

TRIED = 3  # configurations that a pre-CG map is tried on
SHIFT = 0.1  # angstrom, between their sites


def judge_of(divergence: str | Divergence, critic: str | Critic, options: Any) -> Judge:
    """The judge that options, or objects in their place, name.

    :raises ValueError: for an unknown divergence.
    """
    if isinstance(divergence, str):
        if divergence not in DIVERGENCES:
            raise ValueError(f"unknown divergence {divergence!r}; known: {', '.join(DIVERGENCES)}.")
        divergence = DIVERGENCES[divergence]
    return divergence.by(options.made() if isinstance(critic, str) else critic, options.folds)


def features_of(
    system: System, names: str, statistics: Callable[[Array], Array]
) -> tuple[Callable[[Array], Array], tuple[str, ...]]:
    """What a critic sees of configurations of sites that are compared: ``(feature, batch)``; and its names.

    :param names: as the option ``features`` has it.
    :param statistics: of p_c's potential, for where they are asked for.
    :raises ValueError: for a feature that the system does not have.
    """
    known = {o.name: o for o in system.critic_features}
    wanted = [n.strip() for n in names.split(",")]
    if wanted == ["auto"]:
        wanted = list(known) or ["statistics"]
    chosen: list[Observable | None] = []
    for name in wanted:
        if name == "statistics":
            if system.pre_map is not None:
                raise ValueError(
                    f"features=statistics are those of all sites of {system.name}, of which the data hold only "
                    f"some; allowed are {', '.join(known)}."
                )
            chosen.append(None)
        elif name in known:
            chosen.append(known[name])
        else:
            raise ValueError(
                f"{system.name} has no critic features {name!r}; allowed are "
                f"{', '.join([*known, 'statistics'])}."
            )

    def seen(x: Array) -> Array:
        parts = [statistics(x) if o is None else o(x) for o in chosen]
        return jnp.concatenate([p.reshape(-1, x.shape[-1]) for p in parts])

    return seen, tuple(wanted)


@dataclass(frozen=True)
class Adversarial:
    """A method with a critic on a system and data; ``run(key)`` does it.

    :param options: has the fields of :class:`~bayescg.infer.adversarial.AdversarialEffort` and of
        :class:`~bayescg.infer.adversarial_options.CriticOptions`.
    :param rule: of the steps, for a program.
    :param judge: what finds a witness.
    :param downhill: as in :func:`~bayescg.infer.adversarial.search`.
    :param then: what goes on from where this one has converged to.
    """

    system: System
    data: xr.Dataset
    options: Any
    method: str
    judge: Judge
    rule: Callable[[Program], Steps]
    downhill: Callable[..., np.ndarray] | None = None
    then: "Adversarial | None" = None

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Search, from where the system starts.

        :raises ValueError: for a system without a map to what the data hold, a sweep, or features that it lacks.
        :raises FloatingPointError: if the first iteration already cannot be judged.
        """
        began = time.monotonic()
        system, o = self.system, self.options
        check_without_prior(system, self.method)
        batch = system.batch(self.data)
        if len(batch.x) != 1:
            raise ValueError(
                f"{self.method} fits one data set, not a sweep; choose one of its members."
            )
        map_key, run_key, further_key = jax.random.split(key, 3)
        x = self._compared(batch, map_key)
        fixed = {} if system.pre_map is not None else {"X": x[None]}
        fixed |= system.held(1, self.method)
        program = program_of(system, batch, fixed)
        if system.pre_map is not None:
            _check_map(system, program, batch)
        start = origin(system, program, batch.x, o.start)[0]
        found, names = self._searched(program, batch, x, run_key, start, progress)
        if self.then is not None and found.ended == "converged":
            try:
                more, _ = self.then._searched(program, batch, x, further_key, found.u, progress)
                found = _joined(found, more)
            except KeyboardInterrupt:
                interrupted()
                found = found._replace(ended="interrupted")
            except FloatingPointError as error:
                found = found._replace(ended=f"converged, but not polished: {error}")
        return self._fit(found, program, batch, fixed, names, key, began)

    def _searched(
        self,
        program: Program,
        batch: Batch,
        x: np.ndarray,
        key: Array,
        start: np.ndarray,
        progress: Progress | None,
    ) -> tuple[Searched, tuple[str, ...]]:
        """A search from ``start``, with data ``x`` as they are compared; and what its critic saw."""
        system, o = self.system, self.options
        conditions = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
        example = batch.x[0]
        potential = program.boltzmann(
            jnp.asarray(start), jnp.asarray(example[:1], float), conditions
        ).potential
        seen, names = features_of(system, o.features, potential.statistics)
        g = system.pre_map
        found = search(
            program,
            system.sampler,
            seen if g is None else (lambda X: seen(g(X))),
            over_frames(seen, x),
            self.judge,
            key,
            start,
            example=example,
            conditions=conditions,
            rule=self.rule(program),
            begin=self._beginning(batch) if o.begin == "data" else None,
            downhill=self.downhill,
            annealing=o.annealing(),
            penalty=o.penalty,
            noise=o.noise,
            effort=o,
            progress=progress,
        )
        return found, names

    def _beginning(self, batch: Batch) -> Callable[[Array, int], Array]:
        """Frames of the data, completed by the sites that they lack, for chains to begin in."""
        system = self.system
        if system.sampler.at is None:
            raise ValueError(
                f"begin=data is for sites in space, not for {system.name}; allowed is apart."
            )
        if system.pre_map is not None and system.complete is None:
            raise ValueError(
                f"begin=data needs what puts the sites that data lack into them (complete), and {system.name} has "
                "none; allowed is apart."
            )

        def places(key: Array, chains: int) -> Array:
            pick, fill = jax.random.split(key)
            frames = len(batch.x[0])
            chosen = jax.random.choice(pick, frames, (chains,), replace=chains > frames)
            x = jnp.asarray(batch.x[0], float)[chosen]
            return (x if system.complete is None else system.complete(fill, x)).T

        return places

    def _compared(self, batch: Batch, key: Array) -> np.ndarray:
        """The data at the resolution of comparison, ``(frame, ...)``: R or M of them."""
        system, x = self.system, np.asarray(batch.x[0], float)
        if system.pre_map is not None:
            return x
        if system.restriction is None:
            raise ValueError(f"{system.name} has no fine-to-coarse map, which {self.method} needs.")
        return np.asarray(system.restriction(jnp.asarray(x), key=key))

    def _fit(
        self,
        found: Searched,
        program: Program,
        batch: Batch,
        fixed: dict[str, np.ndarray],
        names: Sequence[str],
        key: Array,
        began: float,
    ) -> Fit:
        messages = list(batch.notices)
        if found.ended == "separated":
            messages.append(
                "the critic tells every configuration of the model from the data's, so that its slope says nothing; "
                "start nearer to the data (-s), or give it more noise (-M noise=4)."
            )
        elif found.ended != "converged":
            messages.append(
                f"{self.method} ended: {found.ended}, after {found.iterations} iterations; what is stored is the "
                "last state that could be judged."
            )
        failed = float(np.sum(found.trace["failed"]))
        if failed:
            messages.append(f"{failed:.0f} moves blew up and were taken back.")
        trace = {
            name: Table(
                ("iteration", "member", "parameter")
                if values.ndim > 1
                else ("iteration", "member"),
                values[:, None],
                MEANING[name],
            )
            for name, values in found.trace.items()
        }
        return Fit(
            method=self.method,
            system=self.system,
            batch=batch,
            program=program,
            draws=found.u[None, None, None],
            mode=found.u[None],
            approximation="one draw: the point estimate",
            converged=np.array([found.ended == "converged"]),
            ended=found.ended,
            messages=tuple(messages),
            seconds=time.monotonic() - began,
            exact=False,
            fixed=fixed,
            groups={"em_trace": trace},
            attrs={
                "iterations": found.iterations,
                "distance": found.distance,
                # Of few samples one wild ratio makes any mean wild.
                "divergence": float(np.median(_there(found.trace, "divergence"))),
                "critic_accuracy": float(np.mean(_there(found.trace, "accuracy"))),
                "critic_features": ", ".join(names),
                **self._polished(),
                **batch.attrs,
            },
            options=self.options,
            key=key,
        )

    def _polished(self) -> dict[str, Any]:
        """For the result: options of what was to go on that are not this search's own."""
        if self.then is None:
            return {}
        ours, other = vars(self.options), vars(self.then.options)
        return {"polish_options": {k: v for k, v in other.items() if v != ours[k]}}


def _check_map(system: System, program: Program, batch: Batch) -> None:
    """Try the pre-CG map on a few configurations of the model.

    :raises ValueError: unless G takes configurations of the model, one by one, to what the data hold, and to what
        the program's own map does if that is a deterministic one.
    """
    g, x = system.pre_map, batch.x[0]
    assert g is not None
    conditions = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    key, shift = jax.random.split(jax.random.key(0))
    drawn = system.sampler.init(key, TRIED).x.astype(float)
    if drawn.ndim == 3:  # in space, where a sampler may begin all chains in one configuration
        drawn = drawn + SHIFT * jax.random.normal(shift, drawn.shape)
    atoms = getattr(getattr(g, "linear", None), "atoms", drawn.shape[-2])
    if atoms != drawn.shape[-2]:
        raise ValueError(
            f"the pre-CG map is of {atoms} sites; allowed is one of the model's {drawn.shape[-2]}."
        )
    out = np.asarray(g(drawn))
    if out.shape != (*x.T.shape[:-1], TRIED):
        raise ValueError(
            f"the pre-CG map gives configurations (axis, site) of shape {out.shape[:-1]}; allowed is that of the "
            f"data, {x.T.shape[:-1]}."
        )
    if not np.isfinite(out).all():
        raise ValueError("the pre-CG map gives numbers that are not finite.")
    near = partial(np.allclose, rtol=1e-5, atol=1e-5 * np.abs(out).max())
    single = np.concatenate([g(drawn[..., k : k + 1]) for k in range(TRIED)], -1)
    if not near(out, single):
        raise ValueError(
            "the pre-CG map mixes configurations; allowed is a map that takes each by itself."
        )
    example = jnp.broadcast_to(jnp.asarray(x[:1], float), (TRIED, *x.shape[1:]))
    own = program.dirac(drawn.T, example, conditions)
    if own is not None and not near(out, np.asarray(own).T):
        raise ValueError(
            "the pre-CG map and the deterministic map of the program differ; allowed is the same map in both."
        )


def _there(trace: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A number of the last iterations, of Newton's those that simulated at the optimum as it was known."""
    if "away" not in trace:
        return trace[name][-LAST:]
    there = trace[name][trace["away"] == 0.0]
    return there[len(there) // 2 :][-LAST:]


def _joined(first: Searched, then: Searched) -> Searched:
    """Two searches, one after the other; what only one of them knows is infinite in the other."""

    def rows(part: Searched, name: str) -> np.ndarray:
        if name in part.trace:
            return part.trace[name]
        other = (then if part is first else first).trace[name]
        return np.full((part.iterations, *other.shape[1:]), np.inf)

    names = list(dict.fromkeys([*first.trace, *then.trace]))
    return then._replace(
        iterations=first.iterations + then.iterations,
        seconds=first.seconds + then.seconds,
        trace={n: np.concatenate([rows(first, n), rows(then, n)]) for n in names},
    )


MEANING = {
    "u": "parameters that were simulated, unconstrained",
    "slope": "slope of the divergence by them",
    "divergence": "divergence, as the critic finds it with the noise there is",
    "accuracy": "part of the configurations whose origin the critic guesses right",
    "noise": "standard deviation of the noise on whitened features",
    "rate": "of the steps, relative to the first",
    "failed": "moves that blew up and were taken back",
    "optimum": "parameters where the divergence is least, by all iterations so far, unconstrained",
    "away": "of the parameters that were simulated from the optimum, in widths of the design",
    "least_seen": "of what a configuration says the part that the critic sees along the axis where that is least",
    "error_model": "standard errors of the optimum from the samples of the model, unconstrained",
    "error_data": "standard errors of the optimum from the frames of the data, unconstrained",
}
