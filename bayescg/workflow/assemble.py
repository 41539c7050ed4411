"""From a :class:`Fit` to InferenceData, by the contract of result files."""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import substitute
from numpyro.infer import Predictive
import xarray as xr

from bayescg import __version__, results
from bayescg.infer.fit import Fit, Table
from bayescg.infer.handlers import collapse
from bayescg.infer.marginal import log_marginal, over_states
from bayescg.infer.program import Program
from bayescg.samplers import usual_precision

__all__ = ["checksum", "to_inference_data"]


def to_inference_data(fit: Fit, *, prior_draws: int = 500) -> Any:
    """Label a fit: groups, dims, coordinates, and attributes that let it be repeated.

    :param fit: what a method returned.
    :param prior_draws: draws of the prior that are stored beside, where it is proper.
    """
    seed = _seed_of(fit)
    label = _Labels(fit)
    posterior = label.parameters(fit.draws, ("chain", "draw", "member"))
    groups: dict[str, xr.Dataset] = {"posterior": label.dataset(posterior)}
    for name, tables in fit.groups.items():
        tables = dict(tables)
        if name in ("map", "em_trace") or name.startswith("laplace"):
            u = tables["u"]
            tables |= label.parameters(u.values, u.dims[:-1])
        groups[name] = label.dataset(tables)
    if fit.exact:
        groups["log_likelihood"] = label.dataset({"x": _log_likelihood(fit)})
    prior = _prior(fit, seed, prior_draws)
    if prior is not None:
        groups["prior"] = label.dataset(prior)
    groups["observed_data"] = label.dataset(
        {
            "x": Table(
                ("member", "frame", *label.sites),
                fit.batch.x,
                "fine configurations that were fitted",
                fit.system.length,
            )
        }
    )
    groups["constant_data"] = label.dataset(_constants(fit))
    attrs = {
        "method": fit.method,
        "model": fit.system.name,
        "model_options": dict(fit.system.options),
        "seed": seed,
        "converged": int(fit.converged.all()),
        "ended": fit.ended,
        "messages": list(fit.messages),
        "approximation": fit.approximation,
        "wall_seconds": fit.seconds,
        "precision_of_moves": usual_precision(),
        "inference_library": "bayescg",
        "inference_library_version": __version__,
        **{f"{name}_version": version(name) for name in ("jax", "numpyro", "arviz", "numpy")},
        "method_options": _plain(vars(fit.options)) if fit.options is not None else {},
        "data_sha256": checksum(fit.batch.x),
        "data_source": "memory",
        **fit.attrs,
    }
    return results.inference_data(groups, **attrs)


def _seed_of(fit: Fit) -> int:
    """The integer that ``jax.random.key`` makes the run's key from."""
    if fit.key is None:
        return 0
    high, low = np.asarray(jax.random.key_data(fit.key), dtype=np.uint64).ravel()[-2:]
    return int(high) << 32 | int(low)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: v if isinstance(v, str | int | float | bool | None) else str(v)
        for k, v in values.items()
    }


def checksum(x: np.ndarray) -> str:
    """sha256 of the configurations that were fitted; spins as one byte each, whatever they came as."""
    spins = x.astype(np.int8)
    small = spins if np.array_equal(spins, x) else np.asarray(x, float)
    return sha256(np.ascontiguousarray(small).tobytes()).hexdigest()


class _Labels:
    """Names for the axes of one fit."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.program: Program = fit.program
        self.dim = fit.batch.dim
        self.coords: dict[str, Any] = {
            "feature": np.array(fit.system.features, dtype=str),
            "parameter": np.array(fit.program.labels, dtype=str),
            "parameter_2": np.array(fit.program.labels, dtype=str),
            "count": np.arange(1, fit.program.states + 1),
        }
        self.coord_units: dict[str, str] = {}
        if fit.batch.dim is not None:
            self.coords[fit.batch.dim] = fit.batch.coords
        self.sites = ("site",) if fit.batch.x.ndim == 3 else ("site", "axis")

    def parameters(self, u: np.ndarray, dims: tuple[str, ...]) -> dict[str, Table]:
        """Parameters by name from unconstrained ``u (*dims, u)``, with what the program derives."""
        x = jnp.asarray(self.fit.batch.x, float)
        conditions = {k: jnp.asarray(v, float) for k, v in self.fit.batch.conditions.items()}
        member = dims.index("member")
        moved = np.moveaxis(u, member, 0)
        flat = moved.reshape(moved.shape[0], -1, moved.shape[-1])
        one = jax.vmap(self.program.values, (0, None, None))  # over draws, then over members
        values = jax.jit(jax.vmap(one))(jnp.asarray(flat), x, conditions)
        out = {}
        for name, v in values.items():
            v = np.asarray(v).reshape(*moved.shape[:-1], *v.shape[2:])
            extra = self.axes(name, v.shape[moved.ndim - 1 :])
            common = name in self.program.shared  # one value for all members
            lead = tuple(d for d in dims if d != "member") if common else dims
            out[name] = Table(
                (*lead, *extra),
                v[0] if common else np.moveaxis(v, 0, member),
                f"parameter {name}",
                self.fit.system.units.get(name, "1"),
            )
        return out | self._derived(values, moved.shape[:-1], dims)

    def _derived(
        self, values: dict[str, Any], lead: tuple[int, ...], dims: tuple[str, ...]
    ) -> dict[str, Table]:
        """What the system derives from each draw of the parameters, on axes of its own."""
        function = self.fit.system.derived
        if function is None:
            return {}
        form: dict[str, Any] = {}

        def values_of(v: dict[str, Any]) -> dict[str, Any]:
            form.update(function(v))  # what the values lie on, kept from tracing
            return {k: d.value for k, d in form.items()}

        made = jax.jit(jax.vmap(jax.vmap(values_of)))(
            {k: jnp.asarray(v) for k, v in values.items()}
        )
        out = {}
        for name, d in form.items():
            self.coords[d.dim] = d.coords
            self.coord_units[d.dim] = d.dim_units
            v = np.moveaxis(np.asarray(made[name]).reshape(*lead, -1), 0, dims.index("member"))
            out[name] = Table((*dims, d.dim), v, d.long_name, d.units)
        return out

    def axes(self, name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Names for the axes of a parameter's value."""
        if name in self.fit.system.parameter_dims:
            return self.fit.system.parameter_dims[name]
        states = self.program.state_axes.get(name, ())
        # A transition matrix has two: from a state, to a state.
        of_state = dict(zip(states, ("state", "next_state"), strict=False))
        many = len(self.fit.system.features)
        return tuple(
            of_state.get(i, "feature" if size == many else f"{name}_dim")
            for i, size in enumerate(shape)
        )

    def dataset(self, tables: dict[str, Table]) -> xr.Dataset:
        """A dataset of tables; a single data set has no sweep axis."""
        variables, dims, attrs = {}, {}, {}
        for name, table in tables.items():
            axes, values = table.dims, np.asarray(table.values)
            if self.dim is None and "member" in axes:
                values = np.take(values, 0, axes.index("member"))
                axes = tuple(a for a in axes if a != "member")
            axes = tuple(self.dim if a == "member" and self.dim is not None else a for a in axes)
            variables[name], dims[name] = values, axes
            attrs[name] = {"long_name": table.long_name, "units": table.units}
        coords = {k: v for k, v in self.coords.items() if any(k in d for d in dims.values())}
        made = results.to_dataset(variables, dims=dims, coords=coords, sample_dims=(), attrs=attrs)
        for name, units in self.coord_units.items():
            if name in made.coords:
                made[name].attrs["units"] = units
        return made


def _log_likelihood(fit: Fit) -> Table:
    """``log p(x_i | theta)`` of each frame and draw, latents summed out.

    Of frames along a path of hidden states ``log p(x_i | all other frames, theta)``, the term that
    leave-one-out takes (Buerkner, Gabry and Vehtari, Comput. Stat. 36, 1243 (2021)); of others the two are one.
    """

    def of_draw(u: Array, x: Array, conditions: dict[str, Array]) -> Array:
        if fit.program.sites.state is not None:
            return over_states(fit.program, u, x, conditions).left_out
        return log_marginal(fit.program, u, x, conditions)

    @jax.jit
    def of_member(u: Array, x: Array, conditions: dict[str, Array]) -> Array:
        return jax.lax.map(partial(_call, of_draw, x, conditions), u, batch_size=8)

    chains, draws, members, size = fit.draws.shape
    out = []
    for m in range(members):
        conditions = {k: jnp.asarray(v[m], float) for k, v in fit.batch.conditions.items()}
        u = jnp.asarray(fit.draws[:, :, m].reshape(-1, size))
        value = of_member(u, jnp.asarray(fit.batch.x[m], float), conditions)
        out.append(np.asarray(value).reshape(chains, draws, -1))
    return Table(
        ("chain", "draw", "member", "frame"),
        np.stack(out, 2),
        "log p(x_i | theta), latents summed out"
        if fit.program.sites.state is None
        else "log p(x_i | all other frames, theta), latents and states summed out",
    )


def _call(f: Callable[..., Array], x: Array, conditions: dict[str, Array], u: Array) -> Array:
    return f(u, x, conditions)


def _prior(fit: Fit, seed: int, draws: int) -> dict[str, Table] | None:
    """Draws from the prior, of the parameters that have a proper one with draws that are finite."""
    program = fit.program
    wild = {*program.improper, *(k for k, ab in program.ard.items() if min(ab) < 0.1)}
    names = [k for k in program.shapes if k not in wild]
    if not wild and "theta_c" not in names:
        names.append("theta_c")  # where it is derived from others
    if not names:
        return None
    conditions = {k: v[0] for k, v in fit.batch.conditions.items()}
    blank = {k: jnp.ones(program.shapes[k]) for k in wild}
    if fit.batch.x.ndim > 3:  # no liquid is simulated for draws of parameters
        blank[program.sites.latent] = jnp.zeros((1, *program.latent_shape))
    one = {k: jnp.asarray(v[0]) for k, v in fit.fixed.items()}
    frames = fit.batch.x.shape[1]
    function = substitute(collapse(program.function), data=blank | one)
    predictive = Predictive(function, num_samples=draws, return_sites=names)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    values = predictive(key, None, frames=frames if one else 1, **conditions)
    label = _Labels(fit)
    return {
        name: Table(
            ("chain", "draw", *label.axes(name, v.shape[1:])),
            np.asarray(v)[None],
            f"prior draws of {name}",
        )
        for name, v in values.items()
    }


def _constants(fit: Fit) -> dict[str, Table]:
    out = {
        name: Table(("member",), values, f"condition {name}")
        for name, values in fit.batch.conditions.items()
        if name != fit.batch.dim
    }
    for name, (dims, values, text, units) in fit.system.constants.items():
        out[name] = Table(dims, values, text, units)
    for name, values in fit.fixed.items():
        if values.ndim == 1:
            units = fit.system.units.get(name, "1")
            out[f"{name}_fixed"] = Table(("member",), values, f"{name}, held", units)
            continue
        out[f"{name}_fixed"] = Table(
            ("member", "frame", "coarse_site", "axis")[: values.ndim],
            values,
            f"{name} on which the program is conditioned",
            fit.system.length,
        )
    return out
