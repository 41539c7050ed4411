"""Joint distributions of two bonded coordinates that share sites, and how far they hang together."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from jax import Array
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from bayescg.observables.liquid import LiquidObservable
from bayescg.observables.molecular import AXES
from bayescg.potentials.bonded import coordinate
from bayescg.potentials.classes import Members
from bayescg.topology import Bonded, Topology

__all__ = [
    "JointDistribution",
    "MutualInformation",
    "Neighbours",
    "mutual_information",
    "neighbours_of",
]


class Neighbours(NamedTuple):
    """Pairs of bonded terms that share sites: the first of ``kinds`` and ``terms`` with the second."""

    kinds: tuple[str, str]
    terms: tuple[str, str]
    first: Members  # (pair, 2 or 3)
    second: Members  # (pair, 3)

    @property
    def name(self) -> str:
        """What files call their joint distribution: ``joint_bond_AB_angle_ABA``."""
        (a, b), (m, n) = self.kinds, self.terms
        return f"joint_{a}_{m}_{b}_{n}"


def neighbours_of(topology: Topology) -> tuple[Neighbours, ...]:
    """Bonds that are part of an angle, and angles that share a bond, by name; most frequent first.

    Of two angles of one name neither comes first: each pair is there both ways.

    :param topology: of the molecules.
    """
    bond, angle = topology.bond, topology.angle
    sides: dict[frozenset[int], list[int]] = {}  # angles by the pairs of sites along them
    for n, (a, b, c) in enumerate(angle.members.tolist()):
        for side in {frozenset((a, b)), frozenset((b, c))}:
            sides.setdefault(side, []).append(n)
    found: dict[tuple[str, str, str, str], set[tuple[int, int]]] = {}
    for m, pair in enumerate(bond.members.tolist()):
        for n in sides.get(frozenset(pair), ()):
            found.setdefault(("bond", bond.names[m], "angle", angle.names[n]), set()).add((m, n))
    order = {name: k for k, name in enumerate(angle.kinds)}
    for those in sides.values():
        for one, other in combinations(those, 2):
            m, n = sorted((one, other), key=lambda k: order[angle.names[k]])
            both = found.setdefault(("angle", angle.names[m], "angle", angle.names[n]), set())
            both |= {(m, n), (n, m)} if angle.names[m] == angle.names[n] else {(m, n)}
    tables: dict[str, Bonded] = {"bond": bond, "angle": angle}
    out = []
    for (a, name, b, other_name), pairs in found.items():
        rows = np.array(sorted(pairs))
        first, second = (tables[k].members[rows[:, i]] for i, k in enumerate((a, b)))
        out.append(Neighbours((a, b), (name, other_name), Members(a, first), Members(b, second)))
    return tuple(sorted(out, key=lambda p: -len(p.first.sites)))


@dataclass(frozen=True)
class JointDistribution(LiquidObservable):
    """Joint distribution of a bond's length and an angle, or of two angles, which share sites.

    It integrates to 1 where the ranges hold everything.

    :param neighbours: the pairs of terms.
    :param widths: of the bins along both, angstrom or degrees; bins are ``[k w, (k + 1) w)``.
    :param low: lowest value of each that is looked at; ``high``: the highest.
    """

    neighbours: Neighbours
    widths: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]

    def __post_init__(self) -> None:
        for width, low, high in zip(self.widths, self.low, self.high, strict=True):
            if not 0.0 < width <= high - low:
                raise ValueError(
                    f"{self.name} widths must lie between 0 and {high - low:g}, got {width:g}."
                )

    @property
    def name(self) -> str:
        """What files call it, as :attr:`Neighbours.name`."""
        return self.neighbours.name

    @property
    def dims(self) -> tuple[str, ...]:
        """``joint_length`` or ``joint_angle``, and the second angle."""
        # Axes of their own: bins of two dimensions are wider than those of one.
        if self.neighbours.kinds[0] == "angle":
            return ("joint_angle", "joint_other_angle")
        return ("joint_length", "joint_angle")

    @property
    def units(self) -> str:
        """The inverse of the product of both units."""
        return f"1/({' '.join(AXES[k][1] for k in self.neighbours.kinds)})"

    @property
    def long_name(self) -> str:
        """The two terms in words."""
        (a, b), (m, n) = self.neighbours.kinds, self.neighbours.terms
        return f"joint distribution of {a} {m} and {b} {n}"

    def settings(self) -> dict[str, Any]:
        """Widths of the bins, angstrom (``length``) and degrees (``width``)."""
        if self.neighbours.kinds[0] == "angle":
            return {"width": self.widths[0]}
        return {"length": self.widths[0], "width": self.widths[1]}

    def _bins(self) -> list[tuple[int, int]]:
        """First bin along each axis, and how many."""
        ends = zip(self.widths, self.low, self.high, strict=True)
        first = [(int(np.floor(low / w + 1e-9)), w, high) for w, low, high in ends]
        return [(k, max(1, int(np.ceil(high / w - 1e-9)) - k)) for k, w, high in first]

    def coords(self) -> dict[str, np.ndarray]:
        """Centres of the bins along both axes, angstrom or degrees."""
        along = zip(self.dims, self.widths, self._bins(), strict=True)
        return {d: w * (first + np.arange(count) + 0.5) for d, w, (first, count) in along}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        pair = self.neighbours
        places = []
        for kind, term, width, (first, count) in zip(
            pair.kinds, (pair.first, pair.second), self.widths, self._bins(), strict=True
        ):
            q = coordinate(kind, x, term.sites, box) / (width * AXES[kind][2])
            at = jnp.floor(q).astype(jnp.int32) - first
            places.append(jnp.where((at >= 0) & (at < count), at, -1))
        (_, rows), (_, columns) = self._bins()
        outside = rows * columns
        flat = jnp.where(
            (places[0] < 0) | (places[1] < 0), outside, places[0] * columns + places[1]
        )
        batch = x.shape[2]
        counts = jnp.zeros((outside + 1, batch), x.dtype).at[flat, jnp.arange(batch)].add(1.0)
        cell = self.widths[0] * self.widths[1]
        return counts[:-1].reshape(rows, columns, batch) / (len(pair.first.sites) * cell)


class MutualInformation(NamedTuple):
    """Of two coordinates, nats."""

    value: float  # corrected for its bias
    error: float  # standard error
    correlation: float  # correlation coefficient of Pearson, which sees straight lines only


def mutual_information(
    density: ArrayLike, error: ArrayLike | None, first: ArrayLike, second: ArrayLike
) -> MutualInformation:
    r"""Mutual information of a joint distribution in bins, with its standard error.

    .. math:: I = \sum_{ij} p_{ij} \ln\frac{p_{ij}}{p_{i\cdot}\,p_{\cdot j}}

    It is zero where the coordinates are independent. From finite samples it comes out too large; the
    first order of that, which for m independent samples is (cells - rows - columns + 1)/2m (G. A. Miller,
    in Information Theory in Psychology, 95 (1955)), is taken off, with the m that the errors of the
    cells mean. Its own error is theirs to first order, as if they were independent.

    :param density: ``(first, second)``, of any scale.
    :param error: standard errors of the cells, in the same scale; None: unknown, the error is then NaN and
        nothing is taken off.
    :param first: values along the first axis, for the correlation coefficient; ``second`` along the second.
    :raises ValueError: if the shapes do not go together, or nothing is in the cells.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    p = np.maximum(np.asarray(density, float), 0.0)
    if p.shape != (len(a), len(b)):
        raise ValueError(f"density has shape {p.shape}; allowed is ({len(a)}, {len(b)}).")
    total = p.sum()
    if not 0.0 < total < np.inf:
        raise ValueError("density is zero everywhere, or not finite.")
    p = p / total
    rows, columns = p.sum(1), p.sum(0)
    seen = p > 0.0
    gain = np.log(p[seen] / np.outer(rows, columns)[seen])
    value = float(p[seen] @ gain)
    spread = partial(_covariance, p)
    scale = np.sqrt(spread(a, a, 0, 0) * spread(b, b, 1, 1))
    correlation = spread(a, b, 0, 1) / scale if scale > 0.0 else np.nan
    if error is None:
        return MutualInformation(value, np.nan, correlation)
    s = np.nan_to_num(np.asarray(error, float))[seen] / total
    # Two angles of one name are counted both ways: what lies on either side of the diagonal is the same.
    twice = np.array_equal(a, b) and np.allclose(p, p.T, rtol=1e-9)
    alike = np.where(np.eye(*p.shape)[seen] > 0.0, 1.0, 2.0) if twice else 1.0
    cells, lines = int(seen.sum()), int((rows > 0.0).sum() + (columns > 0.0).sum())
    each = float(np.sum(s**2 / p[seen])) / max(cells - 1, 1)  # one over the number of samples
    bias = 0.5 * each * (cells - lines + 1)
    return MutualInformation(
        value - bias, float(np.sqrt(np.sum(alike * ((gain - value) * s) ** 2))), correlation
    )


def _covariance(p: np.ndarray, a: np.ndarray, b: np.ndarray, i: int, j: int) -> float:
    """Covariance of values along the axes ``i`` and ``j`` of a joint distribution."""
    of = (p.sum(1), p.sum(0))
    joint = p if i != j else np.diag(of[i])
    return float(a @ joint @ b - (of[i] @ a) * (of[j] @ b))
