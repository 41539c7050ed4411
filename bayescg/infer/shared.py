r"""Members of a sweep that share all their parameters, as MC-EM reads them: one posterior, and one mode.

With members m, each of its own data and conditions, at one u

.. math:: \nabla\log p(u \mid x) = \nabla\log p(u) + \sum_m \nabla\log p(x_m \mid u, c_m),

and likewise for the information, the missing part of it, and the covariance of the Monte Carlo error, since chains of
different members are independent. The prior counts once. Each member's estimates are then those of all together, so
that all take the same step.
"""

import jax
from jax import Array
import jax.numpy as jnp

from bayescg.infer.estimates import Estimates
from bayescg.infer.marginal import log_marginal, log_prior_at
from bayescg.infer.pooled import check_shared, own_sites
from bayescg.infer.program import Program, ProgramError

__all__ = ["check_all_shared", "exponents_of_all", "log_posterior_of_all", "summed"]

Conditions = dict[str, Array]


def check_all_shared(program: Program, x: Array, conditions: Conditions) -> None:
    """Raise ``ProgramError`` if members share some parameters and have others of their own.

    :param x: data of all members; ``conditions`` of all of them.
    :raises ProgramError: as well if the prior of what they share depends on which member is asked.
    """
    own = own_sites(program)
    if own:
        raise ProgramError(
            f"members of the sweep share {', '.join(program.shared)} and have {', '.join(own)} of their own; MC-EM "
            "fits members that share all parameters or none: use -m nuts, or leave what is their own out."
        )
    check_shared(program, x, conditions)


def summed(estimates: Estimates) -> Estimates:
    """What each member's chains say, ``(member, ...)``, added up, and given to every member.

    Moves, and averages of statistics, which are at its own conditions, stay each member's own.
    """
    members, size, chains = estimates.spread.shape

    def everyone(total: Array) -> Array:
        return jnp.broadcast_to(total, (members, *total.shape))

    return estimates._replace(
        score=everyone(estimates.score.sum(0)),
        complete=everyone(estimates.complete.sum(0)),
        fisher=everyone(estimates.fisher.sum(0)),
        missing=everyone(estimates.missing.sum(0)),
        # Columns are roots of independent errors: side by side, their squares add up.
        spread=everyone(jnp.moveaxis(estimates.spread, 0, 1).reshape(size, members * chains)),
        of_likelihood=everyone(estimates.of_likelihood.max(0)),
    )


def exponents_of_all(program: Program, u: Array, x: Array, conditions: Conditions) -> Array:
    """Natural parameters times beta of every member, ``(member * term,)``.

    :param u: unconstrained parameters ``(u,)`` of all members.
    """

    def of_member(x: Array, given: Conditions) -> Array:
        boltzmann = program.boltzmann(u, x, given)
        return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()

    return jax.vmap(of_member)(x, conditions).ravel()


def log_posterior_of_all(
    program: Program, u: Array, x: Array, conditions: Conditions, tau: Array | None = None
) -> Array:
    """Unnormalised log posterior density of the parameters' values at ``u (u,)``, no Jacobian; exact.

    :param tau: as in :func:`~bayescg.infer.marginal.log_posterior`.
    """

    def of_member(x: Array, given: Conditions) -> Array:
        return jnp.sum(log_marginal(program, u, x, given))

    first = {k: v[0] for k, v in conditions.items()}
    prior = log_prior_at(program, u, x[0], first, tau)
    return prior + jnp.sum(jax.vmap(of_member)(x, conditions))
