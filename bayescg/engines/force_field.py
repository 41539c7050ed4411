r"""Molecules of an all-atom force field of OPLS form: atom types, bonded terms and their parameters.

The energy has the form of OPLS-AA (W. L. Jorgensen, D. S. Maxwell and J. Tirado-Rives, J. Am. Chem.
Soc. 118, 11225 (1996), Eqs. 1-4):

.. math::
    E = \sum_\text{bonds} k (r - r_0)^2 + \sum_\text{angles} k (\theta - \theta_0)^2
      + \sum_\text{torsions} \tfrac12 [V_1 (1 + \cos\phi) + V_2 (1 - \cos 2\phi) + V_3 (1 + \cos 3\phi)]
      + \sum_{i<j} f_{ij} \left[\frac{q_i q_j}{r_{ij}}
      + 4 \epsilon_{ij} \left(\frac{\sigma_{ij}^{12}}{r_{ij}^{12}} - \frac{\sigma_{ij}^6}{r_{ij}^6}\right)\right]

with geometric means for :math:`\epsilon_{ij}` and :math:`\sigma_{ij}`, and f = 0 between atoms one or two
bonds apart, 1/2 for three, 1 beyond. The numbers are the user's: a :class:`ForceField`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

__all__ = ["Atom", "ForceField", "Molecule"]


class Atom(NamedTuple):
    """An atom type: element (by which bonded terms are found), g/mol, e, angstrom and kcal/mol."""

    element: str
    mass: float
    charge: float
    sigma: float
    epsilon: float


@dataclass(frozen=True)
class ForceField:
    """Parameters by atom type and, for bonded terms, by elements: ``C-C-H``, from either end.

    :param bonds: k, kcal/mol/angstrom^2, and length, angstrom.
    :param angles: k, kcal/mol/rad^2, and angle, degrees.
    :param torsions: V1, V2 and V3, kcal/mol.
    :param one_four: what is left of non-bonded interactions between atoms three bonds apart.
    """

    atoms: Mapping[str, Atom]
    bonds: Mapping[str, tuple[float, float]]
    angles: Mapping[str, tuple[float, float]]
    torsions: Mapping[str, tuple[float, float, float]]
    one_four: float = 0.5


@dataclass(frozen=True, eq=False)
class Molecule:
    """One molecule.

    :param names: of the atoms, ``(atom,)``; their types are keys of the field's ``atoms``.
    :param bonds: pairs of atoms.
    :param shape: positions to start from, ``(atom, 3)`` angstrom.
    :raises ValueError: if the field lacks a type or a term, or a bond names an atom there is not.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    shape: np.ndarray
    field: ForceField

    def __post_init__(self) -> None:
        atoms = len(self.types)
        if len(self.names) != atoms or self.shape.shape != (atoms, 3):
            raise ValueError(
                f"a molecule of {atoms} atoms has {len(self.names)} names and a shape {self.shape.shape}."
            )
        for bond in self.bonds:
            if not 0 <= min(bond) < max(bond) < atoms:
                raise ValueError(
                    f"a bond joins {bond}; allowed are two atoms from 0 to {atoms - 1}."
                )
        for name in self.types:
            if name not in self.field.atoms:
                raise ValueError(
                    f"atom type {name!r} is not in the field, which has {', '.join(self.field.atoms)}."
                )
        for kind, members in self.terms.items():
            for term in members:
                self.parameters(kind, term)

    @property
    def masses(self) -> np.ndarray:
        """Mass of each atom, ``(atom,)``, g/mol."""
        return np.array([self.field.atoms[t].mass for t in self.types])

    @property
    def elements(self) -> tuple[str, ...]:
        """Element of each atom, ``(atom,)``."""
        return tuple(self.field.atoms[t].element for t in self.types)

    @cached_property
    def terms(self) -> dict[str, list[tuple[int, ...]]]:
        """The atoms of every bond, angle and torsion."""
        near: list[list[int]] = [[] for _ in self.types]
        for i, j in self.bonds:
            near[i].append(j)
            near[j].append(i)
        angles: list[tuple[int, ...]] = [
            (i, k, j) for k, ends in enumerate(near) for i, j in combinations(ends, 2)
        ]
        torsions: list[tuple[int, ...]] = [
            (i, j, k, m)
            for j, k in self.bonds
            for i in near[j]
            for m in near[k]
            if i != k and m != j and i != m
        ]
        return {"bonds": list(self.bonds), "angles": angles, "torsions": torsions}

    @property
    def close(self) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """Pairs one or two bonds apart, and pairs three bonds apart."""
        ends = {
            kind: {(min(t[0], t[-1]), max(t[0], t[-1])) for t in members}
            for kind, members in self.terms.items()
        }
        excluded = ends["bonds"] | ends["angles"]
        return excluded, ends["torsions"] - excluded

    def parameters(self, kind: str, term: tuple[int, ...]) -> tuple[float, ...]:
        """Of one bonded term.

        :raises ValueError: if the field has none.
        """
        elements = [self.elements[i] for i in term]
        known: Mapping[str, tuple[float, ...]] = getattr(self.field, kind)
        for key in ("-".join(elements), "-".join(elements[::-1])):
            if key in known:
                return known[key]
        raise ValueError(
            f"the field has no {kind} for {'-'.join(elements)}; it has {', '.join(known)}."
        )
