r"""Force matching (MS-CG) as a limiting case: Dirac map, and a normal likelihood of forces in place of p_c."""

from dataclasses import dataclass
from typing import Any

from jax import Array
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import xarray as xr

from bayescg.distributions import coefficients
from bayescg.infer.linear_run import Linear, LinearOptions
from bayescg.infer.options import options_for
from bayescg.system import System

__all__ = ["FMOptions", "force_matching", "program"]


@dataclass(frozen=True)
class FMOptions(LinearOptions):
    """Options of force matching.

    ``errors``: ``sandwich`` (default) and ``bagged`` measure how the estimate varies from block to block of
    frames; ``independent`` is the conjugate posterior, which is wrong where residuals depend on each other.
    """


def force_matching(system: System, data: xr.Dataset, **options: Any) -> Linear:
    r"""Force matching: least squares of mapped forces, and its posterior.

    .. math:: F_t \mid c, \sigma^2 \sim N(G_t c, \sigma^2 I), \qquad
              c \mid \sigma^2 \sim N\bigl(H^{-1}(\textstyle\sum_t G_t^T F_t + \sigma^2\Lambda m),\
              \sigma^2 H^{-1}\bigr), \qquad H = \sum_t G_t^T G_t + \sigma^2\Lambda

    (S. Izvekov and G. A. Voth, J. Phys. Chem. B 109, 2469 (2005); W. G. Noid et al., J. Chem. Phys. 128,
    244114 (2008)) with the program's own prior: flat, normal, or ARD at the mode of its precisions. Forces
    of known terms, such as walls, are taken off first. The residual variance is profiled.

    :param system: what is fitted.
    :param data: fine configurations with ``forces (frame, site, axis)``, kcal/mol/angstrom.
    :param options: those of :class:`FMOptions` that are not at their defaults.
    :raises ValueError: if the data hold no forces, or for an unknown option.
    """
    return Linear(system, data, options_for(system, "fm", FMOptions(), options), "fm")


def program(
    design: Array,
    forces: Array | None = None,
    *,
    prior: str = "normal",
    scale: float = 10.0,
    a0: float = 1e-5,
    b0: float = 1e-5,
    residual_variance: float | None = None,
) -> None:
    """The Bayesian form as a generative program: p(theta_c) p(forces | design theta_c, residual_variance).

    :param design: forces of the functions, ``(..., term)``, as :func:`~bayescg.infer.force_design.design` gives.
    :param forces: ``(...)``, less those of known terms; None generates them.
    :param prior: of theta_c, as :func:`bayescg.distributions.coefficients` has it; ``scale``, ``a0``, ``b0`` are its.
    :param residual_variance: (kcal/mol/angstrom)^2; None: a parameter, its logarithm uniform (Jeffreys).

    >>> import jax
    >>> from numpyro.infer.util import log_density
    >>> design = jnp.ones((3, 1))
    >>> args, kwargs = (design, jnp.zeros(3)), {"prior": "flat", "residual_variance": 1.0}
    >>> value, _ = log_density(program, args, kwargs, {"theta_c": jnp.array([1.0])})
    >>> round(float(value), 4)  # three standard normals at 1
    -4.2568
    """
    theta_c = coefficients("theta_c", design.shape[-1], prior, scale=scale, a0=a0, b0=b0)
    if residual_variance is None:
        positive = dist.ImproperUniform(dist.constraints.positive, (), ())
        variance = numpyro.sample("residual_variance", positive)
        numpyro.factor("jeffreys", -jnp.log(variance))
    else:
        variance = jnp.asarray(residual_variance)
    normal = dist.Normal(design @ theta_c, jnp.sqrt(variance))
    numpyro.sample("forces", normal.to_event(design.ndim - 1), obs=forces)
