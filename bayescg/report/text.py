"""What the report says in words: what was fitted, whether it converged, what to worry about."""

from collections.abc import Sequence
import shlex
from typing import Any

import numpy as np
from scipy.stats import binom

from bayescg import results
from bayescg.report.case import Case, number, unread
from bayescg.report.curves import symbol
from bayescg.report.traces import mixing
from bayescg.workflow import key_numbers

__all__ = [
    "aliases",
    "commands",
    "fits",
    "merged",
    "overview",
    "settings",
    "status",
    "values",
    "worries",
]

#: Stands in a table for what a fit does not have.
UNREAD = "–"
BAD_KHAT = 0.7
GOOD_RHAT = 1.01
GOOD_ESS = 400.0
#: Share of a band's variance that Monte Carlo error may make up.
NOISY = 0.25
#: A band is said to miss the reference below this probability.
UNLIKELY = 0.05
METHODS = {
    "mcem": "Monte Carlo expectation maximisation (MC-EM) with a Laplace approximation at its end",
    "nuts": "the no-U-turn sampler (NUTS) on the full posterior",
    "rem": "relative-entropy minimisation (REM): coarse configurations fixed by a map, flat prior",
}
NUMBERS = {
    "wall_seconds": "time of the fit / s",
    "draws": "posterior draws",
    "p0_mean": "posterior mean of p0, over all fields",
    "active_features_max": "active features, most at any field",
    "khat_max": "largest Pareto k-hat",
    "magnetization_rmse": "magnetisation, RMSE of the posterior mean",
    "map_magnetization_rmse": "magnetisation, RMSE of the MAP plug-in",
    "data_magnetization_rmse": "magnetisation, RMSE of the data averages",
    "magnetization_width_90": "magnetisation, mean width of the 5–95 % band",
    "correlation_rmse": "correlation, RMSE of the posterior mean",
}


def _at(case: Case, chosen: np.ndarray) -> str:
    """Members of a sweep in words."""
    if case.dim is None:
        return "these data"
    at = case.sweep[np.flatnonzero(chosen)]
    shown = ", ".join(number(float(v)) for v in at[:8])
    return f"{symbol(case.dim)} = {shown}" + (f" and {at.size - 8} more" if at.size > 8 else "")


def overview(case: Case) -> list[tuple[str, str]]:
    """What was fitted, by which method, to what."""
    rows = [("model", str(case.attrs.get("model", "not recorded")))]
    rows.append(("method", METHODS.get(case.method, case.method)))
    rows.append(("prior of the coefficients", case.prior))
    if "approximation" in case.attrs:
        rows.append(("posterior holds", str(case.attrs["approximation"])))
    if case.has("observed_data", "x"):
        sizes = case.get("observed_data", "x").sizes
        text = f"{sizes.get('frame', '?')} configurations of {sizes.get('site', '?')} sites"
        if case.dim is not None:
            at = case.sweep
            text += f" at each of {at.size} values of {symbol(case.dim)}"
            text += f", {number(float(at.min()))} to {number(float(at.max()))}"
        rows.append(
            ("data", f"{text}; from {case.attrs.get('data_source', 'an unrecorded source')}")
        )
    return rows


def status(case: Case) -> dict[str, Any]:
    """Whether a fit converged, in words."""
    ended = str(case.attrs.get("ended", "not recorded"))
    of = ""
    if case.has("map", "converged"):
        good = np.atleast_1d(case.get("map", "converged").values).astype(bool)
        if case.dim is not None:
            of = f" {int(good.sum())} of {good.size} values of {symbol(case.dim)} met the stopping rule."
            if not good.all():
                of += f" Not converged: {_at(case, ~good)}."
    if case.converged:
        text = f"Converged.{of}{_rule(case)}"
    elif case.converged is None:
        text = "The file does not say whether the fit converged: treat it as unconverged."
    else:
        text = (
            f"Did NOT converge (it ended: {ended}).{of} What follows is what it had, not a result."
        )
    return {
        "label": case.label,
        "good": bool(case.converged),
        "text": text,
        "messages": case.messages,
    }


def _rule(case: Case) -> str:
    tolerance = case.method_options.get("tolerance")
    if case.method in ("mcem", "rem") and isinstance(tolerance, int | float):
        return (
            f" The rule: the Newton step left is under {2 * tolerance:g} posterior standard deviations "
            f"in every parameter, and its Monte Carlo error under {tolerance:g}."
        )
    if case.method == "nuts":
        return f" The rule: every R-hat is under {GOOD_RHAT:g} and no transition diverged."
    return ""


def worries(case: Case) -> list[str]:
    """What a reader should know before believing the figures."""
    found = [f"The fit said: {m}" for m in case.messages]
    found += _weights(case)
    found += _indefinite(case)
    found += _chains(case)
    found += _noise(case)
    found += _missed(case)
    return found


def _weights(case: Case) -> list[str]:
    if not case.has("map", "khat") or case.method == "rem":
        return []
    khat = np.atleast_1d(case.get("map", "khat").values).astype(float)
    if np.isnan(khat).all():
        return [
            "Laplace draws carry no importance weights here, so nothing in this file tells how far "
            "the approximation is from the posterior."
        ]
    bad = khat > BAD_KHAT
    if not bad.any() or any("k-hat" in m for m in case.messages):
        return []
    return [
        f"Pareto k-hat is above {BAD_KHAT:g} (up to {number(float(np.nanmax(khat)))}) for "
        f"{_at(case, bad)}: the weighted draws there are not to be trusted."
    ]


def _indefinite(case: Case) -> list[str]:
    found = []
    for form in ("complete", "observed"):
        said = any(f"{form} information is indefinite" in m for m in case.messages)
        if said or case.method == "rem" or not case.has(f"laplace_{form}", "smallest_eigenvalue"):
            continue
        smallest = np.atleast_1d(case.get(f"laplace_{form}", "smallest_eigenvalue").values)
        bad = ~(smallest > 0)
        if bad.any():
            found.append(
                f"The {form} Laplace form is indefinite (smallest eigenvalue "
                f"{number(float(np.min(smallest)))}) for {_at(case, bad)}."
            )
    return found


def _chains(case: Case) -> list[str]:
    if case.method != "nuts":
        return []
    found = []
    if case.has("sample_stats", "diverging"):
        count = case.get("sample_stats", "diverging").sum(("chain", "draw"))
        total = int(count.sum())
        if total:
            where = _at(case, np.atleast_1d(count.values) > 0)
            found.append(
                f"{total} divergent transitions, for {where}: the posterior is not explored."
            )
    for name, rhat, bulk, tail, where in mixing(case)[1:]:
        if rhat == "not measured":
            found.append(f"R-hat of {name} was not measured: it has too many elements.")
            continue
        if not float(rhat) <= GOOD_RHAT:
            found.append(f"R-hat of {name} is {rhat} ({where}), above {GOOD_RHAT:g}.")
        least = min(float(bulk), float(tail))
        if not GOOD_ESS <= least < np.inf:
            found.append(
                f"Effective sample size of {name} is {least:.0f} ({where}), under {GOOD_ESS:.0f}."
            )
    return found


def _noise(case: Case) -> list[str]:
    """Monte Carlo error of a prediction adds to the spread of its draws."""
    found = []
    for name in ("magnetization", "correlation"):
        if not (case.predicted(name) and case.has("posterior_predictive", f"{name}_mcse")):
            continue
        value = case.get("posterior_predictive", name)
        if value.sizes["chain"] * value.sizes["draw"] < 2:
            continue
        noise = float((case.get("posterior_predictive", f"{name}_mcse") ** 2).mean())
        spread = float(value.var(("chain", "draw"), ddof=1).mean())
        if spread > 0 and noise > NOISY * spread:
            found.append(
                f"Monte Carlo error makes up about {min(1.0, noise / spread):.0%} of the variance of the "
                f"{name} draws: the band is wider than the posterior's; predict with longer simulations."
            )
    return found


def _missed(case: Case) -> list[str]:
    """Bands that hold less of the reference than chance allows, were the fields independent."""
    found = []
    for name in ("magnetization", "correlation"):
        if not (case.predicted(name) and case.has("reference", name)):
            continue
        sizes = case.get("posterior_predictive", name).sizes
        if case.method == "rem" or sizes["chain"] * sizes["draw"] < 20:
            continue
        fields, held = max(1, case.sweep.size), case.held(name)
        if binom.cdf(round(held * fields), fields, 0.9) < UNLIKELY:
            found.append(
                f"The 5–95 % band of the {name} holds only {held:.0%} of the reference points: the "
                "uncertainty of the parameters, as it is approximated here, does not explain the "
                "error."
            )
    return found


def merged(cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Worries with the fits they concern; the main fit's first, what several share once."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for worry in worries(case):
            labels = found.setdefault(worry, [])
            if case.label not in labels:
                labels.append(case.label)
    return [(", ".join(labels), worry) for worry, labels in found.items()]


def fits(cases: Sequence[Case]) -> list[list[str]]:
    """A table of the fits: what all share is left out, but for method, prior and N."""
    keys = sorted({k for c in cases for k in c.options} - {"frames", "prior"})
    shown = {k: [_set(c, k) for c in cases] for k in keys}
    differ = [k for k in keys if len({v for v in shown[k] if v != UNREAD}) > 1]
    table = [["fit", "method", "prior used", "N", *differ, "converged", "time / s"]]
    for case in cases:
        seconds = case.attrs.get("wall_seconds")
        time = f"{seconds:.0f}" if isinstance(seconds, int | float) else "not recorded"
        frames = "?" if case.frames is None else str(case.frames)
        told = {True: "yes", False: "NO", None: "not recorded"}[case.converged]
        set_to = [_set(case, k) for k in differ]
        table.append([case.label, case.method, case.prior, frames, *set_to, told, time])
    return table


def _set(case: Case, option: str) -> str:
    return UNREAD if option in unread(case) else str(case.options.get(option, UNREAD))


def values(cases: Sequence[Case]) -> list[list[str]]:
    """Key numbers, a column for each fit."""
    found = [_key_numbers(c) for c in cases]
    names = [n for n in NUMBERS if any(n in f for f in found)]
    text = ("method", "model", "approximation", "converged", "ended")
    names += sorted({n for f in found for n in f if n not in NUMBERS and n not in text})
    table = [["", *(c.label for c in cases)]]
    for name in names:
        row = [NUMBERS.get(name, name)]
        for f in found:
            row.append(
                number(f[name])
                if isinstance(f.get(name), int | float)
                else str(f.get(name, UNREAD))
            )
        table.append(row)
    return table


def _key_numbers(case: Case) -> dict[str, Any]:
    """Key numbers; where predictions or data are not all there, those that need neither."""
    if case.has("observed_data", "x") or not results.has_group(case.idata, "reference"):
        return key_numbers(case.idata)
    return {"wall_seconds": case.attrs.get("wall_seconds", UNREAD)}


def aliases(case: Case) -> list[list[str]]:
    """Every feature of Eq. 55, the independent one that carries it, and the factor."""
    names = ("feature_named", "alias_of", "alias_coefficient")
    if not all(case.has("constant_data", n) for n in names):
        return []
    columns = [case.get("constant_data", n).values for n in names]
    table = [["feature of Eq. 55", "carried by", "coefficient relative to it"]]
    for name, owner, factor in zip(*columns, strict=True):
        same = "itself" if str(owner) == str(name) else str(owner) or "a constant"
        table.append([str(name), same, number(float(factor))])
    return table


def settings(case: Case) -> list[tuple[str, list[tuple[str, str]]]]:
    """Options, seed, checksum and versions, in groups."""
    known = ("seed", "data_sha256", "data_source", "inference_library", "inference_library_version")
    origin = [(k, str(case.attrs[k])) for k in known if k in case.attrs]
    origin += [
        (k, str(v))
        for k, v in sorted(case.attrs.items())
        if k.endswith("_version") and k not in known
    ]
    groups = [
        ("Options of the model (-s)", _written(case.options)),
        ("Options of the method (-M)", _written(case.method_options)),
        ("Seed, data and versions", origin),
    ]
    return [(title, rows) for title, rows in groups if rows]


def _written(options: dict[str, Any]) -> list[tuple[str, str]]:
    """Options as the command line reads them."""
    plain = {None: "none", True: "true", False: "false"}
    known = (bool, type(None))
    return [(k, plain[v] if isinstance(v, known) else str(v)) for k, v in options.items()]


def commands(case: Case) -> tuple[list[str], str]:
    """Shell commands that repeat the fit and its predictions, and what they leave open."""
    source = str(case.attrs.get("data_source", "memory"))
    known = source != "memory"
    data = source if known else "DATA.nc"
    words = ["bayescg", "fit", str(case.attrs.get("model", "MODEL")), "-d", data, "-m", case.method]
    for flag, options in (("-s", case.options), ("-M", case.method_options)):
        for k, v in _written(options):
            words += [flag, f"{k}={v}"]
    words += ["--seed", str(case.attrs.get("seed", 0)), "-o", "result.nc"]
    lines = [shlex.join(words)]
    if results.has_group(case.idata, "posterior_predictive"):
        sizes = results.group(case.idata, "posterior_predictive").sizes
        again = ["bayescg", "predict", "result.nc"]
        if sizes.get("draw", 1) > 1:
            again += ["--draws", str(sizes["draw"] * sizes.get("chain", 1))]
        if results.has_group(case.idata, "reference"):
            again += ["--reference", data if known else "REFERENCE.nc"]
        lines.append(shlex.join(again))
    note = ""
    if not known:
        note = "The fit was given its data in memory, not as a file: put the file that holds them for DATA.nc"
        if case.dim is not None:
            at = case.sweep
            ends = f"{number(float(at[0]))} to {number(float(at[-1]))}"
            note += f", with the {at.size} values of {symbol(case.dim)} from {ends}"
        note += "; the checksum below tells whether they are the same."
    return lines, note
