r"""Whether averages of a liquid could be had from fewer samples: control variates, and how slow its chains are.

For any pair field :math:`w(r)` the sum over pairs of :math:`2 (w' + 2 w / r) + w \, (f_i - f_j) \cdot \hat r_{ij}`
has mean zero under the model, with total forces :math:`f` in kT (integration by parts; Borgis et al., Mol. Phys. 111,
3486 (2013), count g(r) so). Twenty such sums are control variates of the statistics that a fit needs, with
coefficients from one half of the chains applied to the other. What counts is the variance of a chain's average, in
which slow motions remain, not that of single samples. Their ratio to the variance of plain averages is what control
variates gain for the same chains; forces are there anyway.

Replica exchange pays where chains are slow: beside it stands how many trajectories one independent sample takes.

``python -m benchmarks fewer-samples``.
"""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.samplers import Dynamics, particle_sampler
from bayescg.samplers.forces import forces, tabulate
from bayescg.samplers.lists import listed
from benchmarks.sampler import KINDS, example

SITES, CHAINS, WARMUP, SAMPLES = 100, 32, 150, 300
FIELDS = 20
FIRST, LAST = 2.2, 7.0  # angstrom


def _taper(r: Array) -> Array:
    t = jnp.clip(LAST - r, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _fields(r: Array) -> Array:
    centres = jnp.linspace(FIRST, LAST - 0.1, FIELDS)
    bumps = jnp.exp(-0.5 * ((r[..., None] - centres) / (centres[1] - centres[0])) ** 2)
    return bumps * _taper(r)[..., None]


def _statistics(r: Array) -> Array:
    """Lennard-Jones, cosines, and counts of pairs in bumps."""
    inverse = (3.0 / r[..., None]) ** 6
    waves = jnp.cos(jnp.arange(1, 9) * jnp.pi / (LAST - 2.0) * (r[..., None] - 2.0))
    bumps = jnp.exp(-0.5 * ((r[..., None] - jnp.linspace(2.6, 6.5, 9)) / 0.15) ** 2)
    return jnp.concatenate([inverse**2, inverse, waves * _taper(r)[..., None], bumps], -1)


def _measured(x: Array, f: Array, box: Array) -> tuple[Array, Array]:
    """Statistics and control variates of one configuration, ``(axis, site)``."""
    i, j = np.triu_indices(SITES, 1)
    d = x[:, i] - x[:, j]
    d = d - box[:, None] * jnp.round(d / box[:, None])
    r = jnp.sqrt(jnp.sum(d * d, 0))
    w, slope = jax.jvp(_fields, (r,), (jnp.ones_like(r),))
    along = jnp.sum((f[:, i] - f[:, j]) * d / r, 0)
    variates = 2.0 * (slope + 2.0 * w / r[:, None]) + w * along[:, None]
    within = (r < LAST)[:, None]
    return (
        jnp.sum(jnp.where(within, _statistics(r), 0.0), 0),
        jnp.sum(jnp.where(within, variates, 0.0), 0),
    )


def run() -> dict[str, Any]:
    """By statistic: variances over those with control variates, and the inefficiency of chains."""
    return {kind: _kind(kind) for kind in KINDS}


def _kind(kind: str) -> dict[str, Any]:
    potential, beta, _ = example(kind, SITES)
    sampler = particle_sampler(SITES, potential.box, Dynamics("langevin"))
    state = sampler.init(jax.random.key(0), CHAINS)
    ready = sampler.prepare(potential, jnp.asarray(beta))
    tables, box = tabulate(potential, jnp.asarray(beta), jnp.float64), jnp.asarray(potential.box)
    step = jax.jit(lambda k, state: sampler.step(k, state, *ready)[0])

    @jax.jit
    def measure(x: Array) -> tuple[Array, Array]:
        x = x.astype(float)
        f = forces(tables, x, listed(tables, x, potential.box).lists)
        return jax.vmap(lambda x, f: _measured(x, f, box), in_axes=2)(x, f)

    for k in jax.random.split(jax.random.key(1), WARMUP):
        state = step(k, state)
    rows = []
    for k in jax.random.split(jax.random.key(2), SAMPLES):
        state = step(k, state)
        rows.append(measure(state.x))
    plain, variates = (np.stack([np.asarray(r[n]) for r in rows]) for n in range(2))
    means = variates.mean(0)
    z = means.mean(0) / (means.std(0, ddof=1) / np.sqrt(CHAINS))
    half = CHAINS // 2
    corrected = np.empty_like(plain)
    for here, there in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        known, wanted = (a[:, here].reshape(-1, a.shape[-1]) for a in (variates, plain))
        slopes = np.linalg.lstsq(known - known.mean(0), wanted - wanted.mean(0), rcond=1e-8)[0]
        corrected[:, there] = plain[:, there] - variates[:, there] @ slopes
    of_chains = [a.mean(0).var(0, ddof=1) for a in (plain, corrected)]
    of_samples = [a.reshape(-1, a.shape[-1]).var(0) for a in (plain, corrected)]
    return {
        "largest z of a mean that is zero": float(np.abs(z).max()),
        "gain in the variance of averages, median": float(np.median(of_chains[0] / of_chains[1])),
        "gain in the variance of single samples, median": float(
            np.median(of_samples[0] / of_samples[1])
        ),
        "trajectories an independent sample takes, median": float(
            np.median(SAMPLES * of_chains[0] / of_samples[0])
        ),
    }
