"""Distributions of molecules beside their reference: typed RDFs, bonds, angles, dihedrals, and two at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg.plot import AXES, percent
from bayescg.report.case import ABSENT, SAMPLES, Case, number
from bayescg.report.curves import EXACT
from bayescg.report.drawing import INK, Figure, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.panels import density_label, grid_of, laid_out
from bayescg.workflow.comparing import Distance, beside, distance, distributions

__all__ = ["distances", "single", "words_of"]

KINDS = {"rdf": "pair", "bond": "bond", "angle": "angle", "dihedral": "dihedral", "adf": "angle"}
#: Shown beyond what either distribution holds, as a share of that range.
MARGIN = 0.06


def _kind(name: str) -> str:
    return KINDS[name.partition("_")[0]]


def words_of(name: str) -> str:
    """A distribution as a title has it."""
    first, _, rest = name.partition("_")
    if first == "joint":
        kinds = ("bond", "angle")
        parts = rest.split("_")
        at = [k for k, word in enumerate(parts) if word in kinds and k + 1 < len(parts)]
        a, b = at[0], at[-1]
        one, other = "_".join(parts[a + 1 : b]), "_".join(parts[b + 1 :])
        return f"{parts[a]} {one} and {parts[b]} {other}"
    if first == "rdf":
        return f"g(r) {rest.replace('_', '–')}".strip()
    return "ADF" if first == "adf" else f"{first} {rest}"


def _names(cases: Sequence[Case], joint: bool) -> list[str]:
    """Distributions that the main fit predicts, those of its potentials first."""
    main = cases[0]
    known = [n for n in distributions(main.idata) if n.startswith("joint_") == joint]
    if joint:
        return known
    own = [i.distribution for i in main.interactions]
    kept = [n for n in known if n.partition("_")[0] in KINDS]
    return [n for n in own if n in kept] + [n for n in kept if n not in own]


def distances(case: Case) -> dict[str, Distance]:
    """How far each predicted distribution is from the reference, joint ones last."""
    found = {n: distance(case.idata, n) for n in distributions(case.idata)}
    known = {n: d for n, d in found.items() if d is not None}
    return dict(sorted(known.items(), key=lambda item: item[0].startswith("joint_")))


def single(cases: Sequence[Case]) -> Figure | None:
    """Every distribution of one coordinate beside the reference, and the difference below."""
    main = cases[0]
    names = _names(cases, joint=False)
    if not names:
        return None
    measured = any(main.has("reference", n) for n in names)
    parts = 2 if measured else 1
    ratios = (3, 2)[:parts]
    height = 4.2 if measured else 2.6
    figure, cells = grid_of(len(names), height=height, parts=parts, ratios=ratios)
    for cell, name in zip(cells, names, strict=True):
        upper, lower = cell if measured else (cell, None)
        for case in [c for c in cases if c.predicted(name)]:
            _panel(upper, lower, case, name, main=case is main)
        upper.set_title(words_of(name))
        upper.set_ylabel(density_label(_kind(name)))
        low, high = _range(main, name)
        for ax in cell if measured else [cell]:
            ax.set_xlim(low, high)
        (upper if lower is None else lower).set_xlabel(AXES[_dim(main, name)])
        upper.set_ylim(bottom=0)
        if lower is not None:
            upper.tick_params(labelbottom=False)
            lower.set_ylabel("minus reference")
            lower.axhline(0, **EXACT)
    decorate(figure, [ax for cell in cells for ax in (cell if measured else [cell])], columns=2)
    table = _table(cases, names)
    summary = "Distributions: " + "; ".join(
        f"{row[0]} of {row[1]} rms {row[2]}" for row in table[1:]
    )
    below = ""
    if measured:
        below = (
            " Below, the same minus the reference; the grey band there is the reference's own error, two "
            "standard errors to either side."
        )
    bands = f" with the {percent((0.1, 0.9))} band" if main.banded(names[0]) else ""
    return Figure(
        "distributions",
        "Distributions beside the reference",
        "After Fig. 18 of the PCG paper: g(r) of every pair of bead types and the distributions of bonds, "
        f"angles and dihedrals, predicted{bands}, dashed the reference.{below} The table has root mean squares "
        "over the bins in which either holds something: of g(r) as it is, of the other distributions "
        "relative to the largest value of the reference. Beside the difference stand the reference's own "
        "standard error and the prediction's Monte Carlo error, in the same measure: a difference as small "
        "as these is none. (Of a mean over draws it is not known: they share their samples.)",
        svg(figure, "distributions", summary),
        table,
    )


def _dim(case: Case, name: str) -> str:
    return str(case.mean(name).dims[-1])


def _panel(upper: Any, lower: Any, case: Case, name: str, *, main: bool) -> None:
    """A case's prediction, for the main one with band and reference, and the difference."""
    value, kind = case.mean(name), _kind(name)
    places = np.asarray(value[value.dims[-1]].values, float)
    at, mean = laid_out(kind, places, np.asarray(value.values, float))
    style: dict[str, Any] = {"color": case.colour, "linestyle": case.line}
    band: dict[str, Any] = {"color": case.colour, "alpha": 0.3, "linewidth": 0}
    ends = None
    if main and case.banded(name):
        draws = case.get("posterior_predictive", name)
        ends = laid_out(kind, places, draws.quantile([0.1, 0.9], SAMPLES).values)[1]
        upper.fill_between(at, *ends, **band)
    label = f"{case.name}: {case.method}"
    upper.plot(at, mean, label=label, **style)
    told = _band(ends, f"{percent((0.1, 0.9))} of {case.predicted_draws(name)} draws")
    follow(upper, label, at, mean, colour=case.colour, **told)
    if not case.has("reference", name):
        return
    exact, error = beside(case.get_group("reference"), name, value)
    (exact,) = laid_out(kind, places, exact)[1:]
    if main:
        upper.plot(at, exact, label="reference", **EXACT)
        follow(upper, "reference", at, exact)
    if lower is None:
        return
    if main and error is not None:
        (error,) = laid_out(kind, places, error)[1:]
        grey: dict[str, Any] = {"color": INK, "alpha": 0.25, "linewidth": 0}
        lower.fill_between(at, -2 * error, 2 * error, label="error of the reference", **grey)
    if ends is not None:
        lower.fill_between(at, *(ends - exact), **band)
    lower.plot(at, mean - exact, **style)
    told = _band(None if ends is None else ends - exact, percent((0.1, 0.9)))
    follow(lower, f"{label} minus reference", at, mean - exact, colour=case.colour, **told)
    if main and error is not None:
        own = _band(np.array([-2 * error, 2 * error]), "two standard errors")
        follow(lower, "reference", at, 0.0 * exact, **own)


def _band(ends: np.ndarray | None, text: str) -> dict[str, Any]:
    return {} if ends is None else {"interval": tuple(ends), "ends": text}


def _range(case: Case, name: str) -> tuple[float, float]:
    """Where the prediction or the reference holds something, with a margin."""
    value, kind = case.mean(name), _kind(name)
    some = np.asarray(value.values, float) > 0.0
    if case.has("reference", name):
        some |= beside(case.get_group("reference"), name, value)[0] > 0.0
    at, some = laid_out(kind, np.asarray(value[value.dims[-1]].values, float), some)
    if not some.any():
        return float(at[0]), float(at[-1])
    low, high = float(at[some][0]), float(at[some][-1])
    margin = MARGIN * (high - low)
    return max(low - margin, 0.0), high + (0.0 if kind == "pair" else margin)


def _table(cases: Sequence[Case], names: Sequence[str]) -> list[list[str]]:
    table = [
        ["distribution", "fit", "rms difference", "error of the reference", "Monte Carlo error"]
    ]
    banded = any(c.banded(n) for c in cases for n in names)
    if banded:
        table[0].append("reference inside 10–90 %")
    for name in names:
        for case in cases:
            if not case.predicted(name):
                continue
            found = distance(case.idata, name)
            row = [words_of(name), case.label]
            row += [ABSENT] * 3 if found is None else [number(v) for v in found[:3]]
            if banded:
                row.append(_covered(case, name))
            table.append([v.replace("none", ABSENT) for v in row])
    return table


def _covered(case: Case, name: str) -> str:
    """Share of the reference's bins that hold something inside the band."""
    if not (case.banded(name) and case.has("reference", name)):
        return ABSENT
    value = case.get("posterior_predictive", name)
    low, high = value.quantile([0.1, 0.9], SAMPLES).values
    exact, _ = beside(case.get_group("reference"), name, value)
    at = np.isfinite(exact) & (exact > 0.0)
    return f"{((exact >= low) & (exact <= high))[at].mean():.0%}"
