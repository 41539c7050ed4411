"""What the report says in words: what was fitted, its key numbers, its settings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayescg import results
from bayescg.infer.resampling import BAD_KHAT
from bayescg.report import liquid, molecules
from bayescg.report.case import ABSENT, Case, among, number, rmse, unread
from bayescg.report.curves import ACTIVE, symbol
from bayescg.report.repeat import written
from bayescg.report.sampling import divergences
from bayescg.workflow import key_numbers

__all__ = ["aliases", "fits", "meanings", "overview", "settings", "values"]

METHODS = {
    "mcem": "Monte Carlo expectation maximisation (MC-EM) with a Laplace approximation at its end",
    "nuts": "the no-U-turn sampler (NUTS) on the full posterior",
    "svi": "variational inference: a guide fitted to the posterior by stochastic ascent (SVI)",
    "smc": "sequential Monte Carlo (SMC): particles led from the prior to the posterior",
    "grow": "features added one by one while they gain enough, then a Laplace approximation of those kept",
    "rem": "relative-entropy minimisation (REM): coarse configurations fixed by a map, flat prior",
    "dbi": "direct Boltzmann inversion (DBI): the potential of mean force of each distribution",
    "ibi": "iterative Boltzmann inversion (IBI): every bin corrected by its own log-ratio",
    "imc": "inverse Monte Carlo (IMC): Newton steps with the correlations of all bins",
    "fm": "force matching (MS-CG): linear least squares on mapped forces",
    "ybg": "generalised Yvon-Born-Green: the equations of force matching from structure alone",
}
NUMBERS = {
    "wall_seconds": "time of the fit / s",
    "draws": "posterior draws",
    "p0_mean": "posterior mean of p0, averaged over all fields",
    "active_features_max": "active features, most at any field",
    "occupied_states_mean": "hidden states that have a frame, posterior mean",
    "r_hat": "largest R-hat",
    "ess": "smallest effective sample size",
    "diverging": "divergent transitions",
    "khat_max": "largest k-hat",
    "khat_above_0.7": "fields with k-hat above 0.7",
    "elbo": "evidence lower bound (ELBO) / nats",
    "elbo_se": "ELBO, standard error",
    "log_evidence": "log evidence / nats",
    "log_evidence_se": "log evidence, standard error",
    "magnetization_rmse": "magnetisation, RMSE of the posterior mean",
    "map_magnetization_rmse": "magnetisation, RMSE of the MAP plug-in",
    "data_magnetization_rmse": "magnetisation, RMSE of the data averages",
    "magnetization_width_90": "magnetisation, mean width of the 5–95 % band",
    "correlation_rmse": "correlation, RMSE of the posterior mean",
    "map_correlation_rmse": "correlation, RMSE of the MAP plug-in",
    **liquid.NUMBERS,
}


def overview(case: Case) -> list[tuple[str, str]]:
    """What was fitted, by which method, to what; each term with its meaning."""
    rows = [("model", str(case.attrs.get("model", "not recorded")))]
    rows.append(("method", METHODS.get(case.method, case.method)))
    if case.is_molecular:
        rows += molecules.overview(case)
    elif case.in_space:
        rows += liquid.overview(case)
    elif case.has("posterior", "theta_c"):
        many = case.get("posterior", "theta_c").sizes["feature"]
        rows.append(
            (
                "features",
                f"the {many} terms that the coarse potential is a sum of; θ, their factors",
            )
        )
    if case.has("posterior", "p0"):
        rows.append(("p0", "probability that a fine spin equals its coarse spin"))
    if case.has("states", "probability"):
        many = case.get("states", "probability").sizes["state"]
        rows.append(("states", f"{many} hidden states of a frame, each with its own coarse model"))
    prior = case.prior
    if case.is_matched:
        prior = "none: distributions are matched, and nothing else is asked of the potentials"
    rows.append(("prior of θ", prior))
    if "ARD" in case.prior:
        meaning = "automatic relevance determination: each θ is normal, its precision Gamma(a0, b0)"
        rows.append(("ARD", meaning))
    if case.prior == "curve":
        meaning = (
            "the parameters are smooth functions of the field, with one posterior for all fields"
        )
        rows.append(("curve", meaning))
    new = case.foreseen[~among(case.foreseen, case.sweep)]
    if new.size:
        text = f"at {case.foreseen.size} values of {symbol(case.dim)}, {new.size} of which were not fitted"
        rows.append(("predicted", text))
    holds = str(case.attrs.get("approximation", ""))
    if holds:
        rows.append(("posterior holds", holds))
    if "k-hat" in holds or case.unreliable is not None:
        meaning = "tail index of the importance weights: how far a few draws outweigh all others"
        rows.append(("k-hat", f"{meaning}; the weights are unreliable above {BAD_KHAT:g}"))
    if "complete" in holds or "observed" in holds:
        meaning = "the two forms of Laplace: with the latent X counted as if seen (Eq. 45), or not"
        rows.append(("complete, observed", meaning))
    if case.has("observed_data", "x"):
        sizes = case.get("observed_data", "x").sizes
        text = f"{sizes.get('frame', '?')} configurations of {sizes.get('site', '?')} sites"
        if case.dim is not None:
            at = case.sweep
            text += f" at each of {at.size} values of {symbol(case.dim)}"
            text += f", {number(float(at.min()))} to {number(float(at.max()))}"
        if case.has("constant_data", "box"):
            edges = np.atleast_1d(case.get("constant_data", "box").values)
            text += f" in a box of {' × '.join(number(float(e)) for e in edges)} Å"
        rows.append(("data", f"{text}; {_source(case)}"))
    return rows


def _source(case: Case) -> str:
    source = case.attrs.get("data_source")
    if source == "memory":
        return "given in memory, so the result names no file that holds them"
    return f"from {source or 'an unrecorded source'}"


def fits(cases: Sequence[Case]) -> list[list[str]]:
    """A table of the fits: what all share is left out, but for method, prior and N."""
    told_elsewhere = {"frames", "prior", "prior_scale", "a0", "b0"}
    keys = sorted({k for c in cases for k in c.options} - told_elsewhere)
    shown = {k: [_set(c, k) for c in cases] for k in keys}
    differ = [k for k in keys if len({v for v in shown[k] if v != ABSENT}) > 1]
    worth = any(c.effective is not None for c in cases)
    counted = ["N effective"] if worth else []
    table = [["fit", "method", "prior used", "N", *counted, *differ, "converged", "time / s"]]
    for case in cases:
        seconds = case.attrs.get("wall_seconds")
        time = f"{seconds:.0f}" if isinstance(seconds, int | float) else "not recorded"
        frames = "?" if case.frames is None else str(case.frames)
        told = {True: "yes", False: "NO", None: "not recorded"}[case.converged]
        if case.method == "dbi":  # has nothing to converge
            told = ABSENT
        set_to = [_set(case, k) for k in differ]
        if worth:
            set_to.insert(0, case.effective_in_words)
        table.append([case.label, case.method, case.prior, frames, *set_to, told, time])
    return table


def _set(case: Case, option: str) -> str:
    return ABSENT if option in unread(case) else str(case.options.get(option, ABSENT))


def values(cases: Sequence[Case]) -> list[list[str]]:
    """Key numbers, a column for each fit."""
    found = [_key_numbers(c) for c in cases]
    names = [n for n in NUMBERS if any(n in f for f in found)]
    text = ("method", "model", "approximation", "converged", "ended")
    # What has no place of its own, the distributions of molecules, comes first.
    names = [
        n for n in dict.fromkeys(n for f in found for n in f) if n not in (*NUMBERS, *text)
    ] + names
    table = [["", *(c.label for c in cases)]]
    for name in names:
        row = [NUMBERS.get(name, name)]
        for f in found:
            row.append(
                number(f[name])
                if isinstance(f.get(name), int | float)
                else str(f.get(name, ABSENT))
            )
        table.append(row)
    return table


def _key_numbers(case: Case) -> dict[str, Any]:
    """Key numbers; where predictions or data are not all there, those that need neither."""
    if not case.has("observed_data", "x") and results.has_group(case.idata, "reference"):
        return {"wall_seconds": case.attrs.get("wall_seconds", ABSENT)}
    found: dict[str, Any] = {k: case.attrs[k] for k in ("r_hat", "ess") if k in case.attrs}
    diverged = divergences(case)
    if diverged is not None:
        found["diverging"] = diverged
    found |= key_numbers(case.idata)
    if case.in_space:
        found.pop("active_features_max", None)  # it is told as how many are switched off
        if case.is_point:
            found.pop("draws", None)
        return found | (molecules.numbers(case) if case.is_molecular else liquid.numbers(case))
    for name in ("magnetization", "correlation"):
        at_point = case.is_point and case.predicted(name)
        if case.has("reference", name) and (at_point or case.has("map_predictive", name)):
            exact = case.get("reference", name)
            value = case.mean(name) if case.is_point else case.get("map_predictive", name)
            found[f"map_{name}_rmse"] = rmse(value.transpose(*exact.dims), exact)
        if case.is_point:  # a point has no posterior mean
            found.pop(f"{name}_rmse", None)
        if not case.banded(name):
            found.pop(f"{name}_width_90", None)
    return found


def meanings(table: Sequence[Sequence[str]]) -> list[str]:
    """A line on each term that the key numbers use."""
    names = {row[0] for row in table[1:]}
    point = (
        "The MAP plug-in is the prediction at one point, the parameters of highest posterior "
        "density (MAP); a method that gives a point only, as REM, is judged by it."
    )
    told = (
        (
            "active_features_max",
            f"A feature is active where the posterior mean of its θ exceeds {ACTIVE:g} in size.",
        ),
        ("map_magnetization_rmse", point),
        ("map_rdf_rmse", point),
        (
            "elbo",
            "The ELBO is the log evidence less the divergence of the approximation from the posterior: a bound from "
            "below.",
        ),
        (
            "log_evidence",
            "The log evidence is that of the data under prior and model; of two models of the same data the one "
            "of higher evidence is the more probable, as far as their priors are meant.",
        ),
    )
    return [text for name, text in told if NUMBERS[name] in names]


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
    known = [
        "seed",
        "predict_seed",
        "data_sha256",
        "data_source",
        "data_source_sha256",
        "precision_of_moves",
        "inference_library",
        "inference_library_version",
    ]
    origin = [(k, str(case.attrs[k])) for k in known if k in case.attrs]
    origin += [
        (k, str(v))
        for k, v in sorted(case.attrs.items())
        if k.endswith("_version") and k not in known
    ]
    groups = [
        ("Options of the model (-s)", written(case.options)),
        ("Options of the method (-M)", written(case.method_options)),
        ("Seed, data and versions", origin),
    ]
    return [(title, rows) for title, rows in groups if rows]
