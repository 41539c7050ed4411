"""Water over temperatures: what the data decide, the program at each temperature, and what is refused."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed, substitute, trace
import pytest
import xarray as xr

import bayescg as cg
from bayescg import workflow
from bayescg.infer.begin import origin, program_of
from bayescg.infer.handlers import unwrapped
from bayescg.infer.health import Posterior
from bayescg.infer.runaway import runaway
from bayescg.units import beta_of
from bayescg_models import spce_temperatures, spce_water
from tests.liquids import BOX, liquid

SHIPPED = Path(__file__).parents[2] / "data" / "spce_temperatures"
SITES = 40
WORDS = ["features=4", "core=2.0", "sites=40", f"box={BOX[0]}"]
TEMPERATURES = (290.0, 300.0, 330.0)


def frames(count: int = 3, **attrs: float) -> xr.Dataset:
    """Random sites at three temperatures; what they are like does not matter where these are used."""
    x = np.stack([liquid(SITES, seed=i).T for i in range(3 * count)])
    return xr.Dataset(
        {
            "x": (("temperature", "frame", "site", "axis"), x.reshape(3, count, SITES, 3)),
            "box": (("axis",), np.array(BOX)),
        },
        {"temperature": list(TEMPERATURES)},
        attrs=attrs,
    )


def made(*words: str, data: xr.Dataset | None = None) -> cg.System:
    return workflow.system(
        "spce_temperatures", data, **dict(w.split("=") for w in (*WORDS, *words))
    )


@pytest.mark.slow
def test_the_program_is_that_of_one_temperature_at_each() -> None:
    """Its energy and its width at 330 K are those of spce_water with the values that straight lines give there."""
    system = made()
    values: dict[str, Any] = {
        "theta_c_reference": jnp.array([0.1, -0.2, 0.05, 0.0]),
        "theta_c_slope": jnp.array([0.03, 0.0, -0.01, 0.02]),
        "epsilon_reference": 0.2,
        "epsilon_slope": 0.1,
        "sigma_reference": 2.9,
        "sigma_slope": -0.01,
        "sigma2_reference": 0.02,
        "sigma2_slope": 0.3,
    }
    X = jnp.asarray(liquid(SITES, seed=5).T)[None]
    t = (330.0 - 300.0) / 30.0
    there = {
        "theta_c": values["theta_c_reference"] + t * values["theta_c_slope"],
        "epsilon": 0.2 * np.exp(0.1 * t),
        "sigma": 2.9 * np.exp(-0.01 * t),
    }
    program = substitute(seed(system.program, jax.random.key(0)), data=values | {"X": X})
    sites = trace(program).get_trace(X, temperature=jnp.asarray(330.0))
    one = spce_water.system(
        spce_water.Options(features=4, core=2.0, sites=SITES, temperature=330.0)
    )
    known = substitute(
        seed(one.program, jax.random.key(0)),
        data=there | {"sigma2": 0.02 * np.exp(0.3 * t), "X": X},
    )
    expected = trace(known).get_trace(X)
    np.testing.assert_allclose(sites["sigma2"]["value"], 0.02 * np.exp(0.3 * t), rtol=1e-12)
    at, known_at = (unwrapped(s["X"]["fn"]) for s in (sites, expected))
    assert float(at.beta) == pytest.approx(beta_of(330.0), rel=1e-12)
    mine, theirs = at.potential, known_at.potential
    np.testing.assert_allclose(mine(X[0]), theirs(X[0]), rtol=1e-10)
    found = sites["x"]["fn"].log_prob(sites["x"]["value"])
    np.testing.assert_allclose(
        found, expected["x"]["fn"].log_prob(expected["x"]["value"]), rtol=1e-10
    )


def test_data_are_members_with_a_temperature_each() -> None:
    data = frames()
    system = made("frames=2", data=data)
    batch = system.batch(data)
    assert batch.x.shape == (3, 2, SITES, 3) and batch.dim == "temperature"
    np.testing.assert_array_equal(batch.conditions["temperature"], TEMPERATURES)
    some = made("temperatures=330,290", data=data).batch(data)
    np.testing.assert_array_equal(some.coords, [330.0, 290.0])
    np.testing.assert_array_equal(some.x[1, :2], batch.x[0])
    assert any(n.startswith("290 K: ") for n in batch.notices)


@pytest.mark.slow
def test_all_parameters_are_shared_and_begin_in_one_place() -> None:
    data = frames()
    system = made(data=data)
    batch = system.batch(data)
    program = program_of(system, batch, pooled=True)
    assert set(program.shared) == set(program.shapes)
    start = origin(system, program, batch.x)
    np.testing.assert_array_equal(start, np.tile(start[0], (3, 1)))
    values = program.constrain(jnp.asarray(start[0]))
    assert not np.any(values["theta_c_slope"]) and values["sigma2_reference"] == pytest.approx(0.01)


@pytest.mark.slow
def test_a_slope_in_an_exponent_is_no_coefficient_that_runs_away() -> None:
    """A change of log sigma by one per cent moves Lennard-Jones's natural parameters by thousands: no alarm. A
    coefficient that is a thousand kcal/mol wide raises one."""
    data = frames()
    system = made(data=data)
    batch = system.batch(data)
    program = program_of(system, batch, pooled=True)
    start = origin(system, program, batch.x)[0]
    wobble = np.random.default_rng(0).normal(size=(1, 400, 1, program.size))
    u = start + 0.01 * np.repeat(wobble, 3, axis=2)
    assert runaway(Posterior(system, program, batch, u))[0] == []
    u[..., program.coordinates("theta_c_slope")[1]] *= 1e5
    (doubt,) = runaway(Posterior(system, program, batch, u))[0]
    assert doubt.kind == "runaway" and "beta times theta_c_slope" in doubt.text


def test_the_core_is_the_closest_pair_of_all_temperatures() -> None:
    data = frames()
    options = spce_temperatures.options_from_data(spce_temperatures.Options(features=4), data)
    x = data["x"].values
    d = x[..., None, :] - x[..., None, :, :]
    d -= np.array(BOX) * np.round(d / np.array(BOX))
    r = np.linalg.norm(d, axis=-1) + np.diag(np.full(SITES, np.inf))
    assert options.core == pytest.approx(np.floor(100.0 * r.min()) / 100.0)
    assert options.sites == SITES and options.box == pytest.approx(BOX[0])


@pytest.mark.parametrize(
    ("change", "words", "text"),
    [
        (
            lambda d: d.isel(temperature=0),
            [],
            "these data are .frame, site, axis.; for one temperature",
        ),
        (lambda d: d.isel(temperature=[0]), [], "2 or more are needed"),
        (lambda d: d, ["temperatures=290,310"], "and not temperature=310"),
        (lambda d: d.assign_coords(temperature=[290.0, -1.0, 330.0]), [], "temperature is -1.0 at"),
        (lambda d: d.drop_vars("temperature"), [], "needed is the coordinate temperature, in K"),
        (lambda d: d, ["width=0"], "width must be positive"),
        (lambda d: d, ["reference=-3"], "reference must be positive"),
    ],
)
def test_what_does_not_fit_is_refused(change: Any, words: list[str], text: str) -> None:
    data = change(frames()).assign_attrs(temperature=300.0)
    with pytest.raises(ValueError, match=text):
        made(*words, data=data).batch(data)


def test_models_of_one_temperature_refuse_a_sweep() -> None:
    data = frames()
    with pytest.raises(ValueError, match=r"sweep over 3 temperatures, .* spce_temperatures"):
        workflow.system("spce_water", data, features="4")


def test_methods_that_need_log_z_say_so() -> None:
    data = frames()
    with pytest.raises(ValueError, match="use -m mcem"):
        cg.nuts(made(data=data), data).run(jax.random.key(0))


def test_the_shipped_sweep() -> None:
    """Each temperature obeys the contract of one; its structure melts as temperature rises, by far more than errors."""
    data = cg.io.load(SHIPPED / "frames.nc")
    for part in cg.io.each_temperature(data):
        cg.io.check_particles(part, cutoff=7.0)
    assert data["x"].dtype == np.float32 and data.sizes["frame"] == 25
    long = cg.io.load_observables(SHIPPED / "long_run.nc")
    np.testing.assert_array_equal(long["temperature"], data["temperature"])
    peak = long.sel(r=2.75, method="nearest")
    steps, each = np.diff(peak["rdf"].values), peak["rdf_se"].values
    errors = np.hypot(each[1:], each[:-1])
    assert np.all(steps < -5.0 * errors)
