"""Divergences between a model and data, estimated by critics from samples of both, and their slopes.

Each is a maximum over functions of configurations (ARCG paper, Eq. 10); the slope of the divergence by the
model's parameters is that of the average of the best one over the model, held as it is (Eq. 15, Appendix A).
"""

from bayescg.divergences.base import Divergence, Judge, Judgement
from bayescg.divergences.classification import (
    Classified,
    FDivergence,
    bhattacharyya,
    hellinger,
    jensen_shannon,
    relative_entropy,
    squared,
)
from bayescg.divergences.kernels import KernelDivergence, energy_distance, mmd
from bayescg.divergences.penalised import Penalised, sobolev, wasserstein

#: Every divergence by its name.
DIVERGENCES: dict[str, Divergence] = {
    d.name: d
    for d in (
        relative_entropy,
        hellinger,
        bhattacharyya,
        squared,
        jensen_shannon,
        mmd,
        energy_distance,
        wasserstein,
        sobolev,
    )
}

__all__ = [
    "DIVERGENCES",
    "Classified",
    "Divergence",
    "FDivergence",
    "Judge",
    "Judgement",
    "KernelDivergence",
    "Penalised",
    "bhattacharyya",
    "energy_distance",
    "hellinger",
    "jensen_shannon",
    "mmd",
    "relative_entropy",
    "sobolev",
    "squared",
    "wasserstein",
]
