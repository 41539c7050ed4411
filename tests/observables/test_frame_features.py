"""What a critic is shown of a configuration (ARCG paper, Eqs. D1 and D2), against loops over sites."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.observables.frame_features import (
    TABLE_III,
    LocalDensity,
    Moments,
    local_density,
    moments,
)
from tests.liquids import BOX, liquid

EDGES = (9.0, 10.0, 11.0)


def everywhere(sites: int, batch: int = 3) -> np.ndarray:
    """Random positions ``(axis, site, batch)``, some of them outside the box."""
    return np.random.default_rng(sites).uniform(-15.0, 25.0, size=(3, sites, batch))


def distances(x: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """To the nearest image of every other site, ``(site, other site)``, by trying 27 of them.

    :param x: ``(axis, site)``.
    """
    edges = np.array(box)
    inside = np.mod(x.T, edges)
    out = np.full((len(inside), len(inside)), np.inf)
    for i, a in enumerate(inside):
        for j, b in enumerate(inside):
            for image in np.ndindex(3, 3, 3):
                out[i, j] = min(out[i, j], np.linalg.norm(a - b + edges * (np.array(image) - 1)))
    return out


def by_loop(values: Callable[[np.ndarray], list[float]], x: np.ndarray) -> np.ndarray:
    """Features of each configuration from its distances, ``(feature, batch)``."""
    return np.array([values(distances(x[..., k], EDGES)) for k in range(x.shape[2])]).T


def logistic(r: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-r))


@pytest.mark.parametrize("sites", [2, 7, 8])
def test_moments_are_means_over_pairs(sites: int) -> None:
    """Odd and even numbers of sites, whose pairs are gone through differently."""
    powers = (-12.0, -6.0, 0.5, 2.0, 4.0, 12.0)

    def values(r: np.ndarray) -> list[float]:
        out = []
        for power in powers:
            pairs = [r[i, j] ** power for i in range(len(r)) for j in range(i)]
            out.append(sum(pairs) / len(pairs))
        return out

    x = everywhere(sites)
    found = moments(powers).in_box(EDGES)(jnp.asarray(x))
    np.testing.assert_allclose(found, by_loop(values, x), rtol=1e-10)


@pytest.mark.parametrize("sites", [2, 7, 8])
def test_local_density_is_a_mean_over_sites(sites: int) -> None:
    """With cut-offs that return, as in Table III, and one beyond half the box."""
    shapes = ((3.0, 0.0, 2.0), (6.0, 1.5, 0.7), (3.0, 1.0, 2.0), (7.0, -2.0, 5.0))

    def values(r: np.ndarray) -> list[float]:
        out = []
        for cutoff, a, b in shapes:
            total = 0.0
            for i in range(len(r)):
                count = sum(1.0 - logistic(r[i, j] - cutoff) for j in range(len(r)) if j != i)
                total += np.tanh((count - a) / b)
            out.append(total / len(r))
        return out

    x = everywhere(sites)
    found = local_density(shapes).in_box(EDGES)(jnp.asarray(x))
    np.testing.assert_allclose(found, by_loop(values, x), rtol=1e-10)


@pytest.mark.parametrize("feature", [moments(), local_density()], ids=lambda f: f.name)
def test_one_configuration_is_a_batch_of_none(feature: Moments | LocalDensity) -> None:
    x = jnp.asarray(everywhere(7, 2))
    ready = feature.in_box(EDGES)
    both = ready(x)
    (name,) = ready.coords()
    assert feature.dims == (name,) and both.shape == (len(ready.coords()[name]), 2)
    np.testing.assert_allclose(ready(x[..., 1]), both[:, 1], rtol=1e-12)


def test_defaults_are_those_of_the_paper() -> None:
    assert moments().powers == (2.0, 4.0, 6.0, 12.0)
    assert moments((-6, -12)).powers == (-6.0, -12.0)
    rows = [(4, 0, 2), (4, 1, 2), (7, 7, 2), (7, 9, 2), (10, 9, 2), (10, 11, 2)]
    np.testing.assert_array_equal(local_density().shapes, rows)


def test_eq_d2_as_printed_is_minus_1_for_any_liquid() -> None:
    """The sum over -g is the number of neighbours less that of all other sites: nothing is left to see.

    Of a liquid, of a quarter and of an eighth of its density, which the sum over 1 - g tells apart by every row.
    """
    printed, seen = {}, {}
    for sites in (100, 24, 12):
        x = liquid(sites)
        d = x[:, :, None] - x[:, None]
        r = np.linalg.norm(d - BOX[0] * np.round(d / BOX[0]), axis=0)
        others = ~np.eye(sites, dtype=bool)

        printed[sites] = [
            np.mean(np.tanh((np.sum(-logistic(r - cutoff), 1, where=others) - a) / b))
            for cutoff, a, b in TABLE_III
        ]
        if sites < 100:
            seen[sites] = np.asarray(local_density().in_box(BOX)(jnp.asarray(x)))
    for values in printed.values():
        np.testing.assert_allclose(values, -1.0, atol=1e-3)
    np.testing.assert_allclose(printed[100], -1.0, atol=1e-8)
    assert np.all(seen[24] - seen[12] > 0.3)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (moments, (), r"moments powers must be numbers other than 0, got \(\)"),
        (moments, (2.0, 0.0), r"moments powers must be numbers other than 0, got \(2\.0, 0\.0\)"),
        (moments, (np.inf,), "moments powers must be numbers other than 0"),
        (local_density, ((0.0, 1.0, 2.0),), "a positive scale, got 0, 1 and 2"),
        (local_density, ((4.0, 0.0, 2.0), (4.0, 1.0, -2.0)), "got 4, 1 and -2"),
        (local_density, ((4.0, np.nan, 2.0),), "local_density needs"),
    ],
)
def test_bad_options(make: Callable[..., object], options: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(options)
