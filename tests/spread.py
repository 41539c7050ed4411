"""Small jobs laid out over devices: ``python -m tests.spread OUT DEVICES lattice|all [HOST:PORT COUNT INDEX]``."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

import bayescg as cg  # noqa: E402
from bayescg import devices  # noqa: E402
from bayescg.compiled import available  # noqa: E402
from bayescg.predict.particles import Production  # noqa: E402
from bayescg.samplers.tethers import Held  # noqa: E402
from bayescg.samplers.trajectories import forces_and_energy, trajectory  # noqa: E402
from bayescg.workflow import make_reference  # noqa: E402
from tests.systems import stand_in  # noqa: E402

SHORT = Production(warmup=10, measurements=2, thin=5)


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


@devices.laid_out
def kernels() -> dict[str, np.ndarray]:
    """Forces and trajectories of every kind of operand, and of two members of a sweep, by compiled kernels."""
    from tests.samplers import test_compiled as cases

    times = 8

    def more(a: jax.Array) -> jax.Array:
        wide = jnp.repeat(a, times, -1)
        return devices.over_devices(wide * (1.0 + 1e-3 * jnp.arange(wide.shape[-1], dtype=a.dtype)))

    x = more(cases.waters())
    v, h = 0.1 * x, jnp.full(x.shape[-1], 0.01, jnp.float32)
    out = {}
    for name in cases.CASES:
        tables, tether = cases.tables_of(name)
        if isinstance(tether, Held):
            tether = Held(x, devices.over_devices(jnp.repeat(tether.free, times, -1)))
        elif tether is not None:
            tether = jax.tree.map(more, tether)
        own = tables._replace(
            value=more(tables.value[:, None].repeat(3, 1)),
            slope=more(tables.slope[:, None].repeat(3, 1)),
            three_body=None
            if tables.three_body is None
            else more(tables.three_body[None].repeat(3)),
        )
        for what, these in (("", tables), (", own tables", own)):
            f, e = jax.jit(lambda x, t: forces_and_energy(these, x, t))(x, tether)  # noqa: B023
            out[f"forces, {name}{what}"], out[f"energy, {name}{what}"] = f, e

            def run(x, v, t):  # type: ignore[no-untyped-def]
                return trajectory(these, x, v, h, h, jax.random.key(4), 3, True, t)[0]  # noqa: B023

            out[f"trajectory, {name}{what}"] = jax.jit(run)(x, v, tether)
            members = jax.vmap(run, (0, 0, None))
            out[f"members, {name}{what}"] = jax.jit(members)(
                jnp.stack([x, x + 0.01]), jnp.stack([v, -v]), tether
            )
    return {k: devices.fetched(a) for k, a in out.items()}


def water() -> dict[str, np.ndarray]:
    """An iteration of MC-EM with latent sites in space, and a prediction from it."""
    data = cg.io.load("data/spce_water/frames.nc")
    system = cg.system("spce_water", data, frames=8, features=10, prior="normal")
    run = cg.mcem(
        system, data, max_iterations=1, free_chains=16, clamped_chains=2, warmup=0, information=0
    )
    fit = run.run(jax.random.key(5))
    # Of the same draws on any number of devices: trajectories of others, however near, soon are others.
    noise = np.random.default_rng(0).normal(size=(1, 8, 1, fit.mode.shape[1]))
    near = stand_in(system, fit.batch, fit.program, fit.mode.round(4) + 1e-3 * noise)
    predicted = cg.predict(near, ["rdf"], draws=8, production=SHORT)
    rdf = cg.results.group(predicted, "posterior_predictive")["rdf"]
    return {"water": fit.mode, "rdf": rdf.values}


if __name__ == "__main__":
    out, wanted, which, *where = sys.argv[1:]
    if where:
        devices.join(where[0], int(where[1]), int(where[2]), patience=120)
    devices.use_devices(int(wanted))
    found = lattice()
    if which == "all":
        found |= water() | (kernels() if available() else {})
    if devices.is_first():
        np.savez(out, **found)
