r"""Integral probability metrics whose witness a network finds under a penalty on its slope.

.. math:: \max_f\ \langle f\rangle_{p_{mod}} - \langle f\rangle_{p_{ref}}
          \quad\text{over functions with}\quad
          |\nabla f| \le 1 \ \text{(1-Wasserstein)} \quad\text{or}\quad
          \langle|\nabla f|^2\rangle_\mu \le 1 \ \text{(Sobolev)}

with :math:`\mu` half model and half reference. A penalty lets the constraint give way a little, so that values come out
a few per cent too large. Sources: I. Gulrajani et al., NeurIPS 30, 5767 (2017), whose penalty sits on lines between
the samples (here its one-sided form); Y. Mroueh et al., ICLR (2018).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import optax

from bayescg.critics import Critic, Labelled, accuracy, network
from bayescg.critics.perceptron import Params, initial
from bayescg.divergences.base import Judgement, copies

__all__ = ["Penalised", "sobolev", "wasserstein"]


@dataclass(frozen=True)
class Penalised:
    """A metric with its witness, a network of smooth units; its own judge.

    :param name: what options call it.
    :param constraint: ``slope``: the gradient of f is at most 1 everywhere; ``energy``: its mean square is.
    :param hidden: widths of the network's hidden layers.
    :param steps: of Adam in one search; ``rate`` its rate.
    :param weight: of the penalty.
    :param first: how many searches in a row the first is, which begins from nothing.
    :param critical: whether it needs a critic.
    """

    name: str
    constraint: Literal["slope", "energy"]
    hidden: tuple[int, ...] = (32, 32)
    steps: int = 50
    rate: float = 3e-3
    weight: float = 10.0
    first: int = 10
    critical: bool = False

    def by(self, critic: Critic | None = None, folds: int = 1) -> "Penalised":
        """Itself: the witness is a network of its own, and neither critic nor folds are used."""
        return self

    def start(self, key: Array, features: int) -> Any:
        """A random network, Adam's memory of nothing, and no search made so far."""
        params = initial(key, (features, *self.hidden, 1))
        return params, optax.adam(self.rate).init(params), 0

    def __call__(
        self, key: Array, state: Any, samples: Labelled, at: np.ndarray | None = None
    ) -> tuple[Any, Judgement]:
        params, memory, searches = state
        for turn in range(1 if searches else self.first):
            (params, memory), loss = _search(self)(
                jax.random.fold_in(key, turn), (params, memory), samples
            )
        ours, theirs = (np.asarray(_network(params, jnp.asarray(f))) for f in samples[:2])
        means = samples.model_weight @ ours, samples.reference_weight @ theirs
        middle = 0.5 * (means[0] + means[1])
        right = accuracy(middle - ours, middle - theirs, samples)
        value = float(means[0] - means[1])
        wanted = copies(samples, at)
        flat = np.asarray(_network(params, jnp.asarray(wanted.reshape(-1, wanted.shape[-1]))))
        witness = flat.reshape(wanted.shape[:2]).mean(0)
        return (params, memory, searches + 1), Judgement(value, witness, right, float(loss))


def _smooth(params: Params, features: Array) -> Array:
    """The witness; its units are smooth, since its slope is what is looked at."""
    return network(params, features, jax.nn.softplus)


_network = jax.jit(_smooth)


@lru_cache(maxsize=16)
def _search(metric: Penalised) -> Callable[..., Any]:
    """Some steps of Adam; compiled once for a shape."""
    rule = optax.adam(metric.rate)
    slope_at = jax.vmap(jax.grad(lambda f, params: _smooth(params, f[None])[0]), in_axes=(0, None))

    def loss(params: Params, key: Array, samples: Labelled) -> Array:
        model, reference, p, q = (jnp.asarray(a) for a in samples)
        gain = p @ _smooth(params, model) - q @ _smooth(params, reference)
        if metric.constraint == "slope":
            one, other, place = jax.random.split(key, 3)
            count = max(len(model), len(reference))
            a = model[jax.random.choice(one, len(model), (count,), p=p)]
            b = reference[jax.random.choice(other, len(reference), (count,), p=q)]
            between = b + jax.random.uniform(place, (count, 1)) * (a - b)
            size = jnp.sqrt(jnp.sum(slope_at(between, params) ** 2, 1) + 1e-12)
            # One-sided: a penalty on slopes below 1, too, would keep a witness that began with the wrong sign.
            penalty = jnp.mean(jnp.maximum(size - 1.0, 0.0) ** 2)
        else:
            squares = [jnp.sum(slope_at(f, params) ** 2, 1) for f in (model, reference)]
            # One-sided as well.
            penalty = jnp.maximum(0.5 * (p @ squares[0] + q @ squares[1]) - 1.0, 0.0) ** 2
        return metric.weight * penalty - gain

    @jax.jit
    def train(key: Array, state: Any, samples: Labelled) -> tuple[Any, Array]:
        def step(state: Any, k: Array) -> tuple[Any, Array]:
            params, memory = state
            value, slope = jax.value_and_grad(loss)(params, k, samples)
            change, memory = rule.update(slope, memory)
            return (optax.apply_updates(params, change), memory), value

        state, values = jax.lax.scan(step, state, jax.random.split(key, metric.steps))
        return state, values[-1]

    return train


wasserstein = Penalised("wasserstein", "slope")
sobolev = Penalised("sobolev", "energy")
