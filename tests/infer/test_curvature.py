"""What configurations say of parameters, over iterations."""

import numpy as np

from bayescg.infer.curvature import Curvature

RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(4000, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.3]])


def test_iterations_are_averaged() -> None:
    """Equal ones change nothing; the weights of others fall by what is remembered."""
    one = Curvature(0.8).after(SCORES)
    np.testing.assert_allclose(one.information, np.cov(SCORES.T, bias=True), rtol=1e-9)
    np.testing.assert_allclose(one.after(SCORES).information, one.information, rtol=1e-9)
    two = one.after(2.0 * SCORES).information
    share = 0.2 / (0.2 + 0.8 * 0.2)
    np.testing.assert_allclose(two / one.information, (1 - share) + share * 4.0, rtol=1e-9)
