"""Values at the pointer: what the curves of each panel are at each place, for the page's script to tell.

A maker of a figure calls :func:`follow` beside the call that draws; :func:`panels` is asked once the figure has been
laid out. Places on the page come from matplotlib's transforms, so linear, logarithmic and named axes are all the same
to the script, which only looks up the nearest one.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
import json
import re
from typing import Any
from weakref import WeakKeyDictionary

from markupsafe import Markup
import numpy as np

from bayescg.report.case import printable

__all__ = ["Curve", "Script", "as_json", "follow", "follow_lines", "panels", "script"]

#: Points of a figure per inch: the unit of an SVG's coordinates.
POINTS = 72.0
#: Significant digits of what is stored; four are shown.
DIGITS = 6
#: Longest label of a curve.
LABEL = 60


@dataclass(frozen=True)
class Curve:
    """What a panel shows of one curve.

    :param at: places along the axis, ``(place,)``
    :param value: the curve there, ``(place,)``; where it is not finite there is nothing to tell
    :param interval: lower and upper ends of its band, ``(2, place)``; None without one
    :param ends: what the band is, such as ``10–90 % of 100 draws``
    :param names: what the places are called, where numbers do not tell
    :param colour: of the mark beside it, as matplotlib has it
    """

    label: str
    at: np.ndarray
    value: np.ndarray
    interval: np.ndarray | None = None
    ends: str = ""
    names: tuple[str, ...] = ()
    colour: str = ""


#: Curves by the axes that they are drawn on; an entry goes with its axes.
_FOLLOWED: WeakKeyDictionary[Any, list[Curve]] = WeakKeyDictionary()


def follow(
    ax: Any,
    label: str,
    at: Any,
    value: Any,
    *,
    interval: tuple[Any, Any] | None = None,
    ends: str = "",
    names: Sequence[object] = (),
    colour: str = "",
) -> None:
    """Tell a curve's values at the pointer; see :class:`Curve`.

    :param ax: the axes on which it is drawn.
    :raises ValueError: if places, values, interval and names are not of one length.
    """
    place, height = (np.ravel(np.asarray(v, float)) for v in (at, value))
    band = None if interval is None else np.array([np.ravel(v) for v in interval], float)
    called = tuple(printable(n, LABEL) for n in names)
    if place.shape != height.shape or (band is not None and band.shape[1:] != place.shape):
        raise ValueError(f"{label}: places and values differ in number.")
    if called and len(called) != place.size:
        raise ValueError(f"{label}: {len(called)} names for {place.size} places.")
    curve = Curve(printable(label, LABEL), place, height, band, ends, called, colour)
    _FOLLOWED.setdefault(ax, []).append(curve)


def follow_lines(ax: Any, most: int = 8) -> None:
    """Follow the labelled lines of a panel, as they are drawn; at most so many of them."""
    lines = [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
    for line in lines[:most]:
        at, value = line.get_data(orig=False)
        if len(at) > 2:  # a shorter one marks a place
            follow(ax, str(line.get_label()), at, value, colour=str(line.get_color()))


def panels(figure: Any) -> list[dict[str, Any]]:
    """What the page's script needs, a panel each, of a figure that has been drawn.

    Coordinates are those of its SVG: points from the upper left corner.

    :return: of each panel its ``box`` (left, top, width, height), names and units of its axes, its ``grids`` (places
        ``at``, their coordinates ``px`` and maybe ``names``) and its ``curves``, each with the number of its grid.
    """
    return [_panel(figure, ax) for ax in figure.axes if ax.get_visible() and ax in _FOLLOWED]


def _panel(figure: Any, ax: Any) -> dict[str, Any]:
    size = POINTS * figure.get_size_inches()
    to_page = ax.transData + figure.transFigure.inverted()

    def coordinates(at: np.ndarray, value: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            found = to_page.transform(np.stack([at, value], -1))
        return np.asarray((found * [1.0, -1.0] + [0.0, 1.0]) * size)

    ends = (ax.transAxes + figure.transFigure.inverted()).transform([[0.0, 1.0], [1.0, 0.0]])
    (left, top), (right, bottom) = (ends * [1.0, -1.0] + [0.0, 1.0]) * size
    x, unit = _unit(_label(ax, "x"))
    y, y_unit = _unit(_label(ax, "y"))
    grids: list[dict[str, Any]] = []
    curves = []
    for curve in _FOLLOWED[ax]:
        level = np.full(curve.at.shape, ax.get_ylim()[0])
        across = coordinates(curve.at, level)[:, 0]
        shown = (across > left - 0.5) & (across < right + 0.5)
        order = np.flatnonzero(shown)[np.argsort(across[shown], kind="stable")]
        if not order.size:
            continue
        grid: dict[str, Any] = {
            "at": _rounded(curve.at[order]),
            "px": _rounded(across[order], places=1),
        }
        if curve.names:
            grid["names"] = [curve.names[i] for i in order]
        if grid not in grids:
            grids.append(grid)
        down = coordinates(curve.at, curve.value)[order, 1]
        down = np.where((down > top - 0.5) & (down < bottom + 0.5), down, np.nan)
        entry: dict[str, Any] = {
            "label": curve.label,
            "grid": grids.index(grid),
            "value": _rounded(curve.value[order]),
            "py": _rounded(down, places=1),
        }
        if re.fullmatch(r"#[0-9A-Fa-f]{6}", curve.colour):
            entry["colour"] = curve.colour
        if curve.interval is not None:
            low, high = curve.interval[:, order]
            entry |= {"low": _rounded(low), "high": _rounded(high), "ends": curve.ends}
        curves.append(entry)
    box = [round(float(v), 1) for v in (left, top, right - left, bottom - top)]
    return {
        "box": box,
        "title": ax.get_title(),
        "x": x,
        "unit": unit,
        "y": y,
        "yUnit": y_unit,
        "grids": grids,
        "curves": curves,
    }


def _label(ax: Any, which: str) -> str:
    """An axis's label; in a grid of panels, that of the panel that bears it for all."""
    shared = getattr(ax, f"get_shared_{which}_axes")()
    others = [other for other in shared.get_siblings(ax) if other is not ax]
    found = (getattr(other, f"get_{which}label")() for other in [ax, *others])
    return " ".join(next((text for text in found if text), "").split())


def _unit(label: str) -> tuple[str, str]:
    """``distance r / Å`` is a name and a unit."""
    name, _, unit = label.partition(" / ")
    return name, unit


def _rounded(values: np.ndarray, places: int | None = None) -> list[float | None]:
    """Numbers as JSON has them: none that is not finite."""
    if places is None:
        return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values]
    return [round(float(v), places) if np.isfinite(v) else None for v in values]


def as_json(value: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # what is not ASCII is escaped
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@dataclass(frozen=True)
class Script:
    """The page's script, and the source by which a content security policy allows it and no other."""

    text: Markup
    source: str


def script() -> Script:
    """The script that shows the values; it is part of the package and reads nothing but the page."""
    text = files("bayescg.report").joinpath("templates", "hover.js").read_text(encoding="utf-8")
    digest = b64encode(sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"'sha256-{digest}'")
