"""Direct Boltzmann inversion of exact distributions gives the potentials back that they were made with."""

from collections.abc import Mapping

import jax
import numpy as np
import pytest
import xarray as xr

from bayescg import workflow
from bayescg.limits import dbi
from tests.limits.dilute import (
    COORDINATES,
    KT,
    MOLECULE,
    Potential,
    lennard_jones,
    molecule_data,
    pair_potential,
    pair_system,
)

U: Mapping[str, Potential] = {
    "bond": lambda q: 5.0 * (q - 3.6) ** 2 - (q - 3.6) ** 3,
    "angle": lambda q: 1.5 * (q - 2.0) ** 2 + 0.4 * np.sin(3.0 * q),
    # Odd parts tell the two senses of rotation apart.
    "dihedral": lambda q: 1.2 * np.cos(q) + 0.8 * np.sin(q) + 0.5 * np.sin(2.0 * q + 0.3),
}
CLOSE = 0.005  # kcal/mol, of what a bin averages, and a table's straight lines


@pytest.fixture(scope="module")
def fitted() -> xr.Dataset:
    """The posterior of DBI on the molecule's exact distributions."""
    return workflow.fit("molecular", molecule_data(U), method="dbi").posterior


def test_an_isolated_pair() -> None:
    """Up to the constant by which pairs end at zero."""
    fit = dbi(*pair_system("dbi", "width=0.05", width=0.05)).run(jax.random.key(0))
    r, u = pair_potential(fit)
    at = (r > 3.3) & (r < 6.9)
    assert fit.converged.all() and fit.draws.shape[:3] == (1, 1, 1)
    np.testing.assert_allclose(u[at], lennard_jones(r[at]), atol=0.02)


@pytest.mark.parametrize(
    "name", [f"{k}_{n}" for k, t in MOLECULE.bonded().items() for n in t.kinds]
)
def test_bonded_terms_of_an_isolated_molecule(name: str, fitted: xr.Dataset) -> None:
    """Up to a constant, below 6 kT and off the straight angle; r^2 and sin(theta) make 100 times the difference."""
    kind, _, term = name.partition("_")
    coordinate = COORDINATES[kind]
    u = fitted[f"{kind}_potential_{term}"][0, 0]
    q = coordinate.unit * u[u.dims[0]].values
    exact = U[kind](q)
    element = coordinate.element(q)
    at = (exact < exact.min() + 6.0 * KT) & (element > 0.1)
    off = (u.values - exact)[at]
    assert np.abs(off - off.mean()).max() < CLOSE
    assert at.sum() > 50
    if kind != "dihedral":
        assert np.ptp(KT * np.log(element[at])) > 100.0 * CLOSE
