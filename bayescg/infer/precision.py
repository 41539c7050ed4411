"""What the Monte Carlo error of a log Z from simulations does to a posterior."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array
import numpy as np

__all__ = ["GROUPS", "Precision", "most_varying", "precision_of"]

GROUPS = 10  # of chains, one of which is left out at a time


class Precision(NamedTuple):
    """Standard errors that are log Z's alone."""

    error: float  # of the log posterior: its standard deviation over draws
    shift: float  # of a posterior mean in posterior sd, the largest of any parameter
    varies: float = 0.0  # error of N log Z from draw to draw, by fresh simulations; 0: none looked


def most_varying(parameters: int) -> float:
    """Standard deviation, from draw to draw, of the error of N log Z that is too much.

    An error that all draws have changes no posterior. One that varies by v, over p directions alike, moves each mean by
    v / sqrt(p) of its standard deviation: a fifth is allowed.
    """
    return 0.2 * float(np.sqrt(parameters))


def precision_of(
    left: Callable[[int], Any], draws: np.ndarray, natural: np.ndarray, frames: int
) -> Precision:
    r"""Leave out one group of samples at a time (the jackknife).

    Where log Z is off by :math:`\delta A(u)`, N frames move the posterior's means by
    :math:`-N\operatorname{Cov}[u, \delta A(u)]`, to first order. Samples that are correlated have to be in one
    group: all of a chain, whatever the reference.

    :param left: log Z without a group, below ``GROUPS``.
    :param draws: of the posterior, ``(draw, u)``.
    :param natural: beta times natural parameters of each, ``(draw, term)``.
    """
    off = np.stack([frames * np.asarray(_at(left(g), natural)) for g in range(GROUPS)])
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
def _at(partition: Any, e: Array) -> Array:
    return jax.lax.map(partition.at, e)
