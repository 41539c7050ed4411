"""Exported models in OpenMM: energies, forces, and the script as it is written."""

from dataclasses import replace
from pathlib import Path
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.io.export import ExportModel, Interaction, write_models
from bayescg.potentials import ParticlePotential
from bayescg.topology import Topology
from bayescg.units import KCAL
from tests.exports import EDGE, chains, energies_and_forces, places
from tests.liquids import SITES, liquid, water

openmm = pytest.importorskip("openmm")
app = pytest.importorskip("openmm.app")


def by_openmm(
    model: ExportModel, x: np.ndarray, folder: Path
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Energies (kcal/mol) and forces of ``x (frame, site, axis)``, and the system as it was read."""
    write_models({".": model}, "openmm", folder)
    system = openmm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    energies, forces = [], []
    for frame in x:
        context.setPositions(0.1 * frame)
        state = context.getState(getEnergy=True, getForces=True)
        unit = openmm.unit.kilojoule_per_mole
        energies.append(state.getPotentialEnergy().value_in_unit(unit) / KCAL)
        of = state.getForces(asNumpy=True).value_in_unit(unit / openmm.unit.angstrom)
        forces.append(of / KCAL)
    return np.array(energies), np.array(forces), system


def check(found: tuple[Any, ...], u: np.ndarray, f: np.ndarray) -> None:
    """To 1e-4 of each energy, and of the size of the forces."""
    np.testing.assert_allclose(found[0], u, rtol=1e-4)
    np.testing.assert_allclose(found[1], f, atol=1e-4 * np.sqrt(np.mean(f**2)))


@pytest.mark.parametrize("case", [{}, {"excluded": 0}, {"excluded": 2, "extra": True}])
def test_chains(case: dict[str, Any], tmp_path: Path) -> None:
    """Two types, bonds, angles, dihedrals and exclusions; molecules broken by the box."""
    model = chains(**case)
    x = np.stack([places(seed=s) for s in range(2)])
    u, f = energies_and_forces(model, x)
    shifts = EDGE * np.random.default_rng(0).integers(-1, 2, x.shape)
    found = by_openmm(model, x + shifts, tmp_path / "out")
    check(found, u, f)
    np.testing.assert_allclose(
        [found[2].getParticleMass(k)._value for k in range(4)], [28.0, 44.0, 28.0, 44.0]
    )


def test_parts_alone(tmp_path: Path) -> None:
    """Each kind without the others, and one pair of types of three."""
    model = chains()
    x = np.stack([places(seed=s) for s in range(2)])
    for kind in ("pair", "bond", "angle", "dihedral"):
        part = replace(model, interactions=model.of(kind))
        check(by_openmm(part, x, tmp_path / kind), *energies_and_forces(part, x))
    for i in model.of("pair"):
        part = replace(model, interactions=(i,))
        check(by_openmm(part, x, tmp_path / i.name), *energies_and_forces(part, x))


def particles(p: ParticlePotential, x: np.ndarray) -> ExportModel:
    """A model of like sites."""

    compiled = jax.jit(lambda r: p.pair_energy(r))

    def energy(r: np.ndarray) -> np.ndarray:
        return np.asarray(compiled(jnp.asarray(r)))

    sites = len(x)
    topology = Topology(("W",) * sites, np.full(sites, 18.01), np.arange(sites))
    pair = Interaction("pair", "W_W", ("W", "W"), energy, (2.2, p.cutoff), p.cutoff)
    return ExportModel(topology, np.array(p.box), 300.0, x, (pair,), three_body=p.three_body)


def test_three_body(tmp_path: Path) -> None:
    """Lennard-Jones, waves, a core, and the Stillinger-Weber term over them."""
    p = water()
    x = liquid(SITES, 2).transpose(2, 1, 0)
    both = jax.jit(jax.value_and_grad(lambda x: p(x)))
    u, f = zip(*((float(a), -np.asarray(b)) for a, b in map(both, jnp.asarray(x))), strict=True)
    check(by_openmm(particles(p, x[0]), x, tmp_path / "out"), np.array(u), np.array(f))
    without = replace(particles(p, x[0]), three_body=None)
    assert np.all(np.array(u) > 1.01 * by_openmm(without, x, tmp_path / "pairs")[0])


def test_sites_that_overlap_are_pushed_apart(tmp_path: Path) -> None:
    frames = np.zeros((5, 2, 3))
    frames[:, 0, 0] = (1e-3, 0.1, 0.5, 1.0, 2.0)
    model = particles(water(three_body=False), frames[-1])
    u, f, _ = by_openmm(model, frames, tmp_path / "out")
    assert np.isfinite(u).all() and np.all(np.diff(u) < 0.0)
    assert np.all(f[:, 0, 0] > 100.0) and np.isfinite(f).all()


def test_the_script_runs_as_it_is(tmp_path: Path) -> None:
    """From the start of its PDB file, whose molecules are whole."""
    model = chains()
    write_models({".": model}, "openmm", tmp_path / "out")
    start = app.PDBFile(str(tmp_path / "out" / "start.pdb"))
    x = start.getPositions(asNumpy=True).value_in_unit(openmm.unit.angstrom)
    assert len(x) == 36 and len({r.id for r in start.topology.residues()}) == 6
    i, j = model.topology.bond.members.T
    assert np.linalg.norm(x[i] - x[j], axis=1).max() < 3.5
    d = x - model.x
    np.testing.assert_allclose(d - EDGE * np.round(d / EDGE), 0.0, atol=1e-3)
    words = [sys.executable, "run.py", "--steps", "1000", "--platform", "Reference"]
    done = subprocess.run(
        words, cwd=tmp_path / "out", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    last = (tmp_path / "out" / "log.csv").read_text().splitlines()[-1].split(",")
    assert last[0] == "1000" and 150.0 < float(last[2]) < 600.0
    assert (tmp_path / "out" / "trajectory.dcd").stat().st_size > 36 * 12


def test_an_export_needs_no_openmm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmm", None)
    assert "system.xml" in write_models({".": chains()}, "openmm", tmp_path / "out")
