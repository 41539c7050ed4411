"""The canonical distribution of a configuration."""

from collections.abc import Callable
from math import prod

import jax
from jax import Array
import jax.numpy as jnp
from jax.typing import ArrayLike
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import validate_sample

from bayescg.distributions.log_partition.base import ExactLogPartition, LogPartition
from bayescg.potentials.base import ExponentialFamily

__all__ = ["Boltzmann", "spin"]


class _Spin(constraints._SingletonConstraint):  # NumPyro has no public base for new constraints
    is_discrete = True

    def __call__(self, x: ArrayLike) -> Array:
        return jnp.abs(jnp.asarray(x)) == 1

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.ones_like(prototype)


spin = _Spin()


class Boltzmann(Distribution):
    r"""Canonical distribution of a configuration (PCG paper, Eqs. 4 and 34),

    .. math:: p_c(X \mid \theta) = \exp\{-\beta U_\theta(X) - A(\theta)\}.

    The energy is always exact; what is known of the normaliser is chosen by the caller.

    :param potential: energy of one configuration, a pytree of its parameters.
    :param beta: inverse temperature, in the inverse of the potential's energy unit; a scalar.
    :param log_partition: strategy for :math:`A(\theta)`, or None where none is at hand: the program
        can then be run and fitted by MC-EM, but has no density.
    :param event_shape: shape of one configuration.
    :param support: constraint on one coordinate (``spin`` by default).
    :param sampler: ``sampler(key, potential, beta, samples)``, giving ``(sample, *event_shape)``;
        needed by :meth:`sample` where the strategy has no exact sampler.
    :param batch_shape: axes that every leaf of the potential begins with: one distribution each, as
        frames in different states have (Eq. 69).
    :raises ValueError: if ``beta`` is not a scalar, or a leaf of the potential lacks the batch's axes.

    >>> from bayescg.distributions.log_partition import Enumeration
    >>> from bayescg.potentials import SpinBasis, SpinPotential, pair_features
    >>> basis = SpinBasis(4, tuple(pair_features([1])))
    >>> U = SpinPotential(jnp.array([0.5]), jnp.asarray(0.1), basis)
    >>> p = Boltzmann(U, 1.0, log_partition=Enumeration(), event_shape=(4,))
    >>> up = jnp.ones(4)
    >>> round(float(jnp.exp(p.log_prob(up))), 4)
    0.388
    >>> p.sample(jax.random.key(0), (3,)).shape
    (3, 4)
    """

    arg_constraints = {"beta": constraints.positive}
    support = constraints.dependent
    pytree_data_fields = ("potential", "beta", "log_partition")
    pytree_aux_fields = ("support", "sampler")

    def __init__(
        self,
        potential: ExponentialFamily,
        beta: ArrayLike,
        *,
        log_partition: LogPartition | None,
        event_shape: tuple[int, ...],
        support: constraints.Constraint = spin,
        sampler: Callable[[Array, ExponentialFamily, Array, int], Array] | None = None,
        batch_shape: tuple[int, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        if jnp.ndim(beta) != 0:
            raise ValueError(f"beta must be a scalar, got shape {jnp.shape(beta)}; use jax.vmap.")
        for leaf in jax.tree.leaves(potential) if batch_shape else ():
            if jnp.shape(leaf)[: len(batch_shape)] != batch_shape:
                raise ValueError(
                    f"every leaf of the potential must begin with the batch's axes {batch_shape}, one has "
                    f"shape {jnp.shape(leaf)}."
                )
        self.potential = potential
        self.beta = beta
        self.log_partition = log_partition
        self.sampler = sampler
        self.support = constraints.independent(support, len(event_shape))
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Configurations of shape ``sample_shape + batch_shape + event_shape``.

        :raises NotImplementedError: if neither the strategy nor ``sampler`` can draw.
        """
        draw = (
            self.log_partition.sample
            if isinstance(self.log_partition, ExactLogPartition)
            else self.sampler
        )
        if draw is None:
            raise NotImplementedError(
                "this Boltzmann distribution has no sampler: give it an exact log-partition "
                "strategy or sampler=."
            )
        count, beta = prod(sample_shape), jnp.asarray(self.beta)
        if self.batch_shape:
            keys = jax.random.split(key, prod(self.batch_shape))
            x = jax.vmap(lambda k, p: draw(k, p, beta, count), out_axes=1)(keys, self._members())
        else:
            x = draw(key, self.potential, beta, count)
        return x.astype(jnp.result_type(float)).reshape(*sample_shape, *self.shape())

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log density of ``value (*batch, *event_shape)``, shape ``batch``.

        :raises NotImplementedError: without a log-partition strategy there is no density.
        """
        if self.log_partition is None:
            raise NotImplementedError(
                "this Boltzmann distribution has no log-partition strategy, so it has no density; "
                "pass log_partition= (enumeration, transfer matrix, tracked or reweighted)."
            )
        beta, strategy = jnp.asarray(self.beta), self.log_partition

        def one(potential: ExponentialFamily, x: Array) -> Array:
            return -beta * jax.vmap(potential)(x) - strategy(potential, beta)

        batch = value.shape[: value.ndim - len(self.event_shape)]
        if not self.batch_shape:
            return one(self.potential, value.reshape((-1, *self.event_shape))).reshape(batch)
        flat = jnp.broadcast_to(
            value, (*jax.lax.broadcast_shapes(batch, self.batch_shape), *self.event_shape)
        )
        members = flat.reshape((-1, prod(self.batch_shape), *self.event_shape))
        found = jax.vmap(one, (0, 1), 1)(self._members(), members)
        return found.reshape(flat.shape[: flat.ndim - len(self.event_shape)])

    def _members(self) -> ExponentialFamily:
        """The potential with the batch as one leading axis."""
        count, axes = prod(self.batch_shape), len(self.batch_shape)
        return jax.tree.map(
            lambda v: jnp.asarray(v).reshape(count, *jnp.shape(v)[axes:]), self.potential
        )

    def with_log_partition(self, strategy: LogPartition) -> "Boltzmann":
        """The same distribution with another strategy for its normaliser."""
        return Boltzmann(
            self.potential,
            self.beta,
            log_partition=strategy,
            event_shape=self.event_shape,
            support=self.support.base_constraint,
            sampler=self.sampler,
            batch_shape=self.batch_shape,
        )
