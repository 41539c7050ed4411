"""log Z from samples of one model: tracked by gradient alone."""

from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass

from bayescg.potentials.base import ExponentialFamily

__all__ = ["Tracked"]


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
