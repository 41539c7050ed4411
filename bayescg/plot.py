"""Plots for notebooks and the report."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from bayescg import results

__all__ = ["AXES", "COLOURS", "VALUES", "band", "interval_of", "percent"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart; yellow is left out.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#009E73",
    "#56B4E9",
    "#8C6D46",
    "#7F7F7F",
)
#: Axis labels by dimension.
AXES = {
    "mu": "external field μ",
    "separation": "separation k / sites",
    "r": "distance r / Å",
    "angle": "angle / degrees",
    "length": "length / Å",
    "dihedral": "dihedral / degrees (trans is 180)",
}
#: Axis labels by observable.
VALUES = {
    "magnetization": "magnetisation per site",
    "correlation": "correlation R(k)",
    "rdf": "g(r)",
    "adf": "p(ω) / degree⁻¹",
}
#: Probabilities at the ends of a band, where the PCG paper draws others than 5-95 % (Figs. 18, 19).
_ENDS = {"rdf": (0.1, 0.9), "adf": (0.1, 0.9)}


def interval_of(name: str) -> tuple[float, float]:
    """Probabilities at the ends of an observable's band: those of the PCG paper's figures.

    >>> interval_of("rdf"), interval_of("magnetization")
    ((0.1, 0.9), (0.05, 0.95))
    """
    return _ENDS.get(name, (0.05, 0.95))


def percent(ends: tuple[float, float]) -> str:
    """Ends of a band in words, ``10–90 %``."""
    return f"{100 * ends[0]:g}–{100 * ends[1]:g} %"


def band(
    idata: Any,
    name: str,
    *,
    ax: Any = None,
    colour: str = COLOURS[0],
    label: str | None = None,
    reference: bool = True,
    select: dict[str, Any] | None = None,
    interval: tuple[float, float] | None = None,
) -> Any:
    """Draw the posterior predictive mean and credible band of an observable.

    :param idata: a result with ``posterior_predictive``.
    :param name: the observable.
    :param ax: matplotlib axes to draw on; new ones if not given.
    :param colour: of mean and band; ``label`` names them in a legend (without: "posterior mean" and
        the ends of the band).
    :param reference: whether to add the reference, where the result has one.
    :param select: coordinates to pick (nearest), for example ``{"mu": 1.0}``.
    :param interval: probabilities at the ends of the band; without, those that the PCG paper draws:
        0.1 and 0.9 for ``rdf`` and ``adf``, else 0.05 and 0.95.
    :return: the matplotlib axes.
    :raises ValueError: if there are no predictions, none of this name, not one axis is left, or the
        interval is none.
    """
    ends = interval_of(name) if interval is None else interval
    if not 0 <= ends[0] < ends[1] <= 1:
        raise ValueError(f"interval must be two rising probabilities, got {ends}.")
    predicted = results.group(idata, "posterior_predictive")
    if name not in predicted:
        known = [str(n) for n in predicted.data_vars if not str(n).endswith("_mcse")]
        raise ValueError(f"{name!r} is not predicted; there are: {', '.join(known)}.")
    value = _pick(predicted[name], select)
    axes = [d for d in value.dims if d not in ("chain", "draw")]
    if len(axes) != 1:
        raise ValueError(
            f"{name} has axes ({', '.join(map(str, axes))}); a band needs one, pick the others "
            "with select."
        )
    ax = plt.subplots(figsize=(5.5, 3.6))[1] if ax is None else ax
    axis = str(axes[0])
    at = value[axis].values
    low, high = value.quantile(list(ends), ("chain", "draw")).values
    label = f"posterior mean, {percent(ends)}" if label is None else label
    ax.fill_between(at, low, high, color=colour, alpha=0.3, linewidth=0)
    ax.plot(at, value.mean(("chain", "draw")).values, color=colour, label=label)
    if reference and results.has_group(idata, "reference"):
        measured = results.group(idata, "reference")
        if name in measured:
            exact = _pick(measured[name], select)
            ink = mpl.rcParams["text.color"]
            style = {"color": ink, "linestyle": "--", "linewidth": 1.2}
            ax.plot(exact[axis].values, np.asarray(exact), label="reference", **style)
    ax.set_xlabel(AXES.get(axis, axis))
    ax.set_ylabel(VALUES.get(name, str(value.attrs.get("long_name", name))))
    return ax


def _pick(value: Any, select: dict[str, Any] | None) -> Any:
    return value.sel(select, method="nearest") if select else value
