"""The demos of the command line: what they ask for, write and say; one is run for real."""

import json
from pathlib import Path
import re
from typing import Any

from click.testing import CliRunner
import numpy as np
import pytest
import xarray as xr

from bayescg import results
from bayescg.cli import cli
from bayescg.workflow import demo

R = np.arange(0.05, 7.2, 0.1)


def fitted(converged: int) -> Any:
    """As much of a fit as the demo reads."""
    posterior = results.to_dataset({"sigma2": np.full((1, 5), 0.002)})
    theta = xr.DataArray([0.3, -0.2, 0.011, 0.009, -1e-5], dims="feature")
    return results.inference_data(
        {"posterior": posterior, "map": xr.Dataset({"theta_c": theta})},
        method="mcem",
        model="spce_water",
        model_options={},
        converged=converged,
        ended="converged" if converged else "iterations",
        effective_frames=9.5,
        wall_seconds=12.0,
    )


def predicted(result: Any) -> Any:
    """The fit with an RDF that is 0.1 above its reference beyond 2.4 angstrom, and far off below."""
    exact = np.where(R > 2.4, 1.0 + np.exp(-((R - 2.75) ** 2)), 0.0)
    off = np.where(R > 2.4, 0.1, 0.5)
    draws = exact + off + np.array([-0.2, 0.0, 0.2])[:, None]
    rdf = xr.Dataset({"rdf": (("chain", "draw", "r"), draws[None])}, {"r": R})
    groups = {"posterior_predictive": rdf, "reference": xr.Dataset({"rdf": ("r", exact)}, {"r": R})}
    return results.with_groups(result, groups)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the demo asked for, with nothing computed."""
    monkeypatch.chdir(tmp_path)
    seen: dict[str, Any] = {"converged": 1}

    def fit(model: str, data: Path, **more: Any) -> Any:
        seen["fit"] = (model, Path(data), more)
        return fitted(seen["converged"])

    def predict(result: Any, **more: Any) -> Any:
        seen["predict"] = more
        return predicted(result)

    monkeypatch.setattr(demo, "fit", fit)
    monkeypatch.setattr(demo, "predict", predict)
    monkeypatch.setattr("bayescg.report.write_report", lambda _, path, labels: path.write_text(""))
    return seen


def test_water_is_the_main_job(asked: dict[str, Any]) -> None:
    done = CliRunner().invoke(cli, ["demo", "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["files"] == ["demo/water.nc", "demo/report.html"]
    assert sorted(p.name for p in Path("demo").iterdir()) == ["report.html", "water.nc"]
    model, data, more = asked["fit"]
    assert (model, data.name) == ("spce_water", "frames.nc") and data.is_file()
    assert more["options"] == ("frames=10",) and more["method_options"] == ()
    assert asked["predict"]["draws"] == 32
    assert asked["predict"]["reference"].name == "long_run.nc"
    numbers = answer["numbers"]
    assert numbers["rdf_rmse"] == pytest.approx(0.1)
    assert numbers["rdf_peak"] - numbers["rdf_peak_reference"] == pytest.approx(0.1)
    assert (numbers["active_features"], numbers["features"]) == (3, 5)
    assert numbers["effective_frames"] == 9.5
    assert results.has_group(results.load("demo/water.nc"), "posterior_predictive")


def test_what_it_says_can_be_typed(asked: dict[str, Any]) -> None:
    """The commands that it shows are the ones that it runs."""
    said = CliRunner().invoke(cli, ["demo", "-o", "here"]).stderr
    fit = "fit spce_water -d data/spce_water/frames.nc -s frames=10"
    for line in (
        f"[1/3] {fit}",
        "[2/3] predict here/water.nc --draws 32 --reference data/spce_water/long_run.nc",
        "[3/3] report here/water.nc -o here/report.html",
    ):
        assert line in said.splitlines()
    assert "  here/report.html" in said.splitlines()
    assert re.search(r"^  rdf_rmse +0\.1$", said, re.MULTILINE)


def test_a_demo_that_did_not_converge_says_so(asked: dict[str, Any]) -> None:
    asked["converged"] = 0
    done = CliRunner().invoke(cli, ["demo", "-o", "here"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "bayescg: a fit did not converge; see here."
    assert Path("here/water.nc").is_file()


def test_the_systems_are_two() -> None:
    done = CliRunner().invoke(cli, ["demo", "argon"])
    assert done.exit_code == 2
    assert "'argon' is not one of 'water', 'ising'" in done.stderr
    assert set(demo.SYSTEMS) == {"water", "ising"}
    assert not set(demo.files_of("water", Path("a"))) & set(demo.files_of("ising", Path("a/ising")))


def test_ising_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: dict[str, Any] = {}

    def run(folder: Path, *, quick: bool, **_: Any) -> dict[str, Any]:
        seen.update(folder=folder, quick=quick)
        return {"files": [], "numbers": {"converged": 1}}

    monkeypatch.setattr(demo, "run_demo", run)
    assert CliRunner().invoke(cli, ["demo", "ising", "--quick"]).exit_code == 0
    assert seen == {"folder": Path("demo/ising"), "quick": True}


@pytest.mark.by_hand
def test_the_quick_demo_runs(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["demo", "--quick", "-o", str(tmp_path), "--json"])
    numbers = json.loads(done.stdout)["numbers"]
    assert done.exit_code == 0, numbers
    assert all(np.isfinite(v) for v in numbers.values())
    assert 0.0 < numbers["rdf_rmse"] < 0.5
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Fig. 18" in html and "Fig. 17" in html
