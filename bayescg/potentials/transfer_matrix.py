r"""Transfer matrix of a periodic spin lattice of finite range.

A state is ``r`` consecutive spins (``r`` the range of the potential), as bits with the oldest
spin on top. Adding a spin moves from state ``s`` to ``(2 s + b) mod 2^r`` with weight
``exp(beta e)``, where ``e`` collects the products whose window ends on the new spin. The
partition function of a ring of ``n`` sites is :math:`\operatorname{tr} T^n`.
"""

from functools import lru_cache

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.potentials.lattice import SpinBasis, SpinPotential, _reduced, _shifted

__all__ = [
    "log_partition",
    "log_partition_in_field",
    "log_powers",
    "log_transfer",
    "ring_moments",
    "sample_ring",
    "sample_ring_in_field",
]

TOGETHER = 2**14  # numbers of the paths of frames that are summed over together
MAX_RANGE = 10  # states 2**10: a dense matrix of a million entries


def check_range(basis: SpinBasis) -> int:
    """Range of a basis that the transfer matrix can treat; raises ``ValueError`` otherwise."""
    r = max(basis.range, 1)
    if r > MAX_RANGE:
        raise ValueError(
            f"the transfer matrix needs a range of at most {MAX_RANGE} sites, got {r}; "
            "use enumeration (at most 20 sites) or samples."
        )
    if basis.sites <= r:
        raise ValueError(
            f"the transfer matrix needs more sites than the range, got {basis.sites} sites and "
            f"range {r}; use enumeration."
        )
    return r


@lru_cache(maxsize=32)
def _window_statistics(basis: SpinBasis) -> np.ndarray:
    """Statistics that each window of ``r + 1`` spins adds, shape ``(term, 2**(r + 1))``."""
    r = check_range(basis)
    codes = np.arange(2 ** (r + 1))
    spin = 2 * ((codes[None, :] >> np.arange(r, -1, -1)[:, None]) & 1) - 1  # oldest first
    out = [spin[r].astype(float)]
    for feature in basis.features:
        total = np.zeros(codes.size)
        for offsets, weight in zip(feature.products, feature.weights, strict=True):
            window = _shifted(_reduced(offsets, basis.sites), basis.sites)
            last = window[-1] if window else 0
            total += weight * np.prod([spin[r - (last - o)] for o in window], axis=0)
        out.append(total)
    return np.stack(out)


def log_transfer(potential: SpinPotential, beta: Array) -> Array:
    """Log weights of the moves, shape ``(state, 2)``: from a state, by the new spin's bit."""
    r = check_range(potential.basis)
    weights = beta * (potential.natural() @ _window_statistics(potential.basis))
    # The window code is (oldest r bits, new bit) = 2 * state + bit.
    return weights.reshape(2**r, 2)


def _dense(log_moves: Array) -> tuple[Array, Array]:
    """The transfer matrix ``(state, state)`` scaled to a largest entry of 1, and the log scale."""
    states = log_moves.shape[0]
    scale = jnp.max(log_moves)
    moves = jnp.exp(log_moves - scale)
    s = np.arange(states)
    matrix = jnp.zeros((states, states), moves.dtype)
    for bit in (0, 1):
        matrix = matrix.at[s, (2 * s + bit) % states].add(moves[:, bit])
    return matrix, scale


def log_partition(potential: SpinPotential, beta: Array) -> Array:
    """Exact ``log Z`` of the ring, by repeated squaring; differentiable.

    Where couplings are so strong that every closed path underflows against the open ones
    (factors of 1e-308), it is ``+inf``: log Z is not known there, and the density is zero.
    """
    matrix, scale = _dense(log_transfer(potential, beta))
    n = potential.basis.sites
    result, log_result = None, jnp.zeros((), matrix.dtype)
    power, log_power = matrix, scale
    while n:
        if n & 1:
            result = power if result is None else result @ power
            log_result = log_result + log_power
            result, extra = _rescaled(result)
            log_result = log_result + extra
        n >>= 1
        if n:
            power, extra = _rescaled(power @ power)
            log_power = 2.0 * log_power + extra
    assert result is not None  # a ring has at least one site
    trace = jnp.trace(result)
    known = trace > 0.0
    return jnp.where(known, jnp.log(jnp.where(known, trace, 1.0)) + log_result, jnp.inf)


def _rescaled(matrix: Array) -> tuple[Array, Array]:
    top = jax.lax.stop_gradient(jnp.max(matrix))
    top = jnp.where(top > 0.0, top, 1.0)
    return matrix / top, jnp.log(top)


def log_partition_in_field(potential: SpinPotential, beta: Array, field: Array) -> Array:
    r"""Exact :math:`\log \sum_X \exp\{-\beta U(X) + \sum_i h_i X_i\}` for many fields.

    :param field: ``h``, shape ``(frame, site)``.
    :return: shape ``(frame,)``.
    """
    log_moves = log_transfer(potential, beta)
    scale = jnp.max(log_moves)
    moves = jnp.exp(log_moves - scale)  # (state, 2)
    states = moves.shape[0]

    def one(h: Array) -> Array:
        def add_spin(carry: tuple[Array, Array], h_i: Array) -> tuple[tuple[Array, Array], None]:
            paths, log_scale = carry  # paths[start, state]
            up = jnp.abs(h_i)
            weight = moves * jnp.exp(jnp.array([-1.0, 1.0]) * h_i - up)
            spread = (paths[:, :, None] * weight).reshape(states, 2, states // 2, 2)
            # (old top bit dropped, rest, new bit): states that differ in the oldest spin meet.
            paths, extra = _rescaled(jnp.sum(spread, 1).reshape(states, states))
            return (paths, log_scale + extra + up), None

        start = (jnp.eye(states, dtype=moves.dtype), jnp.zeros((), moves.dtype))
        (paths, log_scale), _ = jax.lax.scan(add_spin, start, h)
        trace = jnp.trace(paths)
        known = trace > 0.0  # else so small that it underflows
        return jnp.where(known, jnp.log(jnp.where(known, trace, 1.0)) + log_scale, -jnp.inf)

    # As many frames side by side as their paths fit into a fast cache.
    together = max(1, min(len(field), TOGETHER // states**2))
    return jax.lax.map(one, field, batch_size=together) + potential.basis.sites * scale


def log_powers(potential: SpinPotential, beta: Array) -> tuple[Array, Array]:
    """Scaled powers ``T^0 ... T^n``, shape ``(n + 1, state, state)``, and their log scales."""
    matrix, scale = _dense(log_transfer(potential, beta))

    def multiply(
        carry: tuple[Array, Array], _: None
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        power, log_scale = carry
        power, extra = _rescaled(power @ matrix)
        new = (power, log_scale + scale + extra)
        return new, new

    start = (jnp.eye(matrix.shape[0], dtype=matrix.dtype), jnp.zeros((), matrix.dtype))
    _, (powers, scales) = jax.lax.scan(multiply, start, None, length=potential.basis.sites)
    return jnp.concatenate([start[0][None], powers]), jnp.concatenate([start[1][None], scales])


def ring_moments(potential: SpinPotential, beta: Array) -> tuple[Array, Array]:
    r"""Exact :math:`\langle x_i\rangle` and :math:`\langle x_i x_{i+k}\rangle`, ``k = 1 .. n/2``.

    :return: a scalar and an array ``(separation,)``.
    """
    powers, scales = log_powers(potential, beta)
    n, states = potential.basis.sites, powers.shape[1]
    newest = 2.0 * (jnp.arange(states) & 1) - 1.0
    z = jnp.trace(powers[n])
    mean = jnp.sum(newest * jnp.diagonal(powers[n])) / z

    def correlation(k: Array) -> Array:
        # tr(S T^k S T^(n-k)), by the two scaled powers
        pair = jnp.sum((newest[:, None] * powers[k] * newest[None, :]) * powers[n - k].T)
        return pair / z * jnp.exp(scales[k] + scales[n - k] - scales[n])

    return mean, jax.lax.map(correlation, jnp.arange(1, n // 2 + 1))


def sample_ring(key: Array, potential: SpinPotential, beta: Array, samples: int) -> Array:
    """Independent exact samples of the ring, shape ``(site, sample)``, as int8 spins.

    The state after site 0 is drawn from the diagonal of ``T^n``; each next spin is drawn given
    the last state and that the ring must close.
    """
    powers, _ = log_powers(potential, beta)
    log_moves = log_transfer(potential, beta)
    moves = jnp.exp(log_moves - jnp.max(log_moves))
    n, states = potential.basis.sites, powers.shape[1]
    first_key, key = jax.random.split(key)
    closing = jnp.log(jnp.maximum(jnp.diagonal(powers[n]), 0.0))
    first = jax.random.categorical(first_key, closing, shape=(samples,))

    def add_spin(state: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        key, remaining = inputs
        nexts = [(2 * state + b) % states for b in (0, 1)]
        weight = [moves[state, b] * powers[remaining, nexts[b], first] for b in (0, 1)]
        up = (
            jax.random.uniform(key, (samples,), weight[0].dtype) * (weight[0] + weight[1])
            < weight[1]
        )
        return jnp.where(up, nexts[1], nexts[0]), up

    keys = jax.random.split(key, n)
    remaining = jnp.arange(n - 1, -1, -1)
    _, up = jax.lax.scan(add_spin, first, (keys, remaining))
    return 2 * up.astype(jnp.int8) - 1


def sample_ring_in_field(key: Array, potential: SpinPotential, beta: Array, field: Array) -> Array:
    r"""One exact draw of :math:`\exp\{-\beta U(X) + \sum_i h_i X_i\}` for each field.

    :param field: ``h``, shape ``(site, sample)``.
    :return: spins ``(site, sample)``, int8.
    """
    log_moves = log_transfer(potential, beta)
    moves = jnp.exp(log_moves - jnp.max(log_moves))
    states = moves.shape[0]
    s = np.arange(states)
    after = np.stack([(2 * s + b) % states for b in (0, 1)], 1)  # (state, bit)
    sign = jnp.array([-1.0, 1.0])

    def one(inputs: tuple[Array, Array]) -> Array:
        key, h = inputs
        first_key, key = jax.random.split(key)

        def backward(to_end: Array, h_i: Array) -> tuple[Array, Array]:
            weight = moves * jnp.exp(sign * h_i - jnp.abs(h_i))
            new = jnp.sum(weight[:, :, None] * to_end[after], 1)  # (state, end)
            return _rescaled(new)[0], to_end

        closing, to_end = jax.lax.scan(
            backward, jnp.eye(states, dtype=moves.dtype), h, reverse=True
        )
        first = jax.random.categorical(first_key, jnp.log(jnp.diagonal(closing)))

        def add_spin(state: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            key, h_i, remaining = inputs
            tilt = jnp.exp(sign * h_i - jnp.abs(h_i))
            weight = moves[state] * tilt * remaining[jnp.asarray(after)[state], first]
            up = jax.random.uniform(key, (), weight.dtype) * jnp.sum(weight) < weight[1]
            return jnp.asarray(after)[state, up.astype(int)], up

        keys = jax.random.split(key, h.shape[0])
        _, up = jax.lax.scan(add_spin, first, (keys, h, to_end))
        return 2 * up.astype(jnp.int8) - 1

    return jax.lax.map(one, (jax.random.split(key, field.shape[1]), field.T), batch_size=64).T
