"""log Z where the posterior is: simulations at parameters that its own draws ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.distributions.log_partition.multistate import Multistate, multistate
from bayescg.infer.alternating import Alternating, State
from bayescg.infer.program import Program
from bayescg.samplers.base import Sampler, cooled

__all__ = ["Learned", "Rules", "Simulation", "learned", "outside_of"]


TEMPERED = (0.0, 0.25, 0.5, 0.7, 0.85)  # of the first reference's coupling: copies of it
REACHED = 30.0  # effective samples that a new reference has from the others
STRIDE = 1.5  # and standard deviations that it is from the nearest, at most
STEPS = 24  # lengths of the way to a new reference that are tried, each 0.8 of the one before


@dataclass(frozen=True)
class Rules:
    """How references are simulated and chosen.

    :param chains: of each reference, ``samples`` of each chain, ``thin`` moves apart and ``lead`` before them.
    :param precision: bias of a parameter's posterior mean that the error of log Z may cause, in posterior
        standard deviations.
    :param each: references that a round adds at most.
    :param turns: of the chains in a round.
    :param room: samples that what is compiled first has room for.
    :param outside: fraction of draws that may have too few samples behind them.
    """

    chains: int = 128
    samples: int = 64
    thin: int = 3
    lead: int = 200
    precision: float = 0.05
    each: int = 8
    turns: int = 200
    rounds: int = 30
    room: int = 4096
    outside: float = 0.002

    def enough(self, frames: int) -> float:
        r"""Effective samples behind log Z that are enough.

        The mean of a statistic has an error of its standard deviation over :math:`\sqrt n`; the posterior of N frames
        is as wide as if that mean were known to its standard deviation over :math:`\sqrt N`. So the error moves
        the posterior by :math:`\sqrt{N/n}` of its width.
        """
        return frames / self.precision**2


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulates p_c at any parameters; compiled once."""

    program: Program
    sampler: Sampler
    x: Array
    conditions: dict[str, Array]
    rules: Rules

    @cached_property
    def _sampled(self) -> Callable[..., Any]:
        r = self.rules

        def one(key: Array, u: Array, heat: Array, state: Any) -> Any:
            boltzmann = self.program.boltzmann(u, self.x, self.conditions)
            potential, beta = boltzmann.potential, heat * jnp.asarray(boltzmann.beta)
            ready = self.sampler.prepare(potential, beta)
            k_cool, key = jax.random.split(key)

            def move(state: Any, k: Array) -> tuple[Any, None]:
                return self.sampler.step(k, state, *ready)[0], None

            def take(state: Any, k: Array) -> tuple[Any, Array]:
                state, _ = jax.lax.scan(move, state, jax.random.split(k, r.thin))
                return state, potential.statistics(state.x.astype(jnp.result_type(float)))

            if self.sampler.at is None:
                state = cooled(self.sampler, k_cool, r.chains, potential, beta, r.lead)
            else:
                state, _ = jax.lax.scan(move, state, jax.random.split(k_cool, r.lead))
            state, phi = jax.lax.scan(take, state, jax.random.split(key, r.samples))
            return state, jnp.moveaxis(phi, 1, 2).reshape(-1, phi.shape[1])  # (sample, term)

        return jax.jit(one)

    def start(self, key: Array, latents: Any) -> Any:
        """Chains of sites in space, where latents ``(axis, site, chain)`` are; None of spins, which are cooled."""
        if self.sampler.at is None:
            return None
        at = jnp.arange(self.rules.chains) % latents.shape[-1]
        return self.sampler.at(key, latents[..., at])

    def run(
        self, key: Array, u: np.ndarray, state: Any, heat: np.ndarray | None = None
    ) -> tuple[Any, np.ndarray]:
        """Statistics ``(reference, sample, term)`` at ``u (reference, u)``; chains go from one to the next.

        :param heat: what beta is multiplied by, ``(reference,)``; None: nothing.
        """
        out = []
        heat = np.ones(len(u)) if heat is None else heat
        for k, v, h in zip(jax.random.split(key, len(u)), u, heat, strict=True):
            state, phi = self._sampled(k, jnp.asarray(v), jnp.asarray(h), state)
            out.append(np.asarray(phi))
        return state, np.stack(out)


class Learned(NamedTuple):
    """log Z and what was done for it."""

    partition: Multistate
    halves: tuple[Multistate, Multistate]  # the same from either half of the chains
    state: State  # chains where the last round left them
    references: np.ndarray  # (reference, u)
    outside: np.ndarray  # (round,), fraction of draws without enough samples behind them
    inverse_mass: Array  # of the last round's draws


def learned(
    alternating: Alternating,
    simulation: Simulation,
    key: Array,
    u: np.ndarray,
    *,
    tell: Callable[[float, dict[str, float]], None] | None = None,
) -> Learned:
    """Add references where chains of the posterior go, until nothing is left outside.

    :param u: where chains start, ``(chain, u)``; their mean is the first reference.
    """
    rules = simulation.rules
    frames = len(alternating.x)
    enough = rules.enough(frames)
    natural = jax.jit(jax.vmap(alternating.natural))
    latent_key, key = jax.random.split(key)
    chains: Any = None
    if simulation.sampler.at is not None:
        x = alternating.x
        if alternating.complete is not None:
            x = alternating.complete(latent_key, x)
        chains = simulation.start(latent_key, x.T)
    # Where spins are ordered no sample knows of the states that other couplings would bring.
    heat = np.array(TEMPERED if simulation.sampler.at is None else ())
    middle = u.mean(0)[None]
    at = np.concatenate([np.repeat(middle, len(heat), 0), middle, u])
    heat = np.concatenate([heat, np.ones(len(at) - len(heat))])
    room = (rules.room, 64)
    chains, phi = simulation.run(latent_key, at, chains, heat)
    latent: Any = None
    mass: Array | None = None
    outside: list[float] = []
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    values: np.ndarray | None = None
    for turn in range(rules.rounds):
        k_start, k_run, k_more = jax.random.split(jax.random.fold_in(key, turn), 3)
        e = heat[:, None] * np.asarray(natural(jnp.asarray(at)))
        partition = multistate(e, phi, values=values, room=room)
        values = np.asarray(partition.values)[: len(at)]
        state = alternating.start(k_start, jnp.asarray(u), partition, latent, mass)
        state, draws = alternating.run(k_run, state, partition, rules.turns)
        u, latent = np.asarray(state.hmc.z), state.latent
        late = draws.u[:, rules.turns // 2 :].reshape(-1, draws.u.shape[-1])
        mass = alternating.inverse_mass(late)
        few = outside_of(partition, natural(jnp.asarray(late)), enough)
        outside.append(float(np.mean(few)))
        if tell is not None:
            tell((turn + 1) / rules.rounds, {"references": len(at), "outside": outside[-1]})
        settled = outside[-1] <= rules.outside and turn > 0
        if settled or turn == rules.rounds - 1:  # no references that are in no partition
            break
        there = late[few]
        if len(there):
            asked = there[_spread(rng, there, late, rules.each)]
            more = _within(alternating, partition, at, asked)
            chains, new = simulation.run(k_more, more, chains)
            at, phi = np.concatenate([at, more]), np.concatenate([phi, new])
            heat = np.concatenate([heat, np.ones(len(more))])
    first = np.arange(phi.shape[1]) % rules.chains < rules.chains // 2
    halves = [multistate(e, phi[:, h], values=values, room=room) for h in (first, ~first)]
    assert mass is not None
    return Learned(partition, (halves[0], halves[1]), state, at, np.array(outside), mass)


def outside_of(partition: Multistate, e: Array, enough: float) -> np.ndarray:
    """Whether fewer than enough samples stand behind log Z at ``e (draw, term)``, ``(draw,)``."""
    return np.asarray(_sizes(partition, e)) < enough


@jax.jit
def _sizes(partition: Multistate, e: Array) -> Array:
    return jax.lax.map(partition.effective, e)


def _within(
    alternating: Alternating, partition: Multistate, at: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """New references on the way from the nearest ones to where they are asked for, no farther than samples reach.

    A reference that shares no samples with the others has a log Z of its own, relative to which theirs is unknown.
    """
    e = jax.vmap(alternating.natural)(jnp.asarray(asked))
    near = at[np.asarray(jax.vmap(partition.nearest)(e))]
    parts = 0.8 ** np.arange(STEPS)
    tried = near[:, None] + parts[:, None] * (asked - near)[:, None]  # (asked, part, u)
    flat = jax.vmap(alternating.natural)(jnp.asarray(tried.reshape(-1, asked.shape[1])))
    few = outside_of(partition, flat, REACHED) | (
        np.asarray(jax.vmap(partition.distance)(flat)) > STRIDE
    )
    reached = ~few.reshape(len(asked), -1)
    # Where not even the shortest way does, it is that one.
    part = np.where(reached.any(1), reached.argmax(1), STEPS - 1)
    return tried[np.arange(len(asked)), part]


def _spread(
    rng: np.random.Generator, points: np.ndarray, all_points: np.ndarray, most: int
) -> np.ndarray:
    """Some points that are far from each other, indices: the first by chance, then always the farthest."""
    scaled = points / np.maximum(all_points.std(0), 1e-12)
    chosen = [int(rng.integers(len(points)))]
    gap = np.sum((scaled - scaled[chosen[0]]) ** 2, 1)
    while len(chosen) < min(most, len(points)):
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.sum((scaled - scaled[chosen[-1]]) ** 2, 1))
    return np.array(chosen)
