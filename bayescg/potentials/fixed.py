"""Potentials that are given, as one function each: they are felt, but have no parameters."""

from dataclasses import dataclass, field
from typing import Self

from jax import Array
import jax.numpy as jnp
import numpy as np

__all__ = ["FixedTable"]

TURN = 2.0 * np.pi


@dataclass(frozen=True, eq=False)
class FixedTable:
    """A given potential, linear between its points; with a strength of 1 in kcal/mol.

    Beyond its ends it goes on with its last slope where that leads up, and is level where it leads down.

    :param breaks: angstrom or radians, ``(piece + 1,)``; values beyond lie on the outermost lines.
    :param values: at the breaks.
    :param cutoff: beyond, it is zero; infinite for bonded terms.
    :param scale: angstrom or radians on which the functions are smooth, which decides how finely
        they are tabulated.
    :param names: of the functions, in their order.
    """

    breaks: np.ndarray
    values: np.ndarray
    cutoff: float = np.inf
    scale: float = 0.4
    names: tuple[str, ...] = field(default=("fixed",), init=False)

    @classmethod
    def of(cls, kind: str, q: np.ndarray, u: np.ndarray, longest: float = np.inf) -> Self:
        """A potential of a kind of coordinate.

        :param kind: ``pair``, ``bond``, ``angle`` or ``dihedral``; pairs end at zero, dihedrals go round.
        :param q: increasing, ``(point,)``, angstrom or radians.
        :param u: kcal/mol, ``(point,)``.
        :param longest: where a pair's is cut off at the latest, angstrom.
        :raises ValueError: if less than two points are left.
        """
        q, u = np.asarray(q, float), np.asarray(u, float)
        if kind == "dihedral":
            q, u = q[q < q[0] + TURN - 1e-6], u[q < q[0] + TURN - 1e-6]
            around = np.concatenate([[q[-1] - TURN], q, [q[0] + TURN]])
            return cls(around, np.concatenate([[u[-1]], u, [u[0]]]))
        end = np.inf
        if kind == "pair":
            end = min(longest, float(q[-1]))
            last = float(np.interp(end, q, u))
            q, u = np.append(q[q < end], end), np.append(u[q < end], last) - last
        if len(q) < 2:
            raise ValueError(
                f"a given {kind} potential has {len(q)} points; allowed are 2 and more."
            )
        slope = np.diff(u) / np.diff(q)
        down = u[0] - min(slope[0], 0.0)  # one unit further out
        up = 0.0 if kind == "pair" else u[-1] + max(slope[-1], 0.0)
        return cls(
            np.concatenate([[q[0] - 1.0], q, [q[-1] + 1.0]]),
            np.concatenate([[down], u, [up]]),
            end,
        )

    def __call__(self, q: Array) -> Array:
        q = jnp.asarray(q)
        piece = jnp.searchsorted(jnp.asarray(self.breaks), q, "right") - 1
        piece = jnp.clip(piece, 0, len(self.breaks) - 2)
        slope = jnp.asarray(np.diff(self.values) / np.diff(self.breaks))
        past = q - jnp.asarray(self.breaks)[piece]
        return (jnp.asarray(self.values)[piece] + slope[piece] * past)[None]
