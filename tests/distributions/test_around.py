"""Richer coarse-to-fine maps of sites in space: densities against SciPy, samples, priors."""

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to
from numpyro.handlers import condition, seed, trace
import pytest
from scipy import stats

from bayescg.distributions import Around, PeriodicMixture, PeriodicNormal
from bayescg.distributions.coarse_to_fine import STEP
from tests.statistical import check_mean

BOX = (14.0, 15.0, 16.0)
FRAMES, SITES = 3, 7
AXES = np.array([0.02, 0.1, 0.5])
WEIGHTS, SIGMA2 = np.array([0.5, 0.3, 0.2]), np.array([0.01, 0.1, 0.6])


def near() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents, data some way off and some boxes away, and the gap between them, ``(frame, site, axis)``."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.0, 14.0, (FRAMES, SITES, 3))
    gap = 0.4 * rng.normal(size=X.shape)
    return X, X + gap + np.array(BOX) * rng.integers(-2, 3, X.shape), gap


def test_a_variance_along_each_axis() -> None:
    X, x, gap = near()
    found = PeriodicNormal(jnp.asarray(X), jnp.asarray(AXES), box=BOX).log_prob(jnp.asarray(x))
    expected = stats.multivariate_normal(cov=np.diag(AXES)).logpdf(gap).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    alike = PeriodicNormal(jnp.asarray(X), jnp.full(3, 0.3), box=BOX).log_prob(jnp.asarray(x))
    one = PeriodicNormal(jnp.asarray(X), 0.3, box=BOX).log_prob(jnp.asarray(x))
    np.testing.assert_allclose(alike, one, rtol=1e-12)
    with pytest.raises(ValueError, match=r"sigma2 has shape \(2,\); allowed is a scalar"):
        PeriodicNormal(jnp.asarray(X), jnp.ones(2), box=BOX)


def test_a_mixture() -> None:
    X, x, gap = near()
    p = PeriodicMixture(jnp.asarray(X), jnp.asarray(WEIGHTS), jnp.asarray(SIGMA2), box=BOX)
    normals = (stats.multivariate_normal(cov=s * np.eye(3)) for s in SIGMA2)
    density = sum(w * n.pdf(gap) for w, n in zip(WEIGHTS, normals, strict=True))
    np.testing.assert_allclose(p.log_prob(jnp.asarray(x)), np.log(density).sum(1), rtol=1e-10)
    with pytest.raises(ValueError, match="one of each component"):
        PeriodicMixture(jnp.asarray(X), jnp.ones(2) / 2, jnp.ones(3), box=BOX)


def test_samples_have_the_moments() -> None:
    """Second moments of each axis; second and fourth of the distance in a mixture."""
    X = jnp.zeros((1, 20_000, 3))
    z = np.asarray(PeriodicNormal(X, jnp.asarray(AXES), box=BOX).sample(jax.random.key(0)))[0]
    check_mean(z**2, AXES)
    p = PeriodicMixture(X, jnp.asarray(WEIGHTS), jnp.asarray(SIGMA2), box=BOX)
    square = np.sum(np.asarray(p.sample(jax.random.key(1)))[0] ** 2, 1)
    check_mean(square, 3.0 * WEIGHTS @ SIGMA2)
    check_mean(square**2, 15.0 * WEIGHTS @ SIGMA2**2)


def test_what_they_say_of_latents_is_their_density() -> None:
    """As a function of the latents, up to a constant: nothing else is sampled by."""
    X, x, _ = near()
    near_x = jnp.asarray(x + 0.2 * np.random.default_rng(1).normal(size=x.shape))
    for p in (
        lambda X: PeriodicNormal(X, 0.2, box=BOX),
        lambda X: PeriodicNormal(X, jnp.asarray(AXES), box=BOX),
        lambda X: PeriodicMixture(X, jnp.asarray(WEIGHTS), jnp.asarray(SIGMA2), box=BOX),
    ):
        pull = jax.tree.map(jnp.transpose, p(jnp.asarray(X)).pull(jnp.asarray(x)))
        change = pull.log_density(near_x.T) - pull.log_density(jnp.asarray(x).T)
        direct = p(near_x).log_prob(jnp.asarray(x)) - p(jnp.asarray(x)).log_prob(jnp.asarray(x))
        np.testing.assert_allclose(change, direct, rtol=1e-9)


@pytest.mark.slow
def test_priors_of_a_mixture_are_proper_and_order_it() -> None:
    """Densities by the change of variables; draws increase, and have the medians that are asked for."""
    around = Around("mixture", BOX, 0.02, components=3, concentration=1.5, spread=0.7, ratio=5.0)
    sites = trace(seed(lambda: around(), jax.random.key(0))).get_trace()
    prior = sites["sigma2"]["fn"]
    log = np.log(SIGMA2)
    steps = np.diff(log)
    # d(log s_1, log steps) / d(sigma2): 1 / sigma2_k each, and 1 / step of a step.
    expected = stats.norm(np.log(0.02), 0.7).logpdf(log[0])
    expected += np.sum(stats.norm(np.log(np.log(5.0)), STEP).logpdf(np.log(steps)) - np.log(steps))
    expected -= np.sum(log)
    np.testing.assert_allclose(prior.log_prob(jnp.asarray(SIGMA2)), expected, rtol=1e-10)
    to_values = biject_to(prior.support)
    u = jnp.asarray([-3.0, 0.2, -0.4])  # what methods move, and its volume
    volume = np.linalg.slogdet(jax.jacfwd(to_values)(u))[1]
    np.testing.assert_allclose(to_values.log_abs_det_jacobian(u, to_values(u)), volume, rtol=1e-10)
    weights = sites["weights"]["fn"]
    dirichlet = stats.dirichlet(np.full(3, 1.5)).logpdf(WEIGHTS)
    np.testing.assert_allclose(weights.log_prob(jnp.asarray(WEIGHTS)), dirichlet, rtol=1e-10)
    draws = np.asarray(prior.sample(jax.random.key(1), (20_000,)))
    assert np.all(np.diff(draws, axis=1) > 0.0)
    check_mean((draws[:, 0] < 0.02).astype(float), 0.5)
    check_mean((draws[:, 1:] < 5.0 * draws[:, :-1]).astype(float), 0.5)


def test_priors_of_the_others_are_flat() -> None:
    for kind, shape in (("isotropic", ()), ("anisotropic", (3,))):
        around = Around(kind, BOX, 0.02)  # type: ignore[arg-type]
        with pytest.raises(NotImplementedError):  # nothing is drawn from it
            trace(seed(lambda a=around: a(), jax.random.key(0))).get_trace()
        given = jnp.full(shape, 0.3)
        sites = trace(condition(lambda a=around: a(), {"sigma2": given})).get_trace()
        assert jnp.sum(sites["sigma2"]["fn"].log_prob(given)) == 0.0
        assert sites["sigma2"]["fn"].shape() == shape


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"components": 1}, "components must be at least 2, got 1"),
        ({"ratio": 1.0}, "sigma2_ratio must be above 1, got 1"),
        ({"concentration": 0.0}, "concentration must be positive, got 0"),
        ({"spread": -1.0}, "sigma2_spread must be positive, got -1"),
    ],
)
def test_values_that_will_not_do_are_refused(given: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Around("mixture", BOX, 0.02, **given)  # type: ignore[arg-type]
