"""How a model is run: the time step that its stiffest interaction bears."""

from __future__ import annotations

from collections.abc import Mapping
import math

import numpy as np

from bayescg.io.export.extrapolate import Extended
from bayescg.io.export.model import ExportModel, measured
from bayescg.io.export.tables import longest_bond
from bayescg.units import ANGSTROM_PER_FS, BOLTZMANN

__all__ = ["DAMPING", "STEPS", "time_step"]

DAMPING = 1000.0  # fs, of the Langevin thermostat: 1 per ps
STEPS = 100_000  # of a run, unless its user says otherwise
REACH = 10.0  # kT above a minimum: where the system goes
PERIOD = 25  # time steps in the fastest vibration
#: Over which a curvature is measured, angstrom or radians: the force of a table that is linear between
#: its points jumps at each, which is no vibration.
WINDOW = {"pair": 0.1, "bond": 0.04, "angle": 0.07, "dihedral": 0.17}
STEPS_ALLOWED = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 5.0, 10.0)  # fs


def time_step(model: ExportModel, potentials: Mapping[str, Extended]) -> float:
    """A time step, fs: a 25th of the fastest vibration's period, rounded down, at most 10.

    Frequencies of pairs, bonds, angles and dihedrals are added in squares, each from the largest
    curvature within 10 kT of its minimum.
    """
    reach = REACH * BOLTZMANN * model.temperature
    fastest = dict.fromkeys(("pair", "bond", "angle", "dihedral"), 0.0)
    for label, e in potentials.items():
        kind = e.interaction.kind
        fastest[kind] = max(fastest[kind], _curvature(e, reach) * _mobility(model, label, e))
    square = sum(fastest.values()) * ANGSTROM_PER_FS**2
    longest = STEPS_ALLOWED[-1] if square == 0.0 else 2.0 * math.pi / math.sqrt(square) / PERIOD
    return max((s for s in STEPS_ALLOWED if s <= longest), default=STEPS_ALLOWED[0])


def _curvature(e: Extended, reach: float) -> float:
    """The largest, where the energy is within ``reach`` of its smallest."""
    kind = e.interaction.kind
    last = {"pair": e.high, "bond": longest_bond(e)}.get(kind, math.pi)
    half = 0.5 * WINDOW[kind]
    q = np.linspace(-math.pi if kind == "dihedral" else half, last, 2001)
    u = e.energy(q)
    bend = np.abs(e.force(q - half) - e.force(q + half)) / WINDOW[kind]
    return float(bend[u <= u.min() + reach].max())


def _mobility(model: ExportModel, label: str, e: Extended) -> float:
    """What turns a curvature into the square of a frequency, 1/mass or 1/(mass length^2)."""
    i, mass = e.interaction, model.topology.mass
    if i.kind == "pair":
        types = np.array(model.topology.types)
        # A site is held from several sides.
        return 2.0 * sum(1.0 / float(mass[types == t].min()) for t in i.types)
    members = model.members(i)
    lightest = 2.0 / float(mass[members].min())
    if i.kind == "bond":
        return lightest
    arms = [
        measured("bond", model.x, members[:, k : k + 2], model.box)
        for k in range(members.shape[1] - 1)
    ]
    arm = max(float(np.min(arms)), 0.5)
    if i.kind == "dihedral":
        inner = [measured("angle", model.x, members[:, k : k + 3], model.box) for k in (0, 1)]
        arm *= max(float(np.min(np.sin(inner))), 0.3)
    return 2.0 * lightest / arm**2
