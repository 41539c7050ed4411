r"""Pressure and isothermal compressibility of samples at constant volume.

With :math:`U' = \partial U/\partial\ln\lambda` and :math:`U''` the derivatives of the energy as all lengths grow by
:math:`\lambda`, from :math:`Z(V) = V^N\int e^{-\beta U}\,\mathrm{d}s`,

.. math:: P = \frac{kT}{3V}\bigl(3N - \beta\langle U'\rangle\bigr), \qquad
          \frac1{\kappa_T} = \frac{kT}{9V}\bigl(9N - 3\beta\langle U'\rangle + \beta\langle U''\rangle
          - \beta^2\operatorname{Var}[U']\bigr)

(M. P. Allen and D. J. Tildesley, Computer Simulation of Liquids, Section 2.4-2.5). A potential fitted at
constant volume has seen nothing of either, and is not to be trusted for them.
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
    compressibility: float  # 1/bar


def pressure(
    natural: np.ndarray,
    beta: float,
    first: np.ndarray,
    second: np.ndarray,
    weights: np.ndarray,
    sites: int,
    volume: float,
) -> Pressure:
    """Pressure and compressibility from weighted samples.

    :param natural: natural parameters, ``(term,)``, kcal/mol.
    :param first: derivatives of the statistics, ``(sample, term)``; ``second`` likewise.
    :param weights: of the samples, ``(sample,)``, summing to 1.
    :param volume: angstrom^3.
    """
    u1, u2 = -(first @ natural), -(second @ natural)
    mean = weights @ u1
    spread = weights @ (u1 - mean) ** 2
    kt = 1.0 / beta
    p = kt / (3.0 * volume) * (3.0 * sites - beta * mean)
    bulk = 9.0 * sites - 3.0 * beta * mean + beta * (weights @ u2) - beta**2 * spread
    bulk *= kt / (9.0 * volume)
    return Pressure(p / BAR, BAR / bulk)
