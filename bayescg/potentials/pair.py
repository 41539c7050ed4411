r"""Pair potentials: functions of distance, most of them linear in their coefficients.

A basis is a set of functions of the distance r; what a method needs of a configuration are their
sums over its pairs. Lengths are in angstrom, energies in kcal/mol.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jax.typing import ArrayLike
import numpy as np
from scipy.interpolate import CubicSpline, PPoly

__all__ = [
    "WCA",
    "BSplines",
    "FixedPair",
    "InversePowers",
    "LennardJones",
    "LinearPair",
    "PairBasis",
    "PairTerm",
    "Table",
    "Wall",
    "WindowedFourier",
    "smooth_step",
]


class PairBasis(Protocol):
    """Functions of the distance between two sites."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each function."""
        ...

    @property
    def cutoff(self) -> float:
        """Distance beyond which every function is zero, angstrom."""
        ...

    @property
    def scale(self) -> float:
        """A length over which the functions are smooth, angstrom."""
        ...

    def __call__(self, r: Array, /) -> Array:
        """Values, ``(term, *r.shape)``."""
        ...


class PairTerm(Protocol):
    """A part of a pair potential; a pytree whose leaves are exactly its parameters."""

    @property
    def basis(self) -> PairBasis:
        """Its functions of the distance."""
        ...

    def natural(self) -> Array:
        """Coefficients of the basis in the energy with their sign turned, ``(term,)``."""
        ...


def smooth_step(r: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, twice differentiable between."""
    t = jnp.clip((r - low) / (high - low), 0.0, 1.0)
    return t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


@dataclass(frozen=True)
class InversePowers:
    r"""Inverse powers :math:`r^{-n}`, cut off at ``cutoff``.

    :param powers: n of each function.
    :param cutoff: where they end, angstrom.
    :param ending: ``smooth``: taken to zero over the last ``width`` angstrom, twice differentiable
        (default); ``shift``: lowered to zero at the cut-off, where the force still jumps; ``cut``: as
        is, with a jump at the cut-off that no gradient sampler can follow.
    :param width: of the smooth ending, angstrom.
    :param scale: angstrom or radians on which the functions are smooth, which decides how finely
        they are tabulated.

    >>> InversePowers(cutoff=10.0).names
    ('r^-12', 'r^-6')
    """

    powers: tuple[int, ...] = (12, 6)
    cutoff: float = 7.0
    ending: Literal["smooth", "shift", "cut"] = "smooth"
    width: float = 1.0
    scale: float = 0.4

    def __post_init__(self) -> None:
        _one_of("ending", self.ending, ("smooth", "shift", "cut"))
        if not 0.0 < self.cutoff < np.inf:
            raise ValueError(f"the cut-off must be positive, in angstrom, got {self.cutoff:g}.")
        if self.ending == "smooth" and not 0.0 < self.width < self.cutoff:
            raise ValueError(
                f"the width of the ending must lie between 0 and the cut-off, got {self.width:g}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """``r^-12``, ``r^-6``, or what the powers are."""
        return tuple(f"r^-{n}" for n in self.powers)

    def __call__(self, r: Array) -> Array:
        values = jnp.stack([r ** -float(n) for n in self.powers])
        if self.ending == "smooth":
            return values * (1.0 - smooth_step(r, self.cutoff - self.width, self.cutoff))
        if self.ending == "shift":
            ends = jnp.array([self.cutoff ** -float(n) for n in self.powers])
            values = values - ends.reshape(-1, *(1,) * jnp.ndim(r))
        return jnp.where(r < self.cutoff, values, 0.0)


@dataclass(frozen=True)
class WindowedFourier:
    r"""Sines and cosines on a window (PCG paper, Eqs. 66-67).

    :param count: K, functions in all; even: a sine and a cosine for each wave-number.
    :param window: the interval :math:`I_c`, angstrom.
    :param wave_numbers: ends of the uniform grid of Eq. 67, :math:`1 + \tfrac{19}{K/2}k'` as
        printed: its last point lies one spacing below the second of them.
    :param unit: what they count: periods per window, with the phase zero at its lower end, or
        periods per angstrom, with the phase zero at r = 0 (Eq. 66 to the letter).
    :param edges: ``smooth``: the indicator rises and falls over ``taper`` angstrom, twice
        differentiable; ``literal``: it jumps, and the energy with it.

    >>> WindowedFourier(count=4, wave_numbers=(1.0, 3.0)).names
    ('sin 1', 'cos 1', 'sin 2', 'cos 2')
    """

    count: int = 100
    window: tuple[float, float] = (2.0, 6.0)
    wave_numbers: tuple[float, float] = (1.0, 20.0)
    unit: Literal["window", "angstrom"] = "window"
    edges: Literal["smooth", "literal"] = "smooth"
    taper: float = 0.5

    def __post_init__(self) -> None:
        _one_of("unit", self.unit, ("window", "angstrom"))
        _one_of("edges", self.edges, ("smooth", "literal"))
        if self.count < 2 or self.count % 2:
            raise ValueError(
                f"features must be an even number of at least 2 (a sine and a cosine each), got {self.count}."
            )
        low, high = self.window
        if not 0.0 < low < high:
            raise ValueError(f"the window must have 0 < Rmin < Rmax, got {low:g} to {high:g}.")
        if not 0.0 < self.taper <= 0.5 * (high - low):
            raise ValueError(
                f"the taper must lie between 0 and half the window, got {self.taper:g}."
            )

    @property
    def nu(self) -> np.ndarray:
        """Wave-number of each function, ``(count,)``, in its unit."""
        half = self.count // 2
        first, last = self.wave_numbers
        return np.repeat(first + (last - first) / half * np.arange(half), 2)

    @property
    def names(self) -> tuple[str, ...]:
        """Sine and cosine of each wave-number."""
        kinds = ("sin", "cos")
        return tuple(f"{kinds[k % 2]} {v:.4g}" for k, v in enumerate(self.nu))

    @property
    def cutoff(self) -> float:
        """Where the window ends, angstrom."""
        return self.window[1]

    @property
    def scale(self) -> float:
        """Angstrom on which the fastest function is smooth."""
        low, high = self.window
        length = (high - low) if self.unit == "window" else 1.0
        shortest = length / float(self.nu[-1])
        return min(shortest, self.taper)

    def __call__(self, r: Array) -> Array:
        low, high = self.window
        phase = (r - low) / (high - low) if self.unit == "window" else r
        nu = jnp.asarray(self.nu[::2]).reshape(-1, *(1,) * jnp.ndim(r))
        angle = 2.0 * jnp.pi * nu * phase
        waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], 1).reshape(-1, *jnp.shape(r))
        if self.edges == "literal":
            return jnp.where((r >= low) & (r <= high), waves, 0.0)
        rise = smooth_step(r, low, low + self.taper)
        return waves * (rise - smooth_step(r, high - self.taper, high))


@dataclass(frozen=True, eq=False)
class _Piecewise:
    """Piecewise polynomials of the distance."""

    names: tuple[str, ...]
    breaks: np.ndarray  # (piece + 1,)
    coefficients: np.ndarray  # (power, piece, term), highest power first

    @property
    def cutoff(self) -> float:
        return float(self.breaks[-1])

    @property
    def scale(self) -> float:
        return float(np.diff(self.breaks).min())

    def pieces(self, r: Array) -> Array:
        """The polynomials, ``(term, *r.shape)``; the outermost go on beyond the ends."""
        piece = jnp.clip(jnp.searchsorted(self.breaks, r, "right") - 1, 0, len(self.breaks) - 2)
        t = r - jnp.asarray(self.breaks)[piece]
        table = jnp.asarray(self.coefficients)
        value = jnp.zeros((*jnp.shape(r), table.shape[2]))
        for c in table:
            value = value * t[..., None] + c[piece]
        return jnp.moveaxis(value, -1, 0)

    def __call__(self, r: Array) -> Array:
        inside = (r >= self.breaks[0]) & (r < self.breaks[-1])
        return jnp.where(inside, self.pieces(r), 0.0)


class BSplines(_Piecewise):
    """B-splines, cubic unless told otherwise, on any knots; all that end smoothly at the last knot.

    The first functions do not vanish at the first knot; below it they keep their value there, so
    that a potential is flat, not gone, where they end.

    :param knots: increasing distances, angstrom; the last is the cut-off.
    :param ends: ``zero``: as said; ``free``: all functions, the values at the ends kept beyond them, as
        bonded terms need it. The sum of all is then a constant, which no force notices.

    >>> basis = BSplines(np.linspace(2.0, 8.0, 7))  # knots, angstrom
    >>> len(basis.names), basis(jnp.array([3.0, 5.0, 8.0])).shape
    (6, (6, 3))
    >>> float(basis(jnp.array(8.0)).sum())  # zero at the cut-off
    0.0
    """

    ends: str

    def __init__(
        self, knots: ArrayLike, degree: int = 3, ends: Literal["zero", "free"] = "zero"
    ) -> None:
        at = np.asarray(knots, float)
        if at.ndim != 1 or len(at) < 2 or np.any(np.diff(at) <= 0.0) or at[0] < 0.0:
            raise ValueError("knots must be at least two increasing distances.")
        padded = np.concatenate([np.repeat(at[0], degree), at, np.repeat(at[-1], degree)])
        count = len(at) + degree - 1
        # The last ``degree`` functions have a value or a derivative at the cut-off.
        _one_of("ends", ends, ("zero", "free"))
        keep = count - degree if ends == "zero" else count
        object.__setattr__(self, "ends", ends)
        polys = [PPoly.from_spline((padded, unit, degree)) for unit in np.eye(count)[:keep]]
        pieces = np.flatnonzero(np.diff(polys[0].x) > 0.0)
        coefficients = np.stack([p.c[:, pieces] for p in polys], -1)
        super().__init__(tuple(f"spline {k}" for k in range(keep)), at, coefficients)

    def __call__(self, r: Array) -> Array:
        r = jnp.maximum(r, self.breaks[0])
        if self.ends == "free":
            return self.pieces(jnp.minimum(r, self.breaks[-1]))
        return super().__call__(r)


class Table(_Piecewise):
    """Values on a grid, one function a point.

    :param grid: increasing; angstrom for distances.
    :param order: ``linear`` or ``cubic`` (a natural spline at the first point, flat at the last).
    :param ends: ``zero``: zero at the last point, which has no function, and beyond, and the first
        value is kept below the first point, as pairs need it; ``free``: every point has a function, and the
        lines through the outermost two go on, as bonded terms need it (linear only).

    >>> table = Table([2.0, 3.0, 4.0], order="linear")
    >>> (jnp.array([1.0, -0.5]) @ table(jnp.array([2.5, 3.5]))).tolist()  # zero at the last point
    [0.25, -0.25]
    """

    order: str
    ends: str

    def __init__(
        self,
        grid: ArrayLike,
        order: Literal["linear", "cubic"] = "cubic",
        ends: Literal["zero", "free"] = "zero",
    ) -> None:
        at = np.asarray(grid, float)
        if at.ndim != 1 or len(at) < 3 or np.any(np.diff(at) <= 0.0) or at[0] < 0.0:
            raise ValueError("a table's grid must be at least three increasing distances.")
        _one_of("order", order, ("linear", "cubic"))
        _one_of("ends", ends, ("zero", "free"))
        if ends == "free" and order != "linear":
            raise ValueError("only a linear table can have free ends.")
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "ends", ends)
        count = len(at) - (ends == "zero")
        values = np.eye(len(at))[:, :count]
        if order == "linear":
            slope = np.diff(values, axis=0) / np.diff(at)[:, None]
            coefficients = np.stack([slope, values[:-1]])
        else:
            slopes = ((2, np.zeros(len(at) - 1)), (1, np.zeros(len(at) - 1)))
            coefficients = CubicSpline(at, values, bc_type=slopes).c
        super().__init__(tuple(f"u({r:.4g})" for r in at[:count]), at, coefficients)

    def __call__(self, r: Array) -> Array:
        if self.ends == "free":
            return self.pieces(r)
        return super().__call__(jnp.maximum(r, self.breaks[0]))


@dataclass(frozen=True)
class Wall:
    r"""A repulsive core, :math:`(r_0 - r)^3` below :math:`r_0`: keeps sites apart where no data are.

    :param start: :math:`r_0`, angstrom; at or below the smallest distance in the data.
    :param names: of the functions, in their order.
    :param scale: angstrom or radians on which the functions are smooth, which decides how finely
        they are tabulated.

    >>> Wall(2.4)(jnp.array([2.3, 2.5])).round(6).tolist()
    [[0.001, 0.0]]
    """

    start: float
    names: tuple[str, ...] = ("core",)
    scale: float = 0.4

    @property
    def cutoff(self) -> float:
        """Where the wall begins, angstrom."""
        return self.start

    def __call__(self, r: Array) -> Array:
        return jnp.maximum(self.start - r, 0.0)[None] ** 3


@dataclass(frozen=True)
class WCA:
    r"""The repulsive part of a Lennard-Jones potential, raised to end smoothly at its minimum.

    Its range moves with sigma, so it is no linear function of anything: a known term.

    :param epsilon: kcal/mol.
    :param sigma: angstrom.
    :param names: of the functions, in their order.
    :param scale: angstrom or radians on which the functions are smooth, which decides how finely
        they are tabulated.
    """

    epsilon: float
    sigma: float
    names: tuple[str, ...] = ("WCA",)
    scale: float = 0.4

    @property
    def cutoff(self) -> float:
        r"""The minimum of Lennard-Jones, :math:`2^{1/6}\sigma`, angstrom."""
        return 2.0 ** (1.0 / 6.0) * self.sigma

    def __call__(self, r: Array) -> Array:
        s6 = (self.sigma / r) ** 6
        return jnp.where(r < self.cutoff, 4.0 * self.epsilon * (s6**2 - s6) + self.epsilon, 0.0)[
            None
        ]


@register_dataclass
@dataclass(frozen=True)
class LennardJones:
    r"""Lennard-Jones (PCG paper, Eq. 68), linear in :math:`4\epsilon\sigma^{12}` and :math:`4\epsilon\sigma^6`.

    :param epsilon: kcal/mol; ``sigma``: angstrom; scalars.
    :param basis: the functions it is made of; static.

    >>> u = LennardJones(epsilon=0.2, sigma=3.4, basis=InversePowers(cutoff=12.0))
    >>> r = jnp.array([3.4, 2 ** (1 / 6) * 3.4])
    >>> [round(float(v), 4) + 0.0 for v in -u.natural() @ u.basis(r)]  # zero, and the minimum, kcal/mol
    [0.0, -0.2]
    """

    epsilon: ArrayLike
    sigma: ArrayLike
    basis: InversePowers = field(default=InversePowers(), metadata={"static": True})

    def natural(self) -> Array:
        r""":math:`-4\epsilon\sigma^{12}` and :math:`4\epsilon\sigma^6`, ``(2,)``, kcal/mol by powers of an angstrom."""
        s6 = jnp.asarray(self.sigma) ** 6
        return 4.0 * jnp.asarray(self.epsilon) * jnp.stack([-(s6**2), s6])


@register_dataclass
@dataclass(frozen=True)
class LinearPair:
    """A linear combination of a basis.

    :param coefficients: ``(term,)``, kcal/mol.
    :param basis: the functions; static.

    >>> u = LinearPair(jnp.array([1.0, -0.5]), Table([2.0, 3.0, 4.0], order="linear"))
    >>> u.natural().tolist()  # with the sign turned
    [-1.0, 0.5]
    """

    coefficients: Array
    basis: PairBasis = field(metadata={"static": True})

    def natural(self) -> Array:
        """Minus the coefficients, ``(term,)``, kcal/mol."""
        return -self.coefficients


@register_dataclass
@dataclass(frozen=True)
class FixedPair:
    """A known function of the distance, with a known strength.

    :param basis: the function; static.
    :param strength: by which it is multiplied, kcal/mol; static.
    """

    basis: PairBasis = field(metadata={"static": True})
    strength: float = field(default=1.0, metadata={"static": True})

    def natural(self) -> Array:
        """Minus the strength, ``(1,)``."""
        return jnp.full(1, -self.strength)
