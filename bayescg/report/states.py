"""Figures of richer lattices: hidden states of frames, and features added one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg.plot import COLOURS, interval_of, percent
from bayescg.report.case import SAMPLES, Case, number, printable
from bayescg.report.curves import ACTIVE, NEAR, SOLID, place
from bayescg.report.drawing import INK, Figure, canvas, decorate, svg

__all__ = ["growth", "hidden_states"]

ENDS = interval_of("magnetization")


def hidden_states(cases: Sequence[Case]) -> Figure | None:
    """Which state each frame is in, and what each state is (Eqs. 69 and 70)."""
    main = cases[0]
    if not main.has("states", "probability") or not main.has("posterior", "theta_c"):
        return None
    where = main.near(NEAR)
    probability = main.at("states", "probability", where).transpose("state", "frame").values
    theta = main.at("posterior", "theta_c", where)
    states, frames = probability.shape
    figure = canvas(7.5, 2.4 + 0.25 * states + 2.6)
    top, bottom = figure.subplots(2, 1, height_ratios=(1.0 + 0.2 * states, 2.6))
    mesh = top.pcolormesh(
        np.arange(frames + 1),
        np.arange(states + 1) - 0.5,
        probability,
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
        **SOLID,
    )
    top.set_yticks(np.arange(states))
    top.set_ylabel("state S")
    top.set_xlabel("frame")
    figure.colorbar(mesh, ax=top, label="p(S | x)", pad=0.01)
    width = 0.8 / states
    draws = theta.transpose(*SAMPLES, "state", "feature").values.reshape(-1, *theta.shape[-2:])
    low, middle, high = np.quantile(draws, [ENDS[0], 0.5, ENDS[1]], axis=0)
    for s in range(states):
        spot = np.arange(draws.shape[2]) + (s + 0.5) * width - 0.4
        error = [middle[s] - low[s], high[s] - middle[s]]
        style: dict[str, Any] = {"color": COLOURS[s % len(COLOURS)], "fmt": "o", "markersize": 4}
        bottom.errorbar(spot, middle[s], error, label=f"state {s}", **style)
    bottom.axhline(0, color=INK, linewidth=0.8)
    bottom.set_xticks(np.arange(len(main.features)), main.features, rotation=90, fontsize=8)
    bottom.set_ylabel("θ")
    decorate(figure, [bottom], columns=4)
    table = _of_each(main, where, probability)
    summary = f"Hidden states of {frames} frames{place(where)}: " + "; ".join(
        f"state {row[0]} weight {row[1]}" for row in table[1:]
    )
    return Figure(
        "states",
        "Hidden states of the frames (Eqs. 69 and 70)",
        f"No figure of the paper{place(where)}: above, the probability that a frame is in a state, latent "
        "configurations, states of other frames and parameters averaged over; below, the posterior of each state's "
        f"coefficients, medians and {percent(ENDS)} intervals. States are numbered from the most frequent. "
        f"{_occupied(main, where)}",
        svg(figure, "states", summary),
        table,
    )


def _occupied(case: Case, where: dict[str, Any]) -> str:
    chance = case.at("states", "occupied_probability", where)
    told = ", ".join(
        f"{int(k)} with probability {p:.2f}"
        for k, p in zip(chance["count"].values, chance.values, strict=True)
        if p >= 0.005
    )
    return f"Number of states that have a frame: {told}."


def _of_each(case: Case, where: dict[str, Any], probability: np.ndarray) -> list[list[str]]:
    """A row a state: weight, frames, and what was predicted of it."""
    columns = {"weight": ("posterior", "weights"), "p0": ("posterior", "p0")}
    columns |= {"magnetisation": ("posterior_predictive", "magnetization_of_state")}
    shown = {
        text: case.at(*home, where)
        for text, home in columns.items()
        if case.has(*home) and "state" in case.get(*home).dims
    }
    if case.has("posterior", "transition"):
        matrix = case.at("posterior", "transition", where).transpose(..., "state", "next_state")
        shown["stays"] = matrix[..., 0].copy(
            data=np.diagonal(matrix.values, axis1=-2, axis2=-1).copy()
        )
    header = ["state", *(f"{text}, {percent(ENDS)}" for text in shown), "frames expected"]
    table = [header]
    for s in range(len(probability)):
        cells = []
        for value in shown.values():
            low, middle, high = np.quantile(value.isel(state=s).values, [ENDS[0], 0.5, ENDS[1]])
            cells.append(f"{number(middle)} ({number(low)} to {number(high)})")
        table.append([str(s), *cells, number(float(probability[s].sum()))])
    return table


def growth(cases: Sequence[Case]) -> Figure | None:
    """Which features were added, and what each gained (Section 2.5)."""
    main = cases[0]
    if not main.has("growth", "added"):
        return None
    where = main.near(NEAR)
    added, expected, gain, cost, likelihood = (
        main.at("growth", name, where).values
        for name in ("added", "expected_gain", "gain", "cost", "log_likelihood")
    )
    taken = np.isfinite(likelihood)
    names = ["begin" if k < 0 else main.features[k] for k in added[taken]]
    figure = canvas(7.5, 3.2)
    ax = figure.subplots()
    at = np.arange(len(names))
    ax.plot(at, gain[taken], "o-", color=main.colour, label="gain of the log posterior")
    ax.plot(at, expected[taken], "x", color=INK, label="gain that was expected")
    ax.plot(at, cost[taken], ":", color=INK, label="what it had to gain")
    ax.set_xticks(at, names, rotation=90, fontsize=8)
    ax.set_ylabel("nat")
    if len(names) > 1:
        ax.set_yscale("log")
    decorate(figure, [ax], columns=3)
    others = [c for c in cases[1:] if "ARD" in c.prior and c.has("posterior", "theta_c")]
    others = [c for c in others if c.features == main.features and c.dim == main.dim]
    kept = [f"{c.label} (ARD)" for c in others]
    table = [["feature", "gain expected", "gained", "log likelihood", *kept]]
    means = [c.at("posterior", "theta_c", where).mean(SAMPLES).values for c in others]
    for i, name in enumerate(names):
        marks = [
            "" if added[i] < 0 else "active" if abs(m[added[i]]) > ACTIVE else "off" for m in means
        ]
        row = [number(float(v)) if np.isfinite(v) else "" for v in (expected[i], gain[i])]
        table.append([printable(name, 18), *row, number(float(likelihood[i])), *marks])
    used = main.at("growth", "used", where).values.astype(bool)
    for label, mean in zip(kept, means, strict=True):
        more = [
            f
            for f, m, u in zip(main.features, mean, used, strict=True)
            if abs(m) > ACTIVE and not u
        ]
        table.append([f"{label} alone: {', '.join(more) or 'none'}", *[""] * (len(table[0]) - 1)])
    return Figure(
        "growth",
        "Features added one by one (Section 2.5)",
        f"No figure of the paper{place(where)}: from few features, the one that is expected to gain most is added "
        f"until none gains what a feature costs. {int(used.sum())} of {used.size} features are used.",
        svg(
            figure,
            "growth",
            f"Features in the order they were added{place(where)}: {', '.join(names)}.",
        ),
        table,
    )
