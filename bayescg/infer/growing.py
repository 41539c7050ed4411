r"""Growing the set of features one by one (PCG paper, Section 2.5), where the likelihood is exact.

A search starts with few features and adds, from a pool, the one that raises the log posterior
most (S. Della Pietra, V. Della Pietra and J. Lafferty, IEEE Trans. Pattern Anal. Mach. Intell. 19, 380
(1997)). With the coefficients of the features in use at their optimum, the slope g of a candidate's
coefficient at zero and its information, what the others know of it taken off, give to second order

.. math:: \Delta_k = \tfrac12\, g_k^2 \,/\, (I_{kk} - I_{kA} I_{AA}^{-1} I_{Ak}).

That is half of Rao's score statistic. Candidates that promise as much as they cost (:func:`price`) are tried, and
the one with the highest optimum is kept, if it brings that much.

A feature that came early may have stood in for others that came later: a triple inside which two pairs lie is
the best single feature of data that both pairs made. So after each addition, those that the optimum can now do
without, by Wald's statistic :math:`\tfrac12 u_k^2 / (I^{-1})_{kk}` and then by the optimum itself, are dropped
again (T. Zhang, IEEE Trans. Inf. Theory 57, 4689 (2011)). Every step raises the log posterior less the price of
the features in use, so that the search ends.
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

__all__ = [
    "Grown",
    "Objective",
    "Step",
    "expected_gains",
    "expected_losses",
    "grow_features",
    "price",
]

GRADIENT = 1e-5  # of the log posterior in a unit of u, where a search ends
TOGETHER = 8  # draws whose densities are evaluated side by side


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

    @cached_property
    def _densities(self) -> Callable[..., Any]:
        def density(u: Array, x: Array, conditions: dict[str, Array]) -> Array:
            return log_posterior(self.program, u, x, conditions) + self.program.log_jacobian(u)

        return jax.jit(
            lambda u, x, c: jax.lax.map(lambda v: density(v, x, c), u, batch_size=TOGETHER)
        )

    def densities(self, u: np.ndarray, *data: Any) -> np.ndarray:
        """Log posterior densities ``(draw,)`` of unconstrained draws ``u (draw, u)``."""
        return np.asarray(self._densities(jnp.asarray(u), *data))

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
    """One feature more, or one less."""

    added: int  # feature; -1 where none is
    dropped: int  # feature; -1 where none is
    expected: float  # gain of the log posterior, to second order; negative of a feature dropped
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


def expected_losses(u: np.ndarray, information: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Loss of the log posterior, to second order, if each of the coordinates ``free`` were held at zero."""
    variance = np.diag(np.linalg.inv(information[np.ix_(free, free)]))
    return 0.5 * u[free] ** 2 / np.where(variance > 0.0, variance, 1e-300)


@dataclass(frozen=True, eq=False)
class _Search:
    """What stays the same in one search; arguments are those of :func:`grow_features`."""

    objective: Objective
    site: np.ndarray
    stay: np.ndarray
    criterion: str
    data: tuple[Any, ...]

    def free(self, used: np.ndarray) -> np.ndarray:
        others = np.setdiff1d(np.arange(self.objective.program.size), self.site)
        return np.sort(np.concatenate([others, self.site[used]]))

    def cost(self, used: int) -> float:
        return price(self.criterion, len(self.data[0]), len(self.site), used)

    def optimum(self, u: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, float]:
        begin = u.copy()
        begin[self.site[~used]] = 0.0
        found = self.objective.optimum(begin, self.free(used), *self.data)
        return found, self.objective.slope(found, *self.data)[0]

    def gains(self, u: np.ndarray, used: np.ndarray, information: np.ndarray) -> np.ndarray:
        out, gains = np.flatnonzero(~used), np.full(len(used), np.nan)
        gradient = self.objective.slope(u, *self.data)[1]
        gains[out] = expected_gains(gradient, information, self.free(used), self.site[out])
        return gains

    def losses(self, u: np.ndarray, used: np.ndarray, information: np.ndarray) -> np.ndarray:
        free = self.free(used)
        every = np.full(len(u), np.nan)
        every[free] = expected_losses(u, information, free)
        return np.where(used & ~self.stay, every[self.site], np.nan)

    def added(
        self, u: np.ndarray, value: float, used: np.ndarray, gains: np.ndarray, cost: float
    ) -> tuple[int, np.ndarray, float] | None:
        """Of the candidates that promise more than their cost, the one that brings most; with the new optimum.

        All of these are tried: far from its optimum a candidate's promise may be several times what it brings.
        """
        best = None
        for k in np.flatnonzero(gains > cost):
            tried, height = self.optimum(u, used | (np.arange(len(used)) == k))
            if height - value > cost and (best is None or height > best[2]):
                best = int(k), tried, height
        return best

    def dropped(
        self, u: np.ndarray, value: float, used: np.ndarray, losses: np.ndarray, cost: float
    ) -> tuple[int, np.ndarray, float] | None:
        """The feature of the least expected loss that loses less than it costs; with the new optimum."""
        for k in np.argsort(losses, kind="stable"):
            if not losses[k] < cost:
                return None
            tried, height = self.optimum(u, used & (np.arange(len(used)) != k))
            if value - height < cost:
                return int(k), tried, height
        return None


def grow_features(
    objective: Objective,
    site: np.ndarray,
    begin: np.ndarray,
    criterion: str,
    most: int,
    *data: Any,
    tell: Callable[[int, float], None] = lambda step, gain: None,
) -> Grown:
    """Add features until none gains what a coefficient costs, and drop those that no longer do.

    :param site: where ``u`` holds the coefficients, ``(feature,)``.
    :param begin: whether each feature is in use from the start, and stays.
    :param criterion: what a feature costs, as :func:`price` has it.
    :param most: features at the end.
    :param data: ``x (frame, ...)`` and the conditions.
    """
    search = _Search(objective, site, begin.copy(), criterion, data)
    used = begin.copy()
    u, value = search.optimum(np.zeros(objective.program.size), used)
    steps = [
        Step(
            -1, -1, np.nan, np.nan, value, objective.log_likelihood(u, *data), np.nan,
            np.full(len(site), np.nan),
        )
    ]  # fmt: skip
    information = objective.information(u, *data)
    dropping, ended = False, "no feature gains more"
    while True:
        count = int(used.sum())
        if dropping:
            cost, expected = search.cost(count - 1), search.losses(u, used, information)
            found = search.dropped(u, value, used, expected, cost)
        elif used.all():
            break
        elif count >= most:
            ended = "as many features as allowed"
            break
        else:
            cost, expected = search.cost(count), search.gains(u, used, information)
            found = search.added(u, value, used, expected, cost)
        if found is None:
            if not dropping:
                break
            dropping = False
            continue
        k, tried, height = found
        used[k] = ~used[k]
        steps.append(
            Step(
                added=k if used[k] else -1,
                dropped=-1 if used[k] else k,
                expected=float(-expected[k] if dropping else expected[k]),
                gained=height - value,
                log_posterior=height,
                log_likelihood=objective.log_likelihood(tried, *data),
                cost=cost,
                candidates=np.full(len(site), np.nan) if dropping else expected,
            )
        )
        u, value, dropping = tried, height, True
        information = objective.information(u, *data)
        tell(int(used.sum()), steps[-1].gained)
    return Grown(u, used, steps, ended)
