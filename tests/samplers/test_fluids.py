"""Langevin dynamics and HMC of fluids: each other, and physical validation.

The last is Merz and Shirts, PLoS ONE 13, e0202764 (2018): kinetic energies must follow their gamma
distribution, and the energies at two temperatures differ by the ratio of their Boltzmann factors.
"""

from typing import Any

import numpy as np
import pytest

from tests.samplers.fluids import FLUID_SITES, Series, case, of_chains, series
from tests.statistical import FALSE_FAILURES, check_z


def apart(u: np.ndarray) -> int:
    """Frames from one to the next that is independent of it (statistical inefficiency, rounded up)."""
    gap = u - u.mean()
    g = 1.0
    for lag in range(1, len(u) // 2):
        c = np.mean(gap[:-lag] * gap[lag:]) / np.mean(gap**2)
        if c < 0.02:
            break
        g += 2.0 * c
    return int(np.ceil(g))


def simulated(series: Series, temperature: float, sites: int) -> Any:
    """Independent samples, in the form that physical_validation reads; Boltzmann's constant is 1."""
    data = pytest.importorskip("physical_validation").data
    stride = apart(series.u)
    return data.SimulationData(
        units=data.UnitData(1.0, *[1.0] * 6),
        ensemble=data.EnsembleData("NVT", natoms=sites, volume=1.0, temperature=temperature),
        system=data.SystemData(
            natoms=sites, nconstraints=0, ndof_reduction_tra=0, ndof_reduction_rot=0
        ),
        observables=data.ObservableData(
            kinetic_energy=series.kinetic[::stride].ravel(),
            potential_energy=series.u[::stride].ravel(),
        ),
    )


def kinetic_deviation(data: Any) -> list[float]:
    """Of the temperatures that mean and width tell, in standard errors."""
    validation = pytest.importorskip("physical_validation")
    return list(
        validation.kinetic_energy.distribution(
            data, strict=False, verbosity=0, bootstrap_seed=1, data_is_uncorrelated=True
        )
    )


def ensemble_deviation(one: Any, two: Any) -> list[float]:
    """Of the log ratio of two energy distributions, in standard errors of its slope."""
    validation = pytest.importorskip("physical_validation")
    return validation.ensemble.check(
        one, two, verbosity=0, bootstrap_seed=1, data_is_uncorrelated=True
    )


def check_physics(name: str, kind: str, hot: float, **settings: int) -> None:
    """Kinetic energies at both temperatures, and the ensemble between them."""
    validation = pytest.importorskip("physical_validation")
    data = []
    for temperature in (1.0, hot):
        energies = series(name, kind, temperature, **settings)
        one = simulated(energies, temperature, case(name).sites)
        check_z(kinetic_deviation(one), 0.0, 1.0)
        p = validation.kinetic_energy.distribution(
            one, strict=True, verbosity=0, data_is_uncorrelated=True
        )
        assert p > FALSE_FAILURES
        data.append(one)
    check_z(ensemble_deviation(*data), 0.0, 1.0)


@pytest.mark.parametrize("kind", ["hmc", "langevin"])
@pytest.mark.slow
def test_physical_validation_of_a_fluid(kind: str) -> None:
    check_physics("fluid", kind, 1.4)


def test_physical_validation_would_notice() -> None:
    """A seventh off in the hot temperature, and the momentum of the whole taken out."""
    cold = series("fluid", "hmc", 1.0)
    right = simulated(cold, 1.0, FLUID_SITES)
    hot = simulated(series("fluid", "hmc", 1.4), 1.6, FLUID_SITES)
    assert ensemble_deviation(right, hot)[0] > 5.0
    still = cold._replace(kinetic=cold.kinetic * (1.0 - 1.0 / FLUID_SITES))
    assert abs(kinetic_deviation(simulated(still, 1.0, FLUID_SITES))[0]) > 5.0


def test_langevin_and_hmc_have_one_mean_energy() -> None:
    (u, u_se), (w, w_se) = (of_chains(series("fluid", k, 1.0).u) for k in ("hmc", "langevin"))
    assert max(u_se, w_se) < 0.12
    check_z(u, w, np.hypot(u_se, w_se), 2 * 63)


@pytest.mark.by_hand
def test_langevin_and_hmc_have_one_mean_energy_to_a_hundredth_of_its_width() -> None:
    """And velocities the right variance: 0.02 kT of -59.5, three parts in ten thousand."""
    settings = {"chains": 256, "warm": 40, "frames": 300, "thin": 5}
    ends = {k: series("fluid", k, 1.0, **settings) for k in ("hmc", "langevin")}
    (u, u_se), (w, w_se) = (of_chains(e.u) for e in ends.values())
    check_z(u, w, np.hypot(u_se, w_se), 2 * 255)
    for one in ends.values():
        mean, error = of_chains(one.kinetic)
        check_z(mean, 1.5 * FLUID_SITES, error, 255)


@pytest.mark.by_hand
@pytest.mark.parametrize("kind", ["hmc", "langevin"])
def test_physical_validation_of_water(kind: str) -> None:
    """A fitted model with its three-body term, at 300 and 345 K."""
    check_physics("water", kind, 1.15, chains=32, warm=30, frames=40, thin=8)


def test_step_sizes_adapt_to_the_target() -> None:
    """Of acceptance, at either temperature."""
    for temperature in (1.0, 1.4):
        accepted = series("fluid", "hmc", temperature).accepted
        assert np.mean(accepted) == pytest.approx(0.9, abs=0.03)
