"""The canonical distribution of a configuration."""

from collections.abc import Callable

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
    :raises ValueError: if ``beta`` is not a scalar.
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
        validate_args: bool | None = None,
    ) -> None:
        if jnp.ndim(beta) != 0:
            raise ValueError(f"beta must be a scalar, got shape {jnp.shape(beta)}; use jax.vmap.")
        self.potential = potential
        self.beta = beta
        self.log_partition = log_partition
        self.sampler = sampler
        self.support = constraints.independent(support, len(event_shape))
        super().__init__((), event_shape, validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Configurations of shape ``sample_shape + event_shape``.

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
        count = 1
        for size in sample_shape:
            count *= size
        x = draw(key, self.potential, jnp.asarray(self.beta), count)
        return x.astype(jnp.result_type(float)).reshape(*sample_shape, *self.event_shape)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log density of ``value (*batch, *event_shape)``, shape ``batch``."""
        if self.log_partition is None:
            raise NotImplementedError(
                "this Boltzmann distribution has no log-partition strategy, so it has no density; "
                "pass log_partition= (enumeration, transfer matrix, tracked or reweighted)."
            )
        beta = jnp.asarray(self.beta)
        batch = value.shape[: value.ndim - len(self.event_shape)]
        flat = value.reshape((-1, *self.event_shape))
        energy = jax.vmap(self.potential)(flat).reshape(batch)
        return -beta * energy - self.log_partition(self.potential, beta)

    def with_log_partition(self, strategy: LogPartition) -> "Boltzmann":
        """The same distribution with another strategy for its normaliser."""
        return Boltzmann(
            self.potential,
            self.beta,
            log_partition=strategy,
            event_shape=self.event_shape,
            support=self.support.base_constraint,
            sampler=self.sampler,
        )
