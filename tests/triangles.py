"""The molecule X-Y-X of the ARCG paper's Table I, and its integrals by plain quadrature."""

from collections.abc import Callable
from functools import cache

from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from bayescg.distributions import Boltzmann
from bayescg.potentials import MolecularPotential
from bayescg_models import virtual_bond
from bayescg_models.virtual_bond import CENTRE, NAMES, Options, Triangle

#: Lengths and stiffnesses of X-Y, then of X-X.
TARGET = (2.0, 2.7, 2.3, 0.4)
INITIAL = (0.65, 2.2, 1.4, 0.15)
OPTIMUM = (1.70, 2.06, 2.66, 0.224)

REACH = 8.0  # angstrom from both ends, beyond which Y never is
FARTHEST = 10.0  # angstrom, between the ends


@cache
def triangle(energy: str = "half") -> Triangle:
    """What the program of the shipped model stands on."""
    system = virtual_bond.system(Options(energy=energy))  # type: ignore[arg-type]
    return system.program.keywords["triangle"]  # type: ignore[attr-defined]


def potential(one: Triangle, values: tuple[float, ...]) -> MolecularPotential:
    return one.potential(*(jnp.asarray(float(v)) for v in values))


def nodes(edges: np.ndarray, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of Gauss and Legendre between each two edges."""
    x, w = np.polynomial.legendre.leggauss(count)
    low, half = edges[:-1, None], 0.5 * np.diff(edges)[:, None]
    return (low + half * (x + 1.0)).ravel(), (half * w).ravel()


def over_y(
    r: float,
    values: tuple[float, ...],
    stiffer: float,
    f: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda a, b: np.ones_like(a),
) -> float:
    """Integral of f(a, b) exp(-beta u) over the place of Y, in cylindrical coordinates about X-X.

    Its edges go through both ends, where a and b have a kink. Energies are 0 at CENTRE, as in the model.

    :param stiffer: beta, times 1/2 where the energy has it.
    :param f: of the distances of Y from the ends.
    """
    x, k = values[:2]
    between = np.linspace(0.0, r, 2 + int(r / 0.5))
    outside = np.linspace(0.0, REACH, 17)
    z, wz = nodes(np.concatenate([-outside[:0:-1], between, r + outside[1:]]))
    rho, wr = nodes(outside)
    a, b = np.hypot(z[:, None], rho), np.hypot(z[:, None] - r, rho)
    u = (a - x) ** 2 + (b - x) ** 2 - 2.0 * (CENTRE - x) ** 2
    return float(2.0 * np.pi * wz @ (np.exp(-stiffer * k * u) * f(a, b)) @ (wr * rho))


def shell(r: float, values: tuple[float, ...], stiffer: float) -> float:
    """4 pi r^2 Z(r)."""
    x, k = values[2:]
    ends = np.exp(-stiffer * k * ((r - x) ** 2 - (CENTRE - x) ** 2))
    return float(4.0 * np.pi * r**2 * ends * over_y(r, values, stiffer))


def shells(values: tuple[float, ...], stiffer: float) -> float:
    """Integral of 4 pi r^2 Z(r)."""
    r, w = nodes(np.linspace(0.0, FARTHEST, 11), 6)
    return float(sum(b * shell(a, values, stiffer) for a, b in zip(r, w, strict=True)))


def mapped_program(
    x: Array | None = None, *, take: Callable[[Array], Array], frames: int = 1
) -> None:
    """The molecule as a program whose data are what ``take`` makes of ``(frame, site, axis)``."""
    values = {n: numpyro.sample(n, dist.LogNormal()) for n in NAMES}
    with numpyro.plate("frame", frames if x is None else len(x)):
        one = triangle()
        p_c = Boltzmann(
            one.potential(**values),
            one.beta,
            log_partition=one.exact,
            event_shape=(3, 3),
            support=dist.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", dist.Delta(take(X), event_dim=2), obs=x)
