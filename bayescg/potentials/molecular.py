"""Sums of bonded and non-bonded terms between beads of several types."""

from dataclasses import dataclass, field

from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
import numpy as np

from bayescg.potentials.bonded import coordinate
from bayescg.potentials.classes import Members, PairClasses
from bayescg.potentials.counting import Nodes, count_pairs, fine_nodes, grown
from bayescg.potentials.pair import PairTerm, Table
from bayescg.space import minimum_image
from bayescg.topology import Topology

__all__ = ["Interaction", "MolecularPotential"]


@register_dataclass
@dataclass(frozen=True)
class Interaction:
    """One one-dimensional potential, and the kind of coordinate that it is a function of.

    :param terms: parts of the potential, functions of the coordinate (angstrom or radians).
    :param kind: ``pair``, ``bond``, ``angle`` or ``dihedral``; static.
    :param name: ``A_B`` of a pair of types, else the name of the bonded terms; static.

    >>> from bayescg.potentials.pair import LennardJones
    >>> pair = Interaction((LennardJones(0.2, 3.4),), "pair", "A_A")
    >>> pair.label, pair.names, pair.cutoff
    ('pair A_A', ('pair A_A r^-12', 'pair A_A r^-6'), 7.0)
    >>> round(float(pair.energy(jnp.asarray(2 ** (1 / 6) * 3.4))), 6)  # the minimum, kcal/mol
    -0.2
    """

    terms: tuple[PairTerm, ...]
    kind: str = field(metadata={"static": True})
    name: str = field(metadata={"static": True})

    @property
    def label(self) -> str:
        """A name that is unique in a potential: ``pair A_B``."""
        return f"{self.kind} {self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each function."""
        return tuple(f"{self.label} {n}" for t in self.terms for n in t.basis.names)

    @property
    def cutoff(self) -> float:
        """Largest value at which the potential is not zero; infinite for most bonded ones."""
        return max(t.basis.cutoff for t in self.terms)

    def natural(self) -> Array:
        r"""Coefficients :math:`\eta` of the functions, ``(term,)``; the energy is minus their product with them."""
        return jnp.concatenate([t.natural() for t in self.terms])

    def basis(self, q: Array) -> Array:
        """Functions of the coordinate, ``(term, *q.shape)``."""
        return jnp.concatenate([t.basis(q) for t in self.terms])

    def energy(self, q: Array) -> Array:
        """The potential, kcal/mol, of any shape."""
        return -jnp.tensordot(self.natural(), self.basis(jnp.asarray(q)), 1)


@register_dataclass
@dataclass(frozen=True)
class MolecularPotential:
    r"""Energy of molecules of beads in a periodic box,

    .. math:: U(X) = \sum_\zeta \sum_\lambda U_\zeta(\psi_\zeta(X_\lambda))

    over typed pairs that are not excluded, bonds, angles and dihedrals; linear in its natural
    parameters, kcal/mol.

    :param interactions: the potentials; those of pairs come first.
    :param classes: of the pairs of sites, named as the pair interactions and in their order; static.
    :param box: edges, angstrom; static.
    """

    interactions: tuple[Interaction, ...]
    classes: PairClasses = field(metadata={"static": True})
    box: tuple[float, float, float] = field(metadata={"static": True})

    def __post_init__(self) -> None:
        # Under transformations of JAX the fields may be placeholders.
        if all(isinstance(i, Interaction) for i in self.interactions):
            first = tuple(i.name for i in self.pairs if i.kind == "pair")
            if first != self.classes.names or any(i.kind == "pair" for i in self.bonded):
                raise ValueError(
                    f"pair interactions must come first, and be {', '.join(self.classes.names)}; "
                    f"got {', '.join(i.label for i in self.interactions)}."
                )

    @property
    def topology(self) -> Topology:
        """The sites, and which of them are bonded."""
        return self.classes.topology

    @property
    def pairs(self) -> tuple[Interaction, ...]:
        """The interactions of pairs, one a class."""
        return self.interactions[: len(self.classes)]

    @property
    def bonded(self) -> tuple[Interaction, ...]:
        """The interactions of bonds, angles and dihedrals."""
        return self.interactions[len(self.classes) :]

    @property
    def cutoff(self) -> float:
        """Largest distance at which sites that are not bonded interact."""
        return max((i.cutoff for i in self.pairs), default=0.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each term."""
        return tuple(n for i in self.interactions for n in i.names)

    def members(self, interaction: Interaction) -> Members:
        """Sites of the terms of a bonded interaction."""
        return self.classes.members[interaction.kind, interaction.name]

    def natural(self) -> Array:
        r"""Coefficients :math:`\eta` of all interactions in order, ``(term,)``; :math:`U = -\eta\cdot\phi`."""
        return jnp.concatenate([i.natural() for i in self.interactions])

    def statistics(self, x: Array) -> Array:
        """Sums of the functions over the terms, ``(term, *batch)``, of ``x (axis, site, *batch)``.

        Functions are summed on nodes (:mod:`~bayescg.potentials.counting`): exact for tables that are linear
        between theirs, and to 2e-5 of the fastest function otherwise.
        """
        batch = x.shape[2:]
        x = x.reshape(*x.shape[:2], -1).astype(jnp.result_type(float))
        counted = {n: count_pairs(x, self.box, n, self.classes) for n in self._pair_nodes()}
        out = []
        for k, i in enumerate(self.pairs):
            for t in i.terms:
                nodes = self._nodes_of(t)
                out.append(t.basis(jnp.asarray(nodes.values)) @ counted[nodes][k])
        for i in self.bonded:
            q = coordinate(i.kind, x, self.members(i).sites, self.box)
            out += [_summed(t, q) for t in i.terms]
        return jnp.concatenate(out).reshape(-1, *batch)

    def virials(self, x: Array) -> tuple[Array, Array]:
        r"""First and second derivative of each statistic by the logarithm of a length.

        As :meth:`bayescg.potentials.ParticlePotential.virials`: all separations and the box grow, bonds
        with them; angles do not change.

        :return: both ``(term, *batch)``, of ``x (axis, site, *batch)``.
        """
        batch = x.shape[2:]
        x = x.reshape(*x.shape[:2], -1).astype(jnp.result_type(float))
        first, second = [], []
        if self.pairs:
            nodes = fine_nodes([t for i in self.pairs for t in i.terms], self.cutoff)
            counts = count_pairs(x, self.box, nodes, self.classes)
            r = jnp.asarray(nodes.values)
            for k, i in enumerate(self.pairs):
                once = grown(i.basis)
                first.append(once(r) @ counts[k])
                second.append(grown(once)(r) @ counts[k])
        for i in self.bonded:
            if i.kind == "bond":
                q = coordinate(i.kind, x, self.members(i).sites, self.box)
                once = grown(i.basis)
                first.append(jnp.sum(once(q), 1))
                second.append(jnp.sum(grown(once)(q), 1))
            else:
                none = jnp.zeros((len(i.names), x.shape[2]))
                first.append(none)
                second.append(none)
        return tuple(jnp.concatenate(v).reshape(-1, *batch) for v in (first, second))  # type: ignore[return-value]

    def _nodes_of(self, term: PairTerm) -> Nodes:
        own = table_nodes(term)
        if own is not None:
            return own
        others = [t for i in self.pairs for t in i.terms if table_nodes(t) is None]
        return fine_nodes(others, self.cutoff)

    def _pair_nodes(self) -> tuple[Nodes, ...]:
        return tuple(dict.fromkeys(self._nodes_of(t) for i in self.pairs for t in i.terms))

    def __call__(self, x: Array) -> Array:
        """Energy, kcal/mol, of one configuration ``(site, axis)``; exact and differentiable."""
        x = jnp.asarray(x, jnp.result_type(float)).T
        energy = jnp.zeros(())
        first, second = np.triu_indices(x.shape[1], 1)
        of = self.classes.of_pair[first, second]
        for k, i in enumerate(self.pairs):
            at = of == k
            d = minimum_image(x[:, first[at]] - x[:, second[at]], self.box)
            energy = energy + jnp.sum(i.energy(jnp.sqrt(jnp.sum(d * d, 0))))
        for i in self.bonded:
            energy = energy + jnp.sum(
                i.energy(coordinate(i.kind, x, self.members(i).sites, self.box))
            )
        return energy


def table_nodes(term: PairTerm) -> Nodes | None:
    """The nodes between which all functions of a term are linear, where there are such."""
    basis = term.basis
    if not isinstance(basis, Table) or basis.order != "linear" or basis.ends != "zero":
        return None
    grid = basis.breaks
    step = float(grid[1] - grid[0])
    if np.ptp(np.diff(grid)) > 1e-9 * step:
        return None
    return Nodes(float(grid[0]), step, len(grid), "linear")


def _summed(term: PairTerm, q: Array) -> Array:
    """Sums of the functions of a term over ``q (term, batch)``: ``(function, batch)``."""
    return jnp.sum(term.basis(q), 1)
