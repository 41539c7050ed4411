"""Posterior predictive of observables of particles: one chain a draw, all chains pooled."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.devices import check_divides, everywhere, fetched, laid_out, over_devices
from bayescg.infer.program import Program, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent
from bayescg.observables.base import Observable
from bayescg.potentials.molecular import MolecularPotential
from bayescg.potentials.particles import ParticlePotential
from bayescg.predict.pooling import Pooled, pool
from bayescg.predict.pressure import Pressure, pressure
from bayescg.samplers.base import Sampler

__all__ = ["ParticlePrediction", "Production", "among", "drifts", "particle_predictive", "weighted"]

NODES = np.array([-0.9, 0.0, 0.9])  # fine-scale widths at which each sample is measured
SAME = 1e-9  # relative difference of widths that is none
BLOCKS = 15  # of a warm-up, after each of which energies are looked at
LONGEST = 4  # times its length that a warm-up may take if energies drift
DRIFT = 3.0  # standard errors of the mean energy's change that are called a drift


class Production(NamedTuple):
    """How long the model is simulated; a trajectory is one step of the sampler."""

    warmup: int = 150  # trajectories of each chain before the first measurement, at least
    measurements: int = 80  # of each chain
    thin: int = 5  # trajectories from one to the next


class ParticlePrediction(NamedTuple):
    """Observables at every draw, by name, and what stands behind them."""

    values: dict[str, np.ndarray]  # (draw, *dims)
    errors: dict[str, np.ndarray]  # Monte Carlo standard error, same shape
    effective: np.ndarray  # (draw,), effective number of pooled samples
    failures: np.ndarray  # (simulated,), trajectories of each chain that blew up
    left_out: np.ndarray  # (simulated,), samples of each chain that are too dense for their sums
    bulk: tuple[Pressure, ...]  # of each draw
    warmup: int  # trajectories that it took
    drifting: bool  # whether the mean energy still changed at its end
    settled: bool  # whether pooling came to its end


@laid_out
def particle_predictive(
    program: Program,
    sampler: Sampler,
    observables: Sequence[Observable],
    key: Array,
    u: np.ndarray,
    simulated: int,
    x: np.ndarray,
    conditions: dict[str, Array],
    *,
    production: Production = Production(),  # noqa: B008 - a tuple
    pre_map: Callable[[Array], Array] | None = None,
    complete: Callable[[Array, Array], Array] | None = None,
    progress: Progress | None = None,
) -> ParticlePrediction:
    r"""Estimate :math:`\hat a(\theta) = E[a(x)]` at many parameter values.

    The first ``simulated`` values are simulated, one chain each; every value is then estimated
    from all samples by multistate reweighting (:func:`~bayescg.predict.pooling.pool`), which lowers
    the Monte Carlo error as far as the values overlap. The fine scale is drawn with the variance of
    the coarse-to-fine map: each sample is measured with the same noise at three variances, and the
    observable interpolated between them. Where the map has several variances their mean is interpolated, with their
    ratios (and weights) at the mean of the draws: what draws that differ in those alone do is left out.
    The warm-up is lengthened as long as the mean energy of the
    chains :func:`drifts`, up to ``LONGEST`` times. Samples too dense for the sums of the potential (of a draw whose
    sites fall into each other) are left out of the pool and counted: one of them would leave no draw a number.

    :param program: that was fitted.
    :param sampler: of p_c.
    :param observables: in their box.
    :param key: random key.
    :param u: unconstrained parameters, ``(draw, u)``.
    :param x: configurations to start from, ``(frame, site, axis)``.
    :param conditions: program arguments, scalars.
    :param production: lengths of warm-up and sampling.
    :param pre_map: from configurations of the model to those that are measured; ``complete`` puts the sites that
        it drops into ``x``, as :class:`~bayescg.system.System` has them; without it chains start in the sampler's own
        configurations.
    :param progress: is told how far it is.
    :raises ValueError: if no sample can be measured.
    """
    progress = progress or Silent()
    warn_of_single_precision()
    check_divides(simulated, "simulations of draws", "--draws")
    draws = jnp.asarray(u)
    frames = jnp.asarray(x, float)
    start_key, warm_key, run_key = jax.random.split(key, 3)
    latent = jnp.zeros((1, *program.latent_shape))
    around: Any = None
    if program.dirac(latent, frames[:1], conditions) is None:
        widths = _widths(program, draws, frames, conditions)
        around = _spread(program, jnp.mean(draws, 0), frames, conditions)
    else:
        widths = jnp.zeros(len(draws))
    nodes = jnp.asarray(_nodes_of(np.asarray(widths)))
    if pre_map is not None and complete is None:
        state = sampler.init(start_key, simulated)
    else:
        assert sampler.at is not None
        places = frames[jnp.arange(simulated) % len(x)]
        if complete is not None:
            places = complete(jax.random.fold_in(start_key, 1), places)
        state = sampler.at(start_key, places.T)

    def prepare(v: Array) -> Any:
        boltzmann = program.boltzmann(v, frames[:1], conditions)
        return sampler.prepare(boltzmann.potential, jnp.asarray(boltzmann.beta))

    # What does not depend on the draw (the grid, the box) has no chain axis.
    one = jax.eval_shape(prepare, draws[0])
    axes = jax.tree.map(lambda a: -1, one)
    tables, unit = jax.jit(jax.vmap(prepare, out_axes=axes))(draws[:simulated])
    common = {"step": tables.step[0], "box": tables.box[:, 0]}
    ready = (over_devices(tables)._replace(**everywhere(common)), everywhere(unit[0]))
    state = over_devices(state)
    potential = program.boltzmann(draws[0], frames[:1], conditions).potential
    assert isinstance(potential, ParticlePotential | MolecularPotential)

    @partial(jax.jit, static_argnames="count")
    def run(key: Array, state: Any, ready: Any, count: int) -> tuple[Any, Array]:
        def move(state: Any, k: Array) -> tuple[Any, Array]:
            state, info = sampler.step(k, state, *ready)
            return state, jnp.asarray(info.failed)

        return jax.lax.scan(move, state, jax.random.split(key, count))

    @jax.jit
    def measure(key: Array, x: Array) -> tuple[Array, tuple[Array, Array], dict[str, Array]]:
        wide = x.astype(jnp.result_type(float))
        seen = wide if pre_map is None else pre_map(wide)
        noise = 0.0 if around is None else around.noise(key, seen.shape)
        values = [{o.name: o(seen + jnp.sqrt(s) * noise) for o in observables} for s in nodes]
        stacked = jax.tree.map(lambda *v: jnp.stack(v), *values)  # (node, *dims, chain)
        return potential.statistics(wide), potential.virials(wide), stacked

    def natural(v: Array) -> Array:
        boltzmann = program.boltzmann(v, frames[:1], conditions)
        return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()

    eta = np.asarray(jax.jit(jax.vmap(natural))(draws))
    own = jnp.asarray(eta[:simulated].T)

    @jax.jit
    def energies(x: Array) -> Array:
        return -jnp.sum(own * potential.statistics(x.astype(own.dtype)), 0)

    block = max(1, production.warmup // BLOCKS)
    wanted, warmed, drift = production.warmup, 0, False
    seen_energies: list[np.ndarray] = []
    while warmed < wanted:
        state, _ = run(jax.random.fold_in(warm_key, warmed), state, ready, block)
        warmed += block
        seen_energies.append(fetched(energies(state.x)))
        progress.update("equilibrate", warmed / wanted, {"draws": simulated})
        if warmed >= wanted:
            drift = drifts(np.array(seen_energies))
            if drift and wanted < LONGEST * production.warmup:
                wanted = warmed + production.warmup // 2
    phi, first, second, seen = [], [], [], []
    for i in range(production.measurements):
        move, look = jax.random.split(jax.random.fold_in(run_key, i))
        state, _ = run(move, state, ready, production.thin)
        found, (one_more, two_more), values = fetched(measure(look, state.x))
        phi.append(found.T)
        first.append(one_more.T)
        second.append(two_more.T)
        seen.append({k: np.moveaxis(v, -1, 0) for k, v in values.items()})  # (chain, node, *dims)
        progress.update("predict", (i + 1) / production.measurements, {"measurements": i + 1})
    statistics = np.concatenate(phi)
    chain = np.tile(np.arange(simulated), production.measurements)
    grown = np.concatenate(first), np.concatenate(second)
    measured = {k: np.concatenate([s[k] for s in seen]) for k in seen[0]}
    usable = np.all([np.isfinite(a).all(1) for a in (statistics, *grown)], 0)
    for a in (*grown, *measured.values()):
        a[~usable] = 0.0

    pooled = among(usable, eta @ statistics[usable].T, chain, simulated)
    share = _interpolation(np.asarray(nodes), np.asarray(widths))  # (draw, node)
    values, errors = {}, {}
    for name, a in measured.items():
        flat = a.reshape(len(a), len(nodes), -1)
        value, error = weighted(flat, pooled.weights, share, simulated)
        shape = (len(u), *a.shape[2:])
        values[name], errors[name] = value.reshape(shape), error.reshape(shape)
    beta = float(jnp.asarray(program.boltzmann(draws[0], frames[:1], conditions).beta))
    volume, sites = float(np.prod(potential.box)), program.latent_shape[0]
    bulk = tuple(
        pressure(eta[d] / beta, beta, *grown, pooled.weights[d], chain, sites, volume)
        for d in range(len(u))
    )
    return ParticlePrediction(
        values,
        errors,
        pooled.effective,
        fetched(state.failures),
        np.bincount(chain[~usable], minlength=simulated),
        bulk,
        warmed,
        drift,
        pooled.settled,
    )


def among(usable: np.ndarray, exponents: np.ndarray, chain: np.ndarray, simulated: int) -> Pooled:
    """The pool of the usable samples ``(sample,)``, with no weight on the others.

    :raises ValueError: if none is.
    """
    if not usable.any():
        raise ValueError(
            "no configuration that the model was simulated to can be measured: under all draws its sites fall into "
            "each other. Fit it again, with more frames or until it converges."
        )
    pooled = pool(exponents, chain[usable], simulated)
    weights = np.zeros((len(pooled.weights), len(usable)))
    weights[:, usable] = pooled.weights
    return pooled._replace(weights=weights)


def drifts(energies: np.ndarray) -> bool:
    """Whether the mean over chains still changes from the middle third of a series to the last.

    Chains are independent, so their spread gives the error of the mean change, however the series of
    each is correlated. Of chains in equilibrium three in a thousand series are taken to drift.

    :param energies: ``(block, chain)``.
    """
    third = len(energies) // 3
    if third == 0 or energies.shape[1] < 2:
        return False
    change = energies[-third:].mean(0) - energies[-2 * third : -third].mean(0)
    error = change.std(ddof=1) / np.sqrt(len(change))
    return not abs(change.mean()) <= DRIFT * error


def _spread(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Any:
    """What data exert on the latents of the first frame at parameters ``u``, in the layout of samplers."""
    return jax.tree.map(jnp.transpose, program.pull(u, x[:1], conditions))


def _widths(program: Program, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
    """Mean variance of a fine coordinate about its coarse one at each draw, ``(draw,)``."""
    return jax.jit(jax.vmap(lambda v: _spread(program, v, x, conditions).variance()[0]))(u)


def weighted(
    measured: np.ndarray, weights: np.ndarray, share: np.ndarray, chains: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means of samples at every draw, and their errors from the spread of the chains.

    Chain by chain, as products of matrices: joint distributions have hundreds of bins.

    :param measured: values at each node, ``(sample, node, bin)``; samples of one time stand together.
    :param weights: of the samples, ``(draw, sample)``, adding up to 1.
    :param share: of the nodes, ``(draw, node)``.
    :return: both ``(draw, bin)``.
    """
    nodes, bins = measured.shape[1:]
    mean, squares, cross = (np.zeros((len(weights), bins)) for _ in range(3))
    total = np.zeros((len(weights), 1))
    for c in range(chains):
        own = np.ascontiguousarray(weights[:, c::chains])
        part = sum(share[:, n, None] * (own @ measured[c::chains, n]) for n in range(nodes))
        weight = own.sum(1, keepdims=True)
        mean += part
        squares += part**2
        cross += part * weight
        total += weight**2
    # Sum over chains of (part - weight mean)^2, without a second pass; rounding may pass zero.
    return mean, np.sqrt(np.maximum(squares - 2.0 * mean * cross + total * mean**2, 0.0))


def _nodes_of(widths: np.ndarray) -> np.ndarray:
    """Widths between which those of the draws are interpolated; the one that there is of a point estimate."""
    low, high = widths.min(), widths.max()
    if high - low <= SAME * high:
        return np.array([high])
    gap = max(high - low, 0.02 * high)
    middle = 0.5 * (low + high)
    return middle + 0.5 * gap * NODES


def _interpolation(nodes: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Lagrange weights of the nodes at each width, ``(draw, node)``."""
    out = np.ones((len(widths), len(nodes)))
    for i in range(len(nodes)):
        for j in range(len(nodes)):
            if i != j:
                out[:, i] *= (widths - nodes[j]) / (nodes[i] - nodes[j])
    return out
