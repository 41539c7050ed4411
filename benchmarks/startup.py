"""What a command spends before it computes: import, and compilation on a first and on a second run.

The fit and the prediction of SPC/E water that ``bayescg demo`` makes, twice with one empty folder of compiled code
between them, and ``bayescg --help``. Compilation is what JAX says that it spent on tracing, lowering, compiling, and
reading what was compiled before; beside it stand the seconds of whole commands.

``python -m benchmarks startup``.
"""

import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "spce_water" / "frames.nc"
HELP = 0.3  # s
SHARE = 0.2  # of a second fit

COMMAND = """
import json, sys, time
spent = {}
import jax

def listen(event, seconds, **_):
    if event.startswith(("/jax/core/compile/", "/jax/compilation_cache/cache_retrieval")):
        spent[event.rsplit("/", 1)[-1]] = spent.get(event.rsplit("/", 1)[-1], 0.0) + seconds

jax.monitoring.register_event_duration_secs_listener(listen)
from bayescg.cli import main
began = time.perf_counter()
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps({"seconds": time.perf_counter() - began, **spent}), file=sys.stderr)
sys.exit(code)
"""


def _command(folder: str, *words: str) -> dict[str, Any]:
    env = {k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words, "--quiet"],
        env=env | {"XDG_CACHE_HOME": folder},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"bayescg {words[0]} failed:\n{done.stderr}")
    spent: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    seconds = spent.pop("seconds")
    return {"seconds": seconds, **spent, "share": sum(spent.values()) / seconds}


def run() -> dict[str, Any]:
    """Seconds, and the share of compilation beside its limit."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bayescg", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    out: dict[str, Any] = {"bayescg --help": {"seconds": min(times), "limit": HELP}}
    with tempfile.TemporaryDirectory() as folder:
        result = str(Path(folder) / "water.nc")
        for turn in ("first", "second"):
            fit = ("fit", "spce_water", "-d", str(DATA), "-s", "frames=20", "-o", result)
            out[f"{turn} fit"] = _command(folder, *fit)
            predict = ("predict", result, "--draws", "100", "-o", result + ".predicted.nc")
            out[f"{turn} prediction"] = _command(folder, *predict)
            print(json.dumps(out), file=sys.stderr, flush=True)
    out["second fit"]["limit"] = SHARE
    return out
