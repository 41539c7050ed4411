"""SPC/E water: how well, how fast and in how much memory, against the limits that the project set itself.

``run`` fits 20 frames, predicts 100 draws and compares with the reference; ``intervals`` does so for ten
disjoint sets of 20 frames, each fitted on its own (an hour), ``frames`` for 10, 20 and 100 frames (half an
hour).
"""

import json
from pathlib import Path
import resource
import sys
import time
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayescg import io, mcem, predict, results, system
from bayescg.observables import rdf

DATA = Path(__file__).parents[1] / "data" / "spce_water" / "frames.nc"
WINDOW = (2.4, 7.2)  # angstrom
FRAMES, SETS, DRAWS = 20, 10, 100
MOST = {
    "fit, s": 600.0,
    "prediction, s": 300.0,
    "peak memory, GB": 4.0,
    "rdf rmse": 0.06,
    "first peak, relative": 0.05,
    "its place, angstrom": 0.05,
    "adf rmse, relative": 0.10,
    "its width over the frames' own": 2.0,
}
LEAST = {"features switched off": 70.0}
COVERS = (0.65, 0.95)  # of the bins, on average over sets


def _numbers(idata: Any, data: xr.Dataset) -> dict[str, float]:
    """What a prediction is judged by."""
    predicted, reference = (results.group(idata, g) for g in ("posterior_predictive", "reference"))
    r = predicted["r"].values
    at = (r > WINDOW[0]) & (r < WINDOW[1])
    truth = reference["rdf"].values
    draws = predicted["rdf"].stack(s=("chain", "draw")).transpose("s", ...).values
    mean, (low, high) = draws.mean(0), np.quantile(draws, [0.1, 0.9], axis=0)
    each = np.asarray(
        rdf().in_box(tuple(data["box"].values))(jax.numpy.asarray(data["x"].values.T))
    )
    raw = 2 * 1.2816 * each.std(-1, ddof=1) / np.sqrt(each.shape[-1])
    angles, angles_true = predicted["adf"].mean(("chain", "draw")).values, reference["adf"].values
    return {
        "rdf rmse": float(np.sqrt(np.mean((mean - truth)[at] ** 2))),
        "rdf rmse of the frames": float(np.sqrt(np.mean((each.mean(-1) - truth)[at] ** 2))),
        "first peak, relative": float(mean.max() / truth.max() - 1.0),
        "its place, angstrom": float(r[mean.argmax()] - r[truth.argmax()]),
        "adf rmse, relative": float(
            np.sqrt(np.mean((angles - angles_true) ** 2)) / angles_true.mean()
        ),
        "10-90 % band covers": float(np.mean(((truth >= low) & (truth <= high))[at])),
        "its width": float(np.mean((high - low)[at])),
        "its width over the frames' own": float(np.mean((high - low)[at]) / np.mean(raw[at])),
    }


def _one(frames: slice, seed: int = 0) -> dict[str, float]:
    data = io.load(DATA).isel(frame=frames)
    water = system("spce_water", data)
    began = time.perf_counter()
    fit = mcem(water, data).run(jax.random.key(seed))
    fitted = time.perf_counter()
    idata = predict(fit, draws=DRAWS, reference=io.load(DATA))
    theta = results.group(idata, "map")["theta_c"].values
    return {
        "fit, s": fitted - began,
        "prediction, s": time.perf_counter() - fitted,
        "converged": float(fit.converged.all()),
        "features switched off": float(np.sum(np.abs(theta) < 1e-2)),
        **_numbers(idata, data),
    }


def run() -> dict[str, Any]:
    """One set: numbers, and their ratios to the limits."""
    found = _one(slice(FRAMES))
    found["peak memory, GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return _beside(found)


def _beside(found: dict[str, float]) -> dict[str, Any]:
    """Values, and beside those that have a limit what part of it they use; up to 1 is kept."""
    out: dict[str, Any] = {}
    for k, v in found.items():
        if k in MOST:
            out[k] = {"value": v, "limit": MOST[k], "ratio": abs(v) / MOST[k]}
        elif k in LEAST:
            out[k] = {"value": v, "limit": LEAST[k], "ratio": LEAST[k] / max(v, 1e-9)}
        else:
            out[k] = v
    return out


def intervals() -> dict[str, Any]:
    """Ten disjoint sets of consecutive frames: each (on stderr as it is done), and their mean."""
    rows = []
    for number in range(SETS):
        found = _one(slice(number * FRAMES, (number + 1) * FRAMES), seed=number)
        rows.append(found)
        print(json.dumps({"set": number, **found}), file=sys.stderr, flush=True)
    mean = {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}
    covers = mean["10-90 % band covers"]
    return {
        "sets": rows,
        "mean": _beside(mean),
        "covers, allowed": COVERS,
        "covers as it should": bool(COVERS[0] <= covers <= COVERS[1]),
    }


def frames() -> dict[str, Any]:
    """10, 20 and 100 frames: whether the band narrows, and how fast against 1 / sqrt(N)."""
    rows = {}
    for count in (10, 20, 100):
        rows[count] = _one(slice(count))
        print(json.dumps({"frames": count, **rows[count]}), file=sys.stderr, flush=True)
    width = {n: row["its width"] for n, row in rows.items()}
    return {
        "frames": rows,
        "band narrows": bool(width[10] > width[20] > width[100]),
        "narrowing over that of 1 / sqrt(N)": {
            f"{a} to {b}": width[a] / width[b] / (b / a) ** 0.5 for a, b in ((10, 20), (20, 100))
        },
    }
