"""Trajectories of small flexible molecules that the tests share, in every format that is tested."""

from pathlib import Path
import warnings

import numpy as np

from bayescg.units import KCAL

EDGES = np.array([18.0, 19.0, 20.0])
NAMES = ("C1", "H1", "C2", "H2", "O1", "HO")
MASSES = np.array([12.011, 1.008, 12.011, 1.008, 15.999, 1.008])
TYPES = {"C": 1, "H": 2, "O": 3}
BONDS = np.array([(0, 1), (0, 2), (2, 3), (2, 4), (4, 5)])
SIZE = len(NAMES)

#: Two beads a molecule: their atoms, counted in the molecule.
BEADS = {"A": [0, 1], "B": [2, 3, 4, 5]}
MAP = """\
temperature: 300
molecules:
  MOL:
    beads:
      A: [C1, H1]
      B: [C2, H2, O1, HO]
    bonds: {AB: [A, B]}
"""
#: The same for files without names.
MAP_BY_NUMBER = """\
temperature: 300
molecules:
  MOL:
    select: all
    beads:
      A: {numbers: [1, 2]}
      B: {numbers: 3-6}
    bonds: {AB: [A, B]}
"""


def molecules(frames: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whole molecules anywhere in and around the box, and forces: ``(frame, atom, axis)`` each.

    :return: angstrom, and kcal/mol/angstrom.
    """
    rng = np.random.default_rng(seed)
    x = np.zeros((frames, count, SIZE, 3))
    x[:, :, 0] = rng.uniform(-1.0, 2.0, (frames, count, 3)) * EDGES
    for a, b in BONDS:
        step = rng.normal(size=(frames, count, 3))
        length = rng.uniform(1.0, 1.5, (frames, count, 1))
        x[:, :, b] = x[:, :, a] + length * step / np.linalg.norm(step, axis=-1, keepdims=True)
    forces = rng.normal(scale=10.0, size=x.shape)
    return x.reshape(frames, -1, 3), forces.reshape(frames, -1, 3)


def wrapped(x: np.ndarray) -> np.ndarray:
    return x - EDGES * np.floor(x / EDGES)


def mapped(
    values: np.ndarray, weights: str | None, beads: dict[str, list[int]] = BEADS
) -> np.ndarray:
    """Sites by loops over molecules, beads and atoms; sums where there are no weights."""
    out = []
    for frame in values:
        sites = []
        for first in range(0, len(frame), SIZE):
            for atoms in beads.values():
                total, norm = np.zeros(3), 0.0
                for k in atoms:
                    w = MASSES[k] if weights == "mass" else 1.0
                    total, norm = total + w * frame[first + k], norm + w
                sites.append(total if weights is None else total / norm)
        out.append(sites)
    return np.array(out)


def apart(x: np.ndarray, y: np.ndarray, edges: np.ndarray = EDGES) -> float:
    """The largest distance along an axis between the nearest images of two sets of positions."""
    gap = x - y
    return float(np.abs(gap - edges * np.round(gap / edges)).max())


def write(
    kind: str, folder: Path, x: np.ndarray, forces: np.ndarray | None = None, name: str = "traj"
) -> tuple[Path, Path]:
    """A topology and a trajectory, ``(frame, atom, axis)``, of one of the formats."""
    if kind == "lammps":
        return write_data(folder, x[0]), write_dump(folder / f"{name}.lammpsdump", x, forces)
    import MDAnalysis as mda

    count = x.shape[1] // SIZE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = mda.Universe.empty(
            SIZE * count,
            n_residues=count,
            atom_resindex=np.repeat(np.arange(count), SIZE),
            trajectory=True,
            forces=forces is not None,
        )
        universe.add_TopologyAttr("names", list(NAMES) * count)
        universe.add_TopologyAttr("resnames", ["MOL"] * count)
        universe.add_TopologyAttr("resids", np.arange(1, count + 1))
        universe.dimensions = [*EDGES, 90.0, 90.0, 90.0]
        universe.atoms.positions = x[0]
        top = folder / "top.gro"
        universe.atoms.write(str(top))
        path = folder / f"{name}.{kind}"
        options = {"forces": True} if kind == "ncdf" and forces is not None else {}
        with mda.Writer(str(path), universe.atoms.n_atoms, multiframe=True, **options) as out:
            for k, frame in enumerate(x):
                universe.trajectory.ts.frame = k
                universe.trajectory.ts.time = float(k)
                universe.atoms.positions = frame
                if forces is not None:
                    universe.atoms.forces = forces[k] * KCAL
                out.write(universe.atoms)
    return top, path


def write_data(folder: Path, x: np.ndarray) -> Path:
    """A data file of LAMMPS, with masses, molecules and bonds."""
    count = len(x) // SIZE
    lines = ["LAMMPS data file of a test, units = real", "", f"{len(x)} atoms"]
    lines += [f"{count * len(BONDS)} bonds", "3 atom types", "1 bond types", ""]
    lines += [f"0 {edge!r} {a}lo {a}hi" for a, edge in zip("xyz", EDGES.tolist(), strict=True)]
    lines += ["", "Masses", "", "1 12.011", "2 1.008", "3 15.999", "", "Atoms # full", ""]
    for i, position in enumerate(x):
        kind = TYPES[NAMES[i % SIZE][0]]
        place = " ".join(repr(float(v)) for v in position)
        lines.append(f"{i + 1} {i // SIZE + 1} {kind} 0.0 {place}")
    lines += ["", "Bonds", ""]
    for k in range(count):
        for a, b in BONDS:
            lines.append(f"{len(lines)} 1 {k * SIZE + a + 1} {k * SIZE + b + 1}")
    path = folder / "data.system"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_dump(path: Path, x: np.ndarray, forces: np.ndarray | None = None) -> Path:
    """A dump of LAMMPS whose atoms come in another order, and whose box starts elsewhere."""
    origin = np.array([-3.0, 1.0, 5.0])
    order = np.random.default_rng(1).permutation(x.shape[1])
    lines = []
    for k, frame in enumerate(x):
        lines += ["ITEM: TIMESTEP", str(100 * k), "ITEM: NUMBER OF ATOMS", str(len(frame))]
        lines += ["ITEM: BOX BOUNDS pp pp pp"]
        lines += [
            f"{a!r} {b!r}" for a, b in zip(origin.tolist(), (origin + EDGES).tolist(), strict=True)
        ]
        lines += ["ITEM: ATOMS id x y z" + ("" if forces is None else " fx fy fz")]
        for i in order:
            numbers = [*(frame[i] + origin), *([] if forces is None else forces[k, i])]
            lines.append(f"{i + 1} " + " ".join(f"{v:.8f}" for v in numbers))
    path.write_text("\n".join(lines) + "\n")
    return path
