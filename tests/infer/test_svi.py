"""Variational inference against an exact posterior, and what it says where it is not one."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed, substitute, trace
from numpyro.infer.util import log_density
import pytest

from bayescg import results, workflow
from bayescg.infer.fit import Fit
from bayescg.infer.marginal import collapsed_program, log_posterior
from bayescg.infer.program import ProgramError
from bayescg.infer.svi import Ascent, Climb, Draws, trend
from bayescg.infer.svi_run import SVI, SVIOptions, _Best, svi
from tests import small_posterior
from tests.statistical import check_mean, check_z

QUICK = SVIOptions(restarts=1, steps=3000)


@pytest.fixture(scope="module")
def fit() -> Fit:
    return SVI(small_posterior.system(), small_posterior.data(), QUICK).run(jax.random.key(0))


@pytest.mark.slow
def test_a_minibatch_counts_as_all_frames_on_average() -> None:
    """The mean over random choices is the whole, in which the prior of the parameters is counted once."""
    program, x, conditions = small_posterior.read()
    u = jnp.asarray([0.3, -0.2, 0.4])
    values = program.constrain(u)

    @partial(jax.jit, static_argnums=0)
    def density(batch: int | None, keys: Any) -> Any:
        return jax.vmap(partial(one, batch))(keys)

    def one(batch: int | None, key: Any) -> Any:
        model = seed(substitute(collapsed_program(program, batch), data=values), key)
        return log_density(model, (x,), conditions, {})[0]

    exact = float(jax.jit(partial(log_posterior, program))(u, x, conditions))
    for all_frames in (None, len(x)):
        (whole,) = density(all_frames, jax.random.split(jax.random.key(0), 1))
        assert float(whole) == pytest.approx(exact)
    some = density(5, jax.random.split(jax.random.key(1), 4000))
    check_mean(some, exact)
    assert np.std(some) > 1.0


def test_a_minibatch_has_no_frame_twice() -> None:
    program, x, conditions = small_posterior.read()
    model = substitute(collapsed_program(program, 5), data=program.constrain(jnp.zeros(3)))

    @jax.jit
    def choose(key: Any) -> Any:
        return trace(seed(model, key)).get_trace(x, **conditions)["minibatch"]["value"]

    chosen = np.asarray(choose(jax.random.key(0)))
    assert len(set(chosen.tolist())) == 5 and chosen.max() < len(x)


def test_the_elbo_is_below_the_evidence_by_little(fit: Fit) -> None:
    """The family is not the posterior's: p0 has a logistic's tail."""
    gap = small_posterior.exact().log_evidence - float(fit.attrs["elbo"])  # type: ignore[arg-type]
    assert 0.0 < gap < 0.5
    assert float(fit.attrs["elbo_se"]) < 0.05  # type: ignore[arg-type]


def test_weighted_draws_are_of_the_posterior(fit: Fit) -> None:
    """Self-normalised importance sampling with the stored weights, errors from the effective number of draws."""
    table = fit.groups["variational"]
    weights = np.exp(table["log_weight"].values[:, 0])
    u, exact = table["u"].values[:, 0], small_posterior.exact()
    assert weights.sum() == pytest.approx(1.0)
    for value, wanted in ((u, exact.mean), ((u - exact.mean) ** 2, exact.sd**2)):
        mean = weights @ value
        error = np.sqrt(weights**2 @ (value - mean) ** 2)
        # Of p0 a normal does not reach the tail, which k-hat tells.
        check_z(mean[1:], wanted[1:], error[1:])
    assert table["khat"].values[0] > 0.5


def test_the_guides_own_density_is_the_one_that_it_is_drawn_from() -> None:
    """Of a normal guide with known parameters."""
    program, x, conditions = small_posterior.read()
    ascent = Ascent(program, "normal", program.constrain(jnp.zeros(3)))
    state = ascent._begin(jax.random.key(0), x, conditions, 0.0)
    at = ascent._svi.optim.get_params(state.optim_state)
    drawn = ascent.draw(jax.random.key(1), 200, at, x, conditions)
    jacobian = np.asarray(jax.vmap(program.log_jacobian)(jnp.asarray(drawn.u)))
    normal = -0.5 * (drawn.u / 0.1) ** 2 - np.log(0.1 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(drawn.log_guide + jacobian, normal.sum(1), atol=1e-9)
    posterior = jax.jit(partial(log_posterior, program))
    direct = [posterior(jnp.asarray(u), x, conditions) for u in drawn.u[:3]]
    np.testing.assert_allclose(drawn.log_posterior[:3], direct)


def test_the_trend_of_a_line_and_of_noise() -> None:
    rise, error = trend(2.0 + 0.5 * np.arange(10))
    assert rise == pytest.approx(4.5) and error == pytest.approx(0.0, abs=1e-12)
    noise = np.random.default_rng(0).normal(size=(4000, 10))
    found = np.array([trend(v) for v in noise])
    check_mean(found[:, 0], 0.0)
    # The error is that of the rise: the two agree in the mean square.
    check_mean(found[:, 0] ** 2 - found[:, 1] ** 2, 0.0)


def test_a_climb_ends_by_its_rule_and_not_before() -> None:
    program, x, conditions = small_posterior.read()
    ascent = Ascent(program, "multivariate", program.constrain(jnp.zeros(3)))
    key = jax.random.key(0)
    short = ascent.climb(key, x, conditions, steps=1000, tolerance=1e-9)
    assert len(short.elbo) == 10 and short.rise > 0.1 and not short.settled
    whole = ascent.climb(key, x, conditions, steps=5000, tolerance=0.1)
    assert whole.settled and whole.rise < max(0.1, 2 * whole.noise)
    assert len(whole.elbo) < 50
    np.testing.assert_array_equal(whole.elbo[:10], short.elbo)


def test_draws_without_a_density_have_no_weight() -> None:
    drawn = Draws(np.zeros((3, 1)), np.array([0.0, -np.inf, np.nan]), np.array([-1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(drawn.log_weights, [1.0, -np.inf, -np.inf])
    assert drawn.elbo[0] == -np.inf


def test_what_it_is_is_labelled(fit: Fit) -> None:
    assert fit.approximation == "variational, a multivariate normal, Pareto-smoothed resampling"
    assert fit.converged.all() and fit.exact
    batched = SVI(small_posterior.system(), small_posterior.data(), SVIOptions(batch=5))
    made = batched._fit(fit.batch, fit.program, [_fake(fit)], jax.random.key(0), 0.0)
    assert made.approximation.endswith("fitted on 5 of 20 frames at a time")


def _fake(fit: Fit, khat: float = 0.1, **climb: Any) -> _Best:
    """What is kept of a member, made up."""
    count = 200
    u = np.random.default_rng(0).normal(size=(count, fit.program.size))
    drawn = Draws(u, np.zeros(count), np.zeros(count))
    told = {"elbo": np.zeros(10), "rise": 0.0, "noise": 0.01, "settled": True} | climb
    even = np.full(count, -np.log(count))
    return _Best(Climb({}, **told), drawn, even, khat, np.arange(count), (-3.0, 0.1), 0)


def test_trouble_is_said(fit: Fit) -> None:
    run = SVI(small_posterior.system(), small_posterior.data(), SVIOptions())
    far = _fake(fit, khat=1.3)
    slow = _fake(fit, rise=4.0, noise=0.2, settled=False)._replace(lower=1)

    def told(*found: _Best) -> Fit:
        return run._fit(fit.batch, fit.program, list(found), jax.random.key(0), 0.0)

    (message,) = told(far).messages
    assert "the guide is far from the posterior for these data (k-hat up to 1.30" in message
    assert "-m nuts or smc" in message
    late = told(slow)
    assert not late.converged.any() and late.ended == "steps used up"
    assert "the ELBO rose by 4 +- 0.2 nats" in late.messages[0]
    assert "1 of 2 restarts ended at a lower ELBO" in late.messages[1]
    assert told(_fake(fit)).messages == ()


@pytest.mark.by_hand
def test_it_is_stored() -> None:
    """A sweep, on minibatches, by the family of fewest parameters."""
    made = workflow.make_reference("ising", ["n_f=8", "L_f=4", "mu=0:1:2", "frames=6"], 1)
    found = workflow.fit(
        "ising",
        made,
        method="svi",
        options=["ratio=2", "L2=1", "L3=0", "prior=normal", "prior_scale=1.0"],
        method_options=["guide=normal", "steps=1000", "restarts=1", "draws=128", "batch=3"],
    )
    group, attrs = results.group(found, "variational"), results.attrs(found)
    assert group["khat"].dims == group["elbo"].dims == ("mu",)
    assert set(results.group(found, "elbo_trace")["elbo"].dims) == {"block", "mu"}
    assert attrs["elbo"] == pytest.approx(float(group["elbo"].sum()))
    assert "3 of 6 frames" in attrs["approximation"]
    likelihood = results.group(found, "log_likelihood")["x"]
    assert dict(likelihood.sizes) == {"chain": 1, "draw": 128, "mu": 2, "frame": 6}
    numbers = workflow.key_numbers(found)
    assert numbers["khat_max"] == float(group["khat"].max())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prior": "ard"}, "spike at zero that variational inference cannot enter"),
        ({"prior": "flat"}, "variational inference needs a proper prior"),
    ],
)
def test_what_it_needs_is_said(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        SVI(small_posterior.system(**options), small_posterior.data()).run(jax.random.key(0))


def test_an_inexact_program_is_refused_in_words() -> None:
    from models import ising

    fine = ising.system(ising.Options(ratio=2, prior="normal"))
    made = ising.reference(ising.Options(mu="1.0", frames=20), jax.random.key(3))
    with pytest.raises(ProgramError, match="log Z is not known exactly"):
        SVI(fine, made).run(jax.random.key(0))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"guide": "laplace"}, "guide=laplace for svi: must be one of normal, lowrank"),
        ({"steps": 0}, "steps must be positive"),
        ({"draws": 10}, "draws must be at least 100"),
        ({"batch": 0}, "batch must be at least 1 frame"),
    ],
)
def test_options_out_of_range_are_refused(words: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        svi(small_posterior.system(), small_posterior.data(), **words)


def test_more_frames_in_a_step_than_there_are_are_refused() -> None:
    run = SVI(small_posterior.system(), small_posterior.data(), SVIOptions(batch=21))
    with pytest.raises(ValueError, match="batch=21 asked for, but the data hold 20 frames"):
        run.run(jax.random.key(0))


@pytest.mark.by_hand
@pytest.mark.parametrize("guide", ["normal", "lowrank", "multivariate", "flow"])
def test_every_family_comes_near_the_posterior(guide: Any) -> None:
    """Unweighted: means within a fifth of a standard deviation of the exact ones; the ELBO below the evidence."""
    options = SVIOptions(guide=guide, weights=False)
    found = SVI(small_posterior.system(), small_posterior.data(), options).run(jax.random.key(0))
    exact = small_posterior.exact()
    assert found.converged.all()
    mean = found.draws[0, :, 0].mean(0)
    # Of p0, whose tail no normal has, within a third.
    assert np.all(np.abs(mean - exact.mean) < exact.sd * np.array([0.35, 0.2, 0.2]))
    gap = exact.log_evidence - float(found.attrs["elbo"])  # type: ignore[arg-type]
    assert -5.0 * float(found.attrs["elbo_se"]) < gap < 1.0  # type: ignore[arg-type]


@pytest.mark.by_hand
def test_minibatches_lead_to_the_same_guide() -> None:
    options = SVIOptions(restarts=1, steps=20_000, rate=0.003, weights=False)
    ours, made = small_posterior.system(), small_posterior.data()
    whole = SVI(ours, made, options).run(jax.random.key(0))
    some = SVI(ours, made, replace(options, batch=10)).run(jax.random.key(0))
    sd = small_posterior.exact().sd
    gap = (whole.draws - some.draws).mean((0, 1, 2)) / sd
    assert np.abs(gap).max() < 0.2
    np.testing.assert_allclose(some.draws.std((0, 1, 2)), whole.draws.std((0, 1, 2)), rtol=0.2)
