"""From a map file and the atoms at hand to sites: coefficients, topology, molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bayescg.io.map_spec import TERMS, BeadSpec, MapSpec, MoleculeSpec, one_of
from bayescg.io.trajectories import Trajectory
from bayescg.mapping.linear import LinearMap
from bayescg.topology import Bonded, Topology

__all__ = ["MappedSites", "map_sites"]


@dataclass(frozen=True, eq=False)
class MappedSites:
    """What a map means for the atoms of a topology.

    :param restriction: of the atoms to the sites.
    :param topology: of the sites; molecules are numbered by their first atoms.
    :param molecules: the atoms of the molecules of each type, ``(molecule, atom)``.
    :param names: of those types.
    """

    restriction: LinearMap
    topology: Topology
    molecules: tuple[np.ndarray, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Template:
    """One type of molecule: its beads in terms of its atoms, both counted within the molecule."""

    spec: MoleculeSpec
    groups: np.ndarray  # (molecule, atom)
    bead: np.ndarray  # (entry,)
    atom: np.ndarray  # (entry,)
    weight: np.ndarray  # (entry,), c
    force: np.ndarray  # (entry,), d / c
    mass: np.ndarray  # (bead,)


def map_sites(spec: MapSpec, trajectory: Trajectory) -> MappedSites:
    """The sites that a map makes of the atoms of a topology.

    :raises ValueError: if a selection matches nothing or cannot be read, molecules of one type
        differ, atoms are in no or in several beads without leave, or a mass is not positive,
        naming the file of the map and the term.
    """
    owner = np.full(trajectory.atoms, -1)
    templates = []
    for number, molecule in enumerate(spec.molecules):
        where = f"{spec.source}: molecule {molecule.name!r}"
        chosen = _selected(trajectory, molecule.select, f"{where}: select", None)
        _claim(owner, chosen, number, spec, trajectory, where)
        groups = _split(molecule, chosen, trajectory, where)
        templates.append(_template(molecule, groups, trajectory, where))
    if spec.ignore is not None:
        where = f"{spec.source}: ignore"
        chosen = _selected(trajectory, spec.ignore, where, None)
        _claim(owner, chosen, len(spec.molecules), spec, trajectory, where)
    lost = np.flatnonzero(owner < 0)
    if lost.size:
        raise ValueError(
            f"{spec.source}: {lost.size} of {trajectory.atoms} atoms of {trajectory.top} are in no "
            f"molecule, {trajectory.label(lost[0])} for one; select them, or name them under ignore."
        )
    return _assembled(templates, trajectory.atoms)


def _selected(
    trajectory: Trajectory, selection: str, where: str, among: np.ndarray | None
) -> np.ndarray:
    try:
        found = trajectory.select(selection, among)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not found.size:
        known = trajectory.residue_names
        has = f"; its residues are {', '.join(known[:8])}" if known else ""
        raise ValueError(f"{where}: {selection!r} matches no atom of {trajectory.top}{has}.")
    return found


def _claim(
    owner: np.ndarray,
    chosen: np.ndarray,
    number: int,
    spec: MapSpec,
    trajectory: Trajectory,
    where: str,
) -> None:
    taken = chosen[owner[chosen] >= 0]
    if taken.size:
        other = spec.molecules[owner[taken[0]]].name
        raise ValueError(
            f"{where} has {taken.size} atoms that molecule {other!r} has too, "
            f"{trajectory.label(taken[0])} for one; each may be in one."
        )
    owner[chosen] = number


def _split(
    spec: MoleculeSpec, chosen: np.ndarray, trajectory: Trajectory, where: str
) -> np.ndarray:
    """The atoms of each molecule, ``(molecule, atom)``, and that all are alike."""
    if isinstance(spec.split, int):
        if len(chosen) % spec.split:
            raise ValueError(
                f"{where}: its {len(chosen)} atoms cannot be split into molecules of {spec.split}."
            )
        groups = chosen.reshape(-1, spec.split)
    else:
        try:
            labels = trajectory.molecules(spec.split)[chosen]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        order = np.argsort(labels, kind="stable")
        counts = np.unique(labels, return_counts=True)[1]
        other = np.flatnonzero(counts != counts[0])
        if other.size:
            at = int(other[0])
            odd = chosen[order[counts[:at].sum()]]
            raise ValueError(
                f"{where}: its molecules have different numbers of atoms, {counts[0]} in the first "
                f"and {counts[at]} in number {at + 1} (from {trajectory.label(odd)}); allowed are "
                "molecules of one kind."
            )
        groups = chosen[order].reshape(-1, int(counts[0]))
    for what, values in (("name", trajectory.names), ("mass", trajectory.masses)):
        if values is None:
            continue
        row = values[groups]
        wrong = row != row[0]
        if wrong.any():
            i, k = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            raise ValueError(
                f"{where}: atom {k + 1} has the {what} {row[i, k]} in molecule {i + 1} and "
                f"{row[0, k]} in the first; allowed are molecules of one kind, with their atoms "
                "in one order."
            )
    return groups


def _template(
    spec: MoleculeSpec, groups: np.ndarray, trajectory: Trajectory, where: str
) -> _Template:
    places = [
        _places(bead, groups, trajectory, f"{where}, bead {bead.name!r}") for bead in spec.beads
    ]
    uses = np.bincount(np.concatenate(places), minlength=groups.shape[1])
    _check_uses(spec, groups, places, uses, trajectory, where)
    weights, forces, masses = [], [], []
    for bead, atoms in zip(spec.beads, places, strict=True):
        here = f"{where}, bead {bead.name!r}"
        mass = trajectory.masses[groups[0, atoms]]
        for atom, m in zip(groups[0, atoms], mass, strict=True):
            if not 0.0 < m < np.inf:
                raise ValueError(
                    f"{here}: the mass of {trajectory.label(atom)} is {m:g}; allowed are positive "
                    "masses (g/mol), which masses in the map may give, and atoms without mass are "
                    "left out of the bead."
                )
        c = _normalised(bead.weights, mass, f"{here}: weights")
        own = uses[atoms] == 1
        if not own.any():
            raise ValueError(
                f"{here} shares all its atoms with other beads; allowed are beads with at least one "
                "atom of their own."
            )
        if bead.force_weights is None:
            forces.append(own / c[own].sum())
        else:
            d = _normalised(bead.force_weights, mass, f"{here}: force_weights")
            if (d[~own] != 0.0).any():
                raise ValueError(f"{here}: force_weights must be 0 for atoms of several beads.")
            forces.append(d / c)
        weights.append(c)
        if isinstance(bead.mass, str):
            consistent = bead.mass == "consistent"
            masses.append(1.0 / (c**2 / mass).sum() if consistent else mass.sum())
        else:
            masses.append(bead.mass)
    return _Template(
        spec,
        groups,
        np.repeat(np.arange(len(places)), [len(p) for p in places]),
        np.concatenate(places),
        np.concatenate(weights),
        np.concatenate(forces),
        np.array(masses, float),
    )


def _normalised(weights: str | tuple[float, ...], mass: np.ndarray, where: str) -> np.ndarray:
    if isinstance(weights, str):
        values = mass if weights == "mass" else np.ones_like(mass)
    else:
        values = np.array(weights, float)
    if len(values) != len(mass):
        raise ValueError(
            f"{where} are {len(values)} numbers; allowed is one for each of {len(mass)} atoms."
        )
    return values / values.sum()


def _places(bead: BeadSpec, groups: np.ndarray, trajectory: Trajectory, where: str) -> np.ndarray:
    """The atoms of a bead, counted within the molecule, in the order of its weights."""
    if isinstance(bead.atoms, str):
        return _matching(bead.atoms, groups, trajectory, where)
    size = groups.shape[1]
    if isinstance(bead.atoms[0], int):
        numbers = np.array(bead.atoms, int)
        if numbers.max() > size:
            raise ValueError(
                f"{where}: atom number {numbers.max()}; allowed are 1 to {size}, the atoms of one "
                "molecule."
            )
        return numbers - 1
    return np.array([_named(str(n), groups, trajectory, where) for n in bead.atoms], int)


def _matching(selection: str, groups: np.ndarray, trajectory: Trajectory, where: str) -> np.ndarray:
    chosen = np.zeros(trajectory.atoms, bool)
    chosen[_selected(trajectory, selection, where, np.sort(groups.ravel()))] = True
    row = chosen[groups]
    wrong = row != row[0]
    if wrong.any():
        i, k = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise ValueError(
            f"{where}: {selection!r} does not choose the same atoms in every molecule, "
            f"{trajectory.label(groups[i, k])} for one; allowed is a choice by names, types or the "
            "like, and numbers for places in the molecule."
        )
    return np.flatnonzero(row[0])


def _named(name: str, groups: np.ndarray, trajectory: Trajectory, where: str) -> int:
    if trajectory.names is None:
        raise ValueError(
            f"{where}: {trajectory.top} has no names of atoms; allowed are a selection, as in "
            "`type 1 2`, and numbers for places in the molecule."
        )
    names = [str(n) for n in trajectory.names[groups[0]]]
    if names.count(name) != 1:
        if name in names:
            raise ValueError(
                f"{where}: {names.count(name)} atoms of a molecule are called {name!r}; allowed is "
                "one, or a selection, or numbers for places in the molecule."
            )
        raise ValueError(f"{where}: no atom is called {one_of(name, list(dict.fromkeys(names)))}")
    return names.index(name)


def _check_uses(
    spec: MoleculeSpec,
    groups: np.ndarray,
    places: Sequence[np.ndarray],
    uses: np.ndarray,
    trajectory: Trajectory,
    where: str,
) -> None:
    def say(atom: int) -> str:
        return trajectory.label(groups[0, atom])

    shared = np.zeros(len(uses), bool)
    if isinstance(spec.shared, str):
        shared[_matching(spec.shared, groups, trajectory, f"{where}: shared")] = True
    else:
        for name in spec.shared:
            shared[_named(name, groups, trajectory, f"{where}: shared")] = True
    twice = np.flatnonzero((uses > 1) & ~shared)
    if twice.size:
        beads = [b.name for b, atoms in zip(spec.beads, places, strict=True) if twice[0] in atoms]
        raise ValueError(
            f"{where}: {say(twice[0])} is in the beads {' and '.join(beads)}; allowed is one, "
            "unless the atom is named under shared."
        )
    idle = np.flatnonzero(shared & (uses < 2))
    if idle.size:
        raise ValueError(
            f"{where}: shared names {say(idle[0])}, which is in {uses[idle[0]]} beads."
        )
    lost = np.flatnonzero(uses == 0)
    if lost.size and not spec.unmapped:
        raise ValueError(
            f"{where}: {lost.size} of its {len(uses)} atoms are in no bead, {say(lost[0])} for one; "
            "put them into beads, or say `unmapped: allowed`."
        )


def _excluded(spec: MoleculeSpec) -> np.ndarray:
    """Pairs of beads of a molecule without non-bonded interaction, ``(pair, 2)``."""
    place = {bead.name: k for k, bead in enumerate(spec.beads)}
    if not isinstance(spec.exclusions, int):
        pairs = {tuple(sorted((place[a], place[b]))) for a, b in spec.exclusions}
        return np.array(sorted(pairs), int).reshape(-1, 2)
    joined = np.eye(len(place), dtype=bool)
    for terms in spec.terms().values():
        for term in terms:
            for a, b in pairwise(term.beads):
                joined[place[a], place[b]] = joined[place[b], place[a]] = True
    near = np.eye(len(place), dtype=bool)
    for _ in range(spec.exclusions):
        reached = near @ joined
        if (reached == near).all():
            break
        near = reached
    return np.argwhere(np.triu(near, 1))


def _assembled(templates: Sequence[_Template], atoms: int) -> MappedSites:
    """All molecules of all types, in the order of their first atoms."""
    first = np.concatenate([t.groups[:, 0] for t in templates])
    beads = np.concatenate([np.full(len(t.groups), len(t.mass)) for t in templates])
    order = np.argsort(first)
    start = np.zeros(len(order), int)  # the first site of each molecule
    start[order] = np.cumsum(beads[order]) - beads[order]
    number = np.zeros(len(order), int)
    number[order] = np.arange(len(order))
    sites = int(beads.sum())

    types, mass, molecule = np.empty(sites, object), np.zeros(sites), np.zeros(sites, int)
    entries: list[list[np.ndarray]] = [[], [], [], []]
    members: dict[str, list[np.ndarray]] = {kind: [] for kind in (*TERMS, "exclusions")}
    names: dict[str, list[str]] = {kind: [] for kind in TERMS}
    done = 0
    for t in templates:
        here = start[done : done + len(t.groups), None]
        every = here + np.arange(len(t.mass))
        types[every] = [bead.type for bead in t.spec.beads]
        mass[every] = t.mass
        molecule[every] = number[done : done + len(t.groups), None]
        done += len(t.groups)
        shape = (len(t.groups), len(t.bead))
        parts = (here + t.bead, t.groups[:, t.atom], t.weight, t.force)
        for column, part in zip(entries, parts, strict=True):
            column.append(np.broadcast_to(part, shape).ravel())
        place = {bead.name: k for k, bead in enumerate(t.spec.beads)}
        for kind, terms in t.spec.terms().items():
            for term in terms:
                members[kind].append(here + np.array([place[b] for b in term.beads]))
                names[kind] += [term.name] * len(t.groups)
        for pair in _excluded(t.spec):
            members["exclusions"].append(here + pair)
    tables = {
        kind: np.concatenate(found) if found else np.zeros((0, TERMS.get(kind, 2)), int)
        for kind, found in members.items()
    }
    site, atom, weight, force = map(np.concatenate, entries)
    return MappedSites(
        LinearMap(atoms, sites, site, atom, weight, force),
        Topology(
            tuple(map(str, types)),
            mass,
            molecule,
            bond=Bonded(tables["bonds"], tuple(names["bonds"])),
            angle=Bonded(tables["angles"], tuple(names["angles"])),
            dihedral=Bonded(tables["dihedrals"], tuple(names["dihedrals"])),
            exclusion=tables["exclusions"],
        ),
        tuple(t.groups for t in templates),
        tuple(t.spec.name for t in templates),
    )
