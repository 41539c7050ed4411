r"""Samples of many parameter values pooled, so that each value is estimated from all of them.

The samples are taken as draws of the mixture of all simulated states, and weighted to each state in turn. Only the
statistics of the samples are needed, no configuration is looked at again.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayescg.distributions.log_partition.mbar import solve_states

__all__ = ["Pooled", "pool"]

SETTLED = 1e-6  # of a log Z
ROUNDS = 5  # of the fixed point, from which Newton's steps find log Z


class Pooled(NamedTuple):
    """Weights of the pooled samples."""

    weights: np.ndarray  # (state, sample), each row sums to 1
    effective: np.ndarray  # (state,), effective number of samples, 1 / sum w^2
    log_partition: np.ndarray  # (state,), log Z relative to the first simulated state
    settled: bool  # whether the iteration for log Z has come to its end


def pool(exponents: np.ndarray, chain: np.ndarray, simulated: int) -> Pooled:
    r"""Weights of samples of several states, to each of them and to others.

    :param exponents: :math:`\beta\eta_k\cdot\phi(X_s)`, ``(state, sample)``: minus the energy of each sample
        in each state, in kT; the first ``simulated`` states are those that were sampled.
    :param chain: the simulated state that each sample was drawn in, ``(sample,)``.
    """
    counts = np.bincount(chain, minlength=simulated)
    some = np.flatnonzero(counts)
    shift = exponents.max(0)
    relative = exponents - shift
    log_counts = np.log(counts[some])
    begin = _near(relative[some], log_counts)
    each = np.zeros(len(chain))
    _, log_mixture, change = solve_states(relative[some].T, each, log_counts, begin)
    log_weights = relative - np.asarray(log_mixture)
    total = logsumexp(log_weights, axis=1)
    weights = np.exp(log_weights - total[:, None])
    return Pooled(weights, 1.0 / np.sum(weights**2, 1), total - total[0], float(change) < SETTLED)


def _near(exponents: np.ndarray, log_counts: np.ndarray) -> np.ndarray:
    """A guess of log Z of simulated states, by the fixed point of the equations."""
    z = np.zeros(len(exponents))
    for _ in range(ROUNDS):
        density = logsumexp(exponents + (log_counts - z)[:, None], axis=0)
        z = logsumexp(exponents - density, axis=1)
    return z
