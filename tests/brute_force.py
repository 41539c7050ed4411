"""The spin lattices of the PCG paper's Section 3.1, written out in loops over sites and states.

Nothing here uses the package's way of handling features: this is what it is checked against.
"""

import itertools
from typing import Any

import numpy as np


def spins(sites: int) -> np.ndarray:
    """Every configuration, ``(state, site)``; the first site is the top bit of a state's number."""
    return np.array(list(itertools.product([-1, 1], repeat=sites)))


def codes(x: np.ndarray) -> np.ndarray:
    """Numbers of the states ``x (sample, site)``."""
    return ((x > 0) @ (1 << np.arange(x.shape[1])[::-1])).astype(int)


def eq_55_features(x: np.ndarray, pair_range: int, triple_range: int) -> np.ndarray:
    """All features of Eq. 55 as printed, both signs of each +- summed, ``(sample, feature)``."""
    n = x.shape[1]
    columns = [sum(x[:, i] for i in range(n))]
    for k in range(1, pair_range + 1):
        columns.append(sum(x[:, i] * x[:, (i + s * k) % n] for i in range(n) for s in (1, -1)))
    for k in range(1, triple_range + 1):
        for m in range(1, triple_range + 1):
            columns.append(
                sum(
                    x[:, i] * x[:, (i + s * k) % n] * x[:, (i + s * (k + m)) % n]
                    for i in range(n)
                    for s in (1, -1)
                )
            )
    return 0.5 * np.stack(columns, 1)


def eq_46_energy(x: np.ndarray, couplings: np.ndarray, mu: float, count: str) -> np.ndarray:
    """Fine energy of Eq. 46, ``(sample,)``, by a sum over all pairs of sites."""
    n = x.shape[1]
    total = -mu * x.sum(1).astype(float)
    for i in range(n):
        for j in range(n):
            k = min(abs(i - j), n - abs(i - j))
            if 1 <= k <= len(couplings) and (count == "ordered" or i < j):
                total -= 0.5 * couplings[k - 1] * x[:, i] * x[:, j]
    return total


def statistics(potential: Any) -> np.ndarray:
    """Statistics of every state, ``(state, term)``, from the offsets of each feature."""
    x = spins(potential.basis.sites)
    n = x.shape[1]
    columns = [x.sum(1).astype(float)]
    for feature in potential.basis.features:
        column = np.zeros(len(x))
        for offsets, weight in zip(feature.products, feature.weights, strict=True):
            for i in range(n):
                column += weight * np.prod([x[:, (i + o) % n] for o in offsets], axis=0)
        columns.append(column)
    return np.stack(columns, 1)


def energies(potential: Any) -> np.ndarray:
    """Energy of every state, ``(state,)``."""
    natural = np.concatenate([[float(potential.field)], np.asarray(potential.theta)])
    return -statistics(potential) @ natural


def log_sum_exp(a: np.ndarray) -> np.ndarray:
    """Over the first axis."""
    top = a.max(0)
    return top + np.log(np.exp(a - top).sum(0))


def weights(log_weights: np.ndarray) -> np.ndarray:
    """Normalised probabilities over the first axis."""
    return np.exp(log_weights - log_sum_exp(log_weights))


def covariance(values: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Covariance of ``values (state, term)`` under probabilities ``(state,)``."""
    centred = values - probability @ values
    return (centred * probability[:, None]).T @ centred
