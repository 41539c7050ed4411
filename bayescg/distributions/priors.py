r"""Priors of the coefficients theta_c, as NumPyro sample sites.

Each function declares its sites in the running program and returns the coefficients. Two hints
ride in the sites' ``infer`` dictionaries, for methods that treat them in closed form:
``precision_of`` (ARD's tau, conjugate to the named coefficients) and ``scale`` (the horseshoe's
scales, whose joint mode is degenerate).
"""

from jax import Array
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = [
    "PRIORS",
    "ard",
    "coefficients",
    "flat",
    "flat_positive",
    "horseshoe",
    "normal",
    "positive",
]

PRIORS = ("ard", "normal", "horseshoe", "flat")


def ard(name: str, size: int, *, a0: float = 1e-5, b0: float = 1e-5) -> Array:
    r"""Automatic relevance determination (PCG paper, Eq. 41),

    .. math:: \theta_k \sim N(0, \tau_k^{-1}), \qquad \tau_k \sim \mathrm{Gamma}(a_0, b_0).

    Every method integrates tau out: MC-EM by its inner E-step (Eq. 42), NUTS by sampling the
    marginal Student-t. At the paper's :math:`a_0 = b_0 = 10^{-5}` that marginal is a spike at zero
    which NUTS cannot enter; use :func:`horseshoe` for a full posterior.

    :param name: of the coefficients' site; that of the precisions is ``tau``.
    :param size: coefficients.
    :param a0: shape of the Gamma.
    :param b0: its rate.
    :raises ValueError: unless both are positive.

    >>> import jax
    >>> from numpyro.handlers import seed, trace
    >>> sites = trace(seed(lambda: ard("theta_c", 3), jax.random.key(0))).get_trace()
    >>> [(name, site["value"].shape) for name, site in sites.items()]
    [('tau', (3,)), ('theta_c', (3,))]
    """
    if a0 <= 0 or b0 <= 0:
        raise ValueError(f"a0 and b0 must be positive, got {a0} and {b0}.")
    tau = numpyro.sample(
        "tau", dist.Gamma(a0, b0).expand([size]).to_event(1), infer={"precision_of": name}
    )
    return numpyro.sample(name, dist.Normal(0.0, tau**-0.5).to_event(1))


def normal(name: str, size: int, *, scale: float = 10.0) -> Array:
    """Independent normals of standard deviation ``scale``.

    :param name: of the sample site.
    :param size: coefficients.
    :raises ValueError: unless the scale is positive.
    """
    if scale <= 0:
        raise ValueError(f"the prior's scale must be positive, got {scale}.")
    return numpyro.sample(name, dist.Normal(0.0, scale).expand([size]).to_event(1))


def flat(name: str, size: int) -> Array:
    """Improper uniform on the real line: the maximum of the posterior is the MLE.

    :param name: of the sample site.
    :param size: coefficients.
    """
    return numpyro.sample(name, dist.ImproperUniform(dist.constraints.real, (), (size,)))


def flat_positive(name: str, shape: tuple[int, ...] = ()) -> Array:
    """Improper uniform on the positive numbers, a scalar unless a ``shape`` is given; methods move the logarithm.

    The prior is flat in the value (PCG paper, Section 3.2.3), so the density of the logarithm has
    the Jacobian. A mode is that of the logarithm's density (hint ``mode``): of the value's it may lie
    at zero, where a normal approximation means nothing.

    :param name: of the sample site.
    """
    prior = dist.ImproperUniform(dist.constraints.positive, (), shape)
    return numpyro.sample(name, prior, infer={"mode": "unconstrained"})


def positive(
    name: str, lognormal: tuple[float, float] | None = None, shape: tuple[int, ...] = ()
) -> Array:
    """A positive parameter, a scalar unless a ``shape`` is given: :func:`flat_positive`, or log-normal, for NUTS.

    :param name: of the sample site.
    :param lognormal: median, and standard deviation of the logarithm; None: flat.
    """
    if lognormal is None:
        return flat_positive(name, shape)
    median, spread = lognormal
    prior = dist.LogNormal(jnp.log(median), spread).expand(shape).to_event(len(shape))
    return numpyro.sample(name, prior, infer={"mode": "unconstrained"})


def horseshoe(
    name: str, size: int, *, scale: float = 0.1, slab_scale: float = 2.0, slab_df: float = 4.0
) -> Array:
    r"""Regularised horseshoe, non-centred, so that NUTS explores it.

    .. math:: \theta_k = z_k\, s\, \tilde\lambda_k, \qquad
              \tilde\lambda_k^2 = c^2\lambda_k^2 / (c^2 + s^2\lambda_k^2),

    with half-t scales (three degrees of freedom, which keep the tails of the geometry mild) and
    :math:`c^2 \sim \mathrm{InvGamma}(\nu/2, \nu\,c_0^2/2)`. Source: J. Piironen and A. Vehtari,
    Electron. J. Stat. 11, 5018 (2017).

    :param name: of the deterministic site that holds the coefficients.
    :param size: coefficients.
    :param scale: global scale; about (features expected active)/(others).
    :param slab_scale: scale :math:`c_0` of an active coefficient.
    :param slab_df: degrees of freedom :math:`\nu` of the slab.
    """
    hint = {"scale": name}
    half_t = dist.FoldedDistribution(dist.StudentT(3.0))
    s = numpyro.sample(
        f"{name}_scale", dist.FoldedDistribution(dist.StudentT(3.0, 0.0, scale)), infer=hint
    )
    local = numpyro.sample(f"{name}_local", half_t.expand([size]).to_event(1), infer=hint)
    c2 = numpyro.sample(
        f"{name}_slab", dist.InverseGamma(0.5 * slab_df, 0.5 * slab_df * slab_scale**2), infer=hint
    )
    z = numpyro.sample(f"{name}_z", dist.Normal(0.0, 1.0).expand([size]).to_event(1))
    s, c2 = (jnp.expand_dims(v, -1) for v in (s, c2))  # inside a plate each member has its own
    shrunk = local * jnp.sqrt(c2 / (c2 + (s * local) ** 2))
    return numpyro.deterministic(name, z * s * shrunk)


def coefficients(
    name: str, size: int, prior: str, *, scale: float = 10.0, a0: float = 1e-5, b0: float = 1e-5
) -> Array:
    """Coefficients under a named prior: one of ``PRIORS``.

    :param name: of the sample site.
    :param size: coefficients.
    :param prior: ``ard``, ``normal``, ``horseshoe`` or ``flat``.
    :param scale: standard deviation of the normal prior.
    :param a0: shape of ARD's Gamma.
    :param b0: rate of ARD's Gamma.
    :raises ValueError: for an unknown name.

    >>> import jax
    >>> from numpyro.handlers import seed
    >>> theta_c = seed(lambda: coefficients("theta_c", 2, "normal", scale=0.5), jax.random.key(0))()
    >>> theta_c.shape
    (2,)
    >>> coefficients("theta_c", 2, "lasso")
    Traceback (most recent call last):
        ...
    ValueError: unknown prior 'lasso'; known: ...
    """
    match prior:
        case "ard":
            return ard(name, size, a0=a0, b0=b0)
        case "normal":
            return normal(name, size, scale=scale)
        case "horseshoe":
            return horseshoe(name, size)
        case "flat":
            return flat(name, size)
    raise ValueError(f"unknown prior {prior!r}; known: {', '.join(PRIORS)}.")
