"""Values at the pointer: where they stand on the page, and what a file cannot do through them."""

import json
import re

from matplotlib.colors import LogNorm
import numpy as np
import pytest

from bayescg.report.drawing import INK, canvas, drawing_style, svg
from bayescg.report.hover import as_json, follow, follow_lines, panels, script
from bayescg.report.structure import distribution
from tests.report.made_liquid import BINS, case, rdf_of

RISING = np.array([0.5, 1.0, 2.0, 4.0, 8.0])


def drawn_path(image: str, colour: str) -> np.ndarray:
    """Corners of the only line of a colour in an SVG, ``(corner, 2)``."""
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="[^"]*stroke: ([^;"]+)', image)
    (path,) = [d for d, stroke in paths if stroke == colour]
    return np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path), float)


@pytest.mark.parametrize("x_scale", ["linear", "log"])
@pytest.mark.parametrize("y_scale", ["linear", "log"])
def test_places_are_those_of_the_drawn_curve(x_scale: str, y_scale: str) -> None:
    value = 1.0 / RISING
    with drawing_style():
        figure = canvas(4, 3)
        ax = figure.subplots()
        ax.plot(RISING, value, color="#112233")
        ax.set_xscale(x_scale)
        ax.set_yscale(y_scale)
        follow(ax, "a curve", RISING, value)
        image = svg(figure, "one", "words")
    (panel,) = image.panels
    ours = np.stack([panel["grids"][0]["px"], panel["curves"][0]["py"]], -1)
    np.testing.assert_allclose(ours, drawn_path(image, "#112233"), atol=0.06)
    left, top, width, height = panel["box"]
    assert ((ours > [left, top]) & (ours < [left + width, top + height])).all()
    assert panel["grids"][0]["at"] == RISING.tolist()


def test_only_what_a_panel_shows_is_told_and_what_is_not_finite_is_none() -> None:
    with drawing_style():
        figure = canvas(4, 3)
        ax = figure.subplots()
        ax.set_xlim(0.9, 5.0)
        ax.set_ylim(0.0, 3.0)
        follow(ax, "c", RISING, [1.0, np.nan, 2.0, 30.0, np.inf], interval=(RISING - 1, RISING + 1))
        svg(figure, "one", "words")
        (panel,) = panels(figure)
    (curve,) = panel["curves"]
    assert panel["grids"] == [{"at": [1.0, 2.0, 4.0], "px": panel["grids"][0]["px"]}]
    assert curve["value"] == [None, 2.0, 30.0]
    assert [v is None for v in curve["py"]] == [True, False, True]  # 30 is above the panel
    assert curve["low"] == [0.0, 1.0, 3.0] and curve["high"] == [2.0, 3.0, 5.0]


def test_axes_share_their_names_and_curves_their_places() -> None:
    figure = canvas(4, 3)
    upper, lower = figure.subplots(2, 1, sharex=True)
    lower.set_xlabel("distance r / Å")
    upper.set_ylabel("u(r) / kcal/mol")
    follow(upper, "one", RISING, RISING, colour="#0072B2")
    follow(upper, "two", RISING, 2 * RISING, colour=INK + "ff")
    svg(figure, "one", "words")
    (panel,) = panels(figure)
    assert (panel["x"], panel["unit"]) == ("distance r", "Å")
    assert (panel["y"], panel["yUnit"]) == ("u(r)", "kcal/mol")
    assert len(panel["grids"]) == 1 and [c["grid"] for c in panel["curves"]] == [0, 0]
    assert [c.get("colour") for c in panel["curves"]] == ["#0072B2", None]


def test_lines_are_followed_by_their_labels_and_marks_are_not() -> None:
    figure = canvas(4, 3)
    ax = figure.subplots()
    ax.semilogy(RISING, RISING, label="left")
    ax.plot(RISING, RISING)
    ax.axhline(1.0, label="a level")
    follow_lines(ax)
    svg(figure, "one", "words")
    (panel,) = panels(figure)
    assert [c["label"] for c in panel["curves"]] == ["left"]


def test_lengths_that_differ_are_refused() -> None:
    ax = canvas(4, 3).subplots()
    for more in ({"value": RISING[1:]}, {"interval": (RISING[1:], RISING[1:])}, {"names": ("a",)}):
        with pytest.raises(ValueError, match="c: "):
            follow(ax, "c", RISING, **{"value": RISING, **more})  # type: ignore[arg-type]


def test_a_figure_without_curves_tells_nothing() -> None:
    figure = canvas(4, 3)
    figure.subplots().pcolormesh([[1.0, 2.0]], norm=LogNorm())
    assert svg(figure, "one", "words").values == ""


@pytest.mark.parametrize(
    "evil",
    ["</script><script>alert(1)</script>", "<!-- <script>", "a\u2028b\u2029c", "\u202ea", "&"],
)
def test_json_cannot_leave_its_element(evil: str) -> None:
    text = str(as_json({evil: [evil]}))
    assert not re.search(r"[<>&\u2028\u2029\u202e]", text) and text.isascii()
    assert json.loads(text) == {evil: [evil]}


def test_the_script_is_allowed_by_its_own_hash_and_holds_no_address() -> None:
    found = script()
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", found.source)
    assert not re.search(r"</|<!--|fetch|XMLHttp|import|eval|innerHTML", found.text)
    assert "://" not in found.text  # nor does a page hold any: tests/test_workflow.py


def test_a_radial_distribution_function_tells_its_band_and_the_reference() -> None:
    main = case(width=0.2, offset=0.05)
    with drawing_style():
        figure = distribution([main], "rdf")
    assert figure is not None
    upper, lower = figure.image.panels
    at = np.array(upper["grids"][0]["at"])
    kept = np.isin(np.round(BINS, 6), np.round(at, 6))
    assert kept.sum() == len(at) > 40
    by_label = {c["label"]: c for c in upper["curves"]}
    ours, exact = by_label["fit: mean"], by_label["reference"]
    low, high = (np.asarray(v)[kept] for v in main.interval("rdf"))
    np.testing.assert_allclose(ours["value"], main.mean("rdf").values[kept], rtol=1e-5)
    np.testing.assert_allclose(ours["low"], low, rtol=1e-5)
    np.testing.assert_allclose(ours["high"], high, rtol=1e-5)
    assert ours["ends"] == "10–90 % of 40 draws"
    np.testing.assert_allclose(exact["value"], rdf_of()[kept], rtol=1e-5)
    difference = lower["curves"][0]
    gap = (main.mean("rdf").values - rdf_of())[kept]
    np.testing.assert_allclose(difference["value"], gap, rtol=1e-5, atol=1e-12)
