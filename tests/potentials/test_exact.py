"""Enumeration and the transfer matrix against sums written out over all states."""

from collections.abc import Callable
from types import ModuleType

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import SpinBasis, SpinPotential, enumeration, pair_features, transfer_matrix
from models import ising
from tests import brute_force
from tests.statistical import check_mean, check_states
from tests.systems import BASES, BETA, CHAIN, FULL, potential

STRATEGIES = {"enumeration": enumeration, "transfer_matrix": transfer_matrix}
FIELDS = np.concatenate([np.random.default_rng(5).normal(size=(2, 8)), np.zeros((1, 8))])

both = pytest.mark.parametrize("exact", STRATEGIES.values(), ids=STRATEGIES)
every_basis = pytest.mark.parametrize("basis", BASES.values(), ids=BASES)


def log_weights(p: SpinPotential, h: np.ndarray | float = 0.0) -> np.ndarray:
    """``-beta U + h.x`` of every state."""
    return -BETA * brute_force.energies(p) + brute_force.spins(p.basis.sites) @ np.broadcast_to(
        h, p.basis.sites
    )


@both
@every_basis
def test_log_partition(exact: ModuleType, basis: SpinBasis) -> None:
    p = potential(basis)
    expected = brute_force.log_sum_exp(log_weights(p))
    np.testing.assert_allclose(exact.log_partition(p, jnp.asarray(BETA)), expected, rtol=1e-13)
    expected = [brute_force.log_sum_exp(log_weights(p, h)) for h in FIELDS]
    found = exact.log_partition_in_field(p, jnp.asarray(BETA), jnp.asarray(FIELDS))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@both
def test_log_partition_where_single_weights_overflow(exact: ModuleType) -> None:
    p = potential(CHAIN, scale=3000.0, seed=1)
    fields = 30.0 * FIELDS
    weights = log_weights(p)
    assert weights.max() > 710.0
    expected = brute_force.log_sum_exp(weights)
    np.testing.assert_allclose(exact.log_partition(p, jnp.asarray(BETA)), expected, rtol=1e-13)
    found = exact.log_partition_in_field(p, jnp.asarray(BETA), jnp.asarray(fields))
    expected = [brute_force.log_sum_exp(log_weights(p, h)) for h in fields]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_transfer_matrix_says_where_it_underflows() -> None:
    """A frustrated ring: log Z is not known, and no density may come out of it."""
    p = potential(FULL, scale=40.0)
    assert transfer_matrix.log_partition(p, jnp.asarray(BETA)) == jnp.inf
    found = transfer_matrix.log_partition_in_field(p, jnp.asarray(BETA), jnp.asarray(FIELDS))
    assert np.all(np.asarray(found) == -np.inf)


@both
def test_derivatives_are_means_and_covariances(exact: ModuleType) -> None:
    """Eqs. 37, 39 and 40: to round-off, in the couplings, the external and the site's field."""
    p = potential()
    statistics = brute_force.statistics(p)

    def log_z(natural: Array, h: Array) -> Array:
        q = SpinPotential(natural[1:], natural[0], p.basis)
        return exact.log_partition_in_field(q, jnp.asarray(BETA), h[None])[0]

    def free(natural: Array) -> Array:
        return exact.log_partition(
            SpinPotential(natural[1:], natural[0], p.basis), jnp.asarray(BETA)
        )

    derivatives: Callable[..., tuple[Array, ...]] = jax.jit(
        lambda eta, h: (
            jax.grad(free)(eta),
            jax.hessian(free)(eta),
            *jax.grad(log_z, (0, 1))(eta, h),
            jax.hessian(log_z)(eta, h),
        )
    )
    h = FIELDS[0]
    gradient, hessian, in_field, spin, hessian_in_field = derivatives(p.natural(), jnp.asarray(h))
    w = brute_force.weights(log_weights(p))
    np.testing.assert_allclose(gradient, BETA * (w @ statistics), atol=1e-12)
    covariance = brute_force.covariance(statistics, w)
    np.testing.assert_allclose(hessian, BETA**2 * covariance, atol=1e-11)
    w = brute_force.weights(log_weights(p, h))
    np.testing.assert_allclose(in_field, BETA * (w @ statistics), atol=1e-12)
    np.testing.assert_allclose(spin, w @ brute_force.spins(8), atol=1e-12)
    covariance = brute_force.covariance(statistics, w)
    np.testing.assert_allclose(hessian_in_field, BETA**2 * covariance, atol=1e-11)


@pytest.mark.parametrize("sites", [7, 8])
def test_ring_moments(sites: int) -> None:
    p = potential(SpinBasis(sites, BASES["one_sided"].features))
    mean, correlation = transfer_matrix.ring_moments(p, jnp.asarray(BETA))
    x = brute_force.spins(sites)
    w = brute_force.weights(log_weights(p))
    np.testing.assert_allclose(mean, w @ x[:, 0], atol=1e-13)
    expected = [w @ (x[:, 0] * x[:, k]) for k in range(1, sites // 2 + 1)]
    np.testing.assert_allclose(correlation, expected, atol=1e-13)


@pytest.mark.parametrize(
    ("count", "printed"),
    [
        ("ordered", {0.2: 0.689, 2.0: 0.955}),
        ("once", {0.2: 0.155, 1.0: 0.593, 2.0: 0.815, 4.0: 0.951}),
    ],
)
def test_exact_magnetization_of_the_paper_s_lattice(count: str, printed: dict) -> None:
    options = ising.Options(count=count)

    @jax.jit
    def magnetization(mu: Array) -> Array:
        basis = ising.fine_potential(options, 0.0).basis
        p = SpinPotential(ising.fine_potential(options, 0.0).theta, mu, basis)
        return transfer_matrix.ring_moments(p, jnp.asarray(options.beta))[0]

    found = {mu: round(float(magnetization(jnp.asarray(mu))), 3) for mu in printed}
    assert found == printed
    assert abs(float(magnetization(jnp.asarray(0.0)))) < 1e-10


@pytest.mark.parametrize("count", ["once", "ordered"])
@pytest.mark.parametrize(("exponent", "power"), [("a-1", -0.2), ("1-a", 0.2)])
def test_fine_energy_is_eqs_46_to_48(count: str, exponent: str, power: float) -> None:
    options = ising.Options(n_f=8, L_f=3, count=count, exponent=exponent)
    k = np.arange(1, 4)
    strength = 1.5 / (3.0**power * np.sum(k**-0.8))
    expected = brute_force.eq_46_energy(brute_force.spins(8), strength * k**-0.8, -1.2, count)
    energy = ising.fine_potential(options, -1.2)(brute_force.spins(8).T)
    np.testing.assert_allclose(energy, expected, atol=1e-12)


@every_basis
def test_transfer_matrix_samples(basis: SpinBasis) -> None:
    p = potential(basis)
    x = transfer_matrix.sample_ring(jax.random.key(1), p, jnp.asarray(BETA), 50_000)
    assert x.shape == (8, 50_000) and x.dtype == jnp.int8
    check_states(x, log_weights(p))


def test_transfer_matrix_samples_where_single_weights_overflow() -> None:
    p = potential(CHAIN, scale=3000.0, seed=1)
    x = np.asarray(transfer_matrix.sample_ring(jax.random.key(1), p, jnp.asarray(BETA), 100))
    assert log_weights(p).max() > 710.0
    np.testing.assert_allclose(p(x), brute_force.energies(p).min())


def test_enumeration_samples() -> None:
    """Many keys, too: the mean z-score over keys shows a bias that one key would hide."""
    p = potential()
    draw = jax.jit(lambda key: enumeration.draw_states(key, p, jnp.asarray(BETA), None, 20_000))
    x = draw(jax.random.key(2))
    assert x.shape == (8, 20_000) and x.dtype == jnp.int8
    check_states(x, log_weights(p))
    means = [np.asarray(p.statistics(draw(jax.random.key(k)))).mean(1) for k in range(30)]
    w = brute_force.weights(log_weights(p))
    check_mean(means, w @ brute_force.statistics(p))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_samples_in_a_field(strategy: str) -> None:
    """Every sample has its own field."""
    p = potential(BASES["one_sided"])
    draw = {
        "enumeration": lambda k, h: enumeration.draw_states(k, p, jnp.asarray(BETA), h, h.shape[1]),
        "transfer_matrix": lambda k, h: transfer_matrix.sample_ring_in_field(
            k, p, jnp.asarray(BETA), h
        ),
    }[strategy]
    count = 10_000
    h = np.repeat(FIELDS[:2], count, axis=0).T
    x = np.asarray(jax.jit(draw)(jax.random.key(3), jnp.asarray(h)))
    assert x.shape == h.shape
    for j in range(2):
        check_states(x[:, j * count : (j + 1) * count], log_weights(p, FIELDS[j]))


def test_errors() -> None:
    with pytest.raises(ValueError, match="at most 20 sites, got 24"):
        enumeration.all_spins(24)
    with pytest.raises(ValueError, match="range of at most 10 sites, got 12"):
        transfer_matrix.check_range(SpinBasis(64, tuple(pair_features([12]))))
    with pytest.raises(ValueError, match="got 1 sites and range 1"):
        transfer_matrix.check_range(SpinBasis(1, ()))
