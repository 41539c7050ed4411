"""A lattice in hidden states: exact data, what is refused, and a fit from end to end."""

from dataclasses import fields, replace
from typing import Any

from click.testing import CliRunner
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import Predictive
import pytest
import xarray as xr

import bayescg as cg
from bayescg import io, results
from bayescg.cli.commands import cli
from bayescg.infer.program import ProgramError
from bayescg.potentials import SpinBasis, SpinPotential, decaying_couplings, pair_features
from models import ising_mixture
from tests import brute_force
from tests.statistical import check_mean

SMALL = ising_mixture.Options(
    n_f=8, L_f=3, ratio=4, L2=1, mu="-2,2", J0="0.5,2", frames=60, prior_scale=1.0
)


def data(**options: Any) -> xr.Dataset:
    return ising_mixture.reference(replace(SMALL, **options), jax.random.key(0))


# --- data ------------------------------------------------------------------------------------


def test_every_option_has_its_help() -> None:
    assert all(f.metadata["help"] for f in fields(ising_mixture.Options))
    assert set(ising_mixture.REFERENCE_OPTIONS) <= {f.name for f in fields(ising_mixture.Options)}


def test_reference_observables_are_exact_in_each_state() -> None:
    made = data(frames=4000, share="0.3,0.7")
    io.check(made)
    x = brute_force.spins(8)
    basis = SpinBasis(8, tuple(pair_features([1, 2, 3], count="once")))
    np.testing.assert_allclose(made["share"], [0.3, 0.7])
    check_mean((made["state"].values == 1).astype(float)[:, None], [0.7])
    for s, (strength, field) in enumerate(((0.5, -2.0), (2.0, 2.0))):
        theta = jnp.asarray(decaying_couplings(strength, 0.8, 3))
        potential = SpinPotential(theta, jnp.asarray(field), basis)
        w = brute_force.weights(-0.3 * brute_force.energies(potential))
        np.testing.assert_allclose(made["magnetization_of_state"][s], w @ x.mean(1), atol=1e-12)
        exact = [w @ (x * np.roll(x, -k, 1)).mean(1) for k in (1, 2, 3, 4)]
        np.testing.assert_allclose(made["correlation_of_state"][s], exact, atol=1e-12)
        mine = made["x"].values[made["state"].values == s]
        check_mean(mine.mean(1, keepdims=True), [w @ x.mean(1)])
    whole = made["share"].values @ made["magnetization_of_state"].values
    np.testing.assert_allclose(made["magnetization"], whole, atol=1e-12)


@pytest.mark.slow
def test_an_ordered_reference_stays_in_its_state() -> None:
    made = data(order="markov", stay=0.9, frames=6000)
    assert made.attrs["ordered"] == 1 and "ordered" not in data().attrs
    same = np.diff(made["state"].values) == 0
    check_mean(same.astype(float)[:, None], [0.9])


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"states": 1}, "states must be at least 2, got 1; of one state use ising"),
        ({"order": "markov", "weights": "stick"}, "allowed with order=markov is dirichlet"),
        ({"ratio": 3}, "ratio 3 does not leave at least 2 coarse sites of 8; allowed: 1, 2, 4"),
        ({"alpha": 0.0}, r"alpha must be positive, got 0\.0"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ising_mixture.system(replace(SMALL, **options))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mu": "1,2,3"}, "mu must be one number, or one of each of the 2 states"),
        ({"J0": "x"}, "J0 must be one number"),
        ({"share": "0.5,0.6"}, "share must be positive and add up to 1"),
        ({"order": "markov", "stay": 1.0}, r"stay must lie between 0 and 1, got 1\.0"),
        ({"frames": 1}, "frames must be at least 2, got 1"),
        ({"L_f": 8}, "L_f must lie between 1 and n_f - 1, got 8"),
    ],
)
def test_bad_reference(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        data(**options)


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        (lambda d: d, {"frames": 2, "states": 3}, "3 states cannot be told from 2 frames"),
        (lambda d: d, {"order": "markov"}, "needs frames that follow each other"),
        (
            lambda d: d.assign_coords(time=("frame", np.arange(60.0)[::-1])),
            {"order": "markov"},
            "a coordinate time .frame. that increases",
        ),
        (lambda d: d, {"n_f": 16}, "the data have 8 sites, the model n_f=16"),
        (lambda d: d, {"beta": 0.5}, "made at beta=0.3, the model has beta=0.5"),
    ],
)
def test_bad_data(change: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ising_mixture.system(replace(SMALL, **options)).batch(change(data()))


def test_ordered_data_are_taken() -> None:
    system = ising_mixture.system(replace(SMALL, order="markov"))
    timed = data().assign_coords(time=("frame", np.arange(60.0)))
    for given in (data(order="markov"), timed):
        assert system.batch(given).x.shape == (1, 60, 8)


def test_methods_that_sum_no_states_out_refuse() -> None:
    system = ising_mixture.system(SMALL)
    with pytest.raises(ProgramError, match="2 hidden states, which nuts alone sums out"):
        cg.mcem(system, data()).run(jax.random.key(0))
    with pytest.raises(ValueError, match="sums no hidden states out"):
        cg.nuts(system, data(), log_partition="learned").run(jax.random.key(0))


# --- fits ------------------------------------------------------------------------------------


@pytest.mark.by_hand
def test_from_data_to_report(tmp_path: Any) -> None:
    """What the page shows, on a lattice of two coarse spins."""
    io.save(data(order="markov"), tmp_path / "data.nc")
    chain = "-M chains=2 -M warmup=150 -M samples=150"
    small = "-s ratio=4 -s L2=1 -s order=markov -s prior_scale=1 -s frames=60"
    for words in (
        f"fit ising_mixture -d data.nc -m nuts {small} {chain} -o r.nc",
        "predict r.nc --draws 20 -O magnetization --reference data.nc",
        "report r.nc -o r.html",
    ):
        files = [str(tmp_path / w) if w.endswith((".nc", ".html")) else w for w in words.split()]
        done = CliRunner().invoke(cli, files)
        assert done.exit_code in (0, 1), done.output  # so short a run may not be called converged
    found = results.load(tmp_path / "r.nc")
    posterior, states = (results.group(found, g) for g in ("posterior", "states"))
    assert posterior["theta_c"].dims == ("chain", "draw", "state", "feature")
    assert posterior["transition"].dims == ("chain", "draw", "state", "next_state")
    assert posterior["weights"].dims == ("chain", "draw", "state")
    assert states["probability"].dims == ("frame", "state")
    np.testing.assert_allclose(states["probability"].sum("state"), 1.0, atol=1e-9)
    assert states["S"].dims == ("chain", "draw", "frame")
    mean = (states["S"] == 0).mean(("chain", "draw")).values
    np.testing.assert_allclose(mean, states["probability"].values[:, 0], atol=0.2)
    predicted = results.group(found, "posterior_predictive")
    assert predicted["magnetization_of_state"].dims == ("chain", "draw", "state")
    whole = (posterior["weights"] * predicted["magnetization_of_state"]).sum("state")
    gap = predicted["magnetization"] - whole.sel(chain=predicted["chain"], draw=predicted["draw"])
    assert float(abs(gap).max()) < 1e-9
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Hidden states of the frames" in html and "stays, 5" in html


def fitted(
    system: cg.System, made: xr.Dataset, **options: Any
) -> tuple[Any, xr.Dataset, xr.Dataset]:
    fit = cg.nuts(system, made, **options).run(jax.random.key(1))
    idata = cg.to_inference_data(fit)
    return fit, results.group(idata, "posterior"), results.group(idata, "states")


def inside(draws: xr.DataArray, truth: Any, mass: float = 0.999) -> bool:
    """Whether the truth lies in the central interval of that mass, element by element."""
    tails = draws.quantile([0.5 - mass / 2, 0.5 + mass / 2], ("chain", "draw")).values
    return bool(np.all((tails[0] <= truth) & (truth <= tails[1])))


TRUTH = {
    "theta_c": np.array([[3.0, 1.5, 0.5], [-3.0, 0.0, 0.5]]),  # field, pair_1, pair_2
    "p0": np.float64(0.9),
}


def from_program(options: ising_mixture.Options, frames: int, **truth: Any) -> xr.Dataset:
    """Frames that the program itself makes at known parameters."""
    program = ising_mixture.system(options).program
    values = {k: jnp.asarray(v)[None] for k, v in (TRUTH | truth).items()}
    made = Predictive(program, values)(jax.random.key(2), frames=frames)
    x = xr.Dataset(
        {"x": (("frame", "site"), np.asarray(made["x"][0], np.int8))},
        attrs={"beta": options.beta, "ordered": 1},
    )
    return x.assign(state=("frame", np.asarray(made["S"][0])))


@pytest.mark.by_hand
@pytest.mark.parametrize("flips", ["shared", "own"])
def test_a_mixture_is_recovered(flips: Any) -> None:
    """Every known parameter lies in its central 99.9% interval: with 10 of them a right program fails once
    in 100 keys, and this key is fixed. Frames are told apart nearly always."""
    options = ising_mixture.Options(n_f=32, ratio=4, L2=2, flips=flips)
    p0 = {"p0": np.array([0.92, 0.85])} if flips == "own" else {}
    made = from_program(options, 300, weights=[0.65, 0.35], **p0)
    fit, posterior, states = fitted(ising_mixture.system(options), made)
    assert fit.converged.all(), fit.messages
    assert inside(posterior["theta_c"], TRUTH["theta_c"])
    assert inside(posterior["weights"], [0.65, 0.35])
    assert inside(posterior["p0"], p0.get("p0", 0.9))
    right = states["probability"].values[np.arange(300), made["state"].values]
    assert right.mean() > 0.95


@pytest.mark.by_hand
def test_a_hidden_markov_model_is_recovered() -> None:
    """The same, with transitions; frames in a state of few clear frames borrow from their neighbours."""
    options = ising_mixture.Options(n_f=32, ratio=4, L2=2, order="markov")
    rows = np.array([[0.95, 0.05], [0.1, 0.9]])
    near = np.array(
        [[0.8, 0.5, 0.0], [-0.8, 0.5, 0.0]]
    )  # states that single frames hardly tell apart
    made = from_program(options, 300, transition=rows, theta_c=near)
    chain = {"mass": "dense", "warmup": 500, "samples": 1500}
    fit, posterior, states = fitted(ising_mixture.system(options), made, **chain)
    assert fit.converged.all(), fit.messages
    first = float(np.bincount(made["state"].values)[0]) > 150
    order = [0, 1] if first else [1, 0]
    assert inside(posterior["transition"], rows[np.ix_(order, order)])
    assert inside(posterior["theta_c"], near[order])
    path = states["probability"].values[:, order][np.arange(300), made["state"].values]
    alone = ising_mixture.system(replace(options, order="none"))
    _, _, free = fitted(alone, made, **chain)
    single = free["probability"].values
    best = max(
        single[np.arange(300), made["state"].values].mean(),
        single[np.arange(300), 1 - made["state"].values].mean(),
    )
    assert path.mean() > 0.85 and path.mean() > best + 0.05


@pytest.mark.by_hand
def test_a_dirichlet_process_finds_how_many_states_there_are() -> None:
    """Data of two states under sticks cut at five: two hold nearly all frames, and no cut is complained of."""
    options = ising_mixture.Options(n_f=32, ratio=4, L2=1)
    truth = {"theta_c": TRUTH["theta_c"][:, :2], "weights": [0.6, 0.4]}
    made = from_program(options, 200, **truth)
    system = ising_mixture.system(replace(options, weights="stick", states=5))
    fit, posterior, states = fitted(system, made)
    assert not any("cut off too early" in m for m in fit.messages), fit.messages
    assert inside(posterior["weights"][..., 0], 0.6, 0.999)
    assert float(states["probability"].values[:, :2].sum(1).mean()) > 0.95
    cut = ising_mixture.system(replace(options, weights="stick", states=2))
    fit, *_ = fitted(cut, made)
    assert any("cut off too early" in m for m in fit.messages)
