"""log Z from samples: exact derivatives at the reference, honest errors near it, a guard beyond."""

from dataclasses import replace

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.distributions import (
    Boltzmann,
    Enumeration,
    LogPartition,
    Reweighted,
    Tracked,
    effective_sample_size,
)
from bayescg.potentials import SpinPotential
from tests import brute_force
from tests.statistical import check_mean, check_variance, check_z
from tests.systems import BETA, FULL, potential

REFERENCE = potential()
STATISTICS = brute_force.statistics(REFERENCE)  # (state, term)
WEIGHTS = brute_force.weights(-BETA * brute_force.energies(REFERENCE))
SAMPLES = 20_000
#: A direction in the space of natural parameters, and how far "nearby" is along it.
DIRECTION = 0.05 * np.random.default_rng(11).normal(size=11)


def draws(seed: int, samples: int = SAMPLES, many: int | None = None) -> np.ndarray:
    """Statistics of independent exact samples, ``(term, sample)``, or ``many`` such sets."""
    size = samples if many is None else (many, samples)
    code = np.random.default_rng(seed).choice(256, size, p=WEIGHTS)
    return np.moveaxis(STATISTICS[code], -1, -2)


def moved(distance: float) -> SpinPotential:
    natural = REFERENCE.natural() + distance * DIRECTION
    return SpinPotential(natural[1:], natural[0], FULL)


def of_natural(strategy: LogPartition, natural: Array) -> Array:
    return strategy(SpinPotential(natural[1:], natural[0], FULL), jnp.asarray(BETA))


@jax.jit
def derivatives(strategy: LogPartition, natural: Array) -> tuple[Array, Array, Array]:
    """Value, gradient and Hessian."""
    return (
        of_natural(strategy, natural),
        jax.grad(of_natural, 1)(strategy, natural),
        jax.hessian(of_natural, 1)(strategy, natural),
    )


def reweighted(statistics: np.ndarray, **options: float) -> Reweighted:
    return Reweighted(jnp.asarray(statistics), REFERENCE.natural(), jnp.asarray(BETA), **options)


def log_ratio(p: SpinPotential) -> float:
    """Exact log Z relative to the reference."""
    log_z = [brute_force.log_sum_exp(-BETA * brute_force.energies(q)) for q in (p, REFERENCE)]
    return float(log_z[0] - log_z[1])


def test_tracked_derivatives_are_sample_moments() -> None:
    """To round-off, wherever it is asked."""
    phi = draws(0, 500)
    for p in (REFERENCE, moved(3.0)):
        value, gradient, hessian = derivatives(Tracked(jnp.asarray(phi)), p.natural())
        assert value == 0.0
        np.testing.assert_allclose(gradient, BETA * phi.mean(1), rtol=1e-12, atol=1e-13)
        covariance = np.cov(phi, ddof=0)
        np.testing.assert_allclose(hessian, BETA**2 * covariance, rtol=1e-10, atol=1e-12)


def test_tracked_derivatives_agree_with_enumeration() -> None:
    """Eq. 37, within the Monte Carlo error of exact samples."""
    phi = draws(1, 2_000, many=30)
    _, gradient, hessian = jax.vmap(derivatives, (0, None))(
        Tracked(jnp.asarray(phi)), REFERENCE.natural()
    )
    _, exact_gradient, exact_hessian = derivatives(Enumeration(), REFERENCE.natural())
    check_mean(gradient, exact_gradient)
    check_mean(hessian, exact_hessian * (1.0 - 1.0 / 2_000))  # a sample covariance is that low


def test_the_gradient_s_error_is_as_stated() -> None:
    """The spread of the tracked gradient is the covariance over the number of samples."""
    phi = draws(2, 2_000, many=60)
    gradient = jax.vmap(derivatives, (0, None))(Tracked(jnp.asarray(phi)), REFERENCE.natural())[1]
    covariance = brute_force.covariance(STATISTICS, WEIGHTS)
    check_variance(gradient, BETA**2 * np.diag(covariance) / 2_000)


def test_reweighted_is_exact_at_its_reference() -> None:
    phi = draws(3)
    value, gradient, hessian = derivatives(reweighted(phi), REFERENCE.natural())
    assert abs(float(value)) < 1e-12
    np.testing.assert_allclose(gradient, BETA * phi.mean(1), rtol=1e-11)
    np.testing.assert_allclose(hessian, BETA**2 * np.cov(phi, ddof=0), rtol=1e-9, atol=1e-11)
    ess = reweighted(phi).ess(REFERENCE, jnp.asarray(BETA))
    np.testing.assert_allclose(ess, SAMPLES)


def test_reweighted_agrees_nearby() -> None:
    """Value and gradient, within errors from the weights' spread (delta method)."""
    phi = draws(4)
    for distance in (0.5, 1.0, -1.0):
        p = moved(distance)
        strategy = reweighted(phi)
        value, gradient, _ = derivatives(strategy, p.natural())
        w = np.exp(np.asarray(strategy.log_weights(p, jnp.asarray(BETA))))
        check_z(value, log_ratio(p), w.std() / w.mean() / np.sqrt(SAMPLES))
        exact = derivatives(Enumeration(), p.natural())[1]
        share = w / w.sum()
        spread = np.sqrt((share**2 * (phi - phi @ share[:, None]) ** 2).sum(1))
        check_z(gradient, exact, BETA * spread)


def test_reweighted_in_temperature() -> None:
    """Its reference has its own inverse temperature."""
    hot = 0.9 * BETA
    strategy = reweighted(draws(5))
    found = strategy(REFERENCE, jnp.asarray(hot))
    energies = brute_force.energies(REFERENCE)
    exact = brute_force.log_sum_exp(-hot * energies) - brute_force.log_sum_exp(-BETA * energies)
    w = np.exp(np.asarray(strategy.log_weights(REFERENCE, jnp.asarray(hot))))
    check_z(found, exact, w.std() / w.mean() / np.sqrt(SAMPLES))


def test_effective_sample_size() -> None:
    w = np.array([0.1, 2.0, 0.5, 0.0])
    with np.errstate(divide="ignore"):
        found = effective_sample_size(jnp.log(w) + 300.0)  # a common factor does not matter
    np.testing.assert_allclose(found, w.sum() ** 2 / (w**2).sum())
    np.testing.assert_allclose(effective_sample_size(jnp.zeros(7)), 7.0)


def test_effective_sample_size_is_honest() -> None:
    """It is what enumeration expects, and it tells the estimate's true spread."""
    p, samples, many = moved(1.5), 5_000, 60
    ratio = np.exp(BETA * STATISTICS @ np.asarray(p.natural() - REFERENCE.natural()))
    fraction = (WEIGHTS @ ratio) ** 2 / (WEIGHTS @ ratio**2)
    assert 0.3 < fraction < 0.9
    strategies = [reweighted(phi) for phi in draws(6, samples, many)]
    ess = [float(s.ess(p, jnp.asarray(BETA))) / samples for s in strategies]
    values = [float(s(p, jnp.asarray(BETA))) for s in strategies]
    check_mean(ess, fraction)
    check_variance(values, (1.0 / fraction - 1.0) / samples)


def test_outside_the_trust_region_the_density_is_zero() -> None:
    """The guard is part of the target: no maximiser and no chain can go there."""
    phi = draws(7, 500)
    strategy = reweighted(phi, min_ess=0.2)
    for field in (0.4, 0.3, 0.0, -0.4, -1.5, -4.0):
        p = replace(REFERENCE, field=jnp.asarray(field))
        fraction = float(strategy.ess(p, jnp.asarray(BETA))) / 500
        value = float(strategy(p, jnp.asarray(BETA)))
        assert np.isfinite(value) == (fraction >= 0.2)
        if fraction < 0.2:
            assert value == np.inf
            d = Boltzmann(p, BETA, log_partition=strategy, event_shape=(8,))
            assert np.all(np.asarray(d.log_prob(brute_force.spins(8)[:3])) == -np.inf)
    assert fraction < 0.2  # the last was outside
    # Without the guard, the value there is finite and too low: this is what it is for.
    unguarded = reweighted(phi, min_ess=0.0)
    assert float(unguarded(p, jnp.asarray(BETA))) < log_ratio(p) - 1.0


def test_the_guard_does_not_spoil_derivatives() -> None:
    """They are finite inside; outside, none of them is a NaN."""
    for distance, inside in ((1.0, True), (32.0, False)):
        _, gradient, hessian = derivatives(reweighted(draws(8)), moved(distance).natural())
        assert np.all(np.isfinite(gradient)) and np.all(np.isfinite(hessian))
        assert np.any(np.asarray(gradient) != 0.0) == inside


@pytest.mark.parametrize("min_ess", [-0.1, 1.5, np.nan])
def test_errors(min_ess: float) -> None:
    with pytest.raises(ValueError, match=r"fraction in \[0, 1\]"):
        reweighted(draws(9, 10), min_ess=min_ess)
