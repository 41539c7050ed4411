"""Small systems of molecules with every kind of term, for tests."""

import jax.numpy as jnp
import numpy as np

from bayescg.potentials import (
    BSplines,
    Harmonic,
    Interaction,
    InversePowers,
    LennardJones,
    LinearPair,
    MolecularPotential,
    PeriodicTable,
    Table,
    Waves,
    classes_of,
)
from bayescg.topology import Bonded, Topology

BOX = (16.0, 15.0, 17.0)
BETA = 1.7


def chains(molecules: int) -> Topology:
    """Molecules A-B-B-A, their inner pairs excluded but for the two ends, and as many single C."""
    first = 4 * np.arange(molecules)[:, None]
    bond = np.concatenate([np.add(first, [0, 1]), np.add(first, [1, 2]), np.add(first, [2, 3])])
    names = ("AB",) * molecules + ("BB",) * molecules + ("AB",) * molecules
    angle = np.concatenate([np.add(first, [0, 1, 2]), np.add(first, [1, 2, 3])])
    loose = 4 * molecules + np.arange(molecules)
    return Topology(
        types=("A", "B", "B", "A") * molecules + ("C",) * molecules,
        mass=np.full(5 * molecules, 14.0),
        molecule=np.concatenate(
            [np.repeat(np.arange(molecules), 4), molecules + np.arange(molecules)]
        ),
        bond=Bonded(bond, names),
        angle=Bonded(angle, ("ABB",) * len(angle)),
        dihedral=Bonded(np.add(first, [0, 1, 2, 3]), ("ABBA",) * molecules),
        exclusion=np.concatenate([bond, angle[:, [0, 2]]]) if len(loose) else bond,
    )


def potential(topology: Topology, seed: int = 0) -> MolecularPotential:
    """Every kind of term, with made-up coefficients."""
    rng = np.random.default_rng(seed)

    def of(basis, size: float = 0.3):  # type: ignore[no-untyped-def]
        return LinearPair(jnp.asarray(size * rng.normal(size=len(basis.names))), basis)

    grid = np.arange(2.0, 6.01, 0.1)
    soft = LennardJones(0.2, 2.6, InversePowers(cutoff=6.0))
    pairs = tuple(
        Interaction((soft, of(basis)), "pair", name)
        for name, basis in (
            ("A_A", BSplines(np.linspace(2.0, 6.0, 9))),
            ("A_B", Table(grid, "linear")),
            ("B_C", Table(grid)),
        )
    )

    def stiff(k: float, q0: float) -> LinearPair:
        return LinearPair(jnp.array([0.5 * k, 0.0]), Harmonic(q0))

    bonded = (
        Interaction((stiff(30.0, 1.5),), "bond", "AB"),
        Interaction(
            (stiff(40.0, 1.6), of(BSplines(np.linspace(1.2, 2.0, 6), ends="free"))), "bond", "BB"
        ),
        Interaction(
            (stiff(8.0, 2.0), of(Table(np.linspace(0.0, np.pi, 20), "linear", "free"), 0.1)),
            "angle",
            "ABB",
        ),
        Interaction((of(Waves(3)), of(PeriodicTable(12), 0.2)), "dihedral", "ABBA"),
    )
    classes = classes_of(topology, [("A", "A"), ("A", "B"), ("B", "C")])
    return MolecularPotential((*pairs, *bonded), classes, BOX)


def places(topology: Topology, batch: int, seed: int = 1) -> np.ndarray:
    """Molecules as bent zigzags in random places, ``(batch, site, axis)``, not wrapped."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(topology.sites, 1)
    apart = topology.molecule[i] != topology.molecule[j]
    out: list[np.ndarray] = []
    while len(out) < batch:
        x = _placed(topology, rng)
        d = x[i] - x[j]
        d -= np.asarray(BOX) * np.round(d / np.asarray(BOX))
        if np.linalg.norm(d, axis=1)[apart].min() > 2.0:
            out.append(x)
    return np.array(out)


def _placed(topology: Topology, rng: np.random.Generator) -> np.ndarray:
    spots = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) * 5.0
    rng.shuffle(spots)
    x = np.empty((topology.sites, 3))
    for m in range(topology.molecule.max() + 1):
        at = np.flatnonzero(topology.molecule == m)
        shape = np.array([[0.0, 0, 0], [1.4, 0.5, 0], [2.6, -0.4, 0.6], [3.9, 0.5, 0.1]])
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        x[at] = spots[m] + shape[: len(at)] @ turn + 0.08 * rng.normal(size=(len(at), 3))
    return x
