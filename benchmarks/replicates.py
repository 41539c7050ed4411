"""Many data sets of one Ising lattice, and the exact posterior of each, all sampled at once.

The replications share one listing of the coarse states and one compiled program, so that hundreds of posteriors cost
what one costs on an accelerator, and minutes on a core where the coarse lattice is small.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.handlers import seed, trace
from numpyro.infer import MCMC, NUTS

from bayescg.distributions import TransferMatrix
from bayescg.infer.handlers import collapse_precisions
from bayescg.infer.marginal import collapsed_program, log_marginal
from bayescg.infer.program import Program, read_program
from bayescg.potentials import SpinPotential
from bayescg.potentials.enumeration import orbit_log_weights, orbit_statistics, ring_orbits
from bayescg.potentials.transfer_matrix import ring_moments, sample_ring
from bayescg.system import System
from bayescg.workflow import make_system
from bayescg.workflow.registry import load_model

__all__ = [
    "Posteriors",
    "Study",
    "exact_observables",
    "from_prior",
    "from_truth",
    "posteriors",
    "study",
]


class Study(NamedTuple):
    """One coarse model of one lattice."""

    system: System
    program: Program
    ratio: int
    sites: int  # fine


class Posteriors(NamedTuple):
    """Draws of every replication."""

    u: np.ndarray  # (replication, chain, draw, u)
    log_likelihood: np.ndarray  # (replication, chain, draw, frame)
    observables: np.ndarray  # (replication, chain, draw, 1 + separation), m and R(1), R(2), ...
    divergences: np.ndarray  # (replication,)
    steps: float  # leapfrog steps of a transition, on average


def study(sites: int, ratio: int, words: Sequence[str], frames: int, scale: float = 1.0) -> Study:
    """The coarse model at one ratio under a normal prior, with all that is exact of it.

    :param words: further options of the model.
    """
    words = [f"n_f={sites}", f"ratio={ratio}", "prior=normal", f"prior_scale={scale}", *words]
    system = make_system("ising", words)
    program = read_program(system.program, jnp.ones((frames, sites)), {"mu": jnp.zeros(())})
    return Study(system, program, ratio, sites)


def _fine(which: Study, mu: float) -> tuple[object, Array]:
    ising = load_model("ising")
    options = ising.Options(n_f=which.sites)
    potential = ising.fine_potential(options, mu)
    return potential, jnp.asarray(options.beta, float)


def from_truth(
    which: Study, mu: float, key: Array, count: int, frames: int
) -> tuple[Array, np.ndarray]:
    """Data sets ``(replication, frame, site)`` of the fine lattice, and its exact m and R(k)."""
    potential, beta = _fine(which, mu)
    x = sample_ring(key, potential, beta, count * frames).T  # type: ignore[arg-type]
    m, r = ring_moments(potential, beta)  # type: ignore[arg-type]
    truth = np.concatenate([[float(m)], np.asarray(r)])
    return jnp.asarray(x.reshape(count, frames, which.sites), float), truth


def from_prior(which: Study, mu: float, key: Array, count: int, frames: int) -> tuple[Array, Array]:
    """Parameters ``u (replication, u)`` of the prior, and a data set of each."""

    def one(key: Array) -> tuple[Array, Array]:
        program = seed(collapse_precisions(which.program.function), key)
        with numpyro.handlers.block():
            sites = trace(program).get_trace(None, frames=frames, mu=jnp.asarray(mu))
        u = which.program.unconstrain({k: sites[k]["value"] for k in which.program.shapes})
        return u, sites[which.program.sites.likelihood[0]]["value"]

    return jax.lax.map(one, jax.random.split(key, count))


def exact_observables(which: Study, u: Array, mu: Array) -> Array:
    """m and R(1), R(2), ... of the model at ``u``, ``(1 + separation,)``: sums over all coarse states."""
    program = which.program
    boltzmann = program.boltzmann(u, jnp.ones((1, which.sites)), {"mu": mu})
    mean, coarse = _coarse(
        boltzmann.potential, jnp.asarray(boltzmann.beta), boltzmann.log_partition
    )
    same = (2.0 * program.constrain(u)["p0"] - 1.0) ** 2
    k = np.arange(1, which.sites // 2 + 1)
    far, rest = k // which.ratio, k % which.ratio
    part = rest / which.ratio  # of the pairs k apart whose parents are one farther
    r = same * ((1.0 - part) * coarse[far] + part * coarse[far + 1])
    return jnp.concatenate([(jnp.sqrt(same) * mean)[None], r])


def _coarse(potential: SpinPotential, beta: Array, strategy: Any) -> tuple[Array, Array]:
    """Mean of a coarse spin, and C(0) = 1, C(1), ... to one more than half the ring."""
    n = potential.basis.sites
    if isinstance(strategy, TransferMatrix):
        mean, pairs = ring_moments(potential, beta)
        return mean, jnp.concatenate([jnp.ones(1), pairs, pairs[n - n // 2 - 2 :][:1]])
    spins, _, _ = ring_orbits(n, potential.basis.mirror_symmetric)
    _, log_count, _ = orbit_statistics(potential.basis)
    p = jax.nn.softmax(orbit_log_weights(potential, beta) + log_count)
    x = spins.astype(float)
    pairs = np.stack([np.mean(x * np.roll(x, -k, 0), 0) for k in range(n // 2 + 2)])
    return x.mean(0) @ p, pairs @ p


def posteriors(
    which: Study,
    x: Array,
    mu: Array,
    key: Array,
    *,
    chains: int = 1,
    warmup: int = 400,
    samples: int = 500,
    target_accept: float = 0.9,
    max_tree_depth: int = 7,
    together: int | None = None,
) -> Posteriors:
    """NUTS on every data set of ``x (replication, frame, site)`` in its field, latents summed out exactly.

    :param together: replications that move in step, which all take as long as the longest of their trajectories; None:
        all, as suits an accelerator.
    """
    program = which.program
    together = len(x) if together is None else together
    function = collapsed_program(program)

    def chain(key: Array, x: Array, mu: Array) -> tuple[Array, Array, Array]:
        kernel = NUTS(
            function,
            target_accept_prob=target_accept,
            max_tree_depth=max_tree_depth,
            dense_mass=True,
        )
        mcmc = MCMC(kernel, num_warmup=warmup, num_samples=samples, progress_bar=False)
        mcmc.run(key, x, extra_fields=("diverging", "num_steps"), mu=mu)
        extra = mcmc.get_extra_fields()
        sites = mcmc.get_samples()
        u = jax.vmap(program.unconstrain)({k: sites[k] for k in program.shapes})
        return u, jnp.sum(extra["diverging"]), jnp.mean(extra["num_steps"])

    def after(u: Array, x: Array, mu: Array) -> tuple[Array, Array]:
        return log_marginal(program, u, x, {"mu": mu}), exact_observables(which, u, mu)

    keys = jax.random.split(key, (len(x), chains))

    def one(given: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        keys, x, mu = given
        return jax.vmap(chain, (0, None, None))(keys, x, mu)

    run = jax.jit(lambda *given: jax.lax.map(one, given, batch_size=together))
    u, divergences, steps = run(keys, x, mu)
    # Data are arguments: constants of a program this size would be folded for minutes.
    each = jax.vmap(jax.vmap(after, (0, None, None)), (0, None, None))
    judge = jax.jit(lambda *given: jax.lax.map(lambda v: each(*v), given, batch_size=together))
    value, observables = judge(u, x, mu)
    return Posteriors(
        np.asarray(u),
        np.asarray(value),
        np.asarray(observables),
        np.asarray(jnp.sum(divergences, 1)),
        float(jnp.mean(steps)),
    )
