r"""How the features' means answer to parameters, from what differs between iterations, and how far that leads.

A linear critic at its best makes small

.. math:: \tfrac12\,\Delta(u)^\top W \Delta(u), \qquad \Delta(u) = \langle f\rangle_{mod,u} - \langle f\rangle_{ref},
          \qquad W = \bigl(\tfrac12\operatorname{Cov}_{mod}[f] + \tfrac12\operatorname{Cov}_{ref}[f] + \rho\bigr)^{-1}

near its minimum, with noise and a penalty in :math:`\rho`; by the slope of Eq. 15 of the ARCG paper
:math:`\partial\langle f\rangle/\partial u = \operatorname{Cov}[f, s]`, with scores :math:`s = \beta J^\top(\phi -
\langle\phi\rangle)`. (The method of simulated moments: D. McFadden, Econometrica 57, 995 (1989).)

Where sites are virtual that covariance is what is hard to know. A configuration with its virtual sites may say a
hundred times more of a parameter than what the critic sees of it, and the covariance's error is that of everything:
of n samples, the root of the information :math:`I = \operatorname{Cov}[s]` over n. Iterations whose parameters differ
by h show the same with an error of the root of 2 over n, over h. Both kinds of evidence are weighed by these errors in
one regression of the features on the parameters, in which the covariances are prior means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bayescg.infer.steps import View
from bayescg.observables.blocking import blocked_error

__all__ = ["Answer", "Visit", "visited"]

LEAST_KNOWN = 1e-9  # eigenvalue of the information, each parameter's own being 1
TRUST = 2.0  # standard errors that a share of the information is above, if the critic sees anything
LITTLE = 0.01  # of a parameter's variance, if all were seen
FAR = 1.5  # of the design's own widths along any axis, beyond which an iteration counts little,
ENOUGH, WIDER = 10, 1.2  # if so many are nearer; else farther by that factor
LEAST = 1e-6  # and the least that it counts
BEND = 0.3  # of the change by the end of an axis of the design, what is not straight at most,
STRAIGHT = 1e-3  # and the part of its square that is at least allowed for
HALVINGS = 60  # of the interval that a damping lies in


class Visit(NamedTuple):
    """One iteration: where it simulated, and what was seen there."""

    u: np.ndarray  # (u,)
    means: np.ndarray  # (chain, feature)
    cross: np.ndarray  # (half, feature, u), Cov[f, s] of either half of the chains
    own: np.ndarray  # (feature, feature), Cov[f]
    information: np.ndarray  # (u, u), Cov[s]
    samples: int

    @property
    def memory(self) -> float:
        """Samples of a chain that are worth an independent one, by the features on the average; at least 1."""
        alive = np.diag(self.own) > 0.0
        independent = np.diag(self.own)[alive] * len(self.means) / self.samples
        return max(1.0, float(np.mean(self.means.var(0, ddof=1)[alive] / independent)))


def visited(u: np.ndarray, view: View, scale: np.ndarray) -> Visit:
    """What an iteration has seen at ``u``, of features times ``scale (feature,)``."""
    f, s = view.samples.model * scale, view.scores
    _, chain, count = np.unique(view.chain, return_inverse=True, return_counts=True)
    means = np.zeros((len(count), f.shape[1]))
    np.add.at(means, chain, f)
    halves = [(f[part], s[part]) for part in (chain % 2 == 0, chain % 2 == 1)]
    cross = np.stack([(a - a.mean(0)).T @ (b - b.mean(0)) / len(a) for a, b in halves])
    own, information = (np.atleast_2d(np.cov(a.T)) for a in (f, s))
    return Visit(u, means / count[:, None], cross, own, information, len(f))


class Surface(NamedTuple):
    """Means of features near a point."""

    level: np.ndarray  # (feature,)
    slope: np.ndarray  # (feature, u)
    bend: np.ndarray  # (feature, axis), by the ends of the design's axes


@dataclass(frozen=True, eq=False)
class Answer:
    """What visits say of the features around a point, half of the chains and the others.

    Sixty features, fitted to a few hundred samples, seem to answer to anything; what the halves agree in is real.

    :param visits: at least one.
    :param centre: the point, ``(u,)``.
    :param design: axes that visits lie along, ``(u, axis)``, each as long as it is wide; None: no visit is farther
        away than others, and nothing bends.
    :param reference: features of the data's frames in the order of time, scaled like the visits', ``(frame,
        feature)``.
    :param ridge: what holds a critic back, beside the covariance of the features.
    :param spread: change of the features by the end of an axis, in standard deviations of what is seen.
    """

    visits: Sequence[Visit]
    centre: np.ndarray
    design: np.ndarray | None
    reference: np.ndarray
    ridge: float
    spread: float

    @cached_property
    def _forms(self) -> np.ndarray:
        """Linear forms that are 1 at the ends of the design's axes, ``(axis, u)``."""
        if self.design is None:
            return np.zeros((1, len(self.centre)))  # of no length
        return np.linalg.pinv(self.design)

    @cached_property
    def _near(self) -> np.ndarray:
        """How much each visit counts, for how near it is."""
        away = np.stack([v.u for v in self.visits]) - self.centre
        far = np.max(np.abs(self._forms @ away.T), 0)
        wanted = min(ENOUGH, 0.5 * len(far))

        def near(width: float) -> np.ndarray:
            return np.maximum(np.exp(-0.5 * (far / width) ** 2), LEAST)

        width = FAR
        # A search that has just moved knows little but from farther away.
        while near(width).sum() < wanted:
            width *= WIDER
        return near(width)

    @cached_property
    def _memory(self) -> float:
        return float(np.median([v.memory for v in self.visits]))

    @cached_property
    def _weight(self) -> np.ndarray:
        """The independent samples of each, by that."""
        return self._near * np.array([v.samples for v in self.visits]) / self._memory

    def _mean(self, what: np.ndarray) -> np.ndarray:
        """Over visits."""
        out: np.ndarray = np.tensordot(self._weight / self._weight.sum(), what, 1)
        return out

    @cached_property
    def information(self) -> np.ndarray:
        """What a configuration says, ``(u, u)``."""
        return self._mean(np.stack([v.information for v in self.visits]))

    @cached_property
    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        """A root of the information, ``(u, axis)``, and its inverse."""
        size = np.sqrt(np.diag(self.information))
        size = np.where(size > 0.0, size, 1.0)
        values, vectors = np.linalg.eigh(self.information / np.outer(size, size))
        known = np.sqrt(np.maximum(values, LEAST_KNOWN))
        return size[:, None] * vectors * known, (vectors / known).T / size

    @property
    def _linear(self) -> slice:
        """Of the coefficients, those of the slopes; the level is before them, bends are behind."""
        return slice(1, 1 + len(self.centre))

    @cached_property
    def metric(self) -> np.ndarray:
        """W, ``(feature, feature)``."""
        own = self._mean(np.stack([v.own for v in self.visits]))
        both = 0.5 * (own + np.atleast_2d(np.cov(self.reference.T)))
        out: np.ndarray = np.linalg.inv(both + self.ridge * np.eye(len(both)))
        return out

    @cached_property
    def _regressors(self) -> np.ndarray:
        """``(visit, coefficient)``: level, slopes, bends."""
        away = np.stack([v.u for v in self.visits]) - self.centre
        return np.column_stack([np.ones(len(away)), away, (away @ self._forms.T) ** 2])

    def _prior(self, bends: np.ndarray) -> np.ndarray:
        """Precision of the coefficients before visits are compared, for half of the chains, ``(coefficient,) * 2``.

        In units of one independent sample of a feature of unit variance.

        :param bends: prior variances of one feature's, ``(axis,)``.
        """
        x, linear, inverse = self._regressors, self._linear, self._whole[1]
        out = np.zeros((x.shape[1],) * 2)
        out[linear, linear] = 0.5 * self._weight.sum() * inverse.T @ inverse
        at = np.arange(linear.stop, len(out))
        out[at, at] = 1.0 / bends
        return out

    def _fitted(self, prior: np.ndarray) -> tuple[tuple[Surface, Surface], np.ndarray]:
        """Surfaces by either half of the chains, and the precision of the coefficients of one of them."""
        x, linear = self._regressors, self._linear
        half = 0.5 * self._weight[:, None]
        precision = (x * half).T @ x + prior
        fits = []
        for part in (0, 1):
            means = np.stack([v.means[part::2].mean(0) for v in self.visits])
            right = (x * half).T @ means
            cross = self._mean(np.stack([v.cross[part] for v in self.visits]))
            right[linear] += prior[linear, linear] @ cross.T
            b = np.linalg.solve(precision, right).T
            fits.append(Surface(b[:, 0], b[:, linear], b[:, linear.stop :]))
        return (fits[0], fits[1]), precision

    @cached_property
    def _known(self) -> tuple[tuple[Surface, Surface], np.ndarray]:
        """The same, with as much bending as there is: along most axes little, which would only cost certainty."""
        count = len(self.metric)
        widest = np.full(len(self._forms), (BEND * self.spread) ** 2)
        (one, other), _ = self._fitted(self._prior(widest / count))
        found = np.einsum("fa,fg,ga->a", one.bend, self.metric, other.bend)
        return self._fitted(self._prior(np.clip(found, STRAIGHT * widest, widest) / count))

    @property
    def surfaces(self) -> tuple[Surface, Surface]:
        """By either half of the chains."""
        return self._known[0]

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Axes' inverse ``(axis, u)``, the share of the information that is seen along each, and its error.

        Shares grow from the first to the last.
        """
        one, other = (s.slope for s in self.surfaces)
        inverse = self._whole[1]
        h = inverse @ one.T @ self.metric @ other @ inverse.T
        share, turn = np.linalg.eigh(0.5 * (h + h.T))
        inverse = turn.T @ inverse
        slopes = np.linalg.inv(self._known[1])[self._linear, self._linear]
        # Of one feature's slope, squared.
        error = np.einsum("au,uv,av->a", inverse, slopes, inverse)
        return inverse, share, np.sqrt(len(self.metric)) * error

    @cached_property
    def _slope_error(self) -> np.ndarray:
        """Of the slope along axes, for what the features' answer is not known, ``(axis,)``."""
        one, other = (s.level - self.reference.mean(0) for s in self.surfaces)
        apart = max(0.0, float(one @ self.metric @ other))
        out: np.ndarray = np.sqrt(apart * self._seen[2] / np.sqrt(len(self.metric)))
        return out

    @property
    def share(self) -> np.ndarray:
        """Part of the information along each of its axes that the critic sees, ``(axis,)``."""
        return self._seen[1]

    @cached_property
    def _floor(self) -> np.ndarray:
        """What a share is taken for at least: where next to nothing is seen, a step is not to be long."""
        return np.maximum(self.share, np.maximum(TRUST * self._seen[2], LEAST))

    @property
    def unseen(self) -> np.ndarray:
        """Parameters that something depends on of which nothing can be told, ``(u,)``."""
        inverse, share, error = self._seen
        part, blind = inverse.T**2, share <= TRUST * error
        out: np.ndarray = part[:, blind].sum(1) > LITTLE * part.sum(1)
        return out

    @cached_property
    def _slope(self) -> np.ndarray:
        """Of the divergence at the centre, along axes: what one half misses by how the other answers."""
        goal = self.reference.mean(0)
        parts = [
            a.slope.T @ self.metric @ (b.level - goal)
            for a, b in (self.surfaces, self.surfaces[::-1])
        ]
        out: np.ndarray = self._seen[0] @ (0.5 * (parts[0] + parts[1]))
        return out

    def optimum(self, longest: float) -> tuple[np.ndarray, bool]:
        """Where the divergence is least, at most that far in standard deviations of what a configuration says; and
        whether it is that whole way.

        What is known only to be so far away, and of which the slope knows less, is left for later visits: along an axis
        with share q and a slope with error e the best guess of x is less than slope / q by e^2 / (q longest)^2.
        """
        inverse, *_ = self._seen
        held = self._slope_error**2 / (self._floor * longest**2)
        along = self._slope

        def step(damping: float) -> np.ndarray:
            """In axes, whose unit is a standard deviation of what a configuration says."""
            return -along / (self._floor + held + damping)

        low, high = 0.0, 0.0
        if np.linalg.norm(step(0.0)) > longest:  # what is hardly seen gives way first
            high = float(np.linalg.norm(along)) / longest
            for _ in range(HALVINGS):
                middle = 0.5 * (low + high)
                short = np.linalg.norm(step(middle)) <= longest
                low, high = (low, middle) if short else (middle, high)
        return self.centre + inverse.T @ step(high), high == 0.0

    def errors(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors of an optimum ``u`` from the model's samples and from the data's frames, ``(u,)`` each."""
        inverse, *_ = self._seen
        jacobian = 0.5 * (self.surfaces[0].slope + self.surfaces[1].slope)
        answer = inverse.T @ ((inverse @ jacobian.T @ self.metric) / self._floor[:, None])
        d = u - self.centre
        at = np.concatenate([[1.0], d, (self._forms @ d) ** 2])
        square, freedom = np.zeros(len(u)), 0.0
        for v, near in zip(self.visits, self._near, strict=True):
            off = (v.means - v.means.mean(0)) @ answer.T
            square += near * v.samples / (len(off) * self._memory) * np.sum(off**2, 0)
            freedom += near * (len(off) - 1)
        sample = square / freedom  # variance of an independent one
        # The mean of two halves has half of the variance of each.
        by_model = np.sqrt(sample * 0.5 * (at @ np.linalg.solve(self._known[1], at)))
        return by_model, blocked_error(self.reference @ answer.T)

    def axes(self, reach: float) -> np.ndarray:
        """The next design, ``(u, axis)``: as long as changes ``spread`` of what is seen, at most ``reach`` of all."""
        length = np.minimum(reach, self.spread / np.sqrt(self._floor))
        out: np.ndarray = self._seen[0].T * length
        return out
