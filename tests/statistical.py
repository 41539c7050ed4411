"""Statistical checks, and the one rate at which all of them may fail without a fault.

Every test that draws random numbers uses fixed keys, so it passes always or fails always. What is
stated here is the chance that a right program fails such a check once, when a key, or the stream
of numbers behind it, changes: ``FALSE_FAILURES`` for each call below, however many numbers the
call compares (Bonferroni). The suite makes fewer than 200 calls: less than 0.2 % in all.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bayescg.samplers import ChainState, Sampler
from tests import brute_force

FALSE_FAILURES = 1e-5

#: A Monte Carlo error below this, relative to the value, is no error but round-off.
ROUND_OFF = 1e-12


def check_z(estimate: ArrayLike, exact: ArrayLike, error: ArrayLike, dof: float = np.inf) -> None:
    """Assert that estimates lie as near the exact values as their standard errors say.

    :param error: Monte Carlo standard error of each estimate; where it is zero, the estimate must
        agree to round-off.
    :param dof: degrees of freedom with which the errors were estimated.
    """
    estimate, exact, error = np.broadcast_arrays(
        np.asarray(estimate, float), np.asarray(exact, float), np.asarray(error, float)
    )
    assert np.all(np.isfinite(estimate)) and np.all(error >= 0.0)
    floor = ROUND_OFF * (1.0 + np.abs(exact))
    z = (estimate - exact) / np.maximum(error, floor)
    limit = stats.t.isf(FALSE_FAILURES / (2 * z.size), dof)
    # Round-off is no random number: a few units of it are let through.
    worst = np.max(np.where(error > floor, np.abs(z), np.abs(z) / 100.0 * limit))
    assert worst <= limit, f"|z| up to {worst:.1f}, limit {limit:.1f}:\n{np.round(z, 1)}"


def check_mean(values: ArrayLike, exact: ArrayLike) -> None:
    """Assert that independent values, along the first axis, have the exact mean."""
    values = np.asarray(values, float)
    count = len(values)
    check_z(values.mean(0), exact, values.std(0, ddof=1) / np.sqrt(count), count - 1)


def check_variance(values: ArrayLike, variance: ArrayLike) -> None:
    """Assert that independent normal values, along the first axis, have this variance."""
    values = np.asarray(values, float)
    dof = len(values) - 1
    ratio = dof * values.var(0, ddof=1) / np.asarray(variance, float)
    p = 2.0 * np.minimum(stats.chi2.cdf(ratio, dof), stats.chi2.sf(ratio, dof))
    assert np.all(p > FALSE_FAILURES / p.size), f"variance ratios {np.round(ratio / dof, 2)}"


def check_frequencies(counts: ArrayLike, probabilities: ArrayLike) -> None:
    """Assert that independent draws fall on the outcomes as often as they should (chi-square).

    Outcomes are taken together until each is expected 20 times or more: the tail of chi-square
    is then right at so small a rate.
    """
    counts, probabilities = np.asarray(counts), np.asarray(probabilities, float)
    total = counts.sum()
    assert np.isclose(probabilities.sum(), 1.0)
    assert np.all(counts[probabilities == 0.0] == 0), "an impossible outcome was drawn."
    order = np.argsort(probabilities)
    expected = total * probabilities[order]
    # The first outcome from which on all are common, and those before it add up to enough.
    rare = np.flatnonzero((expected >= 20.0) & (np.cumsum(expected) - expected >= 20.0))
    first = rare[0] if rare.size and expected[0] < 20.0 else 0

    def pool(values: np.ndarray) -> np.ndarray:
        return np.append(values[:first].sum(), values[first:]) if first else values

    expected = pool(expected)
    p = stats.chisquare(pool(counts[order]), expected * (total / expected.sum())).pvalue
    assert p > FALSE_FAILURES, f"chi-square p-value {p:.1e} over {expected.size} outcomes"


def check_states(spins: ArrayLike, log_weights: ArrayLike) -> None:
    """Assert that independent spins ``(site, sample)`` follow ``exp(log_weights)``.

    :param log_weights: of every state, in the order of ``brute_force.spins``.
    """
    spins, log_weights = np.asarray(spins), np.asarray(log_weights)
    assert np.all(np.abs(spins) == 1)
    weights = np.exp(log_weights - log_weights.max())
    codes = brute_force.codes(spins.T)
    check_frequencies(np.bincount(codes, minlength=weights.size), weights / weights.sum())


def check_stationary(
    sampler: Sampler,
    potential: Any,
    beta: float,
    key: Array,
    fields: ArrayLike | None = None,
    *,
    chains: int = 40_000,
    steps: int = 2,
) -> None:
    """Assert that ``step`` leaves ``exp{-beta U + h.x}`` as it is.

    Chains start from exact draws, so that after any number of steps they are still independent
    and must follow the same distribution.

    :param fields: None, or several fields ``(field, site)``: each is laid on a part of the chains.
    """
    log_weights = -beta * brute_force.energies(potential)
    states = brute_force.spins(potential.basis.sites)
    each = np.zeros((1, states.shape[1])) if fields is None else np.asarray(fields, float)
    start_key, key = jax.random.split(key)
    start, laid = [], []
    for k, h in zip(jax.random.split(start_key, len(each)), each, strict=True):
        code = jax.random.categorical(k, jnp.asarray(log_weights + states @ h), shape=(chains,))
        start.append(states[np.asarray(code)].T)
        laid.append(np.tile(h[:, None], chains))
    state = ChainState(jnp.asarray(np.concatenate(start, 1), jnp.float32))
    field = None if fields is None else jnp.asarray(np.concatenate(laid, 1))

    def move(state: ChainState, key: Array) -> tuple[ChainState, None]:
        return sampler.step(key, state, potential, jnp.asarray(beta), field)[0], None

    run: Callable[..., Any] = jax.jit(lambda s, k: jax.lax.scan(move, s, k)[0])
    end = np.asarray(run(state, jax.random.split(key, steps)).x)
    for j, h in enumerate(each):
        check_states(end[:, j * chains : (j + 1) * chains], log_weights + states @ h)
