"""Posterior predictive of observables (PCG paper, Eqs. 17-22)."""

from bayescg.predict.particles import Production, particle_predictive
from bayescg.predict.simulation import Prediction, Simulation, posterior_predictive

__all__ = [
    "Prediction",
    "Production",
    "Simulation",
    "particle_predictive",
    "posterior_predictive",
]
