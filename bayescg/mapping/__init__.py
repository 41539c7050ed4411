"""Fine-to-coarse maps R: the majority rule of spins, linear maps of atoms, and what momenta ask."""

from bayescg.mapping.linear import LinearMap
from bayescg.mapping.majority import majority
from bayescg.mapping.momentum import MomentumConsistency, implied_mass, momentum_consistency
from bayescg.mapping.whole import Whole, spanning_tree

__all__ = [
    "LinearMap",
    "MomentumConsistency",
    "Whole",
    "implied_mass",
    "majority",
    "momentum_consistency",
    "spanning_tree",
]
