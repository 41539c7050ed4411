"""How MC-EM turns estimates into a step; the default schedule, Newton."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.estimates import Estimates
from bayescg.infer.prior import prior_terms
from bayescg.infer.program import Program
from bayescg.infer.pruning import Trial, prune
from bayescg.linalg import eigh, inverse_positive, solve_positive
from bayescg.options import option

__all__ = [
    "Memory",
    "Newton",
    "Schedule",
    "Step",
    "averaged",
    "distance_to_optimum",
    "start_memory",
    "usable_information",
    "within",
    "without_negative_part",
]


class Memory(NamedTuple):
    """What a schedule remembers of its last step; shapes as one member's."""

    radius: Array  # of the trust region, scalar
    u: Array  # (u,), where the last step started
    step: Array  # (u,), the last step
    slope: Array  # scalar, gradient . step where it started; 0 before the first step
    estimates: Estimates  # at ``u``, averaged over the iterations
    effort: Array  # (u,), sweeps of each chain that the average of a score is worth
    trial: Trial


def start_memory(u: Array, estimates: Estimates, radius: float) -> Memory:
    """What is remembered before the first step from ``u``; ``estimates`` gives shapes only."""
    nothing = jax.tree.map(jnp.zeros_like, estimates)
    zero, nought = jnp.zeros((), u.dtype), jnp.zeros_like(u)
    none = jnp.zeros(u.shape, bool)
    first = jnp.full((), radius, u.dtype)
    trial = Trial(u, none, none)
    return Memory(first, u, nought, zero, nothing, nought, trial)


class Step(NamedTuple):
    """One update, and how far from the optimum the estimates say we are."""

    u: Array  # the new parameters
    memory: Memory
    rejected: Array  # whether the last step is taken back: its chains are then restored as well
    distance: Array  # (u,), |Newton step| in posterior standard deviations
    noise: Array  # (u,), Monte Carlo standard error of that, in the same unit
    objective: Array  # expected gain of the log posterior by a full Newton step
    estimates: Estimates  # that the step was made from


class Schedule(Protocol):
    """A rule for the step and the sample size; a small frozen dataclass."""

    @property
    def free_chains(self) -> int:
        """Chains of p_c."""
        ...

    @property
    def radius(self) -> float:
        """First radius of the trust region."""
        ...

    @property
    def straight(self) -> bool:
        """Whether a step is one of natural parameters, where those are not linear in ``u``."""
        ...

    @property
    def cooling(self) -> float:
        """Sweeps spent on cooling chains of p_c anew, as a fraction of those spent on sampling."""
        ...

    @property
    def clamped_chains(self) -> int:
        """Chains of each q_i."""
        ...

    def start_sweeps(self) -> int:
        """Sweeps an iteration at the start."""
        ...

    def grow(self, effort: np.ndarray) -> int:
        """Sweeps of the next iteration, from what the running members' averages are worth."""
        ...

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
        """The new parameters after iteration ``t`` (from 0)."""
        ...


def usable_information(estimates: Estimates, most_missing: float, floor: float) -> Array:
    """Observed information made safe to divide by.

    In units of the complete information the missing one has eigenvalues in [0, 1); Monte Carlo
    error and a flat direction can push them past 1, where a Newton step would run away. They are
    held below ``most_missing``, so a step is at most ``1 / (1 - most_missing)`` EM steps long.
    """
    complete = 0.5 * (estimates.fisher + estimates.fisher.T)
    missing = 0.5 * (estimates.missing + estimates.missing.T)
    values, vectors = eigh(complete)
    root = jnp.sqrt(jnp.maximum(values, floor))
    whitened = (vectors / root).T @ missing @ (vectors / root)
    lam, axes = eigh(0.5 * (whitened + whitened.T))
    kept = 1.0 - jnp.clip(lam, 0.0, most_missing)
    back = (vectors * root) @ axes
    return (back * kept) @ back.T


def distance_to_optimum(
    information: Array, curvature: Array, gradient: Array, noise: Array
) -> tuple[Array, Array, Array]:
    """Newton step in posterior standard deviations, its Monte Carlo error, and the gain it promises."""
    inverse = inverse_positive(information + curvature)
    step = inverse @ gradient
    sd = jnp.sqrt(jnp.diagonal(inverse))
    error = jnp.sqrt(jnp.maximum(jnp.diagonal(inverse @ noise @ inverse), 0.0))
    return jnp.abs(step) / sd, error / sd, 0.5 * jnp.dot(gradient, step)


def averaged(
    memory: Memory, new: Estimates, sweeps: Array, most_missing: float, drift: float
) -> tuple[Estimates, Array]:
    r"""The new estimates averaged with those of the iterations before, and their worth in sweeps.

    The old score is carried over the last step by the old information, :math:`s - H d`. What a quadratic
    misses of that change is taken to be ``drift`` of it, or what the new score shows of it along the
    step, and the old average counts for less the larger this is beside its Monte Carlo error: an
    average that only agrees with itself makes short steps, and an end of them that is none.
    Parameters of p_cf forget more when they move on their own: a width that falls while the hundred
    others rest would otherwise keep the errors of all its steps.
    (Single coordinates of p_c cannot: errors of their scores cancel where the model is sloppy.)
    """
    old, d = memory.estimates, memory.step
    h = usable_information(old, most_missing, 1e-2)
    inverse = inverse_positive(h)
    carried = old._replace(score=old.score - h @ d)
    noise = inverse @ old.noise @ inverse
    error = jnp.trace(h @ noise) / len(d)
    moved = jnp.broadcast_to((d @ h @ d) / len(d), d.shape)
    own_error, own = jnp.diagonal(noise), jnp.diagonal(inverse)
    error = jnp.where(new.of_likelihood > 0, own_error / own, error)
    moved = jnp.where(new.of_likelihood > 0, jnp.maximum(d**2 / own, moved), moved)
    # Along the step: what the new score says beyond two standard errors of both.
    along = d / jnp.sqrt(jnp.maximum(d @ h @ d, 1e-30))
    old_error = along @ old.noise @ along
    both = old_error + along @ new.noise @ along
    surprise = (along @ (new.score - carried.score)) ** 2 - 4.0 * both
    doubt = (drift * moved) ** 2 / jnp.maximum(error, 1e-30)
    doubt = doubt + jnp.maximum(surprise, 0.0) / jnp.maximum(old_error, 1e-30)
    worth = jnp.where(memory.effort > 0, memory.effort / (1.0 + doubt), 0.0)
    share = sweeps / (worth + sweeps)
    middle = jnp.median(share)
    mixed = jax.tree.map(lambda a, b: (1.0 - middle) * a + middle * b, carried, new)
    return mixed._replace(
        score=(1.0 - share) * carried.score + share * new.score,
        spread=(1.0 - share)[:, None] * old.spread + share[:, None] * new.spread,
        of_likelihood=new.of_likelihood,
        failed=new.failed,
    ), worth + sweeps


def within(step: Array, estimates: Estimates, frames: int, radius: Array | float) -> Array:
    r"""A step cut to ``radius`` in :math:`d^T(\beta^2\operatorname{Cov}[\phi] + \kappa) d`, root taken.

    Twice the relative entropy by which it changes p_c, and a bound where p_c does not tell. (That of
    p_cf is no bound: a hundred sites tell its width to a tenth, and it may have far to go.)
    """
    coarse = 1.0 - estimates.of_likelihood
    metric = coarse[:, None] * estimates.fisher * coarse / frames + 0.25 * jnp.eye(len(step))
    length = jnp.sqrt(jnp.maximum(step @ metric @ step, 1e-30))
    return step * jnp.minimum(1.0, radius / length)


@dataclass(frozen=True)
class Newton:
    r"""Newton steps with the observed information of Louis' identity; the default.

    Each iteration maximises ``score . d - d H d / 2 + log p(u + d)``, by ``inner`` rounds of
    ARD's inner E-step and the M-step that it makes linear (footnote 4: several M-steps an
    E-step). The step is cut to a trust region in
    :math:`d^T(\beta^2\operatorname{Cov}[\phi] + \kappa) d`, twice the relative entropy by which it
    changes p_c and a bound where p_c does not tell. A step at whose end the gradient points back
    has overshot: it is taken back, with its chains, and a shorter one tried. Estimates are
    averaged over iterations (:func:`averaged`), and each iteration samples a fraction of that.
    """

    free_chains: int = option(256, "persistent chains of p_c")
    cooling: float = option(
        1.0, "sweeps spent on cooling chains of p_c anew, as a fraction of those that sample"
    )
    clamped_chains: int = option(16, "persistent chains of each q_i")
    sweeps: int = option(4, "sweeps of the first iterations")
    max_sweeps: int = option(2048, "most sweeps an iteration")
    growth: float = option(0.5, "sweeps of an iteration, as a fraction of those averaged so far")
    drift: float = option(2.0, "error of the quadratic that carries averages, for a step of 1 sd")
    inner: int = option(5, "M-steps per E-step")
    radius: float = option(0.5, "first radius of the trust region")
    longest: float = option(1.0, "its largest radius")
    most_missing: float = option(
        0.95, "largest fraction of missing information that a step believes"
    )
    likelihood_first: int = option(0, "first iterations, in which only parameters of p_cf move")
    warm: int = option(16, "iterations before ARD is at full strength")
    warm_precision: float = option(1.0, "bound on ARD's precisions in those iterations")

    @property
    def straight(self) -> bool:
        """Newton's quadratic is one in natural parameters."""
        return True

    def start_sweeps(self) -> int:
        """Sweeps of each chain in the first iteration."""
        return self.sweeps

    def grow(self, effort: np.ndarray) -> int:
        """Sweeps in proportion to what the averages of the median coordinate are worth, within bounds."""
        return int(np.clip(np.ceil(self.growth * np.median(effort)), self.sweeps, self.max_sweeps))

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
        """One Newton step inside the trust region, from estimates averaged over iterations.

        Arguments as :class:`Schedule` names them.
        """
        estimates, effort = averaged(memory, estimates, sweeps, self.most_missing, self.drift)
        h = usable_information(estimates, self.most_missing, 1e-2)
        cap = jnp.where(t < self.warm, self.warm_precision, jnp.inf)
        gradient, held, _ = prior_terms(program, u, x, conditions, cap)
        gradient = estimates.score + gradient
        distance, error, gain = distance_to_optimum(
            h, without_negative_part(held), gradient, estimates.noise
        )
        if program.ard:
            distance = jnp.where(t < self.warm, jnp.maximum(distance, 1.0), distance)

        # How the last step went: the ratio of the slopes along it at its end and at its start.
        slope = gradient @ memory.step
        slope_error = jnp.sqrt(memory.step @ estimates.noise @ memory.step)
        ratio = slope / jnp.where(memory.slope > 0, memory.slope, 1.0)
        tried = (memory.slope > 0) & (t != self.warm)
        rejected = tried & (slope + 2.0 * slope_error < -0.5 * memory.slope)
        radius = (
            jnp.where(tried & (ratio > 0.3), 2.0, jnp.where(tried & (ratio < -0.3), 0.5, 1.0))
            * memory.radius
        )
        radius = jnp.where(t == self.warm, self.radius, jnp.clip(radius, 1e-3, self.longest))

        step = self._m_steps(program, u, h, estimates.score, x, conditions, cap)
        # A width that is far off would first make p_c answer for it, and that takes long to undo.
        fine = estimates.of_likelihood
        block = fine[:, None] * (h + without_negative_part(held)) * fine + jnp.diag(1.0 - fine)
        alone = (t < self.likelihood_first) & jnp.any(fine > 0)
        step = jnp.where(alone, solve_positive(block, fine * gradient), step)
        step = within(step, estimates, len(x), radius)
        slope = jnp.maximum(gradient @ step, 0.0)
        forward = Memory(radius, u, step, slope, estimates, effort, memory.trial)

        shorter = jnp.clip(1.0 / (1.0 - jnp.minimum(ratio, 0.0)), 0.1, 0.5)
        backward = memory._replace(
            radius=0.5 * memory.radius, step=shorter * memory.step, slope=shorter * memory.slope
        )
        kept: Memory = jax.tree.map(partial(jnp.where, rejected), backward, forward)
        if program.ard:
            settled = ~rejected & (t >= self.warm) & (jnp.max(distance) < 0.5)
            settled = settled & (jnp.max(error) < 0.3)
            trial, shift = prune(
                program, u, memory.trial, h + without_negative_part(held), estimates.score
            )
            moved = settled & jnp.any(shift != 0.0)
            kept = kept._replace(
                step=jnp.where(moved, shift, kept.step),
                slope=jnp.where(moved, 0.0, kept.slope),
                trial=jax.tree.map(partial(jnp.where, settled), trial, memory.trial),
            )
            distance = jnp.where(moved, jnp.maximum(distance, 1.0), distance)
        return Step(kept.u + kept.step, kept, rejected, distance, error, gain, estimates)

    def _m_steps(
        self,
        program: Program,
        u: Array,
        h: Array,
        score: Array,
        x: Array,
        conditions: dict[str, Array],
        cap: Array,
    ) -> Array:
        """Maximum of the quadratic model of the likelihood plus the log prior, relative to ``u``."""
        linear = score + h @ u

        def m_step(v: Array, _: None) -> tuple[Array, None]:
            gradient, held, _exact = prior_terms(program, v, x, conditions, cap)
            held = without_negative_part(held)
            return v + solve_positive(h + held, linear - h @ v + gradient), None

        target, _ = jax.lax.scan(m_step, u, None, length=self.inner)
        return target - u


def without_negative_part(curvature: Array) -> Array:
    """A prior's curvature without its negative part, so that steps always ascend."""
    values, vectors = eigh(curvature)
    return (vectors * jnp.maximum(values, 0.0)) @ vectors.T
