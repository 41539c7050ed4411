r"""Newton's steps of a search with a linear critic, and when it has settled.

Each iteration simulates at other parameters, around the optimum as far as it is known: along every axis of the
information as far away as changes little of what the critic sees (:mod:`bayescg.infer.response`), which is farthest
where it sees least. The optimum is that of all iterations together. It has errors by simulation and by the data's
frames, and a search has settled when the first are small beside the second, the standard errors of what it finds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bayescg.infer.response import Answer, Visit, visited
from bayescg.infer.steps import View

__all__ = ["Newton", "Settling"]

#: Along an axis, in its widths, with a variance of 1; three, so that visits also tell what bends.
LEVELS = (-(1.5**0.5), 0.0, 1.5**0.5)


class Settling(NamedTuple):
    """Where a search is, and what is known of that."""

    u: np.ndarray  # (u,), where the next samples are taken
    optimum: np.ndarray  # (u,), as it is known
    change: np.ndarray  # (u,), its last
    by_model: (
        np.ndarray
    )  # (u,), its standard errors from the model's samples; inf: the critic sees nothing
    by_data: np.ndarray  # (u,), and from the data's frames
    settled: bool
    away: float = 0.0  # from the optimum, in widths of the design, it is to simulate
    visits: tuple[Visit, ...] = ()
    design: np.ndarray | None = None  # (u, axis)
    scale: np.ndarray | None = None  # (feature,), what features are multiplied by


@dataclass(frozen=True)
class Newton:
    """Rule of the steps.

    :param longest: change of the optimum, in standard deviations of what a configuration of the model says.
    :param tolerance: of the model's errors, and of the last change, in standard errors by the data.
    :param spread: of the parameters that iterations simulate at: change of what a critic sees, in standard deviations.
    :param reach: of the same: change of a configuration with all its sites, at most.
    :param least: iterations, before which it does not end.
    """

    longest: float = 3.0
    tolerance: float = 0.5
    spread: float = 0.5
    reach: float = 6.0
    least: int = 10

    def start(self, u: np.ndarray) -> Settling:
        """Nothing is known, and the first samples are taken at ``u``."""
        none = np.full_like(u, np.inf)
        return Settling(u, u, np.zeros_like(u), none, none, False)

    def advance(
        self, state: Settling, slope: np.ndarray, view: View
    ) -> tuple[Settling, dict[str, Any]]:
        """The optimum with one iteration more, and where to go next.

        :param slope: the critic's own, which is not used: it is of this iteration alone.
        """
        scale = _scale(view) if state.scale is None else state.scale
        visits = (*state.visits, visited(state.u, view, scale))
        known = Answer(
            visits,
            state.optimum,
            state.design,
            view.samples.reference * scale,
            view.ridge,
            self.spread,
        )
        optimum, whole = known.optimum(self.longest)
        change = optimum - state.optimum
        by_model, by_data = known.errors(optimum)
        most = self.tolerance * by_data
        small = np.all((np.abs(change) <= most) & (by_model <= most))
        enough = whole and len(visits) >= self.least and not known.unseen.any()
        by_model, by_data = (np.where(known.unseen, np.inf, e) for e in (by_model, by_data))
        design = known.axes(self.reach)
        excursion = _excursion(len(visits), design.shape[1])
        new = Settling(
            optimum + design @ excursion,
            optimum,
            change,
            by_model,
            by_data,
            bool(enough and small and view.quiet),
            float(np.linalg.norm(excursion)),
            visits,
            design,
            scale,
        )
        least = float(known.share[0])
        shown = {"optimum": optimum, "error_model": by_model, "error_data": by_data}
        return new, {**shown, "least_seen": least, "away": state.away}

    def done(self, state: Settling) -> bool:
        """Whether it has settled."""
        return state.settled

    def found(self, state: Settling) -> tuple[np.ndarray, float]:
        """The optimum, and its last change in standard errors by the data."""
        error = np.where(state.by_data > 0.0, state.by_data, np.inf)
        return state.optimum, float(np.max(np.abs(state.change) / error))


def _excursion(visit: int, axes: int) -> np.ndarray:
    """Where a visit goes, in widths of the design: somewhere, the other side, and the optimum itself, ``(axis,)``.

    Opposite ones have the same of what is even, and the difference what is odd.
    """
    pair, turn = divmod(visit, 3)
    somewhere = np.random.default_rng(pair).choice(LEVELS, axes)
    return (somewhere, -somewhere, np.zeros(axes))[turn]


def _scale(view: View) -> np.ndarray:
    """One over the features' standard deviations, model and data together; 0 for what does not vary."""
    sd = np.sqrt(0.5 * (view.samples.model.var(0) + view.samples.reference.var(0)))
    out: np.ndarray = np.where(sd > 0.0, 1.0 / np.where(sd > 0.0, sd, 1.0), 0.0)
    return out
