"""What the command line shows: progress on stderr, a log file, a summary."""

from collections.abc import Mapping
import json
import math
from pathlib import Path
import sys
import time
from typing import Any, TextIO

__all__ = ["Console", "plain"]


class Console:
    """Progress and messages of one command; a :class:`bayescg.infer.progress.Progress`.

    A terminal shows one line that is rewritten; elsewhere a line appears every ten seconds.

    :param quiet: show nothing but errors.
    :param log: file to which every event is appended as a line of JSON; made by the first, so that
        refused input leaves none.
    """

    def __init__(self, *, quiet: bool = False, log: Path | None = None) -> None:
        self.quiet = quiet
        self.muted = False  # another process speaks
        self._stream: TextIO = sys.stderr
        self._live = self._stream.isatty()
        self._path = log
        self._log: TextIO | None = None
        self._began = time.monotonic()
        self._shown = -1e9
        self._open = False

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """Show how far a task is."""
        self._write_log({"event": "progress", "task": task, "done": done, **numbers})
        now = time.monotonic()
        if self.quiet or (now - self._shown < (0.2 if self._live else 10.0) and done < 1.0):
            return
        self._shown = now
        text = "  ".join(
            f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in numbers.items()
        )
        line = f"{task}: {100 * done:3.0f}%  {text}  ({now - self._began:.0f} s)"
        if self._live:
            self._stream.write(f"\r\x1b[2K{line}")
            self._open = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def say(self, message: str) -> None:
        """A line for the user."""
        self._write_log({"event": "message", "text": message})
        if not self.quiet:
            self._end_line()
            self._stream.write(message + "\n")
            self._stream.flush()

    def mute(self) -> None:
        """Say and log nothing from now on, nor answer."""
        self.quiet, self._path, self.muted = True, None, True

    def close(self) -> None:
        """End the line and the log."""
        self._end_line()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _end_line(self) -> None:
        if self._open:
            self._stream.write("\n")
            self._open = False

    def _write_log(self, event: dict[str, Any]) -> None:
        if self._path is None:
            return
        if self._log is None:
            self._log = self._path.open("a", encoding="utf-8")
        self._log.write(json.dumps(plain({"time": time.time(), **event}), allow_nan=False) + "\n")
        self._log.flush()


def plain(value: Any) -> Any:
    """A value as JSON has it: NaN and infinities are null, what JSON does not know is text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # of NumPy, which is not imported for it
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
