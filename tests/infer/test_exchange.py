"""The exchange algorithm, which needs no log Z, against the exact posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg import results
from bayescg.infer.alternating import Alternating, Options
from bayescg.infer.begin import program_of
from bayescg.infer.exchange import Exchange
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from models import ising

CHAINS = 32


def told(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sd and effective sample size of every parameter, of draws ``(chain, draw, u)``."""
    labelled = results.to_dataset({"u": draws}, dims={"u": ("parameter",)})
    ess = np.asarray(results.diagnostics(labelled)["ess_bulk"]["u"])
    return draws.mean((0, 1)), draws.std((0, 1)), ess


@pytest.mark.by_hand
def test_it_samples_the_exact_posterior() -> None:
    """n_c = 8, five parameters: means within five standard errors (a false failure is rarer than 1e-5), spreads within
    a sixth. Auxiliary configurations are cooled in 100 sweeps, which for eight spins is as good as exact."""
    ours = ising.system(ising.Options(n_f=16, ratio=2, L2=2, L3=1, prior="normal", prior_scale=1.0))
    data = ising.reference(ising.Options(n_f=16, mu="0.3", frames=20), jax.random.key(1))
    batch = ours.batch(data)
    program = program_of(ours, batch)
    given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    moving = Alternating(program, ours.sampler, jnp.asarray(batch.x[0], float), given, Options())
    sampler = Exchange(moving, ours.sampler, sweeps=100)
    start = 0.3 * jax.random.normal(jax.random.key(0), (CHAINS, program.size))
    state = sampler.start(jax.random.key(1), start)
    _, draws, accepted = sampler.run(jax.random.key(2), state, 1500, warmup=800)
    assert draws.shape == (CHAINS, 1500, program.size) and accepted.shape == (CHAINS, 1500)
    assert 0.1 < accepted.mean() < 0.5
    exact = NUTS(ours, data, NUTSOptions(warmup=500, samples=1500)).run(jax.random.key(0))
    (mean, sd, ess), (exact_mean, exact_sd, exact_ess) = told(draws), told(exact.draws[:, :, 0])
    error = np.sqrt(sd**2 / ess + exact_sd**2 / exact_ess)
    assert ess.min() > 150
    assert np.abs((mean - exact_mean) / error).max() < 5.0
    np.testing.assert_allclose(sd, exact_sd, rtol=1 / 6)
