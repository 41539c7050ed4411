"""The log posterior at many draws, where neither log Z nor the sum over latents is exact."""

from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from bayescg.distributions.log_partition.mbar import solve_states
from bayescg.infer.marginal import log_prior_at
from bayescg.infer.program import Program
from bayescg.samplers.base import ChainState, Sampler, cooled

__all__ = ["COOLING", "Estimate", "reweighted_log_posterior", "run_statistics"]

TEMPERED = (0.0, 0.25, 0.5, 0.7, 0.85)  # of the mode's coupling: a bridge between its modes
REFERENCES = 90  # draws that are simulated, besides the mode and its tempered copies
CHAINS = 32  # of each reference
CLAMPED = 960  # chains of all q_i together, and at least 16 of each
SAMPLES = 4  # of each chain
THIN = 5  # sweeps between them
COOLING = 40  # sweeps before them


class Estimate(NamedTuple):
    """Log posterior of every draw relative to the mode; all ``(draw,)``."""

    value: Any
    error: Any  # Monte Carlo standard error of ``value``
    support: Any  # effective number of samples behind it, the fewest of log Z and the frames


def reweighted_log_posterior(
    program: Program,
    sampler: Sampler,
    key: Array,
    u: Array,
    mode: Array,
    x: Array,
    conditions: dict[str, Array],
    tau: Array | None = None,
) -> Estimate:
    r"""Log posterior at ``u`` minus that at ``mode``, by reweighting from samples.

    Log Z comes from multistate reweighting (MBAR) of samples of p_c at the mode, at tempered
    copies of it and at many of the draws themselves, so that a mode of p_c which only some draws
    grow is among the samples. The sum over latents is reweighted from q_i at the mode,

    .. math:: \log\frac{p(x_i, \theta)}{p(x_i, \theta^*)} = \log\Bigl\langle
              e^{\beta\Delta\eta\cdot\phi(X) + \Delta\log p_{cf}(x_i \mid X)}\Bigr\rangle_{q_i^*}
              - \Delta\log Z ,

    where the data hold the latents in one place. Errors are from the spread between chains.

    :param u: draws, ``(draw, u)``; the first ``REFERENCES`` of them are simulated.
    :param tau: precisions at which ARD's are held, as in :func:`~bayescg.infer.marginal.log_posterior`.
    """
    free_key, clamped_key = jax.random.split(key)
    partition, z_error, z_support = _log_partitions(
        program, sampler, free_key, u, mode, x, conditions
    )
    likelihood, error, support = _log_sums(program, sampler, clamped_key, u, mode, x, conditions)
    frames = len(x)

    def prior(v: Array) -> Array:
        return log_prior_at(program, v, x, conditions, tau)

    change = jax.lax.map(prior, u) - prior(mode)
    return Estimate(
        likelihood - frames * partition + change,
        jnp.sqrt(error**2 + (frames * z_error) ** 2),
        jnp.minimum(support, z_support),
    )


def _natural(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    """``beta eta`` at ``u``, shape ``(term,)``."""
    boltzmann = program.boltzmann(u, x, conditions)
    return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()


def _log_partitions(
    program: Program,
    sampler: Sampler,
    key: Array,
    u: Array,
    mode: Array,
    x: Array,
    conditions: dict[str, Array],
) -> tuple[Array, Array, Array]:
    """log Z at ``u`` minus that at ``mode``, its error, and the effective sample size."""
    simulated = jnp.concatenate([jnp.tile(mode, (len(TEMPERED) + 1, 1)), u[:REFERENCES]])
    heat = jnp.concatenate(
        [jnp.array([*TEMPERED, 1.0]), jnp.ones(len(simulated) - len(TEMPERED) - 1)]
    )

    def sample(key: Array, v: Array, heat: Array) -> Array:
        boltzmann = program.boltzmann(v, x, conditions)
        potential, beta = boltzmann.potential, heat * jnp.asarray(boltzmann.beta)
        cool_key, key = jax.random.split(key)
        state = cooled(sampler, cool_key, CHAINS, potential, beta, COOLING)
        phi = run_statistics(sampler, key, state, potential, beta, None, SAMPLES)[0]
        return jnp.moveaxis(phi, 1, 2)  # (sample, chain, term)

    keys = jax.random.split(key, len(simulated))
    phi = jax.vmap(sample)(keys, simulated, heat)  # (reference, sample, chain, term)
    eta = heat[:, None] * jax.vmap(lambda v: _natural(program, v, x, conditions))(simulated)
    phi = jnp.moveaxis(phi, 2, 1).reshape(-1, SAMPLES, phi.shape[-1])  # (chain, sample, term)
    pooled = phi.reshape(-1, phi.shape[-1])
    # Self-consistent log Z of the references, from a trapezoid along the line to each.
    mean = jnp.mean(phi.reshape(len(eta), -1, phi.shape[-1]), 1)
    at = len(TEMPERED)
    first = 0.5 * jnp.sum((eta - eta[at]) * (mean + mean[at]), 1)
    each = jnp.full(len(eta), jnp.log(CHAINS * SAMPLES))
    density = solve_states(pooled @ eta.T, jnp.zeros(len(pooled)), each, first).log_mixture
    density = density.reshape(phi.shape[:2])

    def weights(eta: Array) -> tuple[Array, Array, Array]:
        log_w = phi @ eta - density
        total = logsumexp(log_w)
        w = jnp.exp(log_w - total)
        return total, jnp.sum(w, 1), 1.0 / jnp.sum(w**2)

    origin, base, _ = weights(eta[at])

    def at_draw(v: Array) -> tuple[Array, Array, Array]:
        total, by_chain, support = weights(_natural(program, v, x, conditions))
        return total - origin, jnp.sqrt(jnp.sum((by_chain - base) ** 2)), support

    value, error, support = jax.lax.map(at_draw, u)
    return value, error, support


def _log_sums(
    program: Program,
    sampler: Sampler,
    key: Array,
    u: Array,
    mode: Array,
    x: Array,
    conditions: dict[str, Array],
) -> tuple[Array, Array, Array]:
    """The likelihood's sums over latents relative to ``mode``, error, and effective sample size."""
    boltzmann = program.boltzmann(mode, x, conditions)
    potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)
    frames = len(x)
    chains = max(16, CLAMPED // frames)
    h0, c0 = program.field(mode, x, conditions)
    field = jnp.repeat(h0, chains, axis=0).T
    start_key, key = jax.random.split(key)
    state = cooled(sampler, start_key, frames * chains, potential, beta, COOLING, field)
    phi, z = run_statistics(sampler, key, state, potential, beta, field, SAMPLES)
    # (frame, chain, sample, term or site)
    phi, z = (
        jnp.moveaxis(a.reshape(*a.shape[:2], frames, chains), (2, 3, 0, 1), (0, 1, 2, 3))
        for a in (phi, z)
    )
    eta0 = _natural(program, mode, x, conditions)

    def at_draw(v: Array) -> tuple[Array, Array, Array]:
        h, c = program.field(v, x, conditions)
        shift = phi @ (_natural(program, v, x, conditions) - eta0)
        log_w = shift + jnp.einsum("fcsi,fi->fcs", z, h - h0)
        total = logsumexp(log_w, axis=(1, 2))
        w = jnp.exp(log_w - total[:, None, None])
        variance = jnp.sum((jnp.sum(w, 2) - 1.0 / chains) ** 2)
        support = jnp.min(1.0 / jnp.sum(w**2, (1, 2)))
        # The logarithm of a mean of few samples is too low by half its variance.
        value = jnp.sum(total + c - c0) - frames * jnp.log(chains * SAMPLES) + 0.5 * variance
        return value, jnp.sqrt(variance), support

    value, error, support = jax.lax.map(at_draw, u)
    return value, error, support


def run_statistics(
    sampler: Sampler,
    key: Array,
    state: ChainState,
    potential: Any,
    beta: Array,
    field: Array | None,
    samples: int,
) -> tuple[Array, Array]:
    """Statistics ``(sample, term, chain)`` and configurations ``(sample, site, chain)`` of a run."""

    def sweep(state: ChainState, key: Array) -> tuple[ChainState, None]:
        return sampler.step(key, state, potential, beta, field)[0], None

    def take(state: ChainState, key: Array) -> tuple[ChainState, tuple[Array, Array]]:
        state, _ = jax.lax.scan(sweep, state, jax.random.split(key, THIN))
        wide = state.x.astype(jnp.result_type(float))
        return state, (potential.statistics(wide), wide)

    return jax.lax.scan(take, state, jax.random.split(key, samples))[1]
