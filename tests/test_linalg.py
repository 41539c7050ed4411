"""Linear algebra that may be mapped inside a program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.linalg import eigh, inverse_positive, solve_positive


@pytest.fixture(scope="module")
def matrices() -> jax.Array:
    a = jax.random.normal(jax.random.key(0), (41, 23, 23))
    return a @ a.mT + jnp.eye(23)


def test_mapped_results_are_numpys(matrices: jax.Array) -> None:
    values, vectors = jax.jit(jax.vmap(eigh))(matrices)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrices), rtol=1e-10)
    np.testing.assert_allclose((vectors * values[:, None]) @ vectors.mT, matrices, atol=1e-10)
    b = matrices[:, 0]
    solved = jax.jit(jax.vmap(solve_positive))(matrices, b)
    np.testing.assert_allclose(jnp.einsum("mij,mj->mi", matrices, solved), b, atol=1e-10)
    inverse = jax.jit(jax.vmap(inverse_positive))(matrices)
    np.testing.assert_allclose(inverse, np.linalg.inv(matrices), atol=1e-10)


def test_many_mapped_solves_in_one_program_end(matrices: jax.Array) -> None:
    # With jax.vmap of jnp.linalg.solve this program waits for ever on two cores (jaxlib 0.10.1).
    def one(a: jax.Array) -> jax.Array:
        total = jnp.zeros(())
        for power in range(8):
            b = a
            for _ in range(power):
                b = jnp.sin(b @ a)
            total = total + jnp.sum(inverse_positive(b @ b.T + jnp.eye(len(a))))
        return total

    program = jax.jit(jax.vmap(one))
    for _ in range(20):
        assert np.all(np.isfinite(program(matrices)))
