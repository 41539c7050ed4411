"""One lattice model for all fields beside models of each field: magnetisation at fields without data.

Trained on 11 of the shipped 41 fields, and judged at the 30 others against the exact curve. The models beside it are
trained there, by the same method on as many frames. Predictions are exact for each draw, by a sum over coarse states.
"""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

import bayescg as cg
from bayescg.infer.fit import Fit
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.potentials.enumeration import all_spins
from bayescg.workflow.elsewhere import member_draws, members_elsewhere

DATA = "data/ising/sweep.nc"
TRAINED = "-4:4:11"
FRAMES = 20
RATIO = 8
EVERY = 10  # of the draws are predicted with

#: What may be asked of the model of all fields.
VARIANTS: dict[str, dict[str, Any]] = {
    "together": {},
    "together, deviation 0.3": {"deviation": 0.3},
    "together, no symmetry": {"symmetric": False},
    "together, degree 5": {"degree": 5},
}


def run() -> dict[str, Any]:
    """Errors, bands and times at the 30 fields, of each variant and of fits of each field."""
    data = cg.io.load(DATA)
    others = _others(data)
    out = {"data averages": _of_means(data, others)}
    for name, options in VARIANTS.items():
        out[name] = together(data, others, **options)
    return out | {"apart": apart(data, others)}


def together(data: xr.Dataset, others: np.ndarray, **options: Any) -> dict[str, float]:
    """One fit of the 11 fields, at the others."""
    system = cg.system(
        "ising", data, ratio=RATIO, prior="curve", frames=FRAMES, mu=TRAINED, **options
    )
    fit = NUTS(system, data, NUTSOptions(target_accept=0.95)).run(jax.random.key(0))
    u = _thinned(fit)
    here = members_elsewhere(system, fit.program, fit.batch, {"mu": others})
    u = member_draws(fit.program, jax.random.key(1), u, fit.batch, here)
    return _judged(fit, u, here.conditions, here.x[0], data, others)


def apart(data: xr.Dataset, others: np.ndarray, prior: str = "horseshoe") -> dict[str, float]:
    """A fit of each of the others."""
    words = ",".join(f"{mu:.12g}" for mu in others)
    system = cg.system("ising", data, ratio=RATIO, prior=prior, frames=FRAMES, mu=words)
    options = NUTSOptions(target_accept=0.99, warmup=500, samples=500)
    fit = NUTS(system, data, options).run(jax.random.key(0))
    return _judged(fit, _thinned(fit), fit.batch.conditions, fit.batch.x[0], data, others)


def _others(data: xr.Dataset) -> np.ndarray:
    every = data["mu"].values
    trained = np.linspace(-4.0, 4.0, 11)
    return every[~np.isclose(every[:, None], trained, atol=1e-6).any(1)]


def _thinned(fit: Fit) -> np.ndarray:
    """Draws ``(draw, member, u)``."""
    return fit.draws[:, ::EVERY].reshape(-1, *fit.draws.shape[2:])


def _judged(
    fit: Fit,
    u: np.ndarray,
    conditions: dict[str, np.ndarray],
    x: np.ndarray,
    data: xr.Dataset,
    others: np.ndarray,
) -> dict[str, float]:
    spins = jnp.asarray(all_spins(64 // RATIO), float)  # (site, state)
    example = jnp.asarray(x, float)

    def magnetisation(u: Array, given: dict[str, Array]) -> Array:
        p_c = fit.program.boltzmann(u, example, given)
        weight = jax.nn.softmax(-p_c.beta * p_c.potential(spins))
        p0 = fit.program.values(u, example, given)["p0"]
        return (2.0 * p0 - 1.0) * weight @ spins.mean(0)

    given = {k: jnp.asarray(v, float) for k, v in conditions.items()}
    each = jax.jit(jax.vmap(jax.vmap(magnetisation), (0, None)))
    found = np.asarray(each(jnp.asarray(u), given))  # (draw, member)
    exact = data["magnetization"].sel(mu=others).values
    low, high = np.quantile(found, [0.05, 0.95], axis=0)
    return {
        "rms_error": float(np.sqrt(np.mean((found.mean(0) - exact) ** 2))),
        "largest_error": float(np.abs(found.mean(0) - exact).max()),
        "held_by_90%_band": float(np.mean((low <= exact) & (exact <= high))),
        "mean_width": float(np.mean(high - low)),
        "seconds": fit.seconds,
        "r_hat": float(fit.attrs["r_hat"]),
        "fewest_effective_draws": float(fit.attrs["ess"]),
        "divergences": int(fit.groups["sample_stats"]["diverging"].values.sum()),
        "leapfrog_steps": float(fit.groups["sample_stats"]["num_steps"].values.mean()),
    }


def _of_means(data: xr.Dataset, others: np.ndarray) -> dict[str, float]:
    """The averages of the data that the others have."""
    here = data.sel(mu=others)
    gap = here["x"].isel(frame=slice(FRAMES)).mean(("frame", "site")) - here["magnetization"]
    return {"rms_error": float(np.sqrt((gap**2).mean()))}
