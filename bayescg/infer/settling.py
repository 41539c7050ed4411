r"""Newton's steps on the samples of many iterations, and when a search has settled.

A step is :math:`-(H + \lambda I)^{-1}` times the slope, with the curvature H that a critic sees and the model's own
information I (:mod:`bayescg.infer.curvature`); :math:`\lambda` holds its length in the metric of I, at the cost of
directions that the critic hardly sees, in which a step would be long and mostly noise. Steps that turn back become
shorter, those that go on longer: what lies a short way off has most of its samples in common.

The slope is one of averages, over the model's samples and over the data's frames, so that the parameters have an
error from either,

.. math:: \delta u = H^{-1}\,B\,(\delta\langle f\rangle_{mod} - \delta\langle f\rangle_{ref}),
          \qquad B = \operatorname{Cov}[s, f]\,(\operatorname{Cov}[f] + \rho)^{-1} .

More simulation makes only the first one less. A search has settled when that, and its last step, are small beside the
second, which is the standard error of what it finds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bayescg.infer.curvature import HeldOut, guess, held_out
from bayescg.infer.steps import View
from bayescg.observables.blocking import blocked_error

__all__ = ["Newton", "Settling"]

HALVINGS = 60  # of the interval that lambda lies in
ON, BACK = (
    1.25,
    0.7,
)  # factors of the length of a step after one that goes on, and one that turns back
SHORTEST = 0.05  # of the longest


class Settling(NamedTuple):
    """Where a search is, and what is known of that."""

    u: np.ndarray  # (u,)
    change: np.ndarray  # (u,), the last step
    by_model: (
        np.ndarray
    )  # (u,), standard errors of the optimum from the model's samples; inf: the critic sees nothing
    by_data: np.ndarray  # (u,), and from the data's frames
    settled: bool
    radius: float  # of the next step


@dataclass(frozen=True)
class Newton:
    """Rule of the steps.

    :param longest: length of a step, in standard deviations of what a configuration of the model says.
    :param tolerance: of the model's errors, and of a step, in standard errors by the data.
    :param reuse: part of the iterations so far whose samples are used again, the latest.
    :param unit: curvature of the divergence at its minimum, relative entropy's being 1.
    """

    longest: float = 0.5
    tolerance: float = 0.5
    reuse: float = 0.5
    unit: float = 1.0

    def start(self, u: np.ndarray) -> Settling:
        none = np.full_like(u, np.inf)
        return Settling(u, np.zeros_like(u), none, none, False, self.longest)

    def advance(
        self, state: Settling, slope: np.ndarray, view: View
    ) -> tuple[Settling, dict[str, Any]]:
        """One step down the slope of the divergence, ``(u,)``."""
        weight, features = view.samples.model_weight, view.samples.model
        chains = int(view.chain.max()) + 1
        known = held_out(view.scores, features, view.ridge, weight, view.chain % 2 == 0)
        change, whole = _within(slope / self.unit, known, state.radius)
        turn = (known.root.T @ change) @ (known.root.T @ state.change)
        radius = state.radius * (ON if turn > 0.0 else BACK if turn < 0.0 else 1.0)
        radius = float(np.clip(radius, SHORTEST * self.longest, self.longest))
        # Of u to a change of the features' mean.
        answer = known.solve() @ guess(view.scores, features, view.ridge, weight)
        off = weight[:, None] * ((features - weight @ features) @ answer.T)
        sums = np.stack([np.bincount(view.chain, o, chains) for o in off.T])  # (u, chain)
        by_model = np.sqrt(np.sum(sums**2, 1) * chains / max(chains - 1, 1))
        by_data = blocked_error(view.samples.reference @ answer.T)
        most = self.tolerance * by_data
        small = np.all((np.abs(change) <= most) & (by_model <= most))
        settled = whole and view.quiet and bool(small) and not known.unseen.any()
        by_model, by_data = (np.where(known.unseen, np.inf, e) for e in (by_model, by_data))
        new = Settling(state.u + change, change, by_model, by_data, settled, radius)
        return new, {"error_model": by_model, "error_data": by_data, "radius": state.radius}

    def done(self, state: Settling) -> bool:
        return state.settled

    def found(self, state: Settling) -> tuple[np.ndarray, float]:
        error = np.where(state.by_data > 0.0, state.by_data, np.inf)
        return state.u, float(np.max(np.abs(state.change) / error))


def _within(slope: np.ndarray, known: HeldOut, longest: float) -> tuple[np.ndarray, bool]:
    """The step of at most that length, and whether it is Newton's whole one."""
    along = known.seen * (known.inverse @ slope)

    def length(damping: float) -> float:
        return float(np.linalg.norm(along / (known.share + damping)))

    low, high = 0.0, 0.0
    if length(0.0) > longest:
        high = float(np.linalg.norm(along)) / longest  # enough by itself
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if length(middle) > longest else (low, middle)
    return -known.solve(high) @ slope, high == 0.0
