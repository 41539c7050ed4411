r"""Newton's steps of a search with a linear critic, and when it has settled.

Two of three iterations simulate at other parameters, to both sides of the optimum as far as it is known: along the axis
of the information of which the critic's share is least certain, as far away as changes little of what it sees
(:mod:`bayescg.infer.response`). The optimum is that of all iterations together. It has errors by simulation and by the
data's frames, and a search has settled when the first are small beside the second, the standard errors of what it
finds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bayescg.infer.response import Answer, Visit, visited
from bayescg.infer.steps import View

__all__ = ["Excursions", "Settling"]

OUT = 1.25  # widths of the design that a visit is away from the optimum
ROUND_OFF = 1e-12  # of a feature, relative to its mean, that does not vary


class Settling(NamedTuple):
    """Where a search is, and what is known of that."""

    u: np.ndarray  # (u,), where the next samples are taken
    optimum: np.ndarray  # (u,), as it is known
    change: np.ndarray  # (u,), what the next one would be changed by if its length were not held
    by_model: (
        np.ndarray
    )  # (u,), its standard errors from the model's samples; inf: the critic sees nothing
    by_data: np.ndarray  # (u,), and from the data's frames
    settled: bool
    away: float = 0.0  # from the optimum, in widths of the design, it is to simulate
    excursion: np.ndarray | None = None  # (u,), of the last visit that left the optimum
    visits: tuple[Visit, ...] = ()
    design: np.ndarray | None = None  # (u, axis)
    scale: np.ndarray | None = None  # (feature,), what features are multiplied by


@dataclass(frozen=True)
class Excursions:
    """Rule of the steps.

    :param longest: change of the optimum, in standard deviations of what a configuration of the model says.
    :param tolerance: of the model's errors, and of what the optimum would still change by, in standard errors by the
        data.
    :param spread: of the parameters that iterations simulate at: change of what a critic sees, in standard deviations.
    :param reach: of the same: change of any parameter, at most; of a positive one, the part of it.
    :param least: iterations, before which it does not end.
    """

    longest: float = 3.0
    tolerance: float = 0.5
    spread: float = 0.5
    reach: float = 0.12
    least: int = 10

    def start(self, u: np.ndarray) -> Settling:
        """Nothing is known, and the first samples are taken at ``u``."""
        none = np.full_like(u, np.inf)
        return Settling(u, u, none, none, none, False)

    def advance(
        self, state: Settling, slope: np.ndarray, view: View
    ) -> tuple[Settling, dict[str, Any]]:
        """The optimum with one iteration more, and where to go next.

        :param slope: the critic's own, which is not used: it is of this iteration alone.
        """
        scale = _scale(view) if state.scale is None else state.scale
        visit = visited(state.u, view, scale)
        if visit is None:
            return state._replace(u=state.optimum, away=0.0, settled=False), _shown(state, np.nan)
        visits = (*state.visits, visit)
        reference = view.samples.reference * scale
        known = Answer(visits, state.optimum, state.design, reference, view.ridge, self.spread)
        optimum, change = known.optimum(self.longest)
        by_model, by_data = known.errors(optimum)
        most = self.tolerance * by_data
        small = np.all((np.abs(change) <= most) & (by_model <= most))
        enough = len(visits) >= self.least and not known.unseen.any()
        by_model, by_data = (np.where(known.unseen, np.inf, e) for e in (by_model, by_data))
        new = state._replace(
            u=optimum,
            optimum=optimum,
            change=change,
            by_model=by_model,
            by_data=by_data,
            settled=bool(enough and small and view.quiet),
            away=0.0,
            visits=visits,
            design=known.axes(self.reach),
            scale=scale,
        )
        shown = _shown(new, float(known.share[0]) if len(known.share) else np.nan)
        # Under noise the features hardly answer, and the critic is to be judged where the model is.
        left = _gone(new, known.least_certain) if view.quiet and len(known.share) else new
        return left, {**shown, "away": state.away}

    def done(self, state: Settling) -> bool:
        """Whether it has settled."""
        return state.settled

    def found(self, state: Settling) -> tuple[np.ndarray, float]:
        """The optimum, and what it would still change by in standard errors by the data."""
        error = np.where(state.by_data > 0.0, state.by_data, np.inf)
        return state.optimum, float(np.max(np.abs(state.change) / error))

    def best(self, state: Settling, u: np.ndarray) -> np.ndarray:
        """The optimum as it is known, around which the last visits were."""
        return state.optimum


def _shown(state: Settling, least: float) -> dict[str, Any]:
    """What a trace keeps."""
    return {
        "optimum": state.optimum,
        "error_model": state.by_model,
        "error_data": state.by_data,
        "least_seen": least,
        "away": state.away,
    }


def _gone(state: Settling, axis: int) -> Settling:
    """With the next visit away along an axis, on the other side of the optimum, or at the optimum itself, in turn.

    Opposite ones have the same of what is even, and the difference what is odd; along one axis at a time there is
    nothing else that could bend.
    """
    assert state.design is not None
    turn = (len(state.visits) - 1) % 3
    if turn == 0:
        excursion = OUT * state.design[:, axis]
        return state._replace(u=state.optimum + excursion, excursion=excursion, away=OUT)
    if turn == 1 and state.excursion is not None:
        return state._replace(u=state.optimum - state.excursion, away=OUT)
    return state._replace(u=state.optimum, away=0.0)


def _scale(view: View) -> np.ndarray:
    """One over the features' standard deviations, model and data together; 0 for what does not vary."""
    parts = (view.samples.model, view.samples.reference)
    sd = np.sqrt(0.5 * sum(p.var(0) for p in parts))
    alive = sd > ROUND_OFF * np.maximum(*(np.abs(p.mean(0)) for p in parts))
    out: np.ndarray = np.where(alive, 1.0 / np.where(alive, sd, 1.0), 0.0)
    return out
