"""``bayescg plan``: what it predicts from a short run, and what it refuses."""

from collections.abc import Iterator
from dataclasses import replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner, Result
import jax
import numpy as np
import pytest
import xarray as xr

from bayescg import io, workflow
from bayescg.cli import cli
from bayescg.console import duration
from bayescg.infer.options import LIQUID, MCEMOptions
from bayescg.infer.run import mcem
from bayescg.workflow import measuring, planning, system
from bayescg.workflow.measuring import Cost, Enough, Watch
from bayescg.workflow.planning import Search

SHORT = ("-s", "ratio=4", "-s", "prior=normal", "-M", "draws=4", "--draws", "2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).choice([-1, 1], size=(12, 16))
    io.save(xr.Dataset({"x": (("frame", "site"), x)}, attrs={"beta": 0.3, "mu": 0.3}), "data.nc")
    return tmp_path


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *words])


def search(options: MCEMOptions, **parts: float) -> Search:
    zero = dict.fromkeys(("fixed", "iteration", "sweep", "renewal", "information"), 0.0)
    return Search(options.rule(), options.max_iterations, **(zero | parts))


NOTHING = Cost(0.0, 0.0, 0.0, 0, 0, 0)


def test_what_chains_do_is_divided_and_the_rest_is_not() -> None:
    cost = Cost(fixed=10.0, chains=60.0, compiling=5.0, base=100, peak=500, compiler=900)
    assert [cost.seconds(n) for n in (1, 2, 4)] == [70.0, 40.0, 25.0]
    assert [cost.memory(n) for n in (1, 2, 4)] == [500, 300, 200]


def test_sweeps_are_like_those_of_a_fit_of_water() -> None:
    """Of 18 iterations, which took 470 sweeps."""
    water = search(MCEMOptions(**LIQUID))
    expected = water.sweeps(18)
    assert len(expected) == 18 and expected[0] == 8 and max(expected) == LIQUID["max_sweeps"]
    assert 0.7 < sum(expected) / 470 < 1.3


def test_robbins_monro_sweeps_once_an_iteration() -> None:
    paper = search(MCEMOptions(schedule="paper"))
    assert paper.sweeps(30) == [1] * 30


def test_a_search_costs_the_sum_of_its_parts() -> None:
    parts = {"fixed": 7.0, "iteration": 1.0, "sweep": 0.5, "information": 3.0}
    cost = search(MCEMOptions(**LIQUID), **parts).cost([8, 8, 16], NOTHING)
    assert cost.fixed == 7.0 + 3 * 1.0 and cost.chains == 0.5 * 32 + 3.0


def test_chains_are_cooled_as_often_as_the_fit_does() -> None:
    """As many sweeps as those that sample, in whole groups of eight chains by 40 sweeps."""
    o = MCEMOptions(free_chains=64)
    cost = search(o, renewal=1.0).cost([10] * 16, NOTHING)
    assert cost.chains == 64 * 10 * 16 // (8 * 40)


@pytest.mark.parametrize("held_up", [None, 0, 2])
def test_parts_are_found_though_a_run_was_held_up(held_up: int | None) -> None:
    counts = np.array([(1, 4, 0), (1, 20, 1), (1, 4, 0), (1, 4, 1), (1, 20, 0)], float)
    seconds = counts @ np.array([0.005, 0.001, 0.002])
    if held_up is not None:
        seconds[held_up] *= 60.0
    found = planning._parts(counts, seconds)
    assert found.min() >= 0.0
    whole = np.array([18.0, 400.0, 20.0])
    assert whole @ found == pytest.approx(whole @ [0.005, 0.001, 0.002], rel=0.1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    monkeypatch.setattr(measuring.time, "perf_counter", found)
    yield found


class Heard:
    def __init__(self) -> None:
        self.tasks: list[str] = []

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        self.tasks.append(task)


def test_a_watch_leaves_compilation_out_and_stops_once(clock: Clock) -> None:
    heard = Heard()
    watch = Watch(heard, "calibrate", budget=10.0)
    for at, done in ((5.0, 0.1), (7.0, 0.2), (12.0, 0.3)):
        clock.now = at
        watch.update("smc", done, {})
    watch.meter.hear(measuring.COMPILED, 3.0)
    clock.now = 17.0  # three of these were the compiler's
    watch.update("smc", 0.4, {})
    assert watch.seconds("smc") == pytest.approx((2.0 + 5.0 + 2.0) / 3)
    clock.now = 20.0
    with pytest.raises(Enough):
        watch.update("smc", 0.5, {})
    watch.update("smc", 0.6, {})
    assert watch.stopped and heard.tasks == ["calibrate: smc"] * 6


def test_what_runs_after_the_longest_compilation_is_timed(clock: Clock) -> None:
    watch = Watch(Heard(), "calibrate")
    for at, taken in ((5.0, 1.0), (30.0, 20.0), (41.0, 1.0)):
        clock.now = at
        watch.meter.hear(measuring.COMPILED, taken)
    clock.now = 43.0  # after the longest ended: 10 s, a second of compilation, 2 s
    watch.update("nuts", 0.5, {})
    assert watch.first() == pytest.approx(12.0)


def test_passes_of_a_task_are_apart(clock: Clock) -> None:
    watch = Watch(Heard(), "calibrate")
    for at, done in ((1.0, 0.5), (2.0, 1.0), (50.0, 0.5), (53.0, 1.0)):
        clock.now = at
        watch.update("predict", done, {})
    assert watch.seconds("predict") == 2.0 and watch.count("predict") == 4


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_compiled_again_counts(kept: bool, clock: Clock) -> None:
    """What JAX keeps is not in the next run's time, and what it does not keep is."""
    watch = Watch(Heard(), "calibrate")
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    clock.now = 100.0
    watch.meter.hear(measuring.COMPILED, 2.0 * least if kept else 0.5 * least)
    cost = watch.cost(0.0, 0.0)
    assert cost.fixed + cost.compiling == pytest.approx(100.0)
    assert cost.compiling == (2.0 * least if kept else 0.0)


def test_what_was_found_compiled_is_needed_elsewhere(clock: Clock) -> None:
    watch = Watch(Heard(), "calibrate")
    watch.meter.hear(measuring.SAVED, 8.0)
    watch.meter.hear(measuring.COMPILED, 0.5)
    clock.now = 4.0
    cost = watch.cost(0.0, 0.0)
    assert cost.fixed == pytest.approx(4.0) and cost.compiling == pytest.approx(8.0)


def test_memory_that_is_used_for_a_moment_is_seen() -> None:
    watch = Watch(Heard(), "calibrate")
    size = 200_000_000
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("Linux alone forgets the most that was used, and not in every container")
    np.ones(size // 8).sum()
    cost = watch.cost(0.0, 0.0)
    assert 0.9 * size < cost.peak - cost.base < 1.3 * size
    after = Watch(Heard(), "calibrate").cost(0.0, 0.0)
    assert after.peak - after.base < 0.5 * size


@pytest.mark.by_hand
def test_a_fit_of_a_lattice_is_planned(folder: Path) -> None:
    before = sorted(p.name for p in folder.rglob("*"))
    done = invoke(
        "ising", "-d", "data.nc", *SHORT, "--iterations", "3", "--devices", "1,3", "--json"
    )
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in folder.rglob("*")) == before
    found = json.loads(done.stdout)
    assert (found["iterations"], found["most_iterations"], found["draws"]) == (3, 200, 2)
    one, three = found["devices"]
    assert 0.0 < one["fit_seconds"] and 0.0 < one["prediction_seconds"]
    assert three["fit_seconds"] <= one["fit_seconds"] < found["fit_seconds_at_most"]
    assert one["not_shared_evenly"] == ""
    assert three["not_shared_evenly"] == "256 chains (-M free_chains)"
    assert 1e8 < one["fit_bytes"] < found["available_bytes"]
    assert found["search"]["iteration"] + found["search"]["sweep"] > 0.0


@pytest.mark.by_hand
def test_a_fit_by_nuts_is_planned(folder: Path) -> None:
    """A tenth of the transitions stands for them all, of which the first are the longest."""
    short, longer = (
        workflow.plan(
            "ising",
            "data.nc",
            method="nuts",
            options=["ratio=8", "prior=normal"],
            method_options=["chains=2", "warmup=60", f"samples={n}"],
            draws=4,
            devices=(1, 4),
        )
        for n in (60, 6000)
    )
    assert longer.fit.chains > short.fit.chains > 0.0
    assert longer.devices[4] == "2 chains (-M chains)"
    assert longer.iterations is None and longer.prediction is not None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--devices", "0"], "--devices takes positive numbers"),
        (["--devices", "1,x"], "--devices takes positive numbers"),
        (["--devices", ""], "--devices takes positive numbers"),
        (["--draws", "0"], "draws must be at least 1, got 0"),
        (["--iterations", "0"], "iterations must be at least 1, got 0"),
        (["--iterations", "201"], "at most 200 iterations, got 201"),
        (["-m", "nuts", "--iterations", "5"], "only MC-EM has iterations"),
        (["-m", "none"], "unknown method 'none'"),
        (["-s", "no=1"], "unknown option 'no'"),
        (["-M", "no=1"], "unknown option 'no'"),
        (["-O", "no"], "unknown observable 'no'"),
        (["-O", "correlation:max=99"], "correlation max must be below"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(
    words: list[str], says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr("bayescg.infer.run.MCEM.run", lambda *a, **k: ran.append(a))
    done = invoke("ising", "-d", "data.nc", "-s", "ratio=4", *words)
    assert done.exit_code == 2 and says in done.stderr, done.output
    assert len(done.stderr.splitlines()) == 1 and not ran


def test_an_unknown_model_or_file_is_told_as_by_fit(folder: Path) -> None:
    for model, data in (("isin", "data.nc"), ("ising", "none.nc")):
        ours = invoke(model, "-d", data)
        theirs = CliRunner().invoke(cli, ["fit", model, "-d", data, "-o", "new.nc"])
        assert (ours.exit_code, ours.stderr) == (2, theirs.stderr)


def test_times_as_people_say_them() -> None:
    said = [duration(s) for s in (0.26, 59.7, 200.0, 3599.6, 9000.0)]
    assert said == ["0.3 s", "1 min 0 s", "3 min 20 s", "1 h 0 min", "2 h 30 min"]


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "available", lambda: 10_000_000_000)
    run = mcem(system("ising", ratio=4), xr.Dataset())
    large = Cost(0.0, 0.0, 0.0, 0, 20_000_000_000, 0)
    (told,) = [t for t in planning._assumed(run, large, None) if "there are 10.0 GB" in t]
    assert "this needs 20.0 GB" in told and "-M free_chains" in told and "-s frames" in told
    small = replace(large, peak=1_000_000_000)
    assert not [t for t in planning._assumed(run, small, None) if "this needs" in t]


def test_an_interrupted_method_is_not_taken_for_a_whole_one() -> None:
    def ended(how: str, *messages: str) -> Any:
        return SimpleNamespace(ended=how, messages=messages)

    planning._check_whole(ended("converged", "a note"))
    for done in (ended("interrupted"), ended("converged", "interrupted while draws were weighted")):
        with pytest.raises(KeyboardInterrupt):
            planning._check_whole(done)


@pytest.mark.slow
def test_an_interrupt_ends_it(folder: Path) -> None:
    command = [sys.executable, "-m", "bayescg", "plan", "ising", "-d", "data.nc", *SHORT]
    running = subprocess.Popen([*command, "--log", "log"], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120.0
    while not Path("log").exists() and time.monotonic() < end:
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert said.splitlines()[-1] == "bayescg: interrupted; nothing was written."
