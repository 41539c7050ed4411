"""The command import, and the verbs behind it, on a small project."""

import json
from pathlib import Path
import re

from click.testing import CliRunner, Result
import numpy as np
import pytest

from bayescg.cli import cli
from bayescg.io.map_file import load_map
from bayescg.io.targets import load_targets
from bayescg.workflow.importing import import_map, import_targets
from tests import votca_project as project


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    project.write(tmp_path)
    return tmp_path


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["import", *words])


def complaint(done: Result) -> str:
    assert done.exit_code == 2, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bayescg: "), lines
    return lines[0].removeprefix("bayescg: ")


def test_a_project_is_carried_over(folder: Path) -> None:
    done = invoke("settings.xml", "-o", "t.nc", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["files"] == ["t.nc"]
    assert answer["count"] == {"A": 12, "B": 6}
    assert answer["targets"] == ["pair A_A", "pair A_B", "bond bond", "angle angle"]
    assert answer["fixed"] == ["pair B_B"]
    assert any(
        "the pair B_B has no target; its potential, table_B_B.xvg, is kept as it is" in m
        for m in answer["messages"]
    )
    found = load_targets("t.nc")
    assert found.temperature == pytest.approx(300.0, abs=1e-6)
    np.testing.assert_allclose(found.box, 20.0)
    aa, ab, bond, angle = found.targets
    np.testing.assert_allclose(aa.q, 0.1 * np.arange(91), atol=1e-9)
    np.testing.assert_allclose(aa.values, project.g(0.01 * np.arange(91)), rtol=1e-6, atol=1e-8)
    assert (aa.norm, ab.norm) == ("n2", "n2")
    normed = found.normed("pairs")  # without the pairs within chains
    np.testing.assert_allclose(normed[0].values, aa.values * 72 / (66 - 6))
    np.testing.assert_allclose(normed[1].values, ab.values * 72 / (72 - 12))
    np.testing.assert_allclose(ab.q, 0.1 * np.arange(3, 81), atol=1e-9)  # flags u are left out
    assert aa.span == pytest.approx((0.0, 9.0)) and bond.span == pytest.approx((2.0, 3.0))
    np.testing.assert_allclose(angle.values[:16], 0.5 * np.sin(angle.q[:16]), rtol=0.02)
    for each in (bond, angle):
        assert each.values.sum() * each.width == pytest.approx(1.0)
    np.testing.assert_allclose(
        found.distributions["bond_bond"]["length"], 2.0 + 0.1 * np.arange(11)
    )
    system = found.system
    assert system is not None
    np.testing.assert_allclose(system["x"][0], 10.0 * project.positions(), atol=1e-9)
    assert found.topology is not None and found.topology.bond.kinds == ("bond",)
    assert found.distributions.attrs["votca_method"] == "imc"
    assert re.fullmatch("[0-9a-f]{64}", found.distributions.attrs["sha256"])


def test_potentials_to_start_from(folder: Path) -> None:
    (folder / "A-A.pot.in").write_text("0.30 4.184 i\n0.31 0 i\n")
    pair, fixed = import_targets("settings.xml").starts
    assert (pair.kind, pair.name, fixed.name) == ("pair", "A_A", "B_B")
    np.testing.assert_allclose(pair.values, [1.0, 0.0])
    np.testing.assert_allclose(pair.q, [3.0, 3.1])
    np.testing.assert_allclose(fixed.values[40], 1.0)  # at 0.4 nm
    np.testing.assert_allclose(fixed.q[40], 4.0)
    assert [t.name for t in import_targets("settings.xml").fixed] == ["B_B"]


def test_potentials_that_are_kept(folder: Path) -> None:
    """The bonded tables of a project that has no bonded targets, by GROMACS's names."""
    project.fixed_bonds(folder)
    (folder / "table_b1.xvg").write_text("0 8.368 0\n0.1 4.184 0\n")
    (folder / "table_a1.xvg").write_text("-10 0 0\n0 4.184 0\n10 0 0\n20 4.184 0\n")
    said: list[str] = []
    found = import_targets("settings.xml", say=said.append)
    _, bond, angle = found.fixed
    assert (bond.kind, bond.name, angle.kind, angle.name) == ("bond", "b1", "angle", "a1")
    np.testing.assert_allclose(bond.values, [2.0, 1.0])
    np.testing.assert_allclose(angle.q, np.radians([0.0, 10.0, 20.0]))
    assert sum("has no target; its potential, table_" in s for s in said) == 3
    (folder / "table_a1.xvg").unlink()
    assert (
        "topol.top: the angle a1 has neither a target nor a potential; needed is a target "
        "(inverse.target) or a table, table_a1.xvg."
        in complaint(invoke("settings.xml", "-o", "t.nc"))
    )
    assert not (folder / "t.nc").exists()


def test_tables_of_terms_that_a_map_names(folder: Path) -> None:
    """A map of the beads calls them otherwise; what it does not name remains the topology's."""
    project.fixed_bonds(folder)
    text = (folder / "settings.xml").read_text()
    (folder / "settings.xml").write_text(
        text.replace("<inverse>\n    <kBT>", "<inverse>\n    <map>chain_cg.xml</map>\n    <kBT>")
    )
    whole = (folder / "chain_cg.xml").read_text()
    (folder / "chain_cg.xml").write_text(re.sub(r"(?s)<angle>.*</angle>", "", whole))
    found = import_targets("settings.xml")
    assert [f"{t.kind} {t.name}" for t in found.fixed] == ["pair B_B", "bond bond", "angle a1"]
    assert found.fixed[1].source == "table_b1.xvg"


def test_pairs_without_target_or_table(folder: Path) -> None:
    (folder / "table_B_B.xvg").unlink()
    assert "B-B has neither a target nor a potential" in complaint(
        invoke("settings.xml", "-o", "t.nc")
    )
    text = re.sub(r"(?s)<non-bonded>\s*<name>B-B.*</non-bonded>", "", project.SETTINGS)
    (folder / "settings.xml").write_text(text)
    said: list[str] = []
    assert import_targets("settings.xml", say=said.append).fixed == ()
    assert any("no interaction of B and B, nor a table table_B_B.xvg" in s for s in said)
    assert any("these beads will NOT interact" in s for s in said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0.1 0 0 0 0 1", "is no row of a non-bonded table of GROMACS; allowed are seven numbers"),
        ("0.1 0 0 1 0 1 0", "the dispersion is 1; allowed are tables with zeros there"),
        ("0.0 0 0 0 0 1 0", "r does not grow"),
    ],
)
def test_wrong_pair_tables(folder: Path, row: str, said: str) -> None:
    (folder / "table_B_B.xvg").write_text(f"# r\n0 0 0 0 0 2 0\n{row}\n0.2 0 0 0 0 0 0\n")
    assert said in complaint(invoke("settings.xml", "-o", "t.nc"))


def test_both_files_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    (folder / "t.nc").write_text("before")
    monkeypatch.setattr(Path, "write_text", full)  # of the map, the second to be written
    assert invoke("settings.xml", "-o", "t.nc", "--map-out", "m.yaml").exit_code != 0
    monkeypatch.undo()
    assert (folder / "t.nc").read_text() == "before"
    assert not (folder / "m.yaml").exists() and not list(folder.glob(".*part*"))


def test_a_map_file(folder: Path) -> None:
    done = invoke("settings.xml", "--map-out", "map.yaml", "-o", "t.nc", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == ["t.nc", "map.yaml"]
    spec = load_map("map.yaml")
    assert spec.temperature == pytest.approx(300.0, abs=1e-6)
    assert [b.atoms for b in spec.molecules[0].beads] == [("A1",), ("B",), ("A2",)]


def test_a_map_alone(folder: Path) -> None:
    done = invoke("chain_cg.xml", "--map-out", "map.yaml")
    assert done.exit_code == 0, done.output
    assert load_map("map.yaml").molecules[0].name == "CHAIN"
    assert load_map("map.yaml").temperature is None


def test_the_map_of_atoms_needs_their_order(folder: Path) -> None:
    assert "has 3 residues" in complaint(invoke("chain.xml", "--map-out", "map.yaml"))
    assert not (folder / "map.yaml").exists()
    atoms = (
        "1 h 1 CH3 H 1\n2 c 1 CH3 C 1\n3 c 2 CH2 C 1\n4 h 2 CH2 H 1\n5 h 3 CH3 H 1\n6 c 3 CH3 C 1"
    )
    (folder / "a.top").write_text(
        f"[ moleculetype ]\nChain 3\n[ atoms ]\n{atoms}\n[ molecules ]\nChain 2\n"
    )
    done = invoke("chain.xml", "--map-out", "map.yaml", "--atoms", "a.top")
    assert done.exit_code == 0, done.output
    assert load_map("map.yaml").molecules[0].beads[0].atoms == (2, 1)


def test_several_maps_of_which_one_is_given(folder: Path) -> None:
    (folder / "settings.xml").write_text(project.SETTINGS.replace("<map>chain_cg.xml</map>", ""))
    assert "'bond' is a bonded interaction of no map; known: none" in complaint(
        invoke("settings.xml", "-o", "t.nc")
    )
    done = invoke("settings.xml", "-o", "t.nc", "--cg", "chain.xml")
    assert done.exit_code == 0, done.output
    assert [t.name for t in load_targets("t.nc").targets] == ["A_A", "A_B", "bond", "angle"]


def test_another_configuration(folder: Path) -> None:
    (folder / "conf.gro").rename(folder / "start.gro")
    (folder / "topol.top").rename(folder / "chains.top")
    assert "no coarse-grained configuration is there; give it by --conf" in complaint(
        invoke("settings.xml", "-o", "t.nc")
    )
    done = invoke("settings.xml", "-o", "t.nc", "--conf", "start.gro", "--top", "chains.top")
    assert done.exit_code == 0, done.output
    assert load_targets("t.nc").count == {"A": 12, "B": 6}


def test_the_base_of_a_topology(folder: Path) -> None:
    """A project of an engine whose only configuration stands in VOTCA's topology."""
    (folder / "start.gro").write_text(project.gro(project.positions(), ("A", "B", "A")))
    (folder / "conf.gro").unlink()
    text = re.sub(r"(?s)<bonded>.*</bonded>", "", project.SETTINGS)
    text = text.replace("<map>chain_cg.xml</map>", "<hoomd-blue><topol>t.xml</topol></hoomd-blue>")
    (folder / "settings.xml").write_text(text.replace("gromacs", "hoomd-blue"))
    (folder / "t.xml").write_text(
        '<topology base="start.gro"><molecules><clear/>'
        '<define name="C" first="1" nbeads="3" nmols="6"/></molecules></topology>'
    )
    done = invoke("settings.xml", "-o", "t.nc", "--json")
    assert done.exit_code == 0, done.output
    assert any("gives no masses" in m for m in json.loads(done.stdout)["messages"])
    assert load_targets("t.nc").count == {"A": 12, "B": 6}


def test_a_star_is_the_one_type(folder: Path) -> None:
    (folder / "conf.gro").write_text(project.gro(project.positions(), ("W",)))
    (folder / "topol.top").unlink()
    text = re.sub(r"(?s)<bonded>.*</bonded>", "", project.SETTINGS).replace("chain_cg.xml", "")
    text = re.sub(r"(?s)<non-bonded>\s*<name>B-A.*</non-bonded>", "", text)
    text = text.replace("<type1>A</type1> <type2>A</type2>", "<type1>*</type1> <type2>*</type2>")
    (folder / "settings.xml").write_text(text)
    (target,) = import_targets("settings.xml").targets
    assert target.types == ("W", "W")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("settings.xml", "A-A.dist.tgt", "lost.tgt", "line 13: A-A: there is no file lost.tgt"),
        (
            "settings.xml",
            "<type1>A<",
            "<type1>X<",
            "line 13: A-A: unknown bead type 'X'; the system",
        ),
        ("settings.xml", "<kBT>2.4943387854</kBT>", "", "has no cg.inverse.kBT"),
        ("settings.xml", "<name>bond<", "<name>bend<", "'bend' is a bonded interaction of no map"),
        ("settings.xml", "chain_cg.xml", "lost.xml", "there is no file lost.xml"),
        ("settings.xml", "<target>", "<aim>", "this is no XML"),
        ("A-A.dist.tgt", "0.9 ", "0.9x ", "A-A.dist.tgt, line 92: "),
        (
            "conf.gro",
            "   2.00000   2.00000   2.00000",
            " 20.0 20.0 20.0",
            "the density is impossible",
        ),
        ("chain.itp", "28.5", "-28.5", "mass is -28.5 at site=1"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, name: str, old: str, new: str, said: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    assert said in complaint(invoke("settings.xml", "-o", "t.nc", "--map-out", "m.yaml", "--quiet"))
    assert not (folder / "t.nc").exists() and not (folder / "m.yaml").exists()


def test_settings_without_targets(folder: Path) -> None:
    text = re.sub(r"<target>.*</target>", "", project.SETTINGS)
    (folder / "settings.xml").write_text(text)
    assert "no interaction has a target" in complaint(invoke("settings.xml", "-o", "t.nc"))
    assert invoke("settings.xml", "--map-out", "m.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["settings.xml"], "import needs -o targets.nc, --map-out map.yaml, or both"),
        (["settings.xml", "-o", "t.nc", "--atoms", "a.top"], "--atoms is for the map file"),
        (["settings.xml", "-o", "settings.xml"], "it is also an input"),
        (["settings.xml", "-o", "t.nc", "--map-out", "t.nc"], "something else is written to it"),
        (["settings.xml", "-o", "no/t.nc"], "the folder"),
        (["lost.xml", "-o", "t.nc"], "there is no file lost.xml"),
        (["topol.top", "-o", "t.nc"], "topol.top, line 1: this is no XML"),
        (["chain.xml", "-o", "t.nc"], "a settings file of VOTCA begins with <cg>"),
    ],
)
def test_wrong_usage(folder: Path, words: list[str], said: str) -> None:
    assert said in complaint(invoke(*words))
    assert not (folder / "t.nc").exists()


def test_no_map_to_write(folder: Path) -> None:
    (folder / "settings.xml").write_text(project.SETTINGS.replace("<map>chain_cg.xml</map>", ""))
    with pytest.raises(ValueError, match=r"settings.xml: there is no map; give it by --cg"):
        import_map(["settings.xml"])
