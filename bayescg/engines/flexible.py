"""All-atom molecular dynamics of a liquid of one small flexible molecule with OpenMM."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from bayescg.engines.force_field import Molecule
from bayescg.engines.run import BAROSTAT_EVERY, NM, Run, box_of, cubic, load_openmm, strides
from bayescg.units import KCAL

__all__ = ["FlexibleRun", "Frame", "openmm_system", "simulate"]

GAP = 2.0  # angstrom between molecules at the start
LOOSE = 1.5  # temperature of the compression, in that of the run: conformations forget the start
STAGE = 0.5  # ps, in each of which the compression takes off up to
SHRINK = 0.015  # of the edge
CAREFUL = 2.0  # fs, time step of the compression
GROUPS = ("bonds", "angles", "torsions", "nonbonded")  # force groups 0 to 3


@dataclass(frozen=True)
class FlexibleRun(Run):
    """Conditions of one simulation.

    :param substeps: bonded forces are taken so many times a time step, non-bonded ones once (BAOAB
        with RESPA); 1 is OpenMM's Langevin middle scheme.
    """

    substeps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.substeps < 1:
            raise ValueError(f"substeps must be at least 1, got {self.substeps}.")
        if self.thermostat != "langevin":
            raise ValueError(f"the thermostat must be langevin here, got {self.thermostat!r}.")


class Frame(NamedTuple):
    """One stored frame: molecules are whole, and may lie outside the box."""

    x: np.ndarray  # (atom, 3) angstrom
    forces: np.ndarray  # (atom, 3) kcal/mol/angstrom, without those of constraints
    potential: float  # kcal/mol
    box: float  # angstrom
    stage: str  # "constant pressure" or "production"


def simulate(
    molecule: Molecule,
    run: FlexibleRun,
    seed: int,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[Frame]:
    """Frames of a liquid, first those at constant pressure (one a ps) if there are any, then the production.

    Molecules start far apart with random orientation and are compressed to ``run.box``. Particle-mesh
    Ewald, Lennard-Jones cut off with its long-range correction, bonds of hydrogen constrained,
    Langevin thermostat; the CPU with one thread.

    :param progress: called with the stage and the fraction of it that is done.
    :raises ModuleNotFoundError: if OpenMM is not installed, with the way to install it.
    :raises FloatingPointError: if the simulation is no longer finite.
    """
    mm = load_openmm()
    tell = progress or (lambda stage, done: None)
    rng = np.random.default_rng(seed)
    box, x = _compressed(mm, molecule, run, rng, tell)
    if run.npt:
        context, integrator = _context(mm, molecule, run, box, x, rng, constant_pressure=True)
        edges = []
        for done in strides(integrator, run, run.npt, 1.0):
            frame = _frame(context, "constant pressure", done * run.npt)
            tell(frame.stage, done)
            if done > 0.2:
                edges.append(frame.box)
            yield frame
        box = float(np.mean(edges))
        x = _scaled(frame.x, box / frame.box, molecule)
        if not run.cutoff < 0.5 * box:
            raise ValueError(
                f"the box shrank to {box:.3f} angstrom, below twice the cut-off {run.cutoff:g}."
            )
    context, integrator = _context(mm, molecule, run, box, x, rng, constant_pressure=False)
    for done in strides(integrator, run, run.equilibration, 1.0):
        tell("equilibration", done)
    for done in strides(integrator, run, run.length, run.interval):
        yield _frame(context, "production", done * run.length)
        tell("production", done)


def openmm_system(
    molecule: Molecule, copies: int, box: float | None, cutoff: float, *, constrained: bool = True
) -> Any:
    """The OpenMM System of so many molecules; its force groups are numbered as ``GROUPS``.

    :param box: edge of the periodic cube, angstrom; None: no box and no cut-off.
    :param constrained: whether bonds of hydrogen have their lengths fixed.
    :raises ModuleNotFoundError: as :func:`simulate`.
    """
    mm = load_openmm()
    system = mm.System()
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*cubic(box))
    fourier = "0.5*(v1*(1+cos(theta))+v2*(1-cos(2*theta))+v3*(1+cos(3*theta)))"
    bonds, angles = mm.HarmonicBondForce(), mm.HarmonicAngleForce()
    torsions = mm.CustomTorsionForce(fourier)
    for name in ("v1", "v2", "v3"):
        torsions.addPerTorsionParameter(name)
    for start in range(0, copies * len(molecule.types), len(molecule.types)):
        for mass in molecule.masses:
            system.addParticle(mass)
        for term in molecule.terms["bonds"]:
            at = [start + i for i in term]
            k, length = molecule.parameters("bonds", term)
            if constrained and "H" in [molecule.elements[i] for i in term]:
                system.addConstraint(*at, length * NM)
            else:
                bonds.addBond(*at, length * NM, 2.0 * k * KCAL / NM**2)
        for term in molecule.terms["angles"]:
            k, degrees = molecule.parameters("angles", term)
            angles.addAngle(*[start + i for i in term], np.deg2rad(degrees), 2.0 * k * KCAL)
        for term in molecule.terms["torsions"]:
            v = [KCAL * v for v in molecule.parameters("torsions", term)]
            torsions.addTorsion(*[start + i for i in term], v)
    for group, force in enumerate((bonds, angles, torsions)):
        force.setForceGroup(group)
        system.addForce(force)
    for force in _nonbonded(mm, molecule, copies, box, cutoff):
        force.setForceGroup(GROUPS.index("nonbonded"))
        system.addForce(force)
    return system


def _nonbonded(
    mm: Any, molecule: Molecule, copies: int, box: float | None, cutoff: float
) -> list[Any]:
    """Coulomb and Lennard-Jones with geometric means of sigma.

    OpenMM's fast force takes arithmetic means. With sigma' = 2 sqrt(sigma sigma_p) - sigma_p these are
    the geometric ones for all pairs with the most frequent kind p of atoms; what the pairs of two
    other kinds lack is a force of its own between those few atoms. Atoms without an epsilon, as
    hydrogens of hydroxyl groups, have charges only.
    """
    atoms = [molecule.field.atoms[t] for t in molecule.types]
    kinds = [(a.sigma, a.epsilon) for a in atoms]
    seen = {kind for kind in kinds if kind[1] > 0.0} or set(kinds)
    pivot, *rest = sorted(seen, key=lambda kind: (-kinds.count(kind), kind))
    used = dict.fromkeys(kinds, pivot[0]) | {
        kind: 2.0 * np.sqrt(kind[0] * pivot[0]) - pivot[0] for kind in (pivot, *rest)
    }
    excluded, one_four = molecule.close
    scale = molecule.field.one_four
    starts = range(0, copies * len(atoms), len(atoms))
    fast = mm.NonbondedForce()
    for start in starts:
        for atom, kind in zip(atoms, kinds, strict=True):
            fast.addParticle(atom.charge, used[kind] * NM, atom.epsilon * KCAL)
        for i, j in sorted(excluded):
            fast.addException(start + i, start + j, 0.0, 1.0, 0.0)
        for i, j in sorted(one_four):
            one, other = atoms[i], atoms[j]
            fast.addException(
                start + i,
                start + j,
                scale * one.charge * other.charge,
                np.sqrt(one.sigma * other.sigma) * NM,
                scale * np.sqrt(one.epsilon * other.epsilon) * KCAL,
            )
    forces, tail = [fast], 0.0
    for one_kind, other_kind in combinations_with_replacement(rest, 2):
        depth = 4.0 * np.sqrt(one_kind[1] * other_kind[1]) * KCAL
        right = np.sqrt(one_kind[0] * other_kind[0]) * NM
        taken = 0.5 * (used[one_kind] + used[other_kind]) * NM
        c12, c6 = depth * (right**12 - taken**12), depth * (right**6 - taken**6)
        # Constants, since a table by kind of atom would cost ten times as much, and their own
        # long-range correction, since that of the force is summed again in every step.
        lack = mm.CustomNonbondedForce(f"({c12:.17g}*s-({c6:.17g}))*s; s=1/r^6")
        twice = 1.0 if one_kind != other_kind else 0.5
        pairs = twice * copies**2 * kinds.count(one_kind) * kinds.count(other_kind)
        rc = cutoff * NM
        tail += pairs * 4.0 * np.pi * (c12 / (9.0 * rc**9) - c6 / (3.0 * rc**3))
        for start in starts:
            for _ in atoms:
                lack.addParticle([])
            for i, j in sorted(excluded | one_four):
                lack.addExclusion(start + i, start + j)
        lack.addInteractionGroup(
            *(
                [s + i for s in starts for i, k in enumerate(kinds) if k == kind]
                for kind in (one_kind, other_kind)
            )
        )
        forces.append(lack)
    for force in forces:
        if box is None:
            force.setNonbondedMethod(force.NoCutoff)
        else:
            force.setNonbondedMethod(force.PME if force is fast else force.CutoffPeriodic)
            force.setCutoffDistance(cutoff * NM)
    fast.setUseDispersionCorrection(box is not None)
    if box is not None and tail:
        forces.append(mm.CustomVolumeForce(f"{tail:.17g}/v"))
    return forces


def _context(
    mm: Any,
    molecule: Molecule,
    run: FlexibleRun,
    box: float,
    x: np.ndarray,
    rng: np.random.Generator,
    *,
    constant_pressure: bool = False,
    timestep: float | None = None,
    warmer: float = 1.0,
) -> tuple[Any, Any]:
    """A minimised OpenMM context at temperature, on the CPU with one thread."""
    system = openmm_system(molecule, run.molecules, box, run.cutoff)
    seeds = [int(s) for s in rng.integers(1, 2**31 - 1, 3)]
    temperature = warmer * run.temperature
    if constant_pressure:
        barostat = mm.MonteCarloBarostat(run.pressure, temperature, BAROSTAT_EVERY)
        barostat.setRandomNumberSeed(seeds[0])
        system.addForce(barostat)
    step = (timestep or run.timestep) * 1e-3
    if run.substeps == 1 or timestep is not None:
        integrator = mm.LangevinMiddleIntegrator(temperature, run.collision_rate, step)
    else:
        slow = GROUPS.index("nonbonded")
        for force in system.getForces():
            if force.getForceGroup() < slow:
                force.setForceGroup(0)
        integrator = mm.MTSLangevinIntegrator(
            temperature, run.collision_rate, step, [(slow, 1), (0, run.substeps)]
        )
    integrator.setRandomNumberSeed(seeds[1])
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(x * NM)
    mm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
    context.setVelocitiesToTemperature(temperature, seeds[2])
    return context, integrator


def _frame(context: Any, stage: str, time: float) -> Frame:
    state = context.getState(getPositions=True, getForces=True, getEnergy=True)
    x = np.asarray(state.getPositions(asNumpy=True)._value) / NM
    if not np.isfinite(x).all():
        raise FloatingPointError(
            f"the simulation is no longer finite after {time:g} ps; make the time step smaller."
        )
    forces = np.asarray(state.getForces(asNumpy=True)._value) * (NM / KCAL)
    return Frame(x, forces, state.getPotentialEnergy()._value / KCAL, box_of(context), stage)


def _compressed(
    mm: Any,
    molecule: Molecule,
    run: FlexibleRun,
    rng: np.random.Generator,
    tell: Callable[[str, float], None],
) -> tuple[float, np.ndarray]:
    """Box edge and positions of molecules put on a wide lattice and pressed together, hot."""
    per_edge = int(np.ceil(run.molecules ** (1.0 / 3.0) - 1e-9))
    shape = molecule.shape - np.average(molecule.shape, axis=0, weights=molecule.masses)
    spacing = 2.0 * np.linalg.norm(shape, axis=1).max() + GAP
    places = np.stack(np.meshgrid(*[np.arange(per_edge)] * 3), -1).reshape(-1, 3)
    spots = rng.permutation(places)[: run.molecules] * spacing
    turns = Rotation.random(run.molecules, rng=rng)
    x = np.concatenate([p + t.apply(shape) for p, t in zip(spots, turns, strict=True)])
    box = max(run.box, per_edge * spacing)
    context, integrator = _context(mm, molecule, run, box, x, rng, timestep=CAREFUL, warmer=LOOSE)
    stages = max(1, int(np.ceil(np.log(box / run.box) / SHRINK)))
    ratio = (run.box / box) ** (1.0 / stages)
    for stage in range(stages):
        integrator.step(round(STAGE * 1e3 / CAREFUL))
        now = np.asarray(context.getState(getPositions=True).getPositions(asNumpy=True)._value) / NM
        box *= ratio
        context.setPeriodicBoxVectors(*cubic(box))
        context.setPositions(_scaled(now, ratio, molecule) * NM)
        mm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
        tell("compression", (stage + 1) / stages)
    state = context.getState(getPositions=True)
    return run.box, np.asarray(state.getPositions(asNumpy=True)._value) / NM


def _scaled(atoms: np.ndarray, scale: float, molecule: Molecule) -> np.ndarray:
    """Centres of mass scaled, molecules kept as they are."""
    molecules = atoms.reshape(-1, len(molecule.types), 3)
    centres = np.average(molecules, axis=1, weights=molecule.masses)
    moved: np.ndarray = (molecules + ((scale - 1.0) * centres)[:, None]).reshape(-1, 3)
    return moved
