"""Scores of models of the same data against exact ones, and what is said where there is no score."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
import xarray as xr

from bayescg import results
from bayescg.workflow.model_choice import ModelChoice, model_choice
from tests.scored_models import COUNT, left_out, model, seen
from tests.statistical import check_mean


def without(result: Any, group: str) -> Any:
    kept = {g: results.group(result, g) for g in results.groups(result) if g != group}
    return results.inference_data(kept, **results.attrs(result))


def noted(choice: ModelChoice, *words: str) -> bool:
    """Whether one note has all of these words."""
    return any(all(w in note for w in words) for note in choice.notes)


@pytest.mark.parametrize("sweep", [False, True])
def test_elpd_and_its_differences_are_exact_ones(sweep: bool) -> None:
    """Over ten sets of draws, whose spread is the error: two models, each by itself and one less the other."""
    exact = {noise: left_out(noise) for noise in (1.0, 3.0)}
    found = [
        model_choice(
            {"a": model(1.0, seed=s, sweep=sweep), "b": model(3.0, seed=99 + s, sweep=sweep)}
        )
        for s in range(10)
    ]
    own = np.array([[row.elpd.value for row in c.rows if row.elpd] for c in found])
    check_mean(own, [v.sum() for v in exact.values()])
    gap = exact[1.0] - exact[3.0]
    assert gap.sum() > 3.0
    last = found[-1].rows[1]
    assert last.elpd is not None and last.observations == COUNT
    assert last.elpd.behind == pytest.approx(gap.sum(), abs=0.3)
    assert last.elpd.behind_se == pytest.approx(np.sqrt(COUNT) * gap.std(ddof=1), rel=0.1)
    assert last.elpd.se == pytest.approx(np.sqrt(COUNT) * exact[3.0].std(ddof=1), rel=0.1)
    p_loo = (seen(3.0) - exact[3.0]).sum()
    check_mean([c.rows[1].p_loo for c in found], p_loo)
    first = found[-1].rows[0]
    assert first.elpd is not None
    assert (first.elpd.rank, first.elpd.behind, last.elpd.rank) == (1, 0.0, 2)


def test_models_that_hardly_differ_are_not_told_apart() -> None:
    choice = model_choice({"a": model(1.0), "b": model(1.02, seed=1)})
    best = min((r for r in choice.rows if r.elpd), key=lambda r: r.elpd.rank)  # type: ignore[union-attr]
    assert noted(choice, f"by elpd, {best.label} cannot be told apart from", "behind)")
    assert noted(choice, "with 40 data the standard errors of differences of elpd are rough")
    apart = model_choice({"a": model(1.0), "b": model(3.0, seed=1)})
    assert not noted(apart, "cannot be told apart")


def test_evidence_is_compared_beside_elpd() -> None:
    known = {"method": "smc", "log_evidence": -60.0, "log_evidence_se": 0.3}
    near = known | {"log_evidence": -60.5, "log_evidence_se": 0.4}
    choice = model_choice({"a": model(**near), "b": model(3.0, **known), "c": model()})
    a, b, c = (r.evidence for r in choice.rows)
    assert c is None and a is not None and b is not None
    assert (b.rank, b.behind, b.behind_se) == (1, 0.0, 0.0)
    assert (a.rank, a.behind, a.behind_se) == (2, pytest.approx(0.5), pytest.approx(0.5))
    assert noted(choice, "by log evidence, b cannot be told apart from a (0.50 +- 0.50 behind)")
    assert noted(choice, "c: no log evidence; fit with -m smc for it.")
    # By elpd the order is another.
    assert [r.elpd.rank for r in choice.rows if r.elpd] in ([1, 3, 2], [2, 3, 1])


@pytest.mark.parametrize(
    ("attrs", "why"),
    [
        ({"prior_used": "flat"}, "under a flat prior there is no evidence"),
        (
            {"prior_used": "ard", "model_options": {"a0": 1e-5, "b0": 1e-5}},
            "evidence under ARD's spike is not computed; fit with -s prior=horseshoe",
        ),
        ({"prior_used": "ard", "model_options": {"a0": 0.5, "b0": 0.5}}, "fit with -m smc for it"),
    ],
)
def test_why_there_is_no_evidence(attrs: dict[str, Any], why: str) -> None:
    assert noted(model_choice({"a": model(**attrs)}), "a: ", why)


def test_results_of_other_data_are_ranked_apart() -> None:
    named = {"a": model(), "b": model(3.0), "c": model(data_sha256="two")}
    choice = model_choice(named)
    assert [r.data for r in choice.rows] == [1, 1, 2]
    assert [r.elpd.rank for r in choice.rows if r.elpd] == [1, 2, 1]
    assert noted(choice, "fitted to different data", ": a, b; c.")
    # A file that does not say what it was fitted to stands by itself.
    unknown = model()
    del unknown.attrs["data_sha256"]
    assert [r.data for r in model_choice({"a": unknown, "b": model()}).rows] == [1, 2]


def test_a_point_has_no_score() -> None:
    choice = model_choice({"a": model(draws=1), "b": model(draws=1), "c": model()})
    assert [r.elpd is None for r in choice.rows] == [True, True, False]
    assert noted(choice, "a, b: a point estimate has no posterior to average over")
    assert not noted(choice, "cannot be told apart")


def test_without_a_likelihood_it_is_said_what_to_do() -> None:
    choice = model_choice({"a": without(model(), "log_likelihood")})
    assert noted(choice, "a: log p(x | theta) is not stored", "larger -s ratio")
    in_space = without(model(), "log_likelihood")
    x = xr.Dataset({"x": (("frame", "site", "axis"), np.zeros((2, 3, 3)))})
    in_space = results.with_groups(in_space, {"observed_data": x})
    assert noted(model_choice({"a": in_space}), "sites in space", "--reference")


def test_a_datum_that_one_draw_decides_is_said() -> None:
    """A datum twelve standard deviations out: its weights have a tail without a mean."""
    far = model()
    group = results.group(far, "log_likelihood").copy(deep=True)
    theta = results.group(far, "posterior")["p0"].values
    group["x"].values[..., 0] = norm(theta, 0.05).logpdf(theta.mean() + 1.5)
    choice = model_choice({"a": results.with_groups(far, {"log_likelihood": group})})
    (row,) = choice.rows
    assert row.bad == 1 and row.khat is not None and row.khat > 0.7
    assert noted(choice, "a: elpd is not to be trusted, 1 of 40 data", "more draws")


def test_a_likelihood_of_zero_leaves_no_elpd() -> None:
    none = model()
    group = results.group(none, "log_likelihood").copy(deep=True)
    group["x"].values[..., 0] = -np.inf
    choice = model_choice({"a": results.with_groups(none, {"log_likelihood": group})})
    assert choice.rows[0].elpd is None and noted(choice, "likelihood of some data is zero")


def test_draws_of_an_approximation_are_said_to_be() -> None:
    choice = model_choice({"a": model(method="svi", approximation="variational, a flow")})
    assert noted(choice, "a: elpd is by draws of an approximation (variational, a flow)")


def test_the_summary_is_plain() -> None:
    import json

    told = model_choice({"a": model(), "b": model(draws=1)}).summary()
    assert json.loads(json.dumps(told))["results"][0]["elpd"]["rank"] == 1
    assert told["results"][1]["elpd"] is None
