"""HOOMD-blue 4 and newer: plain tables, a start as JSON and a script; kcal/mol, angstrom, g/mol."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bayescg.io.export.extrapolate import Extended
from bayescg.io.export.model import ExportModel
from bayescg.io.export.running import DAMPING, STEPS, time_step
from bayescg.io.export.tables import (
    ANGLES,
    SPACING,
    check_box,
    columns,
    extensions,
    extrapolated,
    longest_bond,
    spread,
    write_text,
)
from bayescg.topology import KINDS
from bayescg.units import ANGSTROM_PER_FS, BOLTZMANN

__all__ = ["write_hoomd"]

START, SCRIPT = "start.json", "run.py"
WIDTH = 12001  # rows of a bond's table


def write_hoomd(model: ExportModel, folder: Path) -> tuple[str, ...]:
    """Write the files.

    :return: what a reader has to know.
    :raises ValueError: for what HOOMD cannot express, naming it.
    """
    if model.three_body is not None:
        raise ValueError(
            "the hoomd format cannot express the three-body term (Stillinger-Weber); "
            "allowed are lammps and openmm, or a model fitted without it."
        )
    check_box(model, "hoomd")
    potentials = extensions(model)
    for e in potentials.values():
        _write_table(e, folder / f"{e.interaction.kind}_{e.interaction.name}.txt")
    (folder / START).write_text(json.dumps(_start(model, potentials), indent=1) + "\n")
    write_text(folder / SCRIPT, _script(model, time_step(model, potentials)))
    return (
        f"Run it: python {SCRIPT} --steps 100000    (HOOMD-blue 4 or newer)",
        f"{START}: types, masses, positions, terms, exclusions; *.txt: potentials as md.*.Table take them: q, U, F",
        "Distances of pairs are spaced equally from 0, without the cut-off; HOOMD interpolates linearly.",
        "units: kcal/mol, angstrom, g/mol; the unit of time is 48.888 fs",
        "output: trajectory.gsd",
    )


def _write_table(e: Extended, path: Path) -> None:
    kind = e.interaction.kind
    if kind == "pair":
        q = np.linspace(0.0, e.high, math.ceil(e.high / SPACING), endpoint=False)
    elif kind == "bond":
        q = np.linspace(0.0, longest_bond(e), WIDTH)
    else:
        q = np.linspace(
            0.0 if kind == "angle" else -np.pi, np.pi, (1 if kind == "angle" else 2) * ANGLES + 1
        )
    unit = "radian" if kind in ("angle", "dihedral") else "angstrom"
    head = [f"# {extrapolated(e)}", f"# q ({unit}), U (kcal/mol), F or tau (kcal/mol/{unit})"]
    write_text(path, [*head, columns(q, e.energy(q), e.force(q)).rstrip("\n")])


def _start(model: ExportModel, potentials: Mapping[str, Extended]) -> dict[str, Any]:
    t = model.topology
    x, images = model.placed()
    out: dict[str, Any] = {
        "box": model.box.tolist(),
        "types": list(t.kinds),
        "typeid": [t.kinds.index(kind) for kind in t.types],
        "mass": t.mass.tolist(),
        "position": (x - 0.5 * model.box).tolist(),  # the middle of the box is the origin
        "image": images.tolist(),
        "exclusions": [list(pair) for pair in sorted(model.excluded)],
        "pairs": [],
    }
    for a, b in combinations_with_replacement(t.kinds, 2):
        i = model.pair(a, b)
        name = None if i is None else f"pair_{i.name}.txt"
        out["pairs"].append([a, b, name, 0.0 if i is None else i.cutoff])
    for kind in KINDS:
        terms = spread(model, kind)
        out[f"{kind}s"] = {
            "types": [name for name, _ in terms],
            "typeid": [n for n, (_, members) in enumerate(terms) for _ in members],
            "group": [row for _, members in terms for row in members.tolist()],
        }
    out["longest"] = {
        name: longest_bond(potentials[f"bond {name}"]) for name, _ in spread(model, "bond")
    }
    return out


def _script(model: ExportModel, step: float) -> list[str]:
    unit = 1.0 / ANGSTROM_PER_FS  # fs
    return f'''"""Run {START} under the tables beside it: Langevin dynamics at constant volume."""

import argparse
import json

import hoomd
import numpy as np

words = argparse.ArgumentParser()
words.add_argument("--steps", type=int, default={STEPS})
words.add_argument("--temperature", type=float, default={model.temperature:g}, help="K")
words.add_argument("--seed", type=int, default=1)
words = words.parse_args()

with open("{START}") as file:
    start = json.load(file)
snapshot = hoomd.Snapshot()
if snapshot.communicator.rank == 0:
    snapshot.configuration.box = [*start["box"], 0, 0, 0]
    snapshot.particles.N = len(start["mass"])
    snapshot.particles.types = start["types"]
    for name in ("typeid", "mass", "position", "image"):
        getattr(snapshot.particles, name)[:] = start[name]
    for kind in ("bonds", "angles", "dihedrals"):
        group = getattr(snapshot, kind)
        group.types = start[kind]["types"]
        group.N = len(start[kind]["group"])
        if group.N:
            group.typeid[:] = start[kind]["typeid"]
            group.group[:] = start[kind]["group"]
    if start["exclusions"]:
        # Special pairs without a force: all that they do is to be left out of the neighbour list.
        snapshot.pairs.types = ["excluded"]
        snapshot.pairs.N = len(start["exclusions"])
        snapshot.pairs.typeid[:] = 0
        snapshot.pairs.group[:] = start["exclusions"]


def table(name):
    return np.loadtxt(name, ndmin=2).T


kt = {BOLTZMANN:.10g} * words.temperature
simulation = hoomd.Simulation(device=hoomd.device.auto_select(), seed=words.seed)
simulation.create_state_from_snapshot(snapshot)
forces = []
neighbours = hoomd.md.nlist.Cell(buffer=1.0, exclusions=["special_pair"] if start["exclusions"] else [])
pair = hoomd.md.pair.Table(nlist=neighbours)
for a, b, name, cutoff in start["pairs"]:
    _, u, f = table(name) if name else np.zeros((3, 1))
    pair.params[(a, b)] = dict(r_min=0.0, U=u, F=f)
    pair.r_cut[(a, b)] = cutoff
forces.append(pair)
if start["bonds"]["types"]:
    bond = hoomd.md.bond.Table(width={WIDTH})
    for name in start["bonds"]["types"]:
        _, u, f = table(f"bond_{{name}}.txt")
        bond.params[name] = dict(r_min=0.0, r_max=start["longest"][name], U=u, F=f)
    forces.append(bond)
if start["angles"]["types"]:
    angle = hoomd.md.angle.Table(width={ANGLES + 1})
    for name in start["angles"]["types"]:
        _, u, f = table(f"angle_{{name}}.txt")
        angle.params[name] = dict(U=u, tau=f)
    forces.append(angle)
if start["dihedrals"]["types"]:
    dihedral = hoomd.md.dihedral.Table(width={2 * ANGLES + 1})
    for name in start["dihedrals"]["types"]:
        _, u, f = table(f"dihedral_{{name}}.txt")
        dihedral.params[name] = dict(U=u, tau=f)
    forces.append(dihedral)

langevin = hoomd.md.methods.Langevin(filter=hoomd.filter.All(), kT=kt)
for name in start["types"]:
    mass = np.mean([m for m, k in zip(start["mass"], start["typeid"]) if start["types"][k] == name])
    langevin.gamma[name] = mass * {unit / DAMPING:.10g}
simulation.operations.integrator = hoomd.md.Integrator(
    dt={step / unit:.10g}, methods=[langevin], forces=forces
)
simulation.state.thermalize_particle_momenta(filter=hoomd.filter.All(), kT=kt)
simulation.operations.writers.append(
    hoomd.write.GSD(filename="trajectory.gsd", trigger=hoomd.trigger.Periodic(1000), mode="wb")
)
simulation.run(words.steps)'''.splitlines()
