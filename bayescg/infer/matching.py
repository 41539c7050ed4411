"""Matching the statistics of a model to targets: simulate, compare, move, until noise is all that is left.

The loop of the methods with a Dirac map. They differ in which statistics they look at and in their update
(:mod:`~bayescg.infer.updates`). Chains go on from one iteration to the next.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
import time
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.optimize import lsq_linear

from bayescg.infer.chains import LEAST_CHAINS, Simulator, told, usual_chains
from bayescg.infer.checkpoint import interrupted, place
from bayescg.infer.histograms import Target
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.updates import Measured, Update
from bayescg.options import option
from bayescg.samplers.base import Sampler

__all__ = ["Effort", "Matched", "match"]

KEPT = 0.5  # of a covariance's weight, from one iteration to the next
SOFT = 1e-12  # least eigenvalue of a scaled information, by which directions are told apart
STALLED = 8  # iterations without a better one after which there is none to come


@dataclass(frozen=True)
class Effort:
    """Options of the loop."""

    max_iterations: int = option(40, "most iterations")
    tolerance: float = option(
        1.5, "stop when statistics differ from their targets by so many standard errors (rms)"
    )
    chains: int | None = option(
        None, "persistent chains of p_c; none: 32, or fewer of many sites, but at least 8"
    )
    warmup: int = option(150, "trajectories of each chain before the first iteration")
    relax: int = option(30, "trajectories after each step, before samples are taken")
    samples: int = option(60, "samples of each chain in an iteration")
    thin: int = option(2, "trajectories from one sample to the next")
    longest: float = option(1.0, "largest change of a potential in one step, kT")

    def __post_init__(self) -> None:
        for name in ("max_iterations", "tolerance", "relax", "samples", "thin", "longest"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if (self.chains or LEAST_CHAINS) < LEAST_CHAINS or self.warmup < 0:
            raise ValueError(f"chains must be at least {LEAST_CHAINS}, warmup not negative.")


class Matched(NamedTuple):
    """How it went."""

    u: np.ndarray  # (u,), the parameters that were judged best
    distance: float  # rms difference from the targets there, in standard errors
    measured: Measured  # there
    ended: str  # "converged", or why not
    iterations: int  # simulations that were judged
    seconds: float
    trace: dict[str, np.ndarray]  # (iteration, ...)
    best: int  # the iteration of ``u``


@dataclass(frozen=True)
class Statistics:
    """What is looked at.

    :param measure: ``(term, batch)`` of ``(axis, site, batch)``.
    :param target: what they shall be.
    :param counts: which of them the stopping rule judges, ``(term,)``.
    :param summary: numbers to show of an iteration, from the means: name to value.
    :param terms: the update is given the first so many; None: all.
    """

    measure: Callable[[Array], Array]
    target: Target
    counts: np.ndarray
    summary: Callable[[np.ndarray], dict[str, float]] = field(default=lambda mean: {})
    terms: int | None = None


def match(
    program: Program,
    sampler: Sampler,
    statistics: Statistics,
    update: Update,
    key: Array,
    start: np.ndarray,
    *,
    x: np.ndarray,
    starts: np.ndarray | None = None,
    effort: Effort = Effort(),
    finish: Callable[[np.ndarray], np.ndarray] = lambda u: u,
    jacobian: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Progress | None = None,
) -> Matched:
    """Simulate, compare and move, until the difference is within the noise.

    It stops where the rms difference of the statistics from their targets, in standard errors of
    the difference, falls below ``tolerance``; at ``max_iterations``; or when ``STALLED`` iterations have
    brought nothing better. What it returns is the best of those that were judged, with no step since.

    :param start: first parameters, ``(u,)``.
    :param x: an example data set, ``(frame, site, axis)``, for the program's shapes.
    :param finish: what is done to parameters after a step, such as filling in a core.
    :param jacobian: of the statistics' coefficients by u; None: that of the natural parameters.
    """
    progress = progress or Silent()
    began = time.monotonic()
    example = jnp.asarray(x[:1], float)
    beta = float(jnp.asarray(program.boltzmann(jnp.asarray(start), example, {}).beta))

    simulator = Simulator(program, sampler, statistics.measure, example, {})
    natural = jax.jit(jax.jacfwd(lambda u: program.natural(u, example, {})))
    slope = jacobian or (lambda u: np.asarray(natural(jnp.asarray(u))))

    key, first = jax.random.split(key)
    chains = effort.chains or usual_chains(x.shape[1])
    state = sampler.init(first, chains)
    u, labels = np.asarray(start, float), program.labels
    rows: list[dict[str, Any]] = []
    best, kept = 0, None
    pooled: np.ndarray | None = None
    ended = "stopped at max_iterations"
    at_place, done = place("match"), 0
    if (before := at_place.resumed()) is not None:
        done, state, u, rows, best, kept, pooled, seconds = before
        state, began = jax.tree.map(jnp.asarray, state), began - seconds
    try:
        for iteration in range(done, effort.max_iterations):
            at_place.keep(
                (iteration, state, u, list(rows), best, kept, pooled, time.monotonic() - began)
            )
            lead = effort.relax + (effort.warmup if iteration == 0 else 0)
            state, taken, failed = simulator.sampled(
                jax.random.fold_in(key, iteration),
                state,
                u,
                lead=lead,
                samples=effort.samples,
                thin=effort.thin,
                tell=partial(told, progress, iteration),
            )
            measured = _measured(taken)
            distance = _distance(measured, statistics)
            shown = {"distance": distance, "failed": failed}
            shown |= statistics.summary(measured.mean)
            rows.append({"u": u, **shown})
            progress.update("match", (iteration + 1) / effort.max_iterations, shown)
            if kept is None or distance < rows[best]["distance"]:
                best, kept = iteration, measured
            if distance <= effort.tolerance and update.content(u, measured, beta):
                best, kept, ended = iteration, measured, "converged"
                break
            if not np.isfinite(distance):
                ended = "diverged"
                break
            if iteration - best >= STALLED:
                ended = f"no better in {STALLED} iterations"
                break
            pooled = _pooled(pooled, measured.covariance)
            ours, target = _given(measured._replace(covariance=pooled), statistics)
            step = update(u, ours, target, slope, beta, labels)
            step = _bounded(step, effort.longest / beta, statistics, slope(u), ours.covariance)
            u = finish(u + step)
    except KeyboardInterrupt:
        interrupted()
        if kept is None:
            raise
        ended = "interrupted"
    assert kept is not None
    names = rows[0].keys()
    trace = {n: np.array([r[n] for r in rows]) for n in names}
    seconds = time.monotonic() - began
    return Matched(
        rows[best]["u"], rows[best]["distance"], kept, ended, len(rows), seconds, trace, best
    )


def _measured(taken: np.ndarray) -> Measured:
    """Moments of samples ``(sample, term, chain)``; chains are independent, the samples of one are not."""
    samples, terms, chains = taken.shape
    flat = np.moveaxis(taken, 1, 2).reshape(-1, terms)
    mean = flat.mean(0)
    off = flat - mean
    covariance = off.T @ off / len(flat)
    # Errors of few chains are themselves uncertain: Student's t has a variance above 1.
    wider = np.sqrt((chains - 1.0) / (chains - 3.0))
    error = wider * taken.mean(0).std(1, ddof=1) / np.sqrt(chains)
    variance = np.diag(covariance)
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(error > 0.0, variance / error**2, np.nan)
    known = worth[np.isfinite(worth)]
    independent = float(np.median(known)) if known.size else float(samples * chains)
    return Measured(mean, error, covariance, flat, min(independent, float(samples * chains)))


def _pooled(before: np.ndarray | None, now: np.ndarray) -> np.ndarray:
    """A covariance averaged with those of earlier iterations, of which each counts half as much as the next.

    It changes less from one to the next than the noise of either, which a Newton step blows up: on water
    IMC takes 5 iterations with it, and 10 without.
    """
    return now if before is None else KEPT * before + (1.0 - KEPT) * now


def _given(measured: Measured, statistics: Statistics) -> tuple[Measured, Target]:
    """What the update sees: of what is only shown, nothing."""
    at = slice(statistics.terms)
    seen = Measured(
        measured.mean[at],
        measured.error[at],
        measured.covariance[at, at],
        measured.samples[:, at],
        measured.independent,
    )
    return seen, Target(statistics.target.mean[at], statistics.target.error[at])


def _distance(measured: Measured, statistics: Statistics) -> float:
    """Rms difference from the targets in standard errors, over the statistics that count.

    A statistic that the simulation never met has the error that so many independent configurations leave
    of a count of the target's size (Poisson's), so that its absence is noticed.
    """
    target = statistics.target
    never = (measured.error == 0.0) & (measured.mean != target.mean)
    counted = np.where(never, np.abs(target.mean) / measured.independent, measured.error**2)
    error = np.sqrt(counted + target.error**2)
    at = statistics.counts & (error > 0.0)
    off = (measured.mean - target.mean)[at] / error[at]
    return float(np.sqrt(np.mean(off**2))) if at.any() else np.inf


def _bounded(
    step: np.ndarray,
    longest: float,
    statistics: Statistics,
    slope: np.ndarray,
    covariance: np.ndarray,
) -> np.ndarray:
    """A step in which no coefficient that counts changes by more than ``longest``.

    Bins that count are held by the data, and a step is shortened as a whole, since they are coupled. Of
    other bases some functions are hardly met, such as a spline's at the foot of a core, and those shall not
    hold up the others: within the bounds of every parameter the step is the one nearest to the whole, as the
    information measures it. Each cut short for itself, large moves that cancel would no longer do.

    :param slope: of the statistics' coefficients by u, ``(term, u)``; ``covariance`` of the statistics.
    """
    counts = statistics.counts[: statistics.terms]
    size = np.max(np.abs(slope[counts]), 0, initial=0.0)
    largest = np.max(size * np.abs(step), initial=0.0)
    if largest <= longest or statistics.terms is None:
        return step * min(1.0, longest / max(largest, 1e-300))
    information = slope.T @ covariance @ slope
    scale = np.sqrt(np.where(np.diag(information) > 0.0, np.diag(information), 1.0))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    root = (
        np.sqrt(np.maximum(values, SOFT))[:, None] * vectors.T * scale
    )  # root^T root = information
    bound = longest / np.maximum(size, 1e-300)
    return np.asarray(lsq_linear(root, root @ step, bounds=(-bound, bound)).x)
