"""Effect handlers that sum sites out of a program, give it another prior, or values to read it by."""

from collections.abc import Callable, Collection
from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import biject_to
from numpyro.primitives import Messenger

from bayescg.distributions.boltzmann import Boltzmann
from bayescg.distributions.coarse_to_fine import SpinFlip
from bayescg.distributions.hidden import MarkovPath
from bayescg.distributions.nested import NestedSpinFlip

__all__ = [
    "Blank",
    "collapse",
    "collapse_levels",
    "collapse_precisions",
    "is_state",
    "replace_prior",
    "unwrapped",
]


def collapse(fn: Callable[..., None]) -> Callable[..., None]:
    """A program without what has a closed form: ARD's precisions, and levels between latent and data."""
    return collapse_levels(collapse_precisions(fn))


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
        """Stop the site of the precisions, and make that of the coefficients a Student-t."""
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


class collapse_levels(Messenger):
    """Sum levels of spins between the latent and the data out of a program (PCG paper, Eq. 71).

    A site ``SpinFlip(X, ...)`` with NumPyro's own hint ``infer={"enumerate": "parallel"}`` is such a level: it
    goes, and the ``SpinFlip`` of it becomes a :class:`~bayescg.distributions.nested.NestedSpinFlip` of X.
    """

    def __init__(self, fn: Callable[..., None]) -> None:
        super().__init__(fn)
        self._open: list[tuple[Any, NestedSpinFlip]] = []  # value of a level, and all down to it

    def process_message(self, msg: dict[str, Any]) -> None:
        """Stop the site of a level that is summed out, and widen the ``SpinFlip`` that follows it.

        :raises ValueError: if a site that is to be summed out is no level of spins.
        """
        if msg["type"] != "sample":
            return
        hidden = (msg.get("infer") or {}).get("enumerate") == "parallel"
        flip = unwrapped(msg["fn"])
        if not isinstance(flip, SpinFlip):
            if hidden:
                raise ValueError(
                    f"site {msg['name']!r} is to be summed out, which only levels of spins, SpinFlip, can be."
                )
            return
        above = next((nested for value, nested in self._open if value is flip.X), None)
        if above is None and not hidden:
            return
        whole = (
            NestedSpinFlip(flip.X, (flip.p0,), (flip.ratio,)) if above is None else above.then(flip)
        )
        self._open = [pair for pair in self._open if pair[1] is not above]
        if not hidden:
            msg["fn"] = whole
            return
        msg["value"] = jnp.repeat(flip.X, flip.ratio, -1)  # stands for the level, by identity
        msg["stop"] = True
        self._open.append((msg["value"], whole))

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        left, self._open = self._open, []
        if left and error[0] is None:
            raise ValueError(
                "a level of spins is to be summed out, but no SpinFlip of it follows: its children must be "
                "SpinFlip(X1, ...) of the value of that site itself."
            )


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
        """Give the coefficients the new prior, and stop the site of their precisions."""
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


def is_state(msg: dict[str, Any]) -> bool:
    """Whether a site is the hidden state of frames: categorical in a plate, or a path through states."""
    if msg["type"] != "sample" or msg["is_observed"]:
        return False
    fn = unwrapped(msg["fn"])
    categorical = isinstance(fn, dist.CategoricalProbs | dist.CategoricalLogits)
    return isinstance(fn, MarkovPath) or (categorical and bool(msg["cond_indep_stack"]))


class Blank(Messenger):
    """Give every site without a value a feasible one: a shape is read, nothing is sampled."""

    def process_message(self, msg: dict[str, Any]) -> None:
        """Give the site a value of the right shape inside its support."""
        if msg["type"] != "sample" or msg["value"] is not None:
            return
        fn = msg["fn"]
        if isinstance(unwrapped(fn), Boltzmann):
            msg["value"] = jnp.ones(fn.shape())
        elif is_state(msg):
            msg["value"] = jnp.zeros((), int)  # every frame in the first
        elif not fn.support.is_discrete:
            transform = biject_to(fn.support)
            msg["value"] = transform(jnp.zeros(transform.inverse_shape(tuple(fn.shape()))))
