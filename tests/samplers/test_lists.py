"""Lists of near pairs: what they leave out, and what happens where a liquid gathers in drops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import InversePowers, LennardJones, ParticlePotential
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.samplers.forces import Lists, energy, forces, tabulate
from bayescg.samplers.lists import listed

BOX = (36.0, 36.0, 36.0)
SITES = 200
FLUID = ParticlePotential((LennardJones(0.75, 3.0, InversePowers(cutoff=5.0)),), BOX)


def gas() -> np.ndarray:
    """Sites far apart, ``(axis, site, chain)``."""
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3)[:SITES]
    rng = np.random.default_rng(0)
    return np.stack(
        [grid * 6.0 + rng.uniform(-1.0, 1.0, (SITES, 3)) for _ in range(3)], -1
    ).swapaxes(0, 1)


def drops() -> np.ndarray:
    """The same sites close together, as on a lattice of a liquid."""
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3)[:SITES]
    rng = np.random.default_rng(1)
    return np.stack(
        [grid * 3.2 + rng.uniform(-0.1, 0.1, (SITES, 3)) for _ in range(3)], -1
    ).swapaxes(0, 1)


@pytest.mark.parametrize("place", [gas, drops])
def test_with_lists_and_without_all_is_the_same(place) -> None:  # type: ignore[no-untyped-def]
    """To rounding; a drop has more neighbours than any list for the mean density has room for."""
    tables = tabulate(FLUID, jnp.asarray(1.7), jnp.float64)
    x = jnp.asarray(place())
    near = listed(tables, x, BOX).lists
    assert near.pairs is not None and near.rows is not None
    assert (int(near.rows) > len(near.pairs)) == (place is drops)
    for function in (energy, forces):
        by_list, every = function(tables, x, near), function(tables, x, Lists())
        np.testing.assert_allclose(by_list, every, rtol=1e-9, atol=1e-9)
    assert np.all(np.abs(energy(tables, x, near)) > 1.0)


def test_chains_of_drops_go_on() -> None:
    """No trajectory is taken for one that blew up because sites have many neighbours."""
    sampler = particle_sampler(SITES, BOX, Dynamics("langevin"))
    ready = sampler.prepare(FLUID, jnp.asarray(1.7))
    assert sampler.at is not None
    state = sampler.at(jax.random.key(0), jnp.asarray(drops()))
    step = jax.jit(sampler.step)
    for k in range(3):
        state, _ = step(jax.random.key(k), state, *ready)
    np.testing.assert_array_equal(state.failures, 0.0)
    assert np.all(np.any(np.asarray(state.x) != drops(), (0, 1)))
