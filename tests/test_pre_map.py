"""Pre-CG maps G: which sites they keep, in what order, and what momenta ask of them (ARCG paper, Eq. 30)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.mapping import (
    DropSites,
    FeatureMap,
    LinearMap,
    LinearPreMap,
    drop_sites,
    implied_mass,
    momentum_consistency,
)
from bayescg_models import virtual_bond

X = np.random.default_rng(0).normal(size=(3, 5, 4, 2))  # axis, site, two batch axes
TYPES = ("X", "Y", "X", "Z", "Y")


@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize("kept", [(0, 2), (3, 0, 4), (1,), (0, 1, 2, 3, 4)])
def test_dropped_sites_are_gone_and_the_others_in_the_order_asked_for(
    kept: tuple[int, ...], batch: int
) -> None:
    x = X[(..., *(0,) * (2 - batch))]
    found = jax.jit(DropSites(5, kept))(jnp.asarray(x))
    assert found.shape == (3, len(kept), *(4, 2)[:batch])
    np.testing.assert_array_equal(found, np.stack([x[:, k] for k in kept], 1))


@pytest.mark.parametrize("kept", [(0, 2), (3, 0, 4)])
def test_dropping_sites_is_a_linear_map(kept: tuple[int, ...]) -> None:
    """The one by which momenta are judged does the same to positions."""
    g = DropSites(5, kept)
    frame = X[..., 0, 0]
    np.testing.assert_array_equal(g.linear.positions(frame.T), g(jnp.asarray(frame)).T)
    same = LinearPreMap(g.linear)
    np.testing.assert_allclose(same(jnp.asarray(X)), g(jnp.asarray(X)), rtol=1e-15)
    assert g.linear.sites == len(kept) and g.linear.atoms == 5


def test_equal_maps_are_one_static_argument() -> None:
    assert DropSites(3, (0, 2)) == DropSites(3, (0, 2)) != DropSites(3, (2, 0))
    assert hash(DropSites(3, (0, 2))) == hash(DropSites(3, (0, 2)))


@pytest.mark.parametrize(
    ("sites", "kept", "says"),
    [
        (3, (0, 3), r"G keeps site 3; allowed are 0 to 2\."),
        (3, (-1, 0), r"G keeps site -1; allowed are 0 to 2\."),
        (3, (), "G must keep at least one site, and none twice"),
        (3, (0, 0), "G must keep at least one site, and none twice"),
    ],
)
def test_sites_that_cannot_be_kept(sites: int, kept: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DropSites(sites, kept)


@pytest.mark.parametrize(
    ("virtual", "kept"),
    [(["Y"], (0, 2, 3)), (["X", "Z"], (1, 4)), (["Z", "Y"], (0, 2)), ([], (0, 1, 2, 3, 4))],
)
def test_virtual_sites_are_dropped_by_type(virtual: Sequence[str], kept: tuple[int, ...]) -> None:
    assert drop_sites(TYPES, virtual) == DropSites(5, kept)


def test_types_that_cannot_be_dropped() -> None:
    with pytest.raises(ValueError, match=r"no site of type 'W'; allowed are X, Y, Z\."):
        drop_sites(TYPES, ["Y", "W"])
    with pytest.raises(ValueError, match="no site is left without the virtual ones"):
        drop_sites(TYPES, ["X", "Y", "Z"])


MEANS = LinearMap(
    5,
    2,
    np.array([0, 0, 1, 1, 1]),
    np.array([3, 0, 1, 2, 4]),
    np.array([0.25, 0.75, 0.5, 0.3, 0.2]),
)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_weighted_means_of_sites(batch: int) -> None:
    x = X[(..., *(0,) * (2 - batch))]
    found = jax.jit(LinearPreMap(MEANS).__call__)(jnp.asarray(x))
    expected = [
        0.25 * x[:, 3] + 0.75 * x[:, 0],
        0.5 * x[:, 1] + 0.3 * x[:, 2] + 0.2 * x[:, 4],
    ]
    np.testing.assert_allclose(found, np.stack(expected, 1), rtol=1e-13)


def test_maps_keep_the_precision_they_are_given() -> None:
    single = jnp.asarray(X, jnp.float32)
    for g in (DropSites(5, (0, 2)), LinearPreMap(MEANS)):
        assert g(single).dtype == jnp.float32


def test_a_map_that_is_not_linear_says_nothing_of_momenta() -> None:
    def distance(x: jax.Array) -> jax.Array:
        return jnp.linalg.norm(x[:, 2] - x[:, 0], axis=0)[None, None]

    g = FeatureMap(distance)
    found = g(jnp.asarray(X))
    assert found.shape == (1, 1, 4, 2) and g.linear is None
    np.testing.assert_allclose(found[0, 0], np.sqrt(((X[:, 2] - X[:, 0]) ** 2).sum(0)), rtol=1e-13)


# Momenta

ATOMS = np.array([12.0, 1.0, 1.0, 16.0, 1.0])
#: M of five atoms: both sites are centres of mass.
M = LinearMap(
    5,
    2,
    np.array([0, 0, 0, 1, 1]),
    np.arange(5),
    np.array([12 / 14, 1 / 14, 1 / 14, 16 / 17, 1 / 17]),
)
G = drop_sites(("X", "Y", "X"), ["Y"]).linear


@pytest.mark.parametrize("virtual", [1e-3, 12.0, 500.0])
def test_momenta_are_consistent_if_the_sites_that_stay_have_the_mapped_masses(
    virtual: float,
) -> None:
    """Whatever mass the virtual site has: "trivially satisfied", as the paper says below Eq. 30."""
    found = momentum_consistency(M, ATOMS, pre_map=G, pre_mass=np.array([14.0, virtual, 17.0]))
    assert found.holds and found.disjoint and found.same_mass and not found.reasons
    np.testing.assert_allclose(found.mass, [14.0, 17.0])


@pytest.mark.parametrize("wrong", [(14.0, 1.0, 16.9), (17.0, 1.0, 14.0), (14.1, 1.0, 17.1)])
def test_momenta_are_not_consistent_if_a_mass_differs(wrong: tuple[float, ...]) -> None:
    found = momentum_consistency(M, ATOMS, pre_map=G, pre_mass=np.array(wrong))
    assert not found.holds and found.disjoint and not found.same_mass
    assert "(Eq. 30)" in found.text and len(found.reasons) == 1
    np.testing.assert_allclose(found.mass, [14.0, 17.0])  # those that M implies


def test_words_on_the_mass_that_differs() -> None:
    text = momentum_consistency(M, ATOMS, pre_map=G, pre_mass=np.array([14.0, 1.0, 18.0])).text
    assert "1 of 2 sites have another mass" in text
    assert "site 1 for one: 17 g/mol is implied, 18 g/mol is implied by G (Eq. 30)." in text


def test_means_of_pre_cg_sites_imply_masses_of_their_own() -> None:
    """Eq. 29 for a G that is no dropping; and one that has a site twice never is consistent."""
    g = LinearMap(3, 2, np.array([0, 0, 1]), np.arange(3), np.array([0.5, 0.5, 1.0]))
    mass = np.array([7.0, 7.0, 17.0])
    np.testing.assert_allclose(implied_mass(g, mass), [14.0, 17.0])
    assert momentum_consistency(M, ATOMS, pre_map=g, pre_mass=mass).holds
    heavier = np.array([7.0, 8.0, 17.0])
    assert not momentum_consistency(M, ATOMS, pre_map=g, pre_mass=heavier).same_mass
    twice = LinearMap(3, 2, np.array([0, 1, 1]), np.array([0, 0, 2]), np.array([1.0, 0.5, 0.5]))
    found = momentum_consistency(M, ATOMS, pre_map=twice, pre_mass=mass)
    assert not found.disjoint and "several sites by G" in found.text


def test_a_pre_map_comes_with_its_masses() -> None:
    with pytest.raises(ValueError, match="pre_map and pre_mass go together"):
        momentum_consistency(M, ATOMS, pre_map=G)
    with pytest.raises(ValueError, match="pre_map and pre_mass go together"):
        momentum_consistency(M, ATOMS, pre_mass=np.ones(3))
    one = drop_sites(("X", "Y", "Y"), ["Y"]).linear
    with pytest.raises(ValueError, match=r"the masses have shape \(1,\); allowed is \(2,\)"):
        momentum_consistency(M, ATOMS, pre_map=one, pre_mass=np.ones(3))


def test_the_shipped_model_drops_its_virtual_site() -> None:
    """And is momentum consistent with data of two sites of its mass."""
    system = virtual_bond.system()
    assert system.pre_map == DropSites(3, (0, 2))
    identity = DropSites(2, (0, 1)).linear
    mass = np.full(2, virtual_bond.MASS)
    masses = np.full(3, virtual_bond.MASS)
    assert momentum_consistency(
        identity, mass, pre_map=system.pre_map.linear, pre_mass=masses
    ).holds
