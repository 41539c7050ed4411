"""Small dense linear algebra inside mapped programs.

jaxlib hands a batch of LAPACK calls to the thread pool of XLA and waits for it. A program that runs
on that pool itself, as any with several independent operations does, can wait for ever: seen on
two cores with ``eigh`` and triangular solves of 41 matrices under ``vmap`` (jaxlib 0.10.1). Under
``vmap`` these functions take one matrix after the other, which needs no pool.
"""

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

__all__ = ["eigh", "inverse_positive", "solve_positive"]


@jax.custom_batching.sequential_vmap
def eigh(a: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors, as columns, of a symmetric matrix."""
    values, vectors = jnp.linalg.eigh(a)
    return values, vectors


@jax.custom_batching.sequential_vmap
def solve_positive(a: Array, b: Array) -> Array:
    """``a^-1 b`` for a positive definite ``a``; ``b`` a vector or a matrix of columns."""
    return cho_solve(cho_factor(a), b)


@jax.custom_batching.sequential_vmap
def inverse_positive(a: Array) -> Array:
    """Inverse of a positive definite matrix."""
    return cho_solve(cho_factor(a), jnp.eye(len(a), dtype=a.dtype))
