"""Linear equations solved with a prior, and errors that blocks of frames vouch for."""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.conjugate import ARD, Equations, Flat, Normal, solve
from bayescg.infer.linear_run import in_blocks


def equations_of(g: np.ndarray, f: np.ndarray) -> Equations:
    return Equations(*(np.asarray(v)[None] for v in (g.T @ g, g.T @ f, f @ f, len(f), 1)))


def test_ard_ends_at_a_mode_of_the_collapsed_posterior() -> None:
    """The gradient vanishes, of the likelihood and of the Student-t prior; what is noise is shrunk."""
    rng = np.random.default_rng(4)
    g = rng.normal(size=(400, 6))
    c = np.array([2.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    f = g @ c + rng.normal(size=400)
    a0, b0 = 1e-5, 1e-5
    found = solve(equations_of(g, f), ARD(a0, b0))
    assert found.settled

    def log_posterior(c: Array) -> Array:
        likelihood = -0.5 * jnp.sum((f - g @ c) ** 2) / found.variance
        return likelihood - (a0 + 0.5) * jnp.sum(jnp.log1p(0.5 * c**2 / b0))

    slope = np.asarray(jax.grad(log_posterior)(jnp.asarray(found.mean)))
    np.testing.assert_allclose(slope * found.error("independent"), 0.0, atol=1e-4)
    plain = np.linalg.lstsq(g, f, rcond=None)[0]
    np.testing.assert_allclose(found.mean[:2], plain[:2], atol=0.02)
    assert np.abs(found.mean[2:]).max() < 0.3 * np.abs(plain[2:]).max()
    assert np.all(found.error("independent")[2:] < 0.05)


def correlated(
    rng: np.random.Generator, frames: int, memory: float
) -> tuple[Equations, np.ndarray]:
    """Frames of 60 forces and 4 functions, with residuals that share a force pattern which decays slowly.

    The pattern lies along the functions: within a frame the residuals are correlated as they are in
    a liquid whose model leaves something out.
    """
    c = np.array([1.0, -0.5, 0.3, 0.0])
    base = rng.normal(size=(60, 4))
    u = np.zeros((frames, 4))
    u[0] = rng.normal(size=4)
    for t in range(1, frames):
        u[t] = memory * u[t - 1] + np.sqrt(1.0 - memory**2) * rng.normal(size=4)
    g = base + 0.5 * rng.normal(size=(frames, 60, 4))
    f = g @ c + u @ base.T + rng.normal(size=(frames, 60))
    turned = g.transpose(0, 2, 1)
    e = Equations(
        turned @ g,
        (turned @ f[..., None])[..., 0],
        np.sum(f * f, 1),
        np.full(frames, 60.0),
        np.ones(frames),
    )
    return e, c


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "frames"), [(0.0, 100), (0.7, 300)])
def test_coverage_where_the_correlation_is_known(memory: float, frames: int) -> None:
    """90 % intervals for 4 coefficients in 150 data sets.

    Coverage of the sandwich is 0.90 within 0.05 and of bagging within 0.08, four standard errors of the
    mean over data sets (0.012 to 0.02) with the 6 % of an error that blocks of four inefficiencies miss, and
    for bagging, whose blocks are taken for many, what 13 of them lack. Independent residuals cover less than
    half. What is measured on held-out blocks tells the two apart, and lies within 0.08 of what is true.
    """
    rng = np.random.default_rng(6)
    hits: dict[str, list[float]] = {"sandwich": [], "independent": [], "bagged": []}
    held: dict[str, list[float]] = {"sandwich": [], "independent": []}
    for n in range(150):
        e, c = correlated(rng, frames, memory)
        found, _ = in_blocks(solve(e, Flat(np.eye(4))))
        for form, out in hits.items():
            draws = found.draws(form, rng, 200)
            low, high = np.quantile(draws, [0.05, 0.95], axis=0)
            out.append(float(np.mean((low <= c) & (c <= high))))
        if n < 40:
            told = found.coverage(("sandwich", "independent"), np.arange(4), rng)
            for form, value in told.items():
                held[form].append(value)
    mean = {form: np.mean(v) for form, v in hits.items()}
    assert 0.85 < mean["sandwich"] < 0.95, mean
    assert 0.82 < mean["bagged"] < 0.98, mean
    assert mean["independent"] < 0.5, mean
    for form, values in held.items():
        assert abs(np.mean(values) - mean[form]) < 0.08, (form, np.mean(values), mean)


def test_with_independent_residuals_all_forms_agree() -> None:
    """Standard errors within a third of each other: the sandwich is known to 7 % from 100 blocks."""
    rng = np.random.default_rng(7)
    g = rng.normal(size=(100, 60, 4))
    f = g @ np.array([1.0, 0.0, -1.0, 0.5]) + rng.normal(size=(100, 60))
    e = Equations(
        np.einsum("tak,tal->tkl", g, g),
        np.einsum("tak,ta->tk", g, f),
        np.sum(f * f, 1),
        np.full(100, 60.0),
        np.ones(100),
    )
    for prior in (Flat(np.eye(4)), Normal(25.0 * np.eye(4), np.zeros(4))):
        found, enough = in_blocks(solve(e, prior))
        assert enough and len(found.equations.frames) == 100
        independent = found.error("independent")
        np.testing.assert_allclose(found.error("sandwich"), independent, rtol=0.33)
        coverage = found.coverage(("sandwich", "independent"), np.arange(4), rng)
        assert min(coverage.values()) > 0.6
