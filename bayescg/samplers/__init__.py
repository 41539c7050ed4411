"""Samplers of p_c(X) and of q_i(X) (PCG paper, Eq. 24), batched over chains."""

from bayescg.samplers.base import ChainInfo, ChainState, Sampler, long_run
from bayescg.samplers.exact import enumerated_sampler, transfer_matrix_sampler
from bayescg.samplers.forces import closest_distance
from bayescg.samplers.gibbs import lattice_gibbs
from bayescg.samplers.particles import (
    Dynamics,
    ParticleState,
    kernels,
    particle_sampler,
    usual_precision,
)
from bayescg.samplers.simulation import simulate
from bayescg.samplers.tethers import Held, Tether, TetherMixture

__all__ = [
    "ChainInfo",
    "ChainState",
    "Dynamics",
    "Held",
    "ParticleState",
    "Sampler",
    "Tether",
    "TetherMixture",
    "closest_distance",
    "enumerated_sampler",
    "kernels",
    "lattice_gibbs",
    "long_run",
    "particle_sampler",
    "simulate",
    "transfer_matrix_sampler",
    "usual_precision",
]
