"""Growing features: gains against optima found by hand, and the features that made the data."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import Predictive
import pytest
import xarray as xr

import bayescg as cg
from bayescg import results
from bayescg.infer.begin import program_of
from bayescg.infer.growing import Objective, expected_gains, price
from bayescg.infer.program import ProgramError
from models import ising


def test_the_expected_gain_is_exact_of_a_quadratic() -> None:
    """Adding a coordinate to the optimum of a quadratic, the others moving along."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    information, b = root @ root.T + np.eye(5), rng.normal(size=5)
    free = np.array([0, 3])

    def optimum(at: np.ndarray) -> tuple[np.ndarray, float]:
        u = np.zeros(5)
        u[at] = np.linalg.solve(information[np.ix_(at, at)], b[at])
        return u, float(b @ u - 0.5 * u @ information @ u)

    u, value = optimum(free)
    candidates = np.array([1, 2, 4])
    found = expected_gains(b - information @ u, information, free, candidates)
    exact = [optimum(np.append(free, k))[1] - value for k in candidates]
    np.testing.assert_allclose(found, exact, rtol=1e-10)


def system(**options: Any) -> cg.System:
    base = {"n_f": 16, "ratio": 4, "L2": 2, "L3": 1, "prior": "normal", "prior_scale": 2.0}
    return ising.system(ising.Options(**base | options))


def made(frames: int = 200, **theta: float) -> xr.Dataset:
    """Frames of the program at coefficients of which most are zero."""
    ours = system()
    values = np.array([theta.get(f, 0.0) for f in ours.features])
    given = {"theta_c": jnp.asarray(values)[None], "p0": jnp.asarray([0.95])}
    x = Predictive(ours.program, given)(jax.random.key(1), mu=jnp.asarray(0.0), frames=frames)["x"]
    return xr.Dataset(
        {"x": (("frame", "site"), np.asarray(x[0], np.int8))}, attrs={"beta": 0.3, "mu": 0.0}
    )


def test_a_feature_that_made_the_data_is_found(tmp_path: Any) -> None:
    data = made(field=1.5)
    fit = cg.grow(system(), data, draws=50).run(jax.random.key(2))
    assert fit.converged.all()
    idata = cg.to_inference_data(fit)
    growth, posterior = (results.group(idata, g) for g in ("growth", "posterior"))
    used = growth["used"].values.astype(bool)
    assert growth["added"].values[:2].tolist() == [-1, 0] and used[0]
    # The path is what it says: values at both ends by the log posterior itself.
    assert float(growth["gain"][1]) == pytest.approx(
        float(growth["log_posterior"][1] - growth["log_posterior"][0]), abs=1e-9
    )
    assert np.all((growth["gain"] > growth["cost"])[1:])
    assert float(growth["cost"][1]) == pytest.approx(0.5 * np.log(200) + np.log(used.size))
    assert float(growth["expected_gain"][1]) == float(growth["candidate_gain"][1, 0])
    assert not posterior["theta_c"][..., ~used].values.any()
    draws = posterior["theta_c"][..., 0].values
    assert abs(draws.mean() - 1.5) < 5.0 * draws.std()


def test_a_search_ends_at_an_optimum() -> None:
    data = made(field=1.5)
    ours = system()
    batch = ours.batch(data)
    objective = Objective(program_of(ours, batch))
    given = jnp.asarray(batch.x[0], float), {"mu": jnp.asarray(0.0)}
    u = objective.optimum(
        np.zeros(objective.program.size), np.arange(objective.program.size), *given
    )
    assert np.abs(objective.slope(u, *given)[1]).max() < 1e-4
    assert np.linalg.eigvalsh(objective.information(u, *given))[0] > 0.0


@pytest.mark.parametrize(
    ("prior", "options", "text"),
    [
        ("ard", {}, "use -s prior=normal"),
        ("horseshoe", {}, "use -s prior=normal"),
        ("flat", {}, "use -s prior=normal"),
        ("normal", {"begin": "pair_9"}, "begin names no feature of ising: pair_9; known: field, "),
        ("normal", {"begin": "field,pair_1", "most": 1}, "begin names 2 features, most allows 1"),
    ],
)
def test_bad_input(prior: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises((ProgramError, ValueError), match=text):
        cg.grow(system(prior=prior), made(4), **options).run(jax.random.key(0))


def test_what_a_feature_costs() -> None:
    assert price("aic", 100, 9, 2) == 1.0
    assert price("bic", 100, 9, 2) == pytest.approx(0.5 * np.log(100))
    assert price("ebic", 100, 9, 2) == pytest.approx(0.5 * np.log(100) + np.log(7 / 3))
    assert price("ebic", 100, 9, 7) == pytest.approx(0.5 * np.log(100))


@pytest.mark.slow
def test_growing_finds_what_made_the_data_and_nothing_else() -> None:
    """Three of nine features at ratio 8 of the paper's lattice: those three are kept, of 400 frames. Another
    would be with a chance of 5 % (six candidates, chi-square of one degree beyond 2 (log(400)/2 + log(6/4)))."""
    ours = ising.system(ising.Options(ratio=8, L2=4, L3=2, prior="normal", prior_scale=2.0))
    truth = {"field": 2.0, "pair_1": 1.5, "pair_3": 1.0}
    values = np.array([truth.get(f, 0.0) for f in ours.features])
    given = {"theta_c": jnp.asarray(values)[None], "p0": jnp.asarray([0.95])}
    x = Predictive(ours.program, given)(jax.random.key(5), mu=jnp.asarray(0.0), frames=400)["x"]
    data = xr.Dataset(
        {"x": (("frame", "site"), np.asarray(x[0], np.int8))}, attrs={"beta": 0.3, "mu": 0.0}
    )
    fit = cg.grow(ours, data).run(jax.random.key(6))
    idata = cg.to_inference_data(fit)
    used = results.group(idata, "growth")["used"].values.astype(bool)
    assert {f for f, u in zip(ours.features, used, strict=True) if u} == set(truth)
    draws = results.group(idata, "posterior")["theta_c"][..., used]
    low, high = draws.quantile([0.0005, 0.9995], ("chain", "draw")).values
    assert np.all((low <= values[used]) & (values[used] <= high))
