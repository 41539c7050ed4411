"""The few numbers of a result that matter most."""

from typing import Any

import numpy as np
import xarray as xr

from bayescg import results

__all__ = ["key_numbers"]


def key_numbers(result: Any) -> dict[str, Any]:
    """The numbers of a result that matter most, for a summary line and ``--json``.

    :param result: InferenceData.
    """
    a = results.attrs(result)
    out: dict[str, Any] = {
        k: a[k]
        for k in ("method", "model", "approximation", "converged", "ended", "wall_seconds")
        if k in a
    }
    posterior = results.group(result, "posterior")
    out["draws"] = int(posterior.sizes["chain"] * posterior.sizes["draw"])
    point = out["draws"] == 1
    if "p0" in posterior:
        out["p0_mean"] = float(posterior["p0"].mean())
    if "theta_c" in posterior:
        mean = posterior["theta_c"].mean(("chain", "draw"))
        out["active_features_max"] = int((abs(mean) > 0.01).sum(dim="feature").max())
    if results.has_group(result, "states"):
        occupied = results.group(result, "states")["occupied"]
        out["occupied_states_mean"] = float(occupied.mean())
    for group in ("map", "variational"):
        if results.has_group(result, group) and "khat" in results.group(result, group):
            khat = results.group(result, group)["khat"].values
            if not np.isnan(khat).all():
                out["khat_max"] = float(np.nanmax(khat))
                out["khat_above_0.7"] = int((khat > 0.7).sum())
    for name in ("elbo", "log_evidence"):
        out |= {k: float(a[k]) for k in (name, f"{name}_se") if k in a}
    if results.has_group(result, "posterior_predictive"):
        predicted = results.group(result, "posterior_predictive")
        if results.has_group(result, "reference"):
            exact = results.group(result, "reference")
            for name in ("magnetization", "correlation"):
                if name in predicted and name in exact:
                    gap = predicted[name].mean(("chain", "draw")) - exact[name]
                    out[f"{name}_rmse"] = float(np.sqrt((gap**2).mean()))
                    if name == "magnetization":
                        x = results.group(result, "observed_data")["x"]
                        data_gap = x.mean(("frame", "site")) - _at_members(exact[name], x)
                        if data_gap.notnull().any():
                            out["data_magnetization_rmse"] = float(np.sqrt((data_gap**2).mean()))
                        if not point and results.has_group(result, "map_predictive"):
                            at_map = results.group(result, "map_predictive")[name] - exact[name]
                            out["map_magnetization_rmse"] = float(np.sqrt((at_map**2).mean()))
        if "magnetization" in predicted and not point:
            width = (
                predicted["magnetization"]
                .quantile([0.05, 0.95], ("chain", "draw"))
                .diff("quantile")
            )
            out["magnetization_width_90"] = float(width.mean())
    return out


def _at_members(exact: xr.DataArray, x: xr.DataArray) -> xr.DataArray:
    """A reference at the members that were fitted; nan where it has none, as of a prediction elsewhere."""
    sweep = {d: x[d].values for d in x.dims if d in exact.indexes}
    return exact.reindex(sweep, method="nearest", tolerance=1e-6) if sweep else exact
