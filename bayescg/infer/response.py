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

Parameters are taken along axes of the information, x, in standard deviations of what a configuration says; there the
information is 1. What says nothing has no axis, and stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bayescg.infer.steps import View
from bayescg.observables.blocking import blocked_error

__all__ = ["Answer", "Visit", "visited"]

LEAST_KNOWN = 1e-9  # eigenvalue of the information, each parameter's own being 1, that has an axis
ROUND_OFF = 1e-10  # of a score or a feature, relative to its size, that does not vary
TRUST = 3.0  # standard errors that a share of the information is above, if the critic sees anything
LEAST_SHARE = 1e-6  # that a step is divided by
LITTLE = 0.01  # of a parameter's variance, if all were seen
FAR = 1.5  # of the design's own widths along any axis, beyond which an iteration counts little,
ENOUGH, WIDER = 10, 1.2  # if so many are nearer; else farther by that factor
LEAST_WEIGHT = 1e-6  # of an iteration that is far away
BEND = 0.3  # of the change by the end of an axis of the design, what is not straight at most,
STRAIGHT = 1e-3  # and the part of its square that is at least allowed for
WIDEST = 8.0  # of a design, in standard deviations of what a configuration says
HALVINGS = 60  # of the interval that a damping lies in


class Visit(NamedTuple):
    """One iteration: where it simulated, and what was seen there."""

    u: np.ndarray  # (u,)
    means: (
        np.ndarray
    )  # (chain, feature), all chains' mean for those of which nothing could be measured
    cross: np.ndarray  # (half, feature, u), Cov[f, s] of the chains with even numbers, and with odd
    own: np.ndarray  # (feature, feature), Cov[f]
    information: np.ndarray  # (u, u), Cov[s]
    samples: int

    @property
    def memory(self) -> float:
        """Samples of a chain that are worth an independent one, by the features on the average; at least 1."""
        alive = np.diag(self.own) > 0.0
        if not alive.any():
            return 1.0
        independent = np.diag(self.own)[alive] * len(self.means) / self.samples
        return max(1.0, float(np.mean(self.means.var(0, ddof=1)[alive] / independent)))


def visited(u: np.ndarray, view: View, scale: np.ndarray) -> Visit | None:
    """What an iteration has seen at ``u``, of features times ``scale (feature,)``; None: too few chains to say."""
    f, s = view.samples.model * scale, view.scores
    count = np.bincount(view.chain, minlength=view.chains)
    if min((count[half::2] > 0).sum() for half in (0, 1)) < 2:
        return None
    means = np.zeros((view.chains, f.shape[1]))
    np.add.at(means, view.chain, f)
    means = np.where(count[:, None] > 0, means / np.maximum(count, 1)[:, None], f.mean(0))
    off = s - s.mean(0)
    off[:, off.std(0) <= ROUND_OFF * np.abs(s).max(0)] = 0.0
    cross = []
    for half in (0, 1):
        a, b = (part[view.chain % 2 == half] for part in (f, off))
        cross.append((a - a.mean(0)).T @ (b - b.mean(0)) / len(a))
    own, information = (
        (part - part.mean(0)).T @ (part - part.mean(0)) / len(f) for part in (f, off)
    )
    return Visit(u, means, np.stack(cross), own, information, len(f))


class Surface(NamedTuple):
    """Means of features near a point."""

    level: np.ndarray  # (feature,)
    slope: np.ndarray  # (feature, axis), by x
    bend: np.ndarray  # (feature, axis of the design), at its end


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
    def _away(self) -> np.ndarray:
        """``(visit, u)``"""
        return np.stack([v.u for v in self.visits]) - self.centre

    @cached_property
    def _forms(self) -> np.ndarray:
        """Linear forms that are 1 at the ends of the design's axes, ``(axis, u)``."""
        if self.design is None:
            return np.zeros((1, len(self.centre)))  # of no length
        return np.linalg.pinv(self.design)

    @cached_property
    def _near(self) -> np.ndarray:
        """How much each visit counts, for how near it is."""
        far = np.max(np.abs(self._forms @ self._away.T), 0, initial=0.0)
        wanted = min(ENOUGH, 0.5 * len(far))

        def near(width: float) -> np.ndarray:
            return np.maximum(np.exp(-0.5 * (far / width) ** 2), LEAST_WEIGHT)

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
    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        """A root of the information, ``(u, axis)``: x is its transpose times u; and ``(axis, u)``: the other way."""
        information = self._mean(np.stack([v.information for v in self.visits]))
        size = np.sqrt(np.diag(information))
        size = np.where(size > 0.0, size, 1.0)
        values, vectors = np.linalg.eigh(information / np.outer(size, size))
        said = values > LEAST_KNOWN
        root, vectors = np.sqrt(values[said]), vectors[:, said]
        return size[:, None] * vectors * root, (vectors / root).T / size

    @property
    def root(self) -> np.ndarray:
        """From u to x, transposed, ``(u, axis)``."""
        return self._axes[0]

    @cached_property
    def metric(self) -> np.ndarray:
        """W, ``(feature, feature)``."""
        both = 0.5 * (self._own + np.atleast_2d(np.cov(self.reference.T)))
        out: np.ndarray = np.linalg.inv(both + self.ridge * np.eye(len(both)))
        return out

    @cached_property
    def _own(self) -> np.ndarray:
        return self._mean(np.stack([v.own for v in self.visits]))

    @cached_property
    def _count(self) -> tuple[float, float]:
        """Features that the metric counts, and the square sum: traces of W Cov[f] and of its square."""
        counted = self.metric @ self._own
        return float(np.trace(counted)), float(np.sum(counted * counted.T))

    @cached_property
    def _regressors(self) -> np.ndarray:
        """``(visit, coefficient)``: level, slopes, bends."""
        x, bent = self._away @ self._axes[0], (self._away @ self._forms.T) ** 2
        return np.column_stack([np.ones(len(x)), x, bent])

    @property
    def _linear(self) -> slice:
        """Of the coefficients, those of the slopes; the level is before them, bends are behind."""
        return slice(1, 1 + self._axes[0].shape[1])

    def _prior(self, bends: np.ndarray) -> np.ndarray:
        """Precision of the coefficients before visits are compared, for half of the chains, ``(coefficient,)``.

        In units of one independent sample of a feature of unit variance.

        :param bends: prior variances of one feature's, ``(axis,)``.
        """
        linear = self._linear
        slopes = np.full(linear.stop - linear.start, 0.5 * self._weight.sum())
        return np.concatenate([[0.0], slopes, 1.0 / bends])

    def _fitted(self, prior: np.ndarray) -> tuple[tuple[Surface, Surface], np.ndarray]:
        """Surfaces by either half of the chains, and the precision of the coefficients of one of them."""
        z, linear, inverse = self._regressors, self._linear, self._axes[1]
        half = 0.5 * self._weight[:, None]
        precision = (z * half).T @ z + np.diag(prior)
        fits = []
        for part in (0, 1):
            means = np.stack([v.means[part::2].mean(0) for v in self.visits])
            right = (z * half).T @ means
            cross = self._mean(np.stack([v.cross[part] for v in self.visits])) @ inverse.T
            right[linear] += prior[linear, None] * cross.T
            b = np.linalg.solve(precision, right).T
            fits.append(Surface(b[:, 0], b[:, linear], b[:, linear.stop :]))
        return (fits[0], fits[1]), precision

    @cached_property
    def _known(self) -> tuple[tuple[Surface, Surface], np.ndarray]:
        """The same, with as much bending as there is: along most axes little, which would only cost certainty."""
        count = max(self._count[0], 1.0)
        widest = np.full(len(self._forms), (BEND * self.spread) ** 2)
        (one, other), _ = self._fitted(self._prior(widest / count))
        found = np.einsum("fa,fg,ga->a", one.bend, self.metric, other.bend)
        return self._fitted(self._prior(np.clip(found, STRAIGHT * widest, widest) / count))

    @property
    def surfaces(self) -> tuple[Surface, Surface]:
        """By either half of the chains."""
        return self._known[0]

    @cached_property
    def _covariance(self) -> np.ndarray:
        """Of the coefficients of one feature by half of the chains, ``(coefficient, coefficient)``."""
        return np.linalg.inv(self._known[1])

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Axes along which the critic sees by itself ``(axis, axis)``, the share of the information that it sees along
        each, and its error. Shares grow from the first to the last.
        """
        one, other = (s.slope for s in self.surfaces)
        h = one.T @ self.metric @ other
        share, turn = np.linalg.eigh(0.5 * (h + h.T))
        own = np.einsum("xa,xy,ya->a", turn, self._covariance[self._linear, self._linear], turn)
        return turn, share, np.sqrt(self._count[1]) * own

    @property
    def share(self) -> np.ndarray:
        """Part of the information along each of its axes that the critic sees, ``(axis,)``."""
        return self._seen[1]

    @cached_property
    def _floor(self) -> np.ndarray:
        """What a share is taken for at least: where next to nothing is seen, a step is not to be long."""
        return np.maximum(self.share, np.maximum(TRUST * self._seen[2], LEAST_SHARE))

    @cached_property
    def _to_u(self) -> np.ndarray:
        """From those axes to u, ``(u, axis)``."""
        out: np.ndarray = self._axes[1].T @ self._seen[0]
        return out

    @property
    def unseen(self) -> np.ndarray:
        """Parameters that something depends on of which nothing can be told, ``(u,)``."""
        _, share, error = self._seen
        part, blind = self._to_u**2, share <= TRUST * error
        total = part.sum(1)
        out: np.ndarray = (part[:, blind].sum(1) > LITTLE * total) | (total == 0.0)
        return out

    @cached_property
    def _slope(self) -> np.ndarray:
        """Of the divergence at the centre, along axes: what one half misses by how the other answers."""
        goal = self.reference.mean(0)
        parts = [
            a.slope.T @ self.metric @ (b.level - goal)
            for a, b in (self.surfaces, self.surfaces[::-1])
        ]
        out: np.ndarray = self._seen[0].T @ (0.5 * (parts[0] + parts[1]))
        return out

    @cached_property
    def _slope_variance(self) -> np.ndarray:
        """Of the slope along axes, for what the features' answer is not known, ``(axis, axis)``; of both halves."""
        one, other = (s.level - self.reference.mean(0) for s in self.surfaces)
        apart = max(0.0, float(one @ self.metric @ other))
        turn = self._seen[0]
        out: np.ndarray = 0.5 * apart * turn.T @ self._covariance[self._linear, self._linear] @ turn
        return out

    def optimum(self, longest: float) -> tuple[np.ndarray, np.ndarray]:
        """Where the divergence is least, at most that far in standard deviations of what a configuration says; and the
        whole step there, ``(u,)`` each.

        What is known only to be so far away, and of which the slope knows less, is left for later visits: along an axis
        with share q and a slope with error e, the step is divided by 1 + (e / (q longest))^2.
        """
        held = np.diag(self._slope_variance) / (self._floor * longest**2)

        def step(damping: float) -> np.ndarray:
            """Along axes, whose unit is a standard deviation of what a configuration says."""
            return -self._slope / (self._floor + held + damping)

        low, high = 0.0, 0.0
        if np.linalg.norm(step(0.0)) > longest:  # what is hardly seen gives way first
            high = float(np.linalg.norm(self._slope)) / longest
            for _ in range(HALVINGS):
                middle = 0.5 * (low + high)
                short = np.linalg.norm(step(middle)) <= longest
                low, high = (low, middle) if short else (middle, high)
        whole = -self._to_u @ (self._slope / self._floor)
        return self.centre + self._to_u @ step(high), whole

    def errors(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors of an optimum ``u`` from the model's samples and from the data's frames, ``(u,)`` each.

        The first are of what the features are, by the spread between chains, which remember one visit in the next; and
        of how they answer, where model and data are not the same.
        """
        slope = 0.5 * (self.surfaces[0].slope + self.surfaces[1].slope) @ self._seen[0]
        to_u = self._to_u / self._floor
        answer = to_u @ slope.T @ self.metric  # (u, feature)
        d = u - self.centre
        at = np.concatenate([[1.0], d @ self._axes[0], (self._forms @ d) ** 2])
        counts = 0.5 * self._weight * (self._regressors @ (self._covariance @ at))  # of each visit
        chains = sum(
            c * (v.means - v.means.mean(0)) for c, v in zip(counts, self.visits, strict=True)
        )
        off = np.asarray(chains) @ answer.T  # (chain, u)
        level = np.sum(off**2, 0) / (len(off) * (len(off) - 1))
        response = np.einsum("ua,ab,ub->u", to_u, self._slope_variance, to_u)
        return np.sqrt(level + response), blocked_error(self.reference @ answer.T)

    @property
    def least_certain(self) -> int:
        """Axis whose share is known least, relative to it."""
        return int(np.argmax(self._seen[2] / self._floor))

    def axes(self, reach: float) -> np.ndarray:
        """The next design, ``(u, axis)``: as long as changes ``spread`` of what is seen, and no parameter by more than
        ``reach``."""
        most = reach / np.maximum(np.abs(self._to_u).max(0, initial=0.0), 1e-300)
        length = np.minimum(np.minimum(most, WIDEST), self.spread / np.sqrt(self._floor))
        out: np.ndarray = self._to_u * length
        return out
