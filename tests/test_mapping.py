"""The majority map (Eq. 56)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.mapping import majority
from tests import brute_force
from tests.statistical import check_mean

FINE = jnp.asarray(brute_force.spins(6), float)


@pytest.mark.parametrize("ratio", [1, 2, 3, 6])
def test_ties_go_up_as_printed(ratio: int) -> None:
    means = np.asarray(FINE).reshape(64, 6 // ratio, ratio).mean(2)
    np.testing.assert_array_equal(majority(FINE, ratio), np.where(means >= 0, 1, -1))


def test_batches_and_integers() -> None:
    x = np.asarray(FINE, np.int8).reshape(4, 16, 6)
    found = majority(jnp.asarray(x), 2)
    assert found.shape == (4, 16, 3)
    np.testing.assert_array_equal(found.reshape(64, 3), majority(FINE, 2))


def test_random_ties_are_fair_and_nothing_else_is_random() -> None:
    keys = jax.random.split(jax.random.key(0), 4_000)
    x = jnp.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    found = jax.vmap(lambda k: majority(x, 2, ties="random", key=k))(keys)
    assert np.all(np.abs(found) == 1.0)
    check_mean(found, [0.0, 1.0, -1.0])
    check_mean(majority(jnp.tile(x[:2], 4_000), 2, ties="random", key=keys[0]), 0.0)


def test_errors() -> None:
    with pytest.raises(ValueError, match="6 sites is not divisible by ratio 4"):
        majority(FINE, 4)
    with pytest.raises(ValueError, match="'up' or 'random', got 'down'"):
        majority(FINE, 2, ties="down")
    with pytest.raises(ValueError, match="'random' needs a key"):
        majority(FINE, 2, ties="random")
