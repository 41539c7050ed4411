"""The report of particle systems, on small made-up results: what it draws, counts and doubts."""

from collections.abc import Sequence
import json
from pathlib import Path
import re
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import bayescg as cg
from bayescg import results
from bayescg.report import write_report
from bayescg.report.case import ABSENT, Case, cases_of
from bayescg.report.drawing import Figure, drawing_style
from bayescg.report.liquid import doubts, numbers, parameters, reliability
from bayescg.report.parameters import relevant, spread, switched_off
from bayescg.report.potentials import compared
from bayescg.report.repeat import commands
from bayescg.report.structure import agreement
from bayescg.report.write import IN_SPACE, figures_of
from tests.report.made_liquid import BINS, POINT, adf_of, case, made, rdf_of
from tests.report.words import Words


@pytest.fixture(scope="module")
def several() -> list[Any]:
    """N = 20 first, then 100 and 10, REM, and a fit without ARD."""
    return [
        made(),
        made(frames=100, width=0.05),
        made(frames=10, width=0.2),
        made(method="rem", draws=1, approximation="one draw: the point estimate"),
        made(prior="normal"),
    ]


NAMES = ["N 20", "N 100", "N 10", "REM", "normal"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("liquid")


@pytest.fixture(scope="module")
def figures(several: list[Any], folder: Path) -> dict[str, Figure]:
    """The figures that were drawn for the page."""
    kept: dict[str, Figure] = {}

    def seen(cases: Sequence[Case]) -> tuple[list[Figure], list[tuple[str, str]]]:
        found, missing = figures_of(cases)
        assert not missing
        kept.update({f.ident: f for f in found})
        return found, missing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayescg.report.write.figures_of", seen)
        write_report(several, folder / "water.html", NAMES)
    return kept


@pytest.fixture(scope="module")
def page(figures: dict[str, Figure], folder: Path) -> str:
    return (folder / "water.html").read_text(encoding="utf-8")


def drawn(of: Sequence[Any], names: Sequence[str]) -> dict[str, Figure]:
    return {f.ident: f for f in figures_of(cases_of(of, names))[0]}


def test_all_figures_of_particles_are_there_and_none_of_a_lattice(
    figures: dict[str, Figure], page: str
) -> None:
    assert list(figures) == [
        *(
            "trace",
            "fig14a",
            "fig14b",
            "fig15",
            "fig16",
            "fig17",
            "fig18",
            "fig19",
            "checks",
            "two-intervals",
        )
    ]
    assert page.count("<svg") == len(figures) == len(IN_SPACE)
    text = Words(page).text
    assert "magnetisation" not in text.lower() and "Fig. 8" not in text


def test_the_page_is_whole_and_by_itself(page: str) -> None:
    read = Words(page)
    assert not read.bad
    assert len(set(read.idents)) == len(read.idents)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(read.idents)


def test_the_top_of_the_page_says_what_the_fit_rests_on(page: str) -> None:
    text = Words(page).text
    assert "20 fitted of 510 given; worth 18 independent ones" in text
    assert "statistical inefficiency of the given frames 1.25" in text
    assert "converged after 15 iterations" in text
    assert "90% of the moves of the latent sites were accepted" in text
    assert "a ratio of 1.000, which is 1 at the optimum (Eq. 62)" in text
    assert "The fit said: something was thinned." in text
    assert text.index("Converged.") < text.index("20 fitted")


def test_panels_stand_in_the_order_of_the_number_of_frames(figures: dict[str, Figure]) -> None:
    for ident in ("fig18", "fig19"):
        table = figures[ident].table
        assert [row[1] for row in table[1:]] == ["10", "20", "20", "20", "100"]
        widths = {row[0]: row[-1] for row in table[1:]}
        assert float(widths["N 10"]) > float(widths["N 20"]) > float(widths["N 100"])
        assert widths["REM"] == ABSENT


def test_a_prediction_is_measured_against_the_reference() -> None:
    found = agreement(case(offset=0.3, width=0.05), "rdf")
    assert found is not None
    inside = (BINS > 2.4) & (BINS < 7.2)
    mean = results.group(made(offset=0.3, width=0.05), "posterior_predictive")["rdf"].mean(POINT)
    gap = (mean.values - rdf_of())[inside]
    assert found.error == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-12)
    assert found.peak is not None and found.exact_peak is not None
    assert found.exact_peak == (BINS[rdf_of().argmax()], rdf_of().max())
    assert found.peak[1] > found.exact_peak[1]
    good = agreement(case(width=0.3), "rdf")
    # What is far from the peak is the same in every draw, and so is the reference there.
    assert good is not None and good.covered == 1.0
    assert found.covered is not None and found.covered < 1.0


def test_errors_of_the_adf_are_relative() -> None:
    found = agreement(case(offset=0.2, width=0.01), "adf")
    error = np.sqrt(np.mean((adf_of(0.2) - adf_of()) ** 2)) / adf_of().mean()
    assert found is not None and found.at_map == pytest.approx(error, rel=1e-12)


def test_a_reference_on_other_bins_is_read_between_them() -> None:
    whole = made()
    coarse = results.group(whole, "reference").isel(r=slice(1, None, 2))
    found = agreement(Case("fit", results.with_groups(whole, {"reference": coarse})), "rdf")
    assert found is not None and found.error is not None and np.isfinite(found.error)


def test_switched_off_coefficients_are_counted_with_their_threshold(
    several: list[Any], figures: dict[str, Figure]
) -> None:
    assert switched_off(case()) == 3
    figure = figures["fig15"]
    assert "below 0.01 kcal/mol" in figure.caption
    # The fit by the same method under another prior stands nearest.
    assert [row[0] for row in figure.table[1:]] == ["N 20", "normal", "REM"]
    assert figure.table[1][3:6] == ["3 of 6", "2 of 3", "1 of 3"]
    with drawing_style():
        alone = relevant(cases_of(several[:1], NAMES[:1]))
    assert alone is not None and "-s prior=normal or flat" in alone.caption


def of_several(dim: str) -> Any:
    """A made-up result whose sigma2 has an axis; the k-th value is k times the one that there was."""
    idata = made()
    many = {"axis": 3, "component": 2}[dim]
    groups = {name: results.group(idata, name) for name in results.groups(idata)}
    for name in ("posterior", "map", "em_trace"):
        one = groups[name]["sigma2"]
        several = one.expand_dims({dim: many}, -1) * np.arange(1.0, many + 1.0)
        added = {"sigma2": several.assign_attrs(one.attrs)}
        if dim == "component":
            shares = np.broadcast_to([0.75, 0.25], several.shape)
            added["weights"] = xr.DataArray(shares, dims=several.dims)
        groups[name] = groups[name].assign(added)
    return results.inference_data(groups, **results.attrs(idata))


@pytest.mark.parametrize(
    ("dim", "names"),
    [
        ("axis", ["sigma2[x]", "sigma2[y]", "sigma2[z]"]),
        ("component", ["sigma2[1]", "sigma2[2]", "weights[1]", "weights[2]"]),
    ],
)
def test_every_variance_of_a_map_stands_in_the_tables(dim: str, names: list[str]) -> None:
    """By its own name and value, and in Fig. 16 as well, beside a fit with one variance."""
    idata = of_several(dim)
    cases = cases_of([idata, made(frames=100)], ["several", "one"])
    rows = dict(parameters(cases[0]))
    assert list(rows) == ["sigma", "epsilon", *names]
    figure = spread(cases)
    assert figure is not None
    means = {(row[0], row[1]): float(row[3]) for row in figure.table[1:]}
    expected = results.group(idata, "posterior")
    for k, name in enumerate(names[: expected.sizes[dim]]):
        assert means[f"{name} / Å²", "several"] == pytest.approx(0.002 * (k + 1), rel=0.02)
        assert rows[name].startswith(f"{0.002 * (k + 1):.3f}")
    assert not any(label == "one" and name.startswith("sigma2") for name, label in means)
    if dim == "component":
        assert (means["weights[1]", "several"], means["weights[2]", "several"]) == (0.75, 0.25)
    assert {row[0] for row in figure.table[1:]} >= {"sigma / Å", "epsilon / kcal/mol"}


def test_coefficients_without_wave_numbers_have_one_panel() -> None:
    whole = made()
    named = {
        g: results.group(whole, g).assign_coords(feature=[f"spline {i}" for i in range(6)])
        for g in ("posterior", "map")
    }
    with drawing_style():
        figure = relevant(cases_of([results.with_groups(whole, named)], ["fit"]))
    assert figure is not None
    assert figure.table[1][3:5] == ["3 of 6", "3 of 6"]


def test_rem_is_named_beside_the_map(several: list[Any], figures: dict[str, Figure]) -> None:
    figure = figures["fig14b"]
    assert "REM has no latent X" in figure.caption
    assert [row[0] for row in figure.table[1:]] == NAMES
    with drawing_style():
        other = compared(cases_of(several[:2], NAMES[:2]))
    assert other is not None
    assert "No fit by REM is given" in other.caption


def test_one_fit_alone_says_what_is_missing() -> None:
    _, missing = figures_of(cases_of([made(predicted=False)], ["fit"]))
    assert [name[:7] for name, _ in missing] == [
        *("Fig. 14", "Fig. 18", "Fig. 19", "predict", "the two")
    ]
    assert all("-m rem" in text or "predict" in text for _, text in missing)


@pytest.mark.parametrize(
    "groups",
    [("em_trace", "reference"), ("map", "constant_data"), ("map_predictive", "observed_data")],
    ids=" ".join,
)
def test_a_report_stands_without_some_groups(groups: tuple[str, ...], tmp_path: Path) -> None:
    whole = made()
    kept = {g: results.group(whole, g) for g in results.groups(whole) if g not in groups}
    part = results.inference_data(kept, **results.attrs(whole))
    write_report([part], tmp_path / "one.html", ["fit"])
    assert "</html>" in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_a_point_estimate_has_no_interval() -> None:
    point = case(method="rem", draws=1)
    figures = drawn([point.idata], ["REM"])
    assert not {"fig16", "fig17"} & set(figures)
    row = figures["fig18"].table[1]
    assert row[3] == row[-1] == row[-2] == ABSENT and row[4] != ABSENT
    assert "rdf_rmse" not in numbers(point) and "map_rdf_rmse" in numbers(point)


def test_a_good_fit_leaves_nothing_to_doubt() -> None:
    assert doubts(case(width=0.3, effective_frames=20.0)) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gap": 1.2}, "at the optimum they are equal (Eq. 62)"),
        ({"effective_frames": 5.0}, "worth 5 independent ones"),
        ({"width": 1e-4}, "Monte Carlo error is"),
        ({"offset": 0.3, "width": 0.01}, "band of the ADF holds only"),
        ({"predict_messages": ["mind the pressure", "3 failed"]}, "The prediction said: 3 failed"),
        ({"predict_conditions": '{"temperature": 350.0}'}, "temperature = 350"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], told: str) -> None:
    assert any(told in worry for worry in doubts(case(**options)))


def test_a_draw_that_few_samples_reach_is_said() -> None:
    whole = made()
    group = results.group(whole, "posterior_predictive").copy(deep=True)
    group["effective_samples"][0, 3] = 7.0
    rough = Case("fit", results.with_groups(whole, {"posterior_predictive": group}))
    assert any("1 of 40 predicted draws" in worry for worry in doubts(rough))
    table = {row[0]: row[1] for row in reliability([rough])[1:]}
    assert table["effective pooled samples of a predicted draw, fewest"] == "7"
    assert table["simulated trajectories that blew up"] == "0"
    assert table["the posterior is"] == "Laplace (complete), unweighted draws"


@pytest.mark.parametrize(
    ("bulk", "told"),
    [
        (np.linspace(1e4, 2e4, 101), "6.667e−05 (5.263e−05 to 9.091e−05)"),
        (np.linspace(-2e4, 8e4, 101), "3.333e−05 (1.429e−05 and more, without a bound)"),
        (np.linspace(-8e4, 2e4, 101), "none: at constant pressure the model would fall apart"),
        (np.array([1e4]), "0.0001"),
    ],
)
def test_compressibility_has_the_interval_of_a_reciprocal(bulk: np.ndarray, told: str) -> None:
    """A pole lies where the bulk modulus is zero: quantiles of the reciprocal would jump across it."""
    whole = made()
    group = results.group(whole, "posterior_predictive").isel(draw=slice(bulk.size)).copy()
    group = group.isel(draw=np.zeros(bulk.size, int))
    group["bulk_modulus"] = (("chain", "draw"), bulk[None])
    group["compressibility"] = (("chain", "draw"), np.zeros((1, bulk.size)))
    found = numbers(Case("fit", results.with_groups(whole, {"posterior_predictive": group})))
    assert found["compressibility"] == told


def test_a_pressure_that_is_noise_is_said() -> None:
    whole = made()
    group = results.group(whole, "posterior_predictive").copy(deep=True)
    rng = np.random.default_rng(0)
    for name, error in (("pressure", 10.0), ("bulk_modulus", 900.0)):
        group[name] = (("chain", "draw"), 1e4 + 1e3 * rng.normal(size=(1, 40)))
        group[f"{name}_mcse"] = (("chain", "draw"), np.full((1, 40), error))
    noisy = Case("fit", results.with_groups(whole, {"posterior_predictive": group}))
    told = [worry for worry in doubts(noisy) if "mostly Monte Carlo error" in worry]
    assert len(told) == 1 and "bulk modulus" in told[0]


def test_a_hole_where_no_data_are_is_said() -> None:
    options = {"prior": "ard", "a0": 1e-5, "b0": 1e-5, "frames": 20, "core": 2.4}
    whole = made(model_options=options)
    assert not any("repulsive" in worry for worry in doubts(Case("fit", whole)))
    group = results.group(whole, "posterior").copy(deep=True)
    group["pair_potential"][0, 3, 2] = -50.0
    holed = Case("fit", results.with_groups(whole, {"posterior": group}))
    told = [worry for worry in doubts(holed) if "repulsive" in worry]
    assert len(told) == 1 and "of 1 of 40 draws" in told[0]


def test_an_unconverged_fit_is_said_first(tmp_path: Path) -> None:
    whole = made(converged=0, ended="interrupted")
    write_report([whole], tmp_path / "one.html", ["fit"])
    html = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert html.index("Did NOT converge (it ended: interrupted)") < html.index("<svg")
    assert "the last is not a result" in Words(html).text


def test_the_command_repeats_the_conditions_of_a_prediction() -> None:
    other = case(
        predict_conditions=json.dumps({"temperature": 350.0, "sites": 200}), predict_seed=1
    )
    (_, again), _ = commands(other)
    assert "--temperature 350 --sites 200" in again


def test_bands_of_particles_are_drawn_in_notebooks() -> None:
    whole = made()
    with mpl.rc_context({"backend": "agg"}):
        ax = cg.plot.band(whole, "rdf")
        wide = cg.plot.band(whole, "rdf", interval=(0.05, 0.95))
    assert ax.get_ylabel() == "g(r)" and "Å" in ax.get_xlabel()
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["posterior mean, 10–90 %", "reference"]
    assert wide.get_legend_handles_labels()[1][0] == "posterior mean, 5–95 %"
    assert cg.plot.band(whole, "adf").get_xlabel() == "angle / degrees"
    with pytest.raises(ValueError, match="rising"):
        cg.plot.band(whole, "rdf", interval=(0.9, 0.1))
