"""The density profile across a slab, as a liquid makes that has split into two."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from jax import Array
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from bayescg.observables.liquid import LiquidObservable

__all__ = ["SlabProfile", "slab_profile"]


@dataclass(frozen=True)
class SlabProfile(LiquidObservable):
    r"""Density of sites by the distance from the middle of their slab, configurations aligned.

    A slab lies across the edge along which :math:`c_k = \sum_j e^{2\pi i x_{jk}/L_k}`, the density's first wave, is
    largest for the number of sites, and its middle where the phase of that wave is zero (ARCG paper, Fig. 6, where
    slabs lie across z). A uniform liquid has no slab, but its largest wave, too, is put in the middle: its profile is
    not flat by the size of that wave.

    :param bins: along half the edge on both sides of the middle.
    """

    bins: int
    name: ClassVar[str] = "slab_density"
    dims: ClassVar[tuple[str, ...]] = ("depth",)
    units: ClassVar[str] = "1/angstrom^3"
    long_name: ClassVar[str] = "density across the slab, configurations aligned"

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"slab_profile bins must be at least 2, got {self.bins}.")

    def in_box(self, box: ArrayLike) -> Self:
        """As for every observable; slabs may lie across any edge, so that the box must be a cube.

        :raises ValueError: unless the box is a cube.
        """
        edges = np.asarray(box, float)
        if np.ptp(edges) > 1e-5 * edges.max():
            raise ValueError(
                f"slab_density needs a cube, the box is {', '.join(f'{e:g}' for e in edges)} angstrom."
            )
        return super().in_box(box)

    def settings(self) -> dict[str, Any]:
        """The number of bins."""
        return {"bins": self.bins}

    def coords(self) -> dict[str, np.ndarray]:
        """``depth``: centres of the bins from the middle of the slab, angstrom (parts of the edge without a box)."""
        edge = 1.0 if self.box is None else max(self.box)
        return {"depth": edge * ((np.arange(self.bins) + 0.5) / self.bins - 0.5)}

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        turn = 2.0 * np.pi * x / box[:, None, None]
        wave = jnp.mean(jnp.exp(1j * turn), 1)  # (axis, batch)
        across = jnp.argmax(jnp.abs(wave), 0)
        batch = jnp.arange(x.shape[2])
        phase = jnp.moveaxis(turn, 1, 0)[:, across, batch] - jnp.angle(wave)[across, batch]
        part = jnp.mod(phase / (2.0 * np.pi) + 0.5, 1.0)  # of the edge, (site, batch)
        row = jnp.minimum(jnp.floor(part * self.bins), self.bins - 1).astype(jnp.int32)
        counts = jnp.zeros((self.bins, x.shape[2]), x.dtype).at[row, batch].add(1.0)
        return counts * (self.bins / float(np.prod(box)))


def slab_profile(bins: int = 40) -> SlabProfile:
    """Density across a slab; boxes are cubes.

    :param bins: along the edge across which the slab lies.
    """
    return SlabProfile(int(bins))
