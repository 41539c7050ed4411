"""Whether a posterior under an improper prior has a maximum at all."""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.special import softmax

from bayescg.infer.mcem import MCEMResult
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.reweighting import COOLING, run_statistics
from bayescg.samplers.base import Sampler, cooled
from bayescg.system import Batch

__all__ = ["endless"]

CHAINS = 256  # of p_c
CLAMPED = 960  # of all q_i together, and at least 16 of each
SAMPLES = 64  # of each chain of p_c, a quarter of that of each of q_i
ITERATIONS = 60


def endless(
    result: MCEMResult,
    sampler: Sampler,
    batch: Batch,
    fixed: dict[str, np.ndarray],
    coefficients: tuple[str, ...],
    key: Array,
    limit: float,
    progress: Progress | None = None,
) -> np.ndarray:
    r"""Members whose optimum is at infinity, ``(member,)``.

    Where some combination of features never occurs in the data, the likelihood of an exponential
    family climbs for ever along it, ever more slowly: score and information vanish together, and
    the Newton step measured in standard deviations gets as small as any stopping rule asks. Without
    Monte Carlo noise the two cases part: from a summit Newton steps soon stop, on an endless slope
    each is as long as the one before. So samples are drawn once where the fit stopped, and the
    reweighted log-likelihood of the coefficients,

    .. math:: \sum_i\log\langle e^{\delta\cdot\phi}\rangle_{q_i} - N\log\langle e^{\delta\cdot\phi}\rangle_{p_c},

    a deterministic function of the shift :math:`\delta` of beta times the coefficients, is climbed.
    The optimum is at infinity if the climb, or one standard deviation at its end, passes ``limit``.

    :param sampler: kernel for the latent site.
    :param fixed: values the program is conditioned on, ``(member, ...)``.
    :param coefficients: sites that the latent potential depends on; only improper ones are looked at.
    :param limit: in beta times the coefficient.
    """
    progress = progress or Silent()
    program = result.program
    sites = [k for k in coefficients if k in program.improper]
    frames = batch.x.shape[1]
    chains = max(16, CLAMPED // frames)
    loose = np.concatenate([np.zeros(0, int), *(program.coordinates(k) for k in sites)])
    if not loose.size:
        return np.zeros(len(result.u), bool)

    @jax.jit
    def sample(
        key: Array, u: Array, x: Array, conditions: dict[str, Array], fixed: dict[str, Array]
    ) -> tuple[Array, Array]:
        """Statistics of the coefficients: ``(sample, u)`` of p_c, ``(frame, sample, u)`` of q_i."""
        given = program.given(fixed)
        boltzmann = given.boltzmann(u, x, conditions)
        potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)
        slope = jax.jacfwd(lambda v: given.natural(v, x, conditions))(u)
        slope = slope[:, loose]
        keys = jax.random.split(key, 4)
        state = cooled(sampler, keys[0], CHAINS, potential, beta, COOLING)
        phi, _ = run_statistics(sampler, keys[1], state, potential, beta, None, SAMPLES)
        free = jnp.moveaxis(phi, 1, 2).reshape(-1, phi.shape[1]) @ slope
        if given.sites.latent_observed:
            latent = given.fixed[given.sites.latent]
            return free, (potential.statistics(latent.T).T @ slope)[:, None]
        h, _ = given.field(u, x, conditions)
        field = jnp.repeat(h, chains, axis=0).T
        state = cooled(sampler, keys[2], frames * chains, potential, beta, COOLING, field)
        phi, _ = run_statistics(sampler, keys[3], state, potential, beta, field, SAMPLES // 4)
        phi = jnp.moveaxis(phi.reshape(*phi.shape[:2], frames, chains), (2, 0, 3, 1), (0, 1, 2, 3))
        return free, phi.reshape(frames, -1, phi.shape[-1]) @ slope

    out = np.zeros(len(result.u), bool)
    for m, one in enumerate(jax.random.split(key, len(out))):
        if np.isfinite(result.u[m]).all():
            free, clamped = sample(
                one,
                jnp.asarray(result.u[m]),
                jnp.asarray(batch.x[m], float),
                {k: jnp.asarray(v[m], float) for k, v in batch.conditions.items()},
                {k: jnp.asarray(v[m], float) for k, v in fixed.items()},
            )
            out[m] = _climbs_past(np.asarray(free), np.asarray(clamped), limit)
        progress.update("far side", (m + 1) / len(out), {"members": m + 1})
    return out


def _climbs_past(free: np.ndarray, clamped: np.ndarray, limit: float) -> bool:
    """Climb the reweighted log-likelihood; whether it leads past ``limit``.

    :param free: samples of p_c, ``(sample, term)``; ``clamped`` of each q_i, ``(frame, sample, term)``.
    """
    frames, width = len(clamped), free.shape[1]
    shift = np.zeros(width)
    for _ in range(ITERATIONS):
        w, v = softmax(free @ shift), softmax(clamped @ shift, axis=1)
        mean = w @ free
        by_frame = np.einsum("fs,fst->ft", v, clamped)
        score = by_frame.sum(0) - frames * mean
        complete = frames * ((free * w[:, None]).T @ free - np.outer(mean, mean))
        missing = np.einsum("fs,fst,fsr->tr", v, clamped, clamped, optimize=True)
        missing -= by_frame.T @ by_frame
        # In units of the complete information, the missing one held below 95 % as MC-EM does.
        floor = 1e-6 * np.eye(width)  # far below the limit on the information
        lam, axes = scipy.linalg.eigh(missing, complete + floor)
        kept = 1.0 - np.clip(lam, 0.0, 0.95)
        step = axes @ ((axes.T @ score) / kept)
        step *= min(1.0, 1.0 / max(np.abs(step).max(), 1e-300))
        shift += step
        if np.abs(shift).max() > limit:
            return True
        if np.abs(step).max() < 1e-6:
            break
    back = np.linalg.inv(axes.T)
    information = (back * kept) @ back.T
    return bool(np.linalg.eigvalsh(information)[0] < limit**-2)
