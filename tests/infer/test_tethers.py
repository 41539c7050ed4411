"""Latent sites in space: the pull of data, the width's score, and the first estimate of a potential."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg.distributions import Boltzmann, PeriodicNormal, flat, flat_positive
from bayescg.infer.estimates import (
    Estimates,
    Reader,
    estimate,
    likelihood_coordinates,
    start_chains,
)
from bayescg.infer.laplace import laplace
from bayescg.infer.marginal import check_factorises
from bayescg.infer.mcem import run_mcem
from bayescg.infer.moves import followed, is_curved, straight
from bayescg.infer.prior import prior_terms
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.infer.schedules import Newton
from bayescg.infer.score_matching import score_matching
from bayescg.infer.words import failures_in_words
from bayescg.potentials import BSplines, InversePowers, LennardJones, LinearPair, ParticlePotential
from bayescg.samplers import Dynamics, Sampler, particle_sampler
from bayescg.system import Batch
from bayescg.units import beta_of

BOX = (9.0, 9.0, 9.0)
SITES = 8
BETA = beta_of(300.0)
KNOTS = BSplines(np.linspace(2.5, 4.4, 5))
POWERS = InversePowers(cutoff=4.4)
SIGMA2 = 0.01


def potential(theta: jax.Array, epsilon: jax.Array | float = 0.3) -> ParticlePotential:
    lj = LennardJones(epsilon, 3.0, POWERS)
    return ParticlePotential((lj, LinearPair(theta, KNOTS)), BOX)


def program(x: jax.Array | None = None, *, frames: int = 1, heavy: bool = False) -> None:
    theta = flat("theta_c", len(KNOTS.names))
    epsilon, sigma2 = flat_positive("epsilon"), flat_positive("sigma2")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            potential(theta, epsilon),
            BETA,
            log_partition=None,
            event_shape=(SITES, 3),
            support=dist.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        if heavy:
            numpyro.sample("x", dist.StudentT(3.0, X, jnp.sqrt(sigma2)).to_event(2), obs=x)
        else:
            numpyro.sample("x", PeriodicNormal(X, sigma2, box=BOX), obs=x)


def sampler(kind: str, steps: int) -> Sampler:
    return particle_sampler(
        SITES,
        BOX,
        Dynamics(kind, steps=steps, precision="double"),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Independent-looking frames of the model at theta = 0, ``(frame, site, axis)``."""
    s = sampler("hmc", 10)
    state = s.init(jax.random.key(0), 60)
    p = potential(jnp.zeros(len(KNOTS.names)))

    @jax.jit
    def run(key: jax.Array, state: object) -> object:
        ready = s.prepare(p, jnp.asarray(BETA))
        move = lambda state, k: (s.step(k, state, *ready)[0], None)  # noqa: E731
        return jax.lax.scan(move, state, jax.random.split(key, 300))[0]

    return np.asarray(run(jax.random.key(1), state).x).T  # type: ignore[attr-defined]


def read(x: np.ndarray) -> tuple[Program, jax.Array]:
    p = read_program(program, jnp.asarray(x), {})
    values = p.constrain(jnp.zeros(p.size))
    u = p.unconstrain(values | {"epsilon": jnp.asarray(0.3), "sigma2": jnp.asarray(SIGMA2)})
    return p, u


def test_a_normal_likelihood_is_a_tether_at_the_data(frames: np.ndarray) -> None:
    p, u = read(frames[:3])
    pull = p.pull(u, jnp.asarray(frames[:3]), {})
    np.testing.assert_allclose(pull.centre, frames[:3], atol=1e-9)
    np.testing.assert_allclose(pull.stiffness, 1.0 / SIGMA2, rtol=1e-9)
    check_factorises(p, jnp.asarray(frames[:3]), {})


def test_another_likelihood_of_sites_is_refused(frames: np.ndarray) -> None:
    x = jnp.asarray(frames[:2])
    p = read_program(partial(program, heavy=True), x, {})
    with pytest.raises(ProgramError, match="not a normal of the latent sites"):
        check_factorises(p, x, {})


@pytest.mark.slow
def test_the_width_s_score_by_stein_s_identity(frames: np.ndarray) -> None:
    """The same mean as the plain one, and far less noise; the same information, and far less noise.

    Estimates from the same chains: their difference is held against the larger error, that of the plain
    one, or for the information against that of twelve repeats. False failures: 1e-3.
    """
    x = frames[:6]
    p, u = read(x)
    free, latent = sampler("langevin", 10), sampler("hmc", 10)
    fine = likelihood_coordinates(p, jnp.asarray(x), {})
    at = p.coordinates("sigma2")[0]
    seen = []
    for one in (latent, latent._replace(force=None)):
        reader = Reader(p, free, one, fine)
        chains = start_chains(reader, jax.random.key(3), jnp.asarray(x), 8, 16)
        run = jax.jit(lambda key, c, r=reader: estimate(r, key, u, c, jnp.asarray(x), {}, 60))
        _, chains = run(jax.random.key(4), chains)
        several = []
        for repeat in range(12):
            found, chains = run(jax.random.key(5 + repeat), chains)
            several.append(found)
        seen.append(jax.tree.map(lambda *a: np.stack(a), *several))
    calm, plain = seen
    noise = [np.sqrt(e.noise[0, at, at]) for e in seen]
    assert noise[0] < 0.6 * noise[1]
    assert abs(calm.score[0, at] - plain.score[0, at]) < 4.0 * noise[1]
    # Of the information of the width, 72 if the latents were seen, less than one is left; the other
    # entries of its column are where theta_c and it depend on each other.
    (quiet, loud), (mean, other) = (
        [f([e.observed[r, :, at] for r in range(12)]) for e in seen]
        for f in (lambda a: np.std(a, axis=0, ddof=1), lambda a: np.mean(a, axis=0))
    )
    assert np.all(quiet < 0.6 * loud)
    assert quiet[at] < 0.1 * loud[at]
    np.testing.assert_array_less(np.abs(mean - other), 5.0 * np.hypot(quiet, loud) / np.sqrt(12))


def test_score_matching_finds_the_potential_that_made_the_frames(frames: np.ndarray) -> None:
    """Of epsilon 0.3 and no correction: found within four standard errors of an independent kind."""
    p = potential(jnp.zeros(len(KNOTS.names)))
    precision = np.concatenate([[1e-14, 1e-14], np.full(len(KNOTS.names), np.inf)])
    parts = [score_matching(p, BETA, part, precision)[:2] for part in np.array_split(frames, 6)]
    whole = score_matching(p, BETA, frames, precision)
    error = np.std(parts, axis=0, ddof=1) / np.sqrt(len(parts))
    truth = -np.asarray(p.natural())[:2]
    assert np.all(np.abs(whole[:2] - truth) < 5.0 * error + 0.02 * np.abs(truth))
    np.testing.assert_array_equal(whole[2:], 0.0)


def test_latents_follow_the_width(frames: np.ndarray) -> None:
    """A quarter of sigma2 halves every X - x; other parameters leave the latents where they are."""
    x = jnp.asarray(frames[:3])
    p, u = read(frames[:3])
    latent = sampler("hmc", 10)
    reader = Reader(p, latent, latent, likelihood_coordinates(p, x, {}))
    state = start_chains(reader, jax.random.key(0), x, 3, 2).clamped
    d = 0.1 * jax.random.normal(jax.random.key(1), state.x.shape)
    centre = jnp.repeat(x, 2, axis=0).T
    state = state._replace(x=centre + d)
    narrow = u.at[p.coordinates("sigma2")].add(-np.log(4.0))
    moved = followed(reader, state, u, narrow, x, {})
    np.testing.assert_allclose(moved.x - centre, 0.5 * d, atol=1e-9)
    np.testing.assert_array_equal(moved.v, state.v)
    deeper = u.at[p.coordinates("epsilon")].add(0.5)
    np.testing.assert_allclose(followed(reader, state, u, deeper, x, {}).x, state.x, atol=1e-9)


def test_a_step_is_straight_in_natural_parameters(frames: np.ndarray) -> None:
    """4 eps sigma^6 and the corrections change as a step in the logarithm of eps begins to change
    them; where a coefficient would change its sign, half of the step is taken."""
    x = jnp.asarray(frames[:2])
    p, u = read(frames[:2])

    def natural(u: jax.Array) -> jax.Array:
        return p.boltzmann(u, x, {}).potential.natural()

    assert is_curved(p, x, {})
    size = p.size
    step = 0.1 * jax.random.normal(jax.random.key(2), (size,))
    step = step.at[p.coordinates("epsilon")].set(-0.4)
    there, part = straight(natural, u, step)
    assert part == 1.0
    eta, change = jax.jvp(natural, (u,), (step,))
    np.testing.assert_allclose(natural(there), eta + change, rtol=1e-9)
    at = p.coordinates("epsilon")[0]
    assert there[at] - u[at] == pytest.approx(np.log(1.0 - 0.4), rel=1e-9)
    width = p.coordinates("sigma2")[0]
    assert there[width] == pytest.approx(float(u[width] + step[width]), abs=1e-12)
    there, part = straight(natural, u, step.at[at].set(-1.5))
    assert part == 0.5
    assert there[at] - u[at] == pytest.approx(np.log(1.0 - 0.75), rel=1e-6)


@pytest.mark.by_hand
def test_noise_of_the_score_does_not_bend_the_posterior(frames: np.ndarray) -> None:
    """What the data have of the statistics beyond the model, r, is known at a mode from the prior.

    Estimates of any r, score and complete information alike, lead to one precision; for epsilon, in
    which natural parameters are linear, its bend is the score of log epsilon, minus the prior's gradient.
    """
    p, u = read(frames[:3])
    x = jnp.asarray(frames[:3])

    def natural(v: jax.Array) -> jax.Array:
        return BETA * p.boltzmann(v, x, {}).potential.natural()

    def made(r: jax.Array) -> Estimates:
        bend = jax.hessian(lambda v: natural(v) @ r)(u)
        zero, some = jnp.zeros(p.size), jnp.zeros(())
        return Estimates(
            score=jax.jacfwd(natural)(u).T @ r,
            complete=fisher - bend,
            fisher=fisher,
            missing=0.1 * fisher,
            spread=jnp.zeros((p.size, 4)),
            features=zero,
            latent_change=some,
            latent_gap=some,
            of_likelihood=zero.at[p.coordinates("sigma2")].set(1.0),
            failed=some,
        )

    fisher = jnp.diag(jnp.linspace(5.0, 40.0, p.size))
    gradient, held, _ = prior_terms(p, u, x, {})
    found = []
    for seed in range(2):
        r = jax.random.normal(jax.random.key(seed), natural(u).shape)
        stacked = jax.tree.map(lambda a: jnp.asarray(a)[None], made(r))
        found.append(laplace(p, stacked, np.asarray(u)[None], x[None], {}, "complete").precision[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8, atol=1e-8)
    at = p.coordinates("epsilon")[0]
    expected = fisher + held + jnp.zeros_like(fisher).at[at, at].set(gradient[at])
    np.testing.assert_allclose(found[0], expected, rtol=1e-8, atol=1e-8)


def test_information_lost_in_noise_is_bounded_not_given_up(frames: np.ndarray) -> None:
    """More missing than there is: at most 95 % of the complete is believed, and it is said."""
    p, u = read(frames[:3])
    size = p.size
    complete = np.diag(np.linspace(50.0, 400.0, size))
    missing = 0.3 * complete
    at = p.coordinates("sigma2")[0]
    missing[at, at] = 1.02 * complete[at, at]
    zero = jnp.zeros(size)
    e = Estimates(
        zero,
        complete,
        complete,
        missing,
        jnp.zeros((size, 4)),
        zero,
        zero[0],
        zero[0],
        zero,
        zero[0],
    )
    stacked = jax.tree.map(lambda a: jnp.asarray(a)[None], e)
    normal = laplace(p, stacked, np.asarray(u)[None], frames[None, :3], {}, "observed")
    assert normal.bounded.all() and normal.definite.all()
    assert normal.precision[0, at, at] == pytest.approx(0.05 * complete[at, at], rel=0.1)
    other = np.delete(np.arange(size), at)
    np.testing.assert_allclose(
        np.diag(normal.precision[0])[other], 0.7 * np.diag(complete)[other], rtol=0.1
    )
    assert np.isfinite(normal.draw(jax.random.key(0), 3)).all()


@pytest.mark.by_hand
def test_a_chain_that_cannot_be_measured_is_left_out(frames: np.ndarray) -> None:
    """A position that is no number: no sums, no move; the estimate is that of the other chains, and it is told.

    Against another run of 16 good chains, by both their errors; false failures: 1e-3.
    """
    x = jnp.asarray(frames[:3])
    p, u = read(frames[:3])
    reader = Reader(
        p, sampler("langevin", 10), sampler("hmc", 10), likelihood_coordinates(p, x, {})
    )
    chains = start_chains(reader, jax.random.key(3), x, 16, 4)
    bad = chains.free._replace(x=chains.free.x.at[0, 1, 5].set(jnp.nan))
    run = jax.jit(lambda key, c: estimate(reader, key, u, c, x, {}, 40))
    whole, _ = run(jax.random.key(4), chains)
    part, after = run(jax.random.key(5), chains._replace(free=bad))
    assert whole.failed == 0.0
    assert part.failed == 80.0  # of each of 40 sweeps the move and the sample
    np.testing.assert_array_equal(after.free.x[..., 5], bad.x[..., 5])
    error = np.sqrt(np.diag(whole.noise) + np.diag(part.noise))
    np.testing.assert_array_less(np.abs(part.score - whole.score), 4.5 * error)


@pytest.mark.by_hand
def test_a_fit_in_which_chains_blow_up_goes_on_and_says_at_which_parameters(
    frames: np.ndarray,
) -> None:
    """A first time step of an angstrom: every trajectory fails until it is short enough."""
    wild = particle_sampler(
        SITES, BOX, Dynamics("hmc", steps=5, first=1.0, longest=1.0, precision="double")
    )
    batch = Batch(frames[None, :3], {}, None, None)
    schedule = Newton(free_chains=8, clamped_chains=4, cooling=0.0)
    _, u = read(frames[:3])
    calm, told = (
        run_mcem(
            program,
            s,
            batch,
            jax.random.key(0),
            schedule=schedule,
            max_iterations=2,
            start=np.asarray(u)[None],
        )
        for s in (sampler("hmc", 5), wild)
    )
    assert failures_in_words(calm, batch) == []
    assert np.isfinite(told.u).all() and list(told.ended) == ["iterations"]
    (said,) = failures_in_words(told, batch)
    assert f"{told.trace['failed'].sum():.0f} moves of chains blew up" in said
    assert "in iteration 1, at" in said and "epsilon = 0.3" in said and "sigma2 = 0.01" in said
