"""Strategies for the log-partition function A(theta_c) of Eq. 36."""

from bayescg.distributions.log_partition.base import ExactLogPartition, LogPartition
from bayescg.distributions.log_partition.bridge import Bridge
from bayescg.distributions.log_partition.exact import (
    ENUMERABLE,
    Enumeration,
    TransferMatrix,
    exact_for,
)
from bayescg.distributions.log_partition.sampled import Reweighted, Tracked, effective_sample_size

__all__ = [
    "ENUMERABLE",
    "Bridge",
    "Enumeration",
    "ExactLogPartition",
    "LogPartition",
    "Reweighted",
    "Tracked",
    "TransferMatrix",
    "effective_sample_size",
    "exact_for",
]
