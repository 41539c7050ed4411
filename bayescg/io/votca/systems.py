"""The coarse-grained system of a project: configuration and topology, from whatever files it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
import os
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg.io.votca.gromacs import Configuration, MoleculeType, read_gro, read_top
from bayescg.io.votca.lammps import read_lammps
from bayescg.io.votca.molecules import AtomName, VotcaMolecule
from bayescg.io.votca.tables import NM
from bayescg.io.votca.xml import Node, read_xml
from bayescg.topology import Bonded, Topology, variables_of

__all__ = ["Molecules", "System", "molecules_of", "read_system"]

Notice = Callable[[str], None]
#: The molecules of a system in its order, and how many of each come one after the other.
Molecules = list[tuple[MoleculeType, int]]
_KINDS = ("bond", "angle", "dihedral")


@dataclass(frozen=True, eq=False)
class System:
    """One configuration and its topology.

    :param x: ``(site, axis)``, angstrom.
    :param box: edges ``(axis,)``, angstrom.
    :param topology: its sites, and which of them are bonded.
    :param masses: whether the files give masses; the topology has ones where they do not.
    :param tables: of bonded terms that a map renamed, by kind and name: what the topology called them.
    """

    x: np.ndarray
    box: np.ndarray
    topology: Topology
    masses: bool
    tables: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def dataset(self, temperature: float, source: str) -> xr.Dataset:
        """As a data file of one frame."""
        variables = variables_of(self.topology)
        if not self.masses:
            del variables["mass"]
        out = xr.Dataset(
            {"x": (("frame", "site", "axis"), self.x[None]), "box": ("axis", self.box)}
        )
        out["x"].attrs["units"] = out["box"].attrs["units"] = "angstrom"
        return out.assign(variables).assign_attrs(temperature=temperature, source=source)


def read_system(
    configuration: str | os.PathLike[str],
    topology: str | os.PathLike[str] | None = None,
    maps: Sequence[VotcaMolecule] = (),
    types: Sequence[str] = (),
    say: Notice = lambda text: None,
) -> System:
    """Read a coarse-grained system.

    :param configuration: a ``.gro`` file or a LAMMPS data file.
    :param topology: a ``.top`` file, VOTCA's ``.xml``, or a LAMMPS data file; None: the type of a
        bead is the name that the configuration gives it, and there are no bonds.
    :param maps: which give bead types and name the bonded terms: of one atom a bead, as VOTCA reads
        the file of ``cg.inverse.map``, or of the atomistic system.
    :param types: bead types of the settings, by which those of a LAMMPS file get their names.
    :param say: is told what the files leave open.
    :raises FileNotFoundError: a file is not there.
    :raises ValueError: a file is not as it must be, or they do not go together.
    """
    suffix = Path(configuration).suffix.lower()
    box = None
    if suffix == ".gro":
        found = read_gro(configuration)
        if topology is None:
            molecules = _by_residue(found)
        elif Path(topology).suffix.lower() == ".xml":
            molecules, box = _read_xml_topology(read_xml(topology), found)
        elif Path(topology).suffix.lower() == ".top":
            molecules = read_top(topology)
        else:
            raise ValueError(f"{topology}: allowed are .top and .xml as the topology of a .gro.")
    elif suffix in (".data", ".lmp", ".dat", ".lammps"):
        found, molecules = read_lammps(configuration, types)
    else:
        raise ValueError(f"{configuration}: allowed are .gro files and LAMMPS data files (.data).")
    for molecule in maps:
        molecules = _mapped(molecules, molecule, str(topology or configuration))
    made = _topology(molecules)
    if made.sites != len(found.x):
        raise ValueError(
            f"{topology or configuration} has {made.sites} beads, {configuration} {len(found.x)}; "
            "allowed is the same number. Is the configuration the coarse-grained one?"
        )
    masses = all(m is not None for molecule, _ in molecules for m in molecule.mass)
    if not masses:
        say(f"{topology or configuration} gives no masses; the targets hold none.")
    tables: dict[tuple[str, str], frozenset[str]] = {}
    for one, _ in molecules:
        for key, names in one.tables.items():
            tables[key] = tables.get(key, frozenset()) | names
    return System(found.x, found.box if box is None else box, made, masses, tables)


def molecules_of(path: str | os.PathLike[str], spec: VotcaMolecule) -> list[AtomName]:
    """The atoms of one molecule in the order of a topology or a configuration.

    :param path: a ``.top`` or ``.gro`` file of the system that is mapped.
    :param spec: the map of that molecule.
    :raises ValueError: it has no such molecule.
    """
    if Path(path).suffix.lower() == ".top":
        for molecule, _ in read_top(path):
            if molecule.name == spec.ident:
                return molecule.atoms
        raise ValueError(f"{path} has no molecule {spec.ident!r}, which {spec.file} maps.")
    wanted = {atom.residue: atom.residue_name for bead in spec.beads for atom in bead.atoms}
    residues = [m.atoms for m, count in _by_residue(read_gro(path)) for _ in range(count)]
    length = max(wanted)
    for start in range(len(residues) - length + 1):
        window = residues[start : start + length]
        if all(window[n - 1][0].residue_name == name for n, name in wanted.items()):
            return [
                AtomName(n, atom.residue_name, atom.name)
                for n, residue in enumerate(window, 1)
                for atom in residue
            ]
    listed = ", ".join(wanted[n] for n in sorted(wanted))
    raise ValueError(f"{path} has no residues {listed} one after the other, as {spec.file} needs.")


def _by_residue(configuration: Configuration) -> Molecules:
    """Each residue a molecule, each bead of the type that is its name."""
    out: Molecules = []
    for place, atom in enumerate(configuration.atoms):
        before = configuration.atoms[place - 1] if place else None
        if before is None or (atom.residue, atom.residue_name) != (
            before.residue,
            before.residue_name,
        ):
            out.append((MoleculeType(atom.residue_name), 1))
        molecule = out[-1][0]
        molecule.atoms.append(AtomName(1, atom.residue_name, atom.name))
        molecule.types.append(atom.name)
        molecule.mass.append(None)
    return out


def _read_xml_topology(root: Node, found: Configuration) -> tuple[Molecules, np.ndarray | None]:
    """VOTCA's own topology: molecules over the beads of a configuration, or with their own."""
    if root.name != "topology":
        root.fail(f"the root is <{root.name}>; a topology of VOTCA begins with <topology>.")
    box = None
    for node in root.all("box"):
        edges = [float(node.attributes.get(f"{axis * 2}", "0")) for axis in "xyz"]
        if not min(edges) > 0:
            node.fail("box must have positive xx, yy and zz, in nm.")
        box = NM * np.array(edges)
    out: Molecules = []
    for node in root.all("molecules"):
        for child in node.children:
            if child.name == "define":
                out += _defined(child, found)
            elif child.name == "molecule":
                out.append((_own_beads(child), _whole(child, "nmols")))
            elif child.name != "clear":
                child.fail(f"<{child.name}> is not read; allowed are clear, define and molecule.")
    if not out:
        root.fail("there are no molecules; needed is <define> or <molecule>.")
    for bonded in root.all("bonded"):
        for node in bonded.children:
            _xml_term(node, [m for m, _ in out])
    for molecule, _ in out:
        pairs = {
            (min(i, j), max(i, j))
            for terms in molecule.terms.values()
            for members, _ in terms
            for i in members
            for j in members
            if i != j
        }
        molecule.exclusions = sorted(pairs)
    return out, box


def _defined(node: Node, found: Configuration) -> Molecules:
    first, beads, count = (_whole(node, key) for key in ("first", "nbeads", "nmols"))
    if first - 1 + beads * count > len(found.atoms):
        node.fail(f"{beads * count} beads from {first} on; the configuration has {len(found.x)}.")
    name = node.attributes.get("name", "")
    molecule = MoleculeType(name)
    for n in range(first - 1, first - 1 + beads):
        atom = found.atoms[n]
        molecule.atoms.append(AtomName(1, atom.residue_name, atom.name))
        molecule.types.append(atom.name)
        molecule.mass.append(None)
    return [(molecule, count)]


def _own_beads(node: Node) -> MoleculeType:
    molecule = MoleculeType(node.attributes.get("name", ""))
    for bead in node.all("bead"):
        name = bead.attributes.get("name", "")
        residue = int(bead.attributes.get("resid", "1"))
        mass = bead.attributes.get("mass")
        molecule.atoms.append(AtomName(max(residue, 1), molecule.name, name))
        molecule.types.append(bead.attributes.get("type", name))
        molecule.mass.append(None if mass is None else float(mass))
    if len(molecule.atoms) != _whole(node, "nbeads"):
        node.fail(f"{len(molecule.atoms)} beads, and nbeads is {node.attributes['nbeads']}.")
    return molecule


def _whole(node: Node, key: str) -> int:
    word = node.attributes.get(key, "")
    if not word.isdecimal() or int(word) < 1:
        node.fail(f"{key} of <{node.name}> is {word!r}; allowed are numbers from 1.")
    return int(word)


def _xml_term(node: Node, molecules: Sequence[MoleculeType]) -> None:
    if node.name not in _KINDS:
        node.fail(f"<{node.name}> is no bonded term; allowed are {', '.join(_KINDS)}.")
    width, name = _KINDS.index(node.name) + 2, node.need("name").word()
    words = node.need("beads").words
    if len(words) % width:
        node.fail(f"{node.name} {name!r} names {len(words)} beads; allowed: multiples of {width}.")
    for start in range(0, len(words), width):
        pairs = [word.partition(":")[::2] for word in words[start : start + width]]
        owners = [m for m in molecules if m.name == pairs[0][0]]
        beads = [atom.name for atom in owners[0].atoms] if owners else []
        if len({owner for owner, _ in pairs}) > 1 or any(bead not in beads for _, bead in pairs):
            node.fail(
                f"{node.name} {name!r}: {' '.join(words[start : start + width])} are not beads of "
                "one molecule, MOLECULE:BEAD."
            )
        for owner in owners:
            members = tuple([atom.name for atom in owner.atoms].index(bead) for _, bead in pairs)
            owner.terms.setdefault(node.name, []).append((members, name))


def _mapped(molecules: Molecules, spec: VotcaMolecule, file: str) -> Molecules:
    """Molecules with the bead types and the bonded terms that a map gives.

    A map of one atom a bead, as a project has for its coarse-grained runs, names the molecule; one
    of several is the map of the atomistic system, and its beads are found by their names.
    """
    if all(len(bead.atoms) == 1 for bead in spec.beads):
        if not any(molecule.name == spec.ident for molecule, _ in molecules):
            known = ", ".join(dict.fromkeys(m.name for m, _ in molecules))
            raise ValueError(
                f"{file} has no molecule {spec.ident!r}, which {spec.file} maps; it has {known}."
            )
        return [
            (_renamed(molecule, spec) if molecule.name == spec.ident else molecule, count)
            for molecule, count in molecules
        ]
    beads = tuple(
        replace(bead, atoms=(AtomName(0, "", bead.name),), weights=(1.0,)) for bead in spec.beads
    )
    names = sorted(bead.name for bead in beads)
    return [
        (
            _renamed(molecule, replace(spec, beads=beads))
            if sorted(atom.name for atom in molecule.atoms) == names
            else molecule,
            count,
        )
        for molecule, count in molecules
    ]


def _renamed(molecule: MoleculeType, spec: VotcaMolecule) -> MoleculeType:
    names = [atom.name for atom in molecule.atoms]
    places = {}
    for bead in spec.beads:
        atom = bead.atoms[0]
        exact = [n for n, a in enumerate(molecule.atoms) if a == atom]
        at = exact or [n for n, name in enumerate(names) if name == atom.name]
        if len(at) != 1:
            raise ValueError(
                f"{spec.file}: bead {bead.name!r}: molecule {spec.ident!r} has {len(at) or 'no'} "
                f"atom{'s' * (len(at) > 1)} {atom.residue}:{atom.residue_name}:{atom.name}."
            )
        places[bead.name] = at[0]
    if sorted(places.values()) != list(range(len(names))):
        raise ValueError(
            f"{spec.file}: {len(places)} beads for the {len(names)} of molecule {spec.ident!r}; "
            "allowed is one for each."
        )
    types = list(molecule.types)
    for bead in spec.beads:
        types[places[bead.name]] = bead.type
    terms, tables = _terms(molecule, spec, places)
    pairs = {(min(places[a], places[b]), max(places[a], places[b])) for a, b in spec.exclusions}
    return MoleculeType(
        molecule.name,
        molecule.nrexcl,
        molecule.atoms,
        types,
        molecule.mass,
        terms,
        molecule.links,
        sorted(pairs | set(molecule.exclusions)),
        tables,
    )


def _terms(
    molecule: MoleculeType, spec: VotcaMolecule, places: Mapping[str, int]
) -> tuple[dict[str, list[tuple[tuple[int, ...], str]]], dict[tuple[str, str], set[str]]]:
    """The bonded terms of a map, and those that only the topology has; and what it called the former."""
    left = {(k, at): name for k, rows in molecule.terms.items() for at, name in rows}
    terms: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    tables: dict[tuple[str, str], set[str]] = {}
    for kind, name, beads in spec.terms:
        members = tuple(places[b] for b in beads)
        terms.setdefault(kind, []).append((members, name))
        for at in (members, members[::-1]):
            old = left.pop((kind, at), "")
            if old:
                known = molecule.tables.get((kind, old), {old})
                tables.setdefault((kind, name), set()).update(known)
    for (kind, at), name in left.items():
        terms.setdefault(kind, []).append((at, name))
    return terms, tables


def _topology(molecules: Molecules) -> Topology:
    types, masses, numbers = list[str](), list[float](), list[int]()
    tables: dict[str, list[tuple[tuple[int, ...], str]]] = {kind: [] for kind in _KINDS}
    exclusions = list[tuple[int, int]]()
    number = 0
    for molecule, count in molecules:
        excluded = sorted(molecule.excluded())
        named = {kind: molecule.terms.get(kind, []) for kind in _KINDS}
        for _ in range(count):
            start = len(types)
            types += molecule.types
            masses += [1.0 if m is None else m for m in molecule.mass]
            numbers += [number] * len(molecule.types)
            number += 1
            exclusions += [(start + i, start + j) for i, j in excluded]
            for kind, terms in named.items():
                for members, name in terms:
                    called = name or _by_types([molecule.types[n] for n in members])
                    tables[kind].append((tuple(start + n for n in members), called))
    bonded = {
        kind: Bonded(
            np.array([members for members, _ in rows], int).reshape(-1, width),
            tuple(name for _, name in rows),
        )
        for width, (kind, rows) in enumerate(tables.items(), 2)
    }
    return Topology(
        tuple(types),
        np.array(masses),
        np.array(numbers, int),
        bonded["bond"],
        bonded["angle"],
        bonded["dihedral"],
        np.array(exclusions, int).reshape(-1, 2),
    )


def _by_types(types: list[str]) -> str:
    return "_".join(min(types, types[::-1]))
