"""What a linear critic sees of the information about parameters."""

import numpy as np

from bayescg.infer.curvature import Curvature

RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(4000, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.3]])


def seen(features: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    return Curvature(0.9).after(SCORES, features).seen(3, ridge)


def test_features_that_hold_the_scores_make_it_the_information() -> None:
    mixed = SCORES @ RNG.normal(size=(3, 3)) + 7.0
    whole = np.cov(SCORES.T, bias=True)
    np.testing.assert_allclose(seen(mixed), whole, rtol=1e-9)
    np.testing.assert_allclose(Curvature(0.9).after(SCORES, mixed).information(3), whole, rtol=1e-9)


def test_what_no_feature_sees_is_not_in_it() -> None:
    """One score and noise: the information in the direction of that score alone, within four standard errors."""
    features = np.column_stack([SCORES[:, 0], RNG.normal(size=4000)])
    whole = np.cov(SCORES.T, bias=True)
    expected = np.outer(whole[0], whole[0]) / whole[0, 0]
    np.testing.assert_allclose(seen(features), expected, atol=4.0 * 2.0 / 4000)
    assert np.linalg.eigvalsh(whole - seen(features)).min() > -1e-9


def test_a_ridge_holds_the_critic_back() -> None:
    once, twice = seen(SCORES, 1.0), seen(SCORES, 10.0)
    assert np.all(np.linalg.eigvalsh(once - twice) > 0.0)
    assert np.all(np.linalg.eigvalsh(seen(SCORES) - once) > 0.0)


def test_iterations_are_averaged() -> None:
    """Equal ones change nothing; the weights of others fall by what is remembered."""
    one = Curvature(0.8).after(SCORES, SCORES)
    np.testing.assert_allclose(
        one.after(SCORES, SCORES).information(3), one.information(3), rtol=1e-9
    )
    two = one.after(2.0 * SCORES, SCORES).information(3)
    share = 0.2 / (0.2 + 0.8 * 0.2)
    np.testing.assert_allclose(two / one.information(3), (1 - share) + share * 4.0, rtol=1e-9)
