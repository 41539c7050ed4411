r"""What data do not tell of parameters whose prior holds nothing: named before anything is sampled.

Under an improper prior the posterior has no integral where some combination of parameters does not matter. Along such
a combination the scores :math:`s_i = \nabla_u \log p(x_i \mid u)` of all frames vanish wherever they are looked at, and
so does

.. math:: \Big\langle \sum_i s_i s_i^\top \Big\rangle_u,

at the mode the information of the data, here averaged over a few places about the start: at one place fewer frames than
parameters would leave some combination untold by chance.
"""

from collections.abc import Sequence

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.begin import is_exact, origin
from bayescg.infer.health import listed, names_of
from bayescg.infer.marginal import log_marginal
from bayescg.infer.nuts import check_proper
from bayescg.infer.program import Program, ProgramError
from bayescg.infer.runaway import FAR, SHARE, WIDE, bounded, slopes
from bayescg.system import Batch, System

__all__ = ["check_told", "information", "untold", "weakest"]

PLACES, ABOUT = 8, 0.5  # where scores are taken, and how far about the start


def check_told(system: System, program: Program, batch: Batch, method: str = "NUTS") -> None:
    """Raise ``ProgramError`` as ``check_proper`` does, with the names of parameters that the data do not tell.

    :param method: what the message calls it.
    """
    try:
        check_proper(program, method)
    except ProgramError as error:
        if not program.improper or not is_exact(program, batch):
            raise
        start = origin(system, program, batch.x)
        by_member = [untold(system, program, batch, m, jnp.asarray(u)) for m, u in enumerate(start)]
        names = list(dict.fromkeys(name for those in by_member for name in those))
        if not names:
            raise
        apart = " apart" if len(names) > 1 else ""
        raise ProgramError(f"the data do not tell {listed(names, 6)}{apart}: {error}") from None


def information(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    """What all frames together tell of each pair of parameters about ``u``, ``(u, u)``; log Z must be exact."""

    def at(v: Array) -> Array:
        scores = jax.jacfwd(lambda w: log_marginal(program, w, x, conditions))(v)
        return scores.T @ scores

    places = u + ABOUT * jax.random.normal(jax.random.key(0), (PLACES, u.size))
    return jnp.mean(jax.lax.map(at, places), 0)


def untold(system: System, program: Program, batch: Batch, member: int, u: Array) -> list[str]:
    """Names of parameters under an improper prior of which one member's data tell no combination, about ``u``.

    A combination is not told if its standard deviation by the data alone, were all other parameters known, passes
    what :mod:`bayescg.infer.runaway` allows a posterior.
    """
    own = np.concatenate([program.coordinates(k) for k in program.improper])
    given = {k: jnp.asarray(v[member], float) for k, v in batch.conditions.items()}
    x = jnp.asarray(batch.x[member], float)
    found = np.asarray(jax.jit(lambda v: information(program, v, x, given))(u))[np.ix_(own, own)]
    slope = slopes(program, batch, member, np.asarray(u))[0][own]
    limit = np.where(slope > 0.0, (system.runaway or FAR) / np.maximum(slope, 1e-300), FAR)
    limit = np.where(bounded(program)[own], WIDE, limit)
    values, vectors = np.linalg.eigh(limit[:, None] * found * limit)
    names = names_of(program, system.features)
    out = []
    for k in np.flatnonzero(values < 1.0):
        out += [names[own[j]] for j in _largest(vectors[:, k])]
    return list(dict.fromkeys(out))


def weakest(names: Sequence[str], precision: np.ndarray) -> str:
    """Parameters of the direction in which a precision ``(u, u)`` is least, in words.

    :param names: of its rows.
    """
    if not np.isfinite(precision).all():
        return listed(list(names))
    _, vectors = np.linalg.eigh(0.5 * (precision + precision.T))
    return listed([names[j] for j in _largest(vectors[:, 0])])


def _largest(direction: np.ndarray) -> list[int]:
    """Components that make a direction up, the largest first."""
    size = np.abs(direction)
    return [int(j) for j in np.argsort(-size, kind="stable") if size[j] >= SHARE * size.max()]
