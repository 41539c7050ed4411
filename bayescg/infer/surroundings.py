"""The first references of a log Z that is learned, and where chains of the posterior start."""

from typing import Any, NamedTuple

import jax
from jax import Array
import numpy as np

from bayescg.infer.alternating import Alternating
from bayescg.infer.masses import information, mass_of
from bayescg.infer.simulations import Simulation, Tell

__all__ = ["STRIDE", "Begun", "approached", "cold"]

TEMPERED = (0.0, 0.25, 0.5, 0.7, 0.85)  # of the first reference's coupling: copies of it
NEAR = 0.5  # standard deviations of the statistics, to which Newton's steps come of the posterior's mode
STRIDE = 1.5  # of which a step has at most so many
APPROACH = 30  # such steps, at most
APART = 2.0  # posterior standard deviations about the mode in which chains start


class Begun(NamedTuple):
    """The first references, and where chains of the posterior start."""

    at: np.ndarray  # (reference, u)
    heat: np.ndarray  # (reference,), what beta is multiplied by
    phi: np.ndarray  # (reference, sample, term)
    chains: Any  # that are simulated
    u: np.ndarray  # (chain, u)
    mass: Array | None  # inverse mass matrix


def cold(simulation: Simulation, key: Array, u: np.ndarray) -> Begun:
    """References of spins: where chains start, their mean, and its couplings weakened.

    Where spins are ordered no sample knows of the states that other couplings would bring.
    """
    heat = np.array(TEMPERED)
    middle = u.mean(0)[None]
    at = np.concatenate([np.repeat(middle, len(heat), 0), middle, u])
    heat = np.concatenate([heat, np.ones(len(at) - len(heat))])
    chains, phi = simulation.run(key, at, None, heat)
    return Begun(at, heat, phi, chains, u, None)


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
        values, vectors = information(alternating, at, np.atleast_2d(np.cov(phi[0].T)))
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
    mass = mass_of(alternating, values, vectors)
    return Begun(at[None], np.ones(1), phi, chains, starts, mass)
