"""The process of the command line: signals in, exit codes out."""

import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

import click

from bayescg.cli.border import FAILED, fail, leave
from bayescg.cli.commands import cli

__all__ = ["main"]

#: Seconds until a signal that nothing has answered is explained, and until SIGTERM ends by force.
PATIENCE, LAST = 2.0, 10.0


def main() -> None:
    """Entry point; SIGTERM ends a command as Ctrl-C does, tidily and with exit code 1."""
    signals = _Signals()
    code: Any = FAILED
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:  # a second one, while the first was being answered
        pass
    if signals.received:
        leave(code if isinstance(code, int) else FAILED)
    sys.exit(code)


class _Signals:
    """SIGINT and SIGTERM, each a KeyboardInterrupt.

    Compiled code lets no handler run before it returns, which can take hours (the chains of NUTS
    are one call). Hence a thread that sees the signals too: it says so, ends the process at the
    next one, and does not let SIGTERM wait for long, after which only SIGKILL would come.
    """

    def __init__(self) -> None:
        self.received = False
        self._answered = -1e9
        self._numbers, sender = socket.socketpair()
        self._sender = sender  # kept open
        sender.setblocking(False)
        for number, usual in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
        ):
            # What the parent process has chosen to ignore (nohup, a background job) stays so.
            if signal.getsignal(number) is usual:
                signal.signal(number, self._interrupt)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self._answered = time.monotonic()
        raise KeyboardInterrupt

    def _next(self, seconds: float | None) -> int | None:
        self._numbers.settimeout(seconds)
        try:
            return self._numbers.recv(1)[0]
        except TimeoutError:
            return None

    def _watch(self) -> None:
        number = self._next(None)
        while True:
            # The handler may have run a moment before this thread woke.
            began = time.monotonic() - PATIENCE / 2
            again = self._next(PATIENCE)
            if again is None and self._answered < began:
                click.echo(
                    "bayescg: interrupting as soon as the running computation returns; "
                    "interrupt again to end at once.",
                    err=True,
                )
                again = self._next(LAST if number == signal.SIGTERM else None)
            if self._answered < began:
                self._end()
            number = self._next(None) if again is None else again

    def _end(self) -> None:
        from bayescg.files import discard_unfinished

        discard_unfinished()
        sys.stdout = sys.__stdout__  # the main thread may have turned it aside
        leave(fail("interrupted while computing.", FAILED, "--json" in sys.argv[1:]))
