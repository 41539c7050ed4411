"""The pages: what they take from the code, the commands and the Python that they show, and what they name."""

import ast
from collections.abc import Iterator
from functools import cache
import importlib.util
import json
from pathlib import Path
import re
import shlex
from types import ModuleType

import click
from click.testing import CliRunner
import numpy as np
import pytest
import xarray as xr

import bayescg
from bayescg import results, workflow
from bayescg.cli import cli
from bayescg.console import Console
from bayescg.options import describe, parse_options

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


@cache
def generate() -> ModuleType:
    """The module beside the pages that writes what they take from the code."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what is taken from the code -----------------------------------------------------------------


@pytest.mark.parametrize("model", [name for name, _ in workflow.models()])
def test_every_system_has_a_page_with_all_of_its_options(model: str) -> None:
    page = text_of(f"systems/{model}")
    for asked in (f"{{{{ options of model {model} }}}}", f"{{{{ defaults for {model} }}}}"):
        assert asked in page
    filled = generate().filled(page)
    assert "{{" not in filled
    for name, _, default, help_ in describe(workflow.model_options(model)):
        (row,) = re.findall(rf"^\| `{name}` \|.*$", filled, re.MULTILINE)
        assert default.replace("|", "\\|") in row
        assert help_.split()[0].strip("`,;:") in row
    for part in ("## Data", "## Fit it", "## Where its results are"):
        assert part in page
    assert f"systems/{model}\n" in text_of("systems")  # in the tree of contents
    assert f"(systems/{model}.md)" in generate().systems()


def test_a_system_s_own_defaults_of_methods_are_told() -> None:
    told = generate().suited("lj_fluid")
    assert "`-M mass=dense`" in told and "`-s prior=lognormal`" in told
    assert "-M rates=epsilon=0.01,sigma=0.004" in told
    assert workflow.method_options("mcem", "lj_fluid").tolerance == 1.0
    assert "`-M tolerance=1.0`" in told


def test_every_method_has_its_options_on_one_page() -> None:
    page = text_of("methods")
    asked = re.findall(r"\{\{ options of method (\w+) \}\}", page)
    assert sorted(asked) == sorted(workflow.method_names())
    for method in asked:
        table = generate().method_options(method)
        assert table.count("\n") == len(describe(workflow.method_options(method))) + 1


def test_every_command_and_option_is_on_the_command_line_s_page() -> None:
    page = generate().filled(text_of("command_line"))
    for name, command in cli.commands.items():
        section = page.split(f"## `bayescg {name}`")[1].split("\n## ")[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                within = (
                    page if parameter.name in (*generate().SHARED, *generate().DEVICES) else section
                )
                assert all(flag in within for flag in parameter.opts), (name, parameter.opts)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("theta_c * 2 <x>", r"theta\_c \* 2 \<x\>"),
        ("`a_b` or a|b", r"`a_b` or a\|b"),
        ("`a|b`", r"`a\|b`"),
        ("one ` alone", r"one \` alone"),
    ],
)
def test_help_is_no_markdown(given: str, shown: str) -> None:
    assert generate().prose(given) == shown


def test_what_is_not_known_is_left_alone() -> None:
    page = "{{ rooms }}\n\n{{ nothing }}\ntext {{ commands }} text"
    assert generate().filled(page) == page
    assert not generate().asks(page) and generate().asks("{{ commands }}")


def test_rooms_are_those_of_the_package() -> None:
    told = generate().rooms()
    for name in ("potentials", "infer", "workflow", "cli"):
        assert f"| `{name}` |" in told
    assert told.index("`potentials`") < told.index("`infer`") < told.index("`cli`")


def test_public_names_are_those_of_the_package() -> None:
    told = generate().filled(text_of("api"))
    for name in bayescg.__all__:
        assert name.startswith("__") or f"`{name}" in told, name
    assert "{py:obj}`rdf <bayescg.observables.liquid.rdf>`" in told


# --- the table of limiting cases ------------------------------------------------------------------


def included() -> str:
    """The part of the README that the theory page shows."""
    block = re.search(r"```\{include\} \.\./README\.md\n(.*?)```", text_of("theory"), re.DOTALL)
    assert block is not None
    marks = {k: json.loads(v) for k, v in re.findall(r":([\w-]+): (\".*\")", block[1])}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for mark in marks.values():
        assert readme.count(mark) == 1, mark
    return readme.split(marks["start-after"])[1].split(marks["end-before"])[0]


def test_the_table_of_limiting_cases_stands_in_the_readme_alone() -> None:
    table = included()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 12  # head, rule and ten methods
    for name in (
        "MC-EM",
        "NUTS",
        "REM",
        "IMC",
        "IBI",
        "DBI",
        "MS-CG",
        "GYBG",
        "ARCG",
        "classifier",
    ):
        assert any(name in row.split("|")[1] for row in rows), name
    assert "| method " not in text_of("theory")  # it is not copied


def test_what_theory_says_is_tested_is_a_test() -> None:
    named = set(re.findall(r"`(test_\w+)`", text_of("theory")))
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        there |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert len(named) > 15
    assert named - there == set()


# --- what is shown ---------------------------------------------------------------------------------


def typed() -> Iterator[tuple[str, list[str]]]:
    """Every command of the pages' shell examples below the folder that the other tests read."""
    for page in PAGES:
        if page.parent != DOCS:
            for block in SHELL.findall(page.read_text(encoding="utf-8")):
                for line in block.replace("\\\n", " ").splitlines():
                    words = shlex.split(line, comments=True)
                    if words and words[0] == "bayescg":
                        yield page.relative_to(DOCS).as_posix(), words[1:]


@pytest.mark.parametrize(
    ("page", "words"), list(typed()), ids=lambda v: v if isinstance(v, str) else None
)
def test_a_command_that_is_shown_can_be_typed(
    page: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    name, *rest = words
    given = cli.commands[name].make_context(name, rest).params
    if (model := given.get("model")) and (given.get("settings") or given.get("method_settings")):
        parse_options(workflow.model_options(model), given["settings"], model)
    if method := given.get("method") or given.get("help_method"):
        parse_options(workflow.method_options(method), given.get("method_settings", ()), method)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(DOCS).as_posix())
def test_links_within_the_pages_lead_somewhere(page: Path) -> None:
    """Files, and figures with words for those who do not see them; sections are Sphinx's to check."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", text):
        if not target.startswith(("http", "mailto")) and "/api/" not in f"/{target}":
            assert (page.parent / target).is_file(), target
    for figure in re.findall(r"```\{image\} (\S+)\n:alt: (.{40,})\n", text):
        assert (page.parent / figure[0]).is_file()
    assert text.count("```{image}") == len(re.findall(r"```\{image\} \S+\n:alt: .{40,}\n", text))


def test_every_page_is_in_the_tree() -> None:
    listed = set()
    for page in PAGES:
        for block in re.findall(
            r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            names = [
                line for line in block.splitlines() if line and not line.startswith((":", "{"))
            ]
            listed |= {(page.parent / name).resolve() for name in names}
    pages = {p.with_suffix("").resolve() for p in PAGES} - {DOCS / "index"}
    assert {p for p in pages if p not in listed} == set()


def run_python(page: str, block: int, small: dict[str, str] | None = None) -> dict[str, object]:
    """Run a Python block of a page where the test is, at the sizes of ``small``, which must be in it."""
    code = PYTHON.findall(text_of(page))[block]
    for shown, used in (small or {}).items():
        assert shown in code, shown
        code = code.replace(shown, used)
    names: dict[str, object] = {"__name__": "shown"}
    exec(compile(code, f"docs/{page}.md", "exec"), names)
    return names


def test_own_data_are_saved_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python("howto/own_data", 0)
    with xr.open_dataset(tmp_path / "data.nc") as data:
        assert data["x"].dims == ("frame", "site", "axis") and data.attrs["temperature"] == 300.0


def test_the_log_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    console = Console(quiet=True, log=tmp_path / "fit.jsonl")
    console.update("mcem", 0.25, {"distance": 3.0})
    console.update("mcem", 0.5, {"distance": 1.0})
    console.say("a note")
    console.close()
    run_python("howto/watch", 0)
    assert capsys.readouterr().out == "mcem 0.5\n"


def made_up_result(path: Path) -> None:
    """A result with the groups and names that the pages read."""
    rng = np.random.default_rng(0)
    dims = ("chain", "draw")
    values = {n: (dims, rng.normal(size=(2, 50))) for n in ("epsilon", "sigma", "sigma2")}
    m = xr.Dataset({"magnetization": (dims, rng.normal(size=(2, 50)))})
    groups = {"posterior": xr.Dataset(values), "posterior_predictive": m, "discrepancy": 2.0 * m}
    made = results.inference_data(
        groups, method="mcem", model="spce_water", model_options={"features": 100}, seed=3
    )
    results.save(made, path)


def test_results_are_read_in_arviz_and_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made_up_result(tmp_path / "water.nc")
    made_up_result(tmp_path / "fit.nc")
    run_python("howto/arviz", 0)
    assert "epsilon" in capsys.readouterr().out
    run_python("howto/repeat", 0)
    assert "spce_water mcem 3" in capsys.readouterr().out
    run_python("howto/intervals", 0)
    within, allowed = (
        np.array(re.findall(r"-?\d+\.\d+", line), float)
        for line in capsys.readouterr().out.splitlines()
    )
    np.testing.assert_allclose(allowed, 2.0 * within, rtol=1e-6)


# --- the tour ----------------------------------------------------------------------------------------

#: What the tour's commands are given here, so that they end soon; what they find then means nothing.
SMALLER = {
    "-s frames=10": "-s frames=10 -M tolerance=1",
    "--draws 32": "--draws 4",
    "--draws 20": "--draws 2",
}
SMALLER_PYTHON = {
    "draws=100": "draws=10",
}


@pytest.mark.by_hand
def test_the_tour_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block in its order, in one folder, the commands through the command line itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    lines = [line for block in SHELL.findall(text_of("tour")) for line in block.splitlines()]
    commands = "\n".join(lines)
    for shown, used in SMALLER.items():
        assert commands.count(shown) == 1, shown
        commands = commands.replace(shown, used)
    for line in commands.splitlines():
        done = CliRunner().invoke(cli, [*shlex.split(line)[1:], "--quiet"])
        assert done.exit_code == 0, (line, done.output)
    assert (tmp_path / "water.html").stat().st_size > 10_000
    assert len(list((tmp_path / "water_lammps").glob("draw_*"))) == 2
    found = run_python("tour", 0)
    low, high = (np.asarray(found[n]) for n in ("low", "high"))
    assert np.isfinite(low).all() and (low <= high).all() and (low < high).any()
    assert (tmp_path / "rdf.png").stat().st_size > 1000
    assert "sigma2" in capsys.readouterr().out
    found = run_python("tour", 1, SMALLER_PYTHON)
    for name in ("fit", "whole"):
        assert found[name].ended == "converged", name  # type: ignore[attr-defined]
    assert np.isfinite(found["rem"].draws).all()  # type: ignore[attr-defined]
    mean, _, exact = (float(v) for v in re.findall(r"-?\d\.\d{3}", capsys.readouterr().out))
    # Twenty frames of 64 spins know the magnetisation to about 0.03.
    assert abs(mean - exact) < 0.15
    assert results.has_group(results.load(tmp_path / "ising.nc"), "posterior_predictive")


def test_sizes_of_the_tour_are_what_its_test_replaces() -> None:
    """So that the slow test cannot go stale unseen."""
    shell = "\n".join(SHELL.findall(text_of("tour")))
    assert all(shell.count(shown) == 1 for shown in SMALLER)
    assert all(shown in PYTHON.findall(text_of("tour"))[1] for shown in SMALLER_PYTHON)
