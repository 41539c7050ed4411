"""Laplace approximations at the end of MC-EM, and their importance weights."""

from dataclasses import dataclass, field
from functools import partial

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.estimates import Estimates
from bayescg.infer.marginal import log_posterior
from bayescg.infer.prior import expected_precisions, prior_terms
from bayescg.infer.program import Program
from bayescg.results import psis

__all__ = ["FORMS", "Laplace", "Weighted", "laplace", "weigh"]

FORMS = ("complete", "observed")


@dataclass(frozen=True)
class Laplace:
    r"""A normal approximation of the posterior in the unconstrained coordinates.

    ``complete`` is the paper's Eq. 45: the information as if the latents were seen, and ARD's
    :math:`\langle\tau\rangle`. ``observed`` removes the missing information by Louis' identity,
    cross block of theta_c and theta_cf included, and takes the exact curvature of the prior.
    """

    form: str
    mean: np.ndarray  # (member, u)
    precision: np.ndarray  # (member, u, u)
    smallest: np.ndarray  # (member,), smallest eigenvalue of the precision

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
        return out

    def log_prob(self, u: np.ndarray) -> np.ndarray:
        """Log density of ``u (member, draw, u)``; NaN where the precision is indefinite."""
        d = u - self.mean[:, None]
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
) -> Laplace:
    """Laplace approximation of every member from the last estimates of MC-EM.

    :param u: the mode, ``(member, u)``.
    :param form: ``"complete"`` or ``"observed"``.
    """
    terms = jax.jit(jax.vmap(partial(prior_terms, program)))
    _, held, exact = terms(jnp.asarray(u), jnp.asarray(x, float), _floats(conditions))
    if form == "complete":
        precision = np.asarray(estimates.complete + held)
    else:
        precision = np.asarray(estimates.observed + exact)
    precision = 0.5 * (precision + np.swapaxes(precision, 1, 2))
    return Laplace(form, np.asarray(u), precision, np.linalg.eigvalsh(precision)[:, 0])


@dataclass(frozen=True)
class Weighted:
    """Laplace draws corrected towards the exact posterior by Pareto-smoothed importance sampling."""

    draws: np.ndarray  # (member, draw, u), raw
    log_weights: np.ndarray  # (member, draw), smoothed and normalised
    khat: np.ndarray  # (member,), Pareto shape; above 0.7 the weights are not reliable
    resampled: np.ndarray = field(repr=False)  # (member, draw, u), equally weighted


def weigh(
    program: Program,
    approximation: Laplace,
    key: Array,
    draws: int,
    x: np.ndarray,
    conditions: dict[str, np.ndarray],
    *,
    integrate_tau: bool = False,
) -> Weighted:
    r"""Draw from a Laplace approximation and weigh by the exact posterior.

    Under ARD the target is the posterior at :math:`\tau = \langle\tau\rangle`, the one that Eq. 45
    approximates: with :math:`a_0 = b_0 = 10^{-5}` the density with tau integrated out is a spike
    with heavy tails in every pruned coefficient, which no normal proposal covers.

    :param integrate_tau: use the posterior with tau integrated out all the same.
    """
    draw_key, pick_key = jax.random.split(key)
    u = approximation.draw(draw_key, draws)

    def target(u: Array, mode: Array, x: Array, conditions: dict[str, Array]) -> Array:
        tau = None if integrate_tau else expected_precisions(program, mode)

        def one(v: Array) -> Array:
            return log_posterior(program, v, x, conditions, tau) + program.log_jacobian(v)

        return jax.lax.map(one, u, batch_size=8)

    # Member by member: each is a large computation, and this way one shape is compiled.
    run = jax.jit(target)
    log_target = np.stack(
        [
            np.asarray(
                run(
                    jnp.asarray(u[m]),
                    jnp.asarray(approximation.mean[m]),
                    jnp.asarray(x[m], float),
                    given,
                )
            )
            for m in range(len(u))
            for given in [_floats({k: v[m] for k, v in conditions.items()})]
        ]
    )
    raw = log_target - approximation.log_prob(u)
    log_weights = np.full(raw.shape, -np.inf)
    khat = np.full(len(u), np.inf)
    resampled = np.array(u)
    offsets = np.asarray(jax.random.uniform(pick_key, (len(u),)))
    for m in np.flatnonzero(approximation.definite):
        finite = np.where(np.isfinite(raw[m]), raw[m], -np.inf)
        smooth, k = psis(finite)
        log_weights[m], khat[m] = smooth, float(k)
        # Systematic resampling: the least added noise among unbiased schemes.
        edges = np.cumsum(np.exp(smooth))
        at = np.searchsorted(edges / edges[-1], (np.arange(draws) + offsets[m]) / draws)
        resampled[m] = u[m, np.minimum(at, draws - 1)]
    return Weighted(u, log_weights, khat, resampled)


def _floats(conditions: dict[str, np.ndarray]) -> dict[str, Array]:
    return {k: jnp.asarray(v, float) for k, v in conditions.items()}
