"""Potentials that a search for matching distributions starts from.

Direct Boltzmann inversion (:mod:`~bayescg.infer.inversion`), the hypernetted chain
(:mod:`~bayescg.infer.hypernetted`), or potentials that the data or another file hold.
"""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.files import read_netcdf
from bayescg.infer.histograms import Histograms, Part, Target, from_frames, histograms_over
from bayescg.infer.hypernetted import hnc_potential
from bayescg.infer.inversion import beyond, inverted, projected
from bayescg.observables.known import Known
from bayescg.observables.molecular import AXES
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.pair import PairBasis
from bayescg.units import BOLTZMANN

__all__ = ["parameters_from_frames", "potential_variables", "repulsive", "starting_potentials"]

CHOICES = ("auto", "dbi", "hnc", "stored")


def starting_potentials(
    histograms: Histograms, target: Target, kt: float, data: xr.Dataset, choice: str
) -> tuple[np.ndarray, str]:
    """The potentials at the bins, ``(bin,)``, kcal/mol, and which of the choices they are.

    What a choice says nothing of is direct Boltzmann inversion's.

    :param data: may hold potentials, ``pair_potential_A_B`` or ``bond_potential_NAME``.
    :param choice: ``dbi``, ``hnc``, ``stored`` (those of the data), ``auto`` (the first there is of stored, hnc and
        dbi), or a file of targets or a result that holds some.
    :raises ValueError: for another choice, ``hnc`` where it does not exist, or a source without potentials.
    """
    u = inverted(histograms, target, kt)
    if choice == "dbi":
        return u, "dbi"
    if choice == "hnc":
        return _hypernetted(histograms, target, kt), "hnc"
    found = _held(histograms, data if choice in CHOICES else _read(choice))
    if not found and choice == "auto":
        try:
            return _hypernetted(histograms, target, kt), "hnc"
        except ValueError:  # bonds, or an RDF that the closure has no potential for
            return u, "dbi"
    if not found:
        names = ", ".join(potential_variables(histograms.parts[0], single=False))
        source = "the data hold" if choice == "stored" else f"{choice} holds"
        raise ValueError(f"start={choice}: {source} no potential; needed is one such as {names}.")
    for part, table in found:
        u[part.at] = _joined(part, table, u[part.at])
    return u, "stored" if choice in CHOICES else choice


def parameters_from_frames(
    potential: MolecularPotential,
    known: Mapping[tuple[str, str], Known],
    x: np.ndarray,
    kt: float,
) -> dict[str, np.ndarray]:
    """Parameters by name with the potentials that a search would start from, of the frames' distributions.

    :param known: what is known of every interaction.
    :param x: ``(frame, site, axis)``.
    """
    histograms = histograms_over(potential, known)
    target = from_frames(histograms, x)
    u, _ = starting_potentials(histograms, target, kt, xr.Dataset(), "auto")
    return projected(potential, histograms, target, kt, u)


def repulsive(basis: PairBasis, epsilon: float, sigma: float, kt: float) -> np.ndarray:
    """Coefficients with which a pair potential is nearest to that of Weeks, Chandler and Andersen, ``(term,)``.

    Lennard-Jones cut off at its minimum and raised to zero there (J. Chem. Phys. 54, 5237 (1971)). Distances at which
    it is many kT matter little and those beyond 50 kT, where it goes on along its slope, not at all to a liquid.

    :param epsilon: kcal/mol.
    :param sigma: angstrom.
    """
    r = np.arange(0.02, basis.cutoff, 0.02)

    def energy(r: np.ndarray) -> np.ndarray:
        six = (sigma / r) ** 6
        return np.where(six > 0.5, 4.0 * epsilon * (six * six - six) + epsilon, 0.0)

    steep = r[np.argmax(energy(r) < 50.0 * kt)]
    slope = (energy(steep + 1e-4) - energy(steep)) / 1e-4
    u = np.where(r < steep, energy(steep) + slope * (r - steep), energy(np.maximum(r, steep)))
    weight = 1.0 / (1.0 + u / kt)
    functions = np.asarray(basis(jnp.asarray(r))).T
    found: np.ndarray = np.linalg.lstsq(functions * weight[:, None], u * weight, rcond=1e-10)[0]
    return found


def potential_variables(part: Part, *, single: bool) -> tuple[str, ...]:
    """What files call the potential of an interaction; that of a single pair also without the types."""
    names = (f"{part.kind}_potential_{part.name}",)
    return (*names, "pair_potential") if single and part.kind == "pair" else names


def _hypernetted(histograms: Histograms, target: Target, kt: float) -> np.ndarray:
    """The chain's potential in the bins of the one pair that there is."""
    if len(histograms.parts) > 1 or histograms.parts[0].kind != "pair":
        labels = ", ".join(p.label for p in histograms.parts)
        raise ValueError(
            f"start=hnc is for one type of beads without bonds, not for {labels}; allowed is dbi."
        )
    (part,) = histograms.parts
    density = histograms.classes.topology.sites / float(np.prod(histograms.box))
    g = np.maximum(histograms.distribution(part, target.mean), 0.0)
    u = hnc_potential(part.nodes.values, g, density, kt / BOLTZMANN)
    u = beyond(histograms, part, target, u, kt)
    return u - u[-1]


def _read(path: str) -> xr.Dataset:
    """The variables of a file that may hold potentials: a result's posterior means, or targets' starts."""
    if not Path(path).is_file():
        raise ValueError(
            f"start must be auto, dbi, hnc, stored or a file that there is, got {path!r}."
        )
    tree = read_netcdf(path)
    if "posterior" in tree.children:
        return tree.children["posterior"].to_dataset(inherit=False).mean(("chain", "draw"))
    if "potentials" in tree.children:
        return tree.children["potentials"].to_dataset(inherit=False)
    return tree.to_dataset(inherit=False)


def _held(histograms: Histograms, data: xr.Dataset) -> list[tuple[Part, xr.DataArray]]:
    single = sum(p.kind == "pair" for p in histograms.parts) == 1
    out = []
    for part in histograms.parts:
        names = [n for n in potential_variables(part, single=single) if n in data.data_vars]
        if names:
            out.append((part, data[names[0]]))
    return out


def _joined(part: Part, table: xr.DataArray, u: np.ndarray) -> np.ndarray:
    """A given potential in the bins of an interaction, joined to another where it ends."""
    unit = 1.0 if part.kind == "pair" else AXES[part.kind][2]
    q = np.asarray(table[table.dims[0]].values, float) * unit
    values = np.asarray(table.values, float)
    at = part.nodes.values
    out = np.interp(at, q, values)
    below, above = at < q[0], at > q[-1]
    out[below] += u[below] - np.interp(q[0], at, u)
    if part.kind == "pair":
        return out - out[-1]  # a pair's potential stays at its last value, and ends at zero
    out[above] += u[above] - np.interp(q[-1], at, u)
    return out - out.min()
