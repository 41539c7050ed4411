"""How the inference went: iterations of MC-EM, ARD relevances, chains of NUTS."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import NullFormatter
import numpy as np

from bayescg import results
from bayescg.plot import COLOURS
from bayescg.report.case import Case, number, printable
from bayescg.report.curves import NEAR, SOLID, place, symbol
from bayescg.report.drawing import GREY, INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow, follow_lines

__all__ = [
    "CHAINS",
    "CHEAP",
    "chains",
    "counted",
    "iterations",
    "mixing",
    "plain_logarithms",
    "relevances",
    "remaining",
    "semilog",
]

#: Most series of draws whose diagnostics are measured; ArviZ takes about a millisecond for each.
CHEAP = 300
LINES = 5
#: Methods whose draws come in chains that can be compared, and what those are.
CHAINS = {"nuts": "Chains of NUTS", "smc": "Runs of SMC"}


def iterations(cases: Sequence[Case]) -> Figure | None:
    """Distance from the optimum, its Monte Carlo error, and the parameters, by iteration."""
    main = cases[0]
    if not main.has("em_trace", "distance"):
        return None
    where = main.near(NEAR)
    figure = canvas(7.5, 5.4)
    parts = [["far", "p0"], ["theta", "theta"]]
    has_p0, has_theta = main.has("em_trace", "p0"), main.has("em_trace", "theta_c")
    if not has_p0:
        parts[0] = ["far", "far"]
    axes = figure.subplot_mosaic(parts if has_theta else parts[:1])
    stop = remaining(axes["far"], main, where)
    if has_p0:
        value = main.at("em_trace", "p0", where)
        axes["p0"].plot(counted(value), value.values, color=COLOURS[0])
        follow(axes["p0"], "p0", counted(value), value, colour=COLOURS[0])
        axes["p0"].set_xlabel("iteration")
        axes["p0"].set_ylabel("p0")
    if has_theta:
        theta = main.at("em_trace", "theta_c", where).transpose("iteration", "feature")
        order = np.argsort(-np.abs(np.nan_to_num(theta.values[-1])))
        for rank, i in enumerate(order):
            named = rank < LINES
            axes["theta"].plot(
                counted(theta),
                theta.values[:, i],
                color=COLOURS[rank] if named else GREY,
                linewidth=1.6 if named else 0.6,
                zorder=2 if named else 1,
                label=printable(theta["feature"].values[i], 18) if named else None,
            )
        follow_lines(axes["theta"])
        axes["theta"].set_xlabel("iteration")
        axes["theta"].set_ylabel("θ")
        axes["theta"].legend(ncols=LINES, loc="best", fontsize=8)
    decorate(figure, [axes["far"]], columns=1)
    last = float(main.at("em_trace", "distance", where).values[-1])
    summary = (
        f"MC-EM by iteration{place(where)}: the last step left is {number(last)} posterior sd."
    )
    return Figure(
        "trace",
        "Iterations of MC-EM",
        f"No figure of the paper: how Algorithm 1 went{place(where)}. Top left: the largest Newton "
        f"step that is left, in posterior standard deviations, and its Monte Carlo error.{stop} The "
        f"{LINES} largest coefficients are named, the others grey.",
        svg(figure, "trace", summary),
    )


def counted(trace: Any) -> np.ndarray:
    """Number of iterations made, from 1."""
    return np.asarray(trace["iteration"].values) + 1


def remaining(ax: Any, case: Case, where: dict[str, Any]) -> str:
    """Draw the Newton step that is left and its error; tell of the line where a fit may stop."""
    for name, text, colour in (
        ("distance", "Newton step left", COLOURS[0]),
        ("noise", "its Monte Carlo error", COLOURS[2]),
    ):
        if not case.has("em_trace", name):
            continue
        value = case.get("em_trace", name)
        at = counted(value)
        whole = value.max([d for d in value.dims if d != "iteration"]).values
        line = case.at("em_trace", name, where).values
        semilog(ax, at, line, color=colour, label=f"{text}{place(where)}")
        if case.dim is not None:
            style = {"color": colour, "linestyle": ":"}
            semilog(ax, at, whole, label=f"{text}, largest of all {symbol(case.dim)}", **style)
    tolerance = case.method_options.get("tolerance")
    stop = ""
    if isinstance(tolerance, int | float) and tolerance > 0:
        ax.axhline(2 * tolerance, color=GREY, linewidth=1)
        stop = (
            f" The grey line is at twice the tolerance, {2 * tolerance:g}, where the fit may stop."
        )
    follow_lines(ax)
    ax.set_xlabel("iteration")
    ax.set_ylabel("posterior sd")
    return stop


def semilog(ax: Any, at: np.ndarray, value: np.ndarray, **style: Any) -> None:
    """Draw what is positive of a series on a logarithmic axis."""
    shown = np.where(value > 0, value, np.nan)  # zero has no place on a logarithmic axis
    if np.isfinite(shown).any():
        ax.semilogy(at, shown, **style)
        plain_logarithms(ax.yaxis)


def plain_logarithms(axis: Any) -> None:
    """Label powers as numbers: the default does so by TeX, which the style does not read."""
    axis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_minor_formatter(NullFormatter())


def relevances(cases: Sequence[Case]) -> Figure | None:
    """What ARD left of the prior's width, feature by feature."""
    main = cases[0]
    if not main.has("map", "tau_u") or not main.has("map", "theta_c"):
        return None
    tau = main.get("map", "tau_u")
    labels = [str(n) for n in tau["parameter"].values]
    kept = [i for i, n in enumerate(labels) if n.startswith("theta_c")]
    names = [printable(n, 18) for n in main.get("map", "theta_c")["feature"].values]
    if len(kept) != len(names):
        return None
    tau = tau.isel(parameter=kept)
    dims = ("parameter",) if main.dim is None else ("parameter", main.dim)
    values = tau.transpose(*dims).values.reshape(len(names), -1)
    with np.errstate(divide="ignore"):
        width = np.log10(1.0 / np.sqrt(values))
    width = np.where(np.isfinite(width), width, np.nan)
    if not np.isfinite(width).any():
        return None
    figure = canvas(7.5, 1.2 + 0.19 * len(names))
    ax = figure.subplots()
    if main.dim is None:
        bottom = float(np.nanmin(width)) - 0.2
        ax.barh(np.arange(len(names)), width[:, 0] - bottom, left=bottom, color=main.colour)
        ax.set_xlabel("log10 of the prior's standard deviation 1/√⟨τ⟩")
        what = "bars"
    else:
        mesh = ax.pcolormesh(
            np.arange(values.shape[1] + 1) - 0.5,
            np.arange(len(names) + 1) - 0.5,
            width,
            cmap="cividis",
            **SOLID,
        )
        bar = figure.colorbar(mesh, ax=ax, label="log10 of 1/√⟨τ⟩")
        bar.outline.set_edgecolor(INK)
        at = main.sweep
        step = max(1, len(at) // 8)
        ax.set_xticks(np.arange(len(at))[::step], [number(float(v)) for v in at[::step]])
        ax.set_xlabel(f"{'external field ' if main.dim == 'mu' else ''}{symbol(main.dim)}")
        what = "colours"
    ax.set_yticks(np.arange(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    summary = f"ARD relevance of {len(names)} features."
    return Figure(
        "ard",
        "What ARD found relevant",
        f"No figure of the paper, but the precisions behind Fig. 6: {what} show 1/√⟨τ⟩, the width "
        "that the ARD prior (Eqs. 41–44) leaves to each coefficient at the MAP. A narrow prior is a "
        "feature switched off.",
        svg(figure, "ard", summary),
    )


def mixing(case: Case) -> list[list[str]]:
    """R-hat and effective sample sizes, the worst of each variable, measured where that is cheap."""
    if case.method not in CHAINS:
        return []
    posterior = results.group(case.idata, "posterior")
    table = [["variable", "largest R-hat", "smallest bulk ESS", "smallest tail ESS", "measured on"]]
    where = case.near(NEAR)
    for name in posterior.data_vars:
        value = posterior[name]
        if value.dtype.kind not in "iuf" or not {"chain", "draw"} <= set(value.dims):
            continue
        series = value.size // (value.sizes["chain"] * value.sizes["draw"])
        text = "all of it"
        if series > CHEAP and where:
            value, text = case.at("posterior", str(name), where), place(where).strip()
            series = value.size // (value.sizes["chain"] * value.sizes["draw"])
        if series > CHEAP:
            table.append([str(name), "not measured", "not measured", "not measured", "too large"])
            continue
        found = results.diagnostics(
            value.drop_vars([c for c in value.coords if c not in value.dims]).to_dataset(name=name)
        )
        worst = float(np.nanmax(_or_nan(found["r_hat"][name])))
        least = [float(np.nanmin(_or_nan(found[k][name]))) for k in ("ess_bulk", "ess_tail")]
        table.append([str(name), f"{worst:.4f}", f"{least[0]:.0f}", f"{least[1]:.0f}", text])
    return table


def _or_nan(value: Any) -> np.ndarray:
    """Values, or infinity where none is defined, so that it shows."""
    array = np.atleast_1d(np.asarray(value, float))
    return array if np.isfinite(array).any() else np.full(1, np.inf)


def _first_state(value: Any) -> Any:
    """Of parameters that each hidden state has, those of the first: the table tells of all."""
    return value.isel(state=0) if "state" in value.dims else value


def chains(cases: Sequence[Case]) -> Figure | None:
    """Rank plots of NUTS's chains, or SMC's runs: where they agree, bars are flat."""
    main = cases[0]
    if main.method not in CHAINS:
        return None
    where = main.near(NEAR)
    series: dict[str, np.ndarray] = {}
    if main.has("posterior", "p0"):
        value = _first_state(main.at("posterior", "p0", where))
        series["p0"] = value.transpose("chain", "draw").values
    if main.has("posterior", "theta_c"):
        theta = _first_state(main.at("posterior", "theta_c", where))
        theta = theta.transpose("feature", "chain", "draw")
        order = np.argsort(-np.abs(theta.mean(("chain", "draw")).values))[:3]
        series |= {
            f"θ of {printable(theta['feature'].values[i], 18)}": theta.values[i] for i in order
        }
    if not series:
        return None
    count, draws = next(iter(series.values())).shape
    bins = max(4, min(20, draws // 10))
    figure = canvas(7.5, 2.3 * ((len(series) + 1) // 2) + 0.5)
    axes = figure.subplots((len(series) + 1) // 2, 2, squeeze=False).ravel()
    for ax in axes[len(series) :]:
        ax.set_visible(False)
    for ax, (name, value) in zip(axes, series.items(), strict=False):
        ranks = np.argsort(np.argsort(value.ravel())).reshape(value.shape)
        edges = np.linspace(0, value.size, bins + 1)
        for chain in range(count):
            height = np.histogram(ranks[chain], edges)[0] / (draws / bins)
            ax.stairs(height, edges, color=COLOURS[chain % len(COLOURS)], label=f"chain {chain}")
        ax.axhline(1, color=INK, linestyle="--", linewidth=1)
        ax.set_title(name)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("rank among all draws")
        ax.set_ylabel("density")
    decorate(figure, [axes[0]], columns=4)
    summary = f"Rank plots of {', '.join(series)}{place(where)}, {count} chains of {draws} draws."
    return Figure(
        "ranks",
        CHAINS[main.method],
        f"No figure of the paper: how the ranks of each chain's draws spread{place(where)}. Chains "
        "that explore the same posterior stay near the dashed line.",
        svg(figure, "ranks", summary),
        mixing(main),
    )
