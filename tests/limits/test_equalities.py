"""The methods as limiting cases of one another, on shared samples: equal to round-off."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg import workflow
from bayescg.distributions.log_partition import Tracked
from bayescg.infer.begin import program_of
from bayescg.infer.estimates import Chains, Estimates, Reader, estimate
from bayescg.infer.histograms import Target
from bayescg.infer.match_run import Prepared, prepare
from bayescg.infer.matching import _measured
from bayescg.infer.updates import Gradient, Measured, Newton
from bayescg.samplers.base import ChainInfo, Sampler
from bayescg.topology import variables_of
from tests.molecules import BOX, chains, places

TOPOLOGY = replace(chains(3), types=("A", "B", "B", "A") * 3 + ("A",) * 3)  # two types, three pairs
SWEEPS, CHAINS = 40, 8
SMALL = ("knots=1.0", "bond_knots=3", "angle_knots=3", "dihedral_order=2", "cutoff=6")


@cache
def data() -> xr.Dataset:
    x = places(TOPOLOGY, CHAINS) % np.asarray(BOX)
    variables = {"x": (("frame", "site", "axis"), x), "box": (("axis",), np.asarray(BOX))}
    return xr.Dataset(variables | variables_of(TOPOLOGY), attrs={"temperature": 300.0})


@cache
def samples() -> np.ndarray:
    """What a simulation of the model might have given, ``(sweep, axis, site, chain)``."""
    x = places(TOPOLOGY, SWEEPS * CHAINS, seed=7).reshape(SWEEPS, CHAINS, TOPOLOGY.sites, 3)
    return np.moveaxis(x, 1, -1).swapaxes(1, 2)


class Replay(NamedTuple):
    x: Array
    at: Array


def replay() -> Sampler:
    """A sampler that gives the shared samples one after the other."""
    stored = jnp.asarray(samples())

    def at(key: Array, x: Array) -> Replay:
        return Replay(stored[0], jnp.zeros((), int))

    def step(key, state, potential, beta, field=None):  # type: ignore[no-untyped-def]
        return Replay(stored[state.at], state.at + 1), ChainInfo(jnp.ones(()))

    return Sampler(lambda key, chains: at(key, stored[0]), step, at=at)


def measured(statistics: Callable[[Array], Array]) -> Measured:
    return _measured(np.stack([np.asarray(statistics(jnp.asarray(s))) for s in samples()]))


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("pair=spline",), id="spline", marks=pytest.mark.by_hand),
        pytest.param(("pair=lj", "bond=harmonic", "angle=harmonic"), id="lj"),
    ],
)
def test_rem_is_mcem_with_a_dirac_map(words: tuple[str, ...]) -> None:
    """Gradient and information of one iteration, of linear parameters and of epsilon and sigma."""
    system = workflow.make_system("molecular", [*SMALL, *words], data(), "rem")
    batch = system.batch(data())
    program = program_of(system, batch, {"X": batch.x, "sigma2": np.full(1, 1e-6)})
    x = jnp.asarray(batch.x[0])
    u = 0.1 * jnp.asarray(np.random.default_rng(0).normal(size=program.size))
    reader = Reader(program, replay(), replay(), np.zeros(0, int))
    state = replay().at(jax.random.key(0), x)  # type: ignore[misc]
    held = Replay(x.T, jnp.zeros((), int))  # not moved: the latent is observed

    @jax.jit
    def by_mcem(u: Array, chains: Chains) -> Estimates:
        return estimate(reader, jax.random.key(0), u, chains, x, {}, jnp.asarray(SWEEPS))[0]

    found = by_mcem(u, Chains(state, held))
    boltzmann = program.boltzmann(u, x, {})
    statistics, beta = jax.jit(boltzmann.potential.statistics), float(boltzmann.beta)
    ours = measured(statistics)
    target = Target(np.asarray(statistics(x.T)).mean(1), np.zeros(len(ours.mean)))
    slope = np.asarray(jax.jit(jax.jacfwd(lambda v: program.natural(v, x, {})))(u))
    score = beta * slope.T @ (target.mean - ours.mean)
    np.testing.assert_allclose(len(x) * score, found.score, rtol=1e-9, atol=1e-8)
    # MC-EM adds the error of the estimated mean to the covariance, which is a square too small.
    by_chain = np.asarray(ours.samples).reshape(SWEEPS, CHAINS, -1).mean(0)
    error = np.cov(by_chain.T, ddof=1) / CHAINS
    information = beta**2 * slope.T @ (ours.covariance + error) @ slope
    np.testing.assert_allclose(len(x) * information, found.fisher, rtol=1e-8, atol=1e-7)

    labels = program.labels
    gradient = Gradient(1.0)(np.asarray(u), ours, target, lambda v: slope, beta, labels)
    diagonal = np.diag(beta**2 * slope.T @ ours.covariance @ slope)
    np.testing.assert_allclose(gradient[diagonal > 0], (score / diagonal)[diagonal > 0], rtol=1e-9)


@cache
def on_bins() -> tuple[Prepared, Measured]:
    words = ["cutoff=6", "width=0.5", "bond_width=0.1", "angle_width=10", "dihedral_width=30"]
    system = workflow.make_system("molecular", words, data(), "imc")
    ready = prepare(system, data(), "imc", on="bins")
    return ready, measured(jax.jit(ready.histograms))


def test_imc_on_bins_is_rems_newton_step() -> None:
    """REM's from derivatives of log Z that JAX takes, IMC's from counts in bins; on the same samples.

    Of a potential that is linear between the points of its table the statistics are counts shared by
    two points. On bins every count is whole: a potential of steps, as REM of that basis has it.
    """
    ready, ours = on_bins()
    counts, beta = ready.histograms, ready.beta

    # A flat prior and a Dirac map: the log likelihood of one frame's mean statistics.
    strategy = Tracked(jnp.asarray(-ours.samples.T))

    class Steps:
        """U = sum_k u_k S_k, with natural parameters -u and statistics S, or u and -S."""

        def __init__(self, u: Array) -> None:
            self.u = u

        def natural(self) -> Array:
            return self.u

    def log_likelihood(u: Array) -> Array:
        return -beta * (u @ ready.target.mean) - strategy(Steps(u), jnp.asarray(beta))  # type: ignore[arg-type]

    zero = jnp.zeros(counts.size)
    gradient, hessian = jax.grad(log_likelihood)(zero), jax.hessian(log_likelihood)(zero)
    np.testing.assert_allclose(
        gradient, -beta * (ready.target.mean - ours.mean), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(-hessian, beta**2 * ours.covariance, rtol=1e-8, atol=1e-9)
    # Where the matrix is regular the plain steps are the same.
    live = np.flatnonzero(np.diag(ours.covariance) > 1e-3)[:8]
    some = np.ix_(live, live)
    by_hand = np.linalg.solve(-np.asarray(hessian)[some], np.asarray(gradient)[live])
    part = Measured(
        ours.mean[live], ours.error[live], ours.covariance[some], ours.samples[:, live], 1e12
    )
    target = Target(ready.target.mean[live], np.zeros(len(live)))
    step = Newton("none")(np.zeros(8), part, target, lambda u: -np.eye(8), beta, [""] * 8)
    np.testing.assert_allclose(step, by_hand, rtol=1e-7)


def test_the_regularised_step_is_james_and_steins_along_principal_components() -> None:
    """By singular values of the samples: along a component whose score is z standard errors, z - 1/z of them.

    Bonds, angles and dihedrals hold a constant each, along which no sample moves.
    """
    ready, ours = on_bins()
    beta, size = ready.beta, ready.histograms.size
    found = Newton()(np.zeros(size), ours, ready.target, lambda u: -np.eye(size), beta, [""] * size)
    spread = ours.samples.std(0)
    met = spread > 0.0
    scaled = (ours.samples - ours.mean)[:, met] / spread[met] / np.sqrt(len(ours.samples))
    _, root, components = np.linalg.svd(scaled, full_matrices=False)
    components, root = components[root > 1e-6 * root[0]], root[root > 1e-6 * root[0]]
    noise = 1.0 / ours.independent + np.median((ready.target.error[met] / spread[met]) ** 2)
    off = (ours.mean - ready.target.mean)[met] / spread[met]
    z = components @ off / (root * np.sqrt(noise))
    step = np.where(np.abs(z) > 1.0, z - 1.0 / np.where(z == 0.0, 1.0, z), 0.0)
    by_hand = np.zeros(size)
    by_hand[met] = components.T @ (step * np.sqrt(noise) / root) / spread[met] / beta
    np.testing.assert_allclose(found, by_hand, rtol=1e-6, atol=1e-9)
    assert (np.abs(z) <= 1.0).any() and ((np.abs(z) > 1.0) & (np.abs(z) < 3.0)).any()
    assert met.sum() - len(root) == 4  # constants: of two bonds, an angle and a dihedral


def test_reweighted_steps_go_further_than_one() -> None:
    """Of a curved log Z one Newton step is not all; reweighting the same samples finds the rest.

    Two states of energy 0 and 1: with all samples at hand the answer is a logit.
    """
    rng = np.random.default_rng(3)
    phi = rng.binomial(1, 0.5, size=(20000, 1)).astype(float)
    mean = phi.mean(0)
    ours = Measured(mean, np.array([1e-3]), np.cov(phi.T).reshape(1, 1), phi, 1e12)
    target = Target(np.array([0.75]), np.zeros(1))
    exact = np.log(3.0) - np.log(mean[0] / (1 - mean[0]))
    args = (np.zeros(1), ours, target, lambda u: np.eye(1), 1.0, ["u"])
    once, more = Newton()(*args), Newton(natural=lambda u: u)(*args)
    assert abs(once[0] - exact) > 0.05 and abs(more[0] - exact) < 1e-5
