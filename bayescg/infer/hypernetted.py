r"""Hypernetted-chain inversion: a pair potential from an RDF by an integral equation, without a simulation.

With the total correlation :math:`h = g - 1`, the direct one c from the equation of Ornstein and Zernike,
:math:`\hat h = \hat c + \rho\hat c\hat h`, and :math:`\gamma = h - c`, the closure of the hypernetted chain gives

.. math:: u(r) = kT\,[\gamma(r) - \ln g(r)]

(J. P. Hansen and I. R. McDonald, Theory of Simple Liquids, ch. 4). Without :math:`\gamma`, as at low density, that is
direct Boltzmann inversion. A measured RDF ends somewhere; cut off there, its transform is wrong at long waves, and the
structure factor of a dense liquid comes out negative. Beyond its end the RDF is therefore what the same
closure makes of no potential, :math:`h = e^\gamma - 1`, found together with c.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, PchipInterpolator

from bayescg.units import beta_of

__all__ = ["hnc_potential"]

LONGER = 2.5  # times the range of the RDF, to which its continuation reaches
FINEST = 0.05  # angstrom between points
DILUTE = 4.0  # the first density that is solved is a fraction of the whole
SETTLED = 1e-9  # change of gamma that ends the search
ROUGH = 1e-3  # the same at densities on the way
NEWTONS = 30  # at most, at one density
KNOWN = 1e-3  # g below which its logarithm is noise
STEEP = 20.0  # kT/angstrom, the least slope of the core
FLAT = 0.2  # how far from 1 the last tenth of g may lie


def hnc_potential(r: ArrayLike, g: ArrayLike, density: float, temperature: float) -> np.ndarray:
    r"""The pair potential of an RDF by inversion of the hypernetted chain, where the potential ends with the RDF.

    Of one type of beads; approximate (bridge functions are left out), and a start for IBI, IMC or REM.
    Below the first :math:`g > 0.001` the potential goes on in a straight line, at least as steep as 20 kT/angstrom.

    :param r: increasing distances ``(r,)``, angstrom, up to where g is 1.
    :param g: radial distribution function there, ``(r,)``, 1 for an ideal gas.
    :param density: beads per cubic angstrom.
    :param temperature: K.
    :return: kcal/mol, ``(r,)``.
    :raises ValueError: for an RDF that does not go to 1, or that no potential of this closure has.
    """
    at, values = np.asarray(r, float), np.asarray(g, float)
    kt = 1.0 / beta_of(temperature)
    _check(at, values, density)
    known = values > KNOWN
    first = int(np.argmax(known))
    out = np.full(len(at), np.nan)
    out[known] = kt * (_gamma(at, values, density)[known] - np.log(values[known]))
    out = np.interp(at, at[known], out[known])
    slope = max((out[first] - out[first + 1]) / (at[first + 1] - at[first]), STEEP * kt)
    out[:first] = out[first] + slope * (at[first] - at[:first])
    return out


def _check(r: np.ndarray, g: np.ndarray, density: float) -> None:
    if r.ndim != 1 or r.shape != g.shape or len(r) < 10 or np.any(np.diff(r) <= 0.0) or r[0] < 0.0:
        raise ValueError(
            f"r and g have shapes {r.shape} and {g.shape}; needed are at least ten increasing distances."
        )
    if not np.isfinite(g).all() or (g < 0.0).any():
        raise ValueError("g must be finite and not negative.")
    if not 0.0 <= density < np.inf:
        raise ValueError(
            f"density must not be negative, in beads per cubic angstrom, got {density}."
        )
    end = float(g[-max(3, len(g) // 10) :].mean())
    if abs(end - 1.0) > FLAT:
        raise ValueError(
            f"g is {end:.2f} on the last tenth of its range, up to r = {r[-1]:g} angstrom; it must reach where g is 1."
        )


class _Waves:
    """Fourier transforms of functions of a distance, on a grid that reaches beyond the RDF."""

    def __init__(self, step: float, reach: float) -> None:
        points = int(np.ceil(reach / step))
        place = np.arange(1, points)
        self.r = step * place
        dk = np.pi / (points * step)
        k = dk * place
        sines = np.sin(np.outer(k, self.r))
        self.there = 4.0 * np.pi * step * sines * self.r / k[:, None]
        self.back = dk / (2.0 * np.pi**2) * sines.T * k / self.r[:, None]


def _gamma(r: np.ndarray, g: np.ndarray, density: float) -> np.ndarray:
    """h - c at ``r``, by Newton's method at densities that grow to the whole."""
    if density == 0.0:
        return np.zeros_like(r)
    step = min(FINEST, 0.5 * float(np.diff(r).min()))
    waves = _Waves(step, LONGER * r[-1])
    inside = waves.r <= r[-1]
    h = np.zeros_like(waves.r)
    h[inside] = PchipInterpolator(r, g)(np.maximum(waves.r[inside], r[0])) - 1.0
    gamma = np.zeros_like(h)
    done, growth = 0.0, 2.0
    now = density / DILUTE
    while True:
        settled = SETTLED if now == density else ROUGH
        found = _newton(waves, h, inside, now, gamma, settled)
        if found is not None:
            if now == density:
                return np.asarray(CubicSpline(waves.r, found)(r))
            gamma, done = found, now
        else:
            growth = np.sqrt(growth)
            if growth < 1.01:
                raise ValueError(
                    f"the hypernetted chain has no solution for this RDF above {done:.3g} beads per cubic angstrom "
                    f"(asked: {density:g}); check its density, or start from direct Boltzmann inversion."
                )
        now = min(density, growth * done) if done else now / DILUTE
        if now < 1e-6 * density:
            raise ValueError("the hypernetted chain has no solution for this RDF at any density.")


def _newton(
    waves: _Waves,
    h: np.ndarray,
    inside: np.ndarray,
    density: float,
    gamma: np.ndarray,
    settled: float,
) -> np.ndarray | None:
    """Gamma at one density, from a guess; None where the search fails."""

    def direct(gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The transform of c, and 1 / S(k), which must stay positive."""
        c = np.where(inside, h - gamma, np.expm1(np.minimum(gamma, 5.0)) - gamma)
        there = waves.there @ c
        return there, 1.0 - density * there

    for _ in range(NEWTONS):
        c, inverse = direct(gamma)
        if inverse.min() <= 0.0:
            return None
        rest = gamma - waves.back @ (density * c * c / inverse)
        if np.abs(rest).max() < settled:
            return gamma
        response = waves.back @ ((1.0 / inverse**2 - 1.0)[:, None] * waves.there)
        slope = np.where(inside, -1.0, np.expm1(np.minimum(gamma, 5.0)))
        move = np.linalg.solve(np.eye(len(h)) - response * slope, -rest)
        length = 1.0
        while length > 1e-3 and direct(gamma + length * move)[1].min() <= 0.0:
            length *= 0.5
        gamma = gamma + length * move
    return None
