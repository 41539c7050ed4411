"""The paper's two studies on shipped data, fitted, predicted and reported: water and Ising."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.files import check_writable
from bayescg.infer.progress import Progress
from bayescg.predict import Production
from bayescg.workflow.numbers import key_numbers
from bayescg.workflow.prediction import predict
from bayescg.workflow.verbs import fit

__all__ = ["CASES", "SYSTEMS", "WATER", "files_of", "run_demo", "run_water"]

#: The demos by name, the main job first, and the folder that each writes by default.
SYSTEMS = {"water": Path("demo"), "ising": Path("demo/ising")}

#: Name of each fit of the Ising study, its method and the model's options; the first is reported on.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ratio2_n20": ("mcem", ("ratio=2", "frames=20")),
    "ratio2_n20_normal": ("mcem", ("ratio=2", "frames=20", "prior=normal", "prior_scale=1.0")),
    "rem_literal": ("rem", ("ratio=2", "frames=20", "fine=majority", "ties=up")),
    "rem_fairer": ("rem", ("ratio=2", "frames=20", "fine=flip", "ties=random")),
    "ratio2_n5": ("mcem", ("ratio=2", "frames=5")),
    "ratio2_n100": ("mcem", ("ratio=2", "frames=100")),
    "ratio8_n20": ("mcem", ("ratio=8", "frames=20")),
}

#: Name of the water fit, the model's options and the method's, and the draws that are predicted.
WATER: tuple[str, tuple[str, ...], tuple[str, ...], int] = ("water", ("frames=10",), (), 32)
#: The same to see it run; what it finds means nothing.
QUICK_WATER = ("water", ("frames=5",), ("tolerance=2", "max_iterations=40"), 4)
QUICK_PRODUCTION = Production(warmup=10, measurements=4, thin=2)
RANGE = (2.4, 7.2)  # angstrom, over which RDFs are compared
ACTIVE = 0.01  # kcal/mol, below which a coefficient counts as switched off


def data_file(folder: str, name: str) -> Path:
    """A shipped data file, beside the package's source.

    :raises FileNotFoundError: outside of a source tree, which holds the data.
    """
    path = Path(__file__).parents[2] / "data" / folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"the demo needs data/{folder}/{name} of the source tree; run it from a clone."
        )
    return path


def files_of(system: str, folder: Path) -> list[Path]:
    """The files that a demo writes."""
    names = list(CASES) if system == "ising" else [WATER[0]]
    return [folder / name for name in (*(f"{n}.nc" for n in names), "report.html")]


def run_water(
    folder: Path,
    *,
    quick: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
    write_report: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Fit one-site water to the shipped frames, predict beside the long run, and report.

    :param quick: so few data and samples that it only shows that it runs.
    :return: ``files`` and ``numbers``.
    """
    name, options, method_options, draws = QUICK_WATER if quick else WATER
    frames, long_run = (data_file("spce_water", f"{n}.nc") for n in ("frames", "long_run"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in files_of("water", folder):
        check_writable(path)
    words = [*(f"-s {o}" for o in options), *(f"-M {o}" for o in method_options)]
    say(f"[1/3] fit spce_water -d {_told(frames)} {' '.join(words)}")
    result = fit(
        "spce_water", frames, options=options, method_options=method_options, progress=progress
    )
    path = folder / f"{name}.nc"
    results.save(result, path)  # a prediction that fails does not lose it
    say(f"[2/3] predict {path} --draws {draws} --reference {_told(long_run)}")
    result = predict(
        result,
        draws=draws,
        reference=long_run,
        progress=progress,
        production=QUICK_PRODUCTION if quick else Production(),
    )
    results.save(result, path)
    files = [str(path)]
    if write_report is not None:
        path = folder / "report.html"
        say(f"[3/3] report {files[0]} -o {path}")
        write_report([result], path, [name])
        files.append(str(path))
    return {"files": files, "numbers": water_numbers(result)}


def water_numbers(result: Any) -> dict[str, Any]:
    """How well the posterior mean agrees with the reference, and what it rests on."""
    attrs = results.attrs(result)
    predicted = results.group(result, "posterior_predictive")
    reference = results.group(result, "reference")
    at_map = results.group(result, "map")
    r = predicted["r"].values
    there = (r > RANGE[0]) & (r < RANGE[1])
    mean = predicted["rdf"].mean(("chain", "draw")).values
    exact = np.interp(r, reference["r"].values, reference["rdf"].values)
    return {
        "converged": int(attrs["converged"]),
        "rdf_rmse": float(np.sqrt(np.mean((mean - exact)[there] ** 2))),
        "rdf_peak": float(mean.max()),
        "rdf_peak_reference": float(exact.max()),
        "active_features": int((abs(at_map["theta_c"]) >= ACTIVE).sum()),
        "features": int(at_map.sizes["feature"]),
        "effective_frames": float(attrs["effective_frames"]),
        "wall_seconds_of_the_fit": float(attrs["wall_seconds"]),
    }


def _told(path: Path) -> Path:
    """A shipped file as one would name it from the root of the source tree."""
    return path.relative_to(Path(__file__).parents[2])


def run_demo(
    folder: Path,
    *,
    quick: bool = False,
    cases: tuple[str, ...] = tuple(CASES),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
    write_report: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Run the Ising fits of ``CASES``, predict each, and write results and the report to ``folder``.

    :param quick: every eighth field only.
    :return: ``files`` and ``numbers``.
    """
    # By name, so that the results say what was fitted.
    data: str | xr.Dataset = str(data_file("ising", "sweep.nc"))
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
