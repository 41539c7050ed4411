"""Mapped data as VOTCA reads it, its programs run on them, and what they write as arrays.

Conventions of VOTCA 2022.1, each found by comparing its output with sums in NumPy:

========== =====================================================================================
csg_stat   Bins are ``[x - step/2, x + step/2)`` about ``x = min + i step``, up to and with ``max``.
           g(r) is the mean count over V / n / (4/3 pi (r_+^3 - r_-^3)), with n = N^2/2 of one type
           and N_A N_B of two; a bin that reaches below zero is written as zero. Pairs that share a
           bonded term are left out of the count and not of n. Bonded histograms are divided by
           the number of terms and by the step asked for, not by that of the grid, which is
           (max - min) over a whole number.
--do-imc   ``.imc`` holds <S> - S_ref, with S the counts and S_ref = g_target n shell/V; of a
           bonded interaction S_ref is the target as its file has it. ``.gmc`` holds
           A = <S><S>^T - <S S^T>, over all frames and not over one less.
imc_solve  dU/kT = -(A^T A + R)^-1 A^T (<S> - S_ref), eigenvalues of A^T A + R below 1e-12 left out.
csg_fmatch Forces are natural cubic splines on knots ``min + i step``, the last at ``max``, without
           a condition on the value there. ``constrainedLS true`` fits them by least squares over
           all components of all frames of a block; ``false`` adds the jumps of the slope at
           inner knots and the second derivatives at the ends (kJ/mol, nm) as equations of weight
           one. A pair closer than ``min`` is met by the first polynomial, and one beyond ``max``
           by none. Blocks are averaged; frames that do not fill one are dropped. Columns are
           q, -dU/dq, its standard error, flag. The forces of an angle are wrong: of the gradient
           ((cos v1/|v1|^2 - v2/(|v1||v2|))/sin, and the same with 1 and 2 exchanged, at the ends) the
           first term is multiplied by |v1|/|v2| at the first bead and by sin at the third, so that
           the three do not add up to zero; fits with angles cannot be compared.
reupdate   Adds -scale H^-1 D to the parameters, without regularisation: D = (<U'>_tgt - <U'>)/kT,
           H = (<U'U'^T> - <U'><U'>^T)/kT^2 over all frames and not over one less. Where Cholesky's
           decomposition fails it stops. <U'>_tgt is the sum over the bins of the target of
           g n shell/V times U' at the centre. Non-bonded interactions only. ``cbspl`` of K
           knots has functions with support [(i-3)d, (i+1)d], i < K, d = max/(K-3). The last four are
           held at zero, those up to i = floor(min/d), min the centre after the last with
           g < 1e-4 in ``.dist.new``, are not optimised but drawn through the first two that
           are, falling whichever way these go. ``lj126`` is C12/r^12 - C6/r^6, cut at max.
units      nm and kJ/mol; angles in radians. Forces of a LAMMPS dump are taken times 41.868.
========== =====================================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import shutil
import subprocess
import sys
import time

import numpy as np
import xarray as xr

from bayescg.topology import Topology, topology_of

__all__ = ["Bins", "Splines", "fmatch", "imc", "need_votca", "reupdate", "stat", "write_data"]

PROGRAMS = ("csg_stat", "csg_fmatch", "csg_imc_solve", "csg_reupdate")
NM = 0.1  # nm in an angstrom
CAL = 4.1868  # VOTCA's kJ in a kcal
UNITS = {"pair": NM, "bond": NM, "angle": 1.0, "dihedral": 1.0}


@dataclass(frozen=True)
class Bins:
    """Bins, or knots, of one interaction; angstrom or radians.

    :param types: of a pair.
    :param first: the first centre or knot, ``width`` apart, ``count`` of them.
    """

    kind: str
    name: str
    types: tuple[str, ...]
    first: float
    width: float
    count: int

    @property
    def centres(self) -> np.ndarray:
        return self.first + self.width * np.arange(self.count)

    def xml(self, inside: str, *, plain: bool = True) -> str:
        """As VOTCA's settings have it."""
        unit = UNITS[self.kind]
        low, step = self.first * unit, self.width * unit
        high = low + step * (self.count - 1)
        span = f"<min>{low:.12g}</min><max>{high:.12g}</max><step>{step:.12g}</step>"
        tag = "non-bonded" if self.kind == "pair" else "bonded"
        types = "".join(f"<type{n}>{t}</type{n}>" for n, t in enumerate(self.types, 1))
        inside = f"{span}{inside}" if plain else f"<fmatch>{span}{inside}</fmatch>"
        return f"<{tag}><name>{self.name}</name>{types}{inside}</{tag}>"


def need_votca() -> str:
    """The version that is installed; ends the program in words where there is none."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        sys.exit(
            f"this benchmark needs VOTCA, and {', '.join(missing)} are not on the path; Debian has "
            "them in the package votca."
        )
    done = subprocess.run(["csg_stat", "--help"], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return next((line.strip() for line in lines if "version" in line), "unknown version")


def write_data(folder: Path, data: xr.Dataset, *, forces: bool = False) -> None:
    """Write frames as a LAMMPS dump with every digit, and the topology as XML."""
    topology = topology_of(data)
    kinds = topology.kinds
    box = np.asarray(data["box"].values, float)
    edges = "".join(f"0.0 {edge!r}\n" for edge in box.tolist())
    columns = "id type x y z" + (" fx fy fz" if forces else "")
    number = [kinds.index(kind) + 1 for kind in topology.types]
    with (folder / "traj.dump").open("w") as file:
        for n, frame in enumerate(np.asarray(data["x"].values, float)):
            rows = frame
            if forces:
                rows = np.concatenate([frame, np.asarray(data["forces"].values[n], float)], 1)
            file.write(f"ITEM: TIMESTEP\n{n}\nITEM: NUMBER OF ATOMS\n{len(frame)}\n")
            file.write(f"ITEM: BOX BOUNDS pp pp pp\n{edges}ITEM: ATOMS {columns}\n")
            for i, row in enumerate(rows.tolist()):
                file.write(f"{i + 1} {number[i]} {' '.join(map(repr, row))}\n")
    (folder / "topol.xml").write_text(_topology_xml(topology))


def _topology_xml(topology: Topology) -> str:
    """Molecules that are all alike, one after the other."""
    size = int(np.sum(topology.molecule == topology.molecule[0]))
    count = topology.sites // size
    if topology.types != topology.types[:size] * count:
        raise ValueError("VOTCA is given molecules of one type only.")
    beads = "".join(
        f'<bead name="S{n}" type="{topology.types[n]}" mass="{topology.mass[n]:g}" q="0"/>'
        for n in range(size)
    )
    terms = ""
    for kind, table in topology.bonded().items():
        for name in table.kinds:
            own = [row for row in table.of(name).tolist() if max(row) < size]
            words = " ".join(f"MOL:S{n}" for row in own for n in row)
            terms += f"<{kind}><name>{name}</name><beads>{words}</beads></{kind}>"
    return (
        f'<topology><molecules><molecule name="MOL" nmols="{count}" nbeads="{size}">{beads}'
        f"</molecule></molecules>{f'<bonded>{terms}</bonded>' if terms else ''}</topology>"
    )


def run(folder: Path, *words: str) -> float:
    """Run a program of VOTCA; wall seconds."""
    began = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {(done.stderr or done.stdout)[-400:]}")
    return time.perf_counter() - began


TRAJECTORY = ("--top", "topol.xml", "--trj", "traj.dump")


def stat(folder: Path, bins: Sequence[Bins]) -> tuple[list[np.ndarray], float]:
    """Distributions of csg_stat on the data of a folder, in angstrom or radians, and its seconds."""
    (folder / "stat.xml").write_text(f"<cg>{''.join(b.xml('') for b in bins)}</cg>")
    seconds = run(folder, "csg_stat", *TRAJECTORY, "--options", "stat.xml")
    out = []
    for b in bins:
        values = _columns(folder / f"{b.name}.dist.new", b)[1]
        out.append(values if b.kind == "pair" else values * UNITS[b.kind])
    return out, seconds


@dataclass(frozen=True)
class Step:
    """What IMC is made of, bins of all interactions one after the other."""

    excess: np.ndarray  # (bin,), <S> - S_ref
    matrix: np.ndarray  # (bin, bin), minus the covariance of S
    update: np.ndarray  # (bin,), dU/kT
    seconds: float  # of csg_stat
    solve_seconds: float


def imc(folder: Path, bins: Sequence[Bins], targets: Sequence[np.ndarray], reg: float = 0) -> Step:
    """The step of IMC from the data of a folder to targets.

    :param targets: g(r) at the centres of each interaction's bins.
    :param reg: VOTCA's regularisation R.
    """
    _write_rows(folder, "dist.tgt", bins, targets)
    inside = "<inverse><target>{0}.dist.tgt</target><imc><group>all</group></imc></inverse>"
    text = "".join(b.xml(inside.format(b.name)) for b in bins)
    (folder / "imc.xml").write_text(f"<cg>{text}</cg>")
    words = ("--options", "imc.xml", "--do-imc", "--ext", "dist.imc")
    seconds = run(folder, "csg_stat", *TRAJECTORY, *words)
    files = ("-i", "all.imc", "-g", "all.gmc", "-n", "all.idx")
    solved = run(folder, "csg_imc_solve", "-r", f"{reg:g}", *files)
    order = [line.split()[0] for line in (folder / "all.idx").read_text().splitlines()]
    if order != [b.name for b in bins]:
        raise RuntimeError(f"VOTCA has the interactions in the order {order}.")
    update = [np.loadtxt(folder / f"{b.name}.dpot.imc", usecols=1) for b in bins]
    return Step(
        np.loadtxt(folder / "all.imc", usecols=1),
        np.loadtxt(folder / "all.gmc"),
        np.concatenate(update),
        seconds,
        solved,
    )


def fmatch(
    folder: Path, knots: Sequence[Bins], frames: int, out: int = 4
) -> tuple[list[tuple[np.ndarray, np.ndarray]], float]:
    """Forces of csg_fmatch, a block of all frames, constrained: ``q`` and ``-dU/dq`` of each.

    :param out: points of the output in a step.
    :return: angstrom or radians, kcal/mol per that unit; and the seconds.
    """
    block = f"<fmatch><constrainedLS>true</constrainedLS><frames_per_block>{frames}</frames_per_block></fmatch>"
    text = "".join(
        k.xml(f"<out_step>{k.width * UNITS[k.kind] / out:.12g}</out_step>", plain=False)
        for k in knots
    )
    (folder / "fmatch.xml").write_text(f"<cg>{block}{text}</cg>")
    seconds = run(folder, "csg_fmatch", *TRAJECTORY, "--options", "fmatch.xml", "--no-map")
    found = []
    for k in knots:
        q, f = _columns(folder / f"{k.name}.force", k)
        found.append((q, f * UNITS[k.kind] / CAL))
    return found, seconds


@dataclass(frozen=True)
class Splines:
    """Uniform cubic B-splines of csg_reupdate; angstrom."""

    cutoff: float
    width: float

    @property
    def knots(self) -> int:
        return round(self.cutoff / self.width) + 3

    def free(self, b: Bins, g: np.ndarray) -> slice:
        """Those that are optimised, among the first K - 4, where the model has this g(r)."""
        empty = np.flatnonzero(g[1:-1] < 1e-4)[-1] + 1
        return slice(int(b.centres[empty + 1] / self.width) + 1, self.knots - 4)


def reupdate(
    folder: Path,
    bins: Sequence[Bins],
    targets: Sequence[np.ndarray],
    form: Splines | float,
    kt: float,
) -> tuple[list[np.ndarray], float]:
    """The step of relative entropy from the data of a folder to targets, and its seconds.

    :param targets: g(r) at the centres of each pair's bins.
    :param form: splines, or the cut-off of Lennard-Jones potentials.
    :param kt: in the unit of the step.
    :return: coefficients of all splines, or C12 and C6, of each pair; angstrom.
    """
    splines = isinstance(form, Splines)
    cutoff, count = (form.cutoff, form.knots) if splines else (form, 2)
    stat(folder, bins)  # for .dist.new
    _write_rows(folder, "dist.tgt", bins, targets)
    zero = [np.zeros(count)] * len(bins)
    _write_rows(folder, "param.cur", [replace(b, count=count) for b in bins], zero)
    inside = "<function>lj126</function>"
    if splines:
        inside = f"<function>cbspl</function><cbspl><nknots>{count}</nknots></cbspl>"
    # The range that is asked for is that of the potential; its step is of the table that is written.
    span = f"<min>0</min><max>{cutoff * NM:.12g}</max><step>0.01</step>"
    text = ""
    for b in bins:
        types = "".join(f"<type{n}>{t}</type{n}>" for n, t in enumerate(b.types, 1))
        text += f"<non-bonded><name>{b.name}</name>{types}{span}<re>{inside}</re></non-bonded>"
    text += f"<inverse><kBT>{kt!r}</kBT><scale>1</scale></inverse>"
    (folder / "re.xml").write_text(f"<cg>{text}</cg>")
    seconds = run(folder, "csg_reupdate", *TRAJECTORY, "--options", "re.xml")
    found = [np.loadtxt(folder / f"{b.name}.param.new", usecols=1) for b in bins]
    return found if splines else [c / NM ** np.array([12, 6]) for c in found], seconds


def _write_rows(
    folder: Path, extension: str, bins: Sequence[Bins], columns: Sequence[np.ndarray]
) -> None:
    """Write a table of each interaction."""
    for b, values in zip(bins, columns, strict=True):
        rows = np.column_stack([b.centres * UNITS[b.kind], values]).tolist()
        text = "".join(f"{x!r} {y!r} i\n" for x, y in rows)
        (folder / f"{b.name}.{extension}").write_text(text)


def _columns(path: Path, b: Bins) -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(path, usecols=(0, 1))
    return table[:, 0] / UNITS[b.kind], table[:, 1]
