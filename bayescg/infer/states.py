r"""Hidden states of a posterior: their labels made one, and what each frame's state is.

A mixture's likelihood does not change when states change places, so draws of NUTS may call the same state
by different numbers, chain by chain. Here each draw's states are put in the order in which what they say of
the frames, :math:`p(S_i \mid x, \theta)`, agrees best with all other draws: M. Stephens, J. R. Stat. Soc. B
62, 795 (2000), Algorithm 2. No quantity has to be named by which states are told apart.
"""

from functools import partial
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from bayescg.distributions.hidden import StickBreaking, draw_states
from bayescg.infer.fit import Table
from bayescg.infer.handlers import unwrapped
from bayescg.infer.marginal import log_marginal, over_states
from bayescg.infer.program import Program

__all__ = ["Labelled", "exchangeable", "labelled", "permuted", "relabelling", "state_tables"]

ROUNDS = 50  # of relabelling; it ends when nothing changes, usually after three
LEAST = 1e-12  # probability below which a state counts as ruled out alike
CUT = 0.05  # probability that all sticks are in use, from which more are asked for
EMPTY = 0.5  # probability that a state is empty, from which it is said


class Labelled(NamedTuple):
    """Draws of one member with one meaning of each label, most frequent state first."""

    u: np.ndarray  # (chain, draw, u)
    S: np.ndarray  # (chain, draw, frame), a draw of the states
    probability: np.ndarray  # (frame, state), p(S_i | x)
    probability_sd: np.ndarray  # (frame, state), over draws of theta
    occupied: np.ndarray  # (chain, draw), states that have a frame
    notes: tuple[str, ...]


def permuted(program: Program, u: Array, order: Array) -> Array:
    """The same parameters with states in another order: the new state k is the old ``order[k]``."""
    values = program.constrain(u)
    for name, axes in program.state_axes.items():
        if name in values:
            for axis in axes:
                values[name] = jnp.take(values[name], order, axis)
    return program.unconstrain(values)


def exchangeable(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> bool:
    """Whether the likelihood stays the same when states change places: then labels have no meaning of their own."""
    order = jnp.roll(jnp.arange(program.states), 1)

    @jax.jit
    def likelihood(u: Array) -> Array:
        return log_marginal(program, u, x, conditions).sum()

    here, there = (float(likelihood(v)) for v in (u, permuted(program, u, order)))
    return bool(np.isclose(here, there, rtol=1e-6, atol=1e-6))


def relabelling(probability: np.ndarray, first: int = 0) -> np.ndarray:
    """The order of each draw's states, ``(draw, state)``: the new state k is the old ``order[k]``.

    :param probability: ``p(S_i | x, theta)``, ``(draw, frame, state)``.
    :param first: the draw whose labels the others begin to be compared with.
    """
    mean = probability[first]
    order = np.zeros((len(probability), probability.shape[2]), int)
    for _ in range(ROUNDS):
        # Kullback-Leibler from each draw to the mean; the entropy of the draw is the same in any order.
        cost = -np.einsum("fk,dfs->dks", np.log(mean + LEAST), probability)
        new = np.stack([linear_sum_assignment(c)[1] for c in cost])
        mean = np.take_along_axis(probability, new[:, None], 2).mean(0)
        if np.array_equal(new, order):
            break
        order = new
    return order[:, np.argsort(-mean.sum(0), kind="stable")]


def labelled(
    program: Program,
    u: np.ndarray,
    log_posterior: np.ndarray,
    x: Array,
    conditions: dict[str, Array],
    key: Array,
) -> Labelled:
    """Draws of one member, labels made one, and the states of its frames.

    :param u: ``(chain, draw, u)``.
    :param log_posterior: ``(chain, draw)``, to begin with the best.
    """
    flat = jnp.asarray(u.reshape(-1, u.shape[-1]))

    def of(inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        v, k = inputs
        found = over_states(program, v, x, conditions)
        prior = program.state_prior(v, x, conditions)
        return jnp.exp(found.posterior), draw_states(k, prior, found.emission)

    run = jax.jit(partial(jax.lax.map, of, batch_size=8))
    probability, S = map(np.array, run((flat, jax.random.split(key, len(flat)))))
    if exchangeable(program, flat[0], x, conditions):
        order = relabelling(probability, int(np.argmax(log_posterior)))
        moved = jax.jit(jax.vmap(partial(permuted, program)))(flat, jnp.asarray(order))
        flat = moved
        probability = np.take_along_axis(probability, order[:, None], 2)
        S = np.take_along_axis(np.argsort(order, 1), S, 1)
    occupied = np.array([np.unique(row).size for row in S])
    shape = u.shape[:2]
    return Labelled(
        np.asarray(flat).reshape(u.shape),
        S.reshape(*shape, -1).astype(np.int16),
        probability.mean(0),
        probability.std(0),
        occupied.reshape(shape).astype(np.int16),
        _notes(program, occupied, flat[0], x, conditions),
    )


def _notes(
    program: Program, occupied: np.ndarray, u: Array, x: Array, conditions: dict[str, Array]
) -> tuple[str, ...]:
    """What the number of occupied states says of the number that was asked for."""
    full = float(np.mean(occupied == program.states))
    sites = program.distributions(u, x, conditions)
    if any(isinstance(unwrapped(fn), StickBreaking) for fn in sites.values()):
        if full > CUT:
            return (
                f"the Dirichlet process is cut off too early: all {program.states} states are occupied with "
                f"probability {full:.0%}; raise -s states.",
            )
    elif full < 1.0 - EMPTY:
        return (
            f"of {program.states} states {program.states - occupied.mean():.1f} are empty on average, and tell "
            "of the prior alone; lower -s states.",
        )
    return ()


def state_tables(members: list[Labelled], states: int) -> dict[str, Table]:
    """What a result holds of the states."""
    chances = [[np.mean(m.occupied == k) for k in range(1, states + 1)] for m in members]
    return {
        "S": Table(
            ("chain", "draw", "member", "frame"),
            np.stack([m.S for m in members], 2),
            "draws of each frame's state",
        ),
        "occupied": Table(
            ("chain", "draw", "member"),
            np.stack([m.occupied for m in members], 2),
            "number of states that have a frame",
        ),
        "occupied_probability": Table(
            ("member", "count"),
            np.array(chances),
            "posterior of the number of states that have a frame",
        ),
        "probability": Table(
            ("member", "frame", "state"),
            np.stack([m.probability for m in members]),
            "p(S_i | x), all frames seen",
        ),
        "probability_sd": Table(
            ("member", "frame", "state"),
            np.stack([m.probability_sd for m in members]),
            "standard deviation of p(S_i | x, theta) over draws",
        ),
    }
