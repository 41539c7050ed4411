"""Exact marginals: the latent configurations summed out of a program."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.handlers import block, substitute, trace

from bayescg.distributions.hidden import StateSum, sum_over_states
from bayescg.distributions.log_partition import ENUMERABLE, ExactLogPartition
from bayescg.infer.handlers import collapse
from bayescg.infer.program import Program, ProgramError

__all__ = [
    "check_exact",
    "check_factorises",
    "collapsed_program",
    "log_marginal",
    "log_posterior",
    "log_prior_at",
    "over_states",
    "prior_program",
]


def check_exact(program: Program, x: Array, conditions: dict[str, Array]) -> None:
    """Raise ``ProgramError`` unless log Z and the sum over latents are exact for this program."""
    u = jnp.zeros(program.size)
    strategy = program.boltzmann(u, x, conditions).log_partition
    if not isinstance(strategy, ExactLogPartition):
        where = (
            f"it is by enumeration (at most {ENUMERABLE} coarse sites) or a transfer matrix (short range): coarsen "
            "further, shorten L2, use -m mcem, or have it learned by -m nuts -M log_partition=learned."
            if len(program.latent_shape) == 1
            else "of sites in space it is for a molecule of two sites and one between them alone (virtual_bond): "
            "use -m mcem or arcg."
        )
        raise ProgramError(f"log Z is not known exactly here; {where}")
    if program.sites.latent_observed:
        return
    for state in {0, program.states - 1}:  # the same code reads all
        check_factorises(
            program if program.sites.state is None else program.in_state(state), x, conditions
        )


def check_factorises(program: Program, x: Array, conditions: dict[str, Array]) -> None:
    """Raise ``ProgramError`` unless ``log p_cf`` is a finite field on spins, or a tether of sites.

    Looked at for several parameters and latents, since a coupling may vanish at one of them.
    """
    if len(program.latent_shape) > 1:
        return _check_tethers(program, x, conditions)

    @jax.jit
    def both(u: Array, latent: Array) -> tuple[Array, Array, Array]:
        h, c = program.field(u, x, conditions)
        return h, c + jnp.sum(h * latent, 1), program.log_likelihood(u, latent, x, conditions)

    rng = np.random.default_rng(0)
    for _ in range(4):
        u = 0.5 * rng.normal(size=program.size)
        latent = rng.choice([-1.0, 1.0], (len(x), *program.latent_shape))
        h, factorised, direct = both(u, latent)
        if not np.isfinite(h).all():
            raise ProgramError(
                "the likelihood rules some coarse configurations out (a deterministic map), so latents "
                "cannot be sampled: use -m rem."
            )
        if not np.allclose(direct, factorised, rtol=1e-6, atol=1e-6):
            raise ProgramError(
                "the likelihood does not factorise over coarse sites, so latents are neither sampled nor "
                "summed out right."
            )


def _check_tethers(program: Program, x: Array, conditions: dict[str, Array]) -> None:
    """Raise ``ProgramError`` unless each frame's likelihood is a tether of its latents, or holds them."""
    if program.kept is not None:
        return
    if program.dirac(jnp.zeros((len(x), *program.latent_shape)), x, conditions) is not None:
        raise ProgramError(
            "a deterministic map of latents to data must keep some of their sites, each once, and drop the others, "
            "Delta(X[..., sites, :], event_dim=2); of another no latent can be sampled, and arcg alone can fit it."
        )
    if x.shape[1:] != program.latent_shape:
        raise ProgramError(
            f"latent sites have shape {program.latent_shape}, the data {x.shape[1:]} a frame: sites in space "
            "need one latent for each, x ~ N(X, sigma^2)."
        )

    @jax.jit
    def both(u: Array, latent: Array) -> tuple[Array, Array]:
        pull = jax.tree.map(jnp.transpose, program.pull(u, x, conditions))
        apart = pull.log_density(latent.T) - pull.log_density(pull.centre)
        top = program.log_likelihood(u, pull.centre.T, x, conditions)
        return top + apart, program.log_likelihood(u, latent, x, conditions)

    rng = np.random.default_rng(0)
    for _ in range(2):
        u = 0.5 * rng.normal(size=program.size)
        tethered, direct = both(u, np.asarray(x) + 0.3 * rng.normal(size=x.shape))
        if not np.allclose(direct, tethered, rtol=1e-6, atol=1e-6):
            raise ProgramError(
                "the likelihood is not a normal of the latent sites with variances of its own for each coordinate, nor "
                "a PeriodicMixture of such, so latents cannot be sampled."
            )


def log_marginal(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    r"""``log p(x_i | theta)`` of each frame (Eq. 14), shape ``(frame,)``; exact.

    With the likelihood as a field on the latent spins (:meth:`Program.field`) it is
    :math:`c_i + \log\sum_X e^{-\beta U(X) + h_i\cdot X} - \log Z`; where the data hold sites of the latent and
    lack others, the sum is over those. Hidden states are summed out, too: the terms of a path through them
    are ``log p(x_i | x_1 ... x_(i-1), theta)``, which add up to that of all frames as the others do.
    """
    if program.sites.state is not None:
        return over_states(program, u, x, conditions).terms
    return _in_one_state(program, u, x, conditions)


def over_states(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> StateSum:
    """The hidden states of a program summed out, from ``log p(x_i | S_i, theta)`` of each frame and state."""

    def of(state: Array) -> Array:
        return _in_one_state(program.in_state(state), u, x, conditions)

    emission = jax.vmap(of, out_axes=1)(jnp.arange(program.states))
    return sum_over_states(program.state_prior(u, x, conditions), emission)


def _in_one_state(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    """``log p(x_i | S_i = s, theta)`` of each frame; of a program without states ``log p(x_i | theta)``."""
    boltzmann = program.boltzmann(u, x, conditions)
    potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)
    if program.sites.latent_observed:
        latent = program.fixed[program.sites.latent]
        return boltzmann.log_prob(latent) + program.log_likelihood(u, latent, x, conditions)
    strategy = boltzmann.log_partition
    assert isinstance(strategy, ExactLogPartition)  # check_exact says so in words
    if program.kept is not None:
        held = program.pull(u, x, conditions)
        return strategy.in_field(potential, beta, held) - strategy(potential, beta)
    h, c = program.field(u, x, conditions)
    return c + strategy.in_field(potential, beta, h) - strategy(potential, beta)


def log_posterior(
    program: Program, u: Array, x: Array, conditions: dict[str, Array], tau: Array | None = None
) -> Array:
    """Unnormalised log posterior density of the parameters' values at ``u`` (no Jacobian).

    :param tau: precisions at which ARD's are held, ``(u,)``, 0 for coordinates without ARD; None
        integrates them out.
    """
    likelihood = jnp.sum(log_marginal(program, u, x, conditions))
    return likelihood + log_prior_at(program, u, x, conditions, tau)


def log_prior_at(
    program: Program, u: Array, x: Array, conditions: dict[str, Array], tau: Array | None = None
) -> Array:
    """Log prior density of the parameters' values at ``u``; ``tau`` as in :func:`log_posterior`."""
    prior = program.log_prior(u, x, conditions)
    if tau is not None and program.ard:
        for site, (a0, b0) in program.ard.items():
            at = program.coordinates(site)
            # Student-t out, the normal with the held precision in (constants of u left out).
            prior = prior + jnp.sum(
                (a0 + 0.5) * jnp.log(b0 + 0.5 * u[at] ** 2) - 0.5 * tau[at] * u[at] ** 2
            )
    return prior


def prior_program(program: Program) -> Callable[..., None]:
    """The NumPyro program of the parameters alone: latents, data and ARD's precisions left out."""
    hidden = [program.sites.latent, *program.sites.likelihood, *program.fixed]

    def prior(x: Array, **conditions: Array) -> None:
        blank = {program.sites.latent: jnp.ones((len(x), *program.latent_shape)), **program.fixed}
        inner: Any = substitute(collapse(program.function), data=blank)
        with block(hide=hidden):
            inner(x, **conditions)

    return prior


def collapsed_program(program: Program, batch: int | None = None) -> Callable[..., None]:
    """The NumPyro program with the latents and ARD's precisions summed out, for NUTS and variational inference.

    Its parameter sites are the original's, untouched; the data enter by one factor.

    :param batch: so many frames, chosen at random in every evaluation and counted as all of them; None: all.
    """
    prior = prior_program(program)

    def collapsed(x: Array, **conditions: Array) -> None:
        with trace() as sites:
            prior(x, **conditions)
        u = program.unconstrain({k: sites[k]["value"] for k in program.shapes})
        if batch is None:
            numpyro.factor("log_marginal", jnp.sum(log_marginal(program, u, x, conditions)))
            return
        with numpyro.plate("minibatch", len(x), subsample_size=batch):
            some = numpyro.subsample(x, x.ndim - 1)
            numpyro.factor("log_marginal", log_marginal(program, u, some, conditions))

    return collapsed
