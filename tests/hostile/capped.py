"""A command line whose long computations are not made: all that is checked before them is."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

REACHED = "the computation was reached."


class _Stopped:
    """In place of a method's run, which a fit begins when all its input is accepted."""

    def __init__(self, run: Any) -> None:
        self.options = run.options

    def run(self, *_: object, **__: object) -> None:
        raise NotImplementedError(REACHED)


def _stop(*_: object, **__: object) -> None:
    raise NotImplementedError(REACHED)


@contextmanager
def without_runs() -> Iterator[None]:
    """Let fits, plans and predictions end where they would begin to compute, by the words of :data:`REACHED`."""
    from bayescg.workflow import planning, prediction, verbs

    with ExitStack() as patched:
        for module in (verbs, planning):
            real = module.run_of
            patched.enter_context(
                patch.object(module, "run_of", lambda *a, real=real: _Stopped(real(*a)))
            )
        for name in ("lattice_groups", "particle_groups"):
            patched.enter_context(patch.object(prediction, name, _stop))
        yield
