"""Distributions of the coordinates that potentials act on, as counts in bins: measured, and as targets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import PchipInterpolator
import xarray as xr

from bayescg.observables.blocking import blocked_error
from bayescg.observables.known import Known, stored_name
from bayescg.observables.molecular import AXES
from bayescg.potentials.bonded import PeriodicTable, coordinate
from bayescg.potentials.classes import Members, PairClasses
from bayescg.potentials.counting import Nodes, count_pairs, count_values
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.pair import LinearPair, Table

__all__ = [
    "Histograms",
    "Part",
    "Target",
    "from_frames",
    "histograms_of",
    "histograms_over",
    "over_frames",
]

BLOCK = 16  # frames measured at once
WITHIN = 16  # parts of a bin in which functions are evaluated


class Part(NamedTuple):
    """The bins of one interaction, centred on the nodes."""

    kind: str
    name: str
    nodes: Nodes
    at: slice  # of its bins among those of all interactions

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def variable(self) -> str:
        """What files call the distribution."""
        return f"{'rdf' if self.kind == 'pair' else self.kind}_{self.name}"

    def stored_in(self, data: xr.Dataset) -> str | None:
        """The variable of a data set that holds the distribution, or None."""
        return stored_name(self.kind, self.name, data)


class Target(NamedTuple):
    """Mean of each statistic of a configuration, and its standard error; ``(term,)``."""

    mean: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Histograms:
    """Counts of pairs by distance, and of bonded terms by length or angle, in bins.

    :param parts: one an interaction.
    :param classes: of the pairs of sites.
    :param box: edges, angstrom.
    """

    parts: tuple[Part, ...]
    classes: PairClasses
    box: tuple[float, float, float]

    @property
    def size(self) -> int:
        """Bins in all."""
        return self.parts[-1].at.stop if self.parts else 0

    def _members(self, part: Part) -> Members:
        return self.classes.members[part.kind, part.name]

    def __call__(self, x: Array) -> Array:
        """Counts ``(bin, batch)`` on configurations ``(axis, site, batch)``."""
        x = x.astype(jnp.result_type(float))
        counted = {
            n: count_pairs(x, self.box, n, self.classes)
            for n in dict.fromkeys(p.nodes for p in self.parts if p.kind == "pair")
        }
        out = []
        for p in self.parts:
            if p.kind == "pair":
                out.append(counted[p.nodes][self.classes.names.index(p.name)])
                continue
            q = coordinate(p.kind, x, self._members(p).sites, self.box)
            if p.kind == "dihedral":  # the first bin lies on both sides of the cut
                q = jnp.where(q > np.pi - 0.5 * p.nodes.step, q - 2.0 * np.pi, q)
            out.append(count_values(q, p.nodes))
        return jnp.concatenate(out)

    def ideal(self, part: Part) -> np.ndarray:
        """Counts that give a distribution of 1: of an ideal gas (pairs), or the terms per unit.

        Divided by it, counts are g(r), or a density per angstrom or radian.
        """
        q, half = part.nodes.values, 0.5 * part.nodes.step
        if part.kind == "pair":
            shells = 4.0 / 3.0 * np.pi * ((q + half) ** 3 - np.maximum(q - half, 0.0) ** 3)
            return self.classes.total(part.name) * shells / np.prod(self.box)
        return np.full(len(q), len(self._members(part).sites) * part.nodes.step)

    def distribution(self, part: Part, counts: np.ndarray) -> np.ndarray:
        """g(r), or the density of a bonded coordinate in units of its largest value."""
        values = counts[..., part.at] / self.ideal(part)
        return values

    def statistics(self, potential: MolecularPotential, target: Target) -> Target:
        """Sufficient statistics of any basis from counts in bins.

        Within a bin counts are spread as a monotone cubic through the cumulative counts has them, which
        are known exactly at its edges (F. N. Fritsch and R. E. Carlson, SIAM J. Numer. Anal. 17, 238 (1980)).
        """
        parts = {p.label: p for p in self.parts}
        mean, variance = [], []
        for i in potential.interactions:
            p = parts[i.label]
            counts, error = target.mean[p.at], target.error[p.at]
            edges = p.nodes.first + p.nodes.step * (np.arange(p.nodes.count + 1) - 0.5)
            fine = np.linspace(edges[0], edges[-1], WITHIN * p.nodes.count + 1)
            total = PchipInterpolator(edges, np.concatenate([[0.0], np.cumsum(counts)]))
            f = np.asarray(i.basis(jnp.asarray(0.5 * (fine[1:] + fine[:-1]))))
            mean.append(f @ np.diff(total(fine)))
            of_bin = f.reshape(len(f), p.nodes.count, WITHIN).mean(2)
            variance.append(of_bin**2 @ error**2)
        return Target(np.concatenate(mean), np.sqrt(np.concatenate(variance)))

    def from_distributions(self, data: xr.Dataset) -> Target:
        """Counts that target distributions mean, interpolated between their bins where those differ.

        :raises ValueError: if one is missing.
        """
        mean, error = np.zeros(self.size), np.zeros(self.size)
        for p in self.parts:
            variable = p.stored_in(data)
            if variable is None:
                raise ValueError(f"the data hold no {p.variable}; needed is one an interaction.")
            v = data[variable]
            unit = 1.0 if p.kind == "pair" else AXES[p.kind][2]
            q = np.asarray(data[v.dims[0]].values, float) * unit
            ideal = self.ideal(p)
            ends = (0.0, float(v.values[-1])) if p.kind == "pair" else (0.0, 0.0)

            def on_bins(y: np.ndarray, q=q, ends=ends, p=p) -> np.ndarray:  # type: ignore[no-untyped-def]
                return np.interp(p.nodes.values, q, y, left=ends[0], right=ends[1])

            density = on_bins(np.asarray(v.values, float)) / (1.0 if p.kind == "pair" else unit)
            if p.kind == "pair" and v.attrs.get("norm") == "n2":
                density = density * self.classes.n2(p.name) / self.classes.total(p.name)
            if p.kind != "pair":
                density = density / max(density.sum() * p.nodes.step, 1e-300)
            mean[p.at] = density * ideal
            if f"{variable}_se" in data:
                se = on_bins(np.nan_to_num(np.asarray(data[f"{variable}_se"].values, float)))
                error[p.at] = se / (1.0 if p.kind == "pair" else unit) * ideal
        return Target(mean, error)


def histograms_of(potential: MolecularPotential, needs: str) -> Histograms:
    """Bins centred on the points of a potential's tables, in the order of their coefficients.

    :param needs: the method that asks, for the message.
    :raises ValueError: if a potential is no table.
    """
    parts: list[Part] = []
    at = 0
    for i in potential.interactions:
        for t in i.terms:
            if not isinstance(t, LinearPair):
                if not t.basis.names[0].startswith(("core", "walls")):
                    raise ValueError(_no_table(i.label, i.kind, needs))
                continue
            basis = t.basis
            count = len(basis.names)
            if isinstance(basis, Table) and basis.order == "linear":
                first, step = float(basis.breaks[0]), float(basis.breaks[1] - basis.breaks[0])
            elif isinstance(basis, PeriodicTable):
                first, step = -np.pi, basis.scale
            else:
                raise ValueError(_no_table(i.label, i.kind, needs))
            ends = "dropped" if i.kind == "pair" else "clipped"
            nodes = Nodes(first, step, count, "nearest", ends)  # type: ignore[arg-type]
            parts.append(Part(i.kind, i.name, nodes, slice(at, at + count)))
            at += count
    return Histograms(tuple(parts), potential.classes, potential.box)


WIDTHS = {"pair": 0.1, "bond": 0.02, "angle": np.pi / 90.0, "dihedral": np.pi / 36.0}


def histograms_over(
    potential: MolecularPotential, known: Mapping[tuple[str, str], Known]
) -> Histograms:
    """Bins over what is known of every interaction, whatever form its potential has."""
    parts: list[Part] = []
    at = 0
    for i in potential.interactions:
        width, range_ = WIDTHS[i.kind], known[i.kind, i.name]
        low, high = range_.low, range_.high
        if i.kind == "pair":
            low, high = max(width, low - 0.5), i.cutoff
        if i.kind == "dihedral":
            nodes = Nodes(-np.pi, width, round(2.0 * np.pi / width), "nearest", "clipped")
        else:
            first, last = int(np.floor(low / width + 1e-9)), int(np.floor(high / width + 1e-9))
            last += i.kind != "pair"
            ends = "dropped" if i.kind == "pair" else "clipped"
            middle = (first + 0.5) * width
            nodes = Nodes(middle, width, last - first, "nearest", ends)  # type: ignore[arg-type]
        parts.append(Part(i.kind, i.name, nodes, slice(at, at + nodes.count)))
        at += nodes.count
    return Histograms(tuple(parts), potential.classes, potential.box)


def _no_table(label: str, kind: str, needs: str) -> str:
    return f"{label} is no table, which {needs} needs; allowed is -s {kind}=table."


def over_frames(measure: Callable[[Array], Array], x: np.ndarray) -> np.ndarray:
    """Statistics ``(frame, term)`` of configurations ``(frame, site, axis)``, a block at a time."""
    run = jax.jit(measure)
    block = min(BLOCK, len(x))
    rows = []
    for start in range(0, len(x), block):
        stop = min(start + block, len(x))
        # The last block overlaps, so that one shape is compiled.
        values = np.asarray(run(jnp.asarray(x[stop - block : stop], float).T))
        rows.append(values.T[start - stop :])
    return np.concatenate(rows)


def from_frames(measure: Callable[[Array], Array], x: np.ndarray) -> Target:
    """Means over frames, with errors that count the frames' correlation.

    :param measure: statistics ``(term, batch)`` of ``(axis, site, batch)``.
    :param x: ``(frame, site, axis)``.
    """
    series = over_frames(measure, x)
    error = blocked_error(series) if len(series) > 1 else np.zeros(series.shape[1])
    return Target(series.mean(0), error)
