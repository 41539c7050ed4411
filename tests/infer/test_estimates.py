"""Monte Carlo estimates of score and information against the exact marginal likelihood."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.estimates import (
    Estimates,
    Reader,
    estimate,
    likelihood_coordinates,
    start_chains,
)
from bayescg.infer.marginal import log_marginal
from bayescg.infer.program import Program, read_program
from bayescg.mapping import majority
from bayescg.samplers import lattice_gibbs
from models import ising
from tests import brute_force
from tests.statistical import check_mean, check_variance

FRAMES = 4
REPEATS = 40
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
    return Reader(program, system.sampler, likelihood_coordinates(program, X, MU))


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


def repeats(reader: Reader, sweeps: int, free: int, clamped: int) -> Estimates:
    """Estimates by independent runs, each from chains that have run in."""
    u = point(reader.program)

    def one(key: Array) -> Estimates:
        start, warm, run = jax.random.split(key, 3)
        chains = start_chains(reader, start, FRAMES, free, clamped)
        _, chains = estimate(reader, warm, u, chains, X, MU, jnp.asarray(60))
        return estimate(reader, run, u, chains, X, MU, jnp.asarray(sweeps))[0]

    run: Callable[[Array], Estimates] = jax.jit(jax.vmap(one))
    return jax.tree.map(np.asarray, run(jax.random.split(jax.random.key(3), REPEATS)))


@cache
def long_runs() -> Estimates:
    return repeats(reader(), 400, 16, 8)


def upper(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle, for symmetric matrices on the last two axes."""
    return matrix[..., *np.triu_indices(matrix.shape[-1])]


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


def test_score() -> None:
    check_mean(long_runs().score, exact().score)
    check_mean(long_runs().features, exact().features)


def test_complete_information() -> None:
    # A covariance about the sample's own mean is low by that mean's variance, which the noise
    # of the score holds: it is put back before comparing.
    check_mean(upper(long_runs().complete), upper(exact().complete - small_sample_bias("free")))


def test_missing_information() -> None:
    check_mean(upper(long_runs().missing), upper(exact().missing - small_sample_bias("clamped")))
    observed = exact().complete - exact().missing
    bias = small_sample_bias("free") - small_sample_bias("clamped")
    check_mean(upper(long_runs().observed), upper(observed - bias))


def small_sample_bias(chains: str) -> np.ndarray:
    """Variance of the chains' means, from the spread of the score over the repeats."""
    found = long_runs()
    program = reader().program
    at = program.coordinates("theta_c")
    free = np.zeros((program.size, program.size))
    free[np.ix_(at, at)] = np.cov(found.features[:, 1:].T)
    if chains == "free":
        return FRAMES * free
    return np.cov(found.score.T) - FRAMES**2 * free


def test_noise_is_honest() -> None:
    """The stated error of the score is the spread over independent runs, by coordinate and along
    random directions, for chains far shorter than a decorrelated sample would need."""
    found = repeats(reader(), 5, 8, 4)
    check_mean(found.score, exact().score)
    noise = found.noise.mean(0)
    check_variance(found.score, np.diag(noise))
    directions = np.random.default_rng(4).normal(size=(3, len(noise)))
    along = np.einsum("di,ij,dj->d", directions, noise, directions)
    check_variance(found.score @ directions.T, along)


def test_a_fixed_latent_misses_nothing() -> None:
    """REM: the score of the completed data is known but for <phi> of the model."""
    fixed = {"X": majority(X, 2)}
    r = reader(fixed)
    found = repeats(r, 50, 16, 1)
    assert np.all(np.abs(found.missing) < 1e-9)
    assert np.all(found.latent_change == 0.0)
    u = point(r.program)
    score = jax.jit(jax.grad(lambda u: jnp.sum(log_marginal(r.program, u, X, MU))))(u)
    at, rest = r.program.coordinates("theta_c"), r.program.coordinates("p0")
    check_mean(found.score[:, at], score[at])
    np.testing.assert_allclose(found.score[:, rest], np.broadcast_to(score[rest], (REPEATS, 1)))
    assert np.all(np.abs(found.noise[:, rest, rest]) < 1e-12)
    check_variance(found.score[:, at], np.diag(found.noise.mean(0))[at])


def test_chains_persist() -> None:
    """A second call goes on from where the first one ended; the sampler leaves data alone."""
    r = reader()
    u = point(r.program)
    chains = start_chains(r, jax.random.key(0), FRAMES, 16, 8)
    assert chains.free.x.shape == (8, 16) and chains.clamped.x.shape == (8, FRAMES * 8)
    out, moved = estimate(r, jax.random.key(1), u, chains, X, MU, jnp.asarray(1))
    assert jax.tree.map(jnp.shape, moved) == jax.tree.map(jnp.shape, chains)
    assert np.any(moved.free.x != chains.free.x) and np.any(moved.clamped.x != chains.clamped.x)
    changed = np.mean(moved.clamped.x != chains.clamped.x)
    np.testing.assert_allclose(out.latent_change, changed, rtol=1e-6)


def test_likelihood_coordinates() -> None:
    r = reader()
    np.testing.assert_array_equal(r.fine, r.program.coordinates("p0"))
    assert r.sampler is lattice_gibbs(ising.system(OPTIONS).program.keywords["lattice"].basis)


@pytest.mark.parametrize("field", ["complete", "missing", "noise"])
def test_matrices_are_symmetric_and_as_definite_as_they_must_be(field: str) -> None:
    matrices = getattr(long_runs(), field)
    np.testing.assert_allclose(matrices, np.swapaxes(matrices, 1, 2), rtol=1e-9, atol=1e-9)
    assert np.all(np.linalg.eigvalsh(matrices) > -1e-9)
