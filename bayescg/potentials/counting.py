"""Pairs counted by distance, and any coordinate by value: what sums of functions are made of.

A sum of functions over pairs is their values on nodes times how often each node is met; its cost
does not depend on how many functions there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.compiled import available
from bayescg.devices import by_chain
from bayescg.potentials.classes import PairClasses
from bayescg.potentials.pair import PairTerm
from bayescg.space import Box, minimum_image

__all__ = ["CLOSEST", "Nodes", "count_pairs", "count_values", "fine_nodes", "grown"]

CLOSEST = 1.0  # angstrom; below, statistics keep the value they have here
ORDERS = ("nearest", "linear", "cubic")  # as the kernel numbers them
RESOLUTION = 40.0  # nodes over the length on which a basis is smooth


@dataclass(frozen=True)
class Nodes:
    """Equally spaced nodes, and how a value between them counts.

    :param first: the first node; ``step`` apart; ``count`` of them.
    :param order: ``nearest``: whole, on the nearest (a histogram whose bins are centred on the
        nodes); ``linear``: shared by two, exact for functions that are linear between the nodes;
        ``cubic``: by four, Lagrange's.
    :param ends: a value outside is ``clipped`` to the end, or ``dropped`` (nearest only).
    """

    first: float
    step: float
    count: int
    order: Literal["nearest", "linear", "cubic"] = "cubic"
    ends: Literal["clipped", "dropped"] = "clipped"

    @property
    def values(self) -> np.ndarray:
        """The nodes, ``(count,)``."""
        return self.first + self.step * np.arange(self.count)

    @property
    def edges(self) -> np.ndarray:
        """Of the bins centred on the nodes, ``(count + 1,)``."""
        return self.first + self.step * (np.arange(self.count + 1) - 0.5)

    def weights(self, q: Array) -> tuple[Array, tuple[Array, ...]]:
        """The first node that each value counts on, and its weights there and on the next ones."""
        place = (q - self.first) * (1.0 / self.step)
        if self.order == "nearest":
            at = jnp.floor(place + 0.5)
            inside = (at >= 0) & (at < self.count)
            one = jnp.where(inside, 1.0, 0.0) if self.ends == "dropped" else jnp.ones_like(place)
            return jnp.clip(at, 0, self.count - 1).astype(jnp.int32), (one,)
        if self.order == "linear":
            left = jnp.clip(jnp.floor(place), 0.0, self.count - 2.0)
            t = jnp.clip(place - left, 0.0, 1.0)
            return left.astype(jnp.int32), (1.0 - t, t)
        place = jnp.clip(place, 0.0, self.count - 3.0)
        left = jnp.clip(jnp.floor(place), 1.0, self.count - 3.0)
        t = place - left
        lagrange = (
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        )
        return left.astype(jnp.int32) - 1, lagrange


def grown(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """r f'(r): what a function of a length gains as all lengths grow."""
    return lambda r: jax.jvp(function, (r,), (r,))[1]


def fine_nodes(terms: Sequence[PairTerm], cutoff: float) -> Nodes:
    """Nodes on which the functions of pair terms are summed to 2e-5 of the fastest, or better."""
    step = min(0.02, min(t.basis.scale for t in terms) / RESOLUTION)
    # Three nodes beyond the cut-off: cubic weights reach over it.
    return Nodes(CLOSEST, step, len(np.arange(CLOSEST, cutoff + 4 * step, step)))


def count_pairs(x: Array, box: Box, nodes: Nodes, classes: PairClasses | None = None) -> Array:
    """How often each node is met by the distance of a pair, ``(class, node, batch)``.

    :param x: ``(axis, site, batch)``.
    :param classes: of pairs; None: all pairs are of one.
    """
    if x.dtype == jnp.float64 and available():
        return _counted(x, jnp.asarray(box, x.dtype), nodes, classes)
    return _count_pairs(x, box, nodes, classes)


def _count_pairs(x: Array, box: Box, nodes: Nodes, classes: PairClasses | None) -> Array:
    """:func:`count_pairs` by JAX, which can take its derivatives."""
    sites, batch = x.shape[1], x.shape[2]
    twice = jnp.concatenate([x, x], 1)
    chain = jnp.arange(batch)[None]
    kinds = 1 if classes is None else len(classes)
    offset = None
    if classes is not None and not classes.alike:
        offset = jnp.asarray(classes.of_shift[: sites // 2 + 1] * nodes.count, jnp.int32)

    def shift(s: Array, counts: Array) -> Array:
        d = minimum_image(jax.lax.dynamic_slice_in_dim(twice, s, sites, 1) - x, box)
        at, weights = nodes.weights(jnp.sqrt(jnp.sum(d * d, 0)))
        if offset is not None:
            at = at + offset[s][:, None]
        once = jnp.where(2 * s == sites, 0.5, 1.0).astype(x.dtype)
        for k, w in enumerate(weights):
            counts = counts.at[at + k, chain].add(once * w, mode="promise_in_bounds")
        return counts

    # One class more than there are: what feels nothing is counted there.
    spare = 0 if offset is None else 1
    blank = jnp.zeros(((kinds + spare) * nodes.count, batch), x.dtype)
    counts = jax.lax.fori_loop(1, sites // 2 + 1, shift, blank)
    return counts.reshape(kinds + spare, nodes.count, batch)[:kinds]


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _counted(x: Array, box: Array, nodes: Nodes, classes: PairClasses | None) -> Array:
    """:func:`count_pairs` by compiled code."""
    alike = classes is None or classes.alike
    kinds = 1 if classes is None else len(classes)
    of_pair = np.zeros(0) if alike or classes is None else classes.of_pair

    def call(_: Array, x: Array, box: Array, of_pair: Array) -> Array:
        shape = jax.ShapeDtypeStruct((kinds * nodes.count, x.shape[2]), x.dtype)
        run = jax.ffi.ffi_call("bayescg_counts", shape, vmap_method="sequential")
        counts: Array = run(
            x,
            box,
            of_pair,
            classes=np.int64(kinds),
            nodes=np.int64(nodes.count),
            first=np.float64(nodes.first),
            step=np.float64(nodes.step),
            order=np.int64(ORDERS.index(nodes.order)),
            dropped=nodes.ends == "dropped",
        )
        return counts

    given = (x, box, jnp.asarray(of_pair, jnp.int32))
    counts = by_chain(call, given, (True, False, False), x.shape[2])
    return counts.reshape(kinds, nodes.count, x.shape[2])


@_counted.defjvp
def _counted_jvp(
    nodes: Nodes, classes: PairClasses | None, at: tuple[Array, ...], along: tuple[Array, ...]
) -> tuple[Array, Array]:
    def count(x: Array, box: Array) -> Array:
        return _count_pairs(x, box, nodes, classes)

    return jax.jvp(count, at, along)


def count_values(q: Array, nodes: Nodes) -> Array:
    """How often each node is met by values ``(term, batch)``: ``(node, batch)``."""
    at, weights = nodes.weights(q)
    chain = jnp.arange(q.shape[1])[None]
    counts = jnp.zeros((nodes.count, q.shape[1]), q.dtype)
    for k, w in enumerate(weights):
        counts = counts.at[at + k, chain].add(w, mode="promise_in_bounds")
    return counts
