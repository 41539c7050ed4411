"""Observables of spin lattices."""

from dataclasses import dataclass
from typing import ClassVar

from jax import Array
import jax.numpy as jnp
import numpy as np

__all__ = ["Correlation", "Magnetization", "correlation", "magnetization"]


@dataclass(frozen=True)
class Magnetization:
    r"""Magnetisation per site, :math:`\frac1{n_f}\sum_i x_i` (PCG paper, Eq. 49)."""

    name: ClassVar[str] = "magnetization"
    dims: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "magnetisation per site"

    def coords(self) -> dict[str, np.ndarray]:
        """None: it is one number."""
        return {}

    def __call__(self, x: Array) -> Array:
        return jnp.mean(x, 0)


@dataclass(frozen=True)
class Correlation:
    r"""Correlation of spins ``k`` sites apart (PCG paper, Eq. 50).

    .. math:: R(k) = \frac1{n_f}\sum_i x_i x_{i+k}

    Each pair is counted once, so that R lies in [-1, 1].

    :param max_separation: largest ``k``, in sites.
    """

    max_separation: int
    name: ClassVar[str] = "correlation"
    dims: ClassVar[tuple[str, ...]] = ("separation",)
    units: ClassVar[str] = "1"
    long_name: ClassVar[str] = "spin correlation R(k)"

    def __post_init__(self) -> None:
        if self.max_separation < 1:
            raise ValueError(f"max_separation must be at least 1, got {self.max_separation}.")

    def coords(self) -> dict[str, np.ndarray]:
        """``separation``: 1 to ``max_separation``, sites."""
        return {"separation": np.arange(1, self.max_separation + 1)}

    def __call__(self, x: Array) -> Array:
        return jnp.stack(
            [jnp.mean(x * jnp.roll(x, -k, 0), 0) for k in range(1, self.max_separation + 1)]
        )


def magnetization() -> Magnetization:
    """Magnetisation per site (Eq. 49).

    >>> float(magnetization()(jnp.array([1.0, 1.0, -1.0, 1.0])))
    0.5
    """
    return Magnetization()


def correlation(max: int = 32) -> Correlation:
    """Spin correlation R(k) (Eq. 50) up to separation ``max``.

    >>> correlation(max=2)(jnp.array([1.0, 1.0, -1.0, -1.0])).tolist()
    [0.0, -1.0]
    """
    return Correlation(max)
