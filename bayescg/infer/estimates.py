"""Monte Carlo estimates that every iteration of MC-EM works with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.devices import everywhere, over_devices
from bayescg.infer.program import Program
from bayescg.samplers.base import ChainInfo, ChainState, Sampler, cooled

__all__ = [
    "Chains",
    "Estimates",
    "Reader",
    "estimate",
    "likelihood_coordinates",
    "pulls",
    "relaxed",
    "start_chains",
]


class Chains(NamedTuple):
    """Persistent chains of one data set."""

    free: Any  # of p_c(X | theta_c), a sampler's state
    clamped: Any  # of q_i(X), frame * chain of them, those of a frame side by side


class Estimates(NamedTuple):
    """Score and information of the log-likelihood at one ``u``, and their Monte Carlo error."""

    score: Array  # (u,), gradient of sum_i log p(x_i | u), Eq. 39
    complete: Array  # (u, u), complete-data information, the likelihood's part of Eq. 45
    fisher: Array  # (u, u), the same where natural parameters are linear in u; never negative
    missing: Array  # (u, u), sum_i Cov_{q_i}[score of (x_i, X_i)], Louis' missing information
    spread: Array  # (u, chain), a root of ``noise``: what each chain adds to the error of ``score``
    features: Array  # (term,), model average of the statistics
    latent_change: Array  # fraction of latent coordinates (HMC: of proposals) that a sweep changes
    latent_gap: Array  # mean square of x - X of a coordinate under q_i, sites in space; else 0
    of_likelihood: Array  # (u,), 1 for a parameter of p_cf, 0 for one of p_c
    failed: Array  # moves that blew up and were taken back, and samples of p_c that were left out

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
    latent_sampler: Sampler  # of q_i
    fine: np.ndarray  # coordinates of u that the likelihood p_cf depends on, given X
    block: int | None = None  # frames whose latents move in one E-step; None: all
    complete: Callable[[Array, Array], Array] | None = (
        None  # latents with virtual sites, from (key, x)
    )
    thin: int = 1  # sweeps from one measurement to the next


COOLING = 40  # sweeps from infinite temperature to the model's, for a fresh chain
FRESH = 8  # chains of p_c that are cooled together
RAY = 0.2  # of a flow's velocity, in difference quotients: of a variance, a tenth of the way from the data


def likelihood_coordinates(program: Program, x: Array, conditions: dict[str, Array]) -> np.ndarray:
    """Coordinates of ``u`` on which p_cf(x | X) depends: where its derivative is not zero."""
    slope = jax.jit(jax.jacobian(lambda u, z: program.log_likelihood(u, z, x, conditions)))
    touched, rng = np.zeros(program.size, bool), np.random.default_rng(0)
    for _ in range(2):
        latent = rng.normal(size=(len(x), *program.latent_shape))
        found = slope(0.5 * rng.normal(size=program.size), latent)
        touched |= np.any(np.asarray(found) != 0.0, axis=0)
    return np.flatnonzero(touched)


def start_chains(reader: Reader, key: Array, x: Array, free: int, clamped: int) -> Chains:
    """Fresh chains: ``free`` of p_c and ``clamped`` for every frame of ``x``.

    Sites in space start where the data are; no liquid comes from random places. Those that the data lack are
    put in by the system.
    """
    k_free, k_clamped = jax.random.split(key)
    frames = len(x)
    if reader.complete is not None:
        k_free, k_complete = jax.random.split(k_free)
        x = reader.complete(k_complete, x)
    sampler, latent = reader.sampler, reader.latent_sampler
    if sampler.at is None or latent.at is None:
        return Chains(sampler.init(k_free, free), latent.init(k_clamped, frames * clamped))
    return Chains(
        sampler.at(k_free, x[jnp.arange(free) % frames].T),
        latent.at(k_clamped, jnp.repeat(x, clamped, axis=0).T),
    )


def relaxed(
    reader: Reader,
    key: Array,
    u: Array,
    chains: Chains,
    x: Array,
    conditions: dict[str, Array],
    sweeps: int,
) -> Chains:
    """Chains of sites in space after ``sweeps`` in which the q_i alone move, and p_c's where those have come to.

    Virtual sites that were put in by hand answer for scores of their own until they have come to rest, larger ones
    than the data's. Chains of p_c that begin at rest in the data agree with the q_i at first, and then tell in which
    direction the model goes away from them.
    """
    boltzmann = reader.program.boltzmann(u, x, conditions)
    ready = reader.latent_sampler.prepare(boltzmann.potential, jnp.asarray(boltzmann.beta))
    per_frame = chains.clamped.x.shape[-1] // len(x)
    field = pulls(reader.program, u, x, conditions, per_frame)

    def move(state: Any, k: Array) -> tuple[Any, None]:
        return reader.latent_sampler.step(k, state, *ready, field)[0], None

    keys, at_key = jax.random.split(key)
    clamped = jax.lax.scan(move, chains.clamped, jax.random.split(keys, sweeps))[0]
    assert reader.sampler.at is not None
    free, held = chains.free.x.shape[-1], clamped.x.shape[-1]
    # Frames in turn, and then their next chains.
    k = jnp.arange(free)
    order = (k * per_frame + k // len(x)) % held
    return Chains(reader.sampler.at(at_key, clamped.x[..., order]), clamped)


def pulls(
    program: Program, u: Array, x: Array, conditions: dict[str, Array], per_frame: int
) -> Any:
    """The pull of every frame on each of its chains, in the layout of samplers: chains of a frame side by side."""
    pull = program.pull(u, x, conditions)
    return jax.tree.map(lambda a: jnp.repeat(a, per_frame, axis=0).T, pull)


class _Sums(NamedTuple):
    measured: Array  # (chain,), samples of p_c whose statistics are finite
    free: Array  # (term, chain)
    free_outer: Array  # (term, term)
    clamped: Array  # (score, frame, chain): statistics, then the likelihood's calm score
    clamped_outer: Array  # (score, score)
    slopes: Array  # (score, fine): along the flows of the parameters of p_cf
    bend: Array  # (fine, fine): how the calm score changes with them where the latents are
    curvature: Array  # (fine, fine)
    changed: Array
    gap: Array
    failed: Array


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

    :param sweeps: sweeps to run, a traced integer; in whole turns of ``reader.thin``, at least one.
    :param first_frame: where the block of ``reader.block`` frames begins whose latents move.
    :param fresh: groups of ``FRESH`` chains of p_c that are cooled anew first: the number of the
        first group, counted around the chains, and how many.
    """
    program, sampler, latent_sampler, fine, block, _, thin = reader
    chains = over_devices(chains)
    turns = jnp.maximum(sweeps // thin, 1)
    boltzmann = program.boltzmann(u, x, conditions)
    potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)

    def natural(v: Array) -> Array:
        return program.natural(v, x, conditions)

    slope = jax.jacfwd(natural)(u)  # (term, u)
    frames = len(x)
    per_frame = chains.clamped.x.shape[-1] // frames
    free_chains = chains.free.x.shape[-1]
    observed = program.sites.latent_observed
    tiled = jnp.repeat(x, per_frame, axis=0)
    field: Any = None
    ready, latent_ready = sampler.prepare(potential, beta), latent_sampler.prepare(potential, beta)
    if not observed:
        field = over_devices(pulls(program, u, x, conditions, per_frame))
    latent = program.fixed[program.sites.latent] if observed else None

    control = latent is None and latent_sampler.force is not None and fine.size > 0

    def pulled(v: Array) -> Any:
        return pulls(program, u.at[fine].set(v), x, conditions, per_frame)

    def flows(v: Array, z: Array) -> Array:
        """Velocities of latents along the parameters of p_cf, ``(fine, axis, site, chain)``."""
        along = jnp.eye(fine.size, dtype=u.dtype)
        changes = jax.vmap(lambda e: jax.jvp(pulled, (v,), (e,))[1])(along)
        here = pulled(v)
        return jax.vmap(lambda change: here.flow(change, z))(changes)

    def calm(v: Array, z: Array, force: Array) -> Array:
        r"""What has the mean of the score of p_cf under q_i and hardly any of its variance, ``(fine, chain)``.

        Stein's identity (:mod:`bayescg.samplers.tethers`) gives :math:`\partial_v\log m_v(X)`, with m what the
        likelihood is as a density of latents, the mean of :math:`-\beta\,b_v\cdot\nabla U`, small where the data
        hold the latents tightly; for a variance :math:`\tfrac12(k|d|^2 - n)` that of
        :math:`-\tfrac12\beta\,d\cdot\nabla U`, with :math:`d = X - x` and n coordinates.
        """
        return jnp.sum(flows(v, z) * force, (1, 2))

    def fine_log_likelihood(v: Array, latent: Array) -> Array:
        return program.log_likelihood(u.at[fine].set(v), latent, tiled, conditions)

    def parts(z: Array) -> tuple[Array, Array]:
        """Statistics, then the score of p_cf that is calm where it can be, ``(score, chain)``; and the forces."""
        score, force = jax.jacfwd(fine_log_likelihood)(u[fine], z.T).T, jnp.zeros(())
        if control:
            assert latent_sampler.force is not None
            force = latent_sampler.force(z.astype(chains.clamped.x.dtype), latent_ready[0])
            force = force.astype(u.dtype)
            plain = jax.jacfwd(lambda v: pulled(v).log_density(z))(u[fine]).T
            score = score - plain + calm(u[fine], z, force)
        return jnp.concatenate([potential.statistics(z), score]), force

    def step_clamped(key: Array, state: Any) -> tuple[Any, ChainInfo]:
        if block is None:
            return latent_sampler.step(key, state, *latent_ready, field)
        order = (jnp.arange(block) + first_frame) % frames
        columns = (order[:, None] * per_frame + jnp.arange(per_frame)).ravel()
        part, pull = jax.tree.map(lambda a: a[..., columns], (state, field))
        part, info = latent_sampler.step(key, part, *latent_ready, pull)
        put = jax.tree.map(lambda a, b: a.at[..., columns].set(b), state, part)
        return put, info

    def sweep(i: Array, carry: tuple[Chains, ChainInfo, ChainInfo]) -> Any:
        chains, *told = carry
        k_free, k_clamped = jax.random.split(jax.random.fold_in(key, i))
        free, free_info = sampler.step(k_free, chains.free, *ready)
        if latent is None:
            clamped, info = step_clamped(k_clamped, chains.clamped)
        else:
            clamped, info = chains.clamped, silent
        new = ((free_info.changed, free_info.failed), (info.changed, info.failed))
        added = (
            ChainInfo(t.changed + c, t.failed + f) for t, (c, f) in zip(told, new, strict=True)
        )
        return Chains(free, clamped), *added

    silent = ChainInfo(jnp.zeros(()), jnp.zeros(()))

    def turn(i: Array, carry: tuple[Chains, _Sums]) -> tuple[Chains, _Sums]:
        chains, sums = carry
        chains, free_info, info = jax.lax.fori_loop(
            i * thin, (i + 1) * thin, sweep, (chains, silent, silent)
        )
        free, clamped = chains
        # All chains' numbers are added up in one order, wherever the chains are.
        phi = everywhere(potential.statistics(free.x).astype(u.dtype))
        # A chain in a place that cannot be measured (too dense for its sums) is left out while it is there.
        usable = jnp.all(jnp.isfinite(phi), 0)
        phi = jnp.where(usable, phi, 0.0)
        lost = jnp.sum(~usable) + free_chains * free_info.failed
        if latent is None:
            lost = lost + (block or frames) * per_frame * info.failed
        z = clamped.x.astype(u.dtype) if latent is None else jnp.repeat(latent, per_frame, axis=0).T
        curvature = -jax.hessian(lambda v: jnp.sum(fine_log_likelihood(v, z.T)))(u[fine])
        both, force = parts(z)
        both = everywhere(both)
        slopes, bend = sums.slopes, sums.bend
        if control:
            # Half of the chains to one side and half to the other, in turn: as good as each to both.
            way = jnp.where((i + jnp.arange(z.shape[-1])) % 2 == 0, RAY, -RAY)
            slopes = (
                slopes
                + jax.lax.map(
                    lambda b: jnp.sum((parts(z + way * b)[0] - both) / way, -1), flows(u[fine], z)
                ).T
            )
            bend = bend + jax.jacfwd(lambda v: jnp.sum(calm(v, z, force), -1))(u[fine])
        around = z.ndim == 3 and program.kept is None
        gap = jnp.mean((z.T - tiled) ** 2) if around else jnp.zeros(())
        return Chains(free, clamped), _Sums(
            sums.measured + usable,
            sums.free + phi,
            sums.free_outer + phi @ phi.T,
            sums.clamped + both.reshape(-1, frames, per_frame),
            sums.clamped_outer + both @ both.T,
            slopes,
            bend,
            sums.curvature + curvature,
            sums.changed + info.changed,
            sums.gap + gap,
            sums.failed + lost,
        )

    if sampler.at is None:
        chains = chains._replace(free=_renewed(reader, key, chains.free, potential, beta, fresh))
    terms = slope.shape[0]
    width = terms + fine.size
    zero = _Sums(
        jnp.zeros(free_chains, u.dtype),
        jnp.zeros((terms, free_chains), u.dtype),
        jnp.zeros((terms, terms), u.dtype),
        jnp.zeros((width, frames, per_frame), u.dtype),
        jnp.zeros((width, width), u.dtype),
        jnp.zeros((width, fine.size), u.dtype),
        jnp.zeros((fine.size, fine.size), u.dtype),
        jnp.zeros((fine.size, fine.size), u.dtype),
        jnp.zeros((), u.dtype),
        jnp.zeros((), u.dtype),
        jnp.zeros((), u.dtype),
    )
    chains, sums = jax.lax.fori_loop(0, turns, turn, (chains, zero))

    count = jnp.sum(sums.measured)
    mean = jnp.sum(sums.free, 1) / count
    free_spread = (sums.free - mean[:, None] * sums.measured) / count
    free_spread = free_spread * jnp.sqrt(free_chains / (free_chains - 1.0))
    # The square of an estimated mean is too large by the mean's own error, here and below.
    covariance = sums.free_outer / count - jnp.outer(mean, mean) + free_spread @ free_spread.T

    by_chain = sums.clamped / turns  # (score, frame, chain)
    by_frame = jnp.mean(by_chain, 2)
    spread = (by_chain - by_frame[:, :, None]).reshape(width, -1)
    spread = spread / np.sqrt(per_frame * max(per_frame - 1, 1))
    within = sums.clamped_outer / (turns * per_frame) - by_frame @ by_frame.T + spread @ spread.T
    curvature = sums.curvature / (turns * per_frame)
    if control:
        # What the calm score leaves out has with any f the covariance of f's mean slope along the flow:
        # Cov[f, score] = Cov[f, calm] + <b . grad f>.
        within = within.at[:, terms:].add(sums.slopes / (turns * per_frame))
        within = within.at[terms:, :terms].set(within[:terms, terms:].T)
        # The observed information of p_cf is -<d calm / dv> - Cov[calm, score]; flows of logarithms of variances
        # do not depend on them, and the first is then nothing.
        cross = within[terms:, terms:] + sums.bend / (turns * per_frame)
        within = within.at[terms:, terms:].set(curvature + 0.5 * (cross + cross.T))

    # From (statistics, score of p_cf) to coordinates of u.
    to_u = jnp.concatenate([beta * slope, jnp.eye(program.size, dtype=u.dtype)[fine]])  # (score, u)
    residual = jnp.sum(by_frame[:terms], 1) - frames * mean
    score = to_u.T @ jnp.concatenate([residual, jnp.sum(by_frame[terms:], 1)])
    bend = jax.hessian(lambda v: beta * (natural(v) @ residual))(u)
    fisher = frames * beta**2 * slope.T @ covariance @ slope
    fisher = fisher.at[jnp.ix_(fine, fine)].add(curvature)
    complete = fisher - bend
    root = jnp.concatenate([frames * beta * slope.T @ free_spread, to_u.T @ spread], 1)
    missing = to_u.T @ within @ to_u
    moved, gap = sums.changed / (turns * thin), sums.gap / turns
    mark = jnp.zeros_like(u).at[fine].set(1.0)
    out = Estimates(score, complete, fisher, missing, root, mean, moved, gap, mark, sums.failed)
    return everywhere(out), over_devices(chains)


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
