"""Observables: functions of a configuration that know the names of their axes."""

from bayescg.observables.base import Observable
from bayescg.observables.blocking import blocked_error, statistical_inefficiency
from bayescg.observables.by_name import common_lengths, molecular_observables, usual
from bayescg.observables.frame_features import LocalDensity, Moments, local_density, moments
from bayescg.observables.joint import (
    JointDistribution,
    MutualInformation,
    mutual_information,
    neighbours_of,
)
from bayescg.observables.known import Fixed, Known, fixed_of, known_of, rdf_ends
from bayescg.observables.lattice import Correlation, Magnetization, correlation, magnetization
from bayescg.observables.liquid import (
    AngularDistribution,
    Coordination,
    LiquidObservable,
    RadialDistribution,
    TetrahedralOrder,
    adf,
    coordination,
    longest_rdf,
    rdf,
    tetrahedral_order,
)
from bayescg.observables.molecular import (
    AXES,
    BondedDistribution,
    TypedRadialDistribution,
    rdf_name,
)
from bayescg.observables.slab import SlabProfile, slab_profile

__all__ = [
    "AXES",
    "AngularDistribution",
    "BondedDistribution",
    "Coordination",
    "Correlation",
    "Fixed",
    "JointDistribution",
    "Known",
    "LiquidObservable",
    "LocalDensity",
    "Magnetization",
    "Moments",
    "MutualInformation",
    "Observable",
    "RadialDistribution",
    "SlabProfile",
    "TetrahedralOrder",
    "TypedRadialDistribution",
    "adf",
    "blocked_error",
    "common_lengths",
    "coordination",
    "correlation",
    "fixed_of",
    "known_of",
    "local_density",
    "longest_rdf",
    "magnetization",
    "molecular_observables",
    "moments",
    "mutual_information",
    "neighbours_of",
    "rdf",
    "rdf_ends",
    "rdf_name",
    "slab_profile",
    "statistical_inefficiency",
    "tetrahedral_order",
    "usual",
]
