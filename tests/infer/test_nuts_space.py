"""NUTS of sites in space that the data hold, log Z learned from simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import results
from bayescg.infer.begin import all_seen, program_of
from bayescg.infer.nuts_run import NUTSOptions, nuts
from bayescg.infer.program import ProgramError
from bayescg.infer.score_start import by_score_matching
from bayescg.topology import variables_of
from bayescg.workflow.registry import make_system
from models import lj_fluid
from tests import small_liquid, two_particles
from tests.two_particles import OPTIONS, frames, natural

FRAMES = 100
PRECISION = 0.1


def test_score_matching_solves_the_linear_problem() -> None:
    """Under a flat prior, two parameters and two coefficients: the equations' solution in the distances alone."""
    data = frames(60, 3)
    system = lj_fluid.system(
        lj_fluid.Options(sites=2, density=OPTIONS.density, cutoff=OPTIONS.cutoff)
    )
    batch = system.batch(data)
    fixed = all_seen(system, batch)
    program = program_of(system, batch, fixed)
    x = jnp.asarray(batch.x[0])
    found = by_score_matching(program, fixed["X"][0], x, {}, np.log([0.6, 3.5]))
    d = batch.x[0, :, 0] - batch.x[0, :, 1]
    r = np.linalg.norm(d - two_particles.EDGE * np.round(d / two_particles.EDGE), axis=1)
    (pair,) = two_particles._pair(1.0, 1.0).interactions

    def slopes(f):  # type: ignore[no-untyped-def]
        return lambda q: jax.jvp(f, (q,), (jnp.ones_like(q),))[1]

    first, second = (
        np.asarray(f(jnp.asarray(r))) for f in (slopes(pair.basis), slopes(slopes(pair.basis)))
    )
    square, bend = 2.0 * first @ first.T, 2.0 * np.sum(second + 2.0 * first / r, 1)
    # The Jacobian of the two logarithms is all that the prior adds.
    e = np.asarray(natural(*np.exp(found)))
    slope = np.asarray(jax.jacobian(lambda u: natural(*jnp.exp(u)))(jnp.asarray(found)))
    np.testing.assert_allclose(slope.T @ (square @ e + bend), [1.0, 1.0], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_two_particles_have_the_posterior_of_the_quadrature() -> None:
    """Means within five standard errors of NUTS and as many of log Z's (a false failure is rarer than 1e-5), the bias
    that was asked for kept to; spreads within a sixth."""
    data = frames(FRAMES, 0)
    mean, sd = two_particles.posterior(data)
    fit = nuts(lj_fluid.system(OPTIONS), data, precision=PRECISION, warmup=400, samples=1000).run(
        jax.random.key(0)
    )
    draws = fit.draws[:, :, 0]
    labelled = results.to_dataset({"u": draws}, dims={"u": ("parameter",)})
    ess = np.asarray(results.diagnostics(labelled)["ess_bulk"]["u"])
    assert fit.converged.all() and not fit.exact and "X = R(x)" in fit.approximation
    assert fit.attrs["log_partition_shift"] <= 1.5 * PRECISION
    assert fit.attrs["log_partition_outside"] <= 0.01
    flat = draws.reshape(-1, 2)
    error = sd * np.sqrt(1.0 / ess + fit.attrs["log_partition_shift"] ** 2)
    assert np.all(np.abs(flat.mean(0) - mean) < 5.0 * error)
    np.testing.assert_allclose(flat.std(0), sd, rtol=1 / 6)


def test_latents_that_would_have_to_be_sampled_are_refused() -> None:
    noise = 0.05 * np.random.default_rng(0).normal(size=(6, small_liquid.TOPOLOGY.sites, 3))
    x = (small_liquid.lattice() + noise) % np.array(small_liquid.BOX)
    data = xr.Dataset(
        {"x": (("frame", "site", "axis"), x), "box": (("axis",), np.array(small_liquid.BOX))}
        | variables_of(small_liquid.TOPOLOGY),
        attrs={"temperature": 300.0},
    )
    system = make_system("molecular", ["prior=normal"], data)
    with pytest.raises(ValueError, match="allowed is latents=data"):
        nuts(system, data).run(jax.random.key(0))


def test_a_flat_prior_is_refused_and_not_the_method_s_default() -> None:
    data = frames(4, 0)
    assert make_system("lj_fluid", ["cutoff=4.5"], data, "nuts").options["prior"] == "lognormal"
    with pytest.raises(ProgramError, match="flat prior of epsilon, sigma"):
        nuts(make_system("lj_fluid", ["cutoff=4.5"], data), data).run(jax.random.key(0))


@pytest.mark.parametrize(
    ("option", "value"), [("latents", "data"), ("moves", 8), ("precision", 0.1), ("start", "a.nc")]
)
def test_what_an_exact_log_z_has_no_use_for_is_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} can be set with log_partition=learned only"):
        NUTSOptions(**{option: value})  # type: ignore[arg-type]
    assert NUTSOptions(log_partition="learned", **{option: value}) is not None  # type: ignore[arg-type]
