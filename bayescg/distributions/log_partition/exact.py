"""Exact log Z of spin lattices: by listing the states, or by transfer matrix."""

from dataclasses import dataclass

from jax import Array
from jax.tree_util import register_dataclass

from bayescg.potentials import enumeration, transfer_matrix
from bayescg.potentials.lattice import SpinBasis, SpinPotential

__all__ = ["ENUMERABLE", "Enumeration", "TransferMatrix", "exact_for"]

FASTER = 8  # a term by enumeration than one by transfer matrix
ENUMERABLE = 16  # sites whose states are summed in every frame's field: 2**16 terms a frame


@register_dataclass
@dataclass(frozen=True)
class Enumeration:
    """Sum over every configuration; at most 20 sites (in a field, :data:`ENUMERABLE` is practical).

    States that translation and reflection carry into each other are summed once, with their
    statistics stored, so that log Z costs one product with ``(term, orbit)``.
    """

    def __call__(self, potential: SpinPotential, beta: Array) -> Array:
        return enumeration.log_partition(potential, beta)

    def in_field(self, potential: SpinPotential, beta: Array, field: Array) -> Array:
        r"""Log Z in fields of single sites.

        :param potential: of the lattice; :math:`\beta` in the inverse of its unit of energy.
        :param field: h of :math:`\log\sum_X \exp\{-\beta U(X) + \sum_i h_i X_i\}`, ``(frame, site)``.
        :return: ``(frame,)``.
        """
        return enumeration.log_partition_in_field(potential, beta, field)

    def sample(self, key: Array, potential: SpinPotential, beta: Array, samples: int) -> Array:
        """Independent exact configurations, ``(sample, site)``, drawn from the table of states."""
        return enumeration.draw_states(key, potential, beta, None, samples).T


@register_dataclass
@dataclass(frozen=True)
class TransferMatrix:
    """Trace of the transfer matrix's power; periodic rings of range at most 10."""

    def __call__(self, potential: SpinPotential, beta: Array) -> Array:
        return transfer_matrix.log_partition(potential, beta)

    def in_field(self, potential: SpinPotential, beta: Array, field: Array) -> Array:
        r"""Log Z in fields of single sites.

        :param potential: of the ring; :math:`\beta` in the inverse of its unit of energy.
        :param field: h of :math:`\log\sum_X \exp\{-\beta U(X) + \sum_i h_i X_i\}`, ``(frame, site)``.
        :return: ``(frame,)``.
        """
        return transfer_matrix.log_partition_in_field(potential, beta, field)

    def sample(self, key: Array, potential: SpinPotential, beta: Array, samples: int) -> Array:
        """Independent exact configurations, ``(sample, site)``, drawn site by site."""
        return transfer_matrix.sample_ring(key, potential, beta, samples).T


def exact_for(basis: SpinBasis, max_range: int = 6) -> Enumeration | TransferMatrix | None:
    """The cheapest exact strategy for a basis, or None where there is none.

    :param basis: features of the lattice.
    :param max_range: longest range for which a transfer matrix is worth its cost when every
        frame's latent spins are to be summed out (it grows as ``4**range``).

    >>> from bayescg.potentials.lattice import pair_features
    >>> exact_for(SpinBasis(8, tuple(pair_features([1, 2, 3, 4]))))
    Enumeration()
    >>> exact_for(SpinBasis(64, tuple(pair_features([1]))))
    TransferMatrix()
    >>> exact_for(SpinBasis(64, tuple(pair_features([20])))) is None
    True
    """
    short = basis.range <= max_range and basis.sites > basis.range
    # Terms of a frame: all states, or for each site the moves from every start to every state, at which
    # products of matrices are several times faster.
    moves = FASTER * basis.sites * 2 * 4 ** max(basis.range, 1)
    if basis.sites <= ENUMERABLE and not (short and moves < 2**basis.sites):
        return Enumeration()
    return TransferMatrix() if short else None
