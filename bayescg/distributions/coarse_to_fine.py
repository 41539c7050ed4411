"""Coarse-to-fine likelihoods p_cf(x | X, theta_cf)."""

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike
import numpyro
from numpyro.distributions import (
    Distribution,
    Normal,
    TransformedDistribution,
    Uniform,
    constraints,
)
from numpyro.distributions.transforms import ExpTransform, OrderedTransform
from numpyro.distributions.util import validate_sample

from bayescg.distributions.boltzmann import spin
from bayescg.samplers.tethers import Tether, TetherMixture
from bayescg.space import minimum_image

__all__ = [
    "PeriodicMixture",
    "PeriodicNormal",
    "SpinFlip",
    "half_to_one",
    "increasing_variances",
]

STEP = 0.5  # prior sd of the log log ratio of variances that follow each other


def half_to_one(name: str) -> Array:
    r"""A probability in [1/2, 1], uniform a priori.

    Its unconstrained coordinate is the paper's :math:`\theta_{cf}` of Eq. 52,
    :math:`p_0 = \tfrac12(1 + 1/(1 + e^{-\theta_{cf}}))`.

    :param name: of the sample site.
    """
    return numpyro.sample(name, Uniform(0.5, 1.0))


class SpinFlip(Distribution):
    r"""Each child spin equals its parent with probability ``p0`` (PCG paper, Eq. 51),

    .. math:: \log p_{cf}(x \mid X) = \psi \log p_0 + (n_f - \psi)\log(1 - p_0), \qquad
              \psi = \sum_{I,s} \tfrac12 (1 + x_{s,I} X_I).

    :param X: parent spins, shape ``(*batch, n_c)``.
    :param p0: probability of agreement, a scalar, or one of each configuration, ``batch``.
    :param ratio: children per parent.

    >>> x = jnp.array([1.0, 1.0, 1.0, -1.0])
    >>> flips = SpinFlip(jnp.array([1.0, -1.0]), 0.9, ratio=2)
    >>> round(float(jnp.exp(flips.log_prob(x))), 4)  # three of four agree: 0.9^3 0.1
    0.0729
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
    r"""Each site lies around its latent one by a normal (PCG paper, Eq. 61),

    .. math:: p_{cf}(\hat x \mid X) = \prod_j N(\hat x_j \mid X_j, \Sigma),

    with :math:`\Sigma = \sigma^2 I`, or a variance of its own along each axis of the box. The separation is taken to
    the nearest image. The other images are left out of the density: at a twentieth of the box for sigma they would
    add less than 1e-20 of it.

    :param X: latent sites, ``(*batch, site, axis)``, angstrom.
    :param sigma2: variance of each coordinate, angstrom^2, a scalar, or one of each axis, ``(axis,)``.
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
        if jnp.shape(sigma2) not in ((), X.shape[-1:]):
            raise ValueError(
                f"sigma2 has shape {jnp.shape(sigma2)}; allowed is a scalar, or one of each axis, {X.shape[-1:]}."
            )
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
        sigma2 = jnp.broadcast_to(self.sigma2, d.shape[:1])
        square = jnp.tensordot(1.0 / sigma2, jnp.sum(d * d, 1), 1).T
        return -0.5 * (square + self.event_shape[0] * jnp.sum(jnp.log(2.0 * jnp.pi * sigma2)))

    def pull(self, x: Array) -> Tether:
        """What data ``x (frame, site, axis)`` exert on the latents; the leading axis of all is ``frame``."""
        stiffness = jnp.atleast_1d(1.0 / jnp.asarray(self.sigma2))  # of each axis, or of all
        return Tether(x, jnp.broadcast_to(stiffness, (len(x), 1, len(stiffness))))


class PeriodicMixture(Distribution):
    r"""Each site lies around its latent one by a mixture of normals of one centre,

    .. math:: p_{cf}(\hat x \mid X) = \prod_j \sum_k w_k\, N(\hat x_j \mid X_j, \sigma_k^2 I),

    one of the richer maps that the PCG paper names after its Eq. 62. To the nearest image, as :class:`PeriodicNormal`.

    :param X: latent sites, ``(*batch, site, axis)``, angstrom.
    :param weights: of the components, ``(component,)``, adding up to 1.
    :param sigma2: their variances of each coordinate, ``(component,)``, angstrom^2.
    :param box: edges, angstrom.
    """

    arg_constraints = {
        "X": constraints.independent(constraints.real, 2),
        "weights": constraints.simplex,
        "sigma2": constraints.independent(constraints.positive, 1),
    }
    support = constraints.independent(constraints.real, 2)
    pytree_aux_fields = ("box",)

    def __init__(
        self,
        X: Array,
        weights: Array,
        sigma2: Array,
        *,
        box: tuple[float, ...],
        validate_args: bool | None = None,
    ) -> None:
        if jnp.ndim(weights) != 1 or jnp.shape(weights) != jnp.shape(sigma2):
            raise ValueError(
                f"weights have shape {jnp.shape(weights)} and sigma2 {jnp.shape(sigma2)}; allowed is one of each "
                "component."
            )
        self.X = X
        self.weights = weights
        self.sigma2 = sigma2
        self.box = box
        super().__init__(X.shape[:-2], X.shape[-2:], validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Sites, shape ``sample_shape + batch_shape + (site, axis)``; not wrapped."""
        shape = sample_shape + self.batch_shape + self.event_shape
        pick, key = jax.random.split(key)
        component = jax.random.categorical(pick, jnp.log(self.weights), shape=shape[:-1])
        width = jnp.sqrt(self.sigma2)[component]
        return self.X + width[..., None] * jax.random.normal(key, shape)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log density of sites ``value (*batch, site, axis)``."""
        square = jnp.sum(minimum_image((value - self.X).T, self.box) ** 2, 0)  # (site, *batch)
        of_all = (-1, *(1,) * square.ndim)
        ends = jnp.log(self.weights) - 1.5 * jnp.log(2.0 * jnp.pi * self.sigma2)
        parts = ends.reshape(of_all) - 0.5 * square / self.sigma2.reshape(of_all)
        return jnp.sum(jax.nn.logsumexp(parts, axis=0), 0).T

    def pull(self, x: Array) -> TetherMixture:
        """What data ``x (frame, site, axis)`` exert on the latents; the leading axis of all is ``frame``."""
        of_frames = (len(x), len(self.weights))
        return TetherMixture(
            x,
            jnp.broadcast_to(1.0 / self.sigma2, of_frames),
            jnp.broadcast_to(jnp.log(self.weights), of_frames),
        )


class _Increasing(TransformedDistribution):
    """Ends in an exponential of an ordered vector; of a domain that says so its Jacobian would not be summed."""

    support = constraints.positive_ordered_vector


def increasing_variances(
    name: str, components: int, *, median: float, spread: float, ratio: float
) -> Array:
    r"""Variances ``(component,)`` from the narrowest to the widest, so that components are told apart.

    The logarithm of the first is normal about that of ``median``; those of the ratios between neighbours, above
    1, are log-normal about that of ``ratio``: the prior is proper, and equal variances have no density.

    :param name: of the sample site.
    :param components: how many.
    :param median: of the narrowest variance, angstrom^2.
    :param spread: standard deviation of its logarithm.
    :param ratio: median of a variance over the one before it, above 1.
    """
    rest = components - 1
    centre = jnp.array([jnp.log(median), *[jnp.log(jnp.log(ratio))] * rest])
    scale = jnp.array([spread, *[STEP] * rest])
    prior = _Increasing(Normal(centre, scale).to_event(1), [OrderedTransform(), ExpTransform()])
    return numpyro.sample(name, prior, infer={"mode": "unconstrained"})
