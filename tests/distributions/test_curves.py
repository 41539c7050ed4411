"""Parameters as functions of a condition: their polynomials, their prior, their parity, what members share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpyro.handlers import seed, substitute, trace
import pytest

from bayescg.distributions import Curves
from bayescg.distributions.curves import chebyshev
from tests.statistical import check_frequencies, check_mean, check_variance

PARITY = (1, -1, 0)
HELD = {"c_scale": jnp.array([0.5, 2.0, 1.0]), "c_decay": jnp.asarray(0.6)}


def sites(curves: Curves, at: float, key: int = 0, **values: Any) -> dict[str, Any]:
    def program() -> None:
        curves.coefficients("c", at, PARITY)
        curves.half_to_one("p", at, 1)

    return trace(seed(substitute(program, data=values), jax.random.key(key))).get_trace()


def drawn(curves: Curves, at: float, name: str, count: int, **values: Any) -> np.ndarray:
    """Independent draws of a site."""

    def one(key: Any) -> Any:
        def program() -> None:
            curves.coefficients("c", at, PARITY)
            curves.half_to_one("p", at, 1)

        made = trace(seed(substitute(program, data=values), key)).get_trace()
        return made[name]["value"]

    return np.asarray(jax.vmap(one)(jax.random.split(jax.random.key(1), count)))


@pytest.mark.parametrize("degree", [1, 2, 7])
def test_the_polynomials_are_chebyshev_s(degree: int) -> None:
    for x in (-1.0, -0.3, 0.0, 0.8, 1.0):
        expected = [chebval(x, np.eye(degree + 1)[p]) for p in range(degree + 1)]
        np.testing.assert_allclose(chebyshev(x, degree), expected, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("deviation", [0.0, 0.5])
def test_at_given_scales_functions_are_normal_with_the_stated_variance(deviation: float) -> None:
    curves = Curves(4.0, 3, deviation=deviation)
    held = HELD | ({"c_deviation_scale": jnp.asarray(0.7)} if deviation else {})
    found = drawn(curves, 2.4, "c", 20_000, **held)
    t = np.array([1.0, 0.6, 2 * 0.36 - 1.0, 4 * 0.216 - 1.8])  # at 2.4 of 4
    powers = {1: ([0, 2], 0), -1: ([1, 3], 1), 0: ([0, 1, 2, 3], 0)}
    own = 0.49 if deviation else 0.0
    expected = [
        s**2 * (own + sum((0.6 ** (p - powers[k][1]) * t[p]) ** 2 for p in powers[k][0]))
        for s, k in zip(HELD["c_scale"], PARITY, strict=True)
    ]
    check_mean(found, 0.0)
    check_variance(found, expected)


@pytest.mark.slow
def test_even_functions_are_even_and_odd_ones_odd() -> None:
    curves = Curves(2.0, 6)
    right = sites(curves, 1.3)
    values = {k: v["value"] for k, v in right.items() if v["type"] == "sample"}
    left = sites(curves, -1.3, **values)
    (even, odd, neither), (even_, odd_, neither_) = (
        np.asarray(t["c"]["value"]) for t in (right, left)
    )
    np.testing.assert_allclose([even, odd], [even_, -odd_], rtol=1e-12)
    assert abs(neither - neither_) > 1e-3
    np.testing.assert_allclose(right["p"]["value"], left["p"]["value"], rtol=1e-12)
    assert float(np.asarray(sites(curves, 0.0, **values)["c"]["value"])[1]) == 0.0


def test_a_probability_without_a_function_is_uniform() -> None:
    """Of degree 1 an even function without a constant has no order left."""
    p = drawn(Curves(1.0, 1), 0.7, "p", 20_000)
    counts = np.histogram(p, np.linspace(0.5, 1.0, 11))[0]
    check_frequencies(counts, np.full(10, 0.1))


@pytest.mark.slow
def test_probabilities_stay_between_a_half_and_one() -> None:
    p = drawn(Curves(1.0, 8), 1.0, "p", 2000)
    assert p.min() >= 0.5 and p.max() <= 1.0 and p.std() > 0.05


def test_members_share_all_but_their_deviations() -> None:
    found = sites(Curves(1.0, 4, deviation=0.2), 0.5)
    shared = {k for k, v in found.items() if (v.get("infer") or {}).get("shared")}
    assert {k for k, v in found.items() if v["type"] == "sample"} - shared == {"c_deviation"}
    assert "c_deviation" not in sites(Curves(1.0, 4), 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reach": 0.0}, "reach must be positive, got 0"),
        ({"reach": float("inf")}, "reach must be positive, got inf"),
        ({"degree": 0}, "degree must be at least 1, got 0"),
        ({"scale": 0.0}, "scale must be positive, got 0"),
        ({"deviation": -0.1}, "deviation must not be negative, got -0.1"),
    ],
)
def test_bad_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Curves(**{"reach": 1.0, **options})
