"""Effect handlers that give a program another prior, or values to read it by."""

from collections.abc import Callable, Collection
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import biject_to
from numpyro.primitives import Messenger

from bayescg.distributions.boltzmann import Boltzmann

__all__ = ["Blank", "collapse_precisions", "replace_prior", "unwrapped"]


class collapse_precisions(Messenger):
    r"""Integrate ARD's precisions out of a program.

    :math:`\int N(\theta \mid 0, \tau^{-1})\,\mathrm{Gamma}(\tau \mid a_0, b_0)\,d\tau` is a
    Student-t with :math:`2 a_0` degrees of freedom and scale :math:`\sqrt{b_0 / a_0}`. The gradient
    of its logarithm is Eq. 43 with the :math:`\langle\tau\rangle` of Eq. 42.
    """

    def __init__(self, fn: Callable[..., None]) -> None:
        super().__init__(fn)
        self._gammas: dict[str, Any] = {}

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] != "sample":
            return
        target = (msg.get("infer") or {}).get("precision_of")
        if target is not None:
            self._gammas[target] = msg["fn"]
            msg["value"] = jnp.ones(msg["fn"].shape())
            msg["stop"] = True
        elif msg["name"] in self._gammas:
            gamma = self._gammas[msg["name"]]
            base = gamma.base_dist if isinstance(gamma, dist.Independent) else gamma
            while isinstance(base, dist.ExpandedDistribution):
                base = base.base_dist
            a0, b0 = base.concentration, base.rate
            shape = msg["fn"].shape()
            student = dist.StudentT(2.0 * a0, 0.0, (b0 / a0) ** 0.5)
            msg["fn"] = student.expand(shape).to_event(len(shape))
            msg["infer"] = {**(msg.get("infer") or {}), "ard": (a0, b0)}


class replace_prior(Messenger):
    """The same program under another prior of its real-valued coefficients.

    :param sites: names of the coefficients, as :func:`~bayescg.infer.program.coefficient_sites` finds them.
    :param scale: standard deviation of independent normals; None: improper uniform (flat).
    """

    def __init__(
        self, fn: Callable[..., None], sites: Collection[str], scale: float | None = None
    ) -> None:
        super().__init__(fn)
        self.sites = frozenset(sites)
        self.scale = scale

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] != "sample" or msg["is_observed"]:
            return
        shape = tuple(msg["fn"].shape())
        if (msg.get("infer") or {}).get("precision_of") in self.sites:
            msg["value"] = jnp.ones(shape)
            msg["stop"] = True
            return
        if msg["name"] not in self.sites:
            return
        if self.scale is None:
            msg["fn"] = dist.ImproperUniform(dist.constraints.real, (), shape)
        else:
            msg["fn"] = dist.Normal(0.0, self.scale).expand(shape).to_event(len(shape))


def unwrapped(fn: Any) -> Any:
    """The distribution inside expansions and masks (not inside ``Independent`` events)."""
    while isinstance(fn, dist.ExpandedDistribution | dist.MaskedDistribution):
        fn = fn.base_dist
    return fn


class Blank(Messenger):
    """Give every site without a value a feasible one: a shape is read, nothing is sampled."""

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] != "sample" or msg["value"] is not None:
            return
        fn = msg["fn"]
        if isinstance(unwrapped(fn), Boltzmann):
            msg["value"] = jnp.ones(fn.shape())
        elif not fn.support.is_discrete:
            transform = biject_to(fn.support)
            msg["value"] = transform(jnp.zeros(transform.inverse_shape(tuple(fn.shape()))))
