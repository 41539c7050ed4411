"""Inversion of the hypernetted chain, against its own forward solution."""

from functools import cache

import numpy as np
import pytest
from scipy.fft import dst
from scipy.interpolate import CubicSpline

from bayescg.infer.hypernetted import STEEP, hnc_potential
from bayescg.units import BOLTZMANN

TEMPERATURE = 302.0
KT = BOLTZMANN * TEMPERATURE
CUTOFF = 7.5


def lennard_jones(r: np.ndarray) -> np.ndarray:
    """0.35 kcal/mol deep, 3 angstrom wide, smooth to zero at ``CUTOFF``."""
    s6 = (3.0 / np.maximum(r, 0.5)) ** 6
    t = np.clip(r - CUTOFF + 1.0, 0.0, 1.0)
    return 1.4 * (s6**2 - s6) * (1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2))


@cache
def forward(density: float, step: float = 0.02, points: int = 2048) -> CubicSpline:
    """g(r) of that potential in the hypernetted chain, by Picard's iteration and sine transforms."""
    n = np.arange(1, points)
    r, k = step * n, np.pi * n / (points * step)
    boltzmann = np.exp(-np.minimum(lennard_jones(r) / KT, 500.0))
    gamma = np.zeros_like(r)
    for part in (0.2, 0.4, 0.6, 0.8, 1.0):  # at once, 1 - density * c would turn negative
        for _ in range(5000):
            c = boltzmann * np.exp(gamma) - 1.0 - gamma
            there = 2.0 * np.pi * step / k * dst(r * c, 1)
            waves = part * density * there**2 / (1.0 - part * density * there)
            change = np.pi / (points * step) / (4.0 * np.pi**2 * r) * dst(k * waves, 1) - gamma
            gamma += 0.15 * change
            if np.abs(change).max() < 1e-9:
                break
        else:
            raise AssertionError("the forward solution does not settle")
    return CubicSpline(r, boltzmann * np.exp(gamma))


def measured(density: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """What a histogram would hold up to ``reach``: bins of 0.1 angstrom, nothing in the core."""
    r = np.arange(0.05, reach, 0.1)
    g = forward(density)(r)
    return r, np.where(g > 1e-12, g, 0.0)


@pytest.mark.parametrize(
    ("density", "reach", "error"),
    [(0.005, 9.0, 2e-4), (0.02, 9.0, 5e-4), (0.03, 8.0, 5e-3), (0.03, 12.0, 5e-3)],
)
def test_a_forward_solution_gives_its_potential_back(
    density: float, reach: float, error: float
) -> None:
    """To 0.008 kT in a dense liquid, where direct inversion is off by 1.8 kT.

    What is left is the piecewise cubic between bins, at the steep side of the first peak.
    """
    r, g = measured(density, reach)
    u = hnc_potential(r, g, density, TEMPERATURE)
    known = g > 1e-3
    assert np.abs(u - lennard_jones(r))[known].max() < error
    direct = -KT * np.log(g[known])
    assert np.abs(direct - lennard_jones(r)[known]).max() > 50.0 * error


def test_at_low_density_it_is_direct_boltzmann_inversion() -> None:
    r, g = measured(0.005, 9.0)
    known = g > 1e-3
    direct = -KT * np.log(g[known])
    np.testing.assert_array_equal(hnc_potential(r, g, 0.0, TEMPERATURE)[known], direct)
    gaps = [
        np.abs(hnc_potential(r, g, density, TEMPERATURE)[known] - direct).max()
        for density in (1e-5, 1e-6)
    ]
    np.testing.assert_allclose(gaps[0] / gaps[1], 10.0, rtol=0.01)  # proportional to the density


def test_a_cut_off_tail_alone_would_not_do() -> None:
    """The plain transform of the dense liquid's g up to 8 angstrom has a negative structure factor."""
    r = np.arange(0.01, 8.0, 0.01)
    h = forward(0.03)(r) - 1.0
    assert 1.0 + 0.03 * 4.0 * np.pi * np.sum(r**2 * h) * 0.01 < 0.0


def test_the_core_goes_on_in_a_steep_line() -> None:
    r, g = measured(0.02, 9.0)
    u = hnc_potential(r, g, 0.02, TEMPERATURE)
    first = int(np.argmax(g > 1e-3))
    slopes = np.diff(u[: first + 1]) / np.diff(r[: first + 1])
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)
    assert slopes[0] <= (u[first + 1] - u[first]) / 0.1 + 1e-9
    assert slopes[0] <= -STEEP * KT * (1.0 - 1e-9)


def test_soft_beads_have_no_core() -> None:
    """A Gaussian of 1 kT in its mean-field limit, where c = -u/kT: g from the same random phases."""
    n = np.arange(1, 1024)
    step, density = 0.05, 0.01
    r, k = step * n, np.pi * n / (1024 * step)
    u = np.exp(-((r / 3.0) ** 2))
    c = -(np.pi**1.5) * 27.0 * np.exp(-((1.5 * k) ** 2))
    h_there = c / (1.0 - density * c)
    h = np.pi / (1024 * step) / (4.0 * np.pi**2 * r) * dst(k * h_there, 1)
    # The closure of random phases is not the hypernetted chain's: ln(1 + h) stands for h there.
    expected = h - np.log1p(h) + u
    at = slice(1, 240, 2)
    found = hnc_potential(r[at], 1.0 + h[at], density, TEMPERATURE) / KT
    np.testing.assert_allclose(found, expected[at], atol=2e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": np.arange(5.0)}, "shapes"),
        ({"g": np.full(90, -0.1)}, "not negative"),
        ({"g": np.full(90, np.nan)}, "finite"),
        ({"g": np.full(90, 2.0)}, "g is 2.00 on the last tenth of its range, up to r = 8.95"),
        ({"density": -0.01}, "density must not be negative"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"density": 1.0}, "no solution for this RDF above"),
    ],
)
def test_bad_input(change: dict, message: str) -> None:
    r, g = measured(0.02, 9.0)
    good = {"r": r, "g": g, "density": 0.02, "temperature": TEMPERATURE}
    with pytest.raises(ValueError, match=message):
        hnc_potential(**(good | change))
