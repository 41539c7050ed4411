r"""Pressure and isothermal bulk modulus of samples at constant volume.

With :math:`U' = \partial U/\partial\ln\lambda` and :math:`U''` the derivatives of the energy as all lengths grow by
:math:`\lambda`, from :math:`Z(V) = V^N\int e^{-\beta U}\,\mathrm{d}s`,

.. math:: P = \frac{kT}{3V}\bigl(3N - \beta\langle U'\rangle\bigr), \qquad
          B = \frac1{\kappa_T} = \frac{kT}{9V}\bigl(9N - 3\beta\langle U'\rangle + \beta\langle U''\rangle
          - \beta^2\operatorname{Var}[U']\bigr)

(M. P. Allen and D. J. Tildesley, Computer Simulation of Liquids, Section 2.4-2.5). Where B is not positive
the liquid would fall apart if its volume were free, and has no compressibility. A potential fitted at constant
volume has seen nothing of either, and is not to be trusted for them.
"""

from typing import NamedTuple

import numpy as np

from bayescg.units import BAR

__all__ = ["WARNING", "Pressure", "pressure"]

WARNING = (
    "pressure and compressibility are those of the coarse model: frames at constant volume do not fix "
    "them, whatever their intervals say."
)


class Pressure(NamedTuple):
    """Of one state."""

    pressure: float  # bar
    bulk_modulus: float  # bar
    pressure_error: float  # Monte Carlo standard error, bar
    bulk_modulus_error: float

    @property
    def compressibility(self) -> float:
        """1/bar; NaN where the bulk modulus is not positive."""
        return 1.0 / self.bulk_modulus if self.bulk_modulus > 0.0 else np.nan


def pressure(
    natural: np.ndarray,
    beta: float,
    first: np.ndarray,
    second: np.ndarray,
    weights: np.ndarray,
    chain: np.ndarray,
    sites: int,
    volume: float,
) -> Pressure:
    """Pressure and bulk modulus from weighted samples.

    :param natural: natural parameters, ``(term,)``, kcal/mol.
    :param first: derivatives of the statistics, ``(sample, term)``; ``second`` likewise.
    :param weights: of the samples, ``(sample,)``, summing to 1.
    :param chain: of each sample, ``(sample,)``; chains are independent, the samples of one are not.
    :param volume: angstrom^3.
    """
    u1, u2 = -(first @ natural), -(second @ natural)
    mean, curved = weights @ u1, weights @ u2
    spread = weights @ (u1 - mean) ** 2
    kt = 1.0 / beta
    one, two = kt / (3.0 * volume) / BAR, kt / (9.0 * volume) / BAR
    p = one * (3.0 * sites - beta * mean)
    bulk = two * (9.0 * sites - 3.0 * beta * mean + beta * curved - beta**2 * spread)
    # What each sample adds to either, about its mean.
    adds = -beta * (u1 - mean)
    adds_bulk = 3.0 * adds + beta * (u2 - curved) - beta**2 * ((u1 - mean) ** 2 - spread)
    errors = [
        scale * float(np.sqrt(np.sum(np.bincount(chain, weights * a) ** 2)))
        for scale, a in ((one, adds), (two, adds_bulk))
    ]
    return Pressure(float(p), float(bulk), *errors)
