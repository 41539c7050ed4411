r"""What a divergence says of samples.

.. math:: F[p_{mod}, p_{ref}] = \max_{(f, g) \in Q} \langle f\rangle_{p_{mod}} - \langle g\rangle_{p_{ref}}

(ARCG paper, Eq. 10). With f at the maximum, and :math:`p_{mod} \propto e^{\beta\eta\cdot\phi}`, Eq. 15 is

.. math:: \frac{\mathrm d F}{\mathrm d\eta} = \beta\operatorname{Cov}_{p_{mod}}[f^\dagger, \phi].
"""

from typing import Any, NamedTuple, Protocol

from jax import Array
import numpy as np

from bayescg.critics import Critic, Labelled

__all__ = ["Divergence", "Judge", "Judgement", "copies"]


class Judgement(NamedTuple):
    """What a critic found."""

    value: float  # of the divergence
    witness: np.ndarray  # (sample,), f at the maximum, of the model's configurations
    accuracy: float  # part of the configurations whose origin it guesses right
    loss: float  # of its fit; what its search went down
    logit: np.ndarray | None = None  # (sample,), of its guess of them, where it is a classifier


class Judge(Protocol):
    """A divergence with the search that it needs: a pair of pure functions."""

    def start(self, key: Array, features: int) -> Any:
        """The first state of the search."""
        ...

    def __call__(
        self, key: Array, state: Any, samples: Labelled, at: np.ndarray | None = None
    ) -> tuple[Any, Judgement]:
        """Search, from where the last one ended, and judge.

        :param at: features of the model's configurations that the witness is wanted of, ``(copy, sample, feature)``,
            averaged over copies; None: those of ``samples``.
        """
        ...


def copies(samples: Labelled, at: np.ndarray | None) -> np.ndarray:
    """What a witness is wanted of, ``(copy, sample, feature)``."""
    return samples.model[None] if at is None else at


class Divergence(Protocol):
    """A divergence, which a critic makes a judge of."""

    @property
    def name(self) -> str:
        """What options call it."""
        ...

    @property
    def critical(self) -> bool:
        """Whether it needs a critic; others have a search of their own."""
        ...

    def by(self, critic: Critic, folds: int = 2) -> Judge:
        """The judge by this critic.

        :param folds: parts of the samples; each is judged by what was fitted to the others. 1: all
            at once, as in the paper.
        """
        ...
