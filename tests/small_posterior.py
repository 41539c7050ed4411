"""A posterior of three parameters, small enough for quadrature: four coarse spins, two features and p0."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.begin import program_of
from bayescg.infer.marginal import log_posterior
from bayescg.infer.program import Program
from bayescg.system import System
from models import ising

MADE = {"n_f": 8, "L_f": 4}
#: Half the width and the number of points in each unconstrained coordinate: p0 has the tails of a logistic.
GRID = {"p0": (16.0, 81), "theta_c[0]": (5.5, 41), "theta_c[1]": (5.5, 41)}


class Exact(NamedTuple):
    """Of the posterior in unconstrained coordinates."""

    log_evidence: float
    mean: np.ndarray  # (u,)
    sd: np.ndarray  # (u,)


@cache
def data(frames: int = 20) -> xr.Dataset:
    """Frames of the fine lattice."""
    return ising.reference(ising.Options(**MADE, mu="0.3", frames=frames), jax.random.key(1))


def system(**options: Any) -> System:
    """The coarse lattice, under normal(0, 1) unless told otherwise."""
    told = {"ratio": 2, "L2": 1, "L3": 0, "prior": "normal", "prior_scale": 1.0} | options
    return ising.system(ising.Options(**MADE, **told))


@cache
def read() -> tuple[Program, Any, dict[str, Any]]:
    """The program, its frames and its conditions."""
    batch = system().batch(data())
    given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    return program_of(system(), batch), jnp.asarray(batch.x[0], float), given


@cache
def exact() -> Exact:
    """By the trapezium rule, which for a smooth density that vanishes at the ends is exact to round-off."""
    program, x, conditions = read()
    axes = [np.linspace(-half, half, n) for half, n in (GRID[k] for k in program.labels)]
    u = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], 1)

    @jax.jit
    def density(u: Any) -> Any:
        def one(v: Any) -> Any:
            return log_posterior(program, v, x, conditions) + program.log_jacobian(v)

        return jax.lax.map(one, u, batch_size=512)

    value = np.asarray(density(jnp.asarray(u)))
    weights = np.exp(value - value.max())
    cell = np.prod([a[1] - a[0] for a in axes])
    mean = weights @ u / weights.sum()
    sd = np.sqrt(weights @ (u - mean) ** 2 / weights.sum())
    return Exact(float(value.max() + np.log(weights.sum() * cell)), mean, sd)
