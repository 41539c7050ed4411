"""Multistate reweighting and the pressure, against what is known exactly."""

import numpy as np
import pytest
from scipy.special import logsumexp

from bayescg.distributions.log_partition import mbar
from bayescg.predict.pooling import pool
from bayescg.predict.pressure import pressure
from bayescg.units import BAR, BOLTZMANN


def test_pooled_normals_give_exact_log_z_and_means() -> None:
    """States exp(-k x^2 / 2): log Z = -log(k) / 2. Bounds are five standard errors (1e-6)."""
    rng = np.random.default_rng(0)
    k = np.array([1.0, 1.5, 2.2, 3.0])
    count = 4000
    x = np.concatenate([rng.normal(size=count) / np.sqrt(a) for a in k[:3]])
    chain = np.repeat(np.arange(3), count)
    found = pool(-0.5 * k[:, None] * x**2, chain, simulated=3)
    np.testing.assert_allclose(found.log_partition, -0.5 * np.log(k), atol=0.03)
    np.testing.assert_allclose(found.weights @ x**2, 1.0 / k, rtol=0.06)
    np.testing.assert_allclose(found.weights.sum(1), 1.0)
    assert np.all(found.effective[:3] > count)  # each state draws on the others, too


def test_states_without_overlap_keep_their_own_samples() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0.0, 1.0, 500), rng.normal(60.0, 1.0, 500)])
    exponents = -0.5 * (x - np.array([[0.0], [60.0]])) ** 2
    found = pool(exponents, np.repeat([0, 1], 500), simulated=2)
    np.testing.assert_allclose(found.effective, 500.0, rtol=1e-6)
    np.testing.assert_allclose(found.weights[0, 500:], 0.0, atol=1e-12)


def test_log_z_of_hundreds_and_its_samples_agree_with_sums_of_logarithms() -> None:
    """States whose log Z differ by hundreds, some of which share few samples: MBAR's equation holds at the end."""
    rng = np.random.default_rng(2)
    centres, offset = np.arange(6) * 2.5, np.array([0.0, 400.0, -300.0, 800.0, 30.0, -900.0])
    x = np.concatenate([rng.normal(c, 1.0, 300) for c in centres])
    exponents = -0.5 * (x - centres[:, None]) ** 2 + offset[:, None]
    found = pool(exponents, np.repeat(np.arange(6), 300), simulated=6)
    assert found.settled
    z = found.log_partition
    mixture = logsumexp(exponents + np.log(300.0) - z[:, None], axis=0)
    again = logsumexp(exponents - mixture, axis=1)
    np.testing.assert_allclose(again - again[0], z, atol=1e-7)
    np.testing.assert_allclose(z, offset, atol=1.0)


def test_an_iteration_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # A number of samples that no other test has: constants of a compiled program stay.
    monkeypatch.setattr(mbar, "ROUNDS", 1)
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0.0, 1.0, 410), rng.normal(4.0, 1.0, 410)])
    exponents = -0.5 * (x - np.array([[0.0], [4.0]])) ** 2
    assert not pool(exponents, np.repeat([0, 1], 410), simulated=2).settled


def test_an_ideal_gas_has_its_pressure_and_compressibility() -> None:
    beta, sites, volume = 1.0 / (BOLTZMANN * 300.0), 100, 3000.0
    nothing = np.zeros((5, 1))
    found = pressure(
        np.ones(1), beta, nothing, nothing, np.full(5, 0.2), np.arange(5), sites, volume
    )
    ideal = sites / (beta * volume) / BAR
    assert found.pressure == pytest.approx(ideal)
    assert found.bulk_modulus == pytest.approx(ideal)
    assert found.compressibility == pytest.approx(1.0 / ideal)


def test_pressure_of_inverse_powers_by_quadrature() -> None:
    """One distance with energy c/r^12 in a sphere that grows with the box: derivatives of log Z."""
    c, beta = 1e5, 1.6
    r = np.linspace(0.0, 1.0, 400_001)[1:]

    def log_z(log_scale: float) -> float:
        s = r * np.exp(log_scale) * 6.0
        return float(np.log(np.sum(r**2 * np.exp(-beta * c / s**12))))

    h = 1e-3
    slope = (log_z(h) - log_z(-h)) / (2 * h)
    bend = (log_z(h) - 2 * log_z(0.0) + log_z(-h)) / h**2
    weights = r**2 * np.exp(-beta * c / (6.0 * r) ** 12)
    phi = (6.0 * r) ** -12.0
    found = pressure(
        np.array([-c]),
        beta,
        -12.0 * phi[:, None],
        144.0 * phi[:, None],
        weights / weights.sum(),
        np.arange(len(r)),
        0,
        1.0,
    )
    assert found.pressure == pytest.approx(slope / (3.0 * beta) / BAR, rel=1e-4)
    bulk = (3.0 * slope - bend) / (9.0 * beta)
    assert found.bulk_modulus == pytest.approx(bulk / BAR, rel=1e-3)


def test_errors_of_pressure_and_bulk_modulus_come_from_chains() -> None:
    """Of normal samples, 8 alike in each of 400 chains, against the spread of repeats: 10 %, three
    standard errors of a standard deviation of 400."""
    rng = np.random.default_rng(2)
    made = []
    for _ in range(400):
        u = np.repeat(rng.normal(size=(400, 2)), 8, axis=0)
        chain, weights = np.repeat(np.arange(400), 8), np.full(3200, 1 / 3200)
        made.append(pressure(np.ones(1), 1.6, u[:, :1], u[:, 1:], weights, chain, 10, 1000.0))
    for value, error in (("pressure", "pressure_error"), ("bulk_modulus", "bulk_modulus_error")):
        spread = np.std([getattr(m, value) for m in made], ddof=1)
        assert np.mean([getattr(m, error) for m in made]) == pytest.approx(spread, rel=0.1)


def test_what_would_fall_apart_has_no_compressibility() -> None:
    wild = np.array([[0.0], [1000.0]])
    found = pressure(np.ones(1), 1.0, wild, 0.0 * wild, np.full(2, 0.5), np.arange(2), 10, 1000.0)
    assert found.bulk_modulus < 0.0 and np.isnan(found.compressibility)


def test_pooling_says_whether_it_settled() -> None:
    x = np.array([-1.0, 0.0, 1.0, 2.0])
    assert pool(-0.5 * (x - np.array([[0.0], [1.0]])) ** 2, np.array([0, 0, 1, 1]), 2).settled


def test_samples_of_one_state_alone() -> None:
    x = np.random.default_rng(4).normal(size=200)
    exponents = -0.5 * (x - np.array([[0.0], [0.5]])) ** 2
    found = pool(exponents, np.zeros(200, int), 2)
    assert found.settled
    np.testing.assert_allclose(found.weights[0], 1 / 200)
    weights = np.exp(exponents[1] - exponents[0])
    np.testing.assert_allclose(found.weights[1], weights / weights.sum())
