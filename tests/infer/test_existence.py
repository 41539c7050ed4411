"""Optima at infinity: found where linear programming says they are, and fitted under another prior."""

import jax
import numpy as np
import pytest
import scipy.optimize

from bayescg import results
from bayescg.infer.existence import endless
from bayescg.infer.mcem import run_mcem
from bayescg.infer.program import coefficient_sites, replace_prior
from bayescg.infer.run import INFINITY, MCEM, MCEMOptions, program_of
from bayescg.limits import rem
from bayescg.workflow import to_inference_data
from models import ising
from tests.brute_force import spins

MUS = np.linspace(0.0, 3.0, 7)


def data(mu: str, frames: int = 20):
    return ising.reference(ising.Options(mu=mu, frames=frames), jax.random.key(5))


def has_an_optimum(program, x, conditions, latent: np.ndarray) -> bool:
    """Whether the mean statistics lie inside the convex hull of all states'.

    They do not where some direction d has ``d.phi(X) <= d.mean`` for every state X, strictly for
    one: the linear program looks for the d that gains most over all states together.
    """
    potential = program.boltzmann(np.zeros(program.size), x, conditions).potential
    free = jax.jacobian(lambda u: program.boltzmann(u, x, conditions).potential.natural())(
        np.zeros(program.size)
    )  # (term, u): the external field is a term, and not a parameter
    every = potential.statistics(spins(latent.shape[1]).T).T  # (state, term)
    gap = np.asarray((every - potential.statistics(latent.T).mean(1)) @ free)
    found = scipy.optimize.linprog(
        gap.sum(0), A_ub=gap, b_ub=np.zeros(len(gap)), bounds=(-1.0, 1.0), method="highs"
    )
    return bool(found.fun > -1e-6)


def test_optima_at_infinity_are_those_that_linear_programming_finds() -> None:
    """REM on eight coarse spins: the exact answer of every field, both kinds among them."""
    system = ising.system(ising.Options(ratio=8, ties="random", fine="flip", prior="normal"))
    batch = system.batch(data("0:3:7"))
    run = rem(system, data("0:3:7"))
    assert run.fixed is not None
    fixed = run.fixed(batch, jax.random.key(1))
    whole = program_of(system, batch)
    first = {k: v[0] for k, v in batch.conditions.items()}
    function = replace_prior(system.program, coefficient_sites(whole, batch.x[0] + 0.0, first))
    result = run_mcem(
        function, system.sampler, batch, jax.random.key(0), fixed=fixed, infinity=INFINITY
    )
    found = endless(result, system.sampler, batch, fixed, jax.random.key(2), INFINITY)
    found |= result.unbounded
    exact = [
        not has_an_optimum(whole, batch.x[0] + 0.0, first, fixed["X"][m]) for m in range(len(MUS))
    ]
    assert set(exact) == {True, False}
    np.testing.assert_array_equal(found, exact)


def test_a_flat_fit_with_no_optimum_falls_back_and_keeps_its_result() -> None:
    """A sweep of which one member's data are all up: the other stays flat."""
    some = data("0.2:3.0:2")
    some["x"][1] = 1.0
    system = ising.system(ising.Options(ratio=8, prior="flat", L2=2, L3=0))
    fit = MCEM(system, some, MCEMOptions(draws=50)).run(jax.random.key(0))
    used = fit.groups["map"]["prior_used"].values
    assert list(used) == ["flat", "normal(0, 10)"]
    assert any("optimum is at infinity for mu = 3" in m for m in fit.messages)
    assert fit.attrs["prior_used"] == "flat, normal(0, 10)"
    # The flat member's precision has nothing of the other's prior in it.
    alone = MCEM(system, some.isel(mu=[0]), MCEMOptions(draws=50)).run(jax.random.key(0))
    assert list(alone.groups["map"]["prior_used"].values) == ["flat"]
    result = to_inference_data(fit)
    assert results.attrs(result)["converged"] == int(fit.converged.all())
    assert np.isfinite(results.group(result, "posterior")["theta_c"].values).all()


def test_a_prior_that_is_a_scale_mixture_has_no_mode_worth_finding() -> None:
    system = ising.system(ising.Options(ratio=8, prior="horseshoe"))
    for run in (MCEM(system, data("0.5")), rem(system, data("0.5"))):
        with pytest.raises(ValueError, match="use -m nuts, or a normal, ard or flat prior"):
            run.run(jax.random.key(0))


def test_a_deterministic_map_is_refused_where_latents_are_sampled() -> None:
    system = ising.system(ising.Options(ratio=8, fine="majority"))
    with pytest.raises(ValueError, match=r"deterministic map.*use -m rem"):
        MCEM(system, data("0.5")).run(jax.random.key(0))
