"""Standard errors of correlated series."""

import numpy as np
import pytest
from scipy.signal import lfilter

from bayescg.observables import blocked_error, statistical_inefficiency


def autoregressive(a: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Stationary x_t = a x_{t-1} + noise along the first axis; its inefficiency is (1+a)/(1-a)."""
    noise = np.random.default_rng(seed).normal(size=shape)
    noise[0] /= np.sqrt(1.0 - a * a)
    return lfilter([1.0], [1.0, -a], noise, axis=0)


def by_hand(series: np.ndarray, blocks: int) -> float:
    """The rule of the docstring, one series, blocks cut from the series itself."""
    n, length, tried = len(series), 1, []
    while n // length >= blocks or length == 1:
        means = [series[k * length : (k + 1) * length].mean() for k in range(n // length)]
        tried.append((length, np.std(means, ddof=1) / np.sqrt(len(means))))
        length *= 2
    naive = tried[0][1]
    for length, error in tried:
        if length**3 > 2 * n * (error / naive) ** 4:
            return max(error, naive)
    return max(error for _, error in tried)


@pytest.mark.parametrize("frames", [2, 7, 64, 501, 1024])
@pytest.mark.parametrize("a", [0.0, 0.8, -0.5])
def test_the_rule_by_hand(frames: int, a: float) -> None:
    series = 3.0 + autoregressive(a, (frames, 2, 3))
    for blocks in (2, 8):
        found = blocked_error(series, blocks)
        assert found.shape == (2, 3)
        expected = [[by_hand(series[:, i, j], blocks) for j in range(3)] for i in range(2)]
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    naive = series.std(0, ddof=1) / np.sqrt(frames)
    assert np.all(blocked_error(series) >= naive * (1.0 - 1e-12))
    np.testing.assert_allclose(
        statistical_inefficiency(series), (blocked_error(series) / naive) ** 2, rtol=1e-10
    )


@pytest.mark.parametrize("a", [0.0, 0.5, 0.8])
def test_known_inefficiency(a: float) -> None:
    """256 independent series of 2^14 frames.

    At the chosen lengths the blocks' remaining correlation costs 2 %, and one series tells its
    inefficiency to 20 %: 256 tell the mean to 1.3 %. A gap of 10 % is 6 standard errors.
    """
    found = statistical_inefficiency(autoregressive(a, (2**14, 256)))
    assert found.min() >= 1.0
    assert np.isclose(found.mean(), (1.0 + a) / (1.0 - a), rtol=0.1)


def test_series_that_alternate_count_as_independent() -> None:
    """Their true inefficiency, 1/3, is never used: it would need a longer series to be sure of."""
    np.testing.assert_array_equal(statistical_inefficiency(autoregressive(-0.5, (4096, 8))), 1.0)


def test_a_series_too_short_gives_its_largest_error() -> None:
    series = np.arange(32.0)  # a trend: no plateau
    error = np.std(np.arange(1.5, 32.0, 4.0), ddof=1) / np.sqrt(8)  # 8 blocks of 4
    np.testing.assert_allclose(blocked_error(series), error)


def test_edges() -> None:
    assert blocked_error([1.0, 2.0]) == 0.5
    np.testing.assert_array_equal(blocked_error(np.full((9, 2), 0.1)), 0.0)
    np.testing.assert_array_equal(statistical_inefficiency(np.full((9, 2), 0.1)), 1.0)
    tiny = autoregressive(0.5, (100,))
    np.testing.assert_allclose(blocked_error(1e-100 * tiny), 1e-100 * blocked_error(tiny))
    for bad in (np.nan, np.inf):
        series = np.zeros((20, 2))
        series[3, 0] = bad
        np.testing.assert_array_equal(blocked_error(series), [np.nan, 0.0])


def test_errors() -> None:
    for series in (np.zeros((1, 3)), np.zeros((0, 3)), np.zeros(())):
        with pytest.raises(ValueError, match="at least 2 frames, got"):
            blocked_error(series)
    with pytest.raises(ValueError, match="blocks must be at least 2, got 1"):
        statistical_inefficiency(np.zeros(5), blocks=1)
