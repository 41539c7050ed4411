"""The rules for steps, against their equations worked out by hand."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.estimates import Estimates
from bayescg.infer.prior import expected_precisions, prior_terms
from bayescg.infer.program import Program, read_program
from bayescg.infer.robbins_monro import RobbinsMonro
from bayescg.infer.schedules import (
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
    )


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


def test_the_scaled_schedule_cuts_its_steps() -> None:
    p = program("normal")
    u = jnp.zeros(p.size)
    e = estimates(p.size)
    arguments = (p, u, start_memory(u, e, 0.0), jnp.asarray(0), e, jnp.asarray(1), X, MU)
    whole = RobbinsMonro(reach=1e6).update(*arguments).u
    short = RobbinsMonro(reach=0.01).update(*arguments).u
    metric = np.asarray(e.complete) / len(X) + 0.25 * np.eye(p.size)
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
    u = jnp.asarray(np.random.default_rng(3).normal(size=4))
    old, new = estimates(4, 1), estimates(4, 2)
    blank = start_memory(u, old, 0.5)
    mean = partial(averaged, new=new, sweeps=jnp.asarray(10), most_missing=0.95, drift=2.0)

    # At the start there is nothing to average with.
    first, worth = mean(u, blank)
    np.testing.assert_allclose(first.score, new.score)
    np.testing.assert_allclose(worth, 10.0)

    # Where nothing moved, by sweeps alone.
    memory = blank._replace(estimates=old, effort=jnp.full(4, 30.0))
    same, worth = mean(u, memory)
    np.testing.assert_allclose(same.score, 0.75 * old.score + 0.25 * new.score)
    np.testing.assert_allclose(worth, 40.0)

    # A small step carries the old score along by its information, and it counts for less.
    d = 1e-3 * jnp.ones(4)
    near, less = mean(u + d, memory)
    h = usable_information(old, 0.95, 1e-2)
    share = 10.0 / less
    np.testing.assert_allclose(near.score, (1 - share) * (old.score - h @ d) + share * new.score)
    assert jnp.all((10 < less) & (less < worth))

    # A parameter of the likelihood that moves on forgets, and the rest remembers.
    one = jnp.zeros(4).at[3].set(0.3)
    _, apart = mean(u + one, memory)
    assert apart[3] < 0.6 * jnp.min(apart[:3])
    np.testing.assert_allclose(apart[:3], apart[0])

    # Far away the past is worth nothing.
    far, least = mean(u + 10.0, memory)
    np.testing.assert_allclose(least, 10.0, rtol=1e-3)
    np.testing.assert_allclose(far.complete, new.complete, rtol=1e-3)


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
    metric = np.asarray(e.complete) / len(X) + 0.25 * np.eye(p.size)
    length = np.sqrt(full @ metric @ full)
    np.testing.assert_allclose(step.u, full * min(1.0, 1.0 / length), rtol=1e-6)
    short = rule.update(p, u, start_memory(u, e, 0.01), jnp.asarray(20), e, jnp.asarray(1), X, MU)
    np.testing.assert_allclose(short.u, full * 0.01 / length, rtol=1e-6)
