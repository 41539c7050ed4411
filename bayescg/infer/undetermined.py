"""Coefficients that frames say too little of, and how they follow from those that frames do tell."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.infer.force_design import NormalEquations, slopes
from bayescg.potentials.bonded import PeriodicTable
from bayescg.potentials.molecular import Interaction, MolecularPotential
from bayescg.potentials.pair import BSplines, PairBasis, Table

__all__ = ["FEWEST", "Told", "kinks", "told"]

FEWEST = 3.0  # meetings at a function's steepest point, in as many frames, from which it is told
POINTS = 2000  # on which the slopes of functions are looked at
AMID = 1e-3  # of the range of data: knots at its ends are not amid them


class Told(NamedTuple):
    """What frames tell of the parameters u of a potential that is linear in them."""

    extension: np.ndarray  # (u, kept): all parameters from those that are told
    seldom: np.ndarray  # (u,), those that are not
    constants: int  # directions that move no site: constants of bonded potentials


def told(potential: MolecularPotential, natural: np.ndarray, sums: NormalEquations) -> Told:
    """Which parameters frames tell, and straight lines through the others.

    A spline or a table that is not met somewhere goes on in a straight line through the two nearest
    coefficients that are told (its end at the cut-off is one); other functions are left out.

    :param natural: natural parameters by u, ``(term, u)``.
    """
    strength = np.diagonal(sums.square, axis1=1, axis2=2).sum(0)
    frames = sums.frames.sum()
    rare = np.zeros(len(natural), bool)
    for k, _, basis, at in _bases(potential):
        peak = np.maximum(_peaks(basis, sums.span[k]), 1e-150)
        meetings = strength[at] / (sums.gradient[k] * peak**2)
        rare[at] = (meetings < FEWEST) | (sums.met[at] < min(FEWEST, frames))
    part = natural != 0.0
    seldom = ~np.any(part & ~rare[:, None], 0)
    extension = np.diag((~seldom).astype(float))
    constants = 0
    for _, _, basis, at in _bases(potential):
        own = _parameters(natural, at)
        place = _places(basis)
        if own is None or place is None:
            continue
        constants += int(_is_free(basis) and not seldom[own].all())
        _extend(extension, basis, place, own, seldom)
    return Told(extension[:, ~seldom], seldom, constants)


def kinks(potential: MolecularPotential, natural: np.ndarray, sums: NormalEquations) -> list[str]:
    """Where functions with a parameter have a jump in their slope amid the data, in words."""
    out = []
    for k, i, basis, at in _bases(potential):
        if not natural[at].any():
            continue
        low, high = sums.span[k] + AMID * np.ptp(sums.span[k]) * np.array([1.0, -1.0])
        slope = jax.jit(partial(slopes, basis))
        for q in sorted({*getattr(basis, "breaks", ()), *getattr(basis, "grid", ()), basis.cutoff}):
            if not low < q < high:
                continue
            left, right = np.asarray(slope(q + 1e-7 * np.array([-1.0, 1.0]))).T
            if np.abs(left - right).max() > 1e-3 * max(np.abs(left).max(), np.abs(right).max()):
                out.append(f"{i.label} at {q:.4g}")
                break
    return out


def _bases(
    potential: MolecularPotential,
) -> Iterator[tuple[int, Interaction, PairBasis, np.ndarray]]:
    """Number and record of the interaction, basis, and terms of every part of a potential."""
    first = 0
    for k, i in enumerate(potential.interactions):
        for t in i.terms:
            size = len(t.basis.names)
            yield k, i, t.basis, np.arange(first, first + size)
            first += size


def _peaks(basis: PairBasis, span: np.ndarray) -> np.ndarray:
    """Steepest slope of each function: over all its range if it is a spline's or a table's, else the data's."""
    if isinstance(basis, BSplines | Table):
        t = np.diff(basis.breaks)[:, None] * np.linspace(0.0, 1.0, 9)  # (piece, point)
        power = range(len(basis.coefficients) - 1, 0, -1)
        slope = sum(
            n * c[:, None] * t[..., None] ** (n - 1)
            for n, c in zip(power, basis.coefficients[:-1], strict=True)
        )
        return np.abs(slope).max((0, 1))
    low, high = (-np.pi, np.pi) if isinstance(basis, PeriodicTable) else span
    if not low <= high:
        return np.zeros(len(basis.names))
    q = np.linspace(low, high, POINTS + 1)
    middle = jnp.asarray(0.5 * (q[1:] + q[:-1]))  # between nodes, where slopes jump
    return np.abs(np.asarray(jax.jit(partial(slopes, basis))(middle))).max(1)


def _places(basis: PairBasis) -> np.ndarray | None:
    """Where each function of a spline or a table stands for the potential; None for others."""
    if isinstance(basis, PeriodicTable):
        return basis.grid
    if isinstance(basis, Table):
        return np.asarray(basis.breaks[: len(basis.names)])
    if isinstance(basis, BSplines):
        degree = len(basis.coefficients) - 1
        ends = (np.repeat(basis.breaks[0], degree), np.repeat(basis.breaks[-1], degree))
        knots = np.concatenate([ends[0], basis.breaks, ends[1]])
        count = len(basis.names)
        if not degree:
            return 0.5 * (knots[:-1] + knots[1:])[:count]
        return np.mean([knots[n + 1 : n + 1 + count] for n in range(degree)], 0)  # Greville's
    return None


def _is_free(basis: PairBasis) -> bool:
    """Whether the sum of all functions is a constant."""
    return isinstance(basis, PeriodicTable) or getattr(basis, "ends", "zero") == "free"


def _parameters(natural: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    """The parameter of each function, where each has one of its own; else None."""
    part = natural[at] != 0.0
    if not (part.sum(1) == 1).all():
        return None
    own = part.argmax(1)
    return own if len(set(own)) == len(own) else None


def _extend(
    extension: np.ndarray, basis: PairBasis, place: np.ndarray, own: np.ndarray, seldom: np.ndarray
) -> None:
    """Put straight lines into the rows of ``extension`` that are not told."""
    kept = np.flatnonzero(~seldom[own])
    known, columns = place[kept], own[kept]
    if isinstance(basis, PeriodicTable):
        known = np.concatenate([known - 2.0 * np.pi, known, known + 2.0 * np.pi])
        columns = np.tile(columns, 3)
    elif not _is_free(basis):
        known, columns = np.append(known, basis.cutoff), np.append(columns, -1)  # zero there
    for n in np.flatnonzero(seldom[own]):
        line: tuple[tuple[int, float], ...]
        if len(known) > 1:
            left = int(np.clip(np.searchsorted(known, place[n]) - 1, 0, len(known) - 2))
            t = float(place[n] - known[left]) / (known[left + 1] - known[left])
            line = ((left, 1.0 - t), (left + 1, t))
        else:
            line = tuple((m, 1.0) for m in range(len(known)))
        for m, weight in line:
            if columns[m] >= 0:
                extension[own[n], columns[m]] += weight
