r"""The search of ARCG: a critic within, the parameters of p_c without (ARCG paper, Section II.C).

In each iteration chains of the pre-CG model go on at the present parameters, configurations are mapped by G and
turned into features, a judge finds its witness f on them and on those of the data, and the parameters move
against the slope of its average over the model,

.. math:: \frac{\mathrm dF}{\mathrm du} = \beta J^\top\operatorname{Cov}_{p_{mod}}[f\circ G, \phi],
          \qquad J = \partial\eta/\partial u

(Eq. 15, with Eq. 24 for G). No density of mapped configurations is needed, so G may drop sites.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import time
from typing import Any, Literal, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.critics import Annealing, Noise, labelled, noisy, shared, whitened
from bayescg.divergences import Judge, Judgement
from bayescg.infer.chains import LEAST_CHAINS, Simulator, told, usual_chains
from bayescg.infer.checkpoint import interrupted, place
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.steps import Steps, View
from bayescg.options import option
from bayescg.samplers.base import Sampler

__all__ = ["AdversarialEffort", "Searched", "search", "slope_of"]

ROUNDING = 1e-9  # of an accuracy, whose weights add up to one but for that
ALL = 3  # fits in a row that tell all samples apart, after which there is nothing to learn from
COPIES = 16  # draws of noise that a witness is averaged over
LOUDER = 2.0  # factor of the first noise, until the critic errs
LOUDEST = 64.0  # in standard deviations of the features
LEAST_RIDGE = 1e-3  # of whitened features, which samples know no better


@dataclass(frozen=True)
class AdversarialEffort:
    """Options of the simulations of a search."""

    max_iterations: int = option(600, "most iterations")
    start: str | None = option(
        None,
        "a result of the same model, whose posterior means the search begins with; none: the model's start",
    )
    chains: int | None = option(
        None, "persistent chains of p_c; none: 32, or fewer of many sites, but at least 8"
    )
    begin: Literal["apart", "data"] = option(
        "apart",
        "chains begin in configurations of the sampler's own, or in those of the data, completed by what they lack",
    )
    warmup: int = option(100, "moves of each chain before the first iteration")
    relax: int = option(4, "moves after each step, before samples are taken")
    samples: int = option(20, "samples of each chain in an iteration")
    thin: int = option(1, "moves from one sample to the next")

    def __post_init__(self) -> None:
        for name in ("max_iterations", "relax", "samples", "thin"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if (self.chains or LEAST_CHAINS) < LEAST_CHAINS or self.warmup < 0:
            raise ValueError(f"chains must be at least {LEAST_CHAINS}, warmup not negative.")


class Searched(NamedTuple):
    """How it went."""

    u: np.ndarray  # (u,), averaged over the last stage (Newton: the last), or the last good ones
    ended: str  # "converged", or why not
    iterations: int
    distance: float  # mean slope over the last stage in its standard errors (rms); Newton: last step in the data's
    seconds: float
    trace: dict[str, np.ndarray]  # (iteration, ...)


def slope_of(
    witness: np.ndarray,
    statistics: np.ndarray,
    jacobian: np.ndarray,
    beta: float,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    r"""Eq. 15, :math:`\beta J^\top\operatorname{Cov}[f, \phi]`, ``(u,)``.

    :param witness: f of configurations of the model, ``(sample,)``.
    :param statistics: phi of the same, ``(sample, term)``.
    :param jacobian: of the natural parameters by u, ``(term, u)``.
    :param weight: of the samples, adding up to one; None: equal.
    """
    if weight is None:
        weight = np.full(len(witness), 1.0 / len(witness))
    off = witness - weight @ witness
    out: np.ndarray = beta * jacobian.T @ ((weight * off) @ (statistics - weight @ statistics))
    return out


def search(
    program: Program,
    sampler: Sampler,
    features: Callable[[Array], Array],
    reference: np.ndarray,
    judge: Judge,
    key: Array,
    start: np.ndarray,
    *,
    example: np.ndarray,
    conditions: dict[str, Array],
    rule: Steps,
    begin: Callable[[Array, int], Array] | None = None,
    downhill: Callable[..., np.ndarray] | None = None,
    annealing: Annealing = Annealing(),  # noqa: B008 - frozen
    penalty: float = 0.0,
    noise: float | None = 0.0,
    effort: AdversarialEffort = AdversarialEffort(),
    progress: Progress | None = None,
) -> Searched:
    """Move parameters until the judge's slope is noise alone.

    :param features: ``(feature, batch)`` of configurations of the model, G included.
    :param reference: those of the data, ``(frame, feature)``.
    :param start: first parameters, ``(u,)``.
    :param example: a data set ``(frame, ...)``, for the program's shapes.
    :param begin: configurations that chains begin in, ``(axis, site, chain)`` of a key and how many; None: the
        sampler's own.
    :param noise: first standard deviation of the noise on whitened features; None: as much as it takes.
    :param penalty: of the critic's weights, which Newton's steps take into account.
    :param rule: of the steps, which also says when to stop.
    :param downhill: what the rule goes against, from a judgement, statistics ``(sample, term)``, the Jacobian
        and beta; None: the slope of Eq. 15.
    :raises FloatingPointError: if not a single iteration could be made.
    """
    progress = progress or Silent()
    began = time.monotonic()
    x = jnp.asarray(example[:1], float)
    boltzmann = program.boltzmann(jnp.asarray(start), x, conditions)
    beta, potential = float(jnp.asarray(boltzmann.beta)), boltzmann.potential
    terms = potential.natural().shape[0]

    def measure(x: Array) -> Array:
        return jnp.concatenate([potential.statistics(x), features(x)])

    simulator = Simulator(program, sampler, measure, x, conditions)
    jacobian = jax.jit(jax.jacfwd(lambda u: program.natural(u, x, conditions)))
    first, critic_key, key = jax.random.split(key, 3)
    chains = effort.chains or usual_chains(boltzmann.event_shape[0])
    if begin is None:
        state = sampler.init(first, chains)
    else:
        assert sampler.at is not None
        places, first = jax.random.split(first)
        state = sampler.at(first, begin(places, chains))
    judging = judge.start(critic_key, reference.shape[1])
    steps = rule.start(np.asarray(start, float))
    added = Noise(0.0 if noise is None else noise**2)
    rows: list[dict[str, Any]] = []
    ended, all_apart, done = "stopped at max_iterations", 0, 0
    at_place = place("arcg")
    if (before := at_place.resumed()) is not None:
        done, state, judging, steps, added, rows, all_apart, spent = before
        state, judging = jax.tree.map(jnp.asarray, (state, judging))
        began -= spent
    try:
        for iteration in range(done, effort.max_iterations):
            spent = time.monotonic() - began
            at_place.keep((iteration, state, judging, steps, added, list(rows), all_apart, spent))
            u, k = steps.u, jax.random.fold_in(key, iteration)
            state, taken, failed = simulator.sampled(
                jax.random.fold_in(k, 0),
                state,
                u,
                lead=effort.relax + (effort.warmup if iteration == 0 else 0),
                samples=effort.samples,
                thin=effort.thin,
                tell=partial(told, progress, iteration),
            )
            if np.isfinite(taken).all(1).sum() < 2:
                ended = "diverged: no configuration of the model can be measured"
                break
            flat, chain = _measured(taken)
            raw = labelled(flat[:, terms:], reference)
            samples = whitened(raw)
            if noise is None and iteration == 0:
                added = _first_noise(judge, judging, jax.random.fold_in(k, 1), samples, annealing)
            judging, said = judge(
                jax.random.fold_in(k, 2),
                judging,
                noisy(jax.random.fold_in(k, 3), samples, added.sd),
                shared(jax.random.fold_in(k, 4), samples.model, added.sd, COPIES),
            )
            by_u = np.asarray(jacobian(u))
            if downhill is None:
                slope = slope_of(said.witness, flat[:, :terms], by_u, beta)
            else:
                slope = downhill(said, flat[:, :terms], by_u, beta)
            # A metric's witness has a slope however far samples are apart; a classifier's then has none.
            sure = said.logit is not None and said.accuracy > 1.0 - ROUNDING
            if not (np.isfinite(said.loss) and (sure or np.isfinite(slope).all())):
                ended = "diverged: the critic's loss is not a number"
                break
            # A mean log-loss has a quarter of the covariance for its curvature.
            ridge = LEAST_RIDGE + 4.0 * penalty + added.variance
            scores = beta * flat[:, :terms] @ by_u
            view = View(scores, raw, chain, chains, ridge, added.variance == 0.0)
            went, more = rule.advance(steps, np.where(np.isfinite(slope), slope, 0.0), view)
            steps = steps if sure else went
            shown = _shown(said, added, failed)
            rows.append({"u": u, "slope": slope, **shown, **more})
            numbers = {k: v for k, v in more.items() if np.ndim(v) == 0}
            progress.update("arcg", (iteration + 1) / effort.max_iterations, {**shown, **numbers})
            all_apart = all_apart + 1 if sure else 0
            if all_apart >= ALL:
                ended = "separated"
                break
            added = annealing.after(added, said.accuracy)
            if rule.done(steps):
                ended = "converged"
                break
    except KeyboardInterrupt:
        interrupted()
        if not rows:
            raise
        ended = "interrupted"
    if not rows:
        raise FloatingPointError(
            f"ARCG {ended} in its first iteration; start elsewhere (-s), or give it more noise (-M noise)."
        )
    trace = {name: np.array([r[name] for r in rows]) for name in rows[0]}
    if ended == "converged":
        found, distance = rule.found(steps)
    else:
        found, distance = rule.best(steps, rows[-1]["u"]), np.inf
    seconds = time.monotonic() - began
    return Searched(found, ended, len(rows), distance, seconds, trace)


def _measured(taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``(sample, column, chain)`` what could be measured, a row each, and the chain of each."""
    both = np.moveaxis(taken, 2, 0)
    chain = np.repeat(np.arange(both.shape[0]), both.shape[1])
    flat = both.reshape(-1, both.shape[2])
    good = np.isfinite(flat).all(1)
    return flat[good], chain[good]


def _shown(said: Judgement, noise: Noise, failed: float) -> dict[str, float]:
    return {
        "divergence": said.value,
        "accuracy": said.accuracy,
        "noise": noise.sd,
        "failed": failed,
    }


def _first_noise(judge: Judge, state: Any, key: Array, samples: Any, annealing: Annealing) -> Noise:
    """The least noise, of a doubling series, with which the critic errs as often as the annealing asks."""
    sd = 0.0
    for k in range(16):
        _, said = judge(
            jax.random.fold_in(key, 2 * k),
            state,
            noisy(jax.random.fold_in(key, 2 * k + 1), samples, sd),
        )
        if said.accuracy < annealing.accuracy or sd >= LOUDEST:
            break
        sd = LOUDER * sd if sd else 0.25
    return Noise(sd**2)
