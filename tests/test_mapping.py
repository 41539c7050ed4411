"""The majority map (Eq. 56), linear maps, whole molecules, and momentum consistency."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.mapping import (
    LinearMap,
    Whole,
    implied_mass,
    majority,
    momentum_consistency,
    spanning_tree,
)
from tests import brute_force
from tests.statistical import check_mean

FINE = jnp.asarray(brute_force.spins(6), float)


@pytest.mark.parametrize("ratio", [1, 2, 3, 6])
def test_ties_go_up_as_printed(ratio: int) -> None:
    means = np.asarray(FINE).reshape(64, 6 // ratio, ratio).mean(2)
    np.testing.assert_array_equal(majority(FINE, ratio), np.where(means >= 0, 1, -1))


def test_batches_and_integers() -> None:
    x = np.asarray(FINE, np.int8).reshape(4, 16, 6)
    found = majority(jnp.asarray(x), 2)
    assert found.shape == (4, 16, 3)
    np.testing.assert_array_equal(found.reshape(64, 3), majority(FINE, 2))


def test_random_ties_are_fair_and_nothing_else_is_random() -> None:
    keys = jax.random.split(jax.random.key(0), 4_000)
    x = jnp.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    found = jax.vmap(lambda k: majority(x, 2, ties="random", key=k))(keys)
    assert np.all(np.abs(found) == 1.0)
    check_mean(found, [0.0, 1.0, -1.0])
    check_mean(majority(jnp.tile(x[:2], 4_000), 2, ties="random", key=keys[0]), 0.0)


def test_errors() -> None:
    with pytest.raises(ValueError, match="6 sites is not divisible by ratio 4"):
        majority(FINE, 4)
    with pytest.raises(ValueError, match="'up' or 'random', got 'down'"):
        majority(FINE, 2, ties="down")
    with pytest.raises(ValueError, match="'random' needs a key"):
        majority(FINE, 2, ties="random")


def linear(rows: dict[int, dict[int, float]], atoms: int, force: object = None) -> LinearMap:
    """A map from its coefficients by site and atom."""
    entries = [(i, k, c) for i, row in rows.items() for k, c in row.items()]
    site, atom, weight = (np.array(column) for column in zip(*entries, strict=True))
    return LinearMap(atoms, len(rows), site, atom, weight.astype(float), force)  # type: ignore[arg-type]


MASS = np.array([12.0, 1.0, 1.0, 16.0, 1.0, 14.0])
CENTRE = linear({0: {0: 12 / 14, 1: 1 / 14, 2: 1 / 14}, 1: {3: 16 / 17, 4: 1 / 17}}, 6)
EQUAL = linear({0: {0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, 1: {3: 0.5, 4: 0.5}}, 6)
SHARED = linear({0: {0: 0.5, 1: 0.25, 3: 0.25}, 1: {3: 0.3, 4: 0.5, 5: 0.2}}, 6)


@pytest.mark.parametrize("one", [CENTRE, EQUAL, SHARED], ids=["centre", "equal", "shared"])
def test_linear_maps_against_loops(one: LinearMap) -> None:
    rng = np.random.default_rng(0)
    x, f = rng.normal(size=(2, 6, 3))
    found, forces = one.positions(x), one.forces(f)
    for site in range(one.sites):
        entries = np.flatnonzero(one.site == site)
        wanted = sum(one.weight[e] * x[one.atom[e]] for e in entries)
        np.testing.assert_allclose(found[site], wanted, rtol=1e-13)
        own = [e for e in entries if np.sum(one.atom == one.atom[e]) == 1]
        wanted = sum(f[one.atom[e]] for e in own) / sum(one.weight[e] for e in own)
        np.testing.assert_allclose(forces[site], wanted, rtol=1e-13)


@pytest.mark.parametrize("one", [CENTRE, EQUAL, SHARED], ids=["centre", "equal", "shared"])
def test_mapped_forces_are_mean_forces(one: LinearMap) -> None:
    """Atoms in harmonic wells: the mean of the mapped force at given sites is -dU/dR there.

    All is Gaussian, so both are linear in R: by regression of F on R, and by the marginal of R.
    """
    a = np.random.default_rng(1).normal(size=(6, 6))
    stiffness = a @ a.T + 6.0 * np.eye(6)
    covariance = np.linalg.inv(stiffness)  # kT = 1
    c, d = one.matrix.toarray(), one.force_matrix.toarray()
    marginal = c @ covariance @ c.T
    regression = (-d @ stiffness @ covariance @ c.T) @ np.linalg.inv(marginal)
    np.testing.assert_allclose(regression, -np.linalg.inv(marginal), rtol=1e-10)


def test_force_weights_of_ones_own() -> None:
    d_over_c = np.array([7 / 6, 0.0, 0.0, 17 / 16, 0.0])
    on_one = replace(CENTRE, force=d_over_c)
    f = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(on_one.forces(f), [7 / 6 * f[0], 17 / 16 * f[3]], rtol=1e-13)
    with pytest.raises(ValueError, match=r"site 0: the force weights d add up to 0\.857143"):
        replace(CENTRE, force=np.array([1.0, 0.0, 0.0, 17 / 16, 0.0]))
    with pytest.raises(ValueError, match=r"site 0: the force of atom 3 is used, which other"):
        replace(SHARED, force=np.array([1.0, 1.0, 1.0, 0.0, 1.0, 2.5]))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({0: {0: 0.5, 1: 0.6}}, r"site 0: the weights add up to 1\.1; allowed is a sum of one"),
        ({0: {0: 1.5, 1: -0.5}}, r"site 0: the weight of atom 1 is -0\.5; allowed are positive"),
        ({0: {0: 1.0, 1: 0.0}}, r"site 0: the weight of atom 1 is 0; allowed are positive"),
        ({0: {0: np.nan}}, r"site 0: the weight of atom 0 is nan"),
        ({0: {6: 1.0}}, r"the map names atom 6 of 6"),
    ],
)
def test_what_is_no_linear_map(rows: dict[int, dict[int, float]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        linear(rows, 6)


def test_a_site_needs_all_that_a_map_needs() -> None:
    one, zero = np.array([0.5, 0.5]), np.array([0, 0])
    with pytest.raises(ValueError, match="site 0 names atom 0 twice"):
        LinearMap(2, 1, zero, zero, one)
    with pytest.raises(ValueError, match="site 1: the weights add up to 0"):
        LinearMap(2, 2, zero, np.array([0, 1]), one)
    with pytest.raises(ValueError, match=r"weight has shape \(2,\); allowed is \(1,\)"):
        LinearMap(2, 1, zero[:1], zero[:1], one)
    covered = linear({0: {0: 1.0}, 1: {0: 0.5, 1: 0.5}}, 2)
    assert covered.shared.tolist() == [0]
    with pytest.raises(ValueError, match="site 0 shares all its atoms with other sites"):
        covered.forces(np.zeros((2, 3)))


def covariance_of_momenta(one: LinearMap, mass: np.ndarray, site_mass: np.ndarray) -> np.ndarray:
    """Of ``P_I = M_I sum_i c_Ii p_i / m_i`` (ARCG, Eq. 26), with ``p_i`` of variance ``m_i``."""
    c = one.matrix.toarray() * site_mass[:, None] / mass
    return (c * mass) @ c.T


@pytest.mark.parametrize("one", [CENTRE, EQUAL, SHARED], ids=["centre", "equal", "shared"])
@pytest.mark.parametrize("heavier", [1.0, 1.05])
def test_momenta_are_those_of_a_simulation(one: LinearMap, heavier: float) -> None:
    """It holds if and only if momenta have the covariance of independent sites of these masses."""
    site_mass = implied_mass(one, MASS) * heavier
    found = momentum_consistency(one, MASS, site_mass)
    independent = np.allclose(covariance_of_momenta(one, MASS, site_mass), np.diag(site_mass))
    assert found.holds == independent == (one is not SHARED and heavier == 1.0)
    assert found.disjoint == (one is not SHARED) and found.same_mass == (heavier == 1.0)
    assert found.holds == (not found.reasons)


def test_implied_masses() -> None:
    np.testing.assert_allclose(implied_mass(CENTRE, MASS), [14.0, 17.0], rtol=1e-13)
    np.testing.assert_allclose(implied_mass(EQUAL, MASS), [9 / (1 / 12 + 2), 4 / (1 / 16 + 1)])
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"the mass of atom 1 is .*; allowed are positive"):
            implied_mass(CENTRE, np.where(np.arange(6) == 1, wrong, MASS))


def test_words_on_momenta() -> None:
    assert momentum_consistency(CENTRE, MASS).text.startswith("The map is momentum consistent: ")
    text = momentum_consistency(CENTRE, MASS, np.array([14.0, 18.0])).text
    assert "1 of 2 sites have another mass" in text
    assert "site 1 for one: 17 g/mol is implied, 18 g/mol is given" in text
    assert "atom 3 for one" in momentum_consistency(SHARED, MASS).text
    rounded = momentum_consistency(CENTRE, MASS, np.array([14.0004, 17.0]))
    assert rounded.holds


def test_momenta_through_a_pre_map() -> None:
    """ARCG, Eq. 30: virtual sites that are dropped change nothing; a wrong mass is told."""
    pre_map = linear({0: {0: 1.0}, 1: {2: 1.0}}, 4)  # sites 1 and 3 are virtual
    right = np.array([14.0, 5.0, 17.0, 6.0])
    assert momentum_consistency(CENTRE, MASS, pre_map=pre_map, pre_mass=right).holds
    wrong = momentum_consistency(CENTRE, MASS, pre_map=pre_map, pre_mass=right + 1.0)
    assert not wrong.holds and "15 g/mol is implied by G (Eq. 30)" in wrong.text
    merged = linear({0: {0: 0.5, 1: 0.5}, 1: {2: 1.0}}, 4)
    masses = np.array([7.0, 7.0, 17.0, 6.0])  # 1 / (0.25 / 7 + 0.25 / 7)
    assert momentum_consistency(CENTRE, MASS, pre_map=merged, pre_mass=masses).holds
    overlapping = linear({0: {0: 0.5, 1: 0.5}, 1: {1: 0.5, 2: 0.5}}, 4)
    assert "in several sites by G" in (
        momentum_consistency(CENTRE, MASS, pre_map=overlapping, pre_mass=right).text
    )
    with pytest.raises(ValueError, match="pre_map and pre_mass go together"):
        momentum_consistency(CENTRE, MASS, pre_map=pre_map)


EDGES = np.array([9.0, 10.0, 11.0])


def chain(atoms: int, seed: int = 0) -> np.ndarray:
    """A stiff chain, far longer than the box if it has many atoms."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(atoms, 3)) * 0.2 + np.array([0.8, 0.7, 0.6])
    return np.cumsum(steps, axis=0)


@pytest.mark.parametrize("atoms", [1, 2, 3, 40, 129])
@pytest.mark.parametrize("bonded", [True, False])
def test_molecules_are_made_whole(atoms: int, bonded: bool) -> None:
    """Wrapped atom by atom in any order, a molecule comes back up to a move by whole edges."""
    rng = np.random.default_rng(2)
    order = rng.permutation(atoms)
    x = chain(atoms)[order]
    place = np.argsort(order)
    bonds = np.column_stack([place[:-1], place[1:]]) if bonded else np.zeros((0, 2), int)
    box = EDGES if bonded or atoms < 9 else np.full(3, 250.0)  # no chain meets itself there
    torn = x + box * rng.integers(-2, 3, x.shape)
    whole = Whole(spanning_tree(torn, box, bonds))(torn, box)
    moved = (whole - x) / box
    np.testing.assert_allclose(moved, np.broadcast_to(np.round(moved[0]), moved.shape), atol=1e-12)
    np.testing.assert_allclose(whole[0], torn[0])


def test_a_tree_serves_other_molecules_and_frames() -> None:
    parent = spanning_tree(chain(5), EDGES, np.zeros((0, 2), int))
    both = Whole(np.concatenate([parent, 5 + parent]))
    x = np.concatenate([chain(5, seed=3), chain(5, seed=4) + 4.0])
    found = both(x - EDGES * np.floor(x / EDGES), EDGES)
    for part in (slice(0, 5), slice(5, 10)):
        moved = (found[part] - x[part]) / EDGES
        np.testing.assert_allclose(moved, np.broadcast_to(np.round(moved[0]), (5, 3)), atol=1e-12)


def test_bonds_win_over_nearness() -> None:
    """A ring folded so that ends touch across the boundary is not torn at its bonds."""
    x = np.array([[0.5, 5.0, 5.0], [2.8, 5.0, 5.0], [5.1, 5.0, 5.0], [7.4, 5.0, 5.0]])
    near = spanning_tree(x, EDGES, np.zeros((0, 2), int))
    along = spanning_tree(x, EDGES, np.array([[0, 1], [1, 2], [2, 3]]))
    assert near.tolist()[3] == 0  # 2.1 angstrom through the boundary
    assert along.tolist() == [0, 0, 1, 2]


def test_atoms_on_top_of_each_other() -> None:
    x = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    found = spanning_tree(x, EDGES, np.zeros((0, 2), int))
    np.testing.assert_allclose(Whole(found)(x + EDGES * [[0], [1], [-1]], EDGES), x)


def test_a_molecule_with_a_gap() -> None:
    x = np.array([[0.0, 0.0, 0.0], [4.5, 5.0, 5.5]])
    with pytest.raises(ValueError, match="further apart than half the box"):
        spanning_tree(x, EDGES, np.zeros((0, 2), int))
    assert spanning_tree(x, EDGES, np.array([[0, 1]])).tolist() == [0, 0]
