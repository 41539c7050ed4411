"""Prediction at temperatures without data, against simulations of the model of one temperature with its values."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import bayescg as cg
from bayescg import results
from bayescg.infer.begin import program_of
from bayescg.infer.fit import Fit
from bayescg.predict import Production
from bayescg.system import Batch
from bayescg.workflow.elsewhere import members_elsewhere
from bayescg_models import spce_temperatures
from tests.statistical import check_z
from tests.systems import stand_in
from tests.test_particle_prediction import SMALL, THETA, blurred_rdf, simulated, system

#: At 300 K what the model of one temperature has at epsilon = 0.3, and what changes over 30 K.
REFERENCE = {"theta_c": THETA["theta_c"], "epsilon": 0.3, "sigma": 2.8, "sigma2": 0.02}
SLOPE = {"theta_c": jnp.array([0.0, 0.05, 0.0, 0.0]), "epsilon": np.log(2.0) / 2.0, "sigma": 0.0}
SHORT = Production(warmup=60, measurements=40, thin=4)


@pytest.fixture(scope="module")
def fit() -> Fit:
    """Draws that stand for a posterior at 300 and 330 K: half of them with slopes, half without."""
    s = spce_temperatures.system(spce_temperatures.Options(**SMALL))
    x, _ = simulated(system(), 0.3, 1)
    both = np.stack([x[-1, :, :, :4].T, x[-1, :, :, 4:8].T])
    at = np.array([300.0, 330.0])
    batch = Batch(both, {"temperature": at}, "temperature", at)
    program = program_of(s, batch, pooled=True)
    u = []
    for share in (1.0, 0.0):
        values = {f"{k}_reference": jnp.asarray(v, float) for k, v in REFERENCE.items()}
        values |= {f"{k}_slope": share * jnp.asarray(SLOPE.get(k, 0.0)) for k in REFERENCE}
        u.append(np.asarray(program.unconstrain(values)))
    draws = np.repeat(np.repeat(u, 4, axis=0)[None, :, None], 2, axis=2)
    return stand_in(s, batch, program, draws)


@pytest.mark.by_hand
def test_a_temperature_without_data_is_where_the_lines_lead(fit: Fit) -> None:
    """At 360 K epsilon is twice, the second coefficient 0.1 more; at 300 K slopes change nothing."""
    found = cg.predict(fit, conditions={"temperature": "360,300"}, production=SHORT)
    rdf = results.group(found, "posterior_predictive")
    assert rdf["rdf"].dims == ("chain", "draw", "temperature", "r")
    there = system(temperature=360.0)
    moved = THETA | {"theta_c": THETA["theta_c"] + 2.0 * SLOPE["theta_c"]}
    for draw, epsilon, theta in ((0, 0.6, moved), (7, 0.3, THETA)):
        x, _ = simulated(there, epsilon, 2 + draw, theta)
        mean, error = blurred_rdf(there, x, draw)
        one = rdf.isel(chain=0, draw=draw, temperature=0)
        together = np.hypot(error, one["rdf_mcse"].values)
        check_z(one["rdf"].values, mean, np.where(together > 0, together, 1.0), dof=15)
    # Between draws with slopes and without: nothing at the reference, much at 360 K.
    apart = np.abs(rdf["rdf"].isel(chain=0, draw=0) - rdf["rdf"].isel(chain=0, draw=7)).max("r")
    error = float(rdf["rdf_mcse"].max())
    assert float(apart.sel(temperature=300.0)) < error < 0.2 * float(apart.sel(temperature=360.0))


def test_members_elsewhere_begin_at_the_nearest_that_was_fitted(fit: Fit) -> None:
    found = members_elsewhere(fit.system, fit.program, fit.batch, {"temperature": "340,290"})
    np.testing.assert_array_equal(found.conditions["temperature"], [340.0, 290.0])
    np.testing.assert_array_equal(found.x, fit.batch.x[[1, 0]])
    assert found.dim == "temperature"


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"box": 12.0}, "cannot be predicted at another box; allowed is temperature"),
        ({"temperature": -5.0}, "for temperature from 1 to inf here, got -5"),
        ({"temperature": "warm"}, "first:last:count, got 'warm'"),
    ],
)
def test_other_conditions_are_refused(fit: Fit, conditions: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cg.predict(fit, conditions=conditions)


def test_a_reference_of_other_temperatures_is_refused(fit: Fit) -> None:
    other = xr.Dataset(
        {"rdf": (("temperature", "r"), np.ones((1, 2)))}, {"temperature": [310.0], "r": [1.0, 2.0]}
    )
    with pytest.raises(ValueError, match="does not hold all of the fit's temperature values"):
        cg.predict(
            fit, reference=other, conditions={"temperature": 360.0}, production=Production(2, 2, 1)
        )
