"""Hidden states: sticks, paths, and sums over them against every path written out."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import biject_to
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import beta

from bayescg.distributions.hidden import (
    MarkovPath,
    StickBreaking,
    draw_states,
    frequencies,
    stationary,
    sum_over_states,
)
from tests.statistical import check_mean

RNG = np.random.default_rng(0)
ROWS = RNG.dirichlet(np.ones(3), size=3)
FIRST = RNG.dirichlet(np.ones(3))
EMISSION = 2.0 * RNG.normal(size=(5, 3))
PATH = MarkovPath(jnp.asarray(FIRST), jnp.asarray(ROWS), 5)
PATHS = np.array(list(product(range(3), repeat=5)))


def of_paths() -> np.ndarray:
    """Log p(S) of every path, from the definition."""
    steps = np.log(ROWS)[PATHS[:, :-1], PATHS[:, 1:]].sum(1)
    return np.log(FIRST)[PATHS[:, 0]] + steps


def joint() -> np.ndarray:
    """Log p(x, S) of every path."""
    return of_paths() + EMISSION[np.arange(5), PATHS].sum(1)


# --- sticks ----------------------------------------------------------------------------------


def broken(v: jax.Array) -> jax.Array:
    left = jnp.cumprod(jnp.append(1.0, 1.0 - v))
    return jnp.append(v, 1.0) * left


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("states", [2, 5])
def test_sticks_have_the_density_of_beta_sticks(alpha: float, states: int) -> None:
    v = RNG.beta(1.0, 1.5, size=states - 1)
    slope = jax.jacobian(broken)(jnp.asarray(v))[:-1]
    expected = beta(1.0, alpha).logpdf(v).sum() - np.linalg.slogdet(slope)[1]
    found = StickBreaking(alpha, states).log_prob(broken(jnp.asarray(v)))
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_sticks_are_drawn_with_a_dirichlet_process_s_means() -> None:
    """E[w_k] = (alpha / (1 + alpha))^(k-1) / (1 + alpha), the last what is left."""
    alpha = 1.7
    w = np.asarray(StickBreaking(alpha, 4).sample(jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(w.sum(1), 1.0, atol=1e-12)
    shrink = alpha / (1.0 + alpha)
    check_mean(w, [(1 - shrink), (1 - shrink) * shrink, (1 - shrink) * shrink**2, shrink**3])


@pytest.mark.parametrize("u", [[-3.0, 0.2, 1.5], [-12.0, 2.0, -1.0], [0.5, 4.0, 3.5]])
def test_coordinates_of_sticks_and_their_volume(u: list[float]) -> None:
    """There and back, also where next to nothing is left, and the Jacobian by automatic differentiation."""
    to = biject_to(StickBreaking(1.0, 4).support)
    x = jnp.asarray(u)
    w = to(x)
    np.testing.assert_allclose(w.sum(), 1.0, atol=1e-12)
    np.testing.assert_allclose(to.inv(w), x, rtol=1e-9)
    assert to.inverse_shape(to.forward_shape(x.shape)) == x.shape
    if max(u) > 3.0:
        return  # the derivative of expm1, as JAX has it, is that of exp less a rounding error of one
    slope = np.asarray(jax.jacobian(to)(x)[:-1])
    np.testing.assert_array_equal(np.triu(slope, 1), 0.0)
    volume = np.log(np.diag(slope)).sum()  # which is all there is of a triangle's determinant
    np.testing.assert_allclose(to.log_abs_det_jacobian(x, w), volume, rtol=1e-7)


def test_where_nothing_is_left_the_density_is_a_number() -> None:
    """At t = 1000 what is left is no number any more; density and slope are, for every concentration."""
    to = biject_to(StickBreaking(1.0, 3).support)

    def log_density(u: jax.Array, alpha: float) -> jax.Array:
        w = to(u)
        return StickBreaking(alpha, 3).log_prob(w) + to.log_abs_det_jacobian(u, w)

    for alpha in (0.3, 1.0, 4.0):
        value, slope = jax.value_and_grad(log_density)(jnp.log(jnp.array([1000.0, 0.5])), alpha)
        assert np.isfinite(value) and np.isfinite(slope).all() and slope[0] < 0.0


def test_a_stick_that_nothing_needs_has_a_narrow_coordinate() -> None:
    """Beta(1, alpha) sticks, alpha from Gamma(1, 1): t = -log(1 - v) has the tail 1 / (1 + t), so log t is logistic."""
    alpha = jax.random.gamma(jax.random.key(0), 1.0, (20_000,))
    w = jax.vmap(lambda a, k: StickBreaking(a, 2).sample(k))(
        alpha, jax.random.split(jax.random.key(1), 20_000)
    )
    u = np.asarray(jax.vmap(biject_to(StickBreaking(1.0, 2).support).inv)(w))
    uniform = expit(u)
    check_mean(uniform, [0.5])
    check_mean((uniform - 0.5) ** 2, [1.0 / 12.0])


def test_one_stick_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 parts, got 1"):
        StickBreaking(1.0, 1)


# --- paths -----------------------------------------------------------------------------------


def test_a_path_has_its_density() -> None:
    found = np.asarray(PATH.log_prob(jnp.asarray(PATHS)))
    np.testing.assert_allclose(found, of_paths(), atol=1e-12)
    assert logsumexp(found) == pytest.approx(0.0, abs=1e-12)


def test_paths_are_drawn_with_their_probabilities() -> None:
    drawn = np.asarray(PATH.sample(jax.random.key(1), (20_000,)))
    assert drawn.shape == (20_000, 5)
    w = np.exp(of_paths())
    for i in (0, 1, 4):
        exact = [w[PATHS[:, i] == s].sum() for s in range(3)]
        check_mean((drawn[:, i, None] == np.arange(3)).astype(float), exact)
    pair = w[(PATHS[:, 1] == 0) & (PATHS[:, 2] == 1)].sum()
    check_mean(((drawn[:, 1] == 0) & (drawn[:, 2] == 1)).astype(float)[:, None], [pair])


def test_the_forward_algorithm_sums_over_all_paths() -> None:
    found = sum_over_states(PATH, jnp.asarray(EMISSION))
    assert float(found.terms.sum()) == pytest.approx(logsumexp(joint()), abs=1e-10)
    # Each term is the probability of a frame given those before it.
    for n in range(1, 6):
        short = MarkovPath(PATH.initial, PATH.transition, n)
        part = sum_over_states(short, jnp.asarray(EMISSION[:n])).terms
        np.testing.assert_allclose(part, found.terms[:n], atol=1e-12)


def test_states_given_all_frames_are_those_of_all_paths() -> None:
    found = sum_over_states(PATH, jnp.asarray(EMISSION))
    w = np.exp(joint() - logsumexp(joint()))
    exact = [[w[PATHS[:, i] == s].sum() for s in range(3)] for i in range(5)]
    np.testing.assert_allclose(np.exp(found.posterior), exact, atol=1e-12)
    for i in range(5):  # p(x_i | others) = p(x) / p(others)
        others = joint() - EMISSION[i, PATHS[:, i]]
        exact_out = logsumexp(joint()) - logsumexp(others)
        assert float(found.left_out[i]) == pytest.approx(exact_out, abs=1e-10)


def test_states_are_drawn_given_all_frames() -> None:
    keys = jax.random.split(jax.random.key(2), 10_000)
    drawn = np.asarray(jax.vmap(lambda k: draw_states(k, PATH, jnp.asarray(EMISSION)))(keys))
    w = np.exp(joint() - logsumexp(joint()))
    exact = np.array([[w[PATHS[:, i] == s].sum() for s in range(3)] for i in range(5)])
    check_mean((drawn[..., None] == np.arange(3)).astype(float), exact)
    together = w[(PATHS[:, 2] == PATHS[:, 3])].sum()
    check_mean((drawn[:, 2] == drawn[:, 3]).astype(float)[:, None], [together])


def test_independent_frames() -> None:
    prior = dist.Categorical(jnp.asarray(FIRST))
    found = sum_over_states(prior, jnp.asarray(EMISSION))
    exact = logsumexp(np.log(FIRST) + EMISSION, axis=1)
    np.testing.assert_allclose(found.terms, exact, atol=1e-12)
    np.testing.assert_allclose(found.left_out, exact, atol=1e-12)
    posterior = np.exp(np.log(FIRST) + EMISSION - exact[:, None])
    np.testing.assert_allclose(np.exp(found.posterior), posterior, atol=1e-12)
    np.testing.assert_allclose(frequencies(prior), FIRST, atol=1e-12)


def test_the_stationary_distribution_stays() -> None:
    found = np.asarray(stationary(jnp.asarray(ROWS)))
    np.testing.assert_allclose(found @ ROWS, found, atol=1e-12)
    np.testing.assert_allclose(found, np.linalg.matrix_power(ROWS, 200)[0], atol=1e-12)
    np.testing.assert_allclose(frequencies(PATH), found, atol=1e-12)


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 states need a transition matrix \(2, 2\)"):
        MarkovPath(jnp.ones(2) / 2, jnp.ones((3, 3)) / 3, 4)
