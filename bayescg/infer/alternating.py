r"""NUTS over parameters given latents, alternating with moves of the latents given parameters.

Given X the log posterior of u is

.. math:: \log p(u) + \beta\,\eta(u)\cdot\sum_i\phi(X_i) + \sum_i\log p_{cf}(x_i \mid X_i, u) - N A(\eta(u)),

for which a log-partition strategy is all that is needed. Given u the latents move by the system's own
kernel for q_i, which leaves log Z alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from bayescg.infer.estimates import likelihood_coordinates
from bayescg.infer.program import Program
from bayescg.samplers.base import Sampler

__all__ = ["Alternating", "Draws", "Options", "State"]

TOGETHER = 32  # frames whose statistics are summed at once
SHORT = 6  # deepest tree of warm-up, where steps are still far too short


class State(NamedTuple):
    """Chains of both; the leading axis of every array is ``chain``."""

    hmc: Any  # NumPyro's
    latent: Any  # a sampler's state of all frames, or None where the data hold the latents


class Draws(NamedTuple):
    """What a run leaves behind, ``(chain, draw, ...)``."""

    u: np.ndarray
    log_posterior: np.ndarray  # of u given the latents of its turn, with the Jacobian
    diverging: np.ndarray
    num_steps: np.ndarray
    accept_prob: np.ndarray
    energy: np.ndarray


@dataclass(frozen=True)
class Options:
    """How long, and how.

    :param moves: of the latents between two transitions of NUTS.
    """

    warmup: int = 1000
    target_accept: float = 0.9
    max_tree_depth: int = 10
    dense: bool = False
    moves: int = 4


@dataclass(frozen=True, eq=False)
class Alternating:
    """What moves chains of parameters and latents of one data set; compiled once.

    :param sampler: kernel of q_i.
    """

    program: Program
    sampler: Sampler
    x: Array
    conditions: dict[str, Array]
    options: Options

    @property
    def observed(self) -> bool:
        """Whether the data hold the latents: then only NUTS moves."""
        return self.program.sites.latent_observed

    def natural(self, u: Array) -> Array:
        """Natural parameters times beta, ``(term,)``."""
        boltzmann = self.program.boltzmann(u, self.x, self.conditions)
        return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()

    def _wide(self, latent: Any) -> Array:
        return latent.x.T.astype(jnp.result_type(float))  # (frame, ...)

    def summed(self, u: Array, latent: Array) -> Array:
        """Statistics of all frames together, ``(term,)``."""
        potential = self.program.boltzmann(u, self.x, self.conditions).potential
        return jnp.sum(potential.statistics(latent.T), -1)

    @cached_property
    def seen(self) -> Array:
        """Statistics of latents that the data hold, of all frames together, ``(term,)``; a few frames at a time."""
        blank = jnp.zeros(self.program.size)
        total = jax.jit(self.summed)
        where = self.held(None)
        parts = [total(blank, where[i : i + TOGETHER]) for i in range(0, len(where), TOGETHER)]
        return jnp.sum(jnp.stack(parts), 0)

    def log_prior(self, u: Array) -> Array:
        """Log prior of u, with the Jacobian."""
        return self.program.log_prior(u, self.x, self.conditions) + self.program.log_jacobian(u)

    @cached_property
    def _told(self) -> bool:
        """Whether the likelihood says anything of u."""
        if not self.observed:
            return True
        if self.program.kept is not None:
            return False
        return likelihood_coordinates(self.program, self.x, self.conditions).size > 0

    def _likelihood(self, u: Array, latent: Array) -> Array:
        if not self._told:
            return jnp.zeros(())
        return jnp.sum(self.program.log_likelihood(u, latent, self.x, self.conditions))

    def _potential(self, partition: Any, total: Array, latent: Array) -> Callable[[Array], Array]:
        def energy(u: Array) -> Array:
            boltzmann = self.program.boltzmann(u, self.x, self.conditions)
            beta = jnp.asarray(boltzmann.beta)
            log_joint = beta * boltzmann.potential.natural() @ total - len(self.x) * partition(
                boltzmann.potential, beta
            )
            value = -(log_joint + self._likelihood(u, latent) + self.log_prior(u))
            return jnp.where(jnp.isnan(value), jnp.inf, value)

        return energy

    @cached_property
    def _kernels(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        init, sample = hmc(potential_fn_gen=self._potential, algo="NUTS")
        return init, sample

    def start(
        self, key: Array, u: Array, partition: Any, latent: Any = None, inverse_mass: Any = None
    ) -> State:
        """Chains at ``u (chain, u)``.

        :param latent: of chains that were here before; None: where the data are, or the sampler's own places.
        :param inverse_mass: NUTS's first inverse mass matrix, adapted from there; None: ones.
        """
        place, key = jax.random.split(key)
        chains = len(u)
        if not self.observed and latent is None:
            states = [self.placed(k) for k in jax.random.split(place, chains)]
            latent = jax.tree.map(lambda *a: jnp.stack(a), *states)
        keys = jax.random.split(key, chains)
        if self.observed:
            _ = self.seen, self._told  # found now: what is compiled takes them for constants
        state = self._begin(keys, u, latent, partition, inverse_mass)
        return State(state, latent)

    @cached_property
    def _begin(self) -> Callable[..., Any]:
        o = self.options

        def one(key: Array, u: Array, latent: Any, partition: Any, inverse_mass: Any) -> Any:
            where = self.held(latent)
            total = self.seen if self.observed else self.summed(u, where)
            return self._kernels[0](
                u,
                o.warmup,
                dense_mass=o.dense,
                target_accept_prob=o.target_accept,
                max_tree_depth=(min(o.max_tree_depth, SHORT), o.max_tree_depth),
                trajectory_length=None,
                inverse_mass_matrix=inverse_mass,
                model_args=(partition, total, where),
                rng_key=key,
            )

        # Compiled as one: step by step it takes a minute.
        return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None, None)))

    def inverse_mass(self, draws: np.ndarray) -> Array:
        """Inverse mass matrix, or its diagonal, from draws ``(draw, u)``, shrunk as Stan does."""
        count = len(draws)
        shrunk = count / (count + 5.0)
        floor = 1e-3 * 5.0 / (count + 5.0)
        if self.options.dense:
            return jnp.asarray(
                shrunk * np.atleast_2d(np.cov(draws.T)) + floor * np.eye(draws.shape[1])
            )
        return jnp.asarray(shrunk * draws.var(0) + floor)

    def placed(self, key: Array) -> Any:
        """Chains of all frames' latents, where the sampler has them begin."""
        return self.sampler.init(key, len(self.x))

    def held(self, latent: Any) -> Array:
        if self.observed:
            return self.program.fixed[self.program.sites.latent]
        return self._wide(latent)

    # --- one turn ---------------------------------------------------------------------------
    def moved(self, key: Array, u: Array, latent: Any, moves: int) -> Any:
        """Latents of one chain after some moves at u."""
        boltzmann = self.program.boltzmann(u, self.x, self.conditions)
        ready = self.sampler.prepare(boltzmann.potential, jnp.asarray(boltzmann.beta))
        pull = jax.tree.map(lambda a: a.T, self.program.pull(u, self.x, self.conditions))

        def move(state: Any, k: Array) -> tuple[Any, None]:
            return self.sampler.step(k, state, *ready, pull)[0], None

        return jax.lax.scan(move, latent, jax.random.split(key, moves))[0]

    def _turn(self, key: Array, state: State, partition: Any) -> tuple[State, tuple[Array, ...]]:
        """Latents of every chain, then parameters."""

        def latents(args: Any) -> Any:
            key, u, latent = args
            latent = self.moved(key, u, latent, self.options.moves)
            where = self._wide(latent)
            return latent, self.summed(u, where), where

        u = state.hmc.z
        if self.observed:
            latent, total, held = None, self.seen, self.held(None)
        else:
            keys = jax.random.split(key, len(u))
            # Batches of spins are wide enough: chains go one after the other.
            latent, total, held = jax.lax.map(latents, (keys, u, state.latent))

        def parameters(hmc_state: Any, u: Array, total: Array, where: Array) -> Any:
            value, slope = jax.value_and_grad(self._potential(partition, total, where))(u)
            fresh = hmc_state._replace(z=u, potential_energy=value, z_grad=slope)
            return self._kernels[1](fresh, model_args=(partition, total, where))

        each = None if self.observed else 0
        new = jax.vmap(parameters, in_axes=(0, 0, each, each))(state.hmc, u, total, held)
        told = (new.z, -new.potential_energy, new.diverging, new.num_steps)
        return State(new, latent), (*told, new.accept_prob, new.energy)

    @cached_property
    def _run(self) -> Callable[..., Any]:
        @partial(jax.jit, static_argnames="turns")
        def run(key: Array, state: State, partition: Any, turns: int) -> Any:
            def turn(state: State, k: Array) -> Any:
                return self._turn(k, state, partition)

            return jax.lax.scan(turn, state, jax.random.split(key, turns))

        return run

    def run(
        self,
        key: Array,
        state: State,
        partition: Any,
        turns: int,
        *,
        first: int = 0,
        block: int = 100,
        tell: Callable[[float, dict[str, float]], None] | None = None,
    ) -> tuple[State, Draws]:
        """Go on for some turns.

        :param first: turns taken before.
        :param block: turns between two words of progress.
        """
        parts: list[tuple[np.ndarray, ...]] = []
        done = 0
        while done < turns:
            size = min(block, turns - done)
            state, out = self._run(
                jax.random.fold_in(key, first + done), state, partition, turns=size
            )
            parts.append(tuple(np.asarray(a) for a in out))
            done += size
            if tell is not None:
                tell(done / turns, {"turn": first + done, "divergences": float(parts[-1][2].sum())})
        joined = [np.moveaxis(np.concatenate([p[i] for p in parts]), 0, 1) for i in range(6)]
        return state, Draws(*joined)
