"""A fit that is killed at any moment, and then resumed, writes the result that it would have written."""

from collections.abc import Sequence
from functools import partial
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time

from click.testing import CliRunner
import pytest

from bayescg import results, workflow
from bayescg.cli import cli
from tests.alike import check_alike

DATA = Path(__file__).parents[1] / "data" / "ising" / "sweep.nc"
FIT = [
    "fit",
    "ising",
    "-d",
    str(DATA),
    *"-s ratio=8 -s frames=16 -s prior=normal -s mu=0.2".split(),
]
#: Searches, and chains whose state is kept within a member.
JOBS = {
    "mcem": "-M max_iterations=60 -M tolerance=1e-3 -M max_sweeps=400".split(),
    "nuts": "-m nuts -M warmup=400 -M samples=1200".split(),
}
#: How often it is killed; 20 take six minutes.
KILLS = int(os.environ.get("BAYESCG_KILLS", "4"))


def started(*words: str, place: Path, job: Sequence[str] = JOBS["mcem"]) -> subprocess.Popen[bytes]:
    env = {k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "XLA_FLAGS")}
    return subprocess.Popen(
        [sys.executable, "-m", "bayescg", *FIT, *job, *words, "--quiet"],
        env=env | {"BAYESCG_CHECKPOINT": "0.1", "XDG_CACHE_HOME": str(place)},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcem", pytest.param("nuts", marks=pytest.mark.by_hand)])
def test_killed_at_random_moments(method: str, tmp_path: Path) -> None:
    """With kill -9, again and again; between kills nothing is half written, and no result is there."""
    moments, job_of = random.Random(0), partial(started, place=tmp_path, job=JOBS[method])
    whole, out = tmp_path / "whole.nc", tmp_path / "cut.nc"
    checkpoint = tmp_path / "cut.nc.checkpoint"
    ended = job_of("-o", str(whole)).wait()
    assert ended == (1 if method == "mcem" else 0)  # MC-EM has too few iterations to converge
    began = time.monotonic()
    assert job_of("-o", str(out)).wait() == ended
    usual = time.monotonic() - began  # with code that is compiled
    out.unlink()
    assert not checkpoint.exists()
    kills = resumed = 0
    while kills < KILLS:
        words = ["--resume"] if checkpoint.exists() else []
        resumed += bool(words)
        job = job_of("-o", str(out), *words)
        try:
            job.wait(timeout=moments.uniform(0.2, 0.9) * usual)
        except subprocess.TimeoutExpired:
            job.send_signal(signal.SIGKILL)
            job.wait()
            kills += 1
        else:
            assert job.returncode == ended
        if out.exists():  # it was done before: once more from the beginning
            same(whole, out)
            out.unlink()
    words = ["--resume"] if checkpoint.exists() else []
    assert job_of("-o", str(out), *words).wait() == ended
    same(whole, out)
    assert not checkpoint.exists()
    print(f"{method}: {kills} kills, {resumed} of them of runs that had been resumed")


@pytest.mark.slow
def test_interrupted_by_the_user(tmp_path: Path) -> None:
    """Ctrl-C leaves a result and the checkpoint; a new fit puts that aside, and --resume goes on with it."""
    whole, out, log = tmp_path / "whole.nc", tmp_path / "cut.nc", tmp_path / "log"
    checkpoint = tmp_path / "cut.nc.checkpoint"
    assert started("-o", str(whole), place=tmp_path).wait() == 1
    job = started("-o", str(out), "--log", str(log), place=tmp_path)
    end = time.monotonic() + 300.0
    while not (log.exists() and log.read_text().count("iteration") > 3) and time.monotonic() < end:
        time.sleep(0.1)
    job.send_signal(signal.SIGINT)
    assert job.wait() == 1
    assert results.attrs(results.load(out))["checkpoint"] == str(checkpoint) and checkpoint.exists()
    kept = checkpoint.read_bytes()
    job = started("-o", str(out), place=tmp_path)
    old = tmp_path / "cut.nc.checkpoint.old"
    while not old.exists() and time.monotonic() < end:
        time.sleep(0.1)
    job.kill()
    job.wait()
    assert old.read_bytes() == kept
    old.replace(checkpoint)
    assert started("-o", str(out), "--resume", place=tmp_path).wait() == 1
    same(whole, out)
    assert not checkpoint.exists()


def same(one: Path, other: Path) -> None:
    check_alike(results.load(one), results.load(other))


def invoke(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, words)
    return done.exit_code, done.stderr


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    out = str(tmp_path / "fit.nc")
    code, said = invoke(*FIT, "-o", out, "--resume")
    assert code == 2 and "there is no checkpoint" in said and len(said.splitlines()) == 1
    (tmp_path / "fit.nc.checkpoint").write_bytes(b"nothing")
    code, said = invoke(*FIT, "-o", out, "--resume")
    assert code == 2 and "is no checkpoint that can be read" in said
    assert (tmp_path / "fit.nc.checkpoint").read_bytes() == b"nothing"
    (tmp_path / "fit.nc.checkpoint").unlink()
    (tmp_path / "fit.nc.checkpoint").mkdir()
    code, said = invoke(*FIT, "-o", out)
    assert code == 2 and "it is a folder" in said
    assert not Path(out).exists()


def test_an_interrupt_without_a_result_names_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods that have nothing before their end leave the checkpoint, and the command says how to go on."""
    out = tmp_path / "out.nc"

    def fit(*args: object, checkpoint: Path, **options: object) -> None:
        checkpoint.write_bytes(b"state")
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "fit", fit)
    done = CliRunner().invoke(cli, [*FIT, "-o", str(out)])
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"the same command with --resume goes on from {out}.checkpoint",
        "bayescg: interrupted; nothing was written.",
    ]
