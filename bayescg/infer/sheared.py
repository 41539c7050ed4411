r"""Coordinates in which coefficients make up for what bent parameters do.

Given latents the log posterior is concave in natural parameters e, and nearly normal, with the information
:math:`T = N J^\top\operatorname{Cov}[\phi]J + \Lambda`, of which :math:`\Lambda` is the prior's. Where some of the
parameters are bent, as the :math:`\epsilon` and :math:`\sigma` of Lennard-Jones, and coefficients :math:`\theta` of a
correction can do nearly the same, what the two do together is known thousands of times better than either. Steps along
such a ridge have to follow its bend. In the coordinates

.. math:: \theta' = \theta + B\,[e_c(u_c) - e_c(u^0_c)], \qquad
    B = T_{\theta\theta}^{-1} N\,J_\theta^\top\operatorname{Cov}[\phi_\theta,\phi_c],

:math:`\theta'` is what is left of coefficients when they have made up for the bent ones as well as they can. It is as
good as independent of those, wherever they are, and the volume is the same.
"""

from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.program import Program

__all__ = ["Sheared", "curved", "sheared"]


@dataclass(frozen=True, eq=False)
class Sheared:
    r"""Coordinates w of u: :math:`\theta'` for coefficients, and u for the others.

    :param program: whose natural parameters are meant, with ``x`` and ``conditions``.
    :param bent: coordinates of u that natural parameters are not linear in, ``(bent,)``.
    :param terms: natural parameters that hang on them, ``(own,)``.
    :param others: coordinates of u that make up for them, ``(other,)``.
    :param slope: B, ``(other, own)``.
    :param middle: :math:`e_c(u^0_c)`, ``(own,)``.
    """

    program: Program
    x: Array
    conditions: dict[str, Array]
    bent: np.ndarray
    terms: np.ndarray
    others: np.ndarray
    slope: np.ndarray
    middle: np.ndarray

    def _made_up(self, u: Array) -> Array:
        """B times the change of the bent ones' natural parameters, of ``u (u,)``, which alone decides."""
        e = self.program.natural(u, self.x, self.conditions)[self.terms]
        return jnp.asarray(self.slope) @ (e - self.middle)

    def straight(self, u: Array) -> Array:
        """w of ``u (u,)``."""
        if not self.bent.size:
            return u
        return u.at[self.others].add(self._made_up(u))

    def back(self, w: Array) -> Array:
        """u of ``w (u,)``; volumes are the same."""
        if not self.bent.size:
            return w
        return w.at[self.others].add(-self._made_up(w))


def curved(
    program: Program, u: np.ndarray, x: Array, conditions: dict[str, Array]
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of u that natural parameters are not linear in, and the terms that hang on them.

    Found from derivatives at ``u (u,)`` and near by. None where such a term hangs on other coordinates too.
    """
    here = jnp.asarray(u)
    there = here + 0.1 * np.random.default_rng(0).normal(size=here.shape)
    slope = jax.jit(jax.jacobian(lambda v: program.natural(v, x, conditions)))
    one, other = np.asarray(slope(here)), np.asarray(slope(there))
    scale = np.maximum(np.abs(one).max(0), 1e-300)
    bent = np.flatnonzero((np.abs(one - other) > 1e-9 * scale).any(0))
    terms = np.flatnonzero((one[:, bent] != 0.0).any(1))
    others = np.setdiff1d(np.arange(len(u)), bent)
    if np.any(one[np.ix_(terms, others)] != 0.0):
        return bent[:0], terms[:0]
    return bent, terms


def sheared(
    program: Program,
    u: np.ndarray,
    x: Array,
    conditions: dict[str, Array],
    covariance: np.ndarray,
    precision: np.ndarray,
) -> Sheared:
    """The coordinates about ``u (u,)``; u itself where nothing is bent.

    :param covariance: of the statistics of all frames there, times beta squared, ``(term, term)``.
    :param precision: of the prior there, ``(u, u)``.
    """
    bent, terms = curved(program, u, x, conditions)

    def natural(v: Array) -> Array:
        return program.natural(v, x, conditions)

    slope = np.asarray(jax.jit(jax.jacobian(natural))(jnp.asarray(u)))
    others = np.setdiff1d(np.flatnonzero((slope != 0.0).any(0)), bent)
    own = slope[:, others]
    total = own.T @ covariance @ own + precision[np.ix_(others, others)]
    made_up = np.linalg.solve(total, own.T @ covariance[:, terms])
    middle = np.asarray(natural(jnp.asarray(u)))[terms]
    return Sheared(program, x, conditions, bent, terms, others, made_up, middle)
