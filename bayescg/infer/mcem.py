"""Monte Carlo EM over a generative program (PCG paper, Section 2.3, Algorithm 1)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
import time
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.devices import check_divides, everywhere, fetched, laid_out, over_devices
from bayescg.infer.checkpoint import interrupted, place
from bayescg.infer.estimates import (
    COOLING,
    FRESH,
    Estimates,
    Reader,
    likelihood_coordinates,
    relaxed,
    start_chains,
)
from bayescg.infer.iteration import EMState, estimates_of, iterate, over_members
from bayescg.infer.marginal import check_factorises
from bayescg.infer.moves import is_curved
from bayescg.infer.program import (
    Program,
    ProgramError,
    loose_coordinates,
    read_program,
    warn_of_single_precision,
)
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.schedules import Newton, Schedule, start_memory
from bayescg.infer.shared import check_all_shared
from bayescg.samplers.base import Sampler
from bayescg.system import Batch

__all__ = ["MCEMResult", "renewals", "run_mcem"]

MANY = 8  # members at rest, from which a batch without them is compiled


@dataclass(frozen=True, eq=False)
class MCEMResult:
    """Where MC-EM ended."""

    programs: tuple[Program, ...]  # one, and those of members that were fitted again
    which: np.ndarray  # (member,), index into ``programs``
    u: np.ndarray  # (member, u), the MAP estimate
    estimates: Estimates  # (member, ...), that the last step to u was made from
    converged: np.ndarray  # (member,)
    distance: np.ndarray  # (member, u), of the last step, in posterior standard deviations
    noise: np.ndarray  # (member, u)
    trace: dict[str, np.ndarray]  # by iteration
    sweeps: int  # sweeps of p_c of each chain, in all
    free_moves: int  # sweeps of p_c over all chains of one member, cooling included
    seconds: float
    ended: (
        np.ndarray
    )  # (member,), "converged", "iterations", "unbounded", "diverged", "interrupted"

    @property
    def program(self) -> Program:
        """The program as it was given."""
        return self.programs[0]

    @property
    def interrupted(self) -> bool:
        """Whether the user has asked for an end."""
        return bool(np.any(self.ended == "interrupted"))

    @property
    def unbounded(self) -> np.ndarray:
        """Members that were given up on their way to infinity, ``(member,)``."""
        return np.asarray(self.ended == "unbounded")

    def replaced(self, at: np.ndarray, other: "MCEMResult") -> "MCEMResult":
        """This result with the members ``at`` taken from ``other``, whose trace is appended."""
        put = partial(_put, at)

        def appended(name: str) -> np.ndarray:
            mine, theirs = self.trace[name], other.trace[name]
            if name == "moves":
                theirs = mine[-1] + theirs
            elif mine.ndim > 1:  # the members that are not fitted again stay where they are
                whole = np.repeat(mine[-1:], len(theirs), axis=0)
                whole[:, at] = theirs
                theirs = whole
            return np.concatenate([mine, theirs])

        return replace(
            self,
            programs=self.programs + other.programs,
            which=put(self.which, len(self.programs) + other.which),
            u=put(self.u, other.u),
            estimates=jax.tree.map(put, self.estimates, other.estimates),
            converged=put(self.converged, other.converged),
            distance=put(self.distance, other.distance),
            noise=put(self.noise, other.noise),
            trace={name: appended(name) for name in self.trace},
            sweeps=self.sweeps + other.sweeps,
            free_moves=self.free_moves + other.free_moves,
            seconds=self.seconds + other.seconds,
            ended=put(self.ended, other.ended),
        )


@laid_out
def run_mcem(
    function: Callable[..., None],
    sampler: Sampler,
    batch: Batch,
    key: Array,
    *,
    schedule: Schedule = Newton(),  # noqa: B008 - frozen
    tolerance: float = 0.1,
    max_iterations: int = 200,
    start: np.ndarray | None = None,
    fixed: dict[str, np.ndarray] | None = None,
    frames_per_step: int | None = None,
    patience: int = 1,
    information: int = 0,
    warmup: int = 0,
    thin: int = 1,
    infinity: float = np.inf,
    latent_sampler: Sampler | None = None,
    complete: Callable[[Array, Array], Array] | None = None,
    progress: Progress | None = None,
) -> MCEMResult:
    """Find the maximum of the posterior of every member of a sweep, in one vectorised run.

    Members that share their parameters have one posterior, and take every step together.

    The stopping rule: a member is done when, in every coordinate, the Newton step to the
    optimum is below ``2 * tolerance`` posterior standard deviations and the Monte Carlo standard
    error of that step is below ``tolerance``. It takes that last step and stays there; what is
    reported of it (``distance``, ``noise``, ``estimates``) is what that step was made from. The
    standard deviations are those of the information that a step believes: missing information is
    held below the schedule's ``most_missing``. A member whose parameters are no longer finite is
    given up where it last was, and the others go on.

    :param function: the program, ``function(x, **conditions)``.
    :param sampler: kernel for p_c; ``latent_sampler`` for q_i, the same where None.
    :param batch: data with a leading sweep axis.
    :param start: where to start, ``(member, u)``; default: the origin of ``u``.
    :param fixed: values the program is conditioned on, each with a leading sweep axis; the latent
        site among them makes the map Dirac (REM).
    :param frames_per_step: frames whose latents move in one E-step, at most all; default all. The others keep
        their last configurations (Section 2.3's remark).
    :param patience: iterations in a row that must meet the stopping rule: a slow drift, each step of
        which is small, meets it once by chance.
    :param information: sweeps at the end, at the mode of each member that has converged, from which
        alone its ``estimates`` are then made: what is averaged over steps remembers other places.
        0: none.
    :param warmup: sweeps of the latents of sites in space before the first iteration, after which chains of p_c begin
        where those are.
    :param thin: sweeps from one measurement of the chains to the next.
    :param infinity: a coefficient under an improper or an ARD prior (whose tail holds nothing back)
        that, times beta, passes this is on its way to infinity: its member is given up and
        reported as unbounded.
    :param complete: puts virtual sites into configurations that the data hold, ``complete(key, x)``.
    :raises ProgramError: for a program whose latents cannot be sampled or whose mode means nothing.
    """
    warn_of_single_precision()
    progress = progress or Silent()
    began = time.monotonic()
    x = jnp.asarray(batch.x, float)
    conditions = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
    given = {k: jnp.asarray(v, float) for k, v in (fixed or {}).items()}
    first = jax.tree.map(lambda a: a[0], (x, conditions, given))
    program = read_program(function, *first)
    if not program.size:
        raise ValueError("the program has no parameters to fit.")
    if program.scales:
        raise ProgramError(
            f"the joint mode of a scale mixture ({', '.join(program.scales)}) means nothing: use -m nuts, "
            "or a normal, ard or flat prior."
        )
    if not program.sites.latent_observed:
        check_factorises(program, *first[:2])
    if program.shared:
        check_all_shared(program, x, conditions)
    count, frames = x.shape[:2]
    # Of parameters that members share, one may not depend on what another does.
    looked_at = [
        jax.tree.map(partial(_take, m), (x, conditions))
        for m in range(count if program.shared else 1)
    ]
    if frames_per_step is not None and frames_per_step < 1:
        raise ValueError(f"frames_per_step must be positive, got {frames_per_step}.")

    whole = frames_per_step is None or frames_per_step >= frames
    block = None if whole else frames_per_step
    latent = latent_sampler or sampler
    check_divides(schedule.free_chains, "chains of p_c", "-M free_chains")
    if not program.sites.latent_observed:
        held = min(frames, frames_per_step or frames) * schedule.clamped_chains
        check_divides(
            held, "chains of latents", "-s frames, -M frames_per_step or -M clamped_chains"
        )
    fine = np.unique(np.concatenate([likelihood_coordinates(program, *m) for m in looked_at]))
    curved = schedule.straight and any(is_curved(program, *m) for m in looked_at)
    reader = Reader(program, sampler, latent, fine, block, complete, thin)
    step = jax.jit(partial(iterate, reader, schedule, curved))
    init_key, loop_key = jax.random.split(key)
    begin = over_members(
        lambda k, x: start_chains(reader, k, x, schedule.free_chains, schedule.clamped_chains)
    )
    chains = jax.jit(begin)(jax.random.split(init_key, count), x)
    u = jnp.zeros((count, program.size)) if start is None else jnp.asarray(start, float)
    if warmup and (sampler.at is None or program.sites.latent_observed):
        raise ValueError(
            "warmup is for latent sites in space, and there are none here; allowed is 0."
        )
    at_place = place("mcem")
    kept: dict[str, Any] = at_place.resumed() or {}
    if warmup and not kept:
        at_rest = over_members(lambda k, u, c, x, w: relaxed(reader, k, u, c, x, w, warmup))
        warm_key, init_key = jax.random.split(init_key)
        chains = jax.jit(at_rest)(jax.random.split(warm_key, count), u, chains, x, conditions)
    inputs = (x, conditions, given)
    shapes, _ = jax.eval_shape(partial(estimates_of, reader), init_key, u, chains, *inputs, 1)
    blank = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    memory = jax.vmap(partial(start_memory, radius=schedule.radius))(u, blank)
    none = jnp.zeros(count, int)
    if kept:
        state = jax.tree.map(jnp.asarray, kept["state"])
    else:
        state = EMState(u, chains, memory, chains, jnp.zeros((), int), none, none > 0)
    # As it comes out of an iteration, so that the second finds the first one's program.
    laid = {name: over_devices(getattr(state, name)) for name in ("chains", "last_chains")}
    state = everywhere(state._replace(chains=(), last_chains=()))._replace(**laid)
    active = kept.get("active", np.arange(count))  # in the batch; the others have been set aside
    full: _Member | None = kept.get("full")  # every member as it was last seen
    sweeps, total, moved, cooled = kept.get("sweeps", (int(schedule.start_sweeps()), 0, 0, 0))
    rows = kept.get("rows", [])
    began -= kept.get("seconds", 0.0)
    loose = np.unique(np.concatenate([loose_coordinates(program, *m) for m in looked_at]))
    far_away = infinity / float(jnp.asarray(program.boltzmann(u[0], *first[:2]).beta))
    ended = np.asarray(kept.get("ended", ["iterations"] * count), dtype=object)
    inputs = jax.tree.map(partial(_take, active), inputs) if len(active) < count else inputs
    try:
        for t in range(kept.get("iteration", 0), max_iterations):
            at_place.keep(
                {
                    "iteration": t,
                    "state": state,
                    "active": active,
                    "full": full,
                    "sweeps": (sweeps, total, moved, cooled),
                    "rows": list(rows),
                    "ended": ended.copy(),
                    "seconds": time.monotonic() - began,
                }
            )
            k = jax.random.fold_in(loop_key, t)
            at_start = np.asarray(u) if full is None else full.u
            total += sweeps
            moved += schedule.free_chains * sweeps
            groups, group = renewals(schedule, moved, cooled)
            fresh = (cooled // group, groups)
            cooled += groups * group
            state, result = step(k, state, *inputs, sweeps, fresh, (tolerance, patience))
            seen = fetched(
                _Member(state.u, result.estimates, result.distance, result.noise, result.objective)
            )
            finite = np.all(np.isfinite(seen.u), axis=1) & np.all(np.isfinite(seen.distance), 1)
            if full is None:
                full = seen._replace(u=np.where(finite[:, None], seen.u, np.asarray(u)))
            news = np.flatnonzero(finite & (ended[active] == "iterations"))
            full = jax.tree.map(
                partial(_put, active[news]), full, jax.tree.map(partial(_take, news), seen)
            )
            away = np.any(np.abs(full.u[:, loose]) > far_away, axis=1)
            for name, which in (
                ("diverged", ~finite),
                ("converged", fetched(state.done)),
                ("unbounded", away[active]),
            ):
                at = active[which]
                ended[at[ended[at] == "iterations"]] = name
            failed = _put(active[news], np.zeros(count), seen.estimates.failed[news])
            rows.append(_row(full, sweeps, moved + cooled) | {"at": at_start, "failed": failed})
            running = ended == "iterations"
            done = (t + 1) / max_iterations if running.any() else 1.0
            progress.update("mcem", done, _numbers(full, running, t, total))
            if not running.any():
                break
            effort = fetched(state.memory.effort)[running[active]]
            sweeps = int(schedule.grow(effort))
            # Members that are done only cost time; where they are many a smaller batch pays for its
            # compilation. Those that are not finite are no longer computed with.
            idle = len(active) - running.sum()
            if (3 * running.sum() <= len(active) and idle >= MANY) or not finite.all():
                keep = np.flatnonzero(running[active])
                state = _members(state, keep)
                inputs = jax.tree.map(partial(_take, keep), inputs)
                active = active[keep]
        at = np.flatnonzero(fetched(state.done))
        if information and at.size:
            assert full is not None
            there, some = _members(state, at), jax.tree.map(partial(_take, at), inputs)
            again = jax.jit(partial(estimates_of, reader))
            for turn, length in enumerate((max(information // 4, 1), information)):
                k = jax.random.fold_in(loop_key, max_iterations + turn)
                last, moved_on = jax.block_until_ready(
                    again(k, there.u, there.chains, *some, length)
                )
                there = there._replace(chains=moved_on)
                total += length
                progress.update("information", (turn + 1) / 2, {"sweeps": total})
            found = fetched(last)
            put = partial(_put, active[at])
            full = full._replace(estimates=jax.tree.map(put, full.estimates, found))
    except KeyboardInterrupt:
        interrupted()
        if full is None or not rows:
            raise
        ended[ended == "iterations"] = "interrupted"
    assert full is not None
    return MCEMResult(
        (program,),
        np.zeros(count, int),
        full.u,
        full.estimates,
        np.asarray(ended == "converged"),
        full.distance,
        full.noise,
        {k: np.stack([r[k] for r in rows]) for k in rows[0]},
        total,
        moved + cooled,
        time.monotonic() - began,
        ended,
    )


def renewals(schedule: Schedule, moved: int, cooled: int) -> tuple[int, int]:
    """How many groups of chains of p_c an iteration cools anew, and the sweeps that one takes.

    :param moved: sweeps of all chains until now, and those that cooling has taken.
    """
    group = min(FRESH, schedule.free_chains) * COOLING
    most = max(schedule.free_chains // 4 * COOLING, group)
    return int(min(schedule.cooling * moved - cooled, most) // group), group


class _Member(NamedTuple):
    """What is kept of every member; leading axis ``member``."""

    u: Any
    estimates: Estimates
    distance: Any
    noise: Any
    gain: Any


def _put(at: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    out = np.array(old)
    out[at] = new
    return out


def _take(at: np.ndarray | int, a: Any) -> Any:
    return a[at]


def _members(state: EMState, keep: np.ndarray) -> EMState:
    """The state of some members only."""
    part = jax.tree.map(partial(_take, keep), state._replace(iteration=jnp.zeros(len(state.done))))
    return part._replace(iteration=state.iteration)


def _numbers(full: _Member, running: np.ndarray, t: int, sweeps: int) -> dict[str, float]:
    """What is worth showing after iteration ``t``: of the members that run on, or of all at the end."""
    seen = running if running.any() else np.ones(len(running), bool)
    numbers: dict[str, float] = {
        "iteration": t + 1,
        "distance": float(full.distance.max(1)[seen].max()),  # to the optimum, posterior sd
        "noise": float(full.noise.max(1)[seen].max()),  # of that, its standard error
        "gain": float(np.sum(full.gain[seen])),  # nats that the log posterior may still rise
        "sweeps": sweeps,
        "running": int(running.sum()),
    }
    moved = np.asarray(full.estimates.latent_change)[seen]
    return numbers | ({"acceptance": float(moved.mean())} if moved.any() else {})


def _row(full: _Member, sweeps: int, moves: int) -> dict[str, Any]:
    return {
        "u": full.u,
        "distance": full.distance.max(1),
        "noise": full.noise.max(1),
        "gain": full.gain,
        "sweeps": np.asarray(sweeps),
        "moves": np.asarray(moves),
        "latent_change": full.estimates.latent_change,
        "latent_gap": full.estimates.latent_gap,
    }
