"""The binary fluid: Table II, its data by another engine, and the Y that the data lack."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg.engines.atomic import AtomicRun, openmm_system
from bayescg.infer.program import ProgramError
from bayescg.limits import arcg
from bayescg.predict.particles import Production
from bayescg.samplers import closest_distance
from bayescg.units import KCAL
from bayescg.workflow.prediction import predict
from bayescg.workflow.registry import make_system, run_of
from bayescg.workflow.verbs import fit, make_reference
from bayescg_models import binary_lj

TINY = ("sites=64", "cutoff=6")


@pytest.fixture(scope="module")
def made() -> xr.Dataset:
    short = ("length=20", "equilibration=2", "spacing=1")
    return make_reference("binary_lj", [*TINY, *short], 1)


def test_reference_data_hold_x_alone(made: xr.Dataset) -> None:
    assert made.sizes["site"] == 32 and made.sizes["frame"] == 20
    assert {"rdf", "rdf_se", "slab_density", "slab_density_se"} <= set(made.data_vars)
    assert made.attrs["temperature"] == 300.0 and "particles X" in made.attrs["source"]
    system = make_system("binary_lj", ["cutoff=6"], made)
    assert system.options["sites"] == 64
    np.testing.assert_allclose(system.box, (64 / 0.0185) ** (1.0 / 3.0), rtol=1e-5)
    width = made["depth"].values[1] - made["depth"].values[0]
    area = system.box[0] ** 2  # type: ignore[index]
    np.testing.assert_allclose(made["slab_density"].sum() * width * area, 32.0, rtol=1e-6)


def test_openmm_makes_such_data_too(made: xr.Dataset) -> None:
    pytest.importorskip("openmm")
    short = ("length=10", "equilibration=2", "spacing=1", "engine=openmm")
    other = make_reference("binary_lj", [*TINY, *short], 1)
    assert dict(other.sizes) == dict(made.sizes) | {"frame": 10}
    assert "OpenMM" in other.attrs["source"] and "OpenMM" not in made.attrs["source"]
    # Liquids of the same density: neighbours at the same distance.
    first = [float(d["r"][int(np.argmax(d["rdf"].values))]) for d in (made, other)]
    assert abs(first[0] - first[1]) < 0.35 and 3.5 < first[0] < 4.6


def test_openmm_has_the_potential_that_is_fitted() -> None:
    """Energy of one configuration, of three pairs of types with parameters of their own."""
    mm = pytest.importorskip("openmm")
    options = binary_lj.Options(sites=64, cutoff=6.0, start="B")
    mixture = binary_lj._mixture(options)
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    x = rng.permutation(grid) * options.box[0] / 4.0 + rng.uniform(-0.4, 0.4, (64, 3))
    start = binary_lj._values(binary_lj.SYSTEM_B)
    ours = float(mixture.potential({k: jnp.asarray(v) for k, v in start.items()})(jnp.asarray(x)))
    truth = {(n[0], n[2]): binary_lj.SYSTEM_B[n] for n in binary_lj.PAIRS}
    run = AtomicRun(box=options.box[0], cutoff=6.0)
    platform = mm.Platform.getPlatformByName("Reference")
    system = openmm_system(options.types, truth, run)
    context = mm.Context(system, mm.VerletIntegrator(0.001), platform)
    context.setPositions(0.1 * x)
    theirs = context.getState(getEnergy=True).getPotentialEnergy()._value / KCAL
    assert ours == pytest.approx(theirs, rel=1e-6) and abs(ours) > 1.0


def test_y_begins_where_there_is_room(made: xr.Dataset) -> None:
    """The X are the data's, and no Y is nearer to any other particle than particles of a liquid are."""
    system = make_system("binary_lj", ["cutoff=6"], made)
    x = jnp.asarray(made["x"].values[:5], float)
    assert system.complete is not None and system.pre_map is not None
    X = system.complete(jax.random.key(0), x)
    assert X.shape == (5, 64, 3)
    np.testing.assert_array_equal(X[:, :32], x)
    np.testing.assert_array_equal(system.pre_map(X.T), x.T)
    nearest = np.asarray(closest_distance(X.T, np.asarray(system.box)))
    assert np.all(nearest > 2.5)


def test_chains_of_arcg_may_begin_in_the_data(made: xr.Dataset) -> None:
    """Each in a frame, different ones as long as there are some, with Y beside."""
    system = make_system("binary_lj", ["cutoff=6"], made)
    run = arcg(system, made)
    assert run.options.begin == "data"
    batch = system.batch(made)
    frames = batch.x[0]
    for chains in (8, 30):
        places = np.asarray(run._beginning(batch)(jax.random.key(0), chains))
        assert places.shape == (3, 64, chains)
        gap = np.abs(places[:, :32].T[:, None] - frames).max((2, 3))  # (chain, frame)
        assert np.all(gap.min(1) == 0.0)
        if chains == 8:
            assert len(set(gap.argmin(1))) == chains


def test_newton_s_steps_that_polish_have_options_of_their_own(made: xr.Dataset) -> None:
    """Of the model's for them, but for what was given, which is for both."""
    system = make_system("binary_lj", ["cutoff=6"], made)
    run = run_of("arcg", system, made, ["chains=9", "thin=3"])
    assert run.options.samples == binary_lj.SEARCH["samples"]
    assert run.then.options.samples == binary_lj.SETTLE["samples"]
    assert run.then.options.penalty == binary_lj.SETTLE["penalty"] != run.options.penalty
    for options in (run.options, run.then.options):
        assert (options.chains, options.thin) == (9, 3)


def test_nuts_says_that_it_has_no_integral_for_a_fluid(made: xr.Dataset) -> None:
    system = make_system("binary_lj", ["cutoff=6"], made, "nuts")
    with pytest.raises(ProgramError, match=r"of sites in space .* use -m mcem or arcg"):
        run_of("nuts", system, made, []).run(jax.random.key(0))


@pytest.mark.slow
def test_mcem_and_arcg_run_on_it(made: xr.Dataset) -> None:
    """Two iterations each, by which every parameter moves."""
    efforts = {
        "mcem": "max_iterations=2 draws=4 free_chains=8 sweeps=2 information=0",
        "arcg": "max_iterations=2 chains=8 samples=3 warmup=5 noise=0",
    }
    for method, words in efforts.items():
        found = fit(
            "binary_lj", made, method=method, options=["cutoff=6"], method_options=words.split()
        )
        start = binary_lj._values(binary_lj.SYSTEM_A)
        for name, value in start.items():
            moved = found["posterior"][name].values
            assert np.all(np.isfinite(moved)) and np.all(moved != value), (method, name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["cutoff=20"], "smaller than twice the cut-off"),
        (["sites=7"], "sites must be even"),
        (["engine=lammps"], "engine must be chains or openmm"),
        (["start=C"], "start must be A or B"),
        (["length=2"], "spacing must be at most"),
        (["density=0"], "density must be positive"),
    ],
)
def test_bad_options_are_refused(options: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_system("binary_lj", options)


def test_mcem_takes_no_more_frames_than_it_can_hold(made: xr.Dataset) -> None:
    """Equally far apart, 125 of many; other methods take all."""
    assert make_system("binary_lj", ["cutoff=6"], made, "mcem").options["most"] == 125
    assert make_system("binary_lj", ["cutoff=6"], made, "arcg").options["most"] is None
    for most, expected in ((7, 7), (9, 7), (20, 20), (250, 20)):
        system = make_system("binary_lj", ["cutoff=6", f"most={most}"], made, "mcem")
        assert system.batch(made).x.shape[1] == expected


def test_other_data_are_refused(made: xr.Dataset) -> None:
    system = make_system("binary_lj", ["cutoff=6"], made)
    with pytest.raises(ValueError, match="allowed are the model's"):
        system.batch(made.isel(site=slice(30)))


@pytest.mark.by_hand
def test_a_prediction_of_more_particles_is_of_x_alone(made: xr.Dataset) -> None:
    """Chains begin in the sampler's own places, of which the X are taken and completed again."""
    short = ["max_iterations=1", "chains=8", "samples=2", "warmup=2", "noise=0", "polish=false"]
    found = fit("binary_lj", made, method="arcg", options=["cutoff=6"], method_options=short)
    few = Production(warmup=4, measurements=2, thin=1)
    more = predict(found, ["rdf"], conditions={"sites": 128}, production=few)
    g = more["posterior_predictive"]["rdf"].values.ravel()
    assert np.all(np.isfinite(g)) and 0.5 < g[-5:].mean() < 1.5
