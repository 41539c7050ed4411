"""Coordinates in which natural parameters are linear."""

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.infer.begin import program_of
from bayescg.infer.program import read_program
from bayescg.infer.straightened import straightened
from models import ising
from tests import two_particles


def _noisy():  # type: ignore[no-untyped-def]
    system = two_particles.noisy_system()
    batch = system.batch(two_particles.noisy_frames(3, 0))
    return program_of(system, batch), jnp.asarray(batch.x[0])


def test_natural_parameters_of_lennard_jones_are_linear_in_them() -> None:
    program, x = _noisy()
    u = np.log([1.1, 3.1, 0.02])
    found = straightened(program, u, x, {})
    assert found.curved.tolist() == [0, 1]
    np.testing.assert_allclose(found.straight(jnp.asarray(u)), u, rtol=1e-12)

    def natural(w: jax.Array) -> jax.Array:
        return program.natural(found.bent(w)[0], x, {})

    start, end = u, u + np.array([0.2, -0.01, 0.7])
    ends = np.array([natural(jnp.asarray(v)) for v in (start, 0.5 * (start + end), end)])
    np.testing.assert_allclose(ends[1], 0.5 * (ends[0] + ends[2]), rtol=1e-9)
    # To first order w is u.
    np.testing.assert_allclose(jax.jacobian(lambda w: found.bent(w)[0])(u), np.eye(3), atol=1e-9)


def test_they_lead_back_and_know_their_volume() -> None:
    program, x = _noisy()
    found = straightened(program, np.log([1.1, 3.1, 0.02]), x, {})
    w = jnp.asarray(np.log([1.1, 3.1, 0.02]) + np.array([0.3, 0.01, -1.0]))
    u, volume = found.bent(w)
    np.testing.assert_allclose(found.straight(u), w, rtol=1e-10)
    slope = jax.jacobian(lambda v: found.bent(v)[0])(w)
    np.testing.assert_allclose(volume, np.linalg.slogdet(slope)[1], rtol=1e-9)


def test_where_no_parameters_lead_it_says_so() -> None:
    """Lennard-Jones whose repulsion would have to be negative."""
    program, x = _noisy()
    found = straightened(program, np.log([1.1, 3.1, 0.02]), x, {})
    away = jnp.asarray(np.log([1.1, 3.1, 0.02]) + np.array([-50.0, 0.0, 0.0]))
    assert np.isnan(np.asarray(found.bent(away)[1]))


def test_coefficients_stay_as_they_are() -> None:
    system = ising.system(ising.Options(n_f=16, ratio=4, prior="normal"))
    x = jnp.ones((2, 16))
    given = {"mu": jnp.asarray(0.0)}
    program = read_program(system.program, x, given)
    found = straightened(program, np.zeros(program.size), x, given)
    assert not found.curved.size
    u = jnp.arange(float(program.size))
    assert np.array_equal(found.straight(u), u) and float(found.bent(u)[1]) == 0.0
