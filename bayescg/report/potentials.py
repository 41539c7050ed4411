"""Figs. 14 and 17 of the PCG paper: the pair potential on the way, beside others, and its posterior."""

from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, to_hex
import numpy as np

from bayescg.plot import AXES, percent
from bayescg.report.case import ABSENT, SAMPLES, Case, number, rmse, same_data
from bayescg.report.drawing import GREY, INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.traces import plain_logarithms

__all__ = ["ENDS", "ITERATIONS", "best", "by_iteration", "compared", "uncertain"]

NAME = "pair_potential"
UNIT = "u(r) / kcal/mol"
#: Probabilities at the ends of a band of potentials (Fig. 17).
ENDS = (0.1, 0.9)
ITERATIONS = 12
DRAWS = 25
#: The part beyond the well begins where the potential is this share of its depth.
SHALLOW = 0.15


def best(case: Case) -> Any:
    """The potential at the MAP, or at a point estimate."""
    if case.has("map", NAME):
        return case.get("map", NAME)
    return case.get("posterior", NAME).mean(SAMPLES)


def _limits(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Energies to show: the wells and what lies beyond them, and no more of the core than fits.

    :param curves: distances and energies; the last is the one that matters most.
    """
    depths, barriers = [], []
    for _, u in curves:
        depths.append(-float(np.nanmin(u)))
        below = np.flatnonzero(u <= 0)
        barriers.append(float(np.nanmax(u[below[0] :])) if below.size else 0.0)
    depth = min(max(depths), 2.5 * max(depths[-1], 0.1))
    barrier = min(max(barriers), 2.5 * max(barriers[-1], 0.1))
    return -1.12 * max(depth, 0.1), max(0.5 * depth, 1.3 * barrier, 0.5)


def _outside(r: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Where sites are: from where the potential first is negative, all places if it never is."""
    below = np.flatnonzero(u <= 0)
    return r >= (r[below[0]] if below.size else r[0])


def _beyond(r: np.ndarray, u: np.ndarray) -> int:
    """Where the well is over: the first place past its bottom where little of it is left."""
    bottom = int(np.nanargmin(u))
    shallow = np.flatnonzero(np.abs(u[bottom:]) < SHALLOW * abs(u[bottom]))
    return bottom + int(shallow[0]) if shallow.size else 0


def by_iteration(cases: Sequence[Case]) -> Figure | None:
    """Fig. 14a: the pair potential along the iterations."""
    main = cases[0]
    if not main.has("em_trace", NAME):
        return None
    value = main.get("em_trace", NAME).transpose("iteration", "r")
    r, u = value["r"].values, value.values
    count = len(u)
    if count < 2 or not np.isfinite(u[-1]).all():
        return None
    chosen = np.unique(np.geomspace(1, count, ITERATIONS).round().astype(int)) - 1
    figure = canvas(7, 3.8)
    ax = figure.subplots()
    # Early iterations differ most; the map's ends are left out, which a page may hide.
    scale = LogNorm(1, count)
    colours = _middle_of_plasma()
    for i in chosen[:-1]:
        ax.plot(r, u[i], color=colours(scale(i + 1)), linewidth=1.1)
    ax.plot(r, u[-1], color=INK, linewidth=1.8, label=f"iteration {count}, the last")
    for i in [count - 1, *(k - 1 for k in _spread(chosen)[::-1] if k < count)]:
        follow(ax, f"iteration {i + 1}", r, u[i], colour=to_hex(colours(scale(i + 1))))
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=ax, label="iteration")
    bar.outline.set_edgecolor(INK)
    bar.ax.set_yticks([i + 1 for i in _spread(chosen)])
    plain_logarithms(bar.ax.yaxis)
    _dress(ax)
    ax.set_ylim(*_limits([(r, u[i]) for i in chosen]))
    _crop(ax, r, u[-1], ax.get_ylim()[1])
    decorate(figure, [ax])
    ended = "" if main.converged else " It did not converge, so the last is not a result."
    there = _outside(r, u[-1])
    moved = rmse(u[-1][there], u[chosen[-2]][there])
    summary = (
        f"Pair potential after {len(chosen)} of {count} iterations; the last has its lowest point, "
        f"{number(float(np.nanmin(u[-1])))} kcal/mol, at {number(float(r[np.nanargmin(u[-1])]))} Å."
    )
    return Figure(
        "fig14a",
        "Pair potential along the iterations (Fig. 14a)",
        "Fig. 14a of the PCG paper remade: u(r) of Eq. 65 after the numbers of iterations that the "
        f"colours tell, and in the text's colour after the last.{ended} From iteration "
        f"{chosen[-2] + 1} to the last it moved by {number(moved)} kcal/mol (root mean square over "
        "the distances from where it is first negative).",
        svg(figure, "fig14a", summary),
    )


def _middle_of_plasma() -> Any:
    return ListedColormap(colormaps["plasma"](np.linspace(0.85, 0.3, 64)))


def _spread(chosen: np.ndarray) -> list[int]:
    """About five of the iterations, the ends among them, far enough apart to be labelled."""
    kept = [int(chosen[0])]
    for i in chosen[1:]:
        if (i + 1) > 1.7 * (kept[-1] + 1):
            kept.append(int(i))
    if kept[-1] != chosen[-1]:
        kept[-1 if len(kept) > 1 else len(kept) :] = [int(chosen[-1])]
    return kept


def _crop(ax: Any, r: np.ndarray, u: np.ndarray, top: float) -> None:
    """Leave out the distances at which the potential is above the axes, but for a margin."""
    inside = np.flatnonzero(u <= top)
    if inside.size and inside[0] > 0:
        ax.set_xlim(left=max(float(r[0]), float(r[inside[0]]) - 0.25))


def _dress(ax: Any) -> None:
    ax.axhline(0, color=GREY, linewidth=0.7)
    ax.set_xlabel(AXES["r"])
    ax.set_ylabel(UNIT)


def _title(case: Case) -> str:
    if case.method == "rem":
        return f"{case.name}: relative-entropy minimisation (REM), N = {case.frames}"
    kind = "point estimate" if case.is_point else "MAP"
    return f"{case.name}: {kind}, {case.method}, N = {case.frames}"


def compared(cases: Sequence[Case]) -> Figure | None:
    """Fig. 14b: the potential at the MAP beside that of REM, and of the other fits."""
    main = cases[0]
    shown = [c for c in cases if c.has("posterior", NAME)]
    if main not in shown or len(shown) < 2:
        return None
    figure = canvas(7, 3.8)
    ax = figure.subplots()
    table = [["fit", "lowest u / kcal/mol", "at r / Å", "u = 0 at r / Å", "differs from the first"]]
    curves = []
    for case in shown:
        value = best(case)
        r, u = value["r"].values, value.values
        ax.plot(r, u, color=case.colour, linestyle=case.line, label=_title(case))
        follow(ax, _title(case), r, u, colour=case.colour)
        curves.append((r, u))
        low = int(np.nanargmin(u))
        own = ABSENT
        if case is not main:
            at = curves[0][0]
            at = at[_outside(*curves[0]) & (at >= r.min()) & (at <= r.max())]
            own = number(rmse(np.interp(at, r, u), np.interp(at, *curves[0])))
        table.append([case.label, number(float(u[low])), number(float(r[low])), _zero(r, u), own])
    _dress(ax)
    ax.set_ylim(*_limits([*curves[1:], curves[0]]))
    _crop(ax, *curves[0], ax.get_ylim()[1])
    decorate(figure, [ax], columns=1)
    other = [c for c in shown if c.method == "rem"]
    if not other:
        about = "No fit by REM is given, so the other fits stand here alone."
    elif any(same_data(main, c) for c in other):
        about = "REM has no latent X: its potential acts between the fine sites themselves."
    else:
        about = "REM was fitted to other data here."
    summary = "Pair potentials: " + "; ".join(
        f"{row[0]} lowest {row[1]} at {row[2]} Å" for row in table[1:]
    )
    return Figure(
        "fig14b",
        "Pair potentials of the fits (Fig. 14b)",
        f"Fig. 14b of the PCG paper remade: u(r) of Eq. 65 at the MAP of each fit. {about} A fixed "
        "three-body term (Eq. 63), where the model has one, is not in u(r). The last column is the "
        "root-mean-square difference, in kcal/mol, over the distances from where the first is negative.",
        svg(figure, "fig14b", summary),
        table,
    )


def _zero(r: np.ndarray, u: np.ndarray) -> str:
    """Where the potential first crosses zero."""
    under = np.flatnonzero(u <= 0)
    if not under.size or under[0] == 0:
        return "none"
    i = int(under[0])
    return number(float(r[i - 1] + (r[i] - r[i - 1]) * u[i - 1] / (u[i - 1] - u[i])))


def uncertain(cases: Sequence[Case]) -> Figure | None:
    """Fig. 17: draws of the pair potential, its mean and band, and beyond the well enlarged."""
    main = cases[0]
    if main.is_point or not main.has("posterior", NAME):
        return None
    value = main.get("posterior", NAME)
    r = value["r"].values
    draws = value.transpose(*SAMPLES, "r").values.reshape(-1, len(r))
    mean, mode = draws.mean(0), best(main).values
    low, high = np.quantile(draws, ENDS, axis=0)
    some = draws[np.linspace(0, len(draws) - 1, min(DRAWS, len(draws))).round().astype(int)]
    far = _beyond(r, mean)
    rows = 2 if 0 < far < len(r) - 5 else 1
    figure = canvas(7.5, 3.2 * rows + 0.3)
    axes = figure.subplots(rows, 2, squeeze=False, sharey="row")
    for row in range(rows):
        for u in some:
            axes[row, 0].plot(r, u, color=main.colour, linewidth=0.6, alpha=0.5)
        ax = axes[row, 1]
        ax.fill_between(r, low, high, color=main.colour, alpha=0.3, linewidth=0)
        ax.plot(r, mean, color=main.colour, label=f"posterior mean, {percent(ENDS)}")
        ax.plot(r, mode, color=INK, linestyle=":", linewidth=1.2, label="MAP")
        of = f"{percent(ENDS)} of {len(draws)} draws"
        band = (low, high)
        follow(ax, "posterior mean", r, mean, interval=band, ends=of, colour=main.colour)
        follow(ax, "MAP", r, mode)
        for ax in axes[row]:
            _dress(ax)
        axes[row, 1].set_ylabel("")
    axes[0, 0].set_title(f"{len(some)} draws")
    axes[0, 1].set_title("mean and band")
    axes[0, 0].set_ylim(*_limits([(r, mean)]))
    for ax in axes[0]:
        _crop(ax, r, mean, ax.get_ylim()[1])
    if rows == 2:
        part = slice(far, None)
        ends = float(min(low[part].min(), some[:, part].min())), float(some[:, part].max())
        margin = 0.08 * (ends[1] - ends[0])
        axes[1, 0].set_ylim(ends[0] - margin, max(ends[1], float(high[part].max())) + margin)
        for ax in axes[1]:
            ax.set_xlim(r[far], r[-1])
    decorate(figure, [axes[0, 1]])
    bottom = r[np.argmin(draws, axis=1)]
    depth = draws.min(1)
    table = [["", "posterior mean", f"{percent(ENDS)} interval"]]
    table += [
        _ends("lowest u / kcal/mol", depth),
        _ends("at r / Å", bottom),
        _ends(f"largest |u| beyond {number(float(r[far]))} Å / kcal/mol", _largest(draws[:, far:])),
    ]
    summary = (
        f"Pair potential of {len(draws)} posterior draws: the lowest point is {table[1][1]} "
        f"({table[1][2]}) kcal/mol at {table[2][1]} Å."
    )
    return Figure(
        "fig17",
        "Posterior of the pair potential (Fig. 17)",
        f"Fig. 17 of the PCG paper remade: left, {len(some)} draws of u(r) (Eq. 65) from the posterior "
        f"({main.attrs.get('approximation', 'kind not recorded')}); right, its mean, the {percent(ENDS)} "
        "band at each distance and the MAP."
        + (" Below, the same beyond the well, enlarged." if rows == 2 else "")
        + " The band is that of each distance by itself: neighbouring distances rise and fall "
        "together, as the draws show.",
        svg(figure, "fig17", summary),
        table,
    )


def _largest(u: np.ndarray) -> np.ndarray:
    return np.abs(u).max(1)


def _ends(text: str, values: np.ndarray) -> list[str]:
    low, high = np.quantile(values, ENDS)
    mean = number(float(values.mean()))
    return [text, mean, f"{number(float(low))} to {number(float(high))}"]
