"""Spin flips through several levels, those in between summed out."""

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import validate_sample

from bayescg.distributions.boltzmann import spin
from bayescg.distributions.coarse_to_fine import SpinFlip

__all__ = ["NestedSpinFlip"]


class NestedSpinFlip(Distribution):
    r"""Flips level by level, :math:`X_L \to \dots \to X_1 \to x` (PCG paper, Eqs. 51 and 71), given the top,

    .. math:: p(x \mid X_L) = \sum_{X_1 \dots X_{L-1}} p(x \mid X_1)\, p(X_1 \mid X_2) \cdots p(X_{L-1} \mid X_L).

    Each spin of a level has one parent, so the sum is a product over the spins of the top, and each factor
    two terms a spin: no level is enumerated.

    :param X: spins of the top, ``(*batch, n_c)``.
    :param p: probability that a child agrees with its parent, from the top down, each a scalar or ``batch``.
    :param ratios: children of a parent, from the top down.
    :raises ValueError: if there are not as many probabilities as ratios.
    """

    arg_constraints = {"X": constraints.independent(constraints.real, 1)}
    support = constraints.independent(spin, 1)
    pytree_data_fields = ("p",)
    pytree_aux_fields = ("ratios",)

    def __init__(
        self,
        X: Array,
        p: tuple[ArrayLike, ...],
        ratios: tuple[int, ...],
        *,
        validate_args: bool | None = None,
    ) -> None:
        if len(p) != len(ratios) or not p:
            raise ValueError(
                f"levels need a probability and a ratio each, got {len(p)} and {len(ratios)}."
            )
        self.X = X
        self.p = tuple(p)
        self.ratios = tuple(ratios)
        sites = X.shape[-1]
        for ratio in ratios:
            sites *= ratio
        super().__init__(X.shape[:-1], (sites,), validate_args=validate_args)

    def then(self, flip: SpinFlip) -> "NestedSpinFlip":
        """With one level more at the bottom."""
        return NestedSpinFlip(self.X, (*self.p, flip.p0), (*self.ratios, flip.ratio))

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Fine spins, ``sample_shape + batch_shape + (n_f,)``."""
        x = jnp.broadcast_to(self.X, (*sample_shape, *self.X.shape))
        keys = jax.random.split(key, len(self.p))
        for k, p, ratio in zip(keys, self.p, self.ratios, strict=True):
            x = SpinFlip(x, p, ratio=ratio).sample(k)
        return x

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log probability of fine spins ``value (*batch, n_f)``."""
        *upper, last = (jnp.expand_dims(jnp.asarray(p), -1) for p in self.p)
        *ratios, ratio = self.ratios
        children = value.reshape(*value.shape[:-1], -1, ratio).sum(-1)
        # Of the spins of a level, the log probability of all that hangs below, were they +1 or -1.
        up, down = (
            xlogy(agree, last) + xlog1py(ratio - agree, -last)
            for agree in (0.5 * (ratio + children), 0.5 * (ratio - children))
        )
        for p, r in zip(reversed(upper), reversed(ratios), strict=True):
            same, other = jnp.log(p), jnp.log1p(-p)
            both = (
                jnp.logaddexp(same + up, other + down),
                jnp.logaddexp(same + down, other + up),
            )
            up, down = (v.reshape(*v.shape[:-1], -1, r).sum(-1) for v in both)
        return jnp.sum(0.5 * (1.0 + self.X) * up + 0.5 * (1.0 - self.X) * down, -1)
