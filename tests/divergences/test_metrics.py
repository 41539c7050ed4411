"""Metrics between normals in one dimension, on a fine grid with weights, against closed forms."""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from scipy.special import erf

from bayescg.critics import Labelled, Logistic, labelled
from bayescg.divergences import (
    DIVERGENCES,
    Judgement,
    KernelDivergence,
    Penalised,
    energy_distance,
    mmd,
    relative_entropy,
    sobolev,
    wasserstein,
)

KEY = jax.random.key(1)
GRID = np.linspace(-6.0, 7.0, 131)
SD = 1.0
APART = 1.0  # the model's mean, less the data's
#: As many searches as the default's first and three more.
CALLS = 13


def normal(mean: float) -> np.ndarray:
    weight = np.exp(-0.5 * ((GRID - mean) / SD) ** 2)
    return weight / weight.sum()


def shifted(apart: float = APART) -> Labelled:
    """A model to the right of the data."""
    return labelled(GRID[:, None], GRID[:, None], normal(apart), normal(0.0))


def folded(mean: float, sd: float) -> float:
    """The mean of the absolute value of a normal variable."""
    spread = sd * np.sqrt(2.0 / np.pi) * np.exp(-0.5 * (mean / sd) ** 2)
    return float(spread + mean * erf(mean / (sd * np.sqrt(2.0))))


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
def test_energy_distance_of_two_normals(apart: float) -> None:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|; the kinks of the grid cost a few parts in a thousand."""
    _, said = energy_distance(KEY, None, shifted(apart))
    both = np.sqrt(2.0) * SD
    exact = 2.0 * (folded(apart, both) - folded(0.0, both))
    np.testing.assert_allclose(said.value, exact, rtol=5e-3, atol=1e-14)


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
def test_mmd_of_two_normals(apart: float) -> None:
    """The mean of a Gaussian kernel over a normal difference is a Gaussian of more variance."""
    _, said = mmd(KEY, None, shifted(apart))
    median = np.median(np.abs(GRID[:, None] - GRID))
    width2 = (np.array([0.5, 1.0, 2.0]) * median) ** 2
    total = width2 + 2.0 * SD**2
    exact = 2.0 * np.sum(np.sqrt(width2 / total) * (1.0 - np.exp(-0.5 * apart**2 / total)))
    np.testing.assert_allclose(said.value, exact, rtol=1e-6, atol=1e-14)


def test_kernels_count_pairs_of_a_sample_with_itself() -> None:
    """Of n samples of one distribution the value is about 1/n of the mean kernel, not 0.

    By the samples' spread over 200 repetitions, to 4.4 standard errors: fails falsely once in 1e5.
    """
    rng, n = np.random.default_rng(0), 20
    found = [
        energy_distance(KEY, None, labelled(*rng.normal(size=(2, n, 1))))[1].value
        for _ in range(200)
    ]
    exact = 2.0 * folded(0.0, np.sqrt(2.0)) / n
    assert abs(np.mean(found) - exact) < 4.4 * np.std(found, ddof=1) / np.sqrt(200)
    assert min(found) >= 0.0


WASSERSTEIN, SOBOLEV = replace(wasserstein, first=1), replace(sobolev, first=1)


@cache
def searched(metric: Penalised, apart: float = APART, calls: int = CALLS) -> Judgement:
    """What a few searches find, one after the other."""
    judge, samples = metric.by(), shifted(apart)
    state = judge.start(KEY, 1)
    for call in range(calls):
        state, said = judge(jax.random.fold_in(KEY, call), state, samples)
    return said


@pytest.mark.slow
def test_wasserstein_of_two_normals_is_their_shift() -> None:
    """A finite penalty lets the slope be above 1: in one dimension by 1/20 for each unit of shift."""
    np.testing.assert_allclose(searched(WASSERSTEIN).value, APART, rtol=0.1)


@pytest.mark.parametrize("apart", [0.5, 1.0])
def test_sobolev_is_a_weighted_distance_of_cumulative_distributions(apart: float) -> None:
    """The root of int (F_mod - F_ref)^2 / mu dx (Mroueh et al., 2018)."""
    p, q = normal(apart), normal(0.0)
    step = GRID[1] - GRID[0]
    off = np.cumsum(p - q) - 0.5 * (p - q)  # in the middle of each interval
    exact = np.sqrt(np.sum(off**2 / (0.5 * (p + q) / step)) * step)
    np.testing.assert_allclose(searched(SOBOLEV, apart).value, exact, rtol=0.1)


@pytest.mark.parametrize(
    "judge", [WASSERSTEIN, SOBOLEV, energy_distance, mmd], ids=lambda judge: judge.name
)
def test_witnesses_are_higher_where_the_model_is(judge: Penalised) -> None:
    """They rise where both are, so the model moves left; a threshold tells most points apart."""
    said = searched(judge) if isinstance(judge, Penalised) else judge(KEY, None, shifted())[1]
    met = (GRID > -2.0 * SD) & (GRID < APART + 2.0 * SD)
    assert np.all(np.diff(said.witness[met]) > 0.0)
    assert said.witness @ normal(APART) > said.witness @ normal(0.0)
    # The best threshold is halfway between the means: right with probability Phi(APART / 2).
    best = 0.5 * (1.0 + erf(0.5 * APART / np.sqrt(2.0)))
    assert best - 0.03 < said.accuracy < best + 0.01
    assert said.logit is None


def test_a_search_goes_on_where_the_last_one_ended() -> None:
    """A first search of two and then one are three, Adam's memory included: nothing is drawn here."""
    long = replace(sobolev, first=2)
    for calls, pieces in ((1, 2), (2, 3)):
        one, other = searched(long, calls=calls), searched(SOBOLEV, calls=pieces)
        np.testing.assert_allclose(one.witness, other.witness, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-9)
    assert searched(SOBOLEV, calls=1).loss > searched(SOBOLEV, calls=3).loss + 0.001


def test_searches_are_those_of_their_keys() -> None:
    """Wasserstein's penalty is at random places, so that another key ends elsewhere, not far off."""
    start, samples = WASSERSTEIN.start(KEY, 1), shifted()
    once, again, other = (
        WASSERSTEIN(jax.random.key(k), start, samples)[1].witness for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert 0.0 < np.abs(once - other).max() < 0.5


def test_only_classification_asks_for_a_critic() -> None:
    critical = {name for name, d in DIVERGENCES.items() if d.critical}
    assert critical == {
        "relative_entropy", "hellinger", "bhattacharyya", "squared", "jensen_shannon"
    }  # fmt: skip
    assert all(name == d.name for name, d in DIVERGENCES.items())
    for name in set(DIVERGENCES) - critical:
        assert DIVERGENCES[name].by(Logistic(), 2) is DIVERGENCES[name]
    with pytest.raises(ValueError, match=r"folds must be at least 1, got 0\."):
        relative_entropy.by(Logistic(), 0)


@pytest.mark.parametrize("seed", range(4))
def test_wasserstein_finds_its_sign_from_any_first_network(seed: int) -> None:
    """A penalty on slopes below 1, too, holds a witness that slopes the wrong way where it is."""
    key, samples = jax.random.key(seed), shifted()
    state = WASSERSTEIN.start(key, 1)
    for call in range(CALLS):
        state, said = WASSERSTEIN(jax.random.fold_in(key, call), state, samples)
    np.testing.assert_allclose(said.value, APART, rtol=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_sobolev_finds_its_sign_from_any_first_network(seed: int) -> None:
    """Of two normals 0.1 apart, 0.100 by quadrature; a constraint held from both sides left seed 2 at -0.08."""
    key, samples = jax.random.key(seed), shifted(0.1)
    state = SOBOLEV.start(key, 1)
    for call in range(CALLS):
        state, said = SOBOLEV(jax.random.fold_in(key, call), state, samples)
    assert 0.07 < said.value < 0.11


@pytest.mark.parametrize("judge", [mmd, energy_distance], ids=lambda judge: judge.name)
def test_an_accuracy_is_not_a_configuration_s_own(judge: KernelDivergence) -> None:
    """Of two samples of one distribution half are guessed right: 200 guesses, five standard errors."""
    rng = np.random.default_rng(0)
    _, said = judge(KEY, None, labelled(rng.normal(size=(100, 50)), rng.normal(size=(100, 50))))
    assert abs(said.accuracy - 0.5) < 5.0 * 0.5 / np.sqrt(200)
