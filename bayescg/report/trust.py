"""Whether to believe a fit: how it ended, and what to worry about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

from bayescg.infer.health import GOOD_ESS, GOOD_RHAT
from bayescg.infer.laplace import SUPPORT
from bayescg.infer.resampling import BAD_KHAT, FEW_DRAWS
from bayescg.report import liquid, molecules
from bayescg.report.case import Case, number
from bayescg.report.checks import LEVEL, failures
from bayescg.report.curves import symbol
from bayescg.report.sampling import CHAINS, LOW_BFMI, information, mixing

__all__ = ["grouped", "premise", "status", "terms", "worries"]

#: Methods that solve linear equations.
LINEAR = ("fm", "ybg")
WORDS = {"magnetization": "magnetisation", "correlation": "correlation"}
#: Share of a band's variance that Monte Carlo error may make up.
NOISY = 0.25
#: Observables named in the first lines.
MANY = 4
#: A band is said to miss the reference below this probability.
UNLIKELY = 0.05


def _at(case: Case, chosen: np.ndarray) -> str:
    """Members of a sweep in words."""
    if case.dim is None:
        return "these data"
    at = case.sweep[np.flatnonzero(chosen)]
    shown = ", ".join(number(float(v)) for v in at[:8])
    return f"{symbol(case.dim)} = {shown}" + (f" and {at.size - 8} more" if at.size > 8 else "")


def status(case: Case) -> dict[str, Any]:
    """Whether a fit converged and whether its weights can be trusted, in words."""
    ended = str(case.attrs.get("ended", "not recorded"))
    of = ""
    group = "variational" if case.method == "svi" else "map"
    if case.has(group, "converged"):
        good = np.atleast_1d(case.get(group, "converged").values).astype(bool)
        if case.dim is not None:
            of = f" {int(good.sum())} of {good.size} values of {symbol(case.dim)} met the stopping rule."
            if not good.all():
                of += f" Not converged: {_at(case, ~good)}."
    if case.method == "dbi":
        text = f"{molecules.ONE_SHOT[0].upper()}{molecules.ONE_SHOT[1:]}, so there is nothing to converge."
    elif case.method in LINEAR and case.converged:
        text = "Linear equations were solved: there is no search that could stop too early."
    elif case.converged:
        text = f"Converged.{of}{_rule(case)}"
    elif case.converged is None:
        text = "The file does not say whether the fit converged: treat it as unconverged."
    else:
        text = (
            f"Did NOT converge (it ended: {ended}).{of} What follows is what it had, not a result."
        )
    doubt, found = " ".join(v for v in (_doubt(case), _contradicted(case)) if v), case.doubts
    others = [] if case.converged else [m for m in case.messages if m not in found]
    return {
        "label": case.label,
        "good": bool(case.converged),
        "kind": "bad" if not case.converged else "warn" if doubt or found else "",
        "text": text,
        "doubt": doubt,
        "messages": [*found, *others],
    }


def _doubt(case: Case) -> str:
    """What a fit that converged may still have wrong: the weights of its draws."""
    khat, bad = case.khat, case.unreliable
    if khat is None:
        return ""
    if bad is None:
        return "The draws carry no importance weights: how good they are is not known."
    if not bad.any():
        return ""
    where = ""
    if case.dim is not None:
        where = f" at {int(bad.sum())} of {bad.size} values of {symbol(case.dim)}"
    why = f"k-hat, their tail index, above {BAD_KHAT:g}"
    if (bad & (khat <= BAD_KHAT)).any():
        why += f", or fewer than {FEW_DRAWS:g} effective draws"
    return f"Importance weights unreliable{where} ({why}): intervals there are rough."


def _contradicted(case: Case) -> str:
    """What the fitted frames themselves say against the model."""
    failed = failures(case)
    if not failed:
        return ""
    those = ", ".join(WORDS.get(n, n.upper() if n in liquid.NAMES else n) for n in failed[:MANY])
    those += f" and {len(failed) - MANY} more" if len(failed) > MANY else ""
    return (
        f"The model does not reproduce the fitted frames: predictive checks fail for {those} (p under {LEVEL:g}), so "
        "intervals within the model are too narrow there."
    )


def _rule(case: Case) -> str:
    if case.is_molecular and case.method != "mcem":
        return molecules.rule(case)
    tolerance = case.method_options.get("tolerance")
    if case.method in ("mcem", "rem") and isinstance(tolerance, int | float):
        return (
            f" The rule: the Newton step left is under {2 * tolerance:g} posterior standard deviations "
            f"in every parameter, and its Monte Carlo error under {tolerance:g}."
        )
    if case.method == "nuts":
        learned = case.method_options.get("log_partition", "exact") != "exact"
        return (
            f" The rule: every R-hat is under {GOOD_RHAT:g}, every parameter has at least {GOOD_ESS:.0f} effective "
            f"draws a chain, and no transition diverged{'; and log Z is known well enough' if learned else ''}."
        )
    if case.method == "svi" and isinstance(tolerance, int | float):
        return (
            f" The rule: the ELBO of the averaged guide rises by less than {tolerance:g} nats in the last steps, or by "
            "no more than its noise tells."
        )
    if case.method == "smc":
        precision = case.method_options.get("precision")
        error = (
            f", and the log evidence has an error of at most {precision:g} nats"
            if precision
            else ""
        )
        return (
            f" The rule: every R-hat between runs is under {GOOD_RHAT:g}, particles forget where each stage "
            f"began{error}."
        )
    return ""


def worries(case: Case) -> list[str]:
    """What a reader should know before believing the figures."""
    found = [f"The fit said: {m}" for m in case.messages]
    found += _weights(case)
    found += _indefinite(case)
    found += _chains(case)
    found += _noise(case)
    found += _missed(case)
    if case.is_molecular:
        return found + molecules.doubts(case)
    if case.in_space:
        return found + liquid.doubts(case)
    return found + [f"The prediction said: {m}" for m in case.predict_messages]


def premise(case: Case) -> str:
    """What its intervals mean; that it has none."""
    if case.is_point:
        return (
            "A point estimate has no intervals: nothing here tells how uncertain it is. And a model that cannot "
            "represent the data is wrong however closely it was fitted."
        )
    told = (
        "Intervals are within-model: they hold the uncertainty of the parameters, not that of the coarse "
        "model's form. A model that cannot represent the data can be sure and wrong."
    )
    if case.has_group("discrepancy"):
        told += (
            " Those that allow for its error stand beside them, in the figure of the two intervals."
        )
    return told


def _weights(case: Case) -> list[str]:
    if case.khat is None:
        return []
    if case.unreliable is None:
        return [
            "Laplace draws carry no importance weights here, so nothing in this file tells how far "
            "the approximation is from the posterior."
        ]
    if not case.unreliable.any() or any("k-hat" in m for m in case.messages):
        return []
    return [
        f"Importance weights are unreliable (k-hat up to {number(float(np.nanmax(case.khat)))}, "
        f"reliable below {BAD_KHAT:g}) for {_at(case, case.unreliable)}: the draws there are not to "
        "be trusted."
    ]


def _indefinite(case: Case) -> list[str]:
    found = []
    for form in ("complete", "observed"):
        said = any(f"{form} information is indefinite" in m for m in case.messages)
        if said or case.is_point or not case.has(f"laplace_{form}", "smallest_eigenvalue"):
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
    if case.method not in CHAINS:
        return []
    found = []
    if case.has("sample_stats", "diverging"):
        count = case.get("sample_stats", "diverging").sum(("chain", "draw"))
        total = int(count.sum())
        if total and not any("transitions diverged" in m for m in case.messages):
            pooled = case.dim is not None and case.dim not in count.dims
            where = "all fields together" if pooled else _at(case, np.atleast_1d(count.values) > 0)
            found.append(
                f"{total} divergent transitions, for {where}: the posterior is not explored."
            )
    least_moved = information(case)
    if least_moved is not None and not least_moved >= LOW_BFMI:
        found.append(
            f"E-BFMI of a chain is {number(least_moved)}, under {LOW_BFMI:g}: momenta hardly change the energy, and "
            "tails are explored slowly. A longer warm-up, or other coordinates of the parameters, may help."
        )
    for name, rhat, bulk, tail, where in mixing(case)[1:]:
        if rhat == "not measured":
            found.append(f"R-hat of {name} was not measured: it has too many elements.")
            continue
        if not float(rhat) <= GOOD_RHAT:
            found.append(f"R-hat of {name} is {rhat} ({where}), above {GOOD_RHAT:g}.")
        least = min(float(bulk), float(tail))
        wanted = GOOD_ESS * case.get_group("posterior").sizes["chain"]
        if not wanted <= least < np.inf:
            found.append(
                f"Effective sample size of {name} is {least:.0f} ({where}), under {wanted:.0f}."
            )
    return found


def _noise(case: Case) -> list[str]:
    """Monte Carlo error of a prediction adds to the spread of its draws."""
    found = []
    for name in WORDS:
        if not (case.banded(name) and case.has("posterior_predictive", f"{name}_mcse")):
            continue
        value = case.get("posterior_predictive", name)
        noise = float((case.get("posterior_predictive", f"{name}_mcse") ** 2).mean())
        spread = float(value.var(("chain", "draw"), ddof=1).mean())
        if spread > 0 and noise > NOISY * spread:
            found.append(
                f"Monte Carlo error makes up about {min(1.0, noise / spread):.0%} of the variance of the "
                f"{WORDS[name]} draws: the band is wider than the posterior's; predict with longer simulations."
            )
    return found


def _missed(case: Case) -> list[str]:
    """Bands that hold less of the reference than chance allows, were the fields independent."""
    found = []
    for name in WORDS:
        if not (case.predicted(name) and case.has("reference", name)):
            continue
        sizes = case.get("posterior_predictive", name).sizes
        if case.is_point or sizes["chain"] * sizes["draw"] < 20:
            continue
        fields, held = max(1, case.foreseen.size), case.held(name)
        if binom.cdf(round(held * fields), fields, 0.9) < UNLIKELY:
            found.append(
                f"The 5–95 % band of the {WORDS[name]} holds only {held:.0%} of the reference points: the "
                "uncertainty of the parameters, as it is approximated here, does not explain the "
                "error."
            )
    return found


def grouped(cases: Sequence[Case]) -> list[tuple[str, list[str]]]:
    """Worries fit by fit, the main one's first; a compared fit that has none is left out."""
    found = [(case.label, worries(case)) for case in cases]
    return [(label, those) for i, (label, those) in enumerate(found) if those or i == 0]


def terms(groups: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """A line on each term of the worries that is not in common use."""
    if any("no weight" in worry for _, those in groups for worry in those):
        return [
            "A draw without weight is a Laplace draw whose posterior density could not be estimated "
            f"(fewer than {SUPPORT:g} effective samples reach it); the posterior leaves it out."
        ]
    return []
