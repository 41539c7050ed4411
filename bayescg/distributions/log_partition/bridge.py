r"""Two sites and a virtual one between them, summed out by quadrature.

With energies :math:`u` of both bonds to the virtual site and :math:`v` between the two ends, in bipolar coordinates
about the ends, a and b the distances of the virtual site from them,

.. math:: Z(r) = e^{-\beta v(r)} \int e^{-\beta[u(|Y - X_1|) + u(|Y - X_2|)]}\,\mathrm d^3 Y
               = e^{-\beta v(r)}\,\frac{2\pi}{r} \int_0^\infty a\,e^{-\beta u(a)}\,[G(a + r) - G(|a - r|)]\,da,
          \qquad G(b) = \int_0^b b'\,e^{-\beta u(b')}\,\mathrm db'.

The two ends lie anywhere in the box, so that :math:`p(X_1, X_2) = Z(r) / (V \int 4\pi r^2 Z(r)\,\mathrm dr)`.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
import numpy as np

from bayescg.potentials.counting import Nodes
from bayescg.potentials.molecular import MolecularPotential
from bayescg.samplers.tethers import Held
from bayescg.space import minimum_image

__all__ = ["Bridge"]

STEP = 0.04  # angstrom, of the integrals over r and a
TINY = 1e-14  # of the whole, below which rounding is all there is of an integral
FINE = 4  # steps of Simpson's rule in one of those, for G


class _Arms(NamedTuple):
    """What is tabulated of the bonds to the virtual site, at multiples of STEP."""

    weight: Array  # a exp(-beta (u(a) - least)) at the points
    total: Array  # G, from 0 to twice as far
    least: Array  # the smallest beta u, taken off


@register_dataclass
@dataclass(frozen=True)
class Bridge:
    """Exact log Z of a virtual site bonded to two ends, which are bonded to each other.

    Exact to the error of quadrature, 1e-6 of a density as long as bonds fluctuate by more than 0.1 angstrom, and
    neither ends nor arms come near ``longest``: what is softer than that is cut off there.

    :param ends: name of the bond between the ends, ``arms`` of those to the virtual site; static.
    :param sites: the first end, the virtual site and the other end.
    :param longest: distance that no bond reaches, angstrom.
    """

    ends: str = field(metadata={"static": True})
    arms: str = field(metadata={"static": True})
    sites: tuple[int, int, int] = field(default=(0, 1, 2), metadata={"static": True})
    longest: float = field(default=10.0, metadata={"static": True})

    @property
    def points(self) -> np.ndarray:
        """Of the quadratures over r and a, angstrom."""
        return STEP * np.arange(1, round(self.longest / STEP) + 1)

    def density(self, potential: MolecularPotential, beta: Array) -> Array:
        """Normalised density of the distance of the ends, 1/angstrom, at ``points``."""
        exponent = self._shells(potential, beta)
        return jnp.exp(exponent - jax.nn.logsumexp(exponent)) / STEP

    def __call__(self, potential: MolecularPotential, beta: Array) -> Array:
        volume = float(np.prod(potential.box))
        return jnp.log(volume * STEP) + jax.nn.logsumexp(self._shells(potential, beta))

    def in_field(self, potential: MolecularPotential, beta: Array, field: Held) -> Array:
        """log Z(r) of ends that are held, ``(frame,)``; ``field.at (frame, site, axis)``."""
        first, _, last = self.sites
        d = minimum_image((field.at[:, last] - field.at[:, first]).T, potential.box)
        r = jnp.sqrt(jnp.sum(d * d, 0))
        at, weights = Nodes(STEP, STEP, len(self.points)).weights(r)  # cubic between the points
        values = self._bridge(potential, beta)
        bridge = sum((w * values[at + k] for k, w in enumerate(weights)), start=jnp.zeros(()))
        return bridge - beta * _energy(potential, self.ends, r)

    def sample(self, key: Array, potential: MolecularPotential, beta: Array, samples: int) -> Array:
        """Independent configurations, ``(sample, 3, axis)``, the first end anywhere in the box."""
        keys = jax.random.split(key, 6)
        points = jnp.asarray(self.points)
        r = _drawn(keys[0], self.density(potential, jnp.asarray(beta)), points, samples)
        arms = self._arms(potential, jnp.asarray(beta))
        every = STEP * jnp.arange(arms.total.size)

        def g(b: Array) -> Array:
            return jnp.interp(b, every, arms.total)

        def one(key: Array, r: Array) -> Array:
            return _drawn(key, arms.weight * (g(points + r) - g(jnp.abs(points - r))), points, 1)[0]

        a = jax.vmap(one)(jax.random.split(keys[1], samples), r)
        low, high = g(jnp.abs(a - r)), g(a + r)
        level = low + jax.random.uniform(keys[2], (samples,)) * (high - low)
        b = jnp.interp(level, arms.total, every)
        along = (r**2 + a**2 - b**2) / (2.0 * r)
        across = jnp.sqrt(jnp.maximum(a**2 - along**2, 0.0))
        axes = jax.vmap(_orthonormal)(jax.random.normal(keys[3], (samples, 2, 3)))
        first = jax.random.uniform(keys[4], (samples, 3)) * jnp.asarray(potential.box)
        middle = first + along[:, None] * axes[:, 0] + across[:, None] * axes[:, 1]
        last = first + r[:, None] * axes[:, 0]
        out = jnp.zeros((samples, 3, 3))
        for site, x in zip(self.sites, (first, middle, last), strict=True):
            out = out.at[:, site].set(x)
        return out

    def _arms(self, potential: MolecularPotential, beta: Array) -> _Arms:
        count, step = len(self.points), STEP / FINE
        b = step * jnp.arange(2 * count * FINE + 1)
        exponent = beta * _energy(potential, self.arms, b)
        least = jnp.min(exponent)
        f = b * jnp.exp(least - exponent)
        parts = (f[:-2:2] + 4.0 * f[1:-1:2] + f[2::2]) * (step / 3.0)  # Simpson's rule
        each = jnp.sum(parts.reshape(-1, FINE // 2), 1)
        total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(each)])
        return _Arms(f[FINE : (count + 1) * FINE : FINE], total, least)

    def _bridge(self, potential: MolecularPotential, beta: Array) -> Array:
        """Logarithm of the integral over the virtual site, at ``points``."""
        arms, count = self._arms(potential, beta), len(self.points)
        # Sums and differences of points are points. With weights odd in a and G even, both terms are one
        # convolution, sum_a w(a) G(r + a) over both signs of a.
        odd = jnp.concatenate(
            [-arms.weight[::-1], jnp.zeros(1), arms.weight]
        )  # a from -count to count
        even = jnp.concatenate([arms.total[count:0:-1], arms.total])  # b from -count to 2 count
        size = 2 ** int(np.ceil(np.log2(odd.size + even.size)))
        product = jnp.fft.rfft(odd[::-1], size) * jnp.fft.rfft(even, size)
        # Point r of the sum lies at place count (of a = 0) + count (of b = 0) + r.
        total = STEP * jnp.fft.irfft(product, size)[2 * count + 1 : 3 * count + 1]
        return (
            jnp.log(2.0 * jnp.pi * jnp.maximum(total, TINY * arms.total[-1]) / self.points)
            - 2.0 * arms.least
        )

    def _shells(self, potential: MolecularPotential, beta: Array) -> Array:
        """log of 4 pi r^2 Z(r) at ``points``."""
        r = jnp.asarray(self.points)
        shell = jnp.log(4.0 * jnp.pi * r**2) - beta * _energy(potential, self.ends, r)
        return shell + self._bridge(potential, beta)


def _energy(potential: Any, name: str, q: Array) -> Array:
    (found,) = (i for i in potential.bonded if i.name == name)
    energy: Array = found.energy(q)
    return energy


def _drawn(key: Array, density: Array, grid: Array, samples: int) -> Array:
    """Draws from a density on equally spaced points, constant between their middles."""
    total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(density)])
    edges = jnp.concatenate([grid - 0.5 * STEP, grid[-1:] + 0.5 * STEP])
    return jnp.interp(jax.random.uniform(key, (samples,)) * total[-1], total, edges)


def _orthonormal(pair: Array) -> Array:
    """Two orthonormal directions from two vectors."""
    first = pair[0] / jnp.linalg.norm(pair[0])
    other = pair[1] - (pair[1] @ first) * first
    return jnp.stack([first, other / jnp.linalg.norm(other)])
