"""Numbers of single configurations that a critic is shown (ARCG paper, Appendix D.2)."""

from dataclasses import dataclass
import math
from typing import ClassVar

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.observables.liquid import LiquidObservable, _over_pairs
from bayescg.space import minimum_image

__all__ = ["LocalDensity", "Moments", "local_density", "moments"]

#: Table III: cut-off (angstrom), offset a and scale b.
TABLE_III = tuple(
    (cutoff, a, 2.0)
    for cutoff, offsets in ((4.0, (0.0, 1.0)), (7.0, (7.0, 9.0)), (10.0, (9.0, 11.0)))
    for a in offsets
)


@dataclass(frozen=True)
class Moments(LiquidObservable):
    r"""Averages of powers of the distance over all pairs of sites (ARCG paper, Eq. D1),

    .. math:: H(n) = \frac1{n_p}\sum_{i>j} r_{ij}^{\,n}.

    The paper writes n where its Lennard-Jones system has inverse powers, -6 and -12, and elsewhere 2, 4, 6
    and 12; here n is the exponent, sign included. Distances are to the nearest image.

    :param powers: the exponents.
    """

    powers: tuple[float, ...]
    name: ClassVar[str] = "moments"
    dims: ClassVar[tuple[str, ...]] = ("power",)
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "mean powers of the distance of pairs, in powers of an angstrom"

    def __post_init__(self) -> None:
        if not self.powers or not np.isfinite(self.powers).all() or 0.0 in self.powers:
            raise ValueError(f"moments powers must be numbers other than 0, got {self.powers}.")

    def coords(self) -> dict[str, np.ndarray]:
        """``power``: the exponents."""
        return {"power": np.array(self.powers)}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        sites = x.shape[1]
        if sites < 2:
            raise ValueError(f"moments need at least 2 sites, got {sites}.")

        def add(total: Array, r: Array) -> Array:
            return total + jnp.stack([jnp.sum(_power(r, p), 0) for p in self.powers])

        none = jnp.zeros((len(self.powers), x.shape[2]), x.dtype)
        return _over_pairs(x, box, add, none) / (0.5 * sites * (sites - 1))


def _power(r: Array, exponent: float) -> Array:
    """r to a power; a whole one by products, which cost a tenth of a general power."""
    whole = round(exponent)
    return jax.lax.integer_pow(r, whole) if whole == exponent else r**exponent


@dataclass(frozen=True)
class LocalDensity(LiquidObservable):
    r"""Mean of a bounded function of each site's soft number of neighbours (ARCG paper, Eq. D2),

    .. math:: H = \frac1n\sum_i \tanh\frac{c_i - a}{b}, \qquad
              c_i = \sum_{j\ne i} \frac1{1 + e^{r_{ij} - r_{cut}}}.

    As printed the sum is over :math:`-g(r_{ij} - r_{cut})`, g the logistic function, which is :math:`c_i` less the
    number of all other sites: with the offsets of Table III its hyperbolic tangent would be -1 for any
    configuration of more than a few sites. The text calls it the softened number of neighbours within a cut-off. With
    Table III the features tell densities below 0.01 sites per cubic angstrom apart; in a liquid as dense as water they
    are all within 1e-4 of 1.

    :param shapes: :math:`r_{cut}` (angstrom), a and b of each feature.
    """

    shapes: tuple[tuple[float, float, float], ...]
    name: ClassVar[str] = "local_density"
    dims: ClassVar[tuple[str, ...]] = ("shape",)
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "mean bounded soft number of neighbours"

    def __post_init__(self) -> None:
        if not self.shapes:
            raise ValueError("local_density needs at least one cut-off, offset and scale.")
        for cutoff, a, b in self.shapes:
            if not 0.0 < cutoff < np.inf or not 0.0 < b < np.inf or not np.isfinite(a):
                raise ValueError(
                    "local_density needs a positive cut-off, an offset and a positive scale, got "
                    f"{cutoff:g}, {a:g} and {b:g}."
                )

    def coords(self) -> dict[str, np.ndarray]:
        """``shape``: the number of each feature, from 0."""
        return {"shape": np.arange(len(self.shapes))}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        cutoffs = tuple(dict.fromkeys(c for c, _, _ in self.shapes))
        sites = x.shape[1]
        twice = jnp.concatenate([x, x], 1)

        def step(s: Array, counts: Array) -> Array:
            d = minimum_image(jax.lax.dynamic_slice_in_dim(twice, s, sites, 1) - x, box)
            # One exponential serves all cut-offs; where it overflows a pair adds nothing, as it should.
            far = jnp.exp(jnp.sqrt(jnp.sum(d * d, 0)))
            return counts + jnp.stack([1.0 / (1.0 + math.exp(-c) * far) for c in cutoffs])

        none = jnp.zeros((len(cutoffs), *x.shape[1:]), x.dtype)
        counts = jax.lax.fori_loop(1, sites, step, none)
        return jnp.stack(
            [jnp.mean(jnp.tanh((counts[cutoffs.index(c)] - a) / b), 0) for c, a, b in self.shapes]
        )


def moments(powers: tuple[float, ...] = (2.0, 4.0, 6.0, 12.0)) -> Moments:
    """Mean powers of the distance of pairs (Eq. D1).

    :param powers: exponents, sign included.

    >>> x = jnp.array([[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    >>> moments((2.0, -6.0)).in_box((9.0, 9.0, 9.0))(x).tolist()
    [4.0, 0.015625]
    """
    return Moments(tuple(float(p) for p in powers))


def local_density(
    shapes: tuple[tuple[float, float, float], ...] = TABLE_III,
) -> LocalDensity:
    """Bounded soft numbers of neighbours (Eq. D2), by default those of Table III.

    :param shapes: cut-off (angstrom), offset a and scale b of each feature.
    """
    return LocalDensity(tuple((float(c), float(a), float(b)) for c, a, b in shapes))
