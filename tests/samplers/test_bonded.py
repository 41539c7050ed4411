"""Molecules that move: tabulated forces, and distributions against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from bayescg.potentials import (
    Harmonic,
    Interaction,
    LinearPair,
    MolecularPotential,
    Waves,
    classes_of,
)
from bayescg.potentials.bonded import coordinate
from bayescg.samplers import Dynamics, lists, particle_sampler
from bayescg.samplers.forces import Lists, energy, forces, tabulate
from bayescg.samplers.lists import listed
from bayescg.topology import Bonded, Topology
from tests.molecules import BETA, BOX, chains, places, potential

TOPOLOGY = chains(5)
POTENTIAL = potential(TOPOLOGY)
TABLES = jax.jit(lambda p: tabulate(p, jnp.asarray(BETA), jnp.float64))(POTENTIAL)


@jax.jit
def both(x: jax.Array, near: Lists) -> tuple[jax.Array, jax.Array]:
    return forces(TABLES, x, near), energy(TABLES, x, near)


@pytest.mark.slow
def test_forces_are_slopes_of_the_energy() -> None:
    x = jnp.asarray(places(TOPOLOGY, 6)).T
    near = listed(TABLES, x, BOX).lists
    slope = jax.jit(jax.grad(lambda y: jnp.sum(energy(TABLES, y, near))))(x)
    np.testing.assert_allclose(both(x, near)[0], -slope, atol=1e-8)


def test_energy_is_that_of_the_potential() -> None:
    x = places(TOPOLOGY, 6)
    turned = jnp.asarray(x).T
    found = np.asarray(both(turned, listed(TABLES, turned, BOX).lists)[1])
    one = jax.jit(lambda x: POTENTIAL(x))
    expected = BETA * np.array([float(one(jnp.asarray(frame))) for frame in x])
    # Potentials that do not end at zero, and bonded ones, are shifted by a constant.
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=2e-2)


def test_lists_of_many_sites_leave_out_excluded_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    x = jnp.asarray(places(TOPOLOGY, 6)).T
    every, total = both(x, listed(TABLES, x, BOX).lists)
    monkeypatch.setattr(lists, "MANY", 0)
    near = listed(TABLES, x, BOX)
    assert near.lists.pairs is not None and not near.over.any()
    found = both(x, near.lists)
    np.testing.assert_allclose(found[0], every, atol=1e-9)
    np.testing.assert_allclose(found[1], total, atol=1e-9)


def test_one_potential_compiles_once() -> None:
    """What is static of a molecule lives as long as its topology."""
    traced = []

    @jax.jit
    def run(p: MolecularPotential) -> jax.Array:
        traced.append(0)
        return energy(
            tabulate(p, jnp.asarray(BETA), jnp.float64), jnp.asarray(places(TOPOLOGY, 2)).T
        )

    for scale in (1.0, 1.1):
        run(jax.tree.map(lambda v, s=scale: s * jnp.asarray(v, float), POTENTIAL))
    assert len(traced) == 1


K_BOND, K_ANGLE = 60.0, 12.0


@pytest.mark.parametrize("kind", ["langevin", "hmc"])
@pytest.mark.slow
def test_isolated_molecules_against_quadrature(kind: str) -> None:
    """Means of r, theta and cos(phi), with the Jacobians r^2 and sin(theta).

    Six z-scores against quadrature; all must be within 4.5 standard errors from 40 blocks of
    chains: a false failure in 2e-4 of keys.
    """
    one = Topology(
        ("A", "B", "C", "D"),
        np.ones(4),
        np.zeros(4, int),
        Bonded(np.array([[0, 1], [1, 2], [2, 3]]), ("s",) * 3),
        Bonded(np.array([[0, 1, 2], [1, 2, 3]]), ("t",) * 2),
        Bonded(np.array([[0, 1, 2, 3]]), ("u",)),
    )
    bonded = (
        Interaction((LinearPair(jnp.array([0.5 * K_BOND, 0.0]), Harmonic(1.5)),), "bond", "s"),
        Interaction((LinearPair(jnp.array([0.5 * K_ANGLE, 0.0]), Harmonic(1.9)),), "angle", "t"),
        Interaction((LinearPair(jnp.array([0.8, 0.0]), Waves(1)),), "dihedral", "u"),
    )
    p = MolecularPotential(bonded, classes_of(one, []), (30.0,) * 3)
    start = np.array([[0.0, 0, 0], [1.4, 0.5, 0], [2.6, -0.4, 0.6], [3.9, 0.5, 0.1]])[None]
    dynamics = Dynamics(kind, steps=10, target=0.97, precision="double")  # type: ignore[arg-type]
    sampler = particle_sampler(4, p.box, dynamics, start)
    ready = sampler.prepare(p, jnp.asarray(BETA))

    @jax.jit
    def run(key: jax.Array) -> jax.Array:
        def move(state, key):  # type: ignore[no-untyped-def]
            state, _ = sampler.step(key, state, *ready)
            q = [coordinate(i.kind, state.x, p.members(i).sites, p.box) for i in bonded]
            means = [q[0].mean(0), (q[0] ** 2).mean(0), q[1].mean(0), (q[1] ** 2).mean(0)]
            return state, jnp.stack([*means, jnp.cos(q[2][0]), jnp.cos(2.0 * q[2][0])])

        state = sampler.init(key, 160)
        _, out = jax.lax.scan(move, state, jax.random.split(jax.random.fold_in(key, 1), 700))
        return out[200:]

    found = np.asarray(run(jax.random.key(3))).mean(0)  # (observable, chain)
    blocks = found.reshape(6, 40, 4).mean(2)

    def mean(f, u, weight, low, high):  # type: ignore[no-untyped-def]
        top = quad(lambda q: f(q) * weight(q) * np.exp(-BETA * u(q)), low, high)[0]
        return top / quad(lambda q: weight(q) * np.exp(-BETA * u(q)), low, high)[0]

    def bond(f):  # type: ignore[no-untyped-def]
        return mean(f, lambda r: 0.5 * K_BOND * (r - 1.5) ** 2, lambda r: r * r, 0.1, 3.5)

    def angle(f):  # type: ignore[no-untyped-def]
        return mean(f, lambda t: 0.5 * K_ANGLE * (t - 1.9) ** 2, np.sin, 0.0, np.pi)

    def turn(f):  # type: ignore[no-untyped-def]
        return mean(f, lambda q: 0.8 * np.cos(q), np.ones_like, -np.pi, np.pi)

    exact = [
        bond(lambda r: r),
        bond(lambda r: r * r),
        angle(lambda t: t),
        angle(lambda t: t * t),
        turn(np.cos),
        turn(lambda q: np.cos(2 * q)),
    ]
    z = (blocks.mean(1) - exact) / (blocks.std(1, ddof=1) / np.sqrt(40))
    assert np.abs(z).max() < 4.5, z
