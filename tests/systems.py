"""Small lattices that the tests share, so that few shapes are compiled, and a fit that nobody made."""

from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.fit import Fit
from bayescg.infer.program import Program
from bayescg.potentials import (
    Feature,
    SpinBasis,
    SpinPotential,
    independent_features,
    pair_features,
    polynomial_features,
)
from bayescg.system import Batch, System

SITES = 8
BETA = 0.7

#: All independent features of Eq. 55 on eight sites: 10 of 25.
FULL = independent_features(SITES, polynomial_features(15, 3)).basis

#: Nearest neighbours only: two colours, range 1.
CHAIN = SpinBasis(SITES, tuple(pair_features([1])))

#: A triple that is not its own mirror image, which none of Eq. 55's features is.
ONE_SIDED = SpinBasis(SITES, (*pair_features([1]), Feature("one_sided", ((0, 1, 3),), (1.0,))))

BASES = {"full": FULL, "chain": CHAIN, "one_sided": ONE_SIDED}


def potential(basis: SpinBasis = FULL, *, scale: float = 0.3, seed: int = 0) -> SpinPotential:
    """Random couplings of a given scale, in a field of 0.4."""
    theta = scale * np.random.default_rng(seed).normal(size=len(basis.features))
    return SpinPotential(jnp.asarray(theta), jnp.asarray(0.4), basis)


def stand_in(
    system: System, batch: Batch, program: Program, draws: np.ndarray, key: Array | None = None
) -> Fit:
    """What a method would return, with draws ``(chain, draw, member, u)`` that no method made."""
    return Fit(
        method="nuts",
        system=system,
        batch=batch,
        program=program,
        draws=draws,
        mode=None,
        approximation="made up",
        converged=np.ones(draws.shape[2], bool),
        ended="converged",
        messages=(),
        seconds=0.0,
        exact=system.sampler.at is None,
        key=key,
    )
