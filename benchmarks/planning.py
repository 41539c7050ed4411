"""What ``bayescg plan`` says beside what fits and predictions then take, each in a process of its own."""

import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

from bayescg import results
from bayescg.infer.options import MCEMOptions
from bayescg.workflow.measuring import Cost
from bayescg.workflow.planning import Search

DATA = Path(__file__).parents[1] / "data"
CASES = {
    "ising": ("ising", "ising/sweep.nc", ("-s", "ratio=8", "-s", "mu=-1,0"), 200),
    "water": ("spce_water", "spce_water/frames.nc", ("-s", "frames=20"), 100),
    "nuts": (
        "ising",
        "ising/sweep.nc",
        ("-s", "ratio=8", "-s", "mu=-1,0", "-s", "prior=normal", "-m", "nuts"),
        200,
    ),
}
#: A process between, because the most memory of one that is started begins with that of its parent.
TIMED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({"code": done.returncode, "answer": done.stdout, "seconds": time.perf_counter() - began,
    "cpu_seconds": usage.ru_utime + usage.ru_stime, "bytes": unit * usage.ru_maxrss}))
"""


def run() -> dict[str, Any]:
    """Predicted and real seconds and bytes, and their ratios: of the expected fit, and of one of the real iterations.

    Compiled programs are kept in a folder that is empty before. A second plan finds them there.
    """
    chosen = [n for n in os.environ.get("BAYESCG_CASES", "").split(",") if n] or list(CASES)
    if unknown := [n for n in chosen if n not in CASES]:
        raise SystemExit(f"BAYESCG_CASES={unknown[0]}: known are {', '.join(CASES)}.")
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            out[name] = _case(Path(folder), name, *CASES[name])
            print(json.dumps({name: out[name]}), file=sys.stderr, flush=True)
    return out


def _case(
    folder: Path, name: str, model: str, data: str, words: tuple[str, ...], draws: int
) -> Any:
    path = folder / f"{name}.nc"
    what = (model, "-d", str(DATA / data), *words)
    first, _ = _bayescg(folder, "plan", *what, "--draws", str(draws))
    plan, took = _bayescg(folder, "plan", *what, "--draws", str(draws))
    _, fit = _bayescg(folder, "fit", *what, "-o", str(path))
    _, prediction = _bayescg(folder, "predict", str(path), "--draws", str(draws))
    own = _of_its_iterations(plan, results.load(path)) if plan["search"] else None
    return {
        "plan_seconds": {"first": first["plan_seconds"], "again": took["seconds"]},
        "iterations": {"predicted": plan["iterations"], "real": own and own[1]},
        "fit": _compared(plan["parts"]["fit"], fit, own and own[0]),
        "prediction": _compared(plan["parts"]["prediction"], prediction),
        "first_plan": {
            command: {"seconds": Cost(**cost).seconds(), "bytes": cost["peak"]}
            for command, cost in first["parts"].items()
        },
    }


def _bayescg(folder: Path, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer of a command, and what it took."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "XLA_FLAGS")
    } | {"XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "bayescg", *words, "--quiet", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", TIMED, *command],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    took = json.loads(done.stdout)
    answer = json.loads(took.pop("answer"))
    # A fit that did not converge has taken its time all the same.
    if took.pop("code") and "files" not in answer:
        raise RuntimeError(f"{words[0]}: {answer['error']}")
    return answer, took


def _of_its_iterations(plan: dict[str, Any], fitted: Any) -> tuple[float, int]:
    """Seconds of a search of the fit's own iterations and sweeps, by the plan's parts; and how many those were."""
    sweeps = [int(n) for n in results.group(fitted, "em_trace")["sweeps"].values]
    options = MCEMOptions(**json.loads(results.attrs(fitted)["method_options"]))
    search = Search(options.rule(), options.max_iterations, **plan["search"])
    return search.cost(sweeps, Cost(**plan["parts"]["fit"])).seconds(), len(sweeps)


def _compared(cost: dict[str, Any], real: dict[str, Any], own: float | None = None) -> Any:
    expected = Cost(**cost).seconds()
    out = {
        "seconds": {"predicted": expected, "real": real["seconds"]},
        "seconds_ratio": expected / real["seconds"],
        "cpu_seconds": real["cpu_seconds"],
        "bytes": {"predicted": cost["peak"], "real": real["bytes"]},
        "bytes_ratio": cost["peak"] / real["bytes"],
    }
    if own is not None:
        out["seconds_ratio_of_its_iterations"] = own / real["seconds"]
    return out
