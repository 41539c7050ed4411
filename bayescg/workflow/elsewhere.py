"""Prediction under conditions that were not fitted: other liquids, other members of a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.pooled import draw_own
from bayescg.infer.program import Program
from bayescg.options import numbers, numbers_in_words
from bayescg.system import Batch, System
from bayescg.workflow.predictive import FEWEST_CHAINS
from bayescg.workflow.registry import restored_system

__all__ = ["Conditions", "in_words", "liquid_elsewhere", "member_draws", "members_elsewhere"]

Conditions = Mapping[str, float | str | Sequence[float]]


def liquid_elsewhere(
    system: System,
    batch: Batch,
    result: Any,
    conditions: Conditions,
    model: str | None,
    seed: int,
) -> tuple[System, Batch]:
    """A fitted system of particles under other conditions, and configurations to begin there.

    :raises ValueError: for conditions that it does not have, or that are no positive number.
    """
    unknown = sorted(
        k for k in conditions if k not in ("sites", "temperature", "box") or k not in system.options
    )
    if unknown:
        raise ValueError(
            f"{system.name} cannot be simulated at another {', '.join(unknown)}; particle systems can, at "
            "other sites, temperature and box."
        )
    for name, value in conditions.items():
        if not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
    new = restored_system(result, model, **conditions)
    if "sites" in conditions or "box" in conditions:
        x = new.sampler.init(jax.random.key(seed), FEWEST_CHAINS).x.astype(float)
        seen = x if new.pre_map is None else new.pre_map(x)
        batch = batch._replace(x=np.asarray(seen).T[None])
    return new, batch


def members_elsewhere(
    system: System, program: Program, batch: Batch, conditions: Conditions
) -> Batch:
    """Members of a sweep at other values of its condition, of a model whose members share parameters.

    Their ``x`` are those of the nearest that was fitted: for shapes, and where particles begin.

    :param conditions: the condition's name and its values: one, several, or words such as ``-4:4:41``.
    :raises ValueError: for another condition, a fit of each member on its own, and values that are not allowed.
    """
    unknown = sorted(set(conditions) - set(system.conditions))
    if unknown or len(system.conditions) != 1:
        raise ValueError(
            f"{system.name} cannot be predicted at another {', '.join(unknown or system.conditions)}; allowed is "
            f"{', '.join(system.conditions) or 'nothing here'} (particle systems: sites, temperature, box)."
        )
    (name,) = system.conditions
    if not program.shared:
        raise ValueError(
            f"each {name} was fitted on its own, so this fit says nothing of another; one of all together does "
            "(-s prior=curve)."
        )
    if batch.dim is None or len(batch.x) < 2:
        raise ValueError(f"the fit is of one {name}, which says nothing of another.")
    given = conditions[name]
    values = numbers(given, name) if isinstance(given, str) else np.atleast_1d(given).astype(float)
    if values.ndim != 1 or not np.isfinite(values).all() or len(set(values)) != values.size:
        raise ValueError(f"{name} must be one or several different finite numbers, got {given}.")
    system.check_conditions({name: values})
    nearest = np.abs(values[:, None] - batch.conditions[name]).argmin(1)
    return Batch(batch.x[nearest], {name: values}, name, values)


def member_draws(
    program: Program, key: Array, u: np.ndarray, fitted: Batch, batch: Batch
) -> np.ndarray:
    """Draws of members that were fitted, or not, from draws of those that were.

    Of one that was fitted they are its own. Another has the shared parameters, and its own from their prior.

    :param u: unconstrained draws ``(draw, member, u)`` of ``fitted``.
    :return: the same of ``batch``.
    """
    given = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
    x = jnp.asarray(batch.x[0], float)

    def one(key: Array, u: Array, conditions: dict[str, Array]) -> Array:
        return draw_own(program, key, u, x, conditions)

    members = jax.vmap(one, (0, None, 0))
    keys = jax.random.split(key, (len(u), len(batch.x)))
    out = np.array(jax.jit(jax.vmap(members, (0, 0, None)))(keys, jnp.asarray(u[:, 0]), given))
    for m in range(len(batch.x)):
        same = [
            np.isclose(fitted.conditions[k], v[m], rtol=0.0, atol=1e-6)
            for k, v in batch.conditions.items()
        ]
        at = np.flatnonzero(np.all(same, axis=0))
        if at.size:
            out[:, m] = u[:, at[0]]
    return out


def in_words(conditions: Conditions) -> dict[str, float | str]:
    """Conditions as a result holds them and the command line reads them."""
    return {
        k: v
        if isinstance(v, int | float | str)
        else numbers_in_words(np.atleast_1d(v).astype(float))
        for k, v in conditions.items()
    }
