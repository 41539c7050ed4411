"""Sums of pair and three-body terms in a periodic box."""

from dataclasses import dataclass, field, replace

from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
import numpy as np

from bayescg.potentials.counting import Nodes, count_pairs, fine_nodes, grown
from bayescg.potentials.pair import PairTerm
from bayescg.potentials.three_body import StillingerWeber
from bayescg.space import pair_distances

__all__ = ["ParticlePotential"]

GROWTH = 1e-3  # of lengths, in the difference quotients of the three-body term


@register_dataclass
@dataclass(frozen=True)
class ParticlePotential:
    r"""Energy of like sites in a periodic box,

    .. math:: U(X) = \sum_{j<k} u(R_{jk}) + U_{\mathrm{SW}}(X)

    (PCG paper, Eqs. 63-64); linear in its natural parameters, kcal/mol.

    :param pairs: terms of the pair potential.
    :param box: edges, angstrom; static.
    :param three_body: the three-body term, or None.
    """

    pairs: tuple[PairTerm, ...]
    box: tuple[float, float, float] = field(metadata={"static": True})
    three_body: StillingerWeber | None = None

    @property
    def cutoff(self) -> float:
        """Largest distance at which sites interact."""
        return max(t.basis.cutoff for t in self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each term."""
        pairs = tuple(n for t in self.pairs for n in t.basis.names)
        return pairs if self.three_body is None else (*pairs, "three-body")

    def natural(self) -> Array:
        r"""Coefficients :math:`\eta` of all terms in their order, ``(term,)``, so that :math:`U = -\eta\cdot\phi`."""
        parts = [t.natural() for t in self.pairs]
        if self.three_body is not None:
            parts.append(self.three_body.natural())
        return jnp.concatenate(parts)

    def pair_basis(self, r: Array) -> Array:
        """Functions of the distance, ``(term, *r.shape)``."""
        return jnp.concatenate([t.basis(r) for t in self.pairs])

    def pair_energy(self, r: Array) -> Array:
        """The pair potential u(r), kcal/mol, of any shape."""
        count = sum(len(t.basis.names) for t in self.pairs)
        return -jnp.tensordot(self.natural()[:count], self.pair_basis(r), 1)

    def statistics(self, x: Array) -> Array:
        """Sums of the functions over pairs and triples, ``(term, *batch)``, of ``x (axis, site, *batch)``.

        Pairs are counted on fine nodes with cubic weights, and the functions summed over the nodes,
        at a cost that does not depend on how many there are. A pair is counted to 2e-5 of the fastest
        function of its basis and much better of slow ones; where a function jumps (literal edges of a
        window, a potential that is cut), the jump is smeared over two nodes.
        """
        batch = x.shape[2:]
        x = x.reshape(*x.shape[:2], -1).astype(jnp.result_type(float))
        nodes = self._nodes()
        out = self.pair_basis(jnp.asarray(nodes.values)) @ count_pairs(x, self.box, nodes)[0]
        if self.three_body is not None:
            out = jnp.concatenate([out, self.three_body.statistics(x, self.box)])
        return out.reshape(-1, *batch)

    def virials(self, x: Array) -> tuple[Array, Array]:
        r"""First and second derivative of each statistic by the logarithm of a length.

        :math:`\partial\phi_k/\partial\ln\lambda` and :math:`\partial^2\phi_k/\partial(\ln\lambda)^2` as all
        separations and the box grow by :math:`\lambda`: for a pair function :math:`r f'` and
        :math:`r (r f')'`. What pressure and bulk modulus are made of.

        :return: both ``(term, *batch)``, of ``x (axis, site, *batch)``.
        """
        batch = x.shape[2:]
        x = x.reshape(*x.shape[:2], -1).astype(jnp.result_type(float))
        nodes = self._nodes()
        counts = count_pairs(x, self.box, nodes)[0]
        first = grown(self.pair_basis)
        r = jnp.asarray(nodes.values)
        out = first(r) @ counts, grown(first)(r) @ counts
        if self.three_body is not None:
            # Growing all lengths is shrinking the term's own.
            low, middle, high = (
                replace(self.three_body, sigma=self.three_body.sigma * np.exp(-t)).statistics(
                    x, self.box
                )
                for t in (-GROWTH, 0.0, GROWTH)
            )
            more = (high - low) / (2 * GROWTH), (high - 2 * middle + low) / GROWTH**2
            out = (jnp.concatenate([out[0], more[0]]), jnp.concatenate([out[1], more[1]]))
        return out[0].reshape(-1, *batch), out[1].reshape(-1, *batch)

    def _nodes(self) -> Nodes:
        return fine_nodes(self.pairs, self.cutoff)

    def __call__(self, x: Array) -> Array:
        """Energy, kcal/mol, of one configuration ``(site, axis)``; exact and differentiable."""
        x = jnp.asarray(x, jnp.result_type(float)).T
        energy = jnp.sum(self.pair_energy(pair_distances(x, self.box)))
        if self.three_body is not None:
            strength = -self.three_body.natural()[0]
            energy = energy + strength * self.three_body.statistics(x, self.box)[0]
        return energy
