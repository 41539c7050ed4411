"""Map files: which atoms make which bead, in YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import os
from pathlib import Path
import re
from typing import Any, NoReturn, TypeVar

import yaml

from bayescg.io.map_spec import TERMS, Atoms, BeadSpec, MapSpec, MoleculeSpec, TermSpec, one_of

__all__ = ["BeadSpec", "MapSpec", "MoleculeSpec", "TermSpec", "load_map", "map_text", "parse_map"]

T = TypeVar("T")
_MAP = ("temperature", "masses", "ignore", "molecules")
_MOLECULE = ("select", "split", "beads", *TERMS, "exclusions", "unmapped", "shared")
_BEAD = ("type", "atoms", "numbers", "weights", "force_weights", "mass")
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")
_MOST = 1_000_000  # places of atoms that one file may list, ranges written out
_DEEPEST = 16  # levels; only a file that contains itself has more


def load_map(path: str | os.PathLike[str]) -> MapSpec:
    """Read a map file.

    :param path: of the YAML file.
    :raises FileNotFoundError: there is none.
    :raises ValueError: it is not YAML, or says what is not allowed: file, line and term.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text; a map is a YAML file.") from None
    return parse_map(text, str(path))


def parse_map(text: str, source: str = "map") -> MapSpec:
    """The map that a YAML text describes.

    :param source: its name in messages.
    :raises ValueError: as :func:`load_map`.
    """
    try:
        # Nothing but text comes of it: an atom called NO is no truth value.
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except RecursionError:
        raise ValueError(f"{source}: this is nested too deeply for a map.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise ValueError(f"{source}{line}: this is no YAML ({reason}).") from None
    if node is None:
        raise ValueError(f"{source} is empty; a map has at least molecules.")
    return _Reader(source).map(_tree(node, source), text)


@dataclass(frozen=True)
class _Node:
    """A piece of YAML and where it stands."""

    value: str | list[_Node] | dict[str, _Node]
    line: int


def _tree(node: Any, source: str, depth: int = 0, seen: dict[int, _Node] | None = None) -> _Node:
    """Text, lists and mappings of a YAML file.

    :param seen: what is done already, so that an alias costs nothing.
    """
    seen = {} if seen is None else seen
    line = node.start_mark.line + 1
    if id(node) in seen:
        return seen[id(node)]
    if depth > _DEEPEST:
        raise ValueError(f"{source}, line {line}: this is nested too deeply for a map.")
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = node.value.strip()
    elif isinstance(node, yaml.SequenceNode):
        value = [_tree(child, source, depth + 1, seen) for child in node.value]
    else:
        value = {}
        for key, child in node.value:
            where = f"{source}, line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"{where}: a key is a {key.id}; allowed are names.")
            if key.value in value:
                raise ValueError(f"{where}: {key.value!r} is there twice; each may come once.")
            found = _tree(child, source, depth + 1, seen)
            value[key.value] = _Node(found.value, key.start_mark.line + 1)
    seen[id(node)] = _Node(value, line)
    return seen[id(node)]


class _Reader:
    """Reads the parts of one file; knows its name, for messages."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.placed = 0

    def fail(self, node: _Node, message: str) -> NoReturn:
        raise ValueError(f"{self.source}, line {node.line}: {message}") from None

    def made(self, node: _Node, make: Callable[[], T]) -> T:
        """What ``make`` gives; its complaints get file and line."""
        try:
            return make()
        except ValueError as error:
            self.fail(node, str(error))

    def table(self, node: _Node, what: str, known: Sequence[str] | None = None) -> dict[str, _Node]:
        if not isinstance(node.value, dict):
            self.fail(node, f"{what} must be keys with values, as in `key: value`.")
        for key, child in node.value.items():
            if known is not None and key not in known:
                self.fail(child, f"{what}: unknown key {one_of(key, known)}")
        return node.value

    def text(self, node: _Node, what: str) -> str:
        if not isinstance(node.value, str) or not node.value:
            self.fail(node, f"{what} must be text.")
        return node.value

    def number(self, node: _Node, what: str) -> float:
        word = self.text(node, what)
        try:
            return float(word)
        except ValueError:
            self.fail(node, f"{what} is {word!r}; allowed are numbers.")

    def entries(self, node: _Node, what: str) -> list[_Node]:
        if not isinstance(node.value, list) or not node.value:
            self.fail(node, f"{what} must be a list, as in `[a, b]`.")
        return node.value

    def names(self, node: _Node, what: str) -> tuple[str, ...]:
        return tuple(self.text(n, f"an entry of {what}") for n in self.entries(node, what))

    def numbers(self, node: _Node, what: str) -> tuple[float, ...]:
        return tuple(self.number(n, f"an entry of {what}") for n in self.entries(node, what))

    def map(self, node: _Node, text: str) -> MapSpec:
        given = self.table(node, "the map", _MAP)
        if "molecules" not in given:
            self.fail(node, "the map has no molecules; at least one type is needed.")
        molecules = self.table(given["molecules"], "molecules")
        spec: dict[str, Any] = {
            "molecules": tuple(self.molecule(n, name) for name, n in molecules.items()),
            "ignore": self.text(given["ignore"], "ignore") if "ignore" in given else None,
            "temperature": self.number(given["temperature"], "temperature")
            if "temperature" in given
            else None,
            "masses": tuple(
                (name, self.number(n, f"mass of atom {name!r}"))
                for name, n in self.table(given["masses"], "masses").items()
            )
            if "masses" in given
            else (),
        }
        return self.made(node, lambda: MapSpec(**spec, source=self.source, text=text))

    def molecule(self, node: _Node, name: str) -> MoleculeSpec:
        where = f"molecule {name!r}"
        given = self.table(node, where, _MOLECULE)
        if "beads" not in given:
            self.fail(node, f"{where} has no beads; at least one is needed.")
        beads = tuple(
            self.bead(n, bead) for bead, n in self.table(given["beads"], f"{where}: beads").items()
        )
        known = [bead.name for bead in beads]
        spec: dict[str, Any] = {
            kind: self.terms(given[kind], kind, known) for kind in TERMS if kind in given
        }
        if "split" in given:
            split = self.text(given["split"], "split")
            spec["split"] = int(split) if split.isdecimal() else split
        if "exclusions" in given:
            spec["exclusions"] = self.exclusions(given["exclusions"], known)
        if "unmapped" in given:
            if given["unmapped"].value not in ("allowed", "error"):
                self.fail(given["unmapped"], f"{where}: unmapped must be allowed or error.")
            spec["unmapped"] = given["unmapped"].value == "allowed"
        if "shared" in given:
            spec["shared"] = self.atoms(given["shared"], f"{where}: shared")
        select = self.text(given["select"], "select") if "select" in given else f"resname {name}"
        return self.made(node, lambda: MoleculeSpec(name, select, beads, **spec))

    def bead(self, node: _Node, name: str) -> BeadSpec:
        where = f"bead {name!r}"
        if not isinstance(node.value, dict):
            short = self.atoms(node, where)
            return self.made(node, lambda: BeadSpec(name, name, short))
        given = self.table(node, where, _BEAD)
        if ("atoms" in given) == ("numbers" in given):
            self.fail(node, f"{where} needs either atoms (names or a selection) or numbers.")
        atoms: Atoms
        if "atoms" in given:
            atoms = self.atoms(given["atoms"], f"{where}: atoms")
        else:
            atoms = self.places(given["numbers"], f"{where}: numbers")
        spec: dict[str, Any] = {}
        if "weights" in given:
            weights = given["weights"]
            read = self.text if isinstance(weights.value, str) else self.numbers
            spec["weights"] = read(weights, f"{where}: weights")
        if "force_weights" in given:
            spec["force_weights"] = self.numbers(given["force_weights"], f"{where}: force_weights")
        if "mass" in given:
            word = given["mass"].value in ("consistent", "total")
            spec["mass"] = (self.text if word else self.number)(given["mass"], f"{where}: mass")
        kind = self.text(given["type"], f"{where}: type") if "type" in given else name
        return self.made(node, lambda: BeadSpec(name, kind, atoms, **spec))

    def atoms(self, node: _Node, what: str) -> str | tuple[str, ...]:
        return self.names(node, what) if isinstance(node.value, list) else self.text(node, what)

    def places(self, node: _Node, what: str) -> tuple[int, ...]:
        """``[1, 2, 5-8]`` as numbers."""
        parts = [node] if isinstance(node.value, str) else self.entries(node, what)
        out: list[int] = []
        for part in parts:
            match = _RANGE.fullmatch(self.text(part, what))
            if not match:
                self.fail(part, f"{what} names {part.value!r}; allowed are 1, 2, ... and 5-8.")
            first, last = int(match[1]), int(match[2] or match[1])
            if not first <= last:
                self.fail(part, f"{what} names {part.value!r}; allowed are ranges that go up.")
            self.placed += last + 1 - first
            if self.placed > _MOST:
                self.fail(
                    part, f"{what}: {self.placed} places by here; allowed are {_MOST} in a map."
                )
            out.extend(range(first, last + 1))
        return tuple(out)

    def terms(self, node: _Node, kind: str, known: Sequence[str]) -> tuple[TermSpec, ...]:
        out = []
        for name, listed in self.table(node, kind).items():
            rows = self.entries(listed, f"{kind} {name!r}")
            for row in [listed] if isinstance(rows[0].value, str) else rows:
                term = TermSpec(name, self.names(row, f"{kind} {name!r}"))
                self.made(row, lambda term=term: term.check(kind, known))  # type: ignore[misc]
                out.append(term)
        return tuple(out)

    def exclusions(self, node: _Node, known: Sequence[str]) -> int | tuple[tuple[str, str], ...]:
        if isinstance(node.value, str):
            if node.value == "none":
                return 0
            if not node.value.isdecimal():
                self.fail(
                    node,
                    f"exclusions is {node.value!r}; allowed are none, a number of bonds, or a "
                    "list of pairs.",
                )
            return int(node.value)
        out = []
        for row in self.entries(node, "exclusions"):
            pair = self.names(row, "exclusions")
            term = TermSpec("exclusions", pair)
            self.made(row, lambda term=term: term.check("exclusions", known))  # type: ignore[misc]
            out.append((pair[0], pair[1]))
        return tuple(out)


def map_text(spec: MapSpec) -> str:
    """A map as the text of a map file; :func:`parse_map` reads the same map of it."""
    out: dict[str, Any] = {}
    if spec.temperature is not None:
        out["temperature"] = spec.temperature
    if spec.masses:
        out["masses"] = dict(spec.masses)
    if spec.ignore is not None:
        out["ignore"] = spec.ignore
    out["molecules"] = {molecule.name: _plain_molecule(molecule) for molecule in spec.molecules}
    return yaml.safe_dump(out, sort_keys=False, default_flow_style=None, width=100)


def _plain_molecule(spec: MoleculeSpec) -> dict[str, Any]:
    out: dict[str, Any] = {"select": spec.select, "split": spec.split}
    out["beads"] = {bead.name: _plain_bead(bead) for bead in spec.beads}
    for kind, terms in spec.terms().items():
        if terms:
            out[kind] = {}
            for term in terms:
                out[kind].setdefault(term.name, []).append(list(term.beads))
    if isinstance(spec.exclusions, int):
        out["exclusions"] = spec.exclusions
    else:
        out["exclusions"] = [list(pair) for pair in spec.exclusions] or "none"
    if spec.unmapped:
        out["unmapped"] = "allowed"
    if spec.shared:
        out["shared"] = spec.shared if isinstance(spec.shared, str) else list(spec.shared)
    return out


def _plain_bead(bead: BeadSpec) -> dict[str, Any]:
    out: dict[str, Any] = {"type": bead.type}
    if isinstance(bead.atoms, str):
        out["atoms"] = bead.atoms
    else:
        key = "numbers" if isinstance(bead.atoms[0], int) else "atoms"
        out[key] = list(bead.atoms)
    out["weights"] = bead.weights if isinstance(bead.weights, str) else list(bead.weights)
    if bead.force_weights is not None:
        out["force_weights"] = list(bead.force_weights)
    out["mass"] = bead.mass
    return out
