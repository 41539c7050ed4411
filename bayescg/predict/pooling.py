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
FIRST = 5  # rounds by logarithms, after which log Z is near enough that a factor holds the rest
FAR = 50.0  # that a factor of log Z may hold before it is taken in


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
    z, settled = _solved(relative[some], np.log(counts[some]))
    density = logsumexp(relative[some] + (np.log(counts[some]) - z)[:, None], axis=0)
    log_weights = relative - density
    total = logsumexp(log_weights, axis=1)
    weights = np.exp(log_weights - total[:, None])
    return Pooled(weights, 1.0 / np.sum(weights**2, 1), total - total[0], settled)


def _solved(exponents: np.ndarray, log_counts: np.ndarray) -> tuple[np.ndarray, bool]:
    """log Z of simulated states relative to the first, by self-consistent iteration, and whether it came to its end.

    Logarithms of sums of exponentials at every round would take minutes for hundreds of states: after a few rounds the
    exponentials are kept, and what log Z still changes by is a factor of each state, so that a round is two products.

    :param exponents: ``(state, sample)``, at most 0.
    """
    z = np.zeros(len(exponents))
    for _ in range(FIRST):
        density = logsumexp(exponents + (log_counts - z)[:, None], axis=0)
        z = logsumexp(exponents - density, axis=1)
        z -= z[0]
    rounds = FIRST
    while rounds < ROUNDS:
        shares = exponents + (log_counts - z)[:, None]
        shares = np.exp(shares - shares.max(0))  # up to a factor of each sample
        more = np.zeros_like(z)
        while rounds < ROUNDS and np.abs(more).max() < FAR:
            new = np.log(shares @ (1.0 / (np.exp(-more) @ shares))) - log_counts
            new -= new[0]
            change = np.abs(new - more).max()
            more, rounds = new, rounds + 1
            if change < TOLERANCE:
                return z + more, True
        z = z + more
    return z, False
