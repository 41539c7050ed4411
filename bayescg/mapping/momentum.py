r"""Momentum consistency of linear maps (ARCG paper, Eqs. 25 to 30 and Appendix B).

With each atom in at most one site, mapping the momenta by

.. math::
    P_I = M_I \sum_i c_{Ii}\, \frac{p_i}{m_i}

(Eq. 26) gives independent Maxwell-Boltzmann momenta of the masses

.. math::
    M_I^{-1} = \sum_i \frac{c_{Ii}^2}{m_i}

(Eq. 27), those that a simulation with site masses :math:`M_I` has. With a pre-CG resolution, whose
sites a second map G takes to the same sites, both maps must imply the same masses (Eq. 30).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayescg.mapping.linear import LinearMap

__all__ = ["MomentumConsistency", "implied_mass", "momentum_consistency"]

_SAME = 1e-4  # relative: masses are typed with four or five digits


@dataclass(frozen=True, eq=False)
class MomentumConsistency:
    """Whether a map of momenta gives what a simulation of the sites has.

    :param disjoint: each atom is in one site at most, in both maps if there are two; otherwise the
        mapped momenta of different sites are correlated.
    :param same_mass: the masses are those that the map implies, up to their rounding.
    :param mass: those that the map implies, g/mol, ``(site,)``.
    :param reasons: what does not hold, a sentence each.
    """

    disjoint: bool
    same_mass: bool
    mass: np.ndarray
    reasons: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether both conditions hold."""
        return self.disjoint and self.same_mass

    @property
    def text(self) -> str:
        """The answer in words."""
        if self.holds:
            return (
                "The map is momentum consistent: each atom is in one site at most, and the masses "
                "of the sites are those that the map implies (ARCG paper, Eq. 27)."
            )
        return "The map is not momentum consistent. " + " ".join(self.reasons)


def implied_mass(restriction: LinearMap, mass: np.ndarray) -> np.ndarray:
    """Masses of the sites by Eq. 27 of the ARCG paper.

    :param restriction: from atoms to sites.
    :param mass: of the atoms, g/mol, ``(atom,)``.
    :return: g/mol, ``(site,)``; for a centre of mass the sum of the masses.
    :raises ValueError: if the mass of an atom in a site is not positive.
    """
    used = np.asarray(mass, float)[restriction.atom]
    wrong = ~(used > 0.0) | ~np.isfinite(used)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"the mass of atom {restriction.atom[at]} is {used[at]:g}; allowed are positive numbers "
            "(g/mol)."
        )
    return 1.0 / np.bincount(
        restriction.site, restriction.weight**2 / used, minlength=restriction.sites
    )


def momentum_consistency(
    restriction: LinearMap,
    mass: np.ndarray,
    site_mass: np.ndarray | None = None,
    *,
    pre_map: LinearMap | None = None,
    pre_mass: np.ndarray | None = None,
) -> MomentumConsistency:
    """Whether the momenta that a map gives are those of a simulation with the masses of the sites.

    :param restriction: M, of atoms to sites.
    :param mass: of the atoms, g/mol, ``(atom,)``.
    :param site_mass: of the sites, ``(site,)``; None: those that the map implies.
    :param pre_map: G, of the pre-CG resolution to the same sites, if there is one; ``pre_mass``
        the masses of its sites. Dropping virtual sites is a map too.
    :raises ValueError: if arrays do not go together or a mass is not positive.

    >>> both = LinearMap(2, 1, np.array([0, 0]), np.array([0, 1]), np.array([0.25, 0.75]))  # centre of mass
    >>> momentum_consistency(both, np.array([1.0, 3.0]), np.array([4.0])).holds
    True
    """
    if (pre_map is None) != (pre_mass is None):
        raise ValueError("pre_map and pre_mass go together; give both or neither.")
    implied = implied_mass(restriction, mass)
    reasons = []
    disjoint = same = True
    maps = [("", restriction)] if pre_map is None else [(" by M", restriction), (" by G", pre_map)]
    for name, one in maps:
        if one.shared.size:
            disjoint = False
            reasons.append(
                f"{one.shared.size} atoms are in several sites{name}, atom {one.shared[0]} for one, "
                "so that the momenta of those sites are correlated (Appendix B)."
            )
    given = [("is given", site_mass)]
    if pre_map is not None and pre_mass is not None:
        given.append(("is implied by G (Eq. 30)", implied_mass(pre_map, pre_mass)))
    for how, masses in given:
        if masses is None:
            continue
        if masses.shape != implied.shape:
            raise ValueError(f"the masses have shape {masses.shape}; allowed is {implied.shape}.")
        wrong = np.abs(masses - implied) > _SAME * implied
        if wrong.any():
            same = False
            at = int(np.argmax(wrong))
            reasons.append(
                f"{wrong.sum()} of {len(implied)} sites have another mass than the map implies "
                f"(Eq. 27), site {at} for one: {implied[at]:.6g} g/mol is implied, {masses[at]:.6g} "
                f"g/mol {how}."
            )
    return MomentumConsistency(disjoint, same, implied, tuple(reasons))
