"""Sweeps of p_c that each schedule needs to come as near to the exact MAP, and stay there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from bayescg.infer.marginal import log_posterior
from bayescg.infer.mcem import MCEMResult, run_mcem
from bayescg.infer.robbins_monro import RobbinsMonro
from bayescg.infer.schedules import Newton, Schedule
from bayescg.workflow import make_reference, make_system

NEAR = (1.0, 0.3, 0.1)  # posterior standard deviations, in the worst coordinate
SEEDS = 3
PAPER_ITERATIONS = 8000


def run() -> dict[str, Any]:
    """Default schedule against the paper's, on a well-conditioned and on a sloppy posterior."""
    return {f"normal(0, {scale:g})": compare(scale) for scale in (1.0, 10.0)}


def compare(scale: float, ratio: int = 8, mu: float = 0.2) -> dict[str, Any]:
    """Default schedule against the paper's, scaled and as printed, on a lattice that is enumerated.

    Every sweep of every chain of p_c counts, those that cool a chain as well. A run has arrived
    where it is near for the rest of its iterations: a noisy path comes near by chance, too. The
    ratio at a distance is of the medians over ``SEEDS`` runs.
    """
    data = make_reference("ising", [f"mu={mu}", "frames=20"], 0)
    system = make_system("ising", [f"ratio={ratio}", "prior=normal", f"prior_scale={scale}"], data)
    batch = system.batch(data)
    runs: dict[str, tuple[Schedule, int]] = {
        "default": (Newton(), 100),
        "paper": (RobbinsMonro(cooling=0.0), PAPER_ITERATIONS),
        "paper, as printed": (RobbinsMonro(form="literal", cooling=0.0), PAPER_ITERATIONS),
    }
    out: dict[str, Any] = {"lattice": f"n_c={64 // ratio}, mu={mu}, N=20", "near_sd": list(NEAR)}
    mode = sd = None
    for name, (schedule, iterations) in runs.items():
        rows, ends, totals = [], [], []
        for seed in range(1, SEEDS + 1):
            result = run_mcem(
                system.program,
                system.sampler,
                batch,
                jax.random.key(seed),
                schedule=schedule,
                tolerance=0.03,
                max_iterations=iterations,
            )
            if mode is None:
                mode, sd = exact(result, batch)
            far = np.abs((result.trace["u"][:, 0] - mode) / sd).max(1)
            rows.append([settled(result.trace["moves"], far, near) for near in NEAR])
            ends.append(float(far[-1]))
            totals.append(int(result.trace["moves"][-1]))
        out[name] = {
            "sweeps_until_near": [_finite(v) for v in np.median(rows, 0)],
            "sweeps_run": totals,
            "distance_at_the_end_sd": ends,
        }
    for name in ("paper", "paper, as printed"):
        # Where the paper's schedule never arrives, what it ran is a lower bound.
        most = max(out[name]["sweeps_run"])
        out[name]["ratio_to_default"] = [
            None if mine is None else (theirs or most) / mine
            for theirs, mine in zip(
                out[name]["sweeps_until_near"], out["default"]["sweeps_until_near"], strict=True
            )
        ]
        out[name]["ratio_is_a_lower_bound"] = [v is None for v in out[name]["sweeps_until_near"]]
    return out


def settled(moves: np.ndarray, far: np.ndarray, near: float) -> float:
    """Sweeps after which ``far`` stays below ``near``; infinite where it does not."""
    outside = np.flatnonzero(far >= near)
    first = 0 if not outside.size else outside[-1] + 1
    return float(moves[first]) if first < len(moves) else np.inf


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


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
