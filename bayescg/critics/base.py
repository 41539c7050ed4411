r"""What a critic is: an estimate of how much more likely a configuration is under the data than under the model.

The estimate of the class probability is written by its logit,

.. math:: \ell(x) = \log\frac{\hat\eta(x)}{1 - \hat\eta(x)}, \qquad
          \ell^\dagger(x) = \log\frac{p_{ref}(x)}{p_{mod}(x)}

at its optimum (ARCG paper, Eq. 19), which loses no digits where :math:`\hat\eta` is nearly 0 or 1. Label 1
is the reference's, as in the paper.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
from jax import Array
import numpy as np

__all__ = ["LOG_LOSS", "Critic", "Labelled", "Losses", "accuracy", "labelled"]


class Labelled(NamedTuple):
    """Features of two samples that are to be told apart; the weights of each add up to one."""

    model: np.ndarray  # (sample, feature)
    reference: np.ndarray  # (frame, feature)
    model_weight: np.ndarray  # (sample,)
    reference_weight: np.ndarray  # (frame,)

    @property
    def features(self) -> int:
        """How many features there are."""
        return int(self.model.shape[1])


def labelled(
    model: np.ndarray,
    reference: np.ndarray,
    model_weight: np.ndarray | None = None,
    reference_weight: np.ndarray | None = None,
) -> Labelled:
    """Two samples with their weights, equal where none are given.

    :param model: features of the model's configurations, ``(sample, feature)``; ``reference`` the data's.
    :param model_weight: of each configuration of the model, ``(sample,)``; ``reference_weight``
        of the data's, ``(frame,)``; they need not add up to 1.
    :raises ValueError: unless both have the same features and at least one configuration, and weights suit them.
    """
    model, reference = np.asarray(model, float), np.asarray(reference, float)
    if model.ndim != 2 or reference.ndim != 2 or model.shape[1] != reference.shape[1]:
        raise ValueError(
            f"features of model and reference have shapes {model.shape} and {reference.shape}; allowed are "
            "(sample, feature) with the same features."
        )
    if not len(model) or not len(reference):
        raise ValueError("a critic needs configurations of both model and reference.")

    def share(weight: np.ndarray | None, count: int) -> np.ndarray:
        if weight is None:
            return np.full(count, 1.0 / count)
        out = np.asarray(weight, float)
        if out.shape != (count,) or not (out >= 0.0).all() or not 0.0 < out.sum() < np.inf:
            raise ValueError(
                f"weights must be one number for each of {count} configurations, none negative, not all 0."
            )
        return out / out.sum()

    return Labelled(
        model, reference, share(model_weight, len(model)), share(reference_weight, len(reference))
    )


class Losses(NamedTuple):
    """What a guess costs, as functions of its logit (ARCG paper, Eq. 17)."""

    model: Callable[[Array], Array]  # l_mod, of a configuration of the model
    reference: Callable[[Array], Array]  # l_ref, of one of the data


#: The log-loss (Eq. 44), whose optimal guess is that of every proper loss.
LOG_LOSS = Losses(jax.nn.softplus, lambda logit: jax.nn.softplus(-logit))


class Critic(Protocol):
    """A family of guesses, and the search within it."""

    def start(self, key: Array, features: int) -> Any:
        """First parameters."""
        ...

    def fit(self, key: Array, params: Any, samples: Labelled, losses: Losses) -> tuple[Any, float]:
        """Parameters of a better guess, and its loss.

        :param params: where to begin.
        """
        ...

    def logit(self, params: Any, features: np.ndarray) -> np.ndarray:
        """The guess, ``(sample,)``, of ``features (sample, feature)``."""
        ...


def accuracy(model: np.ndarray, reference: np.ndarray, samples: Labelled) -> float:
    """Part of the configurations whose label a score has right, the two labels weighed equally.

    :param model: scores of the model's configurations, ``(sample,)``, above 0 for "reference"; ``reference``
        those of the data's. A score of 0 is half right.
    :param samples: features of both, with their weights.

    >>> both = labelled(np.zeros((2, 1)), np.ones((4, 1)))
    >>> accuracy(np.array([-1.0, 1.0]), np.array([1.0, 1.0, 1.0, -1.0]), both)  # half, and three quarters
    0.625
    """

    def right(score: np.ndarray) -> np.ndarray:
        return np.where(score == 0.0, 0.5, score > 0.0)

    return float(
        0.5 * (samples.model_weight @ right(-model) + samples.reference_weight @ right(reference))
    )
