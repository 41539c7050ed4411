"""What rules of a search's steps have in common, and what they are shown."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from bayescg.critics import Labelled

__all__ = ["Steps", "View"]


class View(NamedTuple):
    """What an iteration of a search knows besides the slope."""

    scores: np.ndarray  # beta J^T phi of the model's samples, (sample, u)
    samples: Labelled  # features of them, and of the data's frames in the order of time, as they were measured
    chain: np.ndarray  # (sample,), which chain each of the model's samples is from
    chains: int  # how many there are; of some nothing may have been measured
    ridge: float  # what holds a linear critic back, beside the covariance of the features, whitened
    quiet: bool  # whether the slope is that of what is looked for, without noise on features


class Steps(Protocol):
    """A rule: where a search goes from a slope, and when it ends."""

    def start(self, u: np.ndarray) -> Any:
        """The first state, with parameters ``u``; what it holds is the rule's own, but for ``u``."""
        ...

    def advance(self, state: Any, slope: np.ndarray, view: View) -> tuple[Any, dict[str, Any]]:
        """The state after one step down, and what a trace keeps of it."""
        ...

    def done(self, state: Any) -> bool:
        """Whether the search has converged."""
        ...

    def found(self, state: Any) -> tuple[np.ndarray, float]:
        """The parameters that it converged to, and how far they may still be off, in standard errors."""
        ...

    def best(self, state: Any, u: np.ndarray) -> np.ndarray:
        """The parameters that it leaves if it ends early, the last ones that it was advanced at being ``u``."""
        ...
