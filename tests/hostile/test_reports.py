"""A report shows what files say, and never obeys it: names, units, messages and labels of a result are text."""

from collections import Counter
from html.parser import HTMLParser
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayescg import results
from bayescg.report import write_report
from tests.hostile import valid

#: What would be an element, an attribute, a style, a script or the end of one, were it not escaped.
NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}</style>",
    "</title></head><body onload=alert(1)>",
    "<!-- -->]]><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;&#60;i&#62;",
    "javascript:alert(1)",
    "\u202e\x07\x1b[2J\x00bell",
)


class Page(HTMLParser):
    """How often each element comes with each set of attributes; values of those that could run."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.values: set[tuple[str, str]] = set()
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag, tuple(sorted(name for name, _ in attrs))] += 1
        self.values |= {
            (k, v or "") for k, v in attrs if k.startswith("on") or k in ("href", "src")
        }

    def handle_data(self, data: str) -> None:
        (self.scripts if self.cdata_elem == "script" else self.text).append(data)


def count_of(page: Page, tag: str) -> int:
    return sum(count for (name, _), count in page.tags.items() if name == tag)


def page(result: Any, folder: Path, label: str = "fit") -> Page:
    write_report([result], folder / "report.html", [label])
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def poisoned(result: Any, text: str) -> Any:
    """The same result with a text in every place that holds one and is not a name that the report looks for."""
    groups = {}
    for name in results.groups(result):
        ds = results.group(result, name)
        for label in ds.variables:
            ds[label].attrs |= {"units": text, "long_name": text, text: text}
            if ds[label].dtype.kind in "UO":
                many = [f"{text}{n}" for n in range(ds[label].size)]
                ds = ds.assign_coords({label: (ds[label].dims, np.array(many, dtype=object))})
        ds.attrs = {"note": text, text.replace("/", "_").replace("\x00", "") or "x": text}
        groups[name] = ds
    attrs = results.attrs(result)
    keep = ("method", "model", "converged", "model_options", "method_options")
    changed = {k: text if isinstance(v, str) and k not in keep else v for k, v in attrs.items()}
    told = json.dumps([text, text])
    options = json.loads(attrs["model_options"]) | {"comment": text}
    return results.inference_data(
        groups,
        **changed
        | {"messages": told, "predict_messages": told, "ended": text, "data_source": text}
        | {"model_options": options, "inference_library_version": text, "approximation": text},
    )


@pytest.fixture(scope="module")
def plain() -> Any:
    """A result of water with two distributions predicted, beside their reference."""
    result = valid.water_result()
    r = 0.05 + 0.1 * np.arange(49)
    rng = np.random.default_rng(0)
    g = {"rdf": (("chain", "draw", "r"), 1.0 + 0.1 * rng.normal(size=(2, 3, 49)))}
    known = {"rdf": ("r", np.ones(49)), "rdf_se": ("r", np.full(49, 0.01))}
    more = {
        "posterior_predictive": xr.Dataset(g, {"r": r, "chain": range(2), "draw": range(3)}),
        "reference": xr.Dataset(known, {"r": r}),
    }
    return results.with_groups(result, more)


@pytest.fixture(scope="module")
def calm(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page(poisoned(plain, "calm"), tmp_path_factory.mktemp("calm"), "calm")


@pytest.mark.parametrize(
    "text", [*NASTY[:2], *(pytest.param(t, marks=pytest.mark.by_hand) for t in NASTY[2:])]
)
def test_no_text_of_a_file_becomes_an_element(
    text: str, plain: Any, calm: Page, tmp_path: Path
) -> None:
    """The poisoned page has no element, no attribute and no address that the page of harmless text lacks."""
    found = page(poisoned(plain, text.replace("\x00", "")), tmp_path, text)
    assert set(found.tags) <= set(calm.tags)
    assert {k for k, _ in found.values} <= {k for k, _ in calm.values}
    assert not any(k.startswith("on") or "alert" in v for k, v in found.values)
    assert not any(tag in ("iframe", "object", "embed", "base") for tag, _ in found.tags)
    # The page's own script, and values that it reads: as many as on the other page, and nothing else in them.
    assert count_of(found, "script") == count_of(calm, "script")
    assert found.scripts[-1] == calm.scripts[-1]
    for values in found.scripts[:-1]:
        json.loads(values)
    if "alert" in text:
        assert any("alert(1)" in words for words in found.text), "the text is not shown at all"


def test_a_model_by_a_nasty_name(plain: Any, tmp_path: Path) -> None:
    """The title, the headings and the command that repeats the fit name the model."""
    text = '"><img src=x onerror=alert(1)>'
    changed = plain.copy()
    attrs = results.attrs(changed) | {"model": text, "method": text}
    groups = {name: results.group(plain, name) for name in results.groups(plain)}
    found = page(results.inference_data(groups, **attrs), tmp_path, text)
    assert not any(k.startswith("on") for k, _ in found.values)
    assert not any("alert" in v for _, v in found.values)
