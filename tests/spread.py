"""One small job of each kind, laid out over devices: ``python -m tests.spread OUT DEVICES [HOST:PORT COUNT INDEX]``."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

import bayescg as cg  # noqa: E402
from bayescg import devices  # noqa: E402
from bayescg.potentials import InversePowers, LennardJones, ParticlePotential  # noqa: E402
from bayescg.samplers import Dynamics, particle_sampler  # noqa: E402
from bayescg.workflow import make_reference  # noqa: E402

EDGE = 12.0


def lattice() -> dict[str, np.ndarray]:
    """MC-EM, NUTS and a prediction of an Ising lattice."""
    data = make_reference("ising", ["n_f=16", "mu=0.3", "frames=8"], seed=1)
    system = cg.system("ising", data, ratio=2, L2=2, L3=1, prior="normal", prior_scale=1.0)
    em = cg.mcem(system, data, max_iterations=3, free_chains=64, clamped_chains=8, weights=False)
    fit = em.run(jax.random.key(0))
    chains = cg.nuts(system, data, chains=8, warmup=20, samples=5).run(jax.random.key(1))
    predicted = cg.predict(fit, ["magnetization"], draws=8)
    m = cg.results.group(predicted, "posterior_predictive")["magnetization"]
    return {"mode": fit.mode, "nuts": chains.draws, "magnetization": m.values}


def particles() -> dict[str, np.ndarray]:
    """Trajectories of a few particles, in the kernels where there are some, and what their pairs come to."""
    box = (EDGE, EDGE, EDGE)
    term = LennardJones(jnp.asarray(0.2), jnp.asarray(3.0), InversePowers(cutoff=5.0))
    potential = ParticlePotential((term,), box)
    sampler = particle_sampler(24, box, Dynamics(steps=5))
    state = devices.over_devices(sampler.init(jax.random.key(2), 16))
    ready = sampler.prepare(potential, jnp.asarray(1.6))

    @jax.jit
    def run(key, state):  # type: ignore[no-untyped-def]
        state = jax.lax.scan(
            lambda s, k: (sampler.step(k, s, *ready)[0], None), state, jax.random.split(key, 4)
        )[0]
        return state.x, devices.everywhere(potential.statistics(state.x.astype(float)))

    x, phi = run(jax.random.key(3), state)
    return {"x": devices.fetched(x), "statistics": devices.fetched(phi)}


if __name__ == "__main__":
    out, wanted, *where = sys.argv[1:]
    if where:
        devices.join(where[0], int(where[1]), int(where[2]), patience=30)
    devices.use_devices(int(wanted))
    found = lattice() | particles()
    if devices.is_first():
        np.savez(out, **found)
