r"""Direct Boltzmann inversion: the potential of mean force of each distribution on its own.

.. math:: u(r) = -kT \ln g(r), \qquad u(q) = -kT \ln\frac{p(q)}{J(q)},\quad J = r^2, \sin\theta, 1

exact for an isolated pair and for bonded coordinates that are independent of all else.
"""

import jax.numpy as jnp
import numpy as np

from bayescg.infer.histograms import Histograms, Part, Target
from bayescg.potentials.bonded import jacobian
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.pair import LennardJones, LinearPair

__all__ = ["beyond", "inverted", "projected", "seen"]

FEW = 1e-3  # of the largest weight: bins below hold too little to say what the potential is
STEEP = 20.0  # kT/angstrom, the least slope of a core


def seen(part: Part, target: Target) -> np.ndarray:
    """Which bins hold enough to be believed, ``(bin,)``: counts of at least five standard errors.

    Where errors are unknown, all that hold anything.
    """
    mean, error = target.mean[part.at], target.error[part.at]
    return (mean > 0.0) & (mean >= 5.0 * error)


def inverted(histograms: Histograms, target: Target, kt: float) -> np.ndarray:
    """Direct Boltzmann inversion of every distribution, ``(bin,)``, kcal/mol.

    Pair potentials end at zero at their last bin; bonded ones have their minimum there. Bins that hold
    too little are filled by :func:`beyond`.
    """
    out = np.zeros(histograms.size)
    for p in histograms.parts:
        with np.errstate(divide="ignore", invalid="ignore"):
            density = histograms.distribution(p, target.mean)
            if p.kind != "pair":
                density = density / jacobian(p.kind, p.nodes.values)
            u = -kt * np.log(density)
        u = beyond(histograms, p, target, u, kt)
        out[p.at] = u - (u[-1] if p.kind == "pair" else u.min())
    return out


def beyond(
    histograms: Histograms, part: Part, target: Target, u: np.ndarray, kt: float
) -> np.ndarray:
    """A potential with the bins that the target does not know filled in.

    The core of a pair goes on with the slope that it has where data end, at least ``STEEP``, growing as
    in a harmonic wall; a bonded coordinate goes on as the harmonic potential of its own mean and
    variance; gaps within are bridged by straight lines.
    """
    known = seen(part, target) & np.isfinite(u)
    q = part.nodes.values
    at = np.flatnonzero(known)
    if not at.size:
        return np.zeros_like(u)
    out = np.interp(q, q[at], u[at])
    first, last = at[0], at[-1]
    if part.kind == "pair":
        few = at[:3]
        slope = (u[few[0]] - u[few[-1]]) / max(q[few[-1]] - q[few[0]], part.nodes.step)
        slope = max(slope, STEEP * kt)
        gap = q[first] - q[:first]
        out[:first] = u[first] + slope * gap * (1.0 + 0.5 * gap / (2.0 * part.nodes.step))
        return out
    if part.kind == "dihedral":
        turns = np.concatenate([q[at] - 2 * np.pi, q[at], q[at] + 2 * np.pi])
        return np.interp(q, turns, np.tile(u[at], 3))
    weight = target.mean[part.at]
    mean = weight @ q / weight.sum()
    stiff = kt / max(weight @ (q - mean) ** 2 / weight.sum(), part.nodes.step**2 / 12.0)
    for side, edge in ((np.arange(first), first), (np.arange(last + 1, len(q)), last)):
        gap = np.abs(q[side] - q[edge])
        out[side] = u[edge] + stiff * gap * (abs(q[edge] - mean) + 0.5 * gap)
    return out


def projected(
    potential: MolecularPotential,
    histograms: Histograms,
    target: Target,
    kt: float,
    u: np.ndarray,
) -> dict[str, np.ndarray]:
    """Potentials in bins brought to a potential's own basis, by least squares weighted by the target.

    :param u: of the histograms, ``(bin,)``, kcal/mol.
    :return: ``theta_c``, and ``epsilon_A_B`` and ``sigma_A_B`` where they are parameters, of a single pair
        ``epsilon`` and ``sigma``.
    """
    parts = {p.label: p for p in histograms.parts}
    lj = [i.name for i in potential.interactions if isinstance(i.terms[0], LennardJones)]
    theta: list[np.ndarray] = []
    out: dict[str, np.ndarray] = {}
    for i in potential.interactions:
        if i.label not in parts:
            continue
        p = parts[i.label]
        term = i.terms[0]
        q, y = p.nodes.values, u[p.at]
        rows = np.asarray(term.basis(jnp.asarray(q))).T
        mass = histograms.distribution(p, target.mean)
        weight = np.sqrt(np.maximum(mass / max(mass.max(), 1e-300), FEW**2))
        if p.kind == "pair":
            weight = np.where(y > 10.0 * kt, FEW * weight, np.maximum(weight, FEW))
        if isinstance(term, LinearPair):
            theta.append(_least_squares(rows, y, weight))
        elif isinstance(term, LennardJones):
            c12, c6 = _least_squares(rows, y, weight)
            good = c12 > 0.0 and c6 < 0.0
            tag = "" if len(lj) == 1 else f"_{i.name}"
            out[f"epsilon{tag}"] = np.array(c6**2 / (4.0 * c12) if good else 0.2)
            out[f"sigma{tag}"] = np.array((c12 / -c6) ** (1.0 / 6.0) if good else 4.0)
    if theta:
        out["theta_c"] = np.concatenate(theta)
    return out


def _least_squares(rows: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coefficients by weighted least squares; a ridge settles those that nothing in the data touches."""
    a, b = rows * weight[:, None], y * weight
    scale = np.sqrt((a**2).sum(0))
    scale = np.where(scale > 0.0, scale, 1.0)
    a = np.concatenate([a / scale, 1e-6 * np.eye(a.shape[1])])
    b = np.concatenate([b, np.zeros(a.shape[1])])
    return np.linalg.lstsq(a, b, rcond=None)[0] / scale
