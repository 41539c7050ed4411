"""The main job: the paper's Ising study on shipped data, fitted, predicted and reported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.files import check_writable
from bayescg.infer.progress import Progress
from bayescg.workflow.numbers import key_numbers
from bayescg.workflow.prediction import predict
from bayescg.workflow.verbs import fit

__all__ = ["CASES", "run_demo"]

#: Name of each fit, its method and the model's options; the first is the one reported on.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ratio2_n20": ("mcem", ("ratio=2", "frames=20")),
    "ratio2_n20_normal": ("mcem", ("ratio=2", "frames=20", "prior=normal", "prior_scale=1.0")),
    "rem_literal": ("rem", ("ratio=2", "frames=20", "fine=majority", "ties=up")),
    "rem_fairer": ("rem", ("ratio=2", "frames=20", "fine=flip", "ties=random")),
    "ratio2_n5": ("mcem", ("ratio=2", "frames=5")),
    "ratio2_n100": ("mcem", ("ratio=2", "frames=100")),
    "ratio8_n20": ("mcem", ("ratio=8", "frames=20")),
}


def data_file() -> Path:
    """The shipped sweep, beside the package's source."""
    path = Path(__file__).parents[2] / "data" / "ising" / "sweep.nc"
    if not path.is_file():
        raise FileNotFoundError(
            "the demo needs data/ising/sweep.nc of the source tree; run it from a clone."
        )
    return path


def run_demo(
    folder: Path,
    *,
    quick: bool = False,
    cases: tuple[str, ...] = tuple(CASES),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
    write_report: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Run the fits of ``CASES``, predict each, and write results and the report to ``folder``.

    :param quick: every eighth field only.
    :return: ``files`` and ``numbers``.
    """
    data: str | xr.Dataset = str(data_file())  # by name, so that the results say what was fitted
    if quick:
        data = io.load(data).isel(mu=slice(0, None, 8))
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder / "report.html")
    files: list[str] = []
    numbers: dict[str, Any] = {"converged": 1}
    done = {}
    for i, name in enumerate(cases):
        method, options = CASES[name]
        say(
            f"[{i + 1}/{len(cases)}] {name}: fit ising -m {method} "
            + " ".join(f"-s {o}" for o in options)
        )
        result = fit("ising", data, method=method, options=options, progress=progress)
        draws = min(100, results.group(result, "posterior").sizes["draw"])
        result = predict(result, draws=draws, reference=data, progress=progress)
        path = folder / f"{name}.nc"
        results.save(result, path)
        files.append(str(path))
        done[name] = result
        found = key_numbers(result)
        numbers["converged"] = min(numbers["converged"], int(found["converged"]))
        keys = (
            "magnetization_rmse",
            "map_magnetization_rmse",
            "active_features_max",
            "magnetization_width_90",
        )
        numbers |= {f"{name}.{k}": found[k] for k in keys if k in found}
        numbers.setdefault("data.magnetization_rmse", found.get("data_magnetization_rmse", np.nan))
    if write_report is not None:
        path = folder / "report.html"
        write_report(list(done.values()), path, list(done))
        files.append(str(path))
    return {"files": files, "numbers": numbers}
