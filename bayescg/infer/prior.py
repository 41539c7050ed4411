"""The prior: draws from it, and its part of a Newton step, ARD through its inner E-step."""

import jax
from jax import Array
import jax.numpy as jnp
from numpyro.handlers import block, seed, substitute, trace

from bayescg.infer.handlers import collapse_precisions
from bayescg.infer.program import Program

__all__ = ["draw_prior", "expected_precisions", "prior_terms"]


def draw_prior(
    program: Program, key: Array, draws: int, x: Array, conditions: dict[str, Array]
) -> Array:
    """Draws of the parameters from a proper prior, ``(draw, u)``; ARD's precisions are integrated out.

    Parameters under an improper one are 1 in all of them.

    :param x: a data set ``(frame, ...)``, of which nothing but its shape is read.
    """
    blank = {program.sites.latent: jnp.zeros((len(x), *program.latent_shape)), **program.fixed}
    blank |= {k: jnp.ones(program.shapes[k]) for k in program.improper}

    def one(key: Array) -> Array:
        drawn = substitute(seed(collapse_precisions(program.function), key), data=blank)
        with block():
            sites = trace(drawn).get_trace(x, **conditions)
        return program.unconstrain({k: sites[k]["value"] for k in program.shapes})

    return jax.vmap(one)(jax.random.split(key, draws))


def expected_precisions(program: Program, u: Array) -> Array:
    r"""ARD's :math:`\langle\tau_k\rangle` of Eq. 42 at each coordinate of ``u``; 0 without ARD."""
    tau = jnp.zeros(program.size, u.dtype)
    for site, (a0, b0) in program.ard.items():
        at = program.coordinates(site)
        tau = tau.at[at].set((a0 + 0.5) / (b0 + 0.5 * u[at] ** 2))
    return tau


def prior_terms(
    program: Program,
    u: Array,
    x: Array,
    conditions: dict[str, Array],
    tau_cap: Array | float = jnp.inf,
) -> tuple[Array, Array, Array]:
    r"""Gradient and curvature of the log prior at ``u``.

    :param tau_cap: upper bound on ARD's precisions. A finite one turns ARD's spike at zero into a
        gentle pull, with which a fit starts so that features are not lost before they are seen.
    :return: the gradient (Eq. 43); the curvature with :math:`\langle\tau\rangle` held fixed
        (Eq. 44), ``(u, u)``; and the exact negative Hessian of the log prior, tau integrated out.
    """

    def log_prior(v: Array) -> Array:
        return program.log_prior(v, x, conditions) + program.log_jacobian(v, program.free_modes)

    exact = -jax.hessian(log_prior)(u)
    gradient = jax.grad(log_prior)(u)
    tau = jnp.minimum(expected_precisions(program, u), tau_cap)
    ard = jnp.zeros(program.size, bool)
    for site in program.ard:
        ard = ard.at[program.coordinates(site)].set(True)
    gradient = jnp.where(ard, -tau * u, gradient)
    held = jnp.where(ard[:, None] | ard[None, :], 0.0, exact) + jnp.diag(tau)
    return gradient, held, exact
