"""Simulations of a given length by chains that start where they are told to."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.samplers.base import Sampler
from bayescg.samplers.particles import Dynamics, ParticleState, particle_sampler

__all__ = ["simulate"]

BLOCK = 10  # moves of one compiled call before chains are measured


def simulate(
    box: tuple[float, float, float],
    dynamics: Dynamics,
    key: Array,
    x: np.ndarray,
    potential: Any,
    beta: float,
    *,
    equilibration: float,
    length: float,
    interval: float,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[np.ndarray]:
    """Configurations of every chain, ``(chain, site, axis)``, angstrom, one after each ``interval``.

    Lengths of a run are angstrom too, what a particle of thermal speed would go in it: divided by
    :func:`bayescg.units.thermal_speed`, a time. Chains find their time steps in the equilibration, and an interval is
    the whole number of moves that is nearest to it by their mean.

    :param box: edges, angstrom.
    :param dynamics: how a trajectory is made.
    :param key: random key.
    :param x: where chains start, ``(chain, site, axis)``.
    :param potential: a pytree of its parameters, kcal/mol.
    :param beta: mol/kcal.
    :param equilibration: before the first configuration.
    :param length: after the equilibration.
    :param progress: is told what is done, and the part of it.
    :raises FloatingPointError: if a chain blew up after its equilibration.
    """
    tell = progress or (lambda stage, done: None)
    sampler = particle_sampler(x.shape[1], box, dynamics)
    ready = sampler.prepare(potential, jnp.asarray(beta))
    move = jax.jit(partial(_moves, sampler), static_argnames="count")
    assert sampler.at is not None
    start_key, key = jax.random.split(key)
    state: ParticleState = sampler.at(start_key, jnp.asarray(x).T)
    gone, turn = 0.0, 0
    while gone < equilibration:
        state = move(jax.random.fold_in(key, turn), state, ready, count=BLOCK)
        gone, turn = gone + BLOCK * _length(state, dynamics), turn + 1
        tell("equilibration", min(1.0, gone / equilibration))
    moves = max(1, round(interval / _length(state, dynamics)))
    total = max(1, round(length / interval))
    failed = np.asarray(state.failures)
    for k in range(total):
        state = move(jax.random.fold_in(key, turn + k), state, ready, count=moves)
        if np.any(np.asarray(state.failures) > failed):
            raise FloatingPointError(
                "a chain of the simulation blew up; allowed is a better start."
            )
        yield np.asarray(state.x).T
        tell("production", (k + 1) / total)


def _moves(sampler: Sampler, key: Array, state: Any, ready: Any, count: int) -> Any:
    def one(state: Any, key: Array) -> tuple[Any, None]:
        return sampler.step(key, state, *ready)[0], None

    return jax.lax.scan(one, state, jax.random.split(key, count))[0]


def _length(state: ParticleState, dynamics: Dynamics) -> float:
    return dynamics.steps * float(np.mean(np.exp(np.asarray(state.log_step))))
