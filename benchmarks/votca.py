"""Side by side with VOTCA on the same mapped data: distributions, the step of IMC, force matching.

Both are given the same bins and the same splines; conventions stand in
:mod:`benchmarks.votca_files`. Needs VOTCA's csg_stat, csg_imc_solve and csg_fmatch on the path.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
import time
from typing import Any

from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
import xarray as xr

from bayescg import io
from bayescg.infer.conjugate import Equations, Flat, solve
from bayescg.infer.force_design import normal_equations
from bayescg.infer.histograms import Histograms, Target, histograms_of, over_frames
from bayescg.infer.updates import Measured, Newton
from bayescg.observables import BondedDistribution, TypedRadialDistribution, known_of
from bayescg.potentials import Interaction, LinearPair, MolecularPotential, Table, classes_of
from bayescg.topology import topology_of
from bayescg.units import beta_of
from benchmarks.votca_files import Bins, fmatch, imc, need_votca, stat, write_data

DATA = Path(__file__).parents[1] / "data"
WATER = DATA / "spce_water" / "frames.nc"
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
    out = {
        "VOTCA": version,
        "water, distributions": distributions(water, _pairs(water, 0.05, 0.1, 72)),
        "water, IMC": monte_carlo(water, _pairs(water, 2.6, 0.1, 46)),
        "hexane, distributions": distributions(
            hexane,
            [
                *_pairs(hexane, 0.05, 0.1, 120),
                Bins("bond", "AB", (), 2.01, 0.02, 60),
                Bins("angle", "ABA", (), np.radians(1.0), np.radians(2.0), 90),
            ],
        ),
        "hexane, IMC of three RDFs": monte_carlo(hexane, _pairs(hexane, 4.2, 0.5, 12)),
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
    ideal = np.concatenate(
        [
            histograms.ideal(part) * _squared(data, b) / histograms.classes.totals[k]
            for k, (b, part) in enumerate(zip(bins, histograms.parts, strict=True))
        ]
    )
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


def _squared(data: xr.Dataset, b: Bins) -> float:
    """N_A N_B, or N_A^2/2 of one type."""
    count = [topology_of(data).types.count(kind) for kind in b.types]
    return count[0] * count[1] * (0.5 if b.types[0] == b.types[1] else 1.0)


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
