"""Intervals that allow for a wrong model: their coverage, by quadrature, and the errors that they stand on."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import t as student

from bayescg.predict.discrepancy import Joint, joint_errors, misfit, truth

DISCREPANCIES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 15.0)
GAPS = np.linspace(
    -8.0, 30.0, 153
)  # between the average and the prediction, in its standard errors
MANY = 10_001  # frames, so that the errors are known


def coverage(own: float) -> tuple[np.ndarray, np.ndarray]:
    """Of 90 % intervals, and their widths relative to the data's, for each of ``DISCREPANCIES``.

    :param own: the prediction's standard error over that of the average; the prediction is efficient, so it is
        their covariance, too.
    """
    one = np.ones_like(GAPS)
    joint = Joint(0.0 * one, GAPS, own**2 * one, one, own**2 * one, MANY)
    low, high = np.quantile(truth(joint, 400).draws, [0.05, 0.95], axis=0)
    held, width = [], []
    for delta in DISCREPANCIES:
        # The average less the prediction is delta + N(0, 1 - own^2), whatever error both share.
        p = np.exp(-0.5 * (GAPS - delta) ** 2 / (1.0 - own**2))
        p /= p.sum()
        held.append(p @ (ndtr((high - delta) / own) - ndtr((low - delta) / own)))
        width.append(p @ (high - low) / 3.29)
    return np.array(held), np.array(width)


@pytest.mark.parametrize("own", [0.3, 0.7])
def test_coverage_holds_at_every_size_of_the_discrepancy(own: float) -> None:
    """Between 85 and 97 % for a nominal 90, without noise: an integral over all data."""
    held, width = coverage(own)
    assert (held > 0.855).all() and (held < 0.95).all()
    np.testing.assert_allclose(held[-1], 0.9, atol=0.006)  # the data's own interval
    np.testing.assert_allclose(width[-1], 1.0, atol=0.015)
    assert width[0] < 0.95  # a model that is right makes the interval narrower


def test_within_model_intervals_do_not_cover() -> None:
    """What the other test would look like for the model's own interval: it can fail."""
    own, delta = 0.3, 1.0
    held = ndtr((1.645 * own - delta) / own) - ndtr((-1.645 * own - delta) / own)
    assert held < 0.1


def test_a_model_far_off_leaves_student_s_interval() -> None:
    """Of the average alone, with N - 1 degrees of freedom."""
    frames = 12
    joint = Joint(*(np.array([v]) for v in (0.0, 5000.0, 0.01, 1.0, 0.0)), frames)
    found = truth(joint, 2000)
    edges = np.quantile(found.draws[:, 0], [0.05, 0.25, 0.5, 0.75, 0.95])
    exact = 5000.0 + student.ppf([0.05, 0.25, 0.5, 0.75, 0.95], frames - 1)
    np.testing.assert_allclose(edges, exact, atol=0.05)  # seven points of the scale
    assert found.weight[0] > 0.99


def test_errors_of_a_conjugate_model_are_exact() -> None:
    """A normal mean under a flat prior is the data's average: nothing is between the two but draws."""
    rng = np.random.default_rng(4)
    n, count = 25, 40_000
    x = rng.normal(1.0, 2.0, n)
    theta = x.mean() + 2.0 / np.sqrt(n) * rng.normal(size=count)
    log_p = -0.5 * ((x - theta[:, None]) / 2.0) ** 2
    joint = joint_errors(theta[:, None], x[:, None], log_p)
    # Influence of frame i is (x_i - mean) / n; its Monte Carlo error is 1 / sqrt(count), 0.5 %.
    np.testing.assert_allclose(joint.covariance, joint.data_variance, rtol=0.03)
    assert joint.data_variance[0] == pytest.approx(x.var(ddof=1) / n, rel=1e-12)
    assert abs(joint.z[0]) < 1.0


def test_influence_is_what_a_refit_gives() -> None:
    """Conjugate, under a prior that holds: the mean's slope in a frame's weight, by refitting."""
    rng = np.random.default_rng(5)
    n, count, prior, noise = 10, 400_000, 0.5, 1.0

    def posterior(w: np.ndarray) -> tuple[float, float]:
        precision = w.sum() / noise**2 + 1.0 / prior**2
        return float(w @ x / noise**2 / precision), float(precision**-0.5)

    x = rng.normal(0.7, noise, n)
    mean, sd = posterior(np.ones(n))
    theta = mean + sd * rng.normal(size=count)
    log_p = -0.5 * ((x - theta[:, None]) / noise) ** 2
    joint = joint_errors(theta[:, None], x[:, None], log_p)
    step = 1e-5
    slope = np.array([(posterior(np.ones(n) + step * e)[0] - mean) / step for e in np.eye(n)])
    slope -= slope.mean()
    expected = n / (n - 1.0) * np.sum(slope * (x - x.mean()) / n)
    np.testing.assert_allclose(joint.covariance[0], expected, rtol=0.02)  # of 400,000 draws


def test_frames_that_all_agree_leave_the_model_s_interval() -> None:
    """All spins up in every frame: their average's error is not known, and nothing is blamed."""
    rng = np.random.default_rng(9)
    draws = 0.998 + 5e-4 * rng.normal(size=(200, 1))
    joint = joint_errors(draws, np.ones((20, 1)), rng.normal(size=(200, 20)))
    found = truth(joint, 200)
    np.testing.assert_allclose(found.draws.std(), joint.model_variance[0] ** 0.5, rtol=0.15)
    np.testing.assert_allclose(found.draws.mean(), draws.mean(), atol=1e-5)
    assert np.isnan(found.weight[0]) and np.isnan(joint.z[0])
    assert np.isnan(misfit(joint, rng))


def test_a_value_that_few_frames_have_blames_nobody() -> None:
    """Three of twenty frames have a pair in a bin: no test, by itself or beside others."""
    rng = np.random.default_rng(10)
    frames = np.zeros((20, 2))
    frames[:3, 0] = 1.0
    frames[:, 1] = rng.normal(size=20)
    joint = joint_errors(0.9 + 0.01 * rng.normal(size=(100, 2)), frames, rng.normal(size=(100, 20)))
    assert np.isnan(joint.z[0]) and np.isfinite(joint.z[1])


def test_draws_without_a_likelihood_are_left_out() -> None:
    rng = np.random.default_rng(11)
    draws, frames = rng.normal(size=(60, 3)), rng.normal(size=(20, 3))
    likelihood = rng.normal(size=(60, 20))
    likelihood[7, 3] = -np.inf
    joint = joint_errors(draws, frames, likelihood)
    assert np.isfinite(joint.covariance).all() and np.isfinite(misfit(joint, rng))


def test_noise_that_all_draws_share_is_not_taken_off() -> None:
    """Pooled samples: all draws are off by the same, which their spread does not show."""
    rng = np.random.default_rng(12)
    draws, frames = 0.1 * rng.normal(size=(100, 1)), rng.normal(size=(20, 1))
    own, common = (joint_errors(draws, frames, None, noise=0.04, common_noise=c) for c in (0, 1))
    assert own.model_variance < draws.var(0, ddof=1) < common.model_variance - 0.04 + 1e-9


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two draws and two frames, got 1 and 5"):
        joint_errors(np.ones((1, 2)), np.ones((5, 2)), None)


def test_without_likelihoods_the_better_s_variance_is_shared() -> None:
    """Hausman: what an efficient estimate and another share."""
    rng = np.random.default_rng(6)
    joint = joint_errors(0.1 * rng.normal(size=(500, 1)), rng.normal(size=(40, 1)), None)
    assert joint.covariance[0] == joint.model_variance[0] < joint.data_variance[0]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_right_model_is_rarely_blamed_where_sharing_is_assumed(part: float) -> None:
    """An efficient prediction of 40 values, none of whose shared errors are known: at most 2 % where 1 % is meant.

    400 data sets: more than 18 at 2 % are rarer than 5e-4.
    """
    rng = np.random.default_rng(13)
    blamed = 0
    for _ in range(400):
        frames = rng.normal(size=(20, 40))
        # Of errors whose variance is a part of the average's, and which it shares.
        model = part * frames.mean(0) + np.sqrt(part * (1 - part) / 20) * rng.normal(size=40)
        draws = model + np.sqrt(part / 20) * rng.normal(size=(60, 40))
        blamed += misfit(joint_errors(draws, frames, None), rng) < 0.01
    assert blamed <= 18


def joint_of(rng: np.random.Generator, shift: float, n: int = 20, values: int = 12) -> Joint:
    """A conjugate model: one mean for all values, whose frames are correlated, and true where ``shift`` is 0.

    Value k of a frame is theta + shift_k + noise; the model has theta ~ N(0, 1) and no shifts, and predicts theta for
    every value. So prediction and averages share much.
    """
    mix = np.eye(values) + 0.5 * np.ones((values, values)) / values
    frames = rng.normal(size=(n, values)) @ mix + shift * np.resize([1.0, -1.0], values)
    inverse = np.linalg.inv(mix @ mix.T)
    one = inverse.sum()
    precision = n * one + 1.0
    mean = (frames @ inverse).sum() / precision
    theta = mean + precision**-0.5 * rng.normal(size=400)
    gaps = frames[None] - theta[:, None, None]
    log_p = -0.5 * np.einsum("dnk,kl,dnl->dn", gaps, inverse, gaps)
    return joint_errors(np.repeat(theta[:, None], values, 1), frames, log_p)


def test_misfit_has_the_level_it_says() -> None:
    """p-values of a right model are uniform: 600 data sets, each share within four of its standard errors.

    Three shares: a false failure is rarer than 2e-4.
    """
    rng = np.random.default_rng(7)
    p = np.array([misfit(joint_of(rng, 0.0), rng) for _ in range(600)])
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1.0 - level) / len(p))
        assert abs(np.mean(p <= level) - level) < 4.0 * error + 1.0 / 4000


def test_misfit_is_resolved_where_many_are_tested() -> None:
    """41 members: a plain failure has a p below 0.01 / 41, and so have few frames, by Student's t."""
    rng = np.random.default_rng(14)
    level = 0.01 / 41
    assert misfit(joint_of(rng, 3.0), rng, level) < level
    assert misfit(joint_of(rng, 60.0, n=6), rng, level) < level


def test_misfit_sees_what_no_single_value_shows() -> None:
    """All values off by less than a standard error and a half, together plainly so."""
    rng = np.random.default_rng(8)
    joints = [joint_of(rng, 0.6, n=16, values=40) for _ in range(20)]
    p = np.array([misfit(j, rng) for j in joints])
    bound = np.array([misfit(j._replace(by_frame=None), rng) for j in joints])
    assert np.median(p) < 0.01 and np.median(p) < np.median(bound)
