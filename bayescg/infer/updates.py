r"""How parameters move towards statistics that match: one step from one simulation.

Coordinates are those of a program, u; statistics enter as the score and its information, which for
:math:`\log p_c = \beta\,\eta(u)\cdot\phi - A` are

.. math:: g = \beta J^\top(\phi^* - \langle\phi\rangle), \qquad
          F = \beta^2 J^\top \operatorname{Cov}[\phi] J, \qquad J = \partial\eta/\partial u

(PCG paper, Eqs. 36-39). On bins, where :math:`J = -1`, the Newton step :math:`F^{-1}g` is that of inverse Monte
Carlo (A. P. Lyubartsev and A. Laaksonen, Phys. Rev. E 52, 3730 (1995)), and with the ideal gas for F,
whose counts are Poisson's, it is to first order iterative Boltzmann inversion's (D. Reith, M. Putz and
F. Muller-Plathe, J. Comput. Chem. 24, 1624 (2003)).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from bayescg.infer.histograms import Histograms, Target
from bayescg.units import BAR

__all__ = ["IBI", "Gradient", "Measured", "Newton", "Update", "newton_step", "pressure_of"]

FULL = 3000.0  # bar off, from which a pressure correction takes its largest step
SINGULAR = (
    1e-10  # of the largest eigenvalue of a scaled matrix; below it a direction is no direction
)


class Measured(NamedTuple):
    """What one simulation says of the statistics."""

    mean: np.ndarray  # (term,)
    error: np.ndarray  # (term,), Monte Carlo standard error
    covariance: np.ndarray  # (term, term), of one configuration
    samples: np.ndarray  # (sample, term)
    independent: float  # as many independent configurations would have that error


Slope: TypeAlias = Callable[[np.ndarray], np.ndarray]


class Update(Protocol):
    """One step."""

    def __call__(
        self,
        u: np.ndarray,
        measured: Measured,
        target: Target,
        slope: Slope,
        beta: float,
        labels: list[str],
    ) -> np.ndarray:
        """Change of u, ``(u,)``.

        :param slope: from u to the Jacobian of the statistics' coefficients, ``(term, u)``.
        :param labels: names of u, for messages.
        """
        ...

    def content(self, u: np.ndarray, measured: Measured, beta: float) -> bool:
        """Whether all but the statistics is as it shall be."""
        return True


def newton_step(
    score: np.ndarray,
    information: np.ndarray,
    noise: float,
    labels: list[str],
    *,
    plain: bool = False,
) -> np.ndarray:
    r"""The Newton step, without what noise would add to it.

    In the eigenbasis of the scaled information, a component whose score is z standard errors is taken
    times :math:`\max(0, 1 - 1/z^2)`: James and Stein's shrinkage, which leaves alone what is within the noise.
    That regularises an ill-conditioned matrix by what is known of it; directions that
    no sample moves along, such as a constant of a bonded potential, are left out.

    :param noise: variance of the score in units of the information: 1/independent configurations
        of the model and of the data, added.
    :param plain: the whole step; a singular matrix is then an error.
    :raises ValueError: for a singular matrix and the plain step; it names a bin.
    """
    diagonal = np.diag(information)
    dead = ~(diagonal > 0.0)
    if plain and dead.any():
        raise ValueError(
            f"the matrix is singular: {labels[int(np.argmax(dead))]} never occurs in the simulation "
            f"({dead.sum()} such); allowed are bins that are met, or -M regularise=noise."
        )
    scale = np.where(dead, 0.0, 1.0 / np.sqrt(np.where(dead, 1.0, diagonal)))
    values, vectors = np.linalg.eigh(information * np.outer(scale, scale))
    moves = values > SINGULAR * values[-1]
    if plain and (values < 1e-13 * values[-1]).any():
        worst = int(np.argmax(np.abs(vectors[:, 0])))
        raise ValueError(
            f"the matrix is singular: bins at {labels[worst]} always change together with others; "
            "allowed are more samples, fewer bins, or -M regularise=noise."
        )
    along = vectors.T @ (scale * score)
    values = np.where(moves, values, 1.0)
    keep = np.ones(len(values)) if plain else shrunk(along**2, noise * values)
    return scale * (vectors @ np.where(moves, keep * along / values, 0.0))


def shrunk(square: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """James and Stein's factor of components with these squares, whose noise has this variance."""
    return np.maximum(0.0, 1.0 - noise / np.maximum(square, 1e-300))


@dataclass(frozen=True)
class Newton(Update):
    """REM's Newton step; on bins that of inverse Monte Carlo, with all cross-correlations.

    :param regularise: ``noise``: as :func:`newton_step` says; ``none``: the whole step.
    :param natural: the natural parameters at u; with it samples are used again, reweighted, for further
        steps, as long as their effective number is above ``trusted`` of them.
    """

    regularise: Literal["noise", "none"] = "noise"
    natural: Callable[[np.ndarray], np.ndarray] | None = None
    trusted: float = 0.3
    most: int = 5

    def __call__(
        self,
        u: np.ndarray,
        measured: Measured,
        target: Target,
        slope: Slope,
        beta: float,
        labels: list[str],
    ) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            ours = np.diag(measured.covariance)
            theirs = np.nanmedian(np.where(ours > 0.0, target.error**2 / ours, np.nan))
        theirs = theirs if np.isfinite(theirs) else 0.0
        mean, covariance, worth = measured.mean, measured.covariance, 1.0
        at = u
        for _ in range(self.most):
            jacobian = slope(at)
            score = beta * jacobian.T @ (target.mean - mean)
            information = beta**2 * jacobian.T @ covariance @ jacobian
            noise = 1.0 / (worth * measured.independent) + theirs
            at = at + newton_step(
                score, information, noise, labels, plain=self.regularise == "none"
            )
            if self.natural is None:
                break
            weights, worth = _weights(measured.samples, beta * (self.natural(at) - self.natural(u)))
            if worth < self.trusted:
                break
            mean = weights @ measured.samples
            off = measured.samples - mean
            covariance = (weights[:, None] * off).T @ off
        return at - u


def _weights(samples: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights of samples at other natural parameters, and their effective fraction (Kish)."""
    log_w = samples @ change
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    return w, 1.0 / (len(w) * float(w @ w))


@dataclass(frozen=True)
class Gradient(Update):
    """REM's gradient step, scaled by the diagonal of the information."""

    rate: float = 0.5

    def __call__(
        self,
        u: np.ndarray,
        measured: Measured,
        target: Target,
        slope: Slope,
        beta: float,
        labels: list[str],
    ) -> np.ndarray:
        jacobian = slope(u)
        score = beta * jacobian.T @ (target.mean - measured.mean)
        spread = beta**2 * np.einsum("tu,ts,su->u", jacobian, measured.covariance, jacobian)
        return self.rate * np.where(spread > 0.0, score / np.where(spread > 0.0, spread, 1.0), 0.0)


@dataclass(frozen=True)
class IBI(Update):
    r"""Iterative Boltzmann inversion, :math:`\Delta u = kT\ln(\langle S\rangle / S^*)` in every bin.

    :param histograms: the bins, which are the parameters.
    :param scale: of the step.
    :param smooth: passes of the triangular filter (1, 2, 1)/4 over the step.
    :param pressure: bar, that the model shall have; a ramp :math:`A(1 - r/r_c)` on every pair potential
        brings it there (H. Wang, C. Junghans and K. Kremer, Eur. Phys. J. E 28, 221 (2009)). None: whatever it has.
    :param pressure_within: bar, how near it has to come.
    """

    histograms: Histograms
    scale: float = 1.0
    smooth: int = 0
    pressure: float | None = None
    pressure_within: float = 100.0

    def content(self, u: np.ndarray, measured: Measured, beta: float) -> bool:
        """Whether the pressure is near enough."""
        if self.pressure is None:
            return True
        found = pressure_of(self.histograms, measured.mean, u, beta)
        return abs(found - self.pressure) <= self.pressure_within

    def __call__(
        self,
        u: np.ndarray,
        measured: Measured,
        target: Target,
        slope: Slope,
        beta: float,
        labels: list[str],
    ) -> np.ndarray:
        out = np.zeros(len(target.mean))
        for p in self.histograms.parts:
            have, want = measured.mean[p.at], target.mean[p.at]
            met = (have > 5.0 * measured.error[p.at]) & (want > 5.0 * target.error[p.at])
            met &= (have > 0.0) & (want > 0.0)
            step = np.zeros(len(have))
            ratio = have[met] / want[met]
            noise = (measured.error[p.at] / have.clip(1e-300)) ** 2
            noise = (noise + (target.error[p.at] / want.clip(1e-300)) ** 2)[met]
            # As in a Newton step, what is within the noise is left alone.
            step[met] = np.log(ratio) / beta * shrunk(np.log(ratio) ** 2, noise)
            # What the model does not visit and the data do is drawn there.
            step[(have <= 0.0) & (want > 5.0 * target.error[p.at])] = -1.0 / beta
            for _ in range(self.smooth):
                step = np.where(met, _filtered(step, met, p.kind == "dihedral"), step)
            out[p.at] = self.scale * step
        if self.pressure is not None:
            off = pressure_of(self.histograms, measured.mean, u, beta) - self.pressure
            size = -np.sign(off) * 0.1 / beta * min(1.0, abs(off) / FULL)
            for p in self.histograms.parts:
                if p.kind == "pair":
                    q = p.nodes.values
                    out[p.at] += size * (1.0 - q / (q[-1] + p.nodes.step))
        return out


def pressure_of(histograms: Histograms, mean: np.ndarray, u: np.ndarray, beta: float) -> float:
    r"""Pressure of tables from counts in bins, bar: :math:`PV = NkT - \frac13\langle\sum r\,u'(r)\rangle`."""
    virial = 0.0
    for p in histograms.parts:
        if p.kind in ("pair", "bond"):
            q, values = p.nodes.values, u[p.at]
            if p.kind == "pair":  # which ends at zero, one point on
                q, values = np.append(q, q[-1] + p.nodes.step), np.append(values, 0.0)
            slope = np.gradient(values, q)[: p.nodes.count]
            virial += float(mean[p.at] @ (p.nodes.values * slope))
    volume = float(np.prod(histograms.box))
    sites = histograms.classes.topology.sites
    return (sites / beta - virial / 3.0) / volume / BAR


def _filtered(step: np.ndarray, met: np.ndarray, periodic: bool) -> np.ndarray:
    """(1, 2, 1)/4 over neighbours that are met."""
    left, right = np.roll(step, 1), np.roll(step, -1)
    has_left, has_right = np.roll(met, 1), np.roll(met, -1)
    if not periodic:
        has_left[0] = has_right[-1] = False
    return 0.25 * (2.0 * step + np.where(has_left, left, step) + np.where(has_right, right, step))
