"""``bayescg compare``: results of one system in a table, their notes, and what is refused."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
import numpy as np
import pytest
import xarray as xr

from bayescg import io, results
from bayescg.cli import cli
from bayescg.workflow.comparing import beside, compare, distance, distributions
from tests.scored_models import model
from tests.typed_fits import frames, measured, result

NAMES = ["rdf_A_A", "rdf_A_B", "rdf_B_B", "bond_AB", "angle_ABA", "joint_bond_AB_angle_ABA"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare")
    given = {
        "imc": result("imc", wall_seconds=86.4),
        "ibi": result("ibi", predicted=3, steps=7, converged=0, ended="no better in 8 iterations"),
        "fm": result("fm", draws=10, steps=0),
        "dbi": result("dbi", predicted=None, reference=None, steps=0),
    }
    for name, idata in given.items():
        results.save(idata, path / f"{name}.nc")
    io.save(frames(seed=4), path / "frames.nc")
    return path


def lattice() -> Any:
    """A result of spins, whose predictions miss by 0.1 and 0.2."""
    coords = {"mu": [0.0, 1.0], "separation": [1, 2, 3]}
    exact = xr.Dataset(
        {
            "magnetization": ("mu", [0.0, -0.5]),
            "correlation": (("mu", "separation"), np.ones((2, 3))),
        },
        coords,
    )
    miss = exact.assign(
        magnetization=exact["magnetization"] + 0.1, correlation=exact["correlation"] - 0.2
    )
    spins = np.ones((2, 4, 8), np.int8)
    groups = {
        "posterior": xr.Dataset({"p0": (("chain", "draw"), [[0.9]])}),
        "posterior_predictive": miss.expand_dims(chain=1, draw=1),
        "reference": exact,
        "observed_data": xr.Dataset({"x": (("mu", "frame", "site"), spins)}),
    }
    attrs = {
        "method": "rem",
        "model": "ising",
        "model_options": {},
        "converged": 1,
        "ended": "converged",
    }
    return results.inference_data(groups, **attrs)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *(str(w) for w in words)])


def complaint(done: Result) -> str:
    """The one line of an error about the input."""
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    return str(line)


def test_a_row_a_result(folder: Path) -> None:
    done = invoke(*(folder / f"{n}.nc" for n in ("imc", "ibi", "fm", "dbi")))
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "method",
        "frames",
        "converged",
        "iterations",
        "time",
        "/",
        "s",
        *NAMES,
    ]
    rows = {line.split()[0].rsplit("/")[-1]: line.split()[1:] for line in lines[1:5]}
    imc = results.load(folder / "imc.nc")
    expected = [f"{distance(imc, n).rms:.4f}" for n in NAMES]  # type: ignore[union-attr]
    assert rows["imc.nc"] == ["imc", "60", "yes", "4", "86", *expected]
    assert rows["ibi.nc"][:4] == ["ibi", "60", "NO", "7"]
    assert rows["fm.nc"][:4] == ["fm", "60", "yes", "-"]
    assert rows["dbi.nc"][2:4] == ["-", "-"] and rows["dbi.nc"][5:] == ["-"] * len(NAMES)
    assert lines[5].startswith("error of the reference")
    error = measured(2)["rdf_A_A_se"].values
    at = (measured(2)["rdf_A_A"].values > 0) | (measured(1)["rdf_A_A"].values > 0)
    assert lines[5].split()[4] == f"{np.sqrt(np.mean(error[at] ** 2)):.4f}"
    rest = "\n".join(lines[6:])
    assert "densities relative to the largest value of the reference" in rest
    assert "ibi.nc did not converge: no better in 8 iterations" in rest
    assert f"not predicted; run: bayescg predict {folder}/dbi.nc --reference REFERENCE.nc" in rest


def test_the_same_for_machines(folder: Path) -> None:
    done = invoke(folder / "imc.nc", folder / "dbi.nc", "--json")
    found = json.loads(done.stdout)
    assert found["distributions"] == NAMES
    imc, dbi = found["results"]
    assert imc["method"] == "imc" and imc["converged"] is True and imc["iterations"] == 4
    assert imc["rms"]["bond_AB"] == distance(results.load(folder / "imc.nc"), "bond_AB").rms  # type: ignore[union-attr]
    assert set(imc["reference_error"]) == set(imc["prediction_error"]) == set(NAMES)
    assert dbi["converged"] is None and dbi["rms"] == {} and "not predicted" in dbi["notes"][0]


def test_all_are_measured_by_one_reference(folder: Path) -> None:
    """Frames are measured on the way; what was not predicted is told with that file's name."""
    source = folder / "frames.nc"
    done = invoke(folder / "imc.nc", folder / "dbi.nc", "--reference", source, "--json")
    row, missing = json.loads(done.stdout)["results"]
    own, exact = measured(1)["bond_AB"].values, measured(4)["bond_AB"].values
    at = (own > 0) | (exact > 0)
    expected = np.sqrt(np.mean((own - exact)[at] ** 2)) / exact.max()
    assert row["rms"]["bond_AB"] == pytest.approx(expected)
    assert missing["notes"] == [
        f"not predicted; run: bayescg predict {folder}/dbi.nc --reference {source}"
    ]


def test_another_norm_is_no_reference(folder: Path, tmp_path: Path) -> None:
    group = measured(2)[["rdf_A_A", "rdf_A_A_se"]].copy()
    group["rdf_A_A"] = group["rdf_A_A"].assign_attrs(norm="n2")
    group.to_netcdf(tmp_path / "n2.nc")
    told = complaint(invoke(folder / "imc.nc", "--reference", tmp_path / "n2.nc"))
    assert "rdf_A_A is normalised by n2, that of" in told and "-O rdf_A_A:norm=n2" in told


def test_references_that_differ_are_said(folder: Path) -> None:
    named = {"one": result("imc"), "two": result("imc", reference=5), "three": result("ibi")}
    (note,) = compare(named).notes
    assert note.startswith("two stand beside another reference than one;") and "--reference" in note
    assert compare(named, measured(2)).notes == ()


def test_a_prediction_under_other_conditions_is_said() -> None:
    given = result("imc", predict_conditions='{"temperature": 350.0}')
    (row,) = compare({"one": given}).rows
    assert row.notes == ("predicted under other conditions than the fit's: temperature = 350",)


def test_results_of_other_systems_are_refused(folder: Path, tmp_path: Path) -> None:
    def other(**changes: Any) -> str:
        given = result("imc")
        constants = results.group(given, "constant_data").assign(
            {k: (results.group(given, "constant_data")[k].dims, v) for k, v in changes.items()}
        )
        results.save(results.with_groups(given, {"constant_data": constants}), tmp_path / "x.nc")
        return complaint(invoke(folder / "imc.nc", tmp_path / "x.nc"))

    types = results.group(result("imc"), "constant_data")["site_type"].values
    assert "of different systems: box / angstrom is 24 x 24 x 24 and 25 x 24 x 24" in other(
        box=np.array([25.0, 24.0, 24.0])
    )
    assert "bead types: 24 A, 12 B and 24 A, 12 C" in other(
        site_type=np.where(types == "B", "C", types)
    )
    results.save(lattice(), tmp_path / "ising.nc")
    told = complaint(invoke(folder / "imc.nc", tmp_path / "ising.nc"))
    assert "kind: sites in space and spins; allowed are results of one." in told


def test_a_reference_of_another_system_is_refused(folder: Path, tmp_path: Path) -> None:
    def told(data: xr.Dataset) -> str:
        io.save(data, tmp_path / "r.nc")
        return complaint(invoke(folder / "imc.nc", "--reference", tmp_path / "r.nc"))

    given = frames(count=3)
    assert "temperature / K is 300 and 310" in told(given.assign_attrs(temperature=310.0))
    assert "number of sites: 36 and 33" in told(given[["x", "box"]].isel(site=slice(33)))
    no_types = told(given[["x", "box"]])
    assert "unknown observable 'rdf_A_A'" in no_types
    measured(2)[["bond_AB"]].rename(bond_AB="bond_XX").to_netcdf(tmp_path / "d.nc")
    line = complaint(invoke(folder / "imc.nc", "--reference", tmp_path / "d.nc"))
    assert "holds neither frames nor any of rdf_A_A" in line
    assert "there is no file" in complaint(invoke(tmp_path / "nothing.nc"))


def test_a_result_of_the_shipped_water_stands_beside_one_by_type() -> None:
    """They name their RDF alike, and a single bead type is as good as none."""
    typed = result("imc")
    constants = results.group(typed, "constant_data")[["box"]]
    plain = results.with_groups(typed, {"constant_data": constants})
    assert len(compare({"typed": typed, "plain": plain}).rows) == 2


def test_lattices_are_compared_by_what_they_predict() -> None:
    """Magnetisation as it is, and where a point has the longer simulation, by that."""
    one = lattice()
    (row,) = compare({"one": one}).rows
    assert set(row.distances) == {"magnetization", "correlation"}
    assert row.distances["magnetization"].rms == pytest.approx(0.1)
    assert row.distances["correlation"].rms == pytest.approx(0.2)
    exact = results.group(one, "reference")["magnetization"]
    at_map = xr.Dataset({"magnetization": exact + 0.01})
    (row,) = compare({"one": results.with_groups(one, {"map_predictive": at_map})}).rows
    assert row.distances["magnetization"].rms == pytest.approx(0.01)


def test_scalars_are_no_distributions() -> None:
    given = result("imc")
    group = results.group(given, "posterior_predictive").assign(
        pressure=(("chain", "draw"), np.ones((1, 1)))
    )
    assert distributions(results.with_groups(given, {"posterior_predictive": group})) == NAMES


def test_a_reference_is_read_on_the_bins_of_the_prediction() -> None:
    """Linear between its own bins, in two dimensions too; its axes may be called otherwise."""
    value = xr.DataArray(np.zeros((3, 2)), {"a": [1.0, 1.5, 9.0], "b": [0.0, 1.0]}, ("a", "b"))
    a, b = np.arange(4.0), np.arange(3.0)
    plane = xr.DataArray(2.0 * a[:, None] + b, {"u": a, "v": b}, ("u", "v"))
    reference = xr.Dataset({"joint_x": plane})
    exact, error = beside(reference, "joint_x", value)
    np.testing.assert_allclose(exact, [[2.0, 3.0], [3.0, 4.0], [0.0, 0.0]])
    assert error is None
    line = xr.Dataset({"rdf": ("s", [1.0, 2.0])}, {"s": [1.0, 2.0]})
    exact, _ = beside(line, "rdf", xr.DataArray([0.0, 0.0], {"r": [1.5, 3.0]}, ("r",)))
    np.testing.assert_allclose(exact, [1.5, np.nan])


def test_models_of_the_same_data_are_ranked(tmp_path: Path) -> None:
    """Best first, whatever the order of the files; the same numbers for machines."""
    known = {"method": "smc", "log_evidence": -60.0, "log_evidence_se": 0.3}
    results.save(model(3.0, **known), tmp_path / "wide.nc")
    results.save(model(1.0), tmp_path / "right.nc")
    done = invoke(tmp_path / "wide.nc", tmp_path / "right.nc")
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "elpd" in line)
    assert lines[at].split() == "rank elpd behind p_loo k-hat log evidence behind".split()
    first, second = (line.split() for line in lines[at + 1 : at + 3])
    assert first[0].endswith("right.nc") and first[1] == "1" and first[5] == "0"
    assert second[0].endswith("wide.nc") and second[1] == "2"
    assert second[-4:] == ["-60.00", "+-", "0.30", "0"]
    assert "right.nc: no log evidence; fit with -m smc for it." in done.stdout
    found = json.loads(invoke(tmp_path / "wide.nc", tmp_path / "right.nc", "--json").stdout)
    wide, right = found["model_choice"]["results"]
    assert right["elpd"]["rank"] == 1 and wide["evidence"]["value"] == -60.0
    assert f"{wide['elpd']['behind']:.2f}" == second[5]


def test_points_are_not_ranked_and_that_is_said_once(folder: Path) -> None:
    done = invoke(*(folder / f"{n}.nc" for n in ("imc", "ibi", "dbi")))
    told = [line for line in done.stdout.splitlines() if "neither elpd nor evidence" in line]
    assert len(told) == 1 and told[0].count(".nc") == 3
    assert "rank" not in done.stdout
    alone = invoke(folder / "imc.nc")
    assert "elpd" not in alone.stdout


def test_no_results_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least one result"):
        compare({})
    assert invoke().exit_code == 2
