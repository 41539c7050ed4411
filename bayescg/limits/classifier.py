r"""Lemke and Peter's update: the classifier's own verdict is added to the potential (ARCG paper, Eq. 31).

As printed Eq. 31 has the sign of the other labels: with 1 for the data's, as in Eq. 19,

.. math:: \log\frac{\eta}{1 - \eta} = \log p_{ref} - \log p_{mod} = -\beta(U_{ref} - U_{mod}) + \text{const.}

(T. Lemke and C. Peter, J. Chem. Theory Comput. 13, 6213 (2017)). What of it the potential can express is
added to it: the least-squares fit of the logit by the sufficient statistics.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayescg.divergences import Judgement, relative_entropy
from bayescg.infer.adversarial import AdversarialEffort
from bayescg.infer.adversarial_options import CriticOptions, DescentOptions
from bayescg.infer.adversarial_run import Adversarial
from bayescg.infer.options import options_for
from bayescg.options import option
from bayescg.system import System

__all__ = ["ClassifierOptions", "classifier", "classifier_step"]

TINY = 1e-9  # of the largest singular value of the statistics; below, a direction is not fitted


@dataclass(frozen=True)
class ClassifierOptions(AdversarialEffort, CriticOptions, DescentOptions):
    """Options of the classifier update."""

    rate: float = option(0.3, "part of the classifier's verdict that is added in a step")


def classifier(system: System, data: xr.Dataset, **options: Any) -> Adversarial:
    """The classifier update: :math:`U \\leftarrow U - \\lambda kT \\log(\\hat\\eta/(1 - \\hat\\eta))`.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`ClassifierOptions` that are not at their defaults.
    :raises ValueError: for an unknown option, and for systems with virtual sites: the classifier sees the sites that
        the data hold, and nothing says what its verdict means for the others.
    """
    if system.pre_map is not None:
        raise ValueError(
            f"{system.name} has virtual sites, which a classifier cannot update; allowed are arcg, mcem, nuts."
        )
    chosen = options_for(system, "classifier", ClassifierOptions(), options)
    judge = relative_entropy.by(chosen.made(), chosen.folds)

    return Adversarial(
        system,
        data,
        chosen,
        "classifier",
        judge,
        lambda program: chosen.rule(program, "plain"),
        classifier_step,
    )


def classifier_step(
    said: Judgement, statistics: np.ndarray, jacobian: np.ndarray, beta: float
) -> np.ndarray:
    """What to go against: minus the change of u that adds the logit to the log-density.

    :param statistics: ``(sample, term)``; ``jacobian``: of the natural parameters, ``(term, u)``.
    """
    assert said.logit is not None
    seen = beta * (statistics - statistics.mean(0)) @ jacobian  # (sample, u)
    size = np.where(seen.std(0) > 0.0, seen.std(0), 1.0)
    step = np.linalg.lstsq(seen / size, said.logit - said.logit.mean(), rcond=TINY)[0]
    return -step / size
