"""The report of molecules: every potential and distribution, what the data leave open, in whose words."""

from collections.abc import Sequence
from pathlib import Path
import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayescg import results
from bayescg.observables import mutual_information
from bayescg.report import write_report
from bayescg.report.case import ABSENT, Case, cases_of, give_or_take
from bayescg.report.constraint import WEAK, Told, constraints, runs, told, weakly
from bayescg.report.distributions import distances, single, words_of
from bayescg.report.drawing import Figure, drawing_style
from bayescg.report.joint import joint, joints
from bayescg.report.molecules import doubts, search
from bayescg.report.panels import laid_out
from bayescg.report.repeat import commands
from bayescg.report.text import fits, overview, values
from bayescg.report.trust import premise, status
from bayescg.report.typed import along, potentials
from bayescg.report.write import BY_TYPE, figures_of
from tests.report.words import Words
from tests.typed_fits import MOLECULES, fitted, result

POINTS = ("dbi", "ibi", "imc", "rem")
OF_A_POINT = ["trace", "potentials", "iterations", "distributions", "joint", "constraints"]
TYPED = ["rdf_A_A", "rdf_A_B", "rdf_B_B", "bond_AB", "angle_ABA"]
JOINT = "joint_bond_AB_angle_ABA"


@pytest.fixture(scope="module")
def imc() -> Any:
    return result("imc", tied=0.9)


@pytest.fixture(scope="module")
def fm() -> Any:
    """A posterior of a linear method: draws differ, and two coefficients of A-A rest on nothing."""
    found = result(
        "fm", draws=30, steps=0, prior_used="normal", approximation="force matching, sandwich"
    )
    features = results.group(found, "posterior").sizes["feature"]
    seldom = np.zeros(features, np.int8)
    seldom[:2] = 1
    group = xr.Dataset({"seldom": ("parameter", seldom)})
    return results.with_groups(found, {"fm": group})


def case(idata: Any, label: str = "one", place: int = 0) -> Case:
    return Case(label, idata, place)


def drawn(maker: Any, *idatas: Any) -> Figure:
    with drawing_style():
        figure = maker(cases_of(idatas, [f"fit {k + 1}" for k in range(len(idatas))]))
    assert figure is not None
    return figure


def page_of(idatas: list[Any], folder: Path) -> str:
    write_report(idatas, folder / "page.html", [f"fit {k + 1}" for k in range(len(idatas))])
    return (folder / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(
    imc: Any, fm: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Figure]]:
    """The page of IMC with force matching beside it, and the figures that were drawn for it."""
    kept: dict[str, Figure] = {}

    def seen(cases: Sequence[Case]) -> tuple[list[Figure], list[tuple[str, str]]]:
        found, missing = figures_of(cases)
        # Of point estimates there are none of these.
        assert [name for name, _ in missing] == [
            "predictive checks",
            "the two intervals",
            "posterior of the parameters beside θ",
        ]
        kept.update({f.ident: f for f in found})
        return found, missing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayescg.report.write.figures_of", seen)
        html = page_of([imc, fm], tmp_path_factory.mktemp("molecules"))
    return html, kept


def test_the_page_is_whole_and_by_itself(page: tuple[str, dict[str, Figure]]) -> None:
    html, figures = page
    read = Words(html)
    assert not read.bad and len(set(read.idents)) == len(read.idents)
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(read.idents)
    assert list(figures) == OF_A_POINT and html.count("<svg") == len(figures) == len(BY_TYPE) - 3


def test_the_words_are_those_of_a_point_method(page: tuple[str, dict[str, Figure]]) -> None:
    text = Words(page[0]).text
    for wrong in ("ARD", "switched off", "active", "Fig. 15", "Eq. 65", "posterior sd", "MAP"):
        assert wrong not in text, wrong
    assert "none: distributions are matched" in text
    assert "differ from their targets by at most 1.5 standard errors" in text
    assert "imc is a point method" in text and "nothing here tells how uncertain" in text
    assert "additive constant of a bonded potential means nothing" in text


def test_several_fits_share_panels(page: tuple[str, dict[str, Figure]]) -> None:
    _, figures = page
    assert [row[1] for row in figures["distributions"].table[1:3]] == ["fit 1", "fit 2"]
    assert {row[1] for row in figures["joint"].table[1:]} == {"fit 1", "fit 2"}
    assert {row[1] for row in figures["potentials"].table[1:]} == {"fit 1", "fit 2"}


def test_what_was_fitted_names_every_potential(imc: Any) -> None:
    rows = dict(overview(case(imc)))
    assert rows["potentials"].startswith("pair A–A (table, ")
    assert "bond AB (table, " in rows["potentials"] and "angle ABA (table, " in rows["potentials"]
    assert "stored is iteration 4, whose statistics are 1.2 standard errors" in rows["ended"]
    assert fits([case(imc)])[1][2] == "flat"


@pytest.mark.parametrize("method", [*POINTS, "ybg"])
def test_methods_without_a_prior_have_none(method: str) -> None:
    assert case(result(method, predicted=None, reference=None)).prior == "flat"


def test_every_potential_has_its_own_axis(imc: Any) -> None:
    table = drawn(potentials, imc).table
    assert [row[0] for row in table[1:]] == [
        "pair A–A",
        "pair A–B",
        "pair B–B",
        "bond AB",
        "angle ABA",
    ]
    u = results.group(imc, "posterior")["bond_potential_AB"][0, 0]
    bond = table[4]
    lowest = float(u["length"].values[u.values.argmin()])
    assert bond[2] == "0, by choice" and bond[3] == f"{lowest:.4g} Å"
    assert table[5][3].endswith("°")


def test_a_second_fit_is_told_apart_where_the_data_speak(imc: Any) -> None:
    """A constant aside: raising a bonded potential is no difference, raising a pair's is one."""
    group = results.group(imc, "posterior").copy(deep=True)
    for name in ("pair_potential_A_A", "bond_potential_AB"):
        group[name] = group[name] + 0.25
    table = drawn(potentials, imc, results.with_groups(imc, {"posterior": group})).table
    rows = {(row[0], row[1]): row[-1] for row in table[1:]}
    assert rows["pair A–A", "fit 1"] == ABSENT
    assert float(rows["pair A–A", "fit 2"]) == pytest.approx(0.25, rel=1e-3)
    assert float(rows["bond AB", "fit 2"].replace("−", "-")) < 1e-12
    assert float(rows["pair B–B", "fit 2"]) == 0.0


def test_the_iteration_that_is_stored_stands_out(imc: Any) -> None:
    assert "iteration" in drawn(along, imc).title
    trace = results.group(imc, "em_trace").copy(deep=True)
    trace["distance"] = ("iteration", [5.0, 1.7, 3.0, 2.0])
    other = results.with_groups(imc, {"em_trace": trace})
    assert "stored is iteration 2, whose statistics are 1.7" in dict(overview(case(other)))["ended"]
    row = drawn(search, other).table[1]
    assert row == ["distance, standard errors", "5", "1.7", "2"]


def test_the_search_shows_every_distribution_and_where_it_may_stop(imc: Any) -> None:
    figure = drawn(search, imc)
    assert "The grey line is the tolerance, 1.5" in figure.caption
    assert "posterior" not in figure.caption
    assert [row[0] for row in figure.table[2:]] == [words_of(n) for n in TYPED if n != "rdf_B_B"]


def test_a_search_that_did_not_converge_is_said(imc: Any) -> None:
    attrs = {**results.attrs(imc), "converged": 0, "ended": "no better in 8 iterations"}
    groups = {g: results.group(imc, g) for g in results.groups(imc)}
    failed = results.inference_data(groups, **attrs)
    assert "Did NOT converge (it ended: no better in 8 iterations)" in status(case(failed))["text"]
    assert "what is stored is not a result" in drawn(along, failed).caption


def test_direct_inversion_has_nothing_to_converge() -> None:
    one = case(result("dbi", steps=0))
    assert "one shot" in status(one)["text"] and "Converged" not in status(one)["text"]
    assert fits([one])[1][-2] == ABSENT and fits([case(result("imc"))])[1][-2] == "yes"
    assert any("independent of all others" in worry for worry in doubts(one))
    with drawing_style():
        assert search([one]) is None and along([one]) is None


def test_numbers_are_those_of_the_bins_by_hand(imc: Any) -> None:
    ours, theirs = (results.group(imc, g) for g in ("posterior_predictive", "reference"))
    found = distances(case(imc))
    assert list(found) == [*TYPED, JOINT]
    for name in found:
        mean, exact, error = (
            ours[name][0, 0].values,
            theirs[name].values,
            theirs[f"{name}_se"].values,
        )
        at = (mean > 0) | (exact > 0)
        scale = 1.0 if name.startswith("rdf") else exact.max()
        assert found[name].rms == pytest.approx(np.sqrt(np.mean((mean - exact)[at] ** 2)) / scale)
        assert found[name].reference_error == pytest.approx(
            np.sqrt(np.mean(error[at] ** 2)) / scale
        )
        assert found[name].bins == at.sum()
    table = drawn(single, imc).table
    assert [row[0] for row in table[1:]] == [words_of(n) for n in TYPED]
    assert float(table[4][2]) == pytest.approx(found["bond_AB"].rms, rel=1e-3)
    told_by = {row[0]: row[1] for row in values([case(imc)])[1:]}
    assert told_by["bond AB, rms (error of the reference)"].startswith(
        f"{found['bond_AB'].rms:.3g} ("
    )
    assert "posterior draws" not in told_by


def test_a_reference_on_other_bins_is_read_between_them(imc: Any) -> None:
    """Beyond its ends a density is zero, g(r) unknown."""
    whole = results.group(imc, "reference")
    part = whole.isel(r=slice(30, 80), length=slice(10, 30), angle=slice(None, None, 1))
    found = distances(case(results.with_groups(imc, {"reference": part})))
    mean = results.group(imc, "posterior_predictive")["bond_AB"][0, 0].values
    exact = np.zeros_like(mean)
    exact[10:30] = whole["bond_AB"].values[10:30]
    at = (mean > 0) | (exact > 0)
    expected = np.sqrt(np.mean((mean - exact)[at] ** 2)) / exact.max()
    assert found["bond_AB"].rms == pytest.approx(expected)
    assert found["rdf_A_A"].bins <= 50


def test_joint_distributions_that_differ_are_a_worry(imc: Any) -> None:
    found = joints(case(imc))[JOINT]
    assert found.theirs is not None
    assert found.theirs.value > 0.3 > 5 * abs(found.ours.value)
    value = results.group(imc, "reference")
    own = mutual_information(
        value[JOINT].values,
        value[f"{JOINT}_se"].values,
        value["joint_length"],
        value["joint_angle"],
    )
    assert found.theirs == own
    (worry,) = [w for w in doubts(case(imc)) if "joint distribution" in w]
    assert "bond AB and angle ABA is not that of the reference" in worry
    row = drawn(joint, imc).table[1]
    assert row[3] == give_or_take(own.value, own.error) and row[-1] == "the reference"
    # Of frames of the same kind nothing is said.
    assert not any("joint distribution" in w for w in doubts(case(result("imc", tied=0.0))))


def test_without_a_reference_joint_distributions_stand_beside_the_fitted_frames() -> None:
    found = joints(case(result("imc", reference=None)))[JOINT]
    assert found.source == "the fitted frames" and found.theirs is not None
    # So they do where a prediction says that it measured them there.
    given = result("imc", tied=0.9)
    group = results.group(given, "reference").copy()
    group[JOINT] = group[JOINT].assign_attrs(measured_on="the fitted frames")
    again = case(results.with_groups(given, {"reference": group}))
    assert joints(again)[JOINT].source == "the fitted frames"


def test_joint_distributions_that_were_not_predicted_are_missed() -> None:
    given = result("imc")
    group = results.group(given, "posterior_predictive").drop_vars([JOINT, f"{JOINT}_mcse"])
    other = case(results.with_groups(given, {"posterior_predictive": group}))
    assert any("were not predicted" in worry for worry in doubts(other))
    with drawing_style():
        assert joint([other]) is None


def test_titles_of_joint_distributions() -> None:
    assert words_of("joint_bond_A_B_angle_A_B_A") == "bond A_B and angle A_B_A"
    assert words_of("joint_angle_ABB_angle_BBA") == "angle ABB and angle BBA"
    assert words_of("rdf_A_B") == "g(r) A–B" and words_of("rdf") == "g(r)"


def test_what_the_data_hardly_constrain_follows_from_their_errors(imc: Any) -> None:
    one = case(imc)
    bond = one.interactions[3]
    known = told(one, bond)
    assert known is not None and one.fitted is not None
    value, error = (one.fitted[n].values for n in ("bond_AB", "bond_AB_se"))
    met = value > 0
    np.testing.assert_array_equal(known.met, met)
    np.testing.assert_allclose(known.error[met], (error[met] / value[met]))
    assert np.isinf(known.error[~met]).all() and not known.weak[~met].any()
    assert (known.weak[met] == (error[met] / value[met] > WEAK)).all() and known.weak.any()
    (told_of,) = [w for w in weakly(one) if w.startswith("bond AB")]
    assert any(told_of in worry for worry in doubts(one))
    row = {r[0]: r for r in drawn(constraints, imc).table[1:]}["bond AB"]
    assert row[2] == told_of.removeprefix("bond AB ")
    below = known.at[runs(~met, gap=1)[0][1]] + 0.01
    assert row[3].startswith(f"below {below:.4g}")


def test_a_posterior_counts_where_it_is_wider(fm: Any) -> None:
    one = case(fm)
    assert not one.is_point
    plain, pair = told(case(result("imc")), one.interactions[0]), one.interactions[0]
    wide = told(one, pair)
    assert plain is not None and wide is not None
    u = results.group(fm, "posterior")[pair.potential][0]
    spread = np.interp(wide.at, u["r"], u.values.std(0, ddof=1)) / one.kt
    np.testing.assert_allclose(
        wide.error[wide.met], np.maximum(plain.error, spread)[plain.met], rtol=0.02
    )
    table = drawn(constraints, fm).table
    assert table[0][-1].startswith("coefficients") and table[1][-1].startswith("2 of ")
    assert table[2][-1].startswith("0 of ")


def test_the_constant_of_a_bonded_potential_is_no_uncertainty(fm: Any) -> None:
    group = results.group(fm, "posterior").copy(deep=True)
    lift = np.random.default_rng(3).normal(size=(1, 30, 1))
    base = group["angle_potential_ABA"].isel(draw=0).values[:, None]
    group["angle_potential_ABA"] = (group["angle_potential_ABA"].dims, base + 5.0 * lift)
    lifted = case(results.with_groups(fm, {"posterior": group}))
    plain = told(case(result("imc")), lifted.interactions[4])
    known = told(lifted, lifted.interactions[4])
    assert plain is not None and known is not None
    np.testing.assert_allclose(known.error, plain.error)


def test_dihedrals_are_laid_out_with_trans_in_the_middle() -> None:
    at, values = laid_out("dihedral", np.array([-175.0, -5.0, 5.0, 175.0]), np.arange(4.0))
    assert at.tolist() == [5.0, 175.0, 185.0, 355.0] and values.tolist() == [2.0, 3.0, 0.0, 1.0]
    bins = np.arange(3.0)
    assert laid_out("angle", bins, bins) == (bins, bins)


def test_runs_of_bins() -> None:
    which = np.array([1, 1, 0, 1, 0, 0, 1], bool)
    assert runs(which) == [(0, 1), (3, 3), (6, 6)]
    assert runs(which, gap=1) == [(0, 3), (6, 6)]
    assert runs(~which & which) == []
    assert Told(np.arange(2.0), np.array([0.1, np.nan]), np.ones(2, bool)).weak.tolist() == [
        False,
        True,
    ]


def test_a_fit_to_distributions_alone_takes_the_errors_of_its_reference(imc: Any) -> None:
    one_frame = results.group(imc, "observed_data").isel(frame=slice(1))
    one = case(results.with_groups(imc, {"observed_data": one_frame}))
    assert one.fitted is None
    known, bond = told(one, one.interactions[3]), results.group(imc, "reference")
    assert known is not None
    met = bond["bond_AB"].values > 0
    expected = bond["bond_AB_se"].values[met] / bond["bond_AB"].values[met]
    np.testing.assert_allclose(known.error[met], expected)
    assert "the reference, as no frames are stored" in drawn(constraints, one.idata).caption


def test_a_posterior_has_bands_and_no_talk_of_points(fm: Any) -> None:
    one = case(fm)
    assert "Intervals are within-model" in premise(one)
    assert "no search that could stop too early" in status(one)["text"]
    assert not any("point method" in worry for worry in doubts(one))
    assert "posterior mean of each with the 10–90 % band" in drawn(potentials, fm).caption
    table = drawn(single, fm).table
    assert table[0][-1] == "reference inside 10–90 %" and all(
        r[-1].endswith("%") for r in table[1:]
    )
    assert "± " in drawn(joint, fm).table[1][2]
    assert dict(overview(one))["prior of θ"] == "normal(0, 10)"


@pytest.mark.parametrize(
    "gone",
    [
        ("posterior_predictive", "reference"),
        ("em_trace", "observed_data"),
        ("observed_data", "reference"),
    ],
    ids=" ".join,
)
def test_a_report_stands_without_some_groups(
    imc: Any, gone: tuple[str, ...], tmp_path: Path
) -> None:
    kept = {g: results.group(imc, g) for g in results.groups(imc) if g not in gone}
    page = page_of([results.inference_data(kept, **results.attrs(imc))], tmp_path)
    assert "Potentials" in page and "</html>" in page


def test_the_commands_repeat_it(imc: Any) -> None:
    lines, _ = commands(case(imc))
    assert lines[0].startswith("bayescg fit molecular -d frames.nc -m imc")
    assert lines[1].startswith("bayescg predict result.nc")


def test_what_a_fit_left_is_read_as_it_is() -> None:
    """No made-up group: direct inversion of frames of bent molecules, as `bayescg fit` stores it."""
    one = case(fitted())
    assert one.is_molecular and one.is_point and one.is_matched
    assert [i.label for i in one.interactions[3:]] == ["bond AB", "angle ABA"]
    constants = results.group(fitted(), "constant_data")
    assert constants["angle_sites"].shape == (MOLECULES, 3)
    for i in one.interactions:
        assert one.has("posterior", i.potential)


@pytest.mark.parametrize(
    ("value", "error", "told_as"),
    [
        (0.15, 0.0057, "0.1500 ± 0.0057"),
        (-0.0004, 0.00053, "−0.00040 ± 0.00053"),
        (12.3, 4.0, "12.3 ± 4.0"),
        (0.12345, np.nan, "0.123"),
    ],
)
def test_numbers_with_their_errors(value: float, error: float, told_as: str) -> None:
    assert give_or_take(value, error) == told_as
