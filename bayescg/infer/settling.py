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
from typing import NamedTuple

import numpy as np

from bayescg.infer.curvature import Seen
from bayescg.observables.blocking import blocked_error

__all__ = ["Newton", "NewtonStep"]

DAMPING = 1e-3  # of a parameter's own curvature, added to it: samples know it no better
SMALL = 1e-24  # of a curvature, below which a parameter matters to nothing


class NewtonStep(NamedTuple):
    """One step, and what is known of where it leads."""

    change: np.ndarray  # (u,)
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

    def step(
        self,
        slope: np.ndarray,
        seen: Seen,
        information: np.ndarray,
        model: np.ndarray,
        weight: np.ndarray,
        chain: np.ndarray,
        reference: np.ndarray,
    ) -> NewtonStep:
        """One step down.

        :param slope: of the divergence, ``(u,)``.
        :param information: Cov[s], ``(u, u)``.
        :param model: features of the model's samples, ``(sample, feature)``, with their weights and chains.
        :param reference: those of the data's frames, in the order of time.
        """
        own = np.sqrt(np.maximum(np.diag(seen.curvature), 0.0))
        alive = own**2 > SMALL
        scale = np.where(alive, 1.0 / np.where(alive, own, 1.0), 0.0)
        whole = scale[:, None] * seen.curvature * scale + np.diag(np.where(alive, DAMPING, 1.0))
        inverse = scale[:, None] * np.linalg.inv(whole) * scale
        change = -inverse @ slope / self.unit
        reach = float(np.sqrt(max(change @ information @ change, 0.0)))
        cut = min(1.0, self.longest / reach) if reach > 0.0 else 1.0
        answer = inverse @ seen.by_feature  # of u to a change of the features' mean
        off = weight[:, None] * ((model - weight @ model) @ answer.T)
        chains = int(chain.max()) + 1
        sums = np.stack([np.bincount(chain, o, chains) for o in off.T])  # (u, chain)
        by_model = np.sqrt(np.sum(sums**2, 1) * chains / max(chains - 1, 1))
        by_data = blocked_error(reference @ answer.T)
        most = self.tolerance * by_data
        settled = cut == 1.0 and np.all((np.abs(change) <= most) & (by_model <= most))
        return NewtonStep(cut * change, by_model, by_data, bool(settled))
