r"""The Stillinger-Weber three-body term, by moments of each site's neighbours.

Many configurations are done at once over lists of neighbours, the chain axis last. Only one pair in
fourteen of liquid water lies within the range of the term, so a list costs less than it saves. Each
stage is a loop of its own: a value that several sums need is then stored, where one fused loop would
compute it again for each of them.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jax.typing import ArrayLike
import numpy as np

from bayescg.potentials.neighbours import capacity_for, neighbours, separations
from bayescg.space import Box

__all__ = [
    "StillingerWeber",
    "Sums",
    "ThreeBody",
    "three_body_energy",
    "three_body_forces",
    "three_body_parts",
]


@register_dataclass
@dataclass(frozen=True)
class StillingerWeber:
    r"""Three-body term of Stillinger and Weber (PCG paper, Eqs. B.1-B.2),

    .. math:: \lambda\epsilon\sum_j\sum_{k<l} (\cos\eta_{jkl} - \cos\eta_0)^2 g(r_{jk})\,g(r_{jl}),
              \qquad g(r) = e^{\gamma\sigma/(r - a_3\sigma)},\; r < a_3\sigma .

    The square is a polynomial in the cosine, so the double sum over the neighbours of a site is one
    of products of its moments :math:`m_0 = \sum g,\ m_1 = \sum g\,u,\ m_2 = \sum g\,u u^T`, less the
    diagonal :math:`k = l`:

    .. math:: \tfrac12\bigl[m_2{:}m_2 - 2\cos\eta_0\,m_1{\cdot}m_1 + \cos^2\eta_0\,m_0^2
              - (1 - \cos\eta_0)^2 \textstyle\sum g^2\bigr].

    :param strength: :math:`\lambda\epsilon`, kcal/mol, a scalar; None for the form alone.
    :param cosine: :math:`\cos\eta_0`; static, as are the next three.
    :param gamma: :math:`\gamma`.
    :param a: :math:`a_3`, the range of g in units of sigma.
    :param sigma: angstrom; the other parameters are pure numbers.
    """

    strength: ArrayLike | None
    cosine: float = field(default=-0.487217, metadata={"static": True})
    gamma: float = field(default=0.291321, metadata={"static": True})
    a: float = field(default=0.586097, metadata={"static": True})
    sigma: float = field(default=6.4144, metadata={"static": True})

    @property
    def cutoff(self) -> float:
        """Range of ``g``, angstrom; every derivative vanishes there."""
        return self.a * self.sigma

    def natural(self) -> Array:
        """Coefficient with its sign turned, ``(1,)``."""
        assert self.strength is not None
        return -jnp.reshape(jnp.asarray(self.strength, jnp.result_type(float)), 1)

    def weight(self, r: Array) -> Array:
        """``g(r)``."""
        gap = jnp.minimum(r - self.cutoff, -1e-6)
        return jnp.where(r < self.cutoff, jnp.exp(self.gamma * self.sigma / gap), 0.0)

    def statistics(self, x: Array, box: Box) -> Array:
        """The double sum at strength 1, ``(1, *batch)``, of ``x (axis, site, *batch)``.

        NaN for a configuration so crowded that its lists of neighbours run over.
        """
        batch = x.shape[2:]
        x = x.reshape(*x.shape[:2], -1)
        edges = tuple(np.asarray(box, float).tolist())
        # On the way to an optimum a liquid can be far denser in places than it will be at the end.
        capacity = capacity_for(x.shape[1], edges, self.cutoff, crowding=3.0)
        near, most = neighbours(jax.lax.stop_gradient(x), box, self.cutoff, capacity)
        parts = three_body_parts(self, x, jnp.asarray(box, x.dtype), near)
        total = jnp.where(most > capacity, jnp.nan, three_body_energy(self, parts))
        return total.reshape(1, *batch)


#: Three components of the forces that act where a row begins, and of their reactions.
Sums = tuple[tuple[Array, ...], tuple[Array, ...]]


class ThreeBody(NamedTuple):
    """What forces and energies share; ``(neighbour, site, chain)`` unless said otherwise."""

    d: tuple[Array, ...]  # 3 separations, angstrom
    inverse: Array  # 1/r
    g: Array
    m0: Array  # (site, chain)
    m1: tuple[Array, ...]  # 3 of (site, chain)
    m2: tuple[Array, ...]  # xx, yy, zz, yz, xz, xy


def three_body_parts(form: StillingerWeber, x: Array, box: Array, near: Array) -> ThreeBody:
    """Separations, weights and moments of the neighbours in a list."""
    sites, chains = x.shape[1:]

    def gather(_: None, places: Array) -> tuple[None, tuple[Array, ...]]:
        return None, separations(x, box, places, 2.0 * form.cutoff)

    _, d = jax.lax.scan(gather, None, near)

    def weigh(_: None, d: tuple[Array, ...]) -> tuple[None, tuple[Array, Array]]:
        inverse = jax.lax.rsqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
        gap = jnp.minimum(1.0 / inverse - form.cutoff, -1e-3)
        return None, (inverse, jnp.exp(form.gamma * form.sigma / gap))

    _, (inverse, g) = jax.lax.scan(weigh, None, d)

    def add(sums: tuple[Array, ...], row: tuple[Array, ...]) -> tuple[tuple[Array, ...], None]:
        dx, dy, dz, inverse, g = row
        one = g * inverse
        two = one * inverse
        new = [g, one * dx, one * dy, one * dz, two * dx * dx, two * dy * dy, two * dz * dz]
        new += [two * dy * dz, two * dx * dz, two * dx * dy]
        return tuple(a + b for a, b in zip(sums, new, strict=True)), None

    none = jnp.zeros((sites, chains), x.dtype)
    zero: tuple[Array, ...] = (none,) * 10
    sums, _ = jax.lax.scan(add, zero, (*d, inverse, g))
    return ThreeBody(d, inverse, g, sums[0], sums[1:4], sums[4:])


def three_body_energy(form: StillingerWeber, parts: ThreeBody) -> Array:
    """The double sum at strength 1, ``(chain,)``."""
    c = form.cosine
    xx, yy, zz, yz, xz, xy = parts.m2
    total = xx * xx + yy * yy + zz * zz + 2.0 * (yz * yz + xz * xz + xy * xy)
    total = total - 2.0 * c * sum(m * m for m in parts.m1) + c * c * parts.m0**2
    total = total - (1.0 - c) ** 2 * jnp.sum(parts.g * parts.g, 0)
    return 0.5 * jnp.sum(total, 0)


def three_body_forces(
    form: StillingerWeber, strength: Array, parts: ThreeBody, near: Array
) -> Array:
    r"""Forces, ``(axis, site, chain)``, in the units of ``strength`` over angstrom.

    With :math:`u` from a centre to a neighbour and :math:`w = m_2 u - c\,m_1`, the energy of the centre
    pulls the neighbour with

    .. math:: -\lambda\epsilon\Bigl[g'\bigl(u{\cdot}w - c\,u{\cdot}m_1 + c^2m_0 - (1-c)^2g\bigr)u
              + \frac{2g}{r}\bigl(w - u\,(u{\cdot}w)\bigr)\Bigr]

    and the centre with the opposite.
    """
    c = form.cosine
    sites, chains = parts.m0.shape
    xx, yy, zz, yz, xz, xy = parts.m2
    mx, my, mz = parts.m1

    def pull(sums: Sums, row: tuple[Array, ...]) -> tuple[Sums, None]:
        # Row by row, so that nothing of the size of the lists is written.
        places, dx, dy, dz, inverse, g = row
        ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
        wx = xx * ux + xy * uy + xz * uz - c * mx
        wy = xy * ux + yy * uy + yz * uz - c * my
        wz = xz * ux + yz * uy + zz * uz - c * mz
        uw = ux * wx + uy * wy + uz * wz
        um = ux * mx + uy * my + uz * mz
        gap = jnp.minimum(1.0 / inverse - form.cutoff, -1e-3)
        slope = -form.gamma * form.sigma * g / (gap * gap)
        across = 2.0 * g * inverse
        along = slope * (uw - c * um + c * c * parts.m0 - (1.0 - c) ** 2 * g) - across * uw
        here, there = [], []
        for centre, neighbour, u, w in zip(*sums, (ux, uy, uz), (wx, wy, wz), strict=True):
            part = along * u + across * w
            here.append(centre + part)
            there.append(neighbour.at[places].add(part, mode="promise_in_bounds"))
        return (tuple(here), tuple(there)), None

    none = jnp.zeros((sites, chains), parts.m0.dtype)
    start: Sums = (none,) * 3, (none.ravel(),) * 3
    rows = (near, *parts.d, parts.inverse, parts.g)
    (here, there), _ = jax.lax.scan(pull, start, rows)
    return strength * jnp.stack(
        [a - b.reshape(sites, chains) for a, b in zip(here, there, strict=True)]
    )
