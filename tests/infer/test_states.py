"""Programs with hidden states and levels: read, summed out, and their labels made one."""

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer.util import log_density
import pytest
from scipy.special import logsumexp

from bayescg import results
from bayescg.distributions import Boltzmann, Enumeration, SpinFlip
from bayescg.infer.begin import program_of
from bayescg.infer.handlers import collapse_levels
from bayescg.infer.marginal import collapsed_program, log_marginal, over_states
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.infer.states import exchangeable, labelled, permuted, relabelling, state_tables
from bayescg.potentials import SpinBasis, SpinPotential, polynomial_features
from bayescg.system import Batch
from bayescg.workflow import to_inference_data
from models import ising_levels, ising_mixture
from tests import brute_force
from tests.systems import stand_in

FRAMES = np.array([[1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])


@cache
def mixture(**options: Any) -> tuple[Any, Program, jax.Array]:
    """Two coarse spins of two fine ones each, two states: few enough for every S and X to be listed."""
    base = {"n_f": 4, "ratio": 2, "L2": 1, "L3": 0, "prior_scale": 1.0}
    system = ising_mixture.system(ising_mixture.Options(**base | options))
    program = read_program(system.program, jnp.asarray(FRAMES), {})
    u = jnp.asarray(np.random.default_rng(3).normal(size=program.size))
    return system.program, program, u


MARKOV = {"order": "markov", "flips": "own"}
STICKS = {"weights": "stick", "states": 3}


@pytest.mark.slow
@pytest.mark.parametrize("options", [MARKOV, STICKS], ids=["markov", "sticks"])
def test_states_and_latents_are_summed_out(options: dict) -> None:
    """NumPyro's own density of the program as it is written, summed over every S and X of three frames."""
    function, program, u = mixture(**options)
    x, values = jnp.asarray(FRAMES), program.constrain(u)
    states = np.array(list(product(range(program.states), repeat=3)))
    spins = np.array(list(product(brute_force.spins(2), repeat=3)))

    @jax.jit
    def written(S: jax.Array) -> jax.Array:
        def one(X: jax.Array) -> jax.Array:
            return log_density(function, (x,), {}, {**values, "S": S, "X": X})[0]

        return jax.vmap(one)(jnp.asarray(spins))

    @jax.jit
    def ours() -> tuple[jax.Array, jax.Array, jax.Array]:
        found = over_states(program, u, x, {})
        collapsed = log_density(collapsed_program(program), (x,), {}, values)[0]
        terms = log_marginal(program, u, x, {}).sum() + program.log_prior(u, x, {})
        return terms, collapsed, jnp.exp(found.posterior)

    joint = logsumexp([np.asarray(written(jnp.asarray(S))) for S in states], axis=1)
    marginal, collapsed, posterior = ours()
    assert float(marginal) == pytest.approx(logsumexp(joint), abs=1e-9)
    assert float(collapsed) == pytest.approx(logsumexp(joint), abs=1e-9)
    w = np.exp(joint - logsumexp(joint))
    exact = [[w[states[:, i] == s].sum() for s in range(program.states)] for i in range(3)]
    np.testing.assert_allclose(posterior, exact, atol=1e-10)


def test_a_level_is_summed_out() -> None:
    """Two top spins, four in the middle... of a ring of 8: NumPyro's density over every X and X1 of a frame."""
    options = ising_levels.Options(n_f=8, ratios="2,2", L2=1, L3=0, prior="normal")
    system = ising_levels.system(options)
    x = jnp.asarray([[1.0, 1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0]])
    given = {"mu": jnp.asarray(0.3)}
    program = read_program(system.program, x, given)
    assert program.sites.parameters == ("theta_c", "p0", "p1") and program.latent_shape == (2,)
    u = jnp.asarray(np.random.default_rng(4).normal(size=program.size))
    values = program.constrain(u)

    def one(X: jax.Array, X1: jax.Array) -> jax.Array:
        sites = {**values, "X": X[None], "X1": X1[None]}
        return log_density(system.program, (x,), given, sites)[0]

    top, middle = (jnp.asarray(brute_force.spins(n)) for n in (2, 4))
    every = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(top, middle)

    @jax.jit
    def ours() -> jax.Array:
        return log_marginal(program, u, x, given).sum() + program.log_prior(u, x, given)

    assert float(ours()) == pytest.approx(float(logsumexp(every)), abs=1e-9)


def test_a_level_without_children_is_refused() -> None:
    def program() -> None:
        X = numpyro.sample("X", dist.Normal(jnp.zeros(2)))
        numpyro.sample("X1", SpinFlip(X, 0.8, ratio=2), infer={"enumerate": "parallel"})

    with pytest.raises(ValueError, match="no SpinFlip of it follows"):
        numpyro.handlers.seed(collapse_levels(program), 0)()


def test_what_is_no_level_cannot_be_summed_out() -> None:
    def program() -> None:
        numpyro.sample("k", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})

    with pytest.raises(ValueError, match="'k' is to be summed out, which only levels of spins"):
        numpyro.handlers.seed(collapse_levels(program), 0)()


# --- reading ---------------------------------------------------------------------------------


def test_axes_of_states_are_found() -> None:
    found = mixture(**MARKOV)[1]
    assert found.states == 2 and found.sites.state == "S"
    assert found.state_axes == {"theta_c": (0,), "p0": (0,), "transition": (0, 1), "weights": (0,)}
    found = mixture(**STICKS)[1]
    assert found.states == 3
    assert found.state_axes == {"theta_c": (0,), "weights": (0,)}


def test_a_program_in_one_state_is_an_ordinary_one() -> None:
    _, program, u = mixture(**MARKOV)
    theta = program.constrain(u)["theta_c"]
    x = jnp.asarray(FRAMES)
    for s in range(2):
        there = program.in_state(s).boltzmann(u, x, {})
        np.testing.assert_array_equal(there.potential.theta, theta[s])


def test_one_hidden_state_a_frame() -> None:
    basis = SpinBasis(2, tuple(polynomial_features(1, 0)[:2]))

    def program(x: jax.Array) -> None:
        p = numpyro.sample("p", dist.Beta(1.0, 1.0))
        with numpyro.plate("frame", len(x)):
            numpyro.sample("S", dist.Categorical(jnp.ones(2) / 2))
            numpyro.sample("T", dist.Categorical(jnp.ones(2) / 2))
            potential = SpinPotential(jnp.zeros(2), jnp.zeros(()), basis)
            p_c = Boltzmann(potential, 1.0, log_partition=Enumeration(), event_shape=(2,))
            numpyro.sample("x", SpinFlip(numpyro.sample("X", p_c), p, ratio=2), obs=x)

    with pytest.raises(ProgramError, match=r"one hidden state a frame, this one has 2 \(S, T\)"):
        read_program(program, jnp.asarray(FRAMES), {})


@pytest.mark.slow
def test_each_configuration_of_a_batch_has_its_own_potential() -> None:
    basis = SpinBasis(3, tuple(polynomial_features(1, 0)))
    theta = jnp.asarray(np.random.default_rng(5).normal(size=(4, 2)))

    def of(theta: jax.Array, batch: tuple[int, ...]) -> Boltzmann:
        potential = SpinPotential(theta, jnp.full(batch, 0.2), basis)
        return Boltzmann(
            potential, 0.7, log_partition=Enumeration(), event_shape=(3,), batch_shape=batch
        )

    batch = of(theta, (4,))
    drawn = batch.sample(jax.random.key(0), (5,))
    assert drawn.shape == (5, 4, 3)
    found = batch.log_prob(drawn)
    for i in range(4):
        np.testing.assert_allclose(found[:, i], of(theta[i], ()).log_prob(drawn[:, i]), atol=1e-12)
    with pytest.raises(ValueError, match="must begin with the batch's axes"):
        Boltzmann(
            of(theta[0], ()).potential,
            0.7,
            log_partition=None,
            event_shape=(3,),
            batch_shape=(4,),
        )


# --- labels ----------------------------------------------------------------------------------


def test_labels_are_found_again() -> None:
    """Draws whose states were shuffled one by one: all are put in one order, the most frequent state first."""
    rng = np.random.default_rng(6)
    truth = rng.choice(3, size=40, p=[0.2, 0.5, 0.3])
    clear = 0.9 * np.eye(3)[truth] + 0.1 * rng.dirichlet(np.ones(3), size=(50, 40))
    shuffle = np.stack([rng.permutation(3) for _ in range(50)])
    order = relabelling(np.take_along_axis(clear, shuffle[:, None], 2))
    found = np.take_along_axis(shuffle, order, 1)
    expected = np.argsort(-np.bincount(truth))
    np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


@pytest.mark.slow
@pytest.mark.parametrize("options", [MARKOV, STICKS], ids=["markov", "sticks"])
def test_states_change_places(options: dict) -> None:
    _, program, u = mixture(**options)
    x = jnp.asarray(FRAMES)
    order = np.roll(np.arange(program.states), 1)
    moved = permuted(program, u, jnp.asarray(order))
    posterior = jax.jit(lambda v: over_states(program, v, x, {}).posterior)
    np.testing.assert_allclose(posterior(moved), posterior(u)[:, order], atol=1e-9)
    assert exchangeable(program, u, x, {})


def test_states_that_the_program_tells_apart_are_left_alone() -> None:
    function = mixture(**STICKS | {"states": 2})[0]

    def lopsided(x: jax.Array) -> None:
        numpyro.handlers.substitute(function, data={"weights": jnp.array([0.9, 0.1])})(x)

    fixed: Program = read_program(
        lopsided, jnp.asarray(FRAMES), {}, {"weights": jnp.array([0.9, 0.1])}
    )
    v = jnp.asarray(np.random.default_rng(7).normal(size=fixed.size))
    assert not exchangeable(fixed, v, jnp.asarray(FRAMES), {})


# --- results ---------------------------------------------------------------------------------


@pytest.mark.by_hand
def test_a_result_names_the_axes_of_states() -> None:
    """Draws that no method made, labels shuffled: what is stored does not depend on how they were called."""
    options = {"n_f": 4, "ratio": 2, "L2": 1, "L3": 0, "order": "markov", "prior_scale": 1.0}
    system = ising_mixture.system(ising_mixture.Options(**options))
    batch = Batch(FRAMES[None], {}, None, None)
    program, x = program_of(system, batch, states=True), jnp.asarray(FRAMES)
    rng = np.random.default_rng(8)
    u = 2.0 * rng.normal(size=program.size) + 0.1 * rng.normal(size=(2, 6, program.size))
    swapped = u.copy()
    for c, d in ((0, 1), (1, 2), (1, 5)):
        swapped[c, d] = permuted(program, jnp.asarray(u[c, d]), jnp.array([1, 0]))
    one, other = (
        labelled(program, v, np.zeros((2, 6)), x, {}, jax.random.key(0)) for v in (u, swapped)
    )
    np.testing.assert_allclose(one.u, other.u, atol=1e-8)
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-8)
    assert one.probability.sum(0)[0] >= one.probability.sum(0)[1]
    groups = {"states": state_tables([one], 2)}
    fit = replace(stand_in(system, batch, program, one.u[:, :, None]), groups=groups)
    idata = to_inference_data(fit, prior_draws=5)
    posterior, states, prior = (results.group(idata, g) for g in ("posterior", "states", "prior"))
    for group in (posterior, prior):
        assert group["theta_c"].dims == ("chain", "draw", "state", "feature")
        assert group["transition"].dims == ("chain", "draw", "state", "next_state")
    assert posterior["weights"].dims == ("chain", "draw", "state")
    assert states["probability"].dims == states["probability_sd"].dims == ("frame", "state")
    assert states["S"].dims == ("chain", "draw", "frame")
    assert states["occupied_probability"].dims == ("count",)
    found = results.group(idata, "log_likelihood")["x"]
    exact = over_states(program, jnp.asarray(one.u[1, 3]), x, {}).left_out
    np.testing.assert_allclose(found.values[1, 3], exact, atol=1e-9)
