"""Progress of long work, reported at the border."""

from typing import Protocol

__all__ = ["LIMITED", "Progress", "Silent"]

#: Tasks whose ``done`` counts towards a limit: they end by their own rule, most often sooner.
LIMITED = ("mcem", "match", "arcg", "svi", "grow")


class Progress(Protocol):
    """Receives what a running method reports; drawing it is the caller's business."""

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """Tell how far a task is.

        :param task: what is being done; tasks may take turns within a run.
        :param done: the fraction finished, at most 1; for tasks of :data:`LIMITED` of the most they may take.
        :param numbers: what is worth showing: the objective, acceptance, effective sample sizes.
        """
        ...


class Silent:
    """Reports nothing."""

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """Do nothing."""
