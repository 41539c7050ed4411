"""What every file of the package has in common: written by rename, read into memory, labelled.

The command lines ask :func:`check_writable` before long work starts, so xarray is imported only by
the functions that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
import json
import math
import os
from pathlib import Path
import secrets
import shutil
from typing import TYPE_CHECKING, Any
import warnings

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "brief",
    "check_apart",
    "check_writable",
    "discard_unfinished",
    "labelled",
    "read_netcdf",
    "same_file",
    "storable",
    "write_atomically",
    "write_netcdf",
]

_INT64 = np.iinfo(np.int64)
_PACKED = 2000  # times its size: what compression can make of a file, and some more
_SMALL = 1 << 26  # bytes that need no file behind them
_DEEPEST, _GROUPS = 4, 200  # groups in each other, and all
_MESSAGE = 450  # characters of a message about what a file says
_REASON = 300  # characters of what a library complains of
_unfinished: set[Path] = set()


def _temporary(target: Path) -> Path:
    # In the target's folder, since a rename is atomic only within a file system; with its suffix,
    # since many writers choose the format by it.
    return target.with_name(f".{secrets.token_hex(8)}.part{target.suffix}")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise at once what writing ``path`` would raise hours later; leave nothing behind.

    :param path: the file that is going to be written, existing or not
    :raises FileNotFoundError: its folder does not exist
    :raises NotADirectoryError: its folder is a file
    :raises IsADirectoryError: the path itself is a folder
    :raises PermissionError: the folder, or the file that is there already, is read-only
    :raises OSError: the path is a device or a pipe, or no file can be made in the folder
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; give the path of a file.")
    if not target.parent.exists():
        raise FileNotFoundError(
            f"cannot write {path}: the folder {target.parent} does not exist; make it first."
        )
    if not target.parent.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {target.parent} is a file, not a folder.")
    if target.exists():
        if not target.is_file():
            raise OSError(f"cannot write {path}: it is a device or a pipe, not a regular file.")
        # A rename needs no permission on the file it replaces, but who took it away meant it.
        if not os.access(target, os.W_OK):
            raise PermissionError(f"cannot write {path}: the file is read-only.")
    # The permission bits do not tell of a read-only file system or an access list: try it.
    probe = _temporary(target)
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except PermissionError:
        raise PermissionError(
            f"cannot write {path}: the folder {target.parent} is read-only."
        ) from None
    except OSError as error:
        raise OSError(
            f"cannot write {path}: no file can be made in {target.parent} ({error.strerror})."
        ) from None
    finally:
        probe.unlink(missing_ok=True)


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Tell whether two paths lead to one file, there already or not, whatever they are called."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(one) == os.path.realpath(other)


def check_apart(
    writes: Iterable[str | os.PathLike[str]], reads: Iterable[str | os.PathLike[str]]
) -> None:
    """Raise before a file that is an input would be overwritten, or one file written twice.

    :param writes: the files that are going to be written
    :param reads: the files that are read for it
    :raises ValueError: two of them are the same file
    """
    reads, seen = list(reads), list[str | os.PathLike[str]]()
    for path in writes:
        if any(same_file(path, other) for other in reads):
            raise ValueError(f"cannot write {path}: it is also an input; give another name.")
        if any(same_file(path, other) for other in seen):
            raise ValueError(
                f"cannot write {path}: something else is written to it; give another name."
            )
        seen.append(path)


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    Readers see the old file or the whole new one. After an error, an interrupt included, the old
    file is untouched and the temporary one is gone. A symbolic link is followed, not replaced.

    :param path: the file to write; its folder exists
    :raises OSError: as :func:`check_writable`, before the block runs
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    part = _temporary(target)
    _unfinished.add(part)
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(part)
    if os.name == "posix":  # elsewhere a folder cannot be opened, and the rename is durable
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def discard_unfinished() -> None:
    """Remove the temporary files of writes under way, for a process that ends without unwinding."""
    for part in tuple(_unfinished):
        part.unlink(missing_ok=True)


def storable(attrs: Mapping[str, object]) -> dict[str, Any]:
    """Turn attributes into what a netCDF attribute holds.

    Strings, numbers and one-dimensional numeric NumPy arrays stay; a bool is 0 or 1; all else
    (None, lists, mappings, integers beyond 64 bits) is JSON text.

    :param attrs: attribute values by name
    :raises ValueError: a value has no JSON form
    """
    plain: dict[str, Any] = {}
    for name, value in attrs.items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool):
            value = int(value)
        is_array = isinstance(value, np.ndarray) and value.ndim == 1 and value.size
        if (
            isinstance(value, (str, float))
            or (isinstance(value, int) and _INT64.min <= value <= _INT64.max)
            or (is_array and np.asarray(value).dtype.kind in "iuf")
        ):
            plain[name] = value
            continue
        try:
            plain[name] = json.dumps(value, default=lambda array: array.tolist())
        except (TypeError, ValueError, AttributeError):
            raise ValueError(
                f"attribute {name!r} is a {type(value).__name__}, which has no JSON form; "
                "allowed are numbers, strings, arrays, and lists and mappings of them."
            ) from None
    return plain


def labelled(
    dataset: xr.Dataset, attrs: Mapping[str, Mapping[str, object]] | None = None
) -> xr.Dataset:
    """Give every variable and coordinate ``units`` and ``long_name``, as the files' contract asks.

    :param dataset: left unchanged
    :param attrs: attributes by variable, which win over those the variables have; without either
        the units are ``"1"`` and the long name is the name
    """
    dataset = dataset.copy()
    for name, variable in dataset.variables.items():
        given = dict((attrs or {}).get(str(name), {}))
        dataset[name].attrs = {"units": "1", "long_name": str(name), **variable.attrs, **given}
    return dataset


def write_netcdf(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write netCDF-4 by rename, compressed, with the labels of :func:`labelled`.

    :param tree: the groups; a single table is ``xr.DataTree(dataset)``
    :param path: the file to write; its folder exists
    :raises OSError: as :func:`check_writable`
    :raises ValueError: an attribute cannot be stored
    """
    import xarray as xr

    groups: dict[str, xr.Dataset] = {}
    encoding: dict[str, dict[str, dict[str, object]]] = {}
    for node in tree.subtree:
        # What an input file chose (chunks, packing) does not fit arrays cut or changed since.
        dataset = labelled(node.to_dataset(inherit=False).drop_encoding())
        dataset.attrs = storable(dataset.attrs)
        for variable in dataset.variables.values():
            variable.attrs = storable(variable.attrs)
        groups[node.path] = dataset
        encoding[node.path] = {
            str(name): {"zlib": True, "complevel": 1}
            for name, variable in dataset.variables.items()
            if variable.ndim and variable.dtype.kind in "biuf"
        }
    with write_atomically(path) as part:
        xr.DataTree.from_dict(groups).to_netcdf(part, engine="netcdf4", encoding=encoding)


def brief(error: Exception) -> str:
    """What an error says, without the length that a file may give it."""
    text = str(error)
    return text if len(text) <= _MESSAGE else f"{text[: _MESSAGE - 100]} ... {text[-95:]}"


def read_netcdf(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a whole netCDF file into memory and close it.

    :param path: the file
    :raises FileNotFoundError: there is none
    :raises PermissionError: it may not be read
    :raises ValueError: it is a folder, or no netCDF file, or a broken one
    """
    import xarray as xr

    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}.")
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; give the path of a netCDF file.")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"cannot read {path}: permission denied.")
    try:
        _check_declared(path)
        # Units such as "seconds" must not turn numbers into dates or time differences. What
        # xarray warns of is found by the checks of those who read.
        with (
            warnings.catch_warnings(action="ignore"),
            xr.open_datatree(
                path, engine="netcdf4", decode_times=False, decode_timedelta=False
            ) as tree,
        ):
            return tree.load()
    except MemoryError:
        raise ValueError(f"{path} does not fit into memory; allowed are files that do.") from None
    except _Declared as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # of many kinds, where attributes contradict what they are of
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as netCDF, the only format allowed here ({reason[:_REASON]})."
        ) from None


class _Declared(ValueError):
    """A file declares what no reader here takes."""


def _check_declared(path: str | os.PathLike[str]) -> None:
    """Look at what a netCDF file says of itself before any of it is read.

    :raises _Declared: a variable is of a type other than numbers and text, or has an axis twice, or
        there is far more in all than a file of this size can hold.
    """
    import netCDF4

    held, largest, most = 0, "", 0
    with netCDF4.Dataset(os.fspath(path)) as file:
        groups = [(file, 0)]
        for group, depth in groups:
            groups += [(child, depth + 1) for child in group.groups.values()]
            # xarray opens each by its path, in a time that grows with their square.
            if depth > _DEEPEST or len(groups) > _GROUPS:
                raise _Declared(
                    f"it has more groups, or groups in groups, than any file of this package; allowed "
                    f"are {_GROUPS}, {_DEEPEST} deep."
                )
            for name, variable in group.variables.items():
                own = isinstance(variable.datatype, netCDF4.CompoundType | netCDF4.VLType)
                if variable.dtype is not str and (own or variable.dtype.kind not in "biufS"):
                    raise _Declared(
                        f"{name!r} is of a type of its own; allowed are numbers and text."
                    )
                if len(set(variable.dimensions)) < variable.ndim:
                    dims = ", ".join(variable.dimensions)
                    raise _Declared(f"{name!r} has an axis twice, ({dims}); allowed is each once.")
                width = 8 if variable.dtype is str else np.dtype(variable.dtype).itemsize
                # Python's integers: those of NumPy would go round.
                size = math.prod(map(int, variable.shape)) * width
                held += size
                if size > most:
                    largest, most = name, size
    if held > max(_PACKED * os.path.getsize(path), _SMALL):
        raise _Declared(
            f"it declares {held / 1e9:.3g} GB of arrays, {largest!r} most of them, and is itself of "
            f"{os.path.getsize(path)} bytes; the file is damaged or holds nothing."
        )
