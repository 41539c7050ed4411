"""Molecular dynamics of Lennard-Jones particles of several types with OpenMM."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bayescg.engines.run import NM, Run, cubic, load_openmm, strides
from bayescg.units import KCAL

__all__ = ["AtomicRun", "openmm_system", "simulate"]

SMOOTH = "(1 - step(t)*t^3*(10 - 15*t + 6*t^2))"  # as bayescg.potentials.smooth_step


@dataclass(frozen=True)
class AtomicRun(Run):
    """Conditions of one simulation.

    :param mass: of every particle, g/mol; averages over configurations do not depend on it.
    :param width: over which Lennard-Jones is taken to zero before the cut-off, angstrom.
    :param order: where particles of different types begin: in ``random`` places of the lattice, or each type in a
        ``slab`` of its own, which takes time to form by itself.
    """

    mass: float = 40.0
    width: float = 1.0
    order: Literal["random", "slab"] = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mass > 0.0 or not 0.0 < self.width < self.cutoff:
            raise ValueError("mass must be positive, width lie between 0 and the cut-off.")
        if self.thermostat != "langevin" or self.npt:
            raise ValueError("only a langevin thermostat at constant volume is known here.")


def simulate(
    types: Sequence[str],
    pairs: Mapping[tuple[str, str], tuple[float, float]],
    run: AtomicRun,
    seed: int,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[np.ndarray]:
    """Positions ``(site, axis)``, angstrom, not wrapped; one frame every ``run.interval``.

    Particles start on a lattice. Langevin thermostat (the middle scheme), the CPU
    with one thread.

    :param types: of each particle, ``(site,)``.
    :param pairs: epsilon (kcal/mol) and sigma (angstrom) of every two types, each sorted.
    :raises ModuleNotFoundError: if OpenMM is not installed, with the way to install it.
    :raises FloatingPointError: if the simulation is no longer finite.
    """
    mm = load_openmm()
    tell = progress or (lambda stage, done: None)
    rng = np.random.default_rng(seed)
    kinds = list(dict.fromkeys(types))
    system = openmm_system(types, pairs, run)
    integrator = mm.LangevinMiddleIntegrator(
        run.temperature, run.collision_rate, run.timestep * 1e-3
    )
    integrator.setRandomNumberSeed(int(rng.integers(1, 2**31 - 1)))
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, platform, {"Threads": "1"})
    edge = int(np.ceil(len(types) ** (1.0 / 3.0) - 1e-9))
    places = np.stack(np.meshgrid(*[np.arange(edge)] * 3), -1).reshape(-1, 3)
    spots = rng.permutation(places)[: len(types)]
    if run.order == "slab":
        layers = spots[np.argsort(spots[:, 2], kind="stable")]
        spots[np.argsort([kinds.index(t) for t in types], kind="stable")] = layers
    context.setPositions(spots * (run.box / edge) * NM)
    mm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    context.setVelocitiesToTemperature(run.temperature, int(rng.integers(1, 2**31 - 1)))
    for done in strides(integrator, run, run.equilibration, 1.0):
        tell("equilibration", done)
    for done in strides(integrator, run, run.length, run.interval):
        yield _positions(context, done * run.length)
        tell("production", done)


def openmm_system(
    types: Sequence[str], pairs: Mapping[tuple[str, str], tuple[float, float]], run: AtomicRun
) -> Any:
    """The OpenMM System of particles, as :func:`simulate` takes them.

    :raises ModuleNotFoundError: as there.
    """
    mm = load_openmm()
    kinds = list(dict.fromkeys(types))
    tables = np.array([[pairs[min(a, b), max(a, b)] for b in kinds] for a in kinds])
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*cubic(run.box))
    near = run.cutoff - run.width
    force = mm.CustomNonbondedForce(
        f"4*e*(s^12 - s^6)*{SMOOTH}; t=max(0, (r - {near * NM:.17g})/{run.width * NM:.17g});"
        "s=sigma(kind1, kind2)/r; e=epsilon(kind1, kind2)"
    )
    force.addPerParticleParameter("kind")
    count = len(kinds)
    for name, values in (("epsilon", tables[..., 0] * KCAL), ("sigma", tables[..., 1] * NM)):
        force.addTabulatedFunction(
            name, mm.Discrete2DFunction(count, count, values.ravel().tolist())
        )
    for t in types:
        system.addParticle(run.mass)
        force.addParticle([kinds.index(t)])
    force.setNonbondedMethod(force.CutoffPeriodic)
    force.setCutoffDistance(run.cutoff * NM)
    system.addForce(force)
    return system


def _positions(context: Any, time: float) -> np.ndarray:
    state = context.getState(getPositions=True)
    x = np.asarray(state.getPositions(asNumpy=True)._value) / NM
    if not np.isfinite(x).all():
        raise FloatingPointError(
            f"the simulation is no longer finite after {time:g} ps; make the time step smaller."
        )
    return x
