"""What a log-partition strategy offers."""

from typing import Protocol, runtime_checkable

from jax import Array

from bayescg.potentials.base import ExponentialFamily

__all__ = ["ExactLogPartition", "LogPartition"]


class LogPartition(Protocol):
    """log Z of a potential, up to a constant that is free of its parameters."""

    def __call__(self, potential: ExponentialFamily, beta: Array) -> Array:
        """log Z, a scalar, differentiable in the potential's parameters."""
        ...


@runtime_checkable
class ExactLogPartition(LogPartition, Protocol):
    """A strategy that can also sum out latent spins coupled to data, and draw exact samples."""

    def in_field(self, potential: ExponentialFamily, beta: Array, field: Array) -> Array:
        """``log sum_X exp{-beta U + h.X}`` for ``field (frame, site)``: shape ``(frame,)``."""
        ...

    def sample(self, key: Array, potential: ExponentialFamily, beta: Array, samples: int) -> Array:
        """Independent configurations, shape ``(sample, site)``."""
        ...
