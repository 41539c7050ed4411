"""Targets brought to a model's bins, which of them are taken, and when a search may end."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayescg import workflow
from bayescg.infer.histograms import Histograms, Part, Target
from bayescg.infer.match_run import Prepared, prepare
from bayescg.infer.matching import Statistics, _distance
from bayescg.infer.targets import target_of
from bayescg.infer.updates import Measured
from bayescg.potentials.classes import classes_of
from bayescg.potentials.counting import Nodes
from tests.limits.dilute import pair_data
from tests.molecules import BOX, chains

SHIPPED = Path(__file__).parents[2] / "data"
WATER = SHIPPED / "spce_water" / "long_run_512.nc"
HEXANE = SHIPPED / "hexane" / "long_run.nc"


def lennard_jones(r: np.ndarray) -> np.ndarray:
    return 2.0 * ((3.4 / r) ** 12 - (3.4 / r) ** 6)


@pytest.fixture(scope="module")
def hexane() -> tuple[Prepared, xr.Dataset]:
    data = xr.load_dataset(HEXANE.with_name("frames.nc")).isel(frame=slice(2))
    made = workflow.make_system("molecular", [], data, "ibi")
    return prepare(made, data, "ibi", on="bins", target=str(HEXANE)), data


def in_bins(fine: xr.DataArray, width: float, shift: float) -> xr.DataArray:
    """An RDF in wider bins, by adding up what its own hold: shells are the exact weights."""
    r = fine["r"].values
    step = r[1] - r[0]
    edges = np.append(r - 0.5 * step, r[-1] + 0.5 * step)
    counts = np.concatenate([[0.0], np.cumsum(fine.values * np.diff(edges**3))])
    every = round(width / step)
    first = round(shift / step)
    taken = edges[first::every]
    g = np.diff(counts[first::every]) / np.diff(taken**3)
    return xr.DataArray(g, {"r": 0.5 * (taken[1:] + taken[:-1])}, ("r",))


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_other_bins_say_the_same(shift: float) -> None:
    """Water's sharp peak in VOTCA's bins, k times 0.1, and in the model's, (k + 1/2) times 0.1."""
    fine = xr.load_dataset(WATER)["rdf_W_W"]
    topology = chains(2)
    classes = classes_of(topology, [("A", "A")])
    nodes = Nodes(2.05, 0.1, 70, "nearest", "dropped")
    bins = Histograms((Part("pair", "A_A", nodes, slice(0, 70)),), classes, BOX)
    part = bins.parts[0]
    found = bins.from_distributions(xr.Dataset({"rdf_A_A": in_bins(fine, 0.1, shift)}))
    exact = in_bins(fine, 0.1, 0.0).sel(r=nodes.values, method="nearest").values
    off = bins.distribution(part, found.mean) - exact
    if shift == 0.0:
        np.testing.assert_allclose(off, 0.0, atol=1e-12)
    # 0.002 (rms) of water's bins of 0.1 angstrom; the bar of a fit is 0.01.
    assert np.sqrt(np.mean(off**2)) < 0.003
    assert (found.mean >= 0.0).all() and (found.mean[exact == 0.0] == 0.0).all()


def test_bonded_targets_keep_every_term(hexane: tuple[Prepared, xr.Dataset]) -> None:
    """As many terms as the topology has, however its bins lie; what lies outside is on the end bins."""
    h = hexane[0].histograms
    stored = xr.load_dataset(HEXANE)
    for part in h.parts:
        if part.kind == "pair":
            continue
        terms = len(h.classes.members[part.kind, part.name].sites)
        assert hexane[0].target.mean[part.at].sum() == pytest.approx(terms, rel=1e-9)
        v = stored[part.variable]
        axis = str(v.dims[0])
        moved = stored.assign_coords({axis: stored[axis] + 0.4 * float(stored[axis].diff(axis)[0])})
        found = h.from_distributions(moved).mean[part.at]
        assert found.sum() == pytest.approx(terms, rel=1e-9)
        unit = np.pi / 180.0 if part.kind == "angle" else 1.0
        mean = [
            float(c @ part.nodes.values) / terms for c in (hexane[0].target.mean[part.at], found)
        ]
        width = float(stored[axis].diff(axis)[0]) * unit
        assert mean[1] - mean[0] == pytest.approx(0.4 * width, abs=0.05 * width)


def test_a_dihedral_s_bins_meet_at_half_a_turn() -> None:
    topology = chains(2)
    classes = classes_of(topology, [("A", "A")])
    (name,) = topology.bonded()["dihedral"].kinds[:1]
    nodes = Nodes(-np.pi, np.pi / 36.0, 72, "nearest", "clipped")
    bins = Histograms((Part("dihedral", name, nodes, slice(0, 72)),), classes, BOX)
    degrees = np.arange(-177.5, 180.0, 5.0)
    density = 1.0 + 0.5 * np.cos(np.radians(degrees))
    data = xr.Dataset({f"dihedral_{name}": ("dihedral", density / density.sum() / 5.0)})
    found = bins.from_distributions(data.assign_coords(dihedral=degrees)).mean
    expected = 1.0 + 0.5 * np.cos(nodes.values)
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-3)


def test_a_target_that_ends_too_early() -> None:
    data = pair_data(lennard_jones)
    short = data.isel(r=slice(60))
    made = workflow.make_system("molecular", ["cutoff=7"], data, "ibi")
    with pytest.raises(
        ValueError, match=r"rdf ends at 6 angstrom, before .* allowed is -s cutoff=6"
    ):
        prepare(made, short, "ibi", on="bins")


def test_a_file_of_targets_must_belong_to_the_data(
    hexane: tuple[Prepared, xr.Dataset], tmp_path: Path
) -> None:
    ready, data = hexane
    stored = xr.load_dataset(HEXANE)
    at = tmp_path / "other.nc"

    def refused(changed: xr.Dataset, message: str) -> None:
        changed.to_netcdf(at)
        with pytest.raises(ValueError, match=message) as caught:
            target_of(ready.histograms, data, ready.x, str(at))
        assert str(caught.value).startswith(f"{at}: ")

    refused(stored.assign_attrs(temperature=350.0), r"350 K, the data's 300 K")
    refused(stored.assign(box=1.02 * stored["box"]), r"density of A is .* within one per cent")
    refused(stored.drop_vars("rdf_A_B"), r"no rdf_A_B; it holds angle_ABA, ")
    refused(stored.assign(bond_AB=-stored["bond_AB"]), r"bond_AB must hold numbers from 0")
    with pytest.raises(ValueError, match=r"a file that there is, got 'none\.nc'"):
        target_of(ready.histograms, data, ready.x, "none.nc")


def test_what_is_never_met_is_noticed() -> None:
    """Of a target without errors too: as many counts as it asks for are far from none."""
    mean = np.array([4.0, 0.0, 4.0])
    measured = Measured(mean, 0.1 * mean, np.eye(3), np.zeros((0, 3)), 400.0)
    want = np.array([4.0, 1.0, 4.0])
    there = Statistics(lambda x: x, Target(want, np.zeros(3)), np.ones(3, bool))
    # One count a configuration, 400 of them: 20 standard errors.
    assert _distance(measured, there) == pytest.approx(20.0 / np.sqrt(3.0))
    absent = Statistics(lambda x: x, Target(mean, np.zeros(3)), np.ones(3, bool))
    assert _distance(measured, absent) == 0.0
