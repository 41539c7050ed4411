"""Results in, out, saved and loaded: the one module that knows which ArviZ is installed.

ArviZ 0.23 holds a result in its ``InferenceData``, 1.x in ``xarray.DataTree``. Here everything is
assembled as a ``DataTree``, files are written and read as one, and the container is chosen at the
border; so a file of either version opens under the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
from importlib.metadata import version
import json
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
import warnings

import numpy as np
import xarray as xr

from bayescg.contract import check_result
from bayescg.files import brief, labelled, read_netcdf, storable, write_netcdf

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

    # One of two classes, of which only one is ever installed.
    InferenceData: TypeAlias = Any

__all__ = [
    "InferenceData",
    "Loo",
    "attrs",
    "diagnostics",
    "group",
    "groups",
    "has_group",
    "inference_data",
    "load",
    "loo",
    "mapping",
    "psis",
    "save",
    "summary",
    "to_dataset",
    "told",
    "with_groups",
]

_ARVIZ_1 = int(version("arviz").split(".")[0]) >= 1
_SAMPLE_DIMS = ("chain", "draw")


@functools.cache
def _arviz() -> ModuleType:
    """Import ArviZ when it is first needed: it takes seconds, most of them for plots."""
    with warnings.catch_warnings():
        # Once a day 0.23 announces 1.x; both are supported here.
        warnings.simplefilter("ignore")
        import arviz
    return arviz


def __getattr__(name: str) -> Any:
    if name == "InferenceData":
        return xr.DataTree if _ARVIZ_1 else _arviz().InferenceData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def to_dataset(
    variables: Mapping[str, object],
    *,
    dims: Mapping[str, Sequence[str]] = {},
    coords: Mapping[str, object] = {},
    sample_dims: Sequence[str] = _SAMPLE_DIMS,
    attrs: Mapping[str, Mapping[str, object]] = {},
) -> xr.Dataset:
    """Label arrays, so that no axis and no unit is left to guess.

    :param variables: arrays by name, NumPy or JAX; the leading axes are ``sample_dims``
    :param dims: for each variable the names of its other axes
    :param coords: values along the axes; counted from 0 where there are none
    :param sample_dims: the axes that all variables begin with
    :param attrs: for each variable ``units`` (``"1"`` without) and ``long_name`` (its name without)
    :raises ValueError: an axis has no name or twice the same, a variable is named like an axis,
        or two lengths of an axis differ
    """
    data: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    # An axis is as long as the first that has it; the names are kept for the message.
    lengths: dict[str, tuple[int, str]] = {}
    labels = {axis: np.asarray(values) for axis, values in coords.items()}

    def add(axis: str, length: int, owner: str) -> None:
        first, other = lengths.setdefault(axis, (length, owner))
        if first != length:
            raise ValueError(
                f"axis {axis!r} has length {length} in {owner} but {first} in {other}."
            )

    for name, value in variables.items():
        array = np.asarray(value)
        axes = (*sample_dims, *dims.get(name, ()))
        if len(axes) != array.ndim:
            raise ValueError(
                f"{name!r} has {array.ndim} axes, shape {array.shape}, but {len(axes)} are named: "
                f"({', '.join(axes)}); name the others in dims."
            )
        if len(set(axes)) != len(axes):
            raise ValueError(f"{name!r} names an axis twice: ({', '.join(axes)}).")
        for axis, length in zip(axes, array.shape, strict=True):
            add(axis, length, repr(name))
        data[name] = (axes, array)
    for name in data:
        if name in lengths:
            raise ValueError(f"{name!r} is a variable and an axis; give its values in coords.")
    for axis in lengths:
        if axis in labels:
            if labels[axis].ndim != 1:
                raise ValueError(
                    f"coords of axis {axis!r} have shape {labels[axis].shape}; allowed is one axis."
                )
            add(axis, len(labels[axis]), "coords")
    along = {axis: labels.get(axis, np.arange(n)) for axis, (n, _) in lengths.items()}
    return labelled(xr.Dataset(data, along), attrs)


def inference_data(groups: Mapping[str, xr.Dataset], /, **attrs: object) -> InferenceData:
    """Pack groups into the container of the installed ArviZ.

    :param groups: Datasets by group name; one without variables is left out, as ArviZ 0.23 does
    :param attrs: root attributes; a bool becomes 0 or 1, what netCDF cannot hold becomes JSON
    :raises ValueError: a group's name is not a plain name, or an attribute has no JSON form
    """
    for name in groups:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot name a group; allowed are letters, digits and '_'.")
    tree = xr.DataTree.from_dict({name: ds for name, ds in groups.items() if ds.data_vars})
    tree.attrs = storable(attrs)
    return _packed(tree)


def _packed(tree: xr.DataTree) -> InferenceData:
    return tree if _ARVIZ_1 else _arviz().InferenceData.from_datatree(tree)


def _tree(idata: InferenceData) -> xr.DataTree:
    tree: xr.DataTree = idata if _ARVIZ_1 else idata.to_datatree()
    return tree


def groups(idata: InferenceData) -> tuple[str, ...]:
    """Name the groups, in alphabetical order."""
    return tuple(sorted(idata.children if _ARVIZ_1 else idata.groups()))


def has_group(idata: InferenceData, name: str) -> bool:
    """Tell whether there is such a group."""
    return name in groups(idata)


def group(idata: InferenceData, name: str) -> xr.Dataset:
    """Take one group as a Dataset, whichever the container.

    :raises ValueError: there is no such group; the message lists those there are

    >>> posterior = xr.Dataset({"a": (("chain", "draw"), np.zeros((2, 3)))})
    >>> made = inference_data({"posterior": posterior}, method="nuts")
    >>> group(made, "posterior")["a"].shape
    (2, 3)
    """
    if not has_group(idata, name):
        raise ValueError(f"there is no group {name!r}; there are: {', '.join(groups(idata))}.")
    dataset: xr.Dataset = idata[name].to_dataset() if _ARVIZ_1 else idata[name]
    return dataset


def attrs(idata: InferenceData) -> dict[str, Any]:
    """Copy the root attributes, numbers as Python's own; JSON text stays text."""
    return storable(idata.attrs)


def told(attributes: Mapping[str, Any], name: str) -> list[str]:
    """Read a list of notes from root attributes, as ``messages`` and ``predict_messages`` hold them."""
    text = attributes.get(name, [])
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        found = text
    return [str(note) for note in found] if isinstance(found, list) else [str(found)]


def mapping(text: Any) -> dict[str, Any]:
    """Read a mapping that an attribute holds as JSON, as ``model_options`` does; empty where it is none.

    >>> mapping('{"ratio": 2}'), mapping("no JSON")
    ({'ratio': 2}, {})
    """
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        found = None
    return dict(found) if isinstance(found, Mapping) else {}


def with_groups(idata: InferenceData, new: Mapping[str, xr.Dataset]) -> InferenceData:
    """Make a result with groups added or replaced; root attributes are kept.

    :param idata: left unchanged
    :param new: Datasets by group name
    """
    kept = {name: group(idata, name) for name in groups(idata) if name not in new}
    return inference_data({**kept, **new}, **attrs(idata))


def save(idata: InferenceData, path: str | os.PathLike[str]) -> None:
    """Write a result as netCDF, by rename: the old file stays until the new one is whole.

    :param idata: the result.
    :param path: of the file; its folder exists.
    :raises OSError: the folder is missing or the path cannot be written
    :raises ValueError: an attribute cannot be stored
    """
    write_netcdf(_tree(idata), path)


def load(path: str | os.PathLike[str]) -> InferenceData:
    """Read a result, written under either ArviZ, into memory and close the file.

    :raises FileNotFoundError: there is no such file
    :raises ValueError: it is not netCDF, or not a result of this package
    """
    tree = read_netcdf(path)
    for missing, what in (
        ("method" not in tree.attrs, "the root attribute 'method'"),
        ("posterior" not in tree.children, "the group 'posterior'"),
    ):
        if missing:
            raise ValueError(
                f"{path} is not a result of bayescg: {what} is missing; allowed is a file that "
                "`bayescg fit` or `bayescg predict` wrote."
            )
    try:
        check_result(tree)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole result of bayescg: {brief(error)}") from None
    return _packed(tree)


def psis(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth importance weights by a generalized Pareto tail (Vehtari et al. 2024, PSIS).

    Weights that are all equal come back uniform with k-hat 0: nothing is left to smooth. Where no
    tail can be fitted (under 25 draws, or under five different weights among the largest) they
    come back normalised but not smoothed, with k-hat infinite: nothing is known about the tail.

    :param log_weights: ``(..., draw)``, log target minus log proposal, up to a constant, of
        independent draws; ``-inf`` is a weight of zero
    :return: log weights of the same shape whose exponentials add up to 1 along draws, and k-hat
        ``(...)``; above 0.7 the weights are not to be trusted
    :raises ValueError: a log weight is NaN or +inf, or all of a row are ``-inf``

    >>> weights, khat = psis(np.zeros((1, 200)))  # all alike: nothing to smooth
    >>> float(khat[0]), round(float(np.exp(weights).sum()), 12)
    (0.0, 1.0)
    """
    weights = np.array(log_weights, dtype=np.float64)
    if weights.ndim == 0 or weights.shape[-1] == 0:
        raise ValueError(f"log weights have shape {weights.shape}; allowed is (..., draw).")
    if np.isnan(weights).any() or np.isposinf(weights).any():
        raise ValueError("a log weight is NaN or +inf; allowed are finite numbers and -inf.")
    top = weights.max(axis=-1, keepdims=True)
    if np.isneginf(top).any():
        raise ValueError("all log weights are -inf; at least one draw needs a weight.")
    weights -= top
    weights -= np.log(np.exp(weights).sum(axis=-1, keepdims=True))
    khat = np.empty(weights.shape[:-1])
    for row in np.ndindex(khat.shape):
        weights[row], khat[row] = _psis_row(weights[row])
    return weights, khat


def _psis_row(row: np.ndarray) -> tuple[np.ndarray, float]:
    if np.ptp(row) < 1e-12:
        return np.full_like(row, -np.log(row.size)), 0.0
    # Where a tail cannot be fitted, ArviZ raises, or says NaN or infinite, by version and case.
    tail = int(min(row.size / 5, 3 * row.size**0.5))
    if tail < 5 or np.unique(np.sort(row)[-tail:]).size < 5:
        return row, np.inf
    arviz = _arviz()
    # Far below the largest, exp underflows: that is a weight of zero, not a fault.
    with np.errstate(under="ignore", divide="ignore", invalid="ignore"):
        if _ARVIZ_1:  # its argument is the log likelihood left out: minus the log weight
            smooth, k = xr.DataArray(-row, dims="draw").azstats.psislw(dim="draw")
        else:
            smooth, k = arviz.psislw(row)
    smooth = np.asarray(smooth)
    if not np.isfinite(k) or np.isnan(smooth).any():
        return row, np.inf
    return smooth, float(k)


def diagnostics(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """Measure convergence: rank-normalised split R-hat, bulk and tail effective sample size.

    :param dataset: variables ``(chain, draw, ...)``
    :return: ``r_hat``, ``ess_bulk`` and ``ess_tail``, each a Dataset of the remaining dims; NaN
        where it is not defined: under four draws, and R-hat of one chain
    """
    chains, draws = (dataset.sizes[dim] for dim in _SAMPLE_DIMS)
    dataset = dataset.astype(np.float64)
    undefined = dataset.isel(chain=0, draw=0, drop=True) * np.nan
    measured = {"r_hat": undefined, "ess_bulk": undefined, "ess_tail": undefined}
    # ArviZ would say the same by NaN, and print a warning for each variable.
    if draws < 4:
        return measured
    arviz = _arviz()
    with np.errstate(divide="ignore", invalid="ignore"):  # a variable that is constant
        measured["ess_bulk"] = arviz.ess(dataset, method="bulk")
        # The versions differ in which quantiles are the tails.
        measured["ess_tail"] = arviz.ess(dataset, method="tail", prob=(0.05, 0.95))
        if chains > 1:
            measured["r_hat"] = arviz.rhat(dataset)
    return measured


def summary(
    idata: InferenceData, var_names: Sequence[str] | None = None, *, prob: float = 0.9
) -> pd.DataFrame:
    """Tabulate the posterior, with the same columns under every ArviZ and nothing rounded.

    :param var_names: the variables, all without
    :param prob: probability of the equal-tailed interval
    :return: a row an element, ``name[label, ...]``; columns ``mean``, ``sd``, ``eti90_lb``,
        ``eti90_ub`` (by ``prob`` in percent), ``ess_bulk``, ``ess_tail``, ``r_hat``
    :raises ValueError: a name is not in the posterior, or ``prob`` is no probability
    """
    import pandas as pd

    posterior = group(idata, "posterior")
    known = [str(name) for name in posterior.data_vars]
    names = known if var_names is None else list(var_names)
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is not in the posterior; there are: {', '.join(known)}.")
    if not 0 < prob < 1:
        raise ValueError(f"prob is {prob}; allowed is a number between 0 and 1.")
    chosen = posterior[names].astype(np.float64)
    tails = chosen.quantile([0.5 - prob / 2, 0.5 + prob / 2], dim=_SAMPLE_DIMS)
    many = chosen.sizes["chain"] * chosen.sizes["draw"] > 1
    measured = diagnostics(chosen)
    columns = {
        "mean": chosen.mean(_SAMPLE_DIMS),
        "sd": chosen.std(_SAMPLE_DIMS, ddof=1) if many else chosen.std(_SAMPLE_DIMS) * np.nan,
        f"eti{100 * prob:g}_lb": tails.isel(quantile=0),
        f"eti{100 * prob:g}_ub": tails.isel(quantile=1),
        **{name: measured[name] for name in ("ess_bulk", "ess_tail", "r_hat")},
    }
    rows: dict[str, list[float]] = {}
    for name in names:
        table = columns["mean"][name]
        for index in np.ndindex(table.shape):
            labels = [str(table[dim].values[i]) for dim, i in zip(table.dims, index, strict=True)]
            row = f"{name}[{', '.join(labels)}]" if labels else name
            rows[row] = [float(column[name].values[index]) for column in columns.values()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns))


class Loo(NamedTuple):
    """Leave-one-out estimate of the expected log predictive density, in nats.

    :param elpd: the sum over data
    :param se: its standard error
    :param p: effective number of parameters
    :param elpd_i: the terms, one a datum; differences of two models' terms compare them
    :param khat: Pareto k-hat, one a datum; a term above 0.7 is not to be trusted
    """

    elpd: float
    se: float
    p: float
    elpd_i: xr.DataArray
    khat: xr.DataArray


def loo(idata: InferenceData, var_name: str | None = None) -> Loo:
    """Estimate out-of-sample fit by Pareto-smoothed leave-one-out.

    :param var_name: the variable of ``log_likelihood``, where there are several
    :raises ValueError: there is no ``log_likelihood``, no such variable, or a choice to make
    """
    known = [str(name) for name in group(idata, "log_likelihood").data_vars]
    if var_name is None and len(known) > 1:
        raise ValueError(f"log_likelihood has several variables, name one: {', '.join(known)}.")
    if var_name is not None and var_name not in known:
        raise ValueError(f"{var_name!r} is not in log_likelihood; there are: {', '.join(known)}.")
    with warnings.catch_warnings():
        # They tell of high k-hat, which is returned.
        warnings.simplefilter("ignore")
        found = _arviz().loo(idata, pointwise=True, var_name=var_name or known[0])
    elpd_i = found.elpd_i if _ARVIZ_1 else found.loo_i
    return Loo(
        elpd=float(elpd_i.sum()),
        # The versions divide by n and by n - 1.
        se=float(np.sqrt(elpd_i.size * elpd_i.var(ddof=1))) if elpd_i.size > 1 else np.nan,
        p=float(found.p if _ARVIZ_1 else found.p_loo),
        elpd_i=elpd_i,
        khat=found.pareto_k,
    )
