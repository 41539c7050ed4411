r"""Estimates from linear equations summed over frames: their posterior, and spreads that frames vouch for.

The equations are :math:`A c = b` with :math:`A = \sum_t G_t^T G_t` and, for forces, :math:`b = \sum_t G_t^T F_t`. With
normal residuals of variance :math:`\sigma^2` that are independent of each other the posterior of c is normal and
known exactly. Residuals of one frame are not independent, and that posterior is far too narrow: what the estimate would
be on other frames is told by the spread of the equations over blocks of frames.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.linalg import solve_triangular

__all__ = ["ARD", "Equations", "Flat", "Normal", "Prior", "Solution", "solve"]

ROUND_OFF = (
    1e-12  # of the largest eigenvalue of the scaled matrix, below which a direction is unknown
)
LEVERAGE = (
    0.9  # of what a block knows, in the estimate without it: some directions only one block knows
)
STEPS = 500  # at most, of EM for the precisions of ARD
SETTLED = 1e-6  # posterior standard deviations that its last step may move a coefficient


class Equations(NamedTuple):
    """Linear equations ``square @ c = target``, summed over blocks of successive frames."""

    square: np.ndarray  # (block, term, term)
    target: np.ndarray  # (block, term)
    power: np.ndarray  # (block,), sum of squares of what is fitted; NaN where it is not known
    numbers: np.ndarray  # (block,), how many numbers are fitted
    frames: np.ndarray  # (block,)

    def of(self, at: np.ndarray) -> "Equations":
        """Those of some blocks."""
        return Equations(*(part[at] for part in self))

    def merged(self, blocks: int) -> "Equations":
        """So many blocks of successive ones, as equal as they can be."""
        parts = np.array_split(np.arange(len(self.frames)), blocks)
        return Equations(*(np.stack([part[at].sum(0) for at in parts]) for part in self))

    def reduced(self, natural: np.ndarray, known: np.ndarray) -> "Equations":
        """Those of ``a`` in ``c = natural @ a + known``.

        :param natural: ``(term, new term)``; ``known``: ``(term,)``.
        """
        given = self.square @ known
        power = self.power - 2.0 * self.target @ known + given @ known
        target = (self.target - given) @ natural
        return Equations(
            natural.T @ self.square @ natural, target, power, self.numbers, self.frames
        )


@dataclass(frozen=True, eq=False)
class Flat:
    """No prior.

    :param extension: ``(term, kept)``: coefficients from those that the frames can tell.
    """

    extension: np.ndarray


@dataclass(frozen=True, eq=False)
class Normal:
    """A normal prior of the coefficients; ``precision (term, term)``, ``mean (term,)``."""

    precision: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class ARD:
    """Normal priors with precisions of their own, Gamma(a0, b0) each, integrated out."""

    a0: float
    b0: float


Prior = Flat | Normal | ARD


@dataclass(frozen=True, eq=False)
class Solution:
    """An estimate, and what its spread is made of."""

    equations: Equations
    mean: np.ndarray  # (term,)
    root: (
        np.ndarray
    )  # (term, direction), root @ root.T the inverse of ``square + variance * precision``
    variance: float  # of residuals; NaN where they are not known
    prior: Normal | None  # ARD at its precisions; None: flat
    condition: float  # of the scaled matrix, in the directions that are known
    lost: int  # directions that nothing is known of
    settled: bool = True

    @property
    def residual(self) -> float:
        """Sum of squares of residuals."""
        return _residual(self.equations, self.mean)

    @property
    def scores(self) -> np.ndarray:
        """What each block would move the estimate by, ``(block, direction)``, in units of ``root``."""
        e = self.equations
        return (e.target - e.square @ self.mean) @ self.root

    def independent(self) -> np.ndarray:
        """Root ``(term, direction)`` of the covariance if residuals were independent."""
        return np.sqrt(self.variance) * self.root

    def sandwich(self) -> tuple[np.ndarray, np.ndarray]:
        """Roots of the covariance that blocks show, and of the prior's share in it.

        The estimate's changes as each block is left out (the jackknife, a sandwich whose middle is
        corrected for leverage): the posterior's covariance with the likelihood's share of it measured.

        :return: ``(term, block)``, of ``block - 1`` degrees of freedom, and ``(term, term or 0)``.
        """
        e, blocks = self.equations, len(self.equations.frames)
        held = np.eye(self.root.shape[1]) - LEVERAGE * (self.root.T @ e.square @ self.root)
        moved = self.root @ np.linalg.solve(held, self.scores[..., None])[..., 0].T
        moved = (moved - moved.mean(1, keepdims=True)) * np.sqrt((blocks - 1) / blocks)
        if self.prior is None:
            return moved, np.zeros((len(self.mean), 0))
        values, vectors = np.linalg.eigh(self.prior.precision)
        share = vectors * np.sqrt(np.maximum(values, 0.0))
        return moved, self.variance * (self.root @ (self.root.T @ share))

    def bagged(self, rng: np.random.Generator, draws: int) -> np.ndarray:
        """Draws ``(draw, term)`` from the posteriors of frames with random weights.

        Every draw weighs the blocks by a Dirichlet distribution (D. B. Rubin, Ann. Statist. 9, 130
        (1981); its concentration makes the variance of a mean unbiased), solves anew, and draws from
        that posterior (if residuals are known).
        """
        e, root = self.equations, self.root
        blocks = len(e.frames)
        square = root.T @ e.square @ root
        left = np.eye(root.shape[1]) - square.sum(0)
        scores = self.scores
        rest = -scores.sum(0)  # the prior's gradient
        out = []
        concentration = np.full(blocks, max(1.0 - 2.0 / blocks, 0.1))
        for weight in blocks * rng.dirichlet(concentration, draws):
            lower = np.linalg.cholesky(left + np.tensordot(weight, square, 1))
            move = solve_triangular(lower, weight @ scores + rest, lower=True)
            if np.isfinite(self.variance):
                move = move + np.sqrt(self.variance) * rng.normal(size=len(move))
            out.append(root @ solve_triangular(lower, move, lower=True, trans=1))
        return self.mean + np.array(out)

    def draws(self, form: str, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draws ``(draw, term)``; ``form``: ``sandwich``, ``bagged`` or ``independent``."""
        if form == "bagged":
            return self.bagged(rng, count)
        if form == "independent":
            root = self.independent()
            return self.mean + rng.normal(size=(count, root.shape[1])) @ root.T
        moved, share = self.sandwich()
        free = moved.shape[1] - 1
        wide = np.sqrt(free / rng.chisquare(free, count))[:, None]
        normal = rng.normal(size=(count, share.shape[1])) @ share.T
        return self.mean + normal + wide * (rng.normal(size=(count, free + 1)) @ moved.T)

    def error(self, form: str, rng: np.random.Generator | None = None) -> np.ndarray:
        """Standard error of each coefficient."""
        if form == "bagged":
            assert rng is not None
            return np.asarray(self.bagged(rng, 200).std(0, ddof=1))
        roots = (self.independent(),) if form == "independent" else self.sandwich()
        return np.sqrt(sum(np.sum(r * r, 1) for r in roots))

    def coverage(
        self, forms: tuple[str, ...], at: np.ndarray, rng: np.random.Generator, level: float = 0.9
    ) -> dict[str, float]:
        """How often intervals for coefficients hold up on frames that were held out.

        The blocks are cut in two halves at several places, the estimate is made on each, and the two
        must lie as near each other as their intervals say.

        :param at: the coefficients that are looked at.
        :return: the fraction of them that do, averaged, for each form; NaN for fewer than 8 blocks.
        """
        blocks = len(self.equations.frames)
        if blocks < 8 or not len(at):
            return dict.fromkeys(forms, float("nan"))
        half = blocks // 2
        held: dict[str, list[float]] = {form: [] for form in forms}
        for start in np.unique(np.linspace(0, half, 4, endpoint=False).astype(int)):
            order = np.roll(np.arange(blocks), -start)
            pair = [self._again(order[:half]), self._again(order[half:])]
            if any(s.lost for s in pair):
                continue  # what only one half has seen
            gap = np.abs(pair[0].mean - pair[1].mean)[at]
            for form in forms:
                spread = np.hypot(*(s.error(form, rng)[at] for s in pair))
                free = blocks - 2 if form == "sandwich" else np.inf
                held[form].append(
                    float(np.mean(gap <= stats.t.isf(0.5 - 0.5 * level, free) * spread))
                )
        return {form: float(np.mean(v)) if v else float("nan") for form, v in held.items()}

    def _again(self, at: np.ndarray) -> "Solution":
        """The same of some blocks, in the same directions and with the same precisions."""
        return solve(self.equations.of(at), self.prior or Flat(self.root))


def _residual(e: Equations, c: np.ndarray) -> float:
    total = e.power.sum() - 2.0 * e.target.sum(0) @ c + c @ e.square.sum(0) @ c
    return float(max(total, 0.0))


def _root(square: np.ndarray, floor: float) -> tuple[np.ndarray, float, int]:
    """Root of the inverse of a matrix, its scaled condition number, and directions left out."""
    size = np.sqrt(np.diag(square))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0.0)
    values, vectors = np.linalg.eigh(square * np.outer(scale, scale))
    kept = values > floor * max(values[-1], 0.0)
    root = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    condition = float(values[-1] / values[kept][0]) if kept.any() else 1.0
    return root, condition, int((~kept).sum())


def solve(equations: Equations, prior: Prior, variance: float | None = None) -> Solution:
    r"""The estimate under a prior.

    The variance of residuals is profiled: residual sum of squares over the numbers fitted less the
    effective number of coefficients. ARD's precisions are at their expectations given the
    coefficients, :math:`(a_0 + 1/2)/(b_0 + c^2/2)`: the mode, tau integrated out, that EM reaches from least
    squares.

    :param variance: of residuals, where it is known.
    """
    if isinstance(prior, Flat):
        return _solve_flat(equations, prior, variance)
    if isinstance(prior, Normal):
        return _solve_normal(equations, prior, variance)
    return _solve_ard(equations, prior, variance)


def _solve_flat(e: Equations, prior: Flat, variance: float | None) -> Solution:
    extension = prior.extension
    square = extension.T @ e.square.sum(0) @ extension
    root, condition, lost = _root(square, ROUND_OFF)
    root = extension @ root
    mean = root @ (root.T @ e.target.sum(0))
    if variance is None:
        variance = _residual(e, mean) / max(float(e.numbers.sum()) - root.shape[1], 1.0)
    return Solution(e, mean, root, variance, None, condition, lost)


def _solve_normal(e: Equations, prior: Normal, variance: float | None) -> Solution:
    if variance is not None:
        return _given(e, prior, variance)
    variance = float(e.power.sum() / e.numbers.sum())
    for _ in range(STEPS):
        now = _given(e, prior, variance)
        old, variance = variance, _profiled(now)
        if abs(variance - old) <= 1e-12 * old:
            break
    return _given(e, prior, variance)


def _given(e: Equations, prior: Normal, variance: float) -> Solution:
    """The posterior mean for a known variance of residuals."""
    pull = variance * prior.precision
    root, condition, lost = _root(e.square.sum(0) + pull, np.finfo(float).eps)
    mean = root @ (root.T @ (e.target.sum(0) + pull @ prior.mean))
    return Solution(e, mean, root, variance, prior, condition, lost)


def _profiled(s: Solution) -> float:
    """Variance of residuals, from what is left and the effective number of coefficients."""
    assert s.prior is not None
    held = s.variance * np.sum((s.prior.precision @ s.root) * s.root)
    used = s.root.shape[1] - held
    return s.residual / max(float(s.equations.numbers.sum()) - used, 1.0)


def _solve_ard(e: Equations, prior: ARD, variance: float | None) -> Solution:
    terms = e.target.shape[1]
    now = _solve_flat(e, Flat(np.eye(terms)), variance)
    settled = False
    for _ in range(STEPS):
        tau = (prior.a0 + 0.5) / (prior.b0 + 0.5 * now.mean**2)
        new = _given(e, Normal(np.diag(tau), np.zeros(terms)), variance or now.variance)
        if variance is None:
            new = replace(new, variance=_profiled(new))
        moved = np.abs(new.mean - now.mean)
        settled = bool(np.all(moved <= SETTLED * new.error("independent")))
        now = new
        if settled:
            break
    assert now.prior is not None
    return replace(_given(e, now.prior, now.variance), settled=settled)
