"""Samplers of p_c(X) and of q_i(X) (PCG paper, Eq. 24), batched over chains."""

from bayescg.samplers.base import ChainInfo, ChainState, Sampler, long_run
from bayescg.samplers.exact import enumerated_sampler, transfer_matrix_sampler
from bayescg.samplers.gibbs import lattice_gibbs

__all__ = [
    "ChainInfo",
    "ChainState",
    "Sampler",
    "enumerated_sampler",
    "lattice_gibbs",
    "long_run",
    "transfer_matrix_sampler",
]
