"""Observables of liquids: particles in a periodic orthorhombic box.

Configurations have the layout ``(axis, site, *batch)``, positions in angstrom, where ``batch`` is
empty or the chains or frames; values are ``(*dims, *batch)``. What a system's sites are is the
business of its restriction map: for water they are centres of mass (PCG paper, Eq. 58).

The box is not the user's choice but the configurations': an observable made without one is given
it by ``in_box``. Where a coordinate is not finite the value is NaN, and so it is for angles at sites
in one place.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, ClassVar, Self

import jax
from jax import Array, lax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from bayescg.space import check_cutoff, minimum_image

__all__ = [
    "COORDINATE_ATTRS",
    "AngularDistribution",
    "Coordination",
    "LiquidObservable",
    "RadialDistribution",
    "TetrahedralOrder",
    "adf",
    "coordination",
    "longest_rdf",
    "rdf",
    "tetrahedral_order",
]

#: Attributes of the coordinates in files.
COORDINATE_ATTRS = {
    "r": {"units": "angstrom", "long_name": "distance, centre of the bin"},
    "angle": {"units": "degree", "long_name": "angle, centre of the bin"},
    "depth": {"units": "angstrom", "long_name": "distance from the middle of the slab"},
    "length": {"units": "angstrom", "long_name": "length of the bond, centre of the bin"},
    "dihedral": {"units": "degree", "long_name": "dihedral (trans is 180), centre of the bin"},
    "joint_length": {"units": "angstrom", "long_name": "length of the bond, centre of the bin"},
    "joint_angle": {"units": "degree", "long_name": "angle, centre of the bin"},
    "joint_other_angle": {"units": "degree", "long_name": "the other angle, centre of the bin"},
}

_LONGEST = 7.2  # angstrom: the paper's box of 14.546 allows 7.273


@dataclass(frozen=True)
class LiquidObservable(ABC):
    """What observables of liquids have in common.

    :param box: edges of the periodic box, angstrom; None until ``in_box``.
    """

    box: tuple[float, float, float] | None = field(default=None, kw_only=True)

    def in_box(self, box: ArrayLike) -> Self:
        """The same observable of configurations in this box.

        :param box: edges ``(axis,)``, angstrom.
        :raises ValueError: unless they are three positive lengths that the observable allows.
        """
        edges = np.asarray(box, float)
        if edges.shape != (3,) or not np.all((edges > 0.0) & np.isfinite(edges)):
            raise ValueError(f"a box is three positive edges in angstrom, got {edges.tolist()}.")
        a, b, c = edges.tolist()
        return replace(self, box=(a, b, c))

    def settings(self) -> dict[str, Any]:
        """The options it was made with, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "box"}

    def coords(self) -> dict[str, np.ndarray]:
        """None, for an observable that is one number."""
        return {}

    def __call__(self, x: Array) -> Array:
        """Values ``(*dims, *batch)`` on configurations ``(axis, site, *batch)``.

        :raises ValueError: without a box, or for a layout or a number of sites that will not do.
        """
        if self.box is None:
            raise ValueError("the observable has no box; give it one by in_box(edges in angstrom).")
        x = jnp.asarray(x)
        x = x.astype(jnp.result_type(x, float))  # edges take the type of the positions
        if x.ndim not in (2, 3) or x.shape[0] != 3:
            raise ValueError(f"x must be (axis, site) or (axis, site, batch), got {x.shape}.")
        values = _measured(self, x.reshape(*x.shape[:2], -1))
        return values.reshape(*values.shape[:-1], *x.shape[2:])

    @abstractmethod
    def _measure(self, x: Array, box: np.ndarray) -> Array:
        """Values ``(*dims, batch)`` on ``x (axis, site, batch)``."""


@dataclass(frozen=True)
class RadialDistribution(LiquidObservable):
    r"""Radial distribution function (PCG paper, Eq. 59 and Appendix B.2).

    .. math:: g(r) = \frac{V}{n_\text{pairs}\,\Delta V(r)} \sum_{j<k} 1[r \le r_{jk} < r + w],
        \qquad \Delta V(r) = \tfrac43 \pi \{(r + w)^3 - r^3\}

    :param width: width ``w`` of a bin, angstrom.
    :param max: largest distance, angstrom; bins ``[k w, (k + 1) w)`` that fit below it are counted.
    :param norm: what stands for ``n_pairs``. ``pairs``: the N(N-1)/2 pairs there are, so that an
        ideal gas has g = 1; ``n2``: N^2/2 as in Eq. 59 and VOTCA, lower by (N-1)/N.
    """

    width: float
    max: float
    norm: str
    name: ClassVar[str] = "rdf"
    dims: ClassVar[tuple[str, ...]] = ("r",)
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "radial distribution function g(r)"

    def __post_init__(self) -> None:
        _check_positive("rdf width", self.width)
        if not self.width <= self.max < np.inf:
            raise ValueError(
                f"rdf max must be a length of at least width={self.width:g} angstrom, "
                f"got {self.max:g}."
            )
        if self.norm not in ("pairs", "n2"):
            raise ValueError(f"rdf norm must be pairs or n2, got {self.norm!r}.")
        if self.box is not None and self.max > 0.5 * min(self.box):
            raise ValueError(
                f"rdf max must be at most half the box, {0.5 * min(self.box):g} angstrom, got "
                f"{self.max:g}: minimum image sees no whole sphere beyond."
            )

    def _edges(self) -> np.ndarray:
        """Edges of the bins, ``(bin + 1,)``, angstrom."""
        bins = int(np.floor(self.max / self.width * (1.0 + 1e-12)))
        return self.width * np.arange(bins + 1)

    def coords(self) -> dict[str, np.ndarray]:
        """``r``: centres of the bins, angstrom."""
        edges = self._edges()
        return {"r": 0.5 * (edges[1:] + edges[:-1])}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        sites = x.shape[1]
        if sites < 2:
            raise ValueError(f"rdf needs at least 2 sites, got {sites}.")
        edges = self._edges()
        bins = len(edges) - 1

        def add(counts: Array, r: Array) -> Array:
            return _add_counts(counts, r / self.width)

        counts = _over_pairs(x, box, add, _no_counts(bins, x))[:bins]
        pairs = 0.5 * sites * (sites - 1 if self.norm == "pairs" else sites)
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        expected = pairs * shells / np.prod(box)
        return counts / jnp.asarray(expected, x.dtype)[:, None]


@dataclass(frozen=True)
class AngularDistribution(LiquidObservable):
    r"""Distribution of the angles between a site's nearest neighbours (PCG paper, Eq. 60).

    .. math:: a(\omega) = \frac1{M n_\omega} \sum_{j=1}^{M} \sum_{k} \sum_{l \ne k}
        \delta(\omega - \omega_{kjl})

    where k and l run over the ``n_c = 8`` nearest neighbours of the central site j. As printed, the
    last sum runs over l != j, with :math:`n_\omega = \binom{8}{3} = 56`; that is 8 x 7, the ordered
    pairs of different neighbours, and the centre is none of them. Here each pair is counted once,
    of 28: the normalisation is the same either way. It integrates to 1 over degrees.

    :param width: width of a bin, degrees, which must divide 180; bins are ``[k w, (k + 1) w)``, and
        180 belongs to the last.
    :param neighbours: number of nearest neighbours ``n_c``.
    """

    width: float
    neighbours: int
    name: ClassVar[str] = "adf"
    dims: ClassVar[tuple[str, ...]] = ("angle",)
    units: ClassVar[str] = "1/degree"
    long_name: ClassVar[str] = "angular distribution function"

    def __post_init__(self) -> None:
        _check_positive("adf width", self.width)
        _check_neighbours("adf", self.neighbours)
        bins = 180.0 / self.width
        if round(bins) < 1 or abs(bins - round(bins)) > 1e-9 * bins:
            raise ValueError(f"adf width must divide 180 degrees, got {self.width:g}.")

    def coords(self) -> dict[str, np.ndarray]:
        """``angle``: centres of the bins, degrees."""
        return {"angle": self.width * (np.arange(round(180.0 / self.width)) + 0.5)}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        bins = round(180.0 / self.width)

        def add(counts: Array, cosine: Array) -> Array:
            angle = jnp.degrees(jnp.arccos(jnp.clip(cosine, -1.0, 1.0)))
            return _add_counts(counts, jnp.minimum(angle / self.width, bins - 0.5))

        unit = _to_nearest(x, box, self.neighbours, "adf")
        counts = _over_angles(unit, add, _no_counts(bins, x))[:bins]
        angles = x.shape[1] * self.neighbours * (self.neighbours - 1) // 2
        density = counts / jnp.asarray(angles * self.width, x.dtype)
        # Between sites in one place there is no direction, and NaN falls into no bin.
        return jnp.where(jnp.isfinite(jnp.sum(unit, (0, 1, 2))), density, jnp.nan)


@dataclass(frozen=True)
class Coordination(LiquidObservable):
    r"""Mean number of neighbours nearer than a cut-off, the integral of g(r) (Eq. 59) up to there.

    .. math:: n(r_c) = \frac{N-1}{V} \int_0^{r_c} 4\pi r^2 g(r)\,dr

    with g normalised by ``pairs``.

    :param cutoff: angstrom.
    """

    cutoff: float
    name: ClassVar[str] = "coordination"
    dims: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "mean number of neighbours within the cut-off"

    def __post_init__(self) -> None:
        _check_positive("coordination cutoff", self.cutoff)
        if self.box is not None:
            check_cutoff(self.cutoff, np.asarray(self.box))

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        def add(count: Array, r: Array) -> Array:
            return count + jnp.sum(r < self.cutoff, 0, dtype=jnp.int32)

        pairs = _over_pairs(x, box, add, jnp.zeros(x.shape[2], jnp.int32))
        return 2 * pairs / jnp.asarray(x.shape[1], x.dtype)


@dataclass(frozen=True)
class TetrahedralOrder(LiquidObservable):
    r"""Tetrahedral order parameter, mean over the sites.

    .. math:: q_j = 1 - \frac38 \sum_{k<l} \left(\cos\omega_{kjl} + \tfrac13\right)^2

    over the six pairs of the four nearest neighbours of site j: 1 in a perfect tetrahedral network,
    0 on average for directions at random (Errington and Debenedetti, Nature 409, 318 (2001)). For
    another number n of neighbours 3/8 becomes 9 / (2 n (n - 1)), which keeps the zero; q = 1 is
    then out of reach for n > 4.

    :param neighbours: number of nearest neighbours.
    """

    neighbours: int
    name: ClassVar[str] = "tetrahedral_order"
    dims: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "tetrahedral order parameter q"

    def __post_init__(self) -> None:
        _check_neighbours("tetrahedral_order", self.neighbours)

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        def add(total: Array, cosine: Array) -> Array:
            return total + jnp.sum((cosine + 1.0 / 3.0) ** 2, 0)

        unit = _to_nearest(x, box, self.neighbours, "tetrahedral_order")
        total = _over_angles(unit, add, jnp.zeros(x.shape[2], x.dtype))
        weight = 4.5 / (self.neighbours * (self.neighbours - 1))
        return 1.0 - weight * total / x.shape[1]


def rdf(width: float = 0.1, max: float = _LONGEST, norm: str = "pairs") -> RadialDistribution:
    """Radial distribution function g(r) (Eq. 59): ``width`` and ``max`` in angstrom.

    :param width: of a bin, angstrom.
    :param max: largest distance, angstrom; at most half the shortest edge of the box.
    :param norm: ``pairs``: an ideal gas has 1; ``n2``: as Eq. 59 and VOTCA, lower by (N-1)/N.

    >>> g = rdf(width=0.5, max=4.0).in_box((8.0, 8.0, 8.0))
    >>> g.coords()["r"][:3].tolist()
    [0.25, 0.75, 1.25]
    >>> x = jnp.array([[0.0, 1.2], [0.0, 0.0], [0.0, 0.0]])  # two sites, (axis, site)
    >>> int(g(x).argmax())  # the bin of their distance
    2
    """
    return RadialDistribution(width, max, norm)


def adf(width: float = 2.0, neighbours: int = 8) -> AngularDistribution:
    """Angular distribution function (Eq. 60): ``width`` in degrees.

    :param width: of a bin, degrees; it must divide 180.
    :param neighbours: nearest neighbours of each site.

    >>> adf(width=45.0).coords()["angle"].tolist()
    [22.5, 67.5, 112.5, 157.5]
    """
    return AngularDistribution(width, neighbours)


def coordination(cutoff: float = 3.5) -> Coordination:
    """Mean number of neighbours within ``cutoff`` (angstrom).

    >>> corner = jnp.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    >>> float(coordination(1.1).in_box((9.0, 9.0, 9.0))(corner))  # three pairs among four sites
    1.5
    """
    return Coordination(cutoff)


def tetrahedral_order(neighbours: int = 4) -> TetrahedralOrder:
    """Errington and Debenedetti's tetrahedral order parameter q, mean over the sites.

    :param neighbours: nearest neighbours of each site; 4 in the original.

    >>> tetrahedral_order().name, tetrahedral_order().neighbours
    ('tetrahedral_order', 4)
    """
    return TetrahedralOrder(neighbours)


def longest_rdf(box: ArrayLike, most: float = _LONGEST) -> float:
    """Default ``max`` of the rdf in a box: ``most``, 7.2 angstrom, or the tenths in half the shortest edge.

    :param box: edges ``(axis,)``, angstrom.
    """
    half = 0.5 * float(np.min(np.asarray(box)))
    return min(most, float(np.floor(10.0 * half)) / 10.0, half)


@partial(jax.jit, static_argnums=0)  # compiled once for equal observables, however often called
def _measured(observable: LiquidObservable, x: Array) -> Array:
    """Values ``(*dims, batch)`` on ``x (axis, site, batch)``."""
    values = observable._measure(x, np.asarray(observable.box))
    # Counting would leave out a site that is nowhere, and say nothing.
    return jnp.where(jnp.isfinite(jnp.sum(x, (0, 1))), values, jnp.nan)


def _check_positive(what: str, value: float) -> None:
    if not 0.0 < value < np.inf:
        raise ValueError(f"{what} must be positive, got {value:g}.")


def _check_neighbours(what: str, neighbours: int) -> None:
    if neighbours < 2:
        raise ValueError(f"{what} neighbours must be at least 2, got {neighbours}.")


def _no_counts(bins: int, x: Array) -> Array:
    """An empty histogram for each of the batch; its last row takes what lies beyond the bins."""
    return jnp.zeros((bins + 1, x.shape[2]), jnp.int32)


def _add_counts(counts: Array, place: Array) -> Array:
    """Count values ``place (value, batch)``, in units of the bin width."""
    row = jnp.minimum(jnp.floor(place), counts.shape[0] - 1).astype(jnp.int32)
    return counts.at[row, jnp.arange(counts.shape[1])].add(1)


def _over_pairs(
    x: Array, box: np.ndarray, add: Callable[[Array, Array], Array], start: Array
) -> Array:
    """Fold ``add(so far, distances (pair, batch))`` over all pairs of sites, each once.

    Pairs s sites apart in the list are taken together, s up to N/2: no table of all pairs is made.
    """
    sites = x.shape[1]
    twice = jnp.concatenate([x, x], 1)

    def distances(a: Array, b: Array) -> Array:
        d = minimum_image(a - b, box)
        return jnp.sqrt(jnp.sum(d * d, 0))

    def step(s: Array, so_far: Array) -> Array:
        return add(so_far, distances(x, lax.dynamic_slice_in_dim(twice, s, sites, 1)))

    half = sites // 2
    so_far = lax.fori_loop(1, (sites - 1) // 2 + 1, step, start)
    if sites % 2 == 0:  # shifted by half, the list meets each pair from both ends
        so_far = add(so_far, distances(x[:, :half], x[:, half:]))
    return so_far


def _to_nearest(x: Array, box: np.ndarray, neighbours: int, what: str) -> Array:
    """Unit vectors to the nearest neighbours of each site, ``(axis, neighbour, site, batch)``.

    Insertion into a short sorted list, all sites and configurations at once: on one CPU core half
    the time of ``lax.top_k`` in single precision, and a tenth in double, where that sorts whole rows.
    """
    sites, batch = x.shape[1:]
    if neighbours >= sites:
        raise ValueError(f"{what} neighbours must be below the {sites} sites, got {neighbours}.")
    twice = jnp.concatenate([x, x], 1)

    def step(s: Array, nearest: tuple[Array, Array]) -> tuple[Array, Array]:
        r2, shift = nearest  # (neighbour, site, batch), by increasing distance
        d = minimum_image(lax.dynamic_slice_in_dim(twice, s, sites, 1) - x, box)
        new = jnp.sum(d * d, 0)
        r2_before = jnp.concatenate([jnp.full_like(r2[:1], -1.0), r2[:-1]])
        shift_before = jnp.concatenate([shift[:1], shift[:-1]])
        goes_before, goes_here = new < r2_before, new < r2
        r2 = jnp.where(goes_before, r2_before, jnp.where(goes_here, new, r2))
        shift = jnp.where(goes_before, shift_before, jnp.where(goes_here, s, shift))
        return r2, shift

    shape = (neighbours, sites, batch)
    empty = (jnp.full(shape, jnp.inf, x.dtype), jnp.zeros(shape, jnp.int32))
    r2, shift = lax.fori_loop(1, sites, step, empty)
    at = (shift + jnp.arange(sites, dtype=jnp.int32)[:, None]) % sites
    other = jnp.take_along_axis(x[:, None], at[None], 2)
    return minimum_image(other - x[:, None], box) / jnp.sqrt(r2)


def _over_angles(unit: Array, add: Callable[[Array, Array], Array], start: Array) -> Array:
    """Fold ``add(so far, cosines (site, batch))`` over the pairs of neighbours, each once."""
    first, second = (jnp.asarray(i, jnp.int32) for i in np.triu_indices(unit.shape[1], 1))

    def step(p: Array, so_far: Array) -> Array:
        return add(so_far, jnp.sum(unit[:, first[p]] * unit[:, second[p]], 0))

    return lax.fori_loop(0, first.size, step, start)
