"""One process that reads broken input, watched: started anew when it crashes or does not answer."""

from contextlib import suppress
import json
import os
from pathlib import Path
import select
import signal
import subprocess
import sys
import tempfile
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # s for one reader on one small file; a healthy one takes milliseconds
START = 180.0  # s


class Worker:
    """Ask :mod:`tests.hostile.worker`; its crash or silence is an answer as well.

    :param patience: s after which an answer no longer counts.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.process: subprocess.Popen[str] | None = None
        self.noise = tempfile.TemporaryFile()

    def ask(self, patience: float | None = None, **question: Any) -> dict[str, Any]:
        """The answer; ``outcome`` is ``crash`` or ``hang`` where none came.

        Who does not answer is asked again in a new process, as a command is one: thousands of broken
        files before it may have left a C library in disorder. What it says then counts, and the
        first try is kept under ``at_first``.
        """
        answer = self._ask(patience, question)
        if answer.get("outcome") not in ("crash", "hang"):
            return answer
        return self._ask(patience, question) | {"at_first": answer["text"]}

    def _ask(self, patience: float | None, question: dict[str, Any]) -> dict[str, Any]:
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return self._ended()
        return self._answer(patience or self.patience)

    def _start(self) -> None:
        env = {k: v for k, v in os.environ.items() if k not in ("JAX_ENABLE_X64", "XLA_FLAGS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.worker"],
            cwd=ROOT,
            env=env | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.noise,
            text=True,
        )
        if self._answer(START) != {"ready": True}:
            self.noise.seek(0)
            raise RuntimeError(self.noise.read().decode(errors="replace")[-4000:])

    def _answer(self, patience: float) -> dict[str, Any]:
        assert self.process is not None and self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], patience)[0]:
            self._kill()
            return {"outcome": "hang", "text": f"no answer in {patience:g} s", "code": -1}
        line = self.process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else self._ended()

    def _ended(self) -> dict[str, Any]:
        assert self.process is not None
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        self.process = None
        name = str(-code)
        with suppress(ValueError):
            name = signal.Signals(-code).name
        return {"outcome": "crash", "text": f"the process ended: {name}", "code": -1}

    def close(self) -> None:
        """End the process."""
        self._kill()
        self.noise.close()

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self._ended()
