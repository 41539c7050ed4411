"""Distributions of the coordinates that potentials act on, as counts in bins: measured, and as targets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline
import xarray as xr

from bayescg.observables.blocking import blocked_error
from bayescg.observables.known import Known, stored_name
from bayescg.observables.molecular import AXES
from bayescg.potentials.bonded import PeriodicTable, coordinate
from bayescg.potentials.classes import Members, PairClasses
from bayescg.potentials.counting import Nodes, count_pairs, count_values
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.pair import FixedPair, LinearPair, Table

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
        """Kind and name: ``pair A_B``, ``bond AB``."""
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
        """g(r), or the density of a bonded coordinate, per angstrom or radian."""
        values: np.ndarray = counts[..., part.at] / self.ideal(part)
        return values

    def statistics(self, potential: MolecularPotential, target: Target) -> Target:
        """Sufficient statistics of any basis from counts in bins.

        Within a bin counts are spread as a monotone cubic through the cumulative counts has them, which
        are known exactly at its edges (F. N. Fritsch and R. E. Carlson, SIAM J. Numer. Anal. 17, 238 (1980)).
        """
        parts = {p.label: p for p in self.parts}
        mean, variance = [], []
        for i in potential.interactions:
            if i.label not in parts:  # known, and judged by nothing
                mean.append(np.zeros(len(i.names)))
                variance.append(np.zeros(len(i.names)))
                continue
            p = parts[i.label]
            counts, error = target.mean[p.at], target.error[p.at]
            edges = p.nodes.edges
            fine = np.linspace(edges[0], edges[-1], WITHIN * p.nodes.count + 1)
            total = PchipInterpolator(edges, np.concatenate([[0.0], np.cumsum(counts)]))
            f = np.asarray(i.basis(jnp.asarray(0.5 * (fine[1:] + fine[:-1]))))
            mean.append(f @ np.diff(total(fine)))
            of_bin = f.reshape(len(f), p.nodes.count, WITHIN).mean(2)
            variance.append(of_bin**2 @ error**2)
        return Target(np.concatenate(mean), np.sqrt(np.concatenate(variance)))

    def from_distributions(self, data: xr.Dataset) -> Target:
        """Counts that target distributions mean, shared out anew where their bins are others.

        Counts are those of a smooth curve through the cumulative ones, which are known exactly at the edges
        of the target's bins; errors are shared out as those of independent counts.

        :raises ValueError: if one is missing, or ends before its potential does.
        """
        mean, squared = np.zeros(self.size), np.zeros(self.size)
        for p in self.parts:
            variable = p.stored_in(data)
            if variable is None:
                raise ValueError(f"there is no {p.variable}; needed is one an interaction.")
            v = data[variable]
            unit = 1.0 if p.kind == "pair" else AXES[p.kind][2]
            q = np.asarray(data[v.dims[0]].values, float) * unit
            width = (q[-1] - q[0]) / (len(q) - 1)
            edges = q[0] + width * (np.arange(len(q) + 1) - 0.5)
            density = np.asarray(v.values, float)
            se = np.zeros_like(density)
            if f"{variable}_se" in data:
                se = np.nan_to_num(np.asarray(data[f"{variable}_se"].values, float))
            if p.kind == "pair":
                edges, density, se = _reaching(p, variable, edges, density, se)
                volume = np.prod(self.box)
                ideal = self.classes.total(p.name) * 4.0 / 3.0 * np.pi * np.diff(edges**3) / volume
                if v.attrs.get("norm") == "n2":
                    ideal = ideal * self.classes.n2(p.name) / self.classes.total(p.name)
            else:
                ideal = np.full(len(q), len(self._members(p).sites) / density.sum())
            counts, variance = density * ideal, (se * ideal) ** 2
            turns = (
                2.0 * np.pi * np.array([-1.0, 0.0, 1.0]) if p.kind == "dihedral" else np.zeros(1)
            )
            wanted = p.nodes.edges.copy()
            if p.kind in ("bond", "angle"):  # what lies outside counts on the end bins
                wanted[0], wanted[-1] = min(wanted[0], edges[0]), max(wanted[-1], edges[-1])
            for turn in turns:
                mean[p.at] += _shared_out(edges + turn, counts, wanted)
                total = np.concatenate([[0.0], np.cumsum(variance)])
                squared[p.at] += np.diff(np.interp(wanted, edges + turn, total))
        return Target(mean, np.sqrt(squared))


def _reaching(
    part: Part, variable: str, edges: np.ndarray, density: np.ndarray, se: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pair's target from zero to where its potential ends, which may be part of a bin further on."""
    width, end = edges[-1] - edges[-2], part.nodes.edges[-1]
    if end > edges[-1] + 1.001 * max(width, part.nodes.step):
        raise ValueError(
            f"{variable} ends at {edges[-1]:.4g} angstrom, before its potential does at {end:.4g}; "
            f"allowed is -s cutoff={np.floor(100.0 * edges[-1]) / 100.0:g} or less."
        )
    more = max(0, int(np.ceil((end - edges[-1]) / width - 1e-6)))
    edges = np.append(edges, edges[-1] + width * np.arange(1, more + 1))
    density, se = (np.append(y, np.full(more, y[-1])) for y in (density, se))
    return np.maximum(edges, 0.0), density, se


def _shared_out(edges: np.ndarray, counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What lies between the edges ``wanted (bin + 1,)`` of counts ``(bin,)`` between other edges.

    By a spline of fifth order through the cumulative counts: RDFs of water in bins of 0.1 angstrom, moved by half
    a bin, are right to 0.002 (rms), where a monotone cubic makes 0.009, and straight lines through the
    RDF 0.04. Where bins hold nothing, there is nothing between them.
    """
    at = np.clip(wanted, edges[0], edges[-1])
    total = np.concatenate([[0.0], np.cumsum(counts)])
    smooth = np.diff(make_interp_spline(edges, total, min(5, len(counts)))(at))
    return np.where(
        np.diff(PchipInterpolator(edges, total)(at)) > 0.0, np.maximum(smooth, 0.0), 0.0
    )


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
                if not t.basis.names[0].startswith(("core", "walls", "fixed")):
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
        if all(isinstance(t, FixedPair) for t in i.terms):
            continue
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
    """Statistics ``(frame, term)`` of configurations ``(frame, ...)``, a block at a time."""
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
