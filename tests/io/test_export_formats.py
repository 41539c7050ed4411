"""Files of GROMACS, HOOMD and plain tables, read back; records, folders and decks."""

from dataclasses import replace
import json
from pathlib import Path
import re
import runpy
import sys
from typing import Any
from unittest.mock import MagicMock
import warnings

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from bayescg.io.export import FORMATS, ExportModel, write_models
from bayescg.io.export import folder as export_folder
from bayescg.io.export.model import measured
from bayescg.potentials import StillingerWeber
from bayescg.topology import Bonded, Topology, pair_name
from tests.exports import EDGE, KNOWN, chains, energy_of, interaction, places

KCAL = 4.184  # kJ
Terms = dict[str, list[tuple[tuple[int, ...], str]]]  # sites and the table of each term, by kind


def written(model: ExportModel, format: str, path: Path) -> Path:
    write_models({".": model}, format, path / format)
    return path / format


def columns(path: Path) -> np.ndarray:
    """Of a table, comments left out."""
    return np.loadtxt(path, comments=("#", "@"), ndmin=2).T


def total(
    x: np.ndarray,
    types: list[str],
    excluded: set[tuple[int, int]],
    pairs: dict[str, Any],
    terms: Terms,
    tables: dict[str, Any],
) -> float:
    """Energy of a configuration from functions that were read back."""
    i, j = np.triu_indices(len(x), 1)
    free = np.array([(a, b) not in excluded for a, b in zip(i.tolist(), j.tolist(), strict=True)])
    r = measured("bond", x, np.stack([i, j], 1), np.full(3, EDGE))
    names = np.array([pair_name(types[a], types[b]) for a, b in zip(i, j, strict=True)])
    energy = sum(float(u(r[free & (names == name)]).sum()) for name, u in pairs.items())
    for kind, rows in terms.items():
        for sites, table in rows:
            q = measured(kind, x, np.array([sites]), np.full(3, EDGE))
            energy += float(tables[table](q).sum())
    return energy


def sections(path: Path) -> dict[str, list[list[str]]]:
    """Of a topology with one type of molecule: words of each line."""
    out: dict[str, list[list[str]]] = {}
    name = ""
    for line in path.read_text().splitlines():
        line = line.partition(";")[0].strip()
        if match := re.fullmatch(r"\[ (\w+) \]", line):
            name = match[1]
            out[name] = []
        elif line:
            out[name].append(line.split())
    return out


@pytest.mark.parametrize("case", [{}, {"excluded": 2, "extra": True}, {"excluded": 0}])
def test_gromacs_read_back(case: dict[str, Any], tmp_path: Path) -> None:
    """Energies of configurations from the files alone, with their own units and conventions."""
    model = chains(**case)
    folder = written(model, "gromacs", tmp_path)
    top = sections(folder / "topol.top")
    assert top["defaults"] == [["1", "1", "no"]] and top["moleculetype"] == [["M1", "0"]]
    assert top["atomtypes"][0] == ["A", "28", "0.0", "A", "0.0", "1.0"]
    assert top["molecules"] == [["M1", "6"]]
    assert [float(row[7]) for row in top["atoms"]] == [28.0, 44.0] * 3
    size, types, excluded = 6, [], set()
    terms: Terms = {"bond": [], "angle": [], "dihedral": []}
    for m in range(6):
        types += [row[1] for row in top["atoms"]]
        for row in top.get("exclusions", []):
            excluded |= {(m * size + int(row[0]) - 1, m * size + int(k) - 1) for k in row[1:]}
        for kind, width in (("bond", 2), ("angle", 3), ("dihedral", 4)):
            for row in top[f"{kind}s"]:
                assert row[width] == "8" and row[width + 2] == "1.0"
                sites = tuple(m * size + int(k) - 1 for k in row[:width])
                terms[kind].append((sites, f"{kind[0]}{row[width + 1]}"))
    tables = {}
    for path in folder.glob("table_[abd][0-9].xvg"):
        q, u, f = columns(path)
        assert np.all(np.diff(q) > 0.0) and np.isfinite([u, f]).all()
        spline = CubicHermiteSpline(q, u, -f)
        key = path.stem.removeprefix("table_")
        factor = 0.1 if key[0] == "b" else 180.0 / np.pi
        tables[key] = lambda v, s=spline, k=factor: s(v * k) / KCAL
        if key[0] != "b":
            assert (q[0], q[-1]) == ((0.0, 180.0) if key[0] == "a" else (-180.0, 180.0))
    mdp = dict(
        (part.strip() for part in line.split("=", 1))
        for line in (folder / "grompp.mdp").read_text().splitlines()
        if not line.startswith(";")
    )
    groups = mdp["energygrp-table"].split()
    assert mdp["energygrps"] == "A B" and mdp["rvdw"] == "1" and mdp["cutoff-scheme"] == "group"
    pairs = {}
    for a, b in zip(groups[::2], groups[1::2], strict=True):
        r, *rest, h, minus = columns(folder / f"table_{a}_{b}.xvg")
        assert not np.any(rest) and r[0] == 0.0 and r[-1] >= 2.0
        beyond = r > {"A_A": 0.9, "A_B": 0.8, "B_B": 1.0}[f"{a}_{b}"]
        assert not h[beyond].any() and not minus[beyond].any()
        spline = CubicHermiteSpline(r, h, -minus)
        pairs[f"{a}_{b}"] = lambda v, s=spline: s(0.1 * v) / KCAL
    assert sorted(pairs) == ["A_A", "A_B", "B_B"] and not columns(folder / "table.xvg")[1:].any()
    energy = energy_of(model)
    for x in (places(seed=s) for s in range(3)):
        expected = energy(x)
        assert total(x, types, excluded, pairs, terms, tables) == pytest.approx(expected, rel=1e-6)


def test_gromacs_start_and_groups(tmp_path: Path) -> None:
    model = chains()
    folder = written(model, "gromacs", tmp_path)
    lines = (folder / "conf.gro").read_text().splitlines()
    x = np.array(
        [[float(line[20 + 11 * k : 31 + 11 * k]) for k in range(3)] for line in lines[2:-1]]
    )
    d = 10.0 * x - model.x
    np.testing.assert_allclose(d - EDGE * np.round(d / EDGE), 0.0, atol=1e-5)
    members = model.topology.bond.members
    assert np.abs(x[members[:, 0]] - x[members[:, 1]]).max() < 0.4  # whole
    assert lines[1] == "36" and lines[-1].split() == ["2.400000"] * 3
    words = (folder / "index.ndx").read_text().replace("[ ", "[").replace(" ]", "]").split()
    at = [k for k, w in enumerate(words) if w.startswith("[")]
    groups = {
        words[a][1:-1]: words[a + 1 : b] for a, b in zip(at, [*at[1:], len(words)], strict=True)
    }
    assert groups["A"] == [str(k) for k in range(1, 37, 2)] and len(groups["System"]) == 36


def test_gromacs_start_is_read_by_others(tmp_path: Path) -> None:
    mda = pytest.importorskip("MDAnalysis")
    model = chains()
    folder = written(model, "gromacs", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = mda.Universe(str(folder / "conf.gro"))
    x, images = model.placed()
    np.testing.assert_allclose(universe.atoms.positions, x + EDGE * images, atol=1e-4)
    assert universe.atoms.names[:2].tolist() == ["A", "B"]
    np.testing.assert_allclose(universe.dimensions, [EDGE] * 3 + [90.0] * 3)


def test_molecules_of_several_kinds(tmp_path: Path) -> None:
    """Two pairs of A-B, one of B-A: two types of molecule, in the order of the sites."""
    bonds = Bonded(np.array([[0, 1], [2, 3], [4, 5]]), ("A_B",) * 3)
    mass = np.array([28.0, 44.0, 28.0, 44.0, 44.0, 28.0])
    topology = Topology(("A", "B", "A", "B", "B", "A"), mass, np.arange(6) // 2, bond=bonds)
    x = np.arange(18.0).reshape(6, 3)
    labels = ("pair A_B", "bond A_B")
    model = ExportModel(topology, np.full(3, EDGE), 300.0, x, tuple(map(interaction, labels)))
    folder = written(model, "gromacs", tmp_path)
    top = sections(folder / "topol.top")
    assert top["molecules"] == [["M1", "2"], ["M2", "1"]]
    assert "without a potential: pair A_A, pair B_B" in (folder / "README.txt").read_text()
    assert not (folder / "table_A_A.xvg").exists()
    torn = replace(model, topology=replace(topology, molecule=np.array([0, 1, 2, 3, 4, 4])))
    write_models({".": torn}, "gromacs", tmp_path / "torn")
    assert sections(tmp_path / "torn" / "topol.top")["molecules"] == [["M1", "1"]]


def hoomd_table(q: np.ndarray, u: np.ndarray, low: float, high: float, last: bool) -> np.ndarray:
    """As HOOMD reads its tables: linear; the last row is at ``high`` or one step before."""
    step = (high - low) / (len(u) - 1 if last else len(u))
    return np.interp(q, low + step * np.arange(len(u)), u)


def test_hoomd_read_back(tmp_path: Path) -> None:
    model = chains(excluded=2, extra=True)
    folder = written(model, "hoomd", tmp_path)
    start = json.loads((folder / "start.json").read_text())
    assert np.abs(start["position"]).max() <= 0.5 * EDGE
    whole = np.array(start["position"]) + EDGE * np.array(start["image"]) + 0.5 * EDGE - model.x
    np.testing.assert_allclose(whole - EDGE * np.round(whole / EDGE), 0.0, atol=1e-9)
    assert start["mass"] == model.topology.mass.tolist()
    pairs = {}
    for a, b, name, cutoff in start["pairs"]:
        q, u, f = columns(folder / name)
        np.testing.assert_allclose(q, np.linspace(0.0, cutoff, len(q), endpoint=False), atol=1e-9)
        pairs[pair_name(a, b)] = lambda v, u=u, c=cutoff: np.where(
            v < c, hoomd_table(v, u, 0.0, c, False), 0.0
        )
        np.testing.assert_allclose(np.gradient(u, q)[1500:-2], -f[1500:-2], 1e-4, 1e-4)
    terms: Terms = {}
    tables = {}
    for kind in ("bond", "angle", "dihedral"):
        given = start[f"{kind}s"]
        names = [f"{kind}_{given['types'][k]}" for k in given["typeid"]]
        terms[kind] = list(zip(map(tuple, given["group"]), names, strict=True))
        for name in given["types"]:
            q, u, f = columns(folder / f"{kind}_{name}.txt")
            low, high = {"bond": (0.0, start["longest"].get(name)), "angle": (0.0, np.pi)}.get(
                kind, (-np.pi, np.pi)
            )
            np.testing.assert_allclose(q, np.linspace(low, high, len(q)), atol=1e-9)
            np.testing.assert_allclose(
                np.gradient(u, q)[1:-1], -f[1:-1], atol=2e-3 * np.abs(f).max()
            )
            tables[f"{kind}_{name}"] = lambda v, u=u, a=low, b=high: hoomd_table(v, u, a, b, True)
    types = [start["types"][k] for k in start["typeid"]]
    excluded = {(i, j) for i, j in start["exclusions"]}
    energy = energy_of(model)
    for x in (places(seed=s) for s in range(3)):
        found = total(x, types, excluded, pairs, terms, tables)
        assert found == pytest.approx(energy(x), rel=1e-5)


def test_hoomd_script_says_what_its_tables_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs to its end on a stand-in that notes what it is given."""
    folder = written(chains(), "hoomd", tmp_path)
    hoomd = MagicMock()
    hoomd.Snapshot.return_value.communicator.rank = 0
    monkeypatch.setitem(sys.modules, "hoomd", hoomd)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["run.py", "--steps", "7"])
    runpy.run_path("run.py")
    snapshot = hoomd.Snapshot.return_value
    assert snapshot.particles.N == 36 and snapshot.particles.types == ["A", "B"]
    assert (snapshot.bonds.N, snapshot.angles.N, snapshot.dihedrals.N) == (30, 24, 18)
    assert snapshot.pairs.N == 6 * 12
    params = {c.args[0]: c.args[1] for c in hoomd.md.pair.Table().params.__setitem__.call_args_list}
    assert sorted(params) == [("A", "A"), ("A", "B"), ("B", "B")]
    assert len(params["A", "B"]["U"]) == len(params["A", "B"]["F"]) == 4000
    assert params["A", "A"]["r_min"] == 0.0
    cut = {c.args[0]: c.args[1] for c in hoomd.md.pair.Table().r_cut.__setitem__.call_args_list}
    assert cut == {("A", "A"): 9.0, ("A", "B"): 8.0, ("B", "B"): 10.0}
    for kind, width in (("bond", 12001), ("angle", 1801), ("dihedral", 3601)):
        table = getattr(hoomd.md, kind).Table
        assert table.call_args.kwargs == {"width": width}
        for call in table().params.__setitem__.call_args_list:
            assert len(call.args[1]["U"]) == width
    assert hoomd.md.nlist.Cell.call_args.kwargs["exclusions"] == ["special_pair"]
    dt = hoomd.md.Integrator.call_args.kwargs["dt"]
    assert dt == pytest.approx(2.0 / 48.88821, rel=1e-5)  # 2 fs
    hoomd.Simulation().run.assert_called_once_with(7)


def test_plain_tables_read_back(tmp_path: Path) -> None:
    model = chains(excluded=2)
    folder = written(model, "table", tmp_path)
    pairs, tables = {}, {}
    for path in folder.glob("*_*.txt"):
        kind, _, name = path.stem.partition("_")
        q, u, f = columns(path)
        spline = CubicHermiteSpline(q, u, -f)
        if kind == "pair":
            pairs[name] = lambda v, s=spline, c=q[-1]: np.where(v < c, s(np.minimum(v, c)), 0.0)
        else:
            factor = 1.0 if kind == "bond" else 180.0 / np.pi
            tables[f"{kind}_{name}"] = lambda v, s=spline, k=factor: s(v * k)
        unit = "angstrom" if kind in ("pair", "bond") else "degree"
        assert f"({unit}), energy (kcal/mol), force (kcal/mol/{unit})" in path.read_text()
    terms: Terms = {}
    for kind in ("bond", "angle", "dihedral"):
        rows = [line.split() for line in (folder / f"{kind}s.txt").read_text().splitlines()[1:]]
        terms[kind] = [(tuple(map(int, row[:-1])), f"{kind}_{row[-1]}") for row in rows]
    excluded = {(int(i), int(j)) for i, j in columns(folder / "exclusions.txt").T}
    sites = [line.split() for line in (folder / "sites.txt").read_text().splitlines()[2:]]
    x = np.array([row[4:7] for row in sites], float) + EDGE * np.array(
        [row[7:] for row in sites], float
    )
    found = total(x, [row[1] for row in sites], excluded, pairs, terms, tables)
    assert found == pytest.approx(energy_of(model)(model.x), rel=1e-7)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_extrapolated_is_marked(format: str, tmp_path: Path) -> None:
    """In the README of the folder, and at the head of each table that has one."""
    model = chains()
    broken = interaction(
        "pair B_B", energy=lambda r: np.where(r < KNOWN["pair B_B"], np.nan, -np.exp(-r))
    )
    parts = tuple(broken if i.label == "pair B_B" else i for i in model.interactions)
    folder = written(replace(model, interactions=parts), format, tmp_path)
    marks = [
        "pair B_B: extrapolated, not from data: 0 to 3.6 angstrom.",
        "pair A_A: extrapolated, not from data: below 3.3 (the model's own form), 0 to 2.",
        "bond stiff: extrapolated, not from data: 0 to 2.3, beyond 2.9 angstrom.",
        "angle A_B_A: extrapolated, not from data: 0 to 68.7549, 166.158 to 180 degrees.",
        "dihedral turn: nothing is extrapolated.",
    ]
    text = (folder / "README.txt").read_text()
    assert all(mark in text for mark in marks)
    tables = [p.read_text() for p in folder.iterdir() if p.suffix in (".table", ".xvg", ".txt")]
    if format != "openmm":  # whose tables stand in XML
        assert all(sum(mark in t for t in tables) >= 2 for mark in marks)
    assert "nan" not in "".join(tables).lower() and "inf" not in "".join(t.lower() for t in tables)


@pytest.mark.parametrize("format", ["gromacs", "hoomd"])
def test_a_term_that_a_format_cannot_express_is_named(format: str, tmp_path: Path) -> None:
    model = replace(chains(excluded=0), three_body=StillingerWeber(10.0))
    with pytest.raises(ValueError, match=f"the {format} format cannot express the three-body term"):
        written(model, format, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["gromacs", "hoomd", "openmm"])
def test_a_box_that_is_too_small_is_said(format: str, tmp_path: Path) -> None:
    model = replace(chains(), box=np.array([30.0, 19.0, 30.0]))
    with pytest.raises(
        ValueError, match=r"pair B_B: the cut-off of 10 angstrom is beyond half the box, 9\.5"
    ):
        written(model, format, tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"box": np.array([9.0, 0.0, 9.0])}, "box is .* allowed are 3 positive edges"),
        ({"x": np.zeros((3, 3))}, r"x has shape \(3, 3\); allowed are finite positions \(36, 3\)"),
        ({"temperature": 0.0}, "temperature is 0 K"),
        ({"interactions": (interaction("pair A_A"),) * 2}, "pair A_A is given twice"),
        (
            {"interactions": (interaction("bond A_B", name="long"),)},
            "bond long is of 'long', which the topology does not have; allowed: A_B, stiff",
        ),
        (
            {"interactions": (interaction("pair A_A", types=("A", "C"), name="A_C"),)},
            "pair A_C is of 'C', which the topology does not have; allowed: A, B",
        ),
        ({"three_body": StillingerWeber(1.0)}, "allowed is a topology without exclusions"),
    ],
)
def test_a_model_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(chains(), **changes)


def test_molecules_are_made_whole() -> None:
    model = chains()
    broken = model.x + EDGE * np.random.default_rng(0).integers(-2, 3, model.x.shape)
    x, images = replace(model, x=broken).placed()
    assert np.all((x >= 0.0) & (x < EDGE))
    whole = x + EDGE * images
    i, j = model.topology.bond.members.T
    assert np.abs(whole[i] - whole[j]).max() < 3.5
    d = whole - model.x
    np.testing.assert_allclose(d - EDGE * np.round(d / EDGE), 0.0, atol=1e-9)


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    """An empty one gives way; one with files is refused; after an error nothing is left."""
    (tmp_path / "empty").mkdir()
    files = write_models({"mean": chains(), "draw_001": chains()}, "table", tmp_path / "empty")
    assert {f.split("/")[0] for f in files} == {"mean", "draw_001"}
    assert all((tmp_path / "empty" / f).is_file() for f in files)
    with pytest.raises(FileExistsError, match="the folder is not empty; give a new one"):
        write_models({".": chains()}, "table", tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="it is a file"):
        write_models({".": chains()}, "table", tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="make it first"):
        write_models({".": chains()}, "table", tmp_path / "no" / "folder")
    wrong = replace(chains(), interactions=(interaction("pair A_A", known=(9.5, 10.0)),))
    with pytest.raises(ValueError, match="not within the cut-off"):
        write_models({"mean": chains(), "draw_001": wrong}, "table", tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file"]
    with pytest.raises(
        ValueError, match="unknown format 'xyz'; known: lammps, gromacs, openmm, hoomd, table"
    ):
        write_models({".": chains()}, "xyz", tmp_path / "new")


def test_a_folder_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission bits would not stop the superuser, as whom containers run tests."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"no folder can be made in .* \(Permission denied\)"):
        export_folder.check_folder(tmp_path / "new")
