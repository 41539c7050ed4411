"""Logistic regression by L-BFGS."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from bayescg.critics.base import Labelled, Losses

__all__ = ["Logistic", "logistic"]


@dataclass(frozen=True)
class Logistic:
    r"""A logit linear in the features, :math:`\ell = w\cdot f + b`, with a penalty :math:`\tfrac12\lambda|w|^2`.

    Complete (ARCG paper, Section II.D) for features that are the sufficient statistics of model and reference,
    both exponential families. A limited number of iterations from nothing regularises as well (Section III).

    :param penalty: lambda.
    :param iterations: most iterations of L-BFGS.
    :param tolerance: of the gradient.
    """

    penalty: float = 1e-3
    iterations: int = 50
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        if not self.penalty >= 0.0 or self.iterations < 1:
            raise ValueError("penalty must not be negative, iterations be at least 1.")

    def start(self, key: Array, features: int) -> np.ndarray:
        """Weights and offset of no opinion, zeros ``(feature + 1,)``."""
        return np.zeros(features + 1)

    def fit(
        self, key: Array, params: np.ndarray, samples: Labelled, losses: Losses
    ) -> tuple[np.ndarray, float]:
        """Weights and offset at the minimum of the penalised mean loss, and that minimum.

        The objective is convex, so that the search begins at zero whatever it is given.

        :param key: not used, for nothing is random.
        :param params: gives the shape, ``(feature + 1,)``.
        :param samples: features of both samples with their weights.
        :param losses: what a guess costs, by its logit.
        """
        objective, padded = _objective(losses, self.penalty), _padded(samples)

        def value(w: np.ndarray) -> tuple[float, np.ndarray]:
            loss, slope = objective(w, *padded)
            return float(loss), np.asarray(slope)

        found = minimize(
            value,
            np.zeros_like(params),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.iterations, "gtol": self.tolerance, "ftol": 0.0},
        )
        return found.x, float(found.fun)

    def logit(self, params: np.ndarray, features: np.ndarray) -> np.ndarray:
        r"""The logit :math:`w \cdot f + b`, ``(sample,)``, of ``features (sample, feature)``."""
        out: np.ndarray = features @ params[:-1] + params[-1]
        return out


def _padded(samples: Labelled) -> Labelled:
    """On the device, with rows of no weight: little is compiled where numbers of samples change a little."""

    def more(a: np.ndarray) -> Any:
        unit = max(1, (1 << len(a).bit_length()) // 16)  # at most an eighth more
        return jnp.asarray(np.pad(a, [(0, -len(a) % unit), *[(0, 0)] * (a.ndim - 1)]))

    return Labelled(*(more(a) for a in samples))


@lru_cache(maxsize=16)
def _objective(losses: Losses, penalty: float) -> Callable[..., Any]:
    """Mean loss of both labels and the penalty, with its slope; compiled once for a shape."""

    def loss(w: Array, model: Array, reference: Array, of_model: Array, of_ref: Array) -> Array:
        def mean(f: Array, weight: Array, cost: Callable[[Array], Array]) -> Array:
            return weight @ cost(f @ w[:-1] + w[-1])

        both = mean(model, of_model, losses.model) + mean(reference, of_ref, losses.reference)
        return 0.5 * both + 0.5 * penalty * jnp.sum(w[:-1] ** 2)

    return jax.jit(jax.value_and_grad(loss))


def logistic(penalty: float = 1e-3, iterations: int = 50) -> Logistic:
    r"""Logistic regression by L-BFGS, with an l2 penalty and a limited number of iterations.

    :param penalty: lambda of :math:`\tfrac12\lambda|w|^2`.
    :param iterations: most iterations of L-BFGS.

    >>> import jax
    >>> from bayescg.critics.base import LOG_LOSS, labelled
    >>> rng = np.random.default_rng(0)
    >>> both = labelled(rng.normal(-1.0, 1.0, (500, 1)), rng.normal(1.0, 1.0, (500, 1)))
    >>> critic = logistic()
    >>> w, _ = critic.fit(jax.random.key(0), critic.start(jax.random.key(0), 1), both, LOG_LOSS)
    >>> bool(abs(w[0] - 2.0) < 0.3)  # the logarithm of the ratio of these two normals is 2 x
    True
    """
    return Logistic(penalty, iterations)
