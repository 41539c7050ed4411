"""Prediction from a stored result: observables of posterior draws, beside a reference."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.infer.begin import program_of
from bayescg.infer.fit import Fit
from bayescg.infer.progress import Progress
from bayescg.observables.base import Observable
from bayescg.predict import (
    Prediction,
    Production,
    Simulation,
    particle_predictive,
    posterior_predictive,
)
from bayescg.system import Batch, System
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.choices import choose_observables
from bayescg.workflow.registry import restored_system
from bayescg.workflow.verbs import observe

__all__ = ["predict"]


FEWEST_CHAINS = 32  # of particles; with fewer draws each is simulated more than once


class _Picked(NamedTuple):
    """The posterior draws that are simulated."""

    u: np.ndarray  # (chain * draw, member, u)
    chain: np.ndarray  # labels in the posterior
    draw: np.ndarray


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
    production: Production = Production(),  # noqa: B008 - a tuple
) -> Any:
    """Add ``posterior_predictive`` (and ``reference``) to a result.

    Draws keep their ``chain`` and ``draw`` labels, so that groups can be joined. What an earlier
    prediction left is replaced, all of it: one file holds one prediction.

    :param result: a fit, or its InferenceData.
    :param observables: what to measure; default: the system's own.
    :param draws: posterior draws to use, spread evenly over the stored ones and equally over chains
        (a few more where chains do not divide them); default 200, or all where there are fewer.
    :param reference: data, or observables measured on data, to store beside.
    :param system: the system, where it is not a named model.
    :raises ValueError: for unknown observables, and for a reference of another system.
    """
    if isinstance(result, Fit):
        system = system or result.system
        result = to_inference_data(result)
    attrs = results.attrs(result)
    if system is None:
        options = json.loads(attrs["model_options"])
        system = restored_system(model or str(attrs["model"]), options)
    batch = _batch_of(result, system)
    program = program_of(system, batch)
    chosen = choose_observables(
        observables, system.known_observables, system.name, batch.x.shape[2], system.box
    ) or list(system.observables)
    picked = _pick(result, program, batch, draws)
    beside = None if reference is None else _reference(reference, chosen, batch, system)
    key = jax.random.fold_in(jax.random.key(seed), 2)
    arguments = (program, system, chosen, key, picked, batch, result, progress)
    groups, notes = (
        _lattice_groups(*arguments, simulation)
        if system.sampler.at is None
        else _particle_groups(*arguments, production)
    )
    if beside is not None:
        groups["reference"] = beside
    earlier = ("posterior_predictive", "map_predictive", "reconstruction", "reference")
    kept = {g: results.group(result, g) for g in results.groups(result) if g not in earlier}
    attrs |= {
        "predict_seed": seed,
        "predict_draws": len(picked.u),
        "predict_observables": [o if isinstance(o, str) else o.name for o in observables],
        "predict_reference": str(reference) if isinstance(reference, str | Path) else "",
        **notes,
    }
    return results.inference_data({**kept, **groups}, **attrs)


def _lattice_groups(
    program: Any,
    system: System,
    chosen: Sequence[Observable],
    key: Any,
    picked: _Picked,
    batch: Batch,
    result: Any,
    progress: Progress | None,
    simulation: Simulation,
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """What a prediction adds to the result of a lattice."""
    longer = simulation._replace(chains=8 * simulation.chains, warmup=8 * simulation.warmup)
    done = posterior_predictive(
        program,
        system.sampler,
        chosen,
        key,
        np.swapaxes(picked.u, 0, 1),
        batch.conditions,
        example=batch.x[0],
        simulation=longer if len(picked.u) == 1 else simulation,
        progress=progress,
    )
    groups = {"posterior_predictive": _predictive_group(done, chosen, batch, picked)}
    if results.has_group(result, "map"):
        point = posterior_predictive(
            program,
            system.sampler,
            chosen,
            jax.random.fold_in(key, 1),
            _mode(result, batch)[:, None],
            batch.conditions,
            example=batch.x[0],
            simulation=longer,
        )
        groups["map_predictive"] = _predictive_group(point, chosen, batch, None)
    groups["reconstruction"] = _reconstruction(program, system, batch, picked.u, key, result)
    return groups, {}


def _particle_groups(
    program: Any,
    system: System,
    chosen: Sequence[Observable],
    key: Any,
    picked: _Picked,
    batch: Batch,
    result: Any,
    progress: Progress | None,
    production: Production,
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """What a prediction adds to the result of particles: draws and mode share their samples."""
    u, simulated = picked.u[:, 0], len(picked.u)
    with_mode = results.has_group(result, "map")
    if with_mode:
        u = np.concatenate([u, _mode(result, batch)])
    copies = max(1, FEWEST_CHAINS // simulated)
    done = particle_predictive(
        program,
        system.sampler,
        chosen,
        key,
        np.concatenate([np.repeat(u[:simulated], copies, axis=0), u]),
        simulated * copies,
        batch.x[0],
        {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()},
        production=production,
        progress=progress,
    )
    first = simulated * copies

    def part(rows: slice) -> Prediction:
        return Prediction(
            {k: v[rows][None] for k, v in done.values.items()},
            {k: v[rows][None] for k, v in done.errors.items()},
        )

    group = _predictive_group(part(slice(first, first + simulated)), chosen, batch, picked)
    shape = (len(picked.chain), len(picked.draw))
    group["effective_samples"] = (
        ("chain", "draw"),
        done.effective[first : first + simulated].reshape(shape),
        {"units": "1", "long_name": "effective number of pooled samples behind a draw"},
    )
    groups = {"posterior_predictive": group}
    if with_mode:
        point = part(slice(first + simulated, None))
        groups["map_predictive"] = _predictive_group(point, chosen, batch, None)
    failed = int(np.sum(done.failures))
    notes: dict[str, Any] = {"predict_failures": failed}
    return groups, notes


def _pick(result: Any, program: Any, batch: Batch, draws: int | None) -> _Picked:
    """Draws spread evenly over each chain."""
    posterior = results.group(result, "posterior")
    chains, stored = posterior.sizes["chain"], posterior.sizes["draw"]
    if draws is not None and not 1 <= draws <= chains * stored:
        raise ValueError(
            f"draws must lie between 1 and the {chains * stored} stored ones, got {draws}."
        )
    wanted = min(200 if draws is None else draws, chains * stored)
    chains = min(chains, wanted)
    at = np.linspace(0, stored - 1, -(-wanted // chains)).round().astype(int)
    posterior = posterior.isel(chain=slice(chains), draw=at)
    return _Picked(
        _unconstrained(posterior, program, batch),
        np.asarray(posterior["chain"].values),
        np.asarray(posterior["draw"].values),
    )


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


def _unconstrained(posterior: xr.Dataset, program: Any, batch: Batch) -> np.ndarray:
    """Posterior draws as ``u (chain * draw, member, u)``."""
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
    done: Any, chosen: Sequence[Observable], batch: Batch, picked: _Picked | None
) -> xr.Dataset:
    """Observables by draw; ``picked`` None: of the one point, without chain and draw."""
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {} if batch.dim is None else {batch.dim: batch.coords}
    if picked is not None:
        coords |= {"chain": picked.chain, "draw": picked.draw}
    for o in chosen:
        coords |= o.coords()
        for name, v, text in (
            (o.name, done.values[o.name], o.long_name),
            (f"{o.name}_mcse", done.errors[o.name], f"Monte Carlo standard error of {o.name}"),
        ):
            v = np.swapaxes(v, 0, 1)  # (draw, member, *dims)
            v = v if batch.dim else v[:, 0]
            lead: tuple[str, ...] = (batch.dim,) if batch.dim else ()
            if picked is None:
                v = v[0]
            else:
                v = v.reshape(len(picked.chain), len(picked.draw), *v.shape[1:])
                lead = ("chain", "draw", *lead)
            variables[name] = ((*lead, *o.dims), v, {"units": o.units, "long_name": text})
    return xr.Dataset(variables, coords)


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
            start, run = jax.random.split(start)
            state = system.sampler.init(start, frames)

            def move(state: Any, k: Any) -> tuple[Any, None]:
                return system.sampler.step(
                    k, state, boltzmann.potential, jnp.asarray(boltzmann.beta), h[:frames].T
                )[0], None

            state, _ = jax.lax.scan(move, state, jax.random.split(run, 200))
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
    reference: str | Path | xr.Dataset,
    chosen: Sequence[Observable],
    batch: Batch,
    system: System,
) -> xr.Dataset:
    """Observables of reference data: those stored in it, else measured on its frames.

    :raises ValueError: if it is of another system, or does not hold the fit's members.
    """
    ds = reference if isinstance(reference, xr.Dataset) else io.load_observables(reference)
    for name, theirs in ds.attrs.items():
        ours = system.options.get(name)
        if ours is None or name in batch.conditions:
            continue
        same = theirs == ours if isinstance(ours, str) else np.isclose(float(theirs), float(ours))
        if not same:
            raise ValueError(
                f"the reference was made at {name}={theirs}, the fit at {name}={ours}."
            )
    if "site" in ds.sizes and ds.sizes["site"] != batch.x.shape[2]:
        raise ValueError(f"the reference has {ds.sizes['site']} sites, the fit {batch.x.shape[2]}.")
    for name, ours in batch.conditions.items():
        theirs = ds.attrs.get(name) if name not in ds.dims else None
        if theirs is not None and not np.allclose(float(theirs), ours, atol=1e-6):
            raise ValueError(f"the reference is at {name}={theirs}, the fit is not.")
    names = [o.name for o in chosen]
    if not any(n in ds for n in names):
        ds = observe(ds, chosen)
    out = ds[[v for n in names for v in (n, f"{n}_se") if v in ds]]
    out = _members_of(out, batch, {d for o in chosen for d in o.dims})
    for variable, v in out.items():
        if not np.isfinite(v.values).all():
            raise ValueError(f"the reference's {variable} is not finite everywhere.")
    return out


def _members_of(reference: xr.Dataset, batch: Batch, own: set[str]) -> xr.Dataset:
    """The fit's members of a reference, under the fit's labels.

    :param own: dimensions of the observables themselves.
    """
    if batch.dim is not None:
        dim, wanted = str(batch.dim), np.asarray(batch.coords)
        if dim not in reference.dims and len(wanted) == 1 and dim in batch.conditions:
            reference = reference.expand_dims({dim: wanted})  # its own value has been compared
        if dim not in reference.dims:
            raise ValueError(f"the reference has no {dim!r} dimension, which the fit has.")
    else:
        extra = [str(d) for d in reference.dims if d not in own]
        if not extra:
            return reference
        dim = extra[0]
        if len(extra) > 1 or dim not in batch.conditions:
            raise ValueError(f"the reference is a sweep over {', '.join(extra)}, the fit is none.")
        wanted = batch.conditions[dim]
    try:
        out = reference.sel({dim: wanted}, method="nearest", tolerance=1e-6)
    except KeyError:
        raise ValueError(f"the reference does not hold all of the fit's {dim} values.") from None
    if batch.dim is None:
        return out.isel({dim: 0}, drop=True)
    # Labels that differ in the last digit would be lost in any later arithmetic.
    return out.assign_coords({dim: wanted})
