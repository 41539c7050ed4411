r"""Samples of the model from several iterations of a search, reweighted to where it is now.

Samples at natural parameters :math:`\eta_k`, :math:`n_k` of each, are those of one mixture, so that at :math:`\eta`

.. math:: w_i \propto \frac{e^{\eta\cdot\phi_i}}{\sum_k n_k e^{\eta_k\cdot\phi_i - \log Z_k}}

with the :math:`Z_k` that make it consistent (multistate reweighting; M. R. Shirts and J. D. Chodera, J. Chem. Phys.
129, 124105 (2008)). What lies far away gets no weight by itself, and the latest samples, taken at :math:`\eta`, always
have theirs.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from scipy.special import logsumexp

__all__ = ["Pool", "Weighted"]

MOST = 128  # iterations kept: what is weighed grows as their square
ROUNDS = 100  # of the self-consistent equations, which begin where they ended before
SETTLED = 1e-4  # change of a log Z in one of them


class Weighted(NamedTuple):
    """Samples and their weights; those of a chain lie side by side."""

    samples: np.ndarray  # (sample, column)
    weight: np.ndarray  # (sample,), adding up to one
    chain: np.ndarray  # (sample,), which one it is from


@dataclass(frozen=True, eq=False)
class Pool:
    """What is kept of the iterations.

    :param reuse: part of the iterations so far whose samples are kept, the latest; 0: the present ones alone.
    :param terms: leading columns of samples that are sufficient statistics.
    :param eta: natural parameters times beta of each iteration kept, a row each.
    :param taken: their samples, ``(chain, sample, column)``, NaN where none could be measured.
    :param log_z: theirs, relative to the first.
    """

    reuse: float
    terms: int
    seen: int = 0
    eta: tuple[np.ndarray, ...] = ()
    taken: tuple[np.ndarray, ...] = ()
    log_z: np.ndarray | None = None

    def after(self, eta: np.ndarray, taken: np.ndarray) -> Self:
        """With the samples of one iteration more.

        :param eta: ``(term,)``; ``taken``: ``(chain, sample, column)``.
        """
        seen = self.seen + 1
        keep = min(MOST, max(1, int(self.reuse * seen)))
        etas, all_taken = (*self.eta, eta)[-keep:], (*self.taken, taken)[-keep:]
        new = replace(self, seen=seen, eta=etas, taken=all_taken)
        if keep == 1:
            return replace(new, log_z=np.zeros(1))
        old = np.zeros(0) if self.log_z is None else self.log_z
        # Where the new one stands the old ones know, if samples were kept at all.
        first = [*old, self._change(eta) if self.eta else 0.0]
        return replace(new, log_z=new._consistent(np.asarray(first)[-keep:]))

    def at(self, eta: np.ndarray) -> Weighted:
        """The samples, weighted for ``eta (term,)``; what could not be measured is left out."""
        flat, chain = self._flat
        if len(self.eta) == 1:
            return Weighted(flat, np.full(len(flat), 1.0 / max(len(flat), 1)), chain)
        phi = flat[:, : self.terms]
        log_w = phi @ eta - self._mixture(phi)
        weight = np.exp(log_w - log_w.max())
        return Weighted(flat, weight / weight.sum(), chain)

    @cached_property
    def _flat(self) -> tuple[np.ndarray, np.ndarray]:
        """What could be measured, and the chain of each."""
        both = np.concatenate(self.taken, 1)
        chain = np.repeat(np.arange(both.shape[0]), both.shape[1])
        flat = both.reshape(-1, both.shape[2])
        good = np.isfinite(flat).all(1)
        return flat[good], chain[good]

    def _counts(self) -> np.ndarray:
        return np.array([max(1, int(np.isfinite(t).all(2).sum())) for t in self.taken], float)

    def _mixture(self, phi: np.ndarray) -> np.ndarray:
        """Log density of the mixture up to a constant, ``(sample,)``."""
        energy = phi @ np.stack(self.eta, 1) - self.log_z
        out: np.ndarray = logsumexp(energy, b=self._counts(), axis=1)
        return out

    def _change(self, eta: np.ndarray) -> float:
        """log Z at ``eta`` by the samples that there are."""
        phi = self._flat[0][:, : self.terms]
        return float(logsumexp(phi @ eta - self._mixture(phi))) if len(phi) else 0.0

    def _consistent(self, log_z: np.ndarray) -> np.ndarray:
        phi = self._flat[0][:, : self.terms]
        if not len(phi):
            return log_z
        energy = phi @ np.stack(self.eta, 1)
        counts = self._counts()
        for _ in range(ROUNDS):
            mixture = logsumexp(energy - log_z, b=counts, axis=1)
            new = logsumexp(energy - mixture[:, None], axis=0)
            new -= new[0]
            moved = np.abs(new - (log_z - log_z[0])).max()
            log_z = new
            if moved < SETTLED:
                break
        return log_z
