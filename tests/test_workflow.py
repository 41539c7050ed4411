"""From data to a report on a small lattice, through Python and through the command line."""

import json
from pathlib import Path
import re

from click.testing import CliRunner
import numpy as np
import pytest
import xarray as xr

from bayescg import io, results, workflow
from bayescg.cli import cli
from bayescg.report import write_report

SMALL = ["n_f=16", "mu=0:1:3", "frames=12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work")
    io.save(workflow.make_reference("ising", SMALL, seed=1), path / "data.nc")
    return path


@pytest.fixture(scope="module")
def fitted(folder: Path) -> Path:
    out = folder / "fit.nc"
    words = ["fit", "ising", "-d", str(folder / "data.nc"), "-s", "ratio=4", "-s", "prior=normal"]
    words += [
        "-s",
        "prior_scale=1.0",
        "-M",
        "draws=60",
        "--seed",
        "3",
        "-o",
        str(out),
        "--json",
        "--quiet",
    ]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    assert summary["converged"] == 1
    assert summary["files"] == [str(out)]
    done = CliRunner().invoke(
        cli,
        ["predict", str(out), "--draws", "40", "--reference", str(folder / "data.nc"), "--quiet"],
    )
    assert done.exit_code == 0, done.output
    return out


def test_the_result_keeps_the_contract(fitted: Path) -> None:
    result = results.load(fitted)
    attrs = results.attrs(result)
    for name in (
        "method",
        "model",
        "model_options",
        "seed",
        "converged",
        "wall_seconds",
        "approximation",
    ):
        assert name in attrs
    posterior = results.group(result, "posterior")
    assert posterior["theta_c"].dims == ("chain", "draw", "mu", "feature")
    assert posterior["p0"].dims == ("chain", "draw", "mu")
    predicted = results.group(result, "posterior_predictive")
    assert predicted["magnetization"].dims == ("chain", "draw", "mu")
    assert predicted["correlation"].dims == ("chain", "draw", "mu", "separation")
    reference = results.group(result, "reference")
    assert {"magnetization", "magnetization_se", "correlation"} <= set(reference.data_vars)
    assert results.group(result, "log_likelihood")["x"].dims == ("chain", "draw", "mu", "frame")
    for name in (
        "em_trace",
        "map",
        "laplace_complete",
        "laplace_observed",
        "observed_data",
        "constant_data",
        "prior",
    ):
        assert results.has_group(result, name)
    for group in results.groups(result):
        for name, variable in results.group(result, group).data_vars.items():
            assert {"units", "long_name"} <= set(variable.attrs), (group, name)
    # The model follows the data it was fitted to; 0.15 is twice the standard error of 12 frames.
    seen = results.group(result, "observed_data")["x"].mean(("frame", "site"))
    gap = predicted["magnetization"].mean(("chain", "draw")) - seen
    assert float(np.abs(gap).max()) < 0.15


def test_the_same_seed_gives_the_same_result(folder: Path, fitted: Path) -> None:
    again = workflow.fit(
        "ising",
        folder / "data.nc",
        options=["ratio=4", "prior=normal", "prior_scale=1.0"],
        method_options=["draws=60"],
        seed=3,
    )
    first = results.group(results.load(fitted), "posterior")["theta_c"]
    np.testing.assert_array_equal(results.group(again, "posterior")["theta_c"], first)


def test_the_report_shows_it(fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["report", str(fitted), "-o", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    html = out.read_text()
    assert "Fig. 5" in html and "Converged." in html
    assert "http://" not in html and "https://" not in html
    drawn = re.findall(r"<svg[^>]*>", html)
    assert drawn and all(
        'role="img"' in tag and re.search('aria-label="[^"]+"', tag) for tag in drawn
    )
    for anchor in ("worries", "numbers", "figures", "settings"):
        assert f'href="#{anchor}"' in html and f'id="{anchor}"' in html


def test_hostile_strings_are_escaped(fitted: Path, tmp_path: Path) -> None:
    result = results.load(fitted)
    result.attrs["messages"] = json.dumps(["<script>alert(1)</script>"])
    result.attrs["converged"] = 0
    write_report([result], tmp_path / "r.html", ["<b>x</b>"])
    html = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in html and "<b>x</b>" not in html.replace("<b>&lt;", "")
    assert "Did NOT converge" in html


@pytest.mark.slow
def test_one_field_needs_no_sweep(folder: Path, tmp_path: Path) -> None:
    one = io.load(folder / "data.nc").isel(mu=2)
    one = one.drop_vars("mu").assign_attrs(mu=1.0)
    result = workflow.fit("ising", one, options=["ratio=4"], method_options=["draws=40"], seed=0)
    result = workflow.predict(result, ["magnetization"], draws=20, reference=one)
    assert results.group(result, "posterior_predictive")["magnetization"].dims == ("chain", "draw")
    write_report([result], tmp_path / "one.html")


def test_observe_measures_the_frames(folder: Path) -> None:
    data = io.load(folder / "data.nc")
    seen = workflow.observe(data, ["magnetization", "correlation:max=3"])
    np.testing.assert_allclose(seen["magnetization"], data["x"].mean(("frame", "site")))
    assert seen["correlation"].dims == ("mu", "separation")
    x = data["x"].astype(float)
    np.testing.assert_allclose(
        seen["correlation"].sel(separation=2), (x * x.roll(site=-2)).mean(("frame", "site"))
    )


BAD = {
    "spins": (lambda d: d.assign(x=d["x"] * 0), [], "-1"),
    "nan": (lambda d: d.assign(x=d["x"].astype(float).where(d["x"] > 0)), [], "x"),
    "few": (lambda d: d.isel(frame=slice(0, 1)), [], "too few frames"),
    "ratio": (lambda d: d, ["-s", "ratio=3"], "not divisible"),
    "option": (lambda d: d, ["-s", "ration=4"], "did you mean 'ratio'"),
    "type": (lambda d: d, ["-s", "ratio=four"], "integer"),
    "method": (lambda d: d, ["-m", "magic"], "known: mcem"),
    "method option": (lambda d: d, ["-M", "draw=4"], "did you mean 'draws'"),
    "beta": (lambda d: d, ["-s", "beta=1.0"], "beta=0.3"),
    "made otherwise": (lambda d: d, ["-s", "J0=99"], "J0=1.5"),
    "field": (lambda d: d, ["-s", "mu=0.3"], "not mu=0.3"),
    "field twice": (lambda d: d, ["-s", "mu=0.5,0.5"], "different numbers"),
    "frames": (lambda d: d, ["-s", "frames=1000"], "1000"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_2(name: str, folder: Path, tmp_path: Path) -> None:
    change, words, text = BAD[name]
    path, out = tmp_path / "bad.nc", tmp_path / "out.nc"
    change(io.load(folder / "data.nc")).to_netcdf(path)
    ratio = [] if any(w.startswith("ratio=") for w in words) else ["-s", "ratio=4"]
    done = CliRunner().invoke(
        cli, ["fit", "ising", "-d", str(path), *ratio, *words, "-o", str(out)]
    )
    assert done.exit_code == 2, done.output
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("bayescg: ") and text in lines[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.nc"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["fit", "ising", "-d", "missing.nc", "-o", "out.nc"], "missing.nc"),
        (["fit", "ising", "-d", "text.nc", "-o", "out.nc"], "netCDF"),
        (["fit", "nosuch", "-d", "text.nc", "-o", "out.nc"], "netCDF"),
        (["fit", "ising", "-d", "text.nc", "-o", "no/such/folder/out.nc"], "no/such/folder"),
        (["observe", "data.nc", "-O", "rdf", "-o", "out.nc"], "unknown observable"),
        (["observe", "data.nc", "-O", "correlation:max=many", "-o", "out.nc"], "int"),
        (["predict", "data.nc"], "result"),
        (["predict", "missing.nc"], "missing.nc"),
        (["report", "text.nc", "-o", "r.html"], "netCDF"),
        (["reference", "ising", "-s", "mu=a:b", "-o", "out.nc"], "mu must be"),
        (["reference", "ising", "-s", "ratio=3", "-o", "out.nc"], "do not depend on 'ratio'"),
        (["reference", "ising", "-s", "mu=1e308", "-o", "out.nc"], "too strong"),
        (["reference", "ising", "-s", "frames=1", "-o", "out.nc"], "at least 2"),
        (["observe", "data.nc", "-O", "correlation:max=16", "-o", "out.nc"], "below the 16 sites"),
        (["observe", "data.nc", "-O", "correlation:max=2,max=3", "-o", "out.nc"], "given twice"),
        (
            ["observe", "data.nc", "-O", "correlation", "-O", "correlation:max=5", "-o", "out.nc"],
            "2 times",
        ),
    ],
)
def test_wrong_files_and_words(
    words: list[str], text: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.nc").write_text("not netCDF")
    xr.load_dataset(folder / "data.nc").to_netcdf("data.nc")
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2, done.output
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and text in lines[0], lines
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.nc", "text.nc"]


@pytest.mark.slow
def test_a_fit_that_does_not_converge_exits_1_and_keeps_what_it_had(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.nc"
    words = [
        "fit",
        "ising",
        "-d",
        str(folder / "data.nc"),
        "-s",
        "ratio=4",
        "-M",
        "max_iterations=2",
    ]
    done = CliRunner().invoke(
        cli, [*words, "-M", "draws=20", "-o", str(out), "--log", str(tmp_path / "log.jsonl")]
    )
    assert done.exit_code == 1
    assert int(results.attrs(results.load(out))["converged"]) == 0
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert any(e["event"] == "progress" for e in events)


def test_observables_of_a_box_whose_half_is_just_below_a_tenth() -> None:
    edge = 4.6 * 3  # 13.799999999999999
    x = np.random.default_rng(0).uniform(0.0, edge, (3, 8, 3))
    data = xr.Dataset(
        {
            "x": (("frame", "site", "axis"), x),
            "box": ("axis", np.full(3, edge)),
            "type": ("site", ["A"] * 8),
        },
        attrs={"temperature": 300.0},
    )
    measured = workflow.observe(data)
    assert measured["rdf"].sizes["r"] == 69  # the last bin ends at half the box, and not beyond
