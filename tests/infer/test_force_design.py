"""Forces of basis functions and their sums over frames, against the gradient of the energy."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.force_design import NormalEquations, design, normal_equations
from bayescg.potentials import (
    BSplines,
    FixedPair,
    Harmonic,
    Interaction,
    LennardJones,
    LinearPair,
    MolecularPotential,
    PairBasis,
    PeriodicTable,
    Table,
    Wall,
    Waves,
    classes_of,
)
from bayescg.topology import Topology
from tests.molecules import BOX, chains, places

CORRECTION = BSplines(np.linspace(2.0, 6.0, 9))
GRID = Table(np.arange(2.0, 6.01, 0.25))
BENT = BSplines(np.linspace(1.0, 3.0, 6), ends="free")
STEPS = Table(np.linspace(0.0, np.pi, 12), "linear", "free")
CLASSES = classes_of(chains(6), [("A", "B"), ("B", "C")])


@cache
def molecules() -> tuple[Topology, np.ndarray]:
    topology = chains(6)
    return topology, places(topology, 7)


def every_kind(seed: int = 0) -> MolecularPotential:
    """Two classes of pairs and every kind of bonded term, with made-up coefficients."""
    rng = np.random.default_rng(seed)

    def of(basis: PairBasis) -> LinearPair:
        return LinearPair(jnp.asarray(rng.normal(size=len(basis.names))), basis)

    return MolecularPotential(
        (
            Interaction(
                (LennardJones(0.2, 2.6), of(CORRECTION), FixedPair(Wall(2.2), 40.0)), "pair", "A_B"
            ),
            Interaction((of(GRID),), "pair", "B_C"),
            Interaction((of(Harmonic(1.5)),), "bond", "AB"),
            Interaction((of(BENT), of(STEPS)), "angle", "ABB"),
            Interaction((of(Waves(2)), of(PeriodicTable(12))), "dihedral", "ABBA"),
        ),
        CLASSES,
        BOX,
    )


@pytest.mark.slow
def test_the_design_is_the_gradient() -> None:
    """Forces to round-off, for several sets of coefficients."""
    topology, x = molecules()
    force = jax.jit(lambda p, x: -jax.grad(p)(x))
    g = np.asarray(design(every_kind(), x[0]))
    assert g.shape == (topology.sites, 3, len(every_kind().names))
    for seed in range(3):
        one = every_kind(seed)
        exact = np.asarray(force(one, jnp.asarray(x[0])))
        close = 1e-12 * np.abs(exact).max()
        np.testing.assert_allclose(g @ -np.asarray(one.natural()), exact, atol=close)


@cache
def sums_of_frames() -> tuple[NormalEquations, np.ndarray]:
    """In three blocks, and the forces that were taken."""
    _, x = molecules()
    forces = np.random.default_rng(0).normal(size=x.shape)
    return normal_equations(every_kind(), x, forces, blocks=3, curved=True), forces


@pytest.mark.by_hand
def test_sums_over_blocks_are_those_of_the_frames() -> None:
    _, x = molecules()
    sums, forces = sums_of_frames()
    g = np.stack([np.asarray(design(every_kind(), frame)) for frame in x])
    g = g.reshape(len(x), -1, g.shape[-1])
    f = forces.reshape(len(x), -1)
    assert sums.frames.tolist() == [3, 3, 1]
    for n, at in enumerate((slice(0, 3), slice(3, 6), slice(6, 7))):
        square = np.einsum("tak,tal->kl", g[at], g[at])
        np.testing.assert_allclose(sums.square[n], square, atol=1e-12 * np.abs(square).max())
        force = np.einsum("tak,ta->k", g[at], f[at])
        np.testing.assert_allclose(sums.force[n], force, atol=1e-12 * np.abs(force).max())
        np.testing.assert_allclose(sums.power[n], np.sum(f[at] ** 2), rtol=1e-12)
    np.testing.assert_array_equal(sums.met, np.any(g != 0.0, 1).sum(0))


@pytest.mark.by_hand
def test_laplacians_are_divergences_of_the_design() -> None:
    """Of each function in the last block, one frame, by central differences; linear tables have none."""
    one, x = every_kind(), molecules()[1][6]
    step, total = 1e-5, np.zeros(len(one.names))
    for site in range(len(x)):
        for axis in range(3):
            moved = np.zeros_like(x)
            moved[site, axis] = step
            ends = [np.asarray(design(one, x + s * moved))[site, axis] for s in (1.0, -1.0)]
            total -= (ends[0] - ends[1]) / (2.0 * step)
    smooth = np.array([" u(" not in n or n.startswith("pair B_C") for n in one.names])
    exact = sums_of_frames()[0].laplacian[2]
    # Where a function is large its differences are known no better than to 1e-7 of it.
    np.testing.assert_allclose(total[smooth], exact[smooth], rtol=1e-6, atol=1e-5)
    assert (exact[smooth] != 0.0).sum() > 25


@pytest.mark.slow
def test_lists_that_run_over_are_made_longer() -> None:
    """Frames that become ten times as dense after the first four."""
    topology = Topology(("A",) * 40, np.ones(40), np.arange(40))
    term = LinearPair(jnp.zeros(len(CORRECTION.names)), CORRECTION)
    classes = classes_of(topology, [("A", "A")])
    one = MolecularPotential((Interaction((term,), "pair", "A_A"),), classes, BOX)
    x = np.random.default_rng(1).uniform(size=(6, 40, 3)) * np.array(BOX)
    x[4:] *= 0.45
    sums = normal_equations(one, x)
    g = [np.asarray(design(one, frame)).reshape(-1, len(one.names)) for frame in x]
    np.testing.assert_allclose(sums.square, [a.T @ a for a in g], atol=1e-9)
