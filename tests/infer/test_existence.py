"""Optima at infinity: found where linear programming says they are, and fitted under another prior."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from bayescg import results
from bayescg.infer.begin import program_of
from bayescg.infer.existence import endless
from bayescg.infer.handlers import replace_prior
from bayescg.infer.mcem import run_mcem
from bayescg.infer.program import coefficient_sites, read_program
from bayescg.infer.run import MCEM, MCEMOptions
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


@pytest.mark.by_hand
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
        function, system.sampler, batch, jax.random.key(0), fixed=fixed, infinity=system.runaway
    )
    found = endless(
        result, system.sampler, batch, fixed, ("theta_c",), jax.random.key(2), system.runaway
    )
    found |= result.unbounded
    exact = [
        not has_an_optimum(whole, batch.x[0] + 0.0, first, fixed["X"][m]) for m in range(len(MUS))
    ]
    assert set(exact) == {True, False}
    np.testing.assert_array_equal(found, exact)


@pytest.mark.by_hand
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
    result = to_inference_data(fit)
    assert results.attrs(result)["converged"] == int(fit.converged.all())
    assert np.isfinite(results.group(result, "posterior")["theta_c"].values).all()


@pytest.mark.by_hand
def test_each_member_is_approximated_under_its_own_prior() -> None:
    """Two members with the same estimates, one flat and one under normal(0, 10): their precisions
    differ by that prior's, and by nothing else."""
    system = ising.system(ising.Options(ratio=8, prior="flat", L2=2, L3=0))
    some = data("0.2:0.3:2")
    batch = system.batch(some)
    one = run_mcem(system.program, system.sampler, batch, jax.random.key(0), max_iterations=2)
    normal = replace_prior(system.program, ("theta_c",), 10.0)
    x, given = jnp.asarray(batch.x[0], float), {"mu": jnp.asarray(0.2)}
    twice = replace(
        one,
        programs=(one.program, read_program(normal, x, given)),
        which=np.array([0, 1]),
        u=np.stack([one.u[0]] * 2),
        estimates=jax.tree.map(lambda a: np.stack([a[0]] * 2), one.estimates),
    )
    run = MCEM(system, some, MCEMOptions(weights=False))
    found, _, _ = run._approximate("complete", twice, batch, jax.random.key(0), False, True, None)
    expected = np.zeros_like(found.precision[0])
    at = one.program.coordinates("theta_c")
    expected[at, at] = 0.01
    np.testing.assert_allclose(found.precision[1] - found.precision[0], expected, atol=1e-9)


@pytest.mark.by_hand
def test_an_interrupted_fit_starts_nothing_new() -> None:
    """Neither the look for infinity, nor a second search, nor weights, once the user asks for an end."""

    class Impatient:
        def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
            assert task == "mcem"
            raise KeyboardInterrupt

    some = data("0.2:3.0:2")
    some["x"][1] = 1.0
    system = ising.system(ising.Options(ratio=8, prior="flat", L2=2, L3=0))
    fit = MCEM(system, some, MCEMOptions(draws=20)).run(jax.random.key(0), progress=Impatient())
    assert fit.ended == "interrupted" and not fit.converged.any()
    assert "unweighted" in fit.approximation
    assert any("interrupted" in m for m in fit.messages)


@pytest.mark.slow
def test_a_prior_that_is_a_scale_mixture_has_no_mode_worth_finding() -> None:
    system = ising.system(ising.Options(ratio=8, prior="horseshoe"))
    for run in (MCEM(system, data("0.5")), rem(system, data("0.5"))):
        with pytest.raises(ValueError, match="use -m nuts, or a normal, ard or flat prior"):
            run.run(jax.random.key(0))


def test_a_deterministic_map_is_refused_where_latents_are_sampled() -> None:
    system = ising.system(ising.Options(ratio=8, fine="majority"))
    with pytest.raises(ValueError, match=r"deterministic map.*use -m rem"):
        MCEM(system, data("0.5")).run(jax.random.key(0))
