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
    read_potential,
    read_system,
    read_target,
    read_xml,
    settings_of,
)

__all__ = ["import_map", "import_targets"]

Notice = Callable[[str], None]
_GROMACS_TABLE = re.compile(r"[bad]\d+")


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
    """Targets, system and potentials to start from, of a settings file.

    :param path: ``settings.xml``; files that it names are found from its folder.
    :param maps: maps besides those of ``cg.inverse.map``; needed where bonded interactions have
        targets, since only a map tells a bond from an angle.
    :param configuration: of the coarse-grained system, if not what the settings name: ``.gro`` or
        a LAMMPS data file.
    :param topology: of it: ``.top``, VOTCA's ``.xml``, or none.
    :param say: is told what was changed and what is not carried over.
    :raises FileNotFoundError: a file is not there.
    :raises ValueError: a file is not as it must be, or the settings lack targets, temperature or
        configuration.
    """
    settings = settings_of(read_xml(path), say)
    chosen = [each for each in settings.interactions if each.target is not None]
    if not chosen:
        raise ValueError(
            f"{path}: no interaction has a target (inverse.target); force matching needs mapped "
            "data: write the map by --map-out, then `bayescg map`."
        )
    for each in settings.interactions:
        if each.target is None:
            say(f"{path}, line {each.node.line}: {each.name} has no target.")
    temperature = settings.temperature
    molecules = [read_molecule(p) for p in (*settings.maps, *maps)]
    system = _system(settings, molecules, configuration, topology, say)
    targets = [_target(each, molecules, system, say) for each in chosen]
    starts = [
        _start(each, molecules, system) for each in settings.interactions if each.start is not None
    ]
    starts += _gromacs_tables(system, targets, Path(topology or settings.topology or path), say)
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


def _gromacs_tables(
    system: System, targets: Sequence[Target], near: Path, say: Notice
) -> list[Target]:
    """Bonded potentials that a project keeps fixed: tables beside its topology."""
    out = []
    with_target = {(t.kind, t.name) for t in targets}
    for kind, terms in system.topology.bonded().items():
        for name in terms.kinds:
            if (kind, name) in with_target:
                continue
            path = near.parent / f"table_{name}.xvg"
            if _GROMACS_TABLE.fullmatch(name) and path.is_file():
                found = read_potential(path, kind, name, degrees=True)
                keep = found.q >= 0.0 if kind != "dihedral" else np.ones(len(found.q), bool)
                out.append(replace(found, q=found.q[keep], values=found.values[keep]))
                say(
                    f"{path}: the {kind} {name} has no target; its table is a potential to start from."
                )
            else:
                say(f"{near}: the {kind} {name} has neither a target nor a potential.")
    return out
