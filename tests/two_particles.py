"""Two Lennard-Jones particles in a periodic box: a fluid whose log Z is one integral over their distance."""

from collections.abc import Callable

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.units import beta_of
from models import lj_fluid

EDGE, CUTOFF = 9.0, 4.5  # angstrom
TRUTH = (1.2, 3.0)  # epsilon and sigma
BETA = beta_of(300.0)
OPTIONS = lj_fluid.Options(
    sites=2, density=2 / EDGE**3, cutoff=CUTOFF, epsilon=1.0, sigma=3.0, prior="lognormal"
)
R = np.linspace(1e-3, CUTOFF, 2001)
GRID = (
    121  # points of an axis of the posterior's grid, over WIDTH standard deviations to both sides
)
WIDTH = 6.0


def _pair(epsilon: float, sigma: float):  # type: ignore[no-untyped-def]
    return lj_fluid._fluid(OPTIONS).potential(jnp.asarray(epsilon), jnp.asarray(sigma))


#: The two functions of the distance, ``(term, r)``, and the two coefficients at TRUTH times beta.
BASIS = np.asarray(_pair(1.0, 1.0).interactions[0].basis(jnp.asarray(R)))


def natural(epsilon: Array, sigma: Array) -> Array:
    """Of the sums over r^-12 and r^-6 with their windows, times beta."""
    return BETA * _pair(epsilon, sigma).natural()


def frames(count: int, seed: int) -> xr.Dataset:
    """Independent configurations at TRUTH, by rejection from those without forces."""
    rng = np.random.default_rng(seed)
    log_w = np.asarray(natural(*TRUTH)) @ BASIS
    out: list[np.ndarray] = []
    while len(out) < count:
        apart = rng.uniform(-0.5 * EDGE, 0.5 * EDGE, 3)
        r = np.linalg.norm(apart)
        log_p = np.interp(r, R, log_w) if r < CUTOFF else 0.0
        if np.log(rng.uniform()) < log_p - log_w.max():
            first = rng.uniform(0.0, EDGE, 3)
            out.append(np.stack([first, (first + apart) % EDGE]))
    return xr.Dataset(
        {"x": (("frame", "site", "axis"), np.array(out)), "box": ("axis", np.full(3, EDGE))},
        attrs={"temperature": 300.0},
    )


def log_z(e: Array) -> Array:
    """Exact but for the trapezoids over distances; ``e (term,)`` times beta."""
    inside = R**2 * jnp.expm1(jnp.maximum(e @ BASIS, -700.0))
    return jnp.log(EDGE**3 + 4.0 * np.pi * jnp.trapezoid(inside, R))


def log_posterior(data: xr.Dataset) -> Callable[[Array], Array]:
    """Of the logarithms of epsilon and sigma, ``(2,)``."""
    x = jnp.asarray(data["x"].values)
    seen = jnp.sum(_pair(*TRUTH).statistics(x.T), -1)
    middle = jnp.log(jnp.array([OPTIONS.epsilon, OPTIONS.sigma]))

    def value(u: Array) -> Array:
        e = natural(*jnp.exp(u))
        prior = -0.5 * jnp.sum(((u - middle) / OPTIONS.prior_spread) ** 2)
        return e @ seen - len(x) * log_z(e) + prior

    return value


def posterior(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the two logarithms by quadrature on a grid about the mode."""
    value = log_posterior(data)
    slopes = jax.jit(lambda u: (jax.grad(value)(u), jax.hessian(value)(u)))
    many = jax.jit(lambda u: jax.lax.map(value, u, batch_size=512))
    mode = np.log(TRUTH)
    for _ in range(30):
        gradient, hessian = map(np.asarray, slopes(mode))
        step = -np.linalg.solve(hessian, gradient)
        mode = mode + step * min(1.0, 0.1 / np.linalg.norm(step))
    sd = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    axes = [mode[i] + sd[i] * np.linspace(-WIDTH, WIDTH, GRID) for i in range(2)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    log_p = np.asarray(many(jnp.asarray(grid)))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ grid
    return mean, np.sqrt(p @ (grid - mean) ** 2)
