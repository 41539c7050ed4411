"""Which distributions a method matches: those of the data, or of another file that belongs to them."""

from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr

from bayescg.files import read_netcdf
from bayescg.infer.histograms import Histograms, Target, from_frames

__all__ = ["target_of"]

SAME_TEMPERATURE = 0.5  # K
SAME_DENSITY = 0.01  # relative


def target_of(
    histograms: Histograms, data: xr.Dataset, x: np.ndarray, choice: str
) -> tuple[Target, bool]:
    """The distributions to match, as counts, and whether they are those of the frames.

    :param x: frames, ``(frame, site, axis)``.
    :param choice: ``stored``, ``frames``, ``auto`` (the first there is) or a file with distributions.
    :raises ValueError: for another choice, a distribution that is missing or holds what it cannot, and a file
        for another temperature or density.
    """
    if choice not in ("auto", "stored", "frames"):
        return _of_file(histograms, data, choice), False
    missing = [p.variable for p in histograms.parts if p.stored_in(data) is None]
    if choice == "stored" or (choice == "auto" and not missing):
        return histograms.from_distributions(data), False
    if len(x) > 1:
        return from_frames(histograms, x), True
    raise ValueError(f"the data hold one frame and no {', '.join(missing)}; needed are either.")


def _of_file(histograms: Histograms, data: xr.Dataset, path: str) -> Target:
    if not Path(path).is_file():
        raise ValueError(
            f"target must be auto, stored, frames or a file that there is, got {path!r}."
        )
    found = read_netcdf(path).to_dataset()
    try:
        _check_values(histograms, found)
        _check_conditions(histograms, found, data)
        return histograms.from_distributions(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_values(histograms: Histograms, found: xr.Dataset) -> None:
    for part in histograms.parts:
        variable = part.stored_in(found)
        if variable is None:
            held = sorted(str(v) for v in found.data_vars if not str(v).endswith("_se"))
            raise ValueError(f"there is no {part.variable}; it holds {', '.join(held)}.")
        values = np.asarray(found[variable].values, float)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0.0).any():
            raise ValueError(f"{variable} must hold numbers from 0 along one axis.")


def _check_conditions(histograms: Histograms, found: xr.Dataset, data: xr.Dataset) -> None:
    """Temperature and density are those of the data, where the file tells them."""
    hot, wanted = found.attrs.get("temperature"), data.attrs.get("temperature")
    if (
        hot is not None
        and wanted is not None
        and abs(float(hot) - float(wanted)) > SAME_TEMPERATURE
    ):
        raise ValueError(
            f"its temperature is {float(hot):g} K, the data's {float(wanted):g} K; allowed is the same."
        )
    if "count" not in found or "type" not in found.coords or "box" not in found:
        return
    held = dict(zip(map(str, found["type"].values), found["count"].values, strict=True))
    volume = float(np.prod(found["box"].values)), float(np.prod(histograms.box))
    for kind, count in Counter(histograms.classes.topology.types).items():
        there, here = float(held.get(kind, 0)) / volume[0], count / volume[1]
        if abs(there - here) > SAME_DENSITY * here:
            raise ValueError(
                f"its density of {kind} is {there:.4g} per cubic angstrom, the data's {here:.4g}; "
                "allowed is the same within one per cent."
            )
