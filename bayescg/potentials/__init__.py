"""Energies: pytrees whose leaves are exactly their parameters."""

from bayescg.potentials.base import ExponentialFamily, Potential
from bayescg.potentials.bonded import Harmonic, HarmonicTerm, PeriodicTable, Walls, Waves
from bayescg.potentials.classes import PairClasses, classes_of
from bayescg.potentials.fixed import FixedTable
from bayescg.potentials.lattice import (
    Feature,
    SpinBasis,
    SpinPotential,
    decaying_couplings,
    independent_features,
    pair_features,
    polynomial_features,
)
from bayescg.potentials.molecular import Interaction, MolecularPotential
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
    "FixedTable",
    "Harmonic",
    "HarmonicTerm",
    "Interaction",
    "InversePowers",
    "LennardJones",
    "LinearPair",
    "MolecularPotential",
    "PairBasis",
    "PairClasses",
    "PairTerm",
    "ParticlePotential",
    "PeriodicTable",
    "Potential",
    "SpinBasis",
    "SpinPotential",
    "StillingerWeber",
    "Table",
    "Wall",
    "Walls",
    "Waves",
    "WindowedFourier",
    "classes_of",
    "decaying_couplings",
    "independent_features",
    "pair_features",
    "polynomial_features",
]
