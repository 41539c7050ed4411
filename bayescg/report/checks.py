"""Posterior predictive checks: whether what the model predicts is what the fitted frames show."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from bayescg.plot import AXES, VALUES
from bayescg.report.allowance import freedom_of, observables
from bayescg.report.case import ABSENT, SAMPLES, Case, number
from bayescg.report.curves import NEAR, place, symbol
from bayescg.report.drawing import GREY, INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow

__all__ = ["LEVEL", "failures", "predictive", "probabilities"]

#: Probability below which a difference is too large for chance.
LEVEL = 0.01
#: Share of components that lie between the grey lines where the model is right.
INSIDE = 0.95
#: Panels of one figure, more of which would not be read.
MOST = 6
PER_ROW = 2


def predictive(cases: Sequence[Case]) -> Figure | None:
    """How far the fitted frames' averages are from the prediction, in standard errors of that distance."""
    main = cases[0]
    names = observables(main)
    if not names:
        return None
    curves = [c for c in _curves(main, names) if np.isfinite(c[2].values).sum() > 1][:MOST]
    limit = float(student.ppf(0.5 + 0.5 * INSIDE, freedom_of(main)))
    table = _table(main, names, limit)
    if not curves:
        return None
    across = min(len(curves), PER_ROW)
    figure = canvas(7.5, 2.4 * -(-len(curves) // across) + 0.4)
    axes = figure.subplots(-(-len(curves) // across), across, squeeze=False).ravel()
    for ax in axes[len(curves) :]:
        ax.set_visible(False)
    for ax, (name, where, z) in zip(axes, curves, strict=False):
        dim = str(z.dims[0])
        at, value = z[dim].values, z.values
        ax.axhspan(-limit, limit, color=GREY, alpha=0.2, linewidth=0, label=f"{INSIDE:.0%} of them")
        ax.axhline(0.0, color=INK, linewidth=0.7)
        ax.plot(at, value, ".", color=main.colour, markersize=5, label="average less prediction")
        follow(ax, "z", at, value, colour=main.colour)
        _values(ax, main, name, where, at)
        ax.set_xlabel(AXES.get(dim, dim))
        ax.set_ylabel("z")
        ax.set_title(f"{VALUES.get(name, name)}{place(where)}", fontsize=9)
        most = 1.15 * max(1.6 * limit, float(np.nanmax(np.abs(value))))
        ax.set_ylim(-most, most)
    decorate(figure, [axes[0]])
    summary = "Predictive checks: " + "; ".join(
        f"{row[0]}, p {row[-4]}, the check {row[-1]}" for row in table[1:]
    )
    known = main.get_group("discrepancy").attrs.get("shared_errors") == "of frames"
    chance = f"{min(1.0, LEVEL * len(names)):.0%}"
    shared = (
        "The error of the difference is measured by the influence of each frame on the prediction, so that fitting "
        "and checking on the same frames is accounted for."
        if known
        else "What prediction and average share is not known here, and they count as independent: z is then too small "
        "rather than too large, and p, Bonferroni's bound, too large."
    )
    fields = "" if main.dim is None else " and allowing for the number of fields"
    return Figure(
        "checks",
        "Predictive checks",
        "Does the fitted model predict what it was fitted to? z is the average over the fitted frames less the "
        f"posterior predictive mean, in standard errors of that difference. {shared} Were the model right, "
        f"{'about' if known else 'at least'} {INSIDE:.0%} of the points would lie in the grey band. p is the "
        "probability of so large a difference under a right model, all points of an observable at once"
        f"{fields}; a check fails below {LEVEL:g}, so that one or more of {len(names)} checks of a right model fail "
        f"with a probability of up to {chance}. "
        "Frames by themselves are not predicted, only what they average to.",
        svg(figure, "checks", summary),
        table,
    )


def probabilities(case: Case) -> dict[str, float]:
    """p of each observable that could be checked."""
    found = {name: _smallest(case, name)[0] for name in observables(case)}
    return {name: p for name, p in found.items() if np.isfinite(p)}


def failures(case: Case) -> list[str]:
    """Observables whose checks fail."""
    return [name for name, p in probabilities(case).items() if p < LEVEL]


def _curves(case: Case, names: Sequence[str]) -> list[tuple[str, dict[str, Any], Any]]:
    """z along one coordinate; what is a function of one already, at one or two places of a sweep."""
    found: list[tuple[str, dict[str, Any], Any]] = []
    for name in names:
        z = case.get("discrepancy", f"{name}_z")
        own = [d for d in z.dims if d != case.dim]
        if not own and case.dim is not None:
            found.append((name, {}, z))
        elif len(own) == 1:
            places: list[dict[str, Any]] = [{}]
            if case.dim is not None:  # where others are shown, and where it is worst
                worst = {case.dim: case.sweep[_smallest(case, name)[1]]}
                places = [case.near(NEAR)] + ([worst] if worst != case.near(NEAR) else [])
            for where in places:
                found.append((name, where, case.at("discrepancy", f"{name}_z", where)))
    return found


def _values(ax: Any, case: Case, name: str, where: dict[str, Any], at: np.ndarray) -> None:
    """Tell what is compared beside z."""
    predicted = case.at("posterior_predictive", name, where).mean(SAMPLES)
    average, error = (
        case.at("discrepancy", f"{name}_{key}", where).values for key in ("data", "data_se")
    )
    band = (average - 2.0 * error, average + 2.0 * error)
    follow(ax, "average of the frames", at, average, interval=band, ends="two standard errors")
    follow(ax, "posterior predictive mean", at, predicted.values, colour=case.colour)


def _smallest(case: Case, name: str) -> tuple[float, int]:
    """The smallest p over a sweep, by as many as there are (Bonferroni), and where it is."""
    if not case.has("discrepancy", f"{name}_misfit"):
        return np.nan, 0
    p = np.atleast_1d(case.get("discrepancy", f"{name}_misfit").values).astype(float)
    if not np.isfinite(p).any():
        return np.nan, 0
    return min(1.0, float(np.nanmin(p)) * int(np.isfinite(p).sum())), int(np.nanargmin(p))


def _probability(p: float) -> str:
    return f"under {LEVEL / 10:g}" if p < LEVEL / 10 else number(float(f"{p:.2g}"))


def _table(case: Case, names: Sequence[str], limit: float) -> list[list[str]]:
    where = ABSENT if case.dim is None else f"{symbol(case.dim)} of the smallest p"
    table = [["observable", where, "p", "points in the band", "largest |z|", "the check"]]
    for name in names:
        z = case.get("discrepancy", f"{name}_z")
        known = np.abs(z.values[np.isfinite(z.values)])
        p, k = _smallest(case, name)
        at = ABSENT if case.dim is None or not np.isfinite(p) else number(float(case.sweep[k]))
        share = f"{np.mean(known < limit):.0%} of {known.size}" if known.size else ABSENT
        largest = number(round(float(known.max()), 1)) if known.size else ABSENT
        verdict = "not possible" if not np.isfinite(p) else "FAILS" if p < LEVEL else "passes"
        told = _probability(p) if np.isfinite(p) else ABSENT
        table.append([VALUES.get(name, name), at, told, share, largest, verdict])
    if case.dim is None:
        return [[v for k, v in enumerate(row) if k != 1] for row in table]
    return table
