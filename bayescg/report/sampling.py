"""How well draws that come in chains can be trusted: traces, ranks, and what is measured on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg import results
from bayescg.plot import COLOURS
from bayescg.report.case import Case, number, printable
from bayescg.report.curves import NEAR, place
from bayescg.report.drawing import INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow
from bayescg.report.parameters import physical

__all__ = [
    "CHAINS",
    "CHEAP",
    "LOW_BFMI",
    "chains",
    "divergences",
    "information",
    "mixing",
    "sampled",
]

#: Most series of draws whose diagnostics are measured; ArviZ takes about a millisecond for each.
CHEAP = 300
#: Methods whose draws come in chains that can be compared, and what those are.
CHAINS = {"nuts": "Chains of NUTS", "smc": "Runs of SMC"}
#: Parameters that are drawn.
MOST = 4
#: Draws of a chain that are drawn; more would be finer than a screen shows.
DRAWN = 300
#: Fraction of missing information (E-BFMI) below which momenta hardly change the energy (Betancourt 2016).
LOW_BFMI = 0.3


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


def _series(case: Case, where: dict[str, Any]) -> dict[str, np.ndarray]:
    """Draws of some parameters, ``(chain, draw)``: physical ones, the coefficient that mixes worst, the largest."""
    found: dict[str, np.ndarray] = {}
    if case.has("posterior", "p0"):
        value = _first_state(case.at("posterior", "p0", where))
        if set(value.dims) == {"chain", "draw"}:
            found["p0"] = value.transpose("chain", "draw").values
    if case.dim is None:
        for quantity in [q for q in physical(case) if q.name != "p0"][: MOST - 1]:
            value = quantity.of(case, "posterior")
            found[quantity.label] = value.transpose("chain", "draw").values
    if not case.has("posterior", "theta_c"):
        return found
    theta = _first_state(case.at("posterior", "theta_c", where))
    theta = theta.transpose("feature", "chain", "draw")
    names = [printable(n, 18) for n in theta["feature"].values]
    order = list(np.argsort(-np.abs(theta.mean(("chain", "draw")).values)))
    worst = _worst(case, where, [str(n) for n in theta["feature"].values])
    if worst is not None:
        order.remove(worst)
        order.insert(0, worst)
    for i in order[: max(1, MOST - len(found))]:
        note = ", which mixes worst" if i == worst else ""
        found[f"θ of {names[i]}{note}"] = theta.values[i]
    return found


def _worst(case: Case, where: dict[str, Any], features: list[str]) -> int | None:
    """The coefficient with the largest R-hat, where the fit measured it."""
    if not case.has("health", "r_hat"):
        return None
    value = case.at("health", "r_hat", where)
    if value.dims != ("parameter",):
        return None
    known = dict(zip((str(n) for n in value["parameter"].values), value.values, strict=True))
    called = [(f"theta_c[{i}]", f"theta_c[{f}]") for i, f in enumerate(features)]
    rhat = [float(known.get(one, known.get(other, np.nan))) for one, other in called]
    return int(np.nanargmax(rhat)) if np.isfinite(rhat).any() else None


def sampled(cases: Sequence[Case]) -> Figure | None:
    """Traces of NUTS's chains, draw by draw, and the sampler's own diagnostics."""
    main = cases[0]
    if main.method != "nuts":  # draws of other methods have no order in time
        return None
    where = main.near(NEAR)
    series = _series(main, where)
    if not series:
        return None
    figure = canvas(7.5, 1.7 * len(series) + 0.5)
    axes = figure.subplots(len(series), 2, squeeze=False, sharey="row", width_ratios=(4, 1))
    count, draws = next(iter(series.values())).shape
    kept = np.unique(np.linspace(0, draws - 1, DRAWN).round().astype(int))
    for (ax, beside), (name, value) in zip(axes, series.items(), strict=True):
        edges = np.histogram_bin_edges(value, int(np.clip(value.size // 25, 6, 30)))
        for chain in range(count):
            colour = COLOURS[chain % len(COLOURS)]
            label = f"chain {chain}"
            ax.plot(kept, value[chain, kept], color=colour, linewidth=0.7, label=label)
            follow(ax, label, kept, value[chain, kept], colour=colour)
            if np.ptp(edges) > 0.0:
                style: dict[str, Any] = {"histtype": "step", "density": True, "color": colour}
                beside.hist(value[chain], edges, orientation="horizontal", **style)
        ax.set_title(name, fontsize=9)
        beside.set_xticks([])
    axes[-1, 0].set_xlabel("draw")
    axes[-1, 1].set_xlabel("density")
    decorate(figure, [axes[0, 0]], columns=4)
    thinned = f" Of the {draws} draws {len(kept)} are drawn." if len(kept) < draws else ""
    table = _sampler(main)
    summary = f"Traces of {', '.join(series)}{place(where)}, {count} chains of {draws} draws."
    told = "; ".join(f"{row[0]} {row[1]}" for row in table[1:])
    return Figure(
        "chains",
        "Traces of the chains",
        f"No figure of the paper: what each chain drew{place(where)}, after warm-up, and beside it the density of its "
        "draws. Chains that have forgotten where they began look alike, without drift, and their densities "
        f"agree.{thinned} The table is over the whole posterior: a divergent transition is one whose trajectory "
        "left the region that its step size can follow; E-BFMI is how far the momenta move the energy, relative to "
        f"its spread, and below {LOW_BFMI:g} tails are explored slowly.",
        svg(figure, "chains", f"{summary} {told}."),
        table,
    )


def divergences(case: Case) -> int | None:
    """Divergent transitions; None where the file does not say."""
    if not case.has("sample_stats", "diverging"):
        return None
    return int(case.get("sample_stats", "diverging").sum())


def information(case: Case) -> float | None:
    """Smallest E-BFMI of a chain (Betancourt 2016, arXiv:1604.00695); None where energies are not known.

    Nor where latents move between two transitions: energies of neighbouring ones then differ by that, too.
    """
    learned = case.method_options.get("log_partition", "exact") != "exact"
    if learned or not case.has("sample_stats", "energy"):
        return None
    energy = case.get("sample_stats", "energy")
    if energy.sizes["draw"] < 2:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = (energy.diff("draw") ** 2).mean("draw") / energy.var("draw")
    least = float(moved.min())
    return least if np.isfinite(least) else None


def _sampler(case: Case) -> list[list[str]]:
    """What the sampler says of itself; empty where it says nothing."""
    rows = []
    diverged = divergences(case)
    if diverged is not None:
        many = case.get("sample_stats", "diverging").size
        rows.append(["divergent transitions", f"{diverged} of {many}"])
    if case.has("sample_stats", "accept_prob"):
        accepted = number(float(case.get("sample_stats", "accept_prob").mean()))
        wanted = case.method_options.get("target_accept")
        asked = f" ({wanted:g} was asked for)" if isinstance(wanted, int | float) else ""
        rows.append(["mean acceptance probability", f"{accepted}{asked}"])
    if case.has("sample_stats", "num_steps"):
        steps = case.get("sample_stats", "num_steps").values
        rows.append(["leapfrog steps of a transition, median", number(float(np.median(steps)))])
        depth = case.method_options.get("max_tree_depth")
        if isinstance(depth, int):
            full = float(np.mean(steps >= 2**depth - 1))
            rows.append(
                [f"transitions that reached the largest tree, depth {depth}", f"{full:.1%}"]
            )
    least = information(case)
    if least is not None:
        doubt = f", below {LOW_BFMI:g}" if least < LOW_BFMI else ""
        rows.append(["smallest E-BFMI of a chain", f"{number(least)}{doubt}"])
    return [["diagnostic", "value"], *rows] if rows else []


def chains(cases: Sequence[Case]) -> Figure | None:
    """Rank plots of NUTS's chains, or SMC's runs: where they agree, bars are flat."""
    main = cases[0]
    if main.method not in CHAINS:
        return None
    where = main.near(NEAR)
    series = _series(main, where)
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
            middles = 0.5 * (edges[1:] + edges[:-1])
            follow(ax, f"chain {chain}", middles, height, colour=COLOURS[chain % len(COLOURS)])
        ax.axhline(1, color=INK, linestyle="--", linewidth=1)
        ax.set_title(name, fontsize=9)
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
