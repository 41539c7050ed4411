"""NumPyro's NUTS a block of transitions at a time, so that a run tells how far it is and can be cut off anywhere.

``numpyro.infer.MCMC`` takes a whole run in one compiled call: nothing is heard of it before its end, and it answers no
interrupt. Here the chains are the same, up to rounding, in calls of :data:`BLOCK` transitions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.diagnostics import effective_sample_size
from numpyro.infer.hmc import hmc
from numpyro.infer.util import initialize_model

from bayescg.devices import over_devices
from bayescg.infer.checkpoint import Place

__all__ = ["EXTRA", "NumPyroChains", "least_effective", "nothing_told"]

EXTRA = ("diverging", "num_steps", "accept_prob", "potential_energy", "energy")
BLOCK = 50  # transitions in one call
TOGETHER = 8  # draws whose sites' values are found together
FEW = 4  # draws of a chain from which its effective number means something

Tell = Callable[[str, float, dict[str, float]], None]


def nothing_told(stage: str, done: float, numbers: dict[str, float]) -> None:
    """Report nothing."""


def least_effective(draws: np.ndarray) -> float:
    """The smallest effective sample size of any coordinate; NaN where there are too few draws to tell.

    :param draws: ``(chain, draw, ...)``.
    """
    if draws.shape[1] < FEW:
        return float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.asarray(effective_sample_size(draws))
    known = each[np.isfinite(each)]
    return float(known.min()) if known.size else float("nan")


@dataclass(eq=False)
class NumPyroChains:
    """Chains of NUTS on a program of continuous sites; compiled once for all data of one shape.

    :param function: the program, ``function(*args, **kwargs)``.
    :param warmup: transitions of each chain in which step size and mass adapt, before those that are kept.
    :param target_accept: acceptance that the step size is adapted to.
    """

    function: Callable[..., None]
    warmup: int
    target_accept: float = 0.9
    max_tree_depth: int = 10
    dense_mass: bool = False

    def __post_init__(self) -> None:
        self._potential: Any = None
        self._restore: Any = None
        self._begin: Any = None
        self._move: Any = None
        self._draws: Any = None

    def run(
        self,
        keys: Array,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        samples: int,
        begin: dict[str, Array] | None,
        at_place: Place,
        tell: Tell = nothing_told,
    ) -> tuple[dict[str, Array], dict[str, np.ndarray]]:
        """Warm up and sample.

        :param keys: of each chain, ``(chain,)``.
        :param begin: unconstrained values that chains begin at, ``(chain, ...)``; None: NumPyro's choice.
        :param at_place: where the state is kept (:mod:`bayescg.infer.checkpoint`).
        :param tell: called with the stage, the part of all transitions that is done, and numbers worth showing.
        :return: values of the sites and the fields of :data:`EXTRA`, ``(chain, draw, ...)``.
        :raises RuntimeError: NumPyro finds no parameters to begin at.
        """
        warmup, all_of_them = self.warmup, self.warmup + samples
        state = self._started(keys, args, kwargs, begin)
        done, parts, known = 0, [], 0
        if (kept := at_place.resumed()) is not None:
            done, parts, state = kept
            state = over_devices(jax.tree.map(jnp.asarray, state), axis=0)
        most = min(BLOCK, max(warmup, samples))
        while done < all_of_them:
            at_place.keep((done, list(parts), state))
            warming = done < warmup
            size = min(most, (warmup if warming else all_of_them) - done)
            state, seen = self._move(state, size, most, args, kwargs)
            part = jax.tree.map(lambda a, size=size: np.asarray(a[:size]), seen)
            done += size
            numbers = {
                "acceptance": float(part["accept_prob"].mean()),
                "divergences": float(part["diverging"].sum()),
            }
            if warming:
                tell("warm-up", done / all_of_them, numbers)
                continue
            parts.append(part)
            numbers["divergences"] = float(sum(p["diverging"].sum() for p in parts))
            # Telling must not cost more than sampling: once more when there are a tenth more of them.
            if tell is not nothing_told and (done - warmup >= 1.1 * known or done == all_of_them):
                known = done - warmup
                so_far = np.concatenate([_flat(p["z"]) for p in parts])
                effective = least_effective(np.swapaxes(so_far, 0, 1))
            if known:
                numbers["effective"] = effective
            tell("nuts", done / all_of_them, numbers)
        joined = jax.tree.map(lambda *a: np.swapaxes(np.concatenate(a), 0, 1), *parts)
        return self._values(joined.pop("z"), args, kwargs), joined

    def _values(self, z: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Array]:
        """Constrained values of the sites, ``(chain, draw, ...)``."""
        lead = jax.tree.leaves(z)[0].shape[:2]
        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), z)
        found = self._draws(flat, args, kwargs)
        return jax.tree.map(lambda a: a.reshape(*lead, *a.shape[1:]), found)

    def _started(
        self,
        keys: Array,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        begin: dict[str, Array] | None,
    ) -> Any:
        # The keys that numpyro.infer.hmc.HMC.init would use.
        pairs = jax.vmap(jax.random.split)(keys)
        info = initialize_model(
            pairs[:, 1], self.function, dynamic_args=True, model_args=args, model_kwargs=kwargs
        )
        if self._begin is None:
            self._potential, self._restore = info.potential_fn, info.postprocess_fn
            self._compile(info.param_info if begin is None else begin)
        return self._begin(pairs[:, 0], info.param_info if begin is None else begin, args, kwargs)

    def _compile(self, first: Any) -> None:
        start, transition = hmc(potential_fn_gen=self._potential, algo="NUTS")
        names = tuple(sorted(first if isinstance(first, dict) else first.z))

        @jax.jit
        def begin(keys: Array, values: Any, args: Any, kwargs: Any) -> Any:
            def one(values: Any, key: Array) -> Any:
                return start(
                    values,
                    num_warmup=self.warmup,
                    dense_mass=[names] if self.dense_mass else [],
                    target_accept_prob=self.target_accept,
                    trajectory_length=None,
                    max_tree_depth=self.max_tree_depth,
                    model_args=args,
                    model_kwargs=kwargs,
                    rng_key=key,
                )

            return jax.vmap(one)(values, keys)

        @partial(jax.jit, static_argnums=2)
        def move(state: Any, size: Array, most: int, args: Any, kwargs: Any) -> Any:
            def one(i: Array, carry: Any) -> Any:
                state, seen = carry
                state = jax.vmap(transition, in_axes=(0, None, None))(state, args, kwargs)
                row = {"z": state.z} | {name: getattr(state, name) for name in EXTRA}
                return state, jax.tree.map(lambda a, v: a.at[i].set(v), seen, row)

            held = {"z": state.z} | {name: getattr(state, name) for name in EXTRA}
            blank = jax.tree.map(lambda a: jnp.zeros((most, *a.shape), a.dtype), held)
            return jax.lax.fori_loop(0, size, one, (state, blank))

        @jax.jit
        def values(z: Any, args: Any, kwargs: Any) -> Any:
            # A few draws at once: a program's deterministic sites are found by running it.
            return jax.lax.map(self._restore(*args, **kwargs), z, batch_size=TOGETHER)

        self._begin, self._move, self._draws = begin, move, values


def _flat(z: dict[str, np.ndarray]) -> np.ndarray:
    """All coordinates, ``(draw, chain, coordinate)``."""
    return np.concatenate([v.reshape(*v.shape[:2], -1) for v in z.values()], -1)
