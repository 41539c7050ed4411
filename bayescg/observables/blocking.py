"""Standard errors of means over correlated frames."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["blocked_error", "statistical_inefficiency"]

_FEWEST = 8  # an error from fewer blocks is itself uncertain by a quarter or more


def blocked_error(series: ArrayLike, blocks: int = _FEWEST) -> np.ndarray:
    r"""Standard error of the mean of a correlated series, by blocking.

    Neighbours are averaged in pairs, again and again; the error computed as if the blocks were
    independent grows with their length b to a plateau, the error of the mean (H. Flyvbjerg and
    H. G. Petersen, J. Chem. Phys. 91, 461 (1989)). For each element of the series on its own, the
    plateau is read at the shortest b with

    .. math:: b^3 > 2 n (\sigma_b / \sigma_1)^4

    where the bias from correlated blocks has fallen to the noise from having few of them (R. M. Lee
    et al., Phys. Rev. E 83, 066706 (2011); U. Wolff, Comput. Phys. Commun. 156, 143 (2004)). Where
    no length satisfies that, the series is too short to show its plateau: the largest error of all
    lengths is returned, which may still be too small.

    :param series: frames in the order of time, ``(frame, *dims)``.
    :param blocks: lengths that leave fewer blocks than that are not used.
    :return: ``(*dims)``; never less than the error of independent frames; NaN where the series is
        not finite.
    :raises ValueError: for fewer than 2 frames, or ``blocks`` below 2.

    >>> independent = np.random.default_rng(0).normal(size=4096)
    >>> round(float(blocked_error(independent)), 3)  # about 1 / sqrt(4096)
    0.017
    >>> kept = np.repeat(independent[:512], 8)  # every value eight times
    >>> round(float(blocked_error(kept)), 3)  # about 1 / sqrt(512)
    0.05
    """
    naive, growth = _growth(series, blocks)
    return naive * growth


def statistical_inefficiency(series: ArrayLike, blocks: int = _FEWEST) -> np.ndarray:
    r"""Frames of a correlated series that are worth one independent frame.

    .. math:: g = (\sigma_\text{blocked} / \sigma_\text{naive})^2 \ge 1

    :param series: ``(frame, *dims)``, as for ``blocked_error``.
    :param blocks: fewest blocks whose spread is believed.
    :return: ``(*dims)``; 1 where the series is constant.
    :raises ValueError: as ``blocked_error``.
    """
    return _growth(series, blocks)[1] ** 2


def _growth(series: ArrayLike, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """The error of the mean if frames were independent, and the plateau relative to it."""
    x = np.asarray(series, float)
    frames = len(x) if x.ndim else 0
    if frames < 2:
        raise ValueError(f"standard errors need at least 2 frames, got {frames}.")
    if blocks < 2:
        raise ValueError(f"blocks must be at least 2, got {blocks}.")
    with np.errstate(invalid="ignore"):  # what is not finite comes out as NaN, and says enough
        x = x - x.mean(0)
        naive = _error(x)
        largest, chosen = np.ones_like(naive), np.full_like(naive, np.nan)
        length = 1
        while True:
            ratio = np.divide(_error(x), naive, out=np.ones_like(naive), where=naive != 0.0)
            largest = np.maximum(largest, ratio)
            met = np.isnan(chosen) & (length**3 > 2 * frames * ratio**4)
            chosen[met] = ratio[met]
            if len(x) // 2 < blocks:
                break
            even = len(x) // 2 * 2  # an odd block at the end is left out
            x, length = 0.5 * (x[0:even:2] + x[1:even:2]), 2 * length
    return naive, np.where(np.isnan(chosen), largest, np.maximum(chosen, 1.0))


def _error(x: np.ndarray) -> np.ndarray:
    """Standard error of the mean of independent blocks ``(block, *dims)``."""
    return np.asarray(x.std(0, ddof=1) / np.sqrt(len(x)))
