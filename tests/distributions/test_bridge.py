"""A virtual site summed out: against plain quadrature, and its samples against HMC."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.distributions import ExactLogPartition
from bayescg.potentials.bonded import coordinate
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.samplers.forces import Held
from tests.statistical import check_mean, check_z
from tests.triangles import INITIAL, OPTIMUM, TARGET, potential, shell, shells, triangle

CASES = [("half", TARGET), ("half", INITIAL), ("full", TARGET)]
cases = pytest.mark.parametrize(
    ("energy", "values"), CASES, ids=["target", "initial", "target, full"]
)
SAMPLES = 4000
PAIRS = np.array([[0, 1], [1, 2], [0, 2]])


@jax.jit
def found(bridge, p, beta):  # type: ignore[no-untyped-def]
    """log Z, its gradient by the natural parameters' leaves, and the density of the ends."""
    value, slope = jax.value_and_grad(lambda p: bridge(p, beta))(p)
    return value, slope, bridge.density(p, beta)


@cases
def test_density_and_log_partition_against_quadrature(
    energy: str, values: tuple[float, ...]
) -> None:
    one = triangle(energy)
    stiffer = one.factor * one.beta
    log_z, _, density = found(one.exact, potential(one, values), jnp.asarray(one.beta))
    total = shells(values, stiffer)
    assert float(log_z) == pytest.approx(np.log(30.0**3 * total), abs=1e-6)
    at = np.array([0, 2, 9, 24, 49, 62, 87, 112, 137])  # 0.04 to 5.52 angstrom
    expected = [shell(r, values, stiffer) / total for r in one.exact.points[at]]
    np.testing.assert_allclose(np.asarray(density)[at], expected, rtol=1e-5)


@cases
def test_gradient_of_the_log_partition_against_differences(
    energy: str, values: tuple[float, ...]
) -> None:
    """By both lengths and both stiffnesses, against differences of the quadrature."""
    one = triangle(energy)
    stiffer = one.factor * one.beta

    @jax.jit
    def slope(v: jax.Array) -> jax.Array:
        return jax.grad(lambda v: one.exact(one.potential(*v), jnp.asarray(one.beta)))(v)

    expected = []
    for i in range(4):
        up, down = np.array(values), np.array(values)
        up[i] += 1e-3
        down[i] -= 1e-3
        ends = [np.log(shells(tuple(v), stiffer)) for v in (up, down)]
        expected.append((ends[0] - ends[1]) / 2e-3)
    np.testing.assert_allclose(slope(jnp.asarray(values)), expected, rtol=1e-4, atol=1e-6)


@cases
def test_held_ends_have_the_density_of_the_two(energy: str, values: tuple[float, ...]) -> None:
    """log Z(r) - log Z at distances between the points, one of them through the wall of the box."""
    one = triangle(energy)
    assert isinstance(one.exact, ExactLogPartition)
    p, beta = potential(one, values), jnp.asarray(one.beta)
    r = np.array([0.333, 1.01, 2.345, 3.14159, 4.4701])
    way = np.array([0.6, 0.0, -0.8])
    at = np.full((len(r), 3, 3), 7.0)  # of Y any place
    at[:, 0] = [29.5, 3.0, 0.2]
    at[:, 2] = np.mod(at[:, 0] + r[:, None] * way, 30.0)
    assert np.abs(at[:, 2] - at[:, 0]).max() > 20.0
    held = Held(jnp.asarray(at), jnp.tile(jnp.array([0.0, 1.0, 0.0]), (len(r), 1)))
    log_p = jax.jit(lambda p: one.exact.in_field(p, beta, held) - one.exact(p, beta))(p)
    stiffer = one.factor * one.beta
    total = shells(values, stiffer)
    expected = [np.log(shell(v, values, stiffer) / total / (4 * np.pi * v**2 * 30.0**3)) for v in r]
    np.testing.assert_allclose(log_p, expected, rtol=1e-5)


@pytest.mark.parametrize(("energy", "entropy"), [("half", 0.0018), ("full", 0.0070)])
def test_the_paper_s_optimum_is_near_its_target_if_energies_have_the_half(
    energy: str, entropy: float
) -> None:
    """Relative entropies of the distance X-X, as the model's docstring has them."""
    one = triangle(energy)
    p, q = (
        np.asarray(found(one.exact, potential(one, v), jnp.asarray(one.beta))[2])
        for v in (TARGET, OPTIMUM)
    )
    assert np.sum(p * np.log(p / q)) * 0.04 == pytest.approx(entropy, abs=1e-4)


@cache
def samples() -> np.ndarray:
    """Exact ones of the target, ``(sample, site, axis)``."""
    one = triangle()
    draw = jax.jit(lambda key, p: one.exact.sample(key, p, jnp.asarray(one.beta), SAMPLES))
    return np.asarray(draw(jax.random.key(0), potential(one, TARGET)))


def distances(x: jax.Array) -> jax.Array:
    """X-Y, Y-X and X-X, ``(3, *batch)``."""
    return coordinate("bond", x, PAIRS, (30.0,) * 3)


def test_samples_have_the_density_of_the_ends() -> None:
    """Mean and variance of their distance; they lie anywhere in the box, and any way round."""
    one, x = triangle(), samples()
    r = np.linalg.norm(x[:, 2] - x[:, 0], axis=1)
    p = potential(one, TARGET)
    density = np.asarray(found(one.exact, p, jnp.asarray(one.beta))[2]) * 0.04
    mean = density @ one.exact.points
    check_mean(r, mean)
    check_mean((r - mean) ** 2, density @ (one.exact.points - mean) ** 2)
    way = (x[:, 2] - x[:, 0]) / r[:, None]
    check_mean(np.concatenate([way, way**2], 1), np.repeat([0.0, 1.0 / 3.0], 3))
    check_mean(np.concatenate([x[:, 0], x[:, 0] ** 2], 1), np.repeat([15.0, 300.0], 3))


def test_samples_are_those_of_hmc() -> None:
    """Means of all three distances, of their squares, and of the products that tie them together.

    Standard errors of independent samples, and of 128 chains: false failures as in ``check_z``.
    """
    one = triangle()
    dynamics = Dynamics("hmc", steps=10, first=0.05, precision="double")
    sampler = particle_sampler(3, (30.0,) * 3, dynamics, samples()[:128])

    def measured(x: jax.Array) -> jax.Array:
        a, b, r = distances(x)
        return jnp.stack([a, b, r, a * a, b * b, r * r, a * b, a * r, b * r])

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        ready = sampler.prepare(potential(one, TARGET), jnp.asarray(one.beta))

        def move(state, key):  # type: ignore[no-untyped-def]
            state, _ = sampler.step(key, state, *ready)
            return state, measured(state.x)

        start = sampler.init(key, 128)
        keys = jax.random.split(jax.random.fold_in(key, 1), 900)
        return jnp.mean(jax.lax.scan(move, start, keys)[1][100:], 0)

    chains = np.asarray(run(jax.random.key(1)))  # (measured, chain)
    exact = np.asarray(measured(jnp.asarray(samples().T)))
    errors = [v.std(1, ddof=1) / np.sqrt(v.shape[1]) for v in (exact, chains)]
    check_z(exact.mean(1), chains.mean(1), np.hypot(*errors), 127)
