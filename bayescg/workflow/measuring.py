"""Time and memory of a run that tells its progress, apart from those of compilation."""

from contextlib import suppress
import ctypes
from dataclasses import dataclass
from functools import lru_cache
import gc
from itertools import pairwise
import os
from pathlib import Path
import resource
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from bayescg.infer.progress import Progress

__all__ = ["Cost", "Enough", "Row", "Watch", "available"]

LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"  # JAX's names: what comes before a compilation,
COMPILED = "/jax/core/compile/backend_compile_duration"  # the end of one,
SAVED = "/jax/compilation_cache/compile_time_saved_sec"  # and that of one which was kept


@dataclass(frozen=True)
class Cost:
    """What one command takes."""

    fixed: float  # s, however many devices there are
    chains: float  # s in which chains move; devices share them
    compiling: float  # s more where no compiled programs are kept
    base: int  # bytes before anything is computed
    peak: int  # bytes at most
    compiler: int  # the same where programs are compiled

    def seconds(self, devices: int = 1) -> float:
        """Seconds on so many devices like this one."""
        return self.fixed + self.chains / devices

    def memory(self, devices: int = 1) -> int:
        """Bytes of each."""
        return round(self.base + (self.peak - self.base) / devices)


class Row(NamedTuple):
    """One report of a method's progress, and when it came."""

    at: float  # s
    task: str
    done: float
    numbers: dict[str, float]


class Enough(KeyboardInterrupt):
    """The time is over; methods that can then end with what they have."""


class Watch:
    """A :class:`Progress` that keeps the times, and passes on what it hears.

    :param budget: seconds after the first report, after which it stops the method.
    :param mark: a task from whose first report on memory is looked at apart.
    """

    def __init__(
        self, progress: Progress, what: str, budget: float = np.inf, mark: str = ""
    ) -> None:
        self._progress, self._what, self._budget, self._mark = progress, what, budget, mark
        self.rows: list[Row] = []
        self.stopped = False
        self.meter = _meter()
        self.meter.start()
        self.began = time.perf_counter()

    def now(self) -> float:
        """Seconds without those of compilation."""
        return time.perf_counter() - self.began - self.meter.spent

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """Note the time, and stop the method if it is over.

        :raises Enough: when the time is over; methods that can then end with what they have.
        """
        self.rows.append(Row(self.now(), task, done, numbers))
        if task == self._mark:
            self.meter.mark()
            self._mark = ""
        self._progress.update(f"{self._what}: {task}", done, numbers)
        if done < 1.0 and not self.stopped and self.rows[-1].at - self.rows[0].at > self._budget:
            self.stopped = True
            raise Enough

    def steps(self, task: str) -> list[tuple[Row, Row]]:
        """Reports of a task that follow each other in one pass."""
        own = [r for r in self.rows if r.task == task]
        return [(a, b) for a, b in pairwise(own) if b.done > a.done]

    def seconds(self, task: str) -> float:
        """Mean time between two such reports."""
        return float(np.mean([b.at - a.at for a, b in self.steps(task)] or [0.0]))

    def first(self) -> float:
        """Seconds of what ran between the longest compilation before the first report and that report."""
        row = self.rows[0].at
        before = [
            (taken, at - self.began) for at, taken in self.meter.ends if at - self.began < row
        ]
        return row - max(before, default=(0.0, 0.0))[1]

    def count(self, task: str) -> int:
        """Reports of a task."""
        return sum(r.task == task for r in self.rows)

    def cost(self, moved: float, chains: float, base: int | None = None) -> Cost:
        """What it took, with ``chains`` seconds in place of the ``moved`` ones in which chains did."""
        m = self.meter
        m.stop()
        fixed = max(self.now() + m.spent - m.kept - moved, 0.0)
        base = m.base if base is None else base
        more = m.peak - m.base, m.compiler - m.base
        return Cost(fixed, chains, m.kept + m.saved, base, *(base + max(n, 0) for n in more))


class _Meter:
    """Seconds of compilation, and memory with and without the compiler's."""

    def __init__(self) -> None:
        self.spent = self.kept = self.saved = 0.0  # kept: by a later run not spent again
        self.base = self.peak = self.compiler = self.before = self.marked = 0
        self.ends: list[tuple[float, float]] = []  # of compilations, and what they took
        self._found = False

    def start(self) -> None:
        """Begin anew."""
        gc.collect()
        self.__init__()  # type: ignore[misc]
        _trim()
        self.base = self.peak = self.compiler = _resident("VmRSS")

    def mark(self) -> None:
        """Look at what is used from here on apart from what was until now."""
        self.stop()
        _trim()
        self.before, self.marked = self.peak, _resident("VmRSS")
        self.peak = self.marked

    def longer(self, times: float) -> None:
        """Take what has been used since the mark so many times; an accelerator does not keep it."""
        if jax.devices()[0].memory_stats():
            return
        self.stop()
        self.peak = max(self.before, self.marked + round(times * (self.peak - self.marked)))

    def stop(self) -> None:
        """Take what has been used since the last compilation, too."""
        self.peak = max(self.peak, _resident("VmHWM"))
        self.compiler = max(self.compiler, self.peak)

    def hear(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Of JAX."""
        if event == LOWERED:
            self.peak = max(self.peak, _resident("VmHWM"))
        elif event == SAVED:
            self.saved, self._found = self.saved + max(duration_secs, 0.0), True
        elif event == COMPILED:
            self.spent += duration_secs
            self.ends.append((time.perf_counter() - self.spent, duration_secs))
            self.compiler = max(self.compiler, _resident("VmHWM"))
            if duration_secs >= _setting("persistent_cache_min_compile_time_secs"):
                keeps = _setting("enable_compilation_cache") and _setting("compilation_cache_dir")
                if keeps and not self._found:
                    self.kept += duration_secs
                _trim()
            self._found = False


def _setting(name: str) -> Any:
    return getattr(jax.config, f"jax_{name}")


@lru_cache(maxsize=1)
def _meter() -> _Meter:
    meter = _Meter()
    jax.monitoring.register_event_duration_secs_listener(meter.hear)
    return meter


def _resident(name: str) -> int:
    """Bytes in use (``VmRSS``), or most since the last :func:`_trim` (``VmHWM``); the accelerator's if there is one."""
    stats = jax.devices()[0].memory_stats()
    if stats:
        return int(stats["bytes_in_use" if name == "VmRSS" else "peak_bytes_in_use"])
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _trim() -> None:
    """Give back memory that is free, and forget how much was used."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def available() -> int:
    """Bytes of memory of this machine, or of its accelerator."""
    stats = jax.devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
