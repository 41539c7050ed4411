"""Methanol: OPLS-AA by another engine, the spline that a fit starts from, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from bayescg.engines.flexible import openmm_system
from bayescg.infer.starting import repulsive
from bayescg.units import BOLTZMANN, KCAL
from bayescg.workflow.registry import make_system
from bayescg.workflow.verbs import fit, make_reference
from bayescg_models import methanol

COULOMB = 332.06371  # kcal/mol angstrom/e^2
TINY = ("sites=27", "box=12.2", "fine_cutoff=5", "npt=0.4", "equilibration=0.2", "length=2")
SMALL = ("cutoff=5", "knots=10")


@pytest.fixture(scope="module")
def made() -> xr.Dataset:
    pytest.importorskip("openmm")
    return make_reference("methanol", [*TINY, "spacing=0.2"], 0)


def test_reference_data_are_carbons(made: xr.Dataset) -> None:
    assert made.sizes["site"] == 27 and made.sizes["frame"] == 10
    assert {"rdf", "rdf_se"} <= set(made.data_vars) and "carbons" in made.attrs["source"]
    assert float(made["mass"][0]) == pytest.approx(32.0424)
    box = made["box"].values
    assert np.ptp(box) == 0.0 and box[0] != 12.2  # the barostat's
    density = 27 * 32.0424 / 0.602214076 / box[0] ** 3
    assert 0.5 < density < 1.1


def test_a_molecule_has_its_bonds_and_angles() -> None:
    m = methanol.molecule()
    assert {kind: len(terms) for kind, terms in m.terms.items()} == {
        "bonds": 5,
        "angles": 7,
        "torsions": 3,
    }
    assert m.masses.sum() == pytest.approx(methanol.MASS, abs=1e-3)
    assert abs(sum(m.field.atoms[t].charge for t in m.types)) < 1e-12
    for term in m.terms["bonds"]:
        i, j = term
        assert np.linalg.norm(m.shape[i] - m.shape[j]) == pytest.approx(
            m.parameters("bonds", term)[1]
        )


def test_hydrogens_without_lennard_jones() -> None:
    """Two molecules: charges, Lennard-Jones by geometric means and none of hydroxyl's hydrogen, by plain NumPy."""
    mm = pytest.importorskip("openmm")
    m = methanol.molecule()
    x = m.shape + 0.05 * np.random.default_rng(0).normal(size=m.shape.shape)
    y = x + np.array([0.5, 3.4, 0.8])
    system = openmm_system(m, 2, None, 10.0, constrained=False)
    platform = mm.Platform.getPlatformByName("Reference")
    context = mm.Context(system, mm.VerletIntegrator(0.001), platform)

    def energy(*parts: np.ndarray) -> float:
        context.setPositions(0.1 * np.concatenate(parts))
        return float(context.getState(getEnergy=True).getPotentialEnergy()._value) / KCAL

    q, s, e = np.array(
        [(a.charge, a.sigma, a.epsilon) for a in map(m.field.atoms.get, m.types) if a]
    ).T
    assert (s == 0.0).sum() == 1

    def between(a: np.ndarray, b: np.ndarray) -> float:
        r = np.linalg.norm(a[:, None] - b, axis=-1)
        six = (np.sqrt(np.outer(s, s)) / r) ** 6
        pairs = COULOMB * np.outer(q, q) / r + 4.0 * np.sqrt(np.outer(e, e)) * (six * six - six)
        return float(pairs.sum())

    far = y + 1e4
    assert energy(x, y) - energy(x, far) == pytest.approx(between(x, y) - between(x, far), rel=1e-5)


def test_the_start_is_nearly_wca() -> None:
    """Within a quarter of kT where a liquid goes, on knots 0.7 angstrom apart, and steep below."""
    liquid = methanol._liquid(methanol.Options())
    kt = BOLTZMANN * 300.0
    theta_c = repulsive(liquid.basis, 0.15, 3.5, kt)
    r = np.arange(3.4, 10.0, 0.05)
    six = (3.5 / r) ** 6
    wca = np.where(six > 0.5, 0.6 * (six * six - six) + 0.15, 0.0)
    u = theta_c @ np.asarray(liquid.basis(jnp.asarray(r)))
    assert np.abs(u - wca).max() < 0.25 * kt
    steep = theta_c @ np.asarray(liquid.basis(jnp.array([1.0, 2.0, 2.5])))
    assert np.all(steep > 10.0 * kt) and np.all(np.diff(steep) < 0.0)


@pytest.mark.by_hand
def test_arcg_runs_on_it(made: xr.Dataset) -> None:
    effort = "max_iterations=2 chains=8 samples=3 warmup=5".split()
    found = fit("methanol", made, method="arcg", options=SMALL, method_options=effort)
    assert found["posterior"]["theta_c"].shape[-1] == 9
    assert np.all(np.isfinite(found["posterior"]["theta_c"].values))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["knots=3"], "knots must be at least 5"),
        (["cutoff=-1"], "cutoff must be positive"),
        (["box=15"], "smaller than twice the cut-off"),
        (["core=0"], "core must be positive"),
        (["core=12"], "core must be below the cut-off"),
        (["length=0.5"], "spacing must be at most"),
    ],
)
def test_bad_options_are_refused(options: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_system("methanol", options)


def test_other_data_are_refused(made: xr.Dataset) -> None:
    system = make_system("methanol", SMALL, made)
    with pytest.raises(ValueError, match="allowed are the model's"):
        system.batch(made.isel(site=slice(20)))
    with pytest.raises(ValueError, match="allowed is a cube"):
        system.batch(made.assign(box=("axis", made["box"].values * [1.0, 1.0, 1.1])))


def test_frames_that_are_correlated_are_thinned_where_they_count(made: xr.Dataset) -> None:
    """MC-EM counts frames as independent; the critic only averages over them."""
    dense = made.isel(frame=np.repeat(np.arange(10), 10))
    thinned = make_system("methanol", SMALL, dense).batch(dense)
    assert len(thinned.x[0]) < 30
    assert len(make_system("methanol", SMALL, dense, "arcg").batch(dense).x[0]) == 100
    assert jax.numpy.isfinite(thinned.x).all()
