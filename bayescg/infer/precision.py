"""What the Monte Carlo error of a log Z from simulations does to a posterior."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array
import numpy as np

from bayescg.distributions.log_partition.multistate import Multistate, multistate

__all__ = ["GROUPS", "Precision", "precision_of"]

GROUPS = 10  # of chains, one of which is left out at a time


class Precision(NamedTuple):
    """Standard errors that are log Z's alone."""

    error: float  # of the log posterior: its standard deviation over draws
    shift: float  # of a posterior mean in posterior sd, the largest of any parameter


def pooled_plainly(
    references: np.ndarray, statistics: np.ndarray, values: np.ndarray | None
) -> Multistate:
    return multistate(references, statistics, values=values)


def precision_of(
    references: np.ndarray,
    statistics: np.ndarray,
    group: np.ndarray,
    draws: np.ndarray,
    natural: np.ndarray,
    frames: int,
    *,
    values: np.ndarray | None = None,
    pool: Callable[[np.ndarray, np.ndarray, np.ndarray | None], Multistate] = pooled_plainly,
) -> Precision:
    r"""Leave out one group of samples at a time (the jackknife).

    Where log Z is off by :math:`\delta A(u)`, N frames move the posterior's means by
    :math:`-N\operatorname{Cov}[u, \delta A(u)]`, to first order. Samples that are correlated have to be in one
    group: all of a chain, whatever the reference.

    :param references: beta times natural parameters, ``(reference, term)``.
    :param statistics: of samples of each, ``(reference, sample, term)``.
    :param group: of each sample, below ``GROUPS``, ``(sample,)``.
    :param draws: of the posterior, ``(draw, u)``.
    :param natural: beta times natural parameters of each, ``(draw, term)``.
    :param values: log Z of the references, from which the search for them starts.
    :param pool: log Z from natural parameters and statistics of references, and those values.
    """
    off = np.stack(
        [
            frames
            * np.asarray(
                _at(
                    pool(references, statistics[:, group != g], values),
                    natural,
                )
            )
            for g in range(GROUPS)
        ]
    )
    change = off - off.mean(0)  # (group, draw)
    change -= change.mean(1, keepdims=True)  # what is the same everywhere does not matter
    centred = draws - draws.mean(0)
    shifts = change @ centred / len(draws) / centred.std(0)  # (group, u)
    factor = (GROUPS - 1.0) / GROUPS
    return Precision(
        float(np.sqrt(factor * np.sum(change.var(1)))),
        float(np.sqrt(factor * np.sum(shifts**2, 0)).max()),
    )


@jax.jit
def _at(partition: Multistate, e: Array) -> Array:
    return jax.lax.map(partition.at, e)
