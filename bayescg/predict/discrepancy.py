r"""Intervals that allow for a wrong model, from what the fine data themselves say of an observable.

A posterior holds the uncertainty of parameters, and the prediction of a coarse model can be wrong by many of its
standard deviations. The data tell: the observable's average over their frames, :math:`\bar a`, is unbiased. With
:math:`m` the model's prediction and :math:`\delta` its error (the discrepancy) the truth :math:`t` is in

.. math:: m = t - \delta + e_m, \quad \bar a = t + e_a, \quad (e_m, e_a) \sim N(0, V), \quad
          \delta \sim N(0, \tau^2), \quad \tau \sim \text{half-Cauchy}(A\,s_a),

with :math:`s_a` the standard error of the average. Given :math:`\tau`, t is a weighted mean of the two: all of
the model's where it is right, all of the data's where it is far off. :math:`\tau` is integrated out by quadrature,
and so is the scale of V, which is known from N frames only (:math:`\chi^2`, N - 1 degrees of freedom): where the
model counts for nothing, the interval is Student's.

V holds that both come from the same frames. How the prediction changes with the weight of a frame is its covariance,
over posterior draws, with the frame's log likelihood (the Bayesian infinitesimal jackknife, Giordano and Broderick,
arXiv:2305.06466); no refit is needed. A bagged posterior, the alternative, widens an interval by what the data leave
open, and not by what the model gets wrong.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from scipy.stats import chi2
from scipy.stats import t as student

__all__ = ["Joint", "Truth", "joint_errors", "misfit", "truth"]

SCALE = 6.0  # A: of the prior of tau, in standard errors of the average; at 3, coverage falls to 84 % somewhere
FEW = 5  # frames that have to differ from all others before the average's error is believed
FLOOR = 0.01  # of the average's variance, what is always left open of the difference of the two
GRID = 201  # points of the distribution function
SCALES = 7  # quadrature points of the variance's scale
TAUS = 32  # quadrature points of tau
LEAST = 0.05  # the smallest of them, in standard errors of the average


class Joint(NamedTuple):
    """The model's prediction and the data's average, and the errors that they share.

    Arrays ``(*component)``.

    :param by_frame: what each frame adds to their difference, ``(frame, *component)``; None where it is not known.
    :param told: components in which enough frames differ for the average's error to be known; None: all.
    :param worth: independent frames that those which follow each other are worth; None: all are independent.
    """

    model: np.ndarray
    data: np.ndarray
    model_variance: np.ndarray
    data_variance: np.ndarray
    covariance: np.ndarray
    frames: int
    by_frame: np.ndarray | None = None
    told: np.ndarray | None = None
    worth: np.ndarray | None = None

    @property
    def freedom(self) -> np.ndarray:
        """Degrees of freedom of the average's variance, ``(*component)``; at least 1."""
        worth = float(self.frames) if self.worth is None else self.worth
        return np.maximum(np.broadcast_to(worth, np.shape(self.model)) - 1.0, 1.0)

    @property
    def difference_variance(self) -> np.ndarray:
        """Variance of the average less the prediction, over data sets, where the model is right."""
        direct = self.model_variance + self.data_variance - 2.0 * self.covariance
        return np.maximum(direct, FLOOR * self.data_variance)

    @property
    def z(self) -> np.ndarray:
        """Standard errors between the average and the prediction; NaN where that error is not known.

        Where what both share is only assumed, they count as independent, lest a difference of two estimated variances
        makes a small distance look large.
        """
        independent = self.model_variance + self.data_variance
        variance = independent if self.by_frame is None else self.difference_variance
        known = (variance > 0.0) & (self.data_variance > 0.0)
        known = known if self.told is None else known & self.told
        gap = self.data - self.model
        return np.divide(gap, np.sqrt(variance), out=np.full_like(gap, np.nan), where=known)


class Truth(NamedTuple):
    """Distribution of an observable's true value.

    :param draws: equally weighted, ``(draw, *component)``, increasing along the first axis.
    :param weight: of the data's average, the rest being the model's; ``(*component)``.
    """

    draws: np.ndarray
    weight: np.ndarray


def joint_errors(
    draws: np.ndarray,
    frames: np.ndarray,
    log_likelihood: np.ndarray | None,
    *,
    noise: np.ndarray | float = 0.0,
    common_noise: bool = False,
    inefficiency: np.ndarray | float = 1.0,
) -> Joint:
    """Prediction and average with their joint errors, by the infinitesimal jackknife.

    :param draws: the observable of posterior draws, ``(draw, *component)``.
    :param frames: the observable of data, ``(frame, *component)``.
    :param log_likelihood: of each frame, latents summed out, ``(draw, frame)``. None where it is not known, or frames
        depend on each other: then the two share what a right model would make them share (Hausman: the variance of
        the better one). Draws of which it is not finite are left out of what is shared.
    :param noise: Monte Carlo variance of one draw's value.
    :param common_noise: whether all draws have the same Monte Carlo error, from pooled samples, or each its own.
    :param inefficiency: how many frames count as one, of frames that follow each other.
    :raises ValueError: for fewer than two draws or frames.
    """
    if len(draws) < 2 or len(frames) < 2:
        raise ValueError(
            f"a discrepancy needs at least two draws and two frames, got {len(draws)} and {len(frames)}."
        )
    count, n = len(draws), len(frames)
    model, data = draws.mean(0), frames.mean(0)
    spread, unsure = draws.var(0, ddof=1), draws.var(0, ddof=1) / count
    if common_noise:
        unsure = unsure + noise
    else:
        spread = np.maximum(spread - noise, 0.0)
    of_data = (frames - data) / n
    scale = inefficiency * n / (n - 1.0)
    worth = np.broadcast_to(n / np.asarray(inefficiency, float), model.shape)
    data_variance = scale * np.sum(of_data**2, 0)
    told = _differing(frames) >= FEW
    usable = None if log_likelihood is None else np.isfinite(log_likelihood).all(1)
    if log_likelihood is None or usable is None or usable.sum() < 2:
        model_variance = spread + unsure
        covariance = np.minimum(model_variance, data_variance)
        return Joint(model, data, model_variance, data_variance, covariance, n, None, told, worth)
    centred = log_likelihood[usable] - log_likelihood[usable].mean(0)
    flat = (draws[usable] - draws[usable].mean(0)).reshape(usable.sum(), -1)
    influence = (centred.T @ flat / (usable.sum() - 1.0)).reshape(n, *model.shape)
    influence = influence - influence.mean(0)
    # Of data sets, or of parameters under the prior: whichever is more uncertain.
    of_model = scale * np.sum(influence**2, 0)
    model_variance = np.maximum(of_model, spread) + unsure
    covariance = scale * np.sum(influence * of_data, 0)
    shares = of_data - influence
    return Joint(model, data, model_variance, data_variance, covariance, n, shares, told, worth)


def _differing(frames: np.ndarray) -> np.ndarray:
    """How many frames differ from the most common value of a component, ``(*component)``."""
    ordered = np.sort(frames, 0)
    # The longest run of equal values in sorted order.
    same = np.concatenate([np.zeros((1, *frames.shape[1:]), bool), ordered[1:] == ordered[:-1]])
    run, longest = np.ones(frames.shape[1:]), np.ones(frames.shape[1:])
    for row in same[1:]:
        run = np.where(row, run + 1.0, 1.0)
        longest = np.maximum(longest, run)
    return len(frames) - longest


def misfit(joint: Joint, rng: np.random.Generator, level: float = 0.01) -> float:
    r"""How probable so large a difference of prediction and average is where the model is right: a p-value.

    Of all components at once, by the mean of their squared t-values. Each frame has its share of the difference; were
    the model right, the signs of those would be as good as random, and are drawn anew many times. Where shares are not
    known, or frames are too few for signs to tell, it is the largest of Student's t-values, by Bonferroni's bound.

    :param level: what p will be compared with, to which it is resolved.
    :return: NaN where no component has a known error.
    """
    z = np.ravel(joint.z)
    varies = np.isfinite(z)
    if not varies.any():
        return float("nan")
    n = joint.frames
    if joint.by_frame is None or 2.0 ** (1 - n) > 0.5 * level:
        each = 2.0 * student.sf(np.abs(z[varies]), np.ravel(joint.freedom)[varies])
        return float(min(1.0, varies.sum() * each.min()))
    share = joint.by_frame.reshape(n, -1)[:, varies]
    share = share - share.mean(0)
    own = n / (n - 1.0) * np.sum(share**2, 0)
    gap = np.ravel(joint.data - joint.model)[varies]
    # A prediction is less sure than frames tell where the prior leaves it open: the gap counts for less.
    gap = gap * np.minimum(np.sqrt(own / np.ravel(joint.difference_variance)[varies]), 1.0)
    pieces = gap / n + share
    square = np.sum(pieces**2, 0)
    flips = max(4000, int(np.ceil(4.0 / level)))
    signs = rng.choice([-1.0, 1.0], (flips, n))
    signs[0] = 1.0  # what was seen is one of the ways
    sums = signs @ pieces
    scatter = np.maximum(square - sums**2 / n, 1e-12 * square)
    ratio = np.divide(sums**2, scatter, out=np.zeros_like(sums), where=scatter > 0.0)
    statistic = np.mean((n - 1.0) / n * ratio, 1)
    return float(np.mean(statistic >= statistic[0]))


@dataclass(frozen=True)
class _Mixture:
    """Normal components of the truth's distribution, ``(part, *component)``."""

    mean: np.ndarray
    sd: np.ndarray
    probability: np.ndarray
    weight: np.ndarray

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """``(level, component)``, of components in a row."""
        centre = np.sum(self.probability * self.mean, 0)
        spread = np.sqrt(np.sum(self.probability * (self.sd**2 + (self.mean - centre) ** 2), 0))
        out = np.empty((len(levels), centre.size))
        # Denser in the middle; heavy tails need some points far out.
        steps = np.sinh(np.linspace(-4.0, 4.0, GRID)) / np.sinh(4.0) * 12.0
        for c in range(centre.size):
            if not spread[c] > 0.0:
                out[:, c] = centre[c]
                continue
            at = centre[c] + spread[c] * steps
            gaps = at[:, None] - self.mean[:, c]
            below = ndtr(gaps / self.sd[:, c]) @ self.probability[:, c]
            out[:, c] = np.interp(levels, np.maximum.accumulate(below), at)
        return out


def truth(joint: Joint, draws: int, *, scale: float = SCALE) -> Truth:
    """Distribution of the true value of each component on its own.

    :param draws: how many equally weighted draws it is told by: its quantiles.
    :param scale: A, of the half-Cauchy prior of tau.
    """
    shape = np.shape(joint.model)
    flat = Joint(
        np.ravel(joint.model),
        np.ravel(joint.data),
        np.ravel(joint.model_variance),
        np.ravel(joint.data_variance),
        np.ravel(joint.covariance),
        joint.frames,
        worth=None if joint.worth is None else np.ravel(joint.worth),
    )
    mixture = _mixture(flat, scale)
    levels = (np.arange(draws) + 0.5) / draws
    values = mixture.quantiles(levels)
    weight = np.sum(mixture.probability * mixture.weight, 0)
    weight = np.where(flat.data_variance > 0.0, weight, np.nan)
    return Truth(values.reshape(draws, *shape), weight.reshape(shape))


def _mixture(joint: Joint, scale: float) -> _Mixture:
    """Quadrature over tau and the scale of V; arrays ``(tau * scale, component)``."""
    gap = joint.data - joint.model
    se = np.sqrt(joint.data_variance)
    relative = np.divide(np.abs(gap), se, out=np.zeros_like(gap), where=se > 0.0)
    # tau in standard errors, evenly in its logarithm, from nothing to far beyond what the gap asks for.
    rise = np.linspace(0.0, 1.0, TAUS)[:, None]
    tau = LEAST * (30.0 * (scale + relative) / LEAST) ** rise
    prior = tau / (1.0 + (tau / scale) ** 2)
    tau2 = (tau**2 * joint.data_variance)[:, None]
    middles = (np.arange(SCALES) + 0.5) / SCALES
    stretch = (joint.freedom / chi2.ppf(middles[:, None], joint.freedom))[None]
    vm, va, cov = (
        stretch * v for v in (joint.model_variance, joint.data_variance, joint.covariance)
    )
    apart = stretch * joint.difference_variance + tau2
    apart = np.where(apart > 0.0, apart, 1.0)  # neither varies: they agree, or nothing can be said
    told = np.log(apart) + gap**2 / apart
    log_p = np.log(prior)[:, None] - 0.5 * np.where(va > 0.0, told, 0.0)
    p = np.exp(log_p - log_p.max((0, 1)))
    p /= p.sum((0, 1))
    w = np.clip((vm + tau2 - cov) / apart, 0.0, 1.0)
    # Frames that all agree say nothing of how far their average may be off: the prediction stands.
    w = np.where(va > 0.0, w, 0.0)
    mean = joint.model + w * gap
    variance = (1.0 - w) ** 2 * (vm + tau2) + 2.0 * w * (1.0 - w) * cov + w**2 * va
    sd = np.sqrt(np.maximum(variance, 1e-300))
    parts = (TAUS * SCALES, joint.model.size)
    return _Mixture(*(np.broadcast_to(v, p.shape).reshape(parts) for v in (mean, sd, p, w)))
