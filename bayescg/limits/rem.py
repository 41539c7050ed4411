"""Relative-entropy minimisation (REM) as a limiting case of MC-EM."""

from typing import Any

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.infer.options import MCEMOptions, options_for
from bayescg.infer.run import MCEM
from bayescg.system import Batch, System

__all__ = ["REMOptions", "rem"]

REMOptions = MCEMOptions


def rem(system: System, data: xr.Dataset, **options: Any) -> MCEM:
    r"""REM: the same program conditioned on X = R(x), under a flat prior, by the same MC-EM.

    With a Dirac map nothing is latent; the gradient of Eq. 39 becomes
    :math:`\sum_i \phi(R(x_i)) - N\langle\phi\rangle_{p_c}`, REM's. A coarse-to-fine likelihood with
    parameters (the flip map) is fitted along with it; one without (``fine=majority``, the
    consistent reconstruction of Eq. 7) is not.

    :raises ValueError: if the system names no restriction map, or for an unknown option.
    """
    restriction = system.restriction
    if restriction is None:
        raise ValueError(f"{system.name} has no fine-to-coarse map, which rem needs.")

    def mapped(batch: Batch, key: Array) -> dict[str, np.ndarray]:
        x = jnp.asarray(batch.x, float)
        keys = jax.random.split(key, len(x))
        X = np.stack([np.asarray(restriction(x[m], key=keys[m])) for m in range(len(x))])
        return {"X": X, **{k: np.full(len(x), v) for k, v in system.dirac.items()}}

    return MCEM(
        system,
        data,
        options_for(system, "rem", REMOptions(), options),
        method="rem",
        fixed=mapped,
        flat=True,
        point=True,
    )
