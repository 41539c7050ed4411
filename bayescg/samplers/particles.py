r"""Langevin dynamics (BAOAB) and Metropolis-corrected Hamiltonian Monte Carlo of particles.

Both move a batch of chains along trajectories of a few steps, in units in which kT and the mass are
1: lengths are angstrom, velocities pure numbers of variance 1, and a time step is a length too, the
way a particle of thermal speed goes in it. ``W``, the energy that a trajectory of perfect steps would
not gain (for Langevin dynamics less the heat that the thermostat gave, Sivak, Chodera and Crooks,
Phys. Rev. X 3, 011007 (2013)), says how good a step size is; from it each chain adapts its own.
HMC accepts a trajectory with probability :math:`\min(1, e^{-W})`, so its ensemble is exact whatever the
step; Langevin dynamics accepts all, with an error that falls as the square of the step.
"""

from dataclasses import dataclass, field
from functools import partial
import math
import os
from typing import Literal, NamedTuple, cast

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.particles import ParticlePotential
from bayescg.samplers.base import ChainInfo, Sampler
from bayescg.samplers.forces import Tables, energy, forces, tabulate
from bayescg.samplers.lists import Kept, listed, relisted
from bayescg.samplers.tethers import Held, Tether, TetherMixture
from bayescg.samplers.trajectories import forces_and_energy, supports, trajectory

__all__ = ["Dynamics", "ParticleState", "kernels", "particle_sampler", "usual_precision"]

WILD = 1e3  # kT; a trajectory whose W passes this has blown up
EAGER = 5.0  # gain of the first adaptation
LEAST = 0.005  # friction of a time step, where sites feel no force
MIXED = 4  # number of the key that draws components, beside those of a step
SMALLEST = 2.0**-10  # of the first time step: a chain that fails there goes on failing, and is seen


class ParticleState(NamedTuple):
    """Chains of particles; the chain axis of every array is the last one."""

    x: Array  # (axis, site, chain), angstrom, not wrapped
    v: Array  # (axis, site, chain), in thermal speeds
    log_step: Array  # (chain,), of the time step in angstrom
    age: Array  # (chain,), trajectories so far, by which adaptation fades
    failures: Array  # (chain,), trajectories that blew up
    frequency: Array  # (chain,), the Einstein frequency, averaged over chains and trajectories


def usual_precision() -> Literal["single", "double"]:
    """``BAYESCG_PRECISION`` of the environment, else ``single``: of positions and forces while particles move."""
    return cast(Literal["single", "double"], os.environ.get("BAYESCG_PRECISION") or "single")


@dataclass(frozen=True)
class Dynamics:
    """How chains of particles move.

    :param kind: ``langevin`` or ``hmc``.
    :param steps: time steps of a trajectory.
    :param friction: times the Einstein frequency, which the forces tell (Langevin).
    :param keep: how much of the velocities a new HMC trajectory keeps, in [0, 1).
    :param target: acceptance that the step size is adapted to (Langevin: that HMC would have).
    :param first: first time step, angstrom.
    :param longest: largest time step, angstrom.
    :param precision: of positions and forces while they move; :func:`usual_precision` where it is not given.

    >>> Dynamics("hmc", steps=10).target
    0.9
    >>> Dynamics("verlet")
    Traceback (most recent call last):
        ...
    ValueError: kind must be one of langevin, hmc, got 'verlet'.
    """

    kind: Literal["langevin", "hmc"] = "langevin"
    steps: int = 20
    friction: float = 0.1
    keep: float = 0.0
    target: float = 0.9
    first: float = 0.008
    longest: float = 0.1
    precision: Literal["single", "double"] = field(default_factory=usual_precision)

    def __post_init__(self) -> None:
        for name, allowed in (("kind", ("langevin", "hmc")), ("precision", ("single", "double"))):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}."
                )
        if self.steps < 1 or not 0.0 < self.target < 1.0 or not 0.0 <= self.keep < 1.0:
            raise ValueError(
                "steps must be at least 1, target lie between 0 and 1, and keep in [0, 1)."
            )


def kernels(sites: int, box: tuple[float, float, float]) -> dict[str, Sampler]:
    """HMC of latents that data hold, and of an exact ensemble: a system's ``latent_sampler`` and ``exact_sampler``.

    The second's trajectories are longer. Nine in ten statistics of 100 sites of water are new after 90 of its time
    steps, all after 210; with trajectories of 10 steps that takes 200 and 430, and with Langevin dynamics, whose
    ensemble depends on the step, 60 and 120.

    :param sites: how many there are.
    :param box: edges, angstrom.
    """
    held, free = Dynamics("hmc", steps=10), Dynamics("hmc", steps=30, target=0.8)
    return {
        "latent_sampler": particle_sampler(sites, box, held),
        "exact_sampler": particle_sampler(sites, box, free),
    }


def particle_sampler(
    sites: int,
    box: tuple[float, float, float],
    dynamics: Dynamics | None = None,
    starts: np.ndarray | None = None,
) -> Sampler:
    """A sampler of particles in a periodic box.

    Each of its steps is one trajectory. A chain that blows up is put back to where the trajectory
    began with a step half as long, and counted in its ``failures``. All sites move as if of one mass, which
    configurations do not notice.

    :param sites: how many there are.
    :param box: edges, angstrom.
    :param dynamics: how a trajectory is made; None: Langevin's.
    :param starts: configurations ``(frame, site, axis)`` that chains start from, whichever comes;
        None: sites in random places of a lattice, which is no start for molecules.
    """
    moves = dynamics or Dynamics()
    dtype = jnp.float32 if moves.precision == "single" else jnp.float64

    def at(key: Array, x: Array) -> ParticleState:
        chains = x.shape[2]
        v = jax.random.normal(key, x.shape, dtype)
        first = jnp.full(chains, math.log(moves.first), dtype)
        none = jnp.zeros(chains, dtype)
        return ParticleState(x.astype(dtype), v, first, none, none, none)

    def init(key: Array, chains: int) -> ParticleState:
        place, key = jax.random.split(key)
        if starts is None:
            return at(key, _lattice(place, sites, box, chains))
        frames = jax.random.choice(place, len(starts), (chains,), replace=chains > len(starts))
        return at(key, jnp.asarray(starts)[frames].T)

    def prepare(
        potential: ParticlePotential | MolecularPotential, beta: Array
    ) -> tuple[Tables, Array]:
        return tabulate(potential, beta, dtype), jnp.ones((), dtype)

    def force(x: Array, tables: Tables) -> Array:
        return forces(tables, x, listed(tables, x, box).lists)

    def energies(x: Array, tables: Tables) -> Array:
        x = x.astype(dtype)
        if supports(tables):
            return forces_and_energy(tables, x)[1]
        return energy(tables, x, listed(tables, x, box).lists)

    return Sampler(init, partial(_step, moves, box), prepare, at, force, energies)


def _lattice(key: Array, sites: int, box: tuple[float, ...], chains: int) -> Array:
    """Sites in random places of a cubic lattice, ``(axis, site, chain)``."""
    edge = int(np.ceil(sites ** (1.0 / 3.0) - 1e-9))
    places = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), 0).reshape(3, -1)
    spots = jnp.asarray(places * np.asarray(box)[:, None] / edge)

    def one(key: Array) -> Array:
        return spots[:, jax.random.permutation(key, edge**3)[:sites]]

    return jax.vmap(one, out_axes=-1)(jax.random.split(key, chains))


class _Moving(NamedTuple):
    x: Array
    v: Array
    f: Array
    near: Kept
    heat: Array  # (chain,), kT


def _trajectory(
    dynamics: Dynamics,
    box: tuple[float, ...],
    tables: Tables,
    tether: Tether | Held | None,
    key: Array,
    x: Array,
    v: Array,
    h: Array,
    known: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """Move for ``steps`` steps; new ``x`` and ``v``, W in kT, whether a list ran over, the frequency.

    :param known: Einstein frequency of the trajectories before, 0 for none. Friction comes from it:
        one that the present configuration chose would leave another ensemble invariant.
    """
    dtype = x.dtype
    free = tether.free if isinstance(tether, Held) else jnp.ones(x.shape[1:], dtype)
    degrees = 3.0 * jnp.maximum(jnp.sum(free, 0), 1.0)

    def einstein(squares: Array) -> Array:
        # The median: a chain that blows up must not slow the others down.
        return jnp.broadcast_to(jnp.nanmedian(jnp.sqrt(squares / degrees)), h.shape)

    def kept_by(frequency: Array) -> Array:
        rate = dynamics.friction * jnp.where(known > 0.0, known, frequency)
        return jnp.exp(-jnp.maximum(rate * h, LEAST if dynamics.friction else 0.0)).astype(dtype)

    if supports(tables):
        # Forces are needed before the first trajectory only, whose friction nothing else tells.
        frequency = jax.lax.cond(
            jnp.all(known > 0.0),
            lambda: known,
            lambda: einstein(jnp.sum(forces_and_energy(tables, x, tether)[0] ** 2, (0, 1))),
        )
        langevin = dynamics.kind == "langevin"
        x, v, work, squares = trajectory(
            tables, x, v, h, kept_by(frequency), key, dynamics.steps, langevin, tether
        )
        return x, v, work, jnp.zeros(h.shape, bool), einstein(squares)
    near = listed(tables, x, box)
    f = forces(tables, x, near.lists, tether)
    start = energy(tables, x, near.lists, tether) + 0.5 * jnp.sum(v * v, (0, 1))
    frequency = einstein(jnp.sum(f * f, (0, 1)))
    kept = kept_by(frequency)
    half, kick = 0.5 * h, jnp.sqrt(1.0 - kept * kept)

    def move(i: Array, m: _Moving) -> _Moving:
        v = m.v + half * m.f
        heat = m.heat
        if dynamics.kind == "langevin":
            x = m.x + half * v
            noise = jax.random.normal(jax.random.fold_in(key, i), v.shape, dtype) * free
            new = kept * v + kick * noise
            heat = heat + 0.5 * jnp.sum(new * new - v * v, (0, 1))
            v = new
            x = x + half * v
        else:
            x = m.x + h * v
        near = relisted(tables, x, box, m.near)
        f = forces(tables, x, near.lists, tether)
        return _Moving(x, v + half * f, f, near, heat)

    end = jax.lax.fori_loop(0, dynamics.steps, move, _Moving(x, v, f, near, jnp.zeros_like(start)))
    stop = energy(tables, end.x, end.near.lists, tether) + 0.5 * jnp.sum(end.v * end.v, (0, 1))
    return end.x, end.v, stop - start - end.heat, end.near.over, frequency


def _step(
    dynamics: Dynamics,
    box: tuple[float, ...],
    key: Array,
    state: ParticleState,
    tables: Tables,
    beta: Array,
    field: Tether | TetherMixture | Held | None = None,
) -> tuple[ParticleState, ChainInfo]:
    """One trajectory of every chain; ``beta`` is in the tables already."""
    move_key, fresh_key, accept_key, jitter_key = jax.random.split(key, 4)
    dtype = state.x.dtype
    tether = None if field is None else jax.tree.map(lambda a: a.astype(dtype), field)
    if isinstance(tether, TetherMixture):
        tether = tether.drawn(jax.random.fold_in(key, MIXED), state.x)
    fresh = jax.random.normal(fresh_key, state.v.shape, dtype)
    if isinstance(tether, Held):
        fresh = fresh * tether.free
        x = jnp.where(tether.free > 0, state.x, tether.at)
        state = state._replace(x=x, v=state.v * tether.free)
    h = jnp.exp(state.log_step)
    v = state.v
    if dynamics.kind == "hmc":
        v = dynamics.keep * v + math.sqrt(1.0 - dynamics.keep**2) * fresh
        # Trajectories of one length can go round in circles; Mackenzie, Phys. Lett. B 226, 369 (1989).
        h = h * jax.random.uniform(jitter_key, h.shape, dtype, 0.8, 1.2)
    x, v_new, work, over, frequency = _trajectory(
        dynamics, box, tables, tether, move_key, state.x, v, h, state.frequency
    )
    sane = (jnp.abs(work) < WILD) & jnp.all(jnp.isfinite(x), (0, 1)) & ~over
    chance = jnp.where(sane, jnp.minimum(1.0, jnp.exp(-jnp.where(sane, work, 0.0))), 0.0)
    if dynamics.kind == "hmc":
        taken = jax.random.uniform(accept_key, chance.shape, dtype) < chance
        v_back = -v
    else:
        taken, v_back = sane, fresh
    # Eager at first: of a target of 0.9 a step that is far too short falls short by 0.1 only.
    gain = jnp.maximum(0.5 / jnp.sqrt(1.0 + state.age), EAGER / (1.0 + state.age))
    change = gain * (chance - dynamics.target)
    log_step = state.log_step + jnp.clip(change, -math.log(2.0), math.log(2.0))
    wild = ~sane
    log_step = jnp.where(wild, state.log_step - math.log(2.0), log_step)
    limits = math.log(SMALLEST * dynamics.first), math.log(dynamics.longest)
    log_step = jnp.clip(log_step, *limits).astype(dtype)
    new = ParticleState(
        jnp.where(taken, x, state.x),
        jnp.where(taken, v_new, v_back),
        log_step,
        state.age + 1.0,
        state.failures + wild,
        state.frequency + (frequency - state.frequency) / (1.0 + state.age),
    )
    return new, ChainInfo(jnp.mean(chance), jnp.mean(wild.astype(dtype)))
