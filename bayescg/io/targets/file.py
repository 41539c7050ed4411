"""Targets as a file: made, saved, loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayescg.files import brief, labelled, read_netcdf, write_netcdf
from bayescg.io.netcdf import check, load, ready
from bayescg.io.targets.checks import check_potentials, check_targets, count_of
from bayescg.io.targets.record import Target, group_of, read_group, variables
from bayescg.topology import KINDS, Topology, pair_name, topology_of

__all__ = [
    "Targets",
    "has_targets",
    "load_data",
    "load_targets",
    "make_targets",
    "save_targets",
    "targets_of",
]

_LABELS = {
    "box": {"units": "angstrom", "long_name": "edges of the periodic box"},
    "count": {"units": "1", "long_name": "sites of the bead type"},
}


@dataclass(frozen=True, eq=False)
class Targets:
    """What a file of targets holds; made by :func:`make_targets` or :func:`load_targets`.

    :param distributions: the root group.
    :param system: one configuration with its topology, a data set, if there is one.
    :param potentials: potentials, if there are any: to start from, and, without a target, to keep.
    """

    distributions: xr.Dataset
    system: xr.Dataset | None = None
    potentials: xr.Dataset | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target, RDFs first."""
        return targets_of(self.distributions)

    @property
    def starts(self) -> tuple[Target, ...]:
        """Every potential, kcal/mol."""
        if self.potentials is None:
            return ()
        return read_group(self.potentials, "potential", self.count)

    @property
    def fixed(self) -> tuple[Target, ...]:
        """Potentials of interactions without a target, which a model takes as they are, kcal/mol."""
        aims = {(t.kind, t.name) for t in self.targets}
        return tuple(t for t in self.starts if (t.kind, t.name) not in aims)

    @property
    def temperature(self) -> float:
        """K."""
        return float(self.distributions.attrs["temperature"])

    @property
    def box(self) -> np.ndarray:
        """Edges, ``(axis,)``, angstrom."""
        return np.asarray(self.distributions["box"].values, float)

    @property
    def count(self) -> dict[str, int]:
        """Number of sites of each bead type."""
        return count_of(self.distributions)

    @property
    def topology(self) -> Topology | None:
        """The topology of the system, if there is one."""
        return None if self.system is None else topology_of(self.system)

    def normed(self, norm: str) -> tuple[Target, ...]:
        """Every target, RDFs with the given ``norm``, by the exclusions of the system."""
        topology, count = self.topology, self.count
        counted: dict[str, float] = {}
        if topology is not None:
            kinds = topology.types
            lost = Counter(pair_name(kinds[i], kinds[j]) for i, j in _unordered(topology.exclusion))
            for target in (t for t in self.targets if t.kind == "pair"):
                a, b = (count[kind] for kind in target.types)
                all_of = a * (a - 1) / 2 if target.types[0] == target.types[1] else a * b
                counted[target.name] = all_of - lost[target.name]
        return tuple(t.normed(norm, count, counted.get(t.name)) for t in self.targets)

    def data(self, norm: str = "pairs") -> xr.Dataset:
        """System, targets and potentials as one data set, which a model reads like mapped data.

        Every one has an axis of its own there, so that ``angle`` remains the topology's.

        :raises ValueError: there is no system.
        """
        if self.system is None:
            raise ValueError(
                "the targets hold no system, a configuration with its topology, to start from."
            )
        targets = group_of(self.normed(norm), "target", apart=True)
        starts = group_of(self.starts, "potential", apart=True)
        attrs = {**self.distributions.attrs, **self.system.attrs}
        return self.system.merge(targets).merge(starts).assign_attrs(attrs)


def _unordered(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in pairs.tolist()}


def make_targets(
    targets: Iterable[Target],
    *,
    box: np.ndarray,
    count: Mapping[str, int],
    temperature: float,
    system: xr.Dataset | None = None,
    potentials: Iterable[Target] = (),
    attrs: Mapping[str, Any] | None = None,
) -> Targets:
    """Targets and what belongs to them, checked.

    :param targets: distributions to match, in the units of :class:`Target`.
    :param box: edges ``(axis,)``, angstrom.
    :param count: number of sites of each bead type.
    :param temperature: K.
    :param system: one configuration with its topology, a data set.
    :param potentials: to start from, or, of interactions without a target, to keep; kcal/mol.
    :param attrs: more attributes of the root, ``source`` for instance.
    :raises ValueError: what :func:`check_targets` says, or a target given twice.
    """
    root = group_of(targets, "target").assign(
        box=("axis", np.asarray(box, float)),
        count=("type", np.array(list(count.values()), int)),
    )
    root = root.assign_coords(type=("type", np.array(list(count))))
    root.attrs = {**(attrs or {}), "temperature": float(temperature)}
    starts = group_of(potentials, "potential")
    return _checked(Targets(root, system, starts if starts.data_vars else None))


def targets_of(data: xr.Dataset) -> tuple[Target, ...]:
    """Every target of the root group, RDFs first, in the units of the code.

    :param data: a data set.
    :raises ValueError: what :func:`check_targets` says.
    """
    return read_group(check_targets(data), "target", count_of(data))


def has_targets(data: xr.Dataset) -> bool:
    """Whether a data set holds targets and no configurations.

    :param data: a data set.
    """
    return "x" not in data.variables and bool(variables(data, "target"))


def load_targets(path: str | os.PathLike[str]) -> Targets:
    """Read a file of targets and check it.

    :param path: of the netCDF file.
    :raises FileNotFoundError: there is none.
    :raises ValueError: it is not netCDF, or something in it is wrong.
    """
    tree = read_netcdf(path)
    groups = {
        name: node.to_dataset(inherit=False)
        for name, node in tree.children.items()
        if name in ("system", "potentials")
    }
    try:
        return _checked(Targets(tree.to_dataset(inherit=False), **groups))
    except ValueError as error:
        raise ValueError(f"{path}: {brief(error)}") from None


def load_data(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a data file, or a file of targets as :meth:`Targets.data` gives them.

    :param path: of the netCDF file.
    :raises FileNotFoundError: there is none.
    :raises ValueError: it is neither, or something in it is wrong.
    """
    if not has_targets(read_netcdf(path).to_dataset(inherit=False)):
        return load(path)
    try:
        return load_targets(path).data()
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def save_targets(targets: Targets, path: str | os.PathLike[str]) -> None:
    """Check targets and write them, by rename.

    :param targets: what is written.
    :param path: of the netCDF file.
    :raises ValueError: something is wrong with them.
    :raises OSError: the file cannot be written.
    """
    _checked(targets)
    groups = {"/": _labelled(targets.distributions)}
    if targets.system is not None:
        terms = {kind: f"{kind}_term" for kind in KINDS if kind in targets.system.dims}
        groups["/system"] = ready(targets.system.rename_dims(terms))
    if targets.potentials is not None:
        groups["/potentials"] = _labelled(targets.potentials)
    write_netcdf(xr.DataTree.from_dict(groups), Path(path))


def _labelled(data: xr.Dataset) -> xr.Dataset:
    return labelled(
        data, {name: _LABELS[name] for name in map(str, data.variables) if name in _LABELS}
    )


def _checked(targets: Targets) -> Targets:
    check_targets(targets.distributions)
    if targets.potentials is not None:
        check_potentials(targets.potentials, targets.count)
    if targets.system is not None:
        try:
            check(targets.system)
            topology = topology_of(targets.system)
        except ValueError as error:
            raise ValueError(f"group system: {error}") from None
        _check_together(targets, topology)
    return targets


def _check_together(targets: Targets, topology: Topology) -> None:
    held = {kind: topology.types.count(kind) for kind in topology.kinds}
    if held != targets.count:
        raise ValueError(
            f"count is {targets.count}, and the system has {held}; allowed is the same."
        )
    for found in (*targets.targets, *targets.starts):
        if found.kind == "pair":
            continue
        known = topology.bonded()[found.kind].kinds
        if found.name not in known:
            raise ValueError(
                f"{found.kind}_{found.name}: the system has no {found.kind} of that name; it has "
                f"{', '.join(known) or 'none'}."
            )
