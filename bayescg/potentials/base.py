"""What every potential offers."""

from typing import Protocol, runtime_checkable

from jax import Array

__all__ = ["ExponentialFamily", "Potential"]


class Potential(Protocol):
    """Energy of one configuration; a pytree whose leaves are exactly its parameters."""

    def __call__(self, x: Array) -> Array:
        """Energy of configuration ``x``."""
        ...


@runtime_checkable
class ExponentialFamily(Protocol):
    r"""A potential that is linear in its natural parameters (PCG paper, Eq. 34).

    .. math:: U_\theta(x) = -\sum_k \eta_k(\theta)\, \phi_k(x)

    The Boltzmann density is then :math:`\exp\{\beta\,\eta\cdot\phi(x) - A\}`: everything that
    inference needs of a sample is its statistics :math:`\phi(x)`, stored once. Terms with a
    known coefficient (an external field, a fixed reference potential) are statistics too.
    """

    def natural(self) -> Array:
        """Natural parameters, shape ``(term,)``."""
        ...

    def statistics(self, x: Array) -> Array:
        """Sufficient statistics, shape ``(term, *batch)``; the batch axes of ``x`` are last."""
        ...

    def __call__(self, x: Array) -> Array:
        """Energy, ``-natural() @ statistics(x)``."""
        ...
