"""Persistent chains of p_c, which a search of its parameters takes along."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.program import Program
from bayescg.infer.progress import Progress
from bayescg.samplers.base import Sampler

__all__ = ["LEAST_CHAINS", "Simulator", "told", "usual_chains"]

LEAST_CHAINS = 8  # fewer tell no error of a mean
MOST_CHAINS = 32
WORK = 4000  # sites in all chains together, unless told otherwise


def usual_chains(sites: int) -> int:
    """How many chains, unless told otherwise: fewer of many sites."""
    return int(np.clip(WORK / sites, LEAST_CHAINS, MOST_CHAINS))


def told(progress: Progress, iteration: int, stage: str, done: float) -> None:
    """Tell how much of a stage of one iteration is done."""
    progress.update(stage, done, {"iteration": iteration + 1.0})


def _untold(stage: str, done: float) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Simulator:
    """What moves chains of a program's p_c, and measures them; compiled once.

    :param measure: ``(term, chain)`` of configurations in the sampler's layout.
    :param example: a data set ``(frame, ...)`` for the program's shapes, and its conditions.
    """

    program: Program
    sampler: Sampler
    measure: Callable[[Array], Array]
    example: Array
    conditions: dict[str, Array]

    @cached_property
    def _prepare(self) -> Callable[[Array], Any]:
        def prepare(u: Array) -> Any:
            boltzmann = self.program.boltzmann(u, self.example, self.conditions)
            return self.sampler.prepare(boltzmann.potential, jnp.asarray(boltzmann.beta))

        return jax.jit(prepare)

    @cached_property
    def _move(self) -> Callable[..., tuple[Any, Array]]:
        @partial(jax.jit, static_argnames="count")
        def move(key: Array, state: Any, ready: Any, count: int) -> tuple[Any, Array]:
            def one(state: Any, k: Array) -> tuple[Any, Array]:
                state, info = self.sampler.step(k, state, *ready)
                return state, jnp.asarray(info.failed)

            state, failed = jax.lax.scan(one, state, jax.random.split(key, count))
            return state, jnp.sum(failed)

        return move

    @cached_property
    def _look(self) -> Callable[[Array], Array]:
        return jax.jit(lambda x: self.measure(x.astype(jnp.result_type(float))))

    def sampled(
        self,
        key: Array,
        state: Any,
        u: np.ndarray,
        *,
        lead: int,
        samples: int,
        thin: int,
        tell: Callable[[str, float], None] = _untold,
    ) -> tuple[Any, np.ndarray, float]:
        """Move chains at u and measure them on the way.

        :param lead: steps before the first sample, taken in blocks of ``thin``, for which all is compiled.
        :param thin: steps from one sample to the next.
        :param tell: called with the stage and how much of it is done.
        :return: the chains, samples ``(sample, term, chain)``, and moves that blew up and were taken back.
        """
        ready = self._prepare(jnp.asarray(u))
        failed = jnp.zeros(())
        blocks = -(-lead // thin)
        taken = []
        for k in range(blocks + samples):
            state, more = self._move(jax.random.fold_in(key, k), state, ready, thin)
            failed = failed + more
            s = k - blocks
            if s >= 0:
                taken.append(np.asarray(self._look(state.x)))
            if (s if s >= 0 else k) % 10 == 9:
                tell(*(("simulate", (s + 1) / samples) if s >= 0 else ("equilibrate", k / blocks)))
        return state, np.stack(taken), float(failed) * state.x.shape[-1]
