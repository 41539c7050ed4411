"""Liquid methanol, one site a molecule (ARCG paper, Section IV.D).

Fine: the carbons of all-atom OPLS-AA methanol. Coarse: sites with one pair potential, a cubic B-spline, which no pair
potential can make the carbons' own energy. A carbon lies around its coarse site with variance sigma2, as in the
PCG paper (Eq. 61); the limiting methods take the two for one. Lengths are in angstrom, energies in kcal/mol,
temperatures in K.
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
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, PeriodicNormal, coefficients, flat_positive
from bayescg.engines.flexible import FlexibleRun, simulate
from bayescg.engines.force_field import Atom, ForceField, Molecule
from bayescg.infer.correlation import independent_frames
from bayescg.infer.options import LIQUID, LIQUID_CRITIC
from bayescg.infer.starting import repulsive
from bayescg.observables import (
    LiquidObservable,
    coordination,
    local_density,
    longest_rdf,
    moments,
    rdf,
)
from bayescg.options import option
from bayescg.potentials import BSplines, FixedPair, LinearPair, ParticlePotential, Wall
from bayescg.samplers import Dynamics, Sampler, closest_distance, long_run, particle_sampler
from bayescg.space import check_cutoff
from bayescg.units import beta_of

SUMMARY = "liquid methanol, one site a molecule (ARCG paper, Section IV.D)"

#: Options that reference data depend on.
REFERENCE_OPTIONS = (
    "sites",
    "box",
    "temperature",
    "length",
    "spacing",
    "equilibration",
    "npt",
    "timestep",
    "fine_cutoff",
)
FLAT = {"prior": "flat", "correlated": "ignore"}
#: Options that suit a method better than the model's own defaults.
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"arcg": FLAT, "classifier": FLAT, "rem": FLAT}

#: OPLS-AA: W. L. Jorgensen, D. S. Maxwell and J. Tirado-Rives, J. Am. Chem. Soc. 118, 11225 (1996): charges,
#: Lennard-Jones and bonded terms of methanol (atom types 154 to 157). Hydrogens of hydroxyl have no Lennard-Jones.
OPLS_AA = ForceField(
    atoms={
        # element, g/mol, e, angstrom, kcal/mol
        "CT": Atom("C", 12.011, 0.145, 3.50, 0.066),
        "HC": Atom("H", 1.008, 0.040, 2.50, 0.030),
        "OH": Atom("O", 15.9994, -0.683, 3.12, 0.170),
        "HO": Atom("H", 1.008, 0.418, 0.0, 0.0),
    },
    bonds={"C-H": (340.0, 1.090), "C-O": (320.0, 1.410), "O-H": (553.0, 0.945)},
    angles={"H-C-H": (33.0, 107.8), "H-C-O": (35.0, 109.5), "C-O-H": (55.0, 108.5)},
    torsions={"H-C-O-H": (0.0, 0.0, 0.450)},
)
MASS = 32.0424  # g/mol, of the whole molecule, which a site stands for
BOX = 32.604  # angstrom, edge for 512 molecules at 0.786 g/cm^3
LONGEST = 12.0  # angstrom, of the radial distribution function
CLOSEST = 2.0  # angstrom; no two carbons come that close
CORE = 3.0  # angstrom, where no core is given and no data are at hand
CORE_STRENGTH = 500.0  # kcal/mol/angstrom^3
DIRAC = 1e-6  # angstrom^2, of x about X where the two are one
EPSILON, SIGMA = 0.15, 3.5  # kcal/mol and angstrom, of the repulsion that a fit starts from
INTERVAL = 0.2  # ps between the frames that reference observables are measured on
SUBSTEPS = 2  # of a time step, for bonded forces


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set; defaults are the paper's where it says."""

    knots: int = option(15, "knots of the spline, at equal distances from 0 to the cut-off")
    cutoff: float = option(10.0, "cut-off, where the spline ends smoothly, angstrom")
    core: float | None = option(
        None, "sites closer than this are pushed apart, angstrom; none: the data's closest pair"
    )
    prior: Literal["ard", "normal", "flat"] = option(
        "ard", "prior of theta_c; methods that match or criticise have none, which is flat"
    )
    prior_scale: float = option(10.0, "standard deviation of the normal prior, kcal/mol")
    a0: float = option(1e-5, "shape of ARD's Gamma")
    b0: float = option(1e-5, "rate of ARD's Gamma")
    sigma2: float = option(0.01, "sigma2 that a fit starts from, angstrom^2")
    sites: int = option(512, "molecules")
    box: float = option(BOX, "edge of the cubic box, angstrom")
    temperature: float = option(300.0, "K")
    frames: int | None = option(None, "use the first so many frames; none: all")
    correlated: Literal["thin", "ignore"] = option(
        "thin", "frames that are correlated: keep every so many that the rest are not, or all"
    )
    length: float = option(200.0, "length of the simulation, ps (reference)")
    spacing: float = option(1.0, "time between shipped frames, ps (reference)")
    equilibration: float = option(20.0, "time before it, ps (reference)")
    npt: float = option(20.0, "time at 1 bar that sets the box, ps (reference)")
    timestep: float = option(4.0, "time step of non-bonded forces, fs (reference)")
    fine_cutoff: float = option(
        10.0, "cut-off of Lennard-Jones and of PME's direct space, angstrom (reference)"
    )

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and name != "npt" and not value > 0:
                raise ValueError(f"{name} must be positive, got {value:g}.")
        if self.spacing > self.length:
            raise ValueError(
                f"spacing must be at most the length of the run, {self.length:g} ps, got {self.spacing:g}."
            )
        if self.core is not None and self.core >= self.cutoff:
            raise ValueError(f"core must be below the cut-off {self.cutoff:g}, got {self.core:g}.")
        if self.knots < 5:
            raise ValueError(f"knots must be at least 5, got {self.knots}.")


@dataclass(frozen=True, eq=False)
class Liquid:
    """What the program stands on; static."""

    basis: BSplines
    core: FixedPair
    box: tuple[float, float, float]
    sites: int
    beta: float
    sampler: Sampler
    prior: Mapping[str, Any]  # of theta_c

    def potential(self, theta_c: Array) -> ParticlePotential:
        """The pair potential, and the core below all that was seen."""
        return ParticlePotential((LinearPair(theta_c, self.basis), self.core), self.box)


def program(x: Array | None = None, *, liquid: Liquid, frames: int = 1) -> None:
    """p(theta) p_c(X | theta_c) p_cf(x | X, sigma2).

    :param x: carbons, ``(frame, site, axis)``; None generates ``frames`` of them.
    """
    theta_c = coefficients("theta_c", len(liquid.basis.names), **liquid.prior)
    sigma2 = flat_positive("sigma2")
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            liquid.potential(theta_c),
            liquid.beta,
            log_partition=None,
            event_shape=(liquid.sites, 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(liquid.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=liquid.box), obs=x)


def _liquid(options: Options) -> Liquid:
    box = (options.box,) * 3
    return Liquid(
        BSplines(np.linspace(0.0, options.cutoff, options.knots)),
        FixedPair(Wall(CORE if options.core is None else options.core), CORE_STRENGTH),
        box,
        options.sites,
        beta_of(options.temperature),
        particle_sampler(options.sites, box, Dynamics("langevin")),
        {
            "prior": options.prior,
            "scale": options.prior_scale,
            "a0": options.a0,
            "b0": options.b0,
        },
    )


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if the box is too small for the cut-off.
    """
    liquid = _liquid(options)
    box = np.asarray(liquid.box)
    cg.io.check_density(options.sites, box, np.full(options.sites, MASS))
    check_cutoff(options.cutoff, box)
    known: dict[str, Callable[..., LiquidObservable]] = {
        "rdf": partial(rdf, max=longest_rdf(box, LONGEST)),
        "coordination": coordination,
    }
    seen = (
        moments(),
        local_density(),
        rdf(0.15, longest_rdf(box, 10.0)),
    )  # D1, D2, D3
    return cg.System(
        name="methanol",
        program=partial(program, liquid=liquid),
        sampler=liquid.sampler,
        latent_sampler=particle_sampler(options.sites, liquid.box, Dynamics("hmc", steps=10)),
        options=asdict(options),
        features=liquid.basis.names,
        observables=(known["rdf"]().in_box(box),),
        known_observables=known,
        restriction=lambda x, key: x,
        critic_features=tuple(o.in_box(box) for o in seen),
        constants={"box": (("axis",), box, "edges of the periodic box", "angstrom")},
        check=partial(_check, options=options),
        select=partial(_select, options=options, liquid=liquid),
        start={
            "theta_c": repulsive(liquid.basis, EPSILON, SIGMA, 1.0 / liquid.beta),
            "sigma2": options.sigma2,
        },
        dirac={"sigma2": DIRAC},
        runaway=None,
        box=liquid.box,
        frames=options.frames,
        method_defaults={"mcem": FIT, "rem": FIT, "arcg": LIQUID_CRITIC},
        units={"theta_c": "kcal/mol", "sigma2": "angstrom^2"},
        derived=partial(_pair_potential, liquid=liquid),
    )


#: What a liquid needs of MC-EM.
FIT = {**LIQUID, "free_chains": 16, "clamped_chains": 2}


def _pair_potential(values: Mapping[str, Array], liquid: Liquid) -> dict[str, cg.Derived]:
    """The pair potential u(r) of one draw."""
    r = np.arange(2.0, liquid.basis.cutoff + 1e-9, 0.05)
    u = liquid.potential(values["theta_c"]).pair_energy(jnp.asarray(r))
    text = "pair potential u(r), core included"
    return {"pair_potential": cg.Derived("r", r, u, text, "kcal/mol", "angstrom")}


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: molecules, box, temperature, and where the core begins."""
    data, _ = _checked(data, options)
    options = replace(
        options,
        sites=data.sizes["site"],
        box=float(data["box"].values[0]),
        temperature=float(data.attrs.get("temperature", options.temperature)),
    )
    if options.core is not None:
        return options
    x = jnp.asarray(data["x"].values, float)
    nearest = float(jnp.min(closest_distance(x.T, data["box"].values)))
    return replace(options, core=math.floor(100.0 * nearest) / 100.0)


def _checked(data: xr.Dataset, options: Options) -> tuple[xr.Dataset, tuple[str, ...]]:
    data, notices = cg.io.check_particles(data, cutoff=options.cutoff, mass=MASS, closest=CLOSEST)
    cg.io.check_cube(data)
    return data, notices


def _check(data: xr.Dataset, options: Options) -> None:
    data, _ = _checked(data, options)
    cg.io.check_model_box(data, options.sites, (options.box,) * 3)


def _select(data: xr.Dataset, options: Options, liquid: Liquid) -> xr.Dataset:
    """Sites wrapped into the box, and frames thinned where they shall be as good as independent."""
    data, notices = _checked(data, options)
    if options.correlated == "thin":
        x = jnp.asarray(data["x"].values, float)
        potential = liquid.potential(jnp.zeros(len(liquid.basis.names)))
        phi = np.asarray(jax.jit(lambda x: potential.statistics(x.T))(x)).T
        chosen = independent_frames(phi, all_of_them=False, first=options.frames)
        data = data.isel(frame=chosen.frames).assign_attrs(**chosen.attrs)
        notices += chosen.notices
    return data.assign_attrs(notices=list(notices))


def molecule() -> Molecule:
    """Methanol, staggered: carbon first, then oxygen, hydroxyl's hydrogen and the methyl's three."""
    tetrahedral, bent = np.deg2rad(109.5), np.deg2rad(108.5)
    oxygen = np.array([1.410, 0.0, 0.0])
    hydroxyl = oxygen + 0.945 * np.array([-np.cos(bent), np.sin(bent), 0.0])
    x = [np.zeros(3), oxygen, hydroxyl]
    for turn in np.deg2rad([180.0, 60.0, -60.0]):
        across = np.sin(tetrahedral) * np.array([np.cos(turn), np.sin(turn)])
        x.append(1.090 * np.array([np.cos(tetrahedral), *across]))
    return Molecule(
        ("C", "O", "HO", "H1", "H2", "H3"),
        ("CT", "OH", "HO", "HC", "HC", "HC"),
        ((0, 1), (1, 2), (0, 3), (0, 4), (0, 5)),
        np.array(x),
        OPLS_AA,
    )


def reference(
    options: Options, key: Array, progress: Callable[[str, float], None] | None = None
) -> xr.Dataset:
    """Carbons of OPLS-AA methanol by molecular dynamics with OpenMM.

    :return: ``x``, ``box``, and ``rdf`` over the whole run with its standard error.
    """
    run = FlexibleRun(
        molecules=options.sites,
        temperature=options.temperature,
        box=options.box,
        timestep=options.timestep,
        substeps=SUBSTEPS,
        cutoff=options.fine_cutoff,
        npt=options.npt,
        equilibration=options.equilibration,
        length=options.length,
        interval=INTERVAL,
    )
    seed = int(np.asarray(jax.random.key_data(key)).ravel()[-1])
    carbons, box = [], options.box
    for frame in simulate(molecule(), run, seed, progress):
        if frame.stage == "production":
            carbons.append(frame.x[:: len(molecule().types)].astype(np.float32))
            box = frame.box
    edges = np.full(3, box)
    return cg.reference_frames(
        np.stack(carbons),
        [rdf(0.05, longest_rdf(edges, LONGEST)).in_box(edges)],
        box=edges,
        mass=np.full(options.sites, MASS),
        temperature=options.temperature,
        interval=INTERVAL,
        spacing=options.spacing,
        source=(
            f"bayescg reference methanol: {options.length:g} ps of OPLS-AA methanol, {options.sites} molecules, "
            f"Langevin thermostat, {options.timestep:g} fs, PME, with OpenMM; carbons"
        ),
    )
