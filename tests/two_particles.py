"""Two Lennard-Jones particles in a periodic box: a fluid whose log Z is one integral over their distance."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr

import bayescg as cg
from bayescg.distributions import Boltzmann, PeriodicNormal, positive
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
    return on_grid(log_posterior(data), np.log(TRUTH), GRID, WIDTH)


def noisy_posterior(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the three logarithms."""
    return on_grid(noisy_log_posterior(data), np.log([*TRUTH, SIGMA2]), 21, 4.5)


# --- the same, seen through noise ---------------------------------------------------------------
WIDTHS = (0.03, 0.7)  # median of sigma2 in its prior, angstrom^2, and the spread of its logarithm
SIGMA2 = 0.03  # that data are made with


def noisy_program(x: Array | None = None, *, fluid: lj_fluid.Fluid, frames: int = 1) -> None:
    """p(theta) p_c(X | theta) and x about X with variance sigma2."""
    epsilon, sigma = (positive(n, fluid.prior[n]) for n in ("epsilon", "sigma"))
    sigma2 = positive("sigma2", WIDTHS)
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            fluid.potential(epsilon, sigma),
            fluid.beta,
            log_partition=None,
            event_shape=(2, 3),
            support=numpyro.distributions.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", PeriodicNormal(X, sigma2, box=fluid.box), obs=x)


def noisy_system() -> cg.System:
    plain, fluid = lj_fluid.system(OPTIONS), lj_fluid._fluid(OPTIONS)
    start = dict(plain.start) | {"sigma2": SIGMA2}
    return replace(plain, program=partial(noisy_program, fluid=fluid), start=start)


def noisy_frames(count: int, seed: int) -> xr.Dataset:
    data = frames(count, seed)
    rng = np.random.default_rng(seed + 1)
    x = data["x"].values + np.sqrt(SIGMA2) * rng.normal(size=data["x"].shape)
    return data.assign(x=(("frame", "site", "axis"), x % EDGE))


def noisy_log_posterior(data: xr.Dataset) -> Callable[[Array], Array]:
    r"""Of the logarithms of epsilon, sigma and sigma2, ``(3,)``, latents summed out by quadrature.

    The separation of x is that of X and a normal of variance :math:`s^2 = 2\sigma^2`, so that its distance
    :math:`\rho` has the density, relative to that of an ideal gas,

    .. math:: f(\rho) = 1 + \int (w(r) - 1)\,\frac{r}{\rho}\,[N(r - \rho; s^2) - N(r + \rho; s^2)]\,dr,

    with w the Boltzmann factor.
    """
    d = data["x"].values[:, 0] - data["x"].values[:, 1]
    rho = jnp.asarray(np.linalg.norm(d - EDGE * np.round(d / EDGE), axis=1))[:, None]
    middle = jnp.log(jnp.array([OPTIONS.epsilon, OPTIONS.sigma, WIDTHS[0]]))
    spread = jnp.array([OPTIONS.prior_spread, OPTIONS.prior_spread, WIDTHS[1]])
    r, basis = R[::4], BASIS[:, ::4]  # narrow to the noise, and to the well

    def value(u: Array) -> Array:
        epsilon, sigma, sigma2 = jnp.exp(u)
        e = natural(epsilon, sigma)
        w = jnp.expm1(jnp.maximum(e @ basis, -700.0))
        s2 = 2.0 * sigma2
        near, far = (jnp.exp(-0.5 * (r - sign * rho) ** 2 / s2) for sign in (1.0, -1.0))
        kernel = r / rho * (near - far) / jnp.sqrt(2.0 * jnp.pi * s2)
        f = 1.0 + jnp.trapezoid(w * kernel, r, axis=1)
        prior = -0.5 * jnp.sum(((u - middle) / spread) ** 2)
        return jnp.sum(jnp.log(f)) - len(rho) * log_z(e) + prior

    return value


def on_grid(
    value: Callable[[Array], Array], start: np.ndarray, points: int, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation by quadrature on a grid about the mode of a log density."""
    slopes = jax.jit(lambda u: (jax.grad(value)(u), jax.hessian(value)(u)))
    many = jax.jit(lambda u: jax.lax.map(value, u, batch_size=64))
    mode = np.asarray(start, float)
    for _ in range(30):
        gradient, hessian = map(np.asarray, slopes(mode))
        step = -np.linalg.solve(hessian, gradient)
        mode = mode + step * min(1.0, 0.1 / np.linalg.norm(step))
    sd = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    axes = [m + s * np.linspace(-width, width, points) for m, s in zip(mode, sd, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(mode))
    log_p = np.asarray(many(jnp.asarray(grid)))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ grid
    return mean, np.sqrt(p @ (grid - mean) ** 2)
