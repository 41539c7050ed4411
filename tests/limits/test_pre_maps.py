"""Pre-CG maps in a search: means and functions of sites beside dropped ones, and maps that are refused."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import System
from bayescg.infer.program import ProgramError
from bayescg.infer.run import mcem
from bayescg.limits import arcg
from bayescg.mapping import FeatureMap, LinearMap, LinearPreMap, drop_sites
from bayescg.observables import moments
from bayescg.workflow.prediction import predict
from bayescg.workflow.registry import make_system
from bayescg.workflow.verbs import make_reference
from bayescg_models.virtual_bond import BOX, MIDDLE, NAMES, TYPES
from benchmarks.arcg_critics import HELD, SEARCH
from tests.triangles import TARGET, mapped_program, potential, triangle

ONE = triangle()
FRAMES = 4000


@dataclass(frozen=True)
class Powers:
    """Of data that are numbers already."""

    name: str = "powers"

    def __call__(self, x: Array) -> Array:
        return x[0] ** jnp.arange(1.0, 5.0)[:, None]


#: Y and the second X weigh the same in the second site of the data.
MEAN = LinearPreMap(LinearMap(3, 2, np.array([0, 1, 1]), np.arange(3), np.array([1.0, 0.5, 0.5])))


def ends(x: Array) -> Array:
    """The distance of the two X, and nothing else: ``(1, 1, *batch)``."""
    return jnp.linalg.norm(x[:, 0] - x[:, 2], axis=0)[None, None]


def whole(values: tuple[float, ...] = TARGET, key: int = 5) -> np.ndarray:
    """Independent exact configurations, ``(axis, site, frame)``."""
    draw = jax.jit(ONE.exact.sample, static_argnums=3)
    x = draw(jax.random.key(key), potential(ONE, values), jnp.asarray(ONE.beta), FRAMES)
    return np.asarray(x).T


def seen_by(g: Any, x: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the number, or of the distance, that mapped configurations have."""
    y = np.asarray(g(jnp.asarray(x)))
    number = y[0, 0] if y.shape[1] == 1 else np.linalg.norm(y[:, 0] - y[:, 1], axis=0)
    return np.array([number.mean(), number.std()])


def mapped(g: Any, seen: Any, **more: Any) -> tuple[System, xr.Dataset]:
    """A system whose data are what ``g`` makes of exact configurations."""
    data = xr.Dataset(
        {"x": (("frame", "site", "axis"), np.asarray(g(jnp.asarray(whole()))).T)},
        attrs={"temperature": 300.0},
    )
    shipped = make_system("virtual_bond", ["start=middle"], None, "arcg")
    system = replace(
        shipped,
        program=partial(mapped_program, take=lambda X: g(X.T).T),
        pre_map=g,
        critic_features=(seen,),
        check=lambda data: None,
        complete=None,
        mass=None,
        dirac=HELD,
    )
    return replace(system, **more), data


@pytest.mark.parametrize(
    ("g", "seen"),
    [
        pytest.param(MEAN, replace(moments((1.0, 2.0, 3.0, 4.0)), box=(BOX,) * 3), id="mean"),
        pytest.param(FeatureMap(ends), Powers(), id="function", marks=pytest.mark.by_hand),
    ],
)
@pytest.mark.slow
def test_a_search_finds_what_the_mapped_data_were_made_with(g: Any, seen: Any) -> None:
    """The bond X-X is fitted from the middle of the prior. Of the first difference of mean and width less than a third
    is left. The same random numbers draw what both are measured on, so that what divides them is the search, with 512
    configurations an iteration: a hundredth or two of a width, as `benchmarks.arcg_critics` has it.
    """
    system, data = mapped(g, seen)
    fit = arcg(system, data, **SEARCH, divergence="hellinger").run(jax.random.key(0))
    assert fit.converged.all(), fit.ended
    found = fit.program.constrain(jnp.asarray(fit.mode[0]))
    ended = (*TARGET[:2], float(found["x_XX"]), float(found["k_XX"]))
    started = (*TARGET[:2], *(MIDDLE[n] for n in NAMES[2:]))
    true = seen_by(g, whole())
    off, before = (np.abs(seen_by(g, whole(v)) - true) / true[1] for v in (ended, started))
    assert np.all(before > 0.15) and np.all(off < 0.3 * before), (before, off)


@pytest.mark.by_hand
def test_a_prediction_of_it_is_measured_on_mapped_configurations() -> None:
    """The mean of the distance, to its Monte Carlo error, at the truth where the fit was not allowed to leave it."""
    seen = replace(moments((1.0,)), box=(BOX,) * 3)
    start = dict(zip(NAMES, TARGET, strict=True))
    system, data = mapped(MEAN, seen, start=start, dirac={}, observables=(seen,))
    fit = arcg(system, data, chains=64, max_iterations=1, rate=1e-9, noise=0.0).run(
        jax.random.key(0)
    )
    found = predict(fit, system=system, draws=1)["posterior_predictive"][seen.name]
    x = np.asarray(MEAN(jnp.asarray(whole())))
    distance = np.linalg.norm(x[:, 0] - x[:, 1], axis=0)
    error = distance.std() / np.sqrt(
        500
    )  # of the frames, and of as many configurations of the prediction
    assert abs(float(found.values.ravel()[0]) - distance.mean()) < 5.0 * error
    assert abs(distance.mean() - 2.685) > 10.0 * error  # what the two X themselves are apart


@pytest.mark.parametrize(
    ("g", "says"),
    [
        (lambda x: x, r"of shape \(3, 3\); allowed is that of the data, \(3, 2\)"),
        (lambda x: x[:, :1], r"of shape \(3, 1\); allowed is that of the data, \(3, 2\)"),
        (drop_sites(TYPES, ["X"]), r"of shape \(3, 1\)"),
        (drop_sites((*TYPES, "Y"), ["Y"]), "is of 4 sites; allowed is one of the model's 3"),
        (lambda x: jnp.log(-x[:, :2]), "not finite"),
        (lambda x: jnp.cumsum(x[:, ::2], -1), "mixes configurations"),
        (lambda x: x[:, ::2] - x[:, ::2].mean(-1, keepdims=True), "mixes configurations"),
        (lambda x: x[:, :2], "the deterministic map of the program differ"),
        (lambda x: x[:, ::-2], "the deterministic map of the program differ"),
    ],
)
@pytest.mark.by_hand
def test_a_map_that_is_none_is_refused(g: Any, says: str) -> None:
    """Before anything is simulated, by what it makes of configurations."""
    data = make_reference("virtual_bond", ["frames=20"], 0)
    system = replace(make_system("virtual_bond", (), data, "arcg"), pre_map=g)
    with pytest.raises(ValueError, match=says):
        arcg(system, data).run(jax.random.key(0))


def test_chains_cannot_begin_in_data_that_nothing_completes() -> None:
    system, data = mapped(MEAN, replace(moments((1.0,)), box=(BOX,) * 3))
    with pytest.raises(ValueError, match="begin=data needs what puts the sites"):
        arcg(system, data, begin="data").run(jax.random.key(0))


def test_other_methods_refuse_a_map_that_no_latent_can_be_held_by() -> None:
    system, data = mapped(MEAN, replace(moments((1.0,)), box=(BOX,) * 3))
    with pytest.raises(ProgramError, match="must keep some of their sites"):
        mcem(system, data).run(jax.random.key(0))


@pytest.mark.parametrize("name", ["virtual_bond", "binary_lj"])
@pytest.mark.slow
def test_shipped_maps_keep_momenta(name: str) -> None:
    """Eq. 30, told by every fit; with another mass in the data it says so, and goes on."""
    words = {
        "virtual_bond": ["frames=20"],
        "binary_lj": ["cutoff=6", "sites=64", "length=2", "equilibration=1", "spacing=1"],
    }
    data = make_reference(name, words[name], 0)
    system = make_system(name, words[name][:1], data)
    batch = system.batch(data)
    assert batch.attrs["pre_map_momentum_consistent"] == 1 and not batch.notices
    heavier = data.assign(mass=2.0 * data["mass"])
    batch = system.batch(heavier)
    assert batch.attrs["pre_map_momentum_consistent"] == 0
    (notice,) = batch.notices
    assert "does not keep momenta" in notice and "g/mol is that of the data" in notice
