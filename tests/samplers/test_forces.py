"""Tabulated forces and energies, against the exact potential and against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import (
    FixedPair,
    InversePowers,
    LennardJones,
    ParticlePotential,
    StillingerWeber,
    Wall,
)
from bayescg.potentials.neighbours import capacity_for, neighbours
from bayescg.samplers import lists
from bayescg.samplers.forces import (
    FIRST,
    NODES,
    Lists,
    Tables,
    closest_distance,
    energy,
    forces,
    tabulate,
)
from bayescg.samplers.lists import NEGLIGIBLE
from bayescg.samplers.tethers import Tether
from tests.liquids import BETA, BOX, SITES, liquid, water

CHAINS = 3
CAPACITY = 60
PAPER = water(40)
THREE_BODY = ParticlePotential((LennardJones(0.0, 3.0),), BOX, StillingerWeber(15.2))

all_forces = jax.jit(forces)
all_energies = jax.jit(energy)
near_ones = jax.jit(neighbours, static_argnums=3)
tabulated = jax.jit(partial(tabulate, beta=jnp.asarray(BETA), dtype=jnp.float64))


@jax.jit
def exact(p: ParticlePotential, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Energy in kT ``(chain,)`` and forces in kT/angstrom ``(chain, axis, site)``."""

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        u, slope = jax.value_and_grad(lambda x: BETA * p(x))(x.T)
        return u, -slope.T

    return jax.lax.map(one, x.transpose(2, 0, 1))


def listed(p: ParticlePotential, x: np.ndarray, reach: float | None = None) -> Lists:
    reach = p.three_body.cutoff if reach is None else reach
    return Lists(near_ones(x, np.array(BOX, x.dtype), reach, CAPACITY)[0])


def curvature(p: ParticlePotential) -> np.ndarray:
    """Largest second derivative of u/kT in s on each piece of the table, ``(node,)``."""
    s = jnp.linspace(FIRST**2, p.cutoff**2, 4 * (NODES - 1) + 1)
    slope = jax.grad(jax.grad(lambda s: BETA * p.pair_energy(jnp.sqrt(s))))
    second = jax.jit(jax.vmap(slope))(s[:-1])
    size = np.abs(np.asarray(second)).reshape(-1, 4)
    size = np.concatenate([size, np.append(size[1:, :1], [[0.0]], 0)], 1).max(1)
    return np.append(1.05 * size, 0.0)


@pytest.mark.slow
def test_as_near_to_the_exact_potential_as_the_table_is_fine() -> None:
    """A piece of length h in s = r^2 is off by h^2/8 u'' in energy, by h u'' in its slope.

    That is one part in a hundred of the force and 0.05 of 1000 kT here.
    """
    x = liquid(SITES, CHAINS)
    tables, near = tabulated(PAPER), listed(PAPER, x)
    energies, pulls = exact(PAPER, x)
    h = float(tables.step)
    second = curvature(PAPER)
    edges = np.array(BOX)[:, None, None, None]
    d = x[:, :, None] - x[:, None]
    r = np.linalg.norm(d - edges * np.round(d / edges), axis=0)
    piece = np.clip((r**2 - FIRST**2) / h, 0, NODES - 1).astype(int)
    apart = ~np.eye(SITES, dtype=bool)[:, :, None]
    bound_u = 0.5 * np.sum(apart * second[piece], (0, 1)) * h**2 / 8
    bound_f = np.sum(apart * second[piece] * 2 * r, 1) * h
    u = np.asarray(all_energies(tables, x, near))
    f = np.asarray(all_forces(tables, x, near))
    force_error = np.linalg.norm(f - np.moveaxis(pulls, 0, -1), axis=0)
    size = np.sqrt(np.mean(np.asarray(pulls) ** 2))
    assert np.all(np.abs(u - energies) <= bound_u + 1e-9 * np.abs(energies))
    assert np.all(force_error <= bound_f + 1e-9 * size)
    assert np.sqrt(np.mean(force_error**2)) < 0.03 * size
    assert np.all(np.abs(u - energies) < 0.1)


def test_the_three_body_term_has_no_table() -> None:
    """And is exact, its lists complete."""
    p = THREE_BODY
    x = liquid(SITES, CHAINS)
    energies, pulls = exact(p, x)
    tables, near = tabulated(p), listed(p, x)
    np.testing.assert_allclose(all_energies(tables, x, near), energies, rtol=1e-11)
    size = np.abs(np.asarray(pulls)).max()
    gap = all_forces(tables, x, near) - np.moveaxis(pulls, 0, -1)
    np.testing.assert_allclose(gap, 0.0, atol=1e-10 * size)


def test_forces_are_slopes_of_the_tabulated_energy() -> None:
    """Of the same tables, lists and tether, to the accuracy of central differences."""
    x = liquid(SITES, CHAINS)
    rng = np.random.default_rng(0)
    tether = Tether(x + 0.3 * rng.normal(size=x.shape), rng.uniform(1.0, 20.0, CHAINS))
    tables, near = tabulated(PAPER), listed(PAPER, x)
    f = np.asarray(all_forces(tables, x, near, tether))
    scale = np.sqrt(np.sum(f**2, (0, 1)))
    for _ in range(10):
        way = rng.normal(size=x.shape)
        way /= np.sqrt(np.sum(way**2, (0, 1)))
        step = 1e-6
        ends = [all_energies(tables, x + s * step * way, near, tether) for s in (1, -1)]
        change = np.asarray(ends[0] - ends[1]) / (2 * step)
        # A pair that crosses a node on the way bends the line: then the slope is between two.
        np.testing.assert_allclose(np.sum(-f * way, (0, 1)) / scale, change / scale, atol=3e-6)
    bare = np.asarray(all_forces(tables, x, near))
    np.testing.assert_allclose(bare.sum(1), 0.0, atol=1e-9 * scale.max())


def test_single_precision() -> None:
    """Rounding moves a few pairs to the piece beside: 3e-4 of the force, not 1e-7; energies to 1e-5."""
    x = liquid(SITES, CHAINS).astype(np.float32)
    near = listed(PAPER, x)
    single = tabulate(PAPER, jnp.asarray(BETA), jnp.float32)
    f, u = all_forces(single, x, near), all_energies(single, x, near)
    assert f.dtype == u.dtype == jnp.float32
    x = x.astype(float)
    fine_f, fine_u = (act(tabulated(PAPER), x, near) for act in (all_forces, all_energies))
    size = np.sqrt(np.mean(np.asarray(fine_f) ** 2))
    assert np.sqrt(np.mean(np.asarray(f - fine_f) ** 2)) < 5e-4 * size
    np.testing.assert_allclose(u, fine_u, rtol=1e-5)


def test_tables_of_each_chain() -> None:
    """A trailing chain axis on what differs gives what separate calls give."""
    x = liquid(SITES, CHAINS)
    scales = np.array([0.8, 1.0, 1.3])
    near = listed(PAPER, x)

    def make(s: jax.Array) -> Tables:
        return tabulated(jax.tree.map(lambda a: s * a, PAPER))

    axes = Tables(-1, -1, None, None, -1, None, None)
    together = jax.vmap(make, out_axes=axes)(jnp.asarray(scales))
    assert together.value.shape == together.slope.shape == (NODES, CHAINS)
    assert together.three_body is not None and together.three_body.shape == (CHAINS,)
    f, u = all_forces(together, x, near), all_energies(together, x, near)
    for k in range(CHAINS):
        alone = make(scales[k])
        np.testing.assert_allclose(
            f[..., k], all_forces(alone, x, near)[..., k], rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(u[k], all_energies(alone, x, near)[k], rtol=1e-11)


def test_chains_do_not_see_each_other() -> None:
    x = liquid(SITES, CHAINS)
    other = x.copy()
    other[..., 1] = liquid(SITES, 1, seed=5)[..., 0]
    tables = tabulated(PAPER)
    f, g = (np.asarray(all_forces(tables, y, listed(PAPER, y))) for y in (x, other))
    np.testing.assert_array_equal(np.delete(f, 1, 2), np.delete(g, 1, 2))
    assert np.any(f[..., 1] != g[..., 1])


@pytest.mark.parametrize("sites", [2, 3])
def test_even_and_odd_numbers_of_sites(sites: int) -> None:
    """The last shift of an even number meets every pair twice."""
    p = ParticlePotential((LennardJones(0.15, 3.2),), (9.0, 8.0, 7.0))
    x = liquid(sites, CHAINS, box=p.box)
    u, f = exact(p, x)
    np.testing.assert_allclose(all_energies(tabulated(p), x), u, atol=2e-3)
    gap = all_forces(tabulated(p), x) - np.moveaxis(f, 0, -1)
    np.testing.assert_allclose(gap, 0.0, atol=0.02 * np.abs(np.asarray(f)).max())


def test_tether() -> None:
    """Not periodic: a chain that wanders round the box is pulled all the way back."""
    x = liquid(SITES, CHAINS)
    centre = np.random.default_rng(0).normal(scale=20.0, size=x.shape)
    k = np.array([0.5, 2.0, 7.0])
    tables, near = tabulated(PAPER), listed(PAPER, x)
    f, u = (
        act(tables, x, near, Tether(centre, k)) - act(tables, x, near)
        for act in (all_forces, all_energies)
    )
    np.testing.assert_allclose(f, k * (centre - x), atol=1e-9)
    np.testing.assert_allclose(u, 0.5 * k * np.sum((x - centre) ** 2, (0, 1)), rtol=1e-11)


def test_ends_of_the_table() -> None:
    """Nothing beyond the cut-off, on it, and for a potential that jumps there; a line below."""
    cut = LennardJones(0.15, 3.2, InversePowers(cutoff=5.0, ending="cut"))
    tables = tabulated(ParticlePotential((cut, FixedPair(Wall(2.4), 500.0)), BOX))
    x = np.zeros((3, 2, 6))
    x[0, 1] = [5.0, 5.0 + 1e-6, 7.2, 0.5, 0.7, 5.0 - 1e-9]
    u, f = all_energies(tables, x), all_forces(tables, x)
    np.testing.assert_allclose(u[:3], 0.0, atol=1e-15)
    np.testing.assert_array_equal(f[..., :3], 0.0)
    slope = float(tables.slope[0])
    np.testing.assert_allclose(u[4] - u[3], slope * (0.7**2 - 0.5**2), rtol=1e-9)
    np.testing.assert_allclose(f[0, 1, 3:5], -2 * slope * x[0, 1, 3:5], rtol=1e-12)
    assert float(u[3]) > 1e5
    assert abs(float(u[5])) < 1e-6  # lowered to end at zero, which no force notices


# Lists


def neighbours_of(x: np.ndarray, reach: float) -> list[set[int]]:
    """Of each site of ``x (axis, site)``, in NumPy."""
    edges = np.array(BOX)[:, None, None]
    d = x[:, :, None] - x[:, None]
    r = np.linalg.norm(d - edges * np.round(d / edges), axis=0)
    np.fill_diagonal(r, np.inf)
    return [set(np.flatnonzero(row < reach)) for row in r]


@pytest.mark.parametrize("reach", [1.0, 3.76, 6.0])
def test_lists_are_complete(reach: float) -> None:
    x = liquid(SITES, CHAINS)
    places, most = near_ones(x, np.array(BOX), reach, CAPACITY)
    places = np.asarray(places)
    site, chain = places // CHAINS, places % CHAINS
    np.testing.assert_array_equal(chain, np.broadcast_to(np.arange(CHAINS), chain.shape))
    for k in range(CHAINS):
        expected = neighbours_of(x[..., k], reach)
        assert int(most[k]) == max(map(len, expected))
        for i, near in enumerate(expected):
            found = [j for j in site[:, i, k] if j != i]
            assert len(found) == len(near) and set(found) == near


def test_a_list_that_runs_over_says_so() -> None:
    """It counts all, keeps as many as it can hold, and writes beside nothing."""
    x = liquid(SITES, CHAINS)
    full, most = near_ones(x, np.array(BOX), 6.0, CAPACITY)
    short, same = near_ones(x, np.array(BOX), 6.0, 10)
    assert np.all(np.asarray(most) > 20)
    np.testing.assert_array_equal(most, same)
    np.testing.assert_array_equal(short, np.asarray(full)[:10])


def test_capacity_is_above_the_mean_and_below_all() -> None:
    """Half as many again as uniform sites have, and four; never more than there are others."""
    assert capacity_for(100, BOX, 3.76) == int(np.ceil(1.5 * 100 / 14.5459665**3 * 222.66)) + 4
    assert capacity_for(10, BOX, 7.0) == 9
    _, most = near_ones(liquid(SITES, CHAINS), np.array(BOX), 4.54, CAPACITY)
    assert np.all(np.asarray(most) <= capacity_for(SITES, BOX, 4.54))


def test_reach_of_a_list() -> None:
    """Sites beyond the range weigh nothing, nor do empty places.

    The sampler leaves out the last 0.12 angstrom, where the weight is under 1e-6.
    """
    p = THREE_BODY
    end = p.three_body.cutoff
    assert float(p.three_body.weight(jnp.asarray(end - NEGLIGIBLE))) < 1e-6
    x = liquid(SITES, CHAINS)
    tables = tabulated(p)
    f, g, short = (
        np.asarray(all_forces(tables, x, listed(p, x, reach)))
        for reach in (end, 5.0, end - NEGLIGIBLE)
    )
    size = np.abs(f).max()
    np.testing.assert_allclose(f, g, atol=1e-10 * size)
    np.testing.assert_allclose(f, short, atol=1e-4 * size)
    u, w = (all_energies(tables, x, listed(p, x, reach)) for reach in (end, 5.0))
    np.testing.assert_allclose(u, w, rtol=1e-12)


def test_pairs_by_list_are_pairs_one_by_one() -> None:
    """Beyond the range a list changes nothing."""
    x = liquid(SITES, CHAINS)
    tables, near = tabulated(PAPER), listed(PAPER, x)
    far = near_ones(x, np.array(BOX), PAPER.cutoff + 0.2, SITES - 1)[0]
    both = near._replace(pairs=far)
    f = np.asarray(all_forces(tables, x, near))
    np.testing.assert_allclose(all_forces(tables, x, both), f, atol=1e-10 * np.abs(f).max())
    np.testing.assert_allclose(
        all_energies(tables, x, both), all_energies(tables, x, near), rtol=1e-11
    )


def test_large_systems_list_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are kept until a site has gone half their skin, and say when they ran over."""
    x = jnp.asarray(liquid(SITES, CHAINS))
    tables = tabulated(PAPER)
    assert lists.listed(tables, x, BOX).lists.pairs is None
    monkeypatch.setattr(lists, "MANY", 0)
    monkeypatch.setattr(lists, "SKIN", 0.2)
    old = lists.listed(tables, x, BOX)
    assert old.lists.pairs is not None and not np.any(old.over)
    for step, same in ((0.09, True), (0.11, False)):
        moved = x.at[1, 7, 2].add(step)
        new = lists.relisted(tables, moved, BOX, old)
        assert np.array_equal(new.at, old.at) == same
        f = np.asarray(all_forces(tables, moved, listed(PAPER, moved)))
        g = np.asarray(all_forces(tables, moved, new.lists))
        np.testing.assert_allclose(f, g, atol=1e-4 * np.abs(f).max())
    crowded = x.at[:, :, 1].set(0.4 * (x[:, :, 1] % jnp.asarray(BOX)[:, None]))
    np.testing.assert_array_equal(lists.listed(tables, crowded, BOX).over, [False, True, False])


def test_closest_distance() -> None:
    x = liquid(SITES, CHAINS)
    found = np.asarray(jax.jit(closest_distance)(jnp.asarray(x), np.array(BOX)))
    edges = np.array(BOX)[:, None, None]
    for k in range(CHAINS):
        d = x[:, :, None, k] - x[:, None, :, k]
        r = np.linalg.norm(d - edges * np.round(d / edges), axis=0)
        np.testing.assert_allclose(found[k], r[~np.eye(SITES, dtype=bool)].min(), rtol=1e-12)
