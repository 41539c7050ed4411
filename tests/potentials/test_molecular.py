"""Bonded and typed non-bonded terms against sums written out one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import Interaction, MolecularPotential, classes_of
from bayescg.potentials.bonded import coordinate
from tests.molecules import BOX, chains, places, potential

TOPOLOGY = chains(5)
POTENTIAL = potential(TOPOLOGY)


def gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    d = b - a
    return d - np.asarray(BOX) * np.round(d / np.asarray(BOX))


def value(kind: str, x: np.ndarray, row: np.ndarray) -> float:
    """A coordinate from the textbook's formulas."""
    if kind == "bond":
        return float(np.linalg.norm(gap(x[row[0]], x[row[1]])))
    if kind == "angle":
        a, b = gap(x[row[1]], x[row[0]]), gap(x[row[1]], x[row[2]])
        return float(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    b1, b2, b3 = (gap(x[row[k]], x[row[k + 1]]) for k in range(3))
    m, n = np.cross(b1, b2), np.cross(b2, b3)
    angle = np.arccos(np.clip(m @ n / np.linalg.norm(m) / np.linalg.norm(n), -1.0, 1.0))
    return float(angle if b1 @ n >= 0.0 else -angle)


@jax.jit
def sums(met: dict[str, jax.Array]) -> jax.Array:
    """Every function over the values that its interaction meets."""
    return jnp.concatenate([i.basis(met[i.label]).sum(-1) for i in POTENTIAL.interactions])


def directly(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and statistics of one configuration, a term at a time."""
    met: dict[str, list[float]] = {i.label: [] for i in POTENTIAL.interactions}
    excluded = {frozenset(p) for p in TOPOLOGY.exclusion.tolist()}
    for i, j in itertools.combinations(range(TOPOLOGY.sites), 2):
        name = "_".join(sorted((TOPOLOGY.types[i], TOPOLOGY.types[j])))
        for one in POTENTIAL.pairs:
            if one.name == name and frozenset((i, j)) not in excluded:
                met[one.label].append(float(np.linalg.norm(gap(x[i], x[j]))))
    for one in POTENTIAL.bonded:
        table = TOPOLOGY.bonded()[one.kind]
        for row, name in zip(table.members, table.names, strict=True):
            if name == one.name:
                met[one.label].append(value(one.kind, x, row))
    phi = np.asarray(sums({label: jnp.asarray(q) for label, q in met.items()}))
    return -float(np.asarray(POTENTIAL.natural()) @ phi), phi


@pytest.mark.parametrize("kind", ["bond", "angle", "dihedral"])
def test_coordinates(kind: str) -> None:
    x = places(TOPOLOGY, 3) % np.asarray(BOX)  # molecules cut by the boundary
    members = TOPOLOGY.bonded()[kind].members
    found = np.asarray(coordinate(kind, jnp.asarray(x).T, members, BOX))
    for b in range(len(x)):
        expected = [value(kind, x[b], row) for row in members]
        np.testing.assert_allclose(found[:, b], expected, atol=2e-6)


def test_trans_is_half_a_turn_and_a_straight_molecule_has_a_slope() -> None:
    zigzag = jnp.array([[0.0, 0, 0], [1, 1, 0], [2, 0, 0], [3, 1, 0]])
    phi = coordinate("dihedral", zigzag.T[..., None], np.arange(4)[None], BOX)
    assert abs(abs(float(phi[0, 0])) - np.pi) < 1e-6
    straight = jnp.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    slope = jax.grad(lambda x: coordinate("angle", x.T[..., None], np.arange(3)[None], BOX).sum())
    assert np.isfinite(np.asarray(slope(straight))).all()


def test_energy_is_the_sum_of_its_terms() -> None:
    energy = jax.jit(lambda x: POTENTIAL(x))
    for x in places(TOPOLOGY, 3):
        assert float(energy(jnp.asarray(x))) == pytest.approx(directly(x)[0], rel=1e-9)


def test_statistics_are_sums_over_terms() -> None:
    x = places(TOPOLOGY, 4)
    found = np.asarray(jax.jit(POTENTIAL.statistics)(jnp.asarray(x).T))
    for b in range(4):
        _, phi = directly(x[b])
        # Tables that are linear between their nodes are counted exactly, the others on fine nodes.
        exact = np.array(["A_B: u" in n or "pair" not in n for n in POTENTIAL.names])
        size = 1.0 + np.abs(phi)
        np.testing.assert_allclose(
            found[exact, b] / size[exact], phi[exact] / size[exact], atol=1e-9
        )
        np.testing.assert_allclose(found[:, b] / size, phi / size, atol=3e-4)


def test_excluded_pairs_and_unnamed_types_feel_nothing() -> None:
    classes = POTENTIAL.classes
    assert classes.of_pair[0, 1] == classes.of_pair[0, 2] == len(classes)  # bond, angle
    assert classes.of_pair[0, 3] == classes.names.index("A_A")
    assert classes.of_pair[20, 21] == len(classes)  # C and C have no potential
    expected = {"A_A": 45, "A_B": 100 - 20, "B_C": 50}
    assert dict(zip(classes.names, classes.totals, strict=True)) == expected


def test_order_of_interactions_is_checked() -> None:
    pair, bond = POTENTIAL.pairs[0], POTENTIAL.bonded[0]
    classes = classes_of(TOPOLOGY, [("A", "A")])
    with pytest.raises(ValueError, match="must come first"):
        MolecularPotential((bond, pair), classes, BOX)
    assert isinstance(MolecularPotential((pair, bond), classes, BOX).bonded[0], Interaction)


def test_leaves_are_the_parameters() -> None:
    leaves = jax.tree.leaves(POTENTIAL)
    assert sum(np.size(v) for v in leaves) == sum(
        2 if "r^-" in "".join(t.basis.names) else len(t.basis.names)
        for i in POTENTIAL.interactions
        for t in i.terms
    )
