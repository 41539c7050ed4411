"""A user's own molecules: typed pairs, bonds, angles and dihedrals on splines, tables or known forms.

The data decide what there is: bead types, bonded terms and exclusions come from their topology, and the
ranges that potentials cover from what was seen. Of targets an interaction may have a given potential in place
of a distribution; it is felt and not fitted. Coarse: beads with the energy of bottom-up models, a sum of
one-dimensional potentials. Fine: mapped sites, which lie around their beads with variance sigma2, as in the
PCG paper (Eq. 61); the limiting methods take the two for one. Lengths are in angstrom, energies in
kcal/mol, temperatures in K.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
import math
from typing import Any, Literal, NamedTuple

from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, PeriodicNormal, coefficients, positive
from bayescg.infer.correlation import independent_frames
from bayescg.infer.options import LIQUID
from bayescg.infer.starting import parameters_from_frames
from bayescg.observables import (
    AXES,
    Fixed,
    Known,
    common_lengths,
    fixed_of,
    known_of,
    molecular_observables,
    rdf_ends,
    usual,
)
from bayescg.options import option
from bayescg.potentials import (
    BSplines,
    FixedPair,
    FixedTable,
    Harmonic,
    Interaction,
    InversePowers,
    LennardJones,
    LinearPair,
    MolecularPotential,
    PairBasis,
    PairClasses,
    PairTerm,
    PeriodicTable,
    Table,
    Wall,
    Walls,
    Waves,
    classes_of,
)
from bayescg.samplers import Dynamics, Sampler, kernels, long_run, particle_sampler
from bayescg.space import check_cutoff
from bayescg.topology import Topology, topology_of
from bayescg.units import beta_of

SUMMARY = "your own molecules, with the types, bonds and angles that the data hold"

LONGEST = 10.0  # angstrom, the default cut-off where the box allows it
CLOSEST = 1.0  # angstrom; no two beads that are not bonded come that close
PAD = 0.6  # angstrom of a pair table below the closest pair of the data
WALL = 500.0  # kcal/mol/angstrom^3, of the core
#: Median and standard deviation of the logarithm, of the lognormal priors.
POSITIVE = {"sigma2": (0.01, 2.0), "epsilon": (0.3, 1.5), "sigma": (4.0, 0.5)}
DIRAC = 1e-6  # angstrom^2, of x about X where the two are one
STARTS = 64  # frames that chains may start from

TABLES = {"pair": "table", "bond": "table", "angle": "table", "dihedral": "table"}
SAMPLE = {"log_partition": "learned", "mass": "dense", "precision": 0.2, "warmup": 300}
#: Options that suit a method better than the model's own defaults.
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mcem": {"correlated": "thin"},
    "nuts": {"correlated": "thin", "prior": "normal", "positive": "lognormal"},
    "dbi": {**TABLES, "prior": "flat"},
    "ibi": {**TABLES, "prior": "flat"},
    "imc": {**TABLES, "prior": "flat"},
    "rem": {"prior": "flat"},
    "fm": {"prior": "flat"},
    "ybg": {"prior": "flat"},
    "arcg": {"prior": "flat"},
    "classifier": {"prior": "flat"},
}


@dataclass(frozen=True)
class Options:
    """Everything that ``-s`` can set."""

    pair: Literal["spline", "table", "lj"] = option(
        "spline", "non-bonded potentials: cubic B-splines, a linear table, or Lennard-Jones"
    )
    bond: Literal["spline", "table", "harmonic"] = option("spline", "potentials of bonds")
    angle: Literal["spline", "table", "harmonic"] = option("spline", "potentials of angles")
    dihedral: Literal["waves", "table"] = option(
        "waves", "potentials of dihedrals: cosines and sines, or a table"
    )
    cutoff: float | None = option(
        None,
        "cut-off of pairs, angstrom; none: 10, or half the box or the end of the targets where that is less",
    )
    knots: float = option(0.2, "distance of knots of a pair spline, angstrom")
    width: float = option(0.1, "distance of points of a pair table, angstrom")
    bond_knots: int = option(8, "intervals between knots of a bond's spline")
    bond_width: float = option(0.02, "distance of points of a bond's table, angstrom")
    angle_knots: int = option(10, "intervals between knots of an angle's spline")
    angle_width: float = option(2.0, "distance of points of an angle's table, degrees")
    dihedral_order: int = option(6, "highest multiple of a dihedral in its cosines and sines")
    dihedral_width: float = option(5.0, "distance of points of a dihedral's table, degrees")
    core: float | None = option(
        None, "pairs closer than this are pushed apart, angstrom; none: the data's closest pair"
    )
    prior: Literal["ard", "normal", "flat"] = option(
        "ard", "prior of theta_c; methods that match or criticise have none, which is flat"
    )
    prior_scale: float = option(10.0, "standard deviation of the normal prior, kcal/mol")
    positive: Literal["flat", "lognormal"] = option(
        "flat",
        "prior of sigma2, and of epsilon and sigma: flat on the positive numbers, or lognormal with medians 0.01 "
        "angstrom^2, 0.3 kcal/mol and 4 angstrom, and standard deviations 2, 1.5 and 0.5 of the logarithms",
    )
    a0: float = option(1e-5, "shape of ARD's Gamma")
    b0: float = option(1e-5, "rate of ARD's Gamma")
    sigma2: float = option(0.01, "sigma2 that a fit starts from, angstrom^2")
    temperature: float = option(300.0, "K")
    frames: int | None = option(None, "use the first so many frames; none: all")
    correlated: Literal["thin", "ignore"] = option(
        "ignore", "frames that are correlated: keep every so many that the rest are not, or all"
    )

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{name} must be positive, got {value:g}.")


class Form(NamedTuple):
    """What the potential of one interaction is made of."""

    kind: str
    name: str
    basis: PairBasis | None  # of its coefficients in theta_c, if it has any
    known: tuple[PairTerm, ...]  # terms beside it
    lj: bool = False  # Lennard-Jones, which has parameters of its own


@dataclass(frozen=True, eq=False)
class Molecules:
    """What the program stands on; static."""

    forms: tuple[Form, ...]
    classes: PairClasses
    box: tuple[float, float, float]
    cutoff: float
    beta: float
    sampler: Sampler
    prior: Mapping[str, Any]
    positive: Mapping[str, tuple[float, float]]  # median and spread; empty: flat

    @property
    def size(self) -> int:
        """Coefficients in theta_c."""
        return sum(len(f.basis.names) for f in self.forms if f.basis is not None)

    @property
    def lennard_jones(self) -> tuple[str, ...]:
        """Pairs of types with a Lennard-Jones potential, which has parameters of its own."""
        return tuple(f.name for f in self.forms if f.lj)

    def potential(
        self, theta_c: Array, lj: Mapping[str, tuple[Array, Array]]
    ) -> MolecularPotential:
        """The energy of beads, a sum of one-dimensional potentials."""
        out, at = [], 0
        for kind, name, basis, known, lennard_jones in self.forms:
            terms = known
            if lennard_jones:
                terms = (LennardJones(*lj[name], InversePowers(cutoff=self.cutoff)), *known)
            elif basis is not None:
                terms = (LinearPair(theta_c[at : at + len(basis.names)], basis), *known)
                at += len(basis.names)
            out.append(Interaction(terms, kind, name))
        return MolecularPotential(tuple(out), self.classes, self.box)


def program(x: Array | None = None, *, molecules: Molecules, frames: int = 1) -> None:
    """p(theta) p_c(X | theta_c) p_cf(x | X, sigma2), Eqs. 41 and 61 of the PCG paper.

    :param x: mapped sites, ``(frame, site, axis)``; None generates ``frames`` of them.
    """
    theta_c = jnp.zeros(0)
    if molecules.size:
        theta_c = coefficients("theta_c", molecules.size, **molecules.prior)
    pairs = molecules.lennard_jones
    tag = (lambda n: "") if len(pairs) == 1 else (lambda n: f"_{n}")
    prior = molecules.positive.get
    lj = {
        n: (
            positive(f"epsilon{tag(n)}", prior("epsilon")),
            positive(f"sigma{tag(n)}", prior("sigma")),
        )
        for n in pairs
    }
    sigma2 = positive("sigma2", prior("sigma2"))
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            molecules.potential(theta_c, lj),
            molecules.beta,
            log_partition=None,
            event_shape=(molecules.classes.topology.sites, 3),
            support=numpyro.distributions.constraints.real,
            sampler=long_run(molecules.sampler),
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=molecules.box), obs=x)


def _form(kind: str, name: str, seen: Known, options: Options, cutoff: float) -> Form:
    """The form of an interaction that is fitted."""
    kt = 1.0 / beta_of(options.temperature)
    if kind == "pair":
        low = math.floor(100.0 * seen.low) / 100.0 if options.core is None else options.core
        core = (FixedPair(Wall(low), WALL),)
        if options.pair == "lj":
            return Form(kind, name, None, (), lj=True)
        if options.pair == "spline":
            count = max(4, round((cutoff - low) / options.knots))
            return Form(kind, name, BSplines(np.linspace(low, cutoff, count + 1)), core)
        first = max(1, math.floor((low - PAD) / options.width))
        last = math.floor(cutoff / options.width - 0.5 + 1e-9)
        grid = options.width * (np.arange(first, last + 1) + 0.5)
        return Form(kind, name, Table(grid, "linear"), (FixedPair(Wall(float(grid[0])), WALL),))
    form = getattr(options, kind)
    unit = AXES[kind][2]
    if kind == "dihedral":
        if form == "waves":
            return Form(kind, name, Waves(options.dihedral_order), ())
        return Form(kind, name, PeriodicTable(max(8, round(360.0 / options.dihedral_width))), ())
    if form == "harmonic":
        return Form(kind, name, Harmonic(seen.mean), ())
    # Flat splines and steep tables both need to be told that nothing was seen beyond.
    walls = (FixedPair(Walls(seen.low, seen.high), 2.0 * kt / seen.spread**3),)
    if form == "spline":
        knots = np.linspace(seen.low, seen.high, getattr(options, f"{kind}_knots") + 1)
        return Form(kind, name, BSplines(knots, ends="free"), walls)
    width = getattr(options, f"{kind}_width") * unit
    first, last = math.floor(seen.low / width) - 2, math.ceil(seen.high / width) + 2
    most = math.inf if kind == "bond" else round(np.pi / width)
    grid = width * (np.arange(max(0, first), min(last, most)) + 0.5)
    return Form(kind, name, Table(grid, "linear", "free"), ())


def _given(kind: str, name: str, seen: Known, fixed: Fixed, options: Options, half: float) -> Form:
    """The form of an interaction whose potential is given, with walls where it ends.

    :param half: half the box's shortest edge, angstrom.
    """
    table = FixedPair(FixedTable.of(kind, *fixed, longest=half))
    low, high = float(fixed.q[0]), float(fixed.q[-1])
    walls: tuple[PairTerm, ...] = ()
    if kind == "pair" and low > 0.0:
        walls = (FixedPair(Wall(low), WALL),)
    elif kind in ("bond", "angle"):
        kt = 1.0 / beta_of(options.temperature)
        walls = (FixedPair(Walls(low, high), 2.0 * kt / seen.spread**3),)
    return Form(kind, name, None, (table, *walls))


def _molecules(options: Options, data: xr.Dataset) -> Molecules:
    """The program's ground: what the data hold, under ``options``."""
    topology = topology_of(data)
    known, fixed = known_of(data), fixed_of(data)
    a, b, c = np.asarray(data["box"].values, float).tolist()
    box = (a, b, c)
    cutoff = _cutoff(options, box)
    pairs = [p for p in topology.pairs if ("pair", "_".join(p)) in known]
    forms = [
        _given(kind, name, seen, fixed[kind, name], options, 0.5 * min(box))
        if (kind, name) in fixed
        else _form(kind, name, seen, options, cutoff)
        for (kind, name), seen in known.items()
        if kind != "pair" or name in {"_".join(p) for p in pairs}
    ]
    if fixed and len(fixed) == len(forms):
        raise ValueError("the data hold a potential for every interaction and no target to fit.")
    starts = np.asarray(data["x"].values, float)[:STARTS] if "x" in data else None
    ard = {"a0": options.a0, "b0": options.b0}
    return Molecules(
        tuple(forms),
        classes_of(topology, pairs),
        box,
        cutoff,
        beta_of(options.temperature),
        particle_sampler(topology.sites, box, Dynamics("langevin"), starts),
        {"prior": options.prior, "scale": options.prior_scale, **ard},
        POSITIVE if options.positive == "lognormal" else {},
    )


def _cutoff(options: Options, box: tuple[float, ...]) -> float:
    if options.cutoff is not None:
        return options.cutoff
    return min(LONGEST, math.floor(10.0 * 0.5 * min(box)) / 10.0)


def _within_targets(options: Options, data: xr.Dataset) -> Options:
    """The cut-off settled: within the RDFs that the data hold, unless it is given and there are frames, too.

    :raises ValueError: if it is given, and the targets end before it.
    """
    ends = rdf_ends(data)
    if options.cutoff is None:
        box = np.atleast_2d(np.asarray(data["box"].values, float))[0]
        cutoff = min([_cutoff(options, tuple(box.tolist())), *(e for _, e in ends.values())])
        return replace(options, cutoff=round(cutoff, 6))
    variable = min(ends, key=lambda v: ends[v][0], default="")
    framed = "x" in data and data.sizes["frame"] > 1
    if variable and not framed and options.cutoff > ends[variable][0] + 1e-6:
        raise ValueError(
            f"cutoff is {options.cutoff:g} angstrom, but the target {variable} ends at "
            f"{ends[variable][0]:g}; allowed is a cutoff up to there, or a target that reaches farther."
        )
    return options


def options_from_data(options: Options, data: xr.Dataset) -> Options:
    """Fill in what the data decide: the temperature."""
    return replace(options, temperature=float(data.attrs.get("temperature", options.temperature)))


def system(options: Options = Options(), data: xr.Dataset | None = None) -> cg.System:
    """The record of the molecules in ``data`` under ``options``.

    :raises ValueError: without data, if an option is out of range, or the box too small.
    """
    if data is None:
        raise ValueError("molecular needs data: their topology says what the molecules are.")
    data, _ = _checked(data, options)
    options = _within_targets(options, data)
    if "x" in data:
        data = data.isel(frame=slice(options.frames))
    m = _molecules(options, data)
    topology = m.classes.topology
    one = jnp.ones(())
    potential = m.potential(jnp.zeros(m.size), dict.fromkeys(m.lennard_jones, (one, one)))
    names = [
        f"{f.kind} {f.name}: {n}" for f in m.forms if f.basis is not None for n in f.basis.names
    ]
    sizes = {f"{p}_{n}" if len(m.lennard_jones) > 1 else p: u
             for n in m.lennard_jones
             for p, u in (("epsilon", "kcal/mol"), ("sigma", "angstrom"))}  # fmt: skip
    observables = molecular_observables(m.classes, known_of(data), m.box, m.cutoff)
    return cg.System(
        name="molecular",
        program=partial(program, molecules=m),
        sampler=m.sampler,
        **kernels(topology.sites, m.box),
        options=asdict(options),
        features=tuple(names),
        observables=tuple(observables[name]() for name in usual(observables)),
        known_observables=observables,
        restriction=lambda x, key: x,
        constants=cg.io.constants_of(data, topology),
        check=partial(_check, topology=topology, options=options),
        select=partial(_select, options=options, potential=potential),
        start={"sigma2": options.sigma2} | {k: 0.2 if k.startswith("eps") else 4.0 for k in sizes},
        start_from=lambda x: parameters_from_frames(
            potential, known_of(data), x, 1.0 / beta_of(options.temperature)
        ),
        dirac={"sigma2": DIRAC},
        runaway=None,
        box=m.box,
        frames=options.frames,
        at_least=1,
        typed=True,
        method_defaults={"mcem": LIQUID, "nuts": SAMPLE},
        units={"theta_c": "kcal/mol", "sigma2": "angstrom^2", **sizes},
        derived=partial(_potentials, molecules=m, known=known_of(data)),
    )


def _potentials(
    values: Mapping[str, Array], molecules: Molecules, known: Mapping[tuple[str, str], Known]
) -> dict[str, cg.Derived]:
    """The potentials of one draw, each on an axis of its own kind."""
    pairs = molecules.lennard_jones
    tag = (lambda n: "") if len(pairs) == 1 else (lambda n: f"_{n}")
    lj = {n: (values[f"epsilon{tag(n)}"], values[f"sigma{tag(n)}"]) for n in pairs}
    potential = molecules.potential(values.get("theta_c", jnp.zeros(0)), lj)
    out = {}
    first = math.floor(
        10.0 * min((s.low for (k, _), s in known.items() if k == "pair"), default=1.0)
    )
    for i in potential.interactions:
        if i.kind == "pair":
            last = max(molecules.cutoff, potential.cutoff)
            q = np.arange(max(0.1 * first - 0.5, 0.5), last + 1e-9, 0.05)
            name = "pair_potential" if len(potential.pairs) == 1 else f"pair_potential_{i.name}"
            dim, unit, factor = "r", "angstrom", 1.0
        else:
            dim, unit, factor = AXES[i.kind]
            low, high = (0.0, 180.0) if i.kind == "angle" else (-180.0, 180.0)
            if i.kind == "bond":
                low, high = common_lengths(known)
            q = np.linspace(low, high, 181)
            name = f"{i.kind}_potential_{i.name}"
        u = i.energy(jnp.asarray(q * factor))
        if i.kind != "pair":
            u = u - jnp.min(u)
        out[name] = cg.Derived(dim, q, u, f"potential of {i.label}", "kcal/mol", unit)
    return out


def _checked(data: xr.Dataset, options: Options) -> tuple[xr.Dataset, tuple[str, ...]]:
    if "x" not in data:
        return data, ()
    box = np.asarray(data["box"].values, float)
    cutoff = _cutoff(options, tuple(np.atleast_2d(box)[0].tolist()))
    return cg.io.check_particles(data, cutoff=cutoff, closest=CLOSEST, at_least=1)


def _check(data: xr.Dataset, topology: Topology, options: Options) -> None:
    data, _ = _checked(data, options)
    if data.sizes["site"] != topology.sites:
        raise ValueError(
            f"the data hold {data.sizes['site']} sites, the model {topology.sites}; allowed are the model's."
        )
    check_cutoff(_cutoff(options, tuple(data["box"].values.tolist())), data["box"].values)


def _select(data: xr.Dataset, options: Options, potential: MolecularPotential) -> xr.Dataset:
    """Sites wrapped into the box, and frames thinned where they shall be as good as independent."""
    data, notices = _checked(data, options)
    if options.correlated == "thin":
        blocks = np.array_split(np.asarray(data["x"].values, float), max(1, len(data["x"]) // 32))
        phi = np.concatenate([np.asarray(potential.statistics(jnp.asarray(b).T)).T for b in blocks])
        chosen = independent_frames(phi, all_of_them=False, first=options.frames)
        data = data.isel(frame=chosen.frames).assign_attrs(**chosen.attrs)
        notices += chosen.notices
    return data.assign_attrs(notices=list(notices))
