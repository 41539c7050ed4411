"""SPC/E water, one site a molecule (Section 3.2 and Appendix B of the PCG paper).

Fine: the centres of mass of rigid SPC/E molecules. Coarse: sites with a Lennard-Jones potential and a
correction in a window (Eqs. 64-68), over a fixed Stillinger-Weber three-body term (Eqs. 63, B.1-B.2).
A centre of mass lies around its coarse site with variance sigma2 (Eq. 61), with one along each axis of the
box, or by a mixture of normals. Lengths are in angstrom, energies in kcal/mol, temperatures in K.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
import math
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import Around, Boltzmann, coefficients, positive
from bayescg.engines.rigid_water import Run, simulate
from bayescg.infer.correlation import independent_frames
from bayescg.infer.options import LIQUID, LIQUID_CRITIC
from bayescg.infer.score_start import with_lennard_jones
from bayescg.infer.starting import repulsive
from bayescg.observables import (
    adf,
    coordination,
    local_density,
    longest_rdf,
    moments,
    rdf,
    tetrahedral_order,
)
from bayescg.options import option
from bayescg.potentials import (
    BSplines,
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    PairBasis,
    PairTerm,
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
from bayescg.units import KCAL, beta_of

SUMMARY = "SPC/E water, one site a molecule (PCG paper, Section 3.2)"

#: Options that suit a method better than the model's own defaults.
ONE_SITE = {"basis": "knots", "three_body": "none", "prior": "flat", "correlated": "ignore"}
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "arcg": ONE_SITE,
    "classifier": ONE_SITE,
    "nuts": {"prior": "normal", "prior_scale": 0.2, "positive": "lognormal", "core_strength": 1e4},
}
#: Options that reference data depend on.
REFERENCE_OPTIONS = (
    *("sites", "box", "temperature", "length", "spacing", "equilibration"),
    *("npt", "pressure", "thermostat", "timestep", "fine_cutoff"),
)
INTERVAL = 0.1  # ps between the frames that reference observables are measured on
ANGLES_EVERY = 5  # of those frames are measured for angles, which cost more

MASS = 15.994 + 2 * 1.00794  # g/mol
SW_LAMBDA, SW_EPSILON = 0.762, 83.5737  # Appendix B.3, which gives no unit for epsilon
CLOSEST = 2.0  # angstrom; no two molecules of water come that close
CORE = 2.4  # angstrom, where no core is given and no data are at hand
START_PRECISION = 50.0  # (kcal/mol)^-2 a frame, on corrections where a fit starts
#: Angstrom, ARCG paper, Appendix D.1.
KNOTS = np.r_[np.arange(6) * 2.5 / 6, 2.5:5.05:0.1, 5.4:7.1:0.4].round(3)
REPULSION = (0.15, 2.7)  # kcal/mol and angstrom, of the repulsion that a fit on them starts from
#: Median and standard deviation of the logarithm, of the lognormal priors: they end. Without that sigma may
#: go to zero with any epsilon, where corrections do what Lennard-Jones did.
POSITIVE = {"epsilon": (1.0, 0.5), "sigma": (3.0, 0.25), "sigma2": (0.01, 2.0)}
CONSERVATIVE = ("theta_c", "epsilon", "sigma")  # parameters of the potential
UNITS = {"theta_c": "kcal/mol", "epsilon": "kcal/mol", "sigma": "angstrom", "sigma2": "angstrom^2"}
DIRAC = 1e-6  # angstrom^2, of x about X where the two are one (REM)


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set; defaults are the paper's where it says."""

    basis: Literal["fourier", "spline", "knots"] = option(
        "fourier",
        "correction to Lennard-Jones: windowed Fourier (Eqs. 66-67) or cubic B-splines; or, in place of both, cubic "
        "B-splines on the 37 knots of the ARCG paper's Appendix D.1",
    )
    features: int = option(100, "functions of the correction, K")
    low: float = option(2.0, "lower end of the window, angstrom (Eq. 66)")
    high: float = option(7.0, "its upper end (the paper: 6, beyond which nothing is corrected)")
    wave_numbers: Literal["window", "angstrom"] = option(
        "window", "Eq. 67 counts periods per window, or per angstrom"
    )
    edges: Literal["smooth", "literal"] = option(
        "smooth", "the window opens smoothly, or jumps as the indicator of Eq. 66"
    )
    taper: float = option(0.5, "width of its smooth edges, angstrom")
    cutoff: float = option(7.0, "cut-off of Lennard-Jones, angstrom, smooth over the last one")
    three_body: Literal["sw", "none"] = option("sw", "the fixed three-body term of Appendix B.3")
    sw_unit: Literal["kcal", "kJ"] = option("kcal", "unit of its epsilon (per mol)")
    core: float | None = option(
        None, "sites closer than this are pushed apart, angstrom; none: the data's closest pair"
    )
    core_strength: float = option(500.0, "times the cube of how much closer, kcal/mol/angstrom^3")
    prior: Literal["ard", "normal", "flat"] = option(
        "ard", "prior of theta_c, the coefficients of the correction (Eq. 41)"
    )
    prior_scale: float = option(1.0, "standard deviation of the normal prior, kcal/mol")
    positive: Literal["flat", "lognormal"] = option(
        "flat",
        "prior of epsilon, sigma and sigma2: flat on the positive numbers (the paper), or lognormal with medians 1 "
        "kcal/mol, 3 angstrom and 0.01 angstrom^2, and standard deviations 0.5, 0.25 and 2 of the logarithms",
    )
    a0: float = option(1e-5, "shape of ARD's Gamma")
    b0: float = option(1e-5, "rate of ARD's Gamma")
    start: Literal["data", "paper"] = option(
        "data",
        "a fit starts from score matching on the data, or from theta_c = 0 and the next two; basis=knots: from the "
        "repulsion of the ARCG paper",
    )
    epsilon: float = option(0.15, "epsilon that start=paper starts from, kcal/mol")
    sigma: float = option(3.5, "sigma that it starts from, angstrom")
    sigma2: float = option(0.01, "sigma2 that a fit starts from, angstrom^2")
    coarse_to_fine: Literal["isotropic", "anisotropic", "mixture"] = option(
        "isotropic",
        "a molecule about its site: one variance (Eq. 61), one along each axis of the box, or a mixture of normals",
    )
    components: int = option(2, "normals of the mixture")
    concentration: float = option(2.0, "of its weights' Dirichlet prior")
    sigma2_spread: float = option(2.0, "prior sd of log(narrowest variance) about log(sigma2)")
    sigma2_ratio: float = option(4.0, "prior median of its variances over the next narrower ones")
    sites: int = option(100, "molecules")
    box: float = option(14.5459665, "edge of the cubic box, angstrom")
    temperature: float = option(300.0, "K")
    frames: int | None = option(None, "use the first so many frames; none: all")
    correlated: Literal["thin", "ignore"] = option(
        "thin", "frames that are correlated: keep every so many that the rest are not, or all"
    )
    length: float = option(5100.0, "length of the simulation, ps (reference)")
    spacing: float = option(10.0, "time between shipped frames, ps (reference)")
    equilibration: float = option(200.0, "time before it, ps (reference)")
    npt: float = option(0.0, "time at 1 bar that sets the box, ps (reference)")
    pressure: float = option(1.0, "pressure of that stage, bar (reference)")
    thermostat: Literal["langevin", "nose-hoover"] = option("langevin", "thermostat (reference)")
    timestep: float = option(2.0, "time step, fs (reference)")
    fine_cutoff: float = option(
        7.0, "cut-off of Lennard-Jones and of PME's direct space, angstrom (reference)"
    )


@dataclass(frozen=True, eq=False)
class Water:
    """What the program stands on; static."""

    basis: PairBasis
    lennard_jones: InversePowers | None  # None: the spline is all there is
    core: FixedPair
    three_body: StillingerWeber | None
    box: tuple[float, float, float]
    sites: int
    beta: float
    sampler: Sampler
    prior: Mapping[str, Any]  # of theta_c
    positive: Mapping[
        str, tuple[float, float]
    ]  # of epsilon and sigma, median and spread; empty: flat
    around: Around

    def potential(
        self, theta_c: Array, epsilon: ArrayLike = 1.0, sigma: ArrayLike = 1.0
    ) -> ParticlePotential:
        """U_c of Eqs. 63-65."""
        pairs: tuple[PairTerm, ...] = (LinearPair(theta_c, self.basis), self.core)
        if self.lennard_jones is not None:
            one, other = jnp.asarray(epsilon), jnp.asarray(sigma)
            pairs = (LennardJones(one, other, self.lennard_jones), *pairs)
        return ParticlePotential(pairs, self.box, self.three_body)

    @property
    def cutoff(self) -> float:
        """Of the pair potential, angstrom."""
        return (self.lennard_jones or self.basis).cutoff


def program(x: Array | None = None, *, water: Water, frames: int = 1) -> None:
    """p(theta) p_c(X | theta_c) p_cf(x | X, theta_cf): Eqs. 41, 61, 63-68 of the PCG paper.

    :param x: centres of mass, ``(frame, site, axis)``; None generates ``frames`` of them.
    """
    size = len(water.basis.names)
    theta_c = coefficients("theta_c", size, **water.prior)
    names = () if water.lennard_jones is None else ("epsilon", "sigma")
    lennard_jones = {name: positive(name, water.positive.get(name)) for name in names}
    around = water.around()
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            water.potential(theta_c, **lennard_jones),
            water.beta,
            log_partition=None,
            event_shape=(water.sites, 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(water.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", around(X), obs=x)


def _water(options: Options) -> Water:
    """The program's ground under ``options``."""
    box = (options.box,) * 3
    mixed = options.components, options.concentration, options.sigma2_spread, options.sigma2_ratio
    lognormal = POSITIVE if options.positive == "lognormal" else {}
    width = lognormal.get("sigma2")
    around = Around(options.coarse_to_fine, box, options.sigma2, *mixed, lognormal=width)
    basis: PairBasis
    if options.basis == "fourier":
        basis = WindowedFourier(
            options.features,
            (options.low, options.high),
            unit=options.wave_numbers,
            edges=options.edges,
            taper=options.taper,
        )
    elif options.basis == "knots":
        basis = BSplines(KNOTS)
    else:
        basis = BSplines(np.linspace(options.low, options.high, options.features + 1))
    three_body = None
    if options.three_body == "sw":
        unit = 1.0 if options.sw_unit == "kcal" else KCAL
        three_body = StillingerWeber(SW_LAMBDA * SW_EPSILON / unit)
    core = CORE if options.core is None else options.core
    ard = {"a0": options.a0, "b0": options.b0}
    return Water(
        basis,
        None if options.basis == "knots" else InversePowers(cutoff=options.cutoff),
        FixedPair(Wall(core), options.core_strength),
        three_body,
        box,
        options.sites,
        beta_of(options.temperature),
        particle_sampler(options.sites, box, Dynamics("langevin")),
        {"prior": options.prior, "scale": options.prior_scale, **ard},
        lognormal,
        around,
    )


def _reach(options: Options) -> float:
    """The longest distance of any pair interaction, angstrom."""
    return float(KNOTS[-1]) if options.basis == "knots" else max(options.cutoff, options.high)


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if an option is out of range, or the box too small for the interactions.
    """
    for name in "epsilon sigma sigma2 a0 b0 prior_scale core core_strength cutoff".split():
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value:g}.")
    if options.core is not None and options.core >= options.cutoff:
        raise ValueError(
            f"core must be below the cut-off of {options.cutoff:g} angstrom, got {options.core:g}."
        )
    water, box = _water(options), np.full(3, options.box)
    cg.io.check_density(options.sites, box, np.full(options.sites, MASS))
    check_cutoff(_reach(options), box)
    potential = water.potential(jnp.zeros(len(water.basis.names)))
    led = partial(with_lennard_jones, potential=potential, beta=water.beta, held=START_PRECISION)
    from_data = options.start == "data" and water.lennard_jones is not None
    others = {f.__name__: f for f in (adf, coordination, tetrahedral_order)}
    # ARCG paper, Appendix D.2, whose bins end at 12 angstrom.
    seen = (moments(), local_density(), rdf(0.1, longest_rdf(box, 12.0)))
    return cg.System(
        name="spce_water",
        program=partial(program, water=water),
        sampler=water.sampler,
        **kernels(options.sites, water.box),
        options=asdict(options),
        features=water.basis.names,
        observables=(rdf(max=longest_rdf(box)).in_box(box), adf().in_box(box)),
        known_observables={"rdf": partial(rdf, max=longest_rdf(box)), **others},
        restriction=lambda x, key: x,
        critic_features=tuple(o.in_box(box) for o in seen),
        constants={"box": (("axis",), box, "edges of the periodic box", "angstrom")},
        check=partial(_check, options=options),
        select=partial(_select, options=options, water=water),
        start=_given_start(options, water),
        start_from=led if from_data else None,
        dirac={} if water.around.no_dirac else {"sigma2": DIRAC},
        no_dirac=water.around.no_dirac,
        runaway=None,
        box=water.box,
        frames=options.frames,
        method_defaults={
            "mcem": FIT,
            "rem": FIT,
            "mcem, schedule=paper": PAPER,
            "mcem, schedule=literal": PAPER | {"alpha": 0.05},
            "arcg": LIQUID_CRITIC,
            "nuts": SAMPLE,
        },
        units=UNITS,
        parameter_dims=water.around.dims,
        derived=partial(_pair_potential, water=water),
    )


#: What a liquid needs of MC-EM, and of NUTS; and the paper's schedule for water (Section 3.2).
FIT = {**LIQUID, "free_chains": 64}
SAMPLE = {"log_partition": "learned", "mass": "dense", "precision": 0.2}
SAMPLE |= {"warmup": 150, "samples": 2000}
PAPER = {"A": 9.0, "rho": 0.6, "m": 160, "max_iterations": 194}


def _pair_potential(values: Mapping[str, Array], water: Water) -> dict[str, cg.Derived]:
    """The pair potential u(r) of one draw."""
    r = np.arange(2.0, water.cutoff + 1e-9, 0.05)
    potential = water.potential(**{k: v for k, v in values.items() if k in CONSERVATIVE})
    u = potential.pair_energy(jnp.asarray(r))
    return {
        "pair_potential": cg.Derived(
            "r", r, u, "pair potential u(r) (Eq. 65), core included", "kcal/mol", "angstrom"
        )
    }


def _given_start(options: Options, water: Water) -> dict[str, Any]:
    """Where a fit starts that the data say nothing of."""
    given = water.around.start
    if water.lennard_jones is not None:
        return given | {"epsilon": options.epsilon, "sigma": options.sigma}
    return given | {"theta_c": repulsive(water.basis, *REPULSION, 1.0 / water.beta)}


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide (molecules, box, temperature, where the core begins); ValueError for one frame."""
    if options.frames is not None and options.frames < 2:
        raise ValueError(f"frames must be at least 2, got {options.frames}.")
    data, _ = _checked(data, options)
    options = replace(
        options,
        sites=data.sizes["site"],
        box=float(data["box"].values[0]),
        temperature=float(data.attrs.get("temperature", options.temperature)),
    )
    if options.core is not None:
        return options
    # Only frames that are fitted may be known; which those are does not depend on the core.
    guess = replace(options, core=CORE)
    fitted = _select(data, guess, _water(guess)).isel(frame=slice(options.frames))
    return replace(options, core=math.floor(100.0 * _nearest(fitted).min()) / 100.0)


def _nearest(data: xr.Dataset) -> np.ndarray:
    """Smallest distance in each frame, angstrom."""
    x = jnp.asarray(data["x"].values, float)
    return np.asarray(closest_distance(x.T, data["box"].values))


def _checked(data: xr.Dataset, options: Options) -> tuple[xr.Dataset, tuple[str, ...]]:
    data, notices = cg.io.check_particles(data, cutoff=_reach(options), mass=MASS, closest=CLOSEST)
    cg.io.check_cube(data)
    return data, notices


def _check(data: xr.Dataset, options: Options) -> None:
    data, _ = _checked(data, options)
    cg.io.check_model_box(data, options.sites, (options.box,) * 3)


def _select(data: xr.Dataset, options: Options, water: Water) -> xr.Dataset:
    """Sites wrapped into the box, and frames thinned until they are as good as independent."""
    data, notices = _checked(data, options)
    x = jnp.asarray(data["x"].values, float)
    potential = water.potential(jnp.zeros(len(water.basis.names)))
    phi = np.asarray(jax.jit(lambda x: potential.statistics(x.T))(x)).T
    chosen = independent_frames(
        phi, all_of_them=options.correlated == "ignore", first=options.frames
    )
    data = data.isel(frame=chosen.frames)
    notices += chosen.notices
    fitted = data.isel(frame=slice(options.frames))
    inside = 0 if options.core is None else np.sum(_nearest(fitted) < options.core)
    if inside:
        notices += (
            f"core = {options.core:g} angstrom: {inside} of the fitted frames hold pairs that are "
            "closer, which its wall pushes apart.",
        )
    return data.assign_attrs(notices=list(notices), **chosen.attrs)


def reference(
    options: Options, key: Array, progress: Callable[[str, float], None] | None = None
) -> xr.Dataset:
    """Centres of mass of SPC/E water by molecular dynamics with OpenMM (Appendix B.1).

    :return: a data set: ``x``, ``box``, and ``rdf``, ``adf``, ``coordination`` and
        ``tetrahedral_order`` over the whole run with their standard errors.
    """
    run = Run(
        molecules=options.sites,
        temperature=options.temperature,
        box=options.box,
        timestep=options.timestep,
        cutoff=options.fine_cutoff,
        thermostat=options.thermostat,
        pressure=options.pressure,
        npt=options.npt,
        equilibration=options.equilibration,
        length=options.length,
        interval=INTERVAL,
    )
    seed = int(np.asarray(jax.random.key_data(key)).ravel()[-1])
    trajectory, box = simulate(run, seed, progress=progress)
    return cg.reference_frames(
        trajectory,
        ["rdf", "coordination"],
        seldom=["adf", "tetrahedral_order"],
        seldom_every=ANGLES_EVERY,
        box=np.full(3, box),
        mass=np.full(options.sites, MASS),
        temperature=options.temperature,
        interval=INTERVAL,
        spacing=options.spacing,
        source=(
            f"bayescg reference spce_water: {options.length:g} ps of SPC/E, {options.sites} molecules, "
            f"{options.thermostat} thermostat, {options.timestep:g} fs, PME, with OpenMM"
        ),
    )
