r"""Parameters that drift with a condition, such as temperature: one model for every member of a sweep.

About a reference condition a coefficient is a polynomial of low degree in the distance from it,

.. math:: \theta(c) = \theta_0 + \theta_1 t + \theta_2 t^2, \qquad t = (c - c_0) / w,

and so is the logarithm of a positive parameter. What it is at the reference has the prior that it has in a model of one
condition. What it changes by is normal about no change, with a scale that is given or, for coefficients, learned: one
scale for all of them,

.. math:: \theta_1 \sim N(0, s^2 I), \qquad s^2 \sim \mathrm{InvGamma}(\nu/2, \nu\,s_0^2/2),

which is integrated out (a multivariate t), so that a mode means something. So predictions far from all data are as
uncertain as the changes are, and more so the farther.

All parameters are shared by the members of a sweep: their sites carry the hint ``shared`` in ``infer``
(:attr:`bayescg.infer.program.Program.shared`).
"""

from dataclasses import dataclass
from typing import Any

from jax import Array
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.handlers import infer_config

from bayescg.distributions.priors import coefficients, positive

__all__ = ["Trend"]

FREEDOM = 3.0  # degrees of freedom of a learned scale, as of the scales of curves
ORDERS = ("slope", "bend")


@dataclass(frozen=True)
class Trend:
    """How parameters depend on a condition.

    :param reference: condition about which they are expanded, in its unit.
    :param width: of the condition, over which a parameter changes by its slope; in its unit.
    :param degree: 1, a straight line, or 2.
    :param change: prior scale of the slopes of coefficients, in their unit; of the bend half of it.
    :param relative: prior scale of the slopes of logarithms of positive parameters; likewise.
    :param learned: whether the scale of all coefficients' slopes is learned, ``change`` being about where it is.
    :raises ValueError: for a value that is not allowed.
    """

    reference: float
    width: float
    degree: int = 1
    change: float = 0.1
    relative: float = 0.1
    learned: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "change", "relative"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name):g}.")
        if not np.isfinite(self.reference):
            raise ValueError(f"the reference must be finite, got {self.reference:g}.")
        if self.degree not in (1, 2):
            raise ValueError(f"degree must be 1 or 2, got {self.degree}.")

    def coefficients(
        self,
        name: str,
        at: ArrayLike,
        size: int,
        prior: str,
        *,
        scale: float = 10.0,
        a0: float = 1e-5,
        b0: float = 1e-5,
    ) -> Array:
        """Coefficients ``(size,)`` at one value of the condition, a deterministic site.

        :param at: the condition, a scalar.
        :param prior: of the coefficients at the reference, which has the arguments that follow, as
            :func:`~bayescg.distributions.priors.coefficients` has them.
        """
        with infer_config(config_fn=_shared):
            centre = coefficients(f"{name}_reference", size, prior, scale=scale, a0=a0, b0=b0)
            return numpyro.deterministic(
                name, centre + self._change(name, at, (size,), self.change)
            )

    def positive(
        self, name: str, at: ArrayLike, lognormal: tuple[float, float] | None = None
    ) -> Array:
        """A positive parameter at one value of the condition, a deterministic site.

        :param at: the condition, a scalar.
        :param lognormal: prior at the reference, as :func:`~bayescg.distributions.priors.positive` has it.
        """
        with infer_config(config_fn=_shared):
            centre = positive(f"{name}_reference", lognormal)
            drift = jnp.exp(self._change(name, at, (), self.relative))
            return numpyro.deterministic(name, centre * drift)

    def _change(self, name: str, at: ArrayLike, shape: tuple[int, ...], scale: float) -> Array:
        """What a parameter, or its logarithm, has changed by since the reference."""
        t = (jnp.asarray(at) - self.reference) / self.width
        total = jnp.zeros(shape)
        for order, word in enumerate(ORDERS[: self.degree], start=1):
            s = scale / 2 ** (order - 1)
            prior: dist.Distribution = dist.Normal(0.0, s).expand(shape).to_event(len(shape))
            if self.learned and shape:
                prior = dist.MultivariateStudentT(FREEDOM, jnp.zeros(shape), s * jnp.eye(shape[0]))
            total = total + t**order * numpyro.sample(f"{name}_{word}", prior)
        return total


def _shared(site: Any) -> dict[str, bool]:
    return {"shared": True}
