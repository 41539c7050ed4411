"""What users do: make reference data, fit, predict, observe. Notebooks and the shell share it."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import io
from bayescg.infer.fit import Fit
from bayescg.infer.progress import Progress
from bayescg.observables import lattice as lattice_observables
from bayescg.observables.base import Observable
from bayescg.options import parse_options
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.choices import choose_observables
from bayescg.workflow.registry import (
    load_model,
    make_system,
    model_options,
    run_of,
)

__all__ = ["fit", "make_reference", "observe"]


def make_reference(model: str, options: Sequence[str] = (), seed: int = 0) -> xr.Dataset:
    """Fine-grained data of a shipped system, with their exact or long-run observables."""
    module = load_model(model)
    if not hasattr(module, "reference"):
        raise ValueError(f"{model} cannot make reference data.")
    chosen = parse_options(model_options(model), options, model)
    read = getattr(module, "REFERENCE_OPTIONS", tuple(vars(chosen)))
    for word in options:
        if word.partition("=")[0] not in read:
            raise ValueError(
                f"reference data of {model} do not depend on {word.partition('=')[0]!r}; "
                f"known: {', '.join(read)}."
            )
    data = module.reference(chosen, jax.random.key(seed))
    x = np.ascontiguousarray(data["x"].values)
    return data.assign_attrs(seed=seed, sha256=sha256(x.tobytes()).hexdigest())


def fit(
    model: str,
    data: str | Path | xr.Dataset,
    *,
    method: str = "mcem",
    options: Sequence[str] = (),
    method_options: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Any:
    """Fit a model to data by a method: InferenceData.

    :param model: a shipped name, or a path to a Python file.
    :param data: a data set or its path.
    :param options: the model's ``key=value`` options; ``method_options`` the method's.
    :raises ValueError: for bad options or data.
    """
    loaded = data if isinstance(data, xr.Dataset) else io.load(data)
    system = make_system(model, options, loaded)
    run = run_of(method, system, loaded, method_options)
    done: Fit = run.run(jax.random.key(seed), progress=progress)
    idata = to_inference_data(done)
    if not isinstance(data, xr.Dataset):
        idata.attrs["data_source"] = str(data)
    if model.endswith(".py"):
        path = Path(model).resolve()  # found again from any folder
        idata.attrs |= {"model": str(path), "model_sha256": sha256(path.read_bytes()).hexdigest()}
    if "sha256" in loaded.attrs:
        idata.attrs["data_source_sha256"] = loaded.attrs["sha256"]
    return idata


LATTICE = {
    "magnetization": lattice_observables.magnetization,
    "correlation": lattice_observables.correlation,
}


def observe(data: xr.Dataset, observables: Sequence[str | Observable] = ()) -> xr.Dataset:
    """Observables averaged over the frames of a data set, with standard errors of independent frames.

    :param observables: names with their options, or observables; default: all that spins have.
    :raises ValueError: for data that are no spins or hold fewer than two frames.
    """
    io.check(data)
    if "axis" in data["x"].dims:
        raise ValueError(
            "observables of particle data are not known here; spins x (frame, site) are."
        )
    if data.sizes["frame"] < 2:
        raise ValueError(f"standard errors need at least 2 frames, got {data.sizes['frame']}.")
    sites = data.sizes["site"]
    chosen = choose_observables(
        observables or ["magnetization", f"correlation:max={max(1, sites // 2)}"],
        LATTICE,
        "spins",
        sites,
    )
    x = data["x"].transpose(..., "frame", "site")
    lead = x.dims[:-2]
    values = np.asarray(x.values, float).reshape(-1, x.sizes["frame"], x.sizes["site"])
    out = xr.Dataset(attrs=dict(data.attrs))
    out.attrs["frames"] = x.sizes["frame"]
    for o in chosen:
        each = np.stack([np.asarray(o(jnp.asarray(v.T))) for v in values])  # (member, *dims, frame)
        mean = each.mean(-1).reshape([x.sizes[d] for d in lead] + list(each.shape[1:-1]))
        error = (each.std(-1, ddof=1) / np.sqrt(each.shape[-1])).reshape(mean.shape)
        for name, v, text in (
            (o.name, mean, o.long_name),
            (f"{o.name}_se", error, f"standard error of {o.name}"),
        ):
            out[name] = ((*lead, *o.dims), v, {"units": o.units, "long_name": text})
        out = out.assign_coords(o.coords())
    return out.assign_coords({d: data[d] for d in lead if d in data.coords})
