"""``settings.xml``: the interactions of a VOTCA project and what their targets are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path

from bayescg.io.votca.tables import NM
from bayescg.io.votca.xml import Node, read_xml
from bayescg.units import BOLTZMANN, KCAL

__all__ = ["Interaction", "Settings", "read_settings", "settings_of"]

Notice = Callable[[str], None]

#: Methods of VOTCA and the same of this package.
METHODS = {"ibi": "ibi", "imc": "imc", "re": "rem"}


@dataclass(frozen=True, eq=False)
class Interaction:
    """One interaction.

    :param name: as the project calls it.
    :param types: the two bead types of a non-bonded one, ``()`` of a bonded one.
    :param span: lowest and highest r or angle of its potential, angstrom for a non-bonded one; in
        nm or radians for a bonded one, whose kind only the map knows.
    :param target: file of its target distribution, if it has one.
    :param start: file of the potential to start from, ``NAME.pot.in``, if it is there.
    :param node: where it stands in the file.
    """

    name: str
    types: tuple[str, ...]
    span: tuple[float, float] | None
    target: Path | None
    start: Path | None
    node: Node


@dataclass(frozen=True, eq=False)
class Settings:
    """What a settings file says.

    :param file: its path.
    :param interactions: bonded ones first.
    :param kbt: kJ/mol, if it is there.
    :param method: of the iterations (``ibi``, ``imc``, ``re``, ...), empty if it names none.
    :param maps: files of the maps that name the bonded terms.
    :param configuration: file of the coarse-grained configuration to start from, if it is there.
    :param topology: file of its topology, if it is there.
    """

    file: Path
    interactions: tuple[Interaction, ...]
    kbt: float | None
    method: str
    maps: tuple[Path, ...]
    configuration: Path | None
    topology: Path | None

    @property
    def temperature(self) -> float:
        """K.

        :raises ValueError: the file has no kBT.
        """
        if self.kbt is None:
            raise ValueError(
                f"{self.file} has no cg.inverse.kBT (kJ/mol); needed is the temperature."
            )
        return self.kbt / (BOLTZMANN * KCAL)


def read_settings(path: str | os.PathLike[str], say: Notice = lambda text: None) -> Settings:
    """Read a settings file.

    :param path: of the XML file.
    :param say: is told what of it is not carried over.
    :raises FileNotFoundError: there is no such file, or a file that it names is missing.
    :raises ValueError: it is no settings file, or says what is not allowed: file and line.
    """
    return settings_of(read_xml(path), say)


def settings_of(root: Node, say: Notice = lambda text: None) -> Settings:
    """The same of an XML tree that is read already.

    :param root: of the tree.
    :param say: is told what of it is not carried over.
    """
    if root.name != "cg":
        root.fail(f"the root is <{root.name}>; a settings file of VOTCA begins with <cg>.")
    file = Path(root.file)
    interactions = [_interaction(node, False) for node in root.all("bonded")]
    interactions += [_interaction(node, True) for node in root.all("non-bonded")]
    if not interactions:
        root.fail("there is neither <bonded> nor <non-bonded>; at least one is needed.")
    seen = set[str]()
    for each in interactions:
        if each.name in seen:
            each.node.fail(f"the interaction {each.name!r} is there twice; each may come once.")
        seen.add(each.name)
    method = " ".join(root.words_at("inverse.method"))
    for text in _left_out(root, method):
        say(text)
    kbt = root.get("inverse.kBT")
    if kbt is not None and not kbt.number() > 0.0:
        kbt.fail(f"kBT is {kbt.number():g}; allowed are positive numbers, kJ/mol.")
    configuration, topology = _files(root, file.parent)
    return Settings(
        file,
        tuple(interactions),
        None if kbt is None else kbt.number(),
        method,
        tuple(file.parent / name for name in root.words_at("inverse.map")),
        configuration,
        topology,
    )


def _interaction(node: Node, non_bonded: bool) -> Interaction:
    name = node.need("name").word()
    types = tuple(node.need(f"type{i}").word() for i in (1, 2)) if non_bonded else ()
    folder = Path(node.file).parent
    span = None
    if node.get("min") is not None and node.get("max") is not None:
        low, high = node.need("min").number(), node.need("max").number()
        if not low < high:
            node.need("max").fail(f"{name}: max is {high:g} and min {low:g}; max must be larger.")
        span = (NM * low, NM * high) if non_bonded else (low, high)
    target = node.get("inverse.target") or node.get("inverse.optimizer.rdf.target")
    start = folder / f"{name}.pot.in"
    return Interaction(
        name,
        types,
        span,
        folder / target.word() if target is not None and target.words else None,
        start if start.is_file() else None,
        node,
    )


def _files(root: Node, folder: Path) -> tuple[Path | None, Path | None]:
    """Configuration and topology of the coarse-grained system, those that are there."""
    program = (root.words_at("inverse.program") or ["gromacs"])[0]
    configuration, topology = "conf", "topol"
    defaults = {"conf": "", "topol": ""}
    if program == "gromacs":
        topology = "topol_in"
        defaults = {"conf": "conf.gro", "topol_in": "topol.top"}
    found = []
    for key in (configuration, topology):
        words = root.words_at(f"inverse.{program}.{key}") or [defaults[key]]
        path = folder / words[0]
        found.append(path if words[0] and path.is_file() else None)
    return found[0], found[1]


def _left_out(root: Node, method: str) -> list[str]:
    """What the settings ask for and a target file does not hold."""
    out = []
    if method and method not in METHODS:
        out.append(
            f"{root.file}: the method is {method!r}, which is not here; the targets are read all "
            f"the same. Known: {', '.join(METHODS)}."
        )
    groups = {word for n in root.all("non-bonded.inverse.imc.group") for word in n.words}
    if len(groups | {w for n in root.all("bonded.inverse.imc.group") for w in n.words}) > 1:
        out.append(
            f"{root.file}: interactions are in several groups of IMC; here all of them are coupled."
        )
    for node in (*root.all("bonded"), *root.all("non-bonded")):
        name = " ".join(node.words_at("name"))
        where = f"{node.file}, line {node.line}: {name}"
        if "0" in node.words_at("inverse.do_potential"):
            cycle = " ".join(node.words_at("inverse.do_potential"))
            out.append(f"{where}: do_potential {cycle}; here every potential is updated each time.")
        for step in ("post_update", "post_add"):
            words = [w for w in node.words_at(f"inverse.{step}") if w not in _MEASURE_ONLY]
            if words:
                out.append(f"{where}: {step} {' '.join(words)} is not carried over.")
        form = node.words_at("re.function")
        if form:
            out.append(f"{where}: the form {form[0]} of its potential is not carried over.")
        if node.get("inverse.optimizer.function") or node.get("inverse.optimizer.functionfile"):
            out.append(f"{where}: the form of its potential is not carried over.")
        others = [w for w in node.words_at("inverse.optimizer.targets") if w != "rdf"]
        if others:
            out.append(f"{where}: the targets {', '.join(others)} are not carried over.")
    return out


_MEASURE_ONLY = ("convergence", "acc_convergence", "plot", "compress", "copyback", "average")
