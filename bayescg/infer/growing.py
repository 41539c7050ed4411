r"""Growing the set of features one by one (PCG paper, Section 2.5), where the likelihood is exact.

A search starts with few features and adds, from a pool, the one that is expected to raise the log posterior
most (S. Della Pietra, V. Della Pietra and J. Lafferty, IEEE Trans. Pattern Anal. Mach. Intell. 19, 380
(1997)). With the coefficients of the features in use at their optimum, the slope g of a candidate's
coefficient at zero and its information, what the others know of it taken off, give to second order

.. math:: \Delta_k = \tfrac12\, g_k^2 \,/\, (I_{kk} - I_{kA} I_{AA}^{-1} I_{Ak}).

That is half of Rao's score statistic. A candidate is kept if the optimum with it is higher by as much as it
costs (:func:`price`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from bayescg.infer.marginal import log_marginal, log_posterior
from bayescg.infer.program import Program

__all__ = ["Grown", "Objective", "Step", "expected_gains", "grow_features", "price"]

GRADIENT = 1e-5  # of the log posterior in a unit of u, where a search ends


@dataclass(frozen=True, eq=False)
class Objective:
    """Log posterior of one data set with derivatives; compiled once for all of a sweep.

    :param program: read on the whole pool of features.
    """

    program: Program

    @cached_property
    def _value(self) -> Callable[..., Any]:
        program = self.program

        def value(u: Array, x: Array, conditions: dict[str, Array]) -> Array:
            return log_posterior(program, u, x, conditions) + program.log_jacobian(
                u, program.free_modes
            )

        return value

    @cached_property
    def _slope(self) -> Callable[..., Any]:
        return jax.jit(jax.value_and_grad(self._value))

    @cached_property
    def _hessian(self) -> Callable[..., Any]:
        return jax.jit(jax.hessian(self._value))

    @cached_property
    def _likelihood(self) -> Callable[..., Any]:
        return jax.jit(lambda u, x, c: log_marginal(self.program, u, x, c).sum())

    def slope(self, u: np.ndarray, *data: Any) -> tuple[float, np.ndarray]:
        """Value and gradient ``(u,)``."""
        value, gradient = self._slope(jnp.asarray(u), *data)
        return float(value), np.asarray(gradient)

    def information(self, u: np.ndarray, *data: Any) -> np.ndarray:
        """Observed information, minus the Hessian, ``(u, u)``."""
        return -np.asarray(self._hessian(jnp.asarray(u), *data))

    def log_likelihood(self, u: np.ndarray, *data: Any) -> float:
        """Log likelihood of the data."""
        return float(self._likelihood(jnp.asarray(u), *data))

    def optimum(self, u: np.ndarray, free: np.ndarray, *data: Any) -> np.ndarray:
        """The largest log posterior near ``u (u,)`` when only ``free`` coordinates, indices, move."""

        def down(v: np.ndarray) -> tuple[float, np.ndarray]:
            at = u.copy()
            at[free] = v
            value, gradient = self.slope(at, *data)
            return -value, -gradient[free]

        found = minimize(down, u[free], jac=True, method="BFGS", options={"gtol": GRADIENT})
        out = u.copy()
        out[free] = found.x
        return out


class Step(NamedTuple):
    """One feature more."""

    feature: int  # -1 of the set that the search began with
    expected: float  # gain of the log posterior, to second order
    gained: float  # by the new optimum
    log_posterior: float
    log_likelihood: float
    cost: float  # gain that a feature must bring there
    candidates: (
        np.ndarray
    )  # (feature,), expected gain of each before this step; NaN of those in use


@dataclass(frozen=True, eq=False)
class Grown:
    """How far one search came."""

    u: np.ndarray  # (u,), coefficients of features not in use are zero
    used: np.ndarray  # (feature,), whether each is in use
    steps: list[Step] = field(default_factory=list)
    ended: str = "no feature gains more"


def price(criterion: str, frames: int, pool: int, used: int) -> float:
    r"""Gain of the log posterior, in nats, that keeps one feature more.

    ``"aic"``: 1. ``"bic"``: :math:`\tfrac12\log N`. ``"ebic"``: that and :math:`\log\{(P - k)/(k + 1)\}`, of P
    features in the pool and k in use, for the best of many candidates gains something by chance (J. Chen and
    Z. Chen, Biometrika 95, 759 (2008), at gamma = 1; never below BIC here).
    """
    if criterion == "aic":
        return 1.0
    choice = np.log((pool - used) / (used + 1)) if criterion == "ebic" else 0.0
    return float(0.5 * np.log(frames) + max(0.0, choice))


def expected_gains(
    gradient: np.ndarray, information: np.ndarray, free: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Gain of the log posterior that each candidate is expected to bring, to second order.

    :param free: indices of what moves with it.
    :param candidates: indices of coefficients at zero.
    """
    cross = information[np.ix_(free, candidates)]
    known = np.linalg.solve(information[np.ix_(free, free)], cross)
    left = np.diag(information)[candidates] - np.sum(cross * known, 0)
    # Where the log posterior bends up, the size of the bend still says how far a step may go.
    return 0.5 * gradient[candidates] ** 2 / np.maximum(np.abs(left), 1e-300)


def grow_features(
    objective: Objective,
    site: np.ndarray,
    begin: np.ndarray,
    criterion: str,
    most: int,
    *data: Any,
    tell: Callable[[int, float], None] = lambda step, gain: None,
) -> Grown:
    """Add features until none gains what a coefficient costs.

    :param site: where ``u`` holds the coefficients, ``(feature,)``.
    :param begin: whether each feature is in use from the start.
    :param criterion: what a feature costs, as :func:`price` has it.
    :param most: features at the end.
    :param data: ``x (frame, ...)`` and the conditions.
    """
    used = begin.copy()
    others = np.setdiff1d(np.arange(objective.program.size), site)

    def free() -> np.ndarray:
        return np.sort(np.concatenate([others, site[used]]))

    u = objective.optimum(np.zeros(objective.program.size), free(), *data)
    value, gradient = objective.slope(u, *data)
    unknown, frames = np.full(len(site), np.nan), len(data[0])
    likelihood = objective.log_likelihood(u, *data)
    steps = [Step(-1, np.nan, np.nan, value, likelihood, np.nan, unknown)]
    ended = "no feature gains more"
    while not used.all():
        if used.sum() >= most:
            ended = "as many features as allowed"
            break
        out = np.flatnonzero(~used)
        gains = unknown.copy()
        information = objective.information(u, *data)
        gains[out] = expected_gains(gradient, information, free(), site[out])
        cost = price(criterion, frames, len(site), int(used.sum()))
        taken = False
        for k in out[np.argsort(-gains[out])]:
            if not gains[k] > cost:
                break
            used[k] = True
            tried = objective.optimum(u, free(), *data)
            new, slope = objective.slope(tried, *data)
            if new - value > cost:
                taken = True
                break
            used[k] = False  # it promised more than it brought
        if not taken:
            break
        likelihood = objective.log_likelihood(tried, *data)
        steps.append(Step(int(k), float(gains[k]), new - value, new, likelihood, cost, gains))
        u, value, gradient = tried, new, slope
        tell(int(used.sum()), steps[-1].gained)
    return Grown(u, used, steps, ended)
