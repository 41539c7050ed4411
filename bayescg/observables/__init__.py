"""Observables: functions of a configuration that know the names of their axes."""

from bayescg.observables.base import Observable
from bayescg.observables.lattice import Correlation, Magnetization, correlation, magnetization

__all__ = ["Correlation", "Magnetization", "Observable", "correlation", "magnetization"]
