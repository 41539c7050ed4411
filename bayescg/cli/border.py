"""What every command has in common: shared options, one-line errors, exit codes, JSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
import json
import os
from pathlib import Path
import re
import sys
import traceback
from typing import Any

import click

from bayescg.console import Console, plain

__all__ = [
    "BAD",
    "FAILED",
    "OK",
    "Done",
    "Failure",
    "Group",
    "fail",
    "leave",
    "plain",
    "shared",
    "stamp",
]

OK, FAILED, BAD = 0, 1, 2
LONGEST = 400  # characters of an error that nobody has worded for the user


@dataclass(frozen=True)
class Done:
    """What a command has to say at its end.

    :param summary: the machine-readable answer, shown with ``--json``.
    :param text: the same for people, where the answer itself is what they asked for.
    :param failed: what went wrong with a run that ended and stored what it had; empty: nothing.
    """

    summary: Mapping[str, Any]
    text: str = ""
    failed: str = ""


class Failure(click.ClickException):
    """An error that is ready to be shown.

    :param at_once: end without the cleaning up of libraries, which would wait for what is no longer there.
    """

    def __init__(self, message: str, code: int, at_once: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.at_once = at_once


class Group(click.Group):
    """Commands in the order of a job; every error is one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of definition."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Suggest a command for a misspelt one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if args[0].startswith("-"):
                raise
            close = get_close_matches(args[0], list(self.commands), 1)
            hint = f"; did you mean {close[0]!r}? Known" if close else "; known"
            raise click.UsageError(
                f"unknown command {args[0]!r}{hint}: {', '.join(self.commands)}."
            ) from None

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line and exit; never returns."""
        words: Sequence[str] | None = args[0] if args else extra.get("args")
        # An error of the usage comes before the options are known, hence the look at the words.
        as_json = "--json" in (sys.argv[1:] if words is None else words)
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
        except click.Abort:
            code = fail("interrupted; nothing was written.", FAILED, as_json)
        except ValueError as error:  # of a path with a null byte, which click looks up
            code = fail(_joined(str(error)), BAD, as_json)
        except click.ClickException as error:
            code = error.code if isinstance(error, Failure) else BAD
            fail(_joined(error.format_message()), code, as_json)
            if isinstance(error, Failure) and error.at_once:
                leave(code)
        sys.exit(code if isinstance(code, int) else OK)


def fail(message: str, code: int, as_json: bool) -> int:
    """Show an error in one line, and as the answer of ``--json``; the exit code."""
    click.echo(f"bayescg: {message}", err=True)
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    return code


def leave(code: int) -> None:
    """End at once.

    After an interrupt a thread of JAX may still be compiling; an interpreter that ends as usual
    pulls the compiler away from under it, and crashes.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def shared(
    reads: Callable[[dict[str, Any]], Iterable[Path | str | None]] = lambda options: (),
    writes: Callable[[dict[str, Any]], Iterable[Path | str | None]] = lambda options: (),
) -> Callable[[Callable[..., Done]], Callable[..., Any]]:
    """Give a command the options of every command, and turn its errors into exit codes.

    :param reads: the files that a command will read, from its options; None is passed over.
    :param writes: the files that it will write, which must be others.
    """

    def decorate(command: Callable[..., Done]) -> Callable[..., Any]:
        @click.option("--quiet", is_flag=True, help="No progress, only errors and the answer.")
        @click.option(
            "--progress",
            "lines",
            is_flag=True,
            help="Progress also where there is no terminal, a line every ten seconds.",
        )
        @click.option(
            "--json", "as_json", is_flag=True, help="One machine-readable object on stdout."
        )
        @click.option(
            "--log",
            type=click.Path(path_type=Path),
            help="Append every event to this file, a JSON line each.",
        )
        @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
        @wraps(command)
        def run(
            quiet: bool,
            lines: bool,
            as_json: bool,
            log: Path | None,
            debug: bool,
            **options: Any,
        ) -> int | None:
            console = Console(quiet=quiet, log=log, lines=lines)
            targets: dict[Path, object] = {}
            try:
                # What a user's model prints would spoil the one object on stdout.
                with redirect_stdout(sys.stderr) if as_json else nullcontext():
                    outputs = [Path(p) for p in writes(options) if p is not None]
                    _check_files([p for p in reads(options) if p is not None], outputs, log)
                    targets = {path: stamp(path) for path in outputs}
                    done = command(console, **options)
                code, summary = FAILED if done.failed else OK, dict(done.summary)
                if done.failed:
                    summary |= {"error": done.failed, "exit_code": code}
                console.end(code, summary)
            except BaseException as error:
                if debug and not isinstance(error, click.ClickException | KeyboardInterrupt):
                    traceback.print_exc()
                failure = _failure(error, targets)
                console.end(
                    failure.code if isinstance(failure, Failure) else BAD,
                    {"error": _joined(failure.format_message())},
                )
                if failure is error:
                    raise
                raise failure from (None if isinstance(error, KeyboardInterrupt) else error)
            finally:
                console.close()
            if console.muted:
                return code
            if done.failed:
                click.echo(f"bayescg: {done.failed}", err=True)
            if as_json:
                click.echo(json.dumps(plain(summary), allow_nan=False))
            elif done.text:
                click.echo(done.text)
            return code

        return run

    return decorate


def _failure(error: BaseException, targets: Mapping[Path, object]) -> click.ClickException:
    """What to show of an error; of an interrupt, which of the files were written nevertheless.

    :raises BaseException: what is no error of a command, such as an exit that was asked for.
    """
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, KeyboardInterrupt):
        new = [str(path) for path, old in targets.items() if stamp(path) != old]
        return Failure(f"interrupted; {', '.join(new) or 'nothing'} was written.", FAILED)
    if isinstance(error, Exception):
        return _explained(error)
    raise error


def _check_files(inputs: list[Path | str], outputs: list[Path], log: Path | None) -> None:
    from bayescg.files import check_apart, check_writable

    if log is not None:
        check_writable(log)
    check_apart([*outputs, *([] if log is None else [log])], inputs)


def stamp(path: Path) -> object:
    """What changes when a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _explained(error: Exception) -> Failure:
    """One line about an error, and the exit code that it means."""
    # NumPy's error of failed numerics is a ValueError, but nothing the user has typed wrongly.
    from numpy.linalg import LinAlgError

    if isinstance(error, NotImplementedError):
        return Failure(_joined(str(error)), FAILED)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return Failure(_out_of_memory(str(error)), FAILED)
    if isinstance(error, LinAlgError | FloatingPointError):
        return Failure(
            f"the numerics failed ({_joined(str(error))[:LONGEST]}); try a tighter prior or "
            "another method, or run again with --debug for the traceback.",
            FAILED,
        )
    if isinstance(error, OSError) and error.filename and error.strerror:
        return Failure(f"{error.filename}: {error.strerror}", BAD)
    if isinstance(error, ValueError | OSError) and str(error):
        return Failure(_joined(str(error)), BAD)
    text = _joined(str(error))[:LONGEST].rstrip(".")
    kind = type(error).__name__
    return Failure(
        f"unexpected {kind}{': ' if text else ''}{text}; run again with --debug for the traceback.",
        FAILED,
    )


def _out_of_memory(text: str) -> str:
    """What was asked for, as JAX and NumPy say it, and what asks for less."""
    bytes_ = re.search(r"allocating (\d+)", text)
    known = re.search(r"allocate ([\d.]+ \w+)", text)
    size = f" ({int(bytes_[1]) / 1e9:.3g} GB were asked for at once)" if bytes_ else ""
    size = f" ({known[1]} were asked for at once)" if known and not size else size
    return (
        f"out of memory{size}; less is needed with fewer -M free_chains or -M chains, -s frames, -M frames_per_step or "
        "--draws, and `bayescg plan` says how much in all."
    )


def _joined(text: str) -> str:
    """One line, without what would move the cursor or turn the text of a terminal: files may hold that."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
