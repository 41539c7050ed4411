"""log Z pooled from simulations at several parameters: right where they reach, and no trap beyond."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.distributions.log_partition.multistate import BEYOND, Multistate, multistate
from bayescg.potentials import SpinPotential
from tests import brute_force
from tests.statistical import check_mean
from tests.systems import BETA, FULL, potential

STATISTICS = brute_force.statistics(potential())  # (state, term)
SAMPLES = 1000
#: beta times natural parameters of four references, the first without any coupling.
NATURAL = np.stack(
    [
        scale * np.random.default_rng(3).normal(size=STATISTICS.shape[1]) * (0.1 + 0.02 * k)
        for k, scale in enumerate((0.0, 1.0, 1.5, -1.0))
    ]
)


def log_z(e: np.ndarray) -> float:
    return float(brute_force.log_sum_exp(STATISTICS @ e))


def pooled(seed: int, samples: int = SAMPLES, **options: Any) -> Multistate:
    """From independent exact samples of each reference."""
    rng = np.random.default_rng(seed)
    phi = [
        STATISTICS[rng.choice(len(STATISTICS), samples, p=brute_force.weights(STATISTICS @ e))]
        for e in NATURAL
    ]
    return multistate(NATURAL, np.stack(phi), **options)


#: Between the references, and a little outside of them.
ASKED = np.stack([*NATURAL[1:], *(0.5 * (NATURAL[1:] + NATURAL[[2, 3, 1]])), 1.2 * NATURAL[1]])


@pytest.mark.slow
def test_it_is_right_where_references_reach() -> None:
    """Relative to the first reference, whose log Z is 8 log 2; forty sets of exact samples."""
    exact = [log_z(e) - 8 * np.log(2.0) for e in ASKED]
    found = [jax.lax.map(pooled(k).at, jnp.asarray(ASKED)) for k in range(40)]
    check_mean(np.stack(found), exact)


def test_its_slope_is_the_mean_of_the_statistics() -> None:
    """Of forty sets, against the sum over all states."""
    weights = [brute_force.weights(STATISTICS @ e) for e in ASKED]
    slope = jax.jit(lambda m: jax.lax.map(jax.grad(m.at), jnp.asarray(ASKED)))
    check_mean(np.stack([slope(pooled(k)) for k in range(40)]), [w @ STATISTICS for w in weights])


def test_a_potential_is_asked_for_as_any_strategy_is() -> None:
    p = potential()
    strategy = pooled(0)
    e = BETA * np.asarray(p.natural())
    assert float(strategy(p, jnp.asarray(BETA))) == pytest.approx(
        float(strategy.at(jnp.asarray(e)))
    )
    assert isinstance(p, SpinPotential) and p.basis is FULL


def test_room_for_more_changes_nothing() -> None:
    for field in ("at", "effective", "distance"):
        one, other = (
            np.stack([getattr(m, field)(jnp.asarray(e)) for e in (*ASKED, 4.0 * ASKED[0])])
            for m in (pooled(1), pooled(1, room=(1024, 16)))
        )
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)
    assert int(pooled(1, room=(1024, 16)).nearest(jnp.asarray(NATURAL[2]))) == 2


def test_outside_it_rises_faster_than_what_was_sampled() -> None:
    """Reweighting alone is too low there, and a chain that looks for the lowest log Z would go there.

    Along rays out of the references the value stays above every tangent, and its distance from them grows.
    """
    strategy = pooled(2, samples=60)
    rng = np.random.default_rng(5)
    for direction in rng.normal(size=(8, STATISTICS.shape[1])):
        far = [strategy.at(jnp.asarray(t * direction)) for t in (2.0, 4.0, 8.0)]
        tangents = [
            np.max(
                np.asarray(strategy.values)
                + np.sum((t * direction - np.asarray(strategy.natural)) * strategy.means, 1)
            )
            for t in (2.0, 4.0, 8.0)
        ]
        gap = np.asarray(far) - tangents
        assert np.all(gap > 0.0) and np.all(np.diff(gap) > 0.0)


def test_samples_that_agree_are_counted_once() -> None:
    """Eight spins have 256 states, and fewer values of their statistics: that is all that is stored."""
    m = pooled(0)
    counted = np.exp(np.asarray(m.log_counts))
    assert counted.sum() == pytest.approx(SAMPLES * len(NATURAL))
    assert (counted > 0.5).sum() <= len(np.unique(STATISTICS, axis=0))


@pytest.mark.parametrize(
    ("natural", "statistics", "words"),
    [
        (NATURAL, np.zeros((3, 5, NATURAL.shape[1])), "do not fit"),
        (NATURAL, np.zeros((4, 5)), "do not fit"),
        (np.full((1, 2), np.nan), np.zeros((1, 5, 2)), "must be finite"),
    ],
)
def test_errors(natural: np.ndarray, statistics: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        multistate(natural, statistics)


@pytest.mark.slow
def test_half_the_memory_tells_the_same() -> None:
    """Statistics in single precision, as of sites in space, where all of them stay within reach."""
    wide = (50.0, 60.0)
    one, other = pooled(1), pooled(1, reach=wide)
    for f in (lambda m: m.at, lambda m: jax.grad(m.at), lambda m: m.effective):
        a, b = (jax.lax.map(f(m), jnp.asarray(ASKED)) for m in (one, other))
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_within_reach_samples_speak_and_beyond_the_references_do() -> None:
    """A sample with less spread than its ensemble misleads reweighting far away; references' moments do not."""
    m = pooled(4, reach=(1.0, 1.5))
    direction = np.random.default_rng(6).normal(size=STATISTICS.shape[1])
    near = NATURAL[0] + 1e-3 * direction
    assert float(m.at(jnp.asarray(near))) == pytest.approx(
        float(m._weighed(jnp.asarray(near))[0]), rel=1e-6
    )
    far = jnp.asarray(8.0 * direction)
    d = float(m.distance(far))
    beyond = (d - 1.5 - BEYOND) / 0.5
    assert beyond > 1.0
    wall = 0.5 * beyond**2 * (1.0 + beyond**2)
    assert float(m.at(far)) == pytest.approx(float(m.continued(far)) + wall, rel=1e-6)
