"""Monte Carlo estimates that every iteration of MC-EM works with."""

from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.program import Program
from bayescg.samplers.base import ChainState, Sampler, cooled

__all__ = ["Chains", "Estimates", "Reader", "estimate", "likelihood_coordinates", "start_chains"]


class Chains(NamedTuple):
    """Persistent chains of one data set."""

    free: ChainState  # of p_c(X | theta_c), (site, chain)
    clamped: ChainState  # of q_i(X), (site, frame * chain), the chains of a frame side by side


class Estimates(NamedTuple):
    """Score and information of the log-likelihood at one ``u``, and their Monte Carlo error."""

    score: Array  # (u,), gradient of sum_i log p(x_i | u), Eq. 39
    complete: Array  # (u, u), complete-data information, the likelihood's part of Eq. 45
    missing: Array  # (u, u), sum_i Cov_{q_i}[score of (x_i, X_i)], Louis' missing information
    spread: Array  # (u, chain), a root of ``noise``: what each chain adds to the error of ``score``
    features: Array  # (term,), model average of the statistics
    latent_change: Array  # fraction of latent coordinates that a sweep of q_i changes

    @property
    def noise(self) -> Array:
        """Covariance of the Monte Carlo error of ``score``, (u, u)."""
        return self.spread @ self.spread.mT

    @property
    def observed(self) -> Array:
        """Observed-data information by Louis' identity, ``complete - missing``."""
        return self.complete - self.missing


class Reader(NamedTuple):
    """What :func:`estimate` needs besides arrays; static."""

    program: Program
    sampler: Sampler
    fine: np.ndarray  # coordinates of u that the likelihood p_cf depends on, given X
    block: int | None = None  # frames whose latents move in one E-step; None: all


COOLING = 40  # sweeps from infinite temperature to the model's, for a fresh chain
FRESH = 8  # chains of p_c that are cooled together


def likelihood_coordinates(program: Program, x: Array, conditions: dict[str, Array]) -> np.ndarray:
    """Coordinates of ``u`` on which p_cf(x | X) depends: where its derivative is not zero."""
    touched = np.zeros(program.size, bool)
    for seed in range(2):
        u_key, x_key = jax.random.split(jax.random.key(seed))
        u = 0.5 * jax.random.normal(u_key, (program.size,))
        latent = jax.random.normal(x_key, (len(x), *program.latent_shape))
        slope = jax.jacobian(lambda u, z=latent: program.log_likelihood(u, z, x, conditions))(u)
        touched |= np.any(np.asarray(slope) != 0.0, axis=0)
    return np.flatnonzero(touched)


def start_chains(reader: Reader, key: Array, frames: int, free: int, clamped: int) -> Chains:
    """Fresh chains: ``free`` of p_c and ``clamped`` for every frame."""
    k_free, k_clamped = jax.random.split(key)
    return Chains(
        reader.sampler.init(k_free, free), reader.sampler.init(k_clamped, frames * clamped)
    )


class _Sums(NamedTuple):
    free: Array  # (term, chain)
    free_outer: Array  # (term, term)
    clamped: Array  # (score, frame, chain): statistics, then the likelihood's score
    clamped_outer: Array  # (score, score)
    curvature: Array  # (fine, fine)
    changed: Array


def estimate(
    reader: Reader,
    key: Array,
    u: Array,
    chains: Chains,
    x: Array,
    conditions: dict[str, Array],
    sweeps: Array,
    first_frame: Array | int = 0,
    fresh: tuple[Array | int, Array | int] = (0, 0),
) -> tuple[Estimates, Chains]:
    r"""Run both sets of chains for ``sweeps`` at ``u`` and estimate score and information.

    The score of a completed datum is, with :math:`J = \partial\eta/\partial u`,

    .. math:: s_i = \beta J^T(\phi(X_i) - \langle\phi\rangle_{p_c})
                    + \nabla_u \log p_{cf}(x_i \mid X_i).

    Its mean over q_i is the gradient (Eq. 39), its covariance the missing information, and
    :math:`N\beta^2 J^T \operatorname{Cov}_{p_c}[\phi] J` with the curvature of p_cf the complete
    information (Eqs. 40, 45). The Monte Carlo error comes from the spread between chains, which
    is right for autocorrelated chains as well.

    :param sweeps: sweeps to run, a traced integer.
    :param first_frame: where the block of ``reader.block`` frames begins whose latents move.
    :param fresh: groups of ``FRESH`` chains of p_c that are cooled anew first: the number of the
        first group, counted around the chains, and how many.
    """
    program, sampler, fine, block = reader
    boltzmann = program.boltzmann(u, x, conditions)
    potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)

    def natural(v: Array) -> Array:
        return program.boltzmann(v, x, conditions).potential.natural()

    slope = jax.jacfwd(natural)(u)  # (term, u)
    frames = len(x)
    per_frame = chains.clamped.x.shape[1] // frames
    observed = program.sites.latent_observed
    tiled = jnp.repeat(x, per_frame, axis=0)
    field = None
    if not observed:
        h, _ = program.field(u, x, conditions)
        field = jnp.repeat(h, per_frame, axis=0).T  # (site, frame * chain)
    latent = program.fixed[program.sites.latent] if observed else None

    def fine_log_likelihood(v: Array, latent: Array) -> Array:
        return program.log_likelihood(u.at[fine].set(v), latent, tiled, conditions)

    def step_clamped(key: Array, state: ChainState) -> tuple[ChainState, Array]:
        if block is None:
            moved, info = sampler.step(key, state, potential, beta, field)
            return moved, info.changed
        assert field is not None  # there are latents to move
        order = (jnp.arange(block) + first_frame) % frames
        columns = (order[:, None] * per_frame + jnp.arange(per_frame)).ravel()
        part, info = sampler.step(
            key, ChainState(state.x[:, columns]), potential, beta, field[:, columns]
        )
        return ChainState(state.x.at[:, columns].set(part.x)), info.changed

    def sweep(i: Array, carry: tuple[Chains, _Sums]) -> tuple[Chains, _Sums]:
        chains, sums = carry
        k_free, k_clamped = jax.random.split(jax.random.fold_in(key, i))
        free, _ = sampler.step(k_free, chains.free, potential, beta)
        phi = potential.statistics(free.x).astype(u.dtype)
        if latent is None:
            clamped, changed = step_clamped(k_clamped, chains.clamped)
        else:
            clamped, changed = chains.clamped, jnp.zeros(())
        z = clamped.x.astype(u.dtype) if latent is None else jnp.repeat(latent, per_frame, axis=0).T
        psi = potential.statistics(z)
        value = u[fine]
        s_fine = jax.jacfwd(fine_log_likelihood)(value, z.T).T  # (fine, frame * chain)
        curvature = -jax.hessian(lambda v: jnp.sum(fine_log_likelihood(v, z.T)))(value)
        both = jnp.concatenate([psi, s_fine])
        return Chains(free, clamped), _Sums(
            sums.free + phi,
            sums.free_outer + phi @ phi.T,
            sums.clamped + both.reshape(-1, frames, per_frame),
            sums.clamped_outer + both @ both.T,
            sums.curvature + curvature,
            sums.changed + changed,
        )

    chains = chains._replace(free=_renewed(reader, key, chains.free, potential, beta, fresh))
    terms, free_chains = slope.shape[0], chains.free.x.shape[1]
    width = terms + fine.size
    zero = _Sums(
        jnp.zeros((terms, free_chains), u.dtype),
        jnp.zeros((terms, terms), u.dtype),
        jnp.zeros((width, frames, per_frame), u.dtype),
        jnp.zeros((width, width), u.dtype),
        jnp.zeros((fine.size, fine.size), u.dtype),
        jnp.zeros((), u.dtype),
    )
    chains, sums = jax.lax.fori_loop(0, sweeps, sweep, (chains, zero))

    count = sweeps * free_chains
    chain_mean = sums.free / sweeps
    mean = jnp.mean(chain_mean, 1)
    free_spread = (chain_mean - mean[:, None]) / jnp.sqrt(free_chains * (free_chains - 1.0))
    # The square of an estimated mean is too large by the mean's own error, here and below.
    covariance = sums.free_outer / count - jnp.outer(mean, mean) + free_spread @ free_spread.T

    by_chain = sums.clamped / sweeps  # (score, frame, chain)
    by_frame = jnp.mean(by_chain, 2)
    spread = (by_chain - by_frame[:, :, None]).reshape(width, -1)
    spread = spread / np.sqrt(per_frame * max(per_frame - 1, 1))
    within = sums.clamped_outer / (sweeps * per_frame) - by_frame @ by_frame.T + spread @ spread.T

    # From (statistics, score of p_cf) to coordinates of u.
    to_u = jnp.concatenate([beta * slope, jnp.eye(program.size, dtype=u.dtype)[fine]])  # (score, u)
    residual = jnp.sum(by_frame[:terms], 1) - frames * mean
    score = to_u.T @ jnp.concatenate([residual, jnp.sum(by_frame[terms:], 1)])
    bend = jax.hessian(lambda v: beta * (natural(v) @ residual))(u)
    complete = frames * beta**2 * slope.T @ covariance @ slope - bend
    complete = complete.at[jnp.ix_(fine, fine)].add(sums.curvature / (sweeps * per_frame))
    root = jnp.concatenate([frames * beta * slope.T @ free_spread, to_u.T @ spread], 1)
    out = Estimates(score, complete, to_u.T @ within @ to_u, root, mean, sums.changed / sweeps)
    return out, chains


def _renewed(
    reader: Reader,
    key: Array,
    state: ChainState,
    potential: Any,
    beta: Array,
    fresh: tuple[Array | int, Array | int],
) -> ChainState:
    """The chains of p_c, some of them cooled anew from infinite temperature.

    Persistent chains follow the parameters and may never leave the mode they are in, while the
    model grows others that the data never show. Fresh chains find those, and where the two
    disagree the spread between chains, and with it the noise, stays large.
    """
    first, groups = fresh
    width = min(FRESH, state.x.shape[1])

    def renew(i: Array, x: Array) -> Array:
        new_key = jax.random.fold_in(key, 2**31 - 1 - i)
        new = cooled(reader.sampler, new_key, width, potential, beta, COOLING)
        columns = ((first + i) * width + jnp.arange(width)) % x.shape[1]
        return x.at[:, columns].set(new.x)

    return ChainState(jax.lax.fori_loop(0, groups, renew, state.x))
