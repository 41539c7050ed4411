"""LAMMPS: a data file, tables, and an input deck that runs as it is; units real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np

from bayescg.io.export.extrapolate import Extended
from bayescg.io.export.model import ExportModel, measured
from bayescg.io.export.running import DAMPING, STEPS, time_step
from bayescg.io.export.tables import (
    ANGLES,
    FINE,
    columns,
    extensions,
    extrapolated,
    lengths,
    longest_bond,
    sampled,
    spread,
    write_text,
)
from bayescg.topology import pair_name

__all__ = ["write_lammps"]

SKIN = 2.0  # angstrom
DATA, DECK, THREE = "system.data", "in.lammps", "three_body.sw"


@dataclass(frozen=True)
class _Exclusion:
    """How excluded pairs are told: weights of neighbours along bonds, and what else it takes."""

    weights: tuple[int, int, int]
    commands: tuple[str, ...] = ()
    dummies: tuple[tuple[int, int], ...] = ()  # pairs that get a bond without energy
    words: str = "none"


def write_lammps(model: ExportModel, folder: Path) -> tuple[str, ...]:
    """Write the files.

    :return: what a reader has to know.
    :raises ValueError: for what LAMMPS cannot express, naming it.
    """
    masses = _masses(model)
    exclusion = _exclusion(model)
    potentials = extensions(model)
    for kind in ("pair", "bond", "angle", "dihedral"):
        _write_tables(model, potentials, kind, folder)
    if model.three_body is not None:
        three = model.three_body
        # Without A there are no pairs; a cosine, and no tolerance.
        numbers = (three.strength, three.sigma, three.a, 1.0, three.gamma, three.cosine)
        line = " ".join(f"{float(np.asarray(v)):.12g}" for v in numbers)
        write_text(
            folder / THREE,
            [
                "# epsilon sigma a lambda gamma cos(theta0) A B p q tol; UNITS: real",
                f"X X X {line} 0 1 4 0 0",
            ],
        )
    write_text(folder / DATA, _data(model, masses, exclusion))
    write_text(folder / DECK, _deck(model, potentials, exclusion))
    return (
        f"Run it: lmp -in {DECK}    (-var steps 1000000 for a longer run; also temperature, seed)",
        f"{DATA}: the start; *.table: potentials; output: rdf.dat, trajectory.lammpstrj, final.data",
        f"excluded pairs: {exclusion.words}",
        "LAMMPS packages needed: MOLECULE"
        + (", EXTRA-MOLECULE" if model.of("dihedral") else "")
        + (", MANYBODY" if model.three_body is not None else ""),
    )


def _masses(model: ExportModel) -> dict[str, float]:
    types = np.array(model.topology.types)
    out = {}
    for kind in model.topology.kinds:
        mass = np.unique(model.topology.mass[types == kind])
        if np.ptp(mass) > 1e-6 * mass[0]:
            raise ValueError(
                f"bead type {kind!r} has masses from {mass[0]:g} to {mass[-1]:g}; the lammps format allows one "
                "for each type: give the others a type of their own."
            )
        out[kind] = float(mass[0])
    return out


def _exclusion(model: ExportModel) -> _Exclusion:
    wanted = model.excluded
    levels = _neighbours(model)
    whole = all(level <= wanted or not level & wanted for level in levels)
    if whole and wanted <= set.union(*levels):
        first, second, third = (0 if level & wanted else 1 for level in levels)
        near = [n for n, level in zip(("1-2", "1-3", "1-4"), levels, strict=True) if level & wanted]
        words = f"{', '.join(near)} neighbours (special_bonds)" if near else "none"
        return _Exclusion((first, second, third), words=words)
    if wanted == _within_molecules(model):
        return _Exclusion(
            (1, 1, 1),
            ("neigh_modify exclude molecule/intra all",),
            words="all within a molecule (neigh_modify exclude)",
        )
    lost = sorted(levels[0] - wanted)
    if lost:
        i, j = lost[0]
        raise ValueError(
            f"exclusions: sites {i} and {j} are bonded but not excluded, while other pairs are; the lammps "
            "format allows exclusions that include every bond, or none."
        )
    dummies = tuple(sorted(wanted - levels[0]))
    return _Exclusion(
        (0, 1, 1),
        dummies=dummies,
        words=f"bonds, and {len(dummies)} further pairs by bonds without energy",
    )


def _neighbours(model: ExportModel) -> tuple[set[tuple[int, int]], ...]:
    """Pairs one, two and three bonds apart, each at its shortest."""
    near: list[set[int]] = [set() for _ in range(model.topology.sites)]
    for _, members in spread(model, "bond"):
        for i, j in members.tolist():
            near[i].add(j)
            near[j].add(i)
    levels: tuple[set[tuple[int, int]], ...] = (set(), set(), set())
    for i in range(len(near)):
        seen, edge = {i}, {i}
        for level in levels:
            edge = {k for j in edge for k in near[j]} - seen
            seen |= edge
            level |= {(i, j) for j in edge if i < j}
    return levels


def _within_molecules(model: ExportModel) -> set[tuple[int, int]]:
    of: dict[int, list[int]] = {}
    for site, molecule in enumerate(model.topology.molecule.tolist()):
        of.setdefault(molecule, []).append(site)
    return {(i, j) for sites in of.values() for i in sites for j in sites if i < j}


def _write_tables(
    model: ExportModel, potentials: Mapping[str, Extended], kind: str, folder: Path
) -> None:
    chosen = [e for e in potentials.values() if e.interaction.kind == kind]
    if not chosen and kind != "pair":
        return
    lines = ["# UNITS: real", f"# {model.title}"]
    for e in chosen:
        lines += ["", f"# {extrapolated(e)}", e.interaction.name, *_section(e)]
    if kind == "pair":
        r = lengths(_reach(model))
        none = np.zeros(len(r))
        lines += [
            "",
            "# pairs that feel nothing",
            "NONE",
            f"N {len(r)} R {float(r[0])!r} {float(r[-1])!r}",
            "",
        ]
        lines.append(columns(r, none, none, first=1).rstrip("\n"))
    write_text(folder / f"{kind}s.table", lines)


def _reach(model: ExportModel) -> float:
    """Cut-off of pairs that feel nothing: neighbours are needed for the RDF all the same."""
    return model.cutoff or 10.0


def _section(e: Extended) -> list[str]:
    """The line of parameters, an empty one, and the rows."""
    kind = e.interaction.kind
    if kind in ("pair", "bond"):
        q = lengths(e.high)
        if kind == "bond":
            q = np.concatenate([[0.0], lengths(longest_bond(e), FINE)])
        shown, (u, f) = q, sampled(e, q)
        more = f" R {float(q[0])!r} {float(q[-1])!r}" if kind == "pair" else ""
    else:
        degrees = np.arange(0 if kind == "angle" else 1 - ANGLES, ANGLES + 1) * (180.0 / ANGLES)
        q = np.deg2rad(degrees)
        shown, u, f = degrees, e.energy(q), np.deg2rad(e.force(q))
        more = " DEGREES" if kind == "dihedral" else ""
    return [f"N {len(q)}{more}", "", columns(shown, u, f, first=1).rstrip("\n")]


def _data(model: ExportModel, masses: Mapping[str, float], exclusion: _Exclusion) -> list[str]:
    t = model.topology
    tables = {k: list(spread(model, k)) for k in ("bond", "angle", "dihedral")}
    if exclusion.dummies:
        tables["bond"].append(("excluded", np.array(exclusion.dummies)))
    lines = [f"# {model.title}; units real", "", f"{t.sites} atoms"]
    for kind, terms in tables.items():
        lines.append(f"{sum(len(members) for _, members in terms)} {kind}s")
    lines += ["", f"{len(t.kinds)} atom types"]
    lines += [f"{len(terms)} {kind} types" for kind, terms in tables.items()]
    lines.append("")
    lines += [f"0.0 {edge:.12g} {a}lo {a}hi" for edge, a in zip(model.box, "xyz", strict=True)]
    lines += ["", "Masses", ""]
    lines += [f"{n} {mass:.12g} # {kind}" for n, (kind, mass) in enumerate(masses.items(), 1)]
    lines += ["", "Atoms # molecular", ""]
    number = {kind: n for n, kind in enumerate(t.kinds, 1)}
    molecule = np.unique(t.molecule, return_inverse=True)[1] + 1
    for n, (kind, m, x, image) in enumerate(
        zip(t.types, molecule, *model.placed(), strict=True), 1
    ):
        at = " ".join([*(f"{v:.10g}" for v in x), *(str(k) for k in image)])
        lines.append(f"{n} {m} {number[kind]} {at}")
    for kind, terms in tables.items():
        if terms:
            lines += ["", f"{kind.capitalize()}s", ""]
            rows = [(n, row) for n, (_, members) in enumerate(terms, 1) for row in members.tolist()]
            for k, (n, row) in enumerate(rows, 1):
                lines.append(f"{k} {n} " + " ".join(str(site + 1) for site in row))
    return lines


def _deck(
    model: ExportModel, potentials: Mapping[str, Extended], exclusion: _Exclusion
) -> list[str]:
    kinds = model.topology.kinds
    lines = [f"# {model.title}", *(f"# {line}" for line in model.provenance), ""]
    lines += [f"variable steps index {STEPS}", f"variable temperature index {model.temperature:g}"]
    lines += [
        "variable seed index 20260",
        "",
        "units real",
        "atom_style molecular",
        "boundary p p p",
    ]
    lines += ["special_bonds lj/coul " + " ".join(f"{w}.0" for w in exclusion.weights)]
    tables = ("bond", "angle", "dihedral")
    rows = max(len(lengths(_reach(model))), 5000)
    three = model.three_body is not None
    style = f"table spline {rows}"
    lines.append(f"pair_style hybrid/overlay {style} sw" if three else f"pair_style {style}")
    bonds = spread(model, "bond")
    longest = [longest_bond(e) for e in potentials.values() if e.interaction.kind == "bond"]
    of_bonds = f"table spline {len(lengths(max(longest), FINE)) + 1}" if longest else ""
    if exclusion.dummies:
        lines.append(f"bond_style hybrid {of_bonds} zero nocoeff".replace("  ", " "))
    elif bonds:
        lines.append(f"bond_style {of_bonds}")
    if model.of("angle"):
        lines.append(f"angle_style table spline {ANGLES + 1}")
    if model.of("dihedral"):
        lines.append(f"dihedral_style table spline {2 * ANGLES}")
    lines += [*_communication(model, exclusion), f"read_data {DATA}"]
    sub = "table " if three else ""
    for a, b in combinations_with_replacement(range(len(kinds)), 2):
        i = model.pair(kinds[a], kinds[b])
        name, cutoff = ("NONE", _reach(model)) if i is None else (i.name, i.cutoff)
        lines.append(f"pair_coeff {a + 1} {b + 1} {sub}pairs.table {name} {float(cutoff):.12g}")
    if three:
        lines.append(f"pair_coeff * * sw {THREE} " + " ".join("X" for _ in kinds))
    for kind in tables:
        sub = "table " if kind == "bond" and exclusion.dummies else ""
        for n, (name, _) in enumerate(spread(model, kind), 1):
            lines.append(f"{kind}_coeff {n} {sub}{kind}s.table {name}")
    if exclusion.dummies:
        lines.append(f"bond_coeff {len(bonds) + 1} zero")
    lines += [
        *exclusion.commands,
        "",
        f"neighbor {SKIN} bin",
        "neigh_modify every 1 delay 0 check yes",
    ]
    pairs = [f"{a + 1} {b + 1}" for a, b in combinations_with_replacement(range(len(kinds)), 2)]
    return [
        *lines,
        f"timestep {time_step(model, potentials):g}",
        "velocity all create ${temperature} ${seed} mom yes rot no dist gaussian",
        "fix integrate all nve",
        f"fix thermostat all langevin ${{temperature}} ${{temperature}} {DAMPING:g} ${{seed}}",
        "",
        "# without excluded pairs; columns: r, then g and coordination of "
        + ", ".join(
            pair_name(kinds[a], kinds[b])
            for a, b in combinations_with_replacement(range(len(kinds)), 2)
        ),
        f"compute rdf all rdf {max(10, round(_reach(model) / 0.05))} {' '.join(pairs)} "
        f"cutoff {_reach(model):g}",
        "fix rdf all ave/time 100 1 100 c_rdf[*] mode vector ave running overwrite file rdf.dat",
        "dump trajectory all custom 1000 trajectory.lammpstrj id mol type x y z",
        "dump_modify trajectory sort id",
        "thermo 1000",
        "thermo_style custom step temp pe ke etotal press",
        "run ${steps}",
        "write_data final.data",
    ]


def _communication(model: ExportModel, exclusion: _Exclusion) -> list[str]:
    """Where terms reach farther than pairs do, LAMMPS must be told, or it finds wrong images."""
    reach = 0.0
    tables = [
        members for kind in ("bond", "angle", "dihedral") for _, members in spread(model, kind)
    ]
    if exclusion.dummies:
        tables.append(np.array(exclusion.dummies))
    for members in tables:
        ends = members[:, [0, -1]]
        reach = max(reach, float(measured("bond", model.x, ends, model.box).max()))
    known = max([i.known[1] for i in model.of("bond")], default=0.0)
    reach = 1.5 * max(reach, known)
    return [f"comm_modify cutoff {reach:g}"] if reach > _reach(model) + SKIN else []
