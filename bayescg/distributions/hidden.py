r"""Hidden discrete states of frames: priors of their probabilities, paths through them, and sums over them.

A state :math:`S_i` of frame i is a site of the program, drawn from a categorical distribution (PCG paper,
Eq. 69) or, for frames that follow each other, along a :class:`MarkovPath`. The functions below sum the
states out of a table of ``log p(x_i | S_i = s)``, ``(frame, state)``.
"""

from typing import NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, biject_to, constraints
from numpyro.distributions.transforms import ParameterFreeTransform
from numpyro.distributions.util import validate_sample

__all__ = [
    "MarkovPath",
    "StateSum",
    "StickBreaking",
    "draw_states",
    "frequencies",
    "state_count",
    "stationary",
    "sum_over_states",
]


class SticksTransform(ParameterFreeTransform[Array]):
    r"""Weights from what breaks off a stick, :math:`v_k = 1 - \exp(-e^{u_k})`.

    Where no frame needs a stick, :math:`t_k = -\log(1 - v_k)` is as wide as :math:`1/\alpha`, and with the
    concentration :math:`\alpha` unknown its tail is a power. The logit of :math:`v_k`, NumPyro's coordinate of a
    simplex, follows that tail; :math:`u_k = \log t_k` does not.
    """

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __call__(self, x: Array) -> Array:
        t = jnp.exp(x)
        none = jnp.zeros_like(t[..., :1])
        before = jnp.concatenate([none, jnp.cumsum(t, -1)], -1)  # -log of what is left before each
        broken = jnp.concatenate([-jnp.expm1(-t), none + 1.0], -1)
        return broken * jnp.exp(-before)

    def _inverse(self, y: Array) -> Array:
        left = jnp.cumsum(y[..., ::-1], -1)[..., ::-1]  # of positive terms: nothing cancels
        # Where little breaks off, one minus what is left would cancel.
        v = y[..., :-1] / left[..., :-1]
        t = jnp.where(v < 0.5, -jnp.log1p(-v), jnp.log(left[..., :-1]) - jnp.log(left[..., 1:]))
        return jnp.log(t)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: None = None) -> Array:
        """Logarithm of the Jacobian's determinant, ``(*batch,)``, at ``x (*batch, stick)``."""
        # Triangular, with diagonal t_k exp(-t_1 - ... - t_k).
        return jnp.sum(x - jnp.cumsum(jnp.exp(x), -1), -1)

    def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One part more than there are sticks."""
        return (*shape[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One stick fewer than there are parts."""
        return (*shape[:-1], shape[-1] - 1)


class Sticks(type(constraints.simplex)):  # type: ignore[misc]
    """The simplex, in the coordinates of :class:`SticksTransform`."""


sticks = Sticks()


@biject_to.register(sticks)
def _of_sticks(_: Sticks) -> SticksTransform:
    return SticksTransform()


def _log(left: Array) -> Array:
    """Of what is left of a stick; where that is no number any more, the least that is one, with no slope."""
    return jnp.log(jnp.maximum(left, jnp.finfo(left.dtype).tiny))


class StickBreaking(Distribution):
    r"""Weights of a Dirichlet process, truncated to ``states`` sticks,

    .. math:: w_k = v_k \prod_{j<k} (1 - v_j), \qquad v_k \sim \mathrm{Beta}(1, \alpha), \qquad v_L = 1,

    as a distribution on the simplex,
    :math:`p(w) = \alpha^{L-1} w_L^{\alpha-1} \prod_{k<L} (1 - \sum_{j<k} w_j)^{-1}`.
    Source: H. Ishwaran and L. F. James, J. Am. Stat. Assoc. 96, 161 (2001).

    :param concentration: :math:`\alpha`, a scalar.
    :param states: where the sticks are cut, at least 2.
    :raises ValueError: for fewer than two states.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = sticks

    def __init__(
        self, concentration: ArrayLike, states: int, *, validate_args: bool | None = None
    ) -> None:
        if states < 2:
            raise ValueError(f"a broken stick needs at least 2 parts, got {states}.")
        self.concentration = concentration
        super().__init__(jnp.shape(concentration), (states,), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Weights, ``sample_shape + batch_shape + (states,)``."""
        shape = (*sample_shape, *self.batch_shape, self.event_shape[0] - 1)
        # 1 - v is Beta(alpha, 1): in logarithms, so that small alpha leaves no stick at exactly zero.
        log_left = jnp.log(jax.random.uniform(key, shape, minval=jnp.finfo(float).tiny))
        log_left = log_left / jnp.expand_dims(jnp.asarray(self.concentration), -1)
        before = jnp.concatenate(
            [jnp.zeros((*shape[:-1], 1)), jnp.cumsum(log_left, -1)], -1
        )  # log of what is left before each stick
        broken = jnp.concatenate([-jnp.expm1(log_left), jnp.ones((*shape[:-1], 1))], -1)
        return broken * jnp.exp(before)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log density on the simplex, by its first ``states - 1`` coordinates."""
        alpha = jnp.asarray(self.concentration)
        # What is left, summed from the far end: one minus the sum before would cancel.
        left = jnp.cumsum(value[..., ::-1], -1)[..., ::-1][..., 1:-1]
        broken = (self.event_shape[0] - 1) * jnp.log(alpha)
        return broken + (alpha - 1.0) * _log(value[..., -1]) - jnp.sum(_log(left), -1)


class MarkovPath(Distribution):
    r"""A path through hidden states, :math:`p(S_1)\prod_i p(S_{i+1} \mid S_i)`: the prior of a hidden Markov model.

    :param initial: of the first state, ``(state,)``.
    :param transition: ``(state, state)``, from rows to columns.
    :param length: of the path, frames.
    """

    arg_constraints = {
        "initial": constraints.simplex,
        "transition": constraints.independent(constraints.simplex, 1),
    }
    support = constraints.dependent

    def __init__(
        self,
        initial: Array,
        transition: Array,
        length: int,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.initial = initial
        self.transition = transition
        states = jnp.shape(initial)[-1]
        if jnp.shape(transition) != (states, states):
            raise ValueError(
                f"{states} states need a transition matrix ({states}, {states}), got {jnp.shape(transition)}."
            )
        self.support = constraints.independent(constraints.integer_interval(0, states - 1), 1)
        super().__init__((), (length,), validate_args=validate_args)

    pytree_aux_fields = ("support",)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Paths, ``sample_shape + (length,)``."""
        first, rest = jax.random.split(key)
        start = jax.random.categorical(first, jnp.log(self.initial), shape=sample_shape)

        def move(state: Array, key: Array) -> tuple[Array, Array]:
            new = jax.random.categorical(key, jnp.log(self.transition)[state])
            return new, new

        keys = jax.random.split(rest, self.event_shape[0] - 1)
        _, path = jax.lax.scan(move, start, keys)
        return jnp.moveaxis(jnp.concatenate([start[None], path]), 0, -1)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log probability of paths ``(*batch, length)``."""
        steps = jnp.log(self.transition)[value[..., :-1], value[..., 1:]]
        return jnp.log(self.initial)[value[..., 0]] + jnp.sum(steps, -1)


class StateSum(NamedTuple):
    """The states of a sequence of frames, summed out; all are logarithms."""

    terms: Array  # (frame,), of p(x_i | x_1 ... x_(i-1)), whose product is p(x)
    before: Array  # (frame, state), of p(S_i | x_1 ... x_(i-1))
    after: Array  # (frame, state), of p(x_(i+1) ... | S_i), up to a constant of the frame
    emission: Array  # (frame, state), of p(x_i | S_i)

    @property
    def posterior(self) -> Array:
        """Log p(S_i | x), ``(frame, state)``, all frames seen."""
        return jax.nn.log_softmax(self.before + self.emission + self.after, -1)

    @property
    def left_out(self) -> Array:
        """Log p(x_i | all other frames), ``(frame,)``; what leave-one-out needs."""
        without = jax.nn.log_softmax(self.before + self.after, -1)
        return logsumexp(without + self.emission, -1)


def state_count(prior: Distribution) -> int:
    """How many states a categorical distribution or a :class:`MarkovPath` has."""
    table = prior.initial if isinstance(prior, MarkovPath) else prior.logits
    return int(jnp.shape(table)[-1])


def sum_over_states(prior: Distribution, emission: Array) -> StateSum:
    """Sum states out: by frames, or along a path by the forward and the backward algorithm.

    :param prior: categorical, or a :class:`MarkovPath`.
    :param emission: ``log p(x_i | S_i)``, ``(frame, state)``.
    """
    if not isinstance(prior, MarkovPath):
        logits = jax.nn.log_softmax(jnp.broadcast_to(prior.logits, emission.shape), -1)
        terms = logsumexp(logits + emission, -1)
        return StateSum(terms, logits, jnp.zeros_like(emission), emission)
    step = jnp.log(prior.transition)

    def forward(before: Array, e: Array) -> tuple[Array, tuple[Array, Array]]:
        joint = before + e
        term = logsumexp(joint)
        return logsumexp((joint - term)[:, None] + step, 0), (term, before)

    _, (terms, before) = jax.lax.scan(forward, jnp.log(prior.initial), emission)

    def backward(after: Array, e: Array) -> tuple[Array, Array]:
        new = logsumexp(step + (e + after)[None], 1)
        return new - jnp.max(new), after  # only differences between states matter

    _, after = jax.lax.scan(backward, jnp.zeros_like(emission[0]), emission, reverse=True)
    return StateSum(terms, before, after, emission)


def draw_states(key: Array, prior: Distribution, emission: Array) -> Array:
    """A draw from p(S | x): frame by frame, or a whole path (forward filtering, backward sampling)."""
    found = sum_over_states(prior, emission)
    if not isinstance(prior, MarkovPath):
        return jax.random.categorical(key, found.posterior)
    filtered = found.before + emission
    step = jnp.log(prior.transition)
    last_key, rest = jax.random.split(key)
    last = jax.random.categorical(last_key, filtered[-1])

    def back(after: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        key, log_p = inputs
        state = jax.random.categorical(key, log_p + step[:, after])
        return state, state

    keys = jax.random.split(rest, len(emission) - 1)
    _, path = jax.lax.scan(back, last, (keys, filtered[:-1]), reverse=True)
    return jnp.append(path, last)


def stationary(transition: Array) -> Array:
    """Stationary distribution of a transition matrix with positive entries, ``(state,)``.

    :param transition: rows of probabilities that add up to 1, ``(state, state)``.
    """
    states = transition.shape[-1]
    # pi (T - 1) = 0 and sum pi = 1, as one square system: a column of ones is added to all.
    matrix = jnp.eye(states) - transition + jnp.ones((states, states))
    return jnp.linalg.solve(matrix.T, jnp.ones(states))


def frequencies(prior: Distribution) -> Array:
    """How often each state is, in the long run, ``(state,)``: what predictions average with."""
    if isinstance(prior, MarkovPath):
        return stationary(prior.transition)
    return jax.nn.softmax(prior.logits, -1)
