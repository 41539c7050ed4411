"""Joint distributions of bonded coordinates beside the reference, and how far two hang together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg.observables import MutualInformation, mutual_information
from bayescg.report.case import ABSENT, SAMPLES, Case, give_or_take, number
from bayescg.report.distributions import words_of
from bayescg.report.drawing import INK, Figure, canvas, svg
from bayescg.workflow.comparing import beside, distributions

__all__ = ["Joint", "joint", "joints"]

#: Draws whose mutual information is taken, at most.
DRAWS = 50


class Joint:
    """A joint distribution of one fit: predicted, beside it the reference's.

    :param source: whose frames the reference is measured on.
    """

    def __init__(self, case: Case, name: str) -> None:
        value = case.get("posterior_predictive", name)
        mean = case.mean(name)
        self.dims = tuple(str(d) for d in mean.dims)
        self.axes = [np.asarray(mean[d].values, float) for d in self.dims]
        self.predicted = np.asarray(mean.values, float)
        noise = f"{name}_mcse"
        self.ours = _of_draws(
            _draws(value),
            _draws(case.get("posterior_predictive", noise))
            if case.has("posterior_predictive", noise)
            else None,
            self.axes,
        )
        self.exact: np.ndarray | None = None
        self.theirs: MutualInformation | None = None
        self.source = "the reference"
        group = case.get_group("reference") if case.has("reference", name) else case.fitted
        if group is not None and name in group:
            fitted = group is case.fitted or "measured_on" in group[name].attrs
            self.source = "the fitted frames" if fitted else "the reference"
            self.exact, spread = beside(group, name, value)
            if np.isfinite(self.exact).all() and self.exact.sum() > 0.0:
                self.theirs = mutual_information(self.exact, spread, *self.axes)

    @property
    def rms(self) -> float:
        """Rms difference relative to the largest value of the reference, where either holds something."""
        if self.exact is None:
            return np.nan
        at = (self.exact > 0.0) | (self.predicted > 0.0)
        gap = (self.predicted - self.exact)[at]
        return float(np.sqrt(np.mean(gap**2)) / self.exact.max())


def _draws(value: Any) -> np.ndarray:
    """Some of the draws, ``(draw, first, second)``."""
    own = [d for d in value.dims if d not in SAMPLES]
    draws = value.transpose(*SAMPLES, *own).values
    draws = np.asarray(draws, float).reshape(-1, *draws.shape[2:])
    return draws[np.unique(np.linspace(0, len(draws) - 1, DRAWS).round().astype(int))]


def _of_draws(
    values: np.ndarray, errors: np.ndarray | None, axes: Sequence[np.ndarray]
) -> MutualInformation:
    """Mean over draws, each corrected by itself; with the spread of several, the error of one."""
    found = [
        mutual_information(v, None if errors is None else errors[k], *axes)
        for k, v in enumerate(values)
    ]
    if len(found) == 1:
        return found[0]
    value, _, correlation = np.array(found).T
    return MutualInformation(
        float(value.mean()), float(value.std(ddof=1)), float(correlation.mean())
    )


def joints(case: Case) -> dict[str, Joint]:
    """Every joint distribution that a fit predicts."""
    names = [n for n in distributions(case.idata) if n.startswith("joint_")]
    return {n: Joint(case, n) for n in names}


def joint(cases: Sequence[Case]) -> Figure | None:
    """Joint distributions: predicted, of the reference, and the difference, as images."""
    main = cases[0]
    found = joints(main)
    if not found:
        return None
    figure = canvas(8.5, 2.6 * len(found) + 0.4)
    axes = figure.subplots(len(found), 3, squeeze=False)
    for row, (name, j) in zip(axes, found.items(), strict=True):
        _images(figure, row, name, j)
    table = [
        [
            "coordinates",
            "fit",
            "mutual information / nat",
            "of the reference",
            "correlation",
            "of the reference ",
            "rms difference",
            "reference",
        ]
    ]
    for name in found:
        for case in cases:
            if case.predicted(name):
                j = found[name] if case is main else Joint(case, name)
                table.append([words_of(name), case.label, *_numbers(j)])
    summary = "Joint distributions: " + "; ".join(
        f"{row[0]} of {row[1]} mutual information {row[2]}, of the reference {row[3]}"
        for row in table[1:]
    )
    return Figure(
        "joint",
        "Joint distributions",
        "No figure of the paper: two coordinates that share sites at a time, of the main fit. Distributions of "
        "one coordinate can match while these do not: a sum of potentials of one coordinate each has no term "
        "that ties two together. The numbers are the mutual information, zero where the coordinates are "
        "independent, corrected for its bias from finite samples, and the correlation coefficient, which sees "
        "straight lines only. The standard error of the first is from those of the cells, as if they were "
        "independent, and too small where slow motions change many cells at once; of a posterior it is the "
        "spread of the draws. The root mean square of the difference is relative to the largest value of the "
        "reference.",
        svg(figure, "joint", summary),
        table,
    )


def _images(figure: Any, row: Any, name: str, j: Joint) -> None:
    """Three panels: second coordinate along, first upwards."""
    first, second = j.axes
    steps = [0.5 * (a[1] - a[0]) for a in j.axes]
    extent = (
        second[0] - steps[1],
        second[-1] + steps[1],
        first[0] - steps[0],
        first[-1] + steps[0],
    )
    top = max(float(j.predicted.max()), 0.0 if j.exact is None else float(j.exact.max()))
    style: dict[str, Any] = {"origin": "lower", "extent": extent, "aspect": "auto"}
    style["interpolation"] = "nearest"
    gap = None if j.exact is None else j.predicted - j.exact
    panels = [
        (j.predicted, f"{words_of(name)}: predicted", "viridis", (0.0, top)),
        (j.exact, j.source, "viridis", (0.0, top)),
    ]
    if gap is not None:
        most = float(np.abs(gap).max()) or 1.0
        panels.append((gap, "difference", "RdBu_r", (-most, most)))
    some = (j.predicted > 0.0) | (
        np.zeros_like(j.predicted, bool) if j.exact is None else j.exact > 0.0
    )
    rows, columns = (np.flatnonzero(some.any(1 - k)) for k in range(2))
    for ax, panel in zip(row, panels, strict=False):
        values, title, colours, (low, high) = panel
        ax.set_title(title, fontsize=9)
        if values is None:
            ax.set_visible(False)
            continue
        image = ax.imshow(
            np.where(some, values, np.nan), cmap=colours, vmin=low, vmax=high, **style
        )
        if colours != "viridis" or gap is None or values is j.exact:
            bar = figure.colorbar(image, ax=ax)
            bar.outline.set_edgecolor(INK)
            bar.ax.locator_params(nbins=4)
            bar.ax.tick_params(labelsize=8)
        if some.any():
            ax.set_xlim(second[columns[0]] - 2 * steps[1], second[columns[-1]] + 2 * steps[1])
            ax.set_ylim(first[rows[0]] - 2 * steps[0], first[rows[-1]] + 2 * steps[0])
        ax.set_xlabel("angle / degrees")
    for ax in row[len(panels) :]:
        ax.set_visible(False)
    row[0].set_ylabel("length / Å" if j.dims[0] == "joint_length" else "angle / degrees")


def _numbers(j: Joint) -> list[str]:
    def told(v: MutualInformation | None) -> str:
        return ABSENT if v is None else give_or_take(v.value, v.error)

    def line(v: MutualInformation | None) -> str:
        return ABSENT if v is None else f"{v.correlation:.2f}".replace("-", "−")

    rms = ABSENT if np.isnan(j.rms) else number(j.rms)
    return [told(j.ours), told(j.theirs), line(j.ours), line(j.theirs), rms, j.source]
