"""Which potential each pair of sites feels: pairs of bead types are classes, excluded pairs none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jax.tree_util import register_static
import numpy as np

from bayescg.topology import Topology, pair_name

__all__ = ["Members", "PairClasses", "classes_of"]


@register_static
@dataclass(frozen=True, eq=False)
class Members:
    """The sites of the terms of one bonded potential; static, hashed by identity.

    :param sites: ``(term, 2, 3 or 4)``.
    """

    kind: str
    sites: np.ndarray


@register_static
@dataclass(frozen=True, eq=False)
class PairClasses:
    """Pairs of sites by class; static, and hashed by identity, so one lives as long as its system.

    :param topology: the sites.
    :param names: the name of each class, ``A_B``. Pairs of types that are not named, and excluded
        pairs, are of class ``len(names)``, which feels nothing.
    """

    topology: Topology
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def of_types(self) -> np.ndarray:
        """Class of two types, ``(type, type)``."""
        kinds = self.topology.kinds
        table = np.full((len(kinds), len(kinds)), len(self), np.int32)
        for i, a in enumerate(kinds):
            for j, b in enumerate(kinds):
                if (name := pair_name(a, b)) in self.names:
                    table[i, j] = self.names.index(name)
        return table

    @cached_property
    def of_pair(self) -> np.ndarray:
        """Class of two sites, ``(site, site)``; a site and itself have none."""
        kinds = self.topology.kinds
        number = np.array([kinds.index(t) for t in self.topology.types])
        table = self.of_types[number[:, None], number]
        np.fill_diagonal(table, len(self))
        i, j = self.topology.exclusion.T
        table[i, j] = table[j, i] = len(self)
        return table

    @cached_property
    def of_shift(self) -> np.ndarray:
        """Class of each site and the one so many places on, ``(shift, site)``."""
        sites = self.topology.sites
        at = np.arange(sites)
        return np.stack([self.of_pair[at, (at + s) % sites] for s in range(sites)])

    @cached_property
    def members(self) -> Mapping[tuple[str, str], Members]:
        """The sites of the terms of each bonded potential, by kind and name."""
        return {
            (kind, name): Members(kind, table.of(name))
            for kind, table in self.topology.bonded().items()
            for name in table.kinds
        }

    @property
    def alike(self) -> bool:
        """Whether all pairs are of one class."""
        return len(self) == 1 and len(self.topology.kinds) == 1 and not len(self.topology.exclusion)

    def types_of(self, name: str) -> tuple[str, str]:
        """The two types of a class."""
        kinds = self.topology.kinds
        found = [(a, b) for a in kinds for b in kinds if pair_name(a, b) == name and a <= b]
        return found[0]

    def total(self, name: str) -> float:
        """Pairs of a class."""
        return float(self.totals[self.names.index(name)])

    def n2(self, name: str) -> float:
        """Pairs of a class as VOTCA counts them, N_A N_B or N_A^2/2, excluded ones among them."""
        a, b = self.types_of(name)
        count = self.topology.types.count
        return count(a) * count(b) * (0.5 if a == b else 1.0)

    @cached_property
    def totals(self) -> np.ndarray:
        """Pairs of each class, ``(class,)``."""
        upper = np.triu_indices(self.topology.sites, 1)
        return np.bincount(self.of_pair[upper], minlength=len(self) + 1)[: len(self)]


def classes_of(topology: Topology, pairs: Sequence[tuple[str, str]]) -> PairClasses:
    """Classes of the given pairs of types, in their order.

    :param topology: of the sites.
    :param pairs: pairs of bead types, in the order that the classes shall have.
    """
    return PairClasses(topology, tuple(pair_name(a, b) for a, b in pairs))
