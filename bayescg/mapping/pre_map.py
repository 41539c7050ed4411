r"""Pre-CG maps G: from the sites of a model to those that the data hold (ARCG paper, Eqs. 22 to 24).

.. math:: p_{mod}(R) = \int p^{pre}_{mod}(r)\,\delta(G(r) - R)\,\mathrm dr

Averages over the mapped model are averages of :math:`f\circ G` (Eq. 24), so G is all that a critic needs. Maps act
on ``(axis, site, *batch)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.mapping.linear import LinearMap

__all__ = ["DropSites", "FeatureMap", "LinearPreMap", "PreMap", "drop_sites"]


class PreMap(Protocol):
    """A map G."""

    def __call__(self, x: Array) -> Array:
        """Mapped configurations, ``(axis, site, *batch)``."""
        ...

    @property
    def linear(self) -> LinearMap | None:
        """The same as a linear map of positions, by which momenta are judged; None where it is none."""
        ...


@dataclass(frozen=True)
class DropSites:
    """Keep some sites and drop the virtual ones.

    :param sites: of the model.
    :param kept: those that are kept, in their order in the data.
    :raises ValueError: unless they are different sites of the model, and some.
    """

    sites: int
    kept: tuple[int, ...]

    def __post_init__(self) -> None:
        wrong = [k for k in self.kept if not 0 <= k < self.sites]
        if wrong:
            raise ValueError(f"G keeps site {wrong[0]}; allowed are 0 to {self.sites - 1}.")
        if not self.kept or len(set(self.kept)) < len(self.kept):
            raise ValueError("G must keep at least one site, and none twice.")

    def __call__(self, x: Array) -> Array:
        return x[:, np.array(self.kept)]

    @cached_property
    def linear(self) -> LinearMap:
        """The same map as a linear one, each kept site with weight 1."""
        kept = np.array(self.kept)
        return LinearMap(self.sites, len(kept), np.arange(len(kept)), kept, np.ones(len(kept)))


@dataclass(frozen=True, eq=False)
class LinearPreMap:
    """Weighted means of sites; molecules must be whole.

    :param linear: the map; it checks itself to be one of positive weights that add up to one.
    """

    linear: LinearMap

    def __call__(self, x: Array) -> Array:
        dense = jnp.asarray(self.linear.matrix.toarray(), x.dtype)
        return jnp.moveaxis(jnp.tensordot(dense, x, (1, 1)), 0, 1)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Any function of configurations, as a non-linear G: critics see its values, and momenta are not consistent.

    :param function: ``(axis, site, *batch)`` to what is compared, of the same layout.
    """

    function: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    @property
    def linear(self) -> None:
        """None: the map is not linear in positions."""
        return None


def drop_sites(types: Sequence[str], virtual: Sequence[str]) -> DropSites:
    """The map that drops the sites of virtual types.

    :param types: of the model's sites, ``(site,)``.
    :param virtual: types that are dropped.
    :raises ValueError: for a type that there is none of, and if no site is left.

    >>> drop_sites(("X", "Y", "X"), ["Y"]).kept
    (0, 2)
    """
    for name in virtual:
        if name not in types:
            raise ValueError(
                f"there is no site of type {name!r}; allowed are {', '.join(dict.fromkeys(types))}."
            )
    kept = tuple(i for i, t in enumerate(types) if t not in virtual)
    if not kept:
        raise ValueError("no site is left without the virtual ones.")
    return DropSites(len(types), kept)
