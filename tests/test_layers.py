"""The rooms of the package: who may import whom, read from the source and never run."""

import ast
from collections.abc import Callable, Collection, Iterator
from functools import cache
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: From the bottom of the tower to its top; a room imports from itself and from rooms before it.
ROOMS = (
    "files",
    "options",
    "linalg",
    "units",
    "space",
    "topology",
    "cache",
    "devices",
    "compiled",
    "potentials",
    "observables",
    "mapping",
    "samplers",
    "distributions",
    "critics",
    "divergences",
    "system",
    "contract",
    "results",
    "infer",
    "limits",
    "predict",
    "io",
    "engines",
    "workflow",
    "plot",
    "report",
    "console",
    "cli",
    "__main__",
)
LONGEST = 450


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """``bayescg/io/__init__.py`` is ``bayescg.io``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, package: str) -> Iterator[tuple[int, str, str | None]]:
    """Line, module and imported name (None for a whole module) of every import, late ones too.

    :param package: package that relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*base, node.module] if node.level else [node.module]
            module = ".".join(part for part in parts if part)
            for alias in node.names:
                yield node.lineno, module, alias.name
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            called = called.id if isinstance(called, ast.Name) else called
            argument = node.args[0]
            if called in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield node.lineno, str(argument.value), None


def check_room(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one module of ``bayescg``."""
    package = module if is_package else module.rpartition(".")[0]
    room = module.split(".")[1] if "." in module else None
    if room is not None and room not in ROOMS:
        return [f"{module}: {room!r} is no room; give it a place in ROOMS."]
    wrong = []
    for line, target, name in imports(source, package):
        where = f"{module}, line {line}"
        top, *rest = target.split(".")
        if top == "arviz" and room != "results":
            wrong.append(f"{where}: only bayescg.results imports arviz.")
        if top == "bayescg_models":
            wrong.append(f"{where}: a model is found by name or by path, not imported.")
        if top != "bayescg" or room is None or name == "__version__":
            continue
        other = rest[0] if rest else name
        if other not in ROOMS:
            wrong.append(f"{where}: {other or 'bayescg'} has no room; import from the room itself.")
        elif ROOMS.index(other) > ROOMS.index(room):
            wrong.append(f"{where}: {room} is below {other} and may not import it.")
    return wrong


def check_model(source: str, module: str, public: Callable[[str], Collection[str]]) -> list[str]:
    """What is wrong with the imports of a file under ``models/``.

    :param public: the ``__all__`` of a module of ``bayescg``; empty if there is none.
    """
    wrong = []
    aliases = set()

    def need(line: int, owner: str, name: str) -> None:
        if name not in public(owner):
            wrong.append(f"{module}, line {line}: {name!r} is not in {owner}.__all__.")

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            aliases |= {a.asname or a.name for a in node.names if a.name == "bayescg"}
    for line, target, name in imports(source, "models"):
        where = f"{module}, line {line}"
        top = target.split(".")[0]
        if top in ("models", "bayescg_models"):
            wrong.append(f"{where}: a model is read alone; it imports no other model.")
        elif top == "arviz":
            wrong.append(f"{where}: only bayescg.results imports arviz.")
        elif top == "bayescg" and name is not None:
            need(line, target, name)
        elif top == "bayescg" and target != "bayescg":
            wrong.append(f"{where}: write `import bayescg as cg` or `from {target} import ...`.")
    for node in ast.walk(ast.parse(source)):
        owner = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in aliases:
            need(node.lineno, "bayescg", node.attr)
    return wrong


@cache
def public_names(module: str) -> frozenset[str]:
    return frozenset(getattr(importlib.import_module(module), "__all__", ()))


@pytest.mark.parametrize("path", files("bayescg"), ids=module_name)
def test_room(path: Path) -> None:
    is_package = path.name == "__init__.py"
    assert check_room(path.read_text(), module_name(path), is_package=is_package) == []


@pytest.mark.parametrize("path", files("models"), ids=module_name)
def test_model(path: Path) -> None:
    if path.name != "__init__.py":
        assert check_model(path.read_text(), module_name(path), public_names) == []


@pytest.mark.parametrize("folder", ["bayescg", "models", "benchmarks"])
def test_files_are_short(folder: str) -> None:
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in files(folder)}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_every_folder_is_a_package() -> None:
    """One without ``__init__.py`` would be missing from the built wheel."""
    folders = {path.parent for path in files("bayescg") + files("models")}
    assert [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("bayescg.units", "from bayescg.space import Box", "units is below space"),
        ("bayescg.units", "from bayescg import space", "units is below space"),
        ("bayescg.units", "import bayescg.cli", "units is below cli"),
        ("bayescg.potentials.pair", "from ..infer.mcem import mcem", "potentials is below infer"),
        ("bayescg.potentials.pair", "from .. import infer", "potentials is below infer"),
        ("bayescg.space", "def f():\n    from bayescg.io import load", "line 2: space is below io"),
        ("bayescg.space", "import_module('bayescg.io')", "space is below io"),
        ("bayescg.predict", "from bayescg import mcem", "mcem has no room"),
        ("bayescg.predict", "import bayescg", "bayescg has no room"),
        ("bayescg.helpers", "", "'helpers' is no room"),
        ("bayescg.report.figures", "import arviz as az", "only bayescg.results imports arviz"),
        ("bayescg", "from arviz import summary", "only bayescg.results imports arviz"),
        ("bayescg.cli", "from bayescg_models import ising", "by name or by path"),
    ],
)
def test_an_offence_is_seen(module: str, source: str, complaint: str) -> None:
    (wrong,) = check_room(source, module)
    assert complaint in wrong


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bayescg.potentials.pair", "from .base import Potential\nfrom bayescg.units import KB"),
        ("bayescg.potentials.pair", "from bayescg import space, units\nimport jax.numpy as jnp"),
        ("bayescg.results", "import arviz as az\nfrom bayescg import __version__"),
        ("bayescg", "from bayescg.infer import mcem\nfrom bayescg.units import KB"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert check_room(source, module) == []


def test_a_package_counts_its_own_dots() -> None:
    assert check_room("from .pair import LJ", "bayescg.potentials", is_package=True) == []
    (wrong,) = check_room("from ..infer import mcem", "bayescg.potentials", is_package=True)
    assert "potentials is below infer" in wrong


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("from bayescg import hidden", "'hidden' is not in bayescg.__all__"),
        ("from bayescg.units import hidden", "'hidden' is not in bayescg.units.__all__"),
        ("import bayescg as cg\ncg.hidden()", "line 2: 'hidden' is not in bayescg.__all__"),
        ("import bayescg.units as u", "write `import bayescg as cg`"),
        ("from . import ising", "imports no other model"),
        ("from bayescg_models import ising", "imports no other model"),
        ("import arviz", "only bayescg.results imports arviz"),
    ],
)
def test_an_offending_model_is_seen(source: str, complaint: str) -> None:
    (wrong,) = check_model(source, "models.x", lambda module: {"mcem", "KB"})
    assert complaint in wrong


def test_a_model_may_use_public_names() -> None:
    source = "import bayescg as cg\nimport numpyro\nfrom bayescg.units import KB\ncg.mcem"
    assert check_model(source, "models.x", lambda module: {"mcem", "KB"}) == []
