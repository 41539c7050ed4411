"""Panels of one kind, one for each potential or distribution of molecules."""

from typing import Any

import numpy as np

from bayescg.plot import AXES
from bayescg.report.drawing import canvas
from bayescg.report.interactions import DIMS

__all__ = ["axis_label", "density_label", "grid_of", "laid_out"]

PER_ROW = 3


def grid_of(
    count: int, *, height: float, parts: int = 1, ratios: tuple[int, ...] = (1,)
) -> tuple[Any, Any]:
    """A figure of ``count`` cells in rows of up to three; what is not needed is hidden.

    :param height: of a cell, inches.
    :param parts: panels of a cell, one below the other, with ``ratios`` of their heights.
    :return: the figure and its axes, ``(count,)``, or ``(count, parts)`` where there are several.
    """
    across = min(count, PER_ROW)
    if count == 4:
        across = 2
    down = -(-count // across)
    figure = canvas(7.0 if across == 1 else max(7.5, 3.0 * across), height * down + 0.5)
    axes = figure.subplots(down * parts, across, squeeze=False, height_ratios=ratios * down)
    for ax in axes.ravel():
        ax.set_visible(False)
    cells = []
    for i in range(count):
        row, column = parts * (i // across), i % across
        cell = [axes[row + k, column] for k in range(parts)]
        for ax in cell:
            ax.set_visible(True)
        cells.append(cell)
    return figure, [c[0] for c in cells] if parts == 1 else cells


def laid_out(kind: str, at: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Places and what stands there, ``(..., place)``; dihedrals from 0 to 360 degrees, trans in the middle."""
    if kind != "dihedral":
        return at, *values
    turned = np.mod(at, 360.0)
    order = np.argsort(turned, kind="stable")
    return turned[order], *(v[..., order] for v in values)


def axis_label(kind: str) -> str:
    """The coordinate of a kind of potential, with its unit."""
    return AXES[DIMS[kind]]


def density_label(kind: str) -> str:
    """The distribution of that coordinate."""
    if kind == "pair":
        return "g(r)"
    return "p / Å⁻¹" if kind == "bond" else "p / degree⁻¹"
