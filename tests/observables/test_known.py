"""Names under which distributions are stored."""

import numpy as np
import xarray as xr

from bayescg.observables.known import under_names


def test_of_one_type_both_names_mean_the_same() -> None:
    r = np.arange(0.5, 3.0)
    typed = xr.Dataset({"rdf_W_W": ("r", r), "rdf_W_W_se": ("r", 0.1 * r)}, {"r": r})
    plain = under_names(typed, ["rdf", "adf"])
    assert set(plain.data_vars) == {"rdf", "rdf_se"}
    xr.testing.assert_identical(under_names(plain, ["rdf_W_W"]), typed)
    xr.testing.assert_identical(under_names(typed, ["rdf_W_W"]), typed)


def test_of_several_types_none_is_renamed() -> None:
    r = np.arange(0.5, 3.0)
    several = xr.Dataset({"rdf_A_A": ("r", r), "rdf_A_B": ("r", r)}, {"r": r})
    xr.testing.assert_identical(under_names(several, ["rdf"]), several)
    one = several.drop_vars("rdf_A_B")
    xr.testing.assert_identical(under_names(one, ["rdf_B_B"]), one)
