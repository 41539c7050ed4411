"""Every Laplace form against exact NUTS, where the posterior can be evaluated."""

from typing import Any

import jax
import numpy as np

from bayescg.infer.laplace import FORMS, laplace, weigh
from bayescg.infer.mcem import run_mcem
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.workflow import make_reference, make_system

FIELDS = (0.2, 1.0)
DRAWS = 2000


def run() -> dict[str, Any]:
    """``complete`` and ``observed``, plain, with exact weights and with estimated ones."""
    return {f"mu={mu}": compare(mu) for mu in FIELDS}


def compare(mu: float, ratio: int = 8) -> dict[str, Any]:
    """Means and widths of each form in units of the exact posterior's, worst coordinate each."""
    data = make_reference("ising", [f"mu={mu}", "frames=20"], 0)
    system = make_system("ising", [f"ratio={ratio}", "prior=normal", "prior_scale=1.0"], data)
    batch = system.batch(data)
    keys = jax.random.split(jax.random.key(3), 4)
    fit = NUTS(system, data, NUTSOptions(samples=2000)).run(keys[0])
    whole = fit.draws.reshape(-1, fit.draws.shape[-1])
    result = run_mcem(system.program, system.sampler, batch, keys[1], tolerance=0.03)
    out: dict[str, Any] = {}
    for form in FORMS:
        normal = laplace(
            result.program, result.estimates, result.u, batch.x, batch.conditions, form
        )
        if not normal.definite[0]:
            out[form] = "indefinite"
            continue
        for name, sampler in (("exact weights", None), ("estimated weights", system.sampler)):
            weighted = weigh(
                result.program,
                normal,
                keys[2],
                DRAWS,
                batch.x,
                batch.conditions,
                sampler=sampler,
            )
            out[form] = _against(whole, weighted.draws[0])
            out[f"{form}, {name}"] = {
                **_against(whole, weighted.resampled[0]),
                "khat": float(weighted.khat[0]),
            }
    return out


def _against(whole: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    sd = whole.std(0)
    width = draws.std(0) / sd
    return {
        "mean_off_by_sd": float(np.abs((draws.mean(0) - whole.mean(0)) / sd).max()),
        "narrowest": float(width.min()),
        "widest": float(width.max()),
    }
