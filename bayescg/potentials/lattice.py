r"""Polynomial potentials of +-1 spins on a periodic one-dimensional lattice.

The fine lattice (PCG paper, Eq. 46) and the coarse potential (Eq. 55) are both members:

.. math:: U(X) = -\mu \sum_i X_i - \sum_k \theta_k\,\phi_k(X),

where each feature :math:`\phi_k` is a translation-invariant sum of products of spins.
"""

from collections.abc import Iterable, Sequence
import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
import numpy as np

__all__ = [
    "Feature",
    "SpinBasis",
    "SpinPotential",
    "decaying_couplings",
    "independent_features",
    "pair_features",
    "polynomial_features",
]


@dataclass(frozen=True)
class Feature:
    r"""One feature, :math:`\phi(X) = \sum_t w_t \sum_i \prod_{o \in t} X_{i+o}`.

    :param name: label in results.
    :param products: the translation-invariant products ``t``, each a tuple of site offsets.
    :param weights: the weight ``w_t`` of each product.
    """

    name: str
    products: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class SpinBasis:
    """The features of a lattice of ``sites`` spins; static (hashable), shared by potentials.

    :param sites: number of spins on the ring.
    :param features: linearly independent features.
    """

    sites: int
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if self.sites < 1:
            raise ValueError(f"a lattice needs at least one site, got {self.sites}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in order."""
        return tuple(f.name for f in self.features)

    @property
    def range(self) -> int:
        """Largest distance spanned by a product, in sites."""
        return max((_span(p, self.sites) for f in self.features for p in f.products), default=0)

    @property
    def parity(self) -> tuple[int, ...]:
        """Of each feature: 1 if it stays where all spins flip, -1 if it changes its sign, 0 if neither."""
        odd = [{len(_reduced(p, self.sites)) % 2 for p in f.products} for f in self.features]
        return tuple(0 if len(o) > 1 else -1 if 1 in o else 1 for o in odd)

    @property
    def mirror_symmetric(self) -> bool:
        """Whether every feature is unchanged when the ring is read backwards."""
        return all(
            _collected(f, self.sites, 1) == _collected(f, self.sites, -1) for f in self.features
        )


@register_dataclass
@dataclass(frozen=True)
class SpinPotential:
    r"""Energy of a periodic spin lattice, :math:`U = -\mu\sum_i X_i - \theta\cdot\phi(X)`.

    An exponential family in :math:`\eta = (\mu, \theta)`; energies are in units of the
    exchange constant, as in the paper, and :math:`\beta` belongs to the distribution.

    :param theta: coefficients of the features, shape ``(feature,)``.
    :param field: external field mu, a scalar.
    :param basis: the features; static.

    >>> basis = SpinBasis(4, tuple(pair_features([1])))
    >>> U = SpinPotential(jnp.array([0.5]), jnp.asarray(0.1), basis)
    >>> float(U(jnp.array([1.0, 1.0, 1.0, -1.0])))  # a field of 0.1 on 2; neighbours cancel
    -0.2
    """

    theta: Array
    field: Array
    basis: SpinBasis = dataclasses.field(metadata={"static": True})

    def natural(self) -> Array:
        """Natural parameters ``(mu, theta_1, ...)``, shape ``(1 + feature,)``."""
        return jnp.concatenate([jnp.atleast_1d(self.field), self.theta])

    def statistics(self, x: Array) -> Array:
        """Statistics ``(sum X, phi_1, ...)`` of spins ``x (site, *batch)``: ``(term, *batch)``."""
        return spin_statistics(self.basis, x)

    def __call__(self, x: Array) -> Array:
        """Energy of spins ``x (site, *batch)``, shape ``batch``."""
        return -jnp.tensordot(self.natural(), self.statistics(x), 1)


def spin_statistics(basis: SpinBasis, x: Array) -> Array:
    """Total spin and the features of ``x (site, *batch)``, shape ``(1 + feature, *batch)``."""
    n = basis.sites
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
    out = [jnp.sum(x, 0)]
    for feature in basis.features:
        total = jnp.zeros_like(out[0])
        for offsets, weight in zip(feature.products, feature.weights, strict=True):
            product = jnp.ones_like(x)
            for o in offsets:
                product = product * jnp.roll(x, -(o % n), 0)
            total = total + weight * jnp.sum(product, 0)
        out.append(total)
    return jnp.stack(out)


class LocalTerms(NamedTuple):
    """The local field on any site, as static tables over relative site offsets.

    ``-dU/dX_i = eta @ single + sum_d (eta @ pair)_d X_{i+d}
    + sum_p (eta @ triple)_p X_{i+a} X_{i+b}`` with ``(a, b)`` the offsets of triple ``p``.
    """

    single: np.ndarray  # (term,)
    pair_offsets: np.ndarray  # (pair,)
    pair: np.ndarray  # (term, pair)
    triple_offsets: np.ndarray  # (triple, 2)
    triple: np.ndarray  # (term, triple)


@lru_cache(maxsize=64)
def local_terms(basis: SpinBasis) -> LocalTerms:
    """Tables of the local field; energies are multilinear, so it decides every flip.

    :raises ValueError: for products of more than three spins.
    """
    n = basis.sites
    terms = 1 + len(basis.features)
    table: dict[tuple[int, ...], np.ndarray] = {}

    def add(others: tuple[int, ...], term: int, weight: float) -> None:
        table.setdefault(others, np.zeros(terms))[term] += weight

    add((), 0, 1.0)
    for k, feature in enumerate(basis.features, start=1):
        for offsets, weight in zip(feature.products, feature.weights, strict=True):
            kept = _reduced(offsets, n)
            for o in kept:
                add(tuple(sorted((p - o) % n for p in kept if p != o)), k, weight)
    too_long = [o for o in table if len(o) > 2]
    if too_long:
        raise ValueError("products of more than three spins are not supported by the samplers.")

    def stack(size: int) -> tuple[np.ndarray, np.ndarray]:
        keys = sorted(o for o in table if len(o) == size)
        values = np.array([table[o] for o in keys]).reshape(len(keys), terms).T
        return np.array(keys, dtype=int).reshape(len(keys), size), values

    pairs, pair = stack(1)
    triples, triple = stack(2)
    return LocalTerms(table[()], pairs[:, 0], pair, triples, triple)


@lru_cache(maxsize=64)
def colours(basis: SpinBasis) -> np.ndarray:
    """Sites grouped so that no two in a group interact, shape ``(colour, site)``.

    A group updates in parallel. Groups are of one size (the ring's symmetry allows it), so
    that one compiled step serves all.
    """
    n = basis.sites
    terms = local_terms(basis)
    coupled = {int(d) % n for d in terms.pair_offsets} | {
        int(d) % n for d in terms.triple_offsets.ravel()
    }
    for size in sorted((s for s in range(1, n + 1) if n % s == 0), reverse=True):
        stride = n // size  # sites c, c + stride, c + 2 stride, ... for each colour c
        if not any((j * stride) % n in coupled for j in range(1, size)):
            return np.arange(n).reshape(size, stride).T.copy()
    raise AssertionError("a single site is always a valid group.")


def decaying_couplings(
    strength: float, power: float, longest: int, exponent: str = "a-1"
) -> np.ndarray:
    r"""Couplings of the fine lattice, :math:`J_k = K k^{-a}` (PCG paper, Eqs. 47 and 48), ``(longest,)``.

    :param strength: :math:`J_0`, to which K is normalised.
    :param power: a.
    :param longest: :math:`L_f`, sites.
    :param exponent: power of ``longest`` in Eq. 48: ``"a-1"`` as printed, or its inverse ``"1-a"``.

    >>> decaying_couplings(1.5, 0.8, 4).round(3).tolist()
    [0.853, 0.49, 0.354, 0.281]
    """
    k = np.arange(1, longest + 1)
    of_range = power - 1.0 if exponent == "a-1" else 1.0 - power
    return np.asarray(strength / (longest**of_range * np.sum(k**-power)) * k**-power)


# --- building bases --------------------------------------------------------------------------


def pair_features(
    distances: Iterable[int], *, count: str = "ordered", prefix: str = "pair"
) -> list[Feature]:
    r"""Pair features, :math:`\tfrac12 \sum_{|i-j|=k} x_i x_j` of Eqs. 46 and 55.

    :param distances: separations ``k``.
    :param count: how the sum over :math:`|i-j|=k` is read: ``"ordered"`` counts ``(i, j)`` and
        ``(j, i)``, so the feature is :math:`\sum_i x_i x_{i+k}`; ``"once"`` counts each pair
        once, so it is half of that.
    :param prefix: of the features' names, ``pair_1`` and so on.
    :raises ValueError: for another ``count``.
    """
    weight = {"ordered": 1.0, "once": 0.5}.get(count)
    if weight is None:
        raise ValueError(f"count must be 'ordered' or 'once', got {count!r}.")
    return [Feature(f"{prefix}_{k}", ((0, k),), (weight,)) for k in distances]


def polynomial_features(pair_range: int, triple_range: int) -> list[Feature]:
    r"""All features of Eq. 55, named, ``1 + L2 + L3**2`` of them.

    With both signs of :math:`\pm` summed, ``field`` is :math:`\tfrac12\sum_i X_i`, ``pair_k`` is
    :math:`\tfrac12\sum_i X_i(X_{i+k} + X_{i-k}) = \sum_i X_i X_{i+k}`, and ``triple_k_l`` is
    :math:`\tfrac12\sum_i (X_i X_{i+k} X_{i+k+l} + X_i X_{i-k} X_{i-k-l})`.

    :param pair_range: :math:`L_c^{(2)}`, the largest pair separation.
    :param triple_range: :math:`L_c^{(3)}`, the largest step of a triple.
    :raises ValueError: for a negative range.
    """
    if pair_range < 0 or triple_range < 0:
        raise ValueError(f"L2 and L3 must not be negative, got {pair_range} and {triple_range}.")
    out = [Feature("field", ((0,),), (0.5,))]
    out += pair_features(range(1, pair_range + 1))
    steps = range(1, triple_range + 1)
    out += [
        Feature(f"triple_{k}_{m}", ((0, k, k + m), (0, -k, -k - m)), (0.5, 0.5))
        for k in steps
        for m in steps
    ]
    return out


class IndependentFeatures(NamedTuple):
    """The linearly independent part of a list of features, and where the rest went."""

    basis: SpinBasis  # independent features
    alias_of: tuple[str, ...]  # for each named feature: the independent one, "" for a constant
    coefficient: tuple[float, ...]  # the named feature's theta per unit of the independent theta


def independent_features(
    sites: int, features: Sequence[Feature], aliases: str = "tie"
) -> IndependentFeatures:
    """Reduce features to a linearly independent basis on a ring of ``sites``.

    On a ring, ``(k, l)`` and ``(l, k)`` coincide, and separations beyond half the ring alias.

    :param sites: of the ring.
    :param features: in the order in which they are kept.
    :param aliases: ``"tie"``: features that coincide share one coefficient (gradient ascent
        from zero gives that, by symmetry); ``"drop"``: only the first of them is kept.
    :raises ValueError: for another ``aliases``.

    >>> named = polynomial_features(4, 0)
    >>> [f.name for f in named]
    ['field', 'pair_1', 'pair_2', 'pair_3', 'pair_4']
    >>> independent_features(6, named).basis.names  # on six sites a separation of 4 is one of 2
    ('field', 'pair_1', 'pair_2', 'pair_3')
    """
    if aliases not in ("tie", "drop"):
        raise ValueError(f"aliases must be 'tie' or 'drop', got {aliases!r}.")
    first: dict[tuple[int, ...], int] = {}
    groups: list[list[Feature]] = []
    alias_of, coefficient = [], []
    for feature in features:
        orbits = {_canonical(p, sites) for p in feature.products}
        if len(orbits) != 1:
            raise ValueError(f"the products of feature {feature.name!r} are not of one kind.")
        (orbit,) = orbits
        if orbit == ():
            alias_of.append("")
            coefficient.append(0.0)
            continue
        is_first = orbit not in first
        if is_first:
            first[orbit] = len(groups)
            groups.append([feature])
        elif aliases == "tie":
            groups[first[orbit]].append(feature)
        alias_of.append(groups[first[orbit]][0].name)
        coefficient.append(1.0 if is_first or aliases == "tie" else 0.0)
    merged = tuple(_merge(group, sites) for group in groups)
    return IndependentFeatures(SpinBasis(sites, merged), tuple(alias_of), tuple(coefficient))


def _merge(group: Sequence[Feature], sites: int) -> Feature:
    """The sum of coinciding features, with equal products collected."""
    weights: dict[tuple[int, ...], float] = {}
    for feature in group:
        for product, weight in _collected(feature, sites, 1).items():
            weights[product] = weights.get(product, 0.0) + weight
    return Feature(group[0].name, tuple(weights), tuple(weights.values()))


def _collected(feature: Feature, n: int, direction: int) -> dict[tuple[int, ...], float]:
    """Products in their shortest form with their total weights, read in one direction."""
    out: dict[tuple[int, ...], float] = {}
    for offsets, weight in zip(feature.products, feature.weights, strict=True):
        key = _shifted(_reduced(tuple(direction * o for o in offsets), n), n)
        out[key] = out.get(key, 0.0) + weight
    return out


def _reduced(offsets: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Offsets on the ring with squares removed (a spin squared is 1)."""
    sites = [o % n for o in offsets]
    return tuple(sorted({o for o in sites if sites.count(o) % 2}))


def _shifted(offsets: tuple[int, ...], n: int) -> tuple[int, ...]:
    """The smallest translate, which also fits the shortest window."""
    return min(
        (tuple(sorted((o - s) % n for o in offsets)) for s in offsets),
        default=(),
        key=lambda t: (t[-1] if t else 0, t),
    )


def _canonical(offsets: tuple[int, ...], n: int) -> tuple[int, ...]:
    """The smallest image of a product under translation and reflection."""
    kept = _reduced(offsets, n)
    mirrored = tuple((-o) % n for o in kept)
    return min(_shifted(kept, n), _shifted(mirrored, n))


def _span(offsets: tuple[int, ...], n: int) -> int:
    shifted = _shifted(_reduced(offsets, n), n)
    return shifted[-1] if shifted else 0


# --- local fields ----------------------------------------------------------------------------


def local_field(basis: SpinBasis, natural: Array, x: Array, sites: Array) -> Array:
    r"""Field :math:`-\partial U/\partial X_i` on some sites of every chain.

    :param x: spins, ``(site, chain)``.
    :param sites: where, ``(s,)``.
    :return: shape ``(s, chain)``.
    """
    n = basis.sites
    terms = local_terms(basis)
    natural = natural.astype(x.dtype)
    f = jnp.broadcast_to(
        natural @ jnp.asarray(terms.single, x.dtype), (sites.shape[0], *x.shape[1:])
    )
    if terms.pair_offsets.size:
        coupling = natural @ jnp.asarray(terms.pair, x.dtype)
        # Rows of the circulant coupling matrix: a small dense product beats a gather of spins.
        row = jnp.zeros(n, x.dtype).at[terms.pair_offsets % n].add(coupling)
        f = f + row[(jnp.arange(n)[None, :] - sites[:, None]) % n] @ x
    if terms.triple_offsets.size:
        coupling = natural @ jnp.asarray(terms.triple, x.dtype)
        window = np.unique(terms.triple_offsets)
        near = x[(sites[:, None] + window[None, :]) % n]  # (s, window, chain)
        a, b = (np.searchsorted(window, terms.triple_offsets[:, j]) for j in (0, 1))
        matrix = jnp.zeros((window.size, window.size), x.dtype).at[a, b].add(coupling)
        f = f + jnp.sum(near * jnp.einsum("ab,sbc->sac", matrix, near), 1)
    return f
