"""One iteration of MC-EM: an E-step and an M-step of every member of a sweep (PCG paper, Algorithm 1)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp

from bayescg.infer.estimates import Chains, Estimates, Reader, estimate
from bayescg.infer.moves import followed, straight
from bayescg.infer.schedules import Memory, Schedule, Step
from bayescg.infer.shared import exponents_of_all, summed

__all__ = ["EMState", "estimates_of", "iterate", "over_members"]

BENT = 0.1  # of a step in natural parameters, that shared ones may stay away from where it leads


class EMState(NamedTuple):
    """Everything the next iteration needs, for every member of a sweep."""

    u: Array  # (member, u)
    chains: Chains
    memory: Memory  # of the schedule
    last_chains: Chains  # before the last step, in case it is taken back
    iteration: Array  # scalar
    streak: Array  # (member,), iterations in a row that have met the stopping rule
    done: Array  # (member,), members that have met the stopping rule and stay where they are


def over_members(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` over a leading axis of members; a single one is spared the batching.

    Look-ups with a batch axis in front are many times slower on a CPU.
    """

    def mapped(*args: Any) -> Any:
        if jax.tree.leaves(args)[0].shape[0] > 1:
            return jax.vmap(f)(*args)
        return jax.tree.map(lambda a: a[None], f(*jax.tree.map(lambda a: a[0], args)))

    return mapped


def estimates_of(
    reader: Reader,
    key: Array,
    u: Array,
    chains: Chains,
    x: Array,
    conditions: dict[str, Array],
    fixed: dict[str, Array],
    sweeps: int,
) -> tuple[Estimates, Chains]:
    """Estimates of every member where it is, and its chains; of members that share parameters, of all together."""

    shared = bool(reader.program.shared)

    def one(
        member_key: Array, u: Array, chains: Chains, x: Array, conditions: Any, fixed: Any
    ) -> Any:
        member = reader._replace(program=reader.program.given(fixed))
        # Errors that are added up must not come from the same numbers.
        k = member_key if shared else key
        return estimate(member, k, u, chains, x, conditions, jnp.asarray(sweeps))

    keys = jax.random.split(key, len(u))
    found, moved = over_members(one)(keys, u, chains, x, conditions, fixed)
    return (summed(found) if shared else found), moved


def iterate(
    reader: Reader,
    schedule: Schedule,
    curved: bool,
    key: Array,
    state: EMState,
    x: Array,
    conditions: dict[str, Array],
    fixed: dict[str, Array],
    sweeps: Array,
    fresh: tuple[Array, Array],
    rule: tuple[Array, Array],
) -> tuple[EMState, Step]:
    """One E-step and M-step of every member.

    Members that share their parameters have chains of their own, and one step: each takes the one that the sums of
    their scores and of their informations give.

    :param curved: whether steps are to be straight in natural parameters that are not linear in ``u``.
    """
    shared = bool(reader.program.shared)
    begin = state.iteration * (reader.block or 0)

    def e_step(
        key: Array,
        u: Array,
        chains: Chains,
        x: Array,
        conditions: dict[str, Array],
        fixed: dict[str, Array],
    ) -> tuple[Estimates, Chains]:
        member = reader._replace(program=reader.program.given(fixed))
        return estimate(member, key, u, chains, x, conditions, sweeps, begin, fresh)

    def m_step(
        u: Array,
        memory: Memory,
        estimates: Estimates,
        x: Array,
        conditions: dict[str, Array],
        fixed: dict[str, Array],
    ) -> Step:
        program = reader.program.given(fixed)
        frames = every_frame if shared else x
        new = schedule.update(
            program, u, memory, state.iteration, estimates, sweeps, frames, conditions
        )
        if not curved:
            return new

        def natural(v: Array) -> Array:
            if shared:
                return exponents_of_all(program, v, every_x, every_condition)
            return program.natural(v, x, conditions)

        memory, bent = new.memory, BENT if shared else 0.0
        goes_to, part = straight(natural, memory.u, memory.step, bent)
        memory = memory._replace(step=part * memory.step, slope=part * memory.slope)
        return new._replace(u=goes_to, memory=memory)

    def follow(
        u: Array,
        memory: Memory,
        last: Chains,
        moved: Chains,
        new: Step,
        x: Array,
        conditions: dict[str, Array],
        fixed: dict[str, Array],
    ) -> tuple[Chains, Chains]:
        member = reader._replace(program=reader.program.given(fixed))
        kept = jax.tree.map(lambda old, now: jnp.where(new.rejected, old, now), last, moved)
        start = jnp.where(new.rejected, memory.u, u)
        goes = followed(member, kept.clamped, start, new.u, x, conditions)
        return kept._replace(clamped=goes), kept

    keys = jax.random.split(key, state.u.shape[0])
    every_x, every_condition = x, conditions
    every_frame = x.reshape(-1, *x.shape[2:])
    given = x, conditions, fixed
    estimates, moved = over_members(e_step)(keys, state.u, state.chains, *given)
    estimates = summed(estimates) if shared else estimates
    new = over_members(m_step)(state.u, state.memory, estimates, *given)
    if shared:  # to the last bit
        new = new._replace(u=jnp.broadcast_to(new.u[:1], new.u.shape))
    chains, last = over_members(follow)(
        state.u, state.memory, state.last_chains, moved, new, *given
    )
    u = jnp.where(state.done[:, None], state.u, new.u)
    tolerance, patience = rule
    near = jnp.all(new.distance <= 2.0 * tolerance, 1) & jnp.all(new.noise <= tolerance, 1)
    streak = jnp.where(near & ~new.rejected, state.streak + 1, 0)
    done = state.done | (streak >= patience)
    return EMState(u, chains, new.memory, last, state.iteration + 1, streak, done), new
