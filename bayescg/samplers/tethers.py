r"""What data exert on latent sites in space, :math:`\log p_{cf}(x \mid X)` as a function of X.

Arrays are in the layout of samplers, with the chain axis last; :meth:`bayescg.infer.program.Program.pull` gives the
same transposed, with the frame first. Beside densities these know the *flow* of a parameter v of p_cf: the velocity
:math:`b_v(X)` by which the density :math:`m_v(X)` of latents that nothing else acts on changes with v,

.. math:: \partial_v m_v = -\nabla\cdot(m_v b_v).

By Stein's identity, for latents under the forces :math:`F = -\beta\nabla U` as well and any function f of them,

.. math:: \langle f\,\partial_v\log m_v\rangle = \langle f\, b_v\cdot F\rangle + \langle b_v\cdot\nabla f\rangle,

with which a score is estimated from what F does to the latents alone. For :math:`m = N(x, \sigma^2)` and
:math:`v = \log\sigma^2` the flow is :math:`\tfrac12(X - x)`.
"""

from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import erf, erfc
import numpy as np

__all__ = ["Held", "Tether", "TetherMixture"]

SMALL = 0.1  # standard deviations, below which a series says how many are within
TAIL = 2.0  # standard deviations of the widest, beyond which those outside are counted
LEAST = 1e-30  # angstrom^2, of a distance that is divided by


class Tether(NamedTuple):
    r"""A normal likelihood, :math:`-\tfrac12\sum_{ja} k_{ja} (X_{ja} - c_{ja})^2`.

    The stiffness has any shape that broadcasts against the centre: one of each chain, or with axes of size 1 or more
    for the axis and the site before it.
    """

    centre: Array  # (axis, site, chain), angstrom
    stiffness: Array  # (chain,) or (axis or 1, site or 1, chain), 1/angstrom^2

    def drawn(self, key: Array, x: Array) -> "Tether":
        """Itself: there is nothing to draw."""
        return self

    def log_density(self, x: Array) -> Array:
        """Of latents ``x``, ``(chain,)``, normalised but for powers of 2 pi."""
        gap = x - self.centre
        whole = 0.5 * (jnp.log(self.stiffness) - self.stiffness * gap * gap)
        return jnp.sum(jnp.broadcast_to(whole, x.shape), (0, 1))

    def flow(self, change: "Tether", x: Array) -> Array:
        """Velocity of latents ``x`` along a parameter that changes the tether by ``change``, as ``x``."""
        narrowing = change.stiffness / self.stiffness
        return change.centre - 0.5 * narrowing * (x - self.centre)

    def carried(self, after: "Tether", x: Array) -> Array:
        """Where latents go along as this becomes ``after``: as far from the centre in standard deviations."""
        return after.centre + jnp.sqrt(self.stiffness / after.stiffness) * (x - self.centre)

    def variance(self) -> Array:
        """Of a coordinate, averaged over axes and sites, ``(chain,)``."""
        width = 1.0 / self.stiffness
        return width if width.ndim == 1 else jnp.mean(width, (0, 1))

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Displacements ``(axis, site, ...)`` of the first chain, over the root of :meth:`variance`."""
        scale = jnp.sqrt(1.0 / self.stiffness[..., 0]) / jnp.sqrt(self.variance()[0])
        scale = scale.reshape(*scale.shape, *(1,) * (len(shape) - scale.ndim))
        return scale * jax.random.normal(key, shape)


class TetherMixture(NamedTuple):
    r"""A mixture of normals for every site, :math:`\sum_j \log\sum_k w_k N(X_j \mid c_j, k_k^{-1} I)`.

    Given which component each site belongs to it is a :class:`Tether`, and given the latents those are independent:
    a kernel that draws them anew (:meth:`drawn`) before it moves the latents leaves the mixture's density as it is.
    """

    centre: Array  # (axis, site, chain), angstrom
    stiffness: Array  # (component, chain), 1/angstrom^2
    log_weight: Array  # (component, chain)

    def log_parts(self, x: Array) -> Array:
        """Log density of each site in each component, ``(component, site, chain)``, its weight counted in."""
        square = jnp.sum((x - self.centre) ** 2, 0)
        k = self.stiffness[:, None]
        return self.log_weight[:, None] + 0.5 * len(x) * jnp.log(k) - 0.5 * k * square

    def drawn(self, key: Array, x: Array) -> Tether:
        """The tether of components that are drawn given latents ``x``."""
        component = jax.random.categorical(key, self.log_parts(x), axis=0)  # (site, chain)
        stiffness = jnp.take_along_axis(self.stiffness, component, axis=0)
        return Tether(self.centre, stiffness[None])

    def log_density(self, x: Array) -> Array:
        """Of latents ``x``, ``(chain,)``, normalised but for powers of 2 pi."""
        return jnp.sum(jax.nn.logsumexp(self.log_parts(x), axis=0), 0)

    def flow(self, change: "TetherMixture", x: Array) -> Array:
        r"""Velocity of latents ``x`` along a parameter that changes the mixture by ``change``, as ``x``.

        Widths move what belongs to them. A weight that grows draws mass from the other components: along the radius,
        as much through each sphere as the change leaves short within it,

        .. math:: 4\pi r^2 m(r)\,b(r) = -\sum_k \dot w_k\,P_k(|d| < r).
        """
        gap = x - self.centre
        parts = self.log_parts(x)
        narrowing = (change.stiffness / self.stiffness)[:, None]
        along = -0.5 * jnp.sum(jax.nn.softmax(parts, axis=0) * narrowing, 0)
        square = jnp.maximum(jnp.sum(gap * gap, 0), LEAST)
        t = jnp.sqrt(self.stiffness[:, None] * square)
        growth = (jnp.exp(self.log_weight) * change.log_weight)[:, None]
        # They add up to zero: far out, where all are within, what is outside is left of the sum.
        short = jnp.where(
            jnp.min(t, 0) > TAIL, jnp.sum(growth * _outside(t), 0), -jnp.sum(growth * _within(t), 0)
        )
        density = jnp.exp(jax.nn.logsumexp(parts, axis=0)) * (2.0 * np.pi) ** -1.5
        along = along + short / (4.0 * np.pi * square**1.5 * density)
        return change.centre + along * gap

    def carried(self, after: "TetherMixture", x: Array) -> Array:
        """About where latents go along as this becomes ``after``: with the widths they are likely to belong to."""
        ratio = jnp.sqrt(self.stiffness / after.stiffness)[:, None]
        share = jax.nn.softmax(self.log_parts(x), axis=0)
        return after.centre + jnp.sum(share * ratio, 0) * (x - self.centre)

    def variance(self) -> Array:
        """Of a coordinate, ``(chain,)``."""
        return jnp.sum(jnp.exp(self.log_weight) / self.stiffness, 0)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Displacements ``(axis, site, ...)`` of the first chain, over the root of :meth:`variance`."""
        pick, key = jax.random.split(key)
        component = jax.random.categorical(pick, self.log_weight[:, 0], shape=shape[1:])
        width = (1.0 / self.stiffness[:, 0])[component] / self.variance()[0]
        return jnp.sqrt(width) * jax.random.normal(key, shape)


class Held(NamedTuple):
    """Data that hold some sites where they are, and say nothing of the others: virtual sites move among them."""

    at: Array  # (axis, site, chain), angstrom; of sites that are not held any place
    free: Array  # (site, chain), 0 for a site that is held, 1 for one that moves


def _outside(t: Array) -> Array:
    """Probability of a normal in space to lie farther than ``t`` standard deviations from its centre."""
    return erfc(t / np.sqrt(2.0)) + np.sqrt(2.0 / np.pi) * t * jnp.exp(-0.5 * t * t)


def _within(t: Array) -> Array:
    """And nearer than ``t``; to rounding also where next to nothing is."""
    t2 = t * t
    series = t**3 * (1 / 3 - t2 * (1 / 10 - t2 * (1 / 56 - t2 * (1 / 432 - t2 / 4224))))
    exact = erf(t / np.sqrt(2.0)) - np.sqrt(2.0 / np.pi) * t * jnp.exp(-0.5 * t2)
    return jnp.where(t < SMALL, np.sqrt(2.0 / np.pi) * series, exact)
