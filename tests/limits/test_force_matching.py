"""Force matching: the design, the conjugate posterior, and what frames that are correlated make of it."""

from functools import cache, partial

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density
import pytest
import xarray as xr

from bayescg import workflow
from bayescg.distributions import Boltzmann, PeriodicNormal, coefficients, flat_positive
from bayescg.infer.conjugate import ARD, Equations, Flat, Normal, solve
from bayescg.infer.fit import Fit
from bayescg.infer.force_design import design
from bayescg.limits.force_matching import force_matching, program
from bayescg.potentials import (
    BSplines,
    FixedPair,
    Interaction,
    LennardJones,
    LinearPair,
    MolecularPotential,
    PairTerm,
    Wall,
    classes_of,
)
from bayescg.samplers import particle_sampler
from bayescg.system import System
from bayescg.topology import Bonded, Topology
from tests.statistical import check_z

BOX = (11.0, 12.0, 13.0)
TEMPERATURE = 300.0
BETA = 1.7
PAIR = BSplines(np.linspace(2.0, 5.0, 7))
BOND = BSplines(np.linspace(1.0, 2.0, 5), ends="free")
WALL = FixedPair(Wall(2.2), 40.0)

# A system of dimers


@cache
def dimers(pairs: int = 12) -> Topology:
    bond = np.arange(2 * pairs).reshape(-1, 2)
    return Topology(
        ("A",) * 2 * pairs,
        np.ones(2 * pairs),
        np.repeat(np.arange(pairs), 2),
        Bonded(bond, ("AA",) * pairs),
        exclusion=bond,
    )


CLASSES = classes_of(dimers(), [("A", "A")])


def energy(theta_c: Array, known: tuple[PairTerm, ...] = (WALL,)) -> MolecularPotential:
    size = len(PAIR.names)
    pair = Interaction((LinearPair(theta_c[:size], PAIR), *known), "pair", "A_A")
    bond = Interaction((LinearPair(theta_c[size:], BOND),), "bond", "AA")
    return MolecularPotential((pair, bond), CLASSES, BOX)


SIZE = len(PAIR.names) + len(BOND.names)


def toy(x: Array | None = None, *, prior: str = "flat", frames: int = 1) -> None:
    theta_c = coefficients("theta_c", SIZE, prior, scale=2.0, a0=1.0, b0=0.5)
    sigma2 = flat_positive("sigma2")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            energy(theta_c),
            BETA,
            log_partition=None,
            event_shape=(24, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=BOX), obs=x)


def system(function=toy, prior: str = "flat") -> System:
    return System(
        name="toy",
        program=partial(function, prior=prior),
        sampler=particle_sampler(24, BOX),
        features=tuple(f"{k}" for k in range(SIZE)),
        restriction=lambda x, key: x,
        dirac={"sigma2": 1e-6},
        box=BOX,
    )


def truth(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SIZE)


@jax.jit
def forces_of_truth(x: Array) -> Array:
    return jax.vmap(lambda x: -jax.grad(energy(jnp.asarray(truth())))(x))(x)


def dataset(frames: int = 40, noise: float = 0.0, low: float = 1.05, seed: int = 2) -> xr.Dataset:
    """Dimers anywhere, their bonds between ``low`` and 1.95 angstrom; forces of ``truth`` and noise."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(size=(frames, 12, 1, 3)) * np.array(BOX)
    along = rng.normal(size=(frames, 12, 1, 3))
    along *= (
        0.5 * rng.uniform(low, 1.95, (frames, 12, 1, 1)) / np.linalg.norm(along, axis=-1)[..., None]
    )
    x = (centre + along * np.array([[-1.0], [1.0]])).reshape(frames, 24, 3)
    f = np.asarray(forces_of_truth(jnp.asarray(x))) + noise * rng.normal(size=x.shape)
    dims = ("frame", "site", "axis")
    return xr.Dataset(
        {"x": (dims, x), "forces": (dims, f), "box": (("axis",), np.array(BOX))},
        attrs={"temperature": TEMPERATURE},
    )


@cache
def fitted(prior: str = "flat", noise: float = 1.0, low: float = 1.05, **options) -> Fit:
    return force_matching(system(prior=prior), dataset(noise=noise, low=low), **options).run(
        jax.random.key(0)
    )


def regression(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Design and target of least squares, the wall's forces taken off."""
    one = energy(jnp.zeros(SIZE))
    known = energy(jnp.zeros(SIZE)).natural()
    g = np.stack([np.asarray(design(one, x)) for x in data["x"].values])
    wall = g @ -np.asarray(known)
    free = np.concatenate(
        [np.arange(len(PAIR.names)), len(PAIR.names) + 1 + np.arange(len(BOND.names))]
    )
    target = data["forces"].values - wall
    return g[..., free].reshape(-1, SIZE), target.ravel()


def without_constant(c: np.ndarray) -> np.ndarray:
    """Coefficients with those of the bond lowered to a mean of zero."""
    c = c.copy()
    bond = c[..., len(PAIR.names) :]
    bond -= bond.mean(-1, keepdims=True)
    return c


@pytest.mark.slow
def test_exact_forces_give_the_coefficients_back() -> None:
    """To round-off, the bond's up to a constant; the known wall is taken off."""
    fit = fitted(noise=0.0)
    assert fit.mode is not None
    np.testing.assert_allclose(without_constant(fit.mode[0]), without_constant(truth()), atol=1e-10)
    assert float(str(fit.attrs["r_squared"])) > 1.0 - 1e-12
    assert not any("seldom" in m or "singular" in m for m in fit.messages)


def test_under_a_flat_prior_the_posterior_mean_is_least_squares() -> None:
    g, f = regression(dataset(noise=1.0))
    exact = np.linalg.lstsq(g, f, rcond=None)[0]
    fit = fitted()
    assert fit.mode is not None and fit.draws.shape == (1, 500, 1, SIZE)
    np.testing.assert_allclose(without_constant(fit.mode[0]), without_constant(exact), atol=1e-11)
    # As the normal prior widens its mean goes there, too.
    e = Equations(*(np.asarray(v)[None] for v in (g.T @ g, g.T @ f, f @ f, len(f), 40)))
    wide = solve(e, Normal(1e-10 * np.eye(SIZE), np.zeros(SIZE)))
    np.testing.assert_allclose(without_constant(wide.mean), without_constant(exact), atol=1e-8)


# The Bayesian form


@cache
def small() -> tuple[np.ndarray, np.ndarray]:
    """Thirty forces and three correlated functions."""
    rng = np.random.default_rng(3)
    mix = np.array([[1.0, 0.6, 0.0], [0.0, 1.0, 0.5], [0.3, 0.0, 1.0]])
    g = rng.normal(size=(30, 3)) @ mix
    return g, g @ np.array([1.0, -0.5, 0.0]) + 0.7 * rng.normal(size=30)


def equations_of(g: np.ndarray, f: np.ndarray) -> Equations:
    return Equations(*(np.asarray(v)[None] for v in (g.T @ g, g.T @ f, f @ f, len(f), 1)))


def sampled(**settings) -> np.ndarray:
    """theta_c by NUTS, ``(chain, draw, term)``."""
    g, f = small()
    run = MCMC(
        NUTS(partial(program, **settings)),
        num_warmup=200,
        num_samples=2000,
        num_chains=2,
        chain_method="sequential",
        progress_bar=False,
    )
    run.run(jax.random.key(5), jnp.asarray(g), jnp.asarray(f))
    return np.asarray(run.get_samples(group_by_chain=True)["theta_c"])


def check_moments(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Means and covariances within their Monte Carlo error; 1e-5 is the chance of a false failure each."""
    size = draws.shape[-1]
    flat = draws.reshape(-1, size)
    ess = np.array([effective_sample_size(draws[..., k]) for k in range(size)])
    check_z(flat.mean(0), mean, flat.std(0) / np.sqrt(ess))
    gap = draws - mean
    i, j = np.triu_indices(size)
    products = gap[..., i] * gap[..., j]
    ess = np.array([effective_sample_size(products[..., k]) for k in range(len(i))])
    error = products.reshape(-1, len(i)).std(0) / np.sqrt(ess)
    check_z(products.reshape(-1, len(i)).mean(0), covariance[i, j], error)


@pytest.mark.slow
def test_the_conjugate_posterior_is_that_of_the_program() -> None:
    """NUTS on the program with a normal prior and a known residual variance, against the closed form."""
    variance, scale = 0.6, 0.8
    found = solve(
        equations_of(*small()), Normal(np.eye(3) / scale**2, np.zeros(3)), variance=variance
    )
    root = found.independent()
    draws = sampled(prior="normal", scale=scale, residual_variance=variance)
    check_moments(draws, found.mean, root @ root.T)


def test_the_profiled_variance_is_that_of_the_program() -> None:
    """Under a flat prior and Jeffreys' of the variance v the program's density is v^-(n/2 + 1) exp(-RSS/2v).

    The coefficients alone then follow Student's t of n - p degrees of freedom about least squares, whose
    scale is the conjugate posterior's at v = RSS/(n - p).
    """
    g, f = small()
    found = solve(equations_of(g, f), Flat(np.eye(3)))
    rng = np.random.default_rng(8)
    given = (jnp.asarray(g), jnp.asarray(f))

    @jax.jit
    def density(c: Array, v: Array) -> Array:
        at = {"theta_c": c, "residual_variance": v}
        return log_density(partial(program, prior="flat"), given, {}, at)[0]

    rows = []
    for _ in range(5):
        c, v = found.mean + rng.normal(size=3), float(rng.uniform(0.2, 2.0))
        rest = np.sum((f - g @ c) ** 2)
        rows.append(
            float(density(jnp.asarray(c), jnp.asarray(v))) + 16.0 * np.log(v) + 0.5 * rest / v
        )
    np.testing.assert_allclose(np.diff(rows), 0.0, atol=1e-9)
    least = np.linalg.lstsq(g, f, rcond=None)
    np.testing.assert_allclose(found.mean, least[0], atol=1e-12)
    np.testing.assert_allclose(found.variance, least[1][0] / 27.0, rtol=1e-10)


@pytest.mark.parametrize("prior", ["normal", "ard"])
def test_the_programs_own_prior_is_used(prior: str) -> None:
    """That of the system's program, as solved from its design."""
    g, f = regression(dataset(noise=1.0))
    given = Normal(np.eye(SIZE) / 4.0, np.zeros(SIZE)) if prior == "normal" else ARD(1.0, 0.5)
    exact = solve(equations_of(g, f), given)
    fit = fitted(prior=prior)
    assert fit.mode is not None
    np.testing.assert_allclose(fit.mode[0], exact.mean, atol=1e-6)
    assert fit.attrs["prior_used"] == prior
    independent = fit.groups["fm"]["standard_error_independent"].values[0]
    np.testing.assert_allclose(independent, exact.error("independent"), rtol=1e-4)


# What frames do not tell


def test_functions_that_are_not_met_go_on_in_a_straight_line() -> None:
    """Bonds longer than 1.4 angstrom: the first splines of the bond rest on nothing."""
    fit = fitted(low=1.4)
    (message,) = [m for m in fit.messages if "seldom" in m]
    assert "bond AA spline 0" in message and "straight line" in message
    assert fit.mode is not None
    seldom = fit.groups["fm"]["seldom"].values[0].astype(bool)
    bond = fit.mode[0][len(PAIR.names) :]
    count = int(seldom[len(PAIR.names) :].sum())
    assert 1 <= count <= 3 and seldom[len(PAIR.names) :][:count].all()
    place = np.array([1.0, 1.0 + 0.25 / 3, 1.25, 1.5, 1.75, 1.75 + 0.5 / 3, 2.0])  # Greville's
    slope = np.diff(bond) / np.diff(place)
    np.testing.assert_allclose(slope[:count], slope[count], rtol=1e-9)
    # Draws do the same.
    several = np.diff(fit.draws[0, :5, 0, len(PAIR.names) :]) / np.diff(place)
    np.testing.assert_allclose(several[:, 0], several[:, count], rtol=1e-8)


def test_under_a_proper_prior_they_rest_on_the_prior() -> None:
    fit = fitted(prior="normal", low=1.4)
    (message,) = [m for m in fit.messages if "seldom" in m]
    assert "they rest on the prior" in message


def twice(x: Array | None = None, *, prior: str = "flat", frames: int = 1) -> None:
    """The pair's splines once more, as other functions."""
    theta_c = coefficients("theta_c", SIZE + len(PAIR.names), prior)
    sigma2 = flat_positive("sigma2")
    again = LinearPair(theta_c[SIZE:], PAIR)
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            energy(theta_c[:SIZE], (again,)),
            BETA,
            log_partition=None,
            event_shape=(24, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=BOX), obs=x)


def test_a_singular_matrix_is_named_and_harmless() -> None:
    fit = force_matching(system(twice), dataset(noise=1.0)).run(jax.random.key(0))
    (message,) = [m for m in fit.messages if "singular" in m]
    assert f"{len(PAIR.names)} combinations" in message
    assert fit.mode is not None and np.abs(fit.mode).max() < 20.0
    both = fit.mode[0][: len(PAIR.names)] + fit.mode[0][SIZE:]
    g, f = regression(dataset(noise=1.0))
    # Without the wall, which this program does not have.
    wall = energy(jnp.zeros(SIZE))
    rows = np.stack([np.asarray(design(wall, x)) for x in dataset(noise=1.0)["x"].values])
    f = f + (rows @ -np.asarray(wall.natural())).ravel()
    exact = np.linalg.lstsq(g, f, rcond=None)[0]
    np.testing.assert_allclose(both, exact[: len(PAIR.names)], atol=1e-8)


# Errors


def test_draws_have_the_errors_that_are_stated() -> None:
    for form in ("sandwich", "bagged", "independent"):
        fit = fitted(errors=form, draws=2000)
        error = fit.groups["fm"][f"standard_error_{form}"].values[0]
        np.testing.assert_allclose(fit.draws[0, :, 0].std(0), error, rtol=0.2)
        assert form.split("_")[0] in fit.approximation
        assert fit.attrs["errors"] == form


@pytest.mark.slow
def test_held_out_coverage_is_told() -> None:
    """0.9 of the coefficients in 20 data sets of independent frames, for errors of either form.

    Within four binomial standard errors of as many coefficients (0.019), the cuts of one data set counted as
    one: a false failure in 6e-5 of keys. Errors a fifth too small or half too large are seen.
    """
    fit = fitted()
    (message,) = [m for m in fit.messages if m.startswith("held-out coverage")]
    told = {form: f"{fit.attrs[f'coverage_{form}']:.2f}" for form in ("sandwich", "independent")}
    assert message.endswith(
        f"{told['sandwich']} (sandwich; independent residuals: {told['independent']})."
    )
    fits = [
        force_matching(system(), dataset(noise=1.0, seed=k)).run(jax.random.key(k))
        for k in range(20)
    ]
    error = np.sqrt(0.9 * 0.1 / (len(fits) * SIZE))
    for form in told:
        coverage = np.mean([float(str(f.attrs[f"coverage_{form}"])) for f in fits])
        assert abs(coverage - 0.9) < 4.0 * error, (form, coverage)


def test_the_key_decides_all_draws() -> None:
    fit = fitted()
    again = force_matching(system(), dataset(noise=1.0)).run(jax.random.key(0))
    np.testing.assert_array_equal(again.draws, fit.draws)
    other = force_matching(system(), dataset(noise=1.0)).run(jax.random.key(1))
    assert np.any(other.draws != fit.draws)


def test_few_frames_are_said_to_be_few() -> None:
    fit = force_matching(system(), dataset(frames=6, noise=1.0)).run(jax.random.key(0))
    assert any("too few to tell how far they are correlated" in m for m in fit.messages)


def test_the_result_is_labelled() -> None:
    idata = workflow.to_inference_data(fitted())
    assert idata.posterior["theta_c"].dims == ("chain", "draw", "feature")
    assert idata.posterior["theta_c"].shape == (1, 500, SIZE)
    assert idata.attrs["method"] == "fm"
    assert {"fm", "ybg"} <= set(workflow.method_names())
    assert "standard_error_sandwich" in idata["fm"]


# Bad input


def test_missing_forces_are_named() -> None:
    data = dataset().drop_vars("forces").assign_attrs(source="run.xtc")
    with pytest.raises(ValueError, match=r"run\.xtc.*no variable 'forces'.*bayescg map") as error:
        force_matching(system(), data)
    assert "\n" not in str(error.value)


def test_forces_that_are_all_zero_are_refused() -> None:
    data = dataset()
    data["forces"] = 0.0 * data["forces"]
    with pytest.raises(ValueError, match="'forces' is zero everywhere"):
        force_matching(system(), data)


def test_frames_that_meet_nothing_are_refused() -> None:
    """All sites within half an angstrom, where every function is flat."""
    data = dataset()
    crowd = 0.3 * np.random.default_rng(9).uniform(size=data["x"].shape)
    data["x"] = (data["x"].dims, crowd)
    with pytest.raises(ValueError, match="meet none of the potential's functions"):
        force_matching(system(), data).run(jax.random.key(0))


def lennard_jones(x: Array | None = None, *, prior: str = "flat", frames: int = 1) -> None:
    epsilon, sigma = flat_positive("epsilon"), flat_positive("sigma")
    theta_c = coefficients("theta_c", SIZE, prior)
    sigma2 = flat_positive("sigma2")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            energy(theta_c, (LennardJones(epsilon, sigma),)),
            BETA,
            log_partition=None,
            event_shape=(24, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=BOX), obs=x)


def test_a_potential_that_is_not_linear_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a potential linear.*epsilon, sigma.*splines"):
        force_matching(system(lennard_jones), dataset()).run(jax.random.key(0))


def test_unknown_and_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown option 'error' for fm; did you mean 'errors'"):
        force_matching(system(), dataset(), error="sandwich")
    with pytest.raises(ValueError, match="sandwich, bagged, independent"):
        force_matching(system(), dataset(), errors="none")
    with pytest.raises(ValueError, match="draws must be at least 2"):
        force_matching(system(), dataset(), draws=1)
