"""Equally weighted draws from weighted ones."""

import numpy as np
import pytest

from bayescg.infer.resampling import effective_size, systematic


@pytest.mark.parametrize("offset", [0.0, 0.3, 1.0 - 1e-12])
def test_every_draw_occurs_as_often_as_its_weight_says_up_to_one(offset: float) -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(30))
    counts = np.bincount(systematic(np.log(weights), offset, 500), minlength=30)
    assert counts.sum() == 500
    assert np.all(np.abs(counts - 500 * weights) < 1.0)


def test_over_offsets_the_counts_are_unbiased() -> None:
    """The mean over evenly spaced offsets is the integral over them, up to their distance."""
    weights = np.array([0.5, 0.28, 0.22])
    offsets = (np.arange(1000) + 0.5) / 1000
    counts = [np.bincount(systematic(np.log(weights), o, 4), minlength=3) for o in offsets]
    np.testing.assert_allclose(np.mean(counts, 0), 4 * weights, atol=2e-3)


@pytest.mark.parametrize("offset", [0.0, 1.0 - 1e-12])
def test_a_weight_of_zero_is_never_drawn(offset: float) -> None:
    log_weights = np.array([-np.inf, 0.0, -np.inf, -3.0, -np.inf])
    assert set(systematic(log_weights, offset, 100)) == {1, 3}


def test_effective_size() -> None:
    assert effective_size(np.full(7, -2000.0)) == pytest.approx(7.0)
    assert effective_size(np.array([0.0, -np.inf, 0.0, -np.inf])) == pytest.approx(2.0)
    assert effective_size(np.full(3, -np.inf)) == 0.0
