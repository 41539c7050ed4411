"""Trajectories of particles: what is checked before any model sees them."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree
import xarray as xr

from bayescg.io.netcdf import check
from bayescg.space import check_cutoff
from bayescg.units import mass_density

__all__ = ["check_cube", "check_density", "check_model_box", "check_particles"]

_SITES = ("frame", "site", "axis")
_NUMBERS = (1e-4, 0.2)  # sites per cubic angstrom: a thin gas, and twice the atoms of water
_MASSES = (1e-4, 25.0)  # g/cm^3: a gas at a tenth of an atmosphere, and more than osmium
SAME_BOX = 1e-5  # relative: what rounding in a file may change
_BLURRED = 0.01  # angstrom to which floating point must still know a position
_UNITS = (("nanometres", 10.0), ("metres", 1e10), ("picometres", 0.01))  # angstrom in one


def check_particles(
    data: xr.Dataset,
    *,
    cutoff: float,
    mass: float | None = None,
    closest: float = 1.0,
    at_least: int = 2,
) -> tuple[xr.Dataset, tuple[str, ...]]:
    """Check a trajectory of particles, and bring it into the one form that a fit reads.

    :param data: left unchanged; ``x (frame, site, axis)`` and ``box (axis)`` or ``(frame, axis)``
        in angstrom, attribute ``temperature``; ``mass (site)``, g/mol, optional.
    :param cutoff: of the interactions, angstrom; the box must hold it twice.
    :param mass: of every site, g/mol, if the data do not say.
    :param closest: smallest distance allowed, angstrom. Pairs in ``bond`` or ``exclusion`` may
        be closer.
    :param at_least: fewest frames allowed.
    :return: the data with positions in ``[0, box)`` and ``box (axis)``, and a sentence on
        everything that was changed for it.
    :raises ValueError: the first thing that is wrong, where, and what is allowed; one line.
    """
    _check_orthorhombic(data)
    try:
        data = check(data)
    except ValueError as error:
        raise ValueError(f"{error}{_padding(data)}") from None
    sizes = dict(data["x"].sizes)
    if "temperature" in sizes:
        raise ValueError(
            f"x is a sweep over {sizes['temperature']} temperatures, which this takes one of; allowed is one, "
            "x (frame, site, axis), or a model over several, spce_temperatures."
        )
    if "axis" not in sizes:
        raise ValueError("x holds spins (frame, site); particles need x (frame, site, axis).")
    if sizes["axis"] != 3:
        raise ValueError(f"x has {sizes['axis']} axes; allowed are 3, for x, y and z.")
    if sizes["frame"] < at_least:
        raise ValueError(f"too few frames: {sizes['frame']}; at least {at_least} are needed.")

    notices = []
    if "frame" in data["box"].dims:
        data = _with_one_box(data)
        notices.append("The box is the same in all frames; it was reduced to one (axis).")
    box = data["box"].values.astype(float)
    check_density(data.sizes["site"], box, _masses(data, mass), data["x"].values)
    x, outside = _wrapped(data["x"].values, box)
    if outside.any():
        notices.append(
            f"{outside.sum()} of {outside.size} positions, in {outside.any(1).sum()} of "
            f"{len(outside)} frames, lay outside the box and were wrapped into [0, box)."
        )
    _check_apart(x.astype(float), box, closest, _partners(data))
    check_cutoff(cutoff, box)
    return data.assign(x=(_SITES, x, data["x"].attrs)), tuple(notices)


def check_cube(data: xr.Dataset) -> None:
    """Check that the box of a trajectory, ``box (axis)``, is a cube.

    :param data: with ``box (axis)``, angstrom.
    :raises ValueError: if it is not; one line.
    """
    box = np.asarray(data["box"].values, float)
    if np.ptp(box) > 1e-6 * box[0]:
        raise ValueError(
            f"the data's box is {', '.join(f'{e:g}' for e in box)} angstrom; allowed is a cube."
        )


def check_model_box(data: xr.Dataset, sites: int, box: tuple[float, ...]) -> None:
    """Check that a trajectory is of the sites and in the box that a model was made for.

    :param data: with ``box (axis)``, as :func:`check_particles` gives them.
    :param sites: of the model that data hold.
    :param box: its edges, angstrom.
    :raises ValueError: if it is not; one line.
    """
    have = np.asarray(data["box"].values, float)
    if data.sizes["site"] != sites or not np.allclose(have, box, rtol=SAME_BOX):
        edges = [", ".join(f"{e:g}" for e in b) for b in (have, box)]
        raise ValueError(
            f"the data hold {data.sizes['site']} sites in a box of {edges[0]} angstrom, the model {sites} in one of "
            f"{edges[1]}; allowed are the model's."
        )


def _check_orthorhombic(data: xr.Dataset) -> None:
    box = data.variables.get("box")
    # Frames may happen to be 3, 6 or 9.
    if box is None or box.dtype.kind not in "iuf" or set(box.dims) == {"frame", "axis"}:
        return
    if box.shape[-2:] == (3, 3):
        first = box.values.reshape(-1, 9)[0]
    elif box.shape[-1:] in ((6,), (9,)):
        first = box.values.reshape(-1, box.shape[-1])[0]
    else:
        return
    if len(first) == 6:
        what, edges = "6 numbers (edges and angles, or edges and tilts)", first[:3]
        rectangular = np.allclose(first[3:], 90.0) or np.allclose(first[3:], 0.0)
    else:
        what, edges = "3 vectors", np.diag(first.reshape(3, 3))
        rectangular = np.allclose(first, np.diag(edges).ravel())
        if np.allclose(first[3:], 0.0):  # as in a .gro file: the diagonal comes first
            edges, rectangular = first[:3], True
    if rectangular:
        how = (
            "this one is rectangular: give its edges, "
            f"{', '.join(f'{edge:g}' for edge in edges)}, as box (axis)."
        )
    else:
        how = (
            "a triclinic one cannot be converted frame by frame: repeat the cell until its copies "
            "fill an orthorhombic box, or run the simulation anew in one."
        )
    raise ValueError(
        f"box is given as {what}; allowed are the 3 edges of an orthorhombic box; {how}"
    )


def _padding(data: xr.Dataset) -> str:
    """What to add where x is not finite because some frames have fewer sites."""
    x = data.variables.get("x")
    if x is None or x.dims != _SITES or x.dtype.kind != "f":
        return ""
    lost = np.isnan(x.values).all(2)  # (frame, site)
    # From the first lost site to the end: nothing but lost ones.
    trailing = lost[:, -1] & (np.diff(lost.astype(int), axis=1) >= 0).all(1)
    if not trailing.any():
        return ""
    counts = (~lost).sum(1)
    return (
        f" {trailing.sum()} of {len(lost)} frames end in sites that are all NaN, which looks like "
        f"the padding of frames with fewer sites ({counts.min()} to {counts.max()}); allowed is "
        "one number of sites for all frames."
    )


def _with_one_box(data: xr.Dataset) -> xr.Dataset:
    """The data with the box of the first frame, if it is that of all.

    :raises ValueError: if it varies.
    """
    box = data.variables["box"].transpose("frame", "axis")
    smallest, largest = box.values.min(0), box.values.max(0)
    change = (largest - smallest) / smallest
    axis = int(np.argmax(change))
    if change[axis] > SAME_BOX:
        raise ValueError(
            f"box varies over the frames, by {100 * change[axis]:.2g} % at axis={axis} "
            f"({smallest[axis]:g} to {largest[axis]:g} angstrom); a fit needs one box for all "
            "frames; allowed is a run at constant volume."
        )
    return data.assign(box=box.isel(frame=0))


def _masses(data: xr.Dataset, mass: float | None) -> np.ndarray | None:
    """Mass of every site, g/mol; the data's own come first."""
    if "mass" in data.variables:
        masses = data["mass"].values
    elif mass is not None:
        masses = np.full(data.sizes["site"], mass)
    else:
        return None
    if masses.dtype.kind not in "iuf":
        raise ValueError(f"mass holds {masses.dtype}; allowed are real numbers.")
    wrong = ~(np.isfinite(masses) & (masses > 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"mass is {masses[i]} at site={i}; allowed are positive numbers (g/mol).")
    return masses.astype(float)


def _is_possible(box: np.ndarray, masses: np.ndarray | None, sites: int) -> bool:
    volume = math.prod(box.tolist())
    if not _NUMBERS[0] <= sites / volume <= _NUMBERS[1]:
        return False
    return masses is None or _MASSES[0] <= mass_density(masses.sum(), volume) <= _MASSES[1]


def check_density(
    sites: int,
    box: np.ndarray,
    masses: np.ndarray | None = None,
    x: np.ndarray | None = None,
) -> None:
    """Refuse densities that no matter has, which are most often another unit of length.

    :param sites: how many are in the box.
    :param box: edges ``(axis,)``, angstrom.
    :param masses: of every site, g/mol.
    :param x: ``(frame, site, axis)``, by which to tell whether the box alone is in another unit.
    :raises ValueError: what is allowed, and which unit the lengths look like.
    """
    if _is_possible(box, masses, sites):
        return
    volume = math.prod(box.tolist())
    found = f"{sites / volume:.3g} sites per cubic angstrom"
    allowed = f"{_NUMBERS[0]:g} to {_NUMBERS[1]:g}"
    if masses is not None:
        found += f", {mass_density(masses.sum(), volume):.3g} g/cm^3"
        allowed += f", and {_MASSES[0]:g} to {_MASSES[1]:g} g/cm^3"
    # Frames that span many boxes along every axis are in another unit than the box.
    alone = x is not None and bool(np.all(np.median(np.ptp(x, axis=1), axis=0) > 5.0 * box))
    for unit, angstrom in _UNITS:
        if _is_possible(box * angstrom, masses, sites):
            hint = (
                f"a density {angstrom**-3:g} times that would be in range: "
                f"{'box looks' if alone else 'the lengths look'} like {unit}; multiply "
                f"{'box alone' if alone else 'x and box'} by {angstrom:g}."
            )
            break
    else:
        hint = "look at the units of x and box, and at the number of sites."
    edges = " x ".join(f"{edge:g}" for edge in box)
    raise ValueError(
        f"the density is impossible: {sites} sites in a box of {edges} angstrom are {found}; "
        f"allowed are {allowed}; {hint}"
    )


def _wrapped(x: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in ``[0, box)``, in the precision of ``x``, and which ``(frame, site)`` were not.

    :raises ValueError: if a position is too far away to tell where in the box it is.
    """
    x = x if x.dtype.kind == "f" else x.astype(float)
    blurred = np.spacing(np.abs(x)) > _BLURRED
    if blurred.any():
        frame, site, axis = np.unravel_index(int(np.argmax(blurred)), x.shape)
        raise ValueError(
            f"x is {x[frame, site, axis]:g} at frame={frame}, site={site}, axis={axis} "
            f"({blurred.sum()} such), too far away to be wrapped into the box; allowed are "
            "positions near it. Numbers like this are often a file's fill values."
        )
    outside = (x < 0.0) | (x >= box)
    sites = np.asarray(outside.any(2))
    if not sites.any():
        return x.copy(), sites
    carried = np.where(outside, x - box * np.floor(x / box), x).astype(x.dtype)
    carried[(carried >= box) | (carried < 0.0)] = 0.0  # rounding put them on the edge
    return carried, sites


def _partners(data: xr.Dataset) -> set[tuple[int, int]]:
    """Pairs, smaller site first, that may come as close as they like."""
    tables = [data[name].values for name in ("bond", "exclusion") if name in data.variables]
    return {(min(pair), max(pair)) for table in tables for pair in table.tolist()}


def _nearest(
    x: np.ndarray, box: np.ndarray, within: float, free: set[tuple[int, int]]
) -> tuple[float, int, int]:
    """Distance and sites of the closest pair of a frame; infinity if none is ``within``."""
    if len(x) < 2:
        return math.inf, 0, 0
    degree = np.bincount(np.array(sorted(free), int).ravel(), minlength=1).max() if free else 0
    # As many neighbours as it takes to reach one that is neither the site itself nor bound to it.
    tree = cKDTree(x, boxsize=box)
    distance, other = tree.query(x, min(len(x), 2 + int(degree)), distance_upper_bound=within)
    site = np.broadcast_to(np.arange(len(x))[:, None], other.shape)
    counts = (other != site) & np.isfinite(distance)
    for k in np.argsort(distance[counts], kind="stable"):
        i, j = sorted((int(site[counts][k]), int(other[counts][k])))
        if (i, j) not in free:
            return float(distance[counts][k]), i, j
    return math.inf, 0, 0


def _check_apart(
    x: np.ndarray, box: np.ndarray, closest: float, free: set[tuple[int, int]]
) -> None:
    found = [_nearest(frame, box, closest, free) for frame in x]
    distances = np.array([d for d, _, _ in found])
    frame = int(np.argmin(distances))
    distance, i, j = found[frame]
    if not distance < closest:
        return
    hint = ""
    # Somewhere two sites touch in every frame: at 3 angstrom, or 0.3 nanometres.
    if 0.1 * closest <= distance and distances.max() < 0.5:
        hint = (
            " Every frame has a pair closer than 0.5: the lengths look like nanometres; multiply "
            "x by 10, and box if it is in the same unit."
        )
    raise ValueError(
        f"sites {i} and {j} overlap at frame={frame}: {distance:.3g} angstrom apart "
        f"({np.sum(distances < closest)} of {len(x)} frames hold such pairs); allowed are "
        f"distances from {closest:g} on.{hint}"
    )
