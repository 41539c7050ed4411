"""Trajectories in, mapped data out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import hashlib
import math
import os
from pathlib import Path
from typing import Literal

import numpy as np

from bayescg import __version__
from bayescg.infer.progress import Progress, Silent
from bayescg.io.map_file import MapSpec, load_map, map_text
from bayescg.io.map_sites import MappedSites, map_sites
from bayescg.io.particles import SAME_BOX
from bayescg.io.stream import stream_data
from bayescg.io.trajectories import Frame, Trajectory
from bayescg.mapping.momentum import MomentumConsistency, momentum_consistency
from bayescg.mapping.whole import Whole, spanning_tree
from bayescg.topology import variables_of

__all__ = ["Mapped", "map_trajectory"]

_LINK = 6.0  # angstrom; neighbours in a molecule are closer, united atoms too
_SHOWN = 20  # frames between two reports of progress
_READ = 1 << 20  # bytes at once
_TOLD = 256  # of them between two reports


@dataclass(frozen=True, eq=False)
class Mapped:
    """What :func:`map_trajectory` wrote.

    :param path: the data file.
    :param frames: how many; ``sites`` of each.
    :param forces: whether they were mapped.
    :param consistency: of the momenta.
    :param notices: what the user should know, a sentence each.
    """

    path: Path
    frames: int
    sites: int
    forces: bool
    consistency: MomentumConsistency
    notices: tuple[str, ...] = field(default=())


def map_trajectory(
    trajectories: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    top: str | os.PathLike[str],
    map_file: str | os.PathLike[str] | MapSpec,
    output: str | os.PathLike[str],
    *,
    temperature: float | None = None,
    begin: int = 0,
    end: int | None = None,
    stride: int = 1,
    forces: Literal["auto", "yes", "no"] = "auto",
    progress: Progress | None = None,
) -> Mapped:
    """Map a trajectory and write it as a data file, frame by frame.

    Molecules are made whole before they are mapped, along the bonds of the topology or, where
    those do not connect a molecule, from neighbour to neighbour as in the first frame: no two
    neighbours may be further apart than half the box. Sites are written inside the box.

    :param trajectories: one file, or several that follow each other.
    :param top: topology file, of the same atoms.
    :param map_file: path of a map file, or the map itself.
    :param output: the data file to write; its folder exists.
    :param temperature: K; over what the map says.
    :param begin: the first frame, counted from 0 over all files; ``end`` the first not to read.
    :param stride: read every so many frames.
    :param forces: ``yes``: needed; ``auto``: mapped if the first frame has them.
    :param progress: is told how far it is.
    :raises FileNotFoundError: if a file is not there.
    :raises ValueError: if the map, the topology and the trajectories do not go together, or a file
        cannot be read; nothing is written then.
    """
    if isinstance(trajectories, str | os.PathLike):
        trajectories = [trajectories]
    paths = [Path(p) for p in trajectories]
    spec = map_file if isinstance(map_file, MapSpec) else load_map(map_file)
    kelvin = _temperature(temperature, spec)
    progress = Silent() if progress is None else progress
    trajectory = Trajectory(top, paths, dict(spec.masses))
    mapped = map_sites(spec, trajectory)
    topology, restriction = mapped.topology, mapped.restriction
    consistency = momentum_consistency(restriction, trajectory.masses, topology.mass)
    frames = trajectory.frames(begin=begin, end=end, stride=stride, forces=forces)
    last = trajectory.frames_in_all if end is None else end
    total = len(range(begin, last, stride))
    notices: list[str] = []
    attrs = {
        "temperature": kelvin,
        "source": ", ".join(str(p) for p in (*paths, Path(top))),
        "frames_read": f"{begin}:{last}:{stride}",
        "map": spec.text or map_text(spec),
        "momentum_consistent": int(consistency.holds),
        "momentum_consistency": consistency.text,
        "bayescg_version": __version__,
    }
    with stream_data(output, variables_of(topology), attrs) as stream:
        whole: Whole | None = None
        with_forces = False
        least, most = np.full(3, np.inf), np.zeros(3)
        for frame in frames:
            least, most = np.minimum(least, frame.box), np.maximum(most, frame.box)
            if whole is None:
                whole, said = _whole(mapped, frame, trajectory)
                notices += said
            sites = restriction.positions(whole(frame.x, frame.box))
            f = None if frame.forces is None else restriction.forces(frame.forces)
            with_forces = f is not None
            stream.append(sites, frame.box, f)
            if stream.frames % _SHOWN == 0:
                progress.update("map", stream.frames / total, {"frame": float(stream.frames)})
        if (most > (1.0 + SAME_BOX) * least).any():
            notices.append(
                "the box changes from frame to frame; `bayescg observe` takes it as it is, but a fit needs a run "
                "at constant volume."
            )
        attrs["sha256"] = {str(p): _digest(p, progress) for p in dict.fromkeys((*paths, Path(top)))}
        attrs["notices"] = [*trajectory.notices, *notices]
        progress.update("map", 1.0, {"frame": float(stream.frames)})
    return Mapped(
        Path(output),
        stream.frames,
        topology.sites,
        with_forces,
        consistency,
        (*trajectory.notices, *notices),
    )


def _temperature(given: float | None, spec: MapSpec) -> float:
    kelvin = spec.temperature if given is None else given
    if kelvin is None:
        raise ValueError(
            f"{spec.source} has no temperature (K), and none is given; one of them must say it."
        )
    if not 0.0 < kelvin < math.inf:
        raise ValueError(f"the temperature is {kelvin:g}; allowed are positive numbers (K).")
    return float(kelvin)


def _whole(
    mapped: MappedSites, frame: Frame, trajectory: Trajectory
) -> tuple[Whole, tuple[str, ...]]:
    """How molecules are made whole, from the first molecule of each type in the first frame."""
    parent = np.arange(trajectory.atoms)
    bonds = trajectory.bonds
    for name, groups in zip(mapped.names, mapped.molecules, strict=True):
        place = np.full(trajectory.atoms, -1)
        place[groups[0]] = np.arange(groups.shape[1])
        inside = place[bonds]
        try:
            tree = spanning_tree(frame.x[groups[0]], frame.box, inside[(inside >= 0).all(1)])
        except ValueError as error:
            raise ValueError(
                f"{frame.path}: frame {frame.number}: molecule {name!r}: {error}"
            ) from None
        parent[groups] = groups[:, tree]
    whole = Whole(parent)
    x = whole(frame.x, frame.box)
    links = np.sqrt(((x - x[parent]) ** 2).sum(1))
    at = int(np.argmax(links))
    if links[at] <= _LINK:
        return whole, ()
    return whole, (
        f"{trajectory.label(at)} is {links[at]:.3g} angstrom from the atom that it should be next "
        f"to in frame {frame.number} of {frame.path}; the topology may be that of other atoms, or "
        "the split into molecules may be wrong.",
    )


def _digest(path: Path, progress: Progress) -> str:
    found = hashlib.sha256()
    size, blocks = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(_READ):
            found.update(block)
            blocks += 1
            if blocks % _TOLD == 0:
                progress.update(f"checksum of {path.name}", min(blocks * _READ / size, 0.99), {})
    return found.hexdigest()
