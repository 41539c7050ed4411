"""Functions of distance, each against a formula that was not written for this package."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline, CubicSpline
from scipy.special import betainc

from bayescg.potentials import (
    WCA,
    BSplines,
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    PairBasis,
    Table,
    Wall,
    WindowedFourier,
)
from bayescg.potentials.pair import smooth_step

KNOTS = np.array([2.0, 2.3, 2.9, 3.1, 4.0, 4.4, 5.5, 6.0])
FOURIER = WindowedFourier(8)

#: Twice differentiable above the first knot: nothing about them may jump at these distances.
SMOOTH = {
    "inverse powers": (InversePowers(), (6.0, 7.0)),
    "window": (FOURIER, (2.0, 2.5, 5.5, 6.0)),
    "window, per angstrom": (replace(FOURIER, unit="angstrom"), (2.0, 2.5, 5.5, 6.0)),
    "window, tapers meet": (replace(FOURIER, taper=2.0), (2.0, 4.0, 6.0)),
    "splines": (BSplines(KNOTS), tuple(KNOTS[1:])),
    "wall": (Wall(2.6), (2.6,)),
}
#: With a second derivative that jumps at the end.
ONCE = {
    "table": (Table(KNOTS), tuple(KNOTS[1:])),
    "WCA": (WCA(0.3, 3.0), (WCA(0.3, 3.0).cutoff,)),
}
#: With a slope that jumps.
BENT = {
    "shifted": (InversePowers(ending="shift"), (7.0,)),
    "linear table": (Table(KNOTS, "linear"), tuple(KNOTS[1:])),
    "splines below their knots": (BSplines(KNOTS), (2.0,)),
}
#: That jump themselves.
JUMPING = {
    "cut": (InversePowers(ending="cut"), (7.0,)),
    "literal": (replace(FOURIER, edges="literal"), (2.0, 6.0)),
    "literal, per angstrom": (replace(FOURIER, edges="literal", unit="angstrom"), (2.0, 6.0)),
}
EVERY = {**SMOOTH, **ONCE, **BENT, **JUMPING}


def distances(*more: float) -> np.ndarray:
    """300 of them, whatever is among them, so that one shape is compiled."""
    some = np.random.default_rng(0).uniform(1.2, 8.0, 300 - len(more))
    return np.sort(np.append(some, more))


@cache
def derivatives(basis: PairBasis, order: int) -> Callable[[Array], Array]:
    """``(term, r)``, by differentiation of the program, compiled once."""

    def at(r: Array) -> Array:
        return basis(r)

    for _ in range(order):
        at = jax.jacfwd(at)
    return jax.jit(jax.vmap(at, out_axes=-1))


def derivative(basis: PairBasis, order: int, r: np.ndarray) -> np.ndarray:
    """At any number of distances up to 300."""
    padded = np.append(r, np.full(300 - len(r), 9.0))
    return np.asarray(derivatives(basis, order)(padded))[:, : len(r)]


def fall(r: np.ndarray, low: float, high: float) -> np.ndarray:
    """1 below, 0 above: the incomplete beta function of a twice differentiable step."""
    return 1.0 - betainc(3.0, 3.0, np.clip((r - low) / (high - low), 0.0, 1.0))


# Values


def test_smooth_step_is_an_incomplete_beta_function() -> None:
    r = np.linspace(1.0, 6.0, 501)
    np.testing.assert_allclose(smooth_step(r, 2.0, 5.0), 1.0 - fall(r, 2.0, 5.0), atol=1e-14)


def test_inverse_powers() -> None:
    r = distances()
    raw = np.stack([r**-12.0, r**-6.0])
    inside = r < 7.0
    values = {
        "smooth": raw * fall(r, 6.0, 7.0),
        "shift": (raw - np.array([[7.0**-12], [7.0**-6]])) * inside,
        "cut": raw * inside,
    }
    for ending, expected in values.items():
        basis = InversePowers(ending=ending)
        np.testing.assert_allclose(basis(r), expected, rtol=1e-12, atol=1e-18)
        assert basis(r.reshape(30, 10)).shape == (2, 30, 10)
        assert basis(jnp.asarray(3.0)).shape == (2,)
    assert InversePowers().names == ("r^-12", "r^-6")
    np.testing.assert_allclose(InversePowers((9, 3), 5.0, "cut")(2.0), [2.0**-9, 2.0**-3])


def test_wave_numbers_of_eq_67() -> None:
    """K/2 = 50 of them, each for a sine and a cosine, from 1 to one spacing below 20."""
    basis = WindowedFourier()
    assert len(basis.names) == 100 and len(set(basis.names)) == 100
    expected = [1.0 + 19.0 / 50.0 * (k // 2) for k in range(100)]
    np.testing.assert_allclose(basis.nu, expected, rtol=1e-15)
    assert basis.nu[-1] == pytest.approx(19.62)
    assert basis.names[:3] == ("sin 1", "cos 1", "sin 1.38") and basis.names[-1] == "cos 19.62"
    assert basis.cutoff == 6.0
    assert basis.scale == pytest.approx(4.0 / 19.62)  # the shortest wave
    assert replace(basis, unit="angstrom").scale == pytest.approx(1.0 / 19.62)


@pytest.mark.parametrize("edges", ["smooth", "literal"])
@pytest.mark.parametrize("unit", ["window", "angstrom"])
def test_windowed_fourier(unit: str, edges: str) -> None:
    """Eqs. 66-67, term by term; the literal window is closed."""
    basis = WindowedFourier(10, (2.0, 6.0), unit=unit, edges=edges)
    r = distances(2.0, 6.0)
    phase = r if unit == "angstrom" else (r - 2.0) / 4.0
    if edges == "literal":
        window = 1.0 * (r >= 2.0) * (r <= 6.0)
    else:
        window = (1.0 - fall(r, 2.0, 2.5)) * fall(r, 5.5, 6.0)
    found = np.asarray(basis(r))
    for k in range(5):
        angle = 2.0 * np.pi * (1.0 + 19.0 / 5.0 * k) * phase
        np.testing.assert_allclose(found[2 * k], window * np.sin(angle), atol=1e-12)
        np.testing.assert_allclose(found[2 * k + 1], window * np.cos(angle), atol=1e-12)


@pytest.mark.parametrize("knots", [KNOTS, np.linspace(2.0, 6.0, 11), np.array([2.0, 3.0])])
def test_splines_are_those_of_scipy(knots: np.ndarray) -> None:
    """All that end smoothly; below the first knot they keep their value."""
    basis = BSplines(knots)
    terms = len(knots) - 1
    assert len(basis.names) == terms and basis.cutoff == knots[-1]
    r = distances(*knots)
    padded = np.r_[[knots[0]] * 3, knots, [knots[-1]] * 3]
    inside = np.clip(r, knots[0], knots[-1])
    expected = BSpline.design_matrix(inside, padded, 3).toarray()[:, :terms].T
    np.testing.assert_allclose(basis(r), expected * (r < knots[-1]), atol=1e-13)
    one = BSpline.basis_element(padded[terms - 1 : terms + 4], extrapolate=False)
    np.testing.assert_allclose(basis(r)[-1], np.nan_to_num(one(inside)), atol=1e-13)


def test_splines_sum_to_one_far_from_the_end() -> None:
    """The three that are left out live on the last three pieces."""
    r = np.linspace(1.0, KNOTS[-4], 300)
    np.testing.assert_allclose(BSplines(KNOTS)(r).sum(0), 1.0, atol=1e-14)


@pytest.mark.parametrize("grid", [KNOTS, np.linspace(2.0, 6.0, 21)])
def test_tables_are_those_of_scipy(grid: np.ndarray) -> None:
    values = np.append(np.random.default_rng(3).normal(size=len(grid) - 1), 0.0)
    r = distances(*grid)
    inside = np.clip(r, grid[0], grid[-1])
    cubic = CubicSpline(grid, values, bc_type=((2, 0.0), (1, 0.0)))(inside)
    linear = np.interp(inside, grid, values)
    for order, expected in {"cubic": cubic, "linear": linear}.items():
        basis = Table(grid, order)
        assert len(basis.names) == len(grid) - 1 and basis.cutoff == grid[-1]
        found = np.asarray(values[:-1] @ basis(r))
        np.testing.assert_allclose(found, expected * (r < grid[-1]), atol=1e-12)
        np.testing.assert_allclose(basis(grid)[:, :-1], np.eye(len(grid) - 1), atol=1e-14)


def test_wall() -> None:
    r = distances(2.6)
    expected = np.where(r < 2.6, (2.6 - r) ** 3, 0.0)[None]
    np.testing.assert_allclose(Wall(2.6)(r), expected, atol=1e-15)


def test_lennard_jones_of_eq_68() -> None:
    """Linear in 4 epsilon sigma^12 and 4 epsilon sigma^6, and differentiable in both parameters."""
    term = LennardJones(0.15, 3.2, InversePowers(ending="cut"))
    natural = np.asarray(term.natural())
    np.testing.assert_allclose(natural, [-4 * 0.15 * 3.2**12, 4 * 0.15 * 3.2**6], rtol=1e-12)
    r = distances()
    expected = 4 * 0.15 * ((3.2 / r) ** 12 - (3.2 / r) ** 6) * (r < 7.0)
    np.testing.assert_allclose(-natural @ term.basis(r), expected, rtol=1e-12, atol=1e-15)
    assert jax.tree.leaves(term) == [0.15, 3.2]
    slope = jax.jacfwd(lambda t: t.natural())(LennardJones(0.15, 3.2))
    np.testing.assert_allclose(slope.epsilon, [-4 * 3.2**12, 4 * 3.2**6], rtol=1e-12)
    np.testing.assert_allclose(slope.sigma, [-48 * 0.15 * 3.2**11, 24 * 0.15 * 3.2**5], rtol=1e-12)


def test_wca_is_lennard_jones_above_its_minimum() -> None:
    basis = WCA(0.3, 3.0)
    r = distances()
    repulsion = 1.2 * ((3.0 / r) ** 12 - (3.0 / r) ** 6) + 0.3
    expected = np.where(r < 3.0 * 2 ** (1 / 6), repulsion, 0.0)[None]
    np.testing.assert_allclose(basis(r), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(basis(jnp.asarray(3.0)), [0.3])
    assert np.all(np.asarray(basis(r)) >= 0.0)


def test_linear_and_fixed_terms() -> None:
    theta = jnp.asarray(np.random.default_rng(2).normal(size=8))
    np.testing.assert_array_equal(LinearPair(theta, FOURIER).natural(), -theta)
    assert len(jax.tree.leaves(LinearPair(theta, FOURIER))) == 1
    np.testing.assert_array_equal(FixedPair(Wall(2.4), 500.0).natural(), [-500.0])
    assert jax.tree.leaves(FixedPair(Wall(2.4), 500.0)) == []


# Ends and derivatives

every = pytest.mark.parametrize(("basis", "places"), EVERY.values(), ids=EVERY)


@every
def test_nothing_beyond_the_cutoff(basis: PairBasis, places: tuple[float, ...]) -> None:
    end = basis.cutoff
    r = jnp.asarray([np.nextafter(end, np.inf), end + 1e-6, end + 0.3, 3.0 * end])
    assert np.all(np.asarray(basis(r)) == 0.0)
    assert np.all(derivative(basis, 1, r) == 0.0)
    if getattr(basis, "edges", None) != "literal":  # whose window is closed
        assert np.all(np.asarray(basis(jnp.asarray(end))) == 0.0)
    assert places[-1] <= end


@every
def test_derivative_is_the_slope(basis: PairBasis, places: tuple[float, ...]) -> None:
    """Where nothing jumps, against central differences; and none of it is infinite."""
    r = distances()
    r = r[np.abs(r[:, None] - np.array([*places, 2.0])).min(1) > 1e-3]
    step = 1e-5
    ahead, back = derivative(basis, 0, r + step), derivative(basis, 0, r - step)
    expected = (ahead - back) / (2 * step)
    scale = 1.0 + np.abs(expected)
    np.testing.assert_allclose(derivative(basis, 1, r) / scale, expected / scale, atol=1e-5)


def jumps(basis: PairBasis, places: tuple[float, ...], order: int) -> np.ndarray:
    """Largest jump of a derivative over all functions at each place, over its size around there."""
    at, step = np.array(places), 1e-7

    def difference(h: float) -> np.ndarray:
        return derivative(basis, order, at + h) - derivative(basis, order, at - h)

    # A jump stays as the step is halved; the change of a continuous function halves.
    jump = np.abs(2.0 * difference(step / 2) - difference(step)).max(0)
    around = derivative(basis, order, (at[:, None] + np.linspace(-0.2, 0.2, 41)).ravel())
    return jump / np.abs(around).max(0).reshape(-1, 41).max(1)


@pytest.mark.parametrize(("basis", "places"), {**SMOOTH, **ONCE}.values(), ids={**SMOOTH, **ONCE})
def test_smooth_functions(basis: PairBasis, places: tuple[float, ...]) -> None:
    for order in (0, 1):
        assert np.all(jumps(basis, places, order) < 1e-8)
    second = jumps(basis, places, 2)
    if basis in [b for b, _ in ONCE.values()]:
        assert second[-1] > 0.1
        second = second[:-1]
    assert np.all(second < 1e-5)


def test_wca_bends_at_its_end() -> None:
    """By the curvature of Lennard-Jones at its minimum, 72 epsilon / (2^(1/3) sigma^2)."""
    basis = WCA(0.3, 3.0)
    curvature = derivative(basis, 2, np.array([basis.cutoff - 1e-9]))
    np.testing.assert_allclose(curvature, 72 * 0.3 / (2 ** (1 / 3) * 9.0), rtol=1e-6)


@pytest.mark.parametrize(("basis", "places"), BENT.values(), ids=BENT)
def test_bent_functions(basis: PairBasis, places: tuple[float, ...]) -> None:
    """Continuous; and the slope jumps, which tells that the checks of smoothness can."""
    assert np.all(jumps(basis, places, 0) < 1e-8)
    assert np.all(jumps(basis, places, 1) > 1e-2)


@pytest.mark.parametrize(("basis", "places"), JUMPING.values(), ids=JUMPING)
def test_jumping_functions(basis: PairBasis, places: tuple[float, ...]) -> None:
    """By as much as the functions without a window have there."""
    if isinstance(basis, InversePowers):
        expected = [np.array([7.0**-12, 7.0**-6])]
    else:
        phases = [2.0, 6.0] if basis.unit == "angstrom" else [0.0, 1.0]
        angle = [2.0 * np.pi * basis.nu * p for p in phases]
        kinds = np.arange(len(basis.nu)) % 2
        expected = [np.abs(np.where(kinds == 0, np.sin(a), np.cos(a))) for a in angle]
    for place, size in zip(places, expected, strict=True):
        r = jnp.asarray([np.nextafter(place, 0.0), np.nextafter(place, np.inf)])
        found = np.abs(np.diff(np.asarray(basis(r)), axis=1))[:, 0]
        np.testing.assert_allclose(found, size, atol=1e-12)


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WindowedFourier(7), "even number of at least 2 .* got 7"),
        (lambda: WindowedFourier(0), "even number of at least 2 .* got 0"),
        (lambda: WindowedFourier(4, (6.0, 2.0)), "0 < Rmin < Rmax, got 6 to 2"),
        (lambda: WindowedFourier(4, (0.0, 2.0)), "0 < Rmin < Rmax, got 0 to 2"),
        (lambda: WindowedFourier(4, taper=0.0), "between 0 and half the window, got 0"),
        (lambda: WindowedFourier(4, taper=2.1), r"between 0 and half the window, got 2\.1"),
        (lambda: WindowedFourier(4, unit="nm"), "unit must be one of window, angstrom, got 'nm'"),
        (lambda: WindowedFourier(4, edges="soft"), "edges must be one of smooth, literal"),
        (lambda: InversePowers(ending="none"), "ending must be one of smooth, shift, cut"),
        (lambda: InversePowers(cutoff=-1.0), "cut-off must be positive, in angstrom, got -1"),
        (lambda: InversePowers(cutoff=5.0, width=5.0), "between 0 and the cut-off, got 5"),
        (lambda: InversePowers(width=0.0), "between 0 and the cut-off, got 0"),
        (lambda: BSplines([2.0]), "knots must be at least two increasing distances"),
        (lambda: BSplines([2.0, 3.0, 3.0]), "knots must be at least two increasing distances"),
        (lambda: BSplines([-1.0, 3.0]), "knots must be at least two increasing distances"),
        (lambda: BSplines([[2.0, 3.0]]), "knots must be at least two increasing distances"),
        (lambda: Table([2.0, 3.0]), "at least three increasing distances"),
        (lambda: Table([2.0, 4.0, 3.0]), "at least three increasing distances"),
        (lambda: Table(KNOTS, "quintic"), "order must be one of linear, cubic, got 'quintic'"),
    ],
)
def test_errors(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
