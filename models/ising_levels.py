"""The Ising lattice coarse-grained level by level: spins of spins (PCG paper, Eq. 71).

The lattice of Section 3.1 of the predictive coarse-graining (PCG) paper, whose data `bayescg reference ising`
makes. Energies are in units of the exchange constant and ``beta`` in its inverse.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from typing import Literal

from jax import Array
import numpy as np
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import (
    Boltzmann,
    LogPartition,
    SpinFlip,
    coefficients,
    exact_for,
    half_to_one,
)
from bayescg.observables import correlation, magnetization
from bayescg.options import option, with_options
from bayescg.potentials import SpinBasis, SpinPotential, independent_features, polynomial_features
from bayescg.samplers import Sampler, lattice_gibbs, long_run

SUMMARY = "Ising lattice coarse-grained through several levels of spins (PCG paper, Eq. 71)"


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    ratios: str = option("2,4", "children of a spin of each level, from the top down, with commas")
    L2: int | None = option(None, "largest pair separation (Eq. 55); none: min(15, n_c/2)")
    L3: int = option(3, "largest step of a triple (Eq. 55)")
    prior: Literal["ard", "normal", "horseshoe", "flat"] = option(
        "ard", "prior of theta_c (Eq. 41)"
    )
    prior_scale: float = option(10.0, "standard deviation of the normal prior")
    a0: float = option(1e-5, "shape of ARD's Gamma")
    b0: float = option(1e-5, "rate of ARD's Gamma")
    beta: float = option(0.3, "inverse temperature")
    n_f: int = option(64, "fine sites")
    frames: int | None = option(None, "use so many frames; none: all")


@dataclass(frozen=True, eq=False)
class Lattice:
    """What the program stands on; static."""

    basis: SpinBasis
    ratios: tuple[int, ...]  # from the top down
    log_partition: LogPartition | None
    sampler: Sampler
    options: Options


def program(x: Array | None = None, *, mu: Array, lattice: Lattice, frames: int = 1) -> None:
    """p(theta) p_c(X_L | theta_c) p(X_(L-1) | X_L, p_(L-1)) ... p_cf(x | X_1, p_0): Eq. 71 of the PCG paper.

    Levels between the top and the data are summed out by whatever reads the program: flips factorise over them.

    :param x: fine spins, ``(frame, site)``; None generates ``frames`` of them.
    :param mu: external field, on the top.
    """
    o, (*upper, ratio) = lattice.options, lattice.ratios
    theta_c = coefficients(
        "theta_c", len(lattice.basis.features), o.prior, scale=o.prior_scale, a0=o.a0, b0=o.b0
    )
    p = [half_to_one(f"p{level}") for level in range(len(lattice.ratios))]  # p0 next to the data
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            SpinPotential(theta_c, mu, lattice.basis),
            o.beta,
            log_partition=lattice.log_partition,
            event_shape=(lattice.basis.sites,),
            sampler=long_run(lattice.sampler),
        )
        X = numpyro.sample("X", p_c)
        for level, children in zip(range(len(upper), 0, -1), upper, strict=True):
            flip = SpinFlip(X, p[level], ratio=children)
            X = numpyro.sample(f"X{level}", flip, infer={"enumerate": "parallel"})
        numpyro.sample("x", SpinFlip(X, p[0], ratio=ratio), obs=x)


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if the ratios do not divide the lattice.
    """
    ratios = _ratios(options)
    n_c = options.n_f // prod(ratios)
    named = polynomial_features(min(15, n_c // 2) if options.L2 is None else options.L2, options.L3)
    basis = independent_features(n_c, named).basis
    lattice = Lattice(basis, ratios, exact_for(basis), lattice_gibbs(basis), options)
    longest = options.n_f // 2
    return cg.System(
        name="ising_levels",
        program=partial(program, lattice=lattice),
        sampler=lattice.sampler,
        conditions=("mu",),
        options=asdict(options),
        features=basis.names,
        observables=(magnetization(), correlation(max=longest)),
        known_observables={
            "magnetization": magnetization,
            "correlation": partial(correlation, max=longest),
        },
        check=partial(_check, options=options),
        frames=options.frames,
    )


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: the lattice size and the temperature."""
    cg.io.check(data)
    found = {"beta": str(data.attrs["beta"])} if "beta" in data.attrs else {}
    return replace(with_options(options, found, "the data"), n_f=data.sizes["site"])


def _ratios(o: Options) -> tuple[int, ...]:
    try:
        ratios = tuple(int(v) for v in o.ratios.split(","))
    except ValueError:
        ratios = ()
    if len(ratios) < 2 or min(ratios) < 2:
        raise ValueError(
            f"ratios must be at least two numbers of 2 or more with commas, from the top down, got {o.ratios!r}; of "
            "one level use ising."
        )
    if o.n_f % prod(ratios) or o.n_f // prod(ratios) < 2:
        raise ValueError(
            f"ratios {o.ratios} put {prod(ratios)} fine sites under a spin of the top, which does not leave at least "
            f"2 of a lattice of {o.n_f}."
        )
    if not 0.0 < o.beta < np.inf:
        raise ValueError(f"beta must be positive, got {o.beta}.")
    return ratios


def _check(data: xr.Dataset, options: Options) -> None:
    cg.io.check(data)
    if "axis" in data["x"].dims:
        raise ValueError("ising_levels needs spins x (frame, site), these data hold coordinates.")
    if data.sizes["site"] != options.n_f:
        raise ValueError(f"the data have {data.sizes['site']} sites, the model n_f={options.n_f}.")
    if "beta" in data.attrs and not np.isclose(float(data.attrs["beta"]), options.beta):
        raise ValueError(
            f"the data were made at beta={data.attrs['beta']}, the model has beta={options.beta}."
        )
