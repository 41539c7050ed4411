"""Sequential Monte Carlo as a run: a system and data in, a :class:`Fit` with the log evidence out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import program_of
from bayescg.infer.collapse import few_particles
from bayescg.infer.evidence import pooled
from bayescg.infer.examination import of_chains
from bayescg.infer.fit import Fit, Table
from bayescg.infer.health import Posterior
from bayescg.infer.identified import check_told
from bayescg.infer.marginal import check_exact, log_marginal
from bayescg.infer.options import options_for
from bayescg.infer.posterior_options import SMCOptions
from bayescg.infer.prior import draw_prior
from bayescg.infer.program import Program, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.smc import PATHS, Particles, Run, Target, forgotten
from bayescg.infer.words import members_in_words
from bayescg.system import Batch, System

__all__ = ["SMC", "SMCOptions", "smc", "target_of"]

APART = 3.0  # standard errors between two estimates of the evidence from which on it is said
TRACE = {
    "t": "part of the way from the prior to the posterior",
    "log_evidence": "log evidence of that part",
    "ess": "effective fraction of the particles before they were drawn anew",
    "mean": "mean log likelihood of the particles",
    "variance": "variance of the log likelihood of the particles",
    "accepted": "acceptance of the stage's last moves",
    "moves": "moves of the stage",
    "step": "step length of moves, in units of the particles' spread",
    "kept": "largest rank correlation of a coordinate with where the stage began",
}


def target_of(program: Program) -> Target:
    """A program's posterior, latents and ARD's precisions summed out; its data are ``(x, conditions)``."""

    def log_prior(u: Array, data: Any) -> Array:
        return program.log_prior(u, *data) + program.log_jacobian(u)

    def log_likelihood(u: Array, data: Any) -> Array:
        return log_marginal(program, u, *data)

    def draw(key: Array, count: int, data: Any) -> Array:
        return draw_prior(program, key, count, *data)

    return Target(log_prior, log_likelihood, draw)


@dataclass(frozen=True)
class SMC:
    """Sequential Monte Carlo on a system and data; ``run(key)`` does it."""

    system: System
    data: xr.Dataset
    options: SMCOptions = SMCOptions()  # noqa: RUF009 - frozen

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Lead particles from the prior to the posterior of every member, in several independent runs.

        :raises ProgramError: if log Z or the sum over latents is not exact, or under a prior that is not proper.
        :raises FloatingPointError: if no particle of the prior gives the data a likelihood.
        """
        warn_of_single_precision()
        progress = progress or Silent()
        began = time.monotonic()
        o = self.options
        batch = self.system.batch(self.data)
        program = program_of(self.system, batch)
        data = _data(batch)
        check_exact(program, *data[0])
        check_told(self.system, program, batch, "SMC")
        particles = Particles(
            target_of(program), PATHS[o.path], o.particles, o.ess, o.target_accept, o.moves
        )
        keys = jax.random.split(key, (len(data), o.chains))
        runs: list[list[Run]] = []  # of each member, of each chain
        for m, one in enumerate(data):
            runs.append([])
            for c in range(o.chains):
                place = (m * o.chains + c, len(data) * o.chains)
                tell = partial(_tell, progress, place, m, o.path == "temperature")
                runs[m].append(particles.run(keys[m, c], one, tell=tell))
        return self._fit(batch, program, runs, key, time.monotonic() - began)

    def _fit(
        self, batch: Batch, program: Program, runs: list[list[Run]], key: Array, seconds: float
    ) -> Fit:
        o = self.options
        draws = _stacked(runs, "u")
        evidence, values = _evidence(runs)
        posterior = Posterior(self.system, program, batch, draws)
        thin = few_particles(
            posterior,
            [np.concatenate([r.trace["ess"] for r in member]) for member in runs],
            o.particles,
        )
        health = of_chains(posterior, "runs of SMC differ", "raise -M particles or ess", more=thin)
        kept = np.array([max(r.trace["kept"][1:].max() for r in member) for member in runs])
        log_z_se = evidence["log_evidence_se"].values
        judged = {
            "health": ~health.bad,
            "kept": kept <= forgotten(o.particles),
            "error": log_z_se <= o.precision,
        }
        good = np.logical_and.reduce(list(judged.values()))
        messages = [*batch.notices, *health.messages]
        messages += self._complaints(batch, judged, kept, log_z_se)
        messages += _disagreement(batch, evidence)
        lp = Table(
            ("chain", "draw", "member"),
            _stacked(runs, "log_posterior"),
            "log posterior density of the unconstrained parameters, not normalised",
        )
        along = "temperature" if o.path == "temperature" else "the data"
        return Fit(
            method="smc",
            system=self.system,
            batch=batch,
            program=program,
            draws=draws,
            mode=None,
            approximation=f"particles led along {along} (SMC), latents summed out exactly",
            converged=good,
            ended="converged" if good.all() else "not mixed",
            messages=tuple(messages),
            seconds=seconds,
            exact=True,
            groups={
                "sample_stats": {"lp": lp},
                "health": health.tables,
                "evidence": evidence,
                "smc_trace": _trace(runs),
            },
            options=o,
            key=key,
            attrs={
                **batch.attrs,
                "prior_used": str(self.system.options.get("prior", "as in the program")),
                **health.attrs,
                **values,
            },
        )

    def _complaints(
        self,
        batch: Batch,
        judged: dict[str, np.ndarray],
        kept: np.ndarray,
        log_z_se: np.ndarray,
    ) -> list[str]:
        out = []
        stuck = np.flatnonzero(~judged["kept"])
        if stuck.size:
            out.append(
                f"particles did not forget where a stage began for {members_in_words(batch, stuck)}: rank correlation "
                f"{kept[stuck].max():.2f} after {self.options.moves} moves; raise -M moves."
            )
        rough = np.flatnonzero(~judged["error"])
        if rough.size:
            out.append(
                f"the log evidence has a standard error of up to {log_z_se[rough].max():.2f} for "
                f"{members_in_words(batch, rough)}; raise -M particles, ess or chains."
            )
        return out


def _data(batch: Batch) -> list[tuple[Array, dict[str, Array]]]:
    """Each member's frames and conditions."""
    return [
        (
            jnp.asarray(x, float),
            {k: jnp.asarray(v[m], float) for k, v in batch.conditions.items()},
        )
        for m, x in enumerate(batch.x)
    ]


def _tell(
    progress: Progress,
    place: tuple[int, int],
    member: int,
    tempered: bool,
    t: float,
    numbers: dict[str, float],
) -> None:
    # Most stages of a temperature path are near the prior.
    done = (place[0] + (t**0.25 if tempered else t)) / place[1]
    progress.update("smc", done, {"member": member + 1.0, **numbers})


def _stacked(runs: Sequence[Sequence[Run]], name: str) -> np.ndarray:
    """A field of every run, ``(chain, draw, member, ...)``."""
    each = np.array([[getattr(r, name) for r in member] for member in runs])
    return np.moveaxis(each, 0, 2)


def _evidence(runs: Sequence[Sequence[Run]]) -> tuple[dict[str, Table], dict[str, float]]:
    """The log evidence of each member by both estimates, and of all members together."""
    by_run = _over_runs(runs, "log_evidence")
    value, error = pooled(by_run)
    integral = _over_runs(runs, "thermodynamic")
    spread = integral.std(0, ddof=1) / np.sqrt(len(integral))
    text = {
        "log_evidence": (value, "log evidence by sequential Monte Carlo"),
        "log_evidence_se": (error, "its standard error, from the differences of the runs"),
        "log_evidence_thermodynamic": (
            integral.mean(0),
            "log evidence by integration of the mean log likelihood over temperature",
        ),
        "log_evidence_thermodynamic_se": (
            spread,
            "its standard error, from the differences of the runs",
        ),
    }
    tables = {k: Table(("member",), v, words) for k, (v, words) in text.items() if _known(v)}
    tables["log_evidence_by_chain"] = Table(("chain", "member"), by_run, "log evidence by each run")
    # Members have parameters of their own, so their evidences multiply.
    totals = {
        k: float(np.sqrt(np.sum(t.values**2)) if k.endswith("_se") else np.sum(t.values))
        for k, t in tables.items()
        if t.dims == ("member",)
    }
    return tables, totals


def _known(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all())


def _over_runs(runs: Sequence[Sequence[Run]], name: str) -> np.ndarray:
    return np.array([[getattr(r, name) for r in member] for member in runs]).T


def _disagreement(batch: Batch, evidence: dict[str, Table]) -> list[str]:
    if "log_evidence_thermodynamic" not in evidence:
        return []
    one, one_se, other, other_se = (
        evidence[f"log_evidence{k}"].values
        for k in ("", "_se", "_thermodynamic", "_thermodynamic_se")
    )
    gap = np.abs(one - other)
    at = np.flatnonzero(gap > APART * np.hypot(one_se, other_se))
    if not at.size:
        return []
    worst = at[np.argmax(gap[at])]
    return [
        f"two estimates of the log evidence differ by more than their errors for {members_in_words(batch, at)}: "
        f"{one[worst]:.2f} +- {one_se[worst]:.2f} by SMC and {other[worst]:.2f} +- {other_se[worst]:.2f} by "
        "thermodynamic integration; raise -M particles or ess."
    ]


def _trace(runs: Sequence[Sequence[Run]]) -> dict[str, Table]:
    """Every stage of every run; NaN after a run's last."""
    most = max(len(r.trace["t"]) for member in runs for r in member)
    out = {}
    for name, text in TRACE.items():
        values = np.full((len(runs[0]), most, len(runs)), np.nan)
        for m, member in enumerate(runs):
            for c, r in enumerate(member):
                values[c, : len(r.trace[name]), m] = r.trace[name]
        out[name] = Table(("chain", "stage", "member"), values, text)
    return out


def smc(system: System, data: xr.Dataset, **options: Any) -> SMC:
    """Sequential Monte Carlo on ``system``; options are those of :class:`SMCOptions`.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`SMCOptions` that are not at their defaults.
    """
    return SMC(system, data, options_for(system, "smc", SMCOptions(), options))
