r"""Coordinates in which natural parameters are linear, where those of a program are exponentials.

Given latents the log posterior is concave in natural parameters, and nearly normal. Lennard-Jones has
:math:`4\epsilon\sigma^{12}` and :math:`4\epsilon\sigma^6`: in the logarithms of :math:`\epsilon` and :math:`\sigma`
the ridge along which it is traded against other terms is bent, and what samples it takes ten times as many steps.
"""

from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.program import Program

__all__ = ["Straightened", "straightened"]


@dataclass(frozen=True, eq=False)
class Straightened:
    r"""Coordinates w of u, :math:`w_c = u^0_c + J_0^{-1}(e(u_c) - e(u^0_c))` for the curved ones and u for the others.

    Near :math:`u^0` the two agree to first order.

    :param curved: coordinates of u, ``(curved,)``.
    :param middle: :math:`u^0_c`.
    :param slope: M of :math:`\log|e| = M u_c + b`, ``(curved, curved)``.
    :param value: :math:`e(u^0_c)`; its sign is e's everywhere.
    """

    curved: np.ndarray
    middle: np.ndarray
    slope: np.ndarray
    value: np.ndarray

    def straight(self, u: Array) -> Array:
        """w of ``u (..., u)``."""
        if not len(self.curved):
            return u
        # J_0 = diag(e_0) M: what is left of it are ratios to e_0.
        grown = jnp.expm1((u[..., self.curved] - self.middle) @ self.slope.T)
        moved = self.middle + grown @ np.linalg.inv(self.slope).T
        return u.at[..., self.curved].set(moved)

    def bent(self, w: Array) -> tuple[Array, Array]:
        """u of ``w (u,)``, and the logarithm of the volume that goes with it; NaN where no u leads there."""
        if not len(self.curved):
            return w, jnp.zeros(())
        ratio = 1.0 + self.slope @ (w[self.curved] - self.middle)
        log_ratio = jnp.log(jnp.where(ratio > 0.0, ratio, jnp.nan))
        u = w.at[self.curved].set(self.middle + np.linalg.inv(self.slope) @ log_ratio)
        return u, -jnp.sum(log_ratio)


def straightened(
    program: Program, u: np.ndarray, x: Array, conditions: dict[str, Array]
) -> Straightened:
    """The coordinates about ``u (u,)``; u itself where natural parameters are no exponentials of some of them.

    Found from derivatives at two places: curved coordinates are those whose columns change, and they must have as many
    natural parameters to themselves, whose logarithms are linear.
    """
    here = jnp.asarray(u)
    rng = np.random.default_rng(0)
    there = here + 0.1 * rng.normal(size=here.shape)
    slope = jax.jit(jax.jacobian(lambda v: program.natural(v, x, conditions)))
    one, other = np.asarray(slope(here)), np.asarray(slope(there))
    scale = np.maximum(np.abs(one).max(0), 1e-300)
    curved = np.flatnonzero((np.abs(one - other) > 1e-9 * scale).any(0))
    terms = np.flatnonzero((one[:, curved] != 0.0).any(1))
    nothing = Straightened(curved[:0], np.zeros(0), np.zeros((0, 0)), np.zeros(0))
    if not curved.size:
        return nothing
    others = np.setdiff1d(np.arange(len(u)), curved)
    if len(terms) != len(curved) or np.any(one[np.ix_(terms, others)] != 0.0):
        return nothing
    e, e_other = (np.asarray(program.natural(v, x, conditions))[terms] for v in (here, there))
    if np.any(e == 0.0):
        return nothing
    growth = one[np.ix_(terms, curved)] / e[:, None]
    again = other[np.ix_(terms, curved)] / e_other[:, None]
    if not np.allclose(growth, again, rtol=1e-9) or np.linalg.cond(growth) > 1e8:
        return nothing
    return Straightened(curved, np.asarray(u)[curved], growth, e)
