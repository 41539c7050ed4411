"""Correlated frames: none are found where there are none, and known ones are measured.

Test data are AR(1) series, of which ``g = (1 + a) / (1 - a)`` is known. Seeds are fixed. What a
tolerance means is stated by each test; all were measured with 30 to 1000 other seeds.
"""

import itertools
import math

import numpy as np
import pytest

from bayescg.infer import correlation
from bayescg.infer.correlation import statistical_inefficiency, temper, thin


def ar1(
    rng: np.random.Generator, frames: int, coefficients: list[float] | np.ndarray
) -> np.ndarray:
    """Stationary series of variance 1, ``(frame, feature)``."""
    a = np.asarray(coefficients, float)
    x = rng.normal(size=(frames, len(a)))
    for t in range(1, frames):
        x[t] = a * x[t - 1] + np.sqrt(1.0 - a * a) * x[t]
    return x


def coefficient(g: float) -> float:
    return (g - 1.0) / (g + 1.0)


def mixed(kind: str, features: int = 100) -> np.ndarray:
    """Mixing matrix: features as they come, or collinear as those of a liquid."""
    if kind == "independent":
        return np.eye(features)
    rng = np.random.default_rng(1)
    return rng.normal(size=(features, features)) / np.arange(1, features + 1)[:, None]


@pytest.mark.parametrize("kind", ["independent", "collinear"])
@pytest.mark.parametrize("frames", [20, 100, 500])
def test_independent_frames_are_all_kept(frames: int, kind: str) -> None:
    """100 features; at most 1 % of trajectories are thinned, so of 50 more than 3 at a rate 0.2 %."""
    rng = np.random.default_rng(frames)
    g = np.array(
        [
            statistical_inefficiency(rng.normal(size=(frames, 100)) @ mixed(kind)).value
            for _ in range(50)
        ]
    )
    assert np.median(g) == 1.0
    assert sum(len(thin(frames, value)) < frames for value in g) <= 3
    assert np.mean(g > 1.0) <= 0.08  # 1.4 % expected


@pytest.mark.parametrize("kind", ["independent", "collinear"])
@pytest.mark.parametrize("g", [2.0, 4.0, 9.0])
def test_known_inefficiency(g: float, kind: str) -> None:
    """500 frames: the mean of 10 runs within 15 %, of independent features each within 15 %."""
    rng = np.random.default_rng(0)
    a = np.full(100, coefficient(g))
    found = [statistical_inefficiency(ar1(rng, 500, a) @ mixed(kind)) for _ in range(10)]
    values = np.array([f.value for f in found])
    np.testing.assert_allclose(values.mean(), g, rtol=0.15)
    if kind == "independent":
        np.testing.assert_allclose(values, g, rtol=0.15)
    assert all(f.known for f in found)
    for f in found:
        assert f.by_component.shape == (5,) and np.all(f.by_component >= 1.0)
        assert f.effective_frames == pytest.approx(500 / f.value)
        assert abs(f.value - g) < 3.0 * f.standard_error


@pytest.mark.parametrize(("frames", "g"), [(20, 2.0), (20, 4.0), (100, 4.0), (100, 9.0)])
def test_few_frames_and_many_features(frames: int, g: float) -> None:
    """100 features: within 35 %, and never above by selection of slow-looking components."""
    rng = np.random.default_rng(0)
    a = np.full(100, coefficient(g))
    values = [statistical_inefficiency(ar1(rng, frames, a)).value for _ in range(10)]
    np.testing.assert_allclose(values, g, rtol=0.35)


def test_one_series() -> None:
    """Of a single series of 1000 frames and g = 4 each of 10 runs lies within a factor 2.5."""
    rng = np.random.default_rng(0)
    values = [statistical_inefficiency(ar1(rng, 1000, [0.6])).value for _ in range(10)]
    assert np.all((np.array(values) > 1.6) & (np.array(values) < 10.0))
    np.testing.assert_allclose(np.mean(values), 4.0, rtol=0.2)


@pytest.mark.parametrize("features", [5, 100])
def test_one_slow_feature_decides(features: int) -> None:
    """Of 500 frames: an average would say 1 + 8 / features; the median is within 35 %.

    In 1 % of runs the slow one of 5 features is not significantly slower than their average.
    """
    rng = np.random.default_rng(0)
    a = np.zeros(features)
    a[features // 2] = coefficient(9.0)
    values = [statistical_inefficiency(ar1(rng, 500, a)).value for _ in range(10)]
    np.testing.assert_allclose(np.median(values), 9.0, rtol=0.35)
    assert np.sum(np.array(values) > 4.0) >= 8


def test_one_slow_collective_component_decides() -> None:
    """A slow mode that is a fifth of the variance of each of 100 features: alone, they show 2.6."""
    rng = np.random.default_rng(0)
    values, leading = [], []
    for _ in range(10):
        slow = 0.5 * ar1(rng, 500, [coefficient(9.0)]) * rng.choice([-1.0, 1.0], size=100)
        found = statistical_inefficiency(rng.normal(size=(500, 100)) + slow)
        values.append(found.value)
        leading.append(found.by_component[0])
    np.testing.assert_allclose(np.median(values), 9.0, rtol=0.35)
    assert min(values) > 3.5
    np.testing.assert_allclose(np.median(leading), 9.0, rtol=0.35)


def test_the_unit_of_a_feature_does_not_matter() -> None:
    phi = ar1(np.random.default_rng(0), 100, [0.5, 0.5, 0.5])
    scaled = statistical_inefficiency(phi * [1e-200, 1.0, 1e200] + [0.0, 1e6, 0.0])
    assert scaled.value == pytest.approx(statistical_inefficiency(phi).value, rel=1e-6)


def test_constant_features_are_left_out() -> None:
    phi = ar1(np.random.default_rng(0), 100, [0.8, 0.8])
    padded = np.concatenate([phi, np.full((100, 2), 0.1), np.zeros((100, 1))], 1)
    for values in (padded, padded[:, [4, 0, 2, 1, 3]]):
        found, alone = statistical_inefficiency(values), statistical_inefficiency(phi)
        assert found.value == pytest.approx(alone.value)
        np.testing.assert_allclose(found.by_component, alone.by_component)
    none = statistical_inefficiency(padded[:, 2:])
    assert (none.value, none.known, none.effective_frames) == (1.0, False, 100.0)
    assert statistical_inefficiency(padded[:, :0]).value == 1.0


def test_copies_of_a_feature() -> None:
    phi = ar1(np.random.default_rng(0), 100, [0.8])
    found = statistical_inefficiency(np.repeat(phi, 50, axis=1) * np.arange(1, 51))
    assert found.value == pytest.approx(statistical_inefficiency(phi).value)
    assert found.by_component.shape == (1,)  # all others have no variance


def test_a_half_in_which_nothing_happens() -> None:
    phi = np.zeros((40, 3))
    phi[:20] = np.random.default_rng(0).normal(size=(20, 3))
    assert np.isfinite(statistical_inefficiency(phi).value)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_too_few_frames_to_tell(frames: int) -> None:
    found = statistical_inefficiency(np.arange(3.0 * frames).reshape(frames, 3))
    assert (found.value, found.known, found.effective_frames) == (1.0, False, frames)
    assert found.standard_error == math.inf


def test_a_run_shorter_than_its_memory_is_not_known() -> None:
    drift = np.linspace(0.0, 1.0, 20)[:, None] + [0.0, 1.0]
    found = statistical_inefficiency(drift)
    assert found.value > 5.0 and not found.known
    assert found.effective_frames >= 1.0


def test_alternating_frames_count_once_each() -> None:
    """Anticorrelation would be worth more than independence; that is not claimed."""
    phi = ar1(np.random.default_rng(0), 200, [-0.6, -0.6])
    assert statistical_inefficiency(phi).value == 1.0


def test_counts_and_single_precision() -> None:
    phi = np.round(10 * ar1(np.random.default_rng(0), 200, [0.6] * 4))
    values = [statistical_inefficiency(phi.astype(t)).value for t in (float, np.float32, int)]
    np.testing.assert_allclose(values, values[0], rtol=1e-4)
    assert statistical_inefficiency(1e4 + np.zeros((50, 2), np.float32)).value == 1.0


@pytest.mark.parametrize("lags", [1, 2])
def test_moments_of_shuffled_frames(lags: int) -> None:
    """Against all 720 orders of six frames."""
    x = np.random.default_rng(0).normal(size=(6, 3)) ** 3
    gram = (x - x.mean(0)) @ (x - x.mean(0)).T
    near = [(i, j) for i in range(6) for j in range(i + 1, 6) if j - i <= lags]
    sums = [sum(gram[p[i], p[j]] for i, j in near) for p in itertools.permutations(range(6))]
    mean, variance = correlation._shuffled(
        np.diag(gram)[:, None], np.array([(gram**2).sum()]), lags
    )
    np.testing.assert_allclose(mean, np.mean(sums))
    np.testing.assert_allclose(variance, np.var(sums))


@pytest.mark.parametrize(
    ("frames", "g", "kept"),
    [
        (6, 1.0, [0, 1, 2, 3, 4, 5]),
        (6, 1.49, [0, 1, 2, 3, 4, 5]),
        (6, 1.5, [0, 2, 4]),
        (6, 2.0, [0, 2, 4]),
        (7, 2.1, [0, 3, 6]),
        (3, 50.0, [0]),
        (1, 1.0, [0]),
    ],
)
def test_thin(frames: int, g: float, kept: list[int]) -> None:
    assert thin(frames, g).tolist() == kept


def test_thinned_frames_are_nearly_independent() -> None:
    x = ar1(np.random.default_rng(0), 2000, np.full(20, coefficient(9.0)))
    found = statistical_inefficiency(x)
    again = statistical_inefficiency(x[thin(2000, found.value)])
    assert again.value < 1.5


def test_temper() -> None:
    assert temper(100, 1.0) == 1.0
    assert temper(100, 4.0) == 0.25
    assert temper(100, 1.2) == pytest.approx(1 / 1.2)
    assert temper(2, 50.0) == 0.5  # one frame is left


@pytest.mark.parametrize("rule", [thin, temper])
@pytest.mark.parametrize(("frames", "g"), [(0, 1.0), (5, 0.5), (5, np.nan), (5, np.inf)])
def test_what_is_no_inefficiency(rule, frames: int, g: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        rule(frames, g)


@pytest.mark.parametrize(
    ("phi", "says"),
    [
        (np.ones(20), "needed is"),
        (np.ones((0, 3)), "needed is"),
        (np.full((20, 2), np.nan), "not finite"),
    ],
)
def test_wrong_statistics(phi: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        statistical_inefficiency(phi)
