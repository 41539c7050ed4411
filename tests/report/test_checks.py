"""Predictive checks, and the first lines of the page: what they tell, and of what."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from bayescg import results
from bayescg.report.case import cases_of
from bayescg.report.checks import failures, predictive, probabilities
from bayescg.report.drawing import Figure, drawing_style
from bayescg.report.glance import facts, lead
from bayescg.report.text import NUMBERS
from bayescg.report.trust import status
from tests.report.made_liquid import BINS, case, made


def with_misfit(rdf: float, adf: float, **more: Any) -> Any:
    """A liquid whose differences are as probable as that."""
    liquid = made()
    group = results.group(liquid, "discrepancy")
    group = group.assign(rdf_misfit=((), rdf), adf_misfit=((), adf), **more)
    return results.with_groups(liquid, {"discrepancy": group})


def drawn(idata: Any) -> Figure:
    with drawing_style():
        figure = predictive(cases_of([idata], ["fit"]))
    assert figure is not None
    return figure


def test_a_check_that_fails_is_told_wherever_a_reader_looks() -> None:
    bad = with_misfit(1e-4, 0.3)
    (one,) = cases_of([bad], ["fit"])
    assert probabilities(one) == {"rdf": 1e-4, "adf": 0.3} and failures(one) == ["rdf"]
    table = drawn(bad).table
    assert [row[-1] for row in table] == ["the check", "FAILS", "passes"]
    assert table[1][1] == "under 0.001" and table[2][1] == "0.3"
    found = status(one)
    assert found["kind"] == "warn" and "predictive checks fail for RDF" in found["doubt"]
    told = {f.name: f for f in facts([one], ["checks"], 3)}
    check = told["predictive checks on the fitted frames"]
    assert (check.value, check.link) == ("1 of 2 fail", "checks")
    assert told["to worry about"].value == "3 points"


def test_a_model_that_passes_is_not_doubted() -> None:
    (one,) = cases_of([with_misfit(0.02, 0.3)], ["fit"])
    assert failures(one) == [] and "predictive checks" not in status(one)["doubt"]
    names = [f.value for f in facts([one], [], 0)]
    assert names[:2] == ["nothing more", "2 of 2 pass"]


def test_points_are_the_distances_that_the_file_holds() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=BINS.size) * 3.0
    z[:5] = np.nan  # where no frame has anything
    liquid = with_misfit(0.5, 0.5, rdf_z=("r", z))
    figure = drawn(liquid)
    panel = figure.image.panels[0]
    told = {c["label"]: c for c in panel["curves"]}
    shown = [v for v in told["z"]["value"] if v is not None]
    np.testing.assert_allclose(shown, z[5:], rtol=1e-5)
    row = figure.table[1]
    limit = student.ppf(0.975, results.group(liquid, "discrepancy").attrs["frames"] - 1)
    inside = np.mean(np.abs(z[5:]) < limit)
    assert row[2] == f"{inside:.0%} of {BINS.size - 5}"
    assert float(row[3]) == pytest.approx(np.nanmax(np.abs(z)), abs=0.05)
    group = results.group(liquid, "discrepancy")
    average = told["average of the frames"]
    # The panel begins near the first point that is known.
    at = panel["grids"][average["grid"]]["at"]
    kept = np.isin(np.round(BINS, 6), np.round(at, 6))
    assert kept[5:].all()
    np.testing.assert_allclose(average["value"], group["rdf_data"].values[kept], rtol=1e-5)
    low = group["rdf_data"] - 2.0 * group["rdf_data_se"]
    np.testing.assert_allclose(average["low"], low.values[kept], rtol=1e-4, atol=1e-8)


def test_the_grey_band_is_that_of_students_t() -> None:
    """Of twenty frames, 19 degrees of freedom: its ends, from the drawn rectangle and the panel's scale."""
    figure = drawn(made())
    panel = figure.image.panels[0]
    curve = next(c for c in panel["curves"] if c["label"] == "z")
    # z is 0.5 at every place; the axis is symmetric about zero, in the middle of the panel.
    top, height = panel["box"][1], panel["box"][3]
    half = 0.5 * (top + top + height) - curve["py"][0]
    limits = 0.5 * (0.5 * height) / half
    expected = 1.15 * 1.6 * float(student.ppf(0.975, 19))
    assert limits == pytest.approx(expected, rel=0.02)


def test_without_a_discrepancy_there_is_no_check() -> None:
    bare = made(predicted=False)
    cases = cases_of([bare], ["fit"])
    assert predictive(cases) is None and probabilities(cases[0]) == {}
    assert "predictive checks on the fitted frames" not in [f.name for f in facts(cases, [], 1)]


def test_the_first_lines_say_what_was_fitted_to_what() -> None:
    text = lead(case())
    assert "Monte Carlo expectation maximisation" in text
    assert "20 configurations of 8 sites" in text and "frames.nc" in text
    shown = facts([case()], ["checks"], 1)
    assert shown[0].value == "1 point" and len(shown) <= 8
    assert {NUMBERS["rdf_rmse"], NUMBERS["rdf_covered"]} <= {f.name for f in shown}
