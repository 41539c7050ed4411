"""GROMACS files of a project: ``.gro`` configurations and ``.top`` topologies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import os
from pathlib import Path

import numpy as np

from bayescg.io.votca.molecules import AtomName
from bayescg.io.votca.tables import NM

__all__ = ["Configuration", "MoleculeType", "read_gro", "read_top"]

_WIDTHS = {"bonds": 2, "constraints": 2, "angles": 3, "dihedrals": 4}
_TABULATED = {"bonds": (8, 9), "angles": (8,), "dihedrals": (8,)}
_LETTER = {"bonds": "b", "angles": "a", "dihedrals": "d"}


@dataclass(frozen=True, eq=False)
class Configuration:
    """Positions of a file.

    :param x: ``(site, axis)``, angstrom.
    :param box: edges ``(axis,)``, angstrom.
    :param atoms: names, the residues numbered as the file does.
    """

    x: np.ndarray
    box: np.ndarray
    atoms: tuple[AtomName, ...]


@dataclass(eq=False)
class MoleculeType:
    """One molecule of a topology; atoms are numbered from 0.

    :param types: bead type of each atom.
    :param mass: g/mol of each atom; None where the file does not say.
    :param terms: of each kind (``bond``, ``angle``, ``dihedral``): the atoms of each term, and the
        name of its potential, empty if it has none of its own.
    :param nrexcl: atoms up to so many bonds apart do not interact.
    :param exclusions: further pairs that do not.
    :param tables: of terms that a map renamed, by kind and new name: the names that they had.
    """

    name: str
    nrexcl: int = 0
    atoms: list[AtomName] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    mass: list[float | None] = field(default_factory=list)
    terms: dict[str, list[tuple[tuple[int, ...], str]]] = field(default_factory=dict)
    links: list[tuple[int, int]] = field(default_factory=list)
    exclusions: list[tuple[int, int]] = field(default_factory=list)
    tables: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def excluded(self) -> set[tuple[int, int]]:
        """Pairs of atoms that do not interact, the smaller number first."""
        neighbours: dict[int, set[int]] = {n: set() for n in range(len(self.atoms))}
        for i, j in self.links:
            neighbours[i].add(j)
            neighbours[j].add(i)
        pairs = {(min(p), max(p)) for p in self.exclusions}
        for start in neighbours:
            reached, edge = {start}, {start}
            for _ in range(self.nrexcl):
                edge = {k for n in edge for k in neighbours[n]} - reached
                reached |= edge
            pairs |= {(start, k) for k in reached if k > start}
        return pairs


def read_gro(path: str | os.PathLike[str]) -> Configuration:
    """Read the first configuration of a ``.gro`` file.

    :raises FileNotFoundError: there is none.
    :raises ValueError: it is cut off, a line is not as it must be, or the box is not orthorhombic.
    """
    lines = _text(path).splitlines()
    try:
        count = int(lines[1])
    except (IndexError, ValueError):
        raise ValueError(f"{path}, line 2: there is no number of atoms; this is no .gro.") from None
    if len(lines) < count + 3:
        raise ValueError(f"{path} ends after {len(lines)} lines; {count} atoms need {count + 3}.")
    x, atoms = np.empty((count, 3)), []
    for n, line in enumerate(lines[2 : count + 2]):
        # Columns are as wide as the distance of the decimal points.
        first = line.find(".", 20)
        width = line.find(".", first + 1) - first
        try:
            x[n] = [float(line[20 + k * width : 20 + (k + 1) * width]) for k in range(3)]
            atoms.append(AtomName(int(line[:5]), line[5:10].strip(), line[10:15].strip()))
        except ValueError:
            raise ValueError(f"{path}, line {n + 3}: {line[:44]!r} is no atom.") from None
    edges = _floats(lines[count + 2], path, count + 3)
    if len(edges) not in (3, 9) or any(edges[3:]) or not all(e > 0 for e in edges[:3]):
        raise ValueError(
            f"{path}, line {count + 3}: the box is {lines[count + 2].strip()!r}; allowed are the "
            "three edges of an orthorhombic box."
        )
    return Configuration(NM * x, NM * np.array(edges[:3]), tuple(atoms))


def read_top(path: str | os.PathLike[str]) -> list[tuple[MoleculeType, int]]:
    """Read a ``.top`` file: the molecules in the order of the system, and how many of each.

    Included files are read where they are there: those of force fields, which are elsewhere, are
    not needed.

    :raises FileNotFoundError: there is no such file.
    :raises ValueError: a line is not as it must be, or a molecule is not defined.
    """
    reader = _Top()
    for where, line in _lines(Path(path), {}):
        reader.take(where, line)
    if not reader.system:
        raise ValueError(f"{path} has no [ molecules ]; it is needed.")
    for name, _ in reader.system:
        if name not in reader.molecules:
            raise ValueError(
                f"{path}: the molecule {name!r} is not defined; known: "
                f"{', '.join(reader.molecules) or 'none'}."
            )
    out = []
    for name, count in reader.system:
        found = reader.molecules[name]
        found.mass = [
            reader.masses.get(t) if m is None else m
            for m, t in zip(found.mass, found.types, strict=True)
        ]
        out.append((found, count))
    return out


class _Top:
    """What a topology has said so far."""

    def __init__(self) -> None:
        self.section = ""
        self.masses: dict[str, float] = {}
        self.molecules: dict[str, MoleculeType] = {}
        self.system: list[tuple[str, int]] = []
        self.current: MoleculeType | None = None

    def take(self, where: str, line: str) -> None:
        if line.startswith("["):
            self.section = line.strip("[] \t")
            return
        words = line.split()
        try:
            self.read(where, words)
        except (IndexError, StopIteration, ValueError) as error:
            if isinstance(error, ValueError) and str(error).startswith(where):
                raise
            raise ValueError(f"{where}: {line!r} is no line of [ {self.section} ].") from None

    def read(self, where: str, words: list[str]) -> None:
        if self.section == "atomtypes":
            self.atomtype(words)
        elif self.section == "moleculetype":
            self.current = self.molecules[words[0]] = MoleculeType(words[0], int(words[1]))
        elif self.section == "molecules":
            self.system.append((words[0], int(words[1])))
        elif self.current is None:
            return
        elif self.section == "atoms":
            self.current.types.append(words[1])
            self.current.atoms.append(AtomName(int(words[2]), words[3], words[4]))
            self.current.mass.append(float(words[7]) if len(words) > 7 else None)
        elif self.section == "exclusions":
            first, *others = (int(w) - 1 for w in words)
            self.current.exclusions += [(first, other) for other in others]
        elif self.section in _WIDTHS:
            self.term(self.current, where, words)

    def atomtype(self, words: list[str]) -> None:
        # The particle type is the only letter alone; charge and mass stand before it.
        at = next(n for n in range(len(words) - 1, 2, -1) if words[n] in tuple("ASVD"))
        self.masses[words[0]] = float(words[at - 2])

    def term(self, molecule: MoleculeType, where: str, words: list[str]) -> None:
        width = _WIDTHS[self.section]
        members = tuple(int(w) - 1 for w in words[:width])
        if min(members) < 0 or max(members) >= len(molecule.atoms):
            raise ValueError(f"{where}: there is no atom {max(members) + 1} in {molecule.name!r}.")
        function = int(words[width]) if len(words) > width else 1
        if width == 2 and function != 9:
            molecule.links.append((members[0], members[1]))
        if self.section == "constraints":
            return
        name = ""
        if function in _TABULATED[self.section] and len(words) > width + 1:
            name = f"{_LETTER[self.section]}{words[width + 1]}"
            if len(words) > width + 2 and float(words[width + 2]) != 1.0:
                raise ValueError(
                    f"{where}: the table of {name} is multiplied by {words[width + 2]}; allowed is 1."
                )
        molecule.terms.setdefault(self.section[:-1], []).append((members, name))


def _lines(path: Path, defined: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Place and text of each line, without comments, what is included and what is left out."""
    use, carried = [True], ""
    for n, raw in enumerate(_text(path).splitlines(), 1):
        line = carried + raw.partition(";")[0].strip()
        if line.endswith("\\"):
            carried = line[:-1] + " "
            continue
        carried = ""
        word, _, rest = line.partition(" ")
        if word in ("#ifdef", "#ifndef"):
            use.append((rest.strip() in defined) == (word == "#ifdef"))
        elif word == "#else":
            use[-1] = not use[-1]
        elif word == "#endif":
            use.pop()
            if not use:
                raise ValueError(f"{path}, line {n}: #endif without #ifdef.")
        elif not all(use) or not line:
            continue
        elif word == "#define":
            name, _, value = rest.strip().partition(" ")
            defined[name] = value
        elif word == "#include":
            other = path.parent / rest.strip().strip('"<>')
            if other.is_file():
                yield from _lines(other, defined)
        elif not word.startswith("#"):
            yield f"{path}, line {n}", line


def _floats(line: str, path: str | os.PathLike[str], number: int) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        raise ValueError(f"{path}, line {number}: {line.strip()[:40]!r} is no box.") from None


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; give the path of a file.") from None
