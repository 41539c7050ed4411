r"""Forces of basis functions on sites, and the normal equations that they make with forces and with structure.

With the energy :math:`U = \sum_k c_k f_k` the forces are linear in the coefficients,
:math:`F = G c` with :math:`G = -\nabla f`. All that a linear method needs of a trajectory are sums over its
frames: :math:`G^T G`, :math:`G^T F` and :math:`F^T F`, or :math:`\nabla^2 f` in place of the forces. They are kept
for blocks of successive frames, whose spread tells what the sums are worth; memory does not grow with the frames.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.potentials.bonded import coordinate
from bayescg.potentials.molecular import Interaction, MolecularPotential
from bayescg.potentials.neighbours import neighbours
from bayescg.potentials.pair import BSplines, PairBasis, Table
from bayescg.space import minimum_image

__all__ = ["BLOCKS", "NormalEquations", "design", "normal_equations", "slopes"]

BLOCKS = 100  # of frames, at most, whose sums are kept
TOGETHER = 16  # frames that one call takes
ROOM = 1.15  # neighbours that lists hold, times the most that the first frames have
GRAIN = 16  # of the lengths of lists


class NormalEquations(NamedTuple):
    """Sums over blocks of successive frames, of all terms of a potential in their order."""

    square: np.ndarray  # (block, term, term), of G^T G, angstrom^-2
    force: np.ndarray  # (block, term), of G^T F; 0 where there are no forces
    power: np.ndarray  # (block,), of F^T F
    laplacian: (
        np.ndarray
    )  # (block, term), of the sum over sites of the Laplacians; 0 unless asked for
    frames: np.ndarray  # (block,)
    met: np.ndarray  # (term,), frames in which any site feels the term
    span: np.ndarray  # (interaction, 2), smallest and largest value of each coordinate
    gradient: np.ndarray  # (interaction,), mean of |grad q|^2 over terms; 2 for distances
    equations: int  # components of the forces in a frame


class _Sums(NamedTuple):
    square: Array
    force: Array
    power: Array
    laplacian: Array
    met: Array
    span: Array
    gradient: Array  # (interaction, 2), sum and count
    most: Array  # (class,), neighbours


class _Part(NamedTuple):
    """What one interaction adds in one frame."""

    forces: Array  # (term, axis, site)
    laplacian: Array  # (term,)
    span: Array  # (2,)
    gradient: Array  # (2,)
    most: Array  # scalar; 0 for bonded ones


def slopes(f: Callable[[Array], Array], q: Array) -> Array:
    """Derivatives of functions ``(term, *q.shape)`` of a coordinate."""
    return jax.jvp(f, (q,), (jnp.ones_like(q),))[1]


class _Piecewise:
    """Piecewise polynomials by moments: of each site's pairs, the powers of how far they are in a piece.

    Few functions differ from zero at one distance, so moments cost a fraction of the functions' own sums.
    """

    def __init__(self, basis: BSplines | Table) -> None:
        self.breaks = jnp.asarray(basis.breaks)
        self.pieces = len(basis.breaks) - 1
        self.ends = basis.ends if isinstance(basis, Table) else "zero"
        power = np.arange(len(basis.coefficients) - 1, 0, -1)[:, None, None]
        self.slope = basis.coefficients[:-1] * power  # (power, piece, term), highest power first
        self.bend = self.slope[:-1] * (power[:-1] - 1)

    def blank(self, sites: int, curved: bool) -> Array:
        width = len(self.slope) * (4 if curved else 3) + (len(self.bend) if curved else 0)
        return jnp.zeros((sites, self.pieces, width))

    def add(self, moments: Array, r: Array, unit: Array, none: Array, curved: bool) -> Array:
        """``moments`` and one pair more of each site, unless it is ``none``."""
        at = jnp.clip(jnp.searchsorted(self.breaks, r, "right") - 1, 0, self.pieces - 1)
        t = r - self.breaks[at]
        if self.ends == "zero":
            none = none | (r < self.breaks[0]) | (r >= self.breaks[-1])
        powers = jnp.stack([t**m for m in range(len(self.slope) - 1, -1, -1)])
        powers = jnp.where(none, 0.0, powers)
        parts = [(powers[:, None] * unit).reshape(-1, len(r))]
        if curved:
            parts += [2.0 * powers / r, powers[1:]]
        return moments.at[jnp.arange(len(r)), at].add(jnp.concatenate(parts).T)

    def sums(self, moments: Array, curved: bool) -> tuple[Array, Array]:
        """Forces ``(term, axis, site)``, and the Laplacian of each function summed over sites."""
        size = len(self.slope)
        pulls = moments[..., : 3 * size].reshape(*moments.shape[:2], size, 3)
        total = jnp.einsum("npma,mpk->kan", pulls, self.slope)
        if not curved:
            return total, jnp.zeros(self.slope.shape[2])
        rest = jnp.sum(moments[..., 3 * size :], 0)
        laplacian = jnp.einsum("pm,mpk->k", rest[:, :size], self.slope)
        return total, laplacian + jnp.einsum("pm,mpk->k", rest[:, size:], self.bend)


class _Plain:
    """Any other functions, one sum each."""

    def __init__(self, basis: PairBasis) -> None:
        self.basis = basis

    def blank(self, sites: int, curved: bool) -> Array:
        return jnp.zeros((len(self.basis.names), 4 if curved else 3, sites))

    def add(self, sums: Array, r: Array, unit: Array, none: Array, curved: bool) -> Array:
        f = jnp.where(none, 0.0, slopes(self.basis, r))
        parts = f[:, None] * unit
        if curved:
            bend = jnp.where(none, 0.0, slopes(lambda q: slopes(self.basis, q), r))
            parts = jnp.concatenate([parts, (bend + 2.0 * f / r)[:, None]], 1)
        return sums + parts

    def sums(self, sums: Array, curved: bool) -> tuple[Array, Array]:
        return sums[:, :3], jnp.sum(sums[:, 3], 1) if curved else jnp.zeros(len(sums))


def _of_pairs(
    i: Interaction, x: Array, box: Array, skip: Array | None, capacity: int, curved: bool
) -> _Part:
    sites = x.shape[1]
    ways = [
        _Piecewise(t.basis) if isinstance(t.basis, BSplines | Table) else _Plain(t.basis)
        for t in i.terms
    ]
    places, most = neighbours(x[:, :, None], box, i.cutoff, capacity, skip)
    own = jnp.arange(sites)

    def row(carry: tuple[list[Array], Array, Array], place: Array) -> tuple[Any, None]:
        sums, low, high = carry
        none = place == own
        d = minimum_image(x[:, place] - x, box)
        r = jnp.where(none, 2.0 * i.cutoff, jnp.sqrt(jnp.sum(d * d, 0)))
        sums = [w.add(s, r, d / r, none, curved) for w, s in zip(ways, sums, strict=True)]
        low = jnp.minimum(low, jnp.where(none, jnp.inf, r))
        return (sums, low, jnp.maximum(high, jnp.where(none, -jnp.inf, r))), None

    far = jnp.full(sites, jnp.inf, x.dtype)
    start = ([w.blank(sites, curved) for w in ways], far, -far)
    (sums, low, high), _ = jax.lax.scan(row, start, places[:, :, 0])
    done = [w.sums(s, curved) for w, s in zip(ways, sums, strict=True)]
    total, laplacian = (jnp.concatenate(part) for part in zip(*done, strict=True))
    span = jnp.stack([jnp.min(low), jnp.max(high)])
    return _Part(total, laplacian, span, jnp.array([2.0, 1.0]), most[0])


def _of_bonded(i: Interaction, x: Array, box: Array, members: np.ndarray, curved: bool) -> _Part:
    alone = np.arange(members.shape[1])[None]

    def value(p: Array) -> Array:
        """The coordinate of one term whose sites are at ``p (axis, place)``."""
        return coordinate(i.kind, p, alone, box)[0]

    p = jnp.moveaxis(x[:, members], 1, 0)  # (term, axis, place)
    q, pull = jax.vmap(jax.value_and_grad(value))(p)
    f = slopes(i.basis, q)
    parts = -f[:, None, :, None] * jnp.moveaxis(pull, 0, 1)
    total = jnp.zeros((len(f), 3, x.shape[1]), x.dtype).at[:, :, members].add(parts)
    squares = jnp.sum(pull * pull, (1, 2))
    laplacian = jnp.zeros(len(f), x.dtype)
    if curved:
        size = p[0].size

        def trace(p: Array) -> Array:
            return jnp.trace(jax.hessian(value)(p).reshape(size, size))

        bend = slopes(lambda q: slopes(i.basis, q), q)
        laplacian = jnp.sum(bend * squares + f * jax.vmap(trace)(p), 1)
    span = jnp.stack([jnp.min(q), jnp.max(q)])
    gradient = jnp.stack([jnp.sum(squares), jnp.asarray(float(len(members)))])
    return _Part(total, laplacian, span, gradient, jnp.zeros((), jnp.int32))


def _parts(
    potential: MolecularPotential, x: Array, capacities: tuple[int, ...], curved: bool
) -> list[_Part]:
    """Of each interaction on one frame ``(axis, site)``."""
    box = jnp.asarray(potential.box, x.dtype)
    classes = potential.classes
    of_shift = None if classes.alike else jnp.asarray(classes.of_shift)
    out = []
    for k, (i, capacity) in enumerate(zip(potential.pairs, capacities, strict=True)):
        skip = None if of_shift is None else of_shift != k
        out.append(_of_pairs(i, x, box, skip, capacity, curved))
    for i in potential.bonded:
        out.append(_of_bonded(i, x, box, potential.members(i).sites, curved))
    return out


@partial(jax.jit, static_argnames="capacities")
def _design(potential: MolecularPotential, x: Array, capacities: tuple[int, ...]) -> Array:
    return jnp.concatenate([p.forces for p in _parts(potential, x, capacities, False)]).T


def design(potential: MolecularPotential, x: Array) -> Array:
    r"""Force of each function on each site, :math:`G = -\nabla f_k`, of one frame.

    :param potential: its functions are used, its coefficients are not.
    :param x: ``(site, axis)``, angstrom.
    :return: ``(site, axis, term)``; forces are ``design @ -potential.natural()``, kcal/mol/angstrom.
    """
    x = jnp.asarray(x, jnp.result_type(float))
    return _design(potential, x.T, (len(x) - 1,) * len(potential.classes))


def _blank(potential: MolecularPotential) -> _Sums:
    terms, kinds = len(potential.names), len(potential.interactions)
    zero = jnp.zeros(terms)
    return _Sums(
        jnp.zeros((terms, terms)),
        zero,
        jnp.zeros(()),
        zero,
        jnp.zeros(terms, jnp.int32),
        jnp.tile(jnp.array([jnp.inf, -jnp.inf]), (kinds, 1)),
        jnp.zeros((kinds, 2)),
        jnp.zeros(len(potential.classes), jnp.int32),
    )


@partial(jax.jit, static_argnames=("capacities", "curved"))
def _summed(
    potential: MolecularPotential,
    x: Array,
    forces: Array,
    count: Array,
    capacities: tuple[int, ...],
    curved: bool,
) -> _Sums:
    """Sums over the first ``count`` of frames ``(frame, site, axis)``."""

    def add(n: Array, sums: _Sums) -> _Sums:
        parts = _parts(potential, x[n].T, capacities, curved)
        g = jnp.concatenate([p.forces for p in parts])
        g = g.reshape(len(g), -1)
        f = forces[n].T.ravel()
        span = jnp.stack([p.span for p in parts])
        most = jnp.stack([p.most for p in parts])[: len(capacities)]
        return _Sums(
            sums.square + g @ g.T,
            sums.force + g @ f,
            sums.power + f @ f,
            sums.laplacian + jnp.concatenate([p.laplacian for p in parts]),
            sums.met + jnp.any(g != 0.0, 1),
            jnp.stack(
                [
                    jnp.minimum(sums.span[:, 0], span[:, 0]),
                    jnp.maximum(sums.span[:, 1], span[:, 1]),
                ],
                1,
            ),
            sums.gradient + jnp.stack([p.gradient for p in parts]),
            jnp.maximum(sums.most, most),
        )

    return jax.lax.fori_loop(0, count, add, _blank(potential))


def normal_equations(
    potential: MolecularPotential,
    x: Any,
    forces: Any = None,
    *,
    blocks: int = BLOCKS,
    curved: bool = False,
    tell: Callable[[float], None] = lambda done: None,
) -> NormalEquations:
    """Sum the normal equations of a trajectory over blocks of successive frames.

    :param potential: its functions are used, its coefficients are not.
    :param x: ``(frame, site, axis)``, angstrom; read a few frames at a time.
    :param forces: the same, kcal/mol/angstrom; None: only structure is wanted.
    :param blocks: the most blocks.
    :param curved: sum Laplacians, too.
    :param tell: told the fraction that is done.
    """
    count, sites = x.shape[:2]
    each = -(-count // blocks)
    together = min(each, TOGETHER)
    capacities = _capacities(potential, np.asarray(x[: min(count, 4)], float))
    sums: list[Any] = []
    frames: list[int] = []
    for start in range(0, count, each):
        total: _Sums | None = None
        stop = min(start + each, count)
        for first in range(start, stop, together):
            taken = min(together, stop - first)
            at = np.zeros((2, together, sites, 3))
            at[0, :taken] = x[first : first + taken]
            if forces is not None:
                at[1, :taken] = forces[first : first + taken]
            while True:
                one = _summed(potential, at[0], at[1], taken, capacities, curved)
                most = np.asarray(one.most)
                if not (most > capacities).any():
                    break
                capacities = tuple(
                    max(c, _roomy(m, sites)) for c, m in zip(capacities, most, strict=True)
                )
            total = one if total is None else _added(total, one)
            tell((first + taken) / count)
        assert total is not None
        sums.append(jax.tree.map(np.asarray, total))
        frames.append(stop - start)
    whole = [np.stack(part) for part in zip(*sums, strict=True)]
    square, force, power, laplacian, met, span, mean, _ = whole
    total, terms = mean.sum(0).T
    return NormalEquations(
        square,
        force,
        power,
        laplacian,
        np.array(frames),
        met.sum(0),
        np.stack([span[..., 0].min(0), span[..., 1].max(0)], 1),
        total / terms,
        3 * sites,
    )


def _added(a: _Sums, b: _Sums) -> _Sums:
    span = jnp.stack(
        [jnp.minimum(a.span[:, 0], b.span[:, 0]), jnp.maximum(a.span[:, 1], b.span[:, 1])], 1
    )
    summed = jax.tree.map(jnp.add, a, b)
    return summed._replace(span=span, most=jnp.maximum(a.most, b.most))


def _capacities(potential: MolecularPotential, x: np.ndarray) -> tuple[int, ...]:
    """Neighbours that lists must hold, as the first frames have them."""
    most = _most(potential, x) if len(potential.classes) else ()
    return tuple(_roomy(int(m), x.shape[1]) for m in most)


@jax.jit
def _most(potential: MolecularPotential, x: Array) -> list[Array]:
    classes = potential.classes
    out = []
    for k, i in enumerate(potential.pairs):
        skip = None if classes.alike else jnp.asarray(classes.of_shift != k)
        out.append(jnp.max(neighbours(x.T, potential.box, i.cutoff, 1, skip)[1]))
    return out


def _roomy(most: int, sites: int) -> int:
    """Room for so many neighbours and some more; in steps, so that few lengths are compiled."""
    return max(1, min(sites - 1, GRAIN * int(np.ceil((ROOM * most + 4) / GRAIN))))
