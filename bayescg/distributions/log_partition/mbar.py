r"""Multistate reweighting (MBAR): log Z of several states from the samples of all.

Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008). Samples are taken as draws of the mixture of all simulated
states.
"""

from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp

__all__ = ["States", "solve_states"]

ROUNDS = 100  # of Newton's method, at most
SETTLED = 1e-9  # of a log Z
CLOSE = 1e-4  # of a log Z, below which a step of Newton's is not shortened
SHORTEST = 2.0**-20  # part of a step of his


class States(NamedTuple):
    """What the samples of all states say."""

    log_partition: Array  # (state,), relative to the first
    log_mixture: Array  # (sample,), logarithm of the mixture's density
    change: Array  # of the last round, the largest of any log Z


@jax.jit
def solve_states(exponents: Array, log_counts: Array, log_shares: Array, start: Array) -> States:
    r"""Solve the equations of reweighting for log Z of the states that were simulated.

    :math:`F(A) = \sum_n c_n\log\sum_k n_k e^{\epsilon_{nk} - A_k} + \sum_k n_k A_k` has them
    for its gradient, and is convex. Newton's steps, halved until F falls; where even that fails
    (states without overlap leave the Hessian singular), one step of the fixed point.

    :param exponents: :math:`\epsilon_{nk}`, minus the energy of sample n in state k over kT, ``(sample, state)``; a
        constant of a sample is its weight.
    :param log_counts: :math:`\log c_n`, how often each sample came, ``(sample,)``.
    :param log_shares: :math:`\log n_k`, how many samples each state has, ``(state,)``.
    :param start: A guess of log Z, ``(state,)``.
    """
    counts, sizes = jnp.exp(log_counts), jnp.exp(log_shares)

    def fixed_point(a: Array) -> Array:
        log_mixture = logsumexp(exponents - a + log_shares, axis=1)
        new = logsumexp(exponents + (log_counts - log_mixture)[:, None], axis=0)
        return new - new[0]

    def renew(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        a, _, i = carry
        p = jax.nn.softmax(exponents - a + log_shares, axis=1)
        shared = counts[:, None] * p
        occupied = jnp.sum(shared, 0)
        hessian = jnp.diag(occupied) - shared.T @ p
        # Of the first state nothing moves.
        inner = hessian[1:, 1:] + 1e-12 * jnp.sum(counts) * jnp.eye(len(a) - 1)
        step = jnp.linalg.solve(inner, (occupied - sizes)[1:])
        step = jnp.concatenate([jnp.zeros(1), step])

        def gained(part: Array) -> Array:
            # Of F, from its terms: F itself is many times what the last steps change it by.
            d = part * step
            return jnp.sum(counts * jnp.log1p(p @ jnp.expm1(-d))) + jnp.sum(sizes * d)

        def rises(carry: tuple[Array, Array]) -> Array:
            return ~(carry[1] < 0.0) & (carry[0] > SHORTEST)

        def halved(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            part = 0.5 * carry[0]
            return part, gained(part)

        # Next to the end F falls by less than it is known to, and Newton's steps are right.
        close = jnp.max(jnp.abs(step)) < CLOSE
        first = jnp.where(close, -jnp.inf, gained(jnp.array(1.0)))
        part, then = jax.lax.while_loop(rises, halved, (jnp.array(1.0), first))
        good = (then < 0.0) & jnp.isfinite(step).all()
        new = jax.lax.cond(good, lambda: a + part * step, lambda: fixed_point(a))
        return new, jnp.max(jnp.where(sizes > 0, jnp.abs(new - a), 0.0)), i + 1

    def unsettled(carry: tuple[Array, Array, Array]) -> Array:
        return (carry[1] > SETTLED) & (carry[2] < ROUNDS)

    begin = (start - start[0], jnp.array(jnp.inf), jnp.array(0))
    found, change, _ = jax.lax.while_loop(unsettled, renew, begin)
    log_mixture = logsumexp(exponents - found + log_shares, axis=1)
    return States(found, log_mixture, change)
