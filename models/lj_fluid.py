"""A Lennard-Jones fluid (ARCG paper, Section IV.A).

Coarse and fine are the same particles, so the map between them is the identity, and the true parameters are
known: those of system B, which separates into liquid and vapour; a fit starts from A, a homogeneous liquid. The paper
gives no density; at 0.0172 per cubic angstrom A has 0.737 of its sigma^3 and 0.994 of its epsilon for kT, above the
liquid's density at coexistence, and B 0.464 and 0.795, between its vapour's and its liquid's. Lengths are in
angstrom, energies in kcal/mol, temperatures in K.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, positive
from bayescg.engines.atomic import AtomicRun, simulate
from bayescg.observables import longest_rdf, moments, rdf
from bayescg.options import option
from bayescg.potentials import (
    Interaction,
    InversePowers,
    LennardJones,
    MolecularPotential,
    PairClasses,
    classes_of,
)
from bayescg.samplers import Dynamics, Sampler, long_run, particle_sampler
from bayescg.space import check_cutoff
from bayescg.topology import Topology
from bayescg.units import beta_of

SUMMARY = "Lennard-Jones fluid that separates into liquid and vapour (ARCG paper, Section IV.A)"

#: Options that reference data depend on.
REFERENCE_OPTIONS = (
    "sites",
    "density",
    "temperature",
    "cutoff",
    "true_epsilon",
    "true_sigma",
    "length",
    "spacing",
    "equilibration",
    "timestep",
)
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"nuts": {"prior": "lognormal"}}

MASS = 40.0  # g/mol; configurations do not depend on it
CLOSEST = 1.5  # angstrom; no two particles come that close
LONGEST = 12.0  # angstrom, of the radial distribution function
INTERVAL = 0.5  # ps between the frames that it is measured on


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    sites: int = option(864, "particles")
    density: float = option(0.0172, "particles in a cubic angstrom; the paper gives none")
    temperature: float = option(300.0, "K")
    cutoff: float = option(10.0, "cut-off, angstrom, smooth over the last one")
    epsilon: float = option(0.6, "epsilon that a fit starts from, kcal/mol (system A)")
    sigma: float = option(3.5, "sigma that it starts from, angstrom")
    prior: Literal["flat", "lognormal"] = option(
        "flat", "of epsilon and sigma: flat, or lognormal about where a fit starts"
    )
    prior_spread: float = option(0.5, "sd of the logarithm of either under the lognormal prior")
    true_epsilon: float = option(0.75, "epsilon of system B, kcal/mol (reference)")
    true_sigma: float = option(3.0, "its sigma, angstrom (reference)")
    frames: int | None = option(None, "use the first so many frames; none: all")
    length: float = option(1500.0, "length of the simulation, ps (reference)")
    spacing: float = option(5.0, "time between its frames, ps (reference)")
    equilibration: float = option(300.0, "time before it, ps (reference)")
    timestep: float = option(5.0, "time step, fs (reference)")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{name} must be positive, got {value:g}.")
        if self.spacing > self.length:
            raise ValueError(
                f"spacing must be at most the length of the run, {self.length:g} ps, got {self.spacing:g}."
            )

    @property
    def box(self) -> tuple[float, float, float]:
        """Edges of the cube, angstrom."""
        edge = round((self.sites / self.density) ** (1.0 / 3.0), 6)
        return edge, edge, edge


@dataclass(frozen=True, eq=False)
class Fluid:
    """What the program stands on; static."""

    classes: PairClasses
    box: tuple[float, float, float]
    powers: InversePowers
    beta: float
    sampler: Sampler
    prior: Mapping[str, tuple[float, float]]  # median and spread of each; empty: flat

    def potential(self, epsilon: Array, sigma: Array) -> MolecularPotential:
        """Lennard-Jones (Eq. 45)."""
        pair = Interaction((LennardJones(epsilon, sigma, self.powers),), "pair", "A_A")
        return MolecularPotential((pair,), self.classes, self.box)


def program(x: Array | None = None, *, fluid: Fluid, frames: int = 1) -> None:
    """p(theta) p_c(X | theta), and x = X.

    :param x: particles, ``(frame, site, axis)``; None generates ``frames`` of them.
    """
    epsilon, sigma = (positive(name, fluid.prior.get(name)) for name in ("epsilon", "sigma"))
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            fluid.potential(epsilon, sigma),
            fluid.beta,
            log_partition=None,
            event_shape=(fluid.classes.topology.sites, 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(fluid.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", dist.Delta(X, event_dim=2), obs=x)


def _fluid(options: Options) -> Fluid:
    sites, box = options.sites, options.box
    medians = {n: (getattr(options, n), options.prior_spread) for n in ("epsilon", "sigma")}
    topology = Topology(("A",) * sites, np.full(sites, MASS), np.arange(sites))
    return Fluid(
        classes_of(topology, topology.pairs),
        box,
        InversePowers(cutoff=options.cutoff),
        beta_of(options.temperature),
        particle_sampler(sites, box, Dynamics("langevin")),
        {} if options.prior == "flat" else medians,
    )


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if the box is too small for the cut-off.
    """
    fluid = _fluid(options)
    box = np.asarray(fluid.box)
    check_cutoff(options.cutoff, box)
    measured = partial(rdf, max=longest_rdf(box, LONGEST))
    return cg.System(
        name="lj_fluid",
        program=partial(program, fluid=fluid),
        sampler=fluid.sampler,
        latent_sampler=particle_sampler(options.sites, fluid.box, Dynamics("hmc")),
        options=asdict(options),
        observables=(measured().in_box(box),),
        known_observables={"rdf": measured},
        restriction=lambda x, key: x,
        # In powers of the distance both model and data are an exponential family: this critic is complete.
        critic_features=(moments((-6.0, -12.0)).in_box(box),),
        constants={"box": (("axis",), box, "edges of the periodic box", "angstrom")},
        check=partial(_check, options=options),
        frames=options.frames,
        start={"epsilon": options.epsilon, "sigma": options.sigma},
        runaway=None,
        box=fluid.box,
        method_defaults={"mcem": FIT, "rem": FIT, "arcg": SEARCH, "nuts": SAMPLE},
        units={"epsilon": "kcal/mol", "sigma": "angstrom"},
        derived=partial(_pair_potential, fluid=fluid),
    )


#: What a liquid needs of MC-EM, which here is REM: nothing is latent.
FIT = {
    "free_chains": 16,
    "cooling": 0.0,
    "growth": 1.0,
    "sweeps": 8,
    "drift": 0.2,
    "radius": 30.0,
    "longest": 300.0,
    "max_iterations": 150,
    "max_sweeps": 64,
    "tolerance": 1.0,
}
#: And of ARCG.
SEARCH = {
    "rates": "epsilon=0.01,sigma=0.004",
    "accuracy": 0.9,
    "relax": 1,
    "samples": 4,
}


#: And NUTS: nothing is latent, and two parameters are correlated.
SAMPLE = {"log_partition": "learned", "precision": 0.2, "mass": "dense"}


def _pair_potential(values: Mapping[str, Array], fluid: Fluid) -> dict[str, cg.Derived]:
    """The pair potential u(r) of one draw."""
    r = np.arange(2.0, fluid.powers.cutoff + 1e-9, 0.05)
    (pair,) = fluid.potential(values["epsilon"], values["sigma"]).interactions
    u = pair.energy(jnp.asarray(r))
    text = "pair potential u(r) (Eq. 45)"
    return {"pair_potential": cg.Derived("r", r, u, text, "kcal/mol", "angstrom")}


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: particles, box and temperature."""
    data, _ = cg.io.check_particles(data, cutoff=options.cutoff, mass=MASS, closest=CLOSEST)
    sites, volume = data.sizes["site"], float(np.prod(data["box"].values.astype(float)))
    return replace(
        options,
        sites=sites,
        density=sites / volume,
        temperature=float(data.attrs.get("temperature", options.temperature)),
    )


def _check(data: xr.Dataset, options: Options) -> None:
    data, _ = cg.io.check_particles(data, cutoff=options.cutoff, mass=MASS, closest=CLOSEST)
    cg.io.check_model_box(data, options.sites, options.box)


def reference(
    options: Options, key: Array, progress: Callable[[str, float], None] | None = None
) -> xr.Dataset:
    """System B by molecular dynamics with OpenMM.

    :return: ``x``, ``box``, and ``rdf`` over the whole run with its standard error.
    """
    run = AtomicRun(
        molecules=options.sites,
        temperature=options.temperature,
        box=options.box[0],
        timestep=options.timestep,
        cutoff=options.cutoff,
        equilibration=options.equilibration,
        length=options.length,
        interval=INTERVAL,
        mass=MASS,
    )
    seed = int(np.asarray(jax.random.key_data(key)).ravel()[-1])
    truth = {("A", "A"): (options.true_epsilon, options.true_sigma)}
    frames = simulate(("A",) * options.sites, truth, run, seed, progress)
    return cg.reference_frames(
        np.stack([f.astype(np.float32) for f in frames]),
        [rdf(0.1, longest_rdf(options.box, LONGEST)).in_box(options.box)],
        box=options.box,
        mass=np.full(options.sites, MASS),
        temperature=options.temperature,
        interval=INTERVAL,
        spacing=options.spacing,
        source=(
            f"bayescg reference lj_fluid: {options.length:g} ps of {options.sites} Lennard-Jones particles, epsilon "
            f"{options.true_epsilon:g} kcal/mol, sigma {options.true_sigma:g} angstrom, cut-off {options.cutoff:g} "
            f"angstrom, Langevin thermostat, {options.timestep:g} fs, with OpenMM"
        ),
    )
