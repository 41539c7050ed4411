r"""Moves of what p_cf alone knows, with latent sites in space: centred, and with the latents going along.

The width :math:`\sigma` of x about X is known from X to :math:`1/\sqrt{2d}` of itself, with d the coordinates of all
frames: 0.01 for 20 frames of 100 sites. Its posterior, with X summed out, may be 30 times as wide, and whatever moves
:math:`\sigma` at fixed X then takes a thousand turns to cross it. So X goes along (non-centred, Papaspiliopoulos,
Roberts and Sköld, Stat. Sci. 22, 59 (2007)): where a step from :math:`\sigma` to :math:`\sigma'` takes
:math:`X - x` to :math:`(\sigma'/\sigma)(X - x)`, the likelihood stays what it is, and only the energy of X says how
far the step may be. Both kinds alternate (interweaving, Yu and Meng, J. Comput. Graph. Stat. 20, 531 (2011)).
"""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.program import Program
from bayescg.samplers.base import Sampler
from bayescg.samplers.tethers import Tether

__all__ = ["FIRST", "Ready", "interwoven"]

FIRST = (
    0.1,
    0.01,
)  # first steps in unconstrained coordinates: with X going along, and X where it is
ACCEPTED = 0.35  # rate that steps are adapted to
TOGETHER, ALONE = 2, 2  # steps of each kind after a move of X

Ready = tuple[Any, Array]  # what a sampler's ``prepare`` gives


def interwoven(
    program: Program,
    sampler: Sampler,
    fine: np.ndarray,
    key: Array,
    u: Array,
    latent: Any,
    log_scale: Array,
    ready: Ready,
    x: Array,
    conditions: dict[str, Array],
    gain: Array,
) -> tuple[Array, Any, Array]:
    """Metropolis steps of the coordinates ``fine`` of ``u (u,)``, of one chain.

    :param latent: the sampler's state of all frames.
    :param log_scale: logarithm of the length of both kinds of steps, ``(2,)``.
    :param gain: with which lengths adapt to their acceptance, 0 for not at all.
    :return: ``u``, the latents and the lengths afterwards.
    """
    assert sampler.energy is not None
    energy_of, tables = sampler.energy, ready[0]

    def log_prior(u: Array) -> Array:
        return program.log_prior(u, x, conditions) + program.log_jacobian(u)

    def tether(u: Array) -> Tether:
        # As the latents' kernel has it: distances are not folded into the box.
        return jax.tree.map(lambda a: a.T, program.pull(u, x, conditions))

    def log_likelihood(u: Array, X: Array) -> Array:  # X (axis, site, frame)
        return jnp.sum(tether(u).log_density(X))

    def energy(X: Array) -> Array:
        return jnp.sum(energy_of(X, tables).astype(u.dtype))

    def judged(key: Array, change: Array) -> tuple[Array, Array]:
        rate = jnp.minimum(1.0, jnp.exp(jnp.nan_to_num(change, nan=-jnp.inf)))
        return jax.random.uniform(key, (), u.dtype) < rate, rate

    def proposed(key: Array, u: Array, scale: Array) -> Array:
        return u.at[fine].add(jnp.exp(scale) * jax.random.normal(key, (len(fine),), u.dtype))

    Carry = tuple[Array, Array, Array, Array]

    def together(carry: Carry, key: Array) -> tuple[Carry, Array]:
        u, X, log_p, held = carry
        k_step, k_accept = jax.random.split(key)
        there = proposed(k_step, u, log_scale[0])
        old, new = tether(u), tether(there)
        moved = old.carried(new, X)
        ratio = jnp.sqrt(old.stiffness / new.stiffness)
        volume = jnp.sum(jnp.log(jnp.broadcast_to(ratio, X.shape)))
        e = energy(moved)
        log_q = log_prior(there) + log_likelihood(there, moved)
        accept, rate = judged(k_accept, log_q - log_p + volume - (e - held))
        out = [
            jnp.where(accept, a, b) for a, b in ((there, u), (moved, X), (log_q, log_p), (e, held))
        ]
        return (out[0], out[1], out[2], out[3]), rate

    def alone(carry: Carry, key: Array) -> tuple[Carry, Array]:
        u, X, log_p, held = carry
        k_step, k_accept = jax.random.split(key)
        there = proposed(k_step, u, log_scale[1])
        log_q = log_prior(there) + log_likelihood(there, X)
        accept, rate = judged(k_accept, log_q - log_p)
        return (jnp.where(accept, there, u), X, jnp.where(accept, log_q, log_p), held), rate

    X = latent.x.astype(u.dtype)
    carry = (u, X, log_prior(u) + log_likelihood(u, X), energy(X))
    k_alone, k_together = jax.random.split(key)
    carry, rate_alone = jax.lax.scan(alone, carry, jax.random.split(k_alone, ALONE))
    carry, rate_together = jax.lax.scan(together, carry, jax.random.split(k_together, TOGETHER))
    rates = jnp.stack([jnp.mean(rate_together), jnp.mean(rate_alone)])
    return (
        carry[0],
        latent._replace(x=carry[1].astype(latent.x.dtype)),
        log_scale + gain * (rates - ACCEPTED),
    )
