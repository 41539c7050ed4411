"""Reading a generative program: its latent Boltzmann site, its parameters, its likelihood.

Every method sees the same :class:`Program`; nothing about a method leaks into the program.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
import warnings

import jax
from jax import Array
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import biject_to
from numpyro.handlers import block, seed, substitute, trace

from bayescg.distributions.boltzmann import Boltzmann
from bayescg.distributions.coarse_to_fine import PeriodicMixture, PeriodicNormal
from bayescg.distributions.hidden import state_count
from bayescg.infer.handlers import Blank, collapse, is_state, unwrapped
from bayescg.potentials.base import ExponentialFamily
from bayescg.samplers.tethers import Held, Tether

__all__ = [
    "Program",
    "ProgramError",
    "coefficient_sites",
    "loose_coordinates",
    "read_program",
    "warn_of_single_precision",
]


class ProgramError(ValueError):
    """A program that the methods cannot read; says what is missing or not allowed."""


class _Sites(NamedTuple):
    parameters: tuple[str, ...]
    latent: str
    latent_observed: bool
    likelihood: tuple[str, ...]
    state: str | None = None  # the hidden state of frames, where there is one


@dataclass(frozen=True, eq=False)
class Program:
    """A program as functions of one flat, unconstrained parameter vector ``u``.

    ``x`` is one data set, ``(frame, ...)``; ``conditions`` the program's other arguments.
    All methods are pure, and may be jitted and mapped.

    Of a program with hidden states (PCG paper, Eqs. 69 and 70) this is the program in one of them,
    :meth:`in_state`, the first unless another is asked for: with its state given, a mixture is what every
    other program is. What puts the states together is in :mod:`bayescg.infer.marginal`.
    """

    function: Callable[..., None]
    sites: _Sites
    supports: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    improper: tuple[str, ...]  # sites under an improper prior
    ard: dict[str, tuple[float, float]]  # a0, b0 of each site with an ARD prior
    free_modes: tuple[str, ...]  # sites whose mode is that of their unconstrained density
    scales: tuple[str, ...]  # sites that scale other sites, as the horseshoe's do
    shared: tuple[str, ...]  # sites that have one value for all members of a sweep
    fixed: dict[str, Array]  # values that the program is conditioned on, the latent among them
    unravel: Callable[[Array], dict[str, Array]]
    size: int
    latent_shape: tuple[int, ...]  # of one latent configuration
    kept: np.ndarray | None = None  # of a Dirac map, the sites of the latent that the data hold
    states: int = 1  # hidden states that a frame may be in
    state_axes: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # of parameters, by site

    def given(self, fixed: dict[str, Array]) -> "Program":
        """The same program with other values for what it is conditioned on."""
        return replace(self, fixed=fixed)

    def in_state(self, state: ArrayLike) -> "Program":
        """The program of frames that are all in one state, an integer that may be traced."""
        assert self.sites.state is not None
        return self.given({**self.fixed, self.sites.state: jnp.asarray(state)})

    def state_prior(self, u: Array, x: Array, conditions: dict[str, Array]) -> Any:
        """The state site's distribution: categorical, or a :class:`~bayescg.distributions.hidden.MarkovPath`."""
        assert self.sites.state is not None
        return unwrapped(self._trace(u, x, conditions, self._blank(len(x)))[self.sites.state]["fn"])

    def distributions(self, u: Array, x: Array, conditions: dict[str, Array]) -> dict[str, Any]:
        """The prior of every parameter site, at the values that others have."""
        sites = self._trace(u, x, conditions, self._blank(len(x)))
        return {k: sites[k]["fn"] for k in self.shapes}

    # --- parameters -------------------------------------------------------------------------
    def constrain(self, u: Array) -> dict[str, Array]:
        """Parameter values from unconstrained ``u (size,)``."""
        values = self.unravel(u)
        return {k: biject_to(self.supports[k])(v) for k, v in values.items()}

    def unconstrain(self, values: dict[str, Array]) -> Array:
        """The inverse of :meth:`constrain`."""
        inner = {k: biject_to(self.supports[k]).inv(jnp.asarray(values[k])) for k in self.shapes}
        return ravel_pytree(inner)[0]

    def log_jacobian(self, u: Array, sites: Collection[str] | None = None) -> Array:
        """Log volume of :meth:`constrain`, which turns a density of values into one of ``u``.

        :param sites: only these; None: all.
        """
        total = jnp.zeros(())
        for k, v in self.unravel(u).items():
            if sites is None or k in sites:
                t = biject_to(self.supports[k])
                total = total + jnp.sum(t.log_abs_det_jacobian(v, t(v)))
        return total

    def coordinates(self, site: str) -> np.ndarray:
        """Where ``u`` holds a site: indices into ``u``."""
        with jax.ensure_compile_time_eval():
            index = self.unravel(jnp.arange(self.size, dtype=jnp.result_type(float)))
            return np.asarray(index[site]).ravel().astype(int)

    @property
    def labels(self) -> list[str]:
        """A name for each coordinate of ``u``."""
        out = [""] * self.size
        for site, shape in self.shapes.items():
            for j, i in enumerate(self.coordinates(site)):
                out[i] = f"{site}[{j}]" if shape else site
        return out

    def values(self, u: Array, x: Array, conditions: dict[str, Array]) -> dict[str, Array]:
        """Parameters by name, and what the program derives from them by ``deterministic``."""
        sites = self._trace(u, x, conditions, self._blank(len(x)))
        derived = {k: v["value"] for k, v in sites.items() if v["type"] == "deterministic"}
        return {**self.constrain(u), **derived}

    # --- densities --------------------------------------------------------------------------
    def _trace(
        self, u: Array, x: Array, conditions: dict[str, Array], latent: Array
    ) -> dict[str, Any]:
        values = {**self.constrain(u), **self.fixed, self.sites.latent: latent}
        program = substitute(seed(collapse(self.function), jax.random.key(0)), data=values)
        with block():  # nothing of this evaluation shows to handlers around it
            return dict(trace(program).get_trace(x, **conditions))

    def _blank(self, frames: int) -> Array:
        return jnp.zeros((frames, *self.latent_shape))

    def log_prior(
        self,
        u: Array,
        x: Array,
        conditions: dict[str, Array],
        sites: Collection[str] | None = None,
    ) -> Array:
        """Log prior density of the parameters' values (no Jacobian), ARD's tau integrated out.

        :param sites: only these; None: all.
        """
        found = self._trace(u, x, conditions, self._blank(len(x)))
        names = self.shapes if sites is None else sites
        terms = [jnp.sum(found[k]["fn"].log_prob(found[k]["value"])) for k in names]
        return sum(terms, start=jnp.zeros(()))

    def boltzmann(self, u: Array, x: Array, conditions: dict[str, Array]) -> Boltzmann:
        """The latent site's distribution."""
        return unwrapped(
            self._trace(u, x, conditions, self._blank(len(x)))[self.sites.latent]["fn"]
        )

    def natural(self, u: Array, x: Array, conditions: dict[str, Array]) -> Array:
        """Natural parameters of the latent site's potential, ``(term,)``."""
        return self.boltzmann(u, x, conditions).potential.natural()

    def log_likelihood(
        self, u: Array, latent: Array, x: Array, conditions: dict[str, Array]
    ) -> Array:
        """``log p_cf(x_i | X_i)`` of each frame, shape ``(frame,)``; ``latent (frame, ...)``."""
        sites = self._trace(u, x, conditions, latent)
        terms = []
        for name in self.sites.likelihood:
            if self.kept is not None:
                continue  # the latent has what the data hold; a Dirac map has no density to look at
            value = sites[name]["fn"].log_prob(sites[name]["value"])
            terms.append(value.reshape(len(x), -1).sum(1))
        return sum(terms, start=jnp.zeros(len(x)))

    def field(self, u: Array, x: Array, conditions: dict[str, Array]) -> tuple[Array, Array]:
        r"""The likelihood as a field on latent spins: ``log p_cf = c_i + h_i . X_i``.

        Any likelihood that factorises over coarse sites has this form, since a function of one
        spin is affine in it. It is read from the values at -1 and +1 (a derivative would be
        right only where the likelihood is affine between them, too).

        :return: ``h (frame, site)`` and ``c (frame,)``.
        """
        down = jnp.full((len(x), *self.latent_shape), -1.0)
        base = self.log_likelihood(u, down, x, conditions)

        def raised(site: Array) -> Array:
            return self.log_likelihood(u, down.at[:, site].set(1.0), x, conditions)

        h = 0.5 * (jax.vmap(raised, out_axes=1)(jnp.arange(down.shape[1])) - base[:, None])
        return h, base + jnp.sum(h, 1)

    def pull(self, u: Array, x: Array, conditions: dict[str, Array]) -> Any:
        """What the data exert on latents, as samplers take it transposed; the leading axis is ``frame``.

        Spins: the field ``h`` of :meth:`field`. Sites in space: the :class:`~bayescg.samplers.tethers.Tether` or
        :class:`~bayescg.samplers.tethers.TetherMixture` of a likelihood that says it itself
        (``PeriodicNormal.pull``), of another normal one the tether read from its first two derivatives at ``X = x``;
        of a Dirac map what it holds, :class:`~bayescg.samplers.tethers.Held`.
        """
        if self.kept is not None:
            at = jnp.zeros((len(x), *self.latent_shape), x.dtype).at[:, self.kept].set(x)
            free = jnp.ones((len(x), self.latent_shape[0]), x.dtype).at[:, self.kept].set(0.0)
            return Held(at, free)
        if len(self.latent_shape) == 1:
            return self.field(u, x, conditions)[0]
        if len(self.sites.likelihood) == 1:
            sites = self._trace(u, x, conditions, self._blank(len(x)))
            likelihood = unwrapped(sites[self.sites.likelihood[0]]["fn"])
            if isinstance(likelihood, PeriodicNormal | PeriodicMixture):
                return likelihood.pull(x)

        def total(latent: Array) -> Array:
            return jnp.sum(self.log_likelihood(u, latent, x, conditions))

        # Coordinates that do not act on each other: the sum of a row of second derivatives is its diagonal.
        force, change = jax.jvp(jax.grad(total), (x,), (jnp.ones_like(x),))
        return Tether(x - force / change, -change)

    def dirac(self, latent: Array, x: Array, conditions: dict[str, Array]) -> Array | None:
        """What a deterministic map gives of latents ``(frame, ...)``, ``(frame, ...)`` too; None of another one."""
        sites = self._trace(jnp.zeros(self.size), x, conditions, latent)
        values = [unwrapped(sites[k]["fn"]) for k in self.sites.likelihood]
        return values[0].v if len(values) == 1 and isinstance(values[0], dist.Delta) else None

    def sample_fine(
        self, key: Array, u: Array, latent: Array, conditions: dict[str, Array]
    ) -> Array:
        """Fine configurations from p_cf(x | X), one each of ``latent (sample, ...)``; or ProgramError."""
        values = {**self.constrain(u), **self.fixed, self.sites.latent: latent}
        program = substitute(seed(collapse(self.function), key), data=values)
        with block():
            sites = trace(program).get_trace(None, frames=len(latent), **conditions)
        if len(self.sites.likelihood) != 1:
            raise ProgramError(
                "fine configurations are one observed site, this program has "
                f"{len(self.sites.likelihood)} ({', '.join(self.sites.likelihood)})."
            )
        return sites[self.sites.likelihood[0]]["value"]


def read_program(
    function: Callable[..., None],
    x: Array,
    conditions: dict[str, Array],
    fixed: dict[str, Array] | None = None,
) -> Program:
    """Find the parts of a generative program from its trace.

    :param function: ``function(x, **conditions)``.
    :param x: an example data set, ``(frame, ...)``.
    :param conditions: an example of the other arguments.
    :param fixed: values on which the program is conditioned (a Dirac map gives the latent).
    :raises ProgramError: if there is not exactly one Boltzmann site, or no likelihood.
    """
    fixed = dict(fixed or {})
    # Only names, shapes and supports are read; a latent without a sampler is given a blank value.
    # Values are kept (a support may hold arrays), so this does not run under a trace of JAX.
    handler = Blank(substitute(seed(collapse(function), jax.random.key(0)), data=fixed))
    found = trace(handler).get_trace(x, **conditions)
    sampled = {k: v for k, v in found.items() if v["type"] == "sample"}
    latents = [k for k, v in sampled.items() if isinstance(unwrapped(v["fn"]), Boltzmann)]
    if len(latents) != 1:
        raise ProgramError(
            f"a program needs exactly one latent Boltzmann site, this one has {len(latents)}"
            + (f" ({', '.join(latents)})." if latents else ".")
        )
    (latent,) = latents
    site = sampled[latent]
    if not isinstance(unwrapped(site["fn"]).potential, ExponentialFamily):
        raise ProgramError(
            f"the potential of site {latent!r} exposes no natural parameters and statistics."
        )
    likelihood = tuple(
        k for k, v in sampled.items() if v["is_observed"] and k != latent and k not in fixed
    )
    if not likelihood:
        raise ProgramError("the program has no observed site: pass its data as obs=.")
    hidden = [k for k, v in sampled.items() if is_state(v)]
    if len(hidden) > 1:
        raise ProgramError(
            f"a program may have one hidden state a frame, this one has {len(hidden)} ({', '.join(hidden)})."
        )
    state = hidden[0] if hidden else None
    if state is not None:
        fixed.setdefault(state, jnp.zeros((), int))
    parameters = tuple(
        k
        for k, v in sampled.items()
        if k not in (latent, *likelihood) and not v["is_observed"] and k not in fixed
    )
    if not parameters:
        raise ProgramError("the program has no unobserved parameter site.")
    discrete = [k for k in parameters if sampled[k]["fn"].support.is_discrete]
    if discrete:
        raise ProgramError(
            f"parameters must be continuous; these are discrete: {', '.join(discrete)}."
        )
    shapes = {k: tuple(sampled[k]["fn"].shape()) for k in parameters}
    supports = {k: sampled[k]["fn"].support for k in parameters}
    blank = {k: jnp.zeros(biject_to(supports[k]).inverse_shape(shapes[k])) for k in parameters}
    flat, unravel = ravel_pytree(blank)
    return Program(
        function=function,
        sites=_Sites(parameters, latent, latent in fixed, likelihood, state),
        supports=supports,
        shapes=shapes,
        improper=tuple(
            k for k in parameters if isinstance(unwrapped(sampled[k]["fn"]), dist.ImproperUniform)
        ),
        free_modes=tuple(
            k for k in parameters if (sampled[k].get("infer") or {}).get("mode") == "unconstrained"
        ),
        scales=tuple(k for k in parameters if "scale" in (sampled[k].get("infer") or {})),
        shared=tuple(k for k in parameters if (sampled[k].get("infer") or {}).get("shared")),
        ard={k: v["infer"]["ard"] for k, v in sampled.items() if "ard" in (v.get("infer") or {})},
        fixed={k: jnp.asarray(v) for k, v in fixed.items()},
        unravel=unravel,
        size=flat.size,
        latent_shape=tuple(unwrapped(site["fn"]).event_shape),
        kept=_kept(function, fixed, latent, likelihood, sampled, x, conditions),
        states=1 if state is None else state_count(unwrapped(sampled[state]["fn"])),
        state_axes={} if state is None else _state_axes(found, state, latent),
    )


def _state_axes(found: Mapping[str, Any], state: str, latent: str) -> dict[str, tuple[int, ...]]:
    """Axes of parameters and derived values that run over the hidden states.

    They are those of a plate as long as there are states, and of distributions over the states (weights,
    rows of a transition matrix). What is derived inside such a plate has it first.
    """
    count = state_count(unwrapped(found[state]["fn"]))
    of_frames = {f.name for k in (state, latent) for f in found[k]["cond_indep_stack"]}
    out = {}
    for name, site in found.items():
        plates = [
            f
            for f in site.get("cond_indep_stack", ())
            if f.size == count and f.name not in of_frames
        ]
        if site["type"] == "deterministic" and plates:
            out[name] = (0,)
        if site["type"] != "sample" or site["is_observed"] or name in (state, latent):
            continue
        batch = len(site["fn"].batch_shape)
        axes = [batch + f.dim for f in plates]
        event = site["fn"].event_shape
        if event == (count,) and isinstance(
            _base(site["fn"].support), type(dist.constraints.simplex)
        ):
            axes.append(batch)
        out[name] = tuple(axes)
    return {k: v for k, v in out.items() if v}


def _kept(
    function: Callable[..., None],
    fixed: Mapping[str, Array],
    latent: str,
    likelihood: tuple[str, ...],
    sampled: Mapping[str, Any],
    x: Array,
    conditions: dict[str, Array],
) -> np.ndarray | None:
    """The latent's sites that a Dirac map, ``Delta(X[..., sites, :])``, hands on; None for others.

    Found by handing it numbers that are no simple function of each other.

    :raises ProgramError: for sites that are not as many as those of the data.
    """
    if len(likelihood) != 1 or not isinstance(unwrapped(sampled[likelihood[0]]["fn"]), dist.Delta):
        return None
    shape = tuple(unwrapped(sampled[latent]["fn"]).event_shape)
    if len(shape) != 2:
        return None  # spins: no sampler holds some of them
    numbers = np.random.default_rng(0).normal(size=(len(x), *shape))
    values = {**fixed, latent: jnp.asarray(numbers)}
    handler = Blank(substitute(seed(collapse(function), jax.random.key(0)), data=values))
    out = np.asarray(unwrapped(trace(handler).get_trace(x, **conditions)[likelihood[0]]["fn"]).v)
    same = out.ndim == 3 and out.shape[2] == shape[1]
    found = (out[0][:, None] == numbers[0][None]).all(2) if same else np.zeros((0, 1), bool)
    kept = found.argmax(1)
    once = found.any(1).all() and len(set(kept.tolist())) == len(kept) > 0
    if not once or not np.array_equal(out, numbers[:, kept]):
        return None
    if out.shape[1:] != x.shape[1:]:
        raise ProgramError(
            f"the program's map gives {out.shape[1]} sites a frame, the data hold {x.shape[1]}."
        )
    return kept


def coefficient_sites(program: Program, x: Array, conditions: dict[str, Array]) -> tuple[str, ...]:
    """Real-valued parameters on which the latent potential depends: what REM's flat prior is put on."""

    slope = np.zeros(program.size, bool)
    for seed_ in range(2):
        u = 0.5 * jax.random.normal(jax.random.key(seed_), (program.size,))
        slope |= np.any(np.asarray(jax.jacobian(program.natural)(u, x, conditions)) != 0.0, axis=0)
    return tuple(
        k
        for k in program.shapes
        if slope[program.coordinates(k)].any()
        and _base(program.supports[k]) is dist.constraints.real
    )


def warn_of_single_precision() -> None:
    """Warn where JAX computes in float32: ARD's spike and nearly singular informations need more."""
    if not jax.config.read("jax_enable_x64"):
        warnings.warn(
            "JAX is in single precision, in which fits go wrong; call "
            'jax.config.update("jax_enable_x64", True) before anything else.',
            stacklevel=3,
        )


def _base(support: Any) -> Any:
    """A constraint without the event axes around it."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def loose_coordinates(program: Program, x: Array, conditions: dict[str, Array]) -> np.ndarray:
    """Where ``u`` holds coefficients that their prior does not hold: improper, or ARD's heavy tail."""
    coefficients = coefficient_sites(program, x, conditions)
    sites = [k for k in coefficients if k in program.improper or k in program.ard]
    return np.concatenate([np.zeros(0, int), *(program.coordinates(k) for k in sites)])
