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

__all__ = ["Curvature", "HeldOut", "guess", "held_out"]

LEAST_KNOWN = 1e-9  # eigenvalue of the information, each parameter's own being 1
LEAST_SEEN = 0.01  # of the information along an axis; samples do not tell less from nothing
LITTLE = 0.01  # of a parameter's variance, if all were seen


class HeldOut(NamedTuple):
    """H in the metric of the information: that is ``root @ root.T``, and H ``root @ diag(share) @ root.T``."""

    root: np.ndarray  # (u, u)
    inverse: np.ndarray  # (u, u), of the root
    share: np.ndarray  # (u,), of the information along each axis, that a critic sees
    seen: np.ndarray  # (u,), whether it sees, and samples know, anything along it

    def solve(self, damping: float = 0.0) -> np.ndarray:
        """Inverse of H and ``damping`` times the information along what is seen, ``(u, u)``.

        What looks like a slope along the rest is noise, over next to nothing.
        """
        out: np.ndarray = (self.inverse.T * (self.seen / (self.share + damping))) @ self.inverse
        return out

    @property
    def unseen(self) -> np.ndarray:
        """Parameters that something depends on of which the critic sees nothing, ``(u,)``."""
        part = self.inverse.T**2
        out: np.ndarray = part[:, ~self.seen].sum(1) > LITTLE * part.sum(1)
        return out

    @property
    def curvature(self) -> np.ndarray:
        """H, ``(u, u)``."""
        out: np.ndarray = self.root * self.share @ self.root.T
        return out


def guess(scores: np.ndarray, features: np.ndarray, ridge: float, weight: np.ndarray) -> np.ndarray:
    """Cov[s, f] (Cov[f] + ridge)^-1, ``(u, feature)``: the best linear guess of scores from features.

    :param scores: ``(sample, u)``; ``features``: of the same, ``(sample, feature)``.
    :param weight: of the samples, adding up to one.
    """
    cross, own = _moments(scores, features, weight)
    out: np.ndarray = np.linalg.solve(own + ridge * np.eye(len(own)), cross.T).T
    return out


def _moments(
    scores: np.ndarray, features: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    s, f = scores - weight @ scores, features - weight @ features
    return (weight[:, None] * s).T @ f, (weight[:, None] * f).T @ f


def held_out(
    scores: np.ndarray, features: np.ndarray, ridge: float, weight: np.ndarray, part: np.ndarray
) -> HeldOut:
    """H by guesses of either half of the samples for the other, at most the information.

    Sixty features guess a part of any score in a few hundred samples that they were fitted to, and of one that they
    know a tenth of that is most: a step would be a tenth of its length.

    :param part: (sample,), true for one half; correlated samples in the same one.
    """
    halves = [(scores[p], features[p], weight[p] / weight[p].sum()) for p in (part, ~part)]
    total = np.zeros((scores.shape[1],) * 2)
    for one, other in zip(halves, halves[::-1], strict=True):
        (s, f, w) = one
        total += guess(s, f, ridge, w) @ _moments(*other)[0].T
    off = scores - weight @ scores
    information = (weight[:, None] * off).T @ off
    size = np.sqrt(np.diag(information))
    size = np.where(size > 0.0, size, 1.0)
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    known = np.sqrt(np.maximum(values, LEAST_KNOWN))
    inverse = (vectors / known).T / size
    share, axes = np.linalg.eigh(0.25 * inverse @ (total + total.T) @ inverse.T)
    return HeldOut(
        size[:, None] * vectors * known @ axes,
        axes.T @ inverse,
        np.clip(share, LEAST_SEEN, 1.0),
        share > LEAST_SEEN,
    )


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
