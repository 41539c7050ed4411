"""Which of several models of the same data to prefer: PSIS-LOO and the log evidence, and when neither tells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bayescg import results
from bayescg.infer.resampling import BAD_KHAT

__all__ = ["ModelChoice", "Score", "Scored", "model_choice"]

#: Data below which the standard error of a difference is rough (T. Sivula et al., arXiv:2008.10296).
FEW = 100
#: Standard errors of a difference below which two models are not told apart.
APART = 2.0
#: Methods whose draws are of the posterior itself; of others they are of an approximation.
EXACT = ("nuts", "smc")


class Score(NamedTuple):
    """A model's score, higher is better, and how far it is behind the best of the same data."""

    value: float  # nats
    se: float
    behind: float  # the best's less this one's; 0 of the best
    behind_se: float
    rank: int  # from 1


@dataclass(frozen=True)
class Scored:
    """One result.

    :param data: results of the same number were fitted to the same data; ranks are among them.
    :param observations: data whose likelihood is stored, all members of a sweep together.
    :param elpd: expected log density of data that were left out (PSIS-LOO).
    :param p_loo: effective number of parameters.
    :param khat: the largest Pareto k-hat of a datum, and ``bad`` the number of those above 0.7.
    :param evidence: log evidence.
    """

    label: str
    data: int
    observations: int | None = None
    elpd: Score | None = None
    p_loo: float | None = None
    khat: float | None = None
    bad: int | None = None
    evidence: Score | None = None


@dataclass(frozen=True)
class ModelChoice:
    """Scores in the order of the results, and in words what they do not tell."""

    rows: tuple[Scored, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        rows = [
            {k: v._asdict() if isinstance(v, Score) else v for k, v in vars(row).items()}
            for row in self.rows
        ]
        return {"results": rows, "notes": list(self.notes)}


class _Raw(NamedTuple):
    """What one result holds, before it is compared."""

    label: str
    attrs: Mapping[str, Any]
    data: int
    loo: results.Loo | None
    evidence: tuple[float, float] | None
    without_elpd: str  # why there is no elpd, "" where there is
    without_evidence: str


def model_choice(named: Mapping[str, Any]) -> ModelChoice:
    """Score every result, and compare those that were fitted to the same data.

    :param named: InferenceData by label.
    """
    numbers = _data_numbers(named)
    raw = [_read(label, r, numbers[label]) for label, r in named.items()]
    elpd = _scores(
        raw,
        lambda r: None if r.loo is None else (r.loo.elpd, r.loo.se),
        lambda best, r: _paired(best.loo, r.loo),
    )
    evidence = _scores(
        raw,
        lambda r: r.evidence,
        lambda best, r: float(np.hypot(best.evidence[1], r.evidence[1])),  # type: ignore[index]
    )
    rows = []
    for r in raw:
        row = Scored(r.label, r.data, elpd=elpd.get(r.label), evidence=evidence.get(r.label))
        if r.loo is not None:
            khat = np.asarray(r.loo.khat.values, float)
            row = Scored(
                r.label,
                r.data,
                khat.size,
                row.elpd,
                r.loo.p,
                float(np.max(khat)),
                int((~(khat <= BAD_KHAT)).sum()),
                row.evidence,
            )
        rows.append(row)
    return ModelChoice(tuple(rows), tuple(_notes(raw, rows)))


def _data_numbers(named: Mapping[str, Any]) -> dict[str, int]:
    """The same number for results of the same data, from 1; one of its own where a file does not say."""
    seen: dict[str, int] = {}
    out = {}
    for label, r in named.items():
        known = str(results.attrs(r).get("data_sha256", f"of {label}"))
        out[label] = seen.setdefault(known, len(seen) + 1)
    return out


def _read(label: str, result: Any, data: int) -> _Raw:
    attrs = results.attrs(result)
    loo, why = None, _without_elpd(result)
    if not why:
        loo = results.loo(result)
        if not np.isfinite(loo.elpd_i.values).all():
            loo, why = (
                None,
                "the likelihood of some data is zero under some draws, so there is no elpd",
            )
    evidence = None
    if "log_evidence" in attrs and np.isfinite(attrs["log_evidence"]):
        evidence = (float(attrs["log_evidence"]), float(attrs.get("log_evidence_se", np.nan)))
    return _Raw(
        label, attrs, data, loo, evidence, why, "" if evidence else _without_evidence(attrs, why)
    )


def _without_elpd(result: Any) -> str:
    """Why a result has no elpd; "" where it has."""
    sizes = results.group(result, "posterior").sizes
    if sizes.get("chain", 1) * sizes.get("draw", 1) == 1:
        return (
            "a point estimate has no posterior to average over, so there is neither elpd nor evidence; fit with "
            "-m nuts, smc, svi or mcem"
        )
    if results.has_group(result, "log_likelihood"):
        return ""
    observed = results.has_group(result, "observed_data")
    x = results.group(result, "observed_data").get("x") if observed else None
    if x is not None and "axis" in x.dims:
        return (
            "log p(x | theta) of sites in space is not known exactly but for virtual_bond, so there is neither elpd "
            "nor evidence; compare what is predicted, with --reference"
        )
    return (
        "log p(x | theta) is not stored, since log Z is not exact, so there is neither elpd nor evidence; make it so "
        "by a larger -s ratio or shorter -s L2 and L3, and fit again"
    )


def _without_evidence(attrs: Mapping[str, Any], without_elpd: str) -> str:
    """Why a result that has an elpd has no evidence; "" where that is told already."""
    if without_elpd:
        return ""
    options = results.mapping(attrs.get("model_options"))
    prior = str(attrs.get("prior_used", options.get("prior", "")))
    if "flat" in prior:
        return "under a flat prior there is no evidence; fit with another -s prior, and -m smc"
    spike = min(float(options.get(k, 1.0)) for k in ("a0", "b0")) < 0.1
    if prior == "ard" and spike:
        return (
            "the evidence under ARD's spike is not computed; fit with -s prior=horseshoe or normal, or a0 and b0 of at "
            "least 0.1, and -m smc"
        )
    return "no log evidence; fit with -m smc for it"


def _scores(
    raw: list[_Raw],
    value: Callable[[_Raw], tuple[float, float] | None],
    error: Callable[[_Raw, _Raw], float],
) -> dict[str, Score]:
    """Scores by label, ranked among results of the same data.

    :param error: standard error of the difference of two.
    """
    out = {}
    for data in dict.fromkeys(r.data for r in raw):
        held = [(r, v) for r in raw if r.data == data and (v := value(r)) is not None]
        held.sort(key=lambda pair: -pair[1][0])
        for rank, (r, (own, se)) in enumerate(held, 1):
            best, (top, _) = held[0]
            gap = (0.0, 0.0) if r is best else (top - own, error(best, r))
            out[r.label] = Score(own, se, *gap, rank)
    return out


def _paired(one: results.Loo | None, other: results.Loo | None) -> float:
    """Standard error of a difference of elpd, datum by datum."""
    assert one is not None and other is not None
    a, b = (np.asarray(v.elpd_i.values, float).ravel() for v in (one, other))
    return float(np.sqrt(a.size) * np.std(a - b, ddof=1)) if a.size > 1 else np.nan


def _notes(raw: list[_Raw], rows: list[Scored]) -> list[str]:
    out = _other_data(raw)
    for reasons in ([r.without_elpd for r in raw], [r.without_evidence for r in raw]):
        for why in dict.fromkeys(w for w in reasons if w):
            labels = [r.label for r, w in zip(raw, reasons, strict=True) if w == why]
            out.append(f"{', '.join(labels)}: {why}.")
    for r, row in zip(raw, rows, strict=True):
        method = str(r.attrs.get("method", "?"))
        if row.bad:
            better = "more draws" if method in EXACT else "-m nuts or smc"
            out.append(
                f"{r.label}: elpd is not to be trusted, {row.bad} of {row.observations} data have a k-hat above "
                f"{BAD_KHAT} (up to {row.khat:.2f}); fit with {better}, or leave those data out and predict them."
            )
        if row.elpd is not None and method not in EXACT:
            what = str(r.attrs.get("approximation", "not recorded"))
            out.append(f"{r.label}: elpd is by draws of an approximation ({what}).")
    for data in dict.fromkeys(row.data for row in rows):
        same = [row for row in rows if row.data == data]
        out += _not_told_apart([(r.label, r.elpd) for r in same if r.elpd], "elpd")
        out += _not_told_apart([(r.label, r.evidence) for r in same if r.evidence], "log evidence")
        fewest = min((r.observations or 0 for r in same if r.elpd), default=FEW)
        if fewest < FEW and sum(r.elpd is not None for r in same) > 1:
            out.append(
                f"with {fewest} data the standard errors of differences of elpd are rough themselves."
            )
    return out


def _other_data(raw: list[_Raw]) -> list[str]:
    groups = [[r.label for r in raw if r.data == d] for d in dict.fromkeys(r.data for r in raw)]
    if len(groups) == 1:
        return []
    told = "; ".join(", ".join(g) for g in groups)
    return [
        f"fitted to different data (data_sha256), and ranked only beside results of the same: {told}."
    ]


def _not_told_apart(scores: list[tuple[str, Score]], what: str) -> list[str]:
    best = [label for label, s in scores if s.rank == 1]
    close = [
        f"{label} ({s.behind:.2f} +- {s.behind_se:.2f} behind)"
        for label, s in scores
        if s.rank > 1 and not s.behind >= APART * s.behind_se
    ]
    if not close:
        return []
    return [f"by {what}, {best[0]} cannot be told apart from {', '.join(close)}."]
