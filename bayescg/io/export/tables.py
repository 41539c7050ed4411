"""What all writers of tables share: grids, names of files, words about what was extrapolated."""

from __future__ import annotations

from collections.abc import Iterable
import math
from pathlib import Path

import numpy as np

from bayescg.io.export.extrapolate import Extended, extended
from bayescg.io.export.model import ExportModel
from bayescg.topology import KINDS

__all__ = [
    "ANGLES",
    "FINE",
    "SPACING",
    "check_box",
    "columns",
    "extensions",
    "extrapolated",
    "lengths",
    "longest_bond",
    "sampled",
    "spread",
    "write_text",
]

SPACING = 0.002  # angstrom between rows of pairs; cubic interpolation is then good to 1e-6
FINE = 0.0005  # of bonds: a fitted table may itself have points that are hardly farther apart
ANGLES = 1800  # intervals of half a circle


def extensions(model: ExportModel) -> dict[str, Extended]:
    """Every interaction with its extrapolation, by label."""
    return {i.label: extended(i, model.temperature) for i in model.interactions}


def lengths(last: float, spacing: float = SPACING) -> np.ndarray:
    """Equally spaced from the spacing itself to ``last``, without zero: there a force has no direction."""
    count = math.ceil(last / spacing - 1e-9)
    return np.linspace(last / count, last, count)


def sampled(e: Extended, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy and force for rows of a table; the row at a pair's cut-off is what comes just before it."""
    if e.interaction.kind == "pair":
        q = np.where(q == e.high, e.high * (1.0 - 1e-12), q)
    return e.energy(q), e.force(q)


def longest_bond(e: Extended) -> float:
    """Where the table of a bond ends, angstrom: no bond gets there alive."""
    return 2.0 * e.high


def check_box(model: ExportModel, format: str) -> None:
    """Refuse a box that does not hold the cut-off twice, where a format cannot do with less.

    :raises ValueError: naming the pair.
    """
    half = 0.5 * float(model.box.min())
    for i in model.of("pair"):
        if i.cutoff > half:
            raise ValueError(
                f"{i.label}: the cut-off of {i.cutoff:g} angstrom is beyond half the box, {half:g}; the {format} "
                "format allows half the box."
            )


def columns(*values: np.ndarray, first: int | None = None) -> str:
    """Lines of numbers, 12 digits each; numbered from ``first`` if it is given."""
    rows = np.column_stack(values)
    if first is None:
        return "".join(" ".join(f"{v:.12g}" for v in row) + "\n" for row in rows.tolist())
    lines = (" ".join(f"{v:.12g}" for v in row) for row in rows.tolist())
    return "".join(f"{k} {line}\n" for k, line in enumerate(lines, first))


def extrapolated(e: Extended) -> str:
    """Which part of a potential is not from data, in words and in the user's units."""
    i = e.interaction
    scale, unit = (
        (180.0 / math.pi, "degrees") if i.kind in ("angle", "dihedral") else (1.0, "angstrom")
    )
    parts = [
        f"{low * scale:.6g} to {high * scale:.6g}"
        if math.isfinite(high)
        else f"beyond {low * scale:.6g}"
        for low, high in e.ranges
    ]
    if i.kind == "pair" and i.known[0] > e.low:
        parts.insert(0, f"below {i.known[0]:.6g} (the model's own form)")
    if not parts:
        return f"{i.label}: nothing is extrapolated."
    return f"{i.label}: extrapolated, not from data: {', '.join(parts)} {unit}."


def spread(model: ExportModel, kind: str) -> tuple[tuple[str, np.ndarray], ...]:
    """Terms of a kind that have a potential: its name and their sites, in the topology's order."""
    return tuple((i.name, model.members(i)) for i in model.of(kind)) if kind in KINDS else ()


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Lines, each ended."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
