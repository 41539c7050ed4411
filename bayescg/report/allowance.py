"""Two intervals side by side: within the model, and with the model's error allowed for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from bayescg.plot import AXES, VALUES, interval_of, percent
from bayescg.report.case import ABSENT, SAMPLES, Case, number
from bayescg.report.curves import EXACT, NEAR, place
from bayescg.report.drawing import INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow

__all__ = ["freedom_of", "observables", "two_intervals"]

#: Times the frames for which widths are told.
MORE = 4.0
#: Panels of one figure, more of which would not be read.
MOST = 4


def two_intervals(cases: Sequence[Case]) -> Figure | None:
    """Each observable's band within the model, the one that allows for its error, and the data's average."""
    main = cases[0]
    names = observables(main)
    if not names:
        return None
    panels = [(n, w) for n in names for w in _places(main, n)][:MOST]
    figure = canvas(7, 2.6 * len(panels) + 0.4)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for ax, (name, where) in zip(axes, panels, strict=True):
        _panel(ax, main, name, where)
    decorate(figure, [axes[0]], columns=2)
    table = _table(main, names)
    summary = "Intervals within the model and with its error allowed for: " + "; ".join(
        f"{row[0]} mean width {row[1]} and {row[2]}" for row in table[1:]
    )
    shared = (
        "what both share is measured by the influence of each frame"
        if main.get_group("discrepancy").attrs.get("shared_errors") == "of frames"
        else "what both share is that of a model that is right"
    )
    return Figure(
        "two-intervals",
        "Within the model, and with its error allowed for",
        "The narrow band holds the uncertainty of the parameters as if the coarse model were right. The outer one "
        "is an interval for the true value: it weighs the model's prediction against the average of the fitted "
        f"frames by how far the two are apart ({shared}), and is the one to quote. z is the distance from "
        "prediction to average in standard errors. What more frames would do is predicted from the curvature of the "
        "posterior.",
        svg(figure, "two-intervals", summary),
        table,
    )


def observables(case: Case) -> list[str]:
    """Names of what has both intervals."""
    if not case.has_group("discrepancy"):
        return []
    group = case.get_group("discrepancy")
    return [str(n) for n in group.data_vars if f"{n}_z" in group and case.banded(str(n))]


def _places(case: Case, name: str) -> list[dict[str, Any]]:
    """Where along a sweep a function is shown; nowhere in particular for what is a curve along it."""
    value = case.get("discrepancy", name)
    own = [d for d in value.dims if d not in (*SAMPLES, case.dim)]
    if len(own) > 1:
        return []
    if not own or case.dim is None:
        return [{}]
    zero, one = case.near(0.0), case.near(NEAR)
    return [zero] if zero == one else [zero, one]


def _bounds(value: Any, name: str) -> tuple[Any, Any]:
    # Draws of the outer one are the middles of equal parts of its distribution.
    ends = value.quantile(list(interval_of(name)), SAMPLES, method="hazen")
    return ends.isel(quantile=0, drop=True), ends.isel(quantile=1, drop=True)


def _panel(ax: Any, case: Case, name: str, where: dict[str, Any]) -> None:
    outer, inner = (case.at(g, name, where) for g in ("discrepancy", "posterior_predictive"))
    average = case.at("discrepancy", f"{name}_data", where)
    dims = [str(d) for d in outer.dims if d not in SAMPLES]
    ends = percent(interval_of(name))
    exact = case.at("reference", name, where) if case.has("reference", name) else None
    if not dims:  # one number
        for y, (value, text, alpha) in enumerate(
            (
                (outer, f"model's error allowed for, {ends}", 0.25),
                (inner, f"within the model, {ends}", 0.6),
            )
        ):
            low, high = (float(v) for v in _bounds(value, name))
            ax.plot([low, high], [y, y], color=case.colour, alpha=alpha, linewidth=6, label=text)
        ax.plot([float(average)], [0.5], "x", color=INK, label="average of the fitted frames")
        if exact is not None:
            ax.axvline(float(exact), label="reference", **EXACT)
        ax.set_yticks([])
        ax.set_xlabel(VALUES.get(name, name))
        return
    at = outer[dims[0]].values
    middle = inner.mean(SAMPLES)
    # Differences from the prediction's mean: bands of a function are too narrow to be seen on its own scale.
    for value, text, alpha in (
        (outer, f"model's error allowed for, {ends}", 0.25),
        (inner, f"within the model, {ends}", 0.6),
    ):
        low, high = _bounds(value, name)
        band = {"color": case.colour, "alpha": alpha, "linewidth": 0, "label": text}
        ax.fill_between(at, low - middle, high - middle, **band)
        ours: dict[str, Any] = {
            "interval": (low - middle, high - middle),
            "ends": ends,
            "colour": case.colour,
        }
        follow(ax, text.partition(",")[0], at, value.mean(SAMPLES) - middle, **ours)
    ax.plot(
        at, average - middle, ".", color=INK, markersize=4, label="average of the fitted frames"
    )
    follow(ax, "average of the fitted frames", at, average - middle)
    if exact is not None and exact.sizes == middle.sizes:
        ax.plot(at, exact.values - middle.values, label="reference", **EXACT)
        follow(ax, "reference", at, exact.values - middle.values)
    ax.axhline(0.0, color=INK, linewidth=0.6)
    ax.set_xlabel(AXES.get(dims[0], dims[0]))
    ax.set_ylabel(f"{VALUES.get(name, name)}{place(where)}\nminus prediction")


def _table(case: Case, names: Sequence[str]) -> list[list[str]]:
    table = [
        [
            "observable",
            "width within the model",
            "width with its error allowed for",
            "width from the data alone",
            "weight of the data",
            "reference held, within",
            "reference held, allowed for",
            "largest |z|",
            f"widths with {MORE:g} times the frames, relative to these",
        ]
    ]
    for name in names:
        inner, outer = (case.get(g, name) for g in ("posterior_predictive", "discrepancy"))
        widths, held = [], []
        for value in (inner, outer):
            low, high = _bounds(value, name)
            widths.append(number(float((high - low).mean())))
            inside = ABSENT
            if case.has("reference", name):
                exact = case.get("reference", name)
                if all(exact.sizes.get(d) == n for d, n in low.sizes.items()):
                    exact = exact.transpose(*low.dims).values
                    share = (exact >= low.values) & (exact <= high.values)
                    inside = f"{np.mean(share):.0%}"
            held.append(inside)
        freedom = freedom_of(case)
        z = case.get("discrepancy", f"{name}_z").values
        alone = _alone(case, name, freedom)
        weight = float(case.get("discrepancy", f"{name}_weight").mean())
        known = np.abs(z[np.isfinite(z)])
        largest = number(round(float(known.max()), 1)) if known.size else ABSENT
        table.append([name, *widths, alone, f"{weight:.0%}", *held, largest, _more(case, name)])
    return table


def _more(case: Case, name: str) -> str:
    """How wide both would be with more frames, within the model and allowed for."""
    keys = [f"{name}_{k}_more" for k in ("within", "allowed")]
    if not all(case.has("discrepancy", k) for k in keys):
        return ABSENT
    found = [case.get("discrepancy", k).sel(times=MORE).mean() for k in keys]
    return " and ".join(number(round(float(v), 2)) for v in found)


def freedom_of(case: Case) -> int:
    """Degrees of freedom of the fitted frames' average; frames that follow each other are worth fewer."""
    attrs = case.get_group("discrepancy").attrs
    return max(int(float(attrs.get("frames_independent", attrs.get("frames", 2)))) - 1, 1)


def _alone(case: Case, name: str, freedom: int) -> str:
    """Mean width of Student's interval of the average."""
    low, high = student.ppf(interval_of(name), freedom)
    return number(float((high - low) * case.get("discrepancy", f"{name}_data_se").mean()))
