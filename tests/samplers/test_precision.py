"""Particles move in single precision: what that leaves of averages, and the switch that has them move in double."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials.counting import Nodes, count_pairs
from bayescg.samplers import Dynamics, particle_sampler, usual_precision
from tests.liquids import BETA, BOX, SITES, water
from tests.statistical import check_z

CHAINS, WARMUP, SAMPLES = 32, 80, 60


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAYESCG_PRECISION", raising=False)
    assert usual_precision() == Dynamics().precision == "single"
    monkeypatch.setenv("BAYESCG_PRECISION", "double")
    assert usual_precision() == Dynamics().precision == "double"
    state = particle_sampler(8, BOX).init(jax.random.key(0), 2)
    assert {a.dtype for a in state} == {jnp.dtype(float)}
    assert Dynamics(precision="single").precision == "single"
    monkeypatch.setenv("BAYESCG_PRECISION", "half")
    with pytest.raises(ValueError, match="precision must be one of single, double, got 'half'"):
        Dynamics()


def averages(precision: str, seed: int) -> np.ndarray:
    """Pairs by distance of every chain, ``(node, chain)``, of a water with three-body terms."""
    sampler = particle_sampler(SITES, BOX, Dynamics("langevin", precision=precision))  # type: ignore[arg-type]
    ready = sampler.prepare(water(20), jnp.asarray(BETA))
    nodes = Nodes(1.5, 0.5, 11, "nearest", "dropped")

    @jax.jit
    def run(key, state):  # type: ignore[no-untyped-def]
        def move(state, k):  # type: ignore[no-untyped-def]
            state, _ = sampler.step(k, state, *ready)
            return state, count_pairs(state.x.astype(float), BOX, nodes)[0]

        return jax.lax.scan(move, state, jax.random.split(key, WARMUP + SAMPLES))[1]

    first, key = jax.random.split(jax.random.key(seed))
    counts = np.asarray(run(key, sampler.init(first, CHAINS)))
    return counts[WARMUP:].mean(0)


@pytest.mark.by_hand
def test_averages_do_not_notice() -> None:
    """By single and by double precision, ten distances at once, with the errors that 32 chains each tell."""
    single, double = averages("single", 0), averages("double", 1)
    assert single.shape == (11, CHAINS)
    seen = single.mean(1) + double.mean(1) > 0.0
    error = np.sqrt((single.var(1, ddof=1) + double.var(1, ddof=1)) / CHAINS)
    assert seen.sum() >= 9 and np.all(error[seen] < 0.02 * single.max())
    check_z(single.mean(1)[seen], double.mean(1)[seen], error[seen], 2 * (CHAINS - 1))
