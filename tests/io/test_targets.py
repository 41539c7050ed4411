"""Files of targets: what is right comes back as it was, what is wrong is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayescg.files import write_netcdf
from bayescg.io import save
from bayescg.io.targets import (
    Target,
    Targets,
    check_targets,
    has_targets,
    load_data,
    load_targets,
    make_targets,
    save_targets,
    targets_of,
)
from bayescg.topology import Bonded, Topology, topology_of, variables_of

N = 20
COUNT = {"A": 2 * N, "B": N}
BOX = np.full(3, 20.0)


def rdf(a: str = "A", b: str = "A", bins: int = 60, **more: Any) -> Target:
    r = 0.1 + 0.2 * np.arange(bins)
    return Target("pair", f"{a}_{b}", r, 1.0 - np.exp(-r), (a, b), **more)


def bond() -> Target:
    q = np.linspace(2.0, 3.0, 11)
    return Target("bond", "AB", q, np.full(11, 1.0 / 1.1), span=(2.0, 3.0), source="b.tgt")


def angle() -> Target:
    q = np.radians(np.arange(1.0, 180.0, 2.0))
    return Target("angle", "ABA", q, 0.5 * np.sin(q) * np.sinc(1.0 / 180.0))


def chains() -> xr.Dataset:
    i = 3 * np.arange(N)
    pairs = np.concatenate([np.stack([i, i + 1], 1), np.stack([i + 1, i + 2], 1)])
    topology = Topology(
        ("A", "B", "A") * N,
        np.full(3 * N, 14.0),
        np.repeat(np.arange(N), 3),
        Bonded(pairs, ("AB",) * (2 * N)),
        Bonded(np.stack([i, i + 1, i + 2], 1), ("ABA",) * N),
        exclusion=np.stack([i, i + 2], 1),
    )
    x = 20.0 * np.random.default_rng(0).random((1, 3 * N, 3))
    data = xr.Dataset({"x": (("frame", "site", "axis"), x), "box": ("axis", BOX)})
    return data.assign(variables_of(topology)).assign_attrs(temperature=300.0)


def made(*targets: Target, **more: Any) -> Targets:
    given = targets or (rdf(), rdf("A", "B"), bond(), angle())
    return make_targets(given, box=BOX, count=COUNT, temperature=300.0, **more)


def same(a: Target, b: Target) -> None:
    assert (a.kind, a.name, a.types, a.norm, a.span, a.source) == (
        b.kind,
        b.name,
        b.types,
        b.norm,
        b.span,
        b.source,
    )
    np.testing.assert_allclose(a.q, b.q, rtol=1e-9)
    np.testing.assert_allclose(a.values, b.values, rtol=1e-12)
    assert (a.error is None) == (b.error is None)


def test_targets_come_back(tmp_path: Path) -> None:
    path = tmp_path / "t.nc"
    given = (rdf(norm="n2"), rdf("A", "B", error=np.full(60, 0.1)), bond(), angle())
    start = Target("angle", "ABA", np.linspace(0.0, np.pi, 181), np.linspace(-1.0, 1.0, 181))
    before = made(*given, system=chains(), potentials=[start, replace(rdf("B", "B"), norm="pairs")])
    save_targets(before, path)
    after = load_targets(path)
    for a, b in zip(given, after.targets, strict=True):
        same(a, b)
    pair, kept = after.starts  # pairs come first
    same(pair, rdf("B", "B"))
    np.testing.assert_allclose(kept.values, start.values)
    np.testing.assert_allclose(kept.q, start.q)
    assert (after.temperature, after.count) == (300.0, COUNT)
    np.testing.assert_array_equal(after.box, BOX)
    topology = after.topology
    assert topology is not None
    assert topology.angle.names == ("ABA",) * N
    np.testing.assert_array_equal(topology.angle.members[1], [3, 4, 5])
    save_targets(after, path)  # what was read can be written


def test_the_file_is_the_contract(tmp_path: Path) -> None:
    """Names, dims and units that others read with xarray alone."""
    save_targets(made(), tmp_path / "t.nc")
    with xr.open_dataset(tmp_path / "t.nc") as data:
        assert {k: data[k].dims for k in ("rdf_A_A", "rdf_A_B", "bond_AB", "angle_ABA")} == {
            "rdf_A_A": ("r",),
            "rdf_A_B": ("r",),
            "bond_AB": ("length",),
            "angle_ABA": ("angle",),
        }
        assert {k: data[k].attrs["units"] for k in ("r", "length", "angle", "box")} == {
            "r": "angstrom",
            "length": "angstrom",
            "angle": "degree",
            "box": "angstrom",
        }
        assert data["angle_ABA"].attrs["units"] == "1/degree"
        assert float(data["angle_ABA"].sum() * 2.0) == pytest.approx(1.0, abs=1e-9)
        assert float(data["bond_AB"].sum() * 0.1) == pytest.approx(1.0)
        assert dict(zip(data["type"].values, data["count"].values, strict=True)) == COUNT
        assert data.attrs["temperature"] == 300.0
        assert all({"units", "long_name"} <= set(v.attrs) for v in data.variables.values())


def test_different_bins_have_an_axis_each() -> None:
    data = made(rdf(), rdf("A", "B", bins=40), bond()).distributions
    assert data["rdf_A_A"].dims == ("r_of_A_A",)
    assert data["rdf_A_B"].dims == ("r_of_A_B",)
    assert data["bond_AB"].dims == ("length",)
    assert [len(t.q) for t in targets_of(data)] == [60, 40, 11]


def test_bins_and_units() -> None:
    found = targets_of(made().distributions)[-1]
    assert found.width == pytest.approx(np.radians(2.0))
    np.testing.assert_allclose(found.edges[[0, -1]], [0.0, np.pi], atol=1e-9)
    assert found.values.sum() * found.width == pytest.approx(1.0)


def test_norms() -> None:
    """g of N(N-1)/2 pairs is larger by N/(N-1) than that of N^2/2."""
    like = rdf(norm="n2", error=np.full(60, 0.1)).normed("pairs", COUNT)
    np.testing.assert_allclose(like.values, rdf().values * 40 / 39)
    assert like.error is not None
    np.testing.assert_allclose(like.error, 0.1 * 40 / 39)
    np.testing.assert_allclose(like.normed("n2", COUNT).values, rdf().values)
    assert like.norm == "pairs"
    unlike = rdf("A", "B", norm="n2").normed("pairs", COUNT)
    np.testing.assert_allclose(unlike.values, rdf("A", "B").values)
    with pytest.raises(ValueError, match="norm must be pairs or n2, got 'n'"):
        rdf().normed("n", COUNT)


def test_pairs_are_those_that_are_not_excluded() -> None:
    """Each chain A-B-A excludes one pair A-A here, and its two pairs A-B are bonds."""
    given = made(rdf(norm="n2"), rdf("A", "B", norm="n2"), bond(), system=chains())
    aa, ab, same_bond = given.normed("pairs")
    np.testing.assert_allclose(aa.values, rdf().values * 800 / (780 - N))
    np.testing.assert_allclose(ab.values, rdf("A", "B").values)  # bonds exclude nothing here
    np.testing.assert_allclose(same_bond.values, bond().values)


def test_targets_as_data() -> None:
    """One data set whose angle is the topology's, and whose RDFs count the pairs that there are."""
    given = made(rdf(norm="n2"), rdf("A", "B"), bond(), angle(), system=chains())
    data = given.data()
    assert topology_of(data).angle.names == ("ABA",) * N
    assert data["x"].shape == (1, 3 * N, 3)
    assert data["angle_ABA"].dims == ("angle_of_ABA",)
    np.testing.assert_allclose(data["rdf_A_A"], rdf().values * 800 / (780 - N))
    assert data["rdf_A_A"].attrs["norm"] == "pairs"
    assert data.attrs["temperature"] == 300.0
    with pytest.raises(ValueError, match="the targets hold no system"):
        made().data()


def test_data_and_targets_by_one_reader(tmp_path: Path) -> None:
    given = made(rdf(), bond(), system=chains())
    save_targets(given, tmp_path / "t.nc")
    found = load_data(tmp_path / "t.nc")
    assert found["rdf_A_A"].dims == ("r_of_A_A",) and found.sizes["frame"] == 1
    save(chains(), tmp_path / "x.nc")
    assert "rdf_A_A" not in load_data(tmp_path / "x.nc")
    save_targets(made(), tmp_path / "none.nc")
    with pytest.raises(ValueError, match=r"none.nc: the targets hold no system"):
        load_data(tmp_path / "none.nc")
    write_netcdf(xr.DataTree(given.distributions.drop_vars("box")), tmp_path / "w.nc")
    with pytest.raises(ValueError, match=r"w.nc: box .axis. is missing"):
        load_data(tmp_path / "w.nc")


@pytest.mark.parametrize("system", ["hexane"])
def test_shipped_distributions_are_targets(system: str) -> None:
    found = load_targets(Path(__file__).parents[2] / "data" / system / "long_run.nc")
    assert {t.name for t in found.targets} >= {"A_A", "A_B", "B_B", "AB", "ABA"}


def test_two_angles_with_different_bins(tmp_path: Path) -> None:
    """An axis of its own must not be called as the variable is."""
    other = Target("angle", "BAB", np.radians([60.0, 90.0, 120.0]), np.full(3, 2.0 / np.pi))
    save_targets(made(angle(), other), tmp_path / "t.nc")
    assert [len(t.q) for t in load_targets(tmp_path / "t.nc").targets] == [90, 3]


def test_whether_a_file_holds_targets() -> None:
    assert has_targets(made().distributions)
    assert not has_targets(chains())
    assert not has_targets(chains().assign(rdf_A_A=("r", np.ones(3))))


def test_names_with_underscores() -> None:
    """A name that two pairs of types could have is told by the attributes."""
    count = {"A": 5, "A_B": 5, "B_C": 5, "C": 5}
    box = np.full(3, 10.0)
    one = Target("pair", "A_B_C", rdf().q[:20], np.ones(20), ("A", "B_C"))
    data = make_targets([one], box=box, count=count, temperature=1.0).distributions
    assert targets_of(data)[0].types == ("A", "B_C")
    del data["rdf_A_B_C"].attrs["type1"]
    with pytest.raises(ValueError, match="rdf_A_B_C names 2 pairs of bead types"):
        check_targets(data)


Change = Callable[[xr.Dataset], xr.Dataset]


def _with(name: str, value: Any) -> Change:
    return lambda data: data.assign({name: value})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d[["box", "count"]], "there are no targets"),
        (lambda d: d.drop_vars("box"), "box .axis. is missing"),
        (_with("box", ("axis", [1.0, -1.0, 1.0])), r"box is \[1.0, -1.0, 1.0\]"),
        (_with("box", ("axis", [2.0, 2.0, 2.0])), "look like nanometres"),
        (lambda d: d.drop_vars("count"), "count .type. is missing"),
        (_with("count", ("type", [40, 0])), r"count is \[40, 0\]"),
        (_with("count", ("type", [40.0, 20.0])), "whole numbers"),
        (lambda d: d.assign_attrs(temperature=-1.0), "'temperature' is -1.0"),
        (lambda d: d.assign_attrs(temperature="300"), "'temperature' is '300'"),
        (lambda d: d.assign_coords(type=["A", "A"]), "each may come once"),
        (
            lambda d: d.rename(rdf_A_B="rdf_A_C"),
            "rdf_A_C names no pairs of bead types; allowed are",
        ),
        (_with("rdf_A_B", ("r", np.zeros(60))), "rdf_A_B is zero everywhere"),
        (_with("rdf_A_B", ("r", np.full(60, -1.0))), "rdf_A_B is -1 at r=0"),
        (_with("rdf_A_B", ("r", np.full(60, np.nan))), "rdf_A_B is nan at r=0"),
        (_with("rdf_A_B_se", ("r", np.full(60, np.inf))), "rdf_A_B_se is inf"),
        (_with("rdf_A_B", (("r", "length"), np.ones((60, 11)))), "allowed is one, the bins"),
        (_with("bond_AB", ("length", np.ones(11))), "bond_AB integrates to 1.1 over length"),
        (lambda d: d.drop_vars("r"), "no coordinate"),
        (lambda d: d.assign_coords(r=("r", d["r"].values, {"units": "nm"})), "r is in 'nm'"),
        (lambda d: d.assign_coords(r=d["r"].values ** 2), "r is not evenly spaced"),
        (lambda d: d.assign_coords(r=-d["r"].values), "r is not evenly spaced"),
        (lambda d: d.assign_coords(r=d["r"].values - 5.0), "r runs from -4.9"),
        (lambda d: d.assign_coords(angle=d["angle"].values + 5.0), "angle runs from 6 to 184"),
        (lambda d: d.isel(length=[0]), "length has 1 bins"),
    ],
)
def test_what_is_wrong_is_named(change: Change, complaint: str) -> None:
    data = change(made().distributions)
    with pytest.raises(ValueError, match=complaint) as error:
        check_targets(data)
    assert "\n" not in str(error.value)


def test_a_wrong_norm_is_named() -> None:
    with pytest.raises(ValueError, match="norm is 'N'; allowed are pairs and n2"):
        made(rdf(norm="N"))


def test_an_error_may_be_unknown() -> None:
    made(rdf(error=np.full(60, np.nan)))


def test_one_bead_has_no_pair() -> None:
    with pytest.raises(ValueError, match="there is one B, and so no pair"):
        make_targets([rdf("B", "B")], box=np.full(3, 5.0), count={"A": 3, "B": 1}, temperature=1.0)


def test_a_target_given_twice() -> None:
    with pytest.raises(ValueError, match="bond_AB is given twice"):
        made(bond(), bond())


def test_the_system_must_fit() -> None:
    with pytest.raises(ValueError, match=r"the system has {'A': 40, 'B': 20}"):
        make_targets([rdf()], box=BOX, count={"A": 60}, temperature=300.0, system=chains())
    with pytest.raises(ValueError, match="bond_XY: the system has no bond of that name; it has AB"):
        made(replace(bond(), name="XY"), system=chains())
    with pytest.raises(ValueError, match=r"group system: .*temperature"):
        made(system=chains().drop_attrs())


def test_a_bond_cannot_have_the_name_of_another_variable() -> None:
    with pytest.raises(ValueError, match="bond_type holds the names of a topology"):
        made(rdf(), replace(bond(), name="type"))


def test_a_potential_must_be_finite() -> None:
    start = replace(rdf(), values=np.full(60, np.inf))
    with pytest.raises(ValueError, match="pair_potential_A_A is inf at r_potential=0"):
        made(potentials=[start])


def test_a_file_that_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "x.nc"
    write_netcdf(xr.DataTree(chains()), path)
    with pytest.raises(ValueError, match=r"x.nc: there are no targets"):
        load_targets(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_targets(tmp_path / "no.nc")


def test_nothing_is_written_of_what_is_wrong(tmp_path: Path) -> None:
    wrong = Targets(made().distributions.drop_vars("box"))
    with pytest.raises(ValueError, match="box"):
        save_targets(wrong, tmp_path / "t.nc")
    assert list(tmp_path.iterdir()) == []
