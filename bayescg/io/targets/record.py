"""Records of targets, their kinds, and how a group of a file holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from bayescg.topology import pair_name

__all__ = ["KINDS", "NORMS", "Kind", "Target", "group_of", "read_group", "types_of", "variables"]


@dataclass(frozen=True)
class Kind:
    """What files call the distributions of one kind of interaction, and the units of its axis."""

    prefix: str  # of the target's variable
    axis: str
    potential: str  # prefix of the potential's variable
    units: str  # of the axis
    unit: float  # radians or angstrom in one unit of the axis
    low: float
    high: float


KINDS = {
    "pair": Kind("rdf", "r", "pair_potential", "angstrom", 1.0, 0.0, np.inf),
    "bond": Kind("bond", "length", "bond_potential", "angstrom", 1.0, 0.0, np.inf),
    "angle": Kind("angle", "angle", "angle_potential", "degree", np.pi / 180.0, 0.0, 180.0),
    "dihedral": Kind(
        "dihedral", "dihedral", "dihedral_potential", "degree", np.pi / 180.0, -180.0, 180.0
    ),
}
NORMS = ("pairs", "n2")


@dataclass(frozen=True, eq=False)
class Target:
    """One target, or one potential to start from, in the units of the code.

    :param kind: ``pair``, ``bond``, ``angle`` or ``dihedral``.
    :param name: ``A_B`` of a pair; the name of a bonded term's potential.
    :param q: centres of the bins, ``(bin,)``, evenly spaced; angstrom, or radians.
    :param values: g(r), or a density per angstrom or radian, ``(bin,)``; kcal/mol of a potential.
    :param types: the two bead types of a pair, sorted.
    :param norm: ``pairs`` or ``n2``, of a pair.
    :param error: standard error of the values, ``(bin,)``, if there is one.
    :param span: range in which a project has its potential: lowest and highest q, if it says.
    :param source: the file it came from.
    """

    kind: str
    name: str
    q: np.ndarray
    values: np.ndarray
    types: tuple[str, ...] = ()
    norm: str = "pairs"
    error: np.ndarray | None = None
    span: tuple[float, float] | None = None
    source: str = ""

    @property
    def width(self) -> float:
        """Width of a bin, angstrom or radians."""
        return float(self.q[-1] - self.q[0]) / (len(self.q) - 1)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, ``(bin + 1,)``; the first and last may lie outside what q can be."""
        return np.append(self.q - 0.5 * self.width, self.q[-1] + 0.5 * self.width)

    def normed(self, norm: str, count: Mapping[str, int], counted: float | None = None) -> Target:
        """The same RDF with another ``norm``.

        :param count: sites of each bead type.
        :param counted: pairs of the two types without the excluded ones; None: none is excluded.
        :raises ValueError: for a norm other than ``pairs`` and ``n2``.
        """
        if norm not in NORMS:
            raise ValueError(f"rdf norm must be pairs or n2, got {norm!r}.")
        if self.kind != "pair" or norm == self.norm:
            return self
        a, b = (count[kind] for kind in self.types)
        like = self.types[0] == self.types[1]
        squared = a * b * (0.5 if like else 1.0)
        pairs = counted if counted is not None else a * (a - 1) / 2 if like else a * b
        factor = squared / pairs if norm == "pairs" else pairs / squared
        error = None if self.error is None else factor * self.error
        return replace(self, values=factor * self.values, error=error, norm=norm)


def _prefix(kind: str, role: str) -> str:
    return KINDS[kind].prefix if role == "target" else KINDS[kind].potential


def variables(data: xr.Dataset, role: str) -> dict[str, tuple[str, str]]:
    """Kind and name of each variable that is a target or a potential.

    :param role: ``target`` or ``potential``.
    """
    out = {}
    for kind in KINDS:
        start = f"{_prefix(kind, role)}_"
        for variable in map(str, data.data_vars):
            name = variable.removeprefix(start)
            error = variable.endswith("_se") and variable.removesuffix("_se") in data.data_vars
            # bond_type names the terms of a topology.
            if name not in ("", "type", variable) and not error:
                out[variable] = (kind, name)
    return out


def types_of(
    data: xr.Dataset, variable: str, name: str, count: Mapping[str, int]
) -> tuple[str, str]:
    """The two bead types of a pair, by the name or, where that is ambiguous, by attributes.

    :raises ValueError: unless the variable names one pair of bead types.
    """
    kinds = sorted(count)
    pairs = [(a, b) for i, a in enumerate(kinds) for b in kinds[i:] if pair_name(a, b) == name]
    told = tuple(str(data[variable].attrs.get(f"type{i}", "")) for i in (1, 2))
    if len(pairs) > 1 and tuple(sorted(told)) in pairs:
        return min(told), max(told)
    if len(pairs) != 1:
        hint = ", ".join(pair_name(a, b) for i, a in enumerate(kinds) for b in kinds[i:])
        raise ValueError(
            f"{variable} names {len(pairs) or 'no'} pair{'s' * (len(pairs) != 1)} of bead types; "
            f"allowed are {hint}."
        )
    return pairs[0]


def read_group(data: xr.Dataset, role: str, count: Mapping[str, int]) -> tuple[Target, ...]:
    """The targets, or the potentials, of a data set in the units of the code.

    :param data: a group of a file of targets.
    :param role: ``target`` or ``potential``.
    :param count: beads of each type.
    :raises ValueError: if a variable does not say which pair of types it is of.
    """
    out = []
    for variable, (kind, name) in variables(data, role).items():
        own, table = KINDS[kind], data[variable]
        # A density per degree becomes one per radian.
        scale = own.unit if role == "target" and kind != "pair" else 1.0
        error = data.variables.get(f"{variable}_se")
        span = table.attrs.get("potential_range")
        low, high = (0.0, 0.0) if span is None else np.asarray(span, float) * own.unit
        out.append(
            Target(
                kind,
                name,
                data[table.dims[0]].values.astype(float) * own.unit,
                table.values.astype(float) / scale,
                types=types_of(data, variable, name, count) if kind == "pair" else (),
                norm=str(table.attrs.get("norm", "pairs")),
                error=None if error is None else error.values.astype(float) / scale,
                span=None if span is None else (float(low), float(high)),
                source=str(table.attrs.get("source", "")),
            )
        )
    return tuple(out)


def group_of(targets: Iterable[Target], role: str, *, apart: bool = False) -> xr.Dataset:
    """Variables of a group; targets of one kind share their axis where all have the same bins.

    :param apart: give each an axis of its own.
    :raises ValueError: if two targets would have one variable, or one has the name of a topology.
    """
    out = xr.Dataset()
    given = list(targets)
    for kind, own in KINDS.items():
        of_kind = [t for t in given if t.kind == kind]
        axes = [np.round(t.q / own.unit, 10) for t in of_kind]
        alike = not apart and all(np.array_equal(axis, axes[0]) for axis in axes)
        for target, q in zip(of_kind, axes, strict=True):
            # Groups of a file inherit coordinates, so that both roles may not share one.
            axis = own.axis if role == "target" else f"{own.axis}_potential"
            axis = axis if alike else f"{axis}_of_{target.name}"
            variable = f"{_prefix(kind, role)}_{target.name}"
            if variable == f"{kind}_type":
                raise ValueError(f"{variable} holds the names of a topology; allowed are others.")
            if variable in out.variables:
                raise ValueError(f"{variable} is given twice; each may come once.")
            density = role == "target" and kind != "pair"
            scale = own.unit if density else 1.0
            units = "kcal/mol" if role == "potential" else f"1/{own.units}" if density else "1"
            attrs = {"units": units, **_attrs(target, role, own)}
            out[variable] = (axis, target.values * scale, attrs)
            if target.error is not None:
                long_name = {"units": units, "long_name": f"standard error of {variable}"}
                out[f"{variable}_se"] = (axis, target.error * scale, long_name)
            label = {"units": own.units, "long_name": f"{own.axis}, centre of the bin"}
            out = out.assign_coords({axis: (axis, q, label)})
    return out


def _attrs(target: Target, role: str, own: Kind) -> dict[str, Any]:
    what = {"pair": "radial distribution function of {}"}.get(target.kind, "density of {kind} {}")
    if role == "potential":
        what = "potential of {kind} {}"
    out: dict[str, Any] = {"long_name": what.format(target.name, kind=target.kind)}
    if target.kind == "pair":
        out |= {"type1": target.types[0], "type2": target.types[1]}
        out |= {"norm": target.norm} if role == "target" else {}
    if target.span is not None:
        out["potential_range"] = np.array(target.span) / own.unit
    if target.source:
        out["source"] = target.source
    return out
