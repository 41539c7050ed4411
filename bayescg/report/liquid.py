"""What the report says of particle systems: data, search, predictions and how far to trust them."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator
import numpy as np

from bayescg.plot import COLOURS, interval_of, percent
from bayescg.report.case import ABSENT, Case, number
from bayescg.report.curves import ACTIVE
from bayescg.report.drawing import INK, Figure, canvas, decorate, svg
from bayescg.report.hover import follow, follow_lines
from bayescg.report.parameters import UNITS, physical, switched_off
from bayescg.report.structure import NAMES, RANGE, agreement, noise_share
from bayescg.report.traces import counted, remaining

__all__ = [
    "NAMES",
    "NUMBERS",
    "bulk",
    "doubts",
    "ended",
    "frames",
    "numbers",
    "overview",
    "parameters",
    "reliability",
    "search",
]

#: Below this many pooled samples a prediction is rough.
FEW_SAMPLES = 100.0
#: Acceptance of the E-step's moves below which it hardly moves.
STUCK = 0.3
#: How far the spread of q_i may be from sigma2, relative to it.
APART = 0.03
#: Monte Carlo error, as a share of a band's width, that shows in the band.
NOISY = 0.15
#: The same as a share of the variance of draws, for quantities of one value a draw.
MOSTLY = 0.5
#: Coverage of the reference this far below the nominal is said.
MISSED = 0.3
MEANINGS = {
    ("epsilon", ""): "depth of Lennard-Jones (Eq. 68)",
    ("sigma", ""): "length of Lennard-Jones (Eq. 68)",
    ("sigma2", ""): "variance of a fine site about its coarse one (Eq. 61)",
    ("sigma2", "axis"): "variance of a fine site about its coarse one along this axis of the box",
    ("sigma2", "component"): "variance of a fine site about its coarse one in this component",
    ("weights", "component"): "share of the fine sites in this component",
}
#: Predicted quantities of one value a draw.
BULK = {
    "pressure": "pressure of the coarse model / bar, median (10–90 %)",
    "bulk_modulus": "its bulk modulus / bar, median (10–90 %)",
    "compressibility": "its compressibility / bar⁻¹, median (10–90 %)",
    "coordination": "coordination number, median (10–90 %)",
    "tetrahedral_order": "tetrahedral order parameter, median (10–90 %)",
}
NUMBERS = {
    "switched_off": f"coefficients switched off (|θ| < {ACTIVE:g} kcal/mol)",
    "rdf_rmse": f"RDF, RMSE of the posterior mean ({RANGE[0]:g} to {RANGE[1]:g} Å)",
    "map_rdf_rmse": "RDF, RMSE of the MAP plug-in",
    "rdf_peak": "RDF, height of the first peak",
    "rdf_peak_exact": "RDF, its height in the reference",
    "rdf_covered": f"RDF, reference inside the {percent(interval_of('rdf'))} band",
    "rdf_width": f"RDF, mean width of the {percent(interval_of('rdf'))} band",
    "adf_relative_rmse": "ADF, RMSE of the posterior mean, relative to its mean",
    "map_adf_relative_rmse": "ADF, RMSE of the MAP plug-in, relative",
    "adf_covered": f"ADF, reference inside the {percent(interval_of('adf'))} band",
    "adf_width": f"ADF, mean width of the {percent(interval_of('adf'))} band, relative",
    "effective_samples_min": "effective samples behind a draw's prediction, fewest",
    **BULK,
}


def numbers(case: Case) -> dict[str, Any]:
    """Key numbers of a fit of particles."""
    found: dict[str, Any] = {}
    if case.has("posterior", "theta_c"):
        found["switched_off"] = switched_off(case)
    for name, error in (("rdf", "rdf_rmse"), ("adf", "adf_relative_rmse")):
        value = agreement(case, name)
        if value is None:
            continue
        at_map = value.error if case.is_point else value.at_map
        found[error] = None if case.is_point else value.error
        found |= {f"map_{error}": at_map, f"{name}_width": value.width}
        found[f"{name}_covered"] = None if value.covered is None else f"{value.covered:.0%}"
        if name == "rdf" and value.peak is not None:
            found["rdf_peak"] = value.peak[1]
            found["rdf_peak_exact"] = None if value.exact_peak is None else value.exact_peak[1]
    found |= bulk(case)
    return {k: v for k, v in found.items() if v is not None}


def bulk(case: Case) -> dict[str, Any]:
    """Predicted quantities of one value a draw, and how many samples stand behind them."""
    found: dict[str, Any] = {}
    effective = _effective(case)
    if effective is not None:
        found["effective_samples_min"] = float(effective.min())
    for name in BULK:
        if case.predicted(name):
            value = case.get("posterior_predictive", name)
            found[name] = _middle(value.values.ravel())
    if case.predicted("bulk_modulus"):
        bulk = case.get("posterior_predictive", "bulk_modulus").values.ravel()
        found["compressibility"] = _compressibility(bulk)
    return found


def _effective(case: Case) -> np.ndarray | None:
    """Effective number of pooled samples behind each draw's prediction."""
    if not case.has("posterior_predictive", "effective_samples"):
        return None
    return np.asarray(case.get("posterior_predictive", "effective_samples").values, float).ravel()


def _with_error(values: np.ndarray) -> str:
    """Mean and standard deviation of draws; one draw alone has no deviation."""
    text = number(float(values.mean()))
    return text if values.size < 2 else f"{text} ± {_short(float(values.std(ddof=1)))}"


def _short(value: float) -> str:
    return number(float(f"{value:.2g}"))


def _compressibility(bulk: np.ndarray) -> str:
    """Median and interval of the reciprocal, which has a pole where the bulk modulus is zero."""
    high, middle, low = np.quantile(bulk, [0.1, 0.5, 0.9])
    if middle <= 0.0:
        return "none: at constant pressure the model would fall apart"
    text = number(1.0 / float(middle))
    if bulk.size < 2:
        return text
    upwards = f"to {number(1.0 / float(high))}" if high > 0.0 else "and more, without a bound"
    return f"{text} ({number(1.0 / float(low))} {upwards})"


def _middle(values: np.ndarray) -> str:
    """Median and 10-90 % interval of draws, which a few wild ones cannot move."""
    low, middle, high = (number(float(v)) for v in np.quantile(values, [0.1, 0.5, 0.9]))
    return middle if values.size < 2 else f"{middle} ({low} to {high})"


def frames(case: Case) -> str:
    """How many frames were fitted, of how many, and what they are worth."""
    text = f"{case.frames} fitted"
    given, s = case.attrs.get("frames_given"), case.attrs.get("statistical_inefficiency")
    if isinstance(given, int | float):
        text += f" of {given:g} given"
    if case.effective is None:
        return f"{text}; how many independent ones they are worth was not measured"
    text += f"; worth {case.effective_in_words} independent ones"
    if isinstance(s, int | float):
        text += f" (statistical inefficiency of the given frames {number(s)}; 1 is uncorrelated)"
    return text


def overview(case: Case) -> list[tuple[str, str]]:
    """What was fitted, on what, and how the search ended: terms with their meaning."""
    rows = [("frames", frames(case)), ("ended", ended(case))]
    step = _latent_step(case)
    if step:
        rows.append(("E-step", step))
    if case.has("posterior", "theta_c"):
        many = case.get("posterior", "theta_c").sizes["feature"]
        of = "pair potential"
        if case.has("posterior", "epsilon"):
            of = "correction to Lennard-Jones (Eqs. 65–67)"
        text = f"{many} coefficients of the {of}, in kcal/mol"
        rows.append(("θ", text))
    return rows + parameters(case)


def parameters(case: Case) -> list[tuple[str, str]]:
    """Parameters of one value a draw, and of maps of several: mean, standard deviation, meaning."""
    rows = []
    for quantity in physical(case):
        value = quantity.of(case, "posterior")
        unit = str(value.attrs.get("units", "1"))
        unit = "" if unit == "1" else f" {UNITS.get(unit, unit)}"
        text = _with_error(value.values.ravel())
        meaning = MEANINGS.get((quantity.name, quantity.dim))
        told = f"; {meaning}" if meaning else ""
        rows.append((quantity.label, f"{text}{unit}{told}"))
    return rows


def ended(case: Case) -> str:
    """How a search by MC-EM ended."""
    text = str(case.attrs.get("ended", "not recorded"))
    if case.has("em_trace", "distance"):
        text += f" after {case.get('em_trace', 'distance').size} iterations"
    sweeps = case.attrs.get("sweeps_per_chain")
    if isinstance(sweeps, int):
        text += f" ({sweeps} trajectories of each chain)"
    if case.has("map", "distance"):
        far = float(np.max(case.get("map", "distance").values))
        text += f"; the Newton step left is {number(far)} posterior sd in the worst parameter"
        if case.has("map", "noise"):
            text += (
                f", its Monte Carlo error {number(float(np.max(case.get('map', 'noise').values)))}"
            )
    return text


def _holes(case: Case) -> list[str]:
    """Where no data speak against a hole in the potential there must be none."""
    core = case.options.get("core")
    if not isinstance(core, int | float) or not case.has("posterior", "pair_potential"):
        return []
    u = case.get("posterior", "pair_potential")
    below = u.sel(r=slice(None, float(core))).stack(s=("chain", "draw")).transpose("s", "r").values
    wrong = (np.diff(below, axis=1) >= 0.0).any(1)
    if not wrong.any():
        return []
    return [
        f"The pair potential of {wrong.sum()} of {len(wrong)} draws is not repulsive throughout below "
        f"{core:g} Å, where there are no data: a simulation can fall in."
    ]


def _last(case: Case, name: str) -> float | None:
    """The last value of a trace; None where the fit has no such trace, or it is zero throughout."""
    if not case.has("em_trace", name):
        return None
    value = case.get("em_trace", name).values
    return float(value[-1]) if value.ndim == 1 and np.any(value) else None


def _variances(case: Case) -> np.ndarray:
    """The variance of a coordinate at every iteration; of a map with several their mean."""
    sigma2 = np.asarray(case.get("em_trace", "sigma2").values)
    if sigma2.ndim == 1:
        return sigma2
    if case.has("em_trace", "weights"):
        return np.asarray(np.sum(case.get("em_trace", "weights").values * sigma2, 1))
    return np.asarray(sigma2.mean(1))


def _spread(case: Case) -> tuple[float, float] | None:
    """Mean square of x - X in the last E-step, and the (mean) sigma2 that it was sampled at."""
    gap = _last(case, "latent_gap")
    if gap is None or not case.has("em_trace", "sigma2"):
        return None
    sigma2 = _variances(case)
    return (gap, float(sigma2[-2])) if len(sigma2) > 1 and sigma2[-2] > 0 else None


def _latent_step(case: Case) -> str:
    """How the latent sites moved, and whether their spread is what sigma2 says."""
    accepted, apart = _last(case, "latent_change"), _spread(case)
    parts = []
    if accepted is not None:
        parts.append(f"{accepted:.0%} of the moves of the latent sites were accepted")
    if apart is not None:
        gap, sigma2 = apart
        parts.append(
            f"their mean square distance x − X, a coordinate, was {number(gap)} Å² at sigma2 = "
            f"{number(sigma2)} Å²: a ratio of {gap / sigma2:.3f}, which is 1 at the optimum (Eq. 62)"
        )
    return "; ".join(parts)


def search(cases: Sequence[Case]) -> Figure | None:
    """How MC-EM went: what is left to the optimum, the E-step, the parameters."""
    main = cases[0]
    if not main.has("em_trace", "distance") or main.dim is not None:
        return None
    trace = counted(main.get("em_trace", "distance"))
    latent = _last(main, "latent_gap") is not None and main.has("em_trace", "sigma2")
    moving = [n for n in ("sigma", "epsilon") if main.has("em_trace", n)]
    known = [[True, latent], [_last(main, "latent_change") is not None, bool(moving)]]
    names = [["far", "gap"], ["accepted", "moving"]]
    chosen = [
        n for row, has in zip(names, known, strict=True) for n, h in zip(row, has, strict=True) if h
    ]
    rows = -(-len(chosen) // 2)
    figure = canvas(7.5, 2.5 * rows + 0.5)
    grid = figure.subplots(rows, min(2, len(chosen)), squeeze=False).ravel()
    for ax in grid[len(chosen) :]:
        ax.set_visible(False)
    axes = dict(zip(chosen, grid, strict=False))
    stop = remaining(axes["far"], main, {})
    axes["far"].legend(fontsize=8)
    if "gap" in axes:
        ax = axes["gap"]
        # An E-step is made at what the iteration before it left.
        sigma2, gap = _variances(main), main.get("em_trace", "latent_gap").values
        ax.plot(trace[1:], sigma2[:-1], color=COLOURS[0], label="sigma2")
        ax.plot(trace[1:], gap[1:], "--", color=COLOURS[2], label="mean square of x − X")
        ax.set_ylim(bottom=0)
        ax.set_ylabel("Å²")
        follow_lines(ax)
        ax.legend(fontsize=8)
    if "accepted" in axes:
        share = main.get("em_trace", "latent_change").values
        axes["accepted"].plot(trace, share, color=COLOURS[4])
        follow(axes["accepted"], "accepted", trace, share, colour=COLOURS[4])
        axes["accepted"].set_ylim(0, 1.02)
        axes["accepted"].set_ylabel("acceptance of the E-step")
    if "moving" in axes:
        for name, colour in zip(moving, (COLOURS[0], COLOURS[1]), strict=False):
            value = main.get("em_trace", name).values
            axes["moving"].plot(trace, value / value[-1], color=colour, label=name)
        axes["moving"].axhline(1, color=INK, linewidth=0.7)
        axes["moving"].set_ylabel("relative to the last")
        follow_lines(axes["moving"])
        axes["moving"].legend(fontsize=8)
    for ax in axes.values():
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    decorate(figure, [])
    step = _latent_step(main)
    summary = f"The search, {len(trace)} iterations: {ended(main)}. {step}"
    about = [
        "the largest Newton step that is left, in posterior standard deviations, and its Monte Carlo "
        "error"
    ]
    if "gap" in axes:
        about.append(
            "the variance sigma2 (Eq. 61) that each E-step was made at, and the mean square of x − X over "
            "coordinates and frames that it found (Eq. 62): the two meet at the optimum"
        )
    if "accepted" in axes:
        about.append("the share of moves of the latent sites that were accepted")
    if "moving" in axes:
        about.append("the parameters of Lennard-Jones (Eq. 68)")
    return Figure(
        "trace",
        "The search",
        f"No figure of the paper: how Algorithm 1 went. In reading order: {'; '.join(about)}.{stop}",
        svg(figure, "trace", summary),
    )


def reliability(cases: Sequence[Case]) -> list[list[str]]:
    """What stands behind the posterior and the predictions, a column for each fit."""
    rows = [["", *(c.label for c in cases)]]
    rows.append(["the posterior is", *(str(c.attrs.get("approximation", ABSENT)) for c in cases)])
    samples = [_effective(c) for c in cases]
    for text, of in (("fewest", np.min), ("median", np.median)):
        told = [ABSENT if s is None else number(float(of(s))) for s in samples]
        rows.append([f"effective pooled samples of a predicted draw, {text}", *told])
    told = [ABSENT if s is None else str(s.size) for s in samples]
    rows.append(["predicted draws", *told])
    told = [str(c.attrs.get("predict_failures", ABSENT)) for c in cases]
    rows.append(["simulated trajectories that blew up", *told])
    for name in NAMES:
        shares = [noise_share(c, name) for c in cases]
        if any(s is not None for s in shares):
            told = [ABSENT if s is None else f"{s:.0%}" for s in shares]
            rows.append([f"Monte Carlo error / width of the band, {name.upper()}", *told])
    return [rows[0], *(r for r in rows[1:] if any(v != ABSENT for v in r[1:]))]


def doubts(case: Case) -> list[str]:
    """What a reader should know of a fit of particles before believing the figures."""
    found = []
    if case.elsewhere:
        told = ", ".join(f"{k} = {number(v)}" for k, v in case.elsewhere.items())
        found.append(f"The predictions are for other conditions than the fit's: {told}.")
    found += [f"The prediction said: {m}" for m in case.predict_messages]
    found += _holes(case)
    accepted, apart = _last(case, "latent_change"), _spread(case)
    if accepted is not None and accepted < STUCK:
        found.append(
            f"Only {accepted:.0%} of the moves of the latent sites were accepted in the last E-step: "
            "they hardly move."
        )
    if apart is not None and abs(apart[0] / apart[1] - 1) > APART:
        gap, sigma2 = apart
        found.append(
            f"In the last E-step the mean square of x − X was {number(gap)} Å², {gap / sigma2:.3f} times "
            f"the sigma2 that it was sampled at, {number(sigma2)} Å²; at the optimum they are equal (Eq. "
            "62). The search has not settled sigma2, or the chains of the latent sites lag behind it."
        )
    if case.effective is not None and case.frames and case.effective < 0.8 * case.frames:
        found.append(
            f"The {case.frames} frames are worth {number(case.effective)} independent ones: the posterior, "
            "which takes them as independent, is too narrow."
        )
    effective = _effective(case)
    if effective is not None and effective.min() < FEW_SAMPLES:
        few = int((effective < FEW_SAMPLES).sum())
        found.append(
            f"{few} of {effective.size} predicted draws rest on fewer than {FEW_SAMPLES:g} effective samples "
            f"(fewest {number(float(effective.min()))}): they overlap little with the others."
        )
    for name, words in (("pressure", "pressure"), ("bulk_modulus", "bulk modulus")):
        if case.predicted(name) and case.has("posterior_predictive", f"{name}_mcse"):
            noise = float((case.get("posterior_predictive", f"{name}_mcse") ** 2).mean())
            spread = float(case.get("posterior_predictive", name).var())
            if noise > MOSTLY * spread > 0.0:
                found.append(
                    f"The interval of the {words} is mostly Monte Carlo error ({min(1.0, noise / spread):.0%} "
                    "of the variance of its draws)."
                )
    for name in NAMES:
        share = noise_share(case, name)
        if share is not None and share > NOISY:
            found.append(
                f"Monte Carlo error is {share:.0%} of the width of the {name.upper()} band: predict with "
                "more draws, whose samples are pooled."
            )
        value = agreement(case, name)
        low, high = interval_of(name)
        if value is not None and value.covered is not None and value.covered < high - low - MISSED:
            found.append(
                f"The {percent((low, high))} band of the {name.upper()} holds only {value.covered:.0%} of the "
                "reference points: the uncertainty of the parameters, as it is approximated here, does "
                "not explain the error."
            )
    return found
