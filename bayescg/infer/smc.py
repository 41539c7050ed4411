r"""Sequential Monte Carlo: particles led from the prior to the posterior.

A path is a sequence of densities :math:`p(\theta)\prod_i p(x_i\mid\theta)^{a_i(t)}` from the prior, t = 0, to the
posterior, t = 1. Each stage weighs the particles by what the next density adds, draws them anew in proportion, and
moves them by Hamiltonian Monte Carlo until they have forgotten where they started. The mean weights of all stages
multiply to the evidence. Sources: N. Chopin, Biometrika 89, 539 (2002); P. Del Moral, A. Doucet and A. Jasra,
J. R. Stat. Soc. B 68, 411 (2006); for what is adapted, A. Buchholz, N. Chopin and P. E. Jacob, Bayesian Anal. 16, 745
(2021).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from bayescg.infer.checkpoint import place
from bayescg.infer.evidence import log_mean, thermodynamic
from bayescg.infer.resampling import effective_size, systematic

__all__ = ["PATHS", "ByData", "ByTemperature", "Particles", "Path", "Run", "Target", "forgotten"]

HALVINGS = 50  # in the search of the next stage
MOST_STAGES = 400
AT_ONCE = 16  # particles that move together, few enough for the cache
WAY = (
    0.5 * np.pi
)  # length of a trajectory in units of the particles' spread: a quarter of a normal's period
MOST_LEAPS = 32
JITTER = 0.2  # of each particle's step, against periods
GAIN = 1.5  # of the step length's adaptation


class Path(Protocol):
    """How the data enter between t = 0 and t = 1."""

    def powers(self, t: float, frames: int) -> np.ndarray:
        """The power of each frame's likelihood, ``(frame,)``."""
        ...

    def stop(self, t: float, found: float, frames: int) -> float:
        """Where a stage from ``t`` ends that may go as far as ``found``."""
        ...


@dataclass(frozen=True)
class ByTemperature:
    """The likelihood of all frames to one growing power."""

    def powers(self, t: float, frames: int) -> np.ndarray:
        """The power of each frame's likelihood, ``(frame,)``."""
        return np.full(frames, t)

    def stop(self, t: float, found: float, frames: int) -> float:
        """Anywhere."""
        return found


@dataclass(frozen=True)
class ByData:
    """Frame after frame in the order of the data; one that says too much at once enters by a growing power."""

    def powers(self, t: float, frames: int) -> np.ndarray:
        """The power of each frame's likelihood, ``(frame,)``."""
        return np.clip(frames * t - np.arange(frames), 0.0, 1.0)

    def stop(self, t: float, found: float, frames: int) -> float:
        """After a whole frame, where a stage gets that far."""
        whole = np.floor(frames * found + 1e-9) / frames
        return float(whole) if whole > t else found


PATHS: dict[str, Path] = {"temperature": ByTemperature(), "data": ByData()}


@dataclass(frozen=True, eq=False)
class Target:
    """A posterior as functions of unconstrained parameters ``u (u,)`` and of the data, any pytree.

    :param log_prior: log density of ``u``, normalised; the evidence depends on it.
    :param log_likelihood: of each frame, ``(frame,)``.
    :param draw: draws of the prior, ``draw(key, count, data) -> (count, u)``.
    """

    log_prior: Callable[[Array, Any], Array]
    log_likelihood: Callable[[Array, Any], Array]
    draw: Callable[[Array, int, Any], Array]


class Run(NamedTuple):
    """One run: particles of the posterior, equally weighted, those of common descent side by side."""

    u: np.ndarray  # (particle, u)
    log_posterior: np.ndarray  # (particle,), not normalised
    log_evidence: float
    thermodynamic: float  # log evidence by integration over temperature; NaN along other paths
    trace: dict[str, np.ndarray]  # (stage,), the prior first


class _Cloud(NamedTuple):
    u: Array
    log_prior: Array  # (particle,)
    log_likelihood: Array  # (particle, frame)


class _Moves(NamedTuple):
    step: float
    accepted: float
    number: int
    kept: float


def forgotten(particles: int) -> float:
    """Rank correlation with their start below which so many particles count as moved on: 0.1 and its noise."""
    return 0.1 + 2.0 / np.sqrt(particles)


@dataclass(frozen=True, eq=False)
class Particles:
    """Moves particles along a path; compiled once for all data of one shape.

    :param ess: effective fraction of the particles that a stage leaves.
    :param accept: acceptance that the step length of moves is adapted to.
    :param moves: most moves in a stage.
    """

    target: Target
    path: Path
    count: int = 1000
    ess: float = 0.7
    accept: float = 0.8
    moves: int = 50

    def run(
        self,
        key: Array,
        data: Any,
        *,
        tell: Callable[[float, dict[str, float]], None] | None = None,
    ) -> Run:
        """From the prior to the posterior of ``data``.

        :param tell: called with t and numbers after each stage.
        :raises FloatingPointError: if no particle has a likelihood, or stages become too short.
        """
        k_start, key = jax.random.split(key)
        cloud = self._start(k_start, data)
        frames = cloud.log_likelihood.shape[1]
        tempered = isinstance(self.path, ByTemperature)
        t, log_z, integral = 0.0, 0.0, 0.0 if tempered else np.nan
        moved = _Moves(float(cloud.u.shape[1] ** -0.25), np.nan, 0, 0.0)
        rows = [_row(t, log_z, cloud, 1.0, moved)]
        at_place = place("smc")
        if (before := at_place.resumed()) is not None:
            key, cloud, t, log_z, integral, moved, rows = before
            cloud = jax.tree.map(jnp.asarray, cloud)
        while t < 1.0:
            at_place.keep((key, cloud, t, log_z, integral, moved, list(rows)))
            if len(rows) > MOST_STAGES:
                raise FloatingPointError(
                    f"{MOST_STAGES} stages led from the prior to {t:.2g} of the likelihood only"
                )
            key, k_pick, k_move = jax.random.split(key, 3)
            log_likelihood = np.asarray(cloud.log_likelihood)
            last, t = t, self._next(t, log_likelihood)
            powers = self.path.powers(t, frames)
            log_weights = _weights(log_likelihood, powers - self.path.powers(last, frames))
            if not np.isfinite(log_weights).any():
                raise FloatingPointError("no particle of the prior gives the data a likelihood")
            log_z += float(log_mean(log_weights))
            at = systematic(log_weights, float(jax.random.uniform(k_pick)), self.count)
            cloud = jax.tree.map(lambda a, at=at: a[at], cloud)
            cloud, moved = self._renewed(k_move, cloud, powers, moved.step, data)
            if tempered:
                after = np.asarray(cloud.log_likelihood).sum(1)
                integral += thermodynamic(log_likelihood.sum(1), after, t - last)
            rows.append(_row(t, log_z, cloud, effective_size(log_weights) / self.count, moved))
            if tell is not None:
                tell(t, {"stage": float(len(rows) - 1), "accepted": moved.accepted})
        trace = {k: np.array([row[k] for row in rows]) for k in rows[0]}
        whole = cloud.log_prior + jnp.sum(cloud.log_likelihood, 1)
        return Run(np.asarray(cloud.u), np.asarray(whole), log_z, integral, trace)

    def _next(self, t: float, log_likelihood: np.ndarray) -> float:
        """How far the next stage goes: until ``ess`` of the particles that have a likelihood are left."""
        frames = log_likelihood.shape[1]
        here = self.path.powers(t, frames)
        wanted = self.ess * np.isfinite(log_likelihood.sum(1)).sum()

        def enough(there: float) -> bool:
            change = self.path.powers(there, frames) - here
            return effective_size(_weights(log_likelihood, change)) >= wanted

        if enough(1.0):
            return 1.0
        low, high = t, 1.0
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if enough(middle) else (low, middle)
        return self.path.stop(t, high, frames)

    def _renewed(
        self, key: Array, cloud: _Cloud, powers: np.ndarray, step: float, data: Any
    ) -> tuple[_Cloud, _Moves]:
        """The particles after as many moves as make them forget where they are."""
        root = _root(np.asarray(cloud.u))
        start = _ranks(np.linalg.solve(root, np.asarray(cloud.u).T))
        accepted, kept, count = np.nan, 1.0, 0
        while count < self.moves and kept > forgotten(self.count):
            leaps = int(np.clip(np.ceil(WAY / step), 1, MOST_LEAPS))
            cloud, rate = self._move(
                jax.random.fold_in(key, count), cloud, powers, root, step, leaps, data
            )
            accepted, count = float(rate), count + 1
            step *= float(np.exp(GAIN * (accepted - self.accept)))
            now = _ranks(np.linalg.solve(root, np.asarray(cloud.u).T))
            kept = float(np.abs(np.mean(start * now, 1)).max())
        return cloud, _Moves(step, accepted, count, kept)

    @cached_property
    def _start(self) -> Callable[[Array, Any], _Cloud]:
        def start(key: Array, data: Any) -> _Cloud:
            u = self.target.draw(key, self.count, data)
            prior, likelihood = jax.lax.map(
                lambda v: (self.target.log_prior(v, data), self.target.log_likelihood(v, data)),
                u,
                batch_size=AT_ONCE,
            )
            return _Cloud(u, prior, likelihood)

        return jax.jit(start)

    @cached_property
    def _move(self) -> Callable[..., tuple[_Cloud, Array]]:
        """One trajectory of every particle, in coordinates in which the cloud is round."""
        target = self.target

        @jax.jit
        def move(
            key: Array,
            cloud: _Cloud,
            powers: Array,
            root: Array,
            step: Array,
            leaps: Array,
            data: Any,
        ) -> tuple[_Cloud, Array]:
            def value(u: Array) -> tuple[Array, tuple[Array, Array]]:
                prior, each = target.log_prior(u, data), target.log_likelihood(u, data)
                # A frame that has not entered counts nothing, whatever its likelihood.
                return prior + powers @ jnp.where(powers > 0.0, each, 0.0), (prior, each)

            slope = jax.value_and_grad(value, has_aux=True)

            def one(args: tuple[Array, Array]) -> Any:
                key, u = args
                k_momentum, k_step, k_accept = jax.random.split(key, 3)
                length = step * jax.random.uniform(k_step, minval=1 - JITTER, maxval=1 + JITTER)
                momentum = jax.random.normal(k_momentum, u.shape, u.dtype)
                (before, old), gradient = slope(u)

                def leap(_: Array, carry: Any) -> Any:
                    u, momentum, gradient, *_ = carry
                    momentum = momentum + 0.5 * length * (root.T @ gradient)
                    u = u + length * (root @ momentum)
                    (after, new), gradient = slope(u)
                    momentum = momentum + 0.5 * length * (root.T @ gradient)
                    return u, momentum, gradient, after, new

                there, end, _, after, new = jax.lax.fori_loop(
                    0, leaps, leap, (u, momentum, gradient, before, old)
                )
                gain = after - before - 0.5 * (end @ end - momentum @ momentum)
                rate = jnp.minimum(1.0, jnp.exp(jnp.nan_to_num(gain, nan=-jnp.inf)))
                accept = jax.random.uniform(k_accept, (), u.dtype) < rate
                found = jax.tree.map(lambda a, b: jnp.where(accept, a, b), (there, new), (u, old))
                return *found, rate

            keys = jax.random.split(key, len(cloud.u))
            u, (prior, each), rate = jax.lax.map(one, (keys, cloud.u), batch_size=AT_ONCE)
            return _Cloud(u, prior, each), jnp.mean(rate)

        return move


def _weights(log_likelihood: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Log weights of a change of powers, ``(particle,)``; none where a likelihood is not a number."""
    at = change > 0.0
    weights: np.ndarray = log_likelihood[:, at] @ change[at]
    return np.where(np.isfinite(weights), weights, -np.inf)


def _row(t: float, log_z: float, cloud: _Cloud, ess: float, moved: _Moves) -> dict[str, float]:
    total = np.asarray(cloud.log_likelihood).sum(1)
    with np.errstate(invalid="ignore"):  # under a prior that has draws of no likelihood
        mean, variance = float(total.mean()), float(total.var(ddof=1))
    return {
        "t": t,
        "log_evidence": log_z,
        "ess": ess,
        "mean": mean,
        "variance": variance,
        "accepted": moved.accepted,
        "moves": float(moved.number),
        "step": moved.step,
        "kept": moved.kept,
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, scaled to mean 0 and variance 1."""
    n = values.shape[-1]
    order = np.argsort(np.argsort(values, axis=-1), axis=-1)
    return np.asarray((order - 0.5 * (n - 1)) / np.sqrt((n**2 - 1) / 12.0))


def _root(u: np.ndarray) -> np.ndarray:
    """A root of the particles' covariance that heavy tails of a prior do not spoil, ``(u, u)``.

    Widths are those between quantiles, correlations those of normal scores; of normal particles it is the covariance.
    """
    count, size = u.shape
    low, high = np.quantile(u, [0.158655, 0.841345], axis=0)
    scores = ndtri((np.argsort(np.argsort(u, axis=0), axis=0) + 0.5) / count)
    held = size / (count + size)  # of few particles, correlations are mostly noise
    correlation = (1.0 - held) * np.atleast_2d(np.corrcoef(scores.T)) + held * np.eye(size)
    widths = np.maximum(0.5 * (high - low), 1e-12)
    return np.asarray(widths[:, None] * np.linalg.cholesky(correlation))
