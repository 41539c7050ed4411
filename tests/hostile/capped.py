"""A command line whose runs are not made: all that is checked before them is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

REACHED = "the run was reached."


class _Stopped:
    """In place of a method's run, which a fit begins when all its input is accepted."""

    def __init__(self, run: Any) -> None:
        self.options = run.options

    def run(self, *_: object, **__: object) -> None:
        raise NotImplementedError(REACHED)


@contextmanager
def without_runs() -> Iterator[None]:
    """Let a fit end where its run would begin, with exit code 1 and the words of :data:`REACHED`."""
    from bayescg.workflow import verbs

    real = verbs.run_of
    with patch.object(verbs, "run_of", lambda *a: _Stopped(real(*a))):
        yield
