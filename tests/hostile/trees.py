"""Mutations of nested text formats, YAML, XML and JSON, as trees; and of the words of options."""

from collections.abc import Callable
import json
from typing import Any

from hypothesis import strategies as st
import yaml

from tests.hostile.octets import WORDS

#: YAML that a careless reader would obey.
TAGS = (
    "!!python/object/apply:os.system ['touch hacked']",
    "!!python/object/new:os.system ['touch hacked']",
    "!!python/name:os.system",
    "!!python/module:os",
    '!!python/object/apply:builtins.exec [\'open("hacked", "w")\']',
    "!!binary aGFja2Vk",
    "!!set {a, b}",
    "!!timestamp 2001-01-01",
    "!unknown x",
    "!!float nope",
    "!!int 1:1:1",
)
LEAVES: tuple[Any, ...] = (
    *WORDS,
    None,
    True,
    0,
    -1,
    1.5,
    2**70,
    1e308,
    [],
    {},
    [[]],
    {"a": {}},
    ["C1"] * 50,
)


def _paths(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [at, *(p for k, v in children for p in _paths(v, (*at, k)))]


def _parent(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree


@st.composite
def broken_tree(draw: st.DrawFn, text: str) -> Any:
    """A tree of mappings and lists with one to three changes.

    :param text: it, as JSON.
    """
    tree = json.loads(text)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        path = draw(st.sampled_from(_paths(tree)))
        what = draw(st.sampled_from(("leaf", "drop", "rename", "copy", "wrap", "deep")))
        if not path or what == "leaf":
            new = draw(st.one_of(st.sampled_from(LEAVES), st.text(max_size=10)))
            if not path:
                continue
            _parent(tree, path)[path[-1]] = new
            continue
        parent, key = _parent(tree, path), path[-1]
        if what == "drop":
            del parent[key]
        elif what == "rename" and isinstance(parent, dict):
            parent[draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=10)))] = parent.pop(key)
        elif what == "copy":
            other = draw(st.sampled_from(_paths(tree)))
            found = json.loads(json.dumps(tree))
            for step in other:
                found = found[step]
            parent[key] = found
        elif what == "wrap":
            parent[key] = [parent[key]]
        else:
            for _ in range(draw(st.sampled_from((3, 20, 60)))):
                parent[key] = draw(st.sampled_from(([parent[key]], {"a": parent[key]})))
    return tree


@st.composite
def broken_yaml(draw: st.DrawFn, text: str) -> str:
    """YAML of a changed tree, perhaps with a tag, an alias, or a key twice."""
    tree = draw(broken_tree(json.dumps(yaml.load(text, Loader=yaml.BaseLoader))))
    out = yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))
    what = draw(st.sampled_from(("", "", "tag", "alias", "twice", "documents")))
    lines = out.splitlines(keepends=True)
    at = draw(st.integers(0, max(0, len(lines) - 1)))
    if what == "tag" and lines:
        key, sep, _ = lines[at].partition(":")
        lines[at] = f"{key}{sep} {draw(st.sampled_from(TAGS))}\n"
    elif what == "alias" and lines:
        key, sep, rest = lines[at].partition(":")
        lines[at] = f"{key}{sep} &a{rest or ' x'}\n"
        lines.append(
            f"more: {draw(st.sampled_from(('*a', '*b', '[*a, *a]', '&c [*c]', '{<<: *a}')))}\n"
        )
    elif what == "twice":
        lines.insert(at, lines[at] if lines else "")
    elif what == "documents":
        lines.insert(at, "---\n")
    return "".join(lines)


DOCTYPES = (
    '<!DOCTYPE a [<!ENTITY b "bbbb">]>',
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a SYSTEM "http://localhost/x.dtd">',
    '<?xml version="1.0" encoding="nonsense"?>',
    '<?xml version="1.0" encoding="utf-16"?>',
    "<![CDATA[x]]>",
    "<?php x ?>",
)


@st.composite
def broken_xml(draw: st.DrawFn, text: str) -> str:
    """Elements dropped, doubled, renamed, emptied or with other text; now and then a document type."""
    import re

    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        tags = list(re.finditer(r"<(/?)([\w.-]+)[^<>]*>", text))
        if not tags:
            break
        tag = draw(st.sampled_from(tags))
        what = draw(
            st.sampled_from(("text", "drop", "element", "rename", "double", "attribute", "doctype"))
        )
        start, end = tag.span()
        whole = re.search(
            rf"(?s)<{re.escape(tag[2])}(\s[^<>]*)?>.*?</{re.escape(tag[2])}>", text[start:]
        )
        if what == "text":
            after = text.find("<", end)
            word = draw(st.sampled_from((*WORDS, "&b;", "&#0;", "&#x202e;", "]]>", "&")))
            text = text[:end] + word + text[after if after >= 0 else len(text) :]
        elif what == "drop":
            text = text[:start] + text[end:]
        elif what == "element" and whole:
            text = text[: start + whole.start()] + text[start + whole.end() :]
        elif what == "double" and whole:
            text = text[: start + whole.end()] + whole[0] + text[start + whole.end() :]
        elif what == "rename" and whole:
            new = draw(st.sampled_from(("name", "min", "bonded", "cg", "é", "beads", "xx")))
            inner = whole[0].replace(f"<{tag[2]}", f"<{new}").replace(f"</{tag[2]}>", f"</{new}>")
            text = text[: start + whole.start()] + inner + text[start + whole.end() :]
        elif what == "attribute":
            text = (
                text[: end - 1]
                + f' {draw(st.sampled_from(("a", "nbeads", "xx")))}="{{}}"'
                + text[end - 1 :]
            )
        elif what == "doctype":
            text = draw(st.sampled_from(DOCTYPES)) + text
    return text


OPTION_VALUES = (
    *WORDS,
    "none",
    "true",
    "-1",
    "1e5",
    "0:1",
    "0:1:0",
    "1:0:-5",
    "0:1:1e9",
    "0:1:999999999999",
    "nan:1:3",
    "1,1",
    "1,,2",
    "flat",
    "normal",
    "'; rm -rf /",
    "/etc/passwd",
    "2**3",
    "True",
    "=",
    "==",
    "NaN",
    "1" * 5000,
    "18446744073709551616",
    "-9223372036854775809",
)


@st.composite
def option_words(draw: st.DrawFn, known: list[str]) -> list[str]:
    """``key=value`` words: known and unknown keys, odd values, none, twice, or no ``=`` at all."""
    out = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.one_of(st.sampled_from(known), st.sampled_from(known), st.text(max_size=8)))
        value = draw(st.one_of(st.sampled_from(OPTION_VALUES), st.text(max_size=12)))
        sep = draw(st.sampled_from(("=", "=", "=", "=", "", "==", " = ", ":")))
        out.append(f"{key}{sep}{value}")
    return out + out[: draw(st.sampled_from((0, 0, 0, 1)))]


@st.composite
def observable_words(draw: st.DrawFn, known: list[str], options: list[str]) -> str:
    name = draw(st.one_of(st.sampled_from(known), st.text(max_size=8)))
    rest = draw(option_words(options))
    return (
        name
        + draw(st.sampled_from((":", ":", "", "::")))
        + draw(st.sampled_from((",", ",,", ";"))).join(rest)
    )


Strategy = Callable[..., st.SearchStrategy[Any]]
