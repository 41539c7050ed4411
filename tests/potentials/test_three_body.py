"""The Stillinger-Weber term by moments, against the triple loop of Eqs. B.1-B.2."""

from collections.abc import Callable
from functools import partial
from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import StillingerWeber
from bayescg.potentials.neighbours import capacity_for, neighbours
from bayescg.potentials.three_body import three_body_parts

BOX = (8.0, 8.5, 9.0)
IMAGES = np.array(list(product((-1, 0, 1), repeat=3))) * np.array(BOX)
WATER = StillingerWeber(0.762 * 83.5737)
OTHER = StillingerWeber(2.0, cosine=1.0 / 3.0, gamma=1.2, a=1.8, sigma=2.1)  # with 1 - cos != 0

FEW = 14

#: The double sum at strength 1, ``(chain,)``, of ``x (axis, site, chain)``.
statistics = jax.jit(lambda form, x: form.statistics(x, BOX)[0])
forms = pytest.mark.parametrize("form", [WATER, OTHER], ids=["water", "other"])


def random_sites(sites: int, *batch: int, seed: int = 0) -> np.ndarray:
    """Uniform positions ``(axis, site, *batch)``, some of them outside the box."""
    u = np.random.default_rng(seed).uniform(-0.5, 1.5, (3, sites, *batch))
    return u * np.array(BOX).reshape(3, *(1,) * (u.ndim - 1))


def triple_loop(form: StillingerWeber, x: np.ndarray, *, diagonal: bool = False) -> float:
    """Sum over centres and pairs of their neighbours at strength 1, of ``x (axis, site)``.

    :param diagonal: count ``k = l`` in, too, at half its weight: what moments give when it is forgotten.
    """
    reach = form.a * form.sigma
    total = 0.0
    for j in range(x.shape[1]):
        arms = []
        for k in range(x.shape[1]):
            if k == j:
                continue
            images = (x[:, k] - x[:, j]) % np.array(BOX) + IMAGES
            d = images[np.linalg.norm(images, axis=1).argmin()]
            r = np.linalg.norm(d)
            if r < reach:
                arms.append((d / r, np.exp(form.gamma * form.sigma / (r - reach))))
        for (u, g), (v, h) in combinations(arms, 2):
            total += (u @ v - form.cosine) ** 2 * g * h
        if diagonal:
            total += 0.5 * sum((1.0 - form.cosine) ** 2 * g * g for _, g in arms)
    return total


def slope(f: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of a function of ``x``."""
    out = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        ends = []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[place] += sign * step
            ends.append(f(moved))
        out[place] = (ends[0] - ends[1]) / (2 * step)
    return out


@forms
def test_moments_are_the_triple_loop(form: StillingerWeber) -> None:
    x = random_sites(FEW, 4)
    expected = [triple_loop(form, x[..., k]) for k in range(4)]
    assert min(expected) > 0.05
    np.testing.assert_allclose(statistics(form, x), expected, rtol=1e-11)
    shaped = form.statistics(jnp.asarray(x[..., :2].reshape(3, FEW, 2, 1)), BOX)
    np.testing.assert_allclose(shaped, np.reshape(expected[:2], (1, 2, 1)), rtol=1e-11)


@forms
def test_gradient_is_that_of_the_triple_loop(form: StillingerWeber) -> None:
    x = random_sites(FEW)
    found = jax.jit(jax.grad(lambda x: form.statistics(x, BOX)[0]))(x)
    expected = slope(lambda x: triple_loop(form, x), x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


@forms
def test_the_diagonal_matters(form: StillingerWeber) -> None:
    """Moments count each neighbour with itself; left in, that would be seen."""
    x = random_sites(FEW, 4)
    right, wrong = (triple_loop(form, x[..., 0], diagonal=d) for d in (False, True))
    assert wrong > 1.05 * right
    assert abs(float(statistics(form, x)[0]) - right) < 1e-10 * right


def test_one_neighbour_makes_no_triple() -> None:
    x = np.zeros((3, 2, 1))
    x[0, 1] = 2.8
    np.testing.assert_allclose(statistics(WATER, x), [0.0], atol=1e-15)


def test_three_sites_by_hand() -> None:
    """At the angle of the form nothing; at another its square, times both weights."""
    reach, r, s = 0.586097 * 6.4144, 2.8, 3.0
    weights = [np.exp(0.291321 * 6.4144 / (length - reach)) for length in (r, s)]
    cosines = np.array([-0.487217, -1.0, -0.2])
    sines = np.sqrt(1.0 - cosines**2)
    none = np.zeros(3)
    x = np.array([[none, none + r, s * cosines], [none, none, s * sines], [none, none, none]])
    ends = np.linalg.norm(x[:, 1] - x[:, 2], axis=0)
    assert np.all(ends > reach)  # which are no neighbours of each other
    found = jax.jit(lambda x: WATER.statistics(x, (30.0,) * 3)[0])(x)
    expected = (cosines + 0.487217) ** 2 * weights[0] * weights[1]
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-15)


@forms
def test_weight_and_all_its_slopes_vanish_at_the_range(form: StillingerWeber) -> None:
    end = form.cutoff
    assert end == pytest.approx(form.a * form.sigma)
    r = np.linspace(0.5 * end, 0.95 * end, 20)
    expected = np.exp(form.gamma * form.sigma / (r - end))
    np.testing.assert_allclose(form.weight(jnp.asarray(r)), expected, rtol=1e-13)
    beyond = jnp.asarray([end - 1e-9, end - 1e-4, end, end + 1e-9, 2.0 * end])
    f = form.weight
    for _ in range(3):
        np.testing.assert_array_equal(jax.jit(jax.vmap(f))(beyond), 0.0)
        f = jax.grad(f)


def test_moments() -> None:
    """Of the neighbours in a list, against sums over all sites in range."""
    x = random_sites(12, 2)
    near, _ = neighbours(jnp.asarray(x), BOX, OTHER.cutoff, 11)
    parts = jax.jit(partial(three_body_parts, OTHER))(x, jnp.asarray(BOX), near)
    squares = jnp.sum(parts.g**2, 0)
    moments = np.stack([parts.m0, *parts.m1, *parts.m2, squares])
    edges = np.array(BOX)
    for j, chain in np.ndindex(12, 2):
        d = (np.delete(x[..., chain], j, 1) - x[:, [j], chain]).T
        d -= edges * np.round(d / edges)
        r = np.linalg.norm(d, axis=1)
        d, r = d[r < OTHER.cutoff], r[r < OTHER.cutoff]
        u, g = d / r[:, None], np.exp(OTHER.gamma * OTHER.sigma / (r - OTHER.cutoff))
        outer = np.einsum("n,na,nb->ab", g, u, u)
        order = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # xx, yy, zz, yz, xz, xy
        expected = [g.sum(), *(g @ u), *outer[order], (g**2).sum()]
        np.testing.assert_allclose(moments[:, j, chain], expected, atol=1e-13)


def test_too_crowded_for_a_list_is_not_a_number() -> None:
    """Never a sum with some of its neighbours left out."""
    sites, box = 60, (12.0,) * 3
    x = np.random.default_rng(0).uniform(size=(3, sites, 2)) * 12.0
    x[..., 1] *= 0.25  # in one corner
    assert capacity_for(sites, box, WATER.cutoff) < sites - 1
    found = np.asarray(jax.jit(lambda x: WATER.statistics(x, box)[0])(x))
    assert np.isfinite(found[0]) and np.isnan(found[1])


def test_the_strength_is_the_only_parameter() -> None:
    assert jax.tree.leaves(WATER) == [0.762 * 83.5737]
    assert jax.tree.leaves(StillingerWeber(None)) == []  # the form alone
    np.testing.assert_array_equal(WATER.natural(), [-0.762 * 83.5737])
    assert StillingerWeber(jnp.asarray(2)).natural().dtype == float
