"""Flips through levels, against every configuration of the levels in between written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from bayescg.distributions import NestedSpinFlip, SpinFlip
from tests import brute_force
from tests.statistical import check_mean

TOP = np.array([1.0, -1.0])


def test_two_levels_are_the_sum_over_the_middle_one() -> None:
    """2 top spins, 4 in the middle, 8 fine ones: all 256 fine configurations."""
    x = jnp.asarray(brute_force.spins(8))
    middle = brute_force.spins(4)
    first = SpinFlip(jnp.asarray(TOP), 0.8, ratio=2).log_prob(jnp.asarray(middle))
    terms = [
        SpinFlip(jnp.asarray(m), 0.9, ratio=2).log_prob(x) + f
        for m, f in zip(middle, first, strict=True)
    ]
    found = NestedSpinFlip(jnp.asarray(TOP), (0.8, 0.9), (2, 2)).log_prob(x)
    np.testing.assert_allclose(found, logsumexp(terms, axis=0), atol=1e-12)
    assert logsumexp(found) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
def test_three_levels_with_other_ratios() -> None:
    """1 top spin, 2, 6, 12 fine ones; the middle two written out."""
    top = jnp.asarray([[-1.0]])
    x = jnp.asarray(brute_force.spins(12)[::37])
    terms = []
    for second in brute_force.spins(2):
        for third in brute_force.spins(6):
            above = SpinFlip(top[0], 0.7, ratio=2).log_prob(jnp.asarray(second))
            below = SpinFlip(jnp.asarray(second), 0.85, ratio=3).log_prob(jnp.asarray(third))
            terms.append(above + below + SpinFlip(jnp.asarray(third), 0.95, ratio=2).log_prob(x))
    found = NestedSpinFlip(top[0], (0.7, 0.85, 0.95), (2, 3, 2)).log_prob(x)
    np.testing.assert_allclose(found, logsumexp(np.stack(terms), axis=0), atol=1e-12)


def test_one_level_is_a_flip() -> None:
    x = jnp.asarray(brute_force.spins(4))
    one = NestedSpinFlip(jnp.asarray(TOP), (0.8,), (2,))
    np.testing.assert_allclose(
        one.log_prob(x), SpinFlip(jnp.asarray(TOP), 0.8, ratio=2).log_prob(x), atol=1e-12
    )


def test_samples_have_the_density() -> None:
    nested = NestedSpinFlip(jnp.asarray(TOP), (jnp.asarray(0.8), jnp.asarray(0.9)), (2, 2))
    drawn = np.asarray(nested.sample(jax.random.key(0), (20_000,)))
    assert drawn.shape == (20_000, 8)
    x = brute_force.spins(8)
    w = np.exp(np.asarray(nested.log_prob(jnp.asarray(x))))
    check_mean(drawn, w @ x)
    check_mean(drawn * np.roll(drawn, -1, 1), w @ (x * np.roll(x, -1, 1)))
    check_mean(drawn * np.roll(drawn, -2, 1), w @ (x * np.roll(x, -2, 1)))


def test_as_many_probabilities_as_ratios() -> None:
    with pytest.raises(ValueError, match="a probability and a ratio each, got 1 and 2"):
        NestedSpinFlip(jnp.asarray(TOP), (0.8,), (2, 2))
