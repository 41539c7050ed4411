"""What the command line shows: progress on stderr, a log file, a summary."""

from collections.abc import Mapping
from contextlib import suppress
import json
import math
from pathlib import Path
import sys
import time
from typing import Any, TextIO

from bayescg.infer.progress import LIMITED

__all__ = ["Console", "Pace", "duration", "plain"]


class Pace:
    """How long a task will still take, from how long it has taken.

    The first word of a task tells where it was after what is done once, compiling above all; the pace is that of the
    words after it.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, float]] = {}
        self._last: dict[str, float] = {}

    def left(self, task: str, done: float, now: float) -> float | None:
        """Seconds, or None while nothing is known.

        :param done: the fraction finished; one smaller than the last begins the task anew.
        :param now: a clock's seconds.
        """
        if task not in self._first or done < self._last[task]:
            self._first[task] = (now, done)
        self._last[task] = done
        began, at = self._first[task]
        if done <= at or now <= began:
            return None
        return (now - began) * max(1.0 - done, 0.0) / (done - at)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60.0)
    return f"{minutes // 60} h {minutes % 60} min"


class Console:
    """Progress and messages of one command; a :class:`bayescg.infer.progress.Progress`.

    A terminal shows one line of progress that is rewritten, and no other place any, unless asked to. The line says how
    much of a task is done, what its method reports of itself (objective, acceptance, effective sample size), how long
    the command has run and how long the task will still take.

    :param quiet: show nothing but errors.
    :param lines: where there is no terminal, a line of progress every ten seconds.
    :param log: file to which every event is appended as a line of JSON; made by the first, so that
        refused input leaves none.
    """

    def __init__(
        self, *, quiet: bool = False, log: Path | None = None, lines: bool = False
    ) -> None:
        self.quiet = quiet
        self.muted = False  # another process speaks
        self._stream: TextIO = sys.stderr
        self._live = self._stream.isatty()
        self._shows = self._live or lines
        self._path = log
        self._log: TextIO | None = None
        self._began = time.monotonic()
        self._shown = -1e9
        self._open = False
        self._pace = Pace()

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """Show how far a task is."""
        now = time.monotonic()
        left = self._pace.left(task, done, now)
        event = {"event": "progress", "task": task, "done": done, **numbers}
        self._write_log(event | {"seconds": now - self._began, "seconds_left": left})
        if (
            self.quiet
            or not self._shows
            or (now - self._shown < (0.2 if self._live else 10.0) and done < 1.0)
        ):
            return
        self._shown = now
        text = "  ".join(
            f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in numbers.items()
        )
        spent = duration(now - self._began)
        if left is not None and done < 1.0:
            spent += f", {'at most ' if task in LIMITED else ''}{duration(left)} left"
        line = f"{task}: {100 * done:3.0f}%  {text}  ({spent})"
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

    def end(self, code: int, answer: Mapping[str, Any]) -> None:
        """Log how the command ended, in a log that has begun or that a success begins."""
        if code == 0 or self._log is not None:
            self._write_log({"event": "end", "exit_code": code, **answer})

    def mute(self) -> None:
        """Say and log nothing from now on, nor answer."""
        self.quiet, self._path, self.muted = True, None, True

    def close(self) -> None:
        """End the line and the log."""
        self._end_line()
        if self._log is not None:
            with suppress(OSError):
                self._log.close()
            self._log = None

    def _end_line(self) -> None:
        if self._open:
            self._stream.write("\n")
            self._open = False

    def _write_log(self, event: dict[str, Any]) -> None:
        if self._path is None:
            return
        try:
            if self._log is None:
                self._log = self._path.open("a", encoding="utf-8")
            line = json.dumps(plain({"time": time.time(), **event}), allow_nan=False)
            self._log.write(line + "\n")
            self._log.flush()
        except OSError as error:  # a full disk ends no run
            path, self._path = self._path, None
            self.say(f"note: the log {path} cannot be written any more: {error.strerror or error}")


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
