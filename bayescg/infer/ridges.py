r"""Ridges of a posterior that bend, and normal approximations that follow them.

Where some parameters are bent, as the :math:`\epsilon` and :math:`\sigma` of Lennard-Jones, and coefficients
:math:`\theta` of a correction can do nearly the same, the posterior is a thin ridge along which the two make up for
each other. A normal approximation has it straight: its draws leave the ridge at the square of the distance from the
mode, and their potentials, where they are steep, by many kT. Of a normal with precision P, :math:`\theta` has, given
the bent ones c, the mean

.. math:: \theta^0 - P_{\theta\theta}^{-1}P_{\theta c}\,(u_c - u^0_c)
    \quad\text{and with the bend}\quad \theta^0 - B\,[e_c(u_c) - e_c(u^0_c)],
    \qquad B = P_{\theta\theta}^{-1}P_{\theta c}\,J_c^+,

since what coefficients make up for are natural parameters :math:`e_c`, of which :math:`J_c` is the slope at the mode.
To first order this is the same normal, its volumes are the same, and the likelihood of an exponential family is a
function of natural parameters alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

__all__ = ["Ridge", "curved", "ridge"]


@dataclass(frozen=True, eq=False)
class Ridge:
    """How coefficients make up for what bent parameters do beyond what is linear in them.

    :param bent: coordinates of u that natural parameters are not linear in, ``(bent,)``.
    :param others: coordinates of u that make up for them, ``(other,)``.
    :param made_up: B, ``(other, own)``.
    :param beyond: from u ``(draw, u)`` to what natural parameters change by beyond what is linear, ``(draw, own)``.
    """

    bent: np.ndarray
    others: np.ndarray
    made_up: np.ndarray
    beyond: Callable[[np.ndarray], np.ndarray]

    def along(self, u: np.ndarray) -> np.ndarray:
        """Draws ``(draw, u)`` of the straight normal, put where the ridge is."""
        return self._moved(u, -1.0)

    def straight(self, u: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`along`; volumes are the same."""
        return self._moved(u, 1.0)

    def _moved(self, u: np.ndarray, sign: float) -> np.ndarray:
        out = np.array(u)
        out[:, self.others] += sign * self.beyond(u) @ self.made_up.T
        return out


def ridge(
    natural: Callable[[Array], Array], mode: np.ndarray, precision: np.ndarray
) -> Ridge | None:
    """The ridge about ``mode (u,)`` of a posterior with that ``precision (u, u)``; None where nothing bends.

    :param natural: natural parameters of all that the posterior is of, from ``u (u,)``.
    """
    bent, terms, others = curved(natural, mode)
    if not bent.size or not others.size:
        return None

    @jax.jit
    def own(u: Array) -> Array:
        return natural(u)[terms]

    slope = np.asarray(jax.jit(jax.jacobian(own))(jnp.asarray(mode)))[:, bent]
    middle = np.asarray(own(jnp.asarray(mode)))
    size = np.maximum(np.abs(slope).max(1, keepdims=True), 1e-300)  # they differ by powers of ten
    together = np.linalg.solve(precision[np.ix_(others, others)], precision[np.ix_(others, bent)])
    made_up = together @ (np.linalg.pinv(slope / size) / size.T)

    def beyond(u: np.ndarray) -> np.ndarray:
        there = np.asarray(jax.lax.map(own, jnp.asarray(u)))
        return there - middle - (u - mode)[:, bent] @ slope.T

    return Ridge(bent, others, made_up, beyond)


def curved(
    natural: Callable[[Array], Array], u: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of u that natural parameters are not linear in, terms that hang on them, and other coordinates.

    Found from derivatives at ``u (u,)`` and near by; the last are those on which other terms hang. None are bent where
    a term of theirs hangs on others too.
    """
    here = jnp.asarray(u)
    there = here + 0.1 * np.random.default_rng(0).normal(size=here.shape)
    slope = jax.jit(jax.jacobian(natural))
    one, other = np.asarray(slope(here)), np.asarray(slope(there))
    scale = np.maximum(np.abs(one).max(0), 1e-300)
    bent = np.flatnonzero((np.abs(one - other) > 1e-9 * scale).any(0))
    terms = np.flatnonzero((one[:, bent] != 0.0).any(1))
    others = np.setdiff1d(np.flatnonzero((one != 0.0).any(0)), bent)
    if np.any(one[np.ix_(terms, others)] != 0.0):
        return bent[:0], terms[:0], others
    return bent, terms, others
