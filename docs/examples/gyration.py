r"""An observable: the mean radius of gyration of molecules.

.. math:: R_g = \frac1M \sum_m \Bigl\{\frac1n \sum_{j \in m} |r_j - \bar r_m|^2\Bigr\}^{1/2}
"""

from dataclasses import dataclass
from typing import ClassVar

from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.observables import LiquidObservable
from bayescg.space import minimum_image

__all__ = ["RadiusOfGyration"]


@dataclass(frozen=True)
class RadiusOfGyration(LiquidObservable):
    """Mean radius of gyration of molecules of equal size, all sites weighed alike.

    Molecules may be cut by the box: each site is taken where it is nearest to the first of its molecule, so that
    no site may be half a box away from that.

    :param sites: of a molecule; those of one molecule follow each other.
    :raises ValueError: for a molecule of one site, or sites that are no whole number of molecules.
    """

    sites: int
    name: ClassVar[str] = "gyration"
    dims: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[str] = "angstrom"
    long_name: ClassVar[str] = "mean radius of gyration of a molecule"

    def __post_init__(self) -> None:
        if self.sites < 2:
            raise ValueError(f"gyration needs molecules of at least 2 sites, got {self.sites}.")

    def _measure(self, x: Array, box: np.ndarray) -> Array:
        axes, sites, batch = x.shape
        if sites % self.sites:
            raise ValueError(f"{sites} sites are no whole number of molecules of {self.sites}.")
        each = x.reshape(axes, -1, self.sites, batch)
        apart = (each - each[:, :, :1]).reshape(axes, sites, batch)
        whole = minimum_image(apart, box).reshape(each.shape)  # from the first site of each
        spread = jnp.sum(jnp.var(whole, axis=2), axis=0)  # (molecule, batch)
        return jnp.mean(jnp.sqrt(spread), axis=0)
