"""Chains laid out over devices, and over processes, by JAX's own means.

One mesh with one axis serves the whole process. Arrays whose last axis counts chains are cut along it
(:func:`over_devices`); what is made of all chains is on every device (:func:`everywhere`), so that results do not
depend on how many devices there are but for round-off. This happens in what is :func:`laid_out`, whose results come by
:func:`fetched`; elsewhere, and without a mesh, all of it does nothing.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
import os
import sys
import threading
from typing import Any, TypeVar

import jax
from jax import Array
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

__all__ = [
    "agreed",
    "all_shares",
    "by_chain",
    "check_divides",
    "count",
    "everywhere",
    "fetched",
    "is_first",
    "is_lost",
    "is_several",
    "join",
    "laid_out",
    "over_devices",
    "own_share",
    "use_devices",
]

AXIS = "chain"
PATIENCE = 60  # s, for the other processes to arrive
LOST = (
    "gloo",
    "connection closed",
    "heartbeat",
    "coordination service",
    "unavailable",
)  # what JAX says then

_mesh: Mesh | None = None
_on: ContextVar[bool] = ContextVar("laid_out", default=False)

F = TypeVar("F", bound=Callable[..., Any])


def laid_out(f: F) -> F:
    """``f`` with its chains laid out over the devices in use."""

    @wraps(f)
    def run(*args: Any, **options: Any) -> Any:
        before = _on.set(True)
        try:
            return f(*args, **options)
        finally:
            _on.reset(before)

    return run  # type: ignore[return-value]


def _current() -> Mesh | None:
    return _mesh if _on.get() else None


def use_devices(wanted: int | None = None) -> int:
    """Lay chains out over ``wanted`` devices from now on, all there are where None; how many that is.

    :raises ValueError: where there are not so many, or some process would have none.
    """
    global _mesh
    there = jax.devices()
    wanted = len(there) if wanted is None else wanted
    if not 1 <= wanted <= len(there):
        raise ValueError(
            f"{wanted} devices were asked for, and JAX finds {len(there)} ({there[0].device_kind}); allowed is 1 to "
            f"{len(there)}. XLA_FLAGS=--xla_force_host_platform_device_count={max(wanted, 1)} in the environment makes "
            "as many of a processor."
        )
    if jax.process_count() > 1 and wanted != len(there):
        raise ValueError(
            f"{wanted} devices were asked for, and {jax.process_count()} processes use all that they have; allowed is "
            f"{len(there)}."
        )
    before = _mesh
    _mesh = None
    if wanted > 1:
        _mesh = jax.make_mesh((wanted,), (AXIS,), (AxisType.Auto,), devices=there[:wanted])
    if before != _mesh:
        jax.clear_caches()  # what was traced before knows the old layout
    return wanted


def is_several(coordinator: Any = None, processes: Any = None, process: Any = None) -> bool:
    """Whether this process is to be one of several: by words of the user, or of SLURM, whose steps may have tasks.

    ``processes=1`` alone says that it is not, whatever SLURM says.
    """
    if processes == 1 and coordinator is None and process is None:
        return False
    if any(v is not None for v in (coordinator, processes, process)):
        return True
    return int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1


def is_lost(error: Exception) -> bool:
    """Whether it says that another process has gone."""
    text = str(error).lower()
    return any(word in text for word in LOST)


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    patience: float = PATIENCE,
    give_up: Callable[[str], None] | None = None,
) -> None:
    """Become one of several processes that compute together; what SLURM says of them is found by itself.

    To be called before anything is computed. A step of SLURM with one task, and none, is one process.

    :param coordinator: ``host:port`` of the first process, which listens there.
    :param patience: seconds that the others may take to arrive.
    :param give_up: called with words if they do not, from another thread; the process ends after it, for JAX waits in
        a call that nothing interrupts.
    :raises ValueError: for a part of the three, or what can be no address or number.
    """
    if not is_several(coordinator, processes, process):
        return
    given = (coordinator, processes, process)
    if any(v is None for v in given) and any(v is not None for v in given):
        raise ValueError(
            "--coordinator HOST:PORT, --processes N and --process I go together; under srun none of them is needed."
        )
    if coordinator is not None:
        if not 0 <= (process or 0) < (processes or 0):
            raise ValueError(
                f"process {process} of {processes}: allowed are processes 0 to N - 1, of N that are at least one."
            )
        if not coordinator.rpartition(":")[2].isdigit():
            raise ValueError(f"{coordinator!r} is no address; allowed is HOST:PORT.")

    def end() -> None:
        message = (
            f"not all processes met at {coordinator or 'the first task of the step'} within {patience:g} s; start all "
            "of them, and see that the first can be reached there."
        )
        if give_up is None:
            sys.stderr.write(f"bayescg: {message}\n")
            sys.stderr.flush()
        else:
            give_up(message)
        os._exit(2)

    alarm = threading.Timer(patience, end)
    alarm.daemon = True
    alarm.start()
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        # JAX's own end of patience is an abort with a trace of its stack.
        jax.distributed.initialize(
            coordinator, processes, process, initialization_timeout=int(patience) + 60
        )
    finally:
        alarm.cancel()


def count() -> int:
    """Devices that chains are laid out over."""
    return 1 if _mesh is None else _mesh.size


def is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return jax.process_index() == 0


def agreed(yes: bool) -> bool:
    """What the first process says, in all of them; they have to ask together."""
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(yes)))


def check_divides(chains: int, what: str, how: str) -> None:
    """:raises ValueError: where ``chains`` are no multiple of the devices; ``how`` says what would change them."""
    parts = max(count(), jax.process_count())
    if chains % parts:
        few = [n for n in range(1, chains + 1) if chains % n == 0]
        raise ValueError(
            f"{chains} {what} cannot be shared out evenly among {parts} devices; allowed are "
            f"{', '.join(map(str, few))} devices, or another {how}."
        )


def over_devices(tree: Any, axis: int = -1) -> Any:
    """Arrays whose ``axis`` counts chains, cut along it; those that do not divide are left as they are."""
    mesh = _current()
    if mesh is None:
        return tree

    def cut(a: Array) -> Array:
        if a.ndim == 0 or a.shape[axis] % mesh.size:
            return a
        places: list[str | None] = [None] * a.ndim
        places[axis] = AXIS
        return _laid(a, NamedSharding(mesh, PartitionSpec(*places)))

    return jax.tree.map(cut, tree)


def everywhere(tree: Any) -> Any:
    """Arrays as a whole on every device."""
    mesh = _current()
    if mesh is None:
        return tree
    return jax.tree.map(lambda a: _laid(a, NamedSharding(mesh, PartitionSpec())), tree)


def _laid(a: Any, sharding: NamedSharding) -> Array:
    if isinstance(a, jax.core.Tracer):
        return jax.lax.with_sharding_constraint(a, sharding)
    if jax.process_count() == 1:
        return jax.device_put(a, sharding)
    # What every process has of its own is taken to be the same in all.
    return jax.jit(lambda v: v, out_shardings=sharding)(a)


def own_share(tree: Any) -> Any:
    """This process's part of arrays whose first axis counts chains, laid out over its own devices.

    For chains that need nothing of each other, and code that could not work on what other processes hold.
    """
    processes = jax.process_count()
    if processes == 1:
        return over_devices(tree, axis=0)

    own = jax.local_devices()

    def part(a: Array) -> Array:
        each = len(a) // processes
        begin = each * jax.process_index()
        mine = a[begin : begin + each]
        if each % len(own):
            return mine
        mesh = jax.make_mesh((len(own),), (AXIS,), (AxisType.Auto,), devices=own)
        return jax.device_put(mine, NamedSharding(mesh, PartitionSpec(AXIS)))

    return jax.tree.map(part, tree)


def all_shares(tree: Any) -> Any:
    """What all processes have made of their shares, in the memory of each; the first axis counts chains."""
    if jax.process_count() == 1:
        return fetched(tree)
    return jax.tree.map(
        lambda a: np.asarray(multihost_utils.process_allgather(a, tiled=True)), tree
    )


def fetched(tree: Any) -> Any:
    """Arrays in the memory of this process, whoever holds them."""

    def one(a: Any) -> np.ndarray:
        if isinstance(a, jax.Array) and not (a.is_fully_addressable or a.is_fully_replicated):
            return np.asarray(multihost_utils.process_allgather(a, tiled=True))
        return np.asarray(a)

    return jax.tree.map(one, tree)


def by_chain(
    call: Callable[..., Any], operands: Sequence[Array], chained: Sequence[bool], chains: int
) -> Any:
    """``call(first, *operands)`` on every device with its own chains, ``first`` the number of the first of them.

    What XLA cannot look into (compiled kernels) it would otherwise compute as a whole on every device. All results have
    the chain axis last.

    :param chained: which operands have it.
    """
    mesh = _current()
    if mesh is None or chains % mesh.size:
        return call(jnp.zeros((), jnp.uint32), *operands)

    def spec(a: Array, has: bool) -> PartitionSpec:
        return PartitionSpec(*[None] * (a.ndim - 1), AXIS) if has else PartitionSpec()

    def local(*mine: Array) -> Any:
        each = chains // mesh.size
        return call((jax.lax.axis_index(AXIS) * each).astype(jnp.uint32), *mine)

    shapes = jax.eval_shape(call, jnp.zeros((), jnp.uint32), *operands)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=tuple(spec(a, has) for a, has in zip(operands, chained, strict=True)),
        out_specs=jax.tree.map(lambda a: PartitionSpec(*[None] * (a.ndim - 1), AXIS), shapes),
        check_vma=False,
    )(*operands)
