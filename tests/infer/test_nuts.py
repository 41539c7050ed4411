"""NUTS on the collapsed program."""

import jax
import numpy as np
import pytest

from bayescg import results
from bayescg.infer.fit import Fit
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.infer.program import ProgramError
from models import ising


def data(mu: str = "1.0"):
    return ising.reference(ising.Options(mu=mu, frames=20), jax.random.key(3))


def system(**options):
    return ising.system(ising.Options(ratio=8, **options))


def summary(fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sd and effective sample size of every parameter, held to what a good run shows."""
    assert fit.converged.all()
    assert fit.groups["sample_stats"]["diverging"].values.sum() == 0
    labelled = results.to_dataset({"u": fit.draws}, dims={"u": ("member", "parameter")})
    found = results.diagnostics(labelled)
    assert float(found["r_hat"]["u"].max()) < 1.01
    assert float(found["ess_bulk"]["u"].min()) > 400
    assert float(found["ess_tail"]["u"].min()) > 400
    draws = fit.draws[:, :, 0].reshape(-1, fit.draws.shape[-1])
    return draws.mean(0), draws.std(0), np.asarray(found["ess_bulk"]["u"])[0]


@pytest.mark.slow
def test_nuts_samples_the_normal_posterior() -> None:
    """No divergence, R-hat below 1.01, 400 effective samples for every parameter."""
    ours = system(prior="normal", prior_scale=1.0)
    summary(NUTS(ours, data(), NUTSOptions(warmup=400, samples=600)).run(jax.random.key(0)))


@pytest.mark.by_hand
@pytest.mark.parametrize("ratio", [8, 4])
def test_nuts_agrees_with_a_long_run(ratio: int) -> None:
    """n_c = 8 and 16: means within five standard errors of both runs (16 parameters at most: a false
    failure is rarer than 1e-5), spreads within a quarter."""
    ours = ising.system(ising.Options(ratio=ratio, prior="normal", prior_scale=1.0))
    short = NUTS(ours, data(), NUTSOptions(warmup=300, samples=500)).run(jax.random.key(0))
    long = NUTS(ours, data(), NUTSOptions(warmup=500, samples=1500)).run(jax.random.key(1))
    (mean, sd, ess), (mean_long, sd_long, ess_long) = summary(short), summary(long)
    error = np.sqrt(sd**2 / ess + sd_long**2 / ess_long)
    assert np.abs((mean - mean_long) / error).max() < 5.0
    np.testing.assert_allclose(sd, sd_long, rtol=0.25)


@pytest.mark.by_hand
def test_learned_log_z_gives_the_exact_posterior() -> None:
    """Latents sampled and log Z reweighted, n_c = 8: means within five standard errors of exact NUTS and the bias
    that is asked for, 0.05 standard deviations (9 parameters: a false failure is rarer than 1e-5), spreads within
    a fifth."""
    ours = ising.system(ising.Options(n_f=16, ratio=2, L2=4, L3=2, prior="normal", prior_scale=1.0))
    given = ising.reference(ising.Options(n_f=16, mu="0.3", frames=20), jax.random.key(1))
    runs = {
        how: NUTS(ours, given, NUTSOptions(log_partition=how, warmup=500, samples=2000)).run(
            jax.random.key(0)
        )
        for how in ("learned", "exact")
    }
    assert not runs["learned"].exact and "log Z learned" in runs["learned"].approximation
    assert runs["learned"].attrs["log_partition_outside"] <= 0.01
    (mean, sd, ess), (exact_mean, exact_sd, exact_ess) = (summary(f) for f in runs.values())
    error = np.sqrt(sd**2 / ess + exact_sd**2 / exact_ess)
    assert np.all(np.abs(mean - exact_mean) < 5.0 * error + 0.05 * exact_sd)
    np.testing.assert_allclose(sd, exact_sd, rtol=0.2)


def test_ards_spike_is_refused_in_words() -> None:
    with pytest.raises(ProgramError, match="prior=horseshoe where the model has it"):
        NUTS(system(prior="ard"), data()).run(jax.random.key(0))


def test_a_flat_prior_is_refused_in_words() -> None:
    with pytest.raises(ProgramError, match="needs a proper prior"):
        NUTS(system(prior="flat"), data()).run(jax.random.key(0))


def test_an_inexact_program_is_refused_in_words() -> None:
    fine = ising.system(ising.Options(ratio=2, prior="normal"))
    with pytest.raises(ProgramError, match="log Z is not known exactly"):
        NUTS(fine, data()).run(jax.random.key(0))


@pytest.mark.by_hand
def test_the_horseshoe_samples_without_divergences() -> None:
    fit = NUTS(
        system(prior="horseshoe"),
        data(),
        NUTSOptions(target_accept=0.99, warmup=1000, samples=1000),
    ).run(jax.random.key(0))
    summary(fit)
