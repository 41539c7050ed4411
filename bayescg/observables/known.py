"""What data show of each interaction: the range of its coordinate, beyond which nothing is known."""

from collections.abc import Collection
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.observables.molecular import AXES
from bayescg.potentials.bonded import coordinate, jacobian
from bayescg.potentials.classes import PairClasses, classes_of
from bayescg.space import minimum_image
from bayescg.topology import Topology, pair_name, topology_of
from bayescg.units import BOLTZMANN

__all__ = ["Fixed", "Known", "fixed_of", "known_of", "rdf_ends", "stored_name", "under_names"]

NARROW = 1e-3  # angstrom or radians: the least spread that a coordinate is said to have
HIGHEST = 20.0  # kT above the minimum of a given potential: as far as its coordinate is looked at


class Known(NamedTuple):
    """Of one coordinate, angstrom or radians; of pairs only ``low`` means something.

    :param low: lowest value that was seen, angstrom or radians.
    :param high: highest.
    :param mean: of the values.
    :param spread: their standard deviation.
    """

    low: float
    high: float
    mean: float
    spread: float


class Fixed(NamedTuple):
    """A potential that is given and not fitted."""

    q: np.ndarray  # (point,), angstrom or radians
    u: np.ndarray  # (point,), kcal/mol


def stored_name(kind: str, name: str, data: xr.Dataset) -> str | None:
    """The variable of a data set that holds a distribution; of like sites ``rdf`` will do."""
    wanted = f"{'rdf' if kind == 'pair' else kind}_{name}"
    if wanted in data:
        return wanted
    alike = "type" not in data or len(set(map(str, np.ravel(data["type"].values)))) == 1
    return "rdf" if kind == "pair" and alike and "rdf" in data else None


def fixed_of(data: xr.Dataset) -> dict[tuple[str, str], Fixed]:
    """Potentials that are given and not fitted, by kind and name.

    Of a stored result, those that were; of targets, ``pair_potential_A_B``, ``bond_potential_NAME``, ... of
    interactions that have no target. Where there are frames everything is fitted.

    :param data: as of :func:`known_of`.
    """
    stored = "known" in data
    if not stored and "x" in data and data.sizes["frame"] > 1:
        return {}
    topology = topology_of(data)
    labels = [("pair", pair_name(*p)) for p in topology.pairs]
    labels += [(kind, n) for kind, table in topology.bonded().items() for n in table.kinds]
    out = {}
    for kind, name in labels:
        variable = f"{kind}_potential_{name}"
        if variable in data and (stored or stored_name(kind, name, data) is None):
            v = data[variable]
            unit = 1.0 if kind == "pair" else AXES[kind][2]
            q = np.asarray(data[v.dims[0]].values, float) * unit
            out[kind, name] = Fixed(q, np.asarray(v.values, float))
    return out


def under_names(data: xr.Dataset, names: Collection[str]) -> xr.Dataset:
    """The same with its RDF called as in ``names``: of one bead type ``rdf`` and ``rdf_A_A`` are the same."""
    held = {n for n in map(str, data.data_vars) if n.startswith("rdf") and not n.endswith("_se")}
    asked = {n for n in names if n.startswith("rdf")}
    if len(held) != 1 or len(asked) != 1 or held == asked or "rdf" not in held | asked:
        return data
    (old,), (new,) = held, asked
    return data.rename({k: v for k, v in ((old, new), (f"{old}_se", f"{new}_se")) if k in data})


def rdf_ends(data: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Where each stored RDF of the topology's pairs ends, and where its potential is to end at the latest.

    The second is the upper end of the attribute ``potential_range``, else the first; angstrom.

    :param data: with topology.
    """
    out = {}
    for pair in topology_of(data).pairs:
        variable = stored_name("pair", pair_name(*pair), data)
        if variable is not None:
            v = data[variable]
            r = np.asarray(data[v.dims[0]].values, float)
            end = float(r[-1] + 0.5 * (r[-1] - r[0]) / (len(r) - 1))
            given = np.ravel(v.attrs.get("potential_range", ()))
            out[variable] = (end, min(end, float(given[-1])) if given.size else end)
    return out


def known_of(data: xr.Dataset) -> dict[tuple[str, str], Known]:
    """What is known of every interaction of a data set's topology, by kind and name; pairs first.

    Read from the variable ``known`` of a stored result where there is one, from frames ``x``, or from
    target distributions and given potentials. Pairs of types that are never in reach of each other have none.

    :param data: with topology; ``x (frame, site, axis)`` and ``box``, or ``rdf_A_B``, ``bond_NAME``, ...
    :raises ValueError: if a bonded term has neither a target nor a given potential.
    """
    if "known" in data:
        labels = [str(v).split(" ", 1) for v in data["interaction"].values]
        rows = np.asarray(data["known"].values, float).tolist()
        return {(k, n): Known(*row) for (k, n), row in zip(labels, rows, strict=True)}
    topology = topology_of(data)
    if "x" in data and data.sizes["frame"] > 1:
        return _from_frames(data, topology)
    return _from_targets(data, topology)


def _from_frames(data: xr.Dataset, topology: Topology) -> dict[tuple[str, str], Known]:
    x = np.asarray(data["x"].values, float)
    box = np.asarray(data["box"].values, float)
    classes = classes_of(topology, topology.pairs)
    out: dict[tuple[str, str], Known] = {}
    if len(classes):
        nearest = np.asarray(jax.lax.map(_nearest(classes, box), jnp.asarray(x))).min(0)
        for name, low in zip(classes.names, nearest.tolist(), strict=True):
            if np.isfinite(low):
                out["pair", name] = Known(low, 0.5 * float(box.min()), 0.0, 0.0)
    for kind, table in topology.bonded().items():
        for name in table.kinds:
            q = np.asarray(coordinate(kind, jnp.asarray(x.T), table.of(name), box))
            spread = max(float(q.std()), NARROW)
            out[kind, name] = Known(float(q.min()), float(q.max()), float(q.mean()), spread)
    return out


def _nearest(classes: PairClasses, box: np.ndarray):  # type: ignore[no-untyped-def]
    i, j = np.triu_indices(classes.topology.sites, 1)
    of = classes.of_pair[i, j]

    def one(x: Array) -> Array:
        d = minimum_image((x[i] - x[j]).T, box)
        r2 = jnp.sum(d * d, 0)
        least = jax.ops.segment_min(r2, of, num_segments=len(classes) + 1)
        return jnp.sqrt(least[: len(classes)])

    return one


def _from_targets(data: xr.Dataset, topology: Topology) -> dict[tuple[str, str], Known]:
    out: dict[tuple[str, str], Known] = {}
    fixed = fixed_of(data)
    kt = BOLTZMANN * float(data.attrs.get("temperature", 300.0))
    for pair in topology.pairs:
        name = pair_name(*pair)
        variable = stored_name("pair", name, data)
        if ("pair", name) in fixed:
            out["pair", name] = _from_potential("pair", fixed["pair", name], kt)
        elif variable is not None:
            v = data[variable]
            r = np.asarray(data[v.dims[0]].values, float)
            width = r[1] - r[0]
            seen = np.flatnonzero(v.values > 0.0)
            out["pair", name] = Known(float(r[seen[0]] - 0.5 * width), float(r[-1]), 0.0, 0.0)
    for kind, table in topology.bonded().items():
        for name in table.kinds:
            if (kind, name) in fixed:
                out[kind, name] = _from_potential(kind, fixed[kind, name], kt)
                continue
            if stored_name(kind, name, data) is None:
                raise ValueError(
                    f"the targets hold no {kind}_{name}; needed is a target or a potential, "
                    f"{kind}_potential_{name}, for every bonded term of the topology."
                )
            v = data[f"{kind}_{name}"]
            q = np.asarray(data[v.dims[0]].values, float) * AXES[kind][2]
            p = np.maximum(np.asarray(v.values, float), 0.0)
            half, seen = 0.5 * (q[1] - q[0]), np.flatnonzero(p > 0.0)
            mean = float(p @ q / p.sum())
            spread = max(float(np.sqrt(p @ (q - mean) ** 2 / p.sum())), NARROW)
            out[kind, name] = Known(
                float(q[seen[0]] - half), float(q[seen[-1]] + half), mean, spread
            )
    return out


def _from_potential(kind: str, fixed: Fixed, kt: float) -> Known:
    """Where a coordinate goes that feels nothing but a given potential."""
    q, u = fixed
    low = np.flatnonzero(u - u.min() <= HIGHEST * kt)
    if kind == "pair":
        return Known(float(q[low[0]]), float(q[-1]), 0.0, 0.0)
    p = jacobian(kind, q) * np.exp((u.min() - u) / kt)
    p = np.full(len(q), 1.0 / len(q)) if not p.sum() > 0.0 else p / p.sum()
    mean = float(p @ q)
    spread = max(float(np.sqrt(p @ (q - mean) ** 2)), NARROW)
    first, last = max(low[0] - 1, 0), min(low[-1] + 1, len(q) - 1)
    if kind == "dihedral":
        return Known(-np.pi, np.pi, mean, spread)
    return Known(float(q[first]), float(q[last]), mean, spread)
