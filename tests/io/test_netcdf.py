"""Data files: what is right comes back as it was, what is wrong is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayescg.io import check, each_temperature, load, load_observables, save


def spins(*dims: str) -> xr.Dataset:
    sizes = {"mu": 2, "frame": 3, "site": 4}
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=[sizes[d] for d in dims])
    coords = {"mu": [-0.5, 0.5]} if "mu" in dims else {}
    return xr.Dataset({"x": (dims, x)}, coords, {"beta": 0.3})


def sites() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "x": (("frame", "site", "axis"), rng.random((3, 4, 3), np.float32)),
            "box": ("axis", [10.0, 10.0, 12.0]),
            "forces": (("frame", "site", "axis"), rng.normal(size=(3, 4, 3))),
            "type": ("site", ["A", "B", "A", "B"]),
            "mass": ("site", np.ones(4)),
            "bond": (("bond", "place"), np.array([[0, 1], [2, 3]])),
        },
        attrs={"temperature": 300.0, "source": "made here", "sha256": "0" * 64},
    )


@pytest.mark.parametrize("dims", [("frame", "site"), ("mu", "frame", "site")])
def test_spins_round_trip(tmp_path: Path, dims: tuple[str, ...]) -> None:
    ds = spins(*dims)
    save(ds, tmp_path / "a.nc")
    again = load(tmp_path / "a.nc")
    xr.testing.assert_equal(again, ds)
    assert again["x"].dims == dims
    assert again["x"].dtype == np.int8
    assert again.attrs == ds.attrs
    assert ds["x"].dtype == np.float64
    for variable in again.variables.values():
        assert {"units", "long_name"} <= set(variable.attrs)
    save(again, tmp_path / "a.nc")  # the file was closed


def test_sites_round_trip(tmp_path: Path) -> None:
    ds = sites()
    save(ds, tmp_path / "a.nc")
    again = load(tmp_path / "a.nc")
    xr.testing.assert_equal(again, ds)
    assert again["x"].dtype == np.float32
    assert again["bond"].dtype == np.int64
    assert again.attrs == ds.attrs
    assert {n: again[n].attrs["units"] for n in ("x", "box", "forces", "mass")} == {
        "x": "angstrom",
        "box": "angstrom",
        "forces": "kcal/mol/angstrom",
        "mass": "g/mol",
    }
    xr.testing.assert_equal(check(ds), ds)


def test_a_box_a_frame_is_allowed() -> None:
    check(sites().assign(box=(("frame", "axis"), np.full((3, 3), 9.0))))


def put(ds: xr.Dataset, name: str, index: tuple[int, ...], value: float) -> xr.Dataset:
    """The Dataset with one element changed."""
    values = ds[name].values.astype(float)
    values[index] = value
    return ds.assign({name: (ds.variables[name].dims, values)})


def without(ds: xr.Dataset, attr: str) -> xr.Dataset:
    ds = ds.copy()
    del ds.attrs[attr]
    return ds


SPINS = spins("frame", "site")
SITES = sites()
WRONG = {
    "no x": (SITES.drop_vars("x"), "no variable 'x' (variables: bond, box"),
    "dims": (SPINS.rename(site="spin"), "x has dims (frame, spin); allowed are (frame, site) or"),
    "order": (SPINS.transpose(), "x has dims (site, frame)"),
    "empty": (SPINS.isel(frame=[]), "x is empty"),
    "text": (SPINS.astype(str), "allowed are real numbers"),
    "nan": (put(SITES, "x", (2, 3, 1), np.nan), "x is nan at frame=2, site=3, axis=1"),
    "inf": (put(SPINS, "x", (1, 0), np.inf), "x is inf at frame=1, site=0"),
    "zero": (put(put(SPINS, "x", (1, 2), 0), "x", (2, 0), 2), "x is 0.0 at frame=1, site=2 (2 su"),
    "bool": (SPINS == 1, "spins are -1 or +1"),
    "beta": (without(SPINS, "beta"), "attribute 'beta' is missing"),
    "beta is text": (SPINS.assign_attrs(beta="hot"), "attribute 'beta' is 'hot'"),
    "beta is a number as text": (SPINS.assign_attrs(beta="0.3"), "attribute 'beta' is '0.3'"),
    "two betas": (SPINS.assign_attrs(beta=np.ones(2)), "attribute 'beta' is array"),
    "mu twice": (
        spins("mu", "frame", "site").assign_coords(mu=[0.5, 0.5]),
        "mu is 0.5 at mu=0 and at mu=1; each value may come once",
    ),
    "mu nan": (spins("mu", "frame", "site").assign_coords(mu=[0.5, np.nan]), "mu is nan at mu=1"),
    "one mu": (SPINS.assign_attrs(mu=np.nan), "attribute 'mu' is nan"),
    "no mu": (spins("mu", "frame", "site").drop_vars("mu"), "needed is the coordinate mu"),
    "no box": (SITES.drop_vars("box"), "box is missing"),
    "box dims": (SITES.assign(box=("side", [1.0])), "box has dims (side); allowed are (axis) or"),
    "box zero": (put(SITES, "box", (1,), 0), "box is 0.0 at axis=1; allowed are positive"),
    "box nan": (put(SITES, "box", (2,), np.nan), "box is nan at axis=2"),
    "nanometre": (SITES.assign(x=SITES["x"].assign_attrs(units="nm")), "x is in 'nm'"),
    "temperature": (without(SITES, "temperature"), "attribute 'temperature' is missing"),
    "cold": (SITES.assign_attrs(temperature=0), "attribute 'temperature' is 0; needed is a pos"),
    "forces": (put(SITES, "forces", (0, 0, 2), np.nan), "forces is nan at frame=0, site=0, axis=2"),
    "mass": (SITES.assign(mass=("atom", np.ones(4))), "mass has dims (atom); allowed are (site)"),
    "bond": (SITES.isel(place=[0]), "bond is int64 of shape (2, 1)"),
    "bond real": (put(SITES, "bond", (0, 0), 1.5), "bond is float64 of shape (2, 2)"),
    "no site": (SITES.assign(bond=SITES["bond"] + 1), "bond names site 4 at bond=1, place=1"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_named(tmp_path: Path, fault: str) -> None:
    ds, says = WRONG[fault]
    with pytest.raises(ValueError) as caught:
        check(ds)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError):
        save(ds, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_a_faulty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    put(SPINS, "x", (1, 2), 0).to_netcdf(path, engine="netcdf4")
    with pytest.raises(ValueError, match=r"a\.nc: x is 0\.0 at frame=1, site=2"):
        load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "b.nc")
    path.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="cannot be read as netCDF"):
        load(path)


def test_netcdf_of_others_is_read(tmp_path: Path) -> None:
    """Anyone's xarray: no units, floating spins, the classic format."""
    SPINS.to_netcdf(tmp_path / "a.nc", engine="netcdf4", format="NETCDF3_64BIT")
    xr.testing.assert_equal(load(tmp_path / "a.nc"), SPINS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, value: float) -> None:
    """Variables that the contract does not name are measured on the data, and compared with."""
    ds = spins("mu", "frame", "site").assign(magnetization=("mu", [0.5, value]))
    with pytest.raises(ValueError, match=f"magnetization is {value} at mu=1"):
        save(ds, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []
    save(ds.assign(magnetization=("mu", [0.5, 0.6])), tmp_path / "a.nc")


def test_only_a_standard_error_may_be_unknown(tmp_path: Path) -> None:
    ds = spins("frame", "site").assign(magnetization=0.5, magnetization_se=np.nan)
    save(ds, tmp_path / "a.nc")
    assert np.isnan(load(tmp_path / "a.nc")["magnetization_se"])
    with pytest.raises(ValueError, match="magnetization_se is inf"):
        save(ds.assign(magnetization_se=np.inf), tmp_path / "b.nc")


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.5, np.nan], [0.5, np.inf]])
def test_observables_along_an_ambiguous_sweep(tmp_path: Path, values: list[float]) -> None:
    path = tmp_path / "a.nc"
    ds = xr.Dataset({"magnetization": ("mu", [0.1, 0.2])}, {"mu": [0.5, 0.6], "name": "all"})
    ds.to_netcdf(path, engine="netcdf4")
    xr.testing.assert_equal(load_observables(path), ds)
    ds.assign_coords(mu=values).to_netcdf(path, engine="netcdf4")
    with pytest.raises(ValueError, match=r"a\.nc: mu is .* at mu="):
        load_observables(path)
    frames = xr.Dataset({"magnetization": ("frame", [0.1, 0.2])}, {"frame": [0, 0]})
    frames.to_netcdf(path, engine="netcdf4")  # two runs, one after the other
    assert load_observables(path).sizes["frame"] == 2


def sweep() -> xr.Dataset:
    """Three temperatures in one box."""
    one = sites()[["x", "box", "mass"]]
    x = xr.concat([one["x"] + shift for shift in (0.0, 0.1, 0.2)], "temperature")
    return one.assign(x=x).assign_coords(temperature=[280.0, 300.0, 340.0])


def test_a_sweep_over_temperature_round_trips(tmp_path: Path) -> None:
    ds = sweep()
    save(ds, tmp_path / "a.nc")
    again = load(tmp_path / "a.nc")
    xr.testing.assert_equal(again, ds)
    assert again["x"].dims == ("temperature", "frame", "site", "axis")
    assert again["temperature"].attrs["units"] == "K"
    parts = each_temperature(again)
    assert [part.attrs["temperature"] for part in parts] == [280.0, 300.0, 340.0]
    np.testing.assert_array_equal(parts[1]["x"], ds["x"][1])
    assert each_temperature(sites())[0].identical(sites())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("temperature"), "needed is the coordinate temperature, in K"),
        (lambda d: d.assign_coords(temperature=[280.0, 0.0, 340.0]), "temperature is 0.0 at"),
        (lambda d: d.assign_coords(temperature=[280.0, 280.0, 340.0]), "each value may come once"),
        (
            lambda d: d.assign(box=(("frame", "axis"), np.full((3, 3), 10.0))),
            r"box has dims .frame, axis.; allowed are .axis.",
        ),
    ],
)
def test_a_wrong_sweep_is_named(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(change(sweep()))
