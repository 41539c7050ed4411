"""What is said of posteriors that are not to be trusted: on made draws, and on real ones of tiny problems.

False alarms: of a posterior that is sampled as asked for (400 effective draws of 4000 and more) none in 400 parameters,
so that at 95 % confidence fewer than 0.8 % of parameters raise one (:func:`test_healthy_chains_raise_no_alarm`).
"""

from dataclasses import replace
from functools import cache, partial
import json
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg import results
from bayescg.distributions import Boltzmann, Enumeration, SpinFlip, flat, flat_positive
from bayescg.infer.begin import program_of
from bayescg.infer.collapse import few_particles, moved_most, unreliable
from bayescg.infer.examination import of_chains, of_draws
from bayescg.infer.fit import Fit
from bayescg.infer.health import Posterior, divergences, mixing, unmixed
from bayescg.infer.identified import untold, weakest
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.infer.prior import draw_prior
from bayescg.infer.program import ProgramError
from bayescg.infer.runaway import growth, runaway, wider_than_prior
from bayescg.infer.smc_run import SMC, SMCOptions
from bayescg.infer.svi_run import SVI, SVIOptions
from bayescg.potentials import SpinBasis, SpinPotential, pair_features
from bayescg.system import System
from bayescg.workflow.assemble import to_inference_data
from tests import small_posterior

PAIR = SpinBasis(4, tuple(pair_features([1])))
QUICK = NUTSOptions(warmup=300, samples=400)


@cache
def small(prior: str = "normal") -> Posterior:
    """The posterior of p0 and two coefficients, without draws."""
    system = small_posterior.system(prior=prior)
    batch = system.batch(small_posterior.data())
    program = program_of(system, batch)
    return Posterior(system, program, batch, np.zeros((4, 10, 1, program.size)))


def made(u: np.ndarray, prior: str = "normal") -> Posterior:
    return replace(small(prior), u=u)


def standard(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# --- chains -----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_healthy_chains_raise_no_alarm(memory: float) -> None:
    """Four chains of a thousand draws, independent or a quarter as many effective: 200 posteriors."""
    steps = standard(4, 1100, 200, 1)
    u = np.zeros_like(steps)
    for t in range(1, u.shape[1]):
        u[:, t] = memory * u[:, t - 1] + np.sqrt(1.0 - memory**2) * steps[:, t]
    found = mixing(u[:, 100:])
    assert found.mixed(4).all()
    assert np.median(found.ess) < (1.2 if memory == 0.0 else 0.4) * 4000


def test_chains_that_disagree_are_named() -> None:
    u = standard(4, 500, 1, 3)
    u[0, :, 0, 2] += 2.0
    posterior = made(u)
    (doubt,) = unmixed(posterior, mixing(u), "NUTS is not to be trusted", "raise -M samples")
    assert doubt.parameters[0] == "theta_c[pair_1]" and doubt.members == (0,)
    assert "R-hat up to 1." in doubt.text and "(theta_c[pair_1]; below 1.01 is right)" in doubt.text
    assert doubt.text.endswith("raise -M samples.")


def test_a_parameter_that_never_moved_is_named() -> None:
    u = standard(4, 500, 1, 3)
    u[..., 0] = 0.3
    health = of_chains(made(u), "NUTS is not to be trusted", "raise -M samples")
    assert health.bad.all()
    assert "R-hat not defined (p0;" in health.messages[0]


def test_growth_is_of_what_goes_outward() -> None:
    """Chains that spread like a random walk from one place, and chains at rest."""
    walk = np.cumsum(standard(4, 900, 1), 1)
    outward = 1.02 ** np.arange(900)[None, :, None] * standard(4, 900, 1)
    assert 0.9 < growth(standard(4, 900, 1))[0] < 1.1
    assert growth(outward)[0] > 100.0
    assert growth(walk + 0.2 * np.arange(900)[None, :, None])[0] > 3.0


def test_chains_that_still_go_outward_run_away() -> None:
    u = 0.1 * standard(4, 600, 1, 3)
    u[..., 1] += 0.002 * np.arange(600)[:, None]
    health = of_chains(made(u), "NUTS is not to be trusted", "raise -M samples")
    assert [d.kind for d in health.doubts] == ["runaway", "mixing"]
    assert "theta_c[field] still goes outward" in health.messages[0]
    assert health.attrs["runaway_parameters"] == ["theta_c[field]"]


# --- width ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["normal", "horseshoe"])
def test_a_posterior_as_wide_as_its_prior_does_not_run_away(prior: str) -> None:
    """Draws of the prior, of four keys: what the data do not tell is held by a proper prior."""
    program, batch = small(prior).program, small(prior).batch
    given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    for key in range(4):
        u = draw_prior(program, jax.random.key(key + 1), 2000, jnp.asarray(batch.x[0]), given)
        doubts, spread = runaway(made(np.asarray(u)[None, :, None], prior))
        assert doubts == []
        assert np.nanmax(spread) < 0.7


def test_the_direction_is_that_of_the_draws() -> None:
    """A difference of two parameters ten times as wide as the prior, of strongly correlated priors too."""
    prior = standard(1000, 3)
    draws = 0.5 * standard(4000, 3, seed=1)
    along = 10.0 * standard(4000, seed=2) / np.sqrt(2.0)
    draws[:, 0] += along
    draws[:, 2] -= along
    for mix in (np.eye(3), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.9, 0.0, 0.4]])):
        ratio, direction = wider_than_prior(draws @ mix.T, prior @ mix.T)
        assert ratio == pytest.approx(10.0, rel=0.15)
        expected = mix @ np.array([1.0, 0.0, -1.0])
        cosine = direction @ expected / np.linalg.norm(direction) / np.linalg.norm(expected)
        assert abs(cosine) > 0.97


def test_draws_wider_than_the_prior_run_away() -> None:
    u = standard(1, 2000, 1, 3)
    u[..., 2] *= 8.0  # under normal(0, 1)
    health = of_draws(made(u))
    assert health.bad.all() and health.doubts[0].kind == "runaway"
    assert "draws of theta_c[pair_1] spread 7.9 times as far as the prior's" in health.messages[0]
    assert "-s prior, -s prior_scale" in health.messages[0]


def test_a_logit_without_end_runs_away() -> None:
    u = standard(1, 2000, 1, 3)
    u[..., 0] *= 20.0
    (doubt,) = of_draws(made(u)).doubts
    assert doubt.parameters[0] == "p0" and "where 4 is much" in doubt.text


# --- divergences ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "side"), [("low", "small values of"), ("high", "large"), ("ends", "both ends of")]
)
def test_where_divergent_draws_crowd_is_said(chosen: str, side: str) -> None:
    u = standard(4, 1000, 1, 3)
    z = u[..., 0, 0]
    where = {"low": z < -1.5, "high": z > 1.5, "ends": np.abs(z) > 2.0}[chosen]
    diverging = where & (np.random.default_rng(1).uniform(size=z.shape) < 0.7)
    (doubt,) = divergences(made(u), diverging[..., None], 0.9)
    assert doubt.parameters == ("p0",)
    assert f"crowd at {side}" in doubt.text and "p0 (median 0." in doubt.text
    assert "raise -M target_accept (it is 0.9)" in doubt.text


def test_divergences_anywhere_name_no_parameter() -> None:
    """Twenty keys of three parameters and three sides each: a name would need 4 standard errors, a rate of 0.01."""
    for seed in range(20):
        u = standard(4, 1000, 1, 3, seed=seed)
        diverging = np.random.default_rng(100 + seed).uniform(size=(4, 1000, 1)) < 0.03
        (doubt,) = divergences(made(u), diverging, 0.9)
        assert doubt.parameters == () and "crowd" not in doubt.text
    assert divergences(made(u), np.zeros((4, 1000, 1), bool), 0.9) == []


def test_few_divergences_are_counted_and_not_explained() -> None:
    u = standard(4, 1000, 1, 3)
    diverging = u[..., 0] < np.sort(u[..., 0], None)[20]
    (doubt,) = divergences(made(u), diverging, 0.9)
    assert "20 of 4000 transitions diverged (0.50%)" in doubt.text and doubt.parameters == ()


# --- weights ----------------------------------------------------------------------------------


def test_weights_that_collapse_name_what_they_move() -> None:
    raw = standard(1000, 1, 3)
    log_weights = 40.0 * raw[:, :, 1]
    log_weights -= np.log(np.exp(log_weights - log_weights.max()).sum()) + log_weights.max()
    j, shift = moved_most(raw[:, 0], log_weights[:, 0]) or (0, 0.0)
    assert j == 1 and shift > 2.5
    told = partial(unreliable, small(), raw, log_weights, lead="the guide is far", remedy="smc")
    (doubt,) = told(khat=np.array([1.3]), effective=np.array([1.2]))
    assert doubt.kind == "weights" and doubt.parameters == ("theta_c[field]",)
    assert "they move the mean of theta_c[field] by" in doubt.text
    assert told(khat=np.array([0.5]), effective=np.array([500.0])) == []
    assert told(khat=np.array([np.nan]), effective=np.array([np.nan])) == []


def test_a_stage_of_few_particles_is_said() -> None:
    assert few_particles(small(), [np.array([np.nan, 0.7, 0.2])], 1000) == []
    (doubt,) = few_particles(small(), [np.array([np.nan, 0.7, 0.02])], 1000)
    assert "as few as 20 of 1000 are effective" in doubt.text
    assert few_particles(small(), [np.array([0.7, 0.5])], 100) == []


# --- real runs --------------------------------------------------------------------------------


def sums(x: Array | None = None, *, mu: Array, frames: int = 1, prior: str) -> None:
    """A coupling that is the sum of two parameters, of which the data tell the sum alone; p0 is known."""
    if prior == "flat":
        a, b = (flat(k, 1) for k in "ab")
    else:
        a, b = (numpyro.sample(k, dist.Normal(0.0, 100.0).expand([1]).to_event(1)) for k in "ab")
    spins(x, mu, frames, a + b, 0.9)


def ratio_of(x: Array | None = None, *, mu: Array, frames: int = 1) -> None:
    """A coupling that is told, and a positive number that nothing depends on."""
    numpyro.sample("c", dist.Normal(0.0, 1.0))
    flat_positive("idle")
    spins(x, mu, frames, flat_positive("strength")[None], 0.9)


def funnel(x: Array | None = None, *, mu: Array, frames: int = 1) -> None:
    """Neal's funnel beside a coupling that has nothing to do with it."""
    spread = numpyro.sample("spread", dist.LogNormal(0.0, 3.0))
    numpyro.sample("z", dist.Normal(0.0, spread).expand([8]).to_event(1))
    theta = numpyro.sample("theta", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
    spins(x, mu, frames, theta, 0.9)


def spins(x: Array | None, mu: Array, frames: int, theta: Array, p0: Any) -> None:
    with numpyro.plate("frame", frames if x is None else len(x)):
        potential = SpinPotential(theta, mu, PAIR)
        p_c = Boltzmann(potential, 0.5, log_partition=Enumeration(), event_shape=(4,))
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", SpinFlip(X, p0, ratio=2), obs=x)


def system_of(program: Any) -> System:
    return replace(small_posterior.system(), program=program, features=(), derived=None, start={})


@cache
def short() -> Fit:
    """Chains that end long before they could tell anything."""
    few = NUTSOptions(warmup=30, samples=25)
    return NUTS(small_posterior.system(), small_posterior.data(), few).run(jax.random.key(0))


@pytest.mark.slow
def test_short_chains_name_their_parameters() -> None:
    fit = short()
    assert not fit.converged.any()
    doubt = next(d for d in fit.attrs["doubts"] if d["kind"] == "mixing")  # type: ignore[attr-defined]
    assert doubt["parameters"][0] in ("p0", "theta_c[field]", "theta_c[pair_1]")
    assert f"({fit.attrs['worst_ess_parameter']}; of 4 chains 400 are asked for)" in doubt["text"]
    u = fit.draws[:, :, 0]
    found = mixing(fit.draws)
    assert fit.attrs["ess"] == found.ess.min() and u.shape == (4, 25, 3)


@pytest.mark.slow
def test_it_is_stored(tmp_path: Any) -> None:
    """In the file: words, records and names, and by parameter in the group ``health``."""
    path = tmp_path / "fit.nc"
    results.save(to_inference_data(short(), prior_draws=10), path)
    found = results.load(path)
    attrs = results.attrs(found)
    assert attrs["converged"] == 0
    records = json.loads(attrs["doubts"])
    assert {r["text"] for r in records} <= set(results.told(attrs, "messages"))
    assert attrs["worst_ess_parameter"] in ("p0", "theta_c[field]", "theta_c[pair_1]")
    table = results.group(found, "health")
    assert table["ess_bulk"].dims == ("parameter",) and table["divergent"].ndim == 0
    np.testing.assert_allclose(np.fmin(table["ess_bulk"], table["ess_tail"]).min(), attrs["ess"])
    assert set(table["parameter"].values) == {"p0", "theta_c[0]", "theta_c[1]"}


@pytest.mark.by_hand
def test_nuts_in_a_flat_direction_runs_away() -> None:
    """Under normal(0, 100) two parameters of which the data tell the sum: beta times each spreads far beyond 6."""
    system = system_of(partial(sums, prior="wide"))
    options = NUTSOptions(warmup=150, samples=150, max_tree_depth=7, mass="dense")
    fit = NUTS(system, small_posterior.data(), options).run(jax.random.key(0))
    assert not fit.converged.any()
    (doubt,) = [d for d in fit.attrs["doubts"] if d["kind"] == "runaway"]  # type: ignore[attr-defined]
    assert set(doubt["parameters"]) == {"a[0]", "b[0]"}
    assert doubt["text"] == fit.messages[0] and "where 6 is as good as infinite" in doubt["text"]
    # What is told of the sum is told all the same.
    assert np.std(fit.draws.sum(-1)) < 0.05 * np.std(fit.draws[..., 0])


@pytest.mark.parametrize("method", ["nuts", "svi", "smc"])
def test_what_a_flat_prior_leaves_open_is_named_before_sampling(method: str) -> None:
    make = {"nuts": (NUTS, QUICK), "svi": (SVI, SVIOptions()), "smc": (SMC, SMCOptions())}
    run, options = make[method]
    system = system_of(partial(sums, prior="flat"))
    with pytest.raises(
        ProgramError, match=r"do not tell [ab]\[0\] and [ab]\[0\] apart.*proper prior"
    ):
        run(system, small_posterior.data(), options).run(jax.random.key(0))  # type: ignore[operator]


def test_only_what_is_not_told_is_named() -> None:
    """A flat positive number that nothing depends on, beside one that the data tell and one under a proper prior."""
    system = system_of(ratio_of)
    batch = system.batch(small_posterior.data())
    program = program_of(system, batch)
    u = jnp.zeros(program.size)
    assert untold(system, program, batch, 0, u) == ["idle"]


def test_the_weakest_direction_is_in_words() -> None:
    v = np.array([0.0, 1.0, -0.9])
    v /= np.linalg.norm(v)
    precision = np.eye(3) - 0.999 * np.outer(v, v)
    assert weakest(["a", "b", "c"], precision) == "b and c"


@pytest.mark.by_hand
def test_divergences_of_chains_stuck_in_a_funnel_blame_no_bystander() -> None:
    """Chains worth five draws: a coupling that has nothing to do with it lies elsewhere in them, by chance."""
    options = NUTSOptions(warmup=200, samples=500, target_accept=0.6, max_tree_depth=6)
    fit = NUTS(system_of(funnel), small_posterior.data(), options).run(jax.random.key(1))
    assert not fit.converged.any()
    share = fit.groups["sample_stats"]["diverging"].values.mean()
    assert share > 0.01
    (doubt,) = [d for d in fit.attrs["doubts"] if d["kind"] == "divergences"]  # type: ignore[attr-defined]
    assert doubt["parameters"] in ((), ("spread",)) and f"({share:.2%})" in doubt["text"]


@pytest.mark.by_hand
def test_a_posterior_that_is_sampled_well_says_nothing() -> None:
    """Five keys of NUTS on a posterior that quadrature confirms elsewhere (tests/small_posterior.py)."""
    run = NUTS(
        small_posterior.system(), small_posterior.data(), NUTSOptions(warmup=400, samples=1000)
    )
    for key in range(5):
        fit = run.run(jax.random.key(key))
        assert fit.converged.all() and fit.messages == () and fit.attrs["doubts"] == []
