r"""A system: the helix-coil chain of Zimm and Bragg, seen through two residues at a time.

A residue is helical (+1) or coiled (-1). Neighbours cooperate, and helix has a free energy of its own:

.. math:: \beta U(X) = -J \sum_I X_I X_{I+1} - h \sum_I X_I

on a ring (B. H. Zimm and J. K. Bragg, J. Chem. Phys. 31, 526 (1959), with :math:`\sigma = e^{-4J}` and
:math:`s = e^{2h}`). A coarse unit stands for ``ratio`` residues, each of which is in its state with probability
``p0`` (PCG paper, Eq. 51). Energies are in kT.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, SpinFlip, exact_for, half_to_one, normal
from bayescg.observables import correlation, magnetization
from bayescg.options import option
from bayescg.potentials import Feature, SpinBasis, SpinPotential
from bayescg.samplers import lattice_gibbs

SUMMARY = "helix-coil chain of Zimm and Bragg, two residues a unit"


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    residues: int = option(16, "residues of the chain")
    ratio: int = option(2, "residues of a coarse unit")
    prior_scale: float = option(1.0, "standard deviation of the normal prior of J and h")
    frames: int | None = option(None, "use (reference: make) so many frames; none: all (200)")
    true_J: float = option(0.6, "cooperativity of the reference data, kT")
    true_h: float = option(0.15, "preference for helix of the reference data, kT")
    true_p0: float = option(0.9, "probability that a residue is in its unit's state (reference)")

    def __post_init__(self) -> None:
        if self.ratio < 1 or self.residues % self.ratio or self.residues // self.ratio < 3:
            raise ValueError(
                f"{self.residues} residues are not three units or more of {self.ratio} residues."
            )


@dataclass(frozen=True, eq=False)
class Chain:
    """What the program stands on; static."""

    basis: SpinBasis
    options: Options

    def p_c(self, theta_c: Array) -> Boltzmann:
        """The coarse chain, with its exact log Z."""
        return Boltzmann(
            SpinPotential(theta_c, 0.0, self.basis),
            1.0,  # energies are in kT
            log_partition=exact_for(self.basis),
            event_shape=(self.basis.sites,),
        )


def chain(options: Options) -> Chain:
    """The coarse ring with its two features: the neighbours' product, and the sum of spins."""
    features = (Feature("J", ((0, 1),), (1.0,)), Feature("h", ((0,),), (1.0,)))
    return Chain(SpinBasis(options.residues // options.ratio, features), options)


def program(x: Array | None = None, *, chain: Chain, frames: int = 1) -> None:
    """p(J, h) p(p0) p_c(X | J, h) p_cf(x | X, p0).

    :param x: residues, -1 and +1, ``(frame, site)``; None generates ``frames`` of them.
    """
    theta_c = normal("theta_c", len(chain.basis.features), scale=chain.options.prior_scale)
    p0 = half_to_one("p0")
    with numpyro.plate("frame", frames if x is None else len(x)):
        X = numpyro.sample("X", chain.p_c(theta_c))
        numpyro.sample("x", SpinFlip(X, p0, ratio=chain.options.ratio), obs=x)


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``."""
    made = chain(options)
    return cg.System(
        name="helix_coil",
        program=partial(program, chain=made),
        sampler=lattice_gibbs(made.basis),
        options=asdict(options),
        features=made.basis.names,
        observables=(magnetization(), correlation(max=options.residues // 2)),
        known_observables={
            "magnetization": magnetization,
            "correlation": partial(correlation, max=options.residues // 2),
        },
        check=cg.io.check,
        frames=options.frames,
    )


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: the length of the chain."""
    return replace(options, residues=data.sizes["site"])


def reference(options: Options, key: Array) -> xr.Dataset:
    """Independent exact samples of the chain, as ``bayescg reference`` writes them."""
    made = chain(options)
    frames = 200 if options.frames is None else options.frames
    key_X, key_x = jax.random.split(key)
    X = made.p_c(jnp.array([options.true_J, options.true_h])).sample(key_X, (frames,))
    x = SpinFlip(X, jnp.asarray(options.true_p0), ratio=options.ratio).sample(key_x)
    data = xr.Dataset(
        {"x": (("frame", "site"), np.asarray(x, np.int8))},
        attrs={"beta": 1.0, "source": "docs/examples/helix_coil.py: exact samples"},
    )
    data["x"].attrs = {"units": "1", "long_name": "residues, helix +1 and coil -1"}
    return data
