"""Boltzmann distributions, log-partition strategies, priors and coarse-to-fine likelihoods."""

from bayescg.distributions.boltzmann import Boltzmann, spin
from bayescg.distributions.coarse_to_fine import PeriodicNormal, SpinFlip, half_to_one
from bayescg.distributions.log_partition import (
    Bridge,
    Enumeration,
    ExactLogPartition,
    LogPartition,
    Reweighted,
    Tracked,
    TransferMatrix,
    effective_sample_size,
    exact_for,
)
from bayescg.distributions.priors import (
    PRIORS,
    ard,
    coefficients,
    flat,
    flat_positive,
    horseshoe,
    normal,
)
from bayescg.distributions.reconstruction import MajorityReconstruction

__all__ = [
    "PRIORS",
    "Boltzmann",
    "Bridge",
    "Enumeration",
    "ExactLogPartition",
    "LogPartition",
    "MajorityReconstruction",
    "PeriodicNormal",
    "Reweighted",
    "SpinFlip",
    "Tracked",
    "TransferMatrix",
    "ard",
    "coefficients",
    "effective_sample_size",
    "exact_for",
    "flat",
    "flat_positive",
    "half_to_one",
    "horseshoe",
    "normal",
    "spin",
]
