"""Results of molecules for tests: one that a fit leaves, and what others would hold in its place."""

from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from bayescg import results, workflow
from bayescg.observables import Observable, known_of, molecular_observables, usual
from bayescg.potentials import classes_of
from bayescg.topology import Bonded, Topology, variables_of

EDGE = 24.0
MOLECULES = 12
FRAMES = 60


def bent(molecules: int = MOLECULES) -> Topology:
    """Molecules A-B-A, whose sites feel only those of others."""
    first = 3 * np.arange(molecules)[:, None]
    bond = np.concatenate([np.add(first, [0, 1]), np.add(first, [1, 2])])
    angle = np.add(first, [0, 1, 2])
    return Topology(
        types=("A", "B", "A") * molecules,
        mass=np.full(3 * molecules, 20.0),
        molecule=np.repeat(np.arange(molecules), 3),
        bond=Bonded(bond, ("AB",) * len(bond)),
        angle=Bonded(angle, ("ABA",) * molecules),
        exclusion=np.concatenate([bond, angle[:, [0, 2]]]),
    )


def frames(count: int = FRAMES, seed: int = 0, tied: float = 0.0) -> xr.Dataset:
    """Independent frames: molecules on a jittered lattice, turned at random.

    :param tied: how far an angle draws the lengths of its bonds with it, 0 to 1.
    """
    rng = np.random.default_rng(seed)
    spots = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) * EDGE / 3
    x = np.empty((count, 3 * MOLECULES, 3))
    for f in range(count):
        at = rng.permutation(spots)[:MOLECULES] + 0.4 * rng.normal(size=(MOLECULES, 3))
        for m in range(MOLECULES):
            z = rng.normal()
            theta = np.radians(120.0 + 12.0 * z)
            lengths = 2.5 + 0.1 * (tied * z + np.sqrt(1 - tied**2) * rng.normal(size=2))
            ends = [(1.0, 0.0, 0.0), (np.cos(theta), np.sin(theta), 0.0)]
            shape = np.array(
                [np.multiply(ends[0], lengths[0]), (0, 0, 0), np.multiply(ends[1], lengths[1])]
            )
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            x[f, 3 * m : 3 * m + 3] = at[m] + shape @ turn
    ds = xr.Dataset(
        {"x": (("frame", "site", "axis"), x % EDGE), "box": ("axis", np.full(3, EDGE))},
        attrs={"temperature": 300.0},
    )
    return ds.assign({k: (d, v) for k, (d, v) in variables_of(bent()).items()})


@cache
def fitted() -> Any:
    """What direct Boltzmann inversion leaves: nothing is simulated."""
    return workflow.fit("molecular", frames(), method="dbi")


@cache
def measured(seed: int, tied: float = 0.0) -> xr.Dataset:
    """Distributions of frames that were not fitted."""
    return workflow.observe(frames(seed=seed, tied=tied), observables())


@cache
def observables() -> tuple[Observable, ...]:
    """The usual ones of these molecules, compiled once."""
    topology = bent()
    classes = classes_of(topology, topology.pairs)
    known = molecular_observables(classes, known_of(frames()), (EDGE,) * 3, 10.0)
    return tuple(known[n]() for n in usual(known))


def predictions(found: xr.Dataset, draws: int = 1) -> xr.Dataset:
    """Measured distributions in the place of predicted ones; draws differ in height by 2 %."""
    scale = 1.0 + 0.02 * np.random.default_rng(0).normal(size=draws) * (draws > 1)
    out = xr.Dataset(coords={"chain": [0], "draw": np.arange(draws)})
    for name in [str(n) for n in found.data_vars if not str(n).endswith("_se")]:
        for one, other, by in ((name, name, scale), (f"{name}_se", f"{name}_mcse", np.ones(draws))):
            values = by.reshape(1, draws, *(1,) * found[one].ndim) * found[one].values
            out[other] = (("chain", "draw", *found[one].dims), values, found[one].attrs)
    return out.assign_coords(found.coords)


def result(
    method: str = "imc",
    *,
    predicted: int | None = 1,
    reference: int | None = 2,
    tied: float = 0.0,
    draws: int = 1,
    steps: int = 4,
    **attrs: Any,
) -> Any:
    """A result of ``method``: the one that was fitted with its posterior, trace and predictions made up.

    :param predicted: seed of the frames that stand for the prediction; None: none.
    :param reference: the same of the reference, whose lengths and angles are ``tied``.
    :param draws: of the posterior, which differ in slope.
    :param steps: iterations of a search; 0: none.
    """
    base = fitted()
    posterior = results.group(base, "posterior")
    tilt = np.random.default_rng(1).normal(size=draws) if draws > 1 else np.zeros(1)
    changed = xr.Dataset(coords={"chain": [0], "draw": np.arange(draws)})
    for name, v in posterior.data_vars.items():
        values = np.repeat(v.values, draws, axis=1)
        if "potential" in str(name):
            line = np.linspace(1.0, 0.0, v.shape[-1])  # a pair's ends at zero stay there
            values = values + 0.05 * tilt[None, :, None] * line
        changed[str(name)] = (v.dims, values, v.attrs)
    groups = {g: results.group(base, g) for g in ("observed_data", "constant_data")}
    groups["posterior"] = changed.assign_coords(
        {k: c for k, c in posterior.coords.items() if k not in ("chain", "draw")}
    )
    if steps:
        far = np.geomspace(12.0, 1.2, steps)
        trace = {"distance": far, "failed": np.zeros(steps)}
        trace |= {f"rms {n}": 0.01 * far for n in ("rdf_A_A", "rdf_A_B", "bond_AB", "angle_ABA")}
        em = xr.Dataset({k: ("iteration", v) for k, v in trace.items()})
        for name in [n for n in posterior.data_vars if "potential" in str(n)]:
            v = posterior[name][0, 0]
            em[name] = (("iteration", *v.dims), v.values * (1.0 + 0.1 * far[:, None]))
        groups["em_trace"] = em.assign_coords(
            {k: c for k, c in posterior.coords.items() if k not in ("chain", "draw", "feature")}
        )
    if predicted is not None:
        groups["posterior_predictive"] = predictions(measured(predicted), draws)
    if reference is not None:
        groups["reference"] = measured(reference, tied)
    told = results.attrs(base) | {
        "method": method,
        "iterations": steps,
        "method_options": {"tolerance": 1.5},
        "data_source": "frames.nc",
    }
    return results.inference_data(groups, **(told | attrs))
