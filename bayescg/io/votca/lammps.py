"""LAMMPS data files of a project, in units real: beads, masses and bonded terms."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path

import numpy as np

from bayescg.io.votca.gromacs import Configuration, MoleculeType
from bayescg.io.votca.molecules import AtomName

__all__ = ["read_lammps"]

_TERMS = {"Bonds": ("bond", 2), "Angles": ("angle", 3), "Dihedrals": ("dihedral", 4)}
_STYLES = {"atomic": (None, 1, 2), "charge": (None, 1, 3), "molecular": (1, 2, 3)}
_STYLES |= {"bond": (1, 2, 3), "angle": (1, 2, 3), "full": (1, 2, 4)}


def read_lammps(
    path: str | os.PathLike[str], types: Sequence[str] = ()
) -> tuple[Configuration, list[tuple[MoleculeType, int]]]:
    """Read a data file; angstrom, g/mol.

    :param types: bead types of the project. Type ``i`` of the file is the one called ``Beadi`` or
        ``i``, or the only one there is.
    :return: the configuration by increasing number of the atom, and its molecules.
    :raises FileNotFoundError: there is none.
    :raises ValueError: a line is not as it must be, the box is tilted, or types cannot be named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    lines = [line.partition("#")[::2] for line in text.splitlines()]
    box, sections, style = np.zeros(3), dict[str, list[tuple[int, list[str]]]](), ""
    low = np.zeros(3)
    section = ""
    for n, (line, comment) in enumerate(lines[1:], 2):
        words = line.split()
        if not words:
            continue
        if words[0][0].isalpha():
            section = " ".join(words)
            sections[section] = []
            if section == "Atoms":
                style = comment.strip()
            continue
        if section:
            sections[section].append((n, words))
            continue
        if words[-1] == "yz" and any(_number(w, path, n) for w in words[:3]):
            raise ValueError(f"{path}, line {n}: the box is tilted; allowed are orthorhombic ones.")
        for axis, name in enumerate("xyz"):
            if words[-1] == f"{name}hi" and len(words) == 4:
                low[axis] = _number(words[0], path, n)
                box[axis] = _number(words[1], path, n) - low[axis]
    if not sections.get("Atoms"):
        raise ValueError(f"{path} has no section Atoms; this is no data file of LAMMPS.")
    if not (box > 0).all():
        raise ValueError(f"{path} has no box; needed are xlo xhi, ylo yhi and zlo zhi.")
    atoms = sorted(sections["Atoms"], key=lambda row: _number(row[1][0], path, row[0]))
    molecule_at, type_at, x_at = _columns(path, style, atoms)
    kinds = [words[type_at] for _, words in atoms]
    named = _names(path, kinds, types)
    masses = {words[0]: _number(words[1], path, n) for n, words in sections.get("Masses", [])}
    x = np.array([[_number(w, path, n) for w in words[x_at : x_at + 3]] for n, words in atoms])
    number = {words[0]: place for place, (_, words) in enumerate(atoms)}
    if len(number) < len(atoms):
        raise ValueError(f"{path}: an atom has a number that another has; each may come once.")
    groups = [words[molecule_at] if molecule_at else words[0] for _, words in atoms]
    molecules, where = _grouped(path, groups)
    for place, kind in enumerate(kinds):
        molecule = molecules[where[place][0]]
        molecule.types.append(named[kind])
        molecule.mass.append(masses.get(kind))
        molecule.atoms.append(AtomName(1, molecule.name, named[kind]))
    for title, (kind, width) in _TERMS.items():
        for n, words in sections.get(title, []):
            members = words[2 : 2 + width]
            if len(members) != width or any(m not in number for m in members):
                raise ValueError(f"{path}, line {n}: {' '.join(words)!r} are no atoms of a {kind}.")
            places = [where[number[m]] for m in members]
            if len({owner for owner, _ in places}) > 1:
                raise ValueError(f"{path}, line {n}: the {kind} joins two molecules.")
            owner = molecules[places[0][0]]
            inside = tuple(at for _, at in places)
            owner.terms.setdefault(kind, []).append((inside, f"{kind[0]}{words[1]}"))
            if kind == "bond":
                owner.links.append((inside[0], inside[1]))
    for molecule in molecules:
        molecule.nrexcl = 3  # special_bonds 0 0 0, the default of LAMMPS
    names = tuple(atom for molecule in molecules for atom in molecule.atoms)
    return Configuration(x - low, box, names), [(molecule, 1) for molecule in molecules]


def _columns(
    path: str | os.PathLike[str], style: str, atoms: list[tuple[int, list[str]]]
) -> tuple[int | None, int, int]:
    """Columns of molecule, type and x."""
    n, words = atoms[0]
    if style:
        if style not in _STYLES:
            raise ValueError(f"{path}: atom_style {style}; allowed are {', '.join(_STYLES)}.")
    else:  # with or without three image flags
        width = len(words) - 3 if len(words) >= 8 else len(words)
        whole = len(words) > 2 and words[2].lstrip("-").isdecimal()
        style = {5: "atomic", 6: "molecular" if whole else "charge", 7: "full"}.get(width, "")
    if not style or len(words) < _STYLES[style][2] + 3:
        raise ValueError(f"{path}, line {n}: {' '.join(words)[:40]!r} is no atom of a known style.")
    return _STYLES[style]


def _names(path: str | os.PathLike[str], kinds: list[str], types: Sequence[str]) -> dict[str, str]:
    """The name of each type of the file."""
    found = list(dict.fromkeys(kinds))
    known = list(dict.fromkeys(types))
    if len(found) == 1 and len(known) == 1:
        return {found[0]: known[0]}
    out = {}
    for kind in found:
        fits = [t for t in (f"Bead{kind}", kind) if t in known or not known]
        if not fits:
            raise ValueError(
                f"{path}: atom type {kind} is none of the bead types {', '.join(known)}; allowed "
                f"are Bead{kind} and {kind}."
            )
        out[kind] = fits[0]
    return out


def _grouped(
    path: str | os.PathLike[str], groups: list[str]
) -> tuple[list[MoleculeType], list[tuple[int, int]]]:
    """Molecules in order, and molecule and place within it of each atom."""
    out, where, seen = list[MoleculeType](), list[tuple[int, int]](), set[str]()
    inside = 0
    for place, group in enumerate(groups):
        if not place or group != groups[place - 1]:
            if group in seen:
                raise ValueError(f"{path}: the atoms of molecule {group} do not follow each other.")
            seen.add(group)
            out.append(MoleculeType(group))
            inside = 0
        where.append((len(out) - 1, inside))
        inside += 1
    return out, where


def _number(word: str, path: str | os.PathLike[str], line: int) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{path}, line {line}: {word!r} is no number.") from None
