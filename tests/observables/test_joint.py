"""Joint distributions of bonded coordinates: which terms share sites, counts by hand, mutual information."""

from itertools import product
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import io, results, workflow
from bayescg.observables import (
    JointDistribution,
    Known,
    known_of,
    molecular_observables,
    mutual_information,
    neighbours_of,
    usual,
)
from bayescg.observables.by_name import MOST
from bayescg.potentials import classes_of
from bayescg.topology import Bonded, Topology, variables_of
from tests.molecules import BOX, chains, places
from tests.typed_fits import fitted, frames, measured, observables

MOLECULES = 5
FRAMES = 12


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Frames of A-B-B-A and C."""
    topology = chains(MOLECULES)
    x = places(topology, FRAMES)
    ds = xr.Dataset(
        {"x": (("frame", "site", "axis"), x), "box": ("axis", np.array(BOX))},
        attrs={"temperature": 300.0},
    )
    return ds.assign({k: (d, v) for k, (d, v) in variables_of(topology).items()})


def made(data: xr.Dataset) -> dict[str, JointDistribution]:
    topology = chains(MOLECULES)
    known = molecular_observables(classes_of(topology, topology.pairs), known_of(data), BOX, 7.0)
    return {n: make() for n, make in known.items() if n.startswith("joint_")}  # type: ignore[misc]


def angle(x: np.ndarray, a: int, b: int, c: int) -> float:
    u, v = x[a] - x[b], x[c] - x[b]
    return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))


def test_terms_that_share_sites_are_found() -> None:
    found = {p.name: p for p in neighbours_of(chains(2))}
    assert {n: len(p.first.sites) for n, p in found.items()} == {
        "joint_bond_AB_angle_ABB": 4,  # each end bond is in one angle
        "joint_bond_BB_angle_ABB": 4,  # the middle bond is in both
        "joint_angle_ABB_angle_ABB": 4,  # one pair a molecule, both ways
    }
    pair = found["joint_bond_AB_angle_ABB"]
    for bond, sites in zip(pair.first.sites, pair.second.sites, strict=True):
        assert set(bond.tolist()) in ({*sites.tolist()[:2]}, {*sites.tolist()[1:]})


def test_angles_that_share_one_site_only_are_no_pair() -> None:
    """A star of four arms: angles at its centre share a bond unless they have no arm in common."""
    arms = np.array([[1, 0, 2], [3, 0, 4], [2, 0, 3]])
    star = Topology(
        types=("X",) + ("Y",) * 4,
        mass=np.ones(5),
        molecule=np.zeros(5, int),
        angle=Bonded(arms, ("one", "other", "between")),
    )
    names = {p.name for p in neighbours_of(star)}
    assert names == {"joint_angle_one_angle_between", "joint_angle_other_angle_between"}


def test_counts_are_those_by_hand(data: xr.Dataset) -> None:
    x = data["x"].values
    joint = made(data)["joint_bond_BB_angle_ABB"]
    have = np.asarray(joint(jnp.asarray(x.T)))  # (length, angle, frame)
    at = joint.coords()
    low = [v[0] - 0.5 * (v[1] - v[0]) for v in at.values()]
    want = np.zeros_like(have)
    for frame, m in product(range(FRAMES), range(MOLECULES)):
        s = x[frame, 4 * m : 4 * m + 4]
        length = np.linalg.norm(s[2] - s[1])
        for theta in (angle(s, 0, 1, 2), angle(s, 1, 2, 3)):
            i, j = int((length - low[0]) / 0.04), int((theta - low[1]) / 4.0)
            want[i, j, frame] += 1.0
    np.testing.assert_allclose(have, want / (2 * MOLECULES * 0.04 * 4.0), atol=1e-12)
    assert have.sum((0, 1)) * 0.04 * 4.0 == pytest.approx(np.ones(FRAMES))


def test_its_margins_are_the_distributions_of_one_coordinate(data: xr.Dataset) -> None:
    words = ["joint_bond_BB_angle_ABB:length=0.04,width=4", "bond_BB:width=0.04"]
    found = workflow.observe(data, words)
    margin = found["joint_bond_BB_angle_ABB"].sum("joint_angle") * 4.0
    at = np.searchsorted(found["length"].values, found["joint_length"].values - 1e-6)
    np.testing.assert_allclose(margin, found["bond_BB"].values[at], atol=1e-10)


def test_two_angles_of_one_name_are_counted_both_ways(data: xr.Dataset) -> None:
    joint = made(data)["joint_angle_ABB_angle_ABB"]
    value = np.asarray(joint(jnp.asarray(data["x"].values.T))).mean(-1)
    np.testing.assert_allclose(value, value.T)
    assert joint.dims == ("joint_angle", "joint_other_angle")
    assert value.sum() * 16.0 == pytest.approx(1.0)


def test_values_beyond_the_ranges_are_left_out(data: xr.Dataset) -> None:
    pair = made(data)["joint_bond_BB_angle_ABB"].neighbours
    narrow = JointDistribution(pair, (0.04, 4.0), (0.0, 0.0), (0.2, 180.0), box=BOX)
    assert not np.asarray(narrow(jnp.asarray(data["x"].values.T))).any()


def test_data_with_a_topology_have_observables_by_type(data: xr.Dataset) -> None:
    found = workflow.observe(data)
    names = [str(n) for n in found.data_vars if not str(n).endswith("_se")]
    assert names == [
        *("rdf_A_A", "rdf_A_B", "rdf_A_C", "rdf_B_B", "rdf_B_C", "rdf_C_C"),
        *("bond_AB", "bond_BB", "angle_ABB", "dihedral_ABBA"),
        *(f"joint_{n}" for n in ("bond_AB_angle_ABB", "bond_BB_angle_ABB", "angle_ABB_angle_ABB")),
    ]
    assert found["joint_angle"].attrs["units"] == "degree"
    assert found["joint_bond_AB_angle_ABB"].attrs["units"] == "1/(angstrom degree)"
    # What asks for no topology is there as before.
    assert "tetrahedral_order" in workflow.observe(data, ["tetrahedral_order"])
    with pytest.raises(ValueError, match=r"unknown observable 'bond_XX'.* known: .*bond_AB"):
        workflow.observe(data, ["bond_XX"])
    with pytest.raises(ValueError, match=r"unknown option 'max'.* known: length, width"):
        workflow.observe(data, ["joint_bond_AB_angle_ABB:max=3"])
    with pytest.raises(ValueError, match="widths must lie between 0 and"):
        workflow.observe(data, ["joint_bond_AB_angle_ABB:width=500"])


def test_measured_files_are_as_the_command_writes_them(data: xr.Dataset, tmp_path) -> None:  # type: ignore[no-untyped-def]
    io.save(data, tmp_path / "frames.nc")
    assert io.load(tmp_path / "frames.nc")["angle"].dims == data["angle"].dims
    again = workflow.observe(io.load(tmp_path / "frames.nc"), ["angle_ABB"])
    np.testing.assert_array_equal(again["angle_ABB"], workflow.observe(data)["angle_ABB"])


def test_of_many_joint_distributions_the_most_frequent_are_usual() -> None:
    known = dict.fromkeys(["rdf", *(f"joint_{k}" for k in range(9))], lambda: None)
    assert usual(known) == ["rdf", *(f"joint_{k}" for k in range(MOST))]  # type: ignore[arg-type]


def test_a_system_without_bonds_has_no_joint_ones() -> None:
    single = Topology(("W",) * 4, np.ones(4), np.arange(4))
    seen = {("pair", "W_W"): Known(2.0, 5.0, 0.0, 0.0)}
    known = molecular_observables(classes_of(single, single.pairs), seen, (9.0,) * 3, 4.0)
    assert list(known) == ["rdf"]


NAME = "joint_bond_AB_angle_ABA"


@pytest.fixture
def unsimulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions store their reference, and simulate nothing."""
    monkeypatch.setattr("bayescg.workflow.prediction.particle_groups", lambda *given: ({}, {}))


def reference_of(source: Path | xr.Dataset, *observables: str) -> xr.Dataset:
    """What a prediction stores beside itself."""
    return results.group(workflow.predict(fitted(), observables, reference=source), "reference")


@pytest.mark.usefixtures("unsimulated")
@pytest.mark.by_hand
def test_targets_without_frames_leave_joint_distributions_to_the_fitted_ones() -> None:
    given = measured(2).drop_vars([NAME, f"{NAME}_se"])
    found = reference_of(given, NAME, "bond_AB")
    assert found[NAME].attrs["measured_on"] == "the fitted frames"
    assert "measured_on" not in found["bond_AB"].attrs
    (of_fit,) = (o for o in observables() if o.name == NAME)
    x = results.group(fitted(), "observed_data")["x"].values
    mean = np.asarray(of_fit(jnp.asarray(x.T))).mean(-1)
    np.testing.assert_allclose(found[NAME], mean, atol=1e-12)
    assert NAME not in reference_of(given, "bond_AB")


@pytest.mark.usefixtures("unsimulated")
@pytest.mark.slow
def test_a_file_of_frames_with_topology_is_a_reference(tmp_path: Path) -> None:
    """All is measured on them, or what the file does not hold itself."""
    data = frames(count=20, seed=3)
    io.save(data, tmp_path / "frames.nc")
    found = reference_of(tmp_path / "frames.nc", NAME, "angle_ABA")
    assert "measured_on" not in found[NAME].attrs
    again = workflow.observe(data, ["angle_ABA"])
    np.testing.assert_allclose(found["angle_ABA"], again["angle_ABA"])
    stored = data.assign(bond_AB=("length", np.ones(45)), bond_AB_se=("length", np.zeros(45)))
    found = reference_of(stored, NAME, "bond_AB")
    assert (found["bond_AB"] == 1.0).all() and found[NAME].sum() > 0.0


@pytest.mark.slow
@pytest.mark.usefixtures("unsimulated")
def test_what_was_observed_is_a_reference_whatever_its_frames() -> None:
    """A fit to some frames is measured by others; another norm of g(r) is refused."""
    seen = workflow.observe(frames(count=20, seed=3), ["rdf_A_A:norm=n2"])
    with pytest.raises(ValueError, match=r"normalised by n2, the prediction by pairs; .*:norm=n2"):
        reference_of(seen, "rdf_A_A")
    assert "rdf_A_A" in reference_of(seen, "rdf_A_A:norm=n2")
    attrs = results.attrs(fitted())
    attrs["model_options"] = json.loads(attrs["model_options"]) | {"frames": 30}
    groups = {g: results.group(fitted(), g) for g in results.groups(fitted())}
    shorter = results.inference_data(groups, **attrs)
    found = workflow.predict(shorter, ["rdf_A_A:norm=n2"], reference=seen)
    assert "rdf_A_A" in results.group(found, "reference")


GRID = np.linspace(-4.5, 4.5, 37)
WIDE = np.linspace(-1.5, 1.5, 9)  # every cell is met often


def normal(rho: float, grid: np.ndarray = GRID) -> np.ndarray:
    """A bivariate normal density."""
    a, b = np.meshgrid(grid, grid, indexing="ij")
    p = np.exp(-(a**2 + b**2 - 2 * rho * a * b) / (2 * (1 - rho**2)))
    return np.asarray(p / p.sum())


def test_mutual_information_of_a_normal_distribution() -> None:
    """-ln(1 - rho^2)/2; the grid costs less than 0.2 %."""
    for rho in (0.0, 0.5, -0.8):
        found = mutual_information(7.0 * normal(rho), None, GRID, GRID)
        assert found.value == pytest.approx(-0.5 * np.log(1 - rho**2), rel=0.002, abs=1e-12)
        assert found.correlation == pytest.approx(rho, abs=0.001)
        assert np.isnan(found.error)


def test_dependence_without_correlation_is_seen() -> None:
    a, b = np.meshgrid(GRID, GRID, indexing="ij")
    found = mutual_information(np.exp(-((b - a**2 + 1) ** 2) / 0.5 - a**2), None, GRID, GRID)
    assert abs(found.correlation) < 1e-12 and found.value > 0.3


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_bias_and_error_are_those_of_independent_samples(rho: float) -> None:
    """400 sets of 4000 samples. The mean misses by z of 4 with a chance of 6e-5 (what is left of the bias
    is of second order); the error is known to 4 % (sd), and first order is held to 15 %."""
    rng = np.random.default_rng(0)
    p, samples, sets = normal(rho, WIDE), 4000, 400
    exact = mutual_information(p, None, WIDE, WIDE).value
    found, plain = [], []
    for counts in rng.multinomial(samples, p.ravel(), size=sets).reshape(-1, *p.shape):
        q = counts / samples
        found.append(mutual_information(q, np.sqrt(q * (1 - q) / samples), WIDE, WIDE))
        plain.append(mutual_information(q, None, WIDE, WIDE).value)
    value = np.array([f.value for f in found])
    error = value.std(ddof=1)
    bias, noise = np.mean(plain) - exact, error / np.sqrt(sets)
    assert bias > 10 * noise  # what the correction is for
    assert abs(value.mean() - exact) < 4 * noise + 0.1 * bias
    if rho:
        assert np.mean([f.error for f in found]) == pytest.approx(error, rel=0.15)


def test_a_symmetric_distribution_has_half_as_many_numbers() -> None:
    """Pairs counted both ways: 400 sets of 4000 pairs; the error is known to 4 % (sd), held to 15 %."""
    rng = np.random.default_rng(1)
    p, pairs, sets = normal(0.5, WIDE), 4000, 400
    found = []
    for counts in rng.multinomial(pairs, p.ravel(), size=sets).reshape(-1, *p.shape):
        q = 0.5 * (counts + counts.T) / pairs
        s = np.sqrt(q * (1 - q) / (2 * pairs))
        s[np.diag_indices(len(s))] *= np.sqrt(2.0)  # there both ways are one
        found.append(mutual_information(q, s, WIDE, WIDE))
    value = np.array([f.value for f in found])
    assert np.mean([f.error for f in found]) == pytest.approx(value.std(ddof=1), rel=0.15)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match=r"density has shape \(37, 37\); allowed is \(37, 36\)"):
        mutual_information(normal(0.1), None, GRID, GRID[:-1])
    with pytest.raises(ValueError, match="zero everywhere"):
        mutual_information(np.zeros((37, 37)), None, GRID, GRID)
