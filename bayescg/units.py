"""Constants and conversions: kcal/mol, angstrom, K, fs, g/mol, e (LAMMPS's "real" units)."""

import math

__all__ = [
    "ANGSTROM_PER_FS",
    "BAR",
    "BOLTZMANN",
    "KCAL",
    "beta_of",
    "mass_density",
    "thermal_speed",
]

BOLTZMANN = 1.987204259e-3  # kcal/mol/K, the molar gas constant
KCAL = 4.184  # kJ in a kcal
BAR = 1.43932619e-5  # kcal/mol/angstrom^3 in a bar
AVOGADRO = 0.602214076  # 1e24 per mol: g/mol/angstrom^3 to g/cm^3 is its inverse
ANGSTROM_PER_FS = math.sqrt(KCAL * 1e-4)  # speed of sqrt(kcal/g), in angstrom/fs


def beta_of(temperature: float) -> float:
    """Inverse temperature in mol/kcal.

    :param temperature: K.
    :raises ValueError: unless it is positive and finite.

    >>> round(beta_of(300.0), 4)  # mol/kcal
    1.6774
    """
    if not 0.0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive, in K, got {temperature}.")
    return 1.0 / (BOLTZMANN * temperature)


def thermal_speed(temperature: float, mass: float) -> float:
    """Standard deviation of one velocity component, angstrom/fs; ``mass`` in g/mol.

    >>> round(thermal_speed(300.0, 18.015), 5)
    0.00372
    """
    return ANGSTROM_PER_FS / math.sqrt(beta_of(temperature) * mass)


def mass_density(mass: float, volume: float) -> float:
    """g/cm^3 of ``mass`` (g/mol) in ``volume`` (angstrom^3).

    >>> round(mass_density(100 * 18.015, 14.546**3), 3)  # a hundred molecules of water
    0.972
    """
    return mass / (AVOGADRO * volume)
