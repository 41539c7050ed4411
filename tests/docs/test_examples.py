"""The contributors' examples, each against an answer that is known."""

from functools import cache, partial
import importlib.util
from itertools import product
import json
from pathlib import Path
import sys
from types import ModuleType

from click.testing import CliRunner
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from scipy.optimize import minimize
import xarray as xr

import bayescg as cg
from bayescg import results, workflow
from bayescg.cli import cli
from bayescg.distributions import Boltzmann, PeriodicNormal, flat, flat_positive
from bayescg.potentials import Interaction, LinearPair, MolecularPotential, classes_of
from bayescg.potentials.pair import smooth_step
from bayescg.samplers import particle_sampler
from bayescg.space import minimum_image
from bayescg.topology import Topology

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
EDGE = 17.0  # angstrom
SITES = 20
DEPTH, LENGTH = 0.4, 4.2  # kcal/mol and angstrom


@cache
def example(name: str) -> ModuleType:
    """One of the examples as a module, found by path as a user's file is."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# --- a potential -------------------------------------------------------------------------------


def of_formula(r: jax.Array) -> jax.Array:
    """Morse's formula itself, without an end."""
    a = example("morse").Exponentials().steepness
    return DEPTH * (jnp.exp(-2 * a * (r - LENGTH)) - 2 * jnp.exp(-a * (r - LENGTH)))


def total(x: jax.Array) -> jax.Array:
    """Energy of sites ``x (axis, site)`` pair by pair, with the end that the example states."""
    basis = example("morse").Exponentials()
    i, j = np.triu_indices(SITES, 1)
    d = minimum_image(x[:, i] - x[:, j], (EDGE,) * 3)
    r = jnp.sqrt(jnp.sum(d * d, 0))
    end = 1.0 - smooth_step(r, basis.cutoff - basis.taper, basis.cutoff)
    return jnp.sum(of_formula(r) * end)


def fluid(term: object) -> MolecularPotential:
    topology = Topology(("A",) * SITES, np.ones(SITES), np.arange(SITES))
    classes = classes_of(topology, topology.pairs)
    return MolecularPotential((Interaction((term,), "pair", "A_A"),), classes, (EDGE,) * 3)


def spread_out(frames: int) -> np.ndarray:
    """Sites of a distorted lattice, none closer than 2.9 angstrom; ``(frame, axis, site)``."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), 0).reshape(3, -1) * EDGE / 4
    out = []
    for _ in range(frames):
        chosen = grid[:, rng.permutation(64)[:SITES]]
        out.append(chosen + rng.uniform(-0.65, 0.65, chosen.shape))
    return np.stack(out)


def test_the_potential_is_morse_s() -> None:
    morse = example("morse").Morse(DEPTH, LENGTH)
    r = jnp.linspace(3.0, 6.9, 40)
    u = Interaction((morse,), "pair", "A_A").energy(r)
    np.testing.assert_allclose(u, of_formula(r), rtol=1e-12)
    assert float(u.min()) == pytest.approx(-DEPTH, rel=1e-3)
    assert len(jax.tree.leaves(morse)) == 2  # its parameters and nothing else
    assert float(Interaction((morse,), "pair", "A_A").energy(jnp.asarray(8.0))) == 0.0


@pytest.mark.slow
def test_its_forces_are_finite_differences() -> None:
    potential = fluid(example("morse").Morse(DEPTH, LENGTH))
    x = jnp.asarray(spread_out(1)[0])
    forces = -np.asarray(jax.grad(lambda x: potential(x.T))(x))  # its call takes (site, axis)
    assert float(potential(x.T)) == pytest.approx(float(total(x)), abs=1e-3)
    scale, step = np.abs(forces).max(), 1e-4
    for axis, site in ((0, 0), (1, 7), (2, 13), (0, 19)):
        move = jnp.zeros_like(x).at[axis, site].set(step)
        slope = float(total(x + move) - total(x - move)) / (2 * step)
        assert forces[axis, site] == pytest.approx(-slope, abs=2e-3 * scale)


def test_a_fit_to_exact_forces_gives_it_back() -> None:
    basis = example("morse").Exponentials()

    def program(x: jax.Array | None = None, *, frames: int = 1) -> None:
        theta_c = flat("theta_c", 2)
        sigma2 = flat_positive("sigma2")
        with numpyro.plate("frame", frames if x is None else len(x)):
            p_c = Boltzmann(
                fluid(LinearPair(theta_c, basis)),
                1.7,
                log_partition=None,
                event_shape=(SITES, 3),
                support=numpyro.distributions.constraints.real,
            )
            X = numpyro.sample("X", p_c)
            numpyro.sample("x", PeriodicNormal(X, sigma2, box=(EDGE,) * 3), obs=x)

    system = cg.System(
        name="morse",
        program=program,
        sampler=particle_sampler(SITES, (EDGE,) * 3),
        features=basis.names,
        restriction=lambda x, key: x,
        dirac={"sigma2": 1e-6},
        box=(EDGE,) * 3,
    )
    x = spread_out(20)
    forces = -np.asarray(jax.jit(jax.vmap(jax.grad(total)))(jnp.asarray(x)))
    dims = ("frame", "site", "axis")
    data = xr.Dataset(
        {
            "x": (dims, x.transpose(0, 2, 1)),
            "forces": (dims, forces.transpose(0, 2, 1)),
            "box": ("axis", np.full(3, EDGE)),
        },
        attrs={"temperature": 300.0},
    )
    fit = cg.limits.force_matching(system, data).run(jax.random.key(0))
    assert fit.mode is not None
    steep, slow = fit.mode[0]  # D exp(2 a r0) and -2 D exp(a r0)
    assert slow**2 / (4.0 * steep) == pytest.approx(DEPTH, rel=2e-3)
    assert np.log(-2.0 * steep / slow) / basis.steepness == pytest.approx(LENGTH, rel=2e-3)


# --- an observable -----------------------------------------------------------------------------


def molecules() -> np.ndarray:
    """Two equilateral triangles of side 3, the second across two faces of the box; ``(axis, site)``."""
    corners = 3.0 * np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, np.sqrt(0.75), 0.0]])
    far = corners[:, [2, 0, 1]] + np.array([4.0, EDGE - 1.0, EDGE - 1.2])
    return np.concatenate([corners + 5.0, far % EDGE]).T


def test_the_observable_is_right_on_molecules_of_known_shape() -> None:
    gyration = partial(example("gyration").RadiusOfGyration, box=(EDGE,) * 3)
    triangles = molecules()
    assert float(gyration(3)(triangles)) == pytest.approx(3.0 / np.sqrt(3.0), rel=1e-12)
    pairs = np.array([[0.0, 1.0, 16.5, 1.5], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    # Half the distance of two sites: 0.5, and 1.0 where the box cuts them.
    assert float(gyration(2)(pairs)) == pytest.approx(0.75, rel=1e-12)
    assert float(gyration(3)(triangles + 3.3)) == pytest.approx(3.0 / np.sqrt(3.0), rel=1e-12)


def test_a_verb_takes_it() -> None:
    frames = np.stack([molecules().T, (molecules().T * np.array([1.0, 1.0, 1.0]) + 2.0) % EDGE])
    data = xr.Dataset(
        {"x": (("frame", "site", "axis"), frames), "box": ("axis", np.full(3, EDGE))},
        attrs={"temperature": 300.0},
    )
    measured = cg.observe(data, [example("gyration").RadiusOfGyration(3)])
    assert float(measured["gyration"]) == pytest.approx(3.0 / np.sqrt(3.0), rel=1e-6)
    assert measured["gyration"].attrs["units"] == "angstrom"


def test_molecules_that_are_none_are_refused() -> None:
    gyration = example("gyration").RadiusOfGyration
    with pytest.raises(ValueError, match="at least 2 sites"):
        gyration(1)
    with pytest.raises(ValueError, match="6 sites are no whole number of molecules of 4"):
        gyration(4, box=(EDGE,) * 3)(molecules())


# --- a method ----------------------------------------------------------------------------------

TINY = {"residues": 6, "ratio": 2, "frames": 60}


def tiny() -> tuple[cg.System, xr.Dataset]:
    helix = example("helix_coil")
    options = helix.Options(**TINY)
    return helix.system(options), helix.reference(options, jax.random.key(5))


def minus_log_posterior(values: np.ndarray, x: np.ndarray) -> float:
    """The same posterior as sums over all coarse states, in plain NumPy."""
    J, h, p0 = values
    if not 0.5 < p0 < 1.0:
        return np.inf
    X = np.array(list(product((-1, 1), repeat=3)))
    weight = np.exp(J * (X * np.roll(X, -1, 1)).sum(1) + h * X.sum(1))
    agree = (x[:, None] == np.repeat(X, 2, 1)[None]).sum(2)  # (frame, state)
    likelihood = (p0**agree * (1.0 - p0) ** (6 - agree)) @ (weight / weight.sum())
    return float(-np.log(likelihood).sum() + 0.5 * (J**2 + h**2))  # prior normal(0, 1)


@pytest.mark.slow
def test_the_method_finds_the_maximum_that_a_sum_over_all_states_has() -> None:
    system, data = tiny()
    fit = example("maximum").maximum(system, data).run(jax.random.key(0))
    assert fit.converged.all() and fit.ended == "converged"
    found = minimize(
        minus_log_posterior,
        [0.3, 0.0, 0.8],
        (data["x"].values,),
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000},
    )
    idata = cg.to_inference_data(fit)
    posterior = results.group(idata, "posterior")
    ours = [*posterior["theta_c"].values.ravel(), *posterior["p0"].values.ravel()]
    np.testing.assert_allclose(ours, found.x, atol=2e-5)
    assert results.attrs(idata)["method"] == "maximum"


def test_the_method_refuses_what_it_does_not_know() -> None:
    system, data = tiny()
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        example("maximum").maximum(system, data, step=3)
    with pytest.raises(ValueError, match="at least 1"):
        example("maximum").maximum(system, data, steps=0)


# --- a system ----------------------------------------------------------------------------------


def test_the_system_s_data_are_exact_samples() -> None:
    """Mean and neighbours' product of 20,000 frames against the sum over all states, to 5 standard errors."""
    helix = example("helix_coil")
    o = helix.Options(residues=6, ratio=2, frames=20_000)
    x = helix.reference(o, jax.random.key(2))["x"].values.astype(float)
    X = np.array(list(product((-1, 1), repeat=3)))
    weight = np.exp(o.true_J * (X * np.roll(X, -1, 1)).sum(1) + o.true_h * X.sum(1))
    weight /= weight.sum()
    flip = 2.0 * o.true_p0 - 1.0  # mean of a residue in a unit of state +1
    mean, within = flip * float(weight @ X.mean(1)), flip**2
    inside = (x[:, ::2] * x[:, 1::2]).mean(1)  # residues of one unit
    for seen, expected in ((x.mean(1), mean), (inside, within)):
        assert abs(seen.mean() - expected) < 5.0 * seen.std() / np.sqrt(len(seen))


@pytest.mark.by_hand
def test_the_system_fits_by_its_path(tmp_path: Path) -> None:
    path = str(EXAMPLES / "helix_coil.py")
    assert workflow.load_model(path).SUMMARY
    data, fit = str(tmp_path / "data.nc"), str(tmp_path / "fit.nc")
    small = ["-s", "residues=8", "-s", "frames=150"]

    def run(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(cli, [*words, "--quiet", "--json"])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))

    run("reference", path, *small, "--seed", "1", "-o", data)
    short = [w for o in ("chains=2", "warmup=250", "samples=700") for w in ("-M", o)]
    said = run("fit", path, "-d", data, "-m", "nuts", *short, "-o", fit)
    assert said["converged"] == 1
    run("predict", fit, "--draws", "8", "--reference", data)
    result = results.load(fit)
    posterior = results.group(result, "posterior")
    names = posterior["feature"].values.tolist()
    assert names == ["J", "h"]
    options = workflow.model_options(path)
    truth = {"J": options.true_J, "h": options.true_h}
    each = {n: posterior["theta_c"].sel(feature=n) for n in names} | {"p0": posterior["p0"]}
    # One data set with a fixed key; a right posterior misses by 3.5 sd once in 700 such triples.
    for name, draws in each.items():
        off = (float(draws.mean()) - {**truth, "p0": options.true_p0}[name]) / float(draws.std())
        assert abs(off) < 3.5, (name, off)
    assert results.has_group(result, "posterior_predictive")
