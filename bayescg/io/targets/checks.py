"""What is checked of targets before anything is fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayescg.io.particles import check_density
from bayescg.io.targets.record import KINDS, NORMS, types_of, variables

__all__ = ["check_potentials", "check_targets", "count_of"]

_EVEN = 1e-3  # of a bin's width, that a centre may be off
_ONE = 1e-3  # that the integral of a density may be off


def check_targets(data: xr.Dataset) -> xr.Dataset:
    """Check the root group of a file of targets.

    :param data: the root group.
    :return: the same.
    :raises ValueError: the first thing that is wrong, and what is allowed; one line.
    """
    found = variables(data, "target")
    if not found:
        raise ValueError(
            "there are no targets; allowed are the variables rdf_A_B, bond_NAME, angle_NAME and "
            "dihedral_NAME."
        )
    _check_conditions(data)
    count = count_of(data)
    for variable, (kind, name) in found.items():
        _check_table(data, variable, kind)
        for other in (variable, f"{variable}_se"):
            if other in data.variables:
                _check_values(data, other, data[variable].dims)
        if kind == "pair":
            _check_pair(data, variable, types_of(data, variable, name, count), count)
        else:
            _check_density_of(data, variable, kind)
    return data


def check_potentials(data: xr.Dataset, count: Mapping[str, int]) -> None:
    """Check the group of potentials to start from.

    :param count: number of sites of each bead type.
    :raises ValueError: the first thing that is wrong, and what is allowed; one line.
    """
    for variable, (kind, name) in variables(data, "potential").items():
        _check_table(data, variable, kind)
        _check_values(data, variable, data[variable].dims, signed=True)
        if kind == "pair":
            types_of(data, variable, name, count)


def count_of(data: xr.Dataset) -> dict[str, int]:
    """Number of sites of each bead type."""
    return dict(zip(map(str, data["type"].values), map(int, data["count"].values), strict=True))


def _check_conditions(data: xr.Dataset) -> None:
    if "box" not in data.variables or data["box"].dims != ("axis",):
        raise ValueError("box (axis) is missing; needed are three edges in angstrom.")
    box = data["box"].values
    if box.shape != (3,) or box.dtype.kind not in "iuf" or not np.all((box > 0) & np.isfinite(box)):
        raise ValueError(f"box is {box.tolist()}; allowed are three positive edges in angstrom.")
    if (
        "count" not in data.variables
        or data["count"].dims != ("type",)
        or "type" not in data.coords
    ):
        raise ValueError("count (type) is missing; needed is the number of sites of each type.")
    count = data["count"].values
    if count.dtype.kind not in "iu" or (count < 1).any():
        raise ValueError(f"count is {count.tolist()}; allowed are whole numbers from 1.")
    if len(set(data["type"].values.tolist())) < len(count):
        raise ValueError(f"type is {data['type'].values.tolist()}; each may come once.")
    temperature = np.asarray(data.attrs.get("temperature", np.nan))
    if temperature.ndim or temperature.dtype.kind not in "iuf" or not 0 < temperature < np.inf:
        raise ValueError(
            f"the attribute 'temperature' is {data.attrs.get('temperature')!r}; needed is a "
            "positive number (K)."
        )
    check_density(int(count.sum()), box.astype(float))


def _check_table(data: xr.Dataset, variable: str, kind: str) -> None:
    """The axis of a target or a potential."""
    own = KINDS[kind]
    if data[variable].ndim != 1:
        raise ValueError(f"{variable} has dims {data[variable].dims}; allowed is one, the bins.")
    axis = str(data[variable].dims[0])
    if axis not in data.coords or data[axis].dtype.kind not in "iuf":
        raise ValueError(f"{variable} has the dim {axis}, but no coordinate: centres of bins.")
    units = str(data[axis].attrs.get("units", own.units))
    if units.removesuffix("s") != own.units:
        raise ValueError(f"{axis} is in {units!r}; allowed is {own.units}.")
    q = data[axis].values.astype(float)
    if len(q) < 2 or not np.isfinite(q).all():
        raise ValueError(f"{axis} has {len(q)} bins; allowed are 2 and more, at finite centres.")
    width = (q[-1] - q[0]) / (len(q) - 1)
    if not width > 0 or np.abs(q - np.linspace(q[0], q[-1], len(q))).max() > _EVEN * width:
        raise ValueError(f"{axis} is not evenly spaced; allowed are bins of one width, ascending.")
    if q[0] < own.low - _EVEN * width or q[-1] > own.high + _EVEN * width:
        raise ValueError(
            f"{axis} runs from {q[0]:g} to {q[-1]:g} {own.units}; allowed is {own.low:g} to "
            f"{own.high:g}."
        )


def _check_values(
    data: xr.Dataset, variable: str, dims: tuple[Any, ...], *, signed: bool = False
) -> None:
    values = data[variable].values
    if data[variable].dims != dims or values.dtype.kind not in "iuf":
        raise ValueError(f"{variable} must hold numbers with dims {dims}.")
    wrong = ~np.isfinite(values) | ((values < 0) & (not signed))
    if variable.endswith("_se"):
        wrong &= ~np.isnan(values)  # too few data to tell
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{variable} is {values[at]:g} at {data[variable].dims[0]}={at}; allowed are finite "
            f"numbers{'' if signed else ' from 0'}."
        )


def _check_pair(
    data: xr.Dataset, variable: str, types: tuple[str, str], count: Mapping[str, int]
) -> None:
    norm = data[variable].attrs.get("norm", "pairs")
    if norm not in NORMS:
        raise ValueError(f"{variable}: the attribute norm is {norm!r}; allowed are pairs and n2.")
    if types[0] == types[1] and count[types[0]] < 2:
        raise ValueError(f"{variable}: there is one {types[0]}, and so no pair.")
    if not data[variable].values.any():
        raise ValueError(f"{variable} is zero everywhere.")


def _check_density_of(data: xr.Dataset, variable: str, kind: str) -> None:
    axis = data[variable].dims[0]
    q = data[axis].values
    total = float(data[variable].values.sum() * (q[-1] - q[0]) / (len(q) - 1))
    if abs(total - 1.0) > _ONE:
        raise ValueError(
            f"{variable} integrates to {total:.4g} over {axis}; allowed is 1, a density per "
            f"{KINDS[kind].units}."
        )
