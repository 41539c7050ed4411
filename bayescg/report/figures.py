"""Figures of a lattice study: the PCG paper's Figs. 4 to 12, each where the results allow it."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import io as streams
import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from bayescg import results
from bayescg.plot import BLACK, COLOURS, band

__all__ = ["Case", "Figure", "cases_of", "lattice_figures"]

ACTIVE = 0.01  # a coefficient with a larger |posterior mean| counts as active


@dataclass(frozen=True)
class Case:
    """One result with what the figures ask of it."""

    label: str
    idata: Any
    method: str
    options: dict[str, Any]
    frames: int

    def has(self, group: str, name: str) -> bool:
        """Whether a variable is there."""
        return results.has_group(self.idata, group) and name in results.group(self.idata, group)

    def get(self, group: str, name: str) -> Any:
        """A variable."""
        return results.group(self.idata, group)[name]

    @property
    def sweep(self) -> bool:
        """Whether the result runs over mu."""
        return "mu" in self.get("observed_data", "x").dims


@dataclass(frozen=True)
class Figure:
    """A figure as it stands in the report."""

    ident: str
    title: str
    caption: str
    image: str  # PNG, base64
    table: list[list[str]] = field(default_factory=list)  # first row is the header


def cases_of(idatas: Sequence[Any], labels: Sequence[str]) -> list[Case]:
    """Results with their labels, options and number of frames."""
    out = []
    for idata, label in zip(idatas, labels, strict=True):
        attrs = results.attrs(idata)
        options = attrs.get("model_options", "{}")
        options = json.loads(options) if isinstance(options, str) else dict(options)
        frames = results.group(idata, "observed_data").sizes["frame"]
        out.append(Case(label, idata, str(attrs["method"]), options, int(frames)))
    return out


def lattice_figures(cases: list[Case]) -> tuple[list[Figure], list[str]]:
    """Every figure that the results allow, and a line for each that needs further fits."""
    makers: list[tuple[str, Callable[[list[Case]], Figure | None], str]] = [
        ("Fig. 4", _fig4, "predictions (bayescg predict)"),
        ("Fig. 5", _fig5, "a sweep over mu with predictions and a reference"),
        ("Fig. 6", _fig6, "theta_c in the posterior"),
        ("Fig. 7", _fig7, "the same fit with prior=ard and with another prior"),
        (
            "Fig. 8",
            lambda c: _bands(c, "magnetization", "frames", "fig8", "Fig. 8"),
            "sweeps with other numbers of frames",
        ),
        (
            "Fig. 9",
            lambda c: _bands(c, "correlation", "frames", "fig9", "Fig. 9"),
            "fits with other numbers of frames",
        ),
        ("Fig. 10", _fig10, "fits with other numbers of frames"),
        (
            "Fig. 11",
            lambda c: _bands(c, "magnetization", "ratio", "fig11", "Fig. 11"),
            "sweeps at other ratios",
        ),
        (
            "Fig. 12",
            lambda c: _bands(c, "correlation", "ratio", "fig12", "Fig. 12"),
            "fits at other ratios",
        ),
        ("Traces", _traces, "a method that iterates"),
    ]
    figures, missing = [], []
    for name, make, needs in makers:
        figure = make(cases)
        if figure is None:
            missing.append(f"{name}: needs {needs}.")
        else:
            figures.append(figure)
    return figures, missing


def _image(fig: Any) -> str:
    stream = streams.BytesIO()
    fig.savefig(stream, format="png", dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(fig)
    return base64.b64encode(stream.getvalue()).decode()


def _near(case: Case, mu: float) -> dict[str, float]:
    """The selection of the field nearest to ``mu``; empty without a sweep."""
    if not case.sweep:
        return {}
    at = case.get("observed_data", "x")["mu"].values
    return {"mu": float(at[np.argmin(np.abs(at - mu))])}


def _pick(value: Any, where: dict[str, float]) -> Any:
    return value.sel(where, method="nearest") if where else value


def _rmse(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean((np.asarray(a) - np.asarray(b)) ** 2)))


def _alike(main: Case, other: Case, free: str) -> bool:
    """Whether two MC-EM or NUTS fits differ in nothing but ``free``."""
    keys = ("ratio", "prior", "fine", "L2", "L3")
    same = all(main.options.get(k) == other.options.get(k) for k in keys if k != free)
    return (
        other.method == main.method and same and (free == "frames" or main.frames == other.frames)
    )


def _fig4(cases: list[Case]) -> Figure | None:
    main = cases[0]
    if not main.has("reconstruction", "X"):
        return None
    where = _near(main, 1.0)
    part = {
        k: _pick(main.get("reconstruction", k), where).isel(frame=0).values
        for k in ("X", "x_sample", "x_mean")
    }
    x = _pick(main.get("observed_data", "x"), where).isel(frame=0).values
    ratio = len(x) // len(part["X"])
    strips = [
        ("datum x", x),
        ("a latent X", np.repeat(part["X"], ratio)),
        ("x drawn from p_cf", part["x_sample"][0]),
        ("x drawn from p_cf", part["x_sample"][1]),
        ("expected x", part["x_mean"]),
    ]
    fig, axes = plt.subplots(len(strips), 1, figsize=(7.5, 2.6))
    for ax, (text, strip) in zip(axes, strips, strict=True):
        ax.imshow(
            np.asarray(strip)[None],
            aspect="auto",
            cmap="gray",
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        ax.set_yticks([])
        ax.set_xticks([])
        ax.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
    axes[-1].set_xlabel("site")
    return Figure(
        "fig4",
        "Fig. 4: a datum, its latent, its reconstructions",
        f"White is +1, black -1, grey between. {_where(where)} A latent X is one sample of "
        "the posterior of the datum's pre-image; the expected x averages draws of p_cf given it.",
        _image(fig),
    )


def _where(where: dict[str, float]) -> str:
    return f"mu = {where['mu']:g}." if where else ""


def _fig5(cases: list[Case]) -> Figure | None:
    main = cases[0]
    if not (
        main.sweep
        and main.has("posterior_predictive", "magnetization")
        and main.has("reference", "magnetization")
    ):
        return None
    exact = main.get("reference", "magnetization")
    data = main.get("observed_data", "x").mean(("frame", "site"))
    fig, (ax, below) = plt.subplots(2, 1, figsize=(6, 5.4), sharex=True, height_ratios=(3, 1.4))
    rows = [["magnetisation", "root-mean-square error over mu", "relative to the data averages"]]
    base = _rmse(data, exact)
    mu = exact["mu"].values
    ax.plot(mu, exact, color=BLACK, linestyle="--", linewidth=1, label="exact")
    series = [("data averages", data, "none", ".")]
    for case in [
        main,
        *[c for c in cases[1:] if c.method == "rem" and c.sweep and c.frames == main.frames],
    ]:
        if case.has("posterior_predictive", "magnetization"):
            point = case.get("posterior_predictive", "magnetization").mean(("chain", "draw"))
            name = f"{case.label} (posterior mean)" if case is main else case.label
            series.append((name, point, "-", ""))
    for i, (name, values, line, marker) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(mu, values, color=colour, linestyle=line, marker=marker, label=name)
        below.plot(
            mu, np.asarray(values) - np.asarray(exact), color=colour, linestyle=line, marker=marker
        )
        error = _rmse(values, exact)
        rows.append([name, f"{error:.4f}", f"{error / base:.2f}"])
    below.axhline(0, color=BLACK, linewidth=0.8)
    below.set_ylabel("error")
    below.set_xlabel("external field mu")
    ax.set_ylabel("magnetisation per site")
    ax.legend(fontsize=8)
    return Figure(
        "fig5",
        "Fig. 5: magnetisation against the external field",
        "Posterior mean of the prediction, the averages of the fitted data, and relative-entropy minimisation (REM) "
        "on the same data where given.",
        _image(fig),
        rows,
    )


def _fig6(cases: list[Case]) -> Figure | None:
    shown = [c for c in cases if c.has("posterior", "theta_c") and c.method != "rem"]
    main = cases[0]
    shown = [
        c
        for c in shown
        if c is main
        or (_alike(main, c, "prior") and c.options.get("prior") != main.options.get("prior"))
    ]
    if not shown or not main.has("posterior", "theta_c"):
        return None
    where = _near(main, 1.0)
    fig, axes = plt.subplots(
        2 if main.sweep else 1, 1, figsize=(7.5, 5.2 if main.sweep else 3), squeeze=False
    )
    ax = axes[0, 0]
    names = [str(n) for n in main.get("posterior", "theta_c")["feature"].values]
    width = 0.8 / len(shown)
    rows = [["fit", "prior", "most active features at any mu", "mean number active"]]
    for i, case in enumerate(shown):
        theta = case.get("posterior", "theta_c").mean(("chain", "draw"))
        ax.bar(
            np.arange(len(names)) + i * width,
            _pick(theta, where).values,
            width,
            color=COLOURS[i],
            label=f"{case.label} ({case.options.get('prior')})",
        )
        count = (np.abs(theta) > ACTIVE).sum("feature")
        rows.append(
            [
                case.label,
                str(case.options.get("prior")),
                str(int(count.max())),
                f"{float(count.mean()):.1f}",
            ]
        )
        if main.sweep and case.sweep:
            axes[1, 0].plot(theta["mu"].values, count.values, color=COLOURS[i], marker=".")
    ax.set_xticks(np.arange(len(names)), names, rotation=90, fontsize=7)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.set_ylabel("posterior mean of theta_c")
    ax.legend(fontsize=8)
    if main.sweep:
        axes[1, 0].set_xlabel("external field mu")
        axes[1, 0].set_ylabel("active features")
        axes[1, 0].set_ylim(bottom=0)
    fig.tight_layout()
    return Figure(
        "fig6",
        "Fig. 6: coefficients of the coarse potential",
        f"{_where(where)} A feature is active where |posterior mean| > {ACTIVE:g}. Features of "
        "Eq. 55 that coincide on the ring share a bar; the table of aliases is under Settings.",
        _image(fig),
        rows,
    )


def _fig7(cases: list[Case]) -> Figure | None:
    main = cases[0]
    others = [
        c
        for c in cases[1:]
        if _alike(main, c, "prior") and c.options.get("prior") != main.options.get("prior")
    ]
    if not others or not main.sweep or not main.has("reference", "magnetization"):
        return None
    exact = main.get("reference", "magnetization")
    fig, ax = plt.subplots(figsize=(6, 3.8))
    ax.plot(exact["mu"].values, exact, color=BLACK, linestyle="--", linewidth=1, label="exact")
    rows = [["fit", "prior", "error of the posterior mean", "error at the MAP"]]
    for i, case in enumerate([main, *others]):
        mean = case.get("posterior_predictive", "magnetization").mean(("chain", "draw"))
        ax.plot(
            mean["mu"].values,
            mean,
            color=COLOURS[i],
            label=f"{case.label} ({case.options.get('prior')})",
        )
        point = "-"
        if case.has("map_predictive", "magnetization"):
            point = f"{_rmse(case.get('map_predictive', 'magnetization'), exact):.4f}"
        rows.append(
            [case.label, str(case.options.get("prior")), f"{_rmse(mean, exact):.4f}", point]
        )
    ax.set_xlabel("external field mu")
    ax.set_ylabel("magnetisation per site")
    ax.legend(fontsize=8)
    return Figure(
        "fig7",
        "Fig. 7: magnetisation with and without ARD",
        "Point estimates of the same data under each prior.",
        _image(fig),
        rows,
    )


def _bands(cases: list[Case], name: str, free: str, ident: str, paper: str) -> Figure | None:
    main = cases[0]
    shown = [main, *[c for c in cases[1:] if _alike(main, c, free)]]
    shown = [c for c in shown if c.has("posterior_predictive", name)]
    if len(shown) < 2 or (name == "magnetization" and not main.sweep):
        return None
    key = (lambda c: c.frames) if free == "frames" else (lambda c: c.options.get("ratio"))
    shown = sorted(shown, key=key)
    fields = [0.0, 1.0] if name == "correlation" and main.sweep else [None]
    fig, axes = plt.subplots(
        len(fields),
        len(shown),
        figsize=(3.2 * len(shown), 2.9 * len(fields)),
        squeeze=False,
        sharex=True,
        sharey="row",
    )
    text = "N" if free == "frames" else "ratio"
    for row, at in enumerate(fields):
        for i, case in enumerate(shown):
            ax = band(
                case.idata,
                name,
                ax=axes[row, i],
                colour=COLOURS[i],
                select=None if at is None else _near(case, at),
            )
            ax.set_title(
                f"{text} = {key(case)}"
                + ("" if at is None else f", mu = {_near(case, at)['mu']:g}"),
                fontsize=9,
            )
            ax.set_ylabel(ax.get_ylabel() if i == 0 else "")
    axes[0, 0].legend(fontsize=7)
    fig.tight_layout()
    rows = [
        [
            text,
            "mean width of the 5-95 % interval",
            "share of points whose interval holds the reference",
        ]
    ]
    for case in shown:
        value = case.get("posterior_predictive", name)
        low, high = (value.quantile(q, ("chain", "draw")) for q in (0.05, 0.95))
        held = "-"
        if case.has("reference", name):
            exact = case.get("reference", name)
            held = f"{float(((exact >= low) & (exact <= high)).mean()):.0%}"
        rows.append([str(key(case)), f"{float((high - low).mean()):.4f}", held])
    what = "amounts of data" if free == "frames" else "levels of coarse-graining"
    return Figure(
        ident,
        f"{paper}: {name} for several {what}",
        "Posterior mean with 5-95 % credible band; dashed: the reference.",
        _image(fig),
        rows,
    )


def _fig10(cases: list[Case]) -> Figure | None:
    main = cases[0]
    shown = [main, *[c for c in cases[1:] if _alike(main, c, "frames")]]
    shown = sorted((c for c in shown if c.has("posterior", "p0")), key=lambda c: c.frames)
    if not shown:
        return None
    where = _near(main, 1.0)
    fig, ax = plt.subplots(figsize=(6, 3.2))
    rows = [["N", "posterior mean of p0", "posterior sd of p0"]]
    for i, case in enumerate(shown):
        p0 = _pick(case.get("posterior", "p0"), where).values.ravel()
        ax.hist(
            p0, bins=30, density=True, histtype="step", color=COLOURS[i], label=f"N = {case.frames}"
        )
        rows.append([str(case.frames), f"{p0.mean():.4f}", f"{p0.std(ddof=1):.4f}"])
    ax.set_xlabel("p0, probability that a child equals its parent")
    ax.set_ylabel("posterior density")
    ax.legend(fontsize=8)
    return Figure("fig10", "Fig. 10: posterior of p0", _where(where), _image(fig), rows)


def _traces(cases: list[Case]) -> Figure | None:
    main = cases[0]
    if not main.has("em_trace", "distance"):
        return None
    where = _near(main, 1.0)
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    for name, colour in (("distance", COLOURS[0]), ("noise", COLOURS[1])):
        value = main.get("em_trace", name)
        left.semilogy(
            value["iteration"].values,
            np.maximum(_pick(value, where).values, 1e-4),
            color=colour,
            label=name,
        )
    left.set_xlabel("iteration")
    left.set_ylabel("posterior standard deviations")
    left.legend(fontsize=8)
    theta = _pick(main.get("em_trace", "theta_c"), where)
    right.plot(
        theta["iteration"].values, theta.transpose("iteration", "feature").values, linewidth=0.8
    )
    right.set_xlabel("iteration")
    right.set_ylabel("theta_c")
    fig.tight_layout()
    return Figure(
        "traces",
        "How MC-EM went",
        f"{_where(where)} Left: largest Newton step still to go, and its Monte Carlo error. Right: the coefficients.",
        _image(fig),
    )
