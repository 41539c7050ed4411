"""XML of VOTCA: a small tree whose nodes know their lines, read without trusting the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import math
import os
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

__all__ = ["Node", "read_xml"]


@dataclass(eq=False)
class Node:
    """An element: its name, text, attributes and children, and where it stands.

    :param name: of the element.
    :param file: name of the file, for messages.
    :param line: in the file, from 1.
    :param attributes: as the file has them.
    :param text: inside, less that of its children.
    :param children: in their order.
    """

    name: str
    file: str
    line: int
    attributes: dict[str, str]
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, path: str) -> Iterator[Node]:
        """Every node at a path of names, as ``inverse.gromacs.conf``."""
        first, _, rest = path.partition(".")
        for child in self.children:
            if child.name == first:
                if rest:
                    yield from child.all(rest)
                else:
                    yield child

    def get(self, path: str) -> Node | None:
        """The node at a path, None if there is none.

        :raises ValueError: there are several.
        """
        found = list(self.all(path))
        if len(found) > 1:
            found[1].fail(f"{path} is there twice in {self.name}; it may come once.")
        return found[0] if found else None

    def need(self, path: str) -> Node:
        """The node at a path.

        :raises ValueError: there is none, or several, or it is empty.
        """
        found = self.get(path)
        if found is None or not (found.words or found.children):
            (found or self).fail(f"{self.name} has no {path}; it is needed.")
        return found

    def words_at(self, path: str) -> list[str]:
        """The words of every node at a path; none if there is no such node."""
        return [word for node in self.all(path) for word in node.words]

    @property
    def words(self) -> list[str]:
        """The text, split at white space."""
        return self.text.split()

    def word(self) -> str:
        """The text, which must be one word."""
        if len(self.words) != 1:
            self.fail(f"{self.name} is {' '.join(self.words)!r}; allowed is one word.")
        return self.words[0]

    def numbers(self) -> list[float]:
        """The text as finite numbers."""
        out = []
        for word in self.words:
            try:
                out.append(float(word))
            except ValueError:
                self.fail(f"{self.name} is {word!r}; allowed are numbers.")
            if not math.isfinite(out[-1]):
                self.fail(f"{self.name} is {word}; allowed are finite numbers.")
        return out

    def number(self) -> float:
        """The text, which must be one finite number."""
        self.word()
        return self.numbers()[0]

    def fail(self, message: str) -> NoReturn:
        """Raise ValueError with file and line."""
        raise ValueError(f"{self.file}, line {self.line}: {message}") from None


def read_xml(path: str | os.PathLike[str]) -> Node:
    """Read an XML file; its root.

    :param path: of the file.
    :raises FileNotFoundError: there is none.
    :raises ValueError: it is no XML, or has a document type: entities that it may define can make
        a small file huge, or read other files, and VOTCA's files have none.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; give the path of an XML file.") from None
    parser = expat.ParserCreate()
    open_nodes: list[Node] = []
    root: list[Node] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        node = Node(name, str(path), parser.CurrentLineNumber, attributes)
        (open_nodes[-1].children if open_nodes else root).append(node)
        open_nodes.append(node)

    def end(_: str) -> None:
        open_nodes.pop()

    def text(words: str) -> None:
        open_nodes[-1].text += words

    def refuse(*_: object) -> None:
        raise ValueError(
            f"{path}, line {parser.CurrentLineNumber}: a document type; allowed is XML without "
            "DOCTYPE and ENTITY."
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise ValueError(f"{path}, line {error.lineno}: this is no XML ({reason}).") from None
    except (LookupError, UnicodeError):
        raise ValueError(f"{path}: its encoding is not known; allowed is UTF-8.") from None
    return root[0]
