r"""Potentials beyond the data: a core that repels, a tail that ends, bonds that hold.

A fitted potential means something where there were data. A simulation goes further, and what it
finds there must push it back:

- **core** of a pair, below the smallest distance seen, :math:`a`: the potential's own continuation
  as long as its force is at least :math:`F(a) + K(a - r)`, that is repulsive and at least as steep; else, from
  :math:`a` on, a force that grows linearly, :math:`F(a) + \max(-F'(a), K)(a - r)`. Energy and force are
  continuous. :math:`K = 300\,kT/a^2`: a core yields 10 kT over a quarter of its radius. An own
  continuation is left in the same way where it has risen by 1000 kT, so that it stays finite down to
  zero distance;
- **tail** of a pair: lowered to end at zero at its cut-off, which no force notices;
- **bonded** terms: harmonic outwards from the ends of what is known, with the curvature there, but at least
  kT over the square of a sixth of the range. The part of a circle that a dihedral never visited is
  bridged by a polynomial of fourth order with a barrier between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayescg.io.export.model import Interaction
from bayescg.units import BOLTZMANN

__all__ = ["Extended", "extended"]

STEP = 1e-4  # angstrom or radians, of difference quotients
STIFF = 300.0  # kT over the square of the core's radius, its least stiffness
NARROW = 1.0  # angstrom; a smaller core is no stiffer than one of this radius
HIGHEST = 1000.0  # kT above its value at the smallest known distance: no site ever gets there
TURN = 2.0 * np.pi
_FIVE = np.arange(5.0)
#: Coefficients of the five Lagrange polynomials on 0 to 4, lowest power first: ``(power, point)``.
_LAGRANGE = np.linalg.inv(np.vander(_FIVE, increasing=True))


@dataclass(frozen=True, eq=False)
class Extended:
    """A potential with its extrapolation; every value is finite.

    :param interaction: the potential, with what was seen of its coordinate.
    :param low: where the potential's own form begins; ``high``: where it ends.
    :param below: coefficients of a polynomial in ``q - low``, lowest power first; ``above``: in
        ``q - high``.
    :param shift: what the potential's own form is lowered by, kcal/mol.
    """

    interaction: Interaction
    low: float
    high: float
    below: np.ndarray
    above: np.ndarray
    shift: float = 0.0

    def energy(self, q: np.ndarray) -> np.ndarray:
        """kcal/mol, of angstrom or radians."""
        return self._pieces(q, lambda v: self._own(v) - self.shift, 0)

    def force(self, q: np.ndarray) -> np.ndarray:
        """The energy's slope with its sign turned, kcal/mol/angstrom or kcal/mol/radian."""
        return -self._pieces(q, lambda v: _derivative(self._own, v, *self._sampled, 1), 1)

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Where it differs from the potential's own form, for what is said of it."""
        i = self.interaction
        if i.kind == "pair":
            return ((0.0, self.low),) if self.low > 0.0 else ()
        if i.kind == "dihedral":
            return ((self.high, self.low + TURN),) if self.high < self.low + TURN - 1e-9 else ()
        last = np.pi if i.kind == "angle" else np.inf
        return tuple(r for r in ((0.0, self.low), (self.high, last)) if r[0] < r[1])

    @property
    def _sampled(self) -> tuple[float, float]:
        """Where difference quotients may look: the own form may not go on beyond its ends."""
        if self.interaction.kind == "dihedral" and self.high >= self.low + TURN - 1e-9:
            return -np.inf, np.inf
        return self.low, self.high

    def _own(self, q: np.ndarray) -> np.ndarray:
        if self.interaction.kind == "dihedral":
            q = np.pi - (np.pi - q) % TURN
        return np.asarray(self.interaction.energy(q), float)

    def _pieces(
        self, q: np.ndarray, own: Callable[[np.ndarray], np.ndarray], order: int
    ) -> np.ndarray:
        q = np.asarray(q, float)
        if self.interaction.kind == "dihedral":
            q = self.low + (q - self.low) % TURN
        out = np.where(
            q < self.low,
            _polynomial(self.below, q - self.low, order),
            _polynomial(self.above, q - self.high, order),
        )
        inside = (q >= self.low) & (q < self.high)
        if inside.any():
            out[inside] = own(q[inside])
        return out


def extended(interaction: Interaction, temperature: float) -> Extended:
    """A potential with its extrapolation.

    :param interaction: the potential, with what was seen of its coordinate.
    :param temperature: K.
    :raises ValueError: if the potential is not finite where data were, or no data lie within its range.
    """
    make = {"pair": _pair, "dihedral": _dihedral}.get(interaction.kind, _bonded)
    kt = BOLTZMANN * temperature
    with np.errstate(all="ignore"):
        out = make(interaction, kt)
        values = out.energy(np.linspace(out.low, out.high, 2001)[:-1])
    if not (np.isfinite(values).all() and np.isfinite(out.below).all()):
        raise ValueError(
            f"{interaction.label} is not finite between {out.low:g} and {out.high:g}, where data were; "
            "allowed are finite potentials."
        )
    return out


def _pair(i: Interaction, kt: float) -> Extended:
    first, last = i.known[0], i.cutoff * (1.0 - 1e-12)
    if not first < i.cutoff:
        raise ValueError(
            f"{i.label}: the closest distance in the data, {first:g} angstrom, is not within the "
            f"cut-off of {i.cutoff:g}: nothing is known of it."
        )
    first = max(first, 0.0)

    def own(r: np.ndarray) -> np.ndarray:
        return np.asarray(i.energy(r), float)

    u, slope, bend = _at(own, first, first, last)
    start, stiff = first, STIFF * kt / max(first, NARROW) ** 2
    r = np.arange(first, 0.0, -0.005)[1:]
    e, f = own(r), -_derivative(own, r, 0.001, last, 1)
    fine = np.isfinite(e) & (f >= -slope + stiff * (first - r))
    # How far down the own form may be followed: until it is as high as no site ever gets.
    high = np.flatnonzero(e - u >= HIGHEST * kt)
    if high.size and fine[: high[0] + 1].all():
        start = float(r[high[0]])
        u, slope, bend = _at(own, start, 0.001, last)
    end = float(own(np.array([last]))[0])
    below = np.array([u - end, slope, 0.5 * max(bend, stiff)])
    return Extended(i, start, i.cutoff, below, np.zeros(1), end)


def _bonded(i: Interaction, kt: float) -> Extended:
    low, high = max(i.known[0], 0.0), i.known[1]
    if i.kind == "angle":
        high = min(high, np.pi)

    def end(q: float) -> np.ndarray:
        u, slope, bend = _at(i.energy, q, low, high)
        return np.array([u, slope, 0.5 * max(bend, _hold(low, high, kt))])

    return Extended(i, low, high, end(low), end(high))


def _dihedral(i: Interaction, kt: float) -> Extended:
    low, high = i.known
    if high - low >= TURN - 1e-9:
        return Extended(i, -np.pi, np.pi, np.zeros(1), np.zeros(1))

    def own(q: np.ndarray) -> np.ndarray:
        return np.asarray(i.energy(np.pi - (np.pi - q) % TURN), float)

    (u0, s0, _), (u1, s1, _) = (_at(own, q, low, high) for q in (high, low))
    gap = low + TURN - high
    # Hermite's cubic in t = (q - high)/gap, and a barrier b t^2 (1 - t)^2 whose curvature holds.
    b = 0.5 * _hold(low, high, kt) * gap**2
    s0, s1 = s0 * gap, s1 * gap
    rise = u1 - u0
    t = np.array([u0, s0, 3.0 * rise - 2.0 * s0 - s1 + b, s0 + s1 - 2.0 * rise - 2.0 * b, b])
    return Extended(i, low, high, np.zeros(1), t / gap ** np.arange(5.0))


def _hold(low: float, high: float, kt: float) -> float:
    """The force constant of a harmonic term that visits six standard deviations."""
    return kt / ((high - low) / 6.0) ** 2


def _at(
    f: Callable[[np.ndarray], np.ndarray], q: float, low: float, high: float
) -> tuple[float, float, float]:
    """Value, slope and curvature, seen from between ``low`` and ``high``."""
    at = np.array([q])
    return (
        float(f(at)[0]),
        float(_derivative(f, at, low, high, 1)[0]),
        float(_derivative(f, at, low, high, 2)[0]),
    )


def _derivative(
    f: Callable[[np.ndarray], np.ndarray], q: np.ndarray, low: float, high: float, order: int
) -> np.ndarray:
    """Of the polynomial through five points near ``q``, none outside ``low`` to ``high``."""
    step = min(STEP, 0.25 * (high - low) * (1.0 - 1e-9))
    start = np.clip(q - 2.0 * step, low, max(low, high * (1.0 - 1e-12) - 4.0 * step))
    t = (q - start) / step
    values = f((start[:, None] + step * _FIVE).ravel()).reshape(-1, 5)
    powers = np.stack([_power(k, t, order) for k in range(5)], 1)  # (point, power)
    return np.asarray(np.sum(values * (powers @ _LAGRANGE), 1) / step**order)


def _power(k: int, t: np.ndarray, order: int) -> np.ndarray:
    """A derivative of ``t**k``."""
    factor = np.prod(np.arange(k, k - order, -1.0)) if order <= k else 0.0
    return np.asarray(factor * t ** max(k - order, 0))


def _polynomial(c: np.ndarray, t: np.ndarray, order: int) -> np.ndarray:
    out = np.zeros_like(t)
    for k, value in enumerate(c):
        out = out + value * _power(k, t, order)
    return out
