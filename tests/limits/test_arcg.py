"""ARCG as a run: it finds what REM finds, says how it ended, and refuses what it cannot do."""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import critics, divergences, results
from bayescg.divergences import Judgement, relative_entropy
from bayescg.infer.adversarial import slope_of
from bayescg.infer.adversarial_run import features_of
from bayescg.infer.histograms import over_frames
from bayescg.infer.progress import Silent
from bayescg.limits import arcg, classifier
from bayescg.limits.classifier import classifier_step
from bayescg.potentials.lattice import spin_statistics
from bayescg.workflow.registry import make_system
from bayescg.workflow.verbs import fit, make_reference
from bayescg_models import lj_fluid

LATTICE = ("ratio=1", "L2=2", "L3=1", "prior=flat", "fine=majority")
QUICK = {"max_iterations": 250, "rate": 0.02, "window": 20, "stages": 2, "decay": 0.8}


@pytest.fixture(scope="module")
def spins() -> xr.Dataset:
    """Frames of eight spins with pair couplings up to two sites, in a field."""
    return make_reference("ising", ["n_f=8", "L_f=2", "mu=0.3", "frames=800"], 3)


def words(**options: Any) -> list[str]:
    return [f"{k}={v}" for k, v in options.items()]


@pytest.fixture(scope="module")
def by_rem(spins: xr.Dataset) -> np.ndarray:
    return np.asarray(
        fit("ising", spins, method="rem", options=LATTICE)["map"]["theta_c"].values
    ).ravel()


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("arcg", {"rate": 0.02}),
        pytest.param("arcg", {"rate": 0.02, "noise": 4.0}, marks=pytest.mark.slow),
        pytest.param(
            "arcg",
            {"rate": 0.02, "critic": "perceptron", "critic_steps": 20},
            marks=pytest.mark.by_hand,
        ),
        ("arcg", {"steps": "natural", "rate": 0.1}),
        ("arcg", {"steps": "newton", "tolerance": 0.2}),
        pytest.param(
            "arcg", {"rate": 0.02, "polish": "true", "tolerance": 0.2}, marks=pytest.mark.by_hand
        ),
        ("classifier", {}),
    ],
)
def test_a_complete_critic_leads_where_rem_does(
    method: str, more: dict[str, Any], spins: xr.Dataset, by_rem: np.ndarray
) -> None:
    """The lattice's statistics are those of model and data. Both estimates are of the same 800 frames, so that what
    divides them is Monte Carlo noise: of the average over a stage, well below the frames' own error of 0.06."""
    effort = {k: v for k, v in QUICK.items() if k != "rate"} | more
    found = fit("ising", spins, method=method, options=LATTICE, method_options=words(**effort))
    assert found.attrs["converged"] == 1 and found.attrs["ended"] == "converged"
    assert found["em_trace"]["noise"].values[-1] == 0.0
    theta = found["posterior"]["theta_c"].values.ravel()
    np.testing.assert_allclose(theta, by_rem, atol=0.12)
    trace = found["em_trace"]
    # What a network was fitted to one half of is too sharp for the other, whose estimate is then too low.
    assert abs(found.attrs["divergence"]) < (0.06 if "critic" in more else 0.02)
    assert 0.4 < float(trace["accuracy"].values[-10:].mean()) < 0.6
    if "noise" in more:  # it goes by a factor a time, once the critic errs as often as it should
        sd = trace["noise"].values.ravel()
        assert sd[0] == 4.0 and np.all(np.diff(sd) <= 0.0)
        falls = (sd[1:] > 0.0) & (sd[1:] < sd[:-1])
        steps = sd[1:][falls] / sd[:-1][falls]
        assert len(steps) > 5
        np.testing.assert_allclose(steps, np.sqrt(QUICK["decay"]), rtol=1e-6)
    if "polish" in more:  # a rate while RMSProp goes, an optimum once Newton does
        kinds = [
            np.isfinite(trace[n].values).reshape(len(trace["u"]), -1).all(1)
            for n in ("rate", "optimum")
        ]
        changed = int(kinds[0].sum())
        assert changed > 40 and kinds[0][:changed].all() and kinds[1][changed:].all()
        assert len(kinds[1]) > changed and not kinds[1][:changed].any()
        assert json.loads(found.attrs["polish_options"])["steps"] == "newton"


def test_newton_s_steps_say_how_well_the_data_know_the_parameters(
    spins: xr.Dataset, by_rem: np.ndarray
) -> None:
    """The standard error by the frames is that of the likelihood, the root of the inverse information: the critic is
    complete and 800 frames are independent."""
    how = words(steps="newton", tolerance=0.3, divergence="jensen_shannon", noise=0, penalty=1e-6)
    found = fit("ising", spins, method="arcg", options=LATTICE, method_options=how)
    assert found.attrs["converged"] == 1
    theta = found["posterior"]["theta_c"].values.ravel()
    trace = results.group(found, "em_trace")
    error = trace["error_data"].values[-1].ravel()
    system = make_system("ising", LATTICE, spins)
    basis = system.program.keywords["lattice"].basis  # type: ignore[attr-defined]
    phi = np.asarray(spin_statistics(basis, jnp.asarray(spins["x"].values.T, float)))
    beta = float(spins.attrs["beta"])
    # The first statistic is that of the known field.
    likelihood = np.sqrt(np.diag(np.linalg.inv(beta**2 * np.cov(phi[1:]))) / 800)
    np.testing.assert_allclose(error, likelihood, rtol=0.2)
    # Four of the errors that simulation leaves, and the last step.
    assert np.all(np.abs(theta - by_rem) < (4.0 + 1.0) * 0.3 * error)


@pytest.mark.parametrize(
    "name",
    [
        "hellinger",
        "mmd",
        *(
            pytest.param(name, marks=pytest.mark.by_hand)
            for name in (
                "bhattacharyya",
                "jensen_shannon",
                "squared",
                "energy_distance",
                "wasserstein",  # networks, a minute each
                "sobolev",
            )
        ),
    ],
)
@pytest.mark.slow
def test_every_divergence_leads_there(name: str, spins: xr.Dataset, by_rem: np.ndarray) -> None:
    """The model holds the truth, so that all divergences have their minimum near the same place."""
    found = fit(
        "ising",
        spins,
        method="arcg",
        options=LATTICE,
        method_options=words(**QUICK, divergence=name),
    )
    theta = found["posterior"]["theta_c"].values.ravel()
    start = np.linalg.norm(by_rem)
    assert np.linalg.norm(theta - by_rem) < 0.25 * start, (theta, by_rem)


@pytest.mark.slow
def test_relative_entropy_s_slope_is_rem_s_on_shared_samples_of_lennard_jones() -> None:
    """A complete critic on D1 moments: both slopes from the same samples, their difference within its own error.

    The error is that of eight groups of chains, with seven degrees of freedom: one of the two beyond four of them is a
    false alarm in 1 of 100. A few hundred configurations shift a critic's slope by some per cent of itself.
    """
    small = lj_fluid.Options(sites=32, density=0.012, cutoff=6.0)
    system = lj_fluid.system(small)
    fluid = system.program.keywords["fluid"]  # type: ignore[attr-defined]

    def drawn(key: int, epsilon: float, sigma: float) -> np.ndarray:
        potential = fluid.potential(jnp.asarray(epsilon), jnp.asarray(sigma))
        ready = fluid.sampler.prepare(potential, jnp.asarray(fluid.beta))

        @jax.jit
        def run(k: Any, state: Any) -> Any:
            def move(s: Any, k: Any) -> tuple[Any, None]:
                return fluid.sampler.step(k, s, *ready)[0], None

            return jax.lax.scan(move, state, jax.random.split(k, 4))[0]

        state, out = fluid.sampler.init(jax.random.key(key), 64), []
        for i in range(70):
            state = run(jax.random.fold_in(jax.random.key(key), i), state)
            if i >= 20:
                out.append(np.asarray(state.x, float))
        return np.stack(out)  # (sample, axis, site, chain)

    model, data = drawn(1, 0.30, 3.05), drawn(2, 0.33, 3.0)
    potential = fluid.potential(jnp.asarray(0.30), jnp.asarray(3.05))
    slope = np.asarray(
        jax.jacfwd(lambda u: fluid.potential(jnp.exp(u[0]), jnp.exp(u[1])).natural())(
            jnp.log(jnp.array([0.30, 3.05]))
        )
    )
    moments, _ = features_of(system, "auto", potential.statistics)

    def looked(function: Callable[..., Any], x: np.ndarray) -> np.ndarray:
        return over_frames(
            function, np.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:3]).swapaxes(1, 2)
        )

    groups = []
    for g in range(8):
        ours, theirs = model[..., g::8], data[..., g::8]
        phi, f, h = (
            looked(potential.statistics, ours),
            looked(moments, ours),
            looked(moments, theirs),
        )
        samples = critics.whitened(critics.labelled(f, h))
        judge = relative_entropy.by(critics.logistic(1e-6, 200), folds=1)
        _, said = judge(jax.random.key(0), judge.start(jax.random.key(0), 2), samples)
        by_critic = slope_of(said.witness, phi, slope, fluid.beta)
        wanted = looked(potential.statistics, theirs).mean(0)
        groups.append((by_critic, fluid.beta * slope.T @ (phi.mean(0) - wanted)))
    difference = np.array([a - b for a, b in groups])
    size = np.abs(np.mean([b for _, b in groups], 0))
    error = difference.std(0, ddof=1) / np.sqrt(8)
    assert np.all(np.abs(difference.mean(0)) < 4.0 * error + 0.02 * size), (
        difference.mean(0),
        error,
    )
    assert np.all(error < 0.1 * size)  # so that the comparison says something


def test_a_classifier_s_verdict_is_added_exactly() -> None:
    rng = np.random.default_rng(0)
    statistics, jacobian = rng.normal(size=(200, 3)), rng.normal(size=(3, 3))
    change = np.array([0.2, -0.1, 0.05])
    logit = 0.7 * (statistics @ jacobian) @ change + 1.3
    said = Judgement(0.0, np.zeros(200), 0.5, 0.0, logit)
    np.testing.assert_allclose(classifier_step(said, statistics, jacobian, 0.7), -change, rtol=1e-8)


def far_off(**options: Any) -> Any:
    """A search from particles much larger than the data's, without noise."""
    return fit(
        "lj_fluid",
        overlapping(),
        method="arcg",
        options=["cutoff=6", "sigma=4.5", "epsilon=2"],
        method_options=words(noise=0.0, chains=8, samples=4, **options),
    )


@pytest.mark.slow
def test_a_critic_that_tells_all_apart_ends_the_search() -> None:
    """Particles of another size are seen at a glance: without noise no guess is wrong."""
    found = far_off(max_iterations=20)
    assert found.attrs["converged"] == 0 and found.attrs["ended"] == "separated"
    assert "noise" in str(found.attrs["messages"]) and "start nearer" in str(
        found.attrs["messages"]
    )
    assert found.attrs["iterations"] < 20
    trace = found["em_trace"]
    assert np.all(trace["accuracy"].values[-3:] == 1.0)
    # Where no guess is wrong nothing moves.
    assert np.ptp(trace["u"].values[-3:], axis=0).max() == 0.0
    np.testing.assert_allclose(
        found["posterior"]["sigma"].values.ravel(), trace["sigma"].values[-1]
    )


def test_a_metric_goes_on_where_a_classifier_would_be_at_its_end() -> None:
    """It has a slope between samples that nobody mistakes for each other: particles of the model become smaller."""
    found = far_off(divergence="energy_distance", max_iterations=8)
    assert found.attrs["ended"] == "stopped at max_iterations"
    trace = found["em_trace"]
    assert trace["accuracy"].values.min() == 1.0
    assert np.all(np.abs(trace["slope"].values) > 0.0)
    assert found["posterior"]["sigma"].values < 4.5


def overlapping() -> xr.Dataset:
    """Particles in random places, nearer to each other than a model's ever are, but not too near to be read."""
    rng, frames = np.random.default_rng(1), []
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * 3.6
    for _ in range(20):
        frames.append((grid + rng.uniform(-0.6, 0.6, grid.shape)) % 14.4)
    return xr.Dataset(
        {"x": (("frame", "site", "axis"), np.array(frames)), "box": ("axis", np.full(3, 14.4))},
        attrs={"temperature": 300.0},
    )


class Spoilt:
    """A judge that breaks after some iterations."""

    def __init__(self, good: int) -> None:
        self.inner = relative_entropy.by(critics.logistic())
        self.good = good

    def start(self, key: Any, features: int) -> Any:
        return self.inner.start(key, features), 0

    def __call__(self, key: Any, state: Any, samples: Any, at: Any = None) -> Any:
        state, count = state
        state, said = self.inner(key, state, samples, at)
        if count >= self.good:
            said = said._replace(loss=np.nan)
        return (state, count + 1), said


def test_a_loss_that_is_not_a_number_ends_with_the_last_good_state(spins: xr.Dataset) -> None:
    system = make_system("ising", LATTICE, spins)
    run = arcg(system, spins, max_iterations=50, noise=0.0)
    broken = type(run)(
        run.system, run.data, run.options, run.method, Spoilt(5), run.rule, run.downhill
    )
    found = broken.run(jax.random.key(0))
    assert not found.converged.any() and "not a number" in found.ended
    assert found.attrs["iterations"] == 5
    assert found.mode is not None
    np.testing.assert_array_equal(found.mode[0], found.groups["em_trace"]["u"].values[-1, 0])
    none = type(run)(run.system, run.data, run.options, run.method, Spoilt(0), run.rule)
    with pytest.raises(FloatingPointError, match="first iteration"):
        none.run(jax.random.key(0))


def test_an_interrupted_search_keeps_what_it_had(spins: xr.Dataset) -> None:
    class Impatient(Silent):
        def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
            if task == "arcg" and done > 0.05:
                raise KeyboardInterrupt

    system = make_system("ising", LATTICE, spins)
    found = arcg(system, spins, max_iterations=100).run(jax.random.key(0), progress=Impatient())
    assert found.ended == "interrupted" and not found.converged.any()
    assert 0 < found.attrs["iterations"] <= 6  # type: ignore[operator]


@pytest.mark.by_hand
def test_noise_begins_with_what_it_takes() -> None:
    """A model that is nearly right needs none; one that is far off some."""
    effort = words(max_iterations=1)
    far = fit(
        "lj_fluid",
        overlapping(),
        method="arcg",
        options=["cutoff=6", "sigma=4.5"],
        method_options=effort,
    )
    assert far["em_trace"]["noise"].values[0] > 0.0
    own = make_reference("ising", ["n_f=8", "L_f=1", "J0=0.001", "mu=0", "frames=500"], 0)
    near = fit("ising", own, method="arcg", options=LATTICE, method_options=effort)
    assert near["em_trace"]["noise"].values[0] == 0.0


def test_objects_stand_for_names(spins: xr.Dataset) -> None:
    system = make_system("ising", LATTICE, spins)
    made = arcg(
        system, spins, divergence=divergences.hellinger, critic=critics.perceptron((5, 5), 10)
    )
    assert made.judge.divergence is divergences.hellinger  # type: ignore[attr-defined]
    assert made.judge.critic.hidden == (5, 5)  # type: ignore[attr-defined]
    named = arcg(
        system, spins, divergence="hellinger", critic="perceptron", hidden="5,5", critic_steps=10
    )
    assert named.judge == made.judge


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"divergence": "kl"}, "relative_entropy"),
        ({"critic": "forest"}, "logistic"),
        ({"hidden": "5,x", "critic": "perceptron"}, "whole numbers"),
        ({"decay": 1.5}, "decay"),
        ({"folds": 0}, "folds"),
        ({"chains": 2}, "chains"),
        ({"samples": 0}, "samples"),
        ({"reach": 0}, "reach must be positive"),
        ({"noize": 1}, "noise"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str, spins: xr.Dataset) -> None:
    system = make_system("ising", LATTICE, spins)
    with pytest.raises(ValueError, match=said):
        run = arcg(system, spins, **options)
        run.run(jax.random.key(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": "shape"}, "allowed are statistics"),
        ({"rates": "sigma=0.1"}, "allowed are theta_c"),
        ({"rates": "theta_c=fast"}, "positive number"),
        ({"rate": -1.0}, "positive"),
        ({"begin": "data"}, "sites in space"),
        ({"steps": "sideways"}, "natural"),
        (
            {"divergence": "mmd", "folds": 1, "critic": "perceptron"},
            "critic, folds: mmd has a witness",
        ),
        ({"steps": "newton", "divergence": "mmd"}, "allowed with it are critic=logistic"),
        ({"steps": "newton", "critic": "perceptron"}, "allowed with it are critic=logistic"),
        ({"polish": True, "divergence": "mmd"}, "allowed with it are critic=logistic"),
        ({"steps": "newton", "spread": -1.0}, "spread must be positive"),
        ({"steps": "newton", "longest": 0.0}, "longest must be positive"),
    ],
)
def test_what_a_run_cannot_do_is_said_before_it(
    options: dict[str, Any], said: str, spins: xr.Dataset
) -> None:
    system = make_system("ising", LATTICE, spins)
    with pytest.raises(ValueError, match=said):
        arcg(system, spins, **options).run(jax.random.key(0))


@pytest.mark.parametrize("method", ["arcg", "rem"])
@pytest.mark.slow
def test_a_fit_begins_where_another_ended(
    method: str, spins: xr.Dataset, by_rem: np.ndarray, tmp_path: Path
) -> None:
    """At its posterior mean, which the trace shows."""
    path = tmp_path / "earlier.nc"
    earlier = fit("ising", spins, method="rem", options=LATTICE)
    results.save(earlier, path)
    mean = results.group(earlier, "posterior")["theta_c"].mean(("chain", "draw")).values.ravel()
    short = ["rate=1e-9"] if method == "arcg" else ["radius=1e-6", "longest=1e-6"]
    more = ["max_iterations=1", f"start={path}", *short]
    found = fit("ising", spins, method=method, options=LATTICE, method_options=more)
    trace = results.group(found, "em_trace")
    first = np.asarray(trace["u" if method == "arcg" else "theta_c"].values[0]).ravel()
    assert np.abs(mean).max() > 0.1
    np.testing.assert_allclose(first, mean, atol=0.01)


@pytest.mark.by_hand
def test_a_start_that_is_no_result_of_the_model_is_refused(
    spins: xr.Dataset, tmp_path: Path
) -> None:
    system = make_system("ising", LATTICE, spins)
    with pytest.raises(ValueError, match="start must be a result's file"):
        arcg(system, spins, start=str(tmp_path / "none.nc")).run(jax.random.key(0))
    other = fit("ising", spins, method="rem", options=["ratio=4", "L2=2", "prior=flat"])
    results.save(other, tmp_path / "other.nc")
    with pytest.raises(ValueError, match="shape"):
        arcg(system, spins, start=str(tmp_path / "other.nc")).run(jax.random.key(0))


def test_the_classifier_takes_no_natural_steps(spins: xr.Dataset) -> None:
    system = make_system("ising", LATTICE, spins)
    with pytest.raises(ValueError, match="for arcg"):
        classifier(system, spins, steps="natural").run(jax.random.key(0))


def test_a_sweep_and_a_prior_are_refused(spins: xr.Dataset) -> None:
    sweep = make_reference("ising", ["n_f=8", "L_f=2", "mu=-1:1:3", "frames=10"], 0)
    with pytest.raises(ValueError, match="not a sweep"):
        arcg(make_system("ising", LATTICE, sweep), sweep).run(jax.random.key(0))
    under = make_system("ising", ["ratio=1", "prior=ard", "fine=majority"], spins)
    for method in (arcg, classifier):
        with pytest.raises(ValueError, match="prior=flat"):
            method(under, spins).run(jax.random.key(0))


def test_a_fit_by_a_critic_holds_to_the_contract(spins: xr.Dataset) -> None:
    found = fit(
        "ising", spins, method="arcg", options=["ratio=4"], method_options=words(max_iterations=3)
    )
    assert found.attrs["method"] == "arcg" and found.attrs["converged"] == 0
    assert found["posterior"].sizes["chain"] == found["posterior"].sizes["draw"] == 1
    for name in ("divergence", "accuracy", "noise", "rate", "slope", "u", "failed"):
        assert found["em_trace"][name].sizes["iteration"] == 3
    assert found.attrs["critic_features"] == "statistics"
    assert "arcg ended: stopped at max_iterations" in str(found.attrs["messages"])
