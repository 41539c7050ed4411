"""The groups that a prediction adds to a result."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import results
from bayescg.distributions.hidden import draw_states
from bayescg.infer.marginal import over_states
from bayescg.infer.progress import Progress
from bayescg.infer.words import parameters_in_words
from bayescg.observables.base import Observable
from bayescg.observables.liquid import COORDINATE_ATTRS, LiquidObservable
from bayescg.predict import (
    Prediction,
    Production,
    Simulation,
    particle_predictive,
    posterior_predictive,
)
from bayescg.predict.pressure import WARNING
from bayescg.system import Batch, System

__all__ = [
    "FEWEST_CHAINS",
    "Picked",
    "copies_of",
    "lattice_groups",
    "mode_of",
    "particle_groups",
]

FEWEST_CHAINS = 32  # of particles; with fewer draws each is simulated more than once
LEAST_CHAINS = 8  # the same of many sites, whose every sample says more
SITES = 4000  # in all chains together, above which fewer than 32 will do


class Picked(NamedTuple):
    """The posterior draws that are simulated."""

    u: np.ndarray  # (chain * draw, member, u)
    chain: np.ndarray  # labels in the posterior
    draw: np.ndarray


def lattice_groups(
    program: Any,
    system: System,
    chosen: Sequence[Observable],
    key: Any,
    picked: Picked,
    mode: np.ndarray | None,
    batch: Batch,
    result: Any | None,
    progress: Progress | None,
    simulation: Simulation,
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """What a prediction adds to the result of a lattice.

    :param mode: ``(member, u)``, where the result has one.
    :param result: whose data's latents are drawn too; None: members without data have none.
    """
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
    groups = {"posterior_predictive": predictive_group(done, chosen, batch, picked)}
    if mode is not None:
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
        groups["map_predictive"] = predictive_group(point, chosen, batch, None)
    if result is not None:
        groups["reconstruction"] = reconstruction(program, system, batch, picked.u, key, result)
    return groups, {}


def particle_groups(
    program: Any,
    system: System,
    chosen: Sequence[Observable],
    key: Any,
    picked: Picked,
    mode: np.ndarray | None,
    batch: Batch,
    progress: Progress | None,
    production: Production,
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """What a prediction adds to the result of particles, member by member.

    :param mode: ``(member, u)``, where the result has one.
    """
    if batch.dim is None:
        return _member_groups(
            program, system, chosen, key, picked, mode, batch, progress, production
        )
    parts = []
    for m in range(len(batch.x)):
        own = picked._replace(u=picked.u[:, [m]])
        point = None if mode is None else mode[[m]]
        alone = batch.of(np.array([m]))._replace(dim=None, coords=None)
        k = jax.random.fold_in(key, m)
        parts.append(
            _member_groups(program, system, chosen, k, own, point, alone, progress, production)
        )
    groups = {}
    for name in parts[0][0]:
        each = xr.concat([found[name] for found, _ in parts], batch.dim)
        each = each.assign_coords({batch.dim: batch.coords})
        groups[name] = each.transpose("chain", "draw", batch.dim, ..., missing_dims="ignore")
    told = [WARNING]
    for value, (_, notes) in zip(np.asarray(batch.coords), parts, strict=True):
        told += [f"{batch.dim}={value:g}: {t}" for t in notes["predict_messages"] if t != WARNING]
    return groups, {
        "predict_failures": sum(notes["predict_failures"] for _, notes in parts),
        "predict_warmup": max(notes["predict_warmup"] for _, notes in parts),
        "predict_messages": told,
    }


def _member_groups(
    program: Any,
    system: System,
    chosen: Sequence[Observable],
    key: Any,
    picked: Picked,
    mode: np.ndarray | None,
    batch: Batch,
    progress: Progress | None,
    production: Production,
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Of one member: draws and mode share their samples."""
    u, simulated = picked.u[:, 0], len(picked.u)
    with_mode = mode is not None
    if mode is not None:
        u = np.concatenate([u, mode])
    copies = copies_of(simulated, batch.x.shape[2])
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
        pre_map=system.pre_map,
        complete=system.complete,
        progress=progress,
    )
    first = simulated * copies

    def part(rows: slice) -> Prediction:
        return Prediction(
            {k: v[rows][None] for k, v in done.values.items()},
            {k: v[rows][None] for k, v in done.errors.items()},
        )

    group = predictive_group(part(slice(first, first + simulated)), chosen, batch, picked)
    shape = (len(picked.chain), len(picked.draw))
    group["effective_samples"] = (
        ("chain", "draw"),
        done.effective[first : first + simulated].reshape(shape),
        {"units": "1", "long_name": "effective number of pooled samples behind a draw"},
    )
    for name, field, units, text in (
        ("pressure", "pressure", "bar", "pressure"),
        ("pressure_mcse", "pressure_error", "bar", "Monte Carlo standard error of pressure"),
        ("bulk_modulus", "bulk_modulus", "bar", "isothermal bulk modulus"),
        (
            "bulk_modulus_mcse",
            "bulk_modulus_error",
            "bar",
            "Monte Carlo standard error of bulk_modulus",
        ),
        ("compressibility", "compressibility", "1/bar", "isothermal compressibility"),
    ):
        values = np.array([getattr(b, field) for b in done.bulk[first : first + simulated]])
        about = {"units": units, "long_name": f"{text} of the coarse model", "note": WARNING}
        group[name] = (("chain", "draw"), values.reshape(shape), about)
    groups = {"posterior_predictive": group}
    if with_mode:
        point = part(slice(first + simulated, None))
        groups["map_predictive"] = predictive_group(point, chosen, batch, None)
    by_draw = np.asarray(done.failures).reshape(simulated, copies).sum(1).astype(int)
    group["failures"] = (
        ("chain", "draw"),
        by_draw.reshape(shape),
        {"units": "1", "long_name": "simulated trajectories that blew up and were begun again"},
    )
    messages = [WARNING]
    if done.drifting:
        messages.append(
            f"after a warm-up of {done.warmup} trajectories the energy of the simulated chains still "
            "changed: what is predicted is not that of equilibrium."
        )
    if not done.settled:
        messages.append(
            "the weights of the pooled samples did not settle: draws that overlap little with others "
            "are estimated badly."
        )
    if by_draw.any():
        worst = int(by_draw.argmax())
        told = parameters_in_words(program.constrain(jnp.asarray(u[worst])))
        messages.append(
            f"{by_draw.sum()} simulated trajectories blew up and were begun again with a shorter step, "
            f"most ({by_draw[worst]}) of one draw, at {told}; where a draw fails often, its "
            "observables are not to be trusted."
        )
    if done.left_out.any():
        dense = np.asarray(done.left_out).reshape(simulated, copies).sum(1)
        worst = int(dense.argmax())
        told = parameters_in_words(program.constrain(jnp.asarray(u[worst])))
        messages.append(
            f"{dense.sum()} of {len(done.left_out) * production.measurements} simulated configurations are too dense "
            f"to be measured and were left out, most ({dense[worst]}) of one draw, at {told}: its sites fall into "
            "each other."
        )
    notes = {
        "predict_failures": int(by_draw.sum()),
        "predict_warmup": done.warmup,
        "predict_messages": messages,
    }
    return groups, notes


def copies_of(draws: int, sites: int) -> int:
    """How often each of so many draws of particles is simulated."""
    fewest = int(np.clip(SITES / sites, LEAST_CHAINS, FEWEST_CHAINS))
    return max(1, fewest // draws)


def mode_of(result: Any, batch: Batch) -> np.ndarray:
    """The mode of a result, unconstrained, ``(member, u)``."""
    u = results.group(result, "map")["u"].values
    return u if batch.dim else u[None]


def predictive_group(
    done: Any, chosen: Sequence[Observable], batch: Batch, picked: Picked | None
) -> xr.Dataset:
    """Observables by draw; ``picked`` None: of the one point, without chain and draw."""
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {} if batch.dim is None else {batch.dim: batch.coords}
    if picked is not None:
        coords |= {"chain": picked.chain, "draw": picked.draw}
    for o in chosen:
        axes = {k: (k, v, COORDINATE_ATTRS.get(k, {})) for k, v in o.coords().items()}
        coords |= axes
        settings = o.settings() if isinstance(o, LiquidObservable) else {}
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
            about = {"units": o.units, "long_name": text, **settings}
            variables[name] = ((*lead, *o.dims), v, about)
        if o.name in done.of_states and picked is not None:
            v = np.swapaxes(done.of_states[o.name], 0, 1)
            v = v if batch.dim else v[:, 0]
            about = {"units": o.units, "long_name": f"{o.long_name}, of each hidden state"}
            v = v.reshape(len(picked.chain), len(picked.draw), *v.shape[1:])
            variables[f"{o.name}_of_state"] = ((*lead, "state", *o.dims), v, about)
    return xr.Dataset(variables, coords)


def reconstruction(
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
    known = results.has_group(result, "constant_data")
    constants = results.group(result, "constant_data") if known else {}
    if "X_fixed" in constants:
        fixed = constants["X_fixed"].values if batch.dim else constants["X_fixed"].values[None]

    def one(
        program: Any, key: Any, u: Any, x: Any, conditions: Any, given: Any
    ) -> tuple[Any, Any, Any]:
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

    def of_states(key: Any, u: Any, x: Any, conditions: Any, given: Any) -> tuple[Any, Any, Any]:
        """Of each frame in a draw of its hidden state."""
        state_key, key = jax.random.split(key)
        found = over_states(program, u, x, conditions)
        prior = program.state_prior(u, x, conditions)
        S = draw_states(state_key, prior, found.emission)[:frames]

        def there(state: Any) -> tuple[Any, Any, Any]:
            return one(program.in_state(state), key, u, x, conditions, given)

        latent, drawn, mean = jax.vmap(there)(jnp.arange(program.states))
        at = jnp.arange(frames)
        return latent[S, at], jnp.swapaxes(drawn[S, :, at], 0, 1), mean[S, at]

    members = batch.x.shape[0]
    conditions = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
    keys = jax.random.split(jax.random.fold_in(key, 3), members)
    of = partial(one, program) if program.sites.state is None else of_states
    mapped = jax.jit(jax.vmap(of, (0, 0, 0, 0, None if fixed is None else 0)))
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
