"""Newton's steps on a normal model with many features, of which a share of what a configuration says can be seen."""

import numpy as np
import pytest

from bayescg.critics import labelled
from bayescg.infer.response import Answer, Visit, visited
from bayescg.infer.settling import Excursions, Settling
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
    rule: Excursions,
    iterations: int,
    *,
    seed: int = 1,
    share: np.ndarray = SHARE,
    samples: int = 5,
    memory: int = 1,
    quiet: bool = True,
    apart: float = 0.0,
    lasting: float = 0.0,
) -> list[Settling]:
    """States of a search from 0.

    :param memory: times that chains repeat each sample.
    :param apart: of a feature that the model cannot change, how far it is from the data's.
    :param lasting: standard deviation of what each chain keeps for good, of those features that hold what is seen.
    """
    rng = np.random.default_rng(seed)
    reference = drawn(TRUTH, FRAMES, rng, share)[1]
    free = np.linalg.svd(AXES.T)[2][-1]  # no score has anything of it
    reference += apart * free
    kept = lasting * rng.normal(size=(CHAINS, 3)) @ AXES.T
    state, states = rule.start(np.zeros(3)), []
    for _ in range(iterations):
        z, f = drawn(state.u, CHAINS * samples, rng, share)
        z, f = np.repeat(z, memory, 0), np.repeat(f, memory, 0)
        chain = np.repeat(np.arange(CHAINS), samples * memory)
        view = View(z, labelled(f + kept[chain], reference), chain, CHAINS, 1e-3, quiet)
        state, _ = rule.advance(state, np.zeros(3), view)
        states.append(state)
    return states


def newton(reach: float = 6.0, **how: float) -> Excursions:
    """The rule; parameters have standard deviations of 1 here, and features bend nowhere."""
    return Excursions(reach=reach, **how)  # type: ignore[arg-type]


def by_frames(share: np.ndarray = SHARE) -> np.ndarray:
    """Standard errors of the best guess of the parameters from all frames: features have unit variance."""
    return 1.0 / np.sqrt(share * FRAMES)


def test_it_finds_what_a_critic_hardly_sees() -> None:
    """The third parameter has three thousandths of the information. Errors by the frames are the best there are, and
    the optimum is within four of both errors together; 45 iterations of 160 samples know it nearly as well."""
    end = searched(newton(), 45)[-1]
    np.testing.assert_allclose(end.by_data, by_frames(), rtol=0.15)
    both = np.hypot(end.by_data, end.by_model)
    assert np.all(np.abs(end.optimum - TRUTH) < 4.0 * both)
    assert np.all(end.by_model < 1.2 * end.by_data)


def test_its_errors_are_those_of_many_searches() -> None:
    """The optimum of eight, in their own errors: chi-square of 24 terms, beyond whose bounds one in 1e4 falls."""
    ends = [searched(newton(), 24, seed=s)[-1] for s in range(8)]
    off = [(e.optimum - TRUTH) / np.hypot(e.by_model, e.by_data) for e in ends]
    assert 5.5 < np.sum(np.square(off)) < 59.0


def test_its_errors_hold_where_the_model_cannot_become_the_data() -> None:
    """One feature is off by two standard deviations whatever the parameters: how features answer then matters.

    Without that part of the errors the sum below is several times what it may be.
    """
    rule, free = newton(), np.linalg.svd(AXES.T)[2][-1]
    ends = [searched(rule, 24, seed=s, apart=2.0)[-1] for s in range(8)]
    assert np.abs(free @ AXES).max() < 1e-12
    off = [(e.optimum - TRUTH) / np.hypot(e.by_model, e.by_data) for e in ends]
    assert 3.0 < np.sum(np.square(off)) < 59.0


def test_what_chains_keep_for_good_is_in_the_errors() -> None:
    """Each a third of a standard deviation of the first feature: no simulation with these chains knows its mean to
    better than that over the root of their number. Fourteen per cent is what 32 chains know a deviation to, thrice."""
    share = np.array([1.0, 0.5, 0.2])
    end = searched(newton(), 24, share=share, lasting=1.0 / 3.0)[-1]
    least = 1.0 / 3.0 / np.sqrt(CHAINS * share)
    assert np.all(end.by_model > 0.6 * least) and np.all(end.by_model < 1.8 * least)
    assert np.all(searched(newton(), 24, share=share)[-1].by_model < 0.5 * least)


def test_covariances_alone_would_not_do() -> None:
    """With all visits in one place the third parameter's error stays what a covariance knows: nothing."""
    ends = searched(newton(spread=1e-3), 24)
    assert np.isinf(ends[-1].by_model[2]) and not ends[-1].settled


def test_it_settles_when_simulation_is_sure_enough_and_the_slope_is_the_true_one() -> None:
    states = searched(newton(tolerance=1.0), 45)
    first = next(k for k, s in enumerate(states) if s.settled)
    assert 9 <= first < 40
    end = states[first]
    assert np.all(end.by_model <= end.by_data) and np.all(np.abs(end.change) <= end.by_data)
    for more in ({"tolerance": 0.1}, {"tolerance": 1.0, "least": 50}):
        assert not any(s.settled for s in searched(newton(**more), 45))


def test_under_noise_it_stays_where_it_is_and_does_not_settle() -> None:
    states = searched(newton(tolerance=1e9), 20, share=np.array([1.0, 0.5, 0.2]), quiet=False)
    assert all(np.all(s.u == s.optimum) and s.away == 0.0 and not s.settled for s in states)


def test_a_search_does_not_settle_where_the_critic_is_blind() -> None:
    """Of the second parameter no feature says anything: it has no error, and the others have theirs."""
    share = np.array([1.0, 0.0, 0.1])
    for seed in range(4):
        states = searched(newton(tolerance=1.0), 30, share=share, seed=seed)
        assert not any(s.settled for s in states)
    end = states[-1]
    assert end.by_data[1] == end.by_model[1] == np.inf
    seen = [0, 2]
    np.testing.assert_allclose(end.by_data[seen], by_frames(share[seen]), rtol=0.2)
    assert np.all(
        np.abs(end.optimum - TRUTH)[seen] < 4.0 * np.hypot(end.by_data, end.by_model)[seen]
    )


def test_chains_that_remember_have_larger_errors() -> None:
    """Four times the same is no more than once: the errors agree to a third, not by a factor of two."""
    share = np.array([1.0, 0.5, 0.2])
    once, again = (searched(newton(), 12, share=share, memory=m)[-1] for m in (1, 4))
    np.testing.assert_allclose(again.by_model, once.by_model, rtol=0.35)


def test_long_steps_are_cut_in_what_a_configuration_says() -> None:
    """At one standard deviation, of which scores are; a search that is cut has not settled."""
    share = np.array([1.0, 0.8, 0.5])
    states = searched(newton(longest=1.0, tolerance=1e9), 12, share=share)
    places = np.stack([np.zeros(3), *(s.optimum for s in states)])
    lengths = np.linalg.norm(np.diff(places, axis=0), axis=1)
    np.testing.assert_allclose(lengths[0], 1.0, rtol=0.2)
    assert max(lengths) < 1.25 and not states[0].settled


def test_visits_are_as_far_away_as_little_is_seen_to_change() -> None:
    """Half a standard deviation of what is seen along each axis, and no parameter by more than reach."""
    end = searched(newton(reach=4.0), 30)[-1]
    length = np.sort(np.linalg.norm(end.design, axis=0))  # scores have unit variance
    np.testing.assert_allclose(length, [0.5, 0.5 / 0.1**0.5, 4.0], rtol=0.25)


@pytest.mark.parametrize("constant", [1.0, 0.1, 0.0])
def test_a_parameter_that_says_nothing_stays(constant: float) -> None:
    """Its score is always the same; 0.1 has round-off."""
    rule, rng = newton(), np.random.default_rng(3)
    reference = rng.normal(size=(FRAMES, 1)) + 0.3
    state = rule.start(np.array([0.0, 0.7]))
    for _ in range(9):
        f = state.u[0] + rng.normal(size=(320, 1))
        scores = np.column_stack([f[:, 0], np.full(320, constant)])
        view = View(
            scores, labelled(f, reference), np.repeat(np.arange(CHAINS), 10), CHAINS, 0.0, True
        )
        state, _ = rule.advance(state, np.zeros(2), view)
        assert state.u[1] == state.optimum[1] == 0.7
    assert state.optimum[0] == pytest.approx(0.3, abs=0.15)
    assert np.isfinite(state.by_data[0]) and state.by_data[1] == state.by_model[1] == np.inf


def test_two_parameters_that_do_the_same_move_together() -> None:
    """Their sum is known, and neither of them runs away."""
    rule, rng = newton(), np.random.default_rng(4)
    reference = rng.normal(size=(FRAMES, 1)) + 0.3
    state = rule.start(np.zeros(2))
    for _ in range(9):
        f = state.u.sum() + rng.normal(size=(320, 1))
        view = View(
            np.column_stack([f, f]),
            labelled(f, reference),
            np.repeat(np.arange(CHAINS), 10),
            CHAINS,
            0.0,
            True,
        )
        state, _ = rule.advance(state, np.zeros(2), view)
    np.testing.assert_allclose(state.optimum, 0.15, atol=0.08)


def test_what_does_not_vary_tells_nothing() -> None:
    """A third feature is constant in the model, and another constant in the data, by round-off."""
    rule, rng = newton(tolerance=1.0), np.random.default_rng(5)
    reference = np.column_stack([rng.normal(size=FRAMES) + 0.3, np.full(FRAMES, 0.2)])
    state = rule.start(np.zeros(1))
    for _ in range(15):
        z = state.u[0] + rng.normal(size=320)
        f = np.column_stack([z, np.full(320, 0.1)])
        view = View(
            z[:, None], labelled(f, reference), np.repeat(np.arange(CHAINS), 10), CHAINS, 1e-3, True
        )
        state, _ = rule.advance(state, np.zeros(1), view)
    assert state.optimum[0] == pytest.approx(0.3, abs=0.1)


def test_chains_that_cannot_be_measured_are_left_out() -> None:
    """Some in every iteration, the last one in the first, and once all but one."""
    rule, rng = newton(), np.random.default_rng(6)
    reference = rng.normal(size=(FRAMES, 1)) + 0.3
    state = rule.start(np.zeros(1))
    for k in range(12):
        f = state.u[0] + rng.normal(size=(320, 1))
        chain = np.repeat(np.arange(CHAINS), 10)
        good = chain == 5 if k == 4 else chain % 5 != (k + 1) % 5
        view = View(f[good], labelled(f[good], reference), chain[good], CHAINS, 0.0, True)
        before, (state, shown) = state, rule.advance(state, np.zeros(1), view)
        assert np.isfinite(state.optimum).all() and (len(state.visits) == len(before.visits)) == (
            k == 4
        )
        assert set(shown) == {"optimum", "error_model", "error_data", "least_seen", "away"}
    assert state.optimum[0] == pytest.approx(0.3, abs=0.15)


def test_a_visit_and_the_one_on_the_other_side() -> None:
    """Of the same optimum but for what it moved in between; every third is at the optimum."""
    states = searched(newton(), 40)
    for k in range(0, 36, 3):
        one, other, there = states[k : k + 3]
        np.testing.assert_allclose(other.u - other.optimum, -(one.u - one.optimum), rtol=1e-9)
        assert np.all(there.u == there.optimum) and there.away == 0.0 < one.away


def bent(u: np.ndarray, rng: np.random.Generator) -> Visit:
    """Features that answer to the second of two parameters by more than a straight line."""
    z = u + rng.normal(size=(640, 2))
    f = 0.3 * rng.normal(size=(640, 3))
    f[:, 0] += z[:, 0]
    f[:, 1] += 0.05 * u[1] + 0.01 * u[1] ** 2
    sample = labelled(f, f)
    view = View(z, sample, np.repeat(np.arange(CHAINS), 20), CHAINS, 0.0, True)
    visit = visited(u, view, np.ones(3))
    assert visit is not None
    return visit


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
    assert (slope @ known.root.T)[1, 1] == pytest.approx(0.09, abs=0.012)
    axis = int(np.argmax(np.abs(design[1])))
    assert bend[1, axis] == pytest.approx(0.16, abs=0.06)
