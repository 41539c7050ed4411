"""A virtual site summed out: against plain quadrature, and its samples against HMC."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.distributions import ExactLogPartition
from bayescg.potentials.bonded import coordinate
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.samplers.tethers import Held
from bayescg_models.virtual_bond import Triangle
from tests.statistical import check_mean, check_z
from tests.triangles import INITIAL, OPTIMUM, TARGET, shell, shells, triangle

CASES = [("half", TARGET), ("half", INITIAL), ("full", TARGET)]
cases = pytest.mark.parametrize(
    ("energy", "values"), CASES, ids=["target", "initial", "target, full"]
)
SAMPLES = 4000
PAIRS = np.array([[0, 1], [1, 2], [0, 2]])


@partial(jax.jit, static_argnums=0)
def computed(one: Triangle, values: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log Z, its gradient by the four parameters, and the density of the ends."""
    beta = jnp.asarray(one.beta)
    log_z, slope = jax.value_and_grad(lambda v: one.exact(one.potential(*v), beta))(values)
    return log_z, slope, one.exact.density(one.potential(*values), beta)


def found(energy: str, values: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(a) for a in computed(triangle(energy), jnp.asarray(values)))


def stiffer(energy: str) -> float:
    return triangle(energy).factor * triangle(energy).beta


@cases
def test_density_and_log_partition_against_quadrature(
    energy: str, values: tuple[float, ...]
) -> None:
    log_z, _, density = found(energy, values)
    total = shells(values, stiffer(energy))
    assert float(log_z) == pytest.approx(np.log(30.0**3 * total), abs=1e-6)
    at = np.array([0, 2, 9, 24, 49, 62, 87, 112, 137])  # 0.04 to 5.52 angstrom
    expected = [shell(r, values, stiffer(energy)) / total for r in triangle().exact.points[at]]
    np.testing.assert_allclose(density[at], expected, rtol=1e-5)


@cases
def test_gradient_of_the_log_partition_against_differences(
    energy: str, values: tuple[float, ...]
) -> None:
    """By both lengths and both stiffnesses, against differences of the quadrature."""
    expected = []
    for i in range(4):
        up, down = np.array(values), np.array(values)
        up[i] += 1e-3
        down[i] -= 1e-3
        high, low = (np.log(shells(tuple(v), stiffer(energy))) for v in (up, down))
        expected.append((high - low) / 2e-3)
    np.testing.assert_allclose(found(energy, values)[1], expected, rtol=1e-4, atol=1e-6)


@partial(jax.jit, static_argnums=0)
def log_density(one: Triangle, values: jax.Array, held: Held) -> jax.Array:
    p, beta = one.potential(*values), jnp.asarray(one.beta)
    return one.exact.in_field(p, beta, held) - one.exact(p, beta)


@cases
def test_held_ends_have_the_density_of_the_two(energy: str, values: tuple[float, ...]) -> None:
    """log Z(r) - log Z at distances between the points, all of them through a wall of the box."""
    one = triangle(energy)
    assert isinstance(one.exact, ExactLogPartition)
    r = np.array([0.333, 1.01, 2.345, 3.14159, 4.4701])
    way = np.array([0.6, 0.0, -0.8])
    at = np.full((len(r), 3, 3), 7.0)  # of Y any place
    at[:, 0] = [29.9, 3.0, 0.2]
    at[:, 2] = np.mod(at[:, 0] + r[:, None] * way, 30.0)
    assert np.abs(at[:, 2] - at[:, 0]).max(1).min() > 20.0
    held = Held(jnp.asarray(at), jnp.tile(jnp.array([0.0, 1.0, 0.0]), (len(r), 1)))
    log_p = log_density(one, jnp.asarray(values), held)
    total = shells(values, stiffer(energy))
    z = np.array([shell(v, values, stiffer(energy)) for v in r]) / (4.0 * np.pi * r**2)
    np.testing.assert_allclose(log_p, np.log(z / total / 30.0**3), atol=1e-5)


@pytest.mark.parametrize(("energy", "entropy"), [("half", 0.0018), ("full", 0.0070)])
def test_the_paper_s_optimum_is_near_its_target_if_energies_have_the_half(
    energy: str, entropy: float
) -> None:
    """Relative entropies of the distance X-X, as the model's docstring has them."""
    p, q = (found(energy, v)[2] for v in (TARGET, OPTIMUM))
    assert np.sum(p * np.log(p / q)) * 0.04 == pytest.approx(entropy, abs=1e-4)


both = pytest.mark.parametrize("values", [TARGET, INITIAL], ids=["target", "initial"])


@jax.jit
def drawn(values: jax.Array) -> jax.Array:
    one = triangle()
    p, beta = one.potential(*values), jnp.asarray(one.beta)
    return one.exact.sample(jax.random.key(0), p, beta, SAMPLES)


@cache
def samples(values: tuple[float, ...]) -> np.ndarray:
    """Exact ones, ``(sample, site, axis)``."""
    return np.asarray(drawn(jnp.asarray(values)))


@both
def test_samples_have_the_density_of_the_ends(values: tuple[float, ...]) -> None:
    """Mean and variance of their distance; they lie anywhere in the box, and any way round."""
    x, points = samples(values), triangle().exact.points
    r = np.linalg.norm(x[:, 2] - x[:, 0], axis=1)
    density = found("half", values)[2] * 0.04
    mean = density @ points
    check_mean(r, mean)
    check_mean((r - mean) ** 2, density @ (points - mean) ** 2)
    way = (x[:, 2] - x[:, 0]) / r[:, None]
    check_mean(np.concatenate([way, way**2], 1), np.repeat([0.0, 1.0 / 3.0], 3))
    check_mean(np.concatenate([x[:, 0], x[:, 0] ** 2], 1), np.repeat([15.0, 300.0], 3))


def measured(x: jax.Array) -> jax.Array:
    """X-Y, Y-X and X-X, their squares and products, ``(9, *batch)``."""
    a, b, r = coordinate("bond", x, PAIRS, (30.0,) * 3)
    return jnp.stack([a, b, r, a * a, b * b, r * r, a * b, a * r, b * r])


@jax.jit
def by_hmc(values: jax.Array, starts: jax.Array) -> jax.Array:
    """Means along each chain, ``(9, chain)``."""
    one = triangle()
    sampler = particle_sampler(
        3, (30.0,) * 3, Dynamics("hmc", steps=10, first=0.05, precision="double")
    )
    assert sampler.at is not None
    ready = sampler.prepare(one.potential(*values), jnp.asarray(one.beta))

    def move(state, key):  # type: ignore[no-untyped-def]
        state, _ = sampler.step(key, state, *ready)
        return state, measured(state.x)

    start = sampler.at(jax.random.key(1), starts)
    _, seen = jax.lax.scan(move, start, jax.random.split(jax.random.key(2), 900))
    return jnp.mean(seen[100:], 0)


@pytest.mark.slow
@both
def test_samples_are_those_of_hmc(values: tuple[float, ...]) -> None:
    """Means of all three distances, of their squares, and of the products that tie them together.

    Standard errors of independent samples, and of 128 chains: false failures as in ``check_z``.
    """
    x = jnp.asarray(samples(values).T)
    chains = np.asarray(by_hmc(jnp.asarray(values), x[..., :128]))
    exact = np.asarray(measured(x))
    errors = [v.std(1, ddof=1) / np.sqrt(v.shape[1]) for v in (exact, chains)]
    check_z(exact.mean(1), chains.mean(1), np.hypot(*errors), 127)
