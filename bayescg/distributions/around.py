"""Coarse-to-fine maps of sites in space by name, with their priors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.distributions import Dirichlet, Distribution

from bayescg.distributions.coarse_to_fine import (
    PeriodicMixture,
    PeriodicNormal,
    increasing_variances,
)
from bayescg.distributions.priors import positive

__all__ = ["Around"]


@dataclass(frozen=True)
class Around:
    r"""How fine sites lie around their coarse ones, p_cf(x | X, theta_cf) of Eq. 61 of the PCG paper and beyond.

    ``isotropic``: Eq. 61, one ``sigma2``, under a flat prior or a log-normal one. ``anisotropic``: ``sigma2
    (axis,)``, one along each axis of the box, alike. ``mixture``: ``weights (component,)`` under a Dirichlet prior
    and ``sigma2 (component,)``, increasing, under :func:`~bayescg.distributions.coarse_to_fine.increasing_variances`;
    both proper.

    :param kind: ``isotropic``, ``anisotropic`` or ``mixture``.
    :param box: edges, angstrom.
    :param sigma2: variance that a fit starts from, of a mixture the narrowest, whose prior median it is; angstrom^2.
    :param components: of the mixture.
    :param concentration: of its Dirichlet prior.
    :param spread: prior standard deviation of the logarithm of its narrowest variance.
    :param ratio: prior median of a variance of it over the next narrower one.
    :param lognormal: prior of the others' ``sigma2``, median and standard deviation of the logarithm; None: flat.
    :raises ValueError: for a value out of range.
    """

    kind: Literal["isotropic", "anisotropic", "mixture"]
    box: tuple[float, float, float]
    sigma2: float
    components: int = 2
    concentration: float = 2.0
    spread: float = 2.0
    ratio: float = 4.0
    lognormal: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.components < 2:
            raise ValueError(
                f"components must be at least 2, got {self.components}; one is coarse_to_fine=isotropic."
            )
        for name, value in (("concentration", self.concentration), ("sigma2_spread", self.spread)):
            if not value > 0.0:
                raise ValueError(f"{name} must be positive, got {value:g}.")
        if not self.ratio > 1.0:
            raise ValueError(f"sigma2_ratio must be above 1, got {self.ratio:g}.")

    def __call__(self) -> Callable[[Array], Distribution]:
        """Sample theta_cf in the running program; from latents ``X (*batch, site, axis)`` to p_cf."""
        if self.kind == "mixture":
            prior = Dirichlet(jnp.full(self.components, self.concentration))
            weights = numpyro.sample("weights", prior, infer={"mode": "unconstrained"})
            variances = increasing_variances(
                "sigma2",
                self.components,
                median=self.sigma2,
                spread=self.spread,
                ratio=self.ratio,
            )
            return lambda X: PeriodicMixture(X, weights, variances, box=self.box)
        sigma2 = positive("sigma2", self.lognormal, (3,) if self.kind == "anisotropic" else ())
        return lambda X: PeriodicNormal(X, sigma2, box=self.box)

    @property
    def start(self) -> dict[str, Any]:
        """Where a fit starts."""
        if self.kind != "mixture":
            return {"sigma2": self.sigma2}
        return {
            "sigma2": self.sigma2 * self.ratio ** np.arange(self.components),
            "weights": np.full(self.components, 1.0 / self.components),
        }

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names for the axes of its parameters."""
        if self.kind == "mixture":
            return {"sigma2": ("component",), "weights": ("component",)}
        return {"sigma2": ("axis",)} if self.kind == "anisotropic" else {}

    @property
    def no_dirac(self) -> str:
        """The option that makes it what methods without latents refuse; empty for Eq. 61's."""
        return "" if self.kind == "isotropic" else f"coarse_to_fine={self.kind}"
