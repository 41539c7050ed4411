"""An isolated pair, and an isolated molecule: systems whose distributions are known by quadrature.

A sampler of one pair in a box draws its distance from r^2 exp(-beta u) of the very tables that a
simulation would use, without correlation: it stands in for molecular dynamics where the methods'
iterations are tested.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import workflow
from bayescg.infer.fit import Fit
from bayescg.samplers.base import ChainInfo, ChainState, Sampler
from bayescg.samplers.forces import NODES, Tables, tabulate
from bayescg.system import System
from bayescg.topology import Bonded, Topology, variables_of
from bayescg.units import beta_of

BOX = 16.0
LARGEST = 8.0  # angstrom, distances that are drawn: the sphere in the box
FINE = 4000
TEMPERATURE = 300.0
KT = 1.0 / beta_of(TEMPERATURE)
EPSILON, SIGMA = 0.8, 3.4


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


def lennard_jones(r: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Lennard-Jones that ends smoothly at 7 angstrom."""
    s6 = (SIGMA / r) ** 6
    t = np.clip((r - 6.0) / 1.0, 0.0, 1.0)
    return 4.0 * epsilon * (s6**2 - s6) * (1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2))


def pair_system(method: str, *words: str, width: float = 0.1) -> tuple[System, xr.Dataset]:
    """The model of molecules on the data of a pair, sampled without correlation."""
    data = pair_data(lennard_jones, width)
    made = workflow.make_system("molecular", ["cutoff=7", *words], data, method)
    return replace(made, sampler=pair_sampler()), data


def pair_potential(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Distances of a result's pair potential, and its values."""
    idata = workflow.to_inference_data(fit)
    u = idata.posterior["pair_potential"]
    return np.asarray(u["r"].values), np.asarray(u.values)[0, 0]


Potential = Callable[[np.ndarray], np.ndarray]

#: Of the molecule, which feels nothing but its bonds, angles and the dihedral.
MOLECULE = Topology(
    types=("A", "B", "B", "A"),
    mass=np.full(4, 14.0),
    molecule=np.zeros(4, int),
    bond=Bonded(np.array([[0, 1], [1, 2], [2, 3]]), ("AB", "BB", "AB")),
    angle=Bonded(np.array([[0, 1, 2], [1, 2, 3]]), ("ABB",) * 2),
    dihedral=Bonded(np.array([[0, 1, 2, 3]]), ("ABBA",)),
    exclusion=np.stack(np.triu_indices(4, 1), 1),
)


class Coordinate(NamedTuple):
    """Of one kind of term, angstrom or radians."""

    unit: float  # of files
    low: float
    high: float
    bins: int
    element: Potential  # of volume


COORDINATES = {
    "bond": Coordinate(1.0, 2.4, 5.4, 150, lambda q: q**2),
    "angle": Coordinate(np.pi / 180.0, 0.0, np.pi, 90, np.sin),
    "dihedral": Coordinate(np.pi / 180.0, -np.pi, np.pi, 72, np.ones_like),
}


def molecule_data(u: Mapping[str, Potential]) -> xr.Dataset:
    """Targets of an isolated molecule: the exact density in every bin, which integrates to 1.

    Its coordinates are independent: the volume element is the product of r^2 of the bonds, sin(theta)
    of the angles and 1 of the dihedral.

    :param u: potentials by kind, kcal/mol, of angstrom or radians.
    """
    shape = np.array([[0.0, 0, 0], [3.6, 0, 0], [5.1, 3.3, 0], [8.7, 3.3, 0.4]])
    variables: dict[str, Any] = {
        "x": (("frame", "site", "axis"), shape[None]),
        "box": (("axis",), np.full(3, 2.0 * BOX)),
    }
    coords = {}
    for kind, one in COORDINATES.items():
        edges = np.linspace(one.low, one.high, one.bins + 1)
        inside = np.linspace(edges[:-1], edges[1:], 201)
        mass = np.trapezoid(one.element(inside) * np.exp(-u[kind](inside) / KT), inside, axis=0)
        coords[f"{kind}_value"] = 0.5 * (edges[1:] + edges[:-1]) / one.unit
        density = mass / mass.sum() / (edges[1] - edges[0]) * one.unit
        for name in MOLECULE.bonded()[kind].kinds:
            variables[f"{kind}_{name}"] = ((f"{kind}_value",), density)
    data = xr.Dataset(variables, coords=coords, attrs={"temperature": TEMPERATURE})
    return data.assign({k: (d, v) for k, (d, v) in variables_of(MOLECULE).items()})
