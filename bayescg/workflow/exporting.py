"""From a stored result to models that programs of molecular dynamics run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
import json
import os
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.contract import check_parameters
from bayescg.infer.begin import program_of
from bayescg.infer.program import warn_of_single_precision
from bayescg.io.export import ExportModel, Interaction, check_folder, check_format, write_models
from bayescg.io.export.model import measured
from bayescg.observables.known import known_of
from bayescg.system import Batch, System
from bayescg.topology import Topology, pair_name, topology_of
from bayescg.units import BOLTZMANN
from bayescg.workflow.registry import load_model, restored_system

__all__ = ["export", "export_models"]

BLOCK = 2048  # values of a coordinate at which energies are evaluated at once
AT_ONCE = 16  # draws
TURN = 2.0 * np.pi
GAP = np.deg2rad(10.0)  # an arc of a circle that no dihedral visits is unknown if it is longer


def export(
    result: Any, format: str, folder: str | os.PathLike[str], *, draws: int | None = None
) -> dict[str, Any]:
    """Write a fitted model in the format of a program of molecular dynamics.

    :param result: InferenceData.
    :param format: ``lammps``, ``gromacs``, ``openmm``, ``hoomd`` or ``table``.
    :param folder: new, or empty; without ``draws`` it is the model with the posterior mean of the
        potentials, else that lies in ``mean`` and the draws in ``draw_001`` and so on.
    :param draws: so many posterior draws, spread evenly over the stored ones.
    :return: ``files``, ``folders``, and the ``known`` range of each potential.
    :raises ValueError: for a result that cannot be exported, a term that the format cannot express,
        or more draws than there are.
    :raises OSError: if the folder cannot be written.
    """
    check_format(format)
    check_folder(folder)
    models = export_models(result, draws=draws)
    files = write_models(models, format, folder)
    first = next(iter(models.values()))
    return {
        "format": format,
        "folders": list(models),
        "files": files,
        "known": {i.label: list(i.known) for i in first.interactions},
    }


def export_models(
    result: Any, *, draws: int | None = None, system: System | None = None
) -> dict[str, ExportModel]:
    """Models by name: ``.``, the posterior mean of the potentials; with ``draws`` ``mean`` and the draws.

    :param result: InferenceData of a fit of particles.
    :param draws: posterior draws beside the mean; None: the mean alone.
    :param system: the system, where it is not a named model.
    :raises ValueError: as :func:`export`.
    """
    warn_of_single_precision()
    attrs = results.attrs(result)
    posterior = results.group(result, "posterior")
    stored = posterior.sizes.get("chain", 0) * posterior.sizes.get("draw", 0)
    if stored == 0:
        raise ValueError("the result holds no posterior draws; allowed is one with at least one.")
    if draws is not None and not 1 <= draws <= stored:
        raise ValueError(f"draws must lie between 1 and the {stored} stored ones, got {draws}.")
    options = json.loads(str(attrs["model_options"]))
    data = _data_of(result, options)
    if system is None:
        system = restored_system(result)
    if system.box is None:
        raise ValueError(
            f"{system.name} is a model of spins; allowed for an export are models of sites in space."
        )
    if system.conditions:
        raise ValueError(
            f"{system.name} has a potential at each {', '.join(system.conditions)}, and an export is of one; allowed "
            "are fits of one (pair_potential in the result's posterior holds all)."
        )
    if "box" not in data:
        raise ValueError("the result's constant_data hold no box; allowed is a result that does.")
    frames = np.asarray(data["x"].values, float) if "x" in data else None
    start = _start(system, frames)
    stack, temperature = _potentials(system, posterior, start)
    one = jax.tree.map(lambda leaf: leaf[0], stack)
    base = ExportModel(
        _topology(data, system, one),
        np.asarray(system.box, float),
        temperature,
        start,
        (),
        title=f"{attrs['model']}: posterior mean of the potentials, by {attrs['method']}",
        provenance=_provenance(attrs, posterior, stored),
    )
    known = _known(data, base)
    _check_start(base, known)
    functions = _functions(one, base.topology)
    mean = _with_potentials(base, stack, functions, known)
    if draws is None:
        return {".": mean}
    out = {"mean": mean}
    for k, at in enumerate(np.linspace(0, stored - 1, draws).round().astype(int).tolist(), 1):
        chain, draw = divmod(at, posterior.sizes["draw"])
        named = replace(
            base,
            title=f"{attrs['model']}: posterior draw {k} of {draws}, by {attrs['method']}",
            provenance=(*base.provenance, f"chain {chain}, draw {draw} of the result"),
        )
        only = jax.tree.map(lambda leaf, at=at: leaf[at : at + 1], stack)
        out[f"draw_{k:03d}"] = _with_potentials(named, only, functions, known)
    return out


def _data_of(result: Any, options: Mapping[str, Any]) -> xr.Dataset:
    """What the result holds of the data it was fitted to: topology, box and frames."""
    observed = (
        results.group(result, "observed_data")
        if results.has_group(result, "observed_data")
        else None
    )
    constants = (
        results.group(result, "constant_data")
        if results.has_group(result, "constant_data")
        else xr.Dataset()
    )
    if "interaction_name" in constants:
        given = {k: options[k] for k in ("temperature",) if k in options}
        return io.data_of(constants, observed, given)
    out = xr.Dataset() if observed is None else observed
    return out.assign({name: constants[name] for name in ("box", "mass") if name in constants})


def _provenance(attrs: Mapping[str, Any], posterior: xr.Dataset, stored: int) -> tuple[str, ...]:
    version = attrs.get("inference_library_version", "")
    kind = attrs.get("approximation", "posterior")
    ended = "" if int(attrs.get("converged", 1)) else "; NOT converged"
    out: tuple[str, ...] = (
        f"exported by bayescg {version}; method {attrs['method']}; {kind}, {stored} draw(s){ended}",
        f"data: {attrs.get('data_source', 'unknown')}, sha256 {attrs.get('data_sha256', 'unknown')}",
    )
    if "sigma2" in posterior:
        shares = posterior.get("weights", 1.0)  # of a mixture; axes count alike
        each = (shares * posterior["sigma2"]).mean(("chain", "draw"))
        variance = float(each.sum() if "weights" in posterior else each.mean())
        out += (
            f"sites are the coarse ones; those of the data lie around them with variance {variance:.3g} angstrom^2",
        )
    return out


# --- the potentials -----------------------------------------------------------------------------
def _potentials(system: System, posterior: xr.Dataset, start: np.ndarray) -> tuple[Any, float]:
    """The potential of every draw, as one with a leading draw axis, and the temperature in K."""
    x = np.stack([start, start])
    held = {k: np.full(1, v) for k, v in system.dirac.items() if k not in posterior}
    program = program_of(system, Batch(x[None], {}, None, None), held)
    frames = jnp.asarray(x)
    check_parameters(posterior, program.shapes)
    values = {}
    for name in program.shapes:
        v = posterior[name].transpose("chain", "draw", ...).values
        values[name] = jnp.asarray(v.reshape(-1, *v.shape[2:]), float)
    u = jax.jit(jax.vmap(program.unconstrain))(values)
    if np.isnan(u).any():
        raise ValueError(
            "a parameter in the result's posterior is outside of the range that its model allows."
        )

    def of_draw(u: Array) -> tuple[Any, Array]:
        boltzmann = program.boltzmann(u, frames, {})
        return boltzmann.potential, jnp.asarray(boltzmann.beta, float)

    stack, beta = jax.jit(jax.vmap(of_draw))(u)
    return stack, 1.0 / (BOLTZMANN * float(beta[0]))


#: Mean energy over draws of a stack of potentials, at values of a coordinate.
Mean = Callable[[Any, Array], Array]


class _Function(NamedTuple):
    """One one-dimensional potential, as a function of the whole."""

    kind: str
    name: str
    types: tuple[str, ...]
    cutoff: float
    mean: Mean


def _functions(potential: Any, topology: Topology) -> list[_Function]:
    """Each compiled once for the mean and once for all draws."""
    if not hasattr(potential, "interactions"):
        (kind,) = topology.kinds
        mean = _mean_of(lambda p, q: p.pair_energy(q))
        return [
            _Function("pair", pair_name(kind, kind), (kind, kind), float(potential.cutoff), mean)
        ]

    def parts(p: Any) -> Any:
        return p.interactions() if callable(p.interactions) else p.interactions

    def energy_of(k: int, p: Any, q: Array) -> Array:
        return jnp.asarray(parts(p)[k].energy(q))

    out = []
    for k, i in enumerate(parts(potential)):
        types: tuple[str, ...] = ()
        if i.kind == "pair":
            pairs = ((a, b) for a in topology.kinds for b in topology.kinds)
            types = next((min(p), max(p)) for p in pairs if pair_name(*p) == i.name)
        cutoff = float(i.cutoff) if i.kind == "pair" else np.inf
        mean = _mean_of(partial(energy_of, k))
        out.append(_Function(i.kind, i.name, types, cutoff, mean))
    return out


def _mean_of(energy: Callable[[Any, Array], Array]) -> Mean:
    @jax.jit
    def mean(stack: Any, q: Array) -> Array:
        return jnp.mean(jax.lax.map(lambda p: energy(p, q), stack, batch_size=AT_ONCE), 0)

    return mean


def _of(mean: Mean, stack: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The energy of a stack's mean, of any number of values: blocks of one size are compiled once."""

    def energy(q: np.ndarray) -> np.ndarray:
        flat = np.asarray(q, float).ravel()
        rows = -(-flat.size // BLOCK)
        padded = np.resize(flat, rows * BLOCK).reshape(rows, BLOCK)
        values = [np.asarray(mean(stack, jnp.asarray(row))) for row in padded]
        return np.concatenate([*values, np.zeros(0)])[: flat.size].reshape(np.shape(q))

    return energy


def _with_potentials(
    base: ExportModel,
    stack: Any,
    functions: Sequence[_Function],
    known: Mapping[str, tuple[float, float]],
) -> ExportModel:
    """The model under the mean of the potentials in ``stack``."""
    three = getattr(stack, "three_body", None)
    if three is not None:
        three = replace(three, strength=float(np.mean(np.asarray(three.strength))))
    found = []
    for f in functions:
        low, high = known[f"{f.kind} {f.name}"]
        seen = (low, f.cutoff) if f.kind == "pair" and low < f.cutoff else (low, high)
        energy = _of(f.mean, stack)
        found.append(Interaction(f.kind, f.name, f.types, energy, seen, f.cutoff))
    return replace(base, interactions=tuple(found), three_body=three)


# --- what surrounds them ------------------------------------------------------------------------
def _topology(data: xr.Dataset, system: System, potential: Any) -> Topology:
    """The potential's own topology, else the data's; masses where the data or the model say them."""
    own = getattr(potential, "topology", None)
    if isinstance(own, Topology):
        return own
    topology = topology_of(data)
    if "mass" in data:
        return topology
    mass = getattr(load_model(system.name), "MASS", None)
    if mass is None:
        raise ValueError(
            f"neither the result nor the model {system.name} says the mass of a site; allowed is a model "
            "that defines MASS (g/mol), or data with `mass`."
        )
    return replace(topology, mass=np.full(topology.sites, float(mass)))


def _start(system: System, frames: np.ndarray | None) -> np.ndarray:
    """The last frame of the data, else what the system's sampler starts from."""
    if frames is not None:
        return frames[-1]
    state = system.sampler.init(jax.random.key(0), 1)
    return np.asarray(state.x, float)[..., 0].T


def _check_start(base: ExportModel, known: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a start whose molecules are torn, as where only distributions were fitted."""
    table = base.topology.bond
    for name in table.kinds:
        longest = float(measured("bond", base.x, table.of(name), base.box).max())
        if f"bond {name}" in known and longest > 2.0 * known[f"bond {name}"][1]:
            raise ValueError(
                f"the result holds no configuration to start from: bond {name} would be {longest:.3g} angstrom "
                "long; allowed is a fit to data with frames."
            )


def _known(data: xr.Dataset, base: ExportModel) -> dict[str, tuple[float, float]]:
    """In which range the data say something about each potential, by label."""
    out = {}
    for (kind, name), seen in known_of(data).items():
        low, high = seen.low, seen.high
        if kind == "dihedral":
            if "x" in data and data.sizes["frame"] > 1:
                members = base.topology.dihedral.of(name)
                q = measured(kind, np.asarray(data["x"].values, float), members, base.box)
            else:
                q = np.linspace(low, high, 1000)
            low, high = _circular(q)
        out[f"{kind} {name}"] = (low, high)
    return out


def _circular(q: np.ndarray) -> tuple[float, float]:
    """The arc that holds all values: from the end of the longest empty one to its beginning."""
    at = np.sort(q.ravel())
    gaps = np.diff(np.concatenate([at, [at[0] + TURN]]))
    k = int(np.argmax(gaps))
    if gaps[k] < GAP:
        return -np.pi, np.pi
    low = float(at[(k + 1) % len(at)])
    return low, low + TURN - float(gaps[k])
