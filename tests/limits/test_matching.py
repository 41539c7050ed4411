"""Every iteration of the methods that match distributions, against an isolated pair's exact answer.

Statistical tests compare with exact values within five standard errors of some dozens of bins, whose
errors come from independent chains: a false failure in about 1e-4 of keys.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.infer.histograms import Target
from bayescg.infer.inversion import inverted
from bayescg.infer.match_run import Prepared, prepare
from bayescg.infer.updates import IBI, Measured, Newton, newton_step, pressure_of
from bayescg.limits import ibi, imc, rem
from bayescg.units import BAR
from tests.limits.dilute import (
    KT,
    lennard_jones,
    pair_potential,
    pair_sampler,
    pair_system,
)

FAST = {"chains": 64, "samples": 40, "thin": 1, "relax": 10, "warmup": 0}


@pytest.mark.parametrize(("method", "most"), [(ibi, 3), (imc, 6), (rem, 8)])
def test_methods_find_the_potential_of_a_pair(method, most: int) -> None:  # type: ignore[no-untyped-def]
    """From direct inversion, which a dilute gas leaves nothing to improve but for the basis."""
    name = method.__name__
    run = method(*pair_system(name), **FAST)
    fit = run.run(jax.random.key(1))
    assert fit.ended == "converged" and fit.attrs["iterations"] <= most
    assert fit.attrs["distance"] <= 1.5
    r, u = pair_potential(fit)
    at = (r > 3.4) & (r < 6.9)
    np.testing.assert_allclose(u[at], lennard_jones(r[at]), atol=0.1)


def prepared(method: str, width: float = 0.1) -> Prepared:
    return prepare(*pair_system(method, f"width={width}", width=width), method, on="bins")


def simulated(ready: Prepared, theta: np.ndarray, key: int = 0) -> Measured:
    """Independent draws at a table, as the loop would measure them."""
    from bayescg.infer.matching import _measured

    program, sampler = ready.program, pair_sampler()
    boltzmann = program.boltzmann(jnp.asarray(theta), jnp.asarray(ready.x), {})
    tables = sampler.prepare(boltzmann.potential, jnp.asarray(boltzmann.beta))
    state = sampler.init(jax.random.key(key), 4000)
    rows = []
    for k in range(10):
        state, _ = sampler.step(jax.random.key(100 * key + k), state, *tables)
        rows.append(np.asarray(ready.histograms(state.x)))
    return _measured(np.stack(rows))


@pytest.mark.parametrize("method", ["ibi", "imc"])
@pytest.mark.slow
def test_one_step_from_a_wrong_potential(method: str) -> None:
    """A pair's counts respond at once and alone: IBI's step is exact, and IMC's is to first order."""
    ready = prepared(method)
    truth = inverted(ready.histograms, ready.target, KT)
    q = ready.histograms.parts[0].nodes.values
    off = 0.1 * KT * np.sin(4.0 * q) * (q < 6.5)
    measured = simulated(ready, truth + off, 3)
    update = IBI(ready.histograms, smooth=0) if method == "ibi" else Newton()
    labels = ready.program.labels
    step = update(truth + off, measured, ready.target, lambda u: -np.eye(len(u)), 1 / KT, labels)
    seen = ready.target.mean > 0.02 * ready.target.mean.max()
    moved = (step + off)[seen]
    error = KT * measured.error[seen] / measured.mean[seen]
    first_order = 0.02 * KT  # of a step of 0.1 kT, squared and halved, and the constant's drift
    left = moved - moved.mean()
    assert (np.abs(left) < 5.0 * error + first_order).all()
    assert np.abs(off[seen]).max() > 0.09 * KT


def test_ibi_is_imc_with_the_response_of_an_ideal_gas() -> None:
    """To first order: counts that are Poisson's have their mean for a variance."""
    ready = prepared("ibi")
    rng = np.random.default_rng(0)
    n = ready.histograms.size
    want = 50.0 + 10.0 * rng.random(n)
    small = 1e-4 * rng.normal(size=n)
    have = want * (1.0 + small)
    none = np.zeros(n)
    target, measured = (
        Target(want, none),
        Measured(have, none, np.diag(have), np.zeros((0, n)), 1e12),
    )
    minus = lambda u: -np.eye(n)  # noqa: E731
    args = (np.zeros(n), measured, target, minus, 1.0 / KT, [""] * n)
    a, b = IBI(ready.histograms, smooth=0)(*args), Newton("none")(*args)
    np.testing.assert_allclose(a, b, atol=1e-7 * KT)  # second order: 1e-8
    np.testing.assert_allclose(a, KT * small, atol=1e-7 * KT)


def test_noise_is_left_alone_and_signal_is_not() -> None:
    """A score that is noise moves hardly, at most as James and Stein's estimate does."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(300, 20))
    information = a.T @ a
    worth = 50.0
    root = np.linalg.cholesky(information / worth)
    noise = [
        newton_step(root @ rng.normal(size=20), information, 1 / worth, [""] * 20)
        for _ in range(200)
    ]
    whole = [
        newton_step(root @ rng.normal(size=20), information, 1 / worth, [""] * 20, plain=True)
        for _ in range(200)
    ]
    size = [np.mean([s @ information @ s for s in steps]) * worth / 20 for steps in (noise, whole)]
    # E[(z - 1/z)^2; |z| > 1] = 1/3 of a normal z is what shrinkage leaves of 1; 4000 draws, sd 0.9.
    assert abs(size[0] - 1 / 3) < 5 * 0.9 / np.sqrt(4000) and 0.9 < size[1] < 1.1
    signal = information @ np.ones(20)
    step = newton_step(signal, information, 1 / worth, [""] * 20)
    np.testing.assert_allclose(step, 1.0, atol=0.05)


def test_a_singular_matrix() -> None:
    """Regularised by default; asked for the whole step, an error that names the bin."""
    labels = [f"u({r:.1f})" for r in (3.0, 3.1, 3.2)]
    never = np.diag([4.0, 0.0, 2.0])
    step = newton_step(np.array([1.0, 0.0, 1.0]), never, 1e-12, labels)
    np.testing.assert_allclose(step, [0.25, 0.0, 0.5])
    with pytest.raises(ValueError, match=r"singular: u\(3\.1\) never occurs"):
        newton_step(np.ones(3), never, 1e-12, labels, plain=True)
    together = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="always change together"):
        newton_step(np.ones(3), together, 1e-12, labels, plain=True)
    np.testing.assert_allclose(
        newton_step(np.array([1.0, 1.0, 0.0]), together, 1e-12, labels)[:2], 0.5
    )


def test_methods_on_bins_need_tables() -> None:
    made, data = pair_system("ibi", "pair=spline")
    with pytest.raises(
        ValueError, match=r"pair A_A is no table, which ibi needs; allowed is -s pair=table"
    ):
        ibi(made, data).run(jax.random.key(0))


def test_stops_where_nothing_gets_better() -> None:
    """Noise cannot be had below its own size: the search ends, says so, and keeps its best."""
    run = ibi(*pair_system("ibi"), **FAST, tolerance=0.05, max_iterations=30)
    fit = run.run(jax.random.key(2))
    assert not fit.converged.any() and fit.ended == "no better in 8 iterations"
    assert "standard errors from the targets" in fit.messages[-1]
    trace = fit.groups["em_trace"]
    best = int(np.argmin(trace["distance"].values))
    np.testing.assert_array_equal(fit.draws[0, 0], trace["u"].values[best])
    assert fit.attrs["distance"] == trace["distance"].values[best]


def test_pressure_is_that_of_the_virial_and_a_ramp_corrects_it() -> None:
    """Of an isolated pair: PV = 2kT - <r u'(r)>/3, by quadrature; and the ramp's sign and size."""
    ready = prepared("ibi", 0.02)
    theta = inverted(ready.histograms, ready.target, KT)
    found = pressure_of(ready.histograms, ready.target.mean, theta, 1.0 / KT)
    r = np.linspace(1.5, 8.0, 200_001)
    weight = r**2 * np.exp(-lennard_jones(r) / KT)
    slope = np.gradient(lennard_jones(r), r)
    mean = np.sum(weight * r * slope) / np.sum(weight)
    exact = (2.0 * KT - mean / 3.0) / 16.0**3 / BAR
    ideal = 2.0 * KT / 16.0**3 / BAR
    assert abs(found - exact) < 0.01 * abs(exact - ideal)  # a table of 0.02 angstrom
    still = Measured(ready.target.mean, 0.0 * theta, np.eye(len(theta)), np.zeros((0, 1)), 1e6)
    for off in (1000.0, -1000.0, 9000.0):
        update = IBI(ready.histograms, smooth=0, pressure=found - off)
        step = update(theta, still, ready.target, lambda u: -np.eye(len(u)), 1.0 / KT, [])
        size = -0.1 * KT * np.sign(off) * min(1.0, abs(off) / 3000.0)
        q = ready.histograms.parts[0].nodes.values
        np.testing.assert_allclose(step, size * (1.0 - q / (q[-1] + 0.02)), atol=1e-9)
        assert not update.content(theta, still, 1.0 / KT)
    assert IBI(ready.histograms, pressure=found + 50.0).content(theta, still, 1.0 / KT)


def test_a_bounded_step_keeps_what_cancels() -> None:
    """Two coefficients that nearly cancel: bounds take away along both, not from the one that is larger."""
    from bayescg.infer.matching import Statistics, _bounded

    information = np.array([[1.0, 0.99], [0.99, 1.0]])
    step = np.array([6.0, -5.0])
    none = Target(np.zeros(2), np.zeros(2))
    basis = Statistics(lambda x: x, none, np.ones(2, bool), terms=2)
    found = _bounded(step, 2.0, basis, np.eye(2), information)
    # On the edge of 2 the other solves 0.99 (2 - 6) + (y + 5) = 0.
    np.testing.assert_allclose(found, [2.0, -1.04], atol=1e-6)
    clipped = np.clip(step, -2.0, 2.0)
    size = [(s - step) @ information @ (s - step) for s in (found, clipped)]
    assert size[0] < 0.35 * size[1]
    np.testing.assert_array_equal(_bounded(step, 6.0, basis, np.eye(2), information), step)
    bins = Statistics(lambda x: x, none, np.ones(2, bool))
    np.testing.assert_allclose(_bounded(step, 2.0, bins, np.eye(2), information), step / 3.0)
