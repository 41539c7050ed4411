"""Iterative Boltzmann inversion (IBI) as a limiting case: bins, and the ideal gas for a response."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from bayescg.infer.match_run import Matching, MatchOptions
from bayescg.infer.options import options_for
from bayescg.infer.updates import IBI
from bayescg.options import option
from bayescg.system import System

__all__ = ["IBIOptions", "ibi"]


@dataclass(frozen=True)
class IBIOptions(MatchOptions):
    """Options of IBI."""

    scale: float = option(1.0, "of every step")
    smooth: int = option(0, "passes of the filter (1, 2, 1)/4 over a step")
    pressure: float | None = option(
        None, "pressure that a ramp brings the model to, bar; none: any"
    )
    pressure_within: float = option(100.0, "how near it has to come, bar")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.scale <= 2.0 or self.smooth < 0 or not self.pressure_within > 0.0:
            raise ValueError(
                "scale must lie between 0 and 2, smooth not be negative, pressure_within be positive."
            )


def ibi(system: System, data: xr.Dataset, **options: Any) -> Matching:
    r"""IBI: :math:`u \leftarrow u + kT\ln(g/g^*)` for every interaction, from potentials as `start` has them.

    IMC's Newton step with the response of an ideal gas, whose counts are Poisson's, to first order.

    :param system: what is fitted.
    :param data: fine configurations, or target distributions (:mod:`bayescg.io.targets`).
    :param options: those of :class:`IBIOptions` that are not at their defaults.
    :raises ValueError: for an unknown option, or (when it runs) potentials that are no tables.
    """
    chosen = options_for(system, "ibi", IBIOptions(), options)
    return Matching(
        system,
        data,
        chosen,
        "ibi",
        lambda p: IBI(
            p.histograms, chosen.scale, chosen.smooth, chosen.pressure, chosen.pressure_within
        ),
    )
