"""The watch over the process that reads: it sees crashes, silence and words, so that the other tests could fail."""

import os
from pathlib import Path
import signal
from typing import Any

import pytest

from tests.hostile.pool import Worker
from tests.hostile.worker import fault_of


class Stub(Worker):
    """A worker whose process is a shell: it says it is ready, then does as told once, and again when started anew."""

    def __init__(self, script: str) -> None:
        super().__init__(patience=2.0)
        self.script, self.starts = script, 0

    def _start(self) -> None:
        import subprocess

        self.starts += 1
        self.process = subprocess.Popen(
            ["sh", "-c", self.script.replace("START", str(self.starts))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def asked(script: str) -> dict[str, Any]:
    made = Stub(script)
    try:
        return made.ask(do="read")
    finally:
        made.close()


def test_a_crash_is_seen() -> None:
    answer = asked("read line; kill -SEGV $$")
    assert answer["outcome"] == "crash" and answer["text"].endswith(signal.Signals.SIGSEGV.name)


def test_silence_is_seen() -> None:
    answer = asked("read line; sleep 60")
    assert answer["outcome"] == "hang" and answer["text"] == "no answer in 2 s"


def test_who_answers_only_alone_is_told_apart() -> None:
    words = """read line; if [ START = 1 ]; then kill -SEGV $$; fi; echo '{"outcome": "refused", "text": ""}'"""
    answer = asked(words)
    assert answer == {"outcome": "refused", "text": "", "at_first": "the process ended: SIGSEGV"}


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ValueError("allowed is this."), ""),
        (FileNotFoundError("there is no file."), ""),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("a\nb"), "several lines"),
        (ValueError("a" * 601), "601 characters"),
        (ValueError(), "without a message"),
        (UnicodeDecodeError("utf-8", b"a", 0, 1, "no"), "not worded"),
        (MemoryError("8 TiB"), "MemoryError: 8 TiB"),
    ],
)
def test_what_counts_as_words(error: Exception, fault: str) -> None:
    found = fault_of(error, (ValueError, OSError))
    assert found.startswith(fault) if not fault else fault in found
    assert bool(found) == bool(fault)


def test_the_worker_runs_readers(worker: Worker, tmp_path: Path) -> None:
    answer = worker.ask(do="read", name="data", path=str(tmp_path / "none.nc"))
    assert answer["outcome"] == "refused" and "there is no file" in answer["text"]
    assert os.listdir(tmp_path) == []
