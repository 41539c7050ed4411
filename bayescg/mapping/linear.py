r"""Linear maps of atoms to sites: positions and forces.

.. math::
    R_I(x) = \sum_i c_{Ii}\, x_i, \qquad \sum_i c_{Ii} = 1, \quad c_{Ii} > 0

(ARCG paper, Eqs. B1 and B2), and the mapped force

.. math::
    F_I(f) = \sum_{i \in S_I} \frac{d_{Ii}}{c_{Ii}}\, f_i, \qquad \sum_{i \in S_I} d_{Ii} = 1,

over the atoms :math:`S_I` that belong to site I alone. Its mean at fixed R is the mean force on the
site, whatever d is; d = c gives the sum of the forces on the atoms of the site. Atoms joined by a
rigid bond must have the same d / c, unless the forces hold those of the constraints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

__all__ = ["LinearMap"]

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A restriction map R as the list of its nonzero coefficients.

    :param atoms: number of atoms that it reads, those without a coefficient included.
    :param sites: number of sites that it makes.
    :param site: of each coefficient, ``(entry,)``.
    :param atom: of each coefficient, ``(entry,)``.
    :param weight: ``c``, ``(entry,)``, positive, one in sum over the atoms of a site.
    :param force: ``d / c``, ``(entry,)``; zero for atoms of several sites. None: the same number
        for all atoms that only one site has, which is one where no atom is shared.
    :raises ValueError: if it is not such a map, naming the site.
    """

    atoms: int
    sites: int
    site: np.ndarray
    atom: np.ndarray
    weight: np.ndarray
    force: np.ndarray | None = None

    def __post_init__(self) -> None:
        entries = self.site.shape
        for name in ("site", "atom", "weight", "force"):
            values = getattr(self, name)
            if values is not None and values.shape != entries:
                raise ValueError(f"{name} has shape {values.shape}; allowed is {entries}.")
        for name, number in (("site", self.sites), ("atom", self.atoms)):
            values = getattr(self, name)
            wrong = (values < 0) | (values >= number)
            if wrong.any():
                raise ValueError(f"the map names {name} {values[wrong][0]} of {number}.")
        wrong = ~(self.weight > 0.0) | ~np.isfinite(self.weight)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"site {self.site[at]}: the weight of atom {self.atom[at]} is {self.weight[at]:g}; "
                "allowed are positive numbers."
            )
        flat = np.sort(self.site.astype(np.int64) * self.atoms + self.atom)
        twice = flat[1:][flat[1:] == flat[:-1]]
        if twice.size:
            raise ValueError(
                f"site {twice[0] // self.atoms} names atom {twice[0] % self.atoms} twice."
            )
        self._check_sum("weight", self.weight, "the weights")
        if self.force is not None:
            if not np.isfinite(self.force).all():
                raise ValueError("force holds a number that is not finite.")
            used = np.flatnonzero(~self._own & (self.force != 0.0))
            if used.size:
                raise ValueError(
                    f"site {self.site[used[0]]}: the force of atom {self.atom[used[0]]} is used, "
                    "which other sites share; allowed are atoms that only one site has."
                )
            self._check_sum("force", self.force * self.weight, "the force weights d")

    def _check_sum(self, name: str, values: np.ndarray, what: str) -> None:
        total = np.bincount(self.site, values, self.sites)
        wrong = np.abs(total - 1.0) > _ROUNDING
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(f"site {at}: {what} add up to {total[at]:g}; allowed is a sum of one.")

    @cached_property
    def shared(self) -> np.ndarray:
        """The atoms that several sites have, ``(atom,)``."""
        return np.flatnonzero(np.bincount(self.atom, minlength=self.atoms) > 1)

    @cached_property
    def _own(self) -> np.ndarray:
        return np.bincount(self.atom, minlength=self.atoms)[self.atom] == 1

    @cached_property
    def matrix(self) -> csr_array:
        """The coefficients c, sparse ``(site, atom)``."""
        return csr_array((self.weight, (self.site, self.atom)), shape=(self.sites, self.atoms))

    @cached_property
    def force_matrix(self) -> csr_array:
        """The coefficients d / c, sparse ``(site, atom)``.

        :raises ValueError: if a site has no atom of its own.
        """
        force = self.force
        if force is None:
            own = np.bincount(self.site, self.weight * self._own, self.sites)
            if not own.all():
                raise ValueError(
                    f"site {int(np.argmin(own))} shares all its atoms with other sites; needed for "
                    "its force is at least one atom of its own."
                )
            force = self._own / own[self.site]
        return csr_array((force, (self.site, self.atom)), shape=(self.sites, self.atoms))

    def positions(self, x: np.ndarray) -> np.ndarray:
        """Positions of the sites.

        :param x: of the atoms, ``(atom, axis)``, every molecule whole.
        :return: ``(site, axis)``.
        """
        return np.asarray(self.matrix @ x)

    def forces(self, f: np.ndarray) -> np.ndarray:
        """Forces on the sites.

        :param f: on the atoms, ``(atom, axis)``.
        :return: ``(site, axis)``.
        :raises ValueError: if a site has no atom of its own.
        """
        return np.asarray(self.force_matrix @ f)
