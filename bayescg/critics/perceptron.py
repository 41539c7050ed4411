"""A small multilayer perceptron."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import optax

from bayescg.critics.base import Labelled, Losses

__all__ = ["Perceptron", "initial", "network", "perceptron"]

Params = tuple[tuple[Array, Array], ...]


def initial(key: Array, widths: Sequence[int]) -> Params:
    """Random weights of layers of these widths, the input's first (He et al., 2015)."""
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(
        (jax.random.normal(k, (a, b)) * np.sqrt(2.0 / a), jnp.zeros(b))
        for k, a, b in zip(keys, widths[:-1], widths[1:], strict=True)
    )


def network(
    params: Params, features: Array, activation: Callable[[Array], Array] = jax.nn.relu
) -> Array:
    """The output, ``(sample,)``, of ``features (sample, feature)``.

    :param params: weights ``(in, out)`` and offsets ``(out,)`` of each layer.
    :param activation: of the hidden layers.
    """
    h = features
    for w, b in params[:-1]:
        h = activation(h @ w + b)
    w, b = params[-1]
    return (h @ w + b)[..., 0]


@dataclass(frozen=True)
class Perceptron:
    """Layers of rectified linear units (ARCG paper, Section III and Appendix D.2), trained by Adam.

    It goes on from where it was in the iteration before: few steps in each follow a model that moves slowly.

    :param hidden: width of every hidden layer.
    :param steps: of Adam in one fit, each on all samples.
    :param rate: of Adam.
    :param penalty: lambda of :math:`\\tfrac12\\lambda|w|^2`.
    """

    hidden: tuple[int, ...] = (15, 15, 15, 15)
    steps: int = 50
    rate: float = 3e-3
    penalty: float = 1e-3

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or self.steps < 1:
            raise ValueError("hidden must name widths of at least 1, steps be at least 1.")
        if not self.rate > 0.0 or not self.penalty >= 0.0:
            raise ValueError("rate must be positive, penalty not be negative.")

    def start(self, key: Array, features: int) -> Any:
        """Random weights of the layers, and Adam's memory of nothing."""
        params = initial(key, (features, *self.hidden, 1))
        return params, optax.adam(self.rate).init(params)

    def fit(self, key: Array, params: Any, samples: Labelled, losses: Losses) -> tuple[Any, float]:
        """The network after ``steps`` of Adam from where it was, and the last mean loss.

        :param key: not used: every step sees all samples.
        :param params: network and Adam's memory, of ``start`` or of the last fit.
        :param samples: features of both samples with their weights.
        :param losses: what a guess costs, by its logit.
        """
        params, loss = _training(losses, self)(params, samples)
        return params, float(loss)

    def logit(self, params: Any, features: np.ndarray) -> np.ndarray:
        """The network's output, ``(sample,)``, of ``features (sample, feature)``."""
        return np.asarray(_network(params[0], jnp.asarray(features)))


_network = jax.jit(network)


@lru_cache(maxsize=16)
def _training(losses: Losses, critic: Perceptron) -> Callable[..., Any]:
    """Some steps of Adam; compiled once for a shape."""
    rule = optax.adam(critic.rate)

    def loss(params: Params, samples: Labelled) -> Array:
        model, reference = (jnp.asarray(f) for f in samples[:2])
        ours = samples.model_weight @ losses.model(network(params, model))
        theirs = samples.reference_weight @ losses.reference(network(params, reference))
        size = sum(jnp.sum(w**2) for w, _ in params)
        return 0.5 * (ours + theirs) + 0.5 * critic.penalty * size

    @jax.jit
    def train(state: Any, samples: Labelled) -> tuple[Any, Array]:
        def step(state: Any, _: None) -> tuple[Any, Array]:
            params, memory = state
            value, slope = jax.value_and_grad(loss)(params, samples)
            change, memory = rule.update(slope, memory)
            return (optax.apply_updates(params, change), memory), value

        state, values = jax.lax.scan(step, state, length=critic.steps)
        return state, values[-1]

    return train


def perceptron(hidden: tuple[int, ...] = (15, 15, 15, 15), steps: int = 50) -> Perceptron:
    """A small multilayer perceptron of rectified linear units.

    :param hidden: widths of the hidden layers.
    :param steps: of Adam in each fit.
    """
    return Perceptron(hidden, steps)
