"""Files of VOTCA: what they say in this package's units, and what is refused with file and line."""

from pathlib import Path
import re
from typing import Any

import numpy as np
import pytest

from bayescg.io.map_file import map_text, parse_map
from bayescg.io.votca import (
    map_spec,
    molecules_of,
    read_molecule,
    read_potential,
    read_settings,
    read_system,
    read_table,
    read_target,
    read_xml,
)
from bayescg.io.votca.gromacs import read_gro, read_top
from benchmarks.votca_files import need_votca
from tests import votca_project as project


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return project.write(tmp_path)


def put(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


# Tables


def test_an_rdf(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "#c\n@ c\n\n0.25 0.5 o\n0.26 1.0 i\n0.27 nan u\n")
    found = read_target(path, "pair", types=("B", "A"), span=(2.4, 9.0))
    np.testing.assert_allclose(found.q, [2.5, 2.6])
    np.testing.assert_allclose(found.values, [0.5, 1.0])
    assert (found.name, found.types, found.norm, found.span) == (
        "A_B",
        ("A", "B"),
        "n2",
        (2.4, 9.0),
    )


def test_a_bond_becomes_a_density(tmp_path: Path) -> None:
    """0.25 nm with probability 3/4 and 0.26 nm with 1/4, a density per angstrom of 0.1 angstrom."""
    path = put(tmp_path, "t", "0.25 3 i\n0.26 1 i\n")
    said: list[str] = []
    found = read_target(path, "bond", "b", say=said.append)
    np.testing.assert_allclose(found.values, [7.5, 2.5])
    assert len(said) == 1 and "summed to 0.04 per nm" in said[0]


def test_a_normalised_angle_stays(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "1.0 2.0\n1.25 1.0\n1.5 1.0\n")
    found = read_target(path, "angle", "a", say=pytest.fail)
    np.testing.assert_allclose(found.values, [2.0, 1.0, 1.0])
    np.testing.assert_allclose(found.q, [1.0, 1.25, 1.5])


def test_a_potential(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "0.3 4.184 0.1 i\n0.4 -8.368 0.1 i\n")
    found = read_potential(path, "pair", types=("A", "A"))
    np.testing.assert_allclose(found.q, [3.0, 4.0])
    np.testing.assert_allclose(found.values, [1.0, -2.0])
    third = read_table(path).third
    assert third is not None and third.tolist() == [0.1, 0.1]
    of_gromacs = read_potential(path, "angle", "a1", degrees=True, factor=2.0)
    np.testing.assert_allclose(of_gromacs.q, np.radians([0.3, 0.4]))
    np.testing.assert_allclose(of_gromacs.values, [2.0, -4.0])


def test_a_grid_without_its_rounding(tmp_path: Path) -> None:
    x = np.linspace(0.0, 3.1415, 315)
    path = put(tmp_path, "t", project.table(x, np.sin(x)))
    found = read_target(path, "angle", "a")
    np.testing.assert_allclose(np.diff(found.q), 3.1415 / 314, rtol=1e-12)


def test_noise_below_zero_is_said(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "0.1 -1e-7\n0.2 1.0\n0.3 1.0\n")
    said: list[str] = []
    assert read_target(path, "pair", types=("A", "A"), say=said.append).values[0] == 0.0
    assert len(said) == 1 and "1 values are negative, down to -1e-07" in said[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds 0 rows"),
        ("0.1 1 i\n", "holds 1 rows"),
        ("0.1 1 i\n0.2 x i\n", "line 2: '0.2 x i' is no row"),
        ("0.1 1 i\n0.2 i\n", "line 2: '0.2 i' is no row"),
        ("0.1 1 2 3 4 i\n", "line 1: .* is no row"),
        ("0.1 1 i\n0.1 2 i\n", "line 2: x is 0.1 after 0.1; it must grow"),
        ("0.1 1 i\n0.2 2 3 i\n", "line 2: 3 numbers after rows of 2"),
        ("0.1 nan i\n0.2 2 i\n", "line 1: y is nan, and its flag i"),
        ("0.1 1 i\n0.2 0 u\n0.3 1 i\n", "line 2: undefined"),
        ("0.1 1 u\n0.2 0 u\n0.3 1 u\n", "only undefined rows"),
        ("0.1 1 u\n0.2 0 i\n0.3 1 u\n", "one defined row"),
        ("0.1 1\n0.2 1\n0.4 1\n", "line 2: x is not evenly spaced"),
        ("0.1 -1\n0.2 1\n0.3 1\n", "line 1: -1 is negative"),
        ("0.1 0\n0.2 0\n0.3 0\n", "zero everywhere"),
    ],
)
def test_a_wrong_table(tmp_path: Path, text: str, complaint: str) -> None:
    path = put(tmp_path, "t.tgt", text)
    with pytest.raises(ValueError, match=complaint) as error:
        read_target(path, "pair", types=("A", "A"))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "no")
    with pytest.raises(ValueError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match="kind is 'improper'"):
        read_target(put(tmp_path, "t", "0.1 1\n0.2 1\n"), "improper")


# XML


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE cg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><cg>&b;</cg>',
        '<!DOCTYPE cg [<!ENTITY a SYSTEM "file:///etc/hostname">]><cg>&a;</cg>',
        '<!DOCTYPE cg SYSTEM "cg.dtd"><cg/>',
    ],
)
def test_entities_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="line 1: a document type; allowed is XML without"):
        read_xml(put(tmp_path, "s.xml", text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<cg>", "line 1: this is no XML .no element found"),
        ("<cg>\n<a></b></cg>", "line 2: this is no XML .mismatched tag"),
        ("", "this is no XML"),
        ("<cg>&lost;</cg>", "this is no XML .undefined entity"),
        (
            '<?xml version="1.0" encoding="klingon"?><cg/>',
            "encoding is not known; allowed is UTF-8",
        ),
    ],
)
def test_broken_xml(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_xml(put(tmp_path, "s.xml", text))


def test_no_xml(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_xml(tmp_path / "no.xml")
    with pytest.raises(ValueError, match="is a folder"):
        read_xml(tmp_path)


# Settings


def test_settings(settings: Path) -> None:
    said: list[str] = []
    found = read_settings(settings, said.append)
    assert [i.name for i in found.interactions] == ["bond", "angle", "A-A", "B-A", "B-B"]
    assert [i.types for i in found.interactions[1:4]] == [(), ("A", "A"), ("B", "A")]
    spans = [i.span for i in found.interactions]
    assert spans[0] == (0.2, 0.3)  # nm: only the map knows that it is a bond
    assert spans[2] == (0.0, 9.0)
    assert found.interactions[2].target == settings.parent / "A-A.dist.tgt"
    assert found.interactions[4].target is None
    assert found.temperature == pytest.approx(300.0, abs=1e-6)
    assert found.method == "imc"
    assert found.maps == (settings.parent / "chain_cg.xml",)
    assert found.configuration == settings.parent / "conf.gro"
    assert found.topology == settings.parent / "topol.top"
    assert [s.partition("line ")[2] for s in said] == [
        "13: A-A: do_potential 1 0; here every potential is updated each time.",
        "13: A-A: post_update smooth is not carried over.",
    ]


def test_a_start_is_found(settings: Path) -> None:
    put(settings.parent, "A-A.pot.in", "0.3 1 i\n0.4 0 i\n")
    starts = {i.name: i.start for i in read_settings(settings).interactions}
    assert starts["A-A"] == settings.parent / "A-A.pot.in"
    assert starts["B-B"] is None


def test_what_is_not_carried_over_is_said(settings: Path) -> None:
    text = (
        project.SETTINGS.replace("<method>imc", "<method>optimizer")
        .replace(
            "<target>B-A.dist.tgt</target>",
            "<optimizer><rdf><target>B-A.dist.tgt</target></rdf><targets>rdf pressure</targets>"
            "<function>x</function></optimizer><imc><group>one</group></imc>",
        )
        .replace("<do_potential>1 0</do_potential>", "<imc><group>other</group></imc>")
        .replace(
            "<post_update>smooth", "<post_add>convergence plot overwrite</post_add><post_update>"
        )
        .replace(
            "<type2>A</type2>\n    <min>0</min> <max>0.8",
            "<type2>A</type2><re><function>cbspl</function></re><min>0</min> <max>0.8",
        )
    )
    said: list[str] = []
    found = read_settings(put(settings.parent, "s.xml", text), said.append)
    assert found.interactions[3].target == settings.parent / "B-A.dist.tgt"
    rest = " ".join(said)
    for part in (
        "the method is 'optimizer'",
        "several groups of IMC",
        "post_add overwrite is not",
        "the form cbspl of its",
        "the form of its potential",
        "the targets pressure are",
    ):
        assert part in rest
    assert len(said) == 6


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("<cg>", "<cg_molecule>", "mismatched"),
        ("<name>A-A</name>", "", "line 13: non-bonded has no name"),
        ("<name>A-A</name>", "<name>B-A</name>", "'B-A' is there twice"),
        ("<name>A-A</name>", "<name>A A</name>", "name is 'A A'; allowed is one word"),
        ("<type1>A</type1>", "<type1/>", "line 14: non-bonded has no type1"),
        ("<max>0.9</max>", "<max>x</max>", "line 15: max is 'x'; allowed are numbers"),
        ("<max>0.9</max>", "<max>inf</max>", "line 15: max is inf"),
        ("<max>0.9</max>", "<max>0</max>", "max is 0 and min 0; max must be larger"),
        ("<max>0.9</max>", "<max>1</max><max>2</max>", "max is there twice"),
        ("<kBT>2.4943387854", "<kBT>-1", "kBT is -1; allowed are positive"),
        ("<kBT>2.4943387854", "<kBT>", "kBT is ''; allowed is one word"),
    ],
)
def test_wrong_settings(settings: Path, old: str, new: str, complaint: str) -> None:
    settings.write_text(project.SETTINGS.replace(old, new, 1))
    with pytest.raises(ValueError, match=complaint) as error:
        read_settings(settings)
    assert str(error.value).startswith(f"{settings}, line ")


def test_settings_of_another_kind(settings: Path) -> None:
    with pytest.raises(ValueError, match="begins with <cg>"):
        read_settings(settings.parent / "chain.xml")
    with pytest.raises(ValueError, match="neither <bonded> nor <non-bonded>"):
        read_settings(put(settings.parent, "s.xml", "<cg><fmatch/></cg>"))
    bare = re.sub(r"<kBT>.*</kBT>", "", project.SETTINGS)
    with pytest.raises(ValueError, match=r"has no cg.inverse.kBT"):
        _ = read_settings(put(settings.parent, "s.xml", bare)).temperature


# Maps


def test_a_map(settings: Path) -> None:
    found = read_molecule(settings.parent / "chain.xml")
    assert (found.name, found.ident) == ("CHAIN", "Chain")
    assert [b.weights for b in found.beads] == [(12.0, 1.0), (12.0, 1.0), (1.0, 12.0)]
    assert found.kinds == {"bond": "bond", "angle": "angle"}
    assert found.terms[1] == ("bond", "bond", ("A2", "B"))
    assert set(found.exclusions) == {("A1", "B"), ("A2", "B"), ("A1", "A2")}


def test_a_map_becomes_a_map_file(settings: Path) -> None:
    top = TOP_OF_ATOMS
    path = put(settings.parent, "atoms.top", top)
    molecule = read_molecule(settings.parent / "chain.xml")
    spec = map_spec([molecule], atoms=[molecules_of(path, molecule)], temperature=300.0)
    (chain,) = spec.molecules
    assert (chain.select, chain.split) == ("resname CH3 CH2", 6)
    assert [b.atoms for b in chain.beads] == [(2, 1), (3, 4), (5, 6)]
    assert [b.weights for b in chain.beads] == [(12.0, 1.0), (12.0, 1.0), (1.0, 12.0)]
    assert [t.beads for t in chain.bonds] == [("A1", "B"), ("A2", "B")]
    assert chain.angles[0].name == "angle"
    again = parse_map(map_text(spec))
    assert again.molecules == spec.molecules and again.temperature == 300.0


#: H before C in the first residue, unlike in the map.
TOP_OF_ATOMS = """\
#include "somewhere.ff/forcefield.itp"
[ moleculetype ]
Chain 3
[ atoms ]
1 h 1 CH3 H 1 0.0 1.0
2 c 1 CH3 C 1 0.0 12.0
3 c 2 CH2 C 1 0.0 12.0
4 h 2 CH2 H 1 0.0 1.0
5 h 3 CH3 H 1 0.0 1.0
6 c 3 CH3 C 1 0.0 12.0
[ molecules ]
Chain 2
"""


def test_the_order_of_atoms_from_a_configuration(settings: Path) -> None:
    rows = [(1, "CH3", "H"), (1, "CH3", "C"), (2, "CH2", "C"), (2, "CH2", "H"), (3, "CH3", "H")]
    rows = [(9, "SOL", "OW"), *rows, (3, "CH3", "C")]
    body = "".join(
        f"{r:5d}{res:<5s}{a:>5s}{n:5d}   0.100   0.200   0.300\n"
        for n, (r, res, a) in enumerate(rows, 1)
    )
    path = put(settings.parent, "atoms.gro", f"t\n7\n{body}   2.0 2.0 2.0\n")
    molecule = read_molecule(settings.parent / "chain.xml")
    order = molecules_of(path, molecule)
    assert [(a.residue, a.name) for a in order] == [(r, a) for r, _, a in rows[1:]]
    with pytest.raises(ValueError, match="has no residues CH3, CH2, CH3 one after the other"):
        molecules_of(settings.parent / "conf.gro", molecule)


def test_residues_need_the_order_of_atoms(settings: Path) -> None:
    molecule = read_molecule(settings.parent / "chain.xml")
    with pytest.raises(ValueError, match="'Chain' has 3 residues; needed is its atomistic"):
        map_spec([molecule])
    wrong = TOP_OF_ATOMS.replace("CH2 H", "CH2 D")
    order = molecules_of(put(settings.parent, "a.top", wrong), molecule)
    with pytest.raises(ValueError, match="molecule 'Chain' has no atom 2:CH2:H"):
        map_spec([molecule], atoms=[order])
    with pytest.raises(ValueError, match="has no molecule 'Chain'"):
        molecules_of(settings.parent / "topol.top", molecule)


WATER = """\
<cg_molecule><name>SOL</name><ident>water</ident>
<topology><cg_beads>
<cg_bead><name>W</name><type>W</type><mapping>M</mapping><beads>1:SOL:OW 1:SOL:HW1 1:SOL:HW2</beads></cg_bead>
<cg_bead><name>V</name><type>V</type><mapping>M</mapping><beads>1:SOL:OW 1:SOL:HW1 1:SOL:MW</beads></cg_bead>
</cg_beads></topology>
<maps><map><name>M</name><weights>16 1 0</weights></map></maps></cg_molecule>
"""


def test_one_residue_goes_by_names(tmp_path: Path) -> None:
    """Atoms of weight zero are left out; VOTCA's own force weights where atoms are shared."""
    said: list[str] = []
    spec = map_spec([read_molecule(put(tmp_path, "w.xml", WATER))], say=said.append)
    (water,) = spec.molecules
    assert (water.select, water.split) == ("resname SOL", "residue")
    assert water.beads[0].atoms == ("OW", "HW1")
    assert water.beads[0].weights == (16.0, 1.0)
    assert water.beads[0].force_weights == (16.0, 1.0)
    assert water.shared == ("HW1", "OW")
    assert water.unmapped
    assert len(said) == 1 and "HW2, MW have the weight 0" in said[0]
    assert parse_map(map_text(spec)).molecules == spec.molecules


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("<cg_molecule>", "<cg>", "this is no XML"),
        ("<name>CHAIN</name>", "", "cg_molecule has no name"),
        ("<ident>Chain</ident>", "", "cg_molecule has no ident"),
        ("<name>A2</name>", "<name>A1</name>", "the bead 'A1' is there twice"),
        ("<mapping>U", "<mapping>X", "line 7: bead 'A2': unknown map 'X'; known: T, U"),
        ("<name>U</name>", "<name>T</name>", "line 16: the map 'T' is there twice"),
        ("1:CH3:C ", "CH3:C ", "line 5: bead 'A1': 'CH3:C' is no atom"),
        ("1:CH3:C ", "a:CH3:C ", "'a:CH3:C' is no atom"),
        ("1:CH3:C ", "1:CH3:H ", "line 5: bead 'A1' names one atom twice"),
        ("<weights>1 12", "<weights>1 12 1", "line 16: bead 'A2' has 2 atoms and 3 numbers"),
        ("<weights>1 12", "<d>1</d><weights>1 12", "bead 'A2' has 2 atoms and 1 numbers in d"),
        ("<weights>1 12", "<weights>-1 12", "weights must be from 0"),
        ("<weights>1 12", "<weights>0 0", "weights must be from 0, and not all 0"),
        ("A1 B A2 B", "A1 B A2 C", "line 10: bond 'bond' names an unknown bead 'C'"),
        ("A1 B A2 B", "A1 B A2", "line 10: bond 'bond' names 3 beads; allowed are multiples of 2"),
        ("<angle><name>angle", "<angle><name>bond", "'bond' is the name of a bond and of a angle"),
        ("<mapping>U", "<symmetry>3</symmetry><mapping>U", "symmetry 3; allowed is 1"),
    ],
)
def test_a_wrong_map(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    text = project.MAP_ATOMS.replace(old, new, 1)
    with pytest.raises(ValueError, match=complaint) as error:
        read_molecule(put(tmp_path, "m.xml", text))
    assert str(error.value).startswith(f"{tmp_path / 'm.xml'}, line ")


def test_other_terms_are_refused(tmp_path: Path) -> None:
    text = project.MAP_ATOMS.replace("angle>", "improper>")
    with pytest.raises(ValueError, match="<improper> is no bonded term; allowed are bond, angle"):
        read_molecule(put(tmp_path, "m.xml", text))


# Systems


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


def test_dihedrals(tmp_path: Path) -> None:
    beads = "".join(
        f"<cg_bead><name>P{n}</name><type>P</type><mapping>O</mapping><beads>1:R:P{n}</beads></cg_bead>"
        for n in range(4)
    )
    text = (
        f"<cg_molecule><name>R</name><ident>R</ident><topology><cg_beads>{beads}</cg_beads>"
        "<cg_bonded><dihedral><name>d</name><beads>P0 P1 P2 P3</beads></dihedral></cg_bonded>"
        "</topology><maps><map><name>O</name><weights>1</weights></map></maps></cg_molecule>"
    )
    molecule = read_molecule(put(tmp_path, "m.xml", text))
    assert len(molecule.exclusions) == 6
    chains: Any = map_spec([molecule]).molecules[0]
    assert chains.dihedrals[0].beads == ("P0", "P1", "P2", "P3")


def test_the_benchmark_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="this benchmark needs VOTCA, and csg_stat, csg_fmatch"):
        need_votca()
