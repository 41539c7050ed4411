"""The paper's schedule of MC-EM, Robbins-Monro."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.estimates import Estimates
from bayescg.infer.prior import expected_precisions, prior_terms
from bayescg.infer.program import Program
from bayescg.infer.schedules import (
    Memory,
    Step,
    averaged,
    distance_to_optimum,
    usable_information,
    within,
    without_negative_part,
)
from bayescg.linalg import eigh
from bayescg.options import option

__all__ = ["RobbinsMonro"]


@dataclass(frozen=True)
class RobbinsMonro:
    r"""The paper's schedule, :math:`\eta_t = \alpha / (A + t)^\rho` (Eq. 33), with ``m`` samples.

    As printed (``literal``), the step is :math:`\eta_t(\sum_i G_i + \nabla\log p(\theta))` (Eq. 31).
    That cannot run everywhere: ARD's explicit term :math:`-\langle\tau\rangle\theta`, with
    :math:`\langle\tau\rangle` up to 5e4, throws coefficients across zero. The default
    form scales each block of parameters by :math:`D`, one over the largest eigenvalue of its
    information (which also makes the gradients ones per datum), so that with
    :math:`\alpha = A^\rho` the first step is at most a Newton step in any direction. It cuts steps
    to ``reach``, since early ones overshoot to where the lattice freezes, and takes
    ARD's term implicitly,
    :math:`\theta \leftarrow (\theta + \eta D G)/(1 + \eta D\langle\tau\rangle)`.

    Steps come from the ``m`` samples of their iteration. Whether the fit has converged, and the
    information that Laplace takes, come from averages over iterations (:func:`averaged`), without
    which one iteration's error alone would be above any useful tolerance. The paper is silent on how
    its chains start; ones that only persist can freeze with the lattice and call that converged, so
    here too some are cooled anew (``cooling=0`` leaves that out).
    """

    A: float = option(25.0, "offset of Eq. 33")
    alpha: float | None = option(
        None, "size of Eq. 33; None: 0.15 as printed (literal), A**rho (scaled)"
    )
    rho: float = option(0.75, "decay of Eq. 33, in (0.5, 1]")
    m: int = option(170, "samples of p_c and of each q_i an iteration")
    form: Literal["scaled", "literal"] = option(
        "scaled", "scaled blocks and implicit ARD, or Eq. 31 as printed"
    )
    cooling: float = option(
        1.0, "sweeps spent on cooling chains of p_c anew, as a fraction of those that sample"
    )
    most_missing: float = option(
        0.95, "largest fraction of missing information that distances believe"
    )
    reach: float = option(
        0.5, "longest step of the scaled form, in the metric of Newton's trust region"
    )
    drift: float = option(2.0, "error of the quadratic that carries averages, for a step of 1 sd")

    def __post_init__(self) -> None:
        if not 0.5 < self.rho <= 1.0:
            raise ValueError(f"rho must lie in (0.5, 1] (Eq. 32), got {self.rho}.")
        if self.A <= 0:
            raise ValueError(f"A must be positive, got {self.A}.")
        if self.alpha is not None and self.alpha <= 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}.")
        if self.m < 2:
            raise ValueError(f"m must be at least 2, got {self.m}.")

    @property
    def free_chains(self) -> int:
        """One sweep of ``m`` chains."""
        return self.m

    @property
    def radius(self) -> float:
        """No trust region."""
        return 0.0

    @property
    def straight(self) -> bool:
        """Eq. 31 is one of the parameters themselves."""
        return False

    @property
    def clamped_chains(self) -> int:
        """One sweep of ``m`` chains a frame."""
        return self.m

    def start_sweeps(self) -> int:
        """One sweep an iteration."""
        return 1

    def grow(self, effort: np.ndarray) -> int:
        """One sweep, whatever the averages are worth: the step shrinks instead."""
        return 1

    def step_size(self, t: Array | int) -> Array:
        r""":math:`\eta_t` of Eq. 33, ``t`` from 0."""
        alpha = self.alpha
        if alpha is None:
            alpha = 0.15 if self.form == "literal" else self.A**self.rho
        return jnp.asarray(alpha / (self.A + t) ** self.rho)

    def update(
        self,
        program: Program,
        u: Array,
        memory: Memory,
        t: Array,
        estimates: Estimates,
        sweeps: Array,
        x: Array,
        conditions: dict[str, Array],
    ) -> Step:
        """One step of Eq. 31 of the PCG paper; arguments as :class:`~bayescg.infer.schedules.Schedule` names them."""
        eta = self.step_size(t)
        gradient, held, _ = prior_terms(program, u, x, conditions)
        mean, effort = averaged(memory, estimates, sweeps, self.most_missing, self.drift)
        # Nothing here bounds a step, so the averages may be of another world: where the lattice has
        # frozen, say. What the newest estimate contradicts by five standard errors is forgotten.
        error = jnp.sqrt(jnp.diagonal(estimates.noise) + jnp.diagonal(mean.noise))
        wrong = jnp.any(jnp.abs(estimates.score - mean.score) > 5.0 * error + 1e-9)
        mean = jax.tree.map(partial(jnp.where, wrong), estimates, mean)
        effort = jnp.where(wrong, sweeps, effort)
        if self.form == "literal":
            new = u + eta * (estimates.score + gradient)
        else:
            tau = expected_precisions(program, u)
            pull = eta * self._scale(program, mean)
            # ARD's part of the gradient is taken implicitly, any other prior's explicitly.
            new = (u + pull * (estimates.score + gradient + tau * u)) / (1.0 + pull * tau)
            new = u + within(new - u, mean, len(x), self.reach)
        h = usable_information(mean, self.most_missing, 1e-2)
        distance, error, gain = distance_to_optimum(
            h, without_negative_part(held), mean.score + gradient, mean.noise
        )
        kept = memory._replace(u=u, step=new - u, estimates=mean, effort=effort)
        return Step(new, kept, jnp.zeros((), bool), distance, error, gain, mean)

    def _scale(self, program: Program, estimates: Estimates) -> Array:
        # The largest eigenvalue of a block, so that no direction gets more than a Newton step. (Scaled
        # by the mean diagonal instead, correlated features overshoot elevenfold and lattices freeze.)
        scale = jnp.ones_like(estimates.score)
        for site in program.shapes:
            at = program.coordinates(site)
            values, _ = eigh(estimates.complete[jnp.ix_(at, at)])
            scale = scale.at[at].set(1.0 / jnp.maximum(values[-1], 1e-6))
        return scale
