"""Runs that are cut off: they go on to the result that they would have had, and refuse what is not theirs."""

import errno
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg import workflow
from bayescg.infer import checkpoint
from bayescg.infer.checkpoint import CheckpointError, interrupted, keeping, place
from bayescg.infer.matching import Matched
from bayescg.infer.updates import Measured
from tests.alike import check_alike

SWEEP = Path(__file__).parents[2] / "data" / "ising" / "sweep.nc"
ISING = {"model": "ising", "data": SWEEP}
#: A short fit by every method that has a loop of its own.
RUNS: dict[str, dict[str, Any]] = {
    "mcem": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=normal", "mu=0.2,0.4"],
        "method_options": ["max_iterations=6", "free_chains=32"],
    },
    "mcem, a member that is fitted again": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=flat", "mu=-1,0.2"],
        "method_options": ["max_iterations=8", "free_chains=32"],
    },
    "mcem, of water": {
        "model": "spce_water",
        "data": SWEEP.parents[1] / "spce_water" / "frames.nc",
        "options": ["frames=3", "features=10"],
        "method_options": ["max_iterations=3", "free_chains=8", "warmup=5", "information=8"],
    },
    "svi": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=normal", "mu=0.2"],
        "method_options": ["steps=800"],
    },
    "smc": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=normal", "prior_scale=1", "mu=0.2"],
        "method_options": ["particles=100"],
    },
    "grow": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=normal", "mu=0.2,0.4"],
        "method_options": [],
    },
    "nuts": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=normal", "prior_scale=1", "mu=0.2,0.4"],
        "method_options": ["samples=20", "warmup=20", "chains=2"],
    },
    "nuts, log Z learned": {
        **ISING,
        "options": ["ratio=8", "frames=10", "prior=normal", "prior_scale=1", "mu=0.2"],
        "method_options": ["samples=220", "warmup=120", "chains=2", "log_partition=learned"],
    },
    "arcg": {
        **ISING,
        "options": ["ratio=8", "frames=10", "mu=0.2"],
        "method_options": ["max_iterations=5"],
    },
    "ibi": {
        "model": "molecular",
        "data": SWEEP.parents[1] / "spce_water" / "frames_512.nc",
        "options": ["frames=4"],
        "method_options": ["max_iterations=4", "warmup=5", "relax=2", "samples=6", "chains=8"],
    },
}


#: Of them, those that continuous integration cuts off as well.
CUT_IN_CI = ("mcem",)


class Cut(Exception):
    """What ends a run in these tests."""


class Words:
    """Counts words of progress, and ends the run at one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.count, self.last = 0, last

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        self.count += 1
        if self.count == self.last:
            raise Cut


def fit(name: str, **more: Any) -> Any:
    return workflow.fit(method=name.split(",")[0], **RUNS[name], **more)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in CUT_IN_CI else pytest.mark.by_hand)
        for n in RUNS
    ],
)
def test_what_was_cut_off_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    """At the first word, in the middle and at the last word, one after the other: the second cut is of what went on."""
    words = Words()
    whole = fit(name, progress=words)
    file = tmp_path / "run.checkpoint"
    with pytest.raises(Cut):
        fit(name, checkpoint=file, progress=Words(1))
    for part in (words.count // 3, words.count // 2):
        with pytest.raises(Cut):
            fit(name, checkpoint=file, resume=True, progress=Words(max(part, 1)))
    again = fit(name, checkpoint=file, resume=True)
    check_alike(whole, again)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """States of every kind of container, and what a reader must not make of them."""
    state = {
        "numbers": (1, 0.1 + 0.2, True, None, "text", float("inf")),
        "arrays": [
            np.arange(6).reshape(2, 3),
            jnp.full(2, 1.5, jnp.float32),
            np.array(["a", "b"]),
        ],
        "key": jax.random.key(7),
        "named": Measured(*(np.zeros(1),) * 2, *(np.zeros((1, 1)),) * 2, np.inf),
        "data": Matched(np.ones(2), 1.0, None, "converged", 3, 0.5, {"u": np.ones(3)}, 1),  # type: ignore[arg-type]
        "words": np.array(["one", "other"], dtype=object),
    }
    path = tmp_path / "x"
    with pytest.raises(Cut), keeping(path, {"seed": "0"}):
        place("loop").keep({"other": 1})
        place("loop").keep(state)
        raise Cut
    with keeping(path, {"seed": "0"}, resume=True):
        assert place("loop").resumed() == {"other": 1}
        found = place("loop").resumed()
        assert place("loop").resumed() is None
    assert found is not None
    assert found["numbers"] == state["numbers"]
    jax.tree.map(np.testing.assert_array_equal, found["arrays"], state["arrays"])
    assert found["arrays"][1].dtype == np.float32
    np.testing.assert_array_equal(
        jax.random.key_data(found["key"]), jax.random.key_data(state["key"])
    )
    assert isinstance(found["named"], Measured) and isinstance(found["data"], Matched)
    assert found["data"].ended == "converged" and found["data"].measured is None
    assert list(found["words"]) == ["one", "other"]


def kept(path: Path, state: Any = 1, **identity: str) -> None:
    with pytest.raises(Cut), keeping(path, {"model": "ising", "seed": "0", **identity}):
        place("loop").keep(state)
        raise Cut


@pytest.mark.parametrize("name", ["model", "seed", "version of jax", "something new"])
def test_another_run_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    kept(path)
    with pytest.raises(CheckpointError, match=f"is of another run: its {name} is "):
        with keeping(path, {"model": "ising", "seed": "0", name: "other"}, resume=True):
            raise AssertionError


class Foreign(NamedTuple):
    """Of no module that a checkpoint may name."""

    a: int


@pytest.mark.parametrize("how", ["cut short", "no archive", "another format", "foreign", "empty"])
def test_broken_files_are_refused(how: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    kept(path, Foreign(1) if how == "foreign" else np.ones(1000))
    whole = path.read_bytes()
    if how == "cut short":
        path.write_bytes(whole[:-300])
    elif how == "no archive":
        path.write_bytes(b"not this")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "another format":
        about = {"format": 99, "identity": {}, "arrays": 0, "places": {}}
        with path.open("wb") as out:
            np.savez(out, about=np.array(json.dumps(about)))
    with pytest.raises(CheckpointError, match="is no checkpoint that can be read"):
        with keeping(path, {"model": "ising", "seed": "0"}, resume=True):
            raise AssertionError
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        with keeping(tmp_path / "y", {}, resume=True):
            raise AssertionError


def test_a_full_disk_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before stays whole, and the run says what it could not write."""
    path = tmp_path / "x"
    kept(path)
    before = path.read_bytes()

    def full(*args: Any, **more: Any) -> None:
        args[0].write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "savez", full)
    monkeypatch.setenv("BAYESCG_CHECKPOINT", "1e-9")
    with keeping(path, {"model": "ising", "seed": "0"}) as file:
        place("loop").keep(2)
        assert file is not None and "No space left on device" in file.trouble
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_an_interrupted_loop_is_kept_as_it_was(tmp_path: Path) -> None:
    """What follows the loop is made of an end that is none, and not kept."""
    path = tmp_path / "x"
    with keeping(path, {}):
        first = place("first")
        first.keep(1)
        interrupted()
        place("second").keep(2)
    with keeping(path, {}, resume=True):
        assert place("first").resumed() == 1
        assert place("second").resumed() is None


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    at = place("loop")
    at.keep(1)
    interrupted()
    assert at.resumed() is None and not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="resume needs the checkpoint"):
        fit("mcem", resume=True)


def test_several_processes_keep_what_all_have_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of keys, too; and an exception writes nothing, for then the others may be gone."""
    path = tmp_path / "x"
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(checkpoint, "agreed", lambda yes: yes)
    monkeypatch.setenv("BAYESCG_CHECKPOINT", "1e-9")
    with pytest.raises(Cut), keeping(path, {}):
        place("loop").keep((jax.random.key(3), jnp.ones(2), "word", 5))
        monkeypatch.setenv("BAYESCG_CHECKPOINT", "1e9")
        before = path.read_bytes()
        raise Cut
    assert path.read_bytes() == before
    monkeypatch.undo()
    with keeping(path, {}, resume=True):
        key, ones, word, five = place("loop").resumed()
    np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(3)))
    assert list(ones) == [1.0, 1.0] and word == "word" and five == 5


def test_what_cannot_be_kept_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAYESCG_CHECKPOINT", "1e-9")
    with keeping(tmp_path / "x", {}) as file:
        place("loop").keep({"odd": object()})
        assert file is not None and "no object can be kept" in file.trouble
    assert not list(tmp_path.iterdir())
