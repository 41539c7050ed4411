"""Figs. 4 to 7 of the PCG paper: a reconstruction, and point estimates compared."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg.plot import AXES, VALUES
from bayescg.report.case import Case, alike, among, number, rmse, same_data, shared, unread
from bayescg.report.drawing import GREY, INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow

__all__ = [
    "ACTIVE",
    "EXACT",
    "NEAR",
    "SOLID",
    "active",
    "coefficients",
    "place",
    "priors",
    "reconstruction",
    "versus",
]

#: A coefficient whose posterior mean is larger in size counts as active.
ACTIVE = 0.01
#: Draws that an expected fine configuration averages, where the file does not say.
EXPECTED_OVER = 400
#: The field at which one is shown, or the nearest that was fitted.
NEAR = 1.0
#: Cells without seams between them.
SOLID: dict[str, Any] = {"edgecolors": "face", "linewidth": 0.4}
EXACT: dict[str, Any] = {"color": INK, "linestyle": "--", "linewidth": 1.2}


def place(where: dict[str, Any]) -> str:
    """A selection in words, `` at μ = 1``; nothing without a sweep."""
    return "".join(f" at {symbol(d)} = {number(float(v))}" for d, v in where.items())


def symbol(dim: str | None) -> str:
    """A sweep's letter."""
    return {"mu": "μ", None: ""}.get(dim, str(dim))


def reconstruction(cases: Sequence[Case]) -> Figure | None:
    """Fig. 4: a datum, one pre-image, what it says about the fine scale."""
    main = cases[0]
    needed = ("X", "x_sample", "x_mean")
    if not main.has("observed_data", "x") or not all(main.has("reconstruction", n) for n in needed):
        return None
    where = main.near(NEAR)
    x = main.at("observed_data", "x", where).isel(frame=0).values
    parts = [main.at("reconstruction", n, where).isel(frame=0) for n in needed]
    if parts[1].sizes["sample"] < 2 or x.size % parts[0].size:
        return None
    strips = [
        ("datum x", x),
        ("latent X", np.repeat(parts[0].values, x.size // parts[0].size)),
        ("sample of x", parts[1].isel(sample=0).values),
        ("expected x", parts[2].values),
        ("sample of x", parts[1].isel(sample=1).values),
    ]
    figure = canvas(7, 2.5)
    axes = figure.subplots(len(strips), 1, sharex=True)
    edges = np.arange(x.size + 1)
    for ax, (text, strip) in zip(axes, strips, strict=True):
        ax.pcolormesh(
            edges, [0, 1], np.asarray(strip, float)[None], cmap="gray", vmin=-1, vmax=1, **SOLID
        )
        ax.set_yticks([])
        ax.set_ylabel(text, rotation=0, ha="right", va="center")
        ax.spines[:].set_visible(True)
        ax.spines[:].set_linewidth(0.8)
        ax.tick_params(bottom=ax is axes[-1])
    axes[-1].set_xlabel("fine site")
    left = float(np.mean(np.sign(parts[2].values) == x))
    drawn = parts[2].attrs.get("draws", EXPECTED_OVER)
    summary = (
        f"Strips of {x.size} fine spins{place(where)}: the datum, a latent coarse configuration of "
        f"{parts[0].size} spins, and its reconstructions."
    )
    return Figure(
        "fig4",
        "A datum, its latent, its reconstructions (Fig. 4)",
        f"Fig. 4 of the PCG paper remade{place(where)}: white is +1, black is −1. The latent X is one "
        "sample from the posterior of the first datum's pre-image, each coarse spin drawn over its "
        "children. Below it two samples of p_cf(x | X), and between them the expected fine "
        f"configuration, estimated by the average of {drawn} draws (so its shades are noisy: equal "
        "parents need not give equal greys), whose sign agrees with the datum at "
        f"{left:.0%} of the sites.",
        svg(figure, "fig4", summary),
    )


def role(case: Case) -> str:
    """What a fit is, for a legend."""
    if case.method != "rem":
        return f"{case.name}: {'point estimate' if case.is_point else 'posterior mean'}"
    if case.options.get("fine") == "majority":
        return f"{case.name}: REM, literal (majority map)"
    ties = "random ties" if case.options.get("ties") == "random" else "ties to +1"
    return f"{case.name}: REM, fairer (flip map, {ties})"


def versus(cases: Sequence[Case]) -> Figure | None:
    """Fig. 5: magnetisation of the main fit, of the data, and of REM, against the reference."""
    name, main = "magnetization", cases[0]
    if not main.predicted(name):
        return None
    others = [c for c in cases[1:] if c.method == "rem" and c.predicted(name) and c.dim == main.dim]
    others = [c for c in others if c.options.get("ratio") == main.options.get("ratio")]
    others = [c for c in others if same_data(main, c)]
    shown = [main, *others]
    at = shared(shown, predicted=True)
    if main.dim is not None and not at.size:
        return None
    series = [(role(c), at, _along(c, c.mean(name), at), c.colour, c.line, "") for c in shown]
    here = at[among(at, main.sweep)]  # predicted, and fitted
    if main.has("observed_data", "x") and (main.dim is None or here.size):
        x = main.get("observed_data", "x").mean(("frame", "site"))
        text = f"averages of the {main.frames} data"
        if here.size < at.size:
            text += f" at the {here.size} fields that were fitted"
        series.insert(0, (text, here, _along(main, x, here), GREY, "", "o"))
    exact = None
    if main.has("reference", name):
        whole = main.get("reference", name)
        exact = [_along(main, whole, s[1]) for s in series]
    table = _errors(series, exact)
    if main.dim is None:
        return _single(main, series, None if exact is None else exact[0], table)
    figure = canvas(7, 5.2 if exact is not None else 3.6)
    rows = 1 if exact is None else 2
    ratios = (3, 1.6)[:rows]
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    if exact is not None:
        axes[0].plot(at, exact[-1], label="reference", **EXACT)
        follow(axes[0], "reference", at, exact[-1])
        axes[1].axhline(0, **EXACT)
        axes[1].set_ylabel("minus reference")
    for i, (text, where, values, colour, line, marker) in enumerate(series):
        style = {"color": colour, "linestyle": line, "marker": marker, "markersize": 4}
        axes[0].plot(where, values, label=text, **style)
        follow(axes[0], text, where, values, colour=colour)
        if exact is not None:
            axes[1].plot(where, values - exact[i], **style)
            follow(axes[1], f"{text}, minus reference", where, values - exact[i], colour=colour)
    axes[0].set_ylabel(VALUES[name])
    axes[-1].set_xlabel(AXES.get(str(main.dim), str(main.dim)))
    decorate(figure, [axes[0]], columns=1)
    summary = f"Magnetisation against {symbol(main.dim)}: " + "; ".join(
        f"{row[0]} {row[1]}" for row in table[1:]
    )
    return Figure(
        "fig5",
        "Magnetisation against the field (Fig. 5)",
        f"Fig. 5 of the PCG paper remade: {'' if exact is None else 'the reference, '}the averages of the fitted "
        "data, the posterior mean of the main fit"
        + (", and relative-entropy minimisation (REM) on the same data" if others else "")
        + f"; {at.size} fields that all of them have."
        + ("" if exact is not None else " No reference is given."),
        svg(figure, "fig5", summary),
        table,
    )


def _along(case: Case, value: Any, at: np.ndarray) -> np.ndarray:
    return np.asarray(value if case.dim is None else value.sel({case.dim: at}, method="nearest"))


def _errors(series: list[Any], exact: list[np.ndarray] | None) -> list[list[str]]:
    if exact is None:
        if np.ndim(series[0][2]):
            return []
        return [["estimate", "magnetisation"], *([s[0], number(float(s[2]))] for s in series)]
    table = [["estimate", "RMSE against the reference", "relative to the data averages"]]
    base = rmse(series[0][2], exact[0]) if series[0][5] else float("nan")
    for (text, _, values, *_), beside in zip(series, exact, strict=True):
        error = rmse(values, beside)
        table.append([text, number(error), number(error / base) if base > 0 else "none"])
    return table


def _single(
    main: Case, series: list[Any], exact: np.ndarray | None, table: list[list[str]]
) -> Figure:
    """One field: the predictive density with the point values as lines."""
    figure = canvas(7, 3.2)
    ax = figure.subplots()
    draws = main.get("posterior_predictive", "magnetization").values.ravel()
    if draws.size > 9:
        ax.hist(draws, bins=30, density=True, color=main.colour, alpha=0.3, label="posterior draws")
    for text, _, value, colour, line, _ in series:
        ax.axvline(float(value), color=colour, linestyle=line or ":", label=text)
    if exact is not None:
        ax.axvline(float(exact), label="reference", **EXACT)
    ax.set_xlabel(VALUES["magnetization"])
    ax.set_ylabel("posterior density")
    decorate(figure, [ax], columns=1)
    summary = "Predicted magnetisation of one field: " + "; ".join(
        f"{s[0]} {number(float(s[2]))}" for s in series
    )
    return Figure(
        "fig5",
        "Magnetisation (Fig. 5, one field)",
        "Fig. 5 of the PCG paper at the one field that was fitted.",
        svg(figure, "fig5", summary),
        table,
    )


def active(case: Case) -> Any:
    """Number of active features, by value of the sweep."""
    mean = case.get("posterior", "theta_c").mean(("chain", "draw"))
    return (np.abs(mean) > ACTIVE).sum("feature")


def coefficients(cases: Sequence[Case]) -> Figure | None:
    """Fig. 6: posterior means of theta_c, with ARD and without, and how many are active."""
    main = cases[0]
    if not main.has("posterior", "theta_c") or "state" in main.get("posterior", "theta_c").dims:
        return None
    names = main.features
    shown = [main]
    for case in cases[1:]:
        known = case.has("posterior", "theta_c") and case.dim == main.dim
        if known and _other_prior(main, case):
            if case.features == names:
                shown.append(case)
    where = main.near(NEAR)
    rows = 1 if main.dim is None else 2
    figure = canvas(7.5, 3.2 if rows == 1 else 5.4)
    axes = figure.subplots(rows, 1, squeeze=False, height_ratios=(3, 2)[:rows])[:, 0]
    width = 0.8 / len(shown)
    table = [["fit", "prior", f"active features{place(where)}", "most at any field", "mean"]]
    for i, case in enumerate(shown):
        theta = case.at("posterior", "theta_c", where).mean(("chain", "draw")).values
        text = f"{case.name}: prior {case.prior}"
        spot = np.arange(len(names)) + (i + 0.5) * width - 0.4
        axes[0].bar(spot, theta, width, color=case.colour, label=text)
        follow(axes[0], text, np.arange(len(names)), theta, names=names, colour=case.colour)
        count = active(case)
        here = int((np.abs(theta) > ACTIVE).sum())
        most, mean = int(count.max()), number(float(count.mean()))
        table.append([case.label, case.prior, f"{here} of {len(names)}", str(most), mean])
        if rows == 2:
            style = {"color": case.colour, "linestyle": case.line, "marker": "o", "markersize": 3}
            axes[1].plot(case.sweep, count.values, **style)
            follow(axes[1], text, case.sweep, count, colour=case.colour)
    axes[0].axhline(0, color=INK, linewidth=0.8)
    axes[0].set_xticks(np.arange(len(names)), names, rotation=90, fontsize=8)
    axes[0].set_xlim(-0.7, len(names) - 0.3)
    axes[0].set_ylabel("posterior mean of θ")
    if rows == 2:
        axes[1].set_xlabel(AXES.get(str(main.dim), str(main.dim)))
        axes[1].set_ylabel(f"number with |θ| > {ACTIVE:g}")
        axes[1].set_ylim(0, len(names) + 1)
    decorate(figure, [axes[0]], columns=1)
    summary = f"Coefficients of {len(names)} features{place(where)}: " + "; ".join(
        f"{row[0]} has {row[2]} active" for row in table[1:]
    )
    return Figure(
        "fig6",
        "Coefficients of the coarse potential (Fig. 6)",
        f"Fig. 6 of the PCG paper remade{place(where)}: posterior means of the coefficients of "
        "Eq. 55"
        + ("; below, how many are active at each field. " if rows == 2 else ". ")
        + f"A feature is active where the posterior mean exceeds {ACTIVE:g} in size. Features of "
        "Eq. 55 that coincide on the ring have one bar; see the table of features.",
        svg(figure, "fig6", summary),
        table,
    )


def _other_prior(main: Case, case: Case) -> bool:
    if "prior" in unread(main):  # then the option says nothing of the fit
        return False
    return alike(main, case, "prior") and case.options.get("prior") != main.options.get("prior")


def priors(cases: Sequence[Case]) -> Figure | None:
    """Fig. 7: magnetisation under each prior, posterior mean and MAP plug-in."""
    name, main = "magnetization", cases[0]
    others = [c for c in cases[1:] if _other_prior(main, c) and c.predicted(name)]
    others = [c for c in others if c.dim == main.dim and same_data(main, c)]
    if not others or main.dim is None or not main.predicted(name):
        return None
    shown = [main, *others]
    at = shared(shown, predicted=True)
    if not at.size:
        return None
    exact = _along(main, main.get("reference", name), at) if main.has("reference", name) else None
    rows = 1 if exact is None else 2
    figure = canvas(7, 5.2 if rows == 2 else 3.6)
    ratios = (3, 1.6)[:rows]
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    table = [["fit", "prior", "RMSE of the posterior mean", "RMSE of the MAP plug-in"]]
    if exact is not None:
        axes[0].plot(at, exact, label="reference", **EXACT)
        follow(axes[0], "reference", at, exact)
        axes[1].axhline(0, **EXACT)
        axes[1].set_ylabel("minus reference")
    for case in shown:
        curves = [("posterior mean", case.mean(name))]
        if case.has("map_predictive", name):
            curves.append(("MAP", case.get("map_predictive", name)))
        errors = ["none", "none"]
        for i, (text, value) in enumerate(curves):
            values = _along(case, value, at)
            style: dict[str, Any] = {"color": case.colour}
            style |= {"linestyle": case.line} if i == 0 else {"linestyle": "", "marker": "x"}
            label = f"{case.name}, prior {case.prior}: {text}"
            axes[0].plot(at, values, label=label, markersize=5, **style)
            follow(axes[0], label, at, values, colour=case.colour)
            if exact is not None:
                axes[1].plot(at, values - exact, markersize=5, **style)
                follow(axes[1], f"{label}, minus reference", at, values - exact, colour=case.colour)
                errors[i] = number(rmse(values, exact))
        table.append([case.label, case.prior, *errors])
    axes[0].set_ylabel(VALUES[name])
    axes[-1].set_xlabel(AXES.get(str(main.dim), str(main.dim)))
    decorate(figure, [axes[0]], columns=1)
    summary = "Magnetisation under each prior: " + "; ".join(
        f"{row[0]} ({row[1]}) RMSE {row[2]}" for row in table[1:]
    )
    return Figure(
        "fig7",
        "Magnetisation with and without ARD (Fig. 7)",
        "Fig. 7 of the PCG paper remade: lines are posterior means, crosses the prediction at the "
        "MAP alone; the same data under each prior.",
        svg(figure, "fig7", summary),
        table if exact is not None else [],
    )
