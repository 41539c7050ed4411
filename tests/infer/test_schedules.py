"""The rules for steps, against their equations worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.estimates import Estimates
from bayescg.infer.prior import expected_precisions, prior_terms
from bayescg.infer.program import Program, read_program
from bayescg.infer.robbins_monro import RobbinsMonro
from bayescg.infer.schedules import (
    Memory,
    Newton,
    averaged,
    start_memory,
    usable_information,
)
from models import ising

X = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (5, 16)))
MU = {"mu": jnp.asarray(0.4)}


def program(prior: str = "ard") -> Program:
    system = ising.system(ising.Options(n_f=16, ratio=2, L2=2, L3=1, prior=prior))
    return read_program(system.program, X, MU)


def estimates(size: int, seed: int = 0, error: float = 0.1) -> Estimates:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    complete = root @ root.T + size * np.eye(size)
    return Estimates(
        score=jnp.asarray(rng.normal(size=size)),
        complete=jnp.asarray(complete),
        fisher=jnp.asarray(complete),
        missing=jnp.asarray(0.3 * complete),
        spread=jnp.asarray(error * rng.normal(size=(size, 8))),
        features=jnp.zeros(3),
        latent_change=jnp.asarray(0.5),
        latent_gap=jnp.asarray(0.0),
        of_likelihood=jnp.zeros(size).at[-1].set(1.0),
        failed=jnp.asarray(0.0),
    )


def relative_entropy(e: Estimates) -> np.ndarray:
    """The metric of the trust region: of p_c's parameters the information, of each a little more."""
    coarse = 1.0 - np.asarray(e.of_likelihood)
    return np.outer(coarse, coarse) * np.asarray(e.complete) / len(X) + 0.25 * np.eye(len(coarse))


@pytest.mark.slow
def test_the_printed_schedule_is_eq_31_with_eq_33() -> None:
    p = program()
    u = jnp.asarray(np.random.default_rng(2).normal(size=p.size))
    e = estimates(p.size)
    rule = RobbinsMonro(form="literal", A=9.0, alpha=0.05, rho=0.6)
    memory = start_memory(u, e, 0.0)
    step = rule.update(p, u, memory, jnp.asarray(3), e, jnp.asarray(1), X, MU)
    tau = np.zeros(p.size)
    theta = np.asarray(u)[p.coordinates("theta_c")]
    tau[p.coordinates("theta_c")] = (1e-5 + 0.5) / (1e-5 + 0.5 * theta**2)  # Eq. 42
    expected = u + 0.05 / (9.0 + 3) ** 0.6 * (e.score - tau * u)
    np.testing.assert_allclose(step.u, expected, rtol=1e-12)
    assert not step.rejected


@pytest.mark.by_hand
def test_the_scaled_schedule_takes_ard_implicitly_and_starts_with_a_newton_step() -> None:
    """theta <- (theta + eta D G) / (1 + eta D tau); D is one over a block's largest eigenvalue."""
    p = program()
    u = jnp.asarray(np.random.default_rng(2).normal(size=p.size))
    e = estimates(p.size)
    step = RobbinsMonro(reach=1e6).update(
        p, u, start_memory(u, e, 0.0), jnp.asarray(0), e, jnp.asarray(1), X, MU
    )
    for site in p.shapes:
        at = p.coordinates(site)
        d = 1.0 / np.linalg.eigvalsh(np.asarray(e.complete)[np.ix_(at, at)])[-1]  # eta_0 = 1
        tau = np.asarray(expected_precisions(p, u))[at]
        expected = (u[at] + d * e.score[at]) / (1.0 + d * tau)
        np.testing.assert_allclose(step.u[at], expected, rtol=1e-9)


@pytest.mark.by_hand
def test_the_scaled_schedule_cuts_its_steps() -> None:
    p = program("normal")
    u = jnp.zeros(p.size)
    e = estimates(p.size)
    arguments = (p, u, start_memory(u, e, 0.0), jnp.asarray(0), e, jnp.asarray(1), X, MU)
    whole = RobbinsMonro(reach=1e6).update(*arguments).u
    short = RobbinsMonro(reach=0.01).update(*arguments).u
    metric = relative_entropy(e)
    np.testing.assert_allclose(short, 0.01 * whole / np.sqrt(whole @ metric @ whole), rtol=1e-9)


def test_alpha_scales_the_paper_s_steps() -> None:
    assert RobbinsMonro(form="literal").step_size(0) == pytest.approx(0.15 / 25.0**0.75)
    assert RobbinsMonro().step_size(0) == pytest.approx(1.0)
    half = RobbinsMonro(A=25.0, alpha=0.5 * 25.0**0.75)
    assert half.step_size(7) == pytest.approx(0.5 * RobbinsMonro().step_size(7))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rho": 0.5}, "rho"),
        ({"A": 0.0}, "A must"),
        ({"alpha": -1.0}, "alpha"),
        ({"m": 1}, "m must"),
    ],
)
def test_eq_33_s_constants_are_checked(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RobbinsMonro(**options)


def test_information_that_is_missing_is_believed_up_to_a_bound() -> None:
    """In units of the complete information: 0.3 stays, 0.99 and 1.2 become 0.95, -0.1 becomes 0."""
    root = np.linalg.cholesky(np.asarray(estimates(4).complete))
    fractions = np.array([0.3, 0.99, 1.2, -0.1])
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    missing = root @ (axes * fractions) @ axes.T @ root.T
    e = estimates(4)._replace(missing=jnp.asarray(missing))
    expected = root @ (axes * [0.7, 0.05, 0.05, 1.0]) @ axes.T @ root.T
    np.testing.assert_allclose(usable_information(e, 0.95, 1e-9), expected, atol=1e-9)


def test_averages_weigh_by_sweeps_and_forget_by_distance() -> None:
    old, new = estimates(4, 1), estimates(4, 2)
    h = usable_information(old, 0.95, 1e-2)
    blank = start_memory(jnp.zeros(4), old, 0.5)

    def mean(memory: Memory) -> tuple[Estimates, jax.Array, jax.Array]:
        """The average with a score that along the step is what was expected of it, and the worth."""
        d = memory.step
        across = new.score - d * (d @ new.score) / jnp.maximum(d @ d, 1e-30)
        score = old.score - h @ d + across
        said = averaged(memory, new._replace(score=score), jnp.asarray(10), 0.95, 2.0)
        return (*said, score)

    # At the start there is nothing to average with.
    first, worth, score = mean(blank)
    np.testing.assert_allclose(first.score, score)
    np.testing.assert_allclose(worth, 10.0)

    # Where nothing moved, by sweeps alone.
    memory = blank._replace(estimates=old, effort=jnp.full(4, 30.0))
    same, worth, score = mean(memory)
    np.testing.assert_allclose(same.score, 0.75 * old.score + 0.25 * score)
    np.testing.assert_allclose(worth, 40.0)

    # A small step carries the old score along by its information, and it counts for less.
    d = 1e-3 * jnp.ones(4)
    near, less, score = mean(memory._replace(step=d))
    share = 10.0 / less
    np.testing.assert_allclose(near.score, (1 - share) * (old.score - h @ d) + share * score)
    assert jnp.all((10 < less) & (less < worth))

    # A parameter of the likelihood that moves on forgets, and the rest remembers.
    _, apart, _ = mean(memory._replace(step=jnp.zeros(4).at[3].set(0.3)))
    assert apart[3] < 0.6 * jnp.min(apart[:3])
    np.testing.assert_allclose(apart[:3], apart[0])

    # Far away the past is worth nothing.
    far, least, _ = mean(memory._replace(step=jnp.full(4, 10.0)))
    np.testing.assert_allclose(least, 10.0, rtol=1e-3)
    np.testing.assert_allclose(far.complete, new.complete, rtol=1e-3)


def test_averages_forget_what_the_newest_score_contradicts() -> None:
    """After a step that should have left no slope: one that is still there is no error of sampling,
    and the average is dropped; one within its errors, or across the step, is none of its business."""
    old, new = estimates(4, 1), estimates(4, 2)
    h = usable_information(old, 0.95, 1e-2)
    d = 1e-2 * jnp.linalg.solve(h, old.score)
    memory = start_memory(jnp.zeros(4), old, 0.5)
    memory = memory._replace(estimates=old, effort=jnp.full(4, 30.0), step=d)
    along = d / jnp.sqrt(d @ h @ d)
    error = float(jnp.sqrt(along @ (old.noise + new.noise) @ along))
    across = jnp.zeros(4).at[:2].set(jnp.array([along[1], -along[0]]))

    def worth(slope: jax.Array) -> float:
        score = old.score - h @ d + slope
        return float(averaged(memory, new._replace(score=score), jnp.asarray(10), 0.95, 0.0)[1][0])

    unit = along / (along @ along)
    assert worth(0.0 * unit) == pytest.approx(40.0)
    assert worth(1.9 * error * unit) == pytest.approx(40.0)
    assert worth(20.0 * error * unit) < 11.0
    assert worth(20.0 * error * across) == pytest.approx(40.0)


@pytest.mark.slow
def test_the_likelihood_s_parameters_go_first_where_they_are_told_to() -> None:
    p = program("normal")
    e = estimates(p.size, error=1e-6)
    u = jnp.zeros(p.size)
    at = np.flatnonzero(e.of_likelihood)
    rule = Newton(radius=1e6, likelihood_first=3)
    moved = [
        np.flatnonzero(
            rule.update(p, u, start_memory(u, e, 1e6), jnp.asarray(t), e, jnp.asarray(1), X, MU).u
        )
        for t in (2, 3)
    ]
    np.testing.assert_array_equal(moved[0], at)
    assert len(moved[1]) == p.size


def test_newton_solves_a_quadratic_in_steps_bounded_by_its_trust_region() -> None:
    """Gaussian prior: the target is the maximum of the quadratic model, and the radius cuts the way."""
    p = program("normal")
    e = estimates(p.size, error=1e-6)
    u = jnp.zeros(p.size)
    rule = Newton(radius=1e6)
    step = rule.update(p, u, start_memory(u, e, 1.0), jnp.asarray(20), e, jnp.asarray(1), X, MU)
    gradient, held, _ = prior_terms(p, u, X, MU)
    h = np.asarray(usable_information(e, 0.95, 1e-2) + held)
    full = np.linalg.solve(h, np.asarray(e.score + gradient))
    metric = relative_entropy(e)
    length = np.sqrt(full @ metric @ full)
    np.testing.assert_allclose(step.u, full * min(1.0, 1.0 / length), rtol=1e-6)
    short = rule.update(p, u, start_memory(u, e, 0.01), jnp.asarray(20), e, jnp.asarray(1), X, MU)
    np.testing.assert_allclose(short.u, full * 0.01 / length, rtol=1e-6)
