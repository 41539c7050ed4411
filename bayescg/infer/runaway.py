r"""Directions in which a posterior runs away: draws farther apart than any data could leave them.

Four looks, each at one way in which it shows:

- a parameter of bounded range (a logarithm, a logit) whose coordinate has a standard deviation above ``WIDE``;
- a coefficient, in which natural parameters are linear, that times beta spreads past the system's limit
  (:attr:`~bayescg.system.System.runaway`, where a lattice freezes), or past ``FAR`` where it names none;
- the direction in which draws are widest relative to the prior's, where they are ``WIDER`` times as wide. Data narrow a
  prior on average, so that draws as wide as a proper prior are the posterior, and draws much wider are not;
- of chains that have not mixed, a parameter whose draws in the last third are ``GROWN`` times as far from where the
  first third was.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints
import scipy.linalg

from bayescg.infer.health import Doubt, Mixing, Posterior, listed
from bayescg.infer.prior import draw_prior
from bayescg.infer.program import Program
from bayescg.infer.words import members_in_words
from bayescg.system import Batch

__all__ = [
    "FAR",
    "GROWN",
    "SHARE",
    "WIDE",
    "WIDER",
    "bounded",
    "growth",
    "runaway",
    "slopes",
    "spreads",
    "wider_than_prior",
]

WIDE = 4.0  # a factor of 55 either way; under a uniform prior a logit has 1.8, a half-Cauchy's logarithm 1.6
FAR = 100.0  # kT
WIDER = 3.0  # times the prior's standard deviation
GROWN = 3.0
CLIP = 30.0  # of the prior's width: tails beyond do not decide
DRAWS = 1000  # of the prior
LINEAR = 1e-6  # change of a slope that is none; Lennard-Jones, which has logarithms, has natural parameters of 1e5
SHARE = 0.5  # of the largest component of a direction that others need to be named with it


class _Found(NamedTuple):
    size: float  # in units of what is allowed
    parameters: list[int]
    words: str


def runaway(posterior: Posterior, found: Mixing | None = None) -> tuple[list[Doubt], np.ndarray]:
    """What runs away, in one message for all members; and the spread of each coordinate relative to its limit.

    :param found: of chains; None: draws are independent.
    :return: the second ``(member, u)``, NaN where there is no limit.
    """
    members = posterior.u.shape[2]
    scaled = spreads(posterior)
    prior = _prior_draws(posterior.program, posterior.batch)
    by_member: list[list[_Found]] = []
    for m in range(members):
        u = posterior.u[:, :, m]
        those = [*_too_wide(posterior, u, scaled[m]), *_beside_prior(posterior, u, prior)]
        if found is not None:
            stuck = ~Mixing(*(v[m] for v in found)).mixed(len(u))
            those += _outward(posterior, u, stuck)
        by_member.append(those)
    at = np.flatnonzero([bool(f) for f in by_member])
    if not at.size:
        return [], scaled
    worst = by_member[max(at, key=lambda m: by_member[m][0].size)]
    order = [j for m in at for f in by_member[m] for j in f.parameters]
    first = [j for f in worst for j in f.parameters]
    names = tuple(dict.fromkeys(posterior.names[j] for j in [*first, *order]))
    text = (
        f"the posterior runs away along {listed(names)} for {members_in_words(posterior.batch, at)}: "
        f"{'; '.join(f.words for f in worst)}. The data do not hold {'it' if len(names) == 1 else 'them'}; use "
        f"{posterior.tighter()}, more frames, or a model with fewer parameters."
    )
    return [Doubt("runaway", text, names, tuple(map(int, at)))], scaled


# --- each on its own -----------------------------------------------------------------------------
def spreads(posterior: Posterior) -> np.ndarray:
    """Standard deviation of every coordinate over what is allowed, ``(member, u)``; NaN where nothing says."""
    program, batch = posterior.program, posterior.batch
    out = np.full((posterior.u.shape[2], program.size), np.nan)
    ended = bounded(program)
    limit = posterior.system.runaway or FAR
    for m in range(len(out)):
        u = posterior.u[:, :, m].reshape(-1, program.size)
        sd = u.std(0)
        out[m, ended] = sd[ended] / WIDE
        slope, bend = slopes(program, batch, m, np.median(u, 0))
        moved = ~ended & (slope > 0.0) & ((bend == 0.0) | (bend * sd <= LINEAR * slope))
        out[m, moved] = slope[moved] * sd[moved] / limit
    return out


def bounded(program: Program) -> np.ndarray:
    """Coordinates of parameters whose range has an end, ``(u,)``."""
    out = np.zeros(program.size, bool)
    for site, support in program.supports.items():
        base = support
        while hasattr(base, "base_constraint"):
            base = base.base_constraint
        out[program.coordinates(site)] = base is not constraints.real
    return out


def slopes(
    program: Program, batch: Batch, member: int, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Most that a natural parameter times beta changes with each coordinate, and most that this changes with the same
    coordinate, ``(u,)``."""
    x = jnp.asarray(batch.x[member], float)
    given = {k: jnp.asarray(v[member], float) for k, v in batch.conditions.items()}
    most = np.zeros((2, program.size))
    for state in range(program.states):
        one = program if program.sites.state is None else program.in_state(state)

        def natural(v: jax.Array, one: Program = one) -> jax.Array:
            boltzmann = one.boltzmann(v, x, given)
            return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()

        def along(e: jax.Array, natural: Callable[[jax.Array], jax.Array] = natural) -> jax.Array:
            def slope(v: jax.Array) -> jax.Array:
                return jax.jvp(natural, (v,), (e,))[1]

            return jnp.stack(jax.jvp(slope, (jnp.asarray(u),), (e,)))

        found = np.abs(np.asarray(jax.jit(jax.vmap(along))(jnp.eye(program.size))))
        most = np.fmax(most, found.max(2, initial=0.0).T)
    return most[0], most[1]


def _too_wide(posterior: Posterior, u: np.ndarray, scaled: np.ndarray) -> list[_Found]:
    at = np.flatnonzero(scaled > 1.0)
    if not at.size:
        return []
    at = at[np.argsort(-scaled[at])]
    j = int(at[0])
    sd = float(u[..., j].std())
    name = posterior.names[j]
    if bounded(posterior.program)[j]:
        words = f"{name} has a standard deviation of {sd:.3g} in its unconstrained coordinate, where {WIDE:g} is much"
    else:
        limit = posterior.system.runaway or FAR
        words = (
            f"beta times {name} has a standard deviation of {scaled[j] * limit:.3g}, where {limit:g} is as good as "
            "infinite"
        )
    return [_Found(float(scaled[j]), [int(k) for k in at], words)]


def wider_than_prior(u: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray]:
    """How much wider draws are than the prior's in the direction where that is most, and its components.

    In units of the prior's width, tails cut off far outside.

    :param u: draws ``(draw, u)``; ``prior`` of the same coordinates.
    :return: ratio of standard deviations, and the direction in units of the prior's ``(u,)``.
    """
    low, middle, high = np.quantile(prior, [0.05, 0.5, 0.95], 0)
    width = np.maximum((high - low) / 3.29, 1e-300)
    one, other = (np.clip((v - middle) / width, -CLIP, CLIP) for v in (u, prior))
    floor = 1e-6 * np.eye(u.shape[1])
    values, vectors = scipy.linalg.eigh(
        np.atleast_2d(np.cov(one.T)), np.atleast_2d(np.cov(other.T)) + floor
    )
    # The direction in which draws lie, not the functional that measures it.
    along = np.atleast_2d(np.cov(one.T)) @ vectors[:, -1]
    return float(np.sqrt(max(values[-1], 0.0))), along / max(np.abs(along).max(), 1e-300)


def _prior_draws(program: Program, batch: Batch) -> np.ndarray:
    """Draws of the coordinates under a proper prior, ``(draw, u)``; NaN in the others."""
    wild = [*program.improper, *program.ard]
    out = np.full((DRAWS, program.size), np.nan)
    own = np.setdiff1d(
        np.arange(program.size),
        np.concatenate([np.zeros(0, int), *(program.coordinates(k) for k in wild)]),
    )
    if own.size:
        given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
        x = jnp.asarray(batch.x[0], float)
        drawn = np.asarray(draw_prior(program, jax.random.key(0), DRAWS, x, given))
        out[:, own] = drawn[:, own]
    return out


def _beside_prior(posterior: Posterior, u: np.ndarray, prior: np.ndarray) -> list[_Found]:
    at = np.flatnonzero(np.isfinite(prior).all(0))
    flat = u.reshape(-1, u.shape[-1])[:, at]
    if not at.size or len(flat) < 2 or not np.isfinite(flat).all():
        return []
    ratio, along = wider_than_prior(flat, prior[:, at])
    if ratio <= WIDER:
        return []
    order = np.argsort(-np.abs(along))
    chosen = [int(at[j]) for j in order if np.abs(along[j]) >= SHARE]
    names = listed([posterior.names[j] for j in chosen])
    what = names if len(chosen) == 1 else f"a combination of {names}"
    return [
        _Found(
            ratio / WIDER,
            chosen,
            f"draws of {what} spread {ratio:.2g} times as far as the prior's",
        )
    ]


def growth(u: np.ndarray) -> np.ndarray:
    """How much farther the last third of chains ``(chain, draw, u)`` is from where the first one was, ``(u,)``."""
    part = u.shape[1] // 3
    if part < 2:
        return np.ones(u.shape[-1])
    first, last = u[:, :part].reshape(-1, u.shape[-1]), u[:, -part:].reshape(-1, u.shape[-1])
    middle = np.median(first, 0)
    before, after = (np.sqrt(np.mean((v - middle) ** 2, 0)) for v in (first, last))
    return np.where(before > 0.0, after / np.maximum(before, 1e-300), 1.0)


def _outward(posterior: Posterior, u: np.ndarray, stuck: np.ndarray) -> list[_Found]:
    grown = np.where(stuck, growth(u), 1.0)
    at = np.flatnonzero(grown > GROWN)
    if not at.size:
        return []
    at = at[np.argsort(-grown[at])]
    words = (
        f"{posterior.names[at[0]]} still goes outward, {grown[at[0]]:.3g} times as far in the last third of the draws "
        "as in the first"
    )
    return [_Found(float(grown[at[0]] / GROWN), [int(j) for j in at], words)]
