"""log Z where the posterior is: simulations at parameters that its own draws ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.distributions.log_partition.multistate import TRUSTED, Multistate, multistate
from bayescg.infer.alternating import Alternating, Latents, State
from bayescg.infer.precision import GROUPS, Precision, precision_of
from bayescg.infer.program import Program
from bayescg.samplers.base import Sampler, cooled

__all__ = ["Learned", "Rules", "Simulation", "judged", "learned"]


TEMPERED = (0.0, 0.25, 0.5, 0.7, 0.85)  # of the first reference's coupling: copies of it
REACHED = 30.0  # effective samples that a new reference has from the others
STRIDE = 1.5  # and standard deviations that it is from the nearest, at most
STEPS = 24  # lengths of the way to a new reference that are tried, each 0.8 of the one before
NEAR = 0.5  # standard deviations of the statistics, to which Newton's steps come of the posterior's mode
APPROACH = 30  # such steps, at most
FOUND = 1.2  # length of steps that are averaged, so many of them, of latents that are sampled
AVERAGED = 8
APART = 2.0  # posterior standard deviations about the mode in which chains start, of latents that are seen
AROUND = 8  # references about the mode, of latents that are sampled, where chains start
JUDGED = 400  # draws at which log Z is judged
REACH = (3.0, 4.0)  # standard deviations from a reference, within which log Z is reweighted
ENOUGH = 200.0  # effective samples behind every draw, where the error of log Z is measured
SETTLING = 20  # moves of latents at each of Newton's steps
ADAPTING = 0.05  # gain of steps that go with the latents, while chains look for their place


@dataclass(frozen=True)
class Rules:
    """How references are simulated and chosen.

    :param chains: of each reference, ``samples`` of each chain, ``thin`` moves apart and ``lead`` before them.
    :param follow: moves before them of chains that come from another reference (sites in space; spins are cooled).
    :param precision: bias of a parameter's posterior mean that the error of log Z may cause, in posterior
        standard deviations.
    :param measured: go on until the bias, measured by leaving out groups of chains, is below the precision, with some
        samples behind every draw; else it is taken from the number of samples, as if they were independent.
    :param each: references that a round adds at most.
    :param turns: of the chains in a round.
    :param room: samples, and references, that what is compiled first has room for.
    :param trusted: and ``reach``, as of :class:`~bayescg.distributions.Multistate`.
    :param outside: fraction of draws that may have too few samples behind them.
    """

    chains: int = 128
    samples: int = 64
    thin: int = 3
    lead: int = 200
    follow: int = 200
    precision: float = 0.05
    measured: bool = False
    each: int = 8
    turns: int = 200
    rounds: int = 30
    room: tuple[int, int] = (4096, 64)
    trusted: tuple[float, float] = TRUSTED
    reach: tuple[float, float] | None = None
    outside: float = 0.002

    @staticmethod
    def of(sampler: Sampler, precision: float) -> "Rules":
        """Those of lattices, or of sites in space, whose moves are trajectories and whose samples all differ."""
        if sampler.at is None:
            return Rules(precision=precision)
        return Rules(
            chains=64,
            samples=32,
            thin=2,
            lead=40,
            follow=6,
            precision=precision,
            measured=True,
            room=(16384, 16),
            trusted=(0.4 * ENOUGH, ENOUGH),
            reach=REACH,
            each=16,
        )

    def enough(self, frames: int) -> float:
        r"""Effective samples behind log Z that are enough.

        The mean of a statistic has an error of its standard deviation over :math:`\sqrt n`; the posterior of N frames
        is as wide as if that mean were known to its standard deviation over :math:`\sqrt N`. So the error moves
        the posterior by :math:`\sqrt{N/n}` of its width. Of many parameters fewer will do, where the error is
        measured: p of them lie at :math:`d^2 = p/N` from their mean, where :math:`e^{p/N}` samples make one, but what
        the others' errors do to a parameter's mean averages out.
        """
        return ENOUGH if self.measured else frames / self.precision**2

    def pooled(
        self, natural: np.ndarray, statistics: np.ndarray, values: np.ndarray | None
    ) -> Multistate:
        """log Z from samples of all references, as of :func:`~bayescg.distributions.multistate`."""
        return multistate(
            natural,
            statistics,
            values=values,
            room=self.room,
            trusted=self.trusted,
            reach=self.reach,
        )


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

        def one(key: Array, u: Array, heat: Array, state: Any, lead: Array) -> Any:
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
                state = jax.lax.fori_loop(
                    0, lead, lambda i, s: move(s, jax.random.fold_in(k_cool, i))[0], state
                )
            state, phi = jax.lax.scan(take, state, jax.random.split(key, r.samples))
            return state, jnp.moveaxis(phi, 1, 2).reshape(-1, phi.shape[1])  # (sample, term)

        return jax.jit(one)

    def start(self, key: Array, latents: Array) -> Any:
        """Chains of sites in space, where latents ``(axis, site, frame)`` are."""
        assert self.sampler.at is not None
        at = jnp.arange(self.rules.chains) % latents.shape[-1]
        return self.sampler.at(key, latents[..., at])

    def run(
        self,
        key: Array,
        u: np.ndarray,
        state: Any,
        heat: np.ndarray | None = None,
        *,
        first: bool = False,
    ) -> tuple[Any, np.ndarray]:
        """Statistics ``(reference, sample, term)`` at ``u (reference, u)``; chains go from one to the next.

        :param heat: what beta is multiplied by, ``(reference,)``; None: nothing.
        :param first: chains are at no reference yet.
        """
        out = []
        lead = self.rules.lead if first else self.rules.follow
        heat = np.ones(len(u)) if heat is None else heat
        for k, v, h in zip(jax.random.split(key, len(u)), u, heat, strict=True):
            state, phi = self._sampled(k, jnp.asarray(v), jnp.asarray(h), state, jnp.asarray(lead))
            lead = self.rules.follow
            out.append(np.asarray(phi))
        return state, np.stack(out)


class Learned(NamedTuple):
    """log Z and what was done for it."""

    partition: Multistate
    natural: np.ndarray  # (reference, term), beta times natural parameters
    statistics: np.ndarray  # (reference, sample, term)
    state: State  # chains where the last round left them
    references: np.ndarray  # (reference, u)
    outside: np.ndarray  # (round,), fraction of draws without enough samples behind them
    inverse_mass: Array  # of the last round's draws


class _Begun(NamedTuple):
    """The first references, and where chains of the posterior start."""

    at: np.ndarray  # (reference, u)
    heat: np.ndarray  # (reference,), what beta is multiplied by
    phi: np.ndarray  # (reference, sample, term)
    chains: Any  # that are simulated
    u: np.ndarray  # (chain, u)
    mass: Array | None  # inverse mass matrix
    latent: Latents | None  # of those chains, where they have moved


def learned(
    alternating: Alternating,
    simulation: Simulation,
    key: Array,
    u: np.ndarray,
    *,
    tell: Callable[[float, dict[str, float]], None] | None = None,
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
        begun = _cold(simulation, latent_key, u)
    else:
        begun = _approached(alternating, simulation, latent_key, np.array(u), tell)
    at, heat, phi, chains, u, mass, latent = begun
    outside: list[float] = []
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    values: np.ndarray | None = None
    for turn in range(rules.rounds):
        k_start, k_run, k_more = jax.random.split(jax.random.fold_in(key, turn), 3)
        e = heat[:, None] * np.asarray(natural(jnp.asarray(at)))
        partition = rules.pooled(e, phi, values)
        values = np.asarray(partition.values)[: len(at)]
        state = alternating.start(k_start, jnp.asarray(u), partition, latent, mass)
        state, draws = alternating.run(k_run, state, partition, rules.turns, gain=ADAPTING)
        u, latent = np.asarray(state.u), state.latent
        late = draws.u[:, rules.turns // 2 :].reshape(-1, draws.u.shape[-1])
        mass = alternating.inverse_mass(late)
        places = natural(jnp.asarray(late))
        sizes = np.asarray(_sizes(partition, places))
        few = outside_of(partition, places, enough)
        outside.append(float(np.mean(few)))
        numbers = {"references": float(len(at)), "outside": outside[-1]}
        result = Learned(partition, e, phi, state, at, np.array(outside), mass)
        wanted = 0.0
        if rules.measured and outside[-1] <= rules.outside:
            numbers["shift"] = judged(alternating, simulation, result, late)[1].shift
            wanted = len(at) * max(0.0, (numbers["shift"] / rules.precision) ** 2 - 1.0)
        if tell is not None:
            tell((turn + 1) / rules.rounds, numbers)
        settled = outside[-1] <= rules.outside and turn > 0 and wanted == 0.0
        if settled or turn == rules.rounds - 1:  # no references that are in no partition
            break
        there = late if wanted else late[few]
        if len(there):
            if rules.measured and not wanted:  # all samples are near all draws
                wanted = len(at) * max(0.0, enough / np.median(sizes) - 1.0) + 1.0
            count = min(rules.each, int(np.ceil(wanted))) if rules.measured else rules.each
            asked = there[_spread(rng, there, late, count)]
            more = _within(alternating, partition, at, asked)
            chains, new = simulation.run(k_more, more, chains)
            at, phi = np.concatenate([at, more]), np.concatenate([phi, new])
            heat = np.concatenate([heat, np.ones(len(more))])
    return result


def _cold(simulation: Simulation, key: Array, u: np.ndarray) -> _Begun:
    """References of spins: where chains start, their mean, and its couplings weakened.

    Where spins are ordered no sample knows of the states that other couplings would bring.
    """
    heat = np.array(TEMPERED)
    middle = u.mean(0)[None]
    at = np.concatenate([np.repeat(middle, len(heat), 0), middle, u])
    heat = np.concatenate([heat, np.ones(len(at) - len(heat))])
    chains, phi = simulation.run(key, at, None, heat)
    return _Begun(at, heat, phi, chains, u, None, None)


def _approached(
    alternating: Alternating,
    simulation: Simulation,
    key: Array,
    u: np.ndarray,
    tell: Callable[[float, dict[str, float]], None] | None,
) -> _Begun:
    r"""The posterior's mode, nearly, by Newton's steps on the moments of persistent chains.

    Chains begin in the data's configurations. The log posterior has the slope
    :math:`J^\top(\sum_i\phi(X_i) - N\langle\phi\rangle)` and the prior's, and the information
    :math:`N J^\top\operatorname{Cov}[\phi]J` and the prior's, with :math:`J = \partial e/\partial u`. Latents that are
    sampled move at each step, with what p_cf alone knows, and leave some noise in it: where steps have become short
    enough, those that follow are averaged. When the next step is one that reweighting reaches, chains of the posterior
    start about its end.

    :param u: ``(chain, u)``, whose mean is where the search starts.
    """
    frames, count = len(alternating.x), len(u)
    rest = alternating.rest
    natural = jax.jit(lambda v: (alternating.natural(v), jax.jacobian(alternating.natural)(v)))
    prior = jax.jit(
        lambda v: (jax.grad(alternating.log_prior)(v), jax.hessian(alternating.log_prior)(v))
    )
    k_at, k_spread, k_latent, key = jax.random.split(key, 4)
    latent = alternating.placed(k_latent, count)
    chains = simulation.start(k_at, alternating.x.T if latent.state else alternating.held(None).T)
    at, ends = u.mean(0), list[np.ndarray]()
    for turn in range(APPROACH):
        k_chains, k_latent = jax.random.split(jax.random.fold_in(key, turn))
        if alternating.observed:
            seen = np.asarray(alternating.seen)
        else:
            u[:, rest] = at[rest]
            moved = alternating.relaxed(
                k_latent, jnp.asarray(u), latent, SETTLING, jnp.asarray(ADAPTING)
            )
            latent, u, seen = moved[1], np.array(moved[0]), np.asarray(moved[2]).mean(0)
            at[alternating.fine] = u[:, alternating.fine].mean(0)
        chains, phi = simulation.run(k_chains, at[None], chains, first=turn == 0)
        slope = np.asarray(natural(at)[1])[:, rest]
        gradient, bend = map(np.asarray, prior(at))
        covariance = np.atleast_2d(np.cov(phi[0].T))
        gradient = gradient[rest] + slope.T @ (seen - frames * phi[0].mean(0))
        values, vectors = np.linalg.eigh(
            frames * slope.T @ covariance @ slope - bend[np.ix_(rest, rest)]
        )
        values = np.maximum(np.abs(values), 1e-9 * np.abs(values).max())
        step = vectors @ ((vectors.T @ gradient) / values)
        move = slope @ step
        length = float(np.sqrt(move @ covariance @ move))
        if tell is not None:
            tell(0.0, {"approach": float(turn), "step": length})
        led = at[rest] + step * min(1.0, NEAR / length)
        if alternating.observed and length <= NEAR:
            break
        if length <= FOUND and not alternating.observed:
            ends.append(led)
            if len(ends) >= AVERAGED:
                break
        at[rest] += step * min(1.0, STRIDE / length)
    end = np.mean(ends, 0) if ends else led
    root = (vectors / np.sqrt(values)).T
    k_more, k_spread, k_chains = jax.random.split(k_spread, 3)

    def about(key: Array, here: np.ndarray, apart: float) -> np.ndarray:
        here = np.array(here)
        here[:, rest] = (
            end + apart * np.asarray(jax.random.normal(key, (len(here), len(rest)))) @ root
        )
        return here

    references = at[None]
    if not alternating.observed:
        # Latents follow parameters: chains must not begin where log Z is not known.
        more = about(k_more, np.tile(at, (AROUND, 1)), 1.0)
        chains, new = simulation.run(k_chains, more, chains)
        references, phi = np.concatenate([references, more]), np.concatenate([phi, new])
    starts = about(k_spread, u, APART if alternating.observed else 1.0)
    inverse = root.T @ root
    mass = jnp.asarray(inverse if alternating.options.dense else np.diag(inverse))
    return _Begun(references, np.ones(len(references)), phi, chains, starts, mass, latent)


def judged(
    alternating: Alternating, simulation: Simulation, found: Learned, draws: np.ndarray
) -> tuple[float, Precision]:
    """Fraction of draws ``(draw, u)`` with too few samples behind them, and what log Z's error does to them.

    Chains that begin in one frame of the data are in one group.
    """
    rules, frames = simulation.rules, len(alternating.x)
    some = draws[:: max(1, len(draws) // JUDGED)]
    natural = jax.jit(jax.vmap(alternating.natural))(jnp.asarray(some))
    chain = np.arange(found.statistics.shape[1]) % rules.chains
    if simulation.sampler.at is not None and frames >= GROUPS:
        chain = chain % frames
    outside = np.mean(outside_of(found.partition, natural, rules.enough(frames)))
    return float(outside), precision_of(
        found.natural,
        found.statistics,
        chain % GROUPS,
        some,
        np.asarray(natural),
        frames,
        values=np.asarray(found.partition.values)[: len(found.natural)],
        pool=rules.pooled,
    )


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
