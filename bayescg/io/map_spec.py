"""What a map file says: which atoms make which bead, as plain records.

They hold what is asked for and refuse what contradicts itself. Whether a map is possible with the
atoms at hand is decided by :func:`bayescg.io.map_sites.map_sites`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
import math
import re

__all__ = ["SPLITS", "TERMS", "Atoms", "BeadSpec", "MapSpec", "MoleculeSpec", "TermSpec", "one_of"]

#: Which atoms: a selection of MDAnalysis, names of atoms, or numbers within the molecule from 1.
Atoms = str | tuple[str, ...] | tuple[int, ...]

TERMS = {"bonds": 2, "angles": 3, "dihedrals": 4}
SPLITS = ("residue", "fragment", "molecule")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class BeadSpec:
    """One bead of a molecule.

    :param name: unique within the molecule.
    :param type: bead type, by which potentials are told apart.
    :param atoms: a text is a selection of MDAnalysis, read inside the molecule; names are the
        names of its atoms; integers are the numbers of its atoms within the molecule, from 1.
    :param weights: ``"mass"`` (the centre of mass), ``"equal"`` (the centroid), or a positive
        number for each atom, in the order of ``atoms`` if that is a list, else in that of the
        topology; they are normalised to a sum of one.
    :param force_weights: ``d`` of ``F = sum_i (d_i / c_i) f_i``, as many numbers as atoms,
        normalised to a sum of one; None: the sum of the forces on the atoms that only this bead
        has, divided by the sum of their weights (one where no atom is shared).
    :param mass: g/mol; ``"consistent"``: ``1 / sum_i c_i^2 / m_i``, which for a centre of mass is
        the sum of the masses; ``"total"``: the sum of the masses.
    """

    name: str
    type: str
    atoms: Atoms
    weights: str | tuple[float, ...] = "mass"
    force_weights: tuple[float, ...] | None = None
    mass: float | str = "consistent"

    def __post_init__(self) -> None:
        _check_bead(self)


@dataclass(frozen=True)
class TermSpec:
    """One bonded term: the name of its potential, which terms share, and the names of its beads."""

    name: str
    beads: tuple[str, ...]

    def check(self, kind: str, known: Sequence[str]) -> None:
        """Raise unless it is a term of its kind between known beads.

        :param kind: ``bonds``, ``angles``, ``dihedrals``, or ``exclusions``.
        :param known: names of the beads that there are.
        :raises ValueError: what is wrong, and what is allowed; one line.
        """
        where = kind if kind == "exclusions" else f"{kind} {self.name!r}"
        width = TERMS.get(kind, 2)
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{where} is no name; allowed are letters, digits and _.+-")
        if len(self.beads) != width:
            raise ValueError(f"{where}: {list(self.beads)} are not the names of {width} beads.")
        for bead in self.beads:
            if bead not in known:
                raise ValueError(f"{where} names an unknown bead {one_of(bead, known)}")
        if len(set(self.beads)) < width:
            raise ValueError(f"{where}: {list(self.beads)} names one bead twice.")


@dataclass(frozen=True)
class MoleculeSpec:
    """One type of molecule.

    :param name: for messages.
    :param select: a selection of MDAnalysis that gives all atoms of all molecules of this type.
    :param beads: at least one.
    :param split: what is one molecule: ``"residue"``, ``"fragment"`` (atoms connected by bonds),
        ``"molecule"`` (as the topology numbers them), or the number of atoms in each.
    :param exclusions: pairs of beads without non-bonded interaction: those up to so many bonds
        apart (the neighbours in an angle or a dihedral count as bonded), or the pairs themselves.
    :param unmapped: whether atoms may be in no bead.
    :param shared: the atoms that may be in several beads: a selection, or their names.
    """

    name: str
    select: str
    beads: tuple[BeadSpec, ...]
    split: str | int = "residue"
    bonds: tuple[TermSpec, ...] = ()
    angles: tuple[TermSpec, ...] = ()
    dihedrals: tuple[TermSpec, ...] = ()
    exclusions: int | tuple[tuple[str, str], ...] = 3
    unmapped: bool = False
    shared: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_molecule(self)

    def terms(self) -> Mapping[str, tuple[TermSpec, ...]]:
        """The bonded terms by kind, ``bonds``, ``angles`` and ``dihedrals``."""
        return {kind: getattr(self, kind) for kind in TERMS}


@dataclass(frozen=True)
class MapSpec:
    """A map of atoms to beads.

    :param molecules: the types of molecule, at least one.
    :param ignore: a selection of the atoms that are left out, a solvent for instance.
    :param temperature: K, if the map says.
    :param masses: g/mol by name of atom, over what the topology says.
    :param source: the file it came from, for messages.
    :param text: what that file holds; kept with the mapped data.
    """

    molecules: tuple[MoleculeSpec, ...]
    ignore: str | None = None
    temperature: float | None = None
    masses: tuple[tuple[str, float], ...] = ()
    source: str = "map"
    text: str = ""

    def __post_init__(self) -> None:
        if not self.molecules:
            raise ValueError("the map has no molecules; at least one type is needed.")
        _check_once((m.name for m in self.molecules), "molecule")
        if self.temperature is not None and not 0.0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature:g}; allowed are positive K.")
        for atom, mass in self.masses:
            if not 0.0 < mass < math.inf:
                raise ValueError(f"mass of atom {atom!r} is {mass:g}; allowed are positive g/mol.")


def _check_once(names: Iterable[Hashable], what: str) -> None:
    seen = set[Hashable]()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} is there twice; each may come once.")
        seen.add(name)


def _check_molecule(spec: MoleculeSpec) -> None:
    where = f"molecule {spec.name!r}"
    if not spec.beads:
        raise ValueError(f"{where} has no beads; at least one is needed.")
    _check_once((b.name for b in spec.beads), f"{where}: bead")
    if not spec.select:
        raise ValueError(f"{where}: select is empty; allowed is a selection of MDAnalysis.")
    if isinstance(spec.split, int):
        if spec.split < 1:
            raise ValueError(f"{where}: split is {spec.split}; allowed are numbers from 1.")
    elif spec.split not in SPLITS:
        raise ValueError(
            f"{where}: split is {spec.split!r}; allowed are {', '.join(SPLITS)} or a number of atoms."
        )
    known = [bead.name for bead in spec.beads]
    try:
        for kind, terms in spec.terms().items():
            for term in terms:
                term.check(kind, known)
            _check_once(("-".join(min(t.beads, t.beads[::-1])) for t in terms), kind)
        if not isinstance(spec.exclusions, int):
            for pair in spec.exclusions:
                TermSpec("exclusions", pair).check("exclusions", known)
        elif spec.exclusions < 0:
            raise ValueError(f"exclusions is {spec.exclusions}; allowed are 0 and more.")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _check_bead(bead: BeadSpec) -> None:
    where = f"bead {bead.name!r}"
    if not _NAME.fullmatch(bead.type):
        raise ValueError(
            f"{where}: type {bead.type!r} is no name; allowed are letters, digits and _.+-"
        )
    if not bead.atoms:
        raise ValueError(f"{where} has no atoms; at least one is needed.")
    if not isinstance(bead.atoms, str):
        _check_once(bead.atoms, f"{where}: atom")
        for atom in bead.atoms:
            if isinstance(atom, int) and atom < 1:
                raise ValueError(f"{where}: atom number {atom}; allowed are numbers from 1.")
    if isinstance(bead.weights, str):
        if bead.weights not in ("mass", "equal"):
            raise ValueError(
                f"{where}: weights is {bead.weights!r}; allowed are mass, equal or a list of numbers."
            )
    else:
        for weight in bead.weights:
            if not 0.0 < weight < math.inf:
                raise ValueError(
                    f"{where}: a weight is {weight:g}; allowed are positive numbers, and an atom "
                    "without weight is left out of the bead."
                )
        _check_count(bead, bead.weights, f"{where}: weights")
    if bead.force_weights is not None:
        if not all(map(math.isfinite, bead.force_weights)) or not sum(bead.force_weights) > 0.0:
            raise ValueError(
                f"{where}: force_weights are {list(bead.force_weights)}; allowed are finite "
                "numbers with a positive sum."
            )
        _check_count(bead, bead.force_weights, f"{where}: force_weights")
    if isinstance(bead.mass, str):
        if bead.mass not in ("consistent", "total"):
            raise ValueError(
                f"{where}: mass is {bead.mass!r}; allowed are consistent, total or a number."
            )
    elif not 0.0 < bead.mass < math.inf:
        raise ValueError(f"{where}: mass is {bead.mass:g}; allowed are positive numbers (g/mol).")


def _check_count(bead: BeadSpec, numbers: tuple[float, ...], where: str) -> None:
    if not isinstance(bead.atoms, str) and len(numbers) != len(bead.atoms):
        raise ValueError(
            f"{where} are {len(numbers)} numbers; allowed is one for each of {len(bead.atoms)} atoms."
        )


def one_of(name: str, known: Sequence[str]) -> str:
    """A name that is not known, the known one that it may mean, and all that are."""
    close = get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}? Known" if close else "; known"
    return f"{name!r}{hint}: {', '.join(known)}."
