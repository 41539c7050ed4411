"""log Z from samples of one model: exact derivatives there, with honest errors."""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.distributions import (
    Enumeration,
    LogPartition,
    Tracked,
)
from bayescg.potentials import SpinPotential
from tests import brute_force
from tests.statistical import check_mean, check_variance
from tests.systems import BETA, FULL, potential

REFERENCE = potential()
STATISTICS = brute_force.statistics(REFERENCE)  # (state, term)
WEIGHTS = brute_force.weights(-BETA * brute_force.energies(REFERENCE))
SAMPLES = 20_000
#: A direction in the space of natural parameters, and how far "nearby" is along it.
DIRECTION = 0.05 * np.random.default_rng(11).normal(size=11)


def draws(seed: int, samples: int = SAMPLES, many: int | None = None) -> np.ndarray:
    """Statistics of independent exact samples, ``(term, sample)``, or ``many`` such sets."""
    size = samples if many is None else (many, samples)
    code = np.random.default_rng(seed).choice(256, size, p=WEIGHTS)
    return np.moveaxis(STATISTICS[code], -1, -2)


def moved(distance: float) -> SpinPotential:
    natural = REFERENCE.natural() + distance * DIRECTION
    return SpinPotential(natural[1:], natural[0], FULL)


def of_natural(strategy: LogPartition, natural: Array) -> Array:
    return strategy(SpinPotential(natural[1:], natural[0], FULL), jnp.asarray(BETA))


@jax.jit
def derivatives(strategy: LogPartition, natural: Array) -> tuple[Array, Array, Array]:
    """Value, gradient and Hessian."""
    return (
        of_natural(strategy, natural),
        jax.grad(of_natural, 1)(strategy, natural),
        jax.hessian(of_natural, 1)(strategy, natural),
    )


def test_tracked_derivatives_are_sample_moments() -> None:
    """To round-off, wherever it is asked."""
    phi = draws(0, 500)
    for p in (REFERENCE, moved(3.0)):
        value, gradient, hessian = derivatives(Tracked(jnp.asarray(phi)), p.natural())
        assert value == 0.0
        np.testing.assert_allclose(gradient, BETA * phi.mean(1), rtol=1e-12, atol=1e-13)
        covariance = np.cov(phi, ddof=0)
        np.testing.assert_allclose(hessian, BETA**2 * covariance, rtol=1e-10, atol=1e-12)


def test_tracked_derivatives_agree_with_enumeration() -> None:
    """Eq. 37, within the Monte Carlo error of exact samples."""
    phi = draws(1, 2_000, many=30)
    _, gradient, hessian = jax.vmap(derivatives, (0, None))(
        Tracked(jnp.asarray(phi)), REFERENCE.natural()
    )
    _, exact_gradient, exact_hessian = derivatives(Enumeration(), REFERENCE.natural())
    check_mean(gradient, exact_gradient)
    check_mean(hessian, exact_hessian * (1.0 - 1.0 / 2_000))  # a sample covariance is that low


def test_the_gradient_s_error_is_as_stated() -> None:
    """The spread of the tracked gradient is the covariance over the number of samples."""
    phi = draws(2, 2_000, many=60)
    gradient = jax.vmap(derivatives, (0, None))(Tracked(jnp.asarray(phi)), REFERENCE.natural())[1]
    covariance = brute_force.covariance(STATISTICS, WEIGHTS)
    check_variance(gradient, BETA**2 * np.diag(covariance) / 2_000)
