r"""f-divergences by classification (ARCG paper, Section II.D, Eqs. 12 and 17-19).

With the losses of a divergence and the logit :math:`\ell` of the critic's guess,

.. math:: I_f(p_{ref}, p_{mod}) = L(\tfrac12) - \min_{\ell}\ \tfrac12\langle l_{mod}\circ\ell\rangle_{p_{mod}}
          + \tfrac12\langle l_{ref}\circ\ell\rangle_{p_{ref}},

L(1/2) the loss of the guess that cannot tell. So :math:`f^\dagger = -\tfrac12\, l_{mod}\circ\ell^\dagger`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.critics import LOG_LOSS, Critic, Labelled, Losses, accuracy
from bayescg.divergences.base import Judgement, copies

__all__ = [
    "Classified",
    "FDivergence",
    "bhattacharyya",
    "hellinger",
    "jensen_shannon",
    "relative_entropy",
    "squared",
]


def _same(value: float) -> tuple[float, float]:
    return value, 1.0


@dataclass(frozen=True)
class FDivergence:
    """An f-divergence, or a monotonic function of one.

    :param name: what options call it.
    :param losses: l_mod and l_ref, as functions of the logit.
    :param critical: whether it needs a critic.
    :param unit: the witness is brought to its average at the optimum, -1 over the model: relative entropy's is
        minus the ratio of the densities, whose scale a critic knows badly where the two hardly overlap.
    :param transform: from the f-divergence to what is reported, and the slope of that.
    """

    name: str
    losses: Losses
    transform: Callable[[float], tuple[float, float]] = _same
    critical: bool = True
    unit: bool = False  # whether the witness averages to -1 over the model at the optimum

    def by(self, critic: Critic, folds: int = 2) -> "Classified":
        """The judge of this divergence by a classifier.

        :param critic: the family of guesses.
        :param folds: parts of the samples, each judged by what was fitted to the others; 1: all at once.
        """
        return Classified(self, critic, folds)

    def judged(
        self,
        model: np.ndarray,
        reference: np.ndarray,
        samples: Labelled,
        at: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Value, and the witness on the model's configurations, from logits of both samples.

        :param model: ``(sample,)``; ``reference``: ``(frame,)``.
        :param at: logits that the witness is wanted of, ``(copy, sample)``, averaged over copies; None: ``model``.
        """
        ours = np.asarray(self.losses.model(jnp.asarray(model)))
        theirs = np.asarray(self.losses.reference(jnp.asarray(reference)))
        blind = 0.5 * float(self.losses.model(jnp.zeros(())) + self.losses.reference(jnp.zeros(())))
        loss = 0.5 * (samples.model_weight @ ours + samples.reference_weight @ theirs)
        value, slope = self.transform(blind - float(loss))
        if at is not None:
            ours = np.asarray(self.losses.model(jnp.asarray(at))).mean(0)
        return value, -0.5 * slope * ours


@dataclass(frozen=True)
class Classified:
    """An f-divergence judged by a critic.

    :param divergence: what is estimated.
    :param critic: the family of guesses that estimates it.
    :param folds: parts of both samples. What a critic says of samples that it was fitted to is too sharp, by
        the more the more features it has; here each part is judged by what was fitted to the others.
    :param losses: that the critic's search goes down; the log-loss (Eq. 44) has the same optimum as the
        divergence's own, which for relative entropy has no bound (Section III).
    """

    divergence: FDivergence
    critic: Critic
    folds: int = 2
    losses: Losses = LOG_LOSS

    def __post_init__(self) -> None:
        if self.folds < 1:
            raise ValueError(f"folds must be at least 1, got {self.folds}.")

    def start(self, key: Array, features: int) -> tuple[Any, ...]:
        """First parameters of the critic of each fold."""
        keys = jax.random.split(key, self.folds)
        return tuple(self.critic.start(k, features) for k in keys)

    def __call__(
        self, key: Array, state: tuple[Any, ...], samples: Labelled, at: np.ndarray | None = None
    ) -> tuple[tuple[Any, ...], Judgement]:
        if min(len(f) for f in samples[:2]) < self.folds:
            raise ValueError(
                f"folds={self.folds} needs as many configurations of both model and data, got "
                f"{len(samples.model)} and {len(samples.reference)}; allowed are fewer folds."
            )
        wanted = copies(samples, at)
        logits = np.empty(wanted.shape[:2])
        parts = [_parts(len(f), self.folds) for f in samples[:2]]
        model, reference = (np.empty(len(f)) for f in samples[:2])
        new, losses = [], []
        for k, params in enumerate(state):
            # Of one part only there is nothing else to fit to.
            ours, theirs = ((p != k) | (self.folds == 1) for p in parts)
            training = Labelled(
                samples.model[ours],
                samples.reference[theirs],
                _share(samples.model_weight[ours]),
                _share(samples.reference_weight[theirs]),
            )
            params, loss = self.critic.fit(
                jax.random.fold_in(key, k), params, training, self.losses
            )
            new.append(params)
            losses.append(loss)
            ours, theirs = (p == k for p in parts)
            model[ours] = self.critic.logit(params, samples.model[ours])
            reference[theirs] = self.critic.logit(params, samples.reference[theirs])
            some = wanted[:, ours]
            flat = some.reshape(-1, some.shape[-1])
            logits[:, ours] = self.critic.logit(params, flat).reshape(some.shape[:2])
        value, witness = self.divergence.judged(model, reference, samples, logits)
        right = accuracy(model, reference, samples)
        if self.divergence.unit:
            witness = _unit(witness, samples.model_weight, parts[0], self.folds)
        # A witness is known but for a constant, which every fit has its own of: between the folds that would be noise.
        witness, logit = (
            _levelled(f, samples.model_weight, parts[0], self.folds)
            for f in (witness, logits.mean(0))
        )
        loss = float(np.mean(losses))
        return tuple(new), Judgement(value, witness, right, loss, logit)


def _parts(count: int, folds: int) -> np.ndarray:
    """Which part each sample is in, ``(sample,)``: neighbours together, since they are correlated."""
    return np.arange(count) * folds // max(count, 1)


def _unit(values: np.ndarray, weight: np.ndarray, part: np.ndarray, folds: int) -> np.ndarray:
    """Values, all of one sign, with the mean of every part brought to -1."""
    out = values.copy()
    for k in range(folds):
        at = part == k
        out[at] /= -(_share(weight[at]) @ values[at])
    return out


def _levelled(values: np.ndarray, weight: np.ndarray, part: np.ndarray, folds: int) -> np.ndarray:
    """Values with the mean of every part brought to the mean of all."""
    out = values.copy()
    for k in range(folds):
        at = part == k
        out[at] += weight @ values - _share(weight[at]) @ values[at]
    return out


def _share(weight: np.ndarray) -> np.ndarray:
    return weight / weight.sum()


def _log(hellinger: float) -> tuple[float, float]:
    """-log BC from the Hellinger divergence 2 (1 - BC), and its slope; Eqs. 36-39."""
    overlap = 1.0 - 0.5 * hellinger
    if overlap <= 0.0:  # none that a number can tell from 0
        return np.inf, np.nan
    return -float(np.log(overlap)), 0.5 / overlap


#: :math:`\int p_{ref}\log(p_{ref}/p_{mod})`, Eqs. 34 and 35; what REM minimises.
relative_entropy = FDivergence(
    "relative_entropy",
    Losses(lambda t: 2.0 * jnp.exp(t), lambda t: -2.0 * (t + 1.0)),
    unit=True,
)
#: :math:`\int(\sqrt{p_{mod}} - \sqrt{p_{ref}})^2 = 2(1 - BC)`, Eqs. 40 and 41; twice the H of Eq. 38.
hellinger = FDivergence(
    "hellinger", Losses(lambda t: 2.0 * jnp.exp(0.5 * t), lambda t: 2.0 * jnp.exp(-0.5 * t))
)
#: :math:`-\log\int\sqrt{p_{mod}p_{ref}}`, Eq. 37.
bhattacharyya = FDivergence("bhattacharyya", hellinger.losses, _log)
#: The square loss, Eqs. 20 and 21: :math:`\tfrac18\int(p_{mod} - p_{ref})^2/(p_{mod} + p_{ref})`.
squared = FDivergence(
    "squared", Losses(lambda t: jax.nn.sigmoid(t) ** 2, lambda t: jax.nn.sigmoid(-t) ** 2)
)
#: Jensen and Shannon's: the log-loss itself, at most log 2.
jensen_shannon = FDivergence("jensen_shannon", LOG_LOSS)
