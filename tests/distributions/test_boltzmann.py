"""The Boltzmann distribution by itself, and as the latent site of a NumPyro program."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.handlers import condition, seed, substitute, trace
from numpyro.infer import Predictive
from numpyro.infer.util import log_density
import pytest
from scipy import stats

from bayescg.distributions import (
    Boltzmann,
    Enumeration,
    ExactLogPartition,
    Tracked,
    TransferMatrix,
    exact_for,
)
from bayescg.potentials import SpinBasis, SpinPotential, independent_features, polynomial_features
from bayescg.samplers import lattice_gibbs, long_run
from models import ising
from tests import brute_force
from tests.densities import check_log_prob
from tests.statistical import check_states
from tests.systems import BETA, CHAIN, FULL, potential

STATES = brute_force.spins(8)
MU = jnp.asarray(0.5)


def boltzmann(p: SpinPotential, **options: Any) -> Boltzmann:
    return Boltzmann(p, BETA, **{"log_partition": Enumeration(), "event_shape": (8,), **options})


def ising_program(**options: Any) -> Callable[..., None]:
    """Eight coarse spins, sixteen fine ones."""
    return ising.system(
        ising.Options(n_f=16, **{"prior": "normal", "prior_scale": 0.1, **options})
    ).program


@pytest.mark.parametrize("strategy", [Enumeration(), TransferMatrix()])
def test_density(strategy: ExactLogPartition) -> None:
    p = potential()
    assert isinstance(strategy, ExactLogPartition)
    check_log_prob(
        partial(boltzmann, p, log_partition=strategy),
        STATES,
        np.array([0, 1, 1, 1, 1, 1, 1, 1]),
        [
            (lambda: Boltzmann(p, jnp.ones(2), log_partition=None, event_shape=(8,)), "scalar"),
            (
                lambda: Boltzmann(
                    p, -1.0, log_partition=None, event_shape=(8,), validate_args=True
                ),
                "beta",
            ),
        ],
    )
    found = boltzmann(p, log_partition=strategy).log_prob(STATES)
    weights = brute_force.weights(-BETA * brute_force.energies(p))
    np.testing.assert_allclose(found, np.log(weights), atol=1e-12)


@pytest.mark.parametrize("strategy", [Enumeration(), TransferMatrix()])
def test_samples(strategy: ExactLogPartition) -> None:
    d = boltzmann(potential(CHAIN), log_partition=strategy)
    x = d.sample(jax.random.key(0), (4, 5_000))
    assert x.shape == (4, 5_000, 8) and x.dtype == jnp.result_type(float)
    check_states(x.reshape(-1, 8).T, -BETA * brute_force.energies(potential(CHAIN)))
    assert d.sample(jax.random.key(0)).shape == (8,)


def test_log_prob_keeps_batches() -> None:
    d = boltzmann(potential())
    flat = d.log_prob(STATES)
    np.testing.assert_allclose(d.log_prob(STATES.reshape(2, 128, 8)).ravel(), flat)
    assert d.log_prob(STATES[3]).shape == ()


def test_without_a_normaliser() -> None:
    """It can be drawn from by a long run, but has no density."""
    d = boltzmann(potential(), log_partition=None)
    with pytest.raises(NotImplementedError, match="no log-partition strategy"):
        d.log_prob(STATES)
    with pytest.raises(NotImplementedError, match="no sampler"):
        d.sample(jax.random.key(0))
    run = long_run(lattice_gibbs(FULL), 3)
    assert boltzmann(potential(), log_partition=None, sampler=run).sample(
        jax.random.key(0), (2, 3)
    ).shape == (2, 3, 8)


def test_a_strategy_that_cannot_draw_leaves_it_to_the_sampler() -> None:
    tracked = Tracked(jnp.zeros((11, 4)))
    assert not isinstance(tracked, ExactLogPartition)
    with pytest.raises(NotImplementedError, match="no sampler"):
        boltzmann(potential(), log_partition=tracked).sample(jax.random.key(0))


def test_with_log_partition() -> None:
    run = long_run(lattice_gibbs(FULL))
    d = boltzmann(potential(), log_partition=None, sampler=run)
    other = d.with_log_partition(Enumeration())
    assert other.sampler is run and other.event_shape == (8,)
    assert other.support == d.support
    np.testing.assert_array_equal(other.log_prob(STATES), boltzmann(potential()).log_prob(STATES))


def test_one_compilation_for_all_parameters() -> None:
    """New objects with other parameters find the compiled program."""
    compiled = []

    @jax.jit
    def log_prob(d: Boltzmann, x: Array) -> Array:
        compiled.append(1)
        return d.log_prob(x)

    values = []
    for s in range(3):
        p = replace(potential(seed=s), basis=SpinBasis(FULL.sites, FULL.features))
        d = boltzmann(p, sampler=long_run(lattice_gibbs(p.basis)))
        values.append(log_prob(d, STATES[:5]))
        np.testing.assert_allclose(values[-1], d.log_prob(STATES[:5]), rtol=1e-12)
    assert len(compiled) == 1
    assert not np.allclose(values[0], values[1])


def test_vmap_over_parameters() -> None:
    thetas = jnp.stack([potential(seed=s).theta for s in range(3)])

    def log_prob(theta: Array) -> Array:
        return boltzmann(SpinPotential(theta, jnp.asarray(0.4), FULL)).log_prob(STATES[:5])

    expected = [boltzmann(potential(seed=s)).log_prob(STATES[:5]) for s in range(3)]
    np.testing.assert_allclose(jax.vmap(log_prob)(thetas), expected, rtol=1e-12)
    stacked = jax.vmap(lambda t: boltzmann(SpinPotential(t, jnp.asarray(0.4), FULL)))(thetas)
    found = jax.vmap(lambda d: d.log_prob(STATES[:5]))(stacked)  # the distribution is a pytree
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_cheapest_exact_strategy() -> None:
    assert exact_for(FULL) == Enumeration()
    assert exact_for(SpinBasis(64, CHAIN.features)) == TransferMatrix()
    long = independent_features(32, polynomial_features(15, 3)).basis
    assert exact_for(long) is None
    # Sixteen sites: listed, or where the range is short by far fewer terms.
    assert exact_for(independent_features(16, polynomial_features(8, 3)).basis) == Enumeration()
    assert exact_for(independent_features(16, polynomial_features(2, 1)).basis) == TransferMatrix()


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_both_exact_strategies_agree_on_sixteen_sites(scale: float) -> None:
    """Also at couplings as strong as a wide prior draws them."""
    basis = independent_features(16, polynomial_features(2, 1)).basis
    rng = np.random.default_rng(3)
    for _ in range(3):
        theta = jnp.asarray(scale * rng.normal(size=len(basis.features)))
        potential = SpinPotential(theta, jnp.asarray(0.5), basis)
        field = jnp.asarray(rng.normal(size=(4, 16)))
        one, other = Enumeration(), TransferMatrix()
        beta = jnp.asarray(0.3)
        np.testing.assert_allclose(one(potential, beta), other(potential, beta), rtol=1e-9)
        np.testing.assert_allclose(
            one.in_field(potential, beta, field), other.in_field(potential, beta, field), rtol=1e-9
        )


# --- in a program ----------------------------------------------------------------------------


def test_seed_and_trace() -> None:
    sites = trace(seed(ising_program(), jax.random.key(0))).get_trace(mu=MU, frames=3)
    shapes = {k: v["value"].shape for k, v in sites.items() if v["type"] == "sample"}
    assert shapes == {"theta_c": (10,), "p0": (), "X": (3, 8), "x": (3, 16)}
    assert np.all(np.abs(sites["X"]["value"]) == 1) and np.all(np.abs(sites["x"]["value"]) == 1)
    assert sites["X"]["fn"].log_prob(sites["X"]["value"]).shape == (3,)
    assert len(np.unique(np.asarray(sites["X"]["value"]), axis=0)) > 1


def test_a_seeded_program_runs_without_a_normaliser() -> None:
    """At 32 coarse sites log Z is not known: the latents come from a long run."""
    program = ising.system(ising.Options(prior="normal", L2=3, L3=1, prior_scale=0.1)).program
    lattice = replace(program.keywords["lattice"], log_partition=None)
    sites = trace(seed(ising.program, jax.random.key(0))).get_trace(
        mu=MU, frames=2, lattice=lattice
    )
    assert sites["X"]["value"].shape == (2, 32) and sites["x"]["value"].shape == (2, 64)


def test_condition() -> None:
    """At p0 = 1 the children are their parents; where X is given, it is kept."""
    X = jnp.asarray(STATES[[3, 77]], float)
    program = condition(ising_program(), {"p0": jnp.asarray(1.0), "X": X})
    sites = trace(seed(program, jax.random.key(0))).get_trace(mu=MU, frames=2)
    np.testing.assert_array_equal(sites["x"]["value"], np.repeat(X, 2, axis=1))
    assert sites["X"]["is_observed"]


@pytest.mark.parametrize("fitted", [False, True], ids=["prior", "posterior"])
def test_predictive(fitted: bool) -> None:
    draws = {"theta_c": jnp.zeros((5, 10)), "p0": jnp.full(5, 0.9)} if fitted else None
    predictive = Predictive(ising_program(), draws, num_samples=None if fitted else 5)
    out = predictive(jax.random.key(0), mu=MU, frames=3)
    assert out["X"].shape == (5, 3, 8) and out["x"].shape == (5, 3, 16)
    if fitted:
        assert np.mean(np.asarray(out["x"]) == np.repeat(out["X"], 2, axis=-1)) > 0.7


def test_log_density_is_the_sum_of_its_parts() -> None:
    rng = np.random.default_rng(3)
    X, x = rng.choice([-1.0, 1.0], (2, 8)), rng.choice([-1.0, 1.0], (2, 16))
    theta = rng.normal(size=10)
    values = {"theta_c": theta, "p0": 0.8, "X": X}
    found, _ = log_density(ising_program(prior_scale=10.0), (jnp.asarray(x),), {"mu": MU}, values)
    basis = independent_features(8, polynomial_features(4, 3)).basis
    p = SpinPotential(jnp.asarray(theta), MU, basis)
    log_weights = -0.3 * brute_force.energies(p)
    log_p = log_weights[brute_force.codes(X)] - brute_force.log_sum_exp(log_weights)
    agree = np.sum(x == np.repeat(X, 2, axis=1), axis=1)
    prior = np.log(2.0) + stats.norm(scale=10.0).logpdf(theta).sum()
    flips = agree * np.log(0.8) + (16 - agree) * np.log(0.2)
    np.testing.assert_allclose(found, prior + log_p.sum() + flips.sum(), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["ard", "flat", "horseshoe"])
def test_other_priors_run_in_the_program(prior: str) -> None:
    values = {"theta_c": jnp.zeros(10)} if prior in ("ard", "flat") else {}
    program = substitute(ising_program(prior=prior, a0=2.0, b0=1.0), data=values)
    sites = trace(seed(program, jax.random.key(0))).get_trace(mu=MU, frames=2)
    assert sites["theta_c"]["value"].shape == (10,)
    assert sites["x"]["value"].shape == (2, 16)


def test_a_plate_of_one_frame_scales_as_numpyro_says() -> None:
    """A subsampled plate weighs the latents by the number that they stand for."""

    def program(x: Array) -> None:
        with numpyro.plate("frame", 4, subsample_size=2):
            numpyro.sample("X", boltzmann(potential()), obs=x)

    x = jnp.asarray(STATES[[5, 9]], float)
    found, _ = log_density(seed(program, jax.random.key(0)), (x,), {}, {})
    np.testing.assert_allclose(found, 2.0 * boltzmann(potential()).log_prob(x).sum())
