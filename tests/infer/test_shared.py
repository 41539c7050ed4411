"""MC-EM of members that share their parameters, against sums over states."""

from functools import cache
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import bayescg as cg
from bayescg import results
from bayescg.infer.begin import program_of
from bayescg.infer.estimates import Reader, likelihood_coordinates, start_chains
from bayescg.infer.iteration import estimates_of, over_members
from bayescg.infer.moves import straight
from bayescg.infer.pooled import log_joint
from bayescg.infer.prior import prior_terms
from bayescg.infer.program import Program, ProgramError
from bayescg.infer.shared import exponents_of_all, log_posterior_of_all, summed
from bayescg.workflow.assemble import to_inference_data
from models import ising
from tests.statistical import check_mean, check_z

SMALL = ising.Options(
    n_f=8, L_f=3, ratio=2, L2=1, L3=0, prior="curve", reach=2.0, degree=2, mu="-1.5,0,1"
)


class Exact(NamedTuple):
    """Of the posterior of all members, in unconstrained coordinates."""

    mode: np.ndarray  # (u,)
    precision: np.ndarray  # (u, u)


def data() -> Any:
    return ising.reference(ising.Options(n_f=8, L_f=3, mu="-1.5,0,1", frames=30), jax.random.key(2))


@cache
def read() -> tuple[Program, Array, dict[str, Array]]:
    system = ising.system(SMALL)
    batch = system.batch(data())
    given = {k: jnp.asarray(v) for k, v in batch.conditions.items()}
    return program_of(system, batch, pooled=True), jnp.asarray(batch.x, float), given


@cache
def exact() -> Exact:
    """The mode of the density with latents and log Z summed out, and its curvature there."""
    program, x, given = read()

    def loss(u: Array) -> Array:
        return -log_joint(program, jnp.tile(u, (len(x), 1)), x, given)

    both, curvature = jax.jit(jax.value_and_grad(loss)), jax.jit(jax.hessian(loss))
    found = minimize(both, np.zeros(program.size), jac=True, hess=curvature, method="trust-exact")
    u = np.asarray(found.x)
    for _ in range(3):
        u = u - np.linalg.solve(curvature(u), both(u)[1])
    assert np.abs(both(u)[1]).max() < 1e-9
    precision = np.asarray(curvature(u))
    assert np.linalg.eigvalsh(precision)[0] > 0.0
    return Exact(u, precision)


@pytest.mark.slow
def test_the_target_of_weights_is_the_joint_density() -> None:
    program, x, given = read()
    u = jnp.linspace(-0.5, 0.5, program.size)
    value = log_posterior_of_all(program, u, x, given) + program.log_jacobian(u)
    expected = log_joint(program, jnp.tile(u, (len(x), 1)), x, given)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.by_hand
def test_score_and_information_are_those_of_all_members() -> None:
    """At the exact mode the score balances the prior's slope, and the observed information is the curvature; 64
    independent runs of the chains."""
    program, x, given = read()
    sampler = ising.system(SMALL).sampler
    fine = likelihood_coordinates(program, x[0], {"mu": given["mu"][0]})
    reader = Reader(program, sampler, sampler, fine)
    u = jnp.tile(jnp.asarray(exact().mode), (len(x), 1))

    def run(key: Array) -> Any:
        keys = jax.random.split(key, len(x) + 2)
        begin = over_members(lambda k, x: start_chains(reader, k, x, 32, 4))
        chains = begin(keys[2:], x)
        _, chains = estimates_of(reader, keys[0], u, chains, x, given, {}, 20)
        found, _ = estimates_of(reader, keys[1], u, chains, x, given, {}, 60)
        return found._replace(spread=found.noise)

    found = jax.jit(lambda k: jax.lax.map(run, k))(jax.random.split(jax.random.key(3), 64))
    for part in found[:5]:
        np.testing.assert_array_equal(part[:, 0], part[:, 1])
    gradient, _, curved = prior_terms(program, u[0], x[0], {"mu": given["mu"][0]})
    score = np.asarray(found.score)[:, 0]
    check_mean(score, -np.asarray(gradient))
    upper = np.triu_indices(program.size)
    observed = np.asarray(found.observed + curved)[:, 0][:, *upper]
    check_mean(observed, exact().precision[upper])
    # What the chains say of their own error is the error that they have; a variance of 64 is known to 18 %.
    told = np.diagonal(np.asarray(found.spread)[:, 0].mean(0))
    some = told > 0.0  # of what changes anything
    assert some.sum() >= program.size - 1
    ratio = told[some] / score.var(0, ddof=1)[some]
    assert np.all((ratio > 0.4) & (ratio < 2.5)), ratio


@pytest.mark.slow
def test_estimates_add_up_over_members() -> None:
    program, x, given = read()
    sampler = ising.system(SMALL).sampler
    fine = likelihood_coordinates(program, x[0], {"mu": given["mu"][0]})
    reader = Reader(program, sampler, sampler, fine)
    keys = jax.random.split(jax.random.key(1), len(x))
    chains = over_members(lambda k, x: start_chains(reader, k, x, 8, 2))(keys, x)
    u = jnp.zeros((len(x), program.size))
    shapes = jax.eval_shape(lambda: estimates_of(reader, keys[0], u, chains, x, given, {}, 2))[0]
    rng = np.random.default_rng(0)
    some = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), shapes)
    total = summed(some)
    np.testing.assert_allclose(total.score[1], some.score.sum(0), rtol=1e-12)
    np.testing.assert_allclose(total.noise[2], some.noise.sum(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(total.observed[0], some.observed.sum(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(total.features, some.features)


@pytest.mark.by_hand
def test_a_fit_ends_at_the_mode_of_all_members() -> None:
    """Within its Monte Carlo error, and with the draws of the exact posterior after weighting."""
    members = len(read()[1])
    fit = cg.mcem(ising.system(SMALL), data(), tolerance=0.03, draws=400).run(jax.random.key(0))
    assert fit.converged.all() and fit.exact and fit.mode is not None
    np.testing.assert_array_equal(fit.mode, np.tile(fit.mode[0], (members, 1)))
    sd = np.sqrt(np.diagonal(np.linalg.inv(exact().precision)))
    check_z((fit.mode[0] - exact().mode) / sd, 0.0, 0.03)
    np.testing.assert_array_equal(fit.draws[:, :, 0], fit.draws[:, :, 2])
    assert np.all(fit.groups["map"]["khat"].values < 0.7)
    lp = np.asarray(fit.groups["sample_stats"]["lp"].values)[0, :5, 0]
    program, x, given = read()
    joint = [log_joint(program, jnp.asarray(u), x, given) for u in fit.draws[0, :5]]
    np.testing.assert_allclose(lp, joint, rtol=1e-10)
    posterior = results.group(to_inference_data(fit), "posterior")
    assert "mu" not in posterior["theta_c_weight"].dims and "mu" in posterior["theta_c"].dims
    assert cg.predict(fit, conditions={"mu": "-1:1:3"}, draws=40) is not None


@pytest.mark.slow
def test_what_is_each_member_s_own_is_refused() -> None:
    options = ising.Options(**{**vars(SMALL), "deviation": 0.3})
    with pytest.raises(ProgramError, match="theta_c_deviation of their own; MC-EM fits members"):
        cg.mcem(ising.system(options), data()).run(jax.random.key(0))


def test_a_step_of_more_terms_than_parameters_goes_where_they_are_nearest() -> None:
    """Two members at which exp(a + b t) cannot both change in proportion: the nearest point, or no straight way."""
    t = jnp.array([-1.0, 0.0, 1.0])

    def natural(u: Array) -> Array:
        return jnp.exp(u[0] + u[1] * t)

    u, step = jnp.array([0.1, 0.2]), jnp.array([0.05, 0.02])
    there, part = straight(natural, u, step, bent=0.1)
    assert part == 1.0
    eta, change = jax.jvp(natural, (u,), (step,))
    scale = jnp.linalg.norm(jax.jacfwd(natural)(u), axis=1)
    missed = (natural(there) - eta - change) / scale
    slope = jax.jacfwd(natural)(there) / scale[:, None]
    np.testing.assert_allclose(slope.T @ missed, 0.0, atol=1e-6)  # the nearest
    assert jnp.linalg.norm(missed) < jnp.linalg.norm((natural(u + step) - eta - change) / scale)
    assert straight(natural, u, step)[1] < 1.0  # none hits all


def test_exponents_are_those_of_each_member() -> None:
    program, x, given = read()
    u = jnp.asarray(np.linspace(-0.5, 0.5, program.size))
    each = [0.3 * program.natural(u, x[m], {"mu": given["mu"][m]}) for m in range(len(x))]
    np.testing.assert_allclose(exponents_of_all(program, u, x, given), np.concatenate(each))
