"""Projects of VOTCA: their targets, system and maps, in this package's files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
import re

import numpy as np

from bayescg.io.map_spec import MapSpec
from bayescg.io.targets import Target, Targets, make_targets
from bayescg.io.votca import (
    Interaction,
    Settings,
    System,
    VotcaMolecule,
    map_spec,
    molecule_of,
    molecules_of,
    read_molecule,
    read_pair_table,
    read_potential,
    read_system,
    read_target,
    read_xml,
    settings_of,
)
from bayescg.topology import pair_name

__all__ = ["import_map", "import_targets"]

Notice = Callable[[str], None]
_TABLE = re.compile(r"[bad]\d+")


def import_map(
    paths: Sequence[str | Path],
    *,
    atoms: str | Path | None = None,
    say: Notice = lambda text: None,
) -> MapSpec:
    """The maps of a project as one map, which :func:`bayescg.io.map_file.map_text` writes.

    :param paths: maps of VOTCA, or a settings file, whose ``cg.inverse.map`` and temperature count.
    :param atoms: ``.top`` or ``.gro`` of the system that is mapped; needed by molecules of several
        residues, for the order of their atoms.
    :param say: is told what is not exactly as VOTCA has it.
    :raises FileNotFoundError: a file is not there.
    :raises ValueError: a file is not as it must be, or none is a map.
    """
    molecules, temperature = list[VotcaMolecule](), None
    for path in paths:
        root = read_xml(path)
        if root.name != "cg":
            molecules.append(molecule_of(root))
            continue
        settings = settings_of(root)
        temperature = settings.temperature if settings.kbt is not None else temperature
        molecules += [read_molecule(p) for p in settings.maps]
    if not molecules:
        raise ValueError(f"{', '.join(map(str, paths))}: there is no map; give it by --cg map.xml.")
    order = None if atoms is None else [molecules_of(atoms, m) for m in molecules]
    return map_spec(molecules, atoms=order, temperature=temperature, say=say)


def import_targets(
    path: str | Path,
    *,
    maps: Sequence[str | Path] = (),
    configuration: str | Path | None = None,
    topology: str | Path | None = None,
    say: Notice = lambda text: None,
) -> Targets:
    """Targets, system and potentials of a settings file.

    Potentials of interactions that have no target are fixed: ``NAME.pot.in``, and tables beside the
    topology, ``table_b1.xvg`` of bonded terms and ``table_A_B.xvg`` of pairs.

    :param path: ``settings.xml``; files that it names are found from its folder.
    :param maps: maps besides those of ``cg.inverse.map``; needed where bonded interactions have
        targets, since only a map tells a bond from an angle.
    :param configuration: of the coarse-grained system, if not what the settings name: ``.gro`` or
        a LAMMPS data file.
    :param topology: of it: ``.top``, VOTCA's ``.xml``, or none.
    :param say: is told what was changed and what is not carried over.
    :raises FileNotFoundError: a file is not there.
    :raises ValueError: a file is not as it must be, or the settings lack targets, temperature or
        configuration, or an interaction has neither a target nor a potential.
    """
    settings = settings_of(read_xml(path), say)
    chosen = [each for each in settings.interactions if each.target is not None]
    if not chosen:
        raise ValueError(
            f"{path}: no interaction has a target (inverse.target); force matching needs mapped "
            "data: write the map by --map-out, then `bayescg map`."
        )
    temperature = settings.temperature
    molecules = [read_molecule(p) for p in (*settings.maps, *maps)]
    system = _system(settings, molecules, configuration, topology, say)
    targets = [_target(each, molecules, system, say) for each in chosen]
    starts = [
        _start(each, molecules, system) for each in settings.interactions if each.start is not None
    ]
    near = Path(topology or settings.topology or path)
    starts += _bonded_tables(system, [*targets, *starts], near)
    starts += _pair_tables(settings, system, [*targets, *starts], near, say)
    for each in settings.interactions:
        bonded = [name for terms in system.topology.bonded().values() for name in terms.kinds]
        if each.target is None and not each.types and each.name not in bonded:
            say(
                f"{path}, line {each.node.line}: {each.name} has no target, and the system no such term."
            )
    aims = {(t.kind, t.name) for t in targets}
    for start in starts:
        if (start.kind, start.name) not in aims:
            say(
                f"{path}: the {start.kind} {start.name} has no target; its potential, {start.source}, "
                "is kept as it is."
            )
    kinds = system.topology.kinds
    digest = sha256(Path(path).read_bytes())
    for each in chosen:
        assert each.target is not None
        digest.update(each.target.read_bytes())
    source = f"VOTCA project {path}"
    return make_targets(
        targets,
        box=system.box,
        count={kind: system.topology.types.count(kind) for kind in kinds},
        temperature=temperature,
        system=system.dataset(temperature, source),
        potentials=starts,
        attrs={"source": source, "sha256": digest.hexdigest(), "votca_method": settings.method},
    )


def _system(
    settings: Settings,
    molecules: Sequence[VotcaMolecule],
    configuration: str | Path | None,
    topology: str | Path | None,
    say: Notice,
) -> System:
    given = configuration or settings.configuration
    top = topology or settings.topology
    if given is None and top is not None:
        if Path(top).suffix.lower() == ".xml":
            base = read_xml(top).attributes.get("base", "")
            given = Path(top).parent / base if base else None
        elif Path(top).suffix.lower() != ".top":
            given = top  # data files of LAMMPS are both
    if given is None:
        raise ValueError(
            f"{settings.file}: no coarse-grained configuration is there; give it by --conf, a .gro "
            "or LAMMPS data file, for the box and the number of beads."
        )
    types = dict.fromkeys(t for each in settings.interactions for t in each.types)
    return read_system(given, top, molecules, list(types), say)


def _kind(each: Interaction, molecules: Sequence[VotcaMolecule]) -> str:
    if each.types:
        return "pair"
    kinds = {m.kinds[each.name] for m in molecules if each.name in m.kinds}
    if len(kinds) != 1:
        known = ", ".join(name for m in molecules for name in m.kinds)
        each.node.fail(
            f"{each.name!r} is a bonded interaction of {'no' if not kinds else 'two kinds in the'} "
            f"map; known: {known or 'none'}. Give the map by --cg."
        )
    return kinds.pop()


def _types(each: Interaction, system: System) -> tuple[str, str] | tuple[()]:
    """Bead types of a pair; ``*`` is the type that there is."""
    if not each.types:
        return ()
    known = system.topology.kinds
    out = []
    for kind in each.types:
        if kind == "*" and len(known) == 1:
            out.append(known[0])
        elif kind in known:
            out.append(kind)
        else:
            each.node.fail(
                f"{each.name}: unknown bead type {kind!r}; the system has {', '.join(known)}."
            )
    return out[0], out[1]


def _target(
    each: Interaction, molecules: Sequence[VotcaMolecule], system: System, say: Notice
) -> Target:
    assert each.target is not None
    kind = _kind(each, molecules)
    span = each.span
    if span is not None and kind == "bond":
        span = (10.0 * span[0], 10.0 * span[1])
    if not each.target.is_file():
        each.node.fail(f"{each.name}: there is no file {each.target}, its target.")
    types = _types(each, system)
    return read_target(each.target, kind, each.name, types, span=span, say=say)


def _start(each: Interaction, molecules: Sequence[VotcaMolecule], system: System) -> Target:
    assert each.start is not None
    return read_potential(each.start, _kind(each, molecules), each.name, _types(each, system))


def _bonded_tables(system: System, found: Sequence[Target], near: Path) -> list[Target]:
    """Bonded potentials that a project keeps fixed: tables beside its topology."""
    out = []
    held = {(t.kind, t.name) for t in found}
    for kind, terms in system.topology.bonded().items():
        for name in terms.kinds:
            if (kind, name) in held:
                continue
            numbers = [n for n in system.tables.get((kind, name), {name}) if _TABLE.fullmatch(n)]
            path = near.parent / f"table_{numbers[0]}.xvg" if len(numbers) == 1 else None
            if path is None or not path.is_file():
                needed = f" or a table, {path}" if path is not None else ""
                raise ValueError(
                    f"{near}: the {kind} {name} has neither a target nor a potential; needed is a target "
                    f"(inverse.target){needed}."
                )
            table = read_potential(path, kind, name, degrees=True)
            keep = table.q >= 0.0 if kind != "dihedral" else np.ones(len(table.q), bool)
            out.append(replace(table, q=table.q[keep], values=table.values[keep]))
    return out


def _pair_tables(
    settings: Settings, system: System, found: Sequence[Target], near: Path, say: Notice
) -> list[Target]:
    """Potentials of pairs that a project keeps fixed; without any, beads do not interact."""
    out = []
    named = {pair_name(*_types(i, system)): i for i in settings.interactions if i.types}
    held = {t.name for t in found if t.kind == "pair"}
    for a, b in system.topology.pairs:
        name = pair_name(a, b)
        if name in held:
            continue
        files = [near.parent / f"table_{x}_{y}.xvg" for x, y in ((a, b), (b, a))]
        path = next((f for f in files if f.is_file()), None)
        if path is not None:
            out.append(read_pair_table(path, (a, b)))
        elif name in named:
            named[name].node.fail(
                f"{named[name].name} has neither a target nor a potential; needed is a target "
                f"(inverse.target), {named[name].name}.pot.in, or a table, {files[0]}."
            )
        else:
            say(
                f"{settings.file}: there is no interaction of {a} and {b}, nor a table {files[0]}: these beads "
                "will NOT interact."
            )
    return out
