"""Langevin dynamics and HMC of particles: their form, exact cases, failures and step sizes."""

import inspect
from itertools import pairwise

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from bayescg.potentials import InversePowers, LennardJones, ParticlePotential
from bayescg.samplers import (
    ChainInfo,
    Dynamics,
    ParticleState,
    Sampler,
    Tether,
    particle_sampler,
    trajectories,
)
from bayescg.samplers.forces import Tables, closest_distance, tabulate
from tests.liquids import liquid, water
from tests.samplers.fluids import FLUID, FLUID_BOX, FLUID_SITES, at, prepare, run
from tests.statistical import check_frequencies, check_mean, check_variance

PAIR_BOX = (8.0,) * 3
PAIR = ParticlePotential((LennardJones(1.0, 3.0, InversePowers(cutoff=4.0)),), PAIR_BOX)
NOTHING = ParticlePotential((LennardJones(0.0, 3.0),), PAIR_BOX)

HMC = particle_sampler(FLUID_SITES, FLUID_BOX, Dynamics("hmc", first=0.03))
LANGEVIN = particle_sampler(FLUID_SITES, FLUID_BOX, Dynamics("langevin", first=0.03))
#: Newton's equations.
FREE = particle_sampler(
    FLUID_SITES, FLUID_BOX, Dynamics("langevin", friction=0.0, first=0.02, precision="double")
)
CHAINS = 5
every_kind = pytest.mark.parametrize("sampler", [HMC, LANGEVIN], ids=["hmc", "langevin"])


# The form of a sampler


@every_kind
@pytest.mark.slow
def test_protocol(sampler: Sampler) -> None:
    """Form and type stay, the key decides all, and the chain axis is the last."""
    assert list(inspect.signature(sampler.init).parameters) == ["key", "chains"]
    parameters = inspect.signature(sampler.step).parameters
    assert list(parameters) == ["key", "state", "tables", "beta", "field"]
    assert parameters["field"].default is None
    state = sampler.init(jax.random.key(0), CHAINS)
    assert isinstance(state, ParticleState)
    assert state.x.shape == state.v.shape == (3, FLUID_SITES, CHAINS)
    assert {a.shape for a in state[2:]} == {(CHAINS,)}
    assert {a.dtype for a in state} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(state.x, sampler.init(jax.random.key(0), CHAINS).x)
    assert np.all(np.any(state.x[..., 1:] != state.x[..., :1], (0, 1)))  # chains start apart
    prepared = prepare(sampler, FLUID)
    new, info = run(sampler, state, prepared, 1, jax.random.key(1))
    assert isinstance(new, ParticleState) and isinstance(info, ChainInfo)
    assert [(a.shape, a.dtype) for a in new] == [(a.shape, a.dtype) for a in state]
    assert np.any(new.x != state.x) and np.all(np.isfinite(new.x))
    assert 0.0 < info.changed[0] <= 1.0 and info.failed[0] == 0.0
    np.testing.assert_array_equal(new.age, 1.0)
    np.testing.assert_array_equal(new.failures, 0.0)
    again, _ = run(sampler, state, prepared, 1, jax.random.key(1))
    np.testing.assert_array_equal(again.x, new.x)
    other, _ = run(sampler, state, prepared, 1, jax.random.key(2))
    assert np.all(np.any(other.x != new.x, (0, 1)))


@pytest.mark.parametrize("sites", [27, 28])
def test_start_on_a_lattice(sites: int) -> None:
    """Inside the box, no two sites together, and places left empty at random."""
    box = np.array([9.0, 10.0, 11.0])
    state = particle_sampler(sites, tuple(box)).init(jax.random.key(0), 30)
    x = np.asarray(state.x)
    assert np.all((x >= 0.0) & (x < box[:, None, None]))
    assert np.all(closest_distance(x, box) > 0.999 * 9.0 / np.ceil(sites ** (1 / 3) - 1e-9))
    check_variance(np.asarray(state.v).ravel(), 1.0)


def test_restart() -> None:
    """``at`` starts where it is told, with velocities of its key and the first step size."""
    x = jnp.asarray(liquid(6, 5, box=FLUID_BOX))
    for precision, dtype in (("single", jnp.float32), ("double", jnp.float64)):
        sampler = particle_sampler(6, FLUID_BOX, Dynamics(first=0.02, precision=precision))
        state = at(sampler, x)
        np.testing.assert_array_equal(state.x, x.astype(dtype))
        assert {a.dtype for a in state} == {jnp.dtype(dtype)}
        np.testing.assert_allclose(np.exp(state.log_step), 0.02, rtol=1e-5)
        np.testing.assert_array_equal(np.stack([state.age, state.failures]), 0.0)
        assert np.all(state.v != sampler.at(jax.random.key(1), x).v)


def tables_of(scales: list[float]) -> tuple[Tables, Array]:
    """Of chains that each have the fluid's potential in another strength."""

    def one(scale: Array) -> Tables:
        return tabulate(FLUID, scale, jnp.float64)

    axes = Tables(-1, -1, None, None, None, None, None)
    return jax.vmap(one, out_axes=axes)(jnp.asarray(scales)), jnp.ones(())


@pytest.mark.slow
def test_trajectories_can_be_gone_back() -> None:
    """Without a thermostat, in double precision: velocities turned round lead to where they came from."""
    state = FREE.init(jax.random.key(0), 3)
    tables = tables_of([0.5, 1.0, 1.2])
    there, info = run(FREE, state, tables, 1, jax.random.key(1))
    assert there.x.dtype == float and info.changed[0] > 0.9  # of the energy, little was lost
    assert np.sqrt(np.mean((there.x - state.x) ** 2)) > 0.2
    turned = there._replace(v=-there.v, log_step=state.log_step)
    back, _ = run(FREE, turned, tables, 1, jax.random.key(2))
    np.testing.assert_allclose(back.x, state.x, atol=1e-9)
    np.testing.assert_allclose(back.v, -state.v, atol=1e-8)
    # Nothing pulls at the whole.
    np.testing.assert_allclose(there.v.sum(1), state.v.sum(1), atol=1e-9)


def test_chains_of_a_sweep_each_have_their_potential() -> None:
    """A trailing chain axis on the tables: a chain goes as it would if all had its own."""
    state = FREE.init(jax.random.key(0), 3)
    scales = [0.5, 1.0, 1.2]
    new, _ = run(FREE, state, tables_of(scales), 1, jax.random.key(1))
    for k in range(3):
        same, _ = run(FREE, state, tables_of([scales[k]] * 3), 1, jax.random.key(1))
        np.testing.assert_array_equal(new.x[..., k], same.x[..., k])
        assert np.all(np.any(np.delete(new.x != same.x, k, 2), (0, 1)))


# Exactly solvable cases


@pytest.mark.parametrize(
    "dynamics",
    [
        pytest.param(
            Dynamics("hmc", first=0.05, target=0.7, keep=0.7, steps=7),
            id="hmc, velocities kept and long steps",
        ),
        pytest.param(Dynamics("langevin", friction=1.0, first=0.02, target=0.99), id="langevin"),
    ],
)
@pytest.mark.slow
def test_distance_of_two_sites(dynamics: Dynamics) -> None:
    """Against quadrature of 4 pi r^2 exp(-u); all that is beyond the cut-off is one outcome.

    A friction that the forces of the moment choose would fail here, and below.
    """
    sampler = particle_sampler(2, PAIR_BOX, dynamics)
    x = np.random.default_rng(0).uniform(0.0, 8.0, (3, 2, 15_000))
    x[:, 1] = x[:, 0] + np.array([3.2, 0.5, 0.0])[:, None]  # where all chains feel a force
    state, _ = run(sampler, at(sampler, x), prepare(sampler, PAIR), 70, jax.random.key(1))
    assert np.mean(state.failures) < 0.1  # of 70 trajectories
    d = np.asarray(state.x[:, 0] - state.x[:, 1], float)
    r = np.linalg.norm(d - 8.0 * np.round(d / 8.0), axis=0)
    edges = np.r_[0.0, np.arange(2.7, 4.01, 0.1)]

    def weight(r: float) -> float:
        return 4 * np.pi * r**2 * np.exp(-float(lennard_jones(r)))

    inside = [integrate.quad(weight, a, b)[0] for a, b in pairwise(edges)]
    probability = np.append(inside, 8.0**3 - 4 / 3 * np.pi * 4.0**3)
    counts = np.append(np.histogram(r, edges)[0], np.sum(r >= edges[-1]))
    check_frequencies(counts, probability / probability.sum())


def lennard_jones(r: float) -> float:
    """``PAIR`` in plain numbers: quadrature calls it often, and it must not come from the package."""
    if r < 0.5 or r >= 4.0:
        return 1e9 if r < 0.5 else 0.0
    t = max(r - 3.0, 0.0)
    return 4.0 * ((3.0 / r) ** 12 - (3.0 / r) ** 6) * (1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2))


@pytest.mark.parametrize("kind", ["hmc", "langevin"])
@pytest.mark.slow
def test_tethered_sites_are_normal(kind: str) -> None:
    """Free but for harmonic tethers of stiffness k: variance 1/k, and velocities of variance 1.

    Started from exact draws. For harmonic forces BAOAB has the right positions at any step size, and
    velocities whose variance is lower by (omega h)^2 / 4 (Leimkuhler and Matthews, 2013).
    """
    sites, chains = 2, 10_000
    rng = np.random.default_rng(0)
    k = rng.uniform(1.0, 20.0, chains)
    centre = rng.normal(scale=5.0, size=(3, sites, chains))
    x = centre + rng.normal(size=centre.shape) / np.sqrt(k)
    sampler = particle_sampler(sites, PAIR_BOX, Dynamics(kind, first=0.05))
    state = at(sampler, x)
    tether = Tether(jnp.asarray(centre), jnp.asarray(k))
    state, _ = run(sampler, state, prepare(sampler, NOTHING), 40, jax.random.key(1), tether)
    z = np.asarray((state.x - centre) * np.sqrt(k))
    assert abs(np.corrcoef(z.ravel(), ((x - centre) * np.sqrt(k)).ravel())[0, 1]) < 0.3  # moved
    check_mean(z.ravel(), 0.0)
    check_variance(z.ravel(), 1.0)
    if kind == "hmc":
        check_variance(np.asarray(state.v).ravel(), 1.0)
    else:
        assert 0.95 < np.var(state.v) < 1.0 + 4.0 * np.sqrt(2.0 / z.size)


def test_a_rejected_trajectory_turns_round() -> None:
    """Velocities that are kept, and steps so long that many trajectories are rejected: the joint distribution stays.

    Chains that went on as they were after a rejection would lean against what they could not climb.
    """
    sites, chains = 2, 20_000
    rng = np.random.default_rng(0)
    centre = rng.normal(scale=5.0, size=(3, sites, chains))
    x = centre + rng.normal(size=centre.shape) / np.sqrt(20.0)
    dynamics = Dynamics("hmc", first=0.42, longest=0.42, target=0.01, keep=0.95, steps=3)
    sampler = particle_sampler(sites, PAIR_BOX, dynamics)
    tether = Tether(jnp.asarray(centre), jnp.full(chains, 20.0))
    state, info = run(
        sampler, at(sampler, x), prepare(sampler, NOTHING), 12, jax.random.key(1), tether
    )
    assert 0.2 < float(np.mean(info.changed)) < 0.8  # accepted
    z, v = np.asarray((state.x - centre) * np.sqrt(20.0)), np.asarray(state.v)
    check_variance(z.ravel(), 1.0)
    check_variance(v.ravel(), 1.0)
    check_mean((z * v).ravel(), 0.0)
    # Energies that climb and those that fall are as frequent: z^2 and v^2 are independent.
    check_mean(((z**2 - 1.0) * (v**2 - 1.0)).ravel(), 0.0)


# Failure


@every_kind
def test_a_chain_that_blows_up_is_put_back(sampler: Sampler) -> None:
    """An overlap, and positions that are no numbers: counted, and nothing to the other chains."""
    good = np.array(sampler.init(jax.random.key(5), CHAINS).x)
    bad = good.copy()
    bad[:, 1, 1] = bad[:, 0, 1] + np.array([0.3, 0.0, 0.0])
    bad[0, 3, 3] = np.nan
    states = [at(sampler, x) for x in (good, bad)]
    reports = []
    for n in range(3):
        both = [run(sampler, s, prepare(sampler, FLUID), 1, jax.random.key(n)) for s in states]
        states = [s for s, _ in both]
        reports.append([float(info.failed[0]) for _, info in both])
    np.testing.assert_allclose(reports, [[0.0, 0.4]] * 3, rtol=1e-6)
    well, ill = states
    np.testing.assert_array_equal(well.failures, 0.0)
    np.testing.assert_array_equal(ill.failures, [0.0, 3.0, 0.0, 3.0, 0.0])
    failed, others = np.array([1, 3]), np.array([0, 2, 4])
    np.testing.assert_array_equal(ill.x[..., failed], bad[..., failed])
    np.testing.assert_allclose(np.exp(ill.log_step[failed]), 0.03 / 8, rtol=1e-5)
    assert np.all(np.any(ill.x[..., others] != bad[..., others], (0, 1)))
    if sampler is HMC:  # in Langevin dynamics all chains have one friction, from all their forces
        np.testing.assert_array_equal(ill.x[..., others], well.x[..., others])
    assert np.all(np.isfinite(ill.v))


@pytest.mark.slow
def test_a_list_that_runs_over_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """More neighbours than it holds, though nothing is infinite; lists are made for all together.

    Compiled lists grow.
    """
    monkeypatch.setattr(trajectories, "available", lambda: False)
    p = water(20)
    dynamics = Dynamics("hmc", steps=2, first=1e-5)
    sampler = particle_sampler(100, p.box, dynamics)
    x = np.stack([liquid(100)] * 3, -1)
    corner = np.stack(np.meshgrid(*[np.arange(5)] * 3), 0).reshape(3, -1)[:, :100] * 1.8
    x[..., 1] = corner
    x[0, 3, 2] = np.nan
    state, _ = run(sampler, at(sampler, x), prepare(sampler, p, 1e-3), 1, jax.random.key(1))
    np.testing.assert_array_equal(state.failures, [0.0, 1.0, 1.0])
    assert np.all(np.isfinite(state.x[..., 0])) and np.any(state.x[..., 0] != x[..., 0])
    np.testing.assert_array_equal(state.x[..., 1], corner.astype(np.float32))


# Step sizes


def test_no_step_is_above_the_longest() -> None:
    """In free flight, where nothing goes wrong."""
    state = HMC.init(jax.random.key(0), CHAINS)
    state = state._replace(log_step=jnp.full(CHAINS, np.log(0.09), jnp.float32))
    for n in range(10):
        state, info = run(HMC, state, prepare(HMC, NOTHING), 1, jax.random.key(n))
        np.testing.assert_allclose(info.changed, 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.exp(state.log_step), 0.1, rtol=1e-5)


def test_adaptation_fades() -> None:
    """Late in a run, 0.5/sqrt(1 + n) of what is missing at the acceptance is added."""
    state = HMC.init(jax.random.key(0), CHAINS)
    prepared = prepare(HMC, FLUID)
    young, _ = run(HMC, state, prepared, 1, jax.random.key(1))
    ages = (state._replace(age=jnp.full(CHAINS, a, jnp.float32)) for a in (99.0, 9999.0))
    late, latest = (run(HMC, s, prepared, 1, jax.random.key(1))[0] for s in ages)
    np.testing.assert_array_equal(young.x, late.x)
    first, last = (np.asarray(s.log_step - state.log_step) for s in (late, latest))
    np.testing.assert_allclose(last, first / 10.0, atol=1e-6)
    assert np.all(np.abs(first) > 1e-4)


def test_a_first_step_that_is_far_too_short_soon_is_not() -> None:
    """A fifth of the step of a long run: half of that after 15 trajectories, where 0.5/sqrt(1 + n) would need 200."""
    prepared, key = prepare(LANGEVIN, FLUID), jax.random.key(0)
    long, _ = run(LANGEVIN, LANGEVIN.init(key, CHAINS), prepared, 400, key)
    right = float(np.median(long.log_step))
    short = long._replace(
        log_step=jnp.full(CHAINS, right - np.log(5.0), jnp.float32),
        age=jnp.zeros(CHAINS, jnp.float32),
    )
    soon, _ = run(LANGEVIN, short, prepared, 15, key)
    assert np.median(soon.log_step) > right - np.log(2.0)
