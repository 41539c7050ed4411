"""Trajectories by the compiled kernels of :mod:`bayescg.compiled`."""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np

from bayescg.compiled import available
from bayescg.devices import by_chain
from bayescg.samplers.forces import Tables
from bayescg.samplers.tethers import Held, Tether

SKIN = 1.4  # angstrom; a kernel's list costs as much as four or five of its forces, and more room in it little

__all__ = ["forces_and_energy", "supports", "trajectory"]


def supports(tables: Tables) -> bool:
    """Whether there are kernels, and they know all that is in ``tables``: no bonds, and single precision."""
    return tables.value.dtype == jnp.float32 and not tables.bonded and available()


def forces_and_energy(
    tables: Tables, x: Array, tether: Tether | Held | None = None
) -> tuple[Array, Array]:
    """Forces in kT/angstrom on ``x (axis, site, chain)`` and the energy in kT, ``(chain,)``.

    Where sites are held the energy lacks that of pairs of them.
    """

    def call(_: Array, x: Array, *model: Array) -> tuple[Array, Array]:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct(x.shape[2:], x.dtype)
        run = jax.ffi.ffi_call("bayescg_forces", shape, vmap_method="sequential")
        f, e = run(x, *model, **_attributes(tables))
        return f, e

    model, chained = _operands(tables, tether)
    f, e = by_chain(call, (x, *model), (True, *chained), x.shape[2])
    return f, e


def trajectory(
    tables: Tables,
    x: Array,
    v: Array,
    h: Array,
    kept: Array,
    key: Array,
    steps: int,
    langevin: bool,
    tether: Tether | Held | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Move every chain ``steps`` time steps on.

    :param h: time steps, ``(chain,)``, angstrom.
    :param kept: what the thermostat leaves of the velocities at each step, ``(chain,)``.
    :return: positions, velocities, the energy gained less the heat that the thermostat gave in kT, ``(chain,)``, and
        the sum of the squares of the forces at the start, ``(chain,)``.
    """

    def call(first: Array, x: Array, v: Array, h: Array, kept: Array, *rest: Array) -> Any:
        *model, words = rest
        like, each = jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct(h.shape, x.dtype)
        run = jax.ffi.ffi_call(
            "bayescg_trajectory", (like, like, each, each), vmap_method="sequential"
        )
        return run(
            x,
            *model,
            v,
            h,
            kept,
            jnp.append(words, first),
            **_attributes(tables),
            steps=np.int64(steps),
            langevin=langevin,
        )

    words = jax.random.bits(key, (2,), jnp.uint32)
    model, chained = _operands(tables, tether)
    has = (True, True, True, True, *chained, False)
    x_end, v_end, gained, squares = by_chain(call, (x, v, h, kept, *model, words), has, x.shape[2])
    return x_end, v_end, gained, squares


def _operands(
    tables: Tables, tether: Tether | Held | None
) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
    """What describes the model to a kernel, and which of it has a chain axis."""
    none = jnp.zeros(0, jnp.float32)
    classes = tables.classes
    of_pair = jnp.zeros(0, jnp.int32) if classes is None else jnp.asarray(classes.of_pair)
    strength = none if tables.three_body is None else jnp.reshape(tables.three_body, -1)
    moves = tether.free if isinstance(tether, Held) else none
    springs = _springs(tether) if isinstance(tether, Tether) else (none, none)
    own = tables.value.ndim == 2
    return (
        tables.value,
        tables.slope,
        tables.step,
        tables.box,
        of_pair.astype(jnp.int32),
        strength,
        moves,
        *springs,
    ), (
        own,
        own,
        False,
        False,
        False,
        strength.size > 1,
        isinstance(tether, Held),
        isinstance(tether, Tether),
        isinstance(tether, Tether),
    )


def _springs(tether: Tether) -> tuple[Array, Array]:
    """Centre, and one stiffness of each chain or as many as the centre has numbers."""
    k = tether.stiffness
    one = k.ndim == 1 or k.shape[:2] == (1, 1)
    return tether.centre, k.reshape(-1) if one else jnp.broadcast_to(k, tether.centre.shape)


def _attributes(tables: Tables) -> dict[str, np.generic]:
    form, classes = tables.form, tables.classes
    return {
        "classes": np.int64(1 if classes is None else len(classes) + 1),
        "silent": np.int64(-1 if classes is None else len(classes)),
        "range": np.float32(tables.range.pairs),
        "skin": np.float32(SKIN),
        "cosine": np.float32(0.0 if form is None else form.cosine),
        "decay": np.float32(0.0 if form is None else form.gamma * form.sigma),
        "reach": np.float32(0.0 if form is None else form.cutoff),
    }
