"""log Z where the posterior is: simulations at parameters that its own draws ask for."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.distributions.log_partition.multistate import Multistate
from bayescg.infer.alternating import FIRST_STEP, Alternating, Latents, State
from bayescg.infer.precision import Precision, precision_of
from bayescg.infer.simulations import ADAPTING, Simulation, Tell, groups
from bayescg.infer.surroundings import STRIDE, approached, cold

__all__ = ["Learned", "judged", "learned", "outside_of"]


REACHED = 30.0  # effective samples that a new reference has from the others
STEPS = 24  # lengths of the way to a new reference that are tried, each 0.8 of the one before
FILLING = 24  # references for draws that are all too far from those that there are
JUDGED = 400  # draws at which log Z is judged


#: From a key and draws ``(draw, u)``: the fraction of them where log Z is not known, and what its error does.
Judge = Callable[[Array | None, np.ndarray], tuple[float, Precision]]


class Learned(NamedTuple):
    """log Z and what was done for it."""

    alternating: Alternating  # that moves the chains
    partition: Any  # a log-partition strategy
    state: State  # chains where the last round left them
    inverse_mass: Array  # of NUTS
    references: int  # simulated
    judge: Judge


def learned(
    alternating: Alternating,
    simulation: Simulation,
    key: Array,
    u: np.ndarray,
    *,
    tell: Tell = None,
) -> Learned:
    """Add references where chains of the posterior go, until nothing is left outside.

    :param u: where chains start, ``(chain, u)``; their mean is the first reference. Of sites in space it is where the
        search for the posterior's mode starts, about which chains start then.
    """
    rules = simulation.rules
    frames = len(alternating.x)
    enough = rules.enough(frames)
    natural = jax.jit(jax.vmap(alternating.natural))
    latent_key, key = jax.random.split(key)
    if simulation.sampler.at is None:
        begun = cold(simulation, latent_key, u)
    else:
        begun = approached(alternating, simulation, latent_key, u, tell)
    at, heat, phi, chains, u, mass = begun
    latent: Latents | None = None
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    values: np.ndarray | None = None
    step = FIRST_STEP
    for turn in range(rules.rounds):
        k_start, k_run, k_more = jax.random.split(jax.random.fold_in(key, turn), 3)
        e = heat[:, None] * np.asarray(natural(jnp.asarray(at)))
        partition = rules.pooled(e, phi, values)
        values = np.asarray(partition.values)[: len(at)]
        state = alternating.start(k_start, jnp.asarray(u), partition, latent, mass, step)
        state, found = alternating.run(k_run, state, partition, rules.turns, gain=ADAPTING)
        u, latent = np.asarray(state.u), state.latent
        step = float(np.exp(np.mean(np.log(found.step_size[:, rules.turns // 2 :]))))
        late = found.u[:, rules.turns // 2 :].reshape(-1, found.u.shape[-1])
        mass = alternating.inverse_mass(late)
        places = natural(jnp.asarray(late))
        sizes = np.asarray(_sizes(partition, places))
        few = outside_of(partition, places, enough)
        outside = float(np.mean(few))
        numbers = {"references": float(len(at)), "outside": outside}
        judge = partial(judged, simulation, natural, partition, e, phi)
        result = Learned(alternating, partition, state, mass, len(at), judge)
        wanted = 0.0
        if rules.measured and outside <= rules.outside:
            numbers["shift"] = judge(None, late)[1].shift
            wanted = len(at) * max(0.0, (numbers["shift"] / rules.precision) ** 2 - 1.0)
        if tell is not None:
            tell((turn + 1) / rules.rounds, numbers)
        settled = outside <= rules.outside and turn > 0 and wanted == 0.0
        if settled or turn == rules.rounds - 1:  # no references that are in no partition
            break
        there = late if wanted else late[few]
        if len(there):
            if rules.measured and not wanted:  # all samples are near all draws
                wanted = len(at) * max(0.0, enough / np.median(sizes) - 1.0) + 1.0
                if partition.reach is not None:  # and where draws are too far from all of them
                    wanted = max(wanted, FILLING * float(np.mean(few)))
            count = min(rules.each, int(np.ceil(wanted))) if rules.measured else rules.each
            asked = there[_spread(rng, there, late, count)]
            more = _within(alternating, partition, at, asked)
            chains, new = simulation.run(k_more, more, chains)
            at, phi = np.concatenate([at, more]), np.concatenate([phi, new])
            heat = np.concatenate([heat, np.ones(len(more))])
    return result


def judged(
    simulation: Simulation,
    natural: Callable[[Array], Array],
    partition: Multistate,
    references: np.ndarray,
    statistics: np.ndarray,
    key: Array | None,
    draws: np.ndarray,
) -> tuple[float, Precision]:
    """Fraction of draws ``(draw, u)`` with too few samples behind them, and what log Z's error does to them.

    Chains that begin in one frame of the data are in one group.

    :param references: natural parameters times beta, ``(reference, term)``; ``natural`` gives those of draws.
    :param statistics: ``(reference, sample, term)``.
    :param key: not needed.
    """
    rules, frames = simulation.rules, len(simulation.x)
    some = draws[:: max(1, len(draws) // JUDGED)]
    at = natural(jnp.asarray(some))
    group = groups(simulation, statistics.shape[1])
    values = np.asarray(partition.values)[: len(references)]

    def left(g: int) -> Multistate:
        return rules.pooled(references, statistics[:, group != g], values)

    outside = np.mean(outside_of(partition, at, rules.enough(frames)))
    return float(outside), precision_of(left, some, np.asarray(at), frames)


def outside_of(partition: Multistate, e: Array, enough: float) -> np.ndarray:
    """Whether fewer than enough samples stand behind log Z at ``e (draw, term)``, or none near by, ``(draw,)``."""
    few = np.asarray(_sizes(partition, e)) < enough
    if partition.reach is None:
        return few
    return few | (np.asarray(jax.vmap(partition.distance)(e)) > partition.reach[0])


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
