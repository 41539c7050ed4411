"""Maps of VOTCA, ``<cg_molecule>``: their beads, bonded terms and weights, and the same as a map file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import os

from bayescg.io.map_spec import BeadSpec, MapSpec, MoleculeSpec, TermSpec
from bayescg.io.votca.xml import Node, read_xml

__all__ = ["AtomName", "VotcaBead", "VotcaMolecule", "map_spec", "molecule_of", "read_molecule"]

Notice = Callable[[str], None]
_WIDTHS = {"bond": 2, "angle": 3, "dihedral": 4}


@dataclass(frozen=True)
class AtomName:
    """``RESID:RESNAME:ATOM``, the residue counted within the molecule."""

    residue: int
    residue_name: str
    name: str


@dataclass(frozen=True)
class VotcaBead:
    """One bead.

    :param weights: one for each atom, as the file has them.
    :param force_weights: ``d``, one for each atom, if the file has them.
    """

    name: str
    type: str
    atoms: tuple[AtomName, ...]
    weights: tuple[float, ...]
    force_weights: tuple[float, ...] | None


@dataclass(frozen=True)
class VotcaMolecule:
    """One molecule type.

    :param name: of the mapped molecule.
    :param ident: of the molecule that is mapped, in its topology.
    :param beads: in the order of the mapped molecule.
    :param terms: kind (``bond``, ...), name of the potential and names of the beads, of each term.
    :param file: where it came from.
    """

    name: str
    ident: str
    beads: tuple[VotcaBead, ...]
    terms: tuple[tuple[str, str, tuple[str, ...]], ...]
    file: str

    @property
    def kinds(self) -> dict[str, str]:
        """``bond``, ``angle`` or ``dihedral`` of each name of a bonded term."""
        return {name: kind for kind, name, _ in self.terms}

    @property
    def exclusions(self) -> tuple[tuple[str, str], ...]:
        """Pairs of beads that share a bonded term, which VOTCA leaves out of its RDFs."""
        pairs = dict[tuple[str, str], None]()
        for _, _, beads in self.terms:
            for i, a in enumerate(beads):
                for b in beads[i + 1 :]:
                    pairs[min(a, b), max(a, b)] = None
        return tuple(pairs)


def read_molecule(path: str | os.PathLike[str]) -> VotcaMolecule:
    """Read a map of VOTCA.

    :param path: of the XML file.
    :raises FileNotFoundError: there is none.
    :raises ValueError: it is no map, or says what is not allowed: file and line.
    """
    return molecule_of(read_xml(path))


def molecule_of(root: Node) -> VotcaMolecule:
    """The same of an XML tree that is read already.

    :param root: of the tree.
    """
    if root.name != "cg_molecule":
        root.fail(f"the root is <{root.name}>; a map of VOTCA begins with <cg_molecule>.")
    maps = {}
    for node in root.all("maps.map"):
        name = node.need("name").word()
        if name in maps:
            node.fail(f"the map {name!r} is there twice; each may come once.")
        maps[name] = node
    beads = tuple(_bead(node, maps) for node in root.all("topology.cg_beads.cg_bead"))
    if not beads:
        root.fail("there are no beads; needed is topology.cg_beads.cg_bead.")
    names = [bead.name for bead in beads]
    for name in names:
        if names.count(name) > 1:
            root.fail(f"the bead {name!r} is there twice; each may come once.")
    terms = tuple(
        term
        for bonded in root.all("topology.cg_bonded")
        for node in bonded.children
        for term in _terms(node, names)
    )
    kinds = dict[str, str]()
    for kind, name, _ in terms:
        if kinds.setdefault(name, kind) != kind:
            root.fail(f"{name!r} is the name of a {kinds[name]} and of a {kind}; allowed is one.")
    return VotcaMolecule(
        root.need("name").word(), root.need("ident").word(), beads, terms, root.file
    )


def _bead(node: Node, maps: dict[str, Node]) -> VotcaBead:
    name = node.need("name").word()
    symmetry = node.get("symmetry")
    if symmetry is not None and symmetry.word() != "1":
        symmetry.fail(f"bead {name!r}: symmetry {symmetry.word()}; allowed is 1, a point.")
    atoms = []
    for word in node.need("beads").words:
        parts = word.split(":")
        if len(parts) != 3 or not parts[0].isdecimal() or not all(parts):
            node.need("beads").fail(
                f"bead {name!r}: {word!r} is no atom; allowed is RESID:RESNAME:ATOM."
            )
        atoms.append(AtomName(int(parts[0]), parts[1], parts[2]))
    if len(set(atoms)) < len(atoms):
        node.need("beads").fail(f"bead {name!r} names one atom twice.")
    scheme = node.need("mapping").word()
    if scheme not in maps:
        node.need("mapping").fail(
            f"bead {name!r}: unknown map {scheme!r}; known: {', '.join(maps) or 'none'}."
        )
    weights = maps[scheme].need("weights")
    force = maps[scheme].get("d")
    for given in (weights, force):
        if given is not None and given.words and len(given.numbers()) != len(atoms):
            given.fail(
                f"bead {name!r} has {len(atoms)} atoms and {len(given.numbers())} numbers in "
                f"{given.name} of map {scheme!r}; allowed is one for each."
            )
    if any(w < 0 for w in weights.numbers()) or not sum(weights.numbers()) > 0:
        weights.fail(f"map {scheme!r}: weights must be from 0, and not all 0.")
    return VotcaBead(
        name,
        node.need("type").word(),
        tuple(atoms),
        tuple(weights.numbers()),
        tuple(force.numbers()) if force is not None and force.words else None,
    )


def _terms(node: Node, names: Sequence[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    if node.name not in _WIDTHS:
        node.fail(f"<{node.name}> is no bonded term; allowed are {', '.join(_WIDTHS)}.")
    width, name = _WIDTHS[node.name], node.need("name").word()
    words = node.need("beads").words
    for word in words:
        if word not in names:
            node.need("beads").fail(
                f"{node.name} {name!r} names an unknown bead {word!r}; known: {', '.join(names)}."
            )
    if len(words) % width:
        node.need("beads").fail(
            f"{node.name} {name!r} names {len(words)} beads; allowed are multiples of {width}."
        )
    return [(node.name, name, tuple(words[i : i + width])) for i in range(0, len(words), width)]


def map_spec(
    molecules: Sequence[VotcaMolecule],
    *,
    atoms: Sequence[Sequence[AtomName]] | None = None,
    temperature: float | None = None,
    say: Notice = lambda text: None,
) -> MapSpec:
    """Maps of VOTCA as a map file has them.

    VOTCA finds molecules by the name that a GROMACS topology gives them; here they are found by
    the names of their residues. Weights follow the order in which a map lists its atoms. Names of
    atoms may come again in another residue of a molecule, so that a molecule of several residues
    needs the order of its atoms.

    :param molecules: at least one.
    :param atoms: of one molecule of each type, in the order of the topology, if they are known.
    :param temperature: K, which the map file then holds.
    :param say: is told what is not exactly as VOTCA has it.
    :raises ValueError: a molecule of several residues whose atoms are not known.
    """
    return MapSpec(
        tuple(
            _molecule(m, None if atoms is None else list(atoms[n]), say)
            for n, m in enumerate(molecules)
        ),
        temperature=temperature,
        source=", ".join(m.file for m in molecules),
    )


def _molecule(spec: VotcaMolecule, order: list[AtomName] | None, say: Notice) -> MoleculeSpec:
    used = [atom for bead in spec.beads for atom in bead.atoms]
    residues = {(atom.residue, atom.residue_name) for atom in used}
    if order is not None and len({atom.name for atom in order}) == len(order):
        _check_there(used, order, spec)
        order = None if len({atom.residue for atom in order}) == 1 else order
    elif order is None and len(residues) > 1:
        raise ValueError(
            f"{spec.file}: molecule {spec.ident!r} has {len(residues)} residues; needed is its "
            "atomistic topology (.top) or configuration (.gro), for the order of its atoms."
        )
    left = [a for b in spec.beads for a, w in zip(b.atoms, b.weights, strict=True) if not w]
    if left:
        say(
            f"{spec.file}: {', '.join(sorted({a.name for a in left}))} have the weight 0; they are "
            "left out of their beads."
        )
    shared = {atom for atom in used if used.count(atom) > 1}
    terms = {
        f"{kind}s": tuple(TermSpec(name, names) for k, name, names in spec.terms if k == kind)
        for kind in _WIDTHS
    }
    found_by = dict.fromkeys(atom.residue_name for atom in order or used)
    return MoleculeSpec(
        spec.name,
        f"resname {' '.join(found_by)}",
        tuple(_bead_spec(bead, order, shared, spec) for bead in spec.beads),
        split="residue" if order is None or len({a.residue for a in order}) == 1 else len(order),
        bonds=terms["bonds"],
        angles=terms["angles"],
        dihedrals=terms["dihedrals"],
        exclusions=spec.exclusions or 0,
        unmapped=True,  # VOTCA asks for no more
        shared=tuple(sorted({atom.name for atom in shared})),
    )


def _bead_spec(
    bead: VotcaBead, order: list[AtomName] | None, shared: set[AtomName], spec: VotcaMolecule
) -> BeadSpec:
    kept = [n for n, weight in enumerate(bead.weights) if weight]
    places: tuple[str, ...] | tuple[int, ...] = tuple(bead.atoms[n].name for n in kept)
    if order is not None:
        _check_there([bead.atoms[n] for n in kept], order, spec)
        places = tuple(order.index(bead.atoms[n]) + 1 for n in kept)
    force = bead.force_weights
    if force is None and shared & set(bead.atoms):
        force = bead.weights  # VOTCA's own choice; ours would leave shared atoms out
    return BeadSpec(
        bead.name,
        bead.type,
        places,
        weights=tuple(bead.weights[n] for n in kept),
        force_weights=None if force is None else tuple(force[n] for n in kept),
    )


def _check_there(atoms: Sequence[AtomName], order: list[AtomName], spec: VotcaMolecule) -> None:
    for atom in atoms:
        if atom not in order:
            raise ValueError(
                f"{spec.file}: molecule {spec.ident!r} has no atom "
                f"{atom.residue}:{atom.residue_name}:{atom.name}."
            )
