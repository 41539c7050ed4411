"""What data show of each interaction: the range of its coordinate, beyond which nothing is known."""

from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.observables.molecular import AXES
from bayescg.potentials.bonded import coordinate
from bayescg.potentials.classes import PairClasses, classes_of
from bayescg.space import minimum_image
from bayescg.topology import Topology, pair_name, topology_of

__all__ = ["Known", "known_of", "stored_name"]

NARROW = 1e-3  # angstrom or radians: the least spread that a coordinate is said to have


class Known(NamedTuple):
    """Of one coordinate, angstrom or radians; of pairs only ``low`` means something."""

    low: float
    high: float
    mean: float
    spread: float


def stored_name(kind: str, name: str, data: xr.Dataset) -> str | None:
    """The variable of a data set that holds a distribution; of like sites ``rdf`` will do."""
    wanted = f"{'rdf' if kind == 'pair' else kind}_{name}"
    if wanted in data:
        return wanted
    alike = "type" not in data or len(set(map(str, np.ravel(data["type"].values)))) == 1
    return "rdf" if kind == "pair" and alike and "rdf" in data else None


def known_of(data: xr.Dataset) -> dict[tuple[str, str], Known]:
    """What is known of every interaction of a data set's topology, by kind and name; pairs first.

    Read from the variable ``known`` of a stored result where there is one, from frames ``x``, or from
    target distributions. Pairs of types that are never in reach of each other have none.

    :param data: with topology; ``x (frame, site, axis)`` and ``box``, or ``rdf_A_B``, ``bond_NAME``, ...
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
    for pair in topology.pairs:
        name = pair_name(*pair)
        variable = stored_name("pair", name, data)
        if variable is not None:
            v = data[variable]
            r = np.asarray(data[v.dims[0]].values, float)
            width = r[1] - r[0]
            seen = np.flatnonzero(v.values > 0.0)
            out["pair", name] = Known(float(r[seen[0]] - 0.5 * width), float(r[-1]), 0.0, 0.0)
    for kind, table in topology.bonded().items():
        for name in table.kinds:
            if stored_name(kind, name, data) is None:
                raise ValueError(
                    f"the targets hold no {kind}_{name}; needed is one for every bonded term of the topology."
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
