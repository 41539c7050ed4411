"""What files of results hold, checked before anybody works with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from bayescg.files import storable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["check_parameters", "check_result"]

SAMPLES = ("chain", "draw")
#: Root attributes of one kind, where they are there, and in words what is allowed.
_KINDS: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (
        ("converged", "iterations", "seed", "wall_seconds", "predict_seed", "predict_draws"),
        lambda v: isinstance(v, int | float) and np.isfinite(v),
        "a number",
    ),
    (
        ("method", "model", "ended", "approximation", "data_source", "predict_reference"),
        lambda v: isinstance(v, str),
        "text",
    ),
    (
        ("model_options", "method_options", "predict_conditions"),
        lambda v: isinstance(v, str) and v.lstrip().startswith("{") and _is_json(v),
        "a mapping, as JSON",
    ),
)


#: Last dims of variables that reports draw, by group and name; one more, of a sweep, may come before.
_ENDS = {
    ("reconstruction", "X"): ("frame", "coarse_site"),
    ("reconstruction", "x_sample"): ("sample", "frame", "site"),
    ("reconstruction", "x_mean"): ("frame", "site"),
}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def check_result(tree: xr.DataTree) -> None:
    """What every result holds, whatever its method and model, where the groups are there.

    :raises ValueError: the first thing that is wrong, and what is allowed.
    """
    known = storable({str(k): v for k, v in tree.attrs.items()})
    for names, fits, allowed in _KINDS:
        for name in names:
            if name in known and not fits(known[name]):
                given = str(known[name])[:60]
                raise ValueError(f"the root attribute {name} is {given!r}; allowed is {allowed}.")
    for name, node in tree.children.items():
        sampled = name in ("posterior", "posterior_predictive", "prior", "log_likelihood")
        for label, variable in node.variables.items():
            where = f"{label!r} in the group {name}"
            if variable.dtype.kind not in "biufSUO":
                raise ValueError(f"{where} holds {variable.dtype}; allowed are numbers and text.")
            end = _ENDS.get((name, str(label)))
            if end is not None and (
                variable.dims[-len(end) :] != end
                or variable.ndim > len(end) + 1
                or not variable.size
            ):
                raise ValueError(
                    f"{where} has dims ({', '.join(map(str, variable.dims))}); allowed are ({', '.join(end)}), "
                    "perhaps after one more, and none of them empty."
                )
            if sampled and label in node.data_vars:
                if variable.dims[:2] != SAMPLES or variable.dtype.kind not in "biuf":
                    raise ValueError(
                        f"{where} holds {variable.dtype} with dims ({', '.join(map(str, variable.dims))}); "
                        "allowed are numbers whose first dims are chain and draw."
                    )
                if name == "posterior" and not (variable.shape[0] and variable.shape[1]):
                    raise ValueError(
                        "it holds no posterior draws; allowed is one with at least one."
                    )
                if not variable.size:
                    raise ValueError(f"{where} is empty, {dict(variable.sizes)}.")
    if "observed_data" in tree.children and "x" in tree.children["observed_data"].data_vars:
        x = tree.children["observed_data"].data_vars["x"]
        axes = x.dims[-3:] if x.dims[-1:] == ("axis",) else x.dims[-2:]
        if axes not in (("frame", "site"), ("frame", "site", "axis")) or x.ndim - len(axes) > 1:
            raise ValueError(
                f"'x' in the group observed_data has dims ({', '.join(map(str, x.dims))}); allowed are (frame, "
                "site) or (frame, site, axis), perhaps after one more."
            )
        if x.dtype.kind not in "biuf" or not x.size or not np.isfinite(x.values).all():
            raise ValueError("'x' in the group observed_data must hold finite numbers.")


def check_parameters(
    dataset: xr.Dataset, shapes: Mapping[str, tuple[int, ...]], also: int = 0
) -> None:
    """Raise unless draws of all parameters of a model are there.

    :param dataset: of the group posterior.
    :param shapes: of each parameter by name, without chains, draws and members of a sweep.
    :param also: further axes that a parameter may have, for the members of a sweep.
    :raises ValueError: naming what is missing or of another shape, and what is allowed
    """
    for name, shape in shapes.items():
        if name not in dataset.data_vars:
            held = ", ".join(map(str, dataset.data_vars)) or "nothing"
            raise ValueError(
                f"the result's posterior holds {held}, and no {name}, which its model has; allowed is "
                "a result with all parameters of its model."
            )
        found = dataset[name].shape[2:]
        if found not in [(*extra, *shape) for extra in ((), found[:also])]:
            raise ValueError(
                f"{name} in the result's posterior is of shape {found}, and {shape} in its model; allowed is the same."
            )
