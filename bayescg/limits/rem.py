"""Relative-entropy minimisation (REM) as a limiting case of MC-EM."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import xarray as xr

from bayescg.infer.begin import restricted
from bayescg.infer.match_run import Matching, MatchOptions, Prepared
from bayescg.infer.options import MCEMOptions, options_for
from bayescg.infer.run import MCEM
from bayescg.infer.updates import Gradient, Newton, Update
from bayescg.options import option
from bayescg.system import System

__all__ = ["REMOptions", "rem", "rem_options"]


@dataclass(frozen=True)
class REMOptions(MatchOptions):
    """Options of REM on molecules; on other systems they are those of MC-EM."""

    step: Literal["newton", "gradient"] = option("newton", "Newton's step, or the gradient's")
    rate: float = option(0.5, "of a gradient's step, in Newton steps of each coefficient alone")
    reuse: bool = option(True, "further steps on reweighted samples, as far as they can be trusted")


def rem_options(system: System | None) -> MCEMOptions | REMOptions:
    """The options that REM has on a system, at their defaults: its own where potentials go by type."""
    return REMOptions() if system is None or system.typed else MCEMOptions()


def rem(system: System, data: xr.Dataset, **options: Any) -> MCEM | Matching:
    r"""REM: the same program conditioned on X = R(x), under a flat prior, by the same MC-EM.

    Of molecules all that is left to fit is p_c: the gradient and the information are those of MC-EM
    (a test compares them), and the search is that of the methods which match statistics, so that REM
    also runs on target distributions.

    With a Dirac map nothing is latent; the gradient of Eq. 39 becomes
    :math:`\sum_i \phi(R(x_i)) - N\langle\phi\rangle_{p_c}`, REM's. A coarse-to-fine likelihood with
    parameters (the flip map) is fitted along with it; one without (``fine=majority``, the
    consistent reconstruction of Eq. 7) is not.

    :param system: what is fitted.
    :param data: fine configurations, or target distributions (:mod:`bayescg.io.targets`).
    :param options: of :class:`REMOptions` on molecules, of MC-EM elsewhere.
    :raises ValueError: if the system names no restriction map, or for an unknown option.
    """
    if system.restriction is None:
        raise ValueError(f"{system.name} has no fine-to-coarse map, which rem needs.")
    chosen = options_for(system, "rem", rem_options(system), options)
    if isinstance(chosen, REMOptions):
        return Matching(system, data, chosen, "rem", partial(_update, chosen), "statistics")
    return MCEM(
        system,
        data,
        chosen,
        method="rem",
        fixed=partial(restricted, system, method="rem"),
        flat=True,
        point=True,
    )


def _update(options: REMOptions, ready: Prepared) -> Update:
    if options.step == "gradient":
        return Gradient(options.rate)
    return Newton("noise", ready.natural if options.reuse else None)
