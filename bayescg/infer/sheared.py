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
from bayescg.infer.ridges import curved

__all__ = ["Sheared", "sheared"]


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

    def natural(v: Array) -> Array:
        return program.natural(v, x, conditions)

    bent, terms, others = curved(natural, u)
    slope = np.asarray(jax.jit(jax.jacobian(natural))(jnp.asarray(u)))
    own = slope[:, others]
    total = own.T @ covariance @ own + precision[np.ix_(others, others)]
    made_up = np.linalg.solve(total, own.T @ covariance[:, terms])
    middle = np.asarray(natural(jnp.asarray(u)))[terms]
    return Sheared(program, x, conditions, bent, terms, others, made_up, middle)
