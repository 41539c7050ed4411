"""Figs. 8 to 12 of the PCG paper: credible bands as data are added and coarse-graining deepens."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg.plot import AXES, VALUES, band, interval_of, percent
from bayescg.report.case import ABSENT, Case, alike, number, rmse
from bayescg.report.curves import EXACT, NEAR, place, symbol
from bayescg.report.drawing import Figure, canvas, decorate, svg
from bayescg.report.hover import follow

__all__ = ["bands", "p0"]

PAPER = {
    ("magnetization", "frames"): ("fig8", "Fig. 8", "Magnetisation as data are added"),
    ("correlation", "frames"): ("fig9", "Fig. 9", "Correlation as data are added"),
    ("magnetization", "ratio"): ("fig11", "Fig. 11", "Magnetisation at several ratios"),
    ("correlation", "ratio"): ("fig12", "Fig. 12", "Correlation at several ratios"),
}
LETTER = {"frames": "N", "ratio": "ratio"}


def family(cases: Sequence[Case], free: str) -> list[Case]:
    """The main fit and those that differ from it in ``free`` alone, one a value, in its order."""
    main = cases[0]
    found: dict[Any, Case] = {}
    for case in [main, *(c for c in cases[1:] if alike(main, c, free) and c.dim == main.dim)]:
        value = _value(case, free)
        if value is not None:
            found.setdefault(value, case)
    return [found[v] for v in sorted(found)]


def _value(case: Case, free: str) -> int | None:
    value = case.frames if free == "frames" else case.options.get("ratio")
    return value if isinstance(value, int) else None


def bands(cases: Sequence[Case], name: str, free: str) -> Figure | None:
    """Posterior mean and 5-95 % band, a column for each amount of data or ratio."""
    main = cases[0]
    shown = [c for c in family(cases, free) if c.predicted(name)]
    # One fit alone stands as the figure of its number of data; along ratios there is nothing to see.
    if main not in shown or len(shown) < (1 if free == "frames" else 2):
        return None
    if name == "magnetization" and main.dim is None:
        return _bars(shown, name, free)
    ident, paper, title = PAPER[name, free]
    chosen: list[dict[str, Any]] = [{}]
    if name == "correlation" and main.dim is not None:
        chosen = [main.near(v, predicted=True) for v in (0.0, NEAR)]
        chosen = chosen[:1] if chosen[0] == chosen[1] else chosen
    measured = any(c.has("reference", name) for c in shown)
    against = name == "magnetization" and all(c.has("reference", name) for c in shown)
    rows = len(chosen) + against
    figure = canvas(max(5.0, 2.7 * len(shown)), 2.5 * rows + 0.4)
    axes = figure.subplots(rows, len(shown), squeeze=False, sharex=True, sharey="row")
    for column, case in enumerate(shown):
        for row, where in enumerate(chosen):
            ax = axes[row, column]
            here = case.near(next(iter(where.values())), predicted=True) if where else {}
            _curve(ax, case, name, here)
            spot = (
                f", {symbol(main.dim)} = {number(float(next(iter(here.values()))))}" if here else ""
            )
            ax.set_title(f"{LETTER[free]} = {_value(case, free)}{spot}")
        if against:
            _difference(axes[-1, column], case, name)
    for ax in axes.flat:
        ax.set_ylabel(ax.get_ylabel() if ax in axes[:, 0] else "")
        ax.set_xlabel(ax.get_xlabel() if ax in axes[-1] else "")
    decorate(figure, axes[0], columns=2)
    table = _widths(shown, name, free)
    summary = f"{VALUES[name]}, credible bands: " + "; ".join(
        f"{row[0]} mean width {row[1]}" for row in table[1:]
    )
    below = " Below, the same minus the reference, so that the width shows." if against else ""
    alone = (
        ""
        if len(shown) > 1
        else " Give the same fit with other numbers of frames to see them beside."
    )
    places = " and ".join(place(w).removeprefix(" at ") for w in chosen if w)
    if len(shown) == 1:
        title = f"{VALUES[name][0].upper()}{VALUES[name][1:]} with its credible band"
    return Figure(
        ident,
        f"{title} ({paper})",
        f"{paper} of the PCG paper remade{f' at {places}' if places else ''}: lines are posterior "
        f"means, bands 5–95 % credible{', dashes the reference' if measured else ''}.{below}{alone} The table is over "
        f"{'all predicted fields' if main.dim is not None else 'all separations'}.",
        svg(figure, ident, summary),
        table,
    )


def _label(case: Case, name: str) -> str:
    return f"{case.name}: {'mean, 5–95 %' if case.banded(name) else 'no interval'}"


def _curve(ax: Any, case: Case, name: str, where: dict[str, Any]) -> None:
    """Mean, band and reference; for a single draw the prediction alone."""
    label = _label(case, name)
    if case.banded(name):
        band(case.idata, name, ax=ax, colour=case.colour, label=label, select=where or None)
        _follow(ax, case, name, where)
        return
    shown = [(case.mean(name), {"color": case.colour, "label": label})]
    if case.has("reference", name):
        shown.append((case.get("reference", name), {"label": "reference", **EXACT}))
    for value, style in shown:
        value = value.sel(where, method="nearest") if where else value
        axis = str(value.dims[0])
        ax.plot(value[axis].values, value.values, **style)
        follow(ax, style["label"], value[axis], value, colour=style["color"])
        ax.set_xlabel(AXES.get(axis, axis))
    ax.set_ylabel(VALUES[name])


def _follow(ax: Any, case: Case, name: str, where: dict[str, Any]) -> None:
    """Tell mean, band and reference at the pointer."""

    def here(value: Any) -> Any:
        return value.sel(where, method="nearest") if where else value

    mean, low, high = (here(v) for v in (case.mean(name), *case.interval(name)))
    at = mean[mean.dims[0]].values
    ends = f"{percent(interval_of(name))} of {case.predicted_draws(name)} draws"
    band = (low.values, high.values)
    follow(ax, f"{case.name}: mean", at, mean, interval=band, ends=ends, colour=case.colour)
    if case.has("reference", name):
        exact = here(case.get("reference", name))
        follow(ax, "reference", exact[exact.dims[0]].values, exact)


def _difference(ax: Any, case: Case, name: str) -> None:
    exact = case.get("reference", name)
    mean = case.mean(name)
    at = case.foreseen
    band: dict[str, Any] = {}
    if case.banded(name):
        low, high = case.interval(name)
        band = {"interval": (low - exact, high - exact), "ends": percent(interval_of(name))}
        ax.fill_between(at, low - exact, high - exact, color=case.colour, alpha=0.3, linewidth=0)
    ax.plot(at, mean - exact, color=case.colour)
    follow(ax, f"{case.name}: mean minus reference", at, mean - exact, colour=case.colour, **band)
    ax.axhline(0, **EXACT)
    ax.set_xlabel(AXES.get(str(case.dim), str(case.dim)))
    ax.set_ylabel("minus reference")


def _widths(shown: Sequence[Case], name: str, free: str) -> list[list[str]]:
    header = [LETTER[free], "mean width of the 5–95 % band"]
    estimate = "RMSE of the point estimate" if shown[0].is_point else "RMSE of the posterior mean"
    table = [[*header, "reference inside the band", estimate, "fit"]]
    for case in shown:
        held, error, width = "no reference", "no reference", ABSENT
        if case.has("reference", name):
            exact = case.get("reference", name)
            held = f"{case.held(name):.0%}" if case.banded(name) else ABSENT
            error = number(rmse(case.mean(name).transpose(*exact.dims), exact))
        if case.banded(name):
            low, high = case.interval(name)
            width = number(float((high - low).mean()))
        table.append([str(_value(case, free)), width, held, error, case.label])
    return table


def _bars(shown: Sequence[Case], name: str, free: str) -> Figure:
    """One field: an interval for each fit."""
    ident, paper, title = PAPER[name, free]
    figure = canvas(5.5, 3)
    ax = figure.subplots()
    for i, case in enumerate(shown):
        if case.banded(name):
            low, high = (float(v) for v in case.interval(name))
            ax.plot([i, i], [low, high], color=case.colour, linewidth=4, alpha=0.5)
        ax.plot([i], [float(case.mean(name))], "o", color=case.colour, label=_label(case, name))
    if shown[0].has("reference", name):
        ax.axhline(float(shown[0].get("reference", name)), label="reference", **EXACT)
    ax.set_xticks(range(len(shown)), [str(_value(c, free)) for c in shown])
    ax.set_xlim(-0.5, len(shown) - 0.5)
    ax.set_xlabel(LETTER[free])
    ax.set_ylabel(VALUES[name])
    decorate(figure, [ax], columns=1)
    table = _widths(shown, name, free)
    summary = "Magnetisation with 5-95 % intervals: " + "; ".join(
        f"{LETTER[free]} = {row[0]} width {row[1]}" for row in table[1:]
    )
    return Figure(
        ident,
        f"{title} ({paper}, one field)",
        f"{paper} of the PCG paper at the one field that was fitted: posterior mean and 5–95 % "
        "credible interval.",
        svg(figure, ident, summary),
        table,
    )


def p0(cases: Sequence[Case]) -> Figure | None:
    """Fig. 10: the posterior of p0 as data are added."""
    main = cases[0]
    if not main.has("posterior", "p0") or "state" in main.get("posterior", "p0").dims:
        return None
    shown = [c for c in family(cases, "frames") if c.has("posterior", "p0")] or [main]
    where = main.near(NEAR)
    value = next(iter(where.values()), 0.0)
    draws = {c: c.at("posterior", "p0", c.near(value)).values.ravel() for c in shown}
    together = np.concatenate(list(draws.values()))
    figure = canvas(7, 3.2)
    ax = figure.subplots()
    spread = float(np.ptp(together))
    table = [["N", "posterior mean of p0", "posterior sd", "5–95 % interval", "fit"]]
    for case, values in draws.items():
        text = f"{case.name}: N = {case.frames}"
        if spread > 0 and np.ptp(values) > 0:
            edges = np.linspace(together.min(), together.max(), 41)
            style: dict[str, Any] = {"density": True, "color": case.colour}
            ax.hist(values, edges, histtype="stepfilled", alpha=0.25, **style)
            ax.hist(values, edges, histtype="step", linestyle=case.line, label=text, **style)
        else:
            ax.axvline(float(values[0]), color=case.colour, linestyle=case.line, label=text)
        sd = interval = ABSENT
        if values.size > 1:
            low, high = np.quantile(values, [0.05, 0.95])
            sd = number(float(values.std(ddof=1)))
            interval = f"{number(float(low))} to {number(float(high))}"
        table.append([str(case.frames), number(float(values.mean())), sd, interval, case.label])
    ax.set_xlabel("p0, probability that a fine spin equals its parent")
    ax.set_ylabel("posterior density")
    decorate(figure, [ax], columns=2)
    summary = f"Posterior of p0{place(where)}: " + "; ".join(
        f"N = {row[0]} mean {row[1]}, sd {row[2]}" for row in table[1:]
    )
    return Figure(
        "fig10",
        "Posterior of p0 (Fig. 10)",
        f"Fig. 10 of the PCG paper remade{place(where)}, as histograms of the posterior draws"
        + (", for each amount of data N." if len(shown) > 1 else "; other N need further fits."),
        svg(figure, "fig10", summary),
        table,
    )
