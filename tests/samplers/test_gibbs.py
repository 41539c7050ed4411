"""Lattice Gibbs: what it leaves as it is, where it goes, and what 32 bits cost."""

from collections.abc import Callable
from dataclasses import replace

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import SpinBasis, SpinPotential
from bayescg.potentials.lattice import local_field
from bayescg.samplers import ChainInfo, ChainState, Sampler, lattice_gibbs, long_run
from tests import brute_force
from tests.statistical import check_states, check_stationary
from tests.systems import BASES, BETA, FULL, potential

FIELDS = np.random.default_rng(7).normal(size=(2, 8))


@pytest.mark.parametrize("fields", [None, FIELDS], ids=["free", "in_fields"])
@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
def test_stationary(basis: SpinBasis, fields: np.ndarray | None) -> None:
    check_stationary(lattice_gibbs(basis), potential(basis), BETA, jax.random.key(0), fields)


def test_from_anywhere() -> None:
    """Chains that all start up end where they should: the kernel is irreducible."""
    p = potential()
    step = lattice_gibbs(FULL).step

    @jax.jit
    def run(key: Array) -> Array:
        def move(state: ChainState, key: Array) -> tuple[ChainState, None]:
            return step(key, state, p, jnp.asarray(BETA))[0], None

        start = ChainState(jnp.ones((8, 20_000), jnp.float32))
        return jax.lax.scan(move, start, jax.random.split(key, 100))[0].x

    check_states(run(jax.random.key(1)), -BETA * brute_force.energies(p))


Step = Callable[[Array, ChainState, SpinPotential, Array, Array], tuple[ChainState, ChainInfo]]


def all_at_once(right: Step) -> Step:
    """Draw coupled sites together, each from the spins as they were."""

    def step(
        key: Array, state: ChainState, p: SpinPotential, beta: Array, field: Array
    ) -> tuple[ChainState, ChainInfo]:
        f = beta * local_field(FULL, p.natural(), state.x, jnp.arange(8)) + field
        up = jax.random.uniform(key, f.shape) < jax.nn.sigmoid(2.0 * f)
        return ChainState(jnp.where(up, 1.0, -1.0).astype(state.x.dtype)), ChainInfo(jnp.zeros(()))

    return step


def slightly_hot(right: Step) -> Step:
    """Sample at a temperature 3 % too high."""
    return lambda key, state, p, beta, field: right(key, state, p, 0.97 * beta, field)


def deaf(right: Step) -> Step:
    """Lay the field of the first chain on all."""
    return lambda key, state, p, beta, field: right(
        key, state, p, beta, jnp.broadcast_to(field[:, :1], field.shape)
    )


@pytest.mark.parametrize("wrong", [all_at_once, slightly_hot, deaf])
def test_a_wrong_kernel_is_caught(wrong: Callable[[Step], Step]) -> None:
    right = lattice_gibbs(FULL)
    sampler = Sampler(right.init, wrong(right.step))
    with pytest.raises(AssertionError, match="p-value"):
        check_stationary(sampler, potential(), BETA, jax.random.key(0), FIELDS)


@pytest.mark.slow
def test_single_precision_is_enough() -> None:
    """The probability of every flip, in 32 bits as in 64, strong couplings included."""
    x = jnp.asarray(brute_force.spins(8).T, float)
    sites = jnp.arange(8)
    for scale in (0.3, 3.0):
        natural = BETA * potential(scale=scale).natural()
        exact = jax.nn.sigmoid(2.0 * local_field(FULL, natural, x, sites))
        f = local_field(FULL, natural.astype(jnp.float32), x.astype(jnp.float32), sites)
        assert f.dtype == jnp.float32
        single = 1.0 / (1.0 + jnp.exp(-2.0 * f))
        np.testing.assert_allclose(np.asarray(single, float), exact, atol=2e-6)


def test_an_overwhelming_field_is_obeyed() -> None:
    """Exponents that overflow in 32 bits make no NaN."""
    h = jnp.tile(jnp.array([500.0, -500.0])[:, None], (4, 64))
    sampler = lattice_gibbs(FULL)
    state, _ = jax.jit(sampler.step)(
        jax.random.key(0), sampler.init(jax.random.key(1), 64), potential(), jnp.asarray(BETA), h
    )
    np.testing.assert_array_equal(state.x, jnp.sign(h))


def test_chains_do_not_see_each_other() -> None:
    sampler = lattice_gibbs(FULL)
    p = potential()
    state = sampler.init(jax.random.key(1), 32)
    step = jax.jit(sampler.step)
    other = ChainState(state.x.at[:, 0].set(-state.x[:, 0]))
    ends = [
        np.asarray(step(jax.random.key(2), s, p, jnp.asarray(BETA))[0].x) for s in (state, other)
    ]
    np.testing.assert_array_equal(ends[0][:, 1:], ends[1][:, 1:])


def test_one_sampler_a_basis() -> None:
    """The same object, so that compiled programs are found again."""
    same = SpinBasis(FULL.sites, FULL.features)
    assert lattice_gibbs(FULL) is lattice_gibbs(same)
    assert long_run(lattice_gibbs(FULL)) is long_run(lattice_gibbs(same))


def test_long_run_forgets_its_start() -> None:
    p = replace(potential(), field=jnp.asarray(-0.4))
    draw = jax.jit(long_run(lattice_gibbs(FULL), sweeps=100), static_argnums=3)
    x = draw(jax.random.key(3), p, jnp.asarray(BETA), 20_000)
    assert x.shape == (20_000, 8)
    check_states(x.T, -BETA * brute_force.energies(p))
