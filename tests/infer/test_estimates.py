"""Monte Carlo estimates of score and information against the exact marginal likelihood."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.estimates import (
    Chains,
    Estimates,
    Reader,
    estimate,
    likelihood_coordinates,
    start_chains,
)
from bayescg.infer.marginal import log_marginal
from bayescg.infer.program import Program, read_program
from bayescg.mapping import majority
from models import ising
from tests import brute_force
from tests.statistical import check_mean, check_variance

FRAMES = 4
REPEATS = 100
X = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (FRAMES, 16), p=[0.3, 0.7]))
MU = {"mu": jnp.asarray(0.4)}
# Not the defaults: a short basis compiles faster, and beta = 1 makes the information large.
OPTIONS = ising.Options(n_f=16, L2=2, L3=1, beta=1.0, prior="normal")


class Exact(NamedTuple):
    score: np.ndarray
    complete: np.ndarray
    missing: np.ndarray
    features: np.ndarray


def reader(fixed: dict[str, Array] | None = None) -> Reader:
    system = ising.system(OPTIONS)
    program = read_program(system.program, X, MU, fixed)
    return Reader(program, system.sampler, system.sampler, likelihood_coordinates(program, X, MU))


def point(program: Program) -> Array:
    return 0.3 * jnp.asarray(np.random.default_rng(1).normal(size=program.size))


@cache
def exact() -> Exact:
    """By enumeration: averages over all states, weighed by p_c and by each q_i."""
    program = reader().program
    u = point(program)
    p = program.boltzmann(u, X, MU).potential
    states = brute_force.spins(8)
    phi = brute_force.statistics(p)[:, 1:]  # beta = 1, and mu is no parameter
    weights = brute_force.weights(-brute_force.energies(p))
    model = brute_force.covariance(phi, weights)

    def scores(state: Array) -> tuple[Array, Array, Array]:
        latent = jnp.broadcast_to(state, (FRAMES, 8))

        def one(v: Array) -> Array:
            return program.log_likelihood(v, latent, X, MU)

        return one(u), jax.jacfwd(one)(u), jax.hessian(one)(u)

    value, slope, bend = jax.jit(jax.lax.map, static_argnums=0)(scores, jnp.asarray(states, float))
    q = brute_force.weights(-brute_force.energies(p)[:, None] + np.asarray(value))  # (state, frame)
    at = program.coordinates("theta_c")
    complete = -np.einsum("sf,sfij->ij", q, np.asarray(bend))
    complete[np.ix_(at, at)] += FRAMES * model
    score, missing = np.zeros(program.size), np.zeros((program.size, program.size))
    for i in range(FRAMES):
        s = np.array(slope[:, i])
        s[:, at] += phi - weights @ phi
        score += q[:, i] @ s
        missing += brute_force.covariance(s, q[:, i])
    return Exact(score, complete, missing, weights @ brute_force.statistics(p))


class Runs(NamedTuple):
    """Independent runs, along the first axis of everything."""

    estimates: Estimates
    before: Chains
    after: Chains


@cache
def compiled(fixed: bool) -> Callable[[Array, Array], Runs]:
    """Runs with a traced number of sweeps, each from chains that have run in."""
    r = reader({"X": majority(X, 2)} if fixed else None)
    u = point(r.program)

    def one(key: Array, sweeps: Array) -> Runs:
        start, warm, run = jax.random.split(key, 3)
        chains = start_chains(r, start, X, free=16, clamped=8)

        def again(i: Array, carry: tuple[Estimates, Chains, Chains]) -> Any:
            # One body for running in and for the run: it is compiled once.
            chains = carry[2]
            length = jnp.where(i == 0, 60, sweeps)
            found, moved = estimate(r, jnp.where(i == 0, warm, run), u, chains, X, MU, length)
            return found, chains, moved

        blank = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype),
            jax.eval_shape(lambda: estimate(r, run, u, chains, X, MU, sweeps)[0]),
        )
        return Runs(*jax.lax.fori_loop(0, 2, again, (blank, chains, chains)))

    return jax.jit(jax.vmap(one, (0, None)))


def repeats(sweeps: int, *, fixed: bool = False) -> Runs:
    runs = compiled(fixed)(jax.random.split(jax.random.key(3), REPEATS), jnp.asarray(sweeps))
    return jax.tree.map(np.asarray, runs)


def upper(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle, for symmetric matrices on the last two axes."""
    return matrix[..., *np.triu_indices(matrix.shape[-1])]


@pytest.mark.slow
def test_the_oracle_agrees_with_autodiff() -> None:
    """The sums over states are derivatives of the exact marginal log-likelihood (Louis)."""
    program = reader().program
    u = point(program)

    def total(u: Array) -> Array:
        return jnp.sum(log_marginal(program, u, X, MU))

    found = jax.jit(lambda u: (jax.grad(total)(u), jax.hessian(total)(u)))(u)
    np.testing.assert_allclose(found[0], exact().score, rtol=1e-9, atol=1e-11)
    observed = exact().complete - exact().missing
    np.testing.assert_allclose(found[1], -observed, rtol=1e-8, atol=1e-10)


@pytest.mark.by_hand
def test_score_and_information() -> None:
    """Runs are so long that the small-sample bias of a covariance, relatively one over the number
    of samples, is far below its Monte Carlo error."""
    found = repeats(200).estimates
    check_mean(found.score, exact().score)
    check_mean(found.features, exact().features)
    check_mean(upper(found.complete), upper(exact().complete))
    check_mean(upper(found.missing), upper(exact().missing))
    check_mean(upper(found.observed), upper(exact().complete - exact().missing))
    for matrices in (found.complete, found.missing, found.noise):
        np.testing.assert_allclose(matrices, np.swapaxes(matrices, 1, 2), rtol=1e-9, atol=1e-9)
        assert np.all(np.linalg.eigvalsh(matrices) > -1e-9)


@pytest.mark.slow
def test_noise_is_honest_and_chains_persist() -> None:
    """The stated error of the score is the spread over independent runs, by coordinate and along
    random directions, for runs far shorter than a decorrelated sample would need."""
    runs = repeats(5)
    found = runs.estimates
    check_mean(found.score, exact().score)
    noise = found.noise.mean(0)
    check_variance(found.score, np.diag(noise))
    directions = np.random.default_rng(4).normal(size=(3, len(noise)))
    along = np.einsum("di,ij,dj->d", directions, noise, directions)
    check_variance(found.score @ directions.T, along)

    assert runs.before.free.x.shape == (REPEATS, 8, 16)
    assert runs.before.clamped.x.shape == (REPEATS, 8, FRAMES * 8)
    assert np.all(np.abs(runs.after.free.x) == 1.0) and np.any(
        runs.after.free.x != runs.before.free.x
    )
    runs = repeats(1)
    changed = np.mean(runs.after.clamped.x != runs.before.clamped.x, axis=(1, 2))
    assert np.all(changed > 0.0)
    np.testing.assert_allclose(runs.estimates.latent_change, changed, rtol=1e-6)


@pytest.mark.slow
def test_a_fixed_latent_misses_nothing() -> None:
    """REM: the score of the completed data is known but for <phi> of the model."""
    r = reader({"X": majority(X, 2)})
    found = repeats(50, fixed=True).estimates
    assert np.all(np.abs(found.missing) < 1e-9)
    assert np.all(found.latent_change == 0.0)
    u = point(r.program)
    score = jax.jit(jax.grad(lambda u: jnp.sum(log_marginal(r.program, u, X, MU))))(u)
    at, rest = r.program.coordinates("theta_c"), r.program.coordinates("p0")
    check_mean(found.score[:, at], score[at])
    np.testing.assert_allclose(found.score[:, rest], np.broadcast_to(score[rest], (REPEATS, 1)))
    assert np.all(np.abs(found.noise[:, rest, rest]) < 1e-12)
    check_variance(found.score[:, at], np.diag(found.noise.mean(0))[at])


def test_likelihood_coordinates() -> None:
    r = reader()
    np.testing.assert_array_equal(r.fine, r.program.coordinates("p0"))
