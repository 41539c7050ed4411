"""Bond lengths, angles and dihedrals, and the functions of them that bonded potentials are made of."""

from dataclasses import dataclass, field

from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jax.typing import ArrayLike
import numpy as np

from bayescg.space import Box, minimum_image

__all__ = ["Harmonic", "HarmonicTerm", "PeriodicTable", "Walls", "Waves", "coordinate", "jacobian"]

TINY = 1e-12  # of a squared sine, where the direction of a force has no meaning


def coordinate(kind: str, x: Array, members: np.ndarray, box: Box) -> Array:
    """Lengths (angstrom), angles (radians, 0 to pi) or dihedrals (radians, -pi to pi; trans is pi).

    :param kind: ``bond``, ``angle`` or ``dihedral``.
    :param x: ``(axis, site, *batch)``; molecules need not be whole.
    :param members: sites of each term, ``(term, 2, 3 or 4)``.
    :return: ``(term, *batch)``.
    :raises ValueError: for another kind.
    """

    def along(a: int, b: int) -> Array:
        return minimum_image(x[:, members[:, b]] - x[:, members[:, a]], box)

    if kind == "bond":
        d = along(0, 1)
        return jnp.sqrt(jnp.sum(d * d, 0))
    if kind == "angle":
        a, b = along(1, 0), along(1, 2)
        cross = jnp.cross(a, b, axis=0)
        # By atan2: an arc cosine has no slope where a molecule is straight.
        return jnp.arctan2(jnp.sqrt(jnp.sum(cross * cross, 0) + TINY), jnp.sum(a * b, 0))
    if kind == "dihedral":
        b1, b2, b3 = along(0, 1), along(1, 2), along(2, 3)
        m, n = jnp.cross(b1, b2, axis=0), jnp.cross(b2, b3, axis=0)
        long = jnp.sqrt(jnp.sum(b2 * b2, 0))
        return jnp.arctan2(long * jnp.sum(b1 * n, 0), jnp.sum(m * n, 0))
    raise ValueError(f"kind must be bond, angle or dihedral, got {kind!r}.")


def jacobian(kind: str, q: np.ndarray) -> np.ndarray:
    """What independent terms have of space at ``q``: r^2, sin(theta), or 1."""
    if kind in ("bond", "pair"):
        return np.asarray(q) ** 2
    return np.sin(q) if kind == "angle" else np.ones_like(q)


@dataclass(frozen=True)
class Harmonic:
    r"""A harmonic term as two functions: :math:`\tfrac k2 (q - q_0)^2 = \tfrac k2 q^2 - k q_0 q + \dots`

    The coefficients are :math:`k/2` and :math:`-k q_0`, in the units of the coordinate measured from
    ``centre``, which only keeps them small.

    :param centre: from which the coordinate is measured, angstrom or radians.
    :param scale: angstrom or radians on which the functions are smooth, which decides how finely
        they are tabulated.
    :param cutoff: infinite: bonds do not end.
    :param names: of the functions, in their order.
    """

    centre: float
    scale: float = 0.4
    cutoff: float = np.inf
    names: tuple[str, ...] = ("square", "linear")

    def __call__(self, q: Array) -> Array:
        t = q - self.centre
        return jnp.stack([t * t, t])


@register_dataclass
@dataclass(frozen=True)
class HarmonicTerm:
    r"""A harmonic bond by its length and stiffness.

    :param length: :math:`q_0`, angstrom; ``stiffness``: k, kcal/mol/angstrom^2; scalars.
    :param basis: the functions it is made of; static.
    :param factor: the energy is ``factor`` :math:`k (q - q_0)^2`: 1/2 as in textbooks, 1 as in LAMMPS; static.

    >>> bond = HarmonicTerm(length=2.5, stiffness=40.0, basis=Harmonic(2.0))
    >>> u = -bond.natural() @ bond.basis(jnp.array([2.5, 2.6]))
    >>> round(float(u[1] - u[0]), 6)  # kcal/mol for a tenth of an angstrom
    0.2
    """

    length: ArrayLike
    stiffness: ArrayLike
    basis: Harmonic = field(metadata={"static": True})
    factor: float = field(default=0.5, metadata={"static": True})

    def natural(self) -> Array:
        """Coefficients of the square and of the line, ``(2,)``, kcal/mol by powers of the coordinate."""
        k = self.factor * jnp.asarray(self.stiffness)
        return jnp.stack([-k, 2.0 * k * (jnp.asarray(self.length) - self.basis.centre)])


@dataclass(frozen=True)
class Walls:
    r"""Walls at both ends of a range of a coordinate, :math:`(q - q_1)^3` beyond it.

    :param low: where the lower wall begins, angstrom or radians.
    :param high: where the upper one does.
    :param scale: angstrom or radians on which the functions are smooth, which decides how finely
        they are tabulated.
    :param cutoff: infinite: the walls go on.
    :param names: of the functions, in their order.
    """

    low: float
    high: float
    scale: float = 0.4
    cutoff: float = np.inf
    names: tuple[str, ...] = ("walls",)

    def __call__(self, q: Array) -> Array:
        out = jnp.maximum(self.low - q, 0.0) + jnp.maximum(q - self.high, 0.0)
        return out[None] ** 3


@dataclass(frozen=True)
class Waves:
    r"""Cosines and sines of a dihedral, :math:`\cos n\phi` and :math:`\sin n\phi` up to ``order``.

    :param order: of the fastest wave.
    :param cutoff: infinite: dihedrals do not end.
    """

    order: int = 6
    cutoff: float = np.inf

    @property
    def names(self) -> tuple[str, ...]:
        """``cos 1``, ``sin 1``, ``cos 2``, ... up to ``order``."""
        return tuple(f"{f} {n}" for n in range(1, self.order + 1) for f in ("cos", "sin"))

    @property
    def scale(self) -> float:
        """Radians on which the fastest wave is smooth."""
        return 2.0 * np.pi / self.order

    def __call__(self, q: Array) -> Array:
        n = jnp.arange(1, self.order + 1).reshape(-1, *(1,) * jnp.ndim(q))
        return jnp.stack([jnp.cos(n * q), jnp.sin(n * q)], 1).reshape(-1, *jnp.shape(q))


@dataclass(frozen=True)
class PeriodicTable:
    """Values of a dihedral's potential on a grid around the circle, linear between its points.

    :param count: points, the first at -pi.
    :param cutoff: infinite: dihedrals do not end.
    """

    count: int
    cutoff: float = np.inf

    @property
    def grid(self) -> np.ndarray:
        """Points of the table, ``(count,)``, radians from -pi on."""
        return -np.pi + 2.0 * np.pi / self.count * np.arange(self.count)

    @property
    def names(self) -> tuple[str, ...]:
        """``u(angle)`` of each point, radians."""
        return tuple(f"u({q:.4g})" for q in self.grid)

    @property
    def scale(self) -> float:
        """Radians between two points."""
        return 2.0 * np.pi / self.count

    def __call__(self, q: Array) -> Array:
        place = (jnp.asarray(q) + np.pi) / self.scale
        at = jnp.arange(self.count).reshape(-1, *(1,) * jnp.ndim(q))
        apart = jnp.abs(place - at) % self.count
        return jnp.maximum(1.0 - jnp.minimum(apart, self.count - apart), 0.0)
