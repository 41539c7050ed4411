"""log Z about one reference, of statistics of which some are normal and some are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.distributions import log_partition
from bayescg.distributions.log_partition.tilted import STEEPEST, Tilted, _of_count, directions
from tests.statistical import check_z

NORMALS, RATES = 6, (0.5, 0.05)  # and Poisson numbers with these means
TERMS, SAMPLES = NORMALS + len(RATES), 40_000
MIX = np.random.default_rng(0).normal(size=(TERMS, TERMS)) + 2.0 * np.eye(TERMS)


def samples(seed: int, count: int = SAMPLES) -> np.ndarray:
    """Statistics: independent normal and Poisson numbers, mixed."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(count, NORMALS))
    rare = rng.poisson(RATES, size=(count, len(RATES)))
    return np.concatenate([normal, rare], 1) @ MIX.T


def exact(e: np.ndarray) -> float:
    """log Z relative to e = 0."""
    at = MIX.T @ e
    rare = np.array(RATES) * np.expm1(at[NORMALS:])
    return float(0.5 * np.sum(at[:NORMALS] ** 2) + np.sum(rare))


def place(seed: int, size: float, rare: float = 1.0) -> np.ndarray:
    """Natural parameters ``size`` standard deviations away from zero; ``rare`` times as far for Poisson numbers."""
    rng = np.random.default_rng(seed)
    at = rng.normal(size=TERMS)
    at[NORMALS:] *= rare
    spread = np.sqrt(np.r_[np.ones(NORMALS), RATES])
    at *= size / np.linalg.norm(at * spread)
    return np.linalg.solve(MIX.T, at)


def fitted(seed: int, count: int = SAMPLES) -> Tilted:
    phi = samples(seed, count)
    found = directions(phi, np.ones(TERMS))
    return log_partition.tilted(found, np.zeros(TERMS), phi, np.zeros(count))


def test_directions_are_told_apart() -> None:
    phi = samples(1)
    found = directions(phi, np.ones(TERMS))
    assert found.normal.sum() == NORMALS
    z = (phi - found.mean) @ found.along
    np.testing.assert_allclose(np.cov(z.T), np.eye(TERMS), atol=1e-3)
    # Those that are not are the Poisson numbers, each by itself.
    turn = MIX.T @ found.along[:, ~found.normal]
    rare = np.abs(turn[NORMALS:]) * np.sqrt(RATES)[:, None]
    assert np.all(rare.max(0) > 0.99) and np.all(rare.max(1) > 0.99)
    # The statistics are the mean and what they have of each direction.
    np.testing.assert_allclose(phi, found.mean + z @ found.loading.T, atol=1e-9)


def test_directions_that_no_parameter_sees_are_left_out() -> None:
    phi = samples(1, 2000)
    phi = np.concatenate([phi, 1e-7 * np.random.default_rng(3).normal(size=(2000, 1))], 1)
    assert directions(phi, np.ones(TERMS + 1)).along.shape[1] == TERMS
    assert directions(phi, np.r_[np.ones(TERMS), 1e7]).along.shape[1] == TERMS + 1


@pytest.mark.parametrize("size", [0.5, 1.5, 2.5])
def test_it_is_exact_within_its_errors(size: int) -> None:
    """Twelve sets of samples at one place: the mean of what they say, with the error that they have (a false failure
    is rarer than 1e-4 each)."""
    e = place(7, size)
    said = np.array([float(fitted(k).at(jnp.asarray(e))) for k in range(12)])
    check_z(said.mean(), exact(e), said.std(ddof=1) / np.sqrt(len(said)))


def test_it_needs_fewer_samples_than_reweighting() -> None:
    """At 2.5 standard deviations, where reweighting keeps 1/500 of them, by a factor of four in the error's square at
    least."""
    e = place(8, 2.5, 0.2)
    ours, plain = [], []
    for k in range(12):
        phi = samples(k)
        ours.append(float(fitted(k).at(jnp.asarray(e))) - exact(e))
        plain.append(float(np.log(np.mean(np.exp(phi @ e)))) - exact(e))
    assert np.mean(np.square(ours)) < np.mean(np.square(plain)) / 4.0


def test_far_away_it_rises_as_the_quadratic_and_a_wall() -> None:
    found = fitted(1)
    e = jnp.asarray(np.linalg.solve(MIX.T, np.r_[8.0, np.zeros(TERMS - 1)]))
    d = float(found.distance(e))
    beyond = ((d - found.reach[1]) / 0.5) ** 2
    expected = 0.5 * d**2 + 0.5 * beyond * (1.0 + beyond) + float(e @ found.mean)
    np.testing.assert_allclose(float(found.at(e)), expected, rtol=0.01)
    assert float(found.effective(jnp.zeros(TERMS))) == pytest.approx(SAMPLES)


def test_where_no_samples_are_left_what_is_rare_goes_on_as_a_count() -> None:
    """Where the rarer number comes 400 times as often, log Z is known from its first three cumulants, to a factor that
    is their own error: six times 4 % of the jump, so that e is four standard deviations. The quadratic has a twentieth.
    """
    e = np.linalg.solve(MIX.T, np.r_[np.zeros(TERMS - 1), 6.0])
    for k in range(12):
        found = fitted(k)
        assert float(found.effective(jnp.asarray(e))) < 1000.0
        assert float(found.distance(jnp.asarray(e))) < found.reach[0]
        said = float(found.at(jnp.asarray(e))) - float(e @ found.mean)
        assert abs(np.log(said / (exact(e) - RATES[1] * 6.0))) < 1.0


@pytest.mark.slow
def test_a_count_s_rise_has_no_seam() -> None:
    """Its series about zero meets it to round-off of ``expm1``, and far out its tangent goes on."""
    x = jnp.array([-0.0101, -0.0099, 0.0099, 0.0101])
    exactly = 2.0 * (np.expm1(np.array(x)) - np.array(x)) / np.array(x) ** 2
    np.testing.assert_allclose(_of_count(x), exactly, rtol=1e-6)
    rise = jax.vmap(jax.value_and_grad(lambda v: v**2 * _of_count(v)))
    (low, high), (before, after) = rise(jnp.array([STEEPEST - 1e-4, STEEPEST + 1e-4]))
    np.testing.assert_allclose([high, after], [low, before], rtol=1e-3)
    assert np.isfinite(rise(jnp.array([1e4]))[1]).all()


@pytest.mark.slow
def test_its_slope_is_its_derivative() -> None:
    found = fitted(2, 4000)
    e, step = place(11, 2.0), place(12, 1e-3)
    slope = np.asarray(jax.grad(found.at)(jnp.asarray(e)))
    up, down = (float(found.at(jnp.asarray(e + s * step))) for s in (1.0, -1.0))
    np.testing.assert_allclose(step @ slope, (up - down) / 2.0, rtol=1e-3)


def test_samples_from_elsewhere_tell_of_what_is_rare() -> None:
    """Half of the samples from where the rarer number comes ten times as often: log Z where it does, which samples
    of the reference alone do not know."""
    at = np.r_[np.zeros(TERMS - 1), np.log(10.0)]
    e = np.linalg.solve(MIX.T, at)
    rates = np.array([RATES[0], 10.0 * RATES[1]])
    said, alone = [], []
    for k in range(12):
        rng = np.random.default_rng(100 + k)
        there = [rng.normal(size=(SAMPLES, NORMALS)), rng.poisson(rates, size=(SAMPLES, 2))]
        pooled = np.concatenate([samples(k), np.concatenate(there, 1) @ MIX.T])
        found = directions(pooled, np.ones(TERMS))
        log_weight = -np.logaddexp(0.0, pooled @ e - exact(e))
        both = log_partition.tilted(found, np.zeros(TERMS), pooled, log_weight)
        said.append(float(both.at(jnp.asarray(e))))
        alone.append(float(fitted(k).at(jnp.asarray(e))))
    error = np.std(said, ddof=1) / np.sqrt(len(said))
    assert error < 0.01
    check_z(np.mean(said), exact(e), error)
    assert np.std(alone) > 3.0 * np.std(said)
