"""How much more data would help, against conjugate models in which it is known."""

import numpy as np
import pytest

from bayescg.predict.discrepancy import Joint
from bayescg.predict.shrinkage import predicted_joint, predicted_width, variance_ratio

DRAWS = 200_000


def gaussian(information: np.ndarray, prior: np.ndarray, frames: float) -> np.ndarray:
    """Covariance of a linear model's posterior."""
    return np.linalg.inv(prior + frames * information)


@pytest.mark.parametrize("times", [2.0, 10.0])
def test_linear_models_are_exact(times: float) -> None:
    """Three parameters, one of them known by the prior alone; an observable of each kind.

    What is left of a direction is 1 / (s + times (1 - s)), and its share s has the error of a variance of all draws:
    the tolerance is five of those.
    """
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    information = root @ np.diag([2.0, 0.3, 0.0]) @ root.T
    prior = np.diag([1.0, 0.5, 2.0])
    now, then = (gaussian(information, prior, n) for n in (20.0, 20.0 * times))
    u = rng.multivariate_normal(np.array([0.3, -1.0, 2.0]), now, DRAWS)
    g = rng.normal(size=(3, 5))
    found = variance_ratio(u, u @ g, prior, times)
    exact = np.einsum("pc,pq,qc->c", g, then, g) / np.einsum("pc,pq,qc->c", g, now, g)
    np.testing.assert_allclose(found, exact, rtol=5.0 * times * np.sqrt(2.0 / DRAWS))


def test_what_the_prior_holds_does_not_shrink() -> None:
    rng = np.random.default_rng(2)
    u = rng.normal(size=(5000, 2))
    found = variance_ratio(u, u, np.diag([1.0, 0.0]), 4.0)
    np.testing.assert_allclose(found, [1.0, 0.25], atol=0.05)


def test_what_is_not_linear_shrinks_with_the_square() -> None:
    """z^2 of a normal z under a flat prior: its variance is 2 sd^4. Noise of single draws counts for nothing."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(100_000, 1))
    found = variance_ratio(z, z**2, np.zeros((1, 1)), 4.0)
    np.testing.assert_allclose(found, 1.0 / 16.0, atol=0.004)
    noisy = z + 0.5 * rng.normal(size=z.shape)
    np.testing.assert_allclose(
        variance_ratio(z, noisy, np.zeros((1, 1)), 4.0, noise=np.array([0.25])), 0.25, atol=0.01
    )


def test_the_interval_that_allows_for_error_goes_with_the_data() -> None:
    """Where the model is far off the width is the average's: half with four times the frames."""
    joint = Joint(*(np.array([v]) for v in (0.0, 40.0, 0.01, 1.0, 0.005)), 2001)
    after = predicted_joint(joint, np.array([0.25]), 4.0)
    ratio = predicted_width(after) / predicted_width(joint)
    np.testing.assert_allclose(ratio, 0.5, atol=0.01)
    assert after.frames == 8004


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 40 draws for 4 parameters, got 5"):
        variance_ratio(np.zeros((5, 4)), np.zeros((5, 1)), np.eye(4), 2.0)
    with pytest.raises(ValueError, match=r"times must be at least 1, got 0\.5"):
        variance_ratio(np.zeros((50, 4)), np.zeros((50, 1)), np.eye(4), 0.5)
