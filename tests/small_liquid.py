"""A small liquid of molecules A-B-A with known potentials: frames with forces, drawn by the package's own sampler."""

from functools import cache

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.potentials import (
    Harmonic,
    Interaction,
    InversePowers,
    LennardJones,
    LinearPair,
    MolecularPotential,
    classes_of,
)
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.topology import variables_of
from bayescg.units import beta_of
from tests.typed_fits import bent

MOLECULES = 18
BOX = (15.0,) * 3
CUTOFF = 7.0
CHAINS, SAMPLES = 32, 12
MELTED, APART = 8, 20  # samples left out; trajectories from one to the next
FRAMES = CHAINS * SAMPLES
TOPOLOGY = bent(MOLECULES)


@cache
def truth() -> MolecularPotential:
    """The potentials that all methods look for."""
    lennard_jones = {"A_A": (0.25, 3.4), "A_B": (0.2, 3.5), "B_B": (0.15, 3.7)}
    pairs = [
        Interaction((LennardJones(e, s, InversePowers(cutoff=CUTOFF)),), "pair", name)
        for name, (e, s) in lennard_jones.items()
    ]
    bonded = [
        Interaction((LinearPair(jnp.array([0.5 * k, 0.0]), Harmonic(q0)),), kind, name)
        for k, q0, kind, name in ((40.0, 2.5, "bond", "AB"), (8.0, 2.0, "angle", "ABA"))
    ]
    classes = classes_of(TOPOLOGY, TOPOLOGY.pairs)
    return MolecularPotential((*pairs, *bonded), classes, BOX)


def lattice() -> np.ndarray:
    """Molecules side by side in two layers, ``(site, axis)``."""
    spots = np.stack(np.meshgrid(np.arange(3), np.arange(3), np.arange(2)), -1).reshape(-1, 3)
    at = spots * np.array([5.0, 5.0, 7.5]) + 2.5 * (spots[:, 2:] * np.array([1.0, 1.0, 0.0]))
    bow = np.array([[0.0, 0.0, -2.1], [1.35, 0.0, 0.0], [0.0, 0.0, 2.1]])
    return (at[:, None] + bow).reshape(-1, 3)


@cache
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Positions and forces ``(frame, site, axis)``; frames that follow each other are independent."""
    p, sites = truth(), TOPOLOGY.sites
    sampler = particle_sampler(sites, BOX, Dynamics("langevin"), lattice()[None])
    ready = sampler.prepare(p, jnp.asarray(beta_of(300.0)))

    @jax.jit
    def run(key: Array) -> Array:
        def move(state, key):  # type: ignore[no-untyped-def]
            return sampler.step(key, state, *ready)[0], None

        def sample(state, key):  # type: ignore[no-untyped-def]
            state, _ = jax.lax.scan(move, state, jax.random.split(key, APART))
            return state, state.x

        keys = jax.random.split(key, SAMPLES + MELTED)
        _, x = jax.lax.scan(sample, sampler.init(key, CHAINS), keys)
        return x[MELTED:].astype(float)  # (sample, axis, site, chain)

    x = np.asarray(run(jax.random.key(0))).transpose(0, 3, 2, 1).reshape(-1, sites, 3)
    x = x % np.array(BOX)
    forces = jax.jit(lambda x: jax.lax.map(lambda one: -jax.grad(lambda y: p(y))(one), x))
    return x, np.asarray(forces(jnp.asarray(x)))


def frames(which: slice) -> xr.Dataset:
    """Some of the frames, as a data file holds them."""
    dims = ("frame", "site", "axis")
    x, forces = (v[which] for v in drawn())
    data = {"x": (dims, x), "forces": (dims, forces), "box": (("axis",), np.array(BOX))}
    return xr.Dataset(data | variables_of(TOPOLOGY), attrs={"temperature": 300.0})
