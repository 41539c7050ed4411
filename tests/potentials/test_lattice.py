"""Features of Eq. 55: which are independent, and that sums, flips and colours follow from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import (
    ExponentialFamily,
    Feature,
    SpinBasis,
    SpinPotential,
    independent_features,
    pair_features,
    polynomial_features,
)
from bayescg.potentials.lattice import colours, local_field, local_terms, spin_statistics
from tests import brute_force
from tests.systems import CHAIN, FULL, ONE_SIDED, potential

NAMED = polynomial_features(15, 3)


statistics = jax.jit(spin_statistics, static_argnums=0)
field_on = jax.jit(local_field, static_argnums=0)


def configurations(sites: int) -> np.ndarray:
    """All of a small ring, or many of a large one: ``(sample, site)``."""
    if sites <= 16:
        return brute_force.spins(sites)
    return np.random.default_rng(sites).choice([-1, 1], size=(2000, sites))


def test_eq_55_has_25_named_features() -> None:
    names = [f.name for f in NAMED]
    triples = [f"triple_{k}_{m}" for k in (1, 2, 3) for m in (1, 2, 3)]
    assert names == ["field", *(f"pair_{k}" for k in range(1, 16)), *triples]
    assert len(set(names)) == 25


@pytest.mark.parametrize(("sites", "rank"), [(32, 22), (16, 15), (8, 10)])
def test_rank(sites: int, rank: int) -> None:
    """As many independent features as columns of Eq. 55, a constant one not counted."""
    columns = brute_force.eq_55_features(configurations(sites), 15, 3)
    assert np.linalg.matrix_rank(columns - columns.mean(0)) == rank
    basis = independent_features(sites, NAMED).basis
    assert len(basis.features) == rank
    kept = statistics(basis, configurations(sites).T)[1:].T
    assert np.linalg.matrix_rank(kept - kept.mean(0)) == rank


@pytest.mark.parametrize("aliases", ["tie", "drop"])
@pytest.mark.parametrize("sites", [8, 16, 32])
def test_an_alias_is_the_same_column(sites: int, aliases: str) -> None:
    """In Eq. 55 as printed; and only the first of a kind gives its name."""
    columns = brute_force.eq_55_features(configurations(sites), 15, 3)
    found = independent_features(sites, NAMED, aliases)
    names = [f.name for f in NAMED]
    seen = []
    for j, (alias, coefficient) in enumerate(zip(found.alias_of, found.coefficient, strict=True)):
        if alias == "":
            assert np.ptp(columns[:, j]) == 0.0
            assert coefficient == 0.0
            continue
        np.testing.assert_array_equal(columns[:, j], columns[:, names.index(alias)])
        is_first = alias == names[j]
        assert is_first == (alias not in seen)
        assert coefficient == (1.0 if is_first or aliases == "tie" else 0.0)
        seen.append(alias)
    assert found.basis.names == tuple(dict.fromkeys(seen))


def test_aliases_by_name() -> None:
    found = independent_features(8, NAMED)
    alias = dict(zip((f.name for f in NAMED), found.alias_of, strict=True))
    assert alias["pair_3"] == alias["pair_5"] == alias["pair_11"] == "pair_3"
    assert alias["pair_8"] == ""
    assert alias["triple_2_1"] == "triple_1_2"
    assert alias["triple_3_3"] == alias["triple_3_2"] == "triple_2_3"
    found = independent_features(32, NAMED)
    alias = dict(zip((f.name for f in NAMED), found.alias_of, strict=True))
    assert sum(a != name for name, a in alias.items()) == 3
    assert [alias[f"triple_{k}_{m}"] for k, m in ((2, 1), (3, 1), (3, 2))] == [
        "triple_1_2",
        "triple_1_3",
        "triple_2_3",
    ]


@pytest.mark.parametrize("aliases", ["tie", "drop"])
@pytest.mark.parametrize("sites", [4, 8, 32])
def test_energy_is_eq_55_summed_over_all_25(sites: int, aliases: str) -> None:
    x = configurations(sites)
    found = independent_features(sites, NAMED, aliases)
    theta = np.random.default_rng(1).normal(size=len(found.basis.features))
    by_name = dict(zip(found.basis.names, theta, strict=True))
    printed = [
        c * by_name.get(alias, 0.0)
        for alias, c in zip(found.alias_of, found.coefficient, strict=True)
    ]
    expected = -brute_force.eq_55_features(x, 15, 3) @ printed - 0.3 * x.sum(1)
    energy = SpinPotential(jnp.asarray(theta), jnp.asarray(0.3), found.basis)(x.T)
    np.testing.assert_allclose(energy, expected, rtol=0, atol=1e-11)


def test_a_pair_sum_is_read_in_either_way() -> None:
    x = brute_force.spins(6)
    for count in ("ordered", "once"):
        basis = SpinBasis(6, tuple(pair_features([1, 2], count=count)))
        energy = SpinPotential(jnp.array([0.7, -0.2]), jnp.array(0.1), basis)(x.T)
        expected = brute_force.eq_46_energy(x, np.array([0.7, -0.2]), 0.1, count)
        np.testing.assert_allclose(energy, expected, atol=1e-13)


def test_leaves_are_the_parameters_and_the_form_is_exponential() -> None:
    p = potential()
    assert len(jax.tree.leaves(p)) == 2
    assert isinstance(p, ExponentialFamily)
    np.testing.assert_array_equal(p.natural(), np.append(p.field, p.theta))


def test_statistics_take_any_batch_and_integers() -> None:
    p = potential()
    x = brute_force.spins(8).T.astype(np.int8)
    flat = np.asarray(p.statistics(x))
    np.testing.assert_array_equal(flat.T, brute_force.statistics(p))
    np.testing.assert_array_equal(p.statistics(x.reshape(8, 16, 16)).reshape(-1, 256), flat)
    np.testing.assert_array_equal(p.statistics(x[:, 5]), flat[:, 5])
    assert p(x[:, 5]).shape == ()


def test_mirror_symmetry() -> None:
    assert FULL.mirror_symmetric and CHAIN.mirror_symmetric
    assert not ONE_SIDED.mirror_symmetric


@pytest.mark.parametrize("sites", [2, 4, 8])
def test_parity_is_that_of_all_spins_flipped(sites: int) -> None:
    """On small rings triples fold into single spins, which does not change it."""
    basis = independent_features(sites, NAMED).basis
    x = configurations(sites).T
    stays, flipped = statistics(basis, x)[1:], statistics(basis, -x)[1:]
    np.testing.assert_array_equal(flipped, np.array(basis.parity)[:, None] * stays)
    mixed = SpinBasis(8, (Feature("mixed", ((0,), (0, 1)), (1.0, 1.0)),))
    assert mixed.parity == (0,)


def test_range_is_the_shortest_window() -> None:
    assert CHAIN.range == 1
    assert SpinBasis(8, (Feature("far", ((0, 6),), (1.0,)),)).range == 2
    # Spins 0, 3 and 6 of eight are two, three and three apart: the window leaves out a three.
    assert SpinBasis(8, (Feature("t", ((0, 3, 6),), (1.0,)),)).range == 5
    assert SpinBasis(8, ()).range == 0


@pytest.mark.parametrize("sites", [2, 3, 7, 8])
def test_local_field_decides_every_flip(sites: int) -> None:
    """Small rings, too, where products meet themselves and squares drop out."""
    check_flips(independent_features(sites, NAMED).basis, np.arange(sites))


def test_local_field_of_a_one_sided_triple() -> None:
    check_flips(ONE_SIDED, np.array([5, 2]))


def check_flips(basis: SpinBasis, sites: np.ndarray) -> None:
    theta = jnp.linspace(-1.0, 1.0, len(basis.features))
    p = SpinPotential(theta, jnp.asarray(0.4), basis)
    x = brute_force.spins(basis.sites).T
    energy = brute_force.energies(p)
    f = np.asarray(field_on(basis, p.natural(), x.astype(float), sites))
    for row, i in enumerate(sites):
        flipped = x.copy()
        flipped[i] *= -1
        change = energy[brute_force.codes(flipped.T)] - energy
        np.testing.assert_allclose(change, 2.0 * x[i] * f[row], atol=1e-12)


@pytest.mark.parametrize(
    ("basis", "count"),
    [
        (CHAIN, 2),
        (ONE_SIDED, 4),  # sites share products up to three apart
        (FULL, 8),
        (SpinBasis(7, CHAIN.features), 7),
        (independent_features(32, NAMED).basis, 16),
        (SpinBasis(4, ()), 1),
    ],
)
def test_colours_are_uncoupled(basis: SpinBasis, count: int) -> None:
    """Flipping a site leaves the local fields of its colour as they are."""
    groups = colours(basis)
    assert sorted(groups.ravel()) == list(range(basis.sites))
    natural = jnp.ones(1 + len(basis.features))
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=(basis.sites, 64))
    for group in groups:
        before = np.asarray(field_on(basis, natural, x, group))
        for row, site in enumerate(group):
            flipped = x.copy()
            flipped[site] *= -1
            after = np.asarray(field_on(basis, natural, flipped, group))
            np.testing.assert_allclose(np.delete(after, row, 0), np.delete(before, row, 0))
    assert len(groups) == count


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least one site, got 0"):
        SpinBasis(0, ())
    with pytest.raises(ValueError, match="'ordered' or 'once', got 'twice'"):
        pair_features([1], count="twice")
    with pytest.raises(ValueError, match="must not be negative, got -1 and 0"):
        polynomial_features(-1, 0)
    with pytest.raises(ValueError, match="'tie' or 'drop', got 'keep'"):
        independent_features(8, NAMED, "keep")
    mixed = Feature("mixed", ((0, 1), (0, 2)), (1.0, 1.0))
    with pytest.raises(ValueError, match="'mixed' are not of one kind"):
        independent_features(8, [mixed])
    four = SpinBasis(8, (Feature("four", ((0, 1, 2, 3),), (1.0,)),))
    with pytest.raises(ValueError, match="more than three spins"):
        local_terms(four)
