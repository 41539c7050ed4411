"""The neutral record of a model that every writer reads: potentials as functions, a topology, a start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bayescg.topology import KINDS, Topology, pair_name

if TYPE_CHECKING:
    from bayescg.potentials.three_body import StillingerWeber

__all__ = ["ExportModel", "Interaction", "measured"]


@dataclass(frozen=True, eq=False)
class Interaction:
    """One one-dimensional potential.

    :param kind: ``pair``, ``bond``, ``angle`` or ``dihedral``.
    :param name: ``A_B`` of a pair, else the name of the bonded terms that share it.
    :param types: the two bead types of a pair; empty for bonded terms.
    :param energy: kcal/mol, of distances in angstrom or angles in radians (a dihedral from -pi to pi).
    :param known: the range in which data say something; outside it is extrapolated. That of a dihedral
        may begin anywhere on the circle and end beyond pi.
    :param cutoff: of a pair, angstrom.
    :raises ValueError: if these do not go together.
    """

    kind: str
    name: str
    types: tuple[str, ...]
    energy: Callable[[np.ndarray], np.ndarray]
    known: tuple[float, float]
    cutoff: float = np.inf

    def __post_init__(self) -> None:
        kinds = ("pair", *KINDS)
        if self.kind not in kinds:
            raise ValueError(f"{self.kind!r} is no interaction; allowed are {', '.join(kinds)}.")
        if not self.known[0] < self.known[1]:
            raise ValueError(
                f"{self.label}: known from {self.known[0]:g} to {self.known[1]:g}; allowed is a range."
            )
        if len(self.types) != (2 if self.kind == "pair" else 0):
            raise ValueError(
                f"{self.label} names {len(self.types)} bead types; allowed are a pair's 2."
            )
        if self.kind == "pair" and not 0.0 < self.cutoff < np.inf:
            raise ValueError(
                f"{self.label}: cut-off {self.cutoff:g}; allowed are positive lengths."
            )

    @property
    def label(self) -> str:
        """``pair A_B``."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, eq=False)
class ExportModel:
    """Everything that a molecular-dynamics program needs to know.

    Pairs of types, and bonded terms, without an interaction feel nothing.

    :param topology: the sites, and which of them are bonded.
    :param box: edges ``(3,)``, angstrom.
    :param temperature: K.
    :param x: a configuration to start from, ``(site, axis)``, angstrom; molecules may be broken by the box.
    :param interactions: of pairs of types and of bonded terms.
    :param three_body: between all sites, beside the pairs; or None.
    :param title: one line; ``provenance``: where the potentials come from, a line each.
    :raises ValueError: if the parts do not go together.
    """

    topology: Topology
    box: np.ndarray
    temperature: float
    x: np.ndarray
    interactions: tuple[Interaction, ...]
    three_body: StillingerWeber | None = None
    title: str = "a coarse-grained model"
    provenance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        sites = self.topology.sites
        if self.box.shape != (3,) or not np.all((self.box > 0.0) & np.isfinite(self.box)):
            raise ValueError(
                f"box is {self.box.tolist()}; allowed are 3 positive edges (angstrom)."
            )
        if self.x.shape != (sites, 3) or not np.isfinite(self.x).all():
            raise ValueError(
                f"x has shape {self.x.shape}; allowed are finite positions ({sites}, 3)."
            )
        if not 0.0 < self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature:g} K; allowed are positive ones.")
        labels = [i.label for i in self.interactions]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"{label} is given twice; allowed is one potential each.")
        for i in self.interactions:
            self._check(i)
        if self.three_body is not None and len(self.topology.exclusion):
            raise ValueError(
                "the three-body term acts between all sites; allowed is a topology without exclusions."
            )

    def _check(self, i: Interaction) -> None:
        if i.kind == "pair":
            known: tuple[str, ...] = self.topology.kinds
            wrong = [t for t in i.types if t not in known]
        else:
            known = self.topology.bonded()[i.kind].kinds
            wrong = [i.name] if i.name not in known else []
        if wrong:
            raise ValueError(
                f"{i.label} is of {wrong[0]!r}, which the topology does not have; "
                f"allowed: {', '.join(known) or 'none'}."
            )

    def of(self, kind: str) -> tuple[Interaction, ...]:
        """The interactions of one kind."""
        return tuple(i for i in self.interactions if i.kind == kind)

    def pair(self, a: str, b: str) -> Interaction | None:
        """The potential of two bead types, whichever comes first."""
        name = pair_name(a, b)
        return next((i for i in self.of("pair") if pair_name(*i.types) == name), None)

    def members(self, interaction: Interaction) -> np.ndarray:
        """Sites of the terms of a bonded interaction, ``(term, 2, 3 or 4)``."""
        return self.topology.bonded()[interaction.kind].of(interaction.name)

    @property
    def cutoff(self) -> float:
        """The largest of the pairs', angstrom; 0 without pairs."""
        return max((i.cutoff for i in self.of("pair")), default=0.0)

    @property
    def excluded(self) -> set[tuple[int, int]]:
        """Pairs without a pair potential, the smaller site first."""
        return {(min(i, j), max(i, j)) for i, j in self.topology.exclusion.tolist()}

    @property
    def unfelt(self) -> tuple[str, ...]:
        """Terms of the topology that have no potential."""
        mine = {i.label for i in self.interactions}
        bonded = self.topology.bonded().items()
        out = [f"{kind} {name}" for kind, table in bonded for name in table.kinds]
        out = [label for label in out if label not in mine]
        return (*(f"pair {pair_name(*p)}" for p in self.topology.pairs if not self.pair(*p)), *out)

    def placed(self) -> tuple[np.ndarray, np.ndarray]:
        """The start with every site in ``[0, box)``, and the images that make molecules whole.

        :return: positions and whole numbers, both ``(site, axis)``; the molecules are
            ``positions + box * numbers``, and bonds may cross the box only where they do so there.
        """
        x = self.x.copy()
        near: list[list[int]] = [[] for _ in range(len(x))]
        for i, j in self.topology.bond.members.tolist():
            near[i].append(j)
            near[j].append(i)
        seen = np.zeros(len(x), bool)
        for first in range(len(x)):
            edge = [] if seen[first] else [first]
            seen[first] = True
            while edge:
                at = edge.pop()
                for k in near[at]:
                    if not seen[k]:
                        d = x[k] - x[at]
                        x[k] = x[at] + d - self.box * np.round(d / self.box)
                        seen[k] = True
                        edge.append(k)
        images = np.floor(x / self.box)
        inside = x - self.box * images
        over = inside >= self.box
        return np.where(over, 0.0, inside), (images + over).astype(int)


def measured(kind: str, x: np.ndarray, members: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Lengths, angles or dihedrals, ``(..., term)``, of ``x (..., site, axis)``; broken molecules too.

    :param members: sites of each term, ``(term, 2, 3 or 4)``.
    """

    def along(a: int, b: int) -> np.ndarray:
        d = x[..., members[:, b], :] - x[..., members[:, a], :]
        return np.asarray(d - box * np.round(d / box))

    if kind in ("bond", "pair"):
        return np.asarray(np.linalg.norm(along(0, 1), axis=-1))
    if kind == "angle":
        a, b = along(1, 0), along(1, 2)
        return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, -1))
    b1, b2, b3 = along(0, 1), along(1, 2), along(2, 3)
    m, n = np.cross(b1, b2), np.cross(b2, b3)
    return np.arctan2(np.linalg.norm(b2, axis=-1) * np.sum(b1 * n, -1), np.sum(m * n, -1))
