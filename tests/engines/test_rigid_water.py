"""Rigid water: the shape of a molecule, conditions of a run, and short runs with OpenMM."""

from dataclasses import replace
import sys
from typing import Any

import numpy as np
import pytest

from bayescg.engines import rigid_water
from bayescg.engines.rigid_water import (
    RigidWater,
    Run,
    _lattice,
    _scaled,
    simulate,
    trajectory,
)

#: 27 molecules at the density of Appendix B.1.1, in a box that holds twice a short cut-off.
SMALL = Run(
    molecules=27,
    box=9.401,
    cutoff=4.5,
    timestep=1.0,
    equilibration=1.0,
    length=0.2,
    interval=0.05,
)


def small(**changes: object) -> Run:
    return replace(SMALL, **changes)


def check_shape(molecules: np.ndarray, water: RigidWater) -> None:
    """Of ``(molecule, 3, 3)`` angstrom: two arms and the angle between them."""
    arms = molecules[:, 1:] - molecules[:, :1]
    np.testing.assert_allclose(np.linalg.norm(arms, axis=-1), water.length, rtol=1e-12)
    cosine = np.einsum("mj,mj->m", arms[:, 0], arms[:, 1]) / water.length**2
    np.testing.assert_allclose(np.rad2deg(np.arccos(cosine)), water.angle, rtol=1e-10)


def test_one_molecule() -> None:
    """SPC/E: 1 angstrom, the tetrahedral angle, neutral, 18.0099 g/mol."""
    water = RigidWater()
    check_shape(water.shape()[None], water)
    assert water.masses.sum() == pytest.approx(18.00988)
    np.testing.assert_array_equal(water.masses, [15.994, 1.00794, 1.00794])
    check_shape(
        RigidWater(length=0.9572, angle=104.52).shape()[None],
        RigidWater(length=0.9572, angle=104.52),
    )


def test_start_on_a_lattice() -> None:
    """Whole molecules in all of its places, turned each in its own way."""
    atoms = _lattice(SMALL, RigidWater(), np.random.default_rng(0))
    assert atoms.shape == (81, 3)
    molecules = atoms.reshape(27, 3, 3)
    check_shape(molecules, RigidWater())
    places = np.unique(np.round(molecules[:, 0] / (SMALL.box / 3)), axis=0)
    assert len(places) == 27 and places.min() == 0.0 and places.max() == 2.0
    ways = molecules[:, 1] - molecules[:, 0]
    assert len(np.unique(np.round(ways, 6), axis=0)) == 27
    assert np.linalg.norm(ways.mean(0)) < 0.6


def test_a_box_that_changes_leaves_molecules_whole() -> None:
    water = RigidWater()
    atoms = _lattice(SMALL, water, np.random.default_rng(0))
    wider = _scaled(atoms, 1.1, water).reshape(27, 3, 3)
    check_shape(wider, water)
    before = np.einsum("a,maj->mj", water.masses, atoms.reshape(27, 3, 3))
    after = np.einsum("a,maj->mj", water.masses, wider)
    np.testing.assert_allclose(after, 1.1 * before, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 4.8}, r"cut-off 4\.8 angstrom must be below half the box, 4\.7005"),
        ({"temperature": -300.0}, r"temperature must be positive, got -300\.0"),
        ({"temperature": float("nan")}, "temperature must be positive, got nan"),
        ({"molecules": 0}, "molecules must be positive, got 0"),
        ({"box": 0.0}, "box must be positive"),
        ({"timestep": 0.0}, "timestep must be positive"),
        ({"collision_rate": -1.0}, "collision_rate must be positive"),
        ({"pressure": 0.0}, "pressure must be positive"),
        ({"npt": -1.0}, "must not be negative"),
        ({"equilibration": -1.0}, "must not be negative"),
        ({"interval": 0.3}, r"between the time step and the length of the run, got 0\.3 ps"),
        ({"interval": 1e-4}, "between the time step and the length of the run"),
    ],
)
def test_conditions_that_cannot_be(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_without_openmm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra, and that the rest works."""
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'bayescg\[reference\]'"):
        simulate(SMALL, seed=0)


@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_a_short_run(thermostat: str) -> None:
    """Frames of centres inside the box, which move little from one to the next."""
    pytest.importorskip("openmm")
    told: list[tuple[str, float]] = []
    frames, box = simulate(small(thermostat=thermostat), seed=1, progress=lambda *a: told.append(a))
    assert frames.shape == (4, 27, 3) and frames.dtype == np.float32
    assert box == SMALL.box
    assert np.all((frames >= 0.0) & (frames < box))
    step = np.diff(frames, axis=0)
    step -= box * np.round(step / box)
    assert 0.02 < np.sqrt(np.mean(step**2)) < 0.5  # 3.7 angstrom/ps, for 0.05 ps
    for frame in frames:
        d = frame[:, None] - frame
        r = np.linalg.norm(d - box * np.round(d / box), axis=-1) + 9.0 * np.eye(27)
        assert 2.2 < r.min() < 2.9
    assert [stage for stage, _ in told] == ["equilibration"] + ["production"] * 4
    np.testing.assert_allclose([done for _, done in told], [1.0, 0.25, 0.5, 0.75, 1.0])
    if thermostat == "langevin":
        others, _ = simulate(small(thermostat=thermostat), seed=2)
        assert np.all(np.any(others != frames, (1, 2)))


def test_forces_on_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over the sites of each molecule, against OpenMM in double precision."""
    mm = pytest.importorskip("openmm")
    made = []
    original = rigid_water._context

    def kept(*args: Any, **options: Any) -> Any:
        made.append(original(*args, **options))
        return made[-1]

    monkeypatch.setattr(rigid_water, "_context", kept)
    frames = list(trajectory(SMALL, seed=1, forces=True))
    x, forces = np.stack([f.x for f in frames]), np.stack([f.forces for f in frames])
    assert x.shape == forces.shape == (4, 27, 3) and forces.dtype == np.float32
    np.testing.assert_allclose(forces.sum(1), 0.0, atol=0.02 * np.std(forces))
    context, _ = made[0]
    state = context.getState(getPositions=True)
    atoms = np.asarray(state.getPositions(asNumpy=True)._value).reshape(27, 3, 3)
    exact = mm.Context(
        context.getSystem(),
        mm.VerletIntegrator(0.001),
        mm.Platform.getPlatformByName("Reference"),
    )
    exact.setPositions(atoms.reshape(-1, 3))
    state = exact.getState(getForces=True)
    on_sites = np.asarray(state.getForces(asNumpy=True)._value).reshape(27, 3, 3) / 41.84
    # PME is right to 5e-4 of the forces on sites, root mean square, and three of them are summed.
    gap = forces[-1] - on_sites.sum(1)
    assert np.sqrt(np.mean(gap**2)) < np.sqrt(3.0) * 5e-4 * np.std(on_sites)
    assert np.std(on_sites.sum(1)) > 0.1 * np.std(on_sites)
    assert frames[0].box == SMALL.box


def test_constant_pressure_sets_the_box() -> None:
    pytest.importorskip("openmm")
    stages: list[str] = []
    frames, box = simulate(
        small(npt=3.0, cutoff=4.0, length=0.05),
        seed=3,
        progress=lambda stage, done: stages.append(stage),
    )
    assert stages[0] == "constant pressure"
    assert box != SMALL.box and 8.5 < box < 10.5
    assert frames.shape == (1, 27, 3) and np.all((frames >= 0.0) & (frames < box))
