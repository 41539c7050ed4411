"""log Z from samples: tracked by gradient alone, or reweighted inside a trust region."""

from dataclasses import dataclass, field

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass

from bayescg.potentials.base import ExponentialFamily

__all__ = ["Reweighted", "Tracked", "effective_sample_size"]


def effective_sample_size(log_weights: Array) -> Array:
    """Kish's effective sample size, ``(sum w)^2 / sum w^2``."""
    return jnp.exp(2.0 * logsumexp(log_weights) - logsumexp(2.0 * log_weights))


@register_dataclass
@dataclass(frozen=True)
class Tracked:
    r"""Only the derivatives of log Z, from samples of the model at the current parameters.

    The value is free (it is 0); the gradient is :math:`\beta\langle\phi\rangle` and the Hessian
    :math:`\beta^2\operatorname{Cov}[\phi]` over the stored samples (Eq. 37), whatever the
    parameters at which it is asked. This is reweighting at its own reference, where the weights
    are equal and only their derivative is left.

    :param statistics: statistics of model samples, shape ``(term, sample)``.
    """

    statistics: Array

    def __call__(self, potential: ExponentialFamily, beta: Array) -> Array:
        exponent = beta * (potential.natural() @ self.statistics)
        return logsumexp(exponent - jax.lax.stop_gradient(exponent)) - jnp.log(exponent.size)


@register_dataclass
@dataclass(frozen=True)
class Reweighted:
    r"""log Z relative to a reference, by reweighting the reference's samples.

    Where the effective sample size falls below ``min_ess`` the estimate is worthless, and too
    low, so a maximiser or NUTS would go exactly there. The guard is therefore part of the value:
    outside the trust region log Z is ``+inf`` (the density is zero).

    :param statistics: statistics of samples drawn at the reference, shape ``(term, sample)``.
    :param natural: natural parameters of the reference, shape ``(term,)``.
    :param beta: inverse temperature of the reference.
    :param min_ess: smallest trusted effective sample size, as a fraction of the samples; static.
    """

    statistics: Array
    natural: Array
    beta: Array
    min_ess: float = field(default=0.1, metadata={"static": True})

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_ess <= 1.0:
            raise ValueError(f"min_ess must be a fraction in [0, 1], got {self.min_ess}.")

    def log_weights(self, potential: ExponentialFamily, beta: Array) -> Array:
        """Log importance weights of the stored samples, shape ``(sample,)``."""
        return (beta * potential.natural() - self.beta * self.natural) @ self.statistics

    def ess(self, potential: ExponentialFamily, beta: Array) -> Array:
        """Effective number of the stored samples at these parameters."""
        return effective_sample_size(self.log_weights(potential, beta))

    def __call__(self, potential: ExponentialFamily, beta: Array) -> Array:
        w = self.log_weights(potential, beta)
        trusted = effective_sample_size(jax.lax.stop_gradient(w)) >= self.min_ess * w.size
        return jnp.where(trusted, logsumexp(w) - jnp.log(w.size), jnp.inf)
