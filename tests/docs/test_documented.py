"""Everything public has a docstring that says what it is for; read from the source, so that nothing is imported."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
import re
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
#: What a command line's own decorators turn into help.
COMMANDS = "cli"


class Definition(NamedTuple):
    """A public class, function or method, and where it stands."""

    path: Path
    name: str  # with that of its class before it
    node: ast.ClassDef | ast.FunctionDef

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.node.lineno} {self.name}"


def is_public(name: str) -> bool:
    return not name.startswith("_")


@cache
def sources() -> dict[Path, ast.Module]:
    """Every module of the package and of the shipped systems."""
    paths = [*(ROOT / "bayescg").rglob("*.py"), *(ROOT / "models").glob("*.py")]
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(paths)}


def definitions_of(tree: ast.Module, path: Path) -> Iterator[Definition]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not is_public(node.name):
            continue
        yield Definition(path, node.name, node)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and is_public(inner.name):
                    yield Definition(path, f"{node.name}.{inner.name}", inner)


@cache
def definitions() -> tuple[Definition, ...]:
    return tuple(d for path, tree in sources().items() for d in definitions_of(tree, path))


def names_a_parameter(docstring: str, name: str) -> bool:
    """Whether a parameter is documented: in a field of its own, or in the text, ``name`` or ``name (axis)``."""
    return re.search(rf":param {name}:|``{name}\b", docstring) is not None


def raised_in(node: ast.FunctionDef) -> list[str]:
    """Errors that a function raises in its own lines, not in functions within it."""
    found: list[str] = []
    stack: list[ast.AST] = list(node.body)
    while stack:
        one = stack.pop()
        if isinstance(one, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(one, ast.Raise) and one.exc is not None:
            called = one.exc.func if isinstance(one.exc, ast.Call) else one.exc
            found.append(getattr(called, "id", getattr(called, "attr", "")))
        stack += list(ast.iter_child_nodes(one))
    return found


# --- what holds for all of the package -----------------------------------------------------------


def test_every_public_name_has_a_docstring() -> None:
    assert len(sources()) > 200 and len(definitions()) > 1200
    modules = [
        str(p.relative_to(ROOT)) for p, tree in sources().items() if not ast.get_docstring(tree)
    ]
    assert modules == []
    assert [str(d) for d in definitions() if not d.docstring] == []


def test_docstrings_are_in_the_project_s_style() -> None:
    """A sentence that ends, ``:param name:`` fields, and no section headings of other styles."""
    bad = []
    for d in definitions():
        first = d.docstring.split("\n\n")[0].strip()
        if first.splitlines()[-1].rstrip()[-1] not in ".:,`)" and ".. math::" not in d.docstring:
            bad.append(f"{d}: the first paragraph does not end")
        if re.search(
            r"^\s*(Args|Arguments|Parameters|Returns|Raises):?\s*$", d.docstring, re.MULTILINE
        ):
            bad.append(f"{d}: headings of another style")
    assert bad == []


def fields(node: ast.ClassDef) -> set[str]:
    """Fields of a class and of those that it extends, arguments of its ``__init__``, and what it sets on itself."""
    found = {ast.unparse(s.target) for s in node.body if isinstance(s, ast.AnnAssign)}
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            found |= set(arguments(one))
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            found.add(one.attr)
    bases = {ast.unparse(base) for base in node.bases}
    for d in definitions():
        if d.name in bases and isinstance(d.node, ast.ClassDef) and d.node is not node:
            found |= fields(d.node)
    return found


def test_no_parameter_is_documented_that_is_not_there() -> None:
    """A field of a docstring that names nothing is left over from a change."""
    wrong = []
    for d in definitions():
        known = fields(d.node) if isinstance(d.node, ast.ClassDef) else set(arguments(d.node))
        wrong += [f"{d}: {n}" for n in re.findall(r":param (\w+):", d.docstring) if n not in known]
    assert wrong == []


def test_who_raises_says_so() -> None:
    silent = []
    for d in definitions():
        if isinstance(d.node, ast.ClassDef) or COMMANDS in d.path.parts:
            continue
        errors = [e for e in raised_in(d.node) if e not in ("", "AssertionError")]
        if errors and not re.search(r":raises|[Rr]aise|Error\b|[Rr]efuse", d.docstring):
            silent.append(f"{d}: {', '.join(sorted(set(errors)))}")
    assert silent == []


# --- what is exported, which users call ----------------------------------------------------------


def arguments(node: ast.FunctionDef) -> list[str]:
    """Names of a function's parameters but ``self`` and ``cls``; ``*args`` and ``**options`` too."""
    a = node.args
    names = [x.arg for x in [*a.posonlyargs, *a.args, *a.kwonlyargs]]
    names += [x.arg for x in (a.vararg, a.kwarg) if x]
    return [n for n in names if n not in ("self", "cls")]


@cache
def exported() -> tuple[Definition, ...]:
    """What rooms and the package itself offer by ``__all__``, followed to where it is defined."""
    homes = re.findall(
        r'"(\w+)": "(bayescg[\w.]*)"', (ROOT / "bayescg" / "__init__.py").read_text()
    )
    wanted = {(module, name) for name, module in homes}
    for path, tree in sources().items():
        if path.name == "__init__.py":
            public = public_names(tree)
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    wanted |= {(node.module, a.name) for a in node.names if a.name in public}
    found = {str(d): d for module, name in wanted if (d := defined(module, name)) is not None}
    return tuple(found[k] for k in sorted(found))


def public_names(tree: ast.Module) -> list[str]:
    """``__all__`` of a module, where it is a plain list."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [e.value for e in getattr(node.value, "elts", []) if isinstance(e, ast.Constant)]
    return []


def defined(module: str, name: str) -> Definition | None:
    """Where a name is defined, through the modules that hand it on."""
    path = ROOT / (module.replace(".", "/") + ".py")
    path = path if path in sources() else ROOT / module.replace(".", "/") / "__init__.py"
    tree = sources().get(path)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Definition(path, name, node)
        if isinstance(node, ast.ImportFrom) and any(
            (a.asname or a.name) == name for a in node.names
        ):
            return defined(str(node.module), name)
    return None


def test_every_parameter_of_what_is_exported_is_documented() -> None:
    """Functions, and the methods of a system; of other classes' methods the protocols say it."""
    wrong = []
    functions = [d for d in exported() if isinstance(d.node, ast.FunctionDef)]
    assert len(functions) > 100
    functions += [
        d for d in definitions() if d.name.startswith("System.") and d.path.name == "system.py"
    ]
    for d in functions:
        assert isinstance(d.node, ast.FunctionDef)
        if COMMANDS not in d.path.parts:
            missing = [a for a in arguments(d.node) if not names_a_parameter(d.docstring, a)]
            wrong += [f"{d}: {', '.join(missing)}"] if missing else []
    assert wrong == []


def test_every_field_of_what_is_exported_is_documented() -> None:
    """In the docstring, in a comment on its line or above it, or by the help of an option."""
    wrong = []
    classes = [d for d in exported() if isinstance(d.node, ast.ClassDef)]
    assert len(classes) > 60
    for d in classes:
        lines = d.path.read_text(encoding="utf-8").splitlines()
        for s in d.node.body:
            if not isinstance(s, ast.AnnAssign) or not isinstance(s.target, ast.Name):
                continue
            name, own = s.target.id, "\n".join(lines[s.lineno - 1 : s.end_lineno])
            said = "#" in own or "option(" in own or lines[s.lineno - 2].strip().startswith("#:")
            inherited = "ClassVar" in ast.unparse(s.annotation)  # of a protocol, which says it
            if is_public(name) and not (said or inherited or names_a_parameter(d.docstring, name)):
                wrong.append(f"{d}: {name}")
    assert wrong == []


# --- the checks themselves -----------------------------------------------------------------------

OFFENCES = '''
"""A module."""

def silent(x):
    pass

def raises(x):
    """Does something.

    :param y: which it has not.
    """
    def inner():
        raise KeyError("of no concern")
    if x:
        raise ValueError("said by nobody")
'''


def test_an_offence_is_seen() -> None:
    silent, raises = definitions_of(ast.parse(OFFENCES), ROOT / "made_up.py")
    assert silent.docstring == "" and raises.docstring
    assert isinstance(raises.node, ast.FunctionDef)
    assert raised_in(raises.node) == ["ValueError"]
    assert not names_a_parameter(raises.docstring, "x")
    assert names_a_parameter("of ``x (frame, site)``, angstrom", "x")
    assert not names_a_parameter("of ``xy``", "x")


@pytest.mark.parametrize("name", ["rdf", "mcem", "predict", "System", "Boltzmann", "LennardJones"])
def test_what_users_need_most_is_among_what_is_looked_at(name: str) -> None:
    assert any(d.name == name for d in exported())
