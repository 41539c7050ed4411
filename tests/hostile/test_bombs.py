"""Small files that a careless reader makes huge or runs: entities of XML, aliases and tags of YAML, empty arrays."""

import os
from pathlib import Path
import time
from typing import Any
import zipfile

import netCDF4
import numpy as np
import pytest

from tests.hostile.pool import Worker

SOON = 30.0  # s on a busy machine; each takes two at most, and a bomb that goes off minutes
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
DOCUMENTS = {
    "billion laughs": f'<!DOCTYPE cg [<!ENTITY l0 "lol">{LAUGHS}]><cg>&l9;</cg>',
    "quadratic": f'<!DOCTYPE cg [<!ENTITY a "{"x" * 50000}">]><cg>{"&a;" * 50000}</cg>',
    "a file": '<!DOCTYPE cg [<!ENTITY a SYSTEM "file:///etc/hostname">]><cg>&a;</cg>',
    "parameters": '<!DOCTYPE cg [<!ENTITY % a SYSTEM "file:///etc/hostname"> %a;]><cg/>',
    "a document type elsewhere": '<!DOCTYPE cg SYSTEM "http://localhost:9/no.dtd"><cg/>',
}


def refused(worker: Worker, reader: str, path: Path) -> str:
    began = time.monotonic()
    answer = worker.ask(do="read", name=reader, path=str(path))
    taken = time.monotonic() - began
    assert answer["outcome"] == "refused", answer
    assert taken < SOON, f"{taken:.1f} s"
    return str(answer["text"])


@pytest.fixture(scope="module")
def warm(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A process that has imported what it needs, so that only the reading is timed."""
    path = tmp_path_factory.mktemp("warm") / "none"
    path.write_text("")
    for reader in ("xml", "map_file", "data", "resumed"):
        worker.ask(do="read", name=reader, path=str(path))
    return worker


@pytest.mark.parametrize("name", DOCUMENTS)
def test_entities(name: str, tmp_path: Path, warm: Worker) -> None:
    """A document type is refused before anything of it is expanded or fetched."""
    path = tmp_path / "settings.xml"
    path.write_text(DOCUMENTS[name])
    assert "line 1: a document type; allowed is XML without DOCTYPE" in refused(warm, "xml", path)


def test_nested_elements(tmp_path: Path, warm: Worker) -> None:
    path = tmp_path / "settings.xml"
    path.write_text("<cg>" * 100_000 + "</cg>" * 100_000)
    assert refused(warm, "votca_settings", path)


def yaml_bombs() -> dict[str, str]:
    lists = "a: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for n in range(1, 30):
        lists += f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    keys = "molecules:\n  M:\n    beads: &a0 {A: [C]}\n"
    for n in range(1, 12):
        keys += f"    k{n}: &a{n} {{{', '.join(f'x{i}: *a{n - 1}' for i in range(9))}}}\n"
    beads = "".join(f"      B{n}: {{numbers: 1-9999999}}\n" for n in range(3000))
    return {
        "lists of aliases": lists + "molecules: *a29\n",
        "mappings of aliases": keys,
        "an alias of itself": "molecules: &a {M: *a}\n",
        "a list of itself": "molecules: &a [*a]\n",
        "brackets": "[" * 100_000,
        "indents": "".join(" " * n + "a:\n" for n in range(2000)),
        "one long number": "temperature: " + "9" * 1_000_000 + "\nmolecules: {}\n",
        "places": "molecules:\n  M:\n    beads:\n" + beads,
    }


@pytest.mark.parametrize("name", yaml_bombs())
def test_yaml(name: str, tmp_path: Path, warm: Worker) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(yaml_bombs()[name])
    assert refused(warm, "map_file", path)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch hacked']",
        "!!python/object/new:os.system ['touch hacked']",
        "!!python/object/apply:subprocess.check_output [[touch, hacked]]",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_tags_of_python_run_nothing(tag: str, tmp_path: Path, warm: Worker) -> None:
    """Where a mapping is needed, and where text is: the tag is text to this reader, and is not obeyed."""
    path = tmp_path / "map.yaml"
    for text in (tag, f"molecules: {tag}", f"molecules: {{M: {{beads: {tag}}}}}"):
        path.write_text(f"{text}\n")
        assert refused(warm, "map_file", path)
    assert os.listdir(tmp_path) == ["map.yaml"]
    assert not Path("hacked").exists()


def declare(path: Path, sizes: dict[str, int], **more: Any) -> None:
    with netCDF4.Dataset(path, "w") as file:
        for name, size in sizes.items():
            file.createDimension(name, size)
        file.createVariable("x", "i1", tuple(sizes), zlib=True, **more)
        file.beta = 1.0


def test_arrays_that_no_file_holds(tmp_path: Path, warm: Worker) -> None:
    path = tmp_path / "data.nc"
    declare(path, {"frame": 2**31 - 1, "site": 2**20}, chunksizes=(1024, 1024))
    assert path.stat().st_size < 20_000
    text = refused(warm, "data", path)
    assert "declares 2.25e+06 GB of arrays, 'x' most of them" in text


def test_an_array_that_is_compressed_well_is_read(tmp_path: Path, warm: Worker) -> None:
    """Spins that are all one are packed a thousand to one, and are data nevertheless."""
    path = tmp_path / "data.nc"
    declare(path, {"frame": 2000, "site": 5000})
    with netCDF4.Dataset(path, "a") as file:
        file["x"][...] = np.ones((2000, 5000), np.int8)
    assert path.stat().st_size < 100_000
    assert warm.ask(do="read", name="data", path=str(path))["outcome"] == "accepted"


def test_groups_in_groups(tmp_path: Path, warm: Worker) -> None:
    path = tmp_path / "data.nc"
    with netCDF4.Dataset(path, "w") as file:
        inner = file
        for _ in range(300):
            inner = inner.createGroup("g")
    for reader in ("data", "result", "targets"):
        assert refused(warm, reader, path)


def test_a_checkpoint_that_unpacks_to_more_than_there_is(tmp_path: Path, warm: Worker) -> None:
    """A header of an array that its archive does not hold, and an archive of zeros."""
    path = tmp_path / "fit.nc.checkpoint"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"
    block = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
    about = np.array('{"format": 1, "identity": {}, "arrays": 1, "places": {}}')
    whole = tmp_path / "whole.npz"
    np.savez(whole, about=about)
    with zipfile.ZipFile(whole) as held, zipfile.ZipFile(path, "w") as out:
        out.writestr("about.npy", held.read("about.npy"))
        out.writestr("a0.npy", block)
    assert "is no checkpoint that can be read" in refused(warm, "resumed", path)
