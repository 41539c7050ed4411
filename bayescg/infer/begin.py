"""What every method does first with a system and data."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from bayescg.infer.marginal import check_exact
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.system import Batch, System

__all__ = ["is_exact", "origin", "program_of"]


def program_of(
    system: System, batch: Batch, fixed: Mapping[str, np.ndarray] | None = None
) -> Program:
    """The system's program, read on the first member of the data.

    :param fixed: values that it is conditioned on, with a leading member axis.
    """
    first = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    held = {k: jnp.asarray(v[0], float) for k, v in (fixed or {}).items()}
    return read_program(system.program, jnp.asarray(batch.x[0], float), first, held)


def origin(system: System, program: Program, x: np.ndarray) -> np.ndarray:
    """Where a fit of ``x (member, ...)`` starts, ``(member, u)``."""
    out = []
    for data in x:
        found = {} if system.start_from is None else system.start_from(data)
        given = {k: v for k, v in {**system.start, **found}.items() if k not in program.fixed}
        unknown = set(given) - set(program.shapes)
        if unknown:
            raise ValueError(f"start names no parameter: {', '.join(sorted(unknown))}.")
        values = program.constrain(jnp.zeros(program.size))
        values |= {k: jnp.broadcast_to(v, program.shapes[k]) for k, v in given.items()}
        out.append(np.asarray(program.unconstrain(values)))
    return np.stack(out)


def is_exact(program: Program, batch: Batch) -> bool:
    """Whether log p(x | theta) can be evaluated exactly."""
    first = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    try:
        check_exact(program, jnp.asarray(batch.x[0], float), first)
    except ProgramError:
        return False
    return True
