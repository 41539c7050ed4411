"""NumPyro's NUTS on a program whose latents are summed out exactly."""

from collections.abc import Callable
from dataclasses import dataclass, field
import time

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC, NUTS

from bayescg.infer.marginal import check_exact, collapsed_program
from bayescg.infer.program import (
    Program,
    ProgramError,
    warn_of_single_precision,
)
from bayescg.infer.progress import Progress, Silent

__all__ = ["EXTRA", "NUTSResult", "check_proper", "run_nuts", "sampler_of"]

EXTRA = ("diverging", "num_steps", "accept_prob", "potential_energy", "energy")


def check_proper(program: Program, method: str = "NUTS") -> None:
    """Raise ``ProgramError`` for a prior under which a method that wants the whole posterior cannot run.

    :param method: what the message calls it.
    """
    for a0, b0 in program.ard.values():
        if min(a0, b0) < 0.1:
            raise ProgramError(
                f"ARD with a0={a0:g}, b0={b0:g} has a spike at zero that {method} cannot enter; use prior=horseshoe, "
                "or a0 and b0 of at least 0.1."
            )
    if program.improper:
        raise ProgramError(
            f"under the flat prior of {', '.join(sorted(program.improper))} the posterior may have no end (where some "
            f"combination of parameters does not matter); {method} needs a proper prior, another -s prior."
        )


@dataclass(frozen=True)
class NUTSResult:
    """Draws of every member, as chains."""

    u: np.ndarray  # (chain, draw, member, u)
    stats: dict[
        str, np.ndarray
    ]  # NumPyro's extra fields, (chain, draw, member); (chain, draw) of pooled ones
    seconds: float
    log_z: dict[str, np.ndarray] = field(default_factory=dict)  # (member,), how log Z was learned


def sampler_of(
    function: Callable[..., None],
    chains: int,
    warmup: int,
    samples: int,
    target_accept: float,
    max_tree_depth: int,
    dense_mass: bool,
) -> MCMC:
    """NumPyro's NUTS on a program without latents, as chains that step together."""
    kernel = NUTS(
        function,
        target_accept_prob=target_accept,
        max_tree_depth=max_tree_depth,
        dense_mass=dense_mass,
    )
    return MCMC(
        kernel,
        num_warmup=warmup,
        num_samples=samples,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
        jit_model_args=True,  # the members of a sweep share one compilation
    )


def run_nuts(
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
    """Sample the full posterior of every member.

    :param x: data, ``(member, frame, ...)``.
    :raises ProgramError: if log Z or the sum over latents is not exact, under ARD with a spike, or under
        a flat prior of the coefficients.
    """
    warn_of_single_precision()
    progress = progress or Silent()
    first = {k: jnp.asarray(v[0], float) for k, v in conditions.items()}
    check_exact(program, jnp.asarray(x[0], float), first)
    check_proper(program)

    began = time.monotonic()
    mcmc = sampler_of(
        collapsed_program(program),
        chains,
        warmup,
        samples,
        target_accept,
        max_tree_depth,
        dense_mass,
    )
    unconstrain = jax.jit(jax.vmap(jax.vmap(program.unconstrain)))
    draws, stats = [], []
    for m, k in enumerate(jax.random.split(key, len(x))):
        given = {name: jnp.asarray(v[m], float) for name, v in conditions.items()}
        mcmc.run(k, jnp.asarray(x[m], float), extra_fields=EXTRA, **given)
        sites = mcmc.get_samples(group_by_chain=True)
        draws.append(np.asarray(unconstrain({name: sites[name] for name in program.shapes})))
        stats.append(
            {k: np.asarray(v) for k, v in mcmc.get_extra_fields(group_by_chain=True).items()}
        )
        progress.update(
            "nuts",
            (m + 1) / len(x),
            {"member": m + 1, "divergences": float(stats[-1]["diverging"].sum())},
        )
    return NUTSResult(
        np.stack(draws, 2),
        {k: np.stack([s[k] for s in stats], 2) for k in EXTRA},
        time.monotonic() - began,
    )
