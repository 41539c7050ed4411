r"""Newton's steps on the samples of many iterations, and when a search has settled.

A step is :math:`-H^{-1}` times the slope, with the curvature that a critic sees (:mod:`bayescg.infer.curvature`), cut
to a length in the metric of the model's own information. The slope is one of averages, over the model's samples and
over the data's frames, so that the parameters have an error from either,

.. math:: \delta u = H^{-1}\,B\,(\delta\langle f\rangle_{mod} - \delta\langle f\rangle_{ref}),
          \qquad B = \operatorname{Cov}[s, f]\,(\operatorname{Cov}[f] + \rho)^{-1} .

More simulation makes only the first one less. A search has settled when that, and its last step, are small beside the
second, which is the standard error of what it finds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bayescg.infer.curvature import held_out, seen
from bayescg.infer.steps import View
from bayescg.observables.blocking import blocked_error

__all__ = ["Newton", "Settling"]

DAMPING = 1e-3  # of a parameter's own curvature, added to it: samples know it no better
SMALL = 1e-24  # of a curvature, below which a parameter matters to nothing


class Settling(NamedTuple):
    """Where a search is, and what is known of that."""

    u: np.ndarray  # (u,)
    change: np.ndarray  # (u,), the last step
    by_model: np.ndarray  # (u,), standard errors of the optimum from the model's samples
    by_data: np.ndarray  # (u,), and from the data's frames
    settled: bool


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
        return Settling(u, np.zeros_like(u), none, none, False)

    def advance(self, state: Settling, slope: np.ndarray, view: View) -> Settling:
        """One step down the slope of the divergence, ``(u,)``."""
        weight, features = view.samples.model_weight, view.samples.model
        known = seen(view.scores, features, view.ridge, weight)
        chains = int(view.chain.max()) + 1
        curvature = held_out(view.scores, features, view.ridge, weight, view.chain % 2 == 0)
        own = np.sqrt(np.maximum(np.diag(curvature), 0.0))
        alive = own**2 > SMALL
        scale = np.where(alive, 1.0 / np.where(alive, own, 1.0), 0.0)
        whole = scale[:, None] * curvature * scale + np.diag(np.where(alive, DAMPING, 1.0))
        inverse = scale[:, None] * np.linalg.inv(whole) * scale
        change = -inverse @ slope / self.unit
        # The change of what a configuration of the model says, in standard deviations.
        said = (view.scores - weight @ view.scores) @ change
        reach = float(np.sqrt(weight @ said**2))
        cut = min(1.0, self.longest / reach) if reach > 0.0 else 1.0
        answer = inverse @ known.by_feature  # of u to a change of the features' mean
        off = weight[:, None] * ((features - weight @ features) @ answer.T)
        sums = np.stack([np.bincount(view.chain, o, chains) for o in off.T])  # (u, chain)
        by_model = np.sqrt(np.sum(sums**2, 1) * chains / max(chains - 1, 1))
        by_data = blocked_error(view.samples.reference @ answer.T)
        most = self.tolerance * by_data
        settled = cut == 1.0 and np.all((np.abs(change) <= most) & (by_model <= most))
        return Settling(
            state.u + cut * change, cut * change, by_model, by_data, bool(settled and view.quiet)
        )

    def done(self, state: Settling) -> bool:
        return state.settled

    def found(self, state: Settling) -> tuple[np.ndarray, float]:
        error = np.where(state.by_data > 0.0, state.by_data, np.inf)
        return state.u, float(np.max(np.abs(state.change) / error))

    def shown(self, state: Settling) -> dict[str, Any]:
        return {"error_model": state.by_model, "error_data": state.by_data}
