"""Figures of richer lattices: hidden states of frames, and features added one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg.plot import COLOURS, interval_of, percent
from bayescg.report.case import SAMPLES, Case, number, printable
from bayescg.report.curves import ACTIVE, NEAR, SOLID, place
from bayescg.report.drawing import INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.traces import plain_logarithms

__all__ = ["growth", "hidden_states"]

ENDS = interval_of("magnetization")
FEW = 8  # features whose names fit side by side


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
    width = min(0.15, 0.8 / states)
    draws = theta.transpose(*SAMPLES, "state", "feature").values.reshape(-1, *theta.shape[-2:])
    low, middle, high = np.quantile(draws, [ENDS[0], 0.5, ENDS[1]], axis=0)
    for s in range(states):
        spot = np.arange(draws.shape[2]) + (s + 0.5 - 0.5 * states) * width
        error = [middle[s] - low[s], high[s] - middle[s]]
        style: dict[str, Any] = {"color": COLOURS[s % len(COLOURS)], "fmt": "o", "markersize": 4}
        bottom.errorbar(spot, middle[s], error, label=f"state {s}", **style)
        band = (low[s], high[s])
        told: dict[str, Any] = {"names": main.features, "colour": style["color"]}
        follow(bottom, f"state {s}", spot, middle[s], interval=band, ends=percent(ENDS), **told)
    bottom.axhline(0, color=INK, linewidth=0.8)
    bottom.set_xticks(np.arange(len(main.features)), main.features, fontsize=8)
    if len(main.features) > FEW:
        bottom.tick_params(axis="x", rotation=90)
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
    """Which features were added and dropped, and what each gained (Section 2.5)."""
    main = cases[0]
    if not main.has("growth", "added"):
        return None
    where = main.near(NEAR)
    added, dropped, expected, gain, cost, likelihood = (
        main.at("growth", name, where).values
        for name in ("added", "dropped", "expected_gain", "gain", "cost", "log_likelihood")
    )
    steps = int(np.isfinite(likelihood).sum())
    changed = np.maximum(added, dropped)[:steps]
    names = [
        "begin" if k < 0 else f"{'without ' if d >= 0 else ''}{main.features[k]}"
        for k, d in zip(changed, dropped, strict=False)
    ]
    figure = canvas(7.5, 3.2)
    ax = figure.subplots()
    more, less = np.flatnonzero(added[:steps] >= 0), np.flatnonzero(dropped[:steps] >= 0)
    style: dict[str, Any] = {"linestyle": "none", "color": main.colour, "markersize": 7}
    ax.plot(more, gain[more], "o", label="gained by a feature added", **style)
    if less.size:
        # What a drop loses may be next to nothing: drawn at the axis's end where it is less.
        floor = 0.1 * np.nanmin(cost[:steps])
        lost = np.maximum(-gain[less], floor)
        ax.plot(less, lost, "o", label="lost by a feature dropped", markerfacecolor="none", **style)
    at = np.arange(1, steps)
    ax.plot(at, np.abs(expected[at]), "x", color=INK, label="expected")
    ax.plot(at, cost[at], "_", color=INK, markersize=18, label="what a feature costs")
    ax.set_xticks(at, names[1:], rotation=30, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_ylabel("log posterior, nat")
    if steps > 1:
        ax.set_xlim(0.5, steps - 0.5)
        ax.set_yscale("log")
        plain_logarithms(ax.yaxis)
        if less.size:
            ax.set_ylim(bottom=0.7 * floor)
    decorate(figure, [ax], columns=2)
    others = [c for c in cases[1:] if "ARD" in c.prior and c.has("posterior", "theta_c")]
    others = [c for c in others if c.features == main.features and c.dim == main.dim]
    kept = [f"{c.label} (ARD)" for c in others]
    table = [["feature", "gain expected", "gained", "log likelihood", *kept]]
    means = [c.at("posterior", "theta_c", where).mean(SAMPLES).values for c in others]
    for i, name in enumerate(names):
        marks = [
            "" if changed[i] < 0 else "active" if abs(m[changed[i]]) > ACTIVE else "off"
            for m in means
        ]
        row = [number(float(v)) if np.isfinite(v) else "" for v in (expected[i], gain[i])]
        table.append([printable(name, 26), *row, number(float(likelihood[i])), *marks])
    used = main.at("growth", "used", where).values.astype(bool)
    for label, mean in zip(kept, means, strict=True):
        alone = [
            f
            for f, m, u in zip(main.features, mean, used, strict=True)
            if abs(m) > ACTIVE and not u
        ]
        table.append([f"{label} alone: {', '.join(alone) or 'none'}", *[""] * (len(table[0]) - 1)])
    return Figure(
        "growth",
        "Features added one by one (Section 2.5)",
        f"No figure of the paper{place(where)}: from few features, the one that gains most is added "
        "until none gains what a feature costs; those that others make superfluous on the way are dropped. "
        f"{int(used.sum())} of {used.size} features are used.",
        svg(
            figure,
            "growth",
            f"Features in the order they were added or dropped{place(where)}: {', '.join(names)}.",
        ),
        table,
    )
