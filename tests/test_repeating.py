"""`bayescg fit --from`: a result records what repeats it."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
import numpy as np
import pytest
import xarray as xr

from bayescg import io, results, workflow
from bayescg.cli import cli

DATA = Path(__file__).parents[1] / "data"
SWEEP, WATER = DATA / "ising" / "sweep.nc", DATA / "spce_water" / "frames_512.nc"
ISING = ("ising", SWEEP, ["ratio=8", "frames=10", "prior=normal", "prior_scale=1", "mu=0.2"])
MOLECULES = ("molecular", WATER, ["frames=2"])
#: Every method that takes its options another way: model, data, options, method, its options.
RUNS: dict[str, tuple[str, Path, list[str], str, list[str]]] = {
    "mcem": (*ISING, "mcem", ["max_iterations=3", "free_chains=32", "laplace=complete"]),
    "mcem, the paper's steps": (
        *ISING,
        "mcem",
        ["schedule=paper", "max_iterations=3", "free_chains=32"],
    ),
    "nuts": (*ISING, "nuts", ["samples=20", "warmup=20", "chains=2"]),
    "smc": (*ISING, "smc", ["particles=100"]),
    "svi": (*ISING, "svi", ["steps=800"]),
    "rem": (*ISING[:2], ["ratio=8", "frames=10", "mu=0.2"], "rem", ["max_iterations=3"]),
    "arcg": (*ISING[:2], ["ratio=8", "frames=10", "mu=0.2"], "arcg", ["max_iterations=3"]),
    "dbi": (*MOLECULES, "dbi", []),
    "fm": (*MOLECULES, "fm", []),
    "imc": (*MOLECULES, "imc", ["max_iterations=2", "warmup=4", "samples=4", "chains=8"]),
    "water": (
        "spce_water",
        DATA / "spce_water" / "frames.nc",
        ["frames=3", "features=10"],
        "mcem",
        ["max_iterations=2", "free_chains=8", "warmup=2", "information=0"],
    ),
}
LANE = {"dbi": [], "fm": [], "mcem": [pytest.mark.slow]}


def fit(name: str, seed: int = 3) -> Any:
    model, data, options, method, given = RUNS[name]
    return workflow.fit(
        model, data, method=method, options=options, method_options=given, seed=seed
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=LANE.get(n, pytest.mark.by_hand)) for n in RUNS],
)
def test_what_is_recorded_repeats_the_fit(name: str, tmp_path: Path) -> None:
    first = fit(name)
    results.save(first, tmp_path / "a.nc")
    found = workflow.recorded(results.load(tmp_path / "a.nc"))
    assert (found.method, found.seed, found.notes) == (RUNS[name][3], 3, ())
    again = workflow.fit(
        found.model,
        found.data,
        method=found.method,
        options=found.options,
        method_options=found.method_options,
        seed=found.seed,
    )
    assert workflow.difference(first, again) == 0.0
    for key in ("model_options", "method_options", "data_sha256"):
        assert results.attrs(first)[key] == results.attrs(again)[key]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit whose data lie beside it."""
    folder = tmp_path_factory.mktemp("repeat")
    io.save(io.load(SWEEP).isel(mu=[22]), folder / "data.nc")
    options = ["ratio=8", "frames=10", "prior=normal", "prior_scale=1"]
    result = workflow.fit(
        "ising",
        folder / "data.nc",
        options=options,
        method_options=["max_iterations=2", "free_chains=32"],
        seed=5,
    )
    results.save(result, folder / "fit.nc")
    return folder


def invoke(*words: Any) -> Any:
    return CliRunner().invoke(cli, [str(w) for w in words])


def changed(stored: Path, **attrs: Any) -> Path:
    """The stored fit with other attributes."""
    result = results.load(stored / "fit.nc")
    result.attrs |= attrs
    path = stored / "changed.nc"
    results.save(result, path)
    return path


def test_the_command_says_that_it_is_the_same(stored: Path) -> None:
    done = invoke("fit", "--from", stored / "fit.nc", "-o", stored / "again.nc", "--json")
    assert done.exit_code == 1  # two iterations are too few, as they were
    answer = json.loads(done.stdout)
    assert answer["repeats"] is True and answer["differs_by"] == 0.0
    assert f"the posterior is that of {stored / 'fit.nc'}, to the last bit" in done.stderr
    assert not list(stored.glob("*.checkpoint"))


def test_another_seed_would_be_seen(stored: Path) -> None:
    path = changed(stored, seed=6)
    done = invoke("fit", "--from", path, "-o", stored / "again.nc", "--json")
    answer = json.loads(done.stdout)
    # Both lie about the same mode.
    assert answer["repeats"] is False and 0.1 < answer["differs_by"] < 20.0
    assert "the posterior differs from that of" in done.stderr


def test_versions_that_differ_are_told(stored: Path) -> None:
    path = changed(stored, jax_version="0.1.2", precision_of_moves="double")
    found = workflow.recorded(results.load(path))
    assert len(found.notes) == 2
    assert found.notes[0].startswith("fitted with jax 0.1.2, this is ")
    assert "moved in double precision, these move in single" in found.notes[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ising"], "MODEL cannot be given"),
        (["-s", "ratio=4", "--seed", "0"], "-s, --seed cannot be given"),
        (["-m", "mcem"], "-m cannot be given"),
        (["-M", "draws=3"], "-M cannot be given"),
        (["-d", "nowhere.nc"], "no such data file: nowhere.nc."),
    ],
)
def test_what_is_recorded_cannot_be_given_too(stored: Path, words: list[str], says: str) -> None:
    done = invoke("fit", "--from", stored / "fit.nc", "-o", stored / "new.nc", *words)
    assert done.exit_code == 2 and says in done.stderr
    assert done.stderr.startswith("bayescg: ") and len(done.stderr.splitlines()) == 1
    assert not (stored / "new.nc").exists()


def test_files_are_not_mixed_up(stored: Path) -> None:
    for target in ("fit.nc", "data.nc"):
        done = invoke("fit", "--from", stored / "fit.nc", "-o", stored / target)
        assert done.exit_code == 2 and "it is also an input" in done.stderr
    done = invoke("fit", "--from", stored / "fit.nc")
    assert done.exit_code == 2 and "fit --from needs -o result.nc." in done.stderr


def test_other_data_are_refused(stored: Path) -> None:
    data = io.load(stored / "data.nc")
    flipped = data["x"].values.copy()
    flipped[0, 0, 0] *= -1
    io.save(data.assign(x=(data["x"].dims, flipped)), stored / "other.nc")
    with pytest.raises(ValueError, match=r"other.nc does not hold the data that were fitted"):
        workflow.recorded(results.load(stored / "fit.nc"), stored / "other.nc")


@pytest.mark.parametrize(
    ("attrs", "says"),
    [
        ({"data_source": "memory"}, "given its data in memory; name a file that holds them"),
        ({"method": "magic"}, "of the method 'magic', which is not known; known: mcem"),
        ({"model_options": '{"bogus": 1}'}, "unknown option 'bogus' for ising"),
        ({"method_options": '{"draws": "x"}'}, "option draws=x for mcem: must be an integer"),
    ],
)
def test_what_is_not_recorded_well_is_said(stored: Path, attrs: dict[str, Any], says: str) -> None:
    done = invoke("fit", "--from", changed(stored, **attrs), "-o", stored / "new.nc")
    assert done.exit_code == 2 and says in done.stderr
    assert not (stored / "new.nc").exists()


def test_a_model_file_that_has_changed_is_refused(stored: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.py"
    model.write_text(
        "from bayescg_models.ising import *\nfrom bayescg_models.ising import SUMMARY\n"
    )
    path = changed(stored, model=str(model), model_sha256="0" * 64)
    with pytest.raises(ValueError, match=r"mine.py has changed since the fit"):
        workflow.recorded(results.load(path))


def test_the_difference_of_posteriors() -> None:
    def of(**values: np.ndarray) -> Any:
        data = {k: (("chain", "draw"), v) for k, v in values.items()}
        return results.inference_data({"posterior": xr.Dataset(data)})

    draws = np.random.default_rng(0).normal(3.0, 2.0, (2, 400))
    draws = (draws - draws.mean()) / draws.std() * 2.0 + 3.0
    moved = draws.copy()
    moved[1, 7] += 0.5
    assert workflow.difference(of(a=draws), of(a=draws.copy())) == 0.0
    assert workflow.difference(of(a=draws), of(a=moved)) == pytest.approx(0.25)
    point = np.full((1, 1), 4.0)
    assert workflow.difference(of(a=point), of(a=point + 0.2)) == pytest.approx(0.05)
    assert workflow.difference(of(a=draws), of(b=draws)) == np.inf
    assert workflow.difference(of(a=draws), of(a=draws[:, 1:])) == np.inf
