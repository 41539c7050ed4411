"""What trajectory files are, and whether they end where they should.

Readers leave out a last frame that is cut short, or frames beyond the first, without a word.
"""

from __future__ import annotations

from pathlib import Path
import re
import struct
from typing import Any, BinaryIO

__all__ = ["check_complete", "check_frames", "file_format"]

_COUNT = re.compile(r"\s*\d+\s+atoms\s*(#.*)?")
_UNITS = re.compile(r"\bunits = (\w+)")
_PACKED = (".gz", ".bz2")
_SOME = 4096  # bytes
_HEADER = 60  # lines within which a LAMMPS data file counts its atoms
_COLUMNS = {
    "full": "id resid type charge x y z",
    "molecular": "id resid type x y z",
    "bond": "id resid type x y z",
    "angle": "id resid type x y z",
    "atomic": "id type x y z",
    "charge": "id type charge x y z",
}


def file_format(path: Path) -> tuple[str | None, dict[str, Any]]:
    """The format of a file in words of MDAnalysis, and the options that its reader needs.

    LAMMPS files are known by what they hold, since their names follow no rule; None: the suffix
    says it.

    :raises ValueError: for a LAMMPS file in other units than ``real``, or of an unknown style.
    """
    with path.open("rb") as file:
        head = [file.readline(400) for _ in range(_HEADER)]
    if head[0].startswith(b"ITEM: "):
        return _dump(path, head)
    lines = [line.decode("utf-8", "replace") for line in head]
    if not any(_COUNT.fullmatch(line.rstrip()) for line in lines[1:]):
        return None, {}
    units = _UNITS.search(lines[0])
    if units and units[1] != "real":
        raise ValueError(f"{path} is in LAMMPS units {units[1]}; allowed is real.")
    style = _style(path)
    if style is None:
        return "DATA", {}
    if style not in _COLUMNS:
        raise ValueError(f"{path} has atoms of style {style!r}; allowed are {', '.join(_COLUMNS)}.")
    return "DATA", {"atom_style": _COLUMNS[style]}


def _dump(path: Path, head: list[bytes]) -> tuple[str, dict[str, Any]]:
    if head[0].startswith(b"ITEM: UNITS"):
        units = head[1].decode("utf-8", "replace").strip()
        raise ValueError(
            f"{path} begins with its units ({units}); allowed is a LAMMPS dump without (dump_modify "
            "units no), in units real."
        )
    return "LAMMPSDUMP", {}


def _style(path: Path) -> str | None:
    """The style that a LAMMPS data file names at its atoms, ``Atoms # full``."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            section, _, style = line.partition("#")
            if section.strip() == "Atoms":
                return style.strip() or None
    return None


def check_complete(path: Path, reader: Any) -> None:
    """Raise if a file holds more than whole frames.

    :param reader: of the file, at its last frame.
    :raises ValueError: if it is cut short, or holds frames that its reader does not see.
    """
    kind = reader.format if isinstance(reader.format, str) else reader.format[0]
    if kind in ("LAMMPSDUMP", "XYZ"):
        _check_lines(path, reader)
    elif kind in ("XTC", "TRR"):
        _check_xdr(path, reader)
    elif kind == "DCD":
        _check_dcd(path, len(reader))
    elif kind == "GRO":
        _check_gro(path)
    elif kind == "PDB":
        _check_line_end(path, len(reader) - 1)


def check_frames(path: Path) -> None:
    """Look at the header of every frame of an XTC or TRR file before its reader does.

    The library that reads them trusts their lengths: a negative one ends the process.

    :raises ValueError: a frame is of another number of atoms, or its header is none.
    """
    if path.suffix.lower() not in (".xtc", ".trr"):
        return
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = number = first = 0
        while start < size:
            file.seek(start)
            try:
                magic, end, atoms = _frame(file, start)
            except (struct.error, OSError, ValueError):
                return  # cut within the header of its last frame, which is said elsewhere
            first = first or atoms
            if not magic or not start < end or not 0 < atoms == first:
                raise ValueError(
                    f"{path}: the header of frame {number} makes no sense; the file is damaged, or no "
                    f"{path.suffix[1:].upper()}."
                )
            start, number = end, number + 1


def _frame(file: BinaryIO, start: int) -> tuple[bool, int, int]:
    """Whether a frame of XTC or TRR begins here, where it ends, and its number of atoms."""
    magic, atoms = struct.unpack(">ii", file.read(8))
    if magic in (1995, 2023):
        file.seek(start + 4)
        length = _length_of_xtc(file, magic)
        if atoms <= 9:
            return True, start + length, atoms
        file.seek(start + 60)
        *ranges, index = struct.unpack(">7i", file.read(28))
        # The index of a table of sizes, which begins at 9 and ends at 72.
        packs = 9 <= index <= 72 and all(ranges[k] <= ranges[k + 3] for k in range(3))
        return packs and length >= 92, start + length, atoms
    if magic != 1993:
        return False, start, 0
    (letters,) = struct.unpack(">i", file.read(4))
    if not 0 <= letters <= _SOME:
        return False, start, 0
    file.seek(-(-letters // 4) * 4, 1)
    numbers = struct.unpack(">13i", file.read(52))
    file.seek(start + 4)
    return min(numbers[:10]) >= 0, _end_of_trr(file), numbers[10]


def _cut(path: Path, frame: int) -> ValueError:
    return ValueError(
        f"{path}: frame {frame} is cut short; the file ends before it does. Allowed are whole "
        "frames; an end before it leaves it out."
    )


def _check_lines(path: Path, reader: Any) -> None:
    """For formats whose frames have so many lines each: nothing may follow the last whole one."""
    file = getattr(reader, "_file", None) or getattr(reader, "xyzfile", None)
    if file is not None and file.read(_SOME).strip():
        raise _cut(path, len(reader))
    _check_line_end(path, len(reader) - 1)


def _check_line_end(path: Path, frame: int) -> None:
    if path.suffix in _PACKED:
        return  # a cut would have shown when it was unpacked
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _SOME))
        tail = file.read()
    if not tail.endswith(b"\n") and tail.rsplit(b"\n", 1)[-1].strip() != b"END":
        raise _cut(path, frame)


def _check_xdr(path: Path, reader: Any) -> None:
    """The end of the last frame of XTC or TRR; one cut within its first bytes is not counted."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = file.seek(int(reader._xdr.offsets[-1]))
        (magic,) = struct.unpack(">i", file.read(4))
        if magic == 1993:
            end = _end_of_trr(file)
        elif magic in (1995, 2023):
            end = start + _length_of_xtc(file, magic)
        else:
            return
    if end != size:
        raise _cut(path, len(reader) if end < size else len(reader) - 1)


def _length_of_xtc(file: BinaryIO, magic: int) -> int:
    (atoms,) = struct.unpack(">i", file.read(4))
    file.seek(44, 1)  # step, time, box
    file.seek(4, 1)
    if atoms <= 9:  # too few to be compressed
        return 56 + 12 * atoms
    file.seek(32, 1)  # precision, ranges
    (packed,) = struct.unpack(">i" if magic == 1995 else ">q", file.read(4 if magic == 1995 else 8))
    return (92 if magic == 1995 else 96) + -(-packed // 4) * 4


def _end_of_trr(file: BinaryIO) -> int:
    file.seek(4, 1)
    (letters,) = struct.unpack(">i", file.read(4))
    file.seek(-(-letters // 4) * 4, 1)
    numbers = struct.unpack(">13i", file.read(52))
    blocks, atoms = numbers[:10], numbers[10]
    # The precision is nowhere said; time and lambda have that of the box or the vectors.
    wide = blocks[2] == 72 or any(length == 24 * atoms for length in blocks[7:])
    return file.tell() + (16 if wide else 8) + sum(blocks)


def _check_gro(path: Path) -> None:
    from MDAnalysis.lib.util import openany

    with openany(str(path), "rt") as file:
        file.readline()
        for _ in range(int(file.readline()) + 1):
            file.readline()
        if file.read(_SOME).strip():
            raise ValueError(
                f"{path} holds several frames, of which only the first would be read; convert it "
                "to XTC or TRR."
            )
    _check_line_end(path, 0)


def _check_dcd(path: Path, frames: int) -> None:
    """The size of a DCD file against that of its frames, and the number that its header says."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(88)
        order = next((o for o in "<>" if struct.unpack(f"{o}i", head[:4])[0] == 84), None)
        if order is None:
            return  # records are counted by 64 bits; unusual, and not read here
        control = struct.unpack(f"{order}20i", head[8:88])
        file.seek(92)
        for _ in range(2):  # the title, and the number of atoms
            (length,) = struct.unpack(f"{order}i", file.read(4))
            content = file.read(length + 4)
        (atoms,) = struct.unpack(f"{order}i", content[:4])
        fixed = control[8]
        start = file.tell() + (4 * (atoms - fixed) + 8 if fixed else 0)
    charmm = control[19] != 0
    cell = 56 if charmm and control[10] else 0
    axes = 4 if charmm and control[11] else 3
    first, other = (cell + axes * (4 * n + 8) for n in (atoms, atoms - fixed))
    whole = 1 + (size - start - first) // other
    if (size - start - first) % other or whole < control[0]:
        raise _cut(path, min(whole, frames))
