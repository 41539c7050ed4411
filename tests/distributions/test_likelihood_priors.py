"""Coarse-to-fine likelihoods (Eqs. 51 to 54, and Eq. 7) and priors (Eqs. 41 to 43)."""

from functools import partial

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to
from numpyro.handlers import seed, substitute, trace
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from bayescg.distributions import (
    PRIORS,
    MajorityReconstruction,
    SpinFlip,
    ard,
    coefficients,
    half_to_one,
    horseshoe,
    normal,
)
from bayescg.infer.handlers import collapse_precisions
from bayescg.mapping import majority
from tests import brute_force
from tests.densities import check_log_prob
from tests.statistical import check_mean, check_states

FINE = brute_force.spins(8)
PARENTS = jnp.asarray([[1.0, -1.0, 1.0, 1.0], [-1.0, -1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])


# --- spin flips ------------------------------------------------------------------------------


def test_spin_flip_density() -> None:
    check_log_prob(
        partial(SpinFlip, PARENTS, 0.8, ratio=2),
        FINE[:, None],
        np.zeros(8),
        [(lambda: SpinFlip(PARENTS, 1.2, ratio=2, validate_args=True), "p0")],
    )


@pytest.mark.parametrize("ratio", [1, 2, 8])
def test_spin_flip_is_eq_51(ratio: int) -> None:
    X = np.random.default_rng(1).choice([-1.0, 1.0], 8 // ratio)
    psi = sum(0.5 * (1 + FINE[:, i] * X[i // ratio]) for i in range(8))
    expected = psi * np.log(0.8) + (8 - psi) * np.log(0.2)
    found = SpinFlip(jnp.asarray(X), 0.8, ratio=ratio).log_prob(FINE)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_spin_flip_at_the_ends() -> None:
    """Certain agreement has no infinities where children do agree."""
    X = PARENTS[0]
    same = jnp.repeat(X, 2)
    assert SpinFlip(X, 1.0, ratio=2).log_prob(same) == 0.0
    assert SpinFlip(X, 1.0, ratio=2).log_prob(-same) == -np.inf


def test_spin_flip_samples() -> None:
    x = SpinFlip(PARENTS, 0.8, ratio=2).sample(jax.random.key(0), (20_000,))
    assert x.shape == (20_000, 3, 8)
    for j in range(3):
        log_weights = SpinFlip(PARENTS[j], 0.8, ratio=2).log_prob(FINE)
        check_states(x[:, j].T, log_weights)


def test_spin_flip_is_affine_in_its_parents() -> None:
    x = jnp.asarray(FINE[45], float)

    def log_prob(X: Array) -> Array:
        return SpinFlip(X, 0.7, ratio=2).log_prob(x)

    rng = np.random.default_rng(2)
    a, b = jnp.asarray(rng.normal(size=(2, 4)))
    middle = 0.3 * log_prob(a) + 0.7 * log_prob(b)
    np.testing.assert_allclose(log_prob(0.3 * a + 0.7 * b), middle, rtol=1e-12)


@pytest.mark.parametrize("theta", [-1.5, 0.0, 2.0])
def test_half_to_one_is_eq_52(theta: float) -> None:
    support = trace(seed(half_to_one, jax.random.key(0))).get_trace("p0")["p0"]["fn"].support
    p0 = 0.5 * (1.0 + 1.0 / (1.0 + np.exp(-theta)))
    np.testing.assert_allclose(biject_to(support)(jnp.asarray(theta)), p0, rtol=1e-12)


@pytest.mark.parametrize("theta", [-1.5, 0.0, 2.0])
def test_derivatives_are_eqs_53_and_54(theta: float) -> None:
    """With Eq. 54's misprint mended: n_f - psi stands where the paper has 1 - psi."""
    support = trace(seed(half_to_one, jax.random.key(0))).get_trace("p0")["p0"]["fn"].support
    X, x = PARENTS[0], jnp.asarray(FINE[45], float)

    def log_prob(t: Array) -> Array:
        return SpinFlip(X, biject_to(support)(t), ratio=2).log_prob(x)

    psi, n_f = float(jnp.sum(x == jnp.repeat(X, 2))), 8
    assert 0 < psi < n_f
    s = 1.0 / (1.0 + np.exp(-theta))
    p0 = 0.5 * (1.0 + s)
    slope, bend = 0.5 * s * (1 - s), 0.5 * s * (1 - s) * (1 - 2 * s)
    first = psi / p0 - (n_f - psi) / (1 - p0)
    second = -psi / p0**2 - (n_f - psi) / (1 - p0) ** 2
    t = jnp.asarray(theta)
    expected = [first * slope, second * slope**2 + first * bend]
    found = jax.jit(lambda t: jnp.stack([jax.grad(log_prob)(t), jax.hessian(log_prob)(t)]))(t)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


# --- consistent reconstruction ---------------------------------------------------------------


@pytest.mark.parametrize("ties", ["up", "random"])
def test_reconstruction_density(ties: str) -> None:
    make = partial(MajorityReconstruction, PARENTS, ratio=2, ties=ties)
    check_log_prob(
        make,
        FINE[:, None],
        np.zeros(8),
        [
            (lambda: MajorityReconstruction(jnp.ones(1), ratio=18), "at most 16, got 18"),
            (lambda: MajorityReconstruction(PARENTS, ratio=2, ties="down"), "'up' or 'random'"),
        ],
    )
    x = make().sample(jax.random.key(0), (5_000,))
    for j in range(3):
        one = MajorityReconstruction(PARENTS[j], ratio=2, ties=ties)
        log_weights = np.asarray(one.log_prob(FINE))
        if ties == "up":  # Eq. 7: uniform over just those that the map takes to X
            mapped = np.asarray(majority(jnp.asarray(FINE, float), 2))
            consistent = np.all(mapped == np.asarray(PARENTS[j]), axis=1)
            np.testing.assert_array_equal(np.isfinite(log_weights), consistent)
            np.testing.assert_allclose(log_weights[consistent], -np.log(consistent.sum()))
        check_states(x[:, j].T, log_weights)


# --- priors ----------------------------------------------------------------------------------


def ard_site(a0: float, b0: float, size: int = 3):  # type: ignore[no-untyped-def]
    """The site of the coefficients, tau integrated out."""
    program = collapse_precisions(partial(ard, a0=a0, b0=b0))
    program = substitute(program, data={"theta": jnp.zeros(size)})
    sites = trace(seed(program, jax.random.key(0))).get_trace("theta", size)
    assert list(sites) == ["theta"]
    return sites["theta"]


@pytest.mark.parametrize(("a0", "b0"), [(2.0, 0.5), (0.1, 3.0), (1e-5, 1e-5)])
def test_collapsed_ard_is_the_integral_over_tau(a0: float, b0: float) -> None:
    site = ard_site(a0, b0)
    theta = np.array([-1.3, 0.02, 3.0])

    def integrand(log_tau: float, t: float) -> float:
        tau = np.exp(log_tau)
        log_normal = 0.5 * np.log(tau / (2 * np.pi)) - 0.5 * tau * t**2
        log_gamma = a0 * np.log(b0) - gammaln(a0) + a0 * log_tau - b0 * tau
        return float(np.exp(log_normal + log_gamma))

    log_density = [np.log(quad(integrand, -60, 30, (t,), limit=500, epsabs=0)[0]) for t in theta]
    found = site["fn"].log_prob(jnp.asarray(theta))
    np.testing.assert_allclose(found, sum(log_density), rtol=1e-7)


@pytest.mark.parametrize(("a0", "b0"), [(2.0, 0.5), (1e-5, 1e-5)])
def test_gradient_of_collapsed_ard_is_eqs_42_and_43(a0: float, b0: float) -> None:
    fn = ard_site(a0, b0)["fn"]
    theta = jnp.array([-1.3, 1e-3, 0.0])
    tau = (a0 + 0.5) / (b0 + 0.5 * theta**2)
    np.testing.assert_allclose(jax.grad(fn.log_prob)(theta), -tau * theta, rtol=1e-10, atol=1e-12)


def test_ard_as_written_and_its_hints() -> None:
    sites = trace(seed(partial(ard, a0=2.0, b0=1.0), jax.random.key(0))).get_trace("theta", 3)
    assert list(sites) == ["tau", "theta"]
    assert sites["tau"]["infer"] == {"precision_of": "theta"}
    tau = sites["tau"]["value"]
    expected = 0.5 * np.sum(np.log(tau / (2 * np.pi)) - tau)  # Eq. 41 at theta = 1
    np.testing.assert_allclose(sites["theta"]["fn"].log_prob(jnp.ones(3)), expected, rtol=1e-12)
    assert ard_site(2.0, 1.0)["infer"]["ard"] == (2.0, 1.0)


def test_normal_prior_has_its_scale() -> None:
    program = seed(partial(coefficients, scale=3.0), jax.random.key(0))
    sites = trace(program).get_trace("theta", 2000, "normal")
    assert list(sites) == ["theta"]
    check_mean(sites["theta"]["value"] ** 2, 9.0)


def test_flat_prior_is_flat() -> None:
    program = substitute(coefficients, data={"theta": jnp.zeros(3)})
    site = trace(program).get_trace("theta", 3, "flat")["theta"]
    assert site["fn"].shape() == (3,)
    value = site["fn"].log_prob(jnp.array([-1e6, 0.0, 5.0]))
    assert np.all(np.asarray(value) == 0.0)


def test_horseshoe() -> None:
    """The sites are there, with their hints; the coefficients are what the docstring says."""
    sites = trace(seed(horseshoe, jax.random.key(1))).get_trace("theta", 4)
    hints = {k: v["infer"].get("scale") for k, v in sites.items() if v["type"] == "sample"}
    assert hints == {
        "theta_scale": "theta",
        "theta_local": "theta",
        "theta_slab": "theta",
        "theta_z": None,
    }
    v = {k: np.asarray(site["value"]) for k, site in sites.items()}
    s, local, c2 = v["theta_scale"], v["theta_local"], v["theta_slab"]
    shrunk = np.sqrt(c2 * local**2 / (c2 + s**2 * local**2))
    np.testing.assert_allclose(v["theta"], v["theta_z"] * s * shrunk, rtol=1e-12)
    assert np.all(np.abs(v["theta"]) <= np.abs(v["theta_z"]) * np.sqrt(c2))


def test_the_four_priors_and_errors() -> None:
    assert PRIORS == ("ard", "normal", "horseshoe", "flat")
    with pytest.raises(ValueError, match="unknown prior 'lasso'; known: ard, normal"):
        coefficients("theta", 3, "lasso")
    with pytest.raises(ValueError, match=r"must be positive, got -1\.0 and 1\.0"):
        ard("theta", 3, a0=-1.0, b0=1.0)
    with pytest.raises(ValueError, match=r"must be positive, got 0\.0"):
        normal("theta", 3, scale=0.0)
