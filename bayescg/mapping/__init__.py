"""Fine-to-coarse maps R, linear or by majority, pre-CG maps G, and what momenta ask of them."""

from bayescg.mapping.linear import LinearMap
from bayescg.mapping.majority import majority
from bayescg.mapping.momentum import MomentumConsistency, implied_mass, momentum_consistency
from bayescg.mapping.pre_map import DropSites, FeatureMap, LinearPreMap, PreMap, drop_sites
from bayescg.mapping.whole import Whole, spanning_tree

__all__ = [
    "DropSites",
    "FeatureMap",
    "LinearMap",
    "LinearPreMap",
    "MomentumConsistency",
    "PreMap",
    "Whole",
    "drop_sites",
    "implied_mass",
    "majority",
    "momentum_consistency",
    "spanning_tree",
]
