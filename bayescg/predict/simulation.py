r"""Posterior predictive of observables (PCG paper, Eqs. 17-22).

For each posterior draw, :math:`\hat a(\theta) = E[a(x)]` under the model at that draw is estimated
from samples :math:`X \sim p_c`, :math:`x \sim p_{cf}(x \mid X)`; its spread over draws is the
epistemic uncertainty of the observable.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.devices import count, fetched, laid_out, over_devices
from bayescg.distributions.hidden import frequencies
from bayescg.distributions.log_partition import ExactLogPartition
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress, Silent
from bayescg.observables.base import Observable
from bayescg.samplers.base import ChainState, Sampler, cooled

__all__ = ["Prediction", "Simulation", "posterior_predictive"]


class Simulation(NamedTuple):
    """How the model is simulated at each draw."""

    chains: int = 32  # chains of p_c at each draw
    warmup: int = 80  # sweeps before the first measurement, cooled from infinite temperature
    measurements: int = 16  # measurements of each chain
    thin: int = 4  # sweeps from one to the next


class Prediction(NamedTuple):
    """Observables at every draw, by name."""

    values: dict[str, np.ndarray]  # (member, draw, *dims)
    errors: dict[str, np.ndarray]  # Monte Carlo standard error of each value, same shape
    of_states: dict[str, np.ndarray] = {}  # (member, draw, state, *dims), of each hidden state


@laid_out
def posterior_predictive(
    program: Program,
    sampler: Sampler,
    observables: Sequence[Observable],
    key: Array,
    u: np.ndarray,
    conditions: dict[str, np.ndarray],
    *,
    example: np.ndarray,
    simulation: Simulation = Simulation(),  # noqa: B008 - a tuple
    block: int = 64,
    progress: Progress | None = None,
) -> Prediction:
    """Simulate the model at every draw and measure.

    Where the normaliser is exact the samples are independent; else they come from fresh chains. A program
    with hidden states is simulated in each, and they are averaged by how often each is in the long run.

    :param program: that was fitted.
    :param sampler: of p_c.
    :param observables: what is measured.
    :param key: random key.
    :param u: unconstrained parameters, ``(member, draw, u)``.
    :param conditions: program arguments of each member, ``(member,)``.
    :param example: one data set ``(frame, ...)``, for the program's shapes.
    :param simulation: numbers of chains and sweeps.
    :param block: draws simulated at once.
    :param progress: is told how far it is.
    """
    progress = progress or Silent()
    members, draws, _ = u.shape
    measure = _measure if program.sites.state is None else _measure_states
    one = partial(measure, program, sampler, tuple(observables), simulation)
    over_draws = jax.vmap(one, (0, 0, None, None))
    run = jax.jit(jax.vmap(over_draws, (0, 0, 0, None)))
    given = {k: jnp.asarray(v, float) for k, v in conditions.items()}
    x = jnp.asarray(example, float)
    keys = jax.random.split(key, (members, draws))
    # A few members at a time keeps the working set in cache and shows progress.
    block = max(1, min(block, draws))
    if block > count():
        block -= block % count()  # so that it divides; fewer draws than devices are not cut
    rows = []
    for start in range(0, draws, block):
        stop = min(start + block, draws)
        part = slice(stop - block, stop)  # the last block overlaps, so that one shape is compiled
        these = over_devices((keys[:, part], jnp.asarray(u[:, part])), axis=1)
        values = fetched(run(*these, given, x))
        rows.append(jax.tree.map(lambda a, n=stop - start: a[:, -n:], values))
        progress.update("predict", stop / draws, {"draws": stop})
    joined = jax.tree.map(lambda *parts: np.concatenate(parts, 1), *rows)
    return Prediction(*joined)


def _measure_states(
    program: Program,
    sampler: Sampler,
    observables: tuple[Observable, ...],
    simulation: Simulation,
    key: Array,
    u: Array,
    conditions: dict[str, Array],
    x: Array,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Mean and standard error of each observable at one draw, and the mean in each hidden state."""

    def of(state: Array, key: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        there = program.in_state(state)
        return _measure(there, sampler, observables, simulation, key, u, conditions, x)

    means, errors = jax.vmap(of)(jnp.arange(program.states), jax.random.split(key, program.states))
    weights = frequencies(program.state_prior(u, x, conditions))
    return (
        {k: jnp.tensordot(weights, v, 1) for k, v in means.items()},
        {k: jnp.sqrt(jnp.tensordot(weights**2, v**2, 1)) for k, v in errors.items()},
        means,
    )


def _measure(
    program: Program,
    sampler: Sampler,
    observables: tuple[Observable, ...],
    simulation: Simulation,
    key: Array,
    u: Array,
    conditions: dict[str, Array],
    x: Array,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Mean and standard error of each observable at one draw."""
    boltzmann = program.boltzmann(u, x, conditions)
    potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)
    chains = simulation.chains

    def measure(key: Array, latent: Array) -> dict[str, Array]:
        fine = program.sample_fine(key, u, latent.T.astype(u.dtype), conditions).T
        return {o.name: o(fine) for o in observables}  # (*dims, chain)

    warm_key, key = jax.random.split(key)
    strategy = boltzmann.log_partition

    def sweep(state: ChainState, key: Array) -> tuple[ChainState, None]:
        return sampler.step(key, state, potential, beta)[0], None

    def move(state: ChainState, key: Array) -> tuple[ChainState, dict[str, Array]]:
        move_key, fine_key = jax.random.split(key)
        if isinstance(strategy, ExactLogPartition):
            drawn = strategy.sample(move_key, potential, beta, chains)
            state = ChainState(drawn.T.astype(state.x.dtype))
        else:
            state, _ = jax.lax.scan(sweep, state, jax.random.split(move_key, simulation.thin))
        return state, measure(fine_key, state.x)

    if isinstance(strategy, ExactLogPartition):
        state = sampler.init(warm_key, chains)
    else:
        state = cooled(sampler, warm_key, chains, potential, beta, simulation.warmup)
    _, values = jax.lax.scan(move, state, jax.random.split(key, simulation.measurements))
    # Chains are independent, so the spread of their means gives the error whatever their memory.
    means = {k: jnp.mean(v, 0) for k, v in values.items()}  # (*dims, chain)
    return (
        {k: jnp.mean(v, -1) for k, v in means.items()},
        {k: jnp.std(v, -1, ddof=1) / jnp.sqrt(chains) for k, v in means.items()},
    )
