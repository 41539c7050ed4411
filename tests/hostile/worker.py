"""A process that reads what may be broken, and says what came of it: ``python -m tests.hostile.worker``.

Libraries of file formats are C code: broken bytes may crash them, or let them run for ever. So they
are read here, where neither ends the tests; :mod:`tests.hostile.pool` starts this process, waits
for its answers, and starts another where none comes. A line of JSON asks, a line of JSON answers.
"""

from collections.abc import Callable
import json
import os
from pathlib import Path
import resource
import sys
from typing import Any
import warnings

ROOM = (
    6 << 30
)  # bytes of address space beyond what the imports took; more is asked for by no valid input
LONGEST = 600  # characters of a message


def fault_of(error: BaseException, allowed: tuple[type[BaseException], ...]) -> str:
    """What is wrong with an error as the answer to bad input; empty where nothing is."""
    text = str(error)
    if not isinstance(error, allowed):
        return f"{type(error).__name__}: {text}"
    # Of ValueError too, but no words for a user.
    if isinstance(error, UnicodeError | json.JSONDecodeError):
        return f"not worded: {type(error).__name__}: {text}"
    if not text:
        return f"{type(error).__name__} without a message"
    if "\n" in text or "\r" in text:
        return f"several lines: {text!r}"
    if len(text) > LONGEST:
        return f"{len(text)} characters: {text}"
    return ""


def read(name: str, path: str) -> dict[str, Any]:
    """One reader on one file, or on one text."""
    from tests.hostile.readers import READERS

    try:
        READERS[name](path)
    except Exception as error:
        fault = fault_of(error, (ValueError, OSError))
        return {"outcome": "bug" if fault else "refused", "text": fault or str(error)}
    return {"outcome": "accepted", "text": ""}


def command(words: list[str], folder: str, capped: bool) -> dict[str, Any]:
    """One command line in a folder: exit code, both streams, and an exception that came through."""
    from click.testing import CliRunner

    from bayescg.cli import cli
    from bayescg.workflow import load_model
    from tests.hostile.capped import without_runs

    os.chdir(folder)
    load_model.cache_clear()  # files of one name follow each other here
    with without_runs() if capped else warnings.catch_warnings():
        done = CliRunner().invoke(cli, words)
    through = done.exception if not isinstance(done.exception, SystemExit | None) else None
    return {
        "code": done.exit_code,
        "stdout": done.stdout,
        "stderr": done.stderr,
        "through": "" if through is None else repr(through),
    }


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    import jax

    jax.config.update("jax_enable_x64", True)
    import matplotlib

    matplotlib.use("Agg")
    import tests.hostile.readers  # noqa: F401

    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, resource.RLIM_INFINITY))
    does: dict[str, Callable[..., dict[str, Any]]] = {"read": read, "command": command}
    home = Path.cwd()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            found = does[asked.pop("do")](**asked)
        except BaseException as error:  # a reader must not end the process
            found = {"outcome": "bug", "text": f"{type(error).__name__}: {error}", "code": -1}
        os.chdir(home)
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
