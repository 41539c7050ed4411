"""``bayescg map``: what is written, what is said, and that nothing is left of what fails."""

from hashlib import sha256
import json
from pathlib import Path
import tracemalloc

from click.testing import CliRunner, Result
import numpy as np
import pytest

from bayescg import io
from bayescg.cli import cli
from bayescg.io.map_file import load_map
from bayescg.workflow import map_trajectory
from tests import trajectories
from tests.trajectories import MAP, apart, write

FRAMES, COUNT = 6, 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``top.gro``, ``traj.trr`` with forces, ``plain.xtc`` without, and ``map.yaml``."""
    monkeypatch.chdir(tmp_path)
    x, forces = trajectories.molecules(FRAMES, COUNT)
    write("trr", tmp_path, x, forces)
    write("xtc", tmp_path, x, name="plain")
    (tmp_path / "map.yaml").write_text(MAP)
    for hidden in tmp_path.glob(".*"):  # left by whoever wrote them
        hidden.unlink()
    return tmp_path


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["map", *words])


def complaint(done: Result, code: int = 2) -> str:
    """The one line of an error."""
    assert done.exit_code == code, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bayescg: "), lines
    return lines[0].removeprefix("bayescg: ")


STANDARD = ["--top", "top.gro", "--map", "map.yaml", "-o", "data.nc"]


def test_a_trajectory_becomes_data(folder: Path) -> None:
    done = invoke("traj.trr", *STANDARD, "--json", "--progress")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["files"] == ["data.nc"] and answer["momentum_consistent"] is True
    assert (answer["frames"], answer["sites"], answer["forces"]) == (FRAMES, 2 * COUNT, True)
    assert any("top.gro has no masses" in m for m in answer["messages"])
    assert "map: 100%" in done.stderr and "note: top.gro has no masses" in done.stderr
    assert "The map is momentum consistent" in done.stderr
    x, forces = trajectories.molecules(FRAMES, COUNT)
    data = io.load("data.nc")
    assert apart(data["x"].values, trajectories.mapped(x, "mass")) < 1e-4
    np.testing.assert_allclose(data["forces"], trajectories.mapped(forces, None), atol=1e-4)
    for name, variable in data.variables.items():
        assert {"units", "long_name"} <= set(variable.attrs), name
    assert data["forces"].attrs["units"] == "kcal/mol/angstrom"
    assert data["mass"].attrs["units"] == "g/mol"
    attrs = data.attrs
    assert attrs["temperature"] == 300.0 and attrs["source"] == "traj.trr, top.gro"
    assert attrs["map"] == MAP and attrs["momentum_consistent"] == 1
    assert attrs["momentum_consistency"].startswith("The map is momentum consistent")
    wanted = {n: sha256(Path(n).read_bytes()).hexdigest() for n in ("traj.trr", "top.gro")}
    assert json.loads(attrs["sha256"]) == wanted
    assert {p.name for p in folder.iterdir()} == {
        "data.nc",
        "map.yaml",
        "plain.xtc",
        "top.gro",
        "traj.trr",
    }


def test_frames_are_chosen(folder: Path) -> None:
    x, _ = trajectories.molecules(FRAMES, COUNT)
    wanted = trajectories.mapped(x, "mass")
    words = ["--begin", "1", "--end", "5", "--stride", "2", "--forces", "no", "--quiet"]
    done = invoke("traj.trr", *STANDARD, *words)
    assert done.exit_code == 0 and done.output == ""
    data = io.load("data.nc")
    assert data.attrs["frames_read"] == "1:5:2" and "forces" not in data
    assert apart(data["x"].values, wanted[1:5:2]) < 1e-4
    done = invoke("traj.trr", "plain.xtc", *STANDARD, "--begin", "4", "--forces", "no")
    assert done.exit_code == 0, done.output
    assert apart(io.load("data.nc")["x"].values, wanted[[4, 5, *range(FRAMES)]]) < 0.01


def test_the_temperature_of_the_command_line_wins(folder: Path) -> None:
    assert invoke("plain.xtc", *STANDARD, "--temperature", "350").exit_code == 0
    assert io.load("data.nc").attrs["temperature"] == 350.0
    Path("map.yaml").write_text(MAP.replace("temperature: 300\n", ""))
    assert invoke("plain.xtc", *STANDARD, "--temperature", "310").exit_code == 0
    assert io.load("data.nc").attrs["temperature"] == 310.0


def test_a_mass_that_momenta_do_not_allow_is_said(folder: Path) -> None:
    short = "A: [C1, H1]"
    assert short in MAP
    long = "A: {atoms: [C1, H1], weights: equal, mass: total}"
    Path("map.yaml").write_text(MAP.replace(short, long))
    done = invoke("traj.trr", *STANDARD, "--json")
    assert done.exit_code == 0, done.output
    implied = 4.0 / (1.0 / 12.011 + 1.0 / 1.008)
    said = f"{COUNT} of {2 * COUNT} sites have another mass than the map implies (Eq. 27), site 0"
    assert said in done.stderr and f"{implied:.6f}"[:5] in done.stderr
    assert json.loads(done.stdout)["momentum_consistent"] is False
    data = io.load("data.nc")
    assert data.attrs["momentum_consistent"] == 0 and said in data.attrs["momentum_consistency"]
    np.testing.assert_allclose(data["mass"].values[0], 13.019, atol=2e-3)


BAD = [
    ("gone.xtc", "", "", "there is no file gone.xtc"),
    ("plain.xtc", "MOL:", "MOLE:", "'MOLE': select: 'resname MOLE' matches no atom of top.gro"),
    ("plain.xtc", "beads:", "bead:", "map.yaml, line 4: molecule 'MOL': unknown key 'bead'; did"),
    ("plain.xtc", "[C1, H1]", "[C1]", "atom 2 (H1 of MOL) for one; put them into beads, or say"),
    ("plain.xtc", "[C1, H1]", "[C1, H1, C2]", "atom 3 (C2 of MOL) is in the beads A and B"),
    ("plain.xtc", "[A, B]", "[A, C]", "map.yaml, line 7: bonds 'AB' names an unknown bead 'C'"),
    ("plain.xtc", "temperature: 300\n", "", "map.yaml has no temperature (K), and none is given"),
    ("plain.xtc --forces yes", "", "", "plain.xtc: frame 0 has no forces"),
    ("traj.trr plain.xtc", "", "", "plain.xtc: frame 0 has no forces"),
    ("plain.xtc --begin 6", "", "", "frames 6 to 6 are asked for; allowed are 0 to 6"),
    ("plain.xtc --end 7", "", "", "frames 0 to 7 are asked for; allowed are 0 to 6"),
    ("plain.xtc --stride 0", "", "", "the stride is 0; allowed are numbers from 1"),
    ("plain.xtc --temperature -1", "", "", "the temperature is -1; allowed are positive"),
    ("plain.xtc --temperature nan", "", "", "the temperature is nan; allowed are positive"),
    ("map.yaml", "", "", "map.yaml cannot be read as a trajectory"),
    ("plain.xtc --top traj.trr", "", "", "traj.trr has neither masses nor names or types of atoms"),
    ("plain.xtc --map gone.yaml", "", "", "there is no file gone.yaml"),
    ("plain.xtc --map plain.xtc", "", "", "plain.xtc is not text; a map is a YAML file"),
    ("plain.xtc -o plain.xtc", "", "", "it is also an input; give another name"),
    ("plain.xtc -o map.yaml", "", "", "it is also an input; give another name"),
    ("plain.xtc -o no/data.nc", "", "", "the folder"),
    ("plain.xtc --forces maybe", "", "", "'maybe' is not one of"),
]


@pytest.mark.parametrize(("words", "old", "new", "says"), BAD)
def test_bad_input(words: str, old: str, new: str, says: str, folder: Path) -> None:
    """One line, exit code 2, and an old file stays as it was."""
    assert old in MAP
    Path("map.yaml").write_text(MAP.replace(old, new))
    Path("data.nc").write_text("what was there before")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    trajectory, *rest = words.split(" --")[0].split(" -o")[0].split()
    extra = words.split()[1 + len(rest) :]
    message = complaint(invoke(trajectory, *rest, *STANDARD, *extra))
    assert says in message
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_file_cut_short_late_leaves_nothing(folder: Path) -> None:
    """Even where frames have been written already, from a whole file before."""
    data = Path("plain.xtc").read_bytes()
    Path("plain.xtc").write_bytes(data[: int(0.7 * len(data))])
    before = {p.name for p in folder.iterdir()}
    message = complaint(invoke("traj.trr", "plain.xtc", *STANDARD, "--forces", "no", "--quiet"))
    assert message.startswith("plain.xtc: frame 4") and "cut short" in message
    assert {p.name for p in folder.iterdir()} == before


def test_atoms_in_another_order_are_noticed(folder: Path) -> None:
    """A topology of as many atoms, whose neighbours are not neighbours."""
    x, _ = trajectories.molecules(2, COUNT)
    write("dcd", folder, x.reshape(2, COUNT, -1, 3).swapaxes(1, 2).reshape(2, -1, 3), name="mixed")
    done = invoke("mixed.dcd", *STANDARD)
    found = "the topology may be that of other atoms" in done.stderr
    assert found or "further apart than half the box" in done.stderr, done.output
    done = invoke("traj.trr", *STANDARD)
    assert "other atoms" not in done.stderr


def test_from_python(folder: Path) -> None:
    done = map_trajectory("traj.trr", "top.gro", load_map("map.yaml"), "data.nc", stride=5)
    assert (done.frames, done.sites, done.forces) == (2, 2 * COUNT, True)
    assert done.path == Path("data.nc") and done.consistency.holds
    assert io.load("data.nc").attrs["map"] == MAP
    with pytest.raises(ValueError, match="no trajectory file is given"):
        map_trajectory([], "top.gro", "map.yaml", "data.nc")


def peak(name: str) -> int:
    """Bytes that mapping a trajectory takes at most."""
    tracemalloc.start()
    map_trajectory(f"{name}.dcd", "top.gro", "map.yaml", "data.nc")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.slow
def test_memory_does_not_grow_with_length(folder: Path) -> None:
    """Ten times the frames: their mapped positions alone would be 6 MB more, the atoms' 39."""
    x, _ = trajectories.molecules(10, 150)
    for name, times in (("short", 20), ("long", 200)):
        write("dcd", folder, np.concatenate([x] * times), name=name)
    peak("short")  # imports and caches
    short, long = peak("short"), peak("long")
    assert io.load("data.nc").sizes["frame"] == 2_000
    assert long - short < 1_000_000
