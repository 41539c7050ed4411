"""Where a posterior of sites in space is begun: parameters by score matching, which needs no simulation."""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.force_design import normal_equations
from bayescg.infer.program import Program
from bayescg.infer.score_matching import score_matching
from bayescg.infer.undetermined import kinks
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.particles import ParticlePotential

__all__ = ["by_score_matching", "with_lennard_jones"]

STEPS = 100  # of Newton's method, at most
SETTLED = 1e-8  # of the score-matching loss, in what a step still gains
HALVINGS = 30


def by_score_matching(
    program: Program, latent: np.ndarray, x: Array, conditions: dict[str, Array], u: np.ndarray
) -> np.ndarray:
    r"""Parameters whose forces fit the density of the latents, ``(u,)``.

    With :math:`e = \beta\eta(u)` it minimises

    .. math:: \sum_i \tfrac12\Bigl|\sum_k e_k\nabla\phi_k(X_i)\Bigr|^2 + \sum_k e_k\nabla^2\phi_k(X_i) - \log p(u)

    (A. Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005)) by Newton's method. The estimate is consistent, and about as
    far from the posterior's mode as a few of its standard deviations.

    :param latent: ``(frame, site, axis)``, angstrom.
    :param u: where the search starts, and what comes back where there is no estimate: of potentials that are not typed,
        and of functions whose slope jumps amid the data.
    """
    boltzmann = program.boltzmann(jnp.asarray(u), x, conditions)
    potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)
    if not isinstance(potential, MolecularPotential):
        return u
    sums = normal_equations(potential, latent, curved=True, blocks=1)
    if kinks(potential, np.ones(len(potential.names)), sums):
        return u
    square, bend = jnp.asarray(sums.square.sum(0)), jnp.asarray(sums.laplacian.sum(0))

    def loss(v: Array) -> Array:
        e = beta * program.natural(v, x, conditions)
        prior = program.log_prior(v, x, conditions) + program.log_jacobian(v)
        return 0.5 * e @ square @ e + e @ bend - prior

    value = jax.jit(loss)
    slopes = jax.jit(lambda v: (jax.grad(loss)(v), jax.hessian(loss)(v)))
    now, at = float(value(u)), np.asarray(u, float)
    for _ in range(STEPS):
        gradient, hessian = map(np.asarray, slopes(at))
        # Of coordinates that differ by powers of ten; uphill directions are turned round.
        scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-12))
        values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
        bounded = np.maximum(np.abs(values), 1e-10 * np.abs(values).max())
        step = -scale * (vectors @ ((vectors.T @ (scale * gradient)) / bounded))
        gain = -float(gradient @ step)
        for part in 0.5 ** np.arange(HALVINGS):
            new = float(value(at + part * step))
            if new < now - 1e-4 * part * gain:
                at, now = at + part * step, new
                break
        else:
            break
        if gain < SETTLED * max(1.0, abs(now)):
            break
    return at


def with_lennard_jones(
    x: np.ndarray, *, potential: ParticlePotential, beta: float, held: float
) -> dict[str, Any]:
    """Lennard-Jones and corrections by score matching, the corrections held by a gentle prior.

    Most of what a correction can do Lennard-Jones can do too, and a fit ends where it is led: the first estimate lets
    Lennard-Jones do what it can, whatever the number of frames.

    :param x: frames, ``(frame, site, axis)``.
    :param potential: Lennard-Jones, the corrections and a core, in this order.
    :param held: precision of the corrections' prior a frame, (kcal/mol)^-2.
    :return: ``epsilon``, ``sigma`` and ``theta_c``; nothing where Lennard-Jones would not repel.
    """
    size = sum(len(t.basis.names) for t in potential.pairs) - 3
    precision = np.concatenate([[1e-12, 1e-12], np.full(size, held * len(x)), [np.inf]])
    c12, minus_c6, *theta_c, _ = score_matching(potential, beta, x, precision)
    if c12 <= 0.0 or minus_c6 >= 0.0:
        return {}
    return {
        "epsilon": minus_c6**2 / (4.0 * c12),
        "sigma": (c12 / -minus_c6) ** (1.0 / 6.0),
        "theta_c": np.array(theta_c),
    }
