"""Potentials that a search starts from: given ones, and integral equations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayescg import results, workflow
from bayescg.infer.inversion import inverted
from bayescg.infer.match_run import Prepared, prepare
from bayescg.infer.starting import starting_potentials
from bayescg.io.targets import Target, make_targets, save_targets
from tests.limits.dilute import BOX, KT, TEMPERATURE, pair_data

HEXANE = Path(__file__).parents[2] / "data" / "hexane" / "long_run.nc"
FRAMES = HEXANE.with_name("frames.nc")


def well(r: np.ndarray) -> np.ndarray:
    return 4.0 * ((3.4 / r) ** 12 - (3.4 / r) ** 6) * (r < 6.5)


@pytest.fixture(scope="module")
def pair() -> tuple[Prepared, xr.Dataset]:
    data = pair_data(well)
    made = workflow.make_system("molecular", ["cutoff=7"], data, "ibi")
    return prepare(made, data, "ibi", on="bins"), data


@pytest.fixture(scope="module")
def hexane() -> Prepared:
    data = xr.load_dataset(FRAMES).isel(frame=slice(2))
    made = workflow.make_system("molecular", [], data, "ibi")
    return prepare(made, data, "ibi", on="bins", target=str(HEXANE))


def start(ready: Prepared, data: xr.Dataset, choice: str) -> np.ndarray:
    return starting_potentials(ready.histograms, ready.target, KT, data, choice)[0]


def test_a_dilute_gas_starts_alike_by_both_theories(pair: tuple[Prepared, xr.Dataset]) -> None:
    """Of two beads in 4096 cubic angstrom little is left of the chain's correction."""
    ready, data = pair
    g = np.exp(-well(data["r"].values) / KT)
    ready = replace(ready, target=ready.histograms.from_distributions(data.assign(rdf=("r", g))))
    r = ready.histograms.parts[0].nodes.values
    direct, chain = start(ready, data, "dbi"), start(ready, data, "hnc")
    np.testing.assert_array_equal(direct, inverted(ready.histograms, ready.target, KT))
    at = r > 3.2
    np.testing.assert_allclose(chain[at], direct[at], atol=0.05 * KT)
    assert np.abs(chain - direct)[at].max() > 0.0
    np.testing.assert_array_equal(start(ready, data, "auto"), chain)
    for choice in ("dbi", "hnc"):
        assert starting_potentials(ready.histograms, ready.target, KT, data, choice)[1] == choice


def test_what_the_data_hold_comes_first(pair: tuple[Prepared, xr.Dataset]) -> None:
    """A given potential in its range, its end at zero; below it goes on as direct inversion does."""
    ready, data = pair
    r = ready.histograms.parts[0].nodes.values
    q = np.arange(3.0, 6.01, 0.1)
    held = data.assign(pair_potential_A_A=(("r_potential",), np.cos(q)))
    held = held.assign_coords(r_potential=q)
    u = start(ready, held, "auto")
    np.testing.assert_array_equal(u, start(ready, held, "stored"))
    inside, below = (r >= 3.0) & (r <= 6.0), r < 3.0
    np.testing.assert_allclose(u[inside], np.interp(r[inside], q, np.cos(q)) - np.cos(6.0))
    np.testing.assert_allclose(u[r > 6.0], 0.0, atol=1e-12)
    direct = start(ready, held, "dbi")
    np.testing.assert_allclose(np.diff(u[below]), np.diff(direct[below]))


def test_bonded_potentials_are_joined_at_both_ends(hexane: Prepared) -> None:
    part = next(p for p in hexane.histograms.parts if p.kind == "angle")
    q = part.nodes.values
    degrees = np.linspace(120.0, 150.0, 31)
    data = xr.Dataset({f"angle_potential_{part.name}": (("angle",), 0.1 * degrees)})
    u = start(hexane, data.assign_coords(angle=degrees), "stored")[part.at]
    direct = start(hexane, data, "dbi")
    inside = (q >= np.radians(120.0)) & (q <= np.radians(150.0))
    np.testing.assert_allclose(np.diff(u[inside]), 0.1 * np.degrees(part.nodes.step), rtol=1e-9)
    for side in (q < np.radians(120.0), q > np.radians(150.0)):
        np.testing.assert_allclose(np.diff(u[side]), np.diff(direct[part.at][side]))
    assert (
        u.min() == 0.0 and np.abs(np.diff(u)).max() < np.abs(np.diff(direct[part.at])).max() + 1.0
    )
    others = [p for p in hexane.histograms.parts if p is not part]
    for p in others:
        np.testing.assert_array_equal(
            start(hexane, data.assign_coords(angle=degrees), "auto")[p.at], direct[p.at]
        )


def test_a_result_and_a_file_of_targets_will_do(
    pair: tuple[Prepared, xr.Dataset], tmp_path: Path
) -> None:
    ready, data = pair
    r = ready.histograms.parts[0].nodes.values
    result = workflow.fit("molecular", data, method="dbi", options=["cutoff=7"])
    results.save(result, tmp_path / "dbi.nc")
    direct = start(ready, data, "dbi")
    again = start(ready, data, str(tmp_path / "dbi.nc"))
    at = (r > 3.0) & (r < 6.9)  # results hold potentials on a grid of 0.05
    np.testing.assert_allclose(again[at] - direct[at], again[at][-1] - direct[at][-1], atol=0.05)
    g = Target("pair", "A_A", r, np.ones(len(r)), types=("A", "A"), norm="pairs")
    u = Target("pair", "A_A", r, np.sin(r), types=("A", "A"))
    given = make_targets(
        [g], box=np.full(3, BOX), count={"A": 2}, temperature=TEMPERATURE, potentials=[u]
    )
    save_targets(given, tmp_path / "targets.nc")
    np.testing.assert_allclose(
        start(ready, data, str(tmp_path / "targets.nc")), np.sin(r) - np.sin(r[-1]), atol=1e-9
    )


def test_what_cannot_be_is_said(
    pair: tuple[Prepared, xr.Dataset], hexane: Prepared, tmp_path: Path
) -> None:
    ready, data = pair
    with pytest.raises(
        ValueError, match="hnc is for one type of beads without bonds, not for pair A_A, "
    ):
        start(hexane, data, "hnc")
    with pytest.raises(ValueError, match=r"a file that there is, got 'nothing\.nc'"):
        start(ready, data, "nothing.nc")
    with pytest.raises(
        ValueError, match="the data hold no potential; needed is one such as pair_potential_A_A"
    ):
        start(ready, data, "stored")
    data.to_netcdf(tmp_path / "none.nc")
    with pytest.raises(ValueError, match=r"none\.nc holds no potential"):
        start(ready, data, str(tmp_path / "none.nc"))
