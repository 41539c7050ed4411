"""What users do: make reference data, fit, predict, observe. Notebooks and the shell share it."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.infer.fit import Fit
from bayescg.infer.progress import Progress
from bayescg.infer.run import program_of
from bayescg.observables import lattice as lattice_observables
from bayescg.observables.base import Observable
from bayescg.options import parse_options
from bayescg.predict import Simulation, posterior_predictive
from bayescg.system import Batch, System
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.registry import (
    load_model,
    make_system,
    model_options,
    restored_system,
    run_of,
)

__all__ = ["fit", "key_numbers", "make_reference", "observe", "predict"]


def make_reference(model: str, options: Sequence[str] = (), seed: int = 0) -> xr.Dataset:
    """Fine-grained data of a shipped system, with their exact or long-run observables."""
    module = load_model(model)
    if not hasattr(module, "reference"):
        raise ValueError(f"{model} cannot make reference data.")
    data = module.reference(
        parse_options(model_options(model), options, model), jax.random.key(seed)
    )
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
    idata = to_inference_data(done, seed=seed)
    recorded = {
        "method_options": json.dumps(_plain(vars(run.options))),
        "data_sha256": sha256(np.ascontiguousarray(done.batch.x).tobytes()).hexdigest(),
        "data_source": str(data) if not isinstance(data, xr.Dataset) else "memory",
    }
    idata.attrs.update(recorded)
    return idata


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: v if isinstance(v, str | int | float | bool | None) else str(v)
        for k, v in values.items()
    }


def parse_observables(
    words: Sequence[str], known: Mapping[str, Any], owner: str
) -> list[Observable]:
    """Observables from words such as ``correlation:max=16``.

    :raises ValueError: for an unknown observable or option, listing the known ones.
    """
    out = []
    for word in words:
        name, _, rest = word.partition(":")
        if name not in known:
            raise ValueError(
                f"unknown observable {name!r} for {owner}; known: {', '.join(sorted(known))}."
            )
        make = known[name]
        accepted = {
            k: p
            for k, p in inspect.signature(make).parameters.items()
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        }
        values = {}
        for pair in filter(None, rest.split(",")):
            key, sep, text = pair.partition("=")
            if not sep or key not in accepted:
                raise ValueError(
                    f"unknown option {key!r} for observable {name}; known: {', '.join(accepted) or 'none'}."
                )
            kind = accepted[key].annotation
            try:
                values[key] = kind(text)
            except ValueError:
                raise ValueError(
                    f"option {key}={text} for observable {name} must be {kind.__name__}."
                ) from None
        out.append(make(**values))
    return out


LATTICE = {
    "magnetization": lattice_observables.magnetization,
    "correlation": lattice_observables.correlation,
}


def observe(data: xr.Dataset, observables: Sequence[str] = ()) -> xr.Dataset:
    """Observables averaged over the frames of a data set, with standard errors of independent frames."""
    io.check(data)
    if "axis" in data["x"].dims:
        raise ValueError(
            "observables of particle data are not known here; spins x (frame, site) are."
        )
    half = max(1, data.sizes["site"] // 2)
    chosen = parse_observables(
        observables or ["magnetization", f"correlation:max={half}"], LATTICE, "spins"
    )
    for o in chosen:
        if (
            isinstance(o, lattice_observables.Correlation)
            and o.max_separation >= data.sizes["site"]
        ):
            raise ValueError(
                f"correlation max must be below the {data.sizes['site']} sites, got {o.max_separation}."
            )
    x = data["x"].transpose(..., "frame", "site")
    lead = x.dims[:-2]
    values = np.asarray(x.values, float).reshape(-1, x.sizes["frame"], x.sizes["site"])
    out = xr.Dataset(
        attrs={k: data.attrs[k] for k in ("beta", "mu", "source", "sha256") if k in data.attrs}
    )
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


def predict(
    result: Any,
    observables: Sequence[str | Observable] = (),
    *,
    draws: int | None = None,
    reference: str | Path | xr.Dataset | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    model: str | None = None,
    system: System | None = None,
    simulation: Simulation = Simulation(),  # noqa: B008 - a tuple
) -> Any:
    """Add ``posterior_predictive`` (and ``reference``) to a result.

    :param result: InferenceData of a fit.
    :param observables: what to measure; default: the system's own.
    :param draws: posterior draws to use, spread evenly over the stored ones; default 200.
    :param reference: data, or observables measured on data, to store beside.
    :param system: the system, where it is not a named model.
    """
    attrs = results.attrs(result)
    if system is None:
        options = json.loads(attrs["model_options"])
        system = restored_system(model or str(attrs["model"]), options)
    batch = _batch_of(result, system)
    program = program_of(system, batch)
    u = _unconstrained(result, program, batch)  # (chain * draw, member, u)
    wanted = min(200 if draws is None else draws, len(u))
    if draws is not None and not 1 <= draws <= len(u):
        raise ValueError(f"draws must lie between 1 and the {len(u)} stored ones, got {draws}.")
    picked = u[np.linspace(0, len(u) - 1, wanted).round().astype(int)]
    words = [o for o in observables if isinstance(o, str)]
    chosen = [o for o in observables if not isinstance(o, str)]
    chosen += parse_observables(words, system.known_observables, system.name)
    chosen = chosen or list(system.observables)
    key = jax.random.fold_in(jax.random.key(seed), 2)
    stacked = np.swapaxes(picked, 0, 1)
    mode = None
    if results.has_group(result, "map"):
        mode = _mode(result, batch)
    done = posterior_predictive(
        program,
        system.sampler,
        chosen,
        key,
        stacked,
        batch.conditions,
        example=batch.x[0],
        simulation=simulation,
        progress=progress,
    )
    groups = {"posterior_predictive": _predictive_group(done, chosen, batch, result)}
    if mode is not None:
        longer = simulation._replace(chains=8 * simulation.chains, warmup=8 * simulation.warmup)
        point = posterior_predictive(
            program,
            system.sampler,
            chosen,
            jax.random.fold_in(key, 1),
            mode[:, None],
            batch.conditions,
            example=batch.x[0],
            simulation=longer,
        )
        groups["map_predictive"] = _predictive_group(point, chosen, batch, result, point=True)
    groups["reconstruction"] = _reconstruction(program, system, batch, picked, key, result)
    if reference is not None:
        groups["reference"] = _reference(reference, chosen, batch)
    return results.with_groups(result, groups)


def _batch_of(result: Any, system: System) -> Batch:
    """The data of a stored result, as the methods read them."""
    x = results.group(result, "observed_data")["x"]
    values = np.asarray(x.values)
    dim = str(x.dims[0]) if x.dims[0] != "frame" else None
    coords = None if dim is None else np.asarray(x[dim].values)
    constants = (
        results.group(result, "constant_data") if results.has_group(result, "constant_data") else {}
    )
    values = values if dim is not None else values[None]
    conditions = {}
    for name in system.conditions:
        source = coords if name == dim else np.asarray(constants[name].values)
        conditions[name] = np.broadcast_to(np.asarray(source, float), values.shape[:1]).copy()
    return Batch(values, conditions, dim, coords)


def _unconstrained(result: Any, program: Any, batch: Batch) -> np.ndarray:
    """Posterior draws as ``u (draw, member, u)``."""
    posterior = results.group(result, "posterior")
    values = {}
    for name in program.shapes:
        v = posterior[name]
        lead = ["chain", "draw"] + ([batch.dim] if batch.dim else [])
        v = v.transpose(*lead, ...).values
        v = v if batch.dim else v[:, :, None]
        values[name] = jnp.asarray(v.reshape(-1, *v.shape[2:]), float)
    u = np.asarray(jax.jit(jax.vmap(jax.vmap(program.unconstrain)))(values))
    return np.clip(u, -1e3, 1e3)  # a probability of exactly 1 has an infinite logit


def _mode(result: Any, batch: Batch) -> np.ndarray:
    u = results.group(result, "map")["u"].values
    return u if batch.dim else u[None]


def _predictive_group(
    done: Any, chosen: Sequence[Observable], batch: Batch, result: Any, *, point: bool = False
) -> xr.Dataset:
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {} if batch.dim is None else {batch.dim: batch.coords}
    for o in chosen:
        coords |= o.coords()
        for name, v, text in (
            (o.name, done.values[o.name], o.long_name),
            (f"{o.name}_mcse", done.errors[o.name], f"Monte Carlo standard error of {o.name}"),
        ):
            v = np.swapaxes(v, 0, 1)  # (draw, member, *dims)
            v = v if batch.dim else v[:, 0]
            lead: tuple[str, ...] = ("draw",) if not batch.dim else ("draw", batch.dim)
            if point:
                v, lead = v[0], lead[1:]
            else:
                v, lead = v[None], ("chain", *lead)
            variables[name] = ((*lead, *o.dims), v, {"units": o.units, "long_name": text})
    ds = xr.Dataset(variables, coords)
    return ds.assign_coords({d: np.arange(n) for d, n in ds.sizes.items() if d not in ds.coords})


def _reconstruction(
    program: Any,
    system: System,
    batch: Batch,
    picked: np.ndarray,
    key: Any,
    result: Any,
    frames: int = 3,
) -> xr.Dataset:
    """Latents of a few frames, and fine configurations drawn from them (Fig. 4)."""
    frames = min(frames, batch.x.shape[1])
    fixed = None
    constants = results.group(result, "constant_data")
    if "X_fixed" in constants:
        fixed = constants["X_fixed"].values if batch.dim else constants["X_fixed"].values[None]

    def one(key: Any, u: Any, x: Any, conditions: Any, given: Any) -> tuple[Any, Any, Any]:
        boltzmann = program.boltzmann(u, x, conditions)
        start, key = jax.random.split(key)
        if given is None:
            h, _ = program.field(u, x, conditions)
            state = system.sampler.init(start, frames)

            def move(state: Any, k: Any) -> tuple[Any, None]:
                return system.sampler.step(
                    k, state, boltzmann.potential, jnp.asarray(boltzmann.beta), h[:frames].T
                )[0], None

            state, _ = jax.lax.scan(move, state, jax.random.split(start, 200))
            latent = state.x.T.astype(u.dtype)
        else:
            latent = given[:frames]
        k1, k2 = jax.random.split(key)
        drawn = jax.vmap(lambda k: program.sample_fine(k, u, latent, conditions))
        mean = jnp.mean(drawn(jax.random.split(k2, 400)), 0)
        return latent, drawn(jax.random.split(k1, 2)), mean

    members = batch.x.shape[0]
    conditions = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
    keys = jax.random.split(jax.random.fold_in(key, 3), members)
    mapped = jax.jit(jax.vmap(one, (0, 0, 0, 0, None if fixed is None else 0)))
    latent, drawn, mean = mapped(
        keys,
        jnp.asarray(picked[0]),
        jnp.asarray(batch.x, float),
        conditions,
        None if fixed is None else jnp.asarray(fixed),
    )
    dims: tuple[str, ...] = ("member",)
    ds = xr.Dataset(
        {
            "X": (
                (*dims, "frame", "coarse_site"),
                np.asarray(latent),
                {"units": "1", "long_name": "a latent configuration"},
            ),
            "x_sample": (
                (*dims, "sample", "frame", "site"),
                np.asarray(drawn),
                {"units": "1", "long_name": "fine configurations drawn from p_cf"},
            ),
            "x_mean": (
                (*dims, "frame", "site"),
                np.asarray(mean),
                {"units": "1", "long_name": "expected fine configuration"},
            ),
        }
    )
    return (
        ds.isel(member=0)
        if batch.dim is None
        else ds.rename(member=batch.dim).assign_coords({batch.dim: batch.coords})
    )


def _reference(
    reference: str | Path | xr.Dataset, chosen: Sequence[Observable], batch: Batch
) -> xr.Dataset:
    """Observables of reference data: those stored in it, else measured on its frames."""
    ds = reference if isinstance(reference, xr.Dataset) else io.load_observables(reference)
    names = [o.name for o in chosen]
    if not any(n in ds for n in names):
        ds = observe(ds, names)
    out = ds[[v for n in names for v in (n, f"{n}_se") if v in ds]]
    if batch.dim is not None:
        if batch.dim not in out.dims:
            raise ValueError(f"the reference has no {batch.dim!r} dimension, which the fit has.")
        try:
            out = out.sel({batch.dim: batch.coords}, method="nearest", tolerance=1e-6)
        except KeyError:
            raise ValueError(
                f"the reference does not hold all of the fit's {batch.dim} values."
            ) from None
    return out


def key_numbers(result: Any) -> dict[str, Any]:
    """The numbers of a result that matter most, for a summary line and ``--json``."""
    a = results.attrs(result)
    out: dict[str, Any] = {
        k: a[k]
        for k in ("method", "model", "approximation", "converged", "ended", "wall_seconds")
        if k in a
    }
    posterior = results.group(result, "posterior")
    out["draws"] = int(posterior.sizes["chain"] * posterior.sizes["draw"])
    if "p0" in posterior:
        out["p0_mean"] = float(posterior["p0"].mean())
    if "theta_c" in posterior:
        mean = posterior["theta_c"].mean(("chain", "draw"))
        out["active_features_max"] = int((abs(mean) > 0.01).sum(dim="feature").max())
    if results.has_group(result, "map") and "khat" in results.group(result, "map"):
        khat = results.group(result, "map")["khat"].values
        if np.isfinite(khat).any():
            out["khat_max"] = float(np.nanmax(khat))
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
                        data_gap = x.mean(("frame", "site")) - exact[name]
                        out["data_magnetization_rmse"] = float(np.sqrt((data_gap**2).mean()))
                        if results.has_group(result, "map_predictive"):
                            at_map = results.group(result, "map_predictive")[name] - exact[name]
                            out["map_magnetization_rmse"] = float(np.sqrt((at_map**2).mean()))
        if "magnetization" in predicted:
            width = (
                predicted["magnetization"]
                .quantile([0.05, 0.95], ("chain", "draw"))
                .diff("quantile")
            )
            out["magnetization_width_90"] = float(width.mean())
    return out
