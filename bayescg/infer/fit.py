"""What a method returns, before it is labelled for a file."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jax import Array
import numpy as np

from bayescg.infer.program import Program
from bayescg.system import Batch, System

__all__ = ["Fit", "Table"]


class Table(NamedTuple):
    """One variable of a result: values with named axes."""

    dims: tuple[
        str, ...
    ]  # "member" stands for the sweep's dimension, "parameter" for the coordinates of u
    values: np.ndarray
    long_name: str
    units: str = "1"


@dataclass(frozen=True, eq=False)
class Fit:
    """Posterior draws with everything that says what they are.

    ``draws`` are equally weighted, in the unconstrained coordinates of ``program``.
    """

    method: str
    system: System
    batch: Batch
    program: Program
    draws: np.ndarray  # (chain, draw, member, u)
    mode: np.ndarray | None  # (member, u), the MAP where the method finds one
    approximation: str
    converged: np.ndarray  # (member,)
    ended: str
    messages: tuple[str, ...]
    seconds: float
    exact: bool  # whether log p(x | theta) can be evaluated
    fixed: dict[str, np.ndarray] = field(default_factory=dict)  # (member, ...), conditioned values
    groups: dict[str, dict[str, Table]] = field(default_factory=dict)
    attrs: dict[str, object] = field(default_factory=dict)
    options: Any = None  # of the method, a dataclass
    key: Array | None = None  # of the run
