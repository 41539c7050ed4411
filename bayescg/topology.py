"""What is bonded to what: bead types, masses, molecules, bonded terms and exclusions of mapped data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import re
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["KINDS", "Bonded", "Topology", "pair_name", "topology_of", "variables_of"]

#: Sites in one bonded term of each kind.
KINDS = {"bond": 2, "angle": 3, "dihedral": 4}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def pair_name(a: str, b: str) -> str:
    """The name of the interaction of two bead types, whichever comes first: ``A_B``.

    >>> pair_name("B", "A")
    'A_B'
    """
    return "_".join(sorted((a, b)))


@dataclass(frozen=True, eq=False)
class Bonded:
    """All terms of one kind (``bond``, ``angle`` or ``dihedral``).

    :param members: the sites of each term, ``(term, 2, 3 or 4)``.
    :param names: the name of each term's potential, ``(term,)``; terms of one name share one.
    """

    members: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every name once, in the order of their first terms."""
        return tuple(dict.fromkeys(self.names))

    def of(self, name: str) -> np.ndarray:
        """The sites of the terms of one name, ``(term, ...)``."""
        return self.members[np.array([n == name for n in self.names], bool)]


def _none(width: int) -> Bonded:
    return Bonded(np.zeros((0, width), int), ())


@dataclass(frozen=True, eq=False)
class Topology:
    """The sites of a configuration, and which of them are bonded.

    :param types: bead type of each site, ``(site,)``.
    :param mass: g/mol, ``(site,)``.
    :param molecule: number of each site's molecule, ``(site,)``.
    :param exclusion: pairs without non-bonded interaction, ``(exclusion, 2)``.
    :raises ValueError: if the arrays do not go together, or a mass is not positive.

    >>> bonded = np.array([[0, 1], [2, 3]])
    >>> dimers = Topology(("A", "B", "A", "B"), np.ones(4), np.array([0, 0, 1, 1]), exclusion=bonded)
    >>> dimers.sites, dimers.kinds, dimers.pairs
    (4, ('A', 'B'), (('A', 'A'), ('A', 'B'), ('B', 'B')))
    """

    types: tuple[str, ...]
    mass: np.ndarray
    molecule: np.ndarray
    bond: Bonded = field(default_factory=lambda: _none(2))
    angle: Bonded = field(default_factory=lambda: _none(3))
    dihedral: Bonded = field(default_factory=lambda: _none(4))
    exclusion: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), int))

    def __post_init__(self) -> None:
        sites = len(self.types)
        for name in ("mass", "molecule"):
            if getattr(self, name).shape != (sites,):
                raise ValueError(
                    f"{name} has shape {getattr(self, name).shape}; allowed is one for each of {sites} sites."
                )
        wrong = np.flatnonzero(~(self.mass > 0.0))
        if wrong.size:
            raise ValueError(
                f"mass is {self.mass[wrong[0]]:g} at site={wrong[0]}; allowed are positive numbers (g/mol)."
            )
        for bad in dict.fromkeys(t for t in self.types if not _NAME.fullmatch(t)):
            raise ValueError(f"bead type {bad!r} is no name; allowed are letters, digits and _.+-")
        for kind, width in KINDS.items():
            table: Bonded = getattr(self, kind)
            if table.members.shape != (len(table), width):
                raise ValueError(
                    f"{kind} has shape {table.members.shape}; allowed is ({len(table)}, {width})."
                )
            _check_sites(kind, table.members, sites)
        _check_sites("exclusion", self.exclusion, sites)

    @property
    def sites(self) -> int:
        """How many sites there are."""
        return len(self.types)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every bead type once, in the order of their first sites."""
        return tuple(dict.fromkeys(self.types))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every pair of bead types that two sites can form without an exclusion, each sorted."""
        of = np.array(self.types)
        out = []
        excluded = {(min(i, j), max(i, j)) for i, j in self.exclusion.tolist()}
        for n, a in enumerate(self.kinds):
            for b in self.kinds[n:]:
                i, j = np.flatnonzero(of == a), np.flatnonzero(of == b)
                total = len(i) * (len(i) - 1) // 2 if a == b else len(i) * len(j)
                lost = sum({self.types[p], self.types[q]} == {a, b} for p, q in excluded)
                if total > lost:
                    out.append((min(a, b), max(a, b)))
        return tuple(out)

    def bonded(self) -> Mapping[str, Bonded]:
        """The bonded terms by kind."""
        return {kind: getattr(self, kind) for kind in KINDS}


def _check_sites(name: str, table: np.ndarray, sites: int) -> None:
    wrong = (table < 0) | (table >= sites)
    if wrong.any():
        raise ValueError(f"{name} names site {table[wrong][0]}; allowed are 0 to {sites - 1}.")
    ordered = np.sort(table, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(1) if table.size else np.zeros(0, bool)
    if twice.any():
        at = int(np.argmax(twice))
        raise ValueError(f"{name} {at} names one site twice, {table[at].tolist()}.")


def topology_of(data: xr.Dataset) -> Topology:
    """The topology that a data set holds; one type, equal masses and no bonds where it is silent.

    Terms without a name of their own (``bond_type``, ``angle_type``, ``dihedral_type``) are named
    by the types of their sites, read from the end that sorts first: ``A_B_A``. A data set with
    bonded terms and no ``exclusion`` excludes the pairs at the ends of its bonds and angles.

    :param data: what :func:`bayescg.io.load` gives.
    :raises ValueError: if it contradicts itself.
    """
    sites = data.sizes["site"]
    types = _types(data["type"].values, sites) if "type" in data.variables else ("A",) * sites
    mass = np.asarray(data["mass"].values, float) if "mass" in data.variables else np.ones(sites)
    molecule = (
        np.asarray(data["molecule"].values, int)
        if "molecule" in data.variables
        else np.arange(sites)
    )
    tables: dict[str, Any] = {}
    for kind, width in KINDS.items():
        # An index is the axis of an observable, as the angle of an ADF.
        if kind in data.variables and kind not in data.indexes:
            members = np.asarray(data[kind].values, int).reshape(-1, width)
            key = f"{kind}_type"
            names = (
                tuple(map(str, data[key].values))
                if key in data.variables
                else tuple(_named(types, row) for row in members)
            )
            if len(names) != len(members):
                raise ValueError(
                    f"{key} has {len(names)} names; allowed is one for each of {len(members)}."
                )
            tables[kind] = Bonded(members, names)
    if "exclusion" in data.variables:
        exclusion = np.asarray(data["exclusion"].values, int).reshape(-1, 2)
    else:
        ends = [tables[k].members[:, [0, -1]] for k in ("bond", "angle") if k in tables]
        pairs = np.sort(np.concatenate([np.zeros((0, 2), int), *ends]), axis=1)
        exclusion = np.unique(pairs, axis=0)
    return Topology(types, mass, molecule, exclusion=exclusion, **tables)


def _types(values: np.ndarray, sites: int) -> tuple[str, ...]:
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()[:sites])


def _named(types: Sequence[str], row: np.ndarray) -> str:
    forward = [types[i] for i in row]
    return "_".join(min(forward, forward[::-1]))


def variables_of(topology: Topology) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """The variables of a data file that hold a topology; the inverse of :func:`topology_of`."""
    out: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "type": (("site",), np.array(topology.types)),
        "mass": (("site",), topology.mass),
        "molecule": (("site",), topology.molecule),
    }
    for kind, table in topology.bonded().items():
        if len(table):
            out[kind] = ((kind, f"{kind}_place"), table.members)
            out[f"{kind}_type"] = ((kind,), np.array(table.names))
    if len(topology.exclusion) or any(len(t) for t in topology.bonded().values()):
        out["exclusion"] = (("exclusion", "exclusion_place"), topology.exclusion)
    return out
