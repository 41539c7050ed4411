"""Chains over devices and processes: the same results, and errors in words."""

import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

from click.testing import CliRunner
import numpy as np
import pytest

from bayescg import devices
from bayescg.cli import cli

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data" / "ising" / "sweep.nc"


def environment(virtual: int) -> dict[str, str]:
    """Of a process that has so many virtual devices and nothing of this one's settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "SLURM_"))}
    flags = f"--xla_force_host_platform_device_count={virtual} --xla_backend_optimization_level=1"
    return inherited | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return int(s.getsockname()[1])


def started(*words: str, virtual: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        env=environment(virtual),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# What is asked for wrongly


def test_more_devices_than_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"999 devices were asked for, and JAX finds .* allowed is"
    ):
        devices.use_devices(999)
    with pytest.raises(ValueError, match="0 devices"):
        devices.use_devices(0)
    assert devices.count() == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, 2, None), "go together"),
        (("localhost:1", 2, None), "go together"),
        (("localhost:1", 2, 2), "process 2 of 2"),
        (("localhost:1", 0, 0), "process 0 of 0"),
        (("localhost", 2, 0), "HOST:PORT"),
    ],
)
def test_processes_half_described(
    given: tuple[str | None, int | None, int | None], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        devices.join(*given)


def test_the_command_line_says_so_in_a_line(tmp_path: Path) -> None:
    out = tmp_path / "fit.nc"
    for words, text in (("--devices 999", "999 devices"), ("--process 1", "go together")):
        done = CliRunner().invoke(
            cli, ["fit", "ising", "-d", str(DATA), "-o", str(out), *words.split()]
        )
        assert done.exit_code == 2 and text in done.stderr
        assert len(done.stderr.splitlines()) == 1 and not out.exists()


def test_slurm_tells_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for tasks, several in (("", False), ("1", False), ("4", True)):
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", tasks)
        assert devices.is_several() is several
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    assert not devices.is_several() and devices.is_several("host:1")


def test_who_does_not_come_is_not_waited_for() -> None:
    code = "from bayescg import devices; devices.join('localhost:{}', 2, 1, patience=2)"
    done = subprocess.run(
        [sys.executable, "-c", code.format(free_port())],
        env=environment(1),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "not all processes met at localhost" in done.stderr and "within 2 s" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_process_among_several_still_ends_when_asked() -> None:
    """JAX's service for machines that are taken away would otherwise swallow the signal."""
    code = (
        "from bayescg import devices; import time; "
        f"devices.join('localhost:{free_port()}', 2, int(__import__('sys').argv[1]), patience=60); "
        "print('met', flush=True); time.sleep(60)"
    )
    jobs = [started("-c", code, str(i)) for i in range(2)]
    try:
        for job in jobs:
            assert job.stdout is not None
            assert any("met" in line for line in iter(job.stdout.readline, ""))
        jobs[1].terminate()
        assert jobs[1].wait(20) == -signal.SIGTERM
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


@pytest.mark.slow
def test_chains_that_do_not_divide(tmp_path: Path) -> None:
    """Refused before anything is computed; the numbers that are allowed are named."""
    words = "-m bayescg fit ising -s mu=0.2 -s ratio=8 -M free_chains=20 --devices 8 -o".split()
    done = started(*words, str(tmp_path / "x.nc"), "-d", str(DATA), virtual=8)
    _, said = done.communicate(timeout=300)
    assert done.returncode == 2 and not (tmp_path / "x.nc").exists()
    last = said.splitlines()[-1]
    assert "20 chains of p_c cannot be shared out evenly among 8 devices" in last
    assert "1, 2, 4, 5, 10, 20 devices" in last and "-M free_chains" in last


# The same results


def spread(out: Path, count: int, which: str) -> Path:
    """What :mod:`tests.spread` finds with so many of eight devices."""
    job = started("-m", "tests.spread", str(out), str(count), which, virtual=8)
    _, said = job.communicate(timeout=900)
    assert job.returncode == 0, said
    return out


#: Where rounding grows with time. Of water, in single precision, that of a sum over chains becomes that of forces. In
#: NUTS that of gradients over a device's chains passes from trajectory to trajectory, through adaptation and energies:
#: 1e-14 after the first, 1e-10 after the 25 of this test, and 1e-7 after 80.
LOOSE = {"water": 1e-6, "nuts": 1e-8}


def alike(one: Path, other: Path) -> None:
    """To round-off: trajectories and chains are the same, statistics of chains are added up in one order."""
    with np.load(one) as right, np.load(other) as found:
        assert {"mode", "nuts", "magnetization"} <= set(found) == set(right)
        for name, value in right.items():
            off = LOOSE.get(name, 1e-12)
            np.testing.assert_allclose(found[name], value, rtol=off, atol=off, err_msg=name)


@pytest.mark.by_hand
def test_eight_devices(tmp_path: Path) -> None:
    """MC-EM, NUTS and a prediction of a lattice, and particles in the compiled kernels."""
    alike(spread(tmp_path / "one.npz", 1, "all"), spread(tmp_path / "eight.npz", 8, "all"))


@pytest.mark.by_hand
def test_two_processes_of_four_devices(tmp_path: Path) -> None:
    """A lattice; over processes every trajectory of particles waits for messages, minutes of them."""
    out, where = tmp_path / "found.npz", f"localhost:{free_port()}"
    jobs = [
        started("-m", "tests.spread", str(out), "8", "lattice", where, "2", str(i), virtual=4)
        for i in range(2)
    ]
    try:
        said = [job.communicate(timeout=600)[1] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.returncode for job in jobs] == [0, 0], "\n".join(said)
    alike(spread(tmp_path / "one.npz", 1, "lattice"), out)


@pytest.mark.slow
def test_a_lost_process_ends_the_other_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is killed while both iterate: the other says so, writes no result, and ends as a failed run does.

    What it kept is whole, and both go on from there.
    """
    monkeypatch.setenv("BAYESCG_CHECKPOINT", "0.01")
    out, where = tmp_path / "x.nc", f"localhost:{free_port()}"
    words = f"-m bayescg fit ising -d {DATA} -o {out} -s ratio=8 -s mu=0.2 -s frames=16 -s prior=normal".split()
    words += "-M max_iterations=500 -M tolerance=1e-4 -M max_sweeps=2000".split()
    words += f"--log {tmp_path}/log.jsonl --coordinator {where} --processes 2 --process".split()
    first, second = (started(*words, str(i)) for i in range(2))
    end = time.monotonic() + 300
    log, kept = tmp_path / "log.jsonl", tmp_path / "x.nc.checkpoint"
    while not (log.exists() and log.read_text().count("iteration") > 2) and time.monotonic() < end:
        time.sleep(0.5)
    second.kill()
    _, said = first.communicate(timeout=300)
    second.communicate()
    assert first.returncode == 1, said
    assert "another process was lost" in said.splitlines()[-1]
    assert not out.exists()
    with kept.open("rb") as file, np.load(file) as held:
        about = json.loads(str(held["about"]))
    there = about["places"]["mcem 1"]["dict"]["iteration"]
    log.unlink()
    words[words.index(where)] = f"localhost:{free_port()}"
    end = time.monotonic() + 300
    both = [started(*words, str(i), "--resume") for i in range(2)]
    try:
        while not (log.exists() and "iteration" in log.read_text()) and time.monotonic() < end:
            time.sleep(0.5)
    finally:
        for job in both:
            job.kill()
    said = "\n".join(str(job.communicate()[1]) for job in both)
    assert log.exists(), said
    assert there > 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert next(e["iteration"] for e in events if "iteration" in e) == there + 1
