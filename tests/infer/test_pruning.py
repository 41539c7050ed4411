"""ARD's pruning against the exact posterior with tau integrated out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from bayescg.infer.marginal import log_marginal, log_posterior
from bayescg.infer.prior import prior_terms
from bayescg.infer.program import read_program
from bayescg.infer.pruning import Trial, prune
from models import ising

MU = {"mu": jnp.asarray(0.4)}


@pytest.mark.slow
@pytest.mark.parametrize(("up", "back"), [(0.7, True), (0.5, False)])
def test_a_coefficient_stays_away_only_where_the_exact_posterior_gains(
    up: float, back: bool
) -> None:
    """From the optima with one coefficient left: what it costs to drop that one is judged rightly.

    :param up: probability of an up spin; couplings of fair coins are better at zero.
    :param back: a verdict that must be among those seen, "comes back" or not.
    """
    X = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (20, 16), p=[1.0 - up, up]))
    system = ising.system(ising.Options(n_f=16, L2=2, L3=1, prior="ard"))
    program = read_program(system.program, X, MU)

    def loss(u: jax.Array) -> jax.Array:
        return -log_posterior(program, u, X, MU)

    both, hessian = jax.jit(jax.value_and_grad(loss)), jax.jit(jax.hessian(loss))

    @jax.jit
    def score(u: jax.Array) -> jax.Array:
        return jax.grad(lambda v: jnp.sum(log_marginal(program, v, X, MU)))(u)

    def climb(u: np.ndarray, held: np.ndarray) -> np.ndarray:
        free = np.flatnonzero(~held)

        def f(v: np.ndarray) -> tuple[float, np.ndarray]:
            w = u.copy()
            w[free] = v
            value, slope = both(w)
            return float(value), np.asarray(slope)[free]

        w = u.copy()
        w[free] = scipy.optimize.minimize(f, u[free], jac=True, method="BFGS").x
        return w

    coefficients = program.coordinates("theta_c")
    seen = set()
    for k in coefficients:
        held = np.isin(np.arange(program.size), np.setdiff1d(coefficients, k))
        for start in (-2.0, 2.0):
            u = np.where(np.arange(program.size) == k, start, 0.0)
            u[program.coordinates("p0")] = 1.0
            u = climb(u, held)
            if abs(u[k]) < 0.1:
                continue  # no optimum away from zero on this side
            held_curvature = prior_terms(program, jnp.asarray(u), X, MU)[1]
            exact_curvature = prior_terms(program, jnp.asarray(u), X, MU)[2]
            precision = hessian(u) - exact_curvature + held_curvature
            none = jnp.zeros(program.size, bool)
            trial, step = prune(
                program, jnp.asarray(u), Trial(jnp.asarray(u), none, none), precision, score(u)
            )
            if not np.any(trial.removed):
                continue
            assert np.argmax(trial.removed) == k
            np.testing.assert_allclose(u[k] + step[k], 0.0, atol=1e-10)
            after = climb(u + np.asarray(step), np.isin(np.arange(program.size), coefficients))
            gain = float(loss(u) - loss(after))
            _, shift = prune(program, jnp.asarray(after), trial, precision, score(after))
            returned = bool(np.isclose(after[k] + shift[k], u[k]))
            if abs(gain) > 1.0:  # a trapezoid cannot tell smaller ones
                assert returned == (gain < 0), (k, start, gain)
                seen.add(returned)
    assert back in seen
