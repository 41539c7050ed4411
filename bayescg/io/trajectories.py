"""Atoms and frames of trajectories, read one frame at a time by MDAnalysis.

Everything that its readers leave to luck is checked here: frames cut short, files that end early,
boxes that are missing or oblique, units of forces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bayescg.io.complete import check_complete
from bayescg.io.readers import (
    force_unit,
    header_box,
    open_topology,
    open_trajectory,
    quiet,
    read_frame,
    reason_of,
)

__all__ = ["Frame", "Trajectory"]

_RIGHT = 1e-2  # degrees from 90 that single precision may give
_BLURRED = 0.01  # angstrom to which single precision must still know a position


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration.

    :param path: the file that holds it, and ``number`` its place there, from 0.
    :param x: positions, angstrom, ``(atom, axis)``.
    :param box: edges, angstrom, ``(axis,)``.
    :param forces: kcal/mol/angstrom, ``(atom, axis)``, if they were asked for.
    """

    path: Path
    number: int
    x: np.ndarray
    box: np.ndarray
    forces: np.ndarray | None


class Trajectory:
    """The atoms of a topology file, and the frames of trajectory files, one after the other.

    LAMMPS files are taken to be in its units ``real``; all else is converted by MDAnalysis.

    :param top: topology file.
    :param paths: trajectory files.
    :param masses: g/mol by name of atom (by type, where there are no names), over those of ``top``.
    :raises FileNotFoundError: there is no such file.
    :raises ValueError: a file cannot be read, or does not fit the topology.
    """

    def __init__(
        self,
        top: str | os.PathLike[str],
        paths: Sequence[str | os.PathLike[str]],
        masses: Mapping[str, float] | None = None,
    ) -> None:
        self.top = Path(top)
        self.paths = tuple(Path(p) for p in paths)
        if not self.paths:
            raise ValueError("no trajectory file is given; at least one is needed.")
        for n, path in enumerate(self.paths):
            if path in self.paths[:n]:
                raise ValueError(f"{path} is given twice; each file is read once.")
        for path in (self.top, *self.paths):
            if not path.exists():
                raise FileNotFoundError(f"there is no file {path}.")
            if path.is_dir():
                raise ValueError(f"{path} is a folder; allowed are files.")
        self._universe = open_topology(self.top)
        #: What was done that nobody asked for, a sentence each.
        self.notices: list[str] = []
        self.masses = self._masses(masses or {})
        opened = [self._length(path) for path in self.paths]
        self._counts = [count for count, _ in opened]
        self._complaints = [complaint for _, complaint in opened]

    @property
    def atoms(self) -> int:
        """How many atoms the topology has."""
        return len(self._universe.atoms)

    @property
    def frames_in_all(self) -> int:
        """Frames of all files together, before any stride."""
        return sum(self._counts)

    @property
    def names(self) -> np.ndarray | None:
        """Of the atoms, ``(atom,)``, if the topology has them."""
        return self._attribute("names")

    @property
    def residue_names(self) -> list[str]:
        """Every name of a residue once."""
        found = self._attribute("resnames")
        return [] if found is None else list(dict.fromkeys(map(str, found)))

    @property
    def bonds(self) -> np.ndarray:
        """Pairs of bonded atoms, ``(bond, 2)``; none where the topology has no bonds."""
        found = self._attribute("bonds")
        empty = np.zeros((0, 2), int)
        return empty if found is None or not len(found) else np.asarray(found.to_indices(), int)

    def label(self, atom: int) -> str:
        """An atom in words, for messages."""
        one = self._universe.atoms[atom]
        words = [f"atom {atom + 1}"]
        for name in ("name", "type"):
            if hasattr(one, name):
                words.append(f"({getattr(one, name)}")
                break
        if hasattr(one, "resname") and len(words) > 1:
            words[-1] += f" of {one.resname}"
        return " ".join(words) + (")" if len(words) > 1 else "")

    def select(self, selection: str, among: np.ndarray | None = None) -> np.ndarray:
        """The atoms of a selection of MDAnalysis, in the order of the topology.

        :param among: atoms that it may choose from; None: all.
        :raises ValueError: if it is no selection, or asks for what the topology does not have.
        """
        atoms = self._universe.atoms
        group = atoms if among is None else atoms[among]
        reason = ""
        with quiet():
            try:
                return np.sort(np.asarray(group.select_atoms(selection).indices, int))
            except Exception as error:  # MDAnalysis raises of many kinds, AttributeError too
                reason = reason_of(error)
        raise ValueError(f"the selection {selection!r} cannot be read with {self.top} ({reason}).")

    def molecules(self, split: str) -> np.ndarray:
        """Number of each atom's molecule, ``(atom,)``.

        :param split: ``residue``, ``fragment`` (connected by bonds) or ``molecule`` (as numbered by
            the topology).
        :raises ValueError: if the topology does not tell.
        """
        needs = {
            "residue": ("resindices", "residues"),
            "fragment": ("fragindices", "bonds"),
            "molecule": ("molnums", "numbers of molecules"),
        }
        name, what = needs[split]
        found = self._attribute(name)
        if found is None:
            raise ValueError(f"{self.top} has no {what}, which split: {split} needs.")
        return np.asarray(found, int)

    def _attribute(self, name: str) -> Any:
        from MDAnalysis.exceptions import NoDataError

        with quiet(), suppress(NoDataError, AttributeError):
            return getattr(self._universe.atoms, name)
        return None

    def _masses(self, given: Mapping[str, float]) -> np.ndarray:
        found = self._attribute("masses")
        if found is None:
            if self.names is None and self._attribute("types") is None:
                raise ValueError(
                    f"{self.top} has neither masses nor names or types of atoms to guess them by; "
                    "allowed is a topology that has."
                )
            with quiet():
                self._universe.guess_TopologyAttrs(to_guess=["types", "masses"])
            found = self._universe.atoms.masses
            self.notices.append(
                f"{self.top} has no masses; they were guessed from the names of its atoms."
            )
        masses = np.array(found, float)
        labels = self.names if self.names is not None else self._attribute("types")
        for name, mass in given.items():
            which = np.zeros(self.atoms, bool) if labels is None else np.asarray(labels == name)
            if not which.any():
                raise ValueError(f"masses names {name!r}, which no atom of {self.top} is called.")
            masses[which] = mass
        return masses

    def _length(self, path: Path) -> tuple[int, str]:
        """Number of frames, and what is wrong with the end of the file, if anything."""
        with open_trajectory(path, self.atoms, self.top) as reader:
            try:
                read_frame(reader, path, len(reader) - 1)
                check_complete(path, reader)
            except ValueError as error:  # which frames are asked for decides whether it matters
                return len(reader), str(error)
            return len(reader), ""

    def frames(
        self,
        *,
        begin: int = 0,
        end: int | None = None,
        stride: int = 1,
        forces: Literal["auto", "yes", "no"] = "auto",
    ) -> Iterator[Frame]:
        """The frames ``begin`` to ``end`` (not included), every ``stride``-th, of all files.

        One that repeats the last one of the file before, as after a restart, is left out.

        :param forces: ``yes``: every frame must have them; ``auto``: if the first has them.
        :raises ValueError: if there are no such frames or a file is cut short, at once; later, if
            a frame cannot be read, has no box or an oblique one, or no forces where they are
            needed, naming file and frame.
        """
        total = self.frames_in_all
        if stride < 1:
            raise ValueError(f"the stride is {stride}; allowed are numbers from 1.")
        last = total if end is None else end
        if not 0 <= begin < last <= total:
            raise ValueError(
                f"frames {begin} to {last} are asked for; allowed are 0 to {total}, as many as "
                f"{', '.join(map(str, self.paths))} hold, the first below the last."
            )
        first = 0
        for count, complaint in zip(self._counts, self._complaints, strict=True):
            goes_on = end is None or last > first + count
            if complaint and goes_on and begin < first + count:
                raise ValueError(complaint)
            first += count
        return self._frames(range(begin, last, stride), forces)

    def _frames(self, wanted: range, forces: str) -> Iterator[Frame]:
        want, first = forces, 0
        before: np.ndarray | None = None
        for path, count in zip(self.paths, self._counts, strict=True):
            numbers = [k - first for k in _within(wanted, first, first + count)]
            first += count
            if not numbers:
                continue
            with open_trajectory(path, self.atoms, self.top) as reader:
                header = header_box(path, reader)
                for number in numbers:
                    frame = _frame(reader, path, number, header, want, self)
                    if want == "auto":
                        want = "no" if frame.forces is None else "yes"
                    repeated = (
                        number == 0 and before is not None and np.array_equal(before, frame.x)
                    )
                    before = frame.x
                    if repeated:
                        self.notices.append(
                            f"frame 0 of {path} repeats the frame before it and was left out."
                        )
                    else:
                        yield frame


def _within(wanted: range, low: int, high: int) -> range:
    """The members of a range from ``low`` to below ``high``."""
    skipped = max(0, -(-(low - wanted.start) // wanted.step))
    return range(wanted.start + skipped * wanted.step, min(high, wanted.stop), wanted.step)


def _frame(
    reader: Any, path: Path, number: int, header: np.ndarray | None, forces: str, of: Trajectory
) -> Frame:
    where = f"{path}: frame {number}"
    step = read_frame(reader, path, number)
    if not step.has_positions:
        raise ValueError(f"{where} has no positions; choose frames that do by their stride.")
    dimensions = step.dimensions if step.dimensions is not None else header
    if dimensions is None or not np.all(dimensions[:3] > 0.0):
        raise ValueError(f"{where} has no periodic box; allowed are frames with one.")
    if np.any(np.abs(dimensions[3:] - 90.0) > _RIGHT):
        angles = ", ".join(f"{a:g}" for a in dimensions[3:])
        raise ValueError(
            f"{where} has an oblique box, with angles of {angles} degrees; allowed are rectangular "
            "ones: repeat the cell until its copies fill one, or run the simulation anew in one."
        )
    x = np.array(step.positions, float)
    _check_finite(x, "position", where, of)
    far = np.spacing(np.abs(x).astype(np.float32)) > _BLURRED
    if far.any():
        atom, axis = np.argwhere(far)[0]
        raise ValueError(
            f"{where}: {of.label(atom)} is at {x[atom, axis]:g} angstrom, too far away to tell where "
            "in the box it is; numbers like this are often a file's fill values."
        )
    found = None
    if forces != "no" and step.has_forces:
        found = np.array(step.forces, float) * force_unit(reader, path)
        _check_finite(found, "force", where, of)
    if forces == "yes" and found is None:
        raise ValueError(
            f"{where} has no forces; choose frames that do by their stride, or ask for none."
        )
    return Frame(path, number, x, np.array(dimensions[:3], float), found)


def _check_finite(values: np.ndarray, what: str, where: str, of: Trajectory) -> None:
    wrong = ~np.isfinite(values).all(1)
    if wrong.any():
        raise ValueError(f"{where}: the {what} of {of.label(int(np.argmax(wrong)))} is not finite.")
