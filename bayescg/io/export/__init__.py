"""Potentials out: the fitted model in the formats of programs of molecular dynamics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import os
from pathlib import Path

from bayescg.io.export.extrapolate import Extended, extended
from bayescg.io.export.folder import check_folder, new_folder
from bayescg.io.export.gromacs import write_gromacs
from bayescg.io.export.hoomd import write_hoomd
from bayescg.io.export.lammps import write_lammps
from bayescg.io.export.model import ExportModel, Interaction
from bayescg.io.export.openmm import write_openmm
from bayescg.io.export.readme import readme
from bayescg.io.export.table import write_table

__all__ = [
    "FORMATS",
    "ExportModel",
    "Extended",
    "Interaction",
    "check_folder",
    "check_format",
    "extended",
    "write_models",
]

_WRITERS: dict[str, Callable[[ExportModel, Path], tuple[str, ...]]] = {
    "lammps": write_lammps,
    "gromacs": write_gromacs,
    "openmm": write_openmm,
    "hoomd": write_hoomd,
    "table": write_table,
}
FORMATS = tuple(_WRITERS)


def check_format(format: str) -> None:
    """Refuse an unknown format.

    :raises ValueError: which lists the known ones.
    """
    if format not in _WRITERS:
        raise ValueError(f"unknown format {format!r}; known: {', '.join(FORMATS)}.")


def write_models(
    models: Mapping[str, ExportModel], format: str, folder: str | os.PathLike[str]
) -> list[str]:
    """Write models, all of them or nothing.

    :param models: by name of a folder within ``folder``; ``.`` is that folder itself.
    :param format: one of ``FORMATS``.
    :param folder: new, or empty.
    :return: the files, relative to ``folder``.
    :raises ValueError: for an unknown format, and for what it cannot express, naming the term.
    :raises OSError: if the folder cannot be written.
    """
    check_format(format)
    with new_folder(folder) as part:
        for name, model in models.items():
            own = part / name
            own.mkdir(exist_ok=True)
            notes = _WRITERS[format](model, own)
            (own / "README.txt").write_text(readme(model, format, notes), encoding="utf-8")
        files = [str(p.relative_to(part)) for p in sorted(part.rglob("*")) if p.is_file()]
    return files
