"""NUTS where log Z is learned from simulations; latents are sampled, or seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.alternating import Alternating, Draws, Options
from bayescg.infer.centred import centred
from bayescg.infer.marginal import check_factorises
from bayescg.infer.nuts import NUTSResult, check_proper
from bayescg.infer.options import NUTSOptions
from bayescg.infer.program import Program, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.references import learned
from bayescg.infer.score_start import by_score_matching
from bayescg.infer.simulations import ADAPTING, Rules, Simulation
from bayescg.system import Batch, System

__all__ = ["run_learned"]

LOG_Z = ("references", "outside", "error", "shift", "varies")  # what is told of it
SPREAD = 0.1  # of the first chains about the start, in unconstrained coordinates


@dataclass(frozen=True, eq=False)
class _Member:
    """One data set of a sweep."""

    program: Program
    x: Array
    conditions: dict[str, Array]
    start: np.ndarray

    @property
    def latent(self) -> np.ndarray:
        """Latents that are seen, ``(frame, site, ...)``."""
        return np.asarray(self.program.fixed[self.program.sites.latent])


def _members(
    program: Program, batch: Batch, start: np.ndarray, fixed: Mapping[str, np.ndarray]
) -> list[_Member]:
    out = []
    for m in range(len(batch.x)):
        own = program.given({k: jnp.asarray(v[m], float) for k, v in fixed.items()})
        given = {k: jnp.asarray(v[m], float) for k, v in batch.conditions.items()}
        out.append(_Member(own, jnp.asarray(batch.x[m], float), given, start[m]))
    return out


def run_learned(
    system: System,
    program: Program,
    batch: Batch,
    start: np.ndarray,
    key: Array,
    options: NUTSOptions,
    progress: Progress | None = None,
    *,
    fixed: Mapping[str, np.ndarray] | None = None,
    about: np.ndarray | None = None,
) -> NUTSResult:
    """Sample the posterior of every member, log Z reweighted from simulations where its own draws went.

    :param start: where chains start, ``(member, u)``, spread by a tenth; of sites in space where the search for
        the mode starts.
    :param fixed: values that the program is conditioned on, with a leading member axis.
    :param about: draws of an approximation of the posterior, ``(draw, member, u)``, for latent sites in space that are
        sampled.
    :raises ProgramError: for a likelihood that does not factorise over coarse sites, or a prior as for ``run_nuts``.
    """
    warn_of_single_precision()
    progress = progress or Silent()
    began = time.monotonic()
    members = _members(program, batch, start, fixed or {})
    check_proper(program)
    if not program.sites.latent_observed:
        check_factorises(program, members[0].x, members[0].conditions)
    rules = Rules.of(system.sampler, options.precision)
    found: list[Draws] = []
    rows: dict[str, list[float]] = {k: [] for k in LOG_Z}
    for m, (member, k) in enumerate(zip(members, jax.random.split(key, len(members)), strict=True)):
        tell = partial(_told, progress, m, len(members))
        near = None if about is None else about[:, m]
        draws, log_z = _one(system, member, k, rules, options, tell, near)
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
    draws: np.ndarray | None,
) -> tuple[Draws, dict[str, float]]:
    """One member: references first, then the run that is kept."""
    k_start, k_learn, k_begin, k_warm, k_run, k_judge = jax.random.split(key, 6)
    kernel = system.latent_sampler or system.sampler
    rule = Options(o.warmup, o.target_accept, o.max_tree_depth, o.mass == "dense", o.moves)
    chains = Alternating(member.program, kernel, member.x, member.conditions, rule)
    # Of sites in space: HMC, whose ensemble is exact whatever its step.
    sampler = system.sampler if system.sampler.at is None else system.exact_sampler or kernel
    simulation = Simulation(member.program, sampler, member.x, member.conditions, rules)
    start = member.start
    if sampler.at is not None and o.start is None and member.program.sites.latent_observed:
        tell("score matching", 0.0, {})
        start = by_score_matching(member.program, member.latent, member.x, member.conditions, start)
    u = np.tile(start, (o.chains, 1))
    if sampler.at is None:
        u = u + SPREAD * np.asarray(jax.random.normal(k_start, u.shape))
    told = partial(tell, "log Z")
    log_z = (
        learned(chains, simulation, k_learn, u, tell=told)
        if draws is None
        else centred(chains, simulation, k_learn, o.chains, draws, told)
    )
    chains = log_z.alternating
    state = chains.start(
        k_begin,
        log_z.state.u,
        log_z.partition,
        log_z.state.latent,
        log_z.inverse_mass,
        float(jnp.exp(jnp.mean(jnp.log(log_z.state.hmc.adapt_state.step_size)))),
    )
    state, _ = chains.run(
        k_warm, state, log_z.partition, o.warmup, gain=ADAPTING, tell=partial(tell, "warm-up")
    )
    state, kept = chains.run(
        k_run, state, log_z.partition, o.samples, first=o.warmup, tell=partial(tell, "nuts")
    )
    flat = kept.u.reshape(-1, kept.u.shape[-1])
    outside, found = log_z.judge(k_judge, flat)
    return kept, {
        "references": float(log_z.references),
        "outside": outside,
        "error": found.error,
        "shift": found.shift,
        "varies": found.varies,
    }
