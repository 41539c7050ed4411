"""What every method does first with a system and data."""

from collections.abc import Mapping
from pathlib import Path

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg import results
from bayescg.infer.marginal import check_exact
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.system import Batch, System

__all__ = ["all_seen", "is_exact", "origin", "program_of", "restricted"]


def program_of(
    system: System,
    batch: Batch,
    fixed: Mapping[str, np.ndarray] | None = None,
    *,
    pooled: bool = False,
    states: bool = False,
) -> Program:
    """The system's program, read on the first member of the data.

    :param fixed: values that it is conditioned on, with a leading member axis.
    :param pooled: whether members may share parameters; most methods fit each member on its own.
    :param states: whether the caller sums hidden states out; to others a program with them is refused.
    :raises ProgramError: if the program cannot be read, members share what they may not, or it has hidden states that
        the caller does not sum out.
    """
    first = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    held = {k: jnp.asarray(v[0], float) for k, v in (fixed or {}).items()}
    program = read_program(system.program, jnp.asarray(batch.x[0], float), first, held)
    if program.shared and not pooled:
        raise ProgramError(
            f"members of the sweep share {', '.join(program.shared)}, and this method fits each on its own; allowed "
            "are -m mcem and -m nuts, which fit them together, or options under which nothing is shared."
        )
    if program.sites.state is not None and not states:
        raise ProgramError(
            f"{system.name} has {program.states} hidden states, which nuts alone sums out: use -m nuts."
        )
    return program


def all_seen(system: System, batch: Batch) -> dict[str, np.ndarray]:
    """The latent of a program whose data are all of it: a Dirac map that drops no site."""
    program = program_of(system, batch, pooled=True)
    if program.kept is None or len(program.kept) < program.latent_shape[0]:
        return {}
    order = np.argsort(program.kept)
    return {program.sites.latent: batch.x[:, :, order]}


def restricted(system: System, batch: Batch, key: Array, method: str) -> dict[str, np.ndarray]:
    """Values that a program is conditioned on where its latent is X = R(x), as by REM.

    :param method: that needs them, for the message.
    :raises ValueError: if the system names no restriction map, or its map has no Dirac one for its limit.
    """
    held = system.held(len(batch.x), method)
    restriction = system.restriction
    if restriction is None:
        raise ValueError(f"{system.name} has no fine-to-coarse map, which {method} needs.")
    x = jnp.asarray(batch.x, float)
    keys = jax.random.split(key, len(x))
    X = np.stack([np.asarray(restriction(x[m], key=keys[m])) for m in range(len(x))])
    return {"X": X, **held}


def origin(system: System, program: Program, x: np.ndarray, path: str | None = None) -> np.ndarray:
    """Where a fit of ``x (member, ...)`` starts, ``(member, u)``.

    Members that share parameters start in one place, of which all their frames tell.

    :param path: of a result, whose posterior means take the place of the system's start.
    :raises ValueError: if there is no such result, or it lacks a parameter.
    """
    out = []
    earlier = {} if path is None else _means(path, program)
    together = [x.reshape(-1, *x.shape[2:])] * len(x)
    for data in together if program.shared else x:
        found = {} if system.start_from is None or earlier else system.start_from(data)
        given = {
            k: v for k, v in {**system.start, **found, **earlier}.items() if k not in program.fixed
        }
        unknown = set(given) - set(program.shapes)
        if unknown:
            raise ValueError(f"start names no parameter: {', '.join(sorted(unknown))}.")
        values = program.constrain(jnp.zeros(program.size))
        values |= {k: jnp.broadcast_to(v, program.shapes[k]) for k, v in given.items()}
        out.append(np.asarray(program.unconstrain(values)))
    return np.stack(out)


def _means(path: str, program: Program) -> dict[str, Array]:
    """Posterior means of a result, of every parameter of a program that is fitted."""
    if not Path(path).is_file():
        raise ValueError(f"start must be a result's file, got {path!r}.")
    draws = results.group(results.load(path), "posterior")
    lost = [n for n in program.shapes if n not in draws]
    if lost:
        raise ValueError(
            f"start={path} holds no {', '.join(lost)}; allowed is a result of the same model."
        )
    means = {n: draws[n].mean(("chain", "draw")).values for n in program.shapes}
    for name, shape in program.shapes.items():
        if means[name].shape != tuple(shape):
            raise ValueError(
                f"start={path} holds {name} of shape {means[name].shape}, the model's has {tuple(shape)}."
            )
    return {n: jnp.asarray(v, float) for n, v in means.items()}


def drawn(path: str, program: Program) -> np.ndarray | None:
    """Draws of the posterior of a result of one data set, ``(draw, u)``; None of one of several.

    :raises ValueError: if there is no such result, or it lacks a parameter.
    """
    _means(path, program)
    posterior = results.group(results.load(path), "posterior")
    values = {
        n: posterior[n].stack(s=("chain", "draw")).transpose("s", ...) for n in program.shapes
    }
    if any(v.shape[1:] != tuple(program.shapes[n]) for n, v in values.items()):
        return None
    many = {n: jnp.asarray(v.values, float) for n, v in values.items()}
    return np.asarray(jax.jit(jax.vmap(program.unconstrain))(many))


def is_exact(program: Program, batch: Batch) -> bool:
    """Whether log p(x | theta) can be evaluated exactly."""
    first = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    try:
        check_exact(program, jnp.asarray(batch.x[0], float), first)
    except ProgramError:
        return False
    return True
