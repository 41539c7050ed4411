"""Every sampler keeps the form of ``bayescg.samplers.base``."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.samplers import (
    ChainInfo,
    ChainState,
    Sampler,
    enumerated_sampler,
    lattice_gibbs,
    transfer_matrix_sampler,
)
from tests.statistical import check_stationary
from tests.systems import BETA, ONE_SIDED, potential

SAMPLERS = {
    "lattice_gibbs": lattice_gibbs(ONE_SIDED),
    "enumerated": enumerated_sampler(ONE_SIDED),
    "transfer_matrix": transfer_matrix_sampler(ONE_SIDED),
}
CHAINS = 4
FIELDS = np.random.default_rng(9).normal(size=(2, 8))

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


@every_sampler
def test_signature(sampler: Sampler) -> None:
    assert list(inspect.signature(sampler.init).parameters) == ["key", "chains"]
    parameters = inspect.signature(sampler.step).parameters
    assert list(parameters) == ["key", "state", "potential", "beta", "field"]
    assert parameters["field"].default is None


@every_sampler
def test_start(sampler: Sampler) -> None:
    state = sampler.init(jax.random.key(0), CHAINS)
    assert isinstance(state, ChainState)
    assert state.x.shape == (8, CHAINS)
    assert np.all(np.abs(state.x) == 1.0)
    np.testing.assert_array_equal(state.x, sampler.init(jax.random.key(0), CHAINS).x)
    many = sampler.init(jax.random.key(0), 1000).x
    assert len(np.unique(many, axis=1).T) > 200  # chains start apart


@every_sampler
def test_step(sampler: Sampler) -> None:
    """Form and type stay, the key decides all, and the report is true."""
    p = potential(ONE_SIDED)
    state = sampler.init(jax.random.key(0), CHAINS)
    h = jnp.asarray(np.random.default_rng(1).normal(size=(8, CHAINS)))
    step = jax.jit(sampler.step)
    for field in (None, h):
        new, info = step(jax.random.key(1), state, p, jnp.asarray(BETA), field)
        assert isinstance(new, ChainState) and isinstance(info, ChainInfo)
        assert (new.x.shape, new.x.dtype) == (state.x.shape, state.x.dtype)
        assert np.all(np.abs(new.x) == 1.0)
        np.testing.assert_allclose(info.changed, np.mean(new.x != state.x))
        again, _ = step(jax.random.key(1), state, p, jnp.asarray(BETA), field)
        np.testing.assert_array_equal(again.x, new.x)
        other, _ = step(jax.random.key(2), state, p, jnp.asarray(BETA), field)
        assert np.any(other.x != new.x)


@every_sampler
def test_members_of_a_sweep_step_at_once(sampler: Sampler) -> None:
    potentials = [potential(ONE_SIDED, seed=s) for s in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *potentials)
    keys = jax.random.split(jax.random.key(2), 3)
    states = jax.vmap(lambda k: sampler.init(k, CHAINS))(keys)
    step = jax.jit(jax.vmap(lambda k, s, p: sampler.step(k, s, p, jnp.asarray(BETA))[0]))
    together = step(keys, states, stacked).x
    single = jax.jit(lambda k, s, p: sampler.step(k, s, p, jnp.asarray(BETA))[0])
    for j, p in enumerate(potentials):
        alone = single(keys[j], ChainState(states.x[j]), p).x
        np.testing.assert_array_equal(together[j], alone)


@every_sampler
@pytest.mark.parametrize("fields", [None, FIELDS], ids=["free", "in_fields"])
def test_stationary(sampler: Sampler, fields: np.ndarray | None) -> None:
    p = potential(ONE_SIDED)
    check_stationary(sampler, p, BETA, jax.random.key(0), fields, chains=5_000)
