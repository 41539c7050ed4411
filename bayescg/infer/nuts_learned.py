"""NUTS where log Z is learned from simulations, or not needed: latents are sampled, not summed out."""

from dataclasses import dataclass
from functools import partial
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.alternating import Alternating, Draws, Options
from bayescg.infer.marginal import check_factorises
from bayescg.infer.nuts import NUTSResult, check_proper
from bayescg.infer.options import NUTSOptions
from bayescg.infer.program import Program, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.references import Learned, Rules, Simulation, learned, outside_of
from bayescg.system import Batch, System

__all__ = ["run_learned"]

SPREAD = 0.1  # of the first chains about the start, in unconstrained coordinates
JUDGED = 400  # draws at which log Z is judged


@dataclass(frozen=True, eq=False)
class _Member:
    """One data set of a sweep."""

    program: Program
    x: Array
    conditions: dict[str, Array]
    start: np.ndarray


def _members(program: Program, batch: Batch, start: np.ndarray) -> list[_Member]:
    out = []
    for m in range(len(batch.x)):
        given = {k: jnp.asarray(v[m], float) for k, v in batch.conditions.items()}
        out.append(_Member(program, jnp.asarray(batch.x[m], float), given, start[m]))
    return out


def run_learned(
    system: System,
    program: Program,
    batch: Batch,
    start: np.ndarray,
    key: Array,
    options: NUTSOptions,
    progress: Progress | None = None,
) -> NUTSResult:
    """Sample the posterior of every member, log Z reweighted from simulations where its own draws went.

    :param start: where chains start, ``(member, u)``, spread by a tenth.
    :raises ProgramError: for a likelihood that does not factorise over coarse sites, or a prior as for ``run_nuts``.
    """
    warn_of_single_precision()
    progress = progress or Silent()
    began = time.monotonic()
    members = _members(program, batch, start)
    check_proper(program)
    if not program.sites.latent_observed:
        check_factorises(program, members[0].x, members[0].conditions)
    rules = Rules(precision=options.precision)
    found: list[Draws] = []
    rows: dict[str, list[float]] = {k: [] for k in ("references", "outside", "error")}
    for m, (member, k) in enumerate(zip(members, jax.random.split(key, len(members)), strict=True)):
        tell = partial(_told, progress, m, len(members))
        draws, log_z = _one(system, member, k, rules, options, tell)
        found.append(draws)
        for name, value in log_z.items():
            rows[name].append(value)
    stats = {
        "diverging": np.stack([d.diverging for d in found], 2),
        "num_steps": np.stack([d.num_steps for d in found], 2),
        "accept_prob": np.stack([d.accept_prob for d in found], 2),
        "potential_energy": np.stack([-d.log_posterior for d in found], 2),
        "energy": np.stack([d.energy for d in found], 2),
    }
    return NUTSResult(
        np.stack([d.u for d in found], 2),
        stats,
        time.monotonic() - began,
        {k: np.array(v) for k, v in rows.items()},
    )


def _told(
    progress: Progress, m: int, members: int, stage: str, done: float, numbers: dict[str, float]
) -> None:
    progress.update(stage, (m + done) / members, {"member": m + 1, **numbers})


def _one(
    system: System,
    member: _Member,
    key: Array,
    rules: Rules,
    o: NUTSOptions,
    tell: Any,
) -> tuple[Draws, dict[str, float]]:
    """One member: references first, then the run that is kept."""
    k_start, k_learn, k_begin, k_warm, k_run = jax.random.split(key, 5)
    kernel = system.latent_sampler or system.sampler
    make = partial(
        Alternating, member.program, kernel, member.x, member.conditions, complete=system.complete
    )
    rule = Options(o.warmup, o.target_accept, o.max_tree_depth, o.mass == "dense", o.moves)
    chains = make(rule)
    simulation = Simulation(member.program, system.sampler, member.x, member.conditions, rules)
    u = member.start + SPREAD * np.asarray(
        jax.random.normal(k_start, (o.chains, member.program.size))
    )
    log_z = learned(chains, simulation, k_learn, u, tell=partial(tell, "log Z"))
    state = chains.start(
        k_begin,
        log_z.state.hmc.z,
        log_z.partition,
        log_z.state.latent,
        log_z.inverse_mass,
    )
    state, _ = chains.run(k_warm, state, log_z.partition, o.warmup, tell=partial(tell, "warm-up"))
    state, draws = chains.run(
        k_run, state, log_z.partition, o.samples, first=o.warmup, tell=partial(tell, "nuts")
    )
    return draws, _judged(chains, log_z, draws, rules)


def _judged(chains: Alternating, log_z: Learned, draws: Draws, rules: Rules) -> dict[str, float]:
    """What log Z is worth where the draws are."""
    flat = draws.u.reshape(-1, draws.u.shape[-1])
    some = flat[:: max(1, len(flat) // JUDGED)]
    natural = jax.jit(jax.vmap(chains.natural))(jnp.asarray(some))
    frames = len(chains.x)
    first, second = (np.asarray(jax.lax.map(half.at, natural)) for half in log_z.halves)
    # The error of a mean is half of the difference of its halves; what is the same everywhere does not matter.
    error = 0.5 * frames * float(np.std(first - second))
    return {
        "references": float(len(log_z.references)),
        "outside": float(np.mean(outside_of(log_z.partition, natural, rules.enough(frames)))),
        "error": error,
    }
