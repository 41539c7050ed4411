r"""Samples of many parameter values pooled, so that each value is estimated from all of them.

Multistate reweighting (MBAR): Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008). The samples are
taken as draws of the mixture of all simulated states, and weighted to each state in turn. Only the
statistics of the samples are needed, no configuration is looked at again.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

__all__ = ["Pooled", "pool"]

TOLERANCE = 1e-6
ROUNDS = 2000


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
    drawn = relative[some]
    log_counts = np.log(counts[some])
    # A start from each state's own samples; the iteration then only has to settle the overlaps.
    z, settled = np.zeros(len(some)), False
    for _ in range(ROUNDS):
        density = logsumexp(drawn + (log_counts - z)[:, None], axis=0)
        new = logsumexp(drawn - density, axis=1)
        new -= new[0]
        change = np.max(np.abs(new - z))
        z = new
        settled = bool(change < TOLERANCE)
        if settled:
            break
    density = logsumexp(drawn + (log_counts - z)[:, None], axis=0)
    log_weights = relative - density
    total = logsumexp(log_weights, axis=1)
    weights = np.exp(log_weights - total[:, None])
    return Pooled(weights, 1.0 / np.sum(weights**2, 1), total - total[0], settled)
