"""What different divergences make of a model, and what critics do that see too little (ARCG paper, Section V).

``run`` fits a bond of the virtual bond with nine divergences, each by critics that see enough and by some that do not.
``lattice`` takes a model that cannot become the data, a ring of eight spins without the data's second neighbours, on
which the optimum of every divergence is found from sums over its 256 states, without samples; ``BAYESCG_COUPLINGS``
are the data's, three numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
import json
import os
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog, minimize, root
from scipy.sparse import csr_matrix, eye_array, kron, vstack
import xarray as xr

import bayescg as cg
from bayescg.critics import Labelled, Logistic, labelled, whitened
from bayescg.divergences import DIVERGENCES, Divergence, FDivergence, KernelDivergence, Penalised
from bayescg.infer.adversarial import slope_of
from bayescg.observables import moments
from bayescg.potentials.enumeration import all_spins, ring_orbits
from bayescg.workflow.registry import make_system
from bayescg_models import virtual_bond
from benchmarks.arcg import exact_divergence, summary

# --- the virtual bond ------------------------------------------------------------------------

FRAMES = 1000
#: The bonds to the virtual site are held at the data's, so that the logarithm of two densities' ratio is a polynomial
#: of the second degree in the distance.
HELD = {"x_XY": 2.0, "k_XY": 2.7}
SEARCH: Mapping[str, Any] = {
    "chains": 64,
    "samples": 8,
    "rate": 0.05,
    "window": 24,
    "drift": 0.3,
    "stages": 3,
    "max_iterations": 300,
}


def _square(r: np.ndarray, scale: float) -> np.ndarray:
    return -0.5 * r**2


#: Witnesses that cannot bend; of the kernel -|x - y|^2/2, too, the witness is a straight line.
STRAIGHT: Mapping[str, Divergence] = {
    **{n: replace(d, hidden=()) for n, d in DIVERGENCES.items() if isinstance(d, Penalised)},
    "mmd": KernelDivergence("mmd", _square),
}


def run() -> dict[str, Any]:
    """Nine divergences on the virtual bond, of whose distance X-X the density is exact, by critics of several kinds.

    The length and the stiffness of the bond X-X are fitted, from the middle of the prior. Data are quantiles of the
    exact density, so that they have no noise of their own, and every divergence's optimum is the truth. Some critics
    see four powers of the distance, some the distance alone, and of these some know only straight lines.
    """
    data = _quantiles(FRAMES)
    system = replace(make_system("virtual_bond", ("start=middle",), data, "arcg"), dirac=HELD)
    distance: Any = replace(moments((1.0,)), box=(virtual_bond.BOX,) * 3)
    alone = replace(system, critic_features=(distance,))
    bends: dict[str, Any] = {"critic": "perceptron", "critic_steps": 50}
    wanted: list[tuple[str, str, cg.System, dict[str, Any]]] = [
        *((name, "four powers", system, {}) for name in DIVERGENCES),
        *((name, "the distance", alone, {}) for name in DIVERGENCES),
        *((n, "the distance, straight", alone, {"divergence": d}) for n, d in STRAIGHT.items()),
        ("relative_entropy", "the distance, perceptron", alone, bends),
    ]
    out = {"truth": _described({n: getattr(virtual_bond.Options(), n) for n in virtual_bond.NAMES})}
    for name, seen, chosen, how in wanted:
        words = {**SEARCH, "divergence": name, **how}
        began = time.process_time()
        fit = cg.limits.arcg(chosen, data, **words).run(jax.random.key(0))
        found = fit.program.constrain(jnp.asarray(fit.draws.mean((0, 1))[0]))
        out[f"{name}, {seen}"] = row = {
            **_described({**HELD, **{n: float(v) for n, v in found.items()}}),
            "ended": fit.ended,
            "iterations": fit.attrs["iterations"],
            "slope in its standard errors": fit.attrs["distance"],
            "divergence, as the critic sees it": fit.attrs["divergence"],
            "critic's accuracy": fit.attrs["critic_accuracy"],
            "seconds": fit.seconds,
            "seconds of a core": time.process_time() - began,
        }
        print(json.dumps({f"{name}, {seen}": row}), file=sys.stderr, flush=True)
    return out


def _density(values: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Distances X-X and their density, by quadrature."""
    triangle = virtual_bond._triangle(virtual_bond.Options())
    potential = triangle.potential(**{n: jnp.asarray(values[n]) for n in virtual_bond.NAMES})
    density = triangle.exact.density(potential, jnp.asarray(triangle.beta))
    return triangle.exact.points, np.asarray(density)


def _described(values: Mapping[str, float]) -> dict[str, Any]:
    mean, width, *_ = summary(*_density(values))
    return {
        "exact relative entropy": exact_divergence(values),
        "mean distance, angstrom": float(mean),
        "width, angstrom": float(width),
        "x_XX": values["x_XX"],
        "k_XX": values["k_XX"],
    }


def _quantiles(frames: int) -> xr.Dataset:
    """As many distances, each the middle one of an equal share of the exact density, in random order."""
    options = virtual_bond.Options(frames=frames)
    r, density = _density({n: getattr(options, n) for n in virtual_bond.NAMES})
    weight = density * np.gradient(r)
    below = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    rises = np.diff(below, prepend=-1.0) > 0.0
    distance = np.interp((np.arange(frames) + 0.5) / frames, below[rises], r[rises])
    x = np.full((frames, 2, 3), 0.5 * virtual_bond.BOX, np.float32)
    x[:, 1, 0] += np.random.default_rng(0).permutation(distance)
    data = virtual_bond.reference(options, jax.random.key(0))
    return data.assign(x=(("frame", "site", "axis"), x, data["x"].attrs))


# --- eight spins -----------------------------------------------------------------------------

SITES = 8
#: Field, first and second neighbours, over k_B T; the model has only the first two.
COUPLINGS = tuple(map(float, os.environ.get("BAYESCG_COUPLINGS", "0.1 0.1 0.4").split()))
STARTS = ((0.1, 0.1), (-0.2, 0.3), (0.1, 0.6))
SPINS = all_spins(SITES).T.astype(float)  # (state, site)
#: Magnetisation and correlations with first and second neighbours, times the sites, ``(state, term)``.
TERMS = np.stack([(SPINS * np.roll(SPINS, k, 1) if k else SPINS).sum(1) for k in range(3)], 1)
PHI = TERMS[:, :2]  # what the model's parameters stand before


@dataclass(frozen=True, eq=False)
class Seen:
    """What a critic sees of a state; of it, it may say anything.

    :param points: what it can see, ``(point, feature)``; ``of`` the point that each state is seen as.
    :param edges: points that one flip of a spin lies between, ``(edge, 2)``.
    :param apart: distances of groups of points, ``(group, group)``, whose points are equally likely and as far from
        those of other groups as the nearest is; ``group`` that of each point.
    """

    points: np.ndarray
    of: np.ndarray
    edges: np.ndarray
    apart: np.ndarray
    group: np.ndarray

    def seen(self, p: np.ndarray) -> np.ndarray:
        """Probabilities of points from those of states."""
        return np.bincount(self.of, p, len(self.points))


def _all_spins() -> Seen:
    """Every spin. States that the ring's symmetry makes one another are a group."""
    near, count, orbit = ring_orbits(SITES)
    between = np.linalg.norm(near.T[:, None] - SPINS[None], axis=2)
    apart = np.stack([between[:, orbit == k].min(1) for k in range(len(count))], 1)
    code = np.arange(len(SPINS))
    flips = np.concatenate([np.stack([code, code ^ (1 << i)], 1) for i in range(SITES)])
    return Seen(SPINS, code, flips[flips[:, 0] < flips[:, 1]], apart, orbit)


def _magnetisation() -> Seen:
    """The sum of the spins."""
    points = np.arange(-SITES, SITES + 1, 2.0)[:, None]
    place = np.arange(len(points))
    of = ((SPINS.sum(1) + SITES) / 2.0).astype(int)
    return Seen(points, of, np.stack([place[:-1], place[1:]], 1), np.abs(points - points.T), place)


def wasserstein(seen: Seen, p: np.ndarray, q: np.ndarray) -> float:
    """The least distance that probability must be carried."""
    groups = len(seen.apart)
    ones = csr_matrix(np.ones((1, groups)))
    sums = vstack([kron(eye_array(groups), ones), kron(ones, eye_array(groups))])
    both = np.concatenate([np.bincount(seen.group, f, groups) for f in (p, q)])
    return float(linprog(seen.apart.ravel(), A_eq=sums, b_eq=both, method="highs").fun)


def sobolev(seen: Seen, p: np.ndarray, q: np.ndarray) -> float:
    """With half of its change by a flip for a witness's slope: the mean square of it, over both, is held at 1."""
    (a, b), mu = seen.edges.T, 0.5 * (p + q)
    laplacian = np.zeros((len(p), len(p)))
    laplacian[a, b] = laplacian[b, a] = -0.25 * (mu[a] + mu[b])
    np.fill_diagonal(laplacian, -laplacian.sum(1))
    # Constants, which it leaves out, are at right angles to the difference.
    return float(np.sqrt((p - q) @ np.linalg.solve(laplacian + 1.0 / len(p), p - q)))


def value(name: str, seen: Seen, p: np.ndarray, q: np.ndarray) -> float:
    """A divergence with the best of all critics that see this, from the probabilities of points."""
    chosen = DIVERGENCES[name]
    if isinstance(chosen, Penalised):
        return {"wasserstein": wasserstein, "sobolev": sobolev}[name](seen, p, q)
    samples = labelled(seen.points, seen.points, p, q)
    if isinstance(chosen, FDivergence):
        logit = np.log(q / p)
        return chosen.judged(logit, logit, samples)[0]
    return float(chosen.by(Logistic())(jax.random.key(0), None, samples)[1].value)


def states(u: np.ndarray, terms: np.ndarray = PHI) -> np.ndarray:
    """Probabilities of the states."""
    energy = terms @ np.asarray(u)
    weight = np.exp(energy - energy.max())
    return np.asarray(weight / weight.sum())


def lattice() -> dict[str, Any]:
    """Where nine divergences end on a ring that lacks a coupling of the data's, by critics that see all or little."""
    q = states(np.asarray(COUPLINGS), TERMS)
    out = {"data": _averages(q, q)}

    def least(name: str, seen: Seen) -> dict[str, float]:
        there = seen.seen(q)

        def of(u: np.ndarray) -> float:
            return value(name, seen, seen.seen(states(u)), there)

        found = [minimize(of, s, method="Nelder-Mead", options=TIGHT) for s in STARTS]
        best = min(found, key=lambda f: f.fun)
        return _averages(states(best.x), q) | {"divergence": best.fun}

    for critic, seen in {"all spins": _all_spins(), "magnetisation": _magnetisation()}.items():
        for name in DIVERGENCES:
            out[f"{name}, {critic}"] = least(name, seen)
    for name, chosen in DIVERGENCES.items():
        if isinstance(chosen, FDivergence):
            found = root(_straight_slope(chosen, q), STARTS[0])
            out[f"{name}, straight"] = _averages(states(found.x), q) | {
                "ended": bool(found.success)
            }
    return out


TIGHT = {"xatol": 1e-4, "fatol": 1e-10, "maxfev": 400}


def _averages(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
    names = ("magnetisation", "first neighbours", "second neighbours")
    seen = dict(zip(names, (p @ TERMS / SITES).tolist(), strict=True))
    return seen | {"relative entropy": float(q @ np.log(q / p))}


def _straight_slope(divergence: FDivergence, q: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Slope of a divergence by a critic whose logit is linear in what the model's parameters stand before."""
    judge = divergence.by(Logistic(penalty=0.0, iterations=1000), folds=1)

    def slope(u: np.ndarray) -> np.ndarray:
        p = states(u)
        samples: Labelled = whitened(labelled(PHI, PHI, p, q))
        key = jax.random.key(0)
        said = judge(key, judge.start(key, samples.features), samples)[1]
        return slope_of(said.witness, PHI, np.eye(2), 1.0, weight=p)

    return slope
