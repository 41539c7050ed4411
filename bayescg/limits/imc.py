"""Inverse Monte Carlo (IMC) as a limiting case: REM's Newton step on bins."""

from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from bayescg.infer.match_run import Matching, MatchOptions
from bayescg.infer.options import options_for
from bayescg.infer.updates import Newton
from bayescg.options import option
from bayescg.system import System

__all__ = ["IMCOptions", "imc"]


@dataclass(frozen=True)
class IMCOptions(MatchOptions):
    """Options of IMC."""

    regularise: Literal["noise", "none"] = option(
        "noise", "leave alone what the noise hides, or take the whole step (may fail)"
    )


def imc(system: System, data: xr.Dataset, **options: Any) -> Matching:
    """IMC: the full matrix of cross-correlations of all bins of all interactions, one Newton step a time.

    :param system: what is fitted.
    :param data: fine configurations, or target distributions (:mod:`bayescg.io.targets`).
    :param options: those of :class:`IMCOptions` that are not at their defaults.
    :raises ValueError: for an unknown option, or (when it runs) potentials that are no tables, and a
        singular matrix under ``regularise=none``.
    """
    chosen = options_for(system, "imc", IMCOptions(), options)
    return Matching(system, data, chosen, "imc", lambda p: Newton(chosen.regularise))
