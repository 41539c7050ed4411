"""SPC/E water: the whole posterior by NUTS, with latents sampled and log Z learned, beside Laplace's approximation.

Both fit the same 20 frames under the same proper priors. Told are R-hat and the effective sample size of every
parameter and of the potential at every r, and both posteriors' bands of it, which ``docs/intervals_figures.py``
draws. ``BAYESCG_NUTS`` may hold other options of NUTS, as ``samples=500``. Both results are left in the folder where
it is run, ``water_laplace.nc`` and ``water_nuts.nc``.
"""

import json
import os
import sys
import time
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayescg import mcem, results, to_inference_data
from bayescg.infer.nuts_run import nuts
from bayescg.workflow.registry import make_system
from benchmarks.water import DATA, FRAMES

MOST = {"R-hat": 1.02, "minutes": 30.0}
LEAST = {"effective draws": 200.0}
LEVELS = (0.1, 0.5, 0.9)


def _curves(idata: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distances and the potential's 10, 50 and 90 % quantiles there, ``(level, r)``, kcal/mol."""
    u = results.group(idata, "posterior")["pair_potential"]
    draws = u.stack(s=("chain", "draw")).transpose("s", "r").values
    return u["r"].values, np.quantile(draws, LEVELS, axis=0)


def _mixing(idata: Any) -> dict[str, float]:
    """The worst R-hat and effective sample sizes of parameters, and of the potential where it varies."""
    posterior = results.group(idata, "posterior")[
        ["theta_c", "epsilon", "sigma", "sigma2", "pair_potential"]
    ]
    found = results.diagnostics(posterior)
    out = {}
    for name, best in (("r_hat", np.nanmax), ("ess_bulk", np.nanmin), ("ess_tail", np.nanmin)):
        for v in posterior.data_vars:
            out[f"{name} {v}"] = float(best(np.asarray(found[name][v])))
    return out


class Lines:
    """Progress on standard error, a line each."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        words = "  ".join(f"{k} {v:.3g}" for k, v in numbers.items())
        print(
            f"{time.perf_counter() - self.began:6.0f} s  {task} {done:.0%}  {words}",
            file=sys.stderr,
            flush=True,
        )


def run() -> dict[str, Any]:
    """Fit both, and compare them."""
    with xr.open_dataset(DATA) as data:
        data = data.load()
    system = make_system("spce_water", [f"frames={FRAMES}"], data, "nuts")
    began = time.perf_counter()
    approximate = to_inference_data(mcem(system, data).run(jax.random.key(0)))
    results.save(approximate, "water_laplace.nc")
    seconds = {"laplace": time.perf_counter() - began}
    options = dict(o.split("=") for o in os.environ.get("BAYESCG_NUTS", "").split())
    began = time.perf_counter()
    # NUTS starts with the same approximation, and takes it from there.
    chosen = {k: type_of(v) for k, v in options.items()} | {"start": "water_laplace.nc"}
    fit = nuts(system, data, **chosen).run(jax.random.key(0), progress=Lines())
    sampled = to_inference_data(fit)
    seconds["nuts"] = time.perf_counter() - began
    results.save(sampled, "water_nuts.nc")
    return {
        "seconds": seconds,
        "messages": list(fit.messages),
        "most": MOST,
        "least": LEAST,
        **compared(sampled, approximate),
    }


def compared(sampled: Any, approximate: Any) -> dict[str, Any]:
    """How well NUTS mixed, and where the two posteriors differ.

    :param sampled: the result of NUTS; ``approximate`` that of MC-EM with Laplace's approximation.
    """
    r, exact = _curves(sampled)
    _, normal = _curves(approximate)
    width = exact[2] - exact[0]
    seen = (r >= 2.5) & (width > 0.0)
    parameters = {}
    for name in ("epsilon", "sigma", "sigma2"):
        one, other = (
            results.group(i, "posterior")[name].values.ravel() for i in (sampled, approximate)
        )
        parameters[name] = {
            "nuts": [float(one.mean()), float(one.std())],
            "laplace": [float(other.mean()), float(other.std())],
        }
    told = results.attrs(sampled)
    return {
        "mixing": _mixing(sampled),
        "log Z": {k: v for k, v in told.items() if k.startswith("log_partition")},
        "parameters": parameters,
        "band": {
            "mean width of 10-90 %, kcal/mol, nuts": float(width[seen].mean()),
            "laplace over nuts": float((normal[2] - normal[0])[seen].mean() / width[seen].mean()),
            "medians apart, root-mean-square in widths": float(
                np.sqrt(np.mean(((normal[1] - exact[1])[seen] / width[seen]) ** 2))
            ),
        },
        "levels": LEVELS,
        "r": np.round(r, 4).tolist(),
        "nuts": np.round(exact, 4).tolist(),
        "laplace": np.round(normal, 4).tolist(),
    }


def type_of(value: str) -> Any:
    """A number, or the word as it is."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
