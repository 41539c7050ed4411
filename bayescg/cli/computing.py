"""What every command that computes sets before it does, and the options of those that may use several devices."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
import os
import sys
from typing import Any

import click

from bayescg.cache import keep_compiled
from bayescg.cli.border import BAD, FAILED, Failure, fail
from bayescg.console import Console

__all__ = ["on_devices", "start_computing"]


def start_computing() -> None:
    """Double precision, as every published number needs, and compiled code kept for the next command."""
    import jax

    jax.config.update("jax_enable_x64", True)
    keep_compiled()


@contextmanager
def _stdout_kept() -> Iterator[int]:
    """Leave stdout to the answer: what connects processes greets there. What stdout is meanwhile."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        yield own
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)


def _given_up(text: str, stdout: int, as_json: bool) -> None:
    os.dup2(stdout, 1)
    sys.stdout = sys.__stdout__  # the main thread may have turned it aside
    fail(text, BAD, as_json)
    if sys.stdout is not None:
        sys.stdout.flush()


def on_devices(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that lay chains out over devices and processes; the first process alone speaks.

    To be put below ``shared``, whose console comes first.
    """

    @click.option("--devices", type=int, help="Lay chains out over so many devices (default: one).")
    @click.option(
        "--coordinator", metavar="HOST:PORT", help="Where the first of several processes listens."
    )
    @click.option("--processes", type=int, help="How many there are (SLURM's are found by itself).")
    @click.option("--process", type=int, help="Which of them this is, from 0.")
    @wraps(command)
    def run(
        console: Console,
        devices: int | None,
        coordinator: str | None,
        processes: int | None,
        process: int | None,
        **options: Any,
    ) -> Any:
        from bayescg import devices as layout

        words = (coordinator, processes, process)
        several = layout.is_several(*words)
        asks = options.get("help_method") is not None or options.get("help_model")
        if asks or (devices is None and not several):
            return command(console, **options)
        start_computing()
        with _stdout_kept() if several else nullcontext(1) as stdout:
            if several:
                as_json = "--json" in sys.argv[1:]
                layout.join(*words, give_up=lambda text: _given_up(text, stdout, as_json))
                if not layout.is_first():
                    console.mute()
            used = layout.use_devices(devices)
            if used > 1:
                console.say(f"chains are laid out over {used} devices")
            try:
                return command(console, **options)
            except Exception as error:
                if several and layout.is_lost(error):
                    raise Failure(
                        "another process was lost, and this one cannot go on without it: look at what that one said "
                        "last, and start all of them again; nothing was written.",
                        FAILED,
                        at_once=True,
                    ) from error
                raise

    return run
