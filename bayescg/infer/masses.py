"""The mass of NUTS from the curvature of the log posterior, latents given, where draws are too few to tell it."""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.alternating import Alternating

__all__ = ["information", "mass_of"]


def information(
    alternating: Alternating, u: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of the information on the coordinates that NUTS moves, X given, at ``u (u,)``.

    :param covariance: of the statistics of a frame there, ``(term, term)``.
    """
    here = jnp.asarray(u)

    def natural(moving: Array) -> Array:
        return alternating.natural(alternating.moved_to(here, moving))

    def log_prior(moving: Array) -> Array:
        return alternating.log_prior(alternating.moved_to(here, moving))

    at = alternating.moving(here)
    slope = np.asarray(jax.jit(jax.jacobian(natural))(at))
    bend = np.asarray(jax.jit(jax.hessian(log_prior))(at))
    values, vectors = np.linalg.eigh(len(alternating.x) * slope.T @ covariance @ slope - bend)
    return np.maximum(np.abs(values), 1e-9 * np.abs(values).max()), vectors


def mass_of(alternating: Alternating, values: np.ndarray, vectors: np.ndarray) -> Array:
    """Inverse mass matrix, or its diagonal, of that information."""
    inverse = (vectors / values) @ vectors.T
    return jnp.asarray(inverse if alternating.options.dense else np.diag(inverse))
