"""The Ising lattice of Section 3.1 of the predictive coarse-graining (PCG) paper.

Fine: ``n_f`` spins on a ring with couplings that decay as a power of distance (Eqs. 46-48).
Coarse: ``n_f / ratio`` spins with one-, two- and three-body interactions (Eq. 55). A coarse spin's
children equal it with probability ``p0`` (Eq. 51). Energies are in units of the exchange constant
and ``beta`` in its inverse.

Each field has its own coefficients; under ``prior=curve`` they are smooth functions of the field, which all fields
of the data share, so that the fit predicts at fields without data too.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import (
    Boltzmann,
    Curves,
    LogPartition,
    MajorityReconstruction,
    SpinFlip,
    coefficients,
    exact_for,
    half_to_one,
)
from bayescg.mapping import majority
from bayescg.observables import correlation, magnetization
from bayescg.options import numbers, numbers_in_words, option, with_options
from bayescg.potentials import (
    SpinBasis,
    SpinPotential,
    decaying_couplings,
    independent_features,
    pair_features,
    polynomial_features,
)
from bayescg.samplers import Sampler, enumerated_sampler, lattice_gibbs, long_run

SUMMARY = "one-dimensional Ising lattice, coarse-grained by 2, 4, 8, ... (PCG paper, Section 3.1)"


ENUMERATED = 10  # most coarse sites whose states are drawn from a table


#: Options that say how the fine data were made; a data file carries them as attributes.
MADE_BY = ("beta", "J0", "a", "L_f", "count", "exponent")
REFERENCE_OPTIONS = ("n_f", *MADE_BY, "mu", "frames")


#: Options that suit a method better than the model's own defaults: a critic looks at coarse spins alone, and
#: growing chooses features where ARD would.
METHOD_DEFAULTS = {
    "grow": {"prior": "normal"},
    "arcg": {"prior": "flat", "fine": "majority"},
    "classifier": {"prior": "flat", "fine": "majority"},
}


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set; defaults are the paper's."""

    n_f: int = option(64, "fine sites")
    J0: float = option(1.5, "overall strength of the fine couplings (Eq. 48)")
    a: float = option(0.8, "exponent of their decay (Eq. 47)")
    L_f: int = option(8, "largest interacting separation of the fine lattice, sites")
    beta: float = option(0.3, "inverse temperature")
    mu: str | None = option(
        None,
        "external field: a number, or a sweep as first:last:count or with commas; "
        "none: all that the data hold (reference: -4:4:41)",
    )
    count: Literal["once", "ordered"] = option(
        "once", "the sum over |i-j|=k in Eq. 46 counts each pair once, or (i,j) and (j,i)"
    )
    exponent: Literal["a-1", "1-a"] = option(
        "a-1", "power of L_f in Eq. 48: as printed, or its inverse"
    )
    ratio: int = option(2, "fine sites per coarse site")
    L2: int | None = option(None, "largest pair separation (Eq. 55); none: min(15, n_c/2)")
    L3: int = option(3, "largest step of a triple (Eq. 55)")
    aliases: Literal["tie", "drop"] = option(
        "tie", "features that coincide: share a coefficient, or keep one"
    )
    prior: Literal["ard", "normal", "horseshoe", "flat", "curve"] = option(
        "ard",
        "prior of theta_c (Eq. 41); curve: one smooth function of mu for all fields (-m nuts or mcem)",
    )
    prior_scale: float = option(10.0, "standard deviation of the normal prior")
    a0: float = option(1e-5, "shape of ARD's Gamma")
    b0: float = option(1e-5, "rate of ARD's Gamma")
    reach: float | None = option(None, "curve: for |mu| up to this; none: the data's largest")
    degree: int = option(8, "curve: highest order of its polynomials")
    symmetric: bool = option(
        True,
        "curve: flipping all spins and mu changes nothing, so coefficients are even or odd in mu",
    )
    deviation: float = option(
        0.0,
        "curve: how far a field may deviate from it, in scales of each coefficient (half-normal)",
    )
    fine: Literal["flip", "majority"] = option(
        "flip", "coarse-to-fine map: spin flips (Eq. 51), or consistent with the majority (Eq. 7)"
    )
    ties: Literal["up", "random"] = option("up", "tie rule of the majority map (Eq. 56), for rem")
    frames: int | None = option(None, "use (reference: make) so many frames; none: all (100)")


@dataclass(frozen=True, eq=False)
class Lattice:
    """The coarse lattice that the program stands on; static."""

    basis: SpinBasis
    ratio: int
    beta: float
    log_partition: LogPartition | None
    sampler: Sampler
    prior: Literal["ard", "normal", "horseshoe", "flat", "curve"] = "ard"
    prior_scale: float = 10.0
    a0: float = 1e-5
    b0: float = 1e-5
    fine: Literal["flip", "majority"] = "flip"
    ties: Literal["up", "random"] = "up"
    curves: Curves | None = None  # of mu, under the prior of that name
    symmetric: bool = True

    def parameters(self, mu: Array) -> tuple[Array, Array | None]:
        """theta_c and p0 at a field, with their priors."""
        flips = self.fine == "flip"
        if self.curves is None:
            size = len(self.basis.features)
            theta_c = coefficients(
                "theta_c", size, self.prior, scale=self.prior_scale, a0=self.a0, b0=self.b0
            )
            return theta_c, half_to_one("p0") if flips else None  # Eq. 52
        # U(-X; -mu, theta') = U(X; mu, theta) where theta' has the other sign for one and three spins.
        parity = self.basis.parity if self.symmetric else (0,) * len(self.basis.features)
        theta_c = self.curves.coefficients("theta_c", mu, parity)
        even = 1 if self.symmetric else 0
        return theta_c, self.curves.half_to_one("p0", mu, even) if flips else None


def program(x: Array | None = None, *, mu: Array, lattice: Lattice, frames: int = 1) -> None:
    """p(theta) p_c(X | theta_c) p_cf(x | X, theta_cf): Eqs. 41, 51, 55 of the PCG paper.

    :param x: fine spins, ``(frame, site)``; None generates ``frames`` of them.
    :param mu: external field.
    """
    theta_c, p0 = lattice.parameters(mu)
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            SpinPotential(theta_c, mu, lattice.basis),
            lattice.beta,
            log_partition=lattice.log_partition,
            event_shape=(lattice.basis.sites,),
            sampler=long_run(lattice.sampler),
        )
        X = numpyro.sample("X", p_c)
        if p0 is None:
            p_cf = MajorityReconstruction(X, ratio=lattice.ratio, ties=lattice.ties)  # Eq. 7
        else:
            p_cf = SpinFlip(X, p0, ratio=lattice.ratio)  # Eq. 51
        numpyro.sample("x", p_cf, obs=x)


def fine_potential(options: Options, mu: float) -> SpinPotential:
    """Fine lattice of Eqs. 46-48 in field ``mu``.

    :raises ValueError: unless ``L_f`` lies between 1 and n_f - 1.
    """
    if not 1 <= options.L_f < options.n_f:
        raise ValueError(f"L_f must lie between 1 and n_f - 1, got {options.L_f}.")
    couplings = decaying_couplings(options.J0, options.a, options.L_f, options.exponent)
    pairs = pair_features(range(1, options.L_f + 1), count=options.count)
    basis = SpinBasis(options.n_f, tuple(pairs))
    return SpinPotential(jnp.asarray(couplings), jnp.asarray(mu, float), basis)


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if the ratio does not divide the lattice, or an option is out of range.
    """
    if options.ratio < 1 or options.n_f % options.ratio:
        fits = [r for r in range(1, options.n_f // 2 + 1) if options.n_f % r == 0]
        raise ValueError(
            f"a lattice of {options.n_f} sites is not divisible by ratio {options.ratio}; "
            f"allowed: {', '.join(map(str, fits))}."
        )
    _check_beta(options)
    n_c = options.n_f // options.ratio
    if n_c < 2:
        raise ValueError(f"ratio {options.ratio} leaves {n_c} coarse site; at least 2 are needed.")
    pair_range = min(15, n_c // 2) if options.L2 is None else options.L2
    curves = _curves(options) if options.prior == "curve" else None
    named = polynomial_features(pair_range, options.L3)
    independent = independent_features(n_c, named, options.aliases)
    basis = independent.basis
    lattice = Lattice(
        basis,
        options.ratio,
        options.beta,
        exact_for(basis),
        lattice_gibbs(basis),
        options.prior,
        options.prior_scale,
        options.a0,
        options.b0,
        options.fine,
        options.ties,
        curves,
        options.symmetric,
    )
    names = np.array([f.name for f in named])
    constants = {
        "alias_of": (
            ("feature_of_paper",),
            np.array(independent.alias_of),
            "independent feature that carries it",
            "1",
        ),
        "alias_coefficient": (
            ("feature_of_paper",),
            np.array(independent.coefficient),
            "coefficient relative to it",
            "1",
        ),
        "feature_named": (("feature_of_paper",), names, "features of Eq. 55", "1"),
    }
    measured = (magnetization(), correlation(max=options.n_f // 2))
    return cg.System(
        name="ising",
        program=partial(program, lattice=lattice),
        sampler=lattice.sampler,
        conditions=("mu",),
        domain={} if curves is None else {"mu": (-curves.reach, curves.reach)},
        options=asdict(options),
        features=basis.names,
        observables=measured,
        known_observables={
            "magnetization": magnetization,
            "correlation": partial(correlation, max=options.n_f // 2),
        },
        restriction=partial(majority, ratio=options.ratio, ties=options.ties),
        constants=constants,
        check=partial(_check, options=options),
        select=partial(_select, options=options),
        frames=options.frames,
        independent=enumerated_sampler(basis) if n_c <= ENUMERATED else None,
    )


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: the lattice size, and how they were made."""
    cg.io.check(data)
    found = {k: str(data.attrs[k]) for k in MADE_BY if k in data.attrs}
    made = replace(with_options(options, found, "the data"), n_f=data.sizes["site"])
    if options.prior != "curve" or options.reach is not None or "mu" not in data.coords:
        return made
    return replace(made, reach=float(abs(_select(data, options)["mu"]).max()))


def _curves(options: Options) -> Curves:
    """How parameters depend on the field."""
    fields = numbers("-4:4:41" if options.mu is None else options.mu, "mu")
    reach = float(np.abs(fields).max()) if options.reach is None else options.reach
    return Curves(reach, options.degree, deviation=options.deviation)


def _select(data: xr.Dataset, options: Options) -> xr.Dataset:
    """The fields that ``mu`` names."""
    if options.mu is None:
        return data
    wanted = numbers(options.mu, "mu")
    if "mu" not in data.dims:
        if "mu" not in data.attrs:
            return data  # said in words where the conditions are read
        there = np.array([float(data.attrs["mu"])])
        if len(wanted) != 1 or not np.allclose(wanted, there, atol=1e-6):
            raise ValueError(f"the data are at mu={there[0]:g}, not at mu={options.mu}.")
        return data
    there = np.asarray(data["mu"].values, float)
    gaps = np.abs(there[:, None] - wanted)
    if gaps.min(0).max() > 1e-6:
        lost = wanted[gaps.min(0) > 1e-6][0]
        raise ValueError(f"the data hold mu={numbers_in_words(there)}, and not mu={lost:g}.")
    return data.isel(mu=gaps.argmin(0))


def _check(data: xr.Dataset, options: Options) -> None:
    cg.io.check(data)
    if "axis" in data["x"].dims:
        raise ValueError(
            "the ising model needs spins x (frame, site), these data hold coordinates."
        )
    if data.sizes["site"] != options.n_f:
        raise ValueError(f"the data have {data.sizes['site']} sites, the model n_f={options.n_f}.")
    for name in MADE_BY:
        ours, theirs = getattr(options, name), data.attrs.get(name)
        if theirs is None:
            continue
        same = theirs == ours if isinstance(ours, str) else np.isclose(float(theirs), ours)
        if not same:
            raise ValueError(f"the data were made at {name}={theirs}, the model has {name}={ours}.")


def _check_beta(options: Options) -> None:
    if not 0.0 < options.beta < np.inf:
        raise ValueError(f"beta must be positive, got {options.beta}.")


def reference(options: Options, key: Array) -> xr.Dataset:
    """Independent exact samples of the fine lattice, and its exact observables.

    :return: a data set (``x``, and ``magnetization`` and ``correlation`` with zero ``_se``).
    :raises ValueError: for fewer than two frames, or couplings that leave the range of floating
        point.
    """
    from bayescg.potentials.transfer_matrix import ring_moments, sample_ring

    mus = numbers("-4:4:41" if options.mu is None else options.mu, "mu")
    frames = 100 if options.frames is None else options.frames
    if frames < 2:
        raise ValueError(f"frames must be at least 2, got {frames}.")
    _check_beta(options)
    beta = jnp.asarray(options.beta, float)

    @jax.jit
    def one(mu: Array, key: Array) -> tuple[Array, Array, Array]:
        potential = replace(fine_potential(options, 0.0), field=mu)
        return (*ring_moments(potential, beta), sample_ring(key, potential, beta, frames).T)

    rows = [
        one(jnp.asarray(mu), k) for mu, k in zip(mus, jax.random.split(key, len(mus)), strict=True)
    ]
    m, r, x = (np.stack([np.asarray(row[j]) for row in rows]) for j in range(3))
    if not (np.isfinite(m).all() and np.isfinite(r).all()):
        raise ValueError(
            "couplings or fields too strong: the transfer matrix leaves the range of floating point; "
            "make J0, mu or beta smaller."
        )
    data = xr.Dataset(
        {
            "x": (("mu", "frame", "site"), x.astype(np.int8)),
            "magnetization": (("mu",), m),
            "magnetization_se": (("mu",), np.zeros_like(m)),
            "correlation": (("mu", "separation"), r),
            "correlation_se": (("mu", "separation"), np.zeros_like(r)),
        },
        coords={"mu": mus, "separation": np.arange(1, options.n_f // 2 + 1)},
        attrs={
            "beta": options.beta,
            "source": "bayescg reference ising: independent exact samples by transfer matrix",
            **{k: getattr(options, k) for k in MADE_BY if k != "beta"},
        },
    )
    if len(mus) == 1:
        data = data.isel(mu=0, drop=True).assign_attrs(mu=float(mus[0]))
    data["x"].attrs = {"units": "1", "long_name": "fine spins"}
    for name, text in (
        ("magnetization", "exact magnetisation per site"),
        ("correlation", "exact correlation R(k)"),
    ):
        data[name].attrs = {"units": "1", "long_name": text}
        data[f"{name}_se"].attrs = {
            "units": "1",
            "long_name": f"standard error of {name} (exact: zero)",
        }
    return data
