"""The prior's gradient and curvature: Eqs. 42 to 44, and what they leave out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.prior import expected_precisions, prior_terms
from bayescg.infer.program import read_program
from models import ising

X = jnp.ones((2, 16))
MU = {"mu": jnp.asarray(0.0)}


@pytest.mark.parametrize("a0", [1e-5, 2.0])
def test_ard(a0: float) -> None:
    options = ising.Options(n_f=16, prior="ard", a0=a0, b0=a0)
    program = read_program(ising.system(options).program, X, MU)
    at = program.coordinates("theta_c")
    u = jnp.linspace(-1.0, 1.0, program.size)
    theta = np.asarray(u)[at]
    tau = (a0 + 0.5) / (a0 + 0.5 * theta**2)
    np.testing.assert_allclose(expected_precisions(program, u)[at], tau, rtol=1e-12)
    assert np.all(np.asarray(expected_precisions(program, u))[program.coordinates("p0")] == 0.0)

    terms = jax.jit(lambda u, cap: prior_terms(program, u, X, MU, cap))
    gradient, held, exact = terms(u, np.inf)
    np.testing.assert_allclose(gradient[at], -tau * theta, rtol=1e-12)
    np.testing.assert_allclose(np.diag(held)[at], tau, rtol=1e-12)
    # Exact: with tau integrated out the pull weakens with distance (tau depends on theta).
    bend = tau - (a0 + 0.5) * theta**2 / (a0 + 0.5 * theta**2) ** 2
    np.testing.assert_allclose(np.diag(exact)[at], bend, rtol=1e-9)
    for matrix in (held, exact):
        assert np.all(np.asarray(matrix) == np.diag(np.diag(matrix)))

    capped, held, _ = terms(u, 0.5)
    np.testing.assert_allclose(capped[at], -np.minimum(tau, 0.5) * theta, rtol=1e-12)
    np.testing.assert_allclose(np.diag(held)[at], np.minimum(tau, 0.5), rtol=1e-12)


@pytest.mark.parametrize(("prior", "precision"), [("normal", 0.25), ("flat", 0.0)])
def test_other_priors(prior: str, precision: float) -> None:
    options = ising.Options(n_f=16, prior=prior, prior_scale=2.0)
    program = read_program(ising.system(options).program, X, MU)
    at = program.coordinates("theta_c")
    u = jnp.linspace(-1.0, 1.0, program.size)
    gradient, held, exact = jax.jit(lambda u: prior_terms(program, u, X, MU))(u)
    np.testing.assert_allclose(gradient[at], -precision * u[at], atol=1e-14)
    np.testing.assert_allclose(np.diag(held)[at], precision, atol=1e-14)
    np.testing.assert_allclose(held, exact, atol=1e-14)
    assert np.all(np.asarray(expected_precisions(program, u)) == 0.0)
