"""Members of a sweep that share parameters: one posterior for all of them.

A program describes one member. What its sites call shared (``infer={"shared": True}``) has one value for all members;
its other parameters are each member's own. So the posterior is that of

.. math:: p(s) \\prod_m p(o_m \\mid s)\\, p(x_m \\mid s, o_m, c_m),

with shared parameters s, own ones o and conditions c, latents summed out. The same program at conditions that no
member has predicts there.
"""

from collections.abc import Callable
from functools import partial
import time

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.handlers import block, seed, substitute, trace

from bayescg.infer.checkpoint import NOWHERE, place
from bayescg.infer.handlers import collapse_precisions
from bayescg.infer.marginal import check_exact, log_marginal
from bayescg.infer.numpyro_chains import NumPyroChains
from bayescg.infer.nuts import NUTSResult, check_proper, told
from bayescg.infer.program import Program, ProgramError, warn_of_single_precision
from bayescg.infer.progress import Progress, Silent

__all__ = ["check_shared", "draw_own", "log_joint", "pooled_program", "run_pooled"]

Conditions = dict[str, Array]


def log_joint(program: Program, u: Array, x: Array, conditions: Conditions) -> Array:
    """Unnormalised log posterior density of ``u``, all members together; with the Jacobians.

    :param u: unconstrained parameters ``(member, u)``, of which the shared ones are equal.
    :param x: data, ``(member, frame, ...)``.
    :param conditions: the program's other arguments, ``(member,)`` each.
    """
    own = own_sites(program)

    def of_member(u: Array, x: Array, given: Conditions) -> Array:
        prior = program.log_prior(u, x, given, own) + program.log_jacobian(u, own)
        return prior + jnp.sum(log_marginal(program, u, x, given))

    first = {k: v[0] for k, v in conditions.items()}
    common = program.log_prior(u[0], x[0], first, program.shared)
    common = common + program.log_jacobian(u[0], program.shared)
    return common + jnp.sum(jax.vmap(of_member)(u, x, conditions))


def own_sites(program: Program) -> tuple[str, ...]:
    """Parameters of which every member has its own."""
    return tuple(k for k in program.shapes if k not in program.shared)


def pooled_program(program: Program) -> Callable[..., None]:
    """The NumPyro program of all members, latents summed out, in unconstrained coordinates.

    Its sites are ``shared`` and, where there are any, ``own (member, ...)``; :func:`joined` puts them together.
    """
    common, own = _coordinates(program)

    def flat(name: str, *shape: int) -> Array:
        return numpyro.sample(name, dist.ImproperUniform(dist.constraints.real, (), shape))

    def pooled(x: Array, **conditions: Array) -> None:
        s = flat("shared", common.size)
        o = flat("own", len(x), own.size) if own.size else jnp.zeros((len(x), 0))
        u = joined(program, s, o)
        numpyro.factor("log_joint", log_joint(program, u, x, conditions))

    return pooled


def joined(program: Program, common: Array, own: Array) -> Array:
    """Parameters of members ``(member, u)`` from shared ones ``(s,)`` and their own ``(member, o)``."""
    at, of = _coordinates(program)
    return jnp.zeros((len(own), program.size)).at[:, at].set(common).at[:, of].set(own)


def _coordinates(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Where ``u`` holds what is shared, and what is not."""
    none = np.zeros(0, int)
    common = np.concatenate([none, *(program.coordinates(k) for k in program.shared)])
    return common, np.setdiff1d(np.arange(program.size), common)


def check_shared(program: Program, x: Array, conditions: Conditions) -> None:
    """Raise ``ProgramError`` if the prior of what members share depends on which member is asked.

    :param x: data of all members; ``conditions`` of all of them.
    """
    u = 0.3 * jax.random.normal(jax.random.key(0), (program.size,))

    def one(x: Array, given: Conditions) -> Array:
        return program.log_prior(u, x, given, program.shared)

    found = np.asarray(jax.jit(jax.vmap(one))(x, conditions))
    if not np.allclose(found, found[0], rtol=1e-9, atol=1e-9):
        raise ProgramError(
            f"the prior of {', '.join(program.shared)}, which all members share, depends on "
            f"{', '.join(conditions) or 'the data'}; allowed is one prior for all."
        )


def draw_own(program: Program, key: Array, u: Array, x: Array, conditions: Conditions) -> Array:
    """A member that was not fitted: its own parameters drawn from their prior, given the shared ones.

    :param u: unconstrained parameters ``(u,)`` of any member; the shared ones are kept.
    :param x: an example data set, for the program's shapes.
    :param conditions: of the new member.
    """
    values = program.constrain(u)
    held = {k: values[k] for k in program.shared} | program.fixed
    held[program.sites.latent] = jnp.ones((len(x), *program.latent_shape))
    function = substitute(seed(collapse_precisions(program.function), key), data=held)
    with block():
        sites = trace(function).get_trace(x, **conditions)
    return program.unconstrain({k: sites[k]["value"] for k in program.shapes})


def run_pooled(
    program: Program,
    x: np.ndarray,
    conditions: dict[str, np.ndarray],
    key: Array,
    *,
    chains: int = 4,
    warmup: int = 1000,
    samples: int = 1000,
    target_accept: float = 0.9,
    max_tree_depth: int = 10,
    dense_mass: bool = False,
    progress: Progress | None = None,
) -> NUTSResult:
    """Sample the posterior of all members together by NumPyro's NUTS.

    :param x: data, ``(member, frame, ...)``.
    :return: draws in which the shared coordinates are equal over members; NumPyro's extra fields, ``(chain, draw)``.
    :raises ProgramError: if log Z or the sum over latents is not exact, or a prior is improper or not shared.
    """
    warn_of_single_precision()
    progress = progress or Silent()
    data = jnp.asarray(x, float)
    given = {k: jnp.asarray(v, float) for k, v in conditions.items()}
    check_exact(program, data[0], {k: v[0] for k, v in given.items()})
    check_proper(program)
    check_shared(program, data, given)

    began = time.monotonic()
    sampler = NumPyroChains(
        pooled_program(program), warmup, target_accept, max_tree_depth, dense_mass
    )
    sites, stats = sampler.run(
        jax.random.split(key, chains) if chains > 1 else key[None],
        (data,),
        given,
        samples=samples,
        begin=None,
        at_place=place("chains") if jax.process_count() == 1 else NOWHERE,
        tell=partial(told, progress, 0, 1),
    )
    own = sites.get("own", jnp.zeros((chains, samples, len(x), 0)))
    join = jax.jit(jax.vmap(jax.vmap(lambda s, o: joined(program, s, o))))
    return NUTSResult(
        np.asarray(join(sites["shared"], own)),
        stats,
        time.monotonic() - began,
    )
