"""Text that the pages take from the code: tables of options, shipped systems, the command line.

Everything here returns MyST Markdown. A page asks for it by a line of its own, ``{{ options of model ising }}``,
which :func:`filled` replaces; ``conf.py`` calls it on every page as it is read.
"""

import ast
from collections.abc import Callable, Iterable
from pathlib import Path
import re
from types import ModuleType
from typing import Any

import click

import bayescg
from bayescg import workflow
from bayescg.cli import cli
from bayescg.options import describe

ROOT = Path(__file__).parents[1]
#: What a page asks for: ``{{ words }}`` on a line of its own.
ASKED = re.compile(r"^\{\{ *([^{}\n]+?) *\}\}$", re.MULTILINE)
#: Options that every command has.
SHARED = ("quiet", "as_json", "log", "debug")
#: And those of commands that may use several devices.
DEVICES = ("devices", "coordinator", "processes", "process")


def prose(text: object) -> str:
    """Text of a cell or a paragraph: outside of code, what Markdown would read as a mark is none here."""
    parts = " ".join(str(text).split()).split("`")
    if len(parts) % 2 == 0:  # a backtick without a partner
        parts = ["\\`".join(parts)]
    parts[::2] = [re.sub(r"([*_<>\[\]$|]|\\(?!`))", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "`".join(parts)


def code(text: object) -> str:
    """Text of a cell set as code; nothing where there is nothing."""
    return f"`{str(text).replace('|', chr(92) + '|')}`" if str(text) else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def options(of: Any) -> str:
    """The options of a dataclass: name, type, default, meaning."""
    rows = (
        [code(n), prose(t.replace("|", ", ")), code(d), prose(h)] for n, t, d, h in describe(of)
    )
    return table(("option", "type", "default", "meaning"), rows)


def model_options(model: str) -> str:
    """What ``-s`` sets for a model."""
    return options(workflow.model_options(model))


def method_options(method: str) -> str:
    """What ``-M`` sets for a method, at its own defaults."""
    return options(workflow.method_options(method))


def suited(model: str) -> str:
    """Where a model has other defaults than its methods: of ``-M``, and of its own ``-s`` under a method."""
    rows = []
    for method in workflow.method_names():
        own, general = (workflow.method_options(method, m) for m in (model, None))
        if type(own) is type(general):
            pairs = zip(describe(own), describe(general), strict=True)
            rows += [[code(method), code(f"-M {n}={d}")] for (n, _, d, _), g in pairs if d != g[2]]
        chosen = getattr(workflow.load_model(model), "METHOD_DEFAULTS", {}).get(method, {})
        rows += [[code(method), code(f"-s {name}={value}")] for name, value in chosen.items()]
    if not rows:
        return "Methods run at their own defaults."
    merged: dict[str, list[str]] = {}
    for method, text in rows:
        merged.setdefault(method, []).append(text)
    return table(
        ("method", "default for this system"), ([m, ", ".join(t)] for m, t in merged.items())
    )


def systems() -> str:
    """The shipped systems, a line each, each with its page."""
    rows = ([f"[`{name}`](systems/{name}.md)", prose(text)] for name, text in workflow.models())
    return table(("system", "what it is"), rows)


def command_line() -> str:
    """Every command with its arguments and options, as ``--help`` shows them."""
    parts = [shared_options()]
    for name, command in cli.commands.items():
        parts += [f"## `bayescg {name}`", *described(name, command)]
    return "\n\n".join(parts)


def shared_options() -> str:
    """The options that every command has, and those of commands that compute on devices."""
    fit = cli.commands["fit"]
    rows = [option_row(p) for p in fit.params if p.name in SHARED]
    more = [option_row(p) for p in fit.params if p.name in DEVICES]
    head = ("option", "meaning", "default")
    return "\n\n".join(
        [
            "## Options of every command",
            table(head, rows),
            "Commands that simulate (`fit`, `predict`, `plan`) may use [several devices](devices.md):",
            table(head, more),
        ]
    )


def described(name: str, command: click.Command) -> list[str]:
    """Usage, help and options of one command."""
    context = click.Context(command, info_name=f"bayescg {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"```text\nbayescg {name} {usage}\n```"]
    parts += [prose(paragraph) for paragraph in (command.help or "").split("\n\n")]
    rows = [
        option_row(p)
        for p in command.params
        if isinstance(p, click.Option) and p.name not in (*SHARED, *DEVICES)
    ]
    if rows:
        parts.append(table(("option", "meaning", "default"), rows))
    if any(p.name == "devices" for p in command.params):
        parts.append("And those of every command, and of several devices.")
    return parts


def option_row(parameter: click.Parameter) -> list[str]:
    """Names and placeholder, meaning, and default of an option."""
    assert isinstance(parameter, click.Option)
    context = click.Context(click.Command("none"))
    kind = "" if parameter.is_flag else f" {parameter.make_metavar(context)}".removesuffix(" RANGE")
    names = ", ".join(parameter.opts)
    default = parameter.default
    shown = default is not None and not parameter.is_flag and not parameter.multiple
    # Some versions of click have a mark of their own for "no default".
    known = shown and isinstance(default, str | int | float)
    needed = "needed" if parameter.required else ""
    return [code(names + kind), prose(parameter.help or ""), code(default) if known else needed]


def public() -> str:
    """The names of ``bayescg`` itself, each with the first sentence of its docstring."""
    rows = []
    for name in bayescg.__all__:
        value = getattr(bayescg, name)
        if isinstance(value, ModuleType):
            link = f"[`{name}`](api/{name}.rst)"
        elif name.startswith("__"):
            continue
        else:
            link = f"{{py:obj}}`{name} <{value.__module__}.{value.__qualname__}>`"
        first = " ".join((value.__doc__ or "").split("\n\n")[0].split())
        rows.append([link, prose(re.sub(r":\w+:`([^`]*)`|``([^`]*)``", r"`\1\2`", first))])
    return table(("`cg.`", "what it is"), rows)


def rooms() -> str:
    """The rooms of the package from the bottom of the tower to its top, each with the first line of its docstring.

    The order is that of ``tests/test_layers.py``, which is read and not imported: it holds tests.
    """
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    order = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROOMS"
    )
    rows = (
        [code(name), prose(first_line(name).replace("``", "`"))]
        for name in order
        if not name.startswith("_")
    )
    return table(("room", "what is in it"), rows)


def first_line(room: str) -> str:
    """The first line of a room's docstring, read from its source."""
    path = ROOT / "bayescg" / room
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0]


#: What pages can ask for, by its first words.
WRITERS: dict[str, Callable[..., str]] = {
    "options of model": model_options,
    "options of method": method_options,
    "defaults for": suited,
    "systems": systems,
    "rooms of the package": rooms,
    "public names": public,
    "commands": command_line,
}


def writer_of(asked: str) -> tuple[str, list[str]] | None:
    """What writes the answer to ``options of model ising``, and of what; None for words that mean nothing here."""
    for words in WRITERS:
        if asked == words or asked.startswith(f"{words} "):
            return words, asked.removeprefix(words).split()
    return None


def asks(page: str) -> bool:
    """Whether a page takes anything from the code."""
    return any(writer_of(match[1]) for match in ASKED.finditer(page))


def filled(page: str) -> str:
    """A page with everything it asks for put in; what means nothing here is left as it stands."""

    def put(match: re.Match[str]) -> str:
        found = writer_of(match[1])
        return match[0] if found is None else WRITERS[found[0]](*found[1])

    return ASKED.sub(put, page)
