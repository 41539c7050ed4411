"""Wall times of the main job's parts, against the limits that the project set itself."""

from pathlib import Path
import subprocess
import sys
import time
from typing import Any

from bayescg import io, workflow

DATA = Path(__file__).parents[1] / "data" / "ising" / "sweep.nc"


def run() -> dict[str, Any]:
    """One fit, the sweep, prediction, and help: seconds and the ratio to each limit."""
    sweep = io.load(DATA)
    options = ["ratio=2", "frames=20"]
    out: dict[str, Any] = {}

    def timed(name: str, limit: float, job: Any) -> Any:
        began = time.perf_counter()
        value = job()
        seconds = time.perf_counter() - began
        out[name] = {"seconds": seconds, "limit": limit, "ratio": seconds / limit}
        return value

    timed(
        "one fit (ratio 2, one mu)",
        60,
        lambda: workflow.fit("ising", sweep.isel(mu=[25]), options=options),
    )
    fit = timed("sweep of 41 (ratio 2)", 300, lambda: workflow.fit("ising", sweep, options=options))
    timed("prediction, 200 draws at 41 mu", 120, lambda: workflow.predict(fit, draws=200))
    timed(
        "bayescg --help",
        0.5,
        lambda: subprocess.run(
            [sys.executable, "-m", "bayescg", "--help"], check=True, capture_output=True
        ),
    )
    return out
