"""Direct Boltzmann inversion (DBI): the zero-density limit, one shot."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from bayescg.infer.match_run import Matching, TargetOptions
from bayescg.infer.options import options_for
from bayescg.system import System

__all__ = ["DBIOptions", "dbi"]


@dataclass(frozen=True)
class DBIOptions(TargetOptions):
    """Options of DBI, which simulates nothing."""


def dbi(system: System, data: xr.Dataset, **options: Any) -> Matching:
    """DBI: every distribution's potential of mean force, with the Jacobians r^2 and sin(theta).

    :param system: what is fitted.
    :param data: fine configurations, or target distributions (:mod:`bayescg.io.targets`).
    :param options: those of :class:`DBIOptions` that are not at their defaults.
    :raises ValueError: for an unknown option, or (when it runs) potentials that are no tables.
    """
    return Matching(system, data, options_for(system, "dbi", DBIOptions(), options), "dbi", None)
