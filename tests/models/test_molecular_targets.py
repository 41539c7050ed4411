"""Molecules from targets without frames: the cut-off, and potentials that are given and not fitted."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import results, workflow
from bayescg.cli import cli
from bayescg.infer.inversion import inverted, projected
from bayescg.infer.match_run import prepare
from bayescg.io.targets import load_data, load_targets, save_targets
from bayescg.observables import fixed_of, known_of
from bayescg.predict import Production
from bayescg.units import KCAL
from bayescg.workflow.importing import import_targets
from bayescg.workflow.registry import restored_system
from tests import votca_project as project
from tests.limits.dilute import pair_data

TINY = ("chains=8", "samples=10", "relax=5", "warmup=20", "max_iterations=2")


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that iterates the pairs A-A and A-B, and keeps all else."""
    folder = tmp_path_factory.mktemp("project")
    settings = project.write(folder)
    project.fixed_bonds(folder)
    save_targets(import_targets(settings), folder / "targets.nc")
    return folder / "targets.nc"


@pytest.fixture(scope="module")
def fitted(targets: Path) -> Any:
    return workflow.fit("molecular", targets, method="imc", method_options=TINY)


def cutoff(data: xr.Dataset, *words: str) -> float:
    return float(workflow.make_system("molecular", words, data, "imc").options["cutoff"])


def test_the_cutoff_ends_with_the_targets(targets: Path) -> None:
    data = load_data(targets)
    assert data["rdf_A_A"].attrs["potential_range"].tolist() == [0.0, 9.0]
    assert cutoff(data) == 8.0  # A and B: the target to 8.05, the potential to 8
    free = data.copy()
    for name in ("rdf_A_A", "rdf_A_B"):
        free[name] = data[name].copy()
        del free[name].attrs["potential_range"]
    assert cutoff(free) == pytest.approx(8.05)
    assert cutoff(data, "cutoff=8.05") == 8.05
    with pytest.raises(
        ValueError, match=r"cutoff is 8.1 angstrom, but the target rdf_A_B ends at 8.05;"
    ):
        cutoff(data, "cutoff=8.1")


def test_targets_that_reach_far_leave_the_cutoff() -> None:
    data = pair_data(lambda r: 0.0 * r)
    assert cutoff(data) == 8.0  # half the box, where the target ends, too
    assert cutoff(data.isel(r=slice(50))) == pytest.approx(5.0)
    frames = xr.concat([data[["x"]]] * 2, "frame").merge(data.drop_vars("x").isel(r=slice(50)))
    assert cutoff(frames) == pytest.approx(5.0)
    assert cutoff(frames, "cutoff=7") == 7.0  # their own frames reach as far


def test_what_is_known_of_a_given_potential(targets: Path) -> None:
    data = load_data(targets)
    fixed, known = fixed_of(data), known_of(data)
    assert list(fixed) == [("pair", "B_B"), ("bond", "b1"), ("angle", "a1")]
    assert list(known)[:3] == [("pair", "A_A"), ("pair", "A_B"), ("pair", "B_B")]
    bond, kt = known["bond", "b1"], 0.5961612
    stiff = 4000.0 / KCAL / 100.0
    assert bond.high == pytest.approx(2.5 + np.sqrt(40.0 * kt / stiff), abs=0.03)
    assert bond.spread == pytest.approx(np.sqrt(kt / stiff), rel=0.05)
    assert load_targets(targets).fixed[0].name == "B_B"
    with pytest.raises(ValueError, match="no bond_b1; needed is a target or a potential, bond_pot"):
        known_of(data.drop_vars("bond_potential_b1"))
    with pytest.raises(ValueError, match="a potential for every interaction and no target to fit"):
        kept = {f"pair_potential_{n}": ("r_kept", np.zeros(2)) for n in ("A_A", "A_B")}
        without = data.drop_vars(["rdf_A_A", "rdf_A_B"]).assign(kept)
        cutoff(without.assign_coords(r_kept=[0.0, 5.0]))


def test_given_potentials_are_felt_and_not_fitted(targets: Path, fitted: Any) -> None:
    posterior = results.group(fitted, "posterior")
    assert {str(f).split(":")[0] for f in posterior["feature"].values} == {"pair A_A", "pair A_B"}
    u, q = posterior["bond_potential_b1"][0, 0], posterior["length"].values
    given = 0.5 * 4000.0 / KCAL * (q / 10.0 - 0.25) ** 2
    np.testing.assert_allclose(u - u.min(), given - given.min(), atol=0.02)
    r = posterior["r"].values
    assert r[-1] == pytest.approx(9.0)  # the given table reaches farther than what is fitted
    table = fixed_of(load_data(targets))["pair", "B_B"]
    expected = np.interp(r, table.q, table.u - table.u[-1])
    np.testing.assert_allclose(posterior["pair_potential_B_B"][0, 0], expected, atol=1e-9)


@pytest.mark.by_hand
def test_a_result_knows_what_was_given(tmp_path: Path, targets: Path, fitted: Any) -> None:
    results.save(fitted, tmp_path / "result.nc")
    stored = results.load(tmp_path / "result.nc")
    system = restored_system(stored)
    molecules = system.program.keywords["molecules"]  # type: ignore[attr-defined]
    before, after = (
        m.potential(jnp.zeros(m.size), {})
        for m in (
            workflow.make_system("molecular", [], load_data(targets), "imc").program.keywords[
                "molecules"
            ],  # type: ignore[attr-defined]
            molecules,
        )
    )
    q = jnp.linspace(0.5, 9.5, 500)
    for one, other in zip(before.interactions, after.interactions, strict=True):
        assert one.label == other.label
        np.testing.assert_allclose(other.energy(q), one.energy(q), rtol=1e-9, atol=1e-9)
    done = CliRunner().invoke(
        cli,
        ["export", str(tmp_path / "result.nc"), "--format", "table", "-o", str(tmp_path / "out")],
    )
    assert done.exit_code == 0, done.output
    r, u = np.loadtxt(tmp_path / "out" / "bond_b1.txt", usecols=(0, 1)).T
    at = np.abs(r - 2.5) < 1.0
    expected = 0.5 * 4000.0 / KCAL * (r[at] / 10.0 - 0.25) ** 2
    np.testing.assert_allclose(u[at] - u[at].min(), expected - expected.min(), atol=0.02)


@pytest.mark.by_hand
def test_given_potentials_are_simulated(fitted: Any) -> None:
    predicted = workflow.predict(fitted, ["bond_b1"], production=Production(20, 20, 2))
    bond = results.group(predicted, "posterior_predictive")["bond_b1"][0, 0]
    assert float((bond * bond["length"]).sum() / bond.sum()) == pytest.approx(2.55, abs=0.05)


def test_statistics_leave_given_terms_out(targets: Path) -> None:
    """By relative entropy every term is a statistic, and the given ones count for nothing."""
    data = load_data(targets)
    made = workflow.make_system("molecular", ["knots=1"], data, "rem")
    ready = prepare(made, data, "rem", on="statistics")
    h = ready.histograms
    assert [p.label for p in h.parts] == ["pair A_A", "pair A_B"]
    wanted = h.statistics(ready.potential, ready.target).mean
    names = ready.potential.names
    assert len(wanted) == len(names)
    fixed = np.array([n.endswith("fixed") for n in names])
    assert fixed.sum() == 3 and not wanted[fixed].any()
    u = inverted(h, ready.target, 1.0 / ready.beta)
    theta = projected(ready.potential, h, ready.target, 1.0 / ready.beta, u)["theta_c"]
    assert len(theta) == len(made.features)
