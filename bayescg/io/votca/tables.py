"""Tables of VOTCA and GROMACS: ``.dist.tgt``, ``.dist.new``, ``.pot``, ``.force``, ``.xvg``.

A line holds ``x y [error] [flag]``; what begins with ``#`` or ``@`` is passed over. The flag is
``i`` (in the range of the data), ``o`` (out of it) or ``u`` (undefined). Lengths are in nm and
energies in kJ/mol; bonded tables of VOTCA have angles in radians, those of GROMACS in degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path

import numpy as np

from bayescg.io.targets.record import Target
from bayescg.topology import pair_name
from bayescg.units import KCAL

__all__ = ["NM", "Table", "read_pair_table", "read_potential", "read_table", "read_target"]

NM = 10.0  # angstrom in a nanometre
_FLAGS = "iou"
_ROUNDED = 0.02  # of a step, that rounding in a file may move a point
_NOISE = 1e-3  # of the largest value, below which a negative one is rounding or interpolation
_KINDS = ("pair", "bond", "angle", "dihedral")
_COLUMNS = 7  # of a non-bonded table of GROMACS

Notice = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Table:
    """A table as its file has it.

    :param x: ``(row,)``.
    :param y: ``(row,)``.
    :param third: the third number of each line, an error or a derivative, if there is one.
    :param flags: a letter for each row; ``i`` where the file has none.
    :param lines: number of each row's line, for messages.
    :param file: where it came from.
    """

    x: np.ndarray
    y: np.ndarray
    third: np.ndarray | None
    flags: str
    lines: np.ndarray
    file: str


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table.

    :param path: of the table.
    :raises FileNotFoundError: there is none.
    :raises ValueError: a line that is no row, or rows that are not in ascending order.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; give the path of a table.") from None
    rows, flags, lines = list[list[float]](), "", list[int]()
    for n, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0][0] in "#@&":
            continue
        flag = words.pop() if len(words[-1]) == 1 and words[-1] in _FLAGS else "i"
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if not 2 <= len(row) <= 3 or not np.isfinite(row[0]):
            raise ValueError(
                f"{path}, line {n}: {line.strip()[:40]!r} is no row of a table; allowed are "
                "x y, a third number, and a flag i, o or u."
            )
        if rows and len(row) != len(rows[0]):
            raise ValueError(
                f"{path}, line {n}: {len(row)} numbers after rows of {len(rows[0])}; allowed is "
                "one number of columns."
            )
        if rows and not row[0] > rows[-1][0]:
            raise ValueError(
                f"{path}, line {n}: x is {row[0]:g} after {rows[-1][0]:g}; it must grow."
            )
        if flag != "u" and not np.isfinite(row[1]):
            raise ValueError(f"{path}, line {n}: y is {row[1]}, and its flag {flag}, not u.")
        rows.append(row)
        flags += flag
        lines.append(n)
    if len(rows) < 2:
        raise ValueError(f"{path} holds {len(rows)} rows; a table has at least 2.")
    columns = np.array(rows).T
    third = columns[2] if len(columns) == 3 else None
    return Table(columns[0], columns[1], third, flags, np.array(lines), str(path))


def read_target(
    path: str | os.PathLike[str],
    kind: str,
    name: str = "",
    types: tuple[str, str] | tuple[()] = (),
    *,
    span: tuple[float, float] | None = None,
    say: Notice = lambda text: None,
) -> Target:
    """A distribution in angstrom or radians.

    Rows of x are centres of bins, as VOTCA's are; an RDF is normalised by N^2/2, as VOTCA and
    GROMACS do. A histogram of a bonded coordinate is normalised to one here.

    :param path: of the table.
    :param kind: ``pair``, ``bond``, ``angle`` or ``dihedral``; angles are in radians.
    :param name: of a bonded term's potential.
    :param types: of a pair, in any order.
    :param span: in which the potential is defined, angstrom or radians.
    :param say: is told what was changed.
    :raises ValueError: what :func:`read_table` says; rows that are not evenly spaced, undefined
        ones between others, negative ones, or none above zero.
    """
    table = _without_undefined(read_table(path))
    q = _scale(kind) * _even(table)
    values = table.y.copy()
    negative = values < 0
    if negative.any():
        at = int(np.argmin(values))
        if -values[at] > _NOISE * values.max():
            raise ValueError(
                f"{path}, line {table.lines[at]}: {values[at]:g} is negative; a distribution is not."
            )
        say(
            f"{path}: {negative.sum()} values are negative, down to {values[at]:.2g}; they were "
            "set to zero."
        )
        values[negative] = 0.0
    if not values.any():
        raise ValueError(f"{path} is zero everywhere; a distribution is not.")
    if kind == "pair":
        a, b = sorted(types)
        pair = pair_name(a, b)
        return Target(kind, pair, q, values, (a, b), "n2", span=span, source=_name(path))
    total = float(values.sum() * (table.x[-1] - table.x[0]) / (len(q) - 1))
    if abs(total - 1.0) > 1e-3:
        unit = "nm" if kind == "bond" else "radian"
        say(f"{path}: the histogram summed to {total:.4g} per {unit}; it was normalised to one.")
    return Target(kind, name, q, values / (total * _scale(kind)), span=span, source=_name(path))


def read_potential(
    path: str | os.PathLike[str],
    kind: str,
    name: str = "",
    types: tuple[str, str] | tuple[()] = (),
    *,
    degrees: bool = False,
    factor: float = 1.0,
) -> Target:
    """A potential in kcal/mol on a grid in angstrom or radians; undefined rows at the ends go.

    :param path: of the table.
    :param kind: as of :func:`read_target`.
    :param name: of a bonded term's potential.
    :param types: of a pair, in any order.
    :param degrees: angles are in degrees, as in tables of GROMACS, not in radians.
    :param factor: that multiplies the energies.
    :raises ValueError: what :func:`read_table` says; rows that are not evenly spaced, or undefined
        ones between others.
    """
    table = _without_undefined(read_table(path))
    unit = np.pi / 180.0 if degrees and kind in ("angle", "dihedral") else _scale(kind)
    pair = tuple(sorted(types))
    return Target(
        kind,
        pair_name(*pair) if kind == "pair" else name,
        unit * _even(table),
        table.y * (factor / KCAL),
        pair,
        source=_name(path),
    )


def read_pair_table(path: str | os.PathLike[str], types: tuple[str, str]) -> Target:
    """A non-bonded table of GROMACS as VOTCA writes them: the potential in the sixth column; kcal/mol.

    :param path: of the table.
    :param types: the two bead types, in any order.
    :raises FileNotFoundError: there is none.
    :raises ValueError: a line that is no row of seven numbers, r that is not evenly spaced, or a dispersion.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    rows = []
    for n, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0][0] in "#@&":
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != _COLUMNS or not np.isfinite(row).all():
            raise ValueError(
                f"{path}, line {n}: {line.strip()[:40]!r} is no row of a non-bonded table of GROMACS; "
                "allowed are seven numbers."
            )
        if row[3] or row[4]:
            raise ValueError(
                f"{path}, line {n}: the dispersion is {row[3]:g}; allowed are tables with zeros there, as VOTCA "
                "writes them."
            )
        rows.append((row[0], row[5], n))
    if len(rows) < 2:
        raise ValueError(f"{path} holds {len(rows)} rows; a table has at least 2.")
    x, y, lines = np.array(rows).T
    if not (np.diff(x) > 0.0).all():
        raise ValueError(f"{path}: r does not grow from row to row.")
    table = Table(x, y, None, "i" * len(x), lines.astype(int), str(path))
    a, b = sorted(types)
    return Target("pair", pair_name(a, b), NM * _even(table), y / KCAL, (a, b), source=_name(path))


def _scale(kind: str) -> float:
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; allowed are {', '.join(_KINDS)}.")
    return NM if kind in ("pair", "bond") else 1.0


def _name(path: str | os.PathLike[str]) -> str:
    return Path(path).name


def _without_undefined(table: Table) -> Table:
    known = np.array([flag != "u" for flag in table.flags])
    if not known.any():
        raise ValueError(f"{table.file} has only undefined rows (flag u).")
    first, last = int(np.argmax(known)), len(known) - int(np.argmax(known[::-1]))
    gaps = np.flatnonzero(~known[first:last])
    if gaps.size:
        raise ValueError(
            f"{table.file}, line {table.lines[first + gaps[0]]}: undefined (flag u) between "
            "defined rows; allowed are undefined rows at the ends."
        )
    if last - first < 2:
        raise ValueError(f"{table.file} has one defined row; a table has at least 2.")
    keep = slice(first, last)
    third = None if table.third is None else table.third[keep]
    return Table(
        table.x[keep], table.y[keep], third, table.flags[keep], table.lines[keep], table.file
    )


def _even(table: Table) -> np.ndarray:
    """The grid without the rounding of its file."""
    x = table.x
    grid = np.linspace(x[0], x[-1], len(x))
    off = np.abs(x - grid) / (grid[1] - grid[0])
    if off.max() > _ROUNDED:
        raise ValueError(
            f"{table.file}, line {table.lines[int(np.argmax(off))]}: x is not evenly spaced; "
            "allowed are bins of one width."
        )
    return grid
