"""Periodic orthorhombic boxes.

Configurations have the layout ``(axis, site, *batch)``: the chain axis is last, so that vector
units run over chains, and files' ``(frame, site, axis)`` is the plain transpose.
"""

from collections.abc import Sequence
from typing import TypeAlias

from jax import Array
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

__all__ = ["Box", "check_cutoff", "minimum_image", "pair_distances", "wrap"]

Box: TypeAlias = ArrayLike | Sequence[float]  # edges, angstrom


def _edges(box: Box, like: Array) -> Array:
    """Edges ``(axis,)`` shaped to go with ``(axis, ...)``."""
    edges = jnp.asarray(box, like.dtype)
    return edges.reshape(edges.shape[0], *(1,) * (like.ndim - 1)) if edges.ndim == 1 else edges


def minimum_image(d: Array, box: Box) -> Array:
    """Separations ``(axis, ...)`` to the nearest periodic images.

    :param box: edges ``(axis,)``, angstrom.

    >>> import jax.numpy as jnp
    >>> minimum_image(jnp.array([9.0, -6.0, 2.0]), (10.0, 10.0, 10.0)).tolist()
    [-1.0, 4.0, 2.0]
    """
    edges = _edges(box, d)
    return d - edges * jnp.round(
        d * (1.0 / edges)
    )  # a division a pair would cost more than all else


def wrap(x: Array, box: Box) -> Array:
    """Positions ``(axis, ...)`` carried into ``[0, box)``.

    >>> import jax.numpy as jnp
    >>> wrap(jnp.array([11.0, -1.0, 5.0]), (10.0, 10.0, 10.0)).tolist()
    [1.0, 9.0, 5.0]
    """
    edges = _edges(box, x)
    inside = jnp.mod(x, edges)
    # A hair below zero rounds to the edge itself.
    return jnp.where(inside == edges, 0.0, inside)


def pair_distances(x: Array, box: Box) -> Array:
    """Distance of each pair, ``(pair, *batch)``, of configurations ``(axis, site, *batch)``.

    Pairs run over the upper triangle, row by row.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 9.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])  # three sites
    >>> pair_distances(x, (10.0, 10.0, 10.0)).round(3).tolist()
    [1.0, 2.0, 2.236]
    """
    i, j = np.triu_indices(x.shape[1], 1)
    d = minimum_image(x[:, i] - x[:, j], box)
    return jnp.sqrt(jnp.sum(d * d, 0))


def check_cutoff(cutoff: float, box: Box) -> None:
    """Refuse a cut-off that minimum image cannot serve.

    :raises ValueError: if a box edge is smaller than twice the cut-off.
    """
    smallest = float(np.min(np.asarray(box)))
    if smallest < 2.0 * cutoff:
        raise ValueError(
            f"the box edge {smallest:g} angstrom is smaller than twice the cut-off {cutoff:g}; "
            f"allowed are cut-offs up to {0.5 * smallest:g}."
        )
