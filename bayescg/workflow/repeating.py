"""A fit again, from what its result records."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
import json
from pathlib import Path
from typing import Any
import warnings

import numpy as np
import xarray as xr

from bayescg import __version__, results
from bayescg.infer.options import options_for
from bayescg.io.targets import load_data
from bayescg.options import in_words, with_options
from bayescg.samplers import usual_precision
from bayescg.workflow.assemble import checksum
from bayescg.workflow.machine import machine
from bayescg.workflow.registry import METHODS, chosen_options, make_system

__all__ = ["Recorded", "difference", "recorded"]

VERSIONS = ("jax", "numpyro", "numpy")  # those that a number may depend on


@dataclass(frozen=True)
class Recorded:
    """What a fit was made of, as :func:`bayescg.workflow.fit` takes it.

    :param model: a shipped name, or a path to a Python file; ``data`` the file of what is fitted.
    :param method: its name; ``seed`` of the key that it runs with.
    :param options: ``key=value`` words of the model, those that are not its defaults; ``method_options`` the method's.
    :param notes: why the result may be another, in words.
    """

    model: str
    data: Path
    method: str
    options: tuple[str, ...]
    method_options: tuple[str, ...]
    seed: int
    notes: tuple[str, ...] = ()


def recorded(result: Any, data: str | Path | None = None) -> Recorded:
    """What repeats the fit of a result.

    :param result: InferenceData.
    :param data: the file that holds what was fitted, where it is not found under its recorded name.
    :raises ValueError: the data or the model's code are others than those that were fitted, the result names no data,
        or holds options that this version does not know.
    :raises FileNotFoundError: there is no such data file, or no such model file.
    """
    attrs = results.attrs(result)
    model, method = str(attrs["model"]), str(attrs.get("method"))
    if method not in METHODS:
        raise ValueError(
            f"the result is of the method {method!r}, which is not known; known: {', '.join(METHODS)}."
        )
    path = _data_of(attrs, data)
    code = attrs.get("model_sha256")
    if code is not None and code != sha256(Path(model).read_bytes()).hexdigest():
        raise ValueError(
            f"{model} has changed since the fit; allowed is the file that was fitted with."
        )
    loaded = load_data(path)
    usual = chosen_options(model, (), loaded, method)
    words = _changed(usual, json.loads(str(attrs["model_options"])), model)
    system = make_system(model, words, loaded, method)
    _check_data(attrs, system.batch(loaded).x, path)
    own = options_for(system, method, METHODS[method].options(system), {})
    given = _changed(own, json.loads(str(attrs.get("method_options", "{}"))), method)
    seed = int(attrs.get("seed", 0))
    return Recorded(model, path, method, words, given, seed, tuple(_notes(attrs)))


def _data_of(attrs: Any, data: str | Path | None) -> Path:
    source = str(attrs.get("data_source", "memory")) if data is None else str(data)
    if source == "memory":
        raise ValueError(
            "the fit was given its data in memory; name a file that holds them with -d."
        )
    path = Path(source)
    if data is None and not path.is_file():  # named from another folder
        path = Path(str(attrs.get("data_path", source)))
    if not path.is_file():
        hint = "; name it with -d" if data is None else ""
        raise FileNotFoundError(f"no such data file: {source}{hint}.")
    return path


def _changed(base: Any, values: dict[str, Any], owner: str) -> tuple[str, ...]:
    """Recorded values as words, but for those that are defaults anyway.

    Not all of them: an option may be refused where it has no use, though it has a default.
    """
    recorded = with_options(base, values, owner)  # refuses what this version does not know
    return tuple(
        f"{name}={in_words(value)}"
        for name, value in vars(recorded).items()
        if name in values and value != getattr(base, name)
    )


def _check_data(attrs: Any, x: np.ndarray, path: Path) -> None:
    wanted = attrs.get("data_sha256")
    if wanted is not None and checksum(x) != wanted:
        raise ValueError(
            f"{path} does not hold the data that were fitted (their sha256 is {str(wanted)[:12]}...); name the "
            "file that does with -d."
        )


def _notes(attrs: Any) -> Iterator[str]:
    here = {"inference_library": __version__, **{n: version(n) for n in VERSIONS}}
    for name, own in here.items():
        theirs = attrs.get(f"{name}_version")
        if theirs is not None and str(theirs) != own:
            known = "bayescg" if name == "inference_library" else name
            yield f"fitted with {known} {theirs}, this is {own}: numbers may differ"
    for name, own in machine().items():
        theirs = attrs.get(name)
        if theirs is not None and str(theirs) != own:
            yield f"fitted on other {name} ({theirs}; here {own}): numbers may differ"
    precision = attrs.get("precision_of_moves")
    if precision is not None and precision != usual_precision():
        yield (
            f"fitted with particles that moved in {precision} precision, these move in {usual_precision()} "
            "(BAYESCG_PRECISION): numbers may differ"
        )


def difference(one: Any, other: Any) -> float:
    """The largest difference of posterior draws, in standard deviations of ``one``; 0 is the same to the last bit.

    Of what does not vary between draws (a point) it is relative, value by value. Infinite where the posteriors have
    other variables or shapes, or are not finite in other places.

    :param one: InferenceData of a fit; ``other`` of the fit that is compared with it.
    """
    first, second = results.group(one, "posterior"), results.group(other, "posterior")
    if set(first.data_vars) != set(second.data_vars):
        return float("inf")
    return max((_between(first[name], second[name]) for name in first.data_vars), default=0.0)


def _between(a: xr.DataArray, b: xr.DataArray) -> float:
    x, y = np.asarray(a.values), np.asarray(b.values)
    if x.shape != y.shape:
        return float("inf")
    if np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
        return 0.0
    known = np.isfinite(x)
    if not np.array_equal(known, np.isfinite(y)) or not np.array_equal(x[~known], y[~known], True):
        return float("inf")
    if not known.any():
        return 0.0
    drawn = np.where(known, x, np.nan).reshape(-1, *x.shape[2:])
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing finite there
        spread = np.broadcast_to(np.nanstd(drawn, 0), x.shape)
    scale = np.where(spread > 0.0, spread, np.maximum(np.abs(x), np.finfo(float).tiny))
    return float(np.max(np.abs(x - y)[known] / scale[known]))
