r"""log Z from simulations at several parameter values, with its trust region in the value.

Samples of K references are pooled; with :math:`e = \beta\eta` the natural parameters, :math:`n_k` samples
and log Z :math:`A_k` of reference k, every pooled sample has the density of the mixture, and

.. math:: A(e) = \log\sum_n \exp\{e\cdot\phi_n - m_n\}, \qquad m_n = \log\sum_k n_k \exp\{e_k\cdot\phi_n - A_k\},

where the :math:`A_k` are those that this equation gives back: multistate reweighting, Shirts and Chodera,
J. Chem. Phys. 129, 124105 (2008).
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.tree_util import register_dataclass
import numpy as np

from bayescg.distributions.log_partition.mbar import solve_states

__all__ = ["TRUSTED", "Multistate", "multistate"]

BEND = 2.0  # standard deviations from a reference within which A is taken to be a quadratic
FAR = 2.5  # beyond which a wall begins
BEYOND = 0.4  # of a quadratic, after the distance at which it took over
WALL = 0.5  # its width
NOTHING = -1e30  # a logarithm of zero that times zero is zero
TRUSTED = (5.0, 30.0)  # effective samples below which nothing is believed, and above which all is


@register_dataclass
@dataclass(frozen=True)
class Multistate:
    r"""log Z relative to the first reference, continued outside of what was simulated by something that rises.

    Reweighting far from all references is one sample's word: A then rises by at most the largest statistic that
    was seen, too little, and whatever maximises or samples a likelihood goes exactly there. So the value
    goes over, where the effective sample size e falls through ``trusted``, to

    .. math:: \sum_k w_k \left[A_k + \Delta_k\cdot\langle\phi\rangle_k
              + b^2\left(\sqrt{1 + d_k^2 / b^2} - 1\right)\right],
              \qquad d_k^2 = \Delta_k^\top\operatorname{Cov}_k[\phi]\,\Delta_k, \qquad \Delta_k = e - e_k,

    with weights :math:`w_k \propto \exp\{A_k + \Delta_k\cdot\langle\phi\rangle_k\}`. A is convex, so each tangent lies
    below it, by the relative entropy of reference k from the model asked for, and the highest tangent is that of the
    nearest. The last term is the quadratic of the reference as far as :math:`d_k = b = 2`, and grows in proportion to
    the distance from there on. The quadratic itself would be too much wherever order sets in and A grows slower: a
    posterior that lies on the other side of there would never be looked at. From 2.5 on a wall keeps off what no
    reference speaks for. What is sampled outside is not the posterior: :meth:`effective` says where more references
    are wanted.

    :param statistics: of pooled samples that differ, ``(sample, term)``; rows without a count are room for more.
    :param log_mixture: m of each, ``(sample,)``.
    :param log_counts: how often each came, ``(sample,)``.
    :param natural: :math:`e_k`, ``(reference, term)``.
    :param values: :math:`A_k - A_1`, ``(reference,)``.
    :param means: :math:`\langle\phi\rangle_k`, ``(reference, term)``.
    :param covariances: ``(reference, term, term)``; None where there is a reach.
    :param metric: their mean, ``(term, term)``: where the model freezes its own covariance knows no distance.
    :param trusted: effective samples between which the value goes over; static.
    :param light: statistics less the first reference's means in single precision, or None.
    :param log_ratio: with them, density of the first reference over the mixture's, ``(sample,)``.
    :param reach: distances from the nearest reference between which it goes over, too; static. In many dimensions there
        are directions, and a sampler finds them, along which a sample is spread otherwise than what it was drawn from:
        its effective size does not tell. For the same reason the continuation is then the quadratic itself, with the
        mean covariance of all references, and the wall begins 0.4 after the second distance: of 20 frames of liquid,
        whose statistics are nearly normal, one that falls short by 0.3 would be worth 6 in the posterior. None: the
        effective size alone.
    """

    statistics: Array
    log_mixture: Array
    log_counts: Array
    natural: Array
    values: Array
    means: Array
    covariances: Array | None
    metric: Array
    trusted: tuple[float, float] = field(default=TRUSTED, metadata={"static": True})
    light: Array | None = None
    log_ratio: Array | None = None
    reach: tuple[float, float] | None = field(default=None, metadata={"static": True})

    def _weighed(self, e: Array) -> tuple[Array, Array]:
        """log Z by reweighting, and the logarithm of the effective sample size."""
        if self.light is None or self.log_ratio is None:
            log_w = self.statistics @ e - self.log_mixture
        else:
            # Half as much to read. What is left are differences: single precision is right to 1e-5 of them.
            step = e - self.natural[0]
            near = self.light @ step.astype(self.light.dtype) + self.log_ratio
            log_w = near.astype(e.dtype) + self.means[0] @ step
        total = logsumexp(log_w + self.log_counts)
        return total, 2.0 * total - logsumexp(2.0 * log_w + self.log_counts)

    def nearest(self, e: Array) -> Array:
        """The reference that is nearest to ``e (term,)``, by relative entropy: an index."""
        return jnp.argmax(self.values + jnp.sum((e - self.natural) * self.means, 1))

    def distance(self, e: Array) -> Array:
        """Distance of ``e (term,)`` from the nearest reference, in standard deviations of its statistics."""
        step = e - self.natural[self.nearest(e)]
        return jnp.sqrt(step @ self.metric @ step + 1e-12)

    def continued(self, e: Array) -> Array:
        """log Z by the references' tangents and curvatures alone, at natural parameters times beta ``e (term,)``."""
        step = e - self.natural
        tangent = self.values + jnp.sum(step * self.means, 1)
        if self.covariances is not None:
            bend = jnp.einsum("ki,kij,kj->k", step, self.covariances, step)
            rise = BEND**2 * (jnp.sqrt(1.0 + bend / BEND**2) - 1.0)
        else:
            rise = 0.5 * jnp.einsum("ki,ij,kj->k", step, self.metric, step)
        return jnp.sum(jax.nn.softmax(tangent) * (tangent + rise))

    def at(self, e: Array) -> Array:
        """log Z at natural parameters times beta ``e (term,)``, a scalar."""
        value, log_size = self._weighed(e)
        low, high = np.log(self.trusted)
        believed = smooth((log_size - low) / (high - low))
        distance = self.distance(e)
        if self.reach is not None:
            near, end = self.reach
            believed = believed * smooth((end - distance) / (end - near))
        far = jnp.maximum(distance - (FAR if self.reach is None else self.reach[1] + BEYOND), 0.0)
        wall = 0.5 * (far / WALL) ** 2
        # Latents that follow gain in proportion to the distance, and are many.
        if self.reach is not None:
            wall = wall * (1.0 + (far / WALL) ** 2)
        return believed * value + (1.0 - believed) * (self.continued(e) + wall)

    def effective(self, e: Array) -> Array:
        """Effective number of the pooled samples at ``e (term,)``, a scalar."""
        return jnp.exp(self._weighed(e)[1])

    def __call__(self, potential: Any, beta: Array) -> Array:
        return self.at(jnp.asarray(beta) * potential.natural())


def rounded(size: int) -> int:
    """The next number that is a power of two, or one and a quarter, a half or three quarters of one."""
    part = max(1, 1 << (size - 1).bit_length() >> 3)
    return -(-size // part) * part


def smooth(t: Array) -> Array:
    """From 0 to 1, flat at both ends."""
    t = jnp.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def multistate(
    natural: Array | np.ndarray,
    statistics: Array | np.ndarray,
    *,
    trusted: tuple[float, float] = TRUSTED,
    reach: tuple[float, float] | None = None,
    values: np.ndarray | None = None,
    room: tuple[int, int] = (1, 1),
) -> Multistate:
    """Pool simulations of several references.

    Arrays have room for more, up to the next quarter of a power of two, so that what is compiled serves when more come.

    :param natural: beta times natural parameters, ``(reference, term)``.
    :param statistics: of as many samples of each, ``(reference, sample, term)``.
    :param trusted: and ``reach``, as of :class:`Multistate`.
    :param values: log Z of (some of) the references, from which the search for them starts.
    :param room: for at least so many samples that differ, and references.
    :raises ValueError: for shapes that do not fit, or numbers that are not finite.
    """
    natural, phi = np.asarray(natural, float), np.asarray(statistics, float)
    if phi.ndim != 3 or natural.shape != (phi.shape[0], phi.shape[2]):
        raise ValueError(
            f"natural {natural.shape} and statistics {phi.shape} do not fit; allowed are (reference, term) and "
            "(reference, sample, term)."
        )
    if not (np.isfinite(natural).all() and np.isfinite(phi).all()):
        raise ValueError("natural parameters and statistics must be finite.")
    pooled = phi.reshape(-1, phi.shape[2])
    counts = np.ones(len(pooled), int)
    if reach is None:
        # Statistics of lattices are few integers: samples that agree are one, counted.
        pooled, counts = np.unique(pooled, axis=0, return_counts=True)
    # A trapezoid along the line to each.
    mean = phi.mean(1)
    first = 0.5 * np.sum((natural - natural[0]) * (mean + mean[0]), 1)
    if values is not None:
        first[: len(values)] = np.asarray(values) - values[0]
    samples, references = (
        max(rounded(n), least) for n, least in zip((len(pooled), len(natural)), room, strict=True)
    )

    def filled(a: np.ndarray, size: int, value: float = 0.0) -> Array:
        width = [(0, size - len(a))] + [(0, 0)] * (a.ndim - 1)
        return jnp.asarray(np.pad(a, width, constant_values=value))

    log_share = np.full(len(natural), np.log(phi.shape[1]))
    stats, e = filled(pooled, samples), filled(natural, references)
    log_counts = filled(np.log(counts), samples, NOTHING)
    shares = filled(log_share, references, NOTHING)
    found, log_mixture, _ = solve_states(stats @ e.T, log_counts, shares, filled(first, references))
    there = jnp.arange(references) < len(natural)
    means, metric = _moments(stats, log_mixture, log_counts, e, there / len(natural))
    found = jnp.where(there, found, NOTHING)
    covariances = None
    if reach is None:
        covariances = _covariances(stats, log_mixture, log_counts, e, means)
    pool = Multistate(stats, log_mixture, log_counts, e, found, means, covariances, metric, trusted)
    if reach is None:
        return pool
    log_ratio = stats @ e[0] - log_mixture
    light = jnp.where(log_counts[:, None] > NOTHING, stats - means[0], 0.0)
    return replace(
        pool,
        reach=reach,
        light=light.astype(jnp.float32),
        log_ratio=log_ratio.astype(jnp.float32),
    )


@jax.jit
def _moments(
    statistics: Array, log_mixture: Array, log_counts: Array, natural: Array, weights: Array
) -> tuple[Array, Array]:
    """Means of each reference, ``(reference, term)``, and the weighted mean of their covariances, ``(term, term)``."""
    log_w = natural @ statistics.T - log_mixture + log_counts
    w = jax.nn.softmax(log_w, axis=1)  # (reference, sample)
    means = w @ statistics
    middle = weights @ means
    off, apart = statistics - middle, means - middle
    return means, (off * (weights @ w)[:, None]).T @ off - (weights[:, None] * apart).T @ apart


@jax.jit
def _covariances(
    statistics: Array, log_mixture: Array, log_counts: Array, natural: Array, means: Array
) -> Array:
    """Of each reference, ``(reference, term, term)``."""

    def covariance(args: tuple[Array, Array]) -> Array:
        e, mean = args
        w = jax.nn.softmax(statistics @ e - log_mixture + log_counts)
        off = statistics - mean
        return (w[:, None] * off).T @ off

    return jax.lax.map(covariance, (natural, means))
