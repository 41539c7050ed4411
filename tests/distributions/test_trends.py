"""Parameters that are lines or parabolas in a condition, against formulas and SciPy's densities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed, substitute, trace
import pytest
from scipy import stats

from bayescg.distributions import Trend
from tests.statistical import check_mean, check_variance


def drawn(trend: Trend, at: float, key: int = 0, **given: Any) -> dict[str, Any]:
    """The sites of two coefficients and a width at one condition."""

    def program() -> None:
        trend.coefficients("theta", at, 2, "normal", scale=1.0)
        trend.positive("width", at, (0.5, 0.3))

    return dict(trace(substitute(seed(program, jax.random.key(key)), data=given)).get_trace())


@pytest.mark.parametrize("degree", [1, 2])
def test_values_are_polynomials_about_the_reference(degree: int) -> None:
    given: dict[str, Any] = {
        "theta_reference": jnp.array([1.0, -0.5]),
        "theta_slope": jnp.array([0.2, 0.1]),
        "width_reference": 0.4,
        "width_slope": -0.3,
    }
    if degree == 2:
        given |= {"theta_bend": jnp.array([0.01, -0.03]), "width_bend": 0.05}
    bend = degree - 1
    for at in (300.0, 285.0, 345.0):
        t = (at - 300.0) / 30.0
        found = drawn(Trend(300.0, 30.0, degree), at, **given)
        theta = np.array([1.0, -0.5]) + t * np.array([0.2, 0.1])
        theta += bend * t**2 * np.array([0.01, -0.03])
        np.testing.assert_allclose(found["theta"]["value"], theta, rtol=1e-12)
        width = 0.4 * np.exp(-0.3 * t + bend * 0.05 * t**2)
        np.testing.assert_allclose(found["width"]["value"], width, rtol=1e-12)


def test_all_parameters_are_shared_and_modes_are_those_of_logarithms() -> None:
    sites = drawn(Trend(0.0, 1.0, 2), 0.5)
    sampled = {k: v for k, v in sites.items() if v["type"] == "sample"}
    assert set(sampled) == {
        *("theta_reference", "theta_slope", "theta_bend"),
        *("width_reference", "width_slope", "width_bend"),
    }
    assert all(v["infer"]["shared"] for v in sampled.values())
    assert sampled["width_reference"]["infer"]["mode"] == "unconstrained"


def test_priors_of_changes() -> None:
    """Normal with half the scale for the bend; or the t that a scale with its inverse-gamma prior leaves."""
    v = jnp.array([0.3, -0.2])
    sites = drawn(Trend(0.0, 1.0, 2, change=0.5, relative=0.2), 0.5)
    for word, s in (("slope", 0.5), ("bend", 0.25)):
        expected = stats.norm.logpdf(np.asarray(v), scale=s).sum()
        np.testing.assert_allclose(sites[f"theta_{word}"]["fn"].log_prob(v), expected, rtol=1e-12)
    value = sites["width_slope"]["fn"].log_prob(0.1)
    np.testing.assert_allclose(value, stats.norm.logpdf(0.1, scale=0.2), rtol=1e-12)

    prior = drawn(Trend(0.0, 1.0, change=0.5, learned=True), 0.5)["theta_slope"]["fn"]
    expected = stats.multivariate_t.logpdf(np.asarray(v), shape=0.25 * np.eye(2), df=3)
    np.testing.assert_allclose(prior.log_prob(v), expected, rtol=1e-10)


def test_predictions_widen_with_the_distance_from_the_reference() -> None:
    """Prior variance 1 + t^2 / 4."""
    trend = Trend(0.0, 2.0, change=0.5)
    for at in (0.0, 2.0, 8.0):
        keys = jax.random.split(jax.random.key(1), 4000)

        def one(k: Any, at: float = at) -> Any:
            def program() -> Any:
                return trend.coefficients("theta", at, 2, "normal", scale=1.0)

            return seed(program, k)()

        values = np.asarray(jax.vmap(one)(keys))
        check_mean(values, 0.0)
        check_variance(values, 1.0 + (0.25 * at) ** 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"width": 0.0}, "width must be positive, got 0"),
        ({"change": -1.0}, "change must be positive, got -1"),
        ({"relative": np.inf}, "relative must be positive, got inf"),
        ({"degree": 3}, "degree must be 1 or 2, got 3"),
        ({"reference": np.nan}, "reference must be finite"),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Trend(**({"reference": 300.0, "width": 30.0} | arguments))
