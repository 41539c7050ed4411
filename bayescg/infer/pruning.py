"""The search for coefficients under ARD that the posterior does without."""

from typing import NamedTuple

from jax import Array
import jax.numpy as jnp

from bayescg.infer.prior import expected_precisions
from bayescg.infer.program import Program
from bayescg.linalg import inverse_positive

__all__ = ["Trial", "prune"]


class Trial(NamedTuple):
    """A coefficient under ARD that has been set to zero on trial; shapes as one member's."""

    before: Array  # (u,), parameters before it was
    removed: Array  # (u,), which one it is; none is
    essential: Array  # (u,), those that have been tried and came back


def prune(
    program: Program, u: Array, trial: Trial, precision: Array, score: Array
) -> tuple[Trial, Array]:
    r"""One move in the search for coefficients under ARD that the posterior does without.

    EM keeps a coefficient that lies two standard deviations from zero, although the posterior with
    tau integrated out may be higher at zero: the spike there gains
    :math:`(a_0 + 1/2)\log(1 + \theta^2/2b_0)`. Removing it costs :math:`s\theta^2/2 + 1` of the
    log-likelihood, with ``s`` the information that the other coefficients leave it and the 1 what
    ARD's shrinkage had cost already. The one with the largest gain goes, and the others follow.
    A quadratic knows little of a lattice that a large coefficient has frozen, so the cost is
    measured once the others have settled, by the trapezoid of the score at both ends; a coefficient
    that cost more than it gained comes back and stays.

    :return: the trial now under way, and the step, 0 for none.
    """
    spike = jnp.full(u.shape, -jnp.inf)
    tau = expected_precisions(program, u)
    for site, (a0, b0) in program.ard.items():
        at = program.coordinates(site)
        old = jnp.where(trial.removed[at], trial.before[at], u[at])
        spike = spike.at[at].set((a0 + 0.5) * jnp.log1p(0.5 * old**2 / b0))
    cost = 0.5 * trial.before * score + 0.5
    regret = jnp.any(trial.removed & (cost > spike))
    essential = trial.essential | (trial.removed & regret)

    inverse = inverse_positive(precision)
    variance = jnp.diagonal(inverse)
    information = jnp.maximum(1.0 / variance - tau, 0.0)
    gain = jnp.where(essential, -jnp.inf, spike - 0.5 * information * u**2 - 1.0)
    k = jnp.argmax(gain)
    remove = ~regret & (gain[k] > 0.0)
    step = jnp.where(remove, -inverse[:, k] * u[k] / variance[k], 0.0)
    step = jnp.where(regret, trial.before - u, step)
    return Trial(u, (jnp.arange(len(u)) == k) & remove, essential), step
