"""Prediction of particles: against simulations that share nothing with it, here and under other conditions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as cg
from bayescg import results
from bayescg.infer.begin import program_of
from bayescg.infer.fit import Fit
from bayescg.potentials import ParticlePotential
from bayescg.predict import Production
from bayescg.predict.particles import among, drifts, weighted
from bayescg.predict.pooling import pool
from bayescg.predict.pressure import pressure
from bayescg.system import Batch
from bayescg.units import BAR, beta_of
from bayescg_models import spce_water
from tests.statistical import check_z
from tests.systems import stand_in

SMALL = {
    "sites": 24,
    "box": 10.0,
    "cutoff": 4.9,
    "high": 4.9,
    "features": 4,
    "three_body": "none",
    "core": 2.4,
}
THETA = {"theta_c": jnp.array([0.2, -0.1, 0.1, 0.0]), "sigma": 2.8, "sigma2": 0.02}
SHORT = Production(warmup=60, measurements=40, thin=4)
CHAINS = 48


def system(**changes: Any) -> cg.System:
    return spce_water.system(spce_water.Options(**(SMALL | changes)))


def values(epsilon: float, theta: dict[str, Any] = THETA) -> dict[str, Any]:
    return {k: jnp.asarray(v, float) for k, v in (theta | {"epsilon": epsilon}).items()}


def simulated(
    s: cg.System, epsilon: float, seed: int, theta: dict[str, Any] = THETA
) -> tuple[np.ndarray, ParticlePotential]:
    """Configurations ``(sample, axis, site, chain)`` by HMC from lattices, and the potential."""
    v = values(epsilon, theta)
    water = s.program.keywords["water"]  # type: ignore[attr-defined]
    potential = water.potential(v["theta_c"], v["epsilon"], v["sigma"])
    sampler = s.latent_sampler
    assert sampler is not None
    ready = sampler.prepare(potential, jnp.asarray(water.beta))

    @jax.jit
    def run(key: jax.Array, state: Any) -> Any:
        def move(state: Any, k: jax.Array) -> tuple[Any, jax.Array]:
            state, _ = sampler.step(k, state, *ready)
            return state, state.x

        return jax.lax.scan(move, state, jax.random.split(key, 200))

    state = sampler.init(jax.random.key(seed), CHAINS)
    for k in range(2):
        state, x = run(jax.random.key(100 * seed + k), state)
    return np.asarray(x[::5], float), potential


def blurred_rdf(s: cg.System, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error, by chain, of the RDF of sites about ``x``."""
    noise = np.random.default_rng(seed).normal(size=x.shape) * np.sqrt(THETA["sigma2"])
    measure = jax.jit(s.observables[0])
    each = np.mean([np.asarray(measure(jnp.asarray(f))) for f in x + noise], 0)  # (r, chain)
    return each.mean(1), each.std(1, ddof=1) / np.sqrt(CHAINS)


@pytest.fixture(scope="module")
def posterior() -> Fit:
    """Draws that stand for a posterior: half of them at one epsilon, half at another."""
    s = system()
    x, _ = simulated(s, 0.3, 1)
    batch = Batch(x[-1, :, :, :8].T[None], {}, None, None)
    program = program_of(s, batch)
    u = [np.asarray(program.unconstrain(values(e))) for e in (0.3, 0.6)]
    return stand_in(s, batch, program, np.repeat(u, 4, axis=0)[None, :, None])


@pytest.fixture(scope="module")
def here(posterior: Fit) -> Any:
    return cg.predict(posterior, production=SHORT)


def test_each_draw_is_predicted_as_its_own_simulation_would(posterior: Fit, here: Any) -> None:
    """One chain a draw, all pooled, blurred by sigma2: the RDF of draws of either epsilon."""
    found = results.group(here, "posterior_predictive")
    for draw, epsilon in ((0, 0.3), (7, 0.6)):
        x, _ = simulated(posterior.system, epsilon, 2 + draw)
        mean, error = blurred_rdf(posterior.system, x, draw)
        one = found.isel(chain=0, draw=draw)
        both = np.hypot(error, one["rdf_mcse"].values)
        check_z(one["rdf"].values, mean, np.where(both > 0, both, 1.0), dof=15)
        assert mean.max() > 1.2  # there is something to miss
    apart = np.abs(found["rdf"].values[0, 0] - found["rdf"].values[0, 7]).max()
    assert apart > 5 * float(found["rdf_mcse"].max())


def test_draws_share_their_samples_and_say_how_many(here: Any) -> None:
    """Eight draws in 32 chains: more effective samples than a draw's own chains give."""
    found = results.group(here, "posterior_predictive")
    own = 32 // 8 * SHORT.measurements
    effective = found["effective_samples"].values
    assert np.all(effective > 2 * own) and np.all(effective <= 32 * SHORT.measurements)
    np.testing.assert_allclose(found["failures"].values, 0)
    attrs = results.attrs(here)
    assert attrs["predict_failures"] == 0 and attrs["predict_warmup"] >= SHORT.warmup
    assert any("do not fix" in m for m in np.atleast_1d(attrs["predict_messages"]))


@pytest.mark.by_hand
def test_a_draw_too_dense_to_measure_leaves_the_others_alone() -> None:
    """A liquid with three-body forces, and a draw under which sites fall into drops: its samples have no three-body
    sum, which is said.
    """
    s = system(three_body="sw", sites=20, box=14.0, cutoff=6.9, high=6.9, core=1.8)
    x, _ = simulated(s, 0.3, 4)
    batch = Batch(x[-1, :, :, :8].T[None], {}, None, None)
    program = program_of(s, batch)
    deep = values(8.5) | {"sigma": jnp.asarray(2.1)}
    u = [np.asarray(program.unconstrain(v)) for v in (*[values(0.3)] * 5, deep)]
    made = cg.predict(stand_in(s, batch, program, np.array(u)[None, :, None]), production=SHORT)
    found = results.group(made, "posterior_predictive")
    assert np.isfinite(found["rdf"].values).all() and np.isfinite(found["pressure"].values).all()
    x, _ = simulated(s, 0.3, 5)
    mean, error = blurred_rdf(s, x, 0)
    both = np.hypot(error, found["rdf_mcse"].values[0, 0])
    check_z(found["rdf"].values[0, 0], mean, np.where(both > 0, both, 1.0), dof=15)
    told = [m for m in results.told(results.attrs(made), "predict_messages") if "too dense" in m]
    assert len(told) == 1 and "epsilon = 8.5" in told[0], told


def test_samples_left_out_weigh_nothing_and_some_must_be_left() -> None:
    rng = np.random.default_rng(0)
    exponents, chain = rng.normal(size=(3, 8)), np.tile([0, 1], 4)
    usable = np.array([1, 1, 0, 1, 1, 0, 1, 1], bool)
    found = among(usable, exponents[:, usable], chain, 2).weights
    assert np.all(found[:, ~usable] == 0.0)
    np.testing.assert_allclose(found.sum(1), 1.0)
    np.testing.assert_array_equal(
        found[:, usable], pool(exponents[:, usable], chain[usable], 2).weights
    )
    with pytest.raises(ValueError, match="no configuration that the model was simulated to"):
        among(~usable & usable, exponents[:, :0], chain, 2)


def test_lengths_are_stored_in_angstrom(here: Any) -> None:
    for group, name in (("observed_data", "x"), ("constant_data", "box")):
        assert results.group(here, group)[name].attrs["units"] == "angstrom"
    predicted = results.group(here, "posterior_predictive")
    assert predicted["bulk_modulus_mcse"].attrs["units"] == "bar"


@pytest.mark.by_hand
def test_the_same_model_elsewhere(posterior: Fit) -> None:
    """Fewer, warmer sites in a larger box, from random places of a lattice."""
    other = {"sites": 20, "temperature": 450.0, "box": 11.0}
    moved = cg.predict(posterior, production=SHORT, conditions=other)
    found = results.group(moved, "posterior_predictive").isel(chain=0, draw=7)
    s = system(**other)
    x, _ = simulated(s, 0.6, 11)
    mean, error = blurred_rdf(s, x, 3)
    both = np.hypot(error, found["rdf_mcse"].values)
    check_z(found["rdf"].values, mean, np.where(both > 0, both, 1.0), dof=15)
    with pytest.raises(ValueError, match="sites must be positive"):
        cg.predict(posterior, conditions={"sites": 0})
    with pytest.raises(ValueError, match="the density is impossible"):
        cg.predict(posterior, conditions={"sites": 900})


@pytest.mark.slow
def test_pressure_is_the_slope_of_the_free_energy(posterior: Fit) -> None:
    """Virials, pressure and bulk modulus of a liquid against log Z at two other volumes.

    The same samples are weighted to boxes a little larger and smaller, so nothing is left to chance
    but the truncation of the difference quotients.
    """
    s, h = posterior.system, 1e-4
    x, potential = simulated(s, 0.1, 6)
    flat = np.moveaxis(x, -1, 1).reshape(-1, 3, SMALL["sites"])[:400]
    beta, volume = beta_of(300.0), SMALL["box"] ** 3

    def energy(scale: float) -> np.ndarray:
        grown = ParticlePotential(potential.pairs, tuple(np.array(potential.box) * scale))
        return np.asarray(jax.vmap(grown)(jnp.asarray(scale * np.swapaxes(flat, 1, 2))))

    at = {k: energy(np.exp(k * h)) for k in (-1, 0, 1)}
    log_z = {
        k: 3 * SMALL["sites"] * k * h + np.log(np.mean(np.exp(-beta * (e - at[0]))))
        for k, e in at.items()
    }
    slope = (log_z[1] - log_z[-1]) / (2 * h)
    bend = (log_z[1] - 2 * log_z[0] + log_z[-1]) / h**2
    first, second = potential.virials(jnp.asarray(np.moveaxis(flat, 0, -1)))
    weights, chain = np.full(len(flat), 1.0 / len(flat)), np.arange(len(flat))
    found = pressure(
        np.asarray(potential.natural()),
        beta,
        np.asarray(first).T,
        np.asarray(second).T,
        weights,
        chain,
        SMALL["sites"],
        volume,
    )
    assert found.pressure == pytest.approx(slope / (3 * beta * volume) / BAR, rel=1e-3)
    # With V = exp(3 h): B = -V dP/dV, and P = slope / (3 beta V).
    bulk = (3 * slope - bend) / (9 * beta * volume) / BAR
    assert found.bulk_modulus == pytest.approx(bulk, rel=1e-2)
    # Of four hundred samples it may well be negative, which no compressibility belongs to.
    expected = 1.0 / found.bulk_modulus if found.bulk_modulus > 0.0 else np.nan
    assert found.compressibility == pytest.approx(expected, nan_ok=True)


def test_a_drift_of_the_energy_is_found_and_rest_is_not() -> None:
    """Slow chains at rest, and chains that relax; rest is called a drift in 0.3 % of such series."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(15, 40)).cumsum(0) + 5.0 * rng.normal(size=40)
    assert not drifts(noise)
    assert drifts(noise + 30.0 * np.exp(-np.arange(15) / 8.0)[:, None])
    assert drifts(np.where(np.arange(15)[:, None] > 12, np.nan, noise))
    assert not drifts(noise[:2])


def test_weighted_means_are_those_draw_by_draw() -> None:
    """And their errors the spread of what each chain adds, about the mean."""
    rng = np.random.default_rng(0)
    times, chains, draws, bins = 7, 5, 3, 4
    measured = rng.normal(size=(times * chains, 3, bins))
    weights = rng.random((draws, times * chains))
    weights /= weights.sum(1, keepdims=True)
    share = rng.normal(size=(draws, 3))
    share /= share.sum(1, keepdims=True)
    mean, error = weighted(measured, weights, share, chains)
    for d in range(draws):
        mine = np.einsum("n,snk->sk", share[d], measured)
        np.testing.assert_allclose(mean[d], weights[d] @ mine)
        off = (weights[d][:, None] * (mine - mean[d])).reshape(times, chains, bins).sum(0)
        np.testing.assert_allclose(error[d], np.sqrt((off**2).sum(0)), rtol=1e-9)
