"""Sums over every configuration of a small spin ring."""

from functools import lru_cache

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp
import numpy as np

from bayescg.potentials.lattice import SpinBasis, SpinPotential, spin_statistics

__all__ = ["all_spins", "draw_states", "log_partition", "log_partition_in_field", "ring_orbits"]

MAX_SITES = 20


def check_sites(sites: int) -> None:
    """Refuse rings whose states cannot be listed.

    :raises ValueError: for more than 20 sites.
    """
    if sites > MAX_SITES:
        raise ValueError(
            f"enumeration needs at most {MAX_SITES} sites, got {sites}; "
            "use the transfer matrix (short range) or samples."
        )


@lru_cache(maxsize=4)
def all_spins(sites: int) -> np.ndarray:
    """Every configuration, ``(site, 2**sites)`` int8; site 0 is the top bit of the state's code."""
    check_sites(sites)
    codes = np.arange(2**sites)
    bits = (codes[None, :] >> np.arange(sites - 1, -1, -1)[:, None]) & 1
    return (2 * bits - 1).astype(np.int8)


@lru_cache(maxsize=8)
def ring_orbits(sites: int, mirror: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Configurations up to translation (and reflection), all that an invariant energy needs.

    :return: representatives ``(site, orbit)`` as int8; how many configurations each stands for,
        ``(orbit,)``; and the orbit of every configuration, ``(2**sites,)``.
    """
    check_sites(sites)
    codes = np.arange(2**sites, dtype=np.int64)
    mask = 2**sites - 1
    mirrored = np.zeros_like(codes)
    for i in range(sites):
        mirrored |= ((codes >> i) & 1) << (sites - 1 - i)
    smallest = np.minimum(codes, mirrored) if mirror else codes.copy()
    images = (codes, mirrored) if mirror else (codes,)
    for s in range(1, sites):
        for c in images:
            np.minimum(smallest, ((c << s) | (c >> (sites - s))) & mask, out=smallest)
    orbit, inverse, count = np.unique(smallest, return_inverse=True, return_counts=True)
    return all_spins(sites)[:, orbit], count, inverse


@lru_cache(maxsize=8)
def orbit_statistics(basis: SpinBasis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistics ``(term, orbit)``, log counts ``(orbit,)`` and the orbit of every state."""
    spins, count, inverse = ring_orbits(basis.sites, basis.mirror_symmetric)
    with jax.ensure_compile_time_eval():
        statistics = np.asarray(spin_statistics(basis, jnp.asarray(spins, jnp.result_type(float))))
    return statistics, np.log(count), inverse


def orbit_log_weights(potential: SpinPotential, beta: Array) -> Array:
    """``-beta U`` of every orbit, shape ``(orbit,)``, from the stored statistics."""
    statistics, _, _ = orbit_statistics(potential.basis)
    return beta * (potential.natural() @ statistics)


def log_partition(potential: SpinPotential, beta: Array) -> Array:
    """Exact ``log Z``."""
    _, log_count, _ = orbit_statistics(potential.basis)
    return logsumexp(orbit_log_weights(potential, beta) + log_count)


def log_partition_in_field(potential: SpinPotential, beta: Array, field: Array) -> Array:
    r"""Exact :math:`\log \sum_X \exp\{-\beta U(X) + \sum_i h_i X_i\}` for many fields.

    The field factorises over the two halves of the ring, so that after one table of
    :math:`e^{-\beta U}` all frames are a single product of matrices.

    :param field: ``h``, shape ``(frame, site)``.
    :return: shape ``(frame,)``.
    """
    sites = potential.basis.sites
    left = sites // 2
    _, _, orbit = orbit_statistics(potential.basis)
    log_weight = orbit_log_weights(potential, beta)
    top = jax.lax.stop_gradient(jnp.max(log_weight))
    table = jnp.exp(log_weight - top)[orbit].reshape(2**left, 2 ** (sites - left))

    def half(h: Array) -> Array:
        spins = all_spins(h.shape[1]) if h.shape[1] else np.ones((0, 1))
        return jnp.exp(h @ spins - jnp.sum(jnp.abs(h), 1, keepdims=True))

    total = jnp.sum((half(field[:, :left]) @ table) * half(field[:, left:]), 1)
    return jnp.log(total) + top + jnp.sum(jnp.abs(field), 1)


def draw_states(
    key: Array, potential: SpinPotential, beta: Array, field: Array | None, samples: int
) -> Array:
    """Independent configurations, ``(site, sample)`` int8; ``field (site, sample)`` or None."""
    spins = all_spins(potential.basis.sites)
    _, _, orbit = orbit_statistics(potential.basis)
    log_weight = orbit_log_weights(potential, beta)[orbit]
    if field is None:
        # Inversion of the cumulative sum: a sample costs a binary search, not a pass over states.
        cumulative = jnp.cumsum(jax.nn.softmax(log_weight))
        u = jax.random.uniform(key, (samples,), cumulative.dtype, maxval=cumulative[-1])
        return jnp.asarray(spins)[:, jnp.searchsorted(cumulative, u)]

    def one(inputs: tuple[Array, Array]) -> Array:
        key, h = inputs
        return jax.random.categorical(key, log_weight + h @ spins)

    codes = jax.lax.map(one, (jax.random.split(key, samples), field.T), batch_size=64)
    return jnp.asarray(spins)[:, codes]
