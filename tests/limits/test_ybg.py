"""Generalised Yvon-Born-Green: coefficients from structure alone, where the answer is known."""

from functools import cache, partial

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import xarray as xr

from bayescg.distributions import Boltzmann, PeriodicNormal, coefficients, flat_positive
from bayescg.infer.conjugate import Equations, Flat, Solution, solve
from bayescg.infer.fit import Fit
from bayescg.infer.force_design import normal_equations
from bayescg.infer.score_matching import score_matching
from bayescg.limits.force_matching import force_matching
from bayescg.limits.ybg import ybg
from bayescg.potentials import (
    BSplines,
    Interaction,
    LinearPair,
    MolecularPotential,
    PairBasis,
    ParticlePotential,
    Table,
    classes_of,
)
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.system import System
from bayescg.topology import Bonded, Topology
from tests.statistical import check_z

BETA = 1.7
KT = 1.0 / BETA
SITES = 24
BOX = (9.0,) * 3

# A liquid


CHAINS = 48
PER_CHAIN = 10
SPLINES = BSplines(np.linspace(2.0, 4.5, 8))
CLASSES = classes_of(Topology(("A",) * SITES, np.ones(SITES), np.arange(SITES)), [("A", "A")])
#: A well at 3.3 angstrom, and a core in a straight line: what is not met is extrapolated so.
TRUTH = np.array([7.2, 4.0 + 3.2 * 2.0 / 3.0, 4.0, 0.8, -0.5, -0.3, 0.2])


def energy(theta_c: Array, basis: PairBasis = SPLINES) -> MolecularPotential:
    return MolecularPotential(
        (Interaction((LinearPair(theta_c, basis),), "pair", "A_A"),), CLASSES, BOX
    )


@cache
def frames() -> np.ndarray:
    """``(frame, site, axis)`` by HMC, the frames of one chain after each other."""
    sampler = particle_sampler(
        SITES, BOX, Dynamics("hmc", first=0.05, longest=0.05, precision="double")
    )

    @jax.jit
    def run(key: Array) -> Array:
        first, key = jax.random.split(key)
        ready = sampler.prepare(energy(jnp.asarray(TRUTH)), jnp.asarray(BETA))

        def move(state, key):  # type: ignore[no-untyped-def]
            return sampler.step(key, state, *ready)[0], None

        def sample(state, key):  # type: ignore[no-untyped-def]
            state, _ = jax.lax.scan(move, state, jax.random.split(key, 5))
            return state, state.x

        warm, key = jax.random.split(key)
        state, _ = jax.lax.scan(move, sampler.init(first, CHAINS), jax.random.split(warm, 100))
        return jax.lax.scan(sample, state, jax.random.split(key, PER_CHAIN))[1]

    x = np.asarray(run(jax.random.key(0)))  # (sample, axis, site, chain)
    return np.ascontiguousarray(x.transpose(3, 0, 2, 1)).reshape(-1, SITES, 3)


def program(
    x: Array | None = None, *, frames: int = 1, basis: PairBasis = SPLINES, prior: str = "ard"
) -> None:
    theta_c = coefficients("theta_c", len(basis.names), prior)
    sigma2 = flat_positive("sigma2")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            energy(theta_c, basis),
            BETA,
            log_partition=None,
            event_shape=(SITES, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=BOX), obs=x)


def system(basis: PairBasis = SPLINES, prior: str = "ard") -> System:
    return System(
        name="toy",
        program=partial(program, basis=basis, prior=prior),
        sampler=particle_sampler(SITES, BOX),
        features=basis.names,
        restriction=lambda x, key: x,
        dirac={"sigma2": 1e-6},
        box=BOX,
    )


def dataset(forces: bool = False) -> xr.Dataset:
    dims = ("frame", "site", "axis")
    given = {"x": (dims, frames()), "box": (("axis",), np.array(BOX))}
    if forces:
        exact = jax.jit(jax.vmap(lambda x: -jax.grad(energy(jnp.asarray(TRUTH)))(x)))
        given["forces"] = (dims, np.asarray(exact(jnp.asarray(frames()))))
    return xr.Dataset(given, attrs={"temperature": 300.0})


@cache
def fitted() -> Fit:
    """Blocks are chains, which are independent."""
    return ybg(system(), dataset(), block=PER_CHAIN).run(jax.random.key(1))


@pytest.mark.slow
def test_a_liquids_coefficients_come_back() -> None:
    """Within their sandwich errors over 48 independent chains (1e-5: a false failure), which say enough: the well
    of 0.5 kcal/mol is found to a fifth."""
    fit = fitted()
    assert fit.mode is not None and fit.attrs["blocks"] == CHAINS
    error = fit.groups["ybg"]["standard_error_sandwich"].values[0]
    assert fit.groups["ybg"]["seldom"].values[0].sum() <= 2
    check_z(fit.mode[0], TRUTH, error, dof=CHAINS - 1)
    assert error[3:].max() < 0.1
    assert np.abs(fit.mode[0][3:] - TRUTH[3:]).max() < 0.25


@pytest.mark.by_hand
def test_the_prior_is_flat_whatever_the_programs() -> None:
    fit = fitted()
    assert fit.attrs["prior_used"] == "flat" and fit.program.improper == ("theta_c",)
    assert "independent" not in str(fit.attrs)
    assert any(m.startswith("held-out coverage") for m in fit.messages)


@pytest.mark.by_hand
def test_bagged_draws_spread_as_the_sandwich() -> None:
    """Where blocks are many: standard deviations within a third."""
    fit = ybg(system(), dataset(), block=PER_CHAIN, errors="bagged").run(jax.random.key(2))
    sandwich = fit.groups["ybg"]["standard_error_sandwich"].values[0]
    np.testing.assert_allclose(fit.draws[0, :, 0].std(0), sandwich, rtol=0.34)
    assert "bagged" in fit.approximation


@pytest.mark.slow
def test_force_matching_on_the_same_frames_agrees() -> None:
    """Exact forces give the coefficients to round-off, YBG within its errors; both have the same matrix."""
    matched = force_matching(system(prior="flat"), dataset(True)).run(jax.random.key(0))
    assert matched.mode is not None and fitted().mode is not None
    np.testing.assert_allclose(matched.mode[0], TRUTH, atol=1e-9)
    one = energy(jnp.zeros(len(TRUTH)))
    x = dataset(True)
    both = normal_equations(one, x["x"].values, x["forces"].values, curved=True)
    # The two right-hand sides have one expectation; chains tell the error of their difference.
    gap = (both.force - KT * both.laplacian).sum(0)
    at = np.append(np.arange(0, len(both.frames), 2), len(both.frames))
    assert len(both.frames) == 96 and np.all(both.frames == 5)
    by_chain = np.add.reduceat(both.force - KT * both.laplacian, at[:-1], axis=0)
    check_z(gap, 0.0, by_chain.std(0, ddof=1) * np.sqrt(CHAINS), dof=CHAINS - 1)


def test_the_equations_are_those_of_score_matching() -> None:
    """Without a prior, on the same frames, to round-off."""
    x = frames()[:40]
    size = len(TRUTH)
    like = ParticlePotential((LinearPair(jnp.zeros(size), SPLINES),), BOX)
    expected = score_matching(like, BETA, x, np.full(size, 1e-9))
    sums = normal_equations(energy(jnp.zeros(size)), x, curved=True)
    none = np.zeros(len(sums.frames))
    equations = Equations(sums.square, KT * sums.laplacian, none, none + 1.0, sums.frames)
    found = solve(equations, Flat(np.eye(size)))
    np.testing.assert_allclose(found.mean, expected, rtol=1e-5, atol=1e-6)


def test_functions_with_a_kink_are_refused() -> None:
    """A linear table has no second derivative; beyond the data a kink does no harm."""
    with pytest.raises(
        ValueError, match=r"jumps where data are \(pair A_A at .*allowed are splines"
    ):
        ybg(system(Table(np.arange(2.0, 4.6, 0.25), "linear")), dataset()).run(jax.random.key(0))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="sandwich, bagged"):
        ybg(system(), dataset(), errors="independent")


# Bonds that are drawn exactly


BOND = BSplines(np.linspace(1.0, 2.2, 6), ends="free")
WELL = np.array([6.0, 3.5, 1.0, -0.5, 0.3, 1.5, 4.0, 7.0])
COUNT = 40  # dimers in a frame


def bonds() -> MolecularPotential:
    sites = 2 * COUNT
    pairs = np.arange(sites).reshape(-1, 2)
    topology = Topology(
        ("A",) * sites,
        np.ones(sites),
        np.repeat(np.arange(COUNT), 2),
        Bonded(pairs, ("AA",) * COUNT),
        exclusion=pairs,
    )
    bond = Interaction((LinearPair(jnp.asarray(WELL), BOND),), "bond", "AA")
    return MolecularPotential((bond,), classes_of(topology, []), (20.0,) * 3)


def drawn(rng: np.random.Generator, count: int, potential: MolecularPotential) -> np.ndarray:
    """Independent dimers, their lengths from the density r^2 exp(-beta u), ``(frame, site, axis)``."""
    r = np.linspace(0.9, 2.3, 20_001)
    u = np.asarray(potential.bonded[0].energy(jnp.asarray(r)))
    inside = (r >= 1.0) & (r <= 2.2)
    density = np.where(inside, r**2 * np.exp(-BETA * (u - u.min())), 0.0)
    total = np.cumsum(density) - 0.5 * density
    length = np.interp(rng.uniform(size=(count, COUNT, 1, 1)) * total[-1], total, r)
    along = rng.normal(size=(count, COUNT, 1, 3))
    along *= 0.5 * length / np.linalg.norm(along, axis=-1, keepdims=True)
    centre = 20.0 * rng.uniform(size=(count, COUNT, 1, 3))
    return np.asarray(centre + along * np.array([[-1.0], [1.0]])).reshape(count, 2 * COUNT, 3)


@pytest.mark.slow
def test_independent_bonds_come_back() -> None:
    """From 16000 exact bonds: differences of neighbouring coefficients within their errors (1e-5), and the force
    of the potential to 2 kcal/mol/angstrom where bonds are."""
    one = bonds()
    x = drawn(np.random.default_rng(2), 400, one)
    sums = normal_equations(one, x, curved=True)
    none = np.full(len(sums.frames), np.nan)
    found: Solution = solve(
        Equations(sums.square, KT * sums.laplacian, none, none, sums.frames), Flat(np.eye(8))
    )
    assert found.lost == 1  # the constant
    contrast = np.diff(np.eye(8), axis=0)
    moved, _ = found.sandwich()
    error = np.sqrt(np.sum((contrast @ moved) ** 2, 1))
    check_z(contrast @ found.mean, contrast @ WELL, error, dof=len(sums.frames) - 1)
    assert error[2:5].max() < 0.1
    r = jnp.linspace(1.3, 1.9, 50)
    there = Interaction((LinearPair(jnp.asarray(found.mean), BOND),), "bond", "AA")
    gap = np.diff(np.asarray(there.energy(r) - one.bonded[0].energy(r))) / float(r[1] - r[0])
    assert np.abs(gap).max() < 2.0
