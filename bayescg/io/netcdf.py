"""Data files: fine-grained configurations and what belongs to them, one ``xarray.Dataset``.

======================  =============================================  ====================
variable                dims                                           unit
======================  =============================================  ====================
``x``, spins -1 and +1  ``(frame, site)`` or ``(mu, frame, site)``     1
``x``, mapped sites     ``(frame, site, axis)``                        angstrom
``x``, a sweep of them  ``(temperature, frame, site, axis)``           angstrom
``box``                 ``(axis)`` or ``(frame, axis)``, beside sites  angstrom
``forces``              ``(frame, site, axis)``, optional              kcal/mol/angstrom
``type``, ``molecule``  ``(site)``, optional                           1
``mass``                ``(site)``, optional                           g/mol
``bond``, ``angle``,    ``(bond, 2)``, ``(angle, 3)``,                 1, numbers of sites
``dihedral``,           ``(dihedral, 4)``, ``(exclusion, 2)``,
``exclusion``           optional
======================  =============================================  ====================

Spins carry the attribute ``beta`` (and ``mu``, where there is one field for all), mapped sites
``temperature`` (K); of a sweep it is a coordinate, and its box, ``box (axis)``, is that of all temperatures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
import math
import os

import numpy as np
import xarray as xr

from bayescg.files import brief, labelled, read_netcdf, write_netcdf

__all__ = ["check", "each_temperature", "load", "load_observables", "ready", "save"]

_SPINS = (("frame", "site"), ("mu", "frame", "site"))
_SITES = ("frame", "site", "axis")
_SWEEP = ("temperature", *_SITES)
_SITES_IN_A_TUPLE = {"bond": 2, "angle": 3, "dihedral": 4, "exclusion": 2}
_ANGSTROM = ("angstrom", "angstroms", "å", "a")
_ATTRS = {
    "box": {"units": "angstrom", "long_name": "edges of the periodic box"},
    "forces": {"units": "kcal/mol/angstrom", "long_name": "forces on the mapped sites"},
    "mass": {"units": "g/mol", "long_name": "mass of the site"},
    "type": {"long_name": "type of the site"},
    "molecule": {"long_name": "molecule of the site"},
    "mu": {"long_name": "external field"},
    "temperature": {"units": "K", "long_name": "temperature"},
    **{
        name: {"long_name": f"sites of the {name}"}
        for name in ("bond", "angle", "dihedral", "exclusion")
    },
}


def _at(dims: Sequence[Hashable], wrong: np.ndarray) -> tuple[tuple[int, ...], str]:
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    return index, ", ".join(f"{dim}={i}" for dim, i in zip(dims, index, strict=True))


def _check_finite(ds: xr.Dataset, name: str) -> np.ndarray:
    variable = ds.variables[name]
    values = variable.values
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {values.dtype}; allowed are real numbers.")
    if values.size == 0:
        raise ValueError(
            f"{name} is empty, {dict(variable.sizes)}; at least one value an axis is needed."
        )
    wrong = ~np.isfinite(values)
    if wrong.any():
        index, place = _at(variable.dims, wrong)
        raise ValueError(
            f"{name} is {values[index]} at {place} ({wrong.sum()} such); finite numbers are needed."
        )
    return values


def _check_dims(ds: xr.Dataset, name: str, allowed: Sequence[tuple[str, ...]]) -> None:
    dims = ds.variables[name].dims
    if dims not in allowed:
        listed = " or ".join(f"({', '.join(d)})" for d in allowed)
        raise ValueError(f"{name} has dims ({', '.join(map(str, dims))}); allowed are {listed}.")


def _check_angstrom(ds: xr.Dataset, name: str) -> None:
    units = ds.variables[name].attrs.get("units", "angstrom")
    if str(units).casefold() not in _ANGSTROM:
        raise ValueError(f"{name} is in {units!r}; lengths are in angstrom.")


def _check_attr(ds: xr.Dataset, name: str, unit: str, positive: bool) -> None:
    allowed = f"a {'positive' if positive else 'finite'} number ({unit})"
    if name not in ds.attrs:
        raise ValueError(f"the attribute {name!r} is missing; needed is {allowed}.")
    given = np.asarray(ds.attrs[name])
    # Text that looks like a number would fail later, where nobody expects text.
    value = float(given) if given.ndim == 0 and given.dtype.kind in "iuf" else math.nan
    if not math.isfinite(value) or (positive and value <= 0):
        raise ValueError(f"the attribute {name!r} is {ds.attrs[name]!r}; needed is {allowed}.")


def _check_axis(ds: xr.Dataset, dim: str) -> None:
    """Values along an axis by which it is selected: one that came twice would be ambiguous."""
    values = ds.variables[dim].values
    _check_dims(ds, dim, [(dim,)])
    if values.dtype.kind in "biuf":
        _check_finite(ds, dim)
    _, first, group = np.unique(values, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[group] != np.arange(len(values)))
    if again.size:
        i = again[0]
        raise ValueError(
            f"{dim} is {values[i]} at {dim}={first[group[i]]} and at {dim}={i}; each value may "
            "come once."
        )


def _check_spins(ds: xr.Dataset) -> xr.Dataset:
    spins = ds.variables["x"]
    values = spins.values
    wrong = (values != 1) & (values != -1)
    if wrong.any():
        index, place = _at(spins.dims, wrong)
        raise ValueError(
            f"x is {values[index]} at {place} ({wrong.sum()} such); spins are -1 or +1, and sites "
            "in space have dims (frame, site, axis)."
        )
    _check_attr(ds, "beta", "inverse temperature", positive=False)
    if "mu" in spins.dims:
        if "mu" not in ds.coords:
            raise ValueError("x has the dim mu; needed is the coordinate mu, a field for each.")
        _check_finite(ds, "mu")
        _check_axis(ds, "mu")
    elif "mu" in ds.attrs:
        _check_attr(ds, "mu", "external field", positive=False)
    return ds.assign(x=(spins.dims, values.astype(np.int8), spins.attrs))


def _check_sites(ds: xr.Dataset) -> None:
    _check_angstrom(ds, "x")
    if "box" not in ds.variables:
        raise ValueError("box is missing; x has the dim axis, so box (axis) or (frame, axis).")
    swept = ds.variables["x"].dims == _SWEEP
    _check_dims(ds, "box", [("axis",)] if swept else [("axis",), ("frame", "axis")])
    _check_angstrom(ds, "box")
    edges = _check_finite(ds, "box")
    if (edges <= 0).any():
        index, place = _at(ds.variables["box"].dims, edges <= 0)
        raise ValueError(f"box is {edges[index]} at {place}; allowed are positive lengths.")
    if swept:
        _check_temperatures(ds)
    else:
        _check_attr(ds, "temperature", "K", positive=True)
    if "forces" in ds.variables:
        _check_dims(ds, "forces", [_SWEEP if swept else _SITES])
        _check_finite(ds, "forces")


def _check_temperatures(ds: xr.Dataset) -> None:
    if "temperature" not in ds.coords:
        raise ValueError("x has the dim temperature; needed is the coordinate temperature, in K.")
    _check_finite(ds, "temperature")
    _check_axis(ds, "temperature")
    values = ds.variables["temperature"].values
    if not (values > 0.0).all():
        index, place = _at(("temperature",), ~(values > 0.0))
        raise ValueError(
            f"temperature is {values[index]} at {place}; allowed are positive ones, K."
        )


def each_temperature(ds: xr.Dataset) -> list[xr.Dataset]:
    """The temperatures of a sweep as data sets of their own; a data set of one as it is.

    :param ds: a data set as :func:`check` allows it.
    """
    if ds.variables["x"].dims != _SWEEP:
        return [ds]
    return [
        ds.isel(temperature=i, drop=True).assign_attrs(temperature=float(t))
        for i, t in enumerate(ds.variables["temperature"].values)
    ]


def _check_topology(ds: xr.Dataset) -> None:
    for name in ("type", "mass", "molecule"):
        if name in ds.variables:
            _check_dims(ds, name, [("site",)])
    for name, width in _SITES_IN_A_TUPLE.items():
        if name not in ds.variables or name in ds.indexes:
            continue  # an index is the axis of an observable, as the angle of an ADF
        table = ds.variables[name]
        if table.ndim != 2 or table.shape[1] != width or table.dtype.kind not in "iu":
            raise ValueError(
                f"{name} is {table.dtype} of shape {table.shape}; allowed are integers ({name}, "
                f"{width}), the numbers of the sites."
            )
        # Out of range is no error inside jit: it would be clamped to the last site.
        wrong = (table.values < 0) | (table.values >= ds.sizes["site"])
        if wrong.any():
            index, place = _at((name, "place"), wrong)
            raise ValueError(
                f"{name} names site {table.values[index]} at {place}; allowed are 0 to "
                f"{ds.sizes['site'] - 1}."
            )


def check(ds: xr.Dataset) -> xr.Dataset:
    """Check a Dataset against the contract of data files.

    :param ds: left unchanged
    :return: the same data, spins as int8
    :raises ValueError: the first thing that is wrong, where, and what is allowed; one line
    """
    if "x" not in ds.variables:
        names = ", ".join(sorted(map(str, ds.variables))) or "none"
        raise ValueError(f"there is no variable 'x' (variables: {names}); it holds the data.")
    _check_dims(ds, "x", [*_SPINS, _SITES, _SWEEP])
    _check_finite(ds, "x")
    if "axis" in ds.variables["x"].dims:
        _check_sites(ds)
    else:
        ds = _check_spins(ds)
    _check_topology(ds)
    return ds


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a data file into memory, close it and check it.

    :param path: a netCDF file
    :raises FileNotFoundError: there is none
    :raises ValueError: it is not netCDF, or :func:`check` finds a fault
    """
    ds = read_netcdf(path).to_dataset()
    try:
        return check(ds)
    except ValueError as error:
        raise ValueError(f"{path}: {brief(error)}") from None


def load_observables(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a file of observables, with or without the configurations they were measured on.

    :param path: of the netCDF file.
    :raises FileNotFoundError: if there is no such file
    :raises ValueError: if it is not netCDF, or a coordinate has a value twice or one not finite
    """
    ds = read_netcdf(path).to_dataset()
    try:
        for dim in map(str, ds.dims):
            # Observables are never selected by frame or site, whose labels may repeat.
            # A topology's table is no axis, though it may be called as one.
            if dim in ds.indexes and dim not in _SITES:
                _check_axis(ds, dim)
    except ValueError as error:
        raise ValueError(f"{path}: {brief(error)}") from None
    return ds


def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check a Dataset and write it as a data file, by rename.

    :param ds: left unchanged; units and long names it lacks are filled in
    :param path: the file to write; its folder exists
    :raises ValueError: as :func:`ready`
    :raises OSError: the file cannot be written
    """
    write_netcdf(xr.DataTree(ready(ds)), path)


def ready(ds: xr.Dataset) -> xr.Dataset:
    """Check a Dataset and label it as data files are.

    All variables must be finite, those that the contract does not name too; only a standard error
    (``..._se``) may be NaN, where there are too few data to tell.

    :param ds: left unchanged
    :return: the same data, with the units and long names that they lacked
    :raises ValueError: :func:`check` finds a fault, or a variable is not finite
    """
    ds = check(ds)
    for name, variable in ds.data_vars.items():
        if variable.dtype.kind == "f" and variable.size:
            unknown = str(name).endswith("_se")
            _check_finite(ds.fillna({name: 0.0}) if unknown else ds, str(name))
    if "axis" in ds.variables["x"].dims:
        x = {"units": "angstrom", "long_name": "positions of the mapped sites"}
    else:
        x = {"units": "1", "long_name": "spins"}
    known = {"x": x, **_ATTRS}
    missing = {
        name: {k: v for k, v in known[name].items() if k not in variable.attrs}
        for name, variable in ((str(n), v) for n, v in ds.variables.items())
        if name in known
    }
    return labelled(ds, missing)
