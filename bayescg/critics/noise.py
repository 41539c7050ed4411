"""Noise on features, which lets a critic err where model and data are far apart (ARCG paper, Appendix D.3)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
from jax import Array
import numpy as np

from bayescg.critics.base import Labelled

__all__ = ["Annealing", "Noise", "noisy", "shared", "whitened"]


class Noise(NamedTuple):
    """How much noise there is now."""

    variance: float  # of each whitened feature
    streak: int = 0  # fits in a row below the accuracy

    @property
    def sd(self) -> float:
        """Its standard deviation."""
        return float(np.sqrt(self.variance))


@dataclass(frozen=True)
class Annealing:
    """When noise becomes less.

    :param decay: factor of the variance, each time (the paper: 0.95 to 0.97).
    :param accuracy: the critic's, below which it does.
    :param patience: fits in a row below it.
    :param least: standard deviation below which there is none at all.
    """

    decay: float = 0.95
    accuracy: float = 0.8
    patience: int = 1
    least: float = 0.03

    def __post_init__(self) -> None:
        if not 0.0 < self.decay < 1.0 or not 0.5 < self.accuracy < 1.0:
            raise ValueError("decay must lie between 0 and 1, accuracy between 0.5 and 1.")
        if self.patience < 1 or not self.least > 0.0:
            raise ValueError("patience must be at least 1, least be positive.")

    def after(self, noise: Noise, accuracy: float) -> Noise:
        """The noise of the next iteration."""
        if noise.variance == 0.0:
            return noise
        streak = noise.streak + 1 if accuracy < self.accuracy else 0
        if streak < self.patience:
            return Noise(noise.variance, streak)
        variance = self.decay * noise.variance
        return Noise(variance if variance >= self.least**2 else 0.0)


def whitened(samples: Labelled) -> Labelled:
    """Both samples with the mean of every feature over them 0 and its standard deviation 1.

    Features that do not vary are zero.

    :param samples: features of both, with their weights.
    """
    weights = 0.5 * np.concatenate([samples.model_weight, samples.reference_weight])
    both = np.concatenate([samples.model, samples.reference])
    mean = weights @ both
    spread = np.sqrt(np.maximum(weights @ (both - mean) ** 2, 0.0))
    alive = spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    scale = np.where(alive, 1.0 / np.where(alive, spread, 1.0), 0.0)
    return samples._replace(
        model=(samples.model - mean) * scale, reference=(samples.reference - mean) * scale
    )


def shared(key: Array, features: np.ndarray, sd: float, count: int) -> np.ndarray:
    """Copies of features, ``(copy, sample, feature)``, each with one draw of noise that all samples share.

    What a witness says of a configuration is its average over noise. With the same noise for all of them the average
    differs between configurations by what they are, and not by the luck of the draw, which would bury it.

    :param key: random key.
    :param features: ``(sample, feature)``.
    :param sd: standard deviation of the noise.
    :param count: copies.
    """
    if sd == 0.0:
        return features[None]
    draws = np.asarray(jax.random.normal(key, (count, 1, features.shape[1])))
    return features[None] + sd * draws


def noisy(key: Array, samples: Labelled, sd: float) -> Labelled:
    """Both samples with independent normal noise on every feature.

    :param key: random key.
    :param samples: features of both, with their weights.
    :param sd: standard deviation of the noise, in the unit of the features.
    """
    if sd == 0.0:
        return samples
    one, other = jax.random.split(key)

    def with_noise(k: Array, features: np.ndarray) -> np.ndarray:
        return features + sd * np.asarray(jax.random.normal(k, features.shape))

    return samples._replace(
        model=with_noise(one, samples.model), reference=with_noise(other, samples.reference)
    )
