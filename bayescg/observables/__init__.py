"""Observables: functions of a configuration that know the names of their axes."""

from bayescg.observables.base import Observable
from bayescg.observables.blocking import blocked_error, statistical_inefficiency
from bayescg.observables.lattice import Correlation, Magnetization, correlation, magnetization
from bayescg.observables.liquid import (
    AngularDistribution,
    Coordination,
    LiquidObservable,
    RadialDistribution,
    TetrahedralOrder,
    adf,
    coordination,
    rdf,
    tetrahedral_order,
)

__all__ = [
    "AngularDistribution",
    "Coordination",
    "Correlation",
    "LiquidObservable",
    "Magnetization",
    "Observable",
    "RadialDistribution",
    "TetrahedralOrder",
    "adf",
    "blocked_error",
    "coordination",
    "correlation",
    "magnetization",
    "rdf",
    "statistical_inefficiency",
    "tetrahedral_order",
]
