"""Critics and the noise that is put on what they see."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from bayescg.critics import (
    LOG_LOSS,
    Annealing,
    Critic,
    Labelled,
    Logistic,
    Noise,
    Perceptron,
    accuracy,
    labelled,
    logistic,
    noisy,
    shared,
    whitened,
)
from bayescg.divergences import jensen_shannon
from tests.statistical import check_mean, check_variance, check_z

KEY = jax.random.key(0)
RNG = np.random.default_rng


def some(samples: int = 40, frames: int = 30, features: int = 3) -> Labelled:
    """Two samples with random weights."""
    rng = RNG(0)
    return labelled(
        rng.normal(size=(samples, features)),
        rng.normal(1.0, 2.0, size=(frames, features)),
        rng.uniform(size=samples),
        rng.uniform(size=frames),
    )


# --- samples and scores ----------------------------------------------------------------------


def test_weights_are_equal_unless_given_and_add_up_to_one() -> None:
    found = labelled(np.zeros((4, 2)), np.zeros((2, 2)), reference_weight=np.array([1, 3]))
    np.testing.assert_array_equal(found.model_weight, 0.25)
    np.testing.assert_array_equal(found.reference_weight, [0.25, 0.75])
    assert found.features == 2 and found.model.dtype == float


@pytest.mark.parametrize(
    ("model", "reference", "message"),
    [
        ((4, 2), (4, 3), r"shapes \(4, 2\) and \(4, 3\); allowed are \(sample, feature\)"),
        ((4,), (4,), r"shapes \(4,\) and \(4,\)"),
        ((4, 2), (4, 2, 1), r"shapes \(4, 2\) and \(4, 2, 1\)"),
        ((0, 2), (4, 2), "a critic needs configurations of both model and reference"),
        ((4, 2), (0, 2), "a critic needs configurations of both model and reference"),
    ],
)
def test_samples_that_do_not_go_together(
    model: tuple[int, ...], reference: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        labelled(np.zeros(model), np.zeros(reference))


def test_accuracy_weighs_labels_equally_and_halves_ties() -> None:
    samples = labelled(
        np.zeros((3, 1)), np.zeros((2, 1)), np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.1])
    )
    model, reference = np.array([-1.0, 0.0, 2.0]), np.array([3.0, -1e-9])
    found = accuracy(model, reference, samples)
    np.testing.assert_allclose(found, 0.5 * (0.5 + 0.5 * 0.3) + 0.5 * 0.9)
    assert accuracy(np.full(3, -1.0), np.ones(2), samples) == 1.0
    np.testing.assert_allclose(accuracy(np.ones(3), np.full(2, -1.0), samples), 0.0, atol=1e-15)
    np.testing.assert_allclose(accuracy(np.zeros(3), np.zeros(2), samples), 0.5)
    # Many frames of one label do not outvote the few of the other.
    many = labelled(np.zeros((99, 1)), np.zeros((1, 1)))
    np.testing.assert_allclose(accuracy(np.full(99, -1.0), np.full(1, -1.0), many), 0.5)


# --- noise -----------------------------------------------------------------------------------


def test_whitened_features_have_mean_0_and_variance_1_over_both() -> None:
    """Each label counts one half, whatever its number of samples; what does not vary is zero."""
    samples = some()
    constant = np.full((1, 1), 1e8 / 3.0)
    samples = samples._replace(
        model=np.hstack([samples.model, constant.repeat(40, 0)]) + 5.0,
        reference=np.hstack([samples.reference, constant.repeat(30, 0)]) + 5.0,
    )
    white = whitened(samples)
    mean = 0.5 * (white.model_weight @ white.model + white.reference_weight @ white.reference)
    square = 0.5 * (
        white.model_weight @ white.model**2 + white.reference_weight @ white.reference**2
    )
    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(square, [1.0, 1.0, 1.0, 0.0], rtol=1e-12)
    np.testing.assert_array_equal(white.model[:, 3], 0.0)
    np.testing.assert_array_equal(white.reference[:, 3], 0.0)
    np.testing.assert_array_equal(white.model_weight, samples.model_weight)
    # By one and the same straight line of both.
    scale = (white.model[1] - white.model[0])[:3] / (samples.model[1] - samples.model[0])[:3]
    apart = samples.reference[0] - samples.model[0]
    np.testing.assert_allclose((white.reference[0] - white.model[0])[:3], scale * apart[:3])


def test_noise_adds_its_variance_to_both() -> None:
    """Each check fails falsely once in 1e5 keys."""
    samples, sd = some(4000, 3000, 2), 1.7
    loud = noisy(KEY, samples, sd)
    added = [loud.model - samples.model, loud.reference - samples.reference]
    for noise in added:
        check_mean(noise, np.zeros(2))
        check_variance(noise, sd**2)
    # Of other samples and features it is other noise.
    check_mean(added[0][:, 0] * added[0][:, 1], 0.0)
    check_mean(added[0][:3000] * added[1], np.zeros(2))
    np.testing.assert_array_equal(loud.model_weight, samples.model_weight)


def test_no_noise_changes_nothing() -> None:
    samples = some()
    assert noisy(KEY, samples, 0.0) is samples


def test_noise_decays_while_the_critic_errs() -> None:
    rule = Annealing(decay=0.9, accuracy=0.8, patience=3, least=0.1)
    noise = Noise(1.0)
    variances = []
    for right in (0.7, 0.7, 0.9, 0.7, 0.7, 0.7, 0.7, 0.8, 0.7, 0.7, 0.7):
        noise = rule.after(noise, right)
        variances.append(noise.variance)
    # Only after three in a row; the third and the eighth, at or above 0.8, begin the count anew.
    np.testing.assert_allclose(variances, [1.0] * 5 + [0.9] * 5 + [0.81])
    assert noise.sd == np.sqrt(noise.variance)


def test_the_last_of_the_noise_goes_all_at_once() -> None:
    rule = Annealing(decay=0.5, least=0.1)
    noise = Noise(0.01 / 0.5 * 1.0001)
    noise = rule.after(noise, 0.6)
    np.testing.assert_allclose(noise.sd, 0.1, rtol=1e-3)
    noise = rule.after(noise, 0.6)
    assert noise.variance == 0.0 and noise.sd == 0.0
    assert rule.after(noise, 0.99) == rule.after(noise, 0.6) == noise  # and does not come back


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, "decay must lie between 0 and 1"),
        ({"decay": 0.0}, "decay must lie between 0 and 1"),
        ({"accuracy": 0.5}, "accuracy between 0.5 and 1"),
        ({"accuracy": 1.0}, "accuracy between 0.5 and 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"least": 0.0}, "least be positive"),
        ({"decay": float("nan")}, "decay must lie between 0 and 1"),
    ],
)
def test_annealing_that_would_never_end(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Annealing(**options)  # type: ignore[arg-type]


# --- critics ---------------------------------------------------------------------------------


SMALL = Perceptron((16,), steps=50, rate=0.02)


def disc_and_ring(seed: int, count: int = 300) -> Labelled:
    """The model's points in a disc of radius 1, the data's in a ring around it, of 1.3 to 2."""
    rng = RNG(seed)

    def points(low: float, high: float) -> np.ndarray:
        r, angle = rng.uniform(low, high, count), rng.uniform(0.0, 2.0 * np.pi, count)
        return np.stack([r * np.cos(angle), r * np.sin(angle)], 1)

    return labelled(points(0.0, 1.0), points(1.3, 2.0))


def fitted(critic: Critic, train: Labelled, test: Labelled, fits: int = 1) -> float:
    """Accuracy on samples that it has not seen."""
    params = critic.start(KEY, train.features)
    for _ in range(fits):
        params, _ = critic.fit(KEY, params, train, LOG_LOSS)
    return accuracy(critic.logit(params, test.model), critic.logit(params, test.reference), test)


def test_a_perceptron_learns_what_no_straight_line_can() -> None:
    """A line through the middle is right of half the points; on their squares it is right of all."""
    train, test = disc_and_ring(0), disc_and_ring(1)
    assert fitted(SMALL, train, test, fits=8) > 0.97
    assert fitted(logistic(), train, test) < 0.75
    squares = [s._replace(model=s.model**2, reference=s.reference**2) for s in (train, test)]
    assert fitted(logistic(), *squares) > 0.97


def test_critics_lose_less_than_a_guess_that_cannot_tell() -> None:
    """The loss told is that of the fit: below log 2, and the mean of the losses of its logits."""
    samples = disc_and_ring(0)
    critic = Logistic(penalty=0.0)
    params, loss = critic.fit(KEY, critic.start(KEY, 2), samples, LOG_LOSS)
    by_hand = 0.5 * np.mean(np.log1p(np.exp(critic.logit(params, samples.model))))
    by_hand += 0.5 * np.mean(np.log1p(np.exp(-critic.logit(params, samples.reference))))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-12)
    assert loss < np.log(2.0)
    start = SMALL.start(KEY, 2)
    first, second = start, SMALL.fit(KEY, start, samples, LOG_LOSS)[0]
    losses = [SMALL.fit(KEY, params, samples, LOG_LOSS)[1] for params in (first, second)]
    assert losses[1] < losses[0] < np.log(2.0)


def test_a_penalty_and_few_iterations_keep_a_logit_small() -> None:
    """Of labels that a line tells apart the best logit has no bound (ARCG paper, Section III)."""
    samples = labelled(np.array([[-1.0], [-2.0]]), np.array([[1.0], [2.0]]))

    def size(critic: Logistic) -> float:
        params, _ = critic.fit(KEY, critic.start(KEY, 1), samples, LOG_LOSS)
        return float(np.abs(critic.logit(params, samples.model)).max())

    assert size(logistic(penalty=0.1)) < size(logistic(penalty=1e-3)) < size(logistic(penalty=1e-6))
    assert size(logistic(penalty=1e-6, iterations=1)) < 0.5 * size(logistic(penalty=1e-6))


@pytest.mark.parametrize("critic", [logistic(), SMALL], ids=["line", "network"])
def test_weights_of_samples_are_repetitions(critic: Critic) -> None:
    """One sample twice is one of twice the weight; of no weight it is as good as absent."""
    x, y = disc_and_ring(0, 150).model, disc_and_ring(0).reference
    once, again = np.ones(150), RNG(2).integers(0, 2, size=150)
    start = critic.start(KEY, 2)

    def logits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        samples = labelled(np.concatenate([x, x]), y, np.concatenate([first, second]))
        return critic.logit(critic.fit(KEY, start, samples, LOG_LOSS)[0], y)

    twice = logits(once, again)
    np.testing.assert_allclose(logits(once + again, 0.0 * once), twice, rtol=1e-5, atol=1e-7)
    assert np.abs(logits(once, 0.0 * once) - twice).max() > 1e-3


def test_a_perceptron_goes_on_where_it_was() -> None:
    """Two fits of 50 steps are one of 100, Adam's memory included."""
    samples, whole = disc_and_ring(0), replace(SMALL, steps=100)
    params = SMALL.start(KEY, 2)
    for _ in range(2):
        params, _ = SMALL.fit(KEY, params, samples, LOG_LOSS)
    once, _ = whole.fit(KEY, whole.start(KEY, 2), samples, LOG_LOSS)
    np.testing.assert_allclose(
        SMALL.logit(params, samples.model), whole.logit(once, samples.model), rtol=1e-9
    )


def test_logistic_regression_begins_anew() -> None:
    samples, critic = disc_and_ring(0), logistic(iterations=2)
    first, _ = critic.fit(KEY, critic.start(KEY, 2), samples, LOG_LOSS)
    np.testing.assert_array_equal(critic.fit(KEY, first, samples, LOG_LOSS)[0], first)
    more, _ = logistic().fit(KEY, first, samples, LOG_LOSS)
    assert np.abs(more - first).max() > 1e-4


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (Logistic, {"penalty": -1.0}, "penalty must not be negative"),
        (Logistic, {"penalty": float("nan")}, "penalty must not be negative"),
        (Logistic, {"iterations": 0}, "iterations be at least 1"),
        (Perceptron, {"hidden": ()}, "hidden must name widths of at least 1"),
        (Perceptron, {"hidden": (5, 0)}, "hidden must name widths of at least 1"),
        (Perceptron, {"steps": 0}, "steps be at least 1"),
        (Perceptron, {"rate": 0.0}, "rate must be positive"),
        (Perceptron, {"penalty": -1.0}, "penalty not be negative"),
    ],
)
def test_options_of_critics(make: type, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


# --- folds -----------------------------------------------------------------------------------


def test_a_critic_of_many_features_believes_what_it_was_fitted_to() -> None:
    """Two samples of one distribution, of more features than samples.

    Judged by what was fitted to other samples, each is right with probability 1/2, as often as a
    coin. The two halves are judged by each other, so their errors may go together: the error is at
    most that of one half. Fails falsely once in 1e5 keys.
    """
    rng, count = RNG(0), 200
    samples = labelled(*rng.normal(size=(2, count, 2 * count)))

    def judged(folds: int) -> tuple[float, float]:
        judge = jensen_shannon.by(logistic(), folds)
        said = judge(KEY, judge.start(KEY, samples.features), samples)[1]
        return said.accuracy, said.value

    sharp, honest = judged(1), judged(2)
    assert sharp[0] > 0.99 and sharp[1] > 0.5
    check_z(honest[0], 0.5, 0.5 / np.sqrt(count))
    assert honest[1] < 0.0  # a guess from nothing costs more than no guess


def test_each_part_is_judged_by_what_was_fitted_to_the_others() -> None:
    """Parts are neighbours; weights count in the fits. Between parts the mean is that of all, within them the fit's."""
    samples, folds = some(12, 6, 2), 3
    critic = logistic()
    judge = jensen_shannon.by(critic, folds)
    state, said = judge(KEY, judge.start(KEY, 2), samples)
    assert len(state) == folds and said.logit is not None
    ours, theirs = (np.arange(n) * folds // n for n in (12, 6))
    for k in range(folds):
        a, b = ours != k, theirs != k
        rest = labelled(
            samples.model[a],
            samples.reference[b],
            samples.model_weight[a],
            samples.reference_weight[b],
        )
        params, _ = critic.fit(KEY, critic.start(KEY, 2), rest, LOG_LOSS)
        own, weight = critic.logit(params, samples.model[~a]), samples.model_weight[~a]
        whole = samples.model_weight @ said.logit
        level = own - np.average(own, weights=weight) + whole
        np.testing.assert_allclose(said.logit[~a], level)


@pytest.mark.parametrize("weight", [[1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
def test_weights_that_are_none_are_refused(weight: list[float]) -> None:
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="one number for each of 3"):
        labelled(x, x, np.array(weight))


def test_folds_need_as_many_configurations() -> None:
    samples = labelled(np.zeros((40, 1)), np.ones((1, 1)))
    judge = jensen_shannon.by(logistic(), 2)
    with pytest.raises(ValueError, match="fewer folds"):
        judge(jax.random.key(0), judge.start(jax.random.key(0), 1), samples)


def test_shared_noise_moves_all_samples_alike() -> None:
    """The average over copies differs from sample to sample by what they are alone."""
    x = np.random.default_rng(0).normal(size=(5, 3))
    copies = shared(jax.random.key(0), x, 0.7, 400)
    assert copies.shape == (400, 5, 3)
    moved = copies - x
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape), atol=1e-12)
    # A standard deviation of 1200 draws is known to 2 %; five of its standard errors.
    assert abs(moved[:, 0].std() / 0.7 - 1.0) < 5.0 / np.sqrt(2.0 * 1200)
    np.testing.assert_array_equal(shared(jax.random.key(0), x, 0.0, 400), x[None])
