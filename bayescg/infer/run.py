"""The methods as runs: a system and data in, a :class:`Fit` out."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
import time
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.fit import Fit, Table
from bayescg.infer.laplace import FORMS, laplace, weigh
from bayescg.infer.mcem import MCEMResult, run_mcem
from bayescg.infer.nuts import run_nuts
from bayescg.infer.program import Program, ProgramError, read_program, replace_prior
from bayescg.infer.progress import Progress
from bayescg.infer.schedules import Newton, RobbinsMonro, Schedule
from bayescg.infer.tables import Form, choose, held, khat_of, laplace_group, map_group, trace_group
from bayescg.samplers.base import Sampler
from bayescg.system import Batch, System

__all__ = ["MCEM", "NUTS", "MCEMOptions", "NUTSOptions", "mcem", "nuts"]

INFINITY = (
    20.0  # a coefficient that passes this under a flat or ARD prior is on its way to infinity
)
FALLBACK = 10.0  # scale of the normal prior used instead
BAD_KHAT = 0.7


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class MCEMOptions:
    """Options of MC-EM and of the Laplace approximation at its end."""

    schedule: Literal["newton", "paper", "literal"] = _option(
        "newton",
        "newton (default); paper: Robbins-Monro of Eq. 33, scaled; literal: the same as printed",
    )
    tolerance: float = _option(
        0.1, "stop when the Newton step is below twice this many posterior sd, its error below it"
    )
    max_iterations: int = _option(200, "most iterations")
    laplace: Literal["auto", "complete", "observed"] = _option(
        "auto",
        "form that `posterior` holds; auto: the lower k-hat where weights exist, else complete",
    )
    weights: bool = _option(
        True, "correct draws by importance sampling where log p(x | theta) is exact"
    )
    integrate_tau: bool = _option(
        False, "under ARD, weigh by the posterior with tau integrated out"
    )
    draws: int = _option(500, "posterior draws")
    free_chains: int = _option(256, "persistent chains of p_c (newton)")
    clamped_chains: int = _option(16, "persistent chains of each q_i (newton)")
    max_sweeps: int = _option(2048, "most sweeps an iteration (newton)")
    frames_per_step: int | None = _option(
        None, "frames whose latents move in one E-step; none: all"
    )

    def __post_init__(self) -> None:
        for name in (
            "tolerance",
            "max_iterations",
            "draws",
            "free_chains",
            "clamped_chains",
            "max_sweeps",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.draws < 2 or self.clamped_chains < 2 or self.free_chains < 2:
            raise ValueError("draws, free_chains and clamped_chains must be at least 2.")

    def rule(self) -> Schedule:
        """The schedule that the options name."""
        if self.schedule == "newton":
            return Newton(
                free_chains=self.free_chains,
                clamped_chains=self.clamped_chains,
                max_sweeps=self.max_sweeps,
            )
        return RobbinsMonro(form="scaled" if self.schedule == "paper" else "literal")


@dataclass(frozen=True)
class NUTSOptions:
    """Options of NUTS."""

    chains: int = _option(4, "chains")
    warmup: int = _option(1000, "adaptation steps of each chain")
    samples: int = _option(1000, "draws of each chain")
    target_accept: float = _option(0.9, "target acceptance probability")
    max_tree_depth: int = _option(10, "longest trajectory, as a power of two")

    def __post_init__(self) -> None:
        if min(self.chains, self.warmup, self.samples, self.max_tree_depth) < 1:
            raise ValueError("chains, warmup, samples and max_tree_depth must be at least 1.")
        if not 0.0 < self.target_accept < 1.0:
            raise ValueError(f"target_accept must lie between 0 and 1, got {self.target_accept}.")


@dataclass(frozen=True)
class MCEM:
    """MC-EM on a system and data; ``run(key)`` does it.

    :param fixed: values the program is conditioned on, ``(member, ...)``; the latent among them is
        a Dirac map.
    :param flat: flatten the prior of the coefficients (REM).
    :param point: a point method: ``posterior`` holds one draw, the estimate itself.
    """

    system: System
    data: xr.Dataset
    options: MCEMOptions = MCEMOptions()
    method: str = "mcem"
    fixed: Callable[[Batch, Array], dict[str, np.ndarray]] | None = None
    flat: bool = False
    point: bool = False

    def run(self, key: Array, *, progress: Progress | None = None, start: Fit | None = None) -> Fit:
        """Find the MAP, then draw from the Laplace approximation around it.

        :param start: an earlier fit of the same system to begin from, perhaps of fewer frames.
        """
        batch = self.system.batch(self.data)
        fixed_key, fit_key, draw_key = jax.random.split(key, 3)
        fixed = {} if self.fixed is None else self.fixed(batch, fixed_key)
        function = replace_prior(self.system.program) if self.flat else self.system.program
        first = None if start is None else start.mode
        options = self.options

        def search(
            function: Callable[..., None],
            batch: Batch,
            fixed: dict[str, np.ndarray],
            start: np.ndarray | None,
            schedule: Schedule,
            sampler: Sampler = self.system.sampler,
        ) -> MCEMResult:
            return run_mcem(
                function,
                sampler,
                batch,
                fit_key,
                schedule=schedule,
                tolerance=options.tolerance,
                max_iterations=options.max_iterations,
                start=start,
                fixed=fixed,
                frames_per_step=options.frames_per_step,
                infinity=INFINITY,
                progress=progress,
            )

        rule = options.rule()
        result = search(function, batch, fixed, first, rule)
        messages: list[str] = []
        label = "flat" if self.flat else str(self.system.options.get("prior", "as in the program"))
        prior_used = np.full(len(batch.x), label, dtype=object)
        if result.unbounded.any():
            at = np.flatnonzero(result.unbounded)
            part = batch.of(at)
            some = {k: v[at] for k, v in fixed.items()}
            if result.program.improper:
                messages.append(
                    f"under the flat prior the optimum is at infinity for {_members(batch, at)}: some combination "
                    f"of features never occurs in the data; normal(0, {FALLBACK:g}) is used there instead."
                )
                again = search(
                    replace_prior(function, FALLBACK, only_improper=True), part, some, None, rule
                )
                prior_used[at] = f"normal(0, {FALLBACK:g})"
            else:
                messages.append(
                    f"for {_members(batch, at)} a coefficient under ARD ran past {INFINITY:g}, where the "
                    "lattice freezes; these were started again from a stronger pull to zero."
                )
                gentle = replace(rule, warm_precision=10.0) if isinstance(rule, Newton) else rule
                again = search(
                    function,
                    part,
                    some,
                    None,
                    gentle,
                    self.system.independent or self.system.sampler,
                )
            result = result.replaced(at, again)
        return self._finish(result, batch, fixed, draw_key, prior_used, messages, progress)

    def _finish(
        self,
        result: MCEMResult,
        batch: Batch,
        fixed: dict[str, np.ndarray],
        key: Array,
        prior_used: np.ndarray,
        messages: list[str],
        progress: Progress | None,
    ) -> Fit:
        options, program = self.options, result.program
        began = time.monotonic()
        if not result.converged.all():
            at = np.flatnonzero(~result.converged)
            messages.append(
                f"MC-EM did not converge for {_members(batch, at)} ({result.ended}, distance "
                f"{result.distance[at].max():.2g} posterior sd); raise -M max_iterations or max_sweeps, or use a "
                "tighter prior."
            )
        groups: dict[str, dict[str, Table]] = {}
        exact = not program.sites.latent_observed and is_exact(program, batch)
        fallback = prior_used != prior_used[0] if len(prior_used) else np.zeros(0, bool)
        weighable = (
            options.weights
            and not self.point
            and not program.sites.latent_observed
            and not fallback.any()
            and not np.any(prior_used == "flat")
        )
        forms: dict[str, Form] = {}
        for form, k in zip(FORMS, jax.random.split(key, len(FORMS)), strict=True):
            normal = laplace(program, result.estimates, result.u, batch.x, batch.conditions, form)
            weighted = None
            if weighable:
                weighted = weigh(
                    program,
                    normal,
                    k,
                    options.draws,
                    batch.x,
                    batch.conditions,
                    sampler=None if exact else self.system.sampler,
                    integrate_tau=options.integrate_tau,
                    progress=progress,
                )
                raw = weighted.draws
                if weighted.unsupported.any():
                    at = np.flatnonzero(weighted.unsupported)
                    messages.append(
                        f"{weighted.unsupported.sum()} of {normal.definite.sum() * options.draws} {form} draws "
                        f"got no weight, too few samples reach them ({_members(batch, at)})."
                    )
            else:
                raw = normal.draw(k, options.draws)
            forms[form] = (normal, weighted, raw)
            groups[f"laplace_{form}"] = laplace_group(normal, weighted, raw)
            if not normal.definite.all():
                at = np.flatnonzero(~normal.definite)
                messages.append(
                    f"the {form} information is indefinite for {_members(batch, at)} (smallest eigenvalue "
                    f"{normal.smallest[at].min():.2g}): no normal approximation of that form exists there."
                )
        chosen, name = choose(forms, options.laplace)
        khat = np.array([khat_of(forms[f], m) for m, f in enumerate(chosen)])
        draws = np.stack([held(forms[f], m) for m, f in enumerate(chosen)], 1)[None]
        if not np.isfinite(draws).all():
            messages.append(
                "no Laplace approximation exists for some members: their draws repeat the mode."
            )
            draws = np.where(np.isfinite(draws), draws, result.u[None, None])
        bad = np.flatnonzero(weighable & (khat > BAD_KHAT))
        if bad.size:
            messages.append(
                f"importance weights are unreliable (k-hat up to {khat[bad].max():.2f} > {BAD_KHAT}) for "
                f"{_members(batch, bad)}: intervals there are rough; use -m nuts where it can run."
            )
        approximation = f"Laplace ({name}), " + (
            "unweighted draws"
            if not weighable
            else "Pareto-smoothed resampling" + ("" if exact else ", weights estimated")
        )
        if self.point:
            draws, approximation = result.u[None, None], "one draw: the point estimate"
        groups["map"] = map_group(result, prior_used, np.array(chosen), khat)
        groups["em_trace"] = trace_group(result)
        return Fit(
            method=self.method,
            system=self.system,
            batch=batch,
            program=program,
            draws=draws,
            mode=result.u,
            approximation=approximation,
            converged=result.converged,
            ended=result.ended,
            messages=tuple(messages),
            seconds=result.seconds + time.monotonic() - began,
            exact=exact,
            fixed=fixed,
            groups=groups,
            attrs={
                "sweeps_per_chain": result.sweeps,
                "prior_used": ", ".join(sorted(set(map(str, prior_used)))),
            },
        )


@dataclass(frozen=True)
class NUTS:
    """NUTS on a system and data; ``run(key)`` does it."""

    system: System
    data: xr.Dataset
    options: NUTSOptions = NUTSOptions()

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Sample the full posterior."""
        from bayescg.results import diagnostics, to_dataset

        batch = self.system.batch(self.data)
        program = program_of(self.system, batch)
        o = self.options
        result = run_nuts(
            program,
            batch.x,
            batch.conditions,
            key,
            chains=o.chains,
            warmup=o.warmup,
            samples=o.samples,
            target_accept=o.target_accept,
            max_tree_depth=o.max_tree_depth,
            progress=progress,
        )
        found = diagnostics(to_dataset({"u": result.u}, dims={"u": ("member", "parameter")}))
        rhat = np.asarray(found["r_hat"]["u"].max("parameter"))
        ess = np.minimum(
            *(np.asarray(found[k]["u"].min("parameter")) for k in ("ess_bulk", "ess_tail"))
        )
        divergent = result.stats["diverging"].sum((0, 1))
        good = (rhat < 1.01) & (divergent == 0) if o.chains > 1 else divergent == 0
        messages = []
        if not good.all():
            at = np.flatnonzero(~good)
            messages.append(
                f"NUTS is not to be trusted for {_members(batch, at)}: R-hat up to {np.nanmax(rhat[at]):.3f}, "
                f"{int(divergent[at].sum())} divergences; raise -M samples or target_accept."
            )
        stats = {
            k: Table(("chain", "draw", "member"), v, text)
            for k, text in (
                ("diverging", "divergent transition"),
                ("num_steps", "leapfrog steps"),
                ("accept_prob", "acceptance probability"),
                ("energy", "Hamiltonian"),
            )
            for v in [result.stats[k]]
        }
        stats["lp"] = Table(
            ("chain", "draw", "member"), -result.stats["potential_energy"], "log posterior density"
        )
        return Fit(
            method="nuts",
            system=self.system,
            batch=batch,
            program=program,
            draws=result.u,
            mode=None,
            approximation="NUTS, latents summed out exactly",
            converged=good,
            ended="converged" if good.all() else "not mixed",
            messages=tuple(messages),
            seconds=result.seconds,
            exact=True,
            groups={"sample_stats": stats},
            attrs={"r_hat": float(np.nanmax(rhat)), "ess": float(np.nanmin(ess))},
        )


def mcem(system: System, data: xr.Dataset, **options: Any) -> MCEM:
    """MC-EM with Laplace on ``system``; options are those of :class:`MCEMOptions`."""
    return MCEM(system, data, replace(MCEMOptions(), **options))


def nuts(system: System, data: xr.Dataset, **options: Any) -> NUTS:
    """NUTS on ``system``; options are those of :class:`NUTSOptions`."""
    return NUTS(system, data, replace(NUTSOptions(), **options))


def program_of(system: System, batch: Batch) -> Program:
    """The system's program, read on the first member of the data."""
    first = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    return read_program(system.program, jnp.asarray(batch.x[0], float), first)


def is_exact(program: Program, batch: Batch) -> bool:
    """Whether log p(x | theta) can be evaluated exactly."""
    from bayescg.infer.marginal import check_exact

    first = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    try:
        check_exact(program, jnp.asarray(batch.x[0], float), first)
    except ProgramError:
        return False
    return True


def _members(batch: Batch, at: np.ndarray) -> str:
    """Which members of a sweep, in words."""
    if batch.dim is None or batch.coords is None:
        return "these data"
    shown = ", ".join(f"{batch.coords[i]:g}" for i in at[:6])
    return f"{batch.dim} = {shown}" + (f" and {len(at) - 6} more" if len(at) > 6 else "")
