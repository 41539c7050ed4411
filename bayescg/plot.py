"""Plots for notebooks and the report."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from bayescg import results

__all__ = ["BLACK", "COLOURS", "band"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLACK = "#222222"


def band(
    idata: Any,
    name: str,
    *,
    ax: Any = None,
    colour: str = COLOURS[0],
    label: str = "posterior mean, 5-95 %",
    reference: bool = True,
    select: dict[str, Any] | None = None,
) -> Any:
    """Posterior predictive mean and 5-95 % credible band of an observable, with its reference.

    :param idata: a result with ``posterior_predictive``.
    :param name: the observable.
    :param select: coordinates to pick (nearest), for example ``{"mu": 1.0}``.
    :return: the matplotlib axes.
    """
    ax = plt.subplots(figsize=(5.5, 3.6))[1] if ax is None else ax
    value = results.group(idata, "posterior_predictive")[name]
    value = value.sel(select, method="nearest") if select else value
    axes = [d for d in value.dims if d not in ("chain", "draw")]
    if len(axes) != 1:
        raise ValueError(f"{name} has axes {axes}: pick all but one with select=.")
    axis = axes[0]
    low, high = value.quantile([0.05, 0.95], ("chain", "draw")).values
    at = value[axis].values
    ax.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
    ax.plot(at, value.mean(("chain", "draw")), color=colour, label=label)
    if (
        reference
        and results.has_group(idata, "reference")
        and name in results.group(idata, "reference")
    ):
        exact = results.group(idata, "reference")[name]
        exact = exact.sel(select, method="nearest") if select else exact
        ax.plot(at, np.asarray(exact), color=BLACK, linestyle="--", linewidth=1, label="reference")
    ax.set_xlabel(
        {"mu": "external field mu", "separation": "separation k / sites"}.get(str(axis), str(axis))
    )
    ax.set_ylabel(str(value.attrs.get("long_name", name)))
    return ax
