"""A binary Lennard-Jones fluid whose second kind is virtual (ARCG paper, Section IV.C and Table II).

Coarse: particles X and as many Y. Fine: the X alone; Y is in no data, a solvent that says how X come together. The
true parameters, those of system B, separate the two into slabs; a fit starts from A, in which they mix. Table II
heads its columns sigma, then epsilon; its numbers are epsilon, then sigma (0.7 angstrom would be no particle). The
paper gives no density; at 0.0185 particles in a cubic angstrom both slabs of B are liquids, 0.86 of their sigma^3 at
0.85 of their epsilon for kT, short of freezing. At 0.017, where they coexist with their vapour, a search whose Y are
too small leaves a void beside them and does not come back. Lengths are in angstrom, energies in kcal/mol, temperatures
in K.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, flat_positive
from bayescg.engines.atomic import AtomicRun
from bayescg.engines.atomic import simulate as openmm_frames
from bayescg.mapping import drop_sites
from bayescg.observables import (
    LiquidObservable,
    local_density,
    longest_rdf,
    moments,
    rdf,
    slab_profile,
)
from bayescg.options import option
from bayescg.potentials import (
    Interaction,
    InversePowers,
    LennardJones,
    MolecularPotential,
    PairClasses,
    classes_of,
)
from bayescg.samplers import Dynamics, Sampler, long_run, particle_sampler, simulate
from bayescg.space import check_cutoff, minimum_image
from bayescg.topology import Topology
from bayescg.units import beta_of, thermal_speed

SUMMARY = "binary Lennard-Jones fluid with a virtual solvent (ARCG paper, Section IV.C)"

#: Options that reference data depend on.
REFERENCE_OPTIONS = (
    "sites",
    "density",
    "temperature",
    "cutoff",
    "length",
    "spacing",
    "equilibration",
    "engine",
    "timestep",
)
#: MC-EM holds all the X of a frame, two chains each; a liquid takes some 10 ps to forget one.
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"mcem": {"most": 125}}

PAIRS = ("X_X", "X_Y", "Y_Y")
#: Table II: epsilon (kcal/mol) and sigma (angstrom) of each pair of types.
SYSTEM_A = {"X_X": (0.6, 3.5), "Y_Y": (0.6, 3.2), "X_Y": (0.5, 3.1)}
SYSTEM_B = {"X_X": (0.7, 3.6), "Y_Y": (0.7, 3.6), "X_Y": (0.35, 3.5)}
NAMES = tuple(f"{p}_{n}" for n in PAIRS for p in ("epsilon", "sigma"))
MASS = 40.0  # g/mol; configurations do not depend on it
CLOSEST = 1.5  # angstrom; no two particles come that close
LONGEST = 12.0  # angstrom, of the radial distribution function
INTERVAL = 0.5  # ps between the frames that it is measured on
CHAINS = 8  # of a reference
#: A configuration is forgotten after 25 angstrom of thermal motion, some fifteen of these trajectories.
DYNAMICS = Dynamics("langevin", steps=50, target=0.7)
CANDIDATES = 1.5  # angstrom between places where a Y may begin


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    sites: int = option(864, "particles, half of them X")
    density: float = option(0.0185, "particles in a cubic angstrom; the paper gives none")
    temperature: float = option(300.0, "K")
    cutoff: float = option(10.0, "cut-off, angstrom, smooth over the last one")
    start: str = option("A", "system of Table II that a fit starts from: A or B")
    most: int | None = option(
        None, "use every so many-th frame, so that they are no more than that; none: all"
    )
    frames: int | None = option(None, "use the first so many of these; none: all")
    length: float = option(
        20000.0, "length of the simulation, of all chains together, ps (reference)"
    )
    spacing: float = option(5.0, "time between its frames, ps (reference)")
    equilibration: float = option(300.0, "time before it, of each chain, ps (reference)")
    engine: str = option(
        "chains", "chains of the sampler that fits use, or openmm, one chain (reference)"
    )
    timestep: float = option(10.0, "time step of openmm, fs; chains find their own (reference)")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{name} must be positive, got {value:g}.")
        if self.spacing > self.length:
            raise ValueError(
                f"spacing must be at most the length of the run, {self.length:g} ps, got {self.spacing:g}."
            )
        if self.sites % 2:
            raise ValueError(f"sites must be even, half of them X, got {self.sites}.")
        if self.engine not in ("chains", "openmm"):
            raise ValueError(f"engine must be chains or openmm, got {self.engine!r}.")
        if self.start not in ("A", "B"):
            raise ValueError(f"start must be A or B, got {self.start!r}.")

    @property
    def box(self) -> tuple[float, float, float]:
        """Edges of the cube, angstrom."""
        edge = round((self.sites / self.density) ** (1.0 / 3.0), 6)
        return edge, edge, edge

    @property
    def types(self) -> tuple[str, ...]:
        """All X, then all Y."""
        return ("X",) * (self.sites // 2) + ("Y",) * (self.sites // 2)


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the program stands on; static."""

    classes: PairClasses
    box: tuple[float, float, float]
    powers: InversePowers
    beta: float
    sampler: Sampler

    @property
    def real(self) -> int:
        """Particles that the data hold, the first so many."""
        return self.classes.topology.types.count("X")

    def potential(self, values: Mapping[str, Array]) -> MolecularPotential:
        """Lennard-Jones of every pair of types."""
        pairs = tuple(
            Interaction(
                (LennardJones(values[f"epsilon_{n}"], values[f"sigma_{n}"], self.powers),),
                "pair",
                n,
            )
            for n in PAIRS
        )
        return MolecularPotential(pairs, self.classes, self.box)


def program(x: Array | None = None, *, mixture: Mixture, frames: int = 1) -> None:
    """p(theta) p_c(X, Y | theta), and the X of it, which the data hold (Eq. 22 of the ARCG paper).

    :param x: particles X, ``(frame, site, axis)``; None generates ``frames`` of them.
    """
    values = {name: flat_positive(name) for name in NAMES}
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            mixture.potential(values),
            mixture.beta,
            log_partition=None,
            event_shape=(mixture.classes.topology.sites, 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(mixture.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", dist.Delta(X[..., : mixture.real, :], event_dim=2), obs=x)


def _mixture(options: Options) -> Mixture:
    sites, box = options.sites, options.box
    topology = Topology(options.types, np.full(sites, MASS), np.arange(sites))
    return Mixture(
        classes_of(topology, topology.pairs),
        box,
        InversePowers(cutoff=options.cutoff),
        beta_of(options.temperature),
        particle_sampler(sites, box, DYNAMICS),
    )


def _complete(key: Array, x: Array, box: tuple[float, ...]) -> Array:
    """As many Y as X, one after another where it is farthest to any particle that is there."""
    edge = np.asarray(box)
    counts = np.ceil(edge / CANDIDATES).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(n) / n for n in counts], indexing="ij"), -1)
    places = jnp.asarray(grid.reshape(-1, 3) * edge, x.dtype)

    def squared(a: Array) -> Array:
        d = minimum_image((places - a).T, edge)
        return jnp.sum(d * d, 0)

    def fill(key: Array, one: Array) -> Array:
        near = jax.lax.fori_loop(
            0,
            len(one),
            lambda i, near: jnp.minimum(near, squared(one[i])),
            jnp.full(len(places), jnp.inf, x.dtype),
        )
        # Ties among points of the grid are broken at random.
        blur = jax.random.uniform(key, near.shape, x.dtype, 0.0, 0.1)

        def put(near: Array, _: None) -> tuple[Array, Array]:
            site = places[jnp.argmax(near + blur)]
            return jnp.minimum(near, squared(site)), site

        return jnp.concatenate([one, jax.lax.scan(put, near, None, len(one))[1]])

    return jax.lax.map(lambda a: fill(*a), (jax.random.split(key, len(x)), x))


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``.

    :raises ValueError: if the box is too small for the cut-off.
    """
    mixture = _mixture(options)
    box = np.asarray(mixture.box)
    check_cutoff(options.cutoff, box)
    known: dict[str, Callable[..., LiquidObservable]] = {
        "rdf": partial(rdf, max=longest_rdf(box, LONGEST)),
        "slab_density": slab_profile,
    }
    seen = (
        moments(),
        local_density(),
        rdf(0.15, longest_rdf(box, 10.0)),
    )  # D1, D2, D3
    return cg.System(
        name="binary_lj",
        program=partial(program, mixture=mixture),
        sampler=mixture.sampler,
        options=asdict(options),
        observables=tuple(o().in_box(box) for o in known.values()),
        known_observables=known,
        pre_map=drop_sites(options.types, ["Y"]),
        mass=(MASS,) * options.sites,
        complete=partial(_complete, box=mixture.box),
        critic_features=tuple(o.in_box(box) for o in seen),
        constants={"box": (("axis",), box, "edges of the periodic box", "angstrom")},
        check=partial(_check, options=options),
        select=partial(_thinned, most=options.most),
        frames=options.frames,
        start=_values(SYSTEM_A if options.start == "A" else SYSTEM_B),
        runaway=None,
        box=mixture.box,
        method_defaults={"mcem": FIT, "arcg": SEARCH, "arcg, steps=newton": SETTLE},
        units={n: "kcal/mol" if n.startswith("eps") else "angstrom" for n in NAMES},
        derived=partial(_pair_potentials, mixture=mixture),
    )


#: What the mixture needs of MC-EM. Y of all frames move in every step: those that stay where earlier parameters put
#: them answer for a slope of their own, and steps are taken back for it.
FIT = {
    "free_chains": 256,
    "clamped_chains": 2,
    "warmup": 40,  # Y put in by hand come to rest first
    "cooling": 0.0,
    "drift": 0.2,
    "sweeps": 2,
    "max_sweeps": 2,
    "thin": 2,
    "radius": 0.5,
    "longest": 1.0,
    "most_missing": 0.97,
    "max_iterations": 60,
    "tolerance": 0.7,
    "information": 8,
    "laplace": "observed",
}
#: And of ARCG.
SEARCH = {
    "begin": "data",  # mixed chains would have to separate before they say anything of slabs
    "rate": 0.005,
    "penalty": 0.3,
    "accuracy": 0.93,
    "decay": 0.93,
    "warmup": 20,
    "relax": 1,
    "samples": 3,
    "max_iterations": 900,
    "polish": True,
}
#: Its Newton's steps go on from there, at a distance from the optimum that chains take some moves to come to. Many
#: samples need little to hold a critic back, and it is in what holds it back that Y would be seen.
SETTLE = {
    "noise": 0.0,
    "penalty": 0.0002,
    "chains": 32,
    "warmup": 30,
    "relax": 32,
    "samples": 6,
    "thin": 8,
    "tolerance": 1.0,
    "max_iterations": 56,
}


def _thinned(data: xr.Dataset, most: int | None) -> xr.Dataset:
    """Frames equally far apart, no more than ``most``."""
    every = 1 if most is None else -(-data.sizes["frame"] // most)
    return data.isel(frame=slice(None, None, every))


def _values(pairs: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    return {
        f"{p}_{n}": v
        for n, both in pairs.items()
        for p, v in zip(("epsilon", "sigma"), both, strict=True)
    }


def _pair_potentials(values: Mapping[str, Array], mixture: Mixture) -> dict[str, cg.Derived]:
    """The pair potentials of one draw."""
    r = np.arange(2.5, mixture.powers.cutoff + 1e-9, 0.05)
    return {
        f"pair_potential_{i.name}": cg.Derived(
            "r",
            r,
            i.energy(jnp.asarray(r)),
            f"pair potential of {i.name.replace('_', ' and ')}",
            "kcal/mol",
            "angstrom",
        )
        for i in mixture.potential(values).pairs
    }


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: particles, box and temperature."""
    data, _ = cg.io.check_particles(data, cutoff=options.cutoff, mass=MASS, closest=CLOSEST)
    sites, volume = 2 * data.sizes["site"], float(np.prod(data["box"].values.astype(float)))
    return replace(
        options,
        sites=sites,
        density=sites / volume,
        temperature=float(data.attrs.get("temperature", options.temperature)),
    )


def _check(data: xr.Dataset, options: Options) -> None:
    data, _ = cg.io.check_particles(data, cutoff=options.cutoff, mass=MASS, closest=CLOSEST)
    cg.io.check_model_box(data, options.sites // 2, options.box)


def reference(
    options: Options, key: Array, progress: Callable[[str, float], None] | None = None
) -> xr.Dataset:
    """The X of system B by molecular dynamics, started in two slabs.

    :return: ``x``, ``box``, and ``rdf`` and ``slab_density`` over the whole run with their standard errors.
    """
    real = options.sites // 2
    if options.engine == "openmm":
        frames, told = _by_openmm(options, key, progress), f"{options.timestep:g} fs, with OpenMM"
    else:
        frames, told = _by_chains(options, key, progress), f"by {CHAINS} chains of bayescg"
    measured = (rdf(0.1, longest_rdf(options.box, LONGEST)), slab_profile())
    return cg.reference_frames(
        frames,
        [o.in_box(options.box) for o in measured],
        box=options.box,
        mass=np.full(real, MASS),
        temperature=options.temperature,
        interval=INTERVAL,
        spacing=options.spacing,
        source=(
            f"bayescg reference binary_lj: {options.length:g} ps of {options.sites} Lennard-Jones particles, system B "
            f"of Table II, cut-off {options.cutoff:g} angstrom, Langevin thermostat, {told}; particles X"
        ),
    )


def _by_openmm(
    options: Options, key: Array, progress: Callable[[str, float], None] | None
) -> np.ndarray:
    """The X of all frames, ``(frame, site, axis)``."""
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
        order="slab",
    )
    seed = int(np.asarray(jax.random.key_data(key)).ravel()[-1])
    truth = {(n[0], n[2]): SYSTEM_B[n] for n in PAIRS}
    frames = openmm_frames(options.types, truth, run, seed, progress)
    real = options.sites // 2
    return np.stack([f[:real].astype(np.float32) for f in frames])


def _by_chains(
    options: Options, key: Array, progress: Callable[[str, float], None] | None
) -> np.ndarray:
    """The same, one chain after another."""
    mixture = _mixture(options)
    speed = thermal_speed(options.temperature, MASS) * 1e3  # angstrom/ps
    places, key = jax.random.split(key)
    runs = simulate(
        mixture.box,
        DYNAMICS,
        key,
        np.stack([_slabs(k, options) for k in jax.random.split(places, CHAINS)]),
        mixture.potential({n: jnp.asarray(v) for n, v in _values(SYSTEM_B).items()}),
        mixture.beta,
        equilibration=options.equilibration * speed,
        length=options.length / CHAINS * speed,
        interval=INTERVAL * speed,
        progress=progress,
    )
    real = options.sites // 2
    frames = np.stack([f[:, :real] for f in runs], 1)  # chains have single precision
    return frames.reshape(-1, *frames.shape[2:])


def _slabs(key: Array, options: Options) -> np.ndarray:
    """Sites of a cubic lattice, X in the lower part of the box and Y above, ``(site, axis)``."""
    edge = int(np.ceil(options.sites ** (1.0 / 3.0) - 1e-9))
    places = np.stack(np.meshgrid(*[np.arange(edge)] * 3), -1).reshape(-1, 3)
    spots = np.asarray(jax.random.permutation(key, places))[: options.sites]
    return spots[np.argsort(spots[:, 2], kind="stable")] * (options.box[0] / edge)
