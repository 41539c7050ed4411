"""Molecular dynamics of rigid three-site water with OpenMM, for fine-grained reference data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from bayescg.engines.run import BAROSTAT_EVERY, NM, Run, box_of, cubic, load_openmm, strides
from bayescg.units import KCAL

__all__ = ["Frame", "RigidWater", "Run", "simulate", "trajectory"]


@dataclass(frozen=True)
class RigidWater:
    """A rigid three-site water model; the default is SPC/E (PCG paper, Appendix B.1)."""

    q_h: float = 0.4238  # e; the oxygen carries -2 q_h
    sigma: float = 3.166  # angstrom, of the oxygen
    epsilon: float = 0.650  # kJ/mol
    length: float = 1.0  # O-H, angstrom
    angle: float = 109.47  # H-O-H, degrees
    mass_o: float = 15.994  # g/mol
    mass_h: float = 1.00794

    @property
    def masses(self) -> np.ndarray:
        """O, H, H."""
        return np.array([self.mass_o, self.mass_h, self.mass_h])

    def shape(self) -> np.ndarray:
        """One molecule, ``(3, 3)`` angstrom, oxygen at the origin."""
        half = np.deg2rad(self.angle / 2.0)
        arm = self.length * np.array([np.sin(half), 0.0, np.cos(half)])
        return np.stack([np.zeros(3), arm, arm * [-1.0, 1.0, 1.0]])


class Frame(NamedTuple):
    """Centres of mass of one stored frame."""

    x: np.ndarray  # (molecule, 3) angstrom inside the box, single precision
    forces: np.ndarray | None  # (molecule, 3) kcal/mol/angstrom, single precision
    box: float  # angstrom


def simulate(
    run: Run,
    seed: int,
    water: RigidWater = RigidWater(),
    progress: Callable[[str, float], None] | None = None,
) -> tuple[np.ndarray, float]:
    """Centres of mass along a simulation at constant volume.

    Particle-mesh Ewald, Lennard-Jones cut off with its long-range correction, rigid molecules
    (SETTLE), OpenMM's Langevin (middle scheme) or Nose-Hoover thermostat.

    :param progress: called with the stage and the fraction of it that is done.
    :return: ``(frame, molecule, 3)`` angstrom inside the box, single precision, and the box edge
        in angstrom, which an NPT stage may have changed.
    :raises ModuleNotFoundError: if OpenMM is not installed, with the way to install it.
    :raises FloatingPointError: if the simulation is no longer finite.
    """
    frames = list(trajectory(run, seed, water, progress))
    return np.stack([frame.x for frame in frames]), frames[-1].box


def trajectory(
    run: Run,
    seed: int,
    water: RigidWater = RigidWater(),
    progress: Callable[[str, float], None] | None = None,
    *,
    forces: bool = False,
) -> Iterator[Frame]:
    """The frames of :func:`simulate` as they come, with the forces on the centres if asked for.

    The force on a molecule is the sum over its sites. Constraints hold within molecules only, so
    their forces cancel in the sum.

    :raises ValueError: for what :func:`simulate` refuses.
    :raises FloatingPointError: if the simulation blew up.
    """
    mm = load_openmm()
    tell = progress or (lambda stage, done: None)
    rng = np.random.default_rng(seed)
    box, positions = run.box, _lattice(run, water, rng)
    if run.npt:
        context, integrator = _context(mm, run, water, box, positions, rng, constant_pressure=True)
        edges = []
        for done in strides(integrator, run, run.npt, 1.0):
            tell("constant pressure", done)
            if done > 0.2:
                edges.append(box_of(context))
        box = float(np.mean(edges))
        state = context.getState(getPositions=True)
        scale = box / box_of(context)
        positions = _scaled(np.asarray(state.getPositions(asNumpy=True)) / NM, scale, water)
        if not run.cutoff < 0.5 * box:
            raise ValueError(
                f"the box shrank to {box:.3f} angstrom, below twice the cut-off {run.cutoff:g}."
            )
    context, integrator = _context(mm, run, water, box, positions, rng, constant_pressure=False)
    for done in strides(integrator, run, run.equilibration, 1.0):
        tell("equilibration", done)
    weights = water.masses / water.masses.sum()
    on_centres = None
    for done in strides(integrator, run, run.length, run.interval):
        state = context.getState(getPositions=True, getForces=forces)
        atoms = np.asarray(state.getPositions(asNumpy=True)._value)
        if not np.isfinite(atoms).all():
            raise FloatingPointError(
                f"the simulation is no longer finite after {done * run.length:g} ps; "
                "make the time step smaller."
            )
        centres = np.einsum("a,maj->mj", weights, atoms.reshape(-1, 3, 3)) / NM
        wrapped = np.mod(centres, box).astype(np.float32)
        wrapped = np.where(wrapped < np.float32(box), wrapped, np.float32(0.0))
        if forces:
            on_sites = np.asarray(state.getForces(asNumpy=True)._value).reshape(-1, 3, 3)
            on_centres = (on_sites.sum(1) * (NM / KCAL)).astype(np.float32)
        tell("production", done)
        yield Frame(wrapped, on_centres, box)


def _lattice(run: Run, water: RigidWater, rng: np.random.Generator) -> np.ndarray:
    """Molecules in random places of a cubic lattice, turned at random; ``(atom, 3)`` angstrom."""
    per_edge = int(np.ceil(run.molecules ** (1.0 / 3.0) - 1e-9))
    places = np.stack(np.meshgrid(*[np.arange(per_edge)] * 3), -1).reshape(-1, 3)
    spots = rng.permutation(places)[: run.molecules] * (run.box / per_edge)
    turns = Rotation.random(run.molecules, rng=rng)
    shape = water.shape()
    return np.concatenate([p + t.apply(shape) for p, t in zip(spots, turns, strict=True)])


def _scaled(atoms: np.ndarray, scale: float, water: RigidWater) -> np.ndarray:
    """Centres of mass scaled, molecules kept as they are."""
    molecules = atoms.reshape(-1, 3, 3)
    centres = np.einsum("a,maj->mj", water.masses / water.masses.sum(), molecules)
    moved: np.ndarray = (molecules + ((scale - 1.0) * centres)[:, None]).reshape(-1, 3)
    return moved


def _context(
    mm: Any,
    run: Run,
    water: RigidWater,
    box: float,
    positions: np.ndarray,
    rng: np.random.Generator,
    *,
    constant_pressure: bool,
) -> tuple[Any, Any]:
    """A minimised OpenMM context at temperature, on the CPU with one thread."""
    system = mm.System()
    force = mm.NonbondedForce()
    force.setNonbondedMethod(mm.NonbondedForce.PME)
    force.setCutoffDistance(run.cutoff * NM)
    force.setUseDispersionCorrection(True)
    across = 2.0 * water.length * np.sin(np.deg2rad(water.angle / 2.0))
    for o in range(0, 3 * run.molecules, 3):
        for mass in water.masses:
            system.addParticle(mass)
        force.addParticle(-2.0 * water.q_h, water.sigma * NM, water.epsilon)
        force.addParticle(water.q_h, 1.0, 0.0)
        force.addParticle(water.q_h, 1.0, 0.0)
        for a, b, d in (
            (o, o + 1, water.length),
            (o, o + 2, water.length),
            (o + 1, o + 2, across),
        ):
            system.addConstraint(a, b, d * NM)
            force.addException(a, b, 0.0, 1.0, 0.0)
    system.setDefaultPeriodicBoxVectors(*cubic(box))
    system.addForce(force)
    seeds = [int(s) for s in rng.integers(1, 2**31 - 1, 3)]
    if constant_pressure:
        barostat = mm.MonteCarloBarostat(run.pressure, run.temperature, BAROSTAT_EVERY)
        barostat.setRandomNumberSeed(seeds[0])
        system.addForce(barostat)
    if run.thermostat == "langevin":
        integrator = mm.LangevinMiddleIntegrator(
            run.temperature, run.collision_rate, run.timestep * 1e-3
        )
        integrator.setRandomNumberSeed(seeds[1])
    else:
        integrator = mm.NoseHooverIntegrator(
            run.temperature, run.collision_rate, run.timestep * 1e-3
        )
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(positions * NM)
    mm.LocalEnergyMinimizer.minimize(context, maxIterations=500)
    context.setVelocitiesToTemperature(run.temperature, seeds[2])
    return context, integrator
