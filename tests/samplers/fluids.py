"""Runs of particle samplers, and what they record of fluids."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

import bayescg as cg
from bayescg.potentials import InversePowers, LennardJones, ParticlePotential
from bayescg.samplers import ChainInfo, Dynamics, ParticleState, Sampler, Tether, particle_sampler
from bayescg.samplers.forces import Tables, energy, tabulate
from bayescg.samplers.lists import listed

SHIPPED = Path(__file__).parents[2] / "data" / "spce_water" / "frames.nc"

#: A dense supercritical fluid: T = 1.43, density 0.6 in Lennard-Jones units.
FLUID_SITES = 32
FLUID_BOX = (11.29,) * 3
FLUID = ParticlePotential((LennardJones(0.7, 3.0, InversePowers(cutoff=5.0)),), FLUID_BOX)


@partial(jax.jit, static_argnums=(0, 3))
def run(
    sampler: Sampler,
    state: ParticleState,
    prepared: tuple[Tables, Array],
    steps: int,
    key: Array,
    field: Tether | None = None,
) -> tuple[ParticleState, ChainInfo]:
    """The last state, and the report of every step."""

    def move(state: ParticleState, key: Array) -> tuple[ParticleState, ChainInfo]:
        return sampler.step(key, state, *prepared, field)

    return jax.lax.scan(move, state, jax.random.split(key, steps))


def prepare(sampler: Sampler, potential: ParticlePotential, beta: float = 1.0) -> Any:
    return sampler.prepare(potential, jnp.asarray(beta))


def at(sampler: Sampler, x: np.ndarray) -> ParticleState:
    assert sampler.at is not None
    state: ParticleState = sampler.at(jax.random.key(0), jnp.asarray(x))
    return state


class Case(NamedTuple):
    """A potential with its energies in kT at temperature 1."""

    potential: ParticlePotential
    sites: int
    beta: float


@cache
def case(name: str) -> Case:
    if name == "fluid":
        return Case(FLUID, FLUID_SITES, 1.0)
    # The whole model, with the largest numbers of a fit to 20 frames.
    model = cg.system("spce_water").program.keywords["water"]
    theta = jnp.zeros(len(model.basis.names))
    theta = theta.at[jnp.array([1, 6, 13, 17])].set(jnp.array([-0.42, -0.42, 0.37, 0.23]))
    potential = model.potential(theta, jnp.asarray(1.85), jnp.asarray(2.508))
    return Case(potential, model.sites, model.beta)


@cache
def observed(name: str, kind: str, frames: int, thin: int) -> tuple[Sampler, Callable[..., Any]]:
    """A sampler, and its run that records energies ``(frame, chain)`` every ``thin`` trajectories."""
    this = case(name)
    target = 0.99 if kind == "langevin" else 0.9
    dynamics = Dynamics(kind, first=0.04 if kind == "hmc" else 0.02, target=target)
    sampler = particle_sampler(this.sites, this.potential.box, dynamics)
    tables = tabulate(this.potential, jnp.asarray(this.beta), jnp.float32)

    def frame(state: ParticleState, key: Array, prepared: Any) -> Any:
        state, info = run(sampler, state, prepared, thin, key)
        near = listed(tables, state.x, this.potential.box).lists
        kinetic = 0.5 * jnp.sum(state.v**2, (0, 1))
        return state, (energy(tables, state.x, near), kinetic, jnp.mean(info.changed))

    @jax.jit
    def record(state: ParticleState, key: Array, prepared: Any) -> Any:
        keys = jax.random.split(key, frames)
        return jax.lax.scan(lambda s, k: frame(s, k, prepared), state, keys)

    return sampler, record


class Series(NamedTuple):
    u: np.ndarray  # potential energy, (frame, chain)
    kinetic: np.ndarray
    accepted: np.ndarray  # (frame,)
    x: np.ndarray  # positions at the end, (axis, site, chain)


@cache
def series(
    name: str,
    kind: str,
    temperature: float,
    *,
    chains: int = 64,
    warm: int = 15,
    frames: int = 60,
    thin: int = 3,
) -> Series:
    """Energies in units of kT at temperature 1, every ``thin`` trajectories.

    :param warm: frames left out; in them the step size finds its place.
    """
    sampler, record = observed(name, kind, warm + frames, thin)
    prepared = prepare(sampler, case(name).potential, case(name).beta / temperature)
    state = sampler.init(jax.random.key(11), chains)
    if name == "water":  # a lattice would take long to melt
        frames_of_water = cg.io.load(SHIPPED)["x"].values[:chains]
        state = at(sampler, np.ascontiguousarray(frames_of_water.T))
    if kind == "langevin":  # its small steps would take long to melt a lattice
        melt = series(name, "hmc", temperature, chains=chains, warm=warm, frames=frames, thin=thin)
        state = at(sampler, melt.x)
    state, values = record(state, jax.random.key(12), prepared)
    u, kinetic, accepted = (np.asarray(v, float)[warm:] for v in values)
    assert np.mean(state.failures) < 0.1
    return Series(u, temperature * kinetic, accepted, np.asarray(state.x))


def of_chains(values: np.ndarray) -> tuple[float, float]:
    """Mean, and its standard error from the differences between chains."""
    each = values.mean(0)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size))
