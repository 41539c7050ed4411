"""Settings of VOTCA, and XML at all: what is read, what is said not to be, and what is refused with its line."""

from pathlib import Path
import re

import pytest

from bayescg.io.votca import read_settings, read_xml
from tests import votca_project as project
from tests.io.votca import put


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return project.write(tmp_path)


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
