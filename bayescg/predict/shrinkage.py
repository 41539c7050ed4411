r"""How much narrower an observable's interval would be with more frames.

To second order about the posterior, frames add information at the rate at which those that were fitted have:
:math:`\Sigma_{N+n}^{-1} = P + \frac{N+n}{N}(\Sigma_N^{-1} - P)`, with P the curvature of the prior, and an
observable that is linear in the parameters, :math:`a = g\cdot u`, has the variance :math:`g^T\Sigma_{N+n}g`.
What the prior alone holds does not shrink; the part of an observable that is not linear in the parameters is of second
order in their deviations, and its variance shrinks with the square.
"""

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.prior import prior_terms
from bayescg.infer.program import Program
from bayescg.predict.discrepancy import Joint, truth

__all__ = [
    "PER_PARAMETER",
    "predicted_joint",
    "predicted_width",
    "prior_precision",
    "variance_ratio",
]


PER_PARAMETER = 10  # draws, below which what the prior holds is lost in their noise


def prior_precision(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    """Curvature of the log prior density of u, ``(u, u)``, ARD's precisions held.

    Directions in which it bends the other way count as flat.
    """

    def bent(v: Array) -> Array:
        return program.log_jacobian(v) - program.log_jacobian(v, program.free_modes)

    _, held, _ = prior_terms(program, u, x, conditions)
    lam, axes = jnp.linalg.eigh(held - jax.hessian(bent)(u))
    return (axes * jnp.maximum(lam, 0.0)) @ axes.T


def variance_ratio(
    u: np.ndarray,
    a: np.ndarray,
    prior_precision: np.ndarray,
    times: float,
    noise: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Posterior variance with ``times`` as many frames over the one of now, ``(*component)``.

    :param u: posterior draws, unconstrained, ``(draw, parameter)``; ``PER_PARAMETER`` times as many as parameters.
    :param a: the observable at them, ``(draw, *component)``.
    :param noise: Monte Carlo variance of one draw's value, ``(*component)``.
    :param prior_precision: minus the Hessian of the log prior density of u at the posterior's mean.
    :raises ValueError: for too few draws, or ``times`` below 1.
    """
    draws, size = u.shape
    if draws < PER_PARAMETER * size:
        raise ValueError(
            f"how data add up needs at least {PER_PARAMETER * size} draws for {size} parameters, got {draws}."
        )
    if times < 1.0:
        raise ValueError(f"frames can only be added: times must be at least 1, got {times:g}.")
    shape = a.shape[1:]
    centred, values = u - u.mean(0), (a - a.mean(0)).reshape(draws, -1)
    covariance = centred.T @ centred / (draws - 1.0)
    lam, axes = np.linalg.eigh(covariance)
    kept = lam > 1e-12 * lam.max()
    root = axes[:, kept] * np.sqrt(lam[kept])  # covariance = root root^T
    # In coordinates in which the posterior is a standard normal, the prior holds part of each direction.
    held = root.T @ prior_precision @ root
    share, turn = np.linalg.eigh(0.5 * (held + held.T))
    share = np.clip(share, 0.0, 1.0)
    remaining = 1.0 / (share + times * (1.0 - share))
    standard = centred @ (axes[:, kept] / np.sqrt(lam[kept])) @ turn
    slope = standard.T @ values / (draws - 1.0)  # (direction, component)
    total = np.sum(values**2, 0) / (draws - 1.0)
    linear = np.sum(slope**2, 0)
    curved = np.maximum(total - linear - np.ravel(np.broadcast_to(noise, shape)), 0.0)
    after = remaining @ slope**2 + curved / times**2
    out = np.divide(after, linear + curved, out=np.ones_like(after), where=linear + curved > 0.0)
    return out.reshape(shape)


def predicted_joint(joint: Joint, ratio: np.ndarray, times: float) -> Joint:
    """What prediction and average would be like with ``times`` as many frames, their distance as now but for noise."""
    gap = joint.data - joint.model
    noise = joint.difference_variance
    lasting = np.maximum(gap**2 - noise, 0.0)
    after = Joint(
        joint.model,
        joint.data,
        joint.model_variance * ratio,
        joint.data_variance / times,
        # What both share shrinks as the one of them that frames teach less.
        joint.covariance * np.minimum(np.sqrt(ratio / times), 1.0),
        round(joint.frames * times),
        worth=None if joint.worth is None else joint.worth * times,
    )
    distance = np.sign(gap) * np.sqrt(lasting + np.minimum(after.difference_variance, gap**2))
    return after._replace(data=joint.model + distance)


def predicted_width(joint: Joint, level: float = 0.9) -> np.ndarray:
    """Width of the interval that allows for the model's error, ``(*component)``."""
    draws = truth(joint, 200).draws
    ends = np.quantile(draws, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0, method="hazen")
    return np.asarray(ends[1] - ends[0])
