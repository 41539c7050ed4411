"""Flexible molecules: OPLS-AA term by term against plain NumPy, conditions, and short runs with OpenMM."""

from dataclasses import replace
import importlib.util
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bayescg.engines.flexible import GROUPS, FlexibleRun, openmm_system, simulate
from bayescg.engines.force_field import Atom, ForceField, Molecule
from bayescg.units import KCAL

COULOMB = 332.06371  # kcal/mol angstrom/e^2
SMALL = FlexibleRun(
    molecules=8,
    box=12.0,
    cutoff=5.0,
    timestep=2.0,
    equilibration=0.1,
    length=0.2,
    interval=0.1,
)


def generator() -> ModuleType:
    """The script that made the data, which holds the parameters."""
    path = Path(__file__).parents[2] / "data/hexane/make.py"
    spec = importlib.util.spec_from_file_location("make_hexane", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = generator()


def distorted(molecule: Molecule, size: float = 0.1) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=molecule.shape.shape)
    moved: np.ndarray = molecule.shape + size * noise
    return moved


def atoms_of(molecule: Molecule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    atoms = [molecule.field.atoms[t] for t in molecule.types]
    q, s, e = np.array([(a.charge, a.sigma, a.epsilon) for a in atoms]).T
    return q, s, e


def between(molecule: Molecule, x: np.ndarray, y: np.ndarray, shift: Any = 0.0) -> np.ndarray:
    """Coulomb plus Lennard-Jones of every pair of atoms, geometric means, ``(atom, atom)``."""
    q, s, e = atoms_of(molecule)
    r = np.linalg.norm(x[:, None] - y[None] + shift, axis=-1)
    r = np.where(r > 0.0, r, np.inf)
    six = (np.sqrt(np.outer(s, s)) / r) ** 6
    pairs: np.ndarray = COULOMB * np.outer(q, q) / r
    pairs += 4.0 * np.sqrt(np.outer(e, e)) * (six * six - six)
    return pairs


def apart(molecule: Molecule) -> np.ndarray:
    """Bonds between each two atoms."""
    n = len(molecule.types)
    near = np.eye(n, dtype=int)
    for i, j in molecule.bonds:
        near[i, j] = near[j, i] = 1
    bonds = np.full((n, n), 99)
    for k in range(n, -1, -1):
        bonds[np.linalg.matrix_power(near, k) > 0] = k
    return bonds


def by_numpy(x: np.ndarray, molecule: Molecule) -> dict[str, float]:
    """The energy of one alkane, kcal/mol, its parameters written here a second time."""
    bonds = apart(molecule)
    hydrogen = [name.startswith("H") for name in molecule.names]
    total = dict.fromkeys(GROUPS, 0.0)
    for i, j in np.argwhere(np.triu(bonds == 1)):
        k, length = (340.0, 1.09) if hydrogen[i] or hydrogen[j] else (268.0, 1.529)
        total["bonds"] += k * (np.linalg.norm(x[i] - x[j]) - length) ** 2
    n = len(x)
    for k in range(n):
        ends = np.flatnonzero(bonds[k] == 1)
        for i in ends:
            for j in ends[ends > i]:
                u, v = x[i] - x[k], x[j] - x[k]
                angle = np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
                constants = ((58.35, 112.7), (37.5, 110.7), (33.0, 107.8))
                stiff, rest = constants[hydrogen[i] + hydrogen[j]]
                total["angles"] += stiff * (angle - np.deg2rad(rest)) ** 2
    for j, k in np.argwhere(np.triu(bonds == 1)):
        for i in np.flatnonzero(bonds[j] == 1):
            for m in np.flatnonzero(bonds[k] == 1):
                if i == k or m == j:
                    continue
                b = np.diff(x[[i, j, k, m]], axis=0)
                one, other = np.cross(b[0], b[1]), np.cross(b[1], b[2])
                phi = np.arctan2(np.linalg.norm(b[1]) * b[0] @ other, one @ other)
                v = ((1.3, -0.05, 0.2), (0.0, 0.0, 0.3), (0.0, 0.0, 0.3))
                v1, v2, v3 = v[hydrogen[i] + hydrogen[m]]
                total["torsions"] += 0.5 * v1 * (1.0 + np.cos(phi))
                total["torsions"] += 0.5 * v2 * (1.0 - np.cos(2.0 * phi))
                total["torsions"] += 0.5 * v3 * (1.0 + np.cos(3.0 * phi))
    weight = np.select([bonds <= 2, bonds == 3], [0.0, 0.5], 1.0)
    total["nonbonded"] = 0.5 * float(np.sum(weight * between(molecule, x, x)))
    return total


def context_of(system: Any, x: np.ndarray) -> Any:
    mm = pytest.importorskip("openmm")
    platform = mm.Platform.getPlatformByName("Reference")
    context = mm.Context(system, mm.VerletIntegrator(0.001), platform)
    context.setPositions(0.1 * x)
    return context


def energy(context: Any, *groups: str) -> float:
    """kcal/mol."""
    chosen = {GROUPS.index(g) for g in groups or GROUPS}
    value: float = context.getState(getEnergy=True, groups=chosen).getPotentialEnergy()._value
    return value / KCAL


def test_parts_of_hexane() -> None:
    molecule = MAKE.alkane(6)
    assert {kind: len(terms) for kind, terms in molecule.terms.items()} == {
        "bonds": 19,
        "angles": 36,
        "torsions": 45,
    }
    assert molecule.masses.sum() == pytest.approx(86.178)
    assert abs(atoms_of(molecule)[0].sum()) < 1e-12
    r = np.linalg.norm(molecule.shape[:, None] - molecule.shape, axis=-1)
    lengths = [r[i, j] for i, j in molecule.bonds]
    np.testing.assert_allclose(sorted(lengths), [1.09] * 14 + [1.529] * 5, rtol=1e-9)
    assert np.sort(r[apart(molecule) == 2]).min() > 1.7  # two hydrogens of one carbon


@pytest.mark.parametrize("carbons", [4, 6])
def test_energy_term_by_term(carbons: int) -> None:
    molecule = MAKE.alkane(carbons)
    x = distorted(molecule)
    context = context_of(openmm_system(molecule, 1, None, 10.0, constrained=False), x)
    for group, ours in by_numpy(x, molecule).items():
        assert energy(context, group) == pytest.approx(ours, rel=1e-6), group
        assert abs(ours) > 0.3


def test_two_molecules() -> None:
    """All pairs between them, carbon with hydrogen at the geometric mean too."""
    molecule = MAKE.alkane(6)
    x = distorted(molecule, 0.05)
    other = x + np.array([1.0, 4.2, 1.5])
    context = context_of(
        openmm_system(molecule, 2, None, 10.0, constrained=False), np.concatenate([x, other])
    )
    pairs = between(molecule, x, other)
    expected = 2.0 * by_numpy(x, molecule)["nonbonded"] + pairs.sum()
    assert energy(context, "nonbonded") == pytest.approx(expected, rel=1e-6)
    _, s, e = atoms_of(molecule)
    arithmetic = (0.5 * np.add.outer(s, s) / np.linalg.norm(x[:, None] - other, axis=-1)) ** 6
    lorentz = np.sum(4.0 * np.sqrt(np.outer(e, e)) * (arithmetic**2 - arithmetic))
    assert abs(lorentz - pairs.sum()) > 0.1  # so that the rule is seen


def liquid_of_three_kinds() -> tuple[Molecule, np.ndarray]:
    """Neutral rods of three kinds of atoms, hydrogen not the largest."""
    field = ForceField(
        atoms={
            "C": Atom("C", 12.0, 0.0, 3.5, 0.07),
            "O": Atom("O", 16.0, 0.0, 3.0, 0.17),
            "H": Atom("H", 1.0, 0.0, 2.5, 0.03),
        },
        bonds={"C-C": (300.0, 1.5), "C-O": (300.0, 1.4), "C-H": (300.0, 1.1)},
        angles={"C-C-O": (50.0, 110.0), "C-C-H": (40.0, 110.0), "H-C-H": (33.0, 108.0)},
        torsions={"H-C-C-O": (0.0, 0.0, 0.3)},
    )
    shape = np.array(
        [[0, 0, 0], [-0.4, 1, 0], [-0.4, -0.5, 0.9], [-0.4, -0.5, -0.9], [1.5, 0, 0], [2, 1.3, 0.0]]
    )
    bonds = ((0, 1), (0, 2), (0, 3), (0, 4), (4, 5))
    molecule = Molecule(tuple("CHHHCO"), tuple("CHHHCO"), bonds, shape, field)
    spots = 6.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    turns = Rotation.random(27, rng=np.random.default_rng(0))
    x = [p + t.apply(shape) for p, t in zip(spots, turns, strict=True)]
    return molecule, np.concatenate(x)


def test_lennard_jones_of_a_liquid() -> None:
    """Cut off, with the correction for what lies beyond, by the geometric mean for any kinds."""
    molecule, x = liquid_of_three_kinds()
    edge, cutoff, copies = 18.0, 8.0, 27
    context = context_of(openmm_system(molecule, copies, edge, cutoff), x)
    _, s, e = (np.tile(v, copies) for v in atoms_of(molecule))
    sigma, depth = np.sqrt(np.outer(s, s)), 4.0 * np.sqrt(np.outer(e, e))
    d = x[:, None] - x
    r = np.linalg.norm(d - edge * np.round(d / edge), axis=-1) + 99.0 * np.eye(len(x))
    weight = np.kron(np.eye(copies), apart(molecule))
    weight = np.select([weight == 0, weight <= 2, weight == 3], [1.0, 0.0, 0.5], 1.0)
    weight[np.arange(len(x)), np.arange(len(x))] = 0.0
    near = np.where(r < cutoff, weight * depth * ((sigma / r) ** 12 - (sigma / r) ** 6), 0.0)
    tail = (
        2.0 * np.pi / edge**3 * depth * (sigma**12 / (9 * cutoff**9) - sigma**6 / (3 * cutoff**3))
    ).sum()
    expected = 0.5 * near.sum() + tail
    assert energy(context, "nonbonded") == pytest.approx(expected, rel=1e-4)
    assert abs(tail) > 0.02 * abs(expected)


def test_gauche_and_trans_butane() -> None:
    """Relaxed around the middle bond: 0.8 kcal/mol and 3.2 over the barrier, 5.2 at cis."""
    mm = pytest.importorskip("openmm")
    molecule = MAKE.alkane(4)
    c1, c2, c3, c4 = (molecule.names.index(f"C{k}") for k in (1, 2, 3, 4))
    turned = [
        k for k, name in enumerate(molecule.names) if name == "C4" or name[:2] in ("H3", "H4")
    ]
    axis = (molecule.shape[c3] - molecule.shape[c2]) / 1.529
    found = {}
    for degrees in (180, 120, 65, 0):
        turn = Rotation.from_rotvec(axis * np.deg2rad(degrees - 180.0))
        x = molecule.shape.copy()
        x[turned] = turn.apply(x[turned] - x[c3]) + x[c3]
        system = openmm_system(molecule, 1, None, 10.0, constrained=False)
        held = mm.CustomTorsionForce("1e5*(1-cos(theta-at)); at=" + str(np.deg2rad(degrees)))
        held.addTorsion(c1, c2, c3, c4, [])
        held.setForceGroup(9)
        system.addForce(held)
        context = context_of(system, x)
        mm.LocalEnergyMinimizer.minimize(context, tolerance=0.01)
        found[degrees] = energy(context)
    relative = {k: v - found[180] for k, v in found.items()}
    assert relative[65] == pytest.approx(0.82, abs=0.05)
    assert relative[120] == pytest.approx(3.23, abs=0.05)
    assert relative[0] == pytest.approx(5.18, abs=0.05)


@pytest.mark.parametrize(("carbons", "substeps"), [(2, 1), (3, 2)])
def test_a_short_run(carbons: int, substeps: int) -> None:
    """Molecules stay whole, hydrogens at their distance, all forces are counted."""
    pytest.importorskip("openmm")
    molecule = MAKE.alkane(carbons)
    told: list[tuple[str, float]] = []
    run = replace(SMALL, substeps=substeps)
    first, second = simulate(molecule, run, 1, progress=lambda *a: told.append(a))
    for frame in (first, second):
        assert frame.stage == "production" and frame.box == pytest.approx(SMALL.box)
        x = frame.x.reshape(8, -1, 3)
        for i, j in molecule.bonds:
            length = np.linalg.norm(x[:, i] - x[:, j], axis=-1)
            if molecule.elements[j] == "H":
                np.testing.assert_allclose(length, 1.09, rtol=1e-4)
            else:
                assert np.all(np.abs(length - 1.529) < 0.2)
        context = context_of(openmm_system(molecule, 8, SMALL.box, SMALL.cutoff), frame.x)
        assert frame.potential == pytest.approx(energy(context), abs=0.05)
        exact = np.asarray(context.getState(getForces=True).getForces(asNumpy=True)._value)
        np.testing.assert_allclose(
            frame.forces, 0.1 * exact / KCAL, atol=2e-3 * np.std(frame.forces)
        )
        np.testing.assert_allclose(frame.forces.sum(0), 0.0, atol=0.01)
    moved = second.x - first.x
    assert 0.1 < np.sqrt(np.mean(moved**2)) < 1.0
    stages = [stage for stage, _ in told]
    assert stages[0] == "compression" and stages[-2:] == ["production"] * 2
    assert told[-1][1] == 1.0


def test_forces_are_the_slope_of_the_energy() -> None:
    """Of one molecule alone, by plain NumPy; constrained bonds are at rest, and pull at nothing."""
    pytest.importorskip("openmm")
    molecule = MAKE.alkane(4)
    run = replace(SMALL, molecules=1, box=40.0, cutoff=15.0, substeps=2, length=0.1)
    (frame,) = simulate(molecule, run, 3)
    slope = np.zeros_like(frame.x)
    for at in np.ndindex(*slope.shape):
        ends = []
        for step in (-1e-4, 1e-4):
            x = frame.x.copy()
            x[at] += step
            ends.append(sum(by_numpy(x, molecule).values()))
        slope[at] = (ends[1] - ends[0]) / 2e-4
    np.testing.assert_allclose(frame.forces, -slope, atol=0.05)
    assert np.std(slope) > 5.0


def test_constant_pressure_sets_the_box() -> None:
    pytest.importorskip("openmm")
    run = replace(SMALL, npt=2.0, cutoff=4.0, length=0.1)
    *before, last = simulate(MAKE.alkane(2), run, 2)
    assert [f.stage for f in before] == ["constant pressure"] * 2 and last.stage == "production"
    assert last.box == pytest.approx(np.mean([f.box for f in before]))
    assert before[1].box != SMALL.box
    assert 9.0 < last.box < 15.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"substeps": 0}, "substeps must be at least 1, got 0"),
        ({"thermostat": "nose-hoover"}, "must be langevin here, got 'nose-hoover'"),
        ({"cutoff": 6.0}, "below half the box, 6"),
    ],
)
def test_conditions_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_molecules_that_cannot_be() -> None:
    whole = MAKE.alkane(2)
    with pytest.raises(ValueError, match=r"8 atoms has 7 names and a shape \(8, 3\)"):
        replace(whole, names=whole.names[1:])
    with pytest.raises(
        ValueError, match=r"a bond joins \(0, 8\); allowed are two atoms from 0 to 7"
    ):
        replace(whole, bonds=(*whole.bonds, (0, 8)))
    with pytest.raises(
        ValueError, match="atom type 'CX' is not in the field, which has CH3, CH2, HC"
    ):
        replace(whole, types=("CX", *whole.types[1:]))
    lacking = replace(whole.field, angles={"H-C-H": (33.0, 107.8)})
    with pytest.raises(ValueError, match="no angles for H-C-C; it has H-C-H"):
        replace(whole, field=lacking)


def test_without_openmm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'bayescg\[reference\]'"):
        next(simulate(MAKE.alkane(2), SMALL, seed=0))
