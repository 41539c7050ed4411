"""Sums of pair and triple terms, against loops over all of them."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import (
    WCA,
    BSplines,
    ExponentialFamily,
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    PairBasis,
    ParticlePotential,
    StillingerWeber,
    Table,
    Wall,
    WindowedFourier,
)
from bayescg.potentials.counting import CLOSEST
from tests.liquids import BOX, SITES, liquid, water

KNOTS = np.linspace(1.0, 7.0, 31)
SMALL = (7.0, 8.0, 9.0)

#: How far a statistic of one pair may lie from its function, over the largest value that any function
#: of the basis has from 2.2 angstrom on. The waves are the fastest that their nodes are made for; the
#: third derivatives of splines jump, and the table's second one where it ends.
BASES = {
    "inverse powers": (InversePowers(), 1e-6),
    "window": (WindowedFourier(100), 2e-5),
    "window, per angstrom": (WindowedFourier(20, unit="angstrom"), 2e-5),
    "splines": (BSplines(KNOTS), 1e-5),
    "table": (Table(KNOTS), 2e-4),
    "wall": (Wall(2.6), 1e-6),
    "WCA": (WCA(0.3, 3.0), 1e-6),
}
statistics = jax.jit(lambda p, x: p.statistics(x))
energy = jax.jit(lambda p, x: p(x))


@jax.jit
def sums(p: ParticlePotential, r: jax.Array, x: jax.Array) -> jax.Array:
    """Of what the pairs have, and the triples, which have tests of their own."""
    pairs = p.pair_basis(r).sum(1)
    if p.three_body is None:
        return pairs
    return jnp.append(pairs, p.three_body.statistics(x, p.box))


def single(basis: PairBasis, box: tuple[float, float, float] = BOX) -> ParticlePotential:
    coefficients = jnp.ones(len(basis.names))
    return ParticlePotential((LinearPair(coefficients, basis),), box)


def distances(x: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """Of every pair of ``x (axis, site)``, in NumPy."""
    i, j = np.array(list(combinations(range(x.shape[1]), 2))).T
    d = x[:, i] - x[:, j]
    d -= np.array(box)[:, None] * np.round(d / np.array(box)[:, None])
    return np.linalg.norm(d, axis=0)


def directly(p: ParticlePotential, x: np.ndarray) -> np.ndarray:
    """Sums over all pairs, and the three-body term, of ``x (axis, site)``."""
    return np.asarray(sums(p, distances(x, p.box), x))


@pytest.mark.parametrize(("basis", "error"), BASES.values(), ids=BASES)
def test_a_pair_between_nodes(basis: PairBasis, error: float) -> None:
    """Cubic weights: what is lost of a single pair, anywhere."""
    r = np.random.default_rng(0).uniform(2.2, 7.2, 3000)
    x = np.zeros((3, 2, r.size))
    x[0, 1] = r
    found = np.asarray(statistics(single(basis), x))
    exact = np.asarray(basis(jnp.asarray(r)))
    size = np.abs(exact).max(1 if isinstance(basis, InversePowers) else None, keepdims=True)
    assert np.abs((found - exact) / size).max() < error


@pytest.mark.parametrize("basis", [BASES["inverse powers"][0], BASES["window"][0]])
def test_statistics_of_a_liquid(basis: PairBasis) -> None:
    """To 1e-6 of what they would be with every pair in range at the largest value."""
    p = single(basis)
    x = liquid(SITES, 2)
    found = np.asarray(statistics(p, x))
    for k in range(2):
        r = distances(x[..., k], BOX)
        values = np.asarray(p.pair_basis(r))
        size = np.abs(values).max(1 if isinstance(basis, InversePowers) else None)
        gap = np.abs(found[:, k] - values.sum(1)) / (size * np.sum(r < p.cutoff))
        assert gap.max() < 1e-6


def test_jumps_are_smeared_over_few_nodes() -> None:
    """Of a literal window, which the moments of a distance cannot follow: under a pair each."""
    p = single(WindowedFourier(8, edges="literal"))
    x = liquid(SITES, 4)
    nodes = p._nodes()
    step = nodes.step
    found = np.asarray(statistics(p, x))
    for k in range(4):
        r = distances(x[..., k], BOX)
        near = sum(np.sum(np.abs(r - edge) < 3 * step) for edge in (2.0, 6.0))
        gap = np.abs(found[:, k] - directly(p, x[..., k])).max()
        assert gap <= 1.3 * near + 1e-3
    assert nodes.first == CLOSEST and nodes.values[-1] > p.cutoff


@pytest.mark.parametrize(("sites", "batch"), [(2, ()), (7, (3,)), (20, (2, 3))])
def test_any_batch_and_number_of_sites(sites: int, batch: tuple[int, ...]) -> None:
    """Even and odd: half of the last shift is counted where it meets every pair twice."""
    p = water(6, box=SMALL)
    x = liquid(sites, *batch, box=SMALL)
    found = np.asarray(statistics(p, x))
    assert found.shape == (len(p.names), *batch)
    for place in np.ndindex(*batch):
        exact = directly(p, x[(..., *place)])
        np.testing.assert_allclose(found[(..., *place)], exact, atol=2e-5 * sites, rtol=1e-6)


def test_single_precision_is_summed_in_double() -> None:
    p = single(InversePowers())
    x = liquid(SITES, 2).astype(np.float32)
    rough = statistics(p, x)
    assert rough.dtype == float
    np.testing.assert_array_equal(rough, statistics(p, x.astype(float)))


def test_closer_than_closest_statistics_stay_as_they_are() -> None:
    """And finite, on top of each other, too; the energy goes on."""
    p = single(InversePowers())
    x = np.zeros((3, 2, 4))
    x[0, 1] = [0.0, 0.3, 0.999, 1.0]
    found = np.asarray(statistics(p, x))
    np.testing.assert_allclose(found, np.ones((2, 4)), rtol=1e-5)
    assert float(p(jnp.asarray(x[..., 1].T))) > 1e5


@pytest.mark.parametrize("three_body", [False, True])
def test_energy_is_linear_in_the_natural_parameters(three_body: bool) -> None:
    p = water(20, three_body=three_body)
    assert isinstance(p, ExponentialFamily)
    natural = np.asarray(p.natural())
    assert natural.shape == (len(p.names),) == (23 + three_body,)
    x = liquid(SITES, 2)
    exact = [float(energy(p, x[..., k].T)) for k in range(2)]
    found = [-natural @ directly(p, x[..., k]) for k in range(2)]
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    np.testing.assert_allclose(-natural @ statistics(p, x), exact, atol=1e-4)


def test_pair_energy_takes_any_shape() -> None:
    p = water(20)
    r = np.linspace(2.0, 8.0, 24)
    pair_energy = jax.jit(p.pair_energy)
    flat = np.asarray(pair_energy(r))
    natural = np.asarray(p.natural())[:-1]
    np.testing.assert_allclose(flat, -natural @ np.asarray(jax.jit(p.pair_basis)(r)), atol=1e-13)
    np.testing.assert_allclose(pair_energy(r.reshape(4, 6)).reshape(-1), flat, rtol=1e-14)
    assert pair_energy(jnp.asarray(3.0)).shape == ()
    lennard_jones = 0.6 * ((2.9 / r) ** 12 - (2.9 / r) ** 6)
    far = r > 6.0  # beyond the window; the last angstrom is tapered
    np.testing.assert_array_equal(flat[r >= 7.0], 0.0)
    assert np.all(np.abs(flat[far]) <= np.abs(lennard_jones[far]))


@pytest.mark.parametrize("three_body", [False, True])
def test_forces_are_slopes_of_the_energy(three_body: bool) -> None:
    p = water(20, three_body=three_body)
    x = liquid(SITES).T
    slope = np.asarray(jax.jit(jax.grad(lambda x: p(x)))(x))
    rng = np.random.default_rng(1)
    for _ in range(20):
        way = rng.normal(size=x.shape)
        way /= np.linalg.norm(way)
        step = 1e-5
        ends = float(energy(p, x + step * way)), float(energy(p, x - step * way))
        change = (ends[0] - ends[1]) / (2 * step)
        assert np.sum(slope * way) == pytest.approx(change, abs=1e-6 * np.linalg.norm(slope))
    np.testing.assert_allclose(slope.sum(0), 0.0, atol=1e-10 * np.abs(slope).max())
    away = x + np.array(BOX) * rng.integers(-3, 4, x.shape)
    np.testing.assert_allclose(energy(p, away), energy(p, x), rtol=1e-11)


def test_cutoff_and_names() -> None:
    p = water(4)
    assert p.cutoff == 7.0
    names = ("r^-12", "r^-6", "sin 1", "cos 1", "sin 10.5", "cos 10.5", "core", "three-body")
    assert p.names == names
    assert water(4, three_body=False).names == names[:-1]


def test_leaves_are_the_parameters() -> None:
    """And nothing else is traced, so that one program serves all values."""
    p = water(6)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(p)]
    assert shapes == [(), (), (6,), ()]  # epsilon, sigma, theta_c, strength
    fixed = ParticlePotential((FixedPair(WCA(0.1, 3.0)),), BOX)
    assert jax.tree.leaves(fixed) == []
    traced = 0

    @jax.jit
    def once(p: ParticlePotential) -> jax.Array:
        nonlocal traced
        traced += 1
        return p.natural()

    values = [float(once(jax.tree.map(lambda a, s=s: s * a, p))[0]) for s in (0.9, 1.0, 1.1)]
    assert traced == 1 and len(set(values)) == 3


def test_gradients_of_the_energy_in_the_parameters_are_the_statistics() -> None:
    p = water(20)
    x = liquid(SITES)
    slope = jax.jit(jax.grad(lambda p: p(x.T)))(p)
    exact = directly(p, x)
    np.testing.assert_allclose(slope.pairs[1].coefficients, exact[2:22], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(slope.three_body.strength, exact[-1], rtol=1e-10)
    epsilon = 4 * (2.9**12 * exact[0] - 2.9**6 * exact[1])
    np.testing.assert_allclose(slope.pairs[0].epsilon, epsilon, rtol=1e-9)


def test_potentials_of_a_batch() -> None:
    """Leaves with a leading axis under vmap, as draws of parameters are."""
    scales = np.array([0.5, 1.0])
    p = ParticlePotential((LennardJones(0.15, 2.9),), BOX, StillingerWeber(1.0))
    r = jnp.linspace(2.0, 8.0, 20)
    many = jax.tree.map(lambda a: jnp.asarray(scales * a), p)
    pair_energy = jax.jit(lambda p: p.pair_energy(r))
    both = jax.jit(jax.vmap(pair_energy))(many)
    for k, s in enumerate(scales):
        alone = pair_energy(jax.tree.map(lambda a, s=s: s * a, p))
        np.testing.assert_allclose(both[k], alone, rtol=1e-12)
