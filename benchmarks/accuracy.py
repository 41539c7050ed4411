"""The paper's Ising study against the bars that the project set itself, one verdict each."""

from pathlib import Path
import sys
from typing import Any

import numpy as np

from bayescg import results
from bayescg.workflow import key_numbers
from bayescg.workflow.demo import CASES, run_demo

FOLDER = Path("demo") / "ising"
FIELDS = 41


def run() -> dict[str, Any]:
    """Every bar from the result files of the last ``make demo-ising``, which is run where they are missing."""
    paths = {name: FOLDER / f"{name}.nc" for name in CASES}
    if not all(p.is_file() for p in paths.values()):
        run_demo(FOLDER, say=lambda text: print(text, file=sys.stderr))
    found = {name: results.load(path) for name, path in paths.items()}
    fields = {results.group(r, "posterior").sizes["mu"] for r in found.values()}
    if fields != {FIELDS}:
        sys.exit(
            f"{FOLDER} holds fits of {fields} fields, and not of {FIELDS}: run make demo-ising."
        )
    numbers = {name: key_numbers(result) for name, result in found.items()}
    error = {name: n["magnetization_rmse"] for name, n in numbers.items()}
    at_map = {name: n.get("map_magnetization_rmse", error[name]) for name, n in numbers.items()}
    width = {name: n.get("magnetization_width_90", 0.0) for name, n in numbers.items()}
    spread = {
        name: float(results.group(found[name], "posterior")["p0"].std(("chain", "draw")).mean())
        for name in ("ratio2_n5", "ratio2_n20", "ratio2_n100")
    }
    ours, data = error["ratio2_n20"], numbers["ratio2_n20"]["data_magnetization_rmse"]
    free = results.group(found["ratio2_n20_normal"], "posterior")["theta_c"]
    return {
        "error, relative to that of the data averages": _below(ours / data, 1.15),
        "error, relative to literal REM's": _below(ours / error["rem_literal"], 1.0 / 3.0),
        "error, relative to the fairer REM's": _below(ours / error["rem_fairer"], 1.0),
        "active features under ARD, most at one field": _below(
            numbers["ratio2_n20"]["active_features_max"], 5
        ),
        "features that are zero without ARD": _below(
            int((np.abs(free.mean(("chain", "draw"))) <= 1e-6).sum()), 0
        ),
        "error at the MAP, relative to that without ARD": _below(
            at_map["ratio2_n20"] / at_map["ratio2_n20_normal"], 1.1
        ),
        "error of the posterior mean, relative to that without ARD": _below(
            ours / error["ratio2_n20_normal"], 1.1
        ),
        "width of the 90 % band, N = 20 relative to 5": _below(
            width["ratio2_n20"] / width["ratio2_n5"], 1.0
        ),
        "width of the 90 % band, N = 100 relative to 20": _below(
            width["ratio2_n100"] / width["ratio2_n20"], 1.0
        ),
        "width of the 90 % band, ratio 2 relative to 8": _below(
            width["ratio2_n20"] / width["ratio8_n20"], 1.0
        ),
        "posterior sd of p0, N = 20 relative to 5": _below(
            spread["ratio2_n20"] / spread["ratio2_n5"], 1.0
        ),
        "posterior sd of p0, N = 100 relative to 20": _below(
            spread["ratio2_n100"] / spread["ratio2_n20"], 1.0
        ),
    }


def _below(value: float, bar: float) -> dict[str, Any]:
    return {"value": float(value), "at most": bar, "met": bool(value <= bar)}
