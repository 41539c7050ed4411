"""Variational inference as a run: a system and data in, a :class:`Fit` out."""

from dataclasses import dataclass
from functools import partial
import time
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import origin, program_of
from bayescg.infer.collapse import unreliable
from bayescg.infer.examination import of_draws
from bayescg.infer.fit import Fit, Table
from bayescg.infer.health import Posterior
from bayescg.infer.identified import check_told
from bayescg.infer.marginal import check_exact
from bayescg.infer.options import options_for
from bayescg.infer.posterior_options import SVIOptions
from bayescg.infer.program import Program, ProgramError, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.resampling import effective_size, systematic
from bayescg.infer.svi import BLOCK, GUIDES, SPREAD, WINDOW, Ascent, Climb, Draws
from bayescg.infer.words import members_in_words
from bayescg.system import Batch, System

__all__ = ["SVI", "SVIOptions", "svi"]

LOWER = 1.0  # nats by which restarts may end below the best and be called alike


class _Best(NamedTuple):
    """What is kept of one member."""

    climb: Climb
    draws: Draws
    log_weights: np.ndarray  # smoothed and normalised
    khat: float
    chosen: np.ndarray  # places of the draws that the posterior holds
    elbo: tuple[float, float]
    lower: int  # restarts that ended below


@dataclass(frozen=True)
class SVI:
    """Variational inference on a system and data; ``run(key)`` does it."""

    system: System
    data: xr.Dataset
    options: SVIOptions = SVIOptions()  # noqa: RUF009 - frozen

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Fit a guide to the posterior of every member, and draw from it.

        :raises ProgramError: if log Z or the sum over latents is not exact, or under a prior that is not proper.
        :raises ValueError: for more frames in a step than there are, or a flow of one parameter.
        """
        warn_of_single_precision()
        progress = progress or Silent()
        began = time.monotonic()
        o = self.options
        batch = self.system.batch(self.data)
        program = program_of(self.system, batch)
        conditions = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
        first = jnp.asarray(batch.x[0], float), {k: v[0] for k, v in conditions.items()}
        check_exact(program, *first)
        check_told(self.system, program, batch, "variational inference")
        self._check(program, batch)
        start = origin(self.system, program, batch.x, o.start)[0]
        ascent = Ascent(
            program, o.guide, program.constrain(jnp.asarray(start)), o.rate, o.particles, o.batch
        )
        found = []
        for m, k in enumerate(jax.random.split(key, len(batch.x))):
            given = jnp.asarray(batch.x[m], float), {n: v[m] for n, v in conditions.items()}
            found.append(self._one(ascent, k, given, partial(_tell, progress, m, len(batch.x))))
        return self._fit(batch, program, found, key, time.monotonic() - began)

    def _check(self, program: Program, batch: Batch) -> None:
        frames = batch.x.shape[1]
        if self.options.batch is not None and self.options.batch > frames:
            raise ValueError(
                f"batch={self.options.batch} asked for, but the data hold {frames} frames."
            )
        if self.options.guide == "flow" and program.size == 1:
            raise ProgramError("a flow needs at least two parameters; use -M guide=normal.")

    def _one(self, ascent: Ascent, key: Array, given: Any, tell: Any) -> _Best:
        """The best of the restarts on one member."""
        from bayescg.results import psis

        o = self.options
        runs = []
        for r, k in enumerate(jax.random.split(key, o.restarts)):
            k_climb, k_draw, k_pick = jax.random.split(k, 3)
            climb = ascent.climb(
                k_climb,
                *given,
                steps=o.steps,
                tolerance=o.tolerance,
                spread=SPREAD if r else 0.0,
                tell=partial(tell, r, o.restarts),
            )
            runs.append((climb, ascent.draw(k_draw, o.draws, climb.guide, *given), k_pick))
        elbos = np.array([d.elbo for _, d, _ in runs])
        best = int(np.argmax(elbos[:, 0]))
        climb, draws, k_pick = runs[best]
        raw = draws.log_weights
        log_weights, khat = np.full(len(raw), -np.log(len(raw))), np.inf
        if np.isfinite(raw).any():
            log_weights, k = psis(raw)
            khat = float(k)
        chosen = np.arange(o.draws)
        if o.weights:
            chosen = systematic(log_weights, float(jax.random.uniform(k_pick)), o.draws)
        below = elbos[best, 0] - elbos[:, 0] > LOWER + 3.0 * np.hypot(elbos[best, 1], elbos[:, 1])
        elbo = (float(elbos[best, 0]), float(elbos[best, 1]))
        return _Best(climb, draws, log_weights, khat, chosen, elbo, int(below.sum()))

    def _fit(
        self, batch: Batch, program: Program, found: list[_Best], key: Array, seconds: float
    ) -> Fit:
        o = self.options
        settled = np.array([b.climb.settled for b in found])
        khat = np.array([b.khat for b in found])
        effective = np.array([effective_size(b.log_weights) for b in found])
        draws = np.stack([b.draws.u[b.chosen] for b in found], 1)[None]
        posterior = Posterior(self.system, program, batch, draws)
        weights = unreliable(
            posterior,
            np.stack([b.draws.u for b in found], 1),
            np.stack([b.log_weights for b in found], 1),
            khat,
            effective,
            "the guide is far from the posterior",
            f"{'' if o.guide == 'flow' else '-M guide=flow, or '}-m nuts or smc",
        )
        health = of_draws(posterior, weights)
        good = settled & ~health.bad
        lp = np.stack([b.draws.log_posterior[b.chosen] + _jacobian(program, b) for b in found], 1)
        text = "log posterior density of the unconstrained parameters, not normalised"
        approximation = f"variational, {GUIDES[o.guide][1]}"
        approximation += ", Pareto-smoothed resampling" if o.weights else ", unweighted draws"
        if o.batch is not None:
            approximation += f", fitted on {o.batch} of {batch.x.shape[1]} frames at a time"
        elbo, elbo_se = np.array([b.elbo for b in found]).T
        return Fit(
            method="svi",
            system=self.system,
            batch=batch,
            program=program,
            draws=draws,
            mode=None,
            approximation=approximation,
            converged=good,
            ended="converged" if good.all() else "runaway" if settled.all() else "steps used up",
            messages=(*batch.notices, *health.messages, *self._notes(batch, found, settled)),
            seconds=seconds,
            exact=True,
            groups={
                "sample_stats": {"lp": Table(("chain", "draw", "member"), lp[None], text)},
                "variational": _table(found, settled, khat, effective, elbo, elbo_se),
                "health": health.tables,
                "elbo_trace": _trace(found),
            },
            options=o,
            key=key,
            attrs={
                **batch.attrs,
                "prior_used": str(self.system.options.get("prior", "as in the program")),
                "elbo": float(elbo.sum()),
                "elbo_se": float(np.sqrt(np.sum(elbo_se**2))),
                **health.attrs,
            },
        )

    def _notes(self, batch: Batch, found: list[_Best], good: np.ndarray) -> list[str]:
        out = []
        if not good.all():
            at = np.flatnonzero(~good)
            rise, noise = np.array([(b.climb.rise, b.climb.noise) for b in found])[at].T
            worst = int(np.argmax(rise))
            out.append(
                f"variational inference did not converge for {members_in_words(batch, at)}: in the last "
                f"{BLOCK * WINDOW} steps the ELBO rose by {rise[worst]:.2g} +- {noise[worst]:.2g} nats; raise "
                "-M steps, or lower -M rate where it is noise."
            )
        lower = np.array([b.lower for b in found])
        if lower.any():
            out.append(
                f"{lower.sum()} of {self.options.restarts * len(found)} restarts ended at a lower ELBO "
                f"({members_in_words(batch, np.flatnonzero(lower))}), and are left out: it has several optima."
            )
        return out


def _jacobian(program: Program, best: _Best) -> np.ndarray:
    each = jax.jit(jax.vmap(program.log_jacobian))
    return np.asarray(each(jnp.asarray(best.draws.u[best.chosen])))


def _table(
    found: list[_Best],
    good: np.ndarray,
    khat: np.ndarray,
    effective: np.ndarray,
    elbo: np.ndarray,
    elbo_se: np.ndarray,
) -> dict[str, Table]:
    return {
        "u": Table(
            ("draw", "member", "parameter"),
            np.stack([b.draws.u for b in found], 1),
            "draws of the guide, unconstrained",
        ),
        "log_weight": Table(
            ("draw", "member"),
            np.stack([b.log_weights for b in found], 1),
            "their smoothed log importance weights",
        ),
        "khat": Table(("member",), khat, "Pareto k-hat of the weights"),
        "effective_draws": Table(("member",), effective, "effective number of weighted draws"),
        "elbo": Table(("member",), elbo, "evidence lower bound"),
        "elbo_se": Table(("member",), elbo_se, "its standard error"),
        "converged": Table(("member",), good.astype(np.int8), "whether the stopping rule was met"),
        "rise": Table(
            ("member",),
            np.array([b.climb.rise for b in found]),
            f"rise of the ELBO in the last {BLOCK * WINDOW} steps",
        ),
        "rise_se": Table(
            ("member",), np.array([b.climb.noise for b in found]), "its standard error"
        ),
        "steps": Table(
            ("member",),
            np.array([BLOCK * len(b.climb.elbo) for b in found]),
            "steps of the optimiser",
        ),
    }


def _trace(found: list[_Best]) -> dict[str, Table]:
    """The ELBO along the way; NaN after a member's last block."""
    most = max(len(b.climb.elbo) for b in found)
    values = np.full((most, len(found)), np.nan)
    for m, b in enumerate(found):
        values[: len(b.climb.elbo), m] = b.climb.elbo
    text = f"ELBO of the guide averaged over a block of {BLOCK} steps"
    return {"elbo": Table(("block", "member"), values, text)}


def _tell(
    progress: Progress,
    member: int,
    members: int,
    restart: int,
    restarts: int,
    done: float,
    numbers: dict[str, float],
) -> None:
    part = (member + (restart + done) / restarts) / members
    progress.update("svi", part, {"member": member + 1.0, **numbers})


def svi(system: System, data: xr.Dataset, **options: Any) -> SVI:
    """Variational inference on ``system``; options are those of :class:`SVIOptions`.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`SVIOptions` that are not at their defaults.
    """
    return SVI(system, data, options_for(system, "svi", SVIOptions(), options))
