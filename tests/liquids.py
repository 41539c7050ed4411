"""Configurations and potentials of particles that the tests share."""

import jax.numpy as jnp
import numpy as np

from bayescg.potentials import (
    FixedPair,
    InversePowers,
    LennardJones,
    LinearPair,
    ParticlePotential,
    StillingerWeber,
    Wall,
    WindowedFourier,
)
from bayescg.units import KCAL, beta_of

SITES = 100
BOX = (14.5459665,) * 3  # of Appendix B.1.1
CLOSEST = 2.2  # angstrom, between two sites of a liquid
BETA = beta_of(300.0)


def liquid(
    sites: int = SITES, *batch: int, box: tuple[float, ...] = BOX, seed: int = 0
) -> np.ndarray:
    """Random sites ``(axis, site, *batch)``, pushed apart until no two are closer than ``CLOSEST``.

    Some lie outside the box, by whole edges.
    """
    rng = np.random.default_rng(seed)
    edges = np.array(box)[:, None, None]
    out = []
    for _ in range(int(np.prod(batch))):
        x = rng.uniform(size=(3, sites, 1)) * edges
        for _ in range(1000):
            d = x - x.swapaxes(1, 2)
            d -= edges * np.round(d / edges)
            r = np.linalg.norm(d, axis=0) + np.diag(np.full(sites, np.inf))
            if r.min() > CLOSEST:
                break
            push = 0.5 * np.maximum(1.05 * CLOSEST - r, 0.0) / r
            x = x + np.sum(push * d, 2)[:, :, None]
        else:
            raise AssertionError("sites do not come apart")
        out.append(x[..., 0] + edges[..., 0] * rng.integers(-2, 3, (3, sites)))
    return np.stack(out, -1).reshape(3, sites, *batch)


def water(
    features: int = 20,
    *,
    three_body: bool = True,
    scale: float = 0.05,
    box: tuple[float, float, float] = BOX,
    lennard_jones: InversePowers = InversePowers(),  # noqa: B008 - frozen
) -> ParticlePotential:
    """Lennard-Jones, a random correction in a window, a core, and the term of Appendix B.3."""
    theta = scale * np.random.default_rng(features).normal(size=features)
    pairs = (
        LennardJones(jnp.asarray(0.15), jnp.asarray(2.9), lennard_jones),
        LinearPair(jnp.asarray(theta), WindowedFourier(features)),
        FixedPair(Wall(2.4), 500.0),
    )
    form = StillingerWeber(jnp.asarray(0.762 * 83.5737 / KCAL)) if three_body else None
    return ParticlePotential(pairs, box, form)
