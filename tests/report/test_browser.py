"""The report in a real browser: what it shows, says aloud, lets run, prints, and reads out at the pointer."""

from collections.abc import Iterator
import json
from pathlib import Path
import re
import struct
from typing import Any
import zlib

import numpy as np
import pytest

from bayescg import results
from bayescg.report import write_report
from tests.report.browser import Browser, Page, program, started
from tests.report.made_liquid import case, made
from tests.typed_fits import result

CHROMIUM = program()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open a page in")

LARGEST = 5_000_000  # bytes
PHONE = (390, 844)
#: What WCAG 2.2 (1.4.3, level AA) asks of text.
CONTRAST = 4.5
EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "<!--<script>",
    "\u202egnp.exe\u2066",
    "javascript:alert(4)",
    "{{ 7*7 }}",
    "$\\frac{1}{2}$",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with started(CHROMIUM) as running:
        yield running


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of several fits of a liquid, of one that did not converge, and of molecules."""
    folder = tmp_path_factory.mktemp("pages")
    several = [made(), made(method="rem", draws=1)]
    unsettled = made(converged=0, ended="iterations", prior="normal", predicted=False)
    pages = {
        "liquid": (several, ["N 20", "REM"]),
        "unsettled": ([unsettled], ["fit"]),
        "molecules": ([result("fm", draws=30, steps=0, prior_used="normal")], ["fit"]),
    }
    for name, (those, labels) in pages.items():
        write_report(those, folder / f"{name}.html", labels)
    return {name: folder / f"{name}.html" for name in pages}


NAMES = ("liquid", "unsettled", "molecules")


@pytest.fixture(scope="module")
def opened(browser: Browser, reports: dict[str, Path]) -> Iterator[dict[str, Page]]:
    """Each page, as it was loaded."""
    pages = {}
    for name, path in reports.items():
        pages[name] = browser.page()
        pages[name].open(path)
    yield pages
    for page in pages.values():
        page.close()


@pytest.fixture(params=NAMES)
def page(request: pytest.FixtureRequest, opened: dict[str, Page]) -> Iterator[Page]:
    yield settled(opened[request.param])


@pytest.fixture
def liquid(opened: dict[str, Page]) -> Page:
    return settled(opened["liquid"])


def settled(page: Page) -> Page:
    """A page as a reader first sees it, before all others: a page that is behind draws no frames."""
    page.call("Page.bringToFront")
    page.media()
    page.resize(1100, 800)
    page.point(1, 1)
    page.run("document.activeElement.blur(); scrollTo(0, 0)")
    return page


def test_a_page_opens_without_a_word_on_the_console_and_asks_for_nothing_else(page: Page) -> None:
    assert page.said == []
    address = page.run("location.href")
    assert address in page.asked
    assert [a for a in page.asked if a != address and not a.startswith("data:")] == []
    assert page.run("document.readyState") == "complete"


def test_every_figure_is_drawn_and_has_a_name(page: Page) -> None:
    sizes = page.run(
        "[...document.querySelectorAll('main figure svg')].map(s => { const b = s.getBoundingClientRect();"
        " return [b.width, b.height, s.querySelectorAll('path').length] })"
    )
    assert len(sizes) > 3
    assert all(width > 200 and height > 100 and paths > 5 for width, height, paths in sizes)
    names = page.names("image")
    assert len(names) == len(set(names)) == len(sizes)
    assert all(len(name) > 20 for name in names)
    # The regions around them, which a keyboard scrolls and reads, are named too.
    regions = page.names("region")
    assert len(regions) >= len(sizes) and all(regions)


def test_every_link_leads_to_its_part_of_the_page(page: Page) -> None:
    links = page.run("[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
    assert len(links) > 8
    for href in sorted(set(links)):
        assert re.fullmatch(r"#[\w-]+", href)
        found = page.run(
            f"(() => {{ scrollTo(0, 0); document.querySelector('a[href=\"{href}\"]').click();"
            f" const b = document.getElementById('{href[1:]}').getBoundingClientRect();"
            " const last = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;"
            " return [b.top, b.height, last] })()"
        )
        top, height, at_end = found
        assert height > 0
        assert -2 <= top <= 2 or (at_end and 0 <= top < 800)


def test_ids_are_unique_and_headings_go_down_one_level_at_a_time(page: Page) -> None:
    ids = page.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    levels = page.run(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert (np.diff(levels) <= 1).all()


def test_the_first_screen_tells_what_was_fitted_and_whether_it_converged(page: Page) -> None:
    bottoms = page.run(
        "['h1', '.state', '.facts'].map(s => document.querySelector(s).getBoundingClientRect().bottom)"
    )
    assert bottoms == sorted(bottoms) and bottoms[-1] < 800
    text = page.run("document.querySelector('.state').innerText")
    assert re.search(r"[Cc]onverge|Linear equations", text)


@pytest.mark.parametrize("width", [PHONE[0], 320])
def test_a_phone_scrolls_in_one_direction_only(page: Page, width: int) -> None:
    page.resize(width, PHONE[1], mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= width
    wide = page.run(
        f"[...document.querySelectorAll('body *')].filter(e => !e.closest('.plot, .scroll, .aside')"
        f" && e.getBoundingClientRect().right > {width} + 1).map(e => e.tagName + ' ' + e.className)"
    )
    assert wide == []


RATIOS = """(() => {
  const linear = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const rgba = text => { const v = text.match(/[\\d.]+/g).map(Number); return v.length > 3 ? v : [...v, 1]; };
  const over = (top, under) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * under[i]);
  const paper = e => {
    const chain = [];
    for (; e; e = e.parentElement) chain.unshift(rgba(getComputedStyle(e).backgroundColor));
    return chain.reduce((under, top) => over(top, under), rgba(getComputedStyle(document.body).backgroundColor));
  };
  const found = {};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode()); ) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest('svg, script, style') || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    let shade = 1;
    for (let p = e; p; p = p.parentElement) shade *= Number(getComputedStyle(p).opacity);
    const under = paper(e), ink = rgba(style.color);
    const above = over([ink[0], ink[1], ink[2], ink[3] * shade], under);
    const [one, two] = [light(above), light(under)].sort((a, b) => b - a);
    const key = e.tagName + '.' + (e.closest('.state')?.className || e.className);
    found[key] = Math.min(found[key] ?? 99, (one + 0.05) / (two + 0.05));
  }
  return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(page: Page, scheme: str) -> None:
    page.media(prefers_color_scheme=scheme)
    dark = page.run("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    ratios = page.run(RATIOS)
    assert {k.split(".")[0] for k in ratios} >= {"P", "A", "DIV", "STRONG", "TD", "TH", "LI"}
    assert {k: v for k, v in ratios.items() if v < CONTRAST} == {}


def test_a_contrast_that_is_too_low_is_seen(liquid: Page) -> None:
    """The test above can fail."""
    liquid.run("document.querySelector('figcaption').style.opacity = 0.5")
    low = liquid.run(RATIOS)["FIGCAPTION."]
    liquid.run("document.querySelector('figcaption').style.opacity = ''")
    assert low < CONTRAST <= liquid.run(RATIOS)["FIGCAPTION."]


def test_figures_follow_the_colours_of_the_page(liquid: Page) -> None:
    ink = "getComputedStyle(document.querySelector('#fig18 svg path[style*=currentColor]')).stroke"
    light = liquid.run(ink)
    liquid.media(prefers_color_scheme="dark")
    assert light != liquid.run(ink) == liquid.run("getComputedStyle(document.body).color")


def panel_of(page: Page, ident: str, number: int = 0) -> dict[str, Any]:
    """A panel's data, and where its first curve's points are in the window."""
    found: dict[str, Any] = page.run(
        f"(() => {{ const s = document.getElementById('{ident}'); s.scrollIntoView({{behavior: 'instant'}});"
        f" const p = JSON.parse(s.querySelector('script.values').textContent)[{number}];"
        " const to = s.querySelector('svg').getScreenCTM(); const [x, y, w, h] = p.box;"
        " p.window = p.grids[p.curves[0].grid].px.map(v => {"
        " const q = new DOMPoint(v, y + h / 2).matrixTransform(to); return [q.x, q.y] }); return p })()"
    )
    return found


def readout(page: Page, ident: str) -> list[str]:
    """Lines of the readout; none while it is hidden."""
    return list(
        page.run(
            f"(() => {{ const r = document.querySelector('#{ident} .readout');"
            " return r.hidden ? [] : [...r.querySelectorAll('.place, .of, li')].map(e => e.innerText) })()"
        )
    )


def numbers(line: str) -> list[float]:
    return [float(v) for v in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", line.replace("−", "-"))]


def test_the_pointer_reads_the_numbers_of_the_result(liquid: Page) -> None:
    shown = case()
    panel = panel_of(liquid, "fig18")
    k = panel["grids"][0]["at"].index(2.75)
    liquid.point(*panel["window"][k])
    place, of, *lines = readout(liquid, "fig18")
    assert place == "distance r = 2.75 Å" and "g(r)" in of
    i = int(np.argmin(np.abs(shown.mean("rdf")["r"].values - 2.75)))
    low, high = (float(v[i]) for v in shown.interval("rdf"))
    (ours,) = [line for line in lines if line.startswith("N 20: mean")]
    assert "10–90 % of 40 draws" in ours
    told = numbers(ours.partition(": mean: ")[2].replace("10–90 % of 40 draws", ""))
    np.testing.assert_allclose(told, [float(shown.mean("rdf")[i]), low, high], rtol=1e-3)
    (exact,) = [line for line in lines if line.startswith("reference")]
    assert numbers(exact)[0] == pytest.approx(float(shown.get("reference", "rdf")[i]), rel=1e-3)
    # The cross stands at the place, and dots on the curves.
    cross = liquid.run(
        "(() => { const c = document.querySelector('#fig18 svg > g:last-of-type');"
        " return [+c.querySelector('line').getAttribute('x1'), c.querySelectorAll('circle').length] })()"
    )
    assert cross == [panel["grids"][0]["px"][k], len(lines)]
    box = liquid.run("document.querySelector('#fig18 .readout').getBoundingClientRect().toJSON()")
    assert box["left"] >= 0 and box["right"] <= 1100
    x, _ = panel["window"][k]
    assert not box["left"] <= x <= box["right"]  # it does not cover what it tells of
    liquid.point(1, 1)
    assert readout(liquid, "fig18") == []


def test_a_logarithmic_axis_reads_the_same_numbers(liquid: Page) -> None:
    panel = panel_of(liquid, "trace")
    k = 4
    liquid.point(*panel["window"][k])
    place, _, step, *_ = readout(liquid, "trace")
    left = np.geomspace(30.0, 0.3, 15)[k]
    assert place == f"iteration = {k + 1}"
    assert numbers(step)[0] == pytest.approx(left, rel=1e-3)


def test_a_finger_reads_values_and_the_readout_stands_below(liquid: Page) -> None:
    liquid.call("Emulation.setTouchEmulationEnabled", enabled=True)
    liquid.resize(*PHONE, mobile=True)
    panel = panel_of(liquid, "fig18")
    k = 20
    liquid.touch(*panel["window"][k])
    assert readout(liquid, "fig18")[0].startswith("distance r = ")
    below = liquid.run(
        "(() => { const f = document.querySelector('#fig18 figure');"
        " return f.querySelector('.readout').getBoundingClientRect().top"
        " >= f.querySelector('svg').getBoundingClientRect().bottom - 1 })()"
    )
    assert below
    assert liquid.run("document.documentElement.scrollWidth") <= PHONE[0]
    liquid.touch(20, 5)
    assert readout(liquid, "fig18") == []
    liquid.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_the_keyboard_walks_along_a_figure_and_is_told_aloud_once(liquid: Page) -> None:
    panel = panel_of(liquid, "fig18")
    at = panel["grids"][0]["at"]
    liquid.run("document.querySelector('#fig18 .plot').focus({preventScroll: true})")
    spoken = "document.getElementById('spoken').textContent"
    seen = []
    steps: list[tuple[str, bool]] = [("ArrowRight", False), ("ArrowRight", False)]
    for key, shift in [
        *steps,
        ("ArrowRight", True),
        ("ArrowLeft", False),
        ("End", False),
        ("Home", False),
    ]:
        liquid.press(key, shift=shift)
        seen.append(numbers(readout(liquid, "fig18")[0])[0])
    np.testing.assert_allclose(seen, [at[i] for i in (0, 1, 11, 10, -1, 0)], rtol=1e-3)
    assert liquid.run(f"new Promise(r => setTimeout(() => r({spoken}), 600))").startswith(
        "distance r = "
    )
    of = readout(liquid, "fig18")[1]
    liquid.press("ArrowDown")
    assert readout(liquid, "fig18")[1] != of
    liquid.press("Escape")
    assert readout(liquid, "fig18") == [] and liquid.run(spoken) == ""
    before = liquid.run("scrollY")
    liquid.press("ArrowDown")  # now it scrolls again
    assert liquid.run("new Promise(r => setTimeout(() => r(scrollY), 500))") > before


def test_a_keyboard_sees_where_it_is(liquid: Page) -> None:
    for _ in range(3):
        liquid.press("Tab")
    outline = liquid.run(
        "(s => [document.activeElement.tagName, s.outlineStyle, s.outlineWidth])"
        "(getComputedStyle(document.activeElement))"
    )
    assert outline[0] != "BODY" and outline[1] != "none" and outline[2] != "0px"


def test_a_live_region_is_polite_and_the_images_keep_their_role(liquid: Page) -> None:
    told = liquid.run(
        "(s => [s.getAttribute('role'), s.getAttribute('aria-live')])(document.getElementById('spoken'))"
    )
    assert told == ["status", "polite"]
    panel = panel_of(liquid, "fig18")
    before = liquid.names("image")
    liquid.point(*panel["window"][10])
    assert readout(liquid, "fig18")
    assert liquid.names("image") == before


def test_without_scripts_the_page_is_whole(browser: Browser, reports: dict[str, Path]) -> None:
    plain = browser.page()
    plain.call("Emulation.setScriptExecutionDisabled", value=True)
    plain.open(reports["liquid"])
    assert len(plain.names("image")) > 5
    nodes = plain.call("Accessibility.getFullAXTree")["nodes"]
    words = " ".join(str(n.get("name", {}).get("value", "")) for n in nodes if not n.get("ignored"))
    assert "Key numbers" in words
    assert "Point at a figure" not in words  # which only a script can keep
    plain.close()


def test_the_policy_lets_no_other_script_run(
    browser: Browser, reports: dict[str, Path], tmp_path: Path
) -> None:
    text = reports["unsettled"].read_text(encoding="utf-8")
    other = "<script>document.title = 'ran'</script><img src='data:,' onerror=\"document.title = 'ran'\">"
    (tmp_path / "other.html").write_text(text.replace("<main>", f"<main>{other}"), encoding="utf-8")
    tried = browser.page()
    tried.open(tmp_path / "other.html")
    assert tried.run("document.title") != "ran"
    assert any("Content Security Policy" in said for said in tried.said)
    assert tried.run("!document.getElementById('reading').hidden")  # ours did
    tried.close()


def hostile() -> Any:
    """A result whose every word tries to be something else."""
    bad = made(
        model=EVIL[1],
        messages=list(EVIL),
        ended=EVIL[0],
        converged=0,
        data_source=EVIL[2],
        approximation=EVIL[3],
        model_options={"prior": EVIL[0], "frames": 20, EVIL[1]: EVIL[2], "wave_numbers": EVIL[4]},
        prior_used=EVIL[5],
        predict_messages=list(EVIL),
        jax_version=EVIL[1],
    )
    features = np.array([*EVIL, *EVIL])[: results.group(bad, "posterior").sizes["feature"]]
    posterior = results.group(bad, "posterior").assign_coords(feature=features)
    posterior["epsilon"].attrs["units"] = EVIL[2]
    mode = results.group(bad, "map").assign_coords(feature=features)
    return results.with_groups(bad, {"posterior": posterior, "map": mode})


def test_words_of_a_file_are_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    write_report([hostile(), made()], tmp_path / "evil.html", [EVIL[0], EVIL[2]])
    page = browser.page()
    page.open(tmp_path / "evil.html")
    assert page.dialogs == 0 and page.said == []
    assert page.run("document.querySelectorAll('img, iframe, object, embed').length") == 0
    ours = page.run("[...document.scripts].filter(s => s.type !== 'application/json').length")
    assert ours == 1
    text = page.run("document.body.textContent")
    for evil in EVIL[:4] + EVIL[5:]:
        assert evil in text
    assert page.run("document.title").startswith(EVIL[1])
    # What turns the direction of writing stays in its own line.
    turned = page.run(
        "[...document.querySelectorAll('li, dd, td')].filter(e => e.textContent.includes('\\u202e')).map(e =>"
        " [e.tagName, getComputedStyle(e).unicodeBidi])"
    )
    assert turned and all(style in ("isolate", "plaintext") for _, style in turned)
    panel = panel_of(page, "fig18")
    page.point(*panel["window"][10])
    assert any(EVIL[0][:20] in line for line in readout(page, "fig18"))
    assert page.dialogs == 0 and page.said == []
    page.close()


def test_it_prints_on_paper_and_nothing_is_cut(page: Page) -> None:
    page.resize(718, 1000)  # A4 less its margins, in CSS pixels
    page.media("print", prefers_color_scheme="dark")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = page.run(
        "[...document.querySelectorAll('main svg, table, pre, dl, .state')].filter(e =>"
        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' +"
        " (e.getAttribute('aria-label') || e.innerText).slice(0, 40))"
    )
    assert cut == []
    assert page.run("getComputedStyle(document.getElementById('reading')).display") == "none"
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 2


def test_a_picture_of_the_page_is_not_empty(page: Page) -> None:
    data = page.shot()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (1100, 800)
    chunks, at = b"", 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            chunks += data[at + 8 : at + 8 + size]
        at += 12 + size
    # Lines of equal bytes would be one colour.
    assert len(set(zlib.decompress(chunks))) > 20


def test_a_report_is_small(reports: dict[str, Path]) -> None:
    for path in reports.values():
        assert path.stat().st_size < LARGEST
        values = re.findall(r'class="values">(.*?)</script>', path.read_text(encoding="utf-8"))
        assert sum(map(len, values)) < 0.5 * LARGEST
        assert all(json.loads(v) for v in values)
