"""NumPyro's NUTS on a program whose latents are summed out exactly."""

from dataclasses import dataclass, field
from functools import partial
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import optax

from bayescg.devices import all_shares, check_divides, laid_out, own_share
from bayescg.infer.checkpoint import NOWHERE, place
from bayescg.infer.marginal import check_exact, collapsed_program, log_posterior
from bayescg.infer.numpyro_chains import EXTRA, NumPyroChains
from bayescg.infer.program import (
    Program,
    ProgramError,
    warn_of_single_precision,
)
from bayescg.infer.progress import Progress, Silent

__all__ = ["NUTSResult", "check_proper", "climbed", "run_nuts", "told"]


CLIMB, RATE = 300, 0.05  # steps to a mode, and their length in unconstrained coordinates


def check_proper(program: Program, method: str = "NUTS") -> None:
    """Raise ``ProgramError`` for a prior under which a method that wants the whole posterior cannot run.

    :param method: what the message calls it.
    """
    for a0, b0 in program.ard.values():
        if min(a0, b0) < 0.1:
            raise ProgramError(
                f"ARD with a0={a0:g}, b0={b0:g} has a spike at zero that {method} cannot enter; use prior=normal, "
                "prior=horseshoe where the model has it (lattices), or a0 and b0 of at least 0.1."
            )
    if program.improper:
        raise ProgramError(
            f"under the flat prior of {', '.join(sorted(program.improper))} the posterior may have no end (where some "
            f"combination of parameters does not matter); {method} needs a proper prior: another -s prior, or "
            "-s positive."
        )


def climbed(
    program: Program,
    x: Array,
    conditions: dict[str, Array],
    key: Array,
    chains: int,
    starts: int,
) -> dict[str, Array]:
    """Where chains begin on a posterior of many modes, unconstrained values by site ``(chain, ...)``.

    The posterior of a mixture has modes that hold nearly nothing of it, as one state for two kinds of
    frames, which chains do not leave. Each chain has starts of its own, so that chains which end in modes
    of like height still disagree, and R-hat tells of it.
    """

    def down(u: Array) -> Array:
        return -log_posterior(program, u, x, conditions) - program.log_jacobian(u)

    optimiser = optax.adam(RATE)

    def climb(u: Array) -> tuple[Array, Array]:
        def step(state: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], None]:
            v, memory = state
            update, memory = optimiser.update(jax.grad(down)(v), memory)
            return (optax.apply_updates(v, update), memory), None

        (v, _), _ = jax.lax.scan(step, (u, optimiser.init(u)), length=CLIMB)
        return v, down(v)

    u = jax.random.uniform(key, (chains, starts, program.size), minval=-2.0, maxval=2.0)
    ends, heights = jax.jit(lambda v: jax.vmap(jax.vmap(climb))(v))(u)
    best = jnp.argmin(jnp.where(jnp.isfinite(heights), heights, jnp.inf), 1)
    return jax.vmap(program.unravel)(ends[jnp.arange(chains), best])


@dataclass(frozen=True)
class NUTSResult:
    """Draws of every member, as chains."""

    u: np.ndarray  # (chain, draw, member, u)
    stats: dict[
        str, np.ndarray
    ]  # NumPyro's extra fields, (chain, draw, member); (chain, draw) of pooled ones
    seconds: float
    log_z: dict[str, np.ndarray] = field(default_factory=dict)  # (member,), how log Z was learned


@laid_out
def run_nuts(
    program: Program,
    x: np.ndarray,
    conditions: dict[str, np.ndarray],
    key: Array,
    *,
    chains: int = 4,
    warmup: int = 1000,
    samples: int = 1000,
    target_accept: float = 0.9,
    max_tree_depth: int = 10,
    dense_mass: bool = False,
    starts: int = 1,
    progress: Progress | None = None,
) -> NUTSResult:
    """Sample the full posterior of every member.

    :param x: data, ``(member, frame, ...)``.
    :param starts: of each chain; it begins at the best that a climb from one of them finds (:func:`climbed`).
        1: where NumPyro begins, without a climb.
    :raises ProgramError: if log Z or the sum over latents is not exact, under ARD with a spike, or under
        a flat prior of the coefficients.
    """
    warn_of_single_precision()
    progress = progress or Silent()
    first = {k: jnp.asarray(v[0], float) for k, v in conditions.items()}
    check_exact(program, jnp.asarray(x[0], float), first)
    check_proper(program)
    check_divides(chains, "chains of NUTS", "-M chains")

    began = time.monotonic()
    sampler = NumPyroChains(
        collapsed_program(program), warmup, target_accept, max_tree_depth, dense_mass
    )
    unconstrain = jax.jit(jax.vmap(jax.vmap(program.unconstrain)))
    at_place = place("nuts")
    draws, stats = at_place.resumed() or ([], [])
    for m, k in enumerate(jax.random.split(key, len(x))):
        # Chains of several processes are each one's own; members are kept when all have ended.
        within = place("chains") if jax.process_count() == 1 else NOWHERE
        if m < len(draws):
            continue
        given = {name: jnp.asarray(v[m], float) for name, v in conditions.items()}
        data = jnp.asarray(x[m], float)
        start_key = jax.random.fold_in(k, 1)
        begin = climbed(program, data, given, start_key, chains, starts) if starts > 1 else None
        keys = jax.random.split(k, chains) if chains > 1 else k[None]  # as NumPyro does
        keys, begin = own_share((keys, begin))
        sites, seen = sampler.run(
            keys,
            (data,),
            given,
            samples=samples,
            begin=begin,
            at_place=within,
            tell=partial(told, progress, m, len(x)),
        )
        draws.append(all_shares(unconstrain({name: sites[name] for name in program.shapes})))
        stats.append(all_shares(seen))
        at_place.keep((list(draws), list(stats)))
        within.forget()
    return NUTSResult(
        np.stack(draws, 2),
        {k: np.stack([s[k] for s in stats], 2) for k in EXTRA},
        time.monotonic() - began,
    )


def told(
    progress: Progress, m: int, members: int, stage: str, done: float, numbers: dict[str, float]
) -> None:
    """Tell of a member's chains."""
    progress.update("nuts", (m + done) / members, {"member": m + 1, **numbers})
