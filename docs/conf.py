"""Sphinx configuration. The API pages are written at build time, one a room; tables of options and commands too."""

from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
import pkgutil
import sys

import jax.typing
import numpy.typing
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

import bayescg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402 - it lies beside this file

project = "bayescg"
author = "the bayescg developers"
copyright = author
release = version = installed_version("bayescg")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"bayescg {release}"


def rooms() -> list[str]:
    """The rooms that exist; the command line answers `bayescg --help` instead."""
    names = (module.name for module in pkgutil.iter_modules(bayescg.__path__))
    return sorted(name for name in names if name != "cli" and not name.startswith("_"))


def modules(room: str) -> list[str]:
    """A room and what lies under it."""
    spec = find_spec(f"bayescg.{room}")
    assert spec is not None
    below = pkgutil.walk_packages(spec.submodule_search_locations or [], f"bayescg.{room}.")
    names = sorted(module.name for module in below)
    return [f"bayescg.{room}", *(name for name in names if "._" not in name)]


def page(room: str) -> str:
    """One room, each thing where it is defined; reStructuredText, as the docstrings are."""
    lines = [room, "=" * len(room), ""]
    for name in modules(room):
        if name != f"bayescg.{room}":
            title = name.removeprefix("bayescg.")
            lines += [title, "-" * len(title), ""]
        lines += [f".. automodule:: {name}", "   :members:", "   :ignore-module-all:", ""]
    return "\n".join(lines)


def write_pages(app: Sphinx) -> None:
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{room}.rst": page(room) for room in rooms()}
    for old in set(folder.glob("*.rst")) - set(pages):
        old.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def fill_in_rooms(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the rooms that exist where ``api.md`` asks for them."""
    if docname == "api":
        names = "\n".join(f"api/{room}" for room in rooms())
        source[0] = source[0].replace("{{ rooms }}", names)


def fill_in_code(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put tables of options, systems and commands where a page asks for them."""
    source[0] = generate.filled(source[0])


def read_again(app: Sphinx, *changes: object) -> list[str]:
    """The code may have changed where the pages that take something from it have not."""
    pages = (path for path in HERE.rglob("*.md") if "_build" not in path.parts)
    asking = [path for path in pages if generate.asks(path.read_text(encoding="utf-8"))]
    return ["api", *(path.relative_to(HERE).with_suffix("").as_posix() for path in asking)]


#: What the arguments that arrays can be made of are spelled out as, by what signatures write them.
SPELLED_OUT = [
    stringify_annotation(alias, mode)
    for alias in (numpy.typing.ArrayLike, jax.typing.ArrayLike)
    for mode in ("smart", "fully-qualified")
]


def with_aliases(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """A signature with ``ArrayLike`` in place of the union that it stands for."""
    for text in SPELLED_OUT:
        signature = signature and signature.replace(text, "ArrayLike")
        returns = returns and returns.replace(text, "ArrayLike")
    return signature, returns


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", with_aliases)
    app.connect("builder-inited", write_pages)
    app.connect("source-read", fill_in_rooms)
    app.connect("source-read", fill_in_code)
    app.connect("env-get-outdated", read_again)
