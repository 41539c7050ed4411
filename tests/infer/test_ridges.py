"""Normal approximations that follow a bend, against posteriors whose ridge is known."""

from dataclasses import replace

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.estimates import Estimates
from bayescg.infer.laplace import Laplace, laplace
from bayescg.infer.program import read_program
from bayescg.infer.ridges import curved, ridge
from models import spce_water

WIDTH = 0.01  # of the ridge
SLOPE = np.array([[0.5, -0.2], [1.0, 0.3]])  # how coefficients make up for the bent ones' terms


def natural(u: Array) -> Array:
    """Of a logarithm and an exponent, and two coefficients: u is (coefficient, a, coefficient, b)."""
    strong = jnp.exp(u[1] + 12.0 * u[3])
    weak = jnp.exp(u[1] + 6.0 * u[3])
    return jnp.stack([strong, u[0], weak, u[2]])


def log_density(u: Array) -> Array:
    """Bent ones normal(0, 0.1), and coefficients within ``WIDTH`` of what makes up for them: mode at zero."""
    e = natural(u)
    off = e[jnp.array([1, 3])] + SLOPE @ (e[jnp.array([0, 2])] - 1.0)
    return -0.5 * jnp.sum((off / WIDTH) ** 2) - 0.5 * jnp.sum((u[jnp.array([1, 3])] / 0.1) ** 2)


def approximation() -> Laplace:
    mode = np.zeros(4)
    precision = -np.asarray(jax.hessian(log_density)(jnp.asarray(mode)))
    ridges = np.full(1, None)
    ridges[0] = ridge(natural, mode, precision)
    smallest = np.linalg.eigvalsh(precision)[:1]
    return Laplace("observed", mode[None], precision[None], smallest, np.zeros(1, bool), ridges)


def test_what_bends_is_found() -> None:
    bent, terms, others = curved(natural, np.zeros(4))
    assert bent.tolist() == [1, 3] and terms.tolist() == [0, 2] and others.tolist() == [0, 2]
    assert ridge(lambda u: 2.0 * u, np.zeros(3), np.eye(3)) is None


@pytest.mark.slow
def test_draws_lie_on_the_ridge() -> None:
    """This posterior is normal across its ridge and along the bent ones, so the draws are exact: their density differs
    from the posterior's by a constant, to round-off. Straight draws are off by hundreds of widths."""
    normal = approximation()
    u = normal.draw(jax.random.key(0), 500)
    exact = np.asarray(jax.vmap(log_density)(jnp.asarray(u[0])))
    gap = exact - normal.log_prob(u)[0]
    np.testing.assert_allclose(gap, gap[0], atol=1e-6)
    straight = replace(normal, ridges=np.full(1, None))
    v = straight.draw(jax.random.key(0), 500)
    np.testing.assert_array_equal(v[0][:, [1, 3]], u[0][:, [1, 3]])
    assert np.asarray(jax.vmap(log_density)(jnp.asarray(v[0]))).min() < exact.min() - 1000.0


def test_back_and_forth_with_the_same_volume() -> None:
    found = approximation().ridges[0]
    u = 0.1 * np.random.default_rng(1).normal(size=(20, 4))
    np.testing.assert_allclose(found.straight(found.along(u)), u, atol=1e-12)
    steps = 1e-6 * np.eye(4)
    slope = (found.along(u[:1] + steps) - found.along(u[:1] - steps)) / 2e-6
    assert abs(np.linalg.det(slope) - 1.0) < 1e-6


def test_laplace_of_water_follows_its_ridge() -> None:
    """What MC-EM ends with has the ridge of its program, and draws and densities follow it."""
    options = spce_water.Options(
        sites=8, box=15.0, features=12, core=2.4, prior="normal", positive="lognormal"
    )
    x = jax.random.uniform(jax.random.key(0), (3, 8, 3)) * 15.0
    program = read_program(spce_water.system(options).program, x, {})
    u = np.linspace(-0.1, 0.1, program.size)[None]
    root = np.random.default_rng(1).normal(size=(program.size, program.size))
    information = 100.0 * np.eye(program.size) + 10.0 * root @ root.T
    none = np.zeros((1, program.size, program.size))
    estimates = Estimates(
        score=np.zeros((1, program.size)),
        complete=information[None],
        fisher=information[None],
        missing=none,
        spread=none,
        features=np.zeros((1, 3)),
        latent_change=np.zeros(1),
        latent_gap=np.zeros(1),
        of_likelihood=np.zeros((1, program.size)),
        failed=np.zeros(1),
    )  # type: ignore[arg-type]
    normal = laplace(program, estimates, u, np.asarray(x)[None], {}, "complete")
    found = normal.ridges[0]
    assert sorted(found.bent) == sorted(
        [*program.coordinates("epsilon"), *program.coordinates("sigma")]
    )
    straight = replace(normal, ridges=np.full(1, None))
    key = jax.random.key(3)
    draws, without = normal.draw(key, 50), straight.draw(key, 50)
    np.testing.assert_allclose(draws[0], found.along(without[0]), rtol=1e-12)
    assert np.abs(draws - without).max() > 1e-3
    np.testing.assert_allclose(normal.log_prob(draws), straight.log_prob(without), rtol=1e-9)
