"""What notes of a fit speak of: members of a sweep, values of parameters."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from bayescg.infer.mcem import MCEMResult
from bayescg.system import Batch

__all__ = ["failures_in_words", "members_in_words", "parameters_in_words"]


def members_in_words(batch: Batch, at: np.ndarray) -> str:
    """Which members of a sweep, in words."""
    if batch.dim is None or batch.coords is None:
        return "these data"
    shown = ", ".join(f"{batch.coords[i]:g}" for i in at[:6])
    return f"{batch.dim} = {shown}" + (f" and {len(at) - 6} more" if len(at) > 6 else "")


def parameters_in_words(values: Mapping[str, Any]) -> str:
    """Values of parameters: scalars as they are, of an array the range."""
    told = []
    for name, value in values.items():
        v = np.asarray(value)
        told.append(
            f"{name} = {float(v):.4g}" if v.size == 1 else f"{name} {v.min():.3g} to {v.max():.3g}"
        )
    return ", ".join(told)


def failures_in_words(result: MCEMResult, batch: Batch) -> list[str]:
    """Chains that blew up during the search, and the parameters that most of them blew up at."""
    failed = result.trace["failed"]  # (iteration, member)
    if not failed.any():
        return []
    t, m = np.unravel_index(np.argmax(failed), failed.shape)
    values = result.programs[result.which[m]].constrain(jnp.asarray(result.trace["at"][t, m]))
    where = "" if batch.dim is None else f" of {members_in_words(batch, np.array([m]))}"
    return [
        f"{failed.sum():.0f} moves of chains blew up and were taken back, or led where nothing can be "
        f"measured and were left out, in {(failed.sum(1) > 0).sum()} of {len(failed)} iterations; most "
        f"({failed[t, m]:.0f}) in iteration {t + 1}{where}, at {parameters_in_words(values)}. The fit went on."
    ]
