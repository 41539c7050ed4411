"""Consistent reconstruction: the uniform distribution over what a fine-to-coarse map forgets."""

from functools import lru_cache

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import validate_sample

from bayescg.distributions.boltzmann import spin

__all__ = ["MajorityReconstruction"]

MAX_RATIO = 16


@lru_cache(maxsize=8)
def _blocks(ratio: int, ties: str) -> tuple[np.ndarray, np.ndarray]:
    """Every configuration of a block, ``(state, ratio)``, and its log weight given X = +1."""
    codes = np.arange(2**ratio)
    spins = 2 * ((codes[:, None] >> np.arange(ratio - 1, -1, -1)) & 1) - 1
    total = spins.sum(1)
    tied = 1.0 if ties == "up" else 0.5
    weight = np.where(total > 0, 1.0, np.where(total == 0, tied, 0.0))
    with np.errstate(divide="ignore"):
        return spins, np.log(weight / weight.sum())


class MajorityReconstruction(Distribution):
    r"""Fine spins drawn uniformly from those that the majority rule maps to X (Eqs. 7, 56).

    It has no parameters. With ``ties="up"`` a tied block belongs to +1 alone, so that the fine
    magnetisation can never exceed what uniform blocks with a non-negative sum have (1/3 at ratio
    2); with ``ties="random"`` it belongs to either, with half the weight.

    :param X: parent spins, shape ``(*batch, n_c)``.
    :param ratio: children per parent, at most 16.
    :param ties: tie rule of the map.
    """

    arg_constraints = {"X": constraints.independent(constraints.real, 1)}
    support = constraints.independent(spin, 1)
    pytree_aux_fields = ("ratio", "ties")

    def __init__(
        self, X: Array, *, ratio: int, ties: str = "up", validate_args: bool | None = None
    ) -> None:
        if ratio > MAX_RATIO:
            raise ValueError(
                f"the consistent reconstruction needs a ratio of at most {MAX_RATIO}, got {ratio}."
            )
        if ties not in ("up", "random"):
            raise ValueError(f"ties must be 'up' or 'random', got {ties!r}.")
        self.X = X
        self.ratio = ratio
        self.ties = ties
        super().__init__(X.shape[:-1], (X.shape[-1] * ratio,), validate_args=validate_args)

    def _log_weights(self) -> tuple[np.ndarray, Array, Array]:
        """Block configurations, and their log weights given a parent of +1 and of -1."""
        spins, up = _blocks(self.ratio, self.ties)
        if self.ties == "random":
            return spins, jnp.asarray(up), jnp.asarray(up[::-1])
        down = np.where(np.isinf(up), 0.0, -np.inf)  # exactly the blocks that +1 does not claim
        return spins, jnp.asarray(up), jnp.asarray(down - np.log(np.exp(down).sum()))

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Fine spins, shape ``sample_shape + batch_shape + (n_f,)``."""
        spins, up, down = self._log_weights()
        shape = (*sample_shape, *self.X.shape)
        k_up, k_down = jax.random.split(key)
        code = jnp.where(
            jnp.broadcast_to(self.X, shape) > 0,
            jax.random.categorical(k_up, up, shape=shape),
            jax.random.categorical(k_down, down, shape=shape),
        )
        x = jnp.asarray(spins, jnp.result_type(float))[code]
        return x.reshape(*shape[:-1], -1)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log probability of fine spins ``value (*batch, n_f)``."""
        _, up, down = self._log_weights()
        bits = (value.reshape(*value.shape[:-1], -1, self.ratio) > 0).astype(int)
        code = bits @ (2 ** np.arange(self.ratio - 1, -1, -1))
        return jnp.sum(jnp.where(self.X > 0, up[code], down[code]), -1)
