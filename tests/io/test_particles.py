"""Trajectories of particles: what is right comes back ready to fit, what is wrong is named."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayescg as cg
from bayescg.io import check_particles, load, save

EDGES = np.array([15.0, 16.0, 17.0])
FRAMES = 5


def liquid() -> xr.Dataset:
    """Sites near a cubic lattice of 3 angstrom, 0.031 to the cubic angstrom, as in water."""
    rng = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(*3 * [np.arange(5)], indexing="ij"), -1).reshape(-1, 3)
    x = 3.0 * (lattice + 0.5) + rng.uniform(-0.5, 0.5, size=(FRAMES, 125, 3))
    return xr.Dataset(
        {"x": (("frame", "site", "axis"), x), "box": ("axis", EDGES)},
        attrs={"temperature": 300.0, "source": "made here"},
    )


LIQUID = liquid()


def put(index: tuple[int | slice, ...], value: float | list[float]) -> xr.Dataset:
    """The liquid with some positions changed."""
    x = LIQUID["x"].values.copy()
    x[index] = value
    return LIQUID.assign(x=(LIQUID["x"].dims, x))


def with_box(dims: tuple[str, ...], values: object) -> xr.Dataset:
    return LIQUID.drop_vars("box").assign(box=(dims, np.asarray(values, float)))


def scaled(factor: float, ds: xr.Dataset = LIQUID) -> xr.Dataset:
    return ds.assign(x=ds["x"] * factor, box=ds["box"] * factor)


def with_mass(values: object) -> xr.Dataset:
    return LIQUID.assign(mass=("site", np.asarray(values)))


def test_a_sound_trajectory_comes_back_as_it_was() -> None:
    before = LIQUID.copy(deep=True)
    found, notices = check_particles(LIQUID, cutoff=7.5, mass=18.0)
    assert notices == ()
    xr.testing.assert_identical(found, LIQUID)
    assert not np.shares_memory(found["x"].values, LIQUID["x"].values)
    xr.testing.assert_identical(before, LIQUID)
    assert cg.io.check_particles is check_particles


def test_everything_else_is_kept(tmp_path: Path) -> None:
    full = LIQUID.assign(
        mass=("site", np.full(125, 18.0)),
        forces=(("frame", "site", "axis"), np.zeros((FRAMES, 125, 3))),
        type=("site", ["A"] * 125),
    )
    save(full, tmp_path / "a.nc")
    found, notices = check_particles(load(tmp_path / "a.nc"), cutoff=3.0)
    assert notices == ()
    xr.testing.assert_equal(found, full)
    assert found.attrs == full.attrs and found["x"].attrs["units"] == "angstrom"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_positions_are_wrapped(dtype: type) -> None:
    shift = np.zeros((FRAMES, 125, 3))
    shift[1, :10] = [15.0, -32.0, 0.0]
    shift[3, 7] = [0.0, 0.0, 170.0]
    given = LIQUID.assign(x=(LIQUID["x"] + shift).astype(dtype))
    found, notices = check_particles(given, cutoff=3.0)
    assert notices == (
        "11 of 625 positions, in 2 of 5 frames, lay outside the box and were wrapped into [0, box).",
    )
    assert found["x"].dtype == dtype
    np.testing.assert_allclose(found["x"], LIQUID["x"], atol=1e-4)
    assert check_particles(found, cutoff=3.0) == (found, ())


def test_rounding_leaves_no_position_on_the_edge() -> None:
    """Just below zero is just below the edge, and in single precision on it."""
    edges = EDGES.astype(np.float32).astype(float) - 1e-9
    given = put((0, 0), [-1e-30, 15.0, 3.0]).astype(np.float32).assign(box=("axis", edges))
    found, notices = check_particles(given, cutoff=3.0)
    assert len(notices) == 1
    assert np.all((found["x"] >= 0.0) & (found["x"] < edges))
    assert check_particles(found, cutoff=3.0)[1] == ()


def test_a_constant_box_is_reduced() -> None:
    given = with_box(("frame", "axis"), EDGES * (1 + 1e-7 * np.arange(FRAMES)[:, None]))
    found, notices = check_particles(given.assign_coords(frame=np.arange(FRAMES)), cutoff=3.0)
    assert notices == ("The box is the same in all frames; it was reduced to one (axis).",)
    assert found["box"].dims == ("axis",)
    np.testing.assert_allclose(found["box"], EDGES)


def test_whole_numbers_become_real() -> None:
    lattice = np.round(LIQUID["x"].isel(frame=[0, 0]))
    found, _ = check_particles(LIQUID.drop_vars("x").assign(x=lattice.astype(int)), cutoff=3.0)
    assert found["x"].dtype == float


def test_bonded_and_excluded_pairs_may_be_close() -> None:
    x = LIQUID["x"].values
    near = put((2, 1), [*(x[2, 0] + [0.4, 0.0, 0.0])])
    with pytest.raises(ValueError, match=r"sites 0 and 1 overlap at frame=2: 0\.4 angstrom"):
        check_particles(near, cutoff=3.0)
    for name in ("bond", "exclusion"):
        bound = near.assign({name: ((name, "place"), np.array([[1, 0], [3, 4]]))})
        check_particles(bound, cutoff=3.0)
    bound["x"].values[2, 5] = x[2, 0] - [0.6, 0.0, 0.0]  # behind a partner that is closer
    with pytest.raises(ValueError, match=r"sites 0 and 5 overlap at frame=2: 0\.6 angstrom"):
        check_particles(bound, cutoff=3.0)


def test_one_site_has_no_neighbour() -> None:
    one = LIQUID.isel(site=[0])
    check_particles(one, cutoff=3.0)
    with pytest.raises(ValueError, match="density is impossible"):
        check_particles(scaled(2.0, one), cutoff=3.0)


PADDED = put((slice(1, 3), slice(120, None)), np.nan)
TILTED = np.diag(EDGES) + np.array([[0, 0, 0], [4.0, 0, 0], [0, 0, 0]])
WRONG = {
    "nan": (put((2, 3, 1), np.nan), {}, "x is nan at frame=2, site=3, axis=1 (1 such); finite"),
    "padding": (
        PADDED,
        {},
        "x is nan at frame=1, site=120, axis=0 (30 such); finite numbers are needed. 2 of 5 frames "
        "end in sites that are all NaN, which looks like the padding of frames with fewer sites "
        "(120 to 125); allowed is one number of sites for all frames.",
    ),
    "fill value": (put((0, 4, 2), 9.96921e36), {}, "x is 9.96921e+36 at frame=0, site=4, axis=2"),
    "no temperature": (LIQUID.assign_attrs(temperature=0.0), {}, "attribute 'temperature' is 0.0"),
    "negative": (LIQUID.assign_attrs(temperature=-5.0), {}, "attribute 'temperature' is -5.0"),
    "spins": (
        xr.Dataset({"x": (("frame", "site"), np.ones((3, 4)))}, attrs={"beta": 1.0}),
        {},
        "x holds spins (frame, site); particles need x (frame, site, axis)",
    ),
    "two axes": (LIQUID.isel(axis=[0, 1]), {}, "x has 2 axes; allowed are 3"),
    "one frame": (LIQUID.isel(frame=[0]), {}, "too few frames: 1; at least 2 are needed"),
    "few frames": (LIQUID, {"at_least": 20}, "too few frames: 5; at least 20 are needed"),
    "varying box": (
        with_box(("frame", "axis"), EDGES + np.outer([0, 0, 0.528, 0, 0.1], [0, 1, 0])),
        {},
        "box varies over the frames, by 3.3 % at axis=1 (16 to 16.528 angstrom); a fit needs one "
        "box for all frames; allowed is a run at constant volume.",
    ),
    "box of cell vectors": (
        with_box(("vector", "component"), TILTED),
        {},
        "box is given as 3 vectors; allowed are the 3 edges of an orthorhombic box; a triclinic "
        "one cannot be converted",
    ),
    "a cell a frame": (
        with_box(("frame", "vector", "component"), [TILTED] * FRAMES),
        {},
        "box is given as 3 vectors",
    ),
    "nine numbers": (with_box(("cell",), TILTED.ravel()), {}, "a triclinic one cannot be"),
    "angles": (
        with_box(("frame", "cell"), [[*EDGES, 90, 90, 60]] * FRAMES),
        {},
        "box is given as 6 numbers (edges and angles, or edges and tilts); allowed are the 3 edges "
        "of an orthorhombic box; a triclinic one",
    ),
    "right angles": (
        with_box(("cell",), [*EDGES, 90, 90, 90]),
        {},
        "this one is rectangular: give its edges, 15, 16, 17, as box (axis).",
    ),
    "no tilts": (with_box(("cell",), [*EDGES, 0, 0, 0]), {}, "give its edges, 15, 16, 17, as"),
    "diagonal": (with_box(("v", "c"), np.diag(EDGES)), {}, "give its edges, 15, 16, 17, as"),
    "gro": (with_box(("cell",), [*EDGES, 0, 0, 0, 0, 0, 0]), {}, "give its edges, 15, 16, 17, as"),
    "box turned": (
        with_box(("axis", "frame"), np.tile(EDGES[:, None], FRAMES)),
        {},
        "box has dims (axis, frame); allowed are (axis) or (frame, axis)",
    ),
    "small box": (LIQUID, {"cutoff": 8.0}, "the box edge 15 angstrom is smaller than twice the"),
    "overlap": (
        put((3, 7), LIQUID["x"].values[3, 40] + [0.0, 0.5, 0.0]),
        {},
        "sites 7 and 40 overlap at frame=3: 0.5 angstrom apart (1 of 5 frames hold such pairs); "
        "allowed are distances from 1 on.",
    ),
    "overlap through the wall": (
        put((1, slice(8, 10)), [[0.1, 8.0, 16.9], [14.9, 8.0, 0.1]]),
        {},
        "sites 8 and 9 overlap at frame=1: 0.283 angstrom apart",
    ),
    "the same place": (put((0,), 1.0), {}, "overlap at frame=0: 0 angstrom apart (1 of 5"),
    "closest": (LIQUID, {"closest": 2.9}, "allowed are distances from 2.9 on"),
    "nanometres": (
        scaled(0.1),
        {},
        "the density is impossible: 125 sites in a box of 1.5 x 1.6 x 1.7 angstrom are 30.6 sites "
        "per cubic angstrom; allowed are 0.0001 to 0.2; a density 0.001 times that would be in "
        "range: the lengths look like nanometres; multiply x and box by 10.",
    ),
    "metres": (scaled(1e-10), {}, "look like metres; multiply x and box by 1e+10."),
    "picometres": (scaled(100.0), {}, "look like picometres; multiply x and box by 0.01."),
    "box alone in nanometres": (
        with_box(("axis",), EDGES / 10),
        {},
        "box looks like nanometres; multiply box alone by 10.",
    ),
    "positions alone in nanometres": (
        LIQUID.assign(x=LIQUID["x"] / 10),
        {},
        "the lengths look like nanometres; multiply x by 10, and box if it is in the same unit.",
    ),
    "neither": (scaled(0.03), {}, "allowed are 0.0001 to 0.2; look at the units of x and box"),
    "thin": (scaled(8.0), {}, "sites per cubic angstrom; allowed are 0.0001 to 0.2"),
    "heavy": (
        LIQUID,
        {"mass": 1e3},
        "125 sites in a box of 15 x 16 x 17 angstrom are 0.0306 sites per cubic angstrom, 50.9 "
        "g/cm^3; allowed are 0.0001 to 0.2, and 0.0001 to 25 g/cm^3",
    ),
    "light": (LIQUID, {"mass": 1e-3}, "5.09e-05 g/cm^3; allowed are"),
    "the data's mass": (with_mass(np.full(125, 1e3)), {"mass": 18.0}, "50.9 g/cm^3"),
    "one molecule in nanometres": (
        scaled(0.1, LIQUID.isel(site=slice(20)).assign(box=("axis", np.full(3, 50.0)))),
        {"cutoff": 0.9},
        "Every frame has a pair closer than 0.5: the lengths look like nanometres",
    ),
    "mass of nothing": (LIQUID, {"mass": 0.0}, "mass is 0.0 at site=0; allowed are positive"),
    "mass nan": (with_mass([*124 * [18.0], np.nan]), {}, "mass is nan at site=124; allowed are"),
    "mass in words": (with_mass(["heavy"] * 125), {}, "mass holds <U5; allowed are real numbers"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_named(fault: str) -> None:
    ds, options, says = WRONG[fault]
    with pytest.raises(ValueError) as caught:
        check_particles(ds, **{"cutoff": 6.0, **options})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frames_in_numbers_of_a_cell() -> None:
    """Three, six or nine frames of a box (frame, axis) are no triclinic cell."""
    for frames in (3, 6, 9):
        given = with_box(("frame", "axis"), np.tile(EDGES, (FRAMES, 1)))
        given = given.isel(frame=np.arange(frames) % FRAMES)
        check_particles(given, cutoff=3.0)
