"""The estimated log posterior against the exact one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.laplace import Laplace, weigh
from bayescg.infer.marginal import log_posterior
from bayescg.infer.program import Program, read_program
from bayescg.infer.reweighting import Estimate, reweighted_log_posterior
from models import ising
from tests.brute_force import spins

FRAMES, DRAWS, KEYS = 6, 12, 20
X = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (FRAMES, 16), p=[0.3, 0.7]))
MU = {"mu": jnp.asarray(0.4)}
SYSTEM = ising.system(ising.Options(n_f=16, L2=2, L3=1, beta=1.0, prior="normal"))


@pytest.fixture(scope="module")
def program() -> Program:
    return read_program(SYSTEM.program, X, MU)


@pytest.fixture(scope="module")
def mode(program: Program) -> jax.Array:
    return 0.2 * jax.random.normal(jax.random.key(1), (program.size,))


@pytest.fixture(scope="module")
def draws(mode: jax.Array) -> jax.Array:
    return mode + 0.1 * jax.random.normal(jax.random.key(2), (DRAWS, len(mode)))


@pytest.fixture(scope="module")
def estimates(program: Program, mode: jax.Array, draws: jax.Array) -> Estimate:
    def one(key: jax.Array) -> Estimate:
        return reweighted_log_posterior(program, SYSTEM.sampler, key, draws, mode, X, MU)

    return jax.lax.map(jax.jit(one), jax.random.split(jax.random.key(3), KEYS))


@pytest.mark.slow
def test_estimates_are_right_within_their_stated_errors(
    program: Program, mode: jax.Array, draws: jax.Array, estimates: Estimate
) -> None:
    def exact(u: jax.Array) -> jax.Array:
        return log_posterior(program, u, X, MU)

    z = (estimates.value - (jax.lax.map(exact, draws) - exact(mode))) / estimates.error
    # For each draw a sum of KEYS = 20 squares: were z standard normal, a mean square beyond 3.5 has
    # probability 2e-7 and one below 0.15 has 4e-6; for all draws together that is 5e-5.
    square = np.mean(np.square(z), 0)
    assert np.all(square < 3.5)
    assert np.all(square > 0.15)
    assert np.all(estimates.support > 20)


@pytest.mark.slow
def test_weights_agree_with_the_exact_ones(program: Program, mode: jax.Array) -> None:
    u = np.asarray(mode)[None]
    normal = Laplace(
        "complete",
        u,
        100.0 * np.eye(program.size)[None],
        np.array([100.0]),
        np.zeros(1, bool),
        np.full(1, None),
    )
    args = (program, normal, jax.random.key(4), 200, np.asarray(X)[None])
    given = {"mu": np.array([0.4])}
    exact = weigh(*args, given)
    estimated = weigh(*args, given, sampler=SYSTEM.sampler)
    np.testing.assert_array_equal(exact.draws, estimated.draws)
    assert np.all(exact.error == 0.0)
    assert estimated.unsupported.sum() == 0
    # Weights of one draw differ by its Monte Carlo error and, since they are normalised, by that of
    # all others: six standard errors of both, so that 160 draws fail falsely once in 1e6.
    gap = (exact.log_weights - estimated.log_weights)[0]
    body = exact.log_weights[0] < np.quantile(exact.log_weights[0], 0.8)  # untouched by smoothing
    gap = gap[body] - gap[body].mean()
    error = np.hypot(estimated.error[0], np.sqrt(np.mean(estimated.error[0] ** 2)))
    assert np.all(np.abs(gap) < 6.0 * error[body])


@pytest.mark.by_hand
def test_two_modes_are_weighed_against_each_other() -> None:
    """A lattice that orders up or down, which single chains never leave: the draws that tilt it still
    get the right weight, within the stated errors (a mean square as above, and z below 6)."""
    system = ising.system(ising.Options(n_f=16, L2=2, L3=0, beta=1.0, prior="normal"))
    program = read_program(system.program, X, {"mu": jnp.asarray(0.0)})
    given = {"mu": jnp.asarray(0.0)}
    at = program.coordinates("theta_c")
    mode = jnp.zeros(program.size).at[at].set(jnp.array([0.02, 0.9, 0.3])[: len(at)])
    tilted = mode + 0.1 * jax.random.normal(jax.random.key(6), (DRAWS, program.size))

    def one(key: jax.Array) -> Estimate:
        return reweighted_log_posterior(program, system.sampler, key, tilted, mode, X, given)

    found = jax.lax.map(jax.jit(one), jax.random.split(jax.random.key(7), KEYS))

    def exact(u: jax.Array) -> jax.Array:
        return log_posterior(program, u, X, given)

    boltzmann = program.boltzmann(mode, X, given)
    states = spins(8)
    p = jax.nn.softmax(boltzmann.potential.natural() @ boltzmann.potential.statistics(states.T))
    magnetization = np.abs(states.mean(1))
    assert float(p @ (magnetization > 0.7)) > 0.8  # there are two modes indeed
    z = (found.value - (jax.lax.map(exact, tilted) - exact(mode))) / found.error
    assert np.all(np.abs(z) < 6.0)
    assert np.all(np.mean(np.square(z), 0) < 3.5)


@pytest.mark.by_hand
def test_draws_beyond_the_samples_get_no_weight(program: Program, mode: jax.Array) -> None:
    u = np.asarray(mode)[None]
    wide = Laplace(
        "complete",
        u,
        0.05 * np.eye(program.size)[None],
        np.array([0.05]),
        np.zeros(1, bool),
        np.full(1, None),
    )
    far = weigh(
        program, wide, jax.random.key(5), 300, np.asarray(X)[None], {"mu": np.array([0.4])},
        sampler=SYSTEM.sampler,
    )  # fmt: skip
    assert far.unsupported[0] > 0
    assert np.sum(np.isneginf(far.log_weights[0])) >= far.unsupported[0]
