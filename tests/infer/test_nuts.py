"""NUTS on the collapsed program."""

import jax
import pytest

from bayescg import results
from bayescg.infer.program import ProgramError
from bayescg.infer.run import NUTS, NUTSOptions
from models import ising


def data(mu: str = "1.0"):
    return ising.reference(ising.Options(mu=mu, frames=20), jax.random.key(3))


def system(**options):
    return ising.system(ising.Options(ratio=8, **options))


def test_nuts_samples_the_normal_posterior() -> None:
    """No divergence, R-hat below 1.01, 400 effective samples for every parameter."""
    ours = system(prior="normal", prior_scale=1.0)
    fit = NUTS(ours, data(), NUTSOptions(warmup=400, samples=600)).run(jax.random.key(0))
    assert fit.converged.all()
    assert fit.groups["sample_stats"]["diverging"].values.sum() == 0
    labelled = results.to_dataset({"u": fit.draws}, dims={"u": ("member", "parameter")})
    found = results.diagnostics(labelled)
    assert float(found["r_hat"]["u"].max()) < 1.01
    assert float(found["ess_bulk"]["u"].min()) > 400
    assert float(found["ess_tail"]["u"].min()) > 400


def test_ards_spike_is_refused_in_words() -> None:
    with pytest.raises(ProgramError, match="use prior=horseshoe"):
        NUTS(system(prior="ard"), data()).run(jax.random.key(0))


def test_an_inexact_program_is_refused_in_words() -> None:
    fine = ising.system(ising.Options(ratio=2, prior="normal"))
    with pytest.raises(ProgramError, match="log Z is not known exactly"):
        NUTS(fine, data()).run(jax.random.key(0))


@pytest.mark.slow
def test_the_horseshoe_samples_without_divergences() -> None:
    fit = NUTS(
        system(prior="horseshoe"),
        data(),
        NUTSOptions(target_accept=0.99, warmup=1000, samples=1000),
    ).run(jax.random.key(0))
    assert fit.groups["sample_stats"]["diverging"].values.sum() <= 2
