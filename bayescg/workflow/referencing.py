"""Reference data of a simulation: frames that are shipped, and observables of all that it made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayescg.observables.base import Observable
from bayescg.workflow.verbs import observe

__all__ = ["reference_frames"]


def reference_frames(
    trajectory: np.ndarray,
    observables: Sequence[str | Observable],
    *,
    box: Sequence[float] | np.ndarray,
    mass: np.ndarray,
    temperature: float,
    interval: float,
    spacing: float,
    source: str,
    seldom: Sequence[str | Observable] = (),
    seldom_every: int = 1,
) -> xr.Dataset:
    """A reference data set: every so many frames, wrapped, with observables of all and their standard errors.

    :param trajectory: positions, ``(frame, site, axis)``, angstrom.
    :param observables: in this box.
    :param box: edges, angstrom.
    :param mass: of every site, g/mol.
    :param temperature: K.
    :param interval: between frames of the trajectory, ps.
    :param spacing: between frames that are kept, ps.
    :param source: a line about what made it, for the record.
    :param seldom_every: that one of so many frames.
    :raises ValueError: for a run that is shorter than the spacing.
    :param seldom: observables that are measured on one of so many frames.
    """
    edges = np.asarray(box, float)
    stride = max(1, round(spacing / interval))
    if len(trajectory) < stride:
        raise ValueError(
            f"frames {spacing:g} ps apart need a run of that length, got {len(trajectory) * interval:g} ps; "
            "allowed is a smaller spacing, or a longer run."
        )
    dims = ("frame", "site", "axis")
    about: dict[str, Any] = {"box": ("axis", edges), "mass": ("site", np.asarray(mass, float))}
    x = np.asarray(trajectory, np.float32)
    every = xr.Dataset({"x": (dims, x), **about}, attrs={"temperature": temperature})
    measured = observe(every, list(observables))
    if seldom:
        rest = observe(every.isel(frame=slice(None, None, seldom_every)), list(seldom))
        measured = xr.merge([measured, rest], combine_attrs="drop_conflicts")
    data = measured.assign(
        x=(dims, np.mod(x[stride - 1 :: stride], edges.astype(np.float32))), **about
    )
    data.attrs = {
        "temperature": temperature,
        "source": source,
        "reference_frames": len(x),
        "reference_interval_ps": interval,
        "frame_spacing_ps": stride * interval,
    }
    return data
