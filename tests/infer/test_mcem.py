"""MC-EM, Laplace and REM against the exact posterior of a lattice that can be enumerated."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from bayescg.infer.laplace import laplace
from bayescg.infer.marginal import log_posterior
from bayescg.infer.mcem import MCEMResult, run_mcem
from bayescg.infer.run import MCEM, MCEMOptions
from bayescg.infer.schedules import Newton
from bayescg.limits import rem
from models import ising

MUS = (0.2, 1.0)


@cache
def data(ratio: int):
    options = ising.Options(mu="0.2:1.0:2", frames=20, ratio=ratio)
    return ising.reference(options, jax.random.key(3))


@cache
def fitted(ratio: int) -> tuple[MCEMResult, object]:
    system = ising.system(ising.Options(ratio=ratio, prior="normal", prior_scale=1.0))
    batch = system.batch(data(ratio))
    result = run_mcem(
        system.program, system.sampler, batch, jax.random.key(1), tolerance=0.02, max_iterations=100
    )
    return result, batch


def exact_mode(result: MCEMResult, batch, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The MAP by a deterministic optimiser, and the Hessian there."""
    x = jnp.asarray(batch.x[m], float)
    given = {k: jnp.asarray(v[m]) for k, v in batch.conditions.items()}

    def loss(u):
        return -log_posterior(result.program, u, x, given)

    both, hessian = jax.jit(jax.value_and_grad(loss)), jax.jit(jax.hessian(loss))
    found = scipy.optimize.minimize(
        lambda u: [np.asarray(a) for a in both(u)],
        np.zeros(result.program.size),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-7},
    )
    return found.x, np.asarray(hessian(found.x))


@pytest.mark.parametrize("ratio", [8, pytest.param(4, marks=pytest.mark.slow)])
def test_the_map_is_the_exact_one(ratio: int) -> None:
    """Within 0.1 posterior sd in every coordinate: five standard errors of the stopping rule."""
    result, batch = fitted(ratio)
    assert result.converged.all()
    for m in range(len(MUS)):
        mode, hessian = exact_mode(result, batch, m)
        sd = np.sqrt(np.diag(np.linalg.inv(hessian)))
        assert np.abs((result.u[m] - mode) / sd).max() < 0.1


def test_the_observed_information_is_the_exact_one() -> None:
    """Louis' identity, in units of the exact posterior sd; the tolerance is five Monte Carlo errors
    as found by repetition with other keys (0.01), so a false failure is rarer than 1e-5."""
    result, batch = fitted(8)
    found = laplace(
        result.program, result.estimates, result.u, batch.x, batch.conditions, "observed"
    )
    for m in range(len(MUS)):
        _, hessian = exact_mode(result, batch, m)
        scale = 1.0 / np.sqrt(np.diag(hessian))
        gap = scale[:, None] * (found.precision[m] - hessian) * scale
        assert np.abs(gap).max() < 0.1
    complete = laplace(
        result.program, result.estimates, result.u, batch.x, batch.conditions, "complete"
    )
    assert np.all(
        np.diagonal(complete.precision, 0, 1, 2) > np.diagonal(found.precision, 0, 1, 2) - 1e-6
    )


def test_an_unfinished_fit_says_so() -> None:
    system = ising.system(ising.Options(ratio=8, prior="normal", prior_scale=1.0))
    fit = MCEM(system, data(8), MCEMOptions(max_iterations=2, draws=20)).run(jax.random.key(0))
    assert not fit.converged.any()
    assert fit.ended == "iterations"
    assert any("did not converge" in m for m in fit.messages)


def test_a_subset_of_frames_leads_to_the_same_optimum() -> None:
    """Incremental EM from the origin, several posterior sd away, ends at the same point: within one
    sd, where frames that rest keep 32 old configurations each, which is what limits it."""
    result, batch = fitted(8)
    system = ising.system(ising.Options(ratio=8, prior="normal", prior_scale=1.0))
    part = run_mcem(
        system.program,
        system.sampler,
        batch,
        jax.random.key(5),
        frames_per_step=10,
        schedule=Newton(clamped_chains=32, max_sweeps=32),
        max_iterations=30,
    )
    _, hessian = exact_mode(result, batch, 0)
    sd = np.sqrt(np.diag(np.linalg.inv(hessian)))
    assert np.abs(result.u[0] / sd).max() > 3.0
    late = part.trace["u"][-10:, 0].mean(0)
    assert np.abs((late - result.u[0]) / sd).max() < 1.0
    with pytest.raises(ValueError, match="between 1 and 20"):
        run_mcem(system.program, system.sampler, batch, jax.random.key(5), frames_per_step=21)


def test_more_data_can_join_a_running_fit() -> None:
    few = ising.system(ising.Options(ratio=8, prior="normal", prior_scale=1.0, frames=5))
    options = MCEMOptions(draws=20, max_iterations=60, weights=False)
    first = MCEM(few, data(8), options).run(jax.random.key(0))
    many = ising.system(ising.Options(ratio=8, prior="normal", prior_scale=1.0))
    second = MCEM(many, data(8), options).run(jax.random.key(0), start=first)
    assert second.batch.x.shape[1] == 20
    assert second.converged.all()


def test_rem_matches_the_mapped_averages() -> None:
    """REM's stationary point: model averages of the features equal those of R(x)."""
    system = ising.system(ising.Options(ratio=8, ties="random", prior="ard"))
    fit = rem(system, data(8), draws=20, tolerance=0.05).run(jax.random.key(0))
    assert fit.draws.shape[:2] == (1, 1)
    m = 0
    mapped = jnp.asarray(fit.fixed["X"][m])
    assert fit.program.sites.latent_observed
    member = fit.program.given({"X": mapped})
    given = {k: jnp.asarray(v[m]) for k, v in fit.batch.conditions.items()}
    x = jnp.asarray(fit.batch.x[m], float)
    slope = jax.grad(lambda u: log_posterior(member, u, x, given))(jnp.asarray(fit.mode[m]))
    hessian = -jax.hessian(lambda u: log_posterior(member, u, x, given))(jnp.asarray(fit.mode[m]))
    if fit.groups["map"]["prior_used"].values[m] == "flat":
        step = np.linalg.solve(np.asarray(hessian), np.asarray(slope))
        sd = np.sqrt(np.diag(np.linalg.inv(np.asarray(hessian))))
        assert np.abs(step / sd).max() < 0.3
