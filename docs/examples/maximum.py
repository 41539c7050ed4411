r"""A method: the maximum of the posterior density by BFGS, where the sum over latents is exact.

.. math:: \hat\theta = \arg\max_\theta\ \sum_i \log \int p_{cf}(x_i \mid X)\, p_c(X \mid \theta)\, dX + \log p(\theta)

(PCG paper, Eqs. 14 and 15). Like every method it reads the program and knows nothing of the system.
"""

from dataclasses import dataclass
import time
from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
import xarray as xr

from bayescg.infer.begin import origin, program_of
from bayescg.infer.fit import Fit, Table
from bayescg.infer.marginal import check_exact, log_posterior
from bayescg.infer.options import options_for
from bayescg.infer.progress import Progress, Silent
from bayescg.options import option
from bayescg.system import System

__all__ = ["Maximum", "MaximumOptions", "maximum"]


@dataclass(frozen=True)
class MaximumOptions:
    """Everything that ``-M`` can set."""

    steps: int = option(200, "most steps of BFGS")
    tolerance: float = option(1e-6, "largest slope at the end, nats for a unit of u")

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.tolerance > 0.0:
            raise ValueError("steps must be at least 1, and tolerance positive.")


@dataclass(frozen=True)
class Maximum:
    """The method on a system and data; ``run(key)`` does it."""

    system: System
    data: xr.Dataset
    options: MaximumOptions

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Climb to the maximum for every member of the data.

        :param key: recorded; nothing here is random.
        :raises ProgramError: if log Z or the sum over latents is not exact.
        """
        began = time.monotonic()
        progress = progress or Silent()
        batch = self.system.batch(self.data)
        program = program_of(self.system, batch)
        conditions = {k: jnp.asarray(v, float) for k, v in batch.conditions.items()}
        check_exact(
            program, jnp.asarray(batch.x[0], float), {k: v[0] for k, v in conditions.items()}
        )

        @jax.jit
        def loss(u: Array, x: Array, given: dict[str, Array]) -> tuple[Array, Array]:
            return jax.value_and_grad(lambda v: -log_posterior(program, v, x, given))(u)

        modes, ends = [], []
        for m, start in enumerate(origin(self.system, program, batch.x)):
            x, given = jnp.asarray(batch.x[m], float), {k: v[m] for k, v in conditions.items()}
            found = minimize(
                lambda u, x=x, given=given: tuple(map(np.asarray, loss(u, x, given))),
                start,
                jac=True,
                method="BFGS",
                options={"maxiter": self.options.steps, "gtol": self.options.tolerance},
            )
            modes.append(found.x)
            ends.append(np.abs(found.jac).max() < 100.0 * self.options.tolerance)
            progress.update("maximum", (m + 1) / len(batch.x), {"log_posterior": -float(found.fun)})
        mode, converged = np.stack(modes), np.array(ends)
        text = "maximum of the posterior density, unconstrained"
        return Fit(
            method="maximum",
            system=self.system,
            batch=batch,
            program=program,
            draws=mode[None, None],  # one chain of one draw: a point
            mode=mode,
            approximation="point",
            converged=converged,
            ended="converged" if converged.all() else "steps used up",
            messages=batch.notices,
            seconds=time.monotonic() - began,
            exact=True,
            groups={"map": {"u": Table(("member", "parameter"), mode, text)}},
            options=self.options,
            key=key,
        )


def maximum(system: System, data: xr.Dataset, **options: Any) -> Maximum:
    """The maximum of the posterior density; options are those of :class:`MaximumOptions`.

    :param system: what is fitted.
    :param data: fine configurations.
    :raises ValueError: for an unknown option.
    """
    return Maximum(system, data, options_for(system, "maximum", MaximumOptions(), options))
