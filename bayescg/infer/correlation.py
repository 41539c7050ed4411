"""Correlated frames: how many independent ones a trajectory is worth.

The statistical inefficiency of a series is ``g = 1 + 2 sum_t rho_t``, the factor by which
correlation inflates the variance of its mean; ``n`` frames are worth ``n / g`` (Chodera et al.,
J. Chem. Theory Comput. 3, 26 (2007); Sokal, "Monte Carlo methods in statistical
mechanics", in Functional Integration (1997)). A likelihood that multiplies over frames as if they
were independent is too sure of itself by that factor.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

__all__ = [
    "FittedFrames",
    "Inefficiency",
    "independent_frames",
    "statistical_inefficiency",
    "temper",
    "thin",
]

FEWEST = 10  # frames; with fewer nothing can be told
PER_INEFFICIENCY = 10  # frames per g, below which the estimate of g is a lower bound
COMPONENTS = 5  # most principal components looked at
FALSE_ALARMS = 0.01  # chance that independent frames pass one of the two tests for correlation
THINNED_FROM = 1.5  # smallest g for which frames are left out


class Inefficiency(NamedTuple):
    """How correlated the frames are.

    ``value`` is exactly 1 unless they are significantly correlated.
    """

    value: float  # g, what a fit should use, >= 1
    by_component: np.ndarray  # (component,) g of the leading principal components, not tested
    effective_frames: float  # frames / value
    standard_error: float  # of ``value`` if one series had shown it; an average is better known
    known: bool  # False: too few frames, or no feature varies; ``value`` is a lower bound


def statistical_inefficiency(phi: np.ndarray) -> Inefficiency:
    """Statistical inefficiency of the statistics of a trajectory.

    1. Features that do not vary are left out, all others scaled to variance 1.
    2. Their autocovariances are averaged. The average is a trace, thus the same as over all
       principal components weighted by their variance, and no choice of components biases it: the
       leading components of correlated frames are slow because they are leading. Of 100
       independent features with g = 3 and 20 frames, the first two alone would show g = 9.
    3. Its g comes from Geyer's initial monotone positive sequence (Statist. Sci. 7, 473 (1992)),
       corrected for the subtracted mean (Wolff, Comput. Phys. Commun. 156, 143 (2004)). It
       counts only if the frames in this order are correlated more than shuffled ones (one-sided,
       ``FALSE_ALARMS``); otherwise g is 1.
    4. One slow direction among many fast ones is lost in an average. Every feature, and each of at
       most ``COMPONENTS`` (and frames / 10) leading principal components, is therefore looked at
       alone. Of those that are correlated by the same test, and slower than the average by more
       than chance, the slowest is taken for all. Each of the two tests passes by chance at
       ``FALSE_ALARMS`` for all features together, and for all components together. The components
       of each half of the run are found on the other half, so that here, too, the choice does not
       bias the result.

    Of normal features in independent frames, 10 to 500, some correlation is found in about 1 % of
    trajectories, and a g that thins in 0 to 1 %; of log-normal ones in up to 4 and 2 %.

    :param phi: statistics of each datum in the order of time, ``(frame, feature)``; there may be
        more features than frames.
    :raises ValueError: unless ``phi`` has two axes, a frame, and finite values.
    """
    phi = np.asarray(phi)
    if phi.ndim != 2 or len(phi) == 0:
        raise ValueError(
            f"phi has shape {phi.shape}; needed is (frame, feature), a frame at least."
        )
    if not np.isfinite(phi).all():
        raise ValueError("phi is not finite; needed are finite statistics of every frame.")
    n = len(phi)
    z = _standardized(phi)
    if n < FEWEST or z.shape[1] == 0:
        return Inefficiency(1.0, np.ones(0), float(n), math.inf, False)

    components = _components(z, min(COMPONENTS, n // 10))
    groups = (z.shape[1], components.shape[1])
    alone = np.concatenate([z, components], 1)
    covariance = _autocovariance(alone)
    average = covariance[:, : groups[0]].mean(1)

    gram = z.T @ z if groups[0] < n else z @ z.T
    together = _excess(
        groups[0] * average[:, None], np.sum(z * z, 1, keepdims=True), np.array([np.sum(gram**2)])
    )
    found = bool(together[0] > _limit(1))
    value, window = _geyer(average) if found else (1.0, 1)
    spread = _relative_error(window, n)

    limit = np.concatenate([np.full(k, _limit(k)) for k in groups if k])
    correlated = _excess(covariance, alone * alone, np.full(alone.shape[1], float(n) ** 2)) > limit
    ratio, z_slower = _slower(covariance, average if found else None, window)
    g, windows = np.array([_geyer(c) for c in covariance.T]).T
    slow = np.flatnonzero(correlated & (z_slower > limit) & (g > value))
    if slow.size:
        slowest = slow[np.argmax(ratio[slow])]  # g itself is too noisy to choose by
        value, spread = float(g[slowest]), _relative_error(int(windows[slowest]), n)
    known = n >= PER_INEFFICIENCY * value
    return Inefficiency(value, g[groups[0] :], n / value, value * spread, bool(known))


class FittedFrames(NamedTuple):
    """Frames that a fit may take as independent, and what is known of them."""

    frames: np.ndarray  # indices, ascending
    notices: tuple[str, ...]  # what a user should know
    attrs: dict[str, float]  # for the result: see :data:`bayescg.system.RECORDED`


def independent_frames(
    phi: np.ndarray, *, all_of_them: bool = False, first: int | None = None
) -> FittedFrames:
    """Frames of a trajectory, thinned by the statistical inefficiency of their statistics.

    :param phi: statistics of each frame in the order of time, ``(frame, feature)``.
    :param all_of_them: keep correlated frames, and only count what they are worth.
    :param first: how many of the frames that are left will be fitted; None: all.
    """
    found = statistical_inefficiency(phi)
    given, notices = len(phi), []
    kept = np.arange(given) if all_of_them else thin(given, found.value)
    effective = min(given / found.value, float(len(kept)))
    if len(kept) < given:
        notices.append(
            f"frames are correlated (statistical inefficiency {found.value:.1f}): {len(kept)} of "
            f"{given} are used."
        )
    count = len(kept)
    if first is not None and first < count:
        effective *= first / count
        count = first
    if not found.known:
        notices.append(
            f"{given} frames are too few to tell how correlated they are: they may be worth fewer "
            "than they count."
        )
    if count < FEWEST:
        notices.append(f"only {count} frames are fitted: intervals rest on the prior as well.")
    attrs = {
        "statistical_inefficiency": float(found.value),
        "effective_frames": float(effective),
        "effective_frames_known": int(found.known),
        "frames_given": given,
    }
    return FittedFrames(kept, tuple(notices), attrs)


def thin(frames: int, g: float) -> np.ndarray:
    """Frames that may be taken as independent: every ``ceil(g)``-th, all if ``g`` is below 1.5.

    Thinned frames are still slightly correlated: slow AR(1) data to ``exp(-2)``, g = 1.3. They
    know less than all frames together; :func:`temper` wastes none.

    :param frames: how many there are.
    :param g: ``value`` of :func:`statistical_inefficiency`, which is 1 unless a correlation is
        significant, so that noise does not thin.
    :return: indices, ascending, the first frame among them.
    :raises ValueError: if there is no frame or ``g`` is not a finite number of at least 1.
    """
    _check(frames, g)
    return np.arange(0, frames, math.ceil(g) if g >= THINNED_FROM else 1)


def temper(frames: int, g: float) -> float:
    """Power ``1 / g`` of the likelihood of all frames, by which it counts the effective ones.

    :param frames: how many there are; together they count as one frame at least.
    :param g: ``value`` of :func:`statistical_inefficiency`.
    :raises ValueError: as :func:`thin`.
    """
    _check(frames, g)
    return max(1.0 / g, 1.0 / frames)


def _check(frames: int, g: float) -> None:
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}.")
    if not 1.0 <= g < math.inf:
        raise ValueError(f"g must be a finite number of at least 1, got {g}.")


def _limit(tests: int) -> float:
    """Normal quantile; each of ``tests`` series is tested at two ranges of lags."""
    return NormalDist().inv_cdf(1.0 - FALSE_ALARMS / (2 * tests))


def _standardized(phi: np.ndarray) -> np.ndarray:
    """Features that vary by more than round-off, with mean 0 and variance 1."""
    eps = np.finfo(phi.dtype if phi.dtype.kind == "f" else float).eps
    phi = phi.astype(float)
    scale = np.abs(phi).max(0)
    phi = phi / np.where(scale > 0.0, scale, 1.0)  # squares of huge numbers overflow
    phi = phi - phi.mean(0)
    width = phi.std(0)
    varies = width > 16.0 * eps
    return phi[:, varies] / width[varies]


def _components(z: np.ndarray, most: int) -> np.ndarray:
    """Leading principal components as series of variance 1, ``(frame, component)``.

    Each half of the run is projected on the components of the other half.
    """
    halves = np.split(z, [len(z) // 2])
    first, second = (_directions(half - half.mean(0), most) for half in halves)
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    # A principal component has no sign; without a common one the series would jump.
    second = second * np.where(np.sum(first * second, 1) < 0.0, -1.0, 1.0)[:, None]
    return _standardized(np.concatenate([halves[0] @ second.T, halves[1] @ first.T]))


def _directions(z: np.ndarray, most: int) -> np.ndarray:
    """Leading principal components ``(component, feature)`` of centred ``(frame, feature)``.

    From the smaller of the two Gram matrices: on busy cores a singular value decomposition took
    a hundred times as long.
    """
    tall = len(z) >= z.shape[1]
    strength, vectors = np.linalg.eigh(z.T @ z if tall else z @ z.T)
    keep = np.flatnonzero(strength > 1e-10 * max(strength[-1], 1e-10))[::-1][:most]
    found = vectors[:, keep].T
    return found if tall else (found @ z) / np.sqrt(strength[keep])[:, None]


def _autocovariance(y: np.ndarray) -> np.ndarray:
    """``sum_i y_i y_{i+t}`` of centred series ``(frame, series)``, for ``t = 0 ... n - 1``."""
    n = len(y)
    spectrum = np.fft.rfft(y, 2 * n, axis=0)
    return np.fft.irfft(np.abs(spectrum) ** 2, 2 * n, axis=0)[:n]


def _geyer(covariance: np.ndarray) -> tuple[float, int]:
    """g of one autocovariance ``(lag,)``, between 1 and n, and the last lag that entered."""
    n = len(covariance)
    rho = covariance / covariance[0]
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(1)
    ended = np.flatnonzero(pairs <= 0.0)
    pairs = np.minimum.accumulate(pairs[: max(1, ended[0] if ended.size else len(pairs))])
    window = 2 * len(pairs) - 1
    # The subtracted mean lowers every rho by g / n. The bound keeps a run shorter than its own
    # correlation from being stretched without end.
    g = (2.0 * pairs.sum() - 1.0) / max(1.0 - (2 * window + 1) / n, 0.3)
    return min(max(g, 1.0), float(n)), window


def _relative_error(window: int, n: int) -> float:
    """Standard error of ``log g`` of one series summed up to lag ``window`` (Sokal)."""
    return math.sqrt(2.0 * (2 * window + 1) / n)


def _slower(
    covariance: np.ndarray, average: np.ndarray | None, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """How much slower each series is than the average, and the z-value of that.

    Sums over the same lags are compared, which have no long tail as those of :func:`_geyer`: over
    the lags that the average needs, and over ``n^(1/2)``.

    :param covariance: ``(lag, series)``.
    :param average: ``(lag,)``; None for frames without correlation.
    """
    n = len(covariance)
    ratios, z = [], []
    for lags in (window, max(window, round(math.sqrt(n)))):
        base = max(1.0 - (2 * lags + 1) / n, 0.3)  # 1, if there is a mean to subtract
        if average is not None:
            base = max(base, 2.0 * average[: lags + 1].sum() / average[0] - 1.0)
        ratios.append((2.0 * covariance[: lags + 1].sum(0) / covariance[0] - 1.0) / base)
        z.append(_chi_square_z(ratios[-1], _relative_error(lags, n) ** 2))
    return ratios[-1], np.max(z, axis=0)


def _excess(covariance: np.ndarray, diagonal: np.ndarray, square: np.ndarray) -> np.ndarray:
    """How far the frames are from being exchangeable, in standard deviations: ``(series,)``.

    The larger of two z-values: of the sum of the autocovariance over lag 1, the most sensitive to
    a fast decay, and over the first ``n^(1/2)`` lags, to a weak but slow one.

    :param covariance: ``(lag, series)``.
    :param diagonal: as in :func:`_shuffled`, and ``square``.
    """
    trace = np.sum(diagonal, 0)
    mean, variance = _shuffled(diagonal, square, 1)
    fast = (covariance[1] - mean) / np.sqrt(variance)
    lags = round(math.sqrt(len(diagonal)))
    mean, variance = _shuffled(diagonal, square, lags)
    center = trace + 2.0 * mean
    ratio = (trace + 2.0 * covariance[1 : lags + 1].sum(0)) / center
    return np.maximum(fast, _chi_square_z(ratio, 4.0 * variance / center**2))


def _shuffled(diagonal: np.ndarray, square: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance, over all orders of the frames, of the autocovariance summed over lags.

    The sum runs over pairs of frames ``lags`` or fewer apart, and the moments follow exactly from
    the Gram matrix ``K`` of the frames, whose rows sum to zero.

    :param diagonal: ``K_ii``, ``(frame, series)``.
    :param square: ``sum_ij K_ij^2``, ``(series,)``.
    """
    n = len(diagonal)
    on = np.sum(diagonal**2, 0)
    trace = np.sum(diagonal, 0)  # minus the sum of K_ij over i != j
    two = square - on  # of K_ij^2
    three = on - two  # of K_ij K_jk, all different
    four = trace**2 - 2.0 * two - 4.0 * three  # of K_ij K_kl, all different
    i = np.arange(n)
    degree = np.minimum(i, lags) + np.minimum(i[::-1], lags)
    edges = degree.sum() / 2.0
    touching = float(np.sum(degree * (degree - 1)))
    pairs = n * (n - 1.0)
    mean = -edges * trace / pairs
    second = (
        edges * two / pairs
        + touching * three / (pairs * (n - 2))
        + (edges**2 - edges - touching) * four / (pairs * (n - 2) * (n - 3))
    )
    return mean, np.maximum(second - mean**2, (1e-9 * trace) ** 2)


def _chi_square_z(ratio: np.ndarray, variance: float | np.ndarray) -> np.ndarray:
    """z-value of a window over the spectrum at zero, relative to its mean.

    Its tail to the right is long, as chi-square's; the cube root of it is normal (Wilson and
    Hilferty, PNAS 17, 684 (1931)).
    """
    width = variance / 9.0
    return (np.cbrt(ratio) - 1.0 + width) / np.sqrt(width)
