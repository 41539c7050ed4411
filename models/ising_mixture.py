"""A lattice whose frames are in one of a few hidden states, each with a coarse model of its own.

Section 4 of the predictive coarse-graining (PCG) paper, on the lattice of its Section 3.1: a mixture over CG
states (Eqs. 69 and 70), its Dirichlet-process version, and for frames that follow each other a hidden Markov
model. Energies are in units of the exchange constant and ``beta`` in its inverse.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr

import bayescg as cg
from bayescg.distributions import (
    Boltzmann,
    LogPartition,
    MarkovPath,
    SpinFlip,
    StickBreaking,
    coefficients,
    exact_for,
    half_to_one,
    stationary,
)
from bayescg.observables import correlation, magnetization
from bayescg.options import option, with_options
from bayescg.potentials import (
    SpinBasis,
    SpinPotential,
    decaying_couplings,
    independent_features,
    pair_features,
    polynomial_features,
)
from bayescg.samplers import Sampler, lattice_gibbs, long_run

SUMMARY = "Ising lattice that is in one of several hidden states: mixture, Dirichlet process, hidden Markov model"

#: Options that say how the fine data were made.
REFERENCE_OPTIONS = (
    "n_f", "J0", "mu", "a", "L_f", "beta", "states", "order", "share", "stay", "frames",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    states: int = option(2, "hidden states; of weights=stick the number at which sticks are cut")
    weights: Literal["dirichlet", "stick"] = option(
        "dirichlet", "prior of the states' weights: Dirichlet, or a Dirichlet process's sticks"
    )
    order: Literal["none", "markov"] = option(
        "none", "frames: independent, or following each other (a hidden Markov model)"
    )
    flips: Literal["shared", "own"] = option(
        "shared", "p0 of the coarse-to-fine map (Eq. 70): one for all states, or one each"
    )
    ratio: int = option(8, "fine sites per coarse site")
    L2: int = option(2, "largest pair separation (Eq. 55)")
    L3: int = option(0, "largest step of a triple (Eq. 55)")
    prior: Literal["normal", "horseshoe"] = option("normal", "prior of each state's theta_c")
    prior_scale: float = option(2.0, "standard deviation of the normal prior")
    alpha: float = option(1.0, "Dirichlet prior of weights, and of rows of the transition matrix")
    concentration_shape: float = option(
        1.0, "shape of the Gamma prior of the sticks' concentration"
    )
    concentration_rate: float = option(1.0, "its rate")
    beta: float = option(0.3, "inverse temperature")
    n_f: int = option(64, "fine sites")
    J0: str = option(
        "1.5", "reference: strength of the fine couplings (Eq. 48), one or one a state"
    )
    mu: str = option("-0.5,0.5", "reference: external field, one or one a state")
    a: float = option(0.8, "reference: exponent of the couplings' decay (Eq. 47)")
    L_f: int = option(8, "reference: largest interacting separation, sites")
    share: str | None = option(
        None, "reference, order=none: probability of each state, with commas; none: equal"
    )
    stay: float = option(
        0.95, "reference, order=markov: probability that the next frame's state is the same"
    )
    frames: int | None = option(None, "use (reference: make) so many frames; none: all (200)")


@dataclass(frozen=True, eq=False)
class Lattice:
    """What the program stands on; static."""

    basis: SpinBasis
    log_partition: LogPartition | None
    sampler: Sampler
    options: Options


def program(x: Array | None = None, *, lattice: Lattice, frames: int = 1) -> None:
    """p(theta) p(S) p_c(X | theta_c^S) p_cf(x | X, theta_cf^S): Eqs. 69 and 70 of the PCG paper.

    :param x: fine spins, ``(frame, site)``; None generates ``frames`` of them.
    """
    o = lattice.options
    count = frames if x is None else len(x)
    with numpyro.plate("state", o.states):
        theta_c = coefficients("theta_c", len(lattice.basis.features), o.prior, scale=o.prior_scale)
        p0 = half_to_one("p0") if o.flips == "own" else None
    if p0 is None:
        p0 = jnp.broadcast_to(half_to_one("p0"), (o.states,))
    drawn = hidden_path(o, count) if o.order == "markov" else state_weights(o)
    with numpyro.plate("frame", count):
        S = drawn if o.order == "markov" else numpyro.sample("S", dist.Categorical(drawn))
        p_c = Boltzmann(
            SpinPotential(theta_c[S], jnp.zeros(jnp.shape(S)), lattice.basis),
            o.beta,
            log_partition=lattice.log_partition,
            event_shape=(lattice.basis.sites,),
            batch_shape=jnp.shape(S),
            sampler=long_run(lattice.sampler),
        )
        X = numpyro.sample("X", p_c)  # Eq. 69
        numpyro.sample("x", SpinFlip(X, p0[S], ratio=o.ratio), obs=x)  # Eq. 70


def state_weights(o: Options) -> Array:
    """p(S) of independent frames: Dirichlet, or the sticks of a truncated Dirichlet process."""
    if o.weights == "dirichlet":
        return numpyro.sample("weights", dist.Dirichlet(jnp.full(o.states, o.alpha)))
    concentration = numpyro.sample(
        "concentration", dist.Gamma(o.concentration_shape, o.concentration_rate)
    )
    return numpyro.sample("weights", StickBreaking(concentration, o.states))


def hidden_path(o: Options, frames: int) -> Array:
    """p(S_1 ... S_N) of frames that follow each other, the first in any state alike."""
    with numpyro.plate("state", o.states):
        rows = numpyro.sample("transition", dist.Dirichlet(jnp.full(o.states, o.alpha)))
        numpyro.deterministic("weights", stationary(rows))
    first = jnp.full(o.states, 1.0 / o.states)
    return numpyro.sample("S", MarkovPath(first, rows, frames))


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if the ratio does not divide the lattice, or options are out of range or do not go together.
    """
    _check_options(options)
    n_c = options.n_f // options.ratio
    named = polynomial_features(options.L2, options.L3)
    basis = independent_features(n_c, named).basis
    lattice = Lattice(basis, exact_for(basis), lattice_gibbs(basis), options)
    longest = options.n_f // 2
    return cg.System(
        name="ising_mixture",
        program=partial(program, lattice=lattice),
        sampler=lattice.sampler,
        options=asdict(options),
        features=basis.names,
        observables=(magnetization(), correlation(max=longest)),
        known_observables={
            "magnetization": magnetization,
            "correlation": partial(correlation, max=longest),
        },
        check=partial(_check, options=options),
        frames=options.frames,
        method_defaults={"nuts": {"warmup": 500}},
    )


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: the lattice size and the temperature."""
    cg.io.check(data)
    found = {"beta": str(data.attrs["beta"])} if "beta" in data.attrs else {}
    return replace(with_options(options, found, "the data"), n_f=data.sizes["site"])


def _check_options(o: Options) -> None:
    if o.states < 2:
        raise ValueError(f"states must be at least 2, got {o.states}; of one state use ising.")
    if o.order == "markov" and o.weights == "stick":
        raise ValueError("weights=stick is for order=none; allowed with order=markov is dirichlet.")
    if o.ratio < 1 or o.n_f % o.ratio or o.n_f // o.ratio < 2:
        fits = [r for r in range(1, o.n_f // 2 + 1) if o.n_f % r == 0]
        raise ValueError(
            f"ratio {o.ratio} does not leave at least 2 coarse sites of {o.n_f}; allowed: {', '.join(map(str, fits))}."
        )
    for name in ("beta", "alpha", "prior_scale", "concentration_shape", "concentration_rate"):
        if not 0.0 < getattr(o, name) < np.inf:
            raise ValueError(f"{name} must be positive, got {getattr(o, name)}.")


def _check(data: xr.Dataset, options: Options) -> None:
    cg.io.check(data)
    if "axis" in data["x"].dims:
        raise ValueError("ising_mixture needs spins x (frame, site), these data hold coordinates.")
    if data.sizes["site"] != options.n_f:
        raise ValueError(f"the data have {data.sizes['site']} sites, the model n_f={options.n_f}.")
    if "beta" in data.attrs and not np.isclose(float(data.attrs["beta"]), options.beta):
        raise ValueError(
            f"the data were made at beta={data.attrs['beta']}, the model has beta={options.beta}."
        )
    have = data.sizes["frame"]
    used = have if options.frames is None else min(have, options.frames)
    if used < options.states:
        raise ValueError(
            f"{options.states} states cannot be told from {used} frames; allowed are at most as many states as frames."
        )
    if options.order == "markov" and not _ordered(data):
        raise ValueError(
            "order=markov needs frames that follow each other, and these data do not say that theirs do: allowed are "
            "data with the attribute ordered=1, or a coordinate time (frame) that increases."
        )


def _ordered(data: xr.Dataset) -> bool:
    if "time" in data.coords and data["time"].dims == ("frame",):
        return bool(np.all(np.diff(data["time"].values) > 0))
    return str(data.attrs.get("ordered", 0)) in ("1", "True")


# --- reference data ------------------------------------------------------------------------------


def _each(text: str, states: int, name: str) -> np.ndarray:
    """A number for each state, of one or of as many with commas."""
    try:
        values = np.array([float(v) for v in text.split(",")])
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all() or len(values) not in (1, states):
        raise ValueError(
            f"{name} must be one number, or one of each of the {states} states with commas, got {text!r}."
        )
    return np.broadcast_to(values, (states,)).copy()


def _path(o: Options, key: Array, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """States of the frames, and how often each is in the long run."""
    if o.order == "markov":
        if not 0.0 < o.stay < 1.0:
            raise ValueError(f"stay must lie between 0 and 1, got {o.stay}.")
        first = jnp.full(o.states, 1.0 / o.states)
        rows = np.full((o.states, o.states), (1.0 - o.stay) / (o.states - 1))
        np.fill_diagonal(rows, o.stay)
        return np.asarray(MarkovPath(first, jnp.asarray(rows), frames).sample(key)), np.asarray(
            first
        )
    share = _each(o.share or f"{1.0 / o.states}", o.states, "share")
    if (share <= 0.0).any() or not np.isclose(share.sum(), 1.0):
        raise ValueError(f"share must be positive and add up to 1, got {o.share}.")
    return np.asarray(jax.random.categorical(key, jnp.log(share), shape=(frames,))), share


def reference(options: Options, key: Array) -> xr.Dataset:
    """Frames of a fine lattice (Eqs. 46-48) that switches between fields or couplings, each an exact sample.

    :return: ``x``, the ``state`` of each frame, and exact long-run observables, of all and of each state.
    :raises ValueError: for fewer than two frames, or states that the options do not tell apart.
    """
    from bayescg.potentials.transfer_matrix import ring_moments, sample_ring

    _check_options(options)
    frames = 200 if options.frames is None else options.frames
    if frames < 2:
        raise ValueError(f"frames must be at least 2, got {frames}.")
    if not 1 <= options.L_f < options.n_f:
        raise ValueError(f"L_f must lie between 1 and n_f - 1, got {options.L_f}.")
    strengths = _each(options.J0, options.states, "J0")
    fields = _each(options.mu, options.states, "mu")
    path_key, key = jax.random.split(key)
    path, share = _path(options, path_key, frames)
    basis = SpinBasis(options.n_f, tuple(pair_features(range(1, options.L_f + 1), count="once")))
    beta = jnp.asarray(options.beta, float)

    @jax.jit
    def one(theta: Array, field: Array, key: Array) -> tuple[Array, Array, Array]:
        potential = SpinPotential(theta, field, basis)
        return (*ring_moments(potential, beta), sample_ring(key, potential, beta, frames).T)

    # All states give all frames, of which each keeps its own: one program is compiled.
    couplings = np.stack([decaying_couplings(v, options.a, options.L_f) for v in strengths])
    keys = jax.random.split(key, options.states)
    rows = [one(*row) for row in zip(couplings, fields, keys, strict=True)]
    m, r, made = (np.stack([np.asarray(row[j]) for row in rows]) for j in range(3))
    x = made[path, np.arange(frames)].astype(np.int8)
    if not (np.isfinite(m).all() and np.isfinite(r).all()):
        raise ValueError(
            "couplings or fields too strong: the transfer matrix leaves the range of floating point; "
            "make J0, mu or beta smaller."
        )
    return _labelled(options, x, path, share, m, r)


def _labelled(
    o: Options, x: np.ndarray, path: np.ndarray, share: np.ndarray, m: np.ndarray, r: np.ndarray
) -> xr.Dataset:
    exact = "exact magnetisation per site", "exact correlation R(k)"
    made = {
        "x": (("frame", "site"), x, "fine spins"),
        "state": (("frame",), path.astype(np.int8), "true hidden state"),
        "magnetization": ((), share @ m, exact[0]),
        "magnetization_se": ((), 0.0, "standard error of magnetization (exact: zero)"),
        "correlation": (("separation",), share @ r, exact[1]),
        "correlation_se": (("separation",), np.zeros(r.shape[1]), "standard error of correlation (exact: zero)"),
        "magnetization_of_state": (("state_label",), m, f"{exact[0]}, of each state"),
        "correlation_of_state": (("state_label", "separation"), r, f"{exact[1]}, of each state"),
        "share": (("state_label",), share, "probability of each state in the long run"),
    }  # fmt: skip
    # In one attribute: a fit of these data may well have other states, and another order.
    made_with = " ".join(f"{name}={getattr(o, name)}" for name in REFERENCE_OPTIONS)
    attrs = {"beta": o.beta, "made_with": made_with}
    if o.order == "markov":
        attrs["ordered"] = 1
    return xr.Dataset(
        {k: (dims, v, {"units": "1", "long_name": text}) for k, (dims, v, text) in made.items()},
        coords={"separation": np.arange(1, r.shape[1] + 1)},
        attrs={
            "source": "bayescg reference ising_mixture: exact samples by transfer matrix, a state each frame",
            **attrs,
        },
    )
