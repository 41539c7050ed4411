"""GROMACS: user tables, a topology, a start and run parameters; nm and kJ/mol.

Tables of non-bonded potentials belong to the group cut-off scheme, which GROMACS 2020 removed:
what is written runs whole in 2019 and older. Bonded tables are read by newer versions, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement
import math
from pathlib import Path

import numpy as np

from bayescg.io.export.extrapolate import Extended
from bayescg.io.export.model import ExportModel
from bayescg.io.export.running import DAMPING, STEPS, time_step
from bayescg.io.export.tables import (
    ANGLES,
    FINE,
    check_box,
    columns,
    extensions,
    extrapolated,
    longest_bond,
    spread,
    write_text,
)
from bayescg.topology import KINDS
from bayescg.units import KCAL

__all__ = ["write_gromacs"]

NM = 0.1  # in an angstrom
ROW = 0.005  # angstrom between rows; all tables of pairs must have the same
BEYOND = 10.0  # angstrom that tables go on beyond the cut-off: mdp's table-extension
BUFFER = 1.5  # angstrom of the neighbour list


def write_gromacs(model: ExportModel, folder: Path) -> tuple[str, ...]:
    """Write the files.

    :return: what a reader has to know.
    :raises ValueError: for what GROMACS cannot express, naming it.
    """
    if model.three_body is not None:
        raise ValueError(
            "the gromacs format cannot express the three-body term (Stillinger-Weber); "
            "allowed are lammps and openmm, or a model fitted without it."
        )
    check_box(model, "gromacs")
    potentials = extensions(model)
    _write_pairs(model, potentials, folder)
    bonded = []
    for kind in KINDS:
        for n, (name, _) in enumerate(spread(model, kind)):
            bonded.append(f"table_{kind[0]}{n}.xvg")
            _write_bonded(potentials[f"{kind} {name}"], folder / bonded[-1])
    groups = _molecules(model)
    write_text(folder / "topol.top", _topology(model, groups))
    write_text(folder / "conf.gro", _start(model))
    write_text(folder / "index.ndx", _index(model))
    write_text(folder / "grompp.mdp", _parameters(model, time_step(model, potentials)))
    tables = f" -tableb {' '.join(bonded)}" if bonded else ""
    return (
        "Run it (GROMACS 2019 or older; 2016 or newer for several bonded tables):",
        "  gmx grompp -f grompp.mdp -c conf.gro -p topol.top -n index.ndx -o topol.tpr",
        f"  gmx mdrun -s topol.tpr -table table.xvg{tables}",
        "GROMACS 2020 removed the group cut-off scheme, and tables of non-bonded potentials with it.",
        "table_A_B.xvg: pairs, in the columns of the C12 term (r, f, -f', g, -g', h, -h'); C6 = 0, C12 = 1.",
        "table.xvg: nothing, for pairs of types that do not interact.",
        *(
            f"table_{k[0]}{n}.xvg: {k} {name}"
            for k in KINDS
            for n, (name, _) in enumerate(spread(model, k))
        ),
    )


def _write_pairs(model: ExportModel, potentials: Mapping[str, Extended], folder: Path) -> None:
    rows = math.ceil(((model.cutoff or 10.0) + BEYOND) / ROW) + 1
    r = ROW * np.arange(rows)
    zero = np.zeros(rows)
    write_text(folder / "table.xvg", ["# nothing", columns(r * NM, *[zero] * 6).rstrip("\n")])
    kinds = model.topology.kinds
    for a, b in combinations_with_replacement(kinds, 2):
        i = model.pair(a, b)
        if i is None:
            continue
        e = potentials[i.label]
        u, f = e.energy(r) * KCAL, e.force(r) * KCAL / NM
        head = f"# {extrapolated(e)}"
        table = columns(r * NM, zero, zero, zero, zero, u, f)
        write_text(folder / f"table_{a}_{b}.xvg", [head, table.rstrip("\n")])


def _write_bonded(e: Extended, path: Path) -> None:
    kind = e.interaction.kind
    if kind == "bond":
        r = np.arange(0.0, longest_bond(e) + FINE, FINE)
        table = columns(r * NM, e.energy(r) * KCAL, e.force(r) * KCAL / NM)
    else:
        degrees = np.arange(0 if kind == "angle" else -ANGLES, ANGLES + 1) * (180.0 / ANGLES)
        q = np.deg2rad(degrees)
        table = columns(degrees, e.energy(q) * KCAL, np.deg2rad(e.force(q)) * KCAL)
    write_text(path, [f"# {extrapolated(e)}", table.rstrip("\n")])


def _molecules(model: ExportModel) -> list[tuple[int, int]]:
    """First site and size of each molecule; the whole system as one, where molecules do not come apart."""
    t = model.topology
    edges = np.flatnonzero(np.diff(t.molecule)) + 1
    starts = np.concatenate([[0], edges])
    sizes = np.diff(np.concatenate([starts, [t.sites]]))
    number = np.repeat(np.arange(len(starts)), sizes)
    tables = [members for kind in KINDS for _, members in spread(model, kind)] + [t.exclusion]
    if any(np.any(number[m] != number[m][:, :1]) for m in tables if len(m)):
        return [(0, t.sites)]
    return list(zip(starts.tolist(), sizes.tolist(), strict=True))


def _topology(model: ExportModel, groups: list[tuple[int, int]]) -> list[str]:
    t = model.topology
    lines = [f"; {model.title}", *(f"; {line}" for line in model.provenance), ""]
    lines += ["[ defaults ]", "; nbfunc comb-rule gen-pairs", "1 1 no", "", "[ atomtypes ]"]
    lines.append("; name mass charge ptype C6 C12")
    first = {kind: float(t.mass[t.types.index(kind)]) for kind in t.kinds}
    lines += [f"{kind} {mass:.10g} 0.0 A 0.0 1.0" for kind, mass in first.items()]
    terms = {kind: spread(model, kind) for kind in KINDS}
    known: dict[tuple[str, ...], str] = {}
    order: list[list[str | int]] = []
    for start, size in groups:
        body = tuple(_molecule(model, terms, start, size))
        if body not in known:
            known[body] = f"M{len(known) + 1}"
            # A chain of sites without exclusions of its own: all of them are listed.
            lines += ["", "[ moleculetype ]", "; name nrexcl", f"{known[body]} 0", *body]
        if order and order[-1][0] == known[body]:
            order[-1][1] = int(order[-1][1]) + 1
        else:
            order.append([known[body], 1])
    lines += ["", "[ system ]", model.title, "", "[ molecules ]"]
    return [*lines, *(f"{name} {count}" for name, count in order)]


def _molecule(
    model: ExportModel,
    terms: Mapping[str, tuple[tuple[str, np.ndarray], ...]],
    start: int,
    size: int,
) -> list[str]:
    """The sections of one molecule, its sites counted from 1."""
    t = model.topology
    lines = ["", "[ atoms ]", "; nr type resnr residue atom cgnr charge mass"]
    for k in range(size):
        kind, mass = t.types[start + k], t.mass[start + k]
        lines.append(f"{k + 1} {kind} 1 MOL {kind} {k + 1} 0.0 {mass:.10g}")
    for kind, tables in terms.items():
        rows = []
        for n, (name, members) in enumerate(tables):
            mine = members[(members[:, 0] >= start) & (members[:, 0] < start + size)]
            rows += [
                " ".join(str(site - start + 1) for site in row) + f" 8 {n} 1.0 ; {name}"
                for row in mine.tolist()
            ]
        if rows:
            lines += ["", f"[ {kind}s ]", "; sites, tabulated, number of the table, factor", *rows]
    lost: dict[int, list[int]] = {}
    for i, j in sorted(model.excluded):
        if start <= i < start + size:
            lost.setdefault(i - start + 1, []).append(j - start + 1)
    if lost:
        lines += ["", "[ exclusions ]"]
        lines += [f"{i} " + " ".join(map(str, others)) for i, others in lost.items()]
    return lines


def _start(model: ExportModel) -> list[str]:
    x, images = model.placed()
    x = (x + model.box * images) * NM
    molecule = np.unique(model.topology.molecule, return_inverse=True)[1] + 1
    lines = [model.title, str(len(x))]
    for n, (kind, m, at) in enumerate(zip(model.topology.types, molecule, x, strict=True), 1):
        where = "".join(f"{v:11.6f}" for v in at)
        lines.append(f"{m % 100000:5d}{'MOL':<5s}{kind[:5]:>5s}{n % 100000:5d}{where}")
    return [*lines, " ".join(f"{edge * NM:.6f}" for edge in model.box)]


def _index(model: ExportModel) -> list[str]:
    types = np.array(model.topology.types)
    groups = [("System", np.arange(len(types)))]
    groups += [(kind, np.flatnonzero(types == kind)) for kind in model.topology.kinds]
    lines = []
    for name, sites in groups:
        lines.append(f"[ {name} ]")
        lines += [" ".join(map(str, sites[k : k + 15] + 1)) for k in range(0, len(sites), 15)]
    return lines


def _parameters(model: ExportModel, step: float) -> list[str]:
    kinds = model.topology.kinds
    own = [f"{a} {b}" for a, b in combinations_with_replacement(kinds, 2) if model.pair(a, b)]
    cutoff = (model.cutoff or 10.0) * NM
    # As wide as the box allows: half of it.
    lists = min(cutoff + BUFFER * NM, 0.499 * float(model.box.min()) * NM)
    return [
        f"; {model.title}",
        "integrator       = sd",
        f"dt               = {step / 1000.0:g}",
        f"nsteps           = {STEPS}",
        "tc-grps          = System",
        f"tau-t            = {DAMPING / 1000.0:g}",
        f"ref-t            = {model.temperature:g}",
        "gen-vel          = yes",
        f"gen-temp         = {model.temperature:g}",
        "pbc              = xyz",
        "cutoff-scheme    = group",
        "ns-type          = grid",
        "nstlist          = 5",
        f"rlist            = {max(lists, cutoff):.6g}",
        "coulombtype      = user",
        f"rcoulomb         = {cutoff:.6g}",
        "vdwtype          = user",
        f"rvdw             = {cutoff:.6g}",
        f"table-extension  = {BEYOND * NM:g}",
        f"energygrps       = {' '.join(kinds)}",
        f"energygrp-table  = {' '.join(own)}",
        "nstxout-compressed = 1000",
        "nstenergy        = 1000",
        "nstlog           = 1000",
    ]
