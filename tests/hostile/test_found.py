"""Inputs that once ended in an exception without words, or took for ever: each is refused in one line."""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
import netCDF4
import numpy as np
import pytest
import xarray as xr

from bayescg import io, results, workflow
from bayescg.cli import cli
from bayescg.files import read_netcdf
from bayescg.infer.checkpoint import CheckpointError, keeping
from bayescg.io.map_file import parse_map
from bayescg.io.trajectories import Trajectory
from bayescg.io.votca.gromacs import read_top
from bayescg.options import numbers, parse_options
from bayescg.workflow import load_model
from tests import trajectories, votca_project
from tests.hostile import valid


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    load_model.cache_clear()
    return tmp_path


def changed(path: Path, change: Callable[[netCDF4.Dataset], None]) -> Path:
    with netCDF4.Dataset(path, "a") as file:
        change(file)
    return path


def complaint(*words: str) -> str:
    """The one line that a command refuses its input by."""
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bayescg: "), lines
    return lines[0]


def test_an_axis_twice_is_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """xarray warned of it on stderr, beside the one line."""
    path = tmp_path / "data.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("site", 4)
        file.createVariable("x", "i1", ("site", "site"))
    with pytest.raises(ValueError, match=r"'x' has an axis twice, \(site, site\); allowed is each"):
        io.load(path)
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["compound", "vlen"])
def test_types_of_their_own(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "data.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("site", 4)
        made = (
            file.createCompoundType(np.dtype([("a", "f8"), ("b", "i4")]), "pair")
            if kind == "compound"
            else file.createVLType(np.float64, "rows")
        )
        file.createVariable("odd", made, ("site",))
    with pytest.raises(ValueError, match="'odd' is of a type of its own; allowed are numbers and"):
        read_netcdf(path)


def test_a_scale_that_is_text(tmp_path: Path) -> None:
    """xarray multiplied by it: a TypeError of NumPy."""
    io.save(valid.water(), tmp_path / "data.nc")
    path = changed(tmp_path / "data.nc", lambda f: f["x"].setncattr("scale_factor", "text"))
    with pytest.raises(ValueError, match="cannot be read as netCDF, the only format allowed here"):
        io.load(path)


def test_a_coordinate_with_two_axes() -> None:
    """Its values were looked up by the number of another axis: an IndexError."""
    sweep = valid.temperature_sweep()
    table = np.array([[280.0, 280.0], [280.0, 320.0]])
    odd = sweep.drop_vars("temperature").assign(temperature=(("extra", "temperature"), table))
    with pytest.raises(ValueError, match=r"temperature has dims|needed is the coordinate"):
        io.check(odd.set_coords("temperature"))


def test_fields_that_are_text() -> None:
    found = valid.field_sweep().assign_coords(mu=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"mu holds .*; allowed are real numbers"):
        io.check(found)


def test_yaml_deeper_than_the_stack() -> None:
    for text in ("[" * 5000, "".join(" " * n + "a:\n" for n in range(1500))):
        with pytest.raises(ValueError, match="this is nested too deeply for a map"):
            parse_map(text)


def test_places_without_end() -> None:
    beads = "".join(f"      B{n}: {{numbers: 1-600000}}\n" for n in range(3))
    with pytest.raises(ValueError, match="1200000 places by here; allowed are 1000000 in a map"):
        parse_map("molecules:\n  M:\n    beads:\n" + beads)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda about: about.update(identity=[1]), "has no attribute 'items'"),
        (
            lambda about: about["places"].update(a={"named": "bayescg.nothing:X", "of": []}),
            "No mod",
        ),
        (lambda about: about["places"].update(a={"array": 99}), "out of range"),
        (lambda about: about["places"].update(a={}), "StopIteration"),
    ],
)
def test_checkpoints_that_say_nonsense(change: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.nc.checkpoint"
    valid.write_checkpoint(path)
    with np.load(path) as held:
        arrays = dict(held)
    about = json.loads(str(arrays["about"]))
    change(about)
    with path.open("wb") as out:
        np.savez(out, **(arrays | {"about": np.array(json.dumps(about))}))
    with (
        pytest.raises(CheckpointError, match=f"is no checkpoint that can be read .*{says}"),
        keeping(path, valid.IDENTITY, resume=True),
    ):
        pass


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = '\x00'\n", "model.py: SyntaxError: source code string cannot contain null bytes"),
        ("raise BaseException('base')\n", "model.py, line 1: BaseException: base"),
        ("def f(): f()\nf()\n", "model.py, line 1: RecursionError"),
        ("Options, SUMMARY, system = 1, 2, 3\n", "model.py: TypeError: 'int' object is not"),
        (
            "SUMMARY = ''\nclass Options: pass\ndef system(o): pass\n",
            "model.py: Options() is no dataclass",
        ),
        (
            "from bayescg_models.ising import Options, SUMMARY\ndef system(options):\n    return 1\n",
            "model.py: system() gives a int; allowed is a bayescg.System",
        ),
        (
            "from bayescg_models.ising import Options, SUMMARY\ndef system(options):\n    return {}[1]\n",
            "model.py, line 3: KeyError: 1",
        ),
    ],
)
def test_models_that_fail_where_they_are_run(source: str, says: str, folder: Path) -> None:
    io.save(valid.spins(), "data.nc")
    Path("model.py").write_text(source)
    assert says in complaint("fit", "model.py", "-d", "data.nc", "-s", "ratio=4", "-o", "new.nc")
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == ["data.nc", "model.py"]


def test_names_that_move_the_cursor(folder: Path) -> None:
    with netCDF4.Dataset("data.nc", "w") as file:
        file.createDimension("n\u202e", 2)
        file.createVariable("n\u202e", "f8", ("n\u202e",))
    says = complaint("observe", "data.nc", "-o", "new.nc")
    assert says.isprintable() and r"\u202e" in says


def test_a_null_byte_in_a_path(folder: Path) -> None:
    results.save(valid.water_result(), "fit.nc")
    assert "null" in complaint("compare", "fit.nc", "--reference", "\x00")


def without(name: str, group: str) -> Callable[[Any], Any]:
    def change(result: Any) -> Any:
        return results.with_groups(result, {group: results.group(result, group).drop_vars(name)})

    return change


def renamed(dims: dict[str, str], group: str) -> Callable[[Any], Any]:
    def change(result: Any) -> Any:
        return results.with_groups(result, {group: results.group(result, group).rename(dims)})

    return change


def told(**attrs: Any) -> Callable[[Any], Any]:
    def change(result: Any) -> Any:
        groups = {name: results.group(result, name) for name in results.groups(result)}
        return results.inference_data(groups, **results.attrs(result) | attrs)

    return change


def narrower(result: Any) -> Any:
    posterior = results.group(result, "posterior")
    return results.with_groups(result, {"posterior": posterior.isel(feature=slice(2))})


def out_of_range(result: Any) -> Any:
    posterior = results.group(result, "posterior")
    changed = posterior.assign(sigma2=-posterior["sigma2"])
    return results.with_groups(result, {"posterior": changed})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("theta_c", "posterior"), "holds epsilon, sigma, sigma2, and no theta_c"),
        (narrower, r"theta_c in the result's posterior is of shape (2,), and (4,) in its model"),
        (out_of_range, "a parameter in the result's posterior is outside of the range"),
        (
            renamed({"draw": "sample"}, "posterior"),
            "allowed are numbers whose first dims are chain",
        ),
        (renamed({"site": "atom"}, "observed_data"), "'x' in the group observed_data has dims"),
        (told(converged="yes"), "the root attribute converged is 'yes'; allowed is a number"),
        (told(model=3), "the root attribute model is '3'; allowed is text"),
        (told(model_options="{"), "the root attribute model_options is '{'; allowed is a mapping"),
    ],
)
def test_results_that_lack_what_their_model_needs(change: Any, says: str, folder: Path) -> None:
    results.save(change(valid.water_result()), "fit.nc")
    assert says in complaint("export", "fit.nc", "--format", "table", "-o", "out")
    assert says in complaint("predict", "fit.nc", "-O", "rdf", "-o", "new.nc")
    assert [p.name for p in folder.iterdir()] == ["fit.nc"]


def test_valid_results_are_still_read(folder: Path) -> None:
    """Those of tests above differ in one thing from one that is accepted."""
    results.save(valid.water_result(), "fit.nc")
    workflow.export(results.load("fit.nc"), "table", "out")
    assert isinstance(results.group(results.load("fit.nc"), "posterior"), xr.Dataset)


@pytest.mark.parametrize("kind", ["xtc", "trr"])
def test_a_length_that_ends_the_process(kind: str, tmp_path: Path) -> None:
    """Read as it stood, a negative length in the second frame of an XTC file was a segmentation fault."""
    x, _ = trajectories.molecules(3, 2)
    top, path = trajectories.write(kind, tmp_path, x)
    assert len(list(Trajectory(top, [path]).frames())) == 3
    content = path.read_bytes()
    frame = len(content) // 3 if kind == "trr" else content.index(content[:8], 8)
    at = frame + (88 if kind == "xtc" else 56)
    path.write_bytes(content[:at] + (-4096).to_bytes(4, "big", signed=True) + content[at + 4 :])
    with pytest.raises(
        ValueError, match="the header of frame 1 makes no sense; the file is damaged"
    ):
        Trajectory(top, [path])


def test_a_mapping_where_numbers_belong() -> None:
    """The message held the tree of the file in the program's own words."""
    text = "molecules: {M: {beads: {A: {atoms: [C, D], weights: [1, {a: b}]}}}}"
    with pytest.raises(ValueError, match=r"line 1: an entry of bead 'A': weights must be text\.$"):
        parse_map(text)


def test_a_type_of_atom_without_its_letter(tmp_path: Path) -> None:
    votca_project.write(tmp_path)
    path = tmp_path / "topol.top"
    path.write_text(path.read_text().replace("A  6  29.0  0.0  A  0.0  1.0", "A  6  29.0  0.0"))
    with pytest.raises(ValueError, match=r"is no line of \[ atomtypes \]"):
        read_top(path)


def test_long_words_are_cut_short() -> None:
    """A message repeated thousands of characters of what was typed."""
    long = "9" * 5000
    for words in ([f"draws={long}"] * 2, [f"draws={long}"], [f"{long}=1"], [long]):
        with pytest.raises(ValueError, match="999") as caught:
            parse_options(workflow.method_options("mcem"), words, "mcem")
        assert len(str(caught.value)) < 1500
        assert long not in str(caught.value)
    with pytest.raises(ValueError, match="must be a number") as caught:
        numbers(f"{long}x", "mu")
    assert len(str(caught.value)) < 300


def test_long_attributes_are_cut_short(tmp_path: Path) -> None:
    """A message repeated all of an attribute."""
    io.save(valid.water(), tmp_path / "data.nc")
    path = changed(tmp_path / "data.nc", lambda f: f.setncattr("temperature", "x" * 5000))
    with pytest.raises(
        ValueError, match=r"the attribute 'temperature' is .* \.\.\. .*number"
    ) as caught:
        io.load(path)
    assert len(str(caught.value)) < 600 + len(str(path))
