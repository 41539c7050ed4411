"""Posterior prediction: against enumeration, under the right labels, beside the right reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as cg
from bayescg import results
from bayescg.infer.begin import program_of
from bayescg.infer.fit import Fit
from bayescg.predict import Simulation, posterior_predictive
from bayescg.workflow.elsewhere import member_draws, members_elsewhere
from models import ising
from tests.brute_force import spins
from tests.statistical import check_mean
from tests.systems import stand_in


def data(mu: str):
    return ising.reference(ising.Options(mu=mu, n_f=16, frames=12), jax.random.key(3))


@pytest.fixture(scope="module")
def system():
    return ising.system(ising.Options(n_f=16, ratio=2, L2=3, L3=0, prior="normal"))


def weights_of(program, u, x, conditions) -> np.ndarray:
    """Probabilities of all coarse states."""
    boltzmann = program.boltzmann(u, x, conditions)
    statistics = boltzmann.potential.statistics(spins(8).T)
    return np.asarray(jax.nn.softmax(boltzmann.beta * (boltzmann.potential.natural() @ statistics)))


def exact_observables(program, u, x, conditions) -> tuple[float, np.ndarray]:
    """Magnetisation and R(k) of the fine lattice, summed over every coarse state.

    A child of a coarse spin X is X with probability p0, so E[x] = (2 p0 - 1) X, and two different
    children are independent given their parents.
    """
    every, p = spins(8), weights_of(program, u, x, conditions)
    keep = 2.0 * float(program.values(u, x, conditions)["p0"]) - 1.0
    fine = np.repeat(every, 2, axis=1)
    pairs = [
        np.where(
            np.arange(16) // 2 == np.roll(np.arange(16), -k) // 2,
            keep**2,
            keep**2 * fine * np.roll(fine, -k, 1),
        ).mean(1)
        for k in range(1, 9)
    ]
    return float(p @ (keep * every.mean(1))), np.array([p @ v for v in pairs])


@pytest.mark.parametrize("exact", [True, False])
def test_prediction_equals_enumeration(system, exact: bool) -> None:
    """Independent samples where log Z is exact, Gibbs chains elsewhere, against a sum over states.

    36 z-scores below 5: with at least 63 degrees of freedom a false failure is rarer than 2e-4.
    """
    batch = system.batch(data("0.5"))
    program = program_of(system, batch)
    x, given = jnp.asarray(batch.x[0], float), {"mu": jnp.asarray(0.5)}
    u = np.asarray(0.4 * jax.random.normal(jax.random.key(1), (1, 2, program.size)))
    if not exact:
        program = _sampled(program)
    found = posterior_predictive(
        program,
        system.sampler,
        [cg.magnetization(), cg.correlation(8)],
        jax.random.key(7),
        u,
        batch.conditions,
        example=batch.x[0],
        simulation=Simulation(chains=64, measurements=64, thin=2),
    )
    for d in range(2):
        m, r = exact_observables(program, jnp.asarray(u[0, d]), x, given)
        z = (found.values["magnetization"][0, d] - m) / found.errors["magnetization"][0, d]
        assert abs(z) < 5
        z = (found.values["correlation"][0, d] - r) / found.errors["correlation"][0, d]
        assert np.abs(z).max() < 5


def _sampled(program):
    """The program with a log Z that nothing can be drawn from."""
    from dataclasses import replace

    class Hidden(type(program)):
        def boltzmann(self, u, x, conditions):
            exact = super().boltzmann(u, x, conditions)
            exact.log_partition = lambda *_: 0.0
            return exact

    fields = {k: getattr(program, k) for k in program.__dataclass_fields__}
    return replace(Hidden(**fields))


@pytest.fixture(scope="module")
def fit(system) -> Fit:
    """Two fields, two chains of draws that stand for a posterior."""
    some = data("0.5:1.5:2")
    batch = system.batch(some)
    program = program_of(system, batch)
    draws = 0.3 * jax.random.normal(jax.random.key(0), (2, 30, 2, program.size))
    return stand_in(system, batch, program, np.asarray(draws), key=jax.random.key(2**40 + 3))


@pytest.mark.slow
def test_draws_keep_their_labels(fit: Fit) -> None:
    """Each prediction is that of the posterior draw of the same chain and draw: ten t-values of 31
    degrees of freedom below 6, a false failure is rarer than 2e-5."""
    predicted = cg.predict(fit, draws=10)
    found = results.group(predicted, "posterior_predictive")
    assert dict(found["magnetization"].sizes) == {"chain": 2, "draw": 5, "mu": 2}
    assert list(found["draw"].values) == [0, 7, 14, 22, 29]
    for c in range(2):
        for k, d in enumerate(found["draw"].values):
            u = jnp.asarray(fit.draws[c, d, 0])
            given = {"mu": jnp.asarray(0.5)}
            m, _ = exact_observables(fit.program, u, jnp.asarray(fit.batch.x[0], float), given)
            here = found.isel(chain=c, draw=k, mu=0)
            assert abs(float(here["magnetization"]) - m) < 6 * float(here["magnetization_mcse"])
    assert results.attrs(predicted)["seed"] == 2**40 + 3
    assert results.attrs(predicted)["predict_draws"] == 10


def test_a_reference_is_matched_by_field(fit: Fit) -> None:
    """Labels that differ in the last digit are the fit's; other fields of the reference are left out."""
    wide = data("0.5:2.5:3")
    wide = wide.assign_coords(mu=wide["mu"] + 1e-9)
    beside = results.group(cg.predict(fit, draws=4, reference=wide), "reference")
    assert list(beside["mu"].values) == list(fit.batch.coords)
    np.testing.assert_array_equal(beside["magnetization"], wide["magnetization"][:2])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.assign_attrs(beta=0.9), "beta=0.9"),
        (lambda d: cg.observe(d.assign_attrs(J0=3.0)), "J0=3"),
        (lambda d: d.isel(mu=0, drop=True), "no 'mu' dimension"),
        (lambda d: d.isel(mu=[0]), "does not hold"),
        (lambda d: d.isel(site=slice(0, 8)), "8 sites"),
        (lambda d: d.assign(magnetization=d["magnetization"] * np.nan), "not finite"),
    ],
)
def test_another_system_s_reference_is_refused(fit: Fit, change, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cg.predict(fit, draws=4, reference=change(data("0.5:1.5:2")))


@pytest.mark.slow
def test_one_field_takes_its_own_from_a_sweep(system) -> None:
    from dataclasses import replace

    batch = system.batch(data("1.5"))
    program = program_of(system, batch)
    one = stand_in(system, batch, program, np.zeros((1, 3, 1, program.size)))
    sweep = data("0.5:2.5:3")
    beside = results.group(cg.predict(one, reference=sweep), "reference")
    assert float(beside["magnetization"]) == float(sweep["magnetization"][1])
    # One field of a sweep keeps its dimension, and takes a reference at that field.
    kept = replace(one, batch=batch._replace(dim="mu", coords=np.array([1.5])))
    assert results.group(cg.predict(kept, reference=data("1.5")), "reference")["mu"].values == [1.5]
    other = replace(one, batch=batch._replace(conditions={"mu": np.array([0.7])}))
    with pytest.raises(ValueError, match="does not hold"):
        cg.predict(other, reference=sweep)


def test_observables_must_suit_the_system(fit: Fit) -> None:
    for words, text in (
        (["correlation:max=16"], "below the 16 sites"),
        (["magnetization", "magnetization"], "2 times"),
        (["energy"], "known: correlation, magnetization"),
    ):
        with pytest.raises(ValueError, match=text):
            cg.predict(fit, words)


def test_draws_that_are_wrong_are_told_from_the_data(fit: Fit) -> None:
    """Draws that no data made: an interval that allows for it stands beside, under the same labels, about the data."""
    predicted = cg.predict(fit, draws=20)
    inner, outer = (results.group(predicted, g) for g in ("posterior_predictive", "discrepancy"))
    for name in ("magnetization", "correlation"):
        assert outer[name].dims == inner[name].dims and outer[name].shape == inner[name].shape
        # In the order of the prediction's draws, component by component.
        one, other = (
            v[name].isel(mu=0).values.reshape(20, -1)[:, 0].argsort() for v in (outer, inner)
        )
        np.testing.assert_array_equal(one, other)
    x = fit.batch.x[0].astype(float)
    average = np.mean([np.mean(x * np.roll(x, -k, 1)) for k in (1,)])
    assert float(outer["correlation_data"].isel(mu=0, separation=0)) == pytest.approx(average)
    flagged = (np.abs(outer["correlation_z"]) > 5).values
    assert flagged.any()
    # Where the two are far apart the interval is the data's.
    ends = outer["correlation"].quantile([0.05, 0.95], ("chain", "draw")).values
    held = (ends[0] <= outer["correlation_data"].values) & (
        outer["correlation_data"].values <= ends[1]
    )
    assert held[flagged].all()
    told = results.told(results.attrs(predicted), "predict_messages")
    assert any("does not reproduce the data's correlation at mu=" in t for t in told)
    assert all("standard errors apart" in t and "(p = " in t for t in told)


def test_few_draws_have_no_second_interval(fit: Fit) -> None:
    assert not results.has_group(cg.predict(fit, draws=4), "discrepancy")


# --- at other fields -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def together() -> Fit:
    """Three fields that share their curves, each with deviations of its own; draws that stand for a posterior."""
    options = ising.Options(
        n_f=16, ratio=2, L2=3, L3=0, prior="curve", reach=2.0, degree=3, deviation=0.3
    )
    system = ising.system(options)
    batch = system.batch(data("0.5:1.5:3"))
    program = program_of(system, batch, pooled=True)
    draws = np.array(0.3 * jax.random.normal(jax.random.key(0), (2, 20, 3, program.size)))
    for name in program.shared:
        at = program.coordinates(name)
        draws[..., at] = draws[:, :, :1, at]
    return stand_in(system, batch, program, draws)


def test_other_fields_are_predicted_from_what_all_share(together: Fit) -> None:
    """At a field that was fitted by its own deviations, elsewhere by drawn ones; a reference at the new fields.

    z-scores of 31 degrees of freedom below 6, ten of them: a false failure is rarer than 2e-5.
    """
    wide = data("-1,0.5,1")
    found = cg.predict(
        together, ["magnetization"], draws=10, conditions={"mu": [-1.0, 1.0]}, reference=wide
    )
    predicted = results.group(found, "posterior_predictive")
    assert list(predicted["mu"].values) == [-1.0, 1.0]
    assert list(results.group(found, "posterior")["mu"].values) == [0.5, 1.0, 1.5]
    assert "mu" not in results.group(found, "posterior")["theta_c_weight"].dims
    beside = results.group(found, "reference")
    assert list(beside["magnetization"].values) == list(wide["magnetization"].values[[0, 2]])
    assert not results.has_group(found, "reconstruction")  # there are no data to reconstruct
    assert results.attrs(found)["predict_conditions"] == '{"mu": "-1,1"}'
    for c in range(2):
        for k, d in enumerate(predicted["draw"].values):
            u = jnp.asarray(together.draws[c, d, 1])
            x, given = jnp.asarray(together.batch.x[1], float), {"mu": jnp.asarray(1.0)}
            here = predicted.isel(chain=c, draw=k, mu=1)
            m, _ = exact_observables(together.program, u, x, given)
            assert abs(float(here["magnetization"]) - m) < 6 * float(here["magnetization_mcse"])


def test_a_field_that_was_not_fitted_keeps_what_is_shared(together: Fit) -> None:
    program, fitted = together.program, together.batch
    there = members_elsewhere(together.system, program, fitted, {"mu": "-1:1:3"})
    u = together.draws[0]
    found = member_draws(program, jax.random.key(0), u, fitted, there)
    own = program.coordinates("theta_c_deviation")
    shared = np.setdiff1d(np.arange(program.size), own)
    np.testing.assert_array_equal(found[:, 2], u[:, 1])  # mu = 1 was fitted
    np.testing.assert_allclose(found[:, :2, shared], u[:, :2, shared], rtol=1e-10)
    assert np.abs(found[:, 0][:, own] - found[:, 1][:, own]).min() > 0.0  # drawn for each
    check_mean(found[:, :2][..., own].reshape(-1, own.size), 0.0)


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"mu": 2.5}, "from -2 to 2 here, got 2.5"),
        ({"mu": [1.0, 1.0]}, "different finite numbers"),
        ({"mu": "low"}, "first:last:count, got 'low'"),
        ({"temperature": 300.0}, "another temperature; allowed is mu"),
    ],
)
def test_other_conditions_are_refused(together: Fit, conditions, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cg.predict(together, conditions=conditions)


def test_a_fit_of_each_field_says_nothing_of_others(fit: Fit, together: Fit) -> None:
    with pytest.raises(ValueError, match=r"each mu was fitted on its own, .*prior=curve"):
        cg.predict(fit, conditions={"mu": 1.0})
    batch = together.batch._replace(x=together.batch.x[:1], dim=None)
    with pytest.raises(ValueError, match="the fit is of one mu"):
        members_elsewhere(together.system, together.program, batch, {"mu": 1.0})
