"""Exact posteriors of a mean as fits would leave them, and the exact log density of each datum left out."""

from typing import Any

import numpy as np
from scipy.stats import norm
import xarray as xr

from bayescg import results

COUNT, PRIOR = 40, 2.0
Y = np.random.default_rng(3).normal(0.7, 1.0, COUNT)


def posterior(noise: float, y: np.ndarray) -> tuple[float, float]:
    """Mean and variance of the mean of normal data under N(0, 2^2)."""
    variance = 1.0 / (1.0 / PRIOR**2 + len(y) / noise**2)
    return variance * y.sum() / noise**2, variance


def left_out(noise: float) -> np.ndarray:
    """Exact log density of each datum given all others."""
    out = []
    for i, y in enumerate(Y):
        mean, variance = posterior(noise, np.delete(Y, i))
        out.append(norm(mean, np.sqrt(variance + noise**2)).logpdf(y))
    return np.array(out)


def seen(noise: float) -> np.ndarray:
    """The same given all data, itself among them."""
    mean, variance = posterior(noise, Y)
    return np.asarray(norm(mean, np.sqrt(variance + noise**2)).logpdf(Y))


def model(
    noise: float = 1.0, *, draws: int = 2000, seed: int = 0, sweep: bool = False, **attrs: Any
) -> Any:
    """Exact draws of the posterior of a model whose noise is given, as a fit would leave them.

    :param sweep: store the data as two members of half of them.
    """
    mean, variance = posterior(noise, Y)
    theta = np.random.default_rng(seed).normal(mean, np.sqrt(variance), (4, max(1, draws // 4)))
    if draws == 1:
        theta = np.full((1, 1), mean)
    each = norm(theta[..., None], noise).logpdf(Y)
    dims: tuple[str, ...] = ("chain", "draw", "frame")
    x = Y[:, None]
    x_dims: tuple[str, ...] = ("frame", "site")
    if sweep:
        each = each.reshape(*each.shape[:2], 2, -1)
        dims, x, x_dims = ("chain", "draw", "mu", "frame"), x.reshape(2, -1, 1), ("mu", *x_dims)
    groups = {
        "posterior": xr.Dataset({"p0": (("chain", "draw"), theta)}),
        "log_likelihood": xr.Dataset({"x": (dims, each)}),
        "observed_data": xr.Dataset({"x": (x_dims, x)}),
    }
    told = {
        "method": "nuts",
        "model": "made up",
        "model_options": {},
        "converged": 1,
        "ended": "converged",
        "prior_used": "normal",
        "data_sha256": "one",
    }
    return results.inference_data(groups, **(told | attrs))
