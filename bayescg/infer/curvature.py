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

__all__ = ["Curvature", "Seen", "held_out", "seen"]

LEAST_SEEN = 0.01  # of the information in any direction, below which samples tell nothing of what is seen


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


def held_out(
    scores: np.ndarray, features: np.ndarray, ridge: float, weight: np.ndarray, part: np.ndarray
) -> np.ndarray:
    """H by guesses of either half of the samples for the other, ``(u, u)``, within the information.

    Sixty features guess a part of any score in a few hundred samples that they were fitted to, and of one that they
    know a tenth of that is most: a step would be a tenth of its length.

    :param part: (sample,), true for one half; correlated samples in the same one.
    """
    halves = []
    for chosen in (part, ~part):
        share = weight[chosen] / weight[chosen].sum()
        s, f = (v[chosen] - share @ v[chosen] for v in (scores, features))
        halves.append(((share[:, None] * s).T @ f, (share[:, None] * f).T @ f))
    total = np.zeros((scores.shape[1],) * 2)
    for (cross, own), (other, _) in zip(halves, halves[::-1], strict=True):
        total += np.linalg.solve(own + ridge * np.eye(len(own)), cross.T).T @ other.T
    off = scores - weight @ scores
    information = (weight[:, None] * off).T @ off
    size = np.sqrt(np.diag(information))
    size = np.where(size > 0.0, size, 1.0)
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    root = size[:, None] * vectors * np.sqrt(np.maximum(values, 1e-9))
    inverse = (vectors / np.sqrt(np.maximum(values, 1e-9))).T / size
    share, axes = np.linalg.eigh(0.25 * inverse @ (total + total.T) @ inverse.T)
    back = root @ axes
    out: np.ndarray = back * np.clip(share, LEAST_SEEN, 1.0) @ back.T
    return out


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
