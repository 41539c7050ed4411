"""Lists of near neighbours, of many configurations at once."""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.space import Box, minimum_image

__all__ = ["capacity_for", "neighbours", "separations"]


def capacity_for(sites: int, box: tuple[float, ...], reach: float, crowding: float = 1.5) -> int:
    """Neighbours that a list must hold: ``crowding`` times as many as at the mean density, and four."""
    mean = sites / float(np.prod(box)) * 4.0 / 3.0 * np.pi * reach**3
    return min(sites - 1, int(np.ceil(crowding * mean)) + 4)


def neighbours(
    x: Array, box: Box, reach: float, capacity: int, skip: Array | None = None
) -> tuple[Array, Array]:
    """Places of the sites within ``reach`` of each site.

    :param x: ``(axis, site, chain)``.
    :param skip: which sites do not count the one so many places on, ``(shift, site)``.
    :return: ``(capacity, site, chain)`` places in the flattened ``(site, chain)`` array, a site's own
        place where there are fewer neighbours; and the most neighbours that any site of a chain has,
        ``(chain,)``, which must not exceed the capacity.
    """
    sites, chains = x.shape[1:]
    twice = jnp.concatenate([x, x], 1)
    chain = jnp.arange(chains, dtype=jnp.int32)
    site = jnp.arange(sites, dtype=jnp.int32)[:, None]
    own = site * chains + chain

    def shift(s: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        places, count = carry
        d = minimum_image(jax.lax.dynamic_slice_in_dim(twice, s, sites, 1) - x, box)
        close = jnp.sum(d * d, 0) < reach * reach
        if skip is not None:
            close = close & ~skip[s][:, None]
        other = ((site + s.astype(jnp.int32)) % sites) * chains + chain
        row = jnp.where(close, count, capacity)
        places = places.at[row, site, chain].set(other, mode="drop")
        return places, count + close.astype(jnp.int32)

    start = jnp.broadcast_to(own, (capacity, sites, chains))
    places, count = jax.lax.fori_loop(1, sites, shift, (start, jnp.zeros_like(own)))
    return places, jnp.max(count, 0)


def separations(x: Array, box: Array, row: Array, beyond: float) -> tuple[Array, Array, Array]:
    """From every site to the one that a row of a list names, three of ``(site, chain)``, angstrom.

    :param row: places ``(site, chain)``, a row of what :func:`neighbours` gives.
    :param beyond: where an empty place, one that is the site's own, is put.
    """
    sites, chains = x.shape[1:]
    own = (jnp.arange(sites, dtype=row.dtype)[:, None] * chains) + jnp.arange(
        chains, dtype=row.dtype
    )
    d = []
    for k in range(3):
        gap = x[k].ravel().at[row].get(mode="promise_in_bounds") - x[k]
        d.append(gap - box[k] * jnp.round(gap * (1.0 / box[k])))
    return jnp.where(row == own, beyond, d[0]), d[1], d[2]
