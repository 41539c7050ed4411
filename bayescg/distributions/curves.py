r"""Parameters as smooth functions of a condition: one model for every member of a sweep.

An equilibrium average of a finite system is analytic in its external field or inverse temperature, and the coefficients
of an analytic function in Chebyshev polynomials fall off geometrically. The prior says that, and leaves open how fast:

.. math:: f_j(x) = s_j \sum_{p \in P_j} \rho^{\,p - \min P_j} z_{jp} T_p(x), \qquad z_{jp} \sim N(0, 1),

with a scale :math:`s_j` for each function (half-t, so that most may stay near zero and a few need not) and one decay
:math:`\rho \sim \mathrm{Beta}(2, 2)` for all. It is a Gaussian process of finite rank at given scales. A function
that is known to be even or odd has the orders :math:`P_j` of that parity only, and those of both otherwise.

Members of a sweep share scales, decay and weights: their sites carry the hint ``shared`` in ``infer``
(:attr:`bayescg.infer.program.Program.shared`). A member may deviate from the functions by parameters of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jax import Array
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import numpyro
import numpyro.distributions as dist

__all__ = ["Curves", "chebyshev"]

SHARED = {"shared": True}
#: Of scales, whose density is largest at zero, where nothing tells them: a mode is one of their logarithms.
SCALE = {"shared": True, "mode": "unconstrained"}
FREEDOM = 3.0  # degrees of freedom of half-t scales, as of the horseshoe's


def chebyshev(x: ArrayLike, degree: int) -> Array:
    """Chebyshev polynomials of the first kind, ``T_0 .. T_degree`` at a scalar ``x`` in [-1, 1]: ``(degree + 1,)``."""
    x = jnp.asarray(x, float)
    out = [jnp.ones_like(x), x]
    for _ in range(degree - 1):
        out.append(2.0 * x * out[-1] - out[-2])
    return jnp.stack(out[: degree + 1])


@dataclass(frozen=True)
class Curves:
    """How parameters depend on a condition, which lies between ``-reach`` and ``reach``.

    :param reach: largest absolute value of the condition, in its unit.
    :param degree: highest order of the polynomials.
    :param scale: scale of the half-t prior of each coefficient's scale, in the coefficient's unit.
    :param deviation: scale of the half-normal prior of how far a member deviates from the functions, in scales of each;
        0 for members that lie on them.
    :raises ValueError: for a value that is not allowed.
    """

    reach: float
    degree: int = 8
    scale: float = 1.0
    deviation: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.reach < np.inf:
            raise ValueError(f"reach must be positive, got {self.reach:g}.")
        if self.degree < 1:
            raise ValueError(f"degree must be at least 1, got {self.degree}.")
        if not 0.0 < self.scale < np.inf:
            raise ValueError(f"the curves' scale must be positive, got {self.scale:g}.")
        if not 0.0 <= self.deviation < np.inf:
            raise ValueError(f"deviation must not be negative, got {self.deviation:g}.")

    def coefficients(self, name: str, at: ArrayLike, parity: Sequence[int]) -> Array:
        """Coefficients ``(feature,)`` at one value of the condition, a deterministic site.

        :param at: the condition, a scalar.
        :param parity: of each function of the condition: 1 even, -1 odd, 0 neither.
        """
        size = len(parity)
        scales = _half_t(self.scale).expand([size]).to_event(1)
        scale = numpyro.sample(f"{name}_scale", scales, infer=SCALE)
        value = self._shapes(name, at, [self._orders(p) for p in parity])
        if self.deviation > 0.0:
            spread = numpyro.sample(
                f"{name}_deviation_scale", dist.HalfNormal(self.deviation), infer=SCALE
            )
            value = value + spread * numpyro.sample(f"{name}_deviation", _normals(size))
        return numpyro.deterministic(name, scale * value)

    def half_to_one(self, name: str, at: ArrayLike, parity: int) -> Array:
        r"""A probability in [1/2, 1] at one value of the condition, a deterministic site.

        Its coordinate :math:`\theta_{cf}` (PCG paper, Eq. 52) is a constant and a function without one. The constant's
        prior is the one under which a probability without the function is uniform. It does not deviate by member.

        :param at: the condition, a scalar.
        :param parity: of the function: 1 even, -1 odd, 0 neither.
        """
        centre = numpyro.sample(f"{name}_centre", dist.Logistic(0.0, 1.0), infer=SHARED)
        orders = self._orders(parity)
        orders = orders[orders > 0]
        if orders.size:
            scale = numpyro.sample(f"{name}_scale", _half_t(1.0), infer=SCALE)
            centre = centre + scale * self._shapes(name, at, [orders])[0]
        return numpyro.deterministic(name, 0.5 + 0.5 * jax.nn.sigmoid(centre))

    def _orders(self, parity: int) -> np.ndarray:
        """Orders of the polynomials that functions of a parity are sums of."""
        orders = np.arange(self.degree + 1)
        return orders if parity == 0 else orders[orders % 2 == (0 if parity > 0 else 1)]

    def _shapes(self, name: str, at: ArrayLike, orders: Sequence[np.ndarray]) -> Array:
        """The functions in units of their scales, ``(function,)``."""
        each = np.concatenate(orders)
        past = np.concatenate([o - o.min() for o in orders])
        owner = np.repeat(np.arange(len(orders)), [o.size for o in orders])
        decay = numpyro.sample(f"{name}_decay", dist.Beta(2.0, 2.0), infer=SCALE)
        weight = numpyro.sample(f"{name}_weight", _normals(each.size), infer=SHARED)
        terms = weight * decay**past * chebyshev(jnp.asarray(at) / self.reach, self.degree)[each]
        return jax.ops.segment_sum(terms, owner, len(orders))


def _half_t(scale: float) -> dist.Distribution:
    return dist.FoldedDistribution(dist.StudentT(FREEDOM, 0.0, scale))


def _normals(size: int) -> dist.Distribution:
    return dist.Normal(0.0, 1.0).expand([size]).to_event(1)
