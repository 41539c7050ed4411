"""OpenMM: a serialized system that loads and runs, a start and a script; nm and kJ/mol."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement
import math
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from bayescg.io.export.extrapolate import Extended
from bayescg.io.export.model import ExportModel
from bayescg.io.export.running import DAMPING, STEPS, time_step
from bayescg.io.export.tables import (
    ANGLES,
    FINE,
    check_box,
    extensions,
    lengths,
    longest_bond,
    sampled,
    spread,
    write_text,
)
from bayescg.units import KCAL

__all__ = ["write_openmm"]

SYSTEM, START, SCRIPT = "system.xml", "start.pdb", "run.py"
NM = 0.1  # in an angstrom
PAST = 0.02  # radians that tables of angles go on beyond their ends, where splines are worst
COORDINATES = {
    "bond": "distance(p1,p2)",
    "angle": "angle(p1,p2,p3)",
    "dihedral": "dihedral(p1,p2,p3,p4)",
}


def write_openmm(model: ExportModel, folder: Path) -> tuple[str, ...]:
    """Write the files; OpenMM itself is not needed for it.

    :return: what a reader has to know.
    :raises ValueError: for what OpenMM cannot express, naming it.
    """
    check_box(model, "openmm")
    potentials = extensions(model)
    root = _system(model, potentials)
    ET.indent(root, " ")
    ET.ElementTree(root).write(folder / SYSTEM, encoding="unicode", xml_declaration=True)
    write_text(folder / START, _pdb(model))
    write_text(folder / SCRIPT, _script(model, time_step(model, potentials)))
    return (
        f"Run it: python {SCRIPT} --steps 100000    (--help for more)",
        f"{SYSTEM}: read by openmm.XmlSerializer (made for OpenMM 8.1 and newer); {START}: the start",
        "Tables are cubic splines; pairs beyond the cut-off, and bonds beyond twice the longest seen, "
        "feel nothing.",
        "output: log.csv, trajectory.dcd",
    )


def _system(model: ExportModel, potentials: Mapping[str, Extended]) -> ET.Element:
    # By hand, so that an export needs no OpenMM; the format is that of its own serializer.
    root = ET.Element("System", type="System", version="1", openmmVersion="8.1")
    box = ET.SubElement(root, "PeriodicBoxVectors")
    for k, name in enumerate("ABC"):
        edge = np.where(np.arange(3) == k, model.box * NM, 0.0)
        ET.SubElement(box, name, {a: _number(v) for a, v in zip("xyz", edge, strict=True)})
    particles = ET.SubElement(root, "Particles")
    for mass in model.topology.mass:
        ET.SubElement(particles, "Particle", mass=_number(mass))
    ET.SubElement(root, "Constraints")
    forces = ET.SubElement(root, "Forces")
    if model.of("pair"):
        _pairs(forces, model, potentials)
    for kind in COORDINATES:
        for name, members in spread(model, kind):
            _bonded(forces, kind, potentials[f"{kind} {name}"], members)
    if model.three_body is not None:
        _three_body(forces, model)
    ET.SubElement(
        forces,
        "Force",
        type="CMMotionRemover",
        version="1",
        forceGroup="0",
        frequency="100",
        name="CMMotionRemover",
    )
    return root


def _pairs(forces: ET.Element, model: ExportModel, potentials: Mapping[str, Extended]) -> None:
    """One force for all types: a table over the distance and the number of the pair of types."""
    t, kinds, chosen = model.topology, model.topology.kinds, model.of("pair")
    r = lengths(model.cutoff)
    r = np.concatenate([[0.0], r])
    rows = []
    for i in chosen:
        e = potentials[i.label]
        rows.append(sampled(e, r)[0] * KCAL)
    lone = len(kinds) == 1
    force = ET.SubElement(
        forces,
        "Force",
        type="CustomNonbondedForce",
        version="3",
        name="pairs",
        forceGroup="0",
        energy="u(r)" if lone else "u(r, which(type1, type2))",
        method="2",
        cutoff=_number(model.cutoff * NM),
        useSwitchingFunction="0",
        switchingDistance="-1",
        useLongRangeCorrection="0",
    )
    parameters = ET.SubElement(force, "PerParticleParameters")
    if not lone:
        ET.SubElement(parameters, "Parameter", name="type")
    for name in ("GlobalParameters", "ComputedValues", "EnergyParameterDerivatives"):
        ET.SubElement(force, name)
    particles = ET.SubElement(force, "Particles")
    for kind in t.types:
        ET.SubElement(particles, "Particle", {} if lone else {"param1": str(kinds.index(kind))})
    _exclusions(force, model)
    functions = ET.SubElement(force, "Functions")
    last = _number(model.cutoff * NM)
    if lone:
        _function(
            functions,
            "u",
            rows[0],
            type="Continuous1DFunction",
            version="2",
            periodic="0",
            min="0",
            max=last,
        )
    else:
        # Pairs of types that feel nothing come last; once more, since nothing may lie on the edge.
        table = np.stack([*rows, np.zeros(len(r)), np.zeros(len(r))])
        _function(
            functions,
            "u",
            table,
            type="Continuous2DFunction",
            version="2",
            periodic="0",
            xsize=str(len(r)),
            ysize=str(len(table)),
            xmin="0",
            xmax=last,
            ymin="0",
            ymax=str(len(table) - 1),
        )
        which = np.full((len(kinds), len(kinds)), len(chosen))
        for a, b in combinations_with_replacement(range(len(kinds)), 2):
            felt = model.pair(kinds[a], kinds[b])
            if felt is not None:
                which[a, b] = which[b, a] = chosen.index(felt)
        size = str(len(kinds))
        _function(
            functions,
            "which",
            which,
            type="Discrete2DFunction",
            version="1",
            xsize=size,
            ysize=size,
        )
    ET.SubElement(force, "InteractionGroups")


def _exclusions(force: ET.Element, model: ExportModel) -> None:
    out = ET.SubElement(force, "Exclusions")
    for i, j in sorted(model.excluded):
        ET.SubElement(out, "Exclusion", p1=str(i), p2=str(j))


def _bonded(forces: ET.Element, kind: str, e: Extended, members: np.ndarray) -> None:
    if kind == "bond":
        q = np.concatenate([[0.0], lengths(longest_bond(e), FINE)])
        low, high = 0.0, longest_bond(e) * NM
    else:
        low, high = (-PAST if kind == "angle" else -math.pi - PAST), math.pi + PAST
        q = np.linspace(low, high, round((high - low) / math.pi * ANGLES) + 1)
    force = ET.SubElement(
        forces,
        "Force",
        type="CustomCompoundBondForce",
        version="3",
        name=e.interaction.label,
        forceGroup="0",
        particles=str(members.shape[1]),
        energy=f"u({COORDINATES[kind]})",
        usesPeriodic="1",
    )
    for name in ("PerBondParameters", "GlobalParameters", "EnergyParameterDerivatives"):
        ET.SubElement(force, name)
    bonds = ET.SubElement(force, "Bonds")
    for row in members.tolist():
        ET.SubElement(bonds, "Bond", {f"p{k}": str(site) for k, site in enumerate(row, 1)})
    functions = ET.SubElement(force, "Functions")
    _function(
        functions,
        "u",
        e.energy(q) * KCAL,
        type="Continuous1DFunction",
        version="2",
        periodic="0",
        min=_number(low),
        max=_number(high),
    )


def _three_body(forces: ET.Element, model: ExportModel) -> None:
    three = model.three_body
    assert three is not None
    gs, reach = _number(three.gamma * three.sigma * NM), _number(three.cutoff * NM)
    strength = float(np.asarray(three.strength)) * KCAL
    force = ET.SubElement(
        forces,
        "Force",
        type="CustomManyParticleForce",
        version="1",
        name="three-body",
        forceGroup="0",
        particlesPerSet="3",
        method="2",
        cutoff=reach,
        permutationMode="1",
        energy=f"{_number(strength)}*(cos(angle(p2,p1,p3))-({_number(three.cosine)}))^2"
        f"*exp({gs}/(distance(p1,p2)-{reach}))*exp({gs}/(distance(p1,p3)-{reach}))",
    )
    for name in ("PerParticleParameters", "GlobalParameters"):
        ET.SubElement(force, name)
    particles = ET.SubElement(force, "Particles")
    for _ in model.topology.types:
        ET.SubElement(particles, "Particle", type="0")
    ET.SubElement(force, "Exclusions")
    filters = ET.SubElement(force, "TypeFilters")
    for k in range(3):
        ET.SubElement(filters, "Filter", index=str(k), types="")
    ET.SubElement(force, "Functions")


def _function(parent: ET.Element, name: str, values: np.ndarray, **attributes: str) -> None:
    function = ET.SubElement(parent, "Function", attributes, name=name)
    out = ET.SubElement(function, "Values")
    for v in values.ravel().tolist():
        ET.SubElement(out, "Value", v=_number(v))


def _number(value: float) -> str:
    return f"{float(value):.12g}"


def _pdb(model: ExportModel) -> list[str]:
    """Molecules are whole; a name is unique in its residue, or readers take sites for alternatives."""
    x, images = model.placed()
    x = x + model.box * images
    molecule = np.unique(model.topology.molecule, return_inverse=True)[1]
    residue = molecule if np.bincount(molecule).max() < 1000 else np.arange(len(x))
    lines = ["REMARK " + model.title[:70]]
    lines.append(
        "CRYST1"
        + "".join(f"{edge:9.3f}" for edge in model.box)
        + "  90.00  90.00  90.00 P 1           1"
    )
    count: dict[int, int] = {}
    for n, (kind, at, m) in enumerate(
        zip(model.topology.types, x, residue.tolist(), strict=True), 1
    ):
        count[m] = count.get(m, 0) + 1
        number = str(count[m])
        name = (kind[: 4 - len(number)] + number)[:4]
        lines.append(
            f"HETATM{n % 100000:5d} {name:<4s} MOL A{(m + 1) % 10000:4d}    "
            + "".join(f"{v:8.3f}" for v in at)
            + "  1.00  0.00"
        )
    return [*lines, "END"]


def _script(model: ExportModel, step: float) -> list[str]:
    return f'''"""Run {START} under {SYSTEM}: Langevin dynamics at constant volume."""

import argparse

import openmm
from openmm import app, unit

words = argparse.ArgumentParser()
words.add_argument("--steps", type=int, default={STEPS})
words.add_argument("--platform", help="default: the fastest there is")
words.add_argument("--temperature", type=float, default={model.temperature:g}, help="K")
words.add_argument("--seed", type=int, default=1)
words = words.parse_args()

with open("{SYSTEM}") as file:
    system = openmm.XmlSerializer.deserialize(file.read())
start = app.PDBFile("{START}")
integrator = openmm.LangevinMiddleIntegrator(
    words.temperature * unit.kelvin, {1000.0 / DAMPING:g} / unit.picosecond, {step:g} * unit.femtosecond
)
integrator.setRandomNumberSeed(words.seed)
platform = openmm.Platform.getPlatformByName(words.platform) if words.platform else None
simulation = app.Simulation(start.topology, system, integrator, platform)
simulation.context.setPositions(start.positions)
simulation.context.setVelocitiesToTemperature(words.temperature * unit.kelvin, words.seed)
every = max(1, min(1000, words.steps))
simulation.reporters.append(app.DCDReporter("trajectory.dcd", every))
simulation.reporters.append(
    app.StateDataReporter("log.csv", every, step=True, potentialEnergy=True, temperature=True)
)
simulation.step(words.steps)'''.splitlines()
