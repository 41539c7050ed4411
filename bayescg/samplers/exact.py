"""Independent exact samples of small or short-range spin lattices, as samplers."""

import jax
from jax import Array
import jax.numpy as jnp

from bayescg.potentials.enumeration import draw_states
from bayescg.potentials.lattice import SpinBasis, SpinPotential
from bayescg.potentials.transfer_matrix import sample_ring, sample_ring_in_field
from bayescg.samplers.base import ChainInfo, ChainState, Sampler

__all__ = ["enumerated_sampler", "transfer_matrix_sampler"]


def enumerated_sampler(basis: SpinBasis) -> Sampler:
    """Independent draws from the table of all states; at most 20 sites.

    :param basis: features of the lattice.
    """

    def draw(
        key: Array, potential: SpinPotential, beta: Array, field: Array | None, chains: int
    ) -> Array:
        return draw_states(key, potential, beta, field, chains)

    return _independent(basis, draw)


def transfer_matrix_sampler(basis: SpinBasis) -> Sampler:
    """Independent draws of a short-range ring by its transfer matrix.

    :param basis: features of the lattice.
    """

    def draw(
        key: Array, potential: SpinPotential, beta: Array, field: Array | None, chains: int
    ) -> Array:
        if field is None:
            return sample_ring(key, potential, beta, chains)
        return sample_ring_in_field(key, potential, beta, field)

    return _independent(basis, draw)


def _independent(basis: SpinBasis, draw) -> Sampler:  # type: ignore[no-untyped-def]
    def init(key: Array, chains: int) -> ChainState:
        up = jax.random.bernoulli(key, 0.5, (basis.sites, chains))
        return ChainState(2.0 * up.astype(jnp.float32) - 1.0)

    def step(
        key: Array,
        state: ChainState,
        potential: SpinPotential,
        beta: Array,
        field: Array | None = None,
    ) -> tuple[ChainState, ChainInfo]:
        x = draw(key, potential, beta, field, state.x.shape[1]).astype(state.x.dtype)
        return ChainState(x), ChainInfo(jnp.mean(x != state.x))

    return Sampler(init, step)
