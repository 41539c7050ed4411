"""Spins of spins: read as the one-level lattice is, and its levels told apart."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed, trace
from numpyro.infer import Predictive
import pytest
import xarray as xr

import bayescg as cg
from bayescg import results
from bayescg.distributions import NestedSpinFlip, SpinFlip
from bayescg.infer.handlers import collapse
from models import ising, ising_levels

DATA = ising.reference(ising.Options(n_f=16, mu="0.5", frames=10), jax.random.key(0))


def test_the_program_has_its_levels() -> None:
    """As NumPyro runs it X, X1 and x are sites; as methods read it X1 is gone."""
    program = ising_levels.system(
        ising_levels.Options(n_f=16, ratios="2,2,2", prior="normal")
    ).program
    given = {"mu": jnp.asarray(0.0), "frames": 3}
    found = trace(seed(program, jax.random.key(0))).get_trace(**given)
    shapes = {k: v["value"].shape for k, v in found.items() if k[0] in "Xx"}
    assert shapes == {"X": (3, 2), "X2": (3, 4), "X1": (3, 8), "x": (3, 16)}
    read = trace(seed(collapse(program), jax.random.key(0))).get_trace(**given)
    assert {k for k in read if k[0] in "Xx"} == {"X", "x"}
    assert isinstance(read["x"]["fn"], NestedSpinFlip) and read["x"]["fn"].ratios == (2, 2, 2)


def test_children_that_copy_their_parents_are_one_level() -> None:
    """p1 = 1 leaves the one-level likelihood of the same ratio in all."""
    X = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (5, 4)))
    x = jnp.asarray(np.random.default_rng(1).choice([-1.0, 1.0], (5, 16)))
    nested = NestedSpinFlip(X, (jnp.asarray(1.0 - 1e-13), jnp.asarray(0.8)), (2, 2))
    np.testing.assert_allclose(nested.log_prob(x), SpinFlip(X, 0.8, ratio=4).log_prob(x), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ratios": "8"}, "at least two numbers of 2 or more"),
        ({"ratios": "2,x"}, "at least two numbers of 2 or more"),
        ({"ratios": "2,1"}, "at least two numbers of 2 or more"),
        ({"ratios": "3,5"}, "put 15 fine sites under a spin of the top"),
        ({"ratios": "8,8"}, "does not leave at least 2"),
        ({"beta": -1.0}, r"beta must be positive, got -1\.0"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ising_levels.system(ising_levels.Options(**options))


def test_other_data_are_refused() -> None:
    system = ising_levels.system(ising_levels.Options(n_f=32, ratios="2,4"))
    with pytest.raises(ValueError, match="the data have 16 sites, the model n_f=32"):
        system.batch(DATA)


@pytest.mark.by_hand
@pytest.mark.parametrize("method", ["nuts", "mcem"])
def test_levels_are_recovered(method: str) -> None:
    """Both flip probabilities and the coefficients lie in their central 99.9% intervals (fixed key)."""
    options = ising_levels.Options(
        n_f=64, ratios="2,4", L2=1, L3=0, prior="normal", prior_scale=1.0
    )
    system = ising_levels.system(options)
    truth = {"theta_c": np.array([1.0, 1.5]), "p1": np.float64(0.85), "p0": np.float64(0.95)}
    given = {k: jnp.asarray(v)[None] for k, v in truth.items()}
    made = Predictive(system.program, given)(jax.random.key(3), mu=jnp.asarray(0.0), frames=200)
    data = xr.Dataset(
        {"x": (("frame", "site"), np.asarray(made["x"][0], np.int8))},
        attrs={"beta": 0.3, "mu": 0.0},
    )
    fit = {"nuts": cg.nuts, "mcem": cg.mcem}[method](system, data).run(jax.random.key(4))
    assert fit.converged.all(), fit.messages
    posterior = results.group(cg.to_inference_data(fit), "posterior")
    for name, value in truth.items():
        low, high = posterior[name].quantile([0.0005, 0.9995], ("chain", "draw")).values
        assert np.all((low <= value) & (value <= high)), name
