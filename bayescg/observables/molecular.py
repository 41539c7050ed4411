"""Observables of molecules of several bead types: typed RDFs, and distributions of bonded coordinates."""

from dataclasses import dataclass
from typing import Any

from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.observables.liquid import LiquidObservable, RadialDistribution
from bayescg.potentials.bonded import coordinate
from bayescg.potentials.classes import Members, PairClasses
from bayescg.potentials.counting import Nodes, count_pairs, count_values

__all__ = ["BondedDistribution", "TypedRadialDistribution", "histogram_nodes", "rdf_name"]

#: Dimension, unit in files, and that unit in the unit of the code.
AXES = {
    "bond": ("length", "angstrom", 1.0),
    "angle": ("angle", "degree", np.pi / 180.0),
    "dihedral": ("dihedral", "degree", np.pi / 180.0),
}


def histogram_nodes(first: int, last: int, width: float) -> Nodes:
    """Bins ``[k width, (k + 1) width)`` from the bin ``first`` up to, without it, ``last``."""
    return Nodes((first + 0.5) * width, width, last - first, "nearest", "dropped")


def rdf_name(classes: PairClasses, types: str) -> str:
    """What files call an RDF: ``rdf`` where all beads are of one type, else ``rdf_A_B``.

    :param classes: of the pairs of sites.
    :param types: name of the class, ``A_B``.
    """
    return "rdf" if len(classes.topology.kinds) == 1 else f"rdf_{types}"


@dataclass(frozen=True)
class TypedRadialDistribution(RadialDistribution):
    """Radial distribution function of two bead types; excluded pairs are not counted, nor expected.

    :param classes: of the pairs of sites.
    :param types: the name of the class, ``A_B``.
    :param norm: ``pairs``: the pairs of the class; ``n2``: as VOTCA counts, N_A N_B, or N_A^2/2
        of one type, excluded pairs among them.
    """

    classes: PairClasses
    types: str

    @property
    def name(self) -> str:  # type: ignore[override]
        """``rdf_A_B``; ``rdf`` where all beads are of one type."""
        return rdf_name(self.classes, self.types)

    def settings(self) -> dict[str, Any]:
        """Width and end of the bins, angstrom, and the norm."""
        return {"width": self.width, "max": self.max, "norm": self.norm}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        edges = self._edges()
        nodes = histogram_nodes(0, len(edges) - 1, self.width)
        which = self.classes.names.index(self.types)
        counts = count_pairs(x, box, nodes, self.classes)[which]
        pairs = (
            self.classes.total(self.types) if self.norm == "pairs" else self.classes.n2(self.types)
        )
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        return counts / jnp.asarray(pairs * shells / np.prod(box), x.dtype)[:, None]


@dataclass(frozen=True)
class BondedDistribution(LiquidObservable):
    """Distribution of a bond's length, an angle or a dihedral; it integrates to 1.

    :param kind: ``bond``, ``angle`` or ``dihedral``.
    :param term: the name of the terms.
    :param members: their sites.
    :param width: of a bin, angstrom or degrees; bins are ``[k w, (k + 1) w)``.
    :param low: lowest value looked at; ``high``: the highest.
    """

    kind: str
    term: str
    members: Members
    width: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 < self.width <= self.high - self.low:
            raise ValueError(
                f"{self.name} width must lie between 0 and {self.high - self.low:g}, got {self.width:g}."
            )

    @property
    def name(self) -> str:
        """Kind and term: ``bond_AB``."""
        return f"{self.kind}_{self.term}"

    @property
    def dims(self) -> tuple[str, ...]:
        """``length``, ``angle`` or ``dihedral``."""
        return (AXES[self.kind][0],)

    @property
    def units(self) -> str:
        """The inverse of an angstrom or of a degree."""
        return f"1/{AXES[self.kind][1]}"

    @property
    def long_name(self) -> str:
        """The term in words, with the unit of the density."""
        return f"distribution of {self.kind} {self.term}, per {AXES[self.kind][1]}"

    def settings(self) -> dict[str, Any]:
        """Width of the bins, angstrom or degrees."""
        return {"width": self.width}

    def _bins(self) -> tuple[int, int]:
        low = int(np.floor(self.low / self.width + 1e-9))
        return low, max(low + 1, int(np.ceil(self.high / self.width - 1e-9)))

    def coords(self) -> dict[str, np.ndarray]:
        """Centres of the bins, angstrom or degrees."""
        first, last = self._bins()
        return {self.dims[0]: self.width * (np.arange(first, last) + 0.5)}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        unit = AXES[self.kind][2]
        nodes = histogram_nodes(*self._bins(), self.width * unit)
        q = coordinate(self.kind, x, self.members.sites, box)
        return count_values(q, nodes) / (len(self.members.sites) * self.width)
