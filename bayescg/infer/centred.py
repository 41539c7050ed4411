"""log Z about one place, where latent sites in space are sampled, and whether it holds where the posterior is.

Latents follow parameters that a wrong log Z leads astray, and parameters follow them: 20 frames of water have thousands
of coordinates that agree to anything. An error of a posterior mean given X comes back several times as large. So log Z
has to be known better than reweighting can know it from as many samples as there is time for:
:mod:`bayescg.distributions.log_partition.tilted`. Simulations at draws of the posterior say whether it is.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.distributions.log_partition.mbar import solve_states
from bayescg.distributions.log_partition.tilted import (
    SPARSE,
    Directions,
    Tilted,
    directions,
    tilted,
)
from bayescg.infer.alternating import FIRST_STEP, Alternating
from bayescg.infer.masses import information, mass_of
from bayescg.infer.moves import straight
from bayescg.infer.precision import GROUPS, Precision, most_varying, precision_of
from bayescg.infer.references import JUDGED, Learned
from bayescg.infer.sheared import sheared
from bayescg.infer.simulations import ADAPTING, Simulation, Tell, groups

__all__ = ["centred"]

SETTLING, MOVES = 10, 6  # turns of latents at a chain's first parameters, and moves of each
CHECKED = 8  # fresh references at the draws that are kept
APART = 1.0  # standard deviations of the statistics from the reference to the draws' mean, at most
AGAIN = 2  # rounds after which the reference stays where it is
MOST = 72  # simulations there


@dataclass(frozen=True, eq=False)
class _Reference:
    """Samples at one place and about it.

    :param u: the place, ``(u,)``.
    :param natural: of each simulation, the place's first, ``(simulation, term)``.
    :param statistics: ``(simulation, sample, term)``.
    :param here: how many of them are at the place; the others tell of what is rare there.
    :param scale: how far natural parameters go, ``(term,)``.
    """

    u: np.ndarray
    natural: np.ndarray
    statistics: np.ndarray
    here: int
    scale: np.ndarray

    @cached_property
    def _middle(self) -> np.ndarray:
        return self.statistics[: self.here].reshape(-1, self.statistics.shape[2])

    @cached_property
    def covariance(self) -> np.ndarray:
        """Of the statistics of a frame at the place, ``(term, term)``."""
        return np.atleast_2d(np.cov(self._middle.T))

    @cached_property
    def directions(self) -> Directions:
        """Of the statistics, wherever samples were drawn: what is rare at the place knows no distance there."""
        return directions(self.statistics.reshape(-1, self.statistics.shape[2]), self.scale)

    def log_z(self, room: int, kept: np.ndarray | None = None) -> Tilted:
        """log Z, from some of the samples of each simulation, ``kept (sample,)``; None: from all."""
        some = self.statistics if kept is None else self.statistics[:, kept]
        flat = some.reshape(-1, some.shape[2])
        log_weight = np.zeros(len(flat))
        if len(some) > self.here:
            log_mixture = _pooled(self.natural, some, self.here)[1]
            log_weight = flat @ self.natural[0] - log_mixture
        return tilted(self.directions, self.natural[0], flat, log_weight, room=room)

    def bridged(self, natural: np.ndarray, statistics: np.ndarray) -> np.ndarray:
        """log Z at ``natural (reference, term)`` relative to the place, from samples of all, ``(reference,)``."""
        e = np.concatenate([self.natural, natural])
        phi = np.concatenate([self.statistics, statistics])
        return _pooled(e, phi, self.here)[0][-len(natural) :]

    def more(self, natural: np.ndarray, statistics: np.ndarray, here: bool) -> "_Reference":
        """With more simulations ``(simulation, ...)``, at the place or elsewhere."""
        at = self.here if here else len(self.natural)
        e, phi = (
            np.concatenate([old[:at], new, old[at:]])
            for old, new in ((self.natural, natural), (self.statistics, statistics))
        )
        return replace(
            self, natural=e, statistics=phi, here=self.here + (len(natural) if here else 0)
        )


def _pooled(
    natural: np.ndarray, statistics: np.ndarray, here: int
) -> tuple[np.ndarray, np.ndarray]:
    """log Z of simulations relative to the first, of which ``here`` are at one place, and the mixture's log density."""
    simulations, samples, terms = statistics.shape
    flat = statistics.reshape(-1, terms)
    e = np.concatenate([natural[:1], natural[here:]])
    counts = np.r_[here, np.ones(simulations - here)] * samples
    mean = statistics.mean(1)
    mean = np.concatenate([mean[:here].mean(0)[None], mean[here:]])
    start = 0.5 * np.sum((e - e[0]) * (mean + mean[0]), 1)
    given = flat @ e.T, np.zeros(len(flat)), np.log(counts), start
    values, log_mixture, _ = solve_states(*(jnp.asarray(a) for a in given))
    return np.asarray(values), np.asarray(log_mixture)


def centred(
    alternating: Alternating,
    simulation: Simulation,
    key: Array,
    count: int,
    draws: np.ndarray,
    tell: Tell = None,
) -> Learned:
    """Simulate at the mean of draws, until log Z from there holds at draws of the posterior.

    What X is worth to parameters beside x may be a hundredth (the width trades against how sharp the potential is), so
    that Newton's steps, X given, would take hundreds to arrive: chains start at draws of an approximation.

    :param count: of chains.
    :param draws: of the approximation, ``(draw, u)``.
    """
    rules, frames = simulation.rules, len(alternating.x)
    k_latent, k_move, key = jax.random.split(key, 3)
    natural = jax.jit(jax.vmap(alternating.natural))
    around = _around(alternating, draws)
    scale = np.asarray(natural(jnp.asarray(around))).std(0)
    chains = simulation.start(jax.random.fold_in(key, rules.rounds), alternating.x.T)

    def placed(key: Array, u: np.ndarray, draws: np.ndarray, chains: Any) -> Any:
        k_here, k_rare = jax.random.split(key)
        at = np.repeat(u[None], rules.blocks, 0)
        chains, phi = simulation.run(k_here, at, chains, first=True)
        e = np.asarray(natural(jnp.asarray(at)))
        reference = _Reference(u, e, phi, rules.blocks, scale)
        return told_of_rare(k_rare, reference, draws, chains), chains

    def told_of_rare(
        key: Array, reference: _Reference, draws: np.ndarray, chains: Any
    ) -> _Reference:
        at = _rare(alternating, reference, draws)
        if not len(at):
            return reference
        phi = _simulated(simulation, key, at, chains)
        return reference.more(np.asarray(natural(jnp.asarray(at))), phi, False)

    if tell is not None:
        tell(0.0, {"references": float(rules.blocks)})
    some = around[1 : 1 + rules.rare // 2]
    reference, chains = placed(jax.random.fold_in(key, 0), draws.mean(0), some, chains)
    u, latent = jnp.asarray(around[:count]), alternating.placed(k_latent, count)
    for i in range(SETTLING):
        k, gain = jax.random.fold_in(k_move, i), jnp.asarray(ADAPTING)
        u, latent, _ = alternating.relaxed(k, u, latent, MOVES, gain)
    alternating = _sheared(alternating, reference)
    step, checks = FIRST_STEP, 0
    for turn in range(rules.rounds):
        k_start, k_run, k_check, k_more, k_rare = jax.random.split(
            jax.random.fold_in(key, turn + 1), 5
        )
        log_z = reference.log_z(rules.room[0])
        mass = mass_of(alternating, *information(alternating, reference.u, reference.covariance))
        state = alternating.start(k_start, jnp.asarray(u), log_z, latent, mass, step)
        state, found = alternating.run(k_run, state, log_z, rules.turns, gain=ADAPTING)
        u, latent = state.u, state.latent
        half = rules.turns // 2
        step = float(np.exp(np.mean(np.log(found.step_size[:, half:]))))
        late = found.u[:, half:].reshape(-1, found.u.shape[-1])
        e = natural(jnp.asarray(late))
        outside = _outside(log_z, e)
        precision = _precision(simulation, reference, late, np.asarray(e))
        asked = found.u[:, -1]
        phi = _simulated(simulation, k_check, asked, chains)
        checks += len(asked)
        at = np.asarray(natural(jnp.asarray(asked)))
        off = _errors(reference, log_z, at, phi, frames)
        total = len(reference.natural) + checks
        if tell is not None:
            numbers = {"references": float(total), "outside": outside, "shift": precision.shift}
            tell((turn + 1) / rules.rounds, numbers | {"error": _spread(off)})
        wrong = not _spread(off) <= most_varying(alternating.program.size)
        judge = partial(_judged, simulation, natural, reference, log_z, chains)
        result = Learned(alternating, log_z, state, mass, total, judge)
        wanted = reference.here * ((precision.shift / rules.precision) ** 2 - 1.0)
        settled = outside <= rules.outside and wanted <= 0.0 and not wrong and turn > 0
        if settled or turn == rules.rounds - 1:
            break
        middle = np.asarray(natural(jnp.asarray(late.mean(0))[None]))[0]
        if float(log_z.distance(jnp.asarray(middle))) > APART and turn < AGAIN:
            some = late[:: max(1, 2 * len(late) // rules.rare)]
            reference, chains = placed(k_more, late.mean(0), some, chains)
            alternating = _sheared(alternating, reference)
            continue
        if outside > rules.outside or wrong:
            worst = asked[np.argsort(-np.abs(off - np.median(off)))[: rules.rare // 2]]
            reference = told_of_rare(k_rare, reference, worst, chains)
        if wanted > 0.0 and reference.here < MOST:
            more = min(rules.each, int(np.ceil(wanted)), MOST - reference.here)
            again = np.repeat(reference.u[None], more, 0)
            chains, new = simulation.run(k_more, again, chains)  # which stay at the place
            reference = reference.more(np.repeat(reference.natural[:1], more, 0), new, True)
    return result


def _simulated(simulation: Simulation, key: Array, u: np.ndarray, chains: Any) -> np.ndarray:
    """Statistics ``(reference, sample, term)`` at ``u (reference, u)``.

    Each from chains of the place, not one from another: what is rare at one would still be there at the next.
    """
    keys = jax.random.split(key, len(u))
    each = [simulation.run(k, v[None], chains)[1] for k, v in zip(keys, u, strict=True)]
    return np.concatenate(each)


def _rare(alternating: Alternating, reference: _Reference, draws: np.ndarray) -> np.ndarray:
    """Parameters ``(draw, u)`` that do what draws do to what is rare at the reference, and nothing to the rest.

    And as many half-way, so that samples overlap.
    """
    found = reference.directions
    if found.normal.all():
        return draws[:0]
    middle = jnp.asarray(reference.u)
    natural = jax.jit(jax.vmap(alternating.natural))
    slope = np.asarray(jax.jit(jax.jacobian(alternating.natural))(middle))
    off = np.asarray(natural(jnp.asarray(draws))) - reference.natural[0]
    rare = (off @ found.loading)[:, ~found.normal] @ found.along[:, ~found.normal].T
    # Terms differ by orders of magnitude.
    steps = np.linalg.lstsq(slope / reference.scale[:, None], (rare / reference.scale).T)[0].T
    steps = np.concatenate([0.5 * steps, steps])
    return _led(alternating, middle, steps)


def _led(alternating: Alternating, middle: Array, steps: np.ndarray) -> np.ndarray:
    """Where steps from ``middle (u,)`` lead that keep their promise in natural parameters (:func:`straight`)."""

    def natural(u: Array) -> Array:
        return alternating.program.natural(u, alternating.x, alternating.conditions)

    def led(step: Array) -> Array:
        return straight(natural, middle, step)[0]

    return np.asarray(jax.jit(lambda d: jax.lax.map(led, d))(jnp.asarray(steps)))


def _around(alternating: Alternating, draws: np.ndarray) -> np.ndarray:
    """Draws of the approximation, as far as natural parameters go by its steps."""
    return _led(alternating, jnp.asarray(draws.mean(0)), draws[:JUDGED] - draws.mean(0))


def _sheared(alternating: Alternating, reference: _Reference) -> Alternating:
    """The same, whose NUTS moves in coordinates that suit the reference."""
    here = jnp.asarray(reference.u)
    bend = jax.jit(jax.hessian(alternating.log_prior))(here)
    where = alternating.program, reference.u, alternating.x, alternating.conditions
    beta = np.asarray(alternating.program.boltzmann(here, *where[2:]).beta)
    total = len(alternating.x) * beta**2 * reference.covariance
    return replace(alternating, sheared=sheared(*where, total, -np.asarray(bend)))


def _errors(
    reference: _Reference, log_z: Tilted, e: np.ndarray, phi: np.ndarray, frames: int
) -> np.ndarray:
    """N times what log Z is short of at fresh references ``e (reference, term)``, ``(reference,)``."""
    said = jax.lax.map(log_z.at, jnp.asarray(e))
    return frames * (reference.bridged(e, phi) - np.asarray(said))


def _spread(off: np.ndarray) -> float:
    """How much errors of N log Z at some draws ``(reference,)`` differ: one that all have changes no posterior."""
    return float(np.std(off, ddof=1)) if len(off) > 1 else float(np.abs(off).max())


def _outside(log_z: Tilted, e: Array) -> float:
    """Fraction of ``e (draw, term)`` that is farther from the reference than cumulants are believed, or where weights
    leave too few samples."""
    far = np.asarray(jax.vmap(log_z.distance)(e)) > log_z.reach[0]
    few = np.asarray(jax.jit(lambda v: jax.lax.map(log_z.effective, v))(e)) < SPARSE[1]
    return float(np.mean(far | few))


def _precision(
    simulation: Simulation, reference: _Reference, draws: np.ndarray, e: np.ndarray
) -> Precision:
    group = groups(simulation, reference.statistics.shape[1])
    frames, room = len(simulation.x), simulation.rules.room[0]
    every = max(1, len(draws) // JUDGED)

    def left(g: int) -> Tilted:
        return reference.log_z(room, group != g)

    assert group.max() == GROUPS - 1
    return precision_of(left, draws[::every], e[::every], frames)


def _judged(
    simulation: Simulation,
    natural: Any,
    reference: _Reference,
    log_z: Tilted,
    chains: Any,
    key: Array,
    draws: np.ndarray,
) -> tuple[float, Precision]:
    """Of draws ``(draw, u)`` the fraction outside of the reach, and the error of log Z at the others: by leaving out
    chains, and as fresh simulations at some draws find it."""
    e = natural(jnp.asarray(draws))
    some = np.linspace(0, len(draws) - 1, CHECKED).astype(int)
    phi = _simulated(simulation, key, draws[some], chains)
    off = _errors(reference, log_z, np.asarray(e)[some], phi, len(simulation.x))
    precision = _precision(simulation, reference, draws, np.asarray(e))
    return _outside(log_z, e), precision._replace(varies=_spread(off))
