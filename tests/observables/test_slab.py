"""The profile across a slab: against counts by hand, wherever and across whichever edge the slab lies."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.observables import slab_profile

BOX = (20.0, 20.0, 20.0)
BINS = 10


def slab(rng: np.random.Generator, middle: float, axis: int, sites: int = 400) -> np.ndarray:
    """Sites within 5 angstrom of a plane, symmetric about it, ``(axis, site)``."""
    depth = rng.uniform(0.0, 5.0, sites // 2)
    x = rng.uniform(0.0, 20.0, (3, sites))
    x[axis] = np.mod(middle + np.concatenate([depth, -depth]), 20.0)
    return x


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("middle", [0.0, 3.0, 19.5])
def test_slabs_are_aligned(axis: int, middle: float) -> None:
    """Half the box is full, half empty: the middle is known exactly, since the slab is symmetric."""
    x = slab(np.random.default_rng(0), middle, axis)
    profile = np.asarray(slab_profile(BINS).in_box(BOX)(jnp.asarray(x)))
    depth = (x[axis] - middle + 10.0) % 20.0
    by_hand = np.histogram(depth, BINS, (0.0, 20.0))[0] * BINS / 8000.0
    np.testing.assert_allclose(profile, by_hand, rtol=1e-9)
    assert profile[:2].max() == 0.0 and profile[3:7].min() > 0.0


def test_of_a_batch_each_for_itself() -> None:
    rng = np.random.default_rng(1)
    x = np.stack([slab(rng, m, a) for m, a in ((2.0, 0), (15.0, 2), (9.0, 1))], -1)
    observable = slab_profile(BINS).in_box(BOX)
    together = np.asarray(observable(jnp.asarray(x)))
    for k in range(3):
        np.testing.assert_allclose(together[:, k], observable(jnp.asarray(x[..., k])), rtol=1e-9)
    np.testing.assert_allclose(together.sum(0) * 8000.0 / BINS, 400.0, rtol=1e-9)
    np.testing.assert_allclose(observable.coords()["depth"], np.arange(-9.0, 10.0, 2.0))


def test_other_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a cube"):
        slab_profile(BINS).in_box((20.0, 20.0, 25.0))


def test_too_few_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        slab_profile(1)
