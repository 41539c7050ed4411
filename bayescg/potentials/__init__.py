"""Energies: pytrees whose leaves are exactly their parameters."""

from bayescg.potentials.base import ExponentialFamily, Potential
from bayescg.potentials.lattice import (
    Feature,
    SpinBasis,
    SpinPotential,
    independent_features,
    pair_features,
    polynomial_features,
)

__all__ = [
    "ExponentialFamily",
    "Feature",
    "Potential",
    "SpinBasis",
    "SpinPotential",
    "independent_features",
    "pair_features",
    "polynomial_features",
]
