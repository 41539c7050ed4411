"""What a linear critic sees of the information about parameters."""

import numpy as np

from bayescg.infer.curvature import Curvature, seen

RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(4000, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.3]])


def curvature(features: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    return seen(SCORES, features, ridge).curvature


def test_features_that_hold_the_scores_make_it_the_information() -> None:
    mix = RNG.normal(size=(3, 3))
    whole = np.cov(SCORES.T, bias=True)
    np.testing.assert_allclose(curvature(SCORES @ mix + 7.0), whole, rtol=1e-9)
    np.testing.assert_allclose(Curvature(0.9).after(SCORES).information, whole, rtol=1e-9)
    # The best guess of the scores is then exact.
    np.testing.assert_allclose(
        seen(SCORES, SCORES @ mix, 0.0).by_feature @ mix.T, np.eye(3), atol=1e-9
    )


def test_what_no_feature_sees_is_not_in_it() -> None:
    """One score and noise: the information in the direction of that score alone, within four standard errors."""
    features = np.column_stack([SCORES[:, 0], RNG.normal(size=4000)])
    whole = np.cov(SCORES.T, bias=True)
    expected = np.outer(whole[0], whole[0]) / whole[0, 0]
    np.testing.assert_allclose(curvature(features), expected, atol=4.0 * 2.0 / 4000)
    assert np.linalg.eigvalsh(whole - curvature(features)).min() > -1e-9


def test_a_ridge_holds_the_critic_back() -> None:
    once, twice = curvature(SCORES, 1.0), curvature(SCORES, 10.0)
    assert np.all(np.linalg.eigvalsh(once - twice) > 0.0)
    assert np.all(np.linalg.eigvalsh(curvature(SCORES) - once) > 0.0)


def test_weights_count_samples() -> None:
    """A sample of twice the weight is two."""
    counts = RNG.integers(0, 3, len(SCORES))
    weighted = seen(SCORES, SCORES[:, :2], 0.5, counts / counts.sum())
    repeated = np.repeat(SCORES, counts, axis=0)
    np.testing.assert_allclose(
        weighted.curvature, seen(repeated, repeated[:, :2], 0.5).curvature, rtol=1e-9
    )


def test_iterations_are_averaged() -> None:
    """Equal ones change nothing; the weights of others fall by what is remembered."""
    one = Curvature(0.8).after(SCORES)
    np.testing.assert_allclose(one.after(SCORES).information, one.information, rtol=1e-9)
    two = one.after(2.0 * SCORES).information
    share = 0.2 / (0.2 + 0.8 * 0.2)
    np.testing.assert_allclose(two / one.information, (1 - share) + share * 4.0, rtol=1e-9)
