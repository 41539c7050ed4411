"""Magnetisation and correlation (Eqs. 49 and 50)."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.observables import Observable, correlation, magnetization
from tests import brute_force

STATES = brute_force.spins(8)


def test_eqs_49_and_50() -> None:
    x = jnp.asarray(STATES.T, float)
    np.testing.assert_allclose(magnetization()(x), STATES.mean(1))
    expected = [
        np.mean([STATES[:, i] * STATES[:, (i + k) % 8] for i in range(8)], axis=0)
        for k in (1, 2, 3, 4)
    ]
    found = np.asarray(correlation(max=4)(x))
    np.testing.assert_allclose(found, expected)
    assert np.abs(found).max() == 1.0  # each pair is counted once: R lies in [-1, 1]


@pytest.mark.parametrize("observable", [magnetization(), correlation(max=3)])
def test_axes_have_names(observable: Observable) -> None:
    shape = observable(jnp.ones(8)).shape
    coords = observable.coords()
    assert tuple(coords) == observable.dims
    assert tuple(len(c) for c in coords.values()) == shape
    assert observable.units == "1" and observable.long_name
    if shape:
        np.testing.assert_array_equal(coords["separation"], [1, 2, 3])


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        correlation(max=0)
