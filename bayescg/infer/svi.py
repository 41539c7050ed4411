r"""Variational inference: a guide q fitted to the posterior by stochastic ascent of the ELBO.

The evidence lower bound :math:`\langle\log p(x,\theta) - \log q(\theta)\rangle_q` is the log evidence less the
divergence of q from the posterior. NumPyro's ``SVI`` climbs it on the program with latents summed out, by Adam at a
constant rate. Near the top the guide jitters about the optimum, so what is kept is its average over the last steps; the
ELBO of running averages, of all data and by the same random numbers each time, shows when it rises no longer. Source
of averages and of judging a guide by k-hat: A. K. Dhaka et al., NeurIPS 33, 10961 (2020).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.handlers import seed
from numpyro.infer import SVI, Trace_ELBO, init_to_value
from numpyro.infer.autoguide import (
    AutoContinuous,
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)
from numpyro.infer.util import log_density
import optax

from bayescg.infer.checkpoint import place
from bayescg.infer.marginal import collapsed_program, log_posterior, prior_program
from bayescg.infer.program import Program

__all__ = ["GUIDES", "Ascent", "Climb", "Draws", "trend"]

#: Guides by name, and what they are.
GUIDES: Mapping[str, tuple[type[AutoContinuous], str]] = {
    "normal": (AutoDiagonalNormal, "independent normals"),
    "lowrank": (AutoLowRankMultivariateNormal, "a low-rank multivariate normal"),
    "multivariate": (AutoMultivariateNormal, "a multivariate normal"),
    "flow": (AutoIAFNormal, "an inverse autoregressive flow"),
}
BLOCK = 100  # steps that a running average is of
WINDOW = 10  # blocks in which the ELBO must not rise
JUDGES = 128  # draws that the ELBO of a block is measured with
NOISE = 0.5  # nats, the most error of a rise at which it is judged
SPREAD = 0.5  # of further starts, in unconstrained coordinates
AT_ONCE = 16


class Draws(NamedTuple):
    """Draws of a guide; the two densities are of the parameters' values."""

    u: np.ndarray  # (draw, u)
    log_posterior: np.ndarray  # (draw,), not normalised
    log_guide: np.ndarray  # (draw,)

    @property
    def log_weights(self) -> np.ndarray:
        """Log importance weights; ``-inf`` where a density is not a number."""
        with np.errstate(invalid="ignore"):
            weights = self.log_posterior - self.log_guide
        return np.where(np.isfinite(weights), weights, -np.inf)

    @property
    def elbo(self) -> tuple[float, float]:
        """The evidence lower bound and its standard error; ``-inf`` where a draw has no density."""
        weights = self.log_weights
        with np.errstate(invalid="ignore"):
            return float(weights.mean()), float(weights.std(ddof=1) / np.sqrt(len(weights)))


class Climb(NamedTuple):
    """One ascent."""

    guide: Any  # its parameters, averaged over the last blocks
    elbo: np.ndarray  # (block,), of running averages
    rise: float  # of the ELBO within the last window
    noise: float  # standard error of that rise
    settled: bool  # whether the rule was met before the steps were used up


def trend(values: np.ndarray) -> tuple[float, float]:
    """Rise along values by least squares, from the first to the last, and its standard error."""
    at = np.arange(len(values)) - 0.5 * (len(values) - 1)
    slope = float(at @ values / (at @ at))
    left = values - values.mean() - slope * at
    error = np.sqrt(left @ left / (len(values) - 2) / (at @ at))
    way = len(values) - 1
    return slope * way, float(error * way)


@dataclass(frozen=True, eq=False)
class Ascent:
    """Fits one family of guides to one program; compiled once for all data of one shape.

    :param guide: one of :data:`GUIDES`.
    :param start: values of the parameters around which the guide begins.
    :param batch: frames in each step; None: all.
    """

    program: Program
    guide: str
    start: dict[str, Array]
    rate: float = 0.01
    particles: int = 16
    batch: int | None = None

    @cached_property
    def _guide(self) -> AutoContinuous:
        family, _ = GUIDES[self.guide]
        # A guide reads of its program which parameters there are, for which no data are needed.
        made: AutoContinuous = family(
            prior_program(self.program), init_loc_fn=init_to_value(values=self.start)
        )
        return made

    @cached_property
    def _svi(self) -> SVI:
        return SVI(
            collapsed_program(self.program, self.batch),
            self._guide,
            optax.adam(self.rate),
            Trace_ELBO(num_particles=self.particles),
        )

    @cached_property
    def _init(self) -> Callable[..., Any]:
        @jax.jit
        def init(
            key: Array, moved: dict[str, Array], x: Array, conditions: dict[str, Array]
        ) -> Any:
            return self._svi.init(key, x, init_params=moved, **conditions)

        return init

    @cached_property
    def _block(self) -> Callable[..., tuple[Any, Any]]:
        svi = self._svi

        @jax.jit
        def block(state: Any, x: Array, conditions: dict[str, Array]) -> tuple[Any, Any]:
            def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
                state, total = carry
                state, _loss = svi.stable_update(state, x, **conditions)
                here = svi.optim.get_params(state.optim_state)
                return (state, jax.tree.map(jnp.add, total, here)), None

            zero = jax.tree.map(jnp.zeros_like, svi.optim.get_params(state.optim_state))
            (state, total), _ = jax.lax.scan(step, (state, zero), None, BLOCK)
            return state, jax.tree.map(lambda a: a / BLOCK, total)

        return block

    @cached_property
    def _drawn(self) -> Callable[..., tuple[Array, Array, Array]]:
        svi, program = self._svi, self.program

        @jax.jit
        def drawn(keys: Array, average: Any, x: Array, conditions: dict[str, Array]) -> Any:
            parameters = svi.constrain_fn(average)

            def one(key: Array) -> tuple[Array, Array, Array]:
                log_q, sites = log_density(seed(self._guide, key), (x,), conditions, parameters)
                u = program.unconstrain({k: sites[k]["value"] for k in program.shapes})
                return u, log_posterior(program, u, x, conditions), log_q

            return jax.lax.map(one, keys, batch_size=AT_ONCE)

        return drawn

    def draw(
        self, key: Array, draws: int, guide: Any, x: Array, conditions: dict[str, Array]
    ) -> Draws:
        """Independent draws of a guide, with their densities under all data."""
        blocks = -(-draws // JUDGES)  # of one size, for which all is compiled
        keys = jax.random.split(key, (blocks, JUDGES))
        parts = [self._drawn(k, guide, x, conditions) for k in keys]
        return Draws(*(np.concatenate(part)[:draws] for part in zip(*parts, strict=True)))

    def _begin(self, key: Array, x: Array, conditions: dict[str, Array], spread: float) -> Any:
        k_init, k_again, k_place = jax.random.split(key, 3)
        if self._guide.prototype_trace is None:
            seed(self._guide, k_init)(
                x, **conditions
            )  # looks at the program, before anything is traced
        state = self._init(k_init, {}, x, conditions)
        parameters = self._svi.get_params(state)
        centre = "auto_loc"
        if spread == 0.0 or centre not in parameters:  # a flow differs by its networks
            return state
        at = parameters[centre]
        moved = {centre: at + spread * jax.random.normal(k_place, at.shape, at.dtype)}
        return self._init(k_again, moved, x, conditions)

    def climb(
        self,
        key: Array,
        x: Array,
        conditions: dict[str, Array],
        *,
        steps: int,
        tolerance: float,
        spread: float = 0.0,
        tell: Callable[[float, dict[str, float]], None] | None = None,
    ) -> Climb:
        """Climb until the ELBO rises by less than ``tolerance`` nats in a window, or than its noise tells.

        :param steps: the most that are taken, in blocks of a hundred.
        :param spread: standard deviation of the start, around ``start``.
        :param tell: called with the part of the steps that is done.
        """
        k_begin, k_judge = jax.random.split(key)
        state = self._begin(k_begin, x, conditions, spread)
        blocks = max(WINDOW, -(-steps // BLOCK))
        elbo: list[float] = []
        averages: list[Any] = []
        rise, noise, settled = np.inf, np.inf, False
        at_place = place("svi")
        if (before := at_place.resumed()) is not None:
            state, elbo, averages = before
            state, averages = jax.tree.map(jnp.asarray, (state, averages))
        for b in range(len(elbo), blocks):
            at_place.keep((state, list(elbo), averages))
            state, average = self._block(state, x, conditions)
            averages = [*averages[-WINDOW + 1 :], average]
            elbo.append(self.draw(k_judge, JUDGES, average, x, conditions).elbo[0])
            if len(elbo) >= WINDOW and np.isfinite(elbo[-WINDOW:]).all():
                rise, noise = trend(np.array(elbo[-WINDOW:]))
                settled = rise < max(tolerance, 2.0 * noise) and noise < NOISE
            if tell is not None:
                tell((b + 1) / blocks, {"steps": (b + 1.0) * BLOCK, "elbo": elbo[-1]})
            if settled:
                break
        guide = jax.tree.map(lambda *a: sum(a) / len(a), *averages)
        return Climb(guide, np.array(elbo), rise, noise, settled)
