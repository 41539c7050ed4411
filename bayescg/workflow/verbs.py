"""What users do: make reference data, fit, predict, observe. Notebooks and the shell share it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import io
from bayescg.infer.checkpoint import keeping
from bayescg.infer.fit import Fit
from bayescg.infer.progress import Progress
from bayescg.io.targets import load_data
from bayescg.observables import lattice as lattice_observables
from bayescg.observables import liquid as liquid_observables
from bayescg.observables import molecular_observables, usual
from bayescg.observables.base import Observable
from bayescg.observables.blocking import blocked_error
from bayescg.observables.known import known_of
from bayescg.observables.liquid import COORDINATE_ATTRS, LiquidObservable
from bayescg.options import parse_options
from bayescg.potentials import classes_of
from bayescg.samplers import usual_precision
from bayescg.system import System
from bayescg.topology import KINDS, topology_of
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.choices import choose_observables
from bayescg.workflow.machine import machine
from bayescg.workflow.registry import (
    load_model,
    make_system,
    model_options,
    run_of,
)

__all__ = ["fit", "frame_by_frame", "make_reference", "observe"]


def make_reference(
    model: str,
    options: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Fine-grained data of a shipped system, with their exact or long-run observables.

    :param model: a shipped name, or a path to a Python file.
    :param options: the model's ``key=value`` words.
    :param seed: recorded.
    :param progress: is told how far it is, where the model's own function tells it.
    :raises ValueError: if the model makes no data, or they do not depend on an option that is
        given.

    >>> data = make_reference("ising", ["n_f=8", "L_f=2", "mu=0.5", "frames=20"], seed=1)
    >>> dict(data.sizes)
    {'frame': 20, 'site': 8, 'separation': 4}
    """
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
    if progress is not None and "progress" in inspect.signature(module.reference).parameters:

        def tell(stage: str, done: float) -> None:
            progress.update(stage, done, {})

        data = module.reference(chosen, jax.random.key(seed), progress=tell)
    else:
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
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> Any:
    """Fit a model to data by a method: InferenceData.

    :param model: a shipped name, or a path to a Python file.
    :param data: a data set or its path, or that of a file of target distributions.
    :param method: its name, ``mcem`` by default.
    :param options: the model's ``key=value`` options; ``method_options`` the method's.
    :param seed: of the run; recorded.
    :param progress: is told how far it is.
    :param checkpoint: file that the run is kept in every two minutes, and when it is interrupted.
    :param resume: go on from what ``checkpoint`` holds, to the result that the run would have had.
    :raises ValueError: for bad options or data, or a checkpoint of another run.
    """
    loaded = data if isinstance(data, xr.Dataset) else load_data(data)
    system = make_system(model, options, loaded, method)
    run = run_of(method, system, loaded, method_options)
    path = None if checkpoint is None else Path(checkpoint)
    if resume and path is None:
        raise ValueError("resume needs the checkpoint to go on from.")
    identity = {} if path is None else _identity(model, system, method, run, loaded, seed)
    with keeping(path, identity, resume=resume) as file:
        done: Fit = run.run(jax.random.key(seed), progress=progress)
    if file is not None and file.trouble:
        done = replace(done, messages=(*done.messages, file.trouble))
    idata = to_inference_data(done)
    if not isinstance(data, xr.Dataset):
        idata.attrs |= {"data_source": str(data), "data_path": str(Path(data).resolve())}
    if model.endswith(".py"):
        path = Path(model).resolve()  # found again from any folder
        idata.attrs |= {"model": str(path), "model_sha256": sha256(path.read_bytes()).hexdigest()}
    idata.attrs |= machine()
    if "sha256" in loaded.attrs:
        idata.attrs["data_source_sha256"] = loaded.attrs["sha256"]
    if file is not None and file.closed:
        idata.attrs["checkpoint"] = str(file.path)  # of a run that was interrupted
    return idata


def _identity(
    model: str, system: System, method: str, run: Any, data: xr.Dataset, seed: int
) -> dict[str, str]:
    """What a run is: a checkpoint of another is of no use to it."""
    code = sha256(Path(model).read_bytes()).hexdigest() if model.endswith(".py") else "shipped"
    held = sha256()
    for name in sorted(map(str, data.variables)):
        held.update(name.encode() + np.ascontiguousarray(data[name].values).tobytes())
    held.update(json.dumps(data.attrs, sort_keys=True, default=str).encode())
    words = [str(v) for v in vars(run.options).values() if isinstance(v, str)]
    for named in (Path(word) for word in words):
        if named.is_file():
            held.update(named.read_bytes())
    return {
        "model": model,
        "model's code": code,
        "method": method,
        "model options (-s)": json.dumps(dict(system.options), sort_keys=True, default=str),
        "method options (-M)": json.dumps(vars(run.options), sort_keys=True, default=str),
        "seed": str(seed),
        "data": held.hexdigest(),
        "precision": usual_precision(),
        **machine(),
        **{
            f"version of {name}": version(name)
            for name in ("bayescg", "jax", "jaxlib", "numpy", "numpyro")
        },
    }


LATTICE = {
    "magnetization": lattice_observables.magnetization,
    "correlation": lattice_observables.correlation,
}
LIQUID = {
    "rdf": liquid_observables.rdf,
    "adf": liquid_observables.adf,
    "coordination": liquid_observables.coordination,
    "tetrahedral_order": liquid_observables.tetrahedral_order,
}
LONGEST = 10.0  # angstrom, of typed RDFs where the box allows it
_BLOCK = 64  # particle frames measured at once, few enough for the cache


def observe(data: xr.Dataset, observables: Sequence[str | Observable] = ()) -> xr.Dataset:
    """Observables averaged over the frames of a data set, with their standard errors.

    Frames of spins count as independent. Frames of particles follow each other in time: their
    errors come from blocking (``blocked_error``).

    :param data: configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param observables: names with their options, or observables; default: all that spins have, the
        radial and angular distribution functions of particles; of data with a topology those of every
        pair of bead types, of bonds, angles and dihedrals, and joint ones of bonds and angles.
    :raises ValueError: for fewer than two frames, observables or options that the data do not
        have, and particles in a box that changes.

    >>> spins = np.array([[1, 1, 1, -1], [1, -1, 1, -1]])
    >>> data = xr.Dataset({"x": (("frame", "site"), spins)}, attrs={"beta": 1.0})
    >>> float(observe(data, ["magnetization"])["magnetization"])
    0.25
    """
    io.check(data)
    sweep = io.each_temperature(data)
    if len(sweep) > 1 or "temperature" in data["x"].dims:
        each = [observe(one, observables).drop_attrs(deep=False) for one in sweep]
        out = xr.concat(each, data["temperature"])
        return out.assign_attrs(data.attrs, frames=data.sizes["frame"])
    if data.sizes["frame"] < 2:
        raise ValueError(f"standard errors need at least 2 frames, got {data.sizes['frame']}.")
    measure = _observe_particles if "axis" in data["x"].dims else _observe_spins
    out = measure(data, observables)
    return out.assign_attrs(data.attrs, frames=data.sizes["frame"])


def _observe_spins(data: xr.Dataset, observables: Sequence[str | Observable]) -> xr.Dataset:
    sites = data.sizes["site"]
    chosen = choose_observables(
        observables or ["magnetization", f"correlation:max={max(1, sites // 2)}"],
        LATTICE,
        "spins",
        sites,
    )
    x = data["x"].transpose(..., "frame", "site")
    lead = tuple(str(d) for d in x.dims[:-2])
    values = np.asarray(x.values, float).reshape(-1, x.sizes["frame"], x.sizes["site"])
    out = xr.Dataset()
    for o in chosen:
        each = np.stack([np.asarray(o(jnp.asarray(v.T))) for v in values])  # (member, *dims, frame)
        mean = each.mean(-1).reshape([x.sizes[d] for d in lead] + list(each.shape[1:-1]))
        error = (each.std(-1, ddof=1) / np.sqrt(each.shape[-1])).reshape(mean.shape)
        out = _with_observable(out, o, lead, mean, error)
    return out.assign_coords({d: data[d] for d in lead if d in data.coords})


def _observe_particles(data: xr.Dataset, observables: Sequence[str | Observable]) -> xr.Dataset:
    box = np.asarray(data["box"].values, float)
    if box.ndim == 2:
        if (box != box[0]).any():
            raise ValueError(
                "the box changes from frame to frame; observables need the same box in all frames."
            )
        box = box[0]
    longest = liquid_observables.longest_rdf(box)
    known: dict[str, Any] = {**LIQUID, "rdf": partial(liquid_observables.rdf, max=longest)}
    default = ["rdf", "adf"]
    # Of observables that are made already, ranges and classes need not be found again.
    if _has_topology(data) and (not observables or any(isinstance(o, str) for o in observables)):
        typed = _typed(data.assign(box=(("axis",), box)), box)
        known, default = known | typed, usual(typed)
    chosen = choose_observables(observables or default, known, "particles", data.sizes["site"], box)
    x = np.asarray(data["x"].values, float)
    out = xr.Dataset()
    for o in chosen:
        each = frame_by_frame(o, x)
        out = _with_observable(out, o, (), each.mean(0), blocked_error(each))
    return out


def _has_topology(data: xr.Dataset) -> bool:
    # An index is the axis of an observable, as the angle of an ADF.
    return any(k in data.variables and k not in data.indexes for k in ("type", *KINDS))


def _typed(data: xr.Dataset, box: np.ndarray) -> dict[str, Any]:
    """Observables of molecules, as the model `molecular` makes them."""
    topology, seen = topology_of(data), known_of(data)
    pairs = [p for p in topology.pairs if ("pair", "_".join(p)) in seen]
    longest = liquid_observables.longest_rdf(box, LONGEST)
    return molecular_observables(classes_of(topology, pairs), seen, box, longest)


def frame_by_frame(observable: Observable, x: np.ndarray) -> np.ndarray:
    """Values ``(frame, *dims)`` on configurations ``(frame, site, axis)``, a block at a time."""
    run = jax.jit(observable)
    block = min(_BLOCK, len(x))
    rows = []
    for start in range(0, len(x), block):
        stop = min(start + block, len(x))
        # The last block overlaps, so that one shape is compiled.
        values = np.asarray(run(jnp.asarray(x[stop - block : stop].T)))  # (*dims, frame)
        rows.append(np.moveaxis(values, -1, 0)[start - stop :])
    return np.concatenate(rows)


def _with_observable(
    out: xr.Dataset, o: Observable, lead: tuple[str, ...], mean: np.ndarray, error: np.ndarray
) -> xr.Dataset:
    """``out`` and one observable more, with its standard error and coordinates."""
    settings: Mapping[str, Any] = o.settings() if isinstance(o, LiquidObservable) else {}
    for name, v, text in (
        (o.name, mean, o.long_name),
        (f"{o.name}_se", error, f"standard error of {o.name}"),
    ):
        out[name] = ((*lead, *o.dims), v, {"units": o.units, "long_name": text, **settings})
    coords = {k: (k, v, COORDINATE_ATTRS.get(k, {})) for k, v in o.coords().items()}
    return out.assign_coords(coords)
