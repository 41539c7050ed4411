"""Virtual sites among sites that data hold: who stays, who moves, and where to."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials.bonded import coordinate
from bayescg.samplers import Dynamics, Held, particle_sampler
from bayescg.samplers.forces import Lists, energy, forces, tabulate
from tests.statistical import check_z
from tests.triangles import TARGET, over_y, potential, triangle

ONE = triangle()
BOX = (30.0,) * 3
APART = (1.2, 2.5, 4.0)  # angstrom, of the two X
EACH = 64  # chains of each
CHAINS = len(APART) * EACH
ENDS = np.array([0, 2])
STEPS = 450
#: HMC as the shipped model has it.
PRECISION = {"langevin": "double", "hmc": "single"}
every_kind = pytest.mark.parametrize("kind", list(PRECISION))


def held(free: tuple[int, ...] = (0, 1, 0)) -> Held:
    """X-X through a wall of the box, and Y told to be where it never is."""
    at = np.full((3, 3, CHAINS), 1e3)
    at[:, 0] = np.array([29.6, 4.0, 0.3])[:, None]
    at[:, 2] = at[:, 0] + np.repeat(APART, EACH) * np.array([0.6, 0.0, -0.8])[:, None]
    at[:, ENDS] = np.mod(at[:, ENDS], 30.0)
    return Held(jnp.asarray(at), jnp.tile(jnp.array(free, float)[:, None], CHAINS))


def places() -> jax.Array:
    """Molecules elsewhere than the data, Y about an angstrom from where the first X will be."""
    noise = jax.random.normal(jax.random.key(0), (3, 3, CHAINS))
    return jnp.array([30.1, 4.5, 0.9])[:, None, None] + noise


@cache
def compiled(kind: str):  # type: ignore[no-untyped-def]
    precision = PRECISION[kind]
    dynamics = Dynamics(kind, steps=10, target=0.97, first=0.05, precision=precision)  # type: ignore[arg-type]
    s = particle_sampler(3, BOX, dynamics)

    @jax.jit
    def run(field: Held | None) -> tuple[jax.Array, ...]:
        ready = s.prepare(potential(ONE, TARGET), jnp.asarray(ONE.beta))

        def move(state, key):  # type: ignore[no-untyped-def]
            state, info = s.step(key, state, *ready, field)
            return state, (state.x, state.v, info.failed)

        start = s.at(jax.random.key(1), places())
        return jax.lax.scan(move, start, jax.random.split(jax.random.key(2), STEPS))[1]

    return run


@cache
def history(kind: str, free: tuple[int, ...] | None = (0, 1, 0)) -> tuple[np.ndarray, ...]:
    """Places and velocities after each trajectory, ``(step, axis, site, chain)``, and what failed."""
    field = None if free is None else held(free)
    return tuple(np.asarray(a) for a in compiled(kind)(field))


@every_kind
@pytest.mark.slow
def test_virtual_sites_have_the_conditional_distribution(kind: str) -> None:
    """Means of the distances of Y from both X, their squares and their product, given X-X.

    Against quadrature, with standard errors from 64 chains: false failures as in ``check_z``.
    """
    x, _, failed = history(kind)
    assert failed.sum() == 0.0
    late = np.moveaxis(x[100:], 0, -1)  # (axis, site, chain, step)
    a, b = np.asarray(coordinate("bond", late, np.array([[0, 1], [1, 2]]), BOX))
    measured = (
        lambda a, b: a,
        lambda a, b: b,
        lambda a, b: a * a,
        lambda a, b: b * b,
        lambda a, b: a * b,
    )
    seen = np.stack([f(a, b).mean(-1).reshape(len(APART), EACH) for f in measured])
    stiffer = ONE.factor * ONE.beta
    exact = [
        [over_y(r, TARGET, stiffer, f) / over_y(r, TARGET, stiffer) for r in APART]
        for f in measured
    ]
    check_z(seen.mean(2), exact, seen.std(2, ddof=1) / np.sqrt(EACH), EACH - 1)


@every_kind
def test_held_sites_are_where_the_data_put_them(kind: str) -> None:
    """To the last bit from the first step on, wherever a chain begins, while Y moves in every one."""
    x, v, _ = history(kind)
    expected = np.asarray(held().at)[:, ENDS].astype(x.dtype)
    np.testing.assert_array_equal(x[:, :, ENDS], np.broadcast_to(expected, x[:, :, ENDS].shape))
    np.testing.assert_array_equal(v[:, :, ENDS], 0.0)
    moved = np.any(x[1:, :, 1] != x[:-1, :, 1], axis=1)  # (step, chain)
    assert np.all(moved.mean(0) > 0.9)


@jax.jit
def felt(x: jax.Array, field: Held) -> tuple[jax.Array, ...]:
    tables = tabulate(potential(ONE, TARGET), jnp.asarray(ONE.beta), jnp.float64)
    none = Lists()
    return (
        forces(tables, x, none),
        forces(tables, x, none, field),
        energy(tables, x, none),
        energy(tables, x, none, field),
    )


def test_held_sites_feel_no_force() -> None:
    """The others feel that of the whole molecule, whose energy stays what it is."""
    whole, part, total, same = (np.asarray(a) for a in felt(places(), held()))
    np.testing.assert_array_equal(part[:, ENDS], 0.0)
    np.testing.assert_array_equal(part[:, 1], whole[:, 1])
    assert np.abs(whole[:, ENDS]).min() > 0.0
    np.testing.assert_array_equal(total, same)


def test_data_that_hold_nothing_change_nothing() -> None:
    """The same trajectories, to rounding, with all sites free as without data."""
    free, without = (history("langevin", mask)[0][:5] for mask in ((1, 1, 1), None))
    assert np.abs(free[4] - free[0]).max() > 0.5
    np.testing.assert_allclose(free, without, rtol=1e-9, atol=1e-9)


@every_kind
def test_a_molecule_that_is_held_whole_stays(kind: str) -> None:
    x, _, failed = history(kind, (0, 0, 0))
    np.testing.assert_array_equal(x[-1], np.asarray(held().at, x.dtype))
    assert failed.sum() == 0.0
