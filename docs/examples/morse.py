r"""A potential: Morse's, by its depth and the place of its minimum.

.. math:: u(r) = D\,\{e^{-2a(r - r_0)} - 2 e^{-a(r - r_0)}\}

(P. M. Morse, Phys. Rev. 34, 57 (1929)). At a fixed range :math:`1/a` it is linear in the coefficients of two
exponentials, so that sums of these over the pairs of a configuration are all that a fit has to know of it.
"""

from dataclasses import dataclass, field

from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jax.typing import ArrayLike

from bayescg.potentials.pair import smooth_step

__all__ = ["Exponentials", "Morse"]


@dataclass(frozen=True)
class Exponentials:
    r"""The two functions :math:`e^{-2ar}` and :math:`e^{-ar}`, taken smoothly to zero before the cut-off.

    :param steepness: a, 1/angstrom.
    :param cutoff: where they end, angstrom.
    :param taper: the last angstrom in which they do.
    """

    steepness: float = 1.5
    cutoff: float = 8.0
    taper: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each function."""
        return ("exp(-2ar)", "exp(-ar)")

    @property
    def scale(self) -> float:
        """Angstrom on which the faster one is smooth."""
        return 0.5 / self.steepness

    def __call__(self, r: Array) -> Array:
        """Values, ``(2, *r.shape)``."""
        slow = jnp.exp(-self.steepness * r)
        ends = 1.0 - smooth_step(r, self.cutoff - self.taper, self.cutoff)
        return jnp.stack([slow**2, slow]) * ends


@register_dataclass
@dataclass(frozen=True)
class Morse:
    """Morse's potential; a pytree whose leaves are its two parameters.

    :param depth: D, kcal/mol.
    :param length: :math:`r_0`, angstrom.
    :param basis: the functions it is made of; static.
    """

    depth: ArrayLike
    length: ArrayLike
    basis: Exponentials = field(default=Exponentials(), metadata={"static": True})

    def natural(self) -> Array:
        """Coefficients of the two functions with their sign turned, ``(2,)``, kcal/mol."""
        grown = jnp.exp(self.basis.steepness * jnp.asarray(self.length))
        return jnp.asarray(self.depth) * jnp.stack([-(grown**2), 2.0 * grown])
