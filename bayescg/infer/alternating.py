r"""NUTS over parameters given latents, alternating with moves of the latents given parameters.

Given X the log posterior of u is

.. math:: \log p(u) + \beta\,\eta(u)\cdot\sum_i\phi(X_i) + \sum_i\log p_{cf}(x_i \mid X_i, u) - N A(\eta(u)),

for which a log-partition strategy is all that is needed. Given u the latents move by the system's own
kernel for q_i, which leaves log Z alone. Coordinates that p_cf alone knows are known from latent sites in space far
better than from x: those move with the latents (:mod:`bayescg.infer.widths`), and NUTS moves the others.
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

from bayescg.infer.checkpoint import place
from bayescg.infer.estimates import likelihood_coordinates
from bayescg.infer.numpyro_chains import least_effective
from bayescg.infer.program import Program
from bayescg.infer.sheared import Sheared
from bayescg.infer.widths import FIRST, interwoven
from bayescg.samplers.base import Sampler

__all__ = ["FIRST_STEP", "Alternating", "Draws", "Latents", "Options", "State"]

TOGETHER = 32  # frames whose statistics are summed at once
FIRST_STEP = 0.3  # of NUTS, in standard deviations
SHORT = 6  # deepest tree of warm-up, where steps are still far too short


class State(NamedTuple):
    """Chains of both; the leading axis of every array is ``chain``."""

    u: Array
    hmc: Any  # NumPyro's, of the coordinates that NUTS moves
    latent: "Latents"


class Latents(NamedTuple):
    """Latents of all frames, and what moves with them; the leading axis is ``chain``."""

    state: Any = None  # a sampler's; None where the data hold the latents
    log_scale: Array | None = None  # of steps of p_cf's coordinates, (chain, 2); None: NUTS's


class Draws(NamedTuple):
    """What a run leaves behind, ``(chain, draw, ...)``."""

    u: np.ndarray
    log_posterior: np.ndarray  # of what NUTS moves, given the rest of its turn, with the Jacobian
    diverging: np.ndarray
    num_steps: np.ndarray
    accept_prob: np.ndarray
    energy: np.ndarray
    step_size: np.ndarray


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
    :param sheared: coordinates of NUTS (:mod:`bayescg.infer.sheared`) where it does not adapt its mass; None: u.
    """

    program: Program
    sampler: Sampler
    x: Array
    conditions: dict[str, Array]
    options: Options
    sheared: Sheared | None = None

    @property
    def observed(self) -> bool:
        """Whether the data hold the latents: then only NUTS moves."""
        return self.program.sites.latent_observed

    def natural(self, u: Array) -> Array:
        """Natural parameters times beta, ``(term,)``."""
        boltzmann = self.program.boltzmann(u, self.x, self.conditions)
        return jnp.asarray(boltzmann.beta) * boltzmann.potential.natural()

    @cached_property
    def fine(self) -> np.ndarray:
        """Coordinates of u that move with the latents: those that p_cf alone knows, of latent sites in space."""
        if self.observed or self.sampler.at is None or self.program.kept is not None:
            return np.zeros(0, int)
        return likelihood_coordinates(self.program, self.x, self.conditions)

    def moving(self, u: Array) -> Array:
        """Coordinates that NUTS moves, of ``u (u,)``."""
        return (u if self.sheared is None else self.sheared.straight(u))[self.rest]

    def moved_to(self, u: Array, moving: Array) -> Array:
        """``u (u,)`` with those where they have moved."""
        w = u.at[self.rest].set(moving)
        return w if self.sheared is None else self.sheared.back(w)

    @cached_property
    def rest(self) -> np.ndarray:
        """Coordinates that NUTS moves."""
        return np.setdiff1d(np.arange(self.program.size), self.fine)

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
        """Whether the likelihood says anything of the coordinates that NUTS moves."""
        if not self.observed:
            return len(self.fine) == 0
        if self.program.kept is not None:
            return False
        return likelihood_coordinates(self.program, self.x, self.conditions).size > 0

    def _potential(
        self, partition: Any, total: Array, latent: Array, u: Array
    ) -> Callable[[Array], Array]:
        """Minus the log posterior, less what does not depend on the coordinates that NUTS moves.

        :param u: of which those are moved, ``(u,)``.
        """

        def energy(moved: Array) -> Array:
            there = self.moved_to(u, moved)
            boltzmann = self.program.boltzmann(there, self.x, self.conditions)
            beta = jnp.asarray(boltzmann.beta)
            log_joint = beta * boltzmann.potential.natural() @ total - len(self.x) * partition(
                boltzmann.potential, beta
            )
            if self._told:
                log_joint = log_joint + jnp.sum(
                    self.program.log_likelihood(there, latent, self.x, self.conditions)
                )
            value = -(log_joint + self.log_prior(there))
            return jnp.where(jnp.isnan(value), jnp.inf, value)

        return energy

    @cached_property
    def _kernels(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        init, sample = hmc(potential_fn_gen=self._potential, algo="NUTS")
        return init, sample

    def start(
        self,
        key: Array,
        u: Array,
        partition: Any,
        latent: Latents | None = None,
        inverse_mass: Any = None,
        step_size: float = FIRST_STEP,
    ) -> State:
        """Chains at ``u (chain, u)``.

        :param latent: of chains that were here before; None: as :meth:`placed`.
        :param inverse_mass: NUTS's first inverse mass matrix, adapted from there; None: ones.
        :param step_size: its first step, likewise.
        """
        spot, key = jax.random.split(key)
        chains = len(u)
        if latent is None:
            latent = self.placed(spot, chains)
        keys = jax.random.split(key, chains)
        if self.observed:
            _ = self.seen  # found now: what is compiled takes it for a constant
        _ = self._told, self.rest  # likewise
        return State(
            u, self._begin(keys, u, latent.state, partition, inverse_mass, step_size), latent
        )

    @property
    def adapting(self) -> bool:
        """Whether NUTS adapts its mass to draws.

        Not where latents in space are sampled: draws are spread as parameters are whatever X, which is wider than what
        NUTS moves in, given X; and a hundred parameters take thousands of them.
        """
        return self.sheared is None

    @cached_property
    def _begin(self) -> Callable[..., Any]:
        o = self.options

        def one(
            key: Array, u: Array, latent: Any, partition: Any, inverse_mass: Any, step_size: Array
        ) -> Any:
            where = self.held(latent)
            total = self.seen if self.observed else self.summed(u, where)
            return self._kernels[0](
                self.moving(u),
                o.warmup,
                step_size=step_size,
                dense_mass=o.dense,
                target_accept_prob=o.target_accept,
                adapt_mass_matrix=self.adapting,
                max_tree_depth=(min(o.max_tree_depth, SHORT), o.max_tree_depth),
                trajectory_length=None,
                inverse_mass_matrix=inverse_mass,
                model_args=(partition, total, where, u),
                rng_key=key,
            )

        # Compiled as one: step by step it takes a minute.
        return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None, None, None)))

    def inverse_mass(self, draws: np.ndarray) -> Array:
        """Inverse mass matrix, or its diagonal, from draws ``(draw, u)``, shrunk as Stan does."""
        draws, count = np.asarray(jax.vmap(self.moving)(jnp.asarray(draws))), len(draws)
        shrunk = count / (count + 5.0)
        floor = 1e-3 * 5.0 / (count + 5.0)
        if self.options.dense:
            return jnp.asarray(
                shrunk * np.atleast_2d(np.cov(draws.T)) + floor * np.eye(draws.shape[1])
            )
        return jnp.asarray(shrunk * draws.var(0) + floor)

    def placed(self, key: Array, chains: int) -> Latents:
        """Latents of all frames: sites in space where the data are, spins where the sampler has them begin."""
        if self.observed:
            return Latents()
        sampler, frames = self.sampler, len(self.x)
        states = [
            sampler.init(k, frames) if sampler.at is None else sampler.at(k, self.x.T)
            for k in jax.random.split(key, chains)
        ]
        log_scale = jnp.log(jnp.tile(jnp.array(FIRST), (chains, 1))) if len(self.fine) else None
        return Latents(jax.tree.map(lambda *a: jnp.stack(a), *states), log_scale)

    def held(self, latent: Any) -> Array:
        """Latents of one chain, ``(frame, ...)``, from a sampler's state of them."""
        if self.observed:
            return self.program.fixed[self.program.sites.latent]
        return self._wide(latent)

    # --- one turn ---------------------------------------------------------------------------
    def moved(
        self, key: Array, u: Array, latent: Latents, moves: int, gain: Array | float = 0.0
    ) -> tuple[Array, Latents]:
        """Latents of one chain after some moves at ``u (u,)``, and u, of which ``fine`` moved with them.

        :param gain: with which steps of ``fine`` adapt their lengths.
        """
        boltzmann = self.program.boltzmann(u, self.x, self.conditions)
        ready = self.sampler.prepare(boltzmann.potential, jnp.asarray(boltzmann.beta))

        def move(carry: tuple[Array, Latents], key: Array) -> tuple[tuple[Array, Latents], None]:
            u, (state, log_scale) = carry
            k_move, k_fine = jax.random.split(key)
            pull = jax.tree.map(lambda a: a.T, self.program.pull(u, self.x, self.conditions))
            state = self.sampler.step(k_move, state, *ready, pull)[0]
            if log_scale is not None:
                given = (self.x, self.conditions, jnp.asarray(gain))
                u, state, log_scale = interwoven(
                    self.program,
                    self.sampler,
                    self.fine,
                    k_fine,
                    u,
                    state,
                    log_scale,
                    ready,
                    *given,
                )
            return (u, Latents(state, log_scale)), None

        return jax.lax.scan(move, (u, latent), jax.random.split(key, moves))[0]

    @cached_property
    def relaxed(self) -> Callable[..., tuple[Array, Latents, Array]]:
        """``(key, u (chain, u), latents, moves, gain)``: u, latents and their statistics of every chain afterwards."""

        @partial(jax.jit, static_argnames="moves")
        def relaxed(key: Array, u: Array, latent: Latents, moves: int, gain: Array) -> Any:
            def one(args: Any) -> Any:
                key, u, latent = args
                u, latent = self.moved(key, u, latent, moves, gain)
                return u, latent, self.summed(u, self._wide(latent.state))

            return jax.lax.map(one, (jax.random.split(key, len(u)), u, latent))

        return relaxed

    def _turn(
        self, key: Array, state: State, partition: Any, gain: Array
    ) -> tuple[State, tuple[Array, ...]]:
        """Latents of every chain, and what moves with them, then the other parameters."""

        def latents(args: Any) -> Any:
            key, u, latent = args
            u, latent = self.moved(key, u, latent, self.options.moves, gain)
            where = self._wide(latent.state)
            return u, latent, self.summed(u, where), where

        u = state.u
        if self.observed:
            latent, total, held = state.latent, self.seen, self.held(None)
        else:
            keys = jax.random.split(key, len(u))
            # Batches of spins are wide enough: chains go one after the other.
            u, latent, total, held = jax.lax.map(latents, (keys, u, state.latent))

        def parameters(hmc_state: Any, u: Array, total: Array, where: Array) -> Any:
            args, z = (partition, total, where, u), self.moving(u)
            value, slope = jax.value_and_grad(self._potential(*args))(z)
            fresh = hmc_state._replace(z=z, potential_energy=value, z_grad=slope)
            new = self._kernels[1](fresh, model_args=args)
            return new, self.moved_to(u, new.z)

        each = None if self.observed else 0
        new, u = jax.vmap(parameters, in_axes=(0, 0, each, each))(state.hmc, u, total, held)
        told = (u, -new.potential_energy, new.diverging, new.num_steps)
        step = new.adapt_state.step_size
        return State(u, new, latent), (*told, new.accept_prob, new.energy, step)

    @cached_property
    def _run(self) -> Callable[..., Any]:
        @partial(jax.jit, static_argnames="turns")
        def run(key: Array, state: State, partition: Any, gain: Array, turns: int) -> Any:
            def turn(state: State, k: Array) -> Any:
                return self._turn(k, state, partition, gain)

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
        gain: float = 0.0,
        tell: Callable[[float, dict[str, float]], None] | None = None,
    ) -> tuple[State, Draws]:
        """Go on for some turns.

        :param first: turns taken before.
        :param gain: with which steps that go with the latents adapt their lengths.
        :param block: turns between two words of progress.
        """
        parts: list[tuple[np.ndarray, ...]] = []
        done, known, at_place = 0, 0, place("turns")
        if (before := at_place.resumed()) is not None:
            done, parts, state = before
            state = jax.tree.map(jnp.asarray, state)
        while done < turns:
            at_place.keep((done, list(parts), state))
            size = min(block, turns - done)
            state, out = self._run(
                jax.random.fold_in(key, first + done),
                state,
                partition,
                jnp.asarray(gain),
                turns=size,
            )
            parts.append(tuple(np.asarray(a) for a in out))
            done += size
            if tell is not None:
                numbers = {
                    "turn": float(first + done),
                    "divergences": float(parts[-1][2].sum()),
                    "acceptance": float(parts[-1][4].mean()),
                }
                # Draws that adapt are not worth counting, nor others every time.
                if not gain and (done >= 1.1 * known or done == turns):
                    known = done
                    so_far = np.concatenate([p[0] for p in parts])
                    effective = least_effective(np.swapaxes(so_far, 0, 1))
                if known:
                    numbers["effective"] = effective
                tell(done / turns, numbers)
        joined = [np.moveaxis(np.concatenate([p[i] for p in parts]), 0, 1) for i in range(7)]
        return state, Draws(*joined)
