"""Strategies for the log-partition function A(theta_c) of Eq. 36."""

from bayescg.distributions.log_partition.base import ExactLogPartition, LogPartition
from bayescg.distributions.log_partition.bridge import Bridge
from bayescg.distributions.log_partition.exact import (
    ENUMERABLE,
    Enumeration,
    TransferMatrix,
    exact_for,
)
from bayescg.distributions.log_partition.multistate import Multistate, multistate
from bayescg.distributions.log_partition.sampled import Tracked
from bayescg.distributions.log_partition.tilted import Tilted, tilted

__all__ = [
    "ENUMERABLE",
    "Bridge",
    "Enumeration",
    "ExactLogPartition",
    "LogPartition",
    "Multistate",
    "Tilted",
    "Tracked",
    "TransferMatrix",
    "exact_for",
    "multistate",
    "tilted",
]
