"""The seam to MDAnalysis: its parsers and readers, without their noise and side effects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import gc
from pathlib import Path
import sys
from typing import TYPE_CHECKING, Any
import warnings

import numpy as np

from bayescg.io.complete import check_frames, file_format
from bayescg.units import KCAL

if TYPE_CHECKING:
    import MDAnalysis

__all__ = [
    "force_unit",
    "header_box",
    "open_topology",
    "open_trajectory",
    "quiet",
    "read_frame",
    "reason_of",
]

_BROKEN = (OSError, EOFError, ValueError, TypeError, IndexError, KeyError, StopIteration)
_LONGEST = 160  # characters of a reason that MDAnalysis gives


@contextmanager
def quiet() -> Iterator[None]:
    """Without the noise of MDAnalysis: what matters of it is checked here, and said.

    A reader that could not be made complains once more when it is thrown away.
    """
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = lambda unraisable: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


def reason_of(error: BaseException) -> str:
    """What an error says, in one short line."""
    text = " ".join(str(error).split()).rstrip(".")
    return (text if len(text) <= _LONGEST else text[:_LONGEST] + "...") or type(error).__name__


def open_topology(path: Path) -> MDAnalysis.Universe:
    """The atoms of a file, without positions and with nothing guessed.

    :raises ValueError: if it cannot be read as a topology.
    """
    import MDAnalysis
    from MDAnalysis.topology.core import get_parser_for

    kind, options = file_format(path)
    reason = ""
    with quiet():
        try:
            with get_parser_for(str(path), format=kind)(str(path)) as parser:
                universe = MDAnalysis.Universe(parser.parse(**options), to_guess=())
            if len(universe.atoms):
                return universe
            reason = "it has no atoms"
        except Exception as error:  # of many kinds, of the parsers too
            reason = reason_of(error)
        gc.collect()  # what failed is thrown away here, while nobody listens
    raise ValueError(f"{path} cannot be read as a topology ({reason}).")


@contextmanager
def open_trajectory(path: Path, atoms: int, top: Path) -> Iterator[Any]:
    """The reader of a trajectory file, closed at the end of the block.

    :param atoms: those of the topology file ``top``.
    :raises ValueError: if it cannot be read or has another number of atoms.
    """
    from MDAnalysis.coordinates.core import get_reader_for
    from MDAnalysis.coordinates.XDR import XDRBaseReader

    check_frames(path)
    kind, options = file_format(path)
    reader, reason = None, ""
    with quiet():
        try:
            made = get_reader_for(str(path), format=kind)
            if issubclass(made, XDRBaseReader):
                made = _without_cache(made)
            reader = made(str(path), n_atoms=atoms, **options)
            if len(reader) < 1:
                reason = "it holds no frame"
        except Exception as error:  # of many kinds
            reason = reason_of(error)
        if reason:
            gc.collect()
    if reader is None or reason:
        found = _atoms_of(path, kind)
        if found not in (None, atoms):
            raise _mismatch(path, found, atoms, top)
        raise ValueError(f"{path} cannot be read as a trajectory ({reason}).")
    try:
        if reader.n_atoms != atoms:
            raise _mismatch(path, reader.n_atoms, atoms, top)
        yield reader
    finally:
        with quiet():
            reader.close()


def _mismatch(path: Path, found: int | None, atoms: int, top: Path) -> ValueError:
    return ValueError(
        f"{path} has {found} atoms and {top} has {atoms}; allowed is a topology of the same atoms."
    )


def _atoms_of(path: Path, kind: str | None) -> int | None:
    """Number of atoms that a file says it has, if it does."""
    from MDAnalysis.coordinates.core import get_reader_for

    with quiet():
        try:
            return int(get_reader_for(str(path), format=kind).parse_n_atoms(str(path)))
        except Exception:  # many readers cannot tell
            return None


def _without_cache(made: Any) -> Any:
    """A reader of XTC or TRR that leaves no file of offsets beside the trajectory."""

    class Reader(made):
        def _load_offsets(self) -> None:
            self._read_offsets()

        def _read_offsets(self, store: bool = False) -> None:
            super()._read_offsets(store=False)

    return Reader


def read_frame(reader: Any, path: Path, number: int) -> Any:
    """A frame of a reader, as MDAnalysis has it.

    :raises ValueError: if it cannot be read.
    """
    reason = ""
    with quiet():
        try:
            return reader[number]
        except _BROKEN as error:
            reason = reason_of(error)
    raise ValueError(
        f"{path}: frame {number} of {len(reader)} cannot be read ({reason}); the file may be cut "
        "short."
    )


def force_unit(reader: Any, path: Path) -> float:
    """kcal/mol/angstrom in the unit of a reader's forces.

    :raises ValueError: if the file does not say its unit.
    """
    if reader.format == "LAMMPSDUMP":  # which has no units; those of `real` are ours
        return 1.0
    if reader.units.get("force"):  # which MDAnalysis converts to kJ/mol/angstrom
        return 1.0 / KCAL
    raise ValueError(f"{path} does not say in which unit its forces are; ask for none.")


def header_box(path: Path, reader: Any) -> np.ndarray | None:
    """The box that stands once, before all frames, as in a PDB file of several models."""
    if "PDB" not in reader.format:
        return None
    from MDAnalysis.lib.util import openany

    with openany(str(path), "rt") as file:
        for line in file:
            if line.startswith("CRYST1"):
                box = np.array([line[6:15], line[15:24], line[24:33], *line[33:54].split()], float)
                # A cube of one angstrom stands for none.
                return None if np.allclose(box[:3], 1.0) else box
    return None
