"""The first references of a log Z that is learned, and where chains of the posterior start."""

from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.alternating import Alternating, Latents
from bayescg.infer.moves import straight
from bayescg.infer.simulations import ADAPTING, Simulation, Tell

__all__ = ["STRIDE", "Begun", "approached", "cold", "surrounded"]

TEMPERED = (0.0, 0.25, 0.5, 0.7, 0.85)  # of the first reference's coupling: copies of it
NEAR = 0.5  # standard deviations of the statistics, to which Newton's steps come of the posterior's mode
STRIDE = 1.5  # of which a step has at most so many
APPROACH = 30  # such steps, at most
APART = 2.0  # posterior standard deviations about the mode in which chains start
AROUND = 31  # references at draws of an approximation
SETTLING, MOVES = 10, 6  # turns of latents at a chain's first parameters, and moves of each


class Begun(NamedTuple):
    """The first references, and where chains of the posterior start."""

    at: np.ndarray  # (reference, u)
    heat: np.ndarray  # (reference,), what beta is multiplied by
    phi: np.ndarray  # (reference, sample, term)
    chains: Any  # that are simulated
    u: np.ndarray  # (chain, u)
    mass: Array | None  # inverse mass matrix
    latent: Latents | None  # of those chains, where they have moved


def cold(simulation: Simulation, key: Array, u: np.ndarray) -> Begun:
    """References of spins: where chains start, their mean, and its couplings weakened.

    Where spins are ordered no sample knows of the states that other couplings would bring.
    """
    heat = np.array(TEMPERED)
    middle = u.mean(0)[None]
    at = np.concatenate([np.repeat(middle, len(heat), 0), middle, u])
    heat = np.concatenate([heat, np.ones(len(at) - len(heat))])
    chains, phi = simulation.run(key, at, None, heat)
    return Begun(at, heat, phi, chains, u, None, None)


def approached(
    alternating: Alternating, simulation: Simulation, key: Array, u: np.ndarray, tell: Tell
) -> Begun:
    r"""The posterior's mode, nearly, by Newton's steps on the moments of persistent chains, of latents that are seen.

    Chains begin in the data's configurations. The log posterior has the slope
    :math:`J^\top(\sum_i\phi(X_i) - N\langle\phi\rangle)` and the prior's, and the information
    :math:`N J^\top\operatorname{Cov}[\phi]J` and the prior's, with :math:`J = \partial e/\partial u`. When the next
    step is one that reweighting reaches, chains of the posterior start about its end.

    :param u: ``(chain, u)``, whose mean is where the search starts.
    """
    frames, count = len(alternating.x), len(u)
    natural = jax.jit(lambda v: (alternating.natural(v), jax.jacobian(alternating.natural)(v)))
    slope_of_prior = jax.jit(jax.grad(alternating.log_prior))
    k_at, k_spread, key = jax.random.split(key, 3)
    chains = simulation.start(k_at, alternating.held(None).T)
    seen, at = np.asarray(alternating.seen), u.mean(0)
    for turn in range(APPROACH):
        chains, phi = simulation.run(
            jax.random.fold_in(key, turn), at[None], chains, first=turn == 0
        )
        slope = np.asarray(natural(at)[1])
        gradient = np.asarray(slope_of_prior(at)) + slope.T @ (seen - frames * phi[0].mean(0))
        values, vectors = _information(alternating, at, phi[0])
        step = vectors @ ((vectors.T @ gradient) / values)
        move = slope @ step
        length = float(np.sqrt(move @ np.atleast_2d(np.cov(phi[0].T)) @ move))
        if tell is not None:
            tell(0.0, {"approach": float(turn), "step": length})
        if length <= NEAR:
            break
        at = at + step * min(1.0, STRIDE / length)
    about = np.asarray(jax.random.normal(k_spread, (count, len(at))))
    starts = at + step * min(1.0, NEAR / length) + APART * (about / np.sqrt(values)) @ vectors.T
    mass = _mass(alternating, values, vectors)
    return Begun(at[None], np.ones(1), phi, chains, starts, mass, None)


def _information(
    alternating: Alternating, u: np.ndarray, phi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of the information on the coordinates that NUTS moves, X given, at ``u (u,)``.

    :param phi: statistics of samples there, ``(sample, term)``.
    """
    rest = alternating.rest
    slope = np.asarray(jax.jit(jax.jacobian(alternating.natural))(jnp.asarray(u)))[:, rest]
    bend = np.asarray(jax.jit(jax.hessian(alternating.log_prior))(jnp.asarray(u)))
    covariance = np.atleast_2d(np.cov(phi.T))
    values, vectors = np.linalg.eigh(
        len(alternating.x) * slope.T @ covariance @ slope - bend[np.ix_(rest, rest)]
    )
    return np.maximum(np.abs(values), 1e-9 * np.abs(values).max()), vectors


def _mass(alternating: Alternating, values: np.ndarray, vectors: np.ndarray) -> Array:
    inverse = (vectors / values) @ vectors.T
    return jnp.asarray(inverse if alternating.options.dense else np.diag(inverse))


def surrounded(
    alternating: Alternating,
    simulation: Simulation,
    key: Array,
    count: int,
    draws: np.ndarray,
    tell: Tell,
) -> Begun:
    """References at draws of an approximation of the posterior, and chains that start at some of them.

    Latents in space follow parameters that a wrong log Z leads astray, and parameters follow them: 20 frames of water
    have thousands of coordinates that agree to anything. So chains must not begin where log Z is not known. What X is
    worth to parameters beside x may be a hundredth (the width trades against how sharp the potential is), so that
    Newton's steps, X given, would take hundreds to arrive.

    :param draws: ``(draw, u)``; a step from their mean keeps its promise in natural parameters (:func:`straight`).
    """
    k_at, k_latent, k_move, key = jax.random.split(key, 4)
    x, conditions = alternating.x, alternating.conditions
    middle = jnp.asarray(draws.mean(0))
    steps = jnp.asarray(draws[: max(AROUND, count)] - draws.mean(0))
    led = jax.jit(
        lambda d: jax.lax.map(
            lambda one: straight(
                lambda u: alternating.program.natural(u, x, conditions), middle, one
            )[0],
            d,
        )
    )
    around = np.asarray(led(steps))
    at = np.concatenate([np.asarray(middle)[None], around])
    chains = simulation.start(k_at, x.T)
    parts = []
    for i, one in enumerate(at):
        chains, phi = simulation.run(jax.random.fold_in(key, i), one[None], chains, first=i == 0)
        parts.append(phi)
        if tell is not None:
            tell(0.0, {"references": float(i + 1)})
    u, latent = jnp.asarray(around[:count]), alternating.placed(k_latent, count)
    for i in range(SETTLING):
        k, gain = jax.random.fold_in(k_move, i), jnp.asarray(ADAPTING)
        u, latent, _ = alternating.relaxed(k, u, latent, MOVES, gain)
    mass = _mass(alternating, *_information(alternating, at[0], parts[0][0]))
    return Begun(at, np.ones(len(at)), np.concatenate(parts), chains, np.asarray(u), mass, latent)
