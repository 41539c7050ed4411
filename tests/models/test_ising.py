"""The Ising system: its options, its exact data, and what it refuses."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed, trace
import pytest
import xarray as xr

from bayescg import System, io
from bayescg.distributions import (
    Curves,
    Enumeration,
    MajorityReconstruction,
    SpinFlip,
    TransferMatrix,
)
from bayescg.infer.program import Program, read_program
from models import ising
from tests import brute_force
from tests.statistical import check_mean

SMALL = ising.Options(n_f=8, L_f=3, ratio=2, mu="-1:1:3", frames=500)


def lattice(**options: Any) -> ising.Lattice:
    return ising.system(replace(ising.Options(), **options)).program.keywords["lattice"]


def strength(**options: Any) -> np.ndarray:
    return np.asarray(ising.fine_potential(replace(ising.Options(), **options), 0.0).theta)


def sites(**options: Any) -> dict[str, Any]:
    """The program's sites on 16 fine spins, sampled from a normal prior."""
    base = ising.Options(n_f=16, prior="normal", prior_scale=0.1)
    program = ising.system(replace(base, **options)).program
    return trace(seed(program, jax.random.key(0))).get_trace(mu=jnp.asarray(0.0), frames=2)


def read(**options: Any) -> Program:
    """What the methods read of the program."""
    program = ising.system(replace(ising.Options(n_f=16), **options)).program
    return read_program(program, jnp.ones((2, 16)), {"mu": jnp.asarray(0.0)})


def curves(**options: Any) -> Curves:
    found = lattice(prior="curve", **options).curves
    assert found is not None
    return found


def decay(**options: Any) -> float:
    theta = strength(**options)
    return float(theta[0] / theta[1])


#: What each option changes: a way to see it, and values with what must be seen.
SEEN: dict[str, tuple[Callable[..., Any], dict[Any, Any]]] = {
    "n_f": (
        lambda **o: ising.fine_potential(ising.Options(**o), 0.0).basis.sites,
        {64: 64, 32: 32},
    ),
    "J0": (
        lambda **o: round(float(strength(**o).sum() / strength().sum()), 9),
        {1.5: 1.0, 3.0: 2.0},
    ),
    "a": (lambda **o: round(decay(**o), 6), {0.8: round(2**0.8, 6), 2.0: 4.0}),
    "L_f": (lambda **o: strength(**o).size, {8: 8, 3: 3}),
    "beta": (lambda **o: lattice(**o).beta, {0.3: 0.3, 1.0: 1.0}),
    "mu": (
        lambda mu: ising.system(replace(SMALL, mu=mu)).select(data())["mu"].values.tolist(),
        {"0": [0.0], "-1:1:3": [-1.0, 0.0, 1.0], "1e0,-1": [1.0, -1.0]},
    ),
    "count": (
        lambda **o: ising.fine_potential(ising.Options(**o), 0.0).basis.features[0].weights,
        {"once": (0.5,), "ordered": (1.0,)},
    ),
    "exponent": (
        lambda **o: round(float(strength(**o).sum() / 1.5), 6),
        {"a-1": round(8**0.2, 6), "1-a": round(8**-0.2, 6)},
    ),
    "ratio": (lambda **o: lattice(**o).basis.sites, {2: 32, 4: 16, 8: 8, 32: 2}),
    "L2": (
        lambda **o: sum("pair" in name for name in lattice(**o).basis.names),
        {None: 15, 4: 4, 0: 0},
    ),
    "L3": (
        lambda **o: sum("triple" in name for name in lattice(**o).basis.names),
        {3: 6, 1: 1, 0: 0},
    ),
    "aliases": (
        lambda **o: lattice(**o).basis.features[-2].weights,
        {"tie": (1.0, 1.0), "drop": (0.5, 0.5)},
    ),
    "prior": (
        lambda **o: read(**o).sites.parameters,
        {
            "ard": ("theta_c", "p0"),
            "normal": ("theta_c", "p0"),
            "flat": ("theta_c", "p0"),
            "horseshoe": ("theta_c_scale", "theta_c_local", "theta_c_slab", "theta_c_z", "p0"),
            "curve": (
                *("theta_c_scale", "theta_c_decay", "theta_c_weight"),
                *("p0_centre", "p0_scale", "p0_decay", "p0_weight"),
            ),
        },
    ),
    "prior_scale": (
        lambda **o: float(sites(**o)["theta_c"]["fn"].variance[0]),
        {0.5: 0.25, 2.0: 4.0},
    ),
    "a0": (lambda **o: read(**o).ard["theta_c"], {1e-5: (1e-5, 1e-5), 2.0: (2.0, 1e-5)}),
    "b0": (lambda **o: read(**o).ard["theta_c"], {1e-5: (1e-5, 1e-5), 2.0: (1e-5, 2.0)}),
    "reach": (lambda **o: curves(**o).reach, {None: 4.0, 5.0: 5.0}),
    "degree": (lambda **o: curves(**o).degree, {8: 8, 3: 3}),
    "symmetric": (
        lambda **o: read(prior="curve", degree=3, **o).shapes["theta_c_weight"],
        {True: (20,), False: (40,)},  # of ten features
    ),
    "deviation": (
        lambda **o: "theta_c_deviation" in read(prior="curve", **o).shapes,
        {0.0: False, 0.2: True},
    ),
    "fine": (
        lambda **o: type(sites(**o)["x"]["fn"]),
        {"flip": SpinFlip, "majority": MajorityReconstruction},
    ),
    "ties": (
        lambda **o: (
            float(
                ising.system(ising.Options(**o))
                .restriction(jnp.tile(jnp.array([1.0, -1.0]), 32), key=jax.random.key(0))
                .mean()
            )
            == 1.0
        ),
        {"up": True, "random": False},
    ),
    "frames": (
        lambda frames: ising.system(replace(SMALL, frames=frames)).batch(data()).x.shape[1],
        {None: 500, 20: 20},
    ),
}


@pytest.fixture(scope="module")
def reference() -> xr.Dataset:
    return data()


@cache
def data() -> xr.Dataset:
    return ising.reference(SMALL, jax.random.key(0))


def test_every_option_is_tested() -> None:
    assert list(SEEN) == [f.name for f in fields(ising.Options)]
    assert all(f.metadata["help"] for f in fields(ising.Options))


@pytest.mark.parametrize("option", SEEN)
def test_an_option_does_what_it_says(option: str) -> None:
    see, expected = SEEN[option]
    assert {value: see(**{option: value}) for value in expected} == expected


def test_defaults_are_the_paper_s() -> None:
    o = ising.Options()
    assert (o.n_f, o.J0, o.a, o.L_f, o.beta) == (64, 1.5, 0.8, 8, 0.3)
    assert (o.a0, o.b0, o.prior, o.ties) == (1e-5, 1e-5, "ard", "up")
    assert o.mu is None  # all fields of the data; the paper's 41 where data are made


def test_the_system() -> None:
    system = ising.system(ising.Options(ratio=4))
    assert isinstance(system, System) and system.name == "ising"
    assert len(system.features) == 6 + 1 + 8  # L2 is min(15, n_c / 2)
    assert system.conditions == ("mu",)
    assert [o.name for o in system.observables] == ["magnetization", "correlation"]
    assert system.observables[1].max_separation == 32
    assert system.options["ratio"] == 4 and set(system.options) == set(SEEN)
    assert system.known_observables["correlation"](max=5).max_separation == 5
    (dims, names, *_), (_, aliases, *_) = (
        system.constants[k] for k in ("feature_named", "alias_of")
    )
    assert len(dims) == 1 and len(names) == 1 + 8 + 9
    alias = dict(zip(names.tolist(), aliases.tolist(), strict=True))
    assert alias["triple_3_1"] == "triple_1_3" and alias["pair_8"] == "pair_8"
    assert set(aliases) == set(system.features)


def test_exact_strategies_are_taken_where_there_are_any() -> None:
    assert lattice(ratio=4).log_partition == Enumeration()
    assert lattice(L2=4, L3=1).log_partition == TransferMatrix()
    assert lattice().log_partition is None


def test_program_reads_on_the_coarsest_lattices() -> None:
    """Two and four coarse sites, where triples fold into pairs and single spins."""
    for ratio in (16, 32):
        program = ising.system(ising.Options(ratio=ratio, prior="normal")).program
        found = read_program(program, jnp.ones((2, 64)), {"mu": jnp.asarray(0.0)})
        assert found.latent_shape == (64 // ratio,)


# --- reference data --------------------------------------------------------------------------


def test_reference_keeps_the_contract(reference: xr.Dataset) -> None:
    io.check(reference)
    assert reference["x"].dims == ("mu", "frame", "site")
    assert reference["x"].shape == (3, 500, 8) and reference["x"].dtype == np.int8
    assert np.all(np.abs(reference["x"]) == 1)
    np.testing.assert_allclose(reference["mu"], [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(reference["separation"], [1, 2, 3, 4])
    for name in ("x", "magnetization", "magnetization_se", "correlation", "correlation_se"):
        assert reference[name].attrs["units"] == "1" and reference[name].attrs["long_name"]
    for key, value in {"beta": 0.3, "J0": 1.5, "a": 0.8, "L_f": 3, "count": "once"}.items():
        assert reference.attrs[key] == value
    assert reference.attrs["exponent"] == "a-1" and reference.attrs["source"]
    assert not np.any(reference["magnetization_se"]) and not np.any(reference["correlation_se"])


def test_reference_observables_are_exact(reference: xr.Dataset) -> None:
    x = brute_force.spins(8)
    for mu in (-1.0, 0.0, 1.0):
        w = brute_force.weights(-0.3 * brute_force.energies(ising.fine_potential(SMALL, mu)))
        here = reference.sel(mu=mu)
        np.testing.assert_allclose(here["magnetization"], w @ x.mean(1), atol=1e-12)
        expected = [w @ (x * np.roll(x, -k, 1)).mean(1) for k in (1, 2, 3, 4)]
        np.testing.assert_allclose(here["correlation"], expected, atol=1e-12)


def test_reference_samples_agree_with_the_exact_observables(reference: xr.Dataset) -> None:
    """Frames are independent, so that their spread gives the error."""
    system = ising.system(SMALL)
    for j in range(3):
        x = jnp.asarray(reference["x"].values[j].T, float)
        for observable in system.observables:
            exact = reference[observable.name].values[j]
            check_mean(np.moveaxis(np.asarray(observable(x)), -1, 0), exact)


def test_the_key_decides_the_samples(reference: xr.Dataset) -> None:
    assert ising.reference(SMALL, jax.random.key(0)).identical(reference)
    other = ising.reference(SMALL, jax.random.key(1))
    assert not np.array_equal(other["x"], reference["x"])
    np.testing.assert_array_equal(other["magnetization"], reference["magnetization"])
    # Members of a sweep have streams of their own: at opposite fields, no mirror images.
    assert not np.array_equal(reference["x"][0], -reference["x"][2])


def test_one_field(reference: xr.Dataset) -> None:
    one = ising.reference(replace(SMALL, mu="0.5", frames=3), jax.random.key(0))
    io.check(one)
    assert one["x"].dims == ("frame", "site") and one.attrs["mu"] == 0.5
    batch = ising.system(replace(SMALL, frames=None, mu=None)).batch(one)
    assert batch.x.shape == (1, 3, 8) and batch.dim is None
    np.testing.assert_array_equal(batch.conditions["mu"], [0.5])


def test_a_sweep(reference: xr.Dataset) -> None:
    batch = ising.system(replace(SMALL, frames=20)).batch(reference)
    assert batch.dim == "mu" and batch.x.shape == (3, 20, 8)
    np.testing.assert_array_equal(batch.coords, [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(batch.conditions["mu"], [-1.0, 0.0, 1.0])


def test_mu_selects_fields(reference: xr.Dataset) -> None:
    batch = ising.system(replace(SMALL, frames=20, mu="1,-1")).batch(reference)
    np.testing.assert_array_equal(batch.coords, [1.0, -1.0])
    np.testing.assert_array_equal(batch.x[1], reference["x"].values[0, :20])
    with pytest.raises(ValueError, match=r"and not mu=0\.4"):
        ising.system(replace(SMALL, mu="0.4")).batch(reference)


def test_curves_reach_as_far_as_the_data(reference: xr.Dataset) -> None:
    """As far as those that ``mu`` names, and no further data are taken."""

    def options(**given: Any) -> ising.Options:
        return ising.options_from_data(ising.Options(prior="curve", **given), reference)

    assert options().reach == 1.0 and options(reach=3.0).reach == 3.0
    assert options(mu="0,-1").reach == 1.0
    assert ising.options_from_data(ising.Options(), reference).reach is None
    few = ising.system(replace(SMALL, prior="curve", reach=0.5, frames=20))
    with pytest.raises(ValueError, match=r"ising is for mu from -0\.5 to 0\.5 here, got -1"):
        few.batch(reference)


def test_the_lattice_size_comes_from_the_data(reference: xr.Dataset) -> None:
    assert ising.options_from_data(ising.Options(), reference).n_f == 8


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 7}, r"64 sites is not divisible by ratio 7; allowed: 1, 2, 4, 8, 16, 32\."),
        ({"ratio": 0}, "not divisible by ratio 0"),
        ({"ratio": 64}, "ratio 64 leaves 1 coarse site"),
        ({"beta": -1.0}, r"beta must be positive, got -1\.0"),
        ({"beta": float("nan")}, "beta must be positive, got nan"),
        ({"L2": -1}, "must not be negative, got -1 and 3"),
        ({"prior": "curve", "mu": "0"}, "reach must be positive, got 0"),
        ({"prior": "curve", "degree": 0}, "degree must be at least 1, got 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ising.system(ising.Options(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            (
                {"mu": mu},
                f"mu must be a number, different numbers with commas, or first:last:count, got '{mu}'",
            )
            for mu in ("low", "", "1:2", "1:2:x", "0:1:1", "0:1:3:4", "nan", "0:inf:3")
        ),
        ({"frames": 0}, "frames must be at least 2, got 0"),
        ({"beta": 0.0}, r"beta must be positive, got 0\.0"),
        ({"L_f": 0}, "L_f must lie between 1 and n_f - 1, got 0"),
        ({"L_f": 64}, "L_f must lie between 1 and n_f - 1, got 64"),
        ({"L_f": 12}, "range of at most 10 sites, got 12"),
    ],
)
def test_bad_reference(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ising.reference(replace(ising.Options(mu="0"), **options), jax.random.key(0))


def coordinates() -> xr.Dataset:
    return xr.Dataset(
        {"x": (("frame", "site", "axis"), np.zeros((3, 8, 3))), "box": (("axis",), np.ones(3))},
        attrs={"temperature": 300.0},
    )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d, {"n_f": 16}, "the data have 8 sites, the model n_f=16"),
        (lambda d: d, {"beta": 0.5}, "made at beta=0.3, the model has beta=0.5"),
        (lambda d: d, {"frames": 501}, "frames=501 asked for, but the data hold 500 frames"),
        (lambda d: d, {"frames": 1}, "too few frames: 1; a fit needs at least 2"),
        (lambda d: d, {"frames": -1}, "too few frames: 0"),
        (lambda d: d.isel(frame=[0]), {"frames": None}, "too few frames: 1"),
        (lambda d: d.assign(x=0 * d["x"]), {}, "spins are -1 or"),
        (lambda d: coordinates(), {}, "needs spins x"),
        (
            lambda d: d.isel(mu=0, drop=True),
            {},
            "neither a coordinate nor an attribute 'mu'",
        ),
    ],
)
def test_bad_data(
    reference: xr.Dataset,
    change: Callable[[xr.Dataset], xr.Dataset],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        ising.system(replace(SMALL, **options)).batch(change(reference))
