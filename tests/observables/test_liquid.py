"""Observables of liquids: lattices by hand, brute force, the ideal gas, and data sets."""

from functools import partial
from itertools import combinations
from pathlib import Path

from click.testing import CliRunner
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import bayescg as cg
from bayescg import io, workflow
from bayescg.cli import cli
from bayescg.observables import (
    AngularDistribution,
    LiquidObservable,
    Observable,
    TetrahedralOrder,
    adf,
    blocked_error,
    coordination,
    rdf,
    tetrahedral_order,
)
from bayescg.workflow.choices import choose_observables
from tests.statistical import check_mean

FCC = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
CELLS = {
    "sc": [(0, 0, 0)],
    "bcc": [(0, 0, 0), (0.5, 0.5, 0.5)],
    "fcc": FCC,
    "diamond": [tuple(np.add(p, s)) for p in FCC for s in (0.0, 0.25)],
}
BOX = (9.0, 10.0, 11.0)  # of random configurations
EVERY = [
    rdf(width=0.5, max=4.5),
    adf(width=20.0, neighbours=5),
    coordination(cutoff=4.0),
    tetrahedral_order(),
]


def crystal(kind: str, cells: int, edge: float) -> tuple[jnp.ndarray, np.ndarray]:
    """Sites ``(axis, site)``, shuffled, moved off the origin and over the border, and the box."""
    rng = np.random.default_rng(0)
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3), -1).reshape(-1, 1, 3)
    sites = (corners + np.array(CELLS[kind])).reshape(-1, 3) * edge
    images = rng.integers(-2, 3, sites.shape) * cells * edge
    sites = rng.permutation(sites + images + [0.3, -0.2, 0.7])
    return jnp.asarray(sites.T), np.full(3, cells * edge)


def random_sites(sites: int, batch: int, box: tuple[float, ...] = BOX, seed: int = 0) -> np.ndarray:
    """Independent uniform positions ``(axis, site, batch)``."""
    u = jax.random.uniform(jax.random.key(seed), (3, sites, batch), float)
    return np.array(u * np.array(box)[:, None, None])


def histogram(observable: LiquidObservable, x: jnp.ndarray, norm: str = "pairs") -> np.ndarray:
    """Neighbours of a site in each bin, from g(r)."""
    assert observable.box is not None
    sites, width, r = x.shape[1], observable.width, observable.coords()["r"]
    shells = 4 / 3 * np.pi * ((r + width / 2) ** 3 - (r - width / 2) ** 3)
    density = (sites - 1) / np.prod(observable.box)
    return np.asarray(observable(x)) * shells * density


@pytest.mark.parametrize(
    ("kind", "cells", "edge", "width", "longest", "shells"),
    [
        ("sc", 4, 1.0, 0.3, 1.9, {1.0: 6, 2**0.5: 12, 3**0.5: 8}),
        ("sc", 3, 1.0, 0.1875, 1.5, {1.0: 6, 2**0.5: 12}),  # an odd number of sites
        ("fcc", 3, 2**0.5, 0.15, 2.12, {1.0: 12, 2**0.5: 6, 3**0.5: 24, 2.0: 12}),
        ("diamond", 2, 4 / 3**0.5, 0.08, 2.0, {1.0: 4, (8 / 3) ** 0.5: 12, (11 / 3) ** 0.5: 12}),
    ],
)
def test_rdf_counts_the_shells_of_crystals(
    kind: str, cells: int, edge: float, width: float, longest: float, shells: dict[float, int]
) -> None:
    x, box = crystal(kind, cells, edge)
    observable = rdf(width=width, max=longest).in_box(box)
    expected = np.zeros(int(longest / width))
    for r, neighbours in shells.items():
        expected[int(r / width)] = neighbours
    np.testing.assert_allclose(histogram(observable, x), expected, atol=1e-12)
    for cutoff in (1.1, 1.3, longest):
        within = sum(n for r, n in shells.items() if r < cutoff)
        np.testing.assert_allclose(coordination(cutoff=cutoff).in_box(box)(x), within, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "cells", "neighbours", "angles"),
    [
        ("sc", 4, 6, {90: 12, 180: 3}),
        ("bcc", 3, 8, {70.528779: 12, 109.471221: 12, 180: 4}),
        ("fcc", 3, 12, {60: 24, 90: 12, 120: 24, 180: 6}),
        ("diamond", 2, 4, {109.471221: 6}),
    ],
)
def test_adf_has_the_angles_of_crystals(
    kind: str, cells: int, neighbours: int, angles: dict[float, int]
) -> None:
    x, box = crystal(kind, cells, 1.0)
    observable = adf(width=7.2, neighbours=neighbours).in_box(box)  # no angle on an edge
    expected = np.zeros(25)
    for angle, pairs in angles.items():
        expected[min(int(angle / 7.2), 24)] = pairs
    expected /= 7.2 * neighbours * (neighbours - 1) / 2
    np.testing.assert_allclose(observable(x), expected, atol=1e-12)


def test_q_of_crystals() -> None:
    x, box = crystal("diamond", 2, 1.0)
    np.testing.assert_allclose(tetrahedral_order().in_box(box)(x), 1.0)
    x, box = crystal("sc", 4, 1.0)  # 12 right angles and 3 straight ones
    total = 12 * (1 / 3) ** 2 + 3 * (2 / 3) ** 2
    np.testing.assert_allclose(
        tetrahedral_order(neighbours=6).in_box(box)(x), 1.0 - 9 / (4 * 15) * total
    )


def cosines(x: np.ndarray, neighbours: int) -> np.ndarray:
    """Cosines at each site by loops over it and two of its neighbours, ``(site, pair)``."""
    out = []
    for j in range(x.shape[1]):
        d = x - x[:, [j]]
        d = np.array([(v + b / 2) % b - b / 2 for v, b in zip(d, BOX, strict=True)])
        r = np.linalg.norm(d, axis=0)
        near = sorted((k for k in range(x.shape[1]) if k != j), key=lambda k: r[k])[:neighbours]
        out.append([d[:, k] @ d[:, m] / (r[k] * r[m]) for k, m in combinations(near, 2)])
    return np.array(out)


@pytest.mark.parametrize(("sites", "neighbours"), [(13, 8), (12, 2), (5, 4)])
def test_angles_by_brute_force(sites: int, neighbours: int) -> None:
    x = random_sites(sites, 3)
    a = adf(width=12.0, neighbours=neighbours).in_box(BOX)(jnp.asarray(x))
    q = tetrahedral_order(neighbours=neighbours).in_box(BOX)(jnp.asarray(x))
    for b in range(3):
        c = cosines(x[..., b], neighbours)
        expected, _ = np.histogram(np.degrees(np.arccos(c)), np.arange(0, 181, 12), density=True)
        np.testing.assert_allclose(a[:, b], expected, atol=1e-12)
        factor = 3 / 8 if neighbours == 4 else 9 / (2 * neighbours * (neighbours - 1))
        each = 1.0 - factor * ((c + 1 / 3) ** 2).sum(1)
        np.testing.assert_allclose(q[b], each.mean())
    np.testing.assert_allclose(12.0 * a.sum(0), 1.0)


@pytest.mark.parametrize("sites", [2, 3, 10, 11])
def test_rdf_by_brute_force(sites: int) -> None:
    x = random_sites(sites, 2)
    d = x[:, :, None] - x[:, None]
    d -= np.round(d / np.reshape(BOX, (3, 1, 1, 1))) * np.reshape(BOX, (3, 1, 1, 1))
    r = np.sqrt((d**2).sum(0))[np.triu_indices(sites, 1)]
    found = rdf(width=0.5, max=4.5).in_box(BOX)
    for b in range(2):
        counts, edges = np.histogram(r[:, b], np.arange(10) * 0.5)
        ideal = sites * (sites - 1) / 2 * 4 / 3 * np.pi * np.diff(edges**3) / np.prod(BOX)
        np.testing.assert_allclose(found(jnp.asarray(x))[:, b], counts / ideal)
    np.testing.assert_allclose(
        coordination(cutoff=4.0).in_box(BOX)(jnp.asarray(x)), 2 * (r < 4.0).sum(0) / sites
    )


def test_eq_59_is_lower_by_one_in_n() -> None:
    x = jnp.asarray(random_sites(20, 4))
    pairs, n2 = (rdf(max=4.0, norm=n).in_box(BOX)(x) for n in ("pairs", "n2"))
    np.testing.assert_allclose(n2, pairs * 19 / 20)


def test_the_ideal_gas() -> None:
    """g = 1, q = 0 and angles as on the sphere, in 1000 configurations of 100 sites.

    Every bin is expected 1000 times or more, so that means are normal; each check fails a right
    program at the rate of ``tests.statistical``.
    """
    box = (14.5, 14.5, 14.5)
    x = jnp.asarray(random_sites(100, 1000, box))
    g = rdf(width=0.6).in_box(box)(x)
    check_mean(g.T, 1.0)
    sphere = np.diff(-np.cos(np.radians(np.arange(0, 181, 20)))) / 2 / 20
    check_mean(adf(width=20.0).in_box(box)(x).T, sphere)
    check_mean(tetrahedral_order().in_box(box)(x), 0.0)
    volume = 4 / 3 * np.pi * 3.5**3 / np.prod(box)
    check_mean(coordination().in_box(box)(x), 99 * volume)
    with pytest.raises(AssertionError):  # it would see 1 %, which is what n2 makes
        check_mean(0.99 * g.T, 1.0)


@pytest.mark.parametrize("observable", EVERY, ids=lambda o: o.name)
def test_a_batch_is_a_loop(observable: LiquidObservable) -> None:
    x = jnp.asarray(random_sites(9, 5))
    observable = observable.in_box(BOX)
    each = jnp.stack([observable(x[..., b]) for b in range(5)], -1)
    np.testing.assert_allclose(observable(x), each, rtol=1e-12)
    mapped = jax.vmap(observable, -1, -1)(x.reshape(3, 9, 5, 1))
    np.testing.assert_allclose(mapped[..., 0], each, rtol=1e-12)


@pytest.mark.parametrize("observable", EVERY, ids=lambda o: o.name)
def test_axes_have_names(observable: Observable) -> None:
    assert isinstance(observable, LiquidObservable)
    shape = observable.in_box(BOX)(jnp.asarray(random_sites(9, 5))).shape
    coords = observable.coords()
    assert tuple(coords) == observable.dims
    assert (*(len(c) for c in coords.values()), 5) == shape
    assert observable.units and observable.long_name
    assert getattr(cg, observable.name).__name__ == observable.name
    np.testing.assert_allclose(rdf().coords()["r"], np.arange(72) * 0.1 + 0.05)
    np.testing.assert_allclose(adf().coords()["angle"], np.arange(90) * 2.0 + 1.0)


@pytest.mark.parametrize("observable", EVERY, ids=lambda o: o.name)
def test_single_precision_and_faults(observable: LiquidObservable) -> None:
    x = random_sites(9, 3)
    observable = observable.in_box(BOX)
    single = observable(jnp.asarray(x, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, observable(jnp.asarray(x)), rtol=1e-5)
    for fault in (np.nan, np.inf):
        broken = x.copy()
        broken[1, 4, 1] = fault
        found = observable(jnp.asarray(broken))
        assert np.isnan(found[..., 1]).all()
        np.testing.assert_array_equal(found[..., ::2], observable(jnp.asarray(x))[..., ::2])


def test_angles_at_sites_in_one_place_are_unknown() -> None:
    x = random_sites(9, 2)
    x[:, 3, 0] = x[:, 5, 0]
    for observable in (adf(), tetrahedral_order()):
        found = np.isnan(observable.in_box(BOX)(jnp.asarray(x)))
        assert found[..., 0].all() and not found[..., 1].any()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rdf(width=0.0), "rdf width must be positive, got 0"),
        (lambda: rdf(width=np.nan), "rdf width must be positive"),
        (lambda: rdf(width=1.0, max=0.5), "at least width=1 angstrom, got 0.5"),
        (lambda: rdf(max=np.inf), "rdf max must be a length"),
        (lambda: rdf(norm="n"), "must be pairs or n2, got 'n'"),
        (lambda: rdf(max=4.6).in_box(BOX), "at most half the box, 4.5 angstrom, got 4.6"),
        (lambda: adf(width=-2.0), "adf width must be positive, got -2"),
        (lambda: adf(width=7.0), "must divide 180 degrees, got 7"),
        (lambda: adf(neighbours=1), "adf neighbours must be at least 2, got 1"),
        (lambda: coordination(cutoff=0.0), "cutoff must be positive, got 0"),
        (lambda: coordination(cutoff=5.0).in_box(BOX), "smaller than twice the cut-off 5"),
        (lambda: tetrahedral_order(neighbours=0), "must be at least 2, got 0"),
        (lambda: rdf().in_box((9.0, 10.0)), "three positive edges"),
        (lambda: rdf().in_box((90.0, 90.0, -9.0)), "three positive edges"),
        (lambda: rdf()(jnp.zeros((3, 4))), "has no box"),
        (lambda: adf().in_box(BOX)(jnp.zeros((3, 8))), "adf neighbours must be below the 8 sites"),
        (lambda: rdf(max=4.0).in_box(BOX)(jnp.zeros((3, 1))), "at least 2 sites, got 1"),
        (lambda: rdf(max=4.0).in_box(BOX)(jnp.zeros((4, 3))), "must be .axis, site."),
    ],
)
def test_errors(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        make()
    assert "\n" not in str(error.value)


def particles(frames: int = 70, sites: int = 12) -> xr.Dataset:
    """A data file's table: random positions in a box of 9 x 10 x 11."""
    x = random_sites(sites, frames).T
    return xr.Dataset(
        {"x": (("frame", "site", "axis"), x), "box": (("axis",), np.array(BOX))},
        attrs={"temperature": 300.0, "source": "uniform"},
    )


def test_observe_measures_particles() -> None:
    data = particles()
    seen = workflow.observe(data)
    assert set(seen.data_vars) == {"rdf", "rdf_se", "adf", "adf_se"}
    assert seen["rdf"].dims == ("r",) and seen["adf"].dims == ("angle",)
    assert seen.sizes == {"r": 45, "angle": 90}  # half the shortest edge, in tenths
    assert seen.attrs == {"temperature": 300.0, "source": "uniform", "frames": 70}
    assert seen["rdf"].attrs["norm"] == "pairs" and seen["adf"].attrs["neighbours"] == 8
    assert seen["r"].attrs["units"] == "angstrom" and seen["angle"].attrs["units"] == "degree"
    # 70 frames are measured in two blocks that overlap; each frame counts once.
    each = np.asarray(rdf(max=4.5).in_box(BOX)(jnp.asarray(data["x"].values.T))).T
    np.testing.assert_allclose(seen["rdf"], each.mean(0))
    np.testing.assert_allclose(seen["rdf_se"], blocked_error(each))
    np.testing.assert_allclose(2.0 * seen["adf"].sum(), 1.0)


def test_observe_takes_observables_and_steady_boxes() -> None:
    data = particles(frames=5)
    data["box"] = (("frame", "axis"), np.tile(BOX, (5, 1)))
    seen = workflow.observe(data, [coordination(), "tetrahedral_order:neighbours=3"])
    assert seen["coordination"].dims == () and float(seen["coordination_se"]) > 0
    assert seen["tetrahedral_order"].attrs["neighbours"] == 3
    elsewhere = rdf(max=4.0).in_box((20.0, 20.0, 20.0))  # the data know their own box
    np.testing.assert_allclose(
        workflow.observe(data, [elsewhere])["rdf"], workflow.observe(data, ["rdf:max=4"])["rdf"]
    )
    data["box"][3, 1] = 10.5
    with pytest.raises(ValueError, match="the same box in all frames"):
        workflow.observe(data)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("rdf:max=6", "at most half the box, 4.5 angstrom, got 6"),
        ("rdf:box=3", "unknown option 'box' for observable rdf; known: width, max, norm."),
        ("rdf:norm=half", "must be pairs or n2"),
        ("rdf:width=thin", "must be float"),
        ("adf:neighbours=12", "adf neighbours must be below the 12 sites, got 12"),
        ("adf:neighbours=2.5", "must be int"),
        ("tetrahedral_order:neighbours=13", "tetrahedral_order neighbours must be below"),
        ("coordination:cutoff=9", "twice the cut-off"),
        ("magnetization", "known: adf, coordination, rdf, tetrahedral_order"),
    ],
)
def test_words_that_will_not_do(word: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        workflow.observe(particles(frames=3), [word])
    assert "\n" not in str(error.value)


def test_a_bound_box_is_no_option() -> None:
    """Neither the field of a class nor what a system has bound by ``partial``."""
    for known in ({"q": TetrahedralOrder}, {"q": partial(AngularDistribution, 2.0, box=BOX)}):
        with pytest.raises(ValueError, match="known: neighbours"):
            choose_observables(["q:box=3"], known, "liquid", 9)
    (made,) = choose_observables(["q:neighbours=3"], known, "liquid", 9)
    assert isinstance(made, AngularDistribution) and made.box == BOX and made.neighbours == 3
    (made,) = choose_observables([made], {}, "liquid", 9, (20.0, 20.0, 20.0))
    assert isinstance(made, AngularDistribution) and made.box == (20.0, 20.0, 20.0)


def test_observe_in_the_shell(tmp_path: Path) -> None:
    io.save(particles(frames=8), tmp_path / "data.nc")
    words = ["observe", str(tmp_path / "data.nc"), "-O", "rdf:width=0.5,max=4.5,norm=n2"]
    done = CliRunner().invoke(cli, [*words, "-O", "adf", "-o", str(tmp_path / "o.nc"), "--quiet"])
    assert done.exit_code == 0, done.output
    seen = io.load_observables(tmp_path / "o.nc")
    assert seen["rdf"].attrs["norm"] == "n2" and seen.sizes == {"r": 9, "angle": 90}
    assert seen["r"].attrs["units"] == "angstrom"
