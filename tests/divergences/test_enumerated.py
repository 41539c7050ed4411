"""Divergences and their slopes on eight coarse spins, with all 256 states in place of samples.

With the best critic and the probabilities of the states as weights nothing is estimated: values are those of
closed forms, and slopes are their derivatives as JAX takes them, to round-off.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.critics import LOG_LOSS, Labelled, Logistic, labelled, whitened
from bayescg.divergences import (
    FDivergence,
    Judgement,
    KernelDivergence,
    bhattacharyya,
    energy_distance,
    hellinger,
    jensen_shannon,
    mmd,
    relative_entropy,
    squared,
)
from bayescg.infer.adversarial import slope_of
from bayescg.potentials import SpinBasis, pair_features
from tests import brute_force
from tests.systems import BETA, SITES, potential

STATES = brute_force.spins(SITES).astype(float)
BASIS = SpinBasis(SITES, tuple(pair_features([1, 2])))
PHI = brute_force.statistics(potential(BASIS))  # (state, term): field and two pairs
KEPT = STATES[:, ::2]  # what a map G leaves of them
MARGINAL = np.eye(16)[:, brute_force.codes(KEPT)]  # (kept state, state), of 0 and 1
U = jnp.array([0.2, -0.3])  # the model's parameters
KEY = jax.random.key(0)


def natural(u: Array) -> Array:
    """Three natural parameters of two, by a map that is no straight line."""
    return jnp.stack([jnp.sinh(u[0]), u[1], 0.4 * u[0] * u[1] + 0.1])


def model(u: Array) -> Array:
    return jax.nn.softmax(BETA * (jnp.asarray(PHI) @ natural(u)))


P = np.asarray(model(U))
JACOBIAN = np.asarray(jax.jacfwd(natural)(U))
#: Of the model's exponential family, and with triples, which it has not.
INSIDE = brute_force.weights(BETA * PHI @ [-0.1, 0.25, 0.2])
OUTSIDE = brute_force.weights(-BETA * brute_force.energies(potential(scale=0.2, seed=3)))

CLOSED: dict[str, Callable[[Array, Array], Array]] = {
    "relative_entropy": lambda p, q: jnp.sum(q * jnp.log(q / p)),
    "hellinger": lambda p, q: jnp.sum((jnp.sqrt(p) - jnp.sqrt(q)) ** 2),
    "bhattacharyya": lambda p, q: -jnp.log(jnp.sum(jnp.sqrt(p * q))),
    "squared": lambda p, q: jnp.sum((p - q) ** 2 / (p + q)) / 8.0,
    "jensen_shannon": lambda p, q: (
        0.5 * jnp.sum(p * jnp.log(2 * p / (p + q))) + 0.5 * jnp.sum(q * jnp.log(2 * q / (p + q)))
    ),
}
F_DIVERGENCES = (relative_entropy, hellinger, bhattacharyya, squared, jensen_shannon)
every_f = pytest.mark.parametrize("divergence", F_DIVERGENCES, ids=lambda d: d.name)
every_kernel = pytest.mark.parametrize("divergence", (mmd, energy_distance), ids=lambda d: d.name)


class Case(NamedTuple):
    """What model and data are compared by, ``G`` included."""

    samples: Labelled
    reference: np.ndarray  # probabilities of the states that the data can be in
    G: np.ndarray  # which of them each of the model's states becomes, (state of the data, state)


def whole(reference: np.ndarray) -> Case:
    return Case(labelled(STATES, STATES, P, reference), reference, np.eye(len(P)))


def halved(reference: np.ndarray) -> Case:
    """The model has eight spins, of which every other is shown; the data have only those."""
    q = MARGINAL @ reference
    return Case(labelled(KEPT, brute_force.spins(4), P, q), q, MARGINAL)


CASES = {"inside": whole(INSIDE), "outside": whole(OUTSIDE), "dropped": halved(OUTSIDE)}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@jax.jit
@partial(jax.value_and_grad, argnums=1)
def closed_forms(pick: Array, u: Array, G: Array, q: Array) -> Array:
    return jnp.stack([f(G @ model(u), q) for f in CLOSED.values()])[pick]


def closed(name: str, case: Case) -> tuple[float, np.ndarray]:
    """A divergence by its closed form, and its derivative by the model's parameters."""
    pick = jnp.asarray(list(CLOSED).index(name))
    value, change = closed_forms(pick, U, jnp.asarray(case.G), jnp.asarray(case.reference))
    return float(value), np.asarray(change)


def best_logits(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Those of Eq. 19, of every state of the model and of the data."""
    logit = np.log(case.reference / (case.G @ P))
    return case.G.T @ logit, logit


def slope(witness: np.ndarray) -> np.ndarray:
    return slope_of(witness, PHI, JACOBIAN, BETA, weight=P)


# --- f-divergences ---------------------------------------------------------------------------


@every_case
@every_f
def test_f_divergences_with_the_best_critic_are_those_of_closed_forms(
    divergence: FDivergence, case: Case
) -> None:
    """With a map G: the divergence of the marginals, whose density is never asked for."""
    value, witness = divergence.judged(*best_logits(case), case.samples)
    exact, change = closed(divergence.name, case)
    assert value > 1e-3 and np.abs(change).max() > 1e-3
    np.testing.assert_allclose(value, exact, rtol=1e-11)
    np.testing.assert_allclose(slope(witness), change, rtol=1e-10, atol=1e-14)


@every_f
def test_a_model_equal_to_the_data_is_at_no_distance_and_stays(divergence: FDivergence) -> None:
    value, witness = divergence.judged(np.zeros(256), np.zeros(256), labelled(STATES, STATES, P, P))
    assert abs(value) < 1e-15
    np.testing.assert_allclose(slope(witness), 0.0, atol=1e-15)


@every_case
@every_f
def test_any_other_guess_is_a_lower_bound(divergence: FDivergence, case: Case) -> None:
    best, (exact, _) = best_logits(case)[1], closed(divergence.name, case)
    for seed in range(20):
        guess = best + 0.3 * np.random.default_rng(seed).normal(size=best.shape)
        assert divergence.judged(case.G.T @ guess, guess, case.samples)[0] < exact


@every_case
def test_the_slope_of_relative_entropy_is_rems(case: Case) -> None:
    """Also with a map, where REM needs averages over what the map has dropped."""
    logits = best_logits(case)
    _, witness = relative_entropy.judged(*logits, case.samples)
    of_reference = P * np.exp(logits[0])  # the data, with the model's dropped spins
    np.testing.assert_allclose(of_reference.sum(), 1.0, rtol=1e-12)
    rem = BETA * JACOBIAN.T @ (P @ PHI - of_reference @ PHI)
    np.testing.assert_allclose(slope(witness), rem, rtol=1e-10, atol=1e-14)
    if case is not CASES["dropped"]:
        np.testing.assert_allclose(of_reference, case.reference, rtol=1e-12)


def test_slopes_of_equal_weights_are_those_of_samples() -> None:
    rng = np.random.default_rng(0)
    witness, taken = rng.normal(size=50), PHI[rng.integers(256, size=50)]
    expected = BETA * JACOBIAN.T @ np.cov(witness, taken.T, ddof=0)[0, 1:]
    np.testing.assert_allclose(slope_of(witness, taken, JACOBIAN, BETA), expected, rtol=1e-12)


# --- kernels ---------------------------------------------------------------------------------


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))


def kernel(name: str, case: Case) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if name == "energy_distance":
        return lambda a, b: -distances(a, b)
    width = np.median(distances(case.samples.model, case.samples.reference))

    def gaussians(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r2 = distances(a, b) ** 2
        return sum(np.exp(-r2 / (2.0 * (c * width) ** 2)) for c in (0.5, 1.0, 2.0))

    return gaussians


@jax.jit
@jax.value_and_grad
def double_sums(u: Array, kernels: list[Array], q: Array) -> Array:
    p, (own, cross, theirs) = model(u), kernels
    return p @ own @ p - 2.0 * p @ cross @ q + q @ theirs @ q


@every_case
@every_kernel
def test_kernel_divergences_are_double_sums(divergence: KernelDivergence, case: Case) -> None:
    """The width of mmd's kernels is that of the states, weights left out, and so does not move."""
    judge = divergence.by()
    _, said = judge(KEY, judge.start(KEY, 8), case.samples)
    k, a, b = kernel(divergence.name, case), case.samples.model, case.samples.reference
    kernels = [jnp.asarray(k(*of)) for of in ((a, a), (a, b), (b, b))]
    exact, change = double_sums(U, kernels, jnp.asarray(case.reference))
    assert said.value > 1e-3 and np.abs(change).max() > 1e-3
    np.testing.assert_allclose(said.value, exact, rtol=1e-10)
    np.testing.assert_allclose(slope(said.witness), change, rtol=1e-10, atol=1e-14)


@every_kernel
def test_kernel_divergences_of_a_map_are_those_of_the_marginals(
    divergence: KernelDivergence,
) -> None:
    case = CASES["dropped"]
    spins = brute_force.spins(4).astype(float)
    marginals = labelled(spins, spins, MARGINAL @ P, case.reference)
    k = kernel(divergence.name, case)(spins, spins)
    off = MARGINAL @ P - case.reference
    for samples in (case.samples, marginals):
        np.testing.assert_allclose(divergence(KEY, None, samples)[1].value, off @ k @ off)


# --- complete and incomplete critics ---------------------------------------------------------


def judged_by_logistic(divergence: FDivergence, terms: slice, reference: np.ndarray) -> Judgement:
    """By a critic that sees some of the sufficient statistics."""
    judge = divergence.by(Logistic(penalty=0.0, iterations=1000), folds=1)
    samples = whitened(labelled(PHI[:, terms], PHI[:, terms], P, reference))
    return judge(KEY, judge.start(KEY, samples.features), samples)[1]


@every_f
def test_logistic_regression_on_sufficient_statistics_is_complete(divergence: FDivergence) -> None:
    """ARCG paper, Section II.D: then its logit is Eq. 19's, whichever divergence is judged."""
    said = judged_by_logistic(divergence, slice(None), INSIDE)
    np.testing.assert_allclose(said.logit, np.log(INSIDE / P), atol=1e-4)
    exact, change = closed(divergence.name, CASES["inside"])
    np.testing.assert_allclose(said.value, exact, rtol=1e-6)
    np.testing.assert_allclose(slope(said.witness), change, rtol=1e-4)


@pytest.mark.parametrize(
    ("terms", "reference"),
    [(slice(0, 1), "inside"), (slice(1, 3), "inside"), (slice(None), "outside")],
    ids=["field only", "pairs only", "no triples"],
)
def test_an_incomplete_critic_sees_a_part_of_the_divergence(terms: slice, reference: str) -> None:
    case = CASES[reference]
    found = judged_by_logistic(jensen_shannon, terms, case.reference)
    assert 1e-4 < found.value < 0.99 * closed("jensen_shannon", case)[0]
    assert found.logit is not None
    assert np.abs(found.logit - best_logits(case)[0]).max() > 0.1


# --- slips of the paper, and what holds instead ----------------------------------------------

ETA = INSIDE / (P + INSIDE)  # Eq. 19


def test_eq_12_holds_l_ref_in_its_second_member() -> None:
    """With l_mod in both, as printed, never saying "data" costs nothing: the maximum is 0 of any two."""

    def residual(f: np.ndarray, g: np.ndarray) -> float:  # Eq. 10
        return float(P @ f - INSIDE @ g)

    def pair(guess: np.ndarray, second: str) -> tuple[np.ndarray, np.ndarray]:
        losses = {"mod": guess**2, "ref": (1.0 - guess) ** 2}  # Eqs. 20 and 21
        return -0.5 * losses["mod"], 0.5 * losses[second]

    blind = 0.25
    for guess in (ETA, ETA**2):
        logit = np.log(guess / (1.0 - guess))
        found = squared.judged(logit, logit, CASES["inside"].samples)[0]
        np.testing.assert_allclose(blind + residual(*pair(guess, "ref")), found, rtol=1e-10)
    never = np.zeros_like(ETA)
    assert residual(*pair(never, "mod")) == 0.0 > residual(*pair(ETA, "mod"))
    assert residual(*pair(never, "ref")) < residual(*pair(ETA, "ref"))


def test_eq_31_has_model_and_data_exchanged() -> None:
    """With Eq. 19 for eta."""
    left = np.log((1.0 - ETA) / ETA)
    np.testing.assert_allclose(left, np.log(P) - np.log(INSIDE), rtol=1e-9)
    assert np.abs(left - (np.log(INSIDE) - np.log(P))).max() > 0.5
    logit = judged_by_logistic(squared, slice(None), INSIDE).logit
    np.testing.assert_allclose(logit, -left, atol=1e-4)  # high where the data are


def test_eq_39_lacks_a_factor_of_two() -> None:
    """H of Eq. 38 is half the f-divergence of its generator (Eq. 16)."""
    h = 1.0 - np.sum(np.sqrt(P * INSIDE))  # Eqs. 36 and 38
    generated = np.sum(P * (np.sqrt(INSIDE / P) - 1.0) ** 2)
    np.testing.assert_allclose(generated, 2.0 * h, rtol=1e-10)
    logit = np.log(INSIDE / P)
    samples = CASES["inside"].samples
    np.testing.assert_allclose(hellinger.judged(logit, logit, samples)[0], 2.0 * h, rtol=1e-10)
    distance = bhattacharyya.judged(logit, logit, samples)[0]
    np.testing.assert_allclose(distance, -np.log(1.0 - h), rtol=1e-10)  # Eq. 37


def test_eq_43_has_the_opposite_sign_of_the_derivative_of_eq_42() -> None:
    """Going against what is printed would go uphill."""
    odds = jnp.asarray(ETA / (1.0 - ETA))

    def eq_42(u: Array) -> Array:  # its guess held, as Eq. 15 has it
        return -model(u) @ odds - jnp.asarray(INSIDE) @ jnp.log(1.0 / odds)

    energy_slope = -PHI @ JACOBIAN  # (state, u)
    w = np.asarray(odds)
    printed = -BETA * (P * w) @ energy_slope + BETA * (P @ w) * (P @ energy_slope)
    uphill = np.asarray(jax.jit(jax.grad(eq_42))(U))
    np.testing.assert_allclose(printed, -uphill, rtol=1e-10)
    logit = np.log(w)
    value, witness = relative_entropy.judged(logit, logit, CASES["inside"].samples)
    np.testing.assert_allclose(slope(witness), uphill, rtol=1e-10)
    assert float(uphill @ uphill) > 1e-3
    # Eq. 42 leaves out the constant of Eq. 34.
    np.testing.assert_allclose(value, eq_42(U) + 1.0, rtol=1e-10)


def test_eq_44_is_a_maximum() -> None:
    """Printed as a minimum, which has no bound: a guess that is always wrong."""

    def both(guess: np.ndarray) -> float:
        return float(INSIDE @ np.log(guess) + P @ np.log(1.0 - guess))

    for step in (-0.1, 0.0, 0.1):
        guess = ETA + step * ETA * (1.0 - ETA)
        logit = jnp.log(guess / (1.0 - guess))
        loss = P @ LOG_LOSS.model(logit) + INSIDE @ LOG_LOSS.reference(logit)
        np.testing.assert_allclose(both(guess), -loss, rtol=1e-10)
        assert both(ETA) > both(guess) or step == 0.0
    wrong = np.where(INSIDE > P, 1e-9, 1.0 - 1e-9)
    assert both(wrong) < both(ETA) - 10.0
