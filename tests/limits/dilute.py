"""Isolated pairs, and isolated molecules: systems whose distributions are known by quadrature.

A sampler of one pair in a box draws its distance from r^2 exp(-beta u) of the very tables that a
simulation would use, without correlation: it stands in for molecular dynamics where the methods'
iterations are tested.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.samplers.base import ChainInfo, ChainState, Sampler
from bayescg.samplers.forces import NODES, Tables, tabulate
from bayescg.units import beta_of

BOX = 16.0
LARGEST = 8.0  # angstrom, distances that are drawn: the sphere in the box
FINE = 4000
TEMPERATURE = 300.0
KT = 1.0 / beta_of(TEMPERATURE)


def pair_sampler() -> Sampler:
    """Independent draws of the distance of two sites, by inverting its distribution."""
    edges = jnp.linspace(1.0, LARGEST, FINE + 1)

    def prepare(potential: Any, beta: Array) -> tuple[Tables, Array]:
        return tabulate(potential, beta, jnp.float64), jnp.ones(())

    def at(key: Array, x: Array) -> ChainState:
        return ChainState(jnp.asarray(x, float))

    def init(key: Array, chains: int) -> ChainState:
        x = jnp.zeros((3, 2, chains))
        return ChainState(x.at[0, 1].set(3.0))

    def step(
        key: Array, state: ChainState, tables: Tables, beta: Array, field: None = None
    ) -> tuple[ChainState, ChainInfo]:
        r = 0.5 * (edges[1:] + edges[:-1])
        place = (r * r - 1.0) / tables.step
        node = jnp.clip(place, 0.0, NODES - 1.0).astype(int)
        u = tables.value[node] + tables.slope[node] * (r * r - 1.0 - node * tables.step)
        total = jnp.cumsum(r**2 * jnp.exp(-u))
        drawn = jax.random.uniform(key, state.x.shape[2:]) * total[-1]
        k = jnp.searchsorted(total, drawn)
        before = jnp.where(k > 0, total[k - 1], 0.0)
        share = (drawn - before) / (total[k] - before)
        distance = edges[k] + share * (edges[1] - edges[0])
        x = jnp.zeros_like(state.x).at[0, 1].set(distance)
        return ChainState(x), ChainInfo(jnp.ones(()))

    return Sampler(init, step, prepare, at)


def pair_data(u: Callable[[np.ndarray], np.ndarray], width: float = 0.1) -> xr.Dataset:
    """Targets of an isolated pair with the potential ``u``: the exact mean of g in every bin.

    g = exp(-beta u) / <exp(-beta u)>, the mean over the sphere that is sampled times its share of
    the box, as counting in a box has it.
    """
    edges = width * np.arange(round(LARGEST / width) + 1)
    inside = np.linspace(edges[:-1], edges[1:], 201)
    weight = np.where(inside >= 1.0, inside**2 * np.exp(-u(np.maximum(inside, 1e-3)) / KT), 0.0)
    mass = np.trapezoid(weight, inside, axis=0)
    shell = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    g = mass / mass.sum() / (shell / BOX**3)
    x = np.array([[[0.0, 0, 0], [3.0, 0, 0]]])
    return xr.Dataset(
        {
            "rdf": (("r",), g),
            "x": (("frame", "site", "axis"), x),
            "box": (("axis",), np.full(3, BOX)),
        },
        coords={"r": 0.5 * (edges[1:] + edges[:-1])},
        attrs={"temperature": TEMPERATURE},
    )
