"""Newton's steps on a normal model with many features, of which a share of what a configuration says can be seen."""

import numpy as np
import pytest

from bayescg.critics import labelled
from bayescg.infer.response import Answer, Visit, visited
from bayescg.infer.settling import Newton, Settling
from bayescg.infer.steps import View

CHAINS, FRAMES, FEATURES = 32, 2000, 40
SHARE = np.array([1.0, 0.1, 0.003])
TRUTH = np.array([0.3, 1.5, -4.0])
AXES, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(FEATURES, 3)))


def drawn(
    u: np.ndarray, count: int, rng: np.random.Generator, share: np.ndarray = SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a normal with mean ``u`` and unit variance, and features, three of which see the roots of shares."""
    z = u + rng.normal(size=(count, len(u)))
    seen = np.sqrt(share) * z + np.sqrt(1.0 - share) * rng.normal(size=z.shape)
    other = rng.normal(size=(count, FEATURES))
    return z, other - other @ AXES @ AXES.T + seen @ AXES.T


def searched(
    rule: Newton,
    iterations: int,
    *,
    seed: int = 1,
    share: np.ndarray = SHARE,
    samples: int = 5,
    memory: int = 1,
    quiet: bool = True,
) -> list[Settling]:
    """States of a search from 0, of chains whose samples repeat themselves ``memory`` times."""
    rng = np.random.default_rng(seed)
    reference = drawn(TRUTH, FRAMES, rng, share)[1]
    state, states = rule.start(np.zeros(3)), []
    for _ in range(iterations):
        z, f = drawn(state.u, CHAINS * samples, rng, share)
        z, f = np.repeat(z, memory, 0), np.repeat(f, memory, 0)
        chain = np.repeat(np.arange(CHAINS), samples * memory)
        view = View(z, labelled(f, reference), chain, 1e-3, quiet)
        state, _ = rule.advance(state, np.zeros(3), view)
        states.append(state)
    return states


def by_frames(share: np.ndarray = SHARE) -> np.ndarray:
    """Standard errors of the best guess of the parameters from all frames: features have unit variance."""
    return 1.0 / np.sqrt(share * FRAMES)


def test_it_finds_what_a_critic_hardly_sees() -> None:
    """The third parameter has three thousandths of the information. Errors by the frames are the best there are, and
    the optimum is within four of both errors together; 45 iterations of 160 samples know it nearly as well."""
    end = searched(Newton(), 45)[-1]
    np.testing.assert_allclose(end.by_data, by_frames(), rtol=0.15)
    both = np.hypot(end.by_data, end.by_model)
    assert np.all(np.abs(end.optimum - TRUTH) < 4.0 * both)
    assert np.all(end.by_model < 1.2 * end.by_data)


def test_its_errors_are_those_of_many_searches() -> None:
    """The optimum of sixteen, in their own errors: chi-square of 48 terms, beyond whose bounds one in 1e4 falls."""
    ends = [searched(Newton(), 24, seed=s)[-1] for s in range(16)]
    off = [(e.optimum - TRUTH) / np.hypot(e.by_model, e.by_data) for e in ends]
    assert 19.0 < np.sum(np.square(off)) < 95.0


def test_covariances_alone_would_not_do() -> None:
    """With all visits in one place the third parameter's error stays what a covariance knows: nothing."""
    ends = searched(Newton(spread=1e-3), 24)
    assert np.isinf(ends[-1].by_model[2]) and not ends[-1].settled


def test_it_settles_when_simulation_is_sure_enough_and_the_slope_is_the_true_one() -> None:
    states = searched(Newton(tolerance=1.0), 45)
    first = next(k for k, s in enumerate(states) if s.settled)
    assert 9 <= first < 40
    end = states[first]
    assert np.all(end.by_model <= end.by_data) and np.all(np.abs(end.change) <= end.by_data)
    assert not searched(Newton(tolerance=0.1), 45)[-1].settled
    assert not searched(Newton(tolerance=1.0), 45, quiet=False)[-1].settled


def test_a_search_does_not_settle_where_the_critic_is_blind() -> None:
    """Of the second parameter no feature says anything: it has no error, and the others have theirs."""
    share = np.array([1.0, 0.0, 0.1])
    end = searched(Newton(tolerance=1e9), 30, share=share)[-1]
    assert not end.settled and end.by_data[1] == end.by_model[1] == np.inf
    seen = [0, 2]
    np.testing.assert_allclose(end.by_data[seen], by_frames(share[seen]), rtol=0.2)
    assert np.all(
        np.abs(end.optimum - TRUTH)[seen] < 4.0 * np.hypot(end.by_data, end.by_model)[seen]
    )


def test_chains_that_remember_have_larger_errors() -> None:
    """Four times the same is no more than once: the errors agree to a third, not by a factor of two."""
    share = np.array([1.0, 0.5, 0.2])
    once, again = (searched(Newton(), 12, share=share, memory=m)[-1] for m in (1, 4))
    np.testing.assert_allclose(again.by_model, once.by_model, rtol=0.35)


def test_long_steps_are_cut_in_what_a_configuration_says() -> None:
    """At one standard deviation, of which scores are; a search that is cut has not settled."""
    share = np.array([1.0, 0.8, 0.5])
    states = searched(Newton(longest=1.0, tolerance=1e9), 12, share=share)
    lengths = [np.linalg.norm(s.change) for s in states]
    np.testing.assert_allclose(lengths[0], 1.0, rtol=0.2)
    assert max(lengths) < 1.25 and not states[0].settled


def test_visits_are_as_far_away_as_little_is_seen_to_change() -> None:
    """Half a standard deviation of what is seen along each axis, and never more than reach of what there is."""
    end = searched(Newton(reach=4.0), 30)[-1]
    length = np.sort(np.linalg.norm(end.design, axis=0))  # scores have unit variance
    np.testing.assert_allclose(length, [0.5, 0.5 / 0.1**0.5, 4.0], rtol=0.25)


def test_a_parameter_that_says_nothing_stays() -> None:
    """Its score is always the same."""
    rule, rng = Newton(), np.random.default_rng(3)
    reference = rng.normal(size=(FRAMES, 1)) + 0.3
    state = rule.start(np.zeros(2))
    for _ in range(6):
        f = state.u[0] + rng.normal(size=(320, 1))
        scores = np.column_stack([f[:, 0], np.ones(320)])
        view = View(scores, labelled(f, reference), np.repeat(np.arange(CHAINS), 10), 0.0, True)
        state, _ = rule.advance(state, np.zeros(2), view)
    assert state.optimum[0] == pytest.approx(0.3, abs=0.2)
    assert np.isfinite(state.by_data[0]) and state.by_data[1] == state.by_model[1] == np.inf


def bent(u: np.ndarray, rng: np.random.Generator) -> Visit:
    """Features that answer to the second of two parameters by more than a straight line."""
    z = u + rng.normal(size=(640, 2))
    f = 0.3 * rng.normal(size=(640, 3))
    f[:, 0] += z[:, 0]
    f[:, 1] += 0.05 * u[1] + 0.01 * u[1] ** 2
    sample = labelled(f, f)
    return visited(u, View(z, sample, np.repeat(np.arange(CHAINS), 20), 0.0, True), np.ones(3))


def test_what_is_bent_is_taken_as_such() -> None:
    """At 2 the second feature is 0.14, its slope 0.09, of which covariances know nothing, and by the end of an axis of
    4 it bends by 0.16. A straight line would miss the level by 0.05, the mean of the bend over the visits."""
    rng, centre = np.random.default_rng(8), np.array([0.0, 2.0])
    design = np.array([[0.0, 0.5], [4.0, 0.0]])
    places = [centre + design @ np.array(p) for p in rng.choice([-1.2, 0.0, 1.2], (20, 2))]
    reference = np.random.default_rng(9).normal(size=(FRAMES, 3))
    known = Answer([bent(p, rng) for p in places], centre, design, reference, 0.0, 0.5)
    level, slope, bend = (0.5 * (a + b) for a, b in zip(*known.surfaces, strict=True))
    # Of 12800 samples with a standard deviation of 0.3, four errors and what prior means pull.
    assert level[1] == pytest.approx(0.14, abs=0.02)
    assert slope[1, 1] == pytest.approx(0.09, abs=0.012)
    axis = int(np.argmax(np.abs(design[1])))
    assert bend[1, axis] == pytest.approx(0.16, abs=0.06)
