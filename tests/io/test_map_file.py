"""Map files: what they may say, and what is made of them with atoms."""

from pathlib import Path
import re

import numpy as np
import pytest

from bayescg.io.map_file import (
    _BEAD,
    _MAP,
    _MOLECULE,
    BeadSpec,
    MapSpec,
    MoleculeSpec,
    TermSpec,
    load_map,
    map_text,
    parse_map,
)
from bayescg.io.map_sites import MappedSites, map_sites
from bayescg.io.trajectories import Trajectory
from tests import trajectories
from tests.trajectories import MASSES, SIZE, write

FULL = """\
# hexane in water
temperature: 298.15
masses: {HO: 2.014}
ignore: resname SOL
molecules:
  HEX:
    select: resname HEX HXY
    split: fragment
    beads:
      A1: {type: A, atoms: [C1, NO, ON], weights: [12, 1, 1], force_weights: [1, 0, 0]}
      B: {atoms: name C2 H2, weights: equal, mass: 14.5}
      A2: {type: A, numbers: [7, 9-11], mass: total}
    bonds: {AB: [[A1, B], [A2, B]]}
    angles:
      ABA: [A1, B, A2]
    exclusions: [[A1, B]]
    unmapped: allowed
    shared: [C1]
  ION:
    beads: {I: all}
    exclusions: none
"""
HEX = MoleculeSpec(
    "HEX",
    "resname HEX HXY",
    (
        BeadSpec("A1", "A", ("C1", "NO", "ON"), (12.0, 1.0, 1.0), (1.0, 0.0, 0.0)),
        BeadSpec("B", "B", "name C2 H2", "equal", mass=14.5),
        BeadSpec("A2", "A", (7, 9, 10, 11), mass="total"),
    ),
    "fragment",
    bonds=(TermSpec("AB", ("A1", "B")), TermSpec("AB", ("A2", "B"))),
    angles=(TermSpec("ABA", ("A1", "B", "A2")),),
    exclusions=(("A1", "B"),),
    unmapped=True,
    shared=("C1",),
)
ION = MoleculeSpec("ION", "resname ION", (BeadSpec("I", "I", "all"),), exclusions=0)


def test_everything_that_may_be_said() -> None:
    found = parse_map(FULL, "map.yaml")
    wanted = MapSpec((HEX, ION), "resname SOL", 298.15, (("HO", 2.014),), "map.yaml", FULL)
    assert found == wanted


def test_water_takes_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "water.yaml"
    path.write_text("temperature: 300\nmolecules:\n  SOL:\n    beads: {W: all}\n")
    (water,) = load_map(path).molecules
    assert water == MoleculeSpec("SOL", "resname SOL", (BeadSpec("W", "W", "all"),))


@pytest.mark.parametrize("molecules", [(HEX, ION), (ION,)])
def test_a_map_is_written_and_read_back(molecules: tuple[MoleculeSpec, ...]) -> None:
    spec = MapSpec(molecules, "resname SOL", 298.15, (("HO", 2.014),))
    read = parse_map(map_text(spec))
    assert read.molecules == spec.molecules
    assert (read.ignore, read.temperature, read.masses) == ("resname SOL", 298.15, spec.masses)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("molecules:", "molecule:", "line 5: the map: unknown key 'molecule'; did you mean 'molec"),
        ("split:", "splt:", "line 8: molecule 'HEX': unknown key 'splt'; did you mean 'split'"),
        ("force_weights", "forces", "line 10: bead 'A1': unknown key 'forces'"),
        ("B: {atoms", "A1: {atoms", "line 11: 'A1' is there twice; each may come once"),
        ("  ION:", "  HEX:", "line 19: 'HEX' is there twice"),
        ("[A2, B]", "[A2, C]", "line 13: bonds 'AB' names an unknown bead 'C'; known: A1, B, A2"),
        ("[A2, B]", "[B, A1]", "line 6: molecule 'HEX': bonds 'A1-B' is there twice"),
        ("[A2, B]", "[A2, A2]", "line 13: bonds 'AB': .* names one bead twice"),
        ("[A1, B, A2]", "[A1, B]", "line 15: angles 'ABA': .* are not the names of 3 beads"),
        ("AB: [[", "A B: [[", "line 13: bonds 'A B' is no name"),
        ("[[A1, B]]\n", "[[A1, X]]\n", "line 16: exclusions names an unknown bead 'X'"),
        ("exclusions: none", "exclusions: all", "line 21: exclusions is 'all'; allowed are none"),
        ("weights: equal", "weights: even", "line 11: bead 'B': weights is 'even'; allowed are"),
        (
            "[12, 1, 1]",
            "[12, 1]",
            "line 10: bead 'A1': weights are 2 numbers; allowed is one for e",
        ),
        ("[12, 1, 1]", "[12, 1, 0]", "line 10: bead 'A1': a weight is 0; allowed are positive"),
        ("[12, 1, 1]", "[12, 1, -1]", "line 10: bead 'A1': a weight is -1; allowed are positive"),
        (
            "[12, 1, 1]",
            "[12, 1, x]",
            "line 10: an entry of bead 'A1': weights is 'x'; allowed are n",
        ),
        ("[1, 0, 0]", "[0, 0, 0]", "line 10: bead 'A1': force_weights are .* a positive sum"),
        ("mass: 14.5", "mass: 0", "line 11: bead 'B': mass is 0; allowed are positive"),
        ("mass: 14.5", "mass: heavy", "line 11: bead 'B': mass is 'heavy'; allowed are numbers"),
        ("mass: total", "mass: nan", "line 12: bead 'A2': mass is nan; allowed are positive"),
        ("type: A, numbers", "type: A b, numbers", "line 12: bead 'A2': type 'A b' is no name"),
        ("9-11", "11-9", "line 12: bead 'A2': numbers names '11-9'; allowed are ranges"),
        ("9-11", "x", "line 12: bead 'A2': numbers names 'x'; allowed are 1, 2"),
        ("9-11", "7", "line 12: bead 'A2': atom 7 is there twice"),
        ("[7, 9-11]", "0", "line 12: bead 'A2': atom number 0; allowed are numbers from 1"),
        ("numbers: [7, 9-11], ", "", "line 12: bead 'A2' needs either atoms .* or numbers"),
        ("ON]", "NO]", "line 10: bead 'A1': atom 'NO' is there twice"),
        ("fragment", "chain", "line 6: molecule 'HEX': split is 'chain'; allowed are residue, fr"),
        ("fragment", "0", "line 6: molecule 'HEX': split is 0; allowed are numbers from 1"),
        ("unmapped: allowed", "unmapped: yes", "line 17: molecule 'HEX': unmapped must be allowed"),
        ("298.15", "-3", "line 2: temperature is -3; allowed are positive"),
        ("298.15", "warm", "line 2: temperature is 'warm'; allowed are numbers"),
        ("2.014", "0", "line 2: mass of atom 'HO' is 0; allowed are positive"),
        ("{I: all}", "all", "line 20: molecule 'ION': beads must be keys with values"),
        ("{I: all}", "{}", "line 19: molecule 'ION' has no beads"),
        ("    beads: {I: all}\n", "", "line 19: molecule 'ION' has no beads"),
        ("{I: all}", "{I: [}", "line 20: this is no YAML"),
        ("{I: all}", "{[I]: all}", "line 20: a key is a sequence; allowed are names"),
        ("{I: all}", "&b {I: *b}", "nested too deeply"),
    ],
)
def test_what_may_not_be_said(old: str, new: str, says: str) -> None:
    assert old in FULL
    with pytest.raises(ValueError, match=rf"^map.yaml.*{says}") as caught:
        parse_map(FULL.replace(old, new, 1), "map.yaml")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone.yaml"):
        load_map(tmp_path / "gone.yaml")
    path = tmp_path / "map.yaml"
    for content, says in (
        (b"", "is empty"),
        (b"temperature: 300", "line 1: the map has no molecules"),
        (b"[a, b]", "line 1: the map must be keys with values"),
        (b"\xff\xfe\x00", "is not text"),
        (b"molecules: {}", "line 1: the map has no molecules"),
        (b"a: \x01", "this is no YAML"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path.name}.*{says}"):
            load_map(path)


def test_a_file_that_repeats_itself_costs_nothing() -> None:
    """Aliases of aliases would be a billion entries."""
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 12)]
    with pytest.raises(ValueError, match="unknown key 'a0'"):
        parse_map("\n".join(lines))


def sites(text: str, folder: Path, kind: str = "dcd", count: int = 3) -> MappedSites:
    x, _ = trajectories.molecules(1, count)
    top, path = write(kind, folder, x)
    spec = parse_map(text, "map.yaml")
    return map_sites(spec, Trajectory(top, [path], dict(spec.masses)))


def one(beads: str, more: str = "") -> str:
    """A map of the molecules of the tests, C1 H1 C2 H2 O1 HO each."""
    return f"molecules:\n  MOL:\n    beads: {{{beads}}}\n{more}"


def coefficients(found: MappedSites) -> tuple[np.ndarray, np.ndarray]:
    """Of the first molecule, dense: ``c`` and ``d / c``, ``(site, atom)``."""
    n = found.topology.molecule.tolist().count(0)
    c, f = found.restriction.matrix.toarray(), found.restriction.force_matrix.toarray()
    return c[:n, :SIZE], f[:n, :SIZE]


def test_weights(tmp_path: Path) -> None:
    beads = "A: {atoms: [H1, C1], weights: [1, 3]}, B: {atoms: name C2 H2, weights: equal}, C: name O1 HO"
    c, f = coefficients(sites(one(beads), tmp_path))
    m = MASSES[4:] / MASSES[4:].sum()
    wanted = [[0.75, 0.25, 0, 0, 0, 0], [0, 0, 0.5, 0.5, 0, 0], [0, 0, 0, 0, *m]]
    np.testing.assert_allclose(c, wanted, atol=1e-4)
    np.testing.assert_allclose(f, np.array(wanted) > 0, rtol=1e-13)


def test_masses_of_beads(tmp_path: Path) -> None:
    beads = (
        "A: [C1, H1], B: {atoms: name C2 H2, weights: equal}, C: {atoms: [O1], mass: total}, "
        "D: {atoms: [HO], mass: 2.5}"
    )
    found = sites("masses: {HO: 2.0, C2: 12.0, H2: 1.0}\n" + one(beads), tmp_path)
    wanted = [MASSES[:2].sum(), 4.0 / (1 / 12 + 1), MASSES[4], 2.5]
    np.testing.assert_allclose(found.topology.mass[:4], wanted, atol=2e-3)
    assert found.topology.sites == 12


def test_shared_atoms(tmp_path: Path) -> None:
    """The force on a bead comes from the atoms that it has alone, as much as they weigh."""
    beads = "A: {atoms: [C1, H1, C2], weights: equal}, B: {atoms: [C2, H2, O1, HO], weights: equal}"
    with pytest.raises(
        ValueError, match=r"atom 3 \(C2 of MOL\) is in the beads A and B; allowed is"
    ):
        sites(one(beads), tmp_path)
    for shared in ("[C2]", "name C2"):
        found = sites(one(beads, f"    shared: {shared}\n"), tmp_path)
        c, f = coefficients(found)
        np.testing.assert_allclose(f[0], [1.5, 1.5, 0, 0, 0, 0], rtol=1e-13)
        np.testing.assert_allclose(f[1], [0, 0, 0, 4 / 3, 4 / 3, 4 / 3], rtol=1e-13)
        np.testing.assert_allclose(f @ c.T, np.eye(2), atol=1e-13)
    inside = "A: all, B: [C2, H2]"
    with pytest.raises(ValueError, match="bead 'B' shares all its atoms with other beads"):
        sites(one(inside, "    shared: [C2, H2]\n"), tmp_path)
    with pytest.raises(ValueError, match=r"shared names atom 2 \(H1 of MOL\), which is in 1 beads"):
        sites(one("A: all", "    shared: [H1]\n"), tmp_path)


def test_force_weights(tmp_path: Path) -> None:
    beads = "A: {atoms: [C1, H1], weights: equal, force_weights: [3, 1]}, B: name C2 H2 O1 HO"
    c, f = coefficients(sites(one(beads), tmp_path))
    np.testing.assert_allclose(f[0], [1.5, 0.5, 0, 0, 0, 0], rtol=1e-13)
    np.testing.assert_allclose(f @ c.T, np.eye(2), atol=1e-13)


CHAIN = "A: [C1], B: [H1], C: [C2], D: [H2], E: [O1], F: [HO]"
LINKS = "    bonds: {b: [[A, B], [B, C], [C, D], [D, E], [E, F]]}\n"


@pytest.mark.parametrize(
    ("more", "reach"),
    [
        (LINKS, 3),
        (LINKS + "    exclusions: 1\n", 1),
        (LINKS + "    exclusions: 9\n", 5),
        (LINKS + "    exclusions: none\n", 0),
        (LINKS + "    exclusions: 0\n", 0),
        ("    dihedrals: {d: [[A, B, C, D], [B, C, D, E], [C, D, E, F]]}\n", 3),
        ("    angles: {a: [[A, B, C], [C, D, E]]}\n    bonds: {b: [E, F]}\n", 3),
        ("", 0),
    ],
)
def test_exclusions(more: str, reach: int, tmp_path: Path) -> None:
    """Pairs up to so many bonds apart along a chain."""
    topology = sites(one(CHAIN, more), tmp_path, count=2).topology
    wanted = {
        (6 * m + i, 6 * m + j)
        for m in range(2)
        for i in range(6)
        for j in range(i + 1, min(6, i + reach + 1))
    }
    assert {tuple(pair) for pair in topology.exclusion.tolist()} == wanted
    assert len(topology.exclusion) == len(wanted)


def test_exclusions_that_are_listed(tmp_path: Path) -> None:
    topology = sites(one(CHAIN, LINKS + "    exclusions: [[C, A], [A, F]]\n"), tmp_path, count=2)
    assert topology.topology.exclusion.tolist() == [[0, 2], [6, 8], [0, 5], [6, 11]]


def test_terms_and_their_names(tmp_path: Path) -> None:
    more = "    bonds: {x: [A, B], y: [[B, C], [C, D]]}\n    angles: {z: [A, B, C]}\n"
    more += "    dihedrals: {w: [A, B, C, D]}\n    unmapped: allowed\n"
    found = sites(one("A: [C1], B: [H1], C: [C2], D: [H2]", more), tmp_path, count=2).topology
    assert found.bond.of("x").tolist() == [[0, 1], [4, 5]]
    assert sorted(found.bond.of("y").tolist()) == [[1, 2], [2, 3], [5, 6], [6, 7]]
    assert found.angle.of("z").tolist() == [[0, 1, 2], [4, 5, 6]]
    assert found.dihedral.of("w").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


MIXED = """\
molecules:
  water: {select: resname SOL, beads: {W: all}}
  MOL:
    beads: {A: [C1, H1], B: [C2, H2, O1, HO]}
    bonds: {AB: [A, B]}
"""


def mixture(folder: Path) -> Trajectory:
    """Water, two molecules, water, an ion: the order of sites is that of the file."""
    rows = [("SOL", n) for n in ("OW", "HW1", "HW2")]
    residues = [rows, *[[("MOL", n) for n in trajectories.NAMES]] * 2, rows, [("NA", "NA")]]
    lines = ["mixture", str(sum(map(len, residues)))]
    rng = np.random.default_rng(0)
    for number, residue in enumerate(residues, start=1):
        start = rng.uniform(0.2, 1.2, 3)
        for residue_name, name in residue:
            x = "".join(f"{v:8.3f}" for v in start + rng.uniform(0, 0.1, 3))
            lines.append(f"{number:5d}{residue_name:5s}{name:>5s}{len(lines) - 1:5d}{x}")
    path = folder / "mixture.gro"
    path.write_text("\n".join([*lines, "  1.80000  1.90000  2.00000", ""]))
    return Trajectory(path, [path])


def test_several_types_of_molecules(tmp_path: Path) -> None:
    trajectory = mixture(tmp_path)
    found = map_sites(parse_map("ignore: resname NA\n" + MIXED), trajectory)
    assert found.topology.types == ("W", "A", "B", "A", "B", "W")
    assert found.topology.molecule.tolist() == [0, 1, 1, 2, 2, 3]
    assert found.topology.bond.members.tolist() == [[1, 2], [3, 4]]
    used = [set(found.restriction.atom[found.restriction.site == i].tolist()) for i in range(6)]
    starts = {
        0: range(3),
        1: (3, 4),
        2: range(5, 9),
        3: (9, 10),
        4: range(11, 15),
        5: range(15, 18),
    }
    assert used == [set(starts[i]) for i in range(6)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MIXED, r"1 of 19 atoms of .*mixture.gro are in no molecule, atom 19 \(NA of NA\) for one"),
        ("ignore: resname CL\n" + MIXED, r"ignore: 'resname CL' matches no atom .*SOL, MOL, NA"),
        ("ignore: resname NA SOL\n" + MIXED, "ignore has 6 atoms that molecule 'water' has too"),
        (
            MIXED.replace("resname SOL", "resname SOL MOL"),
            "molecule 'water': its molecules have different numbers of atoms, 3 in the first and 6 "
            r"in number 2 \(from atom 4",
        ),
        (MIXED.replace("MOL:", "MOLE:"), "'MOLE': select: 'resname MOLE' matches no atom"),
        (
            MIXED.replace("resname SOL", "resnam SOL"),
            "select: the selection 'resnam SOL' cannot be",
        ),
        (
            MIXED.replace("resname SOL,", "resname SOL, split: 4,"),
            "6 atoms cannot be split into mol",
        ),
        (
            MIXED.replace("resname SOL,", "resname SOL, split: 2,"),
            "atom 1 has the name HW2 in molecule 2 and OW in the first; allowed are molecules of",
        ),
        (
            MIXED.replace("resname SOL,", "resname SOL, split: fragment,"),
            "has no bonds, which split",
        ),
        (MIXED.replace("resname SOL,", "resname SOL, split: molecule,"), "has no numbers of molec"),
        (MIXED.replace("[C1, H1]", "[C1, H9]"), r"bead 'A': no atom is called 'H9'; known: C1, H1"),
        (MIXED.replace("[C1, H1]", "name X"), r"bead 'A': 'name X' matches no atom"),
        (
            MIXED.replace("[C1, H1]", "index 3 4"),
            "does not choose the same atoms in every molecule",
        ),
        (MIXED.replace("[C1, H1]", "{numbers: 7}"), "bead 'A': atom number 7; allowed are 1 to 6"),
        (
            MIXED.replace("[C1, H1]", "[C1]"),
            r"1 of its 6 atoms are in no bead, atom 5 \(H1 of MOL\)",
        ),
        (
            MIXED.replace("[C1, H1]", "{atoms: name C1 H1, weights: [1]}"),
            "weights are 1 numbers; allowed is one for each of 2 atoms",
        ),
    ],
)
def test_what_a_map_may_not_ask_of_atoms(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^map.yaml: .*{says}") as caught:
        map_sites(parse_map(text, "map.yaml"), mixture(tmp_path))
    assert "\n" not in str(caught.value)


def test_atoms_without_mass(tmp_path: Path) -> None:
    """A virtual site, say; with a mass from the map all is well."""
    trajectory = mixture(tmp_path)
    text = trajectory.top.read_text().replace("HW2", " MW")
    trajectory.top.write_text(text)
    spec = parse_map("ignore: resname NA\n" + MIXED, "map.yaml")
    virtual = Trajectory(trajectory.top, [trajectory.top])
    with pytest.raises(
        ValueError, match=r"bead 'W': the mass of atom 3 \(MW of SOL\) is 0; allowed"
    ):
        map_sites(spec, virtual)
    left_out = spec.text.replace("{W: all}}", "{W: [OW, HW1]}, unmapped: allowed}")
    assert map_sites(parse_map(left_out), virtual).topology.sites == 6
    heavy = Trajectory(trajectory.top, [trajectory.top], {"MW": 3.0})
    mass = map_sites(spec, heavy).topology.mass[0]
    np.testing.assert_allclose(mass, 15.999 + 1.008 + 3.0, atol=2e-3)


def test_files_without_names(tmp_path: Path) -> None:
    by_type = "molecules:\n  x: {select: all, beads: {A: type 1, B: type 2 3}}\n"
    found = sites(by_type, tmp_path, kind="lammps")
    assert found.topology.types == ("A", "B") * 3
    fragments = sites(by_type.replace("all,", "all, split: fragment,"), tmp_path, kind="lammps")
    np.testing.assert_array_equal(found.restriction.atom, fragments.restriction.atom)
    with pytest.raises(ValueError, match="has no names of atoms; allowed are a selection, as in"):
        sites(by_type.replace("type 1", "[C1]"), tmp_path, kind="lammps")
    with pytest.raises(ValueError, match=r"the selection 'resname MOL' cannot be read"):
        sites(one("A: all"), tmp_path, kind="lammps")


PAGE = Path(__file__).parents[2] / "docs" / "map.md"


def test_the_page_on_maps() -> None:
    """Its examples can be read, and its tables name every key and no other."""
    text = PAGE.read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    hexane, water, mixture = (parse_map(example) for example in examples)
    assert hexane.molecules == load_map(PAGE.parents[1] / "data/hexane/hexane.yaml").molecules
    assert water.molecules[0].beads == (BeadSpec("W", "W", "all"),)
    assert [m.name for m in mixture.molecules] == ["water", "MEOH"]
    keys = re.findall(r"^\| `([a-z_]+)` ", text, re.MULTILINE)
    assert sorted(keys) == sorted([*_MAP, *_MOLECULE, *_BEAD])
