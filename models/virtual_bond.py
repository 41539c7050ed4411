"""Two bonded sites and a virtual one between them (ARCG paper, Section IV.B and Table I).

Coarse: X-Y-X, every two of the three joined by a harmonic bond. Fine: the two X; Y is in no data. Lengths are in
angstrom, energies in kcal/mol, temperatures in K.

Table I does not say whether a bond's energy is k (r - x)^2, as in LAMMPS, with which the paper simulated, or half
of it, as in textbooks. Its optimum is at a relative entropy of 0.0018 from its target under the second reading and of
0.0070 under the first, so that the second is the default.
"""

from collections.abc import Mapping
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
from bayescg.distributions import Boltzmann, Bridge, flat_positive
from bayescg.mapping import drop_sites
from bayescg.observables import BondedDistribution, moments
from bayescg.options import option
from bayescg.potentials import (
    Harmonic,
    HarmonicTerm,
    Interaction,
    MolecularPotential,
    PairClasses,
    classes_of,
)
from bayescg.samplers import Dynamics, Sampler, particle_sampler
from bayescg.space import minimum_image
from bayescg.topology import Bonded, Topology
from bayescg.units import beta_of

SUMMARY = "two bonded sites with a virtual one between them (ARCG paper, Section IV.B)"

#: Options that reference data depend on.
REFERENCE_OPTIONS = ("x_XY", "k_XY", "x_XX", "k_XX", "energy", "temperature", "frames")
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"arcg": {"prior": "flat"}}

TYPES = ("X", "Y", "X")
NAMES = ("x_XY", "k_XY", "x_XX", "k_XX")
UNITS = dict(zip(NAMES, ("angstrom", "kcal/mol/angstrom^2") * 2, strict=True))
BOX = 30.0  # angstrom, of which the molecule fills little
LONGEST = 14.0  # angstrom, of the quadrature over bonds
FARTHEST = 12.0  # angstrom between the two X of data, beyond which it is not exact
CENTRE = 2.0  # angstrom, from which the functions of a bond are measured
MASS = 12.0  # g/mol; configurations do not depend on it


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set; the bonds of reference data are those of system B in Table I."""

    x_XY: float = option(2.0, "length of the bond X-Y, angstrom (reference)")
    k_XY: float = option(2.7, "its stiffness, kcal/mol/angstrom^2 (reference)")
    x_XX: float = option(2.3, "length of the bond X-X, angstrom (reference)")
    k_XX: float = option(0.4, "its stiffness, kcal/mol/angstrom^2 (reference)")
    energy: Literal["half", "full"] = option(
        "half", "of a bond: k/2 (r - x)^2, or k (r - x)^2 as LAMMPS has it"
    )
    prior: Literal["lognormal", "flat"] = option(
        "lognormal", "of the four parameters; arcg has none, which is flat"
    )
    length_spread: float = option(0.5, "sd of the logarithm of a length under the lognormal prior")
    stiffness_spread: float = option(1.0, "sd of the logarithm of a stiffness under it")
    start: Literal["paper", "middle"] = option(
        "paper", "a fit starts from system A of Table I, or from the middle of the prior"
    )
    temperature: float = option(300.0, "K")
    frames: int | None = option(None, "use (reference: make) so many frames; none: all (5000)")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{name} must be positive, got {value:g}.")


#: A_initial of Table I.
PAPER = {"x_XY": 0.65, "k_XY": 2.2, "x_XX": 1.4, "k_XX": 0.15}
#: Medians of the prior: a bond of two angstrom that one kcal/mol stretches by one of them.
MIDDLE = {"x_XY": 2.0, "k_XY": 1.0, "x_XX": 2.0, "k_XX": 1.0}


@dataclass(frozen=True, eq=False)
class Triangle:
    """What the program stands on; static."""

    classes: PairClasses
    beta: float
    factor: float  # of k (r - x)^2
    sampler: Sampler
    exact: Bridge
    real: tuple[int, ...]  # sites that the data hold
    spread: Mapping[str, float] | None  # of the lognormal prior; None: flat

    def potential(self, x_XY: Array, k_XY: Array, x_XX: Array, k_XX: Array) -> MolecularPotential:
        """Three harmonic bonds."""
        arms = HarmonicTerm(x_XY, k_XY, Harmonic(CENTRE), self.factor)
        ends = HarmonicTerm(x_XX, k_XX, Harmonic(CENTRE), self.factor)
        bonds = (Interaction((arms,), "bond", "X_Y"), Interaction((ends,), "bond", "X_X"))
        return MolecularPotential(bonds, self.classes, (BOX,) * 3)


def program(x: Array | None = None, *, triangle: Triangle, frames: int = 1) -> None:
    """p(theta) p_c(X, Y, X | theta) and the two X of it, which the data hold (Eq. 22 of the ARCG paper).

    As k_XY goes to 0 the virtual site says nothing of x_XY, so that under a flat prior the posterior has no end.

    :param x: the two X, ``(frame, site, axis)``; None generates ``frames`` of them.
    """
    values = {}
    for name in NAMES:
        if triangle.spread is None:
            values[name] = flat_positive(name)
        else:
            prior = dist.LogNormal(np.log(MIDDLE[name]), triangle.spread[name[0]])
            values[name] = numpyro.sample(name, prior)
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            triangle.potential(**values),
            triangle.beta,
            log_partition=triangle.exact,
            event_shape=(len(TYPES), 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", dist.Delta(X[..., triangle.real, :], event_dim=2), obs=x)


def _topology(types: tuple[str, ...], bonds: Mapping[str, list[tuple[int, int]]]) -> Topology:
    """A molecule of these sites, all of them bonded to each other."""
    members = [pair for pairs in bonds.values() for pair in pairs]
    names = tuple(name for name, pairs in bonds.items() for _ in pairs)
    return Topology(
        types,
        np.full(len(types), MASS),
        np.zeros(len(types), int),
        bond=Bonded(np.array(members), names),
        exclusion=np.array(members),
    )


def _triangle(options: Options) -> Triangle:
    classes = classes_of(_topology(TYPES, {"X_Y": [(0, 1), (1, 2)], "X_X": [(0, 2)]}), [])
    flat = options.prior == "flat"
    return Triangle(
        classes,
        beta_of(options.temperature),
        0.5 if options.energy == "half" else 1.0,
        particle_sampler(len(TYPES), (BOX,) * 3, Dynamics("hmc", steps=10), _starts()),
        Bridge("X_X", "X_Y", longest=LONGEST),
        tuple(i for i, t in enumerate(TYPES) if t == "X"),
        None if flat else {"x": options.length_spread, "k": options.stiffness_spread},
    )


def _starts() -> np.ndarray:
    """Right-angled molecules, two angstrom wide, to start chains from."""
    place = np.array([[0.0, 0.0, 0.0], [1.4, 1.4, 0.0], [2.8, 0.0, 0.0]])
    return np.repeat(place[None], 8, 0) + 0.5 * BOX


def _complete(key: Array, x: Array) -> Array:
    """Y beside the middle of the two X, an angstrom away in some direction."""
    side = jax.random.normal(key, (len(x), 3))
    apart = minimum_image((x[:, 1] - x[:, 0]).T, (BOX,) * 3).T  # frames may be wrapped
    middle = x[:, 0] + 0.5 * apart + side / jnp.linalg.norm(side, axis=1, keepdims=True)
    return jnp.stack([x[:, 0], middle, x[:, 1]], 1)


def system(options: Options = Options()) -> cg.System:
    """The record of this system under ``options``."""
    triangle = _triangle(options)
    real = classes_of(_topology(("X", "X"), {"X_X": [(0, 1)]}), [])
    box = (BOX,) * 3

    def distribution(width: float = 0.1) -> BondedDistribution:
        return BondedDistribution(
            "bond", "X_X", real.members["bond", "X_X"], width, 0.0, 8.0, box=box
        )

    return cg.System(
        name="virtual_bond",
        program=partial(program, triangle=triangle),
        sampler=triangle.sampler,
        options=asdict(options),
        observables=(distribution(),),
        known_observables={"bond_X_X": distribution},
        pre_map=drop_sites(TYPES, ["Y"]),
        mass=(MASS,) * len(TYPES),
        complete=_complete,
        # Of a single pair the mean power is the power of its distance.
        critic_features=(replace(moments((1.0, 2.0, 3.0, 4.0)), box=box),),
        constants={"box": (("axis",), np.array(box), "edges of the box", "angstrom")},
        check=_check,
        frames=options.frames,
        start=PAPER if options.start == "paper" else MIDDLE,
        runaway=None,
        box=box,
        method_defaults={"mcem": FIT, "arcg": SEARCH, "nuts": RIDGE},
        units=UNITS,
        derived=partial(_distribution, triangle=triangle),
    )


#: What the posterior's ridge needs of NUTS to mix along it: short steps, and many.
RIDGE = {"mass": "dense", "target_accept": 0.97, "warmup": 1500, "samples": 3000}

#: What three sites need of MC-EM.
FIT = {
    "free_chains": 4096,
    "clamped_chains": 2,
    "max_sweeps": 1024,
    "tolerance": 0.25,
    "cooling": 0.0,
    "most_missing": 0.95,
    "max_iterations": 300,
    "information": 64,
    "laplace": "observed",
}
#: And of ARCG.
SEARCH = {
    "chains": 512,
    "samples": 8,
    "thin": 2,
    "noise": 0.0,
    "rate": 0.03,
    "window": 100,
    "drift": 0.1,  # along the ridge parameters move slowly, and long
    "max_iterations": 1500,
    "penalty": 1e-6,
    "critic_steps": 200,
}


def _distribution(values: Mapping[str, Array], triangle: Triangle) -> dict[str, cg.Derived]:
    """The density of the distance X-X of one draw, by quadrature."""
    potential = triangle.potential(**{n: values[n] for n in NAMES})
    r = triangle.exact.points
    at = r <= 8.0
    density = triangle.exact.density(potential, jnp.asarray(triangle.beta))[: at.sum()]
    text = "density of the distance X-X, Y integrated out by quadrature"
    return {
        "bond_density_X_X": cg.Derived(
            "quadrature_length", r[at], density, text, "1/angstrom", "angstrom"
        )
    }


def _check(data: xr.Dataset) -> None:
    cg.io.check(data)
    if "axis" not in data["x"].dims or data.sizes["site"] != 2:
        raise ValueError(
            "virtual_bond needs two sites in space a frame, x (frame, site, axis); these data hold "
            f"{data.sizes['site']}."
        )
    x = data["x"].transpose("frame", "site", "axis").values.astype(float)
    d = x[:, 1] - x[:, 0]
    far = np.linalg.norm(d - BOX * np.round(d / BOX), axis=1).max()
    if far > FARTHEST:
        raise ValueError(
            f"the two sites are up to {far:.3g} angstrom apart; allowed are {FARTHEST:g}, as far as the quadrature "
            "over the virtual site is exact."
        )


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: the temperature, and how energies are counted."""
    return replace(
        options,
        temperature=float(data.attrs.get("temperature", options.temperature)),
        energy=str(data.attrs.get("energy", options.energy)),  # type: ignore[arg-type]
    )


def reference(options: Options, key: Array) -> xr.Dataset:
    """Independent exact samples of the two X of a molecule whose Y was integrated out by quadrature."""
    triangle = _triangle(options)
    frames = 5000 if options.frames is None else options.frames
    potential = triangle.potential(*(jnp.asarray(float(getattr(options, n))) for n in NAMES))
    X = triangle.exact.sample(key, potential, jnp.asarray(triangle.beta), frames)
    data = xr.Dataset(
        {
            "x": (("frame", "site", "axis"), np.asarray(X[:, list(triangle.real)], np.float32)),
            "box": ("axis", np.full(3, BOX)),
            "type": ("site", np.array(["X", "X"])),
            "mass": ("site", np.full(2, MASS)),
            "molecule": ("site", np.zeros(2, int)),
            "bond": (("bond", "bond_place"), np.array([[0, 1]])),
        },
        attrs={
            "temperature": options.temperature,
            "source": "bayescg reference virtual_bond: independent exact samples by quadrature",
            "energy": options.energy,
            **{n: getattr(options, n) for n in NAMES},
        },
    )
    data["x"].attrs = {"units": "angstrom", "long_name": "positions of the two X"}
    return data
