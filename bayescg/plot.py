"""Plots for notebooks and the report."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from bayescg import results

__all__ = ["AXES", "COLOURS", "VALUES", "band"]

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
}
#: Axis labels by observable.
VALUES = {"magnetization": "magnetisation per site", "correlation": "correlation R(k)"}


def band(
    idata: Any,
    name: str,
    *,
    ax: Any = None,
    colour: str = COLOURS[0],
    label: str = "posterior mean, 5–95 %",
    reference: bool = True,
    select: dict[str, Any] | None = None,
) -> Any:
    """Draw the posterior predictive mean and 5-95 % credible band of an observable.

    :param idata: a result with ``posterior_predictive``.
    :param name: the observable.
    :param ax: matplotlib axes to draw on; new ones if not given.
    :param colour: of mean and band; ``label`` names them in a legend.
    :param reference: whether to add the reference, where the result has one.
    :param select: coordinates to pick (nearest), for example ``{"mu": 1.0}``.
    :return: the matplotlib axes.
    :raises ValueError: if there are no predictions, none of this name, or not one axis is left.
    """
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
    low, high = value.quantile([0.05, 0.95], ("chain", "draw")).values
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
