"""``bayescg export``: from stored results, without a fit, to folders that hold what the posterior says."""

from functools import cache
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import results, workflow
from bayescg.cli import cli
from bayescg.topology import variables_of
from bayescg_models import spce_water
from tests.exports import EDGE, chains, places
from tests.liquids import liquid

OPTIONS = {
    "sites": 24,
    "box": 10.0,
    "cutoff": 4.9,
    "high": 4.9,
    "features": 4,
    "core": 2.2,
    "temperature": 310.0,
}
DRAWS = 6


def posterior() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "theta_c": 0.2 * rng.normal(size=(2, DRAWS // 2, 4)),
        "epsilon": rng.uniform(0.1, 0.2, (2, DRAWS // 2)),
        "sigma": rng.uniform(2.8, 3.0, (2, DRAWS // 2)),
        "sigma2": np.full((2, DRAWS // 2), 0.02),
    }


def result(draws: dict[str, np.ndarray] | None = None, **options: Any) -> Any:
    """What a fit of water would store, with draws that no method made."""
    x = liquid(24, 4, box=(10.0,) * 3).transpose(2, 1, 0)
    observed = results.to_dataset({"x": x}, dims={"x": ("frame", "site", "axis")}, sample_dims=())
    constants = results.to_dataset(
        {"box": np.full(3, 10.0)}, dims={"box": ("axis",)}, sample_dims=()
    )
    dims = {"theta_c": ("feature",)}
    groups = {
        "posterior": results.to_dataset(draws or posterior(), dims=dims),
        "observed_data": observed,
        "constant_data": constants,
    }
    attrs = {
        "method": "mcem",
        "model": "spce_water",
        "model_options": OPTIONS | options,
        "converged": 1,
        "ended": "converged",
        "data_source": "frames.nc",
    }
    return results.inference_data(groups, **attrs)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("result") / "fit.nc"
    results.save(result(), path)
    return path


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words])


def complaint(done: Result) -> str:
    """The one line of an error about the input."""
    assert done.exit_code == 2, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bayescg: "), lines
    return lines[0].removeprefix("bayescg: ")


@cache
def pair_energies() -> tuple[np.ndarray, np.ndarray]:
    """Distances of the tables, and energies ``(draw, r)`` by the model's own program."""
    water = spce_water.system(spce_water.Options(**OPTIONS)).program.keywords["water"]  # type: ignore[attr-defined]
    r = np.linspace(0.002, 4.9, 2450)
    draws = [jnp.asarray(v.reshape(DRAWS, *v.shape[2:])) for v in list(posterior().values())[:3]]
    energy = jax.jit(jax.vmap(lambda *p: water.potential(*p).pair_energy(jnp.asarray(r))))
    return r, np.asarray(energy(*draws))


def table(path: Path) -> np.ndarray:
    return np.loadtxt(path / "pair_A_A.txt").T


def test_mean_and_draws(stored: Path, tmp_path: Path) -> None:
    """All draws, each its own; the mean is that of energies, not of parameters; sigma2 is told."""
    done = invoke(
        "export", stored, "--format", "table", "--draws", DRAWS, "-o", tmp_path / "out", "--json"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    names = [f"draw_{k:03d}" for k in range(1, DRAWS + 1)]
    assert said["folders"] == ["mean", *names] and all(Path(f).is_file() for f in said["files"])
    low, high = said["known"]["pair A_A"]
    assert 2.2 < low < 2.6 and high == 4.9
    r, u, f = table(tmp_path / "out" / "mean")
    known = (r >= low) & (r < 4.9)
    own_r, each = pair_energies()
    np.testing.assert_allclose(r, own_r, rtol=1e-11)
    np.testing.assert_allclose(u[known], each.mean(0)[known], rtol=1e-9, atol=1e-9)
    for k, name in enumerate(names):
        own = table(tmp_path / "out" / name)[1]
        np.testing.assert_allclose(own[known], each[k][known], rtol=1e-9, atol=1e-9)
        assert (
            f"chain {k // 3}, draw {k % 3}" in (tmp_path / "out" / name / "README.txt").read_text()
        )
    np.testing.assert_allclose(
        -np.gradient(u, r)[known][1:-1], f[known][1:-1], rtol=1e-3, atol=1e-3
    )
    text = (tmp_path / "out" / "mean" / "README.txt").read_text()
    for words in ("variance 0.02 angstrom^2", "data: frames.nc", "posterior mean", "at 310 K"):
        assert words in text
    assert "lambda epsilon" in (tmp_path / "out" / "mean" / "three_body.txt").read_text()


def test_some_draws_are_spread_over_all(stored: Path, tmp_path: Path) -> None:
    done = invoke("export", stored, "--format", "table", "--draws", 2, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for name, at in (("draw_001", 0), ("draw_002", DRAWS - 1)):
        r, u, _ = table(tmp_path / "out" / name)
        near = (r > 3.0) & (r < 4.8)
        np.testing.assert_allclose(u[near], pair_energies()[1][at][near], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("format", ["lammps", "openmm"])
def test_the_mean_alone(format: str, stored: Path, tmp_path: Path) -> None:
    """In the folder itself, empty or new; with the mass that the model says."""
    (tmp_path / "out").mkdir()
    done = invoke("export", stored, "--format", format, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "pair A_A: from data between 2." in done.stderr
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files >= {"README.txt", {"lammps": "in.lammps", "openmm": "system.xml"}[format]}
    held = "".join(p.read_text() for p in (tmp_path / "out").iterdir())
    assert "18.00988" in held and "three-body" in held


@pytest.mark.parametrize("format", ["gromacs", "hoomd"])
def test_a_term_that_cannot_be_expressed(format: str, stored: Path, tmp_path: Path) -> None:
    words = ["export", stored, "--format", format, "-o", tmp_path / "out"]
    assert "cannot express the three-body term" in complaint(invoke(*words))
    without = tmp_path / "without.nc"
    results.save(result(three_body="none"), without)
    words[1] = without
    assert not (tmp_path / "out").exists()
    assert invoke(*words).exit_code == 0


def test_bad_input(stored: Path, tmp_path: Path) -> None:
    def said(*words: object, path: Path = stored) -> str:
        return complaint(invoke("export", path, *words))

    out = ("-o", tmp_path / "out")
    assert "'xyz' is not one of 'lammps', 'gromacs'" in said("--format", "xyz", *out)
    table = ("--format", "table")
    for draws in (0, DRAWS + 1):
        text = said(*table, "--draws", draws, *out)
        assert text == f"draws must lie between 1 and the {DRAWS} stored ones, got {draws}."
    assert "there is no file" in said(*table, *out, path=tmp_path / "none.nc")
    assert "the folder is not empty" in said(*table, "-o", stored.parent)
    assert "it is a file" in said(*table, "-o", __file__)
    assert "give another name" in said(*table, "-o", stored)
    assert "make it first" in said(*table, "-o", tmp_path / "no" / "out")
    empty = {k: v[:, :0] for k, v in posterior().items()}
    results.save(result(empty), tmp_path / "empty.nc")
    assert "holds no posterior draws" in said(*table, *out, path=tmp_path / "empty.nc")
    spins = results.inference_data(
        {"posterior": results.to_dataset({"p0": np.full((1, 2), 0.7)})},
        method="mcem", model="ising", model_options={}, converged=1, ended="converged",
    )  # fmt: skip
    results.save(spins, tmp_path / "spins.nc")
    assert "ising is a model of spins" in said(*table, *out, path=tmp_path / "spins.nc")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_molecules(tmp_path: Path) -> None:
    """Every potential of the shipped model of molecules, as its own program has it."""
    model = chains(excluded=2)
    x = np.stack([places(seed=s) for s in range(6)])
    data = xr.Dataset(
        {
            "x": (("frame", "site", "axis"), x),
            "box": (("axis",), np.full(3, EDGE)),
            **variables_of(model.topology),
        },
        attrs={"temperature": 300.0},
    )
    system = workflow.make_system("molecular", (), data)
    theta = np.random.default_rng(0).normal(size=(1, 2, len(system.features)))
    constants = xr.Dataset({k: (dims, v) for k, (dims, v, _, _) in system.constants.items()})
    groups = {
        "posterior": results.to_dataset(
            {"theta_c": theta, "sigma2": np.full((1, 2), 0.01)}, dims={"theta_c": ("feature",)}
        ),
        "observed_data": data[["x"]],
        "constant_data": constants,
    }
    given = {"converged": 1, "ended": "converged", "method": "mcem", "model": "molecular"}
    fitted = results.inference_data(groups, model_options=dict(system.options), **given)
    path = tmp_path / "fit.nc"
    results.save(fitted, path)
    made = workflow.export_models(results.load(path))["."]
    np.testing.assert_array_equal(made.topology.mass, model.topology.mass)
    np.testing.assert_array_equal(made.topology.exclusion, model.topology.exclusion)
    assert [i.label for i in made.interactions] == [i.label for i in model.interactions]
    np.testing.assert_allclose(made.x, x[-1])
    m = system.program.keywords["molecules"]  # type: ignore[attr-defined]
    ranges = [np.linspace(i.known[0], min(i.known[1], 9.99), 50) for i in made.interactions]

    @jax.jit
    def energies(theta_c: jax.Array) -> list[jax.Array]:
        own = m.potential(theta_c, {})
        return [i.energy(q) for i, q in zip(own.interactions, ranges, strict=True)]

    own = energies(jnp.asarray(theta[0].mean(0)))
    for i, q, u in zip(made.interactions, ranges, own, strict=True):
        np.testing.assert_allclose(i.energy(q), u, rtol=1e-9, atol=1e-9)
    assert made.pair("A", "B").cutoff == 10.0  # type: ignore[union-attr]
