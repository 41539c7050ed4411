"""Latents of which the data hold some sites and lack others: X-Y-X seen as X-X (ARCG paper, Section IV.B)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
import xarray as xr

from bayescg import results
from bayescg.infer.begin import all_seen, origin, program_of
from bayescg.infer.estimates import Estimates, Reader, estimate, relaxed, start_chains
from bayescg.infer.fit import Fit
from bayescg.infer.marginal import check_factorises, log_marginal, log_posterior
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.infer.run import mcem
from bayescg.samplers.tethers import Held
from bayescg.system import Batch, System
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.registry import make_system, run_of
from bayescg.workflow.verbs import fit, make_reference
from bayescg_models.virtual_bond import BOX, NAMES, UNITS
from tests.statistical import check_mean, check_z
from tests.triangles import INITIAL, TARGET, mapped_program, shell, shells, triangle

FRAMES = 500
FEW = 200  # frames of the fits
ONE = triangle()


@cache
def data() -> xr.Dataset:
    return make_reference("virtual_bond", [f"frames={FRAMES}"], 0)


class Case(NamedTuple):
    system: System
    batch: Batch
    program: Program
    x: jax.Array


@cache
def case(frames: int) -> Case:
    system = make_system("virtual_bond", [f"frames={frames}"], data())
    batch = system.batch(data())
    return Case(system, batch, program_of(system, batch), jnp.asarray(batch.x[0], float))


def at(program: Program, values: tuple[float, ...]) -> jax.Array:
    return program.unconstrain({n: jnp.asarray(v) for n, v in zip(NAMES, values, strict=True)})


# The program


def read(take: Callable[[jax.Array], jax.Array], sites: int) -> Program:
    x = jax.random.uniform(jax.random.key(0), (4, sites, 3), maxval=BOX)
    return read_program(partial(mapped_program, take=take), x, {})


@pytest.mark.slow
def test_the_data_hold_the_ends() -> None:
    system, batch, program, x = case(FRAMES)
    assert program.kept is not None and program.kept.tolist() == [0, 2]
    assert not program.sites.latent_observed and all_seen(system, batch) == {}
    held = program.pull(jnp.zeros(program.size), x, {})
    assert isinstance(held, Held)
    np.testing.assert_array_equal(held.at[:, [0, 2]], x)
    np.testing.assert_array_equal(held.free, np.tile([0.0, 1.0, 0.0], (FRAMES, 1)))
    none = program.log_likelihood(jnp.zeros(program.size), jnp.zeros((FRAMES, 3, 3)), x, {})
    np.testing.assert_array_equal(none, np.zeros(FRAMES))


@pytest.mark.parametrize("sites", [(0, 2), (2, 0), (1,), (2, 0, 1)])
def test_sites_are_held_in_the_order_of_the_data(sites: tuple[int, ...]) -> None:
    program = read(lambda X: X[..., sites, :], len(sites))
    assert program.kept is not None and program.kept.tolist() == list(sites)
    x = jax.random.uniform(jax.random.key(1), (5, len(sites), 3))
    held = program.pull(jnp.zeros(program.size), x, {})
    np.testing.assert_array_equal(held.at[:, sites], x)
    np.testing.assert_array_equal(np.flatnonzero(held.free[0] == 0.0), np.sort(sites))


@pytest.mark.parametrize(
    ("take", "sites"),
    [
        (lambda X: 0.5 * (X[..., :2, :] + X[..., 1:, :]), 2),
        (lambda X: X[..., :0, :], 0),
        (lambda X: X[..., (0, 2), :] + 1.0, 2),
        (lambda X: X[..., 2:, :] - X[..., :1, :], 1),
        (lambda X: X[..., (0, 1), ::-1], 2),
        (lambda X: 2.0 * X, 3),
    ],
    ids=["means", "none", "moved", "differences", "other axes", "scaled"],
)
def test_other_deterministic_maps_are_refused(
    take: Callable[[jax.Array], jax.Array], sites: int
) -> None:
    """By what samples latents given the data; a critic compares whatever the map gives."""
    program = read(take, sites)
    assert program.kept is None
    x = jax.random.uniform(jax.random.key(0), (4, sites, 3), maxval=BOX)
    with pytest.raises(
        ProgramError, match="must keep some of their sites, each once, and drop the others"
    ):
        check_factorises(program, x, {})


def test_a_map_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(ProgramError, match="map gives 2 sites a frame, the data hold 3"):
        read(lambda X: X[..., (0, 2), :], 3)


@pytest.mark.slow
def test_data_of_all_sites_are_the_latent() -> None:
    """In the latent's order, whatever that of the data."""
    order = (2, 0, 1)
    x = np.random.default_rng(0).uniform(0.0, BOX, (5, 3, 3))
    frames = xr.Dataset({"x": (("frame", "site", "axis"), x)})
    system = System(
        "all", partial(mapped_program, take=lambda X: X[..., order, :]), ONE.sampler, box=(BOX,) * 3
    )
    batch = system.batch(frames)
    fixed = all_seen(system, batch)
    assert list(fixed) == ["X"]
    np.testing.assert_array_equal(fixed["X"][0][:, order], x)
    program = program_of(system, batch, fixed)
    assert program.sites.latent_observed
    u = at(program, TARGET)
    potential, beta = ONE.potential(*TARGET), jnp.asarray(ONE.beta)
    energies = jax.vmap(potential)(jnp.asarray(fixed["X"][0]))
    found = log_marginal(program, u, jnp.asarray(x), {})
    np.testing.assert_allclose(found, -beta * energies - ONE.exact(potential, beta), rtol=1e-10)


@pytest.mark.by_hand
def test_mcem_on_data_of_all_sites_is_rem() -> None:
    """A tiny Lennard-Jones fluid, whose map is the identity: the same iterations to the last bit."""
    edge = 12.0
    spots = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) * edge / 3
    x = spots + 0.15 * np.random.default_rng(0).normal(size=(6, 27, 3))
    frames = xr.Dataset(
        {"x": (("frame", "site", "axis"), np.mod(x, edge)), "box": ("axis", np.full(3, edge))},
        attrs={"temperature": 300.0},
    )
    system = make_system("lj_fluid", ["cutoff=5.0"], frames)
    words = ["max_iterations=4", "free_chains=4", "max_sweeps=8"]
    fits = []
    for method in ("mcem", "rem"):
        run = replace(run_of(method, system, frames, words), point=True)
        fits.append(run.run(jax.random.key(0)))
    ours, rem = fits
    assert ours.method == "mcem" and rem.method == "rem" and ours.program.sites.latent_observed
    start = origin(system, ours.program, ours.batch.x)
    assert np.abs(ours.mode - start).min() > 1e-3
    np.testing.assert_array_equal(ours.mode, rem.mode)
    for name in ("u", "noise"):
        np.testing.assert_array_equal(
            ours.groups["em_trace"][name].values, rem.groups["em_trace"][name].values
        )


# Score and information


@cache
def log_likelihood() -> Callable[[jax.Array], jax.Array]:
    """Of all frames, exact."""
    _, _, program, x = case(FRAMES)
    return lambda u: jnp.sum(log_marginal(program, u, x, {}))


@cache
def compiled(thin: int = 1) -> tuple[Callable[..., Any], Callable[..., Any]]:
    system, _, program, x = case(FRAMES)
    none = np.zeros(0, int)
    reader = Reader(program, system.sampler, system.sampler, none, None, system.complete, thin)
    return (
        jax.jit(lambda key: start_chains(reader, key, x, 2048, 4)),
        jax.jit(lambda u, key, chains, n: estimate(reader, key, u, chains, x, {}, n)),
    )


def estimates(values: tuple[float, ...], repeats: int, sweeps: int, thin: int = 1) -> Estimates:
    """Of chains that have come to rest, one after the other; leading axis ``repeat``."""
    begin, run = compiled(thin)
    u = at(case(FRAMES).program, values)
    chains, several = begin(jax.random.key(1)), []
    for repeat in range(repeats + 1):
        found, chains = run(u, jax.random.key(2 + repeat), chains, sweeps)
        several.append(found)
    assert all(e.failed == 0.0 for e in several)
    return jax.tree.map(lambda *a: np.stack(a), *several[1:])


@pytest.mark.slow
def test_the_data_s_frames_are_completed_where_chains_begin() -> None:
    """X-X as the data have them, and Y an angstrom from their middle."""
    _, _, _, x = case(FRAMES)
    chains = compiled()[0](jax.random.key(1))
    clamped = np.asarray(chains.clamped.x, float).T.reshape(FRAMES, 4, 3, 3)
    np.testing.assert_allclose(clamped[:, :, [0, 2]], np.repeat(x[:, None], 4, 1), rtol=1e-6)
    free = np.asarray(chains.free.x, float).T
    np.testing.assert_allclose(free[:, [0, 2]], x[np.arange(2048) % FRAMES], rtol=1e-6)
    aside = np.linalg.norm(free[:, 1] - 0.5 * (free[:, 0] + free[:, 2]), axis=1)
    np.testing.assert_allclose(aside, 1.0, atol=1e-4)


@pytest.mark.by_hand
def test_chains_of_p_c_begin_where_the_latents_have_come_to_rest() -> None:
    """The data's ends are held, every middle has moved, and chains of p_c begin in all of them."""
    system, _, program, x = case(6)
    sampler = system.sampler
    reader = Reader(
        program, sampler, system.latent_sampler or sampler, np.zeros(0, int), None, system.complete
    )
    before = start_chains(reader, jax.random.key(0), x, 12, 2)
    u = at(program, TARGET)
    after = relaxed(reader, jax.random.key(1), u, before, x, {}, 20)
    ends = np.asarray(after.clamped.x)[:, [0, 2]].T  # (chain, site, axis)
    np.testing.assert_allclose(ends, np.repeat(np.asarray(x), 2, axis=0), atol=1e-5)
    moved = np.abs(np.asarray(after.clamped.x - before.clamped.x))[:, 1].max(0)
    assert np.all(moved > 0.05)
    # First one chain of each frame, then the other.
    order = [*range(0, 12, 2), *range(1, 12, 2)]
    np.testing.assert_array_equal(after.free.x, after.clamped.x[..., order])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "thin"),
    [
        pytest.param(TARGET, 1, id="target"),
        pytest.param(INITIAL, 1, id="initial"),
        pytest.param(INITIAL, 10, id="initial, seldom measured", marks=pytest.mark.by_hand),
    ],
)
def test_score_is_the_gradient_of_the_exact_log_likelihood(
    values: tuple[float, ...], thin: int
) -> None:
    """In the directions in which Monte Carlo errors are independent, from 2048 chains of p_c."""
    found = jax.tree.map(lambda a: a[0], estimates(values, 1, 150, thin))
    exact = jax.jit(jax.grad(log_likelihood()))(at(case(FRAMES).program, values))
    z = np.linalg.solve(np.linalg.cholesky(found.noise), found.score - np.asarray(exact))
    check_z(z, 0.0, 1.0, 2047)
    assert np.all(np.sqrt(np.diag(found.noise)) < 20.0)
    assert found.latent_gap == 0.0 and not found.of_likelihood.any()


@pytest.mark.by_hand
def test_louis_information_is_the_exact_curvature() -> None:
    """Errors from 24 repeats, of 4 chains for each frame: false failures as in ``check_mean``."""
    found = estimates(TARGET, 24, 100)
    exact = -np.asarray(jax.jit(jax.hessian(log_likelihood()))(at(case(FRAMES).program, TARGET)))
    rows, columns = np.triu_indices(4)
    observed = (found.complete - found.missing)[:, rows, columns]
    check_mean(observed, exact[rows, columns])
    error = observed.std(0, ddof=1) / np.sqrt(len(observed))
    assert np.all(error < 0.1 * np.sqrt(np.diag(exact)[rows] * np.diag(exact)[columns]))


# Fits


class Exact(NamedTuple):
    log_posterior: Callable[[jax.Array], jax.Array]  # of values, jitted
    highest: float


@cache
def exact() -> Exact:
    system, batch, program, x = case(FEW)
    value = jax.jit(jax.value_and_grad(lambda u: log_posterior(program, u, x, {})))
    start = origin(system, program, batch.x)[0]
    best = minimize(lambda u: [-np.asarray(v, float) for v in value(u)], start, jac=True)
    return Exact(lambda u: value(u)[0], -float(best.fun))


@cache
def climbed() -> Fit:
    """Few iterations of few chains, from system A of Table I; a point."""
    few = {"free_chains": 512, "max_iterations": 25, "max_sweeps": 64, "information": 0}
    return replace(mcem(case(FEW).system, data(), **few), point=True).run(jax.random.key(0))


@pytest.mark.by_hand
def test_mcem_climbs_the_exact_posterior() -> None:
    """Four fifths of the way up, which is 300 nats."""
    system, batch, program, _ = case(FEW)
    start = float(exact().log_posterior(origin(system, program, batch.x)[0]))
    end = float(exact().log_posterior(climbed().mode[0]))
    assert start < exact().highest - 200.0
    assert end > start + 0.8 * (exact().highest - start)
    assert climbed().exact and not climbed().program.sites.latent_observed


@pytest.mark.by_hand
def test_mcem_converges_to_the_exact_mode() -> None:
    """It stops half a posterior sd or less from it in each of four directions, with errors of half
    as much: less than 3 nats below."""
    result = replace(mcem(case(FEW).system, data()), point=True).run(jax.random.key(0))
    assert result.converged.all(), result.messages
    assert float(exact().log_posterior(result.mode[0])) > exact().highest - 3.0


@pytest.mark.by_hand
def test_results_hold_the_bonds_and_the_density_of_the_ends() -> None:
    program, mode = case(FEW).program, jnp.asarray(climbed().mode[0])
    idata = to_inference_data(climbed(), prior_draws=20)
    posterior = results.group(idata, "posterior")
    assert set(posterior.data_vars) == {*NAMES, "bond_density_X_X"}
    values = program.constrain(mode)
    for name in NAMES:
        assert posterior[name].shape == (1, 1) and posterior[name].attrs["units"] == UNITS[name]
        assert float(posterior[name][0, 0]) == pytest.approx(float(values[name]), rel=1e-9)
    density = posterior["bond_density_X_X"]
    assert density.dims == ("chain", "draw", "quadrature_length")
    assert density.attrs["units"] == "1/angstrom"
    r = density["quadrature_length"]
    assert r.attrs["units"] == "angstrom" and float(r[-1]) == pytest.approx(8.0)
    numbers = tuple(float(values[n]) for n in NAMES)
    stiffer = ONE.factor * ONE.beta
    for i in (24, 74):
        expected = shell(float(r[i]), numbers, stiffer) / shells(numbers, stiffer)
        assert float(density[0, 0, i]) == pytest.approx(expected, rel=1e-5)
    each = results.group(idata, "log_likelihood")["x"]
    exact_each = log_marginal(program, mode, case(FEW).x, {})
    np.testing.assert_allclose(each[0, 0], exact_each, rtol=1e-9)


def mean_length(values: jax.Array) -> jax.Array:
    """Of X-X under the model, for one value of the four parameters."""
    density = ONE.exact.density(ONE.potential(*values), jnp.asarray(ONE.beta))
    return 0.04 * density @ ONE.exact.points


def measured(values: np.ndarray) -> np.ndarray:
    """The mean length and the logarithms of the bond X-X, ``(draw, number)``."""
    means = jax.lax.map(mean_length, jnp.asarray(values), batch_size=200)
    return np.column_stack([means, np.log(values[:, 2:])])


def weighted_draws() -> tuple[np.ndarray, np.ndarray]:
    """Values of the parameters and their weights, by population Monte Carlo with exact densities.

    A ridge that bends is covered by Student t around draws of the round before.
    """
    _, _, program, x = case(FEW)

    @jax.jit
    def target(draws: jax.Array) -> jax.Array:
        def one(u: jax.Array) -> jax.Array:
            return log_posterior(program, u, x, {}) + program.log_jacobian(u)

        return jax.lax.map(one, draws, batch_size=200)

    rng, dof, size = np.random.default_rng(0), 5.0, 4
    centres, root = np.asarray(at(program, TARGET))[None], 0.3 * np.eye(size)
    for _ in range(7):
        t = rng.normal(size=(4000, size)) / np.sqrt(rng.chisquare(dof, (4000, 1)) / dof)
        draws = centres[rng.integers(len(centres), size=4000)] + t @ root.T
        away = np.linalg.solve(root, (draws[:, None] - centres).reshape(-1, size).T)
        kernel = -0.5 * (dof + size) * np.log1p((away**2).sum(0) / dof).reshape(4000, -1)
        log_w = np.asarray(target(draws)) - np.log(np.exp(kernel).mean(1))
        weights = np.exp(log_w - log_w.max())
        weights /= weights.sum()
        centres = draws[rng.choice(4000, 400, p=weights)]
        root = 0.7 * np.linalg.cholesky(np.cov(draws.T, aweights=weights))
    inner = jax.vmap(program.constrain)(jnp.asarray(draws))
    return np.stack([inner[n] for n in NAMES], 1), weights


@pytest.mark.by_hand
def test_nuts_agrees_with_importance_sampling() -> None:
    """Posterior means of the mean length of X-X, and of the logarithms of its bond's parameters.

    Errors are those of both effective sample sizes. The limit of five in three numbers is passed by
    chance in 2e-6 of keys; where the short chains' errors are half of what they ought to be, in 4 %.
    """
    words = ["warmup=150", "samples=150", "chains=2"]
    chosen = {"options": [f"frames={FEW}"], "method_options": words}
    posterior = results.group(fit("virtual_bond", data(), method="nuts", **chosen), "posterior")
    for name in NAMES:
        assert posterior[name].shape == (2, 150) and posterior[name].attrs["units"] == UNITS[name]
    assert posterior["bond_density_X_X"].shape == (2, 150, 200)
    seen = measured(np.stack([posterior[n].values.ravel() for n in NAMES], 1))
    labelled = results.to_dataset({"q": seen.reshape(2, -1, 3)}, dims={"q": ("number",)})
    ess = np.asarray(results.diagnostics(labelled)["ess_bulk"]["q"])
    assert ess.min() > 30.0
    values, weights = weighted_draws()
    assert 1.0 / np.sum(weights**2) > 400.0
    ours = measured(values)
    mean = weights @ ours
    error = np.sqrt(weights**2 @ (ours - mean) ** 2)
    z = (seen.mean(0) - mean) / np.hypot(error, seen.std(0) / np.sqrt(ess))
    assert np.abs(z).max() < 5.0, z
    # And the data's own mean is where such a posterior has to be.
    x = np.asarray(case(FEW).x)
    lengths = np.linalg.norm(x[:, 1] - x[:, 0], axis=1)
    assert abs(mean[0] - lengths.mean()) < 3.0 * lengths.std() / np.sqrt(FEW)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("classifier", "has virtual sites, which a classifier cannot update"),
        ("rem", "has no fine-to-coarse map, which rem needs"),
    ],
)
def test_methods_that_cannot_see_virtual_sites_are_refused(method: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run_of(method, case(FEW).system, data())


def test_a_site_is_put_in_beside_the_nearest_images() -> None:
    """Ends on two sides of the box's edge: an angstrom from the middle of the bond, not of the box."""
    x = jnp.asarray([[[0.5, 1.0, 1.0], [BOX - 1.5, 1.0, 1.0]]])
    y = case(FEW).system.complete(jax.random.key(0), x)[0, 1]
    np.testing.assert_allclose(jnp.linalg.norm(y - jnp.asarray([-0.5, 1.0, 1.0])), 1.0)


@pytest.mark.parametrize(
    "handed_on",
    [
        lambda X: (
            0.5 * (X[..., :1, :] + X[..., 2:, :])
        ),  # the mean of the ends is where a middle site may be
        lambda X: jnp.abs(X)[..., (0, 2), :],
        lambda X: jnp.sort(X, -2)[..., (0, 2), :],
        lambda X: X[..., (0, 0, 2), :],
    ],
)
def test_maps_that_look_like_keeping_sites_are_refused(handed_on: Callable[..., Any]) -> None:
    sites = handed_on(jnp.ones((1, 3, 3))).shape[1]
    x = jnp.ones((2, sites, 3))
    with pytest.raises(ProgramError, match="each once"):
        check_factorises(read_program(partial(mapped_program, take=handed_on), x, {}), x, {})


def test_ends_too_far_apart_for_the_quadrature_are_refused() -> None:
    few = data().isel(frame=slice(4)).copy(deep=True)
    few["x"][0, 1] = few["x"][0, 0] + 8.0
    with pytest.raises(ValueError, match="allowed are 12"):
        make_system("virtual_bond").batch(few)


def test_nuts_refuses_a_flat_prior() -> None:
    with pytest.raises(ProgramError, match="proper prior"):
        fit("virtual_bond", data(), method="nuts", options=["prior=flat"])
