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
from bayescg.potentials.pair import (
    WCA,
    BSplines,
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    PairBasis,
    PairTerm,
    Table,
    Wall,
    WindowedFourier,
)
from bayescg.potentials.particles import ParticlePotential
from bayescg.potentials.three_body import StillingerWeber

__all__ = [
    "WCA",
    "BSplines",
    "ExponentialFamily",
    "Feature",
    "FixedPair",
    "InversePowers",
    "LennardJones",
    "LinearPair",
    "PairBasis",
    "PairTerm",
    "ParticlePotential",
    "Potential",
    "SpinBasis",
    "SpinPotential",
    "StillingerWeber",
    "Table",
    "Wall",
    "WindowedFourier",
    "independent_features",
    "pair_features",
    "polynomial_features",
]
