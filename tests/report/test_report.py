"""The report of small fits: what it shows, what it says, and what it refuses."""

from collections.abc import Callable
from copy import deepcopy
from html.parser import HTMLParser
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayescg import results, workflow
from bayescg.report import write_report
from bayescg.report.bands import bands
from bayescg.report.case import ABSENT, Case, cases_of
from bayescg.report.curves import NEAR
from bayescg.report.drawing import drawing_style
from bayescg.report.repeat import commands
from bayescg.report.sampling import LOW_BFMI, information, sampled
from bayescg.report.text import values
from bayescg.report.trust import worries
from bayescg.report.write import FIGURES, figures_of
from tests.report import test_browser as in_browser
from tests.report.browser import program, started
from tests.report.words import Words

NORMAL = ("L2=2", "L3=1", "prior=normal", "prior_scale=1.0")


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return workflow.make_reference("ising", ["n_f=16", "mu=0:1:3", "frames=12"], seed=1)


@pytest.fixture(scope="module")
def fits(data: xr.Dataset) -> dict[str, Any]:
    def made(method: str, options: tuple[str, ...], *said: str, **more: Any) -> Any:
        found = workflow.fit(
            "ising", data, method=method, options=list(options), method_options=list(said), **more
        )
        return workflow.predict(found, reference=data, draws=20)

    normal = made("mcem", (*NORMAL, "ratio=4", "frames=12"), "draws=40")
    fewer = results.group(normal, "observed_data").isel(frame=slice(6))
    return {
        "normal": normal,
        "ard": made("mcem", ("L2=2", "L3=1", "ratio=4", "frames=12"), "draws=40", "weights=false"),
        "nuts": made(
            "nuts", (*NORMAL, "ratio=4", "frames=12"), "chains=2", "warmup=60", "samples=40"
        ),
        # A page compares fits; that these would have other numbers does not change what it draws.
        "N 6": with_options(
            results.with_groups(copied(normal), {"observed_data": fewer}), frames=6
        ),
        "ratio 2": with_options(copied(normal), ratio=2),
    }


@pytest.fixture(scope="module")
def everything(fits: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "all.html"
    names = ["normal", "ard", "N 6", "ratio 2", "nuts"]
    write_report([fits[n] for n in names], path, names)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    def made(result: Any, label: str = "fit") -> str:
        write_report([result], tmp_path / "one.html", [label])
        return (tmp_path / "one.html").read_text(encoding="utf-8")

    return made


class Page(HTMLParser):
    """Tags with their attributes, and the text outside styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.folded: list[str] = []  # of them, those inside <details>
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)
            if "details" in self.open:
                self.folded.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def copied(result: Any) -> Any:
    return result.copy(deep=True) if isinstance(result, xr.DataTree) else deepcopy(result)


def with_attrs(result: Any, **attrs: Any) -> Any:
    other = copied(result)
    other.attrs.update(attrs)
    return other


def with_options(result: Any, **options: Any) -> Any:
    """A copy that says it was fitted with other options of its model."""
    said = json.loads(results.attrs(result)["model_options"])
    return with_attrs(result, model_options=json.dumps(said | options))


def without(result: Any, *groups: str) -> Any:
    other = copied(result)
    for group in groups:
        del other[group]
    return other


@pytest.mark.slow
def test_all_figures_are_there_when_all_fits_are_given(
    fits: dict[str, Any], everything: str
) -> None:
    names = ["normal", "ard", "N 6", "ratio 2", "nuts"]
    figures, missing = figures_of(cases_of([fits[n] for n in names], names))
    # Five figures are of the main fit alone, by a method, a prior or a model that this one has not.
    assert {name for name, _ in missing} == {
        "ARD relevances",
        "traces of the chains",
        "ranks of the chains",
        "hidden states",
        "features added one by one",
    }
    assert everything.count("<svg") == len(figures) == len(FIGURES) - 5
    of_nuts = [("nuts", "traces of the chains"), ("nuts", "ranks of the chains")]
    for main, name in [("ard", "ARD relevances"), *of_nuts]:
        _, missing = figures_of(cases_of([fits[main]], [main]))
        assert name not in {name for name, _ in missing}


@pytest.mark.slow
def test_every_figure_has_an_accessible_name(everything: str) -> None:
    drawn = [attrs for tag, attrs in Page(everything).tags if tag == "svg"]
    assert drawn
    names = []
    for attrs in drawn:
        assert attrs.get("role") == "img"
        name = attrs.get("aria-labelledby") or attrs.get("aria-label")
        assert name
        names.append(name)
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_links_lead_somewhere_and_ids_are_unique(everything: str) -> None:
    tags = Page(everything).tags
    ids = [a["id"] for _, a in tags if a.get("id")]
    assert len(set(ids)) == len(ids)
    inner = [a["href"] for t, a in tags if t == "a" and (a.get("href") or "").startswith("#")]
    for href in inner:
        assert href is not None
        assert href[1:] in ids
    for _, attrs in tags:
        for key in ("aria-labelledby", "aria-describedby"):
            for ident in (attrs.get(key) or "").split():
                assert ident in ids


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(everything: str) -> None:
    assert not Words(everything).bad
    for tag, attrs in Page(everything).tags:
        assert tag not in ("iframe", "object", "embed")
        for key in ("src", "srcset", "data", "xlink:href"):
            assert not re.match(r"(?:https?:)?//", attrs.get(key) or "")
        if tag == "link":
            assert not re.match(r"(?:https?:)?//", attrs.get("href") or "")
    assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", everything)
    assert "@import" not in everything


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="there is no Chromium to open a page in")
def test_a_comparison_of_lattices_holds_in_a_browser(everything: str, tmp_path: Path) -> None:
    executable = program()
    assert executable is not None
    (tmp_path / "all.html").write_text(everything, encoding="utf-8")
    with started(executable) as browser:
        page = browser.page()
        page.open(tmp_path / "all.html")
        for check, *more in (
            (in_browser.test_a_page_opens_without_a_word_on_the_console_and_asks_for_nothing_else,),
            (in_browser.test_every_figure_is_drawn_and_has_a_name,),
            (in_browser.test_every_link_leads_to_its_part_of_the_page,),
            (in_browser.test_ids_are_unique_and_headings_go_down_one_level_at_a_time,),
            (in_browser.test_a_phone_scrolls_in_one_direction_only, 320),
            (in_browser.test_text_has_the_contrast_that_wcag_asks_for, "dark"),
            (in_browser.test_it_prints_on_paper_and_nothing_is_cut,),
        ):
            check(in_browser.settled(page), *more)


def test_what_a_file_says_is_escaped(fits: dict[str, Any], page: Callable[..., str]) -> None:
    evil = "<script>alert(1)</script>"
    said = with_attrs(fits["normal"], messages=json.dumps([evil]), data_source=evil)
    html = page(said, label=evil)
    assert evil not in html
    assert "&lt;script&gt;" in html


def test_an_unconverged_fit_is_said_before_any_figure(
    fits: dict[str, Any], page: Callable[..., str]
) -> None:
    html = page(with_attrs(fits["normal"], converged=0, ended="iterations"))
    assert html.index("Did NOT converge") < html.index("<svg")
    assert "Did NOT converge" not in page(fits["normal"])


@pytest.mark.parametrize(
    ("groups", "gone"),
    [
        (("posterior_predictive", "map_predictive"), "Fig. 5 (magnetisation)"),
        (("em_trace",), "iterations of MC-EM"),
        (("laplace_complete", "laplace_observed"), ""),
        (("reference",), ""),
        (("map",), ""),
        (("constant_data",), ""),
    ],
)
def test_a_report_stands_without_a_group(
    fits: dict[str, Any], page: Callable[..., str], groups: tuple[str, ...], gone: str
) -> None:
    there = [g for g in groups if results.has_group(fits["normal"], g)]
    assert there
    html = page(without(fits["normal"], *there))
    assert "</html>" in html
    if gone:
        remedy = {name: text for name, _, text in FIGURES}[gone]
        text = Page(html).text
        assert gone in text
        assert remedy.split("`")[0].strip() in text


def test_diagnostics_of_nuts_are_shown(fits: dict[str, Any], page: Callable[..., str]) -> None:
    text = Page(page(fits["nuts"])).text
    assert "R-hat" in text
    # Forty draws of two chains cannot give 400 effective ones, and the report says so.
    assert "Effective sample size" in text


def test_chains_are_drawn_with_what_the_sampler_says(fits: dict[str, Any]) -> None:
    other = copied(fits["nuts"])
    worst = results.group(other, "health")["r_hat"]
    worst.values[...] = 1.0
    worst.values[..., -1] = 1.5
    with drawing_style():
        figure = sampled(cases_of([other], ["fit"]))
    assert figure is not None
    posterior, stats = (results.group(other, g) for g in ("posterior", "sample_stats"))
    count, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    titles = [p["title"] for p in figure.image.panels]
    assert titles[0] == "p0" and len(titles) == 4
    last = str(posterior["feature"].values[-1])
    assert titles[1] == f"θ of {last}, which mixes worst"
    near = posterior.sel(mu=NEAR, method="nearest")
    curves = figure.image.panels[1]["curves"]
    assert [c["label"] for c in curves] == [f"chain {k}" for k in range(count)]
    for chain, curve in enumerate(curves):
        expected = near["theta_c"].sel(feature=last).isel(chain=chain).values
        np.testing.assert_allclose(curve["value"], expected, rtol=1e-5)
    table = dict(figure.table)
    assert table["divergent transitions"].endswith(f"of {stats['diverging'].size}")
    assert float(table["mean acceptance probability"].split()[0]) == pytest.approx(
        float(stats["accept_prob"].mean()), rel=1e-3
    )
    assert stats["num_steps"].size == count * draws * posterior.sizes["mu"]


def test_momenta_that_do_not_move_the_energy_are_a_worry(fits: dict[str, Any]) -> None:
    one = with_attrs(fits["nuts"], messages="[]")
    energy = one["sample_stats"]["energy"]
    rng = np.random.default_rng(0)
    energy.values[...] = rng.normal(size=energy.shape)
    independent = cases_of([one], ["fit"])[0]
    # Of independent energies the mean square step is twice the variance.
    assert information(independent) == pytest.approx(2.0, abs=1.0)
    assert not any("E-BFMI" in w for w in worries(independent))
    slow = copied(one)
    drawn = list(energy.dims).index("draw")
    slow["sample_stats"]["energy"].values[...] = np.cumsum(energy.values, drawn)
    walk = cases_of([slow], ["fit"])[0]
    least = information(walk)
    assert least is not None and least < LOW_BFMI
    assert any("E-BFMI" in w for w in worries(walk))


def test_divergences_are_counted(fits: dict[str, Any], page: Callable[..., str]) -> None:
    other = copied(fits["nuts"])
    stats = other["sample_stats"]
    value = np.zeros(stats["diverging"].shape, bool)
    value.flat[:3] = True
    stats["diverging"].values[...] = value
    assert "3 divergent transitions" in Page(page(other)).text


def banner(html: str) -> tuple[str, str]:
    """Class and text of what stands first on the page."""
    found = re.search(r'<div class="(state[^"]*)">(.*?)</div>', html, re.DOTALL)
    assert found
    return found[1], Page(found[2]).text


def weighed(result: Any, khat: list[float], effective: float = 1e3) -> Any:
    """A fit with these k-hats, which had nothing to say."""
    other = with_attrs(result, messages="[]")
    other["map"]["khat"].values[...] = khat
    for form in ("laplace_complete", "laplace_observed"):
        other[form]["effective_draws"].values[...] = effective
    return other


def test_bad_weights_are_named(fits: dict[str, Any], page: Callable[..., str]) -> None:
    text = Page(page(weighed(fits["normal"], [0.1, 0.95, 0.2]))).text
    assert "Importance weights are unreliable (k-hat up to 0.95" in text


@pytest.mark.slow
def test_the_banner_tells_of_weights_beside_convergence(
    fits: dict[str, Any], page: Callable[..., str]
) -> None:
    kind, text = banner(page(weighed(fits["normal"], [0.1, 0.95, 0.2])))
    assert kind == "state warn"
    assert "Converged." in text and "unreliable at 1 of 3 values of μ" in text
    kind, text = banner(page(weighed(fits["normal"], [0.1, 0.3, 0.2])))
    assert kind == "state"
    assert "unreliable" not in text
    kind, text = banner(page(weighed(fits["normal"], [0.1, 0.3, 0.2], effective=3.0)))
    assert kind == "state warn"
    assert "unreliable at 3 of 3" in text and "effective draws" in text
    kind, text = banner(page(weighed(fits["normal"], [np.nan] * 3)))
    assert kind == "state warn" and "no importance weights" in text


def test_worries_of_compared_fits_are_folded(fits: dict[str, Any], tmp_path: Path) -> None:
    one = with_attrs(fits["normal"], messages=json.dumps(["first trouble"]))
    two = with_attrs(fits["N 6"], messages=json.dumps(["second trouble"]))
    write_report([one, two], tmp_path / "two.html", ["one", "two"])
    read = Page((tmp_path / "two.html").read_text(encoding="utf-8"))
    folded = " ".join(read.folded)
    assert "first trouble" in read.text and "first trouble" not in folded
    assert "second trouble" in folded and "Compared fit two:" in folded


def test_terms_are_explained_where_they_come_first(
    fits: dict[str, Any], page: Callable[..., str]
) -> None:
    said = with_attrs(fits["normal"], messages=json.dumps(["2 of 9 draws got no weight (mu = 1)"]))
    text = Page(page(said)).text
    for explained, used in (
        ("terms that the coarse potential is a sum of", "pair_1"),
        ("probability that a fine spin equals its coarse spin", "posterior mean of p0"),
        ("tail index of the importance weights", "largest k-hat"),
        ("A draw without weight is", "draws got no weight"),
        ("The MAP plug-in is", "RMSE of the MAP plug-in"),
    ):
        assert text.index(explained) < text.index(used)
    assert "A draw without weight" not in Page(page(with_attrs(said, messages="[]"))).text


@pytest.mark.parametrize(
    ("options", "used", "told"),
    [
        ({"prior": "normal", "prior_scale": 3.0}, "normal", "normal(0, 3)"),
        ({"prior": "ard", "a0": 1e-5, "b0": 0.5}, "ard", "ARD(a0=1e-05, b0=0.5)"),
        ({"prior": "ard", "prior_scale": 3.0}, "flat, normal(0, 10)", "flat, normal(0, 10)"),
        ({"prior": "horseshoe", "prior_scale": 3.0}, "horseshoe", "horseshoe"),
        ({}, "normal", "normal"),
    ],
)
def test_a_prior_is_shown_with_its_scale(options: dict[str, Any], used: str, told: str) -> None:
    attrs = {"model_options": json.dumps(options), "prior_used": used}
    assert Case("fit", xr.DataTree(xr.Dataset(attrs=attrs))).prior == told


def test_no_two_of_many_fits_look_alike() -> None:
    looks = [(c.colour, str(c.line)) for c in cases_of([None] * 56, [""] * 56)]
    assert len(set(looks)) == 56


def test_an_expected_configuration_says_what_it_averages(
    fits: dict[str, Any], page: Callable[..., str]
) -> None:
    assert "average of 400 draws" in Page(page(fits["normal"])).text


def column(result: Any) -> dict[str, str]:
    """Key numbers of one fit by name."""
    return {row[0]: row[1] for row in values(cases_of([result], ["fit"]))}


@pytest.fixture
def rem(fits: dict[str, Any]) -> Any:
    """What REM leaves: one draw, and the long simulation at it. A fit by REM would take a minute."""
    names = ("posterior", "posterior_predictive")
    one = {g: results.group(fits["normal"], g).isel(draw=[0]) for g in names}
    return with_attrs(results.with_groups(copied(fits["normal"]), one), method="rem")


def test_a_point_estimate_is_judged_by_its_long_simulation(fits: dict[str, Any], rem: Any) -> None:
    # What a short simulation would give must not show.
    other = copied(rem)
    other["posterior_predictive"]["magnetization"].values[...] += 0.5
    assert column(other) == column(rem)
    at_point = results.group(rem, "map_predictive")["magnetization"]
    gap = at_point - results.group(rem, "reference")["magnetization"]
    found = column(rem)["magnetisation, RMSE of the MAP plug-in"]
    assert float(found) == pytest.approx(float(np.sqrt((gap**2).mean())), rel=1e-3)
    # Beside a fit that has them, a point has neither a posterior mean nor a band.
    table = values(cases_of([fits["normal"], rem], ["normal", "rem"]))
    rows = {row[0]: row[2] for row in table}
    assert rows["magnetisation, mean width of the 5–95 % band"] == ABSENT
    assert rows["magnetisation, RMSE of the posterior mean"] == ABSENT


def test_the_width_of_a_point_estimate_is_no_zero(rem: Any) -> None:
    x = results.group(rem, "observed_data").isel(frame=slice(6))
    fewer = results.with_groups(copied(rem), {"observed_data": x})
    for name in ("magnetization", "correlation"):
        with drawing_style():
            figure = bands(cases_of([rem, fewer], ["rem", "fewer"]), name, "frames")
        assert figure is not None
        assert [row[0] for row in figure.table] == ["N", "6", "12"]
        assert all(row[1:3] == [ABSENT, ABSENT] for row in figure.table[1:])


def test_an_indefinite_form_is_named(fits: dict[str, Any], page: Callable[..., str]) -> None:
    other = with_attrs(fits["normal"], messages="[]")
    other["laplace_observed"]["smallest_eigenvalue"].values[...] = [1.0, -2.5, 1.0]
    assert "observed Laplace form is indefinite" in Page(page(other)).text


def test_the_commands_repeat_the_fit(fits: dict[str, Any], page: Callable[..., str]) -> None:
    text = Page(page(fits["normal"])).text
    assert "bayescg fit ising" in text
    assert "-s ratio=4" in text
    assert "-M draws=40" in text


def test_the_commands_take_what_the_file_holds(fits: dict[str, Any]) -> None:
    said = with_attrs(
        fits["normal"],
        data_source="my data.nc",
        predict_observables=json.dumps(["magnetization", "correlation:max=3"]),
        predict_reference="long.nc",
        predict_draws=17,
        predict_seed=5,
    )
    (fit, again), notes = commands(cases_of([said], ["fit"])[0])
    assert "-d 'my data.nc'" in fit
    assert again == (
        "bayescg predict result.nc -O magnetization -O correlation:max=3 --draws 17 "
        "--reference long.nc --seed 5"
    )
    assert not notes


def test_the_commands_say_what_the_file_does_not_hold(
    fits: dict[str, Any], page: Callable[..., str]
) -> None:
    bare = with_attrs(fits["normal"], data_source="memory")
    for name in [n for n in bare.attrs if n.startswith("predict_")]:
        del bare.attrs[name]
    (fit, again), notes = commands(cases_of([bare], ["fit"])[0])
    assert "-d DATA.nc" in fit
    assert again == "bayescg predict result.nc --draws 20 --reference REFERENCE.nc"
    assert len(notes) == 3
    text = Page(page(bare)).text
    assert "given its data in memory" in text
    assert "does not name its reference" in text and "does not record the seed" in text


def test_no_result_and_wrong_labels_are_refused(fits: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        write_report([], tmp_path / "none.html")
    with pytest.raises(ValueError, match="labels"):
        write_report([fits["nuts"]], tmp_path / "none.html", ["a", "b"])
    assert not list(tmp_path.iterdir())


def test_a_report_that_fails_leaves_no_file(
    fits: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("half way")

    monkeypatch.setattr("bayescg.report.write._render", fail)
    with pytest.raises(RuntimeError):
        write_report([fits["nuts"]], tmp_path / "out.html")
    assert not list(tmp_path.iterdir())
