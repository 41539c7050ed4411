"""Coarse-to-fine likelihoods p_cf(x | X, theta_cf)."""

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike
import numpyro
from numpyro.distributions import Distribution, Uniform, constraints
from numpyro.distributions.util import validate_sample

from bayescg.distributions.boltzmann import spin
from bayescg.space import minimum_image

__all__ = ["PeriodicNormal", "SpinFlip", "half_to_one"]


def half_to_one(name: str) -> Array:
    r"""A probability in [1/2, 1], uniform a priori.

    Its unconstrained coordinate is the paper's :math:`\theta_{cf}` of Eq. 52,
    :math:`p_0 = \tfrac12(1 + 1/(1 + e^{-\theta_{cf}}))`.
    """
    return numpyro.sample(name, Uniform(0.5, 1.0))


class SpinFlip(Distribution):
    r"""Each child spin equals its parent with probability ``p0`` (PCG paper, Eq. 51),

    .. math:: \log p_{cf}(x \mid X) = \psi \log p_0 + (n_f - \psi)\log(1 - p_0), \qquad
              \psi = \sum_{I,s} \tfrac12 (1 + x_{s,I} X_I).

    :param X: parent spins, shape ``(*batch, n_c)``.
    :param p0: probability of agreement, a scalar, or one of each configuration, ``batch``.
    :param ratio: children per parent.
    """

    arg_constraints = {
        "X": constraints.independent(constraints.real, 1),
        "p0": constraints.unit_interval,
    }
    support = constraints.independent(spin, 1)
    pytree_aux_fields = ("ratio",)

    def __init__(
        self, X: Array, p0: ArrayLike, *, ratio: int, validate_args: bool | None = None
    ) -> None:
        self.X = X
        self.p0 = p0
        self.ratio = ratio
        super().__init__(X.shape[:-1], (X.shape[-1] * ratio,), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Fine spins, shape ``sample_shape + batch_shape + (n_f,)``."""
        shape = sample_shape + self.batch_shape + self.event_shape
        agree = jax.random.bernoulli(key, jnp.expand_dims(jnp.asarray(self.p0), -1), shape)
        return jnp.where(agree, 1.0, -1.0) * jnp.repeat(self.X, self.ratio, -1)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log probability of fine spins ``value (*batch, n_f)``."""
        blocks = value.reshape(*value.shape[:-1], -1, self.ratio).sum(-1)
        n_f = self.event_shape[0]
        agree = 0.5 * (n_f + jnp.sum(blocks * self.X, -1))
        p0 = jnp.asarray(self.p0)
        return xlogy(agree, p0) + xlog1py(n_f - agree, -p0)


class PeriodicNormal(Distribution):
    r"""Each site lies around its latent one, isotropically (PCG paper, Eq. 61),

    .. math:: p_{cf}(\hat x \mid X) = \prod_j N(\hat x_j \mid X_j, \sigma^2 I),

    the separation taken to the nearest image. The other images are left out of the density: at a
    twentieth of the box for sigma they would add less than 1e-20 of it.

    :param X: latent sites, ``(*batch, site, axis)``, angstrom.
    :param sigma2: variance of each coordinate, angstrom^2, a scalar.
    :param box: edges, angstrom.
    """

    arg_constraints = {
        "X": constraints.independent(constraints.real, 2),
        "sigma2": constraints.positive,
    }
    support = constraints.independent(constraints.real, 2)
    pytree_aux_fields = ("box",)

    def __init__(
        self,
        X: Array,
        sigma2: ArrayLike,
        *,
        box: tuple[float, ...],
        validate_args: bool | None = None,
    ) -> None:
        self.X = X
        self.sigma2 = sigma2
        self.box = box
        super().__init__(X.shape[:-2], X.shape[-2:], validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Sites, shape ``sample_shape + batch_shape + (site, axis)``; not wrapped."""
        shape = sample_shape + self.batch_shape + self.event_shape
        return self.X + jnp.sqrt(self.sigma2) * jax.random.normal(key, shape)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log density of sites ``value (*batch, site, axis)``."""
        d = minimum_image((value - self.X).T, self.box)
        square = jnp.sum(d * d, (0, 1)).T
        count = self.event_shape[0] * self.event_shape[1]
        return -0.5 * (square / self.sigma2 + count * jnp.log(2.0 * jnp.pi * self.sigma2))
