r"""log Z about one reference, where statistics are normal in all directions but a few.

With samples of one reference and :math:`y = (e - e_0)\cdot(\phi - \langle\phi\rangle)`, the parameters that N frames
leave open lie at :math:`d^2 = \operatorname{Var} y \approx p / N`, and reweighting keeps :math:`e^{-d^2}` of the
samples. Of a liquid nearly all of that is spent on finding out that y is normal. So statistics are split: where they
are not normal (pairs that are rarely so close), weights tilt the samples, and of what is left cumulants are taken under
them,

.. math:: A(e) - A(e_0) - (e - e_0)\cdot\langle\phi\rangle = \log\langle e^{y_1}\rangle
          + \kappa_1(y_2) + \tfrac12\kappa_2(y_2), \qquad y = y_1 + y_2,

which is right to the second order in :math:`y_2`, whatever :math:`y_1` is. A third would add noise where directions are
normal, and where weights leave samples of two kinds it may be anything: minus a thousand in N log Z, of water. Samples
may be drawn elsewhere, with weights that bring them to the reference: where what is rare there is not.

Where the weights leave no samples, log Z has to rise as what is rare becomes common, and a quadratic does not: a count
of mean :math:`\lambda` raises log Z by :math:`\lambda(e^{b t} - 1 - b t)`, which may be a thousand times
:math:`\tfrac12\lambda b^2t^2`. So each direction that is not normal goes on as the count (scaled and centred) that
has its variance and skewness. NUTS, given the quadratic, went where pairs of water fall into each other.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
from jax.tree_util import register_dataclass
import numpy as np

from bayescg.distributions.log_partition.multistate import NOTHING, rounded, smooth

__all__ = ["Directions", "Tilted", "directions", "tilted"]

VARIES = 1e-8  # of the largest variance (in units of how far parameters go), below which a direction is none
NORMAL = 0.15  # skewness and excess kurtosis of what counts as normal
#: Standard deviations of the statistics, and effective samples, between which cumulants go over to what lies beyond.
REACH, SPARSE = (5.0, 6.0), (1000.0, 4000.0)
WALL = 0.5  # width of the wall that begins there
STEEPEST = 30.0  # exponent from which a count's logarithm of Z goes on along its tangent


@dataclass(frozen=True)
class Directions:
    """Independent directions of the statistics.

    :param mean: ``(term,)``.
    :param along: of a statistic less the mean, ``(term, direction)``; each then has variance one.
    :param loading: ``(term, direction)``: covariances of the statistics with each.
    :param normal: of which are normal, ``(direction,)``.
    """

    mean: np.ndarray
    along: np.ndarray
    loading: np.ndarray
    normal: np.ndarray


def _of_count(x: Array) -> Array:
    r""":math:`2(e^x - 1 - x)/x^2`: log Z of a scaled count over that of a normal of its variance."""
    small = jnp.abs(x) < 1e-2
    y = jnp.where(small, 1.0, jnp.minimum(x, STEEPEST))
    last = np.exp(STEEPEST) * jnp.maximum(x - STEEPEST, 0.0)
    whole = jnp.where(small, 1.0, x)
    return jnp.where(
        small, 1.0 + x / 3.0 + x * x / 12.0, 2.0 * (jnp.expm1(y) + last - whole) / whole**2
    )


def directions(statistics: np.ndarray, scale: np.ndarray) -> Directions:
    r"""Directions in which statistics ``(sample, term)`` are as normal, and as much not normal, as can be.

    Whitened z is turned to the eigenvectors of :math:`\langle|z|^2 z z^\top\rangle`, which of independent
    components are those (J.-F. Cardoso, ICASSP 1989, 2109).

    :param statistics: of the reference, and of others at which what is rare there is less so.
    :param scale: how far each natural parameter goes, ``(term,)``: what no parameters that matter can see is left out.
    """
    mean = statistics.mean(0)
    off = (statistics - mean) * scale
    values, vectors = np.linalg.eigh(off.T @ off / len(off))
    seen = values > VARIES * values[-1]
    root = vectors[:, seen] / np.sqrt(values[seen])
    z = off @ root
    turn = np.linalg.eigh((z * np.sum(z**2, 1)[:, None]).T @ z)[1]
    z = z @ turn
    skew, excess = np.mean(z**3, 0), np.mean(z**4, 0) - 3.0
    along = scale[:, None] * (root @ turn)
    loading = (statistics - mean).T @ z / len(z)
    return Directions(mean, along, loading, (np.abs(skew) < NORMAL) & (np.abs(excess) < NORMAL))


@register_dataclass
@dataclass(frozen=True)
class Tilted:
    """log Z relative to the reference.

    Samples and their weights are in single precision, sums over them are not: NUTS spends its time on them.

    :param rare: directions of the samples that are not normal, ``(sample, rare)``; rows without weight are room.
    :param usual: the others, ``(sample, normal)``.
    :param log_weight: of each at the reference, ``(sample,)``; weights sum to one.
    :param loading: as of :class:`Directions`, those that are not normal first.
    :param variance: of each that is not normal at the reference, and ``jump``, its third cumulant over that (the scale
        of a scaled count), ``(rare,)``.
    :param mean: ``(term,)``.
    :param natural: :math:`e_0`, ``(term,)``.
    :param reach: distances between which cumulants go over to normal ones and counts, and a wall begins.
    """

    rare: Array
    usual: Array
    log_weight: Array
    loading: Array
    variance: Array
    jump: Array
    mean: Array
    natural: Array
    reach: tuple[float, float] = field(default=REACH, metadata={"static": True})

    def _along(self, e: Array) -> Array:
        """How far ``e (term,)`` tilts each direction, ``(direction,)``."""
        return self.loading.T @ (e - self.natural)

    def distance(self, e: Array) -> Array:
        """Distance of ``e (term,)`` from the reference, in standard deviations of its statistics."""
        return jnp.sqrt(jnp.sum(self._along(e) ** 2) + 1e-12)

    def _weights(self, at: Array) -> tuple[Array, Array]:
        """Weights ``(sample,)``, of which the largest is one, and its logarithm."""
        tilt = at[: self.rare.shape[1]].astype(self.rare.dtype)
        log_w = self.rare @ tilt + self.log_weight
        most = jax.lax.stop_gradient(jnp.max(log_w))
        return jnp.exp(log_w - most), most

    def effective(self, e: Array) -> Array:
        """Effective number of samples under the weights at ``e (term,)``."""
        w, _ = self._weights(self._along(e))
        return jnp.sum(w, dtype=e.dtype) ** 2 / jnp.sum(w * w, dtype=e.dtype)

    def at(self, e: Array) -> Array:
        """log Z at natural parameters times beta ``e (term,)``, a scalar."""
        at, distance = self._along(e), self.distance(e)
        few = self.rare.shape[1]
        w, most = self._weights(at)
        total = jnp.sum(w, dtype=e.dtype)
        log_size = 2.0 * jnp.log(total) - jnp.log(jnp.sum(w * w, dtype=e.dtype))
        y = self.usual @ at[few:].astype(self.usual.dtype)
        one = jnp.sum(w * y, dtype=e.dtype) / total
        off = y - one.astype(y.dtype)
        known = jnp.log(total) + most + one + 0.5 * jnp.sum(w * off * off, dtype=e.dtype) / total
        (near, end), (low, high) = self.reach, np.log(SPARSE)
        believed = smooth((end - distance) / (end - near))
        believed = believed * smooth((log_size - low) / (high - low))
        tilt = at[:few]
        beyond = jnp.sum(self.variance * tilt**2 * _of_count(self.jump * tilt))
        rise = believed * known + (1.0 - believed) * 0.5 * (beyond + jnp.sum(at[few:] ** 2))
        far = (jnp.maximum(distance - end, 0.0) / WALL) ** 2
        return (e - self.natural) @ self.mean + rise + 0.5 * far * (1.0 + far)

    def __call__(self, potential: Any, beta: Array) -> Array:
        return self.at(jnp.asarray(beta) * potential.natural())


def tilted(
    found: Directions,
    natural: np.ndarray,
    statistics: np.ndarray,
    log_weight: np.ndarray,
    *,
    room: int = 1,
    reach: tuple[float, float] = REACH,
) -> Tilted:
    """log Z relative to ``natural (term,)``, beta times natural parameters.

    :param found: independent directions of the statistics, and which of them are normal.
    :param natural: beta times the natural parameters of the reference, ``(term,)``.
    :param statistics: of samples ``(sample, term)``.
    :param log_weight: that bring them there, up to a constant, ``(sample,)``.
    :param room: for at least so many samples.
    :param reach: distances, in standard deviations of the statistics, between which cumulants go
        over to what lies beyond.
    """
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = weight @ statistics
    off = statistics - mean
    rare, usual = (off @ found.along[:, which] for which in (~found.normal, found.normal))
    variance = weight @ rare**2
    more = max(rounded(len(off)), room) - len(off)
    log_weight = np.pad(np.log(np.maximum(weight, 1e-300)), (0, more), constant_values=NOTHING)
    order = np.argsort(found.normal, kind="stable")

    def with_room(z: np.ndarray) -> Array:
        return jnp.asarray(np.pad(z, [(0, more), (0, 0)]), jnp.float32)

    return Tilted(
        with_room(rare),
        with_room(usual),
        jnp.asarray(log_weight, jnp.float32),
        jnp.asarray(found.loading[:, order]),
        jnp.asarray(variance),
        jnp.asarray(weight @ rare**3 / variance),
        jnp.asarray(mean),
        jnp.asarray(natural),
        reach,
    )
