"""The figures of the documentation, the commands that it shows, and the checksums that data state."""

from hashlib import sha256
import importlib.util
from pathlib import Path
import re
import shlex
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr

from bayescg import workflow
from bayescg.cli import cli
from bayescg.options import parse_options

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Pages with figures, and the scripts that make them.
FIGURED = {
    "water": "figures",
    "ising": "figures",
    "arcg": "arcg_figures",
    "intervals": "intervals_figures",
}
FIGURE = re.compile(r":::\{figure-md\}\n!\[([^\]]*)\]\(([^)]*)\)\n\n(.*?)\n:::", re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"
MOST = 200_000  # bytes
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def shown(page: str) -> list[tuple[str, str, str]]:
    """Alternative text, file and caption of each figure."""
    return FIGURE.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", FIGURED)
def test_every_figure_has_its_file_a_caption_and_words_for_those_who_do_not_see_it(
    page: str,
) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert len(shown(page)) == text.count("![") > 0
    for words, name, caption in shown(page):
        assert (DOCS / name).is_file()
        assert len(words) > 40
        assert caption.startswith("Fig. ")


def test_every_figure_is_shown_once() -> None:
    names = [DOCS / name for page in FIGURED for _, name, _ in shown(page)]
    assert sorted(names) == sorted((DOCS / "figures").iterdir())


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


@pytest.mark.parametrize("page", FIGURED)
def test_the_script_makes_what_is_shown(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    spec = importlib.util.spec_from_file_location(FIGURED[page], DOCS / f"{FIGURED[page]}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = [ident for idents in module.SHOWN[page].values() for ident in idents]
    assert [Path(name).stem for _, name, _ in shown(page)] == made
    with pytest.raises(SystemExit, match=f"docs/{page}.md says which commands"):
        module.main(page, Path("none"))


def typed() -> list[list[str]]:
    """Every command of the pages' shell examples, as words."""
    blocks = [b for page in PAGES for b in SHELL.findall(page.read_text(encoding="utf-8"))]
    lines = [line for b in blocks for line in b.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in commands if words and words[0] == "bayescg"]


@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_a_command_that_is_shown_can_be_typed(words: list[str]) -> None:
    if words == ["--help"]:
        return
    name, *rest = words
    given = cli.commands[name].make_context(name, rest).params
    if (model := given.get("model")) and (given.get("settings") or given.get("method_settings")):
        parse_options(workflow.model_options(model), given["settings"], model)
    if method := given.get("method") or given.get("help_method"):
        options = workflow.method_options(method)
        parse_options(options, given.get("method_settings", ()), method)


def test_options_that_the_water_page_names_are_there() -> None:
    text = (DOCS / "water.md").read_text(encoding="utf-8")
    models = ("spce_water", "spce_temperatures")
    known = {name for model in models for name in vars(workflow.model_options(model))}
    known |= set(vars(workflow.method_options("mcem")))
    named = set(re.findall(r"(?:`|-[sM] )([a-z_0-9]+)=", text))
    assert len(named) > 8
    assert named <= known


def stated(folder: Path) -> list[str]:
    """Checksums that the folder's README states."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return re.findall(r"`([0-9a-f]{64})`", text)


def of_file(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_ising_data_have_the_checksums_that_their_readme_states() -> None:
    folder = ROOT / "data" / "ising"
    with xr.open_dataset(folder / "sweep.nc") as data:
        spins = np.ascontiguousarray(data["x"].values, np.int8)
        own = data.attrs["sha256"]
    assert own == sha256(spins.tobytes()).hexdigest()
    assert stated(folder) == [of_file(folder / "sweep.nc"), own]


def test_the_water_data_have_the_checksums_that_their_readme_states() -> None:
    folder = ROOT / "data" / "spce_water"
    frames, long_run = (xr.load_dataset(folder / f"{n}.nc") for n in ("frames", "long_run"))
    centres = np.ascontiguousarray(frames["x"].values)
    assert centres.dtype == np.float32
    own = sha256(centres.tobytes()).hexdigest()
    assert frames.attrs["sha256"] == long_run.attrs["sha256"] == own
    names = ("frames", "long_run", "frames_512", "long_run_512")
    files = [of_file(folder / f"{n}.nc") for n in names]
    assert stated(folder) == [*files, own]
    # The second file is the first without its frames.
    assert set(frames) - set(long_run) == {"x", "mass"}
    xr.testing.assert_identical(frames.drop_vars(["x", "mass"]), long_run)
