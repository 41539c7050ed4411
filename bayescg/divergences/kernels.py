r"""Divergences whose best witness is known in closed form (ARCG paper, Section II.C and Discussion).

For a kernel k the square of the maximum mean discrepancy is

.. math:: \langle k(x, x')\rangle_{mod,mod} - 2\langle k(x, y)\rangle_{mod,ref} + \langle k(y, y')\rangle_{ref,ref},

and its witness, by which its slope is taken, :math:`2\langle k(x, x')\rangle_{x'\sim mod} - 2\langle k(x,
y)\rangle_{y\sim ref}` (A. Gretton et al., J. Mach. Learn. Res. 13, 723 (2012)). With :math:`k = -|x - y|` it is the
energy distance (G. J. Szekely and M. L. Rizzo, J. Stat. Plan. Inference 143, 1249 (2013)).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jax import Array
import numpy as np
from scipy.spatial.distance import cdist

from bayescg.critics import Critic, Labelled, accuracy
from bayescg.divergences.base import Judgement

__all__ = ["KernelDivergence", "energy_distance", "mmd"]


def _gaussians(r: np.ndarray, scale: float) -> np.ndarray:
    """Gaussian kernels of half, once and twice a scale, summed."""
    out = np.zeros_like(r)
    for part in (0.5, 1.0, 2.0):
        out += np.exp(-0.5 * (r / (part * scale)) ** 2)
    return out


def _minus(r: np.ndarray, scale: float) -> np.ndarray:
    return -r


@dataclass(frozen=True)
class KernelDivergence:
    """The squared maximum mean discrepancy of a kernel; its own judge, for it needs no search.

    Pairs of a configuration with itself count in its value, as for populations they must: of n samples
    it is too large by about 1/n. Its slope does not notice.

    :param name: what options call it.
    :param kernel: of distances in the space of features and of their scale, the median distance between model and
        reference.
    :param critical: whether it needs a critic.
    """

    name: str
    kernel: Callable[[np.ndarray, float], np.ndarray]
    critical: bool = False

    def by(self, critic: Critic | None = None, folds: int = 1) -> "KernelDivergence":
        """Itself: the witness has a closed form, and neither critic nor folds are used."""
        return self

    def start(self, key: Array, features: int) -> None:
        """None: nothing is remembered from one judgement to the next."""
        return None

    def __call__(
        self, key: Array, state: Any, samples: Labelled, at: np.ndarray | None = None
    ) -> tuple[None, Judgement]:
        model, reference, p, q = samples
        apart = cdist(model, reference)
        scale = float(np.median(apart)) or 1.0

        def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return self.kernel(cdist(a, b), scale)

        own, cross, theirs = k(model, model), self.kernel(apart, scale), k(reference, reference)
        on_model = own @ p - cross @ q
        on_reference = cross.T @ p - theirs @ q
        value = float(p @ on_model - q @ on_reference)
        # A guess of a configuration's origin must not rest on the configuration itself.
        seen = (
            _without(own @ p, own, p) - cross @ q,
            cross.T @ p - _without(theirs @ q, theirs, q),
        )
        middle = 0.5 * (p @ seen[0] + q @ seen[1])
        right = accuracy(middle - seen[0], middle - seen[1], samples)
        if at is not None:
            on_model = np.mean([k(f, model) @ p - k(f, reference) @ q for f in at], 0)
        return None, Judgement(value, 2.0 * on_model, right, -value)


def _without(mean: np.ndarray, kernel: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Means over all configurations but each one itself."""
    left = np.where(weight < 1.0, 1.0 - weight, 1.0)
    out: np.ndarray = (mean - weight * np.diag(kernel)) / left
    return out


mmd = KernelDivergence("mmd", _gaussians)
energy_distance = KernelDivergence("energy_distance", _minus)
