"""The statistical checks themselves: that each can fail."""

import numpy as np
import pytest

from tests import brute_force
from tests.statistical import (
    check_frequencies,
    check_mean,
    check_states,
    check_variance,
    check_z,
)


def test_z_scores_of_right_estimates_pass_and_of_wrong_ones_fail() -> None:
    error = np.random.default_rng(0).normal(size=1000)
    check_z(error, 0.0, 1.0)
    with pytest.raises(AssertionError, match="z"):
        check_z(np.append(error, 6.0), 0.0, 1.0)
    with pytest.raises(AssertionError):
        check_z(np.append(error, np.nan), 0.0, 1.0)


def test_without_an_error_only_round_off_is_let_through() -> None:
    check_z(1.0 + 1e-15, 1.0, 0.0)
    with pytest.raises(AssertionError):
        check_z(1.0 + 1e-9, 1.0, 0.0)


def test_few_degrees_of_freedom_widen_the_limit() -> None:
    check_z(5.5, 0.0, 1.0, dof=5)
    with pytest.raises(AssertionError):
        check_z(5.5, 0.0, 1.0)


def test_mean_and_variance() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, size=(4000, 3))
    check_mean(values, 2.0)
    check_variance(values, 9.0)
    with pytest.raises(AssertionError):
        check_mean(values, [2.0, 2.0, 2.4])
    with pytest.raises(AssertionError):
        check_variance(values, [9.0, 11.0, 9.0])


def test_frequencies() -> None:
    rng = np.random.default_rng(2)
    probabilities = np.array([0.5, 0.3, 0.2 - 2e-4, 1e-4, 1e-4, 0.0])  # three are taken together
    counts = rng.multinomial(10_000, probabilities)
    check_frequencies(counts, probabilities)
    with pytest.raises(AssertionError, match="p-value"):
        check_frequencies(counts, [0.53, 0.27, 0.2 - 2e-4, 1e-4, 1e-4, 0.0])
    with pytest.raises(AssertionError, match="impossible"):
        check_frequencies(counts + np.eye(6, dtype=int)[5], probabilities)


def test_states_are_told_apart_by_site() -> None:
    rng = np.random.default_rng(3)
    log_weights = 0.5 * brute_force.spins(3) @ np.array([1.0, 0.0, -1.0])
    states = brute_force.spins(3)[rng.choice(8, 20_000, p=brute_force.weights(log_weights))]
    check_states(states.T, log_weights)
    with pytest.raises(AssertionError):
        check_states(states.T[::-1], log_weights)
