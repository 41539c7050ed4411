"""The methods as runs: a system and data in, a :class:`Fit` out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
import time
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import all_seen, is_exact, origin, program_of
from bayescg.infer.checkpoint import interrupted
from bayescg.infer.collapse import unreliable
from bayescg.infer.examination import of_draws
from bayescg.infer.existence import endless
from bayescg.infer.fit import Fit, Table
from bayescg.infer.handlers import replace_prior
from bayescg.infer.health import Doubt, Posterior, names_of
from bayescg.infer.identified import weakest
from bayescg.infer.laplace import FORMS, joined, laplace, repeated, weigh
from bayescg.infer.mcem import MCEMResult, run_mcem
from bayescg.infer.options import MCEMOptions, options_for
from bayescg.infer.program import (
    coefficient_sites,
)
from bayescg.infer.progress import Progress
from bayescg.infer.schedules import Newton, Schedule
from bayescg.infer.shared import exponents_of_all, log_posterior_of_all
from bayescg.infer.tables import (
    Form,
    choose,
    held,
    laplace_group,
    log_weights,
    map_group,
    quality,
    stats_group,
    trace_group,
)
from bayescg.infer.words import failures_in_words, members_in_words
from bayescg.samplers.base import Sampler
from bayescg.system import Batch, System

__all__ = ["MCEM", "MCEMOptions", "mcem"]

FALLBACK = 10.0  # scale of the normal prior used instead


class _Drawn(NamedTuple):
    """Draws of a Laplace approximation."""

    draws: np.ndarray  # (chain, draw, member, u)
    lost: np.ndarray  # (member,), whether they repeat the mode: no normal approximation exists
    approximation: str  # what they are, in words
    groups: dict[str, dict[str, Table]]
    doubts: list[Doubt]


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
    options: MCEMOptions = MCEMOptions()  # noqa: RUF009 - frozen
    method: str = "mcem"
    fixed: Callable[[Batch, Array], dict[str, np.ndarray]] | None = None
    flat: bool = False
    point: bool = False

    def run(self, key: Array, *, progress: Progress | None = None, start: Fit | None = None) -> Fit:
        """Find the MAP, then draw from the Laplace approximation around it.

        :param start: an earlier fit of the same system to begin from, perhaps of fewer frames.
        :raises ValueError: for data or a start that do not fit the system.
        """
        began = time.monotonic()
        batch = self.system.batch(self.data)
        fixed_key, fit_key, again_key, look_key, draw_key = jax.random.split(key, 5)
        fixed = {} if self.fixed is None else self.fixed(batch, fixed_key)
        fixed = fixed or all_seen(self.system, batch)
        function = self.system.program
        conditions = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
        whole = program_of(self.system, batch, fixed, pooled=not self.flat)
        coefficients = coefficient_sites(whole, jnp.asarray(batch.x[0], float), conditions)
        if self.flat:
            function = replace_prior(function, coefficients)
        at_first = self.options.start
        first = origin(self.system, whole, batch.x, at_first) if start is None else start.mode
        if start is not None and (first is None or first.shape != (len(batch.x), whole.size)):
            raise ValueError(
                "a fit can start only from the mode of another with the same members and parameters."
            )
        options = self.options
        rule = options.rule()
        if start is not None and isinstance(rule, Newton):
            rule = replace(rule, warm=0)  # what ARD has pruned stays so

        def search(
            function: Callable[..., None],
            key: Array,
            at: np.ndarray,
            schedule: Schedule,
            sampler: Sampler,
            start: np.ndarray | None = None,
        ) -> MCEMResult:
            return run_mcem(
                function,
                sampler,
                batch.of(at),
                key,
                schedule=schedule,
                tolerance=options.tolerance,
                max_iterations=options.max_iterations,
                patience=options.patience,
                information=options.information,
                warmup=options.warmup,
                thin=options.thin,
                start=start,
                fixed={k: v[at] for k, v in fixed.items()},
                frames_per_step=options.frames_per_step,
                infinity=infinity,
                latent_sampler=self.system.latent_sampler,
                complete=self.system.complete,
                progress=progress,
            )

        infinity = np.inf if self.system.runaway is None else self.system.runaway
        sampler, independent = self.system.sampler, self.system.independent
        everyone = np.arange(len(batch.x))
        result = search(function, fit_key, everyone, rule, sampler, first)
        messages = list(batch.notices)
        label = "flat" if self.flat else str(self.system.options.get("prior", "as in the program"))
        prior_used = np.full(len(batch.x), label, dtype=object)
        try:
            unbounded = result.unbounded
            if result.program.improper and not result.interrupted and np.isfinite(infinity):
                unbounded = unbounded | endless(
                    result, sampler, batch, fixed, coefficients, look_key, infinity, progress
                )
            at = np.flatnonzero(unbounded)
            if not at.size or result.interrupted:
                pass
            elif result.program.improper:
                loose = set(coefficients) & set(result.program.improper)
                names = names_of(result.program, self.system.features)
                spot = np.concatenate([result.program.coordinates(k) for k in sorted(loose)])
                told = np.asarray(result.estimates.complete)[at[0]][np.ix_(spot, spot)]
                along = weakest([names[i] for i in spot], told)
                held = replace_prior(function, loose, FALLBACK)
                result = result.replaced(at, search(held, again_key, at, rule, sampler))
                prior_used[at] = f"normal(0, {FALLBACK:g})"
                messages.append(
                    f"under the flat prior the optimum is at infinity for {members_in_words(batch, at)}: some "
                    f"combination of features never occurs in the data (or does not matter), least told is {along}; "
                    f"normal(0, {FALLBACK:g}) is used there instead."
                )
            elif isinstance(rule, Newton):
                gentle = replace(rule, warm=Newton.warm, warm_precision=10.0)
                again = search(function, again_key, at, gentle, independent or sampler)
                result = result.replaced(at, again)
                messages.append(
                    f"for {members_in_words(batch, at)} a coefficient under ARD ran past {infinity:g} / beta, "
                    "where the lattice freezes; these were started again from a stronger pull to zero."
                )
        except KeyboardInterrupt:
            interrupted()
            # What was found stands, and is not called converged: nothing has vouched for it.
            result = replace(
                result,
                converged=np.zeros(len(everyone), bool),
                ended=np.full(len(everyone), "interrupted", dtype=object),
            )
        fit = self._finish(result, batch, fixed, draw_key, prior_used, messages, progress)
        return replace(fit, options=options, key=key, seconds=time.monotonic() - began)

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
        program = result.program
        if not result.converged.all():
            at = np.flatnonzero(~result.converged)
            messages.append(
                f"MC-EM did not converge for {members_in_words(batch, at)} ({_endings(result)}, distance "
                f"{result.distance[at].max():.2g} posterior sd); raise -M max_iterations or max_sweeps, or use a "
                "tighter prior."
            )
        messages += failures_in_words(result, batch)
        exact = not program.sites.latent_observed and is_exact(program, batch)
        converged, ended, attrs = result.converged, _endings(result), dict[str, object]()
        if self.point:
            groups: dict[str, dict[str, Table]] = {}
            draws, approximation = result.u[None, None], "one draw: the point estimate"
            groups["map"] = map_group(result, prior_used, [], np.zeros(0))
        else:
            weighted = self.options.weights and not program.sites.latent_observed
            # Weights that are not exact are of chains that are cooled, which sites in space cannot be.
            weighted = weighted and (
                exact or (self.system.sampler.at is None and not program.shared)
            )
            if result.interrupted and weighted:
                weighted = False
                messages.append("interrupted: draws are not weighted.")
            arguments = (result, batch, key, prior_used, exact, progress)
            try:
                drawn = self._laplace(*arguments, weighted, messages)
            except KeyboardInterrupt:
                interrupted()
                messages.append("interrupted while draws were weighted: they are not.")
                drawn = self._laplace(*arguments, False, messages)
            draws, lost, approximation, groups, doubts = drawn
            health = of_draws(Posterior(self.system, program, batch, draws), doubts)
            messages += health.messages
            groups["health"], attrs = health.tables, health.attrs
            if health.bad.any():
                converged = converged & ~health.bad
                ended = "runaway" if ended == "converged" else f"{ended}, runaway"
            if lost.any():
                converged = converged & ~lost
                ended = "no intervals" if ended == "converged" else f"{ended}, no intervals"
        groups["em_trace"] = trace_group(result, self.system.length)
        return Fit(
            method=self.method,
            system=self.system,
            batch=batch,
            program=program,
            draws=draws,
            mode=result.u,
            approximation=approximation,
            converged=converged,
            ended=ended,
            messages=tuple(messages),
            seconds=result.seconds,
            exact=exact,
            fixed=fixed,
            groups=groups,
            attrs={
                "sweeps_per_chain": result.sweeps,
                **batch.attrs,
                "prior_used": ", ".join(sorted(set(map(str, prior_used)))),
                **attrs,
            },
        )

    def _laplace(
        self,
        result: MCEMResult,
        batch: Batch,
        key: Array,
        prior_used: np.ndarray,
        exact: bool,
        progress: Progress | None,
        weighable: bool,
        messages: list[str],
    ) -> _Drawn:
        """Draws around the mode, and what there is to say of them; adds to ``messages``."""
        options, program = self.options, result.program
        names = names_of(program, self.system.features)
        groups: dict[str, dict[str, Table]] = {}
        forms: dict[str, Form] = {}
        for form, k in zip(FORMS, jax.random.split(key, len(FORMS)), strict=True):
            normal, weighted, raw = self._approximate(
                form, result, batch, k, weighable, exact, progress
            )
            if weighted is not None:
                if weighted.unsupported.any():
                    at = np.flatnonzero(weighted.unsupported)
                    messages.append(
                        f"{weighted.unsupported.sum()} of {normal.definite.sum() * options.draws} {form} draws "
                        f"got no weight, too few samples reach them ({members_in_words(batch, at)})."
                    )
            forms[form] = (normal, weighted, raw)
            groups[f"laplace_{form}"] = laplace_group(normal, weighted, raw)
            if normal.bounded.any():
                at = np.flatnonzero(normal.bounded)
                messages.append(
                    f"the {form} information is lost in its Monte Carlo error for {members_in_words(batch, at)}; "
                    "missing information is taken to be at most 95 % of the complete there, and intervals are rough."
                )
            if not normal.definite.all():
                at = np.flatnonzero(~normal.definite)
                worst = at[np.argmin(np.nan_to_num(normal.smallest[at], nan=-np.inf))]
                messages.append(
                    f"the {form} information is indefinite for {members_in_words(batch, at)} (smallest eigenvalue "
                    f"{normal.smallest[at].min():.2g}, along {weakest(names, normal.precision[worst])}): no normal "
                    "approximation of that form exists there."
                )
        chosen, name = choose(forms, options.laplace)
        khat, effective = np.array([quality(forms[f], m) for m, f in enumerate(chosen)]).T
        draws = np.stack([held(forms[f], m) for m, f in enumerate(chosen)], 1)[None]
        lost = ~np.isfinite(draws).all((0, 1, 3))
        if lost.any():
            others = [f for f in FORMS if forms[f][0].definite[lost].all()]
            hint = f"-M laplace={others[0]}" if others else "more frames or a tighter prior"
            messages.append(
                f"there are no usable Laplace draws for {members_in_words(batch, np.flatnonzero(lost))}: they "
                f"repeat the mode, and have no width; lower -M tolerance, or try {hint}."
            )
        draws = np.where(np.isfinite(draws), draws, result.u[None, None])
        doubts: list[Doubt] = []
        if weighable:
            doubts = unreliable(
                Posterior(self.system, program, batch, draws),
                np.stack([forms[f][2][m] for m, f in enumerate(chosen)], 1),
                np.stack([log_weights(forms[f], m) for m, f in enumerate(chosen)], 1),
                khat,
                effective,
                "importance weights are unreliable",
                "-m nuts where it can run",
            )
        approximation = f"Laplace ({name}), "
        if not weighable:
            approximation += "unweighted draws"
        else:
            approximation += "Pareto-smoothed resampling" + ("" if exact else ", weights estimated")
            if program.ard and not options.integrate_tau:
                approximation += ", given tau = <tau>"
        groups["map"] = map_group(result, prior_used, chosen, khat)
        groups["sample_stats"] = stats_group(forms, chosen)
        return _Drawn(draws, lost, approximation, groups, doubts)

    def _approximate(
        self,
        form: str,
        result: MCEMResult,
        batch: Batch,
        key: Array,
        weighable: bool,
        exact: bool,
        progress: Progress | None,
    ) -> Form:
        """One form of every member, each under the program that it was fitted by."""
        if result.program.shared:
            return self._of_all(form, result, batch, key, weighable, progress)
        normals, weights, order = [], [], []
        for i, program in enumerate(result.programs):
            at = np.flatnonzero(result.which == i)
            if not at.size:
                continue
            part = batch.of(at)
            estimates = jax.tree.map(lambda a, at=at: a[at], result.estimates)
            normal = laplace(program, estimates, result.u[at], part.x, part.conditions, form)
            normals.append(normal)
            order.append(at)
            if weighable:
                weights.append(
                    weigh(
                        program,
                        normal,
                        jax.random.fold_in(key, i),
                        self.options.draws,
                        part.x,
                        part.conditions,
                        sampler=None if exact else self.system.sampler,
                        integrate_tau=self.options.integrate_tau,
                        progress=progress,
                    )
                )
        normal = joined(normals, order)
        if not weighable:
            return normal, None, normal.draw(key, self.options.draws)
        weighted = joined(weights, order)
        return normal, weighted, weighted.draws

    def _of_all(
        self,
        form: str,
        result: MCEMResult,
        batch: Batch,
        key: Array,
        weighable: bool,
        progress: Progress | None,
    ) -> Form:
        """One form of the posterior of members that share their parameters; every draw is that of all of them."""
        members, program, options = len(batch.x), result.program, self.options
        x = jnp.asarray(batch.x, float)
        conditions = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
        first = batch.of(np.array([0]))
        normal = laplace(
            program,
            jax.tree.map(lambda a: a[:1], result.estimates),
            result.u[:1],
            first.x,
            first.conditions,
            form,
            lambda u: exponents_of_all(program, u, x, conditions),
        )
        if not weighable:
            raw = np.repeat(normal.draw(key, options.draws), members, axis=0)
            return repeated(normal, members), None, raw
        weighted = repeated(
            weigh(
                program,
                normal,
                key,
                options.draws,
                first.x,
                first.conditions,
                integrate_tau=options.integrate_tau,
                density=lambda u, tau: log_posterior_of_all(program, u, x, conditions, tau),
                progress=progress,
            ),
            members,
        )
        return repeated(normal, members), weighted, weighted.draws


def mcem(system: System, data: xr.Dataset, **options: Any) -> MCEM:
    """MC-EM with Laplace on ``system``; options are those of :class:`MCEMOptions`.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`MCEMOptions` that are not at their defaults.

    >>> from bayescg import workflow
    >>> data = workflow.make_reference("ising", ["n_f=8", "L_f=2", "mu=0.5", "frames=20"], seed=1)
    >>> ising = workflow.system("ising", data, ratio=4, L2=1, L3=0, prior="normal", prior_scale=1.0)
    >>> fit = mcem(ising, data, draws=100).run(jax.random.key(0))
    >>> fit.ended, fit.draws.shape  # (chain, draw, member, u)
    ('converged', (1, 100, 1, 3))
    >>> mcem(ising, data, tolerence=0.1)
    Traceback (most recent call last):
        ...
    ValueError: unknown option 'tolerence' for mcem; did you mean 'tolerance'? Known: ...
    """
    return MCEM(system, data, options_for(system, "mcem", MCEMOptions(), options))


def _endings(result: MCEMResult) -> str:
    """How a run ended: "converged", or all the ways in which members did not."""
    return ", ".join(sorted(set(result.ended) - {"converged"})) or "converged"
