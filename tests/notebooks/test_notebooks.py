"""The notebooks run from top to bottom."""

from pathlib import Path

import jupytext
import nbclient
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


LONG = ("ising",)  # minutes; continuous integration runs them


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in LONG else [])
        for p in NOTEBOOKS
    ],
)
def test_notebook_runs(path: Path) -> None:
    notebook = jupytext.read(path)
    done = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    printed = [
        out["text"]
        for cell in done.cells
        if cell.cell_type == "code"
        for out in cell.outputs
        if out.get("name") == "stdout"
    ]
    assert printed


def test_no_outputs_are_kept() -> None:
    assert not list(FOLDER.glob("**/*.ipynb"))
