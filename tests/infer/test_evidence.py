"""Estimates of the log evidence, and their errors."""

import numpy as np
import pytest

from bayescg.infer.evidence import log_mean, pooled, thermodynamic
from tests.statistical import check_z


def test_a_mean_of_exponentials_leaves_no_range() -> None:
    values = np.array([[-2000.0, 1.0], [-2001.0, -np.inf]])
    expected = [-2000.0 + np.log(0.5 * (1 + np.exp(-1.0))), 1.0 - np.log(2.0)]
    np.testing.assert_allclose(log_mean(values), expected)
    assert log_mean(np.full(3, -np.inf)) == -np.inf


def test_the_error_of_runs_that_agree_is_that_of_their_mean() -> None:
    """Eight log-normal estimates of Z = 1: over many sets, as many standard errors off as there should be."""
    sd = 0.1
    log_z = sd * np.random.default_rng(0).normal(size=(8, 4000)) - 0.5 * sd**2
    value, error = pooled(log_z)
    check_z(np.mean(value), 0.0, np.std(value) / np.sqrt(value.size))
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), sd / np.sqrt(8), rtol=0.05)


def test_a_run_that_is_far_above_the_others_leaves_a_large_error() -> None:
    """To first order it would be 1: all of Z is in one run of four, and nothing is known of its error."""
    value, error = pooled(np.array([0.0, 0.0, 0.0, 50.0]))
    assert value == pytest.approx(50.0 - np.log(4.0))
    assert error == pytest.approx(12.5)


@pytest.mark.parametrize("width", [0.01, 0.3, 1.0])
def test_thermodynamic_integration_of_a_gaussian(width: float) -> None:
    """Log likelihoods -u^2 / 2 under a normal prior of power t have log Z = -log(1 + t) / 2.

    Quantiles of the two ends stand for particles, so that nothing is random; one interval is all the way."""
    u = np.sqrt(2.0) * _inverse_error_function((np.arange(20_000) + 0.5) / 10_000 - 1.0)
    before, after = -0.5 * u**2, -0.5 * u**2 / (1.0 + width)
    found = thermodynamic(before, after, width)
    assert found == pytest.approx(-0.5 * np.log(1.0 + width), rel=1e-3)


def _inverse_error_function(x: np.ndarray) -> np.ndarray:
    from scipy.special import erfinv

    return np.asarray(erfinv(x))


def test_particles_that_have_not_come_to_rest_tell_the_two_estimates_apart() -> None:
    """After a step the later particles should lie higher; where they stayed, the integral is too low."""
    before = np.random.default_rng(0).normal(-50.0, 3.0, 20_000)
    weights = float(log_mean(before))
    moved = before + 9.0  # of a normal, by the variance
    assert thermodynamic(before, moved, 1.0) == pytest.approx(weights, abs=0.5)
    assert thermodynamic(before, before, 1.0) < weights - 1.0


def test_a_prior_with_draws_of_no_likelihood_is_no_obstacle() -> None:
    before = np.append(np.full(50, -np.inf), np.linspace(-3.0, -1.0, 50))
    assert np.isfinite(thermodynamic(before, before[50:], 0.5))
