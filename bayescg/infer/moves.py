"""Where a step of the parameters leads, and what goes along."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.estimates import Reader, pulls
from bayescg.infer.program import Program
from bayescg.linalg import solve_positive

__all__ = ["followed", "is_curved", "straight"]

ROUNDS = 12  # of Newton's method, from a step to where it leads
SHORTER = 2.0 ** -np.arange(6)  # parts of a step that are tried


def followed(
    reader: Reader, clamped: Any, old: Array, new: Array, x: Array, conditions: dict[str, Array]
) -> Any:
    r"""Chains of q_i after a step from ``old`` to ``new``.

    Sites in space that data hold tightly lie within :math:`\sigma` of them whatever the potential,
    so where :math:`\sigma` changes they go along, :math:`X - x \to (\sigma'/\sigma)(X - x)` (``carried``). Chains
    left where they were would take many iterations, and meanwhile say that the width should go back.
    """
    program = reader.program
    if (
        reader.latent_sampler.at is None
        or program.sites.latent_observed
        or program.kept is not None
    ):
        return clamped
    per_frame = clamped.x.shape[-1] // len(x)
    before, after = (pulls(program, u, x, conditions, per_frame) for u in (old, new))
    moved = before.carried(after, clamped.x)
    return clamped._replace(x=moved.astype(clamped.x.dtype))


def is_curved(program: Program, x: Array, conditions: dict[str, Array]) -> bool:
    """Whether natural parameters are not linear in ``u``: as those of Lennard-Jones in its logarithms."""

    slope = jax.jit(jax.jacobian(program.natural))
    here, there = (slope(np.full(program.size, v), x, conditions) for v in (0.0, 0.1))
    return not np.allclose(here, there, rtol=1e-9, atol=1e-12)


def straight(
    natural: Callable[[Array], Array], u: Array, step: Array, bent: float = 0.0
) -> tuple[Array, Array]:
    r"""Where ``step`` leads from ``u`` if natural parameters change in proportion.

    The likelihood of an exponential family is concave in its natural parameters :math:`\eta`, and what
    Newton's method knows of it is a quadratic in them. A step that trades Lennard-Jones against
    corrections keeps its promise only where :math:`\eta(u') = \eta(u) + J d`: the wall of
    :math:`4\epsilon\sigma^{12}` does not forgive a straight line in the logarithms.

    :param natural: natural parameters ``(term,)`` from ``u``.
    :param bent: part of the largest change by which natural parameters may miss where they are to go. Where they are
        more than the parameters, as those of several members that share these, no ``u'`` need hit all, and the one
        that is nearest is taken.
    :return: ``u'``, ``(u,)``; and the part of the step that it was: where no ``u'`` is found (a
        coefficient would change its sign) half of the step is tried, and half of that.
    """
    eta, change = jax.jvp(natural, (u,), (step,))
    slope = jax.jacfwd(natural)
    scale = jnp.maximum(jnp.linalg.norm(slope(u), axis=1), 1e-12)

    def led(part: Array) -> tuple[Array, Array]:
        def closer(_: Array, v: Array) -> Array:
            a = slope(v) / scale[:, None]
            left = a.T @ a
            left = left + jnp.diag(jnp.where(jnp.diagonal(left) > 0, 1e-12, 1.0))
            return v + solve_positive(left, a.T @ ((eta + part * change - natural(v)) / scale))

        found = jax.lax.fori_loop(0, ROUNDS, closer, u + part * step)
        missed = jnp.max(jnp.abs(natural(found) - eta - part * change) / scale)
        return found, missed < 1e-6 + bent * part * jnp.max(jnp.abs(change) / scale)

    found, there = jax.lax.map(led, jnp.asarray(SHORTER))
    first = jnp.argmax(there)
    part = jnp.where(there.any(), jnp.asarray(SHORTER)[first], SHORTER[-1])
    return jnp.where(there.any(), found[first], u + part * step), part
