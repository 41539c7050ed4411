"""The report of SPC/E water: seconds to write it, its size, and seconds until a browser has opened it.

The fit and the prediction that ``bayescg demo`` makes, reported on as the demo does. A page counts as open when the
browser's load event has ended; that does not wait until anything is drawn, so the first frame after it is timed too.
Each opening is of a new browser with an empty profile. Needs Chromium.

``python -m benchmarks report``.
"""

from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from tests.report.browser import program, started

FOLDER = Path(__file__).parents[1] / "data" / "spce_water"
OPENINGS = 5
MOST = {"size, MB": 5.0, "until loaded, s": 2.0, "until drawn, s": 2.0}
#: Both in ms since the navigation began; the second frame after a load is drawn with the page in it.
TIMES = """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(
  [performance.getEntriesByType('navigation')[0].loadEventEnd, performance.now()]))))"""


def _command(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bayescg", *words, "--quiet"], check=True)
    return time.perf_counter() - began


def opened(path: Path, times: int = OPENINGS) -> dict[str, float]:
    """Medians over openings, seconds.

    :param path: of a report.
    :raises RuntimeError: where there is no Chromium.
    """
    executable = program()
    if executable is None:
        raise RuntimeError("timing how a report opens needs Chromium.")
    found = []
    for _ in range(times):
        with started(executable) as browser:
            page = browser.page()
            page.open(path)
            found.append(page.run(TIMES))
    loaded, drawn = np.median(found, axis=0) / 1000.0
    return {"until loaded, s": float(loaded), "until drawn, s": float(drawn)}


def run() -> dict[str, Any]:
    """Each number beside its limit."""
    with tempfile.TemporaryDirectory() as folder:
        result, page = Path(folder) / "water.nc", Path(folder) / "report.html"
        data = str(FOLDER / "frames.nc")
        _command("fit", "spce_water", "-d", data, "-s", "frames=20", "-o", str(result))
        reference = ("--reference", str(FOLDER / "long_run.nc"))
        _command("predict", str(result), "--draws", "100", *reference)
        out: dict[str, Any] = {
            "bayescg report, s": _command("report", str(result), "-o", str(page))
        }
        found = {"size, MB": page.stat().st_size / 1e6, **opened(page)}
    return out | {k: {"value": v, "at most": MOST[k]} for k, v in found.items()}
