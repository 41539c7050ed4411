"""Figs. 18 and 19 of the PCG paper: structure of the liquid, predicted and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayescg.plot import AXES, VALUES, band, interval_of, percent
from bayescg.report.case import ABSENT, Case, number, rmse
from bayescg.report.curves import EXACT
from bayescg.report.drawing import INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow

__all__ = ["NAMES", "RANGE", "Agreement", "agreement", "distribution", "noise_share"]

#: Observables of liquids: number of the figure, title, dimension, words, letter, equation.
NAMES: dict[str, tuple[str, str, str, str]] = {
    "rdf": ("18", "radial distribution function (RDF)", "r", "g(r) of Eq. 59"),
    "adf": ("19", "angular distribution function (ADF)", "angle", "p(ω) of Eq. 60"),
}
#: Distances at which RDFs are compared, angstrom: nearer there is nothing, further no whole sphere.
RANGE = (2.4, 7.2)
#: Angles count where the reference is at least this share of its largest value.
SOME = 0.01
PER_ROW = 3
FITTED = "average of the fitted frames"


@dataclass(frozen=True)
class Agreement:
    """How a prediction agrees with the reference; None where there is none to compare with.

    :param scale: what errors are divided by: 1, or the reference's mean for the ADF
    :param error: root-mean-square error of the mean, or of the point estimate, by ``scale``
    :param at_map: the same of the prediction at the MAP
    :param width: mean width of the band, by ``scale``
    :param covered: share of the reference's points inside the band
    :param peak: place and height of the largest value, and those of the reference
    """

    scale: float
    error: float | None = None
    at_map: float | None = None
    width: float | None = None
    covered: float | None = None
    peak: tuple[float, float] | None = None
    exact_peak: tuple[float, float] | None = None


def _curve(case: Case, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the observable was predicted, and its mean."""
    value = case.mean(name)
    dim = NAMES[name][2]
    return np.asarray(value[dim].values, float), np.asarray(value.values, float)


def _measured(case: Case, name: str, at: np.ndarray) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The reference and its standard error at these places; NaN where it does not reach."""
    if not case.has("reference", name):
        return None
    value = case.get("reference", name)
    own = value[NAMES[name][2]].values

    def there(v: Any) -> np.ndarray:
        return np.interp(at, own, np.asarray(v, float), left=np.nan, right=np.nan)

    error = f"{name}_se"
    return there(value), there(case.get("reference", error)) if case.has(
        "reference", error
    ) else None


def _counted(name: str, at: np.ndarray, exact: np.ndarray | None) -> np.ndarray:
    """Points that numbers are taken over."""
    if name == "rdf":
        kept = (at > RANGE[0]) & (at < RANGE[1])
        return kept if exact is None else kept & np.isfinite(exact)
    if exact is None:
        return np.ones(at.shape, bool)
    return np.isfinite(exact) & (exact > SOME * np.nanmax(exact))


def agreement(case: Case, name: str) -> Agreement | None:
    """Numbers of a prediction; None where the observable was not predicted."""
    if not case.predicted(name):
        return None
    at, mean = _curve(case, name)
    found = _measured(case, name, at)
    exact = None if found is None else found[0]
    kept = _counted(name, at, exact)
    if not kept.any():
        return None
    scale = 1.0
    if name == "adf":
        level = mean if exact is None else exact
        scale = float(np.nanmean(level))
    width = covered = error = at_map = other = None
    if case.banded(name):
        low, high = (np.asarray(v) for v in case.interval(name))
        width = float((high - low)[kept].mean()) / scale
        if exact is not None:
            covered = float(((exact >= low) & (exact <= high))[kept].mean())
    if exact is not None:
        # Errors of the ADF are over all angles: what should be zero counts too.
        over = kept if name == "rdf" else np.isfinite(exact)
        error = rmse(mean[over], exact[over]) / scale
        if case.has("map_predictive", name):
            mode = case.get("map_predictive", name).values
            at_map = rmse(mode[over], exact[over]) / scale
        top = int(np.nanargmax(np.where(kept, exact, -np.inf)))
        other = float(at[top]), float(exact[top])
    top = int(np.argmax(np.where(kept, mean, -np.inf)))
    peak = float(at[top]), float(mean[top])
    return Agreement(scale, error, at_map, width, covered, peak, other)


def noise_share(case: Case, name: str) -> float | None:
    """Monte Carlo error of a draw's prediction as a share of the band's mean width."""
    found = agreement(case, name)
    if found is None or not found.width or not case.has("posterior_predictive", f"{name}_mcse"):
        return None
    at, _ = _curve(case, name)
    exact = _measured(case, name, at)
    kept = _counted(name, at, None if exact is None else exact[0])
    noise = case.get("posterior_predictive", f"{name}_mcse").values[..., kept]
    return float(np.sqrt(np.mean(noise**2))) / (found.width * found.scale)


def distribution(cases: Sequence[Case], name: str) -> Figure | None:
    """Fig. 18 or 19: a panel for each fit, in the order of the number of frames."""
    shown = [c for c in cases if c.predicted(name)]
    if not shown:
        return None
    shown = sorted(shown, key=lambda c: (c.frames or 0, c.place))
    paper, words, _, letter = NAMES[name]
    measured = any(c.has("reference", name) for c in shown)
    across = min(len(shown), PER_ROW)
    down, parts = -(-len(shown) // across), 1 + measured
    figure = canvas(
        7.0 if across == 1 else max(7.5, 3.1 * across), (4.8 if measured else 3) * down + 0.4
    )
    axes = figure.subplots(
        down * parts,
        across,
        squeeze=False,
        sharex=True,
        sharey="row",
        height_ratios=[3, 2][:parts] * down,
    )
    for ax in axes.ravel():
        ax.set_visible(False)
    for i, case in enumerate(shown):
        row, column = parts * (i // across), i % across
        ax = axes[row, column]
        ax.set_visible(True)
        _panel(ax, case, name)
        ax.set_title(_title(case), fontsize=9)
        last = ax
        if measured:
            last = axes[row + 1, column]
            last.set_visible(True)
            _difference(last, case, name)
            ax.set_xlabel("")
        last.tick_params(labelbottom=True)
        if i + across < len(shown):
            last.set_xlabel("")
        if column:
            ax.set_ylabel("")
            last.set_ylabel("")
    for part in range(parts):
        _same_height(axes[part::parts].ravel()[: len(shown)])
    axes[0, 0].set_xlim(*((2.0, RANGE[1]) if name == "rdf" else (0.0, 180.0)))
    decorate(figure, axes.ravel(), columns=2)
    table = _table(shown, name)
    summary = f"{words[0].upper()}{words[1:]}: " + "; ".join(_in_words(c, name) for c in shown)
    one = (
        f"{len(shown)} fits, in the order of their number of frames N"
        if len(shown) > 1
        else "one fit"
    )
    below, beside = "", ""
    if measured:
        beside = ", dashed the reference"
    elif any(c.has("discrepancy", f"{name}_data") for c in shown):
        beside = ", dots the average of the fitted frames, as no reference is given"
    if any(c.has("map_predictive", name) and c.banded(name) for c in shown):
        beside += ", dotted the prediction at the MAP"
    if measured:
        below = (
            " Below, the same minus the reference. The grey band there is the reference's own error, "
            "two standard errors to either side."
        )
    return Figure(
        f"fig{paper}",
        f"{words[0].upper()}{words[1:]} (Fig. {paper})",
        f"Fig. {paper} of the PCG paper remade for {one}: {letter}, posterior mean with the "
        f"{percent(interval_of(name))} band{beside}."
        f"{below} {_numbers_of(name)}",
        svg(figure, f"fig{paper}", summary),
        table,
    )


def _same_height(axes: Sequence[Any]) -> None:
    """The same limits for panels of several rows."""
    ends = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _numbers_of(name: str) -> str:
    if name == "rdf":
        return f"The numbers of the table are over {RANGE[0]:g} to {RANGE[1]:g} Å; a peak is the highest bin."
    return (
        "In the table errors and widths are divided by the mean of the reference; coverage and width "
        f"are over the angles where the reference exceeds {SOME:.0%} of its largest value."
    )


def _title(case: Case) -> str:
    text = f"{case.name}: N = {case.frames}"
    effective = case.effective
    if effective is not None and case.frames and effective < 0.95 * case.frames:
        text += f" ({case.effective_in_words} effective)"
    return ", ".join([text, *(f"{k} = {number(v)}" for k, v in case.elsewhere.items())])


def _panel(ax: Any, case: Case, name: str) -> None:
    """Mean and band, reference, MAP."""
    at, mean = _curve(case, name)
    label = f"{case.name}: "
    ends = percent(interval_of(name))
    if case.banded(name):
        follow(
            ax,
            f"{label}mean",
            at,
            mean,
            interval=case.interval(name),
            ends=f"{ends} of {case.predicted_draws(name)} draws",
            colour=case.colour,
        )
        label += f"mean, {ends}"
        band(case.idata, name, ax=ax, colour=case.colour, label=label, reference=False)
        if case.has("map_predictive", name):
            mode = case.get("map_predictive", name).values
            ax.plot(at, mode, color=INK, linestyle=":", linewidth=1.3, label="at the MAP")
            follow(ax, "at the MAP", at, mode)
    else:
        ax.plot(at, mean, color=case.colour, label=label + "no interval")
        follow(ax, f"{label}no interval", at, mean, colour=case.colour)
    found = _measured(case, name, at)
    if found is not None:
        ax.plot(at, found[0], label="reference", **EXACT)
        follow(ax, "reference", at, found[0], **_of_reference(found[1], found[0]))
    elif case.has("discrepancy", f"{name}_data"):
        average = case.get("discrepancy", f"{name}_data").values
        style: dict[str, Any] = {"color": INK, "markersize": 4, "label": FITTED}
        ax.plot(at, average, ".", **style)
        follow(ax, FITTED, at, average)
    ax.set_ylabel(VALUES[name])
    ax.set_xlabel(AXES[NAMES[name][2]])


def _difference(ax: Any, case: Case, name: str) -> None:
    """The same minus the reference."""
    at, mean = _curve(case, name)
    ax.set_xlabel(AXES[NAMES[name][2]])
    ax.set_ylabel("minus reference")
    found = _measured(case, name, at)
    if found is None:
        ax.text(0.5, 0.5, "no reference", ha="center", va="center", transform=ax.transAxes)
        return
    exact, error = found
    if error is not None:
        style: dict[str, Any] = {"color": INK, "alpha": 0.25, "linewidth": 0}
        ax.fill_between(at, -2 * error, 2 * error, label="error of the reference", **style)
    band: dict[str, Any] = {}
    if case.banded(name):
        low, high = (np.asarray(v) for v in case.interval(name))
        band = {"interval": (low - exact, high - exact), "ends": percent(interval_of(name))}
        ax.fill_between(at, low - exact, high - exact, color=case.colour, alpha=0.3, linewidth=0)
        if case.has("map_predictive", name):
            mode = case.get("map_predictive", name).values
            ax.plot(at, mode - exact, color=INK, linestyle=":", linewidth=1.3)
    ax.plot(at, mean - exact, color=case.colour)
    follow(ax, f"{case.name}: mean minus reference", at, mean - exact, colour=case.colour, **band)
    follow(ax, "reference", at, 0.0 * exact, **_of_reference(error, 0.0 * exact))
    ax.axhline(0, **EXACT)


def _of_reference(error: np.ndarray | None, at: np.ndarray) -> dict[str, Any]:
    """The band of the reference's own error, where it is known."""
    if error is None:
        return {}
    return {"interval": (at - 2 * error, at + 2 * error), "ends": "two standard errors"}


def _table(shown: Sequence[Case], name: str) -> list[list[str]]:
    rdf = name == "rdf"
    unit = "" if rdf else ", relative"
    header = ["fit", "N", "N effective", f"RMSE of the mean{unit}", f"RMSE at the MAP{unit}"]
    header += ["peak (reference)", "at / Å (reference)" if rdf else "at / degrees (reference)"]
    ends = percent(interval_of(name))
    table = [[*header, f"reference inside {ends}", f"mean width of the band{unit}"]]
    for case in shown:
        found = agreement(case, name)
        if found is None:
            continue
        row = [case.label, str(case.frames), case.effective_in_words]
        row += [_or_absent(None if case.is_point else found.error)]
        row += [_or_absent(found.error if case.is_point else found.at_map)]
        row += [_against(found, 1), _against(found, 0)]
        covered = ABSENT if found.covered is None else f"{found.covered:.0%}"
        table.append([*row, covered, _or_absent(found.width)])
    return table


def _or_absent(value: float | None) -> str:
    return ABSENT if value is None else number(value)


def _against(found: Agreement, which: int) -> str:
    own = ABSENT if found.peak is None else number(found.peak[which])
    return own if found.exact_peak is None else f"{own} ({number(found.exact_peak[which])})"


def _in_words(case: Case, name: str) -> str:
    found = agreement(case, name)
    if found is None:
        return f"{case.label} not predicted"
    text = f"{case.label}, N = {case.frames}"
    if found.error is not None:
        text += f", RMSE {number(found.error)}"
    if found.covered is not None:
        text += f", {found.covered:.0%} of the reference inside the band"
    return text
