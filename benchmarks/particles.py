"""A time step of 864 particles of two kinds: compiled kernels beside OpenMM, one thread each, and JAX alone."""

from dataclasses import replace
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.engines.atomic import AtomicRun, openmm_system
from bayescg.engines.run import NM, load_openmm
from bayescg.samplers import particle_sampler, trajectories
from bayescg_models import binary_lj

STEPS = 2000
REPEATS = 3


def _openmm(options: binary_lj.Options, x: np.ndarray) -> Any:
    """A function that makes so many steps from ``x``."""
    mm = load_openmm()
    truth = {(n[0], n[2]): binary_lj.SYSTEM_B[n] for n in binary_lj.PAIRS}
    run = AtomicRun(box=options.box[0], cutoff=options.cutoff)
    integrator = mm.LangevinMiddleIntegrator(options.temperature, 1.0, 0.01)
    platform = mm.Platform.getPlatformByName("CPU")
    system = openmm_system(options.types, truth, run)
    context = mm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(x * NM)
    context.setVelocitiesToTemperature(options.temperature, 1)

    def steps(count: int) -> None:
        integrator.step(count)
        context.getState(getEnergy=True)

    return steps


def _ours(options: binary_lj.Options, x: np.ndarray) -> Any:
    mixture = binary_lj._mixture(options)
    truth = {n: jnp.asarray(v) for n, v in binary_lj._values(binary_lj.SYSTEM_B).items()}
    dynamics = replace(binary_lj.DYNAMICS, steps=100)
    sampler = particle_sampler(options.sites, mixture.box, dynamics)
    ready = sampler.prepare(mixture.potential(truth), jnp.asarray(mixture.beta))
    move = jax.jit(sampler.step)
    assert sampler.at is not None
    state = sampler.at(jax.random.key(0), jnp.asarray(x).T[..., None])

    def steps(count: int) -> None:
        nonlocal state
        for k in range(count // dynamics.steps):
            state, _ = move(jax.random.key(k), state, *ready)
        jax.block_until_ready(state)

    return steps


def _timed(steps: Any, count: int) -> float:
    """Milliseconds of one step, the best of some repeats."""
    steps(max(count // 4, 100))
    best = np.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        steps(count)
        best = min(best, time.perf_counter() - began)
    return 1e3 * best / count


def run() -> dict[str, Any]:
    """Milliseconds of a step of each, and how many times the kernels' theirs take."""
    options = binary_lj.Options()
    mixture = binary_lj._mixture(options)
    sampler = mixture.sampler
    truth = {n: jnp.asarray(v) for n, v in binary_lj._values(binary_lj.SYSTEM_B).items()}
    ready = sampler.prepare(mixture.potential(truth), jnp.asarray(mixture.beta))
    assert sampler.at is not None
    state = sampler.at(
        jax.random.key(1), jnp.asarray(binary_lj._slabs(jax.random.key(2), options)).T[..., None]
    )
    move = jax.jit(sampler.step)
    for k in range(100):
        state, _ = move(jax.random.key(k), state, *ready)
    x = np.asarray(state.x[..., 0].T, float)
    if not trajectories.available():
        raise RuntimeError("there are no compiled kernels here: no C++ compiler was found.")
    kernels = _timed(_ours(options, x), STEPS)
    openmm = _timed(_openmm(options, x), STEPS)
    there = trajectories.available
    trajectories.available = lambda: False  # type: ignore[assignment]
    try:
        alone = _timed(_ours(options, x), 200)
    finally:
        trajectories.available = there
    return {
        "kernels, ms": kernels,
        "OpenMM, ms": openmm,
        "JAX alone, ms (all cores)": alone,
        "OpenMM / kernels": openmm / kernels,
        "JAX alone / kernels": alone / kernels,
    }
