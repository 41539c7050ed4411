"""How the search went: iterations of MC-EM, and what ARD left of the prior."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import NullFormatter
import numpy as np

from bayescg.plot import COLOURS
from bayescg.report.case import Case, number, printable
from bayescg.report.curves import NEAR, SOLID, place, symbol
from bayescg.report.drawing import GREY, INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow, follow_lines

__all__ = [
    "counted",
    "iterations",
    "plain_logarithms",
    "relevances",
    "remaining",
    "semilog",
]

LINES = 5


def iterations(cases: Sequence[Case]) -> Figure | None:
    """Distance from the optimum, its Monte Carlo error, and the parameters, by iteration."""
    main = cases[0]
    if not main.has("em_trace", "distance"):
        return None
    where = main.near(NEAR)
    figure = canvas(7.5, 5.4)
    parts = [["far", "p0"], ["theta", "theta"]]
    has_p0, has_theta = main.has("em_trace", "p0"), main.has("em_trace", "theta_c")
    if not has_p0:
        parts[0] = ["far", "far"]
    axes = figure.subplot_mosaic(parts if has_theta else parts[:1])
    stop = remaining(axes["far"], main, where)
    if has_p0:
        value = main.at("em_trace", "p0", where)
        axes["p0"].plot(counted(value), value.values, color=COLOURS[0])
        follow(axes["p0"], "p0", counted(value), value, colour=COLOURS[0])
        axes["p0"].set_xlabel("iteration")
        axes["p0"].set_ylabel("p0")
    if has_theta:
        theta = main.at("em_trace", "theta_c", where).transpose("iteration", "feature")
        order = np.argsort(-np.abs(np.nan_to_num(theta.values[-1])))
        for rank, i in enumerate(order):
            named = rank < LINES
            axes["theta"].plot(
                counted(theta),
                theta.values[:, i],
                color=COLOURS[rank] if named else GREY,
                linewidth=1.6 if named else 0.6,
                zorder=2 if named else 1,
                label=printable(theta["feature"].values[i], 18) if named else None,
            )
        follow_lines(axes["theta"])
        axes["theta"].set_xlabel("iteration")
        axes["theta"].set_ylabel("θ")
        axes["theta"].legend(ncols=LINES, loc="best", fontsize=8)
    decorate(figure, [axes["far"]], columns=1)
    last = float(main.at("em_trace", "distance", where).values[-1])
    summary = (
        f"MC-EM by iteration{place(where)}: the last step left is {number(last)} posterior sd."
    )
    return Figure(
        "trace",
        "Iterations of MC-EM",
        f"No figure of the paper: how Algorithm 1 went{place(where)}. Top left: the largest Newton "
        f"step that is left, in posterior standard deviations, and its Monte Carlo error.{stop} The "
        f"{LINES} largest coefficients are named, the others grey.",
        svg(figure, "trace", summary),
    )


def counted(trace: Any) -> np.ndarray:
    """Number of iterations made, from 1."""
    return np.asarray(trace["iteration"].values) + 1


def remaining(ax: Any, case: Case, where: dict[str, Any]) -> str:
    """Draw the Newton step that is left and its error; tell of the line where a fit may stop."""
    for name, text, colour in (
        ("distance", "Newton step left", COLOURS[0]),
        ("noise", "its Monte Carlo error", COLOURS[2]),
    ):
        if not case.has("em_trace", name):
            continue
        value = case.get("em_trace", name)
        at = counted(value)
        whole = value.max([d for d in value.dims if d != "iteration"]).values
        line = case.at("em_trace", name, where).values
        semilog(ax, at, line, color=colour, label=f"{text}{place(where)}")
        if case.dim is not None:
            style = {"color": colour, "linestyle": ":"}
            semilog(ax, at, whole, label=f"{text}, largest of all {symbol(case.dim)}", **style)
    tolerance = case.method_options.get("tolerance")
    stop = ""
    if isinstance(tolerance, int | float) and tolerance > 0:
        ax.axhline(2 * tolerance, color=GREY, linewidth=1)
        stop = (
            f" The grey line is at twice the tolerance, {2 * tolerance:g}, where the fit may stop."
        )
    follow_lines(ax)
    ax.set_xlabel("iteration")
    ax.set_ylabel("posterior sd")
    return stop


def semilog(ax: Any, at: np.ndarray, value: np.ndarray, **style: Any) -> None:
    """Draw what is positive of a series on a logarithmic axis."""
    shown = np.where(value > 0, value, np.nan)  # zero has no place on a logarithmic axis
    if np.isfinite(shown).any():
        ax.semilogy(at, shown, **style)
        plain_logarithms(ax.yaxis)


def plain_logarithms(axis: Any) -> None:
    """Label powers as numbers: the default does so by TeX, which the style does not read."""
    axis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_minor_formatter(NullFormatter())


def relevances(cases: Sequence[Case]) -> Figure | None:
    """What ARD left of the prior's width, feature by feature."""
    main = cases[0]
    if not main.has("map", "tau_u") or not main.has("map", "theta_c"):
        return None
    tau = main.get("map", "tau_u")
    labels = [str(n) for n in tau["parameter"].values]
    kept = [i for i, n in enumerate(labels) if n.startswith("theta_c")]
    names = [printable(n, 18) for n in main.get("map", "theta_c")["feature"].values]
    if len(kept) != len(names):
        return None
    tau = tau.isel(parameter=kept)
    dims = ("parameter",) if main.dim is None else ("parameter", main.dim)
    values = tau.transpose(*dims).values.reshape(len(names), -1)
    with np.errstate(divide="ignore"):
        width = np.log10(1.0 / np.sqrt(values))
    width = np.where(np.isfinite(width), width, np.nan)
    if not np.isfinite(width).any():
        return None
    figure = canvas(7.5, 1.2 + 0.19 * len(names))
    ax = figure.subplots()
    if main.dim is None:
        bottom = float(np.nanmin(width)) - 0.2
        ax.barh(np.arange(len(names)), width[:, 0] - bottom, left=bottom, color=main.colour)
        ax.set_xlabel("log10 of the prior's standard deviation 1/√⟨τ⟩")
        what = "bars"
    else:
        mesh = ax.pcolormesh(
            np.arange(values.shape[1] + 1) - 0.5,
            np.arange(len(names) + 1) - 0.5,
            width,
            cmap="cividis",
            **SOLID,
        )
        bar = figure.colorbar(mesh, ax=ax, label="log10 of 1/√⟨τ⟩")
        bar.outline.set_edgecolor(INK)
        at = main.sweep
        step = max(1, len(at) // 8)
        ax.set_xticks(np.arange(len(at))[::step], [number(float(v)) for v in at[::step]])
        ax.set_xlabel(f"{'external field ' if main.dim == 'mu' else ''}{symbol(main.dim)}")
        what = "colours"
    ax.set_yticks(np.arange(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    summary = f"ARD relevance of {len(names)} features."
    return Figure(
        "ard",
        "What ARD found relevant",
        f"No figure of the paper, but the precisions behind Fig. 6: {what} show 1/√⟨τ⟩, the width "
        "that the ARD prior (Eqs. 41–44) leaves to each coefficient at the MAP. A narrow prior is a "
        "feature switched off.",
        svg(figure, "ard", summary),
    )
