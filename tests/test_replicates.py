"""What the tables of coverage stand on: exact observables of many posteriors at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.marginal import log_posterior
from benchmarks.calibration import _held, uniformity
from benchmarks.replicates import exact_observables, from_prior, from_truth, posteriors, study
from tests.brute_force import spins


@pytest.mark.parametrize("words", [(), ("L2=2", "L3=1")], ids=["listed", "transfer matrix"])
def test_observables_are_sums_over_all_states(words: tuple[str, ...]) -> None:
    """Of 16 fine sites on 8 coarse ones: each child equals its parent with probability p0, by itself."""
    which = study(16, 2, words, 3)
    u = 0.4 * jax.random.normal(jax.random.key(0), (which.program.size,))
    mu = jnp.asarray(0.3)
    found = np.asarray(exact_observables(which, u, mu))
    boltzmann = which.program.boltzmann(u, jnp.ones((1, 16)), {"mu": mu})
    every = spins(8)
    natural = boltzmann.potential.natural()
    p = np.asarray(
        jax.nn.softmax(boltzmann.beta * (natural @ boltzmann.potential.statistics(every.T)))
    )
    keep = 2.0 * float(which.program.constrain(u)["p0"]) - 1.0
    fine, place = np.repeat(every, 2, axis=1), np.arange(16)
    exact = [p @ (keep * every.mean(1))]
    for k in range(1, 9):
        alike = place // 2 == np.roll(place, -k) // 2
        exact.append(keep**2 * (p @ np.where(alike, 1.0, fine * np.roll(fine, -k, 1)).mean(1)))
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-12)


def test_data_sets_have_the_exact_moments() -> None:
    """Of 64 sites: m and R(1) to R(4) within five standard errors of 3000 frames, a false failure rarer than 3e-6."""
    which = study(64, 8, (), 20)
    x, exact = from_truth(which, 0.5, jax.random.key(1), 150, 20)
    x = np.asarray(x).reshape(-1, 64)
    each = np.stack([x.mean(1), *(np.mean(x * np.roll(x, -k, 1), 1) for k in range(1, 5))], 1)
    z = (each.mean(0) - exact[:5]) / (each.std(0, ddof=1) / np.sqrt(len(x)))
    assert np.abs(z).max() < 5.0


def test_ranks_that_are_uniform_pass_and_others_do_not() -> None:
    rng = np.random.default_rng(2)
    good = rng.integers(0, 64, (400, 3))
    assert uniformity(good, ["a", "b", "c"])["family_wise"] > 0.01
    narrow = np.where(rng.random((400, 1)) < 0.3, 63, good[:, :1])
    assert uniformity(narrow, ["a"])["family_wise"] < 1e-6


@pytest.mark.slow
def test_a_few_replications_from_end_to_end() -> None:
    """Four data sets: draws climb to the posterior; the interval that allows for error holds more than the other."""
    which = study(64, 8, (), 20)
    x, exact = from_truth(which, 0.0, jax.random.key(3), 4, 20)
    mu = jnp.zeros(4)
    found = posteriors(which, x, mu, jax.random.key(4), warmup=150, samples=150, together=4)
    u, _ = from_prior(which, 0.0, jax.random.key(5), 4, 20)
    for i in range(4):
        value = [
            float(log_posterior(which.program, v, x[i], {"mu": mu[i]}))
            for v in (u[i], jnp.asarray(found.u[i, 0, -1]))
        ]
        assert value[1] > value[0]
    held = _held(np.asarray(x), exact, found)
    assert np.mean(held["allowed"]["0.95"]["R"]) > np.mean(held["within"]["0.95"]["R"])
    assert held["within"]["0.9"]["width_R"][0] < held["data"]["0.9"]["width_R"][0]
