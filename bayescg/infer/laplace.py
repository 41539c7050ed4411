"""Laplace approximations at the end of MC-EM, and their importance weights."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, TypeVar

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.estimates import Estimates
from bayescg.infer.marginal import log_posterior
from bayescg.infer.moves import is_curved
from bayescg.infer.prior import expected_precisions, prior_terms
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.resampling import systematic
from bayescg.infer.reweighting import Estimate, reweighted_log_posterior
from bayescg.infer.ridges import ridge
from bayescg.infer.schedules import usable_information
from bayescg.results import psis
from bayescg.samplers.base import Sampler

__all__ = ["FORMS", "Laplace", "Weighted", "joined", "laplace", "repeated", "weigh"]

FORMS = ("complete", "observed")
SUPPORT = 20.0  # effective samples that an estimated weight needs
MOST_MISSING = 0.95  # of the complete information, where the estimate of what is missing passes it


@dataclass(frozen=True)
class Laplace:
    r"""A normal approximation of the posterior in the unconstrained coordinates.

    ``complete`` is the paper's Eq. 45: the information as if the latents were seen, and ARD's
    :math:`\langle\tau\rangle`. ``observed`` removes the missing information by Louis' identity,
    cross block of theta_c and theta_cf included, and takes the exact curvature of the prior, or where
    that makes it indefinite (on the flanks of ARD's spike) the one of Eq. 44. Where Monte Carlo error
    leaves it indefinite even so, the missing information is held below ``MOST_MISSING`` of the
    complete one, as it is where steps are made of it: ``bounded``. Draws follow ridges that bend
    (:mod:`bayescg.infer.ridges`).
    """

    form: str
    mean: np.ndarray  # (member, u)
    precision: np.ndarray  # (member, u, u)
    smallest: np.ndarray  # (member,), smallest eigenvalue of the precision
    bounded: np.ndarray  # (member,), whether the missing information had to be bounded
    ridges: np.ndarray  # (member,) of Ridge, None where the posterior does not bend

    @property
    def definite(self) -> np.ndarray:
        """Whether each member's precision is positive definite; nothing is drawn where it is not."""
        return self.smallest > 0.0

    def draw(self, key: Array, draws: int) -> np.ndarray:
        """Draws ``(member, draw, u)``; NaN where the precision is indefinite."""
        z = np.asarray(jax.random.normal(key, (len(self.mean), draws, self.mean.shape[1])))
        out = np.full(z.shape, np.nan)
        for m in np.flatnonzero(self.definite):
            lower = np.linalg.cholesky(self.precision[m])
            out[m] = self.mean[m] + np.linalg.solve(lower.T, z[m].T).T
            if self.ridges[m] is not None:
                out[m] = self.ridges[m].along(out[m])
        return out

    def log_prob(self, u: np.ndarray) -> np.ndarray:
        """Log density of ``u (member, draw, u)``; NaN where the precision is indefinite."""
        straight = [v if r is None else r.straight(v) for v, r in zip(u, self.ridges, strict=True)]
        d = np.array(straight) - self.mean[:, None]
        sign, logdet = np.linalg.slogdet(self.precision)
        quadratic = np.einsum("mdi,mij,mdj->md", d, self.precision, d)
        value = 0.5 * (logdet[:, None] - quadratic - u.shape[-1] * np.log(2.0 * np.pi))
        return np.where((sign > 0)[:, None], value, np.nan)


def laplace(
    program: Program,
    estimates: Estimates,
    u: np.ndarray,
    x: np.ndarray,
    conditions: dict[str, np.ndarray],
    form: str,
    exponents: Callable[[Array], Array] | None = None,
) -> Laplace:
    """Laplace approximation of every member from the last estimates of MC-EM.

    :param u: the mode, ``(member, u)``.
    :param form: ``"complete"`` or ``"observed"``.
    :param exponents: natural parameters times beta of all that the estimates are of, from ``u (u,)``; None: each
        member's own.
    """
    terms = jax.jit(jax.vmap(partial(prior_terms, program)))
    given = jnp.asarray(u), jnp.asarray(x, float), _floats(conditions)
    gradient, held, exact = terms(*given)
    estimates = estimates._replace(
        complete=_at_rest(program, estimates, gradient, *given, exponents)
    )
    bounded = np.zeros(len(u), bool)
    if form == "complete":
        precision = np.asarray(estimates.complete + held)
    else:
        precision = np.asarray(estimates.observed + exact)
        # Flanks of ARD's spike bend the wrong way: there its precisions are held, as in Eq. 44.
        bent = ~(_smallest(precision) > 0.0)
        precision = np.array(precision)
        precision[bent] = np.asarray(estimates.observed + held)[bent]
        bounded = ~(_smallest(precision) > 0.0) & (_smallest(np.asarray(estimates.fisher)) > 0.0)
        if bounded.any():
            believed = jax.vmap(partial(usable_information, most_missing=MOST_MISSING, floor=1e-2))
            precision[bounded] = np.asarray(believed(estimates) + held)[bounded]
    precision = 0.5 * (precision + np.swapaxes(precision, 1, 2))
    smallest = _smallest(precision)
    ridges = np.full(len(u), None)
    here = jnp.asarray(x, float), _floats(conditions)
    if exponents is not None or is_curved(program, *jax.tree.map(lambda a: a[0], here)):
        for m in np.flatnonzero(smallest > 0.0):
            at = jax.tree.map(lambda a, m=m: a[m], here)
            own = partial(_natural, program, x=at[0], conditions=at[1])
            ridges[m] = ridge(exponents or own, u[m], precision[m])
    return Laplace(form, np.asarray(u), precision, smallest, bounded, ridges)


def _natural(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    """Natural parameters times beta."""
    boltzmann = program.boltzmann(u, x, conditions)
    return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()


def _at_rest(
    program: Program,
    estimates: Estimates,
    gradient: Array,
    u: Array,
    x: Array,
    conditions: dict[str, Array],
    exponents: Callable[[Array], Array] | None,
) -> Array:
    r"""Complete information of every member, ``(member, u, u)``, for a mode that is one exactly.

    Where natural parameters :math:`\eta` are not linear in u they bend the log posterior by
    :math:`\beta\sum_k r_k\nabla^2\eta_k`, with :math:`r` what the data have of the statistics beyond the
    model. Its estimate has the Monte Carlo error of the score, more than all else that curves the
    posterior along a sloppy direction. But at a mode the score is minus the gradient of the prior:
    :math:`r` is changed by the least that makes it so.
    """

    def natural(v: Array, x: Array, conditions: dict[str, Array]) -> Array:
        return _natural(program, v, x, conditions) if exponents is None else exponents(v)

    def bend(r: Array, v: Array, x: Array, conditions: dict[str, Array]) -> Array:
        return jax.hessian(lambda w: natural(w, x, conditions) @ r)(v)

    slopes = np.asarray(jax.jit(jax.vmap(jax.jacfwd(natural)))(u, x, conditions))
    residuals = np.zeros(slopes.shape[:2])
    left = np.asarray(estimates.score + gradient)
    for m, (slope, fine) in enumerate(
        zip(slopes, np.asarray(estimates.of_likelihood), strict=True)
    ):
        at = np.flatnonzero(fine == 0)
        if np.isfinite(slope).all() and np.isfinite(left[m]).all():
            residuals[m] = np.linalg.lstsq(slope[:, at].T, -left[m, at], rcond=1e-12)[0]
    change: Array = jax.jit(jax.vmap(bend))(jnp.asarray(residuals), u, x, conditions)
    return estimates.complete - change


def _smallest(precision: np.ndarray) -> np.ndarray:
    """Smallest eigenvalue of each matrix, NaN where it is not finite."""
    precision = 0.5 * (precision + np.swapaxes(precision, 1, 2))
    finite = np.isfinite(precision).all((1, 2))
    out = np.full(len(precision), np.nan)
    out[finite] = np.linalg.eigvalsh(precision[finite])[:, 0]
    return out


@dataclass(frozen=True)
class Weighted:
    """Laplace draws corrected towards the posterior by Pareto-smoothed importance sampling."""

    draws: np.ndarray  # (member, draw, u), raw
    log_weights: np.ndarray  # (member, draw), smoothed and normalised
    khat: np.ndarray  # (member,), Pareto shape; above 0.7 the weights are not reliable
    resampled: np.ndarray = field(repr=False)  # (member, draw, u), equally weighted; NaN for none
    lp: np.ndarray  # (member, draw), log posterior of ``resampled``, up to a constant
    error: np.ndarray  # (member, draw), Monte Carlo error of the log weights; 0 where exact
    unsupported: np.ndarray  # (member,), draws left out since too few samples stand behind them

    @property
    def effective(self) -> np.ndarray:
        """Effective number of draws, ``(member,)``; 0 where no draw has a weight."""
        square = np.sum(np.exp(2.0 * self.log_weights), axis=1)
        return np.where(square > 0, 1.0 / np.maximum(square, 1e-300), 0.0)


Part = TypeVar("Part", Laplace, Weighted)


def joined(parts: list[Part], members: list[np.ndarray]) -> Part:
    """One object from those of disjoint sets of members."""
    order = np.argsort(np.concatenate(members))
    arrays: dict[str, Any] = {
        f.name: np.concatenate([getattr(p, f.name) for p in parts])[order]
        for f in fields(parts[0])
        if f.name != "form"
    }
    return replace(parts[0], **arrays)


def repeated(part: Part, members: int) -> Part:
    """What is known of one, for so many members that share it."""
    return joined([part] * members, [np.array([m]) for m in range(members)])


def weigh(
    program: Program,
    approximation: Laplace,
    key: Array,
    draws: int,
    x: np.ndarray,
    conditions: dict[str, np.ndarray],
    *,
    sampler: Sampler | None = None,
    integrate_tau: bool = False,
    density: Callable[[Array, Array | None], Array] | None = None,
    progress: Progress | None = None,
) -> Weighted:
    r"""Draw from a Laplace approximation and weigh by the posterior.

    Under ARD the target is the posterior at :math:`\tau = \langle\tau\rangle`, the one that Eq. 45
    approximates: with :math:`a_0 = b_0 = 10^{-5}` the density with tau integrated out is a spike
    with heavy tails in every pruned coefficient, which no normal proposal covers.

    :param sampler: estimate the posterior by reweighting samples
        (:func:`~bayescg.infer.reweighting.reweighted_log_posterior`); None: it is exact. A draw
        with fewer than ``SUPPORT`` samples behind it gets no weight: there an estimate of log Z
        is too low, and the draw would look too good.
    :param integrate_tau: use the posterior with tau integrated out all the same.
    :param density: log density of the parameters' values from ``u (u,)`` and ARD's precisions, where it is exact and
        not that of the member's own data (:func:`~bayescg.infer.marginal.log_posterior`).
    """
    progress = progress or Silent()
    draw_key, pick_key, sample_key = jax.random.split(key, 3)
    u = approximation.draw(draw_key, draws)

    def target(
        key: Array, u: Array, mode: Array, x: Array, conditions: dict[str, Array]
    ) -> Estimate:
        tau = None if integrate_tau else expected_precisions(program, mode)
        if sampler is not None:
            value = reweighted_log_posterior(program, sampler, key, u, mode, x, conditions, tau)
        else:

            def of(v: Array) -> Array:
                if density is not None:
                    return density(v, tau)
                return log_posterior(program, v, x, conditions, tau)

            exact = jax.lax.map(of, u, batch_size=8)
            value = Estimate(exact, jnp.zeros(len(u)), jnp.full(len(u), jnp.inf))
        return value._replace(value=value.value + jax.lax.map(program.log_jacobian, u))

    # Member by member: each is a large computation, and this way one shape is compiled.
    run = jax.jit(target)
    shape = u.shape[:2]
    found = Estimate(np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape))
    for i, one in enumerate(jax.random.split(sample_key, len(u))):
        if approximation.definite[i]:
            given = _floats({k: v[i] for k, v in conditions.items()})
            at = jnp.asarray(u[i]), jnp.asarray(approximation.mean[i]), jnp.asarray(x[i], float)
            for whole, part in zip(found, run(one, *at, given), strict=True):
                whole[i] = part
        progress.update(f"weights {approximation.form}", (i + 1) / len(u), {"members": i + 1})
    supported = found.support >= SUPPORT
    left_out = ~supported & approximation.definite[:, None]
    raw = np.where(supported, found.value, -np.inf) - approximation.log_prob(u)
    log_weights = np.full(raw.shape, -np.inf)
    khat = np.full(len(u), np.inf)
    resampled, lp = np.full(u.shape, np.nan), np.full(shape, np.nan)
    offsets = np.asarray(jax.random.uniform(pick_key, (len(u),)))
    raw = np.where(np.isfinite(raw), raw, -np.inf)
    for m in np.flatnonzero(approximation.definite & np.isfinite(raw).any(1)):
        smooth, k = psis(raw[m])
        log_weights[m], khat[m] = smooth, float(k)
        kept = systematic(smooth, offsets[m], draws)
        resampled[m], lp[m] = u[m, kept], found.value[m, kept]
    return Weighted(u, log_weights, khat, resampled, lp, found.error, left_out.sum(1))


def _floats(conditions: dict[str, np.ndarray]) -> dict[str, Array]:
    return {k: jnp.asarray(v, float) for k, v in conditions.items()}
