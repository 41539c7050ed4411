"""Sequential Monte Carlo against exact evidences and posteriors."""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayescg import results, workflow
from bayescg.infer.fit import Fit
from bayescg.infer.prior import draw_prior
from bayescg.infer.program import ProgramError
from bayescg.infer.smc import PATHS, ByData, ByTemperature, Particles, Target
from bayescg.infer.smc_run import SMC, SMCOptions, _disagreement, _evidence
from tests import small_posterior
from tests.statistical import check_mean, check_variance, check_z

SIZE, FRAMES, WIDTH, NOISE = 3, 6, 2.0, 0.3


def linear() -> tuple[Target, Any, float, np.ndarray, np.ndarray]:
    """Linear regression, whose posterior is normal: target, data, log evidence, mean and covariance."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(FRAMES, SIZE))
    y = a @ np.array([1.0, -2.0, 0.5]) + NOISE * rng.normal(size=FRAMES)

    def normal(z: Array, width: float) -> Array:
        return -0.5 * (z / width) ** 2 - jnp.log(width * jnp.sqrt(2 * jnp.pi))

    target = Target(
        lambda u, data: jnp.sum(normal(u, WIDTH)),
        lambda u, data: normal(data[1] - data[0] @ u, NOISE),
        lambda key, count, data: WIDTH * jax.random.normal(key, (count, SIZE)),
    )
    spread = WIDTH**2 * a @ a.T + NOISE**2 * np.eye(FRAMES)
    evidence = multivariate_normal(np.zeros(FRAMES), spread).logpdf(y)
    covariance = np.linalg.inv(a.T @ a / NOISE**2 + np.eye(SIZE) / WIDTH**2)
    mean = covariance @ a.T @ y / NOISE**2
    return target, (jnp.asarray(a), jnp.asarray(y)), float(evidence), mean, covariance


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_a_normal_posterior_and_its_evidence(path: str) -> None:
    """Both from means over independent runs, whose spread is their error."""
    target, data, evidence, mean, covariance = linear()
    particles = Particles(target, PATHS[path], 400)
    runs = [particles.run(k, data) for k in jax.random.split(jax.random.key(0), 16)]
    check_mean([np.exp(r.log_evidence - evidence) for r in runs], 1.0)
    check_mean([r.u.mean(0) for r in runs], mean)
    squares = [((r.u - mean) @ np.linalg.inv(covariance) * (r.u - mean)).sum(1) for r in runs]
    check_mean([s.mean() for s in squares], SIZE)
    if path == "temperature":
        check_mean([r.thermodynamic for r in runs], evidence)
    for r in runs:
        # Up to a constant the stored density is that of the exact posterior.
        ours = r.log_posterior - multivariate_normal(mean, covariance).logpdf(r.u)
        np.testing.assert_allclose(ours, evidence, atol=1e-9)
        assert r.trace["t"][0] == 0.0 and r.trace["t"][-1] == 1.0
        assert np.all(np.diff(r.trace["t"]) > 0.0)
        # Where a stage is not the last it goes as far as the particles allow, or after a whole frame.
        assert np.all(r.trace["ess"][1:] > 0.69)


def test_the_evidence_of_a_part_of_the_data_stands_on_the_way() -> None:
    """Along the data, after three whole frames, the evidence is that of three frames."""
    target, data, _, _, _ = linear()
    r = Particles(target, ByData(), 2000).run(jax.random.key(0), data)
    (at,) = np.flatnonzero(np.isclose(r.trace["t"], 0.5))
    a, y = (np.asarray(v)[:3] for v in data)
    exact = multivariate_normal(np.zeros(3), WIDTH**2 * a @ a.T + NOISE**2 * np.eye(3)).logpdf(y)
    assert r.trace["log_evidence"][at] == pytest.approx(exact, abs=0.3)


def test_moves_leave_the_target_as_it_is() -> None:
    """Exact draws of a posterior stay so, without weights: the moves alone."""
    target, data, _, mean, covariance = linear()
    particles = Particles(target, ByTemperature(), 4000, moves=3)
    draws = np.random.default_rng(1).multivariate_normal(mean, covariance, 4000)
    cloud = particles._start(jax.random.key(0), data)._replace(u=jnp.asarray(draws))
    moved, told = particles._renewed(jax.random.key(1), cloud, np.ones(FRAMES), 1.0, data)
    assert 0.3 < told.accepted < 1.0
    check_mean(np.asarray(moved.u), mean)
    white = np.linalg.solve(np.linalg.cholesky(covariance), np.asarray(moved.u - mean).T).T
    check_variance(white, np.ones(SIZE))


def test_frames_enter_one_after_another() -> None:
    path = ByData()
    np.testing.assert_allclose(path.powers(0.625, 4), [1.0, 1.0, 0.5, 0.0])
    assert path.stop(0.0, 0.7, 4) == 0.5  # two whole frames
    assert path.stop(0.5, 0.7, 4) == 0.7  # a part of the third, which says too much
    assert path.stop(0.7, 0.8, 4) == 0.75
    np.testing.assert_allclose(ByTemperature().powers(0.3, 2), [0.3, 0.3])


@pytest.mark.slow
def test_particles_without_a_likelihood_are_left_behind() -> None:
    """A likelihood of zero on half of the prior: the evidence is half of what it would be."""
    target = Target(
        lambda u, data: jnp.sum(-0.5 * u**2 - 0.5 * jnp.log(2 * jnp.pi)),
        lambda u, data: jnp.where(u > 0.0, 0.0, -jnp.inf),
        lambda key, count, data: jax.random.normal(key, (count, 1)),
    )
    particles = Particles(target, ByTemperature(), 500)
    runs = [particles.run(k, None) for k in jax.random.split(jax.random.key(0), 12)]
    check_mean([np.exp(r.log_evidence) for r in runs], 0.5)
    assert all((r.u > 0.0).all() for r in runs)
    nowhere = Target(target.log_prior, lambda u, data: jnp.full(1, -jnp.inf), target.draw)
    with pytest.raises(FloatingPointError, match="no particle of the prior"):
        Particles(nowhere, ByTemperature(), 100).run(jax.random.key(0), None)


def test_draws_of_the_prior() -> None:
    """Uniform p0 is a logistic in its unconstrained coordinate; the coefficients are as wide as they are told."""
    program, x, conditions = small_posterior.read()
    u = np.asarray(draw_prior(program, jax.random.key(0), 4000, x, conditions))
    check_mean(u, 0.0)
    check_variance(u[:, 1:], np.ones(2))
    assert program.labels[0] == "p0"
    uniform = 1.0 / (1.0 + np.exp(-u[:, 0]))
    check_z(uniform.var(), 1 / 12, np.sqrt(1 / 180 / 4000))


@pytest.fixture(scope="module")
def lattice() -> Fit:
    options = SMCOptions(chains=8, particles=400)
    return SMC(small_posterior.system(), small_posterior.data(), options).run(jax.random.key(0))


def test_a_lattices_evidence_is_that_by_quadrature(lattice: Fit) -> None:
    exact = small_posterior.exact()
    for name in ("log_evidence", "log_evidence_thermodynamic"):
        value, error = lattice.attrs[name], lattice.attrs[f"{name}_se"]
        assert 0.0 < float(error) < 0.1  # type: ignore[arg-type]
        check_z(value, exact.log_evidence, error, 7)  # type: ignore[arg-type]


def test_a_lattices_posterior_is_that_by_quadrature(lattice: Fit) -> None:
    exact = small_posterior.exact()
    draws = lattice.draws[:, :, 0]  # (chain, draw, u)
    check_mean(draws.mean(1), exact.mean)
    check_mean(((draws - exact.mean) ** 2).mean(1), exact.sd**2)
    assert lattice.converged.all() and lattice.messages == ()
    assert lattice.exact and "SMC" in lattice.approximation


@pytest.mark.slow
def test_it_is_stored_by_member_and_in_all() -> None:
    """Two members: an evidence of each, and their sum at the root."""
    made = workflow.make_reference("ising", ["n_f=8", "L_f=4", "mu=0:1:2", "frames=6"], 1)
    options = ["ratio=2", "L2=1", "L3=0", "prior=normal", "prior_scale=1.0"]
    few = ["chains=2", "particles=100"]
    found = workflow.fit("ising", made, method="smc", options=options, method_options=few)
    group, attrs = results.group(found, "evidence"), results.attrs(found)
    assert group["log_evidence"].dims == group["log_evidence_se"].dims == ("mu",)
    assert group["log_evidence_by_chain"].dims == ("chain", "mu")
    assert attrs["log_evidence"] == pytest.approx(float(group["log_evidence"].sum()))
    squares = float((group["log_evidence_se"] ** 2).sum())
    assert attrs["log_evidence_se"] == pytest.approx(np.sqrt(squares))
    assert results.group(found, "posterior")["theta_c"].sizes["draw"] == 100
    likelihood = results.group(found, "log_likelihood")["x"]
    assert dict(likelihood.sizes) == {"chain": 2, "draw": 100, "mu": 2, "frame": 6}
    assert set(results.group(found, "smc_trace")["t"].dims) == {"chain", "stage", "mu"}
    assert workflow.key_numbers(found)["log_evidence"] == attrs["log_evidence"]


def test_two_estimates_that_disagree_are_said(lattice: Fit) -> None:
    evidence = dict(lattice.groups["evidence"])
    assert _disagreement(lattice.batch, evidence) == []
    other = evidence["log_evidence_thermodynamic"]
    evidence["log_evidence_thermodynamic"] = other._replace(values=other.values + 1.0)
    (told,) = _disagreement(lattice.batch, evidence)
    assert "differ by more than their errors for these data" in told
    assert "thermodynamic integration; raise -M particles" in told


@pytest.mark.slow
def test_runs_that_differ_are_said(lattice: Fit) -> None:
    """One run elsewhere: parameters and evidence of the others are not to be trusted."""
    target, data, *_ = linear()
    particles = Particles(target, ByTemperature(), 100)
    runs = [particles.run(k, data) for k in jax.random.split(jax.random.key(0), 4)]
    runs[0] = runs[0]._replace(u=runs[0].u + 5.0, log_evidence=runs[0].log_evidence + 9.0)
    runs[1] = runs[1]._replace(trace=runs[1].trace | {"kept": np.array([0.0, 0.9])})
    tables, totals = _evidence([runs])
    assert totals["log_evidence_se"] > 2.0
    assert tables["log_evidence_by_chain"].values.shape == (4, 1)
    made = SMC(small_posterior.system(), small_posterior.data(), SMCOptions(particles=100))
    fit = made._fit(lattice.batch, lattice.program, [runs], jax.random.key(0), 1.0)
    assert not fit.converged.any() and fit.ended == "not mixed"
    told = "\n".join(fit.messages)
    for words in ("R-hat up to", "rank correlation 0.90", "the log evidence has a standard error"):
        assert words in told


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prior": "ard"}, "spike at zero that SMC cannot enter; use prior=normal"),
        ({"prior": "flat"}, "SMC needs a proper prior"),
    ],
)
def test_what_it_needs_is_said(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        SMC(small_posterior.system(**options), small_posterior.data()).run(jax.random.key(0))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"chains": 1}, "chains must be at least 2"),
        ({"particles": 10}, "particles at least 100"),
        ({"ess": 1.0}, "ess must lie between 0 and 1"),
        ({"path": "time"}, "path=time for smc: must be one of temperature, data"),
    ],
)
def test_options_out_of_range_are_refused(words: dict[str, Any], complaint: str) -> None:
    from bayescg.infer.smc_run import smc

    with pytest.raises(ValueError, match=complaint):
        smc(small_posterior.system(), small_posterior.data(), **words)


@pytest.mark.by_hand
@pytest.mark.parametrize("path", PATHS)
def test_it_agrees_with_nuts_on_eight_coarse_spins(path: str) -> None:
    """Nine parameters: means within five standard errors of both (a false failure is rarer than 1e-5), spreads within a
    tenth; and both paths have the same evidence."""
    from bayescg.infer.nuts_run import NUTS, NUTSOptions
    from models import ising

    ours = ising.system(ising.Options(n_f=16, ratio=2, L2=4, L3=2, prior="normal", prior_scale=1.0))
    made = ising.reference(ising.Options(n_f=16, mu="0.3", frames=20), jax.random.key(1))
    fit = SMC(ours, made, SMCOptions(path=path)).run(jax.random.key(0))
    long = NUTS(ours, made, NUTSOptions(warmup=500, samples=2000)).run(jax.random.key(0))
    assert fit.converged.all() and long.converged.all()
    told = []
    for draws in (fit.draws[:, :, 0], long.draws[:, :, 0]):
        labelled = results.to_dataset({"u": draws}, dims={"u": ("parameter",)})
        ess = np.asarray(results.diagnostics(labelled)["ess_bulk"]["u"])
        told.append((draws.mean((0, 1)), draws.std((0, 1)), ess))
    (mean, sd, ess), (long_mean, long_sd, long_ess) = told
    error = np.sqrt(sd**2 / ess + long_sd**2 / long_ess)
    assert np.abs((mean - long_mean) / error).max() < 5.0
    np.testing.assert_allclose(sd, long_sd, rtol=0.1)
    other = SMC(ours, made, SMCOptions(particles=400)).run(jax.random.key(2))
    gap = float(fit.attrs["log_evidence"]) - float(other.attrs["log_evidence"])  # type: ignore[arg-type]
    error_ = np.hypot(fit.attrs["log_evidence_se"], other.attrs["log_evidence_se"])  # type: ignore[call-overload]
    assert abs(gap) < 6.0 * error_
