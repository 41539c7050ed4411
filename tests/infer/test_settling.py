"""Newton's steps on pooled samples: on a normal, whose errors are known, and on features that see only part of it."""

import numpy as np
import pytest

from bayescg.critics import labelled
from bayescg.infer.settling import Newton, Settling
from bayescg.infer.steps import View

CHAINS, SAMPLES, FRAMES = 40, 100, 900
CHAIN = np.repeat(np.arange(CHAINS), SAMPLES)


def view(
    model: np.ndarray, reference: np.ndarray, *, ridge: float = 0.0, quiet: bool = True
) -> View:
    """Of a model whose scores are its coordinates, and features that are those as well."""
    return View(model, labelled(model, reference), CHAIN, ridge, quiet)


def stepped(rule: Newton, model: np.ndarray, reference: np.ndarray, **how: float) -> Settling:
    """One step from 0; the slope of relative entropy is the difference of the means."""
    slope = model.mean(0) - reference.mean(0)
    seen = view(model, reference, **how)  # type: ignore[arg-type]
    return rule.advance(rule.start(np.zeros(2)), slope, seen)[0]


def drawn(count: int, at: np.ndarray) -> np.ndarray:
    """Coordinates with standard deviations 1 and 2; other numbers for another count."""
    return at + np.random.default_rng(count).normal(size=(count, 2)) * [1.0, 2.0]


def test_a_step_leads_to_equal_averages_with_the_errors_of_both() -> None:
    """The curvature is the variance, 1 and 4, so that u is off by the means' difference over it.

    Errors are one over sd and root of the number of independent samples, to a fifth: 40 chains know them to 11 %.
    """
    at = np.array([0.05, -0.06])
    model, reference = drawn(CHAINS * SAMPLES, np.zeros(2)), drawn(FRAMES, at * [1.0, 4.0])
    found = stepped(Newton(longest=10.0), model, reference)
    expected = (reference.mean(0) - model.mean(0)) / model.var(0)
    np.testing.assert_allclose(found.u, expected, rtol=0.05, atol=0.003)
    np.testing.assert_allclose(found.by_data, np.array([1.0, 0.5]) / np.sqrt(FRAMES), rtol=0.2)
    np.testing.assert_allclose(found.by_model, np.array([1.0, 0.5]) / np.sqrt(4000), rtol=0.4)


def test_chains_that_remember_have_larger_errors() -> None:
    """All samples of a chain the same: as many as there are chains, whose halves know a variance to 30 %."""
    once = drawn(CHAINS, np.zeros(2))
    found = stepped(Newton(), np.repeat(once, SAMPLES, axis=0), drawn(FRAMES, np.zeros(2)))
    np.testing.assert_allclose(found.by_model, 1.0 / once.std(0) / np.sqrt(CHAINS), rtol=0.6)


def test_long_steps_are_cut_in_what_a_configuration_says() -> None:
    """At 0.3 standard deviations; a search that is cut has not settled."""
    model, reference = drawn(CHAINS * SAMPLES, np.zeros(2)), drawn(FRAMES, np.array([3.0, 3.0]))
    whole, cut = (stepped(Newton(longest=d, tolerance=1e9), model, reference) for d in (100.0, 0.3))
    said = (model - model.mean(0)) @ cut.change
    assert said.std() == pytest.approx(0.3)
    assert np.all(cut.change * whole.change > 0.0)
    assert whole.settled and not cut.settled


def test_steps_that_turn_back_become_shorter() -> None:
    """And those that go on longer again, up to the longest."""
    model = drawn(CHAINS * SAMPLES, np.zeros(2))
    seen, rule = view(model, drawn(FRAMES, np.zeros(2))), Newton(longest=0.1)
    state, radii = rule.start(np.zeros(2)), []
    for sign in (1.0, -1.0, 1.0, 1.0, 1.0, 1.0):
        state, shown = rule.advance(state, sign * np.ones(2), seen)
        said = (model - model.mean(0)) @ state.change
        assert said.std() == pytest.approx(shown["radius"])
        radii.append(shown["radius"] / 0.1)
    np.testing.assert_allclose(radii, [1.0, 1.0, 0.7, 0.49, 0.6125, 0.765625])


def test_a_step_is_cut_where_the_critic_hardly_sees() -> None:
    """Features that are mostly noise for the second coordinate, which then is a long way off: the first arrives."""
    model, reference = drawn(CHAINS * SAMPLES, np.zeros(2)), drawn(FRAMES, np.array([0.2, 2.0]))
    blind = np.array([0.0, 6.0])
    rng = np.random.default_rng(0)
    f, g = (x + blind * rng.normal(size=x.shape) for x in (model, reference))
    seen = View(model, labelled(f, g), CHAIN, 0.0, True)
    slope = np.array([-0.2, -2.0 * 4.0 / 40.0])  # of what a critic sees of four, a tenth
    whole, cut = (
        r.advance(r.start(np.zeros(2)), slope, seen)[0]
        for r in (Newton(longest=100.0), Newton(longest=0.6))
    )
    assert cut.change[0] > 0.85 * whole.change[0] and cut.change[1] < 0.7 * whole.change[1]


def test_what_no_feature_sees_does_not_move() -> None:
    """A feature of one coordinate alone, and a score that is always the same."""
    model, reference = drawn(CHAINS * SAMPLES, np.zeros(2)), drawn(FRAMES, np.array([0.3, 0.0]))
    scores = model * [1.0, 0.0]
    seen = View(scores, labelled(model[:, :1], reference[:, :1]), CHAIN, 0.0, True)
    rule = Newton(longest=10.0)
    slope = np.array([model[:, 0].mean() - reference[:, 0].mean(), 0.0])
    found, _ = rule.advance(rule.start(np.zeros(2)), slope, seen)
    assert abs(found.u[1]) < 1e-6 and 0.15 < found.u[0] < 0.45
    assert np.isfinite(found.by_data[0]) and found.by_data[1] == found.by_model[1] == np.inf


def test_a_search_does_not_settle_where_the_critic_is_blind() -> None:
    """A feature of the first coordinate and one of nothing: of the second no error is known."""
    model = drawn(CHAINS * SAMPLES, np.zeros(2))
    noise = np.random.default_rng(1).normal(size=(len(model), 1))
    features = np.column_stack([model[:, :1], noise])
    seen = View(model, labelled(features, features), CHAIN, 0.0, True)
    rule = Newton(longest=10.0, tolerance=1e9)
    found, shown = rule.advance(rule.start(np.zeros(2)), np.zeros(2), seen)
    assert not found.settled and np.isfinite(shown["error_data"][0])
    assert shown["error_data"][1] == shown["error_model"][1] == np.inf


def test_it_settles_when_simulation_is_sure_enough_and_the_slope_is_the_true_one() -> None:
    """Of equal averages the last step is nothing; errors by 4000 and by 900 samples are 0.47 of each other."""
    model = drawn(CHAINS * SAMPLES, np.zeros(2))
    reference = drawn(FRAMES, np.zeros(2))
    reference += model.mean(0) - reference.mean(0)
    assert stepped(Newton(tolerance=0.8), model, reference).settled
    assert not stepped(Newton(tolerance=0.25), model, reference).settled
    assert not stepped(Newton(tolerance=0.8), model, reference, quiet=False).settled


def test_other_divergences_have_another_curvature() -> None:
    """A slope four times smaller, as Jensen and Shannon's, leads as far."""
    model, reference = drawn(CHAINS * SAMPLES, np.zeros(2)), drawn(FRAMES, np.array([0.1, 0.1]))
    slope = model.mean(0) - reference.mean(0)
    seen = view(model, reference)
    one, other = Newton(longest=10.0), Newton(longest=10.0, unit=0.25)
    np.testing.assert_allclose(
        one.advance(one.start(np.zeros(2)), slope, seen)[0].u,
        other.advance(other.start(np.zeros(2)), 0.25 * slope, seen)[0].u,
    )
