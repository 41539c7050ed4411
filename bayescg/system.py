"""A system: a generative program, and the record of what surrounds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jax import Array
import numpy as np
import xarray as xr

from bayescg.mapping import momentum_consistency
from bayescg.observables.base import Observable
from bayescg.samplers.base import Sampler

__all__ = ["Batch", "Derived", "System"]

#: Attributes of selected data that go into the result.
RECORDED = (
    "statistical_inefficiency",
    "effective_frames",
    "effective_frames_known",
    "frames_given",
)

ROUNDING = 1e-9  # by which a condition may lie outside a domain


class Batch(NamedTuple):
    """Data as the methods read them: a leading axis runs over the members of a sweep."""

    x: np.ndarray  # (member, frame, ...)
    conditions: dict[str, np.ndarray]  # program arguments that vary over the sweep, (member,)
    dim: str | None  # name of the sweep's dimension, None for a single data set
    coords: np.ndarray | None  # its coordinate
    notices: tuple[str, ...] = ()  # what was done to the data before they are fitted
    attrs: Mapping[str, Any] = {}  # what is known of them, for the result

    def of(self, at: np.ndarray) -> "Batch":
        """Some members only."""
        some = {k: v[at] for k, v in self.conditions.items()}
        coords = None if self.coords is None else self.coords[at]
        return self._replace(x=self.x[at], conditions=some, coords=coords)


class Derived(NamedTuple):
    """A function of the parameters on an axis of its own, such as a pair potential.

    :param dim: name of the axis.
    :param coords: along it, ``(dim,)``.
    :param value: the function's values, ``(dim,)``.
    :param long_name: what it is, in words.
    :param units: of the values.
    :param dim_units: of the axis.
    """

    dim: str
    coords: np.ndarray
    value: Array  # (dim,)
    long_name: str
    units: str
    dim_units: str


@dataclass(frozen=True)
class System:
    """One coarse-grained model of one system.

    :param name: what ``bayescg fit`` calls it.
    :param program: ``program(x=None, *, frames=None, **conditions)``, a NumPyro generative program
        with one latent ``Boltzmann`` site, parameters, and a coarse-to-fine likelihood.
    :param sampler: Markov kernel for the latent site.
    :param independent: draws that need no chain, where there are any: slower, but no coupling
        freezes them. A fit that ran away is started again with it.
    :param latent_sampler: kernel for q_i(X), where another suits it better.
    :param exact_sampler: kernel of p_c whose ensemble is exact, from whose samples log Z is learned; None: the
        latent sampler is it.
    :param start: values of parameters that a fit starts from; the others start at the origin of
        their unconstrained coordinates.
    :param start_from: the same from one data set ``(frame, ...)``; what it names comes first.
    :param dirac: parameters of the coarse-to-fine map that mean nothing where the map is a Dirac one
        (REM), and the values they are held at there.
    :param no_dirac: the option, ``name=value``, that gives this system a map which has no Dirac one for its limit, and
        without which it has; methods whose latents are X = R(x) refuse it. Empty: none.
    :param runaway: beta times a coefficient that passes this under a flat or ARD prior is on its way
        to infinity, as on a lattice it can be; None where a search never ends there.
    :param method_defaults: options of methods that suit this system better than their own defaults,
        by method (``"mcem"``), and by schedule or steps where one needs more (``"mcem, schedule=paper"``).
    :param box: edges of the periodic box of sites in space, angstrom.
    :param units: of parameters; those not named are pure numbers.
    :param parameter_dims: names for the axes of parameters that have some and are no coefficients.
    :param derived: further quantities of one draw of the parameters, for ``posterior``.
    :param conditions: program arguments that come with the data (a coordinate or an attribute of
        that name) and may differ over a sweep.
    :param domain: of conditions, the range that the program is for; one that is not named has none.
    :param options: the options that made this system, for the record.
    :param features: names of the coefficients ``theta_c``.
    :param observables: what ``predict`` measures unless told otherwise.
    :param known_observables: every observable that makes sense here: name to constructor.
    :param restriction: fine-to-coarse map R for the methods that need one, or None.
    :param pre_map: map G of configurations of p_c, ``(axis, site, *batch)``, to those that the data hold, where
        p_c has sites that they lack (ARCG paper, Eq. 22); None: the two are of the same sites.
    :param mass: of the sites of p_c, g/mol: where G is linear, momenta that it maps and those that the data's masses
        imply are compared (ARCG paper, Eq. 30).
    :param complete: puts the sites that data lack into their configurations, ``complete(key, x (frame, site,
        axis))``: where chains begin.
    :param critic_features: what a critic may see of configurations that are compared, :class:`Observable` each.
    :param constants: arrays for the result's ``constant_data``: name to (dims, values, long name,
        units).
    :param check: raises ``ValueError`` where a data set does not fit the system.
    :param select: the members of a data set that the system's options name.
    :param frames: use only the first so many frames; None for all.
    :param typed: whether its potential is a :class:`~bayescg.potentials.MolecularPotential`, on which methods that
        match distributions run.
    :param at_least: fewest frames of a fit; 1 where distributions may stand beside them.
    """

    name: str
    program: Callable[..., None]
    sampler: Sampler
    conditions: tuple[str, ...] = ()
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    observables: tuple[Observable, ...] = ()
    known_observables: Mapping[str, Callable[..., Observable]] = field(default_factory=dict)
    restriction: Callable[..., Any] | None = None
    pre_map: Callable[[Array], Array] | None = None
    mass: tuple[float, ...] | None = None
    complete: Callable[[Array, Array], Array] | None = None
    critic_features: tuple[Observable, ...] = ()
    constants: Mapping[str, tuple[tuple[str, ...], np.ndarray, str, str]] = field(
        default_factory=dict
    )
    check: Callable[[xr.Dataset], None] = lambda data: None
    select: Callable[[xr.Dataset], xr.Dataset] = lambda data: data
    frames: int | None = None
    at_least: int = 2
    typed: bool = False
    independent: Sampler | None = None
    latent_sampler: Sampler | None = None
    exact_sampler: Sampler | None = None
    start: Mapping[str, Any] = field(default_factory=dict)
    start_from: Callable[[np.ndarray], Mapping[str, Any]] | None = None
    dirac: Mapping[str, float] = field(default_factory=dict)
    no_dirac: str = ""
    runaway: float | None = 6.0
    method_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    box: tuple[float, ...] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    parameter_dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    derived: Callable[[Mapping[str, Array]], Mapping[str, Derived]] | None = None

    @property
    def length(self) -> str:
        """The unit of configurations: angstrom for sites in space, none for spins."""
        return "1" if self.box is None else "angstrom"

    def held(self, members: int, method: str) -> dict[str, np.ndarray]:
        """What a method whose latents are X = R(x) holds besides them, :attr:`dirac` of each member.

        :param members: of the sweep.
        :param method: that asks, for the message.
        :raises ValueError: if the map of this system has no such limit.
        """
        if self.no_dirac:
            raise ValueError(
                f"{method} has no latents, X = R(x), and so no use for {self.no_dirac}; leave that option out, or use "
                "-m mcem."
            )
        return {k: np.full(members, v) for k, v in self.dirac.items()}

    def batch(self, data: xr.Dataset) -> Batch:
        """The data set as arrays with a leading sweep axis.

        :param data: in the layout of :mod:`bayescg.io.netcdf`.
        :raises ValueError: if the data do not fit the system.
        """
        self.check(data)
        data = self.select(data)
        x = data["x"]
        axis = x.dims.index("frame")
        have = x.sizes["frame"]
        if self.frames is not None:
            if self.frames > have:
                raise ValueError(
                    f"frames={self.frames} asked for, but the data hold {have} frames."
                )
            x = x.isel(frame=slice(max(self.frames, 0)))
        if x.sizes["frame"] < self.at_least:
            raise ValueError(
                f"too few frames: {x.sizes['frame']}; a fit needs at least {self.at_least}."
            )
        values = np.asarray(x.values)
        dim = str(x.dims[0]) if axis == 1 else None
        if dim is None:
            values = values[None]
        conditions = {}
        for name in self.conditions:
            source = data.coords[name].values if name in data.coords else data.attrs.get(name)
            if source is None:
                raise ValueError(f"the data have neither a coordinate nor an attribute {name!r}.")
            conditions[name] = np.broadcast_to(np.asarray(source, float), values.shape[:1]).copy()
        self.check_conditions(conditions)
        coords = None if dim is None else np.asarray(data[dim].values)
        momenta, disagreement = self._momenta(data)
        notices = (*data.attrs.get("notices", ()), *disagreement)
        known = {k: data.attrs[k] for k in RECORDED if k in data.attrs} | momenta
        return Batch(values, conditions, dim, coords, notices, known)

    def check_conditions(self, conditions: Mapping[str, np.ndarray]) -> None:
        """Raise ``ValueError`` for conditions that the program is not for.

        :param conditions: program arguments by name, each ``(member,)``.
        """
        for name, (low, high) in self.domain.items():
            found = np.atleast_1d(conditions[name])
            outside = found[~((found >= low - ROUNDING) & (found <= high + ROUNDING))]
            if outside.size:
                raise ValueError(
                    f"{self.name} is for {name} from {low:g} to {high:g} here, got {outside[0]:g}."
                )

    def _momenta(self, data: xr.Dataset) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Whether G maps the model's momenta to those of the data: for the record, and a notice if not.

        Nothing is said of a G or of masses that do not fit: configurations do not depend on them.
        """
        linear = getattr(self.pre_map, "linear", None)
        if linear is None or self.mass is None or "mass" not in data:
            return {}, ()
        mass, own = np.asarray(data["mass"].values, float), np.asarray(self.mass, float)
        fits = (linear.sites, linear.atoms) == (len(mass), len(own))
        if not fits or not np.all(mass > 0.0):
            return {}, ()
        found = momentum_consistency(linear, own, mass)
        record = {"pre_map_momentum_consistent": int(found.holds)}
        if found.holds:
            return record, ()
        text = " ".join(found.reasons).replace("is given", "is that of the data")
        return record, (
            f"the pre-CG map does not keep momenta (ARCG paper, Eq. 30): {text} Configurations are fitted all the "
            "same.",
        )
