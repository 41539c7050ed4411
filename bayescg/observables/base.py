"""What every observable offers."""

from typing import Protocol

from jax import Array
import numpy as np

__all__ = ["Observable"]


class Observable(Protocol):
    """A function a(x) of one configuration that knows the names of its own axes.

    :param name: of its variable in files.
    :param dims: names of its own axes, in their order; none for a number.
    :param units: of its values; ``1`` for pure numbers.
    :param long_name: what it is, in words.
    """

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str

    def coords(self) -> dict[str, np.ndarray]:
        """Coordinate of each of ``dims``."""
        ...

    def __call__(self, x: Array) -> Array:
        """Value on configuration ``x (site, ...)``, of the shape that ``dims`` name."""
        ...
