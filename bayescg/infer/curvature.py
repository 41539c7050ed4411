r"""What a configuration of the model says of its parameters, from configurations that a search has seen."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

__all__ = ["Curvature"]


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
