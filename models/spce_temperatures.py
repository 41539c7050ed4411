"""SPC/E water at several temperatures, one site a molecule: one model for all of them.

Fine and coarse are those of Section 3.2 and Appendix B of the predictive coarse-graining (PCG) paper: centres of
mass of rigid SPC/E molecules, and sites with a Lennard-Jones potential and a correction in a window (Eqs. 64-68) over a
fixed Stillinger-Weber three-body term (Eqs. 63, B.1-B.2). A coarse potential is a free energy, and so depends on
temperature: the coefficients of the correction, and the logarithms of epsilon, sigma and sigma2, are straight lines
or parabolas in it, which all temperatures of the data share. So the fit predicts at temperatures without data, and how
uncertain that is grows with the distance from those that have some. All temperatures have one box. Lengths are in
angstrom, energies in kcal/mol, temperatures in K.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
import math
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, PeriodicNormal, Trend
from bayescg.infer.correlation import independent_frames
from bayescg.infer.options import LIQUID
from bayescg.infer.score_start import with_lennard_jones
from bayescg.observables import adf, coordination, longest_rdf, rdf, tetrahedral_order
from bayescg.options import numbers, numbers_in_words, option
from bayescg.potentials import (
    BSplines,
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    PairBasis,
    ParticlePotential,
    StillingerWeber,
    Wall,
    WindowedFourier,
)
from bayescg.samplers import (
    Dynamics,
    Sampler,
    closest_distance,
    kernels,
    long_run,
    particle_sampler,
)
from bayescg.space import check_cutoff
from bayescg.units import BOLTZMANN, beta_of

SUMMARY = "SPC/E water at several temperatures, one site a molecule: one model for all"

MASS = 15.994 + 2 * 1.00794  # g/mol
SW_STRENGTH = 0.762 * 83.5737  # kcal/mol, lambda times epsilon of Appendix B.3
CLOSEST = 2.0  # angstrom; no two molecules of water come that close
CORE = 2.4  # angstrom, where no core is given and no data are at hand
CORE_STRENGTH = 500.0  # kcal/mol/angstrom^3
START_PRECISION = 50.0  # (kcal/mol)^-2 a frame, on corrections where a fit starts
#: Median and standard deviation of the logarithm, of the lognormal priors at the reference temperature.
POSITIVE = {"epsilon": (1.0, 1.0), "sigma": (3.0, 0.25), "sigma2": (0.01, 2.0)}
UNITS = {"theta_c": "kcal/mol", "epsilon": "kcal/mol", "sigma": "angstrom", "sigma2": "angstrom^2"}


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    temperatures: str | None = option(
        None, "temperatures of the data to fit, K: with commas, or first:last:count; none: all"
    )
    reference: float = option(300.0, "temperature about which parameters are expanded, K")
    width: float = option(30.0, "K over which a parameter changes by its slope")
    over_temperature: Literal["line", "parabola"] = option(
        "line", "how coefficients and logarithms depend on temperature"
    )
    slopes: Literal["normal", "learned"] = option(
        "normal",
        "prior of the correction's slopes: normal about zero with the scale `change`, or with one scale for all that "
        "is learned, `change` being about where it is",
    )
    change: float = option(0.1, "scale of the correction's slopes, kcal/mol over `width`")
    relative: float = option(0.1, "scale of those of log epsilon, log sigma and log sigma2")
    basis: Literal["fourier", "spline"] = option(
        "fourier", "correction to Lennard-Jones: windowed Fourier (Eqs. 66-67) or cubic B-splines"
    )
    features: int = option(50, "functions of the correction, K")
    low: float = option(2.0, "lower end of the window, angstrom (Eq. 66)")
    high: float = option(7.0, "its upper end")
    cutoff: float = option(7.0, "cut-off of Lennard-Jones, angstrom, smooth over the last one")
    three_body: Literal["sw", "none"] = option("sw", "the fixed three-body term of Appendix B.3")
    core: float | None = option(
        None, "sites closer than this are pushed apart, angstrom; none: the data's closest pair"
    )
    prior: Literal["ard", "normal", "flat"] = option(
        "normal", "prior of theta_c at the reference temperature (ard: Eq. 41)"
    )
    prior_scale: float = option(1.0, "standard deviation of the normal prior, kcal/mol")
    a0: float = option(1e-5, "shape of ARD's Gamma")
    b0: float = option(1e-5, "rate of ARD's Gamma")
    positive: Literal["flat", "lognormal"] = option(
        "lognormal",
        "prior of epsilon, sigma and sigma2 at the reference temperature: flat (the paper), or lognormal with medians "
        "1 kcal/mol, 3 angstrom and 0.01 angstrom^2, and standard deviations 1, 0.25 and 2 of the logarithms",
    )
    epsilon: float = option(
        0.15, "epsilon that a fit starts from where the data do not say, kcal/mol"
    )
    sigma: float = option(3.5, "sigma that it starts from there, angstrom")
    sigma2: float = option(0.01, "sigma2 that a fit starts from, angstrom^2")
    sites: int = option(100, "molecules")
    box: float = option(14.5459665, "edge of the cubic box of all temperatures, angstrom")
    frames: int | None = option(None, "use the first so many frames of each; none: all")
    correlated: Literal["thin", "ignore"] = option(
        "thin", "frames that are correlated: keep every so many that the rest are not, or all"
    )


@dataclass(frozen=True, eq=False)
class Water:
    """What the program stands on; static."""

    basis: PairBasis
    lennard_jones: InversePowers
    core: FixedPair
    three_body: StillingerWeber | None
    box: tuple[float, float, float]
    sites: int
    sampler: Sampler
    trend: Trend
    prior: Mapping[str, Any]  # of theta_c at the reference
    positive: Mapping[str, tuple[float, float]]  # of what is positive there; empty: flat

    def potential(self, theta_c: Array, epsilon: Array, sigma: Array) -> ParticlePotential:
        """U_c of Eqs. 63-65."""
        pairs = (
            LennardJones(epsilon, sigma, self.lennard_jones),
            LinearPair(theta_c, self.basis),
            self.core,
        )
        return ParticlePotential(pairs, self.box, self.three_body)

    def blank(self) -> ParticlePotential:
        """The same with no correction, for its statistics."""
        return self.potential(jnp.zeros(len(self.basis.names)), jnp.asarray(1.0), jnp.asarray(1.0))


def program(x: Array | None = None, *, temperature: Array, water: Water, frames: int = 1) -> None:
    """p(theta) p_c(X | theta_c(T), T) p_cf(x | X, theta_cf(T)): Eqs. 61, 63-68 of the PCG paper at one temperature.

    :param x: centres of mass, ``(frame, site, axis)``; None generates ``frames`` of them.
    :param temperature: K.
    """
    size = len(water.basis.names)
    theta_c = water.trend.coefficients("theta_c", temperature, size, **water.prior)
    epsilon, sigma, sigma2 = (
        water.trend.positive(name, temperature, water.positive.get(name))
        for name in ("epsilon", "sigma", "sigma2")
    )
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            water.potential(theta_c, epsilon, sigma),
            1.0 / (BOLTZMANN * temperature),
            log_partition=None,
            event_shape=(water.sites, 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(water.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=water.box), obs=x)


def _water(options: Options) -> Water:
    """The program's ground under ``options``."""
    box = (options.box,) * 3
    basis: PairBasis
    if options.basis == "fourier":
        basis = WindowedFourier(options.features, (options.low, options.high))
    else:
        basis = BSplines(np.linspace(options.low, options.high, options.features + 1))
    return Water(
        basis,
        InversePowers(cutoff=options.cutoff),
        FixedPair(Wall(CORE if options.core is None else options.core), CORE_STRENGTH),
        StillingerWeber(SW_STRENGTH) if options.three_body == "sw" else None,
        box,
        options.sites,
        particle_sampler(options.sites, box, Dynamics("langevin")),
        Trend(
            options.reference,
            options.width,
            2 if options.over_temperature == "parabola" else 1,
            options.change,
            options.relative,
            options.slopes == "learned",
        ),
        {
            "prior": options.prior,
            "scale": options.prior_scale,
            "a0": options.a0,
            "b0": options.b0,
        },
        POSITIVE if options.positive == "lognormal" else {},
    )


def _reach(options: Options) -> float:
    """The longest distance of any pair interaction, angstrom."""
    return max(options.cutoff, options.high)


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if an option is out of range, or the box too small for the interactions.
    """
    for name in ("epsilon", "sigma", "sigma2", "a0", "b0", "prior_scale", "core", "reference"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value:g}.")
    water, box = _water(options), np.full(3, options.box)
    cg.io.check_density(options.sites, box, np.full(options.sites, MASS))
    check_cutoff(_reach(options), box)
    of_slopes = {"kcal/mol": f"kcal/mol over {options.width:g} K"}
    units = {f"{name}_reference": unit for name, unit in UNITS.items()}
    for word in ("slope", "bend"):
        units |= {f"{k}_{word}": of_slopes.get(u, "1") for k, u in UNITS.items() if k == "theta_c"}
    others = {f.__name__: f for f in (adf, coordination, tetrahedral_order)}
    return cg.System(
        name="spce_temperatures",
        program=partial(program, water=water),
        sampler=water.sampler,
        **kernels(options.sites, water.box),
        conditions=("temperature",),
        domain={"temperature": (1.0, np.inf)},
        options=asdict(options),
        features=water.basis.names,
        observables=(rdf(max=longest_rdf(box)).in_box(box),),
        known_observables={"rdf": partial(rdf, max=longest_rdf(box)), **others},
        constants={"box": (("axis",), box, "edges of the periodic box", "angstrom")},
        check=partial(_check, options=options),
        select=partial(_select, options=options, water=water),
        start={
            "epsilon_reference": options.epsilon,
            "sigma_reference": options.sigma,
            "sigma2_reference": options.sigma2,
        },
        start_from=partial(_start, water=water, beta=beta_of(options.reference)),
        runaway=None,
        box=water.box,
        frames=options.frames,
        method_defaults={"mcem": LIQUID},
        units=UNITS | units,
        derived=partial(_pair_potential, water=water),
    )


def _start(x: np.ndarray, water: Water, beta: float) -> dict[str, Any]:
    """Lennard-Jones and corrections at the reference, by score matching on frames of all temperatures as if of that."""
    found = with_lennard_jones(x, potential=water.blank(), beta=beta, held=START_PRECISION)
    return {f"{name}_reference": value for name, value in found.items()}


def _pair_potential(values: Mapping[str, Array], water: Water) -> dict[str, cg.Derived]:
    """The pair potential u(r) of one draw at one temperature."""
    r = np.arange(2.0, water.lennard_jones.cutoff + 1e-9, 0.05)
    potential = water.potential(values["theta_c"], values["epsilon"], values["sigma"])
    u = potential.pair_energy(jnp.asarray(r))
    return {
        "pair_potential": cg.Derived(
            "r", r, u, "pair potential u(r) (Eq. 65), core included", "kcal/mol", "angstrom"
        )
    }


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: molecules, box, and where the core begins.

    :raises ValueError: for fewer than two frames, and temperatures that the data do not hold.
    """
    if options.frames is not None and options.frames < 2:
        raise ValueError(f"frames must be at least 2, got {options.frames}.")
    found, _ = _checked(data, options)
    options = replace(
        options, sites=data.sizes["site"], box=float(found[0]["box"].values.ravel()[0])
    )
    if options.core is not None:
        return options
    # Only frames that are fitted may be known; which those are does not depend on the core.
    guess = replace(options, core=CORE)
    fitted = _select(data, guess, _water(guess)).isel(frame=slice(options.frames))
    nearest = min(_nearest(one).min() for one in cg.io.each_temperature(fitted))
    return replace(options, core=math.floor(100.0 * nearest) / 100.0)


def _nearest(data: xr.Dataset) -> np.ndarray:
    """Smallest distance in each frame, angstrom."""
    x = jnp.asarray(data["x"].values, float)
    return np.asarray(closest_distance(x.T, data["box"].values))


def _checked(data: xr.Dataset, options: Options) -> tuple[list[xr.Dataset], tuple[str, ...]]:
    """The temperatures to fit, each as a data set of its own, and what was done to them.

    :raises ValueError: for data that are no sweep, and temperatures that they do not hold.
    """
    cg.io.check(data)
    if "temperature" not in data["x"].dims:
        raise ValueError(
            "one model over temperatures needs x (temperature, frame, site, axis), these data are "
            f"({', '.join(map(str, data['x'].dims))}); for one temperature there is spce_water."
        )
    there = np.asarray(data["temperature"].values, float)
    if options.temperatures is not None:
        wanted = numbers(options.temperatures, "temperatures")
        gaps = np.abs(there[:, None] - wanted)
        if gaps.min(0).max() > 1e-6:
            lost = wanted[gaps.min(0) > 1e-6][0]
            raise ValueError(
                f"the data hold temperature={numbers_in_words(there)}, and not temperature={lost:g}."
            )
        data = data.isel(temperature=gaps.argmin(0))
    parts, notices = [], list[str]()
    for one in cg.io.each_temperature(data):
        part, said = cg.io.check_particles(one, cutoff=_reach(options), mass=MASS, closest=CLOSEST)
        cg.io.check_cube(part)
        parts.append(part)
        notices += [f"{part.attrs['temperature']:g} K: {text}" for text in said]
    if len(parts) < 2:
        raise ValueError("one temperature tells nothing of another: 2 or more are needed.")
    return parts, tuple(notices)


def _check(data: xr.Dataset, options: Options) -> None:
    for part in _checked(data, options)[0]:
        cg.io.check_model_box(part, options.sites, (options.box,) * 3)


def _select(data: xr.Dataset, options: Options, water: Water) -> xr.Dataset:
    """Sites wrapped into the box, and frames of every temperature thinned until they are as good as independent."""
    parts, notices = _checked(data, options)
    statistics = jax.jit(lambda x: water.blank().statistics(x.T))
    kept = []
    for part in parts:
        phi = np.asarray(statistics(jnp.asarray(part["x"].values, float))).T
        chosen = independent_frames(
            phi, all_of_them=options.correlated == "ignore", first=options.frames
        )
        kept.append(part.isel(frame=chosen.frames))
        notices += tuple(f"{part.attrs['temperature']:g} K: {n}" for n in chosen.notices)
    frames = min(part.sizes["frame"] for part in kept)
    temperatures = xr.DataArray(
        [part.attrs["temperature"] for part in kept], dims="temperature", attrs={"units": "K"}
    )
    x = xr.concat([part["x"].isel(frame=slice(frames)) for part in kept], "temperature")
    out = xr.Dataset({"x": x, "box": kept[0]["box"]}).assign_coords(temperature=temperatures)
    return out.assign_attrs(notices=list(notices))
