"""What the X of the binary Lennard-Jones fluid say of its six parameters, and what MC-EM would have to simulate.

At the true parameters the model itself is simulated, freely and with the X of frames of the data held. A frame's
information about u is the covariance of the scores less that which is left when its X are known (Louis). Its inverse
bounds every estimate. What features D1 to D3 tell is had from simulations at parameters to both sides as well, as in
Newton's steps of ARCG; along the axis of which they tell least so is what the X tell: how much less the scores answer
to the parameters while the X are held. MC-EM's slope is a difference of two averages of all that X and Y say, so that
n independent samples of each leave its estimate with the covariance I^-1 (Cov + left) I^-1 / n. Standard deviations
are in per cent of the truth. The same simulations tell how many moves a configuration takes to be forgotten, and how
long that is.
"""

from collections.abc import Callable
import os
from pathlib import Path
import tempfile
import time
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

import bayescg as cg
from bayescg.critics import labelled
from bayescg.infer.histograms import over_frames
from bayescg.infer.response import Answer, Visit, visited
from bayescg.infer.steps import View
from bayescg.samplers import Held
from bayescg_models import binary_lj
from benchmarks.arcg import _reference

CHAINS, FRAMES = 16, 32  # of the free simulation, and frames whose X are held
MOVES, FIRST = 300, 60  # of each chain, and those before it is measured
GROUP = 10
JUDGED = 2000  # frames of the data that an estimate has
AIM = 4.0  # per cent
RIDGE = 3e-3  # of whitened features, that of the polish of binary_lj
SPREAD, REACH = 0.5, 0.12  # as of Newton's steps


def _moved(step: Any, state: Any, measure: Any, key: Array) -> tuple[np.ndarray, float]:
    """Measurements after each move, ``(move, ..., chain)``, and seconds that a move of one chain takes."""

    @jax.jit
    def some(key: Array, state: Any) -> Any:
        def one(state: Any, key: Array) -> Any:
            state = step(key, state)
            return state, measure(state.x.astype(float))

        return jax.lax.scan(one, state, jax.random.split(key, GROUP))

    out, began = [], time.monotonic()
    for k in range(MOVES // GROUP):
        state, new = some(jax.random.fold_in(key, k), state)
        out.append(np.asarray(new))
        if k == 0:  # which was also compiled
            began = time.monotonic()
    seconds = (time.monotonic() - began) / (MOVES - GROUP) / out[0].shape[-1]
    return np.concatenate(out), seconds


class Simulated(NamedTuple):
    """Chains of the mixture at some parameters, after each move."""

    statistics: np.ndarray  # (move, term, chain)
    scores: np.ndarray  # (move, u, chain), by the logarithms of the parameters
    features: np.ndarray  # (move, feature, chain)
    seconds: float  # a move of one chain


def _simulated(
    mixture: binary_lj.Mixture,
    system: cg.System,
    start: Array,
    u: np.ndarray,
    key: Array,
    held: Held | None = None,
) -> Simulated:
    """From configurations ``start (axis, site, chain)``, with the logarithms ``u`` of the parameters.

    :param held: sites that do not move.
    """

    def potential(u: Array) -> Any:
        return mixture.potential(dict(zip(binary_lj.NAMES, jnp.exp(u), strict=True)))

    here, slope = (
        potential(jnp.asarray(u)),
        mixture.beta * jax.jacfwd(lambda u: potential(u).natural())(jnp.asarray(u)),
    )
    ready = mixture.sampler.prepare(here, jnp.asarray(mixture.beta))

    def measure(x: Array) -> Array:
        real = x[:, : mixture.real]
        seen = [o(real).reshape(-1, x.shape[2]) for o in system.critic_features]
        phi = here.statistics(x)
        return jnp.concatenate([phi, slope.T @ phi, *seen])

    one, two = jax.random.split(key)
    assert mixture.sampler.at is not None
    state = mixture.sampler.at(one, start)
    more = () if held is None else (held,)
    taken, seconds = _moved(
        lambda k, s: mixture.sampler.step(k, s, *ready, *more)[0], state, measure, two
    )
    parts = np.split(taken[FIRST:], np.cumsum([len(slope), len(u)]), axis=1)
    return Simulated(*parts, seconds)


def _by_features(
    first: Simulated, simulate: Callable[[np.ndarray], Simulated], u: np.ndarray, data: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of the information that features see, the standard errors of u by the data's frames, and the axes.

    :param first: at ``u`` itself.
    :param simulate: at other parameters.
    :param data: features of the frames, in the order of time, ``(frame, feature)``.
    """

    def flat(part: np.ndarray) -> np.ndarray:
        return np.moveaxis(part, 1, 2).reshape(-1, part.shape[1])

    sd = np.sqrt(0.5 * (flat(first.features).var(0) + data.var(0)))
    scale = np.where(sd > 0.0, 1.0 / np.where(sd > 0.0, sd, 1.0), 0.0)

    def visit(at: np.ndarray, seen: Simulated) -> Visit:
        chains = seen.scores.shape[2]
        chain = np.tile(np.arange(chains), len(seen.scores))
        samples = labelled(flat(seen.features), data)
        made = visited(at, View(flat(seen.scores), samples, chain, chains, RIDGE, True), scale)
        assert made is not None
        return made

    visits = [visit(u, first)]
    design = Answer(visits, u, None, data * scale, RIDGE, SPREAD).axes(REACH)
    for axis in design.T[:2]:  # the two of which least is seen
        for at in (u + axis, u - axis):
            visits.append(visit(at, simulate(at)))
    known = Answer(visits, u, design, data * scale, RIDGE, SPREAD)
    return known.share, known.errors(u)[1], design


def _covariance(a: np.ndarray) -> np.ndarray:
    off = a - a.mean(0)
    out: np.ndarray = off.T @ off / len(off)
    return out


def forgotten(series: np.ndarray) -> float:
    """Moves of the autocorrelation of ``(move, chain)``, twice the sum of its positive part less one."""
    off = series - series.mean(0)
    total, variance = 1.0, np.mean(off**2)
    for lag in range(1, len(off) // 3):
        part = float(np.mean(off[lag:] * off[:-lag]) / variance)
        if part < 0.05:
            break
        total += 2.0 * part
    return total


def run() -> dict[str, Any]:
    """Standard deviations by what is seen of the X, and moves that configurations are remembered for."""
    folder = Path(os.environ.get("BAYESCG_REFERENCES", tempfile.mkdtemp()))
    data = cg.io.load(_reference("binary_lj", folder))
    options = binary_lj.options_from_data(binary_lj.Options(), data)
    system = cg.system("binary_lj", data)
    mixture = binary_lj._mixture(options)
    true = binary_lj._values(binary_lj.SYSTEM_B)
    truth = {n: true[n] for n in binary_lj.NAMES}
    u = np.log(list(truth.values()))
    chosen = np.linspace(0, data.sizes["frame"] - 1, FRAMES).astype(int)
    assert system.complete is not None and system.sampler.at is not None
    whole = system.complete(jax.random.key(0), jnp.asarray(data["x"].values[chosen], float)).T

    free = jnp.arange(options.sites)[:, None] >= mixture.real
    held = Held(whole, jnp.broadcast_to(free, (options.sites, FRAMES)).astype(float))
    done: dict[tuple[float, ...], Simulated] = {}

    def simulate(at: np.ndarray) -> Simulated:
        if tuple(at) not in done:
            some = whole[..., :CHAINS]
            done[tuple(at)] = _simulated(mixture, system, some, at, jax.random.key(1))
        return done[tuple(at)]

    def clamped(at: np.ndarray) -> Simulated:
        return _simulated(mixture, system, whole, at, jax.random.key(3), held)

    model, inner = simulate(u), clamped(u)

    def natural(u: Array) -> Array:
        return mixture.potential(dict(zip(truth, jnp.exp(u), strict=True))).natural()

    slope = mixture.beta * np.asarray(jax.jacfwd(natural)(jnp.asarray(u)))
    seen = over_frames(
        lambda x: jnp.concatenate([o(x).reshape(-1, x.shape[2]) for o in system.critic_features]),
        np.asarray(data["x"].values, float),
    )
    share, by_data, design = _by_features(model, simulate, u, seen)
    axis = design[:, 0]  # of which features tell least

    def answer(kind: Callable[[np.ndarray], Simulated]) -> tuple[float, float]:
        """How the score along the axis answers to it, and the standard error by the chains."""
        by_chain = [
            np.einsum("u,mtc,tu->c", axis, kind(u + way * axis).statistics, slope)
            for way in (1, -1)
        ]
        change = 0.5 * (by_chain[0] - by_chain[1]) / len(model.statistics)
        return float(change.mean()), float(change.std(ddof=1) / np.sqrt(len(change)))

    of_all, of_held = answer(simulate), answer(clamped)
    scores, within = model.scores, inner.scores
    everything = _covariance(np.moveaxis(scores, 1, 2).reshape(-1, len(truth)))
    left = np.mean([_covariance(within[:, :, k]) for k in range(FRAMES)], 0)
    bound = np.linalg.inv(everything - left)
    one = bound @ (everything + left) @ bound

    def per_cent(variance: np.ndarray) -> dict[str, float]:
        return dict(zip(truth, 100.0 * np.sqrt(np.diag(variance)), strict=True))

    moves, seconds = max(forgotten(scores[:, k]) for k in range(len(truth))), model.seconds
    needed = max(v for n, v in per_cent(one).items() if n.startswith("epsilon")) / AIM
    return {
        "share of the information that features see, axis by axis": share.tolist(),
        "the axis of which they see least": dict(zip(truth, axis.tolist(), strict=True)),
        "share that X tell of it": 1.0 - of_held[0] / of_all[0],
        "its standard error": float(
            np.hypot(of_held[1], of_held[0] / of_all[0] * of_all[1]) / of_all[0]
        ),
        f"standard deviation by features, of the data's {len(seen)} frames, per cent": dict(
            zip(truth, 100.0 * by_data, strict=True)
        ),
        f"standard deviation of {JUDGED} independent frames, per cent": {
            "all that the X say": per_cent(bound / JUDGED),
            "X and Y both seen": per_cent(np.linalg.inv(everything) / JUDGED),
        },
        "standard deviation of MC-EM with 1000 independent samples of each kind, per cent": per_cent(
            one / 1000.0
        ),
        f"samples of each kind for {AIM:g} per cent in every epsilon": needed**2,
        "hours that they take": 2.0 * needed**2 * moves * seconds / 3600.0,
        "moves that a score is remembered for": {
            "of the model": {n: forgotten(scores[:, k]) for k, n in enumerate(truth)},
            "with X held": {n: forgotten(within[:, k]) for k, n in enumerate(truth) if "Y" in n},
        },
        "seconds a move": seconds,
    }
