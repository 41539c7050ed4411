r"""Forces on many configurations at once, from tables.

A pair potential becomes a table over :math:`s = r^2`, linear between its nodes, so that the force of a
pair is one look-up, :math:`-\mathrm{d}u/\mathrm{d}s`, and exactly the slope of the tabulated energy. Pairs
are visited by cyclic shifts of the whole batch, each once; with the chain axis last the vector units
run over chains. In large systems most pairs are out of range, and lists name the others. Everything is in units
of kT and angstrom.

The energy that is sampled is that of the table: for 100 sites of liquid water it varies about that of the
potential by 5e-4 kT, from one configuration to another. (The compiled kernels draw a smooth curve through it where
that lies within 2e-4 of the table, and of 1 kT; its forces are nearer to the potential's than the table's steps.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_static
import numpy as np

from bayescg.potentials.classes import PairClasses
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.neighbours import separations
from bayescg.potentials.particles import ParticlePotential
from bayescg.potentials.three_body import (
    StillingerWeber,
    Sums,
    three_body_energy,
    three_body_forces,
    three_body_parts,
)
from bayescg.samplers.bonded import (
    BondedTable,
    bonded_energy,
    bonded_forces,
    tabulate_bonded,
)
from bayescg.samplers.tethers import Held, Tether
from bayescg.space import minimum_image

__all__ = [
    "Lists",
    "Range",
    "Tables",
    "closest_distance",
    "energy",
    "forces",
    "tabulate",
]

NODES = 4096
FIRST = 1.0  # angstrom; below, the table goes on with the slope it has here


@register_static
@dataclass(frozen=True)
class Range:
    """How far interactions reach; no array, so that the size of a list can depend on it."""

    pairs: float  # angstrom


class Lists(NamedTuple):
    """Neighbours ``(neighbour, site, chain)``, as :func:`neighbours` gives them."""

    triples: Array | None = None  # within the three-body range; needed where there is such a term
    pairs: Array | None = None  # within the range of pairs; None: every pair is visited
    rows: Array | None = None  # most neighbours of any site; None: as many as the list holds


class Tables(NamedTuple):
    """A potential in units of kT; every leaf may have a trailing chain axis.

    Where there are several classes of pairs their nodes follow each other, and those of a class that
    feels nothing, excluded pairs among them, come last.
    """

    value: Array  # (node,) or (node, chain): u at the node
    slope: Array  # same: du/ds from this node to the next
    step: Array  # of s = r^2 between nodes, angstrom^2
    box: Array  # (axis,)
    three_body: Array | None  # lambda epsilon / kT, scalar or (chain,)
    form: StillingerWeber | None  # the three-body term; its strength is not looked at
    range: Range
    classes: PairClasses | None = None  # of pairs, where not all are alike
    bonded: tuple[BondedTable, ...] = ()


def tabulate(
    potential: ParticlePotential | MolecularPotential, beta: Array, dtype: jnp.dtype | type
) -> Tables:
    """Tables of a potential in units of kT.

    A potential that does not end at zero is lowered to end there, which no force notices.
    """
    last = max(potential.cutoff, 2.0 * FIRST)  # where there are no pairs, some range
    s = jnp.linspace(FIRST**2, last**2, NODES)
    r = jnp.sqrt(s) * (1.0 - 1e-12)
    step = (last**2 - FIRST**2) / (NODES - 1)
    three, classes = None, None
    bonded: tuple[BondedTable, ...] = ()
    if isinstance(potential, MolecularPotential):
        each = [i.energy(r) for i in potential.pairs] + [jnp.zeros(NODES)]
        classes = None if potential.classes.alike else potential.classes
        bonded = tuple(
            tabulate_bonded(i, potential.members(i), beta, dtype) for i in potential.bonded
        )
    else:
        each = [potential.pair_energy(r)]
        three = potential.three_body
    values, slopes = [], []
    for u in each:
        u = beta * u
        values.append(u - u[-1])
        slopes += [jnp.diff(u) / step, jnp.zeros(1)]
    return Tables(
        jnp.concatenate(values).astype(dtype),
        jnp.concatenate(slopes).astype(dtype),
        jnp.asarray(step, dtype),
        jnp.asarray(potential.box, dtype),
        None if three is None else (-beta * three.natural()[0]).astype(dtype),
        None if three is None else replace(three, strength=None),
        Range(float(last)),
        classes,
        bonded,
    )


def _at(table: Array, index: Array) -> Array:
    if table.ndim == 1:
        return table.at[index].get(mode="promise_in_bounds")
    return table.at[index, jnp.arange(index.shape[-1])].get(mode="promise_in_bounds")


def _places(tables: Tables, s: Array) -> tuple[Array, Array]:
    """Node below ``s``, and how far past it, in units of ``s``."""
    first = jnp.asarray(FIRST**2, s.dtype)
    place = (s - first) * (1.0 / tables.step)
    node = jnp.clip(place, 0.0, NODES - 1.0).astype(jnp.int32)
    return node, s - first - node.astype(s.dtype) * tables.step


def _slope(tables: Tables, d: Sequence[Array] | Array, of: Array | int = 0) -> Array:
    """du/ds of pairs whose separations are ``d``.

    :param of: the first node of each pair's class.
    """
    node, _ = _places(tables, d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    return _at(tables.slope, node + of)


def _value(tables: Tables, d: Sequence[Array] | Array, of: Array | int = 0) -> Array:
    """u of pairs whose separations are ``d``."""
    node, past = _places(tables, d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    return _at(tables.value, node + of) + _at(tables.slope, node + of) * past


def _by_shift(tables: Tables) -> Callable[[Array], Array | int]:
    """From a cyclic shift to the first node of each pair's class, ``(site, 1)``."""
    if tables.classes is None:
        return lambda shift: 0
    of = jnp.asarray(tables.classes.of_shift * NODES, jnp.int32)
    return lambda shift: of[shift][:, None]


def _by_place(tables: Tables, x: Array) -> Callable[[Array], Array | int]:
    """From a row of a list to the first node of each pair's class, ``(site, chain)``."""
    if tables.classes is None:
        return lambda places: 0
    sites, chains = x.shape[1:]
    of = jnp.asarray(tables.classes.of_pair * NODES, jnp.int32).ravel()
    own = jnp.arange(sites, dtype=jnp.int32)[:, None] * sites
    return lambda places: of[own + places // chains]


def forces(
    tables: Tables,
    x: Array,
    lists: Lists = Lists(),  # noqa: B008 - immutable
    tether: Tether | Held | None = None,
) -> Array:
    """Forces in kT/angstrom, ``(axis, site, chain)``, on ``x`` of the same shape."""
    total = _pairs(_every_force, _listed_force, tables, x, lists)
    if tables.form is not None:
        assert lists.triples is not None and tables.three_body is not None
        parts = three_body_parts(tables.form, x, tables.box, lists.triples)
        total = total + three_body_forces(tables.form, tables.three_body, parts, lists.triples)
    if tables.bonded:
        total = total + bonded_forces(tables.bonded, x, tables.box)
    if isinstance(tether, Held):
        return total * tether.free
    if tether is not None:
        total = total + tether.stiffness * (tether.centre - x)
    return total


def energy(
    tables: Tables,
    x: Array,
    lists: Lists = Lists(),  # noqa: B008 - immutable
    tether: Tether | Held | None = None,
) -> Array:
    """Energy in kT, ``(chain,)``, of the potential whose forces :func:`forces` gives."""
    total = _pairs(_every_energy, _listed_energy, tables, x, lists)
    if tables.form is not None:
        assert lists.triples is not None and tables.three_body is not None
        parts = three_body_parts(tables.form, x, tables.box, lists.triples)
        total = total + tables.three_body * three_body_energy(tables.form, parts)
    if tables.bonded:
        total = total + bonded_energy(tables.bonded, x, tables.box)
    if isinstance(tether, Tether):
        gap = x - tether.centre
        total = total + 0.5 * jnp.sum(tether.stiffness * gap * gap, (0, 1))
    return total


def _pairs(
    every: Callable[[Tables, Array], Array],
    by_list: Callable[[Tables, Array, Array, Array], Array],
    tables: Tables,
    x: Array,
    lists: Lists,
) -> Array:
    """What all pairs sum up to; by the list where there is one that holds all neighbours."""
    if lists.pairs is None:
        return every(tables, x)
    near = lists.pairs
    rows = jnp.asarray(len(near)) if lists.rows is None else lists.rows
    whole = rows <= len(near)
    out: Array = jax.lax.cond(
        whole, lambda: by_list(tables, x, near, rows), lambda: every(tables, x)
    )
    return out


def _every_force(tables: Tables, x: Array) -> Array:
    sites = x.shape[1]
    position = [jnp.concatenate([x[k], x[k]], 0) for k in range(3)]
    of = _by_shift(tables)

    def pair(shift: Array, sums: Sums) -> Sums:
        # Each pair once: the force goes to one site, its reaction to the site ``shift`` places on.
        d = _shifted(tables, position, x, shift)
        once = jnp.where(2 * shift == sites, 0.5, 1.0).astype(x.dtype)
        pull = once * _slope(tables, d, of(shift))
        here, there = [], []
        for force, reaction, c in zip(*sums, d, strict=True):
            part = pull * c
            here.append(force + part)
            there.append(_added(reaction, part, shift))
        return tuple(here), tuple(there)

    none = (jnp.zeros(x.shape[1:], x.dtype),) * 3
    twice = (jnp.zeros((2 * sites, x.shape[2]), x.dtype),) * 3
    here, there = jax.lax.fori_loop(1, sites // 2 + 1, pair, (none, twice))
    return 2.0 * jnp.stack([f - r[:sites] - r[sites:] for f, r in zip(here, there, strict=True)])


def _shifted(tables: Tables, twice: list[Array], x: Array, shift: Array) -> list[Array]:
    """From every site to the one ``shift`` places on; ``twice`` holds each component twice over."""
    d = []
    for k in range(3):
        gap = jax.lax.dynamic_slice_in_dim(twice[k], shift, x.shape[1], 0) - x[k]
        d.append(gap - tables.box[k] * jnp.round(gap * (1.0 / tables.box[k])))
    return d


def _added(total: Array, part: Array, start: Array) -> Array:
    """``total`` with ``part`` added to its rows from ``start``."""
    old = jax.lax.dynamic_slice_in_dim(total, start, len(part), 0)
    return jax.lax.dynamic_update_slice_in_dim(total, old + part, start, 0)


def _listed_force(tables: Tables, x: Array, near: Array, rows: Array) -> Array:
    of = _by_place(tables, x)

    def pair(row: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        places = jax.lax.dynamic_index_in_dim(near, row, 0, keepdims=False)
        d = separations(x, tables.box, places, 2.0 * tables.range.pairs)
        pull = _slope(tables, d, of(places))
        return tuple(force + pull * c for force, c in zip(sums, d, strict=True))

    none: tuple[Array, ...] = (jnp.zeros(x.shape[1:], x.dtype),) * 3
    return 2.0 * jnp.stack(jax.lax.fori_loop(0, rows, pair, none))


def _every_energy(tables: Tables, x: Array) -> Array:
    sites = x.shape[1]
    position = [jnp.concatenate([x[k], x[k]], 0) for k in range(3)]
    of = _by_shift(tables)

    def pair(shift: Array, total: Array) -> Array:
        d = _shifted(tables, position, x, shift)
        once = jnp.where(2 * shift == sites, 0.5, 1.0).astype(x.dtype)
        return total + once * _value(tables, d, of(shift))

    # Summed over sites at the end: a sum inside the loop would keep its body from being one pass.
    total = jax.lax.fori_loop(1, sites // 2 + 1, pair, jnp.zeros(x.shape[1:], x.dtype))
    return jnp.sum(total, 0)


def _listed_energy(tables: Tables, x: Array, near: Array, rows: Array) -> Array:
    of = _by_place(tables, x)

    def pair(row: Array, total: Array) -> Array:
        places = jax.lax.dynamic_index_in_dim(near, row, 0, keepdims=False)
        d = separations(x, tables.box, places, 2.0 * tables.range.pairs)
        return total + 0.5 * jnp.sum(_value(tables, d, of(places)), 0)

    none = jnp.zeros(x.shape[2:], x.dtype)
    out: Array = jax.lax.fori_loop(0, rows, pair, none)
    return out


def closest_distance(x: Array, box: np.ndarray | Array) -> Array:
    """Smallest distance between two sites of each configuration, ``(chain,)``.

    :param x: ``(axis, site, chain)``, angstrom.
    :param box: edges ``(axis,)``, angstrom.
    """
    sites = x.shape[1]
    twice = jnp.concatenate([x, x], 1)

    def pair(shift: Array, least: Array) -> Array:
        d = minimum_image(jax.lax.dynamic_slice_in_dim(twice, shift, sites, 1) - x, box)
        return jnp.minimum(least, jnp.min(jnp.sum(d * d, 0), 0))

    start = jnp.full(x.shape[2:], jnp.inf, x.dtype)
    return jnp.sqrt(jax.lax.fori_loop(1, sites // 2 + 1, pair, start))
