"""The notebooks run from top to bottom at their small size, and hold what each of them promises."""

from pathlib import Path
import subprocess
import time

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
ASKED = {"ising", "spce_water", "your_molecule", "which_method", "virtual_sites", "intervals"}
TIMEOUT = 600  # seconds of one cell
#: Warnings that say nothing of a notebook: tqdm misses a widget, ArviZ 0.23 announces version 1 once a day.
HARMLESS = ("IProgress", "arviz/__init__.py")


def cells(notebook: nbformat.NotebookNode, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == ASKED


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_whole(path: Path) -> None:
    """Question, switch of sizes, program, diagnostics, prediction and meaning are all there."""
    notebook = jupytext.read(path)
    text = "\n".join(cell.source for cell in cells(notebook, "markdown"))
    code = "\n".join(cell.source for cell in cells(notebook, "code"))
    assert text.startswith("# ") and "**Question.**" in text
    for heading in ("## The model", "## Diagnostics", "## What it means"):
        assert heading in text
    assert 'os.environ.get("BAYESCG_NOTEBOOK_SIZE") == "small"' in code
    assert "def program(" in code or "inspect.getsource(" in code
    assert "az.summary(" in code
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text()


@pytest.mark.slow  # a minute or two each; continuous integration runs them
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAYESCG_NOTEBOOK_SIZE", "small")
    monkeypatch.delenv("JAX_ENABLE_X64", raising=False)  # a notebook says what it needs
    began = time.perf_counter()
    done = nbclient.NotebookClient(
        jupytext.read(path),
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    with capsys.disabled():
        print(f"\nnotebook {path.stem}: {time.perf_counter() - began:.0f} s")
    outputs = [out for cell in cells(done, "code") for out in cell.outputs]
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    printed = "".join(out["text"] for out in outputs if out.get("name") == "stdout")
    complaints = "".join(out["text"] for out in outputs if out.get("name") == "stderr")
    assert len(figures) >= 4
    assert printed.strip()
    for line in complaints.splitlines():
        assert "Warning" not in line or any(known in line for known in HARMLESS), complaints


def test_no_outputs_are_kept() -> None:
    kept = subprocess.run(
        ["git", "ls-files", "*.ipynb"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert not kept.stdout.split()
