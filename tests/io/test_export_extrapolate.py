"""Potentials beyond the data: cores that repel, tails that end, bonds that hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bayescg.io.export import Extended, Interaction, extended
from bayescg.units import BOLTZMANN
from tests.exports import FORMULAS, interaction

KT = BOLTZMANN * 300.0
TURN = 2.0 * np.pi
Energy = Callable[[np.ndarray], np.ndarray]


def pair(energy: Energy, first: float = 3.0, cutoff: float = 8.0) -> Interaction:
    return Interaction("pair", "A_A", ("A", "A"), energy, (first, cutoff), cutoff)


def lennard_jones(r: np.ndarray) -> np.ndarray:
    return 0.8 * ((3.2 / r) ** 12 - (3.2 / r) ** 6)


#: What fits leave where there were no data.
CORES: dict[str, Energy] = {
    "flat": lambda r: lennard_jones(np.maximum(r, 2.9)),
    "hole": lambda r: lennard_jones(r) - 40.0 * np.exp(-(((r - 2.4) / 0.2) ** 2)),
    "far hole": lambda r: lennard_jones(r) - 4000.0 * np.exp(-(((r - 1.9) / 0.1) ** 2)),
    "soft": lambda r: 2.0 * np.exp(-((r / 3.0) ** 2)),
    "attractive": lambda r: -2.0 * np.exp(-((r / 3.0) ** 2)),
    "ends": lambda r: np.where(r < 2.95, np.nan, 5.0 - r),
    "wave": lambda r: 0.3 * np.cos(9.0 * r) + 1.0 / r,
}


def check_slope(e: Extended, q: np.ndarray) -> None:
    """The force is the energy's slope with its sign turned."""
    h = 1e-5
    slope = (e.energy(q + h) - e.energy(q - h)) / (2.0 * h)
    force = e.force(q)
    np.testing.assert_allclose(force, -slope, atol=1e-5 * (1.0 + np.abs(force).max()))


def check_joint(e: Extended, q: float) -> None:
    """Energy and force are continuous."""
    q0, q1 = np.array([q - 1e-9]), np.array([q + 1e-9])
    size = 1.0 + abs(e.energy(q1)[0]) + abs(e.force(q1)[0])
    np.testing.assert_allclose(e.energy(q0), e.energy(q1), atol=1e-6 * size)
    np.testing.assert_allclose(e.force(q0), e.force(q1), atol=1e-5 * size)


@pytest.mark.parametrize("name", CORES)
def test_a_core_that_does_not_repel_is_replaced(name: str) -> None:
    """From the closest distance on the force grows, at least as fast as 300 kT over its square says."""
    e = extended(pair(CORES[name]), 300.0)
    assert e.low == 3.0
    check_joint(e, 3.0)
    r = np.linspace(0.0, 3.0, 601)
    u, f = e.energy(r), e.force(r)
    assert np.isfinite(u).all() and np.isfinite(f).all()
    np.testing.assert_array_less(300.0 * KT / 9.0 * (1 - 1e-9), -np.diff(f) / np.diff(r))
    if f[-1] >= 0.0:  # else it is attractive where there are data, and must rise from there
        assert np.all(f >= 0.0)
    check_slope(e, r[1:-1])
    # Two sites in one place cost 150 kT, less what an attraction at the closest distance gives.
    assert u[0] - u[-1] > 149.0 * KT - 3.0 * max(0.0, -f[-1])


def test_a_core_that_repels_is_kept_until_no_site_gets_there() -> None:
    e = extended(pair(lennard_jones), 300.0)
    assert 1.5 < e.low < 2.0
    assert (
        1000.0 * KT <= e.energy(np.array([e.low]))[0] - e.energy(np.array([3.0]))[0] < 1100.0 * KT
    )
    check_joint(e, e.low)
    r = np.linspace(e.low, 7.99, 400)
    end = lennard_jones(np.array([8.0]))
    np.testing.assert_allclose(e.energy(r), lennard_jones(r) - end, rtol=1e-12, atol=1e-12)
    slope = 0.8 * (-12.0 * (3.2 / r) ** 12 + 6.0 * (3.2 / r) ** 6) / r
    np.testing.assert_allclose(e.force(r), -slope, rtol=1e-7, atol=1e-9)
    inside = np.linspace(0.0, e.low, 50)
    assert np.all(np.diff(e.force(inside)) < 0.0) and np.isfinite(e.energy(inside)).all()


def test_a_tail_ends_at_zero_without_a_change_of_force() -> None:
    e = extended(pair(lambda r: np.where(r < 8.0, 1.0 / r, 0.0)), 300.0)
    r = np.array([7.0, 7.999999, 8.0, 8.1, 50.0])
    np.testing.assert_allclose(e.energy(r), [1 / 7 - 1 / 8, 0, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(e.force(r), [1 / 49, 1 / 64, 0, 0, 0], atol=1e-7)


@pytest.mark.parametrize("label", [label for label in FORMULAS if not label.startswith("pair")])
def test_bonded_terms_are_their_own_where_data_were(label: str) -> None:
    e = extended(interaction(label), 300.0)
    q = np.linspace(e.low, e.high, 500)[1:-1]
    np.testing.assert_allclose(e.energy(q), FORMULAS[label](q), rtol=1e-12)
    check_slope(e, q[1:-1])


@pytest.mark.parametrize(("kind", "known"), [("bond", (2.5, 3.1)), ("angle", (1.2, 2.0))])
@pytest.mark.parametrize("curve", ["stiff", "flat", "outwards"])
def test_bonded_terms_are_harmonic_outwards(
    kind: str, known: tuple[float, float], curve: str
) -> None:
    """With the curvature at the ends, but at least what holds a term within six standard deviations."""
    middle, least = sum(known) / 2.0, KT / ((known[1] - known[0]) / 6.0) ** 2
    k = {"stiff": 4.0 * least, "flat": 0.0, "outwards": -2.0 * least}[curve]

    def energy(q: np.ndarray) -> np.ndarray:
        inside = (q >= known[0]) & (q <= known[1])
        return np.where(inside, 0.5 * k * (q - middle) ** 2, np.nan)

    e = extended(Interaction(kind, "x", (), energy, known), 300.0)
    for end, sign in ((known[0], -1.0), (known[1], 1.0)):
        check_joint(e, end)
        t = np.linspace(0.0, 0.5, 50)
        u0, f0 = e.energy(np.array([end])), e.force(np.array([end]))
        expected = u0 - f0 * sign * t + 0.5 * max(k, least) * t**2
        np.testing.assert_allclose(e.energy(end + sign * t), expected, rtol=1e-5, atol=1e-7)
        check_slope(e, end + sign * t[1:])


def test_what_is_known_of_an_angle_ends_at_180_degrees() -> None:
    e = extended(interaction("angle B_A_B", known=(1.0, 4.0)), 300.0)
    assert e.high == np.pi and e.ranges == ((0.0, 1.0),)
    np.testing.assert_allclose(e.force(np.array([np.pi])), 0.0, atol=1e-6)


def test_a_dihedral_goes_on_around_the_circle() -> None:
    e = extended(interaction("dihedral turn"), 300.0)
    q = np.linspace(-np.pi, np.pi, 100)
    for turns in (-1, 0, 2):
        np.testing.assert_allclose(
            e.energy(q + turns * TURN), FORMULAS["dihedral turn"](q), atol=1e-9
        )
    check_slope(e, q)
    assert e.ranges == ()


@pytest.mark.parametrize("known", [(2.0, 4.5), (-1.0, 1.2), (-3.0, 3.0)])
def test_the_part_of_a_circle_that_nothing_visited_is_bridged(known: tuple[float, float]) -> None:
    def energy(q: np.ndarray) -> np.ndarray:
        assert np.all((q > -np.pi - 1e-12) & (q <= np.pi + 1e-12))
        low, high = known
        inside = (q - low + 1e-9) % TURN <= high - low + 2e-9
        return np.where(inside, FORMULAS["dihedral turn"](q), np.nan)

    e = extended(interaction("dihedral turn", known=known, energy=energy), 300.0)
    low, high = known
    for q in (low, high, low + TURN, high - TURN):
        check_joint(e, q)
    gap = np.linspace(high, low + TURN, 401)
    assert np.isfinite(e.energy(gap)).all()
    check_slope(e, gap[1:-1])
    # A barrier over the straight line between the ends, as high as the width of the gap asks.
    line = np.interp(gap, gap[[0, -1]], e.energy(gap[[0, -1]]))
    least = 0.5 * KT * ((low + TURN - high) / ((high - low) / 6.0)) ** 2 / 16.0
    slopes = np.abs(e.force(gap[[0, -1]])).max() * (gap[-1] - gap[0])
    assert (e.energy(gap) - line)[200] > least - 0.25 * slopes
    np.testing.assert_allclose(e.energy(gap), e.energy(gap - TURN), atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"energy": lambda r: np.full_like(r, np.nan)}, "pair A_B is not finite between 3 and 8"),
        (
            {"known": (8.5, 9.0)},
            "closest distance in the data, 8.5 angstrom, is not within the cut-off",
        ),
    ],
)
def test_what_cannot_be_extrapolated_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        extended(interaction("pair A_B", **changes), 300.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "improper"}, "'improper' is no interaction; allowed are pair, bond"),
        ({"known": (3.0, 3.0)}, "pair A_B: known from 3 to 3; allowed is a range"),
        ({"types": ("A",)}, "pair A_B names 1 bead types"),
        ({"cutoff": np.inf}, "pair A_B: cut-off inf; allowed are positive lengths"),
    ],
)
def test_an_interaction_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    given = {
        "kind": "pair",
        "name": "A_B",
        "types": ("A", "B"),
        "energy": np.abs,
        "known": (3.0, 8.0),
    }
    with pytest.raises(ValueError, match=says):
        Interaction(**({"cutoff": 8.0} | given | changes))
