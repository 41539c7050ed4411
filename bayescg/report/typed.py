"""Potentials of molecules, by bead type and bonded term: fitted, and on the way."""

from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, to_hex
import numpy as np

from bayescg.plot import percent
from bayescg.report.case import ABSENT, SAMPLES, Case, number
from bayescg.report.constraint import WEAK, shade, told
from bayescg.report.drawing import GREY, INK, Figure, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.interactions import Interaction
from bayescg.report.panels import axis_label, grid_of, laid_out
from bayescg.report.potentials import ENDS, ITERATIONS
from bayescg.report.traces import plain_logarithms

__all__ = ["along", "potentials"]

UNIT = "u / kcal/mol"
#: Energy of a pair, kT, above which it is in the core.
CORE = 5.0
#: Energies of a bonded potential that are shown, kT above its lowest.
HIGH = 8.0


def potentials(cases: Sequence[Case]) -> Figure | None:
    """Every potential of the main fit, those of the others beside, and where data say little."""
    main = cases[0]
    shown = [i for i in main.interactions if main.has("posterior", i.potential)]
    if not shown:
        return None
    figure, axes = grid_of(len(shown), height=2.8)
    table = [
        [
            "potential",
            "fit",
            "lowest u / kcal/mol",
            "at",
            "u = 0 at",
            "rms from the first fit / kcal/mol",
        ]
    ]
    for ax, i in zip(axes, shown, strict=True):
        known = told(main, i)
        shade(ax, known, label=True)
        curves = []
        for case in cases:
            if not case.has("posterior", i.potential):
                continue
            q, u = _curve(case, i)
            band: dict[str, Any] = {}
            if case is main and not case.is_point:
                draws = _draws(case, i)[1]
                low, high = np.quantile(draws, ENDS, axis=0)
                band = {"interval": (low, high), "ends": f"{percent(ENDS)} of {len(draws)} draws"}
                ax.fill_between(q, low, high, color=case.colour, alpha=0.3, linewidth=0)
            ax.plot(q, u, color=case.colour, linestyle=case.line, label=_title(case))
            follow(ax, f"{case.name}: {case.method}", q, u, colour=case.colour, **band)
            curves.append((q, u))
            table.append([i.label, case.label, *_numbers(main, i, q, u, curves[0])])
        _dress(ax, main, i, curves)
    decorate(figure, axes, columns=1)
    banded = not main.is_point
    about = (
        f"the posterior mean of each with the {percent(ENDS)} band "
        f"({main.attrs.get('approximation', 'kind not recorded')})"
        if banded
        else "a point estimate, without error bars"
    )
    summary = "Potentials: " + "; ".join(
        f"{row[0]} of {row[1]} lowest {row[2]} kcal/mol at {row[3]}" for row in table[1:]
    )
    return Figure(
        "potentials",
        "Potentials",
        f"No figure of the paper: every potential that was fitted, {about}. Those of pairs end at zero at their "
        "cut-off. The additive constant of a bonded potential means nothing: each is shown with its lowest "
        f"value at zero. Grey: where the data hardly constrain it (a standard error over {WEAK:g} kT, see "
        "What the data hardly constrain), darker where there were none. The last column is the "
        "root-mean-square difference from the first fit, kcal/mol, where its data constrain it, a "
        "constant aside for bonded terms.",
        svg(figure, "potentials", summary),
        table,
    )


def _draws(case: Case, i: Interaction) -> tuple[np.ndarray, np.ndarray]:
    """Places, and the potential there of every draw, ``(draw, place)``."""
    value = case.get("posterior", i.potential).transpose(*SAMPLES, i.dim)
    q = np.asarray(value[i.dim].values, float)
    q, u = laid_out(i.kind, q, np.asarray(value.values, float).reshape(-1, len(q)))
    return q, u


def _curve(case: Case, i: Interaction) -> tuple[np.ndarray, np.ndarray]:
    """The posterior mean or the point estimate; of a bonded term its lowest value is zero."""
    q, draws = _draws(case, i)
    u = draws.mean(0)
    return q, u if i.kind == "pair" else u - u.min()


def _title(case: Case) -> str:
    kind = "point estimate" if case.is_point else f"posterior mean, {percent(ENDS)}"
    return f"{case.name}: {case.method}, {kind}"


def _dress(
    ax: Any, main: Case, i: Interaction, curves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Axes that show the wells, and of the walls no more than fits."""
    q, u = curves[0]
    ax.axhline(0, color=GREY, linewidth=0.7)
    ax.set_title(i.label)
    ax.set_xlabel(axis_label(i.kind))
    ax.set_ylabel(UNIT)
    if i.kind == "pair":
        ax.set_ylim(*_energies([v for _, v in curves], main.kt))
        inside = np.flatnonzero(u <= ax.get_ylim()[1])
        left = q[inside[0]] - 0.4 if inside.size else q[0]
        ax.set_xlim(max(q[0], left), q[-1])
        return
    top = HIGH * main.kt
    inside = np.flatnonzero(u <= top)
    highest = min(top, float(u.max()))
    ax.set_ylim(-0.05 * highest, 1.05 * highest if highest > 0.0 else 1.0)
    if inside.size:
        margin = 0.05 * (q[inside[-1]] - q[inside[0]]) + 1e-9
        ax.set_xlim(max(q[0], q[inside[0]] - margin), min(q[-1], q[inside[-1]] + margin))


def _energies(curves: Sequence[np.ndarray], kt: float) -> tuple[float, float]:
    """Energies of pairs to show: all beyond the first minimum, of the first curve at least."""
    ends = []
    for u in curves:
        inside = np.flatnonzero(u < CORE * kt)
        at = int(inside[0]) if inside.size else 0
        while at + 1 < len(u) and u[at + 1] <= u[at]:
            at += 1
        ends.append((float(u[at:].min()), float(u[at:].max())))
    low, high = ends[0]
    span = max(high - low, kt / 2)
    low = max(min(v for v, _ in ends), low - span)
    high = min(max(v for _, v in ends), high + span)
    span = max(high - low, kt / 2)
    return low - 0.12 * span, high + 0.35 * span


def _numbers(
    main: Case,
    i: Interaction,
    q: np.ndarray,
    u: np.ndarray,
    first: tuple[np.ndarray, np.ndarray],
) -> list[str]:
    low = int(np.nanargmin(u))
    under = np.flatnonzero(u <= 0)
    zero = ABSENT
    if i.kind == "pair" and under.size and under[0] > 0:
        k = int(under[0])
        at = float(q[k - 1] + (q[k] - q[k - 1]) * u[k - 1] / (u[k - 1] - u[k]))
        zero = i.place(number(at))
    lowest = number(float(u[low])) if i.kind == "pair" else "0, by choice"
    row = [lowest, i.place(number(float(q[low]))), zero]
    known = told(main, i)
    if u is first[1] or known is None:
        return [*row, ABSENT]
    at = known.at[known.met & ~known.weak]
    at = at[(at >= max(q[0], first[0][0])) & (at <= min(q[-1], first[0][-1]))]
    if not at.size:
        return [*row, ABSENT]
    gap = np.interp(at, q, u) - np.interp(at, *first)
    if i.kind != "pair":
        gap = gap - gap.mean()
    return [*row, number(float(np.sqrt(np.mean(gap**2))))]


def along(cases: Sequence[Case]) -> Figure | None:
    """Every potential of the main fit along the iterations."""
    main = cases[0]
    shown = [i for i in main.interactions if main.has("em_trace", i.potential)]
    if not shown:
        return None
    count = main.get("em_trace", shown[0].potential).sizes["iteration"]
    if count < 2:
        return None
    chosen = np.unique(np.geomspace(1, count, ITERATIONS).round().astype(int)) - 1
    kept = _stored(main, count)
    figure, axes = grid_of(len(shown), height=2.6)
    scale = LogNorm(1, count)
    colours = ListedColormap(colormaps["plasma"](np.linspace(0.85, 0.3, 64)))
    for ax, i in zip(axes, shown, strict=True):
        value = main.get("em_trace", i.potential).transpose("iteration", i.dim)
        places = np.asarray(value[i.dim].values, float)
        q, u = laid_out(i.kind, places, np.asarray(value.values, float))
        if i.kind != "pair":
            u = u - u.min(1, keepdims=True)
        for k in chosen:
            ax.plot(q, u[k], color=colours(scale(k + 1)), linewidth=1.1)
        label = f"iteration {kept + 1}, which is stored"
        ax.plot(q, u[kept], color=INK, linewidth=1.6, label=label)
        follow(ax, label, q, u[kept])
        follow(ax, "iteration 1", q, u[0], colour=to_hex(colours(scale(1))))
        _dress(ax, main, i, [(q, u[kept])])
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(axes), label="iteration")
    bar.outline.set_edgecolor(INK)
    marks = np.unique(np.geomspace(1, count, min(5, count)).round().astype(int))
    bar.ax.set_yticks(marks)
    plain_logarithms(bar.ax.yaxis)
    decorate(figure, axes[:1])
    ended = "" if main.converged else " It did not converge, so what is stored is not a result."
    summary = f"{len(shown)} potentials after {len(chosen)} of {count} iterations."
    return Figure(
        "iterations",
        "Potentials along the iterations",
        "After Fig. 14a of the PCG paper: the potentials after the numbers of iterations that the colours "
        f"tell, and in the text's colour those that are stored.{ended}",
        svg(figure, "iterations", summary),
    )


def _stored(case: Case, count: int) -> int:
    """The iteration that is stored: of matching the closest to the targets, else the last."""
    if not (case.is_matched and case.has("em_trace", "distance")):
        return count - 1
    far = np.asarray(case.get("em_trace", "distance").values, float)
    return int(np.nanargmin(far)) if np.isfinite(far).any() else count - 1
