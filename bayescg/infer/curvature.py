r"""The curvature of what a search makes small, from configurations of the model that it has seen.

Where a logit linear in features tells a model from its data, the slope of Eq. 15 of the ARCG paper changes with u by

.. math:: H = \operatorname{Cov}[s, f]\,(\operatorname{Cov}[f] + \rho)^{-1}\operatorname{Cov}[f, s],
          \qquad s = \beta J^\top(\phi - \langle\phi\rangle)

with what holds the critic back, noise and a penalty, in the ridge :math:`\rho`. Features that hold all of s make it the
model's own information, :math:`\operatorname{Cov}[s]`; virtual sites that no feature sees make it less, and in
directions that only they answer for much less.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

__all__ = ["Curvature", "Seen", "seen"]


class Seen(NamedTuple):
    """What a linear critic sees of the scores."""

    curvature: np.ndarray  # (u, u), H
    by_feature: (
        np.ndarray
    )  # (u, feature), Cov[s, f] (Cov[f] + ridge)^-1: the best guess of s from f


def seen(
    scores: np.ndarray, features: np.ndarray, ridge: float, weight: np.ndarray | None = None
) -> Seen:
    """As much of the information as features tell a linear critic.

    :param scores: ``(sample, u)``; ``features``: of the same, ``(sample, feature)``.
    :param weight: of the samples, adding up to one; None: equal.
    """
    if weight is None:
        weight = np.full(len(scores), 1.0 / len(scores))
    s, f = scores - weight @ scores, features - weight @ features
    cross, own = (weight[:, None] * s).T @ f, (weight[:, None] * f).T @ f
    by_feature = np.linalg.solve(own + ridge * np.eye(len(own)), cross.T).T
    return Seen(by_feature @ cross.T, by_feature)


@dataclass(frozen=True, eq=False)
class Curvature:
    """Running covariance of scores: the information of a configuration about the parameters.

    :param remember: of it, from one iteration to the next.
    :param total: ``(u, u)``, and how much of it is known.
    """

    remember: float
    total: np.ndarray | None = None
    known: float = 0.0

    def after(self, scores: np.ndarray) -> Self:
        """With the scores of one iteration more, ``(sample, u)``."""
        off = scores - scores.mean(0)
        new = off.T @ off / len(off)
        old = np.zeros_like(new) if self.total is None else self.total
        return replace(
            self,
            total=self.remember * old + (1.0 - self.remember) * new,
            known=self.remember * self.known + (1.0 - self.remember),
        )

    @property
    def information(self) -> np.ndarray:
        """Of a configuration, ``(u, u)``."""
        assert self.total is not None
        out: np.ndarray = self.total / self.known
        return out
