"""Members that share parameters: their joint density against sums over states, and draws against quadrature."""

from dataclasses import replace
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density
import pytest
from scipy import stats
from scipy.integrate import quad

import bayescg as cg
from bayescg import results
from bayescg.distributions import Boltzmann, Enumeration, SpinFlip, half_to_one
from bayescg.infer.begin import program_of
from bayescg.infer.pooled import (
    check_shared,
    draw_own,
    joined,
    log_joint,
    pooled_program,
    run_pooled,
)
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.potentials import SpinBasis, SpinPotential, pair_features
from models import ising
from tests import brute_force
from tests.statistical import check_mean, check_variance, check_z

FIELDS = (-1.5, 0.0, 1.0)
SMALL = ising.Options(n_f=8, L_f=3, ratio=2, prior="curve", reach=2.0, degree=3, mu="-1.5,0,1")


def data() -> Any:
    return ising.reference(replace(SMALL, frames=5), jax.random.key(2))


def read(**options: Any) -> tuple[Program, Array, dict[str, Array]]:
    system = ising.system(replace(SMALL, **options))
    batch = system.batch(data())
    given = {"mu": jnp.asarray(batch.conditions["mu"])}
    return program_of(system, batch, pooled=True), jnp.asarray(batch.x, float), given


def some(program: Program, seed: int = 0) -> Array:
    """Parameters of three members that agree in what they share."""
    u = 0.5 * np.random.default_rng(seed).normal(size=(3, program.size))
    for name in program.shared:
        u[:, program.coordinates(name)] = u[0, program.coordinates(name)]
    return jnp.asarray(u)


def half_t(x: Any, scale: float = 1.0) -> Any:
    """Log density of a half-t with three degrees of freedom, and of its logarithm's Jacobian."""
    return np.sum(np.log(2.0) + stats.t.logpdf(x, 3, scale=scale) + np.log(x))


def beta_22(x: float) -> float:
    return float(stats.beta.logpdf(x, 2, 2) + np.log(x * (1.0 - x)))


@pytest.mark.slow
@pytest.mark.parametrize("deviation", [0.0, 0.3])
def test_the_joint_density_is_a_product_over_members(deviation: float) -> None:
    """Priors by SciPy, each member's likelihood by a sum over the sixteen coarse states."""
    program, x, given = read(deviation=deviation)
    u = some(program)
    values = [{k: np.asarray(v) for k, v in program.constrain(row).items()} for row in u]
    v = values[0]
    expected = half_t(v["theta_c_scale"]) + beta_22(v["theta_c_decay"]) + half_t(v["p0_scale"])
    expected += beta_22(v["p0_decay"]) + stats.logistic.logpdf(v["p0_centre"])
    expected += stats.norm.logpdf(np.concatenate([v["theta_c_weight"], v["p0_weight"]])).sum()
    if deviation:
        spread = v["theta_c_deviation_scale"]
        expected += stats.halfnorm.logpdf(spread, scale=deviation) + np.log(spread)
    states = brute_force.spins(4)
    for m, mu in enumerate(FIELDS):
        if deviation:
            expected += stats.norm.logpdf(values[m]["theta_c_deviation"]).sum()
        derived = program.values(u[m], x[m], {"mu": given["mu"][m]})
        potential = program.boltzmann(u[m], x[m], {"mu": given["mu"][m]}).potential
        assert float(potential.field) == mu
        log_w = -0.3 * brute_force.energies(potential)
        p0 = float(derived["p0"])
        agree = (np.asarray(x[m])[:, None] == np.repeat(states, 2, 1)[None]).sum(2)
        log_cf = agree * np.log(p0) + (8 - agree) * np.log(1.0 - p0)
        per_frame = brute_force.log_sum_exp((log_cf + log_w).T) - brute_force.log_sum_exp(log_w)
        expected += per_frame.sum()
    np.testing.assert_allclose(log_joint(program, u, x, given), expected, rtol=1e-12)


@pytest.mark.parametrize("deviation", [0.0, 0.3])
def test_numpyro_sees_the_same_density(deviation: float) -> None:
    program, x, given = read(deviation=deviation)
    u = some(program)
    common = np.concatenate([program.coordinates(k) for k in program.shared])
    own = np.setdiff1d(np.arange(program.size), common)
    parts = {"shared": u[0, common]} | ({"own": u[:, own]} if own.size else {})
    found, _ = log_density(pooled_program(program), (x,), given, parts)
    np.testing.assert_allclose(found, log_joint(program, u, x, given), rtol=1e-12)
    np.testing.assert_array_equal(joined(program, u[0, common], u[:, own]), u)


@pytest.mark.slow
def test_flipping_spins_and_fields_changes_nothing() -> None:
    flipped = [read(), read(symmetric=False)]
    found = []
    for program, x, given in flipped:
        u = some(program)
        found.append(
            [float(log_joint(program, u, s * x, {"mu": s * given["mu"]})) for s in (1.0, -1.0)]
        )
    assert found[0][0] == pytest.approx(found[0][1], rel=1e-12)
    assert abs(found[1][0] - found[1][1]) > 0.1


def test_a_new_member_s_own_parameters_come_from_their_prior() -> None:
    program, x, _ = read(deviation=0.3)
    u, at = some(program)[0], program.coordinates("theta_c_deviation")
    keys = jax.random.split(jax.random.key(5), 4000)
    new = {"mu": jnp.asarray(0.5)}
    found = np.asarray(jax.vmap(lambda k: draw_own(program, k, u, x[0], new))(keys))
    check_mean(found[:, at], 0.0)
    check_variance(found[:, at], 1.0)
    others = np.setdiff1d(np.arange(program.size), at)
    np.testing.assert_allclose(found[:, others], np.tile(u[others], (4000, 1)), rtol=1e-10)


# --- a posterior by quadrature ---------------------------------------------------------------

PAIR = SpinBasis(3, tuple(pair_features([1])))


def coupled(x: Array | None = None, *, mu: Array, frames: int = 1) -> None:
    """Three coarse spins; members share one coupling and have p0 of their own."""
    theta = numpyro.sample("theta", dist.Normal(0.0, 1.0), infer={"shared": True})
    p0 = half_to_one("p0")
    with numpyro.plate("frame", frames if x is None else len(x)):
        potential = SpinPotential(theta[None], mu, PAIR)
        p_c = Boltzmann(potential, 0.5, log_partition=Enumeration(), event_shape=(3,))
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", SpinFlip(X, p0, ratio=2), obs=x)


def example() -> tuple[Program, Array, dict[str, Array]]:
    x = jnp.asarray(np.random.default_rng(4).choice([-1.0, 1.0], (2, 4, 6), p=[0.3, 0.7]))
    given = {"mu": jnp.array([0.2, 1.0])}
    return read_program(coupled, x[0], {"mu": given["mu"][0]}), x, given


@pytest.mark.by_hand
def test_nuts_draws_the_posterior_of_all_members() -> None:
    """Mean and variance of the coupling against quadrature over it and both p0."""
    program, x, given = example()
    states = brute_force.spins(3)

    def evidence(theta: float, m: int) -> float:
        """The likelihood of one member, its p0 integrated out."""
        potential = SpinPotential(jnp.array([theta]), given["mu"][m], PAIR)
        prior = brute_force.weights(-0.5 * brute_force.energies(potential))
        agree = (np.asarray(x[m])[:, None] == np.repeat(states, 2, 1)[None]).sum(2)

        def likelihood(p: float) -> float:
            return float(np.prod((p**agree * (1.0 - p) ** (6 - agree)) @ prior))

        return quad(likelihood, 0.5, 1.0)[0]

    theta = np.linspace(-5.0, 5.0, 161)
    log_w = [stats.norm.logpdf(t) + np.log(evidence(t, 0)) + np.log(evidence(t, 1)) for t in theta]
    w = brute_force.weights(np.array(log_w))
    mean = w @ theta
    variance = w @ (theta - mean) ** 2

    run = run_pooled(
        program,
        np.asarray(x),
        {k: np.asarray(v) for k, v in given.items()},
        jax.random.key(0),
        warmup=300,
        samples=1000,
    )
    at = int(program.coordinates("theta")[0])
    draws = run.u[..., at]
    np.testing.assert_array_equal(draws[..., 0], draws[..., 1])
    assert not np.allclose(run.u[:, :, 0], run.u[:, :, 1])  # p0 are each member's own
    assert run.stats["diverging"].shape == (4, 1000)
    one = draws[..., 0]
    for value, exact in ((one, mean), ((one - mean) ** 2, variance)):
        found = results.diagnostics(results.to_dataset({"v": value}))
        error = value.std() / np.sqrt(float(found["ess_bulk"]["v"]))
        check_z(value.mean(), exact, error)


# --- what is refused -------------------------------------------------------------------------


def test_a_prior_that_is_not_shared_is_refused() -> None:
    def program(x: Array | None = None, *, mu: Array, frames: int = 1) -> None:
        theta = numpyro.sample("theta", dist.Normal(mu, 1.0), infer={"shared": True})
        p_c = Boltzmann(
            SpinPotential(theta[None], mu, PAIR), 0.5, log_partition=Enumeration(), event_shape=(3,)
        )
        with numpyro.plate("frame", frames if x is None else len(x)):
            numpyro.sample("x", SpinFlip(numpyro.sample("X", p_c), 0.8, ratio=2), obs=x)

    _, x, given = example()
    found = read_program(program, x[0], {"mu": given["mu"][0]})
    with pytest.raises(
        ProgramError, match="prior of theta, which all members share, depends on mu"
    ):
        check_shared(found, x, given)


def test_methods_that_fit_each_member_alone_refuse_it() -> None:
    system = ising.system(SMALL)
    text = r"members of the sweep share theta_c_scale, .*-m mcem and -m nuts"
    with pytest.raises(ProgramError, match=text):
        cg.limits.rem(system, data()).run(jax.random.key(0))


def test_learned_log_z_refuses_it() -> None:
    with pytest.raises(ValueError, match="log_partition=learned is for members on their own"):
        cg.nuts(ising.system(SMALL), data(), log_partition="learned").run(jax.random.key(0))
