"""The five systems of the ARCG paper, by every method that applies: time, divergence and RDF beside the reference.

``run`` fits and predicts as a user does, whole commands with their start and compilation. References that are not
shipped (both Lennard-Jones fluids, twenty minutes each, and the virtual bond) are made first, or found in
``BAYESCG_REFERENCES``, and fits in ``BAYESCG_RESULTS``; ``BAYESCG_SYSTEMS`` names some of the systems only.
``intervals`` counts how often 90 % intervals of the virtual bond's distances hold the truth.

An RDF is judged at each bin: its difference from the reference over 0.03 + 3 combined standard errors + 0.002 angstrom
times the slope, the largest of which must be below 1.
"""

from collections.abc import Mapping
import json
import os
from pathlib import Path
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import bayescg as cg
from bayescg.infer.begin import program_of
from bayescg.infer.nuts import run_nuts
from bayescg.workflow.registry import make_system
from bayescg_models import binary_lj, virtual_bond
from benchmarks.methods import _bayescg

DATA = Path(__file__).parents[1] / "data"
LIMIT = 1800.0  # seconds of a full-size system, on two cores
#: Features of Appendix D.2, in place of the sufficient statistics.
D1_TO_D3 = ("-M", "features=moments,local_density,rdf", "-M", "penalty=0.3")
#: Water by pairs alone, as ARCG has it, in place of the model of the PCG paper.
PAIRS = tuple(
    word
    for option in ("basis=knots", "three_body=none", "prior=flat", "correlated=ignore")
    for word in ("-s", option)
)
#: Fits of every system, each a method and words of its own, in which @arcg is the result of that fit; binary_lj and
#: virtual_bond have virtual sites.
SYSTEMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lj_fluid": {"arcg": (), "rem": (), "classifier": ()},
    "virtual_bond": {
        "arcg": (),
        "arcg, hellinger": ("-M", "divergence=hellinger"),
        "mcem": (),
        "nuts": (),
    },
    "binary_lj": {"arcg": (), "mcem, from arcg": ("-M", "start=@arcg")},
    "methanol": {
        "arcg": (),
        "rem": (),
        "arcg, 29 knots": ("-s", "knots=29"),
        "rem, 29 knots": ("-s", "knots=29"),
        "classifier": (),
        "arcg, D1 to D3": D1_TO_D3,
        "mcem": ("-s", "frames=20"),
    },
    "spce_water": {
        "arcg": (),
        "rem": PAIRS,
        "classifier": PAIRS,
        "arcg, D1 to D3": D1_TO_D3,
    },
}
REACHED = 0.1  # of the RDF, where potentials are compared
SHIPPED = {
    "methanol": DATA / "methanol" / "frames.nc",
    "spce_water": DATA / "spce_water" / "frames_512.nc",
}
TRUTH: Mapping[str, Mapping[str, float]] = {
    "lj_fluid": {"epsilon": 0.75, "sigma": 3.0},
    "binary_lj": binary_lj._values(binary_lj.SYSTEM_B),
}
SETS = int(os.environ.get("BAYESCG_SETS", "100"))
FRAMES = 1000  # of each set
CHUNK = 10  # sets in a run of NUTS, compiled once for all


def _reference(name: str, folder: Path) -> Path:
    if name in SHIPPED:
        return SHIPPED[name]
    path = folder / f"{name}.nc"
    if not path.exists():
        _bayescg("reference", name, "-o", path)
    return path


def over_tolerance(predicted: xr.Dataset, reference: xr.Dataset) -> dict[str, float]:
    """The RDF of a prediction: rms difference, and the largest one over its tolerance."""
    r = predicted["r"].values
    g, g_se = (predicted[n].mean(("chain", "draw")).values for n in ("rdf", "rdf_mcse"))
    at = reference["r"].values
    given, given_se = reference["rdf"].values, reference["rdf_se"].values
    if not np.allclose(r[:2], at[:2]):
        raise ValueError(f"bins of the prediction and of the reference differ: {r[:2]}, {at[:2]}.")
    both = min(len(r), len(at))
    r, g, g_se, given, given_se = (v[:both] for v in (r, g, g_se, given, given_se))
    off = np.abs(g - given)
    allowed = 0.03 + 3.0 * np.hypot(g_se, given_se) + 0.002 * np.abs(np.gradient(given, r))
    return {
        "RDF, rms": float(np.sqrt(np.mean(off**2))),
        "RDF over its tolerance": float(np.max(off / allowed)),
        "RDF, largest standard error": float(np.max(np.hypot(g_se, given_se))),
    }


def exact_divergence(values: Mapping[str, Any]) -> float:
    """Relative entropy of the distance X-X of Table I's system B and of these parameters, by quadrature.

    :param values: of each parameter one, or draws, of whose densities the average is taken.
    """
    triangle = virtual_bond._triangle(virtual_bond.Options())
    truth = {n: getattr(virtual_bond.Options(), n) for n in virtual_bond.NAMES}
    beta = jnp.asarray(triangle.beta)
    density = jax.jit(jax.vmap(lambda v: triangle.exact.density(triangle.potential(**v), beta)))
    p, q = (np.asarray(density(_numbers(v))).mean(0) for v in (truth, values))
    step = np.gradient(triangle.exact.points)
    inside = p > 1e-300
    return float(np.sum((p * step)[inside] * np.log(p[inside] / q[inside])))


def _numbers(values: Mapping[str, Any]) -> dict[str, jax.Array]:
    return {n: jnp.atleast_1d(jnp.asarray(values[n], float)) for n in virtual_bond.NAMES}


def apart(one: Path, other: Path, data: Path) -> float:
    """The largest difference of two pair potentials where the RDF of the data is above ``REACHED``, kcal/mol."""
    u, v = (
        cg.results.group(cg.results.load(p), "posterior")["pair_potential"] for p in (one, other)
    )
    r = u["r"].values
    given = cg.io.load(data)
    near = np.interp(r, given["r"].values, given["rdf"].values, right=1.0) > REACHED
    mine, theirs = u.mean(("chain", "draw")).values, v.mean(("chain", "draw")).values
    return float(np.abs(mine - np.interp(r, v["r"].values, theirs))[near].max())


def one(name: str, label: str, words: tuple[str, ...], data: Path, result: Path) -> dict[str, Any]:
    """A fit of a system.

    :param label: the method, and after a comma what is special.
    """
    seconds, method = None, label.split(",")[0]
    if not result.exists():
        seconds = _bayescg("fit", name, "-d", data, "-m", method, *words, "-o", result)
    posterior = cg.results.group(cg.results.load(result), "posterior")
    attrs = xr.load_datatree(result).attrs
    out: dict[str, Any] = {
        "fit, s": seconds or float(attrs["wall_seconds"]),
        "converged": bool(attrs["converged"]),
    }
    out["time over its limit"] = out["fit, s"] / LIMIT
    out |= {k: attrs[k] for k in ("iterations", "divergence", "critic_accuracy") if k in attrs}
    if name == "virtual_bond":
        mean = {n: float(posterior[n].mean()) for n in virtual_bond.NAMES}
        every = max(1, posterior[virtual_bond.NAMES[0]].size // 200)  # draws of all chains
        draws = {n: posterior[n].values.ravel()[::every] for n in virtual_bond.NAMES}
        return out | mean | {"exact relative entropy over 1e-3": exact_divergence(draws) / 1e-3}
    for key, true in TRUTH.get(name, {}).items():
        out[f"{key} off, %"] = 100.0 * abs(float(posterior[key].mean()) / true - 1.0)
    predicted = result.with_name(f"{result.stem}-predicted.nc")
    draws = () if method in ("arcg", "rem", "classifier") else ("--draws", "8")
    width = np.diff(cg.io.load(data)["r"].values[:2]).item()
    observables = [f"rdf:width={width:g}", *(["slab_density"] if name == "binary_lj" else [])]
    asked = [word for o in observables for word in ("-O", o)]
    _bayescg("predict", result, "--reference", data, *draws, *asked, "-o", predicted)
    tree = xr.load_datatree(predicted)
    groups = {k: tree[k].to_dataset() for k in ("posterior_predictive", "reference")}
    out |= over_tolerance(groups["posterior_predictive"], groups["reference"])
    if "slab_density" in groups["reference"]:
        slab, given = (groups[g]["slab_density"] for g in ("posterior_predictive", "reference"))
        off = np.abs(slab.mean(("chain", "draw")).values - given.values).max()
        out["slab density off, % of its maximum"] = float(100.0 * off / given.max())
    return out


def run() -> dict[str, Any]:
    """Every system by every method that applies."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        references, results = (
            Path(os.environ.get(v, temporary)) for v in ("BAYESCG_REFERENCES", "BAYESCG_RESULTS")
        )
        for name in os.environ.get("BAYESCG_SYSTEMS", " ".join(SYSTEMS)).split():
            data = _reference(name, references)
            paths = {
                label: results / f"{name}-{label.replace(', ', '-').replace(' ', '_')}.nc"
                for label in SYSTEMS[name]
            }
            for label, words in SYSTEMS[name].items():
                words = tuple(w.replace("@arcg", str(paths["arcg"])) for w in words)
                row = one(name, label, words, data, paths[label])
                if label == "rem" and name in SHIPPED:
                    row["off ARCG's potential, kcal/mol"] = apart(paths["arcg"], paths["rem"], data)
                found[f"{name}, {label}"] = row
                print(
                    json.dumps({f"{name}, {label}": row}, default=float),
                    file=sys.stderr,
                    flush=True,
                )
    return found


def summary(r: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and quartiles of distances with a density on a grid."""
    weight = density * np.gradient(r)
    total = np.cumsum(weight) - 0.5 * weight
    mean = np.sum(weight * r) / weight.sum()
    sd = np.sqrt(np.sum(weight * (r - mean) ** 2) / weight.sum())
    quartiles = np.interp([0.05, 0.25, 0.5, 0.75, 0.95], total / weight.sum(), r)
    return np.array([mean, sd, *quartiles])


def intervals() -> dict[str, Any]:
    """Data sets of the virtual bond, each with NUTS: how often 90 % intervals hold the truth."""
    options = virtual_bond.Options(frames=FRAMES)
    triangle = virtual_bond._triangle(options)
    density = jax.jit(
        jax.vmap(lambda v: triangle.exact.density(triangle.potential(**v), triangle.beta))
    )
    r = triangle.exact.points
    truth = {n: jnp.asarray([getattr(options, n)]) for n in virtual_bond.NAMES}
    true = summary(r, np.asarray(density(truth))[0])
    names = ("mean", "width", "5 %", "25 %", "50 %", "75 %", "95 %")
    sets = [virtual_bond.reference(options, jax.random.key(1000 + k)) for k in range(SETS)]
    system = make_system("virtual_bond", (), sets[0], "nuts")
    batches = [system.batch(data) for data in sets]
    program = program_of(system, batches[0])
    constrain = jax.jit(jax.vmap(program.constrain))
    inside, widths, divergences, seconds = [], [], 0, 0.0
    for first in range(0, SETS, CHUNK):
        some = np.concatenate([batch.x for batch in batches[first : first + CHUNK]])
        result = run_nuts(
            program,
            some,
            {},
            jax.random.key(first),
            chains=1,
            warmup=250,
            samples=300,
            target_accept=0.8,
            dense_mass=True,
        )
        divergences += int(result.stats["diverging"].sum())
        seconds += result.seconds
        for k in range(len(some)):
            draws = constrain(jnp.asarray(result.u[:, :, k].reshape(-1, program.size)))
            chosen = {n: draws[n] for n in virtual_bond.NAMES}
            seen = np.stack([summary(r, d) for d in np.asarray(density(chosen))])
            low, high = np.quantile(seen, [0.05, 0.95], axis=0)
            inside.append((low <= true) & (true <= high))
            widths.append(high - low)
        print(len(inside), np.mean(inside, 0).round(3), file=sys.stderr, flush=True)
        jax.clear_caches()  # every run of NUTS compiles anew, and a process may map only so many programs
    return {
        "data sets": SETS,
        "frames of each": FRAMES,
        "divergences": divergences,
        "seconds": seconds,
        "coverage of 90 % intervals": dict(zip(names, np.mean(inside, 0).tolist(), strict=True)),
        "mean width of intervals, angstrom": dict(
            zip(names, np.mean(widths, 0).tolist(), strict=True)
        ),
    }
