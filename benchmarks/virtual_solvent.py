"""What the X of the binary Lennard-Jones fluid say of its six parameters: bounds on every fit of 200 frames.

At the true parameters the model itself is simulated, freely and with the X of frames of the data held. A frame's
information about u is the covariance of the scores less that which is left when its X are known (Louis); features f
see Cov[s, f] (Cov[f] + ridge)^-1 Cov[f, s] of it, by guesses of half of the chains for the others. Standard deviations
of an estimate that uses all that there is are given in per cent of the truth. The same simulations tell how many moves
a configuration takes to be forgotten.
"""

import os
from pathlib import Path
import tempfile
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

import bayescg as cg
from bayescg.infer.curvature import held_out
from bayescg.samplers import Held
from bayescg_models import binary_lj
from benchmarks.arcg import _reference

CHAINS, FRAMES = 16, 32  # of the free simulation, and frames whose X are held
MOVES, FIRST = 500, 60  # of each chain, and those before it is measured
GROUP = 10
JUDGED = 200  # frames of the data that an estimate has
RIDGE = 1e-3  # on whitened features


def _moved(step: Any, state: Any, measure: Any, key: Array) -> np.ndarray:
    """Measurements after each move, ``(move, ..., chain)``."""

    @jax.jit
    def some(key: Array, state: Any) -> Any:
        def one(state: Any, key: Array) -> Any:
            state = step(key, state)
            return state, measure(state.x.astype(float))

        return jax.lax.scan(one, state, jax.random.split(key, GROUP))

    out = []
    for k in range(MOVES // GROUP):
        state, new = some(jax.random.fold_in(key, k), state)
        out.append(np.asarray(new))
    return np.concatenate(out)


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

    def seen(x: Array) -> Array:
        real = x[:, : mixture.real]
        return jnp.concatenate([o(real).reshape(-1, x.shape[2]) for o in system.critic_features])

    def both(x: Array) -> Array:
        return jnp.concatenate([slope.T @ potential.statistics(x), seen(x)])

    start = sampler.at(jax.random.key(1), whole[..., :CHAINS])
    model = _moved(lambda k, s: sampler.step(k, s, *ready)[0], start, both, jax.random.key(2))
    start = sampler.at(jax.random.key(3), whole)
    clamped = _moved(
        lambda k, s: sampler.step(k, s, *ready, held)[0],
        start,
        lambda x: slope.T @ potential.statistics(x),
        jax.random.key(4),
    )
    size = len(truth)
    scores, features = model[FIRST:, :size], model[FIRST:, size:]
    within = clamped[FIRST:]
    flat = np.moveaxis(scores, 1, 2).reshape(-1, size)
    f = np.moveaxis(features, 1, 2).reshape(len(flat), -1)
    f = f[:, f.std(0) > 0.0]
    chain = np.tile(np.arange(CHAINS), len(scores))
    left = np.mean([_covariance(within[:, :, k]) for k in range(FRAMES)], 0)
    information = {
        "all that the X say": _covariance(flat) - left,
        "features D1 to D3": held_out(
            flat, f / f.std(0), RIDGE, np.full(len(flat), 1.0 / len(flat)), chain % 2 == 0
        ).curvature,
        "X and Y both seen": _covariance(flat),
    }
    per_cent = {
        name: dict(
            zip(
                truth,
                100.0
                * np.sqrt(np.diag(np.linalg.inv(i)) / JUDGED)
                / np.asarray(list(truth.values())),
                strict=True,
            )
        )
        for name, i in information.items()
    }
    return {
        f"standard deviation of {JUDGED} frames, per cent": per_cent,
        "moves that a score is remembered for": {
            "of the model": {n: forgotten(scores[:, k]) for k, n in enumerate(truth)},
            "with X held": {n: forgotten(within[:, k]) for k, n in enumerate(truth) if "Y" in n},
        },
    }
