"""Coordinates in which coefficients make up for what bent parameters do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.program import Program, read_program
from bayescg.infer.sheared import curved, sheared
from models import ising, spce_water

SITES = 8


def _water() -> tuple[Program, jax.Array]:
    """Lennard-Jones and twelve coefficients that correct it."""
    options = spce_water.Options(
        sites=SITES, box=15.0, features=12, core=2.4, prior="normal", positive="lognormal"
    )
    x = jax.random.uniform(jax.random.key(0), (3, SITES, 3)) * 15.0
    return read_program(spce_water.system(options).program, x, {}), x


def _normal_terms(program: Program, x: jax.Array, u: np.ndarray):  # type: ignore[no-untyped-def]
    """A covariance of statistics in which Lennard-Jones and coefficients do nearly the same."""
    terms = len(np.asarray(program.natural(jnp.asarray(u), x, {})))
    root = np.random.default_rng(1).normal(size=(terms, terms)) + 3.0
    return root @ root.T, 0.5 * np.eye(program.size)


def test_the_bent_ones_are_found() -> None:
    program, x = _water()
    bent, terms, _ = curved(lambda u: program.natural(u, x, {}), np.zeros(program.size))
    assert bent.tolist() == sorted([*program.coordinates("epsilon"), *program.coordinates("sigma")])
    assert len(terms) == 2


def test_they_lead_back_and_keep_volumes() -> None:
    program, x = _water()
    u = np.linspace(-0.3, 0.4, program.size)
    found = sheared(program, u, x, {}, *_normal_terms(program, x, u))
    w = jnp.asarray(u + 0.3 * np.random.default_rng(2).normal(size=u.shape))
    np.testing.assert_allclose(found.straight(found.back(w)), w, rtol=1e-10)
    np.testing.assert_allclose(found.back(jnp.asarray(u)), u, rtol=1e-12)
    slope = np.asarray(jax.jacobian(found.back)(w))
    assert abs(np.linalg.slogdet(slope)[1]) < 1e-9
    # What makes up for something is in the coefficients alone.
    others = np.setdiff1d(np.arange(program.size), found.others)
    np.testing.assert_array_equal(np.asarray(found.back(w))[others], np.asarray(w)[others])


@pytest.mark.slow
def test_what_is_left_of_coefficients_is_independent_of_the_bent_ones() -> None:
    """The curvature of a normal log likelihood has no mixed part in them, here and far away, and the coefficients' own
    is the same."""
    program, x = _water()
    u = np.linspace(-0.3, 0.4, program.size)
    covariance, precision = _normal_terms(program, x, u)
    found = sheared(program, u, x, {}, covariance, precision)
    middle = program.natural(jnp.asarray(u), x, {})

    def energy(w: jax.Array) -> jax.Array:
        v = found.back(w)
        e = program.natural(v, x, {}) - middle
        off = (v - u)[found.others]
        return 0.5 * e @ covariance @ e + 0.5 * off @ precision[found.others][:, found.others] @ off

    for step in (0.0, 0.5):
        w = jnp.asarray(u).at[found.bent].add(step)
        bend = np.asarray(jax.hessian(energy)(w))
        own = bend[np.ix_(found.others, found.others)]
        mixed = bend[np.ix_(found.others, found.bent)]
        assert np.abs(mixed).max() < 1e-9 * np.abs(own).max() * np.exp(12 * step)
        np.testing.assert_allclose(
            own,
            np.asarray(jax.hessian(energy)(jnp.asarray(u)))[np.ix_(found.others, found.others)],
            rtol=1e-9,
        )


def test_coefficients_stay_as_they_are() -> None:
    system = ising.system(ising.Options(n_f=16, ratio=4, prior="normal"))
    x = jnp.ones((2, 16))
    given = {"mu": jnp.asarray(0.0)}
    program = read_program(system.program, x, given)
    terms = len(np.asarray(program.natural(jnp.zeros(program.size), x, given)))
    found = sheared(program, np.zeros(program.size), x, given, np.eye(terms), np.eye(program.size))
    assert not found.bent.size
    u = jnp.arange(float(program.size))
    assert np.array_equal(found.straight(u), u) and np.array_equal(found.back(u), u)
