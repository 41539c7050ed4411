"""Maps of VOTCA as map files, and what is refused with its line."""

from pathlib import Path
from typing import Any

import pytest

from bayescg.io.map_file import map_text, parse_map
from bayescg.io.votca import map_spec, molecules_of, read_molecule
from tests import votca_project as project
from tests.io.votca import put


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return project.write(tmp_path)


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
