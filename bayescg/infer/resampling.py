"""Equally weighted draws from weighted ones."""

import numpy as np

__all__ = ["BAD_KHAT", "FEW_DRAWS", "effective_size", "systematic"]

BAD_KHAT = 0.7  # Pareto k-hat above which weights are not reliable
FEW_DRAWS = 100  # effective draws below which intervals are said to be rough


def systematic(log_weights: np.ndarray, offset: float, draws: int) -> np.ndarray:
    """Places of ``draws`` draws that occur in proportion to their weights.

    Systematic resampling: of the unbiased schemes the one of least added noise, with one random number.

    :param log_weights: ``(draw,)``, up to a constant; ``-inf`` is a weight of zero.
    :param offset: uniform on [0, 1).
    """
    edges = np.cumsum(np.exp(log_weights - log_weights.max()))
    at = np.searchsorted(edges / edges[-1], (np.arange(draws) + offset) / draws, side="right")
    return np.minimum(at, np.flatnonzero(np.isfinite(log_weights))[-1])


def effective_size(log_weights: np.ndarray) -> float:
    r"""Effective number of weighted draws, :math:`(\sum w)^2 / \sum w^2`; 0 where none has a weight."""
    top = np.max(log_weights, initial=-np.inf)
    if not np.isfinite(top):
        return 0.0
    weights = np.exp(log_weights - top)
    return float(weights.sum() ** 2 / np.sum(weights**2))
