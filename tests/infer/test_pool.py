"""Samples of several iterations are reweighted to where a search is: checked on a normal, whose averages are known."""

import numpy as np

from bayescg.infer.pool import Pool

CHAINS, SAMPLES = 16, 50


def taken(at: float, spoilt: bool = False, seed: int = 3) -> np.ndarray:
    """Samples of exp(at x - x^2 / 2), with a column more: ``(chain, sample, 2)``."""
    x = at + np.random.default_rng(seed).normal(size=(CHAINS, SAMPLES))
    out = np.stack([x, x**2], -1)
    if spoilt:
        out[3, 7] = np.nan
    return out


def pooled(places: list[float], reuse: float = 0.9) -> Pool:
    pool = Pool(reuse, 1)
    for k, place in enumerate(places):
        pool = pool.after(np.array([place]), taken(place, spoilt=k == 0, seed=k))
    return pool


def test_reweighted_averages_are_the_normal_s() -> None:
    """Mean and mean square at places that were sampled and others between, within four standard errors."""
    pool = pooled([0.0, 0.3, 0.9, 0.5, 0.7, 0.6])
    for at in (0.2, 0.5, 0.8):
        samples, weight, _ = pool.at(np.array([at]))
        np.testing.assert_allclose(weight.sum(), 1.0)
        effective = 1.0 / np.sum(weight**2)
        assert effective > 0.3 * len(weight)
        np.testing.assert_allclose(weight @ samples[:, 0], at, atol=4.0 / np.sqrt(effective))
        sd = np.sqrt(2.0 + 4.0 * at**2)
        np.testing.assert_allclose(weight @ samples[:, 1], 1 + at**2, atol=4 * sd / effective**0.5)


def test_log_z_are_consistent() -> None:
    """log Z is at^2 / 2: differences within four standard errors of 1 / sqrt(800), times the distance."""
    places = [0.0, 0.4, 0.8, 1.2]
    pool = pooled(places, 0.99)
    kept = [float(e[0]) for e in pool.eta]
    assert pool.log_z is not None
    exact = 0.5 * np.square(kept)
    np.testing.assert_allclose(pool.log_z, exact - exact[0], atol=4.0 * 0.8 / np.sqrt(800))


def test_the_present_ones_alone_have_equal_weights() -> None:
    pool = pooled([0.0, 0.5, 0.1], reuse=0.0)
    samples, weight, chain = pool.at(np.array([0.1]))
    assert len(samples) == CHAINS * SAMPLES and np.ptp(weight) == 0.0
    np.testing.assert_array_equal(np.bincount(chain), SAMPLES)


def test_old_samples_are_forgotten_and_broken_ones_left_out() -> None:
    """Of ten iterations the latest five; chains stay together."""
    places = np.linspace(0.0, 0.9, 10).tolist()
    pool = pooled(places, 0.5)
    assert [float(e[0]) for e in pool.eta] == places[-5:]
    whole = pooled(places[:2], 0.99)
    assert len(whole.eta) == 1  # of two iterations 0.99 keeps one
    spoilt = Pool(0.5, 1).after(np.zeros(1), taken(0.0, spoilt=True))
    samples, _, chain = spoilt.at(np.zeros(1))
    assert len(samples) == CHAINS * SAMPLES - 1 and np.all(np.diff(chain) >= 0)
    assert np.isfinite(samples).all()
