"""Simulations of p_c at references, from which log Z is learned: how many, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.distributions.log_partition.multistate import TRUSTED, Multistate, multistate
from bayescg.infer.precision import GROUPS
from bayescg.infer.program import Program
from bayescg.samplers.base import Sampler, cooled

__all__ = ["ADAPTING", "Rules", "Simulation", "Tell"]

REACH = (3.0, 3.7)  # standard deviations from a reference, within which log Z is reweighted
#: Effective samples between which reweighting goes over to what lies outside. Their number jumps by a factor of two on
#: the way of one trajectory, and the two differ by ten in N log Z: where chains live, distance alone may decide.
SPARSE = (30.0, 100.0)
ENOUGH = 200.0  # effective samples behind every draw, where the error of log Z is measured
ADAPTING = 0.05  # gain of steps that go with the latents, while chains look for their place

Tell = Callable[[float, dict[str, float]], None] | None


@dataclass(frozen=True)
class Rules:
    """How references are simulated and chosen.

    :param chains: of each reference, ``samples`` of each chain, ``thin`` moves apart and ``lead`` before them.
    :param follow: moves before them of chains that come from another reference (sites in space; spins are cooled).
    :param precision: bias of a parameter's posterior mean that the error of log Z may cause, in posterior
        standard deviations.
    :param measured: go on until the bias, measured by leaving out groups of chains, is below the precision, with some
        samples behind every draw; else it is taken from the number of samples, as if they were independent.
    :param blocks: simulations as long as a reference's at the one about which sampled latents' log Z is known, and
        ``rare`` ones beside it.
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
    blocks: int = 20
    rare: int = 8
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
            follow=10,
            turns=80,
            rounds=12,
            outside=0.01,
            precision=precision,
            measured=True,
            room=(16384, 16),
            trusted=SPARSE,
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


def groups(simulation: Simulation, samples: int) -> np.ndarray:
    """Which of the groups of the jackknife samples of a reference are in, ``(sample,)``.

    Samples of a chain are in one, and chains of sites in space that begin in one frame of the data.
    """
    frames = len(simulation.x)
    chain = np.arange(samples) % simulation.rules.chains
    if simulation.sampler.at is not None and frames >= GROUPS:
        chain = chain % frames
    return chain % GROUPS
