"""Steps down a noisy slope: their size, where they end, and when."""

import numpy as np
import pytest

from bayescg.infer.descent import Descent, Rule
from tests.statistical import check_mean

RATES = np.array([0.1, 0.02, 0.5])


def gone(rule: Rule, slopes: np.ndarray) -> np.ndarray:
    """The steps that a series of slopes makes, ``(step, u)``, none of them said to be settled."""
    descent, out = Descent.start(np.zeros(slopes.shape[1])), []
    for slope in slopes:
        new = rule.step(descent, slope, settled=False)
        out.append(new.u - descent.u)
        descent = new
    return np.stack(out)


def descended(
    rule: Rule,
    curvature: np.ndarray,
    minimum: np.ndarray,
    noise: float,
    seed: int,
    most: int = 5000,
) -> tuple[Descent, list[float]]:
    """From 0 down a quadratic whose slope is seen with noise, and the rate of each step."""
    rng, descent, rates = np.random.default_rng(seed), Descent.start(np.zeros(len(minimum))), []
    while not rule.done(descent) and len(rates) < most:
        rates.append(descent.rate)
        slope = curvature * (descent.u - minimum) + noise * rng.normal(size=len(minimum))
        descent = rule.step(descent, slope, settled=True)
    return descent, rates


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_steps_are_about_the_rates_whatever_the_size_of_the_slope(size: float) -> None:
    """Of one sign: just the rate, from the first step on. Of noise: the rate on the average of squares."""
    slope = size * np.array([2.0, -1.0, 5.0])
    steps = gone(Rule(RATES), np.tile(slope, (30, 1)))
    np.testing.assert_allclose(steps, np.tile(-np.sign(slope) * RATES, (30, 1)), rtol=1e-10)
    noise = size * np.random.default_rng(0).normal(size=(2000, 3))
    rms = np.sqrt(np.mean(gone(Rule(RATES), noise) ** 2, 0))
    assert np.all((0.8 * RATES < rms) & (rms < 1.2 * RATES))


def test_steps_do_not_depend_on_the_unit_of_the_slope() -> None:
    noise = 1.0 + np.random.default_rng(0).normal(size=(50, 3))
    units = np.array([1e-3, 1.0, 1e6])
    np.testing.assert_allclose(gone(Rule(RATES), units * noise), gone(Rule(RATES), noise))


def test_the_mean_square_forgets() -> None:
    """By hand: weights that fall by the memory with each step, and add up to one."""
    slopes, memory = np.random.default_rng(0).uniform(1.0, 2.0, size=(6, 1)), 0.7
    for k, step in enumerate(gone(Rule(np.ones(1), memory=memory), slopes)):
        weight = memory ** np.arange(k, -1.0, -1.0)
        square = weight @ slopes[: k + 1, 0] ** 2 / weight.sum()
        np.testing.assert_allclose(step, -slopes[k] / np.sqrt(square), rtol=1e-12)


def test_one_wild_slope_is_forgotten_soon() -> None:
    """A slope a thousand times the others would make thirty steps small; it counts as four times them."""
    slopes = np.ones((40, 1))
    slopes[10] = 1000.0
    steps = gone(Rule(np.ones(1)), slopes)
    assert np.all(np.abs(steps[11:]) > 0.5) and abs(steps[10, 0]) < 4.0
    # What never had a slope is not held back by that.
    late = gone(Rule(np.ones(1)), np.concatenate([np.zeros((10, 1)), np.ones((3, 1))]))
    assert abs(late[10, 0]) > 0.5


def test_a_parameter_of_no_slope_stays() -> None:
    """Also where its slope is round-off, and it keeps no stage from ending."""
    slopes = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 0.0, 1e-14]
    steps = gone(Rule(RATES), slopes)
    assert np.all(steps[:, 0] != 0.0)
    np.testing.assert_array_equal(steps[:, 1:], 0.0)
    minimum = np.array([0.3, 0.0])
    rule = Rule(np.array([0.05, 0.05]))
    rng, descent = np.random.default_rng(1), Descent.start(np.zeros(2))
    for _ in range(3000):
        slope = np.array([descent.u[0] - minimum[0] + 0.3 * rng.normal(), 0.0])
        descent = rule.step(descent, slope, settled=True)
        if rule.done(descent):
            break
    assert rule.done(descent) and descent.u[1] == 0.0
    assert np.isfinite(rule.found(descent)[1])


def test_plain_steps_are_rate_times_slope() -> None:
    slopes = np.random.default_rng(0).normal(size=(20, 3)) * [1e-13, 1.0, 1e6]
    np.testing.assert_array_equal(gone(Rule(RATES, kind="plain"), slopes)[0], -RATES * slopes[0])
    total = gone(Rule(RATES, kind="plain"), slopes).sum(0)
    np.testing.assert_allclose(total, -RATES * slopes.sum(0), rtol=1e-10)


@pytest.mark.parametrize("kind", ["rmsprop", "plain"])
def test_a_search_ends_near_the_minimum_of_a_noisy_quadratic(kind: str) -> None:
    """The mean of 40 searches is the minimum, and each is as near as some tens of slopes can say.

    The first check fails falsely once in 1e5 streams; the error of n independent slopes is
    noise / curvature / sqrt(n), and a stage has at least 40.
    """
    curvature, minimum, noise = np.array([1.0, 3.0]), np.array([1.0, -0.5]), 0.5
    rates = np.array([0.05, 0.03]) if kind == "rmsprop" else 0.3 / curvature
    rule = Rule(rates, kind=kind)  # type: ignore[arg-type]
    found = []
    for seed in range(40):
        descent, _ = descended(rule, curvature, minimum, noise, seed)
        assert rule.done(descent)
        found.append(rule.found(descent)[0])
    check_mean(np.stack(found), minimum)
    error = noise / curvature / np.sqrt(rule.window)
    assert np.all(np.std(found, 0) < 2.0 * error)
    assert np.all(np.std(found, 0) > 0.1 * error)


def test_each_stage_has_half_the_rate_of_the_last_and_a_window_at_least() -> None:
    rule = Rule(np.array([0.05]), window=30, stages=3)
    descent, rates = descended(rule, np.ones(1), np.ones(1), 0.3, seed=0)
    values, counts = np.unique(rates, return_counts=True)
    np.testing.assert_array_equal(values, [0.125, 0.25, 0.5, 1.0])
    assert np.all(np.diff(rates) <= 0.0) and counts.min() >= 30
    assert descent.stage == 4 and rule.done(descent)
    assert counts[3] > 30  # the first has its way to go
    assert len(descent.path) == len(descent.slopes) == counts[0]
    mean, off = rule.found(descent)
    np.testing.assert_allclose(mean, np.mean(descent.path, 0))
    assert 0.0 <= off < 5.0


def test_the_next_stage_begins_at_the_average_of_the_last() -> None:
    """Slopes of alternating signs go nowhere, so that a stage ends as soon as it may."""
    rule, descent = Rule(np.ones(1), window=10, stages=1), Descent.start(np.zeros(1))
    path = []
    for k in range(10):
        path.append(descent.u)
        descent = rule.step(descent, np.array([(-1.0) ** k]), settled=True)
    assert descent.rate == 0.5 and descent.stage == 1 and descent.path == ()
    np.testing.assert_allclose(descent.u, np.mean(path[-5:], 0))


def test_no_stage_ends_while_there_is_noise_on_features() -> None:
    """What came before the slope was that of what is looked for does not count."""
    rule, descent = Rule(np.ones(1), window=10, stages=1), Descent.start(np.zeros(1))
    for k in range(60):
        descent = rule.step(descent, np.array([(-1.0) ** k]), settled=k % 20 > 11)
        assert descent.rate == 1.0 and descent.stage == 0
    for k in range(10):
        descent = rule.step(descent, np.array([(-1.0) ** k]), settled=True)
    assert descent.stage == 1


def test_a_stage_goes_on_while_any_parameter_is_on_its_way() -> None:
    rule, descent = Rule(np.ones(2), window=10), Descent.start(np.zeros(2))
    for k in range(100):
        descent = rule.step(descent, np.array([(-1.0) ** k, 1.0]), settled=True)
    assert descent.stage == 0 and len(descent.path) == 100
    np.testing.assert_allclose(descent.u, [0.0, -100.0], atol=1e-9)


def natural(rule: Rule, slopes: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """The natural steps that a series of slopes makes, ``(step, u)``."""
    descent, out = Descent.start(np.zeros(slopes.shape[1])), []
    for slope in slopes:
        new = rule.step(descent, slope, settled=False, metric=metric)
        out.append(new.u - descent.u)
        descent = new
    return np.stack(out)


STIFF = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 4.0]])


def test_natural_steps_have_one_length_in_the_metric() -> None:
    """Of one slope just the rate, whatever its size, and against the slope in the metric; by hand, damping included."""
    slope = np.array([1.0, -0.2, 3.0])
    damped = STIFF + 1e-3 * np.diag(np.diag(STIFF)) + 0.04 * np.eye(3)
    expected = np.linalg.solve(damped, slope)
    expected *= -0.3 / np.sqrt(slope @ expected)
    for size in (1e-6, 1.0, 1e6):
        steps = natural(Rule(np.full(3, 0.3), kind="natural"), np.tile(size * slope, (5, 1)), STIFF)
        np.testing.assert_allclose(steps, np.tile(expected, (5, 1)), rtol=1e-9)


def test_natural_steps_do_not_depend_on_the_units_of_parameters() -> None:
    slopes, units = np.random.default_rng(0).normal(size=(20, 3)), np.array([1e-3, 1.0, 50.0])
    rule = Rule(np.ones(3), kind="natural", floor=0.0)
    plain = natural(rule, slopes, STIFF)
    other = natural(rule, slopes / units, STIFF / np.outer(units, units))
    np.testing.assert_allclose(other, plain * units, rtol=1e-9)


def test_a_parameter_without_information_stays() -> None:
    metric = np.diag([1.0, 0.0, 2.0])
    slopes = np.random.default_rng(0).normal(size=(20, 3)) * [1.0, 0.0, 1.0]
    steps = natural(Rule(np.ones(3), kind="natural"), slopes, metric)
    assert np.all(steps[:, 1] == 0.0) and np.all(steps[:, 0] != 0.0)


def test_a_single_configuration_digs_no_hole() -> None:
    """One of ten thousand tells of a second parameter, in an iteration whose slope it makes up. Its standard deviation
    is a hundred units; with the floor a step goes five times the rate."""
    metric, slopes = np.diag([4.0, 1e-4]), np.array([[1.0, 0.0], [-1.0, 0.0]] * 5 + [[0.0, 0.3]])
    allowed, free = (
        natural(Rule(np.full(2, 0.06), kind="natural", floor=f), slopes, metric)[-1, 1]
        for f in (0.04, 0.0)
    )
    assert abs(free) > 6.0 and abs(allowed) < 4.0 * 0.3


def test_natural_steps_reach_what_single_ones_do_not() -> None:
    """Twenty parameters, neighbours of which do nearly the same; 150 steps of either kind at their best rates.

    The information of a configuration is the curvature. Rates for single steps are tried over two decades.
    """
    at = np.arange(20)
    curvature = np.exp(-0.5 * ((at[:, None] - at) / 1.5) ** 2) + 0.01 * np.eye(20)
    minimum = np.cos(at)

    def left(rule: Rule) -> float:
        rng, descent = np.random.default_rng(1), Descent.start(np.zeros(20))
        root = np.linalg.cholesky(curvature)
        for _ in range(150):
            slope = curvature @ (descent.u - minimum) + 0.01 * root @ rng.normal(size=20)
            descent = rule.step(descent, slope, settled=True, metric=curvature)
        off = descent.u - minimum
        return float(off @ curvature @ off)

    rates = np.geomspace(0.005, 0.5, 8)
    single = min(left(Rule(np.full(20, r))) for r in rates)
    together = min(left(Rule(np.full(20, r), kind="natural")) for r in rates)
    assert together < 0.5 * single


def test_many_parameters_that_go_nowhere_end_a_stage() -> None:
    """Of forty, some would seem to go somewhere by the bar of one."""
    rng, rule = np.random.default_rng(2), Rule(np.full(40, 0.1))
    descent = Descent.start(np.zeros(40))
    for _ in range(1500):
        descent = rule.step(descent, descent.u + rng.normal(size=40), settled=True)
        if rule.done(descent):
            break
    assert rule.done(descent)


@pytest.mark.parametrize(("own", "ends"), [(1e-3, True), (0.5, False)])
def test_what_no_configuration_tells_of_holds_up_nothing(own: float, ends: bool) -> None:
    """A slope of one sign moves a parameter all the time. Only where that changes nothing a stage may end."""
    rng = np.random.default_rng(4)
    rule, descent = Rule(np.full(2, 0.1), window=20, kind="natural"), Descent.start(np.zeros(2))
    for _ in range(60):
        slope = np.array([rng.normal(), -own])
        descent = rule.step(descent, slope, settled=True, metric=np.diag([1.0, own**2]))
    assert descent.u[1] > 0.0
    assert (descent.stage > 0) is ends
