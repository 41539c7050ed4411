"""Side by side with VOTCA on the same mapped data: distributions, steps of IMC and REM, force matching.

Both are given the same bins and the same splines; conventions stand in
:mod:`benchmarks.votca_files`. Needs VOTCA's programs on the path.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
import xarray as xr

from bayescg import io
from bayescg.infer.conjugate import Equations, Flat, solve
from bayescg.infer.force_design import normal_equations
from bayescg.infer.histograms import Histograms, Part, Target, histograms_of, over_frames
from bayescg.infer.updates import Measured, Newton
from bayescg.observables import BondedDistribution, TypedRadialDistribution, known_of
from bayescg.potentials import (
    BSplines,
    Interaction,
    InversePowers,
    LinearPair,
    MolecularPotential,
    Table,
    classes_of,
)
from bayescg.topology import topology_of
from bayescg.units import beta_of
from benchmarks.votca_files import (
    Bins,
    Splines,
    fmatch,
    imc,
    need_votca,
    reupdate,
    stat,
    write_data,
)

DATA = Path(__file__).parents[1] / "data"
WATER = DATA / "spce_water" / "frames.nc"
WATER_LONG = DATA / "spce_water" / "long_run.nc"
HEXANE_LONG = DATA / "hexane" / "long_run.nc"
HEXANE = DATA / "hexane" / "frames.nc"
FORCED = DATA / "spce_water" / "frames_512.nc"


class NaturalForces:
    """Potentials whose forces are natural cubic splines, one a knot, as csg_fmatch has them.

    :param knots: increasing; angstrom or radians.
    :param ends: whether forces end at the last knot, as those of pairs do.
    """

    def __init__(self, knots: np.ndarray, *, ends: bool) -> None:
        self.knots, self.ends = knots, ends
        force = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")
        self.coefficients = -force.antiderivative().c  # (power, piece, knot)
        self.names = tuple(f"f({q:.4g})" for q in knots)
        self.cutoff = float(knots[-1]) if ends else np.inf
        self.scale = float(np.diff(knots).min())

    def __call__(self, q: Array) -> Array:
        at = jnp.clip(jnp.searchsorted(jnp.asarray(self.knots), q) - 1, 0, len(self.knots) - 2)
        t = q - jnp.asarray(self.knots)[at]
        value = jnp.zeros((*jnp.shape(q), len(self.knots)))
        for c in jnp.asarray(self.coefficients):
            value = value * t[..., None] + c[at]
        if self.ends:
            value = jnp.where((q < self.cutoff)[..., None], value, 0.0)
        return jnp.moveaxis(value, -1, 0)


def run() -> dict[str, Any]:
    """Largest differences, each beside its limit, and wall seconds of both."""
    version = need_votca()
    water, hexane = _one_box(io.load(WATER)), _one_box(io.load(HEXANE))
    water_long, hexane_long = xr.load_dataset(WATER_LONG), xr.load_dataset(HEXANE_LONG)
    out = {
        "VOTCA": version,
        "water, distributions": distributions(water, _pairs(water, 0.05, 0.1, 72)),
        "water, IMC": monte_carlo(water, _pairs(water, 2.6, 0.1, 46)),
        "water, REM of splines": relative_entropy(water, water_long, Splines(7.0, 0.25)),
        "water, REM of Lennard-Jones": relative_entropy(water, water_long, 7.0),
        "hexane, distributions": distributions(
            hexane,
            [
                *_pairs(hexane, 0.05, 0.1, 120),
                Bins("bond", "AB", (), 2.01, 0.02, 60),
                Bins("angle", "ABA", (), np.radians(1.0), np.radians(2.0), 90),
            ],
        ),
        "hexane, IMC of three RDFs": monte_carlo(hexane, _pairs(hexane, 4.2, 0.5, 12)),
        "hexane, REM of splines of three pairs": relative_entropy(
            hexane, hexane_long, Splines(10.0, 1.0)
        ),
        "hexane, force matching": forces(hexane, [*_knots(hexane, 0.5, 10.0), _bond_knots(hexane)]),
    }
    if FORCED.is_file():
        forced = _one_box(io.load(FORCED))
        out["water, force matching"] = forces(forced, _knots(forced, 0.25, 8.0))
    return out


def _pairs(data: xr.Dataset, first: float, width: float, count: int) -> list[Bins]:
    """The same bins for every pair of types that interact."""
    return [
        Bins("pair", "_".join(pair), pair, first, width, count) for pair in topology_of(data).pairs
    ]


def _knots(data: xr.Dataset, width: float, high: float) -> list[Bins]:
    """Knots from the closest pair on, which VOTCA needs to be met; the last near ``high``."""
    out = []
    for pair in topology_of(data).pairs:
        name = "_".join(pair)
        low = np.floor(1000.0 * known_of(data)["pair", name].low) / 1000.0
        out.append(Bins("pair", name, pair, low, width, int((high - low) / width) + 1))
    return out


def _bond_knots(data: xr.Dataset) -> Bins:
    # No angle: VOTCA's forces of one are not its gradient (benchmarks.votca_files).
    low, high, *_ = known_of(data)["bond", "AB"]
    return Bins("bond", "AB", (), low, (high - low) / 8, 9)


def distributions(data: xr.Dataset, bins: Sequence[Bins]) -> dict[str, Any]:
    """Every RDF and bonded distribution, bin by bin."""
    box = np.asarray(data["box"].values, float)
    classes = classes_of(topology_of(data), topology_of(data).pairs)
    observables = []
    for b in bins:
        low, high = b.first - 0.5 * b.width, b.first + (b.count - 0.5) * b.width
        made: Any
        if b.kind == "pair":
            made = TypedRadialDistribution(b.width, high, "n2", classes, b.name)
        else:
            unit = 1.0 if b.kind == "bond" else np.pi / 180.0
            width, low, high = (v / unit for v in (b.width, low, high))
            members = classes.members[b.kind, b.name]
            made = BondedDistribution(b.kind, b.name, members, width, low, high)
        observables.append((b, made.in_box(box)))

    def measured() -> list[np.ndarray]:
        x = np.asarray(data["x"].values, float)
        means = [over_frames(o, x).mean(0) for _, o in observables]
        degrees = [180.0 / np.pi if b.kind in ("angle", "dihedral") else 1.0 for b in bins]
        return [m * d for m, d in zip(means, degrees, strict=True)]

    with TemporaryDirectory() as name:
        write_data(Path(name), data)
        theirs, seconds = stat(Path(name), bins)
    ours, cold, warm = _timed(measured)
    worst = {
        b.name: float(np.abs(a - t).max() / t.max())
        for b, a, t in zip(bins, ours, theirs, strict=True)
    }
    return {"largest difference": _below(max(worst.values()), 1e-6), **_times(seconds, cold, warm)}


def monte_carlo(data: xr.Dataset, bins: Sequence[Bins]) -> dict[str, Any]:
    """One step of IMC from the data's own distributions to others, not regularised."""
    histograms = _histograms(data, bins)
    x = np.asarray(data["x"].values, float)
    # Counts of g = 1 as VOTCA has them, excluded pairs among them.
    ideal = np.concatenate([_ideal(histograms, part) for part in histograms.parts])
    wiggle = 1.0 + 0.05 * np.sin(np.concatenate([b.centres for b in bins]))
    own, first, again = _timed(lambda: over_frames(histograms, x).mean(0))
    wanted = own * wiggle
    with TemporaryDirectory() as name:
        write_data(Path(name), data)
        targets = [(wanted / ideal)[part.at] for part in histograms.parts]
        theirs = imc(Path(name), bins, targets)
    beta = beta_of(float(data.attrs["temperature"]))
    labels = [f"{b.name} {q:.4g}" for b in bins for q in b.centres]
    kept: dict[str, np.ndarray] = {}

    def step() -> np.ndarray:
        samples = over_frames(histograms, x)
        off = samples - samples.mean(0)
        kept["covariance"] = off.T @ off / len(off)
        kept["mean"] = samples.mean(0)
        measured = Measured(
            kept["mean"], np.zeros(len(wanted)), kept["covariance"], samples, float(len(samples))
        )
        target = Target(wanted, np.zeros(len(wanted)))
        newton = Newton("none")
        zero = np.zeros(len(wanted))
        return newton(zero, measured, target, lambda u: -np.eye(len(u)), beta, labels)

    ours, cold, warm = _timed(step)
    excess = kept["mean"] - wanted
    return {
        "largest difference of the update": _below(_worst(beta * ours, theirs.update), 1e-3),
        "of <S> - S_ref": _worst(excess, theirs.excess),
        "of the matrix": _worst(-kept["covariance"], theirs.matrix),
        "condition of the matrix": float(np.linalg.cond(kept["covariance"])),
        **_times(theirs.seconds + theirs.solve_seconds, cold + first - again, warm),
    }


def relative_entropy(
    data: xr.Dataset, long_run: xr.Dataset, form: Splines | float
) -> dict[str, Any]:
    """One step of REM from the frames, as if a model's, to the RDFs of a longer run, not regularised.

    That step is little more than noise, so that nothing but equal sums gives the same. The averages over a
    target are taken as csg_reupdate has them, every count at its bin's centre. What that does shows in
    the step to the RDFs of the frames themselves, which should be none.

    :param form: splines, or the cut-off of Lennard-Jones potentials.
    """
    r = long_run["r"].values
    bins = _pairs(data, float(r[0]), float(r[1] - r[0]), len(r))
    histograms = _histograms(data, bins)
    parts = histograms.parts
    ideal = np.concatenate([_ideal(histograms, part) for part in parts])
    wanted = np.concatenate(
        [long_run[part.stored_in(long_run)].values * histograms.ideal(part) for part in parts]
    )
    x = np.asarray(data["x"].values, float)
    met = over_frames(histograms, x).mean(0)
    beta = beta_of(float(data.attrs["temperature"]))
    with TemporaryDirectory() as name:
        write_data(Path(name), data)
        targets = [(wanted / ideal)[part.at] for part in parts]
        theirs, seconds = reupdate(Path(name), bins, targets, form, 1.0 / beta)
    basis: Any
    if isinstance(form, Splines):
        # VOTCA has one knot more, beyond all that is optimised.
        basis = BSplines(form.width * np.arange(form.knots - 3))
        free = [form.free(b, (met / ideal)[p.at]) for b, p in zip(bins, parts, strict=True)]
    else:
        basis = InversePowers(cutoff=form, ending="cut")
        free = [slice(0, 2) for _ in bins]
        theirs = [c * np.array([1.0, -1.0]) for c in theirs]
    term = LinearPair(jnp.zeros(len(basis.names)), basis)
    potential = MolecularPotential(
        tuple(Interaction((term,), "pair", b.name) for b in bins),
        histograms.classes,
        histograms.box,
    )
    kept = np.arange(len(potential.names)).reshape(len(bins), -1)
    kept = np.concatenate([row[at] for row, at in zip(kept, free, strict=True)])
    labels = [potential.names[k] for k in kept]

    def at_centres(counts: np.ndarray) -> np.ndarray:
        values = [np.asarray(basis(jnp.asarray(b.centres))) for b in bins]
        return np.concatenate([v @ counts[p.at] for v, p in zip(values, parts, strict=True)])

    def on_a_curve(counts: np.ndarray) -> np.ndarray:
        return histograms.statistics(potential, Target(counts, np.zeros(len(counts)))).mean

    def one_by_one(x: Array) -> Array:
        configurations = jnp.transpose(x, (2, 1, 0))
        slopes = jax.vmap(jax.grad(lambda p, X: p(X)), (None, 0))(potential, configurations)
        return jnp.concatenate([i.terms[0].coefficients.T for i in slopes.interactions])

    # Statistics are sums on nodes, between which the jump of Lennard-Jones would be spread.
    sums = potential.statistics if isinstance(form, Splines) else one_by_one

    def step(averages: np.ndarray) -> np.ndarray:
        samples = over_frames(sums, x)[:, kept]
        none, covariance = np.zeros(len(kept)), np.cov(samples.T, ddof=0)
        measured = Measured(samples.mean(0), none, covariance, samples, float(len(samples)))
        target = Target(averages[kept], none)
        return Newton("none")(none, measured, target, lambda u: -np.eye(len(u)), beta, labels)

    ours, cold, warm = _timed(lambda: step(at_centres(wanted)))
    theirs = np.concatenate([c[at] for c, at in zip(theirs, free, strict=True)])
    # Those of different powers are of different units.
    scale = np.abs(theirs).max() if isinstance(form, Splines) else np.abs(theirs)
    return {
        "largest difference": _below(float(np.abs((ours - theirs) / scale).max()), 1e-3),
        "coefficients": len(kept),
        "largest": float(np.abs(theirs).max()),
        "largest to the frames' own RDF, counts at centres": float(
            np.abs(step(at_centres(met))).max()
        ),
        "the same, counts on a smooth curve": float(np.abs(step(on_a_curve(met))).max()),
        **_times(seconds, cold, warm),
    }


def forces(data: xr.Dataset, knots: Sequence[Bins]) -> dict[str, Any]:
    """Force matching on the same splines, relative to the largest force of each interaction."""
    with TemporaryDirectory() as name:
        write_data(Path(name), data, forces=True)
        theirs, seconds = fmatch(Path(name), knots, data.sizes["frame"])
    box = tuple(np.asarray(data["box"].values, float).tolist())
    topology = topology_of(data)
    terms = [
        LinearPair(jnp.zeros(k.count), NaturalForces(k.centres, ends=k.kind == "pair"))
        for k in knots
    ]
    potential = MolecularPotential(
        tuple(Interaction((t,), k.kind, k.name) for t, k in zip(terms, knots, strict=True)),
        classes_of(topology, topology.pairs),
        box,
    )
    x, f = (np.asarray(data[name].values, float) for name in ("x", "forces"))

    def matched() -> np.ndarray:
        sums = normal_equations(potential, x, f)
        numbers = sums.frames * float(sums.equations)
        equations = Equations(sums.square, sums.force, sums.power, numbers, sums.frames)
        return solve(equations, Flat(np.eye(len(potential.names)))).mean

    ours, cold, warm = _timed(matched)
    worst, start = {}, 0
    for k, (q, force) in zip(knots, theirs, strict=True):
        own = ours[start : start + k.count]
        start += k.count
        worst[k.name] = _worst(CubicSpline(k.centres, own, bc_type="natural")(q), force)
    return {
        "largest difference": _below(max(worst.values()), 1e-3),
        **{f"of {name}": value for name, value in worst.items()},
        **_times(seconds, cold, warm),
    }


def _histograms(data: xr.Dataset, bins: Sequence[Bins]) -> Histograms:
    """Bins of potentials that are tables on their centres."""
    topology = topology_of(data)
    interactions = []
    for b in bins:
        grid = b.first + b.width * np.arange(b.count + 1)
        terms = (LinearPair(jnp.zeros(b.count), Table(grid, "linear")),)
        interactions.append(Interaction(terms, b.kind, b.name))
    box = tuple(np.asarray(data["box"].values, float).tolist())
    classes = classes_of(topology, topology.pairs)
    potential = MolecularPotential(tuple(interactions), classes, box)
    return histograms_of(potential, "this benchmark")


def _ideal(histograms: Histograms, part: Part) -> np.ndarray:
    """Counts of pairs that give a g(r) of one, as VOTCA has them."""
    classes = histograms.classes
    return histograms.ideal(part) * classes.n2(part.name) / classes.total(part.name)


def _one_box(data: xr.Dataset) -> xr.Dataset:
    return data.assign(box=data["box"].isel(frame=0)) if "frame" in data["box"].dims else data


def _timed(job: Any) -> tuple[Any, float, float]:
    """What a job gives, its seconds with compilation, and without."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        value = job()
        times.append(time.perf_counter() - began)
    return value, times[0], times[1]


def _times(theirs: float, cold: float, warm: float) -> dict[str, float]:
    return {
        "seconds of VOTCA": theirs,
        "seconds here": cold,
        "seconds here, compiled": warm,
        "ratio": cold / theirs,
        "ratio, compiled": warm / theirs,
    }


def _worst(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _below(value: float, bar: float) -> dict[str, Any]:
    return {"value": value, "at most": bar, "met": bool(value <= bar)}
