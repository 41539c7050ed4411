"""The majority map of spins."""

import jax
from jax import Array
import jax.numpy as jnp

__all__ = ["majority"]


def majority(x: Array, ratio: int, *, ties: str = "up", key: Array | None = None) -> Array:
    """Majority rule over blocks of ``ratio`` spins (PCG paper, Eq. 56).

    :param x: fine spins, shape ``(*batch, n_f)``.
    :param ties: ``"up"``: a tie gives +1, as printed; ``"random"``: either sign, with equal chance.
    :param key: random key for ``ties="random"``.
    :return: coarse spins, shape ``(*batch, n_f / ratio)``.
    :raises ValueError: if the ratio does not divide the lattice, or a key is missing.

    >>> majority(jnp.array([1.0, 1.0, -1.0, -1.0, 1.0, -1.0]), 2).tolist()
    [1.0, -1.0, 1.0]
    """
    if x.shape[-1] % ratio:
        raise ValueError(f"a lattice of {x.shape[-1]} sites is not divisible by ratio {ratio}.")
    total = x.reshape(*x.shape[:-1], -1, ratio).sum(-1)
    if ties == "up":
        return jnp.where(total >= 0, 1.0, -1.0)
    if ties != "random":
        raise ValueError(f"ties must be 'up' or 'random', got {ties!r}.")
    if key is None:
        raise ValueError("ties='random' needs a key.")
    coin = jnp.where(jax.random.bernoulli(key, 0.5, total.shape), 1.0, -1.0)
    return jnp.where(total == 0, coin, jnp.sign(total))
