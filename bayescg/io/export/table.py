"""Plain tables: a text file a potential, for programs that none of the other formats serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bayescg.io.export.extrapolate import Extended
from bayescg.io.export.model import ExportModel
from bayescg.io.export.tables import (
    FINE,
    columns,
    extensions,
    extrapolated,
    lengths,
    longest_bond,
    sampled,
    write_text,
)
from bayescg.topology import KINDS

__all__ = ["write_table"]


def write_table(model: ExportModel, folder: Path) -> tuple[str, ...]:
    """Write the files.

    :return: what a reader has to know.
    """
    for e in extensions(model).values():
        _write(e, folder / f"{e.interaction.kind}_{e.interaction.name}.txt")
    _write_sites(model, folder)
    notes = [
        "KIND_NAME.txt: three columns, coordinate, energy, force (the energy's slope with its sign turned)",
        "sites.txt: the start; bonds.txt, angles.txt, dihedrals.txt, exclusions.txt: sites of each term",
    ]
    three = model.three_body
    if three is not None:
        values = {
            "strength (lambda epsilon), kcal/mol": float(np.asarray(three.strength)),
            "cosine (cos eta0)": three.cosine,
            "gamma": three.gamma,
            "a": three.a,
            "sigma, angstrom": three.sigma,
        }
        write_text(
            folder / "three_body.txt",
            [
                "# Stillinger-Weber: strength sum_j sum_{k<l} (cos(jkl) - cosine)^2 g(r_jk) g(r_jl)",
                "# g(r) = exp(gamma sigma / (r - a sigma)) for r < a sigma",
                *(f"{value:.12g}  {name}" for name, value in values.items()),
            ],
        )
        notes.append("three_body.txt: the formula and the parameters of the three-body term")
    return tuple(notes)


def _write(e: Extended, path: Path) -> None:
    kind = e.interaction.kind
    unit = "degree" if kind in ("angle", "dihedral") else "angstrom"
    if kind == "pair":
        q = lengths(e.high)
    elif kind == "bond":
        q = np.concatenate([[0.0], lengths(longest_bond(e), FINE)])
    else:
        q = np.linspace(
            0.0 if kind == "angle" else -180.0, 180.0, 1801 if kind == "angle" else 3601
        )
    if unit == "degree":
        u, f = e.energy(np.deg2rad(q)), np.deg2rad(e.force(np.deg2rad(q)))
    else:
        u, f = sampled(e, q)
    head = [
        f"# {extrapolated(e)}",
        f"# {kind} ({unit}), energy (kcal/mol), force (kcal/mol/{unit})",
    ]
    write_text(path, [*head, columns(q, u, f).rstrip("\n")])


def _write_sites(model: ExportModel, folder: Path) -> None:
    t = model.topology
    x, images = model.placed()
    lines = ["# box (angstrom): " + " ".join(f"{edge:.12g}" for edge in model.box)]
    lines.append("# site, type, mass (g/mol), molecule, x y z (angstrom), image in each direction")
    for n, (kind, mass, m, at, image) in enumerate(
        zip(t.types, t.mass, t.molecule, x, images, strict=True)
    ):
        where = " ".join([*(f"{v:.10g}" for v in at), *(str(k) for k in image)])
        lines.append(f"{n} {kind} {mass:.10g} {m} {where}")
    write_text(folder / "sites.txt", lines)
    for kind in KINDS:
        bonded = t.bonded()[kind]
        if len(bonded):
            rows = zip(bonded.members.tolist(), bonded.names, strict=True)
            lines = [f"{' '.join(map(str, row))} {name}" for row, name in rows]
            write_text(folder / f"{kind}s.txt", ["# sites from 0, and the potential", *lines])
    if len(t.exclusion):
        lines = [f"{i} {j}" for i, j in sorted(model.excluded)]
        write_text(folder / "exclusions.txt", ["# pairs of sites without a pair potential", *lines])
