"""Simulations of a given length: how much they give, whether it is right, and what blew up."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.samplers import Dynamics, simulate
from tests.samplers.fluids import FLUID, FLUID_BOX, FLUID_SITES, prepare, run
from tests.samplers.test_particles import HMC
from tests.statistical import check_z

CHAINS = 16
DYNAMICS = Dynamics("langevin", first=0.03)


def starts() -> np.ndarray:
    """Chains of HMC that have come to rest, ``(chain, site, axis)``."""
    state = HMC.init(jax.random.key(5), CHAINS)
    state, _ = run(HMC, state, prepare(HMC, FLUID), 100, jax.random.key(6))
    return np.array(state.x).T


def simulated(x: np.ndarray, **how: Any) -> list[np.ndarray]:
    return list(simulate(FLUID_BOX, DYNAMICS, jax.random.key(0), x, FLUID, 1.0, **how))


@pytest.mark.slow
def test_lengths_and_progress() -> None:
    """As many configurations as intervals, an interval of motion apart, and both stages told to their end."""
    told: list[tuple[str, float]] = []
    frames = simulated(
        starts(),
        equilibration=20.0,
        length=12.0,
        interval=3.0,
        progress=lambda *a: told.append(a),
    )
    assert len(frames) == 4 and all(f.shape == (CHAINS, FLUID_SITES, 3) for f in frames)
    assert [t for t in told if t[0] == "production"][-1][1] == 1.0
    assert [t for t in told if t[0] == "equilibration"][-1][1] == 1.0
    moved = np.abs(frames[1] - frames[0]).mean()
    assert 0.1 < moved < 3.0


def test_it_samples_what_hmc_does() -> None:
    """Mean energies, each with the error of its chains' spread (df 15): false failures as in ``check_z``."""
    prepared = prepare(HMC, FLUID)
    energy = jax.jit(jax.vmap(lambda x: FLUID(jnp.asarray(x, float))))
    frames = simulated(starts(), equilibration=20.0, length=200.0, interval=2.0)
    found = np.stack([energy(f) for f in frames])
    state = HMC.init(jax.random.key(7), CHAINS)
    state, _ = run(HMC, state, prepared, 100, jax.random.key(8))
    exact = []
    for k in range(100):
        state, _ = run(HMC, state, prepared, 5, jax.random.key(9 + k))
        exact.append(energy(np.asarray(state.x).T))
    a, b = found.mean(0), np.stack(exact).mean(0)
    error = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / CHAINS)
    check_z(a.mean(), b.mean(), error, 2 * CHAINS - 2)


def test_what_blew_up_is_said() -> None:
    x = starts()
    x[:, 1] = x[:, 0] + 1e-3
    with pytest.raises(FloatingPointError, match="blew up"):
        simulated(x, equilibration=0.0, length=10.0, interval=1.0)
