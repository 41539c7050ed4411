"""Boltzmann distributions, log-partition strategies, priors and coarse-to-fine likelihoods."""

from bayescg.distributions.around import Around
from bayescg.distributions.boltzmann import Boltzmann, spin
from bayescg.distributions.coarse_to_fine import (
    PeriodicMixture,
    PeriodicNormal,
    SpinFlip,
    half_to_one,
    increasing_variances,
)
from bayescg.distributions.curves import Curves
from bayescg.distributions.hidden import MarkovPath, StickBreaking, stationary
from bayescg.distributions.log_partition import (
    Bridge,
    Enumeration,
    ExactLogPartition,
    LogPartition,
    Multistate,
    Tracked,
    TransferMatrix,
    exact_for,
    multistate,
)
from bayescg.distributions.nested import NestedSpinFlip
from bayescg.distributions.priors import (
    PRIORS,
    ard,
    coefficients,
    flat,
    flat_positive,
    horseshoe,
    normal,
    positive,
)
from bayescg.distributions.reconstruction import MajorityReconstruction
from bayescg.distributions.trends import Trend

__all__ = [
    "PRIORS",
    "Around",
    "Boltzmann",
    "Bridge",
    "Curves",
    "Enumeration",
    "ExactLogPartition",
    "LogPartition",
    "MajorityReconstruction",
    "MarkovPath",
    "Multistate",
    "NestedSpinFlip",
    "PeriodicMixture",
    "PeriodicNormal",
    "SpinFlip",
    "StickBreaking",
    "Tracked",
    "TransferMatrix",
    "Trend",
    "ard",
    "coefficients",
    "exact_for",
    "flat",
    "flat_positive",
    "half_to_one",
    "horseshoe",
    "increasing_variances",
    "multistate",
    "normal",
    "positive",
    "spin",
    "stationary",
]
