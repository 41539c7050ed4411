"""Models to export, and their energies and forces straight from the formulas of their potentials."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bayescg.io.export import ExportModel, Interaction
from bayescg.topology import Bonded, Topology, pair_name

EDGE = 24.0
NEAREST = 3.65  # angstrom, of sites that interact in pairs
KNOWN = {"pair A_A": 3.3, "pair A_B": 3.0, "pair B_B": 3.6}
CUTOFF = {"pair A_A": 9.0, "pair A_B": 8.0, "pair B_B": 10.0}


Formula = Callable[[np.ndarray], np.ndarray]


def lennard_jones(epsilon: float, sigma: float, cutoff: float) -> Formula:
    """Taken smoothly to zero over the last angstrom."""

    def u(r: np.ndarray) -> np.ndarray:
        s6 = (sigma / r) ** 6
        t = np.clip(r - (cutoff - 1.0), 0.0, 1.0)
        fade = 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)
        return np.where(r < cutoff, 4.0 * epsilon * (s6 * s6 - s6) * fade, 0.0)

    return u


def soft(r: np.ndarray) -> np.ndarray:
    """Ends at 8 angstrom with its force."""
    return np.where(r < 8.0, 8.0 * np.exp(-r) * (8.0 - r) ** 3 - 0.02 * (8.0 - r) ** 2, 0.0)


FORMULAS: dict[str, Formula] = {
    "pair A_A": lennard_jones(0.4, 3.8, 9.0),
    "pair A_B": soft,
    "pair B_B": lennard_jones(0.2, 4.2, 10.0),
    "bond A_B": lambda r: 30.0 * (r - 3.0) ** 2 - 4.0 * (r - 3.0) ** 3,
    "bond stiff": lambda r: 60.0 * (r - 2.6) ** 2,
    "angle A_B_A": lambda q: 6.0 * (q - 2.0) ** 2 + np.sin(3.0 * q),
    "angle B_A_B": lambda q: 4.0 * (np.cos(q) + 0.4) ** 2,
    # Odd parts tell the two senses of rotation apart.
    "dihedral turn": lambda q: 1.2 * np.cos(q) + 0.8 * np.sin(q) + 0.5 * np.sin(2.0 * q + 0.3),
}
RANGES = {
    "bond A_B": (2.5, 3.6),
    "bond stiff": (2.3, 2.9),
    "angle A_B_A": (1.2, 2.9),
    "angle B_A_B": (1.0, 3.0),
    "dihedral turn": (-np.pi, np.pi),
}


def interaction(label: str, **changes: Any) -> Interaction:
    """By its label; ``known`` and ``energy`` may be others."""
    kind, name = label.split(" ")
    known = (KNOWN[label], CUTOFF[label]) if kind == "pair" else RANGES[label]
    given: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "types": tuple(name.split("_")) if kind == "pair" else (),
        "energy": FORMULAS[label],
        "known": known,
        "cutoff": CUTOFF.get(label, np.inf),
    }
    return Interaction(**(given | changes))


def coordinate(kind: str, x: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Lengths, angles, and dihedrals by the convention of IUPAC; ``x (site, axis)``."""

    def along(a: int, b: int) -> np.ndarray:
        d = x[members[:, b]] - x[members[:, a]]
        return d - EDGE * np.round(d / EDGE)

    def length(d: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum(d * d, -1))

    if kind == "bond":
        return length(along(0, 1))
    if kind == "angle":
        a, b = along(1, 0), along(1, 2)
        return np.arccos(np.sum(a * b, -1) / length(a) / length(b))
    b1, b2, b3 = along(0, 1), along(1, 2), along(2, 3)
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    c = np.sum(n1 * n2, -1) / length(n1) / length(n2)
    return np.where(np.sum(b1 * n2, -1) < 0.0, -1.0, 1.0) * np.arccos(np.clip(c, -1.0, 1.0))


def energy_of(model: ExportModel) -> Callable[[np.ndarray], float]:
    """kcal/mol, of one configuration ``(site, axis)``, from ``FORMULAS`` alone."""
    t = model.topology
    free = np.ones((t.sites, t.sites), bool)
    if len(t.exclusion):
        free[tuple(t.exclusion.T)] = free[tuple(t.exclusion.T[::-1])] = False
    first, second = np.nonzero(np.triu(free, 1))
    labels = np.array(
        [f"pair {pair_name(t.types[i], t.types[j])}" for i, j in zip(first, second, strict=True)]
    )
    terms = []
    for i in model.interactions:
        at = labels == i.label
        members = np.stack([first[at], second[at]], 1)
        if i.kind != "pair":
            members = t.bonded()[i.kind].of(i.name)
        terms.append(("bond" if i.kind == "pair" else i.kind, members, FORMULAS[i.label]))

    def energy(x: np.ndarray) -> float:
        return sum(float(u(coordinate(kind, x, members)).sum()) for kind, members, u in terms)

    return energy


def energies_and_forces(model: ExportModel, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``frames (frame, site, axis)``: ``(frame,)`` and ``(frame, site, axis)``, by differences."""
    energy, h = energy_of(model), 1e-4
    forces = np.zeros_like(frames)
    for f, x in zip(forces, frames, strict=True):
        for at in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[at] = h
            f[at] = (energy(x - step) - energy(x + step)) / (2.0 * h)
    return np.array([energy(x) for x in frames]), forces


def chains(
    molecules: int = 6, length: int = 6, excluded: int = 3, extra: bool = False
) -> ExportModel:
    """Chains A-B-A-B-..., the last bond stiff.

    :param excluded: pairs so many bonds apart and nearer do not interact.
    :param extra: exclude the first and the last site but one of every chain, too.
    """
    types, bonds, angles, dihedrals, lost = [], [], [], [], []
    for m in range(molecules):
        at = m * length
        types += ["AB"[k % 2] for k in range(length)]
        bonds += [
            (at + k, at + k + 1, "stiff" if k == length - 2 else "A_B") for k in range(length - 1)
        ]
        angles += [
            (at + k, at + k + 1, at + k + 2, "A_B_A" if k % 2 == 0 else "B_A_B")
            for k in range(length - 2)
        ]
        dihedrals += [
            (at + k, at + k + 1, at + k + 2, at + k + 3, "turn") for k in range(length - 3)
        ]
        lost += [(at + k, at + k + d) for d in range(1, excluded + 1) for k in range(length - d)]
        lost += [(at, at + length - 2)] * extra
    tables = {
        kind: Bonded(np.array([row[:-1] for row in rows], int), tuple(row[-1] for row in rows))
        for kind, rows in (("bond", bonds), ("angle", angles), ("dihedral", dihedrals))
    }
    mass = np.where(np.array(types) == "A", 28.0, 44.0)
    topology = Topology(
        tuple(types),
        mass,
        np.repeat(np.arange(molecules), length),
        exclusion=np.array(lost, int).reshape(-1, 2),
        **tables,
    )
    return ExportModel(
        topology,
        np.full(3, EDGE),
        300.0,
        places(molecules, length, seed=0),
        tuple(interaction(label) for label in FORMULAS),
        title="chains of two bead types",
        provenance=("made by a test",),
    )


def places(molecules: int = 6, length: int = 6, *, seed: int) -> np.ndarray:
    """Chains on a lattice, bent at random, so that no potential is asked for what it does not know."""
    rng = np.random.default_rng(seed)
    spots = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    x = np.zeros((0, 3))
    for spot in spots[:molecules]:
        while True:
            new = (spot + rng.uniform(0.2, 0.8, 3)) * (EDGE / 3.0) + _bent(rng, length)
            d = new[:, None] - x
            d -= EDGE * np.round(d / EDGE)
            if np.all(np.sum(d * d, -1) > NEAREST**2):
                break
        x = np.concatenate([x, new])
    return x


def _bent(rng: np.random.Generator, length: int) -> np.ndarray:
    """One chain; its sites are apart from the third neighbour on."""
    while True:
        x = [np.zeros(3), np.array([rng.uniform(2.7, 3.4), 0.0, 0.0])]
        for k in range(length - 2):
            b = x[-1] - x[-2]
            b /= np.linalg.norm(b)
            side = np.cross(b, rng.normal(size=3))
            side /= np.linalg.norm(side)
            bend = rng.uniform(0.4, 1.5)
            size = rng.uniform(2.4, 2.8) if k == length - 3 else rng.uniform(2.7, 3.4)
            x.append(x[-1] + size * (np.cos(bend) * b + np.sin(bend) * side))
        out = np.array(x)
        first, second = np.triu_indices(length, 3)
        if np.linalg.norm(out[first] - out[second], axis=1).min() > NEAREST:
            return out - out.mean(0)
