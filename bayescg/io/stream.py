"""Data files written frame by frame, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayescg.files import storable, write_atomically
from bayescg.io.netcdf import ready

__all__ = ["DataStream", "stream_data"]

_BLOCK = 1 << 18  # numbers kept until they are written
_CHUNK = 1 << 15  # numbers compressed at once
_CACHE = 1 << 22  # bytes of a variable that the library keeps; by default many more
_SAME = 1e-6  # relative: edges of a box that is meant to be the same
_SITES = ("frame", "site", "axis")


class DataStream:
    """A data file under way; made by :func:`stream_data`."""

    def __init__(
        self, path: Path, variables: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    ) -> None:
        self._path = path
        self._variables = variables
        self._file: Any = None
        self._box: np.ndarray | None = None  # of all frames, while it is the same
        self._box_attrs: dict[str, Any] = {}
        self._x: list[np.ndarray] = []
        self._boxes: list[np.ndarray] = []
        self._forces: list[np.ndarray] = []
        #: Frames appended.
        self.frames = 0

    def append(self, x: np.ndarray, box: np.ndarray, forces: np.ndarray | None) -> None:
        """Add a frame.

        :param x: positions of the sites, angstrom, ``(site, axis)``; they are wrapped into the box.
        :param box: edges, angstrom, ``(axis,)``.
        :param forces: kcal/mol/angstrom, ``(site, axis)``; for all frames or none.
        """
        carried = (x - box * np.floor(x / box)).astype(np.float32)
        carried[carried >= box] = 0.0  # rounding put them on the edge
        self._x.append(carried)
        self._boxes.append(np.array(box, float))
        if forces is not None:
            self._forces.append(forces.astype(np.float32))
        self.frames += 1
        if len(self._x) * carried.size >= _BLOCK:
            self._write()

    def _write(self) -> None:
        x, boxes = np.stack(self._x), np.stack(self._boxes)
        found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {"x": (_SITES, x)}
        if self._forces:
            found["forces"] = (_SITES, np.stack(self._forces))
        first = self.frames - len(x)
        self._x, self._boxes, self._forces = [], [], []
        if self._file is None:
            self._begin(found, boxes)
        else:
            for name, (_, values) in found.items():
                if not np.isfinite(values).all():
                    raise ValueError(f"{name} is not finite after frame {first}.")
                self._file[name][first:] = values
        self._write_box(first, boxes)

    def _begin(
        self, found: Mapping[str, tuple[tuple[str, ...], np.ndarray]], boxes: np.ndarray
    ) -> None:
        import netCDF4

        # A temperature that the contract asks for is set at the end, with the other attributes.
        attrs = {"temperature": 1.0}
        ds = ready(
            xr.Dataset({**found, **self._variables, "box": (("frame", "axis"), boxes)}, attrs=attrs)
        )
        self._box, self._box_attrs = boxes[0], dict(ds["box"].attrs)
        ds = ds.drop_vars("box").drop_attrs(deep=False)
        sites = ds.sizes["site"]
        many = max(1, _CHUNK // (3 * sites))
        encoding: dict[str, dict[str, Any]] = {
            str(name): {"zlib": True, "complevel": 1}
            for name, variable in ds.variables.items()
            if variable.ndim and variable.dtype.kind in "iuf"
        }
        for name in found:
            encoding[name]["chunksizes"] = (many, sites, 3)
        ds.to_netcdf(self._path, engine="netcdf4", encoding=encoding, unlimited_dims=["frame"])
        self._file = netCDF4.Dataset(self._path, "a")
        for name in found:
            self._file[name].set_var_chunk_cache(size=_CACHE)

    def _write_box(self, first: int, boxes: np.ndarray) -> None:
        if self._box is not None:
            if (np.abs(boxes - self._box) <= _SAME * self._box).all():
                return
            self._file.createVariable(
                "box", "f8", ("frame", "axis"), compression="zlib", complevel=1
            ).setncatts(self._box_attrs)
            self._file["box"][:first] = np.broadcast_to(self._box, (first, 3))
            self._box = None
        self._file["box"][first:] = boxes

    def finish(self, attrs: Mapping[str, object]) -> None:
        """Write what is left, the box if it was the same in all frames, and the attributes.

        :raises ValueError: if there are no frames.
        """
        if self._x:
            self._write()
        if self._file is None:
            raise ValueError("there are no frames; at least one is needed.")
        if self._box is not None:
            one = self._file.createVariable("box", "f8", ("axis",))
            one.setncatts(self._box_attrs)
            one[:] = self._box
        self._file.setncatts(storable(attrs))
        self.close()

    def close(self) -> None:
        """Close the file, whole or not."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def stream_data(
    path: str | os.PathLike[str],
    variables: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    attrs: Mapping[str, object],
) -> Iterator[DataStream]:
    """A data file to which frames are appended; it is there when the block ends without an error.

    :param path: the file to write; its folder exists.
    :param variables: those without frames, as :func:`bayescg.topology.variables_of` gives them.
    :param attrs: attributes of the file, ``temperature`` (K) for one; those that the block adds to
        the mapping are written too.
    :raises ValueError: if no frame is appended, or the data break the contract of data files.
    :raises OSError: the file cannot be written.
    """
    with write_atomically(path) as part:
        stream = DataStream(part, variables)
        try:
            yield stream
            stream.finish(attrs)
        finally:
            stream.close()
