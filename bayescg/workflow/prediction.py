"""Prediction from a stored result: observables of posterior draws, beside a reference."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.contract import check_parameters
from bayescg.infer.begin import program_of
from bayescg.infer.fit import Fit
from bayescg.infer.progress import Progress
from bayescg.observables.base import Observable
from bayescg.observables.joint import JointDistribution
from bayescg.observables.known import under_names
from bayescg.observables.liquid import RadialDistribution
from bayescg.predict import (
    Production,
    Simulation,
)
from bayescg.system import Batch, System
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.choices import choose_observables
from bayescg.workflow.discrepancies import disagreement_in_words, disagreements, discrepancy_group
from bayescg.workflow.elsewhere import (
    Conditions,
    in_words,
    liquid_elsewhere,
    member_draws,
    members_elsewhere,
)
from bayescg.workflow.predictive import Picked, lattice_groups, mode_of, particle_groups
from bayescg.workflow.registry import restored_system
from bayescg.workflow.verbs import observe

__all__ = ["picks", "predict"]


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
    conditions: Conditions | None = None,
) -> Any:
    """Add ``posterior_predictive`` (and ``reference``) to a result.

    Draws keep their ``chain`` and ``draw`` labels, so that groups can be joined. What an earlier
    prediction left is replaced, all of it: one file holds one prediction.

    :param result: a fit, or its InferenceData.
    :param observables: what to measure; default: the system's own.
    :param draws: posterior draws to use, spread evenly over the stored ones and equally over chains
        (a few more where chains do not divide them); default 200, or all where there are fewer.
    :param reference: data, or observables measured on data, to store beside.
    :param seed: of the simulation.
    :param progress: is told how far it is.
    :param model: where the model is not found under its recorded name.
    :param system: the system, where it is not a named model.
    :param simulation: chains and sweeps, of lattices.
    :param production: warm-up and measurements, of particles.
    :param conditions: other conditions to simulate the fitted model under: ``sites``, ``temperature`` (K)
        and ``box`` (angstrom) of particles, of which the fit knows nothing; ``mu`` of a lattice that was fitted at
        all fields together, or ``temperature`` of particles that were at several (one value, several, or
        ``first:last:count``), of which it does.
    :raises ValueError: for unknown observables, conditions that are not allowed, and a reference of another system.

    >>> import jax
    >>> from bayescg import workflow
    >>> from bayescg.infer.run import mcem
    >>> data = workflow.make_reference("ising", ["n_f=8", "L_f=2", "mu=0.5", "frames=20"], seed=1)
    >>> ising = workflow.system("ising", data, ratio=4, L2=1, L3=0, prior="normal", prior_scale=1.0)
    >>> fit = mcem(ising, data, draws=100).run(jax.random.key(0))
    >>> idata = predict(fit, ["magnetization"], draws=20, reference=data)
    >>> results.group(idata, "posterior_predictive")["magnetization"].dims
    ('chain', 'draw')
    >>> results.has_group(idata, "reference")
    True
    """
    if isinstance(result, Fit):
        system = system or result.system
        result = to_inference_data(result)
    attrs = results.attrs(result)
    if system is None:
        system = restored_system(result, model)
    batch = _batch_of(result, system)
    posterior = results.group(result, "posterior")
    held = {k: np.full(len(batch.x), v) for k, v in system.dirac.items() if k not in posterior}
    fitted, lattice = batch, system.sampler.at is None
    program = program_of(system, fitted, held, pooled=True, states=True)
    known = lattice or bool(system.conditions)  # whether the fit says anything of other conditions
    if conditions and known:
        batch = members_elsewhere(system, program, fitted, conditions)
    elif conditions:
        system, batch = liquid_elsewhere(system, fitted, result, conditions, model, seed)
    if conditions:
        production = production._replace(warmup=4 * production.warmup)
    picked = _pick(result, program, fitted, draws)
    mode = mode_of(result, fitted) if results.has_group(result, "map") else None
    if conditions and known:
        key = jax.random.fold_in(jax.random.key(seed), 4)
        picked = picked._replace(u=member_draws(program, key, picked.u, fitted, batch))
        if mode is not None:
            mode = member_draws(program, key, mode[None], fitted, batch)[0]
    program = program_of(system, batch, held, pooled=True, states=True)
    chosen = choose_observables(
        observables, system.known_observables, system.name, batch.x.shape[2], system.box
    ) or list(system.observables)
    beside = None if reference is None else _reference(reference, chosen, batch, system)
    key = jax.random.fold_in(jax.random.key(seed), 2)
    arguments = (program, system, chosen, key, picked, mode, batch)
    groups, notes = (
        lattice_groups(*arguments, None if conditions else result, progress, simulation)
        if lattice
        else particle_groups(*arguments, progress, production)
    )
    told = list(notes.get("predict_messages", []))
    predicted = groups.get("posterior_predictive")
    if not conditions and predicted is not None:  # of other conditions the data say nothing
        allowed = discrepancy_group(
            result, chosen, batch, predicted, picked.u, program, np.random.default_rng(seed)
        )
        if allowed is not None:
            groups["discrepancy"] = allowed
            told += map(disagreement_in_words, disagreements(allowed, predicted))
    if beside is not None:
        groups["reference"] = beside
    earlier = (
        "posterior_predictive",
        "map_predictive",
        "reconstruction",
        "reference",
        "discrepancy",
    )
    kept = {g: results.group(result, g) for g in results.groups(result) if g not in earlier}
    attrs |= {
        "predict_seed": seed,
        "predict_draws": len(picked.u),
        "predict_observables": [o if isinstance(o, str) else o.name for o in observables],
        "predict_reference": str(reference) if isinstance(reference, str | Path) else "",
        **notes,
        "predict_messages": told,
        "predict_conditions": json.dumps(in_words(conditions or {})),
    }
    return results.inference_data({**kept, **groups}, **attrs)


def picks(posterior: xr.Dataset, draws: int | None) -> tuple[int, int]:
    """Chains, and draws of each, that a prediction takes.

    :raises ValueError: if there are not so many draws.
    """
    chains, stored = posterior.sizes["chain"], posterior.sizes["draw"]
    if draws is not None and not 1 <= draws <= chains * stored:
        raise ValueError(
            f"draws must lie between 1 and the {chains * stored} stored ones, got {draws}."
        )
    wanted = min(200 if draws is None else draws, chains * stored)
    chains = min(chains, wanted)
    return chains, -(-wanted // chains)


def _pick(result: Any, program: Any, batch: Batch, draws: int | None) -> Picked:
    """Draws spread evenly over each chain."""
    posterior = results.group(result, "posterior")
    chains, each = picks(posterior, draws)
    at = np.linspace(0, posterior.sizes["draw"] - 1, each).round().astype(int)
    posterior = posterior.isel(chain=slice(chains), draw=at)
    return Picked(
        _unconstrained(posterior, program, batch),
        np.asarray(posterior["chain"].values),
        np.asarray(posterior["draw"].values),
    )


def _batch_of(result: Any, system: System) -> Batch:
    """The data of a stored result, as the methods read them."""
    observed = results.group(result, "observed_data")
    if "x" not in observed:
        raise ValueError(
            "the result's observed_data hold no x; a prediction begins with the data that were fitted."
        )
    x = observed["x"]
    values = np.asarray(x.values)
    dim = str(x.dims[0]) if x.dims[0] != "frame" else None
    coords = None if dim is None else np.asarray(x[dim].values)
    constants = (
        results.group(result, "constant_data") if results.has_group(result, "constant_data") else {}
    )
    values = values if dim is not None else values[None]
    conditions = {}
    for name in system.conditions:
        if name != dim and name not in constants:
            raise ValueError(
                f"the result's constant_data hold no {name}, which {system.name} needs."
            )
        source = coords if name == dim else np.asarray(constants[name].values)
        conditions[name] = np.broadcast_to(np.asarray(source, float), values.shape[:1]).copy()
    return Batch(values, conditions, dim, coords)


def _unconstrained(posterior: xr.Dataset, program: Any, batch: Batch) -> np.ndarray:
    """Posterior draws as ``u (chain * draw, member, u)``."""
    lead = [batch.dim] if batch.dim else []
    posterior = posterior.transpose("chain", "draw", *lead, ..., missing_dims="ignore")
    check_parameters(posterior, program.shapes, len(lead))
    values = {}
    for name in program.shapes:
        v = posterior[name]
        by_member = batch.dim in v.dims
        v = v.values
        if not by_member:  # of a single data set, or shared by all members
            v = np.repeat(v[:, :, None], len(batch.x), axis=2)
        values[name] = jnp.asarray(v.reshape(-1, *v.shape[2:]), float)
    u = np.asarray(jax.jit(jax.vmap(jax.vmap(program.unconstrain)))(values))
    if np.isnan(u).any():
        raise ValueError(
            "a parameter in the result's posterior is outside of the range that its model allows."
        )
    return np.clip(u, -1e3, 1e3)  # a probability of exactly 1 has an infinite logit


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
    ds = under_names(ds, [o.name for o in chosen])
    for name, theirs in ds.attrs.items():
        ours = system.options.get(name)
        # How many frames a reference was measured on is its own business.
        if ours is None or name == "frames" or name in batch.conditions:
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
    ds = _completed(ds, chosen, batch, system)
    out = ds[[v for n in names for v in (n, f"{n}_se") if v in ds]]
    for o in chosen:
        norm = out[o.name].attrs.get("norm") if o.name in out else None
        if isinstance(o, RadialDistribution) and norm not in (None, o.norm):
            raise ValueError(
                f"the reference's {o.name} is normalised by {norm}, the prediction by {o.norm}; predict with "
                f"-O {o.name}:norm={norm}."
            )
    if system.sampler.at is None or system.conditions:  # other particles have no sweep
        out = _members_of(out, batch, {d for o in chosen for d in o.dims})
    for variable, v in out.items():
        if not np.isfinite(v.values).all():
            raise ValueError(f"the reference's {variable} is not finite everywhere.")
    return out


def _completed(
    reference: xr.Dataset, chosen: Sequence[Observable], batch: Batch, system: System
) -> xr.Dataset:
    """A reference with what it does not hold itself, measured on its frames.

    Where it has no frames, joint distributions are those of the fitted ones, and say so: files of
    target distributions hold none.
    """
    if not any(o.name in reference for o in chosen):
        return observe(reference, chosen)
    missing = [o for o in chosen if o.name not in reference]
    if system.sampler.at is None or not missing:
        return reference
    source = {}
    if "x" in reference:
        measured = observe(reference, missing)
    else:
        missing = [o for o in missing if isinstance(o, JointDistribution)]
        if batch.x.shape[1] < 2 or not missing:
            return reference
        fitted = xr.Dataset(
            {
                "x": (("frame", "site", "axis"), batch.x[0]),
                "box": (("axis",), np.asarray(system.box)),
            },
            attrs={"temperature": system.options.get("temperature", 1.0)},
        )
        measured = observe(fitted, missing)
        source = {"measured_on": "the fitted frames"}
    names = [n for o in chosen for n in (o.name, f"{o.name}_se")]
    new = [n for n in names if n in measured]
    # Without the topology, whose axes may be called as those of observables.
    held = reference[[n for n in names if n in reference]]
    return held.assign({n: measured[n].assign_attrs(source) for n in new})


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
