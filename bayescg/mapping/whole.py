"""Molecules made whole across the periodic boundary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

__all__ = ["Whole", "spanning_tree"]

_FIRST = 2.0  # angstrom; most covalent bonds are shorter
_NEAR = 1e-6  # angstrom; graphs take a distance of zero for none


@dataclass(frozen=True, eq=False)
class Whole:
    """Puts each atom at the image nearest to its parent in a tree of its molecule.

    Right for wrapped and unwrapped positions alike, as long as no atom is further than half a box
    from its parent. A molecule may be longer than the box.

    :param parent: of each atom, ``(atom,)``; the first atom of a molecule is its own.
    """

    parent: np.ndarray

    @cached_property
    def _jumps(self) -> list[np.ndarray]:
        """Ancestors at 1, 2, 4, ... steps, until all are roots."""
        jumps = [self.parent]
        while (jumps[-1][jumps[-1]] != jumps[-1]).any():
            jumps.append(jumps[-1][jumps[-1]])
        return jumps

    def __call__(self, x: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Positions with every molecule whole, its first atom where it was.

        :param x: ``(atom, axis)``, angstrom.
        :param box: edges ``(axis,)``.
        """
        images = -np.round((x - x[self.parent]) / box)
        for ancestor in self._jumps:
            # A root has no shift, so that paths of any length may end in it.
            images = images + images[ancestor]
        return x + images * box


def spanning_tree(x: np.ndarray, box: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Parents of the atoms of one molecule, along its bonds and else from neighbour to neighbour.

    Where bonds do not connect the molecule, the shortest distances in this configuration do.

    :param x: ``(atom, axis)``, angstrom, wrapped or not.
    :param box: edges ``(axis,)``.
    :param bonds: pairs of its atoms, ``(bond, 2)``; may be none.
    :return: ``(atom,)``; atom 0 is its own parent.
    :raises ValueError: if two neighbours are further apart than half the box.
    """
    n = len(x)
    reach = _FIRST
    pairs, lengths = bonds.reshape(-1, 2), np.full(len(bonds), _NEAR)
    links = _graph(lengths, pairs, n)
    wrapped = x - box * np.floor(x / box)
    tree = cKDTree(np.where(wrapped < box, wrapped, 0.0), boxsize=box)
    while connected_components(links, directed=False)[0] > 1:
        near = tree.query_pairs(min(reach, 0.5 * float(box.min())), output_type="ndarray")
        apart = x[near[:, 0]] - x[near[:, 1]]
        apart -= box * np.round(apart / box)
        found = np.maximum(np.sqrt((apart**2).sum(1)), 2.0 * _NEAR)
        ends = np.concatenate([pairs, near])
        # A pair that is bonded as well would add up; the shorter entry is the bond.
        ends, first = np.unique(np.sort(ends, axis=1), axis=0, return_index=True)
        links = _graph(np.concatenate([lengths, found])[first], ends, n)
        if reach >= 0.5 * box.min() and connected_components(links, directed=False)[0] > 1:
            raise ValueError(
                f"its atoms are further apart than half the box ({0.5 * box.min():.4g} angstrom) "
                "and no bonds connect them; a topology with bonds is needed to make it whole."
            )
        reach *= 1.5
    _, parent = breadth_first_order(
        minimum_spanning_tree(links), 0, directed=False, return_predecessors=True
    )
    parent = np.asarray(parent, int)
    parent[0] = 0
    return parent


def _graph(lengths: np.ndarray, pairs: np.ndarray, n: int) -> csr_array:
    # Graphs of older SciPy take 32 bits only.
    return coo_array((lengths, pairs.T.astype(np.int32)), shape=(n, n)).tocsr()
