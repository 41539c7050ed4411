"""What the X of the binary Lennard-Jones fluid say of its six parameters, and what MC-EM would have to simulate.

At the true parameters the model itself is simulated, freely and with the X of frames of the data held. A frame's
information about u is the covariance of the scores less that which is left when its X are known (Louis). Its inverse
bounds every estimate. MC-EM's slope is a difference of two averages of all that X and Y say, so that n independent
samples of each leave its estimate with the covariance I^-1 (Cov + left) I^-1 / n. Standard deviations are in per cent
of the truth. The same simulations tell how many moves a configuration takes to be forgotten, and how long that is.
"""

import os
from pathlib import Path
import tempfile
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

import bayescg as cg
from bayescg.samplers import Held
from bayescg_models import binary_lj
from benchmarks.arcg import _reference

CHAINS, FRAMES = 16, 32  # of the free simulation, and frames whose X are held
MOVES, FIRST = 500, 60  # of each chain, and those before it is measured
GROUP = 10
JUDGED = 2000  # frames of the data that an estimate has
AIM = 4.0  # per cent


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
    truth = binary_lj._values(binary_lj.SYSTEM_B)
    values = {n: jnp.asarray(v) for n, v in truth.items()}
    potential = mixture.potential(values)

    def natural(u: Array) -> Array:
        return mixture.potential(dict(zip(truth, u, strict=True))).natural()

    slope = mixture.beta * jax.jacfwd(natural)(jnp.asarray(list(truth.values())))
    chosen = np.linspace(0, data.sizes["frame"] - 1, FRAMES).astype(int)
    assert (
        system.complete is not None and system.pre_map is not None and system.sampler.at is not None
    )
    whole = system.complete(jax.random.key(0), jnp.asarray(data["x"].values[chosen], float)).T
    ready = mixture.sampler.prepare(potential, jnp.asarray(mixture.beta))
    free = jnp.arange(options.sites)[:, None] >= mixture.real
    held = Held(whole, jnp.broadcast_to(free, (options.sites, FRAMES)).astype(float))
    sampler = mixture.sampler

    def said(x: Array) -> Array:
        out: Array = slope.T @ potential.statistics(x)
        return out

    start = sampler.at(jax.random.key(1), whole[..., :CHAINS])
    model, seconds = _moved(
        lambda k, s: sampler.step(k, s, *ready)[0], start, said, jax.random.key(2)
    )
    start = sampler.at(jax.random.key(3), whole)
    clamped, _ = _moved(
        lambda k, s: sampler.step(k, s, *ready, held)[0], start, said, jax.random.key(4)
    )
    scores, within = model[FIRST:], clamped[FIRST:]
    everything = _covariance(np.moveaxis(scores, 1, 2).reshape(-1, len(truth)))
    left = np.mean([_covariance(within[:, :, k]) for k in range(FRAMES)], 0)
    bound = np.linalg.inv(everything - left)
    one = bound @ (everything + left) @ bound

    def per_cent(variance: np.ndarray) -> dict[str, float]:
        off = 100.0 * np.sqrt(np.diag(variance)) / np.asarray(list(truth.values()))
        return dict(zip(truth, off, strict=True))

    moves = max(forgotten(scores[:, k]) for k in range(len(truth)))
    needed = max(v for n, v in per_cent(one).items() if n.startswith("epsilon")) / AIM
    return {
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
