"""Growing the set of features as a run: a system and data in, a :class:`Fit` out."""

from dataclasses import dataclass, field
import time
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import program_of
from bayescg.infer.checkpoint import place
from bayescg.infer.fit import Fit, Table
from bayescg.infer.growing import Grown, Objective, grow_features
from bayescg.infer.marginal import check_exact
from bayescg.infer.options import options_for
from bayescg.infer.program import Program, ProgramError, coefficient_sites, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.resampling import BAD_KHAT, systematic
from bayescg.infer.words import members_in_words
from bayescg.options import option
from bayescg.results import psis
from bayescg.system import Batch, System

__all__ = ["Grow", "GrowOptions", "grow"]


@dataclass(frozen=True)
class GrowOptions:
    """Options of growing."""

    criterion: Literal["ebic", "bic", "aic"] = option(
        "ebic",
        "gain that keeps a feature, in nats: bic log(N)/2; ebic that and more for a large pool; aic 1",
    )
    begin: str | None = option(
        None, "features to begin with, which stay, names with commas; none: no feature"
    )
    most: int | None = option(None, "most features; none: all")
    draws: int = option(500, "posterior draws, of the features that were kept")

    def __post_init__(self) -> None:
        if self.draws < 2 or (self.most is not None and self.most < 1):
            raise ValueError("draws must be at least 2, and most at least 1.")


@dataclass(frozen=True)
class Grow:
    """Growing on a system and data; ``run(key)`` does it."""

    system: System
    data: xr.Dataset
    options: GrowOptions = field(default_factory=GrowOptions)

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Add features to each data set of a sweep and drop them, then draw from its posterior under those it kept.

        :raises ValueError: if it is to begin with more features than are allowed.
        """
        warn_of_single_precision()
        began, progress = time.monotonic(), progress or Silent()
        batch = self.system.batch(self.data)
        program = program_of(self.system, batch)
        data = [_member(batch, m) for m in range(len(batch.x))]
        check_exact(program, *data[0])
        site = _coefficients(program, self.system, *data[0])
        begin = self._begin()
        most = len(site) if self.options.most is None else self.options.most
        if begin.sum() > most:
            raise ValueError(f"begin names {begin.sum()} features, most allows {most}.")
        rule = self.options.criterion
        objective = Objective(program)
        at_place = place("grow")
        grown: list[Grown] = []
        drawn: list[tuple[np.ndarray, float]] = []
        if (before := at_place.resumed()) is not None:
            grown, drawn = before
        for m, (one, k) in enumerate(zip(data, jax.random.split(key, len(data)), strict=True)):
            if m < len(grown):
                continue
            at_place.keep((list(grown), list(drawn)))

            def tell(count: int, gain: float, m: int = m) -> None:
                numbers = {"member": m + 1.0, "features": float(count), "gained": gain}
                progress.update("grow", (m + count / most) / len(data), numbers)

            found = grow_features(objective, site, begin, rule, most, *one, tell=tell)
            grown.append(found)
            drawn.append(_drawn(objective, found, site, k, self.options.draws, *one))
        return self._fit(program, batch, grown, drawn, key, time.monotonic() - began)

    def _begin(self) -> np.ndarray:
        names = [n.strip() for n in (self.options.begin or "").split(",") if n.strip()]
        unknown = sorted(set(names) - set(self.system.features))
        if unknown:
            raise ValueError(
                f"begin names no feature of {self.system.name}: {', '.join(unknown)}; known: "
                f"{', '.join(self.system.features)}."
            )
        return np.array([f in names for f in self.system.features])

    def _fit(
        self,
        program: Program,
        batch: Batch,
        grown: list[Grown],
        drawn: list[tuple[np.ndarray, float]],
        key: Array,
        seconds: float,
    ) -> Fit:
        mode = np.stack([g.u for g in grown])
        khat = np.array([k for _, k in drawn])
        good = np.isfinite(khat)
        messages = list(batch.notices)
        rough = np.flatnonzero(~(khat <= BAD_KHAT))
        if rough.size:
            messages.append(
                f"importance weights are unreliable (k-hat up to {khat[rough].max():.2f}, reliable below {BAD_KHAT}) "
                f"for {members_in_words(batch, rough)}: intervals there are rough; use -m nuts."
            )
        full = np.array([g.ended != "no feature gains more" and not g.used.all() for g in grown])
        if full.any():
            messages.append(
                f"there was more to gain for {members_in_words(batch, np.flatnonzero(full))}: the search ended at -M "
                "most."
            )
        return Fit(
            method="grow",
            system=self.system,
            batch=batch,
            program=program,
            draws=np.stack([u for u, _ in drawn], 1)[None],
            mode=mode,
            approximation=(
                "Laplace (observed), Pareto-smoothed resampling, given the features that were kept: how they were "
                "chosen adds no uncertainty"
            ),
            converged=good,
            ended="converged" if good.all() else "no usable draws",
            messages=tuple(messages),
            seconds=seconds,
            exact=True,
            groups={"map": _map_group(grown, khat), "growth": _growth(grown)},
            attrs={
                **batch.attrs,
                "prior_used": str(self.system.options.get("prior", "as in the program")),
            },
            options=self.options,
            key=key,
        )


def _member(batch: Batch, m: int) -> tuple[Array, dict[str, Array]]:
    conditions = {k: jnp.asarray(v[m], float) for k, v in batch.conditions.items()}
    return jnp.asarray(batch.x[m], float), conditions


def _coefficients(
    program: Program, system: System, x: Array, conditions: dict[str, Array]
) -> np.ndarray:
    """Where ``u`` holds the coefficients of the features.

    :raises ProgramError: for a prior that chooses features itself, or none, or where each feature has no
        coefficient of its own.
    """
    sites = coefficient_sites(program, x, conditions)
    if program.ard or program.scales or program.improper:
        raise ProgramError(
            "growing chooses features itself, and needs a proper prior of those in use: use -s prior=normal."
        )
    if len(sites) != 1 or program.shapes[sites[0]] != (len(system.features),):
        raise ProgramError(
            f"growing needs one coefficient of each of the features ({', '.join(system.features)}), in one site."
        )
    return program.coordinates(sites[0])


def _drawn(
    objective: Objective, grown: Grown, site: np.ndarray, key: Array, draws: int, *data: Any
) -> tuple[np.ndarray, float]:
    """Draws of the posterior under the features in use, ``(draw, u)``, and k-hat of their weights."""
    program = objective.program
    free = np.setdiff1d(np.arange(program.size), site[~grown.used])
    precision = objective.information(grown.u, *data)[np.ix_(free, free)]
    if not np.linalg.eigvalsh(precision)[0] > 0.0:
        return np.broadcast_to(grown.u, (draws, program.size)).copy(), np.inf
    draw_key, pick_key = jax.random.split(key)
    z = np.asarray(jax.random.normal(draw_key, (draws, len(free))))
    lower = np.linalg.cholesky(precision)
    u = np.broadcast_to(grown.u, (draws, program.size)).copy()
    u[:, free] += np.linalg.solve(lower.T, z.T).T
    value = objective.densities(u, *data)
    raw = np.where(np.isfinite(value), value, -np.inf) + 0.5 * np.sum(z**2, 1)
    weights, khat = psis(raw)
    at = systematic(weights, float(jax.random.uniform(pick_key)), draws)
    return u[at], float(khat)


def _map_group(grown: list[Grown], khat: np.ndarray) -> dict[str, Table]:
    return {
        "u": Table(("member", "parameter"), np.stack([g.u for g in grown]), "MAP, unconstrained"),
        "converged": Table(
            ("member",), np.isfinite(khat).astype(np.int8), "whether draws of the posterior exist"
        ),
        "ended": Table(("member",), np.array([g.ended for g in grown]), "how the search ended"),
        "khat": Table(("member",), khat, "Pareto k-hat of the weights in posterior"),
    }


def _growth(grown: list[Grown]) -> dict[str, Table]:
    """The path of every member; steps that it did not take are -1 or NaN."""
    steps = max(len(g.steps) for g in grown)

    def padded(name: str, blank: float) -> np.ndarray:
        first = np.asarray(getattr(grown[0].steps[0], name))
        out = np.full((len(grown), steps, *first.shape), blank)
        for m, g in enumerate(grown):
            out[m, : len(g.steps)] = [getattr(s, name) for s in g.steps]
        return out

    dims = ("member", "step")
    return {
        "added": Table(
            dims,
            padded("added", -1).astype(np.int16),
            "number of the feature that is added; -1: none",
        ),
        "dropped": Table(
            dims,
            padded("dropped", -1).astype(np.int16),
            "number of the feature that is dropped; -1: none",
        ),
        "expected_gain": Table(
            dims,
            padded("expected", np.nan),
            "gain that was expected; negative of a feature dropped",
            "nat",
        ),
        "gain": Table(dims, padded("gained", np.nan), "gain of the log posterior", "nat"),
        "cost": Table(dims, padded("cost", np.nan), "gain that a feature had to bring", "nat"),
        "log_posterior": Table(dims, padded("log_posterior", np.nan), "at the optimum", "nat"),
        "log_likelihood": Table(dims, padded("log_likelihood", np.nan), "at the optimum", "nat"),
        "candidate_gain": Table(
            (*dims, "feature"), padded("candidates", np.nan), "expected gain of each feature", "nat"
        ),
        "used": Table(
            ("member", "feature"),
            np.stack([g.used for g in grown]).astype(np.int8),
            "whether a feature was kept",
        ),
    }


def grow(system: System, data: xr.Dataset, **options: Any) -> Grow:
    """Growing on ``system``; options are those of :class:`GrowOptions`.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`GrowOptions` that are not at their defaults.
    """
    return Grow(system, data, options_for(system, "grow", GrowOptions(), options))
