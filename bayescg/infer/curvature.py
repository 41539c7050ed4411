r"""The curvature of what a search makes small, from configurations of the model that it has seen.

Where a logit linear in features tells a model from its data, the slope of Eq. 15 of the ARCG paper changes with u by

.. math:: H = \operatorname{Cov}[s, f]\,(\operatorname{Cov}[f] + \rho)^{-1}\operatorname{Cov}[f, s],
          \qquad s = \beta J^\top(\phi - \langle\phi\rangle)

with what holds the critic back, noise and a penalty, in the ridge :math:`\rho`. Features that hold all of s make it the
model's own information, :math:`\operatorname{Cov}[s]`; virtual sites that no feature sees make it less, and in
directions that only they answer for much less.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

__all__ = ["Curvature"]


@dataclass(frozen=True, eq=False)
class Curvature:
    """Running second moments of scores and features.

    :param remember: of them, from one iteration to the next.
    :param total: Cov of scores and features together, ``(u + feature, u + feature)``, and how much of it is known.
    """

    remember: float
    total: np.ndarray | None = None
    known: float = 0.0

    def after(self, scores: np.ndarray, features: np.ndarray) -> Self:
        """With the configurations of one iteration more.

        :param scores: ``(sample, u)``; ``features``: of the same, ``(sample, feature)``.
        """
        both = np.concatenate([scores, features], 1)
        both = both - both.mean(0)
        new = both.T @ both / len(both)
        old = np.zeros_like(new) if self.total is None else self.total
        return replace(
            self,
            total=self.remember * old + (1.0 - self.remember) * new,
            known=self.remember * self.known + (1.0 - self.remember),
        )

    def information(self, size: int) -> np.ndarray:
        """Of a configuration about the first ``size`` coordinates, ``(u, u)``."""
        assert self.total is not None
        out: np.ndarray = self.total[:size, :size] / self.known
        return out

    def seen(self, size: int, ridge: float) -> np.ndarray:
        """As much of the information as a linear critic sees in the features, ``(u, u)``."""
        assert self.total is not None
        mean = self.total / self.known
        cross, own = mean[:size, size:], mean[size:, size:]
        out: np.ndarray = cross @ np.linalg.solve(own + ridge * np.eye(len(own)), cross.T)
        return out
