"""The shipped data of molecules obey the contract, and positions, forces and temperature go together."""

import hashlib
from pathlib import Path
import re
import shutil

import numpy as np
import pytest
from scipy.spatial import cKDTree
import xarray as xr

import bayescg as cg
from bayescg import io
from bayescg.files import read_netcdf
from bayescg.io.map_file import load_map
from bayescg.io.targets import load_targets
from bayescg.observables import BondedDistribution, TypedRadialDistribution, blocked_error
from bayescg.potentials import classes_of
from bayescg.topology import topology_of
from bayescg.units import BOLTZMANN, mass_density
from bayescg.workflow.mapping import map_trajectory

DATA = Path(__file__).parents[2] / "data"
HEXANE, WATER = DATA / "hexane", DATA / "spce_water"
FRAMES = (HEXANE / "frames.nc", WATER / "frames_512.nc")
METHANOL = DATA / "methanol"
TARGETS = (HEXANE / "long_run.nc", WATER / "long_run_512.nc")
RANGE = 6.0  # angstrom, of the pairs whose virial is looked at


def relative(path: Path) -> str:
    return str(path.relative_to(DATA))


def nearest(d: np.ndarray, data: xr.Dataset) -> np.ndarray:
    box = data["box"].values
    image: np.ndarray = d - box * np.round(d / box)
    return image


@pytest.mark.parametrize("path", (*FRAMES, *TARGETS, METHANOL / "frames.nc"), ids=relative)
def test_files_are_labelled(path: Path) -> None:
    data = read_netcdf(path).to_dataset()
    for name, variable in data.variables.items():
        assert variable.attrs.get("units") and variable.attrs.get("long_name"), name
    assert data.attrs["temperature"] == 300.0
    name = path.parent.name
    assert data.attrs["source"].startswith((f"data/{name}/make", f"bayescg reference {name}:"))
    assert "sha256" in data.attrs
    paths = [v for k, v in data.attrs.items() if k != "map" and re.search(r"(^|[^\w.])/\w", str(v))]
    assert not paths, "files name no folders of the machine that made them"
    assert path.stat().st_size < 6e6


@pytest.mark.parametrize("folder", [HEXANE, WATER, METHANOL], ids=relative)
def test_checksums_in_readme(folder: Path) -> None:
    listed = dict(
        re.findall(r"`([\w.]+)` *\| *`([0-9a-f]{64})`", (folder / "README.md").read_text())
    )
    shipped = {p.name for p in folder.iterdir() if p.suffix in (".nc", ".gro", ".trr")}
    assert set(listed) == shipped
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_hexane_is_three_beads() -> None:
    data = io.load(FRAMES[0])
    topology = topology_of(data)
    assert topology.types == ("A", "B", "A") * 64
    np.testing.assert_allclose(topology.mass, [29.062, 28.054, 29.062] * 64)
    np.testing.assert_array_equal(topology.molecule, np.repeat(np.arange(64), 3))
    assert topology.bond.kinds == ("AB",) and len(topology.bond) == 128
    assert topology.angle.kinds == ("ABA",) and len(topology.angle) == 64
    assert not len(topology.dihedral)
    within = {(3 * m + i, 3 * m + j) for m in range(64) for i, j in ((0, 1), (0, 2), (1, 2))}
    assert {tuple(sorted(pair)) for pair in topology.exclusion.tolist()} == within
    assert mass_density(topology.mass.sum(), np.prod(data["box"].values)) == pytest.approx(
        0.653, abs=1e-3
    )
    i, j = topology.bond.members.T
    length = np.linalg.norm(nearest(data["x"].values[:, i] - data["x"].values[:, j], data), axis=-1)
    assert 1.8 < length.min() and length.max() < 3.4
    assert 400 <= data.sizes["frame"] <= 1000


def test_water_is_one_bead() -> None:
    data = io.load(FRAMES[1])
    topology = topology_of(data)
    assert topology.types == ("W",) * 512 and not len(topology.exclusion)
    density = mass_density(topology.mass.sum(), np.prod(data["box"].values))
    assert density == pytest.approx(0.998, abs=1e-3)
    assert 100 <= data.sizes["frame"] <= 200


@pytest.mark.parametrize("path", FRAMES, ids=relative)
def test_forces_belong_to_positions(path: Path) -> None:
    r"""The temperature by forces, from :math:`\langle F\cdot v\rangle = -k_BT\langle\nabla\cdot v\rangle`.

    It holds for any displacement v of whole beads; here v draws together near pairs. A false
    failure has a chance of 6e-5.
    """
    data = io.load(path)
    x, forces = (data[name].values.astype(float) for name in ("x", "forces"))
    assert x.dtype == float and data["forces"].dtype == np.float32
    edge = float(data["box"].values[0])
    skip = {tuple(sorted(pair)) for pair in topology_of(data).exclusion.tolist()}
    work, divergence = [], []
    for at, f in zip(x, forces, strict=True):
        pairs = cKDTree(np.mod(at, edge), boxsize=edge).query_pairs(RANGE) - skip
        i, j = np.array(list(pairs)).T
        d = nearest(at[i] - at[j], data)
        part = np.sum(d * d, -1) / RANGE**2
        work.append(np.sum((f[i] - f[j]) * d * ((1.0 - part) ** 2)[:, None]))
        divergence.append(2.0 * np.sum(3.0 * (1.0 - part) ** 2 - 4.0 * (1.0 - part) * part))
    left = np.array(work) + BOLTZMANN * 300.0 * np.array(divergence)
    error = float(blocked_error(left))
    assert abs(left.mean()) < 4.0 * error
    assert error < 0.05 * BOLTZMANN * 300.0 * abs(np.mean(divergence))  # 15 K
    np.testing.assert_allclose(forces.sum(1), 0.0, atol=0.05 * forces.std())


def test_hexane_bonds_have_the_temperature() -> None:
    """As above, v being the vector of a bond: the mean of F times it is -3 kT."""
    data = io.load(FRAMES[0])
    x, forces = (data[name].values.astype(float) for name in ("x", "forces"))
    i, j = topology_of(data).bond.members.T
    bond = nearest(x[:, i] - x[:, j], data)
    for end in (np.sum(forces[:, i] * bond, -1), -np.sum(forces[:, j] * bond, -1)):
        kelvin = end.mean(1) / (-3.0 * BOLTZMANN)
        error = float(blocked_error(kelvin))
        assert abs(kelvin.mean() - 300.0) < 4.0 * error < 150.0


def test_hexane_targets() -> None:
    """What the frames show lies around the targets, and the noise is what the issue allows."""
    targets = load_targets(TARGETS[0])
    table = targets.distributions
    assert targets.count == {"A": 128, "B": 64}
    names = {"rdf_A_A", "rdf_A_B", "rdf_B_B", "bond_AB", "angle_ABA"}
    assert {str(n) for n in table.data_vars if not str(n).endswith("_se")} == {
        *names,
        "box",
        "count",
    }
    data = io.load(FRAMES[0])
    classes = classes_of(topology_of(data), topology_of(data).pairs)
    box = data["box"].values
    measured = [TypedRadialDistribution(0.1, 12.0, "pairs", classes, n) for n in classes.names]
    members = classes.members
    measured += [
        BondedDistribution("bond", "AB", members["bond", "AB"], 0.02, 1.9, 3.3),
        BondedDistribution("angle", "ABA", members["angle", "ABA"], 2.0, 0.0, 180.0),
    ]
    ours = cg.observe(data, [o.in_box(box) for o in measured])
    for name in sorted(names):
        gap = ours[name].values - table[name].values
        error = np.hypot(ours[f"{name}_se"].values, table[f"{name}_se"].values)
        seen = error > 0
        assert seen.sum() > 20
        # The frames are part of the long run, which brings them closer than that.
        assert np.sqrt(np.mean((gap[seen] / error[seen]) ** 2)) < 1.2, name
        if name.startswith("rdf"):
            assert np.sqrt(np.mean(table[f"{name}_se"].values ** 2)) < 0.01
            assert table[name].attrs["norm"] == "pairs"
            assert table[name].values[-20:].mean() == pytest.approx(1.0, abs=0.05)
        else:
            width = np.diff(table[table[name].dims[0]].values)[0]
            assert table[name].values.sum() * width == pytest.approx(1.0, abs=1e-4)


def test_water_targets() -> None:
    targets = load_targets(TARGETS[1])
    assert targets.count == {"W": 512}
    table, data = targets.distributions, io.load(FRAMES[1])
    np.testing.assert_array_equal(table["rdf_W_W"].values, data["rdf"].values)
    error = table["rdf_W_W_se"].values
    assert np.sqrt(np.mean(error**2)) < 0.004
    g, r = table["rdf_W_W"].values, table["r"].values
    assert r[np.argmax(g)] == pytest.approx(2.75, abs=0.05) and 2.8 < g.max() < 3.3
    assert r[-1] == pytest.approx(11.975)


def test_atoms_map_to_the_frames(tmp_path: Path) -> None:
    """By the shipped map, and by plain NumPy."""
    pytest.importorskip("MDAnalysis")
    import MDAnalysis as mda

    out = tmp_path / "mapped.nc"
    # Readers of TRR files leave an index beside them.
    gro, trr = (shutil.copy(HEXANE / name, tmp_path) for name in ("hexane.gro", "hexane.trr"))
    done = map_trajectory(trr, gro, HEXANE / "hexane.yaml", out)
    assert done.frames == 5 and done.forces and done.consistency.holds
    mapped, shipped = io.load(out), io.load(FRAMES[0]).isel(frame=slice(5))
    gap = nearest(mapped["x"].values - shipped["x"].values, shipped)
    np.testing.assert_allclose(gap, 0.0, atol=2e-5)
    np.testing.assert_allclose(mapped["forces"].values, shipped["forces"].values, atol=1e-4)
    for name in ("type", "bond", "angle", "exclusion", "bond_type", "angle_type"):
        np.testing.assert_array_equal(mapped[name].values, shipped[name].values)
    assert load_map(HEXANE / "hexane.yaml").temperature == 300.0
    u = mda.Universe(str(gro), str(trr))
    masses = np.where([name.startswith("C") for name in u.atoms.names[:20]], 12.011, 1.008)
    beads = (slice(0, 7), slice(7, 13), slice(13, 20))
    for k, _ in enumerate(u.trajectory):
        x = u.atoms.positions.reshape(64, 20, 3).astype(float)
        f = u.atoms.forces.reshape(64, 20, 3) / 4.184
        centres = [np.average(x[:, b], axis=1, weights=masses[b]) for b in beads]
        gap = nearest(np.stack(centres, 1).reshape(-1, 3) - shipped["x"].values[k], shipped)
        np.testing.assert_allclose(gap, 0.0, atol=2e-5)
        sums = np.stack([f[:, b].sum(1) for b in beads], 1).reshape(-1, 3)
        np.testing.assert_allclose(sums, shipped["forces"].values[k], atol=1e-4)
