"""Molecules from frames to an engine by the command line: every method simulates, predicts, is compared and exported.

The frames are of a liquid with known potentials (:mod:`tests.small_liquid`), so that force matching must give
them back, and the methods that match distributions must come nearer to them than direct inversion.
"""

import json
from pathlib import Path
import re
from typing import Any, NamedTuple

from click.testing import CliRunner
import numpy as np
import pytest

from bayescg import io, results, workflow
from bayescg.cli import cli
from bayescg.predict import Production
from tests.small_liquid import FRAMES, frames, truth

pytestmark = pytest.mark.slow  # every method on a liquid, by commands: three minutes together

TABLES = ("core=3", "cutoff=7", "width=0.2", "bond_width=0.05", "angle_width=6")
SPLINES = ("core=3", "cutoff=7", "knots=0.6", "bond=harmonic", "angle=harmonic")
EFFORT = ("chains=16", "samples=20", "relax=10", "warmup=10", "max_iterations=3")
FITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ibi": (TABLES, EFFORT),
    "imc": (TABLES, (*EFFORT, "tolerance=0.01")),  # which noise does not let it reach
    "rem": (SPLINES, EFFORT),
    "fm": (SPLINES, ("draws=20",)),
}
SHOWN = ("rdf_A_B", "angle_ABA")
QUICK = Production(warmup=30, measurements=10, thin=2)


class Done(NamedTuple):
    """What a fit left, and how it ended."""

    path: Path
    exit_code: int
    said: dict[str, Any]
    result: Any


def invoke(*words: object) -> Any:
    return CliRunner().invoke(cli, [str(w) for w in words])


def each(flag: str, words: tuple[str, ...]) -> list[str]:
    return [w for word in words for w in (flag, word)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("liquid")
    io.save(frames(slice(FRAMES // 2)), path / "frames.nc")
    io.save(frames(slice(FRAMES // 2, None)), path / "others.nc")
    return path


@pytest.fixture(scope="module")
def fits(folder: Path) -> dict[str, Done]:
    """Every method's result, not yet predicted."""
    out = {}
    for method, (options, effort) in FITS.items():
        path = folder / f"{method}.nc"
        words = ["fit", "molecular", "-d", folder / "frames.nc", "-m", method, "-o", path]
        done = invoke(*words, *each("-s", options), *each("-M", effort), "--quiet", "--json")
        said = json.loads(done.stdout.splitlines()[-1])
        out[method] = Done(path, done.exit_code, said, results.load(path))
    return out


@pytest.fixture(scope="module")
def predicted(fits: dict[str, Done], folder: Path) -> dict[str, Done]:
    """The same, each simulated once more beside frames that were not fitted."""
    out = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(workflow.predict.__kwdefaults__, "production", QUICK)
        for method, fit in fits.items():
            words = ["predict", fit.path, "--reference", folder / "others.nc", *each("-O", SHOWN)]
            few = ("--draws", 4) if method == "fm" else ()
            done = invoke(*words, *few, "--quiet")
            assert done.exit_code == 0, done.output
            out[method] = fit._replace(result=results.load(fit.path))
    return out


def off(done: Done) -> dict[str, float]:
    """Rms difference of the posterior means from the true potentials where beads often are, kcal/mol.

    Of bonded ones but for a constant.
    """
    posterior = results.group(done.result, "posterior").mean(("chain", "draw"))
    out = {}
    for i in truth().interactions:
        u = posterior[f"{i.kind}_potential_{i.name}"]
        q = u[u.dims[0]].values * (np.pi / 180.0 if i.kind == "angle" else 1.0)
        exact = np.asarray(i.energy(q))
        at = (q > 3.6) & (q < 6.8) if i.kind == "pair" else exact < exact.min() + 1.5
        gap = u.values[at] - exact[at]
        out[i.label] = float(np.sqrt(np.mean((gap - (i.kind != "pair") * gap.mean()) ** 2)))
    return out


@pytest.mark.parametrize("method", FITS)
def test_a_fit_is_stored_and_exits_as_it_ended(method: str, fits: dict[str, Done]) -> None:
    done = fits[method]
    attrs = results.attrs(done.result)
    assert attrs["method"] == done.said["method"] == method
    assert done.exit_code == (0 if int(attrs["converged"]) else 1)
    assert (done.exit_code, method) not in ((0, "imc"), (1, "fm"))
    posterior = results.group(done.result, "posterior")
    names = {f"{i.kind}_potential_{i.name}" for i in truth().interactions}
    assert names <= set(posterior.data_vars)
    assert all(np.isfinite(posterior[n].values).all() for n in names)
    if done.exit_code:
        assert "did not converge" in done.said["error"] and str(done.path) in done.said["error"]


@pytest.mark.parametrize("method", ["ibi", "imc", "rem"])
def test_distributions_come_nearer_than_by_direct_inversion(
    method: str, fits: dict[str, Done]
) -> None:
    """The first iteration is of the start; the best of three is kept, its RDFs nearer to the frames'."""
    result = fits[method].result
    attrs, trace = results.attrs(result), results.group(result, "em_trace")
    assert attrs["started_from"] == "dbi"
    distance = trace["distance"].values.ravel()
    best = int(np.argmin(distance))
    assert len(distance) == int(attrs["iterations"]) <= 3
    assert attrs["distance"] == distance[best] < 0.9 * distance[0]
    rms = np.array([trace[f"rms rdf_{n}"].values.ravel() for n in ("A_A", "A_B", "B_B")])
    assert rms[:, best].sum() < rms[:, 0].sum()
    assert [attrs[f"rms rdf_{n}"] for n in ("A_A", "A_B", "B_B")] == rms[:, best].tolist()


def test_force_matching_gives_the_potentials_back(fits: dict[str, Done]) -> None:
    """Forces without noise: what is left is what cubic splines of 0.6 angstrom cannot follow."""
    for label, value in off(fits["fm"]).items():
        assert value < (0.03 if "pair" in label else 0.005), label


def test_matched_distributions_give_much_of_the_potentials_back(fits: dict[str, Done]) -> None:
    for method in ("ibi", "imc"):
        for label, value in off(fits[method]).items():
            assert value < 0.3, (method, label)


@pytest.mark.by_hand
def test_all_are_compared(predicted: dict[str, Done]) -> None:
    """A row each, with numbers; with the true potentials, which FM has, only noise is left.

    It is that of the reference, and of a prediction from fewer molecules; three errors of the reference hold both.
    """
    paths = [done.path for done in predicted.values()]
    done = invoke("compare", *paths)
    assert done.exit_code == 0, done.output
    rows = {line.split()[1]: line.split() for line in done.stdout.splitlines()[1 : 1 + len(FITS)]}
    assert list(rows) == list(FITS)
    found = json.loads(invoke("compare", *paths, "--json").stdout)
    assert found["distributions"] == list(SHOWN)
    for row in found["results"]:
        assert rows[row["method"]][-2:] == [f"{row['rms'][n]:.4f}" for n in SHOWN]
        assert all(0.0 < row["rms"][n] < 0.3 for n in SHOWN)
        if row["method"] == "fm":
            assert all(row["rms"][n] < 3.0 * row["reference_error"][n] for n in SHOWN)


@pytest.mark.by_hand
def test_a_result_runs_in_lammps(fits: dict[str, Done], tmp_path: Path) -> None:
    """Every file that the deck reads is there, and each potential in one."""
    done = invoke(
        "export", fits["imc"].path, "--format", "lammps", "-o", tmp_path / "deck", "--json"
    )
    assert done.exit_code == 0, done.output
    files = {Path(f).name for f in json.loads(done.stdout)["files"]}
    assert files == {p.name for p in (tmp_path / "deck").iterdir()}
    deck = (tmp_path / "deck" / "in.lammps").read_text()
    read = set(re.findall(r"\b[\w.]+\.(?:table|data)\b", deck)) - {"final.data"}
    assert {"pairs.table", "bonds.table", "angles.table", "system.data"} == read <= files
    for i in truth().interactions:
        text = (tmp_path / "deck" / f"{i.kind}s.table").read_text()
        assert re.search(rf"^{i.name}$", text, re.MULTILINE)
    assert (
        f"{frames(slice(1)).sizes['site']} atoms" in (tmp_path / "deck" / "system.data").read_text()
    )
