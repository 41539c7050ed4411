"""The figures of the documentation, which are the report's, and the checksums that it states."""

from hashlib import sha256
import importlib.util
from pathlib import Path
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIGURE = re.compile(r":::\{figure-md\}\n!\[([^\]]*)\]\(([^)]*)\)\n\n(.*?)\n:::", re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"
MOST = 200_000  # bytes


def shown() -> list[tuple[str, str, str]]:
    """Alternative text, file and caption of each figure."""
    return FIGURE.findall((DOCS / "ising.md").read_text(encoding="utf-8"))


def test_every_figure_has_its_file_a_caption_and_words_for_those_who_do_not_see_it() -> None:
    text = (DOCS / "ising.md").read_text(encoding="utf-8")
    assert len(shown()) == text.count("![") > 0
    assert {DOCS / name for _, name, _ in shown()} == set((DOCS / "figures").iterdir())
    for words, _, caption in shown():
        assert len(words) > 40
        assert caption.startswith("Fig. ")


@pytest.mark.parametrize("path", sorted((DOCS / "figures").iterdir()), ids=lambda p: p.stem)
def test_a_figure_is_small_and_readable_on_any_page(path: Path) -> None:
    assert path.stat().st_size < MOST
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg" and root.get("role") == "img" and root.get("aria-label")
    style = root.findtext(f"{SVG}style") or ""
    # Ink and paper change together, so that neither can meet the other's twin.
    assert style.count("svg{color:") == style.count(".paper{fill:") == 2
    paper = root.find(f"{SVG}rect")
    assert paper is not None and paper.get("class") == "paper"
    assert "http" not in path.read_text(encoding="utf-8").replace(SVG[1:-1], "")


def test_the_script_makes_what_is_shown() -> None:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [Path(name).stem for _, name, _ in shown()] == list(module.SHOWN)
    with pytest.raises(SystemExit, match="bayescg demo"):
        module.main(Path("no such folder"))


def test_the_data_have_the_checksums_that_their_readme_states() -> None:
    folder = ROOT / "data" / "ising"
    stated = re.findall(r"`([0-9a-f]{64})`", (folder / "README.md").read_text(encoding="utf-8"))
    with xr.open_dataset(folder / "sweep.nc") as data:
        spins = np.ascontiguousarray(data["x"].values, np.int8)
        assert data.attrs["sha256"] == sha256(spins.tobytes()).hexdigest()
        own = data.attrs["sha256"]
    assert stated == [sha256((folder / "sweep.nc").read_bytes()).hexdigest(), own]
