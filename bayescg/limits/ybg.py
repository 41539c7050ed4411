r"""The generalised Yvon-Born-Green equations as a limiting case: force matching without forces."""

from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from bayescg.infer.linear_run import Linear, LinearOptions
from bayescg.infer.options import options_for
from bayescg.options import option
from bayescg.system import System

__all__ = ["YBGOptions", "ybg"]


@dataclass(frozen=True)
class YBGOptions(LinearOptions):
    """Options of the generalised Yvon-Born-Green method."""

    errors: Literal["sandwich", "bagged"] = option(
        "sandwich",
        "what `posterior` holds draws of: the spread of the equations over blocks of frames, or bagged",
    )


def ybg(system: System, data: xr.Dataset, **options: Any) -> Linear:
    r"""Generalised Yvon-Born-Green: the normal equations of force matching from structure alone.

    In the canonical ensemble, by integration by parts,

    .. math:: \langle G_k \cdot F \rangle = -kT \langle \nabla\cdot G_k \rangle = kT \langle \nabla^2 f_k \rangle

    for the forces F of any fine system and :math:`G_k = -\nabla f_k` (J. W. Mullinax and W. G. Noid,
    Phys. Rev. Lett. 103, 198104 (2009)): what force matching would find with infinitely many
    frames. The same equations are those of score matching (A. Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005)), the
    prior flat. Functions need a continuous slope where data are, and the temperature is the data's.

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param options: those of :class:`YBGOptions` that are not at their defaults.
    :raises ValueError: for an unknown option, or (when it runs) functions without a second derivative.
    """
    return Linear(system, data, options_for(system, "ybg", YBGOptions(), options), "ybg", True)
