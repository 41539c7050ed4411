"""Conditions of a molecular-dynamics run with OpenMM, and what every run of it needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["BAROSTAT_EVERY", "NM", "Run", "box_of", "cubic", "load_openmm", "strides"]

NM = 0.1  # nanometres in an angstrom
BAROSTAT_EVERY = 25  # steps


@dataclass(frozen=True)
class Run:
    """Conditions of one simulation; the defaults are those of water (PCG paper, Appendix B.1)."""

    molecules: int = 100
    temperature: float = 300.0  # K
    box: float = 14.5459665  # angstrom, edge of the cube (Appendix B.1.1)
    timestep: float = 2.0  # fs
    cutoff: float = 7.0  # angstrom, of Lennard-Jones and of PME's direct space
    thermostat: Literal["langevin", "nose-hoover"] = "langevin"
    collision_rate: float = 1.0  # 1/ps
    pressure: float = 1.0  # bar, of the NPT stage
    npt: float = 0.0  # ps at constant pressure that set the box, the first fifth of it left out
    equilibration: float = 200.0  # ps before the production at constant volume
    length: float = 5100.0  # ps of production
    interval: float = 0.1  # ps between stored frames

    def __post_init__(self) -> None:
        for name in (
            "molecules",
            "temperature",
            "box",
            "timestep",
            "cutoff",
            "collision_rate",
            "pressure",
            "interval",
        ):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.thermostat not in ("langevin", "nose-hoover"):
            raise ValueError(
                f"the thermostat must be langevin or nose-hoover, got {self.thermostat!r}."
            )
        if not self.npt >= 0.0 or not self.equilibration >= 0.0:
            raise ValueError("npt and equilibration are times in ps and must not be negative.")
        if not self.cutoff < 0.5 * self.box:
            raise ValueError(
                f"the cut-off {self.cutoff:g} angstrom must be below half the box, {0.5 * self.box:g}."
            )
        if not self.length >= self.interval >= self.timestep * 1e-3:
            raise ValueError(
                "the interval between frames must lie between the time step and the length of the run, "
                f"got {self.interval:g} ps."
            )


def load_openmm() -> Any:
    """OpenMM, which is needed to make reference data and for nothing else.

    :raises ModuleNotFoundError: if it is not installed, with the way to install it.
    """
    try:
        import openmm
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "this needs OpenMM: pip install 'bayescg[reference]' (fits and predictions do not)."
        ) from None
    return openmm


def strides(integrator: Any, run: Run, length: float, interval: float) -> Iterator[float]:
    """Advance by ``interval`` ps until ``length`` ps are done; yields the fraction done."""
    total = round(length * 1e3 / run.timestep)
    stride = max(1, min(round(interval * 1e3 / run.timestep), total))
    for i in range(total // stride):
        integrator.step(stride)
        yield (i + 1) * stride / total


def box_of(context: Any) -> float:
    """Edge of the cube, angstrom."""
    return float(context.getState().getPeriodicBoxVectors(asNumpy=True)._value[0, 0]) / NM


def cubic(edge: float) -> np.ndarray:
    """Box vectors of a cube of ``edge`` angstrom, nanometres, ``(3, 3)``."""
    return edge * NM * np.eye(3)
