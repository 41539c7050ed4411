r"""The log evidence :math:`\log\int p(x\mid\theta)\,p(\theta)\,d\theta`: estimates and their errors."""

import numpy as np

__all__ = ["log_mean", "pooled", "thermodynamic"]

NODES = 16  # of the quadrature between two powers


def log_mean(log_values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Logarithm of the mean of exponentials; ``-inf`` is a zero among them."""
    top = np.max(log_values, axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.mean(np.exp(log_values - top), axis)) + np.squeeze(top, axis))


def pooled(log_z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""One estimate from those of independent runs, ``(chain, ...)``, and its standard error.

    Each run estimates Z without bias, so Z is averaged. The error is that of :math:`\log` of the mean to first
    order; where runs differ by more than that holds for, the error of the mean of :math:`\log Z` is larger, and is
    taken.
    """
    value = log_mean(log_z)
    root = np.sqrt(len(log_z))
    first_order = np.exp(log_z - value).std(0, ddof=1) / root
    return value, np.maximum(first_order, log_z.std(0, ddof=1) / root)


def thermodynamic(before: np.ndarray, after: np.ndarray, width: float) -> float:
    r"""Change of the log evidence between two powers t of the likelihood,

    .. math:: \Delta\log Z = \int \langle\log p(x\mid\theta)\rangle_t \, dt.

    Between the two the mean is that of the particles of either end, reweighted, and blended in proportion to the
    distance: a trapezium of the two means alone would need many powers where a prior is wide. Unlike the product of
    weights it believes the later particles as much as the earlier ones, so that the two differ where those have not
    come to rest.

    :param before: log likelihoods of equally weighted particles at the lower power, ``(particle,)``; ``after`` at the
        higher.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    s = 0.5 * (nodes + 1.0)
    part = s**2  # of the way: the mean may change steeply at its beginning
    forward = np.array([_mean(before, width * p) for p in part])
    backward = np.array([_mean(after, width * (p - 1.0)) for p in part])
    mean = (1.0 - part) * forward + part * backward
    return float(width * np.sum(weights * s * mean))


def _mean(log_likelihood: np.ndarray, power: float) -> float:
    """Mean of log likelihoods that have a likelihood, weighted by its power."""
    known = log_likelihood[np.isfinite(log_likelihood)]
    exponents = power * known
    weights = np.exp(exponents - exponents.max())
    return float(weights @ known / weights.sum())
