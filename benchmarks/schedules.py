"""Sweeps of p_c that each schedule needs to come as near to the exact MAP."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from bayescg.infer.estimates import COOLING
from bayescg.infer.marginal import log_posterior
from bayescg.infer.mcem import MCEMResult, run_mcem
from bayescg.infer.schedules import Newton, RobbinsMonro
from bayescg.workflow import make_reference, make_system

NEAR = 0.3  # posterior standard deviations, in the worst coordinate
PAPER_ITERATIONS = 3000


def run() -> dict[str, Any]:
    """Default schedule against the paper's, on a well-conditioned and on a sloppy posterior."""
    return {f"normal(0, {scale:g})": compare(scale) for scale in (1.0, 10.0)}


def compare(scale: float, ratio: int = 8, mu: float = 0.2) -> dict[str, Any]:
    """Default schedule against the paper's, scaled and as printed, on a lattice that is enumerated."""
    data = make_reference("ising", [f"mu={mu}", "frames=20"], 0)
    system = make_system("ising", [f"ratio={ratio}", "prior=normal", f"prior_scale={scale}"], data)
    batch = system.batch(data)
    runs = {
        "default": (Newton(), 60),
        "paper": (RobbinsMonro(), PAPER_ITERATIONS),
        "paper, as printed": (RobbinsMonro(form="literal"), PAPER_ITERATIONS),
    }
    out: dict[str, Any] = {
        "lattice": f"n_c={64 // ratio}, mu={mu}, N=20",
        "near_sd": NEAR,
    }
    mode = sd = None
    for name, (schedule, iterations) in runs.items():
        result = run_mcem(
            system.program,
            system.sampler,
            batch,
            jax.random.key(1),
            schedule=schedule,
            tolerance=0.03,
            max_iterations=iterations,
        )
        if mode is None:
            mode, sd = exact(result, batch)
        far = np.abs((result.trace["u"][:, 0] - mode) / sd).max(1)
        fresh = schedule.fresh_chains * COOLING
        moves = np.cumsum(schedule.free_chains * result.trace["sweeps"] + fresh)
        near = np.flatnonzero(far < NEAR)
        out[name] = {
            "sweeps_to_near": int(moves[near[0]]) if near.size else None,
            "sweeps_run": int(moves[-1]),
            "distance_at_the_end_sd": float(far[-1]),
        }
    best = out["default"]["sweeps_to_near"]
    for name in ("paper", "paper, as printed"):
        row = out[name]
        used = row["sweeps_to_near"] or row["sweeps_run"]
        row["ratio_to_default"] = None if best is None else used / best
        row["ratio_is_a_lower_bound"] = row["sweeps_to_near"] is None
    return out


def exact(result: MCEMResult, batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """The MAP by BFGS on the exact log posterior, and the posterior sd there."""
    x = jnp.asarray(batch.x[0], float)
    given = {k: jnp.asarray(v[0]) for k, v in batch.conditions.items()}

    def loss(u: jax.Array) -> jax.Array:
        return -log_posterior(result.program, u, x, given)

    both, hessian = jax.jit(jax.value_and_grad(loss)), jax.jit(jax.hessian(loss))
    found = scipy.optimize.minimize(
        lambda u: [np.asarray(a) for a in both(u)], result.u[0], jac=True, method="BFGS"
    )
    return found.x, np.sqrt(np.diag(np.linalg.inv(np.asarray(hessian(found.x)))))
