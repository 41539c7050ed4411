r"""A closed-form first estimate of a potential from configurations alone, by score matching."""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.potentials.particles import ParticlePotential
from bayescg.space import minimum_image

__all__ = ["score_matching"]


def score_matching(
    potential: ParticlePotential, beta: float, x: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    r"""Coefficients of the pair terms for which the model's score fits the data's best.

    With the energy :math:`\sum_k c_k f_k(x)` it minimises, over the frames,

    .. math:: \tfrac12\beta^2\Bigl|\sum_k c_k\nabla f_k\Bigr|^2 - \beta\sum_k c_k\nabla^2 f_k
              + \tfrac12\sum_k\lambda_k c_k^2

    (A. Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005)): a linear problem that needs neither forces nor
    the normaliser. The estimate is consistent where the density is smooth; it is used to begin a
    fit where the model already resembles the data.

    :param potential: its pair basis is used, and its coefficients where ``precision`` is infinite;
        a three-body term is kept as it is.
    :param x: frames ``(frame, site, axis)``, angstrom.
    :param precision: :math:`\lambda_k` of each pair function, ``(term,)``; infinite: not estimated.
    :return: coefficient of each pair function in the energy, ``(term,)``.
    """
    terms = len(precision)
    i, j = np.triu_indices(x.shape[1], 1)

    def first(r: Array) -> Array:
        return jax.jvp(potential.pair_basis, (r,), (jnp.ones_like(r),))[1]

    def second(r: Array) -> Array:
        return jax.jvp(first, (r,), (jnp.ones_like(r),))[1]

    @jax.jit
    def of_frame(x: Array) -> tuple[Array, Array]:
        d = minimum_image(x[:, i] - x[:, j], potential.box)
        r = jnp.sqrt(jnp.sum(d * d, 0))
        slope = first(r)
        pull = slope[:, None] * (d / r)
        gradient = jnp.zeros((terms, *x.shape)).at[:, :, i].add(pull).at[:, :, j].add(-pull)
        if potential.three_body is not None:
            three, box = potential.three_body, potential.box
            more = jax.grad(lambda y: three.statistics(y, box)[0])(x)
            gradient = jnp.concatenate([gradient, more[None]])
        flat = gradient.reshape(len(gradient), -1)
        return flat @ flat.T, jnp.sum(2.0 * (second(r) + 2.0 * slope / r), 1)

    square, laplacian = np.zeros(()), np.zeros(())
    for frame in x:
        a, b = of_frame(jnp.asarray(frame.T, float))
        square, laplacian = square + np.asarray(a), laplacian + np.asarray(b)
    out = -np.asarray(potential.natural())
    free = np.flatnonzero(np.isfinite(precision))
    known = np.setdiff1d(np.arange(len(out)), free)
    left = beta**2 * square[np.ix_(free, free)] + np.diag(precision[free])
    right = beta * laplacian[free] - beta**2 * square[np.ix_(free, known)] @ out[known]
    # Coefficients of r^-12 and of a cosine differ by powers of ten.
    scale = 1.0 / np.sqrt(np.diag(left))
    out[free] = scale * np.linalg.solve(left * np.outer(scale, scale), scale * right)
    return out[:terms]
