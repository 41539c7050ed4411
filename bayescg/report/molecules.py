"""What the report says of molecules with potentials by bead type: fit, search, and what to doubt."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator
import numpy as np

from bayescg import results
from bayescg.observables import MutualInformation
from bayescg.plot import COLOURS
from bayescg.report import liquid
from bayescg.report.case import LINES, Case, give_or_take, number
from bayescg.report.constraint import WEAK, weakly
from bayescg.report.distributions import distances, words_of
from bayescg.report.drawing import GREY, Figure, canvas, svg
from bayescg.report.hover import follow, follow_lines
from bayescg.report.joint import joints
from bayescg.report.traces import counted, plain_logarithms

__all__ = ["ONE_SHOT", "doubts", "ended", "numbers", "overview", "rule", "search"]

ONE_SHOT = "direct Boltzmann inversion is one shot: it searches for nothing and simulates nothing"
#: Standard errors by which two numbers must differ to be called different.
APART = 3.0
#: Largest over smallest value from which an axis is logarithmic.
WIDE = 20.0
#: Mutual information, nats, below which a difference is not worth a word.
LITTLE = 0.01


def overview(case: Case) -> list[tuple[str, str]]:
    """What was fitted, on what, and how the search ended: terms with their meaning."""
    return [
        ("frames", liquid.frames(case)),
        ("ended", ended(case)),
        ("potentials", _terms(case)),
        *liquid.parameters(case),
    ]


def _terms(case: Case) -> str:
    """Every potential with its form."""
    names = []
    if case.has("posterior", "theta_c"):
        names = [str(n) for n in case.get("posterior", "theta_c")["feature"].values]
    out = []
    for i in case.interactions:
        count = sum(n.startswith(i.feature) for n in names)
        form = str(case.options.get(i.kind, "form not recorded"))
        out.append(f"{i.label} ({form}, {count} coefficients)" if count else f"{i.label} ({form})")
    return "; ".join(out)


def ended(case: Case) -> str:
    """How the search ended, in the units of its own rule."""
    if case.method == "dbi":
        return f"at once: {ONE_SHOT}"
    text = str(case.attrs.get("ended", "not recorded"))
    if not case.is_matched:
        return liquid.ended(case)
    if case.has("em_trace", "distance"):
        far = np.asarray(case.get("em_trace", "distance").values, float)
        text += f" after {far.size} iterations"
        if np.isfinite(far).any():
            best = int(np.nanargmin(far))
            text += (
                f"; stored is iteration {best + 1}, whose statistics are {number(float(far[best]))} "
                "standard errors from their targets (root mean square)"
            )
    return text


def rule(case: Case) -> str:
    """When a search of this method stops, in a sentence; empty where that is not known."""
    tolerance = case.method_options.get("tolerance")
    if case.is_matched and isinstance(tolerance, int | float):
        return (
            f" The rule: the statistics of the simulation differ from their targets by at most {tolerance:g} "
            "standard errors of that difference (root mean square), which is the noise."
        )
    return ""


def numbers(case: Case) -> dict[str, Any]:
    """Key numbers: how far every distribution is from the reference, and what liquids have."""
    found: dict[str, Any] = {}
    for name, d in distances(case).items():
        text = number(float(f"{d.rms:.3g}"))
        if d.reference_error >= 0.0:
            text += f" ({number(float(f'{d.reference_error:.2g}'))})"
        found[f"{words_of(name)}, rms (error of the reference)"] = text
    for name, j in joints(case).items():
        text = give_or_take(j.ours.value, j.ours.error)
        if j.theirs is not None:
            text += f" ({give_or_take(j.theirs.value, j.theirs.error)})"
        found[f"{words_of(name)}, mutual information / nat (of the reference)"] = text
    for name, text in (
        ("r_squared", "share of the forces' variance that is explained, R²"),
        ("residual_rms", "residual force, root mean square / kcal/mol/Å"),
    ):
        if isinstance(case.attrs.get(name), int | float):
            found[text] = float(case.attrs[name])
    return found | liquid.bulk(case)


def search(cases: Sequence[Case]) -> Figure | None:
    """How the distance to the targets fell, and the difference of every distribution with it."""
    main = cases[0]
    if not main.is_matched:
        return liquid.search(cases)
    if not main.has("em_trace", "distance"):
        return None
    far = main.get("em_trace", "distance")
    at = counted(far)
    trace = results.group(main.idata, "em_trace")
    parts = [str(n) for n in trace.data_vars if str(n).startswith("rms ")]
    figure = canvas(7.5 if parts else 5.0, 3.4)
    axes = figure.subplots(1, 1 + bool(parts), squeeze=False)[0]
    axes[0].plot(at, far.values, color=COLOURS[0], marker="o", markersize=3)
    follow(axes[0], "distance", at, far.values, colour=COLOURS[0])
    axes[0].set_ylabel("distance / standard errors")
    tolerance = main.method_options.get("tolerance")
    stop = ""
    if isinstance(tolerance, int | float) and tolerance > 0:
        axes[0].axhline(tolerance, color=GREY, linewidth=1)
        stop = f" The grey line is the tolerance, {tolerance:g}, below which it stops."
    shown = [np.asarray(trace[n].values, float) for n in parts]
    for k, name in enumerate(parts):
        style = {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[k % len(LINES)]}
        axes[1].plot(at, shown[k], label=words_of(name[4:]), **style)
    if parts:
        axes[1].set_ylabel("rms difference")
        follow_lines(axes[1])
        axes[1].legend(fontsize=8, ncols=1 + (len(parts) > 5))
    for ax, all_of in zip(axes, ([np.asarray(far.values, float)], shown), strict=False):
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _scale(ax, np.concatenate(all_of))
    table = [["", "first", "stored", "last"]]
    values = np.asarray(far.values, float)
    best = int(np.nanargmin(values)) if np.isfinite(values).any() else len(values) - 1
    for name in ("distance", *parts):
        v = np.asarray(trace[name].values, float)
        words = "distance, standard errors" if name == "distance" else words_of(name[4:])
        table.append([words, *(number(float(v[k])) for k in (0, best, -1))])
    return Figure(
        "trace",
        "The search",
        "No figure of the paper. Left, the root-mean-square difference of the statistics that are matched from "
        f"their targets, in standard errors of that difference.{stop} Right, the same of each distribution as "
        "it is simulated in an iteration: of g(r) as it is, of a density relative to its largest value; a few "
        f"samples make it noisier than the prediction below. It ended: {ended(main)}.",
        svg(figure, "trace", f"The search, {len(at)} iterations: {ended(main)}."),
        table,
    )


def _scale(ax: Any, values: np.ndarray) -> None:
    """Logarithmic where values span decades."""
    some = values[np.isfinite(values) & (values > 0.0)]
    if some.size and some.max() > WIDE * some.min():
        ax.set_yscale("log")
        plain_logarithms(ax.yaxis)
    else:
        ax.set_ylim(bottom=0.0)


def doubts(case: Case) -> list[str]:
    """What a reader should know of a fit of molecules before believing the figures."""
    found = []
    if case.is_point:
        found.append(
            f"{case.method} is a point method: it tells nothing of how uncertain its potentials are. Fit with "
            "-m mcem, or -m fm where there are forces, for a posterior."
        )
    if case.method == "dbi":
        found.append(
            "Direct inversion takes every coordinate for independent of all others, which in a liquid none is: "
            "the prediction tells how wrong that is."
        )
    failed = _failed(case)
    if failed:
        found.append(failed)
    weak = weakly(case)
    if weak:
        found.append(
            f"The data hardly constrain some potentials (error over {WEAK:g} kT): {'; '.join(weak)}. See "
            "What the data hardly constrain."
        )
    return found + _unmatched(case) + liquid.doubts(case)


def _failed(case: Case) -> str:
    if not (case.is_matched and case.has("em_trace", "failed")):
        return ""
    failed = np.asarray(case.get("em_trace", "failed").values, float)
    if not failed.any() or any("blew up" in m for m in case.messages):
        return ""
    return f"Moves blew up and were taken back in {int((failed > 0).sum())} of {failed.size} iterations."


def _unmatched(case: Case) -> list[str]:
    """Joint distributions that differ, which those of one coordinate do not fix."""
    found = joints(case)
    if not found:
        several = sum(i.kind in ("bond", "angle") for i in case.interactions) > 1
        if several and case.has("posterior", "theta_c"):
            return [
                "Joint distributions of bonds and angles were not predicted: those of one coordinate do not "
                "fix them. `bayescg predict` measures them unless -O names others."
            ]
        return []
    out = []
    for name, j in found.items():
        if j.theirs is None:
            out.append(
                f"The joint distribution of {words_of(name)} stands beside no reference: predict with "
                "--reference and a file that holds frames."
            )
        elif _differ(j.ours, j.theirs):
            out.append(
                f"The joint distribution of {words_of(name)} is not that of {j.source}: their mutual "
                f"information is {give_or_take(j.ours.value, j.ours.error)} nat, of {j.source} "
                f"{give_or_take(j.theirs.value, j.theirs.error)}. Matching each distribution by itself does not "
                "fix it."
            )
    return out


def _differ(one: MutualInformation, other: MutualInformation) -> bool:
    error = np.hypot(np.nan_to_num(one.error), np.nan_to_num(other.error))
    return abs(one.value - other.value) > max(APART * error, LITTLE)
