"""Every method on liquid hexane and on SPC/E water, as a user runs them: fit, then predict beside the reference.

``run`` takes DBI, IBI, IMC, REM, force matching and GYBG, some twenty minutes; ``posterior`` MC-EM, whose fits take
longer. Times are those of whole commands, their start and compilation included. RDFs are judged over 2.5 to 9
angstrom, or the cut-off. ``BAYESCG_SYSTEMS=water`` leaves out hexane, ``BAYESCG_RESULTS=FOLDER`` keeps the results.
"""

import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import xarray as xr

DATA = Path(__file__).parents[1] / "data"
WINDOW = (2.5, 9.0)  # angstrom
METHODS = ("dbi", "ibi", "imc", "rem", "fm", "ybg")
MATCHING = ("ibi", "imc", "rem")
POINT = ("dbi", *MATCHING)
#: Data, reference, and the limits of the project: seconds of a fit, rms of any distribution after it.
SYSTEMS = {
    "hexane": (DATA / "hexane" / "frames.nc", DATA / "hexane" / "long_run.nc", 300.0, 0.03),
    "water": (
        DATA / "spce_water" / "frames_512.nc",
        DATA / "spce_water" / "long_run_512.nc",
        300.0,
        0.01,
    ),
}
#: Iterations at most, on water: IBI to 0.02, the others in all.
ITERATIONS = {"ibi": 15, "imc": 8, "rem": 12}


def _bayescg(*words: str | Path) -> float:
    """Seconds that a command took; a fit that ends without convergence is a result too."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bayescg", *map(str, words), "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise RuntimeError(f"bayescg {words[0]}: {done.stderr.strip()}")
    return time.perf_counter() - began


def differences(predicted: xr.Dataset, reference: xr.Dataset) -> dict[str, float]:
    """Rms difference of each distribution: of g(r) in the window, of densities over their largest value."""
    out = {}
    for name in map(str, reference.data_vars):
        v = reference[name]
        if name not in predicted or name.endswith("_se") or v.ndim != 1:
            continue
        axis = str(v.dims[0])
        q = predicted[axis].values
        mean = predicted[name].mean(("chain", "draw")).values
        truth = np.interp(q, reference[axis].values, v.values)
        if name.startswith("rdf"):
            at, size = (q >= WINDOW[0]) & (q <= WINDOW[1]), 1.0
        elif name.startswith(("bond", "angle", "dihedral")):
            at, size = (truth > 0.0) | (mean > 0.0), float(truth.max())
        else:
            continue
        out[name] = float(np.sqrt(np.mean(((mean - truth)[at] / size) ** 2)))
    return out


def _first_below(trace: xr.Dataset, bar: float) -> int | None:
    """The iteration after which every distribution is nearer to its target than ``bar``."""
    rms = [trace[n].values.ravel() for n in trace.data_vars if str(n).startswith("rms ")]
    below = np.flatnonzero(np.max(rms, 0) <= bar)
    return int(below[0]) + 1 if below.size else None


def one(name: str, method: str, folder: Path) -> dict[str, Any]:
    """A method on a system: iterations, seconds, and what a prediction of the result is off."""
    data, reference, seconds, bar = SYSTEMS[name]
    result = folder / f"{name}-{method}.nc"
    target = ("-M", f"target={reference}") if method in POINT else ()
    fitted = _bayescg("fit", "molecular", "-d", data, "-m", method, *target, "-o", result)
    draws = () if method in POINT else ("--draws", "8")
    predicted = _bayescg("predict", result, "--reference", reference, *draws)
    tree = xr.load_datatree(result)
    groups = {k: v.to_dataset() for k, v in tree.children.items()}
    out: dict[str, Any] = {
        "fit, s": fitted,
        "fit over its limit": fitted / seconds,
        "prediction, s": predicted,
        "rms": differences(groups["posterior_predictive"], groups["reference"]),
    }
    if "em_trace" in groups and any(str(n).startswith("rms ") for n in groups["em_trace"]):
        trace = groups["em_trace"]
        out |= {
            "converged": bool(tree.attrs["converged"]),
            "iterations": int(tree.attrs["iterations"]),
            "iterations to 0.02": _first_below(trace, 0.02),
            "iterations to 0.01": _first_below(trace, 0.01),
            "started from": str(tree.attrs.get("started_from", "")),
        }
        if name == "water":
            needed = out["iterations to 0.02"] if method == "ibi" else out["iterations"]
            most = ITERATIONS[method]
            out["iterations over their limit"] = None if needed is None else needed / most
        out["rms over its limit"] = max(out["rms"].values()) / bar
    return out


def _all(methods: tuple[str, ...]) -> dict[str, Any]:
    kept = os.environ.get("BAYESCG_RESULTS")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(kept or temporary)
        for name in os.environ.get("BAYESCG_SYSTEMS", " ".join(SYSTEMS)).split():
            for method in methods:
                found[f"{name}, {method}"] = row = one(name, method, folder)
                print(json.dumps({f"{name}, {method}": row}), file=sys.stderr, flush=True)
    return found


def run() -> dict[str, Any]:
    """The methods that give a point, and those with a posterior in closed form."""
    return _all(METHODS)


def posterior() -> dict[str, Any]:
    """MC-EM, with beads as latent variables."""
    return _all(("mcem",))
