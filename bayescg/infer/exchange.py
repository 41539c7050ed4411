r"""The exchange algorithm: a posterior without log Z, by auxiliary samples of the model.

A proposal u' is judged together with as many configurations Y of p_c(u') as there are frames: by what X says for u',
and Y, were it the data, for u (Murray, Ghahramani and MacKay, UAI 2006),

.. math:: \log a = \beta(\eta' - \eta)\cdot\Bigl[\sum_i\phi(X_i) - \sum_i\phi(Y_i)\Bigr]
                 + \sum_i\log\frac{p_{cf}(x_i \mid X_i, u')}{p_{cf}(x_i \mid X_i, u)} + \log\frac{p(u')}{p(u)},

in which every log Z cancels. It is exact as far as the Y are draws of p_c(u').
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.infer.alternating import Alternating, Latents
from bayescg.samplers.base import Sampler, cooled

__all__ = ["Exchange", "ExchangeState"]

ACCEPTED = 0.25  # rate that proposals are adapted to


class ExchangeState(NamedTuple):
    """Chains; the leading axis of u and latent is ``chain``."""

    u: Array
    latent: Latents
    log_scale: Array  # of proposals, a scalar that all chains share
    root: Array  # (u, u), a root of the covariance that proposals have the shape of


@dataclass(frozen=True, eq=False)
class Exchange:
    """Random-walk Metropolis over parameters by exchange, alternating with moves of the latents.

    :param moving: what moves latents, and its densities.
    :param sampler: kernel of p_c.
    :param sweeps: in which auxiliary configurations are cooled.
    """

    moving: Alternating
    sampler: Sampler
    sweeps: int = 60

    def start(self, key: Array, u: Array, covariance: np.ndarray | None = None) -> ExchangeState:
        """Chains at ``u (chain, u)``.

        :param covariance: shape of the proposals; None: the unit matrix, a tenth as long.
        """
        size, latent = u.shape[1], self.moving.placed(key, len(u))
        scale = np.log(2.38 / np.sqrt(size)) + (np.log(0.1) if covariance is None else 0.0)
        root = jnp.eye(size) if covariance is None else jnp.linalg.cholesky(jnp.asarray(covariance))
        return ExchangeState(jnp.asarray(u), latent, jnp.asarray(scale), root)

    def _auxiliary(self, key: Array, u: Array) -> Array:
        """Summed statistics of as many configurations of p_c(u) as there are frames, ``(term,)``."""
        m = self.moving
        boltzmann = m.program.boltzmann(u, m.x, m.conditions)
        potential, beta = boltzmann.potential, jnp.asarray(boltzmann.beta)
        state = cooled(self.sampler, key, len(m.x), potential, beta, self.sweeps)
        return jnp.sum(potential.statistics(state.x.astype(u.dtype)), -1)

    def _turn(self, key: Array, state: ExchangeState, gain: Array) -> tuple[ExchangeState, Any]:
        m = self.moving

        def one(args: Any) -> Any:
            key, u, latent = args
            k_move, k_step, k_y, k_accept = jax.random.split(key, 4)
            if not m.observed:
                u, latent = m.moved(k_move, u, latent, m.options.moves)
            where = m.held(latent.state)
            step = state.root @ jax.random.normal(k_step, u.shape, u.dtype)
            there = u + jnp.exp(state.log_scale) * step
            total = m.summed(u, where) - self._auxiliary(k_y, there)
            change = (m.natural(there) - m.natural(u)) @ total
            for sign, v in ((1.0, there), (-1.0, u)):
                fine = m.program.log_likelihood(v, where, m.x, m.conditions)
                change = change + sign * (jnp.sum(fine) + m.log_prior(v))
            rate = jnp.minimum(1.0, jnp.exp(jnp.nan_to_num(change, nan=-jnp.inf)))
            accept = jax.random.uniform(k_accept, (), u.dtype) < rate
            return jnp.where(accept, there, u), latent, rate

        each = (jax.random.split(key, len(state.u)), state.u, state.latent)
        u, latent, rate = jax.lax.map(one, each)
        log_scale = state.log_scale + gain * (jnp.mean(rate) - ACCEPTED)
        return ExchangeState(u, latent, log_scale, state.root), (u, rate)

    @cached_property
    def _run(self) -> Callable[..., Any]:
        @partial(jax.jit, static_argnames="turns")
        def run(key: Array, state: ExchangeState, first: Array, adapt: Array, turns: int) -> Any:
            def turn(state: ExchangeState, inputs: Any) -> Any:
                k, i = inputs
                return self._turn(k, state, jnp.where(adapt, (i + 1.0) ** -0.6, 0.0))

            count = first + jnp.arange(turns)
            return jax.lax.scan(turn, state, (jax.random.split(key, turns), count))

        return run

    def run(
        self,
        key: Array,
        state: ExchangeState,
        turns: int,
        *,
        warmup: int = 0,
        block: int = 200,
        tell: Callable[[float, dict[str, float]], None] | None = None,
    ) -> tuple[ExchangeState, np.ndarray, np.ndarray]:
        """Go on for ``warmup`` turns, in which proposals adapt, and ``turns`` that are kept.

        :return: the chains, draws ``(chain, draw, u)``, and acceptance ``(chain, draw)``.
        """
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        done, total = 0, warmup + turns
        while done < total:
            adapting = done < warmup
            size = min(block, (warmup if adapting else total) - done)
            state, out = self._run(
                jax.random.fold_in(key, done), state, jnp.asarray(done), jnp.asarray(adapting), size
            )
            u, rate = (np.moveaxis(np.asarray(a), 0, 1) for a in out)
            done += size
            if adapting:
                # Chains that have spread out tell the posterior's shape.
                flat = u[:, size // 2 :].reshape(-1, u.shape[2])
                if len(flat) > 10 * u.shape[2]:
                    covariance = np.cov(flat.T) + 1e-9 * np.eye(u.shape[2])
                    state = state._replace(
                        root=jnp.linalg.cholesky(jnp.asarray(np.atleast_2d(covariance)))
                    )
                    if done <= block:
                        state = state._replace(
                            log_scale=jnp.asarray(np.log(2.38 / np.sqrt(u.shape[2])))
                        )
            else:
                kept.append((u, rate))
            if tell is not None:
                tell(done / total, {"turn": done, "accepted": float(rate.mean())})
        draws, rates = (np.concatenate([k[i] for k in kept], 1) for i in range(2))
        return state, draws, rates
