"""SPC/E water with richer coarse-to-fine maps: densities, starts, refusals, and short fits (slow)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import condition, seed, trace
import pytest
from scipy import stats

from bayescg import workflow
from bayescg.infer.begin import origin, program_of
from bayescg.infer.marginal import check_factorises
from bayescg.predict import Production
from bayescg.report import write_report
from bayescg_models import spce_water
from tests.liquids import BOX
from tests.models.test_spce_water import SITES, frames, water
from tests.report.words import Words

VALUES = {
    "isotropic": {"sigma2": jnp.asarray(0.04)},
    "anisotropic": {"sigma2": jnp.array([0.02, 0.04, 0.1])},
    "mixture": {"sigma2": jnp.array([0.01, 0.2]), "weights": jnp.array([0.8, 0.2])},
}


@pytest.mark.parametrize("kind", VALUES)
def test_the_program_s_maps(kind: str) -> None:
    """Of a normal or a mixture about every site, whole boxes away as well."""
    options = spce_water.Options(features=6, sites=SITES, coarse_to_fine=kind, prior="normal")  # type: ignore[arg-type]
    x = np.asarray(frames(2)["x"].values, float)
    gap = 0.3 * np.random.default_rng(1).normal(size=x.shape)
    rest = {"theta_c": jnp.zeros(6), "epsilon": jnp.asarray(0.5), "sigma": jnp.asarray(3.0)}
    given = rest | VALUES[kind] | {"X": jnp.asarray(x + gap + BOX[0] * np.array([1, -1, 0]))}
    program = condition(spce_water.system(options).program, given)
    found = trace(seed(program, jax.random.key(0))).get_trace(jnp.asarray(x))
    sigma2 = np.asarray(VALUES[kind]["sigma2"])
    if kind == "mixture":
        weights = np.asarray(VALUES[kind]["weights"])
        each = [stats.norm.pdf(gap, scale=np.sqrt(s)).prod(-1) for s in sigma2]
        expected = np.log(np.tensordot(weights, np.array(each), 1)).sum(1)
    else:
        expected = stats.norm.logpdf(gap, scale=np.sqrt(sigma2)).sum((1, 2))
    np.testing.assert_allclose(found["x"]["fn"].log_prob(found["x"]["value"]), expected, rtol=1e-8)


@pytest.mark.parametrize("kind", ["anisotropic", "mixture"])
def test_latents_can_be_sampled_and_a_fit_starts_where_it_is_told(kind: str) -> None:
    words = ["features=6", f"coarse_to_fine={kind}", "start=paper", "sigma2=0.03", "components=3"]
    data = frames(2)
    system = workflow.make_system("spce_water", words, data)
    batch = system.batch(data)
    program = program_of(system, batch)
    check_factorises(program, jnp.asarray(batch.x[0]), {})
    start = program.constrain(jnp.asarray(origin(system, program, batch.x)[0]))
    if kind == "anisotropic":
        np.testing.assert_allclose(start["sigma2"], [0.03] * 3)
    else:
        np.testing.assert_allclose(start["sigma2"], [0.03, 0.12, 0.48])
        np.testing.assert_allclose(start["weights"], [1 / 3] * 3)
        assert not {"sigma2", "weights"} & set(program.improper)


@pytest.mark.parametrize("method", ["rem", "arcg", "classifier", "ybg"])
def test_methods_without_latents_refuse_them(method: str) -> None:
    """In one line that says which option it is."""
    words = ["features=6", "coarse_to_fine=mixture"]
    if method == "ybg":
        words += ["prior=flat", "basis=spline", "three_body=none"]
    with pytest.raises(
        ValueError, match=f"^{method} has no latents, X = R.x., and so no use for"
    ) as e:
        workflow.fit("spce_water", frames(4), method=method, options=words)
    assert "coarse_to_fine=mixture; leave that option out" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["coarse_to_fine=ellipsoid"], "coarse_to_fine"),
        (["components=1"], "components must be at least 2, got 1"),
        (["sigma2_ratio=0.5"], "sigma2_ratio must be above 1, got 0.5"),
        (["concentration=0"], "concentration must be positive, got 0"),
        (["sigma2_spread=-1"], "sigma2_spread must be positive, got -1"),
    ],
)
def test_options_that_will_not_do_are_refused(words: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        workflow.make_system("spce_water", words)


@pytest.mark.by_hand
@pytest.mark.parametrize("kind", ["anisotropic", "mixture"])
def test_a_fit_a_prediction_and_a_report(kind: str, tmp_path: Path) -> None:
    """Two iterations on shipped frames: parameters by their names and axes, finite and moving; and what is made of
    the result.

    Of frames that are no liquid the draws would not be a liquid's either.
    """
    small = ["max_iterations=2", "free_chains=8", "clamped_chains=4", "information=0"]
    fit = workflow.fit(
        "spce_water",
        water(4),
        options=["features=6", f"coarse_to_fine={kind}"],
        method_options=small,
    )
    trace = fit["em_trace"]["u"].values
    assert np.isfinite(trace).all() and np.abs(trace[1] - trace[0]).max() > 0.0
    axis = {"anisotropic": "axis", "mixture": "component"}[kind]
    sigma2 = fit["posterior"]["sigma2"]
    assert sigma2.dims == ("chain", "draw", axis) and sigma2.attrs["units"] == "angstrom^2"
    assert np.all(sigma2.values > 0.0)
    if kind == "mixture":
        weights = fit["posterior"]["weights"]
        assert weights.dims == sigma2.dims
        np.testing.assert_allclose(weights.values.sum(-1), 1.0)
        assert np.all(np.diff(sigma2.values, axis=-1) > 0.0)
    result = workflow.predict(fit, draws=3, seed=1, production=Production(60, 20, 2))
    predicted = result["posterior_predictive"]
    g = predicted["rdf"].mean(("chain", "draw"))
    assert np.isfinite(predicted["rdf"].values).all() and 2.0 < float(g.max()) < 4.5
    assert 2.6 < g["r"].values[g.values.argmax()] < 3.0
    write_report([result], tmp_path / "water.html", ["maps"])
    text = Words((tmp_path / "water.html").read_text(encoding="utf-8")).text
    values = {"anisotropic": "xyz", "mixture": "12"}[kind]
    for name in [f"sigma2[{k}]" for k in values] + ["weights[1]"] * (kind == "mixture"):
        assert name in text
