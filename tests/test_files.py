"""Files are whole or not there, and an unwritable path is known before the work."""

import os
from pathlib import Path
import stat

import numpy as np
import pytest
import xarray as xr

from bayescg import files
from bayescg.files import (
    check_apart,
    check_writable,
    discard_unfinished,
    labelled,
    read_netcdf,
    storable,
    write_atomically,
    write_netcdf,
)


def test_a_new_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with write_atomically(path) as part:
        assert part.parent == tmp_path
        assert part.suffix == ".txt"
        assert not path.exists()
        part.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_half_way_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), write_atomically(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_failure_of_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object) -> None:
        raise OSError("no")

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", no)
    with pytest.raises(OSError, match="no"), write_atomically(path) as part:
        part.write_text("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_mode_of_the_old_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o640)
    with write_atomically(path) as part:
        part.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "there" / "b.txt")
    with write_atomically(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "b.txt").read_text() == "new"


def test_what_can_be_written_passes_and_stays_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.nc")
    assert os.listdir(tmp_path) == []
    (tmp_path / "old.nc").write_text("old")
    check_writable(str(tmp_path / "old.nc"))
    assert (tmp_path / "old.nc").read_text() == "old"
    assert os.listdir(tmp_path) == ["old.nc"]


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("missing/a.nc", FileNotFoundError, "missing does not exist"),
        ("file/a.nc", NotADirectoryError, "is a file, not a folder"),
        ("folder", IsADirectoryError, "it is a folder"),
        ("pipe", OSError, "not a regular file"),
    ],
)
def test_what_cannot_be_written_is_said(
    tmp_path: Path, path: str, error: type[OSError], says: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(os.listdir(tmp_path))
    for try_it in (check_writable, lambda p: write_atomically(p).__enter__()):
        with pytest.raises(error, match=says) as caught:
            try_it(tmp_path / path)
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_read_only_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission bits would not stop the superuser, as whom containers run tests."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"a\.nc: the folder .* is read-only"):
        check_writable(tmp_path / "a.nc")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="No space left on device"):
        check_writable(tmp_path / "a.nc")


def test_a_read_only_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nc").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="the file is read-only"):
        check_writable(tmp_path / "a.nc")


def test_an_interrupted_probe_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "close", interrupt)
    with pytest.raises(KeyboardInterrupt):
        check_writable(tmp_path / "a.nc")
    assert os.listdir(tmp_path) == []


def test_unfinished_files_can_be_removed_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "old.txt") as part:
        part.write_text("half")
        discard_unfinished()
        assert os.listdir(tmp_path) == ["old.txt"]
    with write_atomically(tmp_path / "new.txt") as part:
        part.write_text("new")
    discard_unfinished()
    assert (tmp_path / "new.txt").read_text() == "new"


def test_an_input_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    Path("a.nc").write_text("a")
    Path("soft.nc").symlink_to("a.nc")
    os.link("a.nc", "hard.nc")
    for name in ("a.nc", "./a.nc", "folder/../a.nc", tmp_path / "a.nc", "soft.nc", "hard.nc"):
        with pytest.raises(ValueError, match="it is also an input"):
            check_apart([name], ["b.nc", "a.nc"])
        with pytest.raises(ValueError, match="something else is written to it"):
            check_apart(["a.nc", name], [])
    for name in ("new.nc", "./new.nc", "folder/../new.nc"):  # not there yet
        with pytest.raises(ValueError, match="something else is written to it"):
            check_apart(["new.nc", name], ["a.nc"])
    check_apart(["new.nc", "folder/a.nc"], ["a.nc", "b.nc"])


def test_attributes_take_a_form_netcdf_holds() -> None:
    given = {
        "text": "a",
        "empty": "",
        "yes": True,
        "no": np.False_,
        "count": np.int64(3),
        "far": 2**64 - 1,
        "real": np.float32(0.5),
        "none": None,
        "options": {"ratio": 4, "mu": [0.0, np.float64(1.0)]},
        "range": np.array([1.0, 2.0]),
        "matrix": np.eye(2),
    }
    assert {k: v for k, v in storable(given).items() if k != "range"} == {
        "text": "a",
        "empty": "",
        "yes": 1,
        "no": 0,
        "count": 3,
        "far": "18446744073709551615",
        "real": 0.5,
        "none": "null",
        "options": '{"ratio": 4, "mu": [0.0, 1.0]}',
        "matrix": "[[1.0, 0.0], [0.0, 1.0]]",
    }
    assert type(storable(given)["yes"]) is int
    with pytest.raises(ValueError, match="attribute 'bad' is a object"):
        storable({"bad": object()})


def test_labels_fill_what_is_missing() -> None:
    ds = xr.Dataset({"a": ("r", [1.0], {"units": "K"})}, {"r": [0.5]})
    out = labelled(ds, {"r": {"units": "angstrom"}})
    assert out["a"].attrs == {"units": "K", "long_name": "a"}
    assert out["r"].attrs == {"units": "angstrom", "long_name": "r"}
    assert ds["r"].attrs == {}


def test_netcdf_round_trip_keeps_types_and_labels(tmp_path: Path) -> None:
    ds = xr.Dataset(
        {
            "spin": ("site", np.array([1, -1], np.int8)),
            "single": ("site", np.ones(2, np.float32)),
            "flag": ("site", np.array([True, False])),
            "bond": (("bond", "place"), np.array([[0, 1]])),
            "wait": ((), 2.5, {"units": "seconds"}),
        },
        {"site": ["left", "right"]},
        {"done": True, "options": {"a": 1}},
    )
    write_netcdf(xr.DataTree.from_dict({"/": ds, "/more": ds[["spin"]]}), tmp_path / "a.nc")
    tree = read_netcdf(tmp_path / "a.nc")
    again = tree.to_dataset()
    xr.testing.assert_equal(again, ds)
    assert {n: v.dtype for n, v in again.data_vars.items()} == {
        n: v.dtype for n, v in ds.data_vars.items()
    }
    assert again["wait"].attrs == {"units": "seconds", "long_name": "wait"}
    assert again.attrs == {"done": 1, "options": '{"a": 1}'}
    xr.testing.assert_equal(tree["more"].to_dataset(), ds[["spin"]])
    write_netcdf(tree.isel(site=[0]), tmp_path / "a.nc")  # over itself, cut, as it was read
    assert read_netcdf(tmp_path / "a.nc").sizes["site"] == 1


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.nc"):
        read_netcdf(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="is a folder"):
        read_netcdf(tmp_path)
    path = tmp_path / "a.nc"
    write_netcdf(xr.DataTree(xr.Dataset({"a": ("r", np.random.default_rng(0).random(9999))})), path)
    whole = path.read_bytes()
    for content in (b"", b"not netCDF", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as netCDF") as caught:
            read_netcdf(path)
        assert "\n" not in str(caught.value)
