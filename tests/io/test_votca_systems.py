"""Configurations and topologies of GROMACS, VOTCA and LAMMPS, and what is refused with its line."""

from pathlib import Path

import numpy as np
import pytest

from bayescg.io.votca import read_molecule, read_system
from bayescg.io.votca.gromacs import read_gro, read_top
from tests import votca_project as project
from tests.io.votca import put


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return project.write(tmp_path)


def test_a_system(settings: Path) -> None:
    folder = settings.parent
    found = read_system(
        folder / "conf.gro", folder / "topol.top", [read_molecule(folder / "chain_cg.xml")]
    )
    np.testing.assert_allclose(found.x, 10.0 * project.positions(), atol=1e-9)
    np.testing.assert_allclose(found.box, 20.0)
    topology = found.topology
    assert topology.types == ("A", "B", "A") * project.CHAINS
    np.testing.assert_allclose(topology.mass, [29.0, 28.5, 29.0] * project.CHAINS)
    assert topology.bond.members[:3].tolist() == [[0, 1], [2, 1], [3, 4]]
    assert set(topology.bond.names) == {"bond"} and set(topology.angle.names) == {"angle"}
    assert topology.exclusion[:3].tolist() == [[0, 1], [0, 2], [1, 2]]
    assert topology.molecule[:4].tolist() == [0, 0, 0, 1]
    data = found.dataset(300.0, "here")
    assert data["x"].shape == (1, 18, 3) and data.attrs["temperature"] == 300.0


def test_names_without_a_map(settings: Path) -> None:
    """Tables of GROMACS name the terms."""
    folder = settings.parent
    topology = read_system(folder / "conf.gro", folder / "topol.top").topology
    assert set(topology.bond.names) == {"b1"} and set(topology.angle.names) == {"a1"}


def test_the_map_of_the_atoms_names_them_too(settings: Path) -> None:
    folder = settings.parent
    maps = [read_molecule(folder / "chain.xml")]
    topology = read_system(folder / "conf.gro", folder / "topol.top", maps).topology
    assert set(topology.bond.names) == {"bond"} and set(topology.angle.names) == {"angle"}


def test_a_configuration_alone(settings: Path) -> None:
    said: list[str] = []
    found = read_system(settings.parent / "conf.gro", say=said.append)
    assert found.topology.kinds == ("A1", "B", "A2")
    assert "mass" not in found.dataset(300.0, "")
    assert len(said) == 1 and "gives no masses" in said[0]


def test_more_decimals(tmp_path: Path) -> None:
    x = np.random.default_rng(1).random((6, 3))
    found = read_gro(put(tmp_path, "c.gro", project.gro(x, decimals=6)))
    np.testing.assert_allclose(found.x, 10.0 * x, atol=1e-5)


TOPOLOGY = """\
<topology>
  <box xx="3.0" yy="2.0" zz="2.0"/>
  <molecules>
    <molecule name="CHN" nmols="6" nbeads="3">
      <bead name="A1" type="A" mass="29" q="0"/> <bead name="B" type="B" mass="28" q="0"/>
      <bead name="A2" type="A" mass="29" q="0"/>
    </molecule>
  </molecules>
  <bonded>
    <bond><name>bond</name><beads>CHN:A1 CHN:B CHN:B CHN:A2</beads></bond>
    <angle><name>angle</name><beads>CHN:A1 CHN:B CHN:A2</beads></angle>
  </bonded>
</topology>
"""


def test_votcas_own_topology(settings: Path) -> None:
    path = put(settings.parent, "topol.xml", TOPOLOGY)
    found = read_system(settings.parent / "conf.gro", path)
    np.testing.assert_allclose(found.box, [30.0, 20.0, 20.0])
    assert found.topology.types[:3] == ("A", "B", "A")
    assert found.topology.bond.members[:2].tolist() == [[0, 1], [1, 2]]
    assert found.topology.exclusion[:3].tolist() == [[0, 1], [0, 2], [1, 2]]
    assert found.masses


def test_a_topology_over_a_configuration(settings: Path) -> None:
    text = '<topology base="conf.gro"><molecules><clear/>\n<define name="C" first="1" '
    path = put(settings.parent, "t.xml", text + 'nbeads="3" nmols="6"/></molecules></topology>')
    found = read_system(settings.parent / "conf.gro", path, say=lambda text: None)
    assert found.topology.types[:4] == ("A1", "B", "A2", "A1")
    assert found.topology.molecule[-1] == 5
    path.write_text(text + 'nbeads="3" nmols="7"/></molecules></topology>')
    with pytest.raises(ValueError, match="line 2: 21 beads from 1 on; the configuration has 18"):
        read_system(settings.parent / "conf.gro", path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('nmols="6"', 'nmols="5"', "has 15 beads, .*conf.gro 18"),
        ('nmols="6"', 'nmols="x"', "line 4: nmols of <molecule> is 'x'"),
        ('nbeads="3"', 'nbeads="2"', "line 4: 3 beads, and nbeads is 2"),
        ('xx="3.0"', 'xx="0"', "line 2: box must have positive"),
        ("CHN:A1 CHN:B CHN:A2", "CHN:A1 CHN:B CHN:X", "line 11: .* are not beads of one molecule"),
        ("CHN:A1 CHN:B CHN:A2", "CHN:A1 CHN:B", "names 2 beads; allowed: multiples of 3"),
        ("<bonded>", "<bonded><x/>", "<x> is no bonded term"),
        ("<molecules>", "<molecules><rename/>", "<rename> is not read"),
    ],
)
def test_a_wrong_topology_of_votca(settings: Path, old: str, new: str, complaint: str) -> None:
    path = put(settings.parent, "topol.xml", TOPOLOGY.replace(old, new, 1))
    with pytest.raises(ValueError, match=complaint):
        read_system(settings.parent / "conf.gro", path)


DATA = """\
chains

4 atoms
2 bonds

1.0 11.0 xlo xhi
0.0 10.0 ylo yhi
0.0 10.0 zlo zhi

Masses

1 29.0 # end
2 28.0

Atoms{style}

{rows}
Bonds

1 1 1 2
2 2 4 3
"""
ROWS = ["3 2 2 0.0 3.0 3.0 3.0", "1 1 1 0.0 1.0 1.0 1.0", "2 1 2 0.0 2 2 2", "4 2 1 0.0 4 4 4"]


def data_file(rows: list[str] = ROWS, style: str = "") -> str:
    return DATA.format(rows="\n".join(rows) + "\n", style=style)


def test_a_data_file_of_lammps(tmp_path: Path) -> None:
    path = put(tmp_path, "c.data", data_file())
    found = read_system(path, types=["Bead1", "Bead2"])
    np.testing.assert_allclose(found.x[:, 0], [0.0, 1.0, 2.0, 3.0])  # from the corner of the box
    assert found.topology.types == ("Bead1", "Bead2", "Bead2", "Bead1")
    np.testing.assert_allclose(found.topology.mass, [29.0, 28.0, 28.0, 29.0])
    assert found.topology.bond.names == ("b1", "b2")
    assert found.topology.bond.members.tolist() == [[0, 1], [3, 2]]
    assert found.topology.exclusion.tolist() == [[0, 1], [2, 3]]
    assert read_system(path).topology.kinds == ("Bead1", "Bead2")
    assert read_system(path, types=["1", "2"]).topology.kinds == ("1", "2")


@pytest.mark.parametrize(
    ("style", "rows"),
    [
        (" # atomic", ["1 1 1.0 1.0 1.0", "2 1 2 2 2", "3 1 3 3 3", "4 1 4 4 4"]),
        ("", ["1 1 1.0 1.0 1.0 0 0 0", "2 1 2 2 2 0 0 0", "3 1 3 3 3 0 0 0", "4 1 4 4 4 0 0 0"]),
        (" # charge", ["1 1 0 1 1 1", "2 1 0 2 2 2", "3 1 0 3 3 3", "4 1 0 4 4 4"]),
        ("", ["1 1 0.5 1 1 1", "2 1 0.5 2 2 2", "3 1 0.5 3 3 3", "4 1 0.5 4 4 4"]),
        (" # molecular", ["1 7 1 1 1 1", "2 8 1 2 2 2", "3 9 1 3 3 3", "4 10 1 4 4 4"]),
    ],
)
def test_styles_of_atoms(tmp_path: Path, style: str, rows: list[str]) -> None:
    text = data_file(rows, style).partition("Bonds")[0]
    found = read_system(put(tmp_path, "c.data", text), types=["CG"])
    assert found.topology.types == ("CG",) * 4  # the only one there is
    np.testing.assert_allclose(found.x[:, 1], [1.0, 2.0, 3.0, 4.0])
    assert len(set(found.topology.molecule)) == 4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"old": "Atoms", "new": "Atomz"}, "has no section Atoms"),
        ({"old": "0.0 10.0 ylo yhi\n", "new": ""}, "has no box"),
        ({"old": "Masses", "new": "1.0 0 0 xy xz yz\n\nMasses"}, "line 10: the box is tilted"),
        ({"old": "1 29.0", "new": "1 x"}, "'x' is no number"),
        ({"old": "2 2 4 3", "new": "2 2 4 9"}, "are no atoms of a bond"),
        ({"old": "2 2 4 3", "new": "2 2 4 1"}, "the bond joins two molecules"),
        ({"old": "Atoms", "new": "Atoms # body"}, "atom_style body; allowed are"),
        ({"old": "2 1 2 0.0", "new": "1 1 2 0.0"}, "each may come once"),
        ({"old": "4 2 1 0.0", "new": "4 1 1 0.0"}, "molecule 1 do not follow each other"),
    ],
)
def test_a_wrong_data_file(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    text = data_file().replace(change["old"], change["new"], 1)
    with pytest.raises(ValueError, match=complaint):
        read_system(put(tmp_path, "c.data", text))


def test_types_of_a_data_file_need_names(tmp_path: Path) -> None:
    path = put(tmp_path, "c.data", data_file())
    with pytest.raises(ValueError, match="atom type 1 is none of the bead types W, V; allowed are"):
        read_system(path, types=["W", "V"])


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("conf.gro", "18\n", "eighteen\n", "line 2: there is no number of atoms"),
        ("conf.gro", "18\n", "19\n", "ends after 21 lines; 19 atoms need 22"),
        ("conf.gro", "    1CHN     A1    1", "    xCHN     A1    1", "line 3: .* is no atom"),
        (
            "conf.gro",
            "   2.00000   2.00000   2.00000",
            " 2 2 2 0 0 1 0 0 0",
            "the box is '2 2 2 0 0 1",
        ),
        ("conf.gro", "   2.00000   2.00000   2.00000", " 2 2 x", "line 21: .* is no box"),
        ("topol.top", "chain  6", "chain  5", "topol.top has 15 beads, .*conf.gro 18"),
        ("topol.top", "chain  6", "chian  6", "the molecule 'chian' is not defined; known: chain"),
        ("topol.top", "chain  6", "chain", r"line 17: 'chain' is no line of \[ molecules \]"),
        ("topol.top", "[ molecules ]\nchain  6", "", "has no . molecules"),
        ("topol.top", "#endif", "#endif\n#endif", "#endif without #ifdef"),
        ("chain.itp", "2 3 8 1 1.0", "2 4 8 1 1.0", "chain.itp, line 10: there is no atom 4"),
        ("chain.itp", "2 3 8 1 1.0", "2 3 8 1 2.0", "the table of b1 is multiplied by 2.0"),
        ("chain.itp", "2 3 8 1 1.0", "2 x", r"line 10: '2 x' is no line of \[ bonds \]"),
        ("chain_cg.xml", "<ident>chain", "<ident>other", "has no molecule 'other'.* it has chain"),
        ("chain_cg.xml", "1:chn:A2", "1:chn:A9", "has no atom 1:chn:A9"),
        ("chain_cg.xml", "1:chn:A2", "1:chn:B", "2 beads for the 3|3 beads for the 3"),
    ],
)
def test_a_wrong_system(settings: Path, name: str, old: str, new: str, complaint: str) -> None:
    path = settings.parent / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=complaint) as error:
        read_system(
            settings.parent / "conf.gro",
            settings.parent / "topol.top",
            [read_molecule(settings.parent / "chain_cg.xml")],
        )
    assert "\n" not in str(error.value)


def test_files_of_other_kinds(settings: Path) -> None:
    for given, top in (("settings.xml", None), ("conf.gro", "settings.itp")):
        with pytest.raises(ValueError, match="allowed are"):
            read_system(settings.parent / given, top)


def test_exclusions_of_a_topology(tmp_path: Path) -> None:
    """Two bonds apart with nrexcl 2, and those that are listed."""
    rows = "".join(f"{n} A 1 C A{n} {n} 0 1.0\n" for n in range(1, 6))
    text = f"[ moleculetype ]\nC 2\n[ atoms ]\n{rows}[ bonds ]\n1 2 1\n2 3 1\n3 4 1\n4 5 9 0 1\n"
    text += "[ constraints ]\n[ exclusions ]\n1 4 5\n[ molecules ]\nC 1\n"
    ((molecule, count),) = read_top(put(tmp_path, "t.top", text))
    assert count == 1
    expected = {(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3), (0, 4)}
    assert molecule.excluded() == expected  # a bond of function 9 makes none
