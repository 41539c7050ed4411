"""Lists of near sites that a trajectory goes by, and when they must be made anew."""

from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp

from bayescg.potentials.neighbours import capacity_for, neighbours
from bayescg.samplers.forces import Lists, Tables

__all__ = ["Kept", "listed", "relisted"]

SKIN = 0.9  # angstrom, by which lists reach beyond the range
MANY = 4  # pairs are listed where a list is shorter than this part of the sites: its rows cost twice a shift
CROWDING = 3.0  # times the mean number of neighbours of pairs, as in a drop; rows that no site needs cost nothing
NEGLIGIBLE = 0.12  # angstrom below the range, within which the three-body weight is under 1e-6


class Kept(NamedTuple):
    """Lists, and what tells how long they last."""

    lists: Lists
    at: Array | None  # (axis, site, chain), where they were made; None without lists
    over: Array  # (chain,), whether a list of triples ran over, now or before


def listed(tables: Tables, x: Array, box: tuple[float, ...]) -> Kept:
    """Lists for ``x (axis, site, chain)``: of triples, and in large systems of pairs."""
    sites = x.shape[1]
    over = jnp.zeros(x.shape[2], bool)
    classes = tables.classes
    skip = None if classes is None else jnp.asarray(classes.of_shift == len(classes))
    lists = Lists()
    if tables.form is not None:
        reach = tables.form.cutoff - NEGLIGIBLE + SKIN
        capacity = capacity_for(sites, box, reach)
        near, most = neighbours(x, tables.box, reach, capacity, skip)
        lists, over = Lists(triples=near), most > capacity
    if not _short(sites, box, tables):
        reach = tables.range.pairs + SKIN
        near, most = neighbours(
            x, tables.box, reach, capacity_for(sites, box, reach, CROWDING), skip
        )
        lists = lists._replace(pairs=near, rows=jnp.max(most))
    none = lists.triples is None and lists.pairs is None
    return Kept(lists, None if none else x, over)


def _short(sites: int, box: tuple[float, ...], tables: Tables) -> bool:
    """Whether visiting every pair costs less than going by a list."""
    return MANY * capacity_for(sites, box, tables.range.pairs + SKIN) >= sites


def relisted(tables: Tables, x: Array, box: tuple[float, ...], old: Kept) -> Kept:
    """``old``, or new lists where a site has gone half the skin since they were made."""
    if old.at is None:
        return old
    gone = jnp.max(jnp.sum((x - old.at) ** 2, 0))

    def again(_: None) -> Kept:
        new = listed(tables, x, box)
        return new._replace(over=new.over | old.over)

    # Written so that what is not a number makes a new list, too.
    return jax.lax.cond(~(gone < (0.5 * SKIN) ** 2), again, lambda _: old, None)
