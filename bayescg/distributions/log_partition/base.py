"""What a log-partition strategy offers."""

from typing import Any, Protocol, runtime_checkable

from jax import Array

__all__ = ["ExactLogPartition", "LogPartition"]


class LogPartition(Protocol):
    """log Z of a potential, up to a constant that is free of its parameters.

    A strategy may ask for one kind of potential (a spin lattice), so its type is left open.
    """

    def __call__(self, potential: Any, beta: Array) -> Array:
        """log Z, a scalar, differentiable in the potential's parameters."""
        ...


@runtime_checkable
class ExactLogPartition(LogPartition, Protocol):
    """A strategy that can also sum out what the data say of a latent in part, and draw exact samples."""

    def in_field(self, potential: Any, beta: Array, field: Any) -> Array:
        """``log sum_X exp{-beta U + h.X}`` for ``field (frame, site)``: shape ``(frame,)``.

        Of sites in space the sum is an integral over those that a :class:`~bayescg.samplers.tethers.Held` leaves free.
        """
        ...

    def sample(self, key: Array, potential: Any, beta: Array, samples: int) -> Array:
        """Independent configurations, shape ``(sample, site)``."""
        ...
