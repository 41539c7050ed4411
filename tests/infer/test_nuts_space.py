"""NUTS of sites in space that the data hold, log Z learned from simulations."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import results
from bayescg.infer.alternating import Alternating, Options
from bayescg.infer.begin import all_seen, origin, program_of
from bayescg.infer.nuts_run import NUTSOptions, nuts
from bayescg.infer.program import ProgramError
from bayescg.infer.score_start import by_score_matching
from bayescg.workflow.registry import make_system
from models import lj_fluid
from tests import two_particles
from tests.two_particles import OPTIONS, frames, natural

FRAMES = 100
PRECISION = 0.1


@pytest.mark.slow
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


def test_the_noisy_quadrature_agrees_with_simulated_noise() -> None:
    """The density of noisy distances, up to what does not depend on parameters, from 4000 clear ones: the log
    likelihood of two sets of parameters differs by as much, within five standard errors."""
    data = two_particles.noisy_frames(30, 0)
    value = two_particles.noisy_log_posterior(data)
    d = data["x"].values[:, 0] - data["x"].values[:, 1]
    rho = np.linalg.norm(d - two_particles.EDGE * np.round(d / two_particles.EDGE), axis=1)
    rng = np.random.default_rng(1)
    logs = []
    for epsilon, sigma, sigma2 in ((1.2, 3.0, 0.03), (0.9, 3.1, 0.05)):
        u = jnp.log(jnp.array([epsilon, sigma, sigma2]))
        middle = jnp.log(jnp.array([OPTIONS.epsilon, OPTIONS.sigma, two_particles.WIDTHS[0]]))
        spread = jnp.array([OPTIONS.prior_spread, OPTIONS.prior_spread, two_particles.WIDTHS[1]])
        prior = -0.5 * float(jnp.sum(((u - middle) / spread) ** 2))
        # E over the noise of the Boltzmann factor where X was, given x.
        e = np.asarray(natural(jnp.asarray(epsilon), jnp.asarray(sigma)))
        noise = np.sqrt(2.0 * sigma2) * rng.normal(size=(len(rho), 40_000, 3))
        r = np.linalg.norm(np.array([1.0, 0.0, 0.0]) * rho[:, None, None] + noise, axis=2)
        w = np.exp(np.interp(r, two_particles.R, e @ two_particles.BASIS, right=0.0))
        mean, error = w.mean(1), w.std(1) / np.sqrt(w.shape[1])
        total = np.sum(np.log(mean)) - len(rho) * float(two_particles.log_z(jnp.asarray(e)))
        logs.append((float(value(u)) - prior, total, np.sqrt(np.sum((error / mean) ** 2))))
    for found, wanted, error in logs:
        assert abs(found - wanted) < 5.0 * error + 1e-3


@pytest.mark.by_hand
def test_latents_of_two_particles_are_summed_out() -> None:
    """Parameters and the width of the noise, sampled with the latents, against quadrature: as above."""
    data = two_particles.noisy_frames(FRAMES, 0)
    mean, sd = two_particles.noisy_posterior(data)
    fit = nuts(
        two_particles.noisy_system(), data, precision=PRECISION, warmup=400, samples=1500
    ).run(jax.random.key(0))
    draws = fit.draws[:, :, 0]
    labelled = results.to_dataset({"u": draws}, dims={"u": ("parameter",)})
    ess = np.asarray(results.diagnostics(labelled)["ess_bulk"]["u"])
    assert "latents sampled" in fit.approximation and ess.min() > 200
    assert fit.attrs["log_partition_outside"] <= 0.01
    flat = draws.reshape(-1, 3)
    error = sd * np.sqrt(1.0 / ess + fit.attrs["log_partition_shift"] ** 2)
    assert np.all(np.abs(flat.mean(0) - mean) < 5.0 * error)
    np.testing.assert_allclose(flat.std(0), sd, rtol=1 / 5)


@pytest.mark.by_hand
def test_widths_cross_their_posterior_with_the_latents() -> None:
    """Without forces data say nothing of sigma2, however well X knows it: its posterior is its prior. The mean of its
    logarithm within five standard errors, its spread within five, of 16 chains' means (Student's t: a false failure
    is rarer than 2e-4). Steps at fixed X alone would take hundreds of turns from one end to the other."""
    data = two_particles.noisy_frames(20, 3)
    plain = two_particles.noisy_system()
    batch = plain.batch(data)
    program = program_of(plain, batch)
    assert plain.latent_sampler is not None
    moving = Alternating(
        program, plain.latent_sampler, jnp.asarray(batch.x[0]), {}, Options(moves=1)
    )
    (place,) = moving.fine
    u = jnp.asarray(origin(plain, program, batch.x)[0])
    nothing = jnp.log(1e-12)
    u = jnp.tile(u.at[jnp.array([i for i in range(3) if i != place])].set(nothing), (16, 1))
    u = u.at[:, place].set(jnp.log(two_particles.WIDTHS[0]))
    latent, draws = moving.placed(jax.random.key(0), 16), []
    for turn in range(400):
        gain = jnp.asarray(0.05 if turn < 60 else 0.0)
        u, latent, _ = moving.relaxed(
            jax.random.fold_in(jax.random.key(1), turn), u, latent, 5, gain
        )
        draws.append(np.asarray(u[:, place]))
    kept = np.array(draws[60:])
    wanted = np.log(two_particles.WIDTHS[0]), two_particles.WIDTHS[1]
    for value, want in ((kept.mean(0), wanted[0]), (kept.std(0), wanted[1])):
        error = value.std(ddof=1) / 4.0
        assert error < 0.1 * wanted[1]
        assert abs(value.mean() - want) < 5.0 * error + 0.02 * wanted[1]


def test_virtual_sites_are_refused() -> None:
    x = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]) + np.linspace(0.0, 0.3, 6)[:, None, None]
    data = xr.Dataset(
        {"x": (("frame", "site", "axis"), x), "box": ("axis", np.full(3, 50.0))},
        attrs={"temperature": 300.0},
    )
    system = make_system("virtual_bond", [], data)
    with pytest.raises(ValueError, match="does not sample virtual sites"):
        nuts(system, data, log_partition="learned").run(jax.random.key(0))


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


@pytest.mark.slow
def test_a_mixture_about_each_site_is_refused() -> None:
    with xr.open_dataset(Path(__file__).parents[2] / "data" / "spce_water" / "frames.nc") as data:
        data = data.isel(frame=slice(12)).load()
    words = ["features=6", "coarse_to_fine=mixture", "correlated=ignore"]
    system = make_system("spce_water", words, data, "nuts")
    with pytest.raises(ValueError, match="allowed is coarse_to_fine=isotropic or anisotropic"):
        nuts(system, data).run(jax.random.key(0))


def test_the_prior_of_water_s_nuts_ends() -> None:
    """By its defaults, and a flat one is refused before anything is simulated."""
    with xr.open_dataset(Path(__file__).parents[2] / "data" / "spce_water" / "frames.nc") as data:
        data = data.isel(frame=slice(12)).load()
    assert (
        make_system("spce_water", ["features=6"], data, "nuts").options["positive"] == "lognormal"
    )
    system = make_system("spce_water", ["features=6", "positive=flat"], data, "nuts")
    with pytest.raises(ProgramError, match="flat prior of epsilon, sigma, sigma2"):
        nuts(system, data).run(jax.random.key(0))
