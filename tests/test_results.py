"""Results: labelled, packed, saved and loaded alike under either ArviZ."""

import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from bayescg import results

FEATURES = ["one", "two"]


def posterior(chains: int = 2, draws: int = 200) -> xr.Dataset:
    rng = np.random.default_rng(1)
    return results.to_dataset(
        {
            "theta_c": rng.normal(size=(chains, draws, 2)).astype(np.float32),
            "p0": rng.random((chains, draws)),
        },
        dims={"theta_c": ["feature"]},
        coords={"feature": FEATURES},
        attrs={"p0": {"long_name": "probability of a flip"}},
    )


def result(chains: int = 2, draws: int = 200) -> results.InferenceData:
    rng = np.random.default_rng(2)
    trace = results.to_dataset({"step": np.arange(5)}, sample_dims=["iteration"])
    data = results.to_dataset(
        {"x": np.array([[1, -1], [1, 1]], np.int8)}, dims={"x": ["frame", "site"]}, sample_dims=[]
    )
    likelihood = results.to_dataset(
        {"x": rng.normal(size=(chains, draws, 6))}, dims={"x": ["frame"]}
    )
    return results.inference_data(
        {
            "posterior": posterior(chains, draws),
            "em_trace": trace,
            "observed_data": data,
            "log_likelihood": likelihood,
        },
        method="mcem",
        model="ising",
        model_options={"ratio": 4, "prior": None},
        seed=np.uint32(7),
        converged=True,
        wall_seconds=1.5,
    )


ATTRS = {
    "method": "mcem",
    "model": "ising",
    "model_options": '{"ratio": 4, "prior": null}',
    "seed": 7,
    "converged": 1,
    "wall_seconds": 1.5,
}
GROUPS = ("em_trace", "log_likelihood", "observed_data", "posterior")


def test_import_does_not_import_arviz() -> None:
    code = "import sys, bayescg.results; assert 'arviz' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_arrays_are_labelled() -> None:
    ds = posterior()
    assert ds["theta_c"].dims == ("chain", "draw", "feature")
    assert ds["theta_c"].dtype == np.float32
    assert list(ds["feature"].values) == FEATURES
    assert list(ds["chain"].values) == [0, 1]
    assert ds["p0"].attrs == {"units": "1", "long_name": "probability of a flip"}
    assert all({"units", "long_name"} <= set(v.attrs) for v in ds.variables.values())


@pytest.mark.parametrize(
    ("variables", "options", "says"),
    [
        ({"a": np.zeros((2, 3, 4))}, {}, "'a' has 3 axes, shape (2, 3, 4), but 2 are named"),
        ({"a": np.zeros(2)}, {}, "'a' has 1 axes"),
        ({"r": np.zeros(4)}, {"dims": {"r": ["r"]}, "sample_dims": []}, "a variable and an axis"),
        ({"a": np.zeros((2, 2))}, {"sample_dims": ["r", "r"]}, "'a' names an axis twice"),
        (
            {"a": np.zeros((1, 5)), "b": np.zeros((1, 4))},
            {},
            "axis 'draw' has length 4 in 'b' but 5 in 'a'",
        ),
        (
            {"a": np.zeros((1, 5))},
            {"coords": {"draw": np.arange(4)}},
            "axis 'draw' has length 4 in coords but 5 in 'a'",
        ),
        ({"a": np.zeros((1, 5))}, {"coords": {"draw": np.eye(5)}}, "have shape (5, 5)"),
    ],
)
def test_an_unlabelled_axis_is_an_error(
    variables: dict[str, np.ndarray], options: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError) as caught:
        results.to_dataset(variables, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_groups_and_attributes() -> None:
    idata = result()
    assert isinstance(idata, results.InferenceData)
    assert results.groups(idata) == GROUPS
    assert results.attrs(idata) == ATTRS
    xr.testing.assert_identical(results.group(idata, "posterior"), posterior())
    assert results.has_group(idata, "em_trace")
    assert not results.has_group(idata, "prior")
    with pytest.raises(ValueError, match="no group 'prior'; there are: em_trace"):
        results.group(idata, "prior")
    with pytest.raises(ValueError, match="cannot name a group"):
        results.inference_data({"a/b": posterior()})
    with pytest.raises(ValueError, match="attribute 'bad'"):
        results.inference_data({"posterior": posterior()}, bad=object())
    empty = results.inference_data({"posterior": posterior(), "prior": xr.Dataset()})
    assert results.groups(empty) == ("posterior",)


def test_groups_are_added_and_replaced() -> None:
    idata = result()
    less = posterior().isel(draw=slice(10))
    new = results.with_groups(idata, {"posterior": less, "prior": posterior()})
    assert results.groups(new) == tuple(sorted((*GROUPS, "prior")))
    assert results.group(new, "posterior").sizes["draw"] == 10
    assert results.attrs(new) == ATTRS
    assert results.groups(idata) == GROUPS
    assert results.group(idata, "posterior").sizes["draw"] == 200


def test_a_file_round_trips(tmp_path: Path) -> None:
    idata, path = result(), tmp_path / "a.nc"
    results.save(idata, path)
    again = results.load(path)
    assert isinstance(again, results.InferenceData)
    assert results.groups(again) == GROUPS
    assert results.attrs(again) == ATTRS
    for name in GROUPS:
        before, after = results.group(idata, name), results.group(again, name)
        xr.testing.assert_identical(after, before)
        assert {n: v.dtype for n, v in after.data_vars.items()} == {
            n: v.dtype for n, v in before.data_vars.items()
        }
    results.save(again, path)  # over itself: it was read whole and closed
    assert os.listdir(tmp_path) == ["a.nc"]


def test_a_file_is_plain_netcdf_groups(tmp_path: Path) -> None:
    """The layout that the other ArviZ, and anyone without this package, reads."""
    results.save(result(), tmp_path / "a.nc")
    with xr.open_datatree(tmp_path / "a.nc", engine="netcdf4") as tree:
        assert dict(tree.attrs) == ATTRS
        assert tuple(sorted(tree.children)) == GROUPS
        for node in tree.children.values():
            for variable in node.variables.values():
                assert {"units", "long_name"} <= set(variable.attrs)


def test_failure_half_way_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nc"
    results.save(result(), path)
    old = path.read_bytes()

    def half(tree: xr.DataTree, part: Path, **_: object) -> None:
        Path(part).write_bytes(b"half")
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", half)
    with pytest.raises(RuntimeError, match="the disk is full"):
        results.save(result(draws=3), path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.nc"]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing does not exist; make it first"):
        results.save(result(), tmp_path / "missing" / "a.nc")


def test_what_is_no_result_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.nc"):
        results.load(path)
    path.write_text("no")
    with pytest.raises(ValueError, match="cannot be read as netCDF"):
        results.load(path)
    for idata, missing in (
        (results.inference_data({"posterior": posterior()}), "attribute 'method'"),
        (results.inference_data({"prior": posterior()}, method="x"), "group 'posterior'"),
    ):
        results.save(idata, path)
        with pytest.raises(ValueError, match=f"not a result of bayescg: the .*{missing}"):
            results.load(path)


@pytest.mark.parametrize("k", [0.3, 0.5, 0.9])
def test_khat_of_a_pareto_tail(k: float) -> None:
    """Weights 1/u^k of uniform u have a generalized Pareto tail of exactly shape k.

    With 20000 draws the tail has 424 of them. Over 200 other rows the error of khat had standard
    deviations of 0.07 to 0.09 and was 0.25 at most; so with any other key this would fail about
    once in a thousand times.
    """
    u = np.random.default_rng(3).random((2, 20_000))
    log_weights = -k * np.log(u)
    smooth, khat = results.psis(log_weights)
    assert smooth.shape == log_weights.shape
    assert khat.shape == (2,)
    np.testing.assert_allclose(khat, k, atol=0.3)
    np.testing.assert_allclose(np.exp(smooth).sum(-1), 1.0)
    # Only the tail is smoothed, and nothing exceeds the largest raw weight.
    raw = log_weights - np.log(np.exp(log_weights).sum(-1, keepdims=True))
    body = raw < np.quantile(raw, 0.9, axis=-1, keepdims=True)
    assert np.ptp((smooth - raw)[0][body[0]]) < 1e-12
    order = np.argsort(raw[0])
    assert (np.diff(smooth[0][order]) > -1e-12).all()


def test_psis_takes_any_leading_axes_and_leaves_its_argument() -> None:
    log_weights = np.random.default_rng(4).normal(size=(2, 3, 100)).astype(np.float32)
    before = log_weights.copy()
    smooth, khat = results.psis(log_weights)
    assert smooth.dtype == khat.dtype == np.float64
    assert khat.shape == (2, 3)
    np.testing.assert_array_equal(log_weights, before)
    one, k = results.psis(log_weights[1, 2])
    np.testing.assert_array_equal(one, smooth[1, 2])
    assert k.shape == ()
    assert k == khat[1, 2]
    far, _ = results.psis(log_weights[1, 2].astype(float) - 5000.0)
    np.testing.assert_allclose(far, one, atol=1e-10)


@pytest.mark.parametrize("draws", [1, 7, 1000])
def test_equal_weights_stay_uniform(draws: int) -> None:
    smooth, khat = results.psis(np.full((2, draws), -741.3))
    np.testing.assert_allclose(smooth, -np.log(draws))
    np.testing.assert_array_equal(khat, 0.0)


def test_a_tail_that_cannot_be_fitted_is_not_trusted() -> None:
    few = np.array([0.0, 1.0, 2.0])
    smooth, khat = results.psis(few)
    np.testing.assert_allclose(smooth, few - np.log(np.exp(few).sum()))
    assert khat == np.inf
    for repeated in (2, 60, 100, 999):
        stuck = np.where(np.arange(1000) < repeated, 0.0, -1.0)
        smooth, khat = results.psis(stuck)
        np.testing.assert_allclose(smooth, stuck - np.log(np.exp(stuck).sum()))
        assert khat == np.inf
    # Exponents so far apart that all but a few weights are zero.
    smooth, khat = results.psis(-20.0 * np.arange(1000))
    np.testing.assert_allclose(np.exp(smooth).sum(), 1.0)
    assert khat > 0.7


def test_weights_of_zero_are_allowed() -> None:
    log_weights = np.random.default_rng(5).normal(size=400)
    log_weights[:100] = -np.inf
    smooth, khat = results.psis(log_weights)
    np.testing.assert_allclose(np.exp(smooth).sum(), 1.0)
    assert np.isneginf(smooth[:100]).all()
    assert np.isfinite(khat)
    one = np.full(400, -np.inf)
    one[7] = 3.0
    smooth, khat = results.psis(one)
    assert smooth[7] == 0.0
    assert khat == np.inf


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.array([0.0, np.nan]), "NaN or"),
        (np.array([0.0, np.inf]), "NaN or"),
        (np.full((2, 3), -np.inf), "all log weights are -inf"),
        (np.zeros((2, 0)), "shape"),
        (np.array(0.0), "shape"),
    ],
)
def test_bad_weights_are_an_error(bad: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        results.psis(bad)


def test_diagnostics_tell_mixing_from_not() -> None:
    rng = np.random.default_rng(6)
    apart = rng.normal(size=(4, 200)) + 3 * np.arange(4)[:, None]
    ds = results.to_dataset(
        {"good": rng.normal(size=(4, 200, 2)), "apart": apart, "still": np.ones((4, 200))},
        dims={"good": ["feature"]},
        coords={"feature": FEATURES},
    )
    found = results.diagnostics(ds)
    assert set(found) == {"r_hat", "ess_bulk", "ess_tail"}
    for table in found.values():
        assert table["good"].dims == ("feature",)
        assert list(table["feature"].values) == FEATURES
    assert (found["r_hat"]["good"] < 1.05).all()
    assert found["r_hat"]["apart"] > 1.5
    assert (found["ess_bulk"]["good"] > 400).all()
    assert found["ess_bulk"]["apart"] < 20


@pytest.mark.parametrize(("chains", "draws"), [(1, 1), (1, 3), (3, 1), (1, 50)])
def test_diagnostics_of_few_draws_are_nan(
    chains: int, draws: int, capfd: pytest.CaptureFixture[str]
) -> None:
    found = results.diagnostics(posterior(chains, draws))
    assert np.isnan(found["r_hat"]["theta_c"]).all()
    assert bool(np.isnan(found["ess_bulk"]["p0"])) == (draws < 4)
    assert capfd.readouterr().err == ""


def test_summary_has_the_same_columns_everywhere() -> None:
    table = results.summary(result())
    assert list(table.columns) == [
        "mean",
        "sd",
        "eti90_lb",
        "eti90_ub",
        "ess_bulk",
        "ess_tail",
        "r_hat",
    ]
    assert list(table.index) == ["theta_c[one]", "theta_c[two]", "p0"]
    draws = posterior()["p0"].values
    row = table.loc["p0"]
    np.testing.assert_allclose(row["mean"], draws.mean())
    np.testing.assert_allclose(row["sd"], draws.std(ddof=1))
    np.testing.assert_allclose(row[["eti90_lb", "eti90_ub"]], np.quantile(draws, [0.05, 0.95]))
    assert row["r_hat"] < 1.05
    assert list(results.summary(result(), ["p0"], prob=0.5).columns)[2] == "eti50_lb"
    with pytest.raises(ValueError, match="'p1' is not in the posterior; there are: theta_c, p0"):
        results.summary(result(), ["p1"])
    with pytest.raises(ValueError, match="prob is 90"):
        results.summary(result(), prob=90)


def test_summary_of_a_point_estimate() -> None:
    table = results.summary(result(1, 1))
    assert np.isfinite(table[["mean", "eti90_lb", "eti90_ub"]]).all(axis=None)
    assert table[["sd", "ess_bulk", "r_hat"]].isna().all(axis=None)


def test_loo_of_a_normal_mean() -> None:
    """Known mean and width: leave-one-out is the plain log density, without a parameter."""
    data = np.array([-1.0, 0.0, 2.0])
    density = -0.5 * data**2 - 0.5 * np.log(2 * np.pi)
    mean = np.random.default_rng(8).normal(scale=0.01, size=(2, 500, 1))
    likelihood = results.to_dataset(
        {"x": density + mean * data - 0.5 * mean**2}, dims={"x": ["frame"]}
    )
    draws = results.to_dataset({"mean": mean[..., 0]})
    found = results.loo(results.inference_data({"posterior": draws, "log_likelihood": likelihood}))
    np.testing.assert_allclose(found.elpd_i, density, atol=0.01)
    np.testing.assert_allclose(found.elpd, density.sum(), atol=0.01)
    np.testing.assert_allclose(found.se, np.sqrt(3) * density.std(ddof=1), atol=0.01)
    assert abs(found.p) < 0.01
    assert found.khat.dims == ("frame",)
    two = likelihood.assign(y=likelihood["x"])
    idata = results.inference_data({"posterior": draws, "log_likelihood": two})
    assert results.loo(idata, "y").elpd == found.elpd
    with pytest.raises(ValueError, match="several variables, name one: x, y"):
        results.loo(idata)
    with pytest.raises(ValueError, match="'z' is not in log_likelihood"):
        results.loo(idata, "z")
    with pytest.raises(ValueError, match="no group 'log_likelihood'"):
        results.loo(results.inference_data({"posterior": draws}))
