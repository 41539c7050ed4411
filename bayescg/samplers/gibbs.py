"""Coloured Gibbs sampling of spin lattices."""

from functools import lru_cache

import jax
from jax import Array
import jax.numpy as jnp

from bayescg.potentials.lattice import SpinBasis, SpinPotential, colours, local_field
from bayescg.samplers.base import ChainInfo, ChainState, Sampler

__all__ = ["lattice_gibbs"]


@lru_cache(maxsize=32)  # one object a basis, so that compiled programs are found again
def lattice_gibbs(basis: SpinBasis) -> Sampler:
    r"""Gibbs sweeps over a ring of spins; a step is one sweep of every chain.

    Sites of one colour do not interact and are drawn together from
    :math:`p(X_i = 1 \mid X_{-i}) = 1 / (1 + \exp\{-2(\beta f_i + h_i)\})` with the local field
    :math:`f_i = -\partial U / \partial X_i`. Arithmetic is in 32 bits: the probabilities are
    then right to about 1e-6, far below what any run can resolve.

    :param basis: features of the lattice.

    >>> from bayescg.potentials.lattice import SpinBasis, pair_features
    >>> sampler = lattice_gibbs(SpinBasis(8, tuple(pair_features([1]))))
    >>> sampler.init(jax.random.key(0), 5).x.shape  # (site, chain)
    (8, 5)
    """
    groups = colours(basis)

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
        natural = (beta * potential.natural()).astype(jnp.float32)
        chains = state.x.shape[1]
        uniform = jax.random.uniform(key, (*groups.shape, chains), jnp.float32)
        h = None if field is None else field.astype(jnp.float32)

        def draw(x: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
            sites, u = inputs
            f = local_field(basis, natural, x, sites)
            if h is not None:
                f = f + h[sites]
            new = jnp.where(u * (1.0 + jnp.exp(-2.0 * f)) < 1.0, 1.0, -1.0).astype(jnp.float32)
            return x.at[sites].set(new), None

        x, _ = jax.lax.scan(draw, state.x, (jnp.asarray(groups), uniform))
        return ChainState(x), ChainInfo(jnp.mean(x != state.x))

    return Sampler(init, step)
