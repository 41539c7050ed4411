"""Progress of long work, reported at the border."""

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Receives what a running method reports; drawing it is the caller's business."""

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """``done`` is the fraction finished (at most 1), ``numbers`` what is worth showing."""
        ...


class Silent:
    """Reports nothing."""

    def update(self, task: str, done: float, numbers: dict[str, float]) -> None:
        """Do nothing."""
