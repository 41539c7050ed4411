"""Constants against CODATA and against numbers that everyone knows."""

import math

import pytest
from scipy import constants

from bayescg.units import (
    ANGSTROM_PER_FS,
    AVOGADRO,
    BAR,
    BOLTZMANN,
    KCAL,
    beta_of,
    mass_density,
    thermal_speed,
)

JOULE_PER_KCAL = 1e3 * constants.calorie
WATER = 15.999 + 2 * 1.008  # g/mol


def test_constants_against_codata() -> None:
    assert pytest.approx(JOULE_PER_KCAL * 1e-3, rel=1e-12) == KCAL
    assert pytest.approx(constants.R / JOULE_PER_KCAL, rel=1e-9) == BOLTZMANN
    assert pytest.approx(constants.N_A * 1e-24, rel=1e-12) == AVOGADRO
    pressure = constants.bar * constants.angstrom**3 * constants.N_A / JOULE_PER_KCAL
    assert pytest.approx(pressure, rel=1e-8) == BAR
    speed = math.sqrt(JOULE_PER_KCAL / constants.gram)  # m/s
    per_fs = speed * constants.femto / constants.angstrom
    assert pytest.approx(per_fs, rel=1e-12) == ANGSTROM_PER_FS


def test_a_bar_is_not_an_atmosphere() -> None:
    """LAMMPS's "real" units count atmospheres: 68568.415 of them make a kcal/mol/angstrom^3."""
    assert pytest.approx(68568.415 * constants.atm / constants.bar, rel=1e-6) == 1.0 / BAR


def test_room_temperature() -> None:
    """0.596 kcal/mol, 25.85 meV."""
    assert 1.0 / beta_of(300.0) == pytest.approx(0.596161, rel=1e-6)
    assert KCAL / beta_of(300.0) * 1e3 / constants.N_A / constants.e * 1e3 == pytest.approx(
        25.852, rel=1e-4
    )


def test_thermal_speed_of_nitrogen() -> None:
    """Root of the mean square speed at 300 K, in three dimensions: 517 m/s."""
    one = thermal_speed(300.0, 28.0134) * constants.angstrom / constants.femto
    assert math.sqrt(3.0) * one == pytest.approx(516.8, abs=0.1)


def test_mass_density_of_water() -> None:
    """A molecule of liquid water takes 30 cubic angstroms; 100 in the box of Appendix B.1.1."""
    assert mass_density(WATER, 29.915) == pytest.approx(1.0, rel=1e-4)
    assert mass_density(100 * WATER, 14.5459665**3) == pytest.approx(0.972, abs=1e-3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_is_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive, in K, got"):
        beta_of(temperature)
