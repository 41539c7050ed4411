"""What a linear critic sees of the information about parameters."""

import numpy as np

from bayescg.infer.curvature import LEAST_SEEN, Curvature, guess, held_out

RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(4000, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.3]])
WEIGHT = np.full(len(SCORES), 1.0 / len(SCORES))
PART = np.arange(len(SCORES)) % 2 == 0


def seen(features: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    return held_out(SCORES, features, ridge, WEIGHT, PART).curvature


def test_features_that_hold_the_scores_make_it_the_information() -> None:
    """To the 2 % by which variances of half the samples differ, times three."""
    mix = RNG.normal(size=(3, 3))
    whole = np.cov(SCORES.T, bias=True)
    np.testing.assert_allclose(seen(SCORES @ mix + 7.0), whole, atol=0.06)
    np.testing.assert_allclose(Curvature(0.9).after(SCORES).information, whole, rtol=1e-9)
    # The best guess of the scores is then exact.
    np.testing.assert_allclose(
        guess(SCORES, SCORES @ mix, 0.0, WEIGHT) @ mix.T, np.eye(3), atol=1e-9
    )


def test_what_no_feature_sees_is_not_in_it() -> None:
    """One score and noise: the information in the direction of that score alone, and the least that is believed."""
    features = np.column_stack([SCORES[:, 0], RNG.normal(size=4000)])
    whole = np.cov(SCORES.T, bias=True)
    expected = np.outer(whole[0], whole[0]) / whole[0, 0]
    np.testing.assert_allclose(seen(features), expected, atol=0.06)
    known = held_out(SCORES, features, 0.0, WEIGHT, PART)
    np.testing.assert_allclose(known.root @ known.root.T, whole, rtol=1e-9)
    np.testing.assert_allclose(np.sort(known.share), [LEAST_SEEN, LEAST_SEEN, 1.0], atol=0.02)


def test_many_features_of_few_samples_do_not_see_what_they_do_not_know() -> None:
    """Sixty of noise and a hundred samples: fitted to themselves they see most of every score."""
    few, noise = SCORES[:100], RNG.normal(size=(100, 60))
    weight = np.full(100, 0.01)
    own = guess(few, noise, 0.0, weight) @ (noise - noise.mean(0)).T @ few / 100
    assert np.all(np.diag(own) > 0.4 * few.var(0))
    assert np.all(held_out(few, noise, 0.1, weight, PART[:100]).share < 0.2)


def test_a_ridge_holds_the_critic_back() -> None:
    none, once, twice = (np.linalg.eigvalsh(seen(SCORES, r)).sum() for r in (0.0, 1.0, 10.0))
    assert none > 1.5 * once > 1.5 * twice


def test_weights_count_samples() -> None:
    """A sample of twice the weight is two."""
    counts = RNG.integers(0, 3, len(SCORES))
    repeated, part = np.repeat(SCORES, counts, axis=0), np.repeat(PART, counts)
    equal = np.full(len(repeated), 1.0 / len(repeated))
    one = held_out(SCORES, SCORES[:, :2], 0.5, counts / counts.sum(), PART)
    other = held_out(repeated, repeated[:, :2], 0.5, equal, part)
    np.testing.assert_allclose(one.curvature, other.curvature, rtol=1e-9)


def test_iterations_are_averaged() -> None:
    """Equal ones change nothing; the weights of others fall by what is remembered."""
    one = Curvature(0.8).after(SCORES)
    np.testing.assert_allclose(one.after(SCORES).information, one.information, rtol=1e-9)
    two = one.after(2.0 * SCORES).information
    share = 0.2 / (0.2 + 0.8 * 0.2)
    np.testing.assert_allclose(two / one.information, (1 - share) + share * 4.0, rtol=1e-9)
