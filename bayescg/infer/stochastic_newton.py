"""Newton steps from few samples with a gain that falls, for models whose configurations cost much."""

from dataclasses import dataclass

from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.estimates import Estimates
from bayescg.infer.prior import prior_terms
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
from bayescg.linalg import inverse_positive
from bayescg.options import option

__all__ = ["StochasticNewton"]


@dataclass(frozen=True)
class StochasticNewton:
    r"""Steps :math:`\eta_t H^{-1} s_t` with :math:`\eta_t = \alpha / (A + t)^\rho` (Eq. 33).

    :class:`~bayescg.infer.schedules.Newton` goes a whole step on what it has averaged; where one iteration's error is
    many posterior standard deviations, each such step carries it out of the range in which its averages hold. Here
    the score :math:`s_t` is that of the iteration alone, so that errors cancel along the way, and only the
    information H, distances and their errors come from averages (:func:`~bayescg.infer.schedules.averaged`). Once the
    error of the averaged score is below ``settled`` posterior standard deviations, steps are Newton's.
    """

    A: float = option(25.0, "offset of Eq. 33")
    alpha: float | None = option(None, "size of Eq. 33; none: A**rho / 3, a third of a Newton step")
    rho: float = option(0.75, "decay of Eq. 33, in (0.5, 1]")
    free_chains: int = option(64, "persistent chains of p_c")
    clamped_chains: int = option(2, "persistent chains of each q_i")
    sweeps: int = option(2, "sweeps of an iteration")
    warmup: int = option(100, "sweeps before the first one")
    reach: float = option(1.0, "longest step, in the metric of Newton's trust region")
    most_missing: float = option(
        0.95, "largest fraction of missing information that a step believes"
    )
    cooling: float = option(
        1.0, "sweeps spent on cooling chains of p_c anew, as a fraction of those that sample"
    )
    drift: float = option(0.1, "error of the quadratic that carries averages, for a step of 1 sd")
    settled: float = option(
        0.7, "error of the averages, in posterior sd, below which they are followed"
    )

    def __post_init__(self) -> None:
        if not 0.5 < self.rho <= 1.0:
            raise ValueError(f"rho must lie in (0.5, 1] (Eq. 32), got {self.rho}.")
        if self.A <= 0:
            raise ValueError(f"A must be positive, got {self.A}.")
        if self.alpha is not None and self.alpha <= 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}.")

    @property
    def radius(self) -> float:
        """No trust region."""
        return 0.0

    @property
    def straight(self) -> bool:
        """Newton's quadratic is one in natural parameters."""
        return True

    def start_sweeps(self) -> int:
        return self.warmup

    def grow(self, effort: np.ndarray) -> int:
        return self.sweeps

    def step_size(self, t: Array | int) -> Array:
        r""":math:`\eta_t` of Eq. 33, ``t`` from 0."""
        alpha = self.A**self.rho / 3.0 if self.alpha is None else self.alpha
        return jnp.minimum(1.0, jnp.asarray(alpha / (self.A + t) ** self.rho))

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
        mean, effort = averaged(memory, estimates, sweeps, self.most_missing, self.drift)
        h = usable_information(mean, self.most_missing, 1e-2)
        prior, held, _ = prior_terms(program, u, x, conditions)
        held = without_negative_part(held)
        distance, error, gain = distance_to_optimum(h, held, mean.score + prior, mean.noise)
        settled = jnp.max(error) < self.settled
        eta = jnp.where(settled, 1.0, self.step_size(t))
        score = jnp.where(settled, mean.score, estimates.score)
        newton = inverse_positive(h + held) @ (score + prior)
        step = eta * within(newton, mean, len(x), self.reach / eta)
        # The first iteration only brings chains from where they were put to where they belong.
        first = t == 0
        step, effort = jnp.where(first, 0.0, step), jnp.where(first, 0.0, effort)
        kept = memory._replace(u=u, step=step, estimates=mean, effort=effort)
        return Step(u + step, kept, jnp.zeros((), bool), distance, error, gain, mean)
