"""Bonded terms of many configurations at once, from tables that are linear between their nodes."""

from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.potentials.bonded import coordinate
from bayescg.potentials.classes import Members
from bayescg.potentials.molecular import Interaction

__all__ = ["BondedTable", "bonded_energy", "bonded_forces", "tabulate_bonded"]

NODES = 4096
LONGEST = (
    12.0  # angstrom, of bonds; beyond, and outside angles, the table goes on with its last slope
)
SPANS = {"bond": (0.0, LONGEST), "angle": (0.0, np.pi), "dihedral": (-np.pi, np.pi)}


class BondedTable(NamedTuple):
    """One bonded potential in units of kT; both arrays may have a trailing chain axis."""

    value: Array  # (node,) or (node, chain)
    slope: Array  # same: from this node to the next
    members: Members


def tabulate_bonded(
    interaction: Interaction, members: Members, beta: Array, dtype: jnp.dtype | type
) -> BondedTable:
    """The table of a bonded interaction, less its smallest value, which no force notices."""
    low, high = SPANS[interaction.kind]
    q = jnp.linspace(low, high, NODES)
    u = beta * interaction.energy(q)
    u = u - jnp.min(u)
    slope = jnp.diff(u) * ((NODES - 1) / (high - low))
    return BondedTable(u.astype(dtype), jnp.concatenate([slope, slope[-1:]]).astype(dtype), members)


def _energy_of(table: BondedTable, x: Array, box: Array) -> Array:
    low, high = SPANS[table.members.kind]
    q = coordinate(table.members.kind, x, table.members.sites, box)
    step = (high - low) / (NODES - 1)
    node = jnp.clip((q - low) / step, 0.0, NODES - 2.0).astype(jnp.int32)
    past = q - (low + node.astype(q.dtype) * jnp.asarray(step, q.dtype))
    at = (node,) if table.value.ndim == 1 else (node, jnp.arange(x.shape[2]))
    return jnp.sum(table.value[at] + table.slope[at] * past, 0)


def bonded_energy(tables: tuple[BondedTable, ...], x: Array, box: Array) -> Array:
    """Energy in kT, ``(chain,)``, of ``x (axis, site, chain)``."""
    total = jnp.zeros(x.shape[2:], x.dtype)
    for table in tables:
        total = total + _energy_of(table, x, box)
    return total


def bonded_forces(tables: tuple[BondedTable, ...], x: Array, box: Array) -> Array:
    """Forces in kT/angstrom, of the shape of ``x``: the slopes of :func:`bonded_energy`."""
    return -jax.grad(lambda y: jnp.sum(bonded_energy(tables, y, box)))(x)
