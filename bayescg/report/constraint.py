"""How well the data fix each potential, and where they hardly do."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bayescg.report.case import ABSENT, SAMPLES, Case, number
from bayescg.report.drawing import GREY, INK, Figure, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.interactions import Interaction
from bayescg.report.panels import axis_label, grid_of, laid_out
from bayescg.report.traces import semilog

__all__ = ["WEAK", "Told", "constraints", "runs", "shade", "told", "weakly"]

#: A potential is hardly constrained where its standard error is larger, kT.
WEAK = 0.2
#: Standard errors that are drawn, kT.
SHOWN_ERRORS = (3e-3, 2.0)
#: Ranges that a line of text lists.
SHOWN = 4
DEFINITION = (
    f"A potential counts as hardly constrained where its standard error exceeds {WEAK:g} kT. That is kT times "
    "the relative standard error of the distribution in a bin, which direct Boltzmann inversion would pass "
    f"on ({WEAK:g} kT is {WEAK:.0%} of the distribution); of a posterior the standard deviation of its draws, "
    "where that is larger (of a bonded potential without its constant)"
)


class Told(NamedTuple):
    """What the data tell of one potential, bin by bin; angstrom or degrees."""

    at: np.ndarray  # centres of the bins
    error: np.ndarray  # standard error of the potential, kT; infinite where nothing was met
    met: np.ndarray  # whether the bin was met at all

    @property
    def weak(self) -> np.ndarray:
        """Bins that were met, and say little."""
        return self.met & ~(self.error <= WEAK)


def told(case: Case, interaction: Interaction) -> Told | None:
    """What a fit's data tell of a potential; None where the file holds neither frames nor errors."""
    found = _distribution(case, interaction)
    if found is None:
        return None
    at, value, error = found
    met = value > 0.0
    spread = error / np.where(met, value, 1.0)
    posterior = _posterior(case, interaction, at, value)
    if posterior is not None:  # a prior may be sure of what no datum speaks of
        spread = np.maximum(spread, posterior)
    return Told(*laid_out(interaction.kind, at, np.where(met, spread, np.inf), met))


def _distribution(
    case: Case, interaction: Interaction
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Bins, distribution and standard error: of the fitted frames, else of the reference."""
    name = interaction.distribution
    source = case.fitted
    if source is None or name not in source:
        if not (case.has("reference", name) and case.has("reference", f"{name}_se")):
            return None
        source = {n: case.get("reference", n) for n in (name, f"{name}_se")}
    value, error = source[name], source[f"{name}_se"]
    at = np.asarray(value[value.dims[0]].values, float)
    return at, np.asarray(value.values, float), np.asarray(error.values, float)


def _posterior(
    case: Case, interaction: Interaction, at: np.ndarray, weight: np.ndarray
) -> np.ndarray | None:
    """Standard deviation of the potential's draws, kT; None of a point estimate."""
    if case.is_point or not case.has("posterior", interaction.potential):
        return None
    u = case.get("posterior", interaction.potential)
    own = np.asarray(u[interaction.dim].values, float)
    draws = u.transpose(*SAMPLES, interaction.dim).values.reshape(-1, len(own))
    draws = np.array([np.interp(at, own, d) for d in draws])
    if interaction.kind != "pair" and weight.sum() > 0.0:
        draws = draws - (draws @ weight / weight.sum())[:, None]
    return np.asarray(draws.std(0, ddof=1)) / case.kt


def runs(which: np.ndarray, gap: int = 0) -> list[tuple[int, int]]:
    """First and last of each run of true values; runs that at most ``gap`` false ones part are one."""
    found: list[tuple[int, int]] = []
    for i in np.flatnonzero(which).tolist():
        if found and i - found[-1][1] <= 1 + gap:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found


def _ends(known: Told, which: np.ndarray, gap: int = 0) -> list[tuple[float, float]]:
    """The same as lengths or angles, to the ends of the bins."""
    half = 0.5 * (known.at[1] - known.at[0])
    return [(float(known.at[a] - half), float(known.at[b] + half)) for a, b in runs(which, gap)]


def _ranges(known: Told, which: np.ndarray, i: Interaction) -> str:
    """Runs of bins in words, ``below 2.4, 8.1 to 8.3 Å``."""
    found = _ends(known, which, gap=1)
    if not found:
        return "none"
    half = 0.5 * (known.at[1] - known.at[0])
    bottom, top = known.at[0] - half, known.at[-1] + half
    words = []
    for low, high in found[:SHOWN]:
        if low <= bottom + 1e-9 and high < top - 1e-9:
            words.append(f"below {number(high)}")
        elif high >= top - 1e-9 and low > bottom + 1e-9:
            words.append(f"above {number(low)}")
        else:
            words.append(f"{number(low)} to {number(high)}")
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{i.place(', '.join(words))}{more}"


def weakly(case: Case) -> list[str]:
    """Every potential with the ranges in which its data say little or nothing, in words."""
    out = []
    for i in case.interactions:
        known = told(case, i)
        if known is not None and known.weak.any():
            out.append(f"{i.label} {_ranges(known, known.weak, i)}")
    return out


def shade(ax: Any, known: Told | None, *, label: bool = False) -> None:
    """Grey where the data say little, darker where they say nothing."""
    if known is None:
        return
    for which, depth, text in (
        (known.weak, 0.18, f"hardly constrained (error over {WEAK:g} kT)"),
        (~known.met, 0.35, "no data"),
    ):
        for low, high in _ends(known, which):
            style = {"color": GREY, "alpha": depth, "linewidth": 0}
            ax.axvspan(low, high, label=text if label else None, **style)


def constraints(cases: Sequence[Case]) -> Figure | None:
    """Standard error of every potential of the main fit, and where it is large."""
    main = cases[0]
    found = {i: told(main, i) for i in main.interactions}
    known = {i: k for i, k in found.items() if k is not None and k.met.any()}
    if not known:
        return None
    figure, axes = grid_of(len(known), height=2.3)
    for ax, (i, k) in zip(axes, known.items(), strict=False):
        shade(ax, k, label=True)
        semilog(ax, k.at, np.where(k.met, k.error, np.nan), color=main.colour)
        follow(ax, "standard error", k.at, np.where(k.met, k.error, np.nan), colour=main.colour)
        ax.axhline(WEAK, color=INK, linewidth=1, linestyle=":")
        ax.set_title(i.label)
        ax.set_xlabel(axis_label(i.kind))
        ax.set_ylabel("error / kT")
        met = np.flatnonzero(k.met)
        step = k.at[1] - k.at[0]
        ax.set_xlim(
            k.at[met[0]] - 4 * step, k.at[met[-1]] + (0.5 if i.kind == "pair" else 4) * step
        )
        ax.set_ylim(*SHOWN_ERRORS)
    decorate(figure, axes, columns=2)
    table = [["potential", f"error up to {WEAK:g} kT", "hardly constrained", "no data"]]
    lost = _seldom(main)
    if lost is not None:
        table[0].append("coefficients that frames tell too little of")
    for i, k in known.items():
        well = _ranges(k, k.met & ~k.weak, i)
        row = [i.label, well, _ranges(k, k.weak, i), _ranges(k, ~k.met, i)]
        table.append([*row, lost.get(i.feature, ABSENT)] if lost is not None else row)
    source = (
        "the fitted frames" if main.fitted is not None else "the reference, as no frames are stored"
    )
    summary = "Standard errors of the potentials: " + "; ".join(
        f"{row[0]} hardly constrained {row[2]}" for row in table[1:]
    )
    return Figure(
        "constraints",
        "What the data hardly constrain",
        f"No figure of the paper. {DEFINITION}. Distributions and their errors (by blocking) are those of "
        f"{source}. Where there are no data the method alone decides, by its way of continuing a potential. Each "
        "bin is judged by itself: changes of several potentials, or of one over a long range, that cancel "
        "in all distributions are not seen here.",
        svg(figure, "constraints", summary),
        table,
    )


def _seldom(case: Case) -> dict[str, str] | None:
    """How many coefficients of each potential a linear method calls told too little of."""
    if not case.has(case.method, "seldom") or not case.has("posterior", "theta_c"):
        return None
    seldom = np.asarray(case.get(case.method, "seldom").values, bool)
    names = [str(n) for n in case.get("posterior", "theta_c")["feature"].values]
    if len(names) != len(seldom):
        return None
    out = {}
    for i in case.interactions:
        own = [bool(s) for n, s in zip(names, seldom, strict=True) if n.startswith(i.feature)]
        out[i.feature] = f"{sum(own)} of {len(own)}"
    return out
