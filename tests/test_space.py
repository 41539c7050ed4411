"""Periodic boxes, by brute force over the images around."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.space import check_cutoff, minimum_image, pair_distances, wrap

BOX = np.array([7.0, 9.5, 12.25])
IMAGES = np.array(list(product((-1, 0, 1), repeat=3))) * BOX


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    """Uniform positions ``(axis, *shape)`` in units of the box, in angstrom."""
    u = np.random.default_rng(seed).uniform(low, high, (3, *shape))
    return u * BOX.reshape(3, *(1,) * len(shape))


@pytest.mark.parametrize("shape", [(), (40,), (20, 3), (5, 2, 4)])
def test_minimum_image_is_the_nearest_of_27(shape: tuple[int, ...]) -> None:
    d = uniform(*shape, low=-1.0)
    found = np.asarray(minimum_image(jnp.asarray(d), BOX))
    assert found.shape == d.shape
    flat = d.reshape(3, -1).T
    images = flat[:, None] + IMAGES
    nearest = np.linalg.norm(images, axis=-1).argmin(1)
    expected = images[np.arange(len(flat)), nearest].T.reshape(d.shape)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_minimum_image_from_afar_and_of_a_cube() -> None:
    d = uniform(50, low=-0.5, high=0.5)
    away = d + BOX[:, None] * np.random.default_rng(1).integers(-9, 10, d.shape)
    np.testing.assert_allclose(minimum_image(jnp.asarray(away), BOX), d, atol=1e-12)
    np.testing.assert_array_equal(
        minimum_image(jnp.asarray(away), np.full(3, 8.0)), minimum_image(jnp.asarray(away), 8.0)
    )


def test_precision_is_that_of_the_positions() -> None:
    x = jnp.asarray(uniform(4, low=-3.0), jnp.float32)
    assert minimum_image(x, BOX).dtype == wrap(x, BOX).dtype == jnp.float32
    assert pair_distances(x, BOX).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_wrap(dtype: jnp.dtype) -> None:
    """Into the half-open box, by whole edges; and what lies a hair off its border, too."""
    x = jnp.asarray(uniform(30, 4, low=-3.0, high=4.0), dtype)
    inside = np.asarray(wrap(x, BOX))
    edges = BOX[:, None, None].astype(inside.dtype)
    assert np.all((inside >= 0.0) & (inside < edges))
    moved = (np.asarray(x, float) - inside) / edges
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-5 if dtype == jnp.float32 else 1e-12)
    multiples = jnp.asarray(BOX[:, None] * np.arange(-4, 5), dtype)
    hair = [jnp.nextafter(multiples[:, multiples[0] != 0.0], s * jnp.inf) for s in (-1, 1)]
    tiny = jnp.asarray(np.tile([-1e-30, 1e-30], (3, 1)), dtype)
    inside = np.asarray(wrap(jnp.concatenate([multiples, *hair, tiny], 1), BOX))
    assert np.all((inside >= 0.0) & (inside < edges[..., 0]))


def test_wrap_hides_no_failure_and_lets_gradients_through() -> None:
    assert np.all(np.isnan(wrap(jnp.full((3, 1), jnp.nan), BOX)))
    slope = jax.jacfwd(lambda x: wrap(x, BOX))(jnp.asarray([-3.0, 20.0, 5.0]))
    np.testing.assert_array_equal(slope, np.eye(3))


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_pair_distances(batch: tuple[int, ...]) -> None:
    """Each pair once, row by row of the upper triangle, to the nearest of 27 images."""
    x = uniform(6, *batch)
    found = pair_distances(jnp.asarray(x), BOX)
    flat = x.reshape(3, 6, -1)
    expected = [
        np.linalg.norm(flat[:, i] - flat[:, j] + IMAGES[:, :, None], axis=1).min(0)
        for i, j in combinations(range(6), 2)
    ]
    np.testing.assert_allclose(found, np.reshape(expected, (15, *batch)), rtol=1e-13)


def test_cutoff() -> None:
    check_cutoff(3.5, BOX)
    check_cutoff(3.5, 7.0)
    with pytest.raises(
        ValueError, match=r"edge 7 .* cut-off 3\.6; allowed are cut-offs up to 3\.5"
    ):
        check_cutoff(3.6, BOX)
    with pytest.raises(ValueError, match="smaller than twice"):
        check_cutoff(5.0, (20.0, 9.0, 20.0))
