"""The form of a sampler: a pair of pure functions over a batch of chains."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp

__all__ = ["ChainInfo", "ChainState", "Sampler", "cooled", "long_run"]


class ChainState(NamedTuple):
    """Everything the next step needs; the chain axis of every array is the last one."""

    x: Array  # configurations, (site, chain): the chain axis is last, so vector units run over it


class ChainInfo(NamedTuple):
    """What one step reports."""

    changed: Array  # fraction of coordinates (of proposals, for HMC) that moved, scalar
    failed: Array | float = 0.0  # fraction of chains that blew up and were put back, scalar


def _as_it_is(potential: Any, beta: Array) -> tuple[Any, Array]:
    return potential, beta


class Sampler(NamedTuple):
    """A Markov kernel that leaves ``exp{-beta U(x) + pull(x)}`` invariant, for a batch of chains.

    ``init(key, chains)`` starts the chains; ``step(key, state, potential, beta, field)`` moves
    each once, under what ``prepare(potential, beta)`` made of the potential. ``field`` is the pull
    of data on their latent configurations, with which the same kernel samples q_i(X) of Eq. 24: for
    spins ``h`` of ``h.x``, ``(site, chain)``; for sites in space a :class:`~bayescg.samplers.tethers.Tether`, a
    :class:`~bayescg.samplers.tethers.TetherMixture`, or :class:`~bayescg.samplers.tethers.Held`; or None.

    :param init: ``(key, chains)``: the first state.
    :param step: ``(key, state, potential, beta, field)``: the next state, and what happened.
    :param prepare: ``(potential, beta)``: what ``step`` is given in their place.
    :param energy: ``(x, potential)``: energies in kT, ``(chain,)``, without a tether; None where
        there is none.
    """

    init: Callable[..., Any]
    step: Callable[..., tuple[Any, ChainInfo]]
    prepare: Callable[[Any, Array], tuple[Any, Array]] = _as_it_is
    at: Callable[[Array, Array], Any] | None = None  # (key, x): chains that start at ``x``
    force: Callable[..., Array] | None = None  # (x, potential): forces in kT, without a tether
    energy: Callable[..., Array] | None = (
        None  # (x, potential): energies in kT, (chain,), without a tether
    )


def cooled(
    sampler: Sampler,
    key: Array,
    chains: int,
    potential: Any,
    beta: Array,
    sweeps: int,
    field: Array | None = None,
) -> ChainState:
    """Chains brought from infinite temperature to ``beta`` in three quarters of ``sweeps``.

    Cooled, not quenched: strong couplings would freeze in whatever the chains started from.
    """
    init_key, key = jax.random.split(key)
    assert sampler.prepare is _as_it_is  # a prepared potential has its temperature in it

    def cool(state: ChainState, inputs: tuple[Array, Array]) -> tuple[ChainState, None]:
        key, heat = inputs
        return sampler.step(key, state, potential, heat * beta, field)[0], None

    heat = jnp.minimum(1.0, jnp.arange(1, sweeps + 1) / max(1, (3 * sweeps) // 4))
    keys = jax.random.split(key, sweeps)
    return jax.lax.scan(cool, sampler.init(init_key, chains), (keys, heat))[0]


@lru_cache(maxsize=32)
def long_run(sampler: Sampler, sweeps: int = 200) -> Callable[[Array, Any, Array, int], Array]:
    """Draws by running fresh chains for ``sweeps`` steps: approximate where mixing is slow.

    :param sampler: a kernel that leaves p_c invariant.
    :return: ``draw(key, potential, beta, samples)``, shape ``(sample, site)``.
    """

    def draw(key: Array, potential: Any, beta: Array, samples: int) -> Array:
        init_key, key = jax.random.split(key)
        ready = sampler.prepare(potential, beta)

        def move(state: ChainState, key: Array) -> tuple[ChainState, None]:
            return sampler.step(key, state, *ready)[0], None

        state, _ = jax.lax.scan(
            move, sampler.init(init_key, samples), jax.random.split(key, sweeps)
        )
        return state.x.T

    return draw
